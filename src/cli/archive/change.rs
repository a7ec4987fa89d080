//! What is taken from an archive, and how it is kept in order.

use super::show::find;
use super::{HOST, ROW_HEADINGS, RowDocument, StoreArguments, conclude, remark, row_cells};
use crate::cli::{Context, Verdict, size};
use clap::Args;
use memtool::archive::contents::{self, Findings, counted_crashes};
use memtool::archive::get::{self, Fetched};
use memtool::archive::maintain;
use memtool::archive::prune::{self, Retention};
use memtool::archive::record::Kind;
use memtool::archive::time::{Time, parse_age};
use memtool::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;
use vmcore::text::Name;
use vmcore::units::{counted, rough_size};

#[derive(Args)]
pub struct GetArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The crash: its ID, or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
    /// The directory to write to
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

#[derive(Serialize)]
struct GetDocument {
    store: Name,
    id: String,
    files: Vec<FileDocument>,
}

#[derive(Serialize)]
struct FileDocument {
    kind: Kind,
    output: Name,
    size: u64,
}

pub fn get(context: &mut Context, arguments: &GetArguments) -> Result<Verdict> {
    let folder = arguments.store.open_existing()?;
    if !arguments.output.is_dir() {
        return Err(Error::Refused(format!("there is no directory {}", arguments.output.display())));
    }
    let record = find(&*folder, context, &arguments.id)?;
    let files = get::get(&*folder, &record, &arguments.output, context)?;
    if context.out.is_json() {
        let file = |Fetched { kind, path, size }| FileDocument { kind, output: path.as_path().into(), size };
        let (store, id) = (arguments.store.store.as_path().into(), record.id.to_string());
        let document = GetDocument { store, id, files: files.into_iter().map(file).collect() };
        context.out.document_of("memtool.archive.get", HOST, &document)?;
    } else if !context.global.quiet {
        for Fetched { path, size, .. } in &files {
            context.out.line(&format!("{}: {}", path.display(), counted(*size, "byte")))?;
        }
    }
    Ok(Verdict::Done)
}

#[derive(Args)]
#[command(
    after_help = "A group has the crashes of one fingerprint, or of one panic message; its newest crash is always kept."
)]
pub struct PruneArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Keep at most so many crashes of each group
    #[arg(long, value_name = "N")]
    keep: Option<u64>,
    /// Remove crashes that are older, such as 90d
    #[arg(long, value_name = "AGE", value_parser = |text: &str| parse_age(text).map_err(|error| error.to_string()))]
    max_age: Option<u64>,
    /// Remove the oldest crashes until the dumps take no more than that
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Show what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl PruneArguments {
    pub fn check(&self) -> Result<(), String> {
        if self.keep.is_none() && self.max_age.is_none() && self.max_size.is_none() {
            return Err("nothing says what is too much: give --keep, --max-age or --max-size".to_owned());
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct PruneDocument<'a> {
    store: Name,
    dry_run: bool,
    crash_count: u64,
    crashes: Vec<RowDocument<'a>>,
    problems: Vec<String>,
}

pub fn prune(context: &mut Context, arguments: &PruneArguments) -> Result<Verdict> {
    let folder = arguments.store.open_existing()?;
    let contents = contents::read(&*folder, None)?;
    remark(context, &contents.findings);
    let PruneArguments { keep, max_age, max_size, dry_run, .. } = *arguments;
    let removed = prune::plan(&contents.rows, &Retention { keep, max_age, max_size }, Time::now());
    let mut findings = Findings::default();
    if !dry_run {
        prune::remove(&*folder, &removed, &mut findings)?;
    }
    if context.out.is_json() {
        let document = PruneDocument {
            store: arguments.store.store.as_path().into(),
            dry_run,
            crash_count: removed.len() as u64,
            crashes: removed.iter().map(RowDocument::new).collect(),
            problems: contents.findings.problems.lines(),
        };
        context.out.document_of("memtool.archive.prune", HOST, &document)?;
        return conclude(context, &contents.findings);
    }
    let rows: Vec<_> = removed.iter().map(|row| row_cells(context, row)).collect();
    if !rows.is_empty() && (!context.global.quiet || dry_run) {
        context.out.rows_or_blocks(&ROW_HEADINGS, &rows)?;
    }
    let freed = removed.iter().map(|row| row.stored_size).fold(0, u64::saturating_add);
    let (crashes, freed) = (counted_crashes(removed.len() as u64), rough_size(freed));
    context.remark(&format!("{crashes} {}: {freed}", if dry_run { "would be removed" } else { "removed" }));
    conclude(context, &contents.findings)
}

#[derive(Args)]
pub struct IndexArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Make the index anew from the records of all crashes, and look for what is not as it should be
    #[arg(long)]
    rebuild: bool,
}

#[derive(Serialize)]
struct IndexDocument {
    store: Name,
    rebuilt: bool,
    crash_count: u64,
    month_count: u64,
    removed_object_count: u64,
    pruned_count: u64,
    orphan_count: Option<u64>,
    problems: Vec<String>,
}

pub fn index(context: &mut Context, arguments: &IndexArguments) -> Result<Verdict> {
    let folder = arguments.store.open_existing()?;
    let done = if arguments.rebuild { maintain::rebuild(&*folder)? } else { maintain::merge(&*folder)? };
    remark(context, &done.findings);
    if context.out.is_json() {
        let document = IndexDocument {
            store: arguments.store.store.as_path().into(),
            rebuilt: arguments.rebuild,
            crash_count: done.row_count,
            month_count: done.month_count,
            removed_object_count: done.removed_count,
            pruned_count: done.pruned_count,
            orphan_count: done.orphan_count,
            problems: done.findings.problems.lines(),
        };
        context.out.document_of("memtool.archive.index", HOST, &document)?;
    } else if !context.global.quiet {
        let crashes = counted_crashes(done.row_count);
        let (months, objects) = (counted(done.month_count, "month"), counted(done.removed_count, "object"));
        context.out.line(&format!("{}: {crashes} in {months}, {objects} merged into others", folder.name()))?;
        if done.pruned_count > 0 {
            context.remark(&format!("crashes whose removal was interrupted, now removed: {}", done.pruned_count));
        }
    }
    conclude(context, &done.findings)
}
