//! Where a dump goes, on the command line, and what is said of it.

use super::Context;
use clap::Args;
use memtool::compress::{Compression, Level};
use memtool::dump::destination::Destination;
use memtool::remote::trust::{ClientFiles, Fingerprint, TlsSettings, Trust};
use memtool::remote::{Address, Delivered, Settings};
use std::ffi::OsString;
use std::path::PathBuf;
use vmcore::kerneldump;

/// That nothing but a dump goes to standard output, if that gets one.
pub fn check_standard_output(json: bool, destination: Option<&Destination>) -> Result<(), String> {
    if json && destination == Some(&Destination::StandardOutput) {
        return Err("--json and the dump cannot share standard output; give a file".to_owned());
    }
    Ok(())
}

/// Says what is not certain of a dump that was sent away.
pub fn remark_on_delivery(context: &mut Context, delivered: Option<Delivered>) {
    let what = match delivered {
        Some(Delivered::Acknowledged) => "the receiver has not closed the connection",
        Some(Delivered::ClosedUnannounced) => "the receiver has closed the connection without saying so in TLS",
        Some(Delivered::Closed | Delivered::Stored) | None => return,
    };
    context.remark(&format!("the receiver's system has acknowledged all data, but {what}"));
}

/// How a dump is stored, by the options of commands that have savecore(8)'s.
pub const fn stored_compression(zstd: bool, gzip: bool) -> kerneldump::Compression {
    match (zstd, gzip) {
        (true, _) => kerneldump::Compression::Zstd,
        (_, true) => kerneldump::Compression::Gzip,
        _ => kerneldump::Compression::None,
    }
}

/// How a dump is compressed.
#[derive(Args)]
pub struct CompressionArguments {
    /// Compress with zstd on all processors, at a level from 1 (fast) to 19 (small) [default level: 3]
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    zstd: Option<Level>,
    /// Compress with gzip on one processor
    #[arg(long, conflicts_with = "zstd")]
    gzip: bool,
}

impl CompressionArguments {
    /// Whether zstd is asked for, at any level.
    pub const fn is_zstd(&self) -> bool {
        self.zstd.is_some()
    }

    /// What they come to.
    pub fn compression(&self) -> Compression {
        match self.zstd {
            Some(level) => Compression::Zstd(level),
            None if self.gzip => Compression::Gzip,
            None => Compression::None,
        }
    }
}

/// What is known of another host that a dump goes to.
#[derive(Args)]
pub struct RemoteArguments {
    /// For tls://HOST: trust the certificates in this file (PEM) and those signed by them, instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "fingerprint")]
    certificate: Option<PathBuf>,
    /// For tls://HOST: trust only the receiver whose certificate has this SHA-256, whatever its name, signer and times
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<Fingerprint>,
    /// For tls://HOST: show the receiver this certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "client_key", hide_short_help = true)]
    client_certificate: Option<PathBuf>,
    /// For tls://HOST: the private key of --client-certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "client_certificate", hide_short_help = true)]
    client_key: Option<PathBuf>,
    /// Write down in a file how far an upload to an object store is, and go on from there if it was interrupted
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

impl RemoteArguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> impl Iterator<Item = (&'static str, Option<&PathBuf>)> {
        [
            ("--certificate", self.certificate.as_ref()),
            ("--client-certificate", self.client_certificate.as_ref()),
            ("--client-key", self.client_key.as_ref()),
        ]
        .into_iter()
    }

    /// That they are for where a dump goes.
    pub fn check(&self, destination: Option<&Destination>) -> Result<(), String> {
        let fingerprint = self.fingerprint.map(|_| "--fingerprint");
        let given = self.inputs().find_map(|(name, file)| file.map(|_| name)).or(fingerprint);
        match given {
            Some(name) if !matches!(destination, Some(Destination::Remote(Address::Tls(_)))) => {
                Err(format!("{name} is for dumps that are sent to tls://HOST:PORT"))
            }
            _ if self.resume.is_some() && !is_object(destination) => {
                Err("--resume is for dumps that are sent to an object store, such as s3://BUCKET/KEY".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What they come to.
    pub fn settings(&self) -> Settings {
        let trust = match (self.fingerprint, &self.certificate) {
            (Some(fingerprint), _) => Trust::Fingerprint(fingerprint),
            (None, Some(file)) => Trust::Certificates(file.clone()),
            (None, None) => Trust::System,
        };
        let client = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => Some(ClientFiles { certificate: certificate.clone(), key: key.clone() }),
            _ => None,
        };
        Settings { tls: TlsSettings { trust, client }, resume: self.resume.clone(), identity: None }
    }
}

/// Whether it is an object in a store.
fn is_object(destination: Option<&Destination>) -> bool {
    matches!(destination, Some(Destination::Remote(Address::Object(_))))
}

/// clap's parser for destinations.
pub fn destination(name: OsString) -> Result<Destination, String> {
    Destination::try_from(name).map_err(|error| error.to_string())
}
