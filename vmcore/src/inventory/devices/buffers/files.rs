//! The files that buffers are of.
//!
//! Sources: `struct vnode` in `sys/sys/vnode.h`, `struct mount` in `sys/sys/mount.h`, `struct cdev` in `sys/sys/conf.h`.

use crate::error::Result;
use crate::inventory::fields::Fields;
use crate::inventory::reader::Reader;
use crate::kernel::Object;
use crate::text::Name;
use crate::units::Hex;
use crate::vm::NameCache;
use serde::Serialize;
use std::collections::BTreeMap;

/// The type of a vnode that is a device.
const DEVICE: &str = "VCHR";

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BufferFile {
    /// Where its `struct vnode` is.
    pub address: Hex,
    /// What it is: `VREG`, `VDIR`, `VCHR`.
    #[serde(rename = "vnode_type")]
    pub kind: Option<String>,
    /// Where its file system is mounted.
    pub mounted_on: Option<Name>,
    /// Of a device, its name.
    #[serde(rename = "device_name")]
    pub device: Option<Name>,
    /// Its path, or the end of it, as far as the name cache has it.
    pub path: Option<Name>,
}

impl BufferFile {
    /// What it is best known by.
    pub(super) fn shown(&self) -> Option<&Name> {
        self.path.as_ref().or(self.device.as_ref())
    }
}

/// Finds files; each once.
pub(super) struct Files<'a> {
    names: Option<NameCache<'a>>,
    known: BTreeMap<u64, BufferFile>,
}

impl<'a> Files<'a> {
    pub fn new(reader: &mut Reader<'a>) -> Self {
        let names = NameCache::new(reader.typed);
        Self { names: reader.keep(|| "the name cache".to_owned(), names), known: BTreeMap::new() }
    }

    /// Adds the file of a vnode.
    pub fn add(&mut self, reader: &mut Reader<'a>, vnode: u64) {
        if self.known.contains_key(&vnode) {
            return;
        }
        let structure = reader.typed.structure_at("vnode", vnode);
        if let Some(structure) = reader.keep(|| "struct vnode".to_owned(), structure) {
            let file = self.read(reader, &structure);
            self.known.insert(vnode, file);
        }
    }

    /// All files, in the order of their addresses.
    pub fn into_list(self) -> Vec<BufferFile> {
        self.known.into_values().collect()
    }

    fn read(&mut self, reader: &mut Reader<'a>, vnode: &Object<'a>) -> BufferFile {
        let mut fields = Fields::new(reader, "vnode", vnode);
        let kind = fields.enumerator("v_type");
        let mounted_on = fields.target("v_mount").map(|mount| mount_point(&mount));
        let mounted_on = mounted_on.and_then(|name| fields.keep("the mount point", name));
        let is_device = kind.as_deref() == Some(DEVICE);
        let device = if is_device { fields.target("v_rdev").map(|device| device_name(&device)) } else { None };
        let device = device.and_then(|name| fields.keep("the name of the device", name));
        // File systems have their devices by vnodes of their own, which the name cache knows nothing of.
        let names = self.names.as_mut().filter(|_| !is_device);
        let path = names.map(|names| names.path(vnode.address()));
        let path = path.and_then(|(path, read)| {
            fields.keep("the path", read);
            Some(Name::from(&*path.path)).filter(|path| !path.is_empty())
        });
        BufferFile { address: Hex(vnode.address()), kind, mounted_on, device, path }
    }
}

fn mount_point(mount: &Object<'_>) -> Result<Name> {
    Ok(mount.member("mnt_stat")?.member("f_mntonname")?.text()?.into())
}

fn device_name(device: &Object<'_>) -> Result<Name> {
    Ok(device.member("si_name")?.text()?.into())
}
