//! Parts of buffers and tables, and numbers in narrower types. Indexing and `as` can panic or lose bits in silence, so
//! that nothing here does either; what takes their place is said once, in two kinds.
//!
//! A clamp has an answer for whatever it is given: [`at_most`], [`head`], [`tail`], [`split_at_most`],
//! [`split_at_most_mut`], [`split_text`], `saturating_*`, `low_*`.
//!
//! The others are for what was computed to be inside: [`part`], [`item`], [`filled`]. If it is not, the program is
//! wrong, not its input. A debug build, and with it every test, panics. A release build goes on: [`filled`] and
//! [`item_mut`], which dumps pass through on their way, give an error; [`part`] and [`item`], which look something up,
//! give what nothing is found in.

use std::fmt::Debug;
use std::io;
use std::slice::SliceIndex;

/// As many as are wanted, and no more than `limit`.
pub fn at_most(wanted: impl TryInto<usize>, limit: usize) -> usize {
    saturating_usize(wanted).min(limit)
}

/// The first so many items, or all if there are fewer.
pub fn head<T>(items: &[T], count: impl TryInto<usize>) -> &[T] {
    split_at_most(items, count).0
}

/// The first so many items, or all if there are fewer, to be changed.
pub fn head_mut<T>(items: &mut [T], count: impl TryInto<usize>) -> &mut [T] {
    split_at_most_mut(items, count).0
}

/// The items from a place on; none if there are fewer.
pub fn tail<T>(items: &[T], start: impl TryInto<usize>) -> &[T] {
    split_at_most(items, start).1
}

/// The first so many items, or all if there are fewer, and those behind them.
pub fn split_at_most<T>(items: &[T], count: impl TryInto<usize>) -> (&[T], &[T]) {
    items.split_at(at_most(count, items.len()))
}

/// The same, to be changed.
pub fn split_at_most_mut<T>(items: &mut [T], count: impl TryInto<usize>) -> (&mut [T], &mut [T]) {
    let count = at_most(count, items.len());
    items.split_at_mut(count)
}

/// A text up to a byte, and what is behind it; all of it where no character begins there.
pub fn split_text(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// The number as an index or size, or the largest one, which nothing in memory reaches.
pub fn saturating_usize(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(usize::MAX)
}

/// The number in 64 bits, or the largest one of them.
pub fn saturating_u64(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

/// The number in 32 bits, or the largest one of them.
pub fn saturating_u32(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

/// The number in 16 bits, or the largest one of them.
pub fn saturating_u16(number: impl TryInto<u16>) -> u16 {
    number.try_into().unwrap_or(u16::MAX)
}

/// The lower 16 bits of a number.
pub const fn low_u16(number: u64) -> u16 {
    let [a, b, ..] = number.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// The lower 32 bits of a number.
pub const fn low_u32(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// The lower 64 bits of a number.
pub const fn low_u64(number: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = number.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The part of a table that was computed to be in it. Elsewhere there are no items (a debug build panics).
#[track_caller]
pub fn part<T, R>(items: &[T], range: R) -> &[T]
where
    R: SliceIndex<[T], Output = [T]> + Clone + Debug,
{
    let found = items.get(range.clone());
    debug_assert!(found.is_some(), "{range:?} is not within {} items", items.len());
    found.unwrap_or_default()
}

/// As [`part`], to be changed.
#[track_caller]
pub fn part_mut<T, R>(items: &mut [T], range: R) -> &mut [T]
where
    R: SliceIndex<[T], Output = [T]> + Clone + Debug,
{
    debug_assert!(items.get(range.clone()).is_some(), "{range:?} is not within {} items", items.len());
    items.get_mut(range).unwrap_or_default()
}

/// The item at an index that was computed to be there. Elsewhere it is that of nothing, 0 (a debug build panics).
#[track_caller]
pub fn item<T: Copy + Default>(items: &[T], index: impl TryInto<usize>) -> T {
    let index = saturating_usize(index);
    debug_assert!(index < items.len(), "there is no item {index} among {}", items.len());
    items.get(index).copied().unwrap_or_default()
}

/// The item at an index that was computed to be there, to be changed.
///
/// # Errors
///
/// The program is wrong about that (a debug build panics).
#[track_caller]
pub fn item_mut<T>(items: &mut [T], index: impl TryInto<usize>) -> io::Result<&mut T> {
    let (index, length) = (saturating_usize(index), items.len());
    debug_assert!(index < length, "there is no item {index} among {length}");
    items.get_mut(index).ok_or_else(|| outside(index, length))
}

/// What a read has put into a buffer: its first so many bytes.
///
/// # Errors
///
/// The reader tells of more bytes than there was room for (a debug build panics).
#[track_caller]
pub fn filled(buffer: &[u8], read: usize) -> io::Result<&[u8]> {
    debug_assert!(read <= buffer.len(), "{read} bytes were read into {}", buffer.len());
    buffer.get(..read).ok_or_else(|| outside(read, buffer.len()))
}

/// As [`filled`], to be changed.
///
/// # Errors
///
/// Those of [`filled`].
#[track_caller]
pub fn filled_mut(buffer: &mut [u8], read: usize) -> io::Result<&mut [u8]> {
    let length = buffer.len();
    debug_assert!(read <= length, "{read} bytes were read into {length}");
    buffer.get_mut(..read).ok_or_else(|| outside(read, length))
}

fn outside(index: usize, length: usize) -> io::Error {
    io::Error::other(format!("a fault of the program: {index} is not within a buffer of {length}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEMS: [u8; 3] = [1, 2, 3];

    #[test]
    fn a_clamp_takes_what_there_is_of_what_is_wanted() {
        let mut items = ITEMS;
        for (count, taken) in [(0_u64, 0), (2, 2), (3, 3), (4, 3), (1 << 32, 3), (u64::MAX, 3)] {
            assert_eq!(at_most(count, 3), taken);
            assert_eq!(head(&ITEMS, count), &ITEMS[..taken]);
            assert_eq!(head_mut(&mut items, count), &ITEMS[..taken]);
            assert_eq!(tail(&ITEMS, count), &ITEMS[taken..]);
            assert_eq!(split_at_most(&ITEMS, count), (&ITEMS[..taken], &ITEMS[taken..]));
        }
        assert_eq!(at_most(u64::MAX, usize::MAX), saturating_usize(u64::MAX));
    }

    #[test]
    fn a_number_too_large_for_its_type_is_the_largest_or_its_lower_bits() {
        assert_eq!((saturating_usize(u128::MAX), saturating_usize(7_u64)), (usize::MAX, 7));
        assert_eq!((saturating_u64(1_u128 << 64), saturating_u64(7_u128)), (u64::MAX, 7));
        assert_eq!((saturating_u32(1_u64 << 32), saturating_u32(7_u64)), (u32::MAX, 7));
        assert_eq!((low_u64(1 << 64), low_u64(u128::MAX)), (0, u64::MAX));
        assert_eq!((low_u32(0x1_2345_6789), low_u16(0x1_2345)), (0x2345_6789, 0x2345));
    }

    #[test]
    fn what_was_computed_to_be_inside_is_there() {
        let mut items = ITEMS;
        assert_eq!((part(&ITEMS, 1..2), part(&ITEMS, 3..)), (&[2][..], &[][..]));
        part_mut(&mut items, ..1).fill(7);
        *item_mut(&mut items, 2).unwrap() = 9;
        assert_eq!((items, item(&items, 1)), ([7, 2, 9], 2));
        assert_eq!(filled(&ITEMS, 3).unwrap(), ITEMS);
        assert_eq!(filled_mut(&mut items, 2).unwrap(), [7, 2]);
    }

    /// A release build takes no bytes that are not there, and says so where bytes are passed on.
    #[cfg(not(debug_assertions))]
    #[test]
    fn what_is_not_inside_is_nothing_or_an_error() {
        let mut items = ITEMS;
        assert_eq!((part(&ITEMS, 2..4), part_mut(&mut items, 4..)), (&[][..], &mut [][..]));
        assert_eq!(item(&ITEMS, 3), 0);
        assert!(item_mut(&mut items, 3).is_err());
        let error = filled(&ITEMS, 4).unwrap_err();
        assert_eq!(error.to_string(), "a fault of the program: 4 is not within a buffer of 3");
        assert!(filled_mut(&mut items, 4).is_err());
    }

    #[cfg(debug_assertions)]
    mod panics {
        use super::*;

        #[test]
        #[should_panic(expected = "2..4 is not within 3 items")]
        fn a_part_that_is_not_inside() {
            part(&ITEMS, 2..4);
        }

        #[test]
        #[should_panic(expected = "4.. is not within 3 items")]
        fn a_part_to_be_changed_that_is_not_inside() {
            part_mut(&mut { ITEMS }, 4..);
        }

        #[test]
        #[should_panic(expected = "there is no item 3 among 3")]
        fn an_item_that_is_not_there() {
            item(&ITEMS, 3);
        }

        #[test]
        #[should_panic(expected = "there is no item 3 among 3")]
        fn an_item_to_be_changed_that_is_not_there() {
            let _ = item_mut(&mut { ITEMS }, 3);
        }

        #[test]
        #[should_panic(expected = "4 bytes were read into 3")]
        fn more_than_there_was_room_for() {
            let _ = filled(&ITEMS, 4);
        }

        #[test]
        #[should_panic(expected = "4 bytes were read into 3")]
        fn more_to_be_changed_than_there_was_room_for() {
            let _ = filled_mut(&mut { ITEMS }, 4);
        }
    }
}
