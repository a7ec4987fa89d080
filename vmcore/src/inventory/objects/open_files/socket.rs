//! Sockets that are open: what fstat(1) shows of them.
//!
//! Sources: `struct socket` in `sys/sys/socketvar.h`, `sys/sys/protosw.h`, `sys/sys/unpcb.h`, `sys/netinet/in_pcb.h`.

use crate::error::Result;
use crate::inventory::host_address::HostAddress;
use crate::inventory::pcb::{host_address, port, unix_path};
use crate::inventory::reader::{MAX_NAME, Reader};
use crate::kernel::Object;
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;

/// Address families.
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 28;
/// `INP_IPV4` in `inp_vflag`.
const INP_IPV4: u64 = 1;
/// `SBS_CANTSENDMORE` and `SBS_CANTRCVMORE` in `sb_state`.
const CANNOT_SEND: u64 = 0x10;
const CANNOT_RECEIVE: u64 = 0x20;
/// What sockets are by `so_type`.
const KINDS: [&str; 6] = ["unused", "stream", "dgram", "raw", "rdm", "seqpak"];
/// Protocols of IP by number, as protocols(5) calls them.
const PROTOCOLS: [(u64, &str); 9] = [
    (0, "ip"),
    (1, "icmp"),
    (2, "igmp"),
    (6, "tcp"),
    (17, "udp"),
    (58, "ipv6-icmp"),
    (103, "pim"),
    (132, "sctp"),
    (136, "udplite"),
];

/// A socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Socket {
    /// The name of its protocols, `internet`.
    #[serde(rename = "domain_name")]
    pub domain: Option<Name>,
    /// Their number, `AF_…`.
    #[serde(rename = "address_family")]
    pub family: Option<u64>,
    /// What it is, `stream`.
    #[serde(rename = "type")]
    pub kind: Option<&'static str>,
    /// The number of its protocol.
    pub protocol_number: Option<u64>,
    /// Its name, of those of the internet.
    pub protocol: Option<&'static str>,
    /// Where its protocol control block is.
    pub pcb: Option<Hex>,
    /// Of a local one that is connected, where that of the other is.
    pub peer_pcb: Option<Hex>,
    /// Whether it can receive more.
    pub can_receive: Option<bool>,
    /// Whether it can send more.
    pub can_send: Option<bool>,
    /// Of a local one, its path, or if it has none that of the one it is connected with.
    pub path: Option<Name>,
    /// Its address in the internet.
    pub local: Option<Endpoint>,
    /// That of the other end; unspecified if it is not connected.
    pub foreign: Option<Endpoint>,
}

/// What sockets have in common that are of the same protocol, by where its structure is.
pub(super) type Protocols = HashMap<u64, Protocol>;

/// A protocol.
#[derive(Clone)]
pub(super) struct Protocol {
    number: u64,
    domain: Option<(u64, Option<Name>)>,
}

impl Protocol {
    fn read(protocol: &Object<'_>) -> Result<Self> {
        let number = protocol.member("pr_protocol")?.unsigned()?;
        let Some(domain) = protocol.member("pr_domain")?.follow()? else { return Ok(Self { number, domain: None }) };
        let name = domain.member("dom_name")?.string(MAX_NAME)?.map(Name::from);
        Ok(Self { number, domain: Some((domain.member("dom_family")?.unsigned()?, name)) })
    }
}

/// An address with a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// The address: of IPv4 or IPv6.
    #[serde(rename = "ip_address")]
    pub address: HostAddress,
    /// The port, 0 if it has none.
    pub port: u16,
    #[serde(skip)]
    is_v6: bool,
}

impl fmt::Display for Endpoint {
    /// As fstat(1) shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.is_v6 { '.' } else { ':' };
        if self.address.address.is_unspecified() {
            return write!(f, "*{separator}{}", self.port);
        }
        write!(f, "{}{separator}{}", self.address, self.port)
    }
}

impl Socket {
    /// Reads that at an address.
    pub(super) fn read(reader: &mut Reader<'_>, socket: &Object<'_>, known: &mut Protocols) -> Self {
        let what = format!("the socket at {}", Hex(socket.address()));
        let read = socket.fetched().and_then(|socket| Self::read_own(&socket, known).map(|read| (socket, read)));
        let Some((socket, mut read)) = reader.keep(|| what.clone(), read) else { return Self::default() };
        let rest = read.read_pcb(&socket);
        reader.keep(|| format!("the control block of {what}"), rest);
        read
    }

    fn read_own(socket: &Object<'_>, known: &mut Protocols) -> Result<Self> {
        let kind = socket.member("so_type")?.unsigned()?;
        let state = |member: &str| socket.member(member).and_then(|state| state.unsigned()).ok();
        let lacks = |member: &str, bit: u64| state(member).map(|state| state & bit == 0);
        let mut read = Self {
            kind: usize::try_from(kind).ok().and_then(|kind| KINDS.get(kind).copied()),
            pcb: Some(Hex(socket.member("so_pcb")?.unsigned()?)),
            can_receive: lacks("so_rcv.sb_state", CANNOT_RECEIVE),
            can_send: lacks("so_snd.sb_state", CANNOT_SEND),
            ..Self::default()
        };
        let Some(protocol) = socket.member("so_proto")?.follow()? else { return Ok(read) };
        let at = protocol.address();
        let protocol = match known.get(&at) {
            Some(protocol) => protocol.clone(),
            None => Protocol::read(&protocol)?,
        };
        known.insert(at, protocol.clone());
        let number = protocol.number;
        read.protocol_number = Some(number);
        let Some((family, domain)) = protocol.domain else { return Ok(read) };
        (read.family, read.domain) = (Some(family), domain);
        if matches!(read.family, Some(AF_INET | AF_INET6)) {
            read.protocol = PROTOCOLS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
        }
        Ok(read)
    }

    fn read_pcb(&mut self, socket: &Object<'_>) -> Result<()> {
        let Some(pcb) = self.pcb.filter(|pcb| pcb.0 != 0) else { return Ok(()) };
        let structure = match self.family {
            Some(AF_UNIX) => "unpcb",
            Some(AF_INET | AF_INET6) => "inpcb",
            _ => return Ok(()),
        };
        let pcb = socket.typed().structure_at(structure, pcb.0)?.fetched()?;
        if structure == "unpcb" {
            let peer = pcb.member("unp_conn")?.follow()?;
            self.peer_pcb = peer.as_ref().map(|peer| Hex(peer.address()));
            self.path = bound_path(&pcb)?;
            if let (None, Some(peer)) = (&self.path, peer) {
                self.path = bound_path(&peer)?;
            }
            return Ok(());
        }
        let is_v6 = pcb.member("inp_vflag")?.unsigned()? & INP_IPV4 == 0;
        let ends = pcb.member("inp_inc.inc_ie")?;
        self.local = Some(endpoint(&ends, ["ie_dependladdr", "ie_lport"], is_v6)?);
        self.foreign = Some(endpoint(&ends, ["ie_dependfaddr", "ie_fport"], is_v6)?);
        Ok(())
    }
}

fn endpoint(ends: &Object<'_>, [address, member]: [&str; 2], is_v6: bool) -> Result<Endpoint> {
    // The number of a link's interface is within its addresses.
    let address = host_address(ends, (address, !is_v6), |_| None)?;
    Ok(Endpoint { address, port: port(ends, member)?, is_v6 })
}

/// The path that a local socket is bound to, if it has one.
fn bound_path(pcb: &Object<'_>) -> Result<Option<Name>> {
    Ok(unix_path(pcb)?.filter(|path| !path.is_empty()))
}
