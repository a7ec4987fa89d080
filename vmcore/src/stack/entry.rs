//! The kernel's entries: code in assembly language that saves a trap frame, by the names of its symbols.
//!
//! Sources: `sys/amd64/amd64/exception.S` and `apic_vector.S`, `sys/i386/i386/exception.s` and `apic_vector.S`,
//! `sys/arm64/arm64/exception.S`, `sys/arm/arm/exception.S`, `sys/riscv/riscv/exception.S`, `sys/powerpc/aim/trap_subr64.S`.

use super::TrapKind;
use crate::architecture::Architecture;

/// Where a new thread begins.
pub const BEGINNING: &str = "fork_trampoline";

/// The function that a new thread begins with, which arm's `fork_trampoline` jumps to.
pub const FIRST: &str = "fork_exit";

/// What leads to the function of this name, if it is one that saves a trap frame. What the trap frame says comes before
/// it.
///
/// A kernel without its local symbols (strip(1)) has only global ones: code behind them is named after those.
pub fn kind(architecture: Architecture, name: &str) -> Option<TrapKind> {
    match architecture {
        Architecture::Amd64 | Architecture::I386 => x86(name),
        Architecture::Arm64 => arm64(name),
        Architecture::Riscv => name.starts_with("cpu_exception_handler").then_some(TrapKind::Exception),
        Architecture::Powerpc64 => matches!(name, "trapexit" | "asttrapexit" | "dbtrap").then_some(TrapKind::Exception),
        Architecture::Arm => arm(name),
    }
}

/// arm: the function behind which the kernel goes back to what it interrupted, and which entries have called instead of
/// themselves: calls of handlers return to its beginning. A system call's comes back to `swi_exit`.
pub fn label(name: &str) -> Option<TrapKind> {
    match name {
        "swi_exit" => Some(TrapKind::SystemCall),
        "exception_exit" => Some(TrapKind::Exception),
        _ => None,
    }
}

/// arm: whether a function is one that entries of interrupts call, or that their handlers end in, where they give up the
/// processor.
pub fn handles_interrupts(name: &str) -> bool {
    matches!(name, "arm_irq_handler" | "intr_irq_handler" | "mi_switch")
}

/// Whether the entry of this name is one for what interrupts the kernel, and not for what interrupts user mode.
pub fn is_from_kernel(name: &str) -> bool {
    name.starts_with("handle_el1h_") || name == "cpu_exception_handler_supervisor"
}

fn x86(name: &str) -> Option<TrapKind> {
    const INTERRUPTS: &[&str] = &[
        "Xapic_isr",
        "Xatpic_intr",
        "Xcmcint",
        "Xcpustop",
        "Xcpususpend",
        "Xerrorint",
        "Xinvlcache",
        "Xinvlop",
        "Xinvlpg",
        "Xinvlrng",
        "Xinvltlb",
        "Xipi_",
        "Xrendezvous",
        "Xspuriousint",
        "Xtimerint",
        "Xxen_intr_upcall",
    ];
    const SYSTEM_CALLS: &[&str] =
        &["Xfast_syscall", "fast_syscall_common", "Xint0x80_syscall", "int0x80_syscall_common", "Xlcall_syscall"];
    let begins_with = |names: &[&str]| names.iter().any(|known| name.starts_with(known));
    match name {
        "calltrap" | "nmi_calltrap" | "mchk_calltrap" | "Xnmi" | "Xmchk" | "Xdblfault" | "Xdbg" => {
            Some(TrapKind::Exception)
        }
        "ds_load_fault" | "es_load_fault" | "fs_load_fault" | "gs_load_fault" | "fsbase_load_fault"
        | "gsbase_load_fault" => Some(TrapKind::Exception),
        // It calls ast() before it returns to user mode.
        "doreti" | "doreti_ast" | "doreti_next" => Some(TrapKind::Return),
        _ if begins_with(SYSTEM_CALLS) => Some(TrapKind::SystemCall),
        _ if begins_with(INTERRUPTS) => Some(TrapKind::Interrupt),
        _ => None,
    }
}

fn arm(name: &str) -> Option<TrapKind> {
    match name {
        "prefetch_abort_entry" | "data_abort_entry" | "undefined_entry" => Some(TrapKind::Exception),
        "irq_entry" | "fiq_entry" => Some(TrapKind::Interrupt),
        "swi_entry" => Some(TrapKind::SystemCall),
        // They call ast() before they return to user mode.
        "swi_exit" | "exception_exit" => Some(TrapKind::Return),
        _ => None,
    }
}

fn arm64(name: &str) -> Option<TrapKind> {
    let exception = name.strip_prefix("handle_el0_").or_else(|| name.strip_prefix("handle_el1h_"));
    match (name, exception) {
        (_, Some("irq" | "fiq")) => Some(TrapKind::Interrupt),
        ("handle_serror" | "handle_empty_exception", _) | (_, Some(_)) => Some(TrapKind::Exception),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_known_by_their_names() {
        let cases = [
            (Architecture::Amd64, "calltrap", Some(TrapKind::Exception)),
            (Architecture::Amd64, "Xapic_isr1_pti", Some(TrapKind::Interrupt)),
            (Architecture::Amd64, "fast_syscall_common", Some(TrapKind::SystemCall)),
            (Architecture::Amd64, "doreti_ast", Some(TrapKind::Return)),
            (Architecture::Amd64, "trap", None),
            (Architecture::Arm64, "handle_el1h_fiq", Some(TrapKind::Interrupt)),
            (Architecture::Arm64, "handle_el0_sync", Some(TrapKind::Exception)),
            (Architecture::Arm64, "handle_el1t", None),
            (Architecture::Riscv, "cpu_exception_handler_user", Some(TrapKind::Exception)),
            (Architecture::Riscv, "calltrap", None),
            (Architecture::Arm, "irq_entry", Some(TrapKind::Interrupt)),
            (Architecture::Arm, "swi_handler", None),
            (Architecture::Powerpc64, "asttrapexit", Some(TrapKind::Exception)),
        ];
        for (architecture, name, expected) in cases {
            assert_eq!(kind(architecture, name), expected, "{name}");
        }
    }
}
