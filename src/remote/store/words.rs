//! What a store's refusals mean, in words, and what to do about them.

use crate::error::Error;
use crate::remote::object_address::{Object, Provider};
use std::error::Error as _;
use std::io;

/// What a store calls the reason of a refusal (S3 and Google, XML API: "Error responses"; Azure: "Blob Storage error
/// codes"), what that means, and what helps.
const CODES: &[(&[&str], &str)] = &[
    (
        &["ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException"],
        "the credentials have expired; get new ones, and set them in the environment",
    ),
    (
        &["InvalidAccessKeyId", "InvalidAuthenticationInfo", "InvalidSecurity"],
        "the store does not know these credentials",
    ),
    (
        &["SignatureDoesNotMatch", "AuthenticationFailed"],
        "the secret key is not the one of this access key, or the account is another one",
    ),
    (
        &["RequestTimeTooSkewed"],
        "the clock of this system is wrong by more than a quarter of an hour, by the store's; set it",
    ),
    (
        &["AccessDenied", "AuthorizationFailure", "AuthorizationPermissionMismatch", "InsufficientAccountPermissions"],
        "these credentials do not permit that",
    ),
    (&["NoSuchBucket", "ContainerNotFound"], "there is no such bucket"),
    (&["NoSuchUpload"], "the store has given the upload up meanwhile"),
    (
        &["QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "InsufficientCapacity", "AccountIsFull"],
        "the store is full",
    ),
    (&["EntityTooLarge", "RequestBodyTooLarge"], "it is larger than the store takes"),
    (DAMAGED, "a part did not arrive as it was sent, several times"),
    (&["SlowDown", "ServerBusy", "ServiceUnavailable"], "the store is busy; try again later"),
    (
        &["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"],
        "the bucket is in another region; set AWS_REGION",
    ),
];

/// What a store calls a part that did not arrive as it was sent.
const DAMAGED: &[&str] = &[
    "BadDigest",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
    "InvalidChecksum",
    "InvalidDigest",
    "Md5Mismatch",
];

/// Whether a part did not arrive as it was sent, by its checksum.
pub fn is_damaged(error: &object_store::Error) -> bool {
    tag(&chain(error), "Code").is_some_and(|code| DAMAGED.contains(&code))
}

/// What is wrong with a server's certificate, in words, if a text of rustls says that something is.
pub fn untrusted(text: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 4] = [
        (
            "UnknownIssuer",
            "its certificate is not signed by an authority that this system trusts; SSL_CERT_FILE names a file with the certificates of others",
        ),
        ("CaUsedAsEndEntity", "its certificate is one of an authority, which no server has"),
        ("not valid for name", "its certificate is for another host"),
        ("expired", "its certificate has expired, or the clock of this system is wrong"),
    ];
    let words = WORDS.iter().find(|(part, _)| text.contains("certificate") && text.contains(part));
    words.map(|(_, words)| *words)
}

/// Says of a failure what it means. `what` is what was to be done with an object.
pub fn explained(what: &str, object: &Object, error: object_store::Error) -> Error {
    use object_store::Error as Cause;
    let text = chain(&error);
    let code = tag(&text, "Code");
    let known = code.and_then(|code| CODES.iter().find(|(codes, _)| codes.contains(&code)));
    let (kind, why) = match (&error, known) {
        (Cause::AlreadyExists { .. } | Cause::Precondition { .. }, _) => {
            return exists(object);
        }
        (_, Some((_, why))) => (io::ErrorKind::Other, (*why).to_owned()),
        (Cause::NotFound { .. }, _) if what.starts_with("read") => {
            (io::ErrorKind::NotFound, "there is no such object".to_owned())
        }
        (Cause::NotFound { .. }, _) => (io::ErrorKind::NotFound, "there is no such bucket".to_owned()),
        (Cause::PermissionDenied { .. }, _) => {
            (io::ErrorKind::PermissionDenied, "these credentials do not permit that".to_owned())
        }
        (Cause::Unauthenticated { .. }, _) => {
            (io::ErrorKind::PermissionDenied, "the store does not know these credentials".to_owned())
        }
        _ if untrusted(&text).is_some() => {
            (io::ErrorKind::InvalidData, untrusted(&text).unwrap_or_default().to_owned())
        }
        _ if is_about_credentials(&text) => (io::ErrorKind::PermissionDenied, no_credentials(object.provider)),
        _ => (io::ErrorKind::Other, shortened(&text)),
    };
    let named = code.map(|code| format!(" ({code})")).unwrap_or_default();
    Error::Io { what: format!("{what} {object}"), source: io::Error::new(kind, format!("{why}{named}")) }
}

/// Says that an object is there.
pub fn exists(object: &Object) -> Error {
    Error::Refused(format!("{object} already exists, and nothing in a store is replaced; give another name"))
}

/// Says why a store cannot be used at all, by what the environment says.
pub fn unusable(object: &Object, error: &object_store::Error) -> Error {
    let text = chain(error);
    let why = if is_about_credentials(&text) { no_credentials(object.provider) } else { shortened(&text) };
    Error::Refused(format!("{object} cannot be reached: {why}"))
}

/// Whether the service of the machine was asked for credentials in vain, since the environment has none.
fn is_about_credentials(text: &str) -> bool {
    [
        "169.254.169.254",
        "metadata.google.internal",
        "security-credentials",
        "latest/api/token",
        "Account must be specified",
        "instance metadata",
    ]
    .iter()
    .any(|part| text.contains(part))
}

fn no_credentials(provider: Provider) -> String {
    let names = match provider {
        Provider::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE",
        Provider::Google => "GOOGLE_APPLICATION_CREDENTIALS, the name of a file",
        Provider::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
    };
    format!("there are no credentials: set {names}; and this machine has no service that gives them out")
}

/// The text of an error and of what it comes from, each once.
fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

/// The text of an XML element.
fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once("</")?;
    Some(value).filter(|value| value.len() < 100 && value.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// What is worth reading of an error in one line: the store's own message, or the innermost causes. Addresses are left
/// out, which can have signatures in them.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 300;
    let message =
        text.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>")).map(|(text, _)| text);
    let line = message.unwrap_or(text);
    let line = line.rsplit_once(" - ").map_or(line, |(_, end)| end);
    let words = line.split_whitespace().filter(|word| !word.contains("?"));
    let line: String = words.collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    line.trim_start_matches("HTTP error: ").to_owned()
}
