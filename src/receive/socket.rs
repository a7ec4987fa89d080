//! The sockets of a receiver for netdump(4): one that heralds come to, and one for each client.
//!
//! A client takes no acknowledgement that comes from another address than it has sent to, so the address that a herald came
//! to is asked of the system (IP_RECVDSTADDR, ip(4); IP_PKTINFO on Linux).

use super::netdump::packet::MAX_PACKET;
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;
use vmcore::bounds::head;

/// How much a socket holds that is not read yet: bursts of several clients.
const BUFFER: usize = 4 << 20;

/// What tells where a packet was sent.
#[cfg(target_os = "freebsd")]
type DestinationData = libc::in_addr;
#[cfg(target_os = "linux")]
type DestinationData = libc::in_pktinfo;

/// A socket that heralds come to.
#[derive(Debug)]
pub struct HeraldSocket {
    socket: UdpSocket,
    buffer: Vec<u8>,
}

/// A packet that came there.
#[derive(Debug)]
pub struct Received<'a> {
    /// Who has sent it.
    pub from: SocketAddrV4,
    /// The address it was sent to.
    pub to: Ipv4Addr,
    /// What it is.
    pub bytes: &'a [u8],
}

impl HeraldSocket {
    /// Binds one.
    ///
    /// # Errors
    ///
    /// The address is not this host's, or in use.
    pub fn bind(address: SocketAddrV4) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        #[cfg(target_os = "freebsd")]
        setsockopt(&socket, sockopt::Ipv4RecvDstAddr, &true)?;
        #[cfg(target_os = "linux")]
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        enlarge(&socket);
        Ok(Self { socket, buffer: vec![0; MAX_PACKET] })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn local(&self) -> io::Result<std::net::SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for a packet for that long; `None` if none came.
    ///
    /// # Errors
    ///
    /// The socket is broken.
    pub fn receive(&mut self, patience: Duration) -> io::Result<Option<Received<'_>>> {
        self.socket.set_read_timeout(Some(patience))?;
        let mut control = cmsg_space!(DestinationData);
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let descriptor = self.socket.as_raw_fd();
        let (length, from, to) =
            match recvmsg::<SockaddrIn>(descriptor, &mut parts, Some(&mut control), MsgFlags::empty()) {
                Ok(message) => {
                    let to = message.cmsgs().ok().and_then(|mut all| all.find_map(|one| destination(&one)));
                    (message.bytes, message.address, to)
                }
                Err(errno) => return nothing(errno.into()).map(|()| None),
            };
        let (Some(from), Some(to)) = (from, to) else { return Ok(None) };
        let from = SocketAddrV4::new(from.ip(), from.port());
        Ok(Some(Received { from, to, bytes: head(&self.buffer, length) }))
    }
}

#[cfg(target_os = "freebsd")]
fn destination(message: &ControlMessageOwned) -> Option<Ipv4Addr> {
    match message {
        ControlMessageOwned::Ipv4RecvDstAddr(address) => Some(Ipv4Addr::from(u32::from_be(address.s_addr))),
        _ => None,
    }
}

#[cfg(target_os = "linux")]
fn destination(message: &ControlMessageOwned) -> Option<Ipv4Addr> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))),
        _ => None,
    }
}

/// What means only that nothing has come; any other error is one.
fn nothing(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(()),
        // The answer to an acknowledgement that nobody waits for any more.
        io::ErrorKind::ConnectionRefused => Ok(()),
        _ => Err(error),
    }
}

/// A socket for one client, which sends there once it has heard from it.
#[derive(Debug)]
pub struct ClientSocket(UdpSocket);

impl ClientSocket {
    /// One that sends from that address of this host, and from a port of its own.
    ///
    /// # Errors
    ///
    /// The system gives none.
    pub fn new(local: Ipv4Addr, client: SocketAddrV4) -> io::Result<Self> {
        let socket = UdpSocket::bind(SocketAddrV4::new(local, 0))?;
        socket.connect(client)?;
        enlarge(&socket);
        Ok(Self(socket))
    }

    /// Waits for a packet for that long, and says how long it is; `None` if none came.
    ///
    /// # Errors
    ///
    /// The socket is broken.
    pub fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Option<usize>> {
        // A timeout of nothing would be none.
        self.0.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        self.0.recv(buffer).map(Some).or_else(|error| nothing(error).map(|()| None))
    }

    /// Sends an answer. One that is lost is asked for again.
    pub fn send(&self, bytes: &[u8]) {
        let _ = self.0.send(bytes);
    }
}

/// Has a socket hold more, as far as the system allows it.
fn enlarge(socket: &UdpSocket) {
    let _ = setsockopt(socket, sockopt::RcvBuf, &BUFFER);
}
