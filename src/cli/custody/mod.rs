//! `memtool custody`: who had a dump when, and why.

mod option;

pub use option::CustodyArguments;

use super::output::Output;
use super::signing::{SigningArguments, verifying_key};
use super::{Context, Inputs, Verdict, help, seekable};
use clap::{Args, Subcommand};
use memtool::custody::chain::{Chain, Problem, ReadEntry};
use memtool::custody::entry::Entry;
use memtool::custody::{self, Added, DumpState, Log, Statement};
use memtool::signature::VerifyingKey;
use memtool::{Error, Result};
use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use vmcore::text::Name;
use vmcore::units::counted;

/// Entries that are aligned with each other on a terminal, so that a long log is not held in memory.
const TABLE: usize = 1000;
/// Digits of a SHA-256 that a terminal shows.
const SHORT_HASH: usize = 12;
const HEADINGS: [&str; 11] = ["NO", "TIME", "ACTION", "REASON", "CASE", "WHO", "HOST", "FROM", "TO", "SIZE", "SHA-256"];

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "The log of FILE is FILE.custody. What was cut off at its end is found only by a hash kept elsewhere (--expect)."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    show: Option<ShowArguments>,
}

#[derive(Subcommand)]
enum Command {
    /// Verify the log of a dump, compare the dump with it, and print it
    Show(ShowArguments),
    /// Add an entry to the log of a dump, or begin a log
    Add(AddArguments),
    /// Show the manual page, or the options of a command
    Help(help::Arguments),
}

/// The name of the command.
const NAME: &str = "custody";

#[derive(Args)]
struct ShowArguments {
    /// The dump
    #[arg(value_name = "FILE", value_parser = seekable())]
    file: PathBuf,
    /// Fail unless the last entry has this SHA-256, which shows that nothing was cut off
    #[arg(long, value_name = "HASH", value_parser = hash)]
    expect: Option<String>,
    /// Verify the signatures of entries by this public key of minisign, or the one in a file; may be repeated
    #[arg(long, value_name = "KEY")]
    public_key: Vec<PathBuf>,
}

#[derive(Args)]
struct AddArguments {
    /// The dump
    #[arg(value_name = "FILE", value_parser = seekable())]
    file: PathBuf,
    /// What was done: acquired, received, copied, transferred, examined, sealed, or any other words
    #[arg(long, value_name = "TEXT")]
    action: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The case that it belongs to
    #[arg(long, value_name = "ID")]
    case: Option<String>,
    /// Who did it, beside the user who runs this
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Where the dump came from
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,
    /// Where it went
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
    /// The dump is not what the last entry says, and this is why
    #[arg(long, value_name = "TEXT")]
    changed: Option<String>,
    #[command(flatten)]
    signing: SigningArguments,
}

/// clap's parser for a SHA-256.
fn hash(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("a SHA-256 has 64 hexadecimal digits".to_owned())
}

impl Arguments {
    /// What `custody help` is to describe.
    pub fn help(&self) -> Option<help::Arguments> {
        match &self.command {
            Some(Command::Help(arguments)) => Some(arguments.below(NAME)),
            _ => None,
        }
    }

    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        let show = match &self.command {
            Some(Command::Add(arguments)) => return arguments.signing.inputs(),
            Some(Command::Show(show)) => Some(show),
            _ => self.show.as_ref(),
        };
        show.into_iter().flat_map(|show| &show.public_key).map(|key| ("--public-key", Some(key))).collect()
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    match (&arguments.command, &arguments.show) {
        (Some(Command::Add(arguments)), _) => add(context, arguments),
        (Some(Command::Help(arguments)), _) => help::run(context, &arguments.below(NAME)),
        (Some(Command::Show(arguments)), _) | (None, Some(arguments)) => show(context, arguments),
        (None, None) => Err(Error::Usage("no dump is given".to_owned())),
    }
}

#[derive(Serialize)]
struct AddedDocument<'a> {
    input: Name,
    output: Name,
    custody_entry: &'a Entry,
    entry_sha256: &'a str,
}

fn add(context: &mut Context, arguments: &AddArguments) -> Result<Verdict> {
    let statement = Statement {
        action: arguments.action.clone(),
        reason: arguments.reason.clone(),
        case: arguments.case.clone(),
        by: arguments.by.clone(),
        from: arguments.from.clone(),
        to: arguments.to.clone(),
        changed: arguments.changed.clone(),
        signing_key: arguments.signing.key(context)?,
    };
    let Added { log, entry, entry_sha256 } = custody::add(&arguments.file, &statement, context)?;
    if context.out.is_json() {
        let (input, output) = (arguments.file.as_path().into(), log.as_path().into());
        let document = AddedDocument { input, output, custody_entry: &entry, entry_sha256: &entry_sha256 };
        context.out.document_of("memtool.custody.add", "image", &document)?;
    } else if !context.global.quiet {
        context.out.line(&format!("{}: entry {}, SHA-256 {entry_sha256}", log.display(), entry.number))?;
    }
    Ok(Verdict::Done)
}

#[derive(Serialize)]
struct Document<'a> {
    input: Name,
    log: Name,
    size: u64,
    sha256: &'a str,
    /// Whether nothing is wrong.
    intact: bool,
    problems: Vec<ProblemDocument<'a>>,
    problem_unlisted_count: u64,
    entry_count: u64,
    signed_count: u64,
    /// Entries whose signature was verified.
    verified_count: u64,
    last_entry_sha256: Option<&'a str>,
    entries: Entries<'a>,
}

#[derive(Serialize)]
struct ProblemDocument<'a> {
    line: Option<u64>,
    why: &'a str,
}

#[derive(Serialize)]
struct EntryDocument<'a> {
    custody_entry: &'a Entry,
    entry_sha256: &'a str,
    signed_by: Option<&'a str>,
}

/// The entries, which are read once more while they are printed.
struct Entries<'a> {
    log: &'a Log,
    keys: &'a [VerifyingKey],
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let list = RefCell::new(serializer.serialize_seq(None)?);
        let read = self.log.read(self.keys, &mut |read| {
            let ReadEntry { entry, entry_sha256, signed_by } = *read;
            let element = EntryDocument { custody_entry: entry, entry_sha256, signed_by };
            let written = list.borrow_mut().serialize_element(&element);
            written.map_err(|error| Error::StandardOutput(std::io::Error::other(error.to_string())))
        });
        read.map_err(S::Error::custom)?;
        list.into_inner().end()
    }
}

fn show(context: &mut Context, arguments: &ShowArguments) -> Result<Verdict> {
    let dump = arguments.file.as_path();
    let keys: Vec<_> = arguments.public_key.iter().map(|key| verifying_key(key)).collect::<Result<_>>()?;
    let Some(log) = Log::open(dump, context)? else {
        let log = custody::log_path(dump);
        return Err(Error::Refused(format!("{} has no custody log: there is no {}", dump.display(), log.display())));
    };
    let state = DumpState::read(dump, context)?;
    let mut table = Table::default();
    let is_json = context.out.is_json();
    let chain = log.read(&keys, &mut |read| if is_json { Ok(()) } else { table.push(&mut context.out, read) })?;
    table.end(&mut context.out)?;
    warn(context, &chain, &keys);
    let problems = problems(dump, &state, &chain, arguments.expect.as_deref());
    let last = chain.last.as_ref();
    if is_json {
        let document = Document {
            input: dump.into(),
            log: log.path().into(),
            size: state.size,
            sha256: &state.sha256,
            intact: problems.is_empty(),
            problems: problems
                .iter()
                .map(|problem| ProblemDocument { line: problem.line, why: &problem.why })
                .collect(),
            problem_unlisted_count: chain.problems.unlisted(),
            entry_count: chain.entry_count,
            signed_count: chain.signed_count,
            verified_count: chain.verified_count,
            last_entry_sha256: last.map(|last| &*last.entry_sha256),
            entries: Entries { log: &log, keys: &keys },
        };
        context.out.document_of("memtool.custody", "image", &document)?;
    } else if let Some(last) = last.filter(|_| problems.is_empty() && !context.global.quiet) {
        let (path, count) = (log.path().display(), custody::entries(chain.entry_count));
        let verified = signatures(&chain, &keys);
        context.out.line(&format!("{path}: {count}, whole{verified}; {} is what the last one says", dump.display()))?;
        context.out.line(&format!("last entry: SHA-256 {}", last.entry_sha256))?;
    }
    for problem in &problems {
        context.print_failure(&format!("{}: {problem}", log.path().display()))?;
    }
    if chain.problems.unlisted() > 0 {
        context.print_failure(&format!("and {}", counted(chain.problems.unlisted(), "more problem")))?;
    }
    Ok(if problems.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// What is wrong with the log, and with the dump by its last entry.
fn problems(dump: &Path, state: &DumpState, chain: &Chain, expected: Option<&str>) -> Vec<Problem> {
    let mut problems = chain.problems.first.clone();
    let mut push = |why: String| problems.push(Problem { line: None, why });
    let Some(last) = &chain.last else { return problems };
    if let Some(expected) = expected.filter(|expected| *expected != last.entry_sha256) {
        let (number, found) = (last.number, &last.entry_sha256);
        push(format!("the last entry, {number}, has SHA-256 {found}, not {expected}: entries were cut off or added"));
    }
    if let Err(error) = custody::compare(dump, state, last) {
        push(error.to_string());
    }
    problems
}

fn warn(context: &mut Context, chain: &Chain, keys: &[VerifyingKey]) {
    chain.warnings.first.iter().for_each(|why| context.warn(why));
    if chain.warnings.unlisted() > 0 {
        context.warn(&format!("and {}", counted(chain.warnings.unlisted(), "more warning")));
    }
    if keys.is_empty() && chain.signed_count > 0 {
        context.remark("entries are signed, which was not checked: --public-key checks it");
    }
    if let (Some(signed), Some(last)) = (chain.verified_to, &chain.last)
        && signed < last.number
    {
        context.warn(&format!("no signature protects what follows entry {signed}"));
    }
}

/// What is said of signatures.
fn signatures(chain: &Chain, keys: &[VerifyingKey]) -> String {
    if keys.is_empty() { String::new() } else { format!(", {} verified", counted(chain.verified_count, "signature")) }
}

/// The entries as rows.
#[derive(Default)]
struct Table(Vec<Vec<String>>);

impl Table {
    fn push(&mut self, out: &mut Output, read: &ReadEntry<'_>) -> Result<()> {
        self.0.push(row(out, read.entry));
        if self.0.len() < TABLE { Ok(()) } else { self.end(out) }
    }

    fn end(&mut self, out: &mut Output) -> Result<()> {
        let rows = std::mem::take(&mut self.0);
        out.rows_or_blocks(&HEADINGS, &rows)
    }
}

fn row(out: &Output, entry: &Entry) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let user = entry.user_name.clone().unwrap_or_else(|| format!("uid {}", entry.uid));
    let who = entry.by.as_ref().map_or_else(|| user.clone(), |by| format!("{by} ({user})"));
    let sha256 = if out.is_terminal() { entry.sha256.chars().take(SHORT_HASH).collect() } else { entry.sha256.clone() };
    let mut reason = entry.reason.clone();
    if let Some(changed) = &entry.changed {
        reason = format!("{reason}; the dump was changed: {}", changed.why);
    }
    let from = entry.from.clone().or_else(|| entry.derived_from.as_ref().map(|origin| origin.input.to_string()));
    vec![
        entry.number.to_string(),
        text(&entry.written_at),
        entry.action.clone(),
        reason,
        text(&entry.case),
        who,
        entry.hostname.to_string(),
        text(&from),
        text(&entry.to),
        out.size(entry.size.into()),
        sha256,
    ]
}
