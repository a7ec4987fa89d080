//! The addresses of other hosts, as options have them.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Another host, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `tcp://HOST:PORT`.
    Tcp(Receiver),
}

/// Where a receiver listens: `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// A name, an IPv4 address or an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a text is not an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins otherwise: what stands before `://`, if that is there.
    #[error("no address begins with '{0}'; those of other hosts begin with {SCHEMES}")]
    Scheme(String),
    /// There is nothing where the host belongs.
    #[error("the host before the port is missing")]
    NoHost,
    /// The host has a character that is in no host's name.
    #[error("'{0}' is no host's name")]
    Host(String),
    /// There are more colons than the one before the port.
    #[error("an IPv6 address must be in brackets, as in [::1]:9999")]
    Brackets,
    /// What is in brackets is something else.
    #[error("'{0}' is not an IPv6 address")]
    Ipv6(String),
    /// There is nothing where the port belongs.
    #[error("the port is missing, as in host:9999")]
    NoPort,
    /// The port is something else.
    #[error("the port is a number from 1 to 65535, not '{0}'")]
    Port(String),
}

/// How addresses of other hosts begin, for messages.
pub const SCHEMES: &str = "tcp://";

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once("://") {
            Some(("tcp", rest)) => rest.parse().map(Self::Tcp),
            Some((scheme, _)) => Err(AddressError::Scheme(format!("{scheme}://"))),
            None => Err(AddressError::Scheme(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(receiver) => write!(f, "tcp://{receiver}"),
        }
    }
}

impl FromStr for Receiver {
    type Err = AddressError;

    fn from_str(rest: &str) -> Result<Self, AddressError> {
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(AddressError::Brackets)?;
                // A zone, as in fe80::1%em0, is left to getaddrinfo(3).
                let address = host.split_once('%').map_or(host, |(address, _)| address);
                if address.parse::<Ipv6Addr>().is_err() {
                    return Err(AddressError::Ipv6(host.to_owned()));
                }
                (host, rest.strip_prefix(':').ok_or(AddressError::NoPort)?)
            }
            None => {
                let (host, port) = rest.rsplit_once(':').ok_or(AddressError::NoPort)?;
                if host.contains(':') {
                    return Err(AddressError::Brackets);
                }
                let in_names = |c: char| !c.is_whitespace() && !c.is_control() && !"/@[]?#%".contains(c);
                if !host.chars().all(in_names) {
                    return Err(AddressError::Host(host.to_owned()));
                }
                (host, port)
            }
        };
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        if port.is_empty() {
            return Err(AddressError::NoPort);
        }
        match port.parse() {
            Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self { host: host.to_owned(), port: number })
            }
            _ => Err(AddressError::Port(port.to_owned())),
        }
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn address(text: &str) -> Result<Address, AddressError> {
        text.parse()
    }

    #[test]
    fn good_addresses_are_given_back() {
        for text in ["tcp://host:1", "tcp://10.0.0.1:65535", "tcp://[::1]:9999", "tcp://[fe80::1%em0]:22"] {
            assert_eq!(address(text).unwrap().to_string(), text);
        }
        assert_eq!(address("tcp://host:0080").unwrap().to_string(), "tcp://host:80");
    }

    #[test]
    fn bad_addresses_are_told_what_is_wrong() {
        let scheme = |text: &str| AddressError::Scheme(text.to_owned());
        let host = |text: &str| AddressError::Host(text.to_owned());
        let ipv6 = |text: &str| AddressError::Ipv6(text.to_owned());
        let port = |text: &str| AddressError::Port(text.to_owned());
        for (text, error) in [
            ("", scheme("")),
            ("host:1", scheme("host:1")),
            ("udp://host:1", scheme("udp://")),
            ("TCP://host:1", scheme("TCP://")),
            ("tcp://", AddressError::NoPort),
            ("tcp://host", AddressError::NoPort),
            ("tcp://host:", AddressError::NoPort),
            ("tcp://[::1]", AddressError::NoPort),
            ("tcp://[::1]:", AddressError::NoPort),
            ("tcp://[::1]9", AddressError::NoPort),
            ("tcp://:1", AddressError::NoHost),
            ("tcp://::1:1", AddressError::Brackets),
            ("tcp://[::1:1", AddressError::Brackets),
            ("tcp://[]:1", ipv6("")),
            ("tcp://[host]:1", ipv6("host")),
            ("tcp://[10.0.0.1]:1", ipv6("10.0.0.1")),
            ("tcp://me@host:1", host("me@host")),
            ("tcp://two hosts:1", host("two hosts")),
            ("tcp://host:0", port("0")),
            ("tcp://host:+1", port("+1")),
            ("tcp://host:65536", port("65536")),
            ("tcp://host:http", port("http")),
            ("tcp://host:1/", port("1/")),
        ] {
            assert_eq!(address(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "(tcp://)?.*") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }

        #[test]
        fn any_address_is_given_back(ip in any::<std::net::IpAddr>(), port in 1..=u16::MAX) {
            let text = format!("tcp://{}", SocketAddr::new(ip, port));
            prop_assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }
}
