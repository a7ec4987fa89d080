//! Reservations: contiguous memory that is kept for an object. The kernel counts those of their pages as free that are not
//! in use, but has them in no free list.
//!
//! Source: `sys/vm/vm_reserv.c`.

use super::super::physical::PhysicalSegment;
use crate::bounds::{part, saturating_usize};
use crate::error::{Error, Result};
use crate::kernel::TypedMemory;
use std::ops::Range;

/// More pages than a reservation has.
const MAX_PAGES: u64 = 1 << 16;
/// Reservations that are read at once.
const BLOCK: u64 = 1 << 12;

/// Up to 64 pages of a segment, of which some are reserved and not in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnusedPages {
    /// The index of the first one in the segment.
    pub first: u64,
    /// A bit for each that is reserved and not in use, from the first page on.
    pub bits: u64,
}

/// Where the members of `struct vm_reserv` are.
pub(super) struct ReservationLayout {
    size: u64,
    object: Range<usize>,
    first_page: Range<usize>,
    bits: Range<usize>,
    /// Pages of a reservation.
    pages: u64,
}

impl ReservationLayout {
    pub fn new(typed: TypedMemory<'_>) -> Result<Self> {
        let reservation = typed.structure_at("vm_reserv", 0)?;
        let size = reservation.size().unwrap_or(0);
        let range = |name: &str| {
            let member = reservation.member(name)?;
            let start = member.address();
            Ok::<_, Error>(saturating_usize(start)..saturating_usize(start.saturating_add(member.size().unwrap_or(0))))
        };
        let (object, first_page, bits) = (range("object")?, range("pages")?, range("popmap")?);
        let pages = (bits.len() as u64).saturating_mul(8);
        let is_plausible = pages.is_power_of_two() && pages <= MAX_PAGES;
        if !is_plausible || [&object, &first_page, &bits].iter().any(|range| range.end > saturating_usize(size)) {
            return Err(Error::Unsupported("struct vm_reserv is not laid out as is known".to_owned()));
        }
        Ok(Self { size, object, first_page, bits, pages })
    }

    /// The pages of a segment that are reserved and not in use, in ascending order.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn unused(
        &self,
        typed: TypedMemory<'_>,
        segment: &PhysicalSegment,
        page_size: u64,
    ) -> Result<Vec<UnusedPages>> {
        let Some(address) = segment.first_reservation else { return Ok(Vec::new()) };
        let first_frame = segment.start / page_size;
        let start = first_frame / self.pages;
        let end = segment.end / page_size / self.pages;
        let mut found = Vec::new();
        for first in (start..end).step_by(saturating_usize(BLOCK)) {
            let mut bytes = vec![0; saturating_usize(self.size.saturating_mul(BLOCK.min(end - first)))];
            typed.memory.read(address.saturating_add((first - start).saturating_mul(self.size)), &mut bytes)?;
            for (number, reservation) in (first..).zip(bytes.chunks_exact(saturating_usize(self.size))) {
                // The first one of a segment may begin before it.
                let Some(index) = number.saturating_mul(self.pages).checked_sub(first_frame) else { continue };
                self.add(typed, reservation, (index, segment), &mut found)?;
            }
        }
        Ok(found)
    }

    /// Adds the unused pages of one.
    fn add(
        &self,
        typed: TypedMemory<'_>,
        reservation: &[u8],
        (index, segment): (u64, &PhysicalSegment),
        found: &mut Vec<UnusedPages>,
    ) -> Result<()> {
        let order = typed.memory.order();
        let number = |range: &Range<usize>| order.number(part(reservation, range.clone()));
        let size = typed.types.size_of(typed.structure("vm_page")?).unwrap_or(0);
        let expected = segment.first_page.wrapping_add(index.wrapping_mul(size));
        if number(&self.object) == 0 || number(&self.first_page) != expected {
            return Ok(());
        }
        let word = typed.memory.word_size();
        let words = part(reservation, self.bits.clone()).chunks_exact(word).map(|bytes| order.number(bytes));
        let in_word = word.saturating_mul(8) as u64;
        let of_word = u64::MAX >> (64 - in_word);
        let unused =
            (index..).step_by(saturating_usize(in_word)).zip(words).map(|(first, used)| (first, !used & of_word));
        found.extend(unused.filter(|(_, bits)| *bits != 0).map(|(first, bits)| UnusedPages { first, bits }));
        Ok(())
    }
}
