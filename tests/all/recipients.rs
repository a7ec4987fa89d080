//! Outputs that are encrypted to recipients, which age(1) decrypts, and inputs that age(1) has encrypted.

use crate::common::recipients::{KEYS, USABLE, decrypt, encrypt, is_decrypted};
use crate::common::{
    COMPRESSIONS, Run, command, decompress, demo, directory, memtool, names, noise, run, start, text, write_file,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs::{self, read, read_link, read_to_string, write};
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use vmcore_synth::device::DumpDevice;
use vmcore_synth::{Arch, Compression, KernelDumpHeader, MinidumpSpec};

/// A minidump.
fn dump() -> Vec<u8> {
    MinidumpSpec::example(Arch::Amd64, 3).build()
}

/// A dump of an image to a recipient.
fn dump_of(image: &Path) -> Command {
    let mut dump = command();
    dump.arg("--device").arg(image).args(["dump", "--recipient", &KEYS.file("mine.pub")]);
    dump
}

/// Asserts that a command cannot read its input, and says so in one line; decrypted it is nowhere.
#[track_caller]
fn fails(command: &mut Command, texts: &[&str]) {
    let scratch = directory();
    let run = run(command.env("TMPDIR", scratch.path()));
    run.fails_saying(texts);
    assert_eq!(names(scratch.path()), Vec::<String>::new());
}

#[test]
fn what_memtool_encrypts_each_recipient_decrypts_with_age() {
    let folder = directory();
    // Of more than a chunk of age's, the last of which is full, and of less.
    for length in [4096, 65536, 3 << 20, (1 << 20) + 4096] {
        let bytes = noise(length);
        let image = write_file(folder.path(), &bytes);
        let list = folder.path().join("recipients");
        let [mine, other, rsa] = ["mine", "other", "rsa"].map(|name| KEYS.public(name));
        write(&list, format!("# who may read it\n\n{other}\n  {rsa}\n{other}\n")).unwrap();
        for compression in COMPRESSIONS {
            let out = folder.path().join("out.age");
            let manifest = folder.path().join("manifest");
            let mut dump = command();
            dump.arg("--device").arg(&image).arg("dump").args(compression).arg("--force");
            dump.args(["--recipient", &mine, "--recipient", text(&list), "--recipient", &KEYS.file("ed25519.pub")]);
            dump.arg("-o").arg(&out).arg("--manifest").arg(&manifest);
            let run = run(&mut dump).ok();
            assert!(run.stdout.contains(", encrypted to 4 recipients\n"), "{}", run.stdout);
            for key in USABLE {
                let decrypted = decompress(&decrypt(key, &out), compression);
                assert!(decrypted == bytes, "{length} bytes, {compression:?}, {key}");
            }
            let said: Value = serde_json::from_str(&read_to_string(&manifest).unwrap()).unwrap();
            let keys: Vec<&str> =
                said["recipients"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
            assert_eq!((keys[0], keys[1]), (&*mine, &*other));
            assert!(rsa.starts_with(keys[2]) && KEYS.public("ed25519").starts_with(keys[3]), "{keys:?}");
            // The hash is that of the file, so that who verifies it needs no key.
            memtool(&["dump", "--verify", text(&out), "--manifest", text(&manifest)]).ok();
            assert_eq!(said["size"], out.metadata().unwrap().len());
        }
    }
}

#[test]
fn a_pipe_and_another_host_get_nothing_but_what_is_encrypted() {
    let folder = directory();
    let bytes = noise(1 << 20);
    let image = write_file(folder.path(), &bytes);
    let out = folder.path().join("out");
    for compression in COMPRESSIONS {
        let run = run(dump_of(&image).args(compression)).ok();
        assert!(run.bytes.starts_with(b"age-encryption.org/v1\n"));
        write(&out, run.bytes).unwrap();
        assert!(decompress(&decrypt("mine", &out), compression) == bytes, "{compression:?}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("tcp://{}", listener.local_addr().unwrap());
        let receiver = std::thread::spawn(move || {
            let mut all = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
            all
        });
        crate::common::run(dump_of(&image).args(compression).args(["-o", &to])).ok();
        write(&out, receiver.join().unwrap()).unwrap();
        assert!(decompress(&decrypt("mine", &out), compression) == bytes, "{compression:?}");
    }
}

/// What a run writes anywhere, by its system calls; `None`, and a word about it, without strace(1).
#[cfg(target_os = "linux")]
fn written_by(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let trace = folder.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-s", "10000000", "-e", "trace=write,pwrite64,writev,pwritev,sendto,sendmsg,mmap"]);
    strace.args(["--signal=none", "-o", text(&trace), "--", env!("CARGO_BIN_EXE_memtool")]).args(arguments);
    run(&mut strace).ok();
    read(trace).unwrap()
}

/// By what the program asks of the kernel, so that nothing depends on when a folder is looked at.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_written_in_the_clear_on_the_way() {
    const SECRET: &str = "what nobody else is to read";
    let has_secret = |trace: &[u8]| trace.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes());
    let folder = directory();
    let image = write_file(folder.path(), &SECRET.repeat(4096).into_bytes()[..1 << 16]);
    let [out, core, saved] = ["out", "core", "saved"].map(|name| folder.path().join(name));
    let mine = KEYS.file("mine.pub");
    let arguments = ["--device", text(&image), "dump", "-f", "-o", text(&out)];
    // That it would be seen.
    assert!(has_secret(&written_by(folder.path(), &arguments)));
    for compression in COMPRESSIONS {
        let all = [&arguments[..], compression, &["--recipient", &mine]].concat();
        assert!(!has_secret(&written_by(folder.path(), &all)), "{compression:?}");
    }
    let arguments = ["convert", "-f", "--format", "raw", text(&image), text(&core)];
    assert!(has_secret(&written_by(folder.path(), &arguments)));
    let all = [&arguments[..], &["--recipient", &mine]].concat();
    assert!(!has_secret(&written_by(folder.path(), &all)));
    let mut bytes = dump();
    let end = bytes.len();
    bytes[end - 4096..end - 4096 + SECRET.len()].copy_from_slice(SECRET.as_bytes());
    let device = folder.path().join("device");
    let header = KernelDumpHeader::example(Arch::Amd64, 4, 0);
    write(&device, DumpDevice::example(header, 512, &bytes).build()).unwrap();
    fs::create_dir(&saved).unwrap();
    let arguments = ["save", "--keep", "--dir", text(&saved), text(&device)];
    assert!(has_secret(&written_by(folder.path(), &arguments)));
    let all = [&arguments[..], &["--recipient", &mine, "--verify"]].concat();
    assert!(!has_secret(&written_by(folder.path(), &all)));
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_too_small_leaves_nothing() {
    let folder = directory();
    let image = write_file(folder.path(), &noise(4 << 20));
    let recipient = KEYS.file("mine.pub");
    let arguments =
        |options: &str| format!("--device {} dump --recipient {recipient} {options} -o DIR/out", text(&image));
    let Some(run) = crate::common::on_a_small_disk(&arguments("")) else { return };
    run.fails_saying(&["does not fit", "--no-space-check"]);
    for options in ["--no-space-check", "--zstd"] {
        let run = crate::common::on_a_small_disk(&arguments(&format!("-q {options}"))).unwrap();
        // Standard output has the names that are left.
        run.fails_saying(&["cannot write the dump", "No space left on device"]);
    }
    // Nor is there room for what is decrypted.
    let secret = folder.path().join("secret");
    encrypt(&["mine"], &noise(4 << 20), &secret);
    let identity = KEYS.file("mine");
    let arguments = format!("convert --format raw --identity {identity} {} DIR/out", text(&secret));
    crate::common::on_a_small_disk(&arguments).unwrap().fails_saying(&["decrypted, does not fit"]);
}

#[test]
fn a_signal_in_the_middle_leaves_nothing_under_the_name() {
    for compression in COMPRESSIONS {
        let folder = directory();
        let mut dump = dump_of(Path::new("/dev/urandom"));
        dump.args(["--range", "0-0x100000000000", "--no-space-check", "-o"]).arg(folder.path().join("out"));
        let mut running = start(dump.args(compression).stdout(Stdio::null()));
        running.until_written(folder.path(), 1 << 20);
        running.signal(Signal::SIGTERM);
        running.end().exits(1).says_in_one_line(&["the dump is not complete"]);
        assert_eq!(names(folder.path()), Vec::<String>::new(), "{compression:?}");
    }
}

#[test]
fn what_came_of_a_dump_that_was_broken_off_does_not_look_whole() {
    let folder = directory();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut dump = dump_of(Path::new("/dev/urandom"));
    let running = start(dump.args(["--range", "0-0x100000000000"]).stdout(writer));
    drop(dump);
    let mut some = vec![0; 300_000];
    reader.read_exact(&mut some).unwrap();
    running.signal(Signal::SIGTERM);
    reader.read_to_end(&mut some).unwrap();
    running.end().exits(1);
    let out = folder.path().join("out");
    write(&out, some).unwrap();
    assert!(!is_decrypted("mine", &out));
}

#[test]
fn who_is_no_recipient_is_refused_and_no_secret_is_repeated() {
    let folder = directory();
    let out = folder.path().join("out");
    let secret = read_to_string(KEYS.path("mine")).unwrap();
    let secret = secret.lines().last().unwrap();
    let list = folder.path().join("list");
    let tell = |recipient: &str| {
        let run = demo(&["dump", "-d4k", "-o", text(&out), "--recipient", recipient]);
        assert!(!run.stderr.contains(&secret[20..]), "{run:?}");
        run
    };
    for (recipient, why) in [
        (secret, "a private key is no recipient"),
        ("age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt", "plugin or kind 'yubikey'"),
        ("age1pq1zurjxgcnydpex9qkjcz", "plugin or kind 'pq'"),
        ("age1mistyped", "not a public key of age"),
        ("ssh-dss AAAAB3NzaC1kc3MAAAA= me", "of the kind 'ssh-dss' cannot be encrypted to"),
        ("ssh-rsa AAAA", "not a public key of ssh(1)"),
        (&KEYS.file("no-such-file"), "No such file"),
        (&KEYS.file("mine"), "line 3: a private key is no recipient"),
        (&KEYS.file("ed25519"), "line 1: a private key is no recipient"),
        (text(folder.path()), "directory"),
        ("/dev/null", "it has no recipient"),
    ] {
        tell(recipient).fails_saying(&[why]);
    }
    for (lines, why) in [
        (format!("{}\n{secret}\n", KEYS.public("mine")), "line 2: a private key"),
        ("age1\n".to_owned(), "line 1: not a public key of age"),
        ("# nobody\n".to_owned(), "it has no recipient"),
        ("me@example.org\n".to_owned(), "line 1: not a recipient"),
        ("\u{0}\n".repeat(1 << 20), "more than 1 MiB"),
    ] {
        write(&list, lines).unwrap();
        tell(text(&list)).fails_saying(&[text(&list), why]);
    }
    write(&list, [0xff, 0xfe]).unwrap();
    tell(text(&list)).fails_saying(&["it is no text"]);
    assert_eq!(names(folder.path()), ["list"]);
    demo(&["dump", "--list-segments", "--recipient", text(&list)]).usage_error(&["--recipient"]);
}

/// What commands say of a dump, without its name.
fn said(run: Run, name: &Path) -> (String, Value) {
    let json = run.ok().json();
    let plain = |text: String| text.replace(text_of(name), "DUMP");
    (plain(json.to_string()), json)
}

fn text_of(path: &Path) -> &str {
    text(path)
}

#[test]
fn what_age_encrypts_is_read_wherever_a_dump_is() {
    let folder = directory();
    let bytes = dump();
    let plain = folder.path().join("plain");
    write(&plain, &bytes).unwrap();
    let secret = folder.path().join("secret");
    let packed = folder.path().join("packed");
    encrypt(&["other", "ed25519", "rsa", "mine"], &bytes, &secret);
    encrypt(&["mine"], &zstd::encode_all(&bytes[..], 3).unwrap(), &packed);
    for key in USABLE {
        let identity = KEYS.file(key);
        let of = |arguments: &[&str]| said(memtool(arguments), &secret).0;
        let expected = said(memtool(&["--json", "inspect", "--verify", text(&plain)]), &plain).0;
        assert_eq!(of(&["--json", "inspect", "--verify", "--identity", &identity, text(&secret)]), expected, "{key}");
    }
    let identity = KEYS.file("mine");
    let commands: [&[&str]; 4] = [
        &["map", "--json", "--core"],
        &["read", "--phys", "0x1000", "--json", "--core"],
        &["dmesg", "--json", "--core"],
        &["report", "--json", "--core"],
    ];
    for arguments in commands {
        let look = |file: &Path, more: &[&str]| {
            let run = memtool(&[arguments, &[text(file)], more].concat());
            (run.code, run.stdout.replace(text(file), "DUMP"), run.stderr.replace(text(file), "DUMP"))
        };
        assert_eq!(look(&secret, &["--identity", &identity]), look(&plain, &[]), "{arguments:?}");
    }
    // Compressed and then encrypted, from a pipe, one of several keys; and what is not encrypted needs no key.
    let image = |input: &Path, options: &[&str]| {
        let mut convert = command();
        convert.args(["-q", "convert", "--format", "lime", "--identity", &KEYS.file("other"), "--identity", &identity]);
        run(convert.args(options).arg(input)).ok().bytes
    };
    let expected = image(&plain, &[]);
    assert!(!expected.is_empty());
    for input in [&secret, &packed] {
        assert!(image(input, &[]) == expected, "{}", input.display());
        let mut convert = command();
        convert.args(["-q", "convert", "--format", "lime", "--identity", &identity, "-"]);
        let mut running = start(convert.stdin(Stdio::piped()).stdout(Stdio::piped()));
        std::io::Write::write_all(&mut running.stdin(), &read(input).unwrap()).unwrap();
        assert!(running.end().ok().bytes == expected, "{}", input.display());
    }
    // From one recipient to another, without a step in between.
    let again = folder.path().join("again");
    write(&again, image(&secret, &["--recipient", &KEYS.file("rsa.pub")])).unwrap();
    assert!(decrypt("rsa", &again) == expected);
    assert!(!is_decrypted("mine", &again));
}

#[test]
fn an_identity_can_come_through_a_pipe() {
    let folder = directory();
    let secret = folder.path().join("secret");
    encrypt(&["mine"], &dump(), &secret);
    let mut inspect = command();
    inspect.args(["inspect", "--identity", "-"]).arg(&secret);
    run(inspect.stdin(fs::File::open(KEYS.path("mine")).unwrap())).ok();
    memtool(&["inspect", "--identity", "-", "-"]).usage_error(&["cannot both be standard input"]);
}

#[test]
fn what_cannot_be_decrypted_is_told_apart() {
    let folder = directory();
    let bytes = noise(200_000);
    let secret = folder.path().join("secret");
    encrypt(&["mine"], &bytes, &secret);
    let whole = read(&secret).unwrap();
    let changed = folder.path().join("changed");
    let convert = |file: &Path, identity: &str| {
        let mut convert = command();
        convert.args(["convert", "--format", "raw", "--identity", &KEYS.file(identity)]);
        convert.arg(file).arg(folder.path().join("out"));
        convert
    };
    // Without a key it is said what to give.
    memtool(&["inspect", text(&secret)]).exits(1);
    for arguments in [&["read", "--phys", "0", "--core"][..], &["convert", "--format", "raw"]] {
        memtool(&[arguments, &[text(&secret)]].concat()).fails_saying(&["encrypted with age", "--identity"]);
    }
    fails(&mut convert(&secret, "other"), &["cannot decrypt it", "encrypted to others"]);
    fails(&mut convert(&secret, "rsa"), &["cannot decrypt it"]);
    let header = whole.windows(4).position(|bytes| bytes == b"\n---").unwrap();
    for cut in [22, header, header + 10, header + 49, header + 60, 65_536, whole.len() - 1, whole.len() - 16] {
        write(&changed, &whole[..cut]).unwrap();
        fails(&mut convert(&changed, "mine"), &["damaged: "]);
    }
    // At the end of a chunk, whose own tag is right.
    write(&changed, &whole[..header + 49 + 16 + 65_552]).unwrap();
    fails(&mut convert(&changed, "mine"), &["damaged: it is cut off or was changed"]);
    for at in [header - 20, header + 10, header + 52, header + 100, 70_000, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        write(&changed, flipped).unwrap();
        let run = run(&mut convert(&changed, "mine")).exits(1);
        assert!(run.stderr.contains("damaged") || run.stderr.contains("cannot decrypt"), "{at}: {run:?}");
    }
    write(&changed, [&whole[..], b"more"].concat()).unwrap();
    fails(&mut convert(&changed, "mine"), &["damaged: "]);
    // A header without an end is not read without an end.
    write(&changed, [b"age-encryption.org/v1\n".to_vec(), b"-> X25519 abc\n".repeat(100_000)].concat()).unwrap();
    fails(&mut convert(&changed, "mine"), &["its header has no end"]);
    assert_eq!(names(folder.path()), ["changed", "secret"]);
}

#[test]
fn an_identity_that_is_none_is_told_and_never_what_is_in_it() {
    let folder = directory();
    let secret = folder.path().join("secret");
    encrypt(&["mine"], b"contents", &secret);
    let key = read_to_string(KEYS.path("mine")).unwrap();
    let key = key.lines().last().unwrap();
    let file = folder.path().join("file");
    let encrypted = folder.path().join("encrypted");
    encrypt(&["mine"], key.as_bytes(), &encrypted);
    for (text_in_it, why) in [
        (key[..40].to_owned(), "line 1: no private key of age"),
        (format!("# mine\n{key}\n{}x\n", &key[..50]), "line 3: no private key of age"),
        ("AGE-PLUGIN-YUBIKEY-1QQQQQQ\n".to_owned(), "plugin or kind 'YUBIKEY'"),
        (KEYS.public("mine"), "line 1: no private key of age"),
        (String::new(), "it has no private key"),
        (read_to_string(KEYS.path("protected")).unwrap(), "passphrase"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n".to_owned(), "not a usable private key of ssh(1)"),
        ("x".repeat(300 << 10), "more than 256 KiB"),
    ] {
        write(&file, text_in_it).unwrap();
        let run = memtool(&["-q", "inspect", "--identity", text(&file), text(&secret)]);
        assert!(!run.stderr.contains(&key[20..30]), "{run:?}");
        run.fails_saying(&[why]);
    }
    memtool(&["inspect", "--identity", text(&encrypted), text(&secret)]).fails_saying(&["encrypted itself", "age -d"]);
    // Others can read this one.
    write(&file, format!("{key}\n")).unwrap();
    let run = memtool(&["inspect", "--identity", text(&file), text(&secret)]);
    assert!(run.stderr.contains("is readable by other users"), "{run:?}");
    memtool(&["read", "--identity", &KEYS.file("mine"), "0"]).usage_error(&["--core"]);
    memtool(&["write", "--core", text(&secret), "--identity", &KEYS.file("mine"), "--as", "u8", "0", "1"])
        .usage_error(&["cannot be written to"]);
}

#[test]
fn a_live_dump_is_made_by_memtool_and_never_lies_in_the_clear() {
    let folder = directory();
    let mine = KEYS.file("mine.pub");
    let out = folder.path().join("out");
    demo(&["livedump", "--method", "kernel", "--recipient", &mine, text(&out)]).fails_saying(&["--method user"]);
    assert_eq!(names(folder.path()), Vec::<String>::new());
    let run = demo(&["livedump", "--json", "--recipient", &mine, text(&out)]).ok();
    assert!(run.stderr.contains("the kernel would write the dump to disk unencrypted; memtool makes"), "{run:?}");
    let report = run.json();
    assert_eq!((report["method"].as_str(), report["verification"].as_str()), (Some("user"), Some("none")));
    assert_eq!(report["recipients"][0], KEYS.public("mine"));
    let plain = folder.path().join("plain");
    write(&plain, decrypt("mine", &out)).unwrap();
    memtool(&["inspect", "--verify", text(&plain)]).ok();
    // In a directory of dumps its name says so, and what savecore(8) writes of it is readable.
    let crash = folder.path().join("crash");
    fs::create_dir(&crash).unwrap();
    demo(&["livedump", "--zstd", "--recipient", &mine, "--dir", text(&crash)]).ok();
    demo(&["save", "-L", "--recipient", &mine, "--dir", text(&crash)]).ok();
    let expected = ["bounds", "info.0", "info.1", "info.last", "livecore.0.zst.age", "livecore.1.age"];
    assert_eq!(names(&crash), [&expected[..], &["livecore.last.age"]].concat());
    assert_eq!(read_link(crash.join("livecore.last.age")).unwrap(), Path::new("livecore.1.age"));
    assert!(read_to_string(crash.join("info.0")).unwrap().contains("Compression: zstd"));
    let minidump = zstd::decode_all(&decrypt("mine", &crash.join("livecore.0.zst.age"))[..]).unwrap();
    assert!(minidump.starts_with(b"minidump FreeBSD/amd64\0"));
    let planned = demo(&["save", "-L", "-n", "--json", "--recipient", &mine, "--dir", text(&crash)]).ok().json();
    let saved = &planned["devices"][0]["saved"];
    assert!(saved["output"].as_str().unwrap().ends_with("/livecore.2.age"), "{saved}");
    assert_eq!(saved["recipients"][0], KEYS.public("mine"));
}

/// A device with a dump, and a directory for dumps.
fn device(folder: &Path, compression: Compression, bytes: &[u8]) -> (std::path::PathBuf, std::path::PathBuf) {
    let [device, crash] = ["device", "crash"].map(|name| folder.join(name));
    let header = KernelDumpHeader { compression, ..KernelDumpHeader::example(Arch::Amd64, 4, 0) };
    write(&device, DumpDevice::example(header, 512, bytes).build()).unwrap();
    fs::create_dir(&crash).unwrap();
    (device, crash)
}

#[test]
fn a_crash_dump_is_encrypted_on_its_way_and_found_again() {
    for (option, by_kernel, ending) in [
        ("--uncompress", Compression::None, ".age"),
        ("--zstd", Compression::None, ".zst.age"),
        ("--gzip", Compression::None, ".gz.age"),
        ("--verify", Compression::Zstd, ".zst.age"),
    ] {
        let folder = directory();
        let bytes = dump();
        let (device, crash) = device(folder.path(), by_kernel, &bytes);
        let mut arguments = vec!["save", "--json", "--dir", text(&crash), option];
        let recipient = KEYS.file("ed25519.pub");
        arguments.extend(["--recipient", &recipient, text(&device)]);
        let planned = memtool(&[&arguments[..], &["-n"]].concat()).ok().json();
        let name = format!("vmcore.0{ending}");
        assert!(planned["devices"][0]["saved"]["output"].as_str().unwrap().ends_with(&format!("/{name}")), "{planned}");
        let saved =
            memtool(&[&arguments[..], if option == "--verify" { &[] } else { &["--verify"] }].concat()).ok().json();
        let saved = &saved["devices"][0];
        assert_eq!((&saved["cleared"], &saved["saved"]["verified"]), (&Value::Bool(true), &Value::Bool(true)));
        assert_eq!(saved["saved"]["recipients"].as_array().unwrap().len(), 1);
        let file = crash.join(&name);
        assert_eq!(saved["saved"]["size"], file.metadata().unwrap().len());
        let compression = match ending {
            ".zst.age" => &["--zstd"][..],
            ".gz.age" => &["--gzip"],
            _ => &[],
        };
        assert!(decompress(&decrypt("ed25519", &file), compression) == bytes, "{option}");
        assert!(read_to_string(crash.join("info.0")).unwrap().contains("Dump Status: good"));
        let identity = KEYS.file("ed25519");
        let report = memtool(&["report", "--json", "--dir", text(&crash), "--identity", &identity]);
        assert!(report.json()["dump"]["input"].as_str().unwrap().ends_with(&name), "{report:?}");
        assert_eq!(report.json()["dump"]["header"], Value::Null);
        memtool(&["report", "--dir", text(&crash)]).fails_saying(&["encrypted with age", "--identity"]);
    }
}

#[test]
fn a_damaged_dump_is_not_saved_though_it_cannot_be_read_back() {
    let folder = directory();
    let mut bytes = dump();
    bytes.truncate(bytes.len() - 8192);
    let (device, crash) = device(folder.path(), Compression::None, &bytes);
    let before = read(&device).unwrap();
    let recipient = KEYS.file("mine.pub");
    let save = |options: &[&str]| {
        memtool(&[&["save", "--dir", text(&crash), "--recipient", &recipient, text(&device)], options].concat())
    };
    save(&["--verify"]).fails_saying(&["is damaged"]);
    assert!(read(&device).unwrap() == before);
    assert_eq!(names(&crash), Vec::<String>::new());
    // What does not begin as a dump is kept on its device.
    let (device, crash) = (folder.path().join("swapped"), crash);
    let header = KernelDumpHeader::example(Arch::Amd64, 4, 0);
    write(&device, DumpDevice::example(header, 512, &noise(1 << 16)).build()).unwrap();
    let before = read(&device).unwrap();
    let run = memtool(&["save", "--dir", text(&crash), "--recipient", &recipient, text(&device)]).exits(1);
    assert!(run.stderr.contains("is damaged: beginning"), "{run:?}");
    assert!(read(&device).unwrap() == before);
    assert!(read_to_string(crash.join("info.0")).unwrap().contains("Dump Status: bad"));
}

#[test]
fn a_dump_of_the_kernels_own_encryption_is_encrypted_again_or_decrypted_on_the_way() {
    use crate::common::encryption::{KEYS as RSA, block_for, encrypted};
    use vmcore::decrypt::Encryption;
    let folder = directory();
    let bytes = dump();
    let (device, crash) = device(folder.path(), Compression::None, &bytes);
    let header = KernelDumpHeader { key_size: 0, ..KernelDumpHeader::example(Arch::Amd64, 4, 0) };
    let mut spec = DumpDevice::example(header, 512, &bytes);
    (spec.data, spec.key) =
        (encrypted(Encryption::ChaCha20, &bytes), block_for("mine.pem", Encryption::ChaCha20, "oaep"));
    write(&device, spec.build()).unwrap();
    let (recipient, private_key) = (KEYS.file("mine.pub"), text(&RSA.path("mine.pem")).to_owned());
    let save = |options: &[&str]| {
        memtool(&[&["save", "-k", "--dir", text(&crash), "--recipient", &recipient, text(&device)], options].concat())
    };
    save(&["--verify"]).ok();
    assert!(decrypt("mine", &crash.join("vmcore_encrypted.0.age")) == encrypted(Encryption::ChaCha20, &bytes));
    save(&["--private-key", &private_key]).ok();
    assert!(decrypt("mine", &crash.join("vmcore.1.age")) == bytes);
    save(&["--private-key", text(&RSA.path("other.pem"))]).exits(1);
    let identity = KEYS.file("mine");
    for arguments in [&["-n", "0", "--private-key", &private_key][..], &["-n", "1"]] {
        let all = [&["report", "--json", "--dir", text(&crash), "--identity", &identity], arguments].concat();
        assert_eq!(memtool(&all).json()["dump"]["description"], "minidump, amd64 version 3", "{arguments:?}");
    }
    // What decrypt writes can be encrypted, too; its input can be.
    write(crash.join("vmcore_encrypted.0"), &spec.data).unwrap();
    let decrypt_it =
        ["decrypt", "--json", "-p", &private_key, "-d", text(&crash), "-n", "0", "--recipient", &recipient];
    let said = memtool(&decrypt_it).ok().json();
    assert_eq!((&said["kind"], &said["recipients"][0]), (&Value::from("minidump"), &Value::from(KEYS.public("mine"))));
    assert!(decrypt("mine", &crash.join("vmcore.0.age")) == bytes);
    let out = folder.path().join("out");
    let secret = crash.join("vmcore_encrypted.0.age");
    let key = crash.join("key.0");
    memtool(&["decrypt", "-p", &private_key, "-k", text(&key), "--identity", &identity, text(&secret), text(&out)])
        .ok();
    assert!(read(&out).unwrap() == bytes);
}

#[test]
fn a_report_is_encrypted_wherever_it_goes() {
    let folder = directory();
    let core = folder.path().join("vmcore.3");
    write(&core, dump()).unwrap();
    let plain = memtool(&["report", text(&core)]);
    let recipient = KEYS.file("rsa.pub");
    let report = |options: &[&str]| memtool(&[&["report", "--recipient", &recipient, text(&core)], options].concat());
    let out = folder.path().join("out");
    write(&out, report(&[]).bytes).unwrap();
    assert!(decrypt("rsa", &out) == plain.bytes && !plain.bytes.is_empty());
    let (file, json) = (folder.path().join("file"), memtool(&["report", "--json", text(&core)]));
    report(&["-o", text(&file), "--json"]);
    assert_eq!(String::from_utf8(decrypt("rsa", &file)).unwrap(), json.stdout);
    report(&["--batch"]);
    assert!(decrypt("rsa", &folder.path().join("core.txt.3.age")) == plain.bytes);
    assert_eq!(names(folder.path()), ["core.txt.3.age", "core.txt.last.age", "file", "out", "vmcore.3"]);
    let pty = crate::common::terminal(None);
    let mut to_terminal = command();
    to_terminal.args(["report", "--recipient", &recipient, text(&core)]).stdout(pty.slave);
    start(&mut to_terminal).end().fails_saying(&["is not written to a terminal"]);
}
