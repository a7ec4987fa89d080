//! Who may send dumps: a list of addresses and networks. Nothing that a client of netdump says is authenticated, and an
//! address can be made up, too: the list keeps out who cannot.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What should be an address is none.
    #[error("'{0}' is not an address, such as 192.0.2.7 or 192.0.2.0/24; 'any' is all of them")]
    Address(String),
    /// An address does not have so many bits.
    #[error("'{0}' is not a number of bits from 0 to {1}")]
    Bits(String, u8),
    /// Bits behind those of the network are set.
    #[error("{0} is not a network: it has bits behind the first {1}")]
    Host(IpAddr, u8),
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address(text.to_owned()))?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), |bits| {
            let number = bits.parse().ok().filter(|number| *number <= all);
            number.ok_or_else(|| NetworkError::Bits(bits.to_owned(), all))
        })?;
        if masked(address, bits) != masked(address, all) {
            return Err(NetworkError::Host(address, bits));
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    /// Whether an address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.bits) == masked(self.address, self.bits)
    }
}

/// Who may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptList(Vec<Network>);

impl AcceptList {
    /// Everybody.
    pub const ANY: &'static str = "any";

    /// Of some networks; of none, everybody.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether that address may.
    pub fn accepts(&self, address: IpAddr) -> bool {
        self.0.is_empty() || self.0.iter().any(|network| network.contains(address))
    }
}

/// The first bits of an address, at the top of 128.
fn masked(address: IpAddr, bits: u8) -> u128 {
    let number = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    number & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_alike() {
        let has = |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(has("192.0.2.7", "192.0.2.7") && !has("192.0.2.7", "192.0.2.6"));
        assert!(has("192.0.2.0/24", "192.0.2.255") && !has("192.0.2.0/24", "192.0.3.0"));
        assert!(has("0.0.0.0/0", "255.255.255.255") && !has("0.0.0.0/0", "::1"));
        assert!(has("2001:db8::/32", "2001:db8:1::1") && !has("2001:db8::/32", "2001:db9::1"));
        assert!(has("192.0.2.0/24", "::ffff:192.0.2.1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "host", "192.0.2.0/33", "192.0.2.0/", "192.0.2.1/24", "192.0.2.0/-1", "::/129", "1.2.3"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
