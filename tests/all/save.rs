//! `memtool save`: crash dumps are saved as they are, and none is ever lost.

use crate::common::encryption::{KEYS, block_for, encrypted};
use crate::common::{
    Run, Running, command, demo_machine, directory, names, noise, on, run, start, text, write_machine,
};
use memtool::observer::{Observer, Phase, Work};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::fs::{self, read, read_link, read_to_string, write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use vmcore::decrypt::Encryption;
use vmcore::kerneldump as product;
use vmcore_synth::device::{DumpDevice, key_block, text_archive, text_device};
use vmcore_synth::kerneldump::{self, set_parity};
use vmcore_synth::{Arch, Compression, Endianness, KernelDumpHeader, MinidumpSpec, set, set_text};

/// A dump device in a file, and a directory for dumps.
struct Container {
    folder: TempDir,
    device: PathBuf,
    crash: PathBuf,
}

impl Container {
    fn new(device: &[u8]) -> Self {
        let folder = directory();
        let crash = folder.path().join("crash");
        std::fs::create_dir(&crash).unwrap();
        let path = folder.path().join("device");
        write(&path, device).unwrap();
        Self { device: path, crash, folder }
    }

    fn command(&self, options: &[&str]) -> std::process::Command {
        let mut command = command();
        command.args(["save", "--dir", text(&self.crash)]).args(options).arg(&self.device);
        command
    }

    #[track_caller]
    fn save(&self, options: &[&str]) -> Run {
        run(&mut self.command(options))
    }

    /// Without a directory for dumps.
    #[track_caller]
    fn ask(&self, options: &[&str]) -> Run {
        run(command().arg("save").args(options).arg(&self.device))
    }

    fn device(&self) -> Vec<u8> {
        read(&self.device).unwrap()
    }

    fn names(&self) -> Vec<String> {
        names(&self.crash)
    }

    fn file(&self, name: &str) -> Vec<u8> {
        read(self.crash.join(name)).unwrap()
    }

    /// Asserts that the device is as it was, but for the last header's magic, which is all that savecore(8) changes.
    #[track_caller]
    fn is_cleared(&self, before: &[u8], sector: u64) {
        let after = self.device();
        let header = before.len() - sector as usize;
        assert_eq!(after.len(), before.len());
        assert!(after[..header] == before[..header], "something before the last header has changed");
        let mut expected = before[header..].to_vec();
        set_text(&mut expected, kerneldump::fields(4), "magic", "Cleared Kernel Dump");
        assert!(after[header..] == expected[..], "the last header is not the same, cleared");
    }
}

/// A minidump with pages of zeros at its end.
fn dump() -> Vec<u8> {
    MinidumpSpec::example(Arch::Amd64, 3).build()
}

fn device_with(compression: Compression, version: u32, sector: u64, dump: &[u8]) -> DumpDevice {
    let header = KernelDumpHeader { compression, ..KernelDumpHeader::example(Arch::Amd64, version, 0) };
    DumpDevice::example(header, sector, dump)
}

/// Bytes that begin as a core file of amd64's memory does.
fn elf_beginning(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x09");
    bytes[18..20].copy_from_slice(&[62, 0]);
    bytes
}

fn plain() -> DumpDevice {
    device_with(Compression::None, 4, 512, &dump())
}

/// The bytes of the dump as they are on the device.
fn data(device: &DumpDevice) -> Vec<u8> {
    let parts = device.parts();
    device.build()[parts.data.start as usize..parts.data.end as usize].to_vec()
}

const SUFFIXES: [(Compression, &str); 3] =
    [(Compression::None, ""), (Compression::Gzip, ".gz"), (Compression::Zstd, ".zst")];

fn unpacked(name: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    if name.ends_with(".gz") {
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
        out
    } else if name.ends_with(".zst") {
        zstd::decode_all(bytes).unwrap()
    } else {
        bytes.to_vec()
    }
}

#[test]
fn every_header_compression_and_sector_is_saved_and_cleared() {
    for sector in [512, 4096] {
        for version in 1..=4 {
            let possible = if version < 3 { 1 } else { 3 };
            for (compression, suffix) in SUFFIXES.into_iter().take(possible) {
                let device = device_with(compression, version, sector, &dump());
                let before = device.build();
                let place = Container::new(&before);
                let name = format!("version {version}, {compression:?}, sectors of {sector}");
                let report = place.save(&["--verify", "--json"]).ok().json();
                let core = format!("vmcore.0{suffix}");
                let mut expected = vec!["bounds", "info.0", "info.last", core.as_str()];
                let link = format!("vmcore.last{suffix}");
                expected.push(&link);
                expected.sort_unstable();
                assert_eq!(place.names(), expected, "{name}");
                assert_eq!(place.file(&core), data(&device), "{name}");
                assert_eq!(read_link(place.crash.join(&link)).unwrap(), Path::new(&core));
                assert_eq!(read_link(place.crash.join("info.last")).unwrap(), Path::new("info.0"));
                assert_eq!(place.crash.join(&core).metadata().unwrap().mode() & 0o7777, 0o600);
                assert_eq!(read_to_string(place.crash.join("bounds")).unwrap(), "1\n");
                place.is_cleared(&before, sector);
                let found = &report["devices"][0];
                assert_eq!((&found["result"], &found["cleared"]), (&json!("saved"), &json!(true)), "{report}");
                assert_eq!(found["header"]["version"], version);
                assert_eq!(found["saved"]["size"], data(&device).len());
                // The next run finds nothing to do, and inspect nothing wrong.
                let next = place.save(&["--json"]).ok().json();
                assert_eq!(next["devices"][0]["result"], "no-dump", "{name}: {next}");
                place.ask(&["--check"]).exits(1);
                run(command().arg("inspect").arg(&place.device)).ok();
                assert_eq!(place.names(), expected, "{name}");
            }
        }
    }
}

#[test]
fn info_is_what_savecore_writes() {
    let device = device_with(Compression::Zstd, 4, 4096, &dump());
    let place = Container::new(&device.build());
    write(place.crash.join("bounds"), "7\n").unwrap();
    run(place.command(&[]).env("TZ", "UTC")).ok();
    let header = device.build()[device.parts().last_header.start as usize..][..512].to_vec();
    let expected = format!(
        "Dump header from device: {}\n  Architecture: amd64\n  Architecture Version: 2\n  Dump Length: {}\n  \
         Blocksize: 4096\n  Compression: zstd\n  Dumptime: 2023-11-14 22:13:20 +0000\n  Hostname: dumped.example.org\n  \
         Magic: FreeBSD Kernel Dump\n  Version String: FreeBSD 14.0-RELEASE #0: Fri Nov 10 05:57:23 UTC 2023\n    \
         GENERIC\n  Panic String: page fault\n  Dump Parity: {}\n  Bounds: 7\n  Dump Status: good\n",
        place.device.display(),
        device.data.len(),
        u32::from_ne_bytes(*header.last_chunk().unwrap()),
    );
    assert_eq!(String::from_utf8(place.file("info.7")).unwrap(), expected);
    assert_eq!(place.crash.join("info.7").metadata().unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn what_is_said_is_right() {
    let before = plain().build();
    let place = Container::new(&before);
    let said = place.save(&["--keep"]).ok();
    let (device, core) = (text(&place.device).to_owned(), place.crash.join("vmcore.0"));
    let what = "a kernel dump of dumped.example.org, 2023-11-14T22:13:20Z, ";
    assert!(said.lines()[0].starts_with(&format!("{}: ", core.display())), "{said:?}");
    assert!(said.lines()[1].starts_with(&format!("{device}: kept; saved {what}")), "{said:?}");
    assert!(said.stdout.ends_with(": page fault\n"), "{said:?}");
    assert!(place.device() == before, "--keep has changed the device");
    let check = place.ask(&["--check"]).ok();
    for fact in [&device, "kernel dump", "dumped.example.org", "2023-11-14", "14.0-RELEASE", "page fault"] {
        assert!(check.stdout.contains(fact), "{fact}: {check:?}");
    }
    let cleared = place.ask(&["--clear"]).ok();
    assert!(cleared.stdout.starts_with(&format!("{device}: cleared; lost: {what}")), "{cleared:?}");
    place.is_cleared(&before, 512);
    let check = place.ask(&["--check"]).exits(1);
    assert!(check.stdout.contains("no dump") && check.stdout.contains("was cleared"), "{check:?}");
    assert_eq!(place.ask(&["--check", "-q"]).exits(1).stdout, "");
    let empty = Container::new(&[0; 1 << 20]);
    assert_eq!(empty.save(&[]).ok().stdout, format!("{}: no dump\n", empty.device.display()));
    assert_eq!(empty.names(), Vec::<String>::new());
    empty.ask(&["--check"]).exits(1);
}

#[test]
fn text_dumps_come_in_the_right_order() {
    let long = noise(200_000);
    let files: [(&str, &[u8]); 3] = [("panic.txt", b"page fault"), ("msgbuf.txt", &long), ("version.txt", b"")];
    for version in 1..=4 {
        let device = text_device(Arch::Amd64, version, &files);
        let before = device.build();
        let place = Container::new(&before);
        place.save(&["--verify"]).ok();
        assert_eq!(place.file("textdump.tar.0"), text_archive(&files), "version {version}");
        assert_eq!(read_link(place.crash.join("textdump.tar.last")).unwrap(), Path::new("textdump.tar.0"));
        place.is_cleared(&before, 512);
        // Cleared, it is still known for what it was.
        place.save(&["--force", "--zstd"]).ok();
        assert_eq!(unpacked("x.zst", &place.file("textdump.tar.1.zst")), text_archive(&files));
        assert!(String::from_utf8(place.file("info.1")).unwrap().contains("Magic: FreeBSD Text Dump\n"));
    }
}

#[test]
fn encrypted_dumps_are_stored_with_their_key() {
    for sector in [512_u64, 4096] {
        let mut device = device_with(Compression::Zstd, 4, sector, &dump());
        device.data = noise(device.data.len());
        device.key = key_block([7; 32], &[9; 256]);
        let before = device.build();
        let place = Container::new(&before);
        let check = place.ask(&["--check", "--json"]).ok().json();
        assert_eq!(check["devices"][0]["encrypted"], true);
        // What is encrypted cannot be compressed.
        place.save(&["--zstd"]).ok();
        let expected =
            ["bounds", "info.0", "info.last", "key.0", "key.last", "vmcore_encrypted.0", "vmcore_encrypted.last.zst"];
        assert_eq!(place.names(), expected);
        assert_eq!(place.file("vmcore_encrypted.0"), device.data);
        let mut key = device.key.clone();
        key.resize(key.len().next_multiple_of(sector as usize), 0);
        assert_eq!(place.file("key.0"), key);
        assert_eq!(place.crash.join("key.0").metadata().unwrap().mode() & 0o7777, 0o600);
        place.is_cleared(&before, sector);
        // Only the link tells how it is compressed, and not with --uncompress, as savecore(8) has it.
        assert_eq!(read_link(place.crash.join("vmcore_encrypted.last.zst")).unwrap(), Path::new("vmcore_encrypted.0"));
        write(&place.device, &before).unwrap();
        place.save(&["--uncompress"]).ok();
        assert_eq!(read_link(place.crash.join("vmcore_encrypted.last")).unwrap(), Path::new("vmcore_encrypted.1"));
        assert!(!place.names().contains(&"vmcore_encrypted.last.zst".to_owned()), "{:?}", place.names());
        // A second one has no encryption, and no link says otherwise.
        write(&place.device, plain().build()).unwrap();
        place.save(&[]).ok();
        let links: Vec<String> = place.names().into_iter().filter(|name| name.contains("last")).collect();
        assert_eq!(links, ["info.last", "vmcore.last"]);
    }
}

#[test]
fn encrypted_dumps_are_decrypted_on_the_way_and_kept_where_that_fails() {
    let dump = dump();
    let key = KEYS.path("mine.pem");
    for encryption in [Encryption::Aes256Cbc, Encryption::ChaCha20] {
        for (compression, suffix) in SUFFIXES {
            let plain = compression.compress(&dump);
            // The last block is made up before it is encrypted; the length in the header says without.
            let mut blocks = plain.clone();
            blocks.resize(blocks.len().next_multiple_of(512), 0);
            let mut device = device_with(compression, 4, 512, &dump);
            (device.data, device.key) = (encrypted(encryption, &blocks), block_for("mine.pem", encryption, "oaep"));
            let header = KernelDumpHeader { dump_length: plain.len() as u64, ..device.header() }.build();
            let mut before = device.build();
            let parts = device.parts();
            for part in [parts.first_header, parts.last_header] {
                before[part.start as usize..part.end as usize].copy_from_slice(&header);
            }
            let place = Container::new(&before);
            let name = format!("{encryption:?}, {compression:?}");
            let other = KEYS.path("other.pem");
            place.save(&["--private-key", text(&other), "-q"]).exits(1);
            assert!(place.device() == before && place.names().is_empty(), "{name}");
            place.save(&["--private-key", text(&key), "--verify", "--keep", "-q"]).ok();
            assert_eq!(place.file(&format!("vmcore.0{suffix}")), plain, "{name}");
            assert!(!place.names().contains(&"key.0".to_owned()), "{name}");
            place.save(&["--private-key", text(&key), "--uncompress", "-q"]).ok();
            assert_eq!(place.file("vmcore.1"), dump, "{name}");
            place.is_cleared(&before, 512);
            // Decrypted with a key that is another dump's it would be noise.
            let mut noisy = before.clone();
            noisy[parts.data.start as usize..parts.data.end as usize].fill(7);
            write(&place.device, &noisy).unwrap();
            place.save(&["--private-key", text(&key), "-q"]).fails_saying(&["not a dump after decryption"]);
            assert!(place.device() == noisy, "{name}");
        }
    }
}

#[test]
fn dumps_are_compressed_and_decompressed_on_the_way() {
    let dump = dump();
    for (option, suffix) in [("--zstd", ".zst"), ("--gzip", ".gz")] {
        for (compression, own) in SUFFIXES {
            let place = Container::new(&device_with(compression, 4, 512, &dump).build());
            place.save(&[option, "--verify"]).ok();
            let core = format!("vmcore.0{}", if compression == Compression::None { suffix } else { own });
            assert_eq!(unpacked(&core, &place.file(&core)), dump, "{compression:?}, {option}");
            assert!(place.names().contains(&core.replace('0', "last")), "{:?}", place.names());
        }
    }
    for (compression, _) in SUFFIXES {
        let place = Container::new(&device_with(compression, 4, 512, &dump).build());
        place.save(&["--uncompress", "--verify"]).ok();
        assert_eq!(place.file("vmcore.0"), dump, "{compression:?}");
    }
}

#[test]
fn zeros_become_holes() {
    let mut dump = elf_beginning(vec![0; 8 << 20]);
    dump[5 << 20] = 1;
    for compression in [Compression::None, Compression::Zstd] {
        let place = Container::new(&device_with(compression, 4, 512, &dump).build());
        place.save(&["--uncompress"]).ok();
        assert_eq!(place.file("vmcore.0"), dump);
        let blocks = place.crash.join("vmcore.0").metadata().unwrap().blocks();
        assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
    }
}

/// The device with a change to one of its headers.
fn changed(device: &DumpDevice, last: bool, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = device.build();
    let parts = device.parts();
    let header = if last { parts.last_header } else { parts.first_header };
    change(&mut bytes[header.start as usize..header.end as usize]);
    bytes
}

#[test]
fn damaged_headers_are_saved_by_force_only() {
    let device = plain();
    let flip = |header: &mut [u8]| header[70] ^= 1;
    let cases = [
        ("parity", changed(&device, true, flip)),
        ("first header", changed(&device, false, flip)),
        ("there is none", changed(&device, false, |header| header.fill(0))),
    ];
    for (what, before) in cases {
        let place = Container::new(&before);
        for option in [None, Some("--clear")] {
            let options = option.as_slice();
            let refused = if option.is_some() { place.ask(options) } else { place.save(options) };
            refused.fails_saying(&["damaged", what, "--force", "the dump was kept"]);
        }
        let check = place.ask(&["--check"]).ok();
        assert!(check.stdout.contains("DAMAGED") && check.stdout.contains(what), "{check:?}");
        assert!(place.device() == before && place.names().is_empty());
        let said = place.save(&["--force", "--json"]).ok().json();
        assert_eq!(said["devices"][0]["saved"]["good"], false);
        assert_eq!(place.file("vmcore.0"), data(&device), "{what}");
        assert!(String::from_utf8(place.file("info.0")).unwrap().ends_with("Dump Status: bad\n"));
        place.is_cleared(&before, 512);
        let given_up = Container::new(&before);
        given_up.ask(&["--clear", "--force"]).ok();
        given_up.is_cleared(&before, 512);
    }
}

#[test]
fn headers_that_promise_too_much_are_not_believed() {
    let device = plain();
    let fields = kerneldump::fields(4);
    let both = |field: &str, value: u64| {
        let mut bytes = device.build();
        let parts = device.parts();
        for header in [parts.first_header, parts.last_header] {
            let header = &mut bytes[header.start as usize..header.end as usize];
            set(header, fields, Endianness::Big, field, value);
            set_parity(header);
        }
        bytes
    };
    for (field, value) in [("dumpextent", u64::MAX), ("dumpextent", 1 << 40), ("dumpkeysize", u64::from(u32::MAX))] {
        let before = both(field, value);
        let place = Container::new(&before);
        place.save(&[]).fails_saying(&["damaged", "--force"]);
        place.save(&["--force"]).fails_saying(&["no byte of the dump"]);
        assert!(place.device() == before && place.names().is_empty(), "{field}");
    }
    // Longer than what lies before the last header: what is there can be had.
    let place = Container::new(&both("dumplength", 1 << 50));
    place.save(&[]).fails_saying(&["dumplength", "--force"]);
    place.save(&["--force"]).ok();
    assert_eq!(place.file("vmcore.0"), data(&device));
    // A compression that nothing stands for.
    let place = Container::new(&both("compression", 9));
    place.save(&[]).fails_saying(&["compression", "unknown code 9", "--force"]);
    place.save(&["--force"]).ok();
    assert_eq!(place.file("vmcore.0"), data(&device));
}

/// Devices whose headers are right around what does not begin as a dump does.
fn overwritten() -> Vec<(&'static str, Vec<u8>)> {
    let with = |device: &DumpDevice, at: std::ops::Range<usize>| {
        let mut bytes = device.build();
        bytes[at].copy_from_slice(&noise(4096));
        bytes
    };
    let first_page = |device: &DumpDevice| {
        let start = device.parts().data.start as usize;
        with(device, start..start + 4096)
    };
    let arm64 = MinidumpSpec::example(Arch::Arm64, 3).build();
    let files: [(&str, &[u8]); 2] = [("panic.txt", b"page fault"), ("msgbuf.txt", &[b'm'; 9000])];
    let text = text_device(Arch::Amd64, 4, &files);
    let mut without_tar = text.build();
    let end = text.parts().data.end as usize;
    without_tar[end - 512..end].fill(0);
    let mut cases = vec![
        ("another architecture", device_with(Compression::None, 4, 512, &arm64).build()),
        ("another architecture, compressed", device_with(Compression::Zstd, 4, 512, &arm64).build()),
        ("no dump, compressed", device_with(Compression::Zstd, 4, 512, &noise(9000)).build()),
        ("not the tar header", without_tar),
    ];
    for (compression, _) in SUFFIXES {
        cases.push(("first page", first_page(&device_with(compression, 4, 4096, &dump()))));
    }
    cases
}

#[test]
fn what_does_not_begin_as_a_dump_is_cleared_by_force_only() {
    for (what, before) in overwritten() {
        let place = Container::new(&before);
        let check = place.ask(&["--check", "--json"]).ok().json();
        assert_eq!(check["devices"][0]["damage"][0]["place"], "beginning", "{what}: {check}");
        assert!(place.ask(&["--check"]).ok().stdout.contains("DAMAGED"), "{what}");
        place.ask(&["--clear"]).fails_saying(&["damaged: beginning", "the dump was kept", "--force"]);
        for options in [&["--verify"][..], &["--verify", "--force"], &["--verify", "--zstd", "--keep"]] {
            place.save(options).fails_saying(&["damaged: beginning"]);
        }
        assert!(place.device() == before && place.names().is_empty(), "{what}: {:?}", place.names());
        // savecore(8) saves it: what there is may be all that is left.
        let run = place.save(&["--json"]).exits(1).says_in_one_line(&["damaged: beginning", "kept on the device"]);
        let said = run.json();
        let device = &said["devices"][0];
        assert_eq!((&device["result"], &device["cleared"]), (&json!("saved"), &json!(false)), "{what}: {said}");
        assert_eq!(device["saved"]["good"], false, "{what}");
        assert!(device["error"].as_str().unwrap().contains("beginning"), "{what}: {said}");
        assert!(place.device() == before, "{what}: the device was changed");
        assert!(String::from_utf8(place.file("info.0")).unwrap().ends_with("Dump Status: bad\n"), "{what}");
        place.save(&["--keep"]).exits(1);
        place.save(&["--force"]).ok().says_in_one_line(&["warning", "damaged: beginning"]);
        place.is_cleared(&before, if what == "first page" { 4096 } else { 512 });
        let given_up = Container::new(&before);
        given_up.ask(&["--clear", "--force"]).ok();
        given_up.ask(&["--check"]).exits(1);
    }
}

/// Nobody can tell how an encrypted dump begins.
#[test]
fn an_encrypted_dump_is_cleared_whatever_it_begins_with() {
    let mut device = device_with(Compression::None, 4, 512, &noise(9 << 12));
    device.key = key_block([7; 32], &[9; 256]);
    let before = device.build();
    let place = Container::new(&before);
    place.save(&[]).ok();
    place.is_cleared(&before, 512);
    assert!(String::from_utf8(place.file("info.0")).unwrap().ends_with("Dump Status: good\n"));
}

#[test]
fn a_header_of_another_version_is_left_alone() {
    for sector in [512, 4096] {
        let device = device_with(Compression::None, 4, sector, &dump());
        let before = changed(&device, true, |header| {
            set(header, kerneldump::fields(4), Endianness::Big, "version", 9);
            set_parity(header);
        });
        let place = Container::new(&before);
        for options in [&["--force"][..], &[]] {
            place.save(options).fails_saying(&["version: unknown version 9", "--clear --force"]);
        }
        place.ask(&["--clear"]).fails_saying(&["version: unknown version 9", "--clear --force"]);
        assert!(place.ask(&["--check"]).ok().stdout.contains("version: unknown version 9"));
        assert!(place.device() == before);
        place.ask(&["--clear", "--force"]).ok();
        place.is_cleared(&before, sector);
    }
}

#[test]
fn what_savecore_has_cleared_is_understood() {
    let device = plain();
    let before = changed(&device, true, |header| header[..20].copy_from_slice(b"Cleared Kernel Dump\0"));
    let place = Container::new(&before);
    place.ask(&["--check"]).exits(1);
    assert!(place.save(&[]).ok().stdout.contains("was cleared"));
    assert_eq!(place.names(), Vec::<String>::new());
    run(command().arg("inspect").arg(&place.device)).ok();
    place.save(&["--force"]).ok();
    assert_eq!(place.file("vmcore.0"), data(&device));
    let info = String::from_utf8(place.file("info.0")).unwrap();
    // So does savecore(8) with -f, which finds both headers equal.
    assert!(info.contains("Magic: FreeBSD Kernel Dump\n") && info.ends_with("Dump Status: good\n"), "{info}");
    assert!(place.device() == before, "there was nothing to clear");
}

/// `savecore -f` puts the magic of kernel dumps back and compares the headers; so does whoever saves it again.
#[test]
fn what_memtool_has_cleared_is_understood_by_savecore() {
    for sector in [512, 4096] {
        let device = device_with(Compression::None, 4, sector, &dump());
        let before = device.build();
        let place = Container::new(&before);
        place.save(&[]).ok();
        let parts = device.parts();
        let mut after = place.device();
        let last = parts.last_header.start as usize;
        after[last..last + 20].copy_from_slice(b"FreeBSD Kernel Dump\0");
        assert!(after == before);
        let said = place.save(&["--force", "--json"]).ok().json();
        assert_eq!(said["devices"][0]["saved"]["good"], true, "{said}");
        assert_eq!(
            place.file("info.1"),
            String::from_utf8(place.file("info.0")).unwrap().replace("Bounds: 0", "Bounds: 1").into_bytes()
        );
    }
}

/// Earlier versions of memtool adapted the parity.
#[test]
fn what_an_earlier_memtool_has_cleared_is_understood() {
    for device in [plain(), text_device(Arch::Amd64, 4, &[("panic.txt", b"page fault")])] {
        let before = changed(&device, true, |header| {
            header[..20].copy_from_slice(b"Cleared Kernel Dump\0");
            set_parity(header);
        });
        let place = Container::new(&before);
        place.ask(&["--check"]).exits(1);
        assert!(place.save(&[]).ok().stdout.contains("was cleared"));
        run(command().arg("inspect").arg(&place.device)).ok();
        let said = place.save(&["--force", "--json"]).ok().json();
        assert_eq!(said["devices"][0]["saved"]["good"], true, "{said}");
        assert_eq!(place.device(), before);
    }
}

#[test]
fn the_librarys_header_is_the_one_of_the_builder() {
    let device = plain();
    let bytes = device.header().build();
    let header = product::Header::parse(bytes.first_chunk().unwrap()).unwrap();
    let again = header.encode();
    // The builder's version string ends in a line feed.
    assert_eq!(product::Header::parse(&again).unwrap(), header);
    let cleared = product::cleared(bytes.first_chunk().unwrap());
    assert_eq!(product::uncleared(&cleared, bytes.first_chunk()), bytes[..]);
}

#[test]
fn what_lies_beside_a_device_says_nothing_of_its_length() {
    let place = Container::new(&plain().build());
    let device = place.folder.path().join("vmcore.5");
    fs::rename(&place.device, &device).unwrap();
    write(place.folder.path().join("info.5"), "  Dump Length: 999999999\n").unwrap();
    run(command().args(["save", "--check"]).arg(&device)).ok();
    run(command().args(["save", "--dir", text(&place.crash)]).arg(&device)).ok();
    assert_eq!(place.file("vmcore.0"), data(&plain()));
}

#[test]
fn a_size_of_sectors_can_be_named() {
    // The last sector of 4096 bytes begins with a header, and so does the last one of 512.
    let outer = device_with(Compression::None, 4, 4096, &dump());
    let mut bytes = outer.build();
    let inner = KernelDumpHeader { hostname: "inner".into(), ..outer.header() }.build();
    let end = bytes.len();
    bytes[end - 512..].copy_from_slice(&inner);
    let place = Container::new(&bytes);
    assert!(place.ask(&["--check", "--sector-size", "4096"]).ok().stdout.contains("dumped.example.org"));
    assert!(place.ask(&["--check", "--sector-size", "512"]).ok().stdout.contains("inner"));
    place.save(&["--sector-size", "4k"]).ok();
    place.is_cleared(&bytes, 4096);
    for bad in ["0", "513", "256", "2g", "x"] {
        place.ask(&["--sector-size", bad]).usage_error(&["--sector-size"]);
    }
}

#[test]
fn a_damaged_dump_is_neither_named_nor_cleared_when_it_is_verified() {
    let mut device = device_with(Compression::Zstd, 4, 512, &dump());
    // It begins as it has to, and is damaged behind that.
    let dump = dump();
    let (beginning, rest) = dump.split_at(dump.len() / 2);
    let mut rest = Compression::Zstd.compress(rest);
    let middle = rest.len() / 2;
    rest[middle..].fill(0x55);
    device.data = [Compression::Zstd.compress(beginning), rest].concat();
    let before = device.build();
    let place = Container::new(&before);
    place.save(&["--verify"]).fails_saying(&["damaged", "zstd"]);
    place.save(&["--uncompress"]).fails_saying(&["zstd stream is damaged"]);
    assert!(place.device() == before && place.names().is_empty(), "{:?}", place.names());
    place.save(&[]).ok();
    assert_eq!(place.file("vmcore.0.zst"), device.data);
}

/// As savecore(8) takes them: /dev/ need not be written.
#[test]
fn a_device_is_named_without_dev_unless_a_file_has_the_name() {
    let place = Container::new(&plain().build());
    let save = |name: &str| run(command().args(["save", "--check", name]).current_dir(place.folder.path()));
    save("null").fails_saying(&["/dev/null", "neither a regular file nor a device of known size"]);
    save("device").ok();
    fs::copy(&place.device, place.folder.path().join("null")).unwrap();
    save("null").fails_saying(&["'null' is ambiguous: it is the file ./null and the device /dev/null"]);
    save("./null").ok();
    save("nothing").fails_saying(&["cannot open nothing", "No such file"]);
}

#[test]
fn several_devices_are_each_reported() {
    let good = plain().build();
    let place = Container::new(&good);
    let folder = place.folder.path();
    let (bad, second, missing) = (folder.join("bad"), folder.join("second"), folder.join("missing"));
    write(&bad, changed(&plain(), true, |header| header[70] ^= 1)).unwrap();
    write(&second, device_with(Compression::Gzip, 4, 512, &dump()).build()).unwrap();
    let others = [text(&bad), text(&missing), text(&second)];
    let report = place.save(&[&["--json"], &others[..]].concat()).exits(1).json();
    let results: Vec<&Value> = report["devices"].as_array().unwrap().iter().map(|one| &one["result"]).collect();
    // The place's own device comes last.
    assert_eq!(results, ["failed", "failed", "saved", "saved"]);
    assert!(report["devices"][0]["error"].as_str().unwrap().contains("damaged"));
    assert!(place.names().contains(&"vmcore.0.gz".to_owned()) && place.names().contains(&"vmcore.1".to_owned()));
    place.is_cleared(&good, 512);
}

#[test]
fn a_recorded_machines_devices_are_looked_at() {
    let place = Container::new(&plain().build());
    let folder = place.folder.path();
    let mut machine = demo_machine();
    machine.as_object_mut().unwrap().remove("crash_dump");
    machine["dump_devices"] = json!(["device", "not-there"]);
    let recorded = machine.clone();
    let machine = write_machine(folder, &machine);
    on(&machine, &["save", "--check"]).ok().of_recording().says_in_one_line(&["not-there does not exist"]);
    // Where this system has its dumps none of a recorded machine goes.
    on(&machine, &["save"]).usage_error(&["--dir"]);
    let report = on(&machine, &["--json", "-q", "save", "--dir", text(&place.crash)]).ok().json();
    assert_eq!((&report["host"], &report["devices"][0]["result"]), (&json!("recorded"), &json!("saved")));
    assert_eq!(place.file("vmcore.0"), data(&plain()));
    let without = Value::Object(
        recorded.as_object().unwrap().clone().into_iter().filter(|(name, _)| name != "dump_devices").collect(),
    );
    let without = write_machine(folder, &without);
    on(&without, &["save", "--dir", text(&place.crash)]).fails_saying(&["no dump device is known"]);
}

#[test]
fn a_recorded_machines_devices_are_none_of_this_systems() {
    let place = Container::new(&plain().build());
    symlink("/dev/zero", place.folder.path().join("zero")).unwrap();
    let mut machine = demo_machine();
    machine.as_object_mut().unwrap().remove("crash_dump");
    for device in ["/dev/zero", "zero", "/dev/null"] {
        machine["dump_devices"] = json!([device]);
        let machine = write_machine(place.folder.path(), &machine);
        for options in [&["--check"][..], &["--clear", "--force"], &["--dir", text(&place.crash)]] {
            let run = on(&machine, &[&["save"], options].concat()).exits(1).of_recording();
            run.says_in_one_line(&["is a device of this system"]);
        }
    }
}

#[test]
fn numbers_come_round_and_only_then_is_anything_replaced() {
    let place = Container::new(&[]);
    let device = |host: &str, compression| {
        let header =
            KernelDumpHeader { hostname: host.into(), compression, ..KernelDumpHeader::example(Arch::Amd64, 4, 0) };
        DumpDevice::example(header, 512, &dump()).build()
    };
    let hosts = || {
        let infos = place.names().into_iter().filter(|name| name.starts_with("info.") && name != "info.last");
        let host = |name: String| {
            let info = String::from_utf8(place.file(&name)).unwrap();
            let host = info.lines().find_map(|line| line.strip_prefix("  Hostname: ")).unwrap().to_owned();
            format!("{name} {host}")
        };
        infos.map(host).collect::<Vec<_>>()
    };
    let compressions = [Compression::None, Compression::Zstd, Compression::Gzip, Compression::Zstd];
    for (host, compression) in ["a", "b", "c", "d"].into_iter().zip(compressions) {
        write(&place.device, device(host, compression)).unwrap();
        place.save(&["--max", "3"]).ok();
    }
    assert_eq!(hosts(), ["info.0 d", "info.1 b", "info.2 c"]);
    let cores: Vec<String> =
        place.names().into_iter().filter(|name| name.starts_with("vmcore.") && !name.contains("last")).collect();
    assert_eq!(cores, ["vmcore.0.zst", "vmcore.1.zst", "vmcore.2.gz"]);
    assert_eq!(read_to_string(place.crash.join("bounds")).unwrap(), "1\n");
    // Without --max nothing is replaced.
    write(&place.device, device("e", Compression::None)).unwrap();
    place.save(&[]).ok();
    assert_eq!(hosts(), ["info.0 d", "info.1 b", "info.2 c", "info.3 e"]);
    // A dump that is not saved replaces nothing.
    write(place.crash.join("bounds"), "1\n").unwrap();
    let mut damaged = device_with(Compression::Zstd, 4, 512, &dump());
    damaged.data.fill(7);
    write(&place.device, damaged.build()).unwrap();
    let before = place.names();
    place.save(&["--max", "3", "--verify"]).exits(1);
    assert_eq!((place.names(), hosts()[1].as_str()), (before, "info.1 b"));
    // Nor is what is no file.
    std::fs::remove_file(place.crash.join("vmcore.1.zst")).unwrap();
    symlink("/etc/passwd", place.crash.join("vmcore.1.zst")).unwrap();
    write(&place.device, device("f", Compression::Zstd)).unwrap();
    place.save(&["--max", "3"]).fails_saying(&["vmcore.1.zst", "symbolic link"]);
    assert_eq!(hosts()[1], "info.1 b");
    assert!(place.device() == device("f", Compression::Zstd));
}

#[test]
fn links_that_were_planted_are_passed_over() {
    let place = Container::new(&plain().build());
    let victim = place.folder.path().join("victim");
    write(&victim, "precious").unwrap();
    for name in ["vmcore.0", "info.1", "key.2", "vmcore.3.zst"] {
        symlink(&victim, place.crash.join(name)).unwrap();
    }
    place.save(&[]).ok();
    assert_eq!(place.file("vmcore.4"), data(&plain()));
    let place = Container::new(&plain().build());
    symlink(&victim, place.crash.join("bounds")).unwrap();
    place.save(&[]).fails_saying(&["bounds", "symbolic link"]);
    assert_eq!(place.names(), ["bounds"]);
    assert_eq!(read_to_string(&victim).unwrap(), "precious");
    place.ask(&["--check"]).ok();
}

#[test]
fn minfree_stays_free() {
    let before = plain().build();
    let place = Container::new(&before);
    write(place.crash.join("minfree"), "99999999999999\n").unwrap();
    place.save(&[]).fails_saying(&["does not fit", "kept on the device", "--zstd", "--no-space-check"]);
    // What is needed, what is free, and what keeps how much of it.
    let run = place.save(&[]).exits(1);
    let file = place.crash.join("minfree");
    let said = format!("are free, of which {} keeps 90.9 PiB free", file.display());
    assert!(run.stderr.contains("128.0 KiB are needed, and ") && run.stderr.contains(&said), "{run:?}");
    assert!(!run.stderr.contains(" 0 B are free"), "{run:?}");
    assert!(place.device() == before);
    place.save(&["--zstd", "--keep"]).ok().says_in_one_line(&["warning", "may not fit"]);
    place.save(&["--no-space-check"]).ok();
    let compressed = Container::new(&device_with(Compression::Zstd, 4, 512, &dump()).build());
    write(compressed.crash.join("minfree"), "99999999999999\n").unwrap();
    let run = compressed.save(&["--zstd"]).fails_saying(&["does not fit"]);
    assert!(!run.stderr.contains("--zstd"), "{run:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_device_alone() {
    let header = KernelDumpHeader::example(Arch::Amd64, 4, 0);
    let before = DumpDevice::example(header, 512, &noise(8 << 20)).build();
    let place = Container::new(&before);
    for options in ["--no-space-check", "--no-space-check --zstd", ""] {
        let Some(run) = crate::common::on_a_small_disk(&format!("save --dir DIR {options} {}", text(&place.device)))
        else {
            return;
        };
        let said = if options.is_empty() { "does not fit" } else { "No space left on device" };
        run.fails_saying(&[said]);
        assert!(place.device() == before);
    }
    let saved = crate::common::on_a_small_disk(&format!(
        "save -q --dir DIR {}",
        text(&Container::new(&plain().build()).device)
    ));
    assert!(saved.is_none_or(|run| run.code != 0 || run.stdout.contains("vmcore.0")));
}

/// savecore(8) goes by what is free for the superuser, unless there is a file `minfree`.
#[cfg(target_os = "linux")]
#[test]
fn what_is_kept_for_the_superuser_is_free_for_him() {
    let header = KernelDumpHeader::example(Arch::Amd64, 4, 0);
    let dump = elf_beginning(noise(5 << 20));
    let before = DumpDevice::example(header, 512, &dump).build();
    let place = Container::new(&before);
    let device = text(&place.device);
    let Some(run) = crate::common::on_a_disk_with_a_reserve(&format!("save --keep --dir DIR {device}")) else { return };
    let run = run.ok();
    assert!(run.stdout.contains("vmcore.0"), "{run:?}");
    run.says_in_one_line(&["warning", "reserves for the superuser"]);
    let refused = |minfree: &str| {
        let script = format!("-q save --keep --dir DIR {device}");
        crate::common::on_a_disk_with_a_reserve_and(&format!("echo {minfree} > DIR/minfree"), &script).unwrap().exits(1)
    };
    let run = refused("100");
    assert!(
        run.stderr.contains("5.0 MiB are needed, and 3.") && run.stderr.contains("keeps 100.0 KiB free"),
        "{run:?}"
    );
    assert_eq!(place.device(), before);
}

#[test]
fn without_the_right_to_write_the_dump_is_kept_or_not_saved() {
    let before = plain().build();
    let place = Container::new(&before);
    let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    set(&place.device, 0o444);
    set(&place.crash, 0o777);
    set(place.folder.path(), 0o755);
    // Root may write to anything, so somebody else runs it then.
    let user = nix::unistd::geteuid().is_root().then_some(65534);
    let save = |options: &[&str]| {
        let mut command = place.command(options);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command
    };
    if let Err(error) = save(&["--check", "--help"]).output() {
        eprintln!("NOT CHECKED: another user cannot run memtool: {error}");
        return;
    }
    run(&mut save(&[])).fails_saying(&["cannot open ", " for writing: Permission denied"]);
    assert_eq!(place.names(), Vec::<String>::new());
    run(&mut save(&["--keep"])).ok();
    assert!(place.device() == before && place.names().contains(&"vmcore.0".to_owned()));
    set(&place.crash, 0o555);
    run(&mut save(&["--keep"])).fails_saying(&["temporary file", "Permission denied"]);
    // Without a dump to clear nothing has to be written.
    set(&place.device, 0o644);
    let cleared = Container::new(&before);
    cleared.ask(&["--clear"]).ok();
    write(&place.device, cleared.device()).unwrap();
    set(&place.device, 0o444);
    assert!(run(&mut save(&[])).ok().stdout.contains("was cleared"));
}

/// A block device, where the system lets us have one: whole sectors are read and written.
#[cfg(target_os = "linux")]
#[test]
fn a_real_block_device_is_saved_and_cleared() {
    for sector in [512, 4096] {
        let device = device_with(Compression::Zstd, 4, sector, &dump());
        let before = device.build();
        let place = Container::new(&before);
        let size = sector.to_string();
        let set_up = ["--find", "--show", "--sector-size", &size, text(&place.device)];
        let set_up = std::process::Command::new("losetup").args(set_up).output();
        let Some(set_up) = set_up.ok().filter(|output| output.status.success()) else {
            eprintln!("NOT CHECKED: there are no loop devices here");
            return;
        };
        let path = String::from_utf8(set_up.stdout).unwrap().trim().to_owned();
        let saved = crate::common::memtool(&["save", "--dir", text(&place.crash), &path]);
        let after = crate::common::memtool(&["save", "--check", path.trim_start_matches("/dev/")]);
        assert!(std::process::Command::new("losetup").args(["--detach", &path]).status().unwrap().success());
        saved.ok();
        after.exits(1);
        assert_eq!(place.file("vmcore.0.zst"), device.data);
        place.is_cleared(&before, sector);
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for options in [
        &["--check", "--clear"][..],
        &["--check", "--force"],
        &["--check", "--keep"],
        &["--check", "--max", "3"],
        &["--clear", "--keep"],
        &["--clear", "--zstd"],
        &["--clear", "--dir", "x"],
        &["--zstd", "--gzip"],
        &["--gzip", "--uncompress"],
        &["--max", "0"],
    ] {
        crate::common::memtool(&[&["save"], options, &["/nowhere"]].concat()).usage_error(&[]);
    }
}

/// A device whose dump takes a while to copy, and the dump.
fn large() -> (Vec<u8>, Vec<u8>) {
    let dump = elf_beginning(noise(6 << 20));
    (device_with(Compression::None, 4, 512, &dump).build(), dump)
}

/// Names of files that are not finished.
fn unfinished(place: &Container) -> Vec<String> {
    place.names().into_iter().filter(|name| name.starts_with('.')).collect()
}

/// What was there before, in a directory whose numbers come round.
const OLD: &[u8] = b"an older dump";

/// Whatever was killed: the dump is on its device, not cleared, or whole under its name, with its info file; nothing
/// that is not whole has a name; and what was there is there, or replaced by a whole dump.
#[track_caller]
fn nothing_is_lost(place: &Container, before: &[u8], dump: &[u8], old: &[&str]) {
    let whole = |name: &String| place.file(name) == dump;
    let cores: Vec<String> =
        place.names().into_iter().filter(|name| name.starts_with("vmcore.") && !name.contains("last")).collect();
    for name in &cores {
        assert!(whole(name) || place.file(name) == OLD, "{name} is neither the old dump nor the new one");
    }
    for name in old {
        assert!(cores.iter().any(|core| core == name), "{name} is gone: {cores:?}");
    }
    if place.device() != before {
        let saved = cores.iter().filter(|name| whole(name));
        let info = |name: &String| place.names().contains(&name.replace("vmcore", "info"));
        assert!(saved.clone().any(info), "the device is cleared, and the dump is not there: {:?}", place.names());
        place.is_cleared(before, 512);
    }
}

/// Has runs killed, each at another moment, and another one end the work of each. `run_killed` runs and kills.
#[track_caller]
fn killed<M: Debug>(
    options: &[&str],
    old: &[&str],
    moments: impl IntoIterator<Item = M>,
    run_killed: impl Fn(&M, std::process::Command),
) {
    let (before, dump) = large();
    let mut kept = 0;
    for moment in moments {
        let place = Container::new(&before);
        for name in old {
            write(place.crash.join(name), OLD).unwrap();
        }
        write(place.crash.join("bounds"), format!("{}\n", old.len())).unwrap();
        run_killed(&moment, place.command(options));
        nothing_is_lost(&place, &before, &dump, old);
        kept += u32::from(place.device() == before);
        // What a run leaves that is killed again and again does not add up.
        place.save(options).ok();
        nothing_is_lost(&place, &before, &dump, old);
        place.is_cleared(&before, 512);
        assert!(place.names().contains(&"info.last".to_owned()), "{:?}", place.names());
        // The next one that begins a dump cleans up, even if this one had nothing to do.
        place.save(&[options, &["--force"]].concat()).ok();
        assert_eq!(unfinished(&place), Vec::<String>::new(), "killed at {moment:?}");
    }
    assert!(kept > 0, "no run was killed before it had cleared the device");
}

#[test]
fn killed_after_any_time_nothing_is_lost() {
    for (options, old) in [(&[][..], &[][..]), (&["--max", "2"], &["vmcore.0", "vmcore.1"])] {
        let place = Container::new(&large().0);
        let begun = std::time::Instant::now();
        place.save(options).ok();
        let whole = begun.elapsed();
        killed(options, old, 0..30, |moment, mut command| {
            let mut child = command.stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(whole * *moment / 25);
            child.kill().unwrap();
            child.wait().unwrap();
        });
    }
}

/// What a system's calls are named that change names, and that flush or change what is on a device.
#[cfg(target_os = "linux")]
const CHANGES: [&str; 14] = [
    "fchmod",
    "fdatasync",
    "fsync",
    "ftruncate",
    "link",
    "linkat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
];

/// A command as strace(1) runs it.
#[cfg(target_os = "linux")]
fn traced(options: &[&str], command: &std::process::Command) -> Run {
    let mut strace = std::process::Command::new("strace");
    strace.args(["-qq", "--signal=none"]).args(options);
    run(strace.arg("--").arg(command.get_program()).args(command.get_args()))
}

/// What a run that a signal ended has for an exit code.
#[cfg(target_os = "linux")]
const KILLED: i32 = -1;

/// Does not depend on how fast anything is: the kernel does not begin the call that the run is killed at.
#[cfg(target_os = "linux")]
#[test]
fn killed_at_any_change_nothing_is_lost() {
    let calls = CHANGES.map(|call| format!("?{call}")).join(",");
    for (options, old) in [(&[][..], &[][..]), (&["--max", "2"], &["vmcore.0", "vmcore.1"])] {
        let place = Container::new(&large().0);
        for name in old {
            write(place.crash.join(name), OLD).unwrap();
        }
        let trace = place.folder.path().join("trace");
        traced(&["--trace", &calls, "--output", text(&trace)], &place.command(options)).ok();
        // strace(1) counts each system call by itself.
        let (mut counts, mut moments) = (std::collections::BTreeMap::new(), Vec::new());
        for line in read_to_string(&trace).unwrap().lines() {
            let call = line.split_once('(').unwrap().0.to_owned();
            let count = counts.entry(call.clone()).or_insert(0);
            *count += 1;
            moments.push((call, *count));
        }
        assert!(counts["fsync"] > 2 && counts["renameat"] > 2 && counts["pwrite64"] > 2, "{counts:?}");
        killed(options, old, moments, |(call, count), command| {
            let kill = format!("inject={call}:signal=KILL:when={count}");
            traced(&["--trace", call, "--output", "/dev/null", "-e", &kill], &command).exits(KILLED);
        });
    }
}

/// A run that copies its dump, and has to wait before it names it: the test has the directory's lock.
fn copying(before: &[u8], options: &[&str]) -> (Container, Running, Flock<fs::File>) {
    loop {
        let place = Container::new(before);
        let lock = || {
            let directory = fs::File::open(&place.crash).unwrap();
            Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap()
        };
        let mut held = lock();
        let mut running = start(place.command(options).stdout(Stdio::piped()));
        // It names its files with the lock. One that gets it in between is done: then again.
        while !running.has_ended() {
            drop(held);
            held = lock();
            // It has written to it, and so has its lock: before that, another run may take it for abandoned.
            let is_begun = |name: &String| place.crash.join(name).metadata().is_ok_and(|file| file.len() > 0);
            let begun = unfinished(&place);
            if begun.len() == 1 && begun.iter().all(is_begun) && !place.names().contains(&"bounds".to_owned()) {
                return (place, running, held);
            }
        }
    }
}

#[test]
fn what_a_living_run_works_on_is_not_removed() {
    let (before, dump) = large();
    let (place, running, lock) = copying(&before, &[]);
    running.stop();
    drop(lock);
    let begun = unfinished(&place);
    let other = place.folder.path().join("other");
    write(&other, plain().build()).unwrap();
    // Nor is what only looks similar.
    let similar = [".memtool.abc.tmp", ".memtool.abcdefg.tmp", ".memtool.abcde!.tmp", ".memtool.abcdef.save"];
    for name in similar {
        write(place.crash.join(name), "").unwrap();
    }
    write(place.crash.join(".memtool.abcdef.tmp"), "left by a run that was killed").unwrap();
    crate::common::memtool(&["save", "--dir", text(&place.crash), text(&other)]).ok();
    assert!(place.names().contains(&begun[0]), "{:?}", place.names());
    assert!(!place.names().contains(&".memtool.abcdef.tmp".to_owned()));
    assert!(place.names().contains(&"vmcore.0".to_owned()));
    running.signal(Signal::SIGCONT);
    running.end().ok();
    let mut left = similar.to_vec();
    left.sort_unstable();
    assert_eq!(unfinished(&place), left);
    assert_eq!(place.file("vmcore.1"), dump);
    place.is_cleared(&before, 512);
}

#[test]
fn a_signal_leaves_nothing_and_the_device_alone() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 1)] {
        let (before, _) = large();
        let (place, running, _lock) = copying(&before, &["--zstd"]);
        running.signal(signal);
        running.end().exits(code).says_in_one_line(&["still on its device"]);
        assert_eq!(place.names(), Vec::<String>::new());
        assert_eq!(place.device(), before);
    }
}

#[test]
fn several_runs_at_once_lose_nothing() {
    let dump = data(&plain());
    let place = Container::new(&plain().build());
    let devices: Vec<PathBuf> = (0..5).map(|number| place.folder.path().join(format!("device{number}"))).collect();
    let save = |device: &PathBuf| {
        write(device, plain().build()).unwrap();
        start(command().args(["save", "--dir", text(&place.crash), text(device)]).stdout(Stdio::piped()))
    };
    let running: Vec<_> = devices.iter().map(save).collect();
    running.into_iter().for_each(|run| drop(run.end().ok()));
    for number in 0..5 {
        assert_eq!(place.file(&format!("vmcore.{number}")), dump);
    }
    assert_eq!(read_to_string(place.crash.join("bounds")).unwrap(), "5\n");
}

// A dry run.

/// All that a run could change: the devices and what is in the directory, with the times of change.
fn state(place: &Container, devices: &[&Path]) -> Vec<(PathBuf, Vec<u8>, i64, i64)> {
    let mut paths: Vec<PathBuf> = place.names().iter().map(|name| place.crash.join(name)).collect();
    paths.extend(devices.iter().map(|device| device.to_path_buf()));
    paths.push(place.crash.clone());
    let looked = paths.into_iter().map(|path| {
        let metadata = path.symlink_metadata().unwrap();
        let bytes = if metadata.is_file() { read(&path).unwrap() } else { Vec::new() };
        (path, bytes, metadata.mtime(), metadata.mtime_nsec())
    });
    looked.collect()
}

/// Asserts that a dry run changes nothing, and that the run after it does what it said. Gives what it said in words.
#[track_caller]
fn does_what_it_said(place: &Container, options: &[&str], devices: &[&Path]) -> Run {
    let directory = ["--dir", text(&place.crash)];
    let directory = if options.contains(&"--clear") { &[][..] } else { &directory };
    let save = |more: &[&str]| run(command().arg("save").args(directory).args(options).args(more).args(devices));
    let before = state(place, devices);
    let planned = save(&["--dry-run", "--json"]);
    let said = save(&["-n"]);
    assert!(state(place, devices) == before, "{options:?}: something has changed: {:?}", place.names());
    let done = save(&["--json"]);
    assert_eq!((planned.code, said.code), (done.code, done.code), "{options:?}: {planned:?} {done:?}");
    let (planned, done) = (planned.json(), done.json());
    assert_eq!((&planned["dry_run"], &done["dry_run"]), (&json!(true), &json!(false)));
    for (planned, done) in planned["devices"].as_array().unwrap().iter().zip(done["devices"].as_array().unwrap()) {
        for field in ["device", "result", "header", "size", "encrypted", "cleared", "damage"] {
            assert_eq!(planned[field], done[field], "{options:?}: {field}");
        }
        assert_eq!(planned["error"].is_null(), done["error"].is_null(), "{options:?}: {planned} {done}");
        for field in ["number", "file", "info", "key", "compression", "good"] {
            assert_eq!(planned["saved"][field], done["saved"][field], "{options:?}: {field}");
        }
        // It is not known how small a dump becomes.
        if !planned["saved"]["size"].is_null() {
            assert_eq!(planned["saved"]["size"], done["saved"]["size"], "{options:?}");
        }
    }
    said
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_the_run_does() {
    for (compression, suffix) in SUFFIXES {
        for options in
            [&[][..], &["--keep"], &["--gzip"], &["--zstd=5"], &["--uncompress"], &["--verify"], &["--max", "1"]]
        {
            let place = Container::new(&device_with(compression, 4, 512, &dump()).build());
            let said = does_what_it_said(&place, options, &[&place.device]).ok();
            let words = if options == ["--keep"] { "would be kept" } else { "would be cleared" };
            assert!(said.stdout.contains(words) && said.stdout.contains("would be written: "), "{said:?}");
            assert!(said.stdout.contains(" are free\n"), "{said:?}");
            if options.is_empty() {
                assert!(said.stdout.contains(&format!("/vmcore.0{suffix}: would be written")), "{said:?}");
            }
        }
    }
}

#[test]
fn a_dry_run_says_what_is_cleared_and_what_is_refused() {
    let device = plain();
    let damaged = changed(&device, true, |header| header[100] ^= 1);
    let mut overwritten = device.build();
    let start = device.parts().data.start as usize;
    overwritten[start..start + 512].fill(7);
    for (before, options, code) in [
        (device.build(), &["--clear"][..], 0),
        (damaged.clone(), &[], 1),
        (damaged.clone(), &["--force"], 0),
        (damaged.clone(), &["--clear"], 1),
        (damaged, &["--clear", "--force"], 0),
        (overwritten.clone(), &[], 1),
        (overwritten.clone(), &["--verify"], 1),
        (overwritten, &["--force"], 0),
        (vec![0; 1 << 20], &[], 0),
    ] {
        let place = Container::new(&before);
        let said = does_what_it_said(&place, options, &[&place.device]).exits(code);
        assert!(!said.stdout.contains(": cleared"), "{options:?}: {said:?}");
    }
    let place = Container::new(&device.build());
    assert!(place.ask(&["--clear", "-n"]).ok().stdout.contains("would be cleared; lost: a kernel dump"));
    place.ask(&["--check", "-n"]).usage_error(&["cannot be used with"]);
}

#[test]
fn a_dry_run_counts_the_devices_and_names_what_they_replace() {
    for options in [&[][..], &["--max", "3"], &["--max", "1"]] {
        let place = Container::new(&plain().build());
        let other = place.folder.path().join("other");
        write(&other, plain().build()).unwrap();
        for name in ["vmcore.2.gz", "info.2", "bounds"] {
            write(place.crash.join(name), if name == "bounds" { "2\n" } else { "old" }).unwrap();
        }
        let code = i32::from(options == ["--max", "1"]);
        let said = does_what_it_said(&place, options, &[&place.device, &other]).exits(code);
        let replaced: Vec<&str> = said.stdout.lines().filter(|line| line.ends_with("would be replaced")).collect();
        let names = replaced.iter().map(|line| line.rsplit_once('/').unwrap().1).collect::<Vec<_>>();
        let expected = ["info.2: would be replaced", "vmcore.2.gz: would be replaced"];
        assert_eq!(names, if options == ["--max", "3"] { &expected[..] } else { &[] }, "{options:?}");
    }
}

#[test]
fn a_dry_run_tries_the_key_and_the_space() {
    let mut device = plain();
    let dump = dump();
    (device.data, device.key) =
        (encrypted(Encryption::ChaCha20, &dump), block_for("mine.pem", Encryption::ChaCha20, "oaep"));
    let [mine, other] = ["mine.pem", "other.pem"].map(|name| KEYS.path(name));
    for (options, code) in [(&[][..], 0), (&["--private-key", text(&mine)], 0), (&["--private-key", text(&other)], 1)] {
        let place = Container::new(&device.build());
        does_what_it_said(&place, options, &[&place.device]).exits(code);
    }
    let place = Container::new(&plain().build());
    write(place.crash.join("minfree"), "99999999999999\n").unwrap();
    let said = does_what_it_said(&place, &[], &[&place.device]);
    said.fails_saying(&["does not fit into", "the dump was kept on the device"]);
    // Without a directory there is nothing to say.
    std::fs::remove_dir_all(&place.crash).unwrap();
    place.save(&["-n"]).fails_saying(&["cannot open"]);
}

#[test]
fn a_dry_run_says_what_may_not_be_written() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("NOT CHECKED: only root can run as somebody else");
        return;
    }
    const NOBODY: u32 = 65534;
    for (device_mode, crash_mode, words) in
        [(0o444, 0o777, " for writing: "), (0o666, 0o755, "cannot create a temporary file in ")]
    {
        let place = Container::new(&plain().build());
        let set = |path: &Path, mode| std::fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(place.folder.path(), 0o755);
        set(&place.device, device_mode);
        set(&place.crash, crash_mode);
        let as_nobody = |options: &[&str]| run(place.command(options).uid(NOBODY).gid(NOBODY));
        let planned = as_nobody(&["-n"]);
        if planned.code == -1 || planned.stderr.is_empty() && planned.stdout.is_empty() {
            eprintln!("NOT CHECKED: nobody may not run the program");
            return;
        }
        let planned = planned.fails_saying(&[words, "Permission denied"]);
        assert_eq!(as_nobody(&[]).exits(1).stderr, planned.stderr);
    }
}

// Phases.

/// Keeps the phases of the work that it is told of.
#[derive(Default)]
struct Phases(Vec<Phase>);

impl Observer for Phases {
    fn begin(&mut self, work: Work<'_>) -> memtool::Result<()> {
        let Work::Bytes { phase, total, .. } = work else { panic!("{work:?}") };
        assert!(total.is_some_and(|total| total > 0), "{work:?}");
        self.0.push(phase);
        Ok(())
    }
}

#[test]
fn what_goes_on_has_a_name() {
    use memtool::compress::Level;
    use memtool::save::directory::SaveDirectory;
    use memtool::save::{Found, Options, find, save};
    use product::Compression as Packed;
    let options = Options {
        recipients: &memtool::encryption::Recipients::nobody(),
        compression: Packed::None,
        level: Level::default(),
        uncompress: false,
        private_key: None,
        limit: None,
        verify: false,
    };
    let unpacked = Options { uncompress: true, verify: true, ..options };
    for (compression, options, phases) in [
        (Compression::None, options, &[Phase::Copying][..]),
        (Compression::None, Options { verify: true, ..options }, &[Phase::Copying, Phase::Verifying]),
        (Compression::None, Options { compression: Packed::Zstd, ..options }, &[Phase::Compressing]),
        (Compression::Gzip, options, &[Phase::Copying]),
        (Compression::Zstd, unpacked, &[Phase::Decompressing, Phase::Verifying]),
    ] {
        let place = Container::new(&device_with(compression, 4, 512, &dump()).build());
        let volume = memtool::files::open_dump_device(&place.device).unwrap();
        let Found::Dump(found) = find(&volume, None).unwrap() else { panic!("no dump") };
        let directory = SaveDirectory::open(&place.crash).unwrap();
        let mut told = Phases::default();
        save(&volume, "device", &found, &directory, &options, &mut told).unwrap();
        assert_eq!(told.0, phases);
    }
}
