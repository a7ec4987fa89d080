//! S3 servers that others have written, each on a port of its own.

use super::{Run, command, run};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The bucket that every server has.
pub const BUCKET: &str = "crash";
/// What memtool knows in order to be let in.
pub const KEY: &str = "AKIATESTTESTTESTTEST";
pub const SECRET: &str = "wJalrXUtnFEMI-this-is-secret-EXAMPLEKEY";

/// Who has written it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// moto, of PyPI: it knows conditions, and keeps everything in memory.
    Moto,
    /// s3s-fs, a crate: it checks signatures and checksums, and keeps objects as files.
    S3sFs,
}

/// A server.
pub struct Server {
    child: Child,
    pub kind: Kind,
    pub port: u16,
    root: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file in the folder of tools.
fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(name)
}

/// A port that is free.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    /// Starts one; `None`, and a word about it, where it is not installed.
    pub fn start(kind: Kind) -> Option<Self> {
        let (port, root) = (free_port(), tempfile::tempdir().unwrap());
        let mut command = match kind {
            Kind::Moto => {
                let mut command = Command::new("python3");
                let port = port.to_string();
                command.env("PYTHONPATH", tool("moto")).args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
                command
            }
            Kind::S3sFs => {
                std::fs::create_dir(root.path().join(BUCKET)).unwrap();
                let mut command = Command::new(tool("bin/s3s-fs"));
                command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
                command.args(["--access-key", KEY, "--secret-key", SECRET]).arg(root.path());
                command
            }
        };
        let installed = match kind {
            Kind::Moto => tool("moto/moto").is_dir(),
            Kind::S3sFs => tool("bin/s3s-fs").is_file(),
        };
        if !installed {
            println!("NOT CHECKED: {kind:?} is not installed; tools/test does that");
            return None;
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, kind, port, root };
        server.wait();
        if kind == Kind::Moto {
            assert_eq!(server.request("PUT", &format!("/{BUCKET}"), b"").0, 200);
        }
        Some(server)
    }

    /// Waits until it listens.
    fn wait(&mut self) {
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "{:?} does not start", self.kind);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Both, as far as they are installed.
    pub fn all() -> Vec<Self> {
        [Kind::S3sFs, Kind::Moto].into_iter().filter_map(Self::start).collect()
    }

    /// A request without a signature, which moto takes: the status and the body of the answer.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        request(self.port, method, path, body)
    }

    /// An object; `None` if there is none of that name.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        match self.kind {
            Kind::Moto => Some(self.request("GET", &format!("/{BUCKET}/{key}"), b""))
                .filter(|(status, _)| *status == 200)
                .map(|(_, body)| body),
            Kind::S3sFs => std::fs::read(self.root.path().join(BUCKET).join(key)).ok(),
        }
    }

    /// Makes an object.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        match self.kind {
            Kind::Moto => assert_eq!(self.request("PUT", &format!("/{BUCKET}/{key}"), bytes).0, 200),
            Kind::S3sFs => {
                let path = self.root.path().join(BUCKET).join(key);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                // What it has noted of another object of that name.
                let notes = super::names(self.root.path()).into_iter().filter(|name| name.starts_with(".bucket-"));
                notes.for_each(|name| std::fs::remove_file(self.root.path().join(name)).unwrap());
                std::fs::write(path, bytes).unwrap();
            }
        }
    }

    /// The names of all objects.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = match self.kind {
            Kind::Moto => {
                let (_, list) = self.request("GET", &format!("/{BUCKET}?list-type=2&max-keys=1000"), b"");
                let list = String::from_utf8(list).unwrap();
                list.split("<Key>").skip(1).map(|rest| rest.split_once("</Key>").unwrap().0.to_owned()).collect()
            }
            Kind::S3sFs => super::files_below(&self.root.path().join(BUCKET)),
        };
        keys.sort();
        keys
    }

    /// Removes an object.
    pub fn delete(&self, key: &str) {
        match self.kind {
            Kind::Moto => assert_eq!(self.request("DELETE", &format!("/{BUCKET}/{key}"), b"").0, 204),
            Kind::S3sFs => std::fs::remove_file(self.root.path().join(BUCKET).join(key)).unwrap(),
        }
    }

    /// Uploads that have begun and have not ended.
    pub fn unfinished(&self) -> usize {
        match self.kind {
            Kind::Moto => {
                let (_, list) = self.request("GET", &format!("/{BUCKET}?uploads"), b"");
                String::from_utf8(list).unwrap().matches("<UploadId>").count()
            }
            Kind::S3sFs => {
                let names = super::names(self.root.path());
                names.iter().filter(|name| name.starts_with(".upload_id-") && name.ends_with(".part-1")).count()
            }
        }
    }

    /// memtool, with what it has to know of this server, or of a proxy before it.
    pub fn memtool(&self, port: u16, arguments: &[&str]) -> Run {
        run(self.command(port).args(arguments))
    }

    /// The same, to be run by the test.
    pub fn command(&self, port: u16) -> Command {
        let mut command = command();
        command
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .env("AWS_ALLOW_HTTP", "true");
        command
    }
}

/// A request of HTTP, and the status and the body of its answer.
pub fn request(port: u16, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // moto wants to be told who asks, and believes it.
    let who = format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    );
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {who}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).unwrap();
    let status = status.split(' ').nth(1).unwrap().parse().unwrap();
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).unwrap();
    (status, answer)
}
