//! Options for outputs that are encrypted to recipients, and for inputs that were.

use super::Context;
use super::secrets::warn_of_readers;
use clap::Args;
use memtool::encryption::{Identities, Recipients};
use memtool::files;
use memtool::{Error, Result};
use std::path::PathBuf;
use vmcore::units::counted;

/// To whom an output is encrypted.
#[derive(Args)]
pub struct RecipientArguments {
    /// Encrypt the output, as age does, to a public key (age1..., ssh-ed25519 or ssh-rsa) or those in a file; may be repeated
    #[arg(long, value_name = "KEY")]
    recipient: Vec<PathBuf>,
}

impl RecipientArguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> impl Iterator<Item = (&'static str, Option<&PathBuf>)> {
        self.recipient.iter().map(|file| ("--recipient", Some(file)))
    }

    /// Whether the output is encrypted.
    pub fn is_given(&self) -> bool {
        !self.recipient.is_empty()
    }

    /// Reads them.
    pub fn read(&self) -> Result<Recipients> {
        let mut recipients = Recipients::nobody();
        for named in &self.recipient {
            if let Some(text) = named.to_str().filter(|name| Recipients::is_recipient(name)) {
                // What it says is not repeated: it could be a private key.
                recipients.add(text).map_err(|error| Error::Refused(format!("--recipient: {error}")))?;
            } else {
                let (name, _) = files::in_order(named);
                recipients.add_file(&name.display().to_string(), files::open_in_order(named)?)?;
            }
        }
        Ok(recipients)
    }
}

/// That an output is encrypted, behind its size.
pub fn encrypted_to(recipients: &Recipients) -> String {
    match recipients.count() {
        0 => String::new(),
        count => format!(", encrypted to {}", counted(count, "recipient")),
    }
}

/// Refuses to write to a terminal what is encrypted.
pub fn check_terminal(context: &Context, recipients: &Recipients) -> Result<()> {
    if recipients.is_empty() || !context.out.is_terminal() {
        return Ok(());
    }
    Err(Error::Refused("what is encrypted is not written to a terminal; use a pipe or give a file".to_owned()))
}

/// The private keys for inputs that are encrypted to recipients.
#[derive(Args)]
pub struct IdentityArguments {
    /// Decrypt an input that is encrypted in the format of age with a private key in this file, of age or ssh; may be repeated
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
}

impl IdentityArguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> impl Iterator<Item = (&'static str, Option<&PathBuf>)> {
        identity_inputs(&self.identity)
    }

    /// The files.
    pub fn files(&self) -> &[PathBuf] {
        &self.identity
    }

    /// Reads them.
    pub fn read(&self, context: &mut Context) -> Result<Identities> {
        identities(context, &self.identity)
    }
}

/// The files of `--identity`, as inputs.
pub fn identity_inputs(files: &[PathBuf]) -> impl Iterator<Item = (&'static str, Option<&PathBuf>)> {
    files.iter().map(|file| ("--identity", Some(file)))
}

/// Reads private keys. Whoever else can read them can read all that is encrypted to them.
pub fn identities(context: &mut Context, files: &[PathBuf]) -> Result<Identities> {
    let mut identities = Identities::default();
    for named in files {
        let (name, _) = files::in_order(named);
        identities.add_file(&name.display().to_string(), files::open_in_order(named)?)?;
        warn_of_readers(context, named, "decrypt with it what only you should");
    }
    Ok(identities)
}
