//! How the kernel divides its physical memory: into memory domains, which are NUMA nodes, and into segments, each with an
//! array of `struct vm_page`.
//!
//! Sources: `vm_phys_segs` and `phys_avail` in `sys/vm/vm_phys.c`, `sys/vm/_vm_phys.h`.

use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};

/// More memory domains than a kernel can be built for.
const MAX_DOMAINS: u64 = 256;

/// A segment of physical memory, as `sysctl vm.phys_segs` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhysicalSegment {
    /// Its first physical address.
    pub start: u64,
    /// The physical address behind it.
    pub end: u64,
    /// Its memory domain; `None` where this kernel has none.
    pub domain: Option<u32>,
    /// The address of the free lists that its pages are in; `None` where this kernel's segments do not say.
    pub free_lists: Option<u64>,
    /// The address of the `struct vm_page` of its first page.
    pub first_page: u64,
    /// The address of the first `struct vm_reserv` of its pages, if it has such.
    pub first_reservation: Option<u64>,
}

impl PhysicalSegment {
    /// Pages that it has.
    pub const fn pages(&self, page_size: u64) -> u64 {
        match self.end.saturating_sub(self.start).checked_div(page_size) {
            Some(pages) => pages,
            None => 0,
        }
    }
}

/// How many of an array's elements are in use, by a variable.
///
/// # Errors
///
/// The kernel has no such variables, they cannot be read, or the array has fewer elements.
pub(super) fn used(counter: &Object<'_>, name: &str, array: &Object<'_>) -> Result<u64> {
    let count = counter.unsigned()?;
    if count == 0 {
        return Err(Error::Format(format!("{name} is 0: every kernel has one at least")));
    }
    fitting(name, count, array)
}

fn fitting(name: &str, count: u64, array: &Object<'_>) -> Result<u64> {
    if array.count().is_none_or(|elements| count > elements) {
        return Err(Error::Format(format!("{name} is {count}, more than there is room for")));
    }
    Ok(count)
}

/// The value of what not each kernel has.
pub(super) fn if_any(read: Result<u64>) -> Result<Option<u64>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many memory domains there are (`vm_ndomains`).
///
/// # Errors
///
/// The kernel has no such variable, it cannot be read, or is no number of domains.
pub(super) fn domain_count(typed: TypedMemory<'_>) -> Result<u64> {
    let count = typed.variable("vm_ndomains")?.unsigned()?;
    if count == 0 || count > MAX_DOMAINS {
        return Err(Error::Format(format!("vm_ndomains is {count}, which is no number of domains")));
    }
    Ok(count)
}

/// How many memory domains there are, each of which has an element of an array: of kernels without that variable, one.
pub(super) fn domains(typed: TypedMemory<'_>, array: &Object<'_>) -> Result<u64> {
    match domain_count(typed) {
        Ok(count) => fitting("vm_ndomains", count, array),
        Err(Error::Unsupported(_)) => Ok(1),
        Err(error) => Err(error),
    }
}

/// The segments, in ascending order.
///
/// # Errors
///
/// The kernel has no such variables, they cannot be read, or make no sense.
pub(super) fn segments(typed: TypedMemory<'_>) -> Result<Vec<PhysicalSegment>> {
    let array = typed.variable("vm_phys_segs")?;
    let count = used(&typed.variable("vm_phys_nsegs")?, "vm_phys_nsegs", &array)?;
    let array = array.fetched()?;
    (0..count).map(|index| segment(&array.index(index)?)).collect()
}

fn segment(segment: &Object<'_>) -> Result<PhysicalSegment> {
    let number = |name: &str| segment.member(name)?.unsigned();
    let (start, end) = (number("start")?, number("end")?);
    if end < start {
        return Err(Error::Format(format!("a segment of vm_phys_segs ends at {end:#x}, before it begins")));
    }
    Ok(PhysicalSegment {
        start,
        end,
        domain: if_any(number("domain"))?.and_then(|domain| u32::try_from(domain).ok()),
        free_lists: if_any(number("free_queues"))?,
        first_page: number("first_page")?,
        first_reservation: if_any(number("first_reserv"))?.filter(|address| *address != 0),
    })
}

/// The ranges of physical addresses that the kernel was given to allocate when it had started (`phys_avail`).
///
/// # Errors
///
/// There is no such variable, or it cannot be read.
pub(super) fn available(typed: TypedMemory<'_>) -> Result<Vec<(u64, u64)>> {
    let array = typed.variable("phys_avail")?;
    let count = array.count().ok_or_else(|| Error::Unsupported("phys_avail has no size".to_owned()))?;
    let array = array.fetched()?;
    let mut ranges = Vec::new();
    for index in (0..count.saturating_sub(1)).step_by(2) {
        let range = (array.index(index)?.unsigned()?, array.index(index.saturating_add(1))?.unsigned()?);
        if range.1 == 0 {
            break;
        }
        ranges.push(range);
    }
    Ok(ranges)
}
