//! Memory ranges as the kernel has them: what `MEMRANGE_GET` of mem(4) tells of a running system, and what of the
//! processor's registers the kernel has read.
//!
//! Sources: `struct mem_range_softc` in `sys/sys/memrange.h`, `sys/x86/x86/x86_mem.c`, `sys/x86/x86/identcpu.c`.

use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};
use crate::text::until_nul;

/// More ranges than a kernel has: 88 fixed ones and at most 255 others.
const MAX_RANGES: u64 = 1024;
/// Bytes of a range's owner.
const OWNER: u64 = 8;

/// A range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRange {
    /// Its physical address.
    pub base: u64,
    /// Bytes.
    pub length: u64,
    /// Cache type and state: the `MDF_*` constants of mem(4).
    pub flags: u32,
    /// Who set it: up to 7 bytes and NULs.
    pub owner: [u8; 8],
}

/// All ranges, and the registers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryRanges {
    /// The ranges in the kernel's order; there are none where the processor, or mem(4), has none.
    pub ranges: Vec<MemoryRange>,
    /// `MTRRdefType` as it was when the kernel started; `None` where this kernel does not have it.
    pub default_type: Option<u64>,
    /// The processor's physical address width in bits.
    pub physical_bits: Option<u32>,
    /// Who made the processor, as CPUID says.
    pub vendor: Option<String>,
}

impl MemoryRanges {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel has no such structure, or it cannot be read.
    pub fn read(typed: TypedMemory<'_>) -> Result<Self> {
        let table = typed.variable("mem_range_softc")?;
        let (count, first) = (table.member("mr_ndesc")?.signed()?, table.member("mr_desc")?);
        let count = u64::try_from(count).ok().filter(|count| *count <= MAX_RANGES);
        let count =
            count.ok_or_else(|| Error::Format("the kernel's number of memory ranges makes no sense".to_owned()))?;
        let ranges = if count == 0 || first.unsigned()? == 0 { Vec::new() } else { first.elements(count)? };
        let number = |name: &str| typed.variable(name).and_then(|variable| variable.unsigned()).ok();
        let vendor = typed.variable("cpu_vendor").and_then(|vendor| vendor.bytes()).ok();
        Ok(Self {
            ranges: ranges.iter().map(range).collect::<Result<_>>()?,
            default_type: number("mtrrdef"),
            physical_bits: number("cpu_maxphyaddr").and_then(|bits| u32::try_from(bits).ok()).filter(|bits| *bits != 0),
            vendor: vendor.and_then(|vendor| String::from_utf8(until_nul(&vendor).to_vec()).ok()),
        })
    }
}

fn range(range: &Object<'_>) -> Result<MemoryRange> {
    let mut owner = [0; 8];
    for (to, from) in owner.iter_mut().zip(range.member("mr_owner")?.leading_bytes(OWNER)?) {
        *to = from;
    }
    let flags = range.member("mr_flags")?.unsigned()?;
    let flags =
        u32::try_from(flags).map_err(|_| Error::Format("flags of a memory range have over 32 bits".to_owned()))?;
    Ok(MemoryRange {
        base: range.member("mr_base")?.unsigned()?,
        length: range.member("mr_len")?.unsigned()?,
        flags,
        owner,
    })
}
