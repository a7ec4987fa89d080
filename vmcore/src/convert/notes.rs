//! What a core file tells debuggers of the kernel's threads: notes, as FreeBSD writes them for a process, or as
//! GNU/Linux does. Not every debugger reads both: Debian's gdb has no FreeBSD support, and lldb takes a FreeBSD
//! kernel's core for one of FreeBSD, of whose notes it misreads riscv's.
//!
//! Sources: `sys/sys/procfs.h`, `sys/sys/elf_common.h` and `machine/reg.h` of each architecture; for GNU/Linux
//! `linux/elfcore.h` and `asm/ptrace.h`; for lldb `ParseFreeBSDPrStatus()` of its `ProcessElfCore.cpp`.

use crate::architecture::{Architecture, Endianness};
use crate::bounds::{low_u16, low_u32};
use crate::elf::{Ident, Writer};
use crate::kernel::{Process, Registers, State, Thread};
use crate::pmap::arm64::SIGNATURE;

/// Whose notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// FreeBSD's.
    FreeBsd,
    /// GNU/Linux's.
    Linux,
    /// FreeBSD's as lldb reads them. Only riscv's differ: lldb (19 at least) reads their status as one of 32 bits, and
    /// the registers behind it in GNU/Linux's order. What FreeBSD's gdb reads lies in the same bytes, so that no note
    /// is right for both.
    Lldb,
}

/// What is said of the kernel as a whole.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Whose it is.
    pub architecture: Architecture,
    /// The order of bytes.
    pub order: Endianness,
    /// The name of its file, without directories.
    pub name: &'a str,
    /// Its `e_entry`.
    pub entry: u64,
    /// What is added to the addresses in its file, if it ran elsewhere than it is linked.
    pub displacement: Option<u64>,
    /// Its `__FreeBSD_version`; 0 if it is not known.
    pub release: u32,
    /// Whether return addresses on its stacks are signed. Only then is gdb told of signatures: before version 14 it takes
    /// the upper bits from every return address of the kernel where it is.
    pub signed: bool,
}

const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_THRMISC: u32 = 7;
const NT_PROCSTAT_AUXV: u32 = 16;
/// GNU/Linux's auxiliary vector.
const NT_AUXV: u32 = 6;
/// FreeBSD's `NT_ARM_ADDR_MASK`, and GNU/Linux's `NT_ARM_PAC_MASK`.
const NT_ARM_ADDR_MASK: u32 = 0x406;
/// What GNU/Linux says of the processor, and there that it signs addresses.
const AT_HWCAP: u64 = 16;
const HWCAP_PACA: u64 = 1 << 30;
const AT_NULL: u64 = 0;
const AT_ENTRY: u64 = 9;
/// The signal of the thread that dumped: what abort(3) sends.
const SIGABRT: u32 = 6;

/// Registers in the order of an architecture's structure: a name, `/` and the bytes it takes, or a word without.
/// What the kernel did not save is 0, but for what is the same in every kernel's thread.
#[rustfmt::skip]
const fn order(style: Style, architecture: Architecture) -> &'static str {
    use Architecture::{Amd64, Arm, Arm64, I386, Powerpc64, Riscv};
    use Style::{FreeBsd, Linux, Lldb};
    match (style, architecture) {
        (FreeBsd | Lldb, Amd64) =>
            "r15 r14 r13 r12 r11 r10 r9 r8 rdi rsi rbp rbx rdx rcx rax trapno/4 fs/2 gs/2 err/4 es/2 ds/2 rip cs rflags \
             rsp ss",
        (Linux, Amd64) =>
            "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rflags rsp ss fs_base gs_base ds \
             es fs gs",
        (FreeBsd | Lldb, I386) => "fs es ds edi esi ebp isp ebx edx ecx eax trapno err eip cs eflags esp ss gs",
        (Linux, I386) => "ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss",
        (_, Arm64) =>
            "x0 x1 x2 x3 x4 x5 x6 x7 x8 x9 x10 x11 x12 x13 x14 x15 x16 x17 x18 x19 x20 x21 x22 x23 x24 x25 x26 x27 x28 \
             x29 x30 sp pc spsr",
        (FreeBsd | Lldb, Arm) => "r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 sp lr pc cpsr",
        (Linux, Arm) => "r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 sp lr pc cpsr orig_r0",
        (FreeBsd, Riscv) =>
            "ra sp gp tp t0 t1 t2 t3 t4 t5 t6 s0 s1 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 a0 a1 a2 a3 a4 a5 a6 a7 pc sstatus",
        (Linux | Lldb, Riscv) =>
            "pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6",
        (FreeBsd | Lldb, Powerpc64) =>
            "r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 r13 r14 r15 r16 r17 r18 r19 r20 r21 r22 r23 r24 r25 r26 r27 r28 \
             r29 r30 r31 lr cr xer ctr pc",
        (Linux, Powerpc64) =>
            "r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 r11 r12 r13 r14 r15 r16 r17 r18 r19 r20 r21 r22 r23 r24 r25 r26 r27 r28 \
             r29 r30 r31 pc msr orig_r3 ctr lr xer cr softe trap dar dsisr result none none none none",
    }
}

/// Registers that hold the same in every kernel thread that was switched from: the kernel's code and data segments,
/// and that it runs on the kernel's level.
const fn constant(architecture: Architecture, name: &str) -> u64 {
    match (architecture, name.as_bytes()) {
        (Architecture::Amd64 | Architecture::I386, b"cs") => 0x20,
        (Architecture::Amd64 | Architecture::I386, b"ss") => 0x28,
        (Architecture::Arm64, b"spsr") => 5,
        (Architecture::Arm, b"cpsr") => 0x13,
        _ => 0,
    }
}

/// Bytes of an architecture's `struct fpreg` (FreeBSD), which is not written, but told.
const fn floating_point_size(architecture: Architecture) -> u64 {
    match architecture {
        Architecture::Amd64 => 512,
        Architecture::Arm64 => 528,
        Architecture::Riscv => 520,
        Architecture::I386 => 176,
        Architecture::Arm | Architecture::Powerpc64 => 264,
    }
}

/// Notes being written.
pub struct Notes<'a> {
    style: Style,
    about: About<'a>,
    writer: Writer,
    threads: usize,
    /// Of the first thread.
    signal: u32,
}

impl<'a> Notes<'a> {
    /// Begins with the kernel.
    pub fn new(style: Style, about: About<'a>) -> Self {
        let wide = about.architecture.word_size() == 8;
        let mut notes =
            Self { style, about, writer: Writer::new(Ident { wide, order: about.order }), threads: 0, signal: 0 };
        match style {
            Style::FreeBsd | Style::Lldb => notes.freebsd_process(),
            Style::Linux => notes.linux_process(),
        }
        notes
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Adds a thread. The first one is the one that debuggers show first.
    pub fn add(&mut self, process: &Process, thread: &Thread, registers: &Registers) {
        let signal = if thread.state == State::Dumping { SIGABRT } else { 0 };
        if self.threads == 0 {
            self.signal = signal;
        }
        self.threads += 1;
        match self.style {
            Style::FreeBsd | Style::Lldb => self.freebsd_thread(thread, registers, signal),
            Style::Linux => self.linux_thread(process, thread, registers),
        }
        self.signature_bits();
    }

    /// The notes.
    pub fn finish(mut self) -> Vec<u8> {
        if self.style != Style::Linux {
            // This tells lldb where the kernel is; its symbols would not be used otherwise.
            let word = if self.writer.kind.wide { 8 } else { 4 };
            let mut auxiliary = self.begin();
            auxiliary.word(2 * word);
            for value in [AT_ENTRY, self.entry(), AT_NULL, 0] {
                auxiliary.address(value);
            }
            self.note(NT_PROCSTAT_AUXV, &auxiliary);
        }
        self.writer.bytes
    }

    /// Where the kernel's entry was when it ran.
    fn entry(&self) -> u64 {
        self.about.entry.wrapping_add(self.about.displacement.unwrap_or(0))
    }

    fn begin(&self) -> Writer {
        Writer::new(self.writer.kind)
    }

    fn note(&mut self, kind: u32, description: &Writer) {
        let owner = if self.style == Style::Linux { "CORE" } else { "FreeBSD" };
        self.writer.note(owner, kind, &description.bytes);
    }

    /// Which bits of addresses hold a signature: FreeBSD's `struct arm64_addr_mask` (code, data), or GNU/Linux's
    /// `struct user_pac_mask` (data, code), both for each thread.
    fn signature_bits(&mut self) {
        if !self.about.signed {
            return;
        }
        let mut masks = self.begin();
        (0..2).for_each(|_| masks.address(SIGNATURE));
        let owner = if self.style == Style::Linux { "LINUX" } else { "FreeBSD" };
        self.writer.note(owner, NT_ARM_ADDR_MASK, &masks.bytes);
    }

    fn registers(&self, to: &mut Writer, registers: &Registers) {
        for register in order(self.style, self.about.architecture).split_ascii_whitespace() {
            let (name, size) = register.split_once('/').unwrap_or((register, ""));
            let value = registers.get(name).unwrap_or_else(|| constant(self.about.architecture, name));
            let value = if name == "x30" { self.about.architecture.plain_address(value) } else { value };
            match size {
                "2" => to.half(low_u16(value)),
                "4" => to.word(low_u32(value)),
                _ => to.address(value),
            }
        }
    }

    /// `struct prpsinfo`.
    fn freebsd_process(&mut self) {
        let mut info = self.begin();
        info.word(1);
        info.align();
        info.address(if self.writer.kind.wide { 120 } else { 112 });
        info.text(self.about.name.as_bytes(), 17);
        info.text(self.about.name.as_bytes(), 81);
        info.zeros(2);
        // The kernel's process ID.
        info.word(0);
        self.note(NT_PRPSINFO, &info);
    }

    /// `struct prstatus` and `struct thrmisc`.
    fn freebsd_thread(&mut self, thread: &Thread, registers: &Registers, signal: u32) {
        let mut saved = self.begin();
        self.registers(&mut saved, registers);
        let size = saved.bytes.len() as u64;
        let narrow = self.style == Style::Lldb && self.about.architecture == Architecture::Riscv;
        let wide = self.writer.kind.wide && !narrow;
        let mut status = Writer::new(Ident { wide, ..self.writer.kind });
        status.word(1);
        status.align();
        status.address(size + if wide { 48 } else { 28 });
        status.address(size);
        status.address(floating_point_size(self.about.architecture));
        status.word(self.about.release);
        status.word(signal);
        status.word(thread.tid.cast_unsigned());
        status.align();
        status.bytes.extend(saved.bytes);
        self.note(NT_PRSTATUS, &status);
        let mut name = self.begin();
        name.text(&thread.name, 20);
        name.word(0);
        self.note(NT_THRMISC, &name);
    }

    /// `struct elf_prpsinfo`.
    fn linux_process(&mut self) {
        let wide = self.writer.kind.wide;
        let mut info = self.begin();
        info.bytes.extend([0, b'R', 0, 0]);
        info.align();
        info.address(0);
        // User and group: of 16 bits where addresses have 32.
        info.zeros(if wide { 8 } else { 4 });
        // Process, parent, group, session.
        info.zeros(16);
        info.text(self.about.name.as_bytes(), 16);
        info.text(self.about.name.as_bytes(), 80);
        self.note(NT_PRPSINFO, &info);
        // gdb looks for the bits of signatures where this tells of them only, and displaces a file by its entry.
        let told = match self.about.displacement {
            _ if self.about.signed => Some([AT_HWCAP, HWCAP_PACA]),
            displacement => displacement.map(|_| [AT_ENTRY, self.entry()]),
        };
        if let Some(told) = told {
            let mut auxiliary = self.begin();
            told.into_iter().chain([AT_NULL, 0]).for_each(|value| auxiliary.address(value));
            self.note(NT_AUXV, &auxiliary);
        }
    }

    /// `struct elf_prstatus`.
    fn linux_thread(&mut self, process: &Process, thread: &Thread, registers: &Registers) {
        let mut status = self.begin();
        // The last thread's is what gdb tells of the process, so all have the one that ended it.
        status.word(self.signal);
        status.zeros(8);
        status.half(low_u16(self.signal.into()));
        status.zeros(2);
        status.align();
        status.address(0);
        status.address(0);
        status.word(thread.tid.cast_unsigned());
        status.word(process.pid.cast_unsigned());
        // Group and session.
        status.zeros(8);
        // Four times: user's, system's, and those of children.
        (0..8).for_each(|_| status.address(0));
        self.registers(&mut status, registers);
        // There are no floating point registers.
        status.word(0);
        status.align();
        self.note(NT_PRSTATUS, &status);
    }
}
