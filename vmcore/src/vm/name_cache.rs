//! The path of a file by the name cache (`vn_fullpath_global()`, `sys/kern/vfs_cache.c`): from the file's vnode through its
//! directories and across mount points to the root directory. And its number and its file system's.
//!
//! The kernel forgets names, and asks the file system then, which takes a disk. Here a path ends there: its names up to
//! that directory are known, and those above it are not.

use super::map::{number, number_if_any};
use super::object::MAX_PATH;
use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};
use crate::types::{Tag, TypeId};
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
/// A file system's name has not more bytes.
const MAX_TYPE: usize = 16;

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

/// Which file it is, as stat(2) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The number of its file system's device, `st_dev`.
    pub device: u64,
    /// Its number in the file system, `st_ino`.
    pub inode: u64,
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
        let mut found = CachedPath::default();
        let mut names: Vec<Vec<u8>> = Vec::new();
        let followed = self.follow(vnode, &mut names, &mut found.entries);
        found.is_whole = matches!(followed, Ok(true));
        names.reverse();
        if found.is_whole {
            found.path.push(b'/');
        }
        found.path.extend(names.join(&b'/'));
        let found = Rc::new(found);
        self.known.insert(vnode, Rc::clone(&found));
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
            return self.lower(file).map(Some);
        }
        Ok(None)
    }

    /// The vnode that one of nullfs(5) stands for.
    fn lower(&self, file: &Object<'_>) -> Result<u64> {
        let node = self.typed.structure_at("null_node", file.member("v_data")?.unsigned()?)?;
        node.member("null_lowervp")?.unsigned()
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

    /// Which file it is (`VOP_GETATTR()` of each file system); nothing where that is not known of its file system.
    ///
    /// # Errors
    ///
    /// The file, or its file system, cannot be read.
    pub fn file_id(&self, vnode: u64) -> Result<Option<FileId>> {
        let file = self.typed.structure_at("vnode", vnode)?.fetched()?;
        let Some(mount) = file.member("v_mount")?.follow()? else { return Ok(None) };
        let node = file.member("v_data")?.unsigned()?;
        let of_mount = |inode| Ok::<_, Error>(FileId { device: file_system_id(&mount)?, inode });
        match &*file_system(&mount)? {
            b"ufs" => self.ufs(node),
            b"tmpfs" => self.inode(node, "tmpfs_node", "tn_id")?.map(of_mount).transpose(),
            b"zfs" => self.inode(node, "znode", "z_id")?.map(of_mount).transpose(),
            b"nullfs" => {
                let lower = self.typed.structure_at("vnode", self.lower(&file)?)?;
                let node = lower.member("v_data")?.unsigned()?;
                let below = match &*file_system(&lower.member("v_mount")?.dereference()?)? {
                    b"ufs" => self.ufs(node)?.map(|id| id.inode),
                    b"tmpfs" => self.inode(node, "tmpfs_node", "tn_id")?,
                    b"zfs" => self.inode(node, "znode", "z_id")?,
                    _ => None,
                };
                below.map(of_mount).transpose()
            }
            _ => Ok(None),
        }
    }

    fn inode(&self, node: u64, structure: &str, member: &str) -> Result<Option<u64>> {
        let Some(structure) = self.typed.types.structure(structure) else { return Ok(None) };
        number_if_any(&self.typed.object(node, structure), member)
    }

    /// Other file systems have a `struct inode` too.
    fn ufs(&self, node: u64) -> Result<Option<FileId>> {
        let types = self.typed.types;
        let is_ufs = |id: &TypeId| {
            let mount = types.member(*id, "i_ump").and_then(|found| types.target(found.member.type_id));
            mount.is_some_and(|mount| types.member(mount, "um_dev").is_some())
        };
        let Some(structure) = types.lookup(Some(Tag::Structure), "inode").into_iter().find(is_ufs) else {
            return Ok(None);
        };
        let inode = self.typed.object(node, structure);
        let device = inode.member("i_ump")?.dereference()?.member("um_dev")?.unsigned()?;
        let device = self.typed.structure_at("cdev_priv", device)?.member("cdp_inode")?.unsigned()?;
        Ok(Some(FileId { device, inode: inode.member("i_number")?.unsigned()? }))
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

/// The name of a mount's file system, `ufs`.
fn file_system(mount: &Object<'_>) -> Result<Vec<u8>> {
    let name = mount.member("mnt_vfc")?.dereference()?.member("vfc_name")?;
    let at = name.address();
    Ok(mount.typed().memory.string(at, MAX_TYPE)?)
}

/// The number by which a mount's file system calls itself where it has no device.
fn file_system_id(mount: &Object<'_>) -> Result<u64> {
    // Such numbers have a sign, and those of devices have none.
    Ok(mount.member("mnt_stat.f_fsid.val")?.index(0)?.signed()?.cast_unsigned())
}
