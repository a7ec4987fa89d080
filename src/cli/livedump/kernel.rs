//! A live dump that the kernel makes, and the check whether it has lost pages.

use super::super::progress::{Display, clock};
use super::super::{Context, Verdict};
use super::{Arguments, Method, check_space, conclude, describe, minidump, user, verify, warn_of_doubts};
use memtool::free_space;
use memtool::host::Host;
use memtool::host::LiveDumpFacts;
use memtool::host::kernel_config;
use memtool::live_kernel::{Check, LiveKernel, Loss};
use memtool::livedump::estimate;
use memtool::livedump::{self, Failure, Options};
use memtool::output_file::OutputFile;
use memtool::{Error, KernelError, Operation, Result};
use nix::errno::Errno;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use vmcore::dump::pages::Pages;
use vmcore::kerneldump::Compression;
use vmcore::symbols::Symbols;
use vmcore::units::{counted, rough_size};

/// Whether the kernel is at it.
static KERNEL_DUMPS: AtomicBool = AtomicBool::new(false);

/// Whether the kernel is dumping, which nothing stops.
pub fn kernel_dumps() -> bool {
    KERNEL_DUMPS.load(Ordering::Relaxed)
}

/// Has the kernel make the dump; unless it is told otherwise, memtool makes one if the kernel's is not to be
/// trusted, or there is none.
pub fn take(context: &mut Context, host: &dyn Host, symbols: &dyn Symbols, arguments: &Arguments) -> Result<Verdict> {
    let compression = arguments.compression();
    let facts = host.live_dump_facts()?;
    check_compression(&facts, compression)?;
    let directory = arguments.directory();
    let limit = host.memory_map().ok().and_then(|map| estimate::at_most(&facts, map.total()));
    if !arguments.no_space_check {
        check_space(context, arguments, &directory, limit, compression)?;
    }
    let kernel = match arguments.method {
        Method::Auto => LiveKernel::open(host, symbols).map(Some),
        _ => Ok(None),
    };
    let (check, unchecked) = match kernel.and_then(|kernel| kernel.map(Check::before).transpose()) {
        Ok(check) => (check, None),
        Err(error) => (None, Some(error)),
    };
    let begun = Instant::now();
    let info_file = arguments.info_file().map(|path| OutputFile::create(path, arguments.force)).transpose()?;
    let destination = arguments.destination(context)?;
    let options = Options { compression, keep_header: arguments.keep_header };
    let display = display(context, &directory, limit)?;
    let mut distrust = None;
    let mut inspection = None;
    KERNEL_DUMPS.store(true, Ordering::Relaxed);
    let taken = livedump::take(host, destination, options, |dump, _| {
        KERNEL_DUMPS.store(false, Ordering::Relaxed);
        let verified = verify(dump, arguments, check.is_some()).and_then(|found| {
            let lost = match (&check, found.as_ref().and_then(minidump)) {
                (Some(check), Some(facts)) => pages_lost(check, &facts.pages)?,
                _ => None,
            };
            lost.map_or(Ok(found), |why| Err(Error::Format(why)))
        });
        if let (Err(Error::Format(why)), Some(_)) = (&verified, &check) {
            distrust = Some(why.clone());
        }
        inspection = verified?;
        Ok(())
    });
    KERNEL_DUMPS.store(false, Ordering::Relaxed);
    drop(display);
    let report = match (taken, distrust) {
        (Err(Failure { target, .. }), Some(why)) => {
            context.warn(&format!("{why}; memtool makes the dump"));
            drop(info_file);
            return user::make(context, host, symbols, arguments, target);
        }
        (Err(Failure { error: Error::Kernel(error), target }), _)
            if arguments.method == Method::Auto && is_unknown(&error) =>
        {
            context.remark("this kernel makes no live dumps, as FreeBSD 14.0 and later do; memtool makes the dump");
            drop(info_file);
            return user::make(context, host, symbols, arguments, target);
        }
        (taken, _) => taken.map_err(|failure| failure.error)?,
    };
    if let Some(error) = unchecked {
        context.remark(&format!("whether the kernel lost pages was not checked: {error}"));
    }
    warn_of_doubts(context, inspection.as_ref());
    let document = describe(arguments, &report, begun.elapsed(), None, inspection.as_ref());
    conclude(context, host, arguments, info_file, &report, &document)?;
    Ok(Verdict::Done)
}

/// Says what is missing from the kernel's dump, if that is more than can be.
fn pages_lost(check: &Check<'_>, dumped: &Pages) -> Result<Option<String>> {
    let loss = check.after(dumped)?;
    let Loss { marked, lost } = loss;
    let why =
        || format!("the kernel's dump lacks {lost} of the {} that it marked for dumping", counted(marked, "page"));
    Ok(loss.is_too_large().then(why))
}

/// Whether the kernel does not know `MEM_KERNELDUMP`.
fn is_unknown(error: &KernelError) -> bool {
    error.operation == Operation::KernelDump && error.errno == Errno::ENOTTY
}

/// Refuses a compression that the kernel certainly does not have.
fn check_compression(facts: &LiveDumpFacts, compression: Compression) -> Result<()> {
    let Some(built_in) = facts.compressions.as_ref().filter(|built_in| !built_in.contains(&compression)) else {
        return Ok(());
    };
    let others: Vec<String> = [Compression::Zstd, Compression::Gzip, Compression::None]
        .into_iter()
        .filter(|other| *other != compression && (*other == Compression::None || built_in.contains(other)))
        .map(|other| format!("--{}", other.name()))
        .collect();
    Err(Error::Unsupported(format!(
        "the kernel cannot compress with {}: it was built without 'options {}' (kern.conftxt); try {}",
        compression.name(),
        kernel_config::option_for(compression).unwrap_or_default(),
        others.join(" or ")
    )))
}

/// Shows time and free space: looking at the file itself would wait until the kernel is done with it.
fn display(context: &Context, directory: &Path, limit: Option<u64>) -> Result<Display> {
    let opened = File::open(directory).map_err(|source| Error::io("open", directory, source))?;
    let before = free_space::free_behind(&opened).ok();
    let line = move |elapsed: Duration| {
        if !kernel_dumps() {
            return format!("the dump is being checked: {}", clock(elapsed.as_secs()));
        }
        let fallen = before.zip(free_space::free_behind(&opened).ok()).map(|(was, is)| was.saturating_sub(is));
        describe_progress(elapsed, fallen, limit)
    };
    Display::show(line, !context.global.quiet)
}

/// `0:12, free space fell by 80.0 MiB; the dump takes 120.0 MiB at most`.
fn describe_progress(elapsed: Duration, fallen: Option<u64>, limit: Option<u64>) -> String {
    let mut line = format!("the kernel is dumping: {}", clock(elapsed.as_secs()));
    if let Some(fallen) = fallen {
        line.push_str(&format!(", free space fell by {}", rough_size(fallen)));
    }
    if let Some(limit) = limit {
        line.push_str(&format!("; the dump takes {} at most", rough_size(limit)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_time_and_free_space() {
        let after = Duration::from_secs(72);
        assert_eq!(describe_progress(after, None, None), "the kernel is dumping: 1:12");
        assert_eq!(
            describe_progress(after, Some(80 << 20), Some(120 << 20)),
            "the kernel is dumping: 1:12, free space fell by 80.0 MiB; the dump takes 120.0 MiB at most"
        );
    }
}
