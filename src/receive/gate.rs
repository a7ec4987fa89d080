//! What the servers of a receiver share: who may send, how much at the same time, and whom what happens is told.

use super::{Event, Limits, Settings};
use crate::free_space::FreeSpace;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Dumps of a sender are counted for so long.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The free space is looked at each time so many bytes are stored.
const SPACE_INTERVAL: u64 = 64 << 20;
/// So many addresses that are refused are told of.
const MAX_TOLD: usize = 1000;

/// One for all servers of a receiver.
pub(super) struct Gate<'a> {
    pub settings: &'a Settings,
    events: Sender<Event>,
    stop: &'a AtomicBool,
    sessions: AtomicUsize,
    /// When dumps of a sender began.
    begun: Mutex<HashMap<IpAddr, Vec<Instant>>>,
    /// Who was told of as refused, and why.
    told: Mutex<HashSet<(IpAddr, &'static str)>>,
}

/// A place among the dumps that are received at the same time, for as long as the value lives.
pub(super) struct Seat<'a>(Arc<Gate<'a>>);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a mutex has, also after a panic.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Gate<'a> {
    pub fn new(settings: &'a Settings, events: Sender<Event>, stop: &'a AtomicBool) -> Arc<Self> {
        let (begun, told) = (Mutex::default(), Mutex::default());
        Arc::new(Self { settings, events, stop, sessions: AtomicUsize::new(0), begun, told })
    }

    /// Whether no more dumps are to be received.
    pub fn is_closed(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn tell(&self, event: Event) {
        // Nobody hears it when all is over.
        let _ = self.events.send(event);
    }

    /// Tells once of each address for each reason.
    pub fn refuse(&self, sender: IpAddr, why: &'static str) {
        let mut told = locked(&self.told);
        if told.len() < MAX_TOLD && told.insert((sender, why)) {
            self.tell(Event::Refused { client: sender, why });
        }
    }

    /// Whether a sender is one of those that may send at all.
    pub fn knows(&self, sender: IpAddr) -> bool {
        let is_known = self.settings.accept.accepts(sender);
        if !is_known {
            self.refuse(sender, "it is not one of those that may send (--accept)");
        }
        is_known
    }

    /// A seat for a sender that may send, if there is one, and if it has not sent too much.
    pub fn admit(self: &Arc<Self>, sender: IpAddr) -> Option<Seat<'a>> {
        let Limits { sessions, dumps_per_day, .. } = self.settings.limits;
        let mut begun = locked(&self.begun);
        let sent = begun.get_mut(&sender).map_or(0, |times| {
            times.retain(|time| time.elapsed() < DAY);
            times.len()
        });
        drop(begun);
        if sent >= dumps_per_day {
            self.refuse(sender, "it has sent too many dumps in a day (--max-per-day)");
            return None;
        }
        let taken = self.sessions.fetch_add(1, Ordering::Relaxed);
        let seat = Seat(Arc::clone(self));
        if taken >= sessions {
            self.refuse(sender, "too many dumps are received at the same time (--max-sessions)");
            return None;
        }
        Some(seat)
    }

    /// Counts a dump that has begun.
    pub fn count(&self, sender: IpAddr) {
        locked(&self.begun).entry(sender).or_default().push(Instant::now());
    }

    /// Whether there is room for more of a dump of which so much is stored. It is looked at now and then.
    pub fn has_room(&self, stored: u64, next_look: &mut u64) -> bool {
        if stored < *next_look {
            return true;
        }
        let free = FreeSpace::within(&self.settings.directory).map_or(u64::MAX, |space| space.free());
        if free < self.settings.limits.reserve {
            return false;
        }
        *next_look = stored.saturating_add(SPACE_INTERVAL);
        true
    }
}

/// That there is no more room, for people.
pub(super) const NO_ROOM: &str = "there is no more room in the directory (--reserve)";
