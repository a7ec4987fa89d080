//! A live dump that memtool makes, from user space.

use super::examine::examine;
use super::output::{LiveOutput, Place};
use super::trailer::Trailer;
use super::{LiveDump, LiveDumpOptions, Method, begin_info, check_space};
use crate::compress;
use crate::dump::sink::{Packing, Target, with_sink};
use crate::error::{Error, Result};
use crate::files;
use crate::host::Host;
use crate::live_kernel;
use crate::observer::{Observer, Phase, observe_bytes};
use crate::save::info::parity_word;
use ioctl_defs::kerneldump::KERNELDUMPVERSION;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vmcore::inventory::memory::spare_pages::spare_pages;
use vmcore::kerneldump::{Compression, Header, Kind};
use vmcore::live::Snapshot;
use vmcore::minidump::writer::PageSource;
use vmcore::progress::Progress;
use vmcore::symbols::Symbols;
use vmcore::system::System;
use vmcore::text::Name;

/// Makes the dump; into that stream, if there is one already. A file is looked at before it gets its name.
pub(super) fn make(
    host: &dyn Host,
    symbols: &dyn Symbols,
    options: &LiveDumpOptions,
    stream: Option<Target>,
    observer: &mut dyn Observer,
) -> Result<LiveDump> {
    check_header(options, observer)?;
    let system = host.system()?;
    let clock = Instant::now();
    let kernel = live_kernel::open(host, symbols)?;
    let mut snapshot = observe_bytes(observer, Phase::ReadingPageTables, None, |_| kernel.snapshot())?;
    if !options.without.is_empty() {
        leave_out(host, &mut snapshot, options, observer)?;
    }
    let size = snapshot.size()?;
    if options.check_space && !options.destination.is_stream() {
        check_space(options, Some(size), observer)?;
    }
    let info = begin_info(options)?;
    let begun = match stream {
        Some(target) => LiveOutput { place: Place::Stream, target },
        None => LiveOutput::new(options, Some(size))?,
    };
    let dump = write(&snapshot, begun, &system, options, observer)?;
    Ok(LiveDump { elapsed: clock.elapsed(), info, ..dump })
}

/// Leaves out what is not wanted in the dump. What the pages are is asked after the kernel has said which ones its dumps have:
/// one that is allocated meanwhile is not in the dump anyway.
fn leave_out(
    host: &dyn Host,
    snapshot: &mut Snapshot<'_>,
    options: &LiveDumpOptions,
    observer: &mut dyn Observer,
) -> Result<()> {
    let terms = options.without;
    let cannot = |error: Error| {
        Error::Refused(format!("--without {terms}: what the kernel's pages are used for cannot be told: {error}"))
    };
    let image = options.image.as_deref().map(files::open_kernel).transpose()?;
    let kernel = live_kernel::open_typed(host, image).map_err(cannot)?;
    let typed = kernel.typed().map_err(|error| cannot(error.into()))?;
    observe_bytes(observer, Phase::Reading, None, |_| snapshot.leave_out(terms, |show| spare_pages(typed, show)))
        .map_err(cannot)
}

/// There is no header to keep.
fn check_header(options: &LiveDumpOptions, observer: &mut dyn Observer) -> Result<()> {
    let why = "--keep-header: a dump made by memtool has no header at its end";
    match options.keep_header {
        true if options.method == Method::User => return Err(Error::Refused(why.to_owned())),
        true => observer.warn(why),
        false => {}
    }
    Ok(())
}

/// Writes the dump, looks at it where that can be done, and brings it to where it goes.
fn write(
    snapshot: &Snapshot<'_>,
    begun: LiveOutput,
    system: &System,
    options: &LiveDumpOptions,
    observer: &mut dyn Observer,
) -> Result<LiveDump> {
    let LiveOutput { place, target } = begun;
    let compression = compress::Compression::at_level(options.compression, options.level.unwrap_or_default());
    let phase = match options.compression {
        Compression::None if options.recipients.is_empty() => Phase::Copying,
        Compression::None => Phase::Encrypting,
        _ => Phase::Compressing,
    };
    let packing = Packing { compression, recipients: &options.recipients };
    let (made, written, target) = observe_bytes(observer, phase, snapshot.page_bytes(), |progress| {
        with_sink(target, packing, false, |out| Ok(snapshot.write(out, progress)?))
    })?;
    // What is encrypted nobody can read back here.
    let readable = place.file().filter(|_| options.recipients.is_empty());
    let inspection = match readable.zip(options.verify.depth()) {
        Some((file, depth)) => {
            let look = |progress: &Progress| examine(file, depth, None, progress);
            Some(observe_bytes(observer, Phase::Verifying, written.bytes, look)??)
        }
        None => None,
    };
    let header = header(snapshot, system, options, (written.bytes, made.size));
    let parity = parity_word(&header.encode());
    let dump = LiveOutput { place, target }.finish(None, Trailer { header, parity, good: true }, written.bytes)?;
    Ok(LiveDump { inspection, made: Some(made), ..dump })
}

/// What the kernel would say of its own dump of that many bytes, and before compression that many.
fn header(
    snapshot: &Snapshot<'_>,
    system: &System,
    options: &LiveDumpOptions,
    (dump_length, extent): (u64, u64),
) -> Header {
    Header {
        kind: Kind::KernelDump,
        architecture: system.machine_arch.clone(),
        version: KERNELDUMPVERSION,
        architecture_version: snapshot.machine().dump_version(),
        dump_length,
        dump_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        key_size: 0,
        block_size: system.page_size,
        hostname: system.hostname.as_str().into(),
        version_string: system.version.as_str().into(),
        panic_string: Name::default(),
        compression: options.compression.code(),
        extent,
    }
}
