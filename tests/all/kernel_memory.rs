//! Kernel virtual memory of a recorded machine: what its page tables say, read by address.

use crate::common::minidump::Minidump;
use crate::common::{address, demo_machine, directory, failing, on, text, write_machine};
use memtool::host::{self, Selection};
use memtool::memory_map::kernel_maps;
use serde_json::{Value, json};
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmcore::memory::Memory;

const DIRECT_MAP: u64 = 0xffff_f800_0000_0000;

fn kernel_memory(machine: &Path) -> memtool::Result<Box<dyn Memory>> {
    host::open(&Selection { machine: Some(machine), device: None }).unwrap().kernel_memory()
}

/// Reads once, and gives what came or the errno.
fn read(memory: &dyn Memory, address: u64, length: usize) -> Result<Vec<u8>, i32> {
    let mut buffer = vec![0xa5; length];
    match memory.read_at(address, &mut buffer) {
        Ok(read) => {
            assert!(buffer[read..].iter().all(|byte| *byte == 0xa5), "bytes beyond the {read} that were read changed");
            buffer.truncate(read);
            Ok(buffer)
        }
        Err(error) => Err(error.errno().0),
    }
}

/// The minidump of the same machine: its own copy of the page tables, walked by the tests' own code.
fn dump_of(machine: &Path) -> Minidump {
    let directory = directory();
    let target = directory.path().join("dump");
    on(machine, &["livedump", text(&target)]).ok();
    Minidump::parse(std::fs::read(&target).unwrap())
}

/// Ranges of the kernel map, joined where they touch.
fn kernel_ranges(machine: &Value) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for map in machine["kernel_maps"].as_array().unwrap().iter().filter(|map| map["region"] != "Direct map") {
        let (start, end) = (address(&map["start"]), address(&map["end"]));
        match ranges.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => ranges.push((start, end)),
        }
    }
    ranges
}

#[test]
fn every_page_of_the_kernel_map_is_the_one_the_page_tables_tell() {
    let directory = directory();
    let mut machine = demo_machine();
    // Where the kernel that is built in has nothing, is the pattern.
    machine.as_object_mut().unwrap().remove("kernel");
    let path = write_machine(directory.path(), &machine);
    let dump = dump_of(&path);
    let memory = kernel_memory(&path).unwrap();
    let mut pages = 0;
    for (start, end) in kernel_ranges(&demo_machine()) {
        for page in (start..end).step_by(4096) {
            let physical = dump.translate(page).unwrap().physical;
            assert!(read(&*memory, page, 4096).unwrap() == dump.page(physical).unwrap(), "{page:#x}");
            pages += 1;
        }
    }
    assert!(pages > 4000, "{pages}");
    // The kernel's image lies at the same place from KERNBASE as in physical memory; the pattern says where.
    assert_eq!(read(&*memory, 0xffff_ffff_8020_0010, 8).unwrap(), 0x20_0010u64.to_le_bytes());
}

#[test]
fn a_read_goes_on_over_pages_and_superpages_to_the_end_of_what_is_mapped() {
    let dump = dump_of(Path::new("demo"));
    let memory = kernel_memory(Path::new("demo")).unwrap();
    let length = 32 << 20;
    for (start, end) in kernel_ranges(&demo_machine()) {
        let from = start + 0x123;
        let mut expected: Vec<u8> = (start..end)
            .step_by(4096)
            .flat_map(|page| dump.page(dump.translate(page).unwrap().physical).unwrap().to_vec())
            .collect();
        expected.drain(..0x123);
        assert!(expected.len() < length);
        assert!(read(&*memory, from, length).unwrap() == expected, "{start:#x}");
        assert_eq!(read(&*memory, end, 1), Err(libc::EFAULT), "{end:#x}");
        assert_eq!(read(&*memory, end - 1, 2).unwrap().len(), 1, "{end:#x}");
    }
}

#[test]
fn the_direct_map_is_physical_memory_and_only_where_that_is_ram() {
    let host = host::open(&Selection { machine: Some(Path::new("demo")), device: None }).unwrap();
    let (kernel, physical) = (host.kernel_memory().unwrap(), host.physical_memory().unwrap());
    for segment in host.memory_map().unwrap().segments {
        // All of a small segment, parts of a large one.
        for at in (segment.start..segment.end).step_by(8 << 20) {
            let length = usize::try_from((segment.end - at).min(1 << 20)).unwrap();
            let bytes = read(&*kernel, DIRECT_MAP + at, length).unwrap();
            assert_eq!(bytes.len(), length);
            assert!(bytes == read(&*physical, at, length).unwrap(), "{at:#x}");
        }
    }
    // Over the border of two domains, up to the hole, and in it.
    assert_eq!(read(&*kernel, DIRECT_MAP + 0x7ff_fffc, 8).unwrap()[4..], 0x800_0000u64.to_le_bytes()[..4]);
    assert_eq!(read(&*kernel, DIRECT_MAP + 0x9_f000, 4096).unwrap().len(), 0xc00);
    for hole in [0x9_fc00, 0xa_0000, 0xffd_a000, 0xffff_fff8, 0x1_0800_0000, 0x3ff_ffff_f000] {
        assert_eq!(read(&*kernel, DIRECT_MAP + hole, 16), Err(libc::EFAULT), "{hole:#x}");
    }
}

#[test]
fn what_is_not_mapped_is_efault() {
    let memory = kernel_memory(Path::new("demo")).unwrap();
    for address in [
        0,
        0x20_0000,
        0xffff_8000_0000_0000,
        DIRECT_MAP - 1,
        0xffff_fc00_0000_0000,
        0xffff_fdff_ffff_ffff,
        0xffff_fe00_0030_0000,
        0xffff_fe01_0000_0000,
        0xffff_ffff_801f_ffff,
        u64::MAX - 7,
        u64::MAX,
    ] {
        assert_eq!(read(&*memory, address, 8), Err(libc::EFAULT), "{address:#x}");
    }
    assert_eq!(read(&*memory, 0xffff_ffff_8020_0000, 0), Ok(Vec::new()));
}

#[test]
fn a_mapping_up_to_the_end_of_the_address_space_is_read_to_it() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["kernel_maps"] = json!([{
        "start": "0xffffffffffffe000", "end": "0x0", "permissions": "rw-sg", "cache": "WB", "pages": [0, 0, 2],
        "region": "Kernel map",
    }]);
    // The kernel's image would fill 2 GiB; its tables lie behind it, above 4 GiB.
    let memory = kernel_memory(&write_machine(directory.path(), &machine)).unwrap();
    assert_eq!(read(&*memory, 0xffff_ffff_ffff_e000, 12_288).unwrap().len(), 8192);
    assert_eq!(read(&*memory, u64::MAX, 2).unwrap().len(), 1);
}

#[test]
fn everything_that_may_be_read_can_be_read() {
    let host = host::open(&Selection { machine: Some(Path::new("demo")), device: None }).unwrap();
    let memory = host.kernel_memory().unwrap();
    let maps = host.kernel_maps().unwrap().unwrap();
    let decided = kernel_maps::readable(&maps, &host.memory_map().unwrap(), false);
    let total: u64 = decided.segments.iter().map(|segment| segment.end - segment.start).sum();
    // The RAM, and what the kernel map has.
    assert_eq!(total, 0x9_fc00 + 0xfed_a000 + 0x800_0000 + 0x30_0000 + 0x6_4000 + 0x133_4000 + 0x3000);
    for segment in &decided.segments {
        for page in (segment.start..segment.end).step_by(4096) {
            let length = usize::try_from((segment.end - page).min(16)).unwrap();
            assert_eq!(read(&*memory, page, length).unwrap().len(), length, "{page:#x}");
        }
    }
    for range in &decided.skipped {
        assert_eq!(read(&*memory, range.start, 1), Err(libc::EFAULT), "{:#x}", range.start);
    }
}

#[test]
fn the_kernels_own_pages_are_there_over_an_image() {
    let directory = directory();
    let file = std::fs::File::create(directory.path().join("ram.img")).unwrap();
    file.set_len(0x9_fc00 + 0xfed_a000 + 0x800_0000).unwrap();
    file.write_all_at(b"here is 0x200010", 0x9_fc00 + 0x10_0010).unwrap();
    let mut machine = demo_machine();
    machine["contents"] = json!({"image": {"path": "ram.img"}});
    let path = write_machine(directory.path(), &machine);
    let memory = kernel_memory(&path).unwrap();
    assert_eq!(read(&*memory, 0xffff_ffff_8020_0010, 16).unwrap(), b"here is 0x200010");
    let dump = dump_of(&path);
    let tables: Vec<u64> = dump.pages.keys().copied().filter(|page| dump.page(*page).unwrap() != [0; 4096]).collect();
    assert!(tables.len() > 3);
    for page in tables {
        assert!(read(&*memory, DIRECT_MAP + page, 4096).unwrap() == dump.page(page).unwrap(), "{page:#x}");
    }
}

#[test]
fn an_unreadable_page_fails_with_its_own_errno_and_ends_a_read_before_it() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["unreadable"] = json!([{"start": "0x300000", "end": "0x301000"}]);
    let memory = kernel_memory(&write_machine(directory.path(), &machine)).unwrap();
    for base in [DIRECT_MAP, 0xffff_ffff_8000_0000] {
        assert_eq!(read(&*memory, base + 0x30_0000, 4096), Err(libc::EIO));
        assert_eq!(read(&*memory, base + 0x2f_f800, 4096).unwrap().len(), 0x800);
        assert_eq!(read(&*memory, base + 0x30_1000, 4096).unwrap().len(), 4096);
    }
}

#[test]
fn stated_errors_and_machines_without_a_laid_out_kernel_are_errors() {
    let directory = directory();
    let fails = |machine: &Value| match kernel_memory(&write_machine(directory.path(), machine)) {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    };
    let open = fails(&failing(&demo_machine(), "open", "EACCES"));
    assert!(open.contains("cannot open /dev/kmem") && open.contains("EACCES"), "{open}");
    let read = fails(&failing(&demo_machine(), "read", "EFAULT"));
    assert!(read.contains("/dev/kmem") && read.contains("EFAULT"), "{read}");
    let mut machine = demo_machine();
    machine["system"]["machine_arch"] = json!("i386");
    let other = fails(&machine);
    assert!(other.contains("amd64, aarch64 and riscv64 only") && other.contains("i386"), "{other}");
}
