//! Devices and files that the kernel swaps to, as swapinfo(8) shows them.
//!
//! Sources: those of [`SwapDevice`], `usr.sbin/pstat/pstat.c`.

use super::reader::Reader;
use crate::error::Result;
use crate::kernel::{MAX_SWAP_DEVICES, Object, SwapDevice, TypedMemory};
use crate::units::Hex;

/// What the kernel swaps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapDevices {
    /// The devices, in the order of the kernel's list.
    pub devices: Vec<SwapDevice>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

impl SwapDevices {
    /// Reads them: as many as can be read, while [`TypedMemory::swap_devices`] wants all.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the list, or its head cannot be read.
    pub fn read(typed: TypedMemory<'_>) -> Result<Self> {
        let (head, reserved) = (typed.variable("swtailq")?, typed.reserved_swap()?);
        let mut reader = Reader::new(typed);
        let found = reader.list(&"the list of swap devices", &head, "sw_list", MAX_SWAP_DEVICES)?;
        let devices = found.iter().filter_map(|device| read_device(&mut reader, device, reserved)).collect();
        Ok(Self { devices, warnings: reader.into_warnings() })
    }
}

fn read_device(reader: &mut Reader<'_>, device: &Object<'_>, reserved: u64) -> Option<SwapDevice> {
    let what = || format!("the swap device at {}", Hex(device.address()));
    reader.keep(|| format!("the name of {}", what()), SwapDevice::read_name(device));
    reader.keep(what, SwapDevice::read(device, reserved))
}
