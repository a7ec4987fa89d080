//! Routes of IPv4 and IPv6, as `netstat -rn` shows them, of every routing table (FIB).
//!
//! Sources: `sys/net/route/route_var.h`, `route_tables.c`, `nhop.h`, `nhop_var.h`, `nhgrp_var.h`, `dump_px()` in
//! `sys/netlink/route/rt.c`, `usr.bin/netstat/route.c` and `route_netlink.c`.

use super::interface_list::{InterfaceNames, interface_name};
use super::radix_tree::{Leaves, leaves};
use super::sockaddr::{AF_INET, AF_INET6, Network, SocketAddress};
use super::stacks::NetworkStack;
use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;

/// More routes than are read.
const MAX_ROUTES: usize = 1 << 21;
/// More routing tables than a kernel has.
const MAX_TABLES: u64 = 1 << 16;
/// `NHF_MULTIPATH`: there are several next hops; `NHF_GATEWAY`: it is a gateway.
const NHF_MULTIPATH: u64 = 0x8;
const NHF_GATEWAY: u64 = 0x200;
/// `RTF_UP`, which all routes have, and `RTF_HOST`.
const RTF_UP: u64 = 1;
const RTF_HOST: u64 = 4;

/// The letters of flags, in the order of netstat(1).
const FLAGS: [(u64, char); 15] = [
    (RTF_UP, 'U'),
    (0x2, 'G'),
    (RTF_HOST, 'H'),
    (0x8, 'R'),
    (0x10, 'D'),
    (0x20, 'M'),
    (0x40, 'd'),
    (0x200, 'X'),
    (0x800, 'S'),
    (0x8000, '1'),
    (0x4000, '2'),
    (0x4_0000, '3'),
    (0x1000, 'B'),
    (0x40_0000, 'b'),
    (0x400, 'L'),
];

/// A route; of one with several next hops, one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Its network stack.
    #[serde(flatten)]
    pub stack: NetworkStack,
    /// The number of the routing table.
    #[serde(rename = "fib")]
    pub table: u64,
    /// `inet` or `inet6`.
    pub family: &'static str,
    /// The network or host that it leads to.
    pub destination: Option<String>,
    /// The gateway, or the number of the interface that the destination is on, `link#2`.
    pub gateway: Option<String>,
    /// `RTF_*`.
    #[serde(rename = "route_flags")]
    pub flags: Option<Hex>,
    /// The interface.
    pub interface: Option<Name>,
    /// The number of the next hop.
    #[serde(rename = "next_hop")]
    pub next_hop: Option<u64>,
    /// The largest packet, in bytes.
    pub mtu: Option<u64>,
    /// How much of the packets go this way, compared with other routes to the same destination.
    pub weight: Option<u64>,
    /// Seconds until it expires; `None` if it does not.
    #[serde(rename = "expires_seconds")]
    pub expires: Option<u64>,
}

/// All routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Routes {
    /// The routes.
    pub routes: Vec<Route>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Routes {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack network stacks or next hops (before FreeBSD 13).
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        typed.structure("nhop_object")?;
        let families = address_families(source)?;
        let mut reader = Reader::new(typed);
        let stacks = NetworkStack::read_all(&mut reader)?;
        let uptime = reader.variable("time_uptime");
        let mut all = All { reader, families, uptime, tables_left: MAX_TABLES, found: Vec::new() };
        stacks.iter().for_each(|stack| all.add_stack(*stack));
        Ok(Self { routes: all.found, warnings: all.reader.into_warnings() })
    }
}

/// How many trees each routing table has: one for each address family up to `AF_MAX`, as interfaces have something for each
/// below it.
fn address_families(source: &Source<'_>) -> Result<u64> {
    let interface = source.typed.structure_at("ifnet", 0)?;
    let count = interface.member("if_afdata")?.count();
    let count = count.ok_or_else(|| Error::Unsupported("the number of address families is not known".to_owned()))?;
    Ok(count.saturating_add(1))
}

/// Routes as they are being read.
struct All<'a> {
    reader: Reader<'a>,
    families: u64,
    /// Seconds since the kernel started.
    uptime: Option<u64>,
    /// How many routing tables are read at most from now on.
    tables_left: u64,
    found: Vec<Route>,
}

/// What the routes of a tree have in common.
struct Tree<'n> {
    stack: NetworkStack,
    table: u64,
    family: &'static str,
    names: &'n InterfaceNames,
}

impl<'a> All<'a> {
    fn add_stack(&mut self, stack: NetworkStack) {
        let typed = self.reader.typed;
        let names = InterfaceNames::read(&mut self.reader, &stack);
        let count = stack.variable(typed, "_rt_numfibs").and_then(|count| self.tables(count.unsigned()?));
        let tables = stack.variable(typed, "rt_tables").and_then(|tables| tables.dereference());
        let count = self.reader.keep(|| "the number of routing tables".to_owned(), count);
        let tables = self.reader.keep(|| "the routing tables".to_owned(), tables);
        let (Some(count), Some(tables)) = (count, tables) else { return };
        for table in 0..count {
            for (number, family) in [(AF_INET, "inet"), (AF_INET6, "inet6")] {
                let tree = Tree { stack, table, family, names: &names };
                let head = pointer_at(&tables, table.saturating_mul(self.families).saturating_add(number));
                let added = head.and_then(|head| head.map_or(Ok(()), |head| self.add_tree(&tree, number, &head)));
                self.reader.keep(|| format!("the {family} routes of table {table}"), added);
            }
        }
    }

    /// The number of routing tables, if they are not too many.
    fn tables(&mut self, count: u64) -> Result<u64> {
        let left = self.tables_left.checked_sub(count);
        self.tables_left = left.ok_or_else(|| Error::Format(format!("it is {count}")))?;
        Ok(count)
    }

    fn add_tree(&mut self, tree: &Tree<'_>, family: u64, head: &Object<'a>) -> Result<()> {
        let found = head.member("rib_family")?.unsigned()?;
        if (found, head.member("rib_fibnum")?.unsigned()?) != (family, tree.table) {
            return Err(Error::Format(format!("there is no such table at {}", Hex(head.address()))));
        }
        let of = self.reader.typed.structure("rtentry")?;
        let top = head.member("head.rnh_treetop")?.dereference()?;
        let Leaves { found, end } = leaves(top, MAX_ROUTES.saturating_sub(self.found.len()));
        for leaf in found {
            let route = self.reader.typed.object(leaf.address(), of);
            let added = route.fetched().and_then(|route| self.add_route(tree, &route));
            self.reader.keep(|| format!("the route at {}", Hex(leaf.address())), added);
        }
        match end {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn add_route(&mut self, tree: &Tree<'_>, route: &Object<'a>) -> Result<()> {
        let hop = route.member("rt_nhop")?.dereference()?;
        let weight = route.member("rt_weight").and_then(|weight| weight.unsigned());
        let weight = self.reader.keep(|| format!("the weight of the route at {}", Hex(route.address())), weight);
        if hop.member("nh_flags")?.unsigned()? & NHF_MULTIPATH == 0 {
            return self.add_hop(tree, route, &hop, weight);
        }
        for (hop, weight) in group(&hop)? {
            self.add_hop(tree, route, &hop, Some(weight))?;
        }
        Ok(())
    }

    fn add_hop(&mut self, tree: &Tree<'_>, route: &Object<'a>, hop: &Object<'a>, weight: Option<u64>) -> Result<()> {
        let hop = hop.fetched()?;
        let what = format!("the next hop at {}", Hex(hop.address()));
        let reader = &mut self.reader;
        let private = hop.member("nh_priv").and_then(|private| private.dereference()?.fetched());
        let private = reader.keep(|| what.clone(), private);
        let flags = private.as_ref().and_then(|private| reader.number(&what, private, "rt_flags"));
        let expires = private.as_ref().and_then(|private| reader.number(&what, private, "nh_expire"));
        let next_hop = private.as_ref().and_then(|private| reader.number(&what, private, "nh_idx"));
        let destination = destination(route, flags, tree.names);
        let destination = reader.keep(|| format!("the destination of {}", Hex(route.address())), destination);
        let interface = hop.member("nh_ifp").and_then(|interface| interface.dereference()?.fetched());
        let interface = reader.keep(|| format!("the interface of {what}"), interface);
        let index = interface.as_ref().and_then(|interface| reader.number(&what, interface, "if_index"));
        let name = interface.as_ref().map(interface_name);
        let name = name.and_then(|name| reader.keep(|| format!("the interface of {what}"), name));
        let gateway = gateway(&hop, tree.names);
        let gateway = match reader.keep(|| format!("the gateway of {what}"), gateway) {
            Some(Some(gateway)) => Some(gateway),
            Some(None) => index.map(|index| format!("link#{index}")),
            None => None,
        };
        let left = expires.zip(self.uptime).and_then(|(expires, uptime)| expires.checked_sub(uptime));
        self.found.push(Route {
            stack: tree.stack,
            table: tree.table,
            family: tree.family,
            destination,
            gateway,
            flags: flags.map(|flags| Hex(flags | RTF_UP)),
            interface: name,
            next_hop,
            mtu: reader.number(&what, &hop, "nh_mtu"),
            weight,
            expires: left.filter(|left| *left > 0),
        });
        Ok(())
    }
}

/// What a pointer in an array of pointers leads to; `None` where it is a null pointer.
fn pointer_at<'a>(first: &Object<'a>, index: u64) -> Result<Option<Object<'a>>> {
    let size = first.size().ok_or_else(|| Error::Unsupported("a pointer has no size".to_owned()))?;
    let at = first.address().saturating_add(size.saturating_mul(index));
    first.typed().object(at, first.type_id()).follow()
}

/// The next hops of a group with their weights: an array behind the group's pointers to those that are used.
fn group<'a>(group: &Object<'a>) -> Result<Vec<(Object<'a>, u64)>> {
    let typed = group.typed();
    let group = group.with_type(typed.structure("nhgrp_object")?);
    let private = group.member("nhops")?.index(group.member("nhg_size")?.unsigned()?)?;
    let private = typed.structure_at("nhgrp_priv", private.address())?;
    let (count, all) = (private.member("nhg_nh_count")?.unsigned()?, private.member("nhg_nh_weights")?);
    let hop = |index: u64| {
        let hop = all.index(index)?;
        Ok((hop.member("nh")?.dereference()?, hop.member("weight")?.unsigned()?))
    };
    (0..count).map(hop).collect()
}

/// The network or host that a route leads to.
fn destination(route: &Object<'_>, flags: Option<u64>, names: &InterfaceNames) -> Result<String> {
    let leaf = route.member("rt_nodes")?.index(0)?.member("rn_u.rn_leaf")?;
    let mask = leaf.member("rn_Mask")?.follow()?;
    match (SocketAddress::read(&leaf.member("rn_Key")?.dereference()?, names)?, mask) {
        (SocketAddress::Internet(host), Some(mask)) if flags.is_none_or(|flags| flags & RTF_HOST == 0) => {
            Ok(Network::read(&host, &mask)?.to_string())
        }
        (SocketAddress::Internet(host), _) => Ok(host.to_string()),
        (_, _) => Err(Error::Format("it is of another address family".to_owned())),
    }
}

/// The gateway of a next hop, if it has one.
fn gateway(hop: &Object<'_>, names: &InterfaceNames) -> Result<Option<String>> {
    if hop.member("nh_flags")?.unsigned()? & NHF_GATEWAY == 0 {
        return Ok(None);
    }
    match SocketAddress::read(&hop.member("gw_sa")?, names)? {
        SocketAddress::Internet(host) => Ok(Some(host.to_string())),
        SocketAddress::Link { .. } => Ok(None),
        SocketAddress::Other(family) => Err(Error::Format(format!("it is of address family {family}"))),
    }
}

/// The letters of a route's flags.
fn letters(flags: Hex) -> String {
    FLAGS.iter().filter(|(flag, _)| flags.0 & flag != 0).map(|(_, letter)| letter).collect()
}

impl Topic for Routes {
    fn tables(&self) -> Vec<Table> {
        let columns = [left("Destination"), left("Gateway"), left("Flags"), right("Netif"), right("Expire")];
        let columns = [&columns[..], &[right("FIB"), right("JID")]].concat();
        let row = |route: &Route| {
            vec![
                cell(route.destination.as_ref()),
                cell(route.gateway.as_ref()),
                cell(route.flags.map(letters)),
                name_cell(route.interface.as_ref()),
                route.expires.map_or_else(String::new, |seconds| seconds.to_string()),
                route.table.to_string(),
                cell(route.stack.jail_id),
            ]
        };
        vec![Table::new(columns, self.routes.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
