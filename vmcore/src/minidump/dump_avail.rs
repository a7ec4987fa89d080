//! The bits of a page bitmap: one for each page of the `dump_avail` ranges, one range after another
//! (`vm_page_dump_add`, `sys/sys/vm_dumpset.h`; `lib/libkvm/kvm_private.c` reads it so). A range has every page
//! that it has part of.

use crate::bounds::part;
use std::ops;

/// A range of physical memory that the bitmap covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// The number of its first page, for which the address is not divided at each look-up.
    first_page: u64,
    /// The bits of its pages.
    first_bit: u64,
    last_bit: u64,
}

impl Range {
    /// The bits of its pages.
    pub fn bits(&self) -> ops::Range<u64> {
        self.first_bit..self.last_bit
    }
}

/// The ranges that a page bitmap covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpAvail {
    page_size: u64,
    ranges: Vec<Range>,
}

impl DumpAvail {
    /// Takes the size of a page, which is not 0, and the ranges: start and exclusive end each, ascending, with no page
    /// in two of them.
    pub fn new(page_size: u64, ranges: &[(u64, u64)]) -> Self {
        let mut first_bit = 0_u64;
        let range = |&(start, end): &(u64, u64)| {
            let first_page = start / page_size;
            let pages = end.div_ceil(page_size).saturating_sub(first_page);
            let last_bit = first_bit.saturating_add(pages);
            let range = Range { start, end, first_page, first_bit, last_bit };
            first_bit = last_bit;
            range
        };
        Self { page_size, ranges: ranges.iter().map(range).collect() }
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// The ranges.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Bits that stand for a page.
    pub fn bits(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.last_bit)
    }

    /// The bit of the page at a physical address; `None` outside all ranges.
    pub fn bit_of(&self, physical: u64) -> Option<u64> {
        let page = physical / self.page_size;
        let after = self.ranges.partition_point(|range| range.first_page <= page);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        let bit = range.first_bit + (page - range.first_page);
        (bit < range.last_bit).then_some(bit)
    }

    /// The bits of the pages from a physical address on and before another one, as runs.
    pub fn bits_within(&self, start: u64, end: u64) -> impl Iterator<Item = ops::Range<u64>> {
        let page_size = self.page_size;
        let (start, end) = (start / page_size, end.div_ceil(page_size));
        let first = self.ranges.partition_point(|range| range.end.div_ceil(page_size) <= start);
        let bits = move |range: &Range| {
            let bit = |at: u64| range.first_bit.saturating_add(at.saturating_sub(range.first_page)).min(range.last_bit);
            bit(start)..bit(end)
        };
        let within = part(&self.ranges, first..).iter();
        within.take_while(move |range| range.first_page < end).map(bits).filter(|bits| !bits.is_empty())
    }

    /// The physical address of the page that a bit of a range stands for.
    pub fn address_in(&self, range: &Range, bit: u64) -> u64 {
        (range.first_page + (bit - range.first_bit)) * self.page_size
    }

    /// The physical address of the page that a bit stands for.
    pub fn address_of(&self, bit: u64) -> Option<u64> {
        let range = self.ranges.get(self.ranges.partition_point(|range| range.last_bit <= bit))?;
        Some(self.address_in(range, bit))
    }
}
