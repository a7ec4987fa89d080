//! Dumps on web servers: sent by PUT, read by ranges.

use crate::common::certificates::CERTIFICATES;
use crate::common::nginx::Nginx;
use crate::common::proxy::{Fault, Proxy};
use crate::common::recipients::KEYS;
use crate::common::{Run, directory, memtool, noise, start, text};
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::channel;

const MIB: usize = 1 << 20;

/// More than is sent at once.
fn image(folder: &Path) -> (String, Vec<u8>) {
    let bytes = noise(20 * MIB + 4096);
    let path = folder.join("image");
    std::fs::write(&path, &bytes).unwrap();
    (text(&path).to_owned(), bytes)
}

#[track_caller]
fn send(image: &str, to: &str, options: &[&str]) -> Run {
    let mut arguments = vec!["--device", image, "dump", "--output", to];
    arguments.extend(options);
    memtool(&arguments)
}

#[test]
fn what_is_sent_arrives_and_is_read_there() {
    let (server, folder) = (Nginx::start(""), directory());
    let (image, bytes) = image(folder.path());
    for (name, options, expected) in [
        ("long", &[][..], &bytes[..]),
        ("short", &["--dump-size", "4096"][..], &bytes[..4096]),
        ("sixteen", &["--dump-size", "16m"][..], &bytes[..16 * MIB]),
    ] {
        let to = format!("http://127.0.0.1:{}/{name}", server.port);
        let run = send(&image, &to, options).ok();
        assert!(run.stdout.starts_with(&format!("{to}: ")), "{run:?}");
        assert!(std::fs::read(server.file(name)).unwrap() == expected, "{name}");
        // Nothing is replaced, even if that is wished.
        let again = send(&image, &to, &["--force"]);
        again.fails_saying(&["already exists, and nothing there is replaced; give another name"]);
    }
    let local = folder.path().join("live");
    crate::common::demo(&["livedump", "--method", "user", "-o", text(&local)]).ok();
    let to = format!("http://127.0.0.1:{}/live", server.port);
    let public = KEYS.public("mine");
    crate::common::demo(&["livedump", "--method", "user", "-o", &to]).ok();
    assert!(std::fs::read(server.file("live")).unwrap() == std::fs::read(&local).unwrap());
    let ask = |core: &str| memtool(&["inspect", "--verify", core]).ok().stdout;
    assert_eq!(ask(&to), ask(text(&local)));
    let packed = format!("{to}.lime.zst.age");
    memtool(&["convert", &to, &packed, "--format", "lime", "--zstd", "--recipient", &public]).ok();
    let found = memtool(&["inspect", "--json", &packed, "--identity", &KEYS.file("mine")]).ok().json();
    assert_eq!(found["dump"]["kind"], "lime");
    memtool(&["inspect", &format!("http://127.0.0.1:{}/nothing", server.port)])
        .fails_saying(&["there is nothing of that name"]);
    send(&image, &format!("http://127.0.0.1:{}/no/folder", server.port), &[]).fails_saying(&["/no/folder", "(HTTP "]);
    send(&image, "http://127.0.0.1:1/a", &[]).fails_saying(&["cannot reach http://127.0.0.1:1/a: "]);
}

#[test]
fn what_is_cut_or_given_up_is_not_there() {
    let (server, folder) = (Nginx::start(""), directory());
    let (image, bytes) = image(folder.path());
    for (name, options) in [("long", &[][..]), ("short", &["--dump-size", "8m"][..])] {
        // What is short is sent again; what is longer is gone, and the dump has to be made again.
        let proxy =
            Proxy::start(server.port, |request| if request.number == 1 { Fault::CutWithin } else { Fault::None });
        let run = send(&image, &format!("http://127.0.0.1:{}/{name}", proxy.port), options);
        if name == "short" {
            run.ok();
            assert!(std::fs::read(server.file(name)).unwrap() == bytes[..8 * MIB]);
        } else {
            run.fails_saying(&["cannot write"]);
            assert!(!server.file(name).exists());
        }
    }
    // Killed in the middle: the server has begun, and forgets it.
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let to = format!("http://127.0.0.1:{}/killed", server.port);
    let mut command = crate::common::command();
    command.args(["convert", &image, &to, "--format", "raw", "--segments", text(&segments(folder.path()))]);
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let (came, coming) = channel();
        let proxy = Proxy::start(server.port, move |request| {
            if request.line.starts_with("PUT") {
                let _ = came.send(());
                return Fault::Silence;
            }
            Fault::None
        });
        let to = format!("http://127.0.0.1:{}/killed", proxy.port);
        let mut command = crate::common::command();
        command.args(["--device", &image, "dump", "--dump-size", "4m", "--output", &to]);
        let running = start(command.stdout(Stdio::piped()));
        coming.recv().unwrap();
        running.signal(signal);
        assert_ne!(running.end().code, 0);
        assert!(!server.file("killed").exists());
    }
    let (_, incoming) = server.names();
    assert_eq!(incoming, [""; 0]);
}

/// A list that has the whole image as memory from 0.
fn segments(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("segments");
    std::fs::write(&path, format!("0x0 {:#x}\n", 20 * MIB + 4096)).unwrap();
    path
}

#[test]
fn what_is_secret_in_an_address_stays_in_a_file() {
    const SIGNATURE: &str = "0123456789abcdef-secret";
    let server = Nginx::start(r#"auth_basic off; if ($arg_X-Amz-Signature = "wrong") { return 403; }"#);
    let folder = directory();
    let (image, bytes) = image(folder.path());
    let file = folder.path().join("address");
    let to = format!("https:@{}", text(&file));
    std::fs::write(&file, format!("http://127.0.0.1:{}/signed?X-Amz-Signature={SIGNATURE}\n", server.port)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    // A server of such an address wants to know the length, so it is sent with one.
    let run = send(&image, &to, &["--json"]).ok();
    assert!(!format!("{run:?}").contains(SIGNATURE), "{run:?}");
    assert_eq!(run.json()["output"], to);
    assert!(std::fs::read(server.file("signed")).unwrap() == bytes);
    let size = memtool(&["inspect", "--json", &to]);
    assert!(!format!("{size:?}").contains(SIGNATURE), "{size:?}");

    std::fs::write(&file, format!("http://127.0.0.1:{}/refused?X-Amz-Signature={SIGNATURE}&a=wrong", 1)).unwrap();
    let refused = send(&image, &to, &[]);
    assert!(!format!("{refused:?}").contains(SIGNATURE), "{refused:?}");
    refused.fails_saying(&["the address in ", "refused"]);
    for text in ["", "some text", "file:///etc/passwd", "https://"] {
        std::fs::write(&file, text).unwrap();
        send(&image, &to, &[]).fails_saying(&["the address in ", "it does not begin with https:// or is no address"]);
    }
    std::fs::remove_file(&file).unwrap();
    send(&image, &to, &[]).fails_saying(&["No such file"]);
    send(&image, "https:@", &[]).usage_error(&["the file that has the address in it is missing"]);
}

#[test]
fn a_length_is_told_where_the_address_is_signed_and_chunks_are_sent_elsewhere() {
    let (server, folder) = (Nginx::start(""), directory());
    let (image, _) = image(folder.path());
    let proxy = Proxy::start(server.port, |_| Fault::None);
    let file = folder.path().join("address");
    std::fs::write(&file, format!("http://127.0.0.1:{}/signed?X-Amz-Signature=0", proxy.port)).unwrap();
    send(&image, &format!("https:@{}", text(&file)), &[]).ok();
    send(&image, &format!("http://127.0.0.1:{}/open", proxy.port), &[]).ok();
    let puts: Vec<_> = proxy.seen().into_iter().filter(|request| request.line.starts_with("PUT")).collect();
    let [signed, open] = &puts[..] else { panic!("{puts:?}") };
    assert_eq!(signed.header("content-length"), Some((20 * MIB + 4096).to_string().as_str()));
    assert_eq!(open.header("transfer-encoding"), Some("chunked"));
    // Who has signed an address for PUT has signed it for nothing else.
    assert!(proxy.seen().iter().all(|request| !request.is("HEAD", "/signed")));
}

#[test]
fn refusals_of_a_server_are_told_in_words() {
    let (server, folder) = (Nginx::start(""), directory());
    let (image, _) = image(folder.path());
    for (status, words) in [
        (401, "the server wants a user and a password"),
        (403, "the server does not permit it"),
        (405, "the server takes no PUT there"),
        (411, "the server wants to know the length before"),
        (413, "it is larger than the server takes"),
        (412, "already exists, and nothing there is replaced"),
        (507, "the server is full"),
        (302, "the server says that it is elsewhere"),
        (418, "the server refuses (HTTP 418)"),
    ] {
        let proxy = Proxy::start(server.port, move |request| {
            if request.line.starts_with("PUT") { Fault::Answer(status, "") } else { Fault::None }
        });
        for options in [&[][..], &["--dump-size", "4096"]] {
            let run = send(&image, &format!("http://127.0.0.1:{}/a", proxy.port), options);
            run.fails_saying(&[words]);
        }
    }
    assert_eq!(server.names().0, [""; 0]);
}

#[test]
fn what_is_replaced_while_it_is_read_is_told() {
    let (server, folder) = (Nginx::start(""), directory());
    let local = folder.path().join("live");
    crate::common::demo(&["livedump", "--method", "user", "-o", text(&local)]).ok();
    std::fs::copy(&local, server.file("live")).unwrap();
    let file = server.file("live");
    let proxy = Proxy::start(server.port, move |request| {
        if request.number == 2 {
            std::fs::write(&file, "another").unwrap();
        }
        Fault::None
    });
    let run = memtool(&["inspect", "--verify", &format!("http://127.0.0.1:{}/live", proxy.port)]);
    run.fails_saying(&["it was replaced on the server while it was read"]);
    let proxy = Proxy::start(server.port, |_| Fault::Answer(200, ""));
    memtool(&["inspect", &format!("http://127.0.0.1:{}/live", proxy.port)])
        .fails_saying(&["the server gives out no parts; fetch it first"]);
}

#[test]
fn a_server_has_to_prove_which_one_it_is() {
    let folder = directory();
    let (image, bytes) = image(folder.path());
    let send = |server: &Nginx, scheme: &str, authorities: &str| {
        let mut command = crate::common::command();
        let to = format!("{scheme}://127.0.0.1:{}/a", server.port);
        command.args(["--device", &image, "dump", "--output", &to]).env("SSL_CERT_FILE", authorities);
        start(command.env_remove("SSL_CERT_DIR").stdout(Stdio::piped())).end()
    };
    let [authority, stranger] = ["authority.pem", "stranger.pem"].map(|name| CERTIFICATES.file(name));
    let server = Nginx::start_with_tls("server");
    send(&server, "https", &stranger)
        .fails_saying(&["is not signed by an authority that this system trusts; SSL_CERT_FILE"]);
    assert!(!server.file("a").exists());
    send(&server, "https", &authority).ok();
    assert!(std::fs::read(server.file("a")).unwrap() == bytes);
    for (name, words) in
        [("elsewhere", "its certificate is for another host"), ("expired", "its certificate has expired")]
    {
        let server = Nginx::start_with_tls(name);
        send(&server, "https", &authority).fails_saying(&[words]);
        assert!(!server.file("a").exists());
    }
    // A system without any authorities trusts nobody, and speaks to who needs no trust.
    let nobody = folder.path().join("empty");
    std::fs::write(&nobody, "").unwrap();
    send(&Nginx::start_with_tls("server"), "https", text(&nobody)).fails_saying(&["is not signed by an authority"]);
    let server = Nginx::start("");
    send(&server, "http", text(&nobody)).ok();
    assert!(std::fs::read(server.file("a")).unwrap() == bytes);
}
