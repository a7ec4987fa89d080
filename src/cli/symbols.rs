//! `memtool symbols`: where a kernel's symbols lie, and what lies at an address.

use super::kernel::{KernelArguments, RootArguments, running_files};
use super::kernel_types::KernelTypes;
use super::output::failed;
use super::{Context, Verdict, address};
use clap::{ArgGroup, Args};
use memtool::files;
use memtool::host::Host;
use memtool::output_file::{self, OutputFile};
use memtool::{Error, Result};
use serde::Serialize;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use vmcore::kernel::Access;
use vmcore::symbols::{Binding, Found, KernelFile, KernelSymbols, Pattern, Symbol, SymbolEntry, SymbolKind, Symbols};
use vmcore::types::isf::Isf;
use vmcore::units::{Hex, counted};

#[derive(Args)]
#[command(
    after_help = "Without --core and --kernel, symbols of the running kernel are found. Patterns have the shell's syntax: quote them. Exit codes: 0 all were found, 1 some were not."
)]
#[command(
    override_usage = "memtool symbols [OPTIONS] NAME... | PATTERN...\n       memtool symbols [OPTIONS] --addr ADDRESS...\n       memtool symbols [OPTIONS] --isf [--output FILE]"
)]
#[command(group = ArgGroup::new("what").required(true).args(["names", "addresses", "isf"]))]
pub struct Arguments {
    /// Symbol names, or patterns with *, ? and [...]
    #[arg(value_name = "NAME|PATTERN")]
    names: Vec<String>,
    /// Find the symbols that contain these addresses
    #[arg(long = "addr", value_name = "ADDRESS", value_parser = address, num_args = 1..)]
    addresses: Vec<u64>,
    /// Write all symbols and types in the Intermediate Symbol Format of volatility3
    #[arg(long)]
    pub isf: bool,
    /// Write them to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file of --output if it exists
    #[arg(short, long, requires = "output")]
    force: bool,
    #[command(flatten)]
    pub of: KernelArguments,
    #[command(flatten)]
    root: RootArguments,
}

impl Arguments {
    /// See [`super::Command::check`].
    pub fn check(&self) -> Result<(), String> {
        // clap does not say so beside names, which --isf cannot be used with.
        if self.output.is_some() && !self.isf {
            return Err("--output requires --isf".to_owned());
        }
        if let Some(suffix) = self.output.as_deref().and_then(compressed_suffix) {
            return Err(format!(
                "--output: the table is not compressed, but volatility3 decompresses a file with the suffix {suffix}; write it without and compress it then"
            ));
        }
        if self.names.iter().any(String::is_empty) {
            return Err("'' is not a symbol's name".to_owned());
        }
        self.names.iter().try_for_each(|name| pattern(name).map(drop))
    }
}

/// The suffix of a file that volatility3 decompresses, if a name has one.
fn compressed_suffix(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.as_bytes();
    [".xz", ".gz", ".bz2"].into_iter().find(|suffix| name.ends_with(suffix.as_bytes()))
}

/// A symbol, as it is printed.
#[derive(Serialize)]
struct Line {
    name: String,
    address: Hex,
    size: Option<u64>,
    kind: Option<SymbolKind>,
    binding: Option<Binding>,
    module: Option<String>,
    /// The address that was asked for, and how far it is in the symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<Hex>,
}

impl Line {
    fn new(module: &str, entry: &SymbolEntry<'_>) -> Self {
        Self {
            name: entry.name.to_owned(),
            address: Hex(entry.symbol.address),
            size: known_size(entry.symbol),
            kind: Some(entry.kind),
            binding: Some(entry.binding),
            module: Some(module.to_owned()),
            query: None,
            offset: None,
        }
    }

    fn row(&self) -> Vec<String> {
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let name = match self.offset {
            Some(offset) => format!("{}+{offset}", self.name),
            None => self.name.clone(),
        };
        vec![
            self.query.unwrap_or(self.address).to_string(),
            self.size.map_or_else(|| "-".to_owned(), |size| size.to_string()),
            or_dash(self.kind.map(SymbolKind::name)),
            name,
            or_dash(self.module.as_deref()),
        ]
    }
}

#[derive(Serialize)]
struct Document<'a> {
    source: &'a str,
    symbols: &'a [Line],
    /// What was asked for and not found.
    missing: &'a [String],
}

/// What is asked.
enum Asked {
    Symbols(Box<KernelSymbols>),
    /// Of the running kernel, names alone.
    Names(Rc<dyn Host>, Vec<KernelFile>),
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    if arguments.isf {
        return write_isf(context, arguments);
    }
    let patterns: Vec<Option<Pattern>> =
        arguments.names.iter().map(|name| pattern(name)).collect::<Result<_, _>>().map_err(Error::Usage)?;
    let is_known = arguments.addresses.is_empty() && patterns.iter().all(Option::is_none);
    let (asked, kind) = match (&arguments.of.kernel, &arguments.of.core) {
        (Some(_), Some(_)) => (Asked::Symbols(Box::new(dump_symbols(context, arguments)?)), "image"),
        (Some(kernel), None) => (Asked::Symbols(Box::new(KernelSymbols::new(files::open_kernel(kernel)?))), "image"),
        (None, Some(_)) => return Err(vmcore::Error::NoSymbols.into()),
        (None, None) => {
            let host = context.host()?;
            let kind = host.kind();
            let files = || host.kernel_files().unwrap_or_default();
            let asked = match is_known {
                true => Asked::Names(Rc::clone(&host), files()),
                false => Asked::Symbols(Box::new(running_files(context)?)),
            };
            (asked, kind)
        }
    };
    let (mut lines, mut missing) = (Vec::new(), Vec::new());
    for (name, pattern) in arguments.names.iter().zip(&patterns) {
        let before = lines.len();
        match (&asked, pattern) {
            (Asked::Names(host, files), _) => {
                lines.extend(host.kernel_symbol(name)?.map(|symbol| told(name, symbol, files)));
            }
            (Asked::Symbols(symbols), None) => {
                for (module, table) in symbols.tables() {
                    lines.extend(table.lookup_by_name(name).map(|entry| Line::new(module, &entry)));
                }
            }
            (Asked::Symbols(symbols), Some(pattern)) => {
                for (module, table) in symbols.tables() {
                    lines.extend(table.matching(pattern).map(|entry| Line::new(module, &entry)));
                }
            }
        }
        if lines.len() == before {
            missing.push(format!("no symbol {} '{name}'", if pattern.is_some() { "matches" } else { "is named" }));
        }
    }
    for address in &arguments.addresses {
        let found = match &asked {
            Asked::Symbols(symbols) => symbols.lookup_by_addr(*address),
            Asked::Names(..) => None,
        };
        match found {
            Some(Found { module, entry, offset }) => {
                lines.push(Line { query: Some(Hex(*address)), offset: Some(Hex(offset)), ..Line::new(module, &entry) });
            }
            None => missing.push(format!("no symbol contains {}", Hex(*address))),
        }
    }
    if let (Asked::Symbols(symbols), None) = (&asked, &arguments.of.kernel) {
        // The running kernel's, which may be elsewhere than its file says.
        lines.iter_mut().for_each(|line| line.address = Hex(symbols.as_it_ran(line.address.0)));
    }
    let source = match &asked {
        Asked::Symbols(symbols) => symbols.source(),
        Asked::Names(..) => "the running kernel".to_owned(),
    };
    if context.out.is_json() {
        let document = Document { source: &source, symbols: &lines, missing: &missing };
        context.out.document_of("memtool.symbols", kind, &document)?;
    } else if !lines.is_empty() {
        let rows: Vec<Vec<String>> = lines.iter().map(Line::row).collect();
        context.out.rows(&["ADDRESS", "SIZE", "TYPE", "NAME", "MODULE"], &rows)?;
        if context.out.is_terminal() {
            let count = counted(lines.len(), "symbol");
            context.out.line("")?;
            let whose = context.out.remark_on(kind);
            context.out.line(&format!("{count} of {source}{whose}"))?;
        }
    }
    let whose = if missing.is_empty() { "" } else { context.out.remark_on(kind) };
    for what in &missing {
        context.print_failure(&format!("{source}{whose}: {what}"))?;
    }
    Ok(if missing.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// The pattern that a name is, if it is one.
fn pattern(name: &str) -> Result<Option<Pattern>, String> {
    Pattern::is_one(name).then(|| name.parse().map_err(|why| format!("not a pattern: {why}"))).transpose()
}

/// The size of a symbol, unless it is 0, which means that it is unknown.
const fn known_size(symbol: Symbol) -> Option<u64> {
    match symbol.size {
        0 => None,
        size => Some(size),
    }
}

/// What the running kernel tells of a symbol.
fn told(name: &str, symbol: Symbol, files: &[KernelFile]) -> Line {
    let address = symbol.address;
    let covers = |file: &&KernelFile| address.checked_sub(file.address).is_some_and(|offset| offset < file.size);
    let module = files.iter().find(covers).map(|file| file.name.clone());
    Line {
        name: name.to_owned(),
        address: Hex(address),
        size: known_size(symbol),
        kind: None,
        binding: None,
        module,
        query: None,
        offset: None,
    }
}

/// The symbols of a dump's kernel and its modules.
fn dump_symbols(context: &mut Context, arguments: &Arguments) -> Result<KernelSymbols> {
    let mut opened = arguments.of.open(context, Access::Read)?;
    arguments.root.apply(&mut opened.kernel);
    // Another kernel's modules are not looked for.
    opened.kernel.symbols()?;
    if let Err(error) = opened.load_modules(context) {
        context.warn(&format!("the symbols of modules are missing: {error}"));
    }
    Ok(opened.kernel.into_files()?)
}

/// Writes all symbols and types for volatility3.
fn write_isf(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let output = arguments.output.as_deref().filter(|output| *output != Path::new("-"));
    match output {
        Some(output) => output_file::check(output, arguments.force)?,
        None if context.out.is_terminal() => {
            return Err(Error::Refused(
                "a table of all symbols and types is not written to a terminal; use a pipe, or give a file with --output"
                    .to_owned(),
            ));
        }
        None => {}
    }
    let opened = KernelTypes::open(context, &arguments.of, &arguments.root)?;
    let isf = Isf::new(opened.types()?, opened.files()?, ("memtool", env!("MEMTOOL_VERSION")));
    let Some(path) = output else {
        write_json(context.out.writer(), &isf).map_err(failed)?;
        return Ok(Verdict::Done);
    };
    let output = OutputFile::create(path, arguments.force)?;
    let mut file = BufWriter::new(output.file());
    let written = write_json(&mut file, &isf).and_then(|()| file.flush());
    written.map_err(|source| Error::io("write", path, source))?;
    drop(file);
    output.commit()?;
    if !context.global.quiet {
        let (symbols, types) = (counted(isf.symbol_count(), "symbol"), counted(isf.type_count(), "type"));
        context.out.line(&format!("{}: {symbols}, {types}", path.display()))?;
    }
    Ok(Verdict::Done)
}

/// Writes numbers as they are, which other objects of the program do not.
fn write_json(out: &mut impl Write, isf: &Isf) -> io::Result<()> {
    serde_json::to_writer(&mut *out, isf)?;
    out.write_all(b"\n")
}
