//! A mount namespace in which a file is /dev/mem, for programs that read nothing else.

use super::{Result, program, text};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Where there is no /dev/mem to mount over, all of /dev is another one; the file may lie in the old one, and
/// is opened before. cat keeps the namespace until its input ends.
const SETUP: &str = r#"
set -e
exec 9<"$1"
[ -e /dev/mem ] || { mount -t tmpfs -o mode=755 tmpfs /dev; : >/dev/mem; }
mount -c --bind /proc/self/fd/9 /dev/mem
exec 9<&-
echo ready
exec cat
"#;

/// Lasts as long as the value.
pub struct DevMem(Child);

impl DevMem {
    /// Makes the namespace.
    pub fn new(file: &Path) -> Result<Self> {
        if !cfg!(target_os = "linux") {
            return Err("only Linux mounts a file over /dev/mem".to_owned());
        }
        if !nix::unistd::geteuid().is_root() {
            return Err("needs root, to mount a file over /dev/mem in a namespace of its own".to_owned());
        }
        let child = Command::new(program("unshare")?)
            .args(["-m", "sh", "-c", SETUP, "sh", &text(file)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut namespace = Self(child.map_err(|error| format!("unshare: {error}"))?);
        let mut line = String::new();
        if let Some(stdout) = &mut namespace.0.stdout {
            BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("unshare: {error}"))?;
        }
        if line != "ready\n" {
            return Err("a file could not be mounted over /dev/mem in a namespace of its own".to_owned());
        }
        Ok(namespace)
    }

    /// The namespace's name for nsenter(1).
    pub fn path(&self) -> String {
        format!("/proc/{}/ns/mnt", self.0.id())
    }
}

impl Drop for DevMem {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
