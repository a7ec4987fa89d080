//! Evaluates a compiled expression: reads memory and computes.

use super::arithmetic::compute;
use super::code::{Code, Place, PlaceKind, Value, ValueKind};
use super::error::{ExpressionError, Problem};
use super::span::Span;
use super::syntax::Binary;
use crate::bounds::low_u64;
use crate::error::Error;
use crate::kernel::{Object, Processes, TypedMemory};
use crate::types::{TwoValues, TypeId};
use std::cell::OnceCell;

/// Elements that are asked for with `@`, at most.
const MAX_ELEMENTS: i128 = 1 << 24;

/// What an expression is evaluated for.
pub struct Environment<'a> {
    typed: TypedMemory<'a>,
    /// Which processor is meant.
    pub cpu: Option<u32>,
    /// Which network stack is meant, by the address of its `struct vnet`; `vnet0`, if none is said.
    pub vnet: Option<u64>,
    /// The element of a list.
    pub element: Option<Object<'a>>,
    processes: OnceCell<Result<Processes, Problem>>,
}

/// What an expression evaluates to.
#[derive(Clone)]
pub enum Evaluated<'a> {
    /// An object in memory.
    Object(Object<'a>),
    /// A number, or an address, of a type.
    Number {
        /// Its type.
        type_id: TypeId,
        /// It.
        value: i128,
    },
    /// So many objects, from one on.
    Several(Object<'a>, u64),
}

impl<'a> Environment<'a> {
    /// An environment in which no processor, network stack or element is chosen.
    pub fn new(typed: TypedMemory<'a>) -> Self {
        Self { typed, cpu: None, vnet: None, element: None, processes: OnceCell::new() }
    }

    /// The memory that expressions are of.
    pub fn typed(&self) -> TypedMemory<'a> {
        self.typed
    }

    pub(super) fn evaluate(&self, code: &Code) -> Result<Evaluated<'a>, ExpressionError> {
        Ok(match code {
            Code::Place(place) => Evaluated::Object(self.object(place)?),
            Code::Value(value) => Evaluated::Number { type_id: value.type_id, value: self.value(value)? },
            Code::Several(first, count) => {
                let wanted = self.value(count)?;
                let counted = u64::try_from(wanted).ok().filter(|_| wanted <= MAX_ELEMENTS);
                let error = || ExpressionError::new(count.span, Problem::ElementCount(wanted));
                Evaluated::Several(self.object(first)?, counted.ok_or_else(error)?)
            }
        })
    }

    /// The object at a place.
    fn object(&self, place: &Place) -> Result<Object<'a>, ExpressionError> {
        let failed = |problem| ExpressionError::new(place.span, problem);
        let address = match &place.kind {
            PlaceKind::Variable(address) => *address,
            PlaceKind::Choice(_, values) => {
                let problem = values.as_ref().map_or_else(|problem| (**problem).clone(), |_| Problem::OneByte);
                return Err(failed(problem));
            }
            PlaceKind::PerCpu(address, name) => self.per_cpu(*address, name).map_err(failed)?,
            PlaceKind::PerVnet(address, name) => self.per_vnet(*address, name).map_err(failed)?,
            PlaceKind::Element => return self.element.clone().ok_or_else(|| failed(Problem::NoElement)),
            PlaceKind::At(pointer) => self.address(pointer)?,
            PlaceKind::Member(of, bit_offset, bits) => {
                let part = self.object(of)?.part(*bit_offset, place.type_id, *bits);
                return part.map_err(|error| failed(error.into()));
            }
        };
        Ok(self.typed.object(address, place.type_id))
    }

    fn address_of(&self, place: &Place) -> Result<u64, ExpressionError> {
        match place.kind {
            PlaceKind::Choice(address, _) => Ok(address),
            _ => Ok(self.object(place)?.address()),
        }
    }

    fn address(&self, pointer: &Value) -> Result<u64, ExpressionError> {
        Ok(low_u64(self.value(pointer)?.cast_unsigned()))
    }

    /// The value of a part of an expression, in its type.
    fn value(&self, value: &Value) -> Result<i128, ExpressionError> {
        let found = match &value.kind {
            ValueKind::Constant(constant) => *constant,
            ValueKind::Load(place) => self.load(value.span, place)?,
            ValueKind::AddressOf(place) => self.address_of(place)?.into(),
            ValueKind::Convert(operand) => self.value(operand)?,
            ValueKind::Truth(operand) => (self.value(operand)? != 0).into(),
            ValueKind::Negate(operand) => self.value(operand)?.wrapping_neg(),
            ValueKind::Complement(operand) => !self.value(operand)?,
            ValueKind::Not(operand) => (self.value(operand)? == 0).into(),
            ValueKind::Binary(operator, left, right) => self.binary(value.span, *operator, left, right)?,
            ValueKind::Logical(true, left, right) => (self.value(left)? != 0 && self.value(right)? != 0).into(),
            ValueKind::Logical(false, left, right) => (self.value(left)? != 0 || self.value(right)? != 0).into(),
            ValueKind::Conditional(condition, then, otherwise) => {
                self.value(if self.value(condition)? == 0 { otherwise } else { then })?
            }
            ValueKind::Offset(pointer, index, size) => {
                self.value(pointer)?.wrapping_add(self.value(index)?.wrapping_mul(*size))
            }
            ValueKind::Distance(left, right, size) => self.distance(value, left, right, *size)?,
            ValueKind::Pcpu(cpu) => self.pcpu(value.span, cpu.as_deref())?.into(),
            ValueKind::Counter(counter) => self.counter(value.span, counter)?.into(),
            ValueKind::Process(pid) => self.process(pid)?.into(),
            ValueKind::Thread(tid) => self.thread(tid)?.into(),
        };
        Ok(value.number.wrap(found))
    }

    fn load(&self, span: Span, place: &Place) -> Result<i128, ExpressionError> {
        let error = |problem| ExpressionError::new(span, problem);
        if let PlaceKind::Choice(address, Ok(values)) = place.kind {
            return self.choice(address, values).map_err(error);
        }
        self.object(place)?.integer().map_err(|why| error(why.into()))
    }

    /// The value that the byte at an address stands for.
    fn choice(&self, address: u64, values: TwoValues) -> Result<i128, Problem> {
        let mut byte = [0];
        self.typed.memory.read(address, &mut byte).map_err(|why| Problem::from(Error::from(why)))?;
        let [byte] = byte;
        values.chosen(byte).map(i128::from).ok_or(Problem::NeitherValue(byte))
    }

    fn binary(&self, span: Span, operator: Binary, left: &Value, right: &Value) -> Result<i128, ExpressionError> {
        let result = compute(operator, left.number, self.value(left)?, self.value(right)?);
        let at = if matches!(result, Err(Problem::DivisionByZero | Problem::ShiftOutOfRange { .. })) {
            right.span
        } else {
            span
        };
        result.map_err(|problem| ExpressionError::new(at, problem))
    }

    fn distance(&self, value: &Value, left: &Value, right: &Value, size: i128) -> Result<i128, ExpressionError> {
        let bytes = value.number.wrap(self.value(left)?.wrapping_sub(self.value(right)?));
        bytes.checked_div(size).ok_or(ExpressionError::new(value.span, Problem::DivisionByZero))
    }

    fn processes(&self) -> Result<&Processes, Problem> {
        let read = || {
            let TypedMemory { memory, symbols, types } = self.typed;
            Processes::read_with(memory, symbols, Some(types)).map_err(Problem::from)
        };
        self.processes.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    fn process(&self, pid: &Value) -> Result<u64, ExpressionError> {
        let wanted = self.value(pid)?;
        let error = |problem| ExpressionError::new(pid.span, problem);
        let processes = self.processes().map_err(error)?;
        let found = processes.list.iter().find(|process| i128::from(process.pid) == wanted);
        found.map(|process| process.address).ok_or_else(|| error(Problem::NoProcess(wanted)))
    }

    fn thread(&self, tid: &Value) -> Result<u64, ExpressionError> {
        let wanted = self.value(tid)?;
        let error = |problem| ExpressionError::new(tid.span, problem);
        let mut threads = self.processes().map_err(error)?.threads();
        let found = threads.find(|(_, thread)| i128::from(thread.tid) == wanted);
        found.map(|(_, thread)| thread.address).ok_or_else(|| error(Problem::NoThread(wanted)))
    }

    fn pcpu(&self, span: Span, cpu: Option<&Value>) -> Result<u64, ExpressionError> {
        let error = |problem| ExpressionError::new(cpu.map_or(span, |cpu| cpu.span), problem);
        let number = match cpu {
            Some(cpu) => self.value(cpu)?,
            None => self.cpu.ok_or_else(|| error(Problem::WhichCpu("struct pcpu".to_owned())))?.into(),
        };
        let cpu = u32::try_from(number).map_err(|_| error(Problem::NoCpu(number)))?;
        let found = self.typed.pcpu(cpu).map_err(|why| error(why.into()))?;
        Ok(found.ok_or_else(|| error(Problem::NoCpu(number)))?.address())
    }

    fn counter(&self, span: Span, counter: &Value) -> Result<u64, ExpressionError> {
        let found = self.typed.counter(self.address(counter)?);
        found.map_err(|error| ExpressionError::new(span, error.into()))
    }

    /// The copy that a processor has of a variable.
    fn per_cpu(&self, address: u64, name: &str) -> Result<u64, Problem> {
        let cpu = self.cpu.ok_or_else(|| Problem::WhichCpu(name.to_owned()))?;
        // What is in no such section has no copies, and the value that it has there is that of no processor.
        if !self.typed.is_per_cpu(address)? {
            return Err(Problem::NoCopies(name.to_owned()));
        }
        Ok(self.typed.per_cpu_address(address, cpu)?)
    }

    /// The copy that a network stack has of a variable.
    fn per_vnet(&self, address: u64, name: &str) -> Result<u64, Problem> {
        if !self.typed.is_per_vnet(address)? {
            return Err(Problem::NoCopies(name.to_owned()));
        }
        let vnet = self.vnet.map_or_else(|| self.typed.host_vnet(), Ok)?;
        Ok(self.typed.per_vnet_address(address, vnet)?)
    }
}
