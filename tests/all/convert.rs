//! `memtool convert`: every byte of what it makes of a dump, read back by others.

use crate::common::formats::{self, Range, Runs};
use crate::common::{Run, command, directory, memtool, names, noise, run, start, text};
use nix::sys::signal::Signal;
use object::Endianness as ObjectEndianness;
use object::elf::{FileHeader32, FileHeader64, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use vmcore_synth::arch::MMU_RADIX;
use vmcore_synth::{
    Arch, Compression, DumpDevice, ElfSpec, Endianness, KernelDumpHeader, Mapping, MinidumpSpec, elf, every_variant,
    live_dump, text_archive,
};

/// A dump in a file, and where its conversion goes.
struct Files {
    directory: tempfile::TempDir,
    dump: PathBuf,
    out: PathBuf,
}

impl Files {
    fn new(dump: &[u8]) -> Self {
        let directory = directory();
        let (path, out) = (directory.path().join("dump"), directory.path().join("out"));
        fs::write(&path, dump).unwrap();
        Self { directory, dump: path, out }
    }

    #[track_caller]
    fn convert(&self, arguments: &[&str]) -> Run {
        run(command().arg("convert").args([&self.dump, &self.out]).args(arguments))
    }

    /// Converts without a word, and gives what came of it.
    #[track_caller]
    fn converted(&self, arguments: &[&str]) -> Vec<u8> {
        let run = self.convert(&[&["-q"], arguments].concat()).ok();
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""), "{arguments:?}");
        let file = fs::read(&self.out).unwrap();
        fs::remove_file(&self.out).unwrap();
        file
    }

    /// The names beside the dump.
    fn others(&self) -> Vec<String> {
        names(self.directory.path()).into_iter().filter(|name| name != "dump").collect()
    }
}

/// A `PT_LOAD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Load {
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    size: u64,
}

/// A core file.
#[derive(Debug)]
struct Core {
    bits: u8,
    big_endian: bool,
    machine: u16,
    os_abi: u8,
    phnum: u16,
    loads: Vec<Load>,
    notes: usize,
}

impl Core {
    #[track_caller]
    fn parse(file: &[u8]) -> Self {
        if file[4] == 1 {
            Self::of::<FileHeader32<ObjectEndianness>>(file)
        } else {
            Self::of::<FileHeader64<ObjectEndianness>>(file)
        }
    }

    fn of<H: FileHeader<Endian = ObjectEndianness>>(file: &[u8]) -> Self {
        let header = H::parse(file).unwrap();
        let endian = header.endian().unwrap();
        assert_eq!(header.e_type(endian), object::elf::ET_CORE);
        let mut core = Self {
            bits: if header.is_type_64() { 64 } else { 32 },
            big_endian: header.is_big_endian(),
            machine: header.e_machine(endian).0,
            os_abi: header.e_ident().os_abi.0,
            phnum: header.e_phnum(endian),
            loads: Vec::new(),
            notes: 0,
        };
        for segment in header.program_headers(endian, file).unwrap() {
            if segment.p_type(endian) == PT_NOTE {
                core.notes += 1;
                continue;
            }
            assert_eq!(segment.p_type(endian), PT_LOAD);
            let size: u64 = segment.p_filesz(endian).into();
            assert_eq!(size, segment.p_memsz(endian).into());
            core.loads.push(Load {
                flags: segment.p_flags(endian).0,
                offset: segment.p_offset(endian).into(),
                address: segment.p_vaddr(endian).into(),
                physical: segment.p_paddr(endian).into(),
                size,
            });
        }
        core
    }

    /// Each virtual page: its program header, and where it is in the file.
    #[track_caller]
    fn pages(&self, page: u64) -> BTreeMap<u64, (Load, u64)> {
        let mut pages = BTreeMap::new();
        let mut next = 0;
        for load in &self.loads {
            assert!(load.address >= next, "not in order, or twice: {load:?}");
            assert!(load.size > 0 && load.size.is_multiple_of(page) && load.offset.is_multiple_of(page), "{load:?}");
            next = load.address + (load.size - 1);
            for at in (0..load.size).step_by(page as usize) {
                pages.insert(load.address + at, (*load, load.offset + at));
            }
        }
        pages
    }
}

fn flags(read: bool, write: bool, execute: bool) -> u32 {
    let flag = |set, flag| if set { flag } else { 0 };
    flag(read, PF_R.0) | flag(write, PF_W.0) | flag(execute, PF_X.0)
}

/// What has to be at each virtual page: its physical address, and what may be done with it.
fn expected_pages(spec: &MinidumpSpec) -> BTreeMap<u64, (u64, u32)> {
    let pages = spec.pages();
    let map = spec.direct_map;
    let direct = pages.keys().filter_map(|physical| {
        let address = map.base + physical.checked_sub(map.physical)?;
        // powerpc64's kernel runs there.
        let rights = flags(true, true, spec.arch == Arch::Powerpc64);
        (address < map.end).then_some((address, (*physical, rights)))
    });
    let translations = spec.translations();
    let mapped = translations.iter().filter(|(_, page)| pages.contains_key(&page.physical));
    mapped
        .map(|(address, page)| (*address, (page.physical, flags(true, page.writable, page.executable))))
        .chain(direct)
        .collect()
}

/// Variants whose page tables are known.
fn walked() -> impl Iterator<Item = (String, MinidumpSpec)> {
    every_variant().into_iter().filter(|(_, spec)| spec.arch != Arch::Powerpc64 || spec.mmu_name != MMU_RADIX)
}

#[test]
fn a_core_file_has_every_mapped_byte_at_its_virtual_address_and_nothing_else() {
    for (name, spec) in walked() {
        let files = Files::new(&spec.build());
        let file = files.converted(&["--format", "elf"]);
        let core = Core::parse(&file);
        assert_eq!(core.bits, if spec.arch.is_32_bit() { 32 } else { 64 }, "{name}");
        assert_eq!(core.machine, elf::machine(spec.arch) as u16, "{name}");
        assert_eq!((core.os_abi, core.big_endian, core.notes), (9, spec.order == Endianness::Big, 0), "{name}");
        assert_eq!(usize::from(core.phnum), core.loads.len(), "{name}");

        let (pages, expected, dumped) = (core.pages(spec.page_size), expected_pages(&spec), spec.pages());
        assert!(pages.keys().eq(expected.keys()), "{name}: {:x?} {:x?}", pages.keys(), expected.keys());
        let mut places: BTreeMap<u64, u64> = BTreeMap::new();
        for (address, (load, offset)) in &pages {
            let (physical, flags) = expected[address];
            assert_eq!(load.flags, flags, "{name}: {address:#x}");
            assert_eq!(load.physical + (address - load.address), physical, "{name}: {address:#x}");
            let bytes = &file[*offset as usize..][..spec.page_size as usize];
            assert!(bytes == dumped[&physical], "{name}: {address:#x}");
            // However often it is mapped.
            assert_eq!(*places.entry(physical).or_insert(*offset), *offset, "{name}: {physical:#x}");
        }
        // All pages of the dump, in its order, behind the headers.
        let memory = &spec.build()[spec.parts().pages];
        assert!(file.ends_with(memory), "{name}");
        assert!(file.len() <= memory.len() + 16384, "{name}: {} bytes", file.len());
    }
}

#[test]
fn without_page_tables_a_core_file_has_the_direct_map_and_says_so() {
    for order in [Endianness::Big, Endianness::Little] {
        let spec = MinidumpSpec { order, ..MinidumpSpec::powerpc64(2, MMU_RADIX) };
        let spec = MinidumpSpec { mappings: Vec::new(), ..spec };
        let files = Files::new(&spec.build());
        let run = files.convert(&["--format", "elf"]).exits(1);
        for said in ["only the direct map", "kernels with mmu_radix do not dump their page tables"] {
            assert!(run.stderr.contains(said), "{run:?}");
        }
        let file = fs::read(&files.out).unwrap();
        let (pages, expected) = (Core::parse(&file).pages(spec.page_size), expected_pages(&spec));
        assert!(pages.keys().eq(expected.keys()), "{:x?} {:x?}", pages.keys(), expected.keys());
        for (address, (load, offset)) in &pages {
            let (physical, flags) = expected[address];
            assert_eq!((load.flags, load.physical + (address - load.address)), (flags, physical), "{address:#x}");
            assert!(file[*offset as usize..][..spec.page_size as usize] == spec.pages[&physical], "{address:#x}");
        }
        let json = files.convert(&["--json", "--format", "elf", "--force"]).exits(1).json();
        assert!(json["unknown_tables"].as_str().unwrap().contains("mmu_radix"), "{json}");
        assert_eq!((&json["missing_table_count"], &json["damaged"]), (&0.into(), &false.into()), "{json}");
    }
    // Without a direct map there is nothing.
    let mut spec = MinidumpSpec::powerpc64(2, MMU_RADIX);
    spec.direct_map.end = 1;
    let files = Files::new(&spec.build());
    files.convert(&["-q", "--format", "elf"]).fails_saying(&["cannot be converted without page tables", "mmu_radix"]);
    assert!(!files.out.exists());
}

#[test]
fn more_program_headers_than_the_file_header_can_count() {
    const COUNT: u64 = 66_000;
    let mut spec = MinidumpSpec::example(Arch::Arm64, 3);
    let (first, _) = spec.pages.first_key_value().map(|(page, _)| (*page, ())).unwrap();
    let map = |number: u64| Mapping {
        address: spec.kernel_base + number * 4096,
        physical: first + number % 2 * 4096,
        length: 4096,
        writable: true,
        executable: number.is_multiple_of(3),
        superpage: false,
    };
    spec.mappings = (0..COUNT).map(map).collect();
    // Neighbours of one another, the second page behind the first, shall be one piece only now and then.
    spec.mappings.retain(|map| map.executable || map.physical == first);
    spec.kernel_end = spec.kernel_base + COUNT * 4096;
    let (translations, dumped) = (spec.translations(), spec.pages());
    let few = Files::new(&spec.build());
    let file = few.converted(&["--format", "elf"]);
    let core = Core::parse(&file);
    let pages = core.pages(4096);
    assert_eq!(pages.len(), expected_pages(&spec).len());
    for (address, page) in &translations {
        let (load, offset) = pages[address];
        assert_eq!(load.flags, flags(true, page.writable, page.executable), "{address:#x}");
        assert!(file[offset as usize..][..4096] == dumped[&page.physical], "{address:#x}");
    }

    spec.mappings = (0..COUNT).map(|number| Mapping { physical: first, ..map(number) }).collect();
    let many = Files::new(&spec.build());
    let file = many.converted(&["--format", "elf"]);
    let core = Core::parse(&file);
    assert_eq!(core.phnum, 0xffff);
    assert!(core.loads.len() > 66_000);
    assert!(core.pages(4096).len() == expected_pages(&spec).len());
}

/// The memory of a minidump as runs of addresses.
fn runs(pages: &BTreeMap<u64, Vec<u8>>) -> Runs {
    let mut runs: Runs = Vec::new();
    for (physical, bytes) in pages {
        match runs.last_mut() {
            Some((start, run)) if *start + run.len() as u64 == *physical => run.extend(bytes),
            _ => runs.push((*physical, bytes.clone())),
        }
    }
    runs
}

fn ranges(runs: &Runs) -> Vec<Range> {
    runs.iter().map(|(start, bytes)| (*start, start + bytes.len() as u64)).collect()
}

/// Checks a padded file, which may be large, by its runs; the rest is a hole.
#[track_caller]
fn check_padded(path: &Path, runs: &Runs) {
    let file = fs::File::open(path).unwrap();
    let (start, bytes) = runs.last().unwrap();
    assert_eq!(file.metadata().unwrap().len(), start + bytes.len() as u64);
    let mut stored = 0;
    for (start, bytes) in runs {
        let mut there = vec![0; bytes.len()];
        file.read_exact_at(&mut there, *start).unwrap();
        assert!(there == *bytes, "{start:#x}");
        stored += bytes.len() as u64;
    }
    assert!(file.metadata().unwrap().blocks() * 512 <= stored + (runs.len() as u64 + 1) * 16384);
}

#[test]
fn images_have_the_pages_of_every_minidump_at_their_addresses() {
    for (name, spec) in every_variant() {
        let runs = runs(&spec.pages());
        let files = Files::new(&spec.build());
        assert!(formats::lime(&files.converted(&["--format", "lime"])) == runs, "{name}");
        let map = files.directory.path().join("map");
        let raw = files.converted(&["--format", "raw", "--map", text(&map)]);
        assert!(formats::raw(&raw, &fs::read_to_string(&map).unwrap()) == runs, "{name}");
        files.convert(&["-q", "--format", "padded"]).ok();
        check_padded(&files.out, &runs);
    }
}

#[test]
fn it_says_what_a_minidump_leaves_out_and_what_it_wrote() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let files = Files::new(&spec.build());
    let run = files.convert(&["--format", "lime"]).ok();
    let pages = spec.pages().len();
    run.clone().says_in_one_line(&[&format!("{pages} of "), "pages", "left out"]);
    let size = fs::metadata(&files.out).unwrap().len();
    assert_eq!(run.stdout, format!("{}: {size} bytes\n", text(&files.out)));
    files.convert(&["--format", "padded", "--force"]).ok().says_in_one_line(&["zeros"]);

    let run = files.convert(&["--format", "elf", "--force"]).ok();
    assert!(run.stderr.contains("has no threads") && run.stderr.contains("--kernel"), "{}", run.stderr);
    assert!(run.stderr.contains("not in the dump: devices"), "{}", run.stderr);
    assert!(run.stdout.contains(" segments, 0 threads\n"), "{}", run.stdout);

    let json = files.convert(&["-q", "--json", "--format", "elf", "--force"]).ok().json();
    assert_eq!((&json["schema"], &json["format"]), (&"memtool.convert".into(), &"elf".into()));
    assert_eq!(json["bytes_read"], pages * 4096);
    assert_eq!(json["bytes_mapped"], expected_pages(&spec).len() * 4096);
    assert_eq!(json["damaged"], false);
    assert_eq!(json["size"], fs::metadata(&files.out).unwrap().len());
}

#[test]
fn what_is_compressed_is_read_on_the_way_without_a_copy() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let full = ElfSpec::example(Arch::Amd64);
    let plain = Files::new(&spec.build());
    let lime = plain.converted(&["--format", "lime"]);
    let memory = runs(&spec.pages());
    let full_memory: Runs = full.segments.clone();
    let cases = [(spec.build(), &memory), (full.build(), &full_memory), (lime, &memory)];
    for (dump, expected) in &cases {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let files = Files::new(&compression.compress(dump));
            // Nowhere could a copy go.
            let mut convert = command();
            convert.env("TMPDIR", "/nonexistent").args(["-q", "convert", text(&files.dump), "-", "--format", "lime"]);
            let run = run(&mut convert).ok();
            assert!(formats::lime(&run.bytes) == **expected, "{compression:?}");
            // Packed by hand, it is the same.
            let packed =
                Files::new(&compression.compress(&expected.iter().flat_map(|run| run.1.clone()).collect::<Vec<_>>()));
            let map = packed.directory.path().join("map");
            let line = |(start, end): &Range| format!("{start:#x} {end:#x}\n");
            fs::write(&map, ranges(expected).iter().map(line).collect::<String>()).unwrap();
            let lime = packed.converted(&["--format", "lime", "--segments", text(&map)]);
            assert!(formats::lime(&lime) == **expected, "{compression:?}");
        }
    }
    for compression in [Compression::Gzip, Compression::Zstd] {
        let files = Files::new(&compression.compress(&spec.build()));
        assert!(files.converted(&["--format", "elf"]) == plain.converted(&["--format", "elf"]));
        assert_eq!(files.others(), Vec::<String>::new());
        // An image whose length nobody knows.
        let image = noise(1 << 20);
        let files = Files::new(&compression.compress(&image));
        assert!(files.converted(&["--format", "padded"]) == image);
    }
}

#[test]
fn the_output_can_be_compressed_and_go_to_a_pipe() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let files = Files::new(&spec.build());
    for format in ["elf", "lime", "raw", "padded"] {
        let plain = files.converted(&["--format", format]);
        for (option, compression) in [("--zstd", "zstd"), ("--gzip", "gzip")] {
            let compressed = files.converted(&["--format", format, option]);
            assert!(formats::decompress(&compressed, compression) == plain, "{format} {option}");
        }
        let piped = memtool(&["-q", "convert", text(&files.dump), "-", "--format", format]).ok();
        assert!(piped.bytes == plain, "{format}");
    }
}

#[test]
fn a_dump_is_found_on_a_device_and_before_a_live_dumps_header() {
    let spec = MinidumpSpec::example(Arch::Arm64, 3);
    let dump = spec.build();
    let expected = Files::new(&dump).converted(&["--format", "elf"]);
    let header = KernelDumpHeader::example(Arch::Arm64, 4, dump.len() as u64);
    let device = Files::new(&DumpDevice::example(header, 512, &dump).build());
    device.convert(&["--format", "elf"]).ok();
    assert!(fs::read(&device.out).unwrap() == expected);
    let live = Files::new(&live_dump(Arch::Arm64, &dump, Compression::None, 4096));
    assert!(live.converted(&["--format", "elf"]) == expected);
}

#[test]
fn a_core_file_can_be_converted_again() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let files = Files::new(&spec.build());
    let lime = files.converted(&["--format", "lime"]);
    let core = Files::new(&files.converted(&["--format", "elf"]));
    // Memory is mapped twice there, and in the image once.
    let join = |image: &[u8]| {
        let pages = formats::lime(image).into_iter().flat_map(|(start, bytes)| {
            let pages = bytes.chunks(4096).map(<[u8]>::to_vec).collect::<Vec<_>>();
            (start..).step_by(4096).zip(pages)
        });
        pages.collect::<BTreeMap<_, _>>()
    };
    assert!(join(&core.converted(&["--format", "lime"])) == join(&lime));
}

#[test]
fn a_full_dump_needs_its_kernel_to_become_a_core_file() {
    let files = Files::new(&ElfSpec::example(Arch::Amd64).build());
    files.convert(&["--format", "elf"]).fails_saying(&["only a minidump says where its page tables are", "--kernel"]);
    assert_eq!(files.others(), Vec::<String>::new());
}

#[test]
fn of_a_dump_that_is_cut_off_what_is_there_is_converted_and_the_rest_said() {
    for arch in [Arch::Amd64, Arch::Riscv, Arch::I386] {
        let spec = MinidumpSpec::example(arch, arch.newest());
        let mut dump = spec.build();
        let kept = 9;
        let end = spec.parts().pages.start + kept * 4096;
        dump.truncate(end);
        let mut by_offset: Vec<u64> = spec.pages().into_keys().collect();
        by_offset.sort_by_key(|page| spec.offset_of(*page));
        let there: BTreeMap<u64, Vec<u8>> =
            spec.pages().into_iter().filter(|(page, _)| by_offset[..kept].contains(page)).collect();

        let files = Files::new(&dump);
        let run = files.convert(&["--format", "lime"]).exits(1);
        assert!(run.stderr.contains("is damaged") && run.stderr.contains("pages are missing"), "{}", run.stderr);
        assert!(formats::lime(&fs::read(&files.out).unwrap()) == runs(&there), "{arch:?}");

        // Page tables of amd64 are among the pages; its direct map is there in any case.
        let run = files.convert(&["--format", "elf", "--force"]).exits(1);
        assert!(run.stderr.contains("is damaged"), "{}", run.stderr);
        let file = fs::read(&files.out).unwrap();
        let core = Core::parse(&file);
        for (address, (load, offset)) in core.pages(4096) {
            let physical = load.physical + (address - load.address);
            assert!(file[offset as usize..][..4096] == there[&physical], "{arch:?}: {address:#x}");
        }
        assert!(!core.loads.is_empty());
    }
}

#[test]
fn what_is_no_dump_or_too_damaged_leaves_nothing() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let dump = spec.build();
    let cut = |at: usize| dump[..at].to_vec();
    let gzip = Compression::Gzip.compress(&dump);
    let zstd = Compression::Zstd.compress(&dump);
    let cases: [(Vec<u8>, &str); 7] = [
        (cut(spec.parts().bitmap.start + 1), "page bitmap"),
        (cut(100), ""),
        (gzip[..gzip.len() / 2].to_vec(), "gzip stream is damaged"),
        (zstd[..zstd.len() / 2].to_vec(), "zstd stream is damaged"),
        (text_archive(&[("msgbuf.txt", b"hello\n")]), "text dump"),
        (Vec::new(), ""),
        (b"\x7fELF\x02\x01\x01".to_vec(), ""),
    ];
    for (dump, text) in cases {
        for format in ["elf", "lime", "raw", "padded"] {
            let files = Files::new(&dump);
            let run = files.convert(&["--format", format]);
            // Too short for a header, it is an image of memory like any other.
            if run.code == 0 || files.out.exists() {
                assert!(text.is_empty() && format != "elf", "{format}: {run:?}");
                continue;
            }
            let run = run.exits(1);
            assert!(run.stderr.contains(text), "{format}: {}", run.stderr);
            assert_eq!(files.others(), Vec::<String>::new(), "{format}");
        }
    }
}

#[test]
fn an_image_without_a_header_is_said_to_be_taken_for_memory() {
    let files = Files::new(&noise(8192));
    let run = files.convert(&["--format", "lime"]);
    assert!(run.stderr.contains("is read as memory from physical address 0"), "{run:?}");
    let segments = files.directory.path().join("segments");
    fs::write(&segments, "0x1000 0x3000\n").unwrap();
    let run = files.convert(&["--format", "lime", "--force", "--segments", text(&segments)]);
    assert!(run.stderr.contains("is read as memory in the ranges of --segments"), "{run:?}");
    files.convert(&["-q", "--format", "lime", "--force"]).exits(0);
}

/// What -q takes away is not why the command fails.
#[test]
fn a_damaged_dump_is_told_of_whatever_is_taken_away() {
    let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
    let files = Files::new(&dump[..dump.len() - 4096]);
    for format in ["lime", "raw", "padded"] {
        let run = files.convert(&["-q", "--force", "--format", format]).exits(1);
        assert!(run.stderr.contains("the dump is damaged"), "{format}: {run:?}");
    }
}

/// A device's image may be compressed as a whole, and the dump on it by the kernel.
#[test]
fn a_compressed_image_of_a_dump_device_is_converted() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    for inner in [Compression::None, Compression::Zstd] {
        let mut header = KernelDumpHeader::example(Arch::Amd64, 4, spec.build().len() as u64);
        header.compression = inner;
        let device = DumpDevice::example(header, 512, &spec.build()).build();
        let plain = Files::new(&device).converted(&["--format", "lime"]);
        for outer in [Compression::Gzip, Compression::Zstd] {
            assert!(
                Files::new(&outer.compress(&device)).converted(&["--format", "lime"]) == plain,
                "{inner:?}, {outer:?}"
            );
        }
    }
}

#[test]
fn nothing_is_written_over_unless_asked() {
    let files = Files::new(&MinidumpSpec::example(Arch::Amd64, 3).build());
    fs::write(&files.out, "mine").unwrap();
    for format in ["elf", "lime"] {
        files.convert(&["--format", format]).fails_saying(&["already exists"]);
        assert_eq!(fs::read(&files.out).unwrap(), b"mine");
        files.convert(&["-q", "--format", format, "--force"]).ok();
        assert_ne!(fs::read(&files.out).unwrap(), b"mine");
        fs::write(&files.out, "mine").unwrap();
    }
    let same = ["-q", "--format", "raw", "--force", "--map", text(&files.out)];
    files.convert(&same).fails_saying(&["cannot be the same file"]);
    files.convert(&["--format", "elf", "--force", "--map", "-"]).usage_error(&["--map"]);
    files.convert(&[]).usage_error(&["--format"]);
    files.convert(&["--format", "vmdk"]).usage_error(&["vmdk"]);
}

#[test]
fn a_file_that_cannot_be_begun_is_refused_before_the_work() {
    let files = Files::new(b"no dump at all");
    let nowhere = files.directory.path().join("missing/file");
    for arguments in [["elf", "--script"], ["raw", "--map"]] {
        let [format, option] = arguments;
        let run = files.convert(&["--format", format, option, text(&nowhere)]);
        // What is wrong with the dump would be said if it had been opened.
        run.fails_saying(&["cannot create a file in ", "/missing: No such file"]);
    }
    let inside = files.dump.join("script");
    files.convert(&["--format", "elf", "--script", text(&inside)]).fails_saying(&["dump/script", "Not a directory"]);
    files.convert(&["--format", "elf", "--script", "-"]).usage_error(&["--script", "'./-'"]);
    assert!(files.others().is_empty());
}

#[test]
fn a_script_without_a_kernel_begins_with_the_names_of_its_files_too() {
    for name in ["it.lldb", "it.gdb"] {
        let files = Files::new(&MinidumpSpec::example(Arch::Amd64, 3).build());
        let script = files.directory.path().join(name);
        files.convert(&["-q", "--format", "elf", "--script", text(&script)]).ok();
        let (said, core) = (fs::read_to_string(&script).unwrap(), text(&files.out));
        let script = text(&script);
        let expected = match name {
            "it.gdb" => format!("# gdb -ix {script} KERNEL {core}"),
            _ => format!("# lldb -S {script} -c {core} KERNEL"),
        };
        assert_eq!(said.lines().next(), Some(expected.as_str()));
    }
}

/// An image of memory that no disk has room for.
fn endless() -> Files {
    let files = Files::new(b"");
    fs::File::create(&files.dump).unwrap().set_len(1 << 43).unwrap();
    files
}

#[test]
fn a_signal_leaves_nothing() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 1), (Signal::SIGHUP, 1)] {
        let files = endless();
        let mut convert = command();
        // Compressed, so that it does not fill the disk meanwhile.
        convert
            .args(["-q", "convert", "--format", "lime", "--gzip", "--no-space-check"])
            .args([&files.dump, &files.out]);
        let mut running = start(convert.stdout(Stdio::null()));
        let begun = || {
            let length = |name: &String| files.directory.path().join(name).metadata().map_or(0, |file| file.len());
            files.others().iter().any(|name| length(name) > 0)
        };
        running.until(begun);
        assert!(!files.out.exists());
        running.signal(signal);
        running.end().exits(code).says_in_one_line(&[signal.as_str(), "the dump is not complete"]);
        assert_eq!(files.others(), Vec::<String>::new(), "{signal}");
    }
}

#[test]
fn a_pipe_that_is_closed_in_the_middle_is_an_error() {
    let files = endless();
    let map = files.directory.path().join("map");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut convert = command();
    convert.args(["-q", "convert", text(&files.dump), "-", "--format", "raw", "-m", text(&map)]);
    let running = start(convert.stdout(writer));
    reader.read_exact(&mut vec![0; 300_000]).unwrap();
    drop(reader);
    running.end().fails_saying(&["cannot write the dump", "Broken pipe"]);
    assert_eq!(files.others(), Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_too_small_is_seen_before_and_leaves_nothing_later() {
    let mut spec = MinidumpSpec::example(Arch::Amd64, 3);
    // Noise, which compressing makes no smaller.
    spec.dump_avail = vec![(0, 0x0200_0000)];
    spec.pages.extend((0x100_0000..0x140_0000).step_by(4096).zip(noise(0x40_0000).chunks(4096).map(<[u8]>::to_vec)));
    let files = Files::new(&spec.build());
    for format in ["elf", "lime", "raw --map DIR/map", "padded"] {
        let convert = |options: &str| {
            crate::common::on_a_small_disk(&format!("-q convert {} DIR/out --to {format} {options}", text(&files.dump)))
        };
        let Some(run) = convert("") else { return };
        run.fails_saying(&["does not fit", "2.0 MiB are free", "--no-space-check"]);
        convert("--no-space-check").unwrap().fails_saying(&["cannot write the dump", "No space left on device"]);
        convert("--no-space-check --zstd").unwrap().fails_saying(&["No space left on device"]);
    }
}

/// A dump with pages of zeros, which the file has as holes or as bytes.
fn write_dump(path: &Path, dump: &[u8], has_holes: bool) {
    let file = fs::File::create(path).unwrap();
    for (at, block) in (0..).step_by(4096).zip(dump.chunks(4096)) {
        if !has_holes || block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, at).unwrap();
        }
    }
    file.set_len(dump.len() as u64).unwrap();
}

/// Holes of a dump's file are holes in what it is converted to, which has the same bytes as without them.
#[test]
fn holes_of_a_dump_become_holes() {
    const SIZE: u64 = 16 << 20;
    let mut spec = MinidumpSpec::example(Arch::Arm64, 3);
    let base = spec.dump_avail[0].0;
    spec.dump_avail = vec![(base, base + SIZE)];
    spec.direct_map.end = spec.direct_map.base + SIZE;
    (spec.mappings, spec.page_table_pages) = Default::default();
    let page = |at: u64| match at / 4096 {
        // A hole at the beginning, one with data around it, a page alone, and a hole at the end.
        700..710 | 2000..2600 | 3000 => noise(4096),
        _ => vec![0; 4096],
    };
    spec.pages = (0..SIZE).step_by(4096).map(|at| (base + at, page(at))).collect();
    let dump = spec.build();
    let files = Files::new(&[]);
    for format in ["elf", "lime", "padded", "raw"] {
        let mut made = Vec::new();
        for has_holes in [false, true] {
            write_dump(&files.dump, &dump, has_holes);
            files.convert(&["-q", "--format", format]).ok();
            let blocks = fs::metadata(&files.out).unwrap().blocks() * 512;
            assert!(!has_holes || blocks < SIZE / 4, "{format}: {blocks} bytes on disk");
            made.push(fs::read(&files.out).unwrap());
            fs::remove_file(&files.out).unwrap();
        }
        assert!(made[0] == made[1], "{format}");
    }
}
