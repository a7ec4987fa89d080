//! Where variables are, by their locations in DWARF, and how their memory has their values.
//!
//! The location of a variable of which the compiler has kept a byte that tells which of two values it has (see [`Storage`])
//! computes the value from that byte: `DW_OP_addr A, DW_OP_deref_size 1, DW_OP_lit9, DW_OP_mul, DW_OP_lit0, DW_OP_plus,
//! DW_OP_stack_value` (DWARF 5, 2.5 and 2.6.1.1.4).

use super::Slice;
use crate::types::{Storage, TwoValues};
use gimli::{Attribute, Dwarf, Operation};

/// Values that are on the stack of such a location at once.
const MAX_STACK: usize = 4;

/// Where a variable is, or a function begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) address: u64,
    pub(super) storage: Storage,
}

impl Location {
    /// Where something is that is there as its type says.
    pub(super) fn plain(address: u64) -> Self {
        Self { address, storage: Storage::Plain }
    }

    /// The location of a variable that is at one place alone; `None` of others.
    pub(super) fn read<'a>(
        dwarf: &Dwarf<Slice<'a>>,
        unit: &gimli::Unit<Slice<'a>>,
        attribute: &Attribute<Slice<'a>>,
    ) -> gimli::Result<Option<Self>> {
        let Some(expression) = attribute.exprloc_value() else { return Ok(None) };
        let mut operations = expression.operations(unit.encoding());
        let mut address = match operations.next()? {
            Some(Operation::Address { address }) => address,
            Some(Operation::AddressIndex { index }) => dwarf.address(unit, index)?,
            _ => return Ok(None),
        };
        let mut computed = Computed::default();
        while let Some(operation) = operations.next()? {
            match operation {
                // Static variables that a compiler has put together are told by the first of them.
                Operation::PlusConstant { value } if computed.stack.is_empty() => address = address.wrapping_add(value),
                operation => {
                    if computed.apply(&operation).is_none() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(computed.storage().map(|storage| Self { address, storage }))
    }
}

/// A value that depends on a byte in memory: a number, and so many times the byte, modulo 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Linear {
    factor: u64,
    base: u64,
}

/// What was computed from the byte at an address.
#[derive(Debug, Default)]
struct Computed {
    stack: Vec<Linear>,
    /// Whether what is on the stack is the value, and not where it is.
    is_value: bool,
}

impl Computed {
    /// Does what an operation says; `None` of one that is none of a variable's with two values.
    fn apply(&mut self, operation: &Operation<Slice<'_>>) -> Option<()> {
        if self.is_value || self.stack.len() >= MAX_STACK {
            return None;
        }
        let constant = |base| Linear { factor: 0, base };
        let result = match *operation {
            // It is the address that is on the stack.
            Operation::Deref { size: 1, space: false, .. } if self.stack.is_empty() => Linear { factor: 1, base: 0 },
            _ if self.stack.is_empty() => return None,
            Operation::UnsignedConstant { value } => constant(value),
            Operation::SignedConstant { value } => constant(value.cast_unsigned()),
            Operation::PlusConstant { value } => self.stack.pop()?.plus(constant(value)),
            Operation::Neg => self.stack.pop()?.negated(),
            Operation::Not => self.stack.pop()?.negated().plus(constant(u64::MAX)),
            Operation::Plus => self.stack.pop()?.plus(self.stack.pop()?),
            Operation::Minus => self.stack.pop()?.negated().plus(self.stack.pop()?),
            Operation::Mul => self.stack.pop()?.times(self.stack.pop()?)?,
            Operation::StackValue => {
                self.is_value = true;
                return Some(());
            }
            _ => return None,
        };
        self.stack.push(result);
        Some(())
    }

    fn storage(&self) -> Option<Storage> {
        match (self.stack.as_slice(), self.is_value) {
            ([], false) => Some(Storage::Plain),
            ([value], true) => {
                Some(Storage::Choice(TwoValues { initial: value.base, other: value.base.wrapping_add(value.factor) }))
            }
            _ => None,
        }
    }
}

impl Linear {
    fn plus(self, other: Self) -> Self {
        Self { factor: self.factor.wrapping_add(other.factor), base: self.base.wrapping_add(other.base) }
    }

    fn negated(self) -> Self {
        Self { factor: self.factor.wrapping_neg(), base: self.base.wrapping_neg() }
    }

    /// The product; `None` where both depend on the byte.
    fn times(self, other: Self) -> Option<Self> {
        let (by, of) = if self.factor == 0 { (self.base, other) } else { (other.base, self) };
        let is_linear = self.factor == 0 || other.factor == 0;
        is_linear.then(|| Self { factor: of.factor.wrapping_mul(by), base: of.base.wrapping_mul(by) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Operations<'a> = &'a [Operation<Slice<'static>>];

    const BYTE: Operation<Slice<'static>> = Operation::Deref { base_type: gimli::UnitOffset(0), size: 1, space: false };
    const END: Operation<Slice<'static>> = Operation::StackValue;

    fn number(value: u64) -> Operation<Slice<'static>> {
        Operation::UnsignedConstant { value }
    }

    fn storage(operations: Operations<'_>) -> Option<Storage> {
        let mut computed = Computed::default();
        operations.iter().try_for_each(|operation| computed.apply(operation))?;
        computed.storage()
    }

    fn values(initial: u64, other: u64) -> Option<Storage> {
        Some(Storage::Choice(TwoValues { initial, other }))
    }

    #[test]
    fn a_location_that_computes_a_value_from_a_byte_tells_both_values() {
        use Operation::{Minus, Mul, Neg, Not, Plus, PlusConstant, SignedConstant};
        assert_eq!(storage(&[]), Some(Storage::Plain));
        assert_eq!(storage(&[BYTE, number(9), Mul, number(0), Plus, END]), values(0, 9));
        assert_eq!(storage(&[BYTE, number(0), Not, Mul, number(1), Plus, END]), values(1, 0));
        assert_eq!(storage(&[BYTE, SignedConstant { value: -1 }, Mul, number(1), Plus, END]), values(1, 0));
        assert_eq!(storage(&[BYTE, number(7), Mul, PlusConstant { value: 5 }, END]), values(5, 12));
        assert_eq!(storage(&[number(1), BYTE]), None);
        assert_eq!(storage(&[BYTE, number(3), Neg, Plus, END]), values(u64::MAX - 2, u64::MAX - 1));
        assert_eq!(storage(&[BYTE, number(3), Minus, END]), values(u64::MAX - 2, u64::MAX - 1));
        assert_eq!(storage(&[BYTE, Not, END]), values(u64::MAX, u64::MAX - 1));
    }

    #[test]
    fn other_locations_tell_nothing() {
        use Operation::{Deref, Mul, Plus};
        let wide = Deref { base_type: gimli::UnitOffset(0), size: 4, space: false };
        let piece = Operation::Piece { size_in_bits: 8, bit_offset: None };
        let cases: [Operations<'_>; 8] = [
            &[wide, END],
            &[BYTE],
            &[piece],
            &[END],
            &[BYTE, END, END],
            &[BYTE, Plus, END],
            &[BYTE, number(1), END],
            &[BYTE, BYTE, Mul, END],
        ];
        cases.into_iter().for_each(|case| assert_eq!(storage(case), None, "{case:?}"));
        let many: Vec<_> = std::iter::once(BYTE).chain((0..100).map(number)).collect();
        assert_eq!(storage(&many), None);
    }
}
