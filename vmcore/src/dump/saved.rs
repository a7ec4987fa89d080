//! Dumps whose last zeros savecore(8) has left out. It passes over blocks of zeros to leave holes, and never sets the
//! file's length, so that zeros at the end of a dump are not in its file (`sparsefwrite()`, sbin/savecore/savecore.c).
//! How long the dump was stands in the `info.N` beside it.

use crate::opened::{Open, read_at_most, read_exact_at};
use std::fs::File;
use std::path::Path;

/// What savecore(8) takes for a block (`BLOCKSIZE`).
const BLOCK: usize = 4096;
/// An `info.N` that is larger is none.
const MAX_INFO: u64 = 64 << 10;

/// How long the dump in a file was, where savecore(8) has left out zeros at its end: the file ends as savecore(8) ends
/// it, behind a block with something else than zeros, and its `info.N` tells of a longer dump.
pub fn length(path: &Path, file: &File, stored: u64, open: Open) -> Option<u64> {
    let number = path.file_name()?.to_str()?.strip_prefix("vmcore.")?;
    if stored == 0 || !stored.is_multiple_of(BLOCK as u64) {
        return None;
    }
    let info = open(&path.with_file_name(format!("info.{number}"))).ok()?;
    let text = read_at_most(info, MAX_INFO).ok()??;
    let length = dump_length(&String::from_utf8_lossy(&text)).filter(|length| *length > stored)?;
    let mut last = [0; BLOCK];
    read_exact_at(file, &mut last, stored - BLOCK as u64).ok()?;
    last.iter().any(|byte| *byte != 0).then_some(length)
}

/// The length that an `info.N` tells of a dump that was not compressed; it is what
/// `save` writes, too.
fn dump_length(text: &str) -> Option<u64> {
    let field = |label: &str| text.lines().find_map(|line| line.trim_start().strip_prefix(label)?.strip_prefix(": "));
    if field("Compression").is_some_and(|compression| compression != "none") {
        return None;
    }
    field("Dump Length")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_taken_from_the_fields_and_not_from_texts_behind_them() {
        let info =
            "Dump header from device: /dev/ada0p3\n  Architecture: amd64\n  Dump Length: 8192\n  Compression: none\n";
        assert_eq!(dump_length(info), Some(8192));
        assert_eq!(dump_length(&format!("{info}  Panic String: x\n  Dump Length: 5\n")), Some(8192));
        assert_eq!(dump_length(&info.replace("none", "zstd")), None);
        assert_eq!(dump_length(&info.replace("8192", "-1")), None);
        assert_eq!(dump_length(""), None);
        // Before version 12 there was no compression.
        assert_eq!(dump_length("  Dump Length: 77\n"), Some(77));
    }
}
