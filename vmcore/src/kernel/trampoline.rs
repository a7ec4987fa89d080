//! i386: the code that enters and leaves the kernel. Since FreeBSD 12 a kernel runs a copy of it, at addresses that
//! are mapped in processes, too: handlers of interrupts, and `fork_trampoline`, where a new thread begins
//! (`machdep_init_trampoline()` in `sys/i386/i386/machdep.c`, `cpu_fork()` in `vm_machdep.c`).

use super::KernelMemory;
use crate::architecture::Architecture;
use crate::dump::header::Relocation;
use crate::symbols::Symbols;

/// Where the copy is; `None` where there is none, or nothing tells.
pub(super) fn find(kernel: &KernelMemory, symbols: &dyn Symbols) -> Option<Relocation> {
    if kernel.architecture() != Architecture::I386 {
        return None;
    }
    let address = |name| symbols.find(name).ok().flatten().map(|symbol| symbol.address);
    let (linked, end) = (address("start_exceptions")?, address("end_exceptions")?);
    let displacement = kernel.u32(address("setidt_disp")?).ok().filter(|displacement| *displacement != 0)?;
    let ran = u32::try_from(linked).ok()?.wrapping_add(displacement).into();
    Some(Relocation { linked, ran, size: end.checked_sub(linked)? })
}
