//! Dumps of memory that fails in every way it can, read back by readers of their own.

#[path = "../../tests/all/common/formats.rs"]
mod formats;

use super::plan::SegmentSource;
use super::sink::{Packing, Target, with_sink};
use super::*;
use crate::compress::{Compression, Level};
use formats::{Elf, Range, Runs, decompress, ranges_of};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;
use vmcore::errno::Errno;
use vmcore::format::unreadable::{MAX_LISTED, UnreadableRange};
use vmcore::format::{About, Format, Space};
use vmcore::memory::NotRead;
use vmcore::memory::ReadError;
use vmcore::segment::Segment;
use vmcore::units::hex_digits;

const PAGE: u64 = 4096;
/// Where a machine's memory, and a kernel's, may well begin.
const BASES: [u64; 3] = [0, 0x123_4567_8000, 0xffff_ffff_8000_0000];

/// Memory whose bytes tell their address and are never zero.
#[derive(Debug, Clone)]
struct Faulty {
    base: u64,
    /// By number from the base on.
    bad_pages: BTreeMap<u64, NotRead>,
    /// From here on, counted from the base, there is nothing more.
    ends: u64,
    /// No read delivers more than this.
    longest: usize,
    /// Whether a read that meets a bad page fails as a whole, rather than stop there.
    fails_as_a_whole: bool,
    /// Every so many reads a signal comes in between.
    interrupts: u64,
    reads: Arc<AtomicU64>,
}

fn byte_at(address: u64) -> u8 {
    (address ^ (address >> 12) ^ (address >> 24)).to_le_bytes()[0] | 1
}

impl Faulty {
    fn new(bad_pages: impl IntoIterator<Item = (u64, NotRead)>) -> Self {
        let bad_pages = bad_pages.into_iter().collect();
        let (ends, longest, interrupts, reads) = (u64::MAX, usize::MAX, u64::MAX, Arc::default());
        Self { base: 0, bad_pages, ends, longest, fails_as_a_whole: false, interrupts, reads }
    }

    /// The byte, or why there is none.
    fn at(&self, address: u64) -> Result<u8, NotRead> {
        let offset = address - self.base;
        match self.bad_pages.get(&(offset / PAGE)) {
            Some(why) => Err(*why),
            None if offset >= self.ends => Err(NotRead::End),
            None => Ok(byte_at(address)),
        }
    }
}

impl Memory for Faulty {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.interrupts) {
            return Err(io::Error::from(io::ErrorKind::Interrupted).into());
        }
        // What was read before stays in the buffer of a read that fails.
        for (done, byte) in buffer.iter_mut().enumerate() {
            match self.at(address + done as u64) {
                _ if done == self.longest => return Ok(done),
                Ok(read) => *byte = read,
                Err(NotRead::Absent) if done == 0 || self.fails_as_a_whole => return Err(ReadError::Absent),
                Err(NotRead::Failed(errno)) if done == 0 || self.fails_as_a_whole => {
                    return Err(ReadError::Io(errno.into()));
                }
                Err(_) => return Ok(done),
            }
        }
        Ok(buffer.len())
    }
}

fn faulty() -> impl Strategy<Value = Faulty> {
    let why = prop_oneof![Just(NotRead::Absent), Just(NotRead::Failed(Errno::EIO))];
    let longest = prop_oneof![2 => Just(usize::MAX), 1 => 1000usize..20_000];
    let ends = prop_oneof![2 => Just(u64::MAX), 1 => 0u64..200_000];
    (proptest::collection::btree_map(0u64..40, why, 0..16), ends, longest, any::<bool>(), 2u64..20).prop_map(
        |(bad_pages, ends, longest, fails_as_a_whole, interrupts)| Faulty {
            ends,
            longest,
            fails_as_a_whole,
            interrupts,
            ..Faulty::new(bad_pages)
        },
    )
}

/// Segments in ascending order, some adjacent; borders lie anywhere.
fn segments() -> impl Strategy<Value = Vec<Range>> {
    let border = prop_oneof![0u64..160_000, (0u64..40).prop_map(|page| page * PAGE)];
    proptest::collection::btree_set(border, 2..9).prop_flat_map(|borders| {
        let pairs: Vec<Range> = borders.iter().copied().zip(borders.iter().skip(1).copied()).collect();
        let kept = proptest::collection::vec(any::<bool>(), pairs.len());
        (Just(pairs), kept).prop_map(|(pairs, kept)| {
            let some: Vec<Range> = pairs.iter().zip(kept).filter(|(_, kept)| *kept).map(|(pair, _)| *pair).collect();
            if some.is_empty() { pairs } else { some }
        })
    })
}

fn plan_of(space: Space, base: u64, segments: &[Range], page_size: u64) -> Plan {
    let segment = |&(start, end): &Range| Segment { start: base + start, end: base + end, domain: None };
    Plan {
        space,
        segments: segments.iter().map(segment).collect(),
        segments_from: SegmentSource::Ranges,
        skipped: Vec::new(),
        page_size,
        system: None,
    }
}

struct Dumped {
    file: Vec<u8>,
    map: String,
    report: DumpReport,
    layout: Layout,
}

fn about(plan: &Plan) -> About {
    About {
        hostname: None,
        version: None,
        machine_arch: "amd64".to_owned(),
        host: "image",
        started: UNIX_EPOCH,
        space: plan.space,
        page_size: plan.page_size,
        segments_from: plan.segments_from.to_string(),
    }
}

/// The layout of a dump of what is planned.
fn layout_of(format: Format, plan: &Plan) -> vmcore::Result<Layout> {
    Layout::new(format, &plan.segments, &about(plan))
}

fn dump_to_file(memory: &dyn Memory, plan: &Plan, format: Format, compression: Compression, buffer: usize) -> Dumped {
    let layout = layout_of(format, plan).unwrap();
    let mut map = Vec::new();
    let mut map_file = MapFile::new(Box::new(&mut map));
    let progress = Progress::default();
    let target = Target::File(tempfile::tempfile().unwrap());
    let dump = MemoryDump { memory, plan, layout: &layout, buffer_size: buffer };
    let (copied, written, target) =
        with_sink(target, Packing::compressed(compression), buffer.is_multiple_of(2), |out| {
            dump.write(out, Some(&mut map_file), &progress)
        })
        .unwrap();
    drop(map_file);
    let report = DumpReport { read: copied.read, written, unreadable: copied.unreadable };
    assert_eq!(progress.done(), plan.total());
    let Target::File(mut target) = target else { panic!("{target:?}") };
    let mut file = Vec::new();
    target.rewind().unwrap();
    target.read_to_end(&mut file).unwrap();
    Dumped { file, map: String::from_utf8(map).unwrap(), report, layout }
}

/// What must be in a dump.
struct Expected {
    /// The segments, with zeros where nothing can be read.
    whole: Runs,
    /// Only what can be read.
    packed: Runs,
    unreadable: Vec<UnreadableRange>,
}

fn expected(memory: &Faulty, plan: &Plan) -> Expected {
    let (mut whole, mut packed, mut unreadable) = (Runs::new(), Runs::new(), Vec::<UnreadableRange>::new());
    for segment in &plan.segments {
        let read: Vec<_> = (segment.start..segment.end).map(|address| memory.at(address)).collect();
        whole.push((segment.start, read.iter().map(|byte| byte.unwrap_or(0)).collect()));
        for (address, byte) in (segment.start..).zip(read) {
            match (byte, packed.last_mut(), unreadable.last_mut()) {
                (Ok(byte), Some((start, run)), _) if *start + run.len() as u64 == address => run.push(byte),
                (Ok(byte), ..) => packed.push((address, vec![byte])),
                (Err(why), _, last) => {
                    let why = match why {
                        NotRead::End => "no data",
                        NotRead::Absent => "EFAULT",
                        NotRead::Failed(errno) => &errno.name(),
                    };
                    match last {
                        Some(last) if last.end == address && last.why == why => last.end += 1,
                        _ => unreadable.push(UnreadableRange { start: address, end: address + 1, why: why.to_owned() }),
                    }
                }
            }
        }
    }
    Expected { whole, packed, unreadable }
}

/// An assertion whose message is not two dumps.
#[track_caller]
fn same(found: &Runs, expected: &Runs) {
    let ranges =
        |runs: &Runs| runs.iter().map(|(start, bytes)| (*start, start + bytes.len() as u64)).collect::<Vec<_>>();
    assert_eq!(ranges(found), ranges(expected));
    for ((start, found), (_, expected)) in found.iter().zip(expected) {
        let differs = found.iter().zip(expected).position(|(found, expected)| found != expected);
        assert_eq!(differs, None, "first byte that differs in the run at {start:#x}");
    }
}

/// Dumps in a format with every compression, and compares all there is.
fn check(memory: &Faulty, plan: &Plan, format: Format, buffer: usize) {
    let expected = expected(memory, plan);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd(Level::default())] {
        let dumped = dump_to_file(memory, plan, format, compression, buffer);
        compare(&dumped, plan, compression, &expected);
    }
}

fn compare(dumped: &Dumped, plan: &Plan, compression: Compression, expected: &Expected) {
    let Expected { whole, packed, unreadable } = expected;
    let length = |runs: &Runs| runs.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();

    let report = &dumped.report;
    assert_eq!(report.unreadable.ranges(), *unreadable);
    assert_eq!(report.unreadable.count(), unreadable.len() as u64);
    assert_eq!(report.unreadable.bytes(), length(whole) - length(packed));
    assert_eq!(report.read, length(packed));
    assert_eq!(report.written.bytes, dumped.file.len() as u64);
    if let Some(hash) = &report.written.sha256 {
        assert_eq!(*hash, hex_digits(&Sha256::digest(&dumped.file)));
    }
    let packed_ranges: Vec<Range> = packed.iter().map(|(start, run)| (*start, start + run.len() as u64)).collect();
    assert_eq!(ranges_of(&dumped.map), packed_ranges);

    let file = decompress(&dumped.file, compression.name());
    let format = dumped.layout.format();
    if format != Format::Raw {
        assert_eq!(dumped.layout.size(), file.len() as u64);
    }
    match format {
        Format::Raw => same(&formats::raw(&file, &dumped.map), packed),
        Format::Padded => {
            let ranges: Vec<Range> = plan.segments.iter().map(|segment| (segment.start, segment.end)).collect();
            same(&formats::padded(&file, &ranges), whole);
        }
        Format::Lime => same(&formats::lime(&file), whole),
        Format::Elf => {
            let elf = Elf::parse(&file);
            for load in &elf.loads {
                let physical = if plan.space == Space::Physical { load.virtual_address } else { 0 };
                assert_eq!((load.physical_address, load.align), (physical, plan.page_size));
                assert_eq!(load.offset % load.align, load.virtual_address % load.align);
            }
            let [_, (_, text)] = &elf.notes[..] else { panic!("{:?}", elf.notes) };
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some(&*format!("unreadable_bytes={}", report.unreadable.bytes())));
            assert!(lines.eq(unreadable.iter().map(|range| format!("{:#x} {:#x}", range.start, range.end))), "{text}");
            same(&elf.runs(), whole);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(4),
        ..ProptestConfig::default()
    })]
    #[test]
    fn every_format_carries_the_bytes_that_can_be_read_at_their_addresses(
        memory in faulty(),
        segments in segments(),
        buffer in prop_oneof![Just(1usize << 20), 1usize..50_000],
        base in prop::sample::select(BASES.to_vec()),
    ) {
        for format in Format::ALL {
            // Padded files begin at address 0, and two formats take no virtual addresses.
            let base = match format {
                Format::Padded => 0,
                Format::Lime => base & (u64::MAX >> 1),
                Format::Raw | Format::Elf => base,
            };
            let space = if base > u64::MAX >> 1 { Space::Kernel } else { Space::Physical };
            let memory = Faulty { base, ..memory.clone() };
            let plan = plan_of(space, base, &segments, PAGE);
            check(&memory, &plan, format, buffer);
        }
    }
}

#[test]
fn a_read_that_fails_as_a_whole_loses_one_page_and_no_more() {
    for (why, name) in [(NotRead::Absent, "EFAULT"), (NotRead::Failed(Errno::EIO), "EIO")] {
        let memory = Faulty { fails_as_a_whole: true, ..Faulty::new([(3, why)]) };
        let plan = plan_of(Space::Physical, 0, &[(100, 0x2_0001)], PAGE);
        let dumped = dump_to_file(&memory, &plan, Format::Raw, Compression::None, 1 << 20);
        assert_eq!(dumped.map, "0x64 0x3000\n0x4000 0x20001\n");
        let unreadable = UnreadableRange { start: 0x3000, end: 0x4000, why: name.to_owned() };
        assert_eq!(dumped.report.unreadable.ranges(), [unreadable]);
    }
}

#[test]
fn a_larger_page_size_gives_up_to_its_end() {
    let memory = Faulty::new([(5, NotRead::Failed(Errno::EIO))]);
    for (page_size, until) in [(512, 0x6000), (PAGE, 0x6000), (4 * PAGE, 0x8000), (16 * PAGE, 0x1_0000)] {
        let plan = plan_of(Space::Physical, 0, &[(0, 0x2_0000)], page_size);
        let dumped = dump_to_file(&memory, &plan, Format::Raw, Compression::None, 1 << 20);
        assert_eq!(dumped.map, format!("0x0 0x5000\n{until:#x} 0x20000\n"), "{page_size}");
    }
}

#[test]
fn memory_of_which_nothing_can_be_read_is_zeros_to_its_last_byte() {
    let bad = Faulty { fails_as_a_whole: true, ..Faulty::new((0..40).map(|page| (page, NotRead::Absent))) };
    let empty = Faulty { ends: 0, ..Faulty::new([]) };
    let plan = plan_of(Space::Physical, 0, &[(5, 9000), (20_000, 30_001)], PAGE);
    for memory in [bad, empty] {
        for format in Format::ALL {
            for buffer in [4096, 4097] {
                check(&memory, &plan, format, buffer);
            }
        }
    }
}

#[test]
fn ranges_beyond_the_cap_are_counted_and_joined_but_not_listed() {
    let cap = MAX_LISTED as u64;
    assert_eq!(cap, 1 << 18);
    let mut unreadable = Unreadable::default();
    let pages = |unreadable: &mut Unreadable, first: u64, count: u64, step: u64, why| {
        let pages = (0..count).map(|number| first + number * step);
        pages.for_each(|page| unreadable.add(page * PAGE, (page + 1) * PAGE, why));
    };
    // Every other page, up to one less than the cap; then two pages that are one range: the last one listed.
    pages(&mut unreadable, 0, cap - 1, 2, NotRead::Failed(Errno::EIO));
    let last = 2 * (cap - 1);
    pages(&mut unreadable, last, 2, 1, NotRead::Absent);
    let state =
        |unreadable: &Unreadable| (unreadable.ranges().len() as u64, unreadable.count(), unreadable.bytes() / PAGE);
    assert_eq!(state(&unreadable), (cap, cap, cap + 1));
    // Two pages that are a new range for their errno, two that are one for the gap before them.
    pages(&mut unreadable, last + 2, 2, 1, NotRead::End);
    assert_eq!(state(&unreadable), (cap, cap + 1, cap + 3));
    pages(&mut unreadable, last + 5, 2, 1, NotRead::End);
    assert_eq!(state(&unreadable), (cap, cap + 2, cap + 5));
    // The errno of the last listed range, right behind one that is not listed, is a range of its own.
    pages(&mut unreadable, last + 7, 1, 1, NotRead::Absent);
    assert_eq!(state(&unreadable), (cap, cap + 3, cap + 6));

    let listed = unreadable.ranges().last().unwrap();
    assert_eq!((listed.start, listed.end, &*listed.why), (last * PAGE, (last + 2) * PAGE, "EFAULT"));
}

#[test]
fn a_page_size_that_is_none_is_refused_before_anything_is_laid_out() {
    for page_size in [0, 3000, u64::MAX, 32 << 20] {
        let plan = plan_of(Space::Physical, 0, &[(5, 9000)], page_size);
        for format in Format::ALL {
            let error = layout_of(format, &plan).unwrap_err().to_string();
            assert!(error.contains(&format!("invalid page size of {page_size} bytes")), "{error}");
        }
    }
}
