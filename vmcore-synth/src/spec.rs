//! What a minidump holds: the description that one is built from.

use super::arch::{Arch, Endianness};
use std::collections::BTreeMap;

/// Kernel memory that is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub address: u64,
    pub physical: u64,
    pub length: u64,
    pub writable: bool,
    pub executable: bool,
    /// Mapped by entries one level higher; on arm's old format by entries for 64 KiB; on powerpc64 by one entry for
    /// 16 MiB, or where it is shorter, by those of its small pages, each saying that it is part of 16 MiB.
    pub superpage: bool,
}

/// Virtual addresses from `base` to `end` are physical ones from `physical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectMap {
    pub base: u64,
    pub end: u64,
    /// For arm64 and riscv; 0 elsewhere.
    pub physical: u64,
}

/// A minidump to build.
#[derive(Clone, Debug)]
pub struct MinidumpSpec {
    pub arch: Arch,
    pub version: u32,
    pub order: Endianness,
    pub page_size: u64,
    pub message_buffer: Vec<u8>,
    /// Physical memory, start and end of each range. Versions without the array count pages from 0 to the
    /// end of the last range.
    pub dump_avail: Vec<(u64, u64)>,
    /// What the header says the array takes; `None`: whole pages, as the kernel does.
    pub dump_avail_size: Option<u64>,
    /// Bytes of an address in the array: arm has 8 since FreeBSD 15, and 4 before.
    pub dump_avail_word: usize,
    /// What the header says the bitmap takes; `None`: whole words.
    pub bitmap_size: Option<u64>,
    /// What every byte of the bitmap's pages holds behind the last page's bit, where kernels write what was never
    /// cleared.
    pub behind_bitmap: u8,
    /// Dumped pages by physical address.
    pub pages: BTreeMap<u64, Vec<u8>>,
    pub kernel_base: u64,
    /// How far the page tables in the dump reach, exclusive.
    pub kernel_end: u64,
    pub mappings: Vec<Mapping>,
    /// amd64 from version 2: where the page-table pages lie, in the order of what they map. They are dumped.
    pub page_table_pages: Vec<u64>,
    pub direct_map: DirectMap,
    /// i386: the entries take 8 bytes.
    pub pae: bool,
    /// arm: `mmuformat`.
    pub arm_format: u32,
    /// powerpc64: the kind of page tables.
    pub mmu_name: &'static str,
    /// powerpc64: where the kernel lies, virtually.
    pub kernel_image: (u64, u64),
}
