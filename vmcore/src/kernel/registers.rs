//! The registers that a kernel saved of a thread, in its `struct pcb`: those that a function has to leave as they
//! were. What others held is not known.
//!
//! Sources: `machine/pcb.h` of each architecture, `savectx()` and `cpu_switch()`; which layout a version has, as
//! FreeBSD's debuggers tell them apart.

use super::{Fault, KernelMemory};
use crate::architecture::Architecture;

/// The registers of a thread, in the order in which debuggers show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registers {
    architecture: Architecture,
    values: Vec<(&'static str, Option<u64>)>,
}

impl Registers {
    /// Registers of which nothing is known.
    pub fn unknown(architecture: Architecture) -> Self {
        Self { architecture, values: names(architecture).iter().map(|name| (*name, None)).collect() }
    }

    /// Registers with these values; the others are not known.
    pub(crate) fn from_values(
        architecture: Architecture,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Self {
        let mut registers = Self::unknown(architecture);
        values.into_iter().for_each(|(name, value)| registers.set(name, value));
        registers
    }

    /// The same with a register's value, if there is one of that name.
    #[must_use]
    pub fn with(mut self, name: &str, value: u64) -> Self {
        self.set(name, value);
        self
    }

    /// The registers of a function's caller: where the call returns to, and the stack pointer and the frame pointer, as
    /// far as they are known.
    pub fn of_caller(architecture: Architecture, pc: u64, sp: Option<u64>, fp: Option<u64>) -> Self {
        let mut registers = Self::unknown(architecture);
        let known = [(pc_name(architecture), Some(pc)), (fp_name(architecture), fp), (sp_name(architecture), sp)];
        known.into_iter().for_each(|(name, value)| value.into_iter().for_each(|value| registers.set(name, value)));
        registers
    }

    /// Reads the `struct pcb` at a virtual address. Where it has no program counter, that is where the function that
    /// saved the registers returns to, without its signature. arm's has one, which a thread that never ran does not set
    /// (`cpu_fork()`, `sys/arm/arm/vm_machdep.c`): it goes on where it would return to (`cpu_switch`).
    ///
    /// # Errors
    ///
    /// As [`KernelMemory::read`].
    pub fn read(kernel: &KernelMemory, layout: PcbLayout, pcb: u64) -> Result<Self, Fault> {
        let mut registers = Self::unknown(layout.architecture);
        let word = kernel.word_size();
        let mut bytes = vec![0; layout.slots.len() * word];
        kernel.read(pcb, &mut bytes)?;
        for (name, value) in layout.slots.iter().zip(bytes.chunks(word)) {
            registers.set(name, kernel.order().number(value));
        }
        let link = match layout.architecture {
            Architecture::Arm if registers.pc() == Some(0) => Some("lr"),
            _ => layout.link,
        };
        if let Some(link) = link.and_then(|link| registers.get(link)) {
            registers.set("pc", layout.architecture.plain_address(link));
        }
        Ok(registers)
    }

    fn set(&mut self, name: &str, value: u64) {
        if let Some((_, slot)) = self.values.iter_mut().find(|(known, _)| *known == name) {
            *slot = Some(value);
        }
    }

    /// Which one of an architecture's registers that of a name is.
    #[cfg(feature = "debug-info")]
    pub(crate) fn position(architecture: Architecture, name: &str) -> Option<usize> {
        names(architecture).iter().position(|known| *known == name)
    }

    /// The value of the register at a [`Self::position`], if it is known.
    #[cfg(feature = "debug-info")]
    pub(crate) fn at(&self, position: usize) -> Option<u64> {
        self.values.get(position)?.1
    }

    /// Changes the value of the register at a [`Self::position`].
    #[cfg(feature = "debug-info")]
    pub(crate) fn set_at(&mut self, position: usize, value: u64) {
        if let Some((_, slot)) = self.values.get_mut(position) {
            *slot = Some(value);
        }
    }

    /// Each register's name, as debuggers call it, and its value where that is known.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
        self.values.iter().copied()
    }

    /// The value of a register, if there is one of that name and it is known.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.values.iter().find(|(known, _)| *known == name)?.1
    }

    /// The program counter.
    pub fn pc(&self) -> Option<u64> {
        self.get(pc_name(self.architecture))
    }

    /// The stack pointer.
    pub fn sp(&self) -> Option<u64> {
        self.get(sp_name(self.architecture))
    }

    /// The register with the address that a function returns to before it has saved it, where there is one.
    pub fn link(&self) -> Option<u64> {
        self.get(match self.architecture {
            Architecture::Amd64 | Architecture::I386 => return None,
            Architecture::Arm64 => "x30",
            Architecture::Riscv => "ra",
            Architecture::Arm | Architecture::Powerpc64 => "lr",
        })
    }

    /// The frame pointer, in code that has one.
    pub fn fp(&self) -> Option<u64> {
        self.get(fp_name(self.architecture))
    }
}

const fn pc_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Amd64 => "rip",
        Architecture::I386 => "eip",
        _ => "pc",
    }
}

const fn sp_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Amd64 => "rsp",
        Architecture::I386 => "esp",
        Architecture::Powerpc64 => "r1",
        _ => "sp",
    }
}

const fn fp_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Amd64 => "rbp",
        Architecture::I386 => "ebp",
        Architecture::Arm64 => "x29",
        Architecture::Riscv => "s0",
        Architecture::Arm => "r11",
        Architecture::Powerpc64 => "r31",
    }
}

/// Where the registers are in `struct pcb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PcbLayout {
    architecture: Architecture,
    /// What its words hold, from the first one on; nothing of interest where the name is empty.
    slots: &'static [&'static str],
    /// The register with the address to return to, where the program counter is not saved.
    link: Option<&'static str>,
}

/// The first `__FREEBSD_version` whose arm64 saves no more than what a function has to keep.
const ARM64_CALLEE_SAVED: u32 = 1_400_084;
/// That of FreeBSD 13.
const FREEBSD_13: u32 = 1_300_000;
/// Bytes of riscv's `struct pcb` while it had room for all registers.
const RISCV_WITH_ALL: u64 = 792;

impl PcbLayout {
    /// The layout of a kernel: amd64, i386, arm and powerpc64 have had one since debuggers rely on it; that of arm64
    /// changed in FreeBSD 14, and that of riscv after 12. `release` is the kernel's `osreldate`, `pcb_size` what its
    /// symbol of that name says. `None` where it cannot be told without them.
    pub fn new(architecture: Architecture, release: Option<u32>, pcb_size: Option<u64>) -> Option<Self> {
        let (slots, link) = match architecture {
            Architecture::Amd64 => (AMD64, None),
            Architecture::I386 => (I386, None),
            Architecture::Arm => (ARM, None),
            Architecture::Arm64 if release? >= ARM64_CALLEE_SAVED => (ARM64, Some("x30")),
            Architecture::Arm64 => (ARM64_13, Some("x30")),
            Architecture::Riscv if release? < FREEBSD_13 || pcb_size == Some(RISCV_WITH_ALL) => (RISCV_12, Some("ra")),
            Architecture::Riscv => (RISCV, Some("ra")),
            Architecture::Powerpc64 => (POWERPC64, Some("lr")),
        };
        Some(Self { architecture, slots, link })
    }
}

const AMD64: &[&str] = &["r15", "r14", "r13", "r12", "rbp", "rsp", "rbx", "rip"];
const I386: &[&str] = &["edi", "esi", "ebp", "esp", "ebx", "eip"];
const ARM: &[&str] = &["r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "sp", "lr", "pc"];
const ARM64: &[&str] = &["x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp"];
#[rustfmt::skip]
const ARM64_13: &[&str] = &[
    "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
    "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "", "sp",
];
const RISCV: &[&str] =
    &["ra", "sp", "gp", "tp", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11"];
#[rustfmt::skip]
const RISCV_12: &[&str] = &[
    "ra", "sp", "gp", "tp", "", "", "", "", "", "", "",
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
];
#[rustfmt::skip]
const POWERPC64: &[&str] = &[
    "r12", "r13", "r14", "r15", "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27",
    "r28", "r29", "r30", "r31", "cr", "r1", "r2", "lr",
];

/// The general registers of an architecture, as debuggers call and order them.
#[rustfmt::skip]
const fn names(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::Amd64 => &[
            "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
            "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
        ],
        Architecture::I386 => &["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip"],
        Architecture::Arm => &[
            "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "sp", "lr", "pc",
        ],
        Architecture::Arm64 => &[
            "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
            "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
            "sp", "pc",
        ],
        Architecture::Riscv => &[
            "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
            "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6", "pc",
        ],
        Architecture::Powerpc64 => &[
            "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
            "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28", "r29", "r30",
            "r31", "pc", "cr", "lr",
        ],
    }
}
