//! The buses, devices and peripheral drivers of CAM, as `camcontrol devlist` shows them, with the requests (CCBs) that wait
//! for each and how many each works on.
//!
//! Sources: `struct xpt_softc` in `sys/cam/cam_xpt.c`, `struct cam_eb`, `cam_et` and `cam_ed` in
//! `sys/cam/cam_xpt_internal.h`, `struct camq`, `cam_ccbq` and `cam_devq` in `sys/cam/cam_queue.h`, `struct cam_sim` in
//! `sys/cam/cam_sim.h`, `struct cam_periph` in `sys/cam/cam_periph.h`, `struct ccb_hdr` in `sys/cam/cam_ccb.h`,
//! `sbin/camcontrol/camcontrol.c`.

use crate::bounds::{part, saturating_usize};
use crate::error::{Error, Result};
use crate::inventory::fields::{Fields, flag_names};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;

/// More buses, targets, devices, peripherals and requests than any kernel has, together.
const MAX_PARTS: usize = 1 << 18;
/// More bytes than a serial number has: its length is in a byte.
const MAX_SERIAL: u64 = 255;
/// The number of what is all buses, targets or devices.
const WILDCARD: u64 = 0xffff_ffff;
/// Flags of a device (`CAM_DEV_UNCONFIGURED` and so on).
const DEVICE_FLAGS: [(u64, &str); 9] = [
    (UNCONFIGURED, "unconfigured"),
    (0x02, "rel-timeout-pending"),
    (0x04, "rel-on-complete"),
    (0x08, "rel-on-queue-empty"),
    (0x20, "tag-after-count"),
    (0x40, "inquiry-data-valid"),
    (0x80, "in-dv"),
    (0x100, "dv-hit-bottom"),
    (0x200, "identify-data-valid"),
];
/// `CAM_DEV_UNCONFIGURED`: nothing has been found there.
const UNCONFIGURED: u64 = 0x01;
/// Flags of a peripheral driver's instance (`CAM_PERIPH_RUNNING` and so on).
const PERIPHERAL_FLAGS: [(u64, &str); 11] = [
    (0x01, "running"),
    (0x02, "locked"),
    (0x04, "lock-wanted"),
    (0x08, "invalid"),
    (0x10, "new-dev-found"),
    (0x20, "recovery-inprog"),
    (0x40, "run-task"),
    (0x80, "free"),
    (0x100, "announced"),
    (0x200, "recovery-wait"),
    (0x400, "recovery-wait-failed"),
];

/// CAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cam {
    /// Its buses.
    pub buses: Vec<Bus>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// How much a queue has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueState {
    /// How many more requests, or devices, may be worked on at a time.
    #[serde(rename = "opening_count")]
    pub openings: Option<i64>,
    /// How many are worked on.
    #[serde(rename = "active_count")]
    pub active: Option<i64>,
    /// How many wait.
    #[serde(rename = "queued_count")]
    pub queued: Option<i64>,
    /// How often it was stopped and not started again: nothing is sent unless it is 0.
    #[serde(rename = "frozen_count")]
    pub frozen: Option<u64>,
}

/// A bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bus {
    /// Where its `struct cam_eb` is.
    pub address: Hex,
    /// Its number: that of `scbus0`; 4294967295 is that of CAM itself.
    pub path_id: Option<u64>,
    /// The name of its driver (SIM).
    pub sim: Option<Name>,
    /// The number of it among the buses of the driver.
    #[serde(rename = "sim_unit")]
    pub unit: Option<u64>,
    /// The number of it among the buses of its controller.
    pub bus_id: Option<u64>,
    /// Devices that have something to send, and requests that the controller works on; buses can share it.
    #[serde(rename = "queue_state")]
    pub queue: Option<QueueState>,
    /// Its devices.
    pub devices: Vec<Lun>,
}

/// A device: a logical unit of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lun {
    /// Where its `struct cam_ed` is.
    pub address: Hex,
    /// The number of its target.
    #[serde(rename = "target_id")]
    pub target: Option<u64>,
    /// Its own number.
    pub lun: Option<u64>,
    /// What it is spoken to in: `PROTO_SCSI`, `PROTO_ATA`.
    pub protocol: Option<String>,
    /// What it is connected by: `XPORT_SAS`, `XPORT_SATA`.
    pub transport: Option<String>,
    /// Who made it; `None` of what tells only its model.
    pub vendor: Option<Name>,
    /// Its model.
    pub product: Option<Name>,
    /// The revision of its firmware.
    pub revision: Option<Name>,
    /// Its serial number.
    pub serial_number: Option<Name>,
    /// Its flags.
    pub flags: Option<Vec<String>>,
    /// Whether something was found there.
    pub is_configured: Option<bool>,
    /// Its requests.
    #[serde(rename = "queue_state")]
    pub queue: QueueState,
    /// Drivers that use it.
    pub peripherals: Vec<Peripheral>,
    /// Requests that wait, as far as they can be read, not in their order.
    pub requests: Vec<Ccb>,
}

/// A driver that uses a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peripheral {
    /// Where its `struct cam_periph` is.
    pub address: Hex,
    /// The name of the driver: `da`, `pass`.
    pub name: Option<Name>,
    /// Its number among those of the driver.
    pub unit: Option<u64>,
    /// Its flags.
    pub flags: Option<Vec<String>>,
    /// How often it is in use.
    #[serde(rename = "reference_count")]
    pub references: Option<u64>,
    /// Requests that it has.
    #[serde(rename = "allocated_count")]
    pub allocated: Option<i64>,
    /// Where the driver has its variables of it.
    pub softc: Option<Hex>,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ccb {
    /// Where its `struct ccb_hdr` is.
    pub address: Hex,
    /// What is to be done: `XPT_SCSI_IO`.
    pub function: Option<String>,
    /// How urgent it is: a lower number goes first.
    pub priority: Option<u64>,
    /// What has become of it (`cam_status`).
    pub status: Option<Hex>,
    /// What else was asked for (`ccb_flags`).
    #[serde(rename = "ccb_flags")]
    pub flags: Option<Hex>,
    /// How often it is tried again.
    pub retry_count: Option<u64>,
    /// How long it may take, in milliseconds.
    pub timeout_ms: Option<u64>,
}

impl Cam {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// The kernel has no CAM, its types lack it, or the list of buses cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let head = typed.variable("xsoftc")?.member("xpt_busses")?;
        let mut cam = CamReader { reader: Reader::new(typed), room: MAX_PARTS };
        let found = cam.reader.list(&"the list of buses", &head, "links", MAX_PARTS)?;
        let buses = found.iter().map(|bus| cam.read_bus(bus)).collect();
        Ok(Self { buses, warnings: cam.reader.into_warnings() })
    }
}

impl Topic for Cam {
    fn tables(&self) -> Vec<Table> {
        let state = ["Open", "Active", "Queued", "Frozen"].map(right);
        let of_devices = [left("Device"), left("At"), left("Peripherals")].into_iter().chain(state);
        let of_buses = [left("Bus"), left("SIM")].into_iter().chain(state);
        let of_requests = [left("At"), left("Function"), right("Priority"), left("Status"), right("Timeout (ms)")];
        let devices = self.buses.iter().flat_map(|bus| bus.devices.iter().map(move |device| (bus, device)));
        let shown = devices.clone().filter(|(_, device)| device.is_shown());
        let requests = devices.flat_map(|(bus, device)| device.requests.iter().map(|ccb| ccb_row(bus, device, ccb)));
        vec![
            Table::new(of_devices.collect::<Vec<_>>(), shown.map(|(bus, device)| device_row(bus, device)).collect())
                .captioned("Devices"),
            Table::new(of_buses.collect::<Vec<_>>(), self.buses.iter().map(bus_row).collect()).captioned("Buses"),
            Table::new(of_requests, requests.collect()).captioned("Requests that wait"),
        ]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl QueueState {
    fn cells(&self) -> [String; 4] {
        [cell(self.openings), cell(self.active), cell(self.queued), cell(self.frozen)]
    }

    fn is_empty(&self) -> bool {
        self.active == Some(0) && self.queued == Some(0)
    }
}

impl Lun {
    /// camcontrol(8) does not show where nothing was found; what waits there is not to be overlooked.
    fn is_shown(&self) -> bool {
        self.is_configured != Some(false) || !self.queue.is_empty()
    }
}

/// A number; -1 for all of them.
fn number_cell(number: Option<u64>) -> String {
    if number == Some(WILDCARD) { "-1".to_owned() } else { cell(number) }
}

fn place(bus: &Bus, device: &Lun) -> String {
    let [bus, target, lun] = [bus.path_id, device.target, device.lun].map(number_cell);
    format!("scbus{bus} target {target} lun {lun}")
}

fn device_row(bus: &Bus, device: &Lun) -> Vec<String> {
    let texts = [&device.vendor, &device.product, &device.revision].into_iter().flatten();
    let texts: Vec<_> = texts.map(|text| name_cell(Some(text))).collect();
    let peripherals = device.peripherals.iter();
    let peripherals = peripherals.map(|of| format!("{}{}", name_cell(of.name.as_ref()), cell(of.unit)));
    let first = [format!("<{}>", texts.join(" ")), place(bus, device), peripherals.collect::<Vec<_>>().join(",")];
    first.into_iter().chain(device.queue.cells()).collect()
}

fn bus_row(bus: &Bus) -> Vec<String> {
    let sim = format!("{}{}", name_cell(bus.sim.as_ref()), cell(bus.unit));
    let state = bus.queue.as_ref().map_or_else(|| [(); 4].map(|()| "-".to_owned()), QueueState::cells);
    [format!("scbus{}", number_cell(bus.path_id)), sim].into_iter().chain(state).collect()
}

fn ccb_row(bus: &Bus, device: &Lun, ccb: &Ccb) -> Vec<String> {
    vec![
        place(bus, device),
        cell(ccb.function.as_ref()),
        cell(ccb.priority),
        cell(ccb.status.as_ref()),
        cell(ccb.timeout_ms),
    ]
}

/// CAM as it is being read.
struct CamReader<'a> {
    reader: Reader<'a>,
    /// How many more parts may be read.
    room: usize,
}

impl<'a> CamReader<'a> {
    /// The elements of a list, which are counted.
    fn list(&mut self, noun: &'static str, of: &Object<'a>, (member, link): (&str, &str)) -> Vec<Object<'a>> {
        let found = Fields::new(&mut self.reader, noun, of).list(member, link, self.room);
        self.room = self.room.saturating_sub(found.len());
        found
    }

    fn read_bus(&mut self, bus: &Object<'a>) -> Bus {
        let mut devices = Vec::new();
        for target in self.list("bus", bus, ("et_entries", "links")) {
            let number = Fields::new(&mut self.reader, "target", &target).number("target_id");
            for device in self.list("target", &target, ("ed_entries", "links")) {
                devices.push(self.read_device(number, &device));
            }
        }
        let mut fields = Fields::new(&mut self.reader, "bus", bus);
        let (path_id, sim) = (fields.number("path_id"), fields.target("sim"));
        let mut sim = sim.map(|sim| Fields::new(&mut self.reader, "SIM", &sim));
        let name = sim.as_mut().and_then(|sim| sim.name("sim_name"));
        let unit = sim.as_mut().and_then(|sim| sim.number("unit_number"));
        let bus_id = sim.as_mut().and_then(|sim| sim.number("bus_id"));
        let queue = sim.and_then(|mut sim| sim.target("devq"));
        let queue = queue.map(|queue| read_devq(&mut Fields::new(&mut self.reader, "queue", &queue)));
        Bus { address: Hex(bus.address()), path_id, sim: name, unit, bus_id, queue, devices }
    }

    fn read_device(&mut self, target: Option<u64>, device: &Object<'a>) -> Lun {
        let peripherals = self.list("device", device, ("periphs", "periph_links"));
        let peripherals = peripherals.iter().map(|of| read_peripheral(&mut self.reader, of)).collect();
        let requests = self.read_requests(device);
        let mut fields = Fields::new(&mut self.reader, "device", device);
        let (protocol, flags) = (fields.enumerator("protocol"), fields.number("flags"));
        let [vendor, product, revision] = read_model(&mut fields, protocol.as_deref());
        Lun {
            address: Hex(device.address()),
            target,
            lun: fields.number("lun_id"),
            protocol,
            transport: fields.enumerator("transport"),
            vendor,
            product,
            revision,
            serial_number: read_serial(&mut fields),
            flags: flags.map(|flags| flag_names(flags, &DEVICE_FLAGS)),
            is_configured: flags.map(|flags| flags & UNCONFIGURED == 0),
            queue: read_ccbq(&mut fields),
            peripherals,
            requests,
        }
    }

    /// Requests that wait: those in an array that is a heap, from its second element on, and those behind them in a list.
    fn read_requests(&mut self, device: &Object<'a>) -> Vec<Ccb> {
        let extra = self.list("device", device, ("ccbq.queue_extra_head", "xpt_links.tqe"));
        let mut fields = Fields::new(&mut self.reader, "device", device);
        let queued = queued(fields.object(), self.room);
        let queued = fields.keep("the requests", queued).unwrap_or_default();
        self.room = self.room.saturating_sub(queued.len());
        queued.iter().chain(&extra).map(|ccb| read_ccb(&mut self.reader, ccb)).collect()
    }
}

/// The requests in the array of a device's queue.
fn queued<'a>(device: &Object<'a>, limit: usize) -> Result<Vec<Object<'a>>> {
    let queue = device.member("ccbq.queue")?;
    let (entries, size) = (queue.member("entries")?.integer()?, queue.member("array_size")?.integer()?);
    if !(0..=size).contains(&entries) {
        return Err(Error::Format(format!("{entries} requests are in a queue of {size}")));
    }
    if saturating_usize(entries) > limit {
        return Err(Error::Format(format!("{entries} requests are more than are read")));
    }
    let (array, of) = (queue.member("queue_array")?, device.typed().structure("ccb_hdr")?);
    let numbers = (1..).take(saturating_usize(entries));
    let request = |index| Ok(device.typed().object(array.index(index)?.unsigned()?, of));
    numbers.map(request).collect()
}

fn read_devq(fields: &mut Fields<'_, '_>) -> QueueState {
    QueueState {
        openings: fields.signed("send_openings"),
        active: fields.signed("send_active"),
        queued: fields.signed("send_queue.entries"),
        frozen: fields.number("send_queue.qfrozen_cnt"),
    }
}

fn read_ccbq(fields: &mut Fields<'_, '_>) -> QueueState {
    let (queued, extra) = (fields.signed("ccbq.queue.entries"), fields.signed("ccbq.queue_extra_entries"));
    QueueState {
        openings: fields.signed("ccbq.dev_openings"),
        active: fields.signed("ccbq.dev_active"),
        queued: queued.zip(extra).and_then(|(queued, extra)| queued.checked_add(extra)),
        frozen: fields.number("ccbq.queue.qfrozen_cnt"),
    }
}

/// Vendor, model and revision, which are where the protocol has them.
fn read_model(fields: &mut Fields<'_, '_>, protocol: Option<&str>) -> [Option<Name>; 3] {
    let mut texts =
        |members: [&str; 3]| members.map(|member| if member.is_empty() { None } else { padded(fields, member) });
    match protocol {
        Some("PROTO_SCSI") => texts(["inq_data.vendor", "inq_data.product", "inq_data.revision"]),
        Some("PROTO_ATA" | "PROTO_ATAPI" | "PROTO_SATAPM") => texts(["", "ident_data.model", "ident_data.revision"]),
        Some("PROTO_MMCSD") => texts(["", "mmc_ident_data.model", ""]),
        Some("PROTO_NVME") => {
            let controller = fields.target("nvme_cdata");
            let mut read = |member: &str| {
                let text = controller.as_ref()?.member(member).and_then(|text| text.bytes());
                fields.keep(member, text).map(|text| trimmed(&text))
            };
            [None, read("mn"), read("fr")]
        }
        _ => [None, None, None],
    }
}

/// A text that is as long as its field, with spaces behind it.
fn padded(fields: &mut Fields<'_, '_>, member: &str) -> Option<Name> {
    let read = fields.object().member(member).and_then(|text| text.bytes());
    fields.keep(member, read).map(|text| trimmed(&text))
}

fn trimmed(text: &[u8]) -> Name {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = text.iter().position(|byte| !is_padding(byte));
    let end = text.iter().rposition(|byte| !is_padding(byte));
    start.zip(end).map(|(start, end)| Name::from(part(text, start..=end))).unwrap_or_default()
}

fn read_serial(fields: &mut Fields<'_, '_>) -> Option<Name> {
    let length = fields.number("serial_num_len").filter(|length| (1..=MAX_SERIAL).contains(length))?;
    let number = fields.target("serial_num")?;
    let read = number.leading_bytes(length);
    fields.keep("serial_num", read).map(|text| trimmed(&text))
}

fn read_peripheral<'a>(reader: &mut Reader<'a>, peripheral: &Object<'a>) -> Peripheral {
    let mut fields = Fields::new(reader, "peripheral", peripheral);
    Peripheral {
        address: Hex(peripheral.address()),
        name: fields.name("periph_name"),
        unit: fields.number("unit_number"),
        flags: fields.number("flags").map(|flags| flag_names(flags, &PERIPHERAL_FLAGS)),
        references: fields.number("refcount"),
        allocated: fields.signed("periph_allocated"),
        softc: fields.pointer("softc"),
    }
}

fn read_ccb<'a>(reader: &mut Reader<'a>, ccb: &Object<'a>) -> Ccb {
    let mut fields = Fields::new(reader, "request", ccb);
    Ccb {
        address: Hex(ccb.address()),
        function: fields.enumerator("func_code"),
        priority: fields.number("pinfo.priority"),
        status: fields.number("status").map(Hex),
        flags: fields.number("flags").map(Hex),
        retry_count: fields.number("retry_count"),
        timeout_ms: fields.number("timeout"),
    }
}
