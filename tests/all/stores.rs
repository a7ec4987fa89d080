//! Dumps in object stores: they arrive whole or not at all, replace nothing, and go on where they were interrupted.

use crate::common::proxy::{Fault, Proxy, Request};
use crate::common::recipients::{KEYS, decrypt};
use crate::common::s3::{BUCKET, KEY, Kind, SECRET, Server};
use crate::common::{Run, directory, noise, start, text};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use tempfile::TempDir;
use vmcore_synth::device::DumpDevice;
use vmcore_synth::{Arch, KernelDumpHeader, MinidumpSpec};

const MIB: usize = 1 << 20;

/// An image of memory that is three parts long, the last of them shorter.
struct Image {
    folder: TempDir,
    bytes: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        let (folder, bytes) = (directory(), noise(20 * MIB + 4096));
        std::fs::write(folder.path().join("image"), &bytes).unwrap();
        Self { folder, bytes }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Sends it through a port.
    #[track_caller]
    fn send(&self, server: &Server, port: u16, key: &str, options: &[&str]) -> Run {
        let (path, address) = (self.path(), address(key));
        let mut arguments = vec!["--device", text(&path), "dump", "--output", &address];
        arguments.extend(options);
        server.memtool(port, &arguments)
    }
}

fn address(key: &str) -> String {
    format!("s3://{BUCKET}/{key}")
}

/// Asserts that an object is there as it should be, that no other has begun, and that nothing secret was said.
#[track_caller]
fn arrived(server: &Server, key: &str, bytes: &[u8], run: &Run) {
    let run = run.clone().ok();
    assert!(server.object(key).is_some_and(|found| found == bytes), "{:?}: another {key}: {run:?}", server.kind);
    nothing_is_left(server, &run);
}

#[track_caller]
fn nothing_is_left(server: &Server, run: &Run) {
    assert_eq!(server.unfinished(), 0, "{:?}: {run:?}", server.kind);
    assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET), "{run:?}");
}

#[test]
fn a_dump_arrives_whole_however_long_it_is() {
    for server in Server::all() {
        let image = Image::new();
        let run = image.send(&server, server.port, "long", &[]);
        arrived(&server, "long", &image.bytes, &run);
        assert!(run.stdout.starts_with("s3://crash/long: "), "{run:?}");
        for length in [4096, 8 * MIB, 8 * MIB + 4096] {
            let size = length.to_string();
            let key = format!("folder/of {length}");
            let run = image.send(&server, server.port, &key, &["--dump-size", &size, "--json"]);
            let run = run.ok();
            assert_eq!(run.json()["output"], address(&key));
            let found = match server.kind {
                Kind::Moto => server.object(&key.replace(' ', "%20")),
                Kind::S3sFs => server.object(&key),
            };
            assert!(found.is_some_and(|found| found == image.bytes[..length]), "{:?}: {length}", server.kind);
        }
        let public = KEYS.public("mine");
        let run = image.send(&server, server.port, "packed.zst.age", &["--zstd", "--recipient", &public]);
        run.ok();
        let stored = image.folder.path().join("stored");
        std::fs::write(&stored, server.object("packed.zst.age").unwrap()).unwrap();
        let unpacked = zstd::decode_all(&decrypt("mine", &stored)[..]).unwrap();
        assert!(unpacked == image.bytes, "{:?}", server.kind);
    }
}

#[test]
fn nothing_is_replaced_whenever_it_comes() {
    for server in Server::all() {
        let image = Image::new();
        server.put("taken", b"another");
        for options in [&["--force"][..], &["--dump-size", "4096"]] {
            let run = image.send(&server, server.port, "taken", options);
            run.clone().fails_saying(&["s3://crash/taken already exists, and nothing in a store is replaced"]);
            nothing_is_left(&server, &run);
        }
        assert_eq!(server.object("taken").unwrap(), b"another");
    }
    // What comes just before the end is found by the store alone.
    let Some(server) = Server::start(Kind::Moto) else { return };
    let (image, server) = (Image::new(), Arc::new(server));
    for options in [&[][..], &["--dump-size", "4096"]] {
        let store = Arc::clone(&server);
        let proxy = Proxy::start(server.port, move |request| {
            if request.is("POST", "uploadId=") || request.is("PUT", "/late HTTP") {
                store.put("late", b"another");
            }
            Fault::None
        });
        let run = image.send(&server, proxy.port, "late", options);
        run.clone().fails_saying(&["s3://crash/late already exists, and nothing in a store is replaced"]);
        nothing_is_left(&server, &run);
        assert_eq!(server.object("late").unwrap(), b"another");
        server.request("DELETE", &format!("/{BUCKET}/late"), b"");
    }
}

/// Does something to one request of a dump that is sent, each in turn, until there is no such request.
fn at_each_request(fault: fn() -> Fault, check: impl Fn(&Server, &Image, &str, usize, &Request, Run)) {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let image = Image::new();
    let mut number = 0;
    loop {
        let proxy =
            Proxy::start(server.port, move |request| if request.number == number { fault() } else { Fault::None });
        let key = format!("object{number}");
        let run = image.send(&server, proxy.port, &key, &[]);
        let Some(request) = proxy.seen().get(number).cloned() else { break };
        check(&server, &image, &key, number, &request, run);
        number += 1;
    }
    // Looks at what is there, begins, sends three parts, looks, completes, and looks.
    assert_eq!(number, 8);
}

#[test]
fn a_connection_that_breaks_at_any_request_is_made_anew() {
    for fault in [|| Fault::CutBefore, || Fault::CutWithin, || Fault::CutAfter] {
        at_each_request(fault, |server, image, key, _, _, run| arrived(server, key, &image.bytes, &run));
    }
}

#[test]
fn a_store_that_is_busy_for_a_moment_gets_it_all_the_same() {
    let busy: [fn() -> Fault; 2] = [|| Fault::Answer(503, "SlowDown"), || Fault::Answer(500, "InternalError")];
    for fault in busy {
        at_each_request(fault, |server, image, key, _, _, run| arrived(server, key, &image.bytes, &run));
    }
}

#[test]
fn a_refusal_says_what_to_do_and_leaves_nothing_behind() {
    type Case = (fn() -> Fault, &'static str);
    let cases: [Case; 3] = [
        (|| Fault::Answer(400, "ExpiredToken"), "the credentials have expired; get new ones"),
        (|| Fault::Answer(507, "QuotaExceeded"), "the store is full"),
        (|| Fault::Answer(403, "RequestTimeTooSkewed"), "the clock of this system is wrong"),
    ];
    for (fault, words) in cases {
        at_each_request(fault, |server, image, key, number, request, run| {
            if request.line.starts_with("HEAD") {
                // Its answer has no words. What is there is not known then, but looking is not all.
                return nothing_is_left(server, &run);
            }
            // A full store is asked again, as one that fails for a moment is.
            if run.code == 0 {
                return arrived(server, key, &image.bytes, &run);
            }
            run.clone().fails_saying(&["cannot write s3://crash/object", words]);
            assert_eq!(server.object(key), None, "{number}");
            nothing_is_left(server, &run);
        });
    }
}

#[test]
fn a_part_that_arrives_damaged_is_sent_again() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let image = Image::new();
    // Once, and then always.
    for (times, is_sent) in [(1, true), (usize::MAX, false)] {
        let damaged = AtomicUsize::new(0);
        let proxy = Proxy::start(server.port, move |request| {
            let is_hit = request.is("PUT", "partNumber=2") && damaged.fetch_add(1, Ordering::SeqCst) < times;
            if is_hit { Fault::Damage } else { Fault::None }
        });
        let key = format!("damaged{times}");
        let run = image.send(&server, proxy.port, &key, &[]);
        if is_sent {
            arrived(&server, &key, &image.bytes, &run);
            assert_eq!(proxy.count("PUT", "partNumber=2"), 2);
        } else {
            run.clone().fails_saying(&["cannot write s3://crash/damaged"]);
            assert_eq!(server.object(&key), None);
            nothing_is_left(&server, &run);
        }
    }
}

#[test]
fn a_store_that_is_silent_is_asked_again() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let image = Image::new();
    let is_silent = AtomicUsize::new(0);
    let proxy = Proxy::start(server.port, move |request| {
        let is_hit = request.is("PUT", "partNumber=2") && is_silent.fetch_add(1, Ordering::SeqCst) == 0;
        if is_hit { Fault::Silence } else { Fault::None }
    });
    let (path, to) = (image.path(), address("slow"));
    let mut command = server.command(proxy.port);
    command.env("AWS_TIMEOUT", "2s").args(["--device", text(&path), "dump", "--output", &to]);
    let run = start(command.stdout(Stdio::piped())).end();
    arrived(&server, "slow", &image.bytes, &run);
    assert_eq!(proxy.count("PUT", "partNumber=2"), 2);
}

#[test]
fn what_cannot_work_is_said_before_anything_is_read() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let image = Image::new();
    let send = |variables: &[(&str, &str)], to: &str| {
        let mut command = server.command(server.port);
        command.envs(variables.iter().copied()).args(["--device", text(&image.path()), "dump", "--output", to]);
        start(command.stdout(Stdio::piped())).end()
    };
    send(&[("AWS_SECRET_ACCESS_KEY", "another")], "s3://crash/a")
        .fails_saying(&["s3://crash/a", "secret key is not the one of this access key"]);
    send(&[("AWS_ACCESS_KEY_ID", "AKIANOBODY")], "s3://crash/a").fails_saying(&["s3://crash/a", "credentials"]);
    if let Some(moto) = Server::start(Kind::Moto) {
        let to = "s3://nowhere/a";
        let run = moto.memtool(moto.port, &["--device", text(&image.path()), "dump", "--output", to]);
        run.fails_saying(&["s3://nowhere/a", "there is no such bucket"]);
    }
    send(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")], "s3://crash/a").fails_saying(&["s3://crash/a", "onnect"]);
    send(&[], "s3://crash/folder/")
        .fails_saying(&["s3://crash/folder/ stands for a folder: a name is missing behind it"]);
    for (to, why) in [
        ("s3://", "'' is no name of a bucket"),
        ("s3://crash", "'' is no name of an object"),
        ("s3://crash/a//b", "'a//b' is no name of an object"),
        ("s3://crash/../b", "'../b' is no name of an object"),
        ("gs://a b/c", "'a b' is no name of a bucket"),
        ("ftp://host/file", "unknown scheme 'ftp://'"),
        ("https://user:password@host/a", "can be read by every user of this system"),
        ("https://host/a?X-Amz-Signature=1", "can be read by every user of this system"),
        ("https://host/", "the path behind the host is missing"),
    ] {
        send(&[], to).usage_error(&[why]);
    }
    // Without a network there is no service that gives credentials out, either.
    let mut command = server.command(server.port);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1");
    command.args(["--device", text(&image.path()), "dump", "--output", "s3://crash/a"]);
    start(command.stdout(Stdio::piped())).end().fails_saying(&["there are no credentials: set AWS_ACCESS_KEY_ID"]);
    assert_eq!(server.object("a"), None);
}

#[test]
fn a_signal_has_the_store_forget_what_it_has() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let image = Image::new();
    let (came, coming) = channel();
    let proxy = Proxy::start(server.port, move |request| {
        if request.is("PUT", "partNumber=2") {
            let _ = came.send(());
            return Fault::Silence;
        }
        Fault::None
    });
    let mut command = server.command(proxy.port);
    command.args(["--device", text(&image.path()), "dump", "--output", &address("ended")]);
    let running = start(command.stdout(Stdio::piped()));
    coming.recv().unwrap();
    running.signal(Signal::SIGINT);
    let run = running.end().exits(130);
    assert_eq!(server.object("ended"), None);
    assert_eq!(proxy.count("DELETE", "uploadId="), 1);
    nothing_is_left(&server, &run);
}

/// Sends an image with a file to go on from, and kills memtool when the store is asked for a part.
fn killed_at(server: &Server, image: &Image, state: &Path, part: usize) {
    let (came, coming) = channel();
    let wanted = format!("partNumber={part}");
    let proxy = Proxy::start(server.port, move |request| {
        if request.is("PUT", &wanted) {
            let _ = came.send(());
            return Fault::Silence;
        }
        Fault::None
    });
    let mut command = server.command(proxy.port);
    command.args(["--device", text(&image.path()), "dump", "--output", &address("resumed"), "--resume", text(state)]);
    let mut running = start(command.stdout(Stdio::piped()));
    coming.recv().unwrap();
    let written = || std::fs::read_to_string(state).is_ok_and(|text| text.lines().count() == 3);
    running.until(written);
    running.signal(Signal::SIGKILL);
    running.end();
}

#[test]
fn what_was_killed_goes_on_and_sends_only_what_the_store_has_not() {
    for server in Server::all() {
        let (image, state) = (Image::new(), directory());
        let state = state.path().join("state");
        killed_at(&server, &image, &state, 2);
        let kept = std::fs::read_to_string(&state).unwrap();
        assert!(!kept.contains(SECRET) && !kept.contains(KEY), "{kept}");
        assert_eq!(server.object("resumed"), None);
        // A line that was cut off is a part that is sent again.
        let options = ["--resume", text(&state)];
        let half: String = kept.chars().take(kept.len() - 10).collect();
        std::fs::write(&state, half).unwrap();
        // Parts arrive in any order.
        let last: serde_json::Value = serde_json::from_str(kept.lines().last().unwrap()).unwrap();
        let refused = format!("partNumber={}", last["part"].as_u64().unwrap() + 1);
        let proxy = Proxy::start(server.port, move |request| {
            if request.is("PUT", &refused) { Fault::Answer(403, "AccessDenied") } else { Fault::None }
        });
        let run = image.send(&server, proxy.port, "resumed", &options);
        run.fails_saying(&["these credentials do not permit that"]);
        assert_eq!(server.object("resumed"), None);
        let sent = proxy.count("PUT", "partNumber=");
        assert!((2..=3).contains(&sent), "{sent}");

        let proxy = Proxy::start(server.port, |_| Fault::None);
        let run = image.send(&server, proxy.port, "resumed", &options);
        arrived(&server, "resumed", &image.bytes, &run);
        assert_eq!(proxy.count("PUT", "partNumber="), 1, "{:?}", proxy.seen());
        assert_eq!(proxy.count("POST", "?uploads"), 0);
        assert!(!state.exists());
    }
}

#[test]
fn what_has_changed_since_is_sent_again() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let (mut image, state) = (Image::new(), directory());
    let state = state.path().join("state");
    killed_at(&server, &image, &state, 3);
    image.bytes[0] ^= 1;
    std::fs::write(image.path(), &image.bytes).unwrap();
    let proxy = Proxy::start(server.port, |_| Fault::None);
    let run = image.send(&server, proxy.port, "resumed", &["--resume", text(&state)]);
    arrived(&server, "resumed", &image.bytes, &run);
    assert_eq!(proxy.count("PUT", "partNumber=2"), 0);
    assert_eq!(proxy.count("PUT", "partNumber=1"), 1);
}

#[test]
fn only_the_state_of_that_upload_is_gone_on_from() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let (image, folder) = (Image::new(), directory());
    let state = folder.path().join("state");
    killed_at(&server, &image, &state, 3);
    let kept = std::fs::read(&state).unwrap();
    let run = image.send(&server, server.port, "other", &["--resume", text(&state)]);
    run.fails_saying(&["is of an upload to s3://crash/resumed, not to s3://crash/other"]);
    // It stays as it was.
    assert_eq!(std::fs::read(&state).unwrap(), kept);
    for other in [&b"{}\n"[..], b"some text\n", &[0xff; 100_000]] {
        std::fs::write(&state, other).unwrap();
        let run = image.send(&server, server.port, "resumed", &["--resume", text(&state)]);
        if other.ends_with(b"\n") {
            run.fails_saying(&["is not the state of an upload that memtool began"]);
            assert_eq!(std::fs::read(&state).unwrap(), other);
        }
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
    image.send(&server, server.port, "new", &["--resume", text(&link)]).fails_saying(&["link"]);
    assert_eq!(server.object("new"), None);
    let file = folder.path().join("file");
    let run = image.send(&server, server.port, "new", &["--resume", text(&state), "--output", text(&file)]);
    run.usage_error(&["--output"]);
}

/// A dump device with a minidump on it.
fn dump_device(folder: &Path) -> (PathBuf, Vec<u8>) {
    let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
    let device = DumpDevice::example(KernelDumpHeader::example(Arch::Amd64, 4, 0), 512, &dump).build();
    let path = folder.join("device");
    std::fs::write(&path, device).unwrap();
    (path, dump)
}

#[test]
fn a_crash_dump_stays_on_its_device_until_the_store_has_it() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let folder = directory();
    let (device, dump) = dump_device(folder.path());
    let before = std::fs::read(&device).unwrap();
    let save = |port: u16, options: &[&str]| {
        let to = address("host/");
        let mut arguments = vec!["save", "--output", &to, text(&device)];
        arguments.extend(options);
        server.memtool(port, &arguments)
    };
    // Whichever request is refused, it stays.
    let mut number = 0;
    loop {
        let proxy = Proxy::start(server.port, move |request| {
            if request.number >= number && request.line.starts_with("PUT") {
                Fault::Answer(403, "AccessDenied")
            } else {
                Fault::None
            }
        });
        let run = save(proxy.port, &[]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stdout.is_empty() && run.stderr.contains("do not permit that"), "{run:?}");
        assert!(std::fs::read(&device).unwrap() == before);
        number += 1;
        if number == 3 {
            break;
        }
    }
    save(server.port, &["--dry-run"]).ok();
    assert!(std::fs::read(&device).unwrap() == before);
    let planned = save(server.port, &["--dry-run", "--json"]).ok().json();
    let name = planned["devices"][0]["saved"]["output"].as_str().unwrap().to_owned();
    let key = name.strip_prefix("s3://crash/").unwrap();
    assert!(key.starts_with("host/vmcore.") && key.ends_with('Z'), "{key}");

    // It was sent, and memtool was ended before it could say so on the device.
    save(server.port, &["--keep"]).ok();
    assert!(server.object(key).unwrap() == dump);
    assert!(std::fs::read(&device).unwrap() == before);
    let proxy = Proxy::start(server.port, |_| Fault::None);
    let again = save(proxy.port, &[]).ok();
    assert!(again.stdout.contains("it is there already, as it would be sent"), "{again:?}");
    assert_eq!(proxy.count("PUT", ""), 0);
    assert!(std::fs::read(&device).unwrap() != before);
    let info = server.object(&key.replace("vmcore.", "info.")).unwrap();
    assert!(String::from_utf8(info).unwrap().contains("Dump Status: good"));
    assert!(save(server.port, &[]).ok().stdout.contains("no dump"));
    // What is found is the dump.
    let inspection = server.memtool(server.port, &["inspect", "--json", "--verify", &name]).ok().json();
    assert_eq!(inspection["dump"]["kind"], "minidump");

    // Another dump of that name is not this one.
    std::fs::write(&device, &before).unwrap();
    server.put(key, b"another");
    let refused = save(server.port, &[]);
    assert!(
        refused.code == 1 && refused.stderr.contains("already exists, and nothing in a store is replaced"),
        "{refused:?}"
    );
    assert!(std::fs::read(&device).unwrap() == before);
}

/// How many bytes a range asks for: `bytes=FIRST-LAST`.
fn length_of(range: &str) -> u64 {
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1
}

#[test]
fn commands_read_from_a_store_what_they_need_of_it() {
    for server in Server::all() {
        let folder = directory();
        let local = folder.path().join("live");
        crate::common::demo(&["livedump", "--method", "user", "-o", text(&local)]).ok();
        let dump = std::fs::read(&local).unwrap();
        server.put("live", &dump);
        let proxy = Proxy::start(server.port, |_| Fault::None);
        let same = |arguments: &[&str], local: &Path, remote: &str| {
            let ask = |core: &str| {
                let arguments = [arguments, &[core]].concat();
                server.memtool(proxy.port, &arguments).ok().stdout.replace(core, "CORE")
            };
            assert_eq!(ask(text(local)), ask(remote), "{arguments:?}");
        };
        same(&["inspect"], &local, &address("live"));
        let ranges = proxy.seen().iter().filter_map(|request| request.header("range").map(length_of)).sum::<u64>();
        assert!(ranges * 2 < dump.len() as u64, "{ranges} of {} bytes", dump.len());
        if server.kind == Kind::Moto {
            continue;
        }
        // The server reads all of an object for each of its ranges, so the rest is of a small one.
        let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
        let (local, remote) = (folder.path().join("small"), address("small"));
        std::fs::write(&local, &dump).unwrap();
        server.put("small", &dump);
        same(&["inspect", "--verify"], &local, &remote);
        same(&["read", "--phys", "0x1000", "--length", "64", "--core"], &local, &remote);
        let converted = folder.path().join("converted");
        let run = server.memtool(proxy.port, &["convert", &remote, text(&converted), "--format", "lime"]);
        run.ok();
        let expected = folder.path().join("expected");
        server.memtool(proxy.port, &["convert", text(&local), text(&expected), "--format", "lime"]).ok();
        assert!(std::fs::read(&converted).unwrap() == std::fs::read(&expected).unwrap());

        // Into the store, and what is compressed and encrypted there.
        let to = address("again.zst.age");
        let public = KEYS.public("mine");
        server
            .memtool(server.port, &["convert", &remote, &to, "--format", "lime", "--zstd", "--recipient", &public])
            .ok();
        let identity = KEYS.file("mine");
        let found = server.memtool(server.port, &["inspect", "--json", &to, "--identity", &identity]).ok().json();
        assert_eq!(found["dump"]["kind"], "lime");
        let report = address("report.html");
        let run = server.memtool(server.port, &["report", &remote, "--html", "--output", &report]);
        assert!(run.code < 2, "{run:?}");
        assert!(server.object("report.html").unwrap().starts_with(b"<!DOCTYPE html>"));

        server
            .memtool(server.port, &["inspect", &address("nothing")])
            .fails_saying(&["cannot read s3://crash/nothing: there is no such object"]);
        let proxy = Proxy::start(server.port, |request| {
            if request.header("range").is_some() { Fault::Answer(412, "PreconditionFailed") } else { Fault::None }
        });
        server.memtool(proxy.port, &["inspect", &remote]).fails_saying(&["was replaced while it was read"]);
    }
}

#[test]
fn a_system_without_authorities_reaches_a_store_without_tls() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let image = Image::new();
    let nobody = image.folder.path().join("empty");
    std::fs::write(&nobody, "").unwrap();
    let (path, to) = (image.path(), address("plain"));
    let mut command = server.command(server.port);
    command.env("SSL_CERT_FILE", &nobody).env_remove("SSL_CERT_DIR").args([
        "--device",
        text(&path),
        "dump",
        "--output",
        &to,
    ]);
    let run = start(command.stdout(Stdio::piped())).end();
    arrived(&server, "plain", &image.bytes, &run);
    let mut command = server.command(server.port);
    command.env("SSL_CERT_FILE", &nobody).env("AWS_ENDPOINT_URL", "https://127.0.0.1:1").args(["inspect", &to]);
    start(command.stdout(Stdio::piped())).end().fails_saying(&["cannot look at s3://crash/plain"]);
}
