//! The descriptors of a process.
//!
//! Sources: `struct filedesc`, `fdescenttbl` and `filedescent` in `sys/sys/filedesc.h`.

use crate::bounds::{part, saturating_usize};
use crate::error::{Error, Result};
use crate::kernel::Object;
use std::ops::Range;

/// Descriptors that are read at once.
const AT_ONCE: u64 = 1 << 12;

/// The table of a process's descriptors.
pub(crate) struct DescriptorTable<'a> {
    first: Object<'a>,
    /// Bytes from one to the next.
    size: u64,
    /// Descriptors that it has room for.
    pub count: u64,
    /// Where a descriptor has the pointer to its file, and its flags.
    file: Range<usize>,
    flags: Range<usize>,
}

/// A descriptor that is in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    /// Its number.
    pub number: u64,
    /// The address of its `struct file`.
    pub file: u64,
    /// Its flags, `UF_*`.
    pub flags: u64,
}

impl<'a> DescriptorTable<'a> {
    /// That of a `struct filedesc`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has no room: as long as a process has a table, it has room for some.
    pub fn new(descriptors: &Object<'a>) -> Result<Self> {
        let table = descriptors.member("fd_files")?.follow()?;
        let table = table.ok_or_else(|| Error::Format("fd_files is null".to_owned()))?;
        let count = table.member("fdt_nfiles")?.signed()?;
        let room = u64::try_from(count).ok().filter(|room| *room > 0);
        let count = room.ok_or_else(|| Error::Format(format!("fdt_nfiles is {count}")))?;
        let first = table.member("fdt_ofiles")?.index(0)?;
        let size = first.size().filter(|size| *size > 0);
        let size = size.ok_or_else(|| Error::Unsupported("descriptors have no size".to_owned()))?;
        let place = |member: &str| {
            let member = first.member(member)?;
            let start = saturating_usize(member.address().wrapping_sub(first.address()));
            Ok::<_, Error>(start..start.saturating_add(saturating_usize(member.size().unwrap_or(0))))
        };
        let (file, flags) = (place("fde_file")?, place("fde_flags")?);
        Ok(Self { first, size, count, file, flags })
    }

    /// Hands over those of the first ones, so many, that are in use.
    ///
    /// # Errors
    ///
    /// The next one cannot be read.
    pub fn each_used(&self, count: u64, mut take: impl FnMut(Descriptor)) -> Result<()> {
        let mut from = 0;
        while from < count {
            let wanted = (count - from).min(AT_ONCE);
            let (bytes, read) = match self.bytes(from, wanted) {
                Ok(bytes) => (bytes, wanted),
                // Those before it can be.
                Err(_) => (self.bytes(from, 1)?, 1),
            };
            for (number, bytes) in (from..).zip(bytes.chunks_exact(saturating_usize(self.size))) {
                let at = |place: &Range<usize>| self.first.typed().memory.order().number(part(bytes, place.clone()));
                let descriptor = Descriptor { number, file: at(&self.file), flags: at(&self.flags) };
                if descriptor.file != 0 {
                    take(descriptor);
                }
            }
            from += read;
        }
        Ok(())
    }

    fn bytes(&self, from: u64, count: u64) -> Result<Vec<u8>> {
        let at = self.first.address().wrapping_add(from.saturating_mul(self.size));
        let first = self.first.typed().object(at, self.first.type_id());
        first.leading_bytes(self.size.saturating_mul(count))
    }
}
