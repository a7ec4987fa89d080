//! Minidumps of amd64, version 3 (`sys/amd64/amd64/minidump_machdep.c`).

use ioctl_defs::minidump::amd64::{MINIDUMP_MAGIC, MINIDUMP_VERSION, minidumphdr};
use std::io::{self, Write};
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
    fn pages(&self) -> &[(u64, u64)];
    /// Reads physical memory of [`Self::pages`].
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()>;
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
            pages: source.pages().iter().map(|(start, end)| end - start).sum(),
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

/// Bytes that the dump takes uncompressed.
///
/// # Errors
///
/// A part is larger than its header field can say.
pub fn size(source: &dyn Source) -> io::Result<u64> {
    Ok(Sizes::of(source)?.total())
}

/// Writes the dump.
///
/// # Errors
///
/// Those of the sink and of [`Source::read`], and a part that is larger than its header field can say.
pub fn write(source: &dyn Source, out: &mut dyn Write) -> io::Result<()> {
    let sizes = Sizes::of(source)?;
    write_padded(out, header(source, &sizes).as_bytes())?;
    write_padded(out, source.message_buffer())?;
    let mut dump_avail: Vec<u8> = source
        .dump_avail()
        .iter()
        .flat_map(|(start, end)| [start.to_le_bytes(), end.to_le_bytes()])
        .flatten()
        .collect();
    dump_avail.extend([0; 16]);
    write_padded(out, &dump_avail)?;
    write_bitmap(source, out)?;
    for index in 0..source.directory_count() {
        match source.directory(index) {
            Some(entries) => {
                let page: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
                out.write_all(&page)?;
            }
            None => out.write_all(&[0; PAGE_BYTES])?,
        }
    }
    let mut buffer = vec![0; 64 * PAGE_BYTES];
    for &(start, end) in source.pages() {
        let mut at = start;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..length).unwrap_or_default();
            source.read(at, part)?;
            out.write_all(part)?;
            at += length as u64;
        }
    }
    Ok(())
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

fn write_padded(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    let padding = bytes.len().next_multiple_of(PAGE_BYTES) - bytes.len();
    out.write_all([0; PAGE_BYTES].get(..padding).unwrap_or_default())
}

/// Writes the bitmap a page at a time, so that its size does not matter.
fn write_bitmap(source: &dyn Source, out: &mut dyn Write) -> io::Result<()> {
    let mut runs = bit_runs(source).into_iter().peekable();
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
        out.write_all(&bytes)?;
        first = last;
    }
    Ok(())
}

/// The pages to dump as runs of bits: bits count pages through `dump_avail`, one range after another.
fn bit_runs(source: &dyn Source) -> Vec<(u64, u64)> {
    let mut runs = Vec::new();
    let mut base = 0;
    let mut pages = source.pages().iter().peekable();
    for &(from, to) in source.dump_avail() {
        while let Some(&&(start, end)) = pages.peek() {
            let (inside_start, inside_end) = (start.max(from), end.min(to));
            if inside_start < inside_end {
                runs.push((base + (inside_start - from) / PAGE, base + (inside_end - from) / PAGE));
            }
            if end > to {
                break;
            }
            pages.next();
        }
        base += (to - from) / PAGE;
    }
    runs
}
