//! Where pages are: what pagemap, maps and move_pages(2) say, put together.
//!
//! They are asked one after another while the process goes on. A page that has moved before its domain was found has
//! no known domain, rather than the domain of another place.

use super::pagemap::PagemapEntry;
use super::process::Process;
use crate::error::{Error, Result};
use crate::host::PageState;
use crate::kernel_error::Operation;
use std::ops::Range;

/// See [`Host::page_states`](crate::host::Host::page_states).
pub fn page_states(process: &Process, addresses: &[u64], page_size: u64) -> Result<Vec<PageState>> {
    let mut pagemap = process.pagemap()?;
    if !shows_frames(page_size)? {
        return Err(Error::Refused(
            "the kernel shows physical addresses only to processes with CAP_SYS_ADMIN; run as root, outside containers (proc(5), /proc/pid/pagemap)"
                .to_owned(),
        ));
    }
    let mut pages: Vec<u64> = addresses.iter().map(|address| address / page_size).collect();
    pages.sort_unstable();
    pages.dedup();
    let before = pagemap.entries(&pages)?;
    let covered = if before.iter().all(|entry| entry.is_present()) { Vec::new() } else { process.covered()? };
    let present: Vec<u64> =
        pages.iter().zip(&before).filter(|(_, entry)| entry.is_present()).map(|(page, _)| page * page_size).collect();
    let mut domains = process.domains(&present)?.into_iter();
    // Also proves that all was said of one address space.
    let after = pagemap.entries(&pages)?;
    pagemap.check()?;
    // What has a frame.
    let found: Vec<(u64, u64, Option<u32>)> = pages
        .into_iter()
        .zip(before.into_iter().zip(after))
        .filter_map(|(page, (before, after))| {
            let domain = if before.is_present() { domains.next().flatten() } else { None };
            Some((page, before.frame()?, domain.filter(|_| before.frame() == after.frame())))
        })
        .collect();
    let state = |&address: &u64| {
        let index = found.binary_search_by_key(&(address / page_size), |(page, ..)| *page);
        match index.ok().and_then(|index| found.get(index)) {
            Some(&(_, frame, domain)) => {
                let paddr = frame.saturating_mul(page_size).saturating_add(address % page_size);
                PageState::Mapped { paddr, domain }
            }
            None if covers(&covered, address) => PageState::Valid,
            None => PageState::Invalid,
        }
    };
    Ok(addresses.iter().map(state).collect())
}

/// Whether one of some sorted ranges has an address.
fn covers(ranges: &[Range<u64>], address: u64) -> bool {
    let next = ranges.partition_point(|range| range.end <= address);
    ranges.get(next).is_some_and(|range| range.contains(&address))
}

/// Whether the kernel shows this process physical addresses. To who may not see them it shows 0 for every page, which
/// otherwise hardly any page of a process has; so it is asked about one that is certainly another: the stack.
fn shows_frames(page_size: u64) -> Result<bool> {
    let myself = Process::open(None, Operation::ReadPagemap)?;
    let mut pagemap = myself.pagemap()?;
    // Should the page be swapped out at this very moment, there are more.
    for _ in 0..100 {
        let probe = std::hint::black_box([1_u8; 1]);
        let page = std::hint::black_box(&probe).as_ptr().addr() as u64 / page_size;
        let frame = pagemap.read(page, 1)?.next().and_then(PagemapEntry::frame);
        if let Some(frame) = frame {
            return Ok(frame != 0);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_covered_from_the_first_byte_to_the_last() {
        let top = 0xffff_ffff_ff60_0000;
        let ranges = [0x1000..0x3000, 0x5000..0x6000, top..top + 0x1000];
        for address in [0x1000, 0x2fff, 0x5000, 0x5fff, top, top + 0xfff] {
            assert!(covers(&ranges, address), "{address:#x}");
        }
        for address in [0, 0xfff, 0x3000, 0x4fff, 0x6000, top - 1, top + 0x1000, u64::MAX] {
            assert!(!covers(&ranges, address), "{address:#x}");
        }
        assert!(!covers(&[], 0));
    }
}
