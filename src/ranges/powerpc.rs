//! What a powerpc kernel does with a request to change memory ranges (`ppc_mrset`, `sys/powerpc/powerpc/mem.c`).
//!
//! Its ranges are a list of 8 entries, not registers. They give mappings of /dev/mem made from then on their cache type
//! (`memmmap`), and change nothing else. Nothing is asked of base, length and type.

use super::request::{Request, Violation, nearest};
use super::{CacheType, Descriptor, Owner};
use ioctl_defs::memrange::Mdf;

/// An entry that is not in use: `bzero()`.
fn free() -> Descriptor {
    Descriptor { base: 0, length: 0, flags: Mdf::empty(), owner: Owner::default() }
}

/// Carries out a request on the kernel's list; on an error it is unchanged.
pub(super) fn apply(list: &mut [Descriptor], request: &Request) -> Result<(), Violation> {
    match request {
        Request::Update(wanted) => update(list, wanted),
        Request::Remove(wanted) => remove(list, wanted),
    }
}

/// The first entry without a length is taken. Only those in front of it are looked at.
fn update(list: &mut [Descriptor], wanted: &Descriptor) -> Result<(), Violation> {
    let slots = list.len();
    let found = list.iter_mut().find(|range| range.length == 0 || range.has_extent_of(wanted));
    match found.ok_or(Violation::NoSlot { slots })? {
        entry if entry.length == 0 => {
            *entry = Descriptor { flags: wanted.flags | Mdf::ACTIVE, ..wanted.clone() };
            Ok(())
        }
        range => Err(Violation::Exists { range: range.clone() }),
    }
}

fn remove(list: &mut [Descriptor], wanted: &Descriptor) -> Result<(), Violation> {
    let nearest = nearest(list, wanted.base);
    let range = list.iter_mut().find(|range| range.has_extent_of(wanted));
    *range.ok_or(Violation::NotFound { nearest })? = free();
    Ok(())
}

/// The type that a mapping of /dev/mem gets at an address that a range covers; `None`: the same as without the range.
pub(super) fn type_of_mapping(range: &Descriptor) -> Option<CacheType> {
    range.cache().filter(|cache| *cache != CacheType::WriteProtect)
}
