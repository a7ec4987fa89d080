//! /proc/pid/pagemap: an entry of 8 bytes, in the byte order of the machine, for each page of a process's addresses.
//! Its layout is in `Documentation/admin-guide/mm/pagemap.rst` of Linux.

/// Bytes in an entry.
pub const ENTRY_SIZE: usize = 8;

/// Entries read at once at most: 1 MiB of them.
pub const MAX_ENTRIES: usize = 1 << 17;

/// Entries in between that are rather read along than left out with another system call.
const MAX_GAP: u64 = 512;

/// What the kernel tells of a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PagemapEntry(u64);

impl PagemapEntry {
    const PRESENT: u64 = 1 << 63;
    const FRAME: u64 = (1 << 55) - 1;

    /// Whether the page is in memory and mapped. A page in swap space is not.
    pub const fn is_present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// The number of the physical page, if one is mapped; 0 also where the reader may not know it.
    pub const fn frame(self) -> Option<u64> {
        // In a page that is not present the bits say where in swap space it is.
        if self.is_present() { Some(self.0 & Self::FRAME) } else { None }
    }
}

/// The entries in bytes that were read. A part of an entry at the end, which the kernel does not give, is no entry.
pub fn entries(bytes: &[u8]) -> impl ExactSizeIterator<Item = PagemapEntry> {
    let (entries, _) = bytes.as_chunks::<ENTRY_SIZE>();
    entries.iter().map(|bytes| PagemapEntry(u64::from_ne_bytes(*bytes)))
}

/// Cuts page numbers, sorted and different, into parts that are read at once.
pub fn parts(pages: &[u64]) -> impl Iterator<Item = &[u64]> {
    let mut rest = pages;
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let mut last = first;
        let belongs = |page: &u64| {
            let near = page - last <= MAX_GAP + 1 && page - first < MAX_ENTRIES as u64;
            last = *page;
            near
        };
        let count = rest.iter().copied().take_while(belongs).count();
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_has_a_frame_only_while_the_page_is_present() {
        let frame = |bits: u64| entries(&bits.to_ne_bytes()).next().unwrap().frame();
        assert_eq!(frame(0), None);
        assert_eq!(frame(1 << 63), Some(0));
        assert_eq!(frame((1 << 63) | 0x18_13fa), Some(0x18_13fa));
        // Soft-dirty, exclusively mapped, write-protected, a file's.
        assert_eq!(frame((1 << 63) | (1 << 61) | (0b111 << 55) | 5), Some(5));
        assert_eq!(frame((1 << 63) | ((1 << 55) - 1)), Some((1 << 55) - 1));
        // In swap space; a guard; a file's page that is not mapped.
        for bits in [(1 << 62) | 0x1234, 1 << 58, 1 << 61, (1 << 63) - 1] {
            assert_eq!(frame(bits), None, "{bits:#x}");
        }
        assert_eq!(entries(&[0xff; 15]).len(), 1);
        assert_eq!(entries(&[0xff; 7]).len(), 0);
    }

    proptest! {
        #[test]
        fn parts_hold_every_page_once_and_reads_stay_small(
            start in 0..=u64::MAX >> 12,
            steps in prop::collection::vec(prop_oneof![1_u64..4, 500_u64..530, Just(1 << 17), 1_u64..1 << 40], 0..300),
        ) {
            let mut pages = vec![start];
            pages.extend(steps.iter().scan(start, |page, step| { *page += step; Some(*page) }));
            let found: Vec<&[u64]> = parts(&pages).collect();
            prop_assert_eq!(&found.concat(), &pages);
            for part in &found {
                prop_assert!(part.last().unwrap() - part[0] < MAX_ENTRIES as u64);
                prop_assert!(part.windows(2).all(|two| two[1] - two[0] <= MAX_GAP + 1));
            }
            // Two that follow each other could not have been one.
            for two in found.windows(2) {
                let (from, last, next) = (two[0][0], two[0].last().unwrap(), two[1][0]);
                prop_assert!(next - last > MAX_GAP + 1 || next - from >= MAX_ENTRIES as u64);
            }
        }
    }

    #[test]
    fn no_page_makes_no_part() {
        assert_eq!(parts(&[]).count(), 0);
        assert_eq!(parts(&[7]).collect::<Vec<_>>(), [[7]]);
    }
}
