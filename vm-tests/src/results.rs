//! What comes back from the guest: the files that a case kept on the disk for results.
//!
//! The disk is cut into units of 1 MiB. The first one is the table, in blocks of 4096 bytes: the disk's name,
//! and then a block for each file, which is a line padded with zeros,
//!
//! ```text
//! file NAME FIRST-UNIT LENGTH
//! ```
//!
//! up to a block that has none. The files follow, each from a unit of its own on; lengths are in bytes. A file is
//! written before its line is, so that it counts only when it is whole. `keep` in `cases/helpers.sh` does all
//! that with sh and dd. Nothing of it is trusted here: a guest under test writes anything.

use crate::disk::{self, BLOCK};
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The disk's size in bytes. It is sparse: only what is written takes room.
pub const SIZE: u64 = 64 << 30;

const UNIT: u64 = 1 << 20;

/// The longest name of a file.
const MAX_NAME: usize = 100;

/// A file on the disk.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    name: String,
    start: u64,
    length: u64,
}

/// Makes an empty disk for results, or empties one.
pub fn write_empty(disk: &Path) -> Result<()> {
    disk::write_empty(disk, disk::RESULTS, SIZE)
}

/// Copies the files on the disk to a folder, which is made if there are any. No file there is replaced.
pub fn collect(disk: &Path, folder: &Path) -> Result<()> {
    let mut file = File::open(disk).map_err(Error::file("read", disk))?;
    let mut table = Vec::new();
    (&file).take(UNIT).read_to_end(&mut table).map_err(Error::file("read", disk))?;
    let kept = parse(&table, SIZE)?;
    if !kept.is_empty() {
        fs::create_dir_all(folder).map_err(Error::file("make the folder", folder))?;
    }
    for Kept { name, start, length } in kept {
        let path = folder.join(&name);
        if path.symlink_metadata().is_ok() {
            return Err(Error::Guest(format!("two files were kept as {name}")));
        }
        let to = File::create_new(&path).map_err(Error::file("write", &path))?;
        copy(&mut file, start, length, to).map_err(Error::file("write", &path))?;
    }
    Ok(())
}

/// The files that the table lists: one after another, within a disk of this size.
fn parse(table: &[u8], size: u64) -> Result<Vec<Kept>> {
    let mut kept = Vec::new();
    let mut free = UNIT;
    for block in table.chunks(BLOCK).skip(1).take_while(|block| block.iter().any(|&byte| byte != 0)) {
        let line = block.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let entry = parse_line(line).filter(|entry| {
            entry.start >= free && entry.start.checked_add(entry.length).is_some_and(|end| end <= size)
        });
        let Some(entry) = entry else {
            let line = String::from_utf8_lossy(line.get(..MAX_NAME).unwrap_or(line));
            return Err(Error::Guest(format!("the disk for results is damaged: '{}'", line.escape_default())));
        };
        free = entry.start + entry.length;
        kept.push(entry);
    }
    Ok(kept)
}

fn parse_line(line: &[u8]) -> Option<Kept> {
    let mut words = str::from_utf8(line).ok()?.strip_prefix("file ")?.split(' ');
    let name = words.next().filter(|name| is_plain(name))?.to_owned();
    let start = words.next()?.parse::<u64>().ok()?.checked_mul(UNIT)?;
    let length = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Kept { name, start, length })
}

/// Whether this can be the name of a file everywhere: letters, digits, `-`, `_`, and `.` but at the beginning.
pub fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-'])
}

/// Copies a part of a disk to a new file, and leaves holes where there are only zeros.
fn copy(disk: &mut File, start: u64, length: u64, mut to: File) -> io::Result<()> {
    disk.seek(SeekFrom::Start(start))?;
    let mut part = disk.take(length);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = part.read(&mut buffer)?;
        let Some(bytes @ [_, ..]) = buffer.get(..count) else { break };
        if bytes.iter().all(|&byte| byte == 0) {
            to.seek_relative(i64::try_from(count).map_err(io::Error::other)?)?;
        } else {
            to.write_all(bytes)?;
        }
    }
    if part.limit() > 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    to.set_len(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const HELPERS: &str = include_str!("../cases/helpers.sh");

    /// Runs a script with the helpers, as in a guest, and copies out what it kept.
    fn keep(script: &str) -> (tempfile::TempDir, Result<()>) {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        write_empty(&disk).unwrap();
        fs::write(folder.path().join("helpers.sh"), HELPERS).unwrap();
        let case = folder.path().join("case");
        fs::create_dir(&case).unwrap();
        let script = format!(". ../helpers.sh\n{script}");
        let mut sh = Command::new("sh");
        sh.args(["-c", &script]).current_dir(&case).env("RESULTS_DISK", &disk).env("MEMTOOL", "/bin/echo");
        let output = sh.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let collected = collect(&disk, &folder.path().join("results"));
        (folder, collected)
    }

    fn kept(folder: &tempfile::TempDir, name: &str) -> Vec<u8> {
        fs::read(folder.path().join("results").join(name)).unwrap()
    }

    #[test]
    fn what_sh_and_dd_keep_comes_back() {
        let (folder, collected) = keep(
            "printf 'a\\nb' > small; keep small small.txt; : > empty; keep empty empty
             dd if=/dev/zero bs=1048576 count=2 > exact 2> dd.err; keep exact exact
             mkfifo fifo; (printf 1; sleep 0.2; printf 2) > fifo & keep fifo fifo
             (dd if=/dev/zero bs=1000000 count=3; echo end) 2> dd.err | keep - stream || exit 1
             must_keep output some words",
        );
        collected.unwrap();
        assert_eq!(kept(&folder, "small.txt"), b"a\nb");
        assert_eq!(kept(&folder, "empty"), b"");
        assert_eq!(kept(&folder, "exact"), vec![0; 2 << 20]);
        assert_eq!(kept(&folder, "fifo"), b"12");
        let stream = kept(&folder, "stream");
        assert_eq!((stream.len(), stream.ends_with(b"\0end\n")), (3_000_004, true));
        assert_eq!(kept(&folder, "output"), b"some words\n");
    }

    #[test]
    fn what_cannot_be_kept_fails_the_case() {
        for script in [
            "(keep none none) && exit 1; exit 0",
            "(keep . folder) && exit 1; exit 0",
            "(keep /etc/passwd ../x) && exit 1; exit 0",
            "(RESULTS_DISK=/dev/full; keep /etc/passwd x) && exit 1; exit 0",
            "MEMTOOL=false; (must_keep x) && exit 1; exit 0",
        ] {
            let _ = keep(script);
        }
    }

    #[test]
    fn two_files_of_one_name_are_refused() {
        let (_, collected) = keep("echo 1 > a; keep a a; keep a a");
        assert_eq!(collected.unwrap_err().to_string(), "the guest cannot be used: two files were kept as a");
    }

    #[test]
    fn a_disk_that_was_emptied_holds_nothing() {
        let (folder, _) = keep("echo 1 > a; keep a a");
        let disk = folder.path().join("disk");
        write_empty(&disk).unwrap();
        collect(&disk, &folder.path().join("none")).unwrap();
        assert!(!folder.path().join("none").exists());
    }

    fn table(lines: &[&str]) -> Vec<u8> {
        let mut table = vec![0; BLOCK];
        for line in lines {
            table.extend(line.as_bytes());
            table.resize(table.len().next_multiple_of(BLOCK), 0);
        }
        table.resize(table.len() + BLOCK, 0);
        table
    }

    #[test]
    fn a_table_is_not_trusted() {
        let end = 10 * UNIT;
        let fine = parse(&table(&["file a 1 5\n", "file b.c 2 8388608\n"]), end).unwrap();
        assert_eq!(fine.last(), Some(&Kept { name: "b.c".to_owned(), start: 2 * UNIT, length: 8 << 20 }));
        for lines in [
            &["garbage"][..],
            &["file a 1"],
            &["file a 1 5 6\n"],
            &["file ../a 1 5\n"],
            &["file .a 1 5\n"],
            &["file /a 1 5\n"],
            &["file  1 5\n"],
            &["file a 0 5\n"],
            &["file a 1 -5\n"],
            &["file a 10 1\n"],
            &["file a 9 1048577\n"],
            &["file a 1 18446744073709551615\n"],
            &["file a 18446744073709551615 1\n"],
            &["file a 1 1048577\n", "file b 2 5\n"],
            &["file a\0b 1 5\n"],
        ] {
            assert!(parse(&table(lines), end).is_err(), "{lines:?}");
        }
    }
}
