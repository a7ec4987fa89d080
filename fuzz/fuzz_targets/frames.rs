//! An image of memory that is compressed in frames with a table, with changed bytes: what is read in place is what a
//! decompressor reads from front to back, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Read;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Depth, DumpedMemory, inspect};
use vmcore::memory::Memory;
use vmcore::opened::Scratch;
use vmcore::progress::Progress;
use zeekstd::SeekTable;

/// Bytes that decompressors give at most; what is larger says nothing more.
const LARGEST: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((recipe, contents)) = input.split_first_chunk::<12>() else { return };
    let bytes = changed(framed(recipe, contents), recipe);
    let mut whole = Vec::new();
    let decoder = zstd::Decoder::new(&*bytes).expect("it has memory");
    let is_whole = decoder.take(LARGEST + 1).read_to_end(&mut whole).is_ok();
    if whole.len() as u64 > LARGEST {
        return;
    }
    let source = ByteSource::from_bytes(bytes);
    let quick = inspect(&source, Depth::Quick, &Progress::default()).expect("it is in memory");
    let full = inspect(&source, Depth::Full, &Progress::default()).expect("it is in memory");
    assert_eq!(quick.frames, full.frames);
    let folder = std::env::temp_dir();
    let ranges = [(0, LARGEST)];
    let opened = DumpedMemory::open(source, Some(&ranges), Scratch::new(&folder), &Progress::default());
    let Ok(memory) = opened else { return };
    if memory.inspection().compression != quick.compression && quick.problem().is_none() {
        assert_eq!(memory.is_kept(), quick.frames.is_none());
    }
    // Backwards, so that nothing depends on the order.
    for at in (0..whole.len()).rev().step_by(97) {
        let mut buffer = [0; 64];
        let Ok(read) = memory.read_dump(at as u64, &mut buffer) else { continue };
        let expected = whole.get(at..).unwrap_or_default();
        let expected = expected.get(..read).unwrap_or(expected);
        assert_eq!(buffer.get(..expected.len()), Some(expected));
        // A stream that is damaged behind this may end anywhere there.
        assert!(!is_whole || read == 64.min(whole.len() - at));
    }
    let _ = memory.read_at(0, &mut [0; 8]);
});

/// The contents in frames of the sizes that the recipe has, with their table.
fn framed(recipe: &[u8; 12], contents: &[u8]) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(1).expect("it has memory");
    compressor.include_checksum(recipe[0] & 1 != 0).expect("it has that");
    let (mut bytes, mut table, mut rest) = (Vec::new(), SeekTable::new(), contents);
    for size in recipe[1..6].iter().map(|size| usize::from(*size) * 3).chain([usize::MAX]) {
        let (now, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        // Memory is often zeros.
        let zeros = vec![0; now.len() * usize::from(recipe[0] >> 4)];
        let frame = compressor.compress(&[now, &zeros].concat()).expect("it has memory");
        let length = u32::try_from(now.len() + zeros.len()).expect("it is short");
        table.log_frame(u32::try_from(frame.len()).expect("it is short"), length).expect("they are few");
        bytes.extend(frame);
    }
    let mut table = table.into_serializer();
    let mut buffer = vec![0; table.encoded_len()];
    table.write_into(&mut buffer);
    bytes.extend(buffer);
    bytes
}

/// Some bytes of it changed, from its end on, where the table is, or from its beginning.
fn changed(mut bytes: Vec<u8>, recipe: &[u8; 12]) -> Vec<u8> {
    for change in recipe[6..].chunks_exact(2) {
        let [place, value] = change else { continue };
        let place = usize::from(*place);
        let place = if place < 128 { bytes.len().checked_sub(place + 1) } else { Some(place - 128) };
        if let Some(byte) = place.and_then(|place| bytes.get_mut(place)) {
            *byte ^= value;
        }
    }
    bytes
}
