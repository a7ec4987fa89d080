//! The objects that maps lead to, `struct vm_object` (`sys/vm/vm_object.h`), each of which may be a copy of parts of
//! another one; and what they are, by the kernel's table of pagers (`sys/vm/vm_pager.c`).

use super::map::{number, number_if_any};
use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};
use crate::types::{Kind, Tag};
use crate::units::Hex;
use ioctl_defs::user::{
    KVME_TYPE_DEAD, KVME_TYPE_DEVICE, KVME_TYPE_MGTDEVICE, KVME_TYPE_PHYS, KVME_TYPE_SG, KVME_TYPE_SWAP,
    KVME_TYPE_VNODE,
};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Objects behind those of entries, each as often as it is met: more than the map of any process has.
const MAX_LINKS: usize = 1 << 22;
/// `MAXPATHLEN`.
pub(super) const MAX_PATH: usize = 1024;

/// Bits of [`VmObject::flags`], `OBJ_…`.
#[derive(Debug, Clone, Copy)]
pub struct ObjectFlags;

impl ObjectFlags {
    /// Anonymous memory.
    pub const ANON: u32 = 0x10;
    /// `OBJ_PAGERPRIV1`: a tmpfs(5) file that has a vnode.
    pub const TMPFS: u32 = 0x4000;
    /// Shared memory of shmget(2).
    pub const SYSV_SHM: u32 = 0x1_0000;
    /// Shared memory of `shm_open(2)`.
    pub const POSIX_SHM: u32 = 0x2_0000;
}

/// What values of `obj_type` stand for, in kernels whose pagers do not say.
const TYPES: [(&str, i32); 8] = [
    ("OBJT_SWAP", KVME_TYPE_SWAP),
    ("OBJT_DEFAULT", KVME_TYPE_SWAP),
    ("OBJT_VNODE", KVME_TYPE_VNODE),
    ("OBJT_DEVICE", KVME_TYPE_DEVICE),
    ("OBJT_PHYS", KVME_TYPE_PHYS),
    ("OBJT_DEAD", KVME_TYPE_DEAD),
    ("OBJT_SG", KVME_TYPE_SG),
    ("OBJT_MGTDEVICE", KVME_TYPE_MGTDEVICE),
];

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmObject {
    /// Where its `struct vm_object` is.
    pub address: u64,
    /// `OBJT_…`, which other releases number otherwise.
    pub object_type: u32,
    /// What it is, `KVME_TYPE_…`; `None` where the kernel does not say.
    pub kvme_type: Option<i32>,
    /// See [`ObjectFlags`].
    pub flags: u32,
    /// How many refer to it.
    pub references: u32,
    /// How many objects are copies of parts of it.
    pub shadow_count: u32,
    /// Pages of it that are in memory.
    pub resident_pages: u64,
    /// Pages that it has.
    pub pages: u64,
    /// The object that it is a copy of a part of; 0 without one.
    pub backing: u64,
    /// Where in that object it begins, in bytes.
    pub backing_offset: u64,
}

impl VmObject {
    /// Whether a flag is set.
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// Reads objects, each once.
pub(crate) struct ObjectReader<'a> {
    typed: TypedMemory<'a>,
    objects: HashMap<u64, Rc<VmObject>>,
    /// What each type stands for, as far as that was asked.
    kinds: HashMap<u32, Option<i32>>,
    links: usize,
}

impl<'a> ObjectReader<'a> {
    pub fn new(typed: TypedMemory<'a>) -> Self {
        Self { typed, objects: HashMap::new(), kinds: HashMap::new(), links: 0 }
    }

    /// An object and those behind it; where one of these cannot be read, why.
    pub fn chain(&mut self, first: u64) -> (Vec<Rc<VmObject>>, Option<String>) {
        let mut chain: Vec<Rc<VmObject>> = Vec::new();
        let mut seen = HashSet::new();
        let mut next = first;
        while next != 0 {
            self.links += 1;
            if self.links > MAX_LINKS {
                return (chain, Some("there are more objects behind each other than are read".to_owned()));
            }
            if !seen.insert(next) {
                let (first, next) = (Hex(first), Hex(next));
                return (chain, Some(format!("the objects behind the one at {first} lead back to {next}")));
            }
            match self.object(next) {
                Ok(object) => {
                    next = object.backing;
                    chain.push(object);
                }
                Err(error) => return (chain, Some(format!("the object at {} cannot be read: {error}", Hex(next)))),
            }
        }
        (chain, None)
    }

    /// An object; each is read once.
    fn object(&mut self, address: u64) -> Result<Rc<VmObject>> {
        if let Some(known) = self.objects.get(&address) {
            return Ok(Rc::clone(known));
        }
        let read = Rc::new(self.read(address)?);
        self.objects.insert(address, Rc::clone(&read));
        Ok(read)
    }

    /// Reads an object.
    pub fn read(&mut self, address: u64) -> Result<VmObject> {
        let object = self.structure(address)?.fetched()?;
        let long = |name| object.member(name)?.unsigned();
        let object_type = number(&object, "type")?;
        Ok(VmObject {
            address,
            object_type,
            kvme_type: self.kvme_type(object_type)?,
            flags: number(&object, "flags")?,
            references: number(&object, "ref_count")?,
            shadow_count: number(&object, "shadow_count")?,
            resident_pages: long("resident_page_count")?,
            pages: long("size")?,
            backing: long("backing_object")?,
            backing_offset: long("backing_object_offset")?,
        })
    }

    /// The structure of an object.
    pub fn structure(&self, address: u64) -> Result<Object<'a>> {
        self.typed.structure_at("vm_object", address)
    }

    /// What objects of a type are: as their pager says, `pgo_kvme_type`, or by the names of the types.
    fn kvme_type(&mut self, object_type: u32) -> Result<Option<i32>> {
        if let Some(known) = self.kinds.get(&object_type) {
            return Ok(*known);
        }
        let by_pager = self.kvme_type_by_pager(object_type)?;
        let kind = by_pager.or_else(|| self.kvme_type_by_name(object_type));
        self.kinds.insert(object_type, kind);
        Ok(kind)
    }

    fn kvme_type_by_pager(&self, object_type: u32) -> Result<Option<i32>> {
        let Ok(table) = self.typed.variable("pagertab") else { return Ok(None) };
        if table.count().is_none_or(|count| u64::from(object_type) >= count) {
            return Err(Error::Format(format!("its type is {object_type}, and the kernel has no such pager")));
        }
        let Some(pager) = table.index(object_type.into())?.follow()? else {
            return Err(Error::Format(format!("its type is {object_type}, and the kernel has no such pager")));
        };
        if !pager.has_member("pgo_kvme_type") {
            return Ok(None);
        }
        Ok(i32::try_from(pager.member("pgo_kvme_type")?.signed()?).ok())
    }

    fn kvme_type_by_name(&self, object_type: u32) -> Option<i32> {
        let types = self.typed.types;
        let Kind::Enumeration(names) = &types.get(types.find(Some(Tag::Enumeration), "obj_type")?).kind else {
            return None;
        };
        let mut names = names.enumerators.iter().filter(|(_, value)| *value == i64::from(object_type));
        names.find_map(|(name, _)| Some(TYPES.iter().find(|(known, _)| *known == &**name)?.1))
    }

    /// The vnode of an object that is a file (`vm_object_vnode()`).
    pub fn vnode(&self, object: &VmObject) -> Result<Option<u64>> {
        if object.kvme_type != Some(KVME_TYPE_VNODE) {
            return Ok(None);
        }
        let structure = self.structure(object.address)?;
        let vnode = if object.has(ObjectFlags::TMPFS) {
            let node = structure.member("un_pager.swp.swp_priv")?.unsigned()?;
            self.typed.structure_at("tmpfs_node", node)?.member("tn_vnode")?.unsigned()?
        } else {
            // One of tmpfs(5) whose vnode is gone has none.
            structure.member("handle")?.unsigned()?
        };
        Ok(Some(vnode).filter(|vnode| *vnode != 0))
    }

    /// The name of a device or of shared memory (`cdev_pager_get_path()`, `shm_get_path()`); nothing where it has none.
    pub fn name(&self, object: &VmObject) -> Result<Vec<u8>> {
        let structure = self.structure(object.address)?;
        if object.has(ObjectFlags::POSIX_SHM) {
            let path = if object.kvme_type == Some(KVME_TYPE_PHYS) { "phys.phys_priv" } else { "swp.swp_priv" };
            let descriptor = structure.member(&format!("un_pager.{path}"))?.unsigned()?;
            return self.shm_path(descriptor);
        }
        match object.kvme_type {
            Some(KVME_TYPE_DEVICE | KVME_TYPE_MGTDEVICE) => self.device_name(&structure),
            _ => Ok(Vec::new()),
        }
    }

    fn shm_path(&self, descriptor: u64) -> Result<Vec<u8>> {
        if descriptor == 0 {
            return Ok(Vec::new());
        }
        let path = self.typed.structure_at("shmfd", descriptor)?.member("shm_path")?.string(MAX_PATH)?;
        Ok(path.into_iter().flatten().collect())
    }

    /// The name of a device in /dev, where its driver has no pager of its own.
    fn device_name(&self, object: &Object<'_>) -> Result<Vec<u8>> {
        let simple = self.typed.symbols.find("old_dev_pager_ops")?;
        let pager = number_if_any(object, "un_pager.devp.ops")?;
        let handle = number_if_any(object, "un_pager.devp.handle")?;
        match (simple, pager, handle) {
            (Some(simple), Some(pager), Some(handle)) if simple.address == pager && handle != 0 => {
                let name = self.typed.structure_at("cdev", handle)?.member("si_name")?;
                if name.count().is_some() {
                    name.text()
                } else {
                    Ok(name.string(MAX_PATH)?.into_iter().flatten().collect())
                }
            }
            _ => Ok(Vec::new()),
        }
    }
}
