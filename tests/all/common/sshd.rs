//! sshd(8) on a port of its own, with keys of its own, and an ssh(1) that knows them.

use super::recipients::succeed;
use super::{directory, names, text};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";
const PATIENCE: Duration = Duration::from_secs(120);

/// Keys of a host, of a client, and of one that nobody knows.
static KEYS: LazyLock<TempDir> = LazyLock::new(|| {
    let keys = directory();
    for name in ["host", "client", "stranger"] {
        succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(keys.path().join(name)));
    }
    keys
});

fn key(name: &str) -> String {
    text(&KEYS.path().join(name)).to_owned()
}

fn public_key(name: &str) -> String {
    std::fs::read_to_string(key(&format!("{name}.pub"))).unwrap()
}

/// What a server does otherwise than others.
#[derive(Default)]
pub struct Settings<'a> {
    /// What stands before the client's key, such as `restrict,command="…"`.
    pub key_options: &'a str,
    /// sh(1) there, and programs that come before others: their names and scripts.
    pub programs: &'a [(&'a str, &'a str)],
    /// The program that is sh(1) there.
    pub shell: Option<&'a str>,
    /// What is done before it, in a mount namespace of its own.
    pub mounts: Option<String>,
    /// After so many bytes from the client its connections are cut.
    pub cut_after: Option<u64>,
}

/// A server, and a folder with what is there.
pub struct Sshd {
    folder: TempDir,
    port: u16,
    received: Arc<AtomicU64>,
}

fn executable(path: &Path, script: &str) {
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Where a program is.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists()).unwrap_or_else(|| {
        panic!("{name} is needed");
    })
}

impl Sshd {
    pub fn start(settings: &Settings<'_>) -> Self {
        let folder = directory();
        let path = |name: &str| folder.path().join(name);
        for name in ["bin", "there", "dumps", "home"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        if let Some(shell) = settings.shell {
            std::os::unix::fs::symlink(program(shell), path("there/sh")).unwrap();
        }
        for (name, script) in settings.programs {
            executable(&path("there").join(name), &format!("#!/bin/sh\nPATH=${{PATH#*:}}\n{script}\n"));
        }
        // Connections are handed to it, so that its port is the test's from the beginning.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::fs::write(path("authorized_keys"), format!("{} {}", settings.key_options, public_key("client"))).unwrap();
        let server = format!(
            "HostKey {host}\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPidFile none\n\
             UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             SetEnv PATH={folder}/there:/usr/bin:/bin HOME={folder}/home\n",
            host = key("host"),
            folder = text(folder.path()),
        );
        std::fs::write(path("server"), server).unwrap();
        std::fs::write(path("known_hosts"), format!("test {}", public_key("host"))).unwrap();
        let sshd = Self { folder, port, received: Arc::default() };
        sshd.use_client("client", "known_hosts");
        // sshd(8) of Debian wants it from the superuser.
        if nix::unistd::geteuid().is_root() {
            let _ = std::fs::create_dir_all("/run/sshd");
        }
        let (server, mounts, cut_after) =
            (sshd.folder.path().join("server"), settings.mounts.clone(), settings.cut_after);
        let received = Arc::clone(&sshd.received);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (ours, theirs) = UnixStream::pair().unwrap();
                serve(&server, mounts.as_deref(), theirs);
                relay(client.unwrap(), ours, cut_after, &received);
            }
        });
        sshd
    }

    /// The client has that key and knows the hosts in that file.
    pub fn use_client(&self, name: &str, known_hosts: &str) {
        let client = format!(
            "HostKeyAlias test\nIdentityFile {key}\nIdentitiesOnly yes\nIdentityAgent none\n\
             UserKnownHostsFile {folder}/{known_hosts}\nGlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n\
             BatchMode yes\nLogLevel ERROR\n",
            key = key(name),
            folder = text(self.folder.path()),
        );
        std::fs::write(self.folder.path().join("client"), client).unwrap();
        let ssh = format!("#!/bin/sh\nexec {} -F {} \"$@\"\n", program("ssh").display(), self.file("client"));
        executable(&self.folder.path().join("bin/ssh"), &ssh);
    }

    fn file(&self, name: &str) -> String {
        text(&self.folder.path().join(name)).to_owned()
    }

    /// The folder for dumps.
    pub fn dumps(&self) -> PathBuf {
        self.folder.path().join("dumps")
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A place for notes.
    pub fn notes(&self) -> PathBuf {
        self.folder.path().join("notes")
    }

    /// The address of a path, which begins with a slash.
    pub fn address(&self, path: &str) -> String {
        format!("ssh://127.0.0.1:{}{path}", self.port)
    }

    /// The address of a file in the folder for dumps.
    pub fn dump(&self, name: &str) -> String {
        self.address(text(&self.dumps().join(name)))
    }

    /// Has memtool find the client.
    pub fn with_client(&self, memtool: &mut Command) {
        let path = std::env::var_os("PATH").unwrap();
        let folders = std::iter::once(self.folder.path().join("bin")).chain(std::env::split_paths(&path));
        memtool.env("PATH", std::env::join_paths(folders).unwrap());
    }

    /// Bytes that have come from clients.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    /// What is in the folder for dumps when there is nothing unfinished any more.
    #[track_caller]
    pub fn left(&self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let names = names(&self.dumps());
            if !names.iter().any(|name| name.ends_with(".partial")) {
                return names;
            }
            assert!(Instant::now() < deadline, "this is left: {names:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Serves one connection.
fn serve(configuration: &Path, mounts: Option<&str>, connection: UnixStream) {
    let sshd = format!("exec {SSHD} -i -f {}", text(configuration));
    let mut command = match mounts {
        Some(mounts) => {
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", &format!("{mounts} && {sshd}")]);
            command
        }
        None => {
            let mut command = Command::new("sh");
            command.args(["-c", &sshd]);
            command
        }
    };
    let output = connection.try_clone().unwrap();
    command.stdin(OwnedFd::from(connection)).stdout(OwnedFd::from(output)).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{SSHD} is needed: {error}"));
    std::thread::spawn(move || child.wait());
}

/// Hands on what comes from each side, until enough has come from the client.
fn relay(client: TcpStream, server: UnixStream, cut_after: Option<u64>, received: &Arc<AtomicU64>) {
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let (received, mut from_client, mut to_server) = (Arc::clone(received), client, server);
    std::thread::spawn(move || {
        let mut remaining = cut_after.unwrap_or(u64::MAX);
        let mut piece = vec![0; 1 << 16];
        while remaining > 0 {
            let length = piece.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
            let Ok(read @ 1..) = from_client.read(&mut piece[..length]) else { break };
            received.fetch_add(read as u64, Ordering::SeqCst);
            remaining -= read as u64;
            if to_server.write_all(&piece[..read]).is_err() {
                break;
            }
        }
        let _ = (from_client.shutdown(Shutdown::Both), to_server.shutdown(Shutdown::Both));
    });
}

/// Whether a file system can be mounted here for one process; says so where it cannot.
pub fn can_mount() -> bool {
    let mount = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    let can = cfg!(target_os = "linux") && mount.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("SKIPPED: no file system can be mounted here");
    }
    can
}

/// sshd(8), where it is missing is said.
pub fn is_there() -> bool {
    let is_there = Path::new(SSHD).exists();
    if !is_there {
        eprintln!("SKIPPED: there is no {SSHD}");
    }
    is_there
}
