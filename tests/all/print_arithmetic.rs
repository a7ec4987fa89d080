//! The arithmetic of `memtool print`, against Rust's.

#![allow(clippy::cast_sign_loss, reason = "the bits are what is wanted")]

use crate::common::typed_kernel::TypedKernel;
use crate::common::typed_kernel::WriteFiles as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use vmcore::Kernel;
use vmcore::expression::{Environment, Evaluated, Expression, Problem};
use vmcore::types::ctf::CtfTypes;
use vmcore_synth::Arch;

/// A number of one of the types that C's arithmetic has, and how Rust computes with it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    I(i32),
    U(u32),
    L(i64),
    M(u64),
}

impl Number {
    fn value(self) -> i128 {
        match self {
            Self::I(value) => value.into(),
            Self::U(value) => value.into(),
            Self::L(value) => value.into(),
            Self::M(value) => value.into(),
        }
    }

    /// A literal of it: one of `int` is not written with a sign.
    fn written(self) -> String {
        match self {
            Self::I(value) => format!("(int){:#x}", value.cast_unsigned()),
            Self::U(value) => format!("{value}u"),
            Self::L(value) => format!("(long){:#x}", value.cast_unsigned()),
            Self::M(value) => format!("{value:#x}ul"),
        }
    }

    /// Both in the type that they have together.
    fn together(self, other: Self) -> (Self, Self) {
        use Number::{I, L, M, U};
        match (self, other) {
            (M(a), b) => (M(a), M(b.value() as u64)),
            (a, M(b)) => (M(a.value() as u64), M(b)),
            (L(a), b) => (L(a), L(b.value() as i64)),
            (a, L(b)) => (L(a.value() as i64), L(b)),
            (U(a), b) => (U(a), U(b.value() as u32)),
            (a, U(b)) => (U(a.value() as u32), U(b)),
            (I(a), I(b)) => (I(a), I(b)),
        }
    }

    /// An operator on two numbers; `None` of what C leaves open.
    fn compute(self, operator: &str, other: Self) -> Option<Self> {
        use Number::{I, L, M, U};
        macro_rules! of_type {
            ($variant:ident, $a:expr, $b:expr) => {
                match operator {
                    "+" => $variant($a.wrapping_add($b)),
                    "-" => $variant($a.wrapping_sub($b)),
                    "*" => $variant($a.wrapping_mul($b)),
                    "/" if $b == 0 => return None,
                    "%" if $b == 0 => return None,
                    "/" => $variant($a.wrapping_div($b)),
                    "%" => $variant($a.wrapping_rem($b)),
                    "&" => $variant($a & $b),
                    "|" => $variant($a | $b),
                    "^" => $variant($a ^ $b),
                    "<" => I(($a < $b).into()),
                    ">=" => I(($a >= $b).into()),
                    "==" => I(($a == $b).into()),
                    _ => I(($a != $b).into()),
                }
            };
        }
        if operator == "<<" || operator == ">>" {
            let by = u32::try_from(other.value()).ok()?;
            return match (self, operator) {
                (I(a), "<<") => a.checked_shl(by).map(I),
                (U(a), "<<") => a.checked_shl(by).map(U),
                (L(a), "<<") => a.checked_shl(by).map(L),
                (M(a), "<<") => a.checked_shl(by).map(M),
                (I(a), _) => a.checked_shr(by).map(I),
                (U(a), _) => a.checked_shr(by).map(U),
                (L(a), _) => a.checked_shr(by).map(L),
                (M(a), _) => a.checked_shr(by).map(M),
            };
        }
        Some(match self.together(other) {
            (I(a), I(b)) => of_type!(I, a, b),
            (U(a), U(b)) => of_type!(U, a, b),
            (L(a), L(b)) => of_type!(L, a, b),
            (M(a), M(b)) => of_type!(M, a, b),
            _ => unreachable!(),
        })
    }
}

/// An expression in parentheses, and its value.
fn arithmetic() -> impl Strategy<Value = (String, Option<Number>)> {
    let edges = prop::sample::select(vec![0_u64, 1, 2, 5, 31, 32, 63, 64, 0x7fff_ffff, 0x8000_0000, 1 << 63, u64::MAX]);
    let number = (prop_oneof![edges, any::<u64>()], 0..4).prop_map(|(value, kind)| match kind {
        0 => Number::I(value as i32),
        1 => Number::U(value as u32),
        2 => Number::L(value as i64),
        _ => Number::M(value),
    });
    let leaf = number.prop_map(|number| (number.written(), Some(number)));
    let operators = vec!["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "<", ">=", "==", "!="];
    leaf.prop_recursive(4, 24, 2, move |inner| {
        (inner.clone(), prop::sample::select(operators.clone()), inner).prop_map(|((a, x), operator, (b, y))| {
            let value = x.zip(y).and_then(|(x, y)| x.compute(operator, y));
            (format!("({a} {operator} {b})"), value)
        })
    })
}

/// Rust's own arithmetic, of the same types, is the other opinion.
#[test]
fn numbers_are_computed_as_the_machine_does() {
    let dump = TypedKernel::new(Arch::Amd64).write();
    let mut kernel = Kernel::open(&dump.core, Some(&dump.kernel)).unwrap();
    kernel.load_types(&mut CtfTypes::default()).unwrap();
    let mut runner = TestRunner::new(Config::with_cases(1000));
    let kernel = RefCell::new(kernel);
    let tested = runner.run(&arithmetic(), |(text, expected)| {
        let expression = Expression::compile(&mut kernel.borrow_mut(), &text, None).unwrap();
        let kernel = kernel.borrow();
        let found = expression.evaluate(&Environment::new(kernel.typed().unwrap()));
        match (found, expected) {
            (Ok(Evaluated::Number { value, .. }), Some(expected)) => {
                prop_assert_eq!(value, expected.value(), "{}", text)
            }
            (Err(error), None) => {
                let is_open = matches!(error.problem, Problem::DivisionByZero | Problem::ShiftOutOfRange { .. });
                prop_assert!(is_open, "{}: {}", text, error);
            }
            (Ok(_), expected) => prop_assert!(false, "{}: {:?}", text, expected),
            (Err(error), _) => prop_assert!(false, "{}: {}", text, error),
        }
        Ok(())
    });
    tested.unwrap();
}
