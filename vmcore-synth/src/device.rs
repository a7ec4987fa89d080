//! What stands around a dump: on a dump device, in the file of a live dump, and inside a text dump.
//!
//! Sources: `sys/kern/kern_shutdown.c` (`dump_start`, `dump_finish`, `dump_write_headers`, and for live
//! dumps `vnode_write_headers`), `sys/ddb/db_textdump.c`.

use super::kerneldump::{Compression, KernelDumpHeader, Kind};
use super::{Arch, Endianness, pad};
use std::ops::Range;

/// The kernel leaves the first bytes of a dump device alone.
const METADATA: u64 = 64 * 1024;

/// A block of a text dump.
pub const TEXT_BLOCK: usize = 512;

/// A dump device, or a partition of one, after a panic.
#[derive(Clone, Debug)]
pub struct DumpDevice {
    /// Bytes of the device.
    pub size: u64,
    /// Bytes of a sector.
    pub sector: u64,
    /// Dump length, block size, key size and extent follow from the rest.
    pub header: KernelDumpHeader,
    /// The key block without padding; empty where the dump is not encrypted.
    pub key: Vec<u8>,
    /// As it lies on the device: compressed, encrypted or backwards where the header says so.
    pub data: Vec<u8>,
    /// Bytes of the dump before compression.
    pub uncompressed: u64,
}

/// Where the parts stand on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceParts {
    pub first_header: Range<u64>,
    pub key: Range<u64>,
    /// As far as the dump length says; the extent goes on to the last header.
    pub data: Range<u64>,
    pub last_header: Range<u64>,
}

impl DumpDevice {
    /// A device of 16 MiB with that dump, compressed by the device's builder.
    pub fn example(header: KernelDumpHeader, sector: u64, dump: &[u8]) -> Self {
        let data = header.compression.compress(dump);
        Self { size: 16 << 20, sector, header, key: Vec::new(), data, uncompressed: dump.len() as u64 }
    }

    /// The header as it stands on the device, with what only the device knows.
    pub fn header(&self) -> KernelDumpHeader {
        let compressed = self.header.compression != Compression::None;
        // Uncompressed, the kernel writes whole blocks only.
        let length = self.data.len() as u64;
        let dump_length = if compressed { length } else { length.next_multiple_of(self.sector) };
        let key_size = (self.key.len() as u64).next_multiple_of(self.sector);
        let extent = if compressed { self.uncompressed.next_multiple_of(self.sector) } else { dump_length };
        let around = METADATA + 2 * self.sector + key_size;
        // A dump that would not fit uncompressed may take the whole device.
        let extent = if compressed && around + extent > self.size { self.size - around } else { extent };
        assert!(length <= extent && around + extent <= self.size, "the device is too small");
        KernelDumpHeader {
            dump_length,
            extent,
            key_size: key_size as u32,
            block_size: self.sector as u32,
            ..self.header.clone()
        }
    }

    pub fn parts(&self) -> DeviceParts {
        let header = self.header();
        let last = self.size - self.sector;
        let data = last - header.extent;
        let key = data - u64::from(header.key_size);
        let first = key - self.sector;
        let header_size = super::kerneldump::SIZE as u64;
        DeviceParts {
            first_header: first..first + header_size,
            key: key..data,
            data: data..data + header.dump_length,
            last_header: last..last + header_size,
        }
    }

    /// The whole device; what is not written to is zero.
    pub fn build(&self) -> Vec<u8> {
        let mut device = vec![0; self.size as usize];
        let header = self.header().build();
        let parts = self.parts();
        let mut put = |at: u64, bytes: &[u8]| device[at as usize..][..bytes.len()].copy_from_slice(bytes);
        put(parts.first_header.start, &header);
        put(parts.key.start, &self.key);
        put(parts.data.start, &self.data);
        put(parts.last_header.start, &header);
        device
    }
}

/// `struct kerneldumpkey`: AES-256-CBC, an initialisation vector, and the encrypted key.
pub fn key_block(initialisation_vector: [u8; 32], encrypted_key: &[u8]) -> Vec<u8> {
    let mut block = vec![1];
    block.extend(initialisation_vector);
    block.extend(Endianness::Big.bytes(encrypted_key.len() as u64, 4));
    block.extend(encrypted_key);
    block
}

/// The file of a live dump: the minidump, compressed or not, padding to a page, and the only header.
pub fn live_dump(arch: Arch, minidump: &[u8], compression: Compression, page_size: u64) -> Vec<u8> {
    let mut file = compression.compress(minidump);
    let header = KernelDumpHeader {
        dump_length: file.len() as u64,
        extent: minidump.len() as u64,
        block_size: page_size as u32,
        panic_string: String::new(),
        compression,
        ..KernelDumpHeader::example(arch, 4, 0)
    };
    pad(&mut file, page_size);
    file.extend(header.build());
    file
}

/// A ustar archive as ddb(4) writes it, without the two empty blocks at the end.
pub fn text_archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, contents) in files {
        archive.extend(ustar_header(name, contents.len()));
        archive.extend(*contents);
        pad(&mut archive, TEXT_BLOCK as u64);
    }
    archive
}

/// The data of a text dump: the archive's blocks backwards, for the kernel writes away from the end of the
/// device while it does not know the length yet.
pub fn text_dump(archive: &[u8]) -> Vec<u8> {
    archive.chunks_exact(TEXT_BLOCK).rev().flatten().copied().collect()
}

/// A device with a text dump of these files.
pub fn text_device(arch: Arch, version: u32, files: &[(&str, &[u8])]) -> DumpDevice {
    let data = text_dump(&text_archive(files));
    // KERNELDUMP_TEXT_VERSION went along with the version of the header.
    let header = KernelDumpHeader {
        kind: Kind::Text,
        architecture_version: version,
        ..KernelDumpHeader::example(arch, version, 0)
    };
    DumpDevice { uncompressed: data.len() as u64, ..DumpDevice::example(header, TEXT_BLOCK as u64, &data) }
}

fn ustar_header(name: &str, size: usize) -> [u8; TEXT_BLOCK] {
    let mut header = [0; TEXT_BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    assert!(name.len() < 100, "{name}");
    put(0, name);
    put(100, "0600");
    put(108, "0");
    put(116, "0");
    put(124, &format!("{size:o}"));
    put(136, &format!("{:o}", 1_700_000_000));
    put(148, "        ");
    // The type at 156 stays NUL, which is a file.
    put(257, "ustar");
    put(265, "root");
    put(297, "wheel");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:6o}\0 ").as_bytes());
    // snprintf ends the number with a NUL and leaves the space behind it.
    header
}
