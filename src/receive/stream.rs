//! Dumps that memtool sends from another host, to `tcp://` and `tls://`: one on each connection, from its beginning to its
//! end. A sender that gives up resets the connection, so that an end is the end of the dump.

use super::arrival::{Arrival, Incoming, Source};
use super::{Event, Listen, Settings};
use crate::error::{Error, Result};
use crate::free_space::FreeSpace;
use crate::interrupt::Undo;
use crate::remote::trust::ClientFiles;
use crate::remote::{self, Accepted, Acceptor};
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};
use vmcore::bounds::head;

/// How long there is between two looks for a connection.
const TICK: Duration = Duration::from_millis(100);
/// How long a sender has for what TLS begins with.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes that are read at a time.
const PART: usize = 1 << 18;
/// The free space is looked at each time so many bytes are stored.
const SPACE_INTERVAL: u64 = 64 << 20;
/// Dumps of a sender are counted for so long.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a receiver shows to those who send over TLS, and whom it lets send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its certificate and key.
    pub files: ClientFiles,
    /// Certificates that those of senders have to be signed by; without it, they need none.
    pub authorities: Option<PathBuf>,
}

/// Sockets that connections come to.
#[derive(Debug)]
pub struct StreamServer {
    sockets: Vec<(TcpListener, Option<Acceptor>)>,
}

struct Shared<'a> {
    settings: &'a Settings,
    events: Sender<Event>,
    stop: &'a AtomicBool,
    connections: AtomicUsize,
    begun: Mutex<HashMap<IpAddr, Vec<Instant>>>,
}

impl StreamServer {
    /// Binds its sockets.
    ///
    /// # Errors
    ///
    /// An address is not this host's, or in use; files of certificates cannot be used.
    pub fn bind(listen: &Listen) -> Result<Self> {
        let bind = |scheme: &str, address: &SocketAddr| {
            let failed = |source| Error::Io { what: format!("listen on {scheme}://{address}"), source };
            let socket = TcpListener::bind(address).map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
            Ok::<_, Error>(socket)
        };
        let mut sockets = Vec::new();
        for address in &listen.tcp {
            sockets.push((bind("tcp", address)?, None));
        }
        if let Some((addresses, Identity { files, authorities })) = &listen.tls {
            let acceptor = Acceptor::new(files, authorities.as_deref())?;
            for address in addresses {
                sockets.push((bind("tls", address)?, Some(acceptor.clone())));
            }
        }
        Ok(Self { sockets })
    }

    /// What it listens on.
    pub fn addresses(&self) -> impl Iterator<Item = String> + '_ {
        self.sockets.iter().filter_map(|(socket, acceptor)| {
            let scheme = if acceptor.is_some() { "tls" } else { "tcp" };
            Some(format!("{scheme}://{}", socket.local_addr().ok()?))
        })
    }

    /// Starts to receive, and goes on until `stop` is set and the dumps that have begun are over.
    pub(super) fn start<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        settings: &'scope Settings,
        events: &Sender<Event>,
        stop: &'scope AtomicBool,
    ) {
        let (connections, begun) = (AtomicUsize::new(0), Mutex::default());
        let shared = Arc::new(Shared { settings, events: events.clone(), stop, connections, begun });
        for (socket, acceptor) in self.sockets {
            let shared = Arc::clone(&shared);
            scope.spawn(move || listen(scope, &shared, &socket, acceptor.as_ref()));
        }
    }
}

fn listen<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shared: &Arc<Shared<'scope>>,
    socket: &TcpListener,
    acceptor: Option<&Acceptor>,
) {
    while !shared.stop.load(Ordering::Relaxed) {
        let (stream, client) = match socket.accept() {
            Ok(accepted) => accepted,
            Err(_) => {
                thread::sleep(TICK);
                continue;
            }
        };
        if let Err(why) = shared.may_send(client) {
            let _ = shared.events.send(Event::Refused { client: client.ip(), why });
            continue;
        }
        let (shared, acceptor) = (Arc::clone(shared), acceptor.cloned());
        shared.connections.fetch_add(1, Ordering::Relaxed);
        scope.spawn(move || {
            shared.serve(stream, client, acceptor.as_ref());
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Shared<'_> {
    fn may_send(&self, client: SocketAddr) -> Result<(), &'static str> {
        let limits = self.settings.limits;
        if !self.settings.accept.accepts(client.ip()) {
            return Err("it is not one of those that may send (--accept)");
        }
        if self.connections.load(Ordering::Relaxed) >= limits.sessions {
            return Err("too many dumps are received at the same time (--max-sessions)");
        }
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let times = begun.entry(client.ip()).or_default();
        times.retain(|time| time.elapsed() < DAY);
        if times.len() >= limits.dumps_per_day {
            return Err("it has sent too many dumps in a day (--max-per-day)");
        }
        times.push(Instant::now());
        Ok(())
    }

    /// Receives what one sender sends.
    fn serve(&self, stream: TcpStream, client: SocketAddr, acceptor: Option<&Acceptor>) {
        let began = Instant::now();
        let failed = |error: &dyn std::fmt::Display| {
            let _ = self.events.send(Event::Failed(format!("{client}: {error}")));
        };
        let connection = match self.connect(stream, acceptor) {
            Ok(connection) => connection,
            Err(error) => return failed(&error),
        };
        let (mut connection, local) = connection;
        let mut buffer = vec![0; PART];
        let first = match read(&mut *connection, &mut buffer) {
            // Somebody has looked whether there is a receiver.
            Ok(0) => return,
            Ok(count) => count,
            Err(error) => return failed(&error),
        };
        let incoming = match Incoming::create(&self.settings.directory, &Source { kind: "dump", client, local }) {
            Ok(incoming) => incoming,
            Err(error) => return failed(&error),
        };
        let _ = self.events.send(Event::Began { client, path: String::new() });
        let name = incoming.path().to_owned();
        // What has arrived so far stays, and what is known of it is written beside it.
        let undo = Undo::on_signals(move || Arrival::write_ended(&name, client));
        let mut size = 0;
        let problem =
            self.copy(&mut *connection, &incoming, (buffer, first), &mut size).err().map(|error| error.to_string());
        let is_whole = problem.is_none();
        drop(undo);
        let arrival = Arrival::of_stream(incoming, size, problem, began.elapsed());
        if is_whole {
            // If it breaks now, the sender does not know that the dump is here.
            let _ = connection.finish();
        }
        let _ = self.events.send(Event::Arrived(Box::new(arrival)));
    }

    fn connect(&self, stream: TcpStream, acceptor: Option<&Acceptor>) -> io::Result<(Box<dyn Accepted>, IpAddr)> {
        stream.set_nonblocking(false)?;
        let local = stream.local_addr()?.ip();
        stream.set_read_timeout(Some(HANDSHAKE))?;
        let handle = stream.try_clone()?;
        let connection = match acceptor {
            Some(acceptor) => acceptor.accept(stream)?,
            None => remote::accept_plain(stream)?,
        };
        handle.set_read_timeout(Some(self.settings.limits.silence))?;
        Ok((connection, local))
    }

    /// Copies all that comes, and puts it on disk.
    fn copy(
        &self,
        connection: &mut dyn Accepted,
        incoming: &Incoming,
        (mut buffer, mut count): (Vec<u8>, usize),
        size: &mut u64,
    ) -> io::Result<()> {
        let limits = self.settings.limits;
        let mut looked_at_space = 0;
        loop {
            if count == 0 {
                return incoming.file().sync_all();
            }
            let end = *size + count as u64;
            if end > limits.dump_size {
                return Err(io::Error::other(format!("it has more than {} bytes (--max-size)", limits.dump_size)));
            }
            if *size >= looked_at_space {
                looked_at_space = size.saturating_add(SPACE_INTERVAL);
                let free = FreeSpace::within(&self.settings.directory).map_or(u64::MAX, |space| space.free());
                if free < limits.reserve {
                    return Err(io::Error::other("there is no more room in the directory (--reserve)"));
                }
            }
            let mut file = incoming.file();
            file.write_all(head(&buffer, count))?;
            *size = end;
            count = read(connection, &mut buffer)?;
        }
    }
}

/// Reads what there is; nothing at the end.
fn read(connection: &mut dyn Accepted, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let error = match connection.read(buffer) {
            Ok(count) => return Ok(count),
            Err(error) => error,
        };
        let why = match error.kind() {
            io::ErrorKind::Interrupted => continue,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the sender was silent for too long".to_owned(),
            _ => format!("the connection was lost: {error}"),
        };
        return Err(io::Error::new(error.kind(), why));
    }
}
