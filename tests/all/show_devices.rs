//! `memtool show` of devices: their tree, and what was read from and written to them.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedKernel};
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// Both orders of bytes, and both sizes of words.
pub const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];

/// The head and the link of a `TAILQ`.
pub fn tail_queue(kernel: &mut TypedKernel, element: Type) -> (Type, Type) {
    let pointer = kernel.basic.pointer;
    let to_element = kernel.types.pointer(element);
    let head = kernel.types.record("", &[("tqh_first", to_element), ("tqh_last", pointer)]);
    let link = kernel.types.record("", &[("tqe_next", to_element), ("tqe_prev", pointer)]);
    (head, link)
}

/// The head and the link of a `LIST`.
pub fn list(kernel: &mut TypedKernel, element: Type) -> (Type, Type) {
    let pointer = kernel.basic.pointer;
    let to_element = kernel.types.pointer(element);
    let head = kernel.types.record("", &[("lh_first", to_element)]);
    let link = kernel.types.record("", &[("le_next", to_element), ("le_prev", pointer)]);
    (head, link)
}

/// A kernel with a tree of devices.
struct DeviceKernel {
    kernel: TypedKernel,
    device: Type,
    driver: Type,
    resource: Type,
    /// `nexus0`, below it `pci0` of ACPI and `acpi0`, and below each of these a device.
    devices: [u64; 5],
    /// Two resources of the last device, and two that share one.
    resources: [u64; 4],
    manager: (u64, Type),
    /// The namespace of ACPI: its root, a bus and a device.
    nodes: [u64; 3],
    node: Type,
}

/// Indexes into [`DeviceKernel::devices`], which are those of the rows, too.
const PCI: usize = 1;
const ETHERNET: usize = 2;
const ACPI: usize = 3;
const TIMER: usize = 4;

impl DeviceKernel {
    fn new(arch: Arch) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let Basic { int, unsigned_int, string, pointer, .. } = kernel.basic;
        let driver = kernel.types.record("kobj_class", &[("name", string)]);
        let (device, to_driver) = (kernel.types.reserve(), kernel.types.pointer(driver));
        let (children, link) = tail_queue(&mut kernel, device);
        let states = [("DS_NOTPRESENT", 10), ("DS_ALIVE", 20), ("DS_ATTACHING", 25), ("DS_ATTACHED", 30)];
        let state = kernel.types.enumeration("device_state", 4, &states);
        let to_device = kernel.types.pointer(device);
        let members = [
            ("ops", pointer),
            ("link", link),
            ("parent", to_device),
            ("children", children),
            ("driver", to_driver),
            ("unit", int),
            ("nameunit", string),
            ("desc", string),
            ("busy", unsigned_int),
            ("state", state),
            ("flags", unsigned_int),
            ("ivars", pointer),
            ("softc", pointer),
        ];
        kernel.types.at(device).record("_device", &members);
        kernel.variable("root_bus", to_device);
        let devices = [0; 5].map(|_| kernel.allocate(device));
        let (resource, manager) = managers(&mut kernel, to_device);
        let (node, nodes) = namespace(&mut kernel);
        let resources = [0; 4].map(|_| kernel.allocate(resource));
        let mut built = Self { kernel, device, driver, resource, devices, resources, manager, nodes, node };
        built.fill();
        built.fill_buses();
        built.fill_resources();
        built
    }

    fn set(&mut self, device: u64, member: &str, value: impl Into<i128>) {
        self.kernel.set(device, self.device, member, value);
    }

    fn fill(&mut self) {
        let root = self.kernel.allocate(self.device);
        self.kernel.set_variable("root_bus", "", root);
        for driver in ["acpi_driver", "acpi_pci_driver", "nexus_driver"] {
            self.kernel.variable(driver, self.driver);
            let name = match driver {
                "acpi_pci_driver" => "pci",
                _ => driver.trim_end_matches("_driver"),
            };
            let name = self.kernel.string(name);
            self.kernel.set_variable(driver, "name", name);
        }
        let [nexus, pci, ethernet, acpi, timer] = self.devices;
        for (from, member, to) in [
            (root, "children.tqh_first", nexus),
            (nexus, "children.tqh_first", pci),
            (pci, "link.tqe_next", acpi),
            (pci, "children.tqh_first", ethernet),
            (acpi, "children.tqh_first", timer),
        ] {
            self.set(from, member, to);
        }
        for (device, name, description) in
            [(nexus, "nexus0", ""), (pci, "pci0", "PCI bus"), (ethernet, "em3", "Ethernet"), (acpi, "acpi0", "BIOS")]
        {
            let name = self.kernel.string(name);
            self.set(device, "nameunit", name);
            if !description.is_empty() {
                let description = self.kernel.string(description);
                self.set(device, "desc", description);
            }
            for (member, value) in [("state", 30), ("flags", 1), ("busy", 2)] {
                self.set(device, member, value);
            }
        }
        for (device, driver) in [(nexus, "nexus_driver"), (pci, "acpi_pci_driver"), (acpi, "acpi_driver")] {
            let (driver, _) = self.kernel.variable_of(driver);
            self.set(device, "driver", driver);
        }
        for (member, value) in [("unit", 3), ("state", 25), ("softc", 0x1000)] {
            self.set(ethernet, member, value);
        }
        for (member, value) in [("unit", -1), ("state", 10), ("flags", 0x101)] {
            self.set(timer, member, value);
        }
    }

    /// What buses tell of a device on PCI and of one of ACPI.
    fn fill_buses(&mut self) {
        let Basic { unsigned_char, unsigned_short, unsigned_int, pointer, .. } = self.kernel.basic;
        let members = [
            ("dev", pointer),
            ("subvendor", unsigned_short),
            ("subdevice", unsigned_short),
            ("vendor", unsigned_short),
            ("device", unsigned_short),
            ("baseclass", unsigned_char),
            ("subclass", unsigned_char),
            ("progif", unsigned_char),
            ("domain", unsigned_int),
            ("bus", unsigned_char),
            ("slot", unsigned_char),
            ("func", unsigned_char),
        ];
        let registers = self.kernel.types.record("pcicfg", &members);
        let info = self.kernel.types.record("pci_devinfo", &[("resources", pointer), ("cfg", registers)]);
        let acpi_info = self.kernel.types.record("acpi_pci_devinfo", &[("ap_dinfo", info), ("ap_handle", pointer)]);
        let acpi_device = self.kernel.types.record("acpi_device", &[("ad_handle", pointer)]);
        let (on_pci, of_acpi) = (self.kernel.allocate(acpi_info), self.kernel.allocate(acpi_device));
        let values = [0x1af4, 0x1100, 0x8086, 0x100e, 2, 0, 0, 1, 2, 31, 7];
        for ((member, _), value) in members.iter().skip(1).zip(values) {
            self.kernel.set(on_pci, acpi_info, &format!("ap_dinfo.cfg.{member}"), value);
        }
        self.kernel.set(on_pci, acpi_info, "ap_dinfo.cfg.dev", self.devices[ETHERNET]);
        self.kernel.set(on_pci, acpi_info, "ap_handle", self.nodes[1]);
        self.kernel.set(of_acpi, acpi_device, "ad_handle", self.nodes[2]);
        self.set(self.devices[ETHERNET], "ivars", on_pci);
        self.set(self.devices[TIMER], "ivars", of_acpi);
    }

    fn fill_resources(&mut self) {
        let [first, second, sharing, shared] = self.resources;
        let head = self.kernel.allocate(self.kernel.basic.pointer);
        self.kernel.connect(head, self.resource, "r_sharelink", false);
        self.kernel.write_pointer(head, shared);
        for (at, member, to) in [
            (first, "r_link.tqe_next", second),
            (second, "r_link.tqe_next", sharing),
            (sharing, "r_sharehead", head),
            (shared, "r_sharehead", head),
            (shared, "r_sharelink.le_next", sharing),
        ] {
            self.kernel.set(at, self.resource, member, to);
        }
        let [nexus, _, ethernet, _, timer] = self.devices;
        for (at, start, end, device) in [
            (first, 0x60, 0x64, timer),
            (second, 0x70, 0x70, 0),
            (sharing, 0x3f8, 0x3ff, ethernet),
            (shared, 0x3f8, 0x3ff, nexus),
        ] {
            for (member, value) in [("r_start", start), ("r_end", end), ("r_dev", device)] {
                self.kernel.set(at, self.resource, member, value);
            }
        }
        let (at, manager) = self.manager;
        self.kernel.set(at, manager, "rm_list.tqh_first", first);
    }
}

/// A resource manager: its address and its type, behind the type of resources.
fn managers(kernel: &mut TypedKernel, to_device: Type) -> (Type, (u64, Type)) {
    let Basic { unsigned_long_long, string, .. } = kernel.basic;
    let (resource, manager) = (kernel.types.reserve(), kernel.types.reserve());
    let (resources, link) = tail_queue(kernel, resource);
    let (share_head, share_link) = list(kernel, resource);
    let to_share_head = kernel.types.pointer(share_head);
    let members = [
        ("r_link", link),
        ("r_sharelink", share_link),
        ("r_sharehead", to_share_head),
        ("r_start", unsigned_long_long),
        ("r_end", unsigned_long_long),
        ("r_dev", to_device),
    ];
    kernel.types.at(resource).record("resource_i", &members);
    let (head, link) = tail_queue(kernel, manager);
    let members = [
        ("rm_list", resources),
        ("rm_link", link),
        ("rm_start", unsigned_long_long),
        ("rm_end", unsigned_long_long),
        ("rm_descr", string),
    ];
    kernel.types.at(manager).record("rman", &members);
    kernel.variable("rman_head", head);
    let (at, name) = (kernel.allocate(manager), kernel.string("I/O ports"));
    kernel.set(at, manager, "rm_end", 0xffff);
    kernel.set(at, manager, "rm_descr", name);
    kernel.set_variable("rman_head", "tqh_first", at);
    (resource, (at, manager))
}

/// Three names of ACPI, each below the one before it.
fn namespace(kernel: &mut TypedKernel) -> (Type, [u64; 3]) {
    let Basic { unsigned_char, character, .. } = kernel.basic;
    let node = kernel.types.reserve();
    let (parent, name) = (kernel.types.pointer(node), kernel.types.array(character, 4));
    let members = [("DescriptorType", unsigned_char), ("Name", name), ("Parent", parent)];
    kernel.types.at(node).record("acpi_namespace_node", &members);
    let nodes = [0; 3].map(|_| kernel.allocate(node));
    for (index, name) in ["\\___", "_SB_", "TMR\n"].into_iter().enumerate() {
        kernel.set(nodes[index], node, "DescriptorType", 15);
        let at = kernel.address_of(nodes[index], node, "Name");
        kernel.write_bytes(at, name.as_bytes());
        if let Some(parent) = index.checked_sub(1) {
            kernel.set(nodes[index], node, "Parent", nodes[parent]);
        }
    }
    (node, nodes)
}

#[test]
fn devices_are_shown_below_their_parents_with_what_they_have_allocated() {
    for arch in ARCHITECTURES {
        let built = DeviceKernel::new(arch);
        let dump = built.kernel.write();
        let run = dump.run(&["show", "devinfo"]).ok();
        assert_eq!(run.stderr, "", "{arch:?}");
        let expected = [
            "nexus0\t-\t-",
            "  pci0\t-\tPCI bus",
            "    em3 (attaching)\tpci1:2:31:7\tEthernet",
            "  acpi0\t-\tBIOS",
            "    unknown (suspended)\t\\_SB_.TMR?\t-",
            "",
            "nexus0\tI/O ports\t0x3f8-0x3ff",
            "em3\tI/O ports\t0x3f8-0x3ff",
            "unknown\tI/O ports\t0x60-0x64",
        ];
        assert_eq!(run.stdout.lines().collect::<Vec<_>>(), expected, "{arch:?}");
        let document = dump.run(&["show", "devinfo", "--json"]).ok().json();
        let ethernet = &document["devices"][ETHERNET];
        let pnpinfo = "vendor=0x8086 device=0x100e subvendor=0x1af4 subdevice=0x1100 class=0x020000";
        let location = "slot=31 function=7 dbsf=pci1:2:31:7 handle=\\_SB_";
        for (member, value) in [
            ("address", json!(format!("{:#x}", built.devices[ETHERNET]))),
            ("depth", json!(2)),
            ("driver", Value::Null),
            ("unit", json!(3)),
            ("state", json!("DS_ATTACHING")),
            ("busy_count", json!(2)),
            ("softc", json!("0x1000")),
            ("pnpinfo", json!(pnpinfo)),
            ("location", json!(location)),
            ("resources", json!([{ "resource": "I/O ports", "first": "0x3f8", "last": "0x3ff" }])),
        ] {
            assert_eq!(ethernet[member], value, "{arch:?} {member}");
        }
        assert_eq!(document["devices"][PCI]["driver"], "pci");
        assert_eq!(document["devices"][TIMER]["unit"], -1);
    }
}

/// What a damaged kernel's section is: its warnings, and the rest.
pub fn damaged(kernel: &TypedKernel, section: &str) -> (String, Value) {
    let run = kernel.write().run(&["show", section, "--json"]).exits(1);
    let document = run.json();
    (run.stderr, document)
}

#[test]
fn a_damaged_tree_of_devices_is_shown_up_to_where_it_can_be_followed() {
    let mut built = DeviceKernel::new(Arch::Amd64);
    let [nexus, _, ethernet, acpi, timer] = built.devices;
    let away = built.kernel.unmapped();
    // The tree leads back to where it has been; a list of it as well.
    built.set(timer, "children.tqh_first", nexus);
    built.set(acpi, "link.tqe_next", acpi);
    built.set(ethernet, "desc", away);
    built.kernel.set(built.nodes[1], built.node, "Parent", built.nodes[2]);
    let (at, manager) = built.manager;
    built.kernel.set(at, manager, "rm_descr", away);
    let (stderr, document) = damaged(&built.kernel, "devinfo");
    assert_eq!(document["devices"].as_array().unwrap().len(), 5, "{document}");
    for text in [
        &format!("warning: the device at {nexus:#x} is below two others") as &str,
        "the list leads back to",
        &format!("desc of the device at {ethernet:#x} cannot be read"),
        "the names of ACPI above",
        "rm_descr of the resource manager",
    ] {
        assert!(stderr.contains(text), "{text}: {stderr}");
    }
    assert_eq!(document["devices"][ETHERNET]["location"], Value::Null);
    assert_eq!(document["devices"][ETHERNET]["resources"][0]["resource"], Value::Null);
}

#[test]
fn variables_of_a_bus_that_are_those_of_another_device_tell_nothing() {
    let mut built = DeviceKernel::new(Arch::Amd64);
    let (acpi, timer) = (built.devices[ACPI], built.devices[TIMER]);
    let (pci_driver, _) = built.kernel.variable_of("acpi_pci_driver");
    let ivars = {
        let device = built.device;
        let at = built.kernel.address_of(built.devices[ETHERNET], device, "ivars");
        built.kernel.number(at, 8)
    };
    built.set(acpi, "driver", pci_driver);
    built.set(timer, "ivars", ivars);
    let (stderr, document) = damaged(&built.kernel, "devinfo");
    assert!(stderr.contains(&format!("what the bus has of the device at {timer:#x}")), "{stderr}");
    assert!(stderr.contains("its registers are those of"), "{stderr}");
    assert_eq!(document["devices"][TIMER]["pnpinfo"], Value::Null);
}

#[test]
fn a_kernel_without_a_tree_of_devices_is_said_to_have_none() {
    let run = TypedKernel::new(Arch::Amd64).write().run(&["show", "devinfo"]).exits(1);
    assert!(run.stderr.contains("has no symbol root_bus"), "{run:?}");
}

/// A kernel with statistics of a disk.
fn with_statistics(arch: Arch) -> (TypedKernel, u64, Type) {
    let mut kernel = TypedKernel::new(arch);
    let (at, statistics) = add_statistics(&mut kernel, "devstat");
    (kernel, at, statistics)
}

/// Adds statistics of a disk, whose structure is called so: their address and their type.
pub fn add_statistics(kernel: &mut TypedKernel, structure: &str) -> (u64, Type) {
    let Basic { int, unsigned_int, unsigned_long_long, long_long, character, pointer, .. } = kernel.basic;
    let statistics = kernel.types.reserve();
    let to_statistics = kernel.types.pointer(statistics);
    let head = kernel.types.record("devstatlist", &[("stqh_first", to_statistics), ("stqh_last", pointer)]);
    let link = kernel.types.record("", &[("stqe_next", to_statistics)]);
    let time = kernel.types.record("bintime", &[("sec", long_long), ("frac", unsigned_long_long)]);
    let (numbers, times) = (kernel.types.array(unsigned_long_long, 4), kernel.types.array(time, 4));
    let name = kernel.types.array(character, 16);
    let members = [
        ("start_count", unsigned_int),
        ("end_count", unsigned_int),
        ("busy_from", time),
        ("dev_links", link),
        ("device_name", name),
        ("unit_number", int),
        ("bytes", numbers),
        ("operations", numbers),
        ("duration", times),
        ("busy_time", time),
        ("creation_time", time),
        ("block_size", unsigned_int),
        ("id", pointer),
    ];
    kernel.types.at(statistics).record(structure, &members);
    kernel.static_variable("device_statq", head);
    let at = kernel.allocate(statistics);
    kernel.set_variable("device_statq", "stqh_first", at);
    kernel.set_text(at, statistics, "device_name", "da");
    for (member, value) in [
        ("start_count", 7_u64),
        ("end_count", 5),
        ("unit_number", 3),
        ("busy_from.sec", 90),
        ("bytes[1]", 1024 * 1024 + 52),
        ("bytes[2]", 512),
        ("bytes[3]", 4096),
        ("operations[0]", 2),
        ("operations[1]", 10),
        ("operations[2]", 1),
        ("duration[1].sec", 1),
        ("duration[2].frac", 1 << 63),
        ("busy_time.sec", 1),
        ("busy_time.frac", 0xf000_0000_0000_0000),
        ("creation_time.sec", 4),
        ("block_size", 512),
    ] {
        kernel.set(at, statistics, member, value);
    }
    (at, statistics)
}

#[test]
fn statistics_of_devices_are_those_of_iostat() {
    for arch in ARCHITECTURES {
        let (kernel, ..) = with_statistics(arch);
        let dump = kernel.write();
        let run = dump.run(&["show", "iostat"]).ok();
        assert_eq!((&*run.stdout, &*run.stderr), ("da3\t10\t1\t1024.1\t0.5\t2\t1.5\t1.9\n", ""), "{arch:?}");
        let document = dump.run(&["show", "iostat", "--json"]).ok().json();
        let disk = &document["device_statistics"][0];
        assert_eq!(disk["busy_from_since_boot_seconds"], 90.0, "{arch:?}");
        assert_eq!(disk["busy_seconds"], 1.9375);
        assert_eq!(disk["free"], json!({ "request_count": 0, "bytes_transferred": 4096, "duration_seconds": 0.0 }));
        assert_eq!(disk["no_data"]["request_count"], 2);
    }
}

#[test]
fn statistics_that_cannot_be_read_are_unknown() {
    let (mut kernel, at, statistics) = with_statistics(Arch::Amd64);
    // An idle device.
    kernel.set(at, statistics, "end_count", 7);
    kernel.set(at, statistics, "duration[1].sec", -1);
    let second = kernel.allocate_pages(4096);
    kernel.set(at, statistics, "dev_links.stqe_next", second);
    kernel.omit(second);
    let (stderr, document) = damaged(&kernel, "iostat");
    let disks = document["device_statistics"].as_array().unwrap();
    assert_eq!(disks[0]["read"]["duration_seconds"], Value::Null);
    assert_eq!(disks[0]["busy_from_since_boot_seconds"], Value::Null);
    assert!(stderr.contains(&format!("duration of the devstat at {at:#x} cannot be read: ")), "{stderr}");
    assert!(stderr.contains("the list of statistics of devices is damaged"), "{stderr}");
}
