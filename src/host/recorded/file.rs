//! The file of a recorded machine: one JSON object, made by `memtool record` and edited by hand.
//!
//! Addresses are strings, `0x` or decimal. Unknown fields are refused, so that a misspelt one is not
//! silently without effect.

use super::written::{Written, WrittenBytes};
use crate::error::{Error, Result};
use crate::files;
use crate::host::LiveDumpFacts;
use crate::kernel_error::Operation;
use crate::kernel_error::errno_name;
use crate::memory_map::MemoryMap;
use crate::memory_map::kernel_maps::KernelMapping;
use crate::process_map::ProcessMap;
use crate::ranges::Descriptor;
use crate::ranges::default_type::Registers;
use crate::ranges::rules::Table;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vmcore::opened::read_at_most;
use vmcore::pmap::riscv;
use vmcore::symbols::{KernelFile, Symbol};
use vmcore::system::System;
use vmcore::units::{AddressRange, hex};

/// The `schema` of the file.
pub const SCHEMA: &str = "memtool.machine";
/// The `version` of the schema.
pub const VERSION: u32 = 1;

/// A larger file is not read; a real machine's takes some hundred KiB.
const MAX_FILE: u64 = 64 << 20;

/// More entries than any machine has, in each list that is searched from its start.
const MAX_ENTRIES: usize = 4096;

/// A recorded machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// The system it runs.
    pub system: System,
    /// Its RAM.
    pub memory: MemoryMap,
    /// What the RAM holds.
    #[serde(default)]
    pub contents: Contents,
    /// Physical addresses that cannot be read: reads there fail with EIO.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<AddressRange>,
    /// Its memory ranges.
    pub ranges: Ranges,
    /// The kernel's mapped virtual ranges; absent where the kernel does not list them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_maps: Option<Vec<KernelMapping>>,
    /// `vm.pmap.mode` of riscv64: the levels of its page tables; where this is absent three, the kernel's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pmap_mode: Option<riscv::Mode>,
    /// The kernel; absent: one that memtool lays out, without anything but what every kernel has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelSource>,
    /// Kernel symbols that lie elsewhere than in the kernel that memtool lays out, or, with `null`, nowhere.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub symbols: BTreeMap<String, Option<Symbol>>,
    /// The kernel's file, first, and its modules'.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_files: Vec<KernelFile>,
    /// The process that `paddr` looks at.
    #[serde(default)]
    pub process: Process,
    /// The memory maps of its processes, as `memtool record --pid` writes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessMap>,
    /// Files in place of its dump devices; a relative path starts at the machine's file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dump_devices: Vec<PathBuf>,
    /// Whether its dump device has the dump of a crash of the kernel that is built in; absent: it has no such device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_dump: Option<CrashDumpState>,
    /// What was written to its memory, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<WrittenBytes>,
    /// What the kernel tells beforehand of what bears on a live dump.
    #[serde(default, skip_serializing_if = "LiveDumpFacts::is_unknown")]
    pub live_dump: LiveDumpFacts,
    /// What goes wrong when the kernel dumps itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_dump_fault: Option<LiveDumpFault>,
    /// Operations that fail, by [`Operation::name`], with the errno's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, String>,
}

/// The memory ranges of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranges {
    /// The processor's physical address width, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical_bits: Option<u32>,
    /// What the processor's registers say of memory types; absent where they were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers: Option<Registers>,
    /// Every descriptor, inactive slots included, in the kernel's order.
    pub descriptors: Vec<Descriptor>,
}

/// What physical memory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Contents {
    /// A pattern that can be computed from the address.
    Pattern(Pattern),
    /// A file.
    Image {
        /// Its path; a relative one starts at the machine's file.
        path: PathBuf,
        /// How addresses map to offsets in it.
        #[serde(default)]
        layout: ImageLayout,
    },
}

impl Default for Contents {
    fn default() -> Self {
        Self::Pattern(Pattern::Address)
    }
}

/// A pattern for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Each 8-byte word holds its own physical address, little-endian.
    Address,
}

/// A kernel of which more is known than its maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelSource {
    /// The one that is built in.
    Demo,
}

/// What became of the dump on a dump device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CrashDumpState {
    /// It was not saved yet.
    Present,
    /// It was saved, and cleared.
    Cleared,
}

/// How an image holds memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageLayout {
    /// The segments one after another, as `memtool dump` writes them.
    #[default]
    Packed,
    /// Each byte at the offset of its physical address.
    Padded,
}

/// The process that `paddr` looks at on a recorded machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Which domain a new page comes from.
    #[serde(default)]
    pub policy: Policy,
    /// What is mapped in it.
    #[serde(default)]
    pub mappings: Vec<ProcessRange>,
}

/// A NUMA policy, as domainset(9) has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Pages come from the domain of the processor; the recorded process runs in the lowest one.
    #[default]
    FirstTouch,
    /// Domains take turns, a superpage each.
    RoundRobin,
}

/// What goes wrong when the kernel of a machine dumps itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LiveDumpFault {
    /// Writing fails in the middle, with EIO.
    Partial,
    /// The kernel copies only the first eighth of its page bitmap, as some do.
    LostPages,
    /// The kernel writes nonsense into the dump, and the right header behind it.
    Damaged,
    /// A page is missing at the end.
    Short,
    /// There is no header behind the dump.
    NoHeader,
    /// A bit of the header is flipped.
    Parity,
    /// The header is of another version.
    Version,
    /// The header names another architecture.
    Architecture,
    /// The header names another compression.
    Compression,
    /// The header is of an encrypted dump.
    Encrypted,
}

/// A range of the process's address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessRange {
    /// First virtual address.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the range.
    #[serde(with = "hex")]
    pub end: u64,
    /// The physical address of its first byte, the rest follows; absent: no page is mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paddr: Option<vmcore::units::Hex>,
}

/// The errnos that a machine's file can name.
const ERRNOS: [Errno; 24] = [
    Errno::EPERM,
    Errno::ENOENT,
    Errno::ESRCH,
    Errno::EINTR,
    Errno::EIO,
    Errno::ENXIO,
    Errno::E2BIG,
    Errno::EBADF,
    Errno::EAGAIN,
    Errno::ENOMEM,
    Errno::EACCES,
    Errno::EFAULT,
    Errno::EBUSY,
    Errno::EEXIST,
    Errno::ENODEV,
    Errno::EINVAL,
    Errno::ENOTTY,
    Errno::EFBIG,
    Errno::ENOSPC,
    Errno::EROFS,
    Errno::EDQUOT,
    Errno::ENOSYS,
    Errno::EOPNOTSUPP,
    Errno::EOVERFLOW,
];

fn errno_by_name(name: &str) -> Option<Errno> {
    ERRNOS.into_iter().find(|errno| errno_name(*errno) == name)
}

impl Machine {
    /// Reads and checks a machine's file; `-` is standard input.
    pub fn read(path: &Path) -> Result<Self> {
        let file = files::open_in_order(path)?;
        let is_input = files::is_standard_input(path);
        let (path, _) = files::in_order(path);
        let unusable = |why: String| Error::Machine { path: path.to_owned(), why };
        let metadata = file.metadata().map_err(|source| Error::io("look at", path, source))?;
        if !metadata.is_file() && !is_input {
            return Err(unusable("it is not a regular file".to_owned()));
        }
        let text = read_at_most(file, MAX_FILE)
            .map_err(|source| Error::io("read", path, source))?
            .ok_or_else(|| unusable(format!("it is larger than {} MiB", MAX_FILE >> 20)))?;
        let machine: Self = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        machine.problem().map_or(Ok(machine), |why| Err(unusable(why)))
    }

    /// What is wrong with the machine, if anything.
    fn problem(&self) -> Option<String> {
        if self.schema != SCHEMA {
            return Some(format!("its schema is '{}', not '{SCHEMA}'", self.schema.escape_debug()));
        }
        if self.version != VERSION {
            return Some(format!("its version is {}; this memtool reads version {VERSION}", self.version));
        }
        let page_size = self.system.page_size;
        if !page_size.is_power_of_two() || !(4096..=65536).contains(&page_size) {
            return Some(format!("system.page_size: {page_size} is not a page size"));
        }
        if let Some(why) = self.memory.problem() {
            return Some(format!("memory: {why}"));
        }
        for (list, length) in [
            ("memory.segments", self.memory.segments.len()),
            ("ranges.descriptors", self.ranges.descriptors.len()),
            ("unreadable", self.unreadable.len()),
            ("process.mappings", self.process.mappings.len()),
            ("kernel_files", self.kernel_files.len()),
            ("processes", self.processes.len()),
            ("dump_devices", self.dump_devices.len()),
            ("written", self.written.len()),
        ] {
            if length > MAX_ENTRIES {
                return Some(format!("{list}: {length} entries are more than {MAX_ENTRIES}"));
            }
        }
        let possible_bits = 32..=Table::MAX_PHYSICAL_BITS;
        if let Some(bits) = self.ranges.physical_bits.filter(|bits| !possible_bits.contains(bits)) {
            return Some(format!("ranges.physical_bits: {bits} is not between 32 and {}", Table::MAX_PHYSICAL_BITS));
        }
        if let Some(index) = self.unreadable.iter().position(|range| range.start >= range.end) {
            return Some(format!("unreadable: range {index} is empty"));
        }
        if let Err(why) = Written::new(&self.written) {
            return Some(format!("written: {why}"));
        }
        let backward = |map: &KernelMapping| map.end != 0 && map.end <= map.start;
        if let Some(index) = self.kernel_maps.iter().flatten().position(backward) {
            return Some(format!("kernel_maps: mapping {index} does not end after its start"));
        }
        let odd = |range: &ProcessRange| {
            let page = u64::from(page_size);
            let whole = |address: u64| address.is_multiple_of(page);
            let paddr = range.paddr.map_or(0, |paddr| paddr.0);
            range.start >= range.end
                || !whole(range.start)
                || !whole(range.end)
                || !whole(paddr)
                || paddr.checked_add(range.end - range.start).is_none()
        };
        if let Some(index) = self.process.mappings.iter().position(odd) {
            return Some(format!("process: mapping {index} is not a multiple of the page size"));
        }
        for process in &self.processes {
            if process.pid <= 0 {
                return Some(format!("processes: {} is not a process ID", process.pid));
            }
            if let Some(why) = process.problem() {
                return Some(format!("processes: {}: {why}", process.pid));
            }
        }
        self.errors.iter().find_map(|(operation, errno)| {
            if !Operation::OF_FREEBSD.iter().any(|known| known.name() == operation) {
                return Some(format!("errors: '{}' is no operation", operation.escape_debug()));
            }
            errno_by_name(errno).is_none().then(|| format!("errors: '{}' is no errno", errno.escape_debug()))
        })
    }

    /// The errno that the file states for an operation.
    pub(super) fn stated_errno(&self, operation: Operation) -> Option<Errno> {
        errno_by_name(self.errors.get(operation.name())?)
    }
}
