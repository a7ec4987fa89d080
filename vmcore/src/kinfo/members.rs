//! Members of structures as numbers.

use crate::bounds::low_u32;
use crate::error::Result;
use crate::kernel::Object;

/// The structure with all of its bytes, if they can be read at once; else its members are read one by one.
pub(super) fn whole<'a>(object: &Object<'a>) -> Object<'a> {
    object.fetched().unwrap_or_else(|_| object.clone())
}

/// What a pointer leads to, as [`whole`].
pub(super) fn target<'a>(object: &Object<'a>, pointer: &str) -> Result<Option<Object<'a>>> {
    object.member(pointer)?.follow()?.map(|target| target.fetched()).transpose()
}

/// The number in a member, if there is one.
pub(super) fn number(object: &Object<'_>, member: &str) -> Option<u64> {
    object.member(member).and_then(|member| member.unsigned()).ok()
}

/// The lower 32 bits of the number in a member, if there is one.
pub(super) fn number32(object: &Object<'_>, member: &str) -> Option<u32> {
    number(object, member).map(low_u32)
}

/// The `int` in a member, if there is one.
pub(super) fn int(object: &Object<'_>, member: &str) -> Option<i32> {
    object.member(member).and_then(|member| member.signed()).ok().and_then(|value| i32::try_from(value).ok())
}

/// The first word of a `sigset_t`.
pub(super) fn first_signals(object: &Object<'_>, member: &str) -> Option<u32> {
    let word = object.member(member).and_then(|set| set.member("__bits")?.index(0)?.unsigned());
    word.ok().map(low_u32)
}
