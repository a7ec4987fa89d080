//! What is in an archive.

use super::{HOST, ROW_HEADINGS, RowDocument, StoreArguments, cell, conclude, remark, row_cells, time};
use crate::cli::encryption::IdentityArguments;
use crate::cli::{Context, Inputs, Verdict};
use clap::Args;
use memtool::archive::add::read_record;
use memtool::archive::contents;
use memtool::archive::get;
use memtool::archive::groups::{self, Group, Key};
use memtool::archive::names::Month;
use memtool::archive::record::{CrashRecord, Kind};
use memtool::archive::time::Time;
use memtool::encryption::input::Unlock;
use memtool::output_file::temporary_directory;
use memtool::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use vmcore::text::Name;
use vmcore::units::{counted, rough_size};

/// Hosts of a group that are named.
const NAMED: usize = 10;
/// Hosts and versions of a group that a table names.
const IN_TABLE: usize = 3;

#[derive(Args)]
pub struct LsArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Only crashes since then: 2026-11-24, 2026-11-24T12:00:00Z, or an age such as 7d
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Time>,
    /// Only crashes of this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only crashes with this fingerprint
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// At most so many crashes
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Serialize)]
struct LsDocument<'a> {
    store: Name,
    crash_count: u64,
    crashes: Vec<RowDocument<'a>>,
    problems: Vec<String>,
}

pub fn list(context: &mut Context, arguments: &LsArguments) -> Result<Verdict> {
    let folder = arguments.store.open_existing()?;
    let month = arguments.since.and_then(|since| Month::parse(&since.month()));
    let contents = contents::read(&*folder, month.as_ref())?;
    remark(context, &contents.findings);
    let is_wanted = |row: &&memtool::archive::index::Row| {
        arguments.since.is_none_or(|since| row.crashed_at >= since)
            && (arguments.host.is_none() || row.host == arguments.host)
            && (arguments.fingerprint.is_none() || row.fingerprint == arguments.fingerprint)
    };
    let rows = contents.rows.iter().filter(is_wanted).take(arguments.limit.unwrap_or(usize::MAX));
    if context.out.is_json() {
        let crashes: Vec<_> = rows.map(RowDocument::new).collect();
        let document = LsDocument {
            store: arguments.store.store.as_path().into(),
            crash_count: crashes.len() as u64,
            crashes,
            problems: contents.findings.problems.lines(),
        };
        context.out.document_of("memtool.archive.ls", HOST, &document)?;
    } else {
        let rows: Vec<_> = rows.map(|row| row_cells(context, row)).collect();
        context.out.rows_or_blocks(&ROW_HEADINGS, &rows)?;
    }
    conclude(context, &contents.findings)
}

#[derive(Args)]
pub struct GroupsArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Only groups whose first crash was added since then: 2026-11-24, 2026-11-24T12:00:00Z, or an age such as 1d
    #[arg(long, value_name = "TIME", value_parser = time)]
    new_since: Option<Time>,
}

#[derive(Serialize)]
struct GroupsDocument<'a> {
    store: Name,
    group_count: u64,
    groups: Vec<GroupDocument<'a>>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct GroupDocument<'a> {
    fingerprint_value: Option<&'a str>,
    panic: Option<&'a str>,
    crash_count: u64,
    first_seen_at: Time,
    last_seen_at: Time,
    first_added_at: Time,
    host_count: u64,
    hostnames: Vec<&'a str>,
    kernel_versions: Vec<&'a str>,
    stored_size: u64,
}

/// The hosts that crashed most often.
fn hosts(group: &Group, most: usize) -> Vec<&str> {
    let mut hosts: Vec<_> = group.hosts.iter().collect();
    hosts.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    hosts.into_iter().take(most).map(|(name, _)| name.as_str()).collect()
}

impl<'a> GroupDocument<'a> {
    fn new(group: &'a Group) -> Self {
        Self {
            fingerprint_value: match &group.key {
                Key::Fingerprint(fingerprint) => Some(fingerprint),
                Key::Panic(_) => None,
            },
            panic: group.panic.as_deref(),
            crash_count: group.count,
            first_seen_at: group.first_seen,
            last_seen_at: group.last_seen,
            first_added_at: group.first_added,
            host_count: group.hosts.len() as u64,
            hostnames: hosts(group, NAMED),
            kernel_versions: group.kernel_versions.iter().map(String::as_str).collect(),
            stored_size: group.stored_size,
        }
    }
}

/// The first few of a list, and how many there are.
fn few<'a>(names: impl Iterator<Item = &'a str>, count: usize) -> String {
    let named: Vec<String> = names.take(IN_TABLE).map(|name| cell(Some(name))).collect();
    match count.saturating_sub(named.len()) {
        0 if named.is_empty() => "-".to_owned(),
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

pub fn groups(context: &mut Context, arguments: &GroupsArguments) -> Result<Verdict> {
    const HEADINGS: [&str; 8] =
        ["FINGERPRINT", "COUNT", "FIRST", "LAST", "HOSTS", "PANIC", "NAMES OF HOSTS", "KERNELS"];
    let folder = arguments.store.open_existing()?;
    // Also for what is new: it is new if nothing before is of that group.
    let contents = contents::read(&*folder, None)?;
    remark(context, &contents.findings);
    let mut groups = groups::groups(&contents.rows);
    groups.retain(|group| arguments.new_since.is_none_or(|since| group.first_added >= since));
    if context.out.is_json() {
        let document = GroupsDocument {
            store: arguments.store.store.as_path().into(),
            group_count: groups.len() as u64,
            groups: groups.iter().map(GroupDocument::new).collect(),
            problems: contents.findings.problems.lines(),
        };
        context.out.document_of("memtool.archive.groups", HOST, &document)?;
        return conclude(context, &contents.findings);
    }
    let row = |group: &Group| {
        vec![
            match &group.key {
                Key::Fingerprint(fingerprint) => cell(Some(fingerprint)),
                Key::Panic(_) => "(by panic)".to_owned(),
            },
            group.count.to_string(),
            group.first_seen.to_string(),
            group.last_seen.to_string(),
            group.hosts.len().to_string(),
            cell(group.panic.as_deref()),
            few(hosts(group, IN_TABLE).into_iter(), group.hosts.len()),
            few(group.kernel_versions.iter().map(String::as_str), group.kernel_versions.len()),
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    context.out.rows_or_blocks(&HEADINGS, &rows)?;
    conclude(context, &contents.findings)
}

#[derive(Args)]
pub struct ShowArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The crash: its ID, or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    identities: IdentityArguments,
}

impl ShowArguments {
    pub fn inputs(&self) -> Inputs<'_> {
        self.identities.inputs().collect()
    }
}

#[derive(Serialize)]
struct ShowDocument<'a> {
    store: Name,
    crash: &'a CrashRecord,
    report: Option<Value>,
}

/// The record of the crash whose ID begins so.
pub fn find(folder: &dyn memtool::remote::folder::Folder, context: &mut Context, id: &str) -> Result<CrashRecord> {
    let contents = contents::read(folder, None)?;
    remark(context, &contents.findings);
    contents.findings.problems.lines().iter().for_each(|problem| context.warn(problem));
    let (month, row) = contents::find(folder, &contents.rows, id)?;
    let missing = || {
        let (name, id) = (folder.name(), &row.id);
        Error::Refused(format!(
            "{name} has no record of {id}, only a row of its index; 'memtool archive index --rebuild' makes the index anew"
        ))
    };
    read_record(folder, &month, &row.id)?.ok_or_else(missing)
}

pub fn show(context: &mut Context, arguments: &ShowArguments) -> Result<Verdict> {
    let folder = arguments.store.open_existing()?;
    let identities = arguments.identities.read(context)?;
    let record = find(&*folder, context, &arguments.id)?;
    if context.out.is_json() {
        let unlock = Unlock { identities: &identities, scratch: &temporary_directory() };
        let report = get::report(&*folder, &record, unlock, context)?;
        let damaged =
            |error: serde_json::Error| Error::Format(format!("the report of {} is damaged: {error}", record.id));
        let report = report.map(|json| serde_json::from_slice(&json)).transpose().map_err(damaged)?;
        let document = ShowDocument { store: arguments.store.store.as_path().into(), crash: &record, report };
        context.out.document_of("memtool.archive.show", HOST, &document)?;
        return Ok(Verdict::Done);
    }
    let mut line = |label: &str, text: Option<String>| match text {
        Some(text) => context.out.line(&format!("{label:<16}{text}")),
        None => context.out.line(&format!("{label:<16}-")),
    };
    let text = |text: &Option<String>| text.as_deref().map(|text| cell(Some(text)));
    line("ID", Some(record.id.to_string()))?;
    line("host", text(&record.host))?;
    line("crashed", Some(record.crashed_at.to_string()))?;
    if record.dumped_at != Some(record.crashed_at) {
        line("its clock", record.dumped_at.map(|time| time.to_string()))?;
    }
    line("added", Some(format!("{}, by memtool {}", record.added_at, cell(Some(&record.memtool_version)))))?;
    line("panic", text(&record.panic))?;
    line("kernel", text(&record.kernel_version))?;
    line("build ID", text(&record.kernel_build_id))?;
    line("architecture", text(&record.architecture))?;
    line("fingerprint", record.fingerprint.as_ref().map(|found| cell(Some(&found.value))))?;
    for part in record.fingerprint.iter().flat_map(|found| &found.parts) {
        line("", Some(cell(Some(part))))?;
    }
    let before = record.dump_size.map(|size| format!(" of {}", rough_size(size))).unwrap_or_default();
    let to = match &record.recipients {
        Some(recipients) => format!(", encrypted to {}", counted(recipients.len() as u64, "recipient")),
        None if record.encrypted => ", encrypted".to_owned(),
        None => String::new(),
    };
    let size = rough_size(record.stored_size);
    line("size", Some(format!("{size}{before}, {}{to}", cell(Some(&record.compression)))))?;
    for object in &record.objects {
        let (name, size) = (cell(Some(&object.name)), rough_size(object.size));
        let hint = if object.kind == Kind::Report { "; --json prints it" } else { "" };
        line(kind_name(object.kind), Some(format!("{name}, {size}{hint}")))?;
    }
    for warning in &record.warnings {
        line("warning", Some(cell(Some(warning))))?;
    }
    Ok(Verdict::Done)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Dump => "dump",
        Kind::Info => "info",
        Kind::Key => "key",
        Kind::Report => "report",
        Kind::Kernel => "kernel's image",
        Kind::Debug => "debug",
    }
}
