//! What is added to requests before they are sent, which the store's own client does not do: that a multipart upload
//! replaces nothing, what the object says of itself, and checksums of parts.
//!
//! - S3: `If-None-Match: *` when an upload is completed (CompleteMultipartUpload). Parts have their SHA-256 by the client.
//! - Google: `x-goog-if-generation-match: 0` (XML API, "Complete a multipart upload"), and `Content-MD5` for each part.
//! - Azure: `If-None-Match: *` when the list of blocks is put (Put Block List), and `Content-MD5` for each block. Both are
//!   signed where requests are signed with the account's key, so such a request is signed again.

use crate::remote::object_address::Provider;
use base64ct::{Base64, Encoding};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, IF_NONE_MATCH};
use http::{Method, Uri};
use http_body::Body;
use md5::{Digest, Md5};
use object_store::CredentialProvider;
use object_store::azure::{AzureAuthorizer, AzureCredential};
use object_store::client::{HttpClient, HttpError, HttpRequest, HttpRequestBody, HttpResponse, HttpService};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

/// What an object says of itself: its name in the metadata. Letters alone, which every store takes.
pub const TAG: &str = "memtoolupload";

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const AZURE_TAG: HeaderName = HeaderName::from_static("x-ms-meta-memtoolupload");
const GENERATION: HeaderName = HeaderName::from_static("x-goog-if-generation-match");

type AzureCredentials = Arc<dyn CredentialProvider<Credential = AzureCredential>>;

/// What is added to the requests to a store.
#[derive(Debug)]
pub struct Rules {
    provider: Provider,
    tag: String,
    azure: OnceLock<(String, AzureCredentials)>,
}

impl Rules {
    /// Those of a provider.
    pub fn new(provider: Provider, tag: &str) -> Self {
        Self { provider, tag: tag.to_owned(), azure: OnceLock::new() }
    }

    /// With what changed requests are signed again.
    pub fn sign_for_azure(&self, account: String, credentials: AzureCredentials) {
        // It is said once, before any request.
        let _ = self.azure.set((account, credentials));
    }

    async fn apply(&self, request: &mut HttpRequest) {
        let completes = has_query(request.uri(), "uploadId") && request.method() == Method::POST;
        let is_part = request.method() == Method::PUT && has_query(request.uri(), "partNumber");
        let one = HeaderValue::from_static;
        match self.provider {
            Provider::S3 if completes => {
                request.headers_mut().insert(IF_NONE_MATCH, one("*"));
            }
            Provider::Google if completes => {
                request.headers_mut().insert(GENERATION, one("0"));
            }
            Provider::Google if is_part => add_md5(request),
            Provider::Azure if request.method() == Method::PUT && query(request.uri(), "comp") == Some("blocklist") => {
                request.headers_mut().insert(IF_NONE_MATCH, one("*"));
                if let Ok(tag) = HeaderValue::from_str(&self.tag) {
                    request.headers_mut().insert(AZURE_TAG, tag);
                }
                self.sign_again(request).await;
            }
            Provider::Azure if request.method() == Method::PUT && query(request.uri(), "comp") == Some("block") => {
                add_md5(request);
                self.sign_again(request).await;
            }
            _ => {}
        }
    }

    /// Signs a request of Azure again that was signed with the account's key. Other credentials sign nothing.
    async fn sign_again(&self, request: &mut HttpRequest) {
        let Some((account, credentials)) = self.azure.get() else { return };
        let Ok(credential) = credentials.get_credential().await else { return };
        if !matches!(*credential, AzureCredential::AccessKey(_)) {
            return;
        }
        request.headers_mut().remove(AUTHORIZATION);
        // The length is part of what is signed.
        let length = request.body().content_length();
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        // What cannot be signed is refused by the store, which says why.
        let _ = AzureAuthorizer::new(&credential, account).try_authorize(request);
    }
}

/// A client that adds to requests what the rules say.
#[derive(Debug)]
pub struct Service {
    /// Who sends them.
    pub client: HttpClient,
    /// The rules.
    pub rules: Arc<Rules>,
}

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.rules.apply(&mut request).await;
        self.client.execute(request).await
    }
}

/// The value of a part of the query; empty if it has none.
fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn has_query(uri: &Uri, name: &str) -> bool {
    query(uri, name).is_some()
}

/// Adds the MD5 of the body, by which the store sees whether it has arrived as it was sent.
fn add_md5(request: &mut HttpRequest) {
    let sum = Base64::encode_string(&md5(request.body().clone()));
    if let Ok(sum) = HeaderValue::from_str(&sum) {
        request.headers_mut().insert(CONTENT_MD5, sum);
    }
}

/// The MD5 of a body, which is in memory.
fn md5(mut body: HttpRequestBody) -> [u8; 16] {
    let mut hash = Md5::new();
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
        if let Some(bytes) = frame.data_ref() {
            hash.update(bytes);
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::PutPayload;

    #[test]
    fn the_sum_is_of_all_pieces_of_a_body() {
        let pieces = PutPayload::from_iter([b"ab".to_vec(), Vec::new(), b"c".to_vec()].map(bytes::Bytes::from));
        let whole = HttpRequestBody::from(b"abc".to_vec());
        // MD5 of "abc" (RFC 1321, appendix A.5).
        let expected = "900150983cd24fb0d6963f7d28e17f72";
        for body in [whole, pieces.into()] {
            assert_eq!(vmcore::units::hex_digits(&md5(body)), expected);
        }
    }

    #[test]
    fn parts_of_a_query_are_told_apart() {
        let uri: Uri = "https://host/a?comp=blocklist&uploadIdx=1&empty".parse().unwrap();
        assert_eq!(query(&uri, "comp"), Some("blocklist"));
        assert_eq!(query(&uri, "empty"), Some(""));
        assert_eq!(query(&uri, "uploadId"), None);
    }
}
