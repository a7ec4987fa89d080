//! `sys/linker.h`: what kldsym(2) takes.

use core::ffi::{c_char, c_int, c_ulong};

/// `KLDSYM_LOOKUP`: look a symbol up by its name.
pub const KLDSYM_LOOKUP: c_int = 1;

/// What is looked up, and what is found.
#[allow(non_camel_case_types, reason = "the header's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kld_sym_lookup {
    /// The size of this structure.
    pub version: c_int,
    /// The name, NUL-terminated; the kernel only reads it.
    pub symname: *const c_char,
    /// The kernel's answer: the symbol's value, an address.
    pub symvalue: c_ulong,
    /// The kernel's answer: the symbol's size in bytes.
    pub symsize: usize,
}

impl kld_sym_lookup {
    /// A question for a name.
    pub const fn new(symname: *const c_char) -> Self {
        // It is some dozen bytes.
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "see above")]
        let version = size_of::<Self>() as c_int;
        Self { version, symname, symvalue: 0, symsize: 0 }
    }
}
