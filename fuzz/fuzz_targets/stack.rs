//! A thread of a kernel with a stack of calls and traps, of which some words, registers and instructions are any others.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use memtool::output_file::scratch;
use memtool_fuzz::recipe;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek;
use std::path::Path;
use std::sync::Mutex;
use vmcore::Kernel;
use vmcore::architecture::Architecture;
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kernel::Registers;
use vmcore::progress::Progress;
use vmcore::stack::{CallFrames, End, Unwinder};
use vmcore::symbols::Table;
use vmcore_synth::{Arch, Endianness, Mapping, MinidumpSpec, Stack, Trap};

use vmcore_synth::image::{
    ET_EXEC, FUNC, GLOBAL, Image, OBJECT, SHF_EXECINSTR, SHF_WRITE, TARGETS, Target, section, symbol,
};

/// Entries of all architectures, and other functions.
const FUNCTIONS: [&str; 20] = [
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
    "swi_exit",
    "exception_exit",
    "intr_irq_handler",
    "fork_exit",
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
/// arm's tables for exceptions: an index of two functions, and what is said of one of them.
const INDEX: u64 = 0x80;
const TABLE: u64 = 0x90;
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
    let mut said = Said(bytes);
    let stack = Unwinder::new(&kernel).with_call_frames(&mut said).thread(&processes, thread);
    check(&kernel, &stack);
    Corpus::Keep
});

/// What call frame information says of a caller: these bytes, of which each call takes some.
struct Said<'a>(&'a [u8]);

impl CallFrames for Said<'_> {
    fn caller(
        &mut self,
        kernel: &Kernel,
        address: u64,
        registers: &Registers,
        read: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<Registers> {
        let (first, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        let [choice, rise, back, frame] = *first;
        let sp = registers.sp()?.wrapping_add(u64::from(rise & 0xf8));
        let architecture = kernel.memory().architecture();
        let pc = if choice & 1 == 0 { read(sp)? } else { address.wrapping_add(u64::from(back)) };
        let fp = if choice & 2 == 0 { read(sp)? } else { sp.wrapping_add(u64::from(frame)) };
        let fp = (choice & 4 == 0).then_some(fp);
        (choice & 8 == 0).then(|| Registers::of_caller(architecture, pc, Some(sp), fp))
    }
}

/// What holds of all stacks.
fn check(kernel: &Kernel, stack: &vmcore::stack::Stack) {
    let count: u64 = stack.frames.iter().map(|frame| 1 + frame.repeats).sum();
    assert!(count <= 4096 && (count == 4096 || stack.end != End::TooMany));
    let last_trap = stack.frames.last().and_then(|frame| frame.trap.as_ref());
    assert_eq!(stack.end == End::UserMode, last_trap.is_some_and(|trap| trap.from_user));
    for (frame, next) in stack.frames.iter().zip(stack.frames.iter().skip(1)) {
        assert!(!next.is_return || kernel.is_code(next.pc));
        // arm's entries let handlers return to where they have not called them.
        let is_jump = kernel.memory().architecture() == Architecture::Arm && frame.trap.is_none();
        assert!(is_jump || frame.trap.is_some() != next.is_return);
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
    let image = Table::from_opened(Path::new("kernel"), image(&spec, base), 0).expect("it is an image");
    let dump = ByteSource::from_bytes(spec.build());
    let dump = DumpedMemory::open(dump, None, scratch(&std::env::temp_dir()), &Progress::default());
    Ok(Kernel::from_dump(Path::new("core"), dump.expect("it is a minidump"), Some(image)).expect("it is its image"))
}

/// Variables, a process with its thread, code, and a stack.
fn memory(u: &mut Unstructured<'_>, spec: &MinidumpSpec, base: u64) -> Result<Vec<u8>> {
    let word = spec.arch.word();
    let release = *u.choose(&[1_302_001, 1_400_010, 1_500_000])?;
    let (stack, pc) = stack(u, spec, base, release)?;
    let mut memory = vec![0; END as usize];
    memory[STACK as usize..].copy_from_slice(&stack.bytes);
    let mut put = |offset: u64, value: u64, size: usize| {
        let bytes = spec.order.bytes(value & (u64::MAX >> (64 - 8 * size)), size);
        memory[offset as usize..][..size].copy_from_slice(&bytes);
    };
    for (offset, (_, value)) in (0..).step_by(4).zip(VARIABLES) {
        put(offset, value, 4);
    }
    put(OSRELDATE, release, 4);
    put(ALLPROC, base + PROCESS, word);
    put(PROCESS + 0x10, base + THREAD, word);
    put(THREAD + 0x20, base + PCB, word);
    put(THREAD + 0x40, 100_000, 4);
    put(THREAD + 0x44, u32::MAX.into(), 4);
    let relative = |to: u64, from: u64| to.wrapping_sub(from) & 0x7fff_ffff;
    let tables =
        [relative(TEXT, INDEX), 0x809b_8480, relative(TEXT + 8 * FUNCTION, INDEX + 8), 4, 0x8101_9b84, 0x80b0_b0b0];
    for (place, right) in (INDEX..).step_by(4).zip(tables) {
        put(place, if u.ratio(1, 16)? { u64::from(u.arbitrary::<u32>()?) } else { right }, 4);
    }
    for (slot, right) in slots(spec.arch, release).into_iter().zip([pc, stack.fp, stack.sp]) {
        let value = if u.ratio(1, 16)? { value(u, base)? } else { right };
        put(PCB + slot * word as u64, value, word);
    }
    let prologue = prologue(spec);
    for place in (TEXT..STACK).step_by(FUNCTION as usize) {
        memory[place as usize..][..prologue.len()].copy_from_slice(&prologue);
    }
    // What the recipe has not used is code.
    let code = u.bytes(u.len().min((STACK - TEXT) as usize))?;
    memory[TEXT as usize..][..code.len()].copy_from_slice(code);
    Ok(memory)
}

/// The words of `struct pcb` with the program counter, the frame pointer and the stack pointer.
fn slots(arch: Arch, release: u64) -> [u64; 3] {
    match arch {
        Arch::Amd64 => [7, 4, 5],
        Arch::I386 => [5, 2, 3],
        Arch::Arm => [11, 7, 9],
        Arch::Arm64 if release >= 1_400_084 => [11, 10, 12],
        Arch::Arm64 => [30, 29, 32],
        Arch::Riscv => [0, 4, 1],
        Arch::Powerpc64 => [23, 19, 21],
    }
}

/// How a function with a frame begins.
fn prologue(spec: &MinidumpSpec) -> Vec<u8> {
    let words = |words: &[u64]| words.iter().flat_map(|word| spec.order.bytes(*word, 4)).collect();
    match spec.arch {
        Arch::Amd64 => vec![0x55, 0x48, 0x89, 0xe5],
        Arch::I386 => vec![0x55, 0x89, 0xe5],
        Arch::Arm => words(&[0xe92d_4800, 0xe28d_b000]),
        Arch::Arm64 => words(&[0xa9b9_7bfd, 0x9100_03fd]),
        Arch::Riscv => words(&[0xf486_7159, 0x1880_f0a2]),
        Arch::Powerpc64 => words(&[0x7c08_02a6, 0xf801_0010, 0xf821_ff91]),
    }
}

/// A stack of calls and traps, of which some words are others, and the program counter.
fn stack(u: &mut Unstructured<'_>, spec: &MinidumpSpec, base: u64, release: u64) -> Result<(Stack, u64)> {
    let mut stack = Stack::new(spec.arch, spec.order, base + STACK, (END - STACK) as usize);
    stack.is_old = release < 1_400_000;
    stack.signature = *u.choose(&[0xff80_0000_0000_0000, 0xc280_0000_0000_0000])?;
    // The largest trap frame, and the frame of its handler.
    while stack.sp > base + STACK + 0x400 {
        match u.int_in_range(0..=7_u8)? {
            0 => break,
            1..=3 => stack.call_and_enter(code(u, base)?),
            4 => stack.call(code(u, base)?),
            5 => {
                let address = base + STACK + u64::from(u.arbitrary::<u16>()?) % (END - STACK) / 8 * 8;
                stack.set(address, value(u, base)? & (u64::MAX >> (64 - 8 * spec.arch.word())));
            }
            _ => {
                let number = match spec.arch {
                    Arch::Arm64 => u64::from(u.arbitrary::<u8>()? & 0x3f) << 26,
                    Arch::Riscv => u64::from(u.arbitrary::<u8>()? & 0xf) | u64::from(u.arbitrary::<bool>()?) << 63,
                    Arch::Powerpc64 => *u.choose(&[0x300, 0x500, 0x900, 0xc00, 0x700, 0x3000])?,
                    _ => u64::from(u.arbitrary::<u8>()? & 0x1f),
                };
                let pc = if u.ratio(1, 8)? { 0x10 } else { code(u, base)? };
                let (from_user, entry) = (u.ratio(1, 4)?, entry(u, spec.arch, base)?);
                let handled = u.ratio(7, 8)?;
                let trap = Trap { pc, from_user, number, entry, ..Trap::default() };
                if handled { stack.trap(trap) } else { stack.enter_kernel(trap) }
            }
        }
    }
    Ok((stack, code(u, base)?))
}

/// A place in a function.
fn code(u: &mut Unstructured<'_>, base: u64) -> Result<u64> {
    Ok(base + TEXT + u64::from(u.arbitrary::<u16>()?) % (FUNCTIONS.len() as u64 * FUNCTION))
}

/// Where an entry's call of a handler returns to, in most cases of the architecture's own.
fn entry(u: &mut Unstructured<'_>, arch: Arch, base: u64) -> Result<u64> {
    let own = match arch {
        Arch::Amd64 | Arch::I386 => 0..=3,
        Arch::Arm64 => 4..=6,
        Arch::Riscv => 7..=8,
        Arch::Powerpc64 => 10..=11,
        Arch::Arm => 16..=17,
    };
    let place = base + TEXT + u.int_in_range(own)? * FUNCTION;
    // Of powerpc64 a label stands behind the call; arm's is where it returns to.
    Ok(match arch {
        Arch::Powerpc64 => place - 4,
        Arch::Arm => place,
        _ => place + 0x20,
    })
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

/// The image of a kernel of this architecture and order, in a file without a name, which is written once.
fn image(spec: &MinidumpSpec, base: u64) -> File {
    static IMAGES: Mutex<BTreeMap<String, File>> = Mutex::new(BTreeMap::new());
    let name = format!("memtool-fuzz-{}-{}-{:?}", std::process::id(), spec.arch.name(), spec.order);
    let mut images = IMAGES.lock().expect("no other thread has panicked");
    let file = images.entry(name).or_insert_with_key(|name| {
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, build_image(spec, base).build()).expect("it can be written");
        let file = File::open(&path).expect("it is there");
        std::fs::remove_file(&path).expect("it is there");
        file
    });
    file.rewind().expect("it is a file");
    file.try_clone().expect("there are descriptors")
}

fn build_image(spec: &MinidumpSpec, base: u64) -> Image {
    let machine = vmcore_synth::elf::machine(spec.arch);
    let is_big = spec.order == Endianness::Big;
    let is_target = |target: &&Target| u64::from(target.machine) == machine && target.is_big_endian == is_big;
    let target = *TARGETS.iter().find(is_target).expect("every architecture is there");
    let variable = |name, offset, size| symbol(name, (GLOBAL, OBJECT), 2, base + offset, size);
    let mut symbols = vec![variable("osreldate", OSRELDATE, 4), variable("allproc", ALLPROC, 8)];
    symbols.extend([variable("_exidx_start", INDEX, TABLE - INDEX), variable("_exidx_end", TABLE, 0)]);
    symbols.extend((0..).step_by(4).zip(VARIABLES).map(|(offset, (name, _))| variable(name, offset, 4)));
    for (index, name) in (0..).zip(FUNCTIONS) {
        symbols.push(symbol(name, (GLOBAL, FUNC), 1, base + TEXT + index * FUNCTION, FUNCTION));
    }
    let sections = vec![
        section(".text", SHF_EXECINSTR, base + TEXT, vec![0; (STACK - TEXT) as usize]),
        section(".data", SHF_WRITE, base, vec![0; TEXT as usize]),
    ];
    Image::new(target, ET_EXEC, sections, symbols)
}
