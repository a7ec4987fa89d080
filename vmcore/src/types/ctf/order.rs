//! Which symbols of a file are in the order in which they were when its CTF was made: CTF has no names of symbols.
//!
//! ctfmerge(1) makes the CTF of a kernel from what was linked. That of a module (`sys/conf/kmod.mk`) it makes from what
//! `ld -r` has linked, where local symbols come before all others. If the module has a list of `EXPORT_SYMS`, objcopy(1)
//! then makes those local that are not in it. They move behind those that were local before, and their order is kept, as is
//! that of the ones that are still global. On all architectures but amd64, `ld -Bshareable` links the module again, which
//! keeps the order. So it is certain where all symbols of a kind are local; and where none can have become it, because the
//! last of them comes before one that the compiler can only have made local.
//!
//! Linking again can leave out variables (`.L.str`, of strings that are merged), which their number tells.

use crate::bounds::tail;
use crate::symbols::{Linked, RawKind, RawSymbol, RawSymbols};
use crate::types::{SymbolClass, UntypedReason, UntypedSymbols};
use ctf::EntryCount;

/// Variables that GNU's linker adds to a shared object: instead of as many that are left out. It keeps no order of others
/// than local ones.
const OF_GNU: [&[u8]; 2] = [b"_DYNAMIC", b"_GLOBAL_OFFSET_TABLE_"];

/// The variables and functions whose types are not certain, by how many of them there are and how many entries for them: of
/// no file in particular.
pub(super) fn untyped(symbols: &RawSymbols, (objects, functions): (EntryCount, EntryCount)) -> Vec<UntypedSymbols> {
    let of_objects = reason(symbols, SymbolClass::Variables, objects);
    let of_functions = reason(symbols, SymbolClass::Functions, functions);
    let found = match (of_objects, of_functions) {
        (Some(one), Some(other)) if one == other => vec![(SymbolClass::Both, one)],
        // What has left out some of one kind can have left out and added some of the other, unless it is known what it was.
        (Some(counts @ UntypedReason::Counts { .. }), None) | (None, Some(counts @ UntypedReason::Counts { .. }))
            if symbols.linked() != Linked::SharedObject =>
        {
            vec![(SymbolClass::Both, counts)]
        }
        (of_objects, of_functions) => {
            let found = [(SymbolClass::Variables, of_objects), (SymbolClass::Functions, of_functions)];
            found.into_iter().filter_map(|(what, reason)| Some((what, reason?))).collect()
        }
    };
    let named = |what: SymbolClass| {
        let of_class = symbols.iter().filter(|symbol| !symbol.is_undefined && class_of(symbol.kind, what));
        let named = of_class.filter_map(|symbol| Some((str::from_utf8(symbol.name).ok()?.into(), symbol.address?)));
        named.collect()
    };
    let untyped = |(what, reason)| UntypedSymbols { what, reason, source: 0, symbols: named(what) };
    found.into_iter().map(untyped).collect()
}

/// Whether a symbol is one of a class.
fn class_of(kind: RawKind, what: SymbolClass) -> bool {
    kind != RawKind::Other && what.includes(kind == RawKind::Function)
}

/// Why the types of variables or functions are not certain.
fn reason(symbols: &RawSymbols, what: SymbolClass, count: EntryCount) -> Option<UntypedReason> {
    let EntryCount { entries, symbols: found } = count;
    if !count.is_whole() {
        return Some(UntypedReason::Counts { what, expected: entries, found });
    }
    let is_told = entries > 0;
    let kind = if what == SymbolClass::Functions { RawKind::Function } else { RawKind::Object };
    (is_told && is_uncertain(symbols, kind)).then_some(UntypedReason::Reordered)
}

/// Whether symbols of a kind can have another order than when the CTF was made.
fn is_uncertain(symbols: &RawSymbols, kind: RawKind) -> bool {
    match symbols.linked() {
        Linked::Program => false,
        Linked::SharedObject if symbols.iter().any(|symbol| is_of_gnu(&symbol)) => true,
        Linked::SharedObject | Linked::Relocatable => can_have_become_local(symbols, kind),
    }
}

fn is_of_gnu(symbol: &RawSymbol<'_>) -> bool {
    symbol.kind == RawKind::Object && OF_GNU.contains(&symbol.name)
}

/// Whether some symbols of a kind can have become local, while others have not.
fn can_have_become_local(symbols: &RawSymbols, kind: RawKind) -> bool {
    let (mut is_doubtful, mut has_global) = (false, false);
    for symbol in symbols.iter().filter(|symbol| !symbol.is_undefined) {
        if symbol.is_local && was_always_local(symbol.name) {
            is_doubtful = false;
        } else if symbol.kind == kind {
            is_doubtful |= symbol.is_local;
            has_global |= !symbol.is_local;
        }
    }
    is_doubtful && has_global
}

/// Whether the compiler can only have made a symbol of this name local: that of a variable that is static in a function, of
/// a part of a function (`function.variable`; C has no points in names), or of an entry of a linker set (`__MAKE_SET` of
/// `sys/linker_set.h`).
fn was_always_local(name: &[u8]) -> bool {
    let is_entry = name.strip_prefix(b"__set_").is_some_and(|rest| rest.windows(5).any(|part| part == b"_sym_"));
    is_entry || tail(name, 1).contains(&b'.')
}

#[cfg(test)]
mod tests {
    use super::was_always_local;

    #[test]
    fn names_that_code_cannot_give_to_globals_were_always_local() {
        for name in ["f.once", ".L.str", ".L.str.12", "f.cold", "__set_sysctl_set_sym_sysctl___kern"] {
            assert!(was_always_local(name.as_bytes()), "{name}");
        }
        // The second is a function's code by the first ABI of powerpc64.
        for name in ["", ".f", "f", "__set_f", "set_sym_f", "__start_set_sysctl_set"] {
            assert!(!was_always_local(name.as_bytes()), "{name}");
        }
    }
}
