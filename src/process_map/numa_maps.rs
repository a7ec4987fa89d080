//! `/proc/PID/numa_maps` of Linux (`proc_pid_numa_maps(5)`; `show_numa_map`, `fs/proc/task_mmu.c`): how many pages of
//! each entry are on which NUMA node.
//!
//! A line has the entry's first address and words such as `N0=5` for 5 pages on node 0. Pages are counted as for `Rss`
//! in `smaps`, and so the pages of zeros that all processes share are not; nor are those that no node has, such as the
//! kernel's own and a device's. In a path, the kernel writes a space and `=` as `\040` and `\075`.

use super::MapEntry;
use crate::process_map::PagesByDomain;
use std::io::{self, BufRead};

/// Reads the file: of each entry the first address, and its pages of so many bytes by node.
///
/// # Errors
///
/// It cannot be read; `InvalidData`: the line that is not understood.
pub fn parse(text: impl BufRead, page_size: u64) -> io::Result<Vec<(u64, PagesByDomain)>> {
    let read = |(index, line): (usize, io::Result<Vec<u8>>)| {
        let line = line?;
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidData, format!("line {}: '{}'", index + 1, line.escape_ascii()));
        parse_line(&line, page_size).ok_or_else(wrong)
    };
    text.split(b'\n').enumerate().map(read).collect()
}

fn parse_line(line: &[u8], page_size: u64) -> Option<(u64, PagesByDomain)> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let start = u64::from_str_radix(words.next()?, 16).ok()?;
    let mut on_nodes = Vec::new();
    // Of hugetlbfs, the pages that are counted are larger.
    let mut size = page_size;
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        if name == "kernelpagesize_kB" {
            size = value.parse::<u64>().ok()?.checked_mul(1024)?;
        } else if let Some(node) = name.strip_prefix('N').and_then(|node| node.parse().ok()) {
            on_nodes.push((node, value.parse::<u64>().ok()?));
        }
    }
    let mut counted = PagesByDomain::default();
    for (node, pages) in on_nodes {
        counted.add(Some(node), pages.checked_mul(size)? / page_size);
    }
    Some((start, counted))
}

/// Puts what was read to the entries that it is of. What of an entry is in memory and on no node is in no domain that
/// is known; so is what has left a node since the entries were read.
pub fn for_entries(entries: &[MapEntry], lines: Vec<(u64, PagesByDomain)>, page_size: u64) -> Vec<PagesByDomain> {
    let mut found = vec![PagesByDomain::default(); entries.len()];
    for (start, counted) in lines {
        // The entry can have become several since.
        let index = entries.partition_point(|entry| entry.end_address() <= start.into());
        let is_of = entries.get(index).is_some_and(|entry| entry.start <= start);
        if let Some(sum) = found.get_mut(index).filter(|_| is_of) {
            counted.by_domain.into_iter().for_each(|(domain, pages)| sum.add(Some(domain), pages));
        }
    }
    for (entry, sum) in entries.iter().zip(&mut found) {
        let resident = entry.usage.map_or(0, |usage| usage.resident / page_size);
        let unknown = resident.saturating_sub(sum.total());
        sum.add(None, unknown);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Object, Superpages, Usage};
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> io::Result<Vec<(u64, PagesByDomain)>> {
        parse(text.as_bytes(), 4096)
    }

    fn pages(on_nodes: &[(u32, u64)], unknown_domain: u64) -> PagesByDomain {
        PagesByDomain { by_domain: on_nodes.iter().copied().collect(), unknown_domain }
    }

    #[test]
    fn lines_are_read_whatever_the_policy_the_path_and_the_size_of_pages() {
        let text = "\
563e5bcf2000 default file=/usr/bin/N9=7\\040N8=7 mapped=9 active=1 N0=2 N17=7 kernelpagesize_kB=4
7fc3d66b0000 prefer (many):0-1 anon=2 dirty=2 active=0 N1=2 kernelpagesize_kB=4
7fc400000000 bind:0 file=/mnt/huge/a huge anon=3 dirty=3 N0=1 N1=2 kernelpagesize_kB=2048
7fc500000000 default
7ffdbf080000 interleave:0-3 stack anon=3 dirty=3 N3=3
";
        let expected = [
            (0x563e_5bcf_2000, pages(&[(0, 2), (17, 7)], 0)),
            (0x7fc3_d66b_0000, pages(&[(1, 2)], 0)),
            (0x7fc4_0000_0000, pages(&[(0, 512), (1, 1024)], 0)),
            (0x7fc5_0000_0000, pages(&[], 0)),
            (0x7ffd_bf08_0000, pages(&[(3, 3)], 0)),
        ];
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn a_line_that_cannot_be_is_an_error() {
        for line in ["", "x default", "1000 default N0=", "1000 default N0=-1", "1000 default kernelpagesize_kB=x"] {
            let error = read(&format!("1000 default\n{line}\n")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(error.to_string(), format!("line 2: '{line}'"));
        }
        assert!(read("1000 default N0=18446744073709551615 kernelpagesize_kB=4").is_err());
    }

    #[test]
    fn what_is_in_memory_and_on_no_node_is_in_no_known_domain() {
        let entry = |start, end, resident| {
            let mut entry = MapEntry::new(start, end, Object::Anonymous);
            let superpages = Superpages::Bytes(0);
            entry.usage = Some(Usage { resident, private: None, shared: None, superpages, dirty: None, swapped: None });
            entry
        };
        let entries = [entry(0x1000, 0x5000, 0x3000), entry(0x8000, 0x9000, 0), entry(u64::MAX - 0xfff, 0, 0x1000)];
        let one = pages(&[(0, 1)], 0);
        // One entry has become two, one is new, and one has grown.
        let lines = [0x0, 0x1000, 0x3000, 0x5000, 0x8000].map(|start| (start, one.clone()));
        let found = for_entries(&entries, lines.into(), 4096);
        assert_eq!(found, [pages(&[(0, 2)], 1), pages(&[(0, 1)], 0), pages(&[], 1)]);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "([0-9a-fN=k. ]|kernelpagesize_kB=|N0=|\\n){0,60}") {
            let entries = [MapEntry::new(0, 0x1000, Object::None), MapEntry::new(0x1000, 0, Object::None)];
            if let Ok(lines) = read(&text) {
                prop_assert!(lines.len() <= text.lines().count());
                prop_assert_eq!(for_entries(&entries, lines, 4096).len(), 2);
            }
        }
    }
}
