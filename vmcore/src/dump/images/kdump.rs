//! kdump-compressed dumps, of QEMU (`dump-guest-memory -z`, `-l`, `-s`) and makedumpfile: a header, two bitmaps of pages,
//! a descriptor for each page that is there, and the pages, each compressed by itself. Sources: makedumpfile's
//! IMPLEMENTATION and `diskdump_mod.h`, QEMU's `include/system/dump.h`.

use super::container::Container;
use super::facts::{ImageFacts, ImageFormat};
use super::fields::Fields;
use super::kdump_pages::{CODECS, DESCRIPTOR, INCOMPLETE, KdumpPages, Run};
use super::layout::Layout;
use super::unit::{Stored, Unit};
use super::{Result, damaged, notes, refused};
use crate::architecture::{Architecture, Endianness};
use crate::bounds::{at_most, head_mut, saturating_usize};
use crate::dump::byte_source::ByteSource;
use crate::text::until_nul;
use std::io;

/// What it begins with.
pub(super) const SIGNATURE: &[u8] = b"KDUMP   ";
/// Bytes of notes that are read.
const MAX_NOTES: u64 = 16 << 20;
/// Bytes of the bitmap that are read together.
const BUFFER: usize = 1 << 16;

/// What the header says.
struct Header {
    order: Endianness,
    is_64: bool,
    version: u32,
    machine: String,
    status: u32,
    block: u64,
    sub_blocks: u64,
    bitmap_blocks: u64,
    max_page: u64,
}

impl Header {
    /// The header of either size and byte order: `struct timeval` in it has the size of the machine's words.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let parse = |order, status_at: usize| {
            let fields = Fields { bytes, order };
            let version = fields.u32(8).filter(|version| (1..=64).contains(version))?;
            let word = |number: usize| fields.u32(status_at + number * 4);
            let block = word(1).filter(|block| block.is_power_of_two() && (1 << 10..=1 << 16).contains(block))?;
            Some(Self {
                order,
                is_64: status_at == 424,
                version,
                machine: String::from_utf8_lossy(until_nul(bytes.get(12 + 4 * 65..12 + 5 * 65)?)).into_owned(),
                status: word(0)?,
                block: block.into(),
                sub_blocks: word(2)?.into(),
                bitmap_blocks: word(3)?.into(),
                max_page: word(4)?.into(),
            })
        };
        let orders = [Endianness::Little, Endianness::Big];
        [424, 412].into_iter().find_map(|at| orders.into_iter().find_map(|order| parse(order, at)))
    }
}

/// What the second header says, as far as it is needed.
#[derive(Default)]
struct SubHeader {
    is_split: bool,
    notes: Option<(u64, u64)>,
    max_page: Option<u64>,
}

impl SubHeader {
    fn parse(bytes: &[u8], header: &Header) -> Option<Self> {
        let fields = Fields { bytes, order: header.order };
        let (split, notes, max_page) = if header.is_64 {
            (fields.u32(12)?, (fields.u64(48)?, fields.u64(56)?), fields.u64(96)?)
        } else {
            (fields.u32(8)?, (fields.u64(32)?, fields.u32(40)?.into()), fields.u64(72)?)
        };
        Some(Self {
            is_split: header.version >= 2 && split != 0,
            notes: (header.version >= 4 && notes.1 > 0).then_some(notes),
            max_page: (header.version >= 6).then_some(max_page),
        })
    }
}

/// Finds out where the pages are.
pub(super) fn read(volume: &ByteSource, container: Container) -> Result<ImageFacts> {
    let head: [u8; 512] = match container.bytes(volume, 0)? {
        Some(head) => head,
        None => return damaged("kdump header", "the file is too short for it"),
    };
    if !head.starts_with(SIGNATURE) {
        if head.starts_with(b"\x7fELF") {
            return refused("a flattened ELF core file of makedumpfile", "makedumpfile -R makes a core file of it");
        }
        return damaged("flattened dump", "no kdump-compressed dump is in it");
    }
    let Some(header) = Header::parse(&head) else {
        return damaged("kdump header", "its version and the size of its blocks are none that there are");
    };
    let sub: [u8; 128] = container.bytes(volume, header.block)?.unwrap_or([0; 128]);
    let sub = SubHeader::parse(&sub, &header).unwrap_or_default();
    if sub.is_split {
        return refused("one file of a split kdump-compressed dump", "makedumpfile --reassemble makes one of all");
    }
    let mut damage = Vec::new();
    let pages = pages(volume, container, &header, sub.max_page.unwrap_or(header.max_page), &mut damage)?;
    let (_, processors) = match sub.notes {
        Some((at, length)) => {
            let mut bytes = vec![0; at_most(length.min(pages.container.length(volume)), saturating_usize(MAX_NOTES))];
            let read = pages.container.read(volume, at, &mut bytes)?;
            notes::processors(head_mut(&mut bytes, read), header.order)
        }
        None => (None, Vec::new()),
    };
    let is_flattened = pages.container.is_flattened();
    let format = if is_flattened { ImageFormat::KdumpFlattened } else { ImageFormat::Kdump };
    let codec = CODECS.iter().find(|(flag, _)| header.status & !INCOMPLETE == *flag);
    Ok(ImageFacts {
        page_compression: codec.map(|(_, codec)| codec.name()),
        architecture: architecture(&header.machine),
        processors,
        damage,
        ..ImageFacts::new(format, Layout::Kdump(pages))
    })
}

/// What uname(1) calls machines, and QEMU in its place.
fn architecture(machine: &str) -> Option<Architecture> {
    match machine {
        "x86_64" => Some(Architecture::Amd64),
        "i386" | "i486" | "i586" | "i686" => Some(Architecture::I386),
        "riscv64" => Some(Architecture::Riscv),
        other => Architecture::from_machine_arch(other),
    }
}

fn pages(
    volume: &ByteSource,
    container: Container,
    header: &Header,
    max_page: u64,
    damage: &mut Vec<(String, String)>,
) -> Result<KdumpPages> {
    let block = header.block;
    let length = container.length(volume);
    // The first bitmap tells which pages there are, the second which are in the dump; where there is one, it is that.
    let needed = max_page.div_ceil(8).div_ceil(block);
    let half = if needed < header.bitmap_blocks { header.bitmap_blocks / 2 } else { 0 };
    let bitmap = (1 + header.sub_blocks + half) * block;
    let descriptors = (1 + header.sub_blocks + header.bitmap_blocks) * block;
    let bitmap_bytes = max_page.div_ceil(8).min((header.bitmap_blocks - half) * block);
    if bitmap.saturating_add(bitmap_bytes) > length {
        return damaged("kdump bitmap", format!("it ends behind the file, which has {length} bytes"));
    }
    // A page that has no descriptor in the file is none, however many bits are set.
    let room = length.saturating_sub(descriptors) / DESCRIPTOR as u64;
    let (runs, count) = runs(volume, &container, (bitmap, bitmap_bytes), (max_page, room))?;
    let pages = KdumpPages { container, order: header.order, page_size: block, descriptors, runs, count };
    if count == room && count > 0 {
        damage.push(("kdump descriptors".to_owned(), "the file ends before all pages of the bitmap".to_owned()));
    } else if !pages.container.is_whole {
        damage.push(("flattened dump".to_owned(), "the file ends before its end is marked".to_owned()));
    } else if let Some(last) = count.checked_sub(1) {
        match pages.unit_at(volume, last.saturating_mul(block)) {
            Ok(Some(Unit { stored: Stored::At(at, stored, _), .. })) if at.saturating_add(stored) > length => {
                let what = format!("the file ends after {length} bytes, within or before the last page");
                damage.push(("kdump pages".to_owned(), what));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                damage.push(("kdump descriptors".to_owned(), error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(pages)
}

/// Bits of a byte, the lowest first, as makedumpfile numbers pages whatever the byte order is.
fn runs(
    volume: &ByteSource,
    container: &Container,
    (at, bytes): (u64, u64),
    (max_page, room): (u64, u64),
) -> Result<(Vec<Run>, u64)> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut count, mut done) = (0, 0);
    let mut buffer = vec![0; BUFFER];
    while done < bytes {
        let part = head_mut(&mut buffer, bytes - done);
        if container.read(volume, at.saturating_add(done), part)? < part.len() {
            return damaged("kdump bitmap", "the file ends within it");
        }
        for (byte, number) in part.iter().zip(done..).filter(|(byte, _)| **byte != 0) {
            for page in (0..8).filter(|bit| byte >> bit & 1 == 1).map(|bit| number * 8 + bit) {
                if page >= max_page || count >= room {
                    continue;
                }
                count += 1;
                match runs.last_mut().filter(|last| last.first + last.count == page) {
                    Some(last) => last.count += 1,
                    None => runs.push(Run { first: page, count: 1 }),
                }
            }
        }
        done += part.len() as u64;
    }
    Ok((runs, count))
}
