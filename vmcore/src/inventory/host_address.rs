//! Addresses of the Internet protocols, as netstat(1) shows them.
//!
//! Sources: `struct in_endpoints` in `sys/netinet/in_pcb.h`, `in6_fillscopeid()` and `inet6name()` in `usr.bin/netstat/inet6.c`,
//! `sys/netinet6/scope6.c`.

use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of a host or an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    /// The address; without the number of the zone that the kernel keeps in it.
    pub address: IpAddr,
    /// The zone of an address that is valid on a link only: the name of the interface, or its number if that has no name.
    pub zone: Option<String>,
}

impl HostAddress {
    /// An IPv4 address, as it is in packets.
    pub(super) fn from_v4(bytes: [u8; 4]) -> Self {
        Self { address: Ipv4Addr::from(bytes).into(), zone: None }
    }

    /// An IPv6 address, as the kernel keeps it: those of a link have the number of the interface in their second word, whose name
    /// `zone` tells.
    pub(super) fn from_v6(bytes: [u8; 16], zone: impl FnOnce(u16) -> Option<String>) -> Self {
        let [a, b, high, low, rest @ ..] = bytes;
        let index = u16::from_be_bytes([high, low]);
        if !is_of_link(a, b) || index == 0 {
            return Self { address: Ipv6Addr::from(bytes).into(), zone: None };
        }
        let mut without = [0; 16];
        for (to, from) in without.iter_mut().zip([a, b, 0, 0].into_iter().chain(rest)) {
            *to = from;
        }
        let zone = zone(index).unwrap_or_else(|| index.to_string());
        Self { address: Ipv6Addr::from(without).into(), zone: Some(zone) }
    }

    /// It and a port as netstat(1) has them; `*` is any.
    pub(super) fn with_port(&self, port: Option<u16>) -> String {
        let host = if self.address.is_unspecified() { "*".to_owned() } else { self.to_string() };
        match port {
            Some(0) => format!("{host}.*"),
            Some(port) => format!("{host}.{port}"),
            None => format!("{host}.-"),
        }
    }
}

/// Whether an IPv6 address that begins so is valid on a link or an interface only: `fe80::/10`, `ffx1::/16` and `ffx2::/16`.
fn is_of_link(a: u8, b: u8) -> bool {
    (a == 0xfe && b & 0xc0 == 0x80) || (a == 0xff && matches!(b & 0xf, 1 | 2))
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{}%{}", self.address, crate::text::escape_control(zone)),
            None => self.address.fmt(f),
        }
    }
}

impl Serialize for HostAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v6(text: &str) -> HostAddress {
        let address: Ipv6Addr = text.parse().unwrap();
        HostAddress::from_v6(address.octets(), |_| None)
    }

    #[test]
    fn the_number_of_a_zone_is_taken_out_of_addresses_of_a_link() {
        for (kept, shown) in [
            ("fe80:3::1", "fe80::1%3"),
            ("febf:ffff::1", "febf::1%65535"),
            ("fe80::1", "fe80::1"),
            ("ff02:1::1", "ff02::1%1"),
            ("ff05:1::1", "ff05:1::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::", "::"),
        ] {
            assert_eq!(v6(kept).to_string(), shown);
        }
    }

    #[test]
    fn any_address_and_any_port_are_stars() {
        let any = HostAddress::from_v4([0; 4]);
        assert_eq!([any.with_port(Some(0)), any.with_port(Some(80))], ["*.*", "*.80"]);
        assert_eq!(HostAddress::from_v4([10, 0, 0, 1]).with_port(Some(22)), "10.0.0.1.22");
        assert_eq!(v6("::1").with_port(None), "::1.-");
    }
}
