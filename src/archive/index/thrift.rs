//! Thrift's compact protocol, in which Parquet describes itself (thrift/doc/specs/thrift-compact-protocol.md): the bytes to
//! values that borrow from them.

use super::IndexError;
use vmcore::bounds::{saturating_usize, split_at_most};

/// Structures in each other.
const MAX_DEPTH: u32 = 16;
const TOO_SHORT: IndexError = IndexError::Damaged("a structure is cut off");
const WRONG: IndexError = IndexError::Damaged("a structure is not as Thrift has it");

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Flag(bool),
    Integer(i64),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Struct(Fields<'a>),
    /// What no structure of Parquet needs here: a floating-point number or a map.
    Other,
}

/// The fields of a structure, by their numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields<'a>(Vec<(i16, Value<'a>)>);

impl<'a> Fields<'a> {
    /// A field.
    pub fn get(&self, number: i16) -> Option<&Value<'a>> {
        self.0.iter().find(|(own, _)| *own == number).map(|(_, value)| value)
    }

    /// A field that is an integer.
    pub fn integer(&self, number: i16) -> Option<i64> {
        match self.get(number)? {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// A field that is an integer not below 0.
    pub fn unsigned(&self, number: i16) -> Option<u64> {
        self.integer(number)?.try_into().ok()
    }

    /// A field that is bytes.
    pub fn bytes(&self, number: i16) -> Option<&'a [u8]> {
        match self.get(number)? {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A field that is a structure.
    pub fn fields(&self, number: i16) -> Option<&Self> {
        match self.get(number)? {
            Value::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// The structures of a field that is a list of them.
    pub fn structs(&self, number: i16) -> Option<Vec<&Self>> {
        let Value::List(values) = self.get(number)? else { return None };
        let fields = values.iter().map(|value| match value {
            Value::Struct(fields) => Some(fields),
            _ => None,
        });
        fields.collect()
    }
}

/// The bytes that are left.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], IndexError> {
        let (taken, rest) = split_at_most(self.rest, length);
        if taken.len() < length {
            return Err(TOO_SHORT);
        }
        self.rest = rest;
        Ok(taken)
    }

    /// A byte.
    pub fn byte(&mut self) -> Result<u8, IndexError> {
        let (first, rest) = self.rest.split_first().ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(*first)
    }

    /// An integer without a sign.
    pub fn varint(&mut self) -> Result<u64, IndexError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WRONG)
    }

    fn integer(&mut self) -> Result<i64, IndexError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
    }

    fn binary(&mut self) -> Result<&'a [u8], IndexError> {
        let length = self.varint()?;
        self.take(saturating_usize(length))
    }

    /// A structure.
    ///
    /// # Errors
    ///
    /// The bytes are none.
    pub fn structure(&mut self) -> Result<Fields<'a>, IndexError> {
        self.structure_within(MAX_DEPTH)
    }

    fn structure_within(&mut self, depth: u32) -> Result<Fields<'a>, IndexError> {
        let depth = depth.checked_sub(1).ok_or(WRONG)?;
        let mut fields = Fields::default();
        let mut number = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(fields);
            }
            number = match head >> 4 {
                0 => i16::try_from(self.integer()?).map_err(|_| WRONG)?,
                difference => number.checked_add(difference.into()).ok_or(WRONG)?,
            };
            let value = match head & 0xf {
                1 => Value::Flag(true),
                2 => Value::Flag(false),
                kind => self.value(kind, depth)?,
            };
            fields.0.push((number, value));
        }
    }

    /// A value of a kind. Each takes a byte at least, so that a list is no longer than the bytes.
    fn value(&mut self, kind: u8, depth: u32) -> Result<Value<'a>, IndexError> {
        Ok(match kind {
            1 | 2 => Value::Flag(self.byte()? == 1),
            3 => Value::Integer(i8::from_ne_bytes([self.byte()?]).into()),
            4..=6 => Value::Integer(self.integer()?),
            7 => {
                self.take(8)?;
                Value::Other
            }
            8 => Value::Bytes(self.binary()?),
            9 | 10 => Value::List(self.list(depth)?),
            11 => {
                self.map(depth)?;
                Value::Other
            }
            12 => Value::Struct(self.structure_within(depth)?),
            _ => return Err(WRONG),
        })
    }

    fn list(&mut self, depth: u32) -> Result<Vec<Value<'a>>, IndexError> {
        let depth = depth.checked_sub(1).ok_or(WRONG)?;
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.varint()?,
            length => length.into(),
        };
        if length > self.rest.len() as u64 {
            return Err(TOO_SHORT);
        }
        (0..length).map(|_| self.value(head & 0xf, depth)).collect()
    }

    fn map(&mut self, depth: u32) -> Result<(), IndexError> {
        let depth = depth.checked_sub(1).ok_or(WRONG)?;
        let length = self.varint()?;
        if length == 0 {
            return Ok(());
        }
        if length > self.rest.len() as u64 {
            return Err(TOO_SHORT);
        }
        let kinds = self.byte()?;
        for _ in 0..length {
            self.value(kinds >> 4, depth)?;
            self.value(kinds & 0xf, depth)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_structure_has_its_fields() {
        // 1: i32 -3; 2: binary "ab"; 20: list of two structs, of which the second has 1: true; 21: map; stop.
        let bytes =
            [0x15, 5, 0x18, 2, b'a', b'b', 0x09, 40, 0x2c, 0, 0x11, 0, 0x1b, 1, 0x88, 1, b'k', 1, b'v', 0, 0xff];
        let mut reader = Reader::new(&bytes);
        let fields = reader.structure().unwrap();
        assert_eq!((fields.integer(1), fields.bytes(2)), (Some(-3), Some(&b"ab"[..])));
        let structs = fields.structs(20).unwrap();
        assert_eq!((structs.len(), structs[1].get(1)), (2, Some(&Value::Flag(true))));
        assert_eq!((fields.get(21), fields.unsigned(1)), (Some(&Value::Other), None));
        assert_eq!(reader.rest(), [0xff]);
        for length in 0..bytes.len() - 1 {
            assert!(Reader::new(&bytes[..length]).structure().is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        assert_eq!(Reader::new(&[0x1c; 100]).structure(), Err(WRONG));
        assert_eq!(Reader::new(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xf]).structure(), Err(TOO_SHORT));
        assert_eq!(
            Reader::new(&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).structure(),
            Err(WRONG)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::new(&bytes).structure();
        }
    }
}
