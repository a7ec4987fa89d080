//! Core files of Xen (`xl dump-core`): ELF files with sections and without program headers
//! (`docs/misc/dump-core-format.txt`). Their pages come in any order, with the number of each.

use super::facts::{ImageFacts, ImageFormat};
use super::fields::Fields;
use super::layout::Layout;
use super::pieces::{Piece, Pieces};
use super::processor::Processor;
use super::{Result, damaged, refused, some_at};
use crate::architecture::{Architecture, Endianness};
use crate::bounds::saturating_usize;
use crate::dump::byte_source::ByteSource;
use crate::text::until_nul;
use crate::units::Hex;
use object::elf;

/// Bytes of the names of sections that are read.
const MAX_NAMES: usize = 1 << 16;
/// Sections that are looked at: there are seven.
const MAX_SECTIONS: u16 = 64;
/// Bytes of `struct vcpu_guest_context` on x86 with 64 bits, and where its control registers are.
const CONTEXT: u64 = 5168;
const CONTROL: usize = 4984;
/// Processors that are kept.
const MAX_PROCESSORS: usize = 4096;
/// Page numbers that are read together.
const NUMBERS: usize = 1 << 13;

/// Whether these are the first bytes of a core file without program headers and with sections.
pub(super) fn is_core(head: &[u8]) -> bool {
    let Some(order) = order(head) else { return false };
    let fields = Fields { bytes: head, order };
    fields.u16(16) == Some(elf::ET_CORE.0) && fields.u16(56) == Some(0) && fields.u16(60).is_some_and(|count| count > 1)
}

/// The order of bytes of an ELF file of 64 bits.
fn order(head: &[u8]) -> Option<Endianness> {
    match head {
        [0x7f, b'E', b'L', b'F', 2, 1, ..] => Some(Endianness::Little),
        [0x7f, b'E', b'L', b'F', 2, 2, ..] => Some(Endianness::Big),
        _ => None,
    }
}

/// A section: its name in the table of names, and where it is.
struct Section {
    name: usize,
    at: u64,
    size: u64,
}

/// Finds out where the pages are.
pub(super) fn read(volume: &ByteSource) -> Result<ImageFacts> {
    let Some(head) = volume.array_at::<64>(0)? else { return damaged("ELF header", "the file is too short for it") };
    let Some(order) = order(&head) else { return damaged("ELF header", "it is none of 64 bits") };
    let fields = Fields { bytes: &head, order };
    let (Some(machine), Some(table), Some(count), Some(names)) =
        (fields.u16(18), fields.u64(40), fields.u16(60), fields.u16(62))
    else {
        return damaged("ELF header", "the file is too short for it");
    };
    let mut sections = Vec::new();
    for number in 0..count.min(MAX_SECTIONS) {
        let Some(header) = volume.array_at::<64>(table.saturating_add(64 * u64::from(number)))? else {
            return damaged("ELF sections", "the file ends before their headers");
        };
        let fields = Fields { bytes: &header, order };
        if let (Some(name), Some(at), Some(size)) = (fields.u32(0), fields.u64(24), fields.u64(32)) {
            sections.push(Section { name: saturating_usize(name), at, size });
        }
    }
    let names = match sections.get(usize::from(names)) {
        Some(names) if names.at.saturating_add(names.size) > volume.length() => {
            return damaged("ELF sections", "the file ends before their names");
        }
        Some(names) => some_at(volume, names.at, names.size, MAX_NAMES)?,
        None => return damaged("ELF sections", "they have no names"),
    };
    let find =
        |name: &[u8]| sections.iter().find(|section| names.get(section.name..).is_some_and(|at| until_nul(at) == name));
    let Some(pages) = find(b".xen_pages") else {
        return refused(
            "an ELF core file without program headers that is none of Xen",
            "it has no memory that is known",
        );
    };
    let Some(numbers) = find(b".xen_pfn") else {
        return refused(
            "a Xen core file of a paravirtualized guest, whose page tables have the host's addresses",
            "only those of fully virtualized guests (HVM, PVH) are read",
        );
    };
    let page_size = find(b".note.Xen").map(|notes| page_size(volume, notes, order)).transpose()?.flatten();
    if page_size != Some(4096) {
        return damaged("Xen header", "the size of a page is not 4096");
    }
    let (pieces, mut damage) = pieces(volume, pages, numbers, order)?;
    let end = pages.at.saturating_add(pages.size);
    if end > volume.length() {
        damage.push((".xen_pages".to_owned(), format!("it ends at {end}, the file after {} bytes", volume.length())));
    }
    let architecture = Architecture::from_elf(elf::Machine(machine));
    let processors = match find(b".xen_prstatus").filter(|_| architecture == Some(Architecture::Amd64)) {
        Some(status) => processors(volume, status, order)?,
        None => Vec::new(),
    };
    let facts = ImageFacts::new(ImageFormat::XenCore, Layout::Pieces(pieces));
    Ok(ImageFacts { architecture, processors, damage, ..facts })
}

/// What the header note says of the size of a page (`xen_dumpcore_elfnote_header_desc`).
fn page_size(volume: &ByteSource, notes: &Section, order: Endianness) -> Result<Option<u64>> {
    const HEADER: u32 = 0x0200_0001;
    let bytes = some_at(volume, notes.at, notes.size, MAX_NAMES)?;
    let mut rest = &*bytes;
    while let Some((_, kind, description)) = super::notes::next(&mut rest, order) {
        if kind == HEADER {
            return Ok(Fields { bytes: description, order }.u64(24));
        }
    }
    Ok(None)
}

/// The pages, as many as there are both numbers and bytes for in the file.
fn pieces(
    volume: &ByteSource,
    pages: &Section,
    numbers: &Section,
    order: Endianness,
) -> Result<(Pieces, Vec<(String, String)>)> {
    let there = |section: &Section| section.size.min(volume.length().saturating_sub(section.at));
    let count = (there(pages) / 4096).min(there(numbers) / 8);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut damage = Vec::new();
    let mut done = 0;
    while done < count {
        let bytes = some_at(volume, numbers.at.saturating_add(done * 8), (count - done) * 8, NUMBERS * 8)?;
        let words = bytes.as_chunks().0;
        if words.is_empty() {
            break;
        }
        for (word, number) in words.iter().zip(done..) {
            let page = order.u64(*word);
            // A page that is not there has this number.
            if page == u64::MAX {
                continue;
            }
            let Some(physical) = page.checked_mul(4096).filter(|at| *at < 1 << 52) else {
                damage.push((".xen_pfn".to_owned(), format!("page number {page:#x}")));
                return Ok((Pieces::from_written(pieces), damage));
            };
            let at = pages.at.saturating_add(number * 4096);
            match pieces.last_mut().filter(|last| {
                last.physical.checked_add(last.size) == Some(physical)
                    && last.at.and_then(|start| start.checked_add(last.size)) == Some(at)
            }) {
                Some(last) => last.size = last.size.saturating_add(4096),
                None => pieces.push(Piece::plain(physical, 4096, at)),
            }
        }
        done += words.len() as u64;
    }
    Ok((Pieces::from_written(pieces), damage))
}

/// The control registers of the processors.
fn processors(volume: &ByteSource, status: &Section, order: Endianness) -> Result<Vec<Processor>> {
    let mut processors = Vec::new();
    let count = saturating_usize(status.size / CONTEXT).min(MAX_PROCESSORS);
    for number in 0..count as u64 {
        let at = status.at.saturating_add(number * CONTEXT).saturating_add(CONTROL as u64);
        let Some(bytes) = volume.array_at::<40>(at)? else { break };
        let fields = Fields { bytes: &bytes, order };
        let hex = |at| fields.u64(at).map(Hex);
        processors.push(Processor { cr0: hex(0), cr3: hex(24), cr4: hex(32), efer: None });
    }
    Ok(processors)
}
