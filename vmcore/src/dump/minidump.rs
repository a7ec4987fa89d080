//! A minidump, from front to back: what is in it, and whether it is whole.

use super::header::{Header, Section};
use super::pages::{self, Pages};
use super::stream::{Stream, StreamError};
use super::{Container, Depth, Findings};
use crate::architecture::Architecture;
use crate::bounds::{head, head_mut, saturating_usize};
use crate::fault::Why;
use crate::kerneldump;
use crate::messages::{self, MessageBuffer, Ring};
use crate::minidump::dump_avail::{DumpAvail, Range};
use crate::pmap::walk::{Entry, Table};
use crate::pmap::{Format, Level, Target, arm64};
use crate::sparse_bits::SparseBits;
use crate::units::{Hex, exact_size};
use serde::Serialize;
use std::io;
use std::ops;

/// So many bytes of `dump_avail` are a million ranges.
const MAX_DUMP_AVAIL: u64 = 16 << 20;
/// So many parts of the bitmap, of 4 KiB each, are kept to tell which pages are reached.
const MAX_REACHED: usize = 8192;
/// Bytes of pages that are read at once: few enough to stay in a processor's cache while they are looked at.
const READ_AT_ONCE: usize = 1 << 18;
/// A kernel that copies only the first eighth of its bitmap loses nearly all pages behind that no virtual
/// address but the direct map's leads to. A dump with so few of them is suspect, from this number on before it.
const MANY_UNMAPPED: u64 = 256;

/// What is in a minidump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinidumpFacts {
    /// Its first page.
    pub header: Header,
    /// The message buffer, as far as it is in the dump: a ring; see [`Self::messages`].
    pub message_buffer: Vec<u8>,
    /// Where in the message buffer the kernel would have gone on, if the dump tells.
    pub message_buffer_next: Option<usize>,
    /// Pages in the dump; none where it ends before its bitmap.
    pub pages: Pages,
    /// Where the page table entries lead; `None` where they were not looked at.
    pub tables: Option<TableFacts>,
}

/// A range of physical memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentFacts {
    /// First address.
    pub start: Hex,
    /// First address after it.
    pub end: Hex,
    /// Pages of it in the dump.
    #[serde(rename = "page_count")]
    pub pages: u64,
    /// Pages it has.
    #[serde(rename = "total_page_count")]
    pub of: u64,
}

/// Where the page table entries of a minidump lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableFacts {
    /// Pages of memory that are mapped; one that is mapped twice counts twice.
    #[serde(rename = "mapped_count")]
    pub mapped: u64,
    /// Of them, those that are not in the dump although the bitmap covers them.
    #[serde(rename = "missing_count")]
    pub missing: u64,
    /// Mapped pages that are no memory: devices.
    #[serde(rename = "outside_count")]
    pub outside: u64,
    /// Page table pages that are not in the dump.
    #[serde(rename = "missing_table_count")]
    pub missing_tables: u64,
    /// Pages of the dump that no entry leads to: the kernel reaches them through the direct map. `None` if they were not
    /// counted.
    #[serde(rename = "unmapped_count")]
    pub unmapped: Option<u64>,
}

/// Reads on from the header. What is found until the dump ends is kept.
pub fn read(
    stream: &mut Stream<'_>,
    header: Header,
    depth: Depth,
    findings: &mut Findings,
) -> io::Result<MinidumpFacts> {
    let pages = Pages::none(header.page_size);
    let mut facts =
        MinidumpFacts { header, message_buffer: Vec::new(), message_buffer_next: None, pages, tables: None };
    let mut reader = MinidumpReader { stream, findings, section: Section::Header.to_string() };
    if let Err(stop) = reader.read(&mut facts, depth) {
        let section = reader.section;
        findings.stopped(section, stop)?;
    }
    Ok(facts)
}

struct MinidumpReader<'a, 's> {
    stream: &'a mut Stream<'s>,
    findings: &'a mut Findings,
    /// What is being read.
    section: String,
}

impl MinidumpReader<'_, '_> {
    fn read(&mut self, facts: &mut MinidumpFacts, depth: Depth) -> Result<(), StreamError> {
        let header = facts.header.clone();
        self.stream.skip(header.rounded(Section::Header))?;
        if self.is_within(&header, Section::MessageBuffer, "msgbufsize", messages::MAX_SIZE.into()) {
            self.messages(&header, facts)?;
            self.check_messages(&facts.message_buffer);
        } else {
            self.section = Section::MessageBuffer.to_string();
            self.stream.skip(header.rounded(Section::MessageBuffer))?;
        }
        if !self.is_within(&header, Section::DumpAvail, "dumpavailsize", MAX_DUMP_AVAIL) {
            return Ok(());
        }
        let dump_avail = self.section(&header, Section::DumpAvail)?;
        let ranges = match header.dump_avail_size.map(|_| dump_avail_ranges(&header, &dump_avail)) {
            None => None,
            Some(Ok(ranges)) => Some(ranges),
            Some(Err(why)) => {
                self.findings.damaged(Section::DumpAvail, why);
                return Ok(());
            }
        };
        facts.header.lpa2 = header.architecture == Architecture::Arm64
            && ranges.iter().flatten().any(|(_, end)| end >> arm64::COMMON_BITS > 0);
        let header = facts.header.clone();
        let Some(pages) = self.bitmap(&header, ranges.as_deref())? else { return Ok(()) };
        self.check_bitmap(&header, &pages);
        if let Some(length) = self.stream.length() {
            self.check_length(&header, &pages, length);
        }
        let tables = if depth == Depth::Pages { Ok(None) } else { self.tables(&header, &pages, depth) };
        facts.pages = pages;
        facts.tables = tables?;
        Ok(())
    }

    /// Whether a part is one that is read, and notes if it is too large for that.
    fn is_within(&mut self, header: &Header, section: Section, field: &str, limit: u64) -> bool {
        let size = header.size_of(section);
        if size > limit {
            self.findings.limited(field, format!("{size} bytes are more than the {limit} that memtool reads"));
        }
        size <= limit
    }

    /// Reads a part of the dump, and leaves out what makes it up to whole pages.
    fn section(&mut self, header: &Header, section: Section) -> Result<Vec<u8>, StreamError> {
        self.section = section.to_string();
        let bytes = self.stream.take(header.size_of(section))?;
        self.stream.skip(header.rounded(section) - header.size_of(section))?;
        Ok(bytes)
    }

    /// Reads the message buffer, or what there is of it. Kernels write whole pages from its beginning on, and where it is their
    /// own and no copy, its `struct msgbuf` follows it there (`msgbufinit`).
    fn messages(&mut self, header: &Header, facts: &mut MinidumpFacts) -> Result<(), StreamError> {
        self.section = Section::MessageBuffer.to_string();
        let size = header.size_of(Section::MessageBuffer);
        facts.message_buffer = self.stream.take_available(size)?;
        let missing = size.saturating_sub(facts.message_buffer.len() as u64);
        if missing > 0 {
            return Err(StreamError::End { at: self.stream.position(), wanted: missing });
        }
        let mut rest = header.rounded(Section::MessageBuffer) - size;
        if rest >= Ring::LENGTH as u64 {
            let mut behind = [0; Ring::LENGTH];
            self.stream.fill(&mut behind)?;
            rest -= behind.len() as u64;
            let ring = Ring::decode(&behind, header.architecture.word_size(), header.order);
            let own = ring.ok().filter(|ring| u64::from(ring.size) == size);
            facts.message_buffer_next = own.map(|ring| ring.next());
        }
        self.stream.skip(rest)
    }

    /// Reads the page bitmap, a part at a time; `None` if its pages are too scattered.
    fn bitmap(&mut self, header: &Header, ranges: Option<&[(u64, u64)]>) -> Result<Option<Pages>, StreamError> {
        self.section = Section::Bitmap.to_string();
        let size = header.size_of(Section::Bitmap);
        let mut builder = pages::Builder::new(header.page_size, ranges, size, header.order);
        self.stream.each(size, |part| builder.push(part))?;
        self.stream.skip(header.rounded(Section::Bitmap) - size)?;
        let pages = builder.finish();
        if pages.is_none() {
            let what = format!("its {size} bytes have more runs of pages than memtool keeps in memory");
            self.findings.limited(Section::Bitmap, what);
        }
        Ok(pages)
    }

    fn check_messages(&mut self, buffer: &[u8]) {
        let odd =
            buffer.iter().filter(|byte| byte.is_ascii_control() && !b"\0\t\n\r\x1b\x08\x07".contains(byte)).count();
        if buffer.iter().all(|byte| *byte == 0) {
            self.findings.warnings.push("the message buffer is empty".to_owned());
        } else if odd > buffer.len() / 16 {
            self.findings
                .warnings
                .push(format!("the message buffer does not look like text: {odd} control characters"));
        }
    }

    fn check_bitmap(&mut self, header: &Header, pages: &Pages) {
        if header.dump_avail_size.is_some() && pages.bits() > pages.capacity() {
            let (bits, size) = (pages.bits(), header.bitmap_size);
            self.findings.damaged("bitmapsize", format!("{size} bytes are too few for the {bits} pages of dump_avail"));
        }
        let beyond = pages.count_beyond();
        if beyond > 0 {
            let place = Section::Bitmap;
            self.findings
                .remarks
                .push(format!("{place}: {beyond} bits are set beyond the end of dump_avail; they belong to no page"));
        }
    }

    /// Compares the number of pages with the length of the dump.
    fn check_length(&mut self, header: &Header, pages: &Pages, length: u64) {
        let page = u64::from(header.page_size);
        let expected = header.offset_of_pages().saturating_add(pages.count().saturating_mul(page));
        if length < expected {
            let have = length.saturating_sub(header.offset_of_pages()) / page;
            let first = pages.iter().nth(saturating_usize(have));
            let at = first.map_or_else(String::new, |(_, physical)| format!(", from physical address {physical:#x}"));
            let cause = match self.findings.place {
                Some(Container::LiveDump) => other_bitmap(header),
                Some(Container::File) if length.is_multiple_of(SAVED_BLOCK) => LEFT_OUT.to_owned(),
                _ => String::new(),
            };
            let what = format!(
                "the dump ends after {length} bytes; by its bitmap it has {expected}: {} of {} pages are missing{at}{cause}",
                pages.count().saturating_sub(have),
                pages.count()
            );
            self.findings.damaged("pages", what);
        } else if length > expected {
            let more = exact_size((length - expected).into());
            let what = format!("{more} follow the last of {} pages{}", pages.count(), other_bitmap(header));
            self.findings.damaged("pages", what);
        }
    }

    /// Follows the page table entries, and reads all pages if that is wanted.
    fn tables(&mut self, header: &Header, pages: &Pages, depth: Depth) -> Result<Option<TableFacts>, StreamError> {
        self.section = Section::PageTables.to_string();
        let mut walk = Walk::new(header, pages);
        let known = header.table_format();
        if depth == Depth::Quick && known.is_none() {
            return Ok(None);
        }
        let level = header.table_level();
        let mut index = 0;
        self.stream.each(header.size_of(Section::PageTables), |part| {
            if let Some((format, level)) = known.zip(level) {
                index = walk.entries(part, index, format, level);
            }
        })?;
        let are_pages = known.map(Format::last_level) == level;
        if depth == Depth::Quick {
            return Ok(are_pages.then(|| self.conclude(walk)));
        }
        self.stream.skip(header.rounded(Section::PageTables) - header.size_of(Section::PageTables))?;
        self.pages(header, pages, &mut walk, known)?;
        if self.stream.length().is_none() {
            self.section = "pages".to_owned();
            let end = self.stream.position();
            let mut behind = [0; kerneldump::HEADER_LENGTH];
            let read = self.stream.read(&mut behind)?;
            let rest = self.stream.rest()?;
            if read == behind.len() && rest == 0 && kerneldump::Header::parse(&behind).is_ok() {
                self.findings.warnings.push("a live dump's header is compressed with the dump, at its end".to_owned());
                self.check_length(header, pages, end);
            } else {
                self.check_length(header, pages, self.stream.position());
            }
        }
        Ok(known.map(|_| self.conclude(walk)))
    }

    /// Reads all pages, many at once, and follows the entries of those that are page tables.
    fn pages(
        &mut self,
        header: &Header,
        pages: &Pages,
        walk: &mut Walk<'_>,
        known: Option<Format>,
    ) -> Result<(), StreamError> {
        let page = saturating_usize(header.page_size).max(1);
        let mut buffer = vec![0; READ_AT_ONCE.next_multiple_of(page)];
        let mut remaining = pages.iter().peekable();
        let mut number = 0;
        while let Some((_, physical)) = remaining.peek() {
            self.section = format!("page {number}, physical address {physical:#x}");
            let wanted = head_mut(&mut buffer, pages.count().saturating_sub(number).saturating_mul(page as u64));
            let read = self.stream.read(wanted)?;
            // The kernel's entries count from its base; here only where they lead matters.
            for (bytes, (bit, _)) in head(wanted, read).chunks_exact(page).zip(remaining.by_ref()) {
                if let Some(format) = known.filter(|_| walk.table_pages.contains(bit)) {
                    walk.entries(bytes, 0, format, format.last_level());
                }
            }
            if read < wanted.len() {
                break;
            }
            number += (read / page) as u64;
        }
        Ok(())
    }

    fn conclude(&mut self, walk: Walk<'_>) -> TableFacts {
        let Walk { mut facts, reached, pages, is_too_large, .. } = walk;
        if is_too_large {
            let what = "the pages they map are too scattered for memtool to keep in memory: pages reachable through the direct map only were not counted, and not all page tables in the dump were followed";
            self.findings.limited(Section::PageTables, what);
            return facts;
        }
        let eighth = pages.bits().min(pages.capacity()) / 8;
        // Nothing is reached that is not in the dump.
        let first = pages.rank(eighth) - reached.count_before(eighth);
        let rest = pages.count() - reached.count_before(pages.bits()) - first;
        facts.unmapped = Some(first + rest);
        if first >= MANY_UNMAPPED && rest < first / 64 {
            self.findings.warnings.push(format!(
                "the page bitmap looks cut off: of the pages reachable through the direct map only, {first} are in its first eighth, {rest} in all the rest; some kernels lose such pages in live dumps"
            ));
        }
        facts
    }
}

/// What is known to cause another number of pages than the bitmap has: live dumps are made by a copy of the kernel's
/// bitmap, to which the mapped pages are added, but these architectures write the kernel's own (`cpu_minidumpsys()` of
/// FreeBSD 15.1).
fn other_bitmap(header: &Header) -> String {
    match header.architecture {
        Architecture::Riscv | Architecture::I386 | Architecture::Powerpc64 => {
            let is_riscv = header.architecture == Architecture::Riscv;
            format!(
                "; {} kernels write a bitmap into their live dumps that differs from the one by which they dump pages, so no page after the first difference can be found: the dump is unusable{}",
                header.architecture.name(),
                if is_riscv { "; livedump --method user makes a usable one" } else { "" }
            )
        }
        Architecture::Amd64 | Architecture::Arm64 | Architecture::Arm => String::new(),
    }
}

/// A file that ends early may be one of savecore(8), which leaves out blocks of zeros at the end.
const SAVED_BLOCK: u64 = 4096;
const LEFT_OUT: &str = "; savecore(8) omits zeros at the end of a dump: if it saved this one, keep it as vmcore.N beside its info.N, which has the length";

/// The ranges. Where the format leaves two sizes of an address open, it is the one whose list has an end, is in order
/// and has pages that the bitmap has bits for.
fn dump_avail_ranges(header: &Header, bytes: &[u8]) -> Result<Vec<(u64, u64)>, String> {
    let bits = header.size_of(Section::Bitmap).saturating_mul(8);
    let fits = |ranges: &Vec<(u64, u64)>| DumpAvail::new(header.page_size.into(), ranges).bits() <= bits;
    let lists = || header.address_sizes().iter().map(|size| ranges_of(header, bytes, *size));
    if let Some(ranges) = lists().flatten().find(fits).or_else(|| lists().flatten().next()) {
        return Ok(ranges);
    }
    lists().next_back().unwrap_or_else(|| Err("it has no addresses".to_owned()))
}

/// The ranges in addresses of so many bytes, up to the pair that ends at 0.
fn ranges_of(header: &Header, bytes: &[u8], size: usize) -> Result<Vec<(u64, u64)>, String> {
    let mut addresses = bytes.chunks_exact(size).map(|bytes| header.order.number(bytes));
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut before = 0;
    while let (Some(start), Some(end)) = (addresses.next(), addresses.next()) {
        if end == 0 {
            return if ranges.is_empty() { Err("it has no range".to_owned()) } else { Ok(ranges) };
        }
        if start >= end || start < before {
            return Err(format!("the range {start:#x} to {end:#x} is empty or not in order"));
        }
        // The last page of all has no address after it.
        before = end.checked_next_multiple_of(header.page_size.into()).unwrap_or(end);
        ranges.push((start, end));
    }
    Err("it has no end".to_owned())
}

/// What the page table entries lead to.
struct Walk<'a> {
    header: &'a Header,
    pages: &'a Pages,
    facts: TableFacts,
    /// Pages of the dump that are mapped, or page tables.
    reached: SparseBits,
    /// Of them the page tables.
    table_pages: SparseBits,
    /// Whether they are more than are kept.
    is_too_large: bool,
}

impl<'a> Walk<'a> {
    fn new(header: &'a Header, pages: &'a Pages) -> Self {
        let (reached, table_pages) = (SparseBits::default(), SparseBits::default());
        Self { header, pages, facts: TableFacts::default(), reached, table_pages, is_too_large: false }
    }

    /// Takes a run of bits whose pages are in the dump.
    fn reach(&mut self, run: ops::Range<u64>, are_tables: bool) {
        if self.is_too_large {
            return;
        }
        if are_tables {
            self.table_pages.insert_run(run.clone());
        }
        self.reached.insert_run(run);
        if self.reached.mixed() + self.table_pages.mixed() > MAX_REACHED {
            self.is_too_large = true;
            (self.reached, self.table_pages) = (SparseBits::default(), SparseBits::default());
        }
    }

    /// Takes entries of a level, the first of which has this index; tells the next one's. They come in the order of the
    /// dump, which is read once: what they lead to is met later, or never.
    fn entries(&mut self, bytes: &[u8], first: u64, format: Format, level: Level) -> u64 {
        let order = self.header.order;
        // Where an entry leads does not depend on the kernel's base, from which they count.
        let table = Table { level, physical: None, base: 0, entries: u64::MAX };
        let mut index = first;
        let mut take = |entry: u64| {
            if entry != 0 {
                self.entry(&table.decode(format, index, entry));
            }
            index += 1;
        };
        if format.entry_size() == 8 {
            bytes.as_chunks().0.iter().for_each(|bytes| take(order.u64(*bytes)));
        } else {
            bytes.as_chunks().0.iter().for_each(|bytes| take(order.u32(*bytes).into()));
        }
        index
    }

    /// Takes what an entry leads to.
    fn entry(&mut self, entry: &Entry<'_>) {
        match (entry.target, entry.memory()) {
            (Target::Table(physical), _) => match self.pages.bit_of(physical) {
                Some(bit) if self.pages.is_set(bit) => self.reach(bit..bit + 1, true),
                _ => self.facts.missing_tables += 1,
            },
            (_, Some((physical, size))) if size == u64::from(self.header.page_size) => self.page(physical),
            (_, Some((physical, size))) => self.superpage(physical, size),
            (_, None) => {}
        }
    }

    /// As [`Self::page`] for each of its pages, which made a small dump that is compressed take minutes.
    fn superpage(&mut self, physical: u64, size: u64) {
        let mut outside = size / u64::from(self.header.page_size);
        for bits in self.pages.bits_within(physical, physical + size) {
            let covered = bits.end - bits.start;
            outside -= covered;
            self.facts.mapped += covered;
            self.facts.missing += covered - (self.pages.rank(bits.end) - self.pages.rank(bits.start));
            for run in self.pages.runs(bits) {
                self.reach(run, false);
            }
        }
        self.facts.outside += outside;
    }

    fn page(&mut self, physical: u64) {
        match self.pages.bit_of(physical) {
            None => self.facts.outside += 1,
            Some(bit) => {
                self.facts.mapped += 1;
                if self.pages.is_set(bit) {
                    self.reach(bit..bit + 1, false);
                } else {
                    self.facts.missing += 1;
                }
            }
        }
    }
}

impl MinidumpFacts {
    /// Why the page at a physical address is not in the dump.
    pub fn why_absent(&self, physical: u64) -> Why {
        let left_out = self.header.left_out.filter(|left_out| left_out.total() > 0);
        left_out.map_or(Why::NoPage(physical), |left_out| Why::LeftOut(physical, left_out.terms))
    }

    /// What the bitmap covers: the ranges of `dump_avail`; none where the dump has no such array.
    pub fn segments(&self) -> Vec<SegmentFacts> {
        let segment = |range: &Range| SegmentFacts {
            start: Hex(range.start),
            end: Hex(range.end),
            pages: self.pages.count_in(range),
            of: range.bits().end - range.bits().start,
        };
        let listed = self.pages.ranges().iter().filter(|_| self.header.dump_avail_size.is_some());
        listed.map(segment).collect()
    }

    /// Where the byte of a physical address is in the dump; `None` if its page is not in it.
    pub fn offset_of(&self, physical: u64) -> Option<u64> {
        let page = u64::from(self.header.page_size);
        let before = self.pages.number_of(physical)?.checked_mul(page)?;
        self.header.offset_of_pages().checked_add(before)?.checked_add(physical % page)
    }

    /// The kernel's messages. Where the oldest of a full ring begins, the dump itself tells if the kernel wrote its own
    /// message buffer into it, and not the copy that it makes for a live dump: [`MessageBuffer::is_ordered`].
    pub fn messages(&self) -> MessageBuffer {
        let buffer = MessageBuffer::from_ring(self.message_buffer.clone(), self.message_buffer_next);
        let size = self.header.size_of(Section::MessageBuffer);
        buffer.cut_off(size.saturating_sub(self.message_buffer.len() as u64))
    }
}
