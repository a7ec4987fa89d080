//! `memtool show` of CAM: its buses and devices, and the requests that wait.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedKernel};
use crate::show_devices::{ARCHITECTURES, damaged, tail_queue};
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// A kernel with a bus, on which are a disk and a place where nothing was found.
struct CamKernel {
    kernel: TypedKernel,
    bus: (u64, Type),
    device: Type,
    /// The disk, and where nothing was found.
    devices: [u64; 2],
    peripheral: (u64, Type),
    request: Type,
    /// Two that wait in the array, and one in the list behind it.
    requests: [u64; 3],
    /// Where the array is.
    array: u64,
}

impl CamKernel {
    fn new(arch: Arch) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let Basic { int, unsigned_int, unsigned_char, unsigned_long_long, string, pointer, .. } = kernel.basic;
        let [bus, target, device, peripheral, request] = [(); 5].map(|()| kernel.types.reserve());
        let [(buses, bus_link), (targets, target_link), (devices, device_link), (extra, request_link)] =
            [bus, target, device, request].map(|of| tail_queue(&mut kernel, of));
        let to_peripheral = kernel.types.pointer(peripheral);
        let peripherals = kernel.types.record("periph_list", &[("slh_first", to_peripheral)]);
        let peripheral_link = kernel.types.record("", &[("sle_next", to_peripheral)]);
        let info = kernel.types.record("cam_pinfo", &[("priority", unsigned_int)]);
        let to_info = kernel.types.pointer(info);
        let array = kernel.types.pointer(to_info);
        let members = [("queue_array", array), ("array_size", int), ("entries", int), ("qfrozen_cnt", unsigned_int)];
        let queue = kernel.types.record("camq", &members);
        let members = [
            ("queue", queue),
            ("queue_extra_head", extra),
            ("queue_extra_entries", int),
            ("dev_openings", int),
            ("dev_active", int),
        ];
        let ccbs = kernel.types.record("cam_ccbq", &members);
        let of_bus =
            kernel.types.record("cam_devq", &[("send_queue", queue), ("send_openings", int), ("send_active", int)]);
        let to_queue = kernel.types.pointer(of_bus);
        let members =
            [("sim_name", string), ("unit_number", unsigned_int), ("bus_id", unsigned_int), ("devq", to_queue)];
        let sim = kernel.types.record("cam_sim", &members);
        let to_sim = kernel.types.pointer(sim);
        let members = [("et_entries", targets), ("links", bus_link), ("path_id", unsigned_int), ("sim", to_sim)];
        kernel.types.at(bus).record("cam_eb", &members);
        let members = [("ed_entries", devices), ("links", target_link), ("target_id", unsigned_int)];
        kernel.types.at(target).record("cam_et", &members);
        let [short, medium, long] = [4, 8, 16].map(|length| kernel.types.array(unsigned_char, length));
        let inquiry =
            kernel.types.record("scsi_inquiry_data", &[("vendor", medium), ("product", long), ("revision", short)]);
        let ata = kernel.types.record("ata_params", &[("model", long), ("revision", medium)]);
        let protocol = kernel.types.enumeration("", 4, &[("PROTO_UNKNOWN", 0), ("PROTO_SCSI", 2), ("PROTO_ATA", 3)]);
        let transport = kernel.types.enumeration("", 4, &[("XPORT_UNKNOWN", 0), ("XPORT_SAS", 8)]);
        let bytes = kernel.types.pointer(unsigned_char);
        let members = [
            ("links", device_link),
            ("lun_id", unsigned_long_long),
            ("ccbq", ccbs),
            ("periphs", peripherals),
            ("protocol", protocol),
            ("transport", transport),
            ("inq_data", inquiry),
            ("ident_data", ata),
            ("serial_num_len", unsigned_char),
            ("serial_num", bytes),
            ("flags", unsigned_int),
        ];
        kernel.types.at(device).record("cam_ed", &members);
        let members = [
            ("periph_name", string),
            ("softc", pointer),
            ("unit_number", unsigned_int),
            ("flags", unsigned_int),
            ("periph_allocated", int),
            ("refcount", unsigned_int),
            ("periph_links", peripheral_link),
        ];
        kernel.types.at(peripheral).record("cam_periph", &members);
        let links = kernel.types.union_of("", &[("tqe", request_link)]);
        let function = kernel.types.enumeration("", 4, &[("XPT_NOOP", 0), ("XPT_SCSI_IO", 0x101)]);
        let members = [
            ("pinfo", info),
            ("xpt_links", links),
            ("retry_count", kernel.basic.unsigned_short),
            ("func_code", function),
            ("status", unsigned_int),
            ("flags", unsigned_int),
            ("timeout", unsigned_int),
        ];
        kernel.types.at(request).record("ccb_hdr", &members);
        let all = kernel.types.record("xpt_softc", &[("xpt_generation", unsigned_int), ("xpt_busses", buses)]);
        kernel.static_variable("xsoftc", all);
        let [bus_at, target_at, sim_at, queue_at] = [bus, target, sim, of_bus].map(|of| kernel.allocate(of));
        let devices = [0; 2].map(|_| kernel.allocate(device));
        let requests = [0; 3].map(|_| kernel.allocate(request));
        let (peripheral_at, array) = (kernel.allocate(peripheral), kernel.allocate_pages(64));
        let names = ["mpr", "da"].map(|name| kernel.string(name));
        kernel.set_variable("xsoftc", "xpt_busses.tqh_first", bus_at);
        for (at, of, member, value) in [
            (bus_at, bus, "et_entries.tqh_first", target_at),
            (bus_at, bus, "path_id", 4),
            (bus_at, bus, "sim", sim_at),
            (sim_at, sim, "sim_name", names[0]),
            (sim_at, sim, "unit_number", 1),
            (sim_at, sim, "devq", queue_at),
            (queue_at, of_bus, "send_openings", 1000),
            (queue_at, of_bus, "send_active", 24),
            (queue_at, of_bus, "send_queue.qfrozen_cnt", 1),
            (target_at, target, "target_id", 9),
            (target_at, target, "ed_entries.tqh_first", devices[0]),
            (devices[0], device, "links.tqe_next", devices[1]),
            (devices[0], device, "periphs.slh_first", peripheral_at),
            (peripheral_at, peripheral, "periph_name", names[1]),
            (peripheral_at, peripheral, "unit_number", 3),
            (peripheral_at, peripheral, "flags", 0x102),
            (peripheral_at, peripheral, "refcount", 2),
            (devices[1], device, "lun_id", 0xffff_ffff),
            (devices[1], device, "flags", 1),
        ] {
            kernel.set(at, of, member, value);
        }
        kernel.set(peripheral_at, peripheral, "periph_allocated", -1);
        let (bus, peripheral) = ((bus_at, bus), (peripheral_at, peripheral));
        let mut built = Self { kernel, bus, device, devices, peripheral, request, requests, array };
        built.fill();
        built
    }

    fn fill(&mut self) {
        let serial = self.kernel.string(" Z1Z0AB  ");
        let [first, second, third] = self.requests;
        for (index, request) in [(1, first), (2, second)] {
            self.kernel.write_pointer(self.array + index * self.kernel.arch.word() as u64, request);
        }
        for (member, value) in [
            ("ccbq.queue.queue_array", self.array),
            ("ccbq.queue.array_size", 4),
            ("ccbq.queue.entries", 2),
            ("ccbq.queue.qfrozen_cnt", 7),
            ("ccbq.queue_extra_head.tqh_first", third),
            ("ccbq.queue_extra_entries", 1),
            ("ccbq.dev_openings", 30),
            ("ccbq.dev_active", 2),
            ("protocol", 2),
            ("transport", 8),
            ("serial_num_len", 9),
            ("serial_num", serial),
            ("flags", 0x40),
        ] {
            self.set(0, member, value);
        }
        for (member, text) in [("vendor", "SEAGATE "), ("product", "ST 2000\x1b        "), ("revision", "\0\0\0\0")] {
            let at = self.kernel.address_of(self.devices[0], self.device, &format!("inq_data.{member}"));
            self.kernel.write_bytes(at, text.as_bytes());
        }
        for (request, member, value) in [
            (first, "func_code", 0x101),
            (first, "pinfo.priority", 640),
            (first, "timeout", 60_000),
            (second, "status", 0x10),
        ] {
            self.kernel.set(request, self.request, member, value);
        }
    }

    fn set(&mut self, index: usize, member: &str, value: u64) {
        self.kernel.set(self.devices[index], self.device, member, value);
    }
}

#[test]
fn devices_of_cam_are_shown_with_their_drivers_and_their_queues() {
    for arch in ARCHITECTURES {
        let dump = CamKernel::new(arch).kernel.write();
        let run = dump.run(&["show", "cam"]).ok();
        assert_eq!(run.stderr, "", "{arch:?}");
        let place = "scbus4 target 9 lun 0";
        let expected = [
            &format!("<SEAGATE ST 2000\\u{{1b}} >\t{place}\tda3\t30\t2\t3\t7") as &str,
            "",
            "scbus4\tmpr1\t1000\t24\t0\t1",
            "",
            &format!("{place}\tXPT_SCSI_IO\t640\t0x0\t60000"),
            &format!("{place}\tXPT_NOOP\t0\t0x10\t0"),
            &format!("{place}\tXPT_NOOP\t0\t0x0\t0"),
        ];
        assert_eq!(run.stdout.lines().collect::<Vec<_>>(), expected, "{arch:?}");
        let document = dump.run(&["show", "cam", "--json"]).ok().json();
        let devices = &document["cam"]["buses"][0]["devices"];
        assert_eq!(devices.as_array().unwrap().len(), 2, "{arch:?}");
        assert_eq!(devices[0]["serial_number"], "Z1Z0AB");
        assert_eq!(devices[0]["transport"], "XPORT_SAS");
        let peripheral = &devices[0]["peripherals"][0];
        assert_eq!(
            (&peripheral["flags"], &peripheral["allocated_count"]),
            (&json!(["locked", "announced"]), &json!(-1))
        );
        assert_eq!((&devices[1]["is_configured"], &devices[1]["product"]), (&json!(false), &Value::Null));
    }
}

#[test]
fn a_place_where_nothing_was_found_is_shown_if_requests_wait_there() {
    let mut built = CamKernel::new(Arch::Amd64);
    built.set(1, "ccbq.dev_active", 1);
    let run = built.kernel.write().run(&["show", "cam"]).ok();
    assert!(run.stdout.contains("\n<>\tscbus4 target 9 lun -1\t\t0\t1\t0\t0\n"), "{run:?}");
}

#[test]
fn damaged_queues_of_cam_are_shown_up_to_where_they_can_be_followed() {
    let mut built = CamKernel::new(Arch::Amd64);
    let away = built.kernel.unmapped();
    let (peripheral, of) = built.peripheral;
    built.kernel.set(peripheral, of, "periph_links.sle_next", peripheral);
    built.set(0, "ccbq.queue.entries", 5);
    built.set(0, "protocol", 200);
    built.set(0, "serial_num", away);
    built.set(1, "links.tqe_next", away);
    let third = built.requests[2];
    built.kernel.set(third, built.request, "func_code", 0x7f);
    let (bus, of) = built.bus;
    built.kernel.set(bus, of, "sim", away);
    let (stderr, document) = damaged(&built.kernel, "cam");
    for text in [
        "periphs of the device at",
        "the list leads back to",
        "5 requests are in a queue of 4",
        "protocol of the device",
        "serial_num of the device",
        "the list cannot be followed beyond",
        "func_code of the request",
        &format!("sim_name of the SIM at {away:#x} cannot be read") as &str,
    ] {
        assert!(stderr.contains(text), "{text}: {stderr}");
    }
    let device = &document["cam"]["buses"][0]["devices"][0];
    assert_eq!((&device["protocol"], &device["product"]), (&Value::Null, &Value::Null));
    assert_eq!(device["requests"].as_array().unwrap().len(), 1, "those in the list");
}

#[test]
fn a_queue_of_more_requests_than_are_read_is_not_read() {
    let mut built = CamKernel::new(Arch::Amd64);
    for member in ["entries", "array_size"] {
        built.set(0, &format!("ccbq.queue.{member}"), 0x7fff_ffff);
    }
    let (stderr, document) = damaged(&built.kernel, "cam");
    assert!(stderr.contains("2147483647 requests are more than are read"), "{stderr}");
    let device = &document["cam"]["buses"][0]["devices"][0];
    assert_eq!(device["requests"].as_array().unwrap().len(), 1, "those in the list");
}

#[test]
fn a_kernel_without_cam_is_said_to_have_none() {
    let run = TypedKernel::new(Arch::Amd64).write().run(&["show", "cam"]).exits(1);
    assert!(run.stderr.contains("has no symbol xsoftc"), "{run:?}");
}
