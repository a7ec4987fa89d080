//! Checkpoints of bhyve: `NAME` has the memory below the hole and then that above it, `NAME.meta` tells how much, as JSON,
//! `NAME.kern` has the state of the kernel's devices and processors, which is not read (`usr.sbin/bhyve/snapshot.c`,
//! `lib/libvmmapi/vmmapi.c`). And the memory of machines that run, of which their host tells where it is
//! (`sys/dev/vmm/vmm_dev.c`).

use super::facts::{ImageFacts, ImageFormat};
use super::layout::Layout;
use super::pieces::{Piece, Pieces};
use super::{Result, damaged, some_at};
use crate::architecture::Architecture;
use crate::dump::Findings;
use crate::dump::byte_source::ByteSource;
use serde::Deserialize;
use std::io;

/// `VM_LOWMEM_LIMIT`: where the hole begins.
const LOW_LIMIT: u64 = 3 << 30;
/// `VM_HIGHMEM_BASE`: where memory goes on.
const HIGH_BASE: u64 = 4 << 30;
/// Bytes of metadata that are read.
const MAX_METADATA: usize = 1 << 20;

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "basic metadata")]
    basic: Basic,
}

#[derive(Deserialize)]
struct Basic {
    memsize: u64,
}

fn metadata(file: &ByteSource) -> io::Result<Option<Metadata>> {
    let bytes = some_at(file, 0, file.length(), MAX_METADATA)?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Whether a file tells of a checkpoint.
pub(super) fn is_checkpoint(file: &ByteSource) -> bool {
    metadata(file).is_ok_and(|metadata| metadata.is_some())
}

/// Finds out where memory is.
pub(super) fn read(volume: &ByteSource) -> Result<ImageFacts> {
    let metadata = match volume.beside() {
        Some((_, file)) => metadata(file)?,
        None => None,
    };
    let Some(size) = metadata.map(|metadata| metadata.basic.memsize).filter(|size| *size > 0) else {
        return damaged("metadata", "it does not tell how much memory there is");
    };
    let low = size.min(LOW_LIMIT);
    let there = volume.length().min(size);
    let pieces = [(0, low.min(there), 0), (HIGH_BASE, there.saturating_sub(low), low)];
    let pieces = pieces.into_iter().filter(|(_, size, _)| *size > 0);
    let pieces = Pieces::from_sorted(pieces.map(|(physical, size, at)| Piece::plain(physical, size, at)));
    let mut damage = Vec::new();
    if there < size {
        damage.push(("memory".to_owned(), format!("the file has {there} bytes of {size}")));
    }
    let facts = ImageFacts::new(ImageFormat::BhyveCheckpoint, Layout::Pieces(pieces));
    Ok(ImageFacts { architecture: Some(Architecture::Amd64), damage, ..facts })
}

/// Tells where the memory of a machine that runs is.
pub(super) fn read_running(volume: &ByteSource, findings: &mut Findings) -> Result<ImageFacts> {
    let Some(machine) = volume.running().filter(|machine| !machine.ranges.is_empty()) else {
        return damaged("memory", "the machine has none");
    };
    findings.warnings.push("the machine runs: its memory changes while it is read".to_owned());
    let extents = machine.in_a_row().into_iter();
    let pieces = extents.map(|extent| Piece::plain(extent.physical, extent.size, extent.offset));
    let facts = ImageFacts::new(ImageFormat::BhyveMachine, Layout::Pieces(Pieces::from_sorted(pieces)));
    Ok(ImageFacts { architecture: machine.architecture, ..facts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::byte_source::ReadAt;
    use crate::dump::{Content, DumpedMemory};
    use crate::memory::{Memory, ReadError};
    use crate::progress::Progress;

    /// Memory from 0 to 64 KiB and from 4 GiB on; whatever else is asked for is a fault of who asks.
    struct Guest;

    impl ReadAt for Guest {
        fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(at < 0x10000 || (HIGH_BASE..HIGH_BASE + 0x4000).contains(&at), "{at:#x}");
            buffer.fill(if at < 0x10000 { 1 } else { 2 });
            // It begins as a compressed file does.
            if at == 0 {
                buffer.iter_mut().zip([0x28, 0xb5, 0x2f, 0xfd]).for_each(|(to, from)| *to = from);
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_machine_that_runs_is_read_by_its_addresses() {
        let ranges = vec![(HIGH_BASE, HIGH_BASE + 0x4000), (0, 0x10000)];
        let source = ByteSource::from_running(Box::new(Guest), ranges, Some(Architecture::Amd64));
        let memory = DumpedMemory::open(source, None, None, &Progress::default()).unwrap();
        let Content::Image(facts) = &memory.inspection().content else { panic!("{:?}", memory.inspection()) };
        assert_eq!((facts.format, facts.architecture), (ImageFormat::BhyveMachine, Some(Architecture::Amd64)));
        assert_eq!(memory.inspection().warnings.len(), 1);
        let mut bytes = [0; 4];
        memory.fill(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0x28, 0xb5, 0x2f, 0xfd]);
        memory.fill(HIGH_BASE + 0x3ffc, &mut bytes).unwrap();
        assert_eq!(bytes, [2; 4]);
        assert!(matches!(memory.read_at(0x10000, &mut bytes), Err(ReadError::Absent)), "there is a hole");
    }

    #[test]
    fn a_machine_without_memory_is_refused() {
        let source = ByteSource::from_running(Box::new(Guest), vec![(5, 5)], None);
        assert!(DumpedMemory::open(source, None, None, &Progress::default()).is_err());
    }
}
