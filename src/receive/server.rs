//! A receiver for netdump(4): waits for heralds, and has a thread for each client that sends a dump.
//!
//! An address and a number do not tell which dump a packet belongs to: after a reboot a client begins again with the same
//! ones. So each herald that is no repetition gets a socket of its own, whose port the client sends everything else to. A dump
//! that a client has left off is over when the client's next one brings data, and not before: a herald can be doubled on the
//! way.

use super::Event;
use super::arrival::{Arrival, Incoming, Source};
use super::gate::{Gate, NO_ROOM, Seat, locked};
use super::netdump::packet::{Kind, MAX_PACKET, Packet, acknowledgement};
use super::netdump::session::{Refusal, Session};
use super::socket::{ClientSocket, HeraldSocket, Received};
use crate::error::{Error, Result};
use crate::interrupt::Undo;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, Scope};
use std::time::{Duration, Instant};
use vmcore::bounds::head;

/// How long a thread waits for a packet before it looks at what else there is.
const TICK: Duration = Duration::from_millis(250);
/// A client repeats its last packet until it is acknowledged, each second; after this it is gone.
const FAREWELL: Duration = Duration::from_secs(3);
/// A client gives up after 12 seconds. What is not on disk by then is said to be.
const SYNC_PATIENCE: Duration = Duration::from_secs(8);
/// How long a herald may be all that there is.
const HERALD_PATIENCE: Duration = Duration::from_secs(30);

/// A receiver that has its sockets, and does not listen yet.
#[derive(Debug)]
pub struct Server {
    sockets: Vec<HeraldSocket>,
}

/// What the threads share.
struct Shared<'a> {
    gate: Arc<Gate<'a>>,
    /// The last session of each client.
    clients: Mutex<HashMap<SocketAddrV4, Arc<Active>>>,
}

/// A session that is going on.
struct Active {
    client: SocketAddrV4,
    local: Ipv4Addr,
    socket: ClientSocket,
    /// Whether it has data.
    has_begun: AtomicBool,
    /// Whether its client has begun another one.
    is_retired: AtomicBool,
    /// The client's session before this.
    before: Option<Arc<Self>>,
    state: Mutex<State>,
}

struct State {
    session: Session,
    incoming: Option<Incoming>,
    refusal: Option<String>,
    /// When the free space is looked at again.
    next_look: u64,
}

impl Server {
    /// Binds its sockets.
    ///
    /// # Errors
    ///
    /// An address is not this host's, or in use.
    pub fn bind(addresses: &[SocketAddrV4]) -> Result<Self> {
        let bind = |address: &SocketAddrV4| {
            let what = format!("listen on {address} for netdump");
            HeraldSocket::bind(*address).map_err(|source| Error::Io { what, source })
        };
        Ok(Self { sockets: addresses.iter().map(bind).collect::<Result<_>>()? })
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local().ok()).collect()
    }

    /// Starts to receive, and goes on until the gate is closed and the dumps that have begun are over.
    pub(super) fn start<'scope>(self, scope: &'scope Scope<'scope, '_>, gate: &Arc<Gate<'scope>>) {
        let shared = Arc::new(Shared { gate: Arc::clone(gate), clients: Mutex::default() });
        for socket in self.sockets {
            let shared = Arc::clone(&shared);
            scope.spawn(move || listen(scope, &shared, socket));
        }
    }
}

fn listen<'scope>(scope: &'scope Scope<'scope, '_>, shared: &Arc<Shared<'scope>>, mut socket: HeraldSocket) {
    while !shared.gate.is_closed() {
        match socket.receive(TICK) {
            Ok(Some(received)) => {
                if let Some((active, seat)) = shared.greet(&received) {
                    let shared = Arc::clone(shared);
                    scope.spawn(move || {
                        shared.serve(&active);
                        drop(seat);
                    });
                }
            }
            Ok(None) => {}
            Err(source) => {
                let error = Error::Io { what: "receive from the network".to_owned(), source };
                shared.gate.tell(Event::Failed(error.to_string()));
                return;
            }
        }
    }
}

impl<'a> Shared<'a> {
    /// Answers a herald; with a new session, if it is no repetition.
    fn greet(&self, received: &Received<'_>) -> Option<(Arc<Active>, Seat<'a>)> {
        let address = IpAddr::V4(*received.from.ip());
        if !self.gate.knows(address) {
            return None;
        }
        let herald = Packet::parse(received.bytes).ok().filter(|packet| packet.kind == Kind::Herald);
        let Some(herald) = herald else {
            self.gate.refuse(address, "it sends what is no herald of netdump");
            return None;
        };
        let mut clients = locked(&self.clients);
        let before = clients.get(&received.from).cloned();
        if let Some(before) = &before
            && !before.has_begun.load(Ordering::Relaxed)
        {
            before.socket.send(&acknowledgement(herald.seq));
            return None;
        }
        let seat = self.gate.admit(address)?;
        let socket = match ClientSocket::new(received.to, received.from) {
            Ok(socket) => socket,
            Err(error) => {
                self.gate.tell(Event::Failed(format!("cannot answer {}: {error}", received.from)));
                return None;
            }
        };
        let limit = self.gate.settings.limits.dump_size;
        let session = Session::new(&herald, limit, Instant::now());
        let active = Arc::new(Active {
            client: received.from,
            local: received.to,
            socket,
            has_begun: AtomicBool::new(false),
            is_retired: AtomicBool::new(false),
            before,
            state: Mutex::new(State { session, incoming: None, refusal: None, next_look: 0 }),
        });
        clients.insert(received.from, Arc::clone(&active));
        active.socket.send(&acknowledgement(herald.seq));
        Some((active, seat))
    }

    /// Receives from one client until it is done, or gone.
    fn serve(&self, active: &Arc<Active>) {
        let began = Instant::now();
        let mut heard = began;
        let ended = self.receive_all(active, &mut heard);
        let mut clients = locked(&self.clients);
        if clients.get(&active.client).is_some_and(|last| Arc::ptr_eq(last, active)) {
            clients.remove(&active.client);
        }
        drop(clients);
        let mut state = locked(&active.state);
        let State { session, incoming, refusal, .. } = &mut *state;
        if let Some(incoming) = incoming.take() {
            let arrival =
                Arrival::of_netdump(session, incoming, (ended.err(), refusal.take()), heard.duration_since(began));
            self.gate.tell(Event::Arrived(Box::new(arrival)));
        } else if let Err(why) = ended {
            self.gate.tell(Event::Failed(format!("{}: {why}", active.client)));
        }
    }

    /// The same; an error says what is wrong besides what the session knows.
    fn receive_all(&self, active: &Arc<Active>, heard: &mut Instant) -> Result<(), String> {
        let mut buffer = vec![0; MAX_PACKET];
        let mut syncing: Option<(Instant, JoinHandle<std::io::Result<()>>)> = None;
        let mut is_synced = false;
        let mut undo = None;
        loop {
            let quiet_at = locked(&active.state).session.quiet_at();
            let now = Instant::now();
            let tick = if syncing.is_some() && !is_synced { TICK / 25 } else { TICK };
            let patience = quiet_at.map_or(tick, |at| at.saturating_duration_since(now)).min(tick);
            let length = active.socket.receive(&mut buffer, patience).map_err(|error| error.to_string())?;
            let now = Instant::now();
            if let Some(length) = length
                && let Ok(packet) = Packet::parse(head(&buffer, length))
            {
                *heard = now;
                self.take(active, &packet, is_synced, now)?;
                if undo.is_none() && active.has_begun.load(Ordering::Relaxed) {
                    let active = Arc::clone(active);
                    // What has arrived so far stays, with a list of what has not.
                    undo = Some(Undo::on_signals(move || leave(&active)));
                }
            }
            let mut state = locked(&active.state);
            for seq in state.session.quiet(now) {
                active.socket.send(&acknowledgement(seq));
            }
            if let Some(last) = state.session.finished() {
                match &syncing {
                    None => syncing = state.incoming.as_ref().map(|incoming| (now, incoming.sync())),
                    Some((since, sync)) if !is_synced => {
                        if sync.is_finished() || since.elapsed() >= SYNC_PATIENCE {
                            is_synced = true;
                            active.socket.send(&acknowledgement(last));
                        }
                    }
                    Some(_) => {}
                }
            }
            drop(state);
            let silence = heard.elapsed();
            let limit = match active.has_begun.load(Ordering::Relaxed) {
                false => HERALD_PATIENCE,
                true if is_synced => FAREWELL,
                true => self.gate.settings.limits.silence,
            };
            if silence >= limit || active.is_retired.load(Ordering::Relaxed) && silence >= TICK {
                break;
            }
        }
        match syncing.map(|(_, sync)| sync.join()) {
            Some(Ok(Err(error))) => Err(format!("it cannot be written to disk: {error}")),
            Some(Err(_)) => Err("it is not known to be on disk".to_owned()),
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }

    /// Takes a packet and answers it.
    fn take(&self, active: &Active, packet: &Packet<'_>, is_synced: bool, now: Instant) -> Result<(), String> {
        let mut state = locked(&active.state);
        let state = &mut *state;
        if packet.kind != Kind::Herald && state.incoming.is_none() {
            if active.has_begun.load(Ordering::Relaxed) {
                // A signal has ended it.
                return Ok(());
            }
            let source = Source { kind: "vmcore", client: SocketAddr::V4(active.client), local: active.local.into() };
            let incoming =
                Incoming::create(&self.gate.settings.directory, &source).map_err(|error| error.to_string())?;
            state.incoming = Some(incoming);
            active.has_begun.store(true, Ordering::Relaxed);
            self.gate.count(IpAddr::V4(*active.client.ip()));
            if let Some(before) = &active.before {
                before.is_retired.store(true, Ordering::Relaxed);
            }
            self.gate.tell(Event::Began { client: source.client, path: state.session.path().to_owned() });
        }
        if state.incoming.is_some() && !self.gate.has_room(state.session.received(), &mut state.next_look) {
            state.refusal = Some(NO_ROOM.to_owned());
            self.gate.refuse(IpAddr::V4(*active.client.ip()), NO_ROOM);
            return Ok(());
        }
        let acknowledged = match &state.incoming {
            None => Ok(vec![packet.seq]),
            Some(incoming) => state.session.take(packet, incoming.file(), now),
        };
        match acknowledged {
            Ok(acknowledged) => {
                for seq in acknowledged {
                    active.socket.send(&acknowledgement(seq));
                }
                if is_synced && state.session.finished() == Some(packet.seq) {
                    active.socket.send(&acknowledgement(packet.seq));
                }
            }
            // The client is not told that it is here, which it is not.
            Err(Refusal::Storage(error)) => state.refusal = Some(format!("it cannot be stored: {error}")),
            Err(refusal) => state.refusal = Some(format!("a packet was refused: {refusal}")),
        }
        Ok(())
    }
}

/// Leaves what has arrived of a dump when a signal ends the program.
fn leave(active: &Active) {
    let mut state = locked(&active.state);
    let State { session, incoming, .. } = &mut *state;
    if let Some(incoming) = incoming.take() {
        let ended = Some("the receiver was ended".to_owned());
        // Nobody is there to be told of an error.
        let _ = Arrival::of_netdump(session, incoming, (ended, None), Duration::ZERO).write_down();
    }
}
