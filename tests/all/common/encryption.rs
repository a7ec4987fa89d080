//! Dumps that are encrypted by openssl(1), as the kernel and dumpon(8) would.

use super::{directory, noise, text};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;
use vmcore::decrypt::Encryption;
use vmcore_synth::key_block;

/// Runs openssl(1), which has to succeed.
#[track_caller]
pub fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("openssl(1) is needed: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Private keys: `mine` and `other` of 2048 bits, in both forms, and `large`.
pub struct Keys(TempDir);

pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let keys = Keys(directory());
    for (name, bits) in [("mine", "2048"), ("other", "2048"), ("large", "4096")] {
        let [pkcs1, pkcs8] = [".pem", ".pk8"].map(|suffix| keys.path(&format!("{name}{suffix}")));
        openssl(&["genrsa", "-traditional", "-out", text(&pkcs1), bits], b"");
        openssl(&["pkey", "-in", text(&pkcs1), "-out", text(&pkcs8)], b"");
    }
    keys
});

impl Keys {
    /// The file of that name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub const ONE_TIME_KEY: std::ops::Range<usize> = 7..71;
pub const VECTOR: [u8; 32] = *b"an initialisation vector of 32 b";

/// 64 bytes, of which the ciphers take 32.
pub fn one_time_key() -> Vec<u8> {
    noise(ONE_TIME_KEY.end)[ONE_TIME_KEY].to_vec()
}

/// Encrypts a key for the owner of a private key.
pub fn locked(name: &str, padding: &str, key: &[u8]) -> Vec<u8> {
    let (path, mode) = (KEYS.path(name), format!("rsa_padding_mode:{padding}"));
    openssl(&["pkeyutl", "-encrypt", "-inkey", text(&path), "-pkeyopt", &mode], key)
}

/// `struct kerneldumpkey` with the one-time key for the owner of a private key, made up to a block.
pub fn block_for(name: &str, encryption: Encryption, padding: &str) -> Vec<u8> {
    let mut block = key_block(VECTOR, &locked(name, padding, &one_time_key()));
    if encryption == Encryption::ChaCha20 {
        block[0] = 2;
    }
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// What the kernel would write.
pub fn encrypted(encryption: Encryption, data: &[u8]) -> Vec<u8> {
    let key = hexadecimal(&one_time_key()[..32]);
    let (cipher, vector) = match encryption {
        Encryption::Aes256Cbc => ("-aes-256-cbc", hexadecimal(&VECTOR[..16])),
        // The counter of blocks comes before the nonce.
        Encryption::ChaCha20 => ("-chacha20", format!("{:016}{}", 0, hexadecimal(&VECTOR[..8]))),
    };
    openssl(&["enc", cipher, "-nopad", "-K", &key, "-iv", &vector], data)
}
