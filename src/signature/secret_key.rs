//! Private keys as minisign(1) writes them, decrypted in memory that is overwritten afterwards.
//!
//! The crate `minisign` reads such keys, too, but leaves copies of the password behind, and it refuses keys without a
//! password, whose checksum minisign(1) leaves zero.

use ct_codecs::{Base64, Decoder};
use minisign::{PublicKey, SecretKey};
use scrypt::Params;
use zerocopy::byteorder::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};
use zeroize::{Zeroize, Zeroizing};

/// The second line of a key's file, in base64.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EncodedKey {
    /// `Ed`.
    signature_algorithm: [u8; 2],
    /// How the key is encrypted: [`SCRYPT`] or [`PLAIN`].
    kdf_algorithm: [u8; 2],
    /// `B2`.
    checksum_algorithm: [u8; 2],
    salt: [u8; 32],
    operations: U64,
    memory: U64,
    /// The key's number, the key, and the checksum of both.
    secret: [u8; 104],
}

const SCRYPT: [u8; 2] = *b"Sc";
const PLAIN: [u8; 2] = [0; 2];
/// The checksum in `secret`.
const CHECKSUM_LENGTH: usize = 32;
/// Keys of minisign(1) take 1 GiB to decrypt; none that take more are read.
const MAX_MEMORY: u64 = 1 << 30;
/// And this many operations, by the measure of libsodium.
const MAX_OPERATIONS: u64 = 1 << 26;

impl Drop for EncodedKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Why a text is no usable private key.
pub enum KeyError<E> {
    /// It is none, for this reason, which has nothing of the text in it.
    Unusable(&'static str),
    /// The password cannot be asked for.
    Password(E),
}

/// The bytes of a private key, decrypted.
pub struct KeyBytes(EncodedKey);

impl KeyBytes {
    /// Reads a file's text. What is no key at all is told before `password` is called, which is only if there is one.
    pub fn parse<E>(text: &str, password: impl FnOnce() -> Result<Zeroizing<String>, E>) -> Result<Self, KeyError<E>> {
        let line = text.lines().nth(1).unwrap_or_default().trim_end();
        let decoded = Base64::decode_to_vec(line, None).map(Zeroizing::new);
        let decoded = decoded.map_err(|_| KeyError::Unusable("its second line is none of a key"))?;
        let mut key = EncodedKey::read_from_bytes(&decoded)
            .map_err(|_| KeyError::Unusable("its second line is none of a key"))?;
        if key.signature_algorithm != *b"Ed" || key.checksum_algorithm != *b"B2" && key.kdf_algorithm == SCRYPT {
            return Err(KeyError::Unusable("it is a key of an unknown kind"));
        }
        match key.kdf_algorithm {
            SCRYPT => {
                let parameters = key.parameters().ok_or(KeyError::Unusable("it takes too much memory to decrypt"))?;
                key.decrypt(&password().map_err(KeyError::Password)?, &parameters);
                if !key.has_checksum() {
                    return Err(KeyError::Unusable("the password is wrong"));
                }
            }
            PLAIN if key.has_no_checksum() || key.has_checksum() => {}
            PLAIN => return Err(KeyError::Unusable("it is damaged")),
            _ => return Err(KeyError::Unusable("it is encrypted in an unknown way")),
        }
        let key = Self(key);
        if key.is_consistent() { Ok(key) } else { Err(KeyError::Unusable("it is damaged")) }
    }

    /// The key as the crate has it, which does not overwrite it: not to be kept.
    pub fn key(&self) -> Option<SecretKey> {
        SecretKey::from_bytes(EncodedKey { kdf_algorithm: PLAIN, ..self.0.clone() }.as_bytes()).ok()
    }

    /// Whether the public part, which is in the private key as well, belongs to the rest.
    fn is_consistent(&self) -> bool {
        let Some(key) = self.key() else { return false };
        PublicKey::from_secret_key(&key)
            .is_ok_and(|public| minisign::sign(Some(&public), &key, &[][..], Some(""), None).is_ok())
    }
}

impl EncodedKey {
    /// What scrypt is to do, as libsodium derives it from limits; `None` for more than minisign(1) asks for.
    fn parameters(&self) -> Option<Params> {
        const BLOCK_SIZE: u32 = 8;
        let (operations, memory) = (self.operations.get().max(1 << 15), self.memory.get());
        if memory > MAX_MEMORY || operations > MAX_OPERATIONS {
            return None;
        }
        // The smallest N, a power of two, that is more than half of what is allowed.
        let log_n = |limit: u64| (limit / 2).max(1).ilog2() + 1;
        let (log_n, parallel) = if operations < memory / 32 {
            (log_n(operations / 32), 1)
        } else {
            let log_n = log_n(memory / 1024);
            (log_n, u32::try_from((operations / 4) >> log_n).ok()? / BLOCK_SIZE)
        };
        Params::new(u8::try_from(log_n).ok()?, BLOCK_SIZE, parallel, Params::RECOMMENDED_LEN).ok()
    }

    fn decrypt(&mut self, password: &str, parameters: &Params) {
        let mut stream = Zeroizing::new([0; 104]);
        // It fails for lengths only that are not possible here; then the checksum is wrong.
        if scrypt::scrypt(password.as_bytes(), &self.salt, parameters, &mut *stream).is_ok() {
            self.secret.iter_mut().zip(stream.iter()).for_each(|(byte, other)| *byte ^= other);
        }
    }

    /// Whether the checksum is right, which only the crate can compute: it takes a key for encrypted if it is not.
    fn has_checksum(&self) -> bool {
        let encrypted = Self { kdf_algorithm: SCRYPT, ..self.clone() };
        SecretKey::from_bytes(encrypted.as_bytes()).is_ok_and(|key| !key.is_encrypted())
    }

    /// Whether there is none.
    fn has_no_checksum(&self) -> bool {
        self.secret.last_chunk::<CHECKSUM_LENGTH>().is_some_and(|sum| *sum == [0; CHECKSUM_LENGTH])
    }
}
