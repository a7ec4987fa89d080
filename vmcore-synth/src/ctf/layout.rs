//! Objects in memory as types lay them out.

use super::{Builder, Definition, Type, kinds};
use crate::Endianness;

/// Where something is in an object.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// In bits from its beginning.
    offset: u64,
    of: Type,
}

impl Builder {
    /// A type behind its typedefs and qualifiers.
    fn plain(&self, of: Type) -> Type {
        match self.described(of).definition {
            Definition::Reference(kind, target) if kind != kinds::POINTER => self.plain(target),
            _ => of,
        }
    }

    /// Bytes of a type.
    #[track_caller]
    pub fn size_of(&self, of: Type) -> u64 {
        match &self.described(self.plain(of)).definition {
            Definition::Integer { size, .. }
            | Definition::Float { size, .. }
            | Definition::Aggregate { size, .. }
            | Definition::Enumeration { size, .. } => *size,
            Definition::Reference(..) => self.spec.word as u64,
            Definition::Array { element, count, .. } => self.size_of(*element) * u64::from(*count),
            Definition::Reserved | Definition::Function { .. } | Definition::Forward(_) => {
                panic!("{of:?} has no size")
            }
        }
    }

    /// What the address of a type is a multiple of.
    pub fn align_of(&self, of: Type) -> u64 {
        match &self.described(self.plain(of)).definition {
            Definition::Array { element, .. } => self.align_of(*element),
            Definition::Aggregate { members, .. } => {
                members.iter().map(|(_, of, _)| self.align_of(*of)).max().unwrap_or(1)
            }
            _ => self.size_of(of).max(1),
        }
    }

    /// How many bits a type has as a member: fewer than its bytes have, of a bit field.
    fn bits_of(&self, of: Type) -> u64 {
        match self.described(self.plain(of)).definition {
            Definition::Integer { bits, .. } => bits.into(),
            _ => 8 * self.size_of(of),
        }
    }

    /// The size of a structure of these members, and where they begin, in bits.
    pub(super) fn lay_out(&self, members: &[(&str, Type)]) -> (u64, Vec<u64>) {
        let (mut next, mut align, mut offsets) = (0, 1, Vec::new());
        for (_, of) in members {
            let (bits, unit) = (self.bits_of(*of), 8 * self.align_of(*of));
            let is_bit_field = bits != 8 * self.size_of(*of);
            let fits = is_bit_field && next / unit == (next + bits - 1) / unit;
            let offset: u64 = if fits { next } else { next.next_multiple_of(unit) };
            offsets.push(offset);
            next = offset + bits;
            align = align.max(unit / 8);
        }
        (next.div_ceil(8).next_multiple_of(align), offsets)
    }

    /// The member of that name, or of an unnamed structure or union in it.
    fn member(&self, of: Type, name: &str) -> Option<Place> {
        let Definition::Aggregate { members, .. } = &self.described(self.plain(of)).definition else { return None };
        members.iter().find_map(|(found, of, offset)| match found.as_str() {
            "" => self.member(*of, name).map(|inner| Place { offset: offset + inner.offset, ..inner }),
            found => (found == name).then_some(Place { offset: *offset, of: *of }),
        })
    }

    #[track_caller]
    fn place(&self, of: Type, path: &str) -> Place {
        let mut place = Place { offset: 0, of };
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            if let Some(index) = step.strip_suffix(']') {
                let Definition::Array { element, .. } = self.described(self.plain(place.of)).definition else {
                    panic!("{path}: there is no array before [{step}");
                };
                let index: u64 = index.parse().expect("an index is a number");
                place = Place { offset: place.offset + 8 * index * self.size_of(element), of: element };
                continue;
            }
            let inner = self.member(place.of, step).unwrap_or_else(|| panic!("{path}: there is no member {step}"));
            place = Place { offset: place.offset + inner.offset, ..inner };
        }
        place
    }

    /// Where a member begins, in bytes from the beginning of the object: `vm_map.header.start`, `p_comm[3]`.
    #[track_caller]
    pub fn offset_of(&self, of: Type, path: &str) -> u64 {
        let offset = self.place(of, path).offset;
        assert_eq!(offset % 8, 0, "{path} is within a byte");
        offset / 8
    }

    /// The type of a member.
    #[track_caller]
    pub fn type_of(&self, of: Type, path: &str) -> Type {
        self.place(of, path).of
    }

    /// What a pointer points to.
    pub fn target(&self, of: Type) -> Option<Type> {
        match self.described(self.plain(of)).definition {
            Definition::Reference(kind, target) if kind == kinds::POINTER => Some(target),
            _ => None,
        }
    }

    /// Where the members of a name are, in bytes from the beginning of the object: its own, and those of structures and unions
    /// in it.
    pub fn offsets_of(&self, of: Type, name: &str) -> Vec<u64> {
        let Definition::Aggregate { members, .. } = &self.described(self.plain(of)).definition else {
            return Vec::new();
        };
        let offsets = members.iter().flat_map(|(found, of, offset)| {
            let own = (found == name).then_some(offset / 8);
            own.into_iter().chain(self.offsets_of(*of, name).into_iter().map(move |inner| offset / 8 + inner))
        });
        offsets.collect()
    }

    /// Writes a number, or an address, into a member of an object; without a path, into all of it.
    #[track_caller]
    pub fn set(&self, bytes: &mut [u8], of: Type, path: &str, value: impl Into<i128>) {
        let (place, value) = (self.place(of, path), value.into());
        let bits = self.bits_of(place.of);
        assert!(bits <= 64, "{path} is no number");
        let is_in_range = value >> bits == 0 || value >> (bits - 1) == -1;
        assert!(is_in_range, "{path} has {bits} bits: {value:#x}");
        for bit in 0..bits {
            let is_set = value >> bit & 1 == 1;
            let (at, mask) = match self.spec.order {
                Endianness::Little => (place.offset + bit, 1 << ((place.offset + bit) % 8)),
                Endianness::Big => {
                    let at = place.offset + bits - 1 - bit;
                    (at, 0x80 >> (at % 8))
                }
            };
            let byte = &mut bytes[(at / 8) as usize];
            *byte = if is_set { *byte | mask } else { *byte & !mask };
        }
    }

    /// Writes text into an array, with NULs behind it.
    #[track_caller]
    pub fn set_text(&self, bytes: &mut [u8], of: Type, path: &str, text: &str) {
        let place = self.place(of, path);
        let (from, size) = ((place.offset / 8) as usize, self.size_of(place.of) as usize);
        assert!(text.len() <= size, "{path} has room for {size} bytes: {text}");
        bytes[from..from + size].fill(0);
        bytes[from..from + text.len()].copy_from_slice(text.as_bytes());
    }
}
