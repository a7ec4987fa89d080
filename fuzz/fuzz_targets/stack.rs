//! A thread of a kernel whose registers, stack and code are any words, most of which lead to others of them.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use memtool::output_file::scratch;
use memtool_fuzz::recipe;
use std::path::{Path, PathBuf};
use vmcore::Kernel;
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::progress::Progress;
use vmcore::stack::{End, Stack, Unwinder};
use vmcore::symbols::Table;
use vmcore_synth::{Arch, Endianness, Mapping, MinidumpSpec};

#[allow(dead_code, reason = "the tests' own")]
#[path = "../../tests/all/common/kernel_image.rs"]
mod kernel_image;
use kernel_image::{FUNC, GLOBAL, Image, OBJECT, SHF_EXECINSTR, SHF_WRITE, TARGETS, section, symbol};

/// Entries of all architectures, and other functions.
const FUNCTIONS: [&str; 16] = [
    "calltrap",
    "Xapic_isr1",
    "fast_syscall_common",
    "doreti_ast",
    "handle_el1h_sync",
    "handle_el1h_irq",
    "handle_el0_sync",
    "cpu_exception_handler_supervisor",
    "cpu_exception_handler_user",
    "trap",
    "trapexit",
    "asttrapexit",
    "fork_trampoline",
    "sched_switch",
    "mi_switch",
    "sleep",
];
/// Bytes of a function.
const FUNCTION: u64 = 0x40;
/// Variables of four bytes, at the beginning, and their values.
const VARIABLES: [(&str, u64); 9] = [
    ("proc_off_p_pid", 0x40),
    ("proc_off_p_comm", 0x48),
    ("proc_off_p_list", 0),
    ("proc_off_p_threads", 0x10),
    ("thread_off_td_tid", 0x40),
    ("thread_off_td_name", 0x48),
    ("thread_off_td_oncpu", 0x44),
    ("thread_off_td_pcb", 0x20),
    ("thread_off_td_plist", 0),
];
const OSRELDATE: u64 = 0x40;
const ALLPROC: u64 = 0x48;
const PROCESS: u64 = 0x100;
const THREAD: u64 = 0x200;
const PCB: u64 = 0x300;
const TEXT: u64 = 0x1000;
const STACK: u64 = 0x2000;
const END: u64 = 0x4000;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(kernel) = make(&mut Unstructured::new(bytes)) else { return Corpus::Reject };
    let processes = kernel.processes().expect("there is one");
    let (_, thread) = processes.threads().next().expect("there is one");
    let mut unwinder = Unwinder::new(&kernel);
    let stack = unwinder.thread(&processes, thread);
    check(&kernel, &stack);
    assert_eq!(unwinder.thread(&processes, thread), stack);
    Corpus::Keep
});

/// What holds of all stacks.
fn check(kernel: &Kernel, stack: &Stack) {
    let count: u64 = stack.frames.iter().map(|frame| 1 + frame.repeats).sum();
    assert!(count <= 4096 && (count == 4096 || stack.end != End::TooMany));
    let last_trap = stack.frames.last().and_then(|frame| frame.trap.as_ref());
    assert_eq!(stack.end == End::UserMode, last_trap.is_some_and(|trap| trap.from_user));
    for (frame, next) in stack.frames.iter().zip(stack.frames.iter().skip(1)) {
        assert!(!next.is_return || kernel.is_code(next.pc));
        assert_eq!(frame.trap.is_some(), !next.is_return);
        assert!(frame.trap.as_ref().is_none_or(|trap| !trap.from_user));
    }
    assert!(!stack.end.to_string().is_empty());
}

/// A kernel by the recipe in these bytes.
fn make(u: &mut Unstructured<'_>) -> Result<Kernel> {
    let arch = *u.choose(&Arch::ALL)?;
    let mut spec = MinidumpSpec::example(arch, arch.newest());
    if arch == Arch::Powerpc64 && u.arbitrary()? {
        spec.order = Endianness::Little;
    }
    let physical = spec.dump_avail[0].0 + 0x40 * spec.page_size;
    let mut base = spec.direct_map.base + physical;
    spec.pages.clear();
    if arch != Arch::Powerpc64 {
        base = spec.kernel_base + 2 * spec.page_size;
        let map = |offset, length, executable: bool| Mapping {
            address: base + offset,
            physical: physical + offset,
            length,
            writable: !executable,
            executable,
            superpage: false,
        };
        spec.mappings = vec![map(0, TEXT, false), map(TEXT, STACK - TEXT, true), map(STACK, END - STACK, false)];
    }
    let memory = memory(u, &spec, base)?;
    let cut = *u.choose(&[None, None, Some(END - 0x1000)])?;
    for (offset, bytes) in (0..).step_by(0x1000).zip(memory.chunks(0x1000)) {
        if cut != Some(offset) {
            spec.pages.insert(physical + offset, bytes.to_vec());
        }
    }
    let image = Table::open(&image(&spec, base)).expect("it is an image");
    let dump = ByteSource::from_bytes(spec.build());
    let dump = DumpedMemory::open(dump, None, scratch(&std::env::temp_dir()), &Progress::default());
    Ok(Kernel::from_dump(Path::new("core"), dump.expect("it is a minidump"), Some(image)).expect("it is its image"))
}

/// Variables, a process with its thread, code, and a stack.
fn memory(u: &mut Unstructured<'_>, spec: &MinidumpSpec, base: u64) -> Result<Vec<u8>> {
    let word = spec.arch.word();
    let mut memory = vec![0; END as usize];
    let mut put = |offset: u64, value: u64, size: usize| {
        let bytes = spec.order.bytes(value & (u64::MAX >> (64 - 8 * size)), size);
        memory[offset as usize..][..size].copy_from_slice(&bytes);
    };
    for (offset, (_, value)) in (0..).step_by(4).zip(VARIABLES) {
        put(offset, value, 4);
    }
    put(OSRELDATE, *u.choose(&[1_302_001, 1_400_010, 1_500_000])?, 4);
    put(ALLPROC, base + PROCESS, word);
    put(PROCESS + 0x10, base + THREAD, word);
    put(THREAD + 0x20, base + PCB, word);
    put(THREAD + 0x40, 100_000, 4);
    put(THREAD + 0x44, u32::MAX.into(), 4);
    for slot in 0..33 {
        let value = value(u, base)?;
        put(PCB + slot * word as u64, value, word);
    }
    for offset in (STACK..END).step_by(word) {
        if u.is_empty() {
            break;
        }
        let value = value(u, base)?;
        put(offset, value, word);
    }
    // What the recipe has not used is code.
    let code = u.bytes(u.len().min((STACK - TEXT) as usize))?;
    memory[TEXT as usize..][..code.len()].copy_from_slice(code);
    Ok(memory)
}

/// A place in the code or on the stack, a small number, or one that is likely to be at a border.
fn value(u: &mut Unstructured<'_>, base: u64) -> Result<u64> {
    Ok(match u.arbitrary::<u16>()? {
        code @ 0..0x5000 => base + TEXT + u64::from(code) % (FUNCTIONS.len() as u64 * FUNCTION),
        stack @ 0x5000..0xd000 => base + STACK + u64::from(stack & !7) % (END - STACK),
        small @ 0xd000..0xff00 => u64::from(small & 0x3ff),
        _ => recipe::number(u, base)?,
    })
}

/// The path of the image of a kernel of this architecture and order, which is written once.
fn image(spec: &MinidumpSpec, base: u64) -> PathBuf {
    let name = format!("memtool-fuzz-{}-{}-{:?}", std::process::id(), spec.arch.name(), spec.order);
    let path = std::env::temp_dir().join(name);
    if !path.exists() {
        std::fs::write(&path, build_image(spec, base).build()).expect("it can be written");
    }
    path
}

fn build_image(spec: &MinidumpSpec, base: u64) -> Image {
    let machine = vmcore_synth::elf::machine(spec.arch);
    let is_big = spec.order == Endianness::Big;
    let is_target =
        |target: &&kernel_image::Target| u64::from(target.machine) == machine && target.is_big_endian == is_big;
    let target = *TARGETS.iter().find(is_target).expect("every architecture is there");
    let variable = |name, offset, size| symbol(name, (GLOBAL, OBJECT), 2, base + offset, size);
    let mut symbols = vec![variable("osreldate", OSRELDATE, 4), variable("allproc", ALLPROC, 8)];
    symbols.extend((0..).step_by(4).zip(VARIABLES).map(|(offset, (name, _))| variable(name, offset, 4)));
    for (index, name) in (0..).zip(FUNCTIONS) {
        symbols.push(symbol(name, (GLOBAL, FUNC), 1, base + TEXT + index * FUNCTION, FUNCTION));
    }
    let sections = vec![
        section(".text", SHF_EXECINSTR, base + TEXT, vec![0; (STACK - TEXT) as usize]),
        section(".data", SHF_WRITE, base, vec![0; TEXT as usize]),
    ];
    Image::new(target, kernel_image::ET_EXEC, sections, symbols)
}
