//! Memory that lies in one piece in a dump or an image: by its physical address, and where it is.

/// Memory that lies in one piece in the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First physical address.
    pub physical: u64,
    /// Bytes.
    pub size: u64,
    /// Where they begin in the dump.
    pub offset: u64,
}

impl Extent {
    /// What of it lies from a physical address on and before another one.
    pub(super) fn clipped(self, start: u64, end: u64) -> Self {
        let before = start.saturating_sub(self.physical).min(self.size);
        let (physical, size) = (self.physical.saturating_add(before), self.size - before);
        Self { physical, size: size.min(end.saturating_sub(physical)), offset: self.offset.saturating_add(before) }
    }
}

/// Ranges of memory that lie one after another in the dump in this order, each behind a header of so many bytes.
pub(super) fn in_a_row(ranges: impl Iterator<Item = (u64, u64)>, header: u64) -> Vec<Extent> {
    let mut offset = 0_u64;
    let extent = |(start, end): (u64, u64)| {
        offset = offset.saturating_add(header);
        let extent = Extent { physical: start, size: end.saturating_sub(start), offset };
        offset = offset.saturating_add(extent.size);
        extent
    };
    ranges.map(extent).collect()
}
