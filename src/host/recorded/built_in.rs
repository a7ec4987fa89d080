//! The kernel that is built in: its image, a module, what its memory holds, what it has said, and a dump device with the dump
//! of a crash of it. The generator `demo-machine` has written these files, compressed.

use super::file::{Contents, KernelSource, Machine};
use super::maps;
use crate::error::{Error, Result};
use crate::output_file::{temporary_directory, unnamed_temp_file};
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSymbol};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::OnceLock;
use vmcore::bounds::{head, saturating_usize, tail};
use vmcore::lime::{HEADER_LENGTH, decode_header};
use vmcore::symbols::{KernelFile, Symbol};

/// Its `__FreeBSD_version`, and the first line of its version.
pub const OSRELDATE: u32 = 1_501_000;
pub const VERSION: &str = "FreeBSD 15.1-RELEASE MEMTOOL-DEMO (recorded machine, not a real one)";
/// Its dump device.
pub const DUMP_DEVICE: &str = "/dev/ada0p3";

const KERNEL: &[u8] = include_bytes!("demo/kernel.zst");
const MODULE: &[u8] = include_bytes!("demo/if_demo.ko.zst");
const MEMORY: &[u8] = include_bytes!("demo/memory.lime.zst");
const MESSAGES: &[u8] = include_bytes!("demo/messages.zst");
const SWAP: &[u8] = include_bytes!("demo/swap.zst");
/// No file has more bytes.
const MAX_FILE: u64 = 64 << 20;

/// Its files, the kernel's own first, and where they are loaded.
pub fn files() -> Vec<KernelFile> {
    let file = |name: &str, address, size| KernelFile {
        name: name.to_owned(),
        path: format!("/boot/kernel/{name}"),
        address,
        size,
    };
    vec![file("kernel", 0xffff_ffff_8020_0000, 0x140_0000), file("if_demo.ko", 0xffff_ffff_8200_0000, 0x3000)]
}

/// What is known of the kernel.
pub struct BuiltIn {
    memory: Vec<u8>,
    /// What it has said.
    pub messages: Vec<u8>,
    symbols: BTreeMap<String, Symbol>,
}

impl BuiltIn {
    /// The kernel of a machine, if it has the one that is built in: as long as it is the same kernel, and mapped as that is.
    pub fn of(machine: &Machine) -> Option<&'static Self> {
        static BUILT_IN: OnceLock<Option<BuiltIn>> = OnceLock::new();
        let system = &machine.system;
        let is_mapped = machine.kernel_maps.as_ref().is_none_or(|maps| *maps == maps::built_in());
        let is_same = system.osreldate == OSRELDATE && system.version == VERSION && system.machine_arch == "amd64";
        // An image has a kernel of its own.
        let is_image = matches!(machine.contents, Contents::Image { .. });
        if machine.kernel != Some(KernelSource::Demo) || is_image || !is_same || !is_mapped {
            return None;
        }
        // The files can be read, as tests show.
        BUILT_IN.get_or_init(|| Self::unpack().ok()).as_ref()
    }

    fn unpack() -> io::Result<Self> {
        let kernel = unpack(KERNEL)?;
        let symbols = symbols(&kernel).map_err(io::Error::other)?;
        Ok(Self { memory: unpack(MEMORY)?, messages: unpack(MESSAGES)?, symbols })
    }

    /// Where a symbol of the kernel is.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        self.symbols.get(name).copied()
    }

    /// What its memory holds: physical addresses of whole pages, and the bytes from there on.
    pub fn memory(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = self.memory.as_slice();
        std::iter::from_fn(move || {
            let (header, behind) = rest.split_first_chunk::<HEADER_LENGTH>()?;
            let (start, end) = decode_header(header).ok()?;
            rest = tail(behind, saturating_usize(end - start));
            Some((start, head(behind, end - start)))
        })
    }
}

fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    zstd::Decoder::new(packed)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn symbols(kernel: &[u8]) -> object::Result<BTreeMap<String, Symbol>> {
    let file = ElfFile64::<Endianness>::parse(kernel)?;
    let mut symbols = BTreeMap::new();
    for symbol in file.symbols() {
        let found = Symbol { address: symbol.address(), size: symbol.size() };
        symbols.entry(symbol.name()?.to_owned()).or_insert(found);
    }
    Ok(symbols)
}

/// Writes something that is built in to a file without a name.
fn scratch(packed: &[u8]) -> Result<File> {
    let directory = temporary_directory();
    let file = unnamed_temp_file(&directory)?;
    let written = zstd::Decoder::new(packed).and_then(|reader| io::copy(&mut reader.take(MAX_FILE), &mut &file));
    written
        .and_then(|_| (&file).flush())
        .map_err(|source| Error::io("write a temporary file in", &directory, source))?;
    Ok(file)
}

/// The file of the kernel or a module at a path; `None` if there is none.
///
/// # Errors
///
/// The temporary directory does not take a copy.
pub fn kernel_file(path: &Path) -> Result<Option<File>> {
    let packed = match path.to_str() {
        Some("/boot/kernel/kernel") => KERNEL,
        Some("/boot/kernel/if_demo.ko") => MODULE,
        _ => return Ok(None),
    };
    scratch(packed).map(Some)
}

/// A copy of the dump device, with the dump in it.
///
/// # Errors
///
/// The temporary directory does not take it.
pub fn dump_device() -> Result<File> {
    scratch(SWAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_can_be_read() {
        let built_in = BuiltIn::unpack().unwrap();
        assert!(built_in.symbol("allproc").is_some_and(|symbol| symbol.size == 8));
        assert!(String::from_utf8(built_in.messages.clone()).unwrap().contains(VERSION));
        let memory: Vec<(u64, usize)> = built_in.memory().map(|(start, bytes)| (start, bytes.len())).collect();
        assert!(memory.len() > 6 && memory.iter().all(|(start, length)| start % 4096 == 0 && length % 4096 == 0));
        for file in files() {
            assert!(kernel_file(Path::new(&file.path)).unwrap().is_some(), "{}", file.path);
        }
        assert_eq!(dump_device().unwrap().metadata().unwrap().len(), 32 << 20);
    }
}
