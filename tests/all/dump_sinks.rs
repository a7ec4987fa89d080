//! `memtool dump`: where a dump goes, and what is left when it does not get there.

use crate::common::{
    COMPRESSIONS, Run, Running, command, decompress, demo, directory, names, noise, run, start, text, write_file,
};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const SIGNALS: [(Signal, i32); 3] = [(Signal::SIGINT, 130), (Signal::SIGTERM, 1), (Signal::SIGHUP, 1)];

/// A dump of an image of noise, which compressing makes no smaller.
fn dump_of_noise(directory: &Path, mebibytes: usize) -> (PathBuf, Vec<u8>, Command) {
    let bytes = noise(mebibytes << 20);
    let image = write_file(directory, &bytes);
    let mut command = command();
    command.arg("--device").arg(&image).arg("dump");
    (image, bytes, command)
}

/// Asserts that what was compressed has no end: nobody shall take it for a whole dump.
#[track_caller]
fn assert_incomplete(bytes: &[u8], compression: &[&str]) {
    match compression.first() {
        Some(&"--zstd") => assert!(zstd::decode_all(bytes).is_err()),
        Some(_) => assert!(flate2::read::GzDecoder::new(bytes).read_to_end(&mut Vec::new()).is_err()),
        None => {}
    }
}

// Too little room.

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_leaves_nothing_behind() {
    let directory = directory();
    let (image, ..) = dump_of_noise(directory.path(), 4);
    for compression in ["", "--zstd", "--gzip"] {
        let arguments = format!(
            "--device {} dump --no-space-check {compression} -o DIR/out -m DIR/map --manifest DIR/manifest",
            text(&image)
        );
        let Some(run) = crate::common::on_a_small_disk(&arguments) else { return };
        // Standard output has the names that are left.
        // What is compressed is still on its way when the map is written, and that may fail first.
        let what = if compression.is_empty() { "cannot write the dump" } else { "cannot write the " };
        run.fails_saying(&[what, "No space left on device"]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_will_not_fit_is_refused_before_it_begins() {
    let directory = directory();
    let (image, ..) = dump_of_noise(directory.path(), 4);
    let on_small_disk =
        |arguments: &str| crate::common::on_a_small_disk(&format!("--device {} dump {arguments}", text(&image)));
    let Some(run) = on_small_disk("-o DIR/out") else { return };
    run.fails_saying(&["does not fit", "4.0 MiB", "2.0 MiB are free", "--no-space-check"]);
    on_small_disk("> DIR/out").unwrap().exits(1).says_in_one_line(&["does not fit", "--no-space-check"]);
    let run = on_small_disk("-q --range 0+1m -o DIR/out").unwrap().ok();
    assert_eq!(run.stdout, "out\n");
    // How small zeros become nobody knows beforehand.
    let run = crate::common::on_a_small_disk("--device /dev/zero dump -q --range 0-0x1000000 --zstd -o DIR/out")
        .unwrap()
        .ok();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("out\n", ""));
    let run =
        crate::common::on_a_small_disk("--device /dev/zero dump --range 0-0x1000000 --gzip -o DIR/out").unwrap().ok();
    run.says_in_one_line(&["warning: ", "may not fit"]);
    // Holes take no room.
    on_small_disk("-q --format padded --range 0x300000+64k -o DIR/out").unwrap().ok();
}

fn with_file_size_limit(directory: &Path, arguments: &str) -> Run {
    let script = format!("ulimit -f 1024; exec {} {arguments}", env!("CARGO_BIN_EXE_memtool"));
    run(Command::new("sh").args(["-c", &script]).current_dir(directory))
}

#[test]
fn the_file_size_limit_is_looked_at_before_and_is_an_error_later() {
    let directory = directory();
    let (image, ..) = dump_of_noise(directory.path(), 4);
    fs::rename(image, directory.path().join("image")).unwrap();
    with_file_size_limit(directory.path(), "--device image dump -o out").fails_saying(&[
        "does not fit",
        "4.0 MiB",
        "ulimit -f",
    ]);
    for options in ["-o out -m map --manifest manifest", "--zstd -q -o out", "--gzip -q -o out -m map"] {
        let arguments = format!("--device image dump --no-space-check {options}");
        with_file_size_limit(directory.path(), &arguments).fails_saying(&[
            "cannot write the dump",
            "File too large",
            "ulimit -f",
        ]);
        assert_eq!(names(directory.path()), ["image"], "{options}");
    }
    with_file_size_limit(directory.path(), "--device image dump --no-space-check > out")
        .fails_saying(&["File too large"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_that_is_full_is_an_error_for_standard_output_too() {
    for compression in COMPRESSIONS {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let arguments = ["--machine", "demo", "dump", "--range=0x100000+1m"];
        start(command().args(arguments).args(compression).stdout(full))
            .end()
            .fails_saying(&["No space left on device"]);
    }
}

// Pipes.

#[test]
fn a_slow_reader_of_a_pipe_gets_everything() {
    let directory = directory();
    for compression in COMPRESSIONS {
        let (_, bytes, mut dump) = dump_of_noise(directory.path(), 3);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let running = start(dump.args(compression).stdout(writer));
        let mut read = Vec::new();
        let mut piece = vec![0; 60_000];
        loop {
            match reader.read(&mut piece).unwrap() {
                0 => break,
                length => read.extend_from_slice(&piece[..length]),
            }
            thread::sleep(Duration::from_millis(2));
        }
        running.end().ok();
        assert!(decompress(&read, compression) == bytes, "{compression:?}");
    }
}

#[test]
fn a_pipe_that_is_closed_in_the_middle_is_an_error_and_leaves_no_files() {
    let directory = directory();
    for compression in COMPRESSIONS {
        let (image, _, mut dump) = dump_of_noise(directory.path(), 4);
        let (mut reader, writer) = std::io::pipe().unwrap();
        dump.args(["-m", text(&directory.path().join("map")), "--manifest", text(&directory.path().join("manifest"))]);
        let running = start(dump.args(compression).stdout(writer));
        let mut begun = vec![0; 300_000];
        reader.read_exact(&mut begun).unwrap();
        drop(reader);
        running.end().fails_saying(&["cannot write the dump", "Broken pipe"]);
        assert_incomplete(&begun, compression);
        fs::remove_file(image).unwrap();
        assert_eq!(names(directory.path()), Vec::<String>::new(), "{compression:?}");
    }
}

// Other hosts.

/// Accepts a connection and does something with it.
fn receiver<R: Send + 'static>(work: impl FnOnce(TcpStream) -> R + Send + 'static) -> (String, JoinHandle<R>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tcp://{}", listener.local_addr().unwrap());
    (to, thread::spawn(move || work(listener.accept().unwrap().0)))
}

fn receive_all(mut stream: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map(|_| all)
}

#[test]
fn a_receiver_gets_the_dump_and_the_manifest_fits_it() {
    let directory = directory();
    let [map, manifest, copy] = ["map", "manifest", "copy"].map(|name| directory.path().join(name));
    for compression in COMPRESSIONS {
        let (to, receiver) = receiver(|stream| receive_all(&stream).unwrap());
        let (_, bytes, mut dump) = dump_of_noise(directory.path(), 2);
        dump.args(["-o", &to, "--force", "-m", text(&map), "--manifest", text(&manifest)]);
        let run = run(dump.args(compression)).ok();
        let received = receiver.join().unwrap();
        assert!(run.stdout.starts_with(&format!("{to}: {} bytes", received.len())), "{}", run.stdout);
        assert_eq!(run.stderr, "");
        assert!(decompress(&received, compression) == bytes, "{compression:?}");
        fs::write(&copy, &received).unwrap();
        crate::common::memtool(&["dump", "--verify", text(&copy), "--manifest", text(&manifest)]).ok();
        assert_eq!(fs::read_to_string(&map).unwrap(), "0x0 0x200000\n");
    }
}

#[test]
fn a_receiver_may_be_slow_and_need_not_close() {
    let (to, slow) = receiver(|mut stream| {
        let mut all = Vec::new();
        let mut piece = vec![0; 100_000];
        loop {
            match stream.read(&mut piece).unwrap() {
                0 => return all,
                read => all.extend_from_slice(&piece[..read]),
            }
            thread::sleep(Duration::from_millis(2));
        }
    });
    let directory = directory();
    let (_, bytes, mut dump) = dump_of_noise(directory.path(), 8);
    assert_eq!(run(dump.args(["-q", "-o", &to])).ok().stderr, "");
    assert!(slow.join().unwrap() == bytes);

    let (to, open) = receiver(|stream| (receive_all(&stream).unwrap(), stream));
    let run = demo(&["dump", "--range=0x100000+1m", "-o", &to]).ok();
    run.says_in_one_line(&["receiver's system has acknowledged all data", "not closed the connection"]);
    assert_eq!(open.join().unwrap().0.len(), 1 << 20);
}

#[test]
fn a_connection_that_is_lost_is_an_error_and_leaves_no_files() {
    let lost: [fn(TcpStream); 3] = [
        |mut stream| stream.read_exact(&mut [0; 1000]).unwrap(),
        |stream| drop(stream),
        |stream| stream.shutdown(Shutdown::Both).unwrap(),
    ];
    let directory = directory();
    for lose in lost {
        for compression in COMPRESSIONS {
            let (to, receiver) = receiver(lose);
            let (image, _, mut dump) = dump_of_noise(directory.path(), 8);
            let files = ["map", "manifest"].map(|name| directory.path().join(name));
            dump.args(["-o", &to, "-m", text(&files[0]), "--manifest", text(&files[1])]);
            run(dump.args(compression)).fails_saying(&[&to, "the receiver's copy is incomplete"]);
            receiver.join().unwrap();
            fs::remove_file(image).unwrap();
            assert_eq!(names(directory.path()), Vec::<String>::new(), "{compression:?}");
        }
    }
}

#[test]
fn a_host_that_does_not_answer_is_an_error_and_leaves_no_files() {
    let directory = directory();
    let map = directory.path().join("map");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    demo(&["dump", "-m", text(&map), "-o", &format!("tcp://127.0.0.1:{port}")])
        .fails_saying(&["cannot connect to", "refused"]);
    demo(&["dump", "-m", text(&map), "-o", "tcp://memtool.invalid:9"])
        .fails_saying(&["cannot connect to tcp://memtool.invalid:9"]);
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

// Signals.

/// Where an endless dump is blocked, or not, when the signal comes.
#[derive(Debug, Clone, Copy)]
enum Into {
    File,
    Pipe,
    Network,
}

/// Starts an endless dump with a map and a manifest, and hands it to a test when it is on its way.
fn endless(into: Into, compression: &[&str], directory: &Path, test: impl FnOnce(Running, Option<TcpStream>)) {
    let path = |name: &str| directory.join(name);
    let mut dump = command();
    dump.args(["--device", "/dev/urandom", "dump", "--range", "0-0x100000000000", "--no-space-check"]);
    dump.args(compression).arg("-m").arg(path("map")).arg("--manifest").arg(path("manifest"));
    match into {
        Into::File => {
            let mut running = start(dump.arg("-o").arg(path("out")).stdout(Stdio::null()));
            running.until_written(directory, 1 << 20);
            test(running, None);
        }
        Into::Pipe => {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let running = start(dump.stdout(writer));
            reader.read_exact(&mut [0; 100_000]).unwrap();
            test(running, None);
        }
        Into::Network => {
            let (to, receiver) = receiver(|mut stream| {
                stream.read_exact(&mut [0; 100_000]).unwrap();
                stream
            });
            let running = start(dump.args(["-o", &to]).stdout(Stdio::null()));
            test(running, Some(receiver.join().unwrap()));
        }
    }
}

#[test]
fn a_signal_ends_a_dump_wherever_it_is_and_nothing_is_left() {
    for into in [Into::File, Into::Pipe, Into::Network] {
        for (index, (signal, code)) in SIGNALS.into_iter().enumerate() {
            let directory = directory();
            endless(into, COMPRESSIONS[index], directory.path(), |running, receiver| {
                assert_eq!(
                    names(directory.path()).iter().filter(|name| name.ends_with(".tmp")).count(),
                    names(directory.path()).len()
                );
                running.signal(signal);
                let run = running.end().exits(code);
                assert_eq!(run.stdout, "");
                run.says_in_one_line(&[signal.as_str(), "the dump is not complete"]);
                // What has arrived shall not look whole: the connection is reset, not closed.
                if let Some(stream) = receiver {
                    assert_eq!(receive_all(&stream).unwrap_err().kind(), ErrorKind::ConnectionReset, "{signal}");
                }
            });
            assert_eq!(names(directory.path()), Vec::<String>::new(), "{into:?} {signal}");
        }
    }
}

#[test]
fn a_signal_that_is_ignored_from_the_start_stays_ignored() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let script = format!("trap '' HUP; exec {} --machine demo dump -d4m", env!("CARGO_BIN_EXE_memtool"));
    let running = start(Command::new("sh").args(["-c", &script]).stdout(writer));
    reader.read_exact(&mut [0]).unwrap();
    running.signal(Signal::SIGHUP);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), (4 << 20) - 1);
    running.end().ok();
}

#[test]
fn a_signal_ends_a_dump_whose_messages_nobody_reads() {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (_reader, mut stderr) = std::io::pipe().unwrap();
    // Filled up; the dump waits at the first line of its map.
    fcntl(&stderr, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while stderr.write(&[b'x'; 512]).is_ok() {}
    fcntl(&stderr, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let directory = directory();
    let mut dump = command();
    dump.args(["--machine", "demo", "dump", "-m-", "-d1m", "-o", text(&directory.path().join("out"))]);
    let mut running = crate::common::start_with_stderr(dump.stdout(Stdio::null()).stderr(stderr));
    running.until(|| !names(directory.path()).is_empty());
    running.signal(Signal::SIGTERM);
    running.end().exits(1);
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

#[test]
fn a_dump_that_fails_resets_the_connection() {
    let (to, receiver) = receiver(|stream| receive_all(&stream));
    let directory = directory();
    let machine = crate::common::write_machine(directory.path(), &{
        let mut machine = crate::common::demo_machine();
        machine["unreadable"] = serde_json::json!([{"start": "0x100000", "end": "0x101000"}]);
        machine
    });
    crate::common::on(&machine, &["dump", "--range", "0x100000+4k", "-o", &to])
        .fails_saying(&["none of the RAM can be read"]);
    assert_eq!(receiver.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
}
