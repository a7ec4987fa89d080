//! Sending a dump to another host, over TCP.
//!
//! There is no protocol: the receiver gets the bytes and then the end of the stream, as `nc -l` writes them
//! into a file. What TCP itself tells is used to the full: a connection that broke is never taken for a dump
//! that was delivered. And a sender that gives up, or is ended, resets the connection: the receiver gets an
//! error, not the end of a stream that looks whole.
//!
//! What else is spoken on a connection is a [`Language`]; of TCP alone, [`Plain`].

use super::address::Receiver;
use super::{Accepted, Delivered, Upload};
use crate::error::{Error, Result};
use nix::errno::Errno;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use vmcore::errno;

/// How long each of a host's addresses may take to answer.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a receiver that has everything may take to close the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long there is between two looks at what the receiver has acknowledged.
const INTERVAL: Duration = Duration::from_millis(20);

/// What is spoken on a connection.
pub trait Language: fmt::Debug + Send {
    /// How addresses begin, before `://`.
    const SCHEME: &'static str;

    /// Sends some of a dump, and says how much.
    ///
    /// # Errors
    ///
    /// The connection broke.
    fn write(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize>;

    /// Says that this was all, before the stream ends.
    ///
    /// # Errors
    ///
    /// The connection broke.
    fn end(&mut self, stream: &mut TcpStream) -> io::Result<()>;

    /// Reads some of what the receiver says. If that was its end, what it means for the dump; `None` if not. All
    /// else is dropped: unread, it would have the connection reset when it is closed.
    ///
    /// # Errors
    ///
    /// The connection broke, or the receiver says that it does not have the dump.
    fn read(&mut self, stream: &mut TcpStream) -> io::Result<Option<Delivered>>;

    /// What the receiver has said before the connection broke, if that explains it.
    fn explanation(&mut self, stream: &mut TcpStream) -> Option<io::Error>;
}

/// Nothing but the bytes.
#[derive(Debug)]
pub struct Plain;

impl Language for Plain {
    const SCHEME: &'static str = "tcp";

    fn write(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        stream.write(bytes)
    }

    fn end(&mut self, _: &mut TcpStream) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, stream: &mut TcpStream) -> io::Result<Option<Delivered>> {
        stream.read(&mut [0; 4096]).map(|read| (read == 0).then_some(Delivered::Closed))
    }

    fn explanation(&mut self, _: &mut TcpStream) -> Option<io::Error> {
        None
    }
}

/// A connection to a receiver.
#[derive(Debug)]
pub struct Connection<L> {
    stream: TcpStream,
    to: Receiver,
    language: L,
}

impl Connection<Plain> {
    /// Connects to a receiver: to the first of the host's addresses that answers, for each in 10 seconds.
    ///
    /// # Errors
    ///
    /// The host is not known, or none of its addresses answers; the error gives the reason for each.
    pub fn connect(to: &Receiver) -> Result<Self> {
        Self::connect_with(to, |_| Ok(Plain))
    }
}

impl<L: Language> Connection<L> {
    /// The same, and has both sides begin with what they speak.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::connect`] and of `begin`.
    pub fn connect_with(to: &Receiver, begin: impl FnOnce(&mut TcpStream) -> io::Result<L>) -> Result<Self> {
        let connect = || {
            let mut stream = connected(to)?;
            let language = begin(&mut stream)?;
            Ok(Self { stream, to: to.clone(), language })
        };
        connect().map_err(|source| Error::Io { what: format!("connect to {}://{to}", L::SCHEME), source })
    }

    fn deliver(&mut self) -> io::Result<Delivered> {
        reset_when_closed(&self.stream, false)?;
        self.end().map_err(|error| self.given_up(error))?;
        self.stream.set_read_timeout(Some(INTERVAL))?;
        let mut closed = None;
        let mut patience = None;
        loop {
            if closed.is_none() {
                closed = self.receiver_closed()?;
            }
            match (unacknowledged(&self.stream)?, closed) {
                (None, Some(delivered)) => return Ok(delivered),
                (Some(0), _) => {
                    // A reset empties the queue too. It would have been before this.
                    if let Some(error) = self.stream.take_error()? {
                        return Err(self.broken(error));
                    }
                    if let Some(delivered) = closed {
                        return Ok(delivered);
                    }
                    if Instant::now() >= *patience.get_or_insert_with(|| Instant::now() + CLOSE_TIMEOUT) {
                        return Ok(Delivered::Acknowledged);
                    }
                }
                // Half closed: it has ended its own stream, which says nothing about ours.
                (_, Some(_)) => std::thread::sleep(INTERVAL),
                (_, None) => {}
            }
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.language.end(&mut self.stream)?;
        self.stream.shutdown(Shutdown::Write)
    }

    /// Whether the receiver has ended its side, after waiting a little.
    fn receiver_closed(&mut self) -> io::Result<Option<Delivered>> {
        self.language.read(&mut self.stream).or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(self.given_up(error)),
        })
    }

    /// That it broke before or while the end was said: what is left of the connection must not look like one.
    fn given_up(&mut self, error: io::Error) -> io::Error {
        // If that is refused, the connection is gone.
        let _ = reset_when_closed(&self.stream, true);
        self.broken(error)
    }

    fn broken(&mut self, error: io::Error) -> io::Error {
        let error = self.language.explanation(&mut self.stream).unwrap_or(error);
        let (scheme, to, why) = (L::SCHEME, &self.to, errno::reason(&error));
        let text = format!("the connection to {scheme}://{to} was lost, and the receiver's copy is incomplete: {why}");
        io::Error::new(error.kind(), text)
    }
}

/// A connection that a sender has made.
struct Incoming(TcpStream);

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Accepted for Incoming {
    fn finish(self: Box<Self>) -> io::Result<()> {
        reset_when_closed(&self.0, false)?;
        self.0.shutdown(Shutdown::Write)
    }
}

/// See [`super::accept_plain`].
pub fn accept(stream: TcpStream) -> io::Result<Box<dyn Accepted>> {
    reset_when_closed(&stream, true)?;
    Ok(Box::new(Incoming(stream)))
}

/// A connection to the first of a host's addresses that answers. It is reset when it is closed.
fn connected(to: &Receiver) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (to.host.as_str(), to.port).to_socket_addrs()?.collect();
    let mut errors = Vec::new();
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                reset_when_closed(&stream, true)?;
                return Ok(stream);
            }
            Err(error) => errors.push((address, error)),
        }
    }
    let all =
        errors.iter().map(|(address, error)| format!("{}: {}", address.ip(), errno::reason(error))).collect::<Vec<_>>();
    Err(match errors.pop() {
        None => io::Error::new(io::ErrorKind::NotFound, "the host has no address"),
        Some((_, only)) if errors.is_empty() => only,
        Some((_, last)) => io::Error::new(last.kind(), all.join("; ")),
    })
}

impl<L: Language> Upload for Connection<L> {
    /// Ends the stream and waits until the receiver has all of it: until its system has acknowledged it, and
    /// for one second more until it closes the connection. Without end if it stops taking any.
    ///
    /// On systems other than FreeBSD and Linux only the receiver's close tells.
    ///
    /// # Errors
    ///
    /// The connection broke, so the receiver's copy is not complete.
    fn finish(mut self: Box<Self>) -> Result<Delivered> {
        self.deliver().map_err(|source| Error::Io { what: "finish sending".to_owned(), source })
    }
}

impl<L: Language> Write for Connection<L> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.language.write(&mut self.stream, bytes).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => self.broken(error),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether closing the connection, also when the process ends, resets it.
pub(super) fn reset_when_closed(stream: &TcpStream, reset: bool) -> io::Result<()> {
    let linger = libc::linger { l_onoff: reset.into(), l_linger: 0 };
    let length = libc::socklen_t::try_from(size_of_val(&linger)).map_err(io::Error::other)?;
    let value = (&raw const linger).cast();
    // SAFETY: the option's value is a struct linger, of that length; the descriptor is open as long as the
    // stream is.
    let result = unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, length) };
    Ok(Errno::result(result).map(drop)?)
}

/// Bytes in a socket's send queue: sent or not, the receiver's system has not acknowledged them. `None` where
/// the system does not tell.
#[cfg(any(target_os = "freebsd", target_os = "linux"))]
fn unacknowledged(stream: &TcpStream) -> io::Result<Option<u64>> {
    // Linux has the terminal's request for sockets as well, as SIOCOUTQ (tcp(7)).
    #[cfg(target_os = "freebsd")]
    use libc::FIONWRITE;
    #[cfg(target_os = "linux")]
    use libc::TIOCOUTQ as FIONWRITE;

    nix::ioctl_read_bad!(send_queue, FIONWRITE, libc::c_int);
    let mut bytes = 0;
    // SAFETY: the request writes one int, to where it may; the descriptor is open as long as the stream is.
    unsafe { send_queue(stream.as_raw_fd(), &raw mut bytes) }?;
    u64::try_from(bytes).map(Some).map_err(io::Error::other)
}

#[cfg(not(any(target_os = "freebsd", target_os = "linux")))]
fn unacknowledged(_: &TcpStream) -> io::Result<Option<u64>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    /// A receiver on a port of its own.
    fn receiver<R: Send + 'static>(
        bind: &str,
        work: impl FnOnce(TcpStream) -> R + Send + 'static,
    ) -> (Receiver, JoinHandle<R>) {
        let listener = TcpListener::bind(bind).unwrap();
        let to = listener.local_addr().unwrap().to_string().parse().unwrap();
        (to, thread::spawn(move || work(listener.accept().unwrap().0)))
    }

    fn read_all(mut stream: &TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    }

    /// Closes the stream with a reset.
    fn reset(stream: TcpStream) {
        reset_when_closed(&stream, true).unwrap();
    }

    fn some_bytes(length: usize) -> Vec<u8> {
        (0_u32..).flat_map(u32::to_le_bytes).take(length).collect()
    }

    fn assert_broken(error: &str, to: &Receiver) {
        let expected = format!("the connection to tcp://{to} was lost, and the receiver's copy is incomplete: ");
        assert!(error.contains(&expected), "{error}");
    }

    /// Sends all that; where it fails, an error that says so.
    fn send(to: &Receiver, bytes: &[u8]) -> Result<Delivered, String> {
        let mut connection = Connection::connect(to).map_err(|error| error.to_string())?;
        for piece in bytes.chunks(1 << 18) {
            connection.write_all(piece).map_err(|error| error.to_string())?;
        }
        connection.flush().unwrap();
        Box::new(connection).finish().map_err(|error| error.to_string())
    }

    #[test]
    fn everything_arrives() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            if TcpListener::bind(bind).is_err() {
                continue;
            }
            for length in [0, 1, 4096, 5_000_001] {
                let (to, receiver) = receiver(bind, |stream| read_all(&stream));
                let bytes = some_bytes(length);
                assert_eq!(send(&to, &bytes), Ok(Delivered::Closed));
                assert!(receiver.join().unwrap() == bytes, "{to}, {length}");
            }
        }
    }

    #[test]
    fn a_receiver_that_never_closes_does_not_hang_the_sender() {
        // What it returns stays open until the end.
        let (to, receiver) = receiver("127.0.0.1:0", |stream| (read_all(&stream), stream));
        let bytes = some_bytes(3_000_000);
        assert_eq!(send(&to, &bytes), Ok(Delivered::Acknowledged));
        assert!(receiver.join().unwrap().0 == bytes);
    }

    #[test]
    fn a_slow_receiver_gets_everything() {
        let (to, receiver) = receiver("127.0.0.1:0", |mut stream| {
            let mut all = Vec::new();
            let mut buffer = [0; 50_000];
            loop {
                thread::sleep(Duration::from_millis(2));
                match stream.read(&mut buffer).unwrap() {
                    0 => return all,
                    read => all.extend_from_slice(&buffer[..read]),
                }
            }
        });
        let bytes = some_bytes(8_000_000);
        assert_eq!(send(&to, &bytes), Ok(Delivered::Closed));
        assert!(receiver.join().unwrap() == bytes);
    }

    #[test]
    fn the_end_of_the_receivers_own_stream_is_not_the_end_of_ours() {
        let (to, receiver) = receiver("127.0.0.1:0", |stream| {
            stream.shutdown(Shutdown::Write).unwrap();
            thread::sleep(Duration::from_millis(200));
            read_all(&stream)
        });
        let bytes = some_bytes(3_000_000);
        assert_eq!(send(&to, &bytes), Ok(Delivered::Closed));
        assert!(receiver.join().unwrap() == bytes);
    }

    #[test]
    fn a_receiver_that_talks_is_not_listened_to() {
        let (to, receiver) = receiver("127.0.0.1:0", |mut stream| {
            let all = read_all(&stream);
            // Until the sender is gone.
            while stream.write_all(&[7; 1000]).is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
            all
        });
        assert_eq!(send(&to, b"some"), Ok(Delivered::Acknowledged));
        assert_eq!(receiver.join().unwrap(), b"some");
    }

    #[test]
    fn a_receiver_that_closes_early_is_an_error() {
        let (to, receiver) = receiver("127.0.0.1:0", |mut stream| stream.read_exact(&mut [0; 10]).unwrap());
        let error = send(&to, &some_bytes(64 << 20)).unwrap_err();
        assert_broken(&error, &to);
        receiver.join().unwrap();
    }

    #[test]
    fn a_reset_while_sending_is_an_error() {
        let (to, receiver) = receiver("127.0.0.1:0", |mut stream| {
            stream.read_exact(&mut [0; 1_000_000]).unwrap();
            reset(stream);
        });
        assert_broken(&send(&to, &some_bytes(64 << 20)).unwrap_err(), &to);
        receiver.join().unwrap();
    }

    #[test]
    fn a_reset_before_the_end_is_an_error() {
        let (to, receiver) = receiver("127.0.0.1:0", |mut stream| {
            stream.read_exact(&mut [0; 10]).unwrap();
            reset(stream);
        });
        let mut connection = Connection::connect(&to).unwrap();
        connection.write_all(&[0; 10]).unwrap();
        receiver.join().unwrap();
        let error = Box::new(connection).finish().unwrap_err().to_string();
        assert_broken(&error, &to);
        assert!(error.starts_with("cannot finish sending: "), "{error}");
    }

    #[test]
    fn a_reset_while_waiting_for_the_receiver_is_an_error() {
        let (to, receiver) = receiver("127.0.0.1:0", |stream| {
            thread::sleep(Duration::from_millis(300));
            reset(stream);
        });
        // More than a receiver takes that does not read.
        assert_broken(&send(&to, &some_bytes(16 << 20)).unwrap_err(), &to);
        receiver.join().unwrap();
        let (to, receiver) = self::receiver("127.0.0.1:0", |stream| {
            let _ = read_all(&stream);
            reset(stream);
        });
        assert_broken(&send(&to, b"some").unwrap_err(), &to);
        receiver.join().unwrap();
    }

    #[test]
    fn a_connection_that_is_not_made_is_an_error_with_its_cause() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let to = format!("127.0.0.1:{port}");
        let error = Connection::connect(&to.parse().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot connect to tcp://{to}: Connection refused")), "{error}");

        let error = Connection::connect(&"nowhere.invalid:9".parse().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("cannot connect to tcp://nowhere.invalid:9: "), "{error}");
    }
}
