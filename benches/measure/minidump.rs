//! Minidumps as large as wanted, whose headers come from the tests' own builder of dumps.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmcore_synth::{Arch, DirectMap, MinidumpSpec, set};

/// A minidump of all pages of a machine, whose memory is a file's.
pub fn make(path: &Path, memory: &Path, size: u64) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = begin(&part, size, 0xff)?;
    io::copy(&mut File::open(memory)?, &mut file)?;
    file.sync_all()?;
    fs::rename(part, path)
}

/// A minidump of every other page of a machine, so that no two are neighbours; the pages are a hole in the file.
pub fn make_sparse(path: &Path, size: u64) -> io::Result<()> {
    let file = begin(path, size, 0x55)?;
    let before = file.metadata()?.len();
    file.set_len(before + size / 2)
}

/// Everything before the pages, of which eight have the bits of a byte; the file's position is behind it.
fn begin(path: &Path, size: u64, bits: u8) -> io::Result<File> {
    let mut spec = MinidumpSpec::example(Arch::Arm64, 3);
    let base = spec.dump_avail[0].0;
    spec.pages.clear();
    spec.dump_avail = vec![(base, base + size)];
    spec.direct_map.end = spec.direct_map.base + size;
    let mut dump = spec.build();
    let bitmap = spec.parts().bitmap;
    dump[bitmap].fill(bits);
    fs::write(path, &dump)?;
    let mut file = File::options().write(true).open(path)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

const PAGE: u64 = 4096;
const GIB: u64 = 1 << 30;

/// A dump of amd64 in which all memory is mapped by tables of small pages, one of them after another at its beginning, in an
/// order of no use to anybody. The rest is a hole.
pub fn make_scattered(path: &Path, size: u64) -> io::Result<()> {
    let pages = size / PAGE;
    make_mapped(path, size, |number| number * 0x9e37_79b1 % pages).map(drop)
}

/// The same in the order of the addresses, and full of data; the size is a multiple of 512 MiB.
pub fn make_full(path: &Path, size: u64) -> io::Result<()> {
    let (file, pages_at) = make_mapped(path, size, |number| number)?;
    let tables = size / PAGE * 8;
    for at in (tables..size).step_by(ISLAND) {
        file.write_all_at(&island(at), pages_at + at)?;
    }
    Ok(())
}

/// Writes the tables; tells where in the file the pages begin.
fn make_mapped(path: &Path, size: u64, physical_page: impl Fn(u64) -> u64) -> io::Result<(File, u64)> {
    let (pages, base) = (size / PAGE, 0xffff_fe00_0000_0000);
    let mut spec = empty(vec![(0, size)], base, base + size);
    spec.direct_map.end = spec.direct_map.base + size;
    let parts = spec.parts();
    let mut front = spec.build();
    front[parts.bitmap].fill(0xff);
    let entry = |physical: u64| ((physical * PAGE) | 0x63).to_le_bytes();
    let directories: Vec<u8> = (0..pages / 512).flat_map(entry).collect();
    front[parts.page_tables.start..][..directories.len()].copy_from_slice(&directories);
    let tables: Vec<u8> = (0..pages).flat_map(|number| entry(physical_page(number))).collect();
    let (file, pages_at) = (File::create(path)?, parts.pages.start as u64);
    file.write_all_at(&front, 0)?;
    file.write_all_at(&tables, pages_at)?;
    file.set_len(pages_at + size)?;
    Ok((file, pages_at))
}

/// A dump of amd64 without pages.
fn empty(dump_avail: Vec<(u64, u64)>, kernel_base: u64, kernel_end: u64) -> MinidumpSpec {
    let mut spec = MinidumpSpec::example(Arch::Amd64, 3);
    (spec.pages, spec.mappings, spec.page_table_pages) = Default::default();
    MinidumpSpec { dump_avail, kernel_base, kernel_end, ..spec }
}

/// A dump of a machine of 12 TiB with five levels of page tables (LA57). Of each 4 MiB 64 KiB are in it, 192 GiB in all,
/// whose contents are a hole; its bitmap is in no memory but the disk's.
pub fn make_12_tib(path: &Path) -> io::Result<()> {
    const SIZE: u64 = 12 << 40;
    // A bit for each page, in pieces that are written one by one.
    const BITMAP: u64 = SIZE / PAGE / 8;
    const PIECE: usize = 1 << 20;
    let mut spec = empty(vec![(0, SIZE)], 0xffff_fe00_0000_0000, 0xffff_fe00_0000_0000 + 2 * GIB);
    spec.bitmap_size = Some(0);
    let base = 0xff01_0000_0000_0000;
    spec.direct_map = DirectMap { base, end: base + SIZE, physical: 0 };
    let (parts, fields) = (spec.parts(), spec.header_fields());
    let mut front = spec.build();
    set(&mut front, &fields, spec.order, "bitmapsize", BITMAP);
    let tables = front.split_off(parts.bitmap.start);
    let mut file = File::create(path)?;
    file.write_all(&front)?;
    let pattern: Vec<u8> = (0..PIECE).map(|at| if at % 128 < 2 { 0xff } else { 0 }).collect();
    for _ in 0..BITMAP / PIECE as u64 {
        file.write_all(&pattern)?;
    }
    file.write_all(&tables)?;
    let pages = file.stream_position()?;
    file.set_len(pages + SIZE / 64)
}

/// A dump of all pages of a machine, of which each MiB of 32 has data and the others are holes.
pub fn make_islands(path: &Path, size: u64) -> io::Result<()> {
    let mut file = begin(path, size, 0xff)?;
    let start = file.stream_position()?;
    for at in (0..size).step_by(32 * ISLAND) {
        file.write_all_at(&island(at), start + at)?;
    }
    file.set_len(start + size)
}

const ISLAND: usize = 1 << 20;

/// Data of which no page is like another.
fn island(at: u64) -> Vec<u8> {
    let words = (at + 1..).take(ISLAND / 8);
    words.flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect()
}
