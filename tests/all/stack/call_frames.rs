//! Call frame information: functions without frames, which use the frame pointer for something else, interrupted at each
//! of their instructions; in the files where it can be, and damaged.

use super::lines::objcopy;
use super::{AMD64, ARM64, Cpu, Files, Kernel, RISCV, course, cpu, interrupt, with_entries};
use crate::common::{compiler, directory, text};
use object::{Object, ObjectSection, ObjectSymbol};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::fs;
use std::path::Path;
use vmcore::debug_info::{DebugInfo, Search};
use vmcore::stack::Unwinder;
use vmcore_synth::image::{FUNC, GLOBAL, Image, SHF_EXECINSTR, Section, section, symbol};
use vmcore_synth::{Arch, Endianness, Stack};

/// An instruction, what the assembler says of the frame behind it, and what it does.
struct Step {
    code: &'static str,
    says: &'static str,
    does: fn(&mut Stack),
}

const fn step(code: &'static str, says: &'static str, does: fn(&mut Stack)) -> Step {
    Step { code, says, does }
}

const AMD64_STEPS: [Step; 9] = [
    step("nop", "", |_| ()),
    step("subq $40, %rsp", ".cfi_adjust_cfa_offset 40", |stack| stack.sp -= 40),
    step("pushq %rbp", ".cfi_adjust_cfa_offset 8; .cfi_rel_offset %rbp, 0", |stack| stack.push(stack.fp)),
    step("movl $1, %ebp", "", |stack| stack.fp = 1),
    step("pushq %rax", ".cfi_adjust_cfa_offset 8", |stack| stack.push(0)),
    step("addq $8, %rsp", ".cfi_adjust_cfa_offset -8", |stack| stack.sp += 8),
    step("popq %rbp", ".cfi_adjust_cfa_offset -8; .cfi_restore %rbp", restore_x86),
    step("addq $40, %rsp", ".cfi_adjust_cfa_offset -40", |stack| stack.sp += 40),
    step("ret", "", |_| ()),
];
const I386_STEPS: [Step; 7] = [
    step("subl $40, %esp", ".cfi_adjust_cfa_offset 40", |stack| stack.sp -= 40),
    step("pushl %ebp", ".cfi_adjust_cfa_offset 4; .cfi_rel_offset %ebp, 0", |stack| stack.push(stack.fp)),
    step("movl $1, %ebp", "", |stack| stack.fp = 1),
    step("nop", "", |_| ()),
    step("popl %ebp", ".cfi_adjust_cfa_offset -4; .cfi_restore %ebp", restore_x86),
    step("addl $40, %esp", ".cfi_adjust_cfa_offset -40", |stack| stack.sp += 40),
    step("ret", "", |_| ()),
];
const ARM64_STEPS: [Step; 12] = [
    step("paciasp", ".cfi_negate_ra_state", sign),
    step("sub sp, sp, #32", ".cfi_def_cfa_offset 32", |stack| stack.sp -= 32),
    step("str x30, [sp, #16]", ".cfi_offset x30, -16", |stack| stack.set(stack.sp + 16, stack.link)),
    step("mov x30, xzr", "", |stack| stack.link = 0),
    step("str x29, [sp, #8]", ".cfi_offset x29, -24", |stack| stack.set(stack.sp + 8, stack.fp)),
    step("mov x29, xzr", "", |stack| stack.fp = 0),
    step("nop", "", |_| ()),
    step("ldr x29, [sp, #8]", ".cfi_restore x29", |stack| stack.fp = stack.get(stack.sp + 8)),
    step("ldr x30, [sp, #16]", ".cfi_restore x30", |stack| stack.link = stack.get(stack.sp + 16)),
    step("add sp, sp, #32", ".cfi_def_cfa_offset 0", |stack| stack.sp += 32),
    step("autiasp", ".cfi_negate_ra_state", |stack| stack.link |= 0xff80_0000_0000_0000),
    step("ret", "", |_| ()),
];
const RISCV_STEPS: [Step; 10] = [
    step("addi sp, sp, -32", ".cfi_def_cfa_offset 32", |stack| stack.sp -= 32),
    step("sd ra, 24(sp)", ".cfi_offset ra, -8", |stack| stack.set(stack.sp + 24, stack.link)),
    step("sd s0, 16(sp)", ".cfi_offset s0, -16", |stack| stack.set(stack.sp + 16, stack.fp)),
    step("li ra, 0", "", |stack| stack.link = 0),
    step("li s0, 0", "", |stack| stack.fp = 0),
    step("nop", "", |_| ()),
    step("ld s0, 16(sp)", ".cfi_restore s0", |stack| stack.fp = stack.get(stack.sp + 16)),
    step("ld ra, 24(sp)", ".cfi_restore ra", |stack| stack.link = stack.get(stack.sp + 24)),
    step("addi sp, sp, 32", ".cfi_def_cfa_offset 0", |stack| stack.sp += 32),
    step("ret", "", |_| ()),
];
/// `DW_CFA_def_cfa_expression`: `DW_OP_breg7 48`, which is `rsp + 48`.
const EXPRESSION: &str = ".cfi_escape 0x0f, 2, 0x77, 48";
/// `DW_OP_skip -3`: it jumps to itself.
const ENDLESS: &str = ".cfi_escape 0x0f, 3, 0x2f, 0xfd, 0xff";
/// `DW_OP_dup` of nothing, `DW_OP_deref` of an address without memory, and a register without a value.
const UNKNOWN: [&str; 3] =
    [".cfi_escape 0x0f, 1, 0x12", ".cfi_escape 0x0f, 3, 0x08, 0x10, 0x06", ".cfi_escape 0x0f, 2, 0x90, 40"];
const SECTIONS: [&str; 8] = [
    ".eh_frame",
    ".debug_frame",
    ".debug_abbrev",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_aranges",
    ".debug_str",
];

fn restore_x86(stack: &mut Stack) {
    stack.fp = stack.get(stack.sp);
    stack.sp += stack.arch.word() as u64;
}

fn sign(stack: &mut Stack) {
    stack.link = stack.link & 0x007f_ffff_ffff_ffff | stack.signature;
}

fn steps(arch: Arch) -> &'static [Step] {
    match arch {
        Arch::Amd64 => &AMD64_STEPS,
        Arch::I386 => &I386_STEPS,
        Arch::Arm64 => &ARM64_STEPS,
        Arch::Riscv => &RISCV_STEPS,
        Arch::Arm | Arch::Powerpc64 => &[],
    }
}

/// The function in assembly language, with a symbol at each instruction.
fn source(arch: Arch, steps: &[Step], form: &str) -> String {
    let mut lines = format!(".text\n.cfi_sections {form}\n.globl frameless\n.type frameless, @function\nframeless:\n");
    if arch == Arch::Riscv {
        lines = format!(".option norelax\n.option norvc\n{lines}");
    }
    lines += ".cfi_startproc\n";
    for (index, Step { code, says, .. }) in steps.iter().enumerate() {
        lines += &format!(".globl step_{index}\nstep_{index}:\n{code}\n{says}\n");
    }
    lines + ".cfi_endproc\n.size frameless, . - frameless\n"
}

/// Assembles a file, and links it for an address if there is one; `None` where there is no compiler for it.
fn assemble(directory: &Path, arch: Arch, source: &str, address: Option<u64>) -> Option<Vec<u8>> {
    let [file, object, script, linked] = ["f.s", "f.o", "f.ld", "f"].map(|name| directory.join(name));
    fs::write(&file, source).unwrap();
    compiler::succeed(compiler::for_kernel(arch)?.args(["-c", "-g"]).arg(&file).arg("-o").arg(&object));
    let Some(address) = address else { return Some(fs::read(object).unwrap()) };
    let sections = ".text : { *(.text) } .eh_frame : { *(.eh_frame) }";
    fs::write(&script, format!("SECTIONS {{ . = {address:#x}; {sections} }}")).unwrap();
    let mut linker = compiler::for_kernel(arch)?;
    linker.arg(object).arg(format!("-Wl,-e,frameless,-T,{}", text(&script))).arg("-o").arg(&linked);
    compiler::succeed(&mut linker);
    Some(fs::read(linked).unwrap())
}

/// Where a symbol of an ELF file is.
fn address_of(elf: &object::File<'_>, name: &str) -> u64 {
    elf.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap().address()
}

/// The kernel's image with the function, and what the assembler says of it.
fn image_with(kernel: &Kernel, elf: &object::File<'_>) -> Image {
    let mut image = kernel.image();
    let code = elf.section_by_name(".text").unwrap();
    let bytes = code.data().unwrap().to_vec();
    let size = bytes.len() as u64;
    image.sections.push(section(".text.assembled", SHF_EXECINSTR, code.address(), bytes));
    let number = image.sections.len() as u16;
    image.symbols.push(symbol("frameless", (GLOBAL, FUNC), number, code.address(), size));
    for name in SECTIONS {
        let Some(found) = elf.section_by_name(name) else { continue };
        let mut new = section(name, 0, found.address(), found.data().unwrap().to_vec());
        if name != ".eh_frame" {
            new = Section { flags: 0, align: 1, ..new };
        }
        image.sections.push(new);
    }
    image
}

/// A thread that was interrupted in the function, after these instructions of it.
fn interrupt_after(kernel: &mut Kernel, steps: &[Step], pc: u64) {
    let mut stack = kernel.in_call();
    kernel.calls(&mut stack, &["sys_read"]);
    stack.call(kernel.at("_sleep"));
    steps.iter().for_each(|step| (step.does)(&mut stack));
    let (entry, number) = (kernel.cpu.entries().interrupt, kernel.cpu.numbers().interrupt);
    interrupt(kernel, &mut stack, pc, entry, number);
    kernel.calls(&mut stack, &["intr"]);
    let pc = kernel.at("cpustop_handler");
    kernel.thread(812, 100_100, b"sh", &stack, pc);
}

const COURSE: &str =
    "cpustop_handler intr INTERRUPT [interrupt] frameless _sleep sys_read syscall CALL [system-call] (user-mode)";

/// The function, linked for where a kernel has room for it.
fn linked(cpu: Cpu, steps: &[Step], form: &str) -> Option<Vec<u8>> {
    assemble(directory().path(), cpu.arch, &source(cpu.arch, steps, form), Some(room(&mut Kernel::new(cpu))))
}

fn room(kernel: &mut Kernel) -> u64 {
    kernel.memory.room(0x1000).next_multiple_of(16)
}

/// A kernel with the function, and a thread that was interrupted before this instruction of it.
fn interrupted_at(cpu: Cpu, steps: &[Step], linked: &[u8], index: usize) -> Files {
    let mut kernel = Kernel::new(cpu);
    let address = room(&mut kernel);
    let elf = object::File::parse(linked).unwrap();
    let code = elf.section_by_name(".text").unwrap();
    assert_eq!(code.address(), address);
    kernel.memory.put(address, code.data().unwrap());
    interrupt_after(&mut kernel, &steps[..index], address_of(&elf, &format!("step_{index}")));
    let image = image_with(&kernel, &elf);
    kernel.files_with(image)
}

/// What is shown of a thread that was interrupted at each instruction, with what the assembler says in a section of this
/// name; `arrange` does something with the files before.
fn shown(cpu: Cpu, form: &str, arrange: impl Fn(&Files)) -> Option<Vec<String>> {
    let steps = steps(cpu.arch);
    let linked = linked(cpu, steps, form)?;
    let course = |index| {
        let files = interrupted_at(cpu, steps, &linked, index);
        arrange(&files);
        files.course()
    };
    Some((0..steps.len()).map(course).collect())
}

const I386: Cpu = cpu(Arch::I386, Endianness::Little, 1_402_000, false);
const SIGNED: Cpu = cpu(Arch::Arm64, Endianness::Little, 1_500_000, true);

#[test]
fn callers_are_found_at_each_instruction_of_a_function_without_a_frame() {
    for cpu in [AMD64, I386, ARM64, SIGNED, RISCV] {
        let expected = vec![with_entries(cpu, COURSE); steps(cpu.arch).len()];
        let Some(own) = shown(cpu, ".eh_frame", |_| ()) else { continue };
        assert_eq!(own, expected, "{cpu:?}");
        assert_eq!(shown(cpu, ".debug_frame", |_| ()).unwrap(), expected, "{cpu:?}");
        // Without it, some are not.
        let hide = |files: &Files| {
            let image = fs::read(files.path("kernel")).unwrap();
            let at = image.windows(10).rposition(|name| name == b".eh_frame\0").unwrap();
            fs::write(files.path("kernel"), [&image[..at], b".no", &image[at + 3..]].concat()).unwrap();
        };
        assert_ne!(shown(cpu, ".eh_frame", hide).unwrap(), expected, "{cpu:?}");
    }
}

#[test]
fn call_frame_information_is_in_the_file_with_the_debug_information() {
    let split = |files: &Files| {
        fs::rename(files.path("kernel"), files.path("kernel.full")).unwrap();
        objcopy(files, &["--only-keep-debug"], &["kernel.full", "kernel.debug"]);
        objcopy(files, &["--strip-debug"], &["kernel.full", "kernel"]);
    };
    let Some(found) = shown(AMD64, ".debug_frame", split) else { return };
    assert_eq!(found, vec![with_entries(AMD64, COURSE); found.len()]);
}

#[test]
fn frames_tell_how_they_were_found() {
    let Some(linked) = linked(AMD64, &AMD64_STEPS, ".eh_frame") else { return };
    let files = interrupted_at(AMD64, &AMD64_STEPS, &linked, 4);
    let document = files.run(&["sh", "--json"]).ok().json();
    let frames = document["stacks"][0]["frames"].as_array().unwrap();
    let found: Vec<&str> = frames.iter().map(|frame| frame["found_by"].as_str().unwrap()).collect();
    let by_frames = ["frame-pointer"; 4];
    let expected = ["registers", "frame-pointer", "frame-pointer", "trap-frame", "call-frame-information"];
    assert_eq!(found, [&expected[..], &by_frames[..3]].concat());
}

/// A function that says this of its frame in the middle.
fn with_expression(says: &'static str) -> Option<String> {
    let steps = [
        step("subq $40, %rsp", says, |stack| stack.sp -= 40),
        step("nop", "", |_| ()),
        step("addq $40, %rsp", ".cfi_def_cfa %rsp, 8", |stack| stack.sp += 40),
        step("ret", "", |_| ()),
    ];
    Some(interrupted_at(AMD64, &steps, &linked(AMD64, &steps, ".eh_frame")?, 1).course())
}

#[test]
fn expressions_lead_to_the_caller_or_the_frame_pointer_does() {
    let Some(course) = with_expression(EXPRESSION) else { return };
    assert_eq!(course, with_entries(AMD64, COURSE));
    // The frame pointer is that of the caller.
    let expected = with_entries(AMD64, &COURSE.replace(" _sleep", ""));
    for says in [ENDLESS].into_iter().chain(UNKNOWN) {
        assert_eq!(with_expression(says).unwrap(), expected, "{says}");
    }
}

#[test]
fn a_relocatable_modules_call_frame_information_is_relocated() {
    const LOADED: u64 = 0xffff_ffff_8300_0000;
    for form in [".eh_frame", ".debug_frame"] {
        let source = source(Arch::Amd64, &AMD64_STEPS, form);
        let Some(module) = assemble(directory().path(), Arch::Amd64, &source, None) else { return };
        let elf = object::File::parse(&*module).unwrap();
        for index in 1..AMD64_STEPS.len() {
            let mut kernel = Kernel::new(AMD64);
            kernel.link_files("frameless.ko", LOADED);
            let name = format!("step_{index}");
            interrupt_after(&mut kernel, &AMD64_STEPS[..index], LOADED + address_of(&elf, &name));
            let files = kernel.files();
            fs::write(files.path("frameless.ko"), &module).unwrap();
            let document = files.run(&["sh", "--json"]).ok().json();
            let expected = with_entries(AMD64, COURSE).replace("frameless", &name);
            assert_eq!(course(&document["stacks"][0]), expected, "{form}");
        }
    }
}

#[test]
fn damaged_call_frame_information_is_never_a_panic() {
    for (cpu, form) in [(AMD64, ".eh_frame"), (AMD64, ".debug_frame"), (ARM64, ".eh_frame"), (RISCV, ".debug_frame")] {
        let Some(linked) = linked(cpu, steps(cpu.arch), form) else { return };
        let files = interrupted_at(cpu, steps(cpu.arch), &linked, 5);
        let image = fs::read(files.path("kernel")).unwrap();
        let elf = object::File::parse(&*image).unwrap();
        let (start, size) = elf.section_by_name(form).unwrap().file_range().unwrap();
        let damaged = files.path("damaged");
        let changes = vec((any::<Index>(), any::<u8>()), 1..12);
        let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&changes, |changes| {
                let mut image = image.clone();
                for (at, value) in changes {
                    image[start as usize + at.index(size as usize)] = value;
                }
                fs::write(&damaged, image).unwrap();
                let kernel = vmcore::Kernel::open(&files.path("core"), Some(&damaged)).unwrap();
                let processes = kernel.processes().unwrap();
                let mut information = DebugInfo::new(Search::default());
                let mut unwinder = Unwinder::new(&kernel).with_call_frames(&mut information);
                for (_, thread) in processes.threads() {
                    let stack = unwinder.thread(&processes, thread);
                    assert!(stack.frames.len() < 100);
                    assert!(stack.frames.iter().all(|frame| !frame.is_return || kernel.is_code(frame.pc)));
                }
                Ok(())
            })
            .unwrap();
    }
}
