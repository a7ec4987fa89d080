//! Images and lists of very many ranges of memory.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

/// How far apart the ranges' beginnings are.
const STRIDE: u64 = 4096;
/// Bytes of a range. LiME's headers lie between them: pages would have a file take a block of its own for each header.
const LENGTH: u64 = 224;

/// An image in the format of LiME.
pub fn make_lime(path: &Path, count: u64) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for start in (0..count).map(|number| number * STRIDE) {
        out.write_all(&0x4c69_4d45_u32.to_le_bytes())?;
        out.write_all(&1_u32.to_le_bytes())?;
        for number in [start, start + LENGTH - 1, 0] {
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(&[0; LENGTH as usize])?;
    }
    out.flush()
}

/// A core file of 64 bits, with the number of its segments in the first section header, as `PN_XNUM` says.
pub fn make_elf(path: &Path, count: u32) -> io::Result<()> {
    const FILE_HEADER: u64 = 64;
    const PROGRAM_HEADER: u64 = 56;
    let mut out = BufWriter::new(File::create(path)?);
    let sections = FILE_HEADER + u64::from(count) * PROGRAM_HEADER;
    let memory = (sections + 64).next_multiple_of(STRIDE);
    out.write_all(b"\x7fELF\x02\x01\x01\x09\0\0\0\0\0\0\0\0")?;
    // e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags
    out.write_all(&[4_u16, 62].map(u16::to_le_bytes).concat())?;
    out.write_all(&1_u32.to_le_bytes())?;
    out.write_all(&[0, FILE_HEADER, sections].map(u64::to_le_bytes).concat())?;
    out.write_all(&0_u32.to_le_bytes())?;
    // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    out.write_all(&[64_u16, 56, 0xffff, 64, 1, 0].map(u16::to_le_bytes).concat())?;
    for number in 0..u64::from(count) {
        out.write_all(&[1_u32, 6].map(u32::to_le_bytes).concat())?;
        let start = 2 * number * STRIDE;
        let words = [memory + number * STRIDE, 0xffff_fe00_0000_0000 + start, start, STRIDE, STRIDE, STRIDE];
        out.write_all(&words.map(u64::to_le_bytes).concat())?;
    }
    // Of the section header, sh_info is the number.
    let mut section = [0; 64];
    section[44..48].copy_from_slice(&count.to_le_bytes());
    out.write_all(&section)?;
    out.seek(SeekFrom::Start(memory))?;
    out.into_inner()?.set_len(memory + u64::from(count) * STRIDE)
}

/// A list for `--segments`, of what fits into a file of `count` times 4 KiB.
pub fn make_list(path: &Path, count: u64) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for start in (0..count).map(|number| number * STRIDE) {
        writeln!(out, "{start:#x} {:#x}", start + LENGTH)?;
    }
    out.flush()
}
