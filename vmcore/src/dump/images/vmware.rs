//! VMware's machines: the state in a .vmss or .vmsn, in groups of tags, and the memory in a .vmem beside it or in the
//! state itself. There is no document of the format; this is what volatility's `layers/vmware.py` and vmss2core know of
//! it.

use super::facts::{ImageFacts, ImageFormat};
use super::fields::Fields;
use super::layout::Layout;
use super::pieces::{Piece, Pieces};
use super::processor::Processor;
use super::{Result, damaged, refused, some_at};
use crate::bounds::{head, head_mut, saturating_usize};
use crate::dump::byte_source::{Beside, ByteSource};
use crate::text::until_nul;
use crate::units::Hex;
use std::collections::BTreeMap;

const MAGICS: [u32; 4] = [0xbed2_bed0, 0xbad1_bad1, 0xbed2_bed2, 0xbed3_bed3];
/// Bytes of the header, and of a group in the list that follows.
const HEADER: usize = 12;
const GROUP: usize = 80;
/// Groups that are looked at: there are about a hundred.
const MAX_GROUPS: u32 = 4096;
/// Tags of a group that are looked at, and regions and processors that are kept.
const MAX_TAGS: u32 = 1 << 20;
const MAX_KEPT: usize = 4096;
/// A page, in which regions are counted.
const PAGE: u64 = 4096;
/// Sizes of data that say that the size follows.
const LARGE: u8 = 62;
const LARGE_PACKED: u8 = 63;

fn magic(head: &[u8]) -> Option<u32> {
    Fields::little(head).u32(0).filter(|magic| MAGICS.contains(magic))
}

/// Whether these are the first bytes of a machine's state.
pub(super) fn is_state(head: &[u8]) -> bool {
    magic(head).is_some()
}

/// A tag: its name, its indices, and where its data are.
struct Tag {
    name: Vec<u8>,
    indices: Vec<u32>,
    at: u64,
    /// Bytes in the file, and before compression.
    size: u64,
    unpacked: u64,
    is_large: bool,
}

impl Tag {
    /// The tag at a place, and where the next one is; `None` at the end of the group or the file.
    fn read(volume: &ByteSource, at: u64, words_are_32: bool) -> Result<Option<(Self, u64)>> {
        let bytes = some_at(volume, at, 2 + 255 + 12 + 18, 512)?;
        let fields = Fields::little(&bytes);
        let (Some(flags), Some(length)) = (bytes.first().copied(), bytes.get(1).copied().map(usize::from)) else {
            return Ok(None);
        };
        if flags == 0 && length == 0 {
            return Ok(None);
        }
        let Some(name) = bytes.get(2..2 + length) else { return Ok(None) };
        let count = usize::from(flags >> 6);
        let mut within = 2 + length;
        let indices: Option<Vec<u32>> = (0..count).map(|number| fields.u32(within + number * 4)).collect();
        within += count * 4;
        let Some(indices) = indices else { return Ok(None) };
        let (size, unpacked, padding) = match flags & 0x3f {
            LARGE | LARGE_PACKED => {
                let word = if words_are_32 { 4 } else { 8 };
                let read = |at| if words_are_32 { fields.u32(at).map(u64::from) } else { fields.u64(at) };
                let (Some(size), Some(unpacked)) = (read(within), read(within + word)) else { return Ok(None) };
                within += 2 * word;
                let Some(padding) = fields.u16(within) else { return Ok(None) };
                within += 2;
                (size, unpacked, u64::from(padding))
            }
            size => (size.into(), size.into(), 0),
        };
        let start = at.saturating_add(within as u64).saturating_add(padding);
        let is_large = flags & 0x3f >= LARGE;
        let tag = Self { name: name.to_vec(), indices, at: start, size, unpacked, is_large };
        Ok(start.checked_add(size).map(|next| (tag, next)))
    }

    /// Its data as a number.
    fn number(&self, volume: &ByteSource) -> Result<Option<u64>> {
        let mut bytes = [0; 8];
        let part = saturating_usize(self.size.min(8));
        let read = volume.read_at(self.at, head_mut(&mut bytes, part))?;
        Ok((read == part && part > 0).then(|| u64::from_le_bytes(bytes)))
    }
}

/// Calls with each tag of a group.
fn each_tag(
    volume: &ByteSource,
    mut at: u64,
    words_are_32: bool,
    mut take: impl FnMut(&Tag) -> Result<()>,
) -> Result<()> {
    for _ in 0..MAX_TAGS {
        let Some((tag, next)) = Tag::read(volume, at, words_are_32)? else { break };
        take(&tag)?;
        at = next;
    }
    Ok(())
}

/// A region: its first page in memory, its first page in the file, and its pages.
type Region = [Option<u64>; 3];

/// What the group of memory says.
#[derive(Default)]
struct MemoryGroup {
    count: Option<u64>,
    regions: BTreeMap<u32, Region>,
    /// Where memory is in the state itself, and how many bytes.
    inside: Option<(u64, u64)>,
}

/// Finds out where memory is.
pub(super) fn read(volume: &ByteSource, format: ImageFormat) -> Result<ImageFacts> {
    let beside = volume.beside();
    let (state, memory) = match (format, beside) {
        (ImageFormat::VmwareMemory, Some((Beside::VmwareState, state))) => (state, Some(volume)),
        (_, Some((Beside::VmwareMemory, memory))) => (volume, Some(memory)),
        _ => (volume, None),
    };
    let Some(header) = state.array_at::<HEADER>(0)? else {
        return damaged("VMware header", "the file is too short for it");
    };
    let fields = Fields::little(&header);
    let (Some(magic), Some(count)) = (magic(&header), fields.u32(8)) else {
        return damaged("VMware header", "the file beside the memory does not begin as the state of a machine");
    };
    let words_are_32 = magic & 0xf == 0;
    let mut group = None;
    let mut processors = BTreeMap::new();
    for number in 0..count.min(MAX_GROUPS) {
        let Some(entry) = state.array_at::<GROUP>(HEADER as u64 + u64::from(number) * GROUP as u64)? else {
            return damaged("VMware groups", "the file ends before all of them");
        };
        let Some(at) = Fields::little(&entry).u64(64) else { continue };
        match until_nul(head(&entry, 64_usize)) {
            b"memory" => group = Some(memory_group(state, at, words_are_32)?),
            b"cpu" => each_tag(state, at, words_are_32, |tag| control(state, tag, &mut processors))?,
            _ => {}
        }
    }
    let Some(group) = group else { return damaged("VMware groups", "there is none of memory") };
    let (pieces, damage) = pieces(&group, memory)?;
    let layout = match (format, memory) {
        (ImageFormat::VmwareState, Some(_)) => Layout::Beside(pieces),
        _ => Layout::Pieces(pieces),
    };
    let processors = processors.into_values().collect();
    Ok(ImageFacts { processors, damage, ..ImageFacts::new(format, layout) })
}

fn memory_group(volume: &ByteSource, at: u64, words_are_32: bool) -> Result<MemoryGroup> {
    let mut group = MemoryGroup::default();
    each_tag(volume, at, words_are_32, |tag| {
        let slot = match &*tag.name {
            b"regionsCount" => {
                group.count = tag.number(volume)?;
                return Ok(());
            }
            b"Memory" if tag.is_large => {
                if tag.size != tag.unpacked && tag.unpacked != 0 {
                    return refused(
                        "the state of a VMware machine with compressed memory in it",
                        "a snapshot without compression, or one whose memory is in a .vmem file, can be read",
                    );
                }
                group.inside = Some((tag.at, tag.size));
                return Ok(());
            }
            b"regionPPN" => 0,
            b"regionPageNum" => 1,
            b"regionSize" => 2,
            _ => return Ok(()),
        };
        let Some(index) = tag.indices.first().filter(|_| group.regions.len() < MAX_KEPT) else { return Ok(()) };
        let number = tag.number(volume)?;
        if let Some(slot) = group.regions.entry(*index).or_default().get_mut(slot) {
            *slot = number;
        }
        Ok(())
    })?;
    Ok(group)
}

/// Takes a control register.
fn control(volume: &ByteSource, tag: &Tag, processors: &mut BTreeMap<u32, Processor>) -> Result<()> {
    let ([processor, register], b"CR64" | b"CR") = (&*tag.indices, &*tag.name) else { return Ok(()) };
    if processors.len() >= MAX_KEPT && !processors.contains_key(processor) {
        return Ok(());
    }
    let value = tag.number(volume)?.map(Hex);
    let known = processors.entry(*processor).or_default();
    // Those with 64 bits count, in whatever order they come.
    let slot = match register {
        0 => &mut known.cr0,
        3 => &mut known.cr3,
        4 => &mut known.cr4,
        _ => return Ok(()),
    };
    if tag.name == b"CR64" || slot.is_none() {
        *slot = value;
    }
    Ok(())
}

/// The memory, in a file of its own or in the state.
fn pieces(group: &MemoryGroup, memory: Option<&ByteSource>) -> Result<(Pieces, Vec<(String, String)>)> {
    let (base, size) = match (memory, group.inside) {
        (Some(memory), _) => (0, memory.length()),
        (None, Some((at, size))) => (at, size),
        (None, None) => {
            return refused(
                "the state of a VMware machine without its memory",
                "the memory is in the .vmem file that belongs beside it",
            );
        }
    };
    let count = group.count.unwrap_or(0);
    if count == 0 {
        let all = (size > 0).then(|| Piece::plain(0, size, base));
        return Ok((Pieces::from_sorted(all.into_iter()), Vec::new()));
    }
    let mut pieces = Vec::new();
    let mut damage = Vec::new();
    for number in 0..count.min(MAX_KEPT as u64) {
        let region = u32::try_from(number).ok().and_then(|number| group.regions.get(&number));
        let Some([Some(first), Some(page), Some(pages)]) = region else {
            return damaged(format!("VMware region {number}"), "the state does not tell where it is");
        };
        let bytes = |pages: &u64| pages.checked_mul(PAGE).filter(|bytes| *bytes < 1 << 52);
        let (Some(physical), Some(at), Some(length)) = (bytes(first), bytes(page), bytes(pages)) else {
            return damaged(format!("VMware region {number}"), format!("page {first:#x}, {pages} of them"));
        };
        let there = length.min(size.saturating_sub(at));
        if there < length {
            damage.push((format!("VMware region {number}"), format!("the memory has {there} bytes of its {length}")));
        }
        pieces.push(Piece::plain(physical, there, base.saturating_add(at)));
    }
    Ok((Pieces::from_written(pieces), damage))
}
