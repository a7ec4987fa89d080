//! `memtool receive`: dumps of netdump(4) clients, and of memtool on other hosts.

use crate::common::certificates::CERTIFICATES;
use crate::common::netdump::{Client, DATA, FINISHED, Faults, HEADER, HERALD, KEY, packet};
use crate::common::s3::{BUCKET, Kind, Server};
use crate::common::{Run, Running, command, directory, memtool, names, noise, run, start, text};
use nix::sys::signal::Signal;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use vmcore_synth::device::{DumpDevice, key_block};
use vmcore_synth::kerneldump::Compression;
use vmcore_synth::{Arch, KernelDumpHeader, MinidumpSpec};

const NONE: Faults = Faults { lost: 0, doubled: 0, displaced: 0 };
const BAD: Faults = Faults { lost: 15, doubled: 20, displaced: 50 };

/// A dump as a kernel sends it, its header, and its key.
struct Dump {
    sent: Vec<u8>,
    header: Vec<u8>,
    key: Vec<u8>,
    /// What is to be kept.
    kept: Vec<u8>,
}

impl Dump {
    fn new(compression: Compression, key: &[u8]) -> Self {
        let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
        let header = KernelDumpHeader { compression, ..KernelDumpHeader::example(Arch::Amd64, 4, 0) };
        let mut device = DumpDevice::example(header, 4096, &dump);
        device.key = key.to_vec();
        let mut sent = device.data.clone();
        sent.resize(sent.len().next_multiple_of(4096), 0);
        let kept = if compression == Compression::None { sent.clone() } else { device.data.clone() };
        let mut key = key.to_vec();
        key.resize(key.len().next_multiple_of(4096), 0);
        Self { sent, header: device.header().build(), key, kept }
    }

    fn plain() -> Self {
        Self::new(Compression::None, &[])
    }
}

/// A port that nobody has.
fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn free_tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A receiver that ends after so many dumps.
fn receiver(folder: &Path, count: u32, options: &[&str]) -> (Running, SocketAddr) {
    receiver_by(&mut command(), folder, count, options)
}

fn receiver_by(command: &mut Command, folder: &Path, count: u32, options: &[&str]) -> (Running, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_udp_port()));
    command.args(["receive", "--listen", &address.to_string(), "--dir", text(folder)]);
    command.args(["--count", &count.to_string()]).args(options);
    for (option, value) in [("--silence", "2"), ("--reserve", "0"), ("--accept", "127.0.0.0/8")] {
        if !options.contains(&option) {
            command.args([option, value]);
        }
    }
    (start(command.stdout(Stdio::piped())), address)
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

/// The only name that ends so.
fn ending(folder: &Path, end: &str) -> String {
    let names = names(folder);
    let found: Vec<&String> = names.iter().filter(|name| name.ends_with(end)).collect();
    assert!(found.len() == 1, "{end}: {names:?}");
    found[0].clone()
}

#[test]
fn a_dump_arrives_whole_at_each_mtu_through_a_bad_network() {
    let dump = Dump::plain();
    for (mtu, faults) in [(1500, NONE), (1500, BAD), (4148, BAD), (9000, BAD)] {
        let folder = directory();
        let (receiver, address) = receiver(folder.path(), 1, &["--json"]);
        Client::new(address, mtu, faults).dump(&[], &dump.sent, &dump.header);
        let said = receiver.end().ok().json();
        assert_eq!(said["schema"], "memtool.receive");
        assert!(said["complete"] == true && said["saved"]["good"] == true, "{said}");
        assert!(read(folder.path(), "vmcore.0") == dump.kept, "{mtu}");
        let all = ["bounds", "info.0", "info.last", "vmcore.0", "vmcore.last"];
        assert_eq!(names(folder.path()), all, "{mtu}");
        let info = String::from_utf8(read(folder.path(), "info.0")).unwrap();
        assert!(info.contains("Dump header from device: netdump 127.0.0.1\n"), "{info}");
        assert!(info.contains("Dump Status: good"), "{info}");
        memtool(&["inspect", "--verify", text(&folder.path().join("vmcore.0"))]).ok();
    }
}

#[test]
fn a_compressed_dump_is_cut_to_its_length_and_an_encrypted_one_keeps_its_key() {
    let zstd = Dump::new(Compression::Zstd, &[]);
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 1, &[]);
    Client::new(address, 1500, NONE).dump(&[], &zstd.sent, &zstd.header);
    let said = receiver.end().ok();
    assert!(said.stdout.contains("vmcore.0.zst: ") && said.stdout.contains(" from 127.0.0.1"), "{said:?}");
    assert!(read(folder.path(), "vmcore.0.zst") == zstd.kept && zstd.kept.len() < zstd.sent.len());

    let encrypted = Dump::new(Compression::None, &key_block([7; 32], &[9; 256]));
    let folder = directory();
    let (receiver, address) = self::receiver(folder.path(), 1, &[]);
    Client::new(address, 1500, BAD).dump(&encrypted.key, &encrypted.sent, &encrypted.header);
    receiver.end().ok();
    assert!(read(folder.path(), "vmcore_encrypted.0") == encrypted.kept);
    assert!(read(folder.path(), "key.0") == encrypted.key[..4096]);
}

#[test]
fn a_key_may_come_after_the_data_as_from_kernels_of_12() {
    let encrypted = Dump::new(Compression::None, &key_block([7; 32], &[9; 256]));
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 1, &[]);
    let mut client = Client::new(address, 1500, NONE);
    client.herald("");
    client.data(&encrypted.sent, 0);
    assert!(client.send(HEADER, 0, &encrypted.header) && client.send(KEY, 0, &encrypted.key));
    assert!(client.send(FINISHED, 0, &[]));
    receiver.end().ok();
    assert!(read(folder.path(), "vmcore_encrypted.0") == encrypted.kept);
    assert!(read(folder.path(), "key.0") == encrypted.key[..4096]);
    // And without it the dump is worth nothing.
    let folder = directory();
    let (receiver, address) = self::receiver(folder.path(), 1, &[]);
    let mut client = Client::new(address, 1500, NONE);
    client.herald("");
    client.data(&encrypted.sent, 0);
    assert!(client.send(HEADER, 0, &encrypted.header) && client.send(FINISHED, 0, &[]));
    let said = receiver.end();
    assert!(said.code == 1 && said.stderr.contains("0 of the 4096 bytes of its key are here"), "{said:?}");
}

#[test]
fn what_is_plain_is_never_cut_to_the_length_that_its_header_says() {
    let mut dump = Dump::plain();
    dump.sent.extend(noise(1 << 20));
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 1, &["--json"]);
    Client::new(address, 1500, BAD).dump(&[], &dump.sent, &dump.header);
    let said = receiver.end();
    assert!(read(folder.path(), "vmcore.0") == dump.sent, "{said:?}");
}

#[test]
fn a_dump_is_compressed_encrypted_or_decompressed_as_save_does_it() {
    let dump = Dump::new(Compression::Gzip, &[]);
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 1, &["--uncompress"]);
    Client::new(address, 9000, NONE).dump(&[], &dump.sent, &dump.header);
    receiver.end().ok();
    assert!(read(folder.path(), "vmcore.0") == MinidumpSpec::example(Arch::Amd64, 3).build());
    let plain = Dump::plain();
    let folder = directory();
    let (receiver, address) = self::receiver(folder.path(), 1, &["-Z"]);
    Client::new(address, 9000, NONE).dump(&[], &plain.sent, &plain.header);
    receiver.end().ok();
    memtool(&["inspect", "--verify", text(&folder.path().join("vmcore.0.zst"))]).ok();
    assert_eq!(names(folder.path()), ["bounds", "info.0", "info.last", "vmcore.0.zst", "vmcore.last.zst"]);
}

#[test]
fn two_clients_dump_at_the_same_time() {
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 2, &[]);
    let dump = Dump::plain();
    thread::scope(|scope| {
        for mtu in [1500, 9000] {
            let dump = &dump;
            scope.spawn(move || Client::new(address, mtu, BAD).dump(&[], &dump.sent, &dump.header));
        }
    });
    receiver.end().ok();
    for name in ["vmcore.0", "vmcore.1"] {
        assert!(read(folder.path(), name) == dump.kept, "{name}");
    }
}

#[test]
fn a_client_that_stops_leaves_a_dump_that_is_called_incomplete_and_says_what_is_missing() {
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 1, &[]);
    let mut client = Client::new(address, 1500, NONE);
    client.herald("/crash/of/host");
    let bytes = noise(1 << 17);
    client.data(&bytes[..1 << 16], 0);
    // It goes on further behind, and stops.
    client.data(&bytes[1 << 16..], 1 << 20);
    let said = receiver.end();
    assert_eq!(said.code, 1, "{said:?}");
    let name = ending(folder.path(), ".incomplete");
    assert!(name.starts_with("vmcore.127.0.0.1."), "{name}");
    assert!(
        said.stderr.contains("the client did not finish") && said.stderr.contains("its header is missing"),
        "{said:?}"
    );
    let there = read(folder.path(), &name);
    assert!(there[..1 << 16] == bytes[..1 << 16] && there[1 << 20..] == bytes[1 << 16..]);
    let inspected = memtool(&["inspect", text(&folder.path().join(&name))]);
    assert!(inspected.code == 1, "{inspected:?}");
    for text in ["incomplete: the client did not finish", "0x10000..0x100000"] {
        assert!(inspected.stderr.contains(text), "{text}: {inspected:?}");
    }
    let document = memtool(&["inspect", "--json", text(&folder.path().join(&name))]);
    let document: serde_json::Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(document["incomplete"]["holes"][0]["start"], "0x10000", "{document}");
    assert_eq!(document["incomplete"]["holes"][0]["end"], "0x100000");
}

#[test]
fn a_dump_without_a_header_or_with_a_damaged_one_is_not_complete() {
    let dump = Dump::plain();
    for (header, why) in [(None, "its header is missing"), (Some(()), "its header is damaged")] {
        let folder = directory();
        let (receiver, address) = receiver(folder.path(), 1, &[]);
        let mut client = Client::new(address, 1500, NONE);
        client.herald("");
        client.data(&dump.sent, 0);
        if header.is_some() {
            let mut damaged = dump.header.clone();
            damaged[40] ^= 1;
            assert!(client.send(HEADER, 0, &damaged));
        }
        assert!(client.send(FINISHED, 0, &[]));
        let said = receiver.end();
        assert!(said.code == 1 && said.stderr.contains(why), "{said:?}");
        let name = ending(folder.path(), ".incomplete");
        assert!(read(folder.path(), &name) == dump.sent);
    }
}

#[test]
fn a_machine_that_panics_again_before_its_dump_is_over_begins_another_one() {
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 2, &["--silence", "60"]);
    let dump = Dump::plain();
    let mut first = Client::new(address, 1500, NONE);
    first.herald("");
    first.data(&dump.sent[..1 << 16], 0);
    // The same port, and the same numbers.
    let mut second = Client::from(first.into_socket(), address, 1500, NONE);
    second.dump(&[], &dump.sent, &dump.header);
    let said = receiver.end();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(read(folder.path(), "vmcore.0") == dump.kept);
    let name = ending(folder.path(), ".incomplete");
    assert!(read(folder.path(), &name) == dump.sent[..1 << 16]);
}

#[test]
fn a_herald_that_comes_late_again_ends_nothing() {
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 1, &[]);
    let dump = Dump::plain();
    let mut client = Client::new(address, 1500, NONE);
    client.herald("");
    client.data(&dump.sent[..1 << 16], 0);
    let socket = client.into_socket();
    socket.send_to(&packet(HERALD, 1, 0, &[]), address).unwrap();
    let mut answer = [0; 4];
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.recv_from(&mut answer).unwrap();
    assert_eq!(answer, [0, 0, 0, 1]);
    let said = receiver.end();
    assert!(said.code == 1 && said.stderr.contains("the client did not finish"), "{said:?}");
    assert!(read(folder.path(), &ending(folder.path(), ".incomplete")) == dump.sent[..1 << 16]);
}

#[test]
fn who_may_not_send_is_not_answered() {
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 1, &["--accept", "192.0.2.0/24"]);
    let mut client = Client::new(address, 1500, NONE);
    assert!(!client.send(HERALD, 0, &[]));
    receiver.signal(Signal::SIGTERM);
    let said = receiver.end();
    assert!(said.stderr.contains("127.0.0.1: nothing is received from it"), "{said:?}");
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn strange_packets_change_nothing() {
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 1, &["--max-size", "1g"]);
    let dump = Dump::plain();
    let mut client = Client::new(address, 1500, NONE);
    client.herald("");
    client.data(&dump.sent[..1 << 16], 0);
    // From its own address, to the port of heralds and to its own.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for bytes in [&b""[..], b"x", &[0; 24], &[0xff; 2000], &packet(DATA, 5, 0, b"data"), &packet(9, 1, 0, &[])] {
        socket.send_to(bytes, address).unwrap();
    }
    for packet in [
        packet(DATA, 200_000, 0, b"far ahead"),
        packet(DATA, 60, u64::MAX, b"behind the end of everything"),
        packet(DATA, 60, 2 << 30, b"too far"),
        packet(HEADER, 60, 0, b"too short"),
        packet(DATA, 10, 0, b"it is here already"),
    ] {
        client.raw(&packet);
    }
    client.data(&dump.sent[1 << 16..], 1 << 16);
    assert!(client.send(HEADER, 0, &dump.header) && client.send(FINISHED, 0, &[]));
    receiver.end().ok();
    assert!(read(folder.path(), "vmcore.0") == dump.kept);
}

#[test]
fn what_there_is_no_room_for_is_not_acknowledged() {
    let bytes = noise(1 << 18);
    // The limit of the system on files stands for a full disk; in blocks of 512 bytes.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 256; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_memtool")]);
    for (command, options, acknowledged, why) in [
        (&mut command(), &["--max-size", "128k"][..], 2 << 16, "and a dump may have 131072"),
        (&mut limited, &[], 2 << 16, "it cannot be stored: File too large"),
        (&mut self::command(), &["--reserve", "4000t"], 0, "there is no more room in the directory (--reserve)"),
    ] {
        let folder = directory();
        let (receiver, address) = receiver_by(command, folder.path(), 1, options);
        let mut client = Client::new(address, 1500, NONE);
        client.herald("");
        client.data(&bytes[..acknowledged], 0);
        assert!(!client.send(DATA, acknowledged as u64, &bytes[acknowledged..acknowledged + (1 << 16)]), "{why}");
        let said = receiver.end();
        assert!(said.code == 1 && said.stderr.contains(why), "{why}: {said:?}");
        let there = read(folder.path(), &ending(folder.path(), ".incomplete"));
        assert!(there[..acknowledged] == bytes[..acknowledged], "{why}");
    }
}

#[test]
fn a_receiver_that_is_ended_leaves_what_has_arrived() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        let folder = directory();
        let (receiver, address) = receiver(folder.path(), 1, &[]);
        let mut client = Client::new(address, 1500, NONE);
        let dump = Dump::plain();
        client.herald("");
        client.data(&dump.sent[..1 << 17], 0);
        receiver.signal(signal);
        let said = receiver.end();
        assert_ne!(said.code, 0);
        let name = ending(folder.path(), ".incomplete");
        // What was acknowledged is there.
        assert!(read(folder.path(), &name) == dump.sent[..1 << 17], "{signal}");
        let inspected = memtool(&["inspect", text(&folder.path().join(&name))]);
        let why = if signal == Signal::SIGKILL { "what is missing is not known" } else { "the receiver was ended" };
        assert!(inspected.code == 1 && inspected.stderr.contains(why), "{inspected:?}");
    }
}

#[test]
fn a_client_that_panics_again_and_again_is_not_listened_to_for_ever() {
    let folder = directory();
    let (receiver, address) = receiver(folder.path(), 3, &["--max-per-day", "2"]);
    let dump = Dump::plain();
    for _ in 0..2 {
        Client::new(address, 9000, NONE).dump(&[], &dump.sent, &dump.header);
    }
    assert!(!Client::new(address, 9000, NONE).send(HERALD, 0, &[]));
    receiver.signal(Signal::SIGTERM);
    let said = receiver.end();
    assert!(said.stderr.contains("too many dumps in a day (--max-per-day)"), "{said:?}");
    assert!(folder.path().join("vmcore.1").exists() && !folder.path().join("vmcore.2").exists());
}

#[test]
fn complete_dumps_are_sent_on_to_a_store_and_stay_here_where_it_does_not_take_them() {
    let Some(store) = Server::start(Kind::Moto) else { return };
    let folder = directory();
    let to = format!("s3://{BUCKET}/crashes/");
    let (receiver, address) = receiver_by(&mut store.command(store.port), folder.path(), 1, &["-o", &to, "--json"]);
    let dump = Dump::plain();
    Client::new(address, 9000, NONE).dump(&[], &dump.sent, &dump.header);
    let said = receiver.end().ok().json();
    let output = said["saved"]["output"].as_str().unwrap();
    let key = output.strip_prefix(&format!("s3://{BUCKET}/")).unwrap();
    assert!(store.object(key).unwrap() == dump.kept);
    assert_eq!(names(folder.path()), Vec::<String>::new());

    let nowhere = free_tcp_port();
    let (receiver, address) = receiver_by(&mut store.command(nowhere), folder.path(), 1, &["-o", &to]);
    Client::new(address, 9000, NONE).dump(&[], &dump.sent, &dump.header);
    let said = receiver.end();
    assert!(said.code == 1 && said.stderr.contains("the dump is kept as it came"), "{said:?}");
    assert!(read(folder.path(), "vmcore.0") == dump.kept);
}

/// Has memtool send a file.
fn send(file: &Path, to: &str, options: &[&str]) -> Run {
    run(command().args(["--device", text(file), "dump", "-o", to]).args(options))
}

#[test]
fn memtool_sends_to_memtool() {
    let folder = directory();
    let file = folder.path().join("image");
    std::fs::write(&file, noise(3_000_000)).unwrap();
    let into = folder.path().join("dumps");
    std::fs::create_dir(&into).unwrap();
    let (tcp, tls) = (free_tcp_port().to_string(), free_tcp_port().to_string());
    let (certificate, key) = (CERTIFICATES.file("server.pem"), CERTIFICATES.file("server.key"));
    let authority = CERTIFICATES.file("authority.pem");
    let options = [
        "--tcp",
        &format!("127.0.0.1:{tcp}"),
        "--tls",
        &format!("127.0.0.1:{tls}"),
        "--certificate",
        &certificate,
        "--key",
        &key,
        "--client-authority",
        &authority,
    ];
    let (mut receiver, _) = receiver(&into, 2, &options);
    receiver.until(|| TcpStream::connect(format!("127.0.0.1:{tcp}")).is_ok());
    let stranger = send(&file, &format!("tls://127.0.0.1:{tls}"), &["--certificate", &authority]);
    assert_eq!(stranger.code, 1, "{stranger:?}");
    let to = format!("tls://127.0.0.1:{tls}");
    let (client, client_key) = (CERTIFICATES.file("client.pem"), CERTIFICATES.file("client.key"));
    send(&file, &to, &["--certificate", &authority, "--client-certificate", &client, "--client-key", &client_key]).ok();
    // A sender that breaks off.
    let mut broken = TcpStream::connect(format!("127.0.0.1:{tcp}")).unwrap();
    broken.write_all(&noise(100_000)).unwrap();
    reset(broken);
    let said = receiver.end();
    assert_eq!(said.code, 1, "{said:?}");
    let whole: Vec<String> = names(&into).into_iter().filter(|name| !name.contains("incomplete")).collect();
    // The first connection, which the test has looked with, is no dump.
    let sizes: Vec<usize> = whole.iter().map(|name| read(&into, name).len()).collect();
    assert_eq!(sizes, [3_000_000]);
    let broken = ending(&into, ".incomplete");
    assert!(read(&into, &broken).len() <= 100_000);
}

/// Closes a connection with a reset.
fn reset(stream: TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    drop(stream);
}

#[test]
fn root_goes_on_as_who_owns_the_directory() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let Ok(Some(nobody)) = nix::unistd::User::from_name("nobody") else { return };
    let folder = directory();
    std::os::unix::fs::chown(folder.path(), Some(nobody.uid.as_raw()), None).unwrap();
    let (receiver, address) = receiver(folder.path(), 1, &[]);
    let dump = Dump::plain();
    Client::new(address, 9000, NONE).dump(&[], &dump.sent, &dump.header);
    receiver.end().ok();
    use std::os::unix::fs::MetadataExt;
    let owner = folder.path().join("vmcore.0").metadata().unwrap().uid();
    assert_eq!(owner, nobody.uid.as_raw());
}

#[test]
fn wrong_options_are_refused() {
    let receive = |options: &[&str]| memtool(&[&["receive"], options].concat());
    receive(&[]).usage_error(&["--accept"]);
    receive(&["--accept", "192.0.2.1/24"]).usage_error(&["bits behind the first 24"]);
    receive(&["--accept", "any", "--listen", "::1"]).usage_error(&["IPv4"]);
    receive(&["--accept", "any", "--tls", "127.0.0.1:1"]).usage_error(&["--certificate"]);
    receive(&["--accept", "any", "-o", "s3://bucket/object"]).usage_error(&["a folder of an object store"]);
    receive(&["--accept", "any", "-o", "file"]).usage_error(&["a folder of an object store"]);
    let tcp = ["--accept", "any", "--tcp", "127.0.0.1:0"];
    let key = "age1swe9xylwrcq6szdxz5ccn8fxum3l78h6w22mayqtsww0whcavy6q55xl0z";
    for (options, why) in [
        (&["--recipient", key][..], "have the sender encrypt it"),
        (&["--recipient", key, "--listen", "127.0.0.1:0"], "have the sender encrypt it"),
        (&["-Z"], "none is received without --listen"),
        (&["-o", "s3://bucket/folder/"], "none is received without --listen"),
        (&["--private-key", "key.pem"], "none is received without --listen"),
    ] {
        receive(&[&tcp[..], options].concat()).usage_error(&[why]);
    }
    let nowhere = receive(&["--accept", "any", "--listen", "127.0.0.1:0", "--dir", "/nowhere"]);
    assert!(nowhere.code == 1 && nowhere.stderr.contains("/nowhere"), "{nowhere:?}");
    let busy = UdpSocket::bind("127.0.0.1:0").unwrap();
    let folder = directory();
    let address = busy.local_addr().unwrap().to_string();
    let taken = receive(&["--accept", "any", "--listen", &address, "--dir", text(folder.path())]);
    assert!(taken.code == 1 && taken.stderr.contains(&format!("cannot listen on {address}")), "{taken:?}");
}
