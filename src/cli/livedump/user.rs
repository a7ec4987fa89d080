//! A live dump that memtool makes, from user space.

use super::super::progress::Display;
use super::super::{Context, Verdict};
use super::{Arguments, Method, check_space, conclude, describe, stream, verify, warn_of_doubts};
use ioctl_defs::kerneldump::KERNELDUMPVERSION;
use memtool::dump;
use memtool::dump::sink::Target;
use memtool::host::Host;
use memtool::live_kernel::{self, LiveKernel};
use memtool::livedump;
use memtool::output_file::OutputFile;
use memtool::{Error, Result};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use vmcore::kerneldump::{Header, Kind};
use vmcore::progress::Progress;
use vmcore::symbols::Symbols;
use vmcore::units::counted;

/// Makes the dump from user space; into that target, if there is one already.
pub fn make(
    context: &mut Context,
    host: &dyn Host,
    symbols: &dyn Symbols,
    arguments: &Arguments,
    target: Option<Target>,
) -> Result<Verdict> {
    if arguments.keep_header {
        let why = "--keep-header: there is no header behind a dump that memtool makes";
        if arguments.method == Method::User {
            return Err(Error::Refused(why.to_owned()));
        }
        context.warn(why);
    }
    let compression = arguments.compression();
    let system = host.system()?;
    let begun = Instant::now();
    let kernel = LiveKernel::open(host, symbols)?;
    let snapshot = kernel.snapshot()?;
    let size = snapshot.size()?;
    if !arguments.no_space_check && !arguments.is_stream() {
        check_space(context, arguments, &arguments.directory(), Some(size), compression)?;
    }
    let info_file = arguments.info_file().map(|path| OutputFile::create(path, arguments.force)).transpose()?;
    let destination = target.map_or_else(|| arguments.destination(context), |target| Ok(stream(target)))?;
    let progress = Arc::new(Progress::default());
    let display = Display::start(Arc::clone(&progress), snapshot.page_bytes(), !context.global.quiet)?;
    let write = |target| {
        let output = dump::Output { target, compression: compression.into(), hash: false };
        snapshot.write(output, &progress)
    };
    let header = |made: &live_kernel::UserDumpReport| Header {
        kind: Kind::KernelDump,
        architecture: system.machine_arch.clone(),
        version: KERNELDUMPVERSION,
        architecture_version: kernel.architecture().dump_version(),
        dump_length: made.written.bytes,
        dump_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        key_size: 0,
        block_size: system.page_size,
        hostname: system.hostname.clone(),
        version_string: system.version.clone(),
        panic_string: String::new(),
        compression: compression.code(),
        extent: made.size,
    };
    let mut inspection = None;
    let made = livedump::make(destination, write, header, |dump| {
        inspection = verify(dump, arguments, false)?;
        Ok(())
    });
    drop(display);
    let (made, report) = made?;
    warn_of_missing(context, &made, system.page_size.into());
    warn_of_doubts(context, inspection.as_ref());
    let document = describe(arguments, &report, begun.elapsed(), Some(&made), inspection.as_ref());
    conclude(context, host, arguments, info_file, &report, &document)?;
    Ok(Verdict::Done)
}

fn warn_of_missing(context: &mut Context, made: &live_kernel::UserDumpReport, page_size: u64) {
    let unreadable = made.unreadable.bytes().div_ceil(page_size);
    if unreadable > 0 {
        let are = if unreadable == 1 { "is" } else { "are" };
        context.warn(&format!("{} could not be read and {are} zeros in the dump", counted(unreadable, "page")));
    }
    if made.not_ram > 0 {
        context.warn(&format!(
            "marked by the kernel for its dumps, but not RAM by its memory map, and left out: {}",
            counted(made.not_ram, "page")
        ));
    }
    if made.lost_tables > 0 {
        context.warn(&format!(
            "{} could not be read; pages that are mapped only there are missing",
            counted(made.lost_tables, "page table")
        ));
    }
}
