//! What knows how functions save the registers of their callers.

use crate::kernel::{Kernel, Registers};
use crate::symbols::{NoSource, SourceLookup};

/// Call frame information (DWARF 5, section 6.4): how the registers of a function's caller are found at each of its
/// instructions.
pub trait CallFrames {
    /// The registers of the caller of a function, as far as they are known: where the call returns to, the stack pointer
    /// behind it, and what functions have to leave as it was. `address` is within the instruction that the function was
    /// in, `registers` are those that it had there, and `read` reads words of the stack.
    ///
    /// `None` where nothing is said of this code, or what is said takes a register or a word that is not known.
    fn caller(
        &mut self,
        kernel: &Kernel,
        address: u64,
        registers: &Registers,
        read: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<Registers>;
}

impl CallFrames for NoSource {
    fn caller(
        &mut self,
        _: &Kernel,
        _: u64,
        _: &Registers,
        _: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<Registers> {
        None
    }
}

/// What knows both where in its source code is, and how its functions save registers: debug information.
pub trait CodeInformation: SourceLookup + CallFrames {}

impl<T: SourceLookup + CallFrames> CodeInformation for T {}
