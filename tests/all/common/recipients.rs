//! Keys of age(1) and ssh(1), made by their own programs, and age(1) itself.

use super::{directory, text};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;

/// A folder with private keys and, as `NAME.pub`, their public keys: `mine` and `other` of age(1), `ed25519` and `rsa` of
/// ssh(1), and `protected` of ssh(1) with a passphrase.
pub struct Keys(TempDir);

pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let keys = Keys(directory());
    for name in ["mine", "other"] {
        succeed(Command::new("age-keygen").arg("-o").arg(keys.path(name)));
        let public = succeed(Command::new("age-keygen").arg("-y").arg(keys.path(name)));
        std::fs::write(keys.path(&format!("{name}.pub")), public).unwrap();
    }
    for (name, kind, passphrase) in
        [("ed25519", "ed25519", ""), ("rsa", "rsa", ""), ("protected", "ed25519", "a passphrase")]
    {
        succeed(Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(keys.path(name)));
    }
    keys
});

/// The identities that decrypt.
pub const USABLE: [&str; 4] = ["mine", "other", "ed25519", "rsa"];

impl Keys {
    /// The file of that name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as text.
    pub fn file(&self, name: &str) -> String {
        text(&self.path(name)).to_owned()
    }

    /// A public key as it is written.
    pub fn public(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().trim().to_owned()
    }
}

fn output(command: &mut Command) -> Output {
    let program = command.get_program().to_owned();
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{} is needed: {error}", program.display()))
}

/// Runs a program, which has to succeed, for its standard output.
#[track_caller]
pub fn succeed(command: &mut Command) -> Vec<u8> {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Has age(1) decrypt a file with that key.
#[track_caller]
pub fn decrypt(key: &str, file: &Path) -> Vec<u8> {
    succeed(Command::new("age").arg("-d").arg("-i").arg(KEYS.path(key)).arg(file))
}

/// Whether age(1) decrypts the whole file with that key.
pub fn is_decrypted(key: &str, file: &Path) -> bool {
    output(Command::new("age").arg("-d").arg("-i").arg(KEYS.path(key)).arg(file)).status.success()
}

/// Has age(1) encrypt bytes to keys.
#[track_caller]
pub fn encrypt(keys: &[&str], bytes: &[u8], to: &Path) {
    let plain = directory();
    let plain = super::write_file(plain.path(), bytes);
    let mut age = Command::new("age");
    for key in keys {
        age.arg("-R").arg(KEYS.path(&format!("{key}.pub")));
    }
    succeed(age.arg("-o").arg(to).arg(plain));
}
