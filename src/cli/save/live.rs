//! `memtool save -L`: a live dump, saved in a directory.

use super::Arguments;
use super::document::{Document, Ending, Outcome, SavedFile};
use super::store::say_planned;
use crate::cli::inspect::KernelHeader;
use crate::cli::{Context, Verdict, livedump};
use memtool::Result;
use memtool::host::Host;
use memtool::live_kernel::RunningSymbols;
use memtool::livedump::{LiveDump, LiveDumpDestination, LiveDumpOptions, Method, PlannedLiveDump, Verify};
use memtool::remote::Settings;
use memtool::save::info::LIVE;
use std::path::Path;
use vmcore::kerneldump::Compression;
use vmcore::minidump::left_out::Terms;
use vmcore::units::rough_size;

impl Arguments {
    /// How a live dump is made.
    fn live_options(&self) -> Result<LiveDumpOptions> {
        Ok(LiveDumpOptions {
            destination: LiveDumpDestination::Directory(self.directory().to_owned()),
            remote: Settings::default(),
            method: Method::Auto,
            compression: self.stored.compression(),
            level: self.stored.level(),
            recipients: self.recipients.read()?,
            keep_header: false,
            verify: Verify::Full,
            info: None,
            check_space: !self.no_space_check,
            replace: false,
            limit: self.max,
            without: Terms::default(),
            image: None,
            lenient: self.force,
        })
    }
}

/// Takes a live dump, or says what would be done.
pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let host = &*context.host()?;
    let options = arguments.live_options()?;
    let outcome = if arguments.dry_run {
        plan_dump(context, host, &options)?
    } else {
        let dump = memtool::livedump::run(host, &RunningSymbols(host), &options, context)?;
        livedump::warn_of_doubts(context, &dump, host.system()?.page_size.into());
        if !context.out.is_json() {
            livedump::tell(context, host, &options, (&dump, &livedump::describe(&options, &dump)))?;
        }
        outcome_of(&dump, &options)
    };
    if context.out.is_json() {
        let document = Document { dry_run: arguments.dry_run, devices: vec![outcome] };
        context.out.document("memtool.save", host, &document)?;
    }
    Ok(Verdict::Done)
}

/// Says what live dump would be saved.
fn plan_dump(context: &mut Context, host: &dyn Host, options: &LiveDumpOptions) -> Result<Outcome> {
    let PlannedLiveDump { reason, at_most, files } = memtool::livedump::plan(host, options, context)?;
    if let Some(reason) = reason {
        context.remark(&format!("{reason}; memtool would make the dump"));
    }
    if let Some(files) = &files {
        let size = match (at_most, options.compression) {
            (Some(bytes), Compression::None) => format!("{} at most", rough_size(bytes)),
            (Some(bytes), compression) => format!("{} at most before {}", rough_size(bytes), compression.name()),
            (None, _) => "a live dump of unknown size".to_owned(),
        };
        say_planned(context, files, &size)?;
    }
    let saved = files.map(|planned| SavedFile {
        recipients: options.recipients.public_keys(),
        ..SavedFile::new(&planned.files, None, options.compression, true)
    });
    Ok(Outcome { saved, ..Outcome::new(Path::new(LIVE), Ending::Saved) })
}

/// What JSON says of a live dump.
fn outcome_of(dump: &LiveDump, options: &LiveDumpOptions) -> Outcome {
    let LiveDump { trailer, size, saved, inspection, .. } = dump;
    let compression = Compression::from_code(trailer.header.compression).unwrap_or(Compression::None);
    let saved = saved.as_ref().map(|saved| SavedFile {
        verified: inspection.is_some(),
        warnings: saved.problems.clone(),
        recipients: options.recipients.public_keys(),
        ..SavedFile::new(&saved.files, Some(*size), compression, trailer.good)
    });
    let header = Some(KernelHeader::new(&trailer.header));
    Outcome { header, size: Some(*size), saved, ..Outcome::new(Path::new(LIVE), Ending::Saved) }
}
