//! The firmware's maps of physical memory that the loader handed to the kernel, as the sysctls `machdep.smap` and
//! `machdep.efi_map` tell of a running system.
//!
//! They are among the loader's records of the files it has loaded: each has a type and a size, of 32 bits, so many bytes,
//! and room up to a multiple of the size of a long (`sys/kern/subr_module.c`, `sys/sys/linker.h`,
//! `sys/*/include/metadata.h`).

use crate::architecture::Architecture;
use crate::bounds::{saturating_u64, saturating_usize};
use crate::error::{Error, Result};
use crate::kernel::{KernelMemory, TypedMemory};
use crate::units::Hex;

/// What a record describes: something other than a name, address or size (`MODINFO_METADATA`).
const METADATA: u32 = 0x8000;
/// More records than a loader makes: about 20 for each file.
const MAX_RECORDS: usize = 1 << 16;
/// Bytes of a larger map than any firmware's.
const MAX_MAP: u32 = 1 << 20;
/// Bytes of an entry of the BIOS's map (`struct bios_smap`), and of the attributes that are kept apart.
const SMAP_ENTRY: usize = 20;
const SMAP_ATTRIBUTES: usize = 4;

/// The maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FirmwareMaps {
    /// The BIOS's, in the form of `machdep.smap`; `None` where the loader had none.
    pub smap: Option<Vec<u8>>,
    /// UEFI's, in the form of `machdep.efi_map`; `None` where the loader had none.
    pub efi_map: Option<Vec<u8>>,
}

/// The types of the records.
struct Types {
    smap: Option<u32>,
    attributes: Option<u32>,
    efi_map: u32,
}

impl Types {
    /// Those of an architecture; `None` where loaders hand over neither map.
    fn of(architecture: Architecture) -> Option<Self> {
        let only_efi = |efi_map| Some(Self { smap: None, attributes: None, efi_map: METADATA | efi_map });
        match architecture {
            Architecture::Amd64 | Architecture::I386 => Some(Self {
                smap: Some(METADATA | 0x1001),
                attributes: Some(METADATA | 0x1002),
                efi_map: METADATA | 0x1004,
            }),
            Architecture::Arm64 => only_efi(0x1001),
            Architecture::Riscv => only_efi(0x1002),
            Architecture::Arm => only_efi(0x1003),
            Architecture::Powerpc64 => None,
        }
    }
}

impl FirmwareMaps {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel does not have the loader's records, or they cannot be read or make no sense.
    pub fn read(typed: TypedMemory<'_>) -> Result<Self> {
        let memory = typed.memory;
        let records = typed.variable("preload_metadata")?.unsigned()?;
        let (Some(types), true) = (Types::of(memory.architecture()), records != 0) else {
            return Ok(Self::default());
        };
        let (mut maps, mut attributes) = (Self::default(), None);
        let mut at = records;
        for _ in 0..MAX_RECORDS {
            let (kind, size) = (memory.u32(at)?, memory.u32(at.saturating_add(4))?);
            if (kind, size) == (0, 0) {
                return Ok(maps.with_attributes(attributes.as_deref()));
            }
            let contents = at.saturating_add(8);
            if kind == types.efi_map && maps.efi_map.is_none() {
                maps.efi_map = Some(bytes(memory, contents, size)?);
            } else if Some(kind) == types.smap && maps.smap.is_none() {
                maps.smap = Some(bytes(memory, contents, size)?);
            } else if Some(kind) == types.attributes && attributes.is_none() {
                attributes = Some(bytes(memory, contents, size)?);
            }
            let taken = (8 + u64::from(size)).next_multiple_of(saturating_u64(memory.word_size()));
            at = at.saturating_add(taken);
        }
        Err(Error::Format(format!("the loader's records at {} have no end", Hex(records))))
    }

    /// Puts the attributes of each entry of the BIOS's map behind it, as the sysctl has them.
    fn with_attributes(self, attributes: Option<&[u8]>) -> Self {
        let mut attributes = attributes.unwrap_or_default().chunks_exact(SMAP_ATTRIBUTES);
        let join = |smap: Vec<u8>| {
            let entries = smap.chunks_exact(SMAP_ENTRY);
            entries.flat_map(|entry| [entry, attributes.next().unwrap_or(&[0; SMAP_ATTRIBUTES])].concat()).collect()
        };
        Self { smap: self.smap.map(join), ..self }
    }
}

fn bytes(memory: &KernelMemory, address: u64, size: u32) -> Result<Vec<u8>> {
    if size > MAX_MAP {
        return Err(Error::Format(format!("the firmware's map at {} has {size} bytes", Hex(address))));
    }
    let mut bytes = vec![0; saturating_usize(size)];
    memory.read(address, &mut bytes)?;
    Ok(bytes)
}
