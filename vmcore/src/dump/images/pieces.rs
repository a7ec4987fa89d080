//! Memory that lies in pieces of a file, as it is or as pages of zeros.

use crate::bounds::{head_mut, saturating_usize};
use crate::dump::memory_range::{MemoryRange, joined};

/// Memory that lies together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// First physical address; of the parts of a flattened file, the offset in that.
    pub physical: u64,
    /// Bytes.
    pub size: u64,
    /// Where they begin in the file; `None` of zeros.
    pub at: Option<u64>,
    /// Bytes of a page with what stands before the next one in the file; as many as a page has where pages follow each
    /// other.
    pub stride: u64,
}

/// Bytes of a page of a piece whose pages do not follow each other.
pub(super) const PAGE: u64 = 4096;

impl Piece {
    /// Memory that lies in the file as it is.
    pub const fn plain(physical: u64, size: u64, at: u64) -> Self {
        Self { physical, size, at: Some(at), stride: PAGE }
    }

    fn end(&self) -> u64 {
        self.physical.saturating_add(self.size)
    }

    /// Where a byte of it is in the file (`None` of zeros), and how many bytes from there on lie together.
    fn place(&self, within: u64) -> (Option<u64>, u64) {
        let remaining = self.size.saturating_sub(within);
        match self.at {
            Some(at) if self.stride != PAGE => {
                let pages = (within / PAGE).saturating_mul(self.stride);
                let in_page = within % PAGE;
                (Some(at.saturating_add(pages).saturating_add(in_page)), remaining.min(PAGE - in_page))
            }
            at => (at.map(|at| at.saturating_add(within)), remaining),
        }
    }

    /// What is behind so many bytes of it, which are whole pages where the pages do not follow each other.
    pub fn behind(self, bytes: u64) -> Self {
        let at = self.at.and_then(|_| self.place(bytes).0);
        Self { physical: self.physical.saturating_add(bytes), size: self.size.saturating_sub(bytes), at, ..self }
    }

    /// Takes the one that follows, if they are of a kind and it goes on where this one ends.
    pub fn extend(&mut self, next: &Self) -> bool {
        if self.end() != next.physical {
            return false;
        }
        let goes_on = match (self.at, next.at) {
            (None, None) => true,
            (Some(at), Some(next_at)) if next.size == PAGE && self.size == PAGE && self.stride == PAGE => {
                // A second page tells how far pages are from each other.
                let stride = next_at.checked_sub(at).filter(|stride| (PAGE..2 * PAGE).contains(stride));
                self.stride = stride.unwrap_or(PAGE);
                stride.is_some()
            }
            (Some(_), Some(next_at)) if self.stride != PAGE => {
                next.size == PAGE && self.behind(self.size).at == Some(next_at)
            }
            (Some(at), Some(next_at)) => next.stride == PAGE && at.checked_add(self.size) == Some(next_at),
            _ => false,
        };
        if goes_on {
            self.size = self.size.saturating_add(next.size);
        }
        goes_on
    }
}

/// Pieces in ascending order, without overlaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pieces {
    pieces: Vec<Piece>,
    /// Where each begins among all of them in a row.
    starts: Vec<u64>,
    length: u64,
}

impl Pieces {
    /// Sorts pieces; of two that hold the same memory, the later one counts, as in a stream that sends a page again.
    pub fn from_written(pieces: Vec<Piece>) -> Self {
        let mut sorted: std::collections::BTreeMap<u64, Piece> = std::collections::BTreeMap::new();
        for piece in
            pieces.into_iter().filter(|piece| piece.size > 0 && piece.physical.checked_add(piece.size).is_some())
        {
            let before = sorted.range(..piece.physical).next_back().map(|(_, before)| *before);
            if let Some(before) = before.filter(|before| before.end() > piece.physical) {
                let head = Piece { size: piece.physical - before.physical, ..before };
                sorted.insert(before.physical, head);
                if before.end() > piece.end() {
                    let tail = before.behind(piece.end() - before.physical);
                    sorted.insert(tail.physical, tail);
                }
            }
            while let Some((start, over)) =
                sorted.range(piece.physical..piece.end()).next().map(|(at, over)| (*at, *over))
            {
                sorted.remove(&start);
                if over.end() > piece.end() {
                    let tail = over.behind(piece.end() - over.physical);
                    sorted.insert(tail.physical, tail);
                }
            }
            sorted.insert(piece.physical, piece);
        }
        Self::from_sorted(sorted.into_values())
    }

    /// Joins pieces that are in ascending order without overlaps.
    pub fn from_sorted(sorted: impl Iterator<Item = Piece>) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        for piece in sorted {
            if !pieces.last_mut().is_some_and(|last| last.extend(&piece)) {
                pieces.push(piece);
            }
        }
        let mut length = 0_u64;
        let mut starts = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            starts.push(length);
            length = length.saturating_add(piece.size);
        }
        Self { pieces, starts, length }
    }

    /// Bytes of all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// Whether all lie in the file as they are.
    pub fn are_plain(&self) -> bool {
        self.pieces.iter().all(|piece| piece.at.is_some() && piece.stride == PAGE)
    }

    /// Where a byte is, by its place among all of them in a row: see [`Piece::place`].
    pub fn place_in_row(&self, at: u64) -> Option<(Option<u64>, u64)> {
        let number = self.starts.partition_point(|start| *start <= at).checked_sub(1)?;
        let (piece, start) = (self.pieces.get(number)?, self.starts.get(number)?);
        let within = at.checked_sub(*start).filter(|within| *within < piece.size)?;
        Some(piece.place(within))
    }

    /// Where a byte is, by its address. Between pieces there are zeros.
    pub fn place_of(&self, address: u64) -> (Option<u64>, u64) {
        let next = self.pieces.partition_point(|piece| piece.physical <= address);
        let piece = next.checked_sub(1).and_then(|number| self.pieces.get(number));
        match piece.filter(|piece| address < piece.end()) {
            Some(piece) => piece.place(address - piece.physical),
            None => (None, self.pieces.get(next).map_or(u64::MAX, |next| next.physical) - address),
        }
    }

    /// Where the last one ends.
    pub fn end(&self) -> u64 {
        self.pieces.last().map_or(0, Piece::end)
    }

    /// The addresses that there are.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        joined(self.pieces.iter().map(|piece| (piece.physical, piece.end())))
    }
}

/// The part of a buffer for so many bytes.
pub(super) fn part_for(buffer: &mut [u8], bytes: u64) -> &mut [u8] {
    head_mut(buffer, saturating_usize(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_sent_again_count_as_they_were_last() {
        let page = |number: u64, at| Piece::plain(number * PAGE, PAGE, at);
        let pieces =
            Pieces::from_written(vec![page(0, 100), page(1, 100 + 4104), page(2, 100 + 8208), page(1, 90_000)]);
        assert_eq!(pieces.length(), 3 * PAGE);
        assert_eq!(pieces.place_in_row(PAGE + 5), Some((Some(90_005), PAGE - 5)));
        assert_eq!(pieces.place_in_row(2 * PAGE), Some((Some(8308), PAGE)));
        assert_eq!(pieces.place_in_row(3 * PAGE), None);
        let middle = Pieces::from_written(vec![Piece::plain(0, 5 * PAGE, 0), page(2, 70_000)]);
        assert_eq!(middle.place_of(3 * PAGE), (Some(3 * PAGE), 2 * PAGE));
        assert_eq!(middle.place_of(2 * PAGE), (Some(70_000), PAGE));
    }

    #[test]
    fn pages_with_something_between_them_are_one_piece() {
        let pages = (0..50).map(|number| Piece::plain(number * PAGE, PAGE, 8 + number * 4104)).collect();
        let pieces = Pieces::from_written(pages);
        assert_eq!(pieces.iter().count(), 1);
        assert_eq!(pieces.place_in_row(49 * PAGE + 1), Some((Some(8 + 49 * 4104 + 1), PAGE - 1)));
        assert!(!pieces.are_plain());
    }
}
