//! Objects in a kernel's memory, as its types describe them: members, what pointers lead to, numbers and texts.
//!
//! ```no_run
//! use std::path::Path;
//! use vmcore::Kernel;
//! use vmcore::types::ctf::CtfTypes;
//!
//! # fn main() -> vmcore::Result<()> {
//! let mut kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
//! kernel.load_types(&mut CtfTypes::default())?;
//! let typed = kernel.typed()?;
//! let process = typed.variable("allproc")?.member("lh_first")?.dereference()?;
//! println!("{} {:?}", process.member("p_pid")?.signed()?, process.member("p_comm")?.text()?);
//! # Ok(())
//! # }
//! ```

use super::KernelMemory;
use crate::architecture::Endianness;
use crate::bounds::{head, low_u64, part, saturating_u32, saturating_usize};
use crate::error::{Error, Result};
use crate::fault::{Fault, Why};
use crate::symbols::Symbols;
use crate::text::until_nul;
use crate::types::{Kind, TypeId, TypeTable};
use crate::units::Hex;
use std::collections::HashSet;
use std::rc::Rc;

/// More bytes of a structure than any kernel has.
const MAX_OBJECT: u64 = 1 << 24;

/// A kernel's memory with its types and symbols.
#[derive(Clone, Copy)]
pub struct TypedMemory<'a> {
    /// Its memory, by virtual address.
    pub memory: &'a KernelMemory,
    /// Its types.
    pub types: &'a TypeTable,
    /// Who knows where its variables are.
    pub symbols: &'a dyn Symbols,
}

/// An object: an address with a type.
#[derive(Clone)]
pub struct Object<'a> {
    typed: TypedMemory<'a>,
    address: u64,
    type_id: TypeId,
    /// If it is a bit field: where it begins, in bits from the address, and how many it has.
    bits: Option<(u64, u32)>,
    /// Bytes that were read at once, and their address.
    contents: Option<(u64, Rc<[u8]>)>,
}

impl<'a> TypedMemory<'a> {
    /// An object of a type.
    pub fn object(self, address: u64, type_id: TypeId) -> Object<'a> {
        Object { typed: self, address, type_id, bits: None, contents: None }
    }

    /// The structure of a name, complete.
    ///
    /// # Errors
    ///
    /// The kernel's types have none.
    pub fn structure(self, name: &str) -> Result<TypeId> {
        self.types
            .structure(name)
            .ok_or_else(|| Error::Unsupported(format!("the kernel's types have no struct {name}")))
    }

    /// A structure at an address.
    ///
    /// # Errors
    ///
    /// Those of [`Self::structure`].
    pub fn structure_at(self, name: &str, address: u64) -> Result<Object<'a>> {
        Ok(self.object(address, self.structure(name)?))
    }

    /// A variable of the kernel or of a module.
    ///
    /// # Errors
    ///
    /// It has none of that name, or its type is not known.
    pub fn variable(self, name: &str) -> Result<Object<'a>> {
        let symbol = self.symbols.find(name)?;
        let symbol =
            symbol.ok_or_else(|| Error::Unsupported(format!("{} has no symbol {name}", self.symbols.source())))?;
        let mut named = self.types.variables_named(name).filter(|variable| !variable.is_function);
        let exact = self.types.variables_at(symbol.address).find(|variable| &*variable.name == name);
        // Others of the name may be other variables: they only tell the type if they agree.
        let found = exact.or_else(|| {
            let first = named.next()?;
            named.all(|other| other.type_id == first.type_id).then_some(first)
        });
        let found = found.ok_or_else(|| Error::Unsupported(format!("the type of {name} is not known")))?;
        Ok(self.object(symbol.address, found.type_id))
    }
}

impl<'a> Object<'a> {
    /// The memory that it is in.
    pub fn typed(&self) -> TypedMemory<'a> {
        self.typed
    }

    /// Where it is; of a bit field, the byte that its first bit is in.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its type.
    pub fn type_id(&self) -> TypeId {
        self.type_id
    }

    /// If it is a bit field: where it begins, in bits from [`Self::address`], and how many it has.
    pub fn bit_field(&self) -> Option<(u64, u32)> {
        self.bits
    }

    /// Its bytes in memory; `None` where its type has no size.
    pub fn size(&self) -> Option<u64> {
        match self.bits {
            Some((offset, bits)) => Some(offset.checked_add(bits.into())?.div_ceil(8)),
            None => self.typed.types.size_of(self.type_id),
        }
    }

    /// The same bytes as another type (a cast of what is at the address).
    pub fn with_type(&self, type_id: TypeId) -> Self {
        Self { type_id, bits: None, ..self.clone() }
    }

    /// The same object with all of its bytes read at once: its members are then taken from these.
    ///
    /// # Errors
    ///
    /// They cannot be read, or it has no size.
    pub fn fetched(&self) -> Result<Self> {
        let contents = self.bytes()?;
        Ok(Self { contents: Some((self.address, contents.into())), ..self.clone() })
    }

    /// So many elements of an array, or from where a pointer points to on, all of whose bytes are read at once.
    ///
    /// # Errors
    ///
    /// Those of [`Self::index`] and [`Self::leading_bytes`].
    pub fn elements(&self, count: u64) -> Result<Vec<Self>> {
        let first = self.index(0)?;
        let size = first.size().unwrap_or(u64::MAX);
        let contents: Rc<[u8]> = first.leading_bytes(size.saturating_mul(count))?.into();
        let contents = Some((first.address, contents));
        (0..count).map(|index| Ok(Self { contents: contents.clone(), ..self.index(index)? })).collect()
    }

    /// The member at the end of a path such as `p_vmspace` or `vm_map.header`: of structures within each other; pointers
    /// are not followed.
    ///
    /// # Errors
    ///
    /// There is no such member.
    pub fn member(&self, path: &str) -> Result<Self> {
        path.split('.').try_fold(self.clone(), |object, name| object.direct_member(name))
    }

    /// Whether there is a member at the end of a path: other releases have other ones.
    pub fn has_member(&self, path: &str) -> bool {
        self.member(path).is_ok()
    }

    fn direct_member(&self, name: &str) -> Result<Self> {
        let found = self.typed.types.member(self.type_id, name);
        let found = found.ok_or_else(|| {
            Error::Unsupported(format!("{} has no member {name}", self.typed.types.name_of(self.type_id)))
        })?;
        self.part(found.bit_offset, found.member.type_id, found.member.bits)
    }

    /// What begins so many bits behind the beginning of it: a member, whose type and bits, if it is a bit field, are known.
    ///
    /// # Errors
    ///
    /// It is beyond the address space.
    pub fn part(&self, bit_offset: u64, type_id: TypeId, bits: Option<u32>) -> Result<Self> {
        let address = self.address.checked_add(bit_offset / 8).ok_or(Fault::new(self.address, Why::NotCovered))?;
        Ok(Self { address, type_id, bits: bits.map(|bits| (bit_offset % 8, bits)), ..self.clone() })
    }

    /// What a pointer points to.
    ///
    /// # Errors
    ///
    /// It is none, or it cannot be read.
    pub fn dereference(&self) -> Result<Self> {
        let target = match &self.typed.types.get(self.typed.types.strip(self.type_id)).kind {
            Kind::Pointer(target) => *target,
            _ => return Err(Error::Unsupported(format!("{} is no pointer", self.typed.types.name_of(self.type_id)))),
        };
        Ok(self.typed.object(self.unsigned()?, target))
    }

    /// What a pointer points to; `None` where it is a null pointer.
    ///
    /// # Errors
    ///
    /// Those of [`Self::dereference`].
    pub fn follow(&self) -> Result<Option<Self>> {
        let target = self.dereference()?;
        Ok(Some(target).filter(|target| target.address != 0))
    }

    /// The structures of a list: what this pointer points to, and so on along a member of each, up to a null pointer.
    ///
    /// # Errors
    ///
    /// One of them cannot be read, the list leads back to itself, or it has more than so many.
    pub fn chain(&self, next: &str, limit: usize) -> Result<Vec<Self>> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut at = self.follow()?;
        while let Some(object) = at {
            if !seen.insert(object.address) {
                return Err(Error::Format(format!("a list leads back to {}", Hex(object.address))));
            }
            if found.len() >= limit {
                return Err(Error::Format(format!(
                    "a list goes on after {limit} structures, at {}",
                    Hex(object.address)
                )));
            }
            at = object.member(next)?.follow()?;
            found.push(object);
        }
        Ok(found)
    }

    /// An element of an array, whether it has so many or not; or what is so many elements behind where a pointer points to.
    ///
    /// # Errors
    ///
    /// It is neither, its elements have no size, or a pointer cannot be read.
    pub fn index(&self, index: u64) -> Result<Self> {
        let types = self.typed.types;
        let first = match &types.get(types.strip(self.type_id)).kind {
            Kind::Array { element, .. } => Self { type_id: *element, ..self.clone() },
            Kind::Pointer(_) => self.dereference()?,
            _ => return Err(Error::Unsupported(format!("{} is no array", types.name_of(self.type_id)))),
        };
        let size = types.size_of(first.type_id);
        let size = size.ok_or_else(|| Error::Unsupported(format!("{} has no size", types.name_of(first.type_id))))?;
        let address = size.checked_mul(index).and_then(|offset| first.address.checked_add(offset));
        Ok(Self { address: address.ok_or(Fault::new(first.address, Why::NotCovered))?, ..first })
    }

    /// How many elements an array has, by its type.
    pub fn count(&self) -> Option<u64> {
        match &self.typed.types.get(self.typed.types.strip(self.type_id)).kind {
            Kind::Array { count, .. } => *count,
            _ => None,
        }
    }

    /// Its bytes, as they are in memory.
    ///
    /// # Errors
    ///
    /// They cannot be read; its type has no size, or an implausible one.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let name = || self.typed.types.name_of(self.type_id);
        let size = self.size().ok_or_else(|| Error::Unsupported(format!("{} has no size", name())))?;
        self.leading_bytes(size)
    }

    /// So many bytes from its beginning on, whatever its own size is.
    ///
    /// # Errors
    ///
    /// They cannot be read, or are implausibly many.
    pub fn leading_bytes(&self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_OBJECT {
            let name = self.typed.types.name_of(self.type_id);
            return Err(Error::Unsupported(format!("{name} has {size} bytes, more than are read at once")));
        }
        if let Some((start, contents)) = &self.contents
            && let Some(from) = self.address.checked_sub(*start)
            && let Some(to) = from.checked_add(size).filter(|to| *to <= contents.len() as u64)
        {
            return Ok(part(contents, saturating_usize(from)..saturating_usize(to)).to_vec());
        }
        let mut bytes = vec![0; saturating_usize(size)];
        self.typed.memory.read(self.address, &mut bytes)?;
        Ok(bytes)
    }

    /// The value of an integer, an enumeration, a pointer or a bit field, without its sign.
    ///
    /// # Errors
    ///
    /// It is none of these, or cannot be read.
    pub fn unsigned(&self) -> Result<u64> {
        let types = self.typed.types;
        match types.get(types.strip(self.type_id)).kind {
            Kind::Integer(_) | Kind::Enumeration(_) | Kind::Pointer(_) => {}
            _ => return Err(Error::Unsupported(format!("{} is no number", types.name_of(self.type_id)))),
        }
        let bytes = self.bytes()?;
        let (offset, bits) = self.bits.unwrap_or((0, 0));
        if bytes.len() > 16 || (self.bits.is_none() && bytes.len() > 8) || bits > 64 {
            return Err(Error::Unsupported(format!("{} is too large a number", types.name_of(self.type_id))));
        }
        let order = self.typed.memory.order();
        let Some((_, bits)) = self.bits else { return Ok(order.number(&bytes)) };
        Ok(extract(order, &bytes, offset, bits))
    }

    /// The value of an integer, an enumeration, a pointer or a bit field, with its sign where its type has one.
    ///
    /// # Errors
    ///
    /// Those of [`Self::unsigned`].
    pub fn integer(&self) -> Result<i128> {
        let value = self.unsigned()?;
        let types = self.typed.types;
        let is_signed = match types.get(types.strip(self.type_id)).kind {
            Kind::Integer(integer) => integer.is_signed,
            Kind::Enumeration(ref enumeration) => enumeration.enumerators.iter().any(|(_, value)| *value < 0),
            _ => false,
        };
        let bits =
            self.bits.map_or_else(|| self.size().map_or(64, |size| size.saturating_mul(8)), |(_, bits)| bits.into());
        if !is_signed || !(1..64).contains(&bits) {
            return Ok(if is_signed { value.cast_signed().into() } else { value.into() });
        }
        let shift = 64 - bits;
        Ok((value << shift).cast_signed().wrapping_shr(saturating_u32(shift)).into())
    }

    /// The value of a signed integer.
    ///
    /// # Errors
    ///
    /// Those of [`Self::unsigned`]; it is too large.
    pub fn signed(&self) -> Result<i64> {
        let value = self.integer()?;
        i64::try_from(value).map_err(|_| Error::Unsupported(format!("{} is too large a number", Hex(self.address))))
    }

    /// The text in an array of characters, up to a NUL.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn text(&self) -> Result<Vec<u8>> {
        Ok(until_nul(&self.bytes()?).to_vec())
    }

    /// The text that a pointer leads to, up to a NUL and at most so many bytes; nothing of a null pointer.
    ///
    /// # Errors
    ///
    /// It is no pointer, or it or the text cannot be read.
    pub fn string(&self, limit: usize) -> Result<Option<Vec<u8>>> {
        let address = self.unsigned()?;
        if address == 0 {
            return Ok(None);
        }
        let text = self.typed.memory.string(address, limit)?;
        Ok(Some(head(&text, limit).to_vec()))
    }
}

/// The bits of a bit field.
fn extract(order: Endianness, bytes: &[u8], offset: u64, bits: u32) -> u64 {
    let join = |value: u128, byte: &u8| value << 8 | u128::from(*byte);
    let (whole, shift) = match order {
        Endianness::Little => (bytes.iter().rev().fold(0, join), offset),
        Endianness::Big => {
            let all = bytes.len() as u64 * 8;
            (bytes.iter().fold(0, join), all.saturating_sub(offset).saturating_sub(bits.into()))
        }
    };
    let mask = 1_u128.checked_shl(bits).map_or(u128::MAX, |above| above - 1);
    low_u64(whole >> shift.min(127) & mask)
}
