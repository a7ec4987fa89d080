//! `memtool show` of the buffers of file systems.

use crate::common::process_maps::MapKernel;
use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedKernel};
use crate::show_devices::{ARCHITECTURES, damaged};
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// Bytes of the largest buffer: addresses of so many pages are behind each header.
const LARGEST: u64 = 16 * 4096;
/// `B_DELWRI`, `B_CACHE`, `B_MALLOC` and `B_IOSTARTED`.
const DIRTY: u64 = 0x80;
const CACHE: u64 = 0x20;
const MALLOC: u64 = 0x1_0000;
const STARTED: u64 = 0x8_0000;

/// The headers of buffers as they are being built.
struct Headers {
    start: u64,
    /// Bytes from one to the next.
    size: u64,
    header: Type,
}

impl Headers {
    /// As many as are asked for, and what the kernel counts of them.
    fn new(kernel: &mut TypedKernel, count: u64) -> Self {
        let Basic { int, unsigned_int, unsigned_short, long, long_long, pointer, .. } = kernel.basic;
        let none = kernel.types.array(pointer, 0);
        let members = [
            ("b_bcount", long),
            ("b_iocmd", unsigned_short),
            ("b_resid", long),
            ("b_blkno", long_long),
            ("b_flags", unsigned_int),
            ("b_bufsize", long),
            ("b_runningbufspace", int),
            ("b_lblkno", long_long),
            ("b_vp", pointer),
            ("b_npages", int),
            ("b_pages", none),
        ];
        let header = kernel.types.record("buf", &members);
        let size = kernel.types.size_of(header) + LARGEST / 4096 * kernel.arch.word() as u64;
        let start = kernel.allocate_pages(size * count);
        let members = ["bd_numdirtybuffers", "bd_lodirtybuffers", "bd_hidirtybuffers", "bd_bufspace", "bd_hibufspace"];
        let domain = kernel.types.record("bufdomain", &members.map(|member| (member, int)));
        let domains = kernel.types.array(domain, 8);
        kernel.variable("bdomain", domains);
        for (index, member, value) in [
            (0, members[0], 2),
            (1, members[0], 1),
            (2, members[0], 100),
            (0, members[2], 1788),
            (1, members[3], -4096),
        ] {
            kernel.set_variable("bdomain", &format!("[{index}].{member}"), value);
        }
        for (name, value) in [("nbuf", count), ("maxbcachebuf", LARGEST), ("buf_domains", 2), ("bdirtywait", 1)] {
            kernel.variable(name, int);
            kernel.set_variable(name, "", value);
        }
        kernel.static_variable("runningbufspace", long);
        kernel.set_variable("runningbufspace", "", 32768);
        kernel.static_variable("buf", kernel.basic.string);
        kernel.set_variable("buf", "", start);
        Self { start, size, header }
    }

    fn at(&self, index: u64) -> u64 {
        self.start + self.size * index
    }

    /// A buffer of 32 KiB with these flags.
    fn set(&self, kernel: &mut TypedKernel, index: u64, flags: u64, vnode: u64) {
        let values =
            [("b_flags", flags), ("b_bufsize", 32768), ("b_bcount", 20480), ("b_vp", vnode), ("b_blkno", 64 * index)];
        for (member, value) in values {
            kernel.set(self.at(index), self.header, member, value);
        }
    }
}

/// A device, and a file of a file system whose name nothing tells: their vnodes.
fn vnodes(kernel: &mut TypedKernel) -> [u64; 2] {
    let (character, pointer) = (kernel.basic.character, kernel.basic.pointer);
    let (name, long) = (kernel.types.array(character, 64), kernel.types.array(character, 1024));
    let statistics = kernel.types.record("statfs", &[("f_mntonname", long)]);
    let mount = kernel.types.record("mount", &[("mnt_stat", statistics), ("mnt_data", pointer)]);
    let device = kernel.types.record("cdev", &[("si_name", name)]);
    let (to_mount, to_device) = (kernel.types.pointer(mount), kernel.types.pointer(device));
    let kind = kernel.types.enumeration("enum_vtype_uint8", 1, &[("VNON", 0), ("VREG", 1), ("VCHR", 4)]);
    let vnode = kernel.types.record("vnode", &[("v_type", kind), ("v_mount", to_mount), ("v_rdev", to_device)]);
    let [disk, file] = [0; 2].map(|_| kernel.allocate(vnode));
    let (of_disk, of_file) = (kernel.allocate(device), kernel.allocate(mount));
    kernel.set_text(of_disk, device, "si_name", "ada0p2");
    kernel.set_text(of_file, mount, "mnt_stat.f_mntonname", "/var");
    for (at, member, value) in
        [(disk, "v_type", 4), (disk, "v_rdev", of_disk), (file, "v_type", 1), (file, "v_mount", of_file)]
    {
        kernel.set(at, vnode, member, value);
    }
    [disk, file]
}

/// Buffers of a device and a file: dirty, written, read, clean and of malloc(9).
fn with_buffers(arch: Arch) -> (TypedKernel, Headers, [u64; 2]) {
    let mut kernel = TypedKernel::new(arch);
    let [disk, file] = vnodes(&mut kernel);
    let headers = Headers::new(&mut kernel, 2000);
    for (index, flags, vnode) in [
        (1, DIRTY | CACHE | 0x0010_0000, file),
        (3, DIRTY, disk),
        (1500, DIRTY, file),
        (1600, 0, file),
        (1700, STARTED, disk),
        (1800, CACHE, file),
        (1999, MALLOC, 0),
    ] {
        headers.set(&mut kernel, index, flags, vnode);
    }
    for (index, member, value) in [
        (1600, "b_runningbufspace", 32768),
        (1600, "b_iocmd", 2),
        (1600, "b_resid", 4096),
        (1600, "b_lblkno", -12),
        (1700, "b_iocmd", 1),
    ] {
        kernel.set(headers.at(index), headers.header, member, value);
    }
    (kernel, headers, [disk, file])
}

#[test]
fn buffers_are_counted_and_those_in_io_or_dirty_are_shown() {
    for arch in ARCHITECTURES {
        let (kernel, headers, [disk, file]) = with_buffers(arch);
        let dump = kernel.write();
        let run = dump.run(&["show", "buffers"]).ok();
        assert_eq!(run.stderr, "", "{arch:?}");
        let rows: Vec<_> = run.stdout.lines().collect();
        for row in [
            "buffers\t2000\t-",
            "dirty buffers\t3\t3",
            "dirty bytes\t-\t98304",
            "hidirtybuffers\t1788\t-",
            "threads wait for fewer\t1\t-",
            "buffers in I/O\t-\t2",
            "running bytes\t32768\t32768",
            "hirunningspace\t-\t-",
            "bytes\t-4096\t196608",
            "bytes of malloc(9)\t-\t32768",
            &format!("{:#x}\twrite\t102400\t20480\t4096\t/var\t{file:#x}", headers.at(1600)) as &str,
            &format!("{:#x}\tread\t108800\t20480\t0\t-\tada0p2", headers.at(1700)),
        ] {
            assert!(rows.contains(&row), "{arch:?} {row}: {run:?}");
        }
        let expected = [format!("/var\t{file:#x}\t2\t65536"), "-\tada0p2\t1\t32768".to_owned()];
        assert_eq!(rows[rows.len() - 2..], expected, "{arch:?}");
        let document = dump.run(&["show", "buffers", "--json"]).ok().json();
        let buffers = document["buffers"]["listed_buffers"].as_array().unwrap();
        assert_eq!(buffers.len(), 5, "{arch:?}");
        assert_eq!(buffers[0]["flags"], json!(["cache", "delwri", "0x100000"]));
        assert_eq!((&buffers[3]["logical_block"], &buffers[3]["is_in_io"]), (&json!(-12), &json!(true)));
        assert_eq!(buffers[3]["vnode"], format!("{file:#x}"));
        let of_disk = document["buffers"]["files"].as_array().unwrap();
        let of_disk = of_disk.iter().find(|file| file["address"] == format!("{disk:#x}")).unwrap();
        assert_eq!((&of_disk["vnode_type"], &of_disk["device_name"]), (&json!("VCHR"), &json!("ada0p2")));
    }
}

#[test]
fn headers_that_cannot_be_read_make_what_was_found_unknown() {
    let (mut kernel, headers, _) = with_buffers(Arch::Amd64);
    kernel.omit(headers.at(3));
    kernel.set_variable("buf_domains", "", 9);
    let away = kernel.unmapped();
    kernel.set(headers.at(1500), headers.header, "b_vp", away);
    let (stderr, document) = damaged(&kernel, "buffers");
    for text in [
        "headers of buffers cannot be read",
        "bd_numdirtybuffers cannot be read: buf_domains is 9, more than there are",
        &format!("v_type of the vnode at {away:#x} cannot be read") as &str,
    ] {
        assert!(stderr.contains(text), "{text}: {stderr}");
    }
    let found = &document["buffers"]["found_buffers"];
    assert_eq!((&found["dirty_count"], &found["bytes_allocated"]), (&Value::Null, &Value::Null));
    assert_eq!(document["buffers"]["counters"]["dirty_count"], Value::Null);
    assert_eq!(document["buffers"]["listed_buffers"].as_array().unwrap().len(), 3, "those of the second block");
}

#[test]
fn a_number_of_buffers_that_no_kernel_has_is_refused() {
    let (mut kernel, ..) = with_buffers(Arch::Amd64);
    kernel.set_variable("nbuf", "", 5_000_000);
    let run = kernel.write().run(&["show", "buffers"]).exits(1);
    assert!(run.stderr.contains("nbuf is 5000000, which is no number of buffers"), "{run:?}");
}

#[test]
fn dirty_buffers_are_added_by_the_path_of_their_file() {
    let mut map = MapKernel::new(Arch::Amd64);
    let file = map.file("/var/log/messages", 7);
    let headers = Headers::new(&mut map.kernel, 2);
    (0..2).for_each(|index| headers.set(&mut map.kernel, index, DIRTY, file));
    let run = map.kernel.write().run(&["show", "buffers"]).ok();
    assert!(run.stdout.ends_with("\n-\t/var/log/messages\t2\t65536\n"), "{run:?}");
}
