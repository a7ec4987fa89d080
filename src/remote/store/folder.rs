//! A folder of an object store. Nothing in it is replaced.

use super::Place;
use super::backend::Patience;
use super::runtime::Workers;
use super::words::explained;
use crate::error::{Error, Result};
use crate::remote::folder::{EachRead, Entry, Folder, too_long};
use crate::remote::object_address::Object;
use futures_core::Stream;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use tokio::task::JoinSet;

/// Objects that are asked for at a time.
const CONCURRENT: usize = 16;
/// No small object is larger, in bytes.
const SMALL: u64 = 256 << 20;
const LIST: &str = "list";
const READ: &str = "read";
const WRITE: &str = "write";
const REMOVE: &str = "remove";

/// The folder.
#[derive(Debug)]
pub struct StoreFolder {
    /// Whose key ends in a slash.
    folder: Object,
    /// What stands for every object in it: they have one bucket.
    place: Place,
}

/// Opens a folder.
///
/// # Errors
///
/// What the environment says cannot be used.
pub fn open(folder: &Object) -> Result<StoreFolder> {
    let key = format!("{}/", folder.key.trim_end_matches('/'));
    let folder = Object { key, ..folder.clone() };
    let inside = folder.within("x");
    let place = Place::open(&Workers::start()?, &inside, "", Patience::for_bytes(SMALL))?;
    Ok(StoreFolder { folder, place })
}

impl StoreFolder {
    /// An object in it.
    fn at(&self, name: &str) -> Result<Place> {
        let object = self.folder.within(name);
        let path = object_store::path::Path::parse(&object.key);
        let path = path.map_err(|error| Error::Refused(format!("{object}: {error}")))?;
        Ok(Place { object, path, ..self.place.clone() })
    }

    /// Waits for an answer; `None` where there is no such object.
    fn ask<T>(place: &Place, what: &str, work: impl Future<Output = object_store::Result<T>>) -> Result<Option<T>> {
        place.ask(what, async {
            match work.await {
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                other => other.map(Some),
            }
        })
    }

    /// The name of an object below the folder.
    fn name_of(&self, path: &object_store::path::Path) -> Option<String> {
        path.as_ref().strip_prefix(&self.folder.key).map(str::to_owned)
    }
}

/// Reads an object, whatever it says of its length.
async fn get(place: &Place, at_most: u64) -> object_store::Result<Result<Vec<u8>, u64>> {
    let found = place.store.get_opts(&place.path, GetOptions::default()).await?;
    let size = found.meta.size;
    if size > at_most {
        return Ok(Err(size));
    }
    Ok(Ok(found.bytes().await?.into()))
}

/// What came of [`get`].
fn read(place: &Place, at_most: u64, got: object_store::Result<Result<Vec<u8>, u64>>) -> Result<Option<Vec<u8>>> {
    match got {
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(explained(READ, &place.object, error)),
        Ok(Err(size)) => Err(too_long(&place.object.to_string(), size, at_most)),
        Ok(Ok(bytes)) => Ok(Some(bytes)),
    }
}

fn ended(what: &str, object: &Object) -> Error {
    Error::Io { what: format!("{what} {object}"), source: io::ErrorKind::Interrupted.into() }
}

impl Folder for StoreFolder {
    fn name(&self) -> String {
        self.folder.to_string()
    }

    fn list(&self, below: &str, each: &mut dyn FnMut(Entry)) -> Result<()> {
        let place = self.at(below.trim_end_matches('/'))?;
        let mut stream = ObjectStore::list(&*place.store, Some(&place.path));
        // Page by page: a store may have millions of objects.
        loop {
            let next = poll_fn(|context| Pin::new(&mut stream).poll_next(context));
            let next = place.workers.wait(next).ok_or_else(|| ended(LIST, &place.object))?;
            let Some(found) = next else { return Ok(()) };
            let found = found.map_err(|error| explained(LIST, &place.object, error))?;
            if let Some(name) = self.name_of(&found.location) {
                each(Entry { name, size: found.size });
            }
        }
    }

    fn folders(&self, below: &str) -> Result<Vec<String>> {
        let place = self.at(below.trim_end_matches('/'))?;
        let found = place.ask(LIST, place.store.list_with_delimiter(Some(&place.path)))?;
        let last = |path: &object_store::path::Path| path.filename().map(str::to_owned);
        Ok(found.common_prefixes.iter().filter_map(last).collect())
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.at(name)?.look()?.map(|found| found.size))
    }

    fn read(&self, name: &str, at_most: u64) -> Result<Option<Vec<u8>>> {
        let place = self.at(name)?;
        let got = place.workers.wait(get(&place, at_most)).ok_or_else(|| ended(READ, &place.object))?;
        read(&place, at_most, got)
    }

    fn read_each(&self, names: &[String], at_most: u64, each: &mut EachRead<'_>) -> Result<()> {
        let mut on_their_way = JoinSet::new();
        let mut names = names.iter().enumerate();
        loop {
            while on_their_way.len() < CONCURRENT
                && let Some((index, name)) = names.next()
            {
                let place = self.at(name)?;
                let Some(handle) = self.place.workers.handle() else { return Err(ended(READ, &self.folder)) };
                let work = async move {
                    let got = get(&place, at_most).await;
                    (index, read(&place, at_most, got))
                };
                on_their_way.spawn_on(work, handle);
            }
            match self.place.workers.wait(on_their_way.join_next()).flatten() {
                None => return Ok(()),
                Some(Ok((index, bytes))) => each(index, bytes)?,
                Some(Err(error)) => {
                    let what = format!("{READ} {}", self.folder);
                    return Err(Error::Io { what, source: io::Error::other(error) });
                }
            }
        }
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let place = self.at(name)?;
        // For stores that do not know conditions.
        if place.look()?.is_some() {
            return Ok(false);
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let payload = PutPayload::from(bytes.to_vec());
        let is_made = place.ask(WRITE, async {
            match place.store.put_opts(&place.path, payload, options).await {
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
                other => other.map(|_| true),
            }
        })?;
        // The answer may have been lost, and the request, repeated, was refused since the object was there.
        Ok(is_made || self.read(name, bytes.len() as u64).is_ok_and(|found| found.as_deref() == Some(bytes)))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let place = self.at(name)?;
        Self::ask(&place, REMOVE, place.store.delete(&place.path)).map(drop)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.within(name).to_string().into()
    }

    fn prepare(&self, _: &str) -> Result<()> {
        Ok(())
    }
}
