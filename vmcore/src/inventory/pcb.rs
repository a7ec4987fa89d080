//! What protocol control blocks of sockets tell: the addresses and ports of the Internet protocols, and paths of the Unix
//! domain.
//!
//! Sources: `struct in_endpoints` in `sys/netinet/in_pcb.h`, `sys/sys/unpcb.h`, `sys/sys/un.h`.

use super::host_address::HostAddress;
use crate::bounds::{head, tail};
use crate::error::{Error, Result};
use crate::kernel::Object;
use crate::text::{Name, until_nul};

/// The address of an end, a member of a `struct in_endpoints`, in which one of IPv4 is the last part of the room for one of IPv6.
///
/// # Errors
///
/// There is no such member, or it cannot be read.
pub(crate) fn host_address(
    ends: &Object<'_>,
    (member, is_v4): (&str, bool),
    zone: impl FnOnce(u16) -> Option<String>,
) -> Result<HostAddress> {
    let bytes = bytes_of::<16>(&ends.member(member)?)?;
    let [.., a, b, c, d] = bytes;
    Ok(if is_v4 { HostAddress::from_v4([a, b, c, d]) } else { HostAddress::from_v6(bytes, zone) })
}

/// The port of an end.
///
/// # Errors
///
/// There is no such member, or it cannot be read.
pub(crate) fn port(ends: &Object<'_>, member: &str) -> Result<u16> {
    Ok(u16::from_be_bytes(bytes_of(&ends.member(member)?)?))
}

/// The path that the socket of a `struct unpcb` is bound to; `None` if it is bound to none.
///
/// # Errors
///
/// It cannot be read.
pub(crate) fn unix_path(pcb: &Object<'_>) -> Result<Option<Name>> {
    let Some(address) = pcb.member("unp_addr")?.follow()? else { return Ok(None) };
    let address = address.fetched()?;
    let length = address.member("sun_len")?.unsigned()?;
    let path = address.member("sun_path")?;
    let before = path.address().wrapping_sub(address.address());
    let bytes = address.bytes()?;
    Ok(Some(Name::from(until_nul(tail(head(&bytes, length), before)))))
}

/// The bytes of an object of a known size.
fn bytes_of<const N: usize>(object: &Object<'_>) -> Result<[u8; N]> {
    let bytes = object.bytes()?;
    let size = bytes.len();
    bytes.try_into().map_err(|_| Error::Unsupported(format!("there are {size} bytes where {N} belong")))
}
