//! The live dump of a recorded machine: what `MEM_KERNELDUMP` writes, and the faults it can be given.

use super::file::{LiveDumpFault, Machine};
use super::kernel::LaidOutKernel;
use super::memory::{RecordedMemory, View};
use super::written::Written;
use crate::compress::Encoder;
use crate::error::{Error, Result};
use crate::kernel_error::errno_of;
use crate::kernel_error::{KernelError, Operation};
use ioctl_defs::kerneldump::KERNELDUMPVERSION;
use nix::errno::Errno;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use vmcore::architecture::DirectMap;
use vmcore::bounds::head;
use vmcore::kerneldump::{self, Compression, Header, Kind};
use vmcore::memory::Memory;
use vmcore::minidump::{self, Architecture, writer};
use vmcore::text::Name;

/// Bytes after which a partial dump ends.
const PARTIAL: u64 = 1 << 20;

/// What the dump is made from: the laid-out kernel over the machine's memory.
struct DumpSource {
    kernel: LaidOutKernel,
    memory: RecordedMemory,
    pages: Vec<(u64, u64)>,
    /// Whether the bitmap is the one of these pages.
    is_of_use: bool,
}

impl writer::PageSource for DumpSource {
    fn machine(&self) -> minidump::Machine {
        minidump::Machine::Tree(self.kernel.architecture)
    }

    fn version(&self) -> u32 {
        // That of kernels which make live dumps.
        if self.kernel.architecture == Architecture::Riscv { 2 } else { 3 }
    }

    fn message_buffer(&self) -> &[u8] {
        &self.kernel.message_buffer
    }

    fn dump_avail(&self) -> &[(u64, u64)] {
        &self.kernel.dump_avail
    }

    fn direct_map(&self) -> DirectMap {
        self.kernel.direct_map
    }

    fn superpages(&self) -> u64 {
        self.kernel.superpages
    }

    fn directory(&self, number: u64) -> Option<&[u64]> {
        self.kernel.directories.get(&number).map(Vec::as_slice)
    }

    fn table(&self, physical: u64) -> Option<&[u8]> {
        self.kernel.pages.get(&physical).map(Vec::as_slice)
    }

    fn pages(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_> {
        Box::new(self.pages.iter().copied())
    }

    fn bitmap(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_> {
        // The kernel's own bitmap, without the mapped pages that are added to its copy.
        if self.is_of_use { self.pages() } else { Box::new(self.kernel.marked.iter().copied()) }
    }
}

impl DumpSource {
    /// Writes all pages. The kernel copies what the memory bus gives it: memory that cannot be read does not stop
    /// its dump.
    fn write_pages(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut buffer = [0; 4096];
        for &(start, end) in &self.pages {
            for at in (start..end).step_by(4096) {
                buffer.fill(0);
                let mut done = 0;
                while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
                    match self.memory.read_at(at + done as u64, rest) {
                        Ok(read) if read > 0 => done += read,
                        _ => break,
                    }
                }
                out.write_all(&buffer)?;
            }
        }
        Ok(())
    }
}

/// A writer that starts at offset 0 of a file, wherever the file's own offset is.
struct FromStart<'a> {
    file: &'a File,
    offset: u64,
    /// Writing at this offset fails.
    fails_at: u64,
}

impl Write for FromStart<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = head(bytes, self.fails_at - self.offset);
        if bytes.is_empty() {
            return Err(Errno::EIO.into());
        }
        let written = self.file.write_at(bytes, self.offset)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does what `MEM_KERNELDUMP` does: the dump from offset 0 on, the header at the next page border, and no
/// truncation.
pub fn dump(
    machine: &Machine,
    machine_path: Option<&Path>,
    written: &Written,
    file: &File,
    compression: Compression,
) -> Result<()> {
    let refuse = |errno| Error::from(KernelError::new(Operation::KernelDump, "the file", errno));
    let kind = file.metadata().map_err(|error| refuse(errno_of(&error)))?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err(refuse(Errno::EIO));
    }
    if !kind.is_file() {
        return Err(refuse(Errno::EINVAL));
    }
    let kernel = LaidOutKernel::lay_out(machine)?;
    let memory = RecordedMemory::open(machine, machine_path, View::Kernel, written)?;
    let fault = machine.live_dump_fault;
    let pages = kernel.dumped(fault == Some(LiveDumpFault::LostPages));
    let architecture = kernel.architecture;
    let is_of_use = minidump::Machine::Tree(architecture).kernel_dumps_are_of_use(machine.system.osreldate);
    let source = DumpSource { kernel, memory, pages, is_of_use };
    let minidump = writer::MinidumpWriter::new(&source).map_err(|error| Error::Format(error.to_string()))?;
    let fails_at = if fault == Some(LiveDumpFault::Partial) { PARTIAL } else { u64::MAX };
    let write = || -> io::Result<u64> {
        let out = BufWriter::with_capacity(1 << 20, FromStart { file, offset: 0, fails_at });
        let mut encoder = Encoder::new(out, compression.into())?;
        minidump.write_head(|bytes| encoder.write_all(bytes))?;
        source.write_pages(&mut encoder)?;
        Ok(encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.offset)
    };
    let length = write().map_err(|error| refuse(errno_of(&error)))?;
    let mut header = Header {
        kind: Kind::KernelDump,
        architecture: machine.system.machine_arch.clone(),
        version: KERNELDUMPVERSION,
        architecture_version: architecture.dump_version(),
        dump_length: length,
        dump_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        key_size: 0,
        block_size: machine.system.page_size,
        hostname: machine.system.hostname.as_str().into(),
        version_string: machine.system.version.as_str().into(),
        panic_string: Name::default(),
        compression: compression.code(),
        extent: minidump.size(),
    };
    match fault {
        Some(LiveDumpFault::Version) => header.version -= 1,
        Some(LiveDumpFault::Architecture) => {
            let other = if architecture == Architecture::Riscv { "amd64" } else { "riscv64" };
            header.architecture = other.to_owned();
        }
        Some(LiveDumpFault::Compression) => header.compression = (header.compression + 1) % 3,
        Some(LiveDumpFault::Encrypted) => header.key_size = 256,
        _ => {}
    }
    let mut bytes: [u8; kerneldump::HEADER_LENGTH] = header.encode();
    let mut offset = length.next_multiple_of(architecture.page_size());
    match fault {
        Some(LiveDumpFault::NoHeader) => bytes.fill(0),
        Some(LiveDumpFault::Damaged) => {
            // Where the size of the page bitmap is, or behind the magic of the compressed stream.
            let (damage, at) = match compression {
                Compression::None => ([0; 4], 32),
                Compression::Gzip => ([0xff; 4], 10),
                Compression::Zstd => ([0xff; 4], 4),
            };
            file.write_all_at(&damage, at).map_err(|error| refuse(errno_of(&error)))?;
        }
        // In the name of the host.
        Some(LiveDumpFault::Parity) => bytes.iter_mut().skip(64).take(1).for_each(|byte| *byte ^= 1),
        Some(LiveDumpFault::Short) => {
            offset = offset.saturating_sub(architecture.page_size());
            file.set_len(offset).map_err(|error| refuse(errno_of(&error)))?;
        }
        _ => {}
    }
    file.write_all_at(&bytes, offset).map_err(|error| refuse(errno_of(&error)))
}
