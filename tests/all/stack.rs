//! Kernel stacks of threads: functions that call each other, as each architecture lays out their frames, and traps of all
//! kinds between them.

mod call_frames;
mod debuggers;
mod lines;

use crate::common::{Run, directory, memtool, text};
use crate::ps::{Memory, layout};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use vmcore_synth::image::{self, FUNC, GLOBAL, Image, LOCAL, OBJECT, SHF_EXECINSTR, SHF_WRITE, TARGETS};
use vmcore_synth::image::{Target, section, symbol};
use vmcore_synth::{Arch, Endianness, MinidumpSpec, Stack, Trap};

/// A kernel that a test is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    pub arch: Arch,
    order: Endianness,
    osreldate: u64,
    /// Return addresses are signed.
    signs: bool,
}

pub const fn cpu(arch: Arch, order: Endianness, osreldate: u64, signs: bool) -> Cpu {
    Cpu { arch, order, osreldate, signs }
}

pub const AMD64: Cpu = cpu(Arch::Amd64, Endianness::Little, 1_500_000, false);
pub const ARM64: Cpu = cpu(Arch::Arm64, Endianness::Little, 1_500_000, false);
const RISCV: Cpu = cpu(Arch::Riscv, Endianness::Little, 1_500_000, false);
pub const POWERPC64: Cpu = cpu(Arch::Powerpc64, Endianness::Big, 1_500_000, false);
pub const CPUS: [Cpu; 8] = [
    AMD64,
    ARM64,
    cpu(Arch::Arm64, Endianness::Little, 1_500_000, true),
    cpu(Arch::Arm64, Endianness::Little, 1_302_001, false),
    RISCV,
    cpu(Arch::I386, Endianness::Little, 1_402_000, false),
    POWERPC64,
    cpu(Arch::Powerpc64, Endianness::Little, 1_500_000, false),
];

/// Bytes of a function, and where in it a call or an interrupt is.
const FUNCTION: u64 = 0x100;
const INSIDE: u64 = 0x40;
const STACK: usize = 0x4000;
/// Pages of the kernel's memory.
const PAGES: u64 = 160;

/// Functions of C, in the order of their addresses.
const FUNCTIONS: [&str; 15] = [
    "btext",
    "sched_switch",
    "mi_switch",
    "_sleep",
    "sys_read",
    "syscall",
    "trap",
    "intr",
    "kdb_trap",
    "panic",
    "doadump",
    "cpustop_handler",
    "recurse",
    "fork_exit",
    "ast",
];

/// The entries: of exceptions and interrupts in the kernel, of system calls, of exceptions in user mode, and where work is
/// found on the way back.
pub struct Entries {
    pub exception: &'static str,
    pub interrupt: &'static str,
    call: &'static str,
    exception_from_user: &'static str,
    back: &'static str,
}

/// Where an instruction is interrupted, which the processor numbers so.
pub struct Numbers {
    pub page_fault: u64,
    pub interrupt: u64,
    call: u64,
    page_fault_from_user: u64,
}

impl Cpu {
    pub fn entries(self) -> Entries {
        let all =
            |name| Entries { exception: name, interrupt: name, call: name, exception_from_user: name, back: name };
        match self.arch {
            Arch::Amd64 => Entries {
                exception: "calltrap",
                interrupt: "Xapic_isr1",
                call: "fast_syscall_common",
                exception_from_user: "calltrap",
                back: "doreti_ast",
            },
            Arch::I386 => Entries { call: "int0x80_syscall_common", ..Self::entries(AMD64) },
            Arch::Arm64 => Entries {
                exception: "handle_el1h_sync",
                interrupt: "handle_el1h_irq",
                call: "handle_el0_sync",
                exception_from_user: "handle_el0_sync",
                back: "handle_el0_sync",
            },
            Arch::Riscv => Entries {
                exception: "cpu_exception_handler_supervisor",
                interrupt: "cpu_exception_handler_supervisor",
                ..all("cpu_exception_handler_user")
            },
            Arch::Powerpc64 => Entries { back: "asttrapexit", ..all("trapexit") },
            Arch::Arm => Entries { call: "swi_exit", ..all("exception_exit") },
        }
    }

    /// What an entry's call of a handler is in: labels of powerpc64 stand behind it.
    fn shown(self, entry: &'static str) -> &'static str {
        match (self.arch, entry) {
            (Arch::Powerpc64, "trapexit") => "trapagain",
            (Arch::Powerpc64, "asttrapexit") => "trapexit",
            _ => entry,
        }
    }

    pub fn numbers(self) -> Numbers {
        let numbers = |page_fault, interrupt, call, page_fault_from_user| Numbers {
            page_fault,
            interrupt,
            call,
            page_fault_from_user,
        };
        match self.arch {
            Arch::Amd64 | Arch::I386 => numbers(12, 0, 0, 12),
            // EXCP_DATA_ABORT, EXCP_SVC64 and EXCP_DATA_ABORT_L, in ESR_EL1.
            Arch::Arm64 => numbers(0x25 << 26, 0, 0x15 << 26, 0x24 << 26),
            Arch::Riscv => numbers(13, 1 << 63 | 5, 8, 13),
            Arch::Powerpc64 => numbers(0x300, 0x900, 0xc00, 0x300),
            Arch::Arm => numbers(0, 0, 0, 0),
        }
    }

    fn target(self) -> Target {
        let machine = match self.arch {
            Arch::Amd64 => image::EM_X86_64,
            Arch::Arm64 => image::EM_AARCH64,
            Arch::Riscv => image::EM_RISCV,
            Arch::Arm => image::EM_ARM,
            Arch::I386 => image::EM_386,
            Arch::Powerpc64 => image::EM_PPC64,
        };
        let is_big = self.order == Endianness::Big;
        *TARGETS.iter().find(|target| target.machine == machine && target.is_big_endian == is_big).unwrap()
    }

    /// A function's first instructions, one that does nothing, and its last ones.
    fn code(self) -> [Vec<u8>; 3] {
        let words = |words: &[u32]| words.iter().flat_map(|word| self.order.bytes((*word).into(), 4)).collect();
        let halves = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        match self.arch {
            Arch::Amd64 => [vec![0x55, 0x48, 0x89, 0xe5], vec![0x90], vec![0x5d, 0xc3]],
            Arch::I386 => [vec![0x55, 0x89, 0xe5], vec![0x90], vec![0x5d, 0xc3]],
            Arch::Arm => {
                [words(&[0xe92d_4800, 0xe28d_b000]), words(&[0xe320_f000]), words(&[0xe8bd_4800, 0xe12f_ff1e])]
            }
            Arch::Arm64 => {
                [words(&[0xa9b9_7bfd, 0x9100_03fd]), words(&[0xd503_201f]), words(&[0xa8c7_7bfd, 0xd65f_03c0])]
            }
            Arch::Riscv => [
                halves(&[0x7159, 0xf486, 0xf0a2, 0x1880]),
                halves(&[0x0001]),
                halves(&[0x70a6, 0x7406, 0x6165, 0x8082]),
            ],
            Arch::Powerpc64 => [
                words(&[0x7c08_02a6, 0xf801_0010, 0xf821_ff91]),
                words(&[0x6000_0000]),
                words(&[0x3821_0070, 0xe801_0010, 0x7c08_03a6, 0x4e80_0020]),
            ],
        }
    }
}

/// A function of the kernel's image.
struct Function {
    name: &'static str,
    address: u64,
    size: u64,
    binding: u8,
}

/// A kernel in memory, with threads.
pub struct Kernel {
    pub cpu: Cpu,
    pub memory: Memory,
    functions: Vec<Function>,
    text: u64,
    processes: BTreeMap<i32, u64>,
    /// Where the next thread of a process is linked.
    links: BTreeMap<i32, u64>,
    /// Pages that are left out of the dump.
    cut: Vec<u64>,
}

impl Kernel {
    pub fn new(cpu: Cpu) -> Self {
        Self::of_pages(cpu, PAGES)
    }

    fn of_pages(cpu: Cpu, pages: u64) -> Self {
        let mut memory = Memory::blank(cpu.arch, pages);
        memory.spec = MinidumpSpec { order: cpu.order, ..memory.spec };
        let mut memory = Memory::with_offsets(memory);
        memory.int("osreldate", cpu.osreldate);
        memory.int("pcb_size", 0x140);
        memory.int("mp_maxid", 3);
        let version = memory.variable("version", 64);
        memory.put(version, b"FreeBSD 15.0-TEST\n");
        let text = memory.room(0x4000).next_multiple_of(0x1000);
        let mut kernel = Self {
            cpu,
            memory,
            functions: Vec::new(),
            text,
            processes: BTreeMap::new(),
            links: BTreeMap::new(),
            cut: Vec::new(),
        };
        FUNCTIONS.iter().for_each(|name| kernel.add_function(name, GLOBAL));
        if cpu.arch == Arch::Powerpc64 {
            kernel.add_function("trapagain", GLOBAL);
        }
        if cpu.arch == Arch::Arm {
            ["intr_irq_handler", "swi_entry", "swi_exit"].iter().for_each(|name| kernel.add_function(name, GLOBAL));
        }
        let Entries { exception, interrupt, call, exception_from_user, back } = cpu.entries();
        for name in [exception, interrupt, call, exception_from_user, back, "fork_trampoline", "leaf"] {
            if kernel.find(name).is_none() {
                kernel.add_function(name, GLOBAL);
            }
        }
        kernel
    }

    fn find(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// A function with its code. A leaf has none of a frame.
    pub fn add_function(&mut self, name: &'static str, binding: u8) {
        let address = self.text + self.functions.len() as u64 * FUNCTION;
        let [first, nothing, last] = self.cpu.code();
        let is_entry = self.cpu.entries().back == name || self.cpu.entries().exception == name;
        let first = if name == "leaf" || is_entry { Vec::new() } else { first };
        let middle = nothing.iter().copied().cycle().skip(first.len());
        let length = FUNCTION as usize - first.len() - last.len();
        // powerpc64's code begins with a whole instruction in any case.
        let code: Vec<u8> = first.iter().copied().chain(middle.take(length)).chain(last).collect();
        self.memory.put(address, &code);
        self.functions.push(Function { name, address, size: FUNCTION, binding });
    }

    /// Within a function: where a call returns to.
    pub fn at(&self, name: &str) -> u64 {
        let function = self.find(name).unwrap_or_else(|| panic!("no function {name}"));
        let is_label = self.cpu.arch == Arch::Powerpc64 && name.ends_with("trapexit");
        // Of powerpc64 a label stands behind the call; arm's is where it returns to.
        match self.cpu.arch {
            _ if is_label => function.address - 4,
            Arch::Arm if name.ends_with("_exit") && name != "fork_exit" => function.address,
            _ => function.address + INSIDE,
        }
    }

    /// An empty stack.
    pub fn stack(&mut self) -> Stack {
        self.stack_of(STACK)
    }

    fn stack_of(&mut self, size: usize) -> Stack {
        let base = self.memory.room(size as u64 + 0x1000).next_multiple_of(0x1000);
        let mut stack = Stack::new(self.cpu.arch, self.cpu.order, base, size);
        stack.is_old = self.cpu.osreldate < 1_400_000;
        stack.signature = if self.cpu.signs { 0xc280_0000_0000_0000 } else { 0xff80_0000_0000_0000 };
        stack
    }

    /// A thread's stack in a system call.
    pub fn in_call(&mut self) -> Stack {
        self.in_call_of(STACK)
    }

    fn in_call_of(&mut self, size: usize) -> Stack {
        let mut stack = self.stack_of(size);
        let (number, entry) = (self.cpu.numbers().call, self.at(self.cpu.entries().call));
        stack.trap(Trap { pc: 0x1234_5678, from_user: true, number, call: 3, entry, ..Trap::default() });
        // The handler is syscall().
        stack.call_and_enter(self.at("syscall"));
        stack
    }

    /// Calls these functions, which make their frames, from what is called so now.
    pub fn calls(&self, stack: &mut Stack, callers: &[&str]) {
        callers.iter().for_each(|caller| stack.call_and_enter(self.at(caller)));
    }

    fn save(&mut self, pcb: u64, stack: &Stack, pc: u64) {
        let registers: Vec<(&str, u64)> = layout(self.cpu.arch, self.cpu.osreldate).1;
        let index = |name: &str| registers.iter().find(|(known, _)| *known == name).unwrap().1;
        let (sp, fp) = match self.cpu.arch {
            Arch::Amd64 => ("rsp", "rbp"),
            Arch::I386 => ("esp", "ebp"),
            Arch::Arm => ("sp", "r11"),
            Arch::Arm64 => ("sp", "x29"),
            Arch::Riscv => ("sp", "s0"),
            Arch::Powerpc64 => ("r1", "r31"),
        };
        let word = self.memory.word();
        for (name, value) in [("pc", pc), (sp, stack.sp), (fp, stack.fp)] {
            let name = match (name, self.cpu.arch) {
                ("pc", Arch::Amd64) => "rip",
                ("pc", Arch::I386) => "eip",
                _ => name,
            };
            self.memory.pointer(pcb + index(name) * word, value);
        }
    }

    /// A thread off the CPUs that saved its registers in a function; where they are.
    fn thread(&mut self, pid: i32, tid: i32, name: &[u8], stack: &Stack, pc: u64) -> u64 {
        self.memory.put(stack.base, &stack.bytes);
        let pcb = self.memory.room(0x140);
        self.save(pcb, stack, pc);
        self.thread_with(pid, tid, name, -1, pcb);
        pcb
    }

    pub fn thread_with(&mut self, pid: i32, tid: i32, name: &[u8], cpu: i32, pcb: u64) {
        let memory = &mut self.memory;
        let process = *self.processes.entry(pid).or_insert_with(|| memory.process("allproc", pid, name));
        let link = self.links.get(&pid).copied().unwrap_or(process + 0x20);
        let thread = memory.thread(link, tid, name, cpu, pcb);
        self.links.insert(pid, thread + 0x18);
    }

    /// A sleeping thread in a system call.
    pub fn sleeper(&mut self, pid: i32, tid: i32, name: &[u8]) {
        let mut stack = self.in_call();
        self.calls(&mut stack, &["sys_read", "_sleep", "mi_switch"]);
        let pc = self.at("sched_switch");
        self.thread(pid, tid, name, &stack, pc);
    }

    /// The thread that wrote the dump, on CPU 0.
    pub fn dumper(&mut self, pid: i32, tid: i32, name: &[u8], stack: &Stack, pc: u64) {
        self.memory.int("dumptid", tid.cast_unsigned().into());
        self.memory.int("dumping", 1);
        self.memory.put(stack.base, &stack.bytes);
        let pcb = self.memory.variable("dumppcb", 0x140);
        self.save(pcb, stack, pc);
        self.thread_with(pid, tid, name, 0, 0);
    }

    /// The list of the kernel's files: itself and a module.
    pub fn link_files(&mut self, module: &str, loaded: u64) {
        self.link_files_from(module, module, loaded);
    }

    /// The same, with the path that the module is from.
    fn link_files_from(&mut self, module: &str, path: &str, loaded: u64) {
        for (name, offset) in
            [("kld_off_address", 0), ("kld_off_filename", 8), ("kld_off_pathname", 16), ("kld_off_next", 24)]
        {
            self.memory.int(name, offset);
        }
        let mut link = self.memory.variable("linker_files", 16);
        for (name, path, address) in [("kernel", "/boot/kernel/kernel", self.text), (module, path, loaded)] {
            let [file, text, from] = [0x20, 0x40, 0x40].map(|size| self.memory.room(size));
            self.memory.put(text, name.as_bytes());
            self.memory.put(from, path.as_bytes());
            self.memory.pointer(link, file);
            for (offset, value) in [(0, address), (8, text), (16, from)] {
                self.memory.pointer(file + offset, value);
            }
            link = file + 24;
        }
    }

    pub fn image(&self) -> Image {
        let data = self
            .memory
            .symbols
            .iter()
            .map(|(name, place)| symbol(name, (GLOBAL, OBJECT), 2, place.address, place.size));
        let functions = self
            .functions
            .iter()
            .map(|function| symbol(function.name, (function.binding, FUNC), 1, function.address, function.size));
        let start = (self.text - self.memory.base) as usize;
        let end = start + self.functions.len() * FUNCTION as usize;
        let sections = vec![
            section(".text", SHF_EXECINSTR, self.text, self.memory.bytes[start..end].to_vec()),
            section(".data", SHF_WRITE, self.memory.base, self.memory.bytes[..start].to_vec()),
        ];
        let symbols = data.chain(functions).collect();
        Image::new(self.cpu.target(), image::ET_EXEC, sections, symbols)
    }

    pub fn files(&mut self) -> Files {
        self.files_with(self.image())
    }

    pub fn files_with(&mut self, image: Image) -> Files {
        let files = Files { directory: directory() };
        let memory = &mut self.memory;
        let start = memory.spec.dump_avail[0].0 + 0x40 * memory.spec.page_size;
        let end = start + memory.bytes.len() as u64;
        memory.spec.dump_avail = vec![(memory.spec.dump_avail[0].0, end + 0x10_0000)];
        // powerpc64's kernel runs where it is linked here.
        memory.spec.kernel_image = (0x10_0100, 0x10_0200);
        std::fs::write(files.path("core"), self.dump()).unwrap();
        std::fs::write(files.path("kernel"), image.build()).unwrap();
        files
    }

    pub fn dump(&self) -> Vec<u8> {
        let mut spec = self.memory.spec.clone();
        let physical = spec.dump_avail[0].0 + 0x40 * spec.page_size;
        for (page, bytes) in (0..).zip(self.memory.bytes.chunks(spec.page_size as usize)) {
            let offset = page * spec.page_size;
            if !self.cut.contains(&(self.memory.base + offset)) {
                spec.pages.insert(physical + offset, bytes.to_vec());
            }
        }
        spec.build()
    }
}

/// A dump and its kernel in files.
pub struct Files {
    pub directory: tempfile::TempDir,
}

impl Files {
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    #[track_caller]
    fn run(&self, more: &[&str]) -> Run {
        let [core, kernel] = ["core", "kernel"].map(|name| self.path(name));
        memtool(&[&["stack", "--core", text(&core), "--kernel", text(&kernel)], more].concat())
    }

    /// What the stack of the only thread is: names of functions, traps, and why it ends.
    #[track_caller]
    fn course(&self) -> String {
        let run = self.run(&["--all", "--json"]);
        let document = run.json();
        let [stack] = document["stacks"].as_array().unwrap().as_slice() else { panic!("{document:#}") };
        let is_complete = stack["complete"].as_bool().unwrap() || stack["end_reason"] == "no-registers";
        assert_eq!(run.code, i32::from(!is_complete), "{run:?}");
        course(stack)
    }
}

/// A stack in one line.
fn course(stack: &Value) -> String {
    let mut words = Vec::new();
    for frame in stack["frames"].as_array().unwrap() {
        let mut name = frame["function"].as_str().unwrap_or("?").to_owned();
        if frame["repeat_count"] != 0 {
            name += &format!("*{}", frame["repeat_count"].as_u64().unwrap() + 1);
        }
        words.push(name);
        if !frame["trap"].is_null() {
            words.push(format!("[{}]", frame["trap"]["kind"].as_str().unwrap()));
        }
    }
    words.push(format!("({})", stack["end_reason"].as_str().unwrap()));
    words.join(" ")
}

/// Runs a test with each processor; what differs is said by its name.
#[track_caller]
fn on_each(cpus: &[Cpu], expected: impl Fn(Cpu) -> String, build: impl Fn(&mut Kernel)) {
    for cpu in cpus {
        let mut kernel = Kernel::new(*cpu);
        build(&mut kernel);
        assert_eq!(kernel.files().course(), expected(*cpu), "{cpu:?}");
    }
}

const SLEEPING: &str = "sched_switch mi_switch _sleep sys_read syscall";

#[test]
fn a_sleeping_thread_is_followed_to_user_mode() {
    let expected = |cpu: Cpu| format!("{SLEEPING} {} [system-call] (user-mode)", cpu.shown(cpu.entries().call));
    on_each(&CPUS, expected, |kernel| kernel.sleeper(812, 100_100, b"sh"));
}

#[test]
fn addresses_have_no_signature() {
    for cpu in CPUS {
        let mut kernel = Kernel::new(cpu);
        kernel.sleeper(812, 100_100, b"sh");
        let document = kernel.files().run(&["sh", "--json"]).ok().json();
        let frames = document["stacks"][0]["frames"].as_array().unwrap();
        for (frame, name) in frames.iter().zip(SLEEPING.split(' ')) {
            assert_eq!(frame["pc"], format!("{:#x}", kernel.at(name)), "{cpu:?}");
            assert_eq!((&frame["function"], &frame["offset"]), (&name.into(), &"0x40".into()), "{cpu:?}");
        }
    }
}

/// The same in the kernel: what was called before, and where it is interrupted by which number.
pub fn interrupt(kernel: &Kernel, stack: &mut Stack, pc: u64, entry: &'static str, number: u64) {
    let entry = kernel.at(entry);
    stack.trap(Trap { pc, number, entry, address: 0x10, ..Trap::default() });
}

/// `CALL`, `EXCEPTION`, `INTERRUPT`, `USER` and `BACK` stand for the entries.
fn with_entries(cpu: Cpu, course: &str) -> String {
    let entries = cpu.entries();
    let names = [
        ("CALL", entries.call),
        ("EXCEPTION", entries.exception),
        ("INTERRUPT", entries.interrupt),
        ("USER", entries.exception_from_user),
        ("BACK", entries.back),
    ];
    names.into_iter().fold(course.to_owned(), |course, (word, entry)| course.replace(word, cpu.shown(entry)))
}

#[test]
fn i386_runs_a_copy_of_its_entries() {
    let mut kernel = Kernel::new(cpu(Arch::I386, Endianness::Little, 1_402_000, false));
    let [start, end] = ["calltrap", "leaf"].map(|name| kernel.find(name).unwrap().address);
    let displacement = 0xff80_0000 - start;
    kernel.memory.int("setidt_disp", displacement);
    for (name, address) in [("start_exceptions", start), ("end_exceptions", end)] {
        kernel.functions.push(Function { name, address, size: 0, binding: GLOBAL });
    }
    let mut stack = kernel.stack();
    let [call, trap] = ["int0x80_syscall_common", "calltrap"].map(|name| kernel.at(name) + displacement);
    stack.trap(Trap { pc: 0x1000, from_user: true, call: 3, entry: call, ..Trap::default() });
    kernel.calls(&mut stack, &["syscall"]);
    stack.trap(Trap { pc: kernel.at("sys_read"), number: 12, entry: trap, ..Trap::default() });
    let pc = kernel.at("trap");
    kernel.thread(812, 100_100, b"sh", &stack, pc);
    let mut stack = kernel.stack();
    stack.call_and_enter(kernel.at("fork_trampoline") + displacement);
    let pc = kernel.at("fork_exit");
    kernel.thread(0, 100_017, b"softirq_0", &stack, pc);
    let document = kernel.files().run(&["--all", "--json"]).ok().json();
    let courses: Vec<String> = document["stacks"].as_array().unwrap().iter().map(course).collect();
    let crossed = "trap calltrap [exception] sys_read syscall int0x80_syscall_common [system-call] (user-mode)";
    assert_eq!(courses, ["fork_exit fork_trampoline (beginning)", crossed]);
}

#[test]
fn a_kernel_thread_began_at_fork_trampoline() {
    let expected = |_| "sched_switch mi_switch _sleep fork_exit fork_trampoline (beginning)".to_owned();
    on_each(&CPUS, expected, |kernel| {
        let mut stack = kernel.stack();
        kernel.calls(&mut stack, &["fork_trampoline", "fork_exit", "_sleep", "mi_switch"]);
        let pc = kernel.at("sched_switch");
        kernel.thread(0, 100_017, b"softirq_0", &stack, pc);
    });
}

#[test]
fn a_new_thread_is_at_fork_trampoline_and_the_first_one_has_no_caller() {
    on_each(
        &CPUS,
        |_| "fork_trampoline (beginning)".to_owned(),
        |kernel| {
            let stack = kernel.stack();
            let pc = kernel.find("fork_trampoline").unwrap().address;
            kernel.thread(812, 100_100, b"new", &stack, pc);
        },
    );
    // The kernel's beginning leaves 0 in the place of a caller.
    on_each(
        &CPUS,
        |_| "sched_switch mi_switch btext (beginning)".to_owned(),
        |kernel| {
            let mut stack = kernel.stack();
            if kernel.cpu.arch != Arch::Powerpc64 {
                stack.call_and_enter(0);
            }
            kernel.calls(&mut stack, &["btext", "mi_switch"]);
            let pc = kernel.at("sched_switch");
            kernel.thread(0, 100_000, b"swapper", &stack, pc);
        },
    );
}

/// A page fault within sys_read(), after which the kernel panics.
pub fn fault(kernel: &mut Kernel) -> Stack {
    let mut stack = kernel.in_call();
    let (pc, entries, numbers) = (kernel.at("sys_read"), kernel.cpu.entries(), kernel.cpu.numbers());
    interrupt(kernel, &mut stack, pc, entries.exception, numbers.page_fault);
    kernel.calls(&mut stack, &["trap", "panic"]);
    stack
}

#[test]
fn a_page_fault_in_the_kernel_is_crossed() {
    let course = "doadump panic trap EXCEPTION [exception] sys_read syscall CALL [system-call] (user-mode)";
    for cpu in CPUS {
        let mut kernel = Kernel::new(cpu);
        let (stack, pc) = (fault(&mut kernel), kernel.at("doadump"));
        kernel.dumper(47, 100_060, b"sysctl", &stack, pc);
        let files = kernel.files();
        assert_eq!(files.course(), with_entries(cpu, course), "{cpu:?}");
        // Without words it is the thread that wrote the dump; what the trap says is printed.
        let document = files.run(&["--json"]).ok().json();
        let trap = &document["stacks"][0]["frames"][3]["trap"];
        assert_eq!(document["stacks"][0]["frames"][4]["is_return_address"], false, "{cpu:?}");
        let call = &document["stacks"][0]["frames"][6]["trap"];
        assert_eq!((&call["number"], &call["from_user"]), (&3.into(), &true.into()), "{cpu:?}: {call:#}");
        let has_address = match cpu.arch {
            // The kernel does not save it.
            Arch::I386 => false,
            Arch::Arm64 => cpu.osreldate >= 1_400_000,
            _ => true,
        };
        let fault_address = if has_address { Value::from("0x10") } else { Value::Null };
        assert_eq!(trap["fault_address"], fault_address, "{cpu:?}");
        let (number, name) = match cpu.arch {
            Arch::Amd64 | Arch::I386 => ("0xc", "page fault"),
            Arch::Arm64 => ("0x25", "data abort"),
            Arch::Riscv => ("0xd", "load page fault"),
            _ => ("0x300", "data storage"),
        };
        assert_eq!(trap["name"], name, "{cpu:?}");
        let printed = files.run(&[]).ok();
        let lines = printed.lines();
        assert_eq!(lines[0], "PID 47, TID 100060, sysctl, CPU 0, dumping", "{cpu:?}");
        let at = if has_address { " at address 0x10" } else { "" };
        assert_eq!(lines[5], format!("     --- exception {number}: {name}{at}"), "{cpu:?}");
        let pc = format!("     --- pc {:#x}, ", kernel.at("sys_read"));
        assert!(lines[6].starts_with(&pc), "{cpu:?}: {}", lines[6]);
        let frame = format!("#4   {:#x} sys_read+0x40", kernel.at("sys_read"));
        assert_eq!(lines[7], frame, "{cpu:?}");
        assert!(lines.contains(&"     --- system call 3 from user mode"), "{cpu:?}: {printed:?}");
        assert!(lines.last().unwrap().starts_with("     --- pc 0x12345678, sp 0x7fffe000"), "{cpu:?}: {printed:?}");
    }
}

/// What the kernel of [`crashed`] said.
const SAID: &[u8] = b"FreeBSD 15.1-RELEASE-p1 GENERIC amd64
CPU: AMD EPYC 7543P 32-Core Processor (2794.75-MHz K8-class CPU)
real memory  = 536870912 (512 MB)
Trying to mount root from ufs:/dev/ufs/rootfs [rw]...


Fatal trap 12: page fault while in kernel mode
cpuid = 0; apic id = 00
fault virtual address	= 0x10
fault code		= supervisor read data, page not present
current process		= 812 (sysctl)
trap number		= 12
panic: page fault
cpuid = 0
time = 1795899675
KDB: stack backtrace:
db_trace_self_wrapper() at db_trace_self_wrapper+0x2b
vpanic() at vpanic+0x40
trap_pfault() at trap_pfault+0x40
calltrap() at calltrap+0x8
kdb_sysctl_trap() at kdb_sysctl_trap+0x5d
Uptime: 6m12s
Dumping 64 out of 493 MB:
";

/// A dump of a kernel that panicked, and that kernel: what README.md's examples are shown with.
pub fn crashed() -> (Vec<u8>, Vec<u8>) {
    let mut kernel = Kernel::new(AMD64);
    for name in ["amd64_syscall", "sys___sysctl", "userland_sysctl", "sysctl_root", "kdb_sysctl_trap", "trap_pfault"] {
        kernel.add_function(name, GLOBAL);
    }
    for name in ["vpanic", "kern_reboot"] {
        kernel.add_function(name, GLOBAL);
    }
    let memory = &mut kernel.memory;
    // The kernel says at boot which one it is.
    let version = SAID.split_inclusive(|byte| *byte == b'\n').next().unwrap();
    memory.put(memory.symbols["version"].address, version);
    for (name, value) in [("time_second", 1_795_899_675), ("time_uptime", 372)] {
        let at = memory.variable(name, 8);
        memory.number(at, value, 8);
    }
    let loads = memory.variable("averunnable", 24);
    for (offset, load) in [(0, 819), (4, 164), (8, 61), (16, 2048)] {
        memory.number(loads + offset, load, 4);
    }
    let (panicstr, message) = (memory.variable("panicstr", 8), memory.room(64));
    memory.put(message, b"page fault");
    memory.pointer(panicstr, message);
    memory.int("mp_ncpus", 2);
    memory.variable("linker_files", 16);
    for (name, offset) in
        [("kld_off_address", 0x40), ("kld_off_filename", 0x28), ("kld_off_pathname", 0x30), ("kld_off_next", 8)]
    {
        memory.int(name, offset);
    }
    memory.int("hz", 1000);
    memory.spec.message_buffer = SAID.to_vec();
    memory.spec.message_buffer.resize(4024, 0);
    let stopped = memory.variable("stopped_cpus", 8);
    memory.pointer(stopped, 1 << 1);
    let pcbs = memory.variable("stoppcbs", 4 * 0x140);
    let mut stack = kernel.stack();
    let (number, entry) = (kernel.cpu.numbers().call, kernel.at(kernel.cpu.entries().call));
    stack.trap(Trap { pc: 0x82a4_b1ca, from_user: true, number, call: 202, entry, ..Trap::default() });
    kernel.calls(&mut stack, &["amd64_syscall", "sys___sysctl", "userland_sysctl", "sysctl_root"]);
    let (pc, entries, numbers) = (kernel.at("kdb_sysctl_trap"), kernel.cpu.entries(), kernel.cpu.numbers());
    interrupt(&kernel, &mut stack, pc, entries.exception, numbers.page_fault);
    kernel.calls(&mut stack, &["trap_pfault", "panic", "vpanic", "kern_reboot"]);
    let pc = kernel.at("doadump");
    kernel.dumper(812, 100_092, b"sysctl", &stack, pc);
    kernel.sleeper(433, 100_071, b"syslogd");
    kernel.sleeper(1, 100_001, b"init");
    let mut stack = kernel.stack();
    kernel.calls(&mut stack, &["fork_trampoline", "fork_exit", "intr"]);
    kernel.memory.put(stack.base, &stack.bytes);
    let pc = kernel.at("cpustop_handler");
    kernel.save(pcbs + 0x140, &stack, pc);
    kernel.thread_with(11, 100_003, b"idle: cpu1", 1, 0);
    let files = kernel.files();
    ["core", "kernel"].map(|name| std::fs::read(files.path(name)).unwrap()).into()
}

/// A thread that an interrupt stopped where `prepare` has led it, and the functions that it was in.
#[track_caller]
fn interrupted(cpus: &[Cpu], course: &str, prepare: impl Fn(&mut Kernel, &mut Stack) -> u64) {
    let course = format!("cpustop_handler intr INTERRUPT [interrupt] {course}");
    let course = course.as_str();
    on_each(
        cpus,
        |cpu| with_entries(cpu, course),
        |kernel| {
            let mut stack = kernel.in_call();
            let pc = prepare(kernel, &mut stack);
            let (entries, numbers) = (kernel.cpu.entries(), kernel.cpu.numbers());
            interrupt(kernel, &mut stack, pc, entries.interrupt, numbers.interrupt);
            kernel.calls(&mut stack, &["intr"]);
            let pc = kernel.at("cpustop_handler");
            kernel.thread(812, 100_100, b"dd", &stack, pc);
        },
    );
}

const CALLED: &str = "sys_read syscall CALL [system-call] (user-mode)";

#[test]
fn a_function_that_is_interrupted_before_and_after_its_frame_has_its_caller() {
    let begins = |kernel: &Kernel, name| kernel.find(name).unwrap().address;
    // Its first instruction is next.
    interrupted(&CPUS, &format!("_sleep {CALLED}"), |kernel, stack| {
        stack.call(kernel.at("sys_read"));
        begins(kernel, "_sleep")
    });
    // Its return is.
    interrupted(&CPUS, &format!("_sleep {CALLED}"), |kernel, stack| {
        stack.call(kernel.at("sys_read"));
        let length = match kernel.cpu.arch {
            Arch::Amd64 | Arch::I386 => 1,
            Arch::Riscv => 2,
            _ => 4,
        };
        begins(kernel, "_sleep") + FUNCTION - length
    });
    // A leaf makes no frame; those of x86 do.
    let with_link: Vec<Cpu> = CPUS.into_iter().filter(|cpu| !matches!(cpu.arch, Arch::Amd64 | Arch::I386)).collect();
    interrupted(&with_link, &format!("leaf {CALLED}"), |kernel, stack| {
        stack.call(kernel.at("sys_read"));
        kernel.at("leaf")
    });
    // On x86, between the two instructions that make the frame.
    let others: Vec<Cpu> = CPUS.into_iter().filter(|cpu| matches!(cpu.arch, Arch::Amd64 | Arch::I386)).collect();
    interrupted(&others, &format!("_sleep {CALLED}"), |kernel, stack| {
        stack.call(kernel.at("sys_read"));
        stack.push(stack.fp);
        begins(kernel, "_sleep") + 1
    });
}

#[test]
fn powerpc64s_function_that_is_interrupted_before_it_saves_its_link_has_its_caller() {
    let cpus: Vec<Cpu> = CPUS.into_iter().filter(|cpu| cpu.arch == Arch::Powerpc64).collect();
    // As clang begins functions: mflr r0; std r31, -8(r1); stdu r1, -112(r1); std r0, 128(r1)
    let begins = [0x7c08_02a6_u32, 0xfbe1_fff8, 0xf821_ff91, 0xf801_0080];
    for done in 0..=begins.len() {
        interrupted(&cpus, &format!("_sleep {CALLED}"), |kernel, stack| {
            let address = kernel.find("_sleep").unwrap().address;
            let code = begins.map(|word| kernel.cpu.order.bytes(word.into(), 4)).concat();
            kernel.memory.put(address, &code);
            stack.call(kernel.at("sys_read"));
            if done > 2 {
                stack.enter();
                // What was there before.
                let saved = words(kernel.cpu, stack).1;
                stack.set(saved, if done > 3 { stack.link } else { kernel.at("intr") });
            }
            address + 4 * done as u64
        });
    }
}

#[test]
fn a_jump_to_where_there_is_no_code_has_its_caller() {
    let course = "trap EXCEPTION [exception] ? sys_read syscall CALL [system-call] (user-mode)";
    on_each(
        &CPUS,
        |cpu| with_entries(cpu, course),
        |kernel| {
            let mut stack = kernel.in_call();
            stack.call(kernel.at("sys_read"));
            let (entries, numbers) = (kernel.cpu.entries(), kernel.cpu.numbers());
            interrupt(kernel, &mut stack, 0x10, entries.exception, numbers.page_fault);
            let pc = kernel.at("trap");
            kernel.thread(812, 100_100, b"dd", &stack, pc);
        },
    );
}

#[test]
fn a_double_fault_on_another_stack_is_crossed_to_the_first() {
    for is_below in [true, false] {
        let mut kernel = Kernel::new(AMD64);
        kernel.add_function("Xdblfault", GLOBAL);
        let mut stack = kernel.stack_of(2 * STACK);
        let half = stack.base + STACK as u64;
        // The thread's is the other half.
        if !is_below {
            stack.sp = half - 64;
        }
        let (call, entry) = (kernel.at("fast_syscall_common"), kernel.at("Xdblfault"));
        stack.trap(Trap { pc: 0x1000, from_user: true, entry: call, ..Trap::default() });
        kernel.calls(&mut stack, &["syscall"]);
        let other = if is_below { half - 64 } else { half + STACK as u64 - 64 };
        let pc = kernel.at("sys_read");
        stack.trap(Trap { pc, number: 23, entry, stack: Some(other), ..Trap::default() });
        kernel.calls(&mut stack, &["panic"]);
        let pc = kernel.at("doadump");
        kernel.dumper(812, 100_100, b"deep", &stack, pc);
        let course =
            "doadump panic Xdblfault [exception] sys_read syscall fast_syscall_common [system-call] (user-mode)";
        let files = kernel.files();
        assert_eq!(files.course(), course, "below: {is_below}");
        assert!(files.run(&[]).ok().stdout.contains("     --- exception 0x17: double fault\n"));
    }
}

#[test]
fn traps_within_traps_are_crossed() {
    let course = "cpustop_handler intr INTERRUPT [interrupt] kdb_trap trap EXCEPTION [exception] \
                  sys_read syscall CALL [system-call] (user-mode)";
    on_each(
        &CPUS,
        |cpu| with_entries(cpu, course),
        |kernel| {
            let mut stack = kernel.in_call();
            let (entries, numbers) = (kernel.cpu.entries(), kernel.cpu.numbers());
            let pc = kernel.at("sys_read");
            interrupt(kernel, &mut stack, pc, entries.exception, numbers.page_fault);
            kernel.calls(&mut stack, &["trap"]);
            let pc = kernel.at("kdb_trap");
            interrupt(kernel, &mut stack, pc, entries.interrupt, numbers.interrupt);
            kernel.calls(&mut stack, &["intr"]);
            let pc = kernel.at("cpustop_handler");
            kernel.thread(812, 100_100, b"dd", &stack, pc);
        },
    );
}

#[test]
fn a_trap_in_the_first_instruction_of_a_traps_handler_is_crossed() {
    let course = "cpustop_handler intr INTERRUPT [interrupt] trap EXCEPTION [exception] sys_read syscall CALL \
                  [system-call] (user-mode)";
    // riscv's trap frame is found by the frame of the handler.
    let others: Vec<Cpu> = CPUS.into_iter().filter(|cpu| cpu.arch != Arch::Riscv).collect();
    on_each(
        &others,
        |cpu| with_entries(cpu, course),
        |kernel| {
            let mut stack = kernel.in_call();
            let (entries, numbers) = (kernel.cpu.entries(), kernel.cpu.numbers());
            let (pc, number) = (kernel.at("sys_read"), numbers.page_fault);
            stack.enter_kernel(Trap { pc, number, ..Trap::default() });
            stack.call(kernel.at(entries.exception));
            let pc = kernel.find("trap").unwrap().address;
            interrupt(kernel, &mut stack, pc, entries.interrupt, numbers.interrupt);
            kernel.calls(&mut stack, &["intr"]);
            let pc = kernel.at("cpustop_handler");
            kernel.thread(812, 100_100, b"dd", &stack, pc);
        },
    );
}

#[test]
fn what_user_mode_was_interrupted_by_ends_a_stack() {
    let kind = |cpu: Cpu| if cpu.arch == Arch::Amd64 || cpu.arch == Arch::I386 { "return" } else { "exception" };
    let expected = |cpu| with_entries(cpu, &format!("mi_switch ast BACK [{}] (user-mode)", kind(cpu)));
    on_each(&CPUS, expected, |kernel| {
        let mut stack = kernel.stack();
        let (entry, number) = (kernel.at(kernel.cpu.entries().back), kernel.cpu.numbers().page_fault_from_user);
        stack.trap(Trap { pc: 0x1000, from_user: true, number, entry, ..Trap::default() });
        kernel.calls(&mut stack, &["ast"]);
        let pc = kernel.at("mi_switch");
        kernel.thread(812, 100_100, b"sh", &stack, pc);
    });
}

#[test]
fn exceptions_have_hexadecimal_numbers_with_and_without_a_name() {
    let shown = |number| {
        let mut kernel = Kernel::new(POWERPC64);
        let (mut stack, entry) = (kernel.stack(), kernel.at(kernel.cpu.entries().back));
        stack.trap(Trap { pc: 0x1000, from_user: true, number, entry, ..Trap::default() });
        kernel.calls(&mut stack, &["ast"]);
        let pc = kernel.at("mi_switch");
        kernel.thread(812, 100_100, b"sh", &stack, pc);
        let run = kernel.files().run(&["--all"]).ok();
        run.lines().into_iter().find_map(|line| line.strip_prefix("     --- exception ").map(str::to_owned)).unwrap()
    };
    assert_eq!(shown(0x1300), "0x1300: instruction breakpoint from user mode");
    assert_eq!(shown(0xe40), "0xe40: hypervisor emulation assistance from user mode");
    assert_eq!(shown(0x2a00), "0x2a00 from user mode");
}

#[test]
fn recursion_is_shown_once_with_its_number_and_has_an_end() {
    let course = "panic recurse*40 sys_read syscall CALL [system-call] (user-mode)";
    for cpu in CPUS {
        let mut kernel = Kernel::new(cpu);
        let mut stack = kernel.in_call();
        kernel.calls(&mut stack, &["sys_read"]);
        (0..40).for_each(|_| kernel.calls(&mut stack, &["recurse"]));
        let pc = kernel.at("panic");
        kernel.thread(812, 100_100, b"deep", &stack, pc);
        let files = kernel.files();
        assert_eq!(files.course(), with_entries(cpu, course), "{cpu:?}");
        let printed = files.run(&["812"]).ok();
        assert_eq!(printed.lines()[3], "     repeated 39 more times", "{cpu:?}");
        assert!(printed.lines()[4].starts_with("#2   "), "{cpu:?}: {}", printed.lines()[4]);
    }
}

#[test]
fn more_frames_than_a_stack_has_room_for_are_an_end() {
    for cpu in [AMD64, ARM64, RISCV, POWERPC64] {
        let mut kernel = Kernel::of_pages(cpu, 320);
        let mut stack = kernel.stack_of(0x9_0000);
        (0..5000).for_each(|_| kernel.calls(&mut stack, &["recurse"]));
        let pc = kernel.at("panic");
        kernel.thread(812, 100_100, b"deep", &stack, pc);
        let run = kernel.files().run(&["812"]).exits(1);
        assert_eq!(
            run.lines()[3..],
            ["     repeated 4094 more times", "     incomplete: more frames than a stack has room for"]
        );
    }
}

/// The word of the innermost frame with the caller's frame pointer, of powerpc64 the back chain; and that with the return
/// address.
fn words(cpu: Cpu, stack: &Stack) -> (u64, u64) {
    match cpu.arch {
        Arch::Riscv => (stack.fp - 16, stack.fp - 8),
        Arch::Powerpc64 => (stack.sp, stack.sp + 112 + 16),
        arch => (stack.fp, stack.fp + arch.word() as u64),
    }
}

/// A sleeping thread whose innermost frame is spoiled; how its stack ends.
#[track_caller]
fn spoiled(expected: &str, spoil: impl Fn(&mut Kernel, &mut Stack, u64, u64)) {
    spoiled_on(&CPUS, expected, spoil);
}

#[track_caller]
fn spoiled_on(cpus: &[Cpu], expected: &str, spoil: impl Fn(&mut Kernel, &mut Stack, u64, u64)) {
    let expected = |_| expected.to_owned();
    on_each(cpus, expected, |kernel| {
        let mut stack = kernel.in_call();
        kernel.calls(&mut stack, &["sys_read", "_sleep", "mi_switch"]);
        let (caller, back) = words(kernel.cpu, &stack);
        spoil(kernel, &mut stack, caller, back);
        let pc = kernel.at("sched_switch");
        kernel.thread(812, 100_100, b"sh", &stack, pc);
    });
}

#[test]
fn frame_pointers_that_loop_fall_or_are_not_aligned_end_a_stack_without_more() {
    // A loop: the return address of a loop of powerpc64 is its own.
    let own = |kernel: &Kernel, stack: &Stack| if kernel.cpu.arch == Arch::Powerpc64 { stack.sp } else { stack.fp };
    let returns = |kernel: &Kernel, stack: &mut Stack| {
        if kernel.cpu.arch == Arch::Powerpc64 {
            stack.set(stack.sp + 16, kernel.at("mi_switch"));
        }
    };
    spoiled("sched_switch (frame-pointer)", |kernel, stack, caller, _| {
        returns(kernel, stack);
        stack.set(caller, own(kernel, stack));
    });
    spoiled("sched_switch (frame-pointer)", |kernel, stack, caller, _| {
        let lower = own(kernel, stack) - 0x40;
        stack.set(lower + 16, kernel.at("mi_switch"));
        stack.set(caller, lower);
    });
    // Far away, where no stack reaches; that of powerpc64 has no return address there.
    let others = |kernel: &Kernel| kernel.cpu.arch != Arch::Powerpc64;
    spoiled("sched_switch (frame-pointer)", |kernel, stack, caller, back| {
        let far = if others(kernel) { own(kernel, stack) + 0x20_0000 } else { own(kernel, stack) };
        stack.set(caller, far);
        stack.set(if others(kernel) { back } else { far + 16 }, kernel.at("mi_switch"));
    });
    // Not aligned: the caller is known, its caller is not.
    for cpu in CPUS.into_iter().filter(|cpu| cpu.arch != Arch::Powerpc64) {
        let mut kernel = Kernel::new(cpu);
        let mut stack = kernel.in_call();
        kernel.calls(&mut stack, &["sys_read", "_sleep", "mi_switch"]);
        let (caller, _) = words(cpu, &stack);
        stack.set(caller, stack.fp + 113);
        let pc = kernel.at("sched_switch");
        kernel.thread(812, 100_100, b"sh", &stack, pc);
        assert_eq!(kernel.files().course(), "sched_switch mi_switch (frame-pointer)", "{cpu:?}");
    }
}

#[test]
fn a_function_without_a_caller_is_the_first() {
    // Before a kernel has processes, its frame pointer is 0.
    let others: Vec<Cpu> = CPUS.into_iter().filter(|cpu| cpu.arch != Arch::Powerpc64).collect();
    spoiled_on(&others, "sched_switch mi_switch (beginning)", |_, stack, caller, _| stack.set(caller, 0));
    // powerpc64's last frame has no return address.
    spoiled_on(&[POWERPC64], "sched_switch (beginning)", |_, stack, caller, _| stack.set(caller, 0));
}

#[test]
fn a_return_address_in_data_ends_a_stack() {
    spoiled("sched_switch (not-code)", |kernel, stack, _, back| stack.set(back, kernel.memory.base + 0x40));
    // One that no symbol covers; page tables of i386 without PAE, and powerpc64's direct map, do not say that it is no
    // code.
    let others: Vec<Cpu> = CPUS.into_iter().filter(|cpu| !matches!(cpu.arch, Arch::I386 | Arch::Powerpc64)).collect();
    spoiled_on(&others, "sched_switch (not-code)", |kernel, stack, _, back| stack.set(back, kernel.text - 8));
    // One that nothing maps.
    spoiled("sched_switch (not-code)", |_, stack, _, back| stack.set(back, 0x1000));
    let mut kernel = Kernel::new(AMD64);
    let mut stack = kernel.in_call();
    kernel.calls(&mut stack, &["sys_read"]);
    stack.set(stack.fp + 8, 0xdead_beef);
    let pc = kernel.at("_sleep");
    kernel.thread(812, 100_100, b"sh", &stack, pc);
    let files = kernel.files();
    let run = files.run(&["sh"]).exits(1);
    assert_eq!(*run.lines().last().unwrap(), "     incomplete: the return address 0xdeadbeef is not code");
    let document = files.run(&["--json", "sh"]).exits(1).json();
    assert_eq!(document["stacks"][0]["end_address"], "0xdeadbeef");
}

#[test]
fn a_page_of_a_stack_that_is_not_in_the_dump_ends_it_and_is_named() {
    for cpu in CPUS {
        let mut kernel = Kernel::new(cpu);
        let mut stack = kernel.in_call();
        kernel.calls(&mut stack, &["sys_read"]);
        // The callers are in the page above.
        let page = stack.sp & !0xfff;
        kernel.cut.push(page);
        let outer = stack.sp;
        stack.sp = page - 0x100;
        if cpu.arch == Arch::Powerpc64 {
            stack.set(stack.sp, outer);
        }
        kernel.calls(&mut stack, &["_sleep", "mi_switch"]);
        let pc = kernel.at("sched_switch");
        kernel.thread(812, 100_100, b"sh", &stack, pc);
        let files = kernel.files();
        assert_eq!(files.course(), "sched_switch mi_switch _sleep (unreadable)", "{cpu:?}");
        let run = files.run(&["812"]).exits(1);
        let last = *run.lines().last().unwrap();
        assert!(last.starts_with("     incomplete: the stack cannot be read at 0x") && last.contains("page"), "{last}");
    }
}

#[test]
fn code_that_enters_the_kernel_ends_a_stack_where_its_registers_can_be_those_of_user_mode() {
    for cpu in [AMD64, RISCV] {
        let mut kernel = Kernel::new(cpu);
        let mut stack = kernel.in_call();
        // In the entry itself, with what user mode has as frame pointer.
        let pc = kernel.at(cpu.entries().call);
        stack.fp = vmcore_synth::stack::USER_FP;
        kernel.thread(812, 100_100, b"sh", &stack, pc);
        let files = kernel.files();
        assert_eq!(files.course(), format!("{} (entry-code)", cpu.entries().call), "{cpu:?}");
        let last = "     incomplete: interrupted in code that enters or leaves the kernel";
        assert_eq!(*files.run(&["sh"]).exits(1).lines().last().unwrap(), last);
    }
    // arm64's entry of what interrupts the kernel still has the frame pointer of that.
    let mut kernel = Kernel::new(ARM64);
    let mut stack = kernel.in_call();
    kernel.calls(&mut stack, &["sys_read"]);
    let pc = kernel.at("handle_el1h_irq");
    kernel.thread(812, 100_100, b"sh", &stack, pc);
    let course = "handle_el1h_irq sys_read syscall handle_el0_sync [system-call] (user-mode)";
    assert_eq!(kernel.files().course(), course);
}

#[test]
fn a_trap_frame_that_is_not_one_ends_a_stack() {
    // arm64: the interrupted kernel's stack pointer is above its trap frame.
    let mut kernel = Kernel::new(ARM64);
    let mut stack = kernel.in_call();
    let pc = kernel.at("sys_read");
    interrupt(&kernel, &mut stack, pc, "handle_el1h_sync", 0x25 << 26);
    stack.set(stack.sp + 112, 0xffff_0000_dead_0000);
    let pc = kernel.at("trap");
    kernel.thread(812, 100_100, b"sh", &stack, pc);
    assert_eq!(kernel.files().course(), "trap handle_el1h_sync (trap-frame)");
}

#[test]
fn a_running_thread_has_no_stack_and_that_is_no_failure() {
    for cpu in CPUS {
        let mut kernel = Kernel::new(cpu);
        kernel.thread_with(11, 100_003, b"idle", 1, 0);
        let files = kernel.files();
        assert_eq!(files.course(), "(no-registers)", "{cpu:?}");
        let lines = "PID 11, TID 100003, idle, CPU 1, running\n     running: its registers were not saved\n";
        assert_eq!(files.run(&["--all"]).ok().stdout, lines);
    }
}

#[test]
fn functions_of_modules_name_their_file() {
    const LOADED: u64 = 0xffff_ffff_8300_0000;
    let mut kernel = Kernel::new(AMD64);
    kernel.link_files("zfs.ko", LOADED);
    let mut stack = kernel.in_call();
    kernel.calls(&mut stack, &["sys_read"]);
    stack.call_and_enter(LOADED + 0x140);
    kernel.calls(&mut stack, &["_sleep"]);
    let pc = kernel.at("mi_switch");
    kernel.thread(812, 100_100, b"sh", &stack, pc);
    let files = kernel.files();
    let code = section(".text", SHF_EXECINSTR, 0, vec![0x90; 0x200]);
    let read = symbol("zfs_read", (LOCAL, FUNC), 1, 0x100, 0x100);
    let module = Image::new(AMD64.target(), image::ET_REL, vec![code], vec![read]);
    // Without the module's file the function has no name, and its callers are there.
    let unnamed = files.run(&["sh"]);
    assert!(unnamed.stderr.contains("zfs.ko"), "{unnamed:?}");
    std::fs::write(files.path("zfs.ko"), module.build()).unwrap();
    let run = files.run(&["sh"]).ok();
    assert_eq!(run.lines()[3], format!("#2   {:#x} zfs_read+0x40 (zfs.ko)", LOADED + 0x140));
    let document = files.run(&["sh", "--json"]).ok().json();
    let modules =
        document["stacks"][0]["frames"].as_array().unwrap().iter().map(|frame| frame["module"].as_str().unwrap());
    assert_eq!(modules.collect::<Vec<_>>(), ["kernel", "kernel", "zfs.ko", "kernel", "kernel", "kernel"]);
}

#[test]
fn a_module_of_another_build_names_nothing() {
    let mut kernel = Kernel::new(AMD64);
    let loaded = kernel.memory.room(0x410).next_multiple_of(16);
    kernel.memory.put(loaded, &[0x90; 0x200]);
    kernel.link_files("zfs.ko", loaded);
    let mut stack = kernel.in_call();
    kernel.calls(&mut stack, &["sys_read"]);
    stack.call_and_enter(loaded + 0x140);
    kernel.calls(&mut stack, &["_sleep"]);
    let pc = kernel.at("mi_switch");
    kernel.thread(812, 100_100, b"sh", &stack, pc);
    let files = kernel.files();
    let module = |code: Vec<u8>| {
        let read = symbol("zfs_read", (LOCAL, FUNC), 1, 0x100, 0x100);
        let code = section(".text", SHF_EXECINSTR, 0, code);
        Image::new(AMD64.target(), image::ET_REL, vec![code], vec![read]).build()
    };
    // A probe has changed an instruction.
    let mut probed = vec![0x90; 0x200];
    probed[0x20] = 0xcc;
    for (code, is_right) in [(vec![0x90; 0x200], true), (probed, true), (vec![0x91; 0x200], false)] {
        std::fs::write(files.path("zfs.ko"), module(code)).unwrap();
        let run = files.run(&["sh"]);
        assert_eq!(run.stdout.contains("zfs_read+0x40 (zfs.ko)"), is_right, "{run:?}");
        let refused = run.stderr.contains("zfs.ko is not the module that the kernel had loaded");
        assert_eq!(refused, !is_right, "{run:?}");
    }
}

#[test]
fn a_kernel_without_local_symbols_is_enough() {
    let mut kernel = Kernel::new(AMD64);
    // The entry is a local symbol behind a global one, as in exception.S.
    kernel.add_function("nmi_calltrap", LOCAL);
    let global =
        Function { name: "Xnmi", address: kernel.find("nmi_calltrap").unwrap().address - 16, size: 0, binding: GLOBAL };
    kernel.functions.last_mut().unwrap().size = 0;
    kernel.functions.push(global);
    let mut stack = kernel.in_call();
    let pc = kernel.at("sys_read");
    interrupt(&kernel, &mut stack, pc, "nmi_calltrap", 19);
    let pc = kernel.at("trap");
    kernel.thread(812, 100_100, b"sh", &stack, pc);
    let mut image = kernel.image();
    let course = |files: &Files| files.course();
    let expected = "sys_read syscall fast_syscall_common [system-call] (user-mode)";
    assert_eq!(course(&kernel.files_with(image.clone())), format!("trap nmi_calltrap [exception] {expected}"));
    image.symbols.retain(|symbol| symbol.binding == GLOBAL);
    assert_eq!(course(&kernel.files_with(image)), format!("trap Xnmi [exception] {expected}"));
}

/// A kernel with a thread that dumped, one that was stopped, one that runs, and four that sleep.
pub fn with_threads() -> Kernel {
    let mut kernel = Kernel::new(AMD64);
    for (pid, tid, name) in
        [(812, 100_100, "sh"), (812, 100_101, "sh"), (900, 100_102, "cat"), (100_103, 100_104, "odd")]
    {
        kernel.sleeper(pid, tid, name.as_bytes());
    }
    let mut stack = kernel.in_call();
    kernel.calls(&mut stack, &["sys_read", "panic"]);
    let pc = kernel.at("doadump");
    kernel.dumper(47, 100_060, b"sysctl", &stack, pc);
    let stopped = kernel.memory.variable("stopped_cpus", 8);
    kernel.memory.pointer(stopped, 1 << 1);
    let pcbs = kernel.memory.variable("stoppcbs", 4 * 0x140);
    let mut stack = kernel.stack();
    kernel.calls(&mut stack, &["fork_trampoline", "fork_exit", "sys_read"]);
    kernel.memory.put(stack.base, &stack.bytes);
    let pc = kernel.at("cpustop_handler");
    kernel.save(pcbs + 0x140, &stack, pc);
    kernel.thread_with(11, 100_003, b"idle", 1, 0);
    kernel.thread_with(11, 100_005, b"idle: cpu2", 2, 0);
    kernel
}

/// The threads of each stack, by their IDs.
#[track_caller]
fn threads(files: &Files, arguments: &[&str]) -> Vec<Vec<u64>> {
    let document = files.run(&[&["--json"], arguments].concat()).ok().json();
    let tids = |stack: &Value| {
        stack["threads"].as_array().unwrap().iter().map(|thread| thread["tid"].as_u64().unwrap()).collect()
    };
    document["stacks"].as_array().unwrap().iter().map(tids).collect()
}

#[test]
fn threads_are_selected_by_number_name_pattern_and_what_they_did() {
    let files = with_threads().files();
    let of = |arguments: &[&str]| -> Vec<u64> { threads(&files, arguments).concat() };
    assert_eq!(of(&[]), [100_060]);
    assert_eq!(of(&["--panicked"]), [100_060]);
    assert_eq!(of(&["--on-cpu"]), [100_060, 100_003, 100_005]);
    assert_eq!(of(&["--on-cpu", "--panicked"]), [100_060, 100_003, 100_005]);
    assert_eq!(of(&["--all"]), [100_060, 100_003, 100_005, 100_100, 100_101, 100_102, 100_104]);
    assert_eq!(of(&["812"]), [100_100, 100_101]);
    assert_eq!(of(&["100101"]), [100_101]);
    assert_eq!(of(&["100103"]), [100_104], "its process ID");
    assert_eq!(of(&["sh"]), [100_100, 100_101]);
    assert_eq!(of(&["idle: cpu2"]), [100_005], "the name of a thread");
    assert_eq!(of(&["idle"]), [100_003, 100_005], "the name of a process");
    assert_eq!(of(&["idle/idle: cpu2"]), [100_005], "both as they are printed");
    assert_eq!(of(&["idle/*"]), [100_003, 100_005]);
    assert_eq!(of(&["s*"]), [100_060, 100_100, 100_101]);
    assert_eq!(of(&["cat", "100005", "812"]), [100_005, 100_100, 100_101, 100_102]);
    files.run(&["cat", "nobody"]).fails_saying(&["there is no process or thread 'nobody'"]);
    files.run(&["4711"]).fails_saying(&["there is no process or thread '4711'"]);
    files.run(&["--all", "812"]).usage_error(&["--all"]);
    assert_eq!(files.run(&["--panicked", "812"]).code, 2);
    files.run(&["--all", "--on-cpu"]).usage_error(&["--all"]);
    files.run(&["[a"]).usage_error(&["not a pattern"]);
}

#[test]
fn equal_stacks_are_grouped_with_their_threads_those_of_most_first() {
    let files = with_threads().files();
    let grouped = threads(&files, &["--all", "--group"]);
    assert_eq!(grouped, [vec![100_100, 100_101, 100_102, 100_104], vec![100_060], vec![100_003], vec![100_005]]);
    let run = files.run(&["--all", "--group"]).ok();
    let lines = run.lines();
    let first = ["4 threads:", "  PID 812, TID 100100, sh", "  PID 812, TID 100101, sh", "  PID 900, TID 100102, cat"];
    assert_eq!(lines[..4], first);
    // The registers of user mode are those of one thread.
    let end = lines.iter().position(|line| line.is_empty()).unwrap();
    assert_eq!(lines[end - 1], "     --- system call 3 from user mode");
    assert!(lines.contains(&"PID 11, TID 100005, idle/idle: cpu2, CPU 2, running"), "{run:?}");
    assert!(lines.contains(&"PID 11, TID 100003, idle, CPU 1, stopped"), "{run:?}");
}

#[test]
fn without_a_thread_that_dumped_one_has_to_be_named() {
    let mut kernel = Kernel::new(AMD64);
    kernel.sleeper(812, 100_100, b"sh");
    let files = kernel.files();
    for arguments in [&[][..], &["--panicked"]] {
        files.run(arguments).fails_saying(&["no thread of the kernel has written a dump", "--on-cpu or --all"]);
    }
}

const ARM: Cpu = cpu(Arch::Arm, Endianness::Little, 1_500_000, false);

/// The kernel's tables for exceptions: all functions have their frames where `fp` points. Of the second half of them, what
/// is said is not in the index.
fn add_exception_tables(kernel: &mut Kernel) {
    let table = kernel.memory.room(8);
    let index = kernel.memory.variable("_exidx_start", 16);
    let after = kernel.memory.variable("_exidx_end", 0);
    assert_eq!(after, index + 16);
    let relative = |address: u64, place: u64| address.wrapping_sub(place) & 0x7fff_ffff;
    let half = kernel.functions[kernel.functions.len() / 2].address;
    let words = [
        // vsp = r11; pop {r11, r14}
        (index, relative(kernel.text, index)),
        (index + 4, 0x809b_8480),
        (index + 8, relative(half, index + 8)),
        (index + 12, relative(table, index + 12)),
        (table, 0x8101_9b84),
        (table + 4, 0x80b0_b0b0),
    ];
    words.into_iter().for_each(|(address, word)| kernel.memory.number(address, word, 4));
}

#[test]
fn arm_is_followed_by_its_tables_and_without_them_by_frame_pointers() {
    for (has_tables, found_by) in [(true, "exception-table"), (false, "frame-pointer")] {
        let mut kernel = Kernel::new(ARM);
        if has_tables {
            add_exception_tables(&mut kernel);
        }
        kernel.sleeper(812, 100_100, b"sh");
        // A page fault in the kernel, and an interrupt of what handles it.
        let mut stack = kernel.in_call();
        interrupt(&kernel, &mut stack, kernel.at("sys_read"), "exception_exit", 0);
        kernel.calls(&mut stack, &["trap"]);
        interrupt(&kernel, &mut stack, kernel.at("panic"), "exception_exit", 0);
        kernel.calls(&mut stack, &["intr_irq_handler"]);
        let pc = kernel.at("cpustop_handler");
        kernel.thread(813, 100_101, b"dd", &stack, pc);
        // A function that has no frame, and one before it has.
        for (tid, name, offset) in [(100_102, "leaf", INSIDE), (100_103, "_sleep", 0), (100_104, "_sleep", 4)] {
            let mut stack = kernel.in_call();
            kernel.calls(&mut stack, &["sys_read"]);
            stack.call(kernel.at("mi_switch"));
            let pc = kernel.find(name).unwrap().address + offset;
            interrupt(&kernel, &mut stack, pc, "exception_exit", 0);
            let pc = kernel.at("intr_irq_handler");
            kernel.thread(814, tid, b"cat", &stack, pc);
        }
        let mut stack = kernel.stack();
        kernel.calls(&mut stack, &["swi_exit", "fork_exit", "_sleep", "mi_switch"]);
        let pc = kernel.at("sched_switch");
        kernel.thread(0, 100_017, b"softirq_0", &stack, pc);
        let document = kernel.files().run(&["--all", "--json"]).ok().json();
        let stacks = document["stacks"].as_array().unwrap();
        let call = "syscall swi_entry [system-call] (user-mode)";
        let before = format!("intr_irq_handler exception_exit [interrupt] NAME mi_switch sys_read {call}");
        let expected = [
            "sched_switch mi_switch _sleep fork_exit swi_exit (beginning)",
            &format!("sched_switch mi_switch _sleep sys_read {call}"),
            &format!(
                "cpustop_handler intr_irq_handler exception_exit [interrupt] panic trap exception_exit [exception] sys_read {call}"
            ),
            &before.replace("NAME", "leaf"),
            &before.replace("NAME", "_sleep"),
            &before.replace("NAME", "_sleep"),
        ];
        assert_eq!(stacks.iter().map(course).collect::<Vec<_>>(), expected, "{has_tables}");
        assert_eq!(stacks[1]["frames"][2]["found_by"], found_by);
        assert_eq!(stacks[1]["frames"][5]["trap"]["number"], 3);
    }
}

#[test]
fn damaged_exception_tables_are_never_a_panic() {
    let mut kernel = Kernel::new(ARM);
    add_exception_tables(&mut kernel);
    kernel.sleeper(812, 100_100, b"sh");
    let tables = kernel.memory.symbols["_exidx_start"].address - 16;
    for at in (tables..tables + 32).step_by(4) {
        for word in [0, 1, 0x7fff_ffff, 0x8000_0000, 0x80b2_ffff, 0x81ff_ffff, 0x8280_0000, u32::MAX] {
            let start = (at - kernel.memory.base) as usize;
            let right = kernel.memory.bytes[start..start + 4].to_vec();
            kernel.memory.number(at, word.into(), 4);
            // Frame pointers lead on.
            assert!(
                kernel.files().course().ends_with("syscall swi_entry [system-call] (user-mode)"),
                "{at:#x} {word:#x}"
            );
            kernel.memory.put(at, &right);
        }
    }
}

#[test]
fn the_image_of_another_kernel_names_nothing() {
    let mut kernel = Kernel::new(AMD64);
    kernel.sleeper(812, 100_100, b"sh");
    let mut image = kernel.image();
    let version = (kernel.memory.symbols["version"].address - kernel.memory.base) as usize;
    image.sections[1].bytes[version..version + 12].copy_from_slice(b"FreeBSD 99.0");
    let run = kernel.files_with(image).run(&["sh"]).exits(1);
    assert!(run.stderr.contains("is not the kernel"), "{run:?}");
}
