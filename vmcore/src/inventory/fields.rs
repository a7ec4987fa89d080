//! The members of a structure: what cannot be read is not known, and a warning says so.

use crate::bounds::{low_u32, low_u64};
use crate::error::{Error, Result};
use crate::inventory::reader::{Reader, enumerator};
use crate::kernel::Object;
use crate::text::Name;
use crate::units::Hex;
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// More bytes than a text of the kernel has here: the descriptions of devices are the longest.
const MAX_TEXT: usize = 256;

/// The members of a structure.
pub(crate) struct Fields<'r, 'a> {
    reader: &'r mut Reader<'a>,
    object: Object<'a>,
    what: Described,
}

/// What a structure is, and where.
#[derive(Clone, Copy)]
pub(crate) struct Described {
    noun: &'static str,
    address: u64,
}

impl Described {
    pub fn new(noun: &'static str, object: &Object<'_>) -> Self {
        Self { noun, address: object.address() }
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} at {}", self.noun, Hex(self.address))
    }
}

impl<'r, 'a> Fields<'r, 'a> {
    /// Of a structure that is called so. It is read at once; if that fails, each member says what cannot be read.
    pub fn new(reader: &'r mut Reader<'a>, noun: &'static str, object: &Object<'a>) -> Self {
        let what = Described::new(noun, object);
        Self { reader, object: object.fetched().unwrap_or_else(|_| object.clone()), what }
    }

    pub fn object(&self) -> &Object<'a> {
        &self.object
    }

    /// An element of an array.
    ///
    /// # Errors
    ///
    /// There is no such array.
    pub fn element(&self, member: &str, index: u64) -> Result<Object<'a>> {
        self.object.member(member)?.index(index)
    }

    pub fn keep<T>(&mut self, member: &str, read: Result<T>) -> Option<T> {
        self.reader.keep(|| format!("{member} of {}", self.what), read)
    }

    /// A number without a sign.
    pub fn number(&mut self, member: &str) -> Option<u64> {
        self.reader.number(&self.what, &self.object, member)
    }

    /// A number with the sign that its type has.
    pub fn signed(&mut self, member: &str) -> Option<i64> {
        let read = self.object.member(member).and_then(|member| member.signed());
        self.keep(member, read)
    }

    /// A pointer; `None` also where it is null.
    pub fn pointer(&mut self, member: &str) -> Option<Hex> {
        self.number(member).filter(|address| *address != 0).map(Hex)
    }

    /// What a pointer points to; `None` also where it is null.
    pub fn target(&mut self, member: &str) -> Option<Object<'a>> {
        let read = self.object.member(member).and_then(|pointer| pointer.follow());
        self.keep(member, read).flatten()
    }

    /// The text that a pointer leads to, of at most 256 bytes; `None` also where it is null.
    pub fn name(&mut self, member: &str) -> Option<Name> {
        self.name_up_to(member, MAX_TEXT)
    }

    /// The same of at most so many bytes.
    pub fn name_up_to(&mut self, member: &str, limit: usize) -> Option<Name> {
        let read = self.object.member(member).and_then(|pointer| pointer.string(limit));
        self.keep(member, read).flatten().map(Name::from)
    }

    /// The text in an array of characters.
    pub fn text(&mut self, member: &str) -> Option<Name> {
        let read = self.object.member(member).and_then(|text| text.text());
        self.keep(member, read).map(Name::from)
    }

    /// The name of an enumeration's value.
    pub fn enumerator(&mut self, member: &str) -> Option<String> {
        let read = self.object.member(member).and_then(|member| enumerator(&member));
        self.keep(member, read)
    }

    /// The time that a `struct bintime` tells, as long as it is not negative.
    pub fn duration(&mut self, member: &str) -> Option<Duration> {
        let read = self.object.member(member).and_then(|time| read_bintime(&time));
        self.keep(member, read)
    }

    /// The elements of a list whose head is a member; of what can be read, at most so many.
    pub fn list(&mut self, member: &str, link: &str, limit: usize) -> Vec<Object<'a>> {
        let what = format!("{member} of {}", self.what);
        let head = self.object.member(member);
        let read = head.and_then(|head| self.reader.list(&what, &head, link, limit));
        self.keep(member, read).into_iter().flatten().collect()
    }
}

/// Seconds, and parts of a second in 64 bits (`struct bintime`).
pub(crate) fn read_bintime(time: &Object<'_>) -> Result<Duration> {
    let seconds = time.member("sec")?.signed()?;
    let seconds = u64::try_from(seconds).map_err(|_| Error::Format(format!("it is {seconds} seconds")))?;
    let part = u128::from(time.member("frac")?.unsigned()?);
    Ok(Duration::new(seconds, low_u32(low_u64((part * 1_000_000_000) >> 64))))
}

/// A duration in JSON.
pub(crate) fn seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

/// The names of the bits that are set, in the order of the names; bits without a name are a number.
pub(crate) fn flag_names(flags: u64, names: &[(u64, &'static str)]) -> Vec<String> {
    let set = names.iter().filter(|(bit, _)| flags & bit != 0);
    let rest = names.iter().fold(flags, |rest, (bit, _)| rest & !bit);
    let rest = Some(rest).filter(|rest| *rest != 0).map(|rest| Hex(rest).to_string());
    set.map(|(_, name)| (*name).to_owned()).chain(rest).collect()
}
