//! A live dump that the kernel makes, and the check whether it has lost pages.

use super::examine::examine;
use super::output::LiveOutput;
use super::trailer::Trailer;
use super::{LiveDump, LiveDumpOptions, Method, Reason, begin_info, check_space, estimate};
use crate::dump::sink::Target;
use crate::error::{Error, Result};
use crate::host::{Host, LiveDumpFacts, kernel_config};
use crate::interrupt::with_signals_elsewhere;
use crate::kernel_error::{KernelError, Operation};
use crate::live_kernel;
use crate::observer::{Observer, Phase, Work, observe_bytes, observed};
use crate::output_file::{temporary_directory, unnamed_temp_file};
use nix::errno::Errno;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use vmcore::dump::Depth;
use vmcore::kerneldump::Compression;
use vmcore::live::Check;
use vmcore::progress::Progress;
use vmcore::symbols::Symbols;

/// Whether the kernel is at it.
static KERNEL_DUMPS: AtomicBool = AtomicBool::new(false);

/// Whether the kernel is dumping for this program, which nothing stops.
pub fn kernel_dumps() -> bool {
    KERNEL_DUMPS.load(Ordering::Relaxed)
}

/// What came of asking the kernel.
pub(super) enum Taken {
    /// A dump.
    Dump(Box<LiveDump>),
    /// None that is of use; with the stream that it was for, to which nothing has gone.
    Nothing(Reason, Option<Target>),
}

/// Has the kernel make the dump.
pub(super) fn take(
    host: &dyn Host,
    symbols: &dyn Symbols,
    options: &LiveDumpOptions,
    observer: &mut dyn Observer,
) -> Result<Taken> {
    let facts = host.live_dump_facts()?;
    check_compression(&facts, options.compression)?;
    let limit = host.memory_map().ok().and_then(|map| estimate::at_most(&facts, map.total()));
    if options.check_space {
        check_space(options, limit, observer)?;
    }
    let (check, unchecked) = match options.method {
        Method::Auto => match observe_bytes(observer, Phase::ReadingPageTables, None, |_| {
            live_kernel::open(host, symbols).and_then(|kernel| Ok(Check::before(kernel)?))
        }) {
            Ok(check) => (Some(check), None),
            Err(error) => (None, Some(error)),
        },
        Method::Kernel | Method::User => (None, None),
    };
    let clock = Instant::now();
    let info = begin_info(options)?;
    let begun = LiveOutput::new(options, limit)?;
    let directory = options.destination.directory();
    let work = Work::KernelDump { directory: &directory, limit };
    match observed(observer, work, || attempt(host, begun, check.as_ref(), options))? {
        Taken::Dump(dump) => Ok(Taken::Dump(Box::new(LiveDump { unchecked, elapsed: clock.elapsed(), info, ..*dump }))),
        nothing => Ok(nothing),
    }
}

/// Has the kernel write the dump, looks at it and brings it to where it goes.
fn attempt(host: &dyn Host, begun: LiveOutput, check: Option<&Check<'_>>, options: &LiveDumpOptions) -> Result<Taken> {
    let held = match begun.place.file() {
        Some(file) => file.try_clone().map_err(|source| Error::io("write", &options.kernel_file(), source))?,
        None => unnamed_temp_file(&temporary_directory())?,
    };
    let (trailer, size) = match write(host, &held, options) {
        Err(Error::Kernel(error)) if options.method == Method::Auto && is_unknown(&error) => {
            return Ok(Taken::Nothing(Reason::NoLiveDumps, begun.into_stream()));
        }
        written => written?,
    };
    // The page bitmap is needed to look for pages that were lost.
    let depth = options.verify.depth().or(check.map(|_| Depth::Quick));
    let examined = depth.map(|depth| examine(&held, depth, check, &Progress::default())).transpose()?.transpose();
    let inspection = match examined {
        Err(distrust) if check.is_some() => {
            return Ok(Taken::Nothing(Reason::Distrust(distrust), begun.into_stream()));
        }
        examined => examined?,
    };
    let dump = begun.finish(Some(held), trailer, size)?;
    Ok(Taken::Dump(Box::new(LiveDump { inspection, ..dump })))
}

/// Has the kernel write a dump, and checks and cuts off the header. Gives the bytes that are left as well.
fn write(host: &dyn Host, file: &File, options: &LiveDumpOptions) -> Result<(Trailer, u64)> {
    let name = options.kernel_file();
    let architecture = host.system()?.machine_arch;
    KERNEL_DUMPS.store(true, Ordering::Relaxed);
    let dumped = with_signals_elsewhere(|| host.kernel_dump(file, options.compression));
    KERNEL_DUMPS.store(false, Ordering::Relaxed);
    dumped.map_err(|error| name_file(error, &name))?;
    let length = file.metadata().map_err(|source| Error::io("look at", &name, source))?.len();
    let trailer = Trailer::read(file, length, &architecture, options.compression, options.lenient)?;
    if options.keep_header {
        return Ok((trailer, length));
    }
    let size = trailer.header.dump_length;
    file.set_len(size).map_err(|source| Error::io("truncate", &name, source))?;
    Ok((trailer, size))
}

/// The host knows a descriptor only; the user knows the file's name.
fn name_file(error: Error, name: &Path) -> Error {
    match error {
        Error::Kernel(mut error) if error.operation == Operation::KernelDump => {
            error.subject = name.display().to_string();
            Error::Kernel(error)
        }
        other => other,
    }
}

/// Whether the kernel does not know `MEM_KERNELDUMP`.
fn is_unknown(error: &KernelError) -> bool {
    error.operation == Operation::KernelDump && error.errno == Errno::ENOTTY
}

/// Refuses a compression that the kernel certainly does not have.
pub(super) fn check_compression(facts: &LiveDumpFacts, compression: Compression) -> Result<()> {
    let Some(built_in) = facts.compressions.as_ref().filter(|built_in| !built_in.contains(&compression)) else {
        return Ok(());
    };
    let others: Vec<String> = [Compression::Zstd, Compression::Gzip, Compression::None]
        .into_iter()
        .filter(|other| *other != compression && (*other == Compression::None || built_in.contains(other)))
        .map(|other| if other == Compression::None { "--uncompress".into() } else { format!("--{}", other.name()) })
        .collect();
    Err(Error::Unsupported(format!(
        "the kernel cannot compress with {}: it was built without 'options {}' (kern.conftxt); try {}",
        compression.name(),
        kernel_config::option_for(compression).unwrap_or_default(),
        others.join(" or ")
    )))
}
