//! The packets of netdump(4): `struct debugnet_msg_hdr` and `struct debugnet_ack` of sys/net/debugnet.h, with the types of
//! sys/netinet/netdump/netdump.h (FreeBSD 15.1). All integers are big-endian.

use vmcore::bounds::tail;

/// Bytes before the payload.
pub const HEADER: usize = 24;
/// The largest packet that UDP takes.
pub const MAX_PACKET: usize = 1 << 16;
/// The port that clients send their first packet to (`NETDUMP_PORT`).
pub const HERALD_PORT: u16 = 20023;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first: a client is about to dump. The payload is `net.netdump.path`, or nothing.
    Herald,
    /// The last: all was sent, and acknowledged.
    Finished,
    /// Some of the dump.
    Data,
    /// The dump's header (`KDH`): 512 bytes.
    Header,
    /// Some of the key of an encrypted dump.
    Key,
}

impl Kind {
    const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Herald,
            2 => Self::Finished,
            3 => Self::Data,
            4 => Self::Header,
            5 => Self::Key,
            _ => return None,
        })
    }
}

/// A packet of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its number, which goes on through all kinds; what is sent again keeps it.
    pub seq: u32,
    /// Where the payload belongs: in the dump, or in the key.
    pub offset: u64,
    /// The payload.
    pub payload: &'a [u8],
}

/// Why some bytes are not a packet of netdump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// There is not even a header.
    #[error("{0} bytes are no packet of netdump, which has {HEADER} at least")]
    Short(usize),
    /// The type is none that is known.
    #[error("unknown type {0}")]
    Kind(u32),
    /// The payload has another length than the header says.
    #[error("the header says that {said} bytes follow, and {there} do")]
    Length {
        /// What the header says.
        said: u32,
        /// What is there.
        there: usize,
    },
}

impl<'a> Packet<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Err(PacketError::Short(bytes.len())) };
        let [t0, t1, t2, t3, s0, s1, s2, s3, o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3, ..] = *header;
        let code = u32::from_be_bytes([t0, t1, t2, t3]);
        let kind = Kind::from_code(code).ok_or(PacketError::Kind(code))?;
        let said = u32::from_be_bytes([l0, l1, l2, l3]);
        let payload = tail(bytes, HEADER);
        if usize::try_from(said) != Ok(payload.len()) {
            return Err(PacketError::Length { said, there: payload.len() });
        }
        let offset = u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
        Ok(Self { kind, seq: u32::from_be_bytes([s0, s1, s2, s3]), offset, payload })
    }
}

/// The answer to a packet: its number.
pub const fn acknowledgement(seq: u32) -> [u8; 4] {
    seq.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_the_client_writes_it() {
        let bytes = [&[0, 0, 0, 3, 0, 0, 1, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 9, 9, 9, 9][..], b"abc"].concat();
        let packet = Packet { kind: Kind::Data, seq: 0x102, offset: 0x1_0000, payload: b"abc" };
        assert_eq!(Packet::parse(&bytes), Ok(packet));
        assert_eq!(acknowledgement(packet.seq), [0, 0, 1, 2]);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        assert_eq!(Packet::parse(&[0; 23]), Err(PacketError::Short(23)));
        assert_eq!(Packet::parse(&[0; 24]), Err(PacketError::Kind(0)));
        let mut bytes = [0; 24];
        (bytes[3], bytes[19]) = (3, 1);
        assert_eq!(Packet::parse(&bytes), Err(PacketError::Length { said: 1, there: 0 }));
    }
}
