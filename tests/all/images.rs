//! Memory of virtual machines, and images whose pages are compressed, in every format: what QEMU writes itself is compared
//! with the memory that it shows, what other programs write is built by their documents.

use crate::common::{self, Run, command, directory, memtool, schema, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Content, Depth, DumpedMemory, Inspection, inspect};
use vmcore::memory::Memory;
use vmcore::progress::Progress;
use vmcore_synth::virtual_machine::{self as vm, PageCodec, Registers};
use vmcore_synth::{KernelMemory, Paging};

const KERNSTART: &str = "0xffffffff80200000";
/// Where the kernel's image and its root are.
const IMAGE: u64 = 0x20_0000;
const ROOT: u64 = 0x40_0000;

/// Memory in one piece from 0 on, and with holes, one of them below 4 GiB.
const CONTIGUOUS: &[(u64, u64)] = &[(0, 0x44_0000)];
const SCATTERED: &[(u64, u64)] = &[(0, 0x1_0000), (IMAGE, 0x21_0000), (ROOT, 0x41_0000), (1 << 32, (1 << 32) + 0x8000)];

/// A machine of amd64 with a kernel: its image begins with an ELF header, its direct map has its root, which maps itself.
fn machine(paging: Paging, ram: &[(u64, u64)]) -> KernelMemory {
    let mut memory = KernelMemory::new(paging, ram, ROOT);
    let la57 = paging == Paging::Amd64La57;
    let directory = if la57 { 3 } else { 2 };
    let direct_map = if la57 { 0xff01_0000_0000_0000 } else { 0xffff_f800_0000_0000 };
    memory.map(0xffff_ffff_8020_0000, IMAGE, directory, false, true);
    memory.map(direct_map + ROOT, ROOT, directory, true, false);
    let itself = paging.table(ROOT, 0);
    memory.set(ROOT + 256 * 8, itself, 8);
    let mut header = b"\x7fELF\x02\x01\x01\x09\0\0\0\0\0\0\0\0".to_vec();
    header.extend([2, 0, 62, 0]);
    memory.write(IMAGE, &header);
    memory.write(0x3000, &[0; 0x3000]);
    memory.write(0x8000, &[7; 0x1800]);
    memory
}

/// A file in some format, with what belongs beside it.
struct Image {
    name: &'static str,
    /// What `inspect` calls it.
    kind: &'static str,
    format: Option<&'static str>,
    files: Vec<(&'static str, Vec<u8>)>,
    has_registers: bool,
    memory: KernelMemory,
}

impl Image {
    fn write(&self, directory: &Path) -> PathBuf {
        let directory = directory.join(self.name);
        fs::create_dir_all(&directory).unwrap();
        for (name, bytes) in &self.files {
            fs::write(directory.join(name), bytes).unwrap();
        }
        directory.join(self.files[0].0)
    }
}

/// AVML's own writer makes it, where it is: on Linux.
#[cfg(target_os = "linux")]
fn avml(memory: &KernelMemory) -> Vec<u8> {
    let padded = memory.segments();
    let mut out = Vec::new();
    for (start, bytes) in padded {
        let source = std::io::Cursor::new(bytes.clone());
        let mut image = avml::image::Image::from_streams(avml::Format::AvmlCompressed, source, &mut out);
        image.copy_block(start..start + bytes.len() as u64).unwrap();
    }
    out
}

fn every_image() -> Vec<Image> {
    let scattered = machine(Paging::Amd64, SCATTERED);
    let contiguous = machine(Paging::Amd64La57, CONTIGUOUS);
    let registers = [Registers::default(), Registers::amd64(ROOT, false)];
    let segments = scattered.segments();
    let row = contiguous.segments();
    let notes = vm::qemu_notes(&registers);
    let mut images = Vec::new();
    let mut add = |name, kind, format, files, has_registers, memory: &KernelMemory| {
        images.push(Image { name, kind, format, files, has_registers, memory: memory.clone() });
    };
    let core = |notes: &[u8]| vec![("core", vm::elf_core(&segments, notes))];
    add("qemu-elf", "elf", None, core(&notes), true, &scattered);
    add("virtualbox", "elf", None, core(&vm::virtualbox_notes(&registers)), true, &scattered);
    for (name, codec) in ["kdump", "zlib", "lzo", "snappy", "zstd"].into_iter().zip(PageCodec::ALL) {
        add(name, "image", Some("kdump"), vec![("dump", vm::kdump(&segments, &[codec], &notes))], true, &scattered);
    }
    let mixed = vm::kdump(&segments, &PageCodec::ALL, &[]);
    add("mixed", "image", Some("kdump"), vec![("dump", mixed)], false, &scattered);
    let flattened = vm::flattened(&vm::kdump(&segments, &[PageCodec::Zlib], &notes));
    add("flattened", "image", Some("kdump-flattened"), vec![("dump", flattened)], true, &scattered);
    add("xen", "image", Some("xen-core"), vec![("core", vm::xen(&segments, &registers))], true, &scattered);
    #[cfg(target_os = "linux")]
    add("avml", "image", Some("avml"), vec![("ram", avml(&scattered))], false, &scattered);
    let (state, memory) = vm::vmware(&segments, &registers, false);
    for (name, extension) in [("vmem", "a.vmss"), ("vmem-of-snapshot", "a.vmsn")] {
        let files = vec![("a.vmem", memory.clone()), (extension, state.clone())];
        add(name, "image", Some("vmware-memory"), files, true, &scattered);
    }
    let files = vec![("a.vmss", state), ("a.vmem", memory)];
    add("vmss", "image", Some("vmware-state"), files, true, &scattered);
    let (state, _) = vm::vmware(&segments, &registers, true);
    add("vmss-alone", "image", Some("vmware-state"), vec![("a.vmss", state)], true, &scattered);
    let (memory, metadata) = vm::bhyve(&row);
    let files = vec![("vm0", memory.clone()), ("vm0.meta", metadata.into_bytes())];
    add("bhyve", "image", Some("bhyve-checkpoint"), files, false, &contiguous);
    let stream = vm::qemu_state(&memory, false, "pc-i440fx-7.2");
    add("libvirt", "image", Some("libvirt-save"), vec![("save", vm::libvirt(&stream, 0))], false, &contiguous);
    add("stream", "image", Some("qemu-state"), vec![("state", stream)], false, &contiguous);
    let mapped = vm::qemu_state(&memory, true, "pc-q35-9.0");
    add("mapped-ram", "image", Some("qemu-state"), vec![("state", mapped)], false, &contiguous);
    let lime = vm::zlib(&scattered.lime());
    add("lime-zlib", "lime", None, vec![("ram", lime)], false, &scattered);
    images
}

fn converted(file: &Path, directory: &Path) -> (Run, Vec<u8>) {
    let out = directory.join("out.lime");
    let run = memtool(&["convert", "--format", "lime", "--force", text(file), text(&out)]);
    let bytes = fs::read(&out).unwrap_or_default();
    (run, bytes)
}

#[test]
fn every_format_holds_the_same_memory() {
    let directory = directory();
    for image in every_image() {
        let name = image.name;
        let file = image.write(directory.path());
        let run = memtool(&["--json", "inspect", "--verify", text(&file)]).ok();
        let found: Value = schema::document(&run.bytes);
        assert_eq!((&found["dump"]["kind"], &found["damage"]), (&image.kind.into(), &Value::Array(vec![])), "{name}");
        if let Some(format) = image.format {
            assert_eq!(found["dump"]["format"], format, "{name}");
        }
        let (run, bytes) = converted(&file, directory.path());
        run.ok();
        assert!(bytes == image.memory.lime(), "{name}: the memory is another one");
    }
}

#[test]
fn page_tables_are_found_by_registers_or_by_scanning() {
    let directory = directory();
    for image in every_image() {
        let name = image.name;
        let file = image.write(directory.path());
        let run = memtool(&["translate", "--core", text(&file), KERNSTART]).ok();
        assert!(run.stdout.contains("2 MiB page 0x200000 r-x"), "{name}: {run:?}");
        assert_eq!(
            run.stderr.contains("found by scanning memory: their root is at 0x400000"),
            !image.has_registers,
            "{name}"
        );
        let levels = run.stdout.matches("PML5").count();
        assert_eq!(levels > 0, image.memory.paging == Paging::Amd64La57, "{name}");
    }
}

/// What looks like a root and maps no kernel is none: each of its marks alone is not enough.
#[test]
fn page_tables_are_not_guessed() {
    let whole = || machine(Paging::Amd64, CONTIGUOUS);
    let found = |memory: &KernelMemory| {
        let directory = directory();
        let file = common::write_file(directory.path(), &memory.lime());
        memtool(&["translate", "--core", text(&file), KERNSTART])
    };
    found(&whole()).ok();
    let mut no_recursion = whole();
    no_recursion.set(ROOT + 256 * 8, 0, 8);
    let mut no_image = whole();
    no_image.write(IMAGE, b"\x7fELG");
    let mut other_machine = whole();
    other_machine.write(IMAGE + 18, &[183, 0]);
    let mut no_direct_map = whole();
    let entry = no_direct_map.entry_of(0xffff_f800_0000_0000, 0);
    no_direct_map.set(entry, 0, 8);
    for memory in [no_recursion, no_image, other_machine, no_direct_map] {
        found(&memory).fails_saying(&["give its kernel with --kernel"]);
    }
}

fn looked(bytes: &[u8], depth: Depth) -> Inspection {
    inspect(&ByteSource::from_bytes(bytes.to_vec()), depth, &Progress::default()).unwrap()
}

/// Opens what may be damaged, and reads all that it claims to have, up to a limit.
fn read_all(bytes: &[u8]) {
    let full = looked(bytes, Depth::Full);
    assert!(full.content == Content::Unknown || full.problem().is_none());
    let source = ByteSource::from_bytes(bytes.to_vec());
    let Ok(memory) = DumpedMemory::open(source, None, None, &Progress::default()) else { return };
    let mut buffer = vec![0; 10_000];
    for extent in memory.extents().take(64) {
        let _ = memory.read_at(extent.physical, &mut buffer);
        let _ = memory.read_at(extent.physical + extent.size - 1, &mut buffer);
    }
}

#[test]
fn a_file_that_is_cut_off_is_damaged() {
    for image in every_image().iter().filter(|image| image.files.len() == 1) {
        let bytes = &image.files[0].1;
        for part in [1, 2, 3, 5, 7] {
            let cut = &bytes[..bytes.len() * part / 8];
            read_all(cut);
            let found = looked(cut, Depth::Full);
            assert!(!found.damage.is_empty(), "{} at {part}/8: {:?}", image.name, found.content.name());
        }
    }
}

#[test]
fn a_file_that_lies_is_not_believed() {
    let memory = machine(Paging::Amd64, &[(0, 0xa000), (IMAGE, IMAGE + 0x1000), (ROOT, ROOT + 0x8000)]);
    let segments = memory.segments();
    let registers = [Registers::amd64(ROOT, false)];
    let row = machine(Paging::Amd64, CONTIGUOUS).padded();
    let notes = vm::qemu_notes(&registers);
    let kdump = vm::kdump(&segments, &PageCodec::ALL, &notes);
    let files = [
        ("elf", vm::elf_core(&segments, &notes)),
        ("flattened", vm::flattened(&kdump)),
        ("kdump", kdump),
        ("xen", vm::xen(&segments, &registers)),
        #[cfg(target_os = "linux")]
        ("avml", avml(&memory)),
        ("vmware", vm::vmware(&segments, &registers, true).0),
        ("stream", vm::qemu_state(&row[..0x8000], false, "pc-i440fx-7.2")),
        ("mapped-ram", vm::qemu_state(&row[..0x8000], true, "pc-i440fx-7.2")),
    ];
    for (_, bytes) in files {
        // Headers and tables are at the beginning; the descriptors of kdump behind its bitmaps.
        let places = (0..800).step_by(4).chain((4096 * 3..4096 * 4).step_by(52));
        for at in places.filter(|at| at + 8 <= bytes.len()) {
            for lie in [[0xff; 8], [0; 8], [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], [1, 0, 0, 0, 0, 0, 0, 1]] {
                let mut changed = bytes.clone();
                changed[at..at + 8].copy_from_slice(&lie);
                read_all(&changed);
            }
        }
    }
}

#[test]
fn what_is_not_read_is_named() {
    let directory = directory();
    let memory = machine(Paging::Amd64, CONTIGUOUS);
    let segments = memory.segments();
    let mut split = vm::kdump(&segments, &[PageCodec::Zlib], &[]);
    split[4096 + 12] = 1;
    let mut guest = vm::xen(&segments, &[]);
    let at = guest.windows(9).position(|name| name == b".xen_pfn\0").unwrap();
    guest[at..at + 8].copy_from_slice(b".xen_p2m");
    let row = &segments[0].1;
    let stream = vm::qemu_state(row, false, "pc-i440fx-7.2");
    let mut compressed = stream.clone();
    // The flags of the first page say that it is compressed.
    let first = compressed
        .windows(15)
        .position(|bytes| bytes.starts_with(&[0, 0, 0, 0, 0, 0, 0, 8]) && bytes.ends_with(b"pc.ram"))
        .unwrap();
    compressed[first + 6] = 1;
    compressed[first + 7] = 0;
    let mut flat_elf = vm::flattened(&vm::elf_core(&segments, &[]));
    flat_elf.extend([0; 100]);
    let (state, _) = vm::vmware(&segments, &[], false);
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("split", split, "makedumpfile --reassemble"),
        ("guest", guest, "paravirtualized"),
        ("other", vm::qemu_state(row, false, "microvm"), "dump-guest-memory"),
        ("compressed", compressed, "xbzrle"),
        ("libvirt", vm::libvirt(&stream, 1), "save_image_format"),
        ("flat-elf", flat_elf, "makedumpfile -R"),
        ("a.vmss", state, ".vmem"),
    ];
    for (name, bytes, says) in cases {
        let file = directory.path().join(name);
        fs::write(&file, bytes).unwrap();
        memtool(&["inspect", text(&file)]).exits(1);
        memtool(&["read", "--core", text(&file), "--phys", "0"])
            .fails_saying(&["there is no memory to read in it", says]);
    }
}

#[test]
fn a_dump_that_is_compressed_once_more_is_decompressed_first() {
    let directory = directory();
    let memory = machine(Paging::Amd64, SCATTERED);
    let dump = vm::kdump(&memory.segments(), &[PageCodec::Zlib], &[]);
    let file = directory.path().join("dump.gz");
    fs::write(&file, vmcore_synth::Compression::Gzip.compress(&dump)).unwrap();
    let run = memtool(&["--json", "inspect", text(&file)]).ok();
    assert_eq!(schema::document(&run.bytes)["dump"]["format"], "kdump");
    let (run, bytes) = converted(&file, directory.path());
    run.ok();
    assert!(bytes == memory.lime());
}

/// Memory that lies in a file as it is can be written there; what is compressed cannot.
#[test]
fn memory_is_written_where_it_is_not_compressed() {
    let directory = directory();
    for image in every_image().iter().filter(|image| ["vmem", "kdump"].contains(&image.name)) {
        let file = image.write(directory.path());
        let run = memtool(&["write", "--force", "--core", text(&file), "--phys", "0x200800", "aabbccdd"]);
        if image.name == "kdump" {
            assert_eq!(run.code, 1, "{run:?}");
            continue;
        }
        run.ok();
        let run = command().args(["read", "--core", text(&file), "--phys", "0x200800", "-l", "4"]).output().unwrap();
        assert!(String::from_utf8_lossy(&run.stdout).contains("aa bb cc dd"), "{run:?}");
    }
}

/// Where the memory above 3 GiB is, only the state of the machine tells.
#[test]
fn a_large_vmem_alone_is_not_taken_for_memory_from_address_0() {
    let directory = directory();
    let vmem = directory.path().join("machine.vmem");
    let file = std::fs::File::create(&vmem).unwrap();
    let read = |options: &[&str]| {
        memtool(&[&["read", "--core", text(&vmem), "--phys", "0x1000", "-l", "1", "--as", "u8"], options].concat())
    };
    file.set_len(3 << 30).unwrap();
    assert_eq!(read(&[]).ok().stdout, "0\n");
    file.set_len((3 << 30) + 4096).unwrap();
    let why = ["VMware machine without its state", "--segments"];
    read(&[]).fails_saying(&why);
    memtool(&["convert", "--format", "lime", text(&vmem), "-"]).fails_saying(&why);
    let segments = directory.path().join("segments");
    std::fs::write(&segments, "0x0 0xc0000000\n0x100000000 0x100001000\n").unwrap();
    assert_eq!(read(&["--segments", text(&segments)]).ok().stdout, "0\n");
}
