//! The queues of sockets that listen, as `netstat -aL` shows them.
//!
//! Sources: those of [`InternetSocket`] and [`UnixSocket`].

use super::sockets::{InternetSocket, ListenQueue, Sockets, UnixSocket};
use crate::error::Result;
use crate::inventory::source::{Source, Topic};
use crate::table::{Table, cell, left, name_cell, right};
use serde::Serialize;

/// Sockets that accept connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListenQueues {
    /// Those of the Internet protocols.
    pub internet: Vec<InternetSocket>,
    /// Those of the Unix domain.
    pub unix: Vec<UnixSocket>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl ListenQueues {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack network stacks or the connections of TCP.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let Sockets { mut internet, mut unix, warnings } = Sockets::read(source)?;
        internet.retain(|socket| has_queue(socket.socket.listen));
        unix.retain(|socket| has_queue(socket.socket.listen));
        Ok(Self { internet, unix, warnings })
    }
}

/// netstat(1) leaves those out that may have no connections in their queues.
fn has_queue(queue: Option<ListenQueue>) -> bool {
    queue.is_some_and(|queue| queue.limit > 0)
}

impl Topic for ListenQueues {
    fn tables(&self) -> Vec<Table> {
        let columns = [left("Proto"), left("Listen"), left("Local Address"), right("JID")];
        let internet = self.internet.iter().map(|socket| {
            let address = socket.local_address.as_ref().map(|address| address.with_port(socket.local_port));
            vec![socket.protocol.clone(), cell(socket.socket.listen), cell(address), cell(socket.stack.jail_id)]
        });
        let unix = self.unix.iter().map(|socket| {
            let path = socket.path.as_ref().map_or_else(String::new, |path| name_cell(Some(path)));
            vec!["unix".to_owned(), cell(socket.socket.listen), path, cell(socket.stack.jail_id)]
        });
        vec![Table::new(columns, internet.chain(unix).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
