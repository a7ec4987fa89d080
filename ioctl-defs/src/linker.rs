//! `sys/linker.h`: what kldsym(2) and kldstat(2) take.

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

/// `MAXPATHLEN` of `sys/param.h`: the longest path, with its NUL.
pub const MAXPATHLEN: usize = 1024;

/// What the kernel tells of a file that it has linked.
#[allow(non_camel_case_types, reason = "the header's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kld_file_stat {
    /// The size of this structure.
    pub version: c_int,
    /// The file's name and a NUL.
    pub name: [c_char; MAXPATHLEN],
    /// How many refer to it.
    pub refs: c_int,
    /// Its number.
    pub id: c_int,
    /// The virtual address that it was loaded at.
    pub address: *mut c_char,
    /// Bytes of memory that it takes.
    pub size: usize,
    /// Where it was loaded from, and a NUL.
    pub pathname: [c_char; MAXPATHLEN],
}

impl kld_file_stat {
    /// Room for an answer.
    pub const fn new() -> Self {
        // It is some thousand bytes.
        #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "see above")]
        let version = size_of::<Self>() as c_int;
        let (name, address) = ([0; MAXPATHLEN], core::ptr::null_mut());
        Self { version, name, refs: 0, id: 0, address, size: 0, pathname: name }
    }
}

impl Default for kld_file_stat {
    fn default() -> Self {
        Self::new()
    }
}
