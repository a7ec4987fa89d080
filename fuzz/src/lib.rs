//! What the fuzz targets share: what must hold of an inspected dump and of a memory map, whatever the input.

pub mod json;
pub mod kvm;
pub mod odd_host;
pub mod recipe;

use memtool::memory_map::MemoryMap;
use memtool::memory_map::kernel_maps::{KernelMapping, KernelSegments, readable};
use memtool::output_file::scratch;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::header::Section;
use vmcore::dump::{Container, Content, Depth, DumpedMemory, Inspection, MinidumpFacts, inspect};
use vmcore::memory::Memory;
use vmcore::messages::{Message, MessageBuffer};
use vmcore::progress::Progress;

/// Inspects bytes as if they were in a file, and asserts that what is said of them agrees with itself.
///
/// # Panics
///
/// It does not.
pub fn inspected(bytes: &[u8]) -> Inspection {
    let volume = ByteSource::from_bytes(bytes.to_vec());
    let look = |depth| inspect(&volume, depth, &Progress::default()).expect("bytes in memory can be read");
    let (quick, full) = (look(Depth::Quick), look(Depth::Full));
    let location = &full.location;
    assert_eq!((location, full.compression), (&quick.location, quick.compression));
    assert!(location.start <= location.end && location.end <= bytes.len() as u64);
    assert!(full.damage.len() + full.warnings.len() <= 1 << 17);
    assert!(full.content == Content::Unknown || full.problem().is_none());
    match (&quick.content, &full.content) {
        (Content::Minidump(quick), Content::Minidump(facts)) => {
            let mut but_for_tables = quick.clone();
            but_for_tables.tables.clone_from(&facts.tables);
            assert_eq!(&but_for_tables, facts);
            minidump(facts);
            memory(bytes, &full, facts);
        }
        (quick, full) => assert_eq!(quick, full),
    }
    if full.damage.is_empty() && full.limits.is_empty() {
        assert_eq!(quick.damage, []);
        undamaged(&full);
    }
    full
}

/// What holds of every message buffer.
pub fn check_messages(messages: &MessageBuffer, size: usize) {
    let lines: Vec<Message> = messages.lines().collect();
    assert!(lines.iter().map(|message| message.line.len()).sum::<usize>() <= size);
    assert!(lines.iter().all(|message| message.line.ends_with(message.text) && !message.line.contains(&0)));
    assert!(!messages.is_full || size > 0);
    assert!(messages.is_full || messages.is_ordered || messages.missing > 0);
    assert!(vmcore::messages::panic(&lines).is_none_or(|begin| begin < lines.len()));
}

/// What holds of every minidump, damaged or not.
fn minidump(facts: &MinidumpFacts) {
    let header = &facts.header;
    assert!(!header.format().is_empty());
    let buffer = facts.message_buffer.len();
    assert!(buffer as u64 <= header.size_of(Section::MessageBuffer));
    check_messages(&facts.messages(), buffer);
    assert!(facts.pages.count() <= header.size_of(Section::Bitmap) * 8);
    assert!(facts.segments().iter().all(|segment| segment.pages <= segment.of && segment.start < segment.end));
    if let Some(tables) = &facts.tables {
        assert!(tables.missing <= tables.mapped);
        assert!(tables.unmapped.is_none_or(|unmapped| unmapped <= facts.pages.count()));
    }
}

/// Pages of a plain dump can be read if they are in it, and others cannot.
fn memory(bytes: &[u8], inspection: &Inspection, facts: &MinidumpFacts) {
    // What is beyond a limit of memtool's has no pages that could be read.
    if inspection.compression != vmcore::kerneldump::Compression::None || !inspection.limits.is_empty() {
        return;
    }
    let directory = std::env::temp_dir();
    let memory =
        DumpedMemory::open(ByteSource::from_bytes(bytes.to_vec()), None, scratch(&directory), &Progress::default())
            .expect("it is a plain minidump");
    let mut buffer = vec![0; 1 << 16];
    let page = facts.header.size_of(Section::Header);
    for (number, (_, physical)) in facts.pages.iter().enumerate().take(64) {
        let offset = facts.header.offset_of_pages() + number as u64 * page;
        assert_eq!(facts.offset_of(physical + 1), Some(offset + 1));
        let read = memory.read_at(physical + 1, &mut buffer).expect("it is in the dump");
        assert!(!inspection.damage.is_empty() || read as u64 == page - 1);
    }
    let borders =
        facts.segments().into_iter().take(64).flat_map(|segment| [segment.start.0, segment.end.0 - 1, segment.end.0]);
    for address in borders.chain([0, u64::MAX]) {
        assert_eq!(memory.read_at(address, &mut buffer).is_ok(), facts.pages.contains(address));
    }
}

/// What holds of a dump that is whole.
fn undamaged(inspection: &Inspection) {
    let Some(length) = inspection.length else {
        assert!(matches!(inspection.content, Content::Encrypted | Content::Unknown));
        return;
    };
    if inspection.compression == vmcore::kerneldump::Compression::None {
        assert_eq!(length, inspection.location.end - inspection.location.start);
    }
    match &inspection.content {
        Content::Minidump(facts) => {
            // Of a compressed live dump, the header behind it may count.
            let pages = facts.pages.count() * facts.header.size_of(Section::Header);
            let behind = length - (facts.header.offset_of_pages() + pages);
            assert!(behind == 0 || (behind == 512 && !inspection.warnings.is_empty()), "{behind} bytes behind");
            if facts.header.dump_avail_size.is_some() {
                assert_eq!(facts.segments().iter().map(|segment| segment.pages).sum::<u64>(), facts.pages.count());
            }
            assert_eq!(facts.message_buffer.len() as u64, facts.header.size_of(Section::MessageBuffer));
        }
        Content::Elf(facts) => {
            assert!(facts.segments.iter().all(|segment| segment.offset + segment.size <= length));
        }
        Content::Lime(ranges) => {
            let bytes = ranges.iter().map(|range| 32 + (range.end.0 - range.start.0));
            assert_eq!(bytes.sum::<u64>(), length);
        }
        Content::Text(members) => {
            let blocks = members.iter().map(|member| 512 + member.size.next_multiple_of(512));
            // It ends with an empty block, or with the space that the kernel kept for it.
            assert!(blocks.sum::<u64>() <= length);
        }
        Content::Image(facts) => {
            assert!(facts.ranges.is_sorted_by(|a, b| a.end.0 <= b.start.0));
        }
        Content::Encrypted => unreachable!("its length is not known"),
        Content::Unknown => {}
    }
    assert!(inspection.location.place != Container::File || inspection.location.header.is_none());
}

/// Asserts what holds of every map that was made or accepted.
///
/// # Panics
///
/// It does not.
pub fn check_map(map: &MemoryMap) {
    assert_eq!(map.problem(), None);
    let total = map.total();
    let whole = map.ram_within(0, 1 << 64);
    assert_eq!(whole.iter().map(|(start, end)| end - start).sum::<u64>(), total);
    for segment in &map.segments {
        assert_eq!(map.segment_at(segment.start), Some(segment));
        assert_eq!(map.segment_at(segment.end - 1), Some(segment));
    }
    let text = serde_json::to_vec(map).expect("a map can be written");
    assert_eq!(&serde_json::from_slice::<MemoryMap>(&text).expect("and read"), map);
}

/// Asserts that what may be read is in order, mapped, and all that is not left out.
///
/// # Panics
///
/// It does not.
pub fn check_readable(maps: &[KernelMapping], map: &MemoryMap) {
    for by_page_tables in [false, true] {
        check_decided(maps, &readable(maps, map, by_page_tables));
    }
}

fn check_decided(maps: &[KernelMapping], decided: &KernelSegments) {
    assert!(decided.segments.iter().all(|segment| segment.start < segment.end));
    assert!(decided.segments.is_sorted_by(|before, after| before.end < after.start));
    assert!(decided.skipped.is_sorted_by_key(|range| range.start));
    let is_mapped = |at: u64| maps.iter().any(|map| map.start <= at && u128::from(at) < map.end_address());
    let is_decided = |at: u64| {
        decided.segments.iter().any(|range| (range.start..range.end).contains(&at))
            || decided.skipped.iter().any(|range| range.start <= at && (range.end == 0 || at < range.end))
    };
    for segment in &decided.segments {
        assert!(is_mapped(segment.start) && is_mapped(segment.end - 1));
    }
    for map in maps {
        assert!(is_decided(map.start), "{:#x}", map.start);
        assert!(is_decided(map.end.wrapping_sub(1)), "{:#x}", map.end);
    }
    for range in &decided.skipped {
        assert!(!range.why.to_string().is_empty());
    }
}
