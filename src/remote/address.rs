//! The addresses of other hosts, as options have them.

use super::address_error::AddressError;
use super::object_address::{Object, Provider, WEB_FILE, WebAddress};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Another host, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `tcp://HOST:PORT`.
    Tcp(Receiver),
    /// `tls://HOST:PORT`.
    Tls(Receiver),
    /// `ssh://[USER@]HOST[:PORT]/PATH`.
    Ssh(RemoteFile),
    /// An object in a store.
    Object(Object),
    /// What a web server has, or takes.
    Web(WebAddress),
}

impl Address {
    /// The place beside what is there, with that behind its name; `None` where there is only one place.
    pub fn beside(&self, ending: &str) -> Option<Self> {
        match self {
            Self::Object(object) => Some(Self::Object(object.within(ending))),
            Self::Ssh(file) => Some(Self::Ssh(file.beside(ending))),
            Self::Tcp(_) | Self::Tls(_) | Self::Web(_) => None,
        }
    }
}

/// Where a receiver listens: `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// A name, an IPv4 address or an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

/// A file that ssh(1) can reach: `[USER@]HOST[:PORT]/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Whose account it is, if not the one that ssh(1) takes.
    pub(super) user: Option<String>,
    /// A name, also one of ssh_config(5), an IPv4 address or an IPv6 address.
    pub(super) host: String,
    /// The port, if not the one that ssh(1) takes.
    pub(super) port: Option<u16>,
    /// Absolute, or below the home directory as `~/PATH`. There is no escape in it.
    pub(super) path: String,
}

impl RemoteFile {
    /// The file in the same directory with that behind its name.
    fn beside(&self, ending: &str) -> Self {
        Self { path: format!("{}{ending}", self.path), ..self.clone() }
    }
}

/// Whether a text is meant as an address of another host, and not as the name of a file.
pub fn is_address(text: &str) -> bool {
    let is_scheme = |scheme: &str| !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
    text.starts_with(WEB_FILE) || text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme))
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(file) = text.strip_prefix(WEB_FILE) {
            return WebAddress::in_file(file).map(Self::Web);
        }
        match text.split_once("://") {
            Some(("tcp", rest)) => rest.parse().map(Self::Tcp),
            Some(("tls", rest)) => rest.parse().map(Self::Tls),
            Some(("ssh", rest)) => rest.parse().map(Self::Ssh),
            Some(("s3", rest)) => Object::parse(Provider::S3, rest).map(Self::Object),
            Some(("gs", rest)) => Object::parse(Provider::Google, rest).map(Self::Object),
            Some(("az", rest)) => Object::parse(Provider::Azure, rest).map(Self::Object),
            Some(("http" | "https", rest)) => WebAddress::parse(text, rest).map(Self::Web),
            Some((scheme, _)) => Err(AddressError::Scheme(format!("{scheme}://"))),
            None => Err(AddressError::Scheme(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(receiver) => write!(f, "tcp://{receiver}"),
            Self::Tls(receiver) => write!(f, "tls://{receiver}"),
            Self::Ssh(file) => write!(f, "ssh://{file}"),
            Self::Object(object) => write!(f, "{object}"),
            Self::Web(page) => write!(f, "{page}"),
        }
    }
}

/// A host and what stands behind its colon, if there is one.
fn split_port(text: &str) -> Result<(&str, Option<&str>), AddressError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(AddressError::Brackets)?;
            // A zone, as in fe80::1%em0, is left to getaddrinfo(3).
            let address = host.split_once('%').map_or(host, |(address, _)| address);
            if address.parse::<Ipv6Addr>().is_err() {
                return Err(AddressError::Ipv6(host.to_owned()));
            }
            let port = rest.strip_prefix(':');
            if port.is_none() && !rest.is_empty() {
                return Err(AddressError::NoPort);
            }
            (host, port)
        }
        None => {
            let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            if host.contains(':') {
                return Err(AddressError::Brackets);
            }
            let in_names = |c: char| !c.is_whitespace() && !c.is_control() && !"/@[]?#%".contains(c);
            // Programs would take it for an option.
            if !host.chars().all(in_names) || host.starts_with('-') {
                return Err(AddressError::Host(host.to_owned()));
            }
            (host, port)
        }
    };
    if host.is_empty() && port.is_some() {
        return Err(AddressError::NoHost);
    }
    Ok((host, port))
}

fn parse_port(port: &str) -> Result<u16, AddressError> {
    if port.is_empty() {
        return Err(AddressError::NoPort);
    }
    match port.parse() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(AddressError::Port(port.to_owned())),
    }
}

impl FromStr for Receiver {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = split_port(text)?;
        Ok(Self { host: host.to_owned(), port: parse_port(port.ok_or(AddressError::NoPort)?)? })
    }
}

/// A host as addresses have it.
fn write_host(f: &mut fmt::Formatter<'_>, host: &str) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(host) }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host(f, &self.host)?;
        write!(f, ":{}", self.port)
    }
}

impl FromStr for RemoteFile {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let at = text.find('/').ok_or(AddressError::NoFile)?;
        let (account, path) = text.split_at_checked(at).ok_or(AddressError::NoFile)?;
        let (user, host) = account.rsplit_once('@').map_or((None, account), |(user, host)| (Some(user), host));
        let in_names = |c: char| !c.is_whitespace() && !c.is_control() && c != ':';
        if let Some(user) = user
            && (user.is_empty() || user.starts_with('-') || !user.chars().all(in_names))
        {
            return Err(AddressError::User(user.to_owned()));
        }
        let (host, port) = split_port(host)?;
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        let below_home = path.get(1..).filter(|path| path.starts_with("~/"));
        let path = below_home.unwrap_or(path);
        if path.contains(['\n', '\r', '\0']) {
            return Err(AddressError::LineBreak);
        }
        if path.ends_with('/') {
            return Err(AddressError::NoFile);
        }
        Ok(Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port: port.map(parse_port).transpose()?,
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, port, path } = self;
        if let Some(user) = user {
            write!(f, "{user}@")?;
        }
        write_host(f, host)?;
        if let Some(port) = port {
            write!(f, ":{port}")?;
        }
        if path.starts_with('/') { f.write_str(path) } else { write!(f, "/{path}") }
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
        for text in [
            "tls://host:1",
            "ssh://host/file",
            "ssh://me@host:2222/dir/a file",
            "ssh://a@b@host/~/x",
            "ssh://[::1]/~user/$(x)'\"",
            "ssh://me@[fe80::1%em0]:22/-",
        ] {
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
            ("tcp://-host:1", host("-host")),
            ("tls://host", AddressError::NoPort),
            ("ssh://", AddressError::NoFile),
            ("ssh://host", AddressError::NoFile),
            ("ssh://host/", AddressError::NoFile),
            ("ssh://host/~/", AddressError::NoFile),
            ("ssh://host/directory/", AddressError::NoFile),
            ("ssh:///file", AddressError::NoHost),
            ("ssh://me@/file", AddressError::NoHost),
            ("ssh://:22/file", AddressError::NoHost),
            ("ssh://host:/file", AddressError::NoPort),
            ("ssh://host:0/file", port("0")),
            ("ssh://-oProxyCommand=x/file", host("-oProxyCommand=x")),
            ("ssh://-x@host/file", AddressError::User("-x".to_owned())),
            ("ssh://@host/file", AddressError::User(String::new())),
            ("ssh://me:secret@host/file", AddressError::User("me:secret".to_owned())),
            ("ssh://::1/file", AddressError::Brackets),
            ("ssh://[::1]22/file", AddressError::NoPort),
            ("ssh://host/a\nb", AddressError::LineBreak),
        ] {
            assert_eq!(address(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "((tcp|tls|ssh)://)?.*") {
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
