//! C's arithmetic: promotions and the usual arithmetic conversions (ISO/IEC 9899, 6.3.1), and operators on two numbers of
//! one type. Numbers wrap around as on the machine.

use super::code::Number;
use super::error::Problem;
use super::syntax::Binary;

/// `int`.
pub(super) const INT: Number = Number { bits: 32, is_signed: true };

/// The type that a number has when it is computed with: at least `int`.
pub(super) fn promote(number: Number) -> Number {
    match number.bits {
        0..32 => INT,
        32 => number,
        _ => Number { bits: 64, ..number },
    }
}

/// The type that two numbers have when they are computed with.
pub(super) fn common(left: Number, right: Number) -> Number {
    let (left, right) = (promote(left), promote(right));
    if left.bits == right.bits {
        return Number { bits: left.bits, is_signed: left.is_signed && right.is_signed };
    }
    // A wider type has all numbers of a narrower one.
    if left.bits > right.bits { left } else { right }
}

/// An operator on two numbers of one type, or, of a shift, on a number and by how many bits it is shifted.
pub(super) fn compute(operator: Binary, number: Number, left: i128, right: i128) -> Result<i128, Problem> {
    let result = match operator {
        Binary::Multiply => left.wrapping_mul(right),
        Binary::Divide => left.checked_div(right).ok_or(Problem::DivisionByZero)?,
        Binary::Remainder => left.checked_rem(right).ok_or(Problem::DivisionByZero)?,
        Binary::Add => left.wrapping_add(right),
        Binary::Subtract => left.wrapping_sub(right),
        Binary::ShiftLeft => left.wrapping_shl(shift(number, right)?),
        Binary::ShiftRight => left.wrapping_shr(shift(number, right)?),
        Binary::And => left & right,
        Binary::ExclusiveOr => left ^ right,
        Binary::Or => left | right,
        Binary::Less => (left < right).into(),
        Binary::Greater => (left > right).into(),
        Binary::LessOrEqual => (left <= right).into(),
        Binary::GreaterOrEqual => (left >= right).into(),
        Binary::Equal => (left == right).into(),
        Binary::NotEqual => (left != right).into(),
    };
    Ok(number.wrap(result))
}

fn shift(number: Number, by: i128) -> Result<u32, Problem> {
    let out_of_range = Problem::ShiftOutOfRange { by, bits: number.bits };
    u32::try_from(by).ok().filter(|by| *by < number.bits).ok_or(out_of_range)
}
