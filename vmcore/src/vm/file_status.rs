//! What stat(2) says of a file, from the node of its file system in memory (`VOP_GETATTR()` of each): which file it is, its
//! permissions and its size.
//!
//! Sources: `sys/ufs/ufs/inode.h`, `sys/fs/tmpfs/tmpfs.h`, `sys/fs/devfs/devfs.h`, `devfs_getattr()` in
//! `sys/fs/devfs/devfs_vnops.c`, `sys/fs/nullfs/null.h`, `sys/contrib/openzfs/include/sys/zfs_znode.h`.

use super::map::number_if_any;
use crate::error::Result;
use crate::kernel::{Object, TypedMemory};
use crate::types::{Tag, TypeId};

/// A file system's name has not more bytes.
const MAX_TYPE: usize = 16;
/// Permissions in a mode; the other bits say what kind of file it is.
const PERMISSIONS: u64 = 0o7777;
/// A directory and a symbolic link, in `v_type`.
const VDIR: u64 = 2;
const VLNK: u64 = 5;
/// The size of a directory of devfs(5), `DEV_BSIZE`.
const DEVFS_DIRECTORY: u64 = 512;

/// Which file it is, as stat(2) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The number of its file system's device, `st_dev`.
    pub device: u64,
    /// Its number in the file system, `st_ino`.
    pub inode: u64,
}

/// What stat(2) says of a file; `None` where its node does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileStatus {
    /// Which file it is.
    pub id: Option<FileId>,
    /// Its permissions, such as `0o644`.
    pub permissions: Option<u64>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

impl FileStatus {
    /// Reads it of the file whose `struct vnode` this is; nothing where the nodes of its file system are not known.
    ///
    /// # Errors
    ///
    /// The file's node, or its file system, cannot be read.
    pub fn read(file: &Object<'_>) -> Result<Option<Self>> {
        let Some(mount) = file.member("v_mount")?.follow()? else { return Ok(None) };
        match &*file_system(&mount)? {
            b"nullfs" => {
                let below = file.typed().structure_at("vnode", lower(file)?)?.fetched()?;
                let Some(mount_below) = below.member("v_mount")?.follow()? else { return Ok(None) };
                let status = of_node(&below, &mount_below, &file_system(&mount_below)?)?;
                let device = file_system_id(&mount)?;
                let of_mount = |id: FileId| FileId { device, ..id };
                Ok(status.map(|status| Self { id: status.id.map(of_mount), ..status }))
            }
            name => of_node(file, &mount, name),
        }
    }
}

/// The file's own node, by the name of its file system.
fn of_node(file: &Object<'_>, mount: &Object<'_>, name: &[u8]) -> Result<Option<FileStatus>> {
    let node = file.member("v_data")?.unsigned()?;
    let typed = file.typed();
    let structure = match name {
        b"ufs" => return ufs(typed, node),
        b"devfs" => return devfs(file, mount, node),
        b"tmpfs" => "tmpfs_node",
        b"zfs" => "znode",
        _ => return Ok(None),
    };
    let prefix = if name == b"zfs" { "z" } else { "tn" };
    let Some(structure) = typed.types.structure(structure) else { return Ok(None) };
    let node = typed.object(node, structure).fetched()?;
    let member = |suffix: &str| number_if_any(&node, &format!("{prefix}_{suffix}"));
    let device = file_system_id(mount)?;
    Ok(Some(FileStatus {
        id: member("id")?.map(|inode| FileId { device, inode }),
        permissions: member("mode")?.map(permissions),
        size: member("size")?,
    }))
}

/// Other file systems have a `struct inode` too.
fn ufs(typed: TypedMemory<'_>, node: u64) -> Result<Option<FileStatus>> {
    let types = typed.types;
    let is_ufs = |id: &TypeId| {
        let mount = types.member(*id, "i_ump").and_then(|found| types.target(found.member.type_id));
        mount.is_some_and(|mount| types.member(mount, "um_dev").is_some())
    };
    let Some(structure) = types.lookup(Some(Tag::Structure), "inode").into_iter().find(is_ufs) else {
        return Ok(None);
    };
    let inode = typed.object(node, structure).fetched()?;
    let device = inode.member("i_ump")?.dereference()?.member("um_dev")?.unsigned()?;
    let device = typed.structure_at("cdev_priv", device)?.member("cdp_inode")?.unsigned()?;
    Ok(Some(FileStatus {
        id: Some(FileId { device, inode: inode.member("i_number")?.unsigned()? }),
        permissions: number_if_any(&inode, "i_mode")?.map(permissions),
        size: number_if_any(&inode, "i_size")?,
    }))
}

/// A directory's node is that of its entry `.` unless it has one of its own.
fn devfs(file: &Object<'_>, mount: &Object<'_>, node: u64) -> Result<Option<FileStatus>> {
    let Some(structure) = file.typed().types.structure("devfs_dirent") else { return Ok(None) };
    let mut entry = file.typed().object(node, structure).fetched()?;
    let kind = file.member("v_type")?.unsigned()?;
    if kind == VDIR
        && let Some(directory) = entry.member("de_dir")?.follow()?
    {
        entry = directory.fetched()?;
    }
    let (device, inode) = (file_system_id(mount)?, entry.member("de_inode")?.unsigned()?);
    Ok(Some(FileStatus {
        id: Some(FileId { device, inode }),
        permissions: number_if_any(&entry, "de_mode")?.map(permissions),
        size: match kind {
            VDIR => Some(DEVFS_DIRECTORY),
            // The length of where it leads to.
            VLNK => None,
            _ => Some(0),
        },
    }))
}

const fn permissions(mode: u64) -> u64 {
    mode & PERMISSIONS
}

/// The vnode that one of nullfs(5) stands for.
pub(super) fn lower(file: &Object<'_>) -> Result<u64> {
    let node = file.typed().structure_at("null_node", file.member("v_data")?.unsigned()?)?;
    node.member("null_lowervp")?.unsigned()
}

/// The name of a mount's file system, `ufs`.
pub(super) fn file_system(mount: &Object<'_>) -> Result<Vec<u8>> {
    let name = mount.member("mnt_vfc")?.dereference()?.member("vfc_name")?;
    let at = name.address();
    Ok(mount.typed().memory.string(at, MAX_TYPE)?)
}

/// The number by which a mount's file system calls itself where it has no device.
fn file_system_id(mount: &Object<'_>) -> Result<u64> {
    // Such numbers have a sign, and those of devices have none.
    Ok(mount.member("mnt_stat.f_fsid.val")?.index(0)?.signed()?.cast_unsigned())
}
