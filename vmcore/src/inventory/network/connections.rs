//! Connections and other sockets, as `netstat -anA` shows them.
//!
//! Sources: those of [`InternetSocket`] and [`UnixSocket`].

use super::sockets::{InternetSocket, SocketState, Sockets, UnixSocket};
use crate::error::Result;
use crate::inventory::host_address::HostAddress;
use crate::inventory::source::{Source, Topic};
use crate::table::{Table, cell, left, name_cell, right};
use crate::units::Hex;
use serde::Serialize;

/// All sockets of the Internet protocols and of the Unix domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// Those of the Internet protocols: of the host's network stack first, and in each by protocol, in the kernel's order.
    pub internet: Vec<InternetSocket>,
    /// Those of the Unix domain, by type.
    pub unix: Vec<UnixSocket>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Connections {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack network stacks or the connections of TCP.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let Sockets { internet, unix, warnings } = Sockets::read(source)?;
        Ok(Self { internet, unix, warnings })
    }
}

impl Topic for Connections {
    fn tables(&self) -> Vec<Table> {
        let internet = [left("Tcpcb"), left("Proto"), right("Recv-Q"), right("Send-Q"), left("Local Address")];
        let internet = [&internet[..], &[left("Foreign Address"), left("(state)"), right("JID")]].concat();
        let unix = [left("Address"), left("Type"), right("Recv-Q"), right("Send-Q"), right("Inode"), right("Conn")];
        let unix = [&unix[..], &[right("Refs"), right("Nextref"), right("JID"), left("Addr")]].concat();
        vec![
            Table::new(internet, self.internet.iter().map(internet_row).collect())
                .captioned("Active Internet connections (including servers)"),
            Table::new(unix, self.unix.iter().map(unix_row).collect()).captioned("Active UNIX domain sockets"),
        ]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// An address in hexadecimal as netstat(1) has it.
pub(super) fn pointer(address: Hex) -> String {
    format!("{:x}", address.0)
}

fn queues(socket: &SocketState) -> [String; 2] {
    [cell(socket.receive_bytes), cell(socket.send_bytes)]
}

fn internet_row(socket: &InternetSocket) -> Vec<String> {
    let end = |address: &Option<_>, port| cell(address.as_ref().map(|address: &HostAddress| address.with_port(port)));
    let [receive, send] = queues(&socket.socket);
    vec![
        pointer(socket.pcb),
        socket.protocol.clone(),
        receive,
        send,
        end(&socket.local_address, socket.local_port),
        end(&socket.foreign_address, socket.foreign_port),
        socket.state.map_or_else(String::new, |state| state.to_string()),
        cell(socket.stack.jail_id),
    ]
}

fn unix_row(socket: &UnixSocket) -> Vec<String> {
    let [receive, send] = queues(&socket.socket);
    let mut row = vec![pointer(socket.pcb), socket.kind.to_owned(), receive, send];
    let pointers = [socket.vnode, socket.connection, socket.first_reference, socket.next_reference];
    row.extend(pointers.map(|address| cell(address.map(pointer))));
    row.push(cell(socket.stack.jail_id));
    row.push(socket.path.as_ref().map_or_else(String::new, |path| name_cell(Some(path))));
    row
}
