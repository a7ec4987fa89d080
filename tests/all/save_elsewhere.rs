//! `memtool save --output`: a crash dump saved under a name, on standard output, or sent away.

use crate::common::{Run, command, directory, names, run, text};
use std::path::{Path, PathBuf};
use vmcore_synth::device::{DumpDevice, key_block};
use vmcore_synth::{Arch, KernelDumpHeader, MinidumpSpec};

/// A folder with a dump device, and the dump on it.
fn device(folder: &Path, key: &[u8]) -> (PathBuf, Vec<u8>) {
    let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
    let mut device = DumpDevice::example(KernelDumpHeader::example(Arch::Amd64, 4, 0), 512, &dump);
    device.key = key.to_vec();
    let path = folder.join("device");
    std::fs::write(&path, device.build()).unwrap();
    (path, dump)
}

#[track_caller]
fn save(device: &Path, to: &str, options: &[&str]) -> Run {
    run(command().args(["save", "--output", to]).args(options).arg(device))
}

#[test]
fn a_file_gets_the_dump_and_what_is_known_of_it_beside_it() {
    let folder = directory();
    let (device, dump) = device(folder.path(), &[]);
    let before = std::fs::read(&device).unwrap();
    let file = folder.path().join("dump");
    save(&device, text(&file), &["--dry-run"]).ok();
    assert_eq!(names(folder.path()), ["device"]);
    let saved = save(&device, text(&file), &["--verify", "--json"]).ok().json();
    assert_eq!(names(folder.path()), ["device", "dump", "dump.info"]);
    assert!(std::fs::read(&file).unwrap() == dump);
    let info = std::fs::read_to_string(folder.path().join("dump.info")).unwrap();
    assert!(info.contains("Dump Status: good"), "{info}");
    let saved = &saved["devices"][0]["saved"];
    assert_eq!(saved["output"], text(&file));
    assert_eq!(saved["info"], format!("{}.info", text(&file)));
    assert!(saved["number"].is_null() && saved["key"].is_null(), "{saved}");
    // It is cleared, and what is there is not replaced by another one.
    assert!(std::fs::read(&device).unwrap() != before);
    std::fs::write(&device, &before).unwrap();
    let again = save(&device, text(&file), &[]);
    assert!(again.code == 1 && again.stderr.contains("already exists"), "{again:?}");
    assert!(std::fs::read(&device).unwrap() == before);
}

#[test]
fn standard_output_gets_the_dump_alone() {
    let folder = directory();
    let (device, dump) = device(folder.path(), &[]);
    let run = save(&device, "-", &["--keep"]).ok();
    assert!(run.bytes == dump);
    save(&device, "-", &["--json"]).usage_error(&["standard output"]);
    for option in [&["--dir", "/tmp"][..], &["--max", "3"], &["--live"], &["--check"], &["--clear"]] {
        save(&device, "-", option).usage_error(&["--output"]);
    }
    save(&device, "tcp://localhost:9", &["--resume", "state"])
        .usage_error(&["--resume is for dumps that are sent to an object store"]);
}

#[test]
fn the_key_of_an_encrypted_dump_is_never_lost() {
    let folder = directory();
    let (device, _) = device(folder.path(), &key_block([7; 32], &[9; 256]));
    let before = std::fs::read(&device).unwrap();
    for to in ["-", "tcp://127.0.0.1:1", "http://127.0.0.1:1/a"] {
        let run = save(&device, to, &[]);
        assert!(run.code == 1 && run.stderr.contains("its key would be lost"), "{run:?}");
        assert!(std::fs::read(&device).unwrap() == before);
    }
    let file = folder.path().join("dump");
    let saved = save(&device, text(&file), &["--json"]).ok().json();
    assert_eq!(saved["devices"][0]["saved"]["key"], format!("{}.key", text(&file)));
    assert_eq!(names(folder.path()), ["device", "dump", "dump.info", "dump.key"]);
    assert_eq!(std::fs::read(folder.path().join("dump.key")).unwrap().len(), 512);
}

#[test]
fn a_receiver_that_breaks_leaves_the_dump_on_its_device() {
    let folder = directory();
    let (device, _) = device(folder.path(), &[]);
    let before = std::fs::read(&device).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    // It takes the connection, and resets it with bytes that it has not read.
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Read::read_exact(&mut stream, &mut [0; 10]).unwrap();
    });
    let run = save(&device, &to, &[]);
    receiver.join().unwrap();
    assert!(run.code == 1 && run.stderr.contains("the receiver's copy is incomplete"), "{run:?}");
    assert!(std::fs::read(&device).unwrap() == before);
}
