//! Finds what the names of an expression stand for, and of which type each part of it is (ISO/IEC 9899, 6.5): what is wrong
//! with it is found here, before any memory is read.

mod of_types;

use super::arithmetic::{INT, common, promote};
use super::code::{Code, Number, Place, PlaceKind, Uses, Value, ValueKind};
use super::error::{ExpressionError, Problem};
use super::names::{Meaning, Owner, Scope};
use super::span::Span;
use super::storage;
use super::syntax::{Binary, Node, NodeKind, Unary};
use super::token::Literal;
use super::types::Types;
use crate::kernel::KernelNames;
use crate::near::near;
use crate::types::{Aggregate, Kind, StorageSource, TypeId, TypeTable, UntypedReason};

/// Compiles an expression; if it is of the elements of a list, with their type.
pub(super) fn compile(
    node: &Node,
    table: &mut TypeTable,
    names: &KernelNames,
    storage: &mut dyn StorageSource,
    element: Option<TypeId>,
) -> Result<(Code, Uses), ExpressionError> {
    let (types, uses, untyped) = (Types::new(table), Uses::default(), Vec::new());
    let mut compiler = Compiler { types, names, storage, element, uses, untyped };
    let code = match &node.kind {
        NodeKind::Several(first, count) => compiler.several(first, count)?,
        _ => compiler.code(node)?,
    };
    if let Code::Place(place) = &code {
        compiler.check_contents(place)?;
    }
    let code = match code {
        // There is no object of its type.
        Code::Place(place @ Place { kind: PlaceKind::Choice(..), .. }) => Code::Value(compiler.load(place)?),
        _ => code,
    };
    Ok((code, compiler.uses))
}

struct Compiler<'a> {
    types: Types<'a>,
    names: &'a KernelNames,
    storage: &'a mut dyn StorageSource,
    element: Option<TypeId>,
    uses: Uses,
    /// Which names have no type, and why.
    untyped: Vec<(Span, UntypedReason)>,
}

type Compiled<T> = Result<T, ExpressionError>;

fn fail<T>(span: Span, problem: Problem) -> Compiled<T> {
    Err(ExpressionError::new(span, problem))
}

impl Compiler<'_> {
    fn name_of(&self, type_id: TypeId) -> String {
        self.types.table.name_of(type_id)
    }

    fn kind(&self, type_id: TypeId) -> &Kind {
        &self.types.table.get(self.types.table.strip(type_id)).kind
    }

    fn is_pointer(&self, type_id: TypeId) -> bool {
        matches!(self.kind(type_id), Kind::Pointer(_))
    }

    /// A part of an expression.
    fn code(&mut self, node: &Node) -> Compiled<Code> {
        let span = node.span;
        Ok(match &node.kind {
            NodeKind::Name { module, name } => self.name(span, module.as_deref(), name)?,
            NodeKind::Element => match self.element {
                Some(type_id) => Code::Place(Place { span, type_id, kind: PlaceKind::Element }),
                None => return fail(span, Problem::NoElement),
            },
            NodeKind::Member { of, name, name_span, through_pointer } => {
                Code::Place(self.member(span, of, (name, *name_span), *through_pointer)?)
            }
            NodeKind::Index(of, index) => Code::Place(self.index(span, of, index)?),
            NodeKind::Dereference(pointer) => {
                let pointer = self.value(pointer)?;
                Code::Place(self.dereference(span, pointer)?)
            }
            NodeKind::Several(..) => return fail(span, Problem::SeveralInside),
            _ => Code::Value(self.computed(node)?),
        })
    }

    /// A part of an expression that is no place.
    fn computed(&mut self, node: &Node) -> Compiled<Value> {
        let span = node.span;
        match &node.kind {
            NodeKind::Integer(literal) => self.literal(span, *literal),
            NodeKind::Special { name, argument } => self.special(span, name, argument.as_deref()),
            NodeKind::AddressOf(of) => self.address_of(span, of),
            NodeKind::Unary(operator, operand) => self.unary(span, *operator, operand),
            NodeKind::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(span, *operator, left, right)
            }
            NodeKind::Logical { is_and, left, right } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                Ok(self.int(span, ValueKind::Logical(*is_and, Box::new(left), Box::new(right))))
            }
            NodeKind::Conditional(condition, then, otherwise) => self.conditional(span, condition, then, otherwise),
            NodeKind::Cast(name, operand) => self.cast(span, name, operand),
            NodeKind::SizeOf(of) => self.size_of_expression(span, of),
            NodeKind::SizeOfType(name) => {
                let type_id = self.types.resolve(name)?;
                self.size_value(span, name.span, type_id)
            }
            NodeKind::OffsetOf(name, path) => self.offset_of(span, name, path),
            _ => match self.code(node)? {
                Code::Place(place) => self.load(place),
                Code::Value(value) => Ok(value),
                Code::Several(..) => fail(span, Problem::SeveralInside),
            },
        }
    }

    /// The value of a part of an expression: of a place what is there, of an array the address of its first element.
    fn value(&mut self, node: &Node) -> Compiled<Value> {
        match self.code(node)? {
            Code::Place(place) => self.load(place),
            Code::Value(value) => Ok(value),
            Code::Several(..) => fail(node.span, Problem::SeveralInside),
        }
    }

    fn load(&mut self, place: Place) -> Compiled<Value> {
        let span = place.span;
        match *self.kind(place.type_id) {
            Kind::Array { element, .. } => {
                let type_id = self.types.pointer_to(element);
                return self.pointer(span, type_id, ValueKind::AddressOf(Box::new(place)));
            }
            Kind::Function(_) => {
                let type_id = self.types.pointer_to(place.type_id);
                return self.pointer(span, type_id, ValueKind::AddressOf(Box::new(place)));
            }
            _ => {}
        }
        let Some(number) = self.types.number(place.type_id) else { return self.no_number(span, &place) };
        let bits = match &place.kind {
            PlaceKind::Member(_, _, Some(bits)) => *bits,
            _ => number.bits,
        };
        let number = Number { bits, ..number };
        Ok(Value { span, type_id: place.type_id, number, kind: ValueKind::Load(Box::new(place)) })
    }

    /// That something has contents that can be shown.
    fn check_contents(&self, place: &Place) -> Compiled<()> {
        match self.kind(place.type_id) {
            Kind::Unknown => fail(place.span, self.untyped(place.span)),
            Kind::Void | Kind::Incomplete(_) => fail(place.span, Problem::NoSize(self.name_of(place.type_id))),
            _ => Ok(()),
        }
    }

    fn untyped(&self, span: Span) -> Problem {
        let reason = self.untyped.iter().find(|(of, _)| *of == span).map(|(_, reason)| *reason);
        Problem::Untyped { reason }
    }

    fn no_number<T>(&self, span: Span, place: &Place) -> Compiled<T> {
        self.check_contents(place)?;
        fail(span, Problem::NotANumberType(self.name_of(place.type_id)))
    }

    /// A value of a type that has numbers.
    fn typed(&self, span: Span, type_id: TypeId, kind: ValueKind) -> Compiled<Value> {
        match self.types.number(type_id) {
            Some(number) => Ok(Value { span, type_id, number, kind }),
            None => fail(span, Problem::NotANumberType(self.name_of(type_id))),
        }
    }

    fn pointer(&self, span: Span, type_id: TypeId, kind: ValueKind) -> Compiled<Value> {
        self.typed(span, type_id, kind)
    }

    fn int(&mut self, span: Span, kind: ValueKind) -> Value {
        Value { span, type_id: self.types.arithmetic(INT), number: INT, kind }
    }

    fn arithmetic(&mut self, span: Span, number: Number, kind: ValueKind) -> Value {
        Value { span, type_id: self.types.arithmetic(number), number, kind }
    }

    fn literal(&mut self, span: Span, literal: Literal) -> Compiled<Value> {
        let Literal { value, is_decimal, is_unsigned, longs } = literal;
        let word = if self.types.table.pointer_size() == 8 || longs == 2 { 64 } else { 32 };
        let least = if longs == 0 { 32 } else { word };
        let fits = |number: &Number| number.wrap(value.into()) == i128::from(value);
        let signs = if is_unsigned { &[false][..] } else { &[true, false][..] };
        let widths = [least, 64].into_iter().flat_map(|bits| signs.iter().map(move |signed| (bits, *signed)));
        let mut candidates = widths.map(|(bits, is_signed)| Number { bits, is_signed });
        // A decimal one is unsigned only if that is written.
        let allowed = |number: &Number| !is_decimal || is_unsigned || number.is_signed;
        let number = candidates.find(|number| allowed(number) && fits(number));
        let number = number.ok_or_else(|| ExpressionError::new(span, Problem::NotSigned))?;
        Ok(self.arithmetic(span, number, ValueKind::Constant(value.into())))
    }

    fn name(&mut self, span: Span, module: Option<&str>, name: &str) -> Compiled<Code> {
        let scope = Scope { names: self.names, types: self.types.table, element: self.element };
        let meaning = scope.resolve(module, name).map_err(|problem| ExpressionError::new(span, problem))?;
        let found = match meaning {
            Meaning::Symbol(found) => found,
            Meaning::Constant(value) => return Ok(Code::Value(self.enumerator(span, value))),
        };
        let type_id = found.variable(self.types.table).map(|variable| variable.type_id);
        if type_id.is_none()
            && let Some(reason) = found.why_untyped(self.types.table)
        {
            self.untyped.push((span, reason));
        }
        let type_id = type_id.unwrap_or_else(|| self.types.unknown());
        let (address, owner) = (found.address, found.owner);
        let kind = match owner {
            Owner::Kernel => {
                let written = module.map_or_else(|| name.to_owned(), |module| format!("{module}`{name}"));
                let place = storage::place_of(&found, &written, self.types.table, self.storage);
                place.map_err(|problem| ExpressionError::new(span, problem))?
            }
            Owner::Cpu => PlaceKind::PerCpu(address, name.into()),
            Owner::Vnet => PlaceKind::PerVnet(address, name.into()),
        };
        self.uses.cpu |= owner == Owner::Cpu;
        self.uses.vnet |= owner == Owner::Vnet;
        Ok(Code::Place(Place { span, type_id, kind }))
    }

    fn enumerator(&mut self, span: Span, value: i64) -> Value {
        let wide = Number { bits: 64, is_signed: true };
        let number = if i32::try_from(value).is_ok() { INT } else { wide };
        self.arithmetic(span, number, ValueKind::Constant(value.into()))
    }

    fn special(&mut self, span: Span, name: &str, argument: Option<&Node>) -> Compiled<Value> {
        let argument = argument.map(|argument| self.value(argument)).transpose()?.map(Box::new);
        let (structure, kind) = match (name, argument) {
            ("pcpu", argument) => {
                self.uses.cpu |= argument.is_none();
                ("pcpu", ValueKind::Pcpu(argument))
            }
            ("proc", Some(pid)) => ("proc", ValueKind::Process(pid)),
            ("thread", Some(tid)) => ("thread", ValueKind::Thread(tid)),
            ("counter", Some(counter)) => {
                let number = Number { bits: 64, is_signed: false };
                return Ok(self.arithmetic(span, number, ValueKind::Counter(counter)));
            }
            ("proc", None) => return fail(span, Problem::SpecialArgument("$proc(PID)")),
            ("thread", None) => return fail(span, Problem::SpecialArgument("$thread(TID)")),
            ("counter", None) => return fail(span, Problem::SpecialArgument("$counter(COUNTER)")),
            _ => return fail(span, Problem::UnknownSpecial(name.to_owned())),
        };
        let type_id = self.types.pointer_to_structure(structure);
        let type_id = type_id.map_err(|problem| ExpressionError::new(span, problem))?;
        self.pointer(span, type_id, kind)
    }

    fn member(&mut self, span: Span, of: &Node, name: (&str, Span), through_pointer: bool) -> Compiled<Place> {
        let object = match self.code(of)? {
            // What is before it is not written: it need not be known whether that is a pointer.
            Code::Place(place) if matches!(of.kind, NodeKind::Element) && !self.is_pointer(place.type_id) => place,
            Code::Place(place) if !through_pointer => place,
            Code::Place(place) => {
                if self.types.table.aggregate(place.type_id).is_some() {
                    return fail(name.1, Problem::WritePoint);
                }
                let pointer = self.load(place)?;
                self.dereference(of.span, pointer)?
            }
            Code::Value(pointer) if through_pointer => self.dereference(of.span, pointer)?,
            Code::Value(pointer) => return self.no_members(of.span, name.1, pointer.type_id),
            Code::Several(..) => return fail(of.span, Problem::SeveralInside),
        };
        if self.types.table.aggregate(object.type_id).is_none() {
            return self.no_members(of.span, name.1, object.type_id);
        }
        self.member_of(span, object, name)
    }

    /// That something has no members, and what may have been meant.
    fn no_members<T>(&self, span: Span, name_span: Span, type_id: TypeId) -> Compiled<T> {
        match self.kind(type_id) {
            Kind::Pointer(target) if self.types.table.aggregate(*target).is_some() => {
                fail(name_span, Problem::WriteArrow)
            }
            Kind::Unknown => fail(span, self.untyped(span)),
            _ => fail(span, Problem::NotAStructure(self.name_of(type_id))),
        }
    }

    fn member_of(&mut self, span: Span, object: Place, (name, name_span): (&str, Span)) -> Compiled<Place> {
        let (type_id, bit_offset, bits) = self.found_member(object.type_id, name, name_span)?;
        let kind = PlaceKind::Member(Box::new(object), bit_offset, bits);
        Ok(Place { span, type_id, kind })
    }

    fn found_member(&self, of: TypeId, name: &str, span: Span) -> Compiled<(TypeId, u64, Option<u32>)> {
        match self.types.table.member(of, name) {
            Some(found) => Ok((found.member.type_id, found.bit_offset, found.member.bits)),
            None => {
                let names = self.types.table.aggregate(of).into_iter().flat_map(member_names);
                fail(span, Problem::NoMember { of: self.name_of(of), name: name.to_owned(), near: near(name, names) })
            }
        }
    }

    fn index(&mut self, span: Span, of: &Node, index: &Node) -> Compiled<Place> {
        let (pointer, index) = (self.value(of)?, self.value(index)?);
        if !self.is_pointer(pointer.type_id) {
            return fail(of.span, Problem::NotAPointer(self.name_of(pointer.type_id)));
        }
        if self.is_pointer(index.type_id) {
            return fail(index.span, Problem::NotANumberType(self.name_of(index.type_id)));
        }
        let address = self.offset(span, pointer, index, false)?;
        self.dereference(span, address)
    }

    fn dereference(&mut self, span: Span, pointer: Value) -> Compiled<Place> {
        let Kind::Pointer(target) = *self.kind(pointer.type_id) else {
            return fail(span, Problem::NotAPointer(self.name_of(pointer.type_id)));
        };
        match pointer.kind {
            // What is at the address of a place is that place, which may have less bytes than its type; what is at that of an
            // array, its first element.
            ValueKind::AddressOf(place) if place.type_id == target => Ok(Place { span, ..*place }),
            ValueKind::Offset(start, ..) if storage::is_choice(&start) => fail(start.span, Problem::OneByte),
            _ => Ok(Place { span, type_id: target, kind: PlaceKind::At(Box::new(pointer)) }),
        }
    }

    fn address_of(&mut self, span: Span, of: &Node) -> Compiled<Value> {
        match self.code(of)? {
            Code::Place(Place { kind: PlaceKind::Member(_, _, Some(_)), .. }) => fail(span, Problem::BitField),
            Code::Place(place) => {
                let type_id = self.types.pointer_to(place.type_id);
                self.pointer(span, type_id, ValueKind::AddressOf(Box::new(place)))
            }
            Code::Value(_) | Code::Several(..) => fail(span, Problem::NoAddress),
        }
    }

    fn unary(&mut self, span: Span, operator: Unary, operand: &Node) -> Compiled<Value> {
        let operand = self.value(operand)?;
        if operator == Unary::Not {
            return Ok(self.int(span, ValueKind::Not(Box::new(operand))));
        }
        if self.is_pointer(operand.type_id) {
            return fail(operand.span, Problem::NotANumberType(self.name_of(operand.type_id)));
        }
        let number = promote(operand.number);
        let operand = Box::new(operand);
        let kind = match operator {
            Unary::Minus => ValueKind::Negate(operand),
            Unary::Complement => ValueKind::Complement(operand),
            Unary::Plus | Unary::Not => ValueKind::Convert(operand),
        };
        Ok(self.arithmetic(span, number, kind))
    }

    fn binary(&mut self, span: Span, operator: Binary, left: Value, right: Value) -> Compiled<Value> {
        let pointers = (self.is_pointer(left.type_id), self.is_pointer(right.type_id));
        match (operator, pointers) {
            (_, (false, false)) => Ok(self.binary_of_numbers(span, operator, left, right)),
            (Binary::Add, (true, false)) => self.offset(span, left, right, false),
            (Binary::Add, (false, true)) => self.offset(span, right, left, false),
            (Binary::Subtract, (true, false)) => self.offset(span, left, right, true),
            (Binary::Subtract, (true, true)) => self.distance(span, left, right),
            _ if operator.is_comparison() => Ok(self.binary_of_numbers(span, operator, left, right)),
            _ => {
                let names = (self.name_of(left.type_id), self.name_of(right.type_id));
                fail(span, Problem::Mismatched(names.0, names.1))
            }
        }
    }

    fn binary_of_numbers(&mut self, span: Span, operator: Binary, left: Value, right: Value) -> Value {
        let is_shift = matches!(operator, Binary::ShiftLeft | Binary::ShiftRight);
        let number = if is_shift { promote(left.number) } else { common(left.number, right.number) };
        let right_number = if is_shift { promote(right.number) } else { number };
        let left = Box::new(self.converted(left, number));
        let right = Box::new(self.converted(right, right_number));
        let kind = ValueKind::Binary(operator, left, right);
        if operator.is_comparison() { self.int(span, kind) } else { self.arithmetic(span, number, kind) }
    }

    fn converted(&mut self, value: Value, number: Number) -> Value {
        if value.number == number {
            return value;
        }
        let span = value.span;
        self.arithmetic(span, number, ValueKind::Convert(Box::new(value)))
    }

    /// The size of what a pointer leads to; of nothing and of functions 1, as compilers have it.
    fn target_size(&self, pointer: &Value) -> Compiled<i128> {
        let Some(target) = self.types.table.target(pointer.type_id) else {
            return fail(pointer.span, Problem::NotAPointer(self.name_of(pointer.type_id)));
        };
        match self.kind(target) {
            Kind::Void => Ok(1),
            _ => match self.types.table.size_of(target) {
                Some(size) => Ok(size.into()),
                None => fail(pointer.span, Problem::NoSize(self.name_of(target))),
            },
        }
    }

    fn offset(&mut self, span: Span, pointer: Value, index: Value, is_negative: bool) -> Compiled<Value> {
        let size = self.target_size(&pointer)?;
        let size = if is_negative { size.saturating_neg() } else { size };
        let type_id = pointer.type_id;
        self.pointer(span, type_id, ValueKind::Offset(Box::new(pointer), Box::new(index), size))
    }

    fn distance(&mut self, span: Span, left: Value, right: Value) -> Compiled<Value> {
        let (size, other) = (self.target_size(&left)?, self.target_size(&right)?);
        if size != other {
            let names = (self.name_of(left.type_id), self.name_of(right.type_id));
            return fail(span, Problem::Mismatched(names.0, names.1));
        }
        let number = Number { bits: left.number.bits, is_signed: true };
        Ok(self.arithmetic(span, number, ValueKind::Distance(Box::new(left), Box::new(right), size)))
    }

    fn conditional(&mut self, span: Span, condition: &Node, then: &Node, otherwise: &Node) -> Compiled<Value> {
        let condition = Box::new(self.value(condition)?);
        let (then, otherwise) = (self.value(then)?, self.value(otherwise)?);
        let pointers = (self.is_pointer(then.type_id), self.is_pointer(otherwise.type_id));
        let choice = |then, otherwise| ValueKind::Conditional(condition, Box::new(then), Box::new(otherwise));
        if pointers == (false, false) {
            let number = common(then.number, otherwise.number);
            let (then, otherwise) = (self.converted(then, number), self.converted(otherwise, number));
            return Ok(self.arithmetic(span, number, choice(then, otherwise)));
        }
        // A number beside a pointer is a null pointer.
        let type_id = if pointers.0 { then.type_id } else { otherwise.type_id };
        self.pointer(span, type_id, choice(then, otherwise))
    }

    fn several(&mut self, first: &Node, count: &Node) -> Compiled<Code> {
        let place = match self.code(first)? {
            Code::Place(place) => place,
            Code::Value(_) | Code::Several(..) => return fail(first.span, Problem::NoAddress),
        };
        if matches!(place.kind, PlaceKind::Member(_, _, Some(_))) {
            return fail(first.span, Problem::BitField);
        }
        if matches!(place.kind, PlaceKind::Choice(..)) {
            return fail(first.span, Problem::OneByte);
        }
        if self.types.table.size_of(place.type_id).is_none() {
            return fail(first.span, Problem::NoSize(self.name_of(place.type_id)));
        }
        let count = self.value(count)?;
        Ok(Code::Several(place, count))
    }
}

/// The names of the members of a structure.
fn member_names(aggregate: &Aggregate) -> impl Iterator<Item = &str> {
    aggregate.members.iter().map(|member| &*member.name).filter(|name| !name.is_empty())
}
