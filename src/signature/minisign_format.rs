//! What the crate `minisign` does of all this.

use super::Verified;
use super::secret_key::{KeyBytes, KeyError};
use ct_codecs::{Base64, Decoder};
use minisign::{SignatureBones, SignatureBox};
use std::io::{self, Cursor};
use zeroize::Zeroizing;

/// How the lines with comments begin.
const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";
/// Bytes of a signature: the algorithm, the number of the key, and the signature of Ed25519.
const SIGNATURE_LENGTH: usize = HEAD_LENGTH + 64;
/// Those before the signature of Ed25519.
const HEAD_LENGTH: usize = 10;
/// The algorithm of signatures of what is not hashed before.
const NOT_HASHED: &[u8] = b"Ed";

/// Asks on the terminal, which does not show what is typed.
pub fn ask_password(prompt: &str) -> io::Result<Zeroizing<String>> {
    rpassword::prompt_password(prompt).map(Zeroizing::new)
}

/// A private key.
pub struct PrivateKey(KeyBytes);

impl PrivateKey {
    /// Reads a file's text, of which nothing is told.
    pub fn parse<E>(
        text: &str,
        password: impl FnOnce() -> Result<Zeroizing<String>, E>,
        wrong: impl Fn(String) -> E,
    ) -> Result<Self, E> {
        KeyBytes::parse(text, password).map(Self).map_err(|error| match error {
            KeyError::Unusable(why) => wrong(why.to_owned()),
            KeyError::Password(error) => error,
        })
    }

    /// Signs bytes.
    pub fn sign(&self, contents: &[u8], comment: &str) -> Result<String, String> {
        let key = self.0.key().ok_or("the private key is not usable")?;
        let signed = minisign::sign(None, &key, contents, Some(comment), Some("signature from memtool"));
        signed.map(SignatureBox::into_string).map_err(|error| error.to_string())
    }
}

/// A public key.
pub struct PublicKey(minisign::PublicKey);

impl PublicKey {
    /// Reads a key as it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        minisign::PublicKey::from_base64(text).map(Self).map_err(|error| error.to_string())
    }

    /// Verifies bytes by the text of a signature, and the comment in it that is signed as well. The crate's own reader of
    /// such texts panics at a signature that is too short, and refuses comments with spaces at the end.
    pub fn verify(&self, contents: &[u8], signature: &str) -> Result<Verified, String> {
        let mut lines = signature.lines();
        let mut line = |what: &str| lines.next().ok_or_else(|| format!("{what} is missing"));
        if !line("its first line")?.starts_with(UNTRUSTED) {
            return Err(format!("its first line does not begin with '{UNTRUSTED}'"));
        }
        let signature = decode::<SIGNATURE_LENGTH>(line("the signature")?)?;
        let trusted_comment = line("the trusted comment")?.strip_prefix(TRUSTED);
        let trusted_comment =
            trusted_comment.ok_or_else(|| format!("its third line does not begin with '{TRUSTED}'"))?;
        let comment_signature = decode::<{ SIGNATURE_LENGTH - HEAD_LENGTH }>(line("the signature of the comment")?)?;
        self.verify_one(contents, &signature)?;
        // What is signed then is the signature itself and the comment, as they are, by the same key.
        let ([_, _, key_number @ ..], bytes) = split_head(&signature);
        let signed = [bytes, trusted_comment.as_bytes()].concat();
        let comment_signature = [NOT_HASHED, &key_number, &comment_signature].concat();
        self.verify_one(&signed, &comment_signature).map_err(|why| format!("the trusted comment: {why}"))?;
        Ok(Verified { public_key: self.0.to_base64(), trusted_comment: trusted_comment.to_owned() })
    }

    fn verify_one(&self, contents: &[u8], signature: &[u8]) -> Result<(), String> {
        let parsed = SignatureBones::from_bytes(signature).map(SignatureBox::from);
        let verified =
            parsed.and_then(|parsed| minisign::verify(&self.0, &parsed, Cursor::new(contents), true, false, true));
        verified.map_err(|error| error.to_string())
    }
}

/// The algorithm and the number of the key, and what is behind them.
fn split_head(signature: &[u8; SIGNATURE_LENGTH]) -> ([u8; HEAD_LENGTH], &[u8]) {
    let (head, rest) = signature.split_first_chunk().unwrap_or((&[0; HEAD_LENGTH], &[]));
    (*head, rest)
}

/// Exactly so many bytes in base64.
fn decode<const LENGTH: usize>(line: &str) -> Result<[u8; LENGTH], String> {
    let bytes = Base64::decode_to_vec(line.trim_end(), None).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| format!("not a signature: {LENGTH} bytes in base64"))
}
