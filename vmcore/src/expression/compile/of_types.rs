//! What is said with the name of a type: casts, `sizeof`, `offsetof`.

use super::super::code::{Code, Place, PlaceKind, Value, ValueKind};
use super::super::error::Problem;
use super::super::span::Span;
use super::super::syntax::{Node, TypeName};
use super::{Compiled, Compiler, fail};
use crate::types::{Kind, TypeId};

impl Compiler<'_> {
    /// A value as another type.
    pub(super) fn cast(&mut self, span: Span, name: &TypeName, operand: &Node) -> Compiled<Value> {
        let type_id = self.types.resolve(name)?;
        if self.types.number(type_id).is_none() {
            return fail(name.span, Problem::CastTarget(self.name_of(type_id)));
        }
        let operand = Box::new(self.value(operand)?);
        let kind = if self.types.is_boolean(type_id) { ValueKind::Truth(operand) } else { ValueKind::Convert(operand) };
        self.typed(span, type_id, kind)
    }

    /// `sizeof` of an expression, which is not evaluated.
    pub(super) fn size_of_expression(&mut self, span: Span, of: &Node) -> Compiled<Value> {
        let type_id = match self.code(of)? {
            Code::Place(Place { kind: PlaceKind::Member(_, _, Some(_)), .. }) => return fail(span, Problem::BitField),
            Code::Place(place) => place.type_id,
            Code::Value(value) => value.type_id,
            Code::Several(..) => return fail(of.span, Problem::SeveralInside),
        };
        self.size_value(span, of.span, type_id)
    }

    /// The size of a type.
    pub(super) fn size_value(&mut self, span: Span, of: Span, type_id: TypeId) -> Compiled<Value> {
        let Some(size) = self.types.table.size_of(type_id) else {
            let is_unknown = *self.kind(type_id) == Kind::Unknown;
            let no_size = || Problem::NoSize(self.name_of(type_id));
            return fail(of, if is_unknown { self.untyped(of) } else { no_size() });
        };
        let type_id = self.types.size_type();
        self.typed(span, type_id, ValueKind::Constant(size.into()))
    }

    /// `offsetof`.
    pub(super) fn offset_of(&mut self, span: Span, name: &TypeName, path: &[(String, Span)]) -> Compiled<Value> {
        let mut type_id = self.types.resolve(name)?;
        let mut offset = 0_u64;
        for (name, name_span) in path {
            let (found, bit_offset, bits) = self.found_member(type_id, name, *name_span)?;
            if bits.is_some() {
                return fail(*name_span, Problem::BitField);
            }
            (type_id, offset) = (found, offset.saturating_add(bit_offset / 8));
        }
        let type_id = self.types.size_type();
        self.typed(span, type_id, ValueKind::Constant(offset.into()))
    }
}
