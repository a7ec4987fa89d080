//! The tree of devices and their drivers (newbus), with the resources that they have allocated, as devinfo(8) shows them.
//!
//! Sources: `struct _device` in `sys/kern/subr_bus.c`, `device_state_t` and `DF_ENABLED` in `sys/sys/bus.h`, `struct rman` in
//! `sys/sys/rman.h`, `sysctl_rman()` in `sys/kern/subr_rman.c`, `usr.sbin/devinfo/devinfo.c`.

use super::firmware::{BusInfo, Buses, Driver};
use crate::error::{Error, Result};
use crate::inventory::fields::Fields;
use crate::inventory::reader::{MAX_NAME, Reader};
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// More devices than any machine has.
const MAX_DEVICES: usize = 1 << 17;
/// More resource managers than any kernel has.
const MAX_MANAGERS: usize = 1 << 12;
/// More resources than all devices have allocated.
const MAX_RESOURCES: usize = 1 << 18;
/// `DF_ENABLED`: the device is probed and attached.
const ENABLED: u64 = 0x01;
/// `DF_SUSPENDED`.
const SUSPENDED: u64 = 0x100;
/// The state of devices that have a driver which works (`DS_ATTACHED`).
const ATTACHED: &str = "DS_ATTACHED";

/// The devices, each behind its parent and before its parent's next child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DeviceTree {
    /// The devices; not the root of the tree, which is none.
    pub devices: Vec<Device>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Where its `struct _device` is.
    pub address: Hex,
    /// How many devices it is below of.
    pub depth: usize,
    /// Its driver's name with its unit, such as `em0`; `None` of a device that no driver has taken.
    pub name: Option<Name>,
    /// What its driver calls it.
    pub description: Option<Name>,
    /// The name of its driver.
    pub driver: Option<Name>,
    /// The number of it among the devices of its class; -1 without a class.
    pub unit: Option<i64>,
    /// How far it was attached, by the kernel's name: `DS_NOTPRESENT`, `DS_ALIVE`, `DS_ATTACHING`, `DS_ATTACHED`.
    pub state: Option<String>,
    /// How often it is in use (`device_busy()`); those that it is above of count.
    #[serde(rename = "busy_count")]
    pub busy: Option<u64>,
    /// Whether it may be attached.
    pub is_enabled: Option<bool>,
    /// Whether it is suspended.
    pub is_suspended: Option<bool>,
    /// Where its driver has its variables (`softc`); `None` where there are none.
    pub softc: Option<Hex>,
    /// By what drivers recognize it; only of devices on PCI.
    pub pnpinfo: Option<String>,
    /// Where it is on its bus; of devices on PCI and of those of ACPI.
    pub location: Option<String>,
    /// Where it is, in short: its address on PCI, or its name in ACPI.
    #[serde(skip)]
    pub place: Option<String>,
    /// What it has allocated.
    pub resources: Vec<Resource>,
}

/// What a device has allocated of what a resource manager gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// What the resource manager gives: `I/O ports`, `Interrupt request lines`.
    #[serde(rename = "resource")]
    pub kind: Option<Name>,
    /// The first address, port or number.
    pub first: Hex,
    /// The last one.
    pub last: Hex,
    /// Whether devinfo(8) shows them in hexadecimal: there are many of them.
    #[serde(skip)]
    pub is_hexadecimal: bool,
}

impl DeviceTree {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the tree, or its root cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let root = typed.variable("root_bus")?.follow()?;
        let root = root.ok_or_else(|| Error::Format("root_bus is null: the kernel has no devices".to_owned()))?;
        let mut tree = TreeReader {
            reader: Reader::new(typed),
            buses: Buses::new(typed),
            resources: HashMap::new(),
            seen: HashSet::new(),
            devices: Vec::new(),
        };
        tree.read_resources();
        tree.read_below(&root)?;
        Ok(Self { devices: tree.devices, warnings: tree.reader.into_warnings() })
    }
}

impl Topic for DeviceTree {
    fn tables(&self) -> Vec<Table> {
        let devices = [left("Device"), left("At"), left("Description")];
        let resources = [left("Device"), left("Resource"), left("Range")];
        let rows = self.devices.iter().flat_map(resource_rows).collect();
        vec![
            Table::new(devices, self.devices.iter().map(row).collect()).captioned("Devices"),
            Table::new(resources, rows).captioned("Resources"),
        ]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Device {
    /// What devinfo(8) calls it.
    fn shown_name(&self) -> String {
        self.name.as_ref().map_or_else(|| "unknown".to_owned(), |name| name_cell(Some(name)))
    }

    /// What is not as it should be; a device without a driver cannot be attached.
    fn remark(&self) -> Option<String> {
        if self.is_enabled == Some(false) {
            return Some("disabled".to_owned());
        }
        if self.is_suspended == Some(true) {
            return Some("suspended".to_owned());
        }
        let state = self.state.as_deref().filter(|state| *state != ATTACHED && self.name.is_some())?;
        Some(state.strip_prefix("DS_").unwrap_or(state).to_lowercase())
    }
}

fn row(device: &Device) -> Vec<String> {
    let remark = device.remark().map(|remark| format!(" ({remark})"));
    let name = format!("{:indent$}{}", "", device.shown_name(), indent = 2 * device.depth.min(20));
    let name = [name].into_iter().chain(remark).collect();
    vec![name, cell(device.place.as_ref()), name_cell(device.description.as_ref())]
}

fn resource_rows(device: &Device) -> impl Iterator<Item = Vec<String>> {
    let row = |resource: &Resource| vec![device.shown_name(), name_cell(resource.kind.as_ref()), range(resource)];
    device.resources.iter().map(row)
}

fn range(resource: &Resource) -> String {
    let (start, end) = (resource.first.0, resource.last.0);
    let number = |number: u64| if resource.is_hexadecimal { format!("0x{number:x}") } else { number.to_string() };
    if start == end { number(start) } else { format!("{}-{}", number(start), number(end)) }
}

/// The tree as it is being read.
struct TreeReader<'a> {
    reader: Reader<'a>,
    buses: Buses,
    /// Of each device that has some, by the address of the device.
    resources: HashMap<u64, Vec<Resource>>,
    seen: HashSet<u64>,
    devices: Vec<Device>,
}

/// A device whose children are to be read.
struct Pending<'a> {
    device: Object<'a>,
    depth: usize,
    parent: Option<Driver>,
}

impl<'a> TreeReader<'a> {
    fn read_below(&mut self, root: &Object<'a>) -> Result<()> {
        let children = root.member("children")?;
        self.seen.insert(root.address());
        let first = self.reader.list(&"the list of devices below the root", &children, "link", MAX_DEVICES)?;
        let mut pending: Vec<_> =
            first.into_iter().rev().map(|device| Pending { device, depth: 0, parent: None }).collect();
        while let Some(next) = pending.pop() {
            if self.devices.len() >= MAX_DEVICES {
                self.reader.warn(|| format!("there are more than {MAX_DEVICES} devices"));
                break;
            }
            if !self.seen.insert(next.device.address()) {
                self.reader.warn(|| format!("the device at {} is below two others", Hex(next.device.address())));
                continue;
            }
            self.read_device(next, &mut pending);
        }
        Ok(())
    }

    fn read_device(&mut self, next: Pending<'a>, pending: &mut Vec<Pending<'a>>) {
        let depth = next.depth;
        let mut fields = Fields::new(&mut self.reader, "device", &next.device);
        let driver = fields.target("driver");
        let driver = driver.and_then(|driver| fields.keep("the name of the driver", read_driver(&driver)));
        let bus = next.parent.map(|parent| self.buses.info(fields.object(), &parent));
        let bus: BusInfo = bus.and_then(|bus| fields.keep("what the bus has", bus)).unwrap_or_default();
        let flags = fields.number("flags");
        let room = MAX_DEVICES.saturating_sub(self.devices.len().saturating_add(pending.len()));
        let children = fields.list("children", "link", room);
        let device = Device {
            address: Hex(next.device.address()),
            depth,
            name: fields.name("nameunit"),
            description: fields.name("desc"),
            driver: driver.as_ref().map(|driver| Name::from(&*driver.name)),
            unit: fields.signed("unit"),
            state: fields.enumerator("state"),
            busy: fields.number("busy"),
            is_enabled: flags.map(|flags| flags & ENABLED != 0),
            is_suspended: flags.map(|flags| flags & SUSPENDED != 0),
            softc: fields.pointer("softc"),
            pnpinfo: bus.pnpinfo,
            location: bus.location,
            place: bus.place,
            resources: self.resources.remove(&next.device.address()).unwrap_or_default(),
        };
        self.devices.push(device);
        let child = |device| Pending { device, depth: depth.saturating_add(1), parent: driver.clone() };
        pending.extend(children.into_iter().rev().map(child));
    }

    /// What all devices have allocated.
    fn read_resources(&mut self) {
        let Ok(head) = self.reader.typed.variable("rman_head") else { return };
        let managers = self.reader.list(&"the list of resource managers", &head, "rm_link", MAX_MANAGERS);
        let managers = self.reader.keep(|| "the list of resource managers".to_owned(), managers);
        let mut room = MAX_RESOURCES;
        for manager in managers.into_iter().flatten() {
            room = self.read_manager(&manager, room);
        }
    }

    /// What is allocated of a resource manager: how much more may be read.
    fn read_manager(&mut self, manager: &Object<'a>, mut room: usize) -> usize {
        let mut fields = Fields::new(&mut self.reader, "resource manager", manager);
        let kind = fields.name("rm_descr");
        let bounds = fields.number("rm_start").zip(fields.number("rm_end"));
        let size = bounds.map_or(0, |(start, end)| end.wrapping_sub(start).wrapping_add(1));
        let all = fields.list("rm_list", "r_link", room);
        room = room.saturating_sub(all.len());
        for resource in &all {
            let mut fields = Fields::new(&mut self.reader, "resource", resource);
            // Those that share a resource are in a list of their own, which all of them are in.
            let Some(shared) = fields.target("r_sharehead") else {
                self.add_resource(resource, (&kind, size));
                continue;
            };
            let what = format!("the list of those that share {}", Hex(resource.address()));
            let sharing = self.reader.list(&what, &shared, "r_sharelink", room);
            let sharing = self.reader.keep(|| what, sharing).into_iter().flatten().collect::<Vec<_>>();
            room = room.saturating_sub(sharing.len());
            sharing.iter().for_each(|resource| self.add_resource(resource, (&kind, size)));
        }
        room
    }

    fn add_resource(&mut self, resource: &Object<'a>, (kind, size): (&Option<Name>, u64)) {
        let mut fields = Fields::new(&mut self.reader, "resource", resource);
        let Some(device) = fields.pointer("r_dev") else { return };
        let Some((start, end)) = fields.number("r_start").zip(fields.number("r_end")) else { return };
        let is_hexadecimal = size > 1000 || size == 0;
        let resource = Resource { kind: kind.clone(), first: Hex(start), last: Hex(end), is_hexadecimal };
        self.resources.entry(device.0).or_default().push(resource);
    }
}

fn read_driver(driver: &Object<'_>) -> Result<Driver> {
    let name = driver.member("name")?.string(MAX_NAME)?;
    Ok(Driver { address: driver.address(), name: name.into_iter().flatten().collect() })
}
