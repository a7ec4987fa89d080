//! The processes and threads of a kernel (`kvm_getprocs`), found without debug information: kernels since FreeBSD
//! 10.3 tell debuggers in variables where the members of `struct proc` and `struct thread` are.
//!
//! The lists may be those of a kernel that crashed because of them: each ends where it comes back to itself, where it
//! cannot be read, and where it is longer than any kernel's, and a warning says so.
//!
//! Sources: `sys/kern/kern_proc.c`, `kern_thread.c`, `kern_shutdown.c`, `subr_smp.c`, and `stoppcbs` in each
//! architecture's `mp_machdep.c`.

use super::dumper::Dumper;
use super::pid_table::PidTable;
use super::registers::{PcbLayout, Registers};
use super::{Fault, KernelMemory, Why};
use crate::architecture::Architecture;
use crate::bounds::saturating_usize;
use crate::error::{Error, Result};
use crate::symbols::{Symbol, Symbols};
use crate::types::TypeTable;
use crate::units::{Hex, counted};
use crate::warnings::Warnings;
use std::collections::HashSet;

/// `MAXCOMLEN` and a NUL: bytes of `p_comm` and `td_name`.
const NAME_SIZE: usize = 20;
/// More processes than there can be: process IDs end at 99999, and a zombie keeps its own.
const MAX_PROCESSES: usize = 1 << 17;
/// More threads than are plausible.
const MAX_THREADS: usize = 1 << 18;
/// More CPUs than a kernel can be built for.
const MAX_CPUS: u32 = 1 << 16;
/// No member of a structure is farther from its beginning.
const MAX_OFFSET: u32 = 1 << 16;
/// Pointers that do not lead back which are told one by one.
const TOLD: usize = 3;
/// The value of `p_state` of a process that is neither being made nor a zombie.
const PRS_NORMAL: u32 = 1;
/// `P_WEXIT`: the process is exiting, and may be in no list any more.
const P_WEXIT: u32 = 0x2000;
/// The value of `p_state` of a zombie (`sys/proc.h`).
const PRS_ZOMBIE: u32 = 2;
/// The first `__FREEBSD_version` in which `stoppcbs` is a pointer to the array.
const STOPPCBS_POINTER: u32 = 1_400_089;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Where its `struct proc` is.
    pub address: u64,
    /// Its process ID.
    pub pid: i32,
    /// The name of its program, `p_comm`, as it is: at most 19 bytes, of any kind.
    pub command: Vec<u8>,
    /// Whether it has exited, and nobody has asked how: it is in `zombproc` or, where kernels have no such list (since
    /// FreeBSD 13), only in the table of process IDs, which is read if the kernel's types are known.
    pub zombie: bool,
    /// Its threads, in the order of the kernel's list.
    pub threads: Vec<Thread>,
}

/// A thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Where its `struct thread` is.
    pub address: u64,
    /// Its thread ID.
    pub tid: i32,
    /// Its name, as it is: at most 19 bytes, of any kind.
    pub name: Vec<u8>,
    /// The CPU that it is on.
    pub cpu: Option<u32>,
    /// What it was doing, which tells where its registers are.
    pub state: State,
    /// The `struct pcb` that holds its registers; `None` where no memory does.
    pub pcb: Option<u64>,
}

/// What a thread was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It wrote the dump, after a panic or on request: its registers are in `dumppcb`.
    Dumping,
    /// It was on a CPU that had been stopped: its registers are in `stoppcbs`.
    Stopped,
    /// It is on a CPU that goes on: nobody has saved its registers.
    Running,
    /// It is on no CPU: its registers are where it was switched from, in `td_pcb`.
    Off,
}

impl State {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dumping => "dumping",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Off => "off",
        }
    }
}

/// All processes of a kernel.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::Kernel;
///
/// # fn main() -> vmcore::Result<()> {
/// let kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("kernel")))?;
/// let processes = kernel.processes()?;
/// for (process, thread) in processes.threads() {
///     let registers = processes.registers(kernel.memory(), thread)?;
///     println!("{} {} {} {:x?}", process.pid, thread.tid, thread.state.name(), registers.pc());
/// }
/// for warning in &processes.warnings {
///     eprintln!("{warning}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// In the order of the kernel's lists, which begin with the youngest process: `allproc`, then zombies.
    pub list: Vec<Process>,
    /// The thread that wrote the dump: debuggers begin with it. There is none in a running kernel, nor in a dump or an
    /// image that it did not write itself.
    pub dumping: Option<i32>,
    /// Where the `struct pcb` of a thread has its registers; `None` where the kernel does not say which version it is.
    pub layout: Option<PcbLayout>,
    /// What could not be read, with the address.
    pub warnings: Vec<String>,
}

impl Processes {
    /// Reads the lists of processes and threads.
    ///
    /// # Errors
    ///
    /// The kernel has not the symbols that lead to them, or their values cannot be read or make no sense. A list that
    /// ends early is none: there are warnings.
    pub fn read(kernel: &KernelMemory, symbols: &dyn Symbols) -> Result<Self> {
        Self::read_with(kernel, symbols, None)
    }

    /// As [`Self::read`]; with the kernel's types, zombies are found where the kernel has no list of them.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`].
    pub fn read_with(kernel: &KernelMemory, symbols: &dyn Symbols, types: Option<&TypeTable>) -> Result<Self> {
        let table = match (types, symbols.find("zombproc")?) {
            (Some(types), None) => PidTable::new(kernel, symbols, types)?,
            _ => None,
        };
        let processes = ProcessReader::new(kernel, symbols)?.read(table)?;
        // Every kernel has process 0.
        if processes.list.is_empty() && processes.warnings.is_empty() {
            let source = symbols.source();
            return Err(Error::Format(format!(
                "there are no processes at allproc: is {source} the kernel that was running?"
            )));
        }
        Ok(processes)
    }

    /// Each thread with its process: first the one that wrote the dump, then in the order of the lists.
    pub fn threads(&self) -> impl Iterator<Item = (&Process, &Thread)> {
        let all = || self.list.iter().flat_map(|process| process.threads.iter().map(move |thread| (process, thread)));
        let dumping = |(_, thread): &(&Process, &Thread)| thread.state == State::Dumping;
        all().filter(dumping).chain(all().filter(move |pair| !dumping(pair)))
    }

    /// The registers of a thread; those that no memory holds are not known.
    ///
    /// # Errors
    ///
    /// As [`KernelMemory::read`].
    pub fn registers(&self, kernel: &KernelMemory, thread: &Thread) -> Result<Registers, Fault> {
        match (self.layout, thread.pcb) {
            (Some(layout), Some(pcb)) => Registers::read(kernel, layout, pcb),
            _ => Ok(Registers::unknown(kernel.architecture())),
        }
    }

    /// Whether a thread's innermost return address on its stack is signed, as those of arm64 kernels are where the
    /// processor authenticates pointers.
    pub fn are_signed(&self, kernel: &KernelMemory) -> bool {
        kernel.architecture() == Architecture::Arm64
            && self.threads().any(|(_, thread)| {
                let fp = self.registers(kernel, thread).ok().and_then(|registers| registers.fp());
                // The frame's record: its caller's frame pointer, and where it returns to.
                let back = fp.and_then(|fp| kernel.u64(fp.checked_add(8)?).ok());
                back.is_some_and(|back| Architecture::Arm64.plain_address(back) != back)
            })
    }
}

/// Where members are, in bytes from the beginning of their structure.
struct Offsets {
    pid: u64,
    command: u64,
    next_process: u64,
    threads: u64,
    tid: u64,
    name: u64,
    cpu: u64,
    pcb: u64,
    next_thread: u64,
}

/// What leads to the registers of threads that are on a CPU.
struct Stops {
    dumper: Option<Dumper>,
    stopped_cpus: Option<Symbol>,
    /// The array.
    stoppcbs: Option<u64>,
    pcb_size: Option<u64>,
}

struct ProcessReader<'a> {
    kernel: &'a KernelMemory,
    allproc: u64,
    zombproc: Option<u64>,
    offsets: Offsets,
    stops: Stops,
    last_cpu: u32,
    layout: Option<PcbLayout>,
    /// Structures that were in a list.
    seen: HashSet<u64>,
    threads: usize,
    /// Pointers that do not lead back to where they should.
    strays: usize,
    warnings: Warnings,
}

/// The address of a member.
fn member(structure: u64, offset: u64) -> Result<u64, Fault> {
    structure.checked_add(offset).ok_or(Fault::new(structure, Why::NotCovered))
}

/// The value of a variable of type `int`, if there is one.
fn int(kernel: &KernelMemory, symbols: &dyn Symbols, name: &str) -> Result<Option<u32>> {
    symbols.find(name)?.map(|symbol| kernel.u32(symbol.address).map_err(Error::variable(name))).transpose()
}

impl<'a> ProcessReader<'a> {
    fn new(kernel: &'a KernelMemory, symbols: &dyn Symbols) -> Result<Self> {
        let missing = |name: &str, who: &str| {
            Error::Unsupported(format!("{} has no symbol {name}, which {who} has", symbols.source()))
        };
        let offset = |name: &str| {
            let offset = int(kernel, symbols, name)?.ok_or_else(|| missing(name, "a kernel since FreeBSD 10.3"))?;
            match offset {
                0..MAX_OFFSET => Ok(u64::from(offset)),
                _ => Err(Error::Format(format!(
                    "{name} is {offset}, not a valid offset: is {} the kernel that was running?",
                    symbols.source()
                ))),
            }
        };
        let address = |name: &str| Ok::<_, Error>(symbols.find(name)?.map(|symbol| symbol.address));
        let allproc = address("allproc")?.ok_or_else(|| missing("allproc", "every FreeBSD kernel"))?;
        let offsets = Offsets {
            pid: offset("proc_off_p_pid")?,
            command: offset("proc_off_p_comm")?,
            next_process: offset("proc_off_p_list")?,
            threads: offset("proc_off_p_threads")?,
            tid: offset("thread_off_td_tid")?,
            name: offset("thread_off_td_name")?,
            cpu: offset("thread_off_td_oncpu")?,
            pcb: offset("thread_off_td_pcb")?,
            next_thread: offset("thread_off_td_plist")?,
        };
        let release = int(kernel, symbols, "osreldate")?;
        let pcb_size = int(kernel, symbols, "pcb_size")?.map(u64::from);
        let stops = Stops::new(kernel, symbols, release, pcb_size, offsets.tid)?;
        Ok(Self {
            kernel,
            allproc,
            zombproc: address("zombproc")?,
            offsets,
            stops,
            last_cpu: int(kernel, symbols, "mp_maxid")?.unwrap_or(MAX_CPUS).min(MAX_CPUS),
            layout: PcbLayout::new(kernel.architecture(), release, pcb_size),
            seen: HashSet::new(),
            threads: 0,
            strays: 0,
            warnings: Warnings::default(),
        })
    }

    fn warn(&mut self, text: String) {
        self.warnings.add(|| text);
    }

    fn read(mut self, table: Option<PidTable>) -> Result<Processes> {
        let mut list = Vec::new();
        let first = self.kernel.pointer(self.allproc).map_err(Error::variable("allproc"))?;
        self.list("allproc", self.allproc, first, &mut list);
        if let Some(zombproc) = self.zombproc {
            match self.kernel.pointer(zombproc) {
                Ok(first) => self.list("zombproc", zombproc, first, &mut list),
                Err(fault) => self.warn(format!("zombproc cannot be read: {fault}")),
            }
        }
        if let Some(table) = table {
            self.zombies(&table, &mut list);
        }
        let more = self.strays.saturating_sub(TOLD);
        if more > 0 {
            self.warn(format!("{} lead elsewhere in these lists", counted(more, "more pointer")));
        }
        if self.layout.is_none() {
            self.warn("registers cannot be located without the symbol osreldate".to_owned());
        }
        Ok(Processes {
            list,
            dumping: self.stops.dumper.map(|dumper| dumper.tid),
            layout: self.layout,
            warnings: self.warnings.into_list("warnings"),
        })
    }

    /// Follows a list of processes from its head.
    fn list(&mut self, name: &str, head: u64, first: u64, list: &mut Vec<Process>) {
        let (mut at, mut link) = (first, self.as_it_ran(head, first));
        let zombie = self.zombproc == Some(head);
        while at != 0 {
            let wrong = if list.len() >= MAX_PROCESSES {
                format!("{name} has more than {MAX_PROCESSES} processes, the next at {}", Hex(at))
            } else if !self.seen.insert(at) {
                format!("{name} leads back to {}", Hex(at))
            } else {
                match self.process(at, zombie) {
                    Ok((process, next)) => {
                        list.push(process);
                        let what = || format!("the process at {} in {name}", Hex(at));
                        self.expect_link(what, at.saturating_add(self.offsets.next_process), link);
                        (at, link) = (next, at.saturating_add(self.offsets.next_process));
                        continue;
                    }
                    Err(fault) => format!("the process at {} in {name} cannot be read: {fault}", Hex(at)),
                }
            };
            return self.warn(format!("{wrong}; the list ends there"));
        }
    }

    /// The address of a list's head as the kernel knows it: symbols have another one where it ran elsewhere than where it was
    /// linked, and the first element leads back to it.
    fn as_it_ran(&self, head: u64, first: u64) -> u64 {
        let entry = first.saturating_add(self.offsets.next_process);
        let back = member(entry, self.kernel.word_size() as u64).and_then(|at| self.kernel.pointer(at));
        let is_head = |back: &u64| self.kernel.pointer(*back).is_ok_and(|led| led == first);
        back.ok().filter(is_head).unwrap_or(head)
    }

    /// Compares the pointer of an entry of a list that leads back, which is behind the one to the next, with the address of the
    /// pointer that led there. In a running kernel the two change one after the other.
    fn expect_link(&mut self, what: impl FnOnce() -> String, entry: u64, link: u64) {
        let found = member(entry, self.kernel.word_size() as u64).and_then(|at| self.kernel.pointer(at));
        let Ok(found) = found else { return };
        if self.kernel.dump().is_some() && found != link {
            self.strays = self.strays.saturating_add(1);
            if self.strays > TOLD {
                return;
            }
            let (found, link, what) = (Hex(found), Hex(link), what());
            let why =
                format!("the list of {what} is damaged, or was being changed: it leads back to {found}, not {link}");
            self.warn(format!("{why}; others may be missing"));
        }
    }

    /// Adds the processes that only the table of process IDs has: zombies, which `exit1()` takes out of `allproc`, and those that
    /// a damaged list has lost.
    fn zombies(&mut self, table: &PidTable, list: &mut Vec<Process>) {
        let word = self.kernel.word_size();
        let mut heads = vec![0; saturating_usize(table.lists).saturating_mul(word)];
        if let Err(fault) = self.kernel.read(table.address, &mut heads) {
            return self.warn(format!("pidhashtbl cannot be read: {fault}; zombies may be missing"));
        }
        let mut hashed = HashSet::new();
        for head in heads.chunks(word) {
            let mut at = self.kernel.order().number(head);
            while at != 0 {
                if !hashed.insert(at) {
                    self.warn(format!("pidhashtbl leads back to {}; the list ends there", Hex(at)));
                    break;
                }
                if hashed.len() > MAX_PROCESSES {
                    return self.warn(format!("pidhashtbl has more than {MAX_PROCESSES} processes; it ends there"));
                }
                match self.zombie(table, at, list) {
                    Ok(next) => at = next,
                    Err(fault) => {
                        let at = Hex(at);
                        self.warn(format!(
                            "the process at {at} in pidhashtbl cannot be read: {fault}; the list ends there"
                        ));
                        break;
                    }
                }
            }
        }
    }

    /// Adds a process of the table if it is a zombie that no list has, or, in a dump, another one: the next one of its list.
    fn zombie(&mut self, table: &PidTable, at: u64, list: &mut Vec<Process>) -> Result<u64, Fault> {
        let next = self.kernel.pointer(member(at, table.next)?)?;
        let state = self.kernel.u32(member(at, table.state)?)?;
        if state == PRS_ZOMBIE && list.len() < MAX_PROCESSES && self.seen.insert(at) {
            list.push(self.process(at, true)?.0);
        }
        // In a running kernel it may have been made since the list was read.
        let is_lost = state == PRS_NORMAL && self.kernel.dump().is_some() && !self.seen.contains(&at);
        if is_lost && list.len() < MAX_PROCESSES && self.seen.insert(at) {
            let process = self.process(at, false)?.0;
            let flags = table.flags.map(|flags| self.kernel.u32(member(at, flags)?)).transpose()?;
            if flags.is_none_or(|flags| flags & P_WEXIT == 0) {
                let pid = process.pid;
                self.warn(format!(
                    "process {pid} is in pidhashtbl and not in allproc, which is damaged, or was being changed"
                ));
            }
            list.push(process);
        }
        Ok(next)
    }

    /// A process with its threads, and the next process.
    fn process(&mut self, address: u64, zombie: bool) -> Result<(Process, u64), Fault> {
        let (kernel, offsets) = (self.kernel, &self.offsets);
        let pid = kernel.u32(member(address, offsets.pid)?)?.cast_signed();
        let command = kernel.string(member(address, offsets.command)?, NAME_SIZE)?;
        let next = kernel.pointer(member(address, offsets.next_process)?)?;
        let head = member(address, offsets.threads)?;
        let first = kernel.pointer(head)?;
        let threads = self.threads_of(pid, head, first);
        Ok((Process { address, pid, command, zombie, threads }, next))
    }

    /// Follows a process's list of threads from its head.
    fn threads_of(&mut self, pid: i32, head: u64, first: u64) -> Vec<Thread> {
        let mut threads = Vec::new();
        let (mut at, mut link) = (first, head);
        while at != 0 {
            let wrong = if self.threads >= MAX_THREADS {
                format!("there are more than {MAX_THREADS} threads: the list of process {pid} goes on at {}", Hex(at))
            } else if !self.seen.insert(at) {
                format!("the list of process {pid}'s threads leads back to {}", Hex(at))
            } else {
                match self.thread(at) {
                    Ok((thread, next)) => {
                        threads.push(thread);
                        self.threads += 1;
                        let entry = at.saturating_add(self.offsets.next_thread);
                        self.expect_link(|| format!("process {pid}'s threads at {}", Hex(at)), entry, link);
                        (at, link) = (next, entry);
                        continue;
                    }
                    Err(fault) => format!("the thread at {} of process {pid} cannot be read: {fault}", Hex(at)),
                }
            };
            self.warn(format!("{wrong}; the list ends there"));
            return threads;
        }
        // The head's last pointer.
        self.expect_link(|| format!("process {pid}'s threads"), head, link);
        threads
    }

    /// A thread, and the next one of its process.
    fn thread(&self, address: u64) -> Result<(Thread, u64), Fault> {
        let (kernel, offsets) = (self.kernel, &self.offsets);
        let tid = kernel.u32(member(address, offsets.tid)?)?.cast_signed();
        let name = kernel.string(member(address, offsets.name)?, NAME_SIZE)?;
        let cpu = Some(kernel.u32(member(address, offsets.cpu)?)?).filter(|cpu| *cpu <= self.last_cpu);
        let saved = kernel.pointer(member(address, offsets.pcb)?)?;
        let next = kernel.pointer(member(address, offsets.next_thread)?)?;
        let (state, pcb) = match (cpu, self.stops.dumper) {
            (_, Some(dumper)) if dumper.tid == tid => (State::Dumping, dumper.pcb),
            (None, _) => (State::Off, Some(saved).filter(|pcb| *pcb != 0)),
            (Some(cpu), _) if self.stops.is_stopped(kernel, cpu)? => (State::Stopped, self.stops.pcb_of(cpu)),
            (Some(_), _) => (State::Running, None),
        };
        Ok((Thread { address, tid, name, cpu, state, pcb }, next))
    }
}

impl Stops {
    fn new(
        kernel: &KernelMemory,
        symbols: &dyn Symbols,
        release: Option<u32>,
        pcb_size: Option<u64>,
        td_tid: u64,
    ) -> Result<Self> {
        if kernel.dump().is_none() {
            // What a live dump, or the debugger, has left there is over.
            return Ok(Self { dumper: None, stopped_cpus: None, stoppcbs: None, pcb_size });
        }
        let stoppcbs = match symbols.find("stoppcbs")? {
            Some(Symbol { address, size })
                if size == kernel.word_size() as u64
                    || size == 0 && release.is_some_and(|release| release >= STOPPCBS_POINTER) =>
            {
                Some(kernel.pointer(address)?).filter(|array| *array != 0)
            }
            symbol => symbol.map(|symbol| symbol.address),
        };
        Ok(Self {
            dumper: Dumper::read(kernel, symbols, td_tid)?,
            stopped_cpus: symbols.find("stopped_cpus")?,
            stoppcbs,
            pcb_size,
        })
    }

    /// Whether a CPU is in the set `stopped_cpus`, an array of `long`.
    fn is_stopped(&self, kernel: &KernelMemory, cpu: u32) -> Result<bool, Fault> {
        let Some(set) = self.stopped_cpus else { return Ok(self.stoppcbs.is_some()) };
        let word = kernel.word_size() as u64;
        let bits = 8 * word;
        let offset = u64::from(cpu) / bits * word;
        if set.size != 0 && offset >= set.size {
            return Ok(false);
        }
        Ok(kernel.pointer(member(set.address, offset)?)? >> (u64::from(cpu) % bits) & 1 == 1)
    }

    /// Where a CPU that was stopped has its registers.
    fn pcb_of(&self, cpu: u32) -> Option<u64> {
        self.stoppcbs?.checked_add(self.pcb_size?.checked_mul(u64::from(cpu))?)
    }
}
