//! What kernels tell of a process's memory: `kern.proc.vmmap` and `kern.proc.vm_layout` of FreeBSD, `maps` and `smaps`
//! of Linux. The first byte says which: bytes as they are, or records whose fields are anything.

#![no_main]

use ioctl_defs::user::{kinfo_vm_layout, kinfo_vmentry};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use memtool::process_map::vmmap::{VmmapContext, parse, parse_layout};
use memtool::process_map::{MapEntry, ProcessMap, Totals, procfs};
use std::mem::{offset_of, size_of};

/// What a record has in front of its path.
const FIXED: usize = offset_of!(kinfo_vmentry, kve_path);

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((kind, rest)) = bytes.split_first() else { return Corpus::Reject };
    let found = match kind {
        b'p' => procfs::parse(rest).ok(),
        b'b' => {
            let (layout, rest) = rest.split_at(rest.len().min(size_of::<kinfo_vm_layout>()));
            parse(rest, &VmmapContext { page_size: 4096, layout: parse_layout(layout, 4096), counted: true }).ok()
        }
        b'r' => {
            let mut input = Unstructured::new(rest);
            let Ok((records, count)) = records(&mut input) else { return Corpus::Reject };
            let layout = input.bytes(size_of::<kinfo_vm_layout>()).ok().and_then(|layout| parse_layout(layout, 4096));
            let entries = parse(&records, &VmmapContext { page_size: 1 << 14, layout, counted: true });
            let entries = entries.expect("the records have the size that they say");
            assert_eq!(entries.len(), count);
            Some(entries)
        }
        _ => return Corpus::Reject,
    };
    found.map_or(Corpus::Keep, check)
});

/// Records of the size that each says, and how many.
fn records(input: &mut Unstructured<'_>) -> Result<(Vec<u8>, usize)> {
    let (mut bytes, mut count) = (Vec::new(), 0);
    for _ in 0..input.int_in_range(0..=8)? {
        let length = FIXED + input.int_in_range(1..=48)?;
        let mut record = vec![0; length];
        input.fill_buffer(&mut record)?;
        let size = i32::try_from(length).expect("it is short");
        record[..4].copy_from_slice(&size.to_ne_bytes());
        bytes.extend(record);
        count += 1;
    }
    Ok((bytes, count))
}

fn check(entries: Vec<MapEntry>) -> Corpus {
    for usage in entries.iter().filter_map(|entry| entry.usage) {
        if let (Some(private), Some(shared)) = (usage.private, usage.shared) {
            assert!(private <= usage.resident || usage.dirty.is_some());
            assert!(usage.dirty.is_some() || private + shared == usage.resident);
        }
    }
    for entry in &entries {
        assert!(entry.path.is_empty() != entry.label.is_empty() || entry.path.is_empty());
    }
    let totals = Totals::from_entries(&entries);
    assert_eq!(totals.entries, entries.len() as u64);
    assert!(totals.accessible <= totals.size);
    let map =
        ProcessMap { pid: 1, command: String::new().into(), layout: None, entries, domains: None, structures: None };
    let text = serde_json::to_string(&map).expect("it can be written");
    let again: ProcessMap = serde_json::from_str(&text).expect("and read");
    assert_eq!(again.entries.len(), map.entries.len());
    if map.problem().is_none() {
        let gaps: u128 =
            (0..map.entries.len()).filter_map(|index| map.gap_before(index)).map(|gap| u128::from(gap.size)).sum();
        let sizes: u128 = map.entries.iter().map(|entry| entry.end_address() - u128::from(entry.start)).sum();
        if let (Some(first), Some(last)) = (map.entries.first(), map.entries.last()) {
            assert_eq!(gaps + sizes, last.end_address() - u128::from(first.start));
        }
    }
    Corpus::Keep
}
