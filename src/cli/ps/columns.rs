//! Lists of processes and threads with columns that are chosen, as ps(1) has them.

use super::super::Context;
use super::super::output::NarrowHeading;
use memtool::Result;
use memtool::owner_names::SystemNames;
use vmcore::kernel::{Process, Processes};
use vmcore::kinfo::{
    KEYWORDS, Keyword, MissingArguments, OwnerNames, ProcessInfo, ProcessTable, Row, UNAVAILABLE, find_keyword,
    suggest_keyword,
};
use vmcore::near::did_you_mean;

/// Columns where none are chosen.
const DEFAULT: [&str; 7] = ["pid", "ppid", "state", "mwchan", "time", "paddr", "command"];
/// Columns of `-l`, those of ps(1).
const LONG: [&str; 13] =
    ["uid", "pid", "ppid", "cpu", "pri", "nice", "vsz", "rss", "mwchan", "state", "tt", "time", "command"];

/// A column: what it shows, and its heading.
#[derive(Clone)]
pub struct Column {
    keyword: &'static Keyword,
    heading: String,
}

impl Column {
    /// That of a keyword.
    fn of(name: &str) -> Result<Self, String> {
        let keyword = find_keyword(name).ok_or_else(|| unknown_keyword(name))?;
        Ok(Self { keyword, heading: keyword.heading.to_owned() })
    }
}

/// Why a keyword has no column.
fn unknown_keyword(name: &str) -> String {
    if UNAVAILABLE.iter().any(|unavailable| unavailable.eq_ignore_ascii_case(name)) {
        return format!("the keyword '{name}' of ps(1) is not available");
    }
    match suggest_keyword(name) {
        Some(meant) => format!("unknown keyword '{name}'{}", did_you_mean(&[meant.to_owned()])),
        None => {
            let all: Vec<&str> = KEYWORDS.iter().map(|keyword| keyword.name).collect();
            format!("unknown keyword '{name}'; the keywords are {}", all.join(", "))
        }
    }
}

/// The columns of one option.
#[derive(Clone)]
pub struct Columns(Vec<Column>);

impl Columns {
    fn of(names: &[&str]) -> Self {
        Self(names.iter().filter_map(|name| Column::of(name).ok()).collect())
    }

    /// Parses keywords with commas or blanks between them; behind an equals sign the rest is the heading of the one before.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (list, heading) = text.split_once('=').map_or((text, None), |(list, heading)| (list, Some(heading)));
        let names = list.split([',', ' ', '\t', '\n']).filter(|name| !name.is_empty());
        let mut columns = names.map(Column::of).collect::<Result<Vec<_>, _>>()?;
        let last = columns.last_mut().ok_or_else(|| "it has no keyword".to_owned())?;
        if let Some(heading) = heading {
            heading.clone_into(&mut last.heading);
        }
        Ok(Self(columns))
    }
}

/// The options that choose columns.
pub struct Chosen<'a> {
    pub long: bool,
    /// Of `-o`: these alone.
    pub only: &'a [Columns],
    /// Of `-O`: these behind the process ID.
    pub more: &'a [Columns],
}

impl Chosen<'_> {
    /// Whether any are chosen.
    pub fn is_any(&self) -> bool {
        self.long || !self.only.is_empty() || !self.more.is_empty()
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = match (self.long, self.only) {
            (true, _) => Columns::of(&LONG).0,
            (false, []) => Columns::of(&DEFAULT).0,
            (false, _) => Vec::new(),
        };
        // A column that is asked for by its keyword is shown there alone.
        let is_named = |column: &Column| {
            let mut named = self.only.iter().chain(self.more).flat_map(|columns| &columns.0);
            named.any(|named| named.keyword.name == column.keyword.name)
        };
        columns.retain(|column| !is_named(column));
        columns.extend(self.only.iter().flat_map(|only| only.0.clone()));
        let behind = columns.iter().position(|column| column.keyword.name == "pid").map_or(0, |index| index + 1);
        columns.splice(behind..behind, self.more.iter().flat_map(|more| more.0.clone()));
        columns
    }
}

/// What is listed.
pub struct Listing<'a> {
    pub processes: &'a Processes,
    pub table: &'a ProcessTable,
    /// Whether it is of this system, whose users have names.
    pub is_of_this_system: bool,
    /// Whether threads have rows of their own.
    pub threads: bool,
}

impl Listing<'_> {
    /// Prints the columns that are chosen.
    pub fn print(&self, context: &mut Context, chosen: &Chosen<'_>) -> Result<()> {
        let names: Box<dyn OwnerNames> =
            if self.is_of_this_system { Box::new(SystemNames::read()) } else { Box::new(()) };
        let columns = chosen.columns();
        let pairs = self.processes.list.iter().zip(&self.table.processes);
        let all = pairs.flat_map(|(process, info)| self.rows(process, info, &*names));
        let cells = |row: Row<'_>| columns.iter().map(|column| column.keyword.text(&row)).collect();
        let rows: Vec<Vec<String>> = all.map(cells).collect();
        let headings: Vec<NarrowHeading<'_>> = columns
            .iter()
            .map(|column| NarrowHeading { text: &column.heading, is_left: column.keyword.is_left })
            .collect();
        context.out.narrow_rows(&headings, &rows)?;
        self.warn_of_arguments(context, &columns);
        Ok(())
    }

    fn rows<'r>(
        &'r self,
        process: &'r Process,
        info: &'r ProcessInfo,
        names: &'r dyn OwnerNames,
    ) -> impl Iterator<Item = Row<'r>> {
        let row = |thread, is_of_thread| Row { process, info, thread, is_of_thread, table: self.table, names };
        let of_process = (!self.threads).then(|| row(info.threads.first(), false));
        let threads = info.threads.iter().filter(|_| self.threads);
        of_process.into_iter().chain(threads.map(move |thread| row(Some(thread), true)))
    }

    /// Says why arguments are missing, if they were to be shown.
    fn warn_of_arguments(&self, context: &mut Context, columns: &[Column]) {
        let are_shown = columns.iter().any(|column| matches!(column.keyword.name, "command" | "args"));
        if are_shown {
            warn_of_arguments(context, self.table);
        }
    }
}

/// Says why the arguments of processes are missing.
pub fn warn_of_arguments(context: &mut Context, table: &ProcessTable) {
    let of = match table.missing_arguments.as_slice() {
        [] => return,
        [MissingArguments { pid, why }] => format!("process {pid} cannot be read: {why}"),
        [MissingArguments { pid, why }, ..] => {
            format!("{} processes cannot be read; of process {pid}: {why}", table.missing_arguments.len())
        }
    };
    context.warn(&format!("the arguments of {of}"));
}
