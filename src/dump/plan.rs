//! What a dump reads: which addresses, and who says so.
//!
//! The kernel's own tables say which physical addresses are RAM ([`crate::memory_map`]) and which kernel
//! virtual addresses are mapped. The user can name addresses instead; those are checked against the tables,
//! because reading a device's registers can hang the machine.

use crate::error::{Error, Result};
use crate::files;
use crate::host::{Host, direct_map};
use crate::memory_map::kernel_maps::{self, SkippedRange, Why};
use crate::memory_map::{MapError, with_domains};
use serde::{Serialize, Serializer};
use std::fmt;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use vmcore::format::{About, Space};
use vmcore::memory::{Memory, ReadError};
use vmcore::segment::{Segment, coalesce, intersect};
use vmcore::system::System;
use vmcore::text::Name;
use vmcore::units::{Hex, counted, exact_size, parse_address, parse_size};

/// The page size where no kernel says it.
const DEFAULT_PAGE_SIZE: u64 = 4096;

/// Who says which addresses are dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentSource {
    /// A table of the kernel: the sysctl's name.
    Table(&'static str),
    /// A list that the user wrote.
    List(PathBuf),
    /// Ranges on the command line.
    Ranges,
    /// The length of the file that is read.
    WholeFile,
}

impl fmt::Display for SegmentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(name) => f.write_str(name),
            Self::List(path) => write!(f, "{}", path.display()),
            Self::Ranges => f.write_str("the ranges given"),
            Self::WholeFile => f.write_str("the file's length"),
        }
    }
}

impl Serialize for SegmentSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::List(path) => Name::from(path.as_path()).serialize(serializer),
            other => serializer.collect_str(other),
        }
    }
}

/// Addresses that the user names in place of the kernel's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedRanges {
    /// Start and exclusive end each, in any order.
    pub ranges: Vec<(u64, u64)>,
    /// Where they were named.
    pub segments_from: SegmentSource,
    /// Whether addresses are read that the kernel's tables do not list as RAM.
    pub allow_non_ram: bool,
}

/// What is dumped, before anything is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which addresses they are.
    pub space: Space,
    /// Ascending, without overlaps.
    pub segments: Vec<Segment>,
    /// Who says so.
    pub segments_from: SegmentSource,
    /// What of the kernel's map is not read, and why.
    pub skipped: Vec<SkippedRange>,
    /// Bytes of a page.
    pub page_size: u64,
    /// The system whose memory it is; `None` for an image of unknown origin.
    pub system: Option<System>,
}

impl Plan {
    /// What to read of a host's memory: what its tables say, or what is chosen.
    ///
    /// # Errors
    ///
    /// The kernel does not give its tables, or what is chosen is not in them and may not be read; or reading it panics the
    /// kernel ([`direct_map`]), which no choice allows.
    pub fn from_host(host: &dyn Host, space: Space, requested: Option<RequestedRanges>) -> Result<Self> {
        let system = host.system()?;
        let page_size = u64::from(system.page_size);
        let reachable = match space {
            Space::Physical => direct_map::reachable(host)?,
            // It is read by the kernel's page tables, and only where there is RAM.
            Space::Kernel => None,
        };
        let listed = match space {
            Space::Physical => match host.memory_map() {
                Ok(map) => {
                    let (segments, skipped) = reached(map.segments, reachable.as_deref());
                    Some((SegmentSource::Table(map.source.name()), segments, skipped))
                }
                Err(Error::MemoryMap(MapError::NoTable)) if requested.is_some() => None,
                Err(error) => return Err(error),
            },
            Space::Kernel => match host.kernel_maps()? {
                Some(maps) => {
                    let by_page_tables = direct_map::is_needed(&system);
                    let kernel = kernel_maps::readable(&maps, &host.memory_map()?, by_page_tables);
                    Some((SegmentSource::Table("vm.pmap.kernel_maps"), kernel.segments, kernel.skipped))
                }
                None => None,
            },
        };
        let plan = |segments, segments_from, skipped| Self {
            space,
            segments,
            segments_from,
            skipped,
            page_size,
            system: Some(system),
        };
        match (requested, listed) {
            (None, Some((segments_from, segments, skipped))) => Ok(plan(segments, segments_from, skipped)),
            (None, None) => Err(Error::Unsupported(
                "this kernel does not list its maps (it has no sysctl vm.pmap.kernel_maps); give the addresses with --range or --segments"
                    .to_owned(),
            )),
            (Some(requested), listed) => {
                let ranges = coalesce(requested.ranges);
                if let Some(reachable) = &reachable {
                    check_reachable(&ranges, reachable)?;
                }
                let listed = listed.map(|(_, segments, _)| segments);
                match &listed {
                    _ if requested.allow_non_ram => {}
                    Some(listed) => check_listed(&ranges, listed, space)?,
                    None => {
                        return Err(Error::Refused(
                            "this kernel has no table that shows whether these addresses are memory, and reading a device can hang the machine; --anywhere reads them anyway"
                                .to_owned(),
                        ));
                    }
                }
                let segments = with_domains(&ranges, &listed.unwrap_or_default(), None);
                Ok(plan(segments, requested.segments_from, Vec::new()))
            }
        }
    }

    /// What to read of an image or another device: the whole file, or what is chosen.
    ///
    /// # Errors
    ///
    /// The file's length is not to be had and nothing is chosen, or what is chosen goes beyond it.
    pub fn from_image(image: &Image, requested: Option<RequestedRanges>) -> Result<Self> {
        let path = image.path.display();
        let (ranges, segments_from) = match (requested, image.length) {
            (None, Some(0)) => return Err(Error::Refused(format!("{path} is empty"))),
            (None, Some(length)) => (vec![(0, length)], SegmentSource::WholeFile),
            (None, None) => {
                return Err(Error::Refused(format!(
                    "the length of {path} is unknown; give the addresses with --range or --segments"
                )));
            }
            (Some(requested), length) => {
                let beyond = requested.ranges.iter().find(|(_, end)| length.is_some_and(|length| *end > length));
                if let (Some((start, end)), Some(length)) = (beyond, length) {
                    return Err(Error::Refused(format!(
                        "{}-{} is beyond the end of {path}, which has {}",
                        Hex(*start),
                        Hex(*end),
                        counted(length, "byte")
                    )));
                }
                (requested.ranges, requested.segments_from)
            }
        };
        Ok(Self {
            space: Space::Physical,
            segments: with_domains(&coalesce(ranges), &[], None),
            segments_from,
            skipped: Vec::new(),
            page_size: DEFAULT_PAGE_SIZE,
            system: None,
        })
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end - segment.start).sum()
    }

    /// What it reads, as a noun.
    pub fn noun(&self) -> &'static str {
        match (self.space, &self.system) {
            (Space::Kernel, _) => "kernel memory",
            (_, Some(_)) => "RAM",
            (_, None) => "image",
        }
    }

    /// What a dump of it says of itself; `host` is `freebsd`, `recorded` or `image`.
    pub fn about(&self, host: &'static str, started: SystemTime) -> About {
        let system = self.system.as_ref();
        About {
            hostname: system.map(|system| system.hostname.clone()),
            version: system.map(|system| system.version.clone()),
            machine_arch: system.map_or(std::env::consts::ARCH, |system| &system.machine_arch).to_owned(),
            host,
            started,
            space: self.space,
            page_size: self.page_size,
            segments_from: self.segments_from.to_string(),
        }
    }

    /// Whether offsets in a raw dump differ from addresses, and no list of the user's says which address is where:
    /// such a dump requires a map or a manifest.
    pub fn has_unlisted_offsets(&self) -> bool {
        match (self.runs().as_slice(), &self.segments_from) {
            (_, SegmentSource::List(_)) => false,
            // One range starts where the user says.
            ([_], SegmentSource::Ranges) => false,
            ([(start, _)], _) => *start > 0,
            (several, _) => several.len() > 1,
        }
    }

    /// The segments without the borders of memory domains: ranges with gaps between them.
    pub fn runs(&self) -> Vec<(u64, u64)> {
        coalesce(self.segments.iter().map(|segment| (segment.start, segment.end)).collect())
    }

    /// Leaves out everything behind the first `bytes` bytes.
    pub fn limit(&mut self, bytes: u64) {
        let mut remaining = bytes;
        self.segments.retain_mut(|segment| {
            segment.end = segment.end.min(segment.start.saturating_add(remaining));
            remaining -= segment.end - segment.start;
            segment.start < segment.end
        });
    }
}

/// A file or device whose offsets are addresses.
#[derive(Debug)]
pub struct Image {
    file: File,
    path: PathBuf,
    /// `None` where the device does not tell.
    length: Option<u64>,
}

impl Image {
    /// Opens a file or device for reading.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or is something without offsets: a FIFO, say.
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |source| Error::io("open", path, source);
        let mut file = files::open(path)?;
        let kind = file.metadata().map_err(fail)?.file_type();
        if !(kind.is_file() || kind.is_block_device() || kind.is_char_device()) {
            return Err(Error::Refused(format!("{} is neither a regular file nor a device", path.display())));
        }
        // Character devices other than FreeBSD's disks, /dev/mem among them, answer 0 or nothing.
        let end = file.seek(SeekFrom::End(0)).ok();
        let length = if kind.is_char_device() { end.filter(|length| *length > 0) } else { end };
        Ok(Self { file, path: path.to_owned(), length })
    }

    /// Bytes in it; `None` where the device does not tell.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}

impl Memory for Image {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        Ok(self.file.read_at(buffer, address)?)
    }
}

/// Reads a range: `START-END`, the end exclusive, or `START+LENGTH`.
///
/// # Errors
///
/// What is wrong with it, as a phrase.
pub fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let range = if let Some((start, end)) = text.split_once('-') {
        parse_address(start).and_then(|start| Ok((start, Some(parse_address(end)?))))
    } else if let Some((start, length)) = text.split_once('+') {
        parse_address(start).and_then(|start| Ok((start, start.checked_add(parse_size(length)?))))
    } else {
        return Err(format!("'{text}' is no range: write START-END or START+LENGTH"));
    };
    match range.map_err(|error| error.to_string())? {
        (start, Some(end)) if start < end => Ok((start, end)),
        (_, Some(_)) => Err(format!("'{text}' is empty: the end comes after the start and is exclusive")),
        (_, None) => Err(format!("'{text}' is beyond the end of the address space")),
    }
}

/// The parts of ranges that are in none of others, which are ascending.
fn gaps(ranges: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    for &(start, end) in ranges {
        let mut at = start;
        for (from, to) in intersect(&[(start, end)], others).into_iter().chain([(end, end)]) {
            if from > at {
                gaps.push((at, from));
            }
            at = to;
        }
    }
    gaps
}

/// What of segments can be reached, and what cannot.
fn reached(segments: Vec<Segment>, reachable: Option<&[(u64, u64)]>) -> (Vec<Segment>, Vec<SkippedRange>) {
    let Some(reachable) = reachable else { return (segments, Vec::new()) };
    let ranges = |segment: &Segment| [(segment.start, segment.end)];
    let parts = segments.iter().flat_map(|segment| {
        let domain = segment.domain;
        intersect(&ranges(segment), reachable).into_iter().map(move |(start, end)| Segment { start, end, domain })
    });
    let skipped = segments.iter().flat_map(|segment| gaps(&ranges(segment), reachable));
    let skipped = skipped.map(|(start, end)| SkippedRange { start, end, why: Why::NotInDirectMap });
    (parts.collect(), skipped.collect())
}

/// Refuses ranges that would panic the kernel.
fn check_reachable(ranges: &[(u64, u64)], reachable: &[(u64, u64)]) -> Result<()> {
    let Some(&(start, end)) = gaps(ranges, reachable).first() else { return Ok(()) };
    let (size, why) = (exact_size((end - start).into()), Why::NotInDirectMap);
    Err(Error::Refused(format!("{}-{} ({size}) is {why}: no option allows reading it", Hex(start), Hex(end))))
}

/// Refuses ranges that are not all within what the kernel lists.
fn check_listed(ranges: &[(u64, u64)], listed: &[Segment], space: Space) -> Result<()> {
    let listed: Vec<(u64, u64)> = coalesce(listed.iter().map(|segment| (segment.start, segment.end)).collect());
    let Some(&(start, end)) = gaps(ranges, &listed).first() else { return Ok(()) };
    let what = match space {
        Space::Physical => "not RAM in the kernel's memory map",
        Space::Kernel => "not memory in the kernel's maps",
    };
    Err(Error::Refused(format!(
        "{}-{} ({}) is {what}, and reading a device can hang the machine; --anywhere reads it anyway",
        Hex(start),
        Hex(end),
        exact_size((end - start).into())
    )))
}
