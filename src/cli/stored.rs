//! The options of commands that save a dump that a kernel has made, as savecore(8) has them.

use super::destination::stored_compression;
use clap::Args;
use memtool::compress::Level;
use memtool::encryption::Recipients;
use memtool::save::Options;
use vmcore::decrypt::PrivateKey;
use vmcore::kerneldump::Compression;

/// How a dump is stored.
#[derive(Args)]
#[group(id = "stored", multiple = false)]
pub struct StoredArguments {
    /// Compress with zstd unless the kernel has compressed the dump, at a level from 1 (fast) to 19 (small) [default level: 3]
    #[arg(short = 'Z', long, value_name = "LEVEL", num_args = 0..=1, require_equals = true)]
    zstd: Option<Option<Level>>,
    /// Compress with gzip unless the kernel has compressed the dump
    #[arg(short = 'z', long)]
    gzip: bool,
    /// Decompress the dump if the kernel has compressed it
    #[arg(short, long)]
    uncompress: bool,
}

impl StoredArguments {
    /// What a dump is compressed with that the kernel has not compressed.
    pub fn compression(&self) -> Compression {
        stored_compression(self.zstd.is_some(), self.gzip)
    }

    /// Whether any of them was given.
    pub fn is_given(&self) -> bool {
        self.zstd.is_some() || self.gzip || self.uncompress
    }

    /// The level of zstd, if one was given.
    pub fn level(&self) -> Option<Level> {
        self.zstd.flatten()
    }

    /// What they come to, without a limit of numbers, and without reading back.
    pub fn options<'a>(&self, recipients: &'a Recipients, private_key: Option<&'a PrivateKey>) -> Options<'a> {
        Options {
            private_key,
            level: self.level().unwrap_or_default(),
            compression: self.compression(),
            uncompress: self.uncompress,
            ..Options::as_it_is(recipients)
        }
    }
}
