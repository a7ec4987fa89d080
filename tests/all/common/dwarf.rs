//! Debug information (DWARF 4) of variables, written byte by byte.

use vmcore_synth::Arch;

/// Operations of locations.
pub const CONSTU: u8 = 0x10;
pub const CONSTS: u8 = 0x11;
pub const MUL: u8 = 0x1e;
pub const NOT: u8 = 0x20;
pub const PLUS: u8 = 0x22;
pub const PLUS_UCONST: u8 = 0x23;
pub const LIT0: u8 = 0x30;
const ADDR: u8 = 0x03;
const DEREF_SIZE: u8 = 0x94;
const STACK_VALUE: u8 = 0x9f;

/// Encodings of base types.
pub const BOOLEAN: u8 = 2;
pub const SIGNED: u8 = 5;
pub const UNSIGNED: u8 = 7;
pub const UNSIGNED_CHAR: u8 = 8;

/// A variable, and what the debug information says of it.
pub struct DebugVariable<'a> {
    pub name: &'a str,
    /// Name, encoding and bytes of its type.
    pub of: (&'a str, u8, u8),
    pub address: u64,
    /// What is computed from the byte there; nothing of a variable that is there as its type says.
    pub computed: &'a [u8],
}

/// A unit, a base type and a variable: tags, whether something is within, attributes with their forms.
const ABBREVIATIONS: [&[u8]; 4] = [
    &[1, 0x11, 1, 0, 0],
    &[2, 0x24, 0, 0x03, 0x08, 0x3e, 0x0b, 0x0b, 0x0b, 0, 0],
    &[3, 0x34, 0, 0x03, 0x08, 0x49, 0x13, 0x02, 0x18, 0, 0],
    &[0],
];
/// Bytes before the first entry.
const HEADER: usize = 11;

/// The sections that say this of variables.
pub fn sections(arch: Arch, variables: &[DebugVariable<'_>]) -> Vec<(&'static str, Vec<u8>)> {
    let number = |value: u64, size| arch.order().bytes(value, size);
    let mut entries = vec![1];
    for DebugVariable { name, of: (of, encoding, size), address, computed } in variables {
        let type_at = number((HEADER + entries.len()) as u64, 4);
        entries.extend([&[2], of.as_bytes(), &[0, *encoding, *size]].concat());
        let mut location = [&[ADDR], &*number(*address, arch.word())].concat();
        if !computed.is_empty() {
            location.extend([&[DEREF_SIZE, 1], *computed, &[STACK_VALUE]].concat());
        }
        let length = u8::try_from(location.len()).unwrap();
        entries.extend([&[3], name.as_bytes(), &[0], &type_at, &[length], &location].concat());
    }
    entries.push(0);
    let word = u8::try_from(arch.word()).unwrap();
    let header = [number(4, 2), number(0, 4), vec![word]].concat();
    let length = number((header.len() + entries.len()) as u64, 4);
    vec![(".debug_abbrev", ABBREVIATIONS.concat()), (".debug_info", [length, header, entries].concat())]
}
