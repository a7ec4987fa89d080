//! Physical memory of the running machine, of which only RAM is read: elsewhere there may be devices.

use crate::bounds::head_mut;
use crate::memory::{Memory, ReadError};

/// Physical memory; outside of RAM there is none.
pub struct Ram {
    memory: Box<dyn Memory>,
    /// Ascending.
    ranges: Vec<(u64, u64)>,
}

impl Ram {
    /// Physical memory that is RAM in these ranges, pairs of start and exclusive end in ascending order.
    pub fn new(memory: Box<dyn Memory>, ranges: Vec<(u64, u64)>) -> Self {
        Self { memory, ranges }
    }

    /// All of physical memory, for who has seen to it that there is RAM.
    pub fn memory(&self) -> &dyn Memory {
        &*self.memory
    }

    /// What is RAM.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// How many bytes of RAM there are in one piece from an address on.
    pub fn remaining(&self, address: u64) -> u64 {
        let next = self.ranges.partition_point(|(start, _)| *start <= address);
        let range = next.checked_sub(1).and_then(|index| self.ranges.get(index));
        range.map_or(0, |(_, end)| end.saturating_sub(address))
    }
}

impl Memory for Ram {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        match head_mut(buffer, self.remaining(address)) {
            [] => Err(ReadError::Absent),
            part => self.memory.read_at(address, part),
        }
    }
}
