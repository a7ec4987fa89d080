//! Sockets of the Internet protocols and of the Unix domain, as `netstat -an` shows them.
//!
//! Sources: `struct socket` in `sys/sys/socketvar.h`, `sys/netinet/tcp_fsm.h`, `usr.bin/netstat/inet.c` and `unix.c`.

use super::stacks::NetworkStack;
use crate::inventory::host_address::HostAddress;
use crate::text::Name;
use crate::units::Hex;
use serde::{Serialize, Serializer};
use std::fmt;

/// What a socket has, whatever its protocol is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SocketState {
    /// Where its `struct socket` is; 0 if the connection has none any more, or none yet.
    pub socket: Hex,
    /// Bytes that were received and not read.
    #[serde(rename = "bytes_to_read")]
    pub receive_bytes: Option<u64>,
    /// Bytes that were written and that the other side has not acknowledged.
    #[serde(rename = "bytes_to_send")]
    pub send_bytes: Option<u64>,
    /// The queues of a socket that listens; `None` of others.
    pub listen: Option<ListenQueue>,
    /// The effective user ID of who created it.
    pub user_id: Option<u64>,
    /// The processes that have it open, in ascending order; `None` if their file tables cannot be read.
    pub process_ids: Option<Vec<i32>>,
}

/// Connections that were not accepted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ListenQueue {
    /// Connections that are complete.
    #[serde(rename = "queue_count")]
    pub length: u64,
    /// Connections that are not complete yet.
    #[serde(rename = "incomplete_count")]
    pub incomplete: u64,
    /// How many there may be.
    #[serde(rename = "queue_limit")]
    pub limit: u64,
}

impl fmt::Display for ListenQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.length, self.incomplete, self.limit)
    }
}

/// A socket of TCP, UDP or another Internet protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InternetSocket {
    /// Its network stack.
    #[serde(flatten)]
    pub stack: NetworkStack,
    /// Where its protocol control block is, `struct inpcb`, which is part of `struct tcpcb` since FreeBSD 14; 0 of a connection
    /// that is only in the SYN cache.
    pub pcb: Hex,
    /// The protocol with the versions of IP, `tcp4` or `tcp46`.
    pub protocol: String,
    /// The number of the protocol, `IPPROTO_TCP` and so on.
    pub ip_protocol: Option<u64>,
    /// The address on this host.
    pub local_address: Option<HostAddress>,
    /// The port on this host; 0 is none.
    pub local_port: Option<u16>,
    /// The address of the other side.
    pub foreign_address: Option<HostAddress>,
    /// The port of the other side; 0 is none.
    pub foreign_port: Option<u16>,
    /// The state of a connection of TCP; `None` of other protocols.
    #[serde(rename = "tcp_state")]
    pub state: Option<TcpState>,
    /// Its queues and owners.
    #[serde(flatten)]
    pub socket: SocketState,
}

/// The state of a connection of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpState {
    /// `t_state`, one of `TCPS_*`.
    pub number: u64,
    /// Whether a SYN or FIN has to be sent that the state does not tell of (`TF_NEEDSYN`, `TF_NEEDFIN`).
    pub is_hidden: bool,
}

/// The names of states (`tcpstates`).
const TCP_STATES: [&str; 11] = [
    "CLOSED",
    "LISTEN",
    "SYN_SENT",
    "SYN_RCVD",
    "ESTABLISHED",
    "CLOSE_WAIT",
    "FIN_WAIT_1",
    "CLOSING",
    "LAST_ACK",
    "FIN_WAIT_2",
    "TIME_WAIT",
];

/// `netstat` marks a state that does not tell of a SYN or FIN with a star.
impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.number).ok().and_then(|number| TCP_STATES.get(number)) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{}", self.number)?,
        }
        f.write_str(if self.is_hidden { "*" } else { "" })
    }
}

impl Serialize for TcpState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A socket of the Unix domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnixSocket {
    /// Its network stack.
    #[serde(flatten)]
    pub stack: NetworkStack,
    /// Where its `struct unpcb` is.
    pub pcb: Hex,
    /// `stream`, `dgram` or `seqpacket`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The file that it is bound to; 0 is none.
    pub vnode: Option<Hex>,
    /// The `struct unpcb` that it is connected to; 0 is none.
    pub connection: Option<Hex>,
    /// The first of those that are connected to it; 0 is none.
    pub first_reference: Option<Hex>,
    /// The next of those that are connected to what it is connected to; 0 is none.
    pub next_reference: Option<Hex>,
    /// The path that it is bound to; `None` also if it is bound to none.
    pub path: Option<Name>,
    /// Its queues and owners.
    #[serde(flatten)]
    pub socket: SocketState,
}

/// All sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    /// Those of the Internet protocols, by network stack, protocol, and in the order of the kernel's lists.
    pub internet: Vec<InternetSocket>,
    /// Those of the Unix domain.
    pub unix: Vec<UnixSocket>,
    /// What could not be read.
    pub warnings: Vec<String>,
}
