//! Writes minidumps: version 3 of amd64, and those of arm64, riscv and powerpc64 (`minidump_machdep.c`, `machine/minidump.h` of
//! each).

use super::dump_avail::DumpAvail;
use super::left_out::{self, LeftOut};
use super::{Architecture, Machine};
use crate::architecture::{DirectMap, Endianness};
use crate::bounds::{item_mut, part, saturating_usize};
use crate::pmap::{Target, arm64, powerpc64};
use ioctl_defs::minidump;
use std::io;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian;
use zerocopy::byteorder::little_endian::{U32, U64};

/// What a minidump is made from. Ranges are pairs of start and exclusive end, ascending, disjoint, in whole
/// pages.
pub trait PageSource {
    /// The machine.
    fn machine(&self) -> Machine;
    /// `version` of the header.
    fn version(&self) -> u32;
    /// The kernel's message buffer, a ring, from its start.
    fn message_buffer(&self) -> &[u8];
    /// Physical memory that the bitmap covers.
    fn dump_avail(&self) -> &[(u64, u64)];
    /// Where the kernel sees all physical memory.
    fn direct_map(&self) -> DirectMap;
    /// What powerpc64's dumps have of their own.
    fn powerpc64(&self) -> Powerpc64<'_> {
        Powerpc64::default()
    }
    /// Superpages from [`Architecture::kernel_base`] to the end of the kernel map: entries of page directories, where
    /// there are any.
    fn superpages(&self) -> u64;
    /// A page directory, by number from [`Architecture::kernel_base`]; `None` for one of zeros.
    fn directory(&self, number: u64) -> Option<&[u64]>;
    /// A page table that a page directory names, by its physical address; `None` for one of zeros. amd64's dumps have
    /// them among the pages.
    fn table(&self, physical: u64) -> Option<&[u8]>;
    /// Physical pages to dump, all within [`Self::dump_avail`].
    fn pages(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_>;
    /// What was left out at choice, if anything was.
    fn left_out(&self) -> Option<LeftOut> {
        None
    }
    /// The pages that the bitmap says are dumped: [`Self::pages`], but some kernels write another one.
    fn bitmap(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_> {
        self.pages()
    }
}

/// What is powerpc64's own in a minidump.
#[derive(Debug, Clone, Copy, Default)]
pub struct Powerpc64<'a> {
    /// The hashed page table.
    pub table: &'a [u8],
    /// First address of the kernel's image as it runs, and first one after it.
    pub image: (u64, u64),
}

/// Entries of a page directory of this machine.
pub const fn directory_entries(architecture: Architecture) -> u64 {
    architecture.page_size() / 8
}

/// Sizes of a dump's parts, in bytes; each is rounded up to a page in the file.
struct Sizes {
    message_buffer: u32,
    dump_avail: u32,
    bitmap: u32,
    tables: u32,
    pages: u64,
}

impl Sizes {
    fn new(source: &dyn PageSource, covered: &DumpAvail) -> io::Result<Self> {
        let too_large = |what: &str| io::Error::other(format!("the {what} of the dump is too large for its format"));
        let page = source.machine().page_size();
        let bitmap = covered.bits().div_ceil(64) * 8;
        let pairs = source.dump_avail().len() as u64 + 1;
        let dump_avail = if has_dump_avail(source) { pairs * 16 } else { 0 };
        let tables = match source.machine() {
            Machine::Tree(Architecture::Amd64) => source.superpages().checked_mul(8),
            Machine::Tree(_) => source.superpages().checked_mul(page),
            Machine::Powerpc64(_) => Some(source.powerpc64().table.len() as u64),
        };
        Ok(Self {
            message_buffer: u32::try_from(source.message_buffer().len()).map_err(|_| too_large("message buffer"))?,
            dump_avail: u32::try_from(dump_avail.next_multiple_of(page)).map_err(|_| too_large("dump_avail"))?,
            bitmap: u32::try_from(bitmap.next_multiple_of(page)).map_err(|_| too_large("page bitmap"))?,
            tables: tables
                .and_then(|size| size.checked_next_multiple_of(page))
                .and_then(|size| u32::try_from(size).ok())
                .ok_or_else(|| too_large("kernel map"))?,
            pages: source.pages().map(|(start, end)| end - start).sum(),
        })
    }

    fn total(&self, page: u64) -> u64 {
        let rounded = |size: u32| u64::from(size).next_multiple_of(page);
        page + rounded(self.message_buffer)
            + rounded(self.dump_avail)
            + rounded(self.bitmap)
            + rounded(self.tables)
            + self.pages
    }
}

/// Version 1 of arm64's and riscv's has none, and its bits count physical pages from 0.
fn has_dump_avail(source: &dyn PageSource) -> bool {
    source.version() > 1
}

/// A dump that is ready to be written.
///
/// What it takes from a [`PageSource`] becomes the part of a minidump before its pages, which follow in ascending order:
///
/// ```no_run
/// use std::io::{self, Write};
/// use vmcore::minidump::writer::{MinidumpWriter, PageSource};
///
/// fn write(source: &dyn PageSource, page: impl Fn(u64) -> Vec<u8>, out: &mut dyn Write) -> io::Result<()> {
///     MinidumpWriter::new(source)?.write_head(|bytes| out.write_all(bytes))?;
///     let pages = source.pages().flat_map(|(start, end)| (start..end).step_by(4096));
///     pages.into_iter().try_for_each(|physical| out.write_all(&page(physical)))
/// }
/// ```
pub struct MinidumpWriter<'a> {
    source: &'a dyn PageSource,
    covered: DumpAvail,
    sizes: Sizes,
}

impl<'a> MinidumpWriter<'a> {
    /// Lays a dump out.
    ///
    /// # Errors
    ///
    /// A part is larger than its header field can say.
    pub fn new(source: &'a dyn PageSource) -> io::Result<Self> {
        let page = source.machine().page_size();
        let covered = match source.dump_avail() {
            ranges if has_dump_avail(source) => DumpAvail::new(page, ranges),
            ranges => DumpAvail::new(page, &[(0, ranges.last().map_or(0, |range| range.1))]),
        };
        let sizes = Sizes::new(source, &covered)?;
        Ok(Self { source, covered, sizes })
    }

    /// Bytes that the dump takes uncompressed.
    pub fn size(&self) -> u64 {
        self.sizes.total(self.source.machine().page_size())
    }

    /// Bytes of the pages in it.
    pub fn page_bytes(&self) -> u64 {
        self.sizes.pages
    }

    /// Writes everything that stands before the pages. What follows is each page of [`PageSource::pages`].
    ///
    /// # Errors
    ///
    /// Those of the function that takes the bytes.
    pub fn write_head<E>(&self, out: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let source = self.source;
        let page = saturating_usize(source.machine().page_size());
        let mut out = Out { out, zeros: vec![0; page] };
        let mut first = header(source, &self.sizes);
        if let Some(left_out) = source.left_out() {
            first.resize(left_out::OFFSET, 0);
            first.extend(left_out.encode());
        }
        out.padded(&first)?;
        out.padded(source.message_buffer())?;
        if has_dump_avail(source) {
            let pairs = source.dump_avail().iter().flat_map(|(start, end)| [*start, *end]).chain([0, 0]);
            out.padded(&bytes_of(source.machine().order(), pairs))?;
        }
        self.write_bitmap(&mut out)?;
        write_tables(source, &mut out)
    }

    /// Writes the bitmap a page at a time, so that its size does not matter.
    fn write_bitmap<E, F: FnMut(&[u8]) -> Result<(), E>>(&self, out: &mut Out<F>) -> Result<(), E> {
        let covered = &self.covered;
        let runs = self.source.bitmap().flat_map(|(start, end)| covered.bits_within(start, end));
        let mut runs = runs.peekable();
        let words = out.zeros.len() / 8;
        let mut first = 0;
        while first < covered.bits() {
            let last = first + words as u64 * 64;
            let mut page = vec![0_u64; words];
            while let Some(run) = runs.peek().filter(|run| run.start < last) {
                for bit in run.start.max(first)..run.end.min(last) {
                    if let Ok(word) = item_mut(&mut page, (bit - first) / 64) {
                        *word |= 1 << (bit % 64);
                    }
                }
                if run.end > last {
                    break;
                }
                runs.next();
            }
            (out.out)(&bytes_of(self.source.machine().order(), page))?;
            first = last;
        }
        Ok(())
    }
}

/// Takes the bytes, in whole pages in the end.
struct Out<F> {
    out: F,
    /// A page of zeros.
    zeros: Vec<u8>,
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Out<F> {
    fn padded(&mut self, bytes: &[u8]) -> Result<(), E> {
        (self.out)(bytes)?;
        let padding = bytes.len().next_multiple_of(self.zeros.len()) - bytes.len();
        (self.out)(part(&self.zeros, ..padding))
    }

    fn zeros(&mut self) -> Result<(), E> {
        (self.out)(&self.zeros)
    }
}

fn bytes_of(order: Endianness, words: impl IntoIterator<Item = u64>) -> Vec<u8> {
    words.into_iter().flat_map(|word| order.bytes_of_u64(word)).collect()
}

fn header(source: &dyn PageSource, sizes: &Sizes) -> Vec<u8> {
    let DirectMap { base, end, physical } = source.direct_map();
    let architecture = match source.machine() {
        Machine::Tree(architecture) => architecture,
        Machine::Powerpc64(order) => return powerpc64_header(source, sizes, order),
    };
    let kernel_base = U64::new(architecture.kernel_base());
    match architecture {
        Architecture::Amd64 => minidump::amd64::minidumphdr {
            magic: field(minidump::amd64::MINIDUMP_MAGIC),
            version: U32::new(source.version()),
            msgbufsize: U32::new(sizes.message_buffer),
            bitmapsize: U32::new(sizes.bitmap),
            pmapsize: U32::new(sizes.tables),
            kernbase: kernel_base,
            dmapbase: U64::new(base),
            dmapend: U64::new(end),
            dumpavailsize: U32::new(sizes.dump_avail),
        }
        .as_bytes()
        .to_vec(),
        Architecture::Riscv => minidump::riscv::minidumphdr {
            magic: field(minidump::riscv::MINIDUMP_MAGIC),
            version: U32::new(source.version()),
            msgbufsize: U32::new(sizes.message_buffer),
            bitmapsize: U32::new(sizes.bitmap),
            pmapsize: U32::new(sizes.tables),
            kernbase: kernel_base,
            dmapphys: U64::new(physical),
            dmapbase: U64::new(base),
            dmapend: U64::new(end),
            dumpavailsize: U32::new(sizes.dump_avail),
        }
        .as_bytes()
        .to_vec(),
        architecture @ (Architecture::Arm64 | Architecture::Arm64Large) => minidump::arm64::minidumphdr {
            magic: field(minidump::arm64::MINIDUMP_MAGIC),
            version: U32::new(source.version()),
            msgbufsize: U32::new(sizes.message_buffer),
            bitmapsize: U32::new(sizes.bitmap),
            pmapsize: U32::new(sizes.tables),
            kernbase: kernel_base,
            dmapphys: U64::new(physical),
            dmapbase: U64::new(base),
            dmapend: U64::new(end),
            dumpavailsize: U32::new(sizes.dump_avail),
            // Fields that a version has not are zeros in it.
            flags: U32::new((architecture == Architecture::Arm64Large).into()),
        }
        .as_bytes()
        .to_vec(),
    }
}

/// A text in a field that it need not fill.
fn field<const N: usize>(text: &[u8]) -> [u8; N] {
    std::array::from_fn(|at| text.get(at).copied().unwrap_or(0))
}

/// The header of powerpc64, whose direct map has its last address in place of its end.
fn powerpc64_header(source: &dyn PageSource, sizes: &Sizes, order: Endianness) -> Vec<u8> {
    let DirectMap { base, end, .. } = source.direct_map();
    let (start, last) = source.powerpc64().image;
    let u32 = |value| big_endian::U32::from_bytes(order.bytes_of_u32(value));
    let u64 = |value| big_endian::U64::from_bytes(order.bytes_of_u64(value));
    minidump::powerpc64::minidumphdr {
        magic: field(minidump::powerpc64::MINIDUMP_MAGIC),
        mmu_name: field(powerpc64::NATIVE_MMU),
        version: u32(source.version()),
        msgbufsize: u32(sizes.message_buffer),
        bitmapsize: u32(sizes.bitmap),
        pmapsize: u32(sizes.tables),
        kernbase: u64(powerpc64::KERNEL_MAP),
        kernend: u64(powerpc64::KERNEL_MAP_LAST),
        dmapbase: u64(base),
        dmapend: u64(end.saturating_sub(1)),
        hw_direct_map: big_endian::I32::from_bytes(order.bytes_of_u32(1)),
        padding: [0; 4],
        startkernel: u64(start),
        endkernel: u64(last),
        dumpavailsize: u32(sizes.dump_avail),
    }
    .as_bytes()
    .to_vec()
}

/// powerpc64: the table as it is. amd64: the page directories. arm64 and riscv: a page of last entries for each superpage.
fn write_tables<E, F: FnMut(&[u8]) -> Result<(), E>>(source: &dyn PageSource, out: &mut Out<F>) -> Result<(), E> {
    let Machine::Tree(architecture) = source.machine() else { return out.padded(source.powerpc64().table) };
    let [.., level, last] = architecture.levels();
    let entries = directory_entries(architecture);
    for number in 0..source.superpages().div_ceil(entries) {
        let directory = source.directory(number).unwrap_or_default();
        if architecture == Architecture::Amd64 {
            match directory {
                [] => out.zeros()?,
                _ => out.padded(&bytes_of(Endianness::Little, directory.iter().copied()))?,
            }
            continue;
        }
        for superpage in 0..entries.min(source.superpages() - number * entries) {
            let entry = directory.get(saturating_usize(superpage)).copied().unwrap_or(0);
            match architecture.format().decode(level, entry) {
                Target::Nothing => out.zeros()?,
                Target::Table(at) => match source.table(at) {
                    Some(bytes) => out.padded(bytes)?,
                    None => out.zeros()?,
                },
                // A superpage becomes pages; arm64's kernel forgets here what may be done with it.
                Target::Page { physical, size, protection } => {
                    let format = architecture.format();
                    let entry = match architecture {
                        Architecture::Riscv => entry,
                        _ => physical | arm64::L3_PAGE | arm64::attributes(protection),
                    };
                    let pages = 0..size >> last.shift;
                    let pages = pages.map(|page| format.advance(entry, page << last.shift));
                    out.padded(&bytes_of(Endianness::Little, pages))?;
                }
            }
        }
    }
    Ok(())
}
