//! The path of a file by the name cache (`vn_fullpath_global()`, `sys/kern/vfs_cache.c`): from the file's vnode through its
//! directories and across mount points to the root directory.
//!
//! The kernel forgets names, and asks the file system then, which takes a disk. Here a path ends there: its names up to
//! that directory are known, and those above it are not.

use super::file_status::{file_system, lower};
use super::map::number;
use super::object::MAX_PATH;
use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// `VV_ROOT` in `v_vflag`: it is the root directory of its file system.
const VV_ROOT: u32 = 0x1;
/// `NCF_ISDOTDOT`: the entry is that of `..` in a directory.
const IS_DOTDOT: u32 = 0x2;
/// `NCF_NEGATIVE`, `NCF_INVALID` and `NCF_WIP`: the entry does not stand for a file, or not any more, or not yet.
const IS_UNUSABLE: u32 = 0xe0;
/// More names, and mount points, than a path can have.
const MAX_STEPS: usize = 2 * MAX_PATH;
/// Names, and mount points, that are followed for all files of a map.
const MAX_FOLLOWED: usize = 1 << 22;
/// Entries of one file that are looked through for one that is not `..`.
const MAX_NAMES: usize = 1 << 10;

/// A path as far as the name cache has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedPath {
    /// Its end: all of it, from `/` on, if [`Self::is_whole`]; else the names without the directory that they are in, which
    /// may be none.
    pub path: Vec<u8>,
    /// Whether the path begins at the root directory.
    pub is_whole: bool,
    /// Where the `struct namecache` are that it was found by, the last name's first.
    pub entries: Vec<u64>,
}

impl CachedPath {
    /// The path of a file in this directory; nothing if it is too long.
    fn join(&self, name: &[u8], entry: u64) -> Option<Self> {
        let separator: &[u8] = if self.path.is_empty() || self.path == b"/" { b"" } else { b"/" };
        let path = [&self.path, separator, name].concat();
        let entries = [&[entry], &self.entries[..]].concat();
        (path.len() < MAX_PATH).then_some(Self { path, is_whole: self.is_whole, entries })
    }
}

/// Finds paths; each file's once.
pub(crate) struct NameCache<'a> {
    typed: TypedMemory<'a>,
    root: u64,
    known: HashMap<u64, Rc<CachedPath>>,
    remaining: Cell<usize>,
}

/// The place that a path has been followed to.
struct Place {
    vnode: u64,
    /// Mount points of nullfs(5) that it was seen through, the outermost first.
    uppers: Vec<u64>,
}

impl<'a> NameCache<'a> {
    /// # Errors
    ///
    /// The kernel's root directory cannot be read.
    pub fn new(typed: TypedMemory<'a>) -> Result<Self> {
        let root = typed.variable("rootvnode")?.unsigned()?;
        Ok(Self { typed, root, known: HashMap::new(), remaining: Cell::new(MAX_FOLLOWED) })
    }

    /// The path of a file.
    ///
    /// # Errors
    ///
    /// A vnode or an entry on the way cannot be read; told once, then the path is what there is of it.
    pub fn path(&mut self, vnode: u64) -> (Rc<CachedPath>, Result<()>) {
        if let Some(known) = self.known.get(&vnode) {
            return (Rc::clone(known), Ok(()));
        }
        let (found, followed) = self.find(vnode);
        let found = Rc::new(found);
        self.known.insert(vnode, Rc::clone(&found));
        (found, followed)
    }

    /// Many files are in one directory, which is followed once.
    fn find(&mut self, vnode: u64) -> (CachedPath, Result<()>) {
        match self.directory(vnode) {
            Ok(Some((directory, entry, name))) => {
                let (above, followed) = match self.known.get(&directory) {
                    Some(known) => (Rc::clone(known), Ok(())),
                    None => {
                        let (above, followed) = self.walk(directory);
                        let above = Rc::new(above);
                        self.known.insert(directory, Rc::clone(&above));
                        (above, followed)
                    }
                };
                match above.join(&name, entry) {
                    Some(found) => (found, followed),
                    None => self.walk(vnode),
                }
            }
            Ok(None) => self.walk(vnode),
            Err(error) => (CachedPath::default(), Err(error)),
        }
    }

    /// The directory that a file is in, the address of its entry and its name; nothing where there is more to it.
    fn directory(&self, vnode: u64) -> Result<Option<(u64, u64, Vec<u8>)>> {
        if vnode == self.root {
            return Ok(None);
        }
        self.spend()?;
        let file = self.typed.structure_at("vnode", vnode)?.fetched()?;
        let mount = file.member("v_mount")?.dereference()?;
        if number(&file, "v_vflag")? & VV_ROOT != 0 || file_system(&mount)? == b"nullfs" {
            return Ok(None);
        }
        let Some((entry, name)) = self.name(&file)? else { return Ok(None) };
        Ok(Some((entry.member("nc_dvp")?.unsigned()?, entry.address(), name)))
    }

    fn walk(&self, vnode: u64) -> (CachedPath, Result<()>) {
        let mut found = CachedPath::default();
        let mut names: Vec<Vec<u8>> = Vec::new();
        let followed = self.follow(vnode, &mut names, &mut found.entries);
        found.is_whole = matches!(followed, Ok(true));
        names.reverse();
        if found.is_whole {
            found.path.push(b'/');
        }
        found.path.extend(names.join(&b'/'));
        (found, followed.map(|_| ()))
    }

    /// Collects names from a file upwards; whether the root directory was reached.
    fn follow(&self, vnode: u64, names: &mut Vec<Vec<u8>>, entries: &mut Vec<u64>) -> Result<bool> {
        let mut place = Place { vnode, uppers: Vec::new() };
        let mut length = 0;
        for _ in 0..MAX_STEPS {
            if place.vnode == self.root && place.uppers.is_empty() {
                return Ok(true);
            }
            self.spend()?;
            let file = self.typed.structure_at("vnode", place.vnode)?.fetched()?;
            if let Some(next) = self.cross(&file, &mut place)? {
                place.vnode = next;
                continue;
            }
            let Some((entry, name)) = self.name(&file)? else { return Ok(false) };
            length += name.len() + 1;
            if length >= MAX_PATH {
                return Ok(false);
            }
            entries.push(entry.address());
            names.push(name);
            place.vnode = entry.member("nc_dvp")?.unsigned()?;
        }
        Ok(false)
    }

    /// Where a path goes on without a name: below a mount point, or in the file system that a nullfs(5) shows.
    fn cross(&self, file: &Object<'_>, place: &mut Place) -> Result<Option<u64>> {
        if let Some(upper) = place.uppers.last() {
            let mount = self.typed.structure_at("mount", *upper)?;
            let shown = self.typed.structure_at("null_mount", mount.member("mnt_data")?.unsigned()?)?;
            if shown.member("nullm_lowerrootvp")?.unsigned()? == place.vnode {
                place.uppers.pop();
                return mount.member("mnt_vnodecovered")?.unsigned().map(Some);
            }
        }
        let mount = file.member("v_mount")?.dereference()?;
        if number(file, "v_vflag")? & VV_ROOT != 0 {
            return mount.member("mnt_vnodecovered")?.unsigned().map(Some);
        }
        if file_system(&mount)? == b"nullfs" {
            place.uppers.push(mount.address());
            return lower(file).map(Some);
        }
        Ok(None)
    }

    /// The name of a file, with its entry (`vn_vptocnp()`); nothing where the cache has none.
    fn name(&self, file: &Object<'_>) -> Result<Option<(Object<'a>, Vec<u8>)>> {
        let mut next = file.member("v_cache_dd")?.unsigned()?;
        if next == 0 || number(&self.entry(next)?, "nc_flag")? & IS_DOTDOT != 0 {
            next = file.member("v_cache_dst.tqh_first")?.unsigned()?;
        }
        for _ in 0..MAX_NAMES {
            if next == 0 {
                break;
            }
            self.spend()?;
            let entry = self.entry(next)?;
            let flags = number(&entry, "nc_flag")?;
            if flags & IS_DOTDOT == 0 {
                let is_of_file = flags & IS_UNUSABLE == 0 && entry.member("n_un.nu_vp")?.unsigned()? == file.address();
                return if is_of_file { name_of(entry).map(Some) } else { Ok(None) };
            }
            next = entry.member("nc_dst.tqe_next")?.unsigned()?;
        }
        Ok(None)
    }

    fn spend(&self) -> Result<()> {
        let spent = || Error::Unsupported("there are more names than are followed".to_owned());
        self.remaining.set(self.remaining.get().checked_sub(1).ok_or_else(spent)?);
        Ok(())
    }

    fn entry(&self, address: u64) -> Result<Object<'a>> {
        self.typed.structure_at("namecache", address)
    }
}

/// The name in an entry.
fn name_of(entry: Object<'_>) -> Result<(Object<'_>, Vec<u8>)> {
    let length = number(&entry, "nc_nlen")?;
    let at = entry.member("nc_name")?.address();
    let mut name = vec![0; crate::bounds::at_most(length, MAX_PATH)];
    entry.typed().memory.read(at, &mut name)?;
    Ok((entry, name))
}
