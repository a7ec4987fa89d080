//! How much can be written to a file system and into a file, judged as savecore(8) does
//! (`check_space` of sbin/savecore/savecore.c).
//!
//! A file system keeps blocks for the superuser: `f_bavail` of statvfs(3) is without them, `f_bfree` with them. The
//! superuser may write into them, so for him they are free, unless a directory of dumps has a file `minfree`: what
//! that keeps free is taken from `f_bavail`.

use crate::error::{Error, Result};
use crate::observer::Observer;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::{Statvfs, fstatvfs, statvfs};
use nix::unistd::geteuid;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use vmcore::bounds::saturating_u64;
use vmcore::opened::directory_of;
use vmcore::units::rough_size;

/// What can be written to a file system and into a file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeSpace {
    /// Free for everybody: `f_bavail`.
    available: u64,
    /// Free for who writes: `f_bfree` for the superuser.
    free: u64,
    /// What this process may write into one file (`RLIMIT_FSIZE`).
    limit: u64,
    /// What shall stay free, and the file that says so.
    reserve: Option<(u64, PathBuf)>,
}

/// Why a file does not fit. In bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortage {
    /// It would be larger than this process may make a file.
    Limit {
        /// Its length.
        length: u64,
        /// `RLIMIT_FSIZE`.
        limit: u64,
    },
    /// The file system has less space.
    Space {
        /// What it takes there.
        needed: u64,
        /// What is free there.
        free: u64,
        /// What of that shall stay free, and the file that says so.
        reserve: Option<(u64, PathBuf)>,
    },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { length, limit } => {
                let (length, limit) = (rough_size(*length), rough_size(*limit));
                write!(f, "{length} are needed, and the file size limit (ulimit -f) is {limit}")
            }
            Self::Space { needed, free, reserve } => {
                write!(f, "{} are needed, and {} are free", rough_size(*needed), rough_size(*free))?;
                match reserve {
                    Some((bytes, file)) => write!(f, ", of which {} keeps {} free", file.display(), rough_size(*bytes)),
                    None => Ok(()),
                }
            }
        }
    }
}

impl FreeSpace {
    /// What there is for a new file of that name.
    ///
    /// # Errors
    ///
    /// The directory is not there, say.
    pub fn beside(target: &Path) -> Result<Self> {
        Self::within(directory_of(target))
    }

    /// What there is for a new file in a directory.
    ///
    /// # Errors
    ///
    /// The directory is not there, say.
    pub fn within(directory: &Path) -> Result<Self> {
        let looked_at = |errno: Errno| Error::io("look at", directory, errno.into());
        Self::from_statvfs(&statvfs(directory).map_err(looked_at)?).map_err(looked_at)
    }

    /// What there is for an open file; `None` for what is no regular file.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn behind(file: &File) -> Result<Option<Self>> {
        let failed = |source| Error::Io { what: "look at the output".to_owned(), source };
        if !file.metadata().map_err(failed)?.is_file() {
            return Ok(None);
        }
        let looked_at = |errno: Errno| failed(errno.into());
        Self::from_statvfs(&fstatvfs(file).map_err(looked_at)?).map(Some).map_err(looked_at)
    }

    fn from_statvfs(file_system: &Statvfs) -> Result<Self, Errno> {
        let (free, available) = blocks(file_system);
        let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
        let free = if geteuid().is_root() { free } else { available };
        // It is signed on FreeBSD, and is not elsewhere.
        Ok(Self { available, free, limit: saturating_u64(limit), reserve: None })
    }

    /// The same where so many bytes shall stay free, as a file says.
    pub fn with_reserve(self, bytes: u64, file: PathBuf) -> Self {
        if bytes == 0 { self } else { Self { free: self.available, reserve: Some((bytes, file)), ..self } }
    }

    /// Why a file of `length` bytes, of which `stored` are no holes, does not fit.
    pub fn shortage(&self, stored: u64, length: u64) -> Option<Shortage> {
        if length > self.limit {
            return Some(Shortage::Limit { length, limit: self.limit });
        }
        let reserved = self.reserve.as_ref().map_or(0, |(bytes, _)| *bytes);
        let fits = stored <= self.free.saturating_sub(reserved);
        (!fits).then(|| Shortage::Space { needed: stored, free: self.free, reserve: self.reserve.clone() })
    }

    /// Bytes that are free for who writes, without what shall stay free.
    pub fn free(&self) -> u64 {
        self.free.saturating_sub(self.reserve.as_ref().map_or(0, |(bytes, _)| *bytes))
    }

    /// The same when so many bytes of it are taken.
    pub fn after(self, taken: u64) -> Self {
        Self { available: self.available.saturating_sub(taken), free: self.free.saturating_sub(taken), ..self }
    }

    /// Warns where that many bytes take of what the file system keeps for the superuser, as savecore(8) does.
    pub fn warn_of_reserve(&self, stored: u64, observer: &mut dyn Observer) {
        if self.needs_blocks_of_superuser(stored) {
            observer.warn("the dump may use space that the file system reserves for the superuser");
        }
    }

    /// Whether so many bytes take of what the file system keeps for the superuser.
    fn needs_blocks_of_superuser(&self, stored: u64) -> bool {
        stored > self.available
    }
}

/// Bytes that are free on the file system of a directory that was opened before, with those for the superuser. This
/// never waits for a file in it, as looking at the file would while the kernel dumps into it.
///
/// # Errors
///
/// The system does not tell.
pub fn free_behind(directory: &File) -> io::Result<u64> {
    let (free, _) = blocks(&fstatvfs(directory)?);
    Ok(free)
}

/// `f_bfree` and `f_bavail`, in bytes.
// The types of the fields differ between systems.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
fn blocks(file_system: &Statvfs) -> (u64, u64) {
    let bytes = |blocks: u64| blocks.saturating_mul(file_system.fragment_size() as u64);
    let available = if_not_negative(u64::from(file_system.blocks_available()));
    (bytes(u64::from(file_system.blocks_free())), bytes(available))
}

/// FreeBSD's statvfs(3) copies `f_bavail` of statfs(2), which is below 0 where the superuser has written into the
/// blocks kept for him, into a field without a sign (lib/libc/gen/statvfs.c).
fn if_not_negative(blocks: u64) -> u64 {
    if blocks.cast_signed() < 0 { 0 } else { blocks }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn space(available: u64, free: u64) -> FreeSpace {
        FreeSpace { available: available * MIB, free: free * MIB, limit: u64::MAX, reserve: None }
    }

    #[test]
    fn the_superuser_has_the_blocks_that_are_kept_for_him() {
        let space = space(10, 30);
        assert_eq!(space.shortage(30 * MIB, 30 * MIB), None);
        assert!(space.needs_blocks_of_superuser(30 * MIB) && !space.needs_blocks_of_superuser(10 * MIB));
        let short = space.shortage(31 * MIB, 31 * MIB).unwrap();
        assert_eq!(short.to_string(), "31.0 MiB are needed, and 30.0 MiB are free");
    }

    #[test]
    fn what_minfree_keeps_is_taken_from_what_everybody_has() {
        let kept = space(10, 30).with_reserve(4 * MIB, "/var/crash/minfree".into());
        assert_eq!(kept.shortage(6 * MIB, 6 * MIB), None);
        let short = kept.shortage(6 * MIB + 1, 6 * MIB + 1).unwrap();
        assert_eq!(
            short.to_string(),
            "6.0 MiB are needed, and 10.0 MiB are free, of which /var/crash/minfree keeps 4.0 MiB free"
        );
        // A reserve of 0 is none.
        assert_eq!(space(10, 30).with_reserve(0, PathBuf::new()), space(10, 30));
    }

    #[test]
    fn holes_take_no_space_but_count_for_the_limit() {
        let space = FreeSpace { limit: 20 * MIB, ..space(10, 10) };
        assert_eq!(space.shortage(MIB, 20 * MIB), None);
        let short = space.shortage(MIB, 21 * MIB).unwrap();
        assert_eq!(short.to_string(), "21.0 MiB are needed, and the file size limit (ulimit -f) is 20.0 MiB");
    }

    #[test]
    fn less_than_nothing_is_nothing() {
        assert_eq!([0, 7, (-5_i64).cast_unsigned()].map(if_not_negative), [0, 7, 0]);
    }
}
