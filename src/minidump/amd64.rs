//! Minidumps of amd64, version 3 (`sys/amd64/amd64/minidump_machdep.c`).

use ioctl_defs::minidump::amd64::{MINIDUMP_MAGIC, MINIDUMP_VERSION, minidumphdr};
use std::io;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::{U32, U64};

const PAGE: u64 = 4096;
const PAGE_BYTES: usize = 4096;
const BITS_PER_PAGE: u64 = PAGE * 8;

/// What a minidump is made from. Ranges are pairs of start and exclusive end, ascending, disjoint, in whole
/// pages.
pub trait Source {
    /// The kernel's message buffer, a ring, from its start.
    fn message_buffer(&self) -> &[u8];
    /// Physical memory that the bitmap covers.
    fn dump_avail(&self) -> &[(u64, u64)];
    /// Lowest address of the kernel map.
    fn kernel_base(&self) -> u64;
    /// First address of the direct map, and the first one after it.
    fn direct_map(&self) -> (u64, u64);
    /// Page directory pages, one for each GiB from [`Self::kernel_base`].
    fn directory_count(&self) -> u64;
    /// A page directory page; `None` for one of zeros.
    fn directory(&self, index: u64) -> Option<&[u64; 512]>;
    /// Physical pages to dump, all within [`Self::dump_avail`].
    fn pages(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_>;
}

/// Sizes of a dump's parts, in bytes; each is rounded up to a page in the file.
struct Sizes {
    message_buffer: u32,
    dump_avail: u32,
    bitmap: u32,
    directories: u32,
    pages: u64,
}

impl Sizes {
    fn of(source: &dyn Source) -> io::Result<Self> {
        let too_large = |what: &str| io::Error::other(format!("the {what} of the dump is too large for its format"));
        let bits: u64 = source.dump_avail().iter().map(|(start, end)| (end - start) / PAGE).sum();
        let bitmap = bits.div_ceil(64) * 8;
        let pairs = source.dump_avail().len() as u64 + 1;
        Ok(Self {
            message_buffer: u32::try_from(source.message_buffer().len()).map_err(|_| too_large("message buffer"))?,
            dump_avail: u32::try_from((pairs * 16).next_multiple_of(PAGE)).map_err(|_| too_large("dump_avail"))?,
            bitmap: u32::try_from(bitmap.next_multiple_of(PAGE)).map_err(|_| too_large("page bitmap"))?,
            directories: source
                .directory_count()
                .checked_mul(PAGE)
                .and_then(|size| u32::try_from(size).ok())
                .ok_or_else(|| too_large("kernel map"))?,
            pages: source.pages().map(|(start, end)| end - start).sum(),
        })
    }

    fn total(&self) -> u64 {
        let rounded = |size: u32| u64::from(size).next_multiple_of(PAGE);
        PAGE + rounded(self.message_buffer)
            + rounded(self.dump_avail)
            + rounded(self.bitmap)
            + rounded(self.directories)
            + self.pages
    }
}

/// A dump that is ready to be written.
pub struct Minidump<'a> {
    source: &'a dyn Source,
    sizes: Sizes,
}

impl<'a> Minidump<'a> {
    /// Lays a dump out.
    ///
    /// # Errors
    ///
    /// A part is larger than its header field can say.
    pub fn of(source: &'a dyn Source) -> io::Result<Self> {
        Ok(Self { source, sizes: Sizes::of(source)? })
    }

    /// Bytes that the dump takes uncompressed.
    pub fn size(&self) -> u64 {
        self.sizes.total()
    }

    /// Bytes of the pages in it.
    pub fn page_bytes(&self) -> u64 {
        self.sizes.pages
    }

    /// Writes everything that stands before the pages. What follows is each page of [`Source::pages`].
    ///
    /// # Errors
    ///
    /// Those of the function that takes the bytes.
    pub fn write_head<E>(&self, mut out: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let source = self.source;
        write_padded(&mut out, header(source, &self.sizes).as_bytes())?;
        write_padded(&mut out, source.message_buffer())?;
        let mut dump_avail: Vec<u8> = source
            .dump_avail()
            .iter()
            .flat_map(|(start, end)| [start.to_le_bytes(), end.to_le_bytes()])
            .flatten()
            .collect();
        dump_avail.extend([0; 16]);
        write_padded(&mut out, &dump_avail)?;
        write_bitmap(source, &mut out)?;
        for index in 0..source.directory_count() {
            match source.directory(index) {
                Some(entries) => {
                    let page: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
                    out(&page)?;
                }
                None => out(&[0; PAGE_BYTES])?,
            }
        }
        Ok(())
    }
}

fn header(source: &dyn Source, sizes: &Sizes) -> minidumphdr {
    let mut magic = [0; 24];
    for (to, from) in magic.iter_mut().zip(MINIDUMP_MAGIC) {
        *to = *from;
    }
    let (dmapbase, dmapend) = source.direct_map();
    minidumphdr {
        magic,
        version: U32::new(MINIDUMP_VERSION),
        msgbufsize: U32::new(sizes.message_buffer),
        bitmapsize: U32::new(sizes.bitmap),
        pmapsize: U32::new(sizes.directories),
        kernbase: U64::new(source.kernel_base()),
        dmapbase: U64::new(dmapbase),
        dmapend: U64::new(dmapend),
        dumpavailsize: U32::new(sizes.dump_avail),
    }
}

fn write_padded<E>(out: &mut impl FnMut(&[u8]) -> Result<(), E>, bytes: &[u8]) -> Result<(), E> {
    out(bytes)?;
    let padding = bytes.len().next_multiple_of(PAGE_BYTES) - bytes.len();
    out([0; PAGE_BYTES].get(..padding).unwrap_or_default())
}

/// Writes the bitmap a page at a time, so that its size does not matter.
fn write_bitmap<E>(source: &dyn Source, out: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut runs = BitRuns::of(source).peekable();
    let bits: u64 = source.dump_avail().iter().map(|(start, end)| (end - start) / PAGE).sum();
    let mut first = 0;
    while first < bits {
        let last = first + BITS_PER_PAGE;
        let mut page = [0u64; PAGE_BYTES / 8];
        while let Some(&(start, end)) = runs.peek() {
            if start >= last {
                break;
            }
            for bit in start.max(first)..end.min(last) {
                let word = usize::try_from((bit - first) / 64).unwrap_or(usize::MAX);
                if let Some(word) = page.get_mut(word) {
                    *word |= 1 << (bit % 64);
                }
            }
            if end > last {
                break;
            }
            runs.next();
        }
        let bytes: Vec<u8> = page.iter().flat_map(|word| word.to_le_bytes()).collect();
        out(&bytes)?;
        first = last;
    }
    Ok(())
}

/// The pages to dump as runs of bits: bits count pages through `dump_avail`, one range after another.
struct BitRuns<'a> {
    pages: Box<dyn Iterator<Item = (u64, u64)> + 'a>,
    dump_avail: std::slice::Iter<'a, (u64, u64)>,
    /// What is left of the run of pages that is being counted.
    run: Option<(u64, u64)>,
    /// The range that it is looked for in, and the number of its first page.
    range: Option<&'a (u64, u64)>,
    first_bit: u64,
}

impl<'a> BitRuns<'a> {
    fn of(source: &'a dyn Source) -> Self {
        let (mut pages, mut dump_avail) = (source.pages(), source.dump_avail().iter());
        let (run, range) = (pages.next(), dump_avail.next());
        Self { pages, dump_avail, run, range, first_bit: 0 }
    }
}

impl Iterator for BitRuns<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (start, end) = self.run?;
            let &(from, to) = self.range?;
            if start >= to {
                self.first_bit += (to - from) / PAGE;
                self.range = self.dump_avail.next();
                continue;
            }
            self.run = if end > to { Some((to, end)) } else { self.pages.next() };
            let (start, end) = (start.max(from), end.min(to));
            if start < end {
                return Some((self.first_bit + (start - from) / PAGE, self.first_bit + (end - from) / PAGE));
            }
        }
    }
}
