//! The registers of a machine's processors.

use crate::pmap::Format;
use crate::units::Hex;
use serde::Serialize;

/// The registers of a processor that lead to page tables, as far as the format has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Processor {
    /// x86's `CR0`.
    pub cr0: Option<Hex>,
    /// x86's `CR3`: the page tables.
    pub cr3: Option<Hex>,
    /// x86's `CR4`.
    pub cr4: Option<Hex>,
    /// x86's `EFER`.
    pub efer: Option<Hex>,
}

/// `CR0_PG`.
const PAGING: u64 = 1 << 31;
/// `CR4_PAE`.
const PAE: u64 = 1 << 5;
/// `CR4_LA57`.
const LA57: u64 = 1 << 12;
/// `EFER_LMA`.
const LONG_MODE: u64 = 1 << 10;
/// What `CR3` has of an address: not the number of the address space, nor what keeps the translations of one.
const CR3_FRAME: u64 = 0x000f_ffff_ffff_f000;

impl Processor {
    /// The page tables that an amd64 processor used: their format and root; `None` where they are not known, or where it
    /// was not in its long mode.
    pub fn amd64_root(&self) -> Option<(Format, u64)> {
        let (cr0, cr3, cr4) = (self.cr0?.0, self.cr3?.0, self.cr4?.0);
        let is_long = self.efer.is_none_or(|efer| efer.0 & LONG_MODE != 0);
        let format = if cr4 & LA57 != 0 { Format::Amd64La57 } else { Format::Amd64 };
        (is_long && cr0 & PAGING != 0 && cr4 & PAE != 0).then_some((format, cr3 & CR3_FRAME))
    }
}
