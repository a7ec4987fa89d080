//! The buffers of file systems: those that are written or read at the moment, those that are to be written, and what the
//! kernel counts of them.
//!
//! Sources: `struct buf` with its flags in `sys/sys/buf.h`, `struct bufdomain` and the variables of `vfs` in
//! `sys/kern/vfs_bio.c`.

mod counters;
mod files;
mod scan;

pub use counters::BufferCounters;
pub use files::BufferFile;

use crate::error::Result;
use crate::inventory::buffer_headers::BufferHeaders;
use crate::inventory::devices::operation::operation;
use crate::inventory::fields::{Fields, flag_names};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::table::{Table, cell, left, name_cell, right};
use crate::units::Hex;
use files::Files;
use scan::Scanner;
use serde::Serialize;
use std::collections::BTreeMap;

/// Buffers that are listed; those beyond are counted.
const MAX_LISTED: usize = 1 << 17;
/// The kernel's names of the flags of a buffer, without the `B_`.
const FLAGS: [(u64, &str); 30] = [
    (0x0000_0001, "age"),
    (0x0000_0002, "needcommit"),
    (0x0000_0004, "async"),
    (0x0000_0008, "direct"),
    (0x0000_0010, "deferred"),
    (0x0000_0020, "cache"),
    (0x0000_0040, "validsuspwrt"),
    (0x0000_0080, "delwri"),
    (0x0000_0100, "ckhash"),
    (0x0000_0200, "done"),
    (0x0000_0400, "eintr"),
    (0x0000_0800, "noreuse"),
    (0x0000_1000, "reuse"),
    (0x0000_2000, "inval"),
    (0x0000_4000, "barrier"),
    (0x0000_8000, "nocache"),
    (0x0001_0000, "malloc"),
    (0x0002_0000, "clusterok"),
    (0x0004_0000, "invalonerr"),
    (0x0008_0000, "iostarted"),
    (0x0020_0000, "maxphys"),
    (0x0040_0000, "relbuf"),
    (0x0100_0000, "nocopy"),
    (0x0200_0000, "infreecnt"),
    (0x0400_0000, "paging"),
    (0x0800_0000, "managed"),
    (0x1000_0000, "ram"),
    (0x2000_0000, "vmio"),
    (0x4000_0000, "cluster"),
    (0x8000_0000, "remfree"),
];

/// The buffers of file systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Buffers {
    /// What the kernel counts.
    pub counters: BufferCounters,
    /// What was counted here, of all buffers.
    #[serde(rename = "found_buffers")]
    pub found: FoundBuffers,
    /// Those that are in I/O or are to be written.
    #[serde(rename = "listed_buffers")]
    pub buffers: Vec<Buffer>,
    /// The files that these are of.
    pub files: Vec<BufferFile>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// What was counted of all buffers. `None` if not all of them can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FoundBuffers {
    /// Buffers that are to be written (`B_DELWRI`).
    #[serde(rename = "dirty_count")]
    pub dirty: Option<u64>,
    /// Their bytes.
    pub dirty_bytes: Option<u64>,
    /// Buffers that are read or written at the moment.
    #[serde(rename = "in_io_count")]
    pub in_io: Option<u64>,
    /// Bytes that are written at the moment (`b_runningbufspace`).
    pub running_bytes: Option<u64>,
    /// Bytes of all buffers (`b_bufsize`), but not those of malloc(9).
    #[serde(rename = "bytes_allocated")]
    pub bytes: Option<u64>,
    /// Bytes of buffers of malloc(9) (`B_MALLOC`).
    pub malloc_bytes: Option<u64>,
}

/// A buffer that is in I/O or is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Buffer {
    /// Where its `struct buf` is.
    pub address: Hex,
    /// Whether it is read or written at the moment.
    pub is_in_io: bool,
    /// Whether it is to be written.
    pub is_dirty: bool,
    /// What is done with it, or was done last: `read`, `write`; another number as such.
    pub operation: Option<String>,
    /// Its flags.
    pub flags: Vec<String>,
    /// The file that it is of, by the address of its vnode; `None` where it is of none.
    pub vnode: Option<Hex>,
    /// The block of the file, of as many bytes as its file system says; negative of what a file system has besides.
    pub logical_block: Option<i64>,
    /// The block of the device, of 512 bytes; -1 or the logical one where it is not known yet.
    pub block: Option<i64>,
    /// Bytes that it has room for.
    pub size: Option<i64>,
    /// Bytes that are in it.
    pub bytes_used: Option<i64>,
    /// Bytes that are not read or written yet.
    pub bytes_remaining: Option<i64>,
    /// Bytes of it that are counted as being written.
    pub running_bytes: Option<i64>,
}

impl Buffers {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's variables or types do not tell of buffers, or they cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let headers = BufferHeaders::new(typed)?;
        let mut reader = Reader::new(typed);
        let counters = BufferCounters::read(&mut reader, headers.count);
        let mut scanner = Scanner::new(typed, &headers)?;
        let found = scanner.scan(&mut reader, &headers, MAX_LISTED);
        let mut files = Files::new(&mut reader);
        let mut buffers = Vec::new();
        for listed in &scanner.listed {
            let buffer = read_buffer(&mut Fields::new(&mut reader, "buffer", &headers.object(listed.address)?), listed);
            if let Some(vnode) = buffer.vnode {
                files.add(&mut reader, vnode.0);
            }
            buffers.push(buffer);
        }
        Ok(Self { counters, found, buffers, files: files.into_list(), warnings: reader.into_warnings() })
    }

    fn file(&self, vnode: Option<Hex>) -> Option<&BufferFile> {
        let found = self.files.binary_search_by_key(&vnode?.0, |file| file.address.0).ok()?;
        self.files.get(found)
    }
}

fn read_buffer(fields: &mut Fields<'_, '_>, listed: &scan::Listed) -> Buffer {
    Buffer {
        address: Hex(listed.address),
        is_in_io: listed.is_in_io,
        is_dirty: listed.is_dirty,
        operation: fields.number("b_iocmd").map(operation),
        flags: flag_names(listed.flags, &FLAGS),
        vnode: fields.pointer("b_vp"),
        logical_block: fields.signed("b_lblkno"),
        block: fields.signed("b_blkno"),
        size: fields.signed("b_bufsize"),
        bytes_used: fields.signed("b_bcount"),
        bytes_remaining: fields.signed("b_resid"),
        running_bytes: fields.signed("b_runningbufspace"),
    }
}

impl Topic for Buffers {
    fn tables(&self) -> Vec<Table> {
        let counters = self.counters.rows(&self.found);
        let in_io = self.buffers.iter().filter(|buffer| buffer.is_in_io).map(|buffer| self.row(buffer)).collect();
        let columns = [
            left("Buffer"),
            left("Operation"),
            right("Block"),
            right("Bytes"),
            right("Left"),
            left("On"),
            left("File"),
        ];
        let of_files = [left("On"), left("File"), right("Buffers"), right("Bytes")];
        vec![
            Table::new([left("Counter"), right("Kernel"), right("Found")], counters).captioned("Counters"),
            Table::new(columns, in_io).captioned("Buffers in I/O"),
            Table::new(of_files, self.dirty_rows()).captioned("Buffers that are to be written, by file"),
        ]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Buffers {
    /// Where the file is mounted that a buffer is of, and what it is called.
    fn file_cells(&self, vnode: Option<Hex>) -> [String; 2] {
        let file = self.file(vnode);
        let name = file.and_then(BufferFile::shown).map(|name| name_cell(Some(name)));
        [name_cell(file.and_then(|file| file.mounted_on.as_ref())), name.unwrap_or_else(|| cell(vnode))]
    }

    fn row(&self, buffer: &Buffer) -> Vec<String> {
        let [mounted_on, file] = self.file_cells(buffer.vnode);
        vec![
            buffer.address.to_string(),
            cell(buffer.operation.as_ref()),
            cell(buffer.block),
            cell(buffer.bytes_used),
            cell(buffer.bytes_remaining),
            mounted_on,
            file,
        ]
    }

    /// Files with the number of their buffers that are to be written, and the bytes of these; those of most bytes first.
    fn dirty_rows(&self) -> Vec<Vec<String>> {
        let mut files: BTreeMap<Option<u64>, (u64, Option<i128>)> = BTreeMap::new();
        for buffer in self.buffers.iter().filter(|buffer| buffer.is_dirty) {
            let (count, bytes) = files.entry(buffer.vnode.map(|vnode| vnode.0)).or_insert((0, Some(0)));
            *count = count.saturating_add(1);
            *bytes = bytes.zip(buffer.size).map(|(sum, size)| sum.saturating_add(size.into()));
        }
        let mut rows: Vec<_> = files.into_iter().collect();
        rows.sort_by_key(|(_, (_, bytes))| std::cmp::Reverse(*bytes));
        let row = |(vnode, (count, bytes)): (Option<u64>, (u64, Option<i128>))| {
            let [mounted_on, file] = self.file_cells(vnode.map(Hex));
            vec![mounted_on, file, count.to_string(), cell(bytes)]
        };
        rows.into_iter().map(row).collect()
    }
}
