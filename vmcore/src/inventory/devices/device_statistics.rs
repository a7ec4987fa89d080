//! What was read from and written to each device, and what is under way to it: devstat(9), as `iostat -Ix` shows it.
//!
//! Sources: `struct devstat` and its flags in `sys/sys/devicestat.h`, `device_statq` in `sys/kern/subr_devstat.c`,
//! `devstat_compute_statistics()` in `lib/libdevstat/devstat.c`, `usr.sbin/iostat/iostat.c`.

use crate::bounds::low_u32;
use crate::error::Result;
use crate::inventory::fields::{Fields, read_bintime, seconds};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

/// More devices than any kernel has statistics of.
const MAX_DEVICES: usize = 1 << 17;
/// Statistics of devices.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct DeviceStatistics {
    /// The devices, in the kernel's order: disks before others.
    pub devices: Vec<DeviceStatistic>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// Statistics of a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceStatistic {
    /// Where its `struct devstat` is.
    pub address: Hex,
    /// Its driver's name.
    pub name: Option<Name>,
    /// Its number among the devices of the driver.
    pub unit: Option<i64>,
    /// Requests that were begun and are not done.
    #[serde(rename = "outstanding_count")]
    pub outstanding: Option<u32>,
    /// What was read.
    pub read: Transfers,
    /// What was written.
    pub write: Transfers,
    /// What was freed (`BIO_DELETE`).
    pub free: Transfers,
    /// Requests without data.
    pub no_data: Transfers,
    /// How long there were requests that were not done.
    #[serde(rename = "busy_seconds", serialize_with = "seconds")]
    pub busy: Option<Duration>,
    /// From when on it is busy and that is not in its busy time, since the kernel started: where there are requests that are
    /// not done.
    #[serde(rename = "busy_from_since_boot_seconds", serialize_with = "seconds")]
    pub busy_from: Option<Duration>,
    /// Since when there are statistics of it, since the kernel started.
    #[serde(rename = "created_since_boot_seconds", serialize_with = "seconds")]
    pub created: Option<Duration>,
    /// Bytes of a block; 0 if that is not known.
    pub block_size: Option<u64>,
}

/// Requests of a kind that are done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transfers {
    /// How many.
    #[serde(rename = "request_count")]
    pub requests: Option<u64>,
    /// Bytes.
    #[serde(rename = "bytes_transferred")]
    pub bytes: Option<u64>,
    /// How long they took, added.
    #[serde(rename = "duration_seconds", serialize_with = "seconds")]
    pub duration: Option<Duration>,
}

impl DeviceStatistics {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the list, or its head cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let mut reader = Reader::new(source.typed);
        let found = list(&mut reader)?;
        let devices = found.iter().map(|device| read_device(&mut reader, device)).collect();
        Ok(Self { devices, warnings: reader.into_warnings() })
    }
}

impl DeviceStatistics {
    /// Requests that are not done of each provider of GEOM's that has statistics as a device, by its address.
    pub(super) fn outstanding<'a>(reader: &mut Reader<'a>) -> HashMap<u64, u32> {
        let found = list(reader);
        let found = reader.keep(|| "the statistics of devices".to_owned(), found).unwrap_or_default();
        let outstanding = |device: &Object<'a>| {
            let mut fields = Fields::new(reader, "devstat", device);
            Some((fields.pointer("id")?.0, not_done(&mut fields)?))
        };
        found.iter().filter_map(outstanding).collect()
    }
}

fn list<'a>(reader: &mut Reader<'a>) -> Result<Vec<Object<'a>>> {
    let head = reader.typed.variable("device_statq")?;
    reader.list(&"the list of statistics of devices", &head, "dev_links", MAX_DEVICES)
}

impl Topic for DeviceStatistics {
    fn tables(&self) -> Vec<Table> {
        let numbers = ["r/i", "w/i", "kr/i", "kw/i", "qlen", "tsvc_t/i", "sb/i"].map(right);
        let columns: Vec<_> = [left("device")].into_iter().chain(numbers).collect();
        vec![Table::new(columns, self.devices.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Kibibytes with a decimal, and seconds with one, as iostat(8) prints them.
fn row(device: &DeviceStatistic) -> Vec<String> {
    let kibibytes = |of: &Transfers| of.bytes.map(|bytes| tenths(u128::from(bytes), 1024));
    let seconds = |time: Option<Duration>| time.map(|time| tenths(time.as_nanos(), 1_000_000_000));
    let kinds = [&device.read, &device.write, &device.free, &device.no_data];
    let took = kinds.iter().try_fold(Duration::ZERO, |sum, of| sum.checked_add(of.duration?));
    vec![
        format!("{}{}", name_cell(device.name.as_ref()), cell(device.unit)),
        cell(device.read.requests),
        cell(device.write.requests),
        cell(kibibytes(&device.read)),
        cell(kibibytes(&device.write)),
        cell(device.outstanding),
        cell(seconds(took)),
        cell(seconds(device.busy)),
    ]
}

/// A quotient with a decimal, rounded.
fn tenths(dividend: u128, divisor: u128) -> String {
    let tenths = (dividend.saturating_mul(10).saturating_add(divisor / 2)) / divisor;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Requests that were begun and are not done: both are counted modulo 2^32.
pub(super) fn not_done(statistics: &mut Fields<'_, '_>) -> Option<u32> {
    let (started, ended) = statistics.number("start_count").zip(statistics.number("end_count"))?;
    Some(low_u32(started.wrapping_sub(ended)))
}

fn read_device<'a>(reader: &mut Reader<'a>, device: &Object<'a>) -> DeviceStatistic {
    let mut fields = Fields::new(reader, "devstat", device);
    let outstanding = not_done(&mut fields);
    let is_busy = outstanding.is_some_and(|count| count != 0);
    let [no_data, read, write, free] = [0, 1, 2, 3].map(|kind| read_transfers(&mut fields, kind));
    DeviceStatistic {
        address: Hex(device.address()),
        name: fields.text("device_name"),
        unit: fields.signed("unit_number"),
        outstanding,
        read,
        write,
        free,
        no_data,
        busy: fields.duration("busy_time"),
        busy_from: fields.duration("busy_from").filter(|_| is_busy),
        created: fields.duration("creation_time"),
        block_size: fields.number("block_size"),
    }
}

/// Requests of a kind: `DEVSTAT_NO_DATA`, `DEVSTAT_READ`, `DEVSTAT_WRITE` or `DEVSTAT_FREE`.
fn read_transfers(fields: &mut Fields<'_, '_>, kind: u64) -> Transfers {
    let [requests, bytes] = ["operations", "bytes"].map(|member| {
        let read = fields.element(member, kind).and_then(|number| number.unsigned());
        fields.keep(member, read)
    });
    let duration = fields.element("duration", kind).and_then(|time| read_bintime(&time));
    Transfers { requests, bytes, duration: fields.keep("duration", duration) }
}
