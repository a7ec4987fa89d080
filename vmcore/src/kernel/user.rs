//! The memory of a process, by the addresses that it uses itself: through its own page tables, as the kernel's
//! `vmspace_iop()` reads it. A dump has it only if it was dumped; most have the kernel's memory alone.
//!
//! Sources: `struct pmap` in each architecture's `machine/pmap.h`, and `pmap_pinit()`.

use super::space::{AddressSpace, PageTables};
use super::{KernelMemory, Object, TypedMemory, read_pieces};
use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::fault::{Fault, Why};
use crate::pmap::Format;
use crate::pmap::amd64::PG_FRAME;

/// riscv's `satp`: the page number of the root, and how many levels there are (`machine/riscvreg.h`).
const SATP_PAGE: u64 = 0xfff_ffff_ffff;
const SATP_MODE_SHIFT: u32 = 60;
const SATP_SV39: u64 = 8;
const SATP_SV48: u64 = 9;

/// The memory of a process.
pub struct UserMemory<'a> {
    memory: &'a KernelMemory,
    format: Format,
    space: AddressSpace,
}

impl<'a> UserMemory<'a> {
    /// That of a `struct proc`.
    ///
    /// # Errors
    ///
    /// It has no address space (it is a kernel process or has exited), its page tables are not known, or they are those of an
    /// architecture for which this is not supported: powerpc64.
    pub fn new(process: &Object<'a>) -> Result<Self> {
        let vmspace = process.member("p_vmspace")?.follow()?;
        let vmspace = vmspace.ok_or_else(|| Error::Unsupported("the process has no address space".to_owned()))?;
        Self::from_pmap(&vmspace.member("vm_pmap")?)
    }

    /// That of a `struct pmap` (pmap(9)).
    ///
    /// # Errors
    ///
    /// Those of [`Self::new`].
    pub fn from_pmap(pmap: &Object<'a>) -> Result<Self> {
        let memory = pmap.typed().memory;
        let (format, root) = user_tables(pmap)?;
        let tables = PageTables::from_root(format, root, 0);
        let space = AddressSpace { order: memory.order(), ..AddressSpace::from_tables(tables) };
        Ok(Self { memory, format, space })
    }

    /// Where the byte at an address is in physical memory, and how many bytes follow it there.
    fn place(&self, address: u64) -> Result<(u64, u64), Fault> {
        let not_covered = Fault::new(address, Why::NotCovered);
        let canonical = self.format.user_address(address).ok_or(not_covered)?;
        let found = self.space.follow(&self.memory.physical.tables(), canonical, |_| {});
        let found = found.map_err(|fault| Fault { address, ..fault })?;
        Ok((found.physical, found.remaining))
    }

    /// Fills the buffer from an address on, across pages.
    ///
    /// # Errors
    ///
    /// The first address that cannot be read, and why: its page was swapped out, was never touched or is not in the dump.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let read = |at, physical, part: &mut [u8]| self.memory.physical.read_some(at, physical, part);
        read_pieces(address, buffer, |at| self.place(at), read)
    }

    /// The bytes of a C string at an address, without the NUL; at most so many.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], where it comes before the NUL.
    pub fn string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Fault> {
        super::string(address, limit, |at, part| self.read(at, part))
    }
}

/// The format of the page tables of a process's `struct pmap`, and the physical address of the first one.
///
/// # Errors
///
/// They are not known, or are those of an architecture for which this is not supported: powerpc64.
pub(crate) fn user_tables(pmap: &Object<'_>) -> Result<(Format, u64)> {
    let typed = pmap.typed();
    let memory = typed.memory;
    let no_tables = || Error::Unsupported("the page tables of processes are not known in this dump".to_owned());
    let format = match memory.architecture() {
        Architecture::Amd64 => amd64_format(typed)?,
        _ => memory.table_format().ok_or_else(no_tables)?,
    };
    let value = |member: &str| pmap.member(member)?.unsigned();
    let mapped = |member: &str| Ok::<_, Error>(memory.translate(value(member)?)?.physical);
    let root = match memory.architecture() {
        // Its lowest bits are for the TLB; all bits are set where there is none (PMAP_NO_CR3).
        Architecture::Amd64 => value("pm_cr3").map(|cr3| cr3 & PG_FRAME)?,
        Architecture::Arm64 => value("pm_l0_paddr")?,
        Architecture::Riscv => {
            let Ok(satp) = value("pm_satp") else { return Ok((format, mapped("pm_top")?)) };
            let format = match satp >> SATP_MODE_SHIFT {
                SATP_SV39 => Format::Sv39,
                SATP_SV48 => Format::Sv48,
                _ => return Err(no_tables()),
            };
            return Ok((format, (satp & SATP_PAGE).saturating_mul(format.page_size())));
        }
        Architecture::I386 if format == Format::I386Pae => mapped("pm_pdpt_pae")?,
        Architecture::I386 => mapped("pm_pdir_nopae")?,
        Architecture::Arm => mapped("pm_pt1")?,
        Architecture::Powerpc64 => return Err(no_tables()),
    };
    Ok((format, root))
}

/// amd64: a minidump does not tell how many levels a process's tables have; kernels that can have five say whether they do.
fn amd64_format(typed: TypedMemory<'_>) -> Result<Format> {
    let symbol = typed.symbols.find("la57")?;
    let is_five = symbol.map(|symbol| typed.memory.u32(symbol.address)).transpose()?.is_some_and(|value| value != 0);
    Ok(if is_five { Format::Amd64La57 } else { Format::Amd64 })
}
