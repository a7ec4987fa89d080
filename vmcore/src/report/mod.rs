//! A report of a crash: what crashinfo(8) tells of a kernel's dump, from the dump and the kernel's image alone. And the same of
//! a kernel that runs.
//!
//! [`Report`] is what there is to know, [`Report::sections`] the same for people, [`mod@text`] writes it as text, [`html`] as a page.

mod dump;
mod fingerprint;
pub mod html;
mod numbers;
mod processes;
pub mod section;
mod sections;
pub mod stacks;
pub mod text;
mod texts;

pub use dump::{DumpSummary, header_facts};
pub use fingerprint::{Basis, Fingerprint, NoFingerprint};
pub use numbers::{Number, Unit};
pub use processes::{PROCESS_COLUMNS, process_row};
pub use sections::{INVENTORY, REPORT_SECTIONS};

use crate::architecture::Architecture;
use crate::dump::TextFile;
use crate::inventory::{Inventory, NoSection, SectionName, Source};
use crate::kernel::{DebuggerOutput, Kernel, KernelFacts, Process, Processes, State, Thread};
use crate::messages::{self, Message, MessageBuffer};
use crate::stack::{Call, CodeInformation, ThreadStack};
use crate::symbols::linker_files::Listing;
use crate::symbols::{Binding, Table};
use std::path::PathBuf;

/// A part of a report, or why it is missing.
pub type Part<T> = Result<T, String>;

/// What a report is on.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A dump.
    Dump(Box<DumpSummary>),
    /// A kernel that runs.
    Running {
        /// The name of its host.
        hostname: String,
        /// Bytes of a page.
        page_size: u64,
    },
}

impl Subject {
    /// The dump, if it is one.
    pub fn dump(&self) -> Option<&DumpSummary> {
        match self {
            Self::Dump(dump) => Some(dump),
            Self::Running { .. } => None,
        }
    }

    /// The name of the host.
    pub fn host(&self) -> Option<String> {
        match self {
            Self::Dump(dump) => dump.host(),
            Self::Running { hostname, .. } => Some(hostname.clone()).filter(|name| !name.is_empty()),
        }
    }

    /// What the kernel panicked with, by the dump; empty if it is known that it did not.
    fn panic(&self) -> Option<String> {
        self.dump().and_then(DumpSummary::panic)
    }

    /// Whether it was read without fault.
    fn is_whole(&self) -> bool {
        self.dump().is_none_or(DumpSummary::is_whole)
    }

    /// The files of a text dump.
    fn files(&self) -> &[TextFile] {
        self.dump().map_or(&[], |dump| &dump.files)
    }

    /// Bytes of a page.
    fn page_size(&self) -> Option<u64> {
        match self {
            Self::Dump(dump) => dump.page_size,
            Self::Running { page_size, .. } => Some(*page_size),
        }
    }
}

/// What there is to know of a crash, or of a kernel that runs.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::Kernel;
/// use vmcore::inventory::SectionName;
/// use vmcore::report::{DumpSummary, Report, Subject, text};
/// use vmcore::symbols::NoSource;
///
/// # fn main() -> vmcore::Result<()> {
/// let mut kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
/// if let Some(dump) = kernel.memory().dump() {
///     let subject = Subject::Dump(Box::new(DumpSummary::new("vmcore.0", dump.inspection())));
///     let report = Report::collect(subject, Ok(&mut kernel), &mut NoSource, SectionName::ALL);
///     let _ = text::write(&report.title(), &report.sections(), &mut std::io::stdout());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Report {
    /// What it is on.
    pub subject: Subject,
    /// Whose kernel it is.
    pub architecture: Option<Architecture>,
    /// The kernel's image; none where its symbols are from elsewhere.
    pub image: Part<Option<PathBuf>>,
    /// Whether that has global symbols only, as after strip(1).
    pub lacks_local_symbols: bool,
    /// What the kernel says of itself.
    pub facts: Part<KernelFacts>,
    /// What the kernel panicked with; none if it did not.
    pub panic: Option<String>,
    /// What tells the crashes of one bug from those of another.
    pub fingerprint: Result<Fingerprint, NoFingerprint>,
    /// The processes, by process ID.
    pub processes: Part<Processes>,
    /// The stacks.
    pub stacks: Stacks,
    /// What the kernel said.
    pub messages: Part<MessageBuffer>,
    /// What the kernel counts.
    pub numbers: Part<Vec<Number>>,
    /// What it counts and holds, by its types.
    pub inventory: Result<Inventory, NoSection>,
    /// The configuration that the kernel was built with; none if it does not have it.
    pub configuration: Part<Option<Vec<u8>>>,
    /// The files that the kernel was linked from, itself first.
    pub modules: Part<Listing>,
    /// What the kernel's debugger has captured of its output; none of a kernel without it.
    pub debugger: Part<Option<DebuggerOutput>>,
}

/// A stack with its functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportStack {
    /// The stack, and the threads that have it.
    pub stack: ThreadStack,
    /// Its functions.
    pub calls: Vec<Call>,
}

/// The stacks of a kernel; none where the processes are missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stacks {
    /// That of the thread that wrote the dump: the one that panicked.
    pub dumping: Option<ReportStack>,
    /// Those of the other threads on CPUs, by CPU.
    pub on_cpu: Vec<ReportStack>,
    /// Those of all others; equal ones once.
    pub others: Vec<ReportStack>,
}

impl Report {
    /// Finds out what there is to know. `kernel` is that of the subject, or why there is none; of what it counts and holds, these
    /// sections are read. Whatever cannot be known is missing with a reason.
    pub fn collect(
        subject: Subject,
        kernel: Part<&mut Kernel>,
        sources: &mut dyn CodeInformation,
        sections: &[SectionName],
    ) -> Self {
        let mut report = match kernel {
            Ok(kernel) => Self::of_kernel(subject, kernel, sources, sections),
            Err(why) => Self::without_kernel(subject, why),
        };
        report.panic = report.find_panic();
        report.fingerprint = report.find_fingerprint();
        report
    }

    fn without_kernel(subject: Subject, why: String) -> Self {
        let messages = subject.dump().and_then(|dump| dump.messages.clone()).ok_or_else(|| why.clone());
        Self {
            subject,
            architecture: None,
            image: Err(why.clone()),
            lacks_local_symbols: false,
            facts: Err(why.clone()),
            panic: None,
            fingerprint: Err(NoFingerprint::Nothing),
            processes: Err(why.clone()),
            stacks: Stacks::default(),
            messages,
            numbers: Err(why.clone()),
            inventory: Err(NoSection { why: why.clone(), is_unsupported: true }),
            configuration: Err(why.clone()),
            modules: Err(why.clone()),
            debugger: Err(why),
        }
    }

    fn of_kernel(
        subject: Subject,
        kernel: &mut Kernel,
        sources: &mut dyn CodeInformation,
        sections: &[SectionName],
    ) -> Self {
        let mut processes = kernel.processes().map_err(reason);
        let inventory = read_inventory(kernel, processes.as_ref().ok(), sections).map_err(NoSection::from);
        if let Ok(processes) = &mut processes {
            processes.list.sort_by_key(|process| process.pid);
        }
        let stacks =
            processes.as_ref().map_or_else(|_| Stacks::default(), |found| Stacks::read(kernel, found, sources));
        let has_local = |image: &Table| image.iter().any(|entry| entry.is_code && entry.binding == Binding::Local);
        let lacks_local_symbols = kernel.image().is_some_and(|image| !has_local(image));
        let image = kernel.symbols().map_err(reason).map(|_| kernel.image().map(|image| image.path().to_owned()));
        Self {
            subject,
            architecture: Some(kernel.memory().architecture()),
            image,
            lacks_local_symbols,
            facts: kernel.facts().map_err(reason),
            panic: None,
            fingerprint: Err(NoFingerprint::Nothing),
            processes,
            stacks,
            messages: kernel.messages().map_err(reason),
            numbers: kernel.symbols().map(|symbols| numbers::read(kernel.memory(), symbols)).map_err(reason),
            inventory,
            configuration: kernel.configuration().map_err(reason),
            modules: kernel.linked_files().map_err(reason),
            debugger: kernel.debugger_output().map_err(reason),
        }
    }

    /// What the kernel panicked with: by its `panicstr`; else by the dump's header or what was saved of it, or by its messages.
    fn find_panic(&self) -> Option<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if let Ok(facts) = &self.facts
            && (facts.panic.is_some() || self.subject.is_whole())
        {
            return facts.panic.as_deref().map(text);
        }
        if let Some(panic) = self.subject.panic() {
            return Some(panic).filter(|panic| !panic.is_empty());
        }
        let all: Vec<Message<'_>> = self.messages.as_ref().ok()?.lines().collect();
        let mut of_panic = all.get(messages::panic_since_boot(&all)?..)?.iter();
        of_panic.find_map(|message| message.text.strip_prefix(b"panic: ")).map(text)
    }

    /// Whether the kernel is known to have panicked, or not to have.
    pub(crate) fn is_panic_known(&self) -> bool {
        let is_read = self.facts.is_ok() || self.messages.as_ref().is_ok_and(|buffer| buffer.missing == 0);
        self.panic.is_some() || self.subject.panic().is_some() || is_read && self.subject.is_whole()
    }

    fn find_fingerprint(&self) -> Result<Fingerprint, NoFingerprint> {
        let found = self.fingerprint_of_what_is_known();
        found.map_err(|why| if self.is_panic_known() { why } else { NoFingerprint::Unknown })
    }

    fn fingerprint_of_what_is_known(&self) -> Result<Fingerprint, NoFingerprint> {
        match (self.architecture, &self.panic) {
            (Some(architecture), panic) => {
                let stack = self.stacks.dumping.as_ref().map(|found| (&found.stack.stack, found.calls.as_slice()));
                Fingerprint::new(architecture, panic.as_deref(), stack)
            }
            (None, Some(panic)) => Fingerprint::from_message(panic),
            (None, None) => Err(NoFingerprint::NoPanic),
        }
    }

    /// Whether nothing that a report has is missing because it could not be read.
    pub fn is_complete(&self) -> bool {
        if !self.subject.files().is_empty() {
            return self.subject.is_whole() && self.subject.files().iter().all(|file| file.missing == 0);
        }
        let is_read = |processes: &Processes| processes.warnings.is_empty();
        let is_fine = |found: &ReportStack| found.stack.is_fine();
        self.subject.is_whole()
            && self.processes.as_ref().is_ok_and(is_read)
            && self.stacks.dumping.as_ref().is_none_or(is_fine)
            && self.messages.as_ref().is_ok_and(|buffer| buffer.missing == 0)
            && self.inventory.as_ref().map_or_else(|missing| missing.is_unsupported, Inventory::is_whole)
            && self.configuration.is_ok()
            && self.modules.as_ref().is_ok_and(|listing| listing.broken.is_none())
            && self.debugger.as_ref().is_ok_and(|output| output.as_ref().is_none_or(|output| output.missing == 0))
    }

    /// The index of the message that the panic begins with.
    pub fn panic_message(&self, all: &[Message<'_>]) -> Option<usize> {
        self.panic.as_ref().and_then(|_| messages::panic_since_boot(all))
    }
}

/// The sections, of the processes in the order of the kernel.
fn read_inventory(
    kernel: &Kernel,
    processes: Option<&Processes>,
    sections: &[SectionName],
) -> crate::Result<Inventory> {
    let source = Source::new(kernel)?;
    let source = match processes {
        Some(processes) => source.with_processes(processes),
        None => source,
    };
    Ok(Inventory::read(&source, sections))
}

fn reason(error: crate::Error) -> String {
    error.to_string()
}

impl Stacks {
    fn read(kernel: &mut Kernel, processes: &Processes, sources: &mut dyn CodeInformation) -> Self {
        let threads: Vec<(&Process, &Thread)> = processes.threads().collect();
        let mut stacks = ThreadStack::follow(kernel, sources, processes, &threads);
        let state = |found: &ThreadStack| found.threads.first().map(|thread| (thread.state, thread.cpu));
        let dumping = stacks.iter().position(|found| matches!(state(found), Some((State::Dumping, _))));
        let dumping = dumping.map(|index| stacks.remove(index));
        let (others, mut on_cpu): (Vec<_>, Vec<_>) =
            stacks.into_iter().partition(|found| matches!(state(found), Some((State::Off, _))));
        on_cpu.sort_by_key(|found| state(found).and_then(|(_, cpu)| cpu));
        let kernel = &*kernel;
        let mut with_calls = |stack: ThreadStack| ReportStack { calls: stack.calls(kernel, sources), stack };
        Self {
            dumping: dumping.map(&mut with_calls),
            on_cpu: on_cpu.into_iter().map(&mut with_calls).collect(),
            others: ThreadStack::group(others).into_iter().map(&mut with_calls).collect(),
        }
    }

    /// All of them, in the order of a report.
    pub fn all(&self) -> impl Iterator<Item = &ReportStack> {
        self.dumping.iter().chain(&self.on_cpu).chain(&self.others)
    }
}
