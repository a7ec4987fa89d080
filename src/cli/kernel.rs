//! The kernel that a command looks into: the running one, or that of a dump; and places in it, as people name them.

use super::Context;
use super::progress::Display;
use clap::Args;
use memtool::dump::Progress;
use memtool::dump::plan::read_list;
use memtool::host::Host;
use memtool::kvm::{Access, Kvm};
use memtool::output_file::temporary_directory;
use memtool::symbols::{Found, KernelSymbols, Running, Symbols, Table};
use memtool::units::{Hex, parse_address, parse_size};
use memtool::vmcore::volume::Volume;
use memtool::vmcore::{DumpedMemory, Place};
use memtool::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of every command that looks into a kernel.
#[derive(Args)]
pub struct KernelArguments {
    /// Look into a dump, or an image of memory, in place of the running kernel
    #[arg(long, value_name = "FILE")]
    pub core: Option<PathBuf>,
    /// Take symbols from this kernel image, such as /boot/kernel/kernel
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Of an image without headers: the ranges in it, one after another, a line 0xSTART 0xEND for each
    #[arg(long, value_name = "FILE", requires = "core")]
    pub segments: Option<PathBuf>,
}

/// A kernel to look into.
pub struct Opened<'a> {
    /// Its memory.
    pub kvm: Kvm,
    names: Names<'a>,
    /// What its JSON says of it: `freebsd`, `recorded` or `image`.
    pub kind: &'static str,
}

/// Who knows its symbols.
enum Names<'a> {
    Nobody,
    Running(Running<'a>),
    Files(KernelSymbols),
}

impl KernelArguments {
    /// Whether the running kernel is not asked.
    pub fn needs_no_host(&self) -> bool {
        self.core.is_some()
    }

    /// Opens the kernel.
    pub fn open<'a>(&self, context: &mut Context, host: Option<&'a dyn Host>, access: Access) -> Result<Opened<'a>> {
        let files = self.kernel.as_deref().map(Table::open).transpose()?.map(KernelSymbols::new);
        match (&self.core, host) {
            (Some(core), _) => {
                let memory = self.open_core(context, core, access)?;
                let kernel = files.as_ref().and_then(|files| {
                    let table = files.kernel();
                    Some((table.architecture()?, table as &dyn Symbols))
                });
                let kvm = Kvm::of_dump(memory, kernel)?;
                let opened = Opened { kvm, names: files.map_or(Names::Nobody, Names::Files), kind: "image" };
                opened.compare_versions(context);
                Ok(opened)
            }
            (None, Some(host)) => {
                let names = files.map_or(Names::Running(Running(host)), Names::Files);
                let symbols: &dyn Symbols = match &names {
                    Names::Files(files) => files,
                    _ => &Running(host),
                };
                let kvm = Kvm::of_running(host, symbols, access)?;
                Ok(Opened { kvm, names, kind: super::output::host_kind(host) })
            }
            (None, None) => Err(Error::Refused("name a dump with --core".to_owned())),
        }
    }

    fn open_core(&self, context: &mut Context, core: &Path, access: Access) -> Result<DumpedMemory> {
        let volume = match access {
            Access::Read => Volume::open(core)?,
            Access::Write => Volume::open_for_writing(core)?,
        };
        let segments = self.segments.as_deref().map(read_list).transpose()?;
        let progress = Arc::new(Progress::default());
        let display = Display::start(Arc::clone(&progress), volume.length(), !context.global.quiet)?;
        let memory = DumpedMemory::open(volume, segments.as_deref(), &temporary_directory(), &progress);
        drop(display);
        let memory = memory?;
        let inspection = memory.inspection();
        if inspection.located.place == Place::Device {
            context.remark(&format!("{} is a dump device, with a dump in it", core.display()));
        }
        for damage in &inspection.damage {
            context.warn(&format!("{} is damaged: {damage}", core.display()));
        }
        Ok(memory)
    }
}

impl Opened<'_> {
    /// Who knows the kernel's symbols.
    pub fn symbols(&self) -> Result<&dyn Symbols> {
        match &self.names {
            Names::Nobody => Err(Error::Refused(
                "a dump has no symbols: name the image of its kernel with --kernel, such as /boot/kernel/kernel of that system"
                    .to_owned(),
            )),
            Names::Running(running) => Ok(running),
            Names::Files(files) => Ok(files),
        }
    }

    /// The symbol that covers an address, where that can be told.
    pub fn covering(&self, address: u64) -> Option<Found<'_>> {
        match &self.names {
            Names::Files(files) => files.covering(address),
            _ => None,
        }
    }

    /// An address as symbol and offset, `name+0x10`, where there is one.
    pub fn name_of(&self, address: u64) -> Option<String> {
        let entry = self.covering(address)?.entry;
        Some(match address - entry.symbol.address {
            0 => entry.name.to_owned(),
            offset => format!("{}+{offset:#x}", entry.name),
        })
    }

    /// A place in the kernel: its address, and bytes of the symbol from there on, where they are known.
    pub fn place(&self, text: &str) -> Result<(u64, Option<u64>)> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let address = parse_address(text).map_err(|error| Error::Refused(error.to_string()))?;
            return Ok((address, None));
        }
        let (name, offset) = match text.split_once('+') {
            Some((name, offset)) => (name, parse_size(offset).map_err(|error| Error::Refused(error.to_string()))?),
            None => (text, 0),
        };
        let symbols = self.symbols()?;
        let symbol = symbols
            .find(name)?
            .ok_or_else(|| Error::Refused(format!("{} has no symbol '{name}'", symbols.source())))?;
        let address = symbol.address.checked_add(offset);
        let address = address.ok_or_else(|| Error::Refused(format!("{text} is beyond all addresses")))?;
        Ok((address, symbol.size.checked_sub(offset).filter(|left| *left > 0)))
    }

    /// Warns if the dump's kernel says that it is another one than its symbols are of.
    fn compare_versions(&self, context: &mut Context) {
        let Names::Files(files) = &self.names else { return };
        let (Some(expected), Ok(Some(symbol))) = (files.kernel().version(), files.find("version")) else { return };
        let found = self.kvm.string(symbol.address, expected.len().saturating_add(1));
        match found {
            Ok(found) if found == expected.as_bytes() => {}
            Ok(_) => context.warn(&format!(
                "{} is not the kernel of this dump: its version does not stand at {}; symbols will be wrong",
                files.source(),
                Hex(symbol.address)
            )),
            Err(fault) => {
                context.warn(&format!("{} cannot be compared with the kernel of this dump: {fault}", files.source()))
            }
        }
    }
}
