//! A dump on its way to a store, in parts.

use super::backend::Patience;
use super::client::TAG;
use super::journal::Journal;
use super::parts::{MAX_PARTS, concurrent, part_size};
use super::runtime::Workers;
use super::words::{exists, explained, is_damaged};
use super::{Found, Place};
use crate::error::{Error, Result};
use crate::interrupt::Undo;
use crate::remote::object_address::{Object, Provider};
use crate::remote::{Delivered, Settings, Upload, random};
use crate::sha256;
use object_store::multipart::PartId;
use object_store::{Attribute, Attributes, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use vmcore::bounds::{head, saturating_usize};
use vmcore::units::{counted, rough_size};

/// How long it may take to have a store forget what was sent. What it does not forget, its rules for buckets may.
const ABORT: Duration = Duration::from_secs(10);
/// How long parts that are on their way may take when the upload has failed: a store may keep what arrives after it was told
/// to forget all.
const LAST_PARTS: Duration = Duration::from_secs(5);
/// How long there is between two looks at whether they have arrived.
const INTERVAL: Duration = Duration::from_millis(20);
/// How often a part is sent that arrives damaged.
const ATTEMPTS: u32 = 3;
/// What is done with a dump, for messages.
const WRITE: &str = "write";

/// What is known of the parts that are on their way outside of the upload itself.
#[derive(Debug, Default)]
struct Traffic {
    parts: AtomicUsize,
    /// No more are to be sent.
    is_stopped: AtomicBool,
}

/// A part on its way, counted.
struct PartOnItsWay(Arc<Traffic>);

impl PartOnItsWay {
    /// Counts a part; `None` if no more are to be sent.
    fn start(traffic: &Arc<Traffic>) -> Option<Self> {
        traffic.parts.fetch_add(1, Ordering::SeqCst);
        let counted = Self(Arc::clone(traffic));
        (!traffic.is_stopped.load(Ordering::SeqCst)).then_some(counted)
    }
}

impl Drop for PartOnItsWay {
    fn drop(&mut self) {
        self.0.parts.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Traffic {
    /// Lets no more parts be sent, and waits a little for those that are on their way.
    async fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        let arrived = async {
            while self.parts.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(INTERVAL).await;
            }
        };
        // Those that take longer are cut.
        let _ = tokio::time::timeout(LAST_PARTS, arrived).await;
    }
}

/// The upload.
struct StoreUpload {
    place: Place,
    part_size: usize,
    concurrent: usize,
    /// The part that is being filled.
    part: Vec<u8>,
    /// Bytes that were written to it.
    bytes: u64,
    /// Parts that were sent, or left out since the store has them.
    next: usize,
    /// What the object says of itself.
    tag: String,
    /// The store's name for the upload, once it has begun.
    id: Option<Arc<str>>,
    on_their_way: JoinSet<(usize, Option<String>, object_store::Result<PartId>)>,
    traffic: Arc<Traffic>,
    taken: Vec<Option<PartId>>,
    journal: Option<Journal>,
    /// Has the store forget the parts when a signal ends the program.
    undo: Option<Undo>,
    is_complete: bool,
}

impl fmt::Debug for StoreUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreUpload").field("place", &self.place).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Begins to send an object, which comes to so many bytes at most, if that is known.
///
/// # Errors
///
/// The store cannot be reached, does not take it, or has an object of that name.
pub fn send(object: &Object, settings: &Settings, at_most: Option<u64>) -> Result<Box<dyn Upload>> {
    Ok(Box::new(StoreUpload::begin(object, settings, at_most)?))
}

impl StoreUpload {
    fn begin(object: &Object, settings: &Settings, at_most: Option<u64>) -> Result<Self> {
        if object.is_folder() {
            return Err(Error::Refused(format!("{object} stands for a folder: a name is missing behind it")));
        }
        let workers = Workers::start()?;
        let (journal, begun) = match &settings.resume {
            Some(path) => {
                let (journal, begun) = Journal::open(path, &object.to_string())?;
                (Some(journal), begun)
            }
            None => (None, None),
        };
        let part_size = begun.as_ref().map_or_else(|| part_size(at_most), |begun| begun.part_size);
        let concurrent = concurrent(part_size);
        let tag = match (&begun, &settings.identity) {
            (Some(begun), Some(identity)) if begun.tag != *identity => {
                return Err(Error::Refused(format!(
                    "{}: what was interrupted was another dump; remove the file to begin anew",
                    settings.resume.as_deref().unwrap_or(Path::new("")).display()
                )));
            }
            (Some(begun), _) => begun.tag.clone(),
            (None, Some(identity)) => identity.clone(),
            (None, None) => random::digits::<16>()
                .map_err(|source| Error::Io { what: "find a name for an upload".to_owned(), source })?,
        };
        let on_their_way = part_size.saturating_mul(concurrent as u64);
        let place = Place::open(&workers, object, &tag, Patience::for_bytes(on_their_way))?;
        check_absent(&Place::open(&workers, object, &tag, Patience::FIRST)?, &tag)?;
        let mut upload = Self {
            place,
            part_size: saturating_usize(part_size),
            concurrent,
            part: Vec::new(),
            bytes: 0,
            next: 0,
            tag,
            id: begun.map(|begun| begun.upload.into()),
            on_their_way: JoinSet::new(),
            traffic: Arc::default(),
            taken: Vec::new(),
            journal,
            undo: None,
            is_complete: false,
        };
        // What may be too long for one request is begun at once: what the store refuses is known before the work.
        if upload.journal.is_some() || at_most.is_none_or(|bytes| bytes > part_size) {
            upload.upload()?;
        }
        Ok(upload)
    }

    fn attributes(&self) -> Attributes {
        Attributes::from_iter([(Attribute::Metadata(TAG.into()), self.tag.clone())])
    }

    /// The store's name for the upload, which is begun if it has not.
    fn upload(&mut self) -> Result<Arc<str>> {
        if let Some(id) = &self.id {
            return Ok(Arc::clone(id));
        }
        let Place { store, path, object, .. } = &self.place;
        // Azure takes attributes with the list of blocks only, which is where they are added.
        let attributes = match object.provider {
            Provider::Azure => Attributes::new(),
            _ => self.attributes(),
        };
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let id: Arc<str> = self.place.ask(WRITE, store.create_multipart_opts(path, options))?.into();
        if let Some(journal) = &mut self.journal {
            journal.begin(&object.to_string(), &id, &self.tag, self.part_size as u64)?;
        } else {
            let (place, id, traffic) = (self.place.clone(), Arc::clone(&id), Arc::clone(&self.traffic));
            self.undo = Some(Undo::on_signals(move || abort(&place, &id, &traffic)));
        }
        self.id = Some(Arc::clone(&id));
        Ok(id)
    }

    /// Sends the part that is filled, as soon as fewer are on their way than may be.
    fn send(&mut self) -> Result<()> {
        if self.next >= MAX_PARTS {
            let (most, size) = (counted(MAX_PARTS, "part"), rough_size(self.part_size as u64));
            let object = &self.place.object;
            return Err(Error::Refused(format!(
                "{object}: the dump is larger than was expected: more than {most} of {size}"
            )));
        }
        let id = self.upload()?;
        while self.on_their_way.len() >= self.concurrent {
            self.settle()?;
        }
        let index = self.next;
        self.next += 1;
        let bytes = std::mem::take(&mut self.part);
        let sha256 = self.journal.as_ref().map(|_| sha256::of_bytes(&bytes));
        self.taken.push(None);
        if let Some((journal, sha256)) = self.journal.as_ref().zip(sha256.as_deref())
            && let Some(known) = journal.part(index, sha256)
        {
            let known = PartId { content_id: known.to_owned() };
            self.keep(index, known);
            return Ok(());
        }
        let Place { store, path, .. } = &self.place;
        let (store, path) = (Arc::clone(store), path.clone());
        let Some(counted) = PartOnItsWay::start(&self.traffic) else {
            // A signal ends the program meanwhile.
            return Err(Error::Refused(format!("{}: the dump was given up", self.place.object)));
        };
        let work = async move {
            let _counted = counted;
            let payload = PutPayload::from(bytes);
            let mut attempts = 1;
            loop {
                match store.put_part(&path, &id.to_string(), index, payload.clone()).await {
                    // The client repeats what was not taken, but not what was refused for its checksum.
                    Err(error) if attempts < ATTEMPTS && is_damaged(&error) => attempts += 1,
                    sent => return (index, sha256, sent),
                }
            }
        };
        if let Some(handle) = self.place.workers.handle() {
            self.on_their_way.spawn_on(work, handle);
        }
        Ok(())
    }

    fn keep(&mut self, index: usize, id: PartId) {
        if let Some(place) = self.taken.get_mut(index) {
            *place = Some(id);
        }
    }

    /// Waits until the store has taken one of the parts that are on their way.
    fn settle(&mut self) -> Result<()> {
        let Some(joined) = self.place.workers.wait(self.on_their_way.join_next()).flatten() else { return Ok(()) };
        let what = || format!("{WRITE} {}", self.place.object);
        let (index, sha256, sent) =
            joined.map_err(|error| Error::Io { what: what(), source: io::Error::other(error) })?;
        let id = sent.map_err(|error| explained(WRITE, &self.place.object, error))?;
        if let Some((journal, sha256)) = self.journal.as_mut().zip(sha256) {
            journal.add(index, sha256, &id.content_id)?;
        }
        self.keep(index, id);
        Ok(())
    }

    /// Sends what is short enough in one request.
    fn put_whole(&mut self) -> Result<()> {
        let Place { store, path, object, .. } = &self.place;
        let options = PutOptions { mode: PutMode::Create, attributes: self.attributes(), ..PutOptions::default() };
        let payload = PutPayload::from(std::mem::take(&mut self.part));
        let put = self.place.ask(WRITE, store.put_opts(path, payload, options)).map(drop);
        self.confirm(put, object)
    }

    /// Has the store make the object of its parts.
    fn complete(&mut self) -> Result<()> {
        if !self.part.is_empty() {
            self.send()?;
        }
        while !self.on_their_way.is_empty() {
            self.settle()?;
        }
        let id = self.upload()?;
        let parts: Option<Vec<PartId>> = std::mem::take(&mut self.taken).into_iter().collect();
        // For stores that do not know conditions: they would replace what has come meanwhile.
        check_absent(&self.place, &self.tag)?;
        let Place { store, path, object, .. } = &self.place;
        let missing = || Error::Refused(format!("{object}: the store has not confirmed all parts"));
        let parts = parts.ok_or_else(missing)?;
        let made = self.place.ask(WRITE, store.complete_multipart(path, &id.to_string(), parts)).map(drop);
        self.confirm(made, object)
    }

    /// Makes sure that the object is there and is this one: also where the answer was lost, and the request, repeated, was
    /// refused since the object was there.
    fn confirm(&self, made: Result<()>, object: &Object) -> Result<()> {
        match (made, self.place.look()) {
            (Err(_), Ok(Some(Found { tag: Some(tag), size, .. }))) if tag == self.tag && size == self.bytes => Ok(()),
            (Err(error), _) => Err(error),
            (Ok(()), Ok(Some(found))) if found.size != self.bytes => Err(Error::Format(format!(
                "{object} has {} after {} were sent; it is not to be trusted",
                counted(found.size, "byte"),
                self.bytes
            ))),
            (Ok(()), Ok(None)) => Err(Error::Format(format!("the store has confirmed {object}, and does not have it"))),
            // The store does not know conditions, and another dump came at the same time.
            (Ok(()), Ok(Some(Found { tag: Some(tag), .. }))) if tag != self.tag => Err(Error::Format(format!(
                "{object} was written by another memtool at the same time, and this dump is not there"
            ))),
            // Who may only write is believed to have written.
            (Ok(()), _) => Ok(()),
        }
    }
}

impl Write for StoreUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Sent when there is more, so that the last part is not empty.
        if self.part.len() >= self.part_size {
            self.send().map_err(into_io)?;
        }
        if self.part.capacity() == 0 {
            self.part.try_reserve_exact(self.part_size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        let taken = head(bytes, self.part_size.saturating_sub(self.part.len()));
        self.part.extend_from_slice(taken);
        self.bytes += taken.len() as u64;
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for StoreUpload {
    fn finish(mut self: Box<Self>) -> Result<Delivered> {
        if self.id.is_none() { self.put_whole() } else { self.complete() }?;
        self.is_complete = true;
        if let Some(journal) = self.journal.take() {
            journal.remove();
        }
        Ok(Delivered::Stored)
    }
}

impl Drop for StoreUpload {
    fn drop(&mut self) {
        if self.is_complete {
            return;
        }
        if let Some(journal) = &mut self.journal {
            // What goes on from a file keeps its parts, also those that arrive now. What fails is sent again then, and what
            // takes longer is cut.
            let on_their_way = &mut self.on_their_way;
            let arriving = async {
                while let Some(joined) = on_their_way.join_next().await {
                    if let Ok((index, Some(sha256), Ok(id))) = joined {
                        let _ = journal.add(index, sha256, &id.content_id);
                    }
                }
            };
            self.place.workers.wait_at_most(LAST_PARTS, arriving);
            return;
        }
        if let (Some(id), Some(_)) = (self.id.take(), self.undo.take()) {
            abort(&self.place, &id, &self.traffic);
        }
    }
}

/// Has the store forget the parts that it has. That it cannot be reached does not matter any more: its rules for buckets
/// may have it forget them later.
fn abort(place: &Place, id: &str, traffic: &Traffic) {
    let work = async {
        traffic.stop().await;
        place.store.abort_multipart(&place.path, &id.to_owned()).await
    };
    let _ = place.workers.wait_at_most(ABORT, work);
}

/// Refuses to send what is there already, before the work. What this memtool sent before may be there.
fn check_absent(place: &Place, tag: &str) -> Result<()> {
    match place.look() {
        Ok(Some(found)) if found.tag.as_deref() != Some(tag) => Err(exists(&place.object)),
        // Who may only write must not be kept from it. Anything else is an error that writing would meet as well.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        found => found.map(drop),
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io { what, source } => io::Error::new(source.kind(), format!("cannot {what}: {source}")),
        other => io::Error::other(other.to_string()),
    }
}
