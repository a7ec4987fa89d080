//! What is wrong with an address of another host.

/// The addresses of other hosts, for messages.
pub const SCHEMES: &str = "tcp://HOST:PORT, tls://HOST:PORT, ssh://HOST/PATH, s3://BUCKET/KEY, gs://BUCKET/KEY, az://CONTAINER/KEY or https://HOST/PATH";

/// Why a text is not an [`super::Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins otherwise: what stands before `://`, if that is there.
    #[error("no address begins with '{0}'; those of other hosts are {SCHEMES}")]
    Scheme(String),
    /// The name of a bucket has characters that no bucket's has, or is missing.
    #[error("'{0}' is no name of a bucket, as in s3://bucket/folder/name")]
    Bucket(String),
    /// The name of an object is missing, has empty or relative parts, or is too long.
    #[error("'{0}' is no name of an object, as in s3://bucket/folder/name")]
    Key(String),
    /// An address may have a secret in it.
    #[error(
        "what follows '?' in an address, or a password in it, can be read by every user of this system (ps); write the address into a file that only you can read and give https:@FILE"
    )]
    Secret,
    /// There is nothing where a path belongs.
    #[error("the path behind the host is missing, as in https://host/folder/name")]
    NoPath,
    /// There is a blank or a control character.
    #[error("it has a blank in it, which is %20 in an address")]
    Space,
    /// There is nothing where the name of a file belongs that has an address in it.
    #[error("the file that has the address in it is missing, as in https:@FILE")]
    NoAddressFile,
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
    /// The user is none that there can be.
    #[error("'{0}' is no user's name")]
    User(String),
    /// There is no name of a file.
    #[error("the name of a file is missing, as in host/var/dumps/ram, or host/~/ram for one below the home directory")]
    NoFile,
    /// The name of the file has a character that it must not have.
    #[error("the name of a file on another host has no line breaks")]
    LineBreak,
}
