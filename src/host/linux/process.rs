//! A process in proc(5), the same one however long it takes: a directory that is open names no other process later.

use super::move_pages;
use super::pagemap::{self, ENTRY_SIZE, PagemapEntry};
use crate::error::{Error, Result};
use crate::files::open_nonblocking;
use crate::host::Pid;
use crate::kernel_error::errno_of;
use crate::kernel_error::{KernelError, Operation};
use crate::process_map::{self, procfs};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use vmcore::bounds::{at_most, part};

/// Where Linux tells of NUMA nodes, unless it was built without them.
const NODES: &str = "/sys/devices/system/node";

/// More of a process's `stat` is not read.
const MAX_STAT: u64 = 4096;

/// A process of this system.
pub struct Process {
    /// `None` for the calling process.
    pid: Option<Pid>,
    /// The thread that the kernel is asked about; `None` for the calling one.
    thread: Option<Pid>,
    directory: File,
}

impl Process {
    /// Finds a process, or the calling one, for an operation. If its main thread has ended, the kernel tells of the
    /// address space through another.
    pub fn open(pid: Option<Pid>, operation: Operation) -> Result<Self> {
        let path = pid.map_or_else(|| PathBuf::from("/proc/self"), |pid| format!("/proc/{pid}").into());
        let fail = |error: io::Error| KernelError::new(operation, subject(pid), errno_of(&error));
        let process = Self { pid, thread: pid, directory: open_nonblocking(&path).map_err(fail)? };
        if process.condition() == Condition::Ended
            && let Some(thread) = process.running_thread(&path.join("task"))
        {
            return Ok(thread);
        }
        Ok(process)
    }

    fn running_thread(&self, threads: &Path) -> Option<Self> {
        let open = |entry: io::Result<DirEntry>| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            let directory = open_nonblocking(&entry.path()).ok()?;
            Some(Self { pid: self.pid, thread: Some(Pid::from_raw(number)), directory })
        };
        let mut threads = fs::read_dir(threads).ok()?.filter_map(open);
        threads.find(|thread| thread.condition() == Condition::Runs)
    }

    /// Opens a file of its directory.
    pub fn file(&self, name: &str) -> io::Result<File> {
        let file = openat(&self.directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(file.into())
    }

    /// Where a link of its directory leads.
    pub fn link(&self, name: &str) -> io::Result<OsString> {
        Ok(readlinkat(&self.directory, name)?)
    }

    /// The error of an operation on this process: what the kernel answers, or what is the matter with the process.
    pub fn error(&self, operation: Operation, errno: Errno) -> Error {
        let fail = |errno| KernelError::new(operation, subject(self.pid), errno).into();
        match self.condition() {
            Condition::KernelThread { name } => {
                Error::Refused(format!("{} is the kernel thread {name}, which has no address space", subject(self.pid)))
            }
            Condition::Ended => fail(Errno::ESRCH),
            Condition::Runs => fail(errno),
        }
    }

    fn condition(&self) -> Condition {
        match self.stat().as_deref().map_err(errno_of) {
            Err(Errno::ENOENT | Errno::ESRCH) => Condition::Ended,
            Err(_) => Condition::Runs,
            Ok(stat) => condition(stat),
        }
    }

    fn stat(&self) -> io::Result<Vec<u8>> {
        let mut stat = Vec::new();
        self.file("stat")?.take(MAX_STAT).read_to_end(&mut stat)?;
        Ok(stat)
    }

    /// Where its stack began when the program did: execve(2) sets that anew, usually at random. 0 without an address
    /// space, and for those who may not look into it.
    pub fn stack_start(&self) -> io::Result<u64> {
        Ok(stack_start(&self.stat()?))
    }

    fn read_error(&self, error: &io::Error) -> Error {
        self.error(Operation::ReadPagemap, errno_of(error))
    }

    /// Opens its pagemap. It stays that of the address space that the process has now.
    pub fn pagemap(&self) -> Result<Pagemap<'_>> {
        let file = self.file("pagemap").map_err(|error| self.read_error(&error))?;
        Ok(Pagemap { process: self, file, bytes: Vec::new() })
    }

    /// The ranges of addresses that its map entries cover, sorted; neighbours are one.
    pub fn covered(&self) -> Result<Vec<Range<u64>>> {
        let read = || procfs::parse(BufReader::new(self.file("maps")?));
        read().map(|entries| covered(&entries)).map_err(|error| self.read_error(&error))
    }

    /// The NUMA domain of each page, by address; `None` where the kernel does not tell.
    pub fn domains(&self, addresses: &[u64]) -> Result<Vec<Option<u32>>> {
        match move_pages::statuses(self.thread, addresses) {
            Ok(statuses) => Ok(statuses.into_iter().map(move_pages::domain).collect()),
            // A kernel without NUMA has one domain, and no such call.
            Err(Errno::ENOSYS) if !has_nodes() => Ok(vec![Some(0); addresses.len()]),
            Err(errno) => Err(self.error(Operation::FindDomains, errno)),
        }
    }
}

/// Whether this kernel has NUMA nodes.
pub fn has_nodes() -> bool {
    Path::new(NODES).exists()
}

fn subject(pid: Option<Pid>) -> String {
    pid.map_or_else(|| "this process".to_owned(), |pid| format!("process {pid}"))
}

/// A process's pagemap.
pub struct Pagemap<'a> {
    process: &'a Process,
    file: File,
    /// What is read, kept for the next time.
    bytes: Vec<u8>,
}

impl Pagemap<'_> {
    /// Reads so many entries from a page number on; fewer where the process's addresses end.
    pub fn read(&mut self, page: u64, count: u64) -> Result<impl ExactSizeIterator<Item = PagemapEntry>> {
        let length = at_most(count, pagemap::MAX_ENTRIES) * ENTRY_SIZE;
        self.bytes.resize(length, 0);
        let done = self.fill(page).map_err(|error| self.process.read_error(&error))?;
        if done < length {
            self.check()?;
        }
        Ok(pagemap::entries(part(&self.bytes, ..done)))
    }

    fn fill(&mut self, page: u64) -> io::Result<usize> {
        let start = page.checked_mul(ENTRY_SIZE as u64).ok_or(Errno::EFAULT)?;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = self.bytes.get_mut(done..) {
            match self.file.read_at(rest, start + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// The entries of page numbers, which are sorted and different.
    pub fn entries(&mut self, pages: &[u64]) -> Result<Vec<PagemapEntry>> {
        let mut found = Vec::with_capacity(pages.len());
        for part in pagemap::parts(pages) {
            let (Some(&first), Some(&last)) = (part.first(), part.last()) else { continue };
            let mut wanted = part.iter().map(|page| page - first).peekable();
            for (offset, entry) in (0_u64..).zip(self.read(first, last - first + 1)?) {
                if wanted.next_if_eq(&offset).is_some() {
                    found.push(entry);
                }
            }
            // Behind the end of a process's addresses nothing is mapped.
            found.extend(wanted.map(|_| PagemapEntry::default()));
        }
        Ok(found)
    }

    /// Checks that the address space is still there: every one has an entry for address 0.
    pub fn check(&self) -> Result<()> {
        match self.file.read_at(&mut [0; ENTRY_SIZE], 0) {
            Ok(0) => Err(self.process.error(Operation::ReadPagemap, Errno::ESRCH)),
            Ok(_) => Ok(()),
            Err(error) => Err(self.process.read_error(&error)),
        }
    }
}

/// What is the matter with a process.
#[derive(Debug, PartialEq, Eq)]
enum Condition {
    /// Nothing.
    Runs,
    /// It has ended or is about to, though it may not have been waited for.
    Ended,
    /// It is a part of the kernel.
    KernelThread { name: String },
}

/// A field of a process's `stat`, by its number in `proc_pid_stat(5)`. The second, the name, is in parentheses and can
/// hold anything; this is for those behind it.
fn field(stat: &[u8], number: usize) -> Option<&str> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let behind = str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    behind.split_ascii_whitespace().nth(number.checked_sub(3)?)
}

/// What a process's `stat` says of it.
fn condition(stat: &[u8]) -> Condition {
    /// `PF_KTHREAD` in `include/linux/sched.h`.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    /// `PF_EXITING` there.
    const EXITING: u64 = 0x4;
    let flags = field(stat, 9).and_then(|flags| flags.parse::<u64>().ok()).unwrap_or(0);
    if flags & KERNEL_THREAD != 0 {
        let text = String::from_utf8_lossy(stat);
        let name = text.split_once('(').and_then(|(_, name)| name.rsplit_once(')')).map_or("", |(name, _)| name);
        return Condition::KernelThread { name: name.to_owned() };
    }
    let has_ended = matches!(field(stat, 3), Some("Z" | "X" | "x")) || flags & EXITING != 0;
    if has_ended { Condition::Ended } else { Condition::Runs }
}

fn stack_start(stat: &[u8]) -> u64 {
    field(stat, 28).and_then(|address| address.parse().ok()).unwrap_or(0)
}

/// The ranges that entries cover, in their order; neighbours are one.
fn covered(entries: &[process_map::MapEntry]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for entry in entries {
        match ranges.last_mut() {
            Some(last) if last.end == entry.start => last.end = entry.end,
            _ => ranges.push(entry.start..entry.end),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::process_memory::{ProcessMapping, page_size};
    use crate::host::{Backing, Mapping};
    use proptest::prelude::*;

    #[test]
    fn a_process_is_known_by_its_stat_whatever_its_name() {
        let stat = |name: &str, state: &str, flags: &str| {
            condition(format!("17 ({name}) {state} 1 17 17 0 -1 {flags} 0 0 12 0\n").as_bytes())
        };
        assert_eq!(stat("cat", "S", "4194304"), Condition::Runs);
        assert_eq!(stat("cat", "Z", "4227084"), Condition::Ended);
        assert_eq!(stat("a) Z 1 (b", "R", "4194304"), Condition::Runs);
        assert_eq!(stat("", "X", "0"), Condition::Ended);
        let thread = |name: &str| Condition::KernelThread { name: name.to_owned() };
        assert_eq!(stat("kthreadd", "S", "2129984"), thread("kthreadd"));
        assert_eq!(stat("kworker/R-a (b)", "I", "69238880"), thread("kworker/R-a (b)"));
        // Still giving back its memory.
        assert_eq!(stat("cat", "R", "4194308"), Condition::Ended);
        for odd in ["", "17", "17 (cat", "17 (cat)", "17 (cat) S", "17 (cat) S 1 2 3 4 5 flags", ")("] {
            assert_eq!(condition(odd.as_bytes()), Condition::Runs, "{odd}");
        }
    }

    #[test]
    fn the_start_of_the_stack_is_on_the_stack() {
        let process = Process::open(None, Operation::ProcessMap).unwrap();
        let stack = process.stack_start().unwrap();
        let entries = procfs::parse(BufReader::new(process.file("maps").unwrap())).unwrap();
        let entry = entries.iter().find(|entry| entry.label == b"stack").unwrap();
        assert!((entry.start..entry.end).contains(&stack), "{stack:#x}: {entry:?}");
        assert_eq!(process.stack_start().unwrap(), stack);
        for odd in [&b""[..], b"17 (cat) S 1 2", b"17", b"17 (cat) \xff"] {
            assert_eq!(stack_start(odd), 0);
        }
    }

    #[test]
    fn neighbours_are_one_range() {
        let maps = [(0x1000, 0x3000), (0x3000, 0x4000), (0x7000, 0x8000)];
        let entries = maps.map(|(start, end)| process_map::MapEntry::new(start, end, process_map::Object::None));
        assert_eq!(covered(&entries), [0x1000..0x4000, 0x7000..0x8000]);
        assert_eq!(covered(&[]), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn entries_are_those_read_one_by_one(
            wanted in prop::collection::btree_set(0_u64..3000, 0..60),
            touched in prop::collection::btree_set(0_u64..3000, 0..60),
        ) {
            let page_size = page_size().unwrap();
            let backing = Backing::Anonymous { length: 3000 * page_size };
            let mut mapping = ProcessMapping::new(&backing).unwrap();
            for page in &touched {
                mapping.touch(mapping.address() + page * page_size).unwrap();
            }
            let first = mapping.address() / page_size;
            let mut pages: Vec<u64> = wanted.iter().map(|page| first + page).collect();
            // Beyond all addresses of a process.
            pages.push(u64::MAX / page_size);
            let process = Process::open(None, Operation::ReadPagemap).unwrap();
            let mut pagemap = process.pagemap().unwrap();
            let all = pagemap.entries(&pages).unwrap();
            prop_assert_eq!(all.len(), pages.len());
            for (page, entry) in pages.iter().zip(&all) {
                let single = pagemap.read(*page, 1).unwrap().next().unwrap_or_default();
                prop_assert_eq!(entry.is_present(), single.is_present());
                prop_assert!(entry.is_present() || !touched.contains(&page.wrapping_sub(first)));
            }
            prop_assert!(!all.last().unwrap().is_present());
        }
    }
}
