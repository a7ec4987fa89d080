//! Jails, as `jls -v` and `jls -n` show them.
//!
//! Sources: `struct prison` in `sys/sys/jail.h`, `pr_flag_bool`, `pr_flag_jailsys`, `pr_flag_allow` and `kern_jail_get()` in
//! `sys/kern/kern_jail.c`, `usr.sbin/jls/jls.c`.

use crate::error::{Error, Result};
use crate::inventory::fields::Fields;
use crate::inventory::reader::{MAX_NAME, Reader};
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr};

/// More jails than are plausible.
const MAX_JAILS: usize = 1 << 16;
/// More addresses than a jail may have (`security.jail.jail_max_af_ips` is 255 unless it is changed).
const MAX_ADDRESSES: u64 = 1 << 16;
/// Addresses of all jails that are read.
const MAX_ALL_ADDRESSES: u64 = 1 << 20;
/// More parameters of a kind than a kernel knows.
const MAX_PARAMETERS: u64 = 128;
/// What a jail shares or has for itself, with the bits of `pr_flags` that say so (`PR_HOST`, …).
const SHARED: [(&str, u64, &str); 4] =
    [("host", 0x2, "new"), ("vnet", 0x10, "new"), ("ip4", 0x4, "disable"), ("ip6", 0x8, "disable")];
/// Values of `pr_state`.
const STATES: [&str; 3] = ["invalid", "active", "dying"];

/// A jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jail {
    /// Where its `struct prison` is.
    pub address: Hex,
    /// Its number.
    pub jail_id: Option<i64>,
    /// That of the jail that it is in; 0 is the host.
    pub parent_id: Option<i64>,
    /// Its name.
    pub name: Option<Name>,
    /// Its root directory, as the host sees it.
    pub path: Option<Name>,
    /// Whether it lives: `active`, or `dying` when only resources are left of it.
    pub state: Option<&'static str>,
    /// Its host name.
    pub hostname: Option<Name>,
    /// Its NIS domain.
    pub domainname: Option<Name>,
    /// Its host's UUID.
    pub host_uuid: Option<Name>,
    /// Its host's number.
    pub host_id: Option<u64>,
    /// The addresses that it may use.
    pub ipv4_addresses: Option<Vec<String>>,
    /// The same of IPv6.
    pub ipv6_addresses: Option<Vec<String>>,
    /// The number of its set of CPUs.
    pub cpuset_id: Option<i64>,
    /// Where its network stack is, which it may share with the host.
    pub vnet: Option<Hex>,
    /// The security level.
    pub securelevel: Option<i64>,
    /// How much it sees of mounts.
    pub enforce_statfs: Option<i64>,
    /// The rules of devfs(5) that mounts in it have.
    pub devfs_ruleset: Option<i64>,
    /// Jails in it.
    #[serde(rename = "child_count")]
    pub children: Option<u64>,
    /// How many there may be.
    #[serde(rename = "child_limit_count")]
    pub child_limit: Option<u64>,
    /// The release that programs are told of.
    pub os_release: Option<Name>,
    /// The same as a number.
    pub os_version: Option<i64>,
    /// What refers to it.
    #[serde(rename = "reference_count")]
    pub references: Option<u64>,
    /// Processes and others that keep it alive.
    #[serde(rename = "user_reference_count")]
    pub user_references: Option<u64>,
    /// Its other parameters: what it shares, and what it may do.
    pub parameters: Vec<Parameter>,
}

/// A parameter of a jail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// As jail(8) calls it.
    pub name: Name,
    /// `true` and `false`, or of what can be shared `new`, `inherit` and `disable`.
    pub value: &'static str,
}

/// All jails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Jails {
    /// The jails, in the order of the kernel's list; the host is none.
    pub jails: Vec<Jail>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// What the kernel calls the bits of two members.
struct Flags {
    /// Of `pr_flags`.
    own: Vec<(Name, u64)>,
    /// Of `pr_allow`.
    allow: Vec<(Name, u64)>,
}

impl Jails {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the list, or its head cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let head = typed.variable("allprison")?;
        let mut reader = Reader::new(typed);
        let list = reader.list(&"the list of jails", &head, "pr_list", MAX_JAILS)?;
        // The host counts those that are in the list, at every level.
        let count = typed.variable("prison0").and_then(|host| host.member("pr_childcount")?.unsigned());
        let count = reader.keep(|| "the number of jails".to_owned(), count);
        if let Some(count) = count.filter(|count| *count > list.len() as u64) {
            reader.warn(|| format!("the list of jails is damaged: it has {} of {count}", list.len()));
        }
        let [own, allow] = ["pr_flag_bool", "pr_flag_allow"].map(|variable| {
            let read = typed.variable(variable).and_then(|flags| read_flags(&flags));
            reader.keep(|| variable.to_owned(), read).into_iter().flatten().collect()
        });
        let flags = Flags { own, allow };
        let mut left = MAX_ALL_ADDRESSES;
        let jails = list.iter().map(|jail| read_jail(&mut reader, jail, &flags, &mut left)).collect();
        Ok(Self { jails, warnings: reader.into_warnings() })
    }
}

/// The names of bits, which modules add to.
fn read_flags(flags: &Object<'_>) -> Result<Vec<(Name, u64)>> {
    let mut found = Vec::new();
    for index in 0..flags.count().map_or(0, |count| count.min(MAX_PARAMETERS)) {
        let flag = flags.index(index)?;
        let bit = flag.member("flag")?.unsigned()?;
        if bit == 0 {
            break;
        }
        let name = flag.member("name")?.string(MAX_NAME)?;
        found.extend(name.map(|name| (Name::from(name), bit)));
    }
    Ok(found)
}

fn read_jail<'a>(reader: &mut Reader<'a>, jail: &Object<'a>, flags: &Flags, left: &mut u64) -> Jail {
    let mut fields = Fields::new(reader, "jail", jail);
    let jail = fields.object().clone();
    let mut of = |pointer: &str, member: &str| {
        let number = jail.member(pointer).and_then(|of| of.dereference()?.member(member)?.signed());
        fields.keep(pointer, number)
    };
    let (parent_id, cpuset_id) = (of("pr_parent", "pr_id"), of("pr_cpuset", "cs_id"));
    let mut addresses = |family: &str, index: u64| {
        let read = addresses(&jail, index, left);
        fields.keep(&format!("the addresses of {family}"), read)
    };
    let (ipv4_addresses, ipv6_addresses) = (addresses("IPv4", 0), addresses("IPv6", 1));
    let (own, allow) = (fields.number("pr_flags"), fields.number("pr_allow"));
    Jail {
        address: Hex(jail.address()),
        jail_id: fields.signed("pr_id"),
        parent_id,
        name: fields.text("pr_name"),
        path: fields.text("pr_path"),
        ipv4_addresses,
        ipv6_addresses,
        state: fields.keep("the state", state(&jail)),
        hostname: fields.text("pr_hostname"),
        domainname: fields.text("pr_domainname"),
        host_uuid: fields.text("pr_hostuuid"),
        host_id: fields.number("pr_hostid"),
        cpuset_id,
        vnet: fields.number("pr_vnet").map(Hex),
        securelevel: fields.signed("pr_securelevel"),
        enforce_statfs: fields.signed("pr_enforce_statfs"),
        devfs_ruleset: fields.signed("pr_devfs_rsnum"),
        children: fields.number("pr_childcount"),
        child_limit: fields.number("pr_childmax"),
        os_release: fields.text("pr_osrelease"),
        os_version: fields.signed("pr_osreldate"),
        references: fields.number("pr_ref"),
        user_references: fields.number("pr_uref"),
        parameters: parameters(flags, own, allow),
    }
}

/// Before FreeBSD 14 a jail lives as long as something uses it.
fn state(jail: &Object<'_>) -> Result<&'static str> {
    let state = match jail.member("pr_state") {
        Ok(state) => state.unsigned()?,
        Err(_) if jail.member("pr_uref")?.unsigned()? > 0 => 1,
        Err(_) => 2,
    };
    let found = usize::try_from(state).ok().and_then(|state| STATES.get(state).copied());
    found.ok_or_else(|| Error::Format(format!("it is {state}")))
}

/// The addresses of a family; none if there is no list of them.
fn addresses(jail: &Object<'_>, family: u64, left: &mut u64) -> Result<Vec<String>> {
    let Some(list) = jail.member("pr_addrs")?.index(family)?.follow()? else { return Ok(Vec::new()) };
    let count = list.member("ips")?.unsigned()?;
    let remaining = left.checked_sub(count).filter(|_| count <= MAX_ADDRESSES);
    *left = remaining.ok_or_else(|| Error::Format(format!("there are {count}")))?;
    let size = if family == 0 { 4 } else { 16 };
    let bytes = list.member("pr_ip")?.leading_bytes(count.saturating_mul(size))?;
    let v4 = bytes.as_chunks().0.iter().map(|bytes: &[u8; 4]| Ipv4Addr::from(*bytes).to_string());
    let v6 = bytes.as_chunks().0.iter().map(|bytes: &[u8; 16]| Ipv6Addr::from(*bytes).to_string());
    Ok(if family == 0 { v4.collect() } else { v6.collect() })
}

fn parameters(flags: &Flags, own: Option<u64>, allow: Option<u64>) -> Vec<Parameter> {
    let mut found = Vec::new();
    if let Some(own) = own {
        found.extend(SHARED.iter().map(|(name, bit, set)| {
            let value = if own & bit != 0 { set } else { "inherit" };
            Parameter { name: Name::from(*name), value }
        }));
    }
    for (names, set) in [(&flags.own, own), (&flags.allow, allow)] {
        let Some(set) = set else { continue };
        found.extend(names.iter().map(|(name, bit)| {
            let value = if set & bit != 0 { "true" } else { "false" };
            Parameter { name: name.clone(), value }
        }));
    }
    found
}

impl Topic for Jails {
    fn tables(&self) -> Vec<Table> {
        let columns = [
            right("JID"),
            left("Hostname"),
            left("Path"),
            left("Name"),
            left("State"),
            right("CPUSetID"),
            left("IP Address(es)"),
            right("Parent"),
            left("VNET"),
        ];
        vec![Table::new(columns, self.jails.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn row(jail: &Jail) -> Vec<String> {
    let addresses = jail.ipv4_addresses.as_ref().zip(jail.ipv6_addresses.as_ref());
    let addresses = addresses.map(|(v4, v6)| v4.iter().chain(v6).map(String::as_str).collect::<Vec<_>>().join(", "));
    vec![
        cell(jail.jail_id),
        name_cell(jail.hostname.as_ref()),
        name_cell(jail.path.as_ref()),
        name_cell(jail.name.as_ref()),
        cell(jail.state.map(str::to_uppercase)),
        cell(jail.cpuset_id),
        cell(addresses),
        cell(jail.parent_id),
        cell(jail.vnet),
    ]
}
