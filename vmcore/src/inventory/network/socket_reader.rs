//! Reads sockets: the lists of protocol control blocks, and what each leads to.
//!
//! Sources: `struct inpcb` and `struct inpcbinfo` in `sys/netinet/in_pcb.h`, `sys/netinet/tcp_var.h`, `tcp_syncache.h`,
//! `sys/sys/unpcb.h`, `sotoxsocket()` in `sys/kern/uipc_socket.c`.

use super::interface_list::InterfaceNames;
use super::owners::SocketOwners;
use super::sockets::{InternetSocket, ListenQueue, SocketState, Sockets, TcpState, UnixSocket};
use super::stacks::NetworkStack;
use crate::error::{Error, Result};
use crate::inventory::pcb::{host_address, port, unix_path};
use crate::inventory::reader::Reader;
use crate::inventory::source::Source;
use crate::kernel::Object;
use crate::units::Hex;
use std::collections::HashMap;

/// More sockets than are read.
const MAX_SOCKETS: usize = 1 << 20;
/// More buckets of SYN caches than are read in reasonable time.
const MAX_BUCKETS: u64 = 1 << 22;
/// `SO_ACCEPTCONN`: the socket listens.
const SO_ACCEPTCONN: u64 = 2;
/// Flags of `inp_vflag`, and that of a connection in the SYN cache.
const INP_IPV4: u64 = 1;
const INP_IPV6: u64 = 2;
const INC_ISIPV6: u64 = 1;
/// `TF_NEEDSYN` and `TF_NEEDFIN`; `TF_TOE`: the network card handles the connection.
const TF_HIDDEN: u64 = 0xc00;
const TF_TOE: u64 = 0x0200_0000;
/// `INP_TIMEWAIT`, before FreeBSD 14: there is no `struct tcpcb` any more.
const INP_TIMEWAIT: u64 = 0x0100_0000;
/// `TCPS_SYN_RECEIVED` and `TCPS_TIME_WAIT`.
const SYN_RECEIVED: u64 = 3;
const TIME_WAIT: u64 = 10;
const IPPROTO_TCP: u64 = 6;

/// The variables that have the lists, and the protocol with its number; raw sockets are of several.
const LISTS: [(&str, Option<(&str, u64)>); 4] = [
    ("tcbinfo", Some(("tcp", IPPROTO_TCP))),
    ("udbinfo", Some(("udp", 17))),
    ("ulitecbinfo", Some(("udplite", 136))),
    ("ripcbinfo", None),
];
/// The lists of sockets of the Unix domain, in the order of netstat(1).
const UNIX_LISTS: [(&str, &str); 3] = [("unp_shead", "stream"), ("unp_dhead", "dgram"), ("unp_sphead", "seqpacket")];

impl Sockets {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack network stacks or the connections of TCP.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let mut reader = Reader::new(source.typed);
        let stacks = NetworkStack::read_all(&mut reader)?;
        if let Some(stack) = stacks.first()
            && let Err(Error::Unsupported(why)) = stack.variable(source.typed, "tcbinfo")
        {
            return Err(Error::Unsupported(why));
        }
        let owners = SocketOwners::read(source, &mut reader);
        let buckets_left = MAX_BUCKETS;
        let mut all = All { reader, owners, users: HashMap::new(), buckets_left, found: Self::default() };
        stacks.iter().for_each(|stack| all.add_stack(*stack));
        UNIX_LISTS.iter().for_each(|(list, kind)| all.add_unix(list, kind, &stacks));
        all.found.warnings = all.reader.into_warnings();
        Ok(all.found)
    }
}

/// Sockets as they are being read.
struct All<'a> {
    reader: Reader<'a>,
    owners: Option<SocketOwners>,
    /// The effective user ID of each `struct ucred` that was read.
    users: HashMap<u64, Option<u64>>,
    /// How many buckets of SYN caches are read at most from now on.
    buckets_left: u64,
    found: Sockets,
}

/// What the sockets of a list have in common.
struct ListOf<'n> {
    stack: NetworkStack,
    protocol: Option<(&'static str, u64)>,
    names: &'n InterfaceNames,
}

impl ListOf<'_> {
    fn is_tcp(&self) -> bool {
        self.protocol.is_some_and(|(_, number)| number == IPPROTO_TCP)
    }
}

impl<'a> All<'a> {
    /// How many more sockets are read.
    fn room(&self) -> usize {
        MAX_SOCKETS.saturating_sub(self.found.internet.len()).saturating_sub(self.found.unix.len())
    }

    fn list(&mut self, what: &str, list: Result<Object<'a>>, link: &str) -> Vec<Object<'a>> {
        let room = self.room();
        let found = list.and_then(|list| self.reader.list(&what, &list, link, room));
        self.reader.keep(|| what.to_owned(), found).into_iter().flatten().collect()
    }

    fn add_stack(&mut self, stack: NetworkStack) {
        let names = InterfaceNames::read(&mut self.reader, &stack);
        for (variable, protocol) in LISTS {
            let list = ListOf { stack, protocol, names: &names };
            if list.is_tcp() {
                self.add_syn_cache(&list);
            }
            let head = stack.variable(self.reader.typed, variable).and_then(|info| info.member("ipi_listhead"));
            for pcb in self.list(&format!("the list {variable}"), head, "inp_list") {
                let read = self.internet_socket(&list, &pcb);
                let read = self.reader.keep(|| format!("the connection at {}", Hex(pcb.address())), read);
                self.found.internet.extend(read);
            }
        }
    }

    fn internet_socket(&mut self, list: &ListOf<'_>, pcb: &Object<'a>) -> Result<InternetSocket> {
        let pcb = pcb.fetched()?;
        let versions = pcb.member("inp_vflag")?.unsigned()?;
        let ip_protocol = match list.protocol {
            Some((_, number)) => number,
            None => pcb.member("inp_ip_p")?.unsigned()?,
        };
        let what = format!("the connection at {}", Hex(pcb.address()));
        let tcp = list.is_tcp().then(|| tcp_state(&pcb));
        let tcp = tcp.and_then(|tcp| self.reader.keep(|| format!("the state of {what}"), tcp));
        let name = match (list.protocol, &tcp) {
            (_, Some((_, true))) => "toe",
            (Some((name, _)), _) => name,
            (None, _) => raw_name(ip_protocol),
        };
        let (ends, socket) = (pcb.member("inp_inc.inc_ie")?, pcb.member("inp_socket")?.dereference()?);
        let socket = self.socket_state(&what, &socket);
        let mut read = internet_socket(list, (name, versions), &ends)?;
        (read.pcb, read.ip_protocol, read.socket) = (Hex(pcb.address()), Some(ip_protocol), socket);
        read.state = tcp.map(|(state, _)| state);
        Ok(read)
    }

    /// Connections of TCP that are not complete yet: netstat(1) shows them without addresses of structures.
    fn add_syn_cache(&mut self, list: &ListOf<'_>) {
        let cache = list.stack.variable(self.reader.typed, "tcp_syncache");
        let buckets = cache.and_then(|cache| self.buckets(&cache));
        let buckets = self.reader.keep(|| "the SYN cache".to_owned(), buckets);
        for bucket in buckets.into_iter().flatten() {
            for entry in self.list("a bucket of the SYN cache", bucket.member("sch_bucket"), "sc_hash") {
                let read = syn_cache_entry(list, &entry);
                let read = self.reader.keep(|| format!("the SYN cache's entry at {}", Hex(entry.address())), read);
                self.found.internet.extend(read);
            }
        }
    }

    /// The buckets of a SYN cache that are not empty.
    fn buckets(&mut self, cache: &Object<'a>) -> Result<Vec<Object<'a>>> {
        let count = cache.member("hashsize")?.unsigned()?;
        let left = self.buckets_left.checked_sub(count);
        self.buckets_left = left.ok_or_else(|| Error::Format(format!("it has {count} buckets")))?;
        let base = cache.member("hashbase")?;
        let mut found = Vec::new();
        for index in 0..count {
            let bucket = base.index(index)?;
            if bucket.member("sch_bucket.tqh_first")?.unsigned()? != 0 {
                found.push(bucket);
            }
        }
        Ok(found)
    }

    fn add_unix(&mut self, list: &str, kind: &'static str, stacks: &[NetworkStack]) {
        let head = self.reader.typed.variable(list);
        for pcb in self.list(&format!("the list {list}"), head, "unp_link") {
            let read = self.unix_socket(kind, &pcb, stacks);
            let read = self.reader.keep(|| format!("the Unix domain socket at {}", Hex(pcb.address())), read);
            self.found.unix.extend(read);
        }
    }

    fn unix_socket(&mut self, kind: &'static str, pcb: &Object<'a>, stacks: &[NetworkStack]) -> Result<UnixSocket> {
        let pcb = pcb.fetched()?;
        let what = format!("the Unix domain socket at {}", Hex(pcb.address()));
        let pointer = |path: &str| Some(Hex(pcb.member(path).ok()?.unsigned().ok()?));
        let path = unix_path(&pcb);
        let socket = pcb.member("unp_socket")?.dereference()?;
        let stack = socket.member("so_vnet").and_then(|stack| stack.unsigned()).ok();
        let stack = stack.filter(|_| socket.address() != 0).map(Hex);
        let known = stacks.iter().find(|known| known.address.is_none() || known.address == stack);
        Ok(UnixSocket {
            stack: known.copied().unwrap_or(NetworkStack { address: stack, jail_id: None }),
            pcb: Hex(pcb.address()),
            kind,
            vnode: pointer("unp_vnode"),
            connection: pointer("unp_conn"),
            first_reference: pointer("unp_refs.lh_first"),
            next_reference: pointer("unp_reflink.le_next"),
            path: self.reader.keep(|| format!("the path of {what}"), path).flatten(),
            socket: self.socket_state(&what, &socket),
        })
    }

    /// The queues and owners of the socket of what is called so.
    fn socket_state(&mut self, what: &str, socket: &Object<'_>) -> SocketState {
        let address = socket.address();
        let none = SocketState { socket: Hex(address), ..SocketState::default() };
        if address == 0 {
            return none;
        }
        let socket = socket.fetched();
        let Some(socket) = self.reader.keep(|| format!("the socket of {what}"), socket) else { return none };
        let queues = queues(&socket);
        let queues = self.reader.keep(|| format!("the queues of {what}"), queues);
        let credentials = socket.member("so_cred").and_then(|credentials| credentials.dereference());
        let credentials = self.reader.keep(|| format!("the credentials of {what}"), credentials);
        SocketState {
            receive_bytes: queues.map(|(receive, ..)| receive),
            send_bytes: queues.map(|(_, send, _)| send),
            listen: queues.and_then(|(.., listen)| listen),
            user_id: credentials.and_then(|credentials| self.user(&credentials)),
            process_ids: self.owners.as_ref().map(|owners| owners.of_socket(address)),
            ..none
        }
    }

    fn user(&mut self, credentials: &Object<'_>) -> Option<u64> {
        let address = credentials.address();
        if let Some(known) = self.users.get(&address) {
            return *known;
        }
        let user = self.reader.number(&format_args!("the credentials at {}", Hex(address)), credentials, "cr_uid");
        self.users.insert(address, user);
        user
    }
}

/// Bytes to be read and sent, and the queues of a socket that listens, which has no such bytes.
fn queues(socket: &Object<'_>) -> Result<(u64, u64, Option<ListenQueue>)> {
    let number = |member: &str| socket.member(member)?.unsigned();
    if number("so_options")? & SO_ACCEPTCONN != 0 {
        let (length, incomplete) = (number("sol_qlen")?, number("sol_incqlen")?);
        return Ok((0, 0, Some(ListenQueue { length, incomplete, limit: number("sol_qlimit")? })));
    }
    Ok((number("so_rcv.sb_ccc")?, number("so_snd.sb_ccc")?, None))
}

/// The state of a connection of TCP, and whether the network card handles it.
fn tcp_state(pcb: &Object<'_>) -> Result<(TcpState, bool)> {
    let typed = pcb.typed();
    let of = typed.structure("tcpcb")?;
    let connection = match pcb.member("inp_ppcb") {
        Ok(_) if pcb.member("inp_flags")?.unsigned()? & INP_TIMEWAIT != 0 => {
            return Ok((TcpState { number: TIME_WAIT, is_hidden: false }, false));
        }
        Ok(connection) => typed.object(connection.unsigned()?, of),
        Err(_) => pcb.with_type(of),
    };
    let flags = connection.member("t_flags")?.unsigned()?;
    let number = connection.member("t_state")?.unsigned()?;
    Ok((TcpState { number, is_hidden: flags & TF_HIDDEN != 0 }, flags & TF_TOE != 0))
}

/// A socket with its addresses, and nothing else yet; `ends` is its `struct in_endpoints`.
fn internet_socket(list: &ListOf<'_>, (name, versions): (&str, u64), ends: &Object<'_>) -> Result<InternetSocket> {
    let suffix = match (versions & INP_IPV4 != 0, versions & INP_IPV6 != 0) {
        (true, true) => "46",
        (true, false) => "4",
        (false, true) => "6",
        (false, false) => "",
    };
    let is_v4 = versions & INP_IPV4 != 0;
    let address = |member: &str| host_address(ends, (member, is_v4), |index| list.names.text(index));
    let is_known = !suffix.is_empty();
    Ok(InternetSocket {
        stack: list.stack,
        pcb: Hex(0),
        protocol: format!("{name}{suffix}"),
        ip_protocol: None,
        local_address: is_known.then(|| address("ie_dependladdr")).transpose()?,
        local_port: Some(port(ends, "ie_lport")?),
        foreign_address: is_known.then(|| address("ie_dependfaddr")).transpose()?,
        foreign_port: Some(port(ends, "ie_fport")?),
        state: None,
        socket: SocketState::default(),
    })
}

fn syn_cache_entry(list: &ListOf<'_>, entry: &Object<'_>) -> Result<InternetSocket> {
    let addresses = entry.member("sc_inc")?;
    let is_v6 = addresses.member("inc_flags")?.unsigned()? & INC_ISIPV6 != 0;
    let versions = if is_v6 { INP_IPV6 } else { INP_IPV4 };
    let mut read = internet_socket(list, ("tcp", versions), &addresses.member("inc_ie")?.fetched()?)?;
    read.state = Some(TcpState { number: SYN_RECEIVED, is_hidden: false });
    read.ip_protocol = Some(IPPROTO_TCP);
    (read.socket.receive_bytes, read.socket.send_bytes) = (Some(0), Some(0));
    Ok(read)
}

/// What netstat(1) calls raw sockets of a protocol; others it does not show.
const fn raw_name(ip_protocol: u64) -> &'static str {
    match ip_protocol {
        1 => "icmp",
        2 => "igmp",
        58 => "icmp6",
        103 => "pim",
        _ => "ip",
    }
}
