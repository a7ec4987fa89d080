//! Memory of virtual machines: bytes that begin as a format of one, or files of `vmcore-synth` of which bytes are changed or
//! the end is cut off. What is said of it agrees with itself, and all memory that it claims to have can be asked for.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use memtool_fuzz::inspected;
use std::sync::OnceLock;
use vmcore::Kernel;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Content, DumpedMemory};
use vmcore::memory::Memory;
use vmcore::progress::Progress;
use vmcore_synth::virtual_machine::{self as vm, PageCodec, Registers};
use vmcore_synth::{KernelMemory, Paging};

const ROOT: u64 = 0x8000;

fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = image(&mut Unstructured::new(bytes)) else { return };
    let found = inspected(&image);
    let Ok(memory) = DumpedMemory::open(ByteSource::from_bytes(image), None, None, &Progress::default()) else {
        return;
    };
    let mut buffer = [0; 5000];
    let mut end = 0;
    for extent in memory.extents().take(256) {
        assert!(extent.physical >= end && extent.size > 0, "{extent:?}");
        end = extent.physical + extent.size;
        for at in [extent.physical, end - 1] {
            if let Ok(read) = memory.read_at(at, &mut buffer) {
                assert!(read as u64 <= end - at);
            }
        }
    }
    if let Content::Image(facts) = &found.content {
        let bytes: u64 = facts.ranges.iter().map(|range| range.end.0 - range.start.0).sum();
        assert!(memory.count() <= bytes);
    }
    if let Ok(kernel) = Kernel::from_dump("image".as_ref(), memory, None) {
        let _ = kernel.memory().u64(0xffff_ffff_8020_0000);
    }
});

/// Files of every format.
fn files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut memory = KernelMemory::new(Paging::Amd64, &[(0, 0x1000), (ROOT, ROOT + 0x8000)], ROOT);
        memory.set(ROOT + 256 * 8, Paging::Amd64.table(ROOT, 0), 8);
        memory.map(0xffff_f800_0000_8000, ROOT, 3, true, false);
        memory.map(0xffff_ffff_8020_0000, 0, 3, false, true);
        memory.write(0, b"\x7fELF\x02\x01\x01\x09\0\0\0\0\0\0\0\0\x02\0\x3e\0");
        let segments = memory.segments();
        let registers = [Registers::amd64(ROOT, false)];
        let notes = vm::qemu_notes(&registers);
        let row = [memory.bytes(0, 0x1000).expect("it is RAM"), vec![0; 0x2000]].concat();
        let kdump = vm::kdump(&segments, &PageCodec::ALL, &notes);
        let stream = vm::qemu_state(&row, false, "pc-i440fx-7.2");
        vec![
            vm::elf_core(&segments, &notes),
            vm::elf_core(&segments, &vm::virtualbox_notes(&registers)),
            vm::flattened(&kdump),
            kdump,
            vm::xen(&segments, &registers),
            vm::vmware(&segments, &registers, true).0,
            vm::libvirt(&stream, 0),
            stream,
            vm::avml(&segments),
        ]
    })
}

fn image(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if u.ratio(1_u8, 4_u8)? {
        const HEADS: [&[u8]; 6] = [
            b"KDUMP   ",
            b"makedumpfile\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01",
            b"QEVM\0\0\0\x03",
            b"\xd2\xbe\xd2\xbe",
            b"AVML\x02\0\0\0",
            b"LibvirtQemudSave",
        ];
        let head = u.choose(&HEADS)?;
        let rest = u.len();
        return Ok([head, u.bytes(rest)?].concat());
    }
    let mut bytes = u.choose(files())?.clone();
    for _ in 0..u.int_in_range(0..=6)? {
        // Most headers and tables are near the beginning.
        let within = if u.ratio(3_u8, 4_u8)? { bytes.len().min(1024) } else { bytes.len() };
        let at = u.choose_index(within)?;
        let value: [u8; 8] = u.arbitrary()?;
        let count = u.int_in_range(1..=8)?;
        for (to, from) in bytes[at..].iter_mut().zip(value).take(count) {
            *to = from;
        }
    }
    if u.ratio(1_u8, 4_u8)? {
        bytes.truncate(u.choose_index(bytes.len())?);
    }
    Ok(bytes)
}
