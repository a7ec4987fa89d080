//! Memory of virtual machines as programs other than FreeBSD write it, and images whose pages are compressed.
//!
//! Sources: makedumpfile's IMPLEMENTATION and `diskdump_mod.h`; QEMU's `dump/dump.c`, `target/i386/arch_dump.c`,
//! `migration/savevm.c` and `ram.c`; libvirt's `qemu_saveimage.h`; VirtualBox's `dbgfcorefmt.h`; Xen's
//! `docs/misc/dump-core-format.txt` and `arch-x86/xen.h`; for VMware, what volatility's `vmware.py` reads; snappy's
//! `framing_format.txt`; FreeBSD's `usr.sbin/bhyve/snapshot.c`.

use std::io::Write;

const PAGE: usize = 4096;

/// Memory in pieces: the physical address and the bytes of each, which are whole pages.
pub type Segments = [(u64, Vec<u8>)];

/// The registers of a processor of amd64.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
}

impl Registers {
    /// Those of a kernel with page tables at a root.
    pub fn amd64(root: u64, la57: bool) -> Self {
        let cr4 = if la57 { 0x1620 } else { 0x620 };
        Self { cr0: 0x8005_003b, cr3: root, cr4, efer: 0xd01 }
    }
}

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageCodec {
    None,
    Zlib,
    Lzo,
    Snappy,
    Zstd,
}

impl PageCodec {
    pub const ALL: [Self; 5] = [Self::None, Self::Zlib, Self::Lzo, Self::Snappy, Self::Zstd];

    /// `DUMP_DH_COMPRESSED_*`.
    pub fn flag(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Zlib => 1,
            Self::Lzo => 2,
            Self::Snappy => 4,
            Self::Zstd => 0x20,
        }
    }

    pub fn compress(self, page: &[u8]) -> Vec<u8> {
        match self {
            Self::None => page.to_vec(),
            Self::Zlib => zlib(page),
            Self::Lzo => lzo(page),
            Self::Snappy => snap::raw::Encoder::new().compress_vec(page).unwrap(),
            Self::Zstd => zstd::bulk::compress(page, 1).unwrap(),
        }
    }
}

/// A zlib stream, as `LiME` writes with `compress=1`.
pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// LZO1X: literals, and where a byte is repeated often, a match at distance 1 (`Documentation/staging/lzo.rst` of Linux).
pub fn lzo(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut literals: Vec<u8> = Vec::new();
    let mut at = 0;
    let mut is_first = true;
    while at < bytes.len() {
        let run = bytes[at..].iter().take_while(|byte| **byte == bytes[at]).count();
        if run < 64 {
            literals.push(bytes[at]);
            at += 1;
            continue;
        }
        // A match has something to repeat, and behind a match come no literals or at least four of their own.
        let before = 4_usize.saturating_sub(literals.len()).max(1);
        literals.extend(&bytes[at..at + before]);
        push_literals(&mut out, &literals, is_first);
        is_first = false;
        literals.clear();
        let count = run - before;
        push_length(&mut out, 0x20, 31, count - 2);
        out.extend(0_u16.to_le_bytes());
        at += run;
    }
    if !literals.is_empty() {
        // Fewer have no instruction of their own.
        assert!(literals.len() >= 4, "a page that ends with {} literals", literals.len());
        push_literals(&mut out, &literals, is_first);
    }
    out.extend([0x11, 0, 0]);
    out
}

fn push_literals(out: &mut Vec<u8>, literals: &[u8], is_first: bool) {
    if is_first && literals.len() <= 238 {
        out.push(literals.len() as u8 + 17);
    } else {
        push_length(out, 0, 15, literals.len() - 3);
    }
    out.extend(literals);
}

/// An instruction with a length, which is 0 in it if more bytes have it.
fn push_length(out: &mut Vec<u8>, instruction: u8, most: usize, length: usize) {
    if length <= most {
        out.push(instruction | length as u8);
        return;
    }
    out.push(instruction);
    let mut rest = length - most;
    while rest > 255 {
        out.push(0);
        rest -= 255;
    }
    out.push(rest as u8);
}

/// Each page of memory with its number.
fn pages(segments: &Segments) -> impl Iterator<Item = (u64, &[u8])> {
    segments.iter().flat_map(|(start, bytes)| (start / PAGE as u64..).zip(bytes.chunks(PAGE)))
}

/// An ELF note: name with its NUL, type and description, each padded to four bytes.
fn note(name: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [name.len() as u32 + 1, description.len() as u32, kind] {
        out.extend(word.to_le_bytes());
    }
    out.extend(name);
    out.resize(12 + (name.len() + 1).next_multiple_of(4), 0);
    out.extend(description);
    super::pad(&mut out, 4);
    out
}

fn put(bytes: &mut [u8], at: usize, value: u64, size: usize) {
    bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
}

/// QEMU's notes: `struct QEMUCPUState` has two words, 18 registers, ten segments of 24 bytes, and five control registers.
pub fn qemu_notes(processors: &[Registers]) -> Vec<u8> {
    let state = |registers: &Registers| {
        let mut state = vec![0; 8 + 18 * 8 + 10 * 24 + 5 * 8];
        put(&mut state, 0, 1, 4);
        put(&mut state, 4, 432, 4);
        let control = 8 + 18 * 8 + 10 * 24;
        for (number, value) in [(0, registers.cr0), (3, registers.cr3), (4, registers.cr4)] {
            put(&mut state, control + number * 8, value, 8);
        }
        state
    };
    let status = processors.iter().flat_map(|_| note(b"CORE", 1, &[0; 336]));
    status.chain(processors.iter().flat_map(|registers| note(b"QEMU", 0, &state(registers)))).collect()
}

/// VirtualBox's notes.
pub fn virtualbox_notes(processors: &[Registers]) -> Vec<u8> {
    let mut out = note(b"VBCORE", 0xb00, &[0; 24]);
    for registers in processors {
        let mut state = vec![0; 600];
        let control = 18 * 8 + 6 * 24;
        for (number, value) in [(0, registers.cr0), (2, registers.cr3), (3, registers.cr4)] {
            put(&mut state, control + number * 8, value, 8);
        }
        // Behind debug registers, two tables, two selectors and three of sysenter.
        put(&mut state, control + 32 + 64 + 32 + 48 + 24, registers.efer, 8);
        out.extend(note(b"VBCPU", 0xb01, &state));
    }
    out
}

/// An ELF core file of 64 bits with notes and memory, as QEMU and VirtualBox write it.
pub fn elf_core(segments: &Segments, notes: &[u8]) -> Vec<u8> {
    let headers = 64 + 56 * (1 + segments.len());
    let mut out = elf_header(62);
    put(&mut out, 32, 64, 8);
    put(&mut out, 54, 56, 2);
    put(&mut out, 56, 1 + segments.len() as u64, 2);
    let mut offset = headers + notes.len();
    let header = |kind: u64, offset: usize, physical: u64, size: usize| {
        let mut header = vec![0; 56];
        put(&mut header, 0, kind, 4);
        put(&mut header, 8, offset as u64, 8);
        put(&mut header, 24, physical, 8);
        put(&mut header, 32, size as u64, 8);
        put(&mut header, 40, size as u64, 8);
        header
    };
    out.extend(header(4, headers, 0, notes.len()));
    for (physical, bytes) in segments {
        out.extend(header(1, offset, *physical, bytes.len()));
        offset += bytes.len();
    }
    out.extend(notes);
    out.extend(segments.iter().flat_map(|(_, bytes)| bytes));
    out
}

/// The file header of a core file of 64 bits, without the counts of its headers.
fn elf_header(machine: u64) -> Vec<u8> {
    let mut out = vec![0; 64];
    out[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value, size) in [(16, 4, 2), (18, machine, 2), (20, 1, 4), (52, 64, 2)] {
        put(&mut out, at, value, size);
    }
    out
}

/// A kdump-compressed dump of version 6 as QEMU lays it out; of several codecs, each page has the next one.
pub fn kdump(segments: &Segments, codecs: &[PageCodec], notes: &[u8]) -> Vec<u8> {
    let last = segments.iter().map(|(start, bytes)| start / PAGE as u64 + (bytes.len() / PAGE) as u64).max().unwrap();
    let bitmap = (last as usize).div_ceil(8).next_multiple_of(PAGE);
    let sub_blocks = (104 + notes.len()).div_ceil(PAGE);
    let mut out = vec![0; PAGE * (1 + sub_blocks) + 2 * bitmap];
    out[..8].copy_from_slice(b"KDUMP   ");
    put(&mut out, 8, 6, 4);
    out[12 + 4 * 65..12 + 4 * 65 + 6].copy_from_slice(b"x86_64");
    let words = [codecs[0].flag().into(), PAGE as u64, sub_blocks as u64, 2 * (bitmap / PAGE) as u64, last];
    for (number, value) in words.into_iter().enumerate() {
        put(&mut out, 424 + number * 4, value.min(u32::MAX.into()), 4);
    }
    for (at, value) in [(48, PAGE as u64 + 104), (56, notes.len() as u64), (96, last)] {
        put(&mut out, PAGE + at, value, 8);
    }
    out[PAGE + 104..PAGE + 104 + notes.len()].copy_from_slice(notes);
    let bits = PAGE * (1 + sub_blocks);
    for (page, _) in pages(segments) {
        for map in [bits, bits + bitmap] {
            out[map + page as usize / 8] |= 1 << (page % 8);
        }
    }
    let count = pages(segments).count();
    let mut data = Vec::new();
    let start = out.len() + count * 24;
    for (number, (_, page)) in pages(segments).enumerate() {
        let codec = codecs[number % codecs.len()];
        let packed = codec.compress(page);
        // What does not get smaller is stored as it is.
        let (packed, flag) = if packed.len() < page.len() { (packed, codec.flag()) } else { (page.to_vec(), 0) };
        let mut descriptor = [0; 24];
        put(&mut descriptor, 0, (start + data.len()) as u64, 8);
        put(&mut descriptor, 8, packed.len() as u64, 4);
        put(&mut descriptor, 12, flag.into(), 4);
        out.extend(descriptor);
        data.extend(packed);
    }
    out.extend(data);
    out
}

/// The flattened form of a dump, its parts in an order of their own: the last one first, and the header twice, first as
/// zeros.
pub fn flattened(dump: &[u8]) -> Vec<u8> {
    let mut out = b"makedumpfile\0\0\0\0".to_vec();
    for number in [1_u64, 1] {
        out.extend(number.to_be_bytes());
    }
    out.resize(PAGE, 0);
    let mut part = |at: usize, bytes: &[u8]| {
        out.extend((at as u64).to_be_bytes());
        out.extend((bytes.len() as u64).to_be_bytes());
        out.extend(bytes);
    };
    part(0, &[0; 1000]);
    let parts: Vec<&[u8]> = dump.chunks(10_000).collect();
    for (number, bytes) in parts.iter().enumerate().rev() {
        part(number * 10_000, bytes);
    }
    out.extend([0xff; 16]);
    out
}

/// A core file of Xen, its pages from the last one to the first.
pub fn xen(segments: &Segments, processors: &[Registers]) -> Vec<u8> {
    let mut pages: Vec<_> = pages(segments).collect();
    pages.reverse();
    let header: Vec<u8> = [0xf00f_ebee, processors.len() as u64, pages.len() as u64, PAGE as u64]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect();
    let mut notes = note(b"Xen", 0x0200_0000, &[]);
    notes.extend(note(b"Xen", 0x0200_0001, &header));
    let context = |registers: &Registers| {
        // The FPU, flags, registers, 256 traps, the descriptor tables, the kernel's stack; then control registers.
        let control = 512 + 8 + 200 + 256 * 16 + 16 + 16 * 8 + 8 + 16;
        let mut context = vec![0; 5168];
        for (number, value) in [(0, registers.cr0), (3, registers.cr3), (4, registers.cr4)] {
            put(&mut context, control + number * 8, value, 8);
        }
        context
    };
    let sections: [(&str, u64, Vec<u8>); 4] = [
        (".note.Xen", 7, notes),
        (".xen_prstatus", 1, processors.iter().flat_map(context).collect()),
        (".xen_pages", 1, pages.iter().flat_map(|(_, page)| page.to_vec()).collect()),
        (".xen_pfn", 1, pages.iter().flat_map(|(number, _)| number.to_le_bytes()).collect()),
    ];
    let mut names = vec![0];
    let mut out = elf_header(62);
    put(&mut out, 40, 64, 8);
    for (at, value) in [(58, 64), (60, 6), (62, 5)] {
        put(&mut out, at, value, 2);
    }
    let mut data: Vec<u8> = Vec::new();
    out.resize(64 + 64, 0);
    let mut header = |name: &str, kind: u64, bytes: &[u8], names: &mut Vec<u8>| {
        let mut header = vec![0; 64];
        put(&mut header, 0, names.len() as u64, 4);
        put(&mut header, 4, kind, 4);
        put(&mut header, 24, (64 * 7 + data.len()) as u64, 8);
        put(&mut header, 32, bytes.len() as u64, 8);
        names.extend(name.as_bytes());
        names.push(0);
        data.extend(bytes);
        out.extend(header);
    };
    for (name, kind, bytes) in &sections {
        header(name, *kind, bytes, &mut names);
    }
    let mut all = names.clone();
    all.extend(b".shstrtab\0");
    header(".shstrtab", 3, &all, &mut names);
    out.extend(data);
    out
}

/// A tag of VMware's: name, indices and data, which have their length in words of their own if they are long.
fn tag(name: &str, indices: &[u32], data: &[u8], is_large: bool) -> Vec<u8> {
    let size = if is_large { 62 } else { data.len() as u8 };
    let mut out = vec![(indices.len() as u8) << 6 | size, name.len() as u8];
    out.extend(name.as_bytes());
    out.extend(indices.iter().flat_map(|index| index.to_le_bytes()));
    if is_large {
        for _ in 0..2 {
            out.extend((data.len() as u64).to_le_bytes());
        }
        out.extend(5_u16.to_le_bytes());
        out.extend([0xaa; 5]);
    }
    out.extend(data);
    out
}

/// The state of a VMware machine and its memory: in the state itself, or as the second file.
pub fn vmware(segments: &Segments, processors: &[Registers], is_inside: bool) -> (Vec<u8>, Vec<u8>) {
    let memory: Vec<u8> = segments.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let mut tags = tag("align_mask", &[], &[0xff, 0xff], false);
    tags.extend(tag("regionsCount", &[], &(segments.len() as u32).to_le_bytes(), false));
    let mut page = 0;
    for ((start, bytes), number) in segments.iter().zip(0_u32..) {
        for (name, value) in
            [("regionPageNum", page), ("regionPPN", start / PAGE as u64), ("regionSize", (bytes.len() / PAGE) as u64)]
        {
            tags.extend(tag(name, &[number], &(value as u32).to_le_bytes(), false));
        }
        page += (bytes.len() / PAGE) as u64;
    }
    if is_inside {
        tags.extend(tag("Memory", &[0, 0], &memory, true));
    }
    tags.extend([0, 0]);
    let mut cpu = Vec::new();
    for (registers, number) in processors.iter().zip(0_u32..) {
        for (register, value) in [(0, registers.cr0), (3, registers.cr3), (4, registers.cr4)] {
            cpu.extend(tag("CR64", &[number, register], &value.to_le_bytes(), false));
        }
    }
    cpu.extend([0, 0]);
    let groups: [(&str, Vec<u8>); 3] = [("Checkpoint", vec![0, 0]), ("cpu", cpu), ("memory", tags)];
    let mut out = 0xbed2_bed2_u32.to_le_bytes().to_vec();
    out.extend(8_u32.to_le_bytes());
    out.extend((groups.len() as u32).to_le_bytes());
    let mut at = 12 + 80 * groups.len();
    for (name, tags) in &groups {
        let mut group = vec![0; 80];
        group[..name.len()].copy_from_slice(name.as_bytes());
        put(&mut group, 64, at as u64, 8);
        put(&mut group, 72, tags.len() as u64, 8);
        out.extend(group);
        at += tags.len();
    }
    out.extend(groups.into_iter().flat_map(|(_, tags)| tags));
    (out, memory)
}

/// A checkpoint of bhyve: memory and metadata. Memory begins at 0, and may go on at 4 GiB once the first 3 GiB are full.
pub fn bhyve(segments: &Segments) -> (Vec<u8>, String) {
    let memory: Vec<u8> = segments.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let size = memory.len();
    let metadata = format!(
        r#"{{"basic metadata": {{"ncpus":1,"vmname":"vm0","memsize":{size},"memflags":0}}, "devices": [{{"device":"vhpet","size":4096,"file_offset":0}}]}}"#
    );
    (memory, metadata)
}

/// A stream of QEMU's migration of a PC with mapped RAM, or with pages in the stream; before it a page of another block, and
/// the first page twice, at first with other bytes.
pub fn qemu_state(memory: &[u8], is_mapped: bool, machine: &str) -> Vec<u8> {
    let mut out = b"QEVM\0\0\0\x03\x07".to_vec();
    out.extend((machine.len() as u32).to_be_bytes());
    out.extend(machine.as_bytes());
    let short = |out: &mut Vec<u8>, text: &str| {
        out.push(text.len() as u8);
        out.extend(text.as_bytes());
    };
    if is_mapped {
        out.push(5);
        short(&mut out, "configuration/capabilities");
        out.extend(1_u32.to_be_bytes());
        out.extend(1_u32.to_be_bytes());
        short(&mut out, "mapped-ram");
    }
    out.push(1);
    out.extend(2_u32.to_be_bytes());
    short(&mut out, "ram");
    out.extend([0, 0, 0, 0, 0, 0, 0, 4]);
    let number = |out: &mut Vec<u8>, value: u64| out.extend(value.to_be_bytes());
    number(&mut out, (memory.len() + PAGE) as u64 | 4);
    for (name, bytes) in [("pc.bios", &[0x33; PAGE][..]), ("pc.ram", memory)] {
        short(&mut out, name);
        number(&mut out, bytes.len() as u64);
        if is_mapped {
            let count = bytes.len() / PAGE;
            let bitmap = out.len() + 28;
            let start = (bitmap + count.div_ceil(64) * 8).next_multiple_of(1 << 20);
            out.extend(1_u32.to_be_bytes());
            for value in [PAGE, bitmap, start] {
                number(&mut out, value as u64);
            }
            let is_there = |page: &[u8]| page.iter().any(|byte| *byte != 0);
            let mut bits = vec![0; count.div_ceil(64) * 8];
            for (page, _) in bytes.chunks(PAGE).enumerate().filter(|(_, page)| is_there(page)) {
                bits[page / 8] |= 1 << (page % 8);
            }
            out.extend(bits);
            out.resize(start, 0);
            out.extend(bytes);
        }
    }
    number(&mut out, 0x10);
    out.push(0x7e);
    out.extend(2_u32.to_be_bytes());
    out.push(3);
    out.extend(2_u32.to_be_bytes());
    if !is_mapped {
        let page = |out: &mut Vec<u8>, name: Option<&str>, at: usize, bytes: &[u8]| {
            let is_zero = bytes.iter().all(|byte| *byte == 0);
            let flags = if is_zero { 2 } else { 8 } | if name.is_some() { 0 } else { 0x20 };
            out.extend((at as u64 | flags).to_be_bytes());
            if let Some(name) = name {
                short(out, name);
            }
            if is_zero { out.push(0) } else { out.extend(bytes) }
        };
        page(&mut out, Some("pc.ram"), 0, &[0x11; PAGE]);
        page(&mut out, Some("pc.bios"), 0, &[0x33; PAGE]);
        for (number, bytes) in memory.chunks(PAGE).enumerate() {
            page(&mut out, (number == 0).then_some("pc.ram"), number * PAGE, bytes);
        }
    }
    number(&mut out, 0x10);
    out.push(0x7e);
    out.extend(2_u32.to_be_bytes());
    // Devices, which nobody can read.
    out.extend([4, 0, 0, 0, 9, 1, b'x', 1, 2, 3]);
    out
}

/// An image in AVML's format, version 2: a header as `LiME` has it, frames of snappy, and their length.
pub fn avml(segments: &Segments) -> Vec<u8> {
    let mut out = Vec::new();
    for (start, bytes) in segments {
        out.extend(b"AVML\x02\0\0\0");
        for number in [*start, start + bytes.len() as u64 - 1, 0] {
            out.extend(number.to_le_bytes());
        }
        let before = out.len();
        let mut encoder = snap::write::FrameEncoder::new(&mut out);
        encoder.write_all(bytes).unwrap();
        encoder.flush().unwrap();
        drop(encoder);
        let length = (out.len() - before) as u64;
        out.extend(length.to_le_bytes());
    }
    out
}

/// libvirt's header and description before a stream.
pub fn libvirt(stream: &[u8], compression: u32) -> Vec<u8> {
    let description = b"<domain type='kvm'/>\0";
    let mut out = b"LibvirtQemudSave".to_vec();
    for word in [2, description.len() as u32, 1, compression, 0] {
        out.extend(word.to_le_bytes());
    }
    out.resize(92, 0);
    out.extend(description);
    out.extend(stream);
    out
}
