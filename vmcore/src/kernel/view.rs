//! A machine's memory by physical address, with what is known of its kernel.

use super::PhysicalMemory;
use super::names::KernelNames;
use crate::architecture::{Architecture, Endianness};
use crate::dump::{Content, DumpedMemory};
use crate::error::Result;
use crate::symbols::{KernelSymbols, Table};
use crate::system::System;

/// A machine's memory by physical address, for which neither page tables nor symbols are needed.
pub struct PhysicalView {
    /// The memory.
    pub memory: PhysicalMemory,
    /// Whose machine it is, where that is known.
    pub architecture: Option<Architecture>,
    /// The order of bytes in integers; that of most machines where nothing tells.
    pub order: Endianness,
    /// Names of virtual addresses, such as pointers hold.
    pub names: KernelNames,
}

impl PhysicalView {
    /// The memory in a dump; the image of its kernel, if there is one, tells names of addresses, and the architecture
    /// where the dump does not.
    ///
    /// # Errors
    ///
    /// The dump has virtual addresses only.
    pub fn from_dump(memory: DumpedMemory, image: Option<Table>) -> Result<Self> {
        let relocation = memory.minidump().and_then(|facts| facts.header.relocation());
        let (architecture, order) = match &memory.inspection().content {
            Content::Minidump(facts) => (Some(facts.header.architecture), facts.header.order),
            Content::Elf(facts) => (facts.architecture(), facts.byte_order),
            Content::Image(facts) if facts.architecture.is_some() => (facts.architecture, Endianness::Little),
            _ => (image.as_ref().and_then(Table::architecture), Endianness::Little),
        };
        let names = match image {
            Some(table) => KernelNames::Files(KernelSymbols::new(table).relocate(relocation.into_iter().collect())),
            None => KernelNames::Unknown,
        };
        Ok(Self { memory: PhysicalMemory::from_dump(memory)?, architecture, order, names })
    }

    /// The memory of a system that runs.
    pub fn from_running(memory: PhysicalMemory, system: &System, names: KernelNames) -> Self {
        let architecture = Architecture::from_machine_arch(&system.machine_arch);
        Self { memory, architecture, order: Endianness::from_machine_arch(&system.machine_arch), names }
    }
}
