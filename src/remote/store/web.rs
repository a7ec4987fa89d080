//! Web servers: a dump is sent by one PUT (RFC 9110, section 9.3.4), as servers of WebDAV (RFC 4918) and presigned addresses
//! of object stores take it, and read by ranges (RFC 9110, section 14).
//!
//! The length of a dump that is compressed is not known beforehand. What is short is sent when all of it is there, with its
//! length; what is longer in chunks (RFC 9112, section 7.1), which a server cannot take for complete when the connection is
//! cut. A presigned address takes no chunks, so what is longer is first written into a file without a name.

use super::runtime::{Workers, use_ring};
use super::words::untrusted;
use crate::error::{Error, Result};
use crate::files;
use crate::output_file::{temporary_directory, unnamed_temp_file};
use crate::remote::blocks::{Blocks, Ranges};
use crate::remote::object_address::WebAddress;
use crate::remote::{Delivered, Upload};
use bytes::Bytes;
use futures_core::Stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH, RANGE};
use reqwest::{Body, Client, RequestBuilder, Response, StatusCode, Url};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use vmcore::bounds::head;
use vmcore::dump::byte_source::ByteSource;

/// How long it may take until a server answers that it is there.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(120);
/// What is not longer is sent at once.
const SHORT: usize = 16 << 20;
/// Bytes of a chunk.
const CHUNK: usize = 512 << 10;
/// Chunks on their way.
const CHUNKS: usize = 8;
/// No address in a file is longer.
const MAX_ADDRESS: u64 = 64 << 10;
/// How often a request is repeated that failed for a reason that may pass.
const RETRIES: u32 = 5;

/// A server's page.
#[derive(Clone)]
struct Page {
    workers: Workers,
    client: Client,
    url: Url,
    /// What it is called in messages: without what may be secret.
    name: String,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Page {
    fn new(address: &WebAddress) -> Result<Self> {
        let (text, name) = match address {
            WebAddress::Url(url) => (url.clone(), url.clone()),
            WebAddress::File(file) => {
                let name = format!("the address in {}", file.display());
                let mut text = String::new();
                let read = files::open_in_order(file)?.take(MAX_ADDRESS).read_to_string(&mut text);
                read.map_err(|source| Error::io("read", file, source))?;
                (text.lines().next().unwrap_or_default().trim().to_owned(), name)
            }
        };
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url =
            url.ok_or_else(|| Error::Refused(format!("{name}: it does not begin with https:// or is no address")))?;
        use_ring();
        let client = || {
            let client = Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE);
            client.redirect(reqwest::redirect::Policy::none())
        };
        // A system without any authorities can still speak to a server without TLS. With TLS, none is trusted then.
        let client = client().build().or_else(|_| client().tls_certs_only([]).build());
        let client = client.map_err(|error| Error::Refused(format!("{name}: {}", reason(error))))?;
        Ok(Self { workers: Workers::start()?, client, url, name })
    }

    /// Whether the address has been signed for one request.
    fn is_presigned(&self) -> bool {
        let names = ["X-Amz-Signature", "Signature", "X-Goog-Signature", "sig"];
        self.url.query_pairs().any(|(name, _)| names.contains(&name.as_ref()))
    }

    fn failed(&self, what: &str, source: io::Error) -> Error {
        Error::Io { what: format!("{what} {}", self.name), source }
    }

    /// Waits for an answer; a request that fails for a reason that may pass is repeated.
    fn ask(&self, request: impl Fn() -> io::Result<RequestBuilder>) -> io::Result<Response> {
        let mut attempt = 0;
        loop {
            let request = request()?;
            let answer = self.workers.wait(async { request.send().await }).ok_or(io::ErrorKind::Interrupted)?;
            let passes = match &answer {
                Ok(response) => {
                    response.status().is_server_error() && response.status() != StatusCode::INSUFFICIENT_STORAGE
                }
                Err(error) => error.is_connect() || error.is_timeout() || error.is_request(),
            };
            if !passes || attempt >= RETRIES {
                return answer.map_err(|error| io::Error::other(reason(error)));
            }
            let pause = Duration::from_millis(200 << attempt);
            attempt += 1;
            self.workers.wait(async { tokio::time::sleep(pause).await }).ok_or(io::ErrorKind::Interrupted)?;
        }
    }

    /// Refuses to send what is there already, as far as the server tells. An address that is signed for sending is good for
    /// nothing else.
    fn check_absent(&self) -> Result<()> {
        if self.is_presigned() {
            return Ok(());
        }
        let answer = self.ask(|| Ok(self.client.head(self.url.clone())));
        let answer = answer.map_err(|source| self.failed("reach", source))?;
        match answer.status() {
            status if status.is_success() => Err(exists(&self.name)),
            StatusCode::UNAUTHORIZED => Err(self.failed("write", refusal(StatusCode::UNAUTHORIZED))),
            _ => Ok(()),
        }
    }

    fn put(&self) -> RequestBuilder {
        let request = self.client.put(self.url.clone()).header(IF_NONE_MATCH, "*");
        // Azure wants to know what kind of blob it is to become.
        let is_azure = self.url.host_str().is_some_and(|host| host.ends_with(".blob.core.windows.net"));
        if is_azure { request.header("x-ms-blob-type", "BlockBlob") } else { request }
    }

    fn stored(&self, status: StatusCode) -> Result<()> {
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Err(exists(&self.name)),
            status => Err(self.failed("write", refusal(status))),
        }
    }
}

fn exists(name: &str) -> Error {
    Error::Refused(format!("{name} already exists, and nothing there is replaced; give another name"))
}

/// What a status of HTTP means, in words.
fn refusal(status: StatusCode) -> io::Error {
    let (kind, why) = match status {
        StatusCode::UNAUTHORIZED => (
            io::ErrorKind::PermissionDenied,
            "the server wants a user and a password: write https://USER:PASSWORD@HOST/PATH into a file and give https:@FILE",
        ),
        StatusCode::FORBIDDEN => {
            (io::ErrorKind::PermissionDenied, "the server does not permit it; a signed address may have expired")
        }
        StatusCode::NOT_FOUND => (io::ErrorKind::NotFound, "there is nothing of that name, or its folder is missing"),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
            (io::ErrorKind::Unsupported, "the server takes no PUT there")
        }
        StatusCode::LENGTH_REQUIRED => (
            io::ErrorKind::Unsupported,
            "the server wants to know the length before; send a file that is written already",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (io::ErrorKind::FileTooLarge, "it is larger than the server takes"),
        StatusCode::INSUFFICIENT_STORAGE => (io::ErrorKind::StorageFull, "the server is full"),
        status if status.is_redirection() => {
            (io::ErrorKind::Other, "the server says that it is elsewhere; give that address")
        }
        _ => (io::ErrorKind::Other, "the server refuses"),
    };
    io::Error::new(kind, format!("{why} (HTTP {})", status.as_u16()))
}

/// Why a request failed, without the address, which may have a signature in it.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    untrusted(&text).map_or(text, str::to_owned)
}

/// What the body of a request is made of.
enum Piece {
    Bytes(Bytes),
    /// It was all.
    End,
}

/// A body that is not complete without an end: where that is missing, the request is cut.
struct Pieces(Receiver<Piece>);

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_recv(context).map(|piece| match piece {
            Some(Piece::Bytes(bytes)) => Some(Ok(bytes)),
            Some(Piece::End) => None,
            None => Some(Err(io::Error::other("the dump was given up"))),
        })
    }
}

/// Where the bytes of a dump are.
enum Sending {
    /// Here: they are few so far.
    Memory,
    /// In a file without a name, to be sent with their length.
    File(File),
    /// On their way.
    Stream(Sender<Piece>, JoinHandle<reqwest::Result<Response>>),
}

/// A dump on its way to a web server.
struct WebUpload {
    page: Page,
    buffer: Vec<u8>,
    sending: Sending,
}

impl fmt::Debug for WebUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebUpload").field("page", &self.page).finish_non_exhaustive()
    }
}

/// Begins to send a dump.
///
/// # Errors
///
/// The server cannot be reached, or has something of that name.
pub fn send(address: &WebAddress) -> Result<Box<dyn Upload>> {
    let page = Page::new(address)?;
    page.check_absent()?;
    Ok(Box::new(WebUpload { page, buffer: Vec::new(), sending: Sending::Memory }))
}

impl WebUpload {
    /// What is more than is sent at once goes to a file, or on its way.
    fn begin_long(&mut self) -> io::Result<()> {
        if self.page.is_presigned() {
            let file = unnamed_temp_file(&temporary_directory()).map_err(io::Error::other)?;
            self.sending = Sending::File(file);
            return Ok(());
        }
        let (sender, receiver) = channel(CHUNKS);
        let request = self.page.put().body(Body::wrap_stream(Pieces(receiver)));
        let handle = self.page.workers.handle().ok_or(io::ErrorKind::Interrupted)?;
        self.sending = Sending::Stream(sender, handle.spawn(async { request.send().await }));
        Ok(())
    }

    /// Hands on what is in the buffer.
    fn hand_over(&mut self) -> io::Result<()> {
        if matches!(self.sending, Sending::Memory) {
            self.begin_long()?;
        }
        let bytes = std::mem::take(&mut self.buffer);
        match &mut self.sending {
            Sending::Memory => Ok(()),
            Sending::File(file) => file.write_all(&bytes),
            Sending::Stream(sender, answer) => {
                let sent = self.page.workers.wait(sender.send(Piece::Bytes(bytes.into())));
                if matches!(sent, Some(Ok(()))) {
                    return Ok(());
                }
                // The server has answered before it had everything.
                match self.page.workers.wait(answer) {
                    Some(Ok(Ok(response))) => match self.page.stored(response.status()) {
                        Ok(()) => Err(io::Error::other("the server has answered before it had everything")),
                        Err(error) => Err(io::Error::other(error.to_string())),
                    },
                    Some(Ok(Err(error))) => Err(io::Error::other(reason(error))),
                    _ => Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
        }
    }
}

impl Write for WebUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let full = if matches!(self.sending, Sending::Memory) { SHORT } else { CHUNK };
        if self.buffer.len() >= full {
            self.hand_over()?;
        }
        let taken = head(bytes, full.saturating_sub(self.buffer.len()).max(1));
        self.buffer.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for WebUpload {
    fn finish(mut self: Box<Self>) -> Result<Delivered> {
        if !matches!(self.sending, Sending::Memory) {
            self.hand_over().map_err(|source| self.page.failed("write", source))?;
        }
        let Self { page, buffer, sending } = *self;
        let failed = |source| page.failed("write", source);
        let answer = match sending {
            Sending::Memory => {
                let body = Bytes::from(buffer);
                page.ask(|| Ok(page.put().body(body.clone()))).map_err(failed)?
            }
            Sending::File(mut file) => {
                let length = file.stream_position().map_err(failed)?;
                let body = || {
                    let mut again = file.try_clone()?;
                    again.rewind()?;
                    let body = Body::wrap_stream(FileChunks(again));
                    Ok(page.put().header(CONTENT_LENGTH, length).body(body))
                };
                page.ask(body).map_err(failed)?
            }
            Sending::Stream(sender, answer) => {
                // Where that fails, the answer says why.
                let _ = page.workers.wait(sender.send(Piece::End));
                match page.workers.wait(answer) {
                    Some(Ok(answer)) => answer.map_err(|error| failed(io::Error::other(reason(error))))?,
                    _ => return Err(failed(io::ErrorKind::BrokenPipe.into())),
                }
            }
        };
        page.stored(answer.status())?;
        Ok(Delivered::Stored)
    }
}

/// A file from where it stands, in chunks.
struct FileChunks(File);

impl Stream for FileChunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut chunk = vec![0; CHUNK];
        Poll::Ready(match self.0.read(&mut chunk) {
            Ok(0) => None,
            Ok(read) => {
                chunk.truncate(read);
                Some(Ok(chunk.into()))
            }
            Err(error) => Some(Err(error)),
        })
    }
}

/// Ranges of a page, as it was when it was opened.
struct PageRanges {
    page: Page,
    e_tag: Option<String>,
}

impl Ranges for PageRanges {
    fn fetch(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let Some(last) = length.checked_sub(1).and_then(|length| at.checked_add(length)) else { return Ok(Vec::new()) };
        let request = || {
            let request = self.page.client.get(self.page.url.clone()).header(RANGE, format!("bytes={at}-{last}"));
            Ok(match &self.e_tag {
                Some(e_tag) => request.header(IF_MATCH, e_tag),
                None => request,
            })
        };
        let answer = self.page.ask(request)?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let bytes = self.page.workers.wait(answer.bytes()).ok_or(io::ErrorKind::Interrupted)?;
                bytes.map(Vec::from).map_err(|error| io::Error::other(reason(error)))
            }
            StatusCode::PRECONDITION_FAILED => Err(io::Error::other("it was replaced on the server while it was read")),
            status => Err(refusal(status)),
        }
    }
}

/// Opens what a server has.
///
/// # Errors
///
/// The server cannot be reached, has nothing of that name, or gives out no parts of it.
pub fn open(address: &WebAddress) -> Result<ByteSource> {
    let page = Page::new(address)?;
    let failed = |source| page.failed("read", source);
    // A presigned address is good for GET alone, not for HEAD.
    let answer = page.ask(|| Ok(page.client.get(page.url.clone()).header(RANGE, "bytes=0-0"))).map_err(failed)?;
    let length = match answer.status() {
        StatusCode::PARTIAL_CONTENT => total(answer.headers()),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
        StatusCode::OK => None,
        status => return Err(failed(refusal(status))),
    };
    let no_parts =
        || failed(io::Error::new(io::ErrorKind::Unsupported, "the server gives out no parts; fetch it first"));
    let length = length.ok_or_else(no_parts)?;
    // One that is weak says only that it is much the same.
    let e_tag = answer.headers().get(ETAG).and_then(|value| value.to_str().ok());
    let e_tag = e_tag.filter(|e_tag| !e_tag.starts_with("W/")).map(str::to_owned);
    let ranges = PageRanges { page, e_tag };
    Ok(ByteSource::from_elsewhere(Box::new(Blocks::new(ranges, length)), length))
}

/// The length of all, which the answer to a request for a part of it says: `bytes 0-0/LENGTH`.
fn total(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.rsplit_once('/')?.1.parse().ok()
}
