//! Certificates that openssl(1) makes, and its receiver.

use super::recipients::succeed;
use super::{directory, text, wait};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with certificates and keys in PEM, as `NAME.pem` and `NAME.key`: `authority`, and what it has signed:
/// `server` of 127.0.0.1 and localhost, `elsewhere` of another name, `expired`, `early`, and `client`; `middle`, which
/// it has signed to sign others, and `below` of `middle`, which comes with it; `alone` and `nameless`, which have signed
/// themselves; and `stranger`, an authority that has signed nothing.
pub struct Certificates(TempDir);

pub static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(|| {
    let made = Certificates(directory());
    const OWN: &str = "subjectAltName=IP:127.0.0.1,DNS:localhost";
    let sign_others = "basicConstraints=critical,CA:TRUE";
    for name in ["authority", "stranger"] {
        made.make_self_signed(name, &[]);
    }
    made.make_self_signed("alone", &["-addext", OWN]);
    made.make_self_signed("nameless", &[]);
    std::fs::write(made.path("index"), "").unwrap();
    made.sign("server", "authority", OWN, "20200101000000Z", "21200101000000Z");
    made.sign("elsewhere", "authority", "subjectAltName=DNS:elsewhere.example", "20200101000000Z", "21200101000000Z");
    made.sign("expired", "authority", OWN, "20200101000000Z", "20210203040506Z");
    made.sign("early", "authority", OWN, "21100203040506Z", "21200101000000Z");
    made.sign("client", "authority", "subjectAltName=DNS:client", "20200101000000Z", "21200101000000Z");
    made.sign("middle", "authority", sign_others, "20200101000000Z", "21200101000000Z");
    made.sign("below", "middle", OWN, "20200101000000Z", "21200101000000Z");
    made
});

impl Certificates {
    /// The file of that name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as text.
    pub fn file(&self, name: &str) -> String {
        text(&self.path(name)).to_owned()
    }

    fn openssl(&self, arguments: &[&str]) -> String {
        let run = succeed(Command::new("openssl").args(arguments).current_dir(self.0.path()).stderr(Stdio::null()));
        String::from_utf8(run).unwrap()
    }

    fn make_self_signed(&self, name: &str, arguments: &[&str]) {
        let (key, out, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
        let made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"];
        self.openssl(&[&made[..], &["-keyout", &key, "-out", &out, "-subj", &subject], arguments].concat());
    }

    fn sign(&self, name: &str, by: &str, extension: &str, from: &str, to: &str) {
        let (key, out, request, subject) =
            (format!("{name}.key"), format!("{name}.pem"), format!("{name}.request"), format!("/CN={name}"));
        let made = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", &key];
        self.openssl(&[&made[..], &["-out", &request, "-subj", &subject]].concat());
        let configuration = format!(
            "[ca]\ndefault_ca=it\n[it]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=any\n\
             unique_subject=no\nx509_extensions=own\n[any]\ncommonName=supplied\n[own]\n{extension}\n"
        );
        std::fs::write(self.path("configuration"), configuration).unwrap();
        let (certificate, by_key) = (format!("{by}.pem"), format!("{by}.key"));
        let signed = ["ca", "-batch", "-notext", "-config", "configuration", "-in", &request, "-out", &out];
        self.openssl(
            &[&signed[..], &["-cert", &certificate, "-keyfile", &by_key, "-startdate", from, "-enddate", to]].concat(),
        );
    }

    /// SHA-256 as openssl(1) prints it, with colons.
    pub fn fingerprint(&self, name: &str) -> String {
        let printed = self.openssl(&["x509", "-in", &format!("{name}.pem"), "-noout", "-fingerprint", "-sha256"]);
        printed.trim().rsplit_once('=').unwrap().1.to_owned()
    }

    /// A certificate in DER.
    pub fn der(&self, name: &str) -> Vec<u8> {
        succeed(Command::new("openssl").args(["x509", "-outform", "DER", "-in"]).arg(self.path(&format!("{name}.pem"))))
    }
}

/// `openssl s_server`, which writes what it receives on one connection into a file.
pub struct Receiver {
    child: Child,
    port: u16,
    folder: TempDir,
    /// What it would send. It ends with it.
    _stdin: ChildStdin,
}

impl Receiver {
    /// With that certificate, and more arguments.
    #[track_caller]
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let folder = directory();
        loop {
            // Somebody else may take it before it does.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = Command::new("openssl");
            // The first connection is the one that looks whether it is there.
            command.args(["s_server", "-quiet", "-naccept", "2", "-accept", &format!("127.0.0.1:{port}")]);
            let [certificate, key] = ["pem", "key"].map(|kind| CERTIFICATES.path(&format!("{name}.{kind}")));
            command.arg("-cert").arg(certificate).arg("-key").arg(key).args(arguments);
            let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
            command.arg("-msg").arg("-msgfile").arg(folder.path().join("messages"));
            command.stdin(Stdio::piped()).stdout(file("received")).stderr(file("said"));
            let mut child = command.spawn().unwrap_or_else(|error| panic!("openssl is needed: {error}"));
            let mut has_connected = false;
            while child.try_wait().unwrap().is_none() {
                has_connected = has_connected || TcpStream::connect(("127.0.0.1", port)).is_ok();
                // It is the one that was connected to if it says that nothing came.
                let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
                if has_connected && said.contains("SSL routines") {
                    let stdin = child.stdin.take().unwrap();
                    return Self { child, port, folder, _stdin: stdin };
                }
                assert!(Instant::now() < deadline, "openssl s_server does not listen: {said}");
                std::thread::sleep(Duration::from_millis(2));
            }
            assert!(Instant::now() < deadline, "openssl s_server does not start");
        }
    }

    /// Its address, by a name.
    pub fn address(&self, host: &str) -> String {
        format!("tls://{host}:{}", self.port)
    }

    /// Where it writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// What it has received, and whether the end was said in TLS, when the connection has ended.
    #[track_caller]
    pub fn end(mut self) -> (Vec<u8>, bool) {
        wait(&mut self.child).expect("openssl s_server hangs");
        let read = |name: &str| std::fs::read(self.folder.path().join(name)).unwrap();
        let messages = String::from_utf8(read("messages")).unwrap();
        assert!(messages.contains("ClientHello"), "{messages}");
        let has_end = messages.lines().any(|line| line.starts_with("<<<") && line.ends_with("close_notify"));
        (read("received"), has_end)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Without effect on one that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
