//! Trap frames: the registers of what an exception, an interrupt or a system call interrupted.
//!
//! Sources: `struct trapframe` in `machine/frame.h` of each architecture; the numbers and their names in
//! `sys/x86/include/trap.h`, `sys/arm64/include/armreg.h`, `sys/riscv/include/riscvreg.h` and
//! `sys/powerpc/include/trap.h`.

use crate::architecture::{Architecture, Endianness};
use crate::bounds::{head, part, tail};
use crate::kernel::Registers;
use serde::Serialize;

/// What led to an entry of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrapKind {
    /// An instruction that could not be executed, or an event that is handled like that, such as a non-maskable
    /// interrupt.
    Exception,
    /// An interrupt.
    Interrupt,
    /// A system call.
    SystemCall,
    /// On the way back to user mode, work for the thread was found.
    Return,
}

impl TrapKind {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exception => "exception",
            Self::Interrupt => "interrupt",
            Self::SystemCall => "system call",
            Self::Return => "return to user mode",
        }
    }
}

/// A trap frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// What led to it.
    pub kind: TrapKind,
    /// Where the trap frame is.
    pub address: u64,
    /// The number of the exception or interrupt, as the processor or the kernel counts them; of a system call, the
    /// call's. `None` where the kernel does not save it.
    pub number: Option<u64>,
    /// What the number stands for, if it is a known one.
    pub name: Option<&'static str>,
    /// The address that could not be accessed.
    pub fault_address: Option<u64>,
    /// Whether user mode was interrupted.
    pub from_user: bool,
    /// The registers of what was interrupted.
    pub registers: Registers,
}

/// How an architecture lays out its trap frames.
pub struct Layout {
    architecture: Architecture,
    /// Bytes.
    pub size: usize,
    /// Where registers are, as [`Registers`] calls them.
    registers: &'static [(&'static str, usize)],
}

impl Layout {
    /// The layouts that a kernel of an architecture can have, the newest first; `release` is its `osreldate`.
    pub fn of(architecture: Architecture, release: Option<u32>) -> &'static [Self] {
        let all = Self::all(architecture);
        match (architecture, release) {
            (Architecture::Arm64, Some(release)) if release >= ARM64_RELEASE_14 => head(all, 1_usize),
            (Architecture::Arm64, Some(release)) if release < ARM64_CURRENT_14 => tail(all, 1_usize),
            _ => all,
        }
    }

    const fn all(architecture: Architecture) -> &'static [Self] {
        match architecture {
            Architecture::Amd64 => &[Self { architecture: Architecture::Amd64, size: 192, registers: AMD64 }],
            Architecture::I386 => &[Self { architecture: Architecture::I386, size: 72, registers: I386 }],
            // FreeBSD 14 added far_el1, and made spsr_el1 and esr_el1 64 bits wide.
            Architecture::Arm64 => &[
                Self { architecture: Architecture::Arm64, size: 288, registers: ARM64 },
                Self { architecture: Architecture::Arm64, size: 272, registers: ARM64_13 },
            ],
            Architecture::Riscv => &[Self { architecture: Architecture::Riscv, size: 280, registers: RISCV }],
            Architecture::Powerpc64 => {
                &[Self { architecture: Architecture::Powerpc64, size: 328, registers: POWERPC64 }]
            }
            Architecture::Arm => &[Self { architecture: Architecture::Arm, size: 80, registers: ARM }],
        }
    }

    /// The trap frame in these bytes, of which there are [`Self::size`].
    pub fn decode(&self, bytes: &[u8], order: Endianness, address: u64, entry: TrapKind) -> Trap {
        let word = self.architecture.word_size();
        let at = |offset: usize, size: usize| order.number(part(bytes, offset..offset + size));
        let values = self.registers.iter().map(|(name, offset)| (*name, at(*offset, word)));
        let registers = Registers::from_values(self.architecture, values);
        let trap = |number: Option<u64>, from_user: bool| Trap {
            kind: entry,
            address,
            number,
            name: number
                .filter(|_| entry == TrapKind::Exception)
                .and_then(|number| exception_name(self.architecture, number)),
            fault_address: None,
            from_user,
            registers: registers.clone(),
        };
        match self.architecture {
            Architecture::Amd64 => {
                let number = at(120, 4);
                let fault = (entry == TrapKind::Exception && number == PAGE_FAULT).then(|| at(128, 8));
                Trap { fault_address: fault, ..trap(x86_number(entry, number, at(48, 8)), at(160, 2) & 3 != 0) }
            }
            Architecture::I386 => {
                let is_user = at(56, 2) & 3 != 0 || at(60, 4) & I386_VM86 != 0;
                // Between rings alone the processor saves the stack pointer; else it stands behind the frame.
                let sp = if is_user { at(64, 4) } else { address.wrapping_add(64) };
                let registers = registers.clone().with("esp", sp);
                Trap { registers, ..trap(x86_number(entry, at(44, 4), at(40, 4)), is_user) }
            }
            Architecture::Arm64 => {
                let is_old = self.size == 272;
                let esr = if is_old { at(28, 4) } else { at(32, 8) };
                let is_user = at(24, 4) & 0xf == 0;
                let class = esr >> 26 & 0x3f;
                match entry {
                    TrapKind::Exception if class == ARM64_SVC && is_user => {
                        let number = registers.get("x8");
                        Trap { kind: TrapKind::SystemCall, name: None, ..trap(number, is_user) }
                    }
                    TrapKind::Exception => {
                        let is_abort = matches!(class, 0x20 | 0x21 | 0x24 | 0x25);
                        let fault = (is_abort && !is_old).then(|| at(40, 8));
                        Trap { fault_address: fault, ..trap(Some(class), is_user) }
                    }
                    _ => trap(None, is_user),
                }
            }
            Architecture::Riscv => {
                let (is_user, cause) = (at(256, 8) & RISCV_FROM_SUPERVISOR == 0, at(272, 8));
                let code = cause & !RISCV_INTERRUPT;
                match code {
                    _ if cause & RISCV_INTERRUPT != 0 => {
                        let name = riscv_interrupt(code);
                        Trap { kind: TrapKind::Interrupt, name, ..trap(Some(code), is_user) }
                    }
                    RISCV_CALL => {
                        let number = registers.get("t0");
                        Trap { kind: TrapKind::SystemCall, name: None, ..trap(number, is_user) }
                    }
                    _ => {
                        let fault = matches!(code, 1 | 4..=7 | 12 | 13 | 15).then(|| at(264, 8));
                        Trap { fault_address: fault, ..trap(Some(code), is_user) }
                    }
                }
            }
            Architecture::Powerpc64 => {
                let (is_user, number) = (at(296, 8) & POWERPC_PROBLEM_STATE != 0, at(304, 8) & 0xfff0);
                match number {
                    0xc00 => {
                        let number = registers.get("r0");
                        Trap { kind: TrapKind::SystemCall, name: None, ..trap(number, is_user) }
                    }
                    0x500 | 0x900 | 0xea0 => Trap { kind: TrapKind::Interrupt, ..trap(Some(number), is_user) },
                    0x3000 => Trap { kind: TrapKind::Return, ..trap(None, is_user) },
                    _ => {
                        let fault = matches!(number, 0x300 | 0x380 | 0x600).then(|| at(312, 8));
                        Trap { fault_address: fault, ..trap(Some(number), is_user) }
                    }
                }
            }
            Architecture::Arm => {
                let is_user = at(0, 4) & ARM_MODE == ARM_USER;
                let bank = if is_user { ARM_BANK_OF_USER } else { ARM_BANK_OF_KERNEL };
                let [sp, lr] = bank.map(|offset| at(offset, 4));
                let number = registers.get("r7").filter(|_| entry == TrapKind::SystemCall);
                let registers = registers.clone().with("sp", sp).with("lr", lr);
                Trap { registers, ..trap(number, is_user) }
            }
        }
    }
}

/// `osreldate` when the development of FreeBSD 14 began, and of its release: in between, the layout changed.
const ARM64_CURRENT_14: u32 = 1_400_000;
const ARM64_RELEASE_14: u32 = 1_400_097;
/// `T_PAGEFLT`.
const PAGE_FAULT: u64 = 12;
/// `PSL_VM`: virtual-8086 mode.
const I386_VM86: u64 = 0x20000;
/// `EXCP_SVC64`.
const ARM64_SVC: u64 = 0x15;
/// `PSR_MODE`, and `PSR_USR32_MODE` in it.
const ARM_MODE: u64 = 0x1f;
const ARM_USER: u64 = 0x10;
/// Where the stack pointer and the link register of user mode and of the kernel are.
const ARM_BANK_OF_USER: [usize; 2] = [56, 60];
const ARM_BANK_OF_KERNEL: [usize; 2] = [64, 68];
/// `SSTATUS_SPP`.
const RISCV_FROM_SUPERVISOR: u64 = 1 << 8;
/// `SCAUSE_INTR`.
const RISCV_INTERRUPT: u64 = 1 << 63;
/// `SCAUSE_ECALL_USER`.
const RISCV_CALL: u64 = 8;
/// `PSL_PR`.
const POWERPC_PROBLEM_STATE: u64 = 0x4000;

/// Interrupts leave in the trap frame what was there.
fn x86_number(entry: TrapKind, trap: u64, rax: u64) -> Option<u64> {
    match entry {
        TrapKind::Exception => Some(trap),
        TrapKind::SystemCall => Some(rax),
        TrapKind::Interrupt | TrapKind::Return => None,
    }
}

/// What an exception is called.
fn exception_name(architecture: Architecture, number: u64) -> Option<&'static str> {
    Some(match (architecture, number) {
        (Architecture::Amd64 | Architecture::I386, number) => match number {
            1 => "privileged instruction",
            3 => "breakpoint",
            6 => "arithmetic trap",
            9 => "general protection fault",
            10 => "debug exception",
            12 => "page fault",
            14 => "alignment fault",
            18 => "integer division",
            19 => "non-maskable interrupt",
            20 => "overflow",
            21 => "bounds check",
            22 => "floating-point unit not available",
            23 => "double fault",
            24 => "floating-point operand fetch",
            25 => "invalid task state segment",
            26 => "segment not present",
            27 => "stack fault",
            28 => "machine check",
            29 => "SIMD floating-point exception",
            30 => "reserved vector",
            32 => "DTrace return probe",
            _ => return None,
        },
        (Architecture::Arm64, number) => match number {
            0x00 => "unknown reason",
            0x07 => "floating-point access",
            0x0d => "branch target exception",
            0x0e => "illegal execution state",
            0x15 => "system call",
            0x18 => "system register access",
            0x1c => "pointer authentication failure",
            0x20 | 0x21 => "instruction abort",
            0x22 => "program counter alignment",
            0x24 | 0x25 => "data abort",
            0x26 => "stack pointer alignment",
            0x2f => "SError",
            0x30 | 0x31 => "hardware breakpoint",
            0x32 | 0x33 => "single step",
            0x34 | 0x35 => "watchpoint",
            0x3c => "breakpoint instruction",
            _ => return None,
        },
        (Architecture::Riscv, number) => match number {
            0 => "instruction address misaligned",
            1 => "instruction access fault",
            2 => "illegal instruction",
            3 => "breakpoint",
            4 => "load address misaligned",
            5 => "load access fault",
            6 => "store address misaligned",
            7 => "store access fault",
            12 => "instruction page fault",
            13 => "load page fault",
            15 => "store page fault",
            _ => return None,
        },
        (Architecture::Powerpc64, number) => match number {
            0x100 => "system reset",
            0x200 => "machine check",
            0x300 => "data storage",
            0x380 => "data segment",
            0x400 => "instruction storage",
            0x480 => "instruction segment",
            0x500 => "external interrupt",
            0x600 => "alignment",
            0x700 => "program exception",
            0x800 => "floating-point unit not available",
            0x900 => "decrementer",
            0xd00 => "trace",
            // Numbers that other processors use for something else have the meaning that they have in 64-bit ones.
            0xe00 => "hypervisor data storage",
            0xe20 => "hypervisor instruction storage",
            0xe40 => "hypervisor emulation assistance",
            0xe60 => "hypervisor maintenance",
            0xea0 => "hypervisor virtualization interrupt",
            0xf00 => "performance monitor",
            0xf20 => "vector unit not available",
            0xf40 => "vector-scalar unit not available",
            0xf60 => "facility not available",
            0xf80 => "hypervisor facility not available",
            0x1000 => "programmable interval timer",
            0x1010 => "fixed interval timer",
            0x1020 => "watchdog timer",
            0x1100 => "data TLB miss",
            0x1200 => "instruction TLB miss",
            0x1300 => "instruction breakpoint",
            0x1400 => "system management",
            0x1500 => "soft patch",
            0x1600 | 0x1700 | 0x2f20 => "vector assist",
            0x2000 => "run mode or trace",
            0x2f10 => "debug",
            0x2f30 => "floating-point data of SPE",
            0x2f40 => "floating-point rounding of SPE",
            _ => return None,
        },
        (Architecture::Arm, _) => return None,
    })
}

/// What an interrupt of riscv is called.
fn riscv_interrupt(code: u64) -> Option<&'static str> {
    Some(match code {
        1 => "software interrupt",
        5 => "timer interrupt",
        9 => "external interrupt",
        _ => return None,
    })
}

#[rustfmt::skip]
const AMD64: &[(&str, usize)] = &[
    ("rdi", 0), ("rsi", 8), ("rdx", 16), ("rcx", 24), ("r8", 32), ("r9", 40), ("rax", 48), ("rbx", 56), ("rbp", 64),
    ("r10", 72), ("r11", 80), ("r12", 88), ("r13", 96), ("r14", 104), ("r15", 112), ("rip", 152), ("rsp", 176),
];
#[rustfmt::skip]
const I386: &[(&str, usize)] = &[
    ("edi", 12), ("esi", 16), ("ebp", 20), ("ebx", 28), ("edx", 32), ("ecx", 36), ("eax", 40), ("eip", 52),
];
#[rustfmt::skip]
const ARM: &[(&str, usize)] = &[
    ("r0", 4), ("r1", 8), ("r2", 12), ("r3", 16), ("r4", 20), ("r5", 24), ("r6", 28), ("r7", 32), ("r8", 36), ("r9", 40),
    ("r10", 44), ("r11", 48), ("r12", 52), ("pc", 72),
];
#[rustfmt::skip]
const ARM64: &[(&str, usize)] = &[
    ("sp", 0), ("x30", 8), ("pc", 16), ("x0", 48), ("x1", 56), ("x2", 64), ("x3", 72), ("x4", 80), ("x5", 88),
    ("x6", 96), ("x7", 104), ("x8", 112), ("x9", 120), ("x10", 128), ("x11", 136), ("x12", 144), ("x13", 152),
    ("x14", 160), ("x15", 168), ("x16", 176), ("x17", 184), ("x18", 192), ("x19", 200), ("x20", 208), ("x21", 216),
    ("x22", 224), ("x23", 232), ("x24", 240), ("x25", 248), ("x26", 256), ("x27", 264), ("x28", 272), ("x29", 280),
];
#[rustfmt::skip]
const ARM64_13: &[(&str, usize)] = &[
    ("sp", 0), ("x30", 8), ("pc", 16), ("x0", 32), ("x1", 40), ("x2", 48), ("x3", 56), ("x4", 64), ("x5", 72),
    ("x6", 80), ("x7", 88), ("x8", 96), ("x9", 104), ("x10", 112), ("x11", 120), ("x12", 128), ("x13", 136),
    ("x14", 144), ("x15", 152), ("x16", 160), ("x17", 168), ("x18", 176), ("x19", 184), ("x20", 192), ("x21", 200),
    ("x22", 208), ("x23", 216), ("x24", 224), ("x25", 232), ("x26", 240), ("x27", 248), ("x28", 256), ("x29", 264),
];
#[rustfmt::skip]
const RISCV: &[(&str, usize)] = &[
    ("ra", 0), ("sp", 8), ("gp", 16), ("tp", 24), ("t0", 32), ("t1", 40), ("t2", 48), ("t3", 56), ("t4", 64),
    ("t5", 72), ("t6", 80), ("s0", 88), ("s1", 96), ("s2", 104), ("s3", 112), ("s4", 120), ("s5", 128), ("s6", 136),
    ("s7", 144), ("s8", 152), ("s9", 160), ("s10", 168), ("s11", 176), ("a0", 184), ("a1", 192), ("a2", 200),
    ("a3", 208), ("a4", 216), ("a5", 224), ("a6", 232), ("a7", 240), ("pc", 248),
];
#[rustfmt::skip]
const POWERPC64: &[(&str, usize)] = &[
    ("r0", 0), ("r1", 8), ("r2", 16), ("r3", 24), ("r4", 32), ("r5", 40), ("r6", 48), ("r7", 56), ("r8", 64),
    ("r9", 72), ("r10", 80), ("r11", 88), ("r12", 96), ("r13", 104), ("r14", 112), ("r15", 120), ("r16", 128),
    ("r17", 136), ("r18", 144), ("r19", 152), ("r20", 160), ("r21", 168), ("r22", 176), ("r23", 184), ("r24", 192),
    ("r25", 200), ("r26", 208), ("r27", 216), ("r28", 224), ("r29", 232), ("r30", 240), ("r31", 248), ("lr", 256),
    ("cr", 264), ("pc", 288),
];
