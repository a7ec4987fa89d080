//! Which packets of a client are acknowledged, and when: the part of a receiver on which it depends that a dump is whole.
//!
//! A client sends its dump in bursts of at most 64 KiB, waits for the acknowledgements of one before it sends the next, and
//! sends again what was not acknowledged within a second. It counts the acknowledgements of up to 64 packets in bits that it
//! finds by a shift of 32 bits (`debugnet_send()` and `debugnet_handle_ack()`, sys/net/debugnet.c of FreeBSD 15.1): that of
//! packet *i* counts for *i* ± 32, too. So a client can take packets for delivered that were lost, or that it has not even
//! sent, go on, and say in the end that the dump is complete.
//!
//! Nothing of that happens to a client that hears nothing of a burst before all of it has arrived. Where a burst ends it does
//! not say. It is told here by what cannot be otherwise: a packet that is shorter than others ends a burst, and so do 64 KiB;
//! and where packets are so large that a burst has 32 at most, no acknowledgement counts for another packet, so that a moment
//! of silence is enough. What else there can be is decided by what the client sends again.

use super::super::spans::Spans;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use vmcore::bounds::low_u32;

/// Packets of a burst, at most (`DEBUGNET_MAX_IN_FLIGHT`).
const MAX_PACKETS: u64 = 64;
/// Bytes of a burst, at most (`sizeof(nd_buf)`, sys/netinet/netdump/netdump_client.c).
const MAX_BURST: usize = 1 << 16;
/// A burst consists of whole blocks (`NETDUMP_DATASIZE`).
const BLOCK: usize = 4096;
/// A burst of packets of this size has 32 of them at most.
const LARGE: usize = MAX_BURST / 32;
/// How long it is quiet when a burst of large packets is over.
const QUIET: Duration = Duration::from_millis(30);
/// A packet that comes again before that was doubled on the way, not sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// So often a burst of whole blocks was sent when there is no more of it.
const WHOLE_AFTER: u32 = 2;
/// So often anything was sent when there is no more of it.
const OVER_AFTER: u32 = 4;
/// So often packets were sent when those that are missing before them are taken for lost, out of twelve times.
const LOST_AFTER: u32 = 6;

/// What a packet is for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// One of a burst, with so many bytes of payload.
    Burst(usize),
    /// Any other, which is acknowledged at once.
    Single,
}

/// How a packet stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// It has not arrived yet.
    New,
    /// It is here already.
    Known,
    /// No client that has sent what has arrived can be there.
    Stray,
}

/// A packet that is here and not acknowledged.
#[derive(Debug, Clone, Copy)]
struct Held {
    length: usize,
    /// How often it was sent.
    sent: u32,
    /// When that was counted last.
    at: Instant,
}

/// The packets of a client, from its first on.
#[derive(Debug)]
pub struct Window {
    /// All before this one are acknowledged or lost.
    next: u64,
    /// Those from there on that are here, and not acknowledged.
    held: BTreeMap<u64, Held>,
    /// Those from there on that are acknowledged, since they are of no burst.
    single: BTreeSet<u64>,
    lost: Spans,
    /// The payload of the largest packet of a burst so far.
    largest: usize,
    /// When the last new packet arrived.
    arrived: Instant,
}

impl Window {
    /// Of a client whose first packet has this number.
    pub fn new(herald: u32, now: Instant) -> Self {
        Self {
            next: u64::from(herald) + 1,
            held: BTreeMap::new(),
            single: BTreeSet::new(),
            lost: Spans::default(),
            largest: 0,
            arrived: now,
        }
    }

    /// A packet's number in a count that does not begin again after 2^32.
    fn number(&self, seq: u32) -> Option<u64> {
        let ahead = i64::from(seq.wrapping_sub(low_u32(self.next)).cast_signed());
        self.next.checked_add_signed(ahead)
    }

    /// How a packet stands to the others.
    pub fn position(&self, seq: u32) -> Position {
        let Some(number) = self.number(seq) else { return Position::Stray };
        let is_here = self.held.contains_key(&number) || self.single.contains(&number);
        match number.checked_sub(self.next) {
            _ if is_here => Position::Known,
            None if self.lost.contains(number) => Position::New,
            None => Position::Known,
            // One that has gone on without what is missing can be in the burst after this one.
            Some(ahead) if ahead < 2 * MAX_PACKETS => Position::New,
            Some(_) => Position::Stray,
        }
    }

    /// Takes note of a packet that is stored, or was, and says which are to be acknowledged now.
    pub fn take(&mut self, seq: u32, part: Part, now: Instant) -> Vec<u32> {
        let position = self.position(seq);
        let Some(number) = self.number(seq).filter(|_| position != Position::Stray) else { return Vec::new() };
        if position == Position::New {
            self.arrived = now;
        }
        if let Part::Burst(length) = part {
            self.largest = self.largest.max(length);
        }
        if number < self.next {
            self.lost.remove(number);
            return vec![seq];
        }
        let mut acknowledged = Vec::new();
        match part {
            Part::Single => {
                self.single.insert(number);
                acknowledged.push(seq);
            }
            Part::Burst(length) => {
                let held = self.held.entry(number).or_insert(Held { length, sent: 1, at: now });
                if now.saturating_duration_since(held.at) >= AGAIN {
                    (held.sent, held.at) = (held.sent.saturating_add(1), now);
                }
            }
        }
        if number - self.next >= MAX_PACKETS {
            // A client that is there does not send what is before its burst again.
            self.lose_before(number - (MAX_PACKETS - 1));
        }
        acknowledged.extend(self.settle());
        acknowledged
    }

    /// When [`Self::quiet`] is to be called, if nothing arrives before.
    pub fn quiet_at(&self) -> Option<Instant> {
        (!self.held.is_empty()).then(|| self.arrived + QUIET)
    }

    /// Says which packets are to be acknowledged since nothing has arrived for a while.
    pub fn quiet(&mut self, now: Instant) -> Vec<u32> {
        let run = self.run();
        let is_over = now.saturating_duration_since(self.arrived) >= QUIET
            && run == self.held.len()
            && self.held.values().all(|held| held.length >= LARGE);
        if is_over { self.acknowledge(run) } else { Vec::new() }
    }

    /// Packets that were never seen and that the client does not send any more.
    pub fn lost(&self) -> u64 {
        self.lost.total()
    }

    /// Packets that are missing before that one, which is the client's last: lost ones, and those that nobody waited for.
    pub fn missing_before(&self, last: u32) -> u64 {
        let ahead = self.number(last).and_then(|last| last.checked_sub(self.next)).unwrap_or(0);
        let here = self.held.len().saturating_add(self.single.len().saturating_sub(1)) as u64;
        self.lost().saturating_add(ahead.saturating_sub(here))
    }

    /// Passes what is acknowledged already.
    fn advance(&mut self) {
        while self.single.remove(&self.next) {
            self.next += 1;
        }
    }

    /// How many of the held packets follow each other without a gap, from the first that is not acknowledged.
    fn run(&self) -> usize {
        (self.next..).zip(self.held.keys()).take_while(|(expected, number)| expected == *number).count()
    }

    fn settle(&mut self) -> Vec<u32> {
        let mut acknowledged = Vec::new();
        self.advance();
        loop {
            let run = self.run();
            let (mut bytes, mut whole) = (0, None);
            for (index, held) in self.held.values().take(run).enumerate() {
                bytes += held.length;
                if bytes >= MAX_BURST || held.length < self.largest {
                    whole = Some(index + 1);
                    break;
                }
            }
            // A client that takes a packet for delivered does not send it again.
            let sent = || self.held.values().map(|held| held.sent);
            let (least, most) = (sent().min().unwrap_or(0), sent().max().unwrap_or(0));
            let is_alone = run > 0 && run == self.held.len();
            let is_whole = least >= WHOLE_AFTER && bytes.is_multiple_of(BLOCK) || most >= OVER_AFTER;
            match whole {
                Some(count) => acknowledged.extend(self.acknowledge(count)),
                None if is_alone && is_whole => acknowledged.extend(self.acknowledge(run)),
                None if !is_alone && most >= LOST_AFTER => {
                    let last = self.held.last_key_value().map_or(self.next, |(last, _)| last + 1);
                    acknowledged.extend(self.lose_before(last));
                }
                None => return acknowledged,
            }
        }
    }

    /// Passes the first held packets.
    fn acknowledge(&mut self, count: usize) -> Vec<u32> {
        let end = self.next.saturating_add(count as u64);
        let acknowledged = self.lose_before(end);
        self.advance();
        acknowledged
    }

    /// Passes all before a number; those that are not here are lost. Returns those that are, and were not acknowledged.
    fn lose_before(&mut self, end: u64) -> Vec<u32> {
        let mut acknowledged = Vec::new();
        while self.next < end {
            if self.held.remove(&self.next).is_some() {
                acknowledged.push(low_u32(self.next));
            } else if !self.single.remove(&self.next) {
                self.lost.insert(self.next, self.next + 1);
            }
            self.next += 1;
        }
        acknowledged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BinaryHeap;

    /// What a network does to packets.
    #[derive(Debug, Clone, Copy)]
    struct Network {
        /// Of a thousand packets so many are lost, each way.
        lost: u64,
        /// So many come twice.
        doubled: u64,
        /// They take up to so many microseconds.
        delay: u64,
        /// A card sends a packet each so many microseconds.
        interval: u64,
    }

    /// When packets are acknowledged.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Receiver {
        /// By a window.
        Careful,
        /// Each as it comes, as receivers did.
        Hasty,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Happening {
        /// A packet of a burst leaves the client's card, if the client has not gone on.
        Leaves {
            burst: usize,
            seq: u32,
        },
        Arrives {
            seq: u32,
        },
        Acknowledged {
            seq: u32,
        },
        /// The client sends again what is not acknowledged.
        Repeats {
            burst: usize,
            times: u32,
        },
        Quiet,
    }

    /// How it ended.
    #[derive(Debug, PartialEq, Eq)]
    enum Ending {
        /// The client says that its dump is complete, and so many packets never came.
        Complete { missing: usize },
        /// The client gave up.
        GivenUp,
    }

    struct Simulation {
        network: Network,
        random: u64,
        now: u64,
        happenings: BinaryHeap<(std::cmp::Reverse<u64>, std::cmp::Reverse<Happening>)>,
    }

    impl Simulation {
        fn random(&mut self, below: u64) -> u64 {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.random % below.max(1)
        }

        fn after(&mut self, delay: u64, happening: Happening) {
            self.happenings.push((std::cmp::Reverse(self.now + delay), std::cmp::Reverse(happening)));
        }

        /// Sends something through the network.
        fn send(&mut self, happening: Happening) {
            let copies = if self.random(1000) < self.network.doubled { 2 } else { 1 };
            for _ in 0..copies {
                if self.random(1000) >= self.network.lost {
                    let delay = 50 + self.random(self.network.delay);
                    self.after(delay, happening);
                }
            }
        }
    }

    /// The bit of a packet as the client computes it: an int, shifted as far as its last five bits say.
    fn bit(index: usize) -> u64 {
        i64::from(1_i32.wrapping_shl(u32::try_from(index).unwrap())).cast_unsigned()
    }

    /// A client sends bursts of these lengths in packets of that payload, from that number on.
    fn simulate(
        bursts: &[usize],
        payload: usize,
        first: u32,
        network: Network,
        receiver: Receiver,
        seed: u64,
    ) -> Ending {
        let base = Instant::now();
        let at = |now: u64| base + Duration::from_micros(now);
        let mut simulation = Simulation { network, random: seed | 1, now: 0, happenings: BinaryHeap::new() };
        let mut window = Window::new(first, base);
        let packets: Vec<Vec<usize>> = bursts
            .iter()
            .map(|length| (0..*length).step_by(payload).map(|start| payload.min(length - start)).collect())
            .collect();
        let starts: Vec<u32> = packets
            .iter()
            .scan(first.wrapping_add(1), |next, burst| {
                let start = *next;
                *next = next.wrapping_add(u32::try_from(burst.len()).unwrap());
                Some(start)
            })
            .collect();
        let place = |seq: u32| {
            let burst = starts.iter().rposition(|start| seq.wrapping_sub(*start) < u32::MAX / 2).unwrap();
            (burst, usize::try_from(seq.wrapping_sub(starts[burst])).unwrap())
        };
        let mut arrived = std::collections::HashSet::new();
        let (mut burst, mut received) = (0, 0_u64);
        simulation.after(0, Happening::Repeats { burst: 0, times: 0 });
        while let Some((std::cmp::Reverse(time), std::cmp::Reverse(happening))) = simulation.happenings.pop() {
            simulation.now = time;
            let mut answers = Vec::new();
            match happening {
                Happening::Repeats { burst: of, times } if of == burst => {
                    if times == 12 {
                        return Ending::GivenUp;
                    }
                    let mut card = 0;
                    for index in 0..packets[burst].len() {
                        if received & bit(index) == 0 {
                            let seq = starts[burst].wrapping_add(u32::try_from(index).unwrap());
                            simulation.after(card, Happening::Leaves { burst, seq });
                            card += simulation.network.interval;
                        }
                    }
                    simulation.after(1_000_000, Happening::Repeats { burst, times: times + 1 });
                }
                // Of what has not left the card by then, the buffer has other bytes: its checksum is wrong.
                Happening::Leaves { burst: of, seq } if of == burst => simulation.send(Happening::Arrives { seq }),
                Happening::Repeats { .. } | Happening::Leaves { .. } => {}
                Happening::Arrives { seq } => {
                    let (of, index) = place(seq);
                    if receiver == Receiver::Hasty {
                        answers.push(seq);
                    } else if window.position(seq) != Position::Stray {
                        answers = window.take(seq, Part::Burst(packets[of][index]), at(time));
                    }
                    arrived.insert(seq);
                    if let Some(quiet) = window.quiet_at() {
                        let wait = quiet.saturating_duration_since(at(time)).as_micros();
                        simulation.after(u64::try_from(wait).unwrap(), Happening::Quiet);
                    }
                }
                Happening::Quiet => answers = window.quiet(at(time)),
                Happening::Acknowledged { seq } => {
                    let ahead = seq.wrapping_sub(starts[burst]);
                    if ahead < 64 {
                        received |= bit(usize::try_from(ahead).unwrap());
                    }
                }
            }
            for seq in answers {
                simulation.send(Happening::Acknowledged { seq });
            }
            let wanted = (0..packets[burst].len()).fold(0, |wanted, index| wanted | bit(index));
            if received == wanted {
                burst += 1;
                received = 0;
                if burst == packets.len() {
                    let sent: usize = packets.iter().map(Vec::len).sum();
                    return Ending::Complete { missing: sent - arrived.len() };
                }
                simulation.after(0, Happening::Repeats { burst, times: 0 });
            }
        }
        Ending::GivenUp
    }

    const FAULTY: Network = Network { lost: 20, doubled: 30, delay: 900, interval: 12 };
    /// Payloads at MTUs of 1500, 4148 and 9000, and at some that nobody has.
    const PAYLOADS: [usize; 6] = [1448, 4096, 8948, 1024, 1500, 2048];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn no_packet_is_missing_of_a_dump_that_a_client_calls_complete(
            blocks in prop::collection::vec(1_usize..=16, 1..12),
            payload in prop::sample::select(&PAYLOADS[..]),
            first in prop::sample::select(&[1, u32::MAX - 40][..]),
            lost in 0_u64..80,
            doubled in 0_u64..80,
            delay in 1_u64..3000,
            seed in any::<u64>(),
        ) {
            let bursts: Vec<usize> = blocks.iter().map(|blocks| blocks * BLOCK).collect();
            let network = Network { lost, doubled, delay, interval: 12 };
            let ending = simulate(&bursts, payload, first, network, Receiver::Careful, seed);
            prop_assert_eq!(ending, Ending::Complete { missing: 0 });
        }
    }

    #[test]
    fn receivers_that_acknowledge_each_packet_lose_some_where_bursts_have_more_than_32() {
        let bursts = [MAX_BURST; 40];
        let missing = |payload, receiver| {
            let ending =
                |seed: u64| simulate(&bursts, payload, 1, FAULTY, receiver, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            (1..=20).filter(|seed| ending(*seed) != Ending::Complete { missing: 0 }).count()
        };
        assert!(missing(1448, Receiver::Hasty) > 10);
        assert_eq!(missing(4096, Receiver::Hasty), 0);
        for payload in PAYLOADS {
            assert_eq!(missing(payload, Receiver::Careful), 0, "{payload}");
        }
    }

    #[test]
    fn a_card_that_is_slow_loses_its_last_packets_without_any_loss_on_the_way() {
        let network = Network { lost: 0, doubled: 0, delay: 10, interval: 40 };
        let bursts = [MAX_BURST; 20];
        let ending = |receiver| simulate(&bursts, 1448, 1, network, receiver, 7);
        assert!(matches!(ending(Receiver::Hasty), Ending::Complete { missing: 1.. }));
        assert_eq!(ending(Receiver::Careful), Ending::Complete { missing: 0 });
    }

    #[test]
    fn a_client_that_goes_on_without_its_packets_is_followed_and_they_are_counted() {
        let now = Instant::now();
        let mut window = Window::new(1, now);
        for seq in (2..47).filter(|seq| *seq != 20) {
            assert_eq!(window.take(seq, Part::Burst(1448), now), [0; 0]);
        }
        // A burst after the one whose packet is missing; it comes again and again.
        let mut acknowledged = Vec::new();
        for time in 0..12 {
            let now = now + Duration::from_secs(time);
            for seq in 47..50 {
                acknowledged.extend(window.take(seq, Part::Burst(if seq == 49 { 1000 } else { 1448 }), now));
            }
        }
        assert!(acknowledged.contains(&49), "{acknowledged:?}");
        assert_eq!(window.lost(), 1);
        // It was only late.
        assert_eq!(window.position(20), Position::New);
        assert_eq!(window.take(20, Part::Burst(1448), now), [20]);
        assert_eq!(window.lost(), 0);
    }

    #[test]
    fn what_no_client_sends_moves_nothing() {
        let now = Instant::now();
        let mut window = Window::new(1, now);
        for seq in [0x8000_0000, 500, 130, u32::MAX - 5] {
            let before = format!("{window:?}");
            if window.position(seq) == Position::Stray {
                assert_eq!(window.take(seq, Part::Burst(9), now), [0; 0]);
                assert_eq!(format!("{window:?}"), before);
            }
        }
        assert_eq!(window.position(130), Position::Stray);
        assert_eq!(window.position(129), Position::New);
    }

    #[test]
    fn other_packets_are_acknowledged_at_once_and_again() {
        let now = Instant::now();
        let mut window = Window::new(1, now);
        assert_eq!(window.take(2, Part::Single, now), [2]);
        assert_eq!(window.position(2), Position::Known);
        assert_eq!(window.take(2, Part::Single, now), [2]);
        // One of several, out of order.
        assert_eq!(window.take(4, Part::Single, now), [4]);
        assert_eq!(window.missing_before(4), 1);
        assert_eq!(window.take(3, Part::Single, now), [3]);
        assert_eq!((window.missing_before(4), window.lost()), (0, 0));
    }
}
