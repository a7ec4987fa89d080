//! A report, as people read it.

use super::fingerprint::{UNKNOWN, panics};
use super::processes::processes_section;
use super::section::{Block, Section, StackText};
use super::stacks::{describe, heading, trap_title};
use super::{Basis, DumpSummary, Fingerprint, Part, Report, ReportStack, Subject};
use crate::inventory::{Inventory, NoSection, SectionData, SectionName};
use crate::kernel::KernelFacts;
use crate::messages::Message;
use crate::stack::{Frame, Trap, TrapKind};
use crate::table::{Column, Table};
use crate::text::{decode, first_line};
use crate::units::{Hex, counted, days_and_time, utc_of_unix};

/// What a damaged dump does not tell.
const UNKNOWN_PANIC: &str = "Whether the kernel panicked is not known, because part of the dump is missing.";
const MORE_THREADS: &str =
    "Not known, or not all: processes are missing, because the list of processes cannot be read to its end.";
/// What limits the use of a fingerprint.
const LOCAL_SYMBOLS: &str = "The image of the kernel has no local symbols: static functions have the names of others, and the fingerprint may not be that of the same crash with the image as it was installed.";
const UNNAMED: &str = "A function has no name. If it is in a module whose file was not found, the fingerprint is not that of the same crash with that file.";

/// The section in place of those that the kernel's types tell.
pub const INVENTORY: &str = "inventory";
/// The sections of any report, in its order. The first one is of a kernel that runs, in place of the four that follow; the last
/// ones are of text dumps, which lack most of the others.
pub const REPORT_SECTIONS: [&str; 16] = [
    "system",
    "dump",
    "panic",
    "fingerprint",
    "stack",
    "cpus",
    "threads",
    "processes",
    "messages",
    "load",
    "map",
    "configuration",
    "modules",
    "ddb",
    "panic-file",
    "version",
];

/// Names with values.
type Facts = Vec<(&'static str, String)>;

impl Report {
    /// Its title: whose crash it is, and when.
    pub fn title(&self) -> String {
        let (what, name) = match &self.subject {
            Subject::Dump(dump) => (if self.panic.is_some() { "Crash" } else { "Dump" }, dump.name.as_str()),
            Subject::Running { .. } => ("Report", "the running kernel"),
        };
        let of = self.subject.host().unwrap_or_else(|| name.to_owned());
        let time = self.time().map(|time| format!(", {time}")).unwrap_or_default();
        format!("{what} of {of}{time}")
    }

    /// When it was dumped, or read: by the dump's header, else by the kernel's clock or by what was saved of the header.
    fn time(&self) -> Option<String> {
        let clock = || self.facts.as_ref().ok()?.time.and_then(|time| u64::try_from(time).ok());
        let dump = self.subject.dump();
        let time = dump.and_then(|dump| dump.header.as_ref()).map(|header| header.dump_time).or_else(clock);
        time.map(utc_of_unix).or_else(|| dump.and_then(DumpSummary::saved_time))
    }

    /// Its parts, in crashinfo(8)'s order.
    pub fn sections(&self) -> Vec<Section> {
        let section = |id, title, blocks| Section { id, title, blocks };
        let stack_title = match self.panic {
            Some(_) => "Stack of the thread that panicked",
            None => "Stack of the thread that wrote the dump",
        };
        let Some(dump) = self.subject.dump() else {
            let system = section("system", "System", self.system_section());
            return std::iter::once(system).chain(self.kernel_sections()).collect();
        };
        let beginning = [
            section("dump", "Dump", self.dump_section(dump)),
            section("panic", "Panic", self.panic_section()),
            section("fingerprint", "Fingerprint", self.fingerprint_section()),
        ];
        if !dump.files.is_empty() {
            return beginning.into_iter().chain(self.file_sections()).collect();
        }
        let stack = section("stack", stack_title, self.stack_section());
        beginning.into_iter().chain([stack]).chain(self.kernel_sections()).collect()
    }

    /// What a kernel tells that is no crash.
    fn kernel_sections(&self) -> Vec<Section> {
        let section = |id, title, blocks| Section { id, title, blocks };
        let (cpus, no_cpus) = match self.subject {
            Subject::Dump(_) => ("Stacks of the other CPUs", "There is no thread on another CPU."),
            Subject::Running { .. } => ("Threads on CPUs", "There is no thread on a CPU."),
        };
        let first = [
            section("cpus", cpus, self.stacks_section(&self.stacks.on_cpu, no_cpus)),
            section(
                "threads",
                "Stacks of the other threads",
                self.stacks_section(&self.stacks.others, "There is no thread off a CPU."),
            ),
            section("processes", "Processes", self.part(&self.processes, processes_section)),
            section("messages", self.messages_title(), self.part(&self.messages, |_| self.messages_section())),
            section("load", "Load and memory", self.load_section()),
        ];
        let last = [
            section("configuration", "Configuration of the kernel", self.configuration_section()),
            section("modules", "Modules", self.part(&self.modules, |_| self.modules_section())),
            section("ddb", "Output of the kernel's debugger", self.debugger_section()),
        ];
        first.into_iter().chain(self.inventory_sections()).chain(last).collect()
    }

    fn dump_section(&self, dump: &DumpSummary) -> Vec<Block> {
        let mut facts =
            vec![("file", dump.name.clone()), ("dump", dump.description.clone()), ("length", dump.length())];
        facts.extend(self.system_facts());
        let mut blocks = vec![Block::Facts(facts)];
        blocks.extend(dump_notes(dump).into_iter().map(Block::Note));
        blocks.extend(self.no_symbols().filter(|_| dump.files.is_empty()));
        blocks
    }

    fn system_section(&self) -> Vec<Block> {
        [Block::Facts(self.system_facts())].into_iter().chain(self.no_symbols()).collect()
    }

    /// What is known of the system: its host, its kernel, and when.
    fn system_facts(&self) -> Facts {
        let dump = self.subject.dump();
        let mut facts: Facts = self.subject.host().into_iter().map(|host| ("host", host)).collect();
        let known = self.facts.as_ref().ok();
        let version = known.and_then(|facts| facts.version.as_deref()).map(decode);
        let version = version.or_else(|| dump.and_then(DumpSummary::version));
        facts.extend(version.map(|version| ("kernel", version.split_whitespace().collect::<Vec<_>>().join(" "))));
        let architecture = self.architecture.map(|architecture| architecture.name().to_owned());
        let architecture = architecture.or_else(|| dump.and_then(DumpSummary::architecture));
        facts.extend(architecture.map(|architecture| ("architecture", architecture)));
        facts.extend(self.time().map(|time| (if dump.is_some() { "dumped" } else { "time" }, time)));
        facts.extend(known.map(uptime).unwrap_or_default());
        facts.extend(self.panic.iter().map(|panic| ("panic", first_line(panic).to_owned())));
        let image = self.image.as_ref().ok().and_then(Option::as_ref);
        facts.extend(image.map(|image| ("symbols", image.display().to_string())));
        facts
    }

    /// That there are no symbols.
    fn no_symbols(&self) -> Option<Block> {
        let without = "There are no symbols of the kernel, which most of a report requires";
        self.image.as_ref().err().map(|why| Block::Note(format!("{without}: {why}.")))
    }

    /// That a part is missing. Why there are no symbols is said once.
    fn missing(&self, why: &String) -> Block {
        Block::Note(match &self.image {
            Err(image) if image == why => "Not available without the symbols of the kernel.".to_owned(),
            _ => format!("Not available: {why}."),
        })
    }

    /// A part, or a note that it is missing.
    pub(super) fn part<T>(&self, part: &Part<T>, blocks: impl FnOnce(&T) -> Vec<Block>) -> Vec<Block> {
        part.as_ref().map_or_else(|why| vec![self.missing(why)], blocks)
    }

    fn panic_section(&self) -> Vec<Block> {
        let mut facts: Facts = self.panic.iter().map(|panic| ("panic", panic.clone())).collect();
        if let Some(found) = &self.stacks.dumping {
            facts.extend(found.stack.threads.first().map(|thread| ("thread", heading(thread))));
            facts.extend(trap_facts(found));
        }
        let mut blocks = Vec::new();
        if !facts.is_empty() {
            blocks.push(Block::Facts(facts));
        }
        if self.panic.is_none() {
            let note = if self.is_panic_known() { "The kernel did not panic." } else { UNKNOWN_PANIC };
            blocks.push(Block::Note(note.to_owned()));
        }
        let lines = self.lines(|panic, index| panic.is_some_and(|panic| index >= panic));
        if !lines.is_empty() {
            blocks.push(Block::Lines(lines));
        }
        blocks
    }

    /// The lines of messages, of which the index of the panic's first one and their own decide.
    fn lines(&self, is_shown: impl Fn(Option<usize>, usize) -> bool) -> Vec<String> {
        let Ok(buffer) = &self.messages else { return Vec::new() };
        let all: Vec<Message<'_>> = buffer.lines().collect();
        let panic = self.panic_message(&all);
        let shown = all.iter().enumerate().filter(|(index, _)| is_shown(panic, *index));
        let mut lines: Vec<String> = shown.map(|(_, message)| decode(message.line)).collect();
        while lines.pop_if(|last| last.is_empty()).is_some() {}
        lines
    }

    fn fingerprint_section(&self) -> Vec<Block> {
        match &self.fingerprint {
            Ok(Fingerprint { value, basis, parts }) => {
                let of = match basis {
                    Basis::Stack => "functions of the stack",
                    Basis::PanicMessage => "the message of the panic, without numbers: the function is not known",
                };
                let facts = vec![("fingerprint", value.clone()), ("made of", of.to_owned())];
                let mut blocks = vec![Block::Facts(facts), Block::Lines(parts.clone())];
                let mut note = |is_so: bool, text: &str| blocks.extend(is_so.then(|| Block::Note(text.to_owned())));
                let is_of_stack = *basis == Basis::Stack;
                note(is_of_stack && self.lacks_local_symbols, LOCAL_SYMBOLS);
                note(is_of_stack && parts.iter().skip(1).any(|part| part == UNKNOWN), UNNAMED);
                blocks
            }
            Err(why) => vec![Block::Note(format!("There is none: {why}."))],
        }
    }

    fn stack_section(&self) -> Vec<Block> {
        match &self.stacks.dumping {
            Some(found) => vec![Block::Stacks(vec![text(found)])],
            None => self.stacks_section(&[], "No thread of the kernel has written a dump."),
        }
    }

    /// Stacks of threads, or that there are none, as far as all processes are known.
    fn stacks_section(&self, stacks: &[ReportStack], none: &str) -> Vec<Block> {
        self.part(&self.processes, |processes| {
            let are_all_known = processes.warnings.is_empty();
            let mut blocks = Vec::new();
            if !stacks.is_empty() {
                blocks.push(Block::Stacks(stacks.iter().map(text).collect()));
            } else if are_all_known {
                blocks.push(Block::Note(none.to_owned()));
            }
            if !are_all_known {
                blocks.push(Block::Note(MORE_THREADS.to_owned()));
            }
            blocks
        })
    }

    fn messages_title(&self) -> &'static str {
        if self.panic.is_some() { "Messages before the panic" } else { "Messages" }
    }

    fn messages_section(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        if let Ok(buffer) = &self.messages {
            let mut note = |is_so: bool, text: &str| blocks.extend(is_so.then(|| Block::Note(text.to_owned())));
            note(buffer.is_full, "The message buffer is full: older messages are lost.");
            note(!buffer.is_ordered, "The newest messages may come first.");
            let missing = format!("{} of the message buffer are not in the dump.", counted(buffer.missing, "byte"));
            note(buffer.missing > 0, &missing);
        }
        let lines = self.lines(|panic, index| panic.is_none_or(|panic| index < panic));
        blocks.push(if lines.is_empty() { Block::Note("There are none.".to_owned()) } else { Block::Lines(lines) });
        blocks
    }

    fn load_section(&self) -> Vec<Block> {
        let facts = match &self.facts {
            Ok(facts) => facts,
            Err(why) => return vec![self.missing(why)],
        };
        let mut shown = uptime(facts);
        shown.extend(facts.load_averages.map(|[one, five, fifteen]| {
            ("load averages", format!("{one:.2} {five:.2} {fifteen:.2} (1, 5 and 15 minutes)"))
        }));
        shown.extend(facts.hz.map(|hz| ("hz", hz.to_string())));
        let numbers = self.numbers.as_deref().unwrap_or_default();
        shown.extend(numbers.iter().map(|number| (number.title, number.text(self.subject.page_size()))));
        vec![Block::Facts(shown)]
    }

    /// What the kernel counts and holds.
    fn inventory_sections(&self) -> Vec<Section> {
        match &self.inventory {
            Ok(Inventory(sections)) => {
                sections.iter().map(|(name, read)| self.inventory_section(*name, read)).collect()
            }
            Err(NoSection { why, .. }) => {
                let blocks = vec![self.missing(why)];
                vec![Section { id: INVENTORY, title: "What the kernel counts and holds", blocks }]
            }
        }
    }

    fn inventory_section(&self, name: SectionName, read: &Result<SectionData, NoSection>) -> Section {
        let blocks = match read {
            Ok(data) => {
                let mut blocks: Vec<_> = data.tables().into_iter().map(Block::Table).collect();
                blocks.extend(data.warnings().iter().map(|warning| Block::Note(format!("{warning}."))));
                blocks
            }
            Err(NoSection { why, .. }) => vec![self.missing(why)],
        };
        Section { id: name.name(), title: name.title(), blocks }
    }

    fn modules_section(&self) -> Vec<Block> {
        let Ok(listing) = &self.modules else { return Vec::new() };
        let columns = [("ID", true), ("ADDRESS", true), ("NAME", false), ("FILE", false)];
        let row = |(id, file): (usize, &crate::symbols::KernelFile)| {
            vec![(id + 1).to_string(), Hex(file.address).to_string(), file.name.clone(), file.path.clone()]
        };
        let rows = listing.files.iter().enumerate().map(row).collect();
        let mut blocks = vec![Block::Table(Table::new(columns.map(column), rows))];
        blocks.extend(listing.broken.as_ref().map(|why| Block::Note(format!("There may be more: {why}."))));
        blocks
    }
}

fn text(found: &ReportStack) -> StackText {
    describe(&found.stack, &found.calls)
}

const fn column((title, is_number): (&'static str, bool)) -> Column {
    Column { title, is_number }
}

fn dump_notes(dump: &DumpSummary) -> Vec<String> {
    let damage = dump.damage.iter().map(|damage| format!("The dump is damaged: {damage}."));
    let limits = dump.limits.iter().map(|limit| format!("A limit of memtool, not damage: {limit}."));
    damage.chain(limits).chain(dump.warnings.iter().map(|warning| format!("{warning}."))).collect()
}

fn uptime(facts: &KernelFacts) -> Facts {
    let uptime = facts.uptime.and_then(|uptime| u64::try_from(uptime).ok());
    let cpus = facts.cpus.map(|cpus| ("CPUs", cpus.to_string()));
    uptime.map(|uptime| ("uptime", days_and_time(uptime))).into_iter().chain(cpus).collect()
}

/// The trap that the panic is about, and the function that it interrupted.
fn trap_facts(found: &ReportStack) -> Facts {
    let frames = &found.stack.stack.frames;
    let interrupted = |index: usize| found.calls.iter().find(|call| call.frame == index + 1);
    // A panic enters the kernel's debugger by a trap of its own.
    let is_of_debugger = |index| interrupted(index).and_then(|call| call.function.as_deref()).is_some_and(panics);
    let is_about = |(index, frame): (usize, &Frame)| {
        let is_fault = |trap: &Trap| trap.kind == TrapKind::Exception && !trap.from_user;
        frame.trap.as_deref().is_some_and(is_fault) && !is_of_debugger(index)
    };
    let Some(index) = frames.iter().enumerate().position(is_about) else { return Vec::new() };
    let interrupted = interrupted(index);
    let mut facts: Facts = Vec::new();
    facts.extend(frames.get(index).and_then(|frame| frame.trap.as_deref()).map(|trap| ("trap", trap_title(trap))));
    let name = |function: &String| match interrupted.and_then(|call| call.offset) {
        Some(offset) => format!("{function}+{offset:#x}"),
        None => function.clone(),
    };
    facts.extend(interrupted.and_then(|call| call.function.as_ref()).map(|function| ("in", name(function))));
    facts
}
