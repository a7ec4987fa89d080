//! A receiver that was started by root goes on as another user once it has its sockets.

use crate::error::{Error, Result};
use nix::unistd::{Uid, User, geteuid, initgroups, setgid, setuid};
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Who a receiver goes on as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account(User);

impl Account {
    /// The user of that name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn named(name: &str) -> Result<Self> {
        let found = User::from_name(name).map_err(|errno| failed("look up", name, errno))?;
        found.map(Self).ok_or_else(|| Error::Refused(format!("there is no user '{name}'")))
    }

    /// Who owns a directory; `None` where that is nobody that the system knows by name.
    ///
    /// # Errors
    ///
    /// The directory is not there.
    pub fn owner_of(directory: &Path) -> Result<Option<Self>> {
        let metadata = directory.metadata().map_err(|source| Error::io("open", directory, source))?;
        let found = User::from_uid(Uid::from_raw(metadata.uid()));
        Ok(found.ok().flatten().map(Self))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it may do anything.
    pub fn is_root(&self) -> bool {
        self.0.uid.is_root()
    }

    /// Goes on as this user, with the groups it is in, and no way back. Only root can, and only root needs to.
    ///
    /// # Errors
    ///
    /// The system refuses, or lets the program become root again.
    pub fn assume(&self) -> Result<()> {
        let User { name, uid, gid, .. } = &self.0;
        if geteuid() == *uid && !uid.is_root() || self.is_root() {
            return Ok(());
        }
        let text = CString::new(name.as_str()).map_err(|_| Error::Refused("a user's name has a NUL".to_owned()))?;
        initgroups(&text, *gid).map_err(|errno| failed("take the groups of", name, errno))?;
        setgid(*gid).map_err(|errno| failed("take the group of", name, errno))?;
        setuid(*uid).map_err(|errno| failed("become", name, errno))?;
        match setuid(Uid::from_raw(0)) {
            Err(_) => Ok(()),
            Ok(()) => Err(Error::Refused("root's privileges could be taken again".to_owned())),
        }
    }
}

/// Whether the program is root's.
pub fn is_root() -> bool {
    geteuid().is_root()
}

fn failed(what: &str, name: &str, errno: nix::errno::Errno) -> Error {
    Error::Io { what: format!("{what} the user {name}"), source: errno.into() }
}
