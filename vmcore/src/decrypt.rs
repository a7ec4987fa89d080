//! Encrypted kernel dumps, decrypted as decryptcore(8) does.
//!
//! dumpon(8) makes a one-time key of 64 random bytes, encrypts it with a public RSA key and gives both to the kernel,
//! which encrypts all data of the dump as one stream: its state is carried on from write to write. Before the data
//! stands `struct kerneldumpkey` of `sys/kerneldump.h`, made up to whole blocks; savecore(8) puts it into `key.N`. A
//! dump that is compressed, too, is compressed first.
//!
//! - AES-256-CBC takes the key's first 32 bytes and the vector's first 16, and pads nothing.
//! - ChaCha20, which came after FreeBSD 12.1, is the original one: a 64-bit nonce, which is the vector's first 8 bytes,
//!   and a 64-bit counter of blocks, from 0 on. It takes the key's first 32 bytes, too.
//!
//! The key is padded by OAEP with SHA-1; in FreeBSD 12.1 and before by PKCS#1 v1.5. Which of them, nothing says.

use crate::bounds::{filled, filled_mut, tail};
use crate::error::{Error, Result};
use crate::opened::Open;
use aes::Aes256;
use cbc::cipher::array::Array;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, StreamCipher};
use chacha20::ChaCha20Legacy;
use ioctl_defs::kerneldump::{
    KERNELDUMP_ENC_AES_256_CBC, KERNELDUMP_ENC_CHACHA20, KERNELDUMP_ENCKEY_MAX_SIZE, KERNELDUMP_IV_MAX_SIZE,
    KERNELDUMP_KEY_MAX_SIZE, kerneldumpkey,
};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, Pkcs1v15Encrypt, RsaPrivateKey};
use serde::Serialize;
use sha1::Sha1;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use zerocopy::FromBytes;
use zeroize::Zeroizing;

/// Bytes of a private key's file at most; one of 16384 bits has 13 KiB.
const MAX_PRIVATE_KEY: usize = 64 << 10;
/// Bytes of a key block's file at most: the largest key, made up to the largest block that there may be.
const MAX_KEY_BLOCK: usize = 64 << 10;
/// Bytes that are decrypted at once: whole blocks of every cipher.
const BUFFER: usize = 64 << 10;
/// Bytes of a block of AES.
const AES_BLOCK: usize = 16;

/// What a dump is encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Encryption {
    /// AES with 256 bits in CBC mode, without padding.
    #[serde(rename = "aes-256-cbc")]
    Aes256Cbc,
    /// ChaCha20 with a nonce of 64 bits.
    #[serde(rename = "chacha20")]
    ChaCha20,
}

impl Encryption {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256Cbc => "AES-256-CBC",
            Self::ChaCha20 => "ChaCha20",
        }
    }
}

/// `struct kerneldumpkey`: what stands before the data of an encrypted dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBlock {
    /// `kdk_encryption`.
    pub encryption: Encryption,
    /// `kdk_iv`: the initialisation vector.
    initialisation_vector: [u8; KERNELDUMP_IV_MAX_SIZE],
    /// `kdk_encryptedkey`.
    encrypted_key: Vec<u8>,
}

impl KeyBlock {
    /// Reads a file that savecore(8) has made of it: `key.N`.
    ///
    /// # Errors
    ///
    /// It cannot be read, is no regular file, or one of [`Self::parse`]'s.
    pub fn read(path: &Path, open: Open) -> Result<Self> {
        Self::from_opened(path, open_regular(path, open)?)
    }

    /// As [`Self::read`], of a file that is open, of whatever kind.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`].
    pub fn from_opened(path: &Path, file: File) -> Result<Self> {
        Self::parse(&read_file(path, file, "a dump's key", MAX_KEY_BLOCK)?)
            .map_err(|error| Error::Format(format!("{}: {error}", path.display())))
    }

    /// Decodes the bytes before the data. What makes them up to whole blocks may be left out, and does not matter.
    ///
    /// # Errors
    ///
    /// The field that cannot be, and how.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: String| Err(Error::Format(what));
        let Ok((raw, rest)) = kerneldumpkey::read_from_prefix(bytes) else {
            let needed = size_of::<kerneldumpkey>();
            return wrong(format!("kdk_encryptedkeysize: the key block ends after {} of {needed} bytes", bytes.len()));
        };
        let encryption = match raw.kdk_encryption {
            KERNELDUMP_ENC_AES_256_CBC => Encryption::Aes256Cbc,
            KERNELDUMP_ENC_CHACHA20 => Encryption::ChaCha20,
            other => {
                return wrong(format!(
                    "kdk_encryption: unknown code {other}; 1 (AES-256-CBC) and 2 (ChaCha20) are supported"
                ));
            }
        };
        let size = raw.kdk_encryptedkeysize.get();
        if !(1..=KERNELDUMP_ENCKEY_MAX_SIZE).contains(&size) {
            return wrong(format!("kdk_encryptedkeysize: it is {size}, not 1 to {KERNELDUMP_ENCKEY_MAX_SIZE}"));
        }
        let Some(encrypted_key) = usize::try_from(size).ok().and_then(|size| rest.get(..size)) else {
            return wrong(format!("kdk_encryptedkey: it ends after {} of {size} bytes", rest.len()));
        };
        Ok(Self { encryption, initialisation_vector: raw.kdk_iv, encrypted_key: encrypted_key.to_vec() })
    }
}

/// A private RSA key. Its memory is overwritten when it is dropped.
pub struct PrivateKey(RsaPrivateKey);

impl PrivateKey {
    /// Reads a key in PEM: PKCS#1 (`BEGIN RSA PRIVATE KEY`) or PKCS#8 (`BEGIN PRIVATE KEY`). Text before and behind it
    /// does not matter.
    ///
    /// # Errors
    ///
    /// It cannot be read, is no regular file or larger than a key can be, holds something else, or is protected by a
    /// passphrase.
    pub fn read(path: &Path, open: Open) -> Result<Self> {
        Self::from_opened(path, open_regular(path, open)?)
    }

    /// As [`Self::read`], of a file that is open, of whatever kind.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`].
    pub fn from_opened(path: &Path, file: File) -> Result<Self> {
        let bytes = read_file(path, file, "a private key", MAX_PRIVATE_KEY)?;
        Self::parse(&bytes).map_err(|error| Error::Format(format!("{}: {error}", path.display())))
    }

    /// As [`Self::read`], of a file's contents.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`] about the contents.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |what: String| Error::Format(what);
        let (label, pem) = std::str::from_utf8(bytes)
            .ok()
            .and_then(first_block)
            .ok_or_else(|| wrong("it has no private key in PEM format (-----BEGIN RSA PRIVATE KEY-----)".to_owned()))?;
        let protected = || {
            wrong("the private key is protected by a passphrase, which memtool does not support; 'openssl rsa -in FILE -out NEW' removes it".to_owned())
        };
        let bad = |why: &dyn std::fmt::Display| wrong(format!("not a usable RSA private key: {why}"));
        let key = match label {
            "ENCRYPTED PRIVATE KEY" => return Err(protected()),
            "RSA PRIVATE KEY" if pem.contains("ENCRYPTED") => return Err(protected()),
            "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_pem(pem).map_err(|error| bad(&error))?,
            "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_pem(pem).map_err(|error| bad(&error))?,
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => {
                return Err(wrong("it is the public key; the private key is required".to_owned()));
            }
            other => return Err(wrong(format!("it holds '{}', not an RSA private key", other.escape_debug()))),
        };
        Ok(Self(key))
    }

    /// Decrypts the key of a dump. It is tried with OAEP, then with PKCS#1 v1.5.
    ///
    /// # Errors
    ///
    /// It was encrypted for another private key, or is damaged.
    pub fn unlock(&self, block: &KeyBlock) -> Result<DumpKey> {
        let (ours, theirs) = (self.0.size(), block.encrypted_key.len());
        if ours != theirs {
            return Err(Error::Refused(format!(
                "the private key does not match: it has {} bits, and the dump's key was encrypted with {}",
                ours * 8,
                theirs * 8
            )));
        }
        // How long it takes can tell of the key to whoever has many blocks decrypted and measures (RUSTSEC-2023-0071,
        // which no release corrects). Here its owner decrypts one, and nobody is told the time.
        let decrypted = (self.0.decrypt(Oaep::new::<Sha1>(), &block.encrypted_key))
            .or_else(|_| self.0.decrypt(Pkcs1v15Encrypt, &block.encrypted_key))
            .map(Zeroizing::new);
        let Ok(decrypted) = decrypted else {
            return Err(Error::Refused(
                "the private key does not decrypt the dump's key: it is the wrong key, or the key block is damaged"
                    .to_owned(),
            ));
        };
        let key = decrypted.first_chunk().filter(|_| decrypted.len() == KERNELDUMP_KEY_MAX_SIZE).ok_or_else(|| {
            let length = decrypted.len();
            Error::Format(format!("kdk_encryptedkey: the key has {length} bytes, not {KERNELDUMP_KEY_MAX_SIZE}"))
        })?;
        Ok(DumpKey {
            encryption: block.encryption,
            key: Zeroizing::new(*key),
            initialisation_vector: block.initialisation_vector,
        })
    }
}

/// The key of one dump. Its memory is overwritten when it is dropped.
pub struct DumpKey {
    encryption: Encryption,
    /// The ciphers take no more of it.
    key: Zeroizing<[u8; 32]>,
    initialisation_vector: [u8; KERNELDUMP_IV_MAX_SIZE],
}

enum Cipher {
    Aes(Box<cbc::Decryptor<Aes256>>),
    ChaCha(Box<ChaCha20Legacy>),
}

/// Decrypts what it reads, in a fixed amount of memory.
///
/// ```no_run
/// use std::fs::File;
/// use std::io;
/// use std::path::Path;
/// use vmcore::decrypt::{Decrypter, KeyBlock, PrivateKey};
/// use vmcore::opened::open_plainly;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let block = KeyBlock::read(Path::new("key.0"), open_plainly)?;
/// let key = PrivateKey::read(Path::new("private.pem"), open_plainly)?.unlock(&block)?;
/// let mut decrypter = Decrypter::new(key, File::open("vmcore_encrypted.0")?);
/// io::copy(&mut decrypter, &mut File::create_new("vmcore.0")?)?;
/// # Ok(())
/// # }
/// ```
pub struct Decrypter<R> {
    from: R,
    cipher: Cipher,
    buffer: Zeroizing<Vec<u8>>,
    /// Bytes in the buffer that are there, decrypted or not.
    filled: usize,
    /// Bytes of them that were handed out; `None` as long as they are not decrypted.
    taken: Option<usize>,
    /// Bytes that were decrypted in all.
    position: u64,
}

impl<R: Read> Decrypter<R> {
    /// Decrypts a dump's data, of which these are all bytes from the first one on.
    pub fn new(key: DumpKey, from: R) -> Self {
        let vector = &key.initialisation_vector;
        let cipher = match key.encryption {
            Encryption::Aes256Cbc => {
                let vector = Array(first_of(vector));
                Cipher::Aes(Box::new(cbc::Decryptor::new(&Array(*key.key), &vector)))
            }
            Encryption::ChaCha20 => {
                let vector = Array(first_of(vector));
                Cipher::ChaCha(Box::new(ChaCha20Legacy::new(&Array(*key.key), &vector)))
            }
        };
        Self { from, cipher, buffer: Zeroizing::new(vec![0; BUFFER]), filled: 0, taken: None, position: 0 }
    }

    /// Fills the buffer as far as there are bytes, and decrypts it.
    fn fill(&mut self) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.buffer.get_mut(self.filled..) {
            match self.from.read(rest) {
                Ok(0) => break,
                Ok(read) => self.filled = self.filled.saturating_add(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let bytes = filled_mut(&mut self.buffer, self.filled)?;
        let end = self.position.saturating_add(bytes.len() as u64);
        let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        match &mut self.cipher {
            Cipher::Aes(cipher) => {
                let (blocks, rest) = bytes.as_chunks_mut::<AES_BLOCK>();
                if !rest.is_empty() {
                    return Err(damaged(format!(
                        "it ends after {end} bytes, not a multiple of {AES_BLOCK}: it is truncated"
                    )));
                }
                cipher.decrypt_blocks(Array::cast_slice_from_core_mut(blocks));
            }
            Cipher::ChaCha(cipher) => {
                cipher
                    .try_apply_keystream(bytes)
                    .map_err(|_| damaged("it is longer than the cipher allows".to_owned()))?;
            }
        }
        self.position = end;
        Ok(())
    }
}

impl<R: Read> Read for Decrypter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let taken = match self.taken {
            Some(taken) => taken,
            None => {
                self.fill()?;
                0
            }
        };
        let mut ready = tail(filled(&self.buffer, self.filled)?, taken);
        let read = ready.read(buffer)?;
        self.taken = Some(taken.saturating_add(read)).filter(|taken| *taken < self.filled);
        if self.taken.is_none() {
            self.filled = 0;
        }
        Ok(read)
    }
}

/// The first bytes of an initialisation vector, as many as a cipher takes.
fn first_of<const N: usize>(vector: &[u8; KERNELDUMP_IV_MAX_SIZE]) -> [u8; N] {
    let mut first = [0; N];
    first.iter_mut().zip(vector).for_each(|(to, from)| *to = *from);
    first
}

/// The label of the first block of PEM in a text, and the block.
fn first_block(text: &str) -> Option<(&str, &str)> {
    const BEGIN: &str = "-----BEGIN ";
    let block = text.get(text.find(BEGIN)?..)?;
    let (label, _) = block.strip_prefix(BEGIN)?.split_once("-----")?;
    let end = format!("-----END {label}-----");
    let length = block.find(&end)?.checked_add(end.len())?;
    Some((label, block.get(..length)?))
}

/// Opens a regular file.
fn open_regular(path: &Path, open: Open) -> Result<File> {
    let file = open(path).map_err(|source| Error::io("open", path, source))?;
    if !file.metadata().map_err(|source| Error::io("read", path, source))?.is_file() {
        return Err(Error::Refused(format!("{} is not a regular file", path.display())));
    }
    Ok(file)
}

/// A file's bytes, overwritten when they are dropped.
fn read_file(path: &Path, file: File, what: &str, limit: usize) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |source| Error::io("read", path, source);
    // All at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit.saturating_add(1)));
    file.take(bytes.capacity() as u64).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(Error::Format(format!("{} is too large to be {what}", path.display())));
    }
    Ok(bytes)
}
