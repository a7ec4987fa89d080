//! Compressed dumps that are read in place, and those that are decompressed as far as they are read.

use crate::common::{Run, directory, memtool, text};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use vmcore::dump::DumpInOrder;
use vmcore::dump::byte_source::ByteSource;
use vmcore::progress::Progress;
use vmcore_synth::{Arch, Compression, MinidumpSpec};

const PAGE: u64 = 4096;
/// So many pages, none of which compresses.
const PAGES: u64 = 2048;
const FIRST: u64 = 0x4000_0000;

/// A dump of known pages, compressed by memtool, by zstd(1)'s way and by gzip's.
struct Dumps {
    directory: TempDir,
    plain: PathBuf,
    framed: PathBuf,
    zstd: PathBuf,
    gzip: PathBuf,
}

/// The bytes of a page: noise that is its own.
fn page(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let word = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).take(512).flatten().collect()
}

fn dumps() -> Dumps {
    let mut spec = MinidumpSpec::example(Arch::Amd64, 3);
    spec.dump_avail.push((FIRST, FIRST + PAGES * PAGE));
    for number in 0..PAGES {
        spec.pages.insert(FIRST + number * PAGE, page(number));
    }
    let directory = directory();
    let [plain, framed, zstd, gzip] =
        ["vmcore", "framed.zst", "stream.zst", "vmcore.gz"].map(|name| directory.path().join(name));
    let bytes = spec.build();
    std::fs::write(&plain, &bytes).unwrap();
    std::fs::write(&zstd, Compression::Zstd.compress(&bytes)).unwrap();
    std::fs::write(&gzip, Compression::Gzip.compress(&bytes)).unwrap();
    memtool(&["convert", "--format", "minidump", "--zstd=1", text(&plain), text(&framed)]).ok();
    Dumps { directory, plain, framed, zstd, gzip }
}

/// Reads the beginning of a page.
#[track_caller]
fn read(dump: &Path, number: u64, options: &[&str]) -> Run {
    let address = format!("{:#x}", FIRST + number * PAGE);
    memtool(&[&["read", "--core", text(dump), "--phys", &address, "-l", "8", "--as", "u8"], options].concat())
}

/// The address has an errno, and a warning says what is behind that.
#[track_caller]
fn fails_for(run: &Run, why: &str) {
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:?}");
    let warnings = run.stderr.lines().filter(|line| line.contains("warning: ") && line.contains(why)).count();
    assert_eq!(warnings, 1, "{run:?}");
    assert!(run.stderr.ends_with(": EIO: Input/output error\n"), "{run:?}");
}

fn expected(number: u64) -> String {
    page(number)[..8].iter().map(|byte| format!("{byte}\n")).collect()
}

#[test]
fn a_dump_with_a_table_of_frames_is_read_in_place() {
    let dumps = dumps();
    for number in [0, 1, 63, 64, PAGES / 2, PAGES - 1] {
        // Nothing is decompressed to anywhere.
        let run = read(&dumps.framed, number, &["--scratch", "/nonexistent"]).ok();
        assert_eq!((run.stdout, run.stderr.as_str()), (expected(number), ""));
    }
    let said = memtool(&["inspect", "--json", text(&dumps.framed)]).ok().json();
    let plain = std::fs::read(&dumps.plain).unwrap();
    assert_eq!(said["uncompressed_size"], plain.len());
    assert_eq!(said["zstd_frames"]["frame_count"], plain.len().div_ceil(256 << 10));
    assert_eq!(said["zstd_frames"]["largest_frame_bytes"], 256 << 10);
    let verified = memtool(&["inspect", "--verify", text(&dumps.framed)]).ok();
    assert!(verified.stdout.contains("in place: a table tells of its 33 frames"), "{verified:?}");
    // Who knows nothing of the table reads the same.
    let mut all = Vec::new();
    zstd::Decoder::new(File::open(&dumps.framed).unwrap()).unwrap().read_to_end(&mut all).unwrap();
    assert!(all == plain);
}

/// Of 8 MiB that do not compress, one page is read.
#[test]
fn little_of_a_large_dump_is_read_for_a_page() {
    let dumps = dumps();
    let trace = dumps.directory.path().join("trace");
    let address = format!("{:#x}", FIRST + 700 * PAGE);
    let run = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=pread64,read", "-o", text(&trace), env!("CARGO_BIN_EXE_memtool")])
        .args(["read", "--core", text(&dumps.framed), "--phys", &address, "-l", "1"])
        .status();
    if run.is_err() {
        println!("NOT TESTED: how much is read (there is no strace)");
        return;
    }
    assert!(run.unwrap().success());
    let trace = std::fs::read_to_string(&trace).unwrap();
    let reads = trace.lines().filter(|line| line.contains("framed.zst>"));
    let bytes: u64 = reads.filter_map(|line| line.rsplit_once("= ")?.1.trim().parse::<u64>().ok()).sum();
    let size = dumps.framed.metadata().unwrap().len();
    // The frames with the tables, and the one with the page.
    assert!(bytes > 0 && bytes < size / 8, "{bytes} of {size}\n{trace}");
}

#[test]
fn another_compressed_dump_is_decompressed_as_far_as_it_is_read() {
    let dumps = dumps();
    for dump in [&dumps.zstd, &dumps.gzip] {
        let run = read(dump, 3, &["--scratch-limit", "1M"]).ok();
        assert_eq!(run.stdout, expected(3));
        run.says_in_one_line(&["compressed as one stream", "into /var/tmp", "--format minidump --zstd"]);
        let run = read(dump, PAGES - 1, &["--scratch-limit", "1M"]);
        fails_for(&run, "more than the 1048576 bytes that --scratch-limit allows");
        assert_eq!(read(dump, PAGES - 1, &[]).ok().stdout, expected(PAGES - 1));
        read(dump, 3, &["--scratch", "/nonexistent"]).fails_saying(&["/nonexistent"]);
        let said = memtool(&["inspect", text(dump)]).ok();
        assert!(said.stdout.contains("from its beginning only, as one stream"), "{said:?}");
    }
    let scratch = directory();
    assert_eq!(read(&dumps.zstd, 9, &["--scratch", text(scratch.path())]).ok().stdout, expected(9));
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0);
}

#[test]
fn what_has_been_cut_off_is_read_up_to_there() {
    let dumps = dumps();
    let cut = dumps.directory.path().join("cut");
    for whole in [&dumps.zstd, &dumps.gzip, &dumps.framed] {
        let bytes = std::fs::read(whole).unwrap();
        std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(read(&cut, 5, &[]).ok().stdout, expected(5), "{}", whole.display());
        fails_for(&read(&cut, PAGES - 1, &[]), "stream is damaged");
        // That is said even if little else is.
        fails_for(&read(&cut, PAGES - 1, &["-q"]), "stream is damaged");
        memtool(&["inspect", "--verify", text(&cut)]).exits(1);
    }
}

#[test]
fn a_damaged_frame_is_only_its_own_loss() {
    let dumps = dumps();
    let mut bytes = std::fs::read(&dumps.framed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = dumps.directory.path().join("damaged");
    std::fs::write(&damaged, bytes).unwrap();
    for number in [0, PAGES - 1] {
        assert_eq!(read(&damaged, number, &[]).ok().stdout, expected(number));
    }
    fails_for(&read(&damaged, PAGES / 2, &[]), "of the zstd stream is damaged");
    memtool(&["inspect", "--verify", text(&damaged)]).exits(1);
}

#[test]
fn a_table_that_lies_is_not_believed() {
    let dumps = dumps();
    let whole = std::fs::read(&dumps.framed).unwrap();
    let end = whole.len();
    let entry = end - 9 - 8;
    let word = |at: usize, value: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let lying = dumps.directory.path().join("lying");
    let ends = [
        ("more frames than the file has room for", word(end - 9, 0x0700_0000)),
        ("more frames than there may be", word(end - 9, u32::MAX)),
        ("fewer frames", word(end - 9, 1)),
        ("a frame that is longer than it was", word(entry, 0x7fff_ffff)),
        ("a reserved bit", {
            let mut bytes = whole.clone();
            bytes[end - 5] |= 4;
            bytes
        }),
    ];
    for (name, bytes) in ends {
        std::fs::write(&lying, bytes).unwrap();
        // It is read from front to back then.
        assert_eq!(read(&lying, PAGES / 2, &[]).ok().stdout, expected(PAGES / 2), "{name}");
        let said = memtool(&["inspect", "--json", text(&lying)]).json();
        assert_eq!(said["zstd_frames"], serde_json::Value::Null, "{name}");
        assert!(said["warnings"].to_string().contains("table of zstd's frames"), "{name}: {said}");
    }
    // Where only the sizes before compression lie, a frame does not fit its own.
    std::fs::write(&lying, word(entry + 4, 17)).unwrap();
    memtool(&["inspect", "--verify", text(&lying)]).exits(1);
    read(&lying, PAGES - 1, &[]).exits(1);
}

#[test]
fn what_several_wrote_one_after_another_is_read_as_one() {
    let dumps = dumps();
    let plain = std::fs::read(&dumps.plain).unwrap();
    let (first, second) = plain.split_at(plain.len() / 3);
    let both = dumps.directory.path().join("both");
    let mut file = File::create(&both).unwrap();
    for part in [first, second] {
        file.write_all(&Compression::Zstd.compress(part)).unwrap();
    }
    drop(file);
    assert_eq!(read(&both, PAGES - 1, &[]).ok().stdout, expected(PAGES - 1));
}

#[test]
fn repacking_changes_no_byte_and_refuses_what_is_no_minidump() {
    let dumps = dumps();
    let plain = std::fs::read(&dumps.plain).unwrap();
    for (number, dump) in [&dumps.framed, &dumps.zstd, &dumps.gzip].into_iter().enumerate() {
        let out = dumps.directory.path().join(format!("out{number}"));
        let run = memtool(&["convert", "--format", "minidump", "--json", text(dump), text(&out)]).ok();
        assert_eq!(run.json()["format"], "minidump");
        assert!(std::fs::read(&out).unwrap() == plain, "{}", dump.display());
    }
    let lime = dumps.directory.path().join("lime");
    memtool(&["convert", "--format", "lime", text(&dumps.zstd), text(&lime)]).ok();
    let refused = dumps.directory.path().join("refused");
    let said = format!("{} is no minidump, but", text(&lime));
    memtool(&["convert", "--format", "minidump", text(&lime), text(&refused)]).fails_saying(&[&said, "LiME"]);
    assert!(!refused.exists());
    // Nor does the library take it for an empty one.
    let dump = DumpInOrder::open(ByteSource::open(&lime).unwrap(), None, None, &Progress::default()).unwrap();
    let read = dump.read_minidump(|_| Ok(()));
    assert!(matches!(read, Err(vmcore::Error::Refused(_))), "{read:?}");
    // A dump that has been cut off stays one, and that is said.
    let cut = dumps.directory.path().join("cut");
    std::fs::write(&cut, &plain[..plain.len() - 5000]).unwrap();
    let out = dumps.directory.path().join("cut.zst");
    let run = memtool(&["convert", "--format", "minidump", "--zstd", text(&cut), text(&out)]).exits(1);
    assert!(run.stderr.contains("5000 B at its end are missing"), "{run:?}");
    assert!(zstd::decode_all(File::open(&out).unwrap()).unwrap() == plain[..plain.len() - 5000]);
}

#[test]
fn what_is_converted_of_a_dump_with_a_damaged_frame_lacks_only_that() {
    let dumps = dumps();
    let mut bytes = std::fs::read(&dumps.framed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let [damaged, out] = ["damaged", "out"].map(|name| dumps.directory.path().join(name));
    std::fs::write(&damaged, bytes).unwrap();
    let run = memtool(&["convert", "--format", "lime", "--json", text(&damaged), text(&out)]).exits(1);
    let said = run.json();
    assert_eq!(said["bytes_unreadable"], 256 << 10);
    assert!(said["warnings"].to_string().contains("of the zstd stream is damaged"), "{said}");
    assert_eq!(read(&out, PAGES - 1, &[]).ok().stdout, expected(PAGES - 1));
    // A minidump as it is cannot lack anything.
    let out = dumps.directory.path().join("minidump");
    let run = memtool(&["convert", "--format", "minidump", text(&damaged), text(&out)]).exits(1);
    assert!(run.stderr.contains("of the zstd stream is damaged"), "{run:?}");
    assert!(!out.exists());
}

#[test]
fn a_report_says_how_its_dump_is_read_too() {
    let dumps = dumps();
    let said = |dump: &Path| memtool(&["report", text(dump)]).stderr;
    assert!(said(&dumps.zstd).contains("compressed as one stream"), "{}", said(&dumps.zstd));
    assert!(!said(&dumps.framed).contains("compressed as one stream"), "{}", said(&dumps.framed));
}

/// They would be passed over in silence.
#[test]
fn options_of_scratch_files_are_refused_where_there_are_none() {
    for command in [&["ranges"][..], &["paddr", "0x1000"], &["dump", "-o", "x"], &["ps"], &["completions", "zsh"]] {
        memtool(&[command, &["--scratch", "/tmp"]].concat()).usage_error(&["--scratch does not apply"]);
        memtool(&[command, &["--scratch-limit", "1g"]].concat()).usage_error(&["--scratch-limit does not apply"]);
    }
    memtool(&["livedump", "--scratch-limit", "1g", "x"]).usage_error(&["--scratch-limit does not apply"]);
    // A recorded machine's memory may be unpacked there.
    memtool(&["--machine", "demo", "ranges", "--scratch", "/tmp"]).ok();
}
