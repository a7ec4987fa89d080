//! The tree of devices: what buses and drivers have, and their resources.

use crate::kernel::Demo;

/// A device.
struct Device {
    /// Its driver and unit, and those of the device that it is below.
    name: (&'static str, i32),
    parent: &'static str,
    description: &'static str,
    on: On,
    resources: &'static [(&'static str, u64, u64)],
}

/// What a bus tells of a device.
#[derive(Clone, Copy)]
enum On {
    Nothing,
    /// The name in ACPI's namespace.
    Acpi(&'static str),
    /// The slot on the only bus; vendor and device, class and subclass.
    Pci(i128, [i128; 2], [i128; 2]),
}

use On::{Acpi, Nothing, Pci};

const MEMORY: &str = "I/O memory addresses";
const PORTS: &str = "I/O ports";
const INTERRUPTS: &str = "Interrupt request lines";
/// What is shared out: its numbers go to this.
const MANAGERS: [(&str, u64); 3] = [(INTERRUPTS, 255), (PORTS, 0xffff), (MEMORY, (1 << 40) - 1)];

const fn device(
    name: (&'static str, i32),
    parent: &'static str,
    description: &'static str,
    on: On,
    resources: &'static [(&'static str, u64, u64)],
) -> Device {
    Device { name, parent, description, on, resources }
}

const DEVICES: &[Device] = &[
    device(("nexus", 0), "root", "", Nothing, &[]),
    device(("acpi", 0), "nexus0", "MEMTOOL DEMO", Nothing, &[]),
    device(("cpu", 0), "acpi0", "ACPI CPU", Acpi("CPU0"), &[]),
    device(("cpu", 1), "acpi0", "ACPI CPU", Acpi("CPU1"), &[]),
    device(("attimer", 0), "acpi0", "AT timer", Acpi("TMR_"), &[(INTERRUPTS, 0, 0), (PORTS, 0x40, 0x43)]),
    device(("atkbdc", 0), "acpi0", "Keyboard controller (i8042)", Acpi("PS2K"), &[(PORTS, 0x60, 0x64)]),
    device(("atkbd", 0), "atkbdc0", "AT Keyboard", Nothing, &[(INTERRUPTS, 1, 1)]),
    device(("pcib", 0), "acpi0", "ACPI Host-PCI bridge", Acpi("PCI0"), &[(PORTS, 0xcf8, 0xcff)]),
    device(("pci", 0), "pcib0", "ACPI PCI bus", Nothing, &[]),
    device(("hostb", 0), "pci0", "Host to PCI bridge", Pci(0, [0x8086, 0x29c0], [6, 0]), &[]),
    device(
        ("em", 0),
        "pci0",
        "Intel(R) PRO/1000 Network Connection",
        Pci(3, [0x8086, 0x100e], [2, 0]),
        &[(INTERRUPTS, 11, 11), (MEMORY, 0xc000_0000, 0xc001_ffff)],
    ),
    device(
        ("ahci", 0),
        "pci0",
        "AHCI SATA controller",
        Pci(4, [0x8086, 0x2922], [1, 6]),
        &[(INTERRUPTS, 16, 16), (MEMORY, 0xc002_0000, 0xc002_0fff), (PORTS, 0xc040, 0xc05f)],
    ),
    device(("ahcich", 0), "ahci0", "AHCI channel", Nothing, &[]),
    device(("ahcich", 1), "ahci0", "AHCI channel", Nothing, &[]),
    device(
        ("demo", 0),
        "pci0",
        "Demo network",
        Pci(5, [0x1af4, 0x0dec], [2, 0x80]),
        &[(INTERRUPTS, 24, 24), (MEMORY, 0xc003_0000, 0xc003_ffff)],
    ),
    // Nothing is attached to it.
    device(("", -1), "pci0", "", Pci(6, [0x1af4, 0x1002], [0xff, 0]), &[(PORTS, 0xc060, 0xc07f)]),
];

impl Demo {
    pub fn attach_devices(&mut self) {
        let root = self.add("_device", &[("state", 30), ("flags", 1), ("unit", 0)]);
        self.set_variable("root_bus", "", root);
        self.known.insert("device root".to_owned(), root);
        for (variable, name) in [("nexus_driver", "nexus"), ("acpi_driver", "acpi"), ("acpi_pci_driver", "pci")] {
            let name = self.string(name);
            self.set_variable(variable, "name", name);
            self.known.insert(format!("driver {}", variable.trim_end_matches("_driver")), self.variable(variable));
        }
        let pci = self.known["driver acpi_pci"];
        self.known.insert("driver pci".to_owned(), pci);
        let bus = self.name_in_acpi("_SB_", 0);
        DEVICES.iter().for_each(|device| self.attach(device, bus));
        self.hand_out_resources();
    }

    /// A name in ACPI's namespace.
    fn name_in_acpi(&mut self, name: &str, parent: u64) -> u64 {
        let parent = if parent == 0 { self.add("acpi_namespace_node", &[("DescriptorType", 15)]) } else { parent };
        let node = self.add("acpi_namespace_node", &[("DescriptorType", 15), ("Parent", parent.into())]);
        let at = self.at(node, "acpi_namespace_node", "Name");
        self.kernel.write_bytes(at, name.as_bytes());
        node
    }

    fn attach(&mut self, device: &Device, bus: u64) {
        let (name, unit) = device.name;
        let parent = self.known[&format!("device {}", device.parent)];
        let at = self.add("_device", &[("parent", parent.into()), ("unit", unit.into()), ("flags", 1)]);
        let list = self.at(parent, "_device", "children");
        self.push(list, true, ("_device", "link"), at);
        if unit < 0 {
            self.set(at, "_device", "state", 10);
        } else {
            let full = format!("{name}{unit}");
            let text = self.string(&full);
            let driver = self.driver(name);
            let softc = if name == "demo" { self.known["softc"] } else { self.kernel.allocate_pages(64) };
            let members = [("nameunit", text), ("driver", driver), ("state", 30), ("softc", softc)];
            for (member, value) in members {
                self.set(at, "_device", member, value);
            }
            self.known.insert(format!("device {full}"), at);
        }
        if !device.description.is_empty() {
            let text = self.string(device.description);
            self.set(at, "_device", "desc", text);
        }
        let variables = match device.on {
            Nothing => return self.keep(device, at),
            Acpi(name) => {
                let node = self.name_in_acpi(name, bus);
                self.add("acpi_device", &[("ad_handle", node.into())])
            }
            Pci(slot, [vendor, id], [class, subclass]) => self.add(
                "acpi_pci_devinfo",
                &[
                    ("ap_dinfo.cfg.dev", at.into()),
                    ("ap_dinfo.cfg.slot", slot),
                    ("ap_dinfo.cfg.vendor", vendor),
                    ("ap_dinfo.cfg.device", id),
                    ("ap_dinfo.cfg.subvendor", vendor),
                    ("ap_dinfo.cfg.baseclass", class),
                    ("ap_dinfo.cfg.subclass", subclass),
                ],
            ),
        };
        self.set(at, "_device", "ivars", variables);
        self.keep(device, at);
    }

    /// Remembers a device's resources.
    fn keep(&mut self, device: &Device, at: u64) {
        for (kind, start, _) in device.resources {
            self.known.insert(format!("resource {kind} {start:012x}"), at);
        }
    }

    fn driver(&mut self, name: &str) -> u64 {
        let key = format!("driver {name}");
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let text = self.string(name);
        let driver = self.add("kobj_class", &[("name", text.into())]);
        self.known.insert(key, driver);
        driver
    }

    /// Resources by their numbers, as the managers have them.
    fn hand_out_resources(&mut self) {
        let managers = self.variable("rman_head");
        for (kind, end) in MANAGERS {
            let description = self.string(kind);
            let manager = self.add("rman", &[("rm_end", end.into()), ("rm_descr", description.into())]);
            let mut all: Vec<_> =
                DEVICES.iter().flat_map(|device| device.resources).filter(|(of, ..)| *of == kind).collect();
            all.sort_by_key(|(_, start, _)| *start);
            let list = self.at(manager, "rman", "rm_list");
            for (_, start, end) in all {
                let device = self.known[&format!("resource {kind} {start:012x}")];
                let members = [("r_start", *start), ("r_end", *end), ("r_dev", device), ("r_rm", manager)];
                let members = members.map(|(member, value)| (member, i128::from(value)));
                let resource = self.add("resource_i", &members);
                self.push(list, true, ("resource_i", "r_link"), resource);
            }
            self.push(managers, true, ("rman", "rm_link"), manager);
        }
    }
}
