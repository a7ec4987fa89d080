//! `memtool show swapinfo`: devices that the kernel swaps to, as swapinfo(8) with `-k` shows them.

use super::{Document, Shown, left, name_cell, right};
use serde::Serialize;
use vmcore::Result;
use vmcore::kernel::{SwapDevice, TypedMemory};
use vmcore::statistics::swap_devices::SwapDevices;
use vmcore::text::Name;

/// A swap device in JSON; sizes are in bytes.
#[derive(Serialize)]
pub struct DeviceDocument {
    path: Option<Name>,
    size: u64,
    bytes_used: u64,
}

pub fn read(typed: TypedMemory<'_>) -> Result<Shown> {
    let SwapDevices { devices, warnings } = SwapDevices::read(typed)?;
    let page_size = typed.memory.page_size();
    let of = |device: &SwapDevice| DeviceDocument::new(device, page_size);
    Ok(Shown {
        headings: vec![left("Device"), right("1K-blocks"), right("Used"), right("Avail"), right("Capacity")],
        rows: rows(&devices, page_size),
        document: Document { swap_devices: Some(devices.iter().map(of).collect()), ..Document::default() },
        warnings,
    })
}

impl DeviceDocument {
    fn new(device: &SwapDevice, page_size: u64) -> Self {
        Self {
            path: device.name.as_deref().map(path),
            size: device.size.saturating_mul(page_size),
            bytes_used: device.used.saturating_mul(page_size),
        }
    }
}

fn path(name: &[u8]) -> Name {
    Name::from([b"/dev/", name].concat().as_slice())
}

/// A row for each device, and of more than one their sum.
fn rows(devices: &[SwapDevice], page_size: u64) -> Vec<Vec<String>> {
    let row = |device: &SwapDevice| {
        let name = device.name.as_deref().map(path);
        numbers(name_cell(name.as_ref()), device.size, device.used, page_size)
    };
    let mut rows: Vec<_> = devices.iter().map(row).collect();
    if devices.len() > 1 {
        let sum = |of: fn(&SwapDevice) -> u64| devices.iter().map(of).fold(0, u64::saturating_add);
        rows.push(numbers("Total".to_owned(), sum(|device| device.size), sum(|device| device.used), page_size));
    }
    rows
}

fn numbers(name: String, size: u64, used: u64, page_size: u64) -> Vec<String> {
    let blocks = |pages: u64| (pages.saturating_mul(page_size) / 1024).to_string();
    let percent = u128::from(used) * 100 / u128::from(size.max(1));
    vec![name, blocks(size), blocks(used), blocks(size.saturating_sub(used)), format!("{percent}%")]
}
