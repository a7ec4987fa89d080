//! Options for what is signed, and for signatures that are verified.

use super::secrets::warn_of_readers;
use super::{Context, Inputs};
use clap::Args;
use memtool::Result;
use memtool::files;
use memtool::signature::{Password, SigningKey, VerifyingKey};
use std::path::{Path, PathBuf};

/// With which key it is signed.
#[derive(Args)]
pub struct SigningArguments {
    /// Sign what is written beside the dump with this private key of minisign; the signature of a manifest has its name with .minisig
    #[arg(long, value_name = "FILE")]
    sign: Option<PathBuf>,
    /// Read the password of the private key from a file, its first line, instead of the terminal
    #[arg(long, value_name = "FILE", requires = "sign")]
    password_file: Option<PathBuf>,
}

impl SigningArguments {
    /// Whether it is.
    pub fn is_given(&self) -> bool {
        self.sign.is_some()
    }

    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        vec![("--sign", self.sign.as_ref()), ("--password-file", self.password_file.as_ref())]
    }

    /// The key, for which its password is asked if it has one and there is no file of it.
    pub fn key(&self, context: &mut Context) -> Result<Option<SigningKey>> {
        let Some(path) = &self.sign else { return Ok(None) };
        let name = files::in_order(path).0.display();
        let key = files::open_in_order(path)?;
        let password_file = self.password_file.as_deref();
        for secret in [Some(path.as_path()), password_file].into_iter().flatten() {
            warn_of_readers(context, secret, "sign with it in your place");
        }
        let mut opened = password_file.map(files::open_in_order).transpose()?;
        let password_name = password_file.map(|path| files::in_order(path).0.display().to_string());
        let password = match (&password_name, &mut opened) {
            (Some(name), Some(file)) => Password::File(name, file),
            _ => Password::Terminal,
        };
        SigningKey::read(&name.to_string(), key, password).map(Some)
    }
}

/// A public key as the command line names it: as it is written, or in a file.
pub fn verifying_key(named: &Path) -> Result<VerifyingKey> {
    match named.to_str().filter(|name| VerifyingKey::is_key(name)) {
        Some(key) => VerifyingKey::parse(key),
        None => VerifyingKey::read(&files::in_order(named).0.display().to_string(), files::open_in_order(named)?),
    }
}
