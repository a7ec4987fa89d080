use super::vmmap::{VmmapContext, parse, parse_layout};
use super::*;
use crate::memory_map::kernel_maps::KernelMapping;
use ioctl_defs::user::*;
use proptest::prelude::*;
use std::mem::{offset_of, size_of};

const PAGE: u64 = 4096;
const FACTS: VmmapContext = VmmapContext { page_size: PAGE, layout: None, counted: true };

/// A record as the kernel packs it: the path and its NUL, and what is missing to a multiple of 8.
fn record(kind: i32, flags: i32, path: &str, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![0; offset_of!(kinfo_vmentry, kve_path)];
    set(&mut bytes, offset_of!(kinfo_vmentry, kve_type), &kind.to_ne_bytes());
    set(&mut bytes, offset_of!(kinfo_vmentry, kve_flags), &flags.to_ne_bytes());
    set(&mut bytes, offset_of!(kinfo_vmentry, kve_start), &0x1000_u64.to_ne_bytes());
    set(&mut bytes, offset_of!(kinfo_vmentry, kve_end), &0x5000_u64.to_ne_bytes());
    set(&mut bytes, offset_of!(kinfo_vmentry, kve_ref_count), &1_i32.to_ne_bytes());
    set(&mut bytes, offset_of!(kinfo_vmentry, kve_status), &u16::try_from(KF_ATTR_VALID).unwrap().to_ne_bytes());
    change(&mut bytes);
    bytes.extend(path.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let size = i32::try_from(bytes.len()).unwrap();
    set(&mut bytes, offset_of!(kinfo_vmentry, kve_structsize), &size.to_ne_bytes());
    bytes
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn set_int(bytes: &mut [u8], at: usize, value: i32) {
    set(bytes, at, &value.to_ne_bytes());
}

fn one(bytes: &[u8]) -> MapEntry {
    let mut entries = parse(bytes, &FACTS).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

fn plain(kind: i32, flags: i32) -> Vec<u8> {
    record(kind, flags, "", |_| ())
}

#[test]
fn every_field_of_a_record_arrives() {
    let bytes = record(KVME_TYPE_VNODE, KVME_FLAG_COW | KVME_FLAG_NOCOREDUMP | KVME_FLAG_SUPER, "/bin/sh", |bytes| {
        set(bytes, offset_of!(kinfo_vmentry, kve_offset), &0x2_1000_u64.to_ne_bytes());
        set(bytes, offset_of!(kinfo_vmentry, kve_vn_fileid), &4711_u64.to_ne_bytes());
        set(bytes, offset_of!(kinfo_vmentry, kve_type_spec), &0x1234_5678_9abc_def0_u64.to_ne_bytes());
        set_int(bytes, offset_of!(kinfo_vmentry, kve_resident), 3);
        set_int(bytes, offset_of!(kinfo_vmentry, kve_ref_count), 7);
        let bits = KVME_PROT_READ | KVME_PROT_EXEC | KVME_MAX_PROT_READ | KVME_MAX_PROT_WRITE;
        set_int(bytes, offset_of!(kinfo_vmentry, kve_protection), bits);
    });
    let entry = one(&bytes);
    assert_eq!((entry.start, entry.end, entry.offset, entry.inode), (0x1000, 0x5000, 0x2_1000, 4711));
    assert_eq!(entry.protection.to_string(), "r-x");
    assert_eq!(entry.max_protection.unwrap().to_string(), "rw-");
    // sys/types.h: 0x12345678 and 0x9abcdef0, with a byte of each changing places.
    assert_eq!(entry.device, Device { major: 0x1234_56de, minor: 0x9abc_78f0 });
    assert_eq!((entry.copy_on_write, entry.needs_copy, entry.no_core_dump), (true, Some(false), Some(true)));
    assert_eq!((entry.object, entry.references, entry.path.as_slice()), (Object::Vnode, Some(7), &b"/bin/sh"[..]));
    assert_eq!((entry.locked, entry.inheritance, entry.wired, entry.advice), (Some(false), None, None, None));
    let usage = entry.usage.unwrap();
    assert_eq!((usage.resident, usage.private, usage.superpages), (3 * PAGE, None, Superpages::Used(true)));
}

#[test]
fn an_older_kernels_device_and_protection_are_taken_for_what_they_are() {
    let entry = one(&record(KVME_TYPE_VNODE, 0, "/x", |bytes| {
        set(bytes, offset_of!(kinfo_vmentry, kve_vn_fsid_freebsd11), &0x55_u32.to_ne_bytes());
        set_int(bytes, offset_of!(kinfo_vmentry, kve_protection), KVME_PROT_READ);
    }));
    assert_eq!(entry.device, Device { major: 0, minor: 0x55 });
    assert_eq!(entry.max_protection, None);
}

/// Where the file system did not answer, the kernel has left something else: an object's address.
#[test]
fn what_the_file_system_did_not_tell_is_not_taken_for_a_device() {
    let bytes = record(KVME_TYPE_VNODE, KVME_FLAG_COW, "/net/gone", |bytes| {
        set(bytes, offset_of!(kinfo_vmentry, kve_status), &[0; 2]);
        set(bytes, offset_of!(kinfo_vmentry, kve_vn_fileid), &4711_u64.to_ne_bytes());
        set(bytes, offset_of!(kinfo_vmentry, kve_type_spec), &0xffff_f800_0123_4560_u64.to_ne_bytes());
    });
    let entry = one(&bytes);
    assert_eq!((entry.device, entry.inode), (Device::default(), 0));
    assert_eq!(entry.path, b"/net/gone");
}

#[test]
fn what_has_no_object_has_no_offset_in_one() {
    // A stack's guard keeps the stack's protection there: PROT_READ | PROT_WRITE, and up to all of them.
    let offset = |kind| {
        one(&record(kind, 0, "", |bytes| {
            set(bytes, offset_of!(kinfo_vmentry, kve_offset), &0x7_0003_u64.to_ne_bytes())
        }))
        .offset
    };
    assert_eq!((offset(KVME_TYPE_GUARD), offset(KVME_TYPE_NONE)), (0, 0));
    assert_eq!((offset(KVME_TYPE_SWAP), offset(KVME_TYPE_VNODE)), (0x7_0003, 0x7_0003));
}

#[test]
fn what_has_no_path_is_named_by_its_kind_its_flags_and_the_layout() {
    let region = |start| AddressRange { start, end: start + 0x1000 };
    let layout = |data, shared_page| Layout {
        user: AddressRange { start: 0, end: 1 << 47 },
        data: region(data),
        stack_limit: 0x9_0000,
        stack_size: 0x1000,
        shared_page: region(shared_page),
        flags: 0,
    };
    let (heap, vdso) = (Some(layout(0x1000, 0)), Some(layout(0, 0x1000)));
    let readable = |kind, flags, bits| {
        record(kind, flags, "", move |bytes| set_int(bytes, offset_of!(kinfo_vmentry, kve_protection), bits))
    };
    for (bytes, layout, label, object) in [
        (plain(KVME_TYPE_NONE, 0), None, "anon", Object::None),
        (plain(KVME_TYPE_DEFAULT, 0), None, "anon", Object::Anonymous),
        (plain(KVME_TYPE_SWAP, 0), heap, "heap", Object::Anonymous),
        (plain(KVME_TYPE_SWAP, 0), vdso, "anon", Object::Anonymous),
        (plain(KVME_TYPE_SWAP, KVME_FLAG_GROWS_DOWN), heap, "stack", Object::Anonymous),
        (plain(KVME_TYPE_SWAP, KVME_FLAG_GROWS_UP), None, "stack", Object::Anonymous),
        (plain(KVME_TYPE_SWAP, KVME_FLAG_SYSVSHM), heap, "sysv shm", Object::SysvShm),
        (plain(KVME_TYPE_SWAP, KVME_FLAG_POSIXSHM), None, "posix shm", Object::PosixShm),
        (plain(KVME_TYPE_GUARD, KVME_FLAG_GROWS_DOWN), None, "guard", Object::Guard),
        (plain(KVME_TYPE_PHYS, 0), None, "physical", Object::Physical),
        (readable(KVME_TYPE_PHYS, 0, KVME_PROT_EXEC), None, "vdso", Object::Physical),
        (readable(KVME_TYPE_PHYS, 0, KVME_PROT_EXEC), heap, "physical", Object::Physical),
        (plain(KVME_TYPE_PHYS, 0), vdso, "vdso", Object::Physical),
        (plain(KVME_TYPE_DEVICE, 0), None, "device", Object::Device),
        (plain(KVME_TYPE_MGTDEVICE, 0), None, "device", Object::Device),
        (plain(KVME_TYPE_SG, 0), None, "scatter/gather", Object::ScatterGather),
        (plain(KVME_TYPE_DEAD, 0), None, "dead", Object::Dead),
        (plain(KVME_TYPE_VNODE, 0), None, "file", Object::Vnode),
        (plain(KVME_TYPE_UNKNOWN, 0), None, "unknown", Object::Unknown),
        (plain(1234, 0), None, "unknown", Object::Unknown),
    ] {
        let entry = parse(&bytes, &VmmapContext { layout, ..FACTS }).unwrap().remove(0);
        assert_eq!((String::from_utf8_lossy(&entry.label).as_ref(), entry.object), (label, object));
    }
}

/// The kernel names shared memory "anon" that has no name (`shm_get_path`, `sys/kern/uipc_shm.c`).
#[test]
fn posix_shared_memory_without_a_name_is_not_said_to_be_a_file_named_anon() {
    let entry = one(&record(KVME_TYPE_SWAP, KVME_FLAG_POSIXSHM, "anon", |_| {}));
    assert_eq!((entry.path.as_slice(), entry.label.as_slice()), (&b""[..], &b"posix shm"[..]));
    let named = one(&record(KVME_TYPE_SWAP, KVME_FLAG_POSIXSHM, "/anon", |_| {}));
    assert_eq!((named.path.as_slice(), named.object), (&b"/anon"[..], Object::PosixShm));
    let file = one(&record(KVME_TYPE_VNODE, 0, "anon", |_| {}));
    assert_eq!(file.path, b"anon");
}

/// What is private, and whether the entry is, by kind, flags, pages of the first object and references. There are
/// three pages in memory.
#[test]
fn private_pages_are_told_only_where_that_is_certain() {
    let (cow, fresh) = (KVME_FLAG_COW, KVME_FLAG_COW | KVME_FLAG_NEEDS_COPY);
    for (kind, flags, first_object, references, private_pages, private) in [
        // A file's pages are the file's, until they are copied; then an object of the process is before it.
        (KVME_TYPE_VNODE, 0, 90, 5, Some(0), false),
        (KVME_TYPE_VNODE, fresh, 90, 5, Some(0), true),
        (KVME_TYPE_VNODE, cow, 0, 1, None, true),
        // Anonymous memory of this process only, and of several.
        (KVME_TYPE_SWAP, 0, 3, 1, Some(3), true),
        (KVME_TYPE_SWAP, 0, 3, 2, Some(0), false),
        (KVME_TYPE_SWAP, fresh, 3, 2, Some(0), true),
        (KVME_TYPE_SWAP, fresh, 3, 1, Some(3), true),
        (KVME_TYPE_SWAP, cow, 3, 1, Some(3), true),
        (KVME_TYPE_SWAP, cow, 0, 1, None, true),
        (KVME_TYPE_SWAP, KVME_FLAG_SYSVSHM, 3, 1, Some(0), false),
        (KVME_TYPE_PHYS, 0, 3, 9, Some(0), false),
    ] {
        let entry = one(&record(kind, flags, "", |bytes| {
            set_int(bytes, offset_of!(kinfo_vmentry, kve_resident), 3);
            set_int(bytes, offset_of!(kinfo_vmentry, kve_private_resident), first_object);
            set_int(bytes, offset_of!(kinfo_vmentry, kve_ref_count), references);
        }));
        let usage = entry.usage.unwrap();
        let told = private_pages.map(|pages: u64| pages * PAGE);
        assert_eq!((usage.private, entry.private), (told, private), "{kind} {flags} {first_object} {references}");
        assert_eq!(usage.shared, told.map(|private| 3 * PAGE - private));
    }
}

#[test]
fn an_object_that_only_this_process_refers_to_twice_is_its_own() {
    let part = |start: u64| {
        record(KVME_TYPE_SWAP, 0, "", move |bytes| {
            set(bytes, offset_of!(kinfo_vmentry, kve_start), &start.to_ne_bytes());
            set(bytes, offset_of!(kinfo_vmentry, kve_end), &(start + 0x1000).to_ne_bytes());
            set(bytes, offset_of!(kinfo_vmentry, kve_type_spec), &0xfff0_u64.to_ne_bytes());
            set_int(bytes, offset_of!(kinfo_vmentry, kve_ref_count), 2);
        })
    };
    let both = parse(&[part(0x1000), part(0x3000)].concat(), &FACTS).unwrap();
    assert!(both.iter().all(|entry| entry.private));
    assert_eq!(both[0].object_id, Some(vmcore::units::Hex(0xfff0)));
    assert!(!one(&part(0x1000)).private);
}

#[test]
fn pages_that_the_kernel_does_not_count_are_not_none() {
    let entries = parse(&plain(KVME_TYPE_SWAP, 0), &VmmapContext { counted: false, ..FACTS }).unwrap();
    assert_eq!(entries[0].usage, None);
}

#[test]
fn a_record_whose_size_cannot_be_is_an_error_that_names_it() {
    let good = plain(KVME_TYPE_SWAP, 0);
    let fixed = i32::try_from(offset_of!(kinfo_vmentry, kve_path)).unwrap();
    let length = i32::try_from(good.len()).unwrap();
    for size in (-2..=fixed).chain([length + 1, 1 << 20, i32::MAX, i32::MIN]) {
        let mut bytes = [good.clone(), good.clone()].concat();
        set_int(&mut bytes[good.len()..], 0, size);
        let why = parse(&bytes, &FACTS).unwrap_err();
        assert!(why.contains("record 1"), "{size}: {why}");
    }
    // Without the path's NUL, and with more than today's kernels send.
    for size in fixed + 1..length {
        let mut bytes = good[..usize::try_from(size).unwrap()].to_vec();
        set_int(&mut bytes, 0, size);
        assert_eq!(one(&bytes).label, b"anon");
    }
    let mut long = good.clone();
    long.resize(size_of::<kinfo_vmentry>() + 64, 0);
    let size = i32::try_from(long.len()).unwrap();
    set_int(&mut long, 0, size);
    assert_eq!(one(&long), one(&good));
    for cut in 1..good.len() {
        assert!(parse(&good[..cut], &FACTS).is_err(), "{cut}");
    }
    assert_eq!(parse(&[good.as_slice(), &[0; 16]].concat(), &FACTS).unwrap().len(), 1);
}

#[test]
fn the_layout_is_read_and_another_size_of_it_is_not() {
    let word = size_of::<usize>();
    let mut bytes = vec![0; size_of::<kinfo_vm_layout>()];
    for (at, value) in [
        (offset_of!(kinfo_vm_layout, kvm_min_user_addr), 0x1000_usize),
        (offset_of!(kinfo_vm_layout, kvm_max_user_addr), 0x9000_0000),
        (offset_of!(kinfo_vm_layout, kvm_data_addr), 0x30_0000),
        (offset_of!(kinfo_vm_layout, kvm_data_size), 2),
        (offset_of!(kinfo_vm_layout, kvm_stack_addr), 0x8000_0000),
        (offset_of!(kinfo_vm_layout, kvm_stack_size), usize::MAX),
        (offset_of!(kinfo_vm_layout, kvm_shp_addr), 0x8fff_f000),
        (offset_of!(kinfo_vm_layout, kvm_shp_size), 0x1000),
    ] {
        bytes[at..at + word].copy_from_slice(&value.to_ne_bytes());
    }
    set_int(&mut bytes, offset_of!(kinfo_vm_layout, kvm_map_flags), 0x12);
    let layout = parse_layout(&bytes, PAGE).unwrap();
    assert_eq!(layout.user, AddressRange { start: 0x1000, end: 0x9000_0000 });
    assert_eq!(layout.data, AddressRange { start: 0x30_0000, end: 0x30_2000 });
    assert_eq!((layout.stack_limit, layout.stack_size), (0x8000_0000, u64::MAX));
    assert_eq!(layout.shared_page, AddressRange { start: 0x8fff_f000, end: 0x9000_0000 });
    assert_eq!(layout.flags, 0x12);
    assert_eq!(parse_layout(&bytes[1..], PAGE), None);
    assert_eq!(parse_layout(&[], PAGE), None);
}

#[test]
fn arguments_become_a_line() {
    assert_eq!(command_line(b"sh\0-c\0sleep 1\0").text(), "sh -c sleep 1");
    assert_eq!(command_line(b"/bin/sh\0").text(), "/bin/sh");
    assert_eq!(command_line(b"").text(), "");
    assert_eq!(command_line(b"title\0\0\0\0").text(), "title");
}

const SMAPS: &str = "\
00400000-00600000 rw-s 00001000 fd:01 42                         /tmp/two words (deleted)
Size:               2048 kB
Rss:                 100 kB
Pss:                   1 kB
Shared_Clean:         60 kB
Shared_Dirty:         10 kB
Private_Clean:        20 kB
Private_Dirty:        10 kB
Anonymous:            10 kB
AnonHugePages:         0 kB
ShmemPmdMapped:     2048 kB
Swap:                  4 kB
Private_Hugetlb:    2048 kB
NewInSomeKernel:     yes
VmFlags: rd wr mr mw me sh lo dd sr
00600000-00601000 ---p 00000000 00:00 0 
7f0000000000-7f0000002000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   8 kB
Private_Clean:         0 kB
Shared_Clean:          8 kB
VmFlags: rd ex mr me de dc
7f0000400000-7f0000600000 rw-p 00000000 00:0f 7                          /anon_hugepage (deleted)
Rss:                   0 kB
Anonymous:             0 kB
Private_Hugetlb:    2048 kB
VmFlags: rd wr mr mw me wf
";

#[test]
fn linux_tells_more_of_an_entry() {
    let entries = procfs::parse(SMAPS.as_bytes()).unwrap();
    let [file, anon, vdso, huge] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((file.start, file.end, file.offset, file.inode), (0x40_0000, 0x60_0000, 0x1000, 42));
    assert_eq!(file.device, Device { major: 0xfd, minor: 1 });
    assert_eq!(file.path, b"/tmp/two words (deleted)");
    assert_eq!((file.private, file.copy_on_write, file.needs_copy), (false, false, Some(false)));
    assert_eq!(file.max_protection.unwrap().to_string(), "rwx");
    assert_eq!((file.inheritance, file.wired, file.advice), (Some(0), Some(1), Some(2)));
    assert_eq!((file.locked, file.no_core_dump), (Some(true), Some(true)));
    let usage = file.usage.unwrap();
    assert_eq!(usage.resident, (100 + 2048) << 10);
    assert_eq!((usage.private, usage.shared), (Some((30 + 2048) << 10), Some(70 << 10)));
    assert_eq!((usage.dirty, usage.swapped), (Some(20 << 10), Some(4 << 10)));
    assert_eq!(usage.superpages, Superpages::Bytes(4096 << 10));
    assert_eq!((anon.label.as_slice(), anon.object, anon.usage), (&b"anon"[..], Object::Anonymous, None));
    assert!(anon.is_reserved() && anon.private);
    assert_eq!((vdso.label.as_slice(), vdso.path.as_slice()), (&b"vdso"[..], &b""[..]));
    assert_eq!((vdso.inheritance, vdso.needs_copy, vdso.advice), (Some(2), Some(true), Some(0)));
    // Linux does not tell what was copied of such pages.
    assert_eq!((huge.private, huge.needs_copy, huge.inheritance), (true, None, Some(3)));
}

#[test]
fn a_line_that_is_not_as_linux_writes_it_is_named() {
    for line in [
        "00400000 rw-s 0 00:00 0",
        "00400000-0060000g rw-s 0 00:00 0",
        "00400000-00600000 rwxz 0 00:00 0",
        "00400000-00600000 rwx 0 00:00 0",
        "00400000-00600000 rw-p 0 0000 0",
        "00400000-00600000 rw-p 0 00:00",
        "00400000-00600000 rw-p 0 00:00 x",
        "00400000-11112222333344445 rw-p 0 00:00 0",
        "Rss: 5 MB",
        "Rss: -1 kB",
        "Rss 5",
        "",
    ] {
        let text = format!("{SMAPS}{line}\n");
        let why = procfs::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(why.contains("line 27"), "{line}: {why}");
    }
}

#[test]
fn maps_that_are_out_of_order_are_noticed() {
    let map = |ranges: &[(u64, u64)]| ProcessMap {
        pid: 1,
        command: Name::default(),
        layout: None,
        entries: ranges.iter().map(|(start, end)| MapEntry::new(*start, *end, Object::None)).collect(),
        domains: None,
        structures: None,
    };
    assert_eq!(map(&[(0, 1), (1, 2), (5, 0)]).problem(), None);
    for wrong in [&[(1, 1)][..], &[(2, 1)], &[(0, 3), (2, 4)], &[(0, 0), (5, 6)], &[(3, 4), (1, 2)]] {
        assert!(map(wrong).problem().is_some(), "{wrong:?}");
    }
    let gaps = map(&[(1, 2), (2, 5), (9, 0)]);
    assert_eq!((gaps.gap_before(0), gaps.gap_before(1), gaps.gap_before(3)), (None, None, None));
    assert_eq!(gaps.gap_before(2), Some(Gap { start: 5, size: 4 }));
    assert_eq!(gaps.gaps().collect::<Vec<_>>(), [(2, Gap { start: 5, size: 4 })]);
    // Nothing can be mapped between the halves of the address space.
    let halves = map(&[(1, 2), (3, 4), (u64::MAX << 20, 0)]);
    assert_eq!(halves.gaps().collect::<Vec<_>>(), [(1, Gap { start: 2, size: 1 })]);
    assert_eq!(map(&[(0, 1 << 32)]).address_digits(), 8);
    assert_eq!(map(&[(0, (1 << 32) + 1)]).address_digits(), 16);
}

#[test]
fn the_kernels_map_counts_what_larger_pages_map() {
    let mapping = |start: u64, end: u64, pages: &[u64]| KernelMapping {
        start,
        end,
        permissions: "rw-sg".to_owned(),
        cache: Some("WB".to_owned()),
        pages: pages.to_vec(),
        region: "Kernel map".to_owned(),
    };
    let low = mapping(0xffff_8000_0000_0000, 0xffff_8000_0060_1000, &[0, 3, 1]);
    let last = mapping(0xffff_ffff_ffff_e000, 0, &[0, 0, 2]);
    let map = from_kernel_maps(&[last, low], PAGE);
    assert_eq!(map.problem(), None);
    let totals = Totals::from_entries(&map.entries);
    assert_eq!((totals.entries, totals.size), (2, 0x60_3000));
    assert_eq!((totals.resident, totals.superpages), (Some(0x60_3000), Some(0x60_0000)));
    assert_eq!((totals.private, totals.undivided), (None, Some(0x60_3000)));
}

proptest! {
    /// Whatever the bytes are, there is an answer, and never more entries than there is room for records.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(entries) = parse(&bytes, &FACTS) {
            prop_assert!(entries.len() * (offset_of!(kinfo_vmentry, kve_path) + 1) <= bytes.len());
        }
        let _ = procfs::parse(bytes.as_slice());
        let _ = parse_layout(&bytes, PAGE);
    }

    /// The same for records of which some words are others.
    #[test]
    fn records_with_any_content_are_read(
        kind in any::<i32>(), flags in any::<i32>(), bits in any::<i32>(), resident in any::<i32>(),
        pages in any::<i32>(), references in any::<i32>(), start in any::<u64>(), end in any::<u64>(),
    ) {
        let bytes = record(kind, flags, "/x", |bytes| {
            set_int(bytes, offset_of!(kinfo_vmentry, kve_protection), bits);
            set_int(bytes, offset_of!(kinfo_vmentry, kve_resident), resident);
            set_int(bytes, offset_of!(kinfo_vmentry, kve_private_resident), pages);
            set_int(bytes, offset_of!(kinfo_vmentry, kve_ref_count), references);
            set(bytes, offset_of!(kinfo_vmentry, kve_start), &start.to_ne_bytes());
            set(bytes, offset_of!(kinfo_vmentry, kve_end), &end.to_ne_bytes());
        });
        let entry = one(&bytes);
        prop_assert_eq!((entry.start, entry.end), (start, end));
        let usage = entry.usage.unwrap();
        prop_assert!(usage.private.is_none_or(|private| private <= usage.resident));
        let map = ProcessMap { pid: 1, command: Name::default(), layout: None, entries: vec![entry], domains: None, structures: None };
        prop_assert_eq!(map.problem().is_some(), end != 0 && end <= start);
        let totals = Totals::from_entries(&map.entries);
        prop_assert_eq!(totals.size, end.wrapping_sub(start));
    }

    /// What is recorded comes back.
    #[test]
    fn a_recorded_entry_is_read_as_it_was_written(
        kind in 0..12_i32, flags in 0..0x200_i32, bits in 0..8_i32, most in 0..8_i32,
        path in prop_oneof!["[ -~]{0,40}".prop_map(String::into_bytes), proptest::collection::vec(1..=255_u8, 0..9)],
    ) {
        let bytes = record(kind, flags, "/x", |bytes| {
            set_int(bytes, offset_of!(kinfo_vmentry, kve_protection), bits | most << 16);
        });
        let mut entry = one(&bytes);
        entry.path = path;
        let text = serde_json::to_string(&entry).unwrap();
        prop_assert_eq!(serde_json::from_str::<MapEntry>(&text).unwrap(), entry);
    }
}
