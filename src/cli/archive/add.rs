//! `memtool archive add`.

use super::{HOST, StoreArguments};
use crate::cli::crash::OpeningArguments;
use crate::cli::encryption::RecipientArguments;
use crate::cli::report::KeptReport;
use crate::cli::{Context, Inputs, Verdict, seekable};
use clap::Args;
use memtool::archive::add::{self, Added, Options, Reported};
use memtool::archive::candidate::Candidate;
use memtool::archive::record::CrashRecord;
use memtool::archive::time::Time;
use memtool::crash_dump::CrashDump;
use memtool::encryption::Recipients;
use memtool::remote::folder::Folder;
use memtool::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use vmcore::text::Name;
use vmcore::units::rough_size;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Dumps as savecore leaves them; info.N and key.N beside vmcore.N are added with it
    #[arg(value_name = "VMCORE", required = true, value_parser = seekable())]
    dumps: Vec<PathBuf>,
    #[command(flatten)]
    opening: OpeningArguments,
    /// The debug information of the kernel, such as kernel.debug, to be kept with it
    #[arg(long, value_name = "FILE", value_parser = seekable())]
    debug: Option<PathBuf>,
    /// What savecore has written of the dump's header, if it is not in info.N beside it
    #[arg(long, value_name = "FILE", value_parser = seekable())]
    info: Option<PathBuf>,
    /// Make no report, which would tell the fingerprint, and keep no kernel that is not named
    #[arg(long)]
    no_report: bool,
    /// Remove the dump and the files beside it once the archive has them
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    recipients: RecipientArguments,
}

impl Arguments {
    pub fn inputs(&self) -> Inputs<'_> {
        let private_key = ("--private-key", self.opening.private_key.as_ref());
        [private_key].into_iter().chain(self.opening.identities.inputs()).chain(self.recipients.inputs()).collect()
    }

    pub fn check(&self) -> Result<(), String> {
        if self.info.is_some() && self.dumps.len() > 1 {
            return Err("--info is for one dump".to_owned());
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Document {
    store: Name,
    crashes: Vec<AddedDocument>,
    failed_count: u64,
}

#[derive(Serialize)]
struct AddedDocument {
    input: Name,
    added: bool,
    deleted: Vec<Name>,
    crash: CrashRecord,
}

/// Adds each of the dumps; one that cannot be added does not keep the others from it.
pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let folder = arguments.store.open()?;
    let recipients = arguments.recipients.read()?;
    let mut crashes = Vec::new();
    let mut failed_count = 0;
    for dump in &arguments.dumps {
        match add_one(context, arguments, &*folder, &recipients, dump) {
            Ok(added) => crashes.push(added),
            Err(error) if arguments.dumps.len() == 1 => return Err(error),
            Err(error) => {
                failed_count += 1;
                context.print_failure(&format!("{}: {error}", dump.display()))?;
            }
        }
    }
    if context.out.is_json() {
        let document = Document { store: arguments.store.store.as_path().into(), crashes, failed_count };
        context.out.document_of("memtool.archive.add", HOST, &document)?;
    }
    Ok(if failed_count == 0 { Verdict::Done } else { Verdict::Failed })
}

fn add_one(
    context: &mut Context,
    arguments: &Arguments,
    folder: &dyn Folder,
    recipients: &Recipients,
    dump: &Path,
) -> Result<AddedDocument> {
    let now = Time::now();
    let candidate = Candidate::open(CrashDump::in_file(dump), arguments.info.as_deref(), context)?;
    let added = match add::find(folder, &candidate, now)? {
        Some(record) => Added { record, is_new: false },
        None => add_new(context, arguments, folder, recipients, (&candidate, now))?,
    };
    let deleted = if arguments.delete { add::delete(folder, &candidate, &added.record)? } else { Vec::new() };
    let record = &added.record;
    if !context.out.is_json() && !context.global.quiet {
        let name = dump.display();
        let (id, size) = (&record.id, rough_size(record.stored_size));
        let line = match (&record.fingerprint, added.is_new) {
            (_, false) => format!("{name}: is in the archive already, as {id}"),
            (Some(fingerprint), true) => format!("{name}: added as {id}, {size}, fingerprint {}", fingerprint.value),
            (None, true) => format!("{name}: added as {id}, {size}, without a fingerprint"),
        };
        context.out.line(&line)?;
    }
    Ok(AddedDocument {
        input: dump.into(),
        added: added.is_new,
        deleted: deleted.iter().map(|path| path.as_path().into()).collect(),
        crash: added.record,
    })
}

fn add_new(
    context: &mut Context,
    arguments: &Arguments,
    folder: &dyn Folder,
    recipients: &Recipients,
    (candidate, now): (&Candidate, Time),
) -> Result<Added> {
    let kept = report(context, arguments, candidate);
    let reported = kept.as_ref().map(|kept| Reported::new(&kept.report, kept.json.clone()));
    let found = kept.as_ref().and_then(|kept| kept.kernel.as_deref());
    let options = Options {
        kernel: arguments.opening.kernel.as_deref().or(found),
        debug: arguments.debug.as_deref(),
        recipients,
    };
    let added = add::add(folder, candidate, reported.as_ref(), &options, now, context)?;
    added.record.warnings.iter().for_each(|warning| context.warn(warning));
    Ok(added)
}

/// The report of a dump; that there is none does not keep the dump from the archive.
fn report(context: &mut Context, arguments: &Arguments, candidate: &Candidate) -> Option<KeptReport> {
    if arguments.no_report {
        return None;
    }
    let opening = &arguments.opening;
    let has_key = !candidate.files.is_encrypted || opening.private_key.is_some();
    let has_identity = !candidate.is_encrypted_to_recipients || !opening.identities.files().is_empty();
    if !has_key || !has_identity {
        context.warn(&format!("{}: the dump is encrypted, so there is no report", candidate.files.core.display()));
        return None;
    }
    let collected = KeptReport::collect(context, opening, candidate.files.clone());
    let why = |error: Error| context.warn(&format!("there is no report: {error}"));
    collected.map_err(why).ok()
}
