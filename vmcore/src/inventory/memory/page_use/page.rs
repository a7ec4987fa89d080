//! `struct vm_page`, of which there are too many to read each by its types: where its members are, and what these say.
//!
//! Source: `sys/vm/vm_page.h`.

use crate::architecture::Endianness;
use crate::bounds::{low_u32, part, saturating_usize};
use crate::error::{Error, Result};
use crate::kernel::TypedMemory;
use std::ops::Range;

/// `VPRC_BLOCKED` and `VPRC_OBJREF`, which are no wirings.
const NO_WIRING: u64 = 0xc000_0000;
/// `PGA_ENQUEUED`: the page is in the queue, and not only meant to be.
const PGA_ENQUEUED: u64 = 8;
/// `PG_FICTITIOUS`, in kernels whose pages have a `ref_count`.
const PG_FICTITIOUS: u64 = 2;
/// `PG_NODUMP`, in the same kernels.
const PG_NODUMP: u64 = 0x10;
/// `PGA_WRITEABLE`: it may be mapped so that it is changed, and be dirty although `dirty` does not say so.
const PGA_WRITEABLE: u64 = 1;
/// More bytes than the structure has.
const MAX_SIZE: u64 = 1 << 12;

/// Where members are.
pub(in crate::inventory::memory) struct PageLayout {
    pub size: u64,
    object: Range<usize>,
    order: Range<usize>,
    /// How often it is wired, `ref_count` since FreeBSD 13.
    references: Option<Range<usize>>,
    /// Whether it is `ref_count`, in whose time other members and flags have the meaning that is known here.
    is_counted: bool,
    queue: Option<Range<usize>>,
    queue_flags: Option<Range<usize>>,
    flags: Option<Range<usize>>,
    busy: Option<Range<usize>>,
    dirty: Option<Range<usize>>,
    bytes_order: Endianness,
}

/// What the structure says.
#[derive(Debug, Clone, Copy)]
pub(in crate::inventory::memory) struct Page {
    /// The object that it belongs to; 0 without one.
    pub object: u64,
    /// The order of the free block that it begins; no order, if it begins none.
    pub order: u64,
    /// Whether it is wired; `None` where that is not known.
    pub is_wired: Option<bool>,
    /// How many refer to it, of a page that belongs to no object.
    pub references: u32,
    /// The page queue that it is in.
    pub queue: Option<u64>,
    pub is_fictitious: bool,
    /// Its `busy_lock`.
    pub busy: Option<u64>,
    /// Whether it has nothing that has not been written to where it came from.
    pub is_clean: bool,
    /// Whether the kernel leaves it out of its dumps.
    pub is_undumpable: bool,
}

impl PageLayout {
    pub fn new(typed: TypedMemory<'_>) -> Result<Self> {
        let page = typed.structure_at("vm_page", 0)?;
        let size = page.size().filter(|size| (1..=MAX_SIZE).contains(size));
        let size = size.ok_or_else(|| Error::Unsupported("struct vm_page has no plausible size".to_owned()))?;
        let range = |path: &str| {
            let member = page.member(path)?;
            let start = member.address();
            let end = member.size().and_then(|bytes| start.checked_add(bytes)).filter(|end| *end <= size);
            let end = end.ok_or_else(|| Error::Unsupported(format!("{path} of struct vm_page is outside of it")))?;
            Ok::<_, Error>(saturating_usize(start)..saturating_usize(end))
        };
        let counted = range("ref_count").ok();
        Ok(Self {
            size,
            object: range("object")?,
            order: range("order")?,
            is_counted: counted.is_some(),
            references: counted.or_else(|| range("wire_count").ok()),
            queue: range("a.queue").or_else(|_| range("queue")).ok(),
            queue_flags: range("a.flags").ok(),
            flags: range("flags").ok(),
            busy: range("busy_lock").ok(),
            dirty: range("dirty").ok(),
            bytes_order: typed.memory.order(),
        })
    }

    /// Whether the kernel is of FreeBSD 13 or newer, by its pages.
    pub const fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// Whether they say if a page is wired, busy, clean and for dumps.
    pub const fn tells_states(&self) -> bool {
        self.is_counted
            && self.queue_flags.is_some()
            && self.flags.is_some()
            && self.busy.is_some()
            && self.dirty.is_some()
    }

    fn number(&self, page: &[u8], at: &Range<usize>) -> u64 {
        self.bytes_order.number(part(page, at.clone()))
    }

    fn number_if_any(&self, page: &[u8], at: Option<&Range<usize>>) -> Option<u64> {
        at.map(|at| self.number(page, at))
    }

    /// What a structure of [`Self::size`] bytes says.
    pub fn page(&self, page: &[u8]) -> Page {
        let references = self.number_if_any(page, self.references.as_ref());
        let wirings = references.map(|count| if self.is_counted { count & !NO_WIRING } else { count });
        let is_in_queue = self.number_if_any(page, self.queue_flags.as_ref()).is_none_or(|f| f & PGA_ENQUEUED != 0);
        let flags = self.number_if_any(page, self.flags.as_ref()).filter(|_| self.is_counted);
        let states = self.number_if_any(page, self.queue_flags.as_ref());
        let dirty = self.number_if_any(page, self.dirty.as_ref());
        Page {
            busy: self.number_if_any(page, self.busy.as_ref()),
            is_clean: dirty == Some(0) && states.is_some_and(|states| states & PGA_WRITEABLE == 0),
            is_undumpable: flags.is_some_and(|flags| flags & PG_NODUMP != 0),
            object: self.number(page, &self.object),
            order: self.number(page, &self.order),
            is_wired: wirings.map(|wirings| wirings > 0),
            references: references.map_or(0, low_u32),
            queue: self.number_if_any(page, self.queue.as_ref()).filter(|_| is_in_queue),
            is_fictitious: flags.is_some_and(|flags| flags & PG_FICTITIOUS != 0),
        }
    }
}
