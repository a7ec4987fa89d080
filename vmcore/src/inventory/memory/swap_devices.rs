//! Devices and files that the kernel swaps to, as swapinfo(8) shows them.
//!
//! Sources: those of [`SwapDevice`], `usr.sbin/pstat/pstat.c`.

use crate::error::Result;
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::{MAX_SWAP_DEVICES, Object, SwapDevice};
use crate::table::{Table, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::{Serialize, Serializer};

/// What the kernel swaps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapDevices {
    /// The devices, in the order of the kernel's list.
    pub devices: Vec<SwapDevice>,
    /// Bytes of a page.
    pub page_size: u64,
    /// What could not be read.
    pub warnings: Vec<String>,
}

impl SwapDevices {
    /// Reads them: as many as can be read, while [`crate::kernel::TypedMemory::swap_devices`] wants all.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the list, or its head cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let (head, reserved) = (typed.variable("swtailq")?, typed.reserved_swap()?);
        let mut reader = Reader::new(typed);
        let found = reader.list(&"the list of swap devices", &head, "sw_list", MAX_SWAP_DEVICES)?;
        let devices: Vec<_> = found.iter().filter_map(|device| read_device(&mut reader, device, reserved)).collect();
        for device in devices.iter().filter(|device| device.used > device.size) {
            let SwapDevice { used, size, .. } = device;
            reader.warn(|| format!("a swap device has {used} pages in use, more than the {size} that it has"));
        }
        Ok(Self { devices, page_size: typed.memory.page_size(), warnings: reader.into_warnings() })
    }

    /// Its sizes are in blocks of 1024 bytes.
    fn numbers(&self, name: String, size: u64, used: u64) -> Vec<String> {
        let blocks = |pages: u64| (pages.saturating_mul(self.page_size) / 1024).to_string();
        let percent = u128::from(used) * 100 / u128::from(size.max(1));
        vec![name, blocks(size), blocks(used), blocks(size.saturating_sub(used)), format!("{percent}%")]
    }
}

impl Topic for SwapDevices {
    /// A row for each device, and of more than one their sum.
    fn tables(&self) -> Vec<Table> {
        let columns = [left("Device"), right("1K-blocks"), right("Used"), right("Avail"), right("Capacity")];
        let row = |device: &SwapDevice| self.numbers(name_cell(path(device).as_ref()), device.size, device.used);
        let mut rows: Vec<_> = self.devices.iter().map(row).collect();
        if self.devices.len() > 1 {
            let sum = |of: fn(&SwapDevice) -> u64| self.devices.iter().map(of).fold(0, u64::saturating_add);
            rows.push(self.numbers("Total".to_owned(), sum(|device| device.size), sum(|device| device.used)));
        }
        vec![Table::new(columns, rows)]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// A device in JSON; sizes are in bytes.
#[derive(Serialize)]
struct DeviceDocument {
    path: Option<Name>,
    size: u64,
    bytes_used: u64,
}

impl Serialize for SwapDevices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.devices.iter().map(|device| DeviceDocument {
            path: path(device),
            size: device.size.saturating_mul(self.page_size),
            bytes_used: device.used.saturating_mul(self.page_size),
        }))
    }
}

fn path(device: &SwapDevice) -> Option<Name> {
    device.name.as_deref().map(|name| Name::from([b"/dev/", name].concat().as_slice()))
}

fn read_device(reader: &mut Reader<'_>, device: &Object<'_>, reserved: u64) -> Option<SwapDevice> {
    let what = || format!("the swap device at {}", Hex(device.address()));
    reader.keep(|| format!("the name of {}", what()), SwapDevice::read_name(device));
    reader.keep(what, SwapDevice::read(device, reserved))
}
