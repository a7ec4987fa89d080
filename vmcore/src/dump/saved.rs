//! Dumps whose last zeros savecore(8) has left out. It passes over blocks of zeros to leave holes, and never sets the
//! file's length, so that zeros at the end of a dump are not in its file (`sparsefwrite()`, sbin/savecore/savecore.c).
//! How long the dump was stands in the `info.N` beside it.

use super::info::InfoFile;
use crate::opened::{Open, read_exact_at};
use std::fs::File;
use std::path::Path;

/// What savecore(8) takes for a block (`BLOCKSIZE`).
const BLOCK: usize = 4096;

/// How long the dump in a file was, where savecore(8) has left out zeros at its end: the file ends as savecore(8) ends
/// it, behind a block with something else than zeros, and its `info.N` tells of a longer dump.
pub fn length(path: &Path, file: &File, stored: u64, open: Open) -> Option<u64> {
    let number = path.file_name()?.to_str()?.strip_prefix("vmcore.")?;
    if stored == 0 || !stored.is_multiple_of(BLOCK as u64) {
        return None;
    }
    let info = InfoFile::read(&path.with_file_name(format!("info.{number}")), open).ok()?;
    let length = info.dump_length().filter(|length| *length > stored)?;
    let mut last = [0; BLOCK];
    read_exact_at(file, &mut last, stored - BLOCK as u64).ok()?;
    last.iter().any(|byte| *byte != 0).then_some(length)
}
