//! The files that memtool reads: recorded machines, manifests of dumps, lists of segments, kernel images. The first byte says
//! which, and whether the rest is the file or a recipe for one: see [`memtool_fuzz::json`]. A machine that is
//! accepted then has to answer everything.

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};
use memtool::dump::manifest::Manifest;
use memtool::dump::plan::{Plan, RequestedRanges, SegmentSource};
use memtool::host::recorded::{Contents, Machine, Recorded};
use memtool::host::{Backing, Host, Pid, ProcessHost};
use memtool::process_map::{self, Detail, Totals};
use memtool::ranges::default_type::Defaults;
use memtool::ranges::effective::{explain, pieces};
use memtool::ranges::request::Request;
use memtool::ranges::rules::Table;
use memtool_fuzz::{check_map, check_readable, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Content, Depth, inspect};
use vmcore::format::Space;
use vmcore::format::map_file::read_list;
use vmcore::kerneldump::Compression;
use vmcore::minidump::{self, Architecture};
use vmcore::progress::Progress;
use vmcore::symbols::{self, Pattern};

/// Files that recipes begin with.
const MACHINE: &str = include_str!("../files/machine.json");
const MANIFEST: &str = include_str!("../files/manifest.json");

/// The file that is read; in memory where the system has a folder for that.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("memtool-fuzz-{}", std::process::id()))
});

/// More memory than this is not laid out or dumped: it takes too long.
const MAPPED: u128 = 64 << 20;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((kind, rest)) = bytes.split_first() else { return Corpus::Reject };
    let by_recipe = |file: &str| {
        let file = serde_json::from_str(file).expect("the file is JSON");
        json::make(file, &mut Unstructured::new(rest)).map(|file| file.to_string())
    };
    let (check, text): (fn(&Path), _) = match kind {
        b'm' => (machine, Ok(None)),
        b'd' => (manifest, Ok(None)),
        b'l' => (list, Ok(None)),
        b'k' => (kernel, Ok(None)),
        b'M' => (machine, by_recipe(MACHINE).map(Some)),
        b'D' => (manifest, by_recipe(MANIFEST).map(Some)),
        _ => return Corpus::Reject,
    };
    let Ok(text) = text else { return Corpus::Reject };
    fs::write(&*FILE, text.as_ref().map_or(rest, String::as_bytes)).expect("the file can be written");
    check(&FILE);
    let _ = fs::remove_file(&*FILE);
    Corpus::Keep
});

fn list(path: &Path) {
    if let Ok(ranges) = read_list(path, memtool::files::open_nonblocking) {
        assert!(!ranges.is_empty() && ranges.iter().all(|range| range.0 < range.1));
    }
}

fn kernel(path: &Path) {
    let Ok(table) = symbols::Table::open_at(path, 0xffff_ffff_8300_0000) else { return };
    let pattern: Pattern = "*a[!b-d]?*".parse().expect("it is one");
    for entry in table.iter().take(100) {
        assert!(table.lookup_by_name(entry.name).any(|other| other == entry));
        assert_eq!(pattern.matches(entry.name), table.matching(&pattern).any(|other| other == entry));
        let address = entry.symbol.address;
        assert!(table.lookup_by_addr(address).is_none_or(|nearest| nearest.symbol.address <= address));
    }
}

fn manifest(path: &Path) {
    let Ok(manifest) = Manifest::read(path) else { return };
    let mut text = Vec::new();
    manifest.write(&mut text).expect("a manifest can be written");
    fs::write(path, &text).expect("the file can be written");
    assert_eq!(Manifest::read(path).expect("and read"), manifest);
}

fn machine(path: &Path) {
    let Ok(machine) = Machine::read(path) else { return };
    check_map(&machine.memory);
    let text = serde_json::to_vec(&machine).expect("a machine can be written");
    fs::write(path, text).expect("the file can be written");
    assert_eq!(Machine::read(path).expect("and read"), machine);
    // Not the files of the computer that this runs on.
    if matches!(machine.contents, Contents::Pattern(_)) {
        let mut host = Recorded::open(path).expect("it could be read");
        let _ = (host.system(), host.live_dump_facts(), host.kernel_symbol("msgbufp"));
        maps(&machine, &host);
        process(&machine, &mut host);
        ranges(&machine, &mut host);
        memory(&machine, &host, path);
    }
}

fn maps(machine: &Machine, host: &dyn Host) {
    if let (Ok(map), Ok(Some(maps))) = (host.memory_map(), host.kernel_maps()) {
        check_readable(&maps, &map);
    }
    for space in [Space::Physical, Space::Kernel] {
        for requested in [None, machine.memory.segments.first().map(|segment| (segment.start, segment.end))] {
            let requested = requested.map(|range| RequestedRanges {
                ranges: vec![range],
                segments_from: SegmentSource::Ranges,
                allow_non_ram: false,
            });
            if let Ok(mut plan) = Plan::from_host(host, space, requested) {
                let total = plan.total();
                plan.limit(total / 2);
                assert_eq!(plan.total(), total / 2);
            }
        }
    }
}

fn process(machine: &Machine, host: &mut Recorded) {
    for recorded in &machine.processes {
        if let Ok(map) = memtool::host::read_process_map(host, Pid::from_raw(recorded.pid), Detail::Usage) {
            assert_eq!(map.problem(), None);
            assert_eq!(Totals::from_entries(&map.entries).entries, map.entries.len() as u64);
        }
    }
    let _ = memtool::host::read_process_map(host, process_map::KERNEL, Detail::Mappings);
    for range in &machine.process.mappings {
        let _ = host.page_states(None, &[range.start, range.end - 1, range.end, range.start.wrapping_sub(1)]);
    }
    for length in [1, 4096, 3 << 20] {
        if let Ok(mut mapping) = host.map(&Backing::Anonymous { length }) {
            let _ = mapping.lock();
            let _ = mapping.touch(mapping.address());
            let _ = host.page_states(None, &[mapping.address()]);
        }
    }
}

fn ranges(machine: &Machine, host: &mut Recorded) {
    let descriptors = machine.ranges.descriptors.clone();
    let table = Table::with_rules(descriptors, host.range_rules(), machine.ranges.physical_bits);
    let defaults = Defaults::find(machine.ranges.registers.as_ref(), &table, Some(&machine.memory));
    let _ = defaults.at(1 << 32);
    let all = pieces(&table, &machine.memory, 0, 1 << 64);
    assert!(all.is_sorted_by(|before, after| before.end == u128::from(after.start)));
    for descriptor in machine.ranges.descriptors.iter().take(16) {
        let _ = explain(&table, descriptor.base);
        for request in [Request::Update(descriptor.clone()), Request::Remove(descriptor.clone())] {
            let _ = host.set_range(&request);
        }
    }
}

fn memory(machine: &Machine, host: &dyn Host, path: &Path) {
    let maps = machine.kernel_maps.iter().flatten();
    let mapped: u128 = maps.clone().map(|map| map.end_address() - u128::from(map.start)).sum();
    if mapped > MAPPED || (machine.kernel_maps.is_none() && machine.memory.total() > 1 << 30) {
        return;
    }
    let mut buffer = [0; 64];
    if let Ok(memory) = host.physical_memory() {
        for segment in &machine.memory.segments {
            for address in [segment.start, segment.end - 1, segment.end, segment.start.wrapping_sub(1)] {
                let read = memory.read_at(address, &mut buffer);
                assert!(read.is_err() || machine.memory.segment_at(address).is_some());
            }
        }
    }
    if let Ok(memory) = host.kernel_memory() {
        for map in maps.clone() {
            for address in [map.start, map.end.wrapping_sub(1), map.end.wrapping_sub(9)] {
                let _ = memory.read_at(address, &mut buffer);
            }
        }
    }
    // With the kernel's image the page tables alone take 8 MiB.
    if machine.memory.total() > 4 << 20 || maps.clone().any(|map| map.end_address() > 0xffff_fe00_8000_0000) {
        return;
    }
    let target = path.with_extension("dump");
    let file = fs::File::options().read(true).write(true).create(true).truncate(true).open(&target);
    let file = file.expect("the file can be made");
    let is_of_use = Architecture::from_system(&machine.system).is_some_and(|architecture| {
        minidump::Machine::Tree(architecture).kernel_dumps_are_of_use(machine.system.osreldate)
    });
    if host.kernel_dump(&file, Compression::None).is_ok() && machine.live_dump_fault.is_none() && is_of_use {
        let volume = ByteSource::from_file(&file).expect("it has a length");
        let inspection = inspect(&volume, Depth::Full, &Progress::default()).expect("it can be read");
        assert!(matches!(inspection.content, Content::Minidump(_)));
        assert_eq!(inspection.damage, []);
    }
    let _ = fs::remove_file(&target);
}
