//! Dumps that memtool sends from another host, to `tcp://` and `tls://`: one on each connection, from its beginning to its
//! end. A sender that gives up resets the connection, so that an end is the end of the dump.

use super::arrival::{Arrival, Incoming, Source};
use super::gate::{Gate, NO_ROOM};
use super::{Event, Listen};
use crate::error::{Error, Result};
use crate::interrupt::Undo;
use crate::remote::trust::ClientFiles;
use crate::remote::{self, Accepted, Acceptor};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, Scope};
use std::time::{Duration, Instant};
use vmcore::bounds::head;

/// How long there is between two looks for a connection.
const TICK: Duration = Duration::from_millis(100);
/// How long a sender has for what TLS begins with.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes that are read at a time.
const PART: usize = 1 << 18;

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

    /// Starts to receive, and goes on until the gate is closed and the dumps that have begun are over.
    pub(super) fn start<'scope>(self, scope: &'scope Scope<'scope, '_>, gate: &Arc<Gate<'scope>>) {
        for (socket, acceptor) in self.sockets {
            let gate = Arc::clone(gate);
            scope.spawn(move || listen(scope, &gate, &socket, acceptor.as_ref()));
        }
    }
}

fn listen<'scope>(
    scope: &'scope Scope<'scope, '_>,
    gate: &Arc<Gate<'scope>>,
    socket: &TcpListener,
    acceptor: Option<&Acceptor>,
) {
    while !gate.is_closed() {
        let Ok((stream, client)) = socket.accept() else {
            thread::sleep(TICK);
            continue;
        };
        if !gate.knows(client.ip()) {
            continue;
        }
        let Some(seat) = gate.admit(client.ip()) else { continue };
        let (gate, acceptor) = (Arc::clone(gate), acceptor.cloned());
        scope.spawn(move || {
            serve(&gate, stream, client, acceptor.as_ref());
            drop(seat);
        });
    }
}

/// Receives what one sender sends.
fn serve(gate: &Gate<'_>, stream: TcpStream, client: SocketAddr, acceptor: Option<&Acceptor>) {
    let began = Instant::now();
    let failed = |error: &dyn std::fmt::Display| {
        gate.tell(Event::Failed(format!("{client}: {error}")));
    };
    let connection = match connect(gate, stream, acceptor) {
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
    let incoming = match Incoming::create(&gate.settings.directory, &Source { kind: "dump", client, local }) {
        Ok(incoming) => incoming,
        Err(error) => return failed(&error),
    };
    gate.count(client.ip());
    gate.tell(Event::Began { client, path: String::new() });
    let name = incoming.path().to_owned();
    // What has arrived so far stays, and what is known of it is written beside it.
    let undo = Undo::on_signals(move || Arrival::write_ended(&name, client));
    let mut size = 0;
    let problem =
        copy(gate, &mut *connection, &incoming, (buffer, first), &mut size).err().map(|error| error.to_string());
    let is_whole = problem.is_none();
    drop(undo);
    let arrival = Arrival::of_stream(incoming, size, problem, began.elapsed());
    if is_whole {
        // If it breaks now, the sender does not know that the dump is here.
        let _ = connection.finish();
    }
    gate.tell(Event::Arrived(Box::new(arrival)));
}

fn connect(gate: &Gate<'_>, stream: TcpStream, acceptor: Option<&Acceptor>) -> io::Result<(Box<dyn Accepted>, IpAddr)> {
    stream.set_nonblocking(false)?;
    let local = stream.local_addr()?.ip();
    stream.set_read_timeout(Some(HANDSHAKE))?;
    let handle = stream.try_clone()?;
    let connection = match acceptor {
        Some(acceptor) => acceptor.accept(stream)?,
        None => remote::accept_plain(stream)?,
    };
    handle.set_read_timeout(Some(gate.settings.limits.silence))?;
    Ok((connection, local))
}

/// Copies all that comes, and puts it on disk.
fn copy(
    gate: &Gate<'_>,
    connection: &mut dyn Accepted,
    incoming: &Incoming,
    (mut buffer, mut count): (Vec<u8>, usize),
    size: &mut u64,
) -> io::Result<()> {
    let limits = gate.settings.limits;
    let mut next_look = 0;
    loop {
        if count == 0 {
            return incoming.file().sync_all();
        }
        let end = *size + count as u64;
        if end > limits.dump_size {
            return Err(io::Error::other(format!("it has more than {} bytes (--max-size)", limits.dump_size)));
        }
        if !gate.has_room(*size, &mut next_look) {
            return Err(io::Error::other(NO_ROOM));
        }
        let mut file = incoming.file();
        file.write_all(head(&buffer, count))?;
        *size = end;
        count = read(connection, &mut buffer)?;
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
