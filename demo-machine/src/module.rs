//! The module `if_demo.ko`, whose driver has the bug that the machine crashed of.

use crate::function::Function;
use vmcore_synth::image::{
    AMD64, ET_REL, FUNC, GLOBAL, Image, LOCAL, OBJECT, SHF_EXECINSTR, SHF_WRITE, section, symbol,
};

pub const NAME: &str = "if_demo.ko";
/// Where it is in memory.
pub const ADDRESS: u64 = 0xffff_ffff_8200_0000;
/// Where its data begins, behind its code.
const DATA: u64 = 0x2000;
/// Bytes of memory that it takes.
pub const SIZE: u64 = 0x3000;

const FUNCTIONS: [&str; 9] = [
    "demo_modevent",
    "demo_attach",
    "demo_init",
    "demo_start",
    "demo_intr",
    "demo_ioctl",
    "demo_ring_reset",
    "demo_stop",
    "demo_tick",
];

/// Its functions, where they are in memory.
pub fn functions() -> Vec<(String, Function)> {
    let mut address = ADDRESS;
    let function = |name: &str| {
        let function = Function::new(name, address);
        address += function.size;
        (name.to_owned(), function)
    };
    FUNCTIONS.into_iter().map(function).collect()
}

fn code() -> Vec<u8> {
    let mut code: Vec<u8> = functions().into_iter().flat_map(|(_, function)| function.code()).collect();
    code.resize(DATA as usize, 0x90);
    code
}

fn data() -> Vec<u8> {
    let mut data = vec![0; (SIZE - DATA) as usize];
    data[..8].copy_from_slice(&[3, 0, 0, 0, 64, 0, 0, 0]);
    data
}

/// What it has in memory.
pub fn memory() -> Vec<(u64, Vec<u8>)> {
    vec![(ADDRESS, code()), (ADDRESS + DATA, data())]
}

/// Its file.
pub fn file() -> Vec<u8> {
    let sections = vec![section(".text", SHF_EXECINSTR, 0, code()), section(".data", SHF_WRITE, 0, data())];
    let mut symbols: Vec<_> = functions()
        .into_iter()
        .map(|(name, function)| {
            let binding = if name == "demo_modevent" { GLOBAL } else { LOCAL };
            symbol(&name, (binding, FUNC), 1, function.address - ADDRESS, function.size)
        })
        .collect();
    symbols.push(symbol("demo_units", (GLOBAL, OBJECT), 2, 0, 4));
    symbols.push(symbol("demo_ring_size", (GLOBAL, OBJECT), 2, 4, 4));
    Image::new(AMD64, ET_REL, sections, symbols).build()
}
