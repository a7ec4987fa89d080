//! Where requests to other hosts are worked on: two threads, whatever the number of requests.

use crate::error::{Error, Result};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Enough to encrypt and to hash parts while another is sent.
const THREADS: usize = 2;

/// The threads. They end with the last of its clones, and what is still under way then is given up.
#[derive(Debug, Clone)]
pub struct Workers(Arc<Guard>);

/// Ends the threads without waiting for them: one may be looking up a name.
#[derive(Debug)]
struct Guard(Option<Runtime>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system refuses them.
    pub fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("sender").enable_all().build();
        let runtime = runtime.map_err(|source| Error::Io { what: "start threads".to_owned(), source })?;
        Ok(Self(Arc::new(Guard(Some(runtime)))))
    }

    /// Waits for an answer. `None` if it takes longer than there is time.
    pub fn wait_at_most<T>(&self, time: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.wait(async { tokio::time::timeout(time, work).await.ok() }).flatten()
    }

    /// Waits for an answer. `None` only where the threads have ended already. What is waited for may not use the threads before
    /// it is polled: an `async` block does not.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.0.0.as_ref().map(|runtime| runtime.block_on(work))
    }

    /// Has something worked on meanwhile.
    pub fn handle(&self) -> Option<&tokio::runtime::Handle> {
        self.0.0.as_ref().map(Runtime::handle)
    }
}

/// Has everything that speaks TLS use ring.
pub fn use_ring() {
    // It is refused where that has been said before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
