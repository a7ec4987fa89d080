//! Who holds a page that belongs to an object, by the object.
//!
//! Source: `sys/vm/vm_object.h`.

use super::held::PageHolder;
use crate::error::Result;
use crate::kernel::TypedMemory;
use crate::vm::{ObjectFlags, ObjectReader, VmObject};
use ioctl_defs::user::{
    KVME_TYPE_DEVICE, KVME_TYPE_MGTDEVICE, KVME_TYPE_PHYS, KVME_TYPE_SG, KVME_TYPE_SWAP, KVME_TYPE_VNODE,
};
use std::collections::HashMap;

/// The kernel's own objects: variables that are such, and those that point to one.
const KERNEL_OBJECTS: [&str; 2] = ["kernel_object_store", "kmem_object_store"];
const STACK_OBJECTS: [&str; 2] = ["kstack_object", "kstack_alt_object"];

/// Knows the holders of objects, each of which is read once.
pub(in crate::inventory::memory) struct Holders<'a> {
    objects: ObjectReader<'a>,
    known: HashMap<u64, PageHolder>,
    /// That of the page before, which mostly is that of the next.
    last: (u64, PageHolder),
    has_anonymous: bool,
}

impl<'a> Holders<'a> {
    /// `has_anonymous`: whether flags of objects tell which is anonymous memory.
    pub fn new(typed: TypedMemory<'a>, has_anonymous: bool) -> Self {
        let stores = KERNEL_OBJECTS.iter().filter_map(|name| Some((typed.symbol(name).ok()?, PageHolder::Kernel)));
        let stack = |name: &&str| Some((typed.variable(name).ok()?.unsigned().ok()?, PageHolder::KernelStack));
        let known = stores.chain(STACK_OBJECTS.iter().filter_map(stack)).collect();
        Self { objects: ObjectReader::new(typed), known, last: (0, PageHolder::Other), has_anonymous }
    }

    /// Who holds the pages of an object.
    ///
    /// # Errors
    ///
    /// The object cannot be read, which is said of each object once: its pages are of another holder.
    pub fn of_object(&mut self, address: u64) -> Result<PageHolder> {
        if self.last.0 == address {
            return Ok(self.last.1);
        }
        let known = self.known.get(&address).copied();
        let holder = known.map_or_else(|| self.objects.read(address).map(|object| self.classify(&object)), Ok);
        let kept = holder.as_ref().copied().unwrap_or(PageHolder::Other);
        self.known.insert(address, kept);
        self.last = (address, kept);
        holder
    }

    fn classify(&self, object: &VmObject) -> PageHolder {
        match object.kvme_type {
            Some(KVME_TYPE_VNODE) => PageHolder::File,
            Some(KVME_TYPE_SWAP) if !self.has_anonymous => PageHolder::Swappable,
            Some(KVME_TYPE_SWAP) if object.has(ObjectFlags::ANON) => PageHolder::Anonymous,
            Some(KVME_TYPE_SWAP | KVME_TYPE_PHYS) if object.has(ObjectFlags::POSIX_SHM | ObjectFlags::SYSV_SHM) => {
                PageHolder::Shared
            }
            Some(KVME_TYPE_SWAP) => PageHolder::Swappable,
            Some(KVME_TYPE_DEVICE | KVME_TYPE_MGTDEVICE) => PageHolder::Device,
            Some(KVME_TYPE_PHYS) => PageHolder::Physical,
            Some(KVME_TYPE_SG) => PageHolder::ScatterGather,
            _ => PageHolder::Other,
        }
    }
}
