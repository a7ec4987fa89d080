//! A client of netdump(4), with the fault of FreeBSD's: it counts acknowledgements in bits that it finds by a shift of 32
//! bits, and so takes packets for delivered that are not. Between it and the receiver is a network that loses packets,
//! doubles them and changes their order.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

pub const HERALD: u32 = 1;
pub const FINISHED: u32 = 2;
pub const DATA: u32 = 3;
pub const HEADER: u32 = 4;
pub const KEY: u32 = 5;

/// What an MTU leaves for the payload.
pub const fn payload(mtu: usize) -> usize {
    mtu - 52
}

/// What the network does, of a thousand packets, each way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub lost: u64,
    pub doubled: u64,
    pub displaced: u64,
}

pub struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    has_port: bool,
    seq: u32,
    payload: usize,
    faults: Faults,
    random: u64,
}

/// As the client computes it: an int, shifted as far as its last five bits say.
fn bit(index: usize) -> u64 {
    i64::from(1_i32.wrapping_shl(u32::try_from(index).unwrap())).cast_unsigned()
}

/// A packet.
pub fn packet(kind: u32, seq: u32, offset: u64, payload: &[u8]) -> Vec<u8> {
    let header = [
        &kind.to_be_bytes()[..],
        &seq.to_be_bytes(),
        &offset.to_be_bytes(),
        &u32::try_from(payload.len()).unwrap().to_be_bytes(),
        &[0; 4],
    ];
    [&header.concat(), payload].concat()
}

impl Client {
    /// One that sends packets of an MTU from a port of its own.
    pub fn new(server: SocketAddr, mtu: usize, faults: Faults) -> Self {
        Self::from(UdpSocket::bind("127.0.0.1:0").unwrap(), server, mtu, faults)
    }

    /// The same from a socket that is there.
    pub fn from(socket: UdpSocket, server: SocketAddr, mtu: usize, faults: Faults) -> Self {
        let random = 0x9e37_79b9_7f4a_7c15 ^ (mtu as u64) << 32 ^ faults.lost;
        Self { socket, server, has_port: false, seq: 1, payload: payload(mtu), faults, random }
    }

    /// The socket, for another client that is the same machine after a reboot.
    pub fn into_socket(self) -> UdpSocket {
        // Answers that it has not waited for are not the other's.
        self.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while self.socket.recv_from(&mut [0; 8]).is_ok() {}
        self.socket
    }

    /// Sends a packet of any kind, once.
    pub fn raw(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.server).unwrap();
    }

    fn happens(&mut self, per_thousand: u64) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 1000 < per_thousand
    }

    /// Sends bytes as the kernel does, 12 times at most; whether it believes that they have arrived.
    pub fn send(&mut self, kind: u32, offset: u64, bytes: &[u8]) -> bool {
        let parts: Vec<&[u8]> = if bytes.is_empty() { vec![&[]] } else { bytes.chunks(self.payload).collect() };
        let wanted = (0..parts.len()).fold(0, |wanted, index| wanted | bit(index));
        let mut received = 0_u64;
        for _ in 0..12 {
            let mut order: Vec<usize> = (0..parts.len()).filter(|index| received & bit(*index) == 0).collect();
            for place in 1..order.len() {
                if self.happens(self.faults.displaced) {
                    order.swap(place - 1, place);
                }
            }
            for index in order {
                let at = offset + (index * self.payload) as u64;
                let packet = packet(kind, self.seq.wrapping_add(u32::try_from(index).unwrap()), at, parts[index]);
                let copies = if self.happens(self.faults.doubled) { 2 } else { 1 };
                for _ in 0..copies {
                    if !self.happens(self.faults.lost) {
                        let _ = self.socket.send_to(&packet, self.server);
                    }
                }
            }
            let deadline = Instant::now() + Duration::from_millis(300);
            while received != wanted {
                let patience = deadline.saturating_duration_since(Instant::now());
                if patience.is_zero() {
                    break;
                }
                self.socket.set_read_timeout(Some(patience)).unwrap();
                let mut answer = [0; 8];
                let Ok((4, from)) = self.socket.recv_from(&mut answer) else { continue };
                if self.happens(self.faults.lost) {
                    continue;
                }
                if !self.has_port {
                    (self.server, self.has_port) = (from, true);
                }
                let ahead = u32::from_be_bytes(*answer.first_chunk().unwrap()).wrapping_sub(self.seq);
                if ahead < 64 {
                    received |= bit(ahead as usize);
                }
            }
            if received == wanted {
                self.seq = self.seq.wrapping_add(u32::try_from(parts.len()).unwrap());
                return true;
            }
        }
        false
    }

    /// Says that it is there, until it is heard.
    #[track_caller]
    pub fn herald(&mut self, path: &str) {
        let name = if path.is_empty() { Vec::new() } else { [path.as_bytes(), &[0]].concat() };
        for _ in 0..20 {
            if self.send(HERALD, 0, &name) {
                return;
            }
        }
        panic!("nobody answers the herald");
    }

    /// Sends the dump in bursts, from a place on.
    #[track_caller]
    pub fn data(&mut self, dump: &[u8], from: u64) {
        for (index, burst) in dump.chunks(1 << 16).enumerate() {
            assert!(self.send(DATA, from + (index as u64) * (1 << 16), burst), "burst {index} was not heard");
        }
    }

    /// A whole dump, as the kernel sends it.
    #[track_caller]
    pub fn dump(&mut self, key: &[u8], dump: &[u8], header: &[u8]) {
        self.herald("");
        if !key.is_empty() {
            assert!(self.send(KEY, 0, key), "the key was not heard");
        }
        self.data(dump, 0);
        assert!(self.send(HEADER, 0, header) && self.send(FINISHED, 0, &[]), "the end was not heard");
    }
}
