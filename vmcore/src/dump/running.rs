//! Memory of a virtual machine that runs: its host tells where there is any, and reads it by physical addresses.

use super::memory_range::{MemoryRange, joined};
use super::read_at::ReadAt;
use crate::architecture::Architecture;
use crate::bounds::head_mut;
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
        ranges.sort_unstable();
        let mut known = 0;
        for (start, end) in &mut ranges {
            *start = (*start).max(known);
            known = known.max(*end);
        }
        ranges.retain(|(start, end)| start < end);
        Self { ranges: joined(ranges.into_iter()), architecture }
    }

    /// Bytes of memory.
    pub fn length(&self) -> u64 {
        self.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.length()))
    }
}

/// Its memory in a row, in the order of physical addresses.
pub(super) struct Row {
    /// Where each range begins in the row, and its first address and bytes.
    pieces: Vec<(u64, u64, u64)>,
    memory: Box<dyn ReadAt>,
}

impl Row {
    /// That of a machine, whose memory is read by physical addresses.
    pub fn new(machine: &RunningMachine, memory: Box<dyn ReadAt>) -> Self {
        let mut at = 0_u64;
        let piece = |range: &MemoryRange| {
            let piece = (at, range.start.0, range.length());
            at = at.saturating_add(range.length());
            piece
        };
        Self { pieces: machine.ranges.iter().map(piece).collect(), memory }
    }
}

impl ReadAt for Row {
    /// Reads within one range at a time: between them there is nothing.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let number = self.pieces.partition_point(|(first, ..)| *first <= at);
        let Some((first, physical, size)) = number.checked_sub(1).and_then(|number| self.pieces.get(number)) else {
            return Ok(0);
        };
        let within = at - first;
        self.memory.read_at(physical.saturating_add(within), head_mut(buffer, size.saturating_sub(within)))
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
