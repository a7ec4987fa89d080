//! A minidump of the running kernel, as it is written.

use super::{BUFFER, LiveKernel};
use crate::architecture::DirectMap;
use crate::bounds::saturating_usize;
use crate::chunks::{Chunk, ChunkReader};
use crate::error::{Error, Result};
use crate::format::unreadable::Unreadable;
use crate::format::writer::SparseWrite;
use crate::memory::Memory;
use crate::minidump::left_out::{LeftOut, PageRange, Spare, Term, Terms};
use crate::minidump::writer::{MinidumpWriter, PageSource, Powerpc64};
use crate::minidump::{Machine, PageSet};
use crate::progress::Progress;
use crate::segment::Segment;
use std::collections::BTreeMap;

/// Runs of pages that are handed to the reader at once.
const BATCH: usize = 1 << 14;

/// What a dump of the running kernel holds; its pages are yet to be read.
pub struct Snapshot<'a> {
    pub(super) kernel: &'a LiveKernel<'a>,
    pub(super) message_buffer: Vec<u8>,
    pub(super) version: u32,
    /// From the base of the kernel map to its end.
    pub(super) superpages: u64,
    /// Page directories as far as they are dumped, by number from the base of the kernel map.
    pub(super) directories: BTreeMap<u64, Vec<u64>>,
    /// Page tables that they name, by physical address; of amd64 nothing but that.
    pub(super) tables: BTreeMap<u64, Vec<u8>>,
    /// powerpc64's page table.
    pub(super) hashed: Vec<u8>,
    pub(super) pages: PageSet,
    pub(super) not_ram: u64,
    pub(super) lost_tables: u64,
    pub(super) left_out: Option<LeftOut>,
}

/// A dump that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDumpReport {
    /// Bytes before compression.
    pub size: u64,
    /// Pages in it.
    pub pages: u64,
    /// Pages that could not be read; they are zeros in the dump.
    pub unreadable: Unreadable,
    /// Pages that the kernel marks for its dumps and that are not RAM; they are not in the dump.
    pub not_ram: u64,
    /// Page tables that could not be read, or had gone before they were: what only they map is not in the dump.
    pub lost_tables: u64,
    /// What was left out at choice.
    pub left_out: Option<LeftOut>,
}

impl Snapshot<'_> {
    /// The pages in the dump.
    pub fn page_set(&self) -> &PageSet {
        &self.pages
    }

    /// Leaves pages out, by what they are used for; what is not known to be of a term that was chosen stays. Page tables stay,
    /// whatever is said of them. `uses` is called once, and tells of ranges of physical addresses.
    ///
    /// # Errors
    ///
    /// Those of `uses`.
    pub fn leave_out(
        &mut self,
        terms: Terms,
        uses: impl FnOnce(&mut dyn FnMut(PageRange)) -> Result<()>,
    ) -> Result<()> {
        let page_size = self.kernel.machine.page_size();
        let mut left_out = LeftOut { terms, ..LeftOut::default() };
        let mut removed = PageSet::new(page_size, &self.kernel.dump_avail);
        let mut content = vec![0; saturating_usize(page_size)];
        uses(&mut |PageRange { start, end, spare }| {
            let mut at = start;
            while at < end {
                let is_in = self.pages.contains(at) && !self.tables.contains_key(&at) && !removed.contains(at);
                let chosen = |term: Option<Term>| term.filter(|term| terms.contains(*term));
                let mut is_zero = || {
                    let read = self.kernel.ram().fill(at, &mut content);
                    read.is_ok() && content.iter().all(|byte| *byte == 0)
                };
                match spare {
                    _ if !is_in => {}
                    Spare::NotForDumps => {
                        left_out.undumpable = left_out.undumpable.saturating_add(1);
                        removed.insert(at);
                    }
                    Spare::Of(term) => {
                        let zero = Some(Term::Zero).filter(|zero| terms.contains(*zero));
                        if let Some(term) = chosen(term).or_else(|| zero.filter(|_| is_zero())) {
                            left_out.add(term, 1);
                            removed.insert(at);
                        }
                    }
                }
                at = at.saturating_add(page_size);
            }
        })?;
        self.pages.remove_all(&removed);
        self.left_out = Some(left_out);
        Ok(())
    }

    /// Bytes of the pages in it: what [`Progress`] comes to.
    pub fn page_bytes(&self) -> u64 {
        self.pages.count() * self.kernel.machine.page_size()
    }

    /// Bytes of the dump before compression.
    ///
    /// # Errors
    ///
    /// A part is larger than the format can say.
    pub fn size(&self) -> Result<u64> {
        Ok(self.layout()?.size())
    }

    fn layout(&self) -> Result<MinidumpWriter<'_>> {
        MinidumpWriter::new(self).map_err(|error| Error::Format(error.to_string()))
    }

    /// Reads the pages and writes the dump.
    ///
    /// # Errors
    ///
    /// Those of the output. What cannot be read is no error: it is zeros in the dump, and the report lists it.
    pub fn write(&self, out: &mut dyn SparseWrite, progress: &Progress) -> Result<UserDumpReport> {
        let layout = self.layout()?;
        let page_size = self.kernel.machine.page_size();
        let reader = ChunkReader::new(self.kernel.ram().memory(), page_size, BUFFER)?;
        layout.write_head(|bytes| out.write(bytes))?;
        let mut unreadable = Unreadable::default();
        let mut runs = self.pages.runs().map(|(start, end)| Segment { start, end, domain: None });
        loop {
            // A fragmented memory has very many runs.
            let batch: Vec<Segment> = runs.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            reader.read(&batch, |piece| match piece {
                Chunk::Data { bytes, .. } => {
                    out.write(bytes)?;
                    progress.add(bytes.len() as u64);
                    Ok(())
                }
                Chunk::Zeros { start, end } => {
                    out.zeros(end - start)?;
                    progress.add(end - start);
                    Ok(())
                }
                Chunk::Unreadable { start, end, why } => {
                    unreadable.add(start, end, why);
                    out.zeros(end - start)?;
                    progress.add(end - start);
                    Ok(())
                }
            })?;
        }
        Ok(UserDumpReport {
            size: layout.size(),
            pages: layout.page_bytes() / page_size,
            unreadable,
            not_ram: self.not_ram,
            lost_tables: self.lost_tables,
            left_out: self.left_out,
        })
    }
}

impl PageSource for Snapshot<'_> {
    fn machine(&self) -> Machine {
        self.kernel.machine
    }

    fn powerpc64(&self) -> Powerpc64<'_> {
        let image =
            self.kernel.memory.hashed_table().map(|(_, image)| (image.ran, image.ran.saturating_add(image.size)));
        Powerpc64 { table: &self.hashed, image: image.unwrap_or((0, 0)) }
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn message_buffer(&self) -> &[u8] {
        &self.message_buffer
    }

    fn dump_avail(&self) -> &[(u64, u64)] {
        &self.kernel.dump_avail
    }

    fn direct_map(&self) -> DirectMap {
        self.kernel.direct_map
    }

    fn superpages(&self) -> u64 {
        self.superpages
    }

    fn directory(&self, number: u64) -> Option<&[u64]> {
        self.directories.get(&number).map(Vec::as_slice)
    }

    fn table(&self, physical: u64) -> Option<&[u8]> {
        self.tables.get(&physical).map(Vec::as_slice)
    }

    fn left_out(&self) -> Option<LeftOut> {
        self.left_out
    }

    fn pages(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_> {
        Box::new(self.pages.runs())
    }
}
