//! Object stores: a dump as an object, in parts that are sent while the next one is filled.
//!
//! Nothing there is ever replaced, and an object appears when all of it is there, or not at all: that is what a multipart
//! upload is for, and its completion is conditional. What was interrupted goes on from a file that says which parts the
//! store has; without one, an upload that fails is aborted, so that no parts stay behind.
//!
//! - [`backend`]: the stores, by what the environment says; [`client`]: what is added to their requests;
//! - [`parts`]: how a dump is cut;
//! - [`upload`]: the parts on their way; [`journal`]: the file that an upload goes on from;
//! - [`object_input`]: an object that is read; [`folder`]: many small ones, by their names;
//! - [`web`]: web servers, which are sent the whole in one request;
//! - [`words`]: what a store's refusals mean;
//! - [`runtime`]: the threads that requests are worked on by.

mod backend;
mod client;
mod folder;
mod journal;
mod object_input;
mod parts;
mod runtime;
mod upload;
mod web;
mod words;

pub use folder::open as open_folder;
pub use object_input::open as open_object;
pub use upload::send as send_object;
pub use web::{open as open_page, send as send_page};

use crate::error::{Error, Result};
use crate::remote::object_address::Object;
use backend::{Patience, Store};
use object_store::path::Path;
use object_store::{Attribute, GetOptions};
use runtime::Workers;
use std::io;
use std::sync::Arc;
use words::explained;

/// Whether a store has an object that says this of itself. Who may only write does not know, and so it does not.
///
/// # Errors
///
/// The store cannot be reached.
pub fn has_object(object: &Object, identity: &str) -> Result<bool> {
    match Place::open(&Workers::start()?, object, identity, Patience::FIRST)?.look() {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        found => Ok(found?.is_some_and(|found| found.tag.as_deref() == Some(identity))),
    }
}

/// An object in a store, which may not be there yet.
#[derive(Clone)]
struct Place {
    workers: Workers,
    store: Arc<dyn Store>,
    path: Path,
    object: Object,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.object)
    }
}

/// What a store says of an object.
struct Found {
    size: u64,
    /// What it calls this version of the object.
    e_tag: Option<String>,
    /// What the object says of itself, if memtool has made it.
    tag: Option<String>,
}

impl Place {
    fn open(workers: &Workers, object: &Object, tag: &str, patience: Patience) -> Result<Self> {
        let (store, path) = backend::open(object, tag, patience)?;
        Ok(Self { workers: workers.clone(), store, path, object: object.clone() })
    }

    /// Waits for the store's answer.
    fn ask<T>(&self, what: &str, work: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        let ended = || Error::Io { what: format!("{what} {}", self.object), source: io::ErrorKind::Interrupted.into() };
        self.workers.wait(work).ok_or_else(ended)?.map_err(|error| explained(what, &self.object, error))
    }

    /// What is there; `None` if nothing is.
    fn look(&self) -> Result<Option<Found>> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let answer = async {
            match self.store.get_opts(&self.path, options).await {
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                other => other.map(Some),
            }
        };
        let found = self.ask("look at", answer)?;
        let tag = Attribute::Metadata(client::TAG.into());
        Ok(found.map(|found| Found {
            size: found.meta.size,
            e_tag: found.meta.e_tag.clone(),
            tag: found.attributes.get(&tag).map(|value| value.as_ref().to_owned()),
        }))
    }
}
