//! Memory of a virtual machine that runs: its host tells where there is any, and reads it by physical addresses.

use super::extent::{Extent, in_a_row};
use super::memory_range::{MemoryRange, joined};
use super::read_at::ReadAt;
use crate::architecture::Architecture;
use crate::bounds::head_mut;
use crate::segment::coalesce;
use std::io;

/// What is known of a machine that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunningMachine {
    /// Its memory, in ascending order, without overlaps.
    pub ranges: Vec<MemoryRange>,
    /// What its processors are.
    pub architecture: Option<Architecture>,
}

impl RunningMachine {
    /// One with memory in these ranges: of a first address and one behind the last each.
    pub fn new(mut ranges: Vec<(u64, u64)>, architecture: Option<Architecture>) -> Self {
        ranges.retain(|(start, end)| start < end);
        Self { ranges: joined(coalesce(ranges).into_iter()), architecture }
    }

    /// Where each range is in a row of all of them.
    pub fn in_a_row(&self) -> Vec<Extent> {
        in_a_row(self.ranges.iter().map(MemoryRange::bounds), 0)
    }

    /// Bytes of memory.
    pub fn length(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.length()))
    }
}

/// Its memory in a row, in the order of physical addresses.
pub(super) struct Row {
    extents: Vec<Extent>,
    memory: Box<dyn ReadAt>,
}

impl Row {
    /// That of a machine, whose memory is read by physical addresses.
    pub fn new(machine: &RunningMachine, memory: Box<dyn ReadAt>) -> Self {
        Self { extents: machine.in_a_row(), memory }
    }
}

impl ReadAt for Row {
    /// Reads within one range at a time: between them there is nothing.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let number = self.extents.partition_point(|extent| extent.offset <= at);
        let Some(extent) = number.checked_sub(1).and_then(|number| self.extents.get(number)) else { return Ok(0) };
        let within = at - extent.offset;
        let buffer = head_mut(buffer, extent.size.saturating_sub(within));
        self.memory.read_at(extent.physical.saturating_add(within), buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Addresses;

    impl ReadAt for Addresses {
        fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(u8::try_from(at >> 12).unwrap());
            Ok(buffer.len())
        }
    }

    #[test]
    fn ranges_lie_in_a_row_and_are_read_one_at_a_time() {
        let machine = RunningMachine::new(vec![(0x9000, 0xa000), (0, 0x2000), (0x1000, 0x3000), (5, 5)], None);
        let ranges: Vec<_> = machine.ranges.iter().map(|range| (range.start.0, range.end.0)).collect();
        assert_eq!(ranges, [(0, 0x3000), (0x9000, 0xa000)]);
        assert_eq!(machine.length(), 0x4000);
        let row = Row::new(&machine, Box::new(Addresses));
        let mut buffer = [0; 0x2000];
        assert_eq!(row.read_at(0x2800, &mut buffer).unwrap(), 0x800);
        assert_eq!(buffer[0], 2);
        assert_eq!(row.read_at(0x3000, &mut buffer).unwrap(), 0x1000);
        assert_eq!(buffer[0], 9);
        assert_eq!(row.read_at(0x4000, &mut buffer).unwrap(), 0);
    }
}
