//! The registers of processors in the notes of core files and dumps: QEMU's (`target/i386/arch_dump.c`) and VirtualBox's
//! (`include/VBox/vmm/dbgfcorefmt.h`).

use super::fields::Fields;
use super::processor::Processor;
use crate::architecture::Endianness;
use crate::bounds::saturating_usize;
use crate::units::Hex;
use serde::Serialize;

/// The machine that wrote a core file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CoreWriter {
    /// QEMU.
    Qemu,
    /// VirtualBox.
    VirtualBox,
}

impl CoreWriter {
    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qemu => "QEMU",
            Self::VirtualBox => "VirtualBox",
        }
    }
}

/// Where `struct QEMUCPUState` has its registers.
const QEMU_CR: usize = 392;
/// Where `DBGFCORECPU` has its control registers, and EFER.
const VBOX_CR: usize = 288;
const VBOX_EFER: usize = 488;

/// The processors that notes tell of, and who wrote them. More are not taken than notes there are.
pub(in crate::dump) fn processors(notes: &[u8], order: Endianness) -> (Option<CoreWriter>, Vec<Processor>) {
    let mut writer = None;
    let mut processors = Vec::new();
    let mut rest = notes;
    while let Some((name, kind, description)) = next(&mut rest, order) {
        let fields = Fields { bytes: description, order };
        let hex = |at: usize| fields.u64(at).map(Hex);
        match name {
            b"QEMU" if kind == 0 => {
                writer = Some(CoreWriter::Qemu);
                let (cr0, cr3, cr4) = (hex(QEMU_CR), hex(QEMU_CR + 24), hex(QEMU_CR + 32));
                if fields.u32(0) == Some(1) {
                    processors.push(Processor { cr0, cr3, cr4, efer: None });
                }
            }
            b"VBCORE" => writer = Some(CoreWriter::VirtualBox),
            b"VBCPU" => {
                writer = Some(CoreWriter::VirtualBox);
                let (cr0, cr3, cr4) = (hex(VBOX_CR), hex(VBOX_CR + 16), hex(VBOX_CR + 24));
                processors.push(Processor { cr0, cr3, cr4, efer: hex(VBOX_EFER) });
            }
            _ => {}
        }
    }
    (writer, processors)
}

/// The next note: its name without the NUL, its type and its description.
pub(super) fn next<'a>(rest: &mut &'a [u8], order: Endianness) -> Option<(&'a [u8], u32, &'a [u8])> {
    let fields = Fields { bytes: rest, order };
    let (name, size, kind) = (fields.u32(0)?, fields.u32(4)?, fields.u32(8)?);
    let (name, size) = (saturating_usize(name), saturating_usize(size));
    let behind = rest.get(12..)?;
    let text = behind.get(..name)?;
    let description = behind.get(name.checked_next_multiple_of(4)?..)?;
    let end = size.checked_next_multiple_of(4)?.min(description.len());
    *rest = description.get(end..)?;
    Some((text.strip_suffix(b"\0").unwrap_or(text), kind, description.get(..size)?))
}
