//! What tells the crashes of one bug from those of another, on any machine.
//!
//! A fingerprint is made of the names of functions alone, from the function in which it went wrong to the one that a
//! system call, a new thread or an interrupt began in. Addresses and offsets differ between machines and builds, functions
//! that are inlined are not known without debug information, and what an interrupt came in between is chance: none of them
//! is part of it.
//!
//! | what | becomes |
//! | --- | --- |
//! | functions that panic, dump and debug ([`PANIC`]), at the beginning | left out |
//! | functions that handle a trap ([`TRAP`]) and its entry, at the beginning: what they interrupted is the reason | left out |
//! | the same, if nothing is left without them, as of a trap from user mode | kept |
//! | functions that call those of a system call, a thread or an interrupt ([`END`]) | the end |
//! | the entry of a system call, an interrupt, a non-maskable interrupt, a machine check, of any trap from user mode | the end |
//! | other entries | left out: they have other names in a kernel without local symbols |
//! | `.cold`, `.isra.0`, `.constprop.0`, `.part.0`, `.llvm.123` behind a name | left out |
//! | recursion, of one function or several in turn | once |
//! | a jump to where there is no code, and a caller without a name | `?` |
//!
//! Where the function in which it went wrong is not known, it is made of the panic's message without numbers.

use crate::architecture::Architecture;
use crate::bounds::{head, split_text};
use crate::stack::{Call, Stack, Trap, TrapKind, is_entry};
use crate::units::hex_digits;
use sha2::{Digest, Sha256};
use std::fmt;

/// The version of the rules, which a fingerprint begins with: those of different versions are not comparable.
const VERSION: u32 = 1;
/// Bytes of the SHA-256 that are in a fingerprint.
const LENGTH: usize = 8;
/// Recursion of more functions in turn than this is not recognised.
const MAX_CYCLE: usize = 32;

/// Functions that panic, dump and debug. `*` at the end stands for anything.
const PANIC: &[&str] = &[
    // kern_shutdown.c, subr_kdb.c
    "panic",
    "vpanic",
    "kassert_panic",
    "kern_reboot",
    "doadump",
    "kproc_shutdown",
    "shutdown_panic",
    "kdb_backtrace*",
    "kdb_enter",
    "kdb_reboot",
    "kdb_reenter*",
    "kdb_trap",
    "kdb_panic",
    // ddb, and stubs
    "db_*",
    "breakpoint",
    "savectx",
    "dumpsys*",
    "minidumpsys",
    "cpu_minidumpsys",
    "__stack_chk_fail",
];
/// Functions that handle a trap of the kernel, and those that they panic in.
const TRAP: &[&str] = &[
    // amd64, i386, powerpc
    "trap",
    "trap_*",
    "dblfault_handler",
    "powerpc_interrupt",
    "printtrap",
    "cpu_printtrap",
    "db_trap_glue",
    // arm64
    "do_el1h_sync",
    "do_serror",
    "data_abort",
    "align_abort",
    "external_abort",
    "unhandled_exception",
    "print_registers",
    "print_gp_register",
    "handle_empty_exception",
    // riscv
    "do_trap_supervisor",
    "page_fault_handler",
    "dump_regs",
    // arm
    "abort_handler",
    "abort_fatal",
    "abort_align",
    "undefinedinstruction",
    // "fault on nofault entry"
    "vm_fault",
    "vm_fault_lookup",
    "vm_fault_trap",
];
/// Functions that call those of a system call, a thread or an interrupt.
const END: &[&str] = &[
    "amd64_syscall",
    "ia32_syscall",
    "syscall",
    "syscallenter",
    "svc_handler",
    "do_el0_sync",
    "do_trap_user",
    "ecall_handler",
    "swi_handler",
    "fork_exit",
    "fork_trampoline",
    "intr_event_handle",
    "timercb",
    "btext",
];

/// What a compiler appends to the names of parts and copies of a function.
const SUFFIXES: &[&str] = &["cold", "constprop", "isra", "llvm", "lto_priv", "part"];

/// What a fingerprint is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The functions of a stack.
    Stack,
    /// The panic's message.
    PanicMessage,
}

/// Tells the crashes of one bug from those of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The version of the rules and, behind a colon, 16 hexadecimal digits.
    pub value: String,
    /// What it is made of.
    pub basis: Basis,
    /// The names of the functions, or the message.
    pub parts: Vec<String>,
}

/// Why there is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFingerprint {
    /// The kernel did not panic.
    NoPanic,
    /// It panicked without a message, and no function is known.
    Nothing,
    /// What would tell whether it panicked is missing.
    Unknown,
}

impl fmt::Display for NoFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPanic => "the kernel did not panic",
            Self::Nothing => "neither the functions nor the message of the panic are known",
            Self::Unknown => "whether the kernel panicked is not known, because part of the dump is missing",
        })
    }
}

impl Fingerprint {
    /// The fingerprint of a crash: what the kernel panicked with, and the stack of the thread that wrote the dump. A trap that
    /// led to the debugger counts as a panic.
    ///
    /// # Errors
    ///
    /// There is none, and why.
    pub fn new(
        architecture: Architecture,
        panic: Option<&str>,
        stack: Option<(&Stack, &[Call])>,
    ) -> Result<Self, NoFingerprint> {
        let steps = stack.map(|(stack, calls)| steps(architecture, stack, calls)).unwrap_or_default();
        if panic.is_none() && !has_fault(&steps) {
            return Err(NoFingerprint::NoPanic);
        }
        let steps = reason(&steps);
        if !steps.first().is_some_and(Step::is_known) {
            return Self::from_message(panic.unwrap_or_default());
        }
        let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
        Ok(Self::of(Basis::Stack, without_recursion(&names).into_iter().map(str::to_owned).collect()))
    }

    /// The fingerprint of a panic of which only the message is known.
    ///
    /// # Errors
    ///
    /// The message is empty.
    pub fn from_message(message: &str) -> Result<Self, NoFingerprint> {
        let message = without_numbers(message);
        if message.is_empty() { Err(NoFingerprint::Nothing) } else { Ok(Self::of(Basis::PanicMessage, vec![message])) }
    }

    fn of(basis: Basis, parts: Vec<String>) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(match basis {
            Basis::Stack => "stack",
            Basis::PanicMessage => "panic",
        });
        for part in &parts {
            hasher.update(b"\n");
            hasher.update(part);
        }
        let value = format!("{VERSION}:{}", hex_digits(head(&hasher.finalize(), LENGTH)));
        Self { value, basis, parts }
    }
}

/// The name of an address that has none.
pub(super) const UNKNOWN: &str = "?";

/// A frame, as far as it matters here.
#[derive(Clone, Copy)]
struct Step<'a> {
    /// Without what the compiler appended.
    name: &'a str,
    /// Whether the function is an entry of the kernel.
    is_entry: bool,
    trap: Option<&'a Trap>,
    /// Whether it is no function, but where a call led that there is no code.
    is_nowhere: bool,
}

impl Step<'_> {
    fn is_panic(&self) -> bool {
        panics(self.name)
    }

    /// Whether it is part of how a trap in the kernel is handled.
    fn is_trap(&self) -> bool {
        is_listed(TRAP, self.name) || (self.is_entry && !self.is_outermost())
    }

    /// Whether it is an entry, and what it interrupted has nothing to do with what came then.
    fn is_outermost(&self) -> bool {
        self.trap.is_some_and(|trap| {
            let is_sudden =
                matches!(trap.name, Some("non-maskable interrupt" | "machine check" | "system reset" | "SError"));
            trap.from_user || trap.kind != TrapKind::Exception || is_sudden
        })
    }

    fn is_known(&self) -> bool {
        self.name != UNKNOWN || self.is_nowhere
    }

    fn is_end(&self) -> bool {
        self.is_outermost() || is_listed(END, self.name)
    }
}

/// Whether a function of this name panics, dumps or debugs.
pub(super) fn panics(name: &str) -> bool {
    is_listed(PANIC, name)
}

fn is_listed(list: &[&str], name: &str) -> bool {
    list.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => *known == name,
    })
}

fn steps<'a>(architecture: Architecture, stack: &'a Stack, calls: &'a [Call]) -> Vec<Step<'a>> {
    let trap = |index: usize| stack.frames.get(index).and_then(|frame| frame.trap.as_deref());
    let step = |call: &'a Call| {
        let name = call.function.as_deref().map_or(UNKNOWN, without_suffix);
        let fault = call.frame.checked_sub(1).and_then(trap);
        let pc = stack.frames.get(call.frame).map(|frame| frame.pc);
        let is_nowhere = name == UNKNOWN && fault.is_some_and(|fault| is_of_fetch(fault, pc));
        let trap = trap(call.frame);
        Step { name, is_entry: trap.is_some() || is_entry(architecture, name), trap, is_nowhere }
    };
    calls.iter().filter(|call| !call.is_inlined).map(step).collect()
}

/// Whether a trap is that of an instruction that could not be fetched.
fn is_of_fetch(trap: &Trap, pc: Option<u64>) -> bool {
    let is_named = trap.name.is_some_and(|name| name.starts_with("instruction "));
    is_named || trap.fault_address.is_some() && trap.fault_address == pc
}

/// How many functions at the beginning panic, dump, debug or handle traps.
fn machinery(steps: &[Step<'_>]) -> usize {
    steps.iter().take_while(|step| step.is_panic() || step.is_trap()).count()
}

/// Whether a trap led to the debugger, and not the request to enter it.
fn has_fault(steps: &[Step<'_>]) -> bool {
    let pairs = steps.iter().zip(steps.iter().skip(1)).take(machinery(steps));
    pairs.into_iter().any(|(step, interrupted)| step.trap.is_some() && step.is_trap() && !interrupted.is_panic())
}

/// The functions that a fingerprint is made of.
fn reason<'a>(steps: &[Step<'a>]) -> Vec<Step<'a>> {
    let from = |first: usize| -> Vec<Step<'a>> {
        let rest = steps.iter().skip(first).take_while(|step| !step.is_end());
        rest.filter(|step| !step.is_entry).copied().collect()
    };
    let machinery = machinery(steps);
    let reason = from(machinery);
    if !reason.is_empty() {
        return reason;
    }
    let panic = steps.iter().take(machinery).rposition(Step::is_panic);
    from(panic.map_or(0, |last| last + 1))
}

/// A name without what the compiler appended to it: `vm_fault.part.0` is `vm_fault`.
fn without_suffix(name: &str) -> &str {
    let is_suffix = |(at, _): &(usize, &str)| {
        let suffix = name.get(at + 1..).and_then(|rest| rest.split('.').next());
        *at > 0 && suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix))
    };
    let end = name.match_indices('.').find(is_suffix).map_or(name.len(), |(at, _)| at);
    split_text(name, end).0
}

/// The names with each cycle of recursion once. Where a recursion was interrupted is chance: it may be anywhere in its last
/// turn.
fn without_recursion<'a>(names: &[&'a str]) -> Vec<&'a str> {
    // From the outermost on, so that all turns but the last are whole.
    let mut kept: Vec<&str> = Vec::new();
    // Of the last cycle: where it begins, and where it ends.
    let mut cycle = (0, 0);
    for name in names.iter().rev() {
        kept.push(name);
        let half = |length: usize| Some((kept.len().checked_sub(length)?, kept.len().checked_sub(2 * length)?));
        let is_repeated = |(middle, begin): &(usize, usize)| kept.get(*middle..) == kept.get(*begin..*middle);
        if let Some((middle, begin)) = (1..=MAX_CYCLE).filter_map(half).find(is_repeated) {
            kept.truncate(middle);
            cycle = (begin, middle);
        }
    }
    let (begin, end) = cycle;
    let turn = kept.get(begin..end).map(<[&str]>::to_vec);
    if turn.is_some_and(|turn| kept.get(end..).is_some_and(|rest| turn.starts_with(rest))) {
        kept.truncate(end);
    }
    kept.reverse();
    kept
}

/// A message with `N` for each number and address.
fn without_numbers(message: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut text = String::new();
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let is_first_word = is_word(first);
        let end = rest.find(|c| is_word(c) != is_first_word).unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        if is_first_word {
            push_word(&mut text, part)
        } else {
            text.push_str(part)
        }
        rest = behind;
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Digits of a hexadecimal number that need no `0x` to be taken for one.
const ADDRESS_DIGITS: usize = 8;

fn push_word(text: &mut String, word: &str) {
    let is_hexadecimal = |digits: &str| digits.chars().all(|c| c.is_ascii_hexdigit());
    let is_address =
        word.len() >= ADDRESS_DIGITS && word.contains(|c: char| c.is_ascii_digit()) && is_hexadecimal(word);
    if is_address || word.strip_prefix("0x").is_some_and(|digits| !digits.is_empty() && is_hexadecimal(digits)) {
        return text.push('N');
    }
    let mut is_in_number = false;
    for c in word.chars() {
        let is_digit = c.is_ascii_digit();
        match (is_digit, is_in_number) {
            (true, false) => text.push('N'),
            (true, true) => {}
            (false, _) => text.push(c),
        }
        is_in_number = is_digit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::kernel::Registers;
    use crate::stack::{End, FoundBy, Frame};

    const ARCHITECTURE: Architecture = Architecture::Amd64;

    fn trap(kind: TrapKind, name: Option<&'static str>, from_user: bool) -> Trap {
        let registers = Registers::unknown(ARCHITECTURE);
        Trap { kind, address: 0, number: None, name, fault_address: None, from_user, registers }
    }

    /// A stack of functions with their traps; the names of inlined ones begin with `~`.
    fn stack(functions: &[(&str, Option<Trap>)]) -> (Stack, Vec<Call>) {
        let (mut frames, mut calls) = (Vec::new(), Vec::new());
        for (name, trap) in functions {
            let inlined = name.strip_prefix('~');
            calls.push(Call {
                frame: frames.len(),
                function: Some(inlined.unwrap_or(name)).filter(|name| *name != UNKNOWN).map(str::to_owned),
                offset: None,
                file: None,
                is_in_module: false,
                source: None,
                is_inlined: inlined.is_some(),
            });
            if inlined.is_none() {
                let trap = trap.clone().map(Box::new);
                frames.push(Frame { pc: 0, is_return: true, fp: 0, repeats: 0, trap, found_by: FoundBy::FramePointer });
            }
        }
        (Stack { frames, end: End::UserMode }, calls)
    }

    /// The functions in the fingerprint of a panic.
    fn of(functions: &[(&str, Option<Trap>)]) -> String {
        let (stack, calls) = stack(functions);
        let found = Fingerprint::new(ARCHITECTURE, Some("it"), Some((&stack, &calls))).unwrap();
        assert!(found.value.starts_with("1:") && found.value.len() == 18, "{found:?}");
        if found.basis == Basis::Stack { found.parts.join(" ") } else { format!("({})", found.parts.join(" ")) }
    }

    #[test]
    fn what_panics_and_handles_traps_is_left_out_unless_nothing_else_is_there() {
        let exception = |from_user| Some(trap(TrapKind::Exception, Some("page fault"), from_user));
        let call = || ("fast_syscall_common", Some(trap(TrapKind::SystemCall, None, true)));
        let plain = |name: &'static str| (name, None);
        let begin = [plain("~doadump_inner"), plain("doadump"), plain("vpanic"), plain("panic")];
        let with = |rest: &[(&str, Option<Trap>)]| of(&[&begin, rest].concat());
        let end = [plain("sys_read"), plain("amd64_syscall"), call()];
        assert_eq!(with(&end), "sys_read");
        assert_eq!(with(&[&[plain("~inlined"), plain("f.isra.0")], &end[..]].concat()), "f sys_read");
        let fault = [plain("trap_pfault"), ("calltrap", exception(false))];
        assert_eq!(with(&[&fault[..], &[plain("f")], &end].concat()), "f sys_read");
        assert_eq!(with(&[&fault[..], &[plain("f"), plain("?")], &end].concat()), "f ? sys_read");
        assert_eq!(with(&[&fault[..], &[plain("?")], &end].concat()), "(it)", "a function without a name");
        let fetch = Some(trap(TrapKind::Exception, Some("instruction abort"), false));
        assert_eq!(with(&[&[("calltrap", fetch), plain("?")], &end[..]].concat()), "? sys_read", "a jump to nowhere");
        // The page fault is not what is wrong: the pager is.
        let pager = [plain("vnode_pager_getpages"), plain("vm_fault")];
        assert_eq!(with(&[&pager, &fault, &end[..]].concat()), "vnode_pager_getpages vm_fault trap_pfault sys_read");
        assert_eq!(with(&[plain("trap_pfault"), plain("trap"), ("calltrap", exception(true))]), "trap_pfault trap");
        // What a non-maskable interrupt or an interrupt came in between is chance.
        let sudden = Some(trap(TrapKind::Exception, Some("non-maskable interrupt"), false));
        assert_eq!(with(&[&[plain("nmi_call_kdb"), ("Xnmi", sudden)], &end[..]].concat()), "nmi_call_kdb");
        let interrupt = Some(trap(TrapKind::Interrupt, None, false));
        let handler =
            [plain("uart_intr"), plain("intr_event_handle"), plain("lapic_handle_intr"), ("Xapic_isr1", interrupt)];
        assert_eq!(with(&[&handler, &end[..]].concat()), "uart_intr");
        assert_eq!(with(&[plain("?"), call()]), "(it)");
        assert_eq!(with(&[]), "(it)");
    }

    #[test]
    fn without_a_panic_only_a_trap_has_a_fingerprint() {
        let exception = || Some(trap(TrapKind::Exception, Some("page fault"), false));
        let of = |interrupted: &'static str| {
            let functions = [("db_dump", None), ("kdb_trap", None), ("calltrap", exception()), (interrupted, None)];
            let (stack, calls) = stack(&functions);
            Fingerprint::new(ARCHITECTURE, None, Some((&stack, &calls)))
        };
        assert_eq!(of("f").unwrap().parts, ["f"]);
        assert_eq!(of("kdb_enter"), Err(NoFingerprint::NoPanic));
        assert_eq!(Fingerprint::new(ARCHITECTURE, None, None), Err(NoFingerprint::NoPanic));
        assert_eq!(Fingerprint::from_message(" "), Err(NoFingerprint::Nothing));
    }

    #[test]
    fn compilers_append_what_is_no_name() {
        for (name, expected) in [
            ("vm_fault.cold", "vm_fault"),
            ("vm_fault.part.0.isra.3", "vm_fault"),
            ("f.llvm.12345", "f"),
            (".cold", ".cold"),
            ("linux_sys.x", "linux_sys.x"),
            ("?", "?"),
        ] {
            assert_eq!(without_suffix(name), expected);
        }
    }

    #[test]
    fn recursion_is_named_once_wherever_it_was_interrupted() {
        let of = |names: &str| without_recursion(&names.split(' ').collect::<Vec<_>>()).join(" ");
        assert_eq!(of("a a a a b"), "a b");
        assert_eq!(of("a b c"), "a b c");
        for interrupted in ["x y z x y z x y z m", "y z x y z x y z m", "z x y z x y z m", "x y z m"] {
            assert_eq!(of(interrupted), "x y z m", "{interrupted}");
        }
        assert_eq!(of("a b a b a c"), "b a c", "an incomplete turn");
        assert_eq!(of("x x m x x"), "x m x");
        assert_eq!(of("?"), "?");
    }

    #[test]
    fn messages_have_no_numbers() {
        for (message, expected) in [
            ("Fatal page fault at 0xffffffc000255726: 0x10", "Fatal page fault at N: N"),
            ("spin lock 0xfffff800 (sched lock 12) held by fffff80003b1a000", "spin lock N (sched lock N) held by N"),
            ("ffs_alloc: dev=ada0p2, bno = -31\n", "ffs_alloc: dev=adaNpN, bno = -N"),
            ("deadbeef facade", "deadbeef facade"),
            ("page fault", "page fault"),
            ("12", "N"),
            ("  ", ""),
        ] {
            assert_eq!(without_numbers(message), expected);
        }
    }
}
