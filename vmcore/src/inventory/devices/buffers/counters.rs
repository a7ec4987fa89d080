//! What the kernel counts of buffers: the `vfs` variables of sysctl(8).
//!
//! Source: `sys/kern/vfs_bio.c`.

use super::FoundBuffers;
use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::kernel::{Object, TypedMemory};
use crate::table::cell;
use serde::Serialize;

/// What the kernel counts of buffers. What is `None`, the kernel does not have, or it cannot be read, and there is a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BufferCounters {
    /// All buffers (`nbuf`).
    #[serde(rename = "buffer_count")]
    pub buffers: u64,
    /// Buffers that are to be written (`vfs.numdirtybuffers`).
    #[serde(rename = "dirty_count")]
    pub dirty: Option<i64>,
    /// How many may be so before the kernel begins to write them (`vfs.lodirtybuffers`).
    #[serde(rename = "low_dirty_count")]
    pub low_dirty: Option<i64>,
    /// How many may be so before threads that write have to wait (`vfs.hidirtybuffers`).
    #[serde(rename = "high_dirty_count")]
    pub high_dirty: Option<i64>,
    /// Bytes that are written at the moment (`vfs.runningbufspace`).
    pub running_bytes: Option<i64>,
    /// How many may be so before threads that wait go on (`vfs.lorunningspace`).
    pub low_running_bytes: Option<i64>,
    /// How many may be so before threads have to wait (`vfs.hirunningspace`).
    pub high_running_bytes: Option<i64>,
    /// Bytes of all buffers, but not those of malloc(9) (`vfs.bufspace`).
    #[serde(rename = "bytes_allocated")]
    pub bytes: Option<i64>,
    /// How many may be so before buffers are reused (`vfs.hibufspace`).
    pub high_bytes: Option<i64>,
    /// Bytes of buffers of malloc(9) (`vfs.bufmallocspace`).
    pub malloc_bytes: Option<i64>,
    /// Whether threads wait until fewer buffers are to be written (`bdirtywait`).
    pub is_dirty_waited_for: Option<bool>,
    /// Whether threads wait until fewer bytes are written (`runningbufreq`).
    pub is_running_waited_for: Option<bool>,
}

impl BufferCounters {
    pub(super) fn read(reader: &mut Reader<'_>, buffers: u64) -> Self {
        let typed = reader.typed;
        let mut number = |what: &str, read: Result<i64>| reader.keep(|| what.to_owned(), read);
        let mut of_domains = |member: &str| number(member, sum_of_domains(typed, member));
        // Before FreeBSD 12 there are no domains of buffers.
        let [dirty, low_dirty, high_dirty, bytes, high_bytes] =
            ["bd_numdirtybuffers", "bd_lodirtybuffers", "bd_hidirtybuffers", "bd_bufspace", "bd_hibufspace"]
                .map(&mut of_domains);
        let mut variable = |name: &str| number(name, signed(typed, name));
        let [running_bytes, low_running_bytes, high_running_bytes, malloc_bytes, dirty_wait, running_wait] =
            ["runningbufspace", "lorunningspace", "hirunningspace", "bufmallocspace", "bdirtywait", "runningbufreq"]
                .map(&mut variable);
        Self {
            buffers,
            dirty: dirty.or_else(|| variable("numdirtybuffers")),
            low_dirty: low_dirty.or_else(|| variable("lodirtybuffers")),
            high_dirty: high_dirty.or_else(|| variable("hidirtybuffers")),
            running_bytes,
            low_running_bytes,
            high_running_bytes,
            bytes: bytes.or_else(|| variable("bufspace")),
            high_bytes: high_bytes.or_else(|| variable("hibufspace")),
            malloc_bytes,
            is_dirty_waited_for: dirty_wait.map(|wait| wait != 0),
            is_running_waited_for: running_wait.map(|wait| wait != 0),
        }
    }

    /// Rows of a table: what the kernel counts, and what was found.
    pub(super) fn rows(&self, found: &FoundBuffers) -> Vec<Vec<String>> {
        let row =
            |name: &str, counted: Option<i64>, found: Option<u64>| vec![name.to_owned(), cell(counted), cell(found)];
        let flag = |flag: Option<bool>| flag.map(i64::from);
        let mut rows = vec![vec!["buffers".to_owned(), self.buffers.to_string(), cell(None::<u64>)]];
        rows.extend([
            row("dirty buffers", self.dirty, found.dirty),
            row("dirty bytes", None, found.dirty_bytes),
            row("lodirtybuffers", self.low_dirty, None),
            row("hidirtybuffers", self.high_dirty, None),
            row("threads wait for fewer", flag(self.is_dirty_waited_for), None),
            row("buffers in I/O", None, found.in_io),
            row("running bytes", self.running_bytes, found.running_bytes),
            row("lorunningspace", self.low_running_bytes, None),
            row("hirunningspace", self.high_running_bytes, None),
            row("threads wait for fewer running", flag(self.is_running_waited_for), None),
            row("bytes", self.bytes, found.bytes),
            row("hibufspace", self.high_bytes, None),
            row("bytes of malloc(9)", self.malloc_bytes, found.malloc_bytes),
        ]);
        rows
    }
}

fn signed(typed: TypedMemory<'_>, name: &str) -> Result<i64> {
    typed.variable(name)?.signed()
}

/// The sum of a member of each domain of buffers that is in use.
fn sum_of_domains(typed: TypedMemory<'_>, member: &str) -> Result<i64> {
    let domains: Object<'_> = typed.variable("bdomain")?;
    let count = typed.variable("buf_domains")?.unsigned()?;
    if domains.count().is_none_or(|most| count > most) {
        return Err(Error::Format(format!("buf_domains is {count}, more than there are")));
    }
    let number = |index: u64| domains.index(index)?.member(member)?.signed();
    (0..count).try_fold(0_i64, |sum, index| Ok(sum.saturating_add(number(index)?)))
}
