//! Network interfaces with their addresses and counters, as `netstat -in` shows them.
//!
//! Sources: `struct ifnet` in `sys/net/if_private.h`, `struct ifaddr` in `sys/net/if_var.h`, `ift_counter` in `sys/net/if.h`,
//! `if_data_copy()` in `sys/net/if.c`, `usr.bin/netstat/if.c`.

use super::interface_list::{InterfaceNames, interface_name, interfaces};
use super::sockaddr::{Network, SocketAddress};
use super::stacks::NetworkStack;
use crate::error::Result;
use crate::inventory::host_address::HostAddress;
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;

/// `IFF_UP`.
const IFF_UP: u64 = 1;
/// More addresses than an interface is plausible to have.
const MAX_ADDRESSES: usize = 1 << 16;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its network stack.
    #[serde(flatten)]
    pub stack: NetworkStack,
    /// Where its `struct ifnet` is.
    #[serde(rename = "ifnet")]
    pub address: Hex,
    /// Its name.
    pub name: Option<Name>,
    /// Its number in the network stack.
    pub index: Option<u64>,
    /// The largest packet, in bytes.
    pub mtu: Option<u64>,
    /// `IFF_*`, those of the driver as well.
    #[serde(rename = "interface_flags")]
    pub flags: Option<Hex>,
    /// `LINK_STATE_*`: 0 unknown, 1 down, 2 up.
    pub link_state: Option<u64>,
    /// The address on the link, or the name of an interface that has none.
    pub link_address: Option<String>,
    /// The counters, unless the driver counts by itself.
    pub counters: InterfaceCounters,
    /// Whether the driver has a function of its own that tells the counters: they are not known then.
    #[serde(rename = "is_counted_by_driver")]
    pub has_own_counters: Option<bool>,
    /// Its other addresses.
    pub addresses: Vec<InterfaceAddress>,
}

/// What an interface counted (`IFCOUNTER_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct InterfaceCounters {
    /// Packets that were received.
    #[serde(rename = "packets_in_count")]
    pub packets_in: Option<u64>,
    /// Errors in receiving.
    #[serde(rename = "errors_in_count")]
    pub errors_in: Option<u64>,
    /// Packets that were received and dropped.
    #[serde(rename = "drops_in_count")]
    pub drops_in: Option<u64>,
    /// Bytes that were received.
    pub bytes_in: Option<u64>,
    /// Packets that were sent.
    #[serde(rename = "packets_out_count")]
    pub packets_out: Option<u64>,
    /// Errors in sending.
    #[serde(rename = "errors_out_count")]
    pub errors_out: Option<u64>,
    /// Packets that were to be sent and were dropped.
    #[serde(rename = "drops_out_count")]
    pub drops_out: Option<u64>,
    /// Bytes that were sent.
    pub bytes_out: Option<u64>,
    /// Collisions.
    #[serde(rename = "collision_count")]
    pub collisions: Option<u64>,
    /// Packets that were received by multicast.
    #[serde(rename = "multicasts_in_count")]
    pub multicasts_in: Option<u64>,
    /// Packets that were sent by multicast.
    #[serde(rename = "multicasts_out_count")]
    pub multicasts_out: Option<u64>,
    /// Packets of unknown protocols.
    #[serde(rename = "no_protocol_count")]
    pub no_protocol: Option<u64>,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceAddress {
    /// The address; `None` if it is of another family than IPv4 and IPv6.
    pub host_address: Option<HostAddress>,
    /// Its network.
    pub network: Option<Network>,
    /// Packets that were received.
    #[serde(rename = "packets_in_count")]
    pub packets_in: Option<u64>,
    /// Bytes that were received.
    pub bytes_in: Option<u64>,
    /// Packets that were sent.
    #[serde(rename = "packets_out_count")]
    pub packets_out: Option<u64>,
    /// Bytes that were sent.
    pub bytes_out: Option<u64>,
}

/// All interfaces of all network stacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Interfaces {
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Interfaces {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack network stacks or interfaces.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        typed.structure("ifnet")?;
        let mut reader = Reader::new(typed);
        let stacks = NetworkStack::read_all(&mut reader)?;
        let own = typed.symbols.find("if_get_counter_default")?.map(|symbol| symbol.address);
        let mut all = All { reader, counted_by_stack: own, found: Vec::new() };
        stacks.iter().for_each(|stack| all.add_stack(stack));
        Ok(Self { interfaces: all.found, warnings: all.reader.into_warnings() })
    }
}

/// Interfaces as they are being read.
struct All<'a> {
    reader: Reader<'a>,
    /// The function that tells the counters of an interface whose driver does not (`if_get_counter_default`).
    counted_by_stack: Option<u64>,
    found: Vec<Interface>,
}

impl<'a> All<'a> {
    fn add_stack(&mut self, stack: &NetworkStack) {
        let names = InterfaceNames::read(&mut self.reader, stack);
        for interface in interfaces(&mut self.reader, stack) {
            let what = format!("the interface at {}", Hex(interface.address()));
            let read = interface.fetched().map(|fetched| self.interface(stack, &what, &fetched, &names));
            let read = self.reader.keep(|| what.clone(), read);
            self.found.extend(read);
        }
    }

    fn interface(
        &mut self,
        stack: &NetworkStack,
        what: &str,
        interface: &Object<'a>,
        names: &InterfaceNames,
    ) -> Interface {
        let reader = &mut self.reader;
        let name = reader.keep(|| format!("the name of {what}"), interface_name(interface));
        let mut number = |member: &str| reader.number(&what, interface, member);
        let flags = number("if_flags").zip(number("if_drv_flags")).map(|(flags, of_driver)| Hex(flags | of_driver));
        let (index, mtu, link_state) = (number("if_index"), number("if_mtu"), number("if_link_state"));
        let link = interface.member("if_addr").and_then(|link| link.dereference());
        let link = link.and_then(|link| SocketAddress::read(&link.member("ifa_addr")?.dereference()?, names));
        let link_address = match reader.keep(|| format!("the link address of {what}"), link) {
            Some(SocketAddress::Link { text, .. }) => Some(text),
            _ => None,
        };
        let has_own_counters = self.has_own_counters(interface);
        let counters = match has_own_counters {
            Some(false) => self.counters(what, interface),
            _ => InterfaceCounters::default(),
        };
        let addresses = self.addresses(what, interface, names);
        let address = Hex(interface.address());
        let stack = *stack;
        Interface {
            stack,
            address,
            name,
            index,
            mtu,
            flags,
            link_state,
            link_address,
            counters,
            has_own_counters,
            addresses,
        }
    }

    fn has_own_counters(&self, interface: &Object<'_>) -> Option<bool> {
        let function = interface.member("if_get_counter").and_then(|function| function.unsigned());
        Some(function.ok()? != self.counted_by_stack?)
    }

    fn counters(&mut self, what: &str, interface: &Object<'a>) -> InterfaceCounters {
        let all = interface.member("if_counters").ok();
        let mut counter = |index: u64| {
            let counter = all.as_ref()?.index(index);
            self.reader.counter(&format_args!("if_counters[{index}] of {what}"), counter)
        };
        InterfaceCounters {
            packets_in: counter(0),
            errors_in: counter(1),
            packets_out: counter(2),
            errors_out: counter(3),
            collisions: counter(4),
            bytes_in: counter(5),
            bytes_out: counter(6),
            multicasts_in: counter(7),
            multicasts_out: counter(8),
            drops_in: counter(9),
            drops_out: counter(10),
            no_protocol: counter(11),
        }
    }

    /// All addresses but the first, which is that of the link.
    fn addresses(&mut self, what: &str, interface: &Object<'a>, names: &InterfaceNames) -> Vec<InterfaceAddress> {
        let list = format!("the list of addresses of {what}");
        let found = interface.member("if_addrhead");
        let found = found.and_then(|head| self.reader.list(&list, &head, "ifa_link", MAX_ADDRESSES));
        let found = self.reader.keep(|| list.clone(), found);
        let first = interface.member("if_addr").and_then(|link| link.unsigned()).ok();
        let others = found.into_iter().flatten().filter(|address| Some(address.address()) != first);
        others.map(|address| self.address(&address, names)).collect()
    }

    fn address(&mut self, address: &Object<'a>, names: &InterfaceNames) -> InterfaceAddress {
        let what = format!("the interface's address at {}", Hex(address.address()));
        let reader = &mut self.reader;
        let host = address.member("ifa_addr").and_then(|at| SocketAddress::read(&at.dereference()?, names));
        let host = match reader.keep(|| what.clone(), host) {
            Some(SocketAddress::Internet(host)) => Some(host),
            _ => None,
        };
        let mask = address.member("ifa_netmask").and_then(|mask| mask.follow());
        let network = host.as_ref().zip(reader.keep(|| format!("the mask of {what}"), mask).flatten());
        let network = network.map(|(host, mask)| Network::read(host, &mask));
        let network = network.and_then(|network| reader.keep(|| format!("the mask of {what}"), network));
        let mut counter = |member: &str| reader.counter(&format_args!("{member} of {what}"), address.member(member));
        InterfaceAddress {
            host_address: host,
            network,
            packets_in: counter("ifa_ipackets"),
            bytes_in: counter("ifa_ibytes"),
            packets_out: counter("ifa_opackets"),
            bytes_out: counter("ifa_obytes"),
        }
    }
}

impl Topic for Interfaces {
    fn tables(&self) -> Vec<Table> {
        let names = [left("Name"), right("Mtu"), left("Network"), left("Address")];
        let counters = ["Ipkts", "Ierrs", "Idrop", "Opkts", "Oerrs", "Coll", "JID"].map(right);
        let rows = self.interfaces.iter().flat_map(rows).collect();
        vec![Table::new([&names[..], &counters].concat(), rows)]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// A row for the link, and one for each address. A star behind the name: the interface is down.
fn rows(interface: &Interface) -> Vec<Vec<String>> {
    let is_down = interface.flags.is_some_and(|flags| flags.0 & IFF_UP == 0);
    let name = format!("{}{}", name_cell(interface.name.as_ref()), if is_down { "*" } else { "" });
    let InterfaceCounters { packets_in, errors_in, drops_in, packets_out, errors_out, collisions, .. } =
        interface.counters;
    let counted = [packets_in, errors_in, drops_in, packets_out, errors_out, collisions];
    let number = format!("<Link#{}>", cell(interface.index));
    let mut link = vec![name.clone(), cell(interface.mtu), number, cell(interface.link_address.as_ref())];
    link.extend(counted.map(cell));
    let address = |address: &InterfaceAddress| {
        let counted = [address.packets_in, None, None, address.packets_out, None, None];
        let mut row =
            vec![name.clone(), cell(None::<u64>), cell(address.network.as_ref()), cell(address.host_address.as_ref())];
        row.extend(counted.map(cell));
        row
    };
    let mut rows = vec![link];
    rows.extend(interface.addresses.iter().map(address));
    rows.iter_mut().for_each(|row| row.push(cell(interface.stack.jail_id)));
    rows
}
