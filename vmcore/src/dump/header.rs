//! The first page of a minidump: `struct minidumphdr` of each architecture's `machine/minidump.h`.
//!
//! Older versions end earlier in a page of zeros, so the newest struct reads them all; which of its fields
//! mean something is a matter of the version.

use crate::architecture::{Architecture, DirectMap, Endianness};
use crate::minidump::left_out::LeftOut;
use crate::pmap::powerpc64::KERNBASE;
use crate::pmap::{Format, Level};
use crate::text::until_nul;
use ioctl_defs::minidump as raw;
use serde::Serialize;
use std::fmt;
use zerocopy::FromBytes;
use zerocopy::byteorder::{big_endian as big, little_endian as little};

/// Bytes that are enough for every architecture's header.
pub const HEADER_LENGTH: usize = 256;

impl Architecture {
    const fn magic(self) -> &'static [u8] {
        match self {
            Self::Amd64 => raw::amd64::MINIDUMP_MAGIC,
            Self::Arm64 => raw::arm64::MINIDUMP_MAGIC,
            Self::Riscv => raw::riscv::MINIDUMP_MAGIC,
            Self::Arm => raw::arm::MINIDUMP_MAGIC,
            Self::I386 => raw::i386::MINIDUMP_MAGIC,
            Self::Powerpc64 => raw::powerpc64::MINIDUMP_MAGIC,
        }
    }

    /// The newest version of its format, and the first one with `dump_avail`.
    const fn versions(self) -> (u32, u32) {
        match self {
            Self::Amd64 => (raw::amd64::MINIDUMP_VERSION, 3),
            Self::Arm64 => (raw::arm64::MINIDUMP_VERSION, 2),
            Self::Riscv => (raw::riscv::MINIDUMP_VERSION, 2),
            Self::Arm => (raw::arm::MINIDUMP_VERSION, 2),
            Self::I386 => (raw::i386::MINIDUMP_VERSION, 2),
            Self::Powerpc64 => (raw::powerpc64::MINIDUMP_VERSION, 2),
        }
    }
}

/// How a kernel lies elsewhere than it is linked, as powerpc64's does: its symbols, its file and its debug information
/// have the addresses that it is linked at, its pointers those at which it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// First address that it is linked at.
    pub linked: u64,
    /// Where that was when it ran.
    pub ran: u64,
    /// Bytes from there on.
    pub size: u64,
}

impl Relocation {
    /// What is added to an address that it is linked at (`kvm_kerndisp`), modulo 2^64.
    pub const fn displacement(self) -> u64 {
        self.ran.wrapping_sub(self.linked)
    }

    /// Where an address that the kernel is linked at was when it ran; `None` of any other address.
    pub fn as_it_ran(self, linked: u64) -> Option<u64> {
        let within = linked.checked_sub(self.linked).filter(|within| *within < self.size)?;
        self.ran.checked_add(within)
    }

    /// The address that the kernel is linked at, of one at which it ran; `None` of any other address.
    pub fn as_linked(self, ran: u64) -> Option<u64> {
        let within = ran.checked_sub(self.ran).filter(|within| *within < self.size)?;
        self.linked.checked_add(within)
    }
}

/// A minidump's header, decoded. Sizes are in bytes; in the file each part is made up to whole pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whose it is.
    pub architecture: Architecture,
    /// Version of the architecture's format.
    pub version: u32,
    /// Order of bytes in integers.
    pub order: Endianness,
    /// Bytes in a page.
    pub page_size: u32,
    /// `msgbufsize`.
    pub message_buffer_size: u32,
    /// `dumpavailsize`; `None` in versions without it.
    pub dump_avail_size: Option<u32>,
    /// `bitmapsize`.
    pub bitmap_size: u32,
    /// `pmapsize`, or `ptesize`: page table pages or entries.
    pub page_tables_size: u32,
    /// `kernbase`: the virtual address that the first page table entry is for.
    pub kernel_base: u64,
    /// `dmapbase` and `dmapend`; `None` without a direct map.
    pub direct_map: Option<DirectMap>,
    /// What else there is to say of the page tables: whether they are PAE's, their format or the MMU's name.
    pub mmu: Option<String>,
    /// arm64: whether page table entries have physical addresses of 52 bits (LPA2). The header does not tell, and it
    /// makes no difference unless `dump_avail` has such addresses, by which it is known.
    pub lpa2: bool,
    /// powerpc64: where the kernel's image was when it ran, `startkernel` and `endkernel`; it is linked elsewhere.
    pub kernel_image: Option<(u64, u64)>,
    /// powerpc64: whether the kernel mapped all memory in its direct map, `hw_direct_map`.
    pub hw_direct_map: Option<bool>,
    /// What memtool left out of a dump that it made, if that was chosen.
    pub left_out: Option<LeftOut>,
}

/// A part of a minidump, in the order of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// The header's page.
    Header,
    /// The kernel's message buffer.
    MessageBuffer,
    /// Ranges of physical memory that the bitmap covers.
    DumpAvail,
    /// A bit for each page, set if it is in the dump.
    Bitmap,
    /// Page table pages or entries.
    PageTables,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::MessageBuffer => "message buffer",
            Self::DumpAvail => "dump_avail",
            Self::Bitmap => "page bitmap",
            Self::PageTables => "page tables",
        })
    }
}

impl Header {
    /// Decodes the first bytes of a dump; `None` if they are no minidump's.
    ///
    /// # Errors
    ///
    /// The field that cannot be, and how.
    pub fn parse(bytes: &[u8; HEADER_LENGTH]) -> Result<Option<Self>, String> {
        // One magic is the beginning of another: arm's of arm64's.
        let is = |architecture: &Architecture| {
            bytes.strip_prefix(architecture.magic()).is_some_and(|rest| rest.first() == Some(&0))
        };
        let Some(architecture) = Architecture::ALL.into_iter().find(is) else { return Ok(None) };
        let header = Self::decode(architecture, bytes).ok_or("it is too short")?;
        header.check()?;
        Ok(Some(header))
    }

    fn decode(architecture: Architecture, bytes: &[u8; HEADER_LENGTH]) -> Option<Self> {
        // What the versions of all architectures have, the sizes in the order of the parts.
        let common = |order, version, sizes: [u32; 4], kernel_base| {
            let [message_buffer_size, dump_avail_size, bitmap_size, page_tables_size] = sizes;
            let (_, with_dump_avail) = architecture.versions();
            Self {
                architecture,
                version,
                order,
                page_size: 4096,
                message_buffer_size,
                dump_avail_size: (version >= with_dump_avail).then_some(dump_avail_size),
                bitmap_size,
                page_tables_size,
                kernel_base,
                direct_map: None,
                mmu: None,
                lpa2: false,
                kernel_image: None,
                hw_direct_map: None,
                left_out: LeftOut::decode(bytes),
            }
        };
        Some(match architecture {
            Architecture::Amd64 => {
                let (raw, _) = raw::amd64::minidumphdr::read_from_prefix(bytes).ok()?;
                let sizes = [raw.msgbufsize, raw.dumpavailsize, raw.bitmapsize, raw.pmapsize].map(little::U32::get);
                let direct_map = direct_map(raw.dmapbase.get(), raw.dmapend.get(), 0);
                Self { direct_map, ..common(Endianness::Little, raw.version.get(), sizes, raw.kernbase.get()) }
            }
            Architecture::Arm64 => {
                let (raw, _) = raw::arm64::minidumphdr::read_from_prefix(bytes).ok()?;
                let sizes = [raw.msgbufsize, raw.dumpavailsize, raw.bitmapsize, raw.pmapsize].map(little::U32::get);
                let direct_map = direct_map(raw.dmapbase.get(), raw.dmapend.get(), raw.dmapphys.get());
                let page_size = match (raw.version.get(), raw.flags.get()) {
                    (..3, _) | (_, 0) => 4096,
                    (_, 1) => 16384,
                    // Not defined; the check names them.
                    _ => 0,
                };
                Self {
                    page_size,
                    direct_map,
                    ..common(Endianness::Little, raw.version.get(), sizes, raw.kernbase.get())
                }
            }
            Architecture::Riscv => {
                let (raw, _) = raw::riscv::minidumphdr::read_from_prefix(bytes).ok()?;
                let sizes = [raw.msgbufsize, raw.dumpavailsize, raw.bitmapsize, raw.pmapsize].map(little::U32::get);
                let direct_map = direct_map(raw.dmapbase.get(), raw.dmapend.get(), raw.dmapphys.get());
                Self { direct_map, ..common(Endianness::Little, raw.version.get(), sizes, raw.kernbase.get()) }
            }
            Architecture::Arm => {
                let (raw, _) = raw::arm::minidumphdr::read_from_prefix(bytes).ok()?;
                let sizes = [raw.msgbufsize, raw.dumpavailsize, raw.bitmapsize, raw.ptesize].map(little::U32::get);
                let mmu = match raw.mmuformat.get() {
                    raw::arm::MINIDUMP_MMU_FORMAT_V4 => "v4".to_owned(),
                    raw::arm::MINIDUMP_MMU_FORMAT_V6 => "v6".to_owned(),
                    raw::arm::MINIDUMP_MMU_FORMAT_V6_LPAE => "v6, LPAE".to_owned(),
                    other => format!("MMU format {other}"),
                };
                Self {
                    mmu: Some(mmu),
                    ..common(Endianness::Little, raw.version.get(), sizes, raw.kernbase.get().into())
                }
            }
            Architecture::I386 => {
                let (raw, _) = raw::i386::minidumphdr::read_from_prefix(bytes).ok()?;
                let sizes = [raw.msgbufsize, raw.dumpavailsize, raw.bitmapsize, raw.ptesize].map(little::U32::get);
                let mmu = match raw.paemode.get() {
                    0 => None,
                    1 => Some("PAE".to_owned()),
                    other => Some(format!("PAE mode {other}")),
                };
                Self { mmu, ..common(Endianness::Little, raw.version.get(), sizes, raw.kernbase.get().into()) }
            }
            Architecture::Powerpc64 => {
                let (raw, _) = raw::powerpc64::minidumphdr::read_from_prefix(bytes).ok()?;
                // Only one of the two orders makes a small number of the version.
                let order = if raw.version.get() <= 0xffff { Endianness::Big } else { Endianness::Little };
                let u32 = |value: big::U32| order.u32(value.to_bytes());
                let u64 = |value: big::U64| order.u64(value.to_bytes());
                let sizes = [raw.msgbufsize, raw.dumpavailsize, raw.bitmapsize, raw.pmapsize].map(u32);
                let mmu = until_nul(&raw.mmu_name);
                // The address is the last one. Without `hw_direct_map` nothing is mapped there.
                let (base, last) = (u64(raw.dmapbase), u64(raw.dmapend));
                let hw_direct_map = raw.hw_direct_map.get() != 0;
                let has_map = hw_direct_map && last != 0;
                Self {
                    hw_direct_map: Some(hw_direct_map),
                    direct_map: has_map.then(|| DirectMap { base, end: last.saturating_add(1), physical: 0 }),
                    mmu: Some(String::from_utf8_lossy(mmu).into_owned()),
                    kernel_image: Some((u64(raw.startkernel), u64(raw.endkernel))),
                    ..common(order, u32(raw.version), sizes, u64(raw.kernbase))
                }
            }
        })
    }

    fn check(&self) -> Result<(), String> {
        let (newest, _) = self.architecture.versions();
        if !(1..=newest).contains(&self.version) {
            return Err(format!("version: unknown version {}; versions 1 to {newest} are supported", self.version));
        }
        if self.page_size == 0 {
            return Err("flags: unknown flags".to_owned());
        }
        if let Some(DirectMap { base, end, .. }) = self.direct_map
            && base > end
        {
            return Err(format!("dmapend: the direct map ends at {end:#x}, before it begins at {base:#x}"));
        }
        if self.dump_avail_size == Some(0) {
            return Err("dumpavailsize: it is 0".to_owned());
        }
        if self.bitmap_size == 0 {
            return Err("bitmapsize: it is 0".to_owned());
        }
        Ok(())
    }

    /// Where the kernel was when it ran, if that is not where it is linked.
    pub fn relocation(&self) -> Option<Relocation> {
        let (ran, end) = self.kernel_image?;
        let relocation = Relocation { linked: KERNBASE, ran, size: end.checked_sub(ran)? };
        let has_room = relocation.linked.checked_add(relocation.size).is_some();
        (has_room && relocation.displacement() != 0).then_some(relocation)
    }

    /// The format, such as `arm version 2, v6`.
    pub fn format(&self) -> String {
        let mut text = format!("{} version {}", self.architecture.name(), self.version);
        if let Some(mmu) = &self.mmu {
            text.push_str(&format!(", {mmu}"));
        }
        if self.order == Endianness::Big {
            text.push_str(", big-endian");
        }
        text
    }

    /// Bytes of a part, without what makes it up to whole pages.
    pub fn size_of(&self, section: Section) -> u64 {
        u64::from(match section {
            Section::Header => self.page_size,
            Section::MessageBuffer => self.message_buffer_size,
            Section::DumpAvail => self.dump_avail_size.unwrap_or(0),
            Section::Bitmap => self.bitmap_size,
            Section::PageTables => self.page_tables_size,
        })
    }

    /// Where a part begins in the dump.
    pub fn offset_of(&self, section: Section) -> u64 {
        let all = [Section::Header, Section::MessageBuffer, Section::DumpAvail, Section::Bitmap, Section::PageTables];
        let before = all.into_iter().take_while(|before| *before != section);
        before.map(|before| self.rounded(before)).sum()
    }

    /// Bytes of a part, made up to whole pages.
    pub fn rounded(&self, section: Section) -> u64 {
        self.size_of(section).next_multiple_of(self.page_size.into())
    }

    /// Where the first page of memory is in the dump.
    pub fn offset_of_pages(&self) -> u64 {
        self.offset_of(Section::PageTables) + self.rounded(Section::PageTables)
    }

    /// The format of the page table entries; `None` where there is no entry for each virtual page: the tables of
    /// powerpc64 are hashed, or the MMU driver's own, and nothing is known of arm's with long descriptors.
    pub fn table_format(&self) -> Option<Format> {
        match self.architecture {
            Architecture::Amd64 => Some(Format::Amd64),
            Architecture::Arm64 => {
                let format = if self.page_size == 4096 { Format::Arm64 } else { Format::Arm64Large };
                Some(if self.lpa2 { format.with_lpa2() } else { format })
            }
            // The entries of all its formats are the same.
            Architecture::Riscv => Some(Format::Sv48),
            Architecture::I386 if self.mmu.is_some() => Some(Format::I386Pae),
            Architecture::I386 => Some(Format::I386),
            Architecture::Arm => match self.mmu.as_deref() {
                Some("v4") => Some(Format::ArmV4),
                Some("v6, LPAE") => None,
                _ => Some(Format::ArmV6),
            },
            Architecture::Powerpc64 => None,
        }
    }

    /// The level of the entries in [`Section::PageTables`]: page directory entries, whose page tables are among the
    /// dumped pages, or an entry for each page.
    pub fn table_level(&self) -> Option<Level> {
        let format = self.table_format()?;
        let has_directories = self.architecture == Architecture::Amd64 && self.version >= 2;
        format.levels().iter().rev().nth(usize::from(has_directories)).copied()
    }

    /// Bytes of an address in `dump_avail`, in the order in which they are tried. arm writes 8 since FreeBSD 15, and
    /// before that a `vm_paddr_t` of 4, in the same version of the format (`arm/arm/minidump_machdep.c`).
    pub fn address_sizes(&self) -> &'static [usize] {
        if self.architecture == Architecture::Arm { &[8, 4] } else { &[8] }
    }
}

fn direct_map(base: u64, end: u64, physical: u64) -> Option<DirectMap> {
    (base != 0 || end != 0).then_some(DirectMap { base, end, physical })
}
