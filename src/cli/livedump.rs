//! `memtool livedump`: a minidump of the running kernel.

use super::{Context, Verdict};
use clap::Args;
use memtool::Result;
use memtool::host::Host;
use memtool::kerneldump::Compression;
use memtool::livedump::{self, Options};
use memtool::units::rough_size;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args)]
pub struct Arguments {
    /// The file to write; it appears whole or not at all
    file: PathBuf,
    /// Have the kernel compress with Zstandard
    #[arg(long, conflicts_with = "gzip")]
    zstd: bool,
    /// Have the kernel compress with gzip
    #[arg(long)]
    gzip: bool,
    /// Replace FILE if it is there
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    file: String,
    compression: Compression,
    /// Bytes of the file.
    size: u64,
    /// Bytes before compression.
    uncompressed_size: u64,
    architecture: &'a str,
    kernel: &'a str,
    hostname: &'a str,
    /// Seconds since the epoch.
    taken_at: u64,
}

pub fn run(context: &mut Context, host: &dyn Host, arguments: &Arguments) -> Result<Verdict> {
    let compression = match (arguments.zstd, arguments.gzip) {
        (true, _) => Compression::Zstd,
        (_, true) => Compression::Gzip,
        _ => Compression::None,
    };
    let begun = Instant::now();
    let report = livedump::take(host, &arguments.file, Options { compression, replace: arguments.force })?;
    let header = &report.header;
    let document = Document {
        file: arguments.file.display().to_string(),
        compression,
        size: header.dump_length,
        uncompressed_size: if compression == Compression::None { header.dump_length } else { header.extent },
        architecture: &header.architecture,
        kernel: &header.version_string,
        hostname: &header.hostname,
        taken_at: header.dump_time,
    };
    if context.out.is_json() {
        context.out.document("memtool.livedump", host, &document)?;
        return Ok(Verdict::Done);
    }
    if context.global.quiet {
        return Ok(Verdict::Done);
    }
    let kind = if host.as_recorded().is_some() { "recorded machine" } else { "host" };
    let compressed = match compression {
        Compression::None => String::new(),
        _ => format!(", {} before {}", rough_size(document.uncompressed_size), compression.name()),
    };
    context.out.line(&format!(
        "{}: {}{compressed}, in {:.1} s",
        document.file,
        rough_size(document.size),
        begun.elapsed().as_secs_f64()
    ))?;
    context.out.line(&format!("{kind} {}, {}, {}", header.hostname, header.architecture, header.version_string))?;
    Ok(Verdict::Done)
}
