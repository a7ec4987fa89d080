//! Where a dump goes, on the command line, and what is said of it.

use super::Context;
use clap::Args;
use memtool::compress::{Compression, Level};
use memtool::dump::destination::Destination;
use memtool::remote::{Delivered, Settings};
use std::ffi::OsString;
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
    if delivered == Some(Delivered::Acknowledged) {
        context
            .remark("the receiver's system has acknowledged all data, but the receiver has not closed the connection");
    }
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
pub struct RemoteArguments {}

impl RemoteArguments {
    /// What they come to.
    pub fn settings(&self) -> Settings {
        Settings::default()
    }
}

/// clap's parser for destinations.
pub fn destination(name: OsString) -> Result<Destination, String> {
    Destination::try_from(name).map_err(|error| error.to_string())
}
