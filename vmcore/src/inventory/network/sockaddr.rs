//! The addresses that `struct sockaddr` stands for in the kernel, and networks.
//!
//! Sources: `sys/sys/socket.h`, `sys/netinet/in.h`, `sys/net/if_dl.h`, `getnameinfo_link()` in `lib/libc/net/getnameinfo.c`,
//! `netname()` in `usr.bin/netstat/route.c`.

use super::interface_list::InterfaceNames;
use crate::bounds::{item, part};
use crate::error::{Error, Result};
use crate::inventory::host_address::HostAddress;
use crate::kernel::Object;
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address families.
pub(super) const AF_INET: u64 = 2;
pub(super) const AF_LINK: u64 = 18;
pub(super) const AF_INET6: u64 = 28;
/// Where addresses are in `struct sockaddr_in` and `sockaddr_in6`, and the data of `sockaddr_dl`.
const INET_ADDRESS: u64 = 4;
const INET6_ADDRESS: u64 = 8;
const LINK_DATA: u64 = 8;

/// An address of any family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAddress {
    /// Of the Internet protocols.
    Internet(HostAddress),
    /// Of a link.
    Link {
        /// The number of the interface.
        index: u64,
        /// Its address on the link, or its name if it has none.
        text: String,
    },
    /// Of another family, which has this number.
    Other(u64),
}

impl SocketAddress {
    /// Reads the address at the beginning of an object, of whatever type that is.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn read(object: &Object<'_>, names: &InterfaceNames) -> Result<Self> {
        let start = object.leading_bytes(2)?;
        match u64::from(item(&start, 1_usize)) {
            AF_INET => Ok(Self::Internet(HostAddress::from_v4(bytes_at(object, INET_ADDRESS)?))),
            AF_INET6 => {
                Ok(Self::Internet(HostAddress::from_v6(bytes_at(object, INET6_ADDRESS)?, |index| names.text(index))))
            }
            AF_LINK => link_address(object),
            family => Ok(Self::Other(family)),
        }
    }
}

/// The bytes of an address that begins so many bytes behind the beginning of an object.
fn bytes_at<const N: usize>(object: &Object<'_>, offset: u64) -> Result<[u8; N]> {
    let bytes = object.leading_bytes(offset.saturating_add(N as u64))?;
    let address = part(&bytes, bytes.len().saturating_sub(N)..);
    address.try_into().map_err(|_| Error::Unsupported("an address is too short".to_owned()))
}

fn link_address(object: &Object<'_>) -> Result<SocketAddress> {
    let [_, _, index @ .., _, name, address, _] = bytes_at::<8>(object, 0)?;
    let index = object.typed().memory.order().number(&index);
    let (name, address) = (usize::from(name), usize::from(address));
    let data = object.leading_bytes(LINK_DATA.saturating_add((name.saturating_add(address)) as u64))?;
    let name_end = name.saturating_add(8);
    let octets = part(&data, name_end..);
    let text = match (name, octets) {
        (0, []) => format!("link#{index}"),
        (_, []) => String::from_utf8_lossy(part(&data, 8..name_end)).into_owned(),
        (_, octets) => octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":"),
    };
    Ok(SocketAddress::Link { index, text })
}

/// A network: an address whose bits outside of a mask are 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: HostAddress,
    /// Bits of the mask from its beginning on; `None` if it has others behind them.
    pub prefix_length: Option<u32>,
    /// The mask.
    pub mask: IpAddr,
}

impl Network {
    /// The network of an address, whose mask is at the beginning of an object: a `struct sockaddr` of the same family, but
    /// without the trailing bytes that are 0.
    ///
    /// # Errors
    ///
    /// The mask cannot be read.
    pub(super) fn read(address: &HostAddress, mask: &Object<'_>) -> Result<Self> {
        let length = u64::from(item(&mask.leading_bytes(1)?, 0_usize));
        let mut start = mask.leading_bytes(length)?;
        start.resize(32, 0);
        let octets = |from: usize, count: usize| part(&start, from..from.saturating_add(count));
        Ok(match address.address {
            IpAddr::V4(v4) => {
                let mask = octets(4, 4).iter().fold(0, |all: u32, octet| all << 8 | u32::from(*octet));
                let address = HostAddress { address: Ipv4Addr::from(v4.to_bits() & mask).into(), ..address.clone() };
                let is_prefix = mask.leading_ones() == mask.count_ones();
                let prefix_length = is_prefix.then(|| mask.leading_ones());
                Self { address, prefix_length, mask: Ipv4Addr::from(mask).into() }
            }
            IpAddr::V6(v6) => {
                let mask = octets(8, 16).iter().fold(0, |all: u128, octet| all << 8 | u128::from(*octet));
                let address = HostAddress { address: Ipv6Addr::from(v6.to_bits() & mask).into(), ..address.clone() };
                let is_prefix = mask.leading_ones() == mask.count_ones();
                let prefix_length = is_prefix.then(|| mask.leading_ones());
                Self { address, prefix_length, mask: Ipv6Addr::from(mask).into() }
            }
        })
    }
}

/// As netstat(1) shows it: `10.0.0.0/8`, and `default` for all addresses.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix_length {
            Some(0) if self.address.address.is_unspecified() => f.write_str("default"),
            Some(length) => write!(f, "{}/{length}", self.address),
            None => write!(f, "{}&{}", self.address, self.mask),
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
