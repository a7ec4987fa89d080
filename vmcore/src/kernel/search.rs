//! The image of the kernel in a dump, found among those of a system as crashinfo(8) finds it (`find_kernel` in
//! usr.sbin/crashinfo/crashinfo.sh): first the kernel that was booted last, then /boot/*/kernel, of which /boot/kernel.old
//! is one, the newest file first; the one whose `version` begins as the dump's, which may be cut off.
//!
//! Unlike crashinfo(8), the version alone is not enough where the dump's memory tells more: see [`Kernel::is_verified`].

use super::Kernel;
use crate::dump::DumpedMemory;
use crate::errno;
use crate::error::{Error, Result};
use crate::opened::{Open, open_plainly};
use crate::symbols::Table;
use crate::text::first_line;
use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fmt;
use std::fs::canonicalize;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The directory of kernels, below the root directory.
const BOOT: &str = "boot";
/// What a kernel is called in its directory.
const KERNEL: &str = "kernel";
/// More entries of the directory of kernels are not looked at.
const MAX_ENTRIES: usize = 4096;
/// More kernels are not looked at.
const MAX_KERNELS: usize = 64;
/// A larger file is no kernel, not even one with debug information.
const MAX_SIZE: u64 = 1 << 30;
/// A version of so many bytes in a dump's header can be cut off (`versionstring` in `sys/kerneldump.h`).
const CUT_OFF: usize = 191;

/// Where the image of a dump's kernel is looked for.
#[derive(Debug, Clone)]
pub struct KernelSearch {
    /// What stands for the root directory: that of another system, such as the one that a dump is from. No symbolic link is
    /// followed out of it.
    pub root: PathBuf,
    /// The file of the kernel that runs there (`kern.bootfile`), which is looked at first.
    pub boot_file: Option<PathBuf>,
    /// How files are opened.
    pub open: Open,
}

impl Default for KernelSearch {
    fn default() -> Self {
        Self { root: "/".into(), boot_file: None, open: open_plainly }
    }
}

/// A file that is not taken for the image of a dump's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedImage {
    /// The file, or the directory that cannot be read.
    pub path: PathBuf,
    /// Why, with its path.
    pub why: String,
}

impl fmt::Display for RejectedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A dump's kernel, with its image if there is one.
pub struct FoundKernel {
    /// The kernel; which image it has says [`Kernel::image`].
    pub kernel: Kernel,
    /// The files that were looked at and not taken.
    pub rejected: Vec<RejectedImage>,
    /// That none was found, and why.
    pub missing: Option<String>,
}

/// A file that may be the image.
struct Candidate {
    path: PathBuf,
    /// Its version, where that is not the dump's.
    other_version: Option<String>,
}

/// What became of an attempt to read a dump with an image.
enum Attempt {
    /// The kernel with it, of which it is the image.
    Verified(Box<Kernel>),
    /// The dump, which does not tell.
    Unknown(DumpedMemory),
    /// The dump, and why it is not the image.
    Rejected(DumpedMemory, String),
}

impl KernelSearch {
    /// Opens the kernel in a dump, whose path messages have, with its image; without, if none is found. `version` is what
    /// the dump's `info.N` says ([`crate::dump::InfoFile::version`]); without that, the dump's own header does.
    ///
    /// An image whose version and build ID are in the dump's memory is taken before one that only has the right version,
    /// and whatever the version.
    ///
    /// # Errors
    ///
    /// Those of [`Kernel::from_dump`] without an image. A dump that needs one has [`Error::Unsupported`], with what was looked
    /// at.
    pub fn open(&self, core: &Path, memory: DumpedMemory, version: Option<&str>) -> Result<FoundKernel> {
        let version = version_of(&memory, version);
        let (mut candidates, mut rejected) = self.candidates();
        let mut memory = memory;
        let mut unverified = None;
        while let Some(candidate) = candidates.pop_front() {
            let path = &candidate.path;
            let mut reject = |why| rejected.push(RejectedImage { path: path.clone(), why });
            let image = match self.image(path) {
                Ok(image) => image,
                Err(error) => {
                    reject(error.to_string());
                    continue;
                }
            };
            let has_version = has_version(&image, version.as_deref());
            if !has_version && candidate.other_version.is_none() {
                // These come last: an info.N can be that of another dump, and its memory cannot.
                let other_version = Some(first_line(image.version().unwrap_or_default()).to_owned());
                candidates.push_back(Candidate { other_version, ..candidate });
                continue;
            }
            memory = match attempt(core, memory, image)? {
                Attempt::Verified(kernel) => {
                    return Ok(FoundKernel { kernel: *kernel, rejected, missing: None });
                }
                Attempt::Unknown(again) => {
                    match &candidate.other_version {
                        None if version.is_some() => _ = unverified.get_or_insert_with(|| path.clone()),
                        None => reject(format!("{} cannot be compared with the dump's kernel", path.display())),
                        Some(other) => reject(is_another(path, other)),
                    }
                    again
                }
                Attempt::Rejected(again, why) => {
                    reject(candidate.other_version.as_ref().map_or(why, |other| is_another(path, other)));
                    again
                }
            };
        }
        let image = unverified.map(|path| self.image(&path)).transpose()?;
        let missing = image.is_none().then(|| self.missing(version.as_deref(), &rejected));
        match Kernel::from_dump(core, memory, image) {
            Ok(kernel) => Ok(FoundKernel { kernel, rejected, missing }),
            Err(error) => Err(match missing {
                Some(missing) => Error::Unsupported(format!("{error}; {missing}")),
                None => error,
            }),
        }
    }

    /// The files that may be the image, in the order of crashinfo(8); and those that are not looked into.
    fn candidates(&self) -> (VecDeque<Candidate>, Vec<RejectedImage>) {
        let mut rejected = Vec::new();
        let installed = self.installed(&mut rejected);
        let mut seen = BTreeSet::new();
        let mut candidates = VecDeque::new();
        for path in self.boot_file.iter().cloned().chain(installed) {
            match self.check(&path) {
                Ok(_) if candidates.len() == MAX_KERNELS => {
                    let why = format!("{} is not looked at: there are more than {MAX_KERNELS} kernels", path.display());
                    rejected.push(RejectedImage { path, why });
                    break;
                }
                Ok(real) => {
                    // The kernel that runs is one of those in /boot.
                    if seen.insert(real) {
                        candidates.push_back(Candidate { path, other_version: None });
                    }
                }
                Err(why) => {
                    let why = format!("{} {why}", path.display());
                    rejected.push(RejectedImage { path, why });
                }
            }
        }
        (candidates, rejected)
    }

    /// The kernels in /boot, the newest file first (`ls -t /boot/*/kernel`).
    fn installed(&self, rejected: &mut Vec<RejectedImage>) -> Vec<PathBuf> {
        let boot = self.root.join(BOOT);
        let entries = match boot.read_dir() {
            Ok(entries) => entries,
            Err(source) => {
                rejected.push(RejectedImage { why: Error::io("read", &boot, source).to_string(), path: boot });
                return Vec::new();
            }
        };
        // A shell's pattern does not match what begins with a dot.
        let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        let names = entries.take(MAX_ENTRIES).flatten().map(|entry| entry.file_name()).filter(|name| !is_hidden(name));
        let paths = names.map(|name| boot.join(name).join(KERNEL)).filter(|path| path.symlink_metadata().is_ok());
        let time = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
        let mut dated: Vec<(Reverse<SystemTime>, PathBuf)> =
            paths.map(|path| (Reverse(time(&path).unwrap_or(SystemTime::UNIX_EPOCH)), path)).collect();
        dated.sort();
        dated.into_iter().map(|(_, path)| path).collect()
    }

    /// The file that a path leads to, if it is one that can be opened without harm; or why not.
    fn check(&self, path: &Path) -> Result<PathBuf, String> {
        let failed = |error: io::Error| format!("cannot be looked at: {}", errno::reason(&error));
        let real = canonicalize(path).map_err(failed)?;
        let root = canonicalize(&self.root).map_err(failed)?;
        if !real.starts_with(&root) {
            return Err(format!("is a symbolic link that leads out of {}", self.root.display()));
        }
        let metadata = real.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err("is not a regular file".to_owned());
        }
        if metadata.len() > MAX_SIZE {
            return Err("is larger than any kernel".to_owned());
        }
        Ok(real)
    }

    fn image(&self, path: &Path) -> Result<Table> {
        let file = (self.open)(path).map_err(|source| Error::io("open", path, source))?;
        Table::from_opened(path, file, 0)
    }

    /// That there is no image, and what was looked at.
    fn missing(&self, version: Option<&str>, rejected: &[RejectedImage]) -> String {
        let boot = self.root.join(BOOT);
        let kernel = match version {
            Some(version) => format!("the kernel of this dump ({})", first_line(version)),
            None => "the kernel of this dump, whose version is not known".to_owned(),
        };
        let looked_at = match rejected {
            [] => "there is none".to_owned(),
            rejected => rejected.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        };
        format!("no kernel in {}/*/{KERNEL} is {kernel}: {looked_at}", boot.display())
    }
}

/// What tells the version of a dump's kernel.
fn version_of(memory: &DumpedMemory, told: Option<&str>) -> Option<String> {
    let header = memory.inspection().location.header.as_ref();
    let own = header.map(|header| header.version_string.text());
    let version = told.or(own.as_deref()).map(str::trim_end);
    version.filter(|version| !version.is_empty()).map(str::to_owned)
}

/// Whether an image has a dump's version, as far as both are known.
fn has_version(image: &Table, version: Option<&str>) -> bool {
    let (Some(version), Some(own)) = (version, image.version()) else { return true };
    let rest = own.strip_prefix(version);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace) || version.len() >= CUT_OFF)
}

fn is_another(path: &Path, version: &str) -> String {
    format!("{} is {version}", path.display())
}

/// Reads a dump with an image.
fn attempt(core: &Path, memory: DumpedMemory, image: Table) -> Result<Attempt> {
    let space = match Kernel::space_of(core, &memory, Some(&image)) {
        Ok(space) => space,
        Err(error) => {
            let image = image.path().display().to_string();
            return Ok(Attempt::Rejected(
                memory,
                match error {
                    Error::OtherArchitecture { kernel, .. } => format!("{image} is a kernel for {}", kernel.name()),
                    Error::OtherByteOrder { kernel, .. } => format!("{image} is a {}-endian kernel", kernel.name()),
                    error => Some(error.to_string())
                        .filter(|why| why.contains(&image))
                        .unwrap_or_else(|| format!("{image}: {error}")),
                },
            ));
        }
    };
    let kernel = Kernel::from_space(memory, space, Some(image));
    if kernel.is_verified() {
        return Ok(Attempt::Verified(Box::new(kernel)));
    }
    let mismatch = kernel.mismatch().map(ToString::to_string);
    let memory = kernel.into_dump().ok_or_else(|| Error::Unsupported("the kernel is not in a dump".to_owned()))?;
    Ok(match mismatch {
        Some(why) => Attempt::Rejected(memory, why),
        None => Attempt::Unknown(memory),
    })
}
