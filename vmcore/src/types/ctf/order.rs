//! Which symbols of a file are in the order in which they were when its CTF was made: CTF has no names of symbols.
//!
//! ctfmerge(1) makes the CTF of a kernel from what was linked. That of a module (`sys/conf/kmod.mk`) it makes from what
//! `ld -r` has linked, where local symbols come before all others. Then objcopy(1) makes those local that are not listed in
//! `EXPORT_SYMS`; and, on all architectures but amd64, `ld -Bshareable` links the module again. Neither changes the
//! order of symbols among those that were local, nor among those that become it; but these move before all that are still
//! global, and nothing in the file tells which they are. So the order is certain where all are local. In a relocatable file
//! it is where none is, too.
//!
//! Linking again can leave out variables (`.L.str`, of strings that are merged), which their number tells.

use crate::symbols::{Linked, RawKind, RawSymbols};
use crate::types::{SymbolClass, UntypedReason, UntypedSymbols};
use ctf::EntryCount;

/// Variables that GNU's linker adds to a shared object: as many as these can have been left out.
const OF_LINKER: [&[u8]; 2] = [b"_DYNAMIC", b"_GLOBAL_OFFSET_TABLE_"];

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
    let mut of_kind = symbols.iter().filter(|symbol| symbol.kind == kind && !symbol.is_undefined);
    match symbols.linked() {
        Linked::Program => false,
        Linked::Relocatable => {
            let first = of_kind.next().is_some_and(|symbol| symbol.is_local);
            of_kind.any(|symbol| symbol.is_local != first)
        }
        Linked::SharedObject => of_kind.any(|symbol| !symbol.is_local || OF_LINKER.contains(&symbol.name)),
    }
}
