//! Where buses have a device, as far as their structures tell: addresses of PCI, and names of ACPI.
//!
//! Sources: `struct pci_devinfo` and `pcicfgregs` in `sys/dev/pci/pcivar.h`, `struct acpi_pci_devinfo` in
//! `sys/dev/acpica/acpi_pci.c`, `struct acpi_device` in `sys/dev/acpica/acpivar.h`, `struct acpi_namespace_node` in
//! `sys/contrib/dev/acpica/include/aclocal.h`.

use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};
use crate::units::Hex;
use std::collections::HashSet;

/// More names within each other than any namespace of ACPI has.
const MAX_DEPTH: usize = 64;
/// What tells that a descriptor of ACPI's is a name (`ACPI_DESC_TYPE_NAMED`).
const NAMED: u64 = 0x0f;

/// What a bus tells of a device, in the words of devinfo(8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BusInfo {
    pub pnpinfo: Option<String>,
    pub location: Option<String>,
    /// Where it is, in short: its address on PCI, or its name in ACPI.
    pub place: Option<String>,
}

/// Which buses tell of their devices.
pub(super) struct Buses {
    acpi: Option<u64>,
    acpi_pci: Option<u64>,
}

impl Buses {
    pub fn new(typed: TypedMemory<'_>) -> Self {
        let driver = |name| typed.variable(name).ok().map(|driver| driver.address());
        Self { acpi: driver("acpi_driver"), acpi_pci: driver("acpi_pci_driver") }
    }

    /// What the parent's driver tells of a device.
    ///
    /// # Errors
    ///
    /// The structures of the driver cannot be read, or are damaged.
    pub fn info(&self, device: &Object<'_>, driver: &Driver) -> Result<BusInfo> {
        let ivars = device.member("ivars")?.unsigned()?;
        if ivars == 0 {
            return Ok(BusInfo::default());
        }
        if Some(driver.address) == self.acpi {
            return acpi_device(device.typed(), ivars);
        }
        if driver.name == b"pci" {
            return pci_device(device, ivars, Some(driver.address) == self.acpi_pci);
        }
        Ok(BusInfo::default())
    }
}

/// The driver of a bus.
#[derive(Debug, Clone)]
pub(super) struct Driver {
    pub address: u64,
    pub name: Vec<u8>,
}

fn acpi_device(typed: TypedMemory<'_>, ivars: u64) -> Result<BusInfo> {
    let handle = typed.structure_at("acpi_device", ivars)?.member("ad_handle")?.unsigned()?;
    let place = acpi_path(typed, handle)?;
    let location = place.as_ref().map(|path| format!("handle={path}"));
    Ok(BusInfo { pnpinfo: None, location, place })
}

fn pci_device(device: &Object<'_>, ivars: u64, has_handle: bool) -> Result<BusInfo> {
    let typed = device.typed();
    let registers = typed.structure_at("pci_devinfo", ivars)?.member("cfg")?;
    let owner = registers.member("dev")?.unsigned()?;
    if owner != device.address() {
        return Err(Error::Format(format!("its registers are those of {}", Hex(owner))));
    }
    let number = |member: &str| registers.member(member)?.unsigned();
    let (slot, function) = (number("slot")?, number("func")?);
    let place = format!("pci{}:{}:{slot}:{function}", number("domain")?, number("bus")?);
    let mut location = format!("slot={slot} function={function} dbsf={place}");
    if has_handle {
        let handle = typed.structure_at("acpi_pci_devinfo", ivars)?.member("ap_handle")?.unsigned()?;
        if let Some(path) = acpi_path(typed, handle)? {
            location = format!("{location} handle={path}");
        }
    }
    let pnpinfo = format!(
        "vendor=0x{:04x} device=0x{:04x} subvendor=0x{:04x} subdevice=0x{:04x} class=0x{:02x}{:02x}{:02x}",
        number("vendor")?,
        number("device")?,
        number("subvendor")?,
        number("subdevice")?,
        number("baseclass")?,
        number("subclass")?,
        number("progif")?,
    );
    Ok(BusInfo { pnpinfo: Some(pnpinfo), location: Some(location), place: Some(place) })
}

/// The path of a node in ACPI's namespace, such as `\_SB_.PCI0`; `None` of a null pointer.
fn acpi_path(typed: TypedMemory<'_>, handle: u64) -> Result<Option<String>> {
    if handle == 0 {
        return Ok(None);
    }
    let (mut names, mut seen) = (Vec::new(), HashSet::new());
    let mut node = typed.structure_at("acpi_namespace_node", handle)?;
    loop {
        let parent = node.member("Parent")?.unsigned()?;
        // The root is not named.
        if parent == 0 {
            break;
        }
        if node.member("DescriptorType")?.unsigned()? != NAMED {
            return Err(Error::Format(format!("{} is no name of ACPI", Hex(node.address()))));
        }
        if names.len() >= MAX_DEPTH || !seen.insert(node.address()) {
            return Err(Error::Format(format!("the names of ACPI above {} have no end", Hex(handle))));
        }
        names.push(acpi_name(&node.member("Name")?.leading_bytes(4)?));
        node = typed.structure_at("acpi_namespace_node", parent)?;
    }
    names.reverse();
    Ok(Some(format!("\\{}", names.join("."))))
}

/// Four characters; others than ACPI allows are question marks.
fn acpi_name(bytes: &[u8]) -> String {
    let shown = |byte: &u8| if byte.is_ascii_alphanumeric() || *byte == b'_' { char::from(*byte) } else { '?' };
    bytes.iter().map(shown).collect()
}
