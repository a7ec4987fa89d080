//! A process in proc(5), the same one however long it takes: a directory that is open names no other process later.

use super::move_pages;
use super::pagemap::{self, ENTRY_SIZE, Entry};
use crate::error::{Error, KernelError, Operation, Result, errno_of};
use crate::host::{Pid, open_at_once};
use crate::process_map::{self, procfs};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where Linux tells of NUMA nodes, unless it was built without them.
const NODES: &str = "/sys/devices/system/node";

/// More of a process's `stat` is not read.
const MOST_STAT: u64 = 4096;

/// A process of this system.
pub struct Process {
    /// `None` for the calling process.
    pid: Option<Pid>,
    directory: File,
}

impl Process {
    /// Finds a process, or the calling one, for an operation.
    pub fn open(pid: Option<Pid>, operation: Operation) -> Result<Self> {
        let path = pid.map_or_else(|| PathBuf::from("/proc/self"), |pid| format!("/proc/{pid}").into());
        let fail = |error: io::Error| KernelError::new(operation, subject(pid), errno_of(&error));
        Ok(Self { pid, directory: open_at_once(&path).map_err(fail)? })
    }

    /// Opens a file of its directory.
    pub fn file(&self, name: &str) -> io::Result<File> {
        let file = openat(&self.directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(file.into())
    }

    /// The error of an operation on this process: what the kernel answers, or what is the matter with the process.
    pub fn error(&self, operation: Operation, errno: Errno) -> Error {
        let mut stat = Vec::new();
        let read = self.file("stat").and_then(|file| file.take(MOST_STAT).read_to_end(&mut stat));
        let condition = match read.as_ref().map_err(errno_of) {
            Err(Errno::ENOENT | Errno::ESRCH) => Condition::Ended,
            _ => condition(&stat),
        };
        let fail = |errno| KernelError::new(operation, subject(self.pid), errno).into();
        match condition {
            Condition::KernelThread { name } => {
                Error::Refused(format!("{} is the kernel thread {name}, which has no address space", subject(self.pid)))
            }
            Condition::Ended => fail(Errno::ESRCH),
            Condition::Runs => fail(errno),
        }
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
        match move_pages::statuses(self.pid, addresses) {
            Ok(statuses) => Ok(statuses.into_iter().map(move_pages::domain).collect()),
            // A kernel without NUMA has one domain, and no such call.
            Err(Errno::ENOSYS) if !Path::new(NODES).exists() => Ok(vec![Some(0); addresses.len()]),
            Err(errno) => Err(self.error(Operation::FindDomains, errno)),
        }
    }
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
    pub fn read(&mut self, page: u64, count: u64) -> Result<impl ExactSizeIterator<Item = Entry>> {
        let length = usize::try_from(count.min(pagemap::MOST_ENTRIES)).unwrap_or(0) * ENTRY_SIZE;
        self.bytes.resize(length, 0);
        let done = self.fill(page).map_err(|error| self.process.read_error(&error))?;
        if done < length {
            self.check()?;
        }
        Ok(pagemap::entries(self.bytes.get(..done).unwrap_or_default()))
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
    pub fn entries(&mut self, pages: &[u64]) -> Result<Vec<Entry>> {
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
            found.extend(wanted.map(|_| Entry::default()));
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
    /// It has ended, though it may not have been waited for.
    Ended,
    /// It is a part of the kernel.
    KernelThread { name: String },
}

/// What a process's `stat` says: its ID, its name in parentheses, which can hold anything, its state, and six
/// numbers later its flags.
fn condition(stat: &[u8]) -> Condition {
    /// `PF_KTHREAD` in `include/linux/sched.h`.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let text = String::from_utf8_lossy(stat);
    let Some((name, rest)) = text.rsplit_once(')') else { return Condition::Runs };
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next();
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok());
    if flags.is_some_and(|flags| flags & KERNEL_THREAD != 0) {
        let name = name.split_once('(').map_or("", |(_, name)| name);
        return Condition::KernelThread { name: name.to_owned() };
    }
    if matches!(state, Some("Z" | "X" | "x")) { Condition::Ended } else { Condition::Runs }
}

/// The ranges that entries cover, in their order; neighbours are one.
fn covered(entries: &[process_map::Entry]) -> Vec<Range<u64>> {
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
    use crate::host::process_memory::ProcessMapping;
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
        for odd in ["", "17", "17 (cat", "17 (cat)", "17 (cat) S", "17 (cat) S 1 2 3 4 5 flags", ")("] {
            assert_eq!(condition(odd.as_bytes()), Condition::Runs, "{odd}");
        }
    }

    #[test]
    fn neighbours_are_one_range() {
        let maps = [(0x1000, 0x3000), (0x3000, 0x4000), (0x7000, 0x8000)];
        let entries = maps.map(|(start, end)| process_map::Entry::new(start, end, process_map::Object::None));
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
            let page_size = super::super::page_size();
            let backing = Backing::Anonymous { length: 3000 * page_size };
            let mut mapping = ProcessMapping::new(&backing, page_size).unwrap();
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
