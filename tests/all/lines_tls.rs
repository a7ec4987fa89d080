//! Dumps that are sent over TLS, to receivers of openssl(1) and of rustls.

use crate::common::certificates::{CERTIFICATES, Receiver};
use crate::common::{Run, command, directory, memtool, noise, run, start, text, write_file};
use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// A dump of these bytes, and the folder with them.
fn dump(bytes: &[u8], to: &str, arguments: &[&str]) -> (Command, tempfile::TempDir) {
    let folder = directory();
    let mut dump = command();
    // What the system trusts is the test's.
    dump.env("SSL_CERT_FILE", CERTIFICATES.path("stranger.pem")).env_remove("SSL_CERT_DIR");
    dump.arg("--device").arg(write_file(folder.path(), bytes)).args(["dump", "-o", to]).args(arguments);
    (dump, folder)
}

#[track_caller]
fn send(bytes: &[u8], to: &str, arguments: &[&str]) -> Run {
    let (mut dump, _folder) = dump(bytes, to, arguments);
    run(&mut dump)
}

/// The names of files of the certificates instead of their own names.
fn with_files(arguments: &[&str]) -> Vec<String> {
    let file = |word: &&str| match CERTIFICATES.path(word) {
        path if !word.starts_with('-') && path.exists() => text(&path).to_owned(),
        _ => (*word).to_owned(),
    };
    arguments.iter().map(file).collect()
}

/// Asserts that a receiver of openssl(1) with that certificate gets all of it.
#[track_caller]
fn arrives(bytes: &[u8], certificate: &str, of_receiver: &[&str], host: &str, arguments: &[&str]) {
    let [of_receiver, arguments] = [of_receiver, arguments].map(with_files);
    let of_receiver: Vec<&str> = of_receiver.iter().map(String::as_str).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let receiver = Receiver::start(certificate, &of_receiver);
    let run = send(bytes, &receiver.address(host), &arguments).ok();
    assert_eq!(run.stderr, "");
    let (received, has_end) = receiver.end();
    assert!(received == bytes && has_end, "{} of {} bytes", received.len(), bytes.len());
}

/// Asserts that the receiver gets nothing, and these texts are said.
#[track_caller]
fn fails(certificate: &str, of_receiver: &[&str], host: &str, arguments: &[&str], texts: &[&str]) {
    let [of_receiver, arguments] = [of_receiver, arguments].map(with_files);
    let of_receiver: Vec<&str> = of_receiver.iter().map(String::as_str).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // One that is gone before memtool notices, and one that the systems between them cannot hold.
    for length in [4096, 16 << 20] {
        let receiver = Receiver::start(certificate, &of_receiver);
        send(&noise(length), &receiver.address(host), &arguments).fails_saying(texts);
        assert_eq!(receiver.end().0.len(), 0);
    }
}

/// As memtool prints it.
fn fingerprint(name: &str) -> String {
    let digits = CERTIFICATES.fingerprint(name).replace(':', "").to_lowercase();
    let hash: String = Sha256::digest(CERTIFICATES.der(name)).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digits, hash);
    digits
}

#[test]
fn a_dump_arrives_at_whom_a_file_or_a_fingerprint_names() {
    let bytes = noise(3 << 20);
    for version in VERSIONS {
        let version = &[version][..];
        arrives(&bytes, "server", version, "127.0.0.1", &["--certificate", "authority.pem"]);
        arrives(&bytes, "server", version, "localhost", &["--certificate", "authority.pem"]);
        // It itself, whoever has signed it, and whatever it may sign.
        arrives(&bytes, "server", version, "127.0.0.1", &["--certificate", "server.pem"]);
        arrives(&bytes, "alone", version, "127.0.0.1", &["--certificate", "alone.pem"]);
        let chain = [version, &["-cert_chain", "middle.pem"]].concat();
        arrives(&bytes, "below", &chain, "127.0.0.1", &["--certificate", "authority.pem"]);
        arrives(&bytes, "below", version, "127.0.0.1", &["--certificate", "middle.pem"]);
    }
    for name in ["server", "alone", "nameless", "elsewhere", "expired", "early"] {
        arrives(&bytes, name, &[], "127.0.0.1", &["--fingerprint", &fingerprint(name)]);
    }
    let colons = CERTIFICATES.fingerprint("server");
    arrives(&bytes, "server", &[], "127.0.0.1", &["--fingerprint", &colons]);
    arrives(&bytes, "server", &["-tls1_2"], "127.0.0.1", &["--fingerprint", &format!("sha256:{colons}")]);
    // Of any size; records have 16 KiB.
    for length in [4096, 16384, 16384 + 4096, (1 << 18) + 4096, 20 << 20] {
        arrives(&noise(length), "server", &[], "127.0.0.1", &["--certificate", "authority.pem"]);
    }
    arrives(
        &bytes,
        "server",
        &["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "-tls1_2"],
        "127.0.0.1",
        &["--certificate", "authority.pem"],
    );
}

#[test]
fn all_commands_send_and_the_system_is_trusted_unless_told_otherwise() {
    let receiver = Receiver::start("server", &[]);
    let (mut dump, folder) = dump(&noise(1 << 20), &receiver.address("127.0.0.1"), &["--zstd"]);
    run(dump.env("SSL_CERT_FILE", CERTIFICATES.path("authority.pem"))).ok();
    assert!(zstd::decode_all(&*receiver.end().0).unwrap() == noise(1 << 20));

    let minidump =
        write_file(folder.path(), &vmcore_synth::MinidumpSpec::example(vmcore_synth::Arch::Amd64, 3).build());
    let print = fingerprint("server");
    let receiver = Receiver::start("server", &[]);
    let to = receiver.address("127.0.0.1");
    memtool(&["convert", "--format", "raw", text(&minidump), &to, "--fingerprint", &print]).ok();
    let raw = memtool(&["convert", "--format", "raw", text(&minidump)]).ok().bytes;
    assert!(receiver.end().0 == raw);

    let receiver = Receiver::start("server", &[]);
    let to = receiver.address("127.0.0.1");
    let live = ["--machine", "demo", "livedump", "--json", "--certificate", &CERTIFICATES.file("authority.pem"), &to];
    assert_eq!(memtool(&live).ok().json()["output"], to);
    let received = write_file(folder.path(), &receiver.end().0);
    memtool(&["inspect", text(&received)]).ok();

    // Standard input is a file, too.
    let receiver = Receiver::start("alone", &[]);
    let (mut dump, _folder) = self::dump(&noise(4096), &receiver.address("127.0.0.1"), &["--certificate", "-"]);
    dump.stdin(std::fs::File::open(CERTIFICATES.path("alone.pem")).unwrap());
    run(&mut dump).ok();
    assert_eq!(receiver.end().0, noise(4096));
}

#[test]
fn who_is_not_trusted_gets_nothing_and_it_is_said_how_it_would_be() {
    let of_authority = &["--certificate", "authority.pem"][..];
    let print = fingerprint("server");
    let helps = ["--fingerprint", "--certificate", &*print];
    for version in VERSIONS {
        let version = &[version][..];
        // By the system, and by a file.
        fails("server", version, "127.0.0.1", &[], &[&["signed by nobody that is trusted"], &helps[..]].concat());
        let stranger = ["--certificate", "stranger.pem"];
        fails("server", version, "127.0.0.1", &stranger, &[&["signed by nobody that is trusted"], &helps[..]].concat());
        fails(
            "expired",
            version,
            "127.0.0.1",
            of_authority,
            &["has expired, on 2021-02-03T04:05:06Z", &fingerprint("expired")],
        );
        fails("early", version, "127.0.0.1", of_authority, &["is not valid before 2110-02-03T04:05:06Z"]);
        fails("elsewhere", version, "127.0.0.1", of_authority, &["not for the name 127.0.0.1", "elsewhere.example"]);
        fails(
            "server",
            version,
            "127.0.0.1",
            &["--fingerprint", &fingerprint("stranger")],
            &["not the one of --fingerprint", &print],
        );
        // A certificate that is given itself has to be valid as well, and of the name.
        fails("expired", version, "127.0.0.1", &["--certificate", "expired.pem"], &["has expired"]);
        fails("elsewhere", version, "127.0.0.1", &["--certificate", "elsewhere.pem"], &["not for the name"]);
        fails("nameless", version, "127.0.0.1", &["--certificate", "nameless.pem"], &["127.0.0.1, but for no name"]);
        fails("below", version, "127.0.0.1", of_authority, &["signed by nobody that is trusted"]);
        // Who is signed by one that may not sign.
        fails("alone", version, "127.0.0.1", &["--certificate", "server.pem"], &["signed by nobody that is trusted"]);
    }
}

#[test]
fn a_receiver_that_wants_a_certificate_gets_it_or_says_so() {
    let own = ["--certificate", "authority.pem", "--client-certificate", "client.pem", "--client-key", "client.key"];
    let stranger =
        ["--certificate", "authority.pem", "--client-certificate", "stranger.pem", "--client-key", "stranger.key"];
    for version in VERSIONS {
        let asks = [version, "-Verify", "1", "-verify_return_error", "-CAfile", "authority.pem"];
        for length in [4096, 3 << 20] {
            arrives(&noise(length), "server", &asks, "127.0.0.1", &own);
        }
        fails(
            "server",
            &asks,
            "127.0.0.1",
            &own[..2],
            &["receiver wants a certificate of the sender", "--client-certificate"].map(|text| {
                if version == "-tls1_2" && text.starts_with("receiver") { "wants a certificate" } else { text }
            }),
        );
        fails("server", &asks, "127.0.0.1", &stranger, &["the receiver does not accept the sender's certificate"]);
        // One that does not ask is not shown any.
        arrives(&noise(4096), "server", &[version], "127.0.0.1", &own);
    }
}

#[test]
fn options_and_files_that_cannot_be_meant_are_refused() {
    let file = |name: &str| CERTIFICATES.file(name);
    let print = fingerprint("server");
    let folder = directory();
    let out = folder.path().join("out");
    let image = write_file(folder.path(), &noise(4096));
    let dump = |to: &str, arguments: &[&str]| {
        run(command().arg("--device").arg(&image).args(["dump", "-o", to]).args(arguments))
    };
    for to in [text(&out), "-", "tcp://127.0.0.1:1", "ssh://127.0.0.1/x"] {
        for option in [&["--certificate", &*file("alone.pem")][..], &["--fingerprint", &print]] {
            dump(to, option).usage_error(&[option[0], "tls://HOST:PORT"]);
        }
    }
    let to = "tls://127.0.0.1:1";
    dump(to, &["--certificate", &file("alone.pem"), "--fingerprint", &print]).usage_error(&["--fingerprint"]);
    dump(to, &["--client-certificate", &file("client.pem")]).usage_error(&["--client-key"]);
    dump(to, &["--client-key", &file("client.key")]).usage_error(&["--client-certificate"]);
    dump(to, &["--certificate", "-", "--client-certificate", "-", "--client-key", "-"])
        .usage_error(&["standard input"]);
    for wrong in ["", "00", "sha1:00", &print[1..], &format!("{}xy", &print[2..])] {
        dump(to, &["--fingerprint", wrong]).usage_error(&["64 hexadecimal digits"]);
    }
    let encrypted = folder.path().join("encrypted");
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs8", "-topk8", "-passout", "pass:secret", "-in", &file("client.key"), "-out", text(&encrypted)]);
    assert!(openssl.status().unwrap().success());
    let damaged = folder.path().join("damaged");
    std::fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let cut = folder.path().join("cut");
    std::fs::write(&cut, &std::fs::read(CERTIFICATES.path("alone.pem")).unwrap()[..200]).unwrap();
    let refused = |arguments: &[&str], texts: &[&str]| drop(dump(to, arguments).fails_saying(texts));
    refused(&["--certificate", "/nowhere"], &["cannot open /nowhere"]);
    refused(&["--certificate", "/dev/zero"], &["/dev/zero: it has more than 1 MiB"]);
    refused(&["--certificate", &file("alone.key")], &["alone.key: no certificate"]);
    for bad in [&damaged, &cut] {
        refused(&["--certificate", text(bad)], &[text(bad), "damaged"]);
    }
    let client = file("client.pem");
    let client = |key: &str, texts: &[&str]| {
        refused(&["--client-certificate", &client, "--client-key", key, "--fingerprint", &print], texts)
    };
    client(&file("client.pem"), &["client.pem: no private key"]);
    client(text(&encrypted), &["a passphrase protects the key"]);
    let receiver = Receiver::start("server", &[]);
    let to = receiver.address("127.0.0.1");
    let other =
        ["--client-certificate", &file("client.pem"), "--client-key", &file("server.key"), "--fingerprint", &print];
    dump(&to, &other).fails_saying(&["--client-certificate is not that of --client-key"]);
    dump("tls://127.0.0.1:1", &["--fingerprint", &print])
        .fails_saying(&["cannot connect to tls://127.0.0.1:1", "refused"]);
    // Without any authority.
    let mut nobody = command();
    nobody.env("SSL_CERT_FILE", "/dev/null").env_remove("SSL_CERT_DIR").arg("--device").arg(&image);
    run(nobody.args(["dump", "-o", "tls://127.0.0.1:1"]))
        .fails_saying(&["no certificates of authorities", "--fingerprint"]);
}

#[test]
fn a_receiver_that_does_not_speak_tls_is_told_from_one_that_does() {
    for (answer, text) in [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not speak TLS"), (b"", "may not speak TLS")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("tls://{}", listener.local_addr().unwrap());
        let receiver = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            // Unread, it would have the connection reset.
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(answer).unwrap();
        });
        send(&noise(4096), &to, &["--fingerprint", &"00".repeat(32)]).fails_saying(&["cannot connect to", text]);
        receiver.join().unwrap();
    }
}

#[test]
fn a_receiver_that_is_killed_is_an_error() {
    for version in VERSIONS {
        let mut receiver = Receiver::start("server", &[version]);
        let (mut dump, _folder) = dump(&[], &receiver.address("127.0.0.1"), &["--fingerprint", &fingerprint("server")]);
        let mut running = start(endless(&mut dump, &receiver));
        running.until_written(receiver.folder(), 1 << 20);
        receiver.kill();
        running.end().fails_saying(&["cannot write the dump", "the receiver's copy is incomplete"]);
    }
}

/// The same dump, without end.
fn endless<'a>(dump: &'a mut Command, receiver: &Receiver) -> &'a mut Command {
    *dump = command();
    dump.args(["--device", "/dev/urandom", "dump", "--range", "0-0x100000000000", "--no-space-check"]);
    dump.args(["-q", "-o", &receiver.address("127.0.0.1"), "--fingerprint", &fingerprint("server")])
        .stdout(Stdio::null())
}

#[test]
fn the_receiver_of_a_dump_that_ends_early_gets_an_error_and_not_an_end() {
    for version in VERSIONS {
        for (signal, code) in [(Signal::SIGKILL, -1), (Signal::SIGTERM, 1), (Signal::SIGINT, 130)] {
            let receiver = Receiver::start("server", &[version]);
            let mut dump = command();
            let mut running = start(endless(&mut dump, &receiver));
            running.until_written(receiver.folder(), 1 << 20);
            running.signal(signal);
            running.end().exits(code);
            // openssl(1) itself says nothing of a connection that was reset.
            let (received, has_end) = receiver.end();
            assert!(received.len() > 1 << 20 && !has_end, "{version}, {signal}");
        }
    }
}

// Receivers that openssl(1) does not have.

/// A certificate with a key that need not be its own.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Accepts a connection that begins with TLS, and does something with it.
fn receiver<R: Send + 'static>(
    certificate: &str,
    key: &str,
    version: &'static rustls::SupportedProtocolVersion,
    work: impl FnOnce(ServerConnection, TcpStream) -> R + Send + 'static,
) -> (String, JoinHandle<R>) {
    receiver_with(certificate, key, version, false, work)
}

/// The same, which may want a certificate of the sender.
fn receiver_with<R: Send + 'static>(
    certificate: &str,
    key: &str,
    version: &'static rustls::SupportedProtocolVersion,
    wants_certificate: bool,
    work: impl FnOnce(ServerConnection, TcpStream) -> R + Send + 'static,
) -> (String, JoinHandle<R>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(CERTIFICATES.path(certificate)).unwrap();
    let key = PrivateKeyDer::from_pem_file(CERTIFICATES.path(key)).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let shown = Shown(Arc::new(CertifiedKey::new(vec![certificate.clone()], key)));
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]).unwrap();
    let config = if wants_certificate {
        let mut known = RootCertStore::empty();
        known.add(certificate).unwrap();
        config.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(known), provider).build().unwrap(),
        )
    } else {
        config.with_no_client_auth()
    };
    let connection = ServerConnection::new(Arc::new(config.with_cert_resolver(Arc::new(shown)))).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tls://{}", listener.local_addr().unwrap());
    (to, std::thread::spawn(move || work(connection, listener.accept().unwrap().0)))
}

#[test]
fn a_certificate_without_its_key_is_worth_nothing() {
    let print = fingerprint("server");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for trust in [["--fingerprint", &*print], ["--certificate", &*CERTIFICATES.file("server.pem")]] {
            let (to, receiver) = receiver("server.pem", "stranger.key", version, |mut connection, mut stream| {
                let mut received = Vec::new();
                let _ = rustls::Stream::new(&mut connection, &mut stream).read_to_end(&mut received);
                received
            });
            send(&noise(4096), &to, &trust).fails_saying(&["does not have the key of its certificate"]);
            assert_eq!(receiver.join().unwrap(), b"");
        }
    }
}

#[test]
fn what_the_receiver_says_before_the_connection_breaks_is_the_reason() {
    let print = fingerprint("server");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (to, receiver) = receiver_with("server.pem", "server.key", version, true, |mut connection, mut stream| {
            while connection.complete_io(&mut stream).is_ok() {}
            // It has said why. What it has not read resets the connection.
        });
        send(&noise(16 << 20), &to, &["--fingerprint", &print])
            .fails_saying(&["the receiver wants a certificate of the sender (--client-certificate, --client-key)"]);
        receiver.join().unwrap();
    }
}

#[test]
fn an_end_that_the_receiver_does_not_say_is_told() {
    let print = fingerprint("server");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for says_so in [true, false] {
            let (to, receiver) = receiver("server.pem", "server.key", version, move |mut connection, mut stream| {
                let mut received = Vec::new();
                rustls::Stream::new(&mut connection, &mut stream).read_to_end(&mut received).unwrap();
                if says_so {
                    connection.send_close_notify();
                    connection.write_tls(&mut stream).unwrap();
                }
                received
            });
            let run = send(&noise(299_008), &to, &["--fingerprint", &print]).ok();
            assert!(receiver.join().unwrap() == noise(299_008));
            if says_so {
                assert_eq!(run.stderr, "");
            } else {
                run.says_in_one_line(&["has acknowledged all data", "without saying so in TLS"]);
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_given_up_has_no_end_that_tls_would_take_for_one() {
    let print = fingerprint("server");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (to, receiver) = receiver("server.pem", "server.key", version, |mut connection, mut stream| {
            rustls::Stream::new(&mut connection, &mut stream).read_to_end(&mut Vec::new()).unwrap_err().kind()
        });
        // Nothing of it can be read, which is known at the end.
        let mut dump = command();
        dump.args(["--device", "/proc/self/mem", "dump", "--range", "0+1m", "-o", &to, "--fingerprint", &print]);
        run(&mut dump).fails_saying(&["no dump was made"]);
        assert!(matches!(
            receiver.join().unwrap(),
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof
        ));
    }
}
