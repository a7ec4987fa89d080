//! An object that is read.

use super::Place;
use super::backend::Patience;
use super::runtime::Workers;
use super::words::explained;
use crate::error::{Error, Result};
use crate::remote::blocks::{Blocks, Ranges};
use crate::remote::object_address::Object;
use object_store::{GetOptions, GetRange};
use std::io;
use vmcore::dump::byte_source::ByteSource;

/// So many bytes are asked for at once at most; see [`Blocks`].
const LONGEST: u64 = 8 << 20;

/// Ranges of an object, as it was when it was opened.
struct ObjectRanges {
    place: Place,
    /// Which of the objects that had this name.
    e_tag: Option<String>,
}

impl Ranges for ObjectRanges {
    fn fetch(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let range = Some(GetRange::Bounded(at..at.saturating_add(length)));
        let options = GetOptions { range, if_match: self.e_tag.clone(), ..GetOptions::default() };
        let Place { workers, store, path, object } = &self.place;
        let answer = workers.wait(async { store.get_opts(path, options).await?.bytes().await });
        match answer {
            Some(Ok(bytes)) => Ok(bytes.into()),
            Some(Err(object_store::Error::Precondition { .. })) => {
                Err(io::Error::other("the object was replaced while it was read"))
            }
            Some(Err(error)) => Err(match explained("read", object, error) {
                Error::Io { source, .. } => source,
                other => io::Error::other(other.to_string()),
            }),
            None => Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

/// Opens an object.
///
/// # Errors
///
/// The store cannot be reached, has no such object, or does not let it be read.
pub fn open(object: &Object) -> Result<ByteSource> {
    if object.is_folder() {
        return Err(Error::Refused(format!("{object} stands for a folder: a name is missing behind it")));
    }
    let workers = Workers::start()?;
    let first = Place::open(&workers, object, "", Patience::FIRST)?;
    let Some(found) = first.look()? else {
        let source = io::Error::new(io::ErrorKind::NotFound, "there is no such object");
        return Err(Error::Io { what: format!("read {object}"), source });
    };
    let place = Place::open(&workers, object, "", Patience::for_bytes(LONGEST))?;
    let ranges = ObjectRanges { place, e_tag: found.e_tag };
    Ok(ByteSource::from_elsewhere(Box::new(Blocks::new(ranges, found.size)), found.size))
}
