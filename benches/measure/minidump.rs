//! Minidumps as large as wanted, whose headers come from the tests' own builder of dumps.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use vmcore_synth::{Arch, MinidumpSpec};

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
    io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
    Ok(file)
}
