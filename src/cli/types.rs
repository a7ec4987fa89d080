//! `memtool types`: how a kernel's structures lie in memory, and where its types are used.

use super::kernel::{KernelArguments, RootArguments};
use super::kernel_types::KernelTypes;
use super::output::fit;
use super::type_documents::{Document, Found, FoundDocument, TypeDocument, VariableDocument};
use super::type_text::TypeText;
use super::{Context, Verdict, whole_number};
use clap::{ArgGroup, Args};
use memtool::Result;
use unicode_width::UnicodeWidthStr;
use vmcore::bounds::saturating_usize;
use vmcore::near::{did_you_mean, near};
use vmcore::symbols::Pattern;
use vmcore::types::layout::LayoutOptions;
use vmcore::types::search::TypeName;
use vmcore::types::{Tag, TypeId, TypeTable, Variable};
use vmcore::units::counted;

/// More bytes than a cache line of any machine has.
const MAX_CACHE_LINE: u32 = 65536;
/// More levels than structures have within each other.
const MAX_DEPTH: u32 = 32;
/// Options whose answers have no layout.
const SEARCHES: [&str; 3] = ["find", "member", "using"];

#[derive(Args)]
#[command(
    after_help = "Without --core and --kernel, the types are those of the running kernel's file. Patterns have the shell's syntax: quote them. Exit codes: 0 all were found, 1 some were not."
)]
#[command(
    override_usage = "memtool types [OPTIONS] NAME...\n       memtool types [OPTIONS] --find PATTERN | --member PATTERN | --using TYPE"
)]
#[command(group = ArgGroup::new("what").required(true).args(["names", "find", "member", "using"]))]
pub struct Arguments {
    /// Types ('proc', 'struct proc', 'vm_offset_t', 'enum uio_rw'), functions or variables
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// List the types whose names match a pattern with *, ? and [...]
    #[arg(long, value_name = "PATTERN", value_parser = type_pattern)]
    find: Option<Wanted>,
    /// List the members whose names match a pattern, with what they are members of
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    member: Option<Wanted>,
    /// List the members, variables, functions and typedefs that have this type or point to it
    #[arg(long, value_name = "TYPE")]
    using: Option<String>,
    #[command(flatten)]
    pub kernel: KernelArguments,
    #[command(flatten)]
    root: RootArguments,
    /// Unfold structures in structures, to this depth
    #[arg(long, value_name = "LEVELS", default_value = "0", hide_default_value = true, conflicts_with_all = SEARCHES,
        value_parser = |text: &str| whole_number(text, 0, MAX_DEPTH))]
    depth: u32,
    /// Mark cache lines of this size; 0 for none [default: 64]
    #[arg(long, value_name = "BYTES", default_value = "64", hide_default_value = true, conflicts_with_all = SEARCHES,
        value_parser = |text: &str| whole_number(text, 0, MAX_CACHE_LINE))]
    cache_line: u32,
    /// Print offsets and sizes in hexadecimal
    #[arg(long)]
    hex: bool,
}

impl Arguments {
    /// See [`super::Command::check`].
    pub fn check(&self) -> Result<(), String> {
        let nameless = |text: &&String| TypeName::from(text.as_str()).name.is_empty();
        match self.names.iter().chain(&self.using).find(nameless) {
            Some(text) => Err(format!("'{text}' is not the name of a type")),
            None => Ok(()),
        }
    }
}

/// A pattern for names, as it is written; and of types the tag that they have.
#[derive(Clone)]
struct Wanted {
    text: String,
    tag: Option<Tag>,
    pattern: Pattern,
}

fn wanted(text: &str, tag: Option<Tag>, name: &str) -> Result<Wanted, String> {
    let pattern = name.parse().map_err(|why| format!("not a pattern: {why}"))?;
    Ok(Wanted { text: text.to_owned(), tag, pattern })
}

fn pattern(text: &str) -> Result<Wanted, String> {
    wanted(text, None, text)
}

fn type_pattern(text: &str) -> Result<Wanted, String> {
    let TypeName { tag, name } = TypeName::from(text);
    wanted(text, tag, &name)
}

/// The types that are asked.
#[derive(Clone, Copy)]
struct Asked<'a> {
    types: &'a TypeTable,
    /// The file that they are from, or that of the kernel.
    source: &'a str,
    /// What JSON says of that.
    kind: &'static str,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let opened = KernelTypes::open(context, &arguments.kernel, &arguments.root)?;
    let source = opened.files()?.kernel().path().display().to_string();
    let asked = Asked { types: opened.types()?, source: &source, kind: opened.kind };
    let missing = match arguments.names.is_empty() {
        true => list(context, arguments, asked)?,
        false => describe(context, arguments, asked)?,
    };
    let whose = if missing.is_empty() { "" } else { context.out.remark_on(asked.kind) };
    for what in &missing {
        context.print_failure(&format!("{source}{whose}: {what}"))?;
    }
    Ok(if missing.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// Prints the types, functions and variables of names; what was not found.
fn describe(context: &mut Context, arguments: &Arguments, asked: Asked<'_>) -> Result<Vec<String>> {
    let Asked { types, source, kind } = asked;
    let options = LayoutOptions { cache_line: arguments.cache_line.into(), depth: saturating_usize(arguments.depth) };
    let (mut found, mut variables, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for text in &arguments.names {
        let name = TypeName::from(text.as_str());
        let of_name: Vec<TypeId> = types.named(&name);
        let has_tag = name.tag.is_some();
        let named: Vec<&Variable> = types.variables_named(&name.name).filter(|_| !has_tag).collect();
        if of_name.is_empty() && named.is_empty() {
            missing.push(no_such_type(types, text, !has_tag));
        }
        found.extend(of_name);
        variables.extend(named);
    }
    if context.out.is_json() {
        let types_found = found.iter().map(|id| TypeDocument::new(types, *id, options)).collect();
        let symbols = variables.iter().map(|variable| VariableDocument::new(types, variable)).collect();
        let document = Document { source, types: types_found, symbols, missing: &missing };
        context.out.document_of("memtool.types", kind, &document)?;
        return Ok(missing);
    }
    let text = TypeText { types, options, is_hex: arguments.hex, columns: context.out.columns() };
    let are_several = found.len().saturating_add(variables.len()) > 1;
    let described = found.iter().map(|id| (types.get(*id).source, text.describe(*id)));
    let declared = variables.iter().map(|variable| (variable.source, text.declare(variable)));
    for (index, (number, lines)) in described.chain(declared).enumerate() {
        if index > 0 {
            context.out.line("")?;
        }
        if let Some(path) = types.source(number).filter(|_| are_several) {
            context.out.line(&format!("/* {} */", path.display()))?;
        }
        lines.iter().try_for_each(|line| context.out.line(line))?;
    }
    Ok(missing)
}

/// That there is no type of a name, or none that is known, and which ones are like it.
fn no_such_type(types: &TypeTable, text: &str, has_symbols: bool) -> String {
    let name = TypeName::from(text).name;
    if let Some(untyped) = types.untyped_named(&name, None).filter(|_| has_symbols) {
        return format!("the type of '{text}' is not known: {}", untyped.reason);
    }
    let what = if has_symbols { "type, function or variable" } else { "type" };
    format!("no {what} is named '{text}'{}", hint(types, &name, has_symbols))
}

/// What may have been meant by a name that there is not; nothing, if that cannot be told.
fn hint(types: &TypeTable, name: &str, has_symbols: bool) -> String {
    let target = name.trim_end_matches(['*', ' ']);
    if target != name && !types.named(&TypeName::from(target)).is_empty() {
        return format!(" ('{target}' is one; --find takes patterns)");
    }
    if Pattern::is_one(name) {
        return " (--find takes patterns)".to_owned();
    }
    let of_types = types.iter().map(|(_, found)| &*found.name).filter(|name| !name.is_empty());
    let of_variables = types.variables().iter().filter(|_| has_symbols).map(|variable| &*variable.name);
    let suggested = near(name, of_types.chain(of_variables));
    if suggested.is_empty() && name.parse().is_ok_and(|pattern| !types.members_matching(&pattern).is_empty()) {
        return format!(" (it is a member: --member {name})");
    }
    did_you_mean(&suggested)
}

/// Prints what a search finds; that it has found nothing.
fn list(context: &mut Context, arguments: &Arguments, asked: Asked<'_>) -> Result<Vec<String>> {
    let Asked { types, source, kind } = asked;
    let (found, headings, noun, nothing): (Vec<Found>, &[&str], _, _) = match arguments {
        Arguments { find: Some(Wanted { text, tag, pattern }), .. } => {
            let found = types.matching(*tag, pattern);
            let found = found.into_iter().map(|id| Found::of_type(types, id)).collect();
            (found, &["SIZE", "FILE", "NAME"], "type", format!("no type matches '{text}'"))
        }
        Arguments { member: Some(Wanted { text, pattern, .. }), .. } => {
            let found = types.members_matching(pattern);
            let found = found.iter().map(|member| Found::of_member(types, member)).collect();
            (found, &["OFFSET", "OF", "MEMBER", "TYPE"], "member", format!("no member matches '{text}'"))
        }
        Arguments { using, .. } => {
            let text = using.as_deref().unwrap_or_default();
            let name = TypeName::from(text);
            let is_known = !types.named(&name).is_empty();
            let nothing = if is_known { format!("nothing uses '{text}'") } else { no_such_type(types, text, false) };
            let found = types.users(&name);
            let found = found.iter().map(|(used, user)| Found::of_user(types, *used, user)).collect();
            (found, &["USE", "OFFSET", "OF", "NAME"], "use", nothing)
        }
    };
    let missing = if found.is_empty() { vec![nothing] } else { Vec::new() };
    if context.out.is_json() {
        let document = FoundDocument { source, found: &found, missing: &missing };
        context.out.document_of("memtool.types.found", kind, &document)?;
    } else if !found.is_empty() {
        let mut rows: Vec<Vec<String>> = found.iter().map(|found| found.row(headings, arguments.hex)).collect();
        fit_columns(&mut rows, headings, context.out.columns());
        context.out.rows(headings, &rows)?;
        if context.out.is_terminal() {
            context.out.line("")?;
            let whose = context.out.remark_on(kind);
            context.out.line(&format!("{} in {source}{whose}", counted(found.len(), noun)))?;
        }
    }
    Ok(missing)
}

/// Shortens the cells of the widest columns until a terminal has room for all of them.
fn fit_columns(rows: &mut [Vec<String>], headings: &[&str], columns: Option<usize>) {
    /// Columns between two cells.
    const BETWEEN: usize = 2;
    /// Narrower ones are not shortened.
    const LEAST: usize = 12;
    let Some(columns) = columns else { return };
    let width = |(index, heading): (usize, &&str)| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width());
        cells.max().unwrap_or(0).max(heading.len())
    };
    let mut widths: Vec<usize> = headings.iter().enumerate().map(width).collect();
    let between = headings.len().saturating_sub(1) * BETWEEN;
    while widths.iter().sum::<usize>() + between > columns {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > LEAST) else { break };
        *widest -= 1;
    }
    for (cell, width) in rows.iter_mut().flat_map(|row| row.iter_mut().zip(&widths)) {
        *cell = fit(std::mem::take(cell), *width);
    }
}
