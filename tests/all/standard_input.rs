//! `-` as the name of a file that is read: standard input where that is read from its beginning to its end, and nothing
//! else. Everything comes through real pipes.

use crate::common::encryption::{KEYS, block_for, encrypted};
use crate::common::{Run, command, demo, demo_machine, directory, memtool, names, run, start, text, write_machine};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use vmcore::decrypt::Encryption;
use vmcore_synth::device::{DumpDevice, live_dump};
use vmcore_synth::{Arch, Compression, KernelDumpHeader, MinidumpSpec};

/// Runs a command that these bytes come to through a pipe. It need not read them all.
#[track_caller]
fn piped(command: &mut Command, bytes: &[u8]) -> Run {
    let mut running = start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut pipe = running.stdin();
    std::thread::scope(|scope| {
        scope.spawn(move || pipe.write_all(bytes));
        running.end()
    })
}

/// A command whose temporary files go into a directory of its own.
fn within(scratch: &Path, arguments: &[&str]) -> Command {
    let mut command = command();
    command.env("TMPDIR", scratch).args(arguments);
    command
}

fn minidump() -> Vec<u8> {
    MinidumpSpec::example(Arch::Amd64, 2).build()
}

/// The same JSON but for the name of the file.
#[track_caller]
fn same_but_for_the_file(mut one: Value, other: &Value) {
    one["input"] = other["input"].clone();
    assert_eq!(&one, other);
}

#[test]
fn a_dump_in_a_pipe_is_described_as_in_a_file() {
    let (scratch, folder) = (directory(), directory());
    let file = folder.path().join("dump");
    let header = KernelDumpHeader::example(Arch::Amd64, 4, 0);
    let device = DumpDevice::example(header.clone(), 512, &minidump()).build();
    // What says where a dump lies is at the end of two of them.
    for (name, bytes) in [
        ("plain", minidump()),
        ("gzip", Compression::Gzip.compress(&minidump())),
        ("zstd", Compression::Zstd.compress(&minidump())),
        ("live dump", live_dump(Arch::Amd64, &minidump(), Compression::None, 4096)),
        ("device", device.clone()),
        ("packed device", Compression::Zstd.compress(&device)),
        ("truncated", minidump()[..minidump().len() - 5000].to_vec()),
        ("text", b"no dump".to_vec()),
        ("empty", Vec::new()),
    ] {
        fs::write(&file, &bytes).unwrap();
        let arguments = ["inspect", "--verify", "--json"];
        let from_file = memtool(&[&arguments[..], &[text(&file)]].concat());
        let from_pipe = piped(&mut within(scratch.path(), &[&arguments[..], &["-"]].concat()), &bytes);
        assert_eq!(from_pipe.code, from_file.code, "{name}: {from_pipe:?}");
        let found = from_pipe.json();
        assert_eq!(found["input"], "-", "{name}");
        same_but_for_the_file(found, &from_file.json());
        assert_eq!(names(scratch.path()), [""; 0], "{name}: nothing of the copy is left");
        // A file is not copied: there is no room for a copy.
        let mut redirected = within(Path::new("/nonexistent"), &[&arguments[..], &["-"]].concat());
        let redirected = run(redirected.stdin(File::open(&file).unwrap()));
        if name != "packed device" {
            same_but_for_the_file(redirected.json(), &from_file.json());
        }
    }
}

#[test]
fn what_others_have_read_of_a_file_is_no_part_of_the_input() {
    let (scratch, folder) = (directory(), directory());
    let path = folder.path().join("two");
    fs::write(&path, [&b"a line before the dump\n"[..], &minidump()].concat()).unwrap();
    let mut file = File::open(&path).unwrap();
    file.seek(SeekFrom::Start(23)).unwrap();
    let found = run(within(scratch.path(), &["inspect", "--verify", "--json", "-"]).stdin(file)).ok().json();
    assert_eq!((&found["file_offset"], &found["size"]), (&0.into(), &minidump().len().into()));
}

#[test]
fn messages_call_it_standard_input() {
    let scratch = directory();
    let truncated = &minidump()[..minidump().len() - 5000];
    let run = piped(&mut within(scratch.path(), &["inspect", "-"]), truncated).exits(1);
    assert!(run.stderr.starts_with("memtool: standard input: damaged: "), "{run:?}");
    let run = piped(&mut within(scratch.path(), &["inspect", "-"]), b"").exits(1);
    run.says_in_one_line(&["memtool: standard input: it is empty"]);
    // Where there is no room for the copy.
    let mut nowhere = within(Path::new("/nonexistent"), &["inspect", "-"]);
    piped(&mut nowhere, &minidump()).fails_saying(&["cannot create a temporary file in /nonexistent"]);
}

#[test]
fn a_dump_in_a_pipe_is_converted() {
    let (scratch, folder) = (directory(), directory());
    let [file, out, core] = ["dump", "out", "core"].map(|name| folder.path().join(name));
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let bytes = compression.compress(&minidump());
        fs::write(&file, &bytes).unwrap();
        for format in ["lime", "raw", "elf"] {
            let expected = memtool(&["convert", "-q", "--format", format, text(&file)]).ok().bytes;
            let from_pipe = piped(&mut within(scratch.path(), &["convert", "-q", "--format", format, "-"]), &bytes);
            assert!(from_pipe.ok().bytes == expected, "{format}, {compression:?}");
            // Beside the output, where there is room for it.
            let arguments = ["convert", "-q", "--force", "--format", format, "-", text(&out)];
            piped(&mut within(Path::new("/nonexistent"), &arguments), &bytes).ok();
            assert!(fs::read(&out).unwrap() == expected, "{format}, {compression:?}");
        }
    }
    assert_eq!(names(scratch.path()), [""; 0]);
    let mut core_option =
        within(scratch.path(), &["convert", "-q", "--force", "--format", "raw", "-M", "-", "-o", text(&out)]);
    piped(&mut core_option, &minidump()).ok();
    assert!(fs::read(&out).unwrap() == memtool(&["convert", "-q", "--format", "raw", text(&file)]).ok().bytes);
    memtool(&["convert", "--format", "raw", "-M", text(&file), text(&core)]).usage_error(&["cannot be used with"]);
    // A dump that is cut off, and none at all.
    let arguments = ["convert", "--format", "lime", "-", text(&core)];
    let cut = piped(&mut within(scratch.path(), &arguments), &minidump()[..minidump().len() - 5000]).exits(1);
    assert!(cut.stderr.contains("standard input is damaged") && core.exists(), "{cut:?}");
    fs::remove_file(&core).unwrap();
    piped(&mut within(scratch.path(), &arguments), b"").fails_saying(&["it is empty"]);
    assert!(!core.exists());
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[test]
fn an_output_does_not_replace_the_file_that_standard_input_is() {
    let folder = directory();
    let file = folder.path().join("dump");
    fs::write(&file, minidump()).unwrap();
    let mut convert = command();
    convert.args(["convert", "-q", "--force", "--format", "raw", "-", text(&file)]).stdin(File::open(&file).unwrap());
    run(convert.stdout(Stdio::piped())).fails_saying(&["cannot be the same file"]);
    assert!(fs::read(&file).unwrap() == minidump());
}

#[test]
fn an_encrypted_dump_and_its_keys_come_through_pipes() {
    let folder = directory();
    let [secret, key, out] = ["vmcore_encrypted.0", "key.0", "out"].map(|name| folder.path().join(name));
    let private = KEYS.path("mine.pem");
    for encryption in [Encryption::Aes256Cbc, Encryption::ChaCha20] {
        let bytes = encrypted(encryption, &minidump());
        let block = block_for("mine.pem", encryption, "oaep");
        fs::write(&secret, &bytes).unwrap();
        fs::write(&key, &block).unwrap();
        let decrypt = |private: &str, key: &str, secret: &str, input: &[u8]| {
            piped(command().args(["decrypt", "-f", "--json", "-p", private, "-k", key, secret, text(&out)]), input)
        };
        for (private, key, secret, input) in [
            (text(&private), text(&key), "-", &bytes),
            (text(&private), "-", text(&secret), &block),
            ("-", text(&key), text(&secret), &fs::read(&private).unwrap()),
        ] {
            let report = decrypt(private, key, secret, input).ok().json();
            assert_eq!((&report["size"], &report["kind"]), (&bytes.len().into(), &"minidump".into()));
            assert!(fs::read(&out).unwrap() == minidump(), "{private} {key} {secret}");
            fs::remove_file(&out).unwrap();
        }
        // What is empty is no dump and no key.
        decrypt(text(&private), text(&key), "-", b"").fails_saying(&["standard input is empty"]);
        decrypt(text(&private), "-", text(&secret), b"").fails_saying(&["standard input: kdk_"]);
        decrypt("-", text(&key), text(&secret), b"").fails_saying(&["standard input: it has no private key"]);
        assert!(!out.exists());
        decrypt(text(&private), "-", "-", b"").usage_error(&["ENCRYPTED and --key cannot both be standard input"]);
    }
    // One that ends within a block of the cipher.
    let bytes = encrypted(Encryption::Aes256Cbc, &minidump());
    fs::write(&key, block_for("mine.pem", Encryption::Aes256Cbc, "oaep")).unwrap();
    let mut cut = command();
    cut.args(["decrypt", "-p", text(&private), "-k", text(&key), "-", text(&out)]);
    piped(&mut cut, &bytes[..bytes.len() - 7]).fails_saying(&["standard input", "truncated"]);
    assert_eq!(names(folder.path()), ["key.0", "vmcore_encrypted.0"]);
}

#[test]
fn lists_of_segments_come_through_pipes() {
    let folder = directory();
    let [image, list] = ["image", "list"].map(|name| folder.path().join(name));
    fs::write(&image, [vec![1_u8; 4096], vec![2; 4096]].concat()).unwrap();
    let segments = "0x10000 0x11000\n0x40000 0x41000\n";
    fs::write(&list, segments).unwrap();
    let image = text(&image);
    for arguments in [
        &["read", "--phys", "-M", image, "0x40000", "--as", "u8", "-l", "4"][..],
        &["convert", "--format", "lime", image],
        &["--machine", "demo", "dump", "--anywhere", "--list-segments"],
    ] {
        let expected = memtool(&[arguments, &["--segments", text(&list)]].concat()).ok();
        let from_pipe = piped(command().args(arguments).args(["--segments", "-"]), segments.as_bytes()).ok();
        assert!(from_pipe.bytes == expected.bytes, "{arguments:?}: {from_pipe:?}");
        let wrong = piped(command().args(arguments).args(["--segments", "-"]), b"0x10000\n").exits(1);
        assert!(wrong.stderr.contains("standard input: line 1: it has no end"), "{wrong:?}");
        let none = piped(command().args(arguments).args(["--segments", "-"]), b"").exits(1);
        assert!(none.stderr.contains("standard input: there is no segment in it"), "{none:?}");
    }
}

#[test]
fn a_recorded_machine_comes_through_a_pipe() {
    let folder = directory();
    let machine = write_machine(folder.path(), &demo_machine());
    let bytes = fs::read(&machine).unwrap();
    let arguments = ["--machine", "-", "ranges", "--json"];
    let expected = memtool(&["--machine", text(&machine), "ranges", "--json"]).ok().json();
    assert_eq!(piped(command().args(arguments), &bytes).ok().json(), expected);
    let cut = piped(command().args(arguments), &bytes[..bytes.len() / 2]);
    cut.fails_saying(&["standard input: not a usable recorded machine"]);
    piped(command().args(arguments), b"").fails_saying(&["standard input: not a usable recorded machine"]);
    // A filter: what is changed comes out again.
    let update = ["ranges", "update", "-b", "0x90000000", "-l", "4k", "-t", "uncacheable", "-q"];
    let saved = piped(command().args(["--machine", "-", "--save-machine", "-"]).args(update), &bytes).ok();
    let changed = piped(command().args(arguments), &saved.bytes).ok().json();
    assert_ne!(changed, expected);
    // A file of that name is not it.
    let copied = folder.path().join("-");
    fs::write(&copied, "old").unwrap();
    let mut command = command();
    command.current_dir(folder.path()).args(["--machine", "-", "--save-machine", "./-", "ranges", "-q"]);
    piped(&mut command, &bytes).exits(1).says_in_one_line(&["already exists"]);
}

#[test]
fn a_manifest_and_a_private_key_come_through_pipes() {
    let folder = directory();
    let [dump, manifest] = ["dump", "manifest"].map(|name| folder.path().join(name));
    demo(&["dump", "-d", "64k", "-o", text(&dump), "--manifest", text(&manifest)]).ok();
    let verify = ["dump", "--verify", text(&dump), "--manifest", "-"];
    piped(command().args(verify), &fs::read(&manifest).unwrap()).ok();
    piped(command().args(verify), b"").fails_saying(&["standard input: not a usable manifest"]);
    memtool(&["dump", "--verify", "-", "--manifest", "-"]).usage_error(&["cannot both be standard input"]);
    // Two devices, and one key for both.
    let dump = minidump();
    let mut device = DumpDevice::example(KernelDumpHeader::example(Arch::Amd64, 4, 0), 512, &dump);
    (device.data, device.key) =
        (encrypted(Encryption::ChaCha20, &dump), block_for("mine.pem", Encryption::ChaCha20, "oaep"));
    let devices = ["one", "two"].map(|name| folder.path().join(name));
    devices.iter().for_each(|path| fs::write(path, device.build()).unwrap());
    let crash = folder.path().join("crash");
    fs::create_dir(&crash).unwrap();
    let mut save = command();
    save.args(["save", "--private-key", "-", "--dir", text(&crash)]).args(&devices);
    piped(&mut save, &fs::read(KEYS.path("mine.pem")).unwrap()).ok();
    for name in ["vmcore.0", "vmcore.1"] {
        assert!(fs::read(crash.join(name)).unwrap() == dump, "{name}");
    }
}

#[test]
fn what_is_read_at_any_place_cannot_be_standard_input() {
    for arguments in [
        &["read", "-M", "-", "0x1000"][..],
        &["translate", "--core", "-", "0x1000"],
        &["write", "-M", "-", "0x1000", "00"],
        &["ps", "-M", "-", "-N", "kernel"],
        &["ps", "-N", "-"],
        &["show", "swapinfo", "-M", "-"],
        &["symbols", "--kernel", "-", "version"],
        &["convert", "in", "--format", "elf", "-N", "-"],
        &["livedump", "-N", "-", "out"],
        &["save", "-"],
        &["save", "--check", "-"],
        &["paddr", "--file", "-"],
        &["dump", "--device", "-"],
    ] {
        let refused = memtool(arguments).usage_error(&["is not read from beginning to end", "save it to a file first"]);
        assert!(refused.stderr.contains("'./-'"), "{refused:?}");
    }
}

#[test]
fn a_file_of_that_name_has_its_directory_before_it() {
    let folder = directory();
    fs::write(folder.path().join("-"), minidump()).unwrap();
    let mut inspect = command();
    let found = run(inspect.current_dir(folder.path()).args(["inspect", "--json", "./-"])).ok().json();
    assert_eq!(found["input"], "./-");
    memtool(&["inspect", "-", "-"]).usage_error(&["FILE and FILE cannot both be standard input"]);
}

// Phases: a pipe whose end does not come holds a run where it is.

/// Commands that wait for standard input, and what they say that they do meanwhile.
fn waiting(folder: &Path) -> Vec<(Vec<String>, &'static str)> {
    let [dump, manifest, key, out] = ["dump", "manifest", "key.0", "out"].map(|name| folder.join(name));
    demo(&["dump", "-d", "1m", "-o", text(&dump), "--manifest", text(&manifest)]).ok();
    fs::write(&key, block_for("mine.pem", Encryption::ChaCha20, "oaep")).unwrap();
    let private = KEYS.path("mine.pem");
    let line = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        (line(&["inspect", "-"]), "reading standard input: "),
        (line(&["inspect", "--verify", "-"]), "reading standard input: "),
        (line(&["convert", "-f", "--format", "raw", "-", text(&out)]), "reading standard input: "),
        (line(&["convert", "-f", "--format", "elf", "-", text(&out)]), "reading standard input: "),
        (line(&["decrypt", "-f", "-p", text(&private), "-k", text(&key), "-", text(&out)]), "decrypting: "),
        (line(&["dump", "--verify", "-", "--manifest", text(&manifest)]), "verifying: "),
    ]
}

#[test]
fn a_terminal_shows_what_goes_on() {
    let folder = directory();
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
    for (arguments, phase) in waiting(folder.path()) {
        let pty = crate::common::terminal(Some(&size));
        let mut command = command();
        command.env("TERM", "xterm").args(&arguments).stdin(Stdio::piped()).stderr(pty.slave);
        let mut running = crate::common::start_with_stderr(&mut command);
        let mut pipe = running.stdin();
        pipe.write_all(&[7; 65536]).unwrap();
        let mut terminal = File::from(pty.master);
        // The rate is behind what is done.
        let shown = crate::common::read_until(&mut terminal, "64.0 KiB");
        let line = shown.rsplit("\r\x1b[K").next().unwrap();
        assert!(line.starts_with(phase), "{arguments:?}: {shown:?}");
        running.signal(nix::sys::signal::Signal::SIGINT);
        let end = crate::common::read_until(&mut terminal, ")\r\n");
        assert!(end.contains(&format!(" (while {})\r\n", phase.trim_end_matches(": "))), "{arguments:?}: {end:?}");
        running.end().exits(130);
    }
    assert_eq!(names(folder.path()), ["dump", "key.0", "manifest"]);
}

#[test]
fn a_dumb_terminal_gets_no_escapes_and_an_answer_on_request() {
    #[cfg(target_os = "freebsd")]
    let status = nix::sys::signal::Signal::SIGINFO;
    #[cfg(not(target_os = "freebsd"))]
    let status = nix::sys::signal::Signal::SIGUSR1;
    let folder = directory();
    for (arguments, phase) in waiting(folder.path()) {
        let pty = crate::common::terminal(None);
        let mut command = command();
        command.env("TERM", "dumb").args(&arguments).stdin(Stdio::piped()).stderr(pty.slave);
        let mut running = crate::common::start_with_stderr(&mut command);
        let mut pipe = running.stdin();
        pipe.write_all(&[7; 65536]).unwrap();
        // Longer than it takes another terminal's line to come.
        std::thread::sleep(std::time::Duration::from_millis(700));
        running.signal(status);
        let mut terminal = File::from(pty.master);
        let shown = crate::common::read_until(&mut terminal, "\r\n");
        assert!(shown.starts_with(&format!("memtool: {phase}64.0 KiB")), "{arguments:?}: {shown:?}");
        drop(pipe);
        running.end();
        let mut rest = String::new();
        let _ = std::io::Read::read_to_string(&mut terminal, &mut rest);
        assert!(!rest.contains('\x1b'), "{arguments:?}: {rest:?}");
    }
}
