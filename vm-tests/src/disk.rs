//! The raw disks that the guest has beside the one it boots: one with the program and the cases, one for
//! [`crate::results`], and a spare one for crash dumps. The first line of each is its name, by which the guest
//! finds it.
//!
//! The disk with the cases is cut into blocks of [`BLOCK`] bytes. Its first sector is text:
//!
//! ```text
//! memtool-vm-tests-1
//! 1 3
//! ```
//!
//! the format's name, and where the unpacking script is: first block, number of blocks. The script, an sh
//! script padded with newlines, holds the table of all files and copies them to a folder with nothing but
//! dd: `sh unpack DISK FOLDER`.

use crate::error::{Error, Result};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// The name of the disk with the cases, and of its format.
pub const CASES: &str = "memtool-vm-tests-1";

/// The name of the disk for results, and of its format.
pub const RESULTS: &str = "memtool-vm-results-1";

/// The name of the spare disk.
pub const SPARE: &str = "memtool-vm-spare-1";

/// The unit in which places on the disk with the cases are counted; a whole number of any disk's sectors.
pub const BLOCK: usize = 4096;

/// A file on the disk.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its name in the guest; a plain word.
    pub name: &'a str,
    /// What it holds.
    pub contents: &'a [u8],
    /// Whether it is a program.
    pub executable: bool,
}

/// Writes a disk with these files to `path`.
pub fn write(path: &Path, entries: &[Entry]) -> Result<()> {
    File::create(path).and_then(|mut file| put(&mut file, entries)).map_err(Error::file("write", path))
}

/// Makes a disk of this size in bytes that holds its name and nothing else, and takes no room for the rest; what
/// is at `path` already is emptied.
pub fn write_empty(path: &Path, name: &str, size: u64) -> Result<()> {
    let put = |mut file: File| {
        file.set_len(size)?;
        file.write_all(name.as_bytes())?;
        file.write_all(b"\n")
    };
    File::create(path).and_then(put).map_err(Error::file("write", path))
}

fn put(file: &mut File, entries: &[Entry]) -> io::Result<()> {
    // The script's length does not depend on where the files begin by more than the digits, so room is left.
    let script_blocks = unpack_script(entries, 0).len() / BLOCK + 2;
    let mut script = unpack_script(entries, 1 + script_blocks).into_bytes();
    script.resize(script_blocks * BLOCK, b'\n');
    let mut head = format!("{CASES}\n1 {script_blocks}\n").into_bytes();
    head.resize(BLOCK, b'\n');
    file.write_all(&head)?;
    file.write_all(&script)?;
    for entry in entries {
        file.write_all(entry.contents)?;
        pad(file)?;
    }
    // So that no file ends at the disk's last block.
    file.write_all(&[b'\n'; BLOCK])
}

/// Goes on to the next whole block.
fn pad(file: &mut File) -> io::Result<()> {
    let position = file.stream_position()?;
    let end = position.next_multiple_of(BLOCK as u64);
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(())
}

/// The script that unpacks files which lie one after another from this block on.
fn unpack_script(entries: &[Entry], first: usize) -> String {
    let mut script = String::from(UNPACK);
    let mut block = first;
    for Entry { name, contents, executable } in entries {
        let (whole, rest) = (contents.len() / BLOCK, contents.len() % BLOCK);
        let _ = writeln!(script, "file {name} {block} {whole} {rest}");
        if *executable {
            let _ = writeln!(script, "chmod 755 $folder/{name}");
        }
        block += contents.len().div_ceil(BLOCK);
    }
    script
}

// A disk gives whole sectors only, so the last part of a file goes through a pipe.
const UNPACK: &str = "\
set -e
disk=$1 folder=$2
# file NAME FIRST-BLOCK WHOLE-BLOCKS FURTHER-BYTES
file() {
    : > $folder/$1
    if [ $3 -gt 0 ]; then dd if=$disk bs=4096 skip=$2 count=$3 2>/dev/null > $folder/$1; fi
    [ $4 -gt 0 ] || return 0
    dd if=$disk bs=4096 skip=$(($2 + $3)) count=1 2>/dev/null | dd bs=1 count=$4 2>/dev/null >> $folder/$1
}
";

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn sh_and_dd_unpack_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        let large: Vec<u8> =
            (0..300_000_u32).map(|number| number.to_le_bytes()[usize::from(number % 3 == 0)]).collect();
        let exact = vec![7; 2 * BLOCK];
        let contents: [(&str, &[u8]); 5] =
            [("large", &large), ("empty", b""), ("small", b"a\nb"), ("exact", &exact), ("last", b"\0")];
        let entries = contents.map(|(name, contents)| Entry { name, contents, executable: name == "large" });
        write(&disk, &entries).unwrap();

        let bytes = fs::read(&disk).unwrap();
        let head = String::from_utf8(bytes[..BLOCK].to_vec()).unwrap();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some(CASES));
        let place: Vec<usize> = lines.next().unwrap().split(' ').map(|word| word.parse().unwrap()).collect();
        let script = folder.path().join("unpack");
        fs::write(&script, &bytes[place[0] * BLOCK..(place[0] + place[1]) * BLOCK]).unwrap();

        let target = folder.path().join("target");
        fs::create_dir(&target).unwrap();
        assert!(Command::new("sh").arg(&script).args([&disk, &target]).status().unwrap().success());
        for (name, contents) in contents {
            assert!(fs::read(target.join(name)).unwrap() == contents, "{name}");
        }
        assert!(Command::new("test").arg("-x").arg(target.join("large")).status().unwrap().success());
    }
}
