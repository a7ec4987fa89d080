//! `memtool archive`: the crashes of a fleet, each kept once.

mod add;
mod change;
mod show;

use super::{Context, Inputs, Verdict, help};
use clap::{Args, Subcommand};
use memtool::archive::contents::Findings;
use memtool::archive::index::Row;
use memtool::archive::time::Time;
use memtool::remote::folder::Folder;
use memtool::remote::open_folder;
use memtool::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;
use vmcore::text::column;

/// The name of the command.
const NAME: &str = "archive";
/// What JSON says that the command works on.
const HOST: &str = super::kernel::IMAGE;

#[derive(Args)]
#[command(
    arg_required_else_help = true,
    after_help = "STORE is a directory, or a folder of an object store such as s3://BUCKET/FOLDER/."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List crashes, the newest first
    Ls(show::LsArguments),
    /// Add dumps with what is beside them, each crash once
    Add(add::Arguments),
    /// Show all that is known of a crash
    Show(show::ShowArguments),
    /// Write the dump of a crash, and what goes with it, to a directory
    Get(change::GetArguments),
    /// Count crashes by fingerprint: which bugs there are
    Groups(show::GroupsArguments),
    /// Remove crashes that are too many, too old or too large, but never the last of a group
    Prune(change::PruneArguments),
    /// Merge the index, or make it anew from the crashes
    Index(change::IndexArguments),
    /// Show the manual page, or the options of a command
    Help(help::Arguments),
}

/// Which archive it is.
#[derive(Args)]
struct StoreArguments {
    /// The archive: a directory, or a folder of an object store
    #[arg(value_name = "STORE")]
    store: PathBuf,
}

impl StoreArguments {
    fn open(&self) -> Result<Box<dyn Folder>> {
        open_folder(&self.store)
    }

    /// The same of an archive that has to be there.
    fn open_existing(&self) -> Result<Box<dyn Folder>> {
        let folder = self.open()?;
        let is_address = self.store.to_str().is_some_and(memtool::remote::address::is_address);
        if !is_address && !self.store.is_dir() {
            return Err(Error::Refused(format!("there is no archive {}", self.store.display())));
        }
        Ok(folder)
    }
}

impl Arguments {
    /// What `archive help` is to describe.
    pub fn help(&self) -> Option<help::Arguments> {
        match &self.command {
            Command::Help(arguments) => Some(arguments.below(NAME)),
            _ => None,
        }
    }

    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        match &self.command {
            Command::Add(arguments) => arguments.inputs(),
            Command::Show(arguments) => arguments.inputs(),
            _ => Vec::new(),
        }
    }

    /// What clap cannot check.
    pub fn check(&self) -> Result<(), String> {
        match &self.command {
            Command::Add(arguments) => arguments.check(),
            Command::Prune(arguments) => arguments.check(),
            _ => Ok(()),
        }
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    match &arguments.command {
        Command::Ls(arguments) => show::list(context, arguments),
        Command::Add(arguments) => add::run(context, arguments),
        Command::Show(arguments) => show::show(context, arguments),
        Command::Get(arguments) => change::get(context, arguments),
        Command::Groups(arguments) => show::groups(context, arguments),
        Command::Prune(arguments) => change::prune(context, arguments),
        Command::Index(arguments) => change::index(context, arguments),
        Command::Help(arguments) => help::run(context, &arguments.below(NAME)),
    }
}

/// clap's parser for times.
fn time(text: &str) -> Result<Time, String> {
    Time::parse(text, Time::now()).map_err(|error| error.to_string())
}

/// A crash, as the index has it.
#[derive(Serialize)]
struct RowDocument<'a> {
    id: &'a str,
    hostname: Option<&'a str>,
    crashed_at: Time,
    dumped_at: Option<Time>,
    added_at: Time,
    kernel_version: Option<&'a str>,
    kernel_build_id: Option<&'a str>,
    architecture: Option<&'a str>,
    panic: Option<&'a str>,
    fingerprint_value: Option<&'a str>,
    dump_size: Option<u64>,
    stored_size: u64,
    compression: &'a str,
    encrypted: bool,
    object: &'a str,
}

impl<'a> RowDocument<'a> {
    fn new(row: &'a Row) -> Self {
        Self {
            id: row.id.as_str(),
            hostname: row.host.as_deref(),
            crashed_at: row.crashed_at,
            dumped_at: row.dumped_at,
            added_at: row.added_at,
            kernel_version: row.kernel_version.as_deref(),
            kernel_build_id: row.kernel_build_id.as_deref(),
            architecture: row.architecture.as_deref(),
            panic: row.panic.as_deref(),
            fingerprint_value: row.fingerprint.as_deref(),
            dump_size: row.dump_size,
            stored_size: row.stored_size,
            compression: &row.compression,
            encrypted: row.encrypted,
            object: &row.object,
        }
    }
}

/// The headings of [`row_cells`].
const ROW_HEADINGS: [&str; 6] = ["TIME", "HOST", "FINGERPRINT", "PANIC", "SIZE", "ID"];

/// A crash in a table.
fn row_cells(context: &Context, row: &Row) -> Vec<String> {
    let is_short = context.out.columns().is_some();
    let id = if is_short { row.id.short() } else { row.id.as_str() };
    vec![
        row.crashed_at.to_string(),
        cell(row.host.as_deref()),
        cell(row.fingerprint.as_deref()),
        cell(row.panic.as_deref()),
        context.out.size(row.stored_size.into()),
        id.to_owned(),
    ]
}

/// A text in a table.
fn cell(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| column(text.as_bytes()))
}

/// Says what is wrong with an archive, and whether nothing is.
fn conclude(context: &mut Context, findings: &Findings) -> Result<Verdict> {
    for problem in findings.problems.lines() {
        context.print_failure(&problem)?;
    }
    Ok(if findings.problems.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// Says what is worth knowing of an archive, before what was asked.
fn remark(context: &mut Context, findings: &Findings) {
    findings.remarks.lines().iter().for_each(|remark| context.warn(remark));
}
