//! Devices and files that the kernel swaps to (`kvm_getswapinfo`), by its own list.
//!
//! Sources: `sys/vm/swap_pager.h`, `sys/vm/swap_pager.c`, `lib/libkvm/kvm_getswapinfo.c`.

use super::{Object, TypedMemory};
use crate::error::Result;

/// More swap devices than are plausible.
pub(crate) const MAX_SWAP_DEVICES: usize = 1 << 12;

/// Something that the kernel swaps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapDevice {
    /// The device's name in devfs(4), without the directory; `None` of a file, as on NFS, and where it cannot be read.
    pub name: Option<Vec<u8>>,
    /// Pages of it.
    pub size: u64,
    /// Pages that can be swapped to it: fewer by `vm.dmmax` than swapinfo(8) shows.
    pub total: u64,
    /// Pages that are swapped to it.
    pub used: u64,
    /// `SW_UNMAPPED` 1, `SW_CLOSING` 4.
    pub flags: u64,
}

impl TypedMemory<'_> {
    /// What the kernel swaps to, in the order of its list (`swtailq`).
    ///
    /// # Errors
    ///
    /// The list cannot be read, or leads back to itself.
    pub fn swap_devices(self) -> Result<Vec<SwapDevice>> {
        let reserved = self.reserved_swap()?;
        let first = self.variable("swtailq")?.member("tqh_first")?;
        first
            .chain("sw_list.tqe_next", MAX_SWAP_DEVICES)?
            .iter()
            .map(|device| SwapDevice::read(device, reserved))
            .collect()
    }

    /// Pages of each device that `kvm_getswapinfo` does not count. The variable has another name in newer kernels.
    pub(crate) fn reserved_swap(self) -> Result<u64> {
        let variable = if self.symbols.find("dmmax")?.is_some() { "dmmax" } else { "nsw_cluster_max" };
        self.variable(variable)?.unsigned()
    }
}

impl SwapDevice {
    /// Reads a `struct swdevt`, of which so many pages are not for use.
    pub(crate) fn read(device: &Object<'_>, reserved: u64) -> Result<Self> {
        let device = device.fetched()?;
        let number = |name: &str| device.member(name)?.unsigned();
        let size = number("sw_nblks")?;
        Ok(Self {
            name: Self::read_name(&device).ok().flatten(),
            size,
            total: size.saturating_sub(reserved),
            used: number("sw_used")?,
            flags: number("sw_flags")?,
        })
    }

    /// The name of the character device that a `struct swdevt` is of; `None` of a file.
    pub(crate) fn read_name(device: &Object<'_>) -> Result<Option<Vec<u8>>> {
        // NODEV, all bits set, is that of a file.
        if device.member("sw_dev")?.bytes()?.iter().all(|byte| *byte == u8::MAX) {
            return Ok(None);
        }
        let vnode = device.member("sw_vp")?.dereference()?;
        vnode.member("v_rdev")?.dereference()?.member("si_name")?.text().map(Some)
    }
}
