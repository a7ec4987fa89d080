//! Readers of dumps, that share nothing with what writes them.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails, and not everybody uses all of them"
)]

use object::Endianness;
use object::read::elf::{FileHeader, ProgramHeader};
use std::io::Read;

/// Runs of memory, in the order of the dump: the first address and the bytes.
pub type Runs = Vec<(u64, Vec<u8>)>;

/// Addresses, the end exclusive.
pub type Range = (u64, u64);

/// An ELF core file.
#[derive(Debug)]
pub struct Elf {
    pub big_endian: bool,
    pub machine: u16,
    /// The number of program headers as the file header has it.
    pub phnum: u16,
    pub loads: Vec<Load>,
    /// Type and text of memtool's notes.
    pub notes: Vec<(u32, String)>,
}

/// A `PT_LOAD`.
#[derive(Debug, PartialEq, Eq)]
pub struct Load {
    pub offset: u64,
    pub virtual_address: u64,
    pub physical_address: u64,
    pub align: u64,
    pub bytes: Vec<u8>,
}

impl Elf {
    /// Reads a core file with the `object` crate; every note must be memtool's.
    #[track_caller]
    pub fn parse(file: &[u8]) -> Self {
        let header = object::elf::FileHeader64::<Endianness>::parse(file).unwrap();
        let endian = header.endian().unwrap();
        assert_eq!(header.e_type(endian), object::elf::ET_CORE);
        let (mut loads, mut notes) = (Vec::new(), Vec::new());
        for segment in header.program_headers(endian, file).unwrap() {
            if let Some(mut found) = segment.notes(endian, file).unwrap() {
                while let Some(note) = found.next().unwrap() {
                    assert_eq!(note.name(), b"memtool");
                    let text = std::str::from_utf8(note.desc()).unwrap().trim_end_matches('\0');
                    notes.push((note.n_type(endian).0, text.to_owned()));
                }
                continue;
            }
            assert_eq!(segment.p_type(endian), object::elf::PT_LOAD);
            assert_eq!(segment.p_filesz(endian), segment.p_memsz(endian));
            loads.push(Load {
                offset: segment.p_offset(endian),
                virtual_address: segment.p_vaddr(endian),
                physical_address: segment.p_paddr(endian),
                align: segment.p_align(endian),
                bytes: segment.data(endian, file).unwrap().to_vec(),
            });
        }
        Self {
            big_endian: header.is_big_endian(),
            machine: header.e_machine(endian).0,
            phnum: header.e_phnum.get(endian),
            loads,
            notes,
        }
    }

    /// What is in the segments, by virtual address.
    pub fn runs(self) -> Runs {
        self.loads.into_iter().map(|load| (load.virtual_address, load.bytes)).collect()
    }
}

/// Reads a LiME image, as its document describes the header.
#[track_caller]
pub fn lime(mut file: &[u8]) -> Runs {
    let mut runs = Vec::new();
    while let Some((header, rest)) = file.split_at_checked(32) {
        assert_eq!(header[..8], *b"EMiL\x01\0\0\0");
        assert_eq!(header[24..], [0; 8]);
        let [first, last] = [8, 16].map(|at| u64::from_le_bytes(header[at..at + 8].try_into().unwrap()));
        let (bytes, rest) = rest.split_at(usize::try_from(last - first + 1).unwrap());
        runs.push((first, bytes.to_vec()));
        file = rest;
    }
    assert!(file.is_empty(), "{} bytes behind the last range", file.len());
    runs
}

/// Reads packed memory with its map.
#[track_caller]
pub fn raw(mut file: &[u8], map: &str) -> Runs {
    let mut runs = Vec::new();
    for (start, end) in ranges_of(map) {
        let (bytes, rest) = file.split_at(usize::try_from(end - start).unwrap());
        runs.push((start, bytes.to_vec()));
        file = rest;
    }
    assert!(file.is_empty(), "{} bytes that the map does not know", file.len());
    runs
}

/// Reads these ranges of a padded dump; everything else in it must be zeros.
#[track_caller]
pub fn padded(file: &[u8], ranges: &[Range]) -> Runs {
    let (mut runs, mut at) = (Vec::new(), 0);
    for (start, end) in
        ranges.iter().map(|range| (usize::try_from(range.0).unwrap(), usize::try_from(range.1).unwrap()))
    {
        assert!(file[at..start].iter().all(|byte| *byte == 0), "something between {at:#x} and {start:#x}");
        runs.push((start as u64, file[start..end].to_vec()));
        at = end;
    }
    assert_eq!(at, file.len(), "the length is not the last segment's end");
    runs
}

/// The ranges in a map.
#[track_caller]
pub fn ranges_of(map: &str) -> Vec<Range> {
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap();
    map.lines().map(|line| line.split_once(' ').unwrap()).map(|(start, end)| (number(start), number(end))).collect()
}

/// Undoes `none`, `gzip` or `zstd`.
#[track_caller]
pub fn decompress(file: &[u8], compression: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match compression {
        "none" => bytes.extend(file),
        "gzip" => drop(flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap()),
        "zstd" => bytes = zstd::decode_all(file).unwrap(),
        other => panic!("{other}"),
    }
    bytes
}
