//! `memtool maps`: the memory map of a process, in the styles of procmap(1).

mod source;
mod styles;
mod table;

use super::json::Measured;
use super::kernel::{KernelArguments, RootArguments};
use super::output::{Output, fit};
use super::{Context, Verdict, pid_or_kernel, whole_number};
use clap::{ArgGroup, Args};
use memtool::host::Pid;
use memtool::process_map::{self, Detail, Layout, MapEntry, MapStructures, PagesByDomain, ProcessMap, Totals};
use memtool::{Error, Result};
use serde::Serialize;
use source::Source;
use styles::Style;
use unicode_width::UnicodeWidthStr;
use vmcore::text::Name;
use vmcore::text::column;
use vmcore::units::{AddressRange, Hex};
use vmcore::vm::StructureMask;

#[derive(Args)]
#[command(
    after_help = "Without a PID, the parent process is listed, such as the shell. PID 0 is the kernel. With --core, --kernel or -D, maps are read from the kernel's structures by its types. With -v, -l names anonymous memory, too, and -m and -d add device, inode and name; with -v -v, a '*' separates entries that are not adjacent. Exit codes: 0 all processes were listed, 1 some were not or not whole, 2 usage error."
)]
#[command(group = ArgGroup::new("style").args(["solaris", "linux", "map", "all", "ddb", "extended", "reserved"]))]
pub struct Arguments {
    #[command(flatten)]
    pub kernel: KernelArguments,
    #[command(flatten)]
    root: RootArguments,
    /// Processes to list, after that of -p or -P; 0 is the kernel
    #[arg(value_name = "PID", value_parser = pid_or_kernel)]
    pids: Vec<i32>,
    /// A process
    #[arg(short, value_name = "PID", value_parser = pid_or_kernel, overrides_with_all = ["pid", "own"])]
    pid: Option<i32>,
    /// memtool itself
    #[arg(short = 'P', overrides_with_all = ["pid", "own"])]
    own: bool,
    /// Solaris's pmap style: address, size, protection, name (default)
    #[arg(short)]
    solaris: bool,
    /// Linux's /proc/PID/maps style
    #[arg(short)]
    linux: bool,
    /// BSD's procfs map style
    #[arg(short)]
    map: bool,
    /// All fields of these styles
    #[arg(short)]
    all: bool,
    /// ddb(4)'s vm_map style
    #[arg(short)]
    ddb: bool,
    /// Show resident, private, shared and superpage memory, in KiB
    #[arg(short = 'x')]
    extended: bool,
    /// With -x, also show the memory in each NUMA domain
    #[arg(long, requires = "extended", conflicts_with_all = ["solaris", "linux", "map", "all", "ddb", "reserved"])]
    numa: bool,
    /// List reserved addresses only: gaps, and entries without access (in JSON: add the gaps)
    #[arg(short)]
    reserved: bool,
    /// Dump structures, by the sum of: 1 vmspace, 2 vm_map, 4 its header, 8 each entry, 16 name cache
    #[arg(short = 'D', value_name = "MASK", value_parser = mask)]
    dump: Option<u32>,
}

/// clap's parser for what `-D` takes.
fn mask(text: &str) -> Result<u32, String> {
    whole_number(text, 0, StructureMask::ALL)
}

impl Arguments {
    /// Which processes are named, in the order in which they are listed.
    fn named(&self) -> Vec<Pid> {
        let first = if self.own { Some(Pid::this()) } else { self.pid.map(Pid::from_raw) };
        first.into_iter().chain(self.pids.iter().copied().map(Pid::from_raw)).collect()
    }

    /// Which processes are listed.
    fn processes(&self) -> Result<Vec<Pid>> {
        let asked = self.named();
        match (asked.as_slice(), Pid::parent()) {
            ([], _) if self.kernel.names_core() => {
                Err(Error::Usage("give the PID of a process in the dump".to_owned()))
            }
            // 0 does not stand for the kernel here.
            ([], process_map::KERNEL) => {
                Err(Error::Refused("the parent process is outside of this container; give a PID".to_owned()))
            }
            ([], parent) => Ok(vec![parent]),
            _ => Ok(asked),
        }
    }

    /// What clap cannot check.
    pub fn check(&self) -> Result<(), String> {
        if self.own && self.kernel.names_core() {
            return Err("-P: memtool itself is not in a dump".to_owned());
        }
        if self.numa && self.uses_structures() {
            return Err("--numa: the domains of pages are not among a process's structures".to_owned());
        }
        Ok(())
    }

    /// Whether maps are read from the kernel's structures.
    pub fn uses_structures(&self) -> bool {
        self.kernel.names_core() || self.kernel.kernel.is_some() || self.dump.is_some()
    }

    /// See [`super::Command::text_only`].
    pub fn text_only(&self) -> Option<(&'static str, &'static str)> {
        let styles = [(self.solaris, "-s"), (self.linux, "-l"), (self.map, "-m"), (self.all, "-a"), (self.ddb, "-d")];
        let chosen = styles.into_iter().find_map(|(chosen, option)| chosen.then_some(option));
        let dump = self.dump.map(|_| ("-D", "it is text"));
        chosen.map(|option| (option, "it is a text style")).or(dump)
    }

    fn style(&self) -> Option<Style> {
        let chosen = [
            (self.linux, Style::Linux),
            (self.map, Style::Map),
            (self.all, Style::All),
            (self.ddb, Style::Ddb),
            (self.reserved, Style::Reserved),
        ];
        if self.extended {
            return None;
        }
        Some(chosen.into_iter().find_map(|(chosen, style)| chosen.then_some(style)).unwrap_or(Style::Solaris))
    }
}

#[derive(Serialize)]
struct Document {
    processes: Vec<Listed>,
}

/// A process in JSON.
#[derive(Serialize)]
struct Listed {
    pid: i32,
    command: Name,
    layout: Option<LayoutDocument>,
    entries: Vec<Measured<MapEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numa: Option<Vec<PagesByDomain>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gaps: Option<Vec<Gap>>,
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    structures: Option<MapStructures>,
}

/// How an address space is laid out, in JSON.
#[derive(Serialize)]
struct LayoutDocument {
    user: Measured<AddressRange>,
    data: Measured<AddressRange>,
    stack_limit: Hex,
    stack_size: u64,
    shared_page: Measured<AddressRange>,
    #[serde(serialize_with = "process_map::layout_flags")]
    flags: u32,
}

impl From<Layout> for LayoutDocument {
    fn from(layout: Layout) -> Self {
        let Layout { user, data, stack_limit, stack_size, shared_page, flags } = layout;
        let measured = |range: AddressRange| Measured::new(range, range.start, range.end);
        Self {
            user: measured(user),
            data: measured(data),
            stack_limit: Hex(stack_limit),
            stack_size,
            shared_page: measured(shared_page),
            flags,
        }
    }
}

/// A gap in JSON.
#[derive(Serialize)]
struct Gap {
    start: Hex,
    size: u64,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let processes = arguments.processes()?;
    let source = Source::open(context, arguments)?;
    let style = arguments.style();
    let detail = match style {
        _ if arguments.numa => Detail::Domains,
        Some(Style::Solaris | Style::Linux | Style::Reserved) if !context.out.is_json() => Detail::Mappings,
        _ => Detail::Usage,
    };
    let several = processes.len() > 1;
    let mut verdict = Verdict::Done;
    let mut document = Document { processes: Vec::new() };
    for pid in processes {
        let read = match source.read(pid, detail) {
            Ok(read) => read,
            Err(error) if several => {
                context.out.flush()?;
                super::report(&error, "maps", context.global.verbose > 0);
                verdict = Verdict::Failed;
                continue;
            }
            Err(error) => return Err(error),
        };
        // They are why the command fails.
        for problem in read.problems() {
            context.warn_always(&format!("the map of process {pid} is not whole: {problem}"));
            verdict = Verdict::Failed;
        }
        if context.out.is_json() {
            document.processes.push(listed(read.map, arguments.reserved));
            continue;
        }
        let has_column = style.is_none() && !context.out.is_terminal();
        if several && !has_column {
            line_with(&mut context.out, &format!("{pid}: "), read.map.command.as_bytes(), "")?;
        }
        if let Some(mask) = arguments.dump {
            source.print_structures(&mut context.out, &read, StructureMask(mask))?;
        }
        match style {
            Some(style) => styles::print(&mut context.out, &read.map, style, context.global.verbose)?,
            None => table::print(context, &read.map, read.page_size, several)?,
        }
        if style.is_some_and(Style::has_inodes) {
            read.remark_on_files(context);
        }
    }
    if context.out.is_json() {
        context.out.document_of("memtool.maps", source.kind(), &document)?;
    }
    Ok(verdict)
}

fn listed(map: ProcessMap, with_gaps: bool) -> Listed {
    let totals = Totals::from_entries(&map.entries);
    let gaps = || map.gaps().map(|(_, gap)| Gap { start: Hex(gap.start), size: gap.size }).collect();
    let gaps = with_gaps.then(gaps);
    let ProcessMap { pid, command, layout, entries, domains, structures } = map;
    let measured = |entry: MapEntry| {
        let (start, end) = (entry.start, entry.end);
        Measured::new(entry, start, end)
    };
    let layout = layout.map(LayoutDocument::from);
    let entries = entries.into_iter().map(measured).collect();
    Listed { pid, command, layout, entries, numa: domains, gaps, totals, structures }
}

/// Whole KiB.
const fn kib(bytes: u64) -> u64 {
    bytes / 1024
}

/// A name as it is printed: without what would begin another line.
fn one_line(name: &[u8]) -> Vec<u8> {
    let escaped = |byte: &u8| if *byte == b'\n' { br"\012".to_vec() } else { vec![*byte] };
    name.iter().flat_map(escaped).collect()
}

/// Prints a line with a name in it, which is cut where the terminal is too narrow.
fn line_with(out: &mut Output, before: &str, name: &[u8], behind: &str) -> Result<()> {
    let Some(columns) = out.columns() else {
        return out.raw_line(&[before.as_bytes(), name, behind.as_bytes()].concat());
    };
    // A line may begin with a tab.
    let taken: usize = before.width() + 7 * before.matches('\t').count() + behind.width();
    out.line([before, &fit(column(name), columns.saturating_sub(taken)), behind].concat().trim_end())
}
