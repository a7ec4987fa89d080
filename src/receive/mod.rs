//! A receiver of dumps: of kernels that have no disk to dump to, netdump(4), and of memtool on other hosts.
//!
//! - [`netdump`]: the protocol of FreeBSD's kernels, which are not asked twice: what is lost on the way must not be said to
//!   have arrived;
//! - [`server`]: its clients, side by side;
//! - [`stream`]: connections, on which a dump comes from its beginning to its end;
//! - [`arrival`]: the files that dumps arrive in, and what is known of those that are not whole;
//! - [`keep`]: dumps that are whole, saved as savecore(8) does;
//! - `gate`: what both share; [`access`]: who may send;
//! - [`privileges`]: who the receiver is.

pub mod access;
pub mod arrival;
mod gate;
pub mod keep;
pub mod netdump;
pub mod privileges;
pub mod server;
mod socket;
pub mod spans;
pub mod stream;

use crate::error::Result;
use access::AcceptList;
use arrival::Arrival;
use gate::Gate;
use server::Server;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use stream::StreamServer;

/// What a receiver does.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where dumps arrive.
    pub directory: PathBuf,
    /// Who may send.
    pub accept: AcceptList,
    /// What they may send.
    pub limits: Limits,
}

/// What anybody may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a dump.
    pub dump_size: u64,
    /// Dumps at the same time.
    pub sessions: usize,
    /// Dumps from one address in a day.
    pub dumps_per_day: usize,
    /// Bytes that stay free in the directory.
    pub reserve: u64,
    /// How long a sender may be silent.
    pub silence: Duration,
}

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// A dump begins.
    Began {
        /// Who sends it.
        client: SocketAddr,
        /// What it is called there, if it says so.
        path: String,
    },
    /// A dump is over.
    Arrived(Box<Arrival>),
    /// Somebody may not send; told once of each.
    Refused {
        /// Who.
        client: IpAddr,
        /// Why.
        why: &'static str,
    },
    /// Something does not work any more.
    Failed(String),
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// With more dumps.
    Continue,
    /// With those that have begun, and no others.
    Stop,
}

/// What to listen on.
#[derive(Debug, Clone, Default)]
pub struct Listen {
    /// For netdump(4).
    pub netdump: Vec<SocketAddrV4>,
    /// For connections.
    pub tcp: Vec<SocketAddr>,
    /// For connections that are encrypted, and as whom.
    pub tls: Option<(Vec<SocketAddr>, stream::Identity)>,
}

/// A receiver that has its sockets. From here on it needs no privileges.
#[derive(Debug)]
pub struct Receiver {
    netdump: Server,
    streams: StreamServer,
}

impl Receiver {
    /// Binds its sockets.
    ///
    /// # Errors
    ///
    /// An address is not this host's, or in use; files of certificates cannot be used.
    pub fn bind(listen: &Listen) -> Result<Self> {
        Ok(Self { netdump: Server::bind(&listen.netdump)?, streams: StreamServer::bind(listen)? })
    }

    /// What it listens on.
    pub fn addresses(&self) -> Vec<String> {
        let netdump = self.netdump.addresses().into_iter().map(|address| format!("netdump {address}"));
        netdump.chain(self.streams.addresses()).collect()
    }

    /// Receives dumps until `each` wants no more.
    ///
    /// # Errors
    ///
    /// Those of `each`.
    pub fn run(self, settings: &Settings, each: &mut dyn FnMut(Event) -> Result<Flow>) -> Result<()> {
        let stop = AtomicBool::new(false);
        let (events, told) = channel();
        thread::scope(|scope| {
            let gate = Gate::new(settings, events, &stop);
            self.netdump.start(scope, &gate);
            self.streams.start(scope, &gate);
            drop(gate);
            let mut result = Ok(());
            // They are told in this thread until all others are over.
            for event in told {
                let flow = if result.is_ok() { each(event) } else { Ok(Flow::Stop) };
                let is_over = !matches!(flow, Ok(Flow::Continue));
                result = result.and(flow.map(drop));
                if is_over {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            result
        })
    }
}
