//! A receiver for netdump(4): waits for heralds, and has a thread for each client that sends a dump.
//!
//! An address and a number do not tell which dump a packet belongs to: after a reboot a client begins again with the same
//! ones. So each herald that is no repetition gets a socket of its own, whose port the client sends everything else to. A dump
//! that a client has left off is over when the client's next one brings data, and not before: a herald can be doubled on the
//! way.

use super::arrival::{Arrival, Incoming, Source};
use super::netdump::packet::{Kind, MAX_PACKET, Packet, acknowledgement};
use super::netdump::session::{Refusal, Session};
use super::socket::{ClientSocket, HeraldSocket, Received};
use super::{Event, Limits, Settings};
use crate::error::{Error, Result};
use crate::free_space::FreeSpace;
use crate::interrupt::Undo;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// The free space is looked at each time so many bytes are stored.
const SPACE_INTERVAL: u64 = 64 << 20;
/// Dumps of a client are counted for so long.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// So many addresses that are refused are told of.
const MAX_TOLD: usize = 1000;

/// A receiver that has its sockets, and does not listen yet.
#[derive(Debug)]
pub struct Server {
    sockets: Vec<HeraldSocket>,
}

/// What the threads share.
struct Shared<'a> {
    settings: &'a Settings,
    events: Sender<Event>,
    stop: &'a AtomicBool,
    /// The last session of each client.
    clients: Mutex<HashMap<SocketAddrV4, Arc<Active>>>,
    /// How many sessions there are.
    sessions: AtomicUsize,
    /// When dumps of a client began.
    begun: Mutex<HashMap<IpAddr, Vec<Instant>>>,
    /// Who was told of as refused.
    told: Mutex<HashSet<(IpAddr, &'static str)>>,
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
    looked_at_space: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Starts to receive, and goes on until `stop` is set and the dumps that have begun are over.
    pub(crate) fn start<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        settings: &'scope Settings,
        events: &Sender<Event>,
        stop: &'scope AtomicBool,
    ) {
        let shared = Arc::new(Shared {
            settings,
            events: events.clone(),
            stop,
            clients: Mutex::default(),
            sessions: AtomicUsize::new(0),
            begun: Mutex::default(),
            told: Mutex::default(),
        });
        for socket in self.sockets {
            let shared = Arc::clone(&shared);
            scope.spawn(move || listen(scope, &shared, socket));
        }
    }
}

fn listen<'scope>(scope: &'scope Scope<'scope, '_>, shared: &Arc<Shared<'scope>>, mut socket: HeraldSocket) {
    while !shared.stop.load(Ordering::Relaxed) {
        match socket.receive(TICK) {
            Ok(Some(received)) => {
                if let Some(active) = shared.greet(&received) {
                    let shared = Arc::clone(shared);
                    scope.spawn(move || shared.serve(&active));
                }
            }
            Ok(None) => {}
            Err(source) => {
                let error = Error::Io { what: "receive from the network".to_owned(), source };
                shared.tell(Event::Failed(error.to_string()));
                return;
            }
        }
    }
}

impl Shared<'_> {
    fn tell(&self, event: Event) {
        // Nobody hears it when all is over.
        let _ = self.events.send(event);
    }

    /// Tells once of each address for each reason.
    fn refuse(&self, client: IpAddr, why: &'static str) {
        let mut told = locked(&self.told);
        if told.len() < MAX_TOLD && told.insert((client, why)) {
            self.tell(Event::Refused { client, why });
        }
    }

    /// Answers a herald; with a new session, if it is no repetition.
    fn greet(&self, received: &Received<'_>) -> Option<Arc<Active>> {
        let address = IpAddr::V4(*received.from.ip());
        if !self.settings.accept.accepts(address) {
            self.refuse(address, "it is not one of those that may send (--accept)");
            return None;
        }
        let herald = Packet::parse(received.bytes).ok().filter(|packet| packet.kind == Kind::Herald);
        let Some(herald) = herald else {
            self.refuse(address, "it sends what is no herald of netdump");
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
        let Limits { sessions, dumps_per_day, dump_size, .. } = self.settings.limits;
        if self.sessions.load(Ordering::Relaxed) >= sessions {
            self.refuse(address, "too many dumps are received at the same time (--max-sessions)");
            return None;
        }
        if self.dumps_of(address) >= dumps_per_day {
            self.refuse(address, "it has sent too many dumps in a day (--max-per-day)");
            return None;
        }
        let socket = match ClientSocket::new(received.to, received.from) {
            Ok(socket) => socket,
            Err(error) => {
                self.tell(Event::Failed(format!("cannot answer {}: {error}", received.from)));
                return None;
            }
        };
        let state = State {
            session: Session::new(&herald, dump_size, Instant::now()),
            incoming: None,
            refusal: None,
            looked_at_space: 0,
        };
        let active = Arc::new(Active {
            client: received.from,
            local: received.to,
            socket,
            has_begun: AtomicBool::new(false),
            is_retired: AtomicBool::new(false),
            before,
            state: Mutex::new(state),
        });
        clients.insert(received.from, Arc::clone(&active));
        self.sessions.fetch_add(1, Ordering::Relaxed);
        active.socket.send(&acknowledgement(herald.seq));
        Some(active)
    }

    /// How many dumps a client has begun in the last day.
    fn dumps_of(&self, client: IpAddr) -> usize {
        let mut begun = locked(&self.begun);
        let Some(times) = begun.get_mut(&client) else { return 0 };
        times.retain(|time| time.elapsed() < DAY);
        times.len()
    }

    /// Receives from one client until it is done, or gone.
    fn serve(&self, active: &Arc<Active>) {
        let began = Instant::now();
        let ended = self.receive_all(active);
        let mut clients = locked(&self.clients);
        if clients.get(&active.client).is_some_and(|last| Arc::ptr_eq(last, active)) {
            clients.remove(&active.client);
        }
        drop(clients);
        let mut state = locked(&active.state);
        let State { session, incoming, refusal, .. } = &mut *state;
        if let Some(incoming) = incoming.take() {
            let mut problems: Vec<String> = session.problems().iter().map(ToString::to_string).collect();
            problems.extend(ended.err());
            if !problems.is_empty() {
                problems.extend(refusal.take());
            }
            let arrival = Arrival::of_netdump(session, incoming, problems, began.elapsed());
            self.tell(Event::Arrived(Box::new(arrival)));
        } else if let Err(why) = ended {
            self.tell(Event::Failed(format!("{}: {why}", active.client)));
        }
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }

    /// The same; an error says what is wrong besides what the session knows.
    fn receive_all(&self, active: &Arc<Active>) -> Result<(), String> {
        let mut buffer = vec![0; MAX_PACKET];
        let mut heard = Instant::now();
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
                heard = now;
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
                true => self.settings.limits.silence,
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
            let incoming = Incoming::create(&self.settings.directory, &source).map_err(|error| error.to_string())?;
            state.incoming = Some(incoming);
            active.has_begun.store(true, Ordering::Relaxed);
            locked(&self.begun).entry(IpAddr::V4(*active.client.ip())).or_default().push(now);
            if let Some(before) = &active.before {
                before.is_retired.store(true, Ordering::Relaxed);
            }
            self.tell(Event::Began { client: source.client, path: state.session.path().to_owned() });
        }
        if state.incoming.is_some() && self.is_full(state) {
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

    /// Whether there is no room for more, which is looked at now and then.
    fn is_full(&self, state: &mut State) -> bool {
        let received = state.session.received();
        if received < state.looked_at_space {
            return false;
        }
        let free = FreeSpace::within(&self.settings.directory).map_or(u64::MAX, |space| space.free());
        if free < self.settings.limits.reserve {
            state.refusal = Some("there is no more room in the directory (--reserve)".to_owned());
            return true;
        }
        state.looked_at_space = received.saturating_add(SPACE_INTERVAL);
        false
    }
}

/// Leaves what has arrived of a dump when a signal ends the program.
fn leave(active: &Active) {
    let mut state = locked(&active.state);
    let State { session, incoming, .. } = &mut *state;
    if let Some(incoming) = incoming.take() {
        let mut problems: Vec<String> = session.problems().iter().map(ToString::to_string).collect();
        problems.push("the receiver was ended".to_owned());
        // Nobody is there to be told of an error.
        let _ = Arrival::of_netdump(session, incoming, problems, Duration::ZERO).write_down();
    }
}
