//! The stores: how each is reached, with what the environment says of it, and how each is kept from replacing what it has.
//!
//! Credentials come from the environment, from files that it names, or from the service of the machine that gives them out
//! (object_store's `from_env` of each store). None is ever in an argument.

use super::client::{Rules, Service};
use super::words::unusable;
use crate::error::{Error, Result};
use crate::remote::object_address::{Object, Provider};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;

/// What is asked of a store.
pub trait Store: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Store for T {}

/// How patient one is with a store.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a request may take.
    pub request: Duration,
    /// How often a request is repeated that failed for a reason that may pass.
    pub retries: usize,
}

/// No store that is of use sends or takes fewer bytes a second.
const SLOWEST: u64 = 128 << 10;
/// How long a request may take besides its bytes.
const OVERHEAD: Duration = Duration::from_secs(60);

impl Patience {
    /// For the first request, which shows whether the store is there.
    pub const FIRST: Self = Self { request: Duration::from_secs(20), retries: 2 };

    /// For requests of so many bytes that are on their way together.
    pub fn for_bytes(bytes: u64) -> Self {
        Self { request: OVERHEAD.saturating_add(Duration::from_secs(bytes / SLOWEST)), retries: 10 }
    }

    fn retry(self) -> RetryConfig {
        let backoff = BackoffConfig::default();
        // Credentials are not asked for again between attempts, and are good for a quarter of an hour when they are given.
        RetryConfig { backoff, max_retries: self.retries, retry_timeout: Duration::from_secs(600).max(self.request) }
    }

    fn seconds(self) -> String {
        format!("{} seconds", self.request.as_secs())
    }
}

/// Makes clients that keep the rules.
#[derive(Debug)]
struct Connector(Arc<Rules>);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // A system without any authorities can still speak to a store without TLS. With TLS, none is trusted then.
        let connector = ReqwestConnector::default();
        let trusting_nobody = || connector.connect(&options.clone().with_no_system_certificates(true));
        let client = connector.connect(options).or_else(|_| trusting_nobody())?;
        Ok(HttpClient::new(Service { client, rules: Arc::clone(&self.0) }))
    }
}

/// Opens a store for an object. `tag` is what an object says of itself that is made there.
///
/// # Errors
///
/// What the environment says cannot be used.
pub fn open(object: &Object, tag: &str, patience: Patience) -> Result<(Arc<dyn Store>, Path)> {
    let path = Path::parse(&object.key).map_err(|error| Error::Refused(format!("{object}: {error}")))?;
    super::runtime::use_ring();
    let failed = |error| unusable(object, &error);
    let rules = Arc::new(Rules::new(object.provider, tag));
    let store: Arc<dyn Store> = match object.provider {
        Provider::S3 => {
            let mut builder = AmazonS3Builder::from_env();
            let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
            if std::env::var_os("AWS_TIMEOUT").is_none() {
                builder = builder.with_config(timeout, patience.seconds());
            }
            if builder.get_config_value(&AmazonS3ConfigKey::Checksum).is_none() {
                builder = builder.with_checksum_algorithm(Checksum::SHA256);
            }
            let builder = builder.with_bucket_name(&object.bucket).with_retry(patience.retry());
            Arc::new(builder.with_http_connector(Connector(rules)).build().map_err(failed)?)
        }
        Provider::Google => {
            let mut builder = GoogleCloudStorageBuilder::from_env();
            let timeout = GoogleConfigKey::Client(ClientConfigKey::Timeout);
            if std::env::var_os("GOOGLE_TIMEOUT").is_none() {
                builder = builder.with_config(timeout, patience.seconds());
            }
            let builder = builder.with_bucket_name(&object.bucket).with_retry(patience.retry());
            Arc::new(builder.with_http_connector(Connector(rules)).build().map_err(failed)?)
        }
        Provider::Azure => {
            let mut builder = MicrosoftAzureBuilder::from_env();
            let timeout = AzureConfigKey::Client(ClientConfigKey::Timeout);
            if std::env::var_os("AZURE_TIMEOUT").is_none() {
                builder = builder.with_config(timeout, patience.seconds());
            }
            let account = builder.get_config_value(&AzureConfigKey::AccountName).unwrap_or_default();
            let builder = builder.with_container_name(&object.bucket).with_retry(patience.retry());
            let store = builder.with_http_connector(Connector(Arc::clone(&rules))).build().map_err(failed)?;
            rules.sign_for_azure(account, Arc::clone(store.credentials()));
            Arc::new(store)
        }
    };
    Ok((store, path))
}
