//! Kernel stacks as a processor and FreeBSD's entries of the kernel leave them: functions are called, make their frames,
//! and are interrupted.
//!
//! Sources: `struct trapframe` in `machine/frame.h` of each architecture, `sys/amd64/amd64/exception.S`,
//! `sys/i386/i386/exception.S`, `sys/arm64/arm64/exception.S`, `sys/arm/arm/exception.S`, `sys/riscv/riscv/exception.S`,
//! `sys/powerpc/aim/trap_subr64.S`, and the calling conventions.

use super::{Arch, Endianness, Field, set};

const AMD64: &[Field] = &[
    ("tf_rax", 48, 8),
    ("tf_rbp", 64, 8),
    ("tf_trapno", 120, 4),
    ("tf_addr", 128, 8),
    ("tf_rip", 152, 8),
    ("tf_rsp", 176, 8),
];

/// The offset of amd64's `tf_cs`, which was made narrower in FreeBSD 15.
pub const AMD64_TF_CS: usize = 160;

/// On i386's stacks for entries, which are not in dumps.
const I386_ENTRY_STACK: u64 = 0xffc0_7fa8;

const I386: &[Field] = &[
    ("tf_ebp", 20, 4),
    ("tf_eax", 40, 4),
    ("tf_trapno", 44, 4),
    ("tf_eip", 52, 4),
    ("tf_cs", 56, 4),
    ("tf_eflags", 60, 4),
    ("tf_esp", 64, 4),
];

const ARM64: &[Field] = &[
    ("tf_sp", 0, 8),
    ("tf_lr", 8, 8),
    ("tf_elr", 16, 8),
    ("tf_spsr", 24, 8),
    ("tf_esr", 32, 8),
    ("tf_far", 40, 8),
    ("tf_x[8]", 112, 8),
    ("tf_x[29]", 280, 8),
];

/// Before FreeBSD 14.
const ARM64_13: &[Field] = &[
    ("tf_sp", 0, 8),
    ("tf_lr", 8, 8),
    ("tf_elr", 16, 8),
    ("tf_spsr", 24, 4),
    ("tf_esr", 28, 4),
    ("tf_x[8]", 96, 8),
    ("tf_x[29]", 264, 8),
];

const RISCV: &[Field] = &[
    ("tf_ra", 0, 8),
    ("tf_sp", 8, 8),
    ("tf_t[0]", 32, 8),
    ("tf_s[0]", 88, 8),
    ("tf_sepc", 248, 8),
    ("tf_sstatus", 256, 8),
    ("tf_stval", 264, 8),
    ("tf_scause", 272, 8),
];

const POWERPC64: &[Field] = &[
    ("fixreg[0]", 0, 8),
    ("fixreg[1]", 8, 8),
    ("lr", 256, 8),
    ("srr0", 288, 8),
    ("srr1", 296, 8),
    ("exc", 304, 8),
    ("dar", 312, 8),
];

const ARM: &[Field] = &[
    ("tf_spsr", 0, 4),
    ("tf_r7", 32, 4),
    ("tf_r11", 48, 4),
    ("tf_usr_sp", 56, 4),
    ("tf_usr_lr", 60, 4),
    ("tf_svc_sp", 64, 4),
    ("tf_svc_lr", 68, 4),
    ("tf_pc", 72, 4),
];

/// The fields of `struct trapframe` that are written here, and its size.
pub fn trap_frame(arch: Arch) -> Option<(&'static [Field], usize)> {
    Some(match arch {
        Arch::Amd64 => (AMD64, 192),
        Arch::I386 => (I386, 72),
        Arch::Arm64 => (ARM64, 288),
        Arch::Riscv => (RISCV, 280),
        Arch::Powerpc64 => (POWERPC64, 336),
        Arch::Arm => (ARM, 80),
    })
}

/// Registers of user mode.
pub const USER_SP: u64 = 0x7fff_e000;
pub const USER_FP: u64 = 0x7fff_e100;

/// Bytes of a function's frame.
const FRAME: u64 = 112;

/// What interrupts a function.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trap {
    /// The instruction that is interrupted.
    pub pc: u64,
    pub from_user: bool,
    /// As the trap frame has it: `tf_trapno`, `tf_esr`, `tf_scause`, `exc`.
    pub number: u64,
    /// In the register for the number of a system call.
    pub call: u64,
    /// The address that faulted.
    pub address: u64,
    /// Where the entry's call of a handler returns to.
    pub entry: u64,
    /// The top of the stack that the trap frame is put on, where it is another one.
    pub stack: Option<u64>,
}

/// A stack, and the processor that uses it.
#[derive(Clone, Debug)]
pub struct Stack {
    pub arch: Arch,
    order: Endianness,
    /// The lowest address, and what is there.
    pub base: u64,
    pub bytes: Vec<u8>,
    pub sp: u64,
    pub fp: u64,
    /// The link register.
    pub link: u64,
    /// arm64: what signs a return address, in the bits that no address has; all of them set where it is not signed.
    pub signature: u64,
    /// arm64: trap frames as before FreeBSD 14.
    pub is_old: bool,
}

impl Stack {
    /// An empty stack of that many bytes.
    pub fn new(arch: Arch, order: Endianness, base: u64, size: usize) -> Self {
        let sp = base + size as u64 - 64;
        Self { arch, order, base, bytes: vec![0; size], sp, fp: 0, link: 0, signature: 0, is_old: false }
    }

    fn word(&self) -> u64 {
        self.arch.word() as u64
    }

    /// Writes a word of the stack.
    pub fn set(&mut self, address: u64, value: u64) {
        let bytes = self.order.bytes(value, self.arch.word());
        let at = (address - self.base) as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    /// A word of the stack.
    pub fn get(&self, address: u64) -> u64 {
        let at = (address - self.base) as usize;
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        let bytes = self.bytes[at..at + self.arch.word()].iter();
        match self.order {
            Endianness::Little => bytes.rev().fold(0, join),
            Endianness::Big => bytes.fold(0, join),
        }
    }

    /// x86, arm: pushes a word.
    pub fn push(&mut self, value: u64) {
        self.sp -= self.word();
        self.set(self.sp, value);
    }

    /// Calls a function, which has done nothing yet.
    pub fn call(&mut self, returns_to: u64) {
        match self.arch {
            Arch::Amd64 | Arch::I386 => self.push(returns_to),
            _ => self.link = returns_to,
        }
    }

    /// What the first instructions of a function do.
    pub fn enter(&mut self) {
        match self.arch {
            Arch::Amd64 | Arch::I386 => {
                self.push(self.fp);
                self.fp = self.sp;
                self.sp -= FRAME - 2 * self.word();
            }
            Arch::Arm64 => {
                if self.link != 0 {
                    self.link = self.link & 0x007f_ffff_ffff_ffff | self.signature;
                }
                self.sp -= FRAME;
                self.set(self.sp, self.fp);
                self.set(self.sp + 8, self.link);
                self.fp = self.sp;
            }
            Arch::Riscv => {
                let top = self.sp;
                self.sp -= FRAME;
                self.set(top - 8, self.link);
                self.set(top - 16, self.fp);
                self.fp = top;
            }
            Arch::Powerpc64 => {
                let top = self.sp;
                self.set(top + 16, self.link);
                self.sp -= FRAME;
                self.set(self.sp, top);
            }
            // push {fp, lr}; mov fp, sp
            Arch::Arm => {
                self.push(self.link);
                self.push(self.fp);
                self.fp = self.sp;
                self.sp -= FRAME - 2 * self.word();
            }
        }
    }

    /// Calls a function, which makes its frame.
    pub fn call_and_enter(&mut self, returns_to: u64) {
        self.call(returns_to);
        self.enter();
    }

    /// Interrupts the function; the entry calls a handler, which makes its frame.
    pub fn trap(&mut self, trap: Trap) {
        self.enter_kernel(trap);
        self.call_and_enter(trap.entry);
    }

    /// Interrupts the function: what the entry does before it calls a handler.
    pub fn enter_kernel(&mut self, trap: Trap) {
        let (fields, size) = match self.arch {
            Arch::Arm64 if self.is_old => (ARM64_13, 272),
            arch => trap_frame(arch).expect("an architecture with trap frames"),
        };
        let (sp, fp) = if trap.from_user { (USER_SP, USER_FP) } else { (self.sp, self.fp) };
        let mut frame = vec![0; size];
        for (name, value) in self.saved(&trap, sp, fp) {
            set(&mut frame, fields, self.order, name, value);
        }
        if self.arch == Arch::Amd64 {
            frame[AMD64_TF_CS] = if trap.from_user { 0x43 } else { 0x20 };
        }
        if self.arch == Arch::I386 && !trap.from_user {
            // The stack goes on in place of its pointer.
            frame.truncate(64);
        }
        let at = self.below(trap.stack.unwrap_or(self.sp), frame.len() as u64, trap.from_user);
        let start = (at - self.base) as usize;
        self.bytes[start..start + frame.len()].copy_from_slice(&frame);
        (self.sp, self.fp) = (at, fp);
        match self.arch {
            Arch::I386 => {
                // From user mode, ebp leads to the copy on the stack that the processor entered on.
                self.fp = if trap.from_user { I386_ENTRY_STACK } else { at };
                self.push(at);
            }
            Arch::Arm64 => self.fp = at + size as u64,
            Arch::Powerpc64 => {
                self.sp = at - 48;
                self.set(self.sp, sp);
            }
            Arch::Amd64 | Arch::Riscv | Arch::Arm => {}
        }
    }

    /// What a trap frame holds.
    fn saved(&self, trap: &Trap, sp: u64, fp: u64) -> Vec<(&'static str, u64)> {
        let Trap { pc, from_user, number, call, address, .. } = *trap;
        let by_mode = |user: u64, kernel: u64| if from_user { user } else { kernel };
        match self.arch {
            Arch::Amd64 => vec![
                ("tf_rax", call),
                ("tf_rbp", fp),
                ("tf_trapno", number),
                ("tf_addr", address),
                ("tf_rip", pc),
                ("tf_rsp", sp),
            ],
            Arch::I386 => vec![
                ("tf_eax", call),
                ("tf_ebp", fp),
                ("tf_trapno", number),
                ("tf_eip", pc),
                ("tf_cs", by_mode(0x33, 0x20)),
                ("tf_esp", by_mode(sp, 0)),
            ],
            Arch::Arm64 => {
                let mut values = vec![
                    ("tf_sp", sp),
                    ("tf_lr", self.link),
                    ("tf_elr", pc),
                    // PSR_M_EL1h.
                    ("tf_spsr", by_mode(0, 5)),
                    ("tf_esr", number),
                    ("tf_x[8]", call),
                    ("tf_x[29]", fp),
                ];
                values.extend((!self.is_old).then_some(("tf_far", address)));
                values
            }
            Arch::Riscv => vec![
                ("tf_ra", self.link),
                ("tf_sp", sp),
                ("tf_t[0]", call),
                ("tf_s[0]", fp),
                ("tf_sepc", pc),
                // SSTATUS_SPP.
                ("tf_sstatus", by_mode(0, 1 << 8)),
                ("tf_stval", address),
                ("tf_scause", number),
            ],
            Arch::Powerpc64 => vec![
                ("fixreg[0]", call),
                ("fixreg[1]", sp),
                ("lr", self.link),
                ("srr0", pc),
                // PSL_PR.
                ("srr1", by_mode(0x4000, 0)),
                ("exc", number),
                ("dar", address),
            ],
            // PSR_USR32_MODE and PSR_SVC32_MODE.
            Arch::Arm => vec![
                ("tf_spsr", by_mode(0x10, 0x13)),
                ("tf_r7", call),
                ("tf_r11", fp),
                ("tf_usr_sp", by_mode(sp, 0)),
                ("tf_svc_sp", by_mode(0, sp)),
                ("tf_svc_lr", by_mode(0, self.link)),
                ("tf_pc", pc),
            ],
        }
    }

    /// Where an entry puts a trap frame of that size below a stack pointer.
    fn below(&self, top: u64, size: u64, from_user: bool) -> u64 {
        match self.arch {
            // The processor aligns the stack.
            Arch::Amd64 => (top & !15) - size,
            Arch::Arm64 if !from_user => top - size - 128,
            Arch::Riscv => top - size.next_multiple_of(16),
            // FRAMELEN and the red zone; the frame is above the entry's own.
            Arch::Powerpc64 => top - 400 - 288 + 48,
            // Words that handlers may push.
            Arch::Arm if !from_user => (top & !7) - 144,
            Arch::Arm64 | Arch::I386 | Arch::Arm => top - size,
        }
    }
}
