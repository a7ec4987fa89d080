//! Processes, threads and registers in a kernel's memory, and what it says of itself.

use crate::common::kernel::{BuiltKernel, Damage, FREEBSD_12, FREEBSD_14};
use crate::common::{Run, command, directory, memtool, on_terminal_of, text};
use memtool::output_file::scratch;
use std::collections::BTreeMap;
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kernel::{KernelFacts, KernelMemory, Processes, State, Thread};
use vmcore::progress::Progress;
use vmcore::symbols::{Symbol, Symbols, Table};
use vmcore_synth::image::{self, Image, section, symbol};
use vmcore_synth::{Arch, Mapping, MinidumpSpec};

/// A kernel's memory, all of it data, that a test lays out.
pub struct Memory {
    pub spec: MinidumpSpec,
    pub base: u64,
    pub bytes: Vec<u8>,
    used: u64,
    pub symbols: BTreeMap<&'static str, Symbol>,
    /// Where the pointers of lists of threads are, and the heads of these lists.
    thread_links: BTreeMap<u64, u64>,
}

/// Where this kernel has the members of its structures.
const OFFSETS: [(&str, u64); 9] = [
    ("proc_off_p_pid", 0x5c),
    ("proc_off_p_comm", 0x71),
    ("proc_off_p_list", 8),
    ("proc_off_p_threads", 0x20),
    ("thread_off_td_tid", 0x14),
    ("thread_off_td_name", 0x41),
    ("thread_off_td_oncpu", 0x2c),
    ("thread_off_td_pcb", 0x60),
    ("thread_off_td_plist", 0x18),
];
const STRUCTURE: u64 = 0x90;

impl Symbols for Memory {
    fn find(&self, name: &str) -> vmcore::Result<Option<Symbol>> {
        Ok(self.symbols.get(name).copied())
    }

    fn source(&self) -> String {
        "kernel.test".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        false
    }
}

impl Memory {
    /// So many pages, without anything in them.
    pub fn blank(arch: Arch, pages: u64) -> Self {
        let mut spec = MinidumpSpec::example(arch, arch.newest());
        let physical = spec.dump_avail[0].0 + 0x40 * spec.page_size;
        let length = pages * spec.page_size;
        let base = if arch == Arch::Powerpc64 {
            spec.direct_map.base + physical
        } else {
            let address = spec.kernel_base + 2 * spec.page_size;
            spec.mappings =
                vec![Mapping { address, physical, length, writable: true, executable: false, superpage: false }];
            address
        };
        spec.pages.clear();
        Self {
            spec,
            base,
            bytes: vec![0; length as usize],
            used: 0x40,
            symbols: BTreeMap::new(),
            thread_links: BTreeMap::new(),
        }
    }

    /// With the offsets, and an empty list.
    fn new(arch: Arch) -> Self {
        Self::with_offsets(Self::blank(arch, 8))
    }

    /// The same of an empty one.
    pub fn with_offsets(mut memory: Self) -> Self {
        for (name, offset) in OFFSETS {
            memory.int(name, offset);
        }
        memory.variable("allproc", memory.word());
        memory.int("osreldate", 1_201_000);
        memory
    }

    pub fn word(&self) -> u64 {
        self.spec.arch.word() as u64
    }

    /// Memory that nothing else takes.
    pub fn room(&mut self, size: u64) -> u64 {
        let at = self.base + self.used;
        self.used = (self.used + size).next_multiple_of(16);
        assert!(self.used <= self.bytes.len() as u64, "the memory is too small");
        at
    }

    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = (address - self.base) as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn number(&mut self, address: u64, value: u64, size: u64) {
        let bytes = self.spec.order.bytes(value, size as usize);
        self.put(address, &bytes);
    }

    pub fn pointer(&mut self, address: u64, value: u64) {
        self.number(address, value, self.word());
    }

    pub fn variable(&mut self, name: &'static str, size: u64) -> u64 {
        let address = self.room(size);
        self.symbols.insert(name, Symbol { address, size });
        address
    }

    pub fn int(&mut self, name: &'static str, value: u64) {
        let address = self.variable(name, 4);
        self.number(address, value, 4);
    }

    fn address(&self, name: &str) -> u64 {
        self.symbols[name].address
    }

    /// A process without threads, at the head of a list, as the kernel adds it.
    pub fn process(&mut self, list: &str, pid: i32, command: &[u8]) -> u64 {
        let process = self.room(STRUCTURE);
        let head = self.address(list);
        let word = self.word() as usize;
        let at = (head - self.base) as usize;
        let first = self.spec.order.value(&self.bytes[at..at + word]);
        let word = self.word();
        self.pointer(process + 8, first);
        self.pointer(process + 8 + word, head);
        if first != 0 {
            self.pointer(first + 8 + word, process + 8);
        }
        self.pointer(head, process);
        self.pointer(process + 0x20 + word, process + 0x20);
        self.thread_links.insert(process + 0x20, process + 0x20);
        self.number(process + 0x5c, u64::from(pid.cast_unsigned()), 4);
        self.put(process + 0x71, command);
        process
    }

    /// A thread at the end of a process's list: where the pointer to it is kept is known from the one before.
    pub fn thread(&mut self, link: u64, tid: i32, name: &[u8], cpu: i32, pcb: u64) -> u64 {
        let thread = self.room(STRUCTURE);
        self.pointer(link, thread);
        let (head, word) = (self.thread_links[&link], self.word());
        self.pointer(thread + 0x18 + word, link);
        self.pointer(head + word, thread + 0x18);
        self.thread_links.insert(thread + 0x18, head);
        self.number(thread + 0x14, u64::from(tid.cast_unsigned()), 4);
        self.put(thread + 0x41, name);
        self.number(thread + 0x2c, u64::from(cpu.cast_unsigned()), 4);
        self.pointer(thread + 0x60, pcb);
        thread
    }

    /// Registers that no other `struct pcb` has: each word tells the address of the structure and its number.
    fn pcb(&mut self, address: u64, words: u64) {
        for index in 0..words {
            self.pointer(address + index * self.word(), saved(address, index));
        }
    }

    pub fn dump(&self) -> Vec<u8> {
        let mut spec = self.spec.clone();
        let physical = spec.dump_avail[0].0 + 0x40 * spec.page_size;
        for (page, bytes) in (0..).zip(self.bytes.chunks(spec.page_size as usize)) {
            spec.pages.insert(physical + page * spec.page_size, bytes.to_vec());
        }
        spec.build()
    }

    fn open(&self) -> KernelMemory {
        let directory = directory();
        let volume = ByteSource::from_bytes(self.dump());
        let dump = DumpedMemory::open(volume, None, scratch(directory.path()), &Progress::default()).unwrap();
        KernelMemory::from_dump(dump, None).unwrap()
    }

    fn read(&self) -> (KernelMemory, Processes) {
        let kvm = self.open();
        let processes = Processes::read(&kvm, self).unwrap();
        (kvm, processes)
    }
}

/// What word `index` of the `struct pcb` at an address holds.
fn saved(address: u64, index: u64) -> u64 {
    (address & 0xffff) << 12 | (index + 1)
}

fn tids(processes: &Processes) -> Vec<(i32, Vec<i32>)> {
    let of = |threads: &[Thread]| threads.iter().map(|thread| thread.tid).collect();
    processes.list.iter().map(|process| (process.pid, of(&process.threads))).collect()
}

/// Words of `struct pcb` that hold registers, and those that the tests look at: name and number.
pub fn layout(arch: Arch, release: u64) -> (u64, Vec<(&'static str, u64)>) {
    match arch {
        Arch::Amd64 => (8, vec![("r15", 0), ("r12", 3), ("rbp", 4), ("rsp", 5), ("rbx", 6), ("rip", 7)]),
        Arch::I386 => (6, vec![("edi", 0), ("ebp", 2), ("esp", 3), ("ebx", 4), ("eip", 5)]),
        Arch::Arm => (12, vec![("r4", 0), ("r11", 7), ("sp", 9), ("lr", 10), ("pc", 11)]),
        Arch::Arm64 if release >= 1_400_084 => {
            (13, vec![("x19", 0), ("x28", 9), ("x29", 10), ("x30", 11), ("pc", 11), ("sp", 12)])
        }
        Arch::Arm64 => (33, vec![("x19", 19), ("x28", 28), ("x29", 29), ("x30", 30), ("pc", 30), ("sp", 32)]),
        Arch::Riscv if release < 1_300_000 => {
            (23, vec![("ra", 0), ("pc", 0), ("sp", 1), ("gp", 2), ("tp", 3), ("s0", 11), ("s11", 22)])
        }
        Arch::Riscv => (16, vec![("ra", 0), ("pc", 0), ("sp", 1), ("gp", 2), ("tp", 3), ("s0", 4), ("s11", 15)]),
        Arch::Powerpc64 => {
            (24, vec![("r12", 0), ("r31", 19), ("cr", 20), ("r1", 21), ("r2", 22), ("lr", 23), ("pc", 23)])
        }
    }
}

/// Registers that no `struct pcb` has.
fn unsaved(arch: Arch) -> [&'static str; 2] {
    match arch {
        Arch::Amd64 => ["rax", "r11"],
        Arch::I386 => ["eax", "edx"],
        Arch::Arm => ["r0", "r3"],
        Arch::Arm64 => ["x0", "x18"],
        Arch::Riscv => ["a0", "t6"],
        Arch::Powerpc64 => ["r0", "r11"],
    }
}

#[test]
fn processes_threads_and_registers_are_found_on_every_architecture() {
    let releases = |arch| match arch {
        Arch::Arm64 => vec![1_201_000, 1_302_001, 1_400_084, 1_500_000],
        Arch::Riscv => vec![1_201_000, 1_302_001],
        _ => vec![1_201_000],
    };
    let all = Arch::ALL.into_iter().flat_map(|arch| releases(arch).into_iter().map(move |release| (arch, release)));
    for (arch, release) in all {
        for as_pointer in [false, true] {
            let name = format!("{} {release} {as_pointer}", arch.name());
            let mut memory = Memory::new(arch);
            memory.int("osreldate", release);
            memory.int("pcb_size", 0x140);
            memory.int("mp_maxid", 69);
            memory.int("dumptid", 100_077);
            memory.int("dumping", 1);
            memory.variable("zombproc", memory.word());
            let (words, registers) = layout(arch, release);
            let dumppcb = memory.variable("dumppcb", 0x140);
            // CPUs 3 and 69 were stopped, CPU 4 was not.
            let bits = 8 * memory.word();
            let stopped = memory.variable("stopped_cpus", 16);
            memory.pointer(stopped, 1 << 3);
            memory.pointer(stopped + 69 / bits * memory.word(), 1 << (69 % bits));
            let (array, stoppcbs) = (memory.room(70 * 0x140), memory.room(memory.word()));
            memory.pointer(stoppcbs, array);
            let symbol = if as_pointer { (stoppcbs, memory.word()) } else { (array, 70 * 0x140) };
            memory.symbols.insert("stoppcbs", Symbol { address: symbol.0, size: symbol.1 });

            let zombie = memory.process("zombproc", 4711, b"gone");
            let kernel = memory.process("allproc", 0, b"kernel");
            let init = memory.process("allproc", 1, b"init");
            let (off, late) = (memory.room(0x140), memory.room(0x140));
            let swapper = memory.thread(kernel + 0x20, 100_000, b"swapper", -1, off);
            let idle = memory.thread(swapper + 0x18, 100_003, b"idle: cpu3", 3, off);
            let last = memory.thread(idle + 0x18, 100_069, b"idle: cpu69", 69, off);
            let running = memory.thread(last + 0x18, 100_004, b"idle: cpu4", 4, off);
            memory.thread(init + 0x20, 100_077, b"init", 0, off);
            memory.thread(zombie + 0x20, 100_099, b"gone", -1, late);
            let on_3 = array + 3 * 0x140;
            let on_69 = array + 69 * 0x140;
            for pcb in [dumppcb, on_3, on_69, off, late] {
                memory.pcb(pcb, words);
            }

            let (kvm, processes) = memory.read();
            assert_eq!(processes.warnings, <[String; 0]>::default(), "{name}");
            assert_eq!(processes.dumping, Some(100_077));
            let found = |process: &vmcore::kernel::Process| {
                (process.address, process.pid, process.command.clone(), process.zombie)
            };
            assert_eq!(
                processes.list.iter().map(found).collect::<Vec<_>>(),
                [
                    (init, 1, b"init".to_vec(), false),
                    (kernel, 0, b"kernel".to_vec(), false),
                    (zombie, 4711, b"gone".to_vec(), true),
                ],
                "{name}"
            );
            let threads: Vec<_> = processes.threads().map(|(process, thread)| (process.pid, thread)).collect();
            let expected = [
                (1, 100_077, "init", Some(0), State::Dumping, Some(dumppcb)),
                (0, 100_000, "swapper", None, State::Off, Some(off)),
                (0, 100_003, "idle: cpu3", Some(3), State::Stopped, Some(on_3)),
                (0, 100_069, "idle: cpu69", Some(69), State::Stopped, Some(on_69)),
                (0, 100_004, "idle: cpu4", Some(4), State::Running, None),
                (4711, 100_099, "gone", None, State::Off, Some(late)),
            ];
            assert_eq!(threads.len(), expected.len(), "{name}");
            assert_eq!(threads[4].1.address, running);
            for ((pid, thread), expected) in threads.into_iter().zip(expected) {
                let text = str::from_utf8(&thread.name).unwrap();
                assert_eq!((pid, thread.tid, text, thread.cpu, thread.state, thread.pcb), expected, "{name}");
                let found = processes.registers(&kvm, thread).unwrap();
                let Some(pcb) = thread.pcb else {
                    assert!(found.iter().all(|(_, value)| value.is_none()), "{name}");
                    continue;
                };
                for (register, index) in &registers {
                    assert_eq!(found.get(register), Some(saved(pcb, *index)), "{name}: {register}");
                }
                for register in unsaved(arch) {
                    assert!(found.iter().any(|known| known == (register, None)), "{name}: {register}");
                }
                let values: Vec<u64> = registers.iter().map(|(_, index)| saved(pcb, *index)).collect();
                for value in [found.pc(), found.sp(), found.fp()] {
                    assert!(values.contains(&value.unwrap()), "{name}");
                }
                assert!(found.pc() != found.sp() && found.sp() != found.fp(), "{name}");
            }
        }
    }
}

/// What tells whether a kernel dumps: `dumping`, the lock of live dumps, `panicstr` and `dumped_core`.
#[derive(Clone, Copy)]
struct Dumps {
    dumping: u64,
    /// The index of the thread that holds the lock, with flags; the value of a free one.
    lock: Result<(usize, u64), u64>,
    panicked: bool,
    dumped: Option<u64>,
}

#[test]
fn a_thread_is_dumping_only_where_the_kernel_dumped() {
    let free = Dumps { dumping: 0, lock: Err(1), panicked: false, dumped: Some(0) };
    let cases = [
        // A dump from user space, and one while others wait for the lock that nobody holds exclusively.
        (free, false),
        (Dumps { lock: Err(0x23), ..free }, false),
        (Dumps { lock: Err(6), ..free }, false),
        // After a dump from the debugger, whose `dumped_core` stays.
        (Dumps { dumped: Some(1), ..free }, false),
        // Within doadump(), by a panic or not, and live dumps, also with waiters.
        (Dumps { dumping: 1, ..free }, true),
        (Dumps { dumping: 1, panicked: true, ..free }, true),
        (Dumps { lock: Ok((1, 0)), ..free }, true),
        (Dumps { lock: Ok((1, 0b1_0110)), ..free }, true),
        // Another thread has the lock, and has not saved its registers yet.
        (Dumps { lock: Ok((0, 0)), ..free }, false),
        // An image of a machine that panicked: before it dumped, and afterwards; older kernels do not say.
        (Dumps { panicked: true, ..free }, false),
        (Dumps { panicked: true, dumped: Some(1), ..free }, true),
        (Dumps { panicked: true, dumped: None, ..free }, true),
    ];
    for arch in Arch::ALL {
        for (number, (dumps, expected)) in cases.iter().enumerate() {
            let name = format!("{}, case {number}", arch.name());
            let mut memory = Memory::new(arch);
            let word = memory.word();
            memory.int("pcb_size", 0x140);
            memory.int("dumptid", 100_002);
            memory.int("dumping", dumps.dumping);
            let dumppcb = memory.variable("dumppcb", 0x140);
            let panicstr = memory.variable("panicstr", word);
            memory.pointer(panicstr, if dumps.panicked { dumppcb } else { 0 });
            if let Some(dumped) = dumps.dumped {
                // A bool, with other variables behind it.
                let at = memory.variable("dumped_core", 1);
                memory.number(at, dumped | 0x0101_0100, 4);
                let bytes = memory.spec.order.bytes(dumped, 1);
                memory.put(at, &bytes);
            }
            let own = memory.room(0x140);
            let process = memory.process("allproc", 1, b"init");
            // Threads are aligned so that flags fit below their addresses.
            memory.used = memory.used.next_multiple_of(32);
            let first = memory.thread(process + 0x20, 100_001, b"init", -1, own);
            memory.used = memory.used.next_multiple_of(32);
            let second = memory.thread(first + 0x18, 100_002, b"savecore", -1, own);
            let lock = memory.variable("livedump_sx", 3 * word + 8);
            let owner = |(index, flags): (usize, u64)| [first, second][index] | flags;
            memory.pointer(lock + 2 * word + 8, dumps.lock.map_or_else(|free| free, owner));

            let (_, processes) = memory.read();
            assert_eq!(processes.dumping, expected.then_some(100_002), "{name}");
            let shown: Vec<_> = processes.threads().map(|(_, thread)| (thread.tid, thread.state, thread.pcb)).collect();
            let waits = (100_001, State::Off, Some(own));
            let other = (
                100_002,
                if *expected { State::Dumping } else { State::Off },
                Some(if *expected { dumppcb } else { own }),
            );
            assert_eq!(shown, if *expected { [other, waits] } else { [waits, other] }, "{name}");
        }
    }
    // Where nothing tells, nobody is said to have dumped.
    let mut memory = Memory::new(Arch::Amd64);
    memory.int("dumptid", 100_001);
    let process = memory.process("allproc", 1, b"init");
    memory.thread(process + 0x20, 100_001, b"init", 0, 0);
    assert_eq!(memory.read().1.dumping, None);
}

#[test]
fn registers_are_not_guessed() {
    let mut memory = Memory::new(Arch::Arm64);
    memory.symbols.remove("osreldate");
    let process = memory.process("allproc", 1, b"init");
    let pcb = memory.room(0x140);
    memory.pcb(pcb, 33);
    memory.thread(process + 0x20, 100_001, b"init", -1, pcb);
    let (kvm, processes) = memory.read();
    assert!(processes.warnings[0].contains("osreldate"), "{:?}", processes.warnings);
    let thread = &processes.list[0].threads[0];
    assert_eq!(processes.registers(&kvm, thread).unwrap().pc(), None);

    // Without the array or its stride, a thread that was stopped has no registers; nor has one whose pcb is NULL.
    let mut memory = Memory::new(Arch::Amd64);
    let process = memory.process("allproc", 1, b"init");
    let first = memory.thread(process + 0x20, 100_001, b"init", 0, 0x1234);
    memory.thread(first + 0x18, 100_002, b"init", -1, 0);
    let stopped = memory.variable("stopped_cpus", 32);
    memory.pointer(stopped, 1);
    let found = |memory: &Memory| {
        let threads = &memory.read().1.list[0].threads;
        (threads[0].state, threads[0].pcb, threads[1].state, threads[1].pcb)
    };
    assert_eq!(found(&memory), (State::Stopped, None, State::Off, None));
    memory.variable("stoppcbs", 0x1000);
    assert_eq!(found(&memory), (State::Stopped, None, State::Off, None));
    // Beyond the set, no CPU is stopped; without the set, all are that can be.
    memory.symbols.get_mut("stopped_cpus").unwrap().size = 8;
    memory.number(first + 0x2c, 64, 4);
    assert_eq!(found(&memory).0, State::Running);
    memory.symbols.remove("stopped_cpus");
    assert_eq!(found(&memory).0, State::Stopped);
    memory.symbols.remove("stoppcbs");
    assert_eq!(found(&memory).0, State::Running);
    // There is no such CPU.
    memory.int("mp_maxid", 63);
    assert_eq!(found(&memory).0, State::Off);
    // A pcb that is not there is a fault that names its address.
    let (kvm, processes) = memory.read();
    let fault = processes.registers(&kvm, &processes.list[0].threads[0]).unwrap_err();
    assert_eq!(fault.address, 0x1234);
}

#[test]
fn an_arm_thread_that_never_ran_is_where_it_begins() {
    // fork() sets where cpu_switch() returns to, and no program counter.
    for (saved, expected) in [(0, 0xc012_3450), (0xc020_0010, 0xc020_0010)] {
        let mut memory = Memory::new(Arch::Arm);
        let process = memory.process("allproc", 1, b"init");
        let pcb = memory.room(0x140);
        memory.pcb(pcb, 12);
        memory.pointer(pcb + 10 * 4, 0xc012_3450);
        memory.pointer(pcb + 11 * 4, saved);
        memory.thread(process + 0x20, 100_001, b"init", -1, pcb);
        let (kvm, processes) = memory.read();
        let registers = processes.registers(&kvm, &processes.list[0].threads[0]).unwrap();
        assert_eq!((registers.get("lr"), registers.pc()), (Some(0xc012_3450), Some(expected)));
    }
    // Nowhere else is a program counter of 0 another register's.
    let mut memory = Memory::new(Arch::I386);
    let process = memory.process("allproc", 1, b"init");
    let pcb = memory.room(0x140);
    memory.thread(process + 0x20, 100_001, b"init", -1, pcb);
    let (kvm, processes) = memory.read();
    assert_eq!(processes.registers(&kvm, &processes.list[0].threads[0]).unwrap().pc(), Some(0));
}

#[test]
fn a_signed_program_counter_is_plain_and_the_register_as_it_was_saved() {
    // Bits 48 to 54 and 56 to 63 are the signature; bit 55 tells the kernel's addresses, others are not changed.
    let cases = [
        (0xc290_0000_0022_126c, 0xffff_0000_0022_126c),
        (0x0080_0000_0022_126c, 0xffff_0000_0022_126c),
        (0xffff_0000_0022_126c, 0xffff_0000_0022_126c),
        (0xff7f_0000_0022_126c, 0xff7f_0000_0022_126c),
        (0x0000_0000_0022_126c, 0x0000_0000_0022_126c),
    ];
    for (saved, plain) in cases {
        for (arch, register, index) in [(Arch::Arm64, "x30", 11), (Arch::Riscv, "ra", 0)] {
            let mut memory = Memory::new(arch);
            memory.int("osreldate", 1_500_000);
            let process = memory.process("allproc", 1, b"init");
            let pcb = memory.room(0x140);
            memory.pcb(pcb, 13);
            memory.pointer(pcb + index * 8, saved);
            memory.thread(process + 0x20, 100_001, b"init", -1, pcb);
            let (kvm, processes) = memory.read();
            let registers = processes.registers(&kvm, &processes.list[0].threads[0]).unwrap();
            let expected = if arch == Arch::Arm64 { plain } else { saved };
            assert_eq!((registers.get(register), registers.pc()), (Some(saved), Some(expected)), "{saved:#x}");
        }
    }
}

#[test]
fn a_name_takes_all_its_room_and_no_more() {
    let mut memory = Memory::new(Arch::I386);
    let process = memory.process("allproc", -1, &[0xff; 24]);
    memory.thread(process + 0x20, i32::MIN, &[b'a'; 24], -1, 0);
    let (_, processes) = memory.read();
    assert_eq!(processes.list[0].command, [0xff; 20]);
    assert_eq!(processes.list[0].pid, -1);
    assert_eq!(processes.list[0].threads[0].name, [b'a'; 20]);
    assert_eq!(processes.list[0].threads[0].tid, i32::MIN);
}

#[test]
fn damaged_lists_end_with_a_warning_that_names_the_address() {
    for arch in Arch::ALL {
        let build = || {
            let mut memory = Memory::new(arch);
            let a = memory.process("allproc", 1, b"a");
            let b = memory.process("allproc", 2, b"b");
            let t = memory.thread(b + 0x20, 100_001, b"t", -1, 0);
            let u = memory.thread(t + 0x18, 100_002, b"u", -1, 0);
            (memory, a, b, t, u)
        };
        let nowhere = 0x10;
        let whole = vec![(2, vec![100_001, 100_002]), (1, vec![])];
        let (memory, a, b, t, u) = build();
        assert_eq!(tids(&memory.read().1), whole);
        assert!(memory.read().1.warnings.is_empty());
        // Where a pointer is changed, what it becomes, what is still found, and what the warning names.
        let changes = [
            (a + 8, a, whole.clone(), a),
            (a + 8, b, whole.clone(), b),
            (b + 8, b, whole[..1].to_vec(), b),
            (b + 8, nowhere, whole[..1].to_vec(), nowhere),
            (a + 8, t, whole.clone(), t),
            (t + 0x18, t, vec![(2, vec![100_001]), (1, vec![])], t),
            (u + 0x18, t, whole.clone(), t),
            (u + 0x18, b, whole.clone(), b),
            (t + 0x18, nowhere, vec![(2, vec![100_001]), (1, vec![])], nowhere),
            (a + 0x20, u, whole.clone(), u),
            (memory.address("allproc"), nowhere, vec![], nowhere),
            (memory.address("allproc"), if memory.word() == 4 { 0xffff_fffe } else { u64::MAX - 1 }, vec![], {
                if memory.word() == 4 { 0xffff_fffe } else { u64::MAX - 1 }
            }),
        ];
        for (place, value, expected, named) in changes {
            let (mut memory, ..) = build();
            memory.pointer(place, value);
            let (_, processes) = memory.read();
            let name = format!("{}: {value:#x} at {place:#x}", arch.name());
            assert_eq!(tids(&processes), expected, "{name}");
            assert_eq!(processes.warnings.len(), 1, "{name}: {:?}", processes.warnings);
            assert!(processes.warnings[0].contains(&format!("{named:#x}")), "{name}: {:?}", processes.warnings);
            assert!(processes.warnings[0].ends_with("; the list ends there"), "{name}: {:?}", processes.warnings);
        }
        // The list of zombies fails by itself.
        let (mut memory, ..) = build();
        memory.symbols.insert("zombproc", Symbol { address: nowhere, size: 0 });
        let (_, processes) = memory.read();
        assert_eq!(tids(&processes), whole);
        assert!(processes.warnings[0].starts_with("zombproc cannot be read: 0x"), "{:?}", processes.warnings);
        memory.symbols.remove("zombproc");
        let zombproc = memory.variable("zombproc", memory.word());
        memory.pointer(zombproc, a);
        let (_, processes) = memory.read();
        assert_eq!(tids(&processes), whole);
        assert!(processes.warnings[0].starts_with(&format!("zombproc leads back to {a:#x}")));
    }
}

/// Structures of two words, a pointer to the next one and zeros, in so many pages.
fn endless(offset_of_next: &str) -> Memory {
    let mut memory = Memory::blank(Arch::Powerpc64, 0x500);
    let zeros = 8;
    for (name, _) in OFFSETS {
        memory.int(name, if name == offset_of_next { 0 } else { zeros });
    }
    let head = memory.variable("allproc", 8);
    let first = memory.room(0);
    memory.pointer(head, first);
    let end = memory.base + memory.bytes.len() as u64 - 16;
    for at in (first..end).step_by(16) {
        memory.pointer(at, at + 16);
    }
    memory.used = memory.bytes.len() as u64;
    memory
}

#[test]
fn lists_longer_than_any_kernels_are_not_followed_to_their_end() {
    let (_, processes) = endless("proc_off_p_list").read();
    assert_eq!(processes.list.len(), 131_072);
    let said = |processes: &Processes, text: &str| {
        // Nothing leads back in these lists; few of the pointers are told one by one.
        assert!(processes.warnings.len() <= 6, "{:?}", processes.warnings);
        assert!(processes.warnings.iter().any(|warning| warning.starts_with(text)), "{:?}", processes.warnings);
    };
    said(&processes, "allproc has more than 131072 processes, the next at 0xc000");

    let mut memory = endless("thread_off_td_plist");
    // One process, whose threads begin behind it.
    let first = memory.address("allproc") + 16;
    memory.pointer(first + 8, first + 16);
    memory.int_at("proc_off_p_list", 24);
    let (_, processes) = memory.read();
    assert_eq!(processes.list.len(), 1);
    assert_eq!(processes.list[0].threads.len(), 262_144);
    said(&processes, "there are more than 262144 threads: the list of process");
}

impl Memory {
    /// Changes a variable that is there.
    fn int_at(&mut self, name: &str, value: u64) {
        self.number(self.address(name), value, 4);
    }
}

#[test]
fn many_damaged_lists_are_counted_and_not_told_one_by_one() {
    let mut memory = Memory::new(Arch::Amd64);
    for pid in 0..50 {
        let process = memory.process("allproc", pid, b"sh");
        memory.pointer(process + 0x20, 0x10);
    }
    let (_, processes) = memory.read();
    assert_eq!(processes.list.len(), 50);
    assert_eq!(processes.warnings.len(), 21);
    assert_eq!(processes.warnings[20], "there were 30 more warnings like these");
}

#[test]
fn a_kernel_without_the_symbols_is_refused_by_name() {
    let error = |memory: &Memory| Processes::read(&memory.open(), memory).unwrap_err().to_string();
    for (name, _) in OFFSETS {
        let mut memory = Memory::new(Arch::Amd64);
        memory.symbols.remove(name);
        assert_eq!(error(&memory), format!("kernel.test has no symbol {name}, which a kernel since FreeBSD 10.3 has"));
        let mut memory = Memory::new(Arch::Amd64);
        memory.int(name, 0xffff_fff0);
        assert_eq!(
            error(&memory),
            format!("{name} is 4294967280, not a valid offset: is kernel.test the kernel that was running?")
        );
        let mut memory = Memory::new(Arch::Amd64);
        memory.symbols.insert(name, Symbol { address: 0x10, size: 4 });
        assert!(error(&memory).starts_with(&format!("cannot read {name}: 0x10: ")), "{}", error(&memory));
    }
    let mut memory = Memory::new(Arch::Amd64);
    memory.symbols.remove("allproc");
    assert_eq!(error(&memory), "kernel.test has no symbol allproc, which every FreeBSD kernel has");
}

#[test]
fn a_kernel_says_what_it_is() {
    for arch in Arch::ALL {
        let mut memory = Memory::new(arch);
        assert_eq!(
            KernelFacts::read(&memory.open(), &memory).unwrap(),
            KernelFacts { osreldate: Some(1_201_000), ..KernelFacts::default() }
        );
        let version = b"FreeBSD 12.1-RELEASE r354233 TEST\n    root@host:/usr/obj\n";
        let at = memory.variable("version", 256);
        memory.put(at, version);
        let at = memory.variable("osrelease", 32);
        memory.put(at, b"12.1-RELEASE");
        let (panicstr, message) = (memory.variable("panicstr", memory.word()), memory.room(256));
        memory.put(message, b"page fault");
        let time = if arch == Arch::I386 { 4 } else { 8 };
        for (name, value) in [("time_uptime", 0x1234_5678), ("time_second", 1_577_836_800)] {
            let at = memory.variable(name, time);
            memory.number(at, value, time);
        }
        memory.int("hz", 1000);
        memory.int("mp_ncpus", 12);
        let at = memory.variable("averunnable", 24);
        for (offset, load) in [(0, 2048), (4, 1024), (8, 1)] {
            memory.number(at + offset, load, 4);
        }
        memory.number(at + if memory.word() == 4 { 12 } else { 16 }, 2048, memory.word());
        let mut expected = KernelFacts {
            version: Some(version.to_vec()),
            release: Some(b"12.1-RELEASE".to_vec()),
            osreldate: Some(1_201_000),
            panic: None,
            uptime: Some(0x1234_5678),
            time: Some(1_577_836_800),
            load_averages: Some([1.0, 0.5, 1.0 / 2048.0]),
            hz: Some(1000),
            cpus: Some(12),
        };
        assert_eq!(KernelFacts::read(&memory.open(), &memory).unwrap(), expected, "{}", arch.name());
        memory.pointer(panicstr, message);
        expected.panic = Some(b"page fault".to_vec());
        assert_eq!(KernelFacts::read(&memory.open(), &memory).unwrap(), expected, "{}", arch.name());
        // Averages of nothing, and a message that is not there.
        memory.number(at + if memory.word() == 4 { 12 } else { 16 }, 0, memory.word());
        memory.pointer(panicstr, 0x10);
        (expected.load_averages, expected.panic) = (None, None);
        assert_eq!(KernelFacts::read(&memory.open(), &memory).unwrap(), expected, "{}", arch.name());
    }
}

/// Where the functions of `Memory::image` are.
const TEXT: u64 = 0xffff_ffff_8020_0000;
const LONG: &str = "a_function_whose_name_is_longer_than_any_column_of_a_terminal_can_be";

impl Memory {
    /// The image of the kernel whose memory this is, with three functions.
    pub fn image(&self) -> Vec<u8> {
        let global = (image::GLOBAL, image::OBJECT);
        let data = self.symbols.iter().map(|(name, place)| symbol(name, global, 2, place.address, place.size));
        let function = |name, offset| symbol(name, (image::GLOBAL, image::FUNC), 1, TEXT + offset, 0x1000);
        let functions = [("sched_switch", 0), ("doadump", 0x1000), (LONG, 0x2000)];
        let symbols = data.chain(functions.map(|(name, offset)| function(name, offset))).collect();
        let sections = vec![
            section(".text", image::SHF_EXECINSTR, TEXT, vec![0x90; 0x3000]),
            image::bss(".bss", self.base, self.bytes.len() as u64),
        ];
        Image::new(image::AMD64, image::ET_EXEC, sections, symbols).build()
    }
}

/// A dump and its kernel in files.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(memory: &Memory) -> Self {
        let files = Self { directory: directory() };
        std::fs::write(files.path("core"), memory.dump()).unwrap();
        std::fs::write(files.path("kernel"), memory.image()).unwrap();
        files
    }

    fn path(&self, name: &str) -> String {
        text(&self.directory.path().join(name)).to_owned()
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let options = ["--core".to_owned(), self.path("core"), "--kernel".to_owned(), self.path("kernel")];
        ["ps".to_owned()].into_iter().chain(options).chain(more.iter().map(ToString::to_string)).collect()
    }

    #[track_caller]
    fn run(&self, more: &[&str]) -> Run {
        memtool(&self.arguments(more))
    }
}

/// A kernel that dumped after a panic.
pub fn panicked() -> Memory {
    let mut memory = Memory::new(Arch::Amd64);
    memory.int("pcb_size", 0x40);
    memory.int("mp_maxid", 3);
    memory.int("mp_ncpus", 4);
    memory.int("dumptid", 100_077);
    memory.variable("zombproc", 8);
    for (name, value) in [("time_uptime", 273_906), ("time_second", 1_577_836_800)] {
        let at = memory.variable(name, 8);
        memory.number(at, value, 8);
    }
    let at = memory.variable("averunnable", 24);
    for (offset, load) in [(0, 3072), (4, 512), (8, 0), (16, 2048)] {
        memory.number(at + offset, load, 4);
    }
    let version = memory.variable("version", 256);
    memory.put(version, b"FreeBSD 12.1-RELEASE r354233 TEST\n    root@host:/usr/obj\n");
    let (panicstr, message) = (memory.variable("panicstr", 8), memory.room(64));
    memory.put(message, b"vm_fault: \x1b[2J\n");
    memory.pointer(panicstr, message);

    let dumppcb = memory.variable("dumppcb", 0x40);
    let stoppcbs = memory.variable("stoppcbs", 4 * 0x40);
    let stopped = memory.variable("stopped_cpus", 32);
    memory.pointer(stopped, 0b0010);
    let off = memory.room(0x40);
    for (pcb, pc) in [(dumppcb, 0x1042), (stoppcbs + 0x40, 0x2010), (off, 0x3000)] {
        memory.pcb(pcb, 8);
        memory.pointer(pcb + 7 * 8, TEXT + pc);
    }
    let zombie = memory.process("zombproc", 900, b"gone");
    memory.thread(zombie + 0x20, 100_200, b"gone", -1, off);
    let kernel = memory.process("allproc", 0, b"kernel");
    let first = memory.thread(kernel + 0x20, 100_000, b"swapper", -1, 0x10);
    let second = memory.thread(first + 0x18, 100_003, b"idle: cpu1", 1, off);
    memory.thread(second + 0x18, 100_004, b"idle: cpu2", 2, off);
    let shell = memory.process("allproc", 950, b"ev\til\x1b[2J\n\xff");
    memory.thread(shell + 0x20, 100_077, b"sh\tell\r", 0, off);
    memory
}

#[test]
fn the_command_lists_processes() {
    let memory = panicked();
    let files = Files::new(&memory);
    let shown = on_terminal_of(Some(200), command().args(files.arguments(&[])));
    let head: Vec<&str> = shown.lines().take(4).map(str::trim_end).collect();
    assert_eq!(
        head,
        [
            "FreeBSD 12.1-RELEASE r354233 TEST, amd64",
            "2020-01-01T00:00:00Z, up 3 days 04:05:06, load 1.50 0.25 0.00, 4 CPUs",
            "panic: vm_fault: \\u{1b}[2J",
            "",
        ]
    );
    let run = files.run(&[]).ok();
    let lines = run.lines();
    let fields: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    let (shown, addresses): (Vec<_>, Vec<_>) = fields.iter().map(|row| (row[..3].to_vec(), row[3])).unzip();
    assert_eq!(
        shown,
        [
            vec!["0", "kernel", "3"],
            vec!["900", "gone <defunct>", "1"],
            vec!["950", "ev\\til\\u{1b}[2J\\n\u{fffd}", "1"],
        ]
    );
    assert!(addresses.iter().all(|address| address.starts_with("0xfffffe00000")), "{addresses:?}");
    assert_eq!(run.stderr, "");
    assert_eq!(files.run(&["-q"]).ok().stdout, run.stdout);
}

#[test]
fn another_kernels_processes_are_not_made_up() {
    // Its symbols lead to other variables of the kernel that ran: to zeros, at the best.
    let mut memory = panicked();
    let version = memory.address("version");
    memory.put(version, b"FIELDS\0\0");
    for options in [&[][..], &["--json"], &["--threads"]] {
        let run = Files::new(&memory).run(options).exits(1);
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains("is not the kernel of this dump"), "{run:?}");
    }
    let mut memory = panicked();
    for list in ["allproc", "zombproc"] {
        let at = memory.address(list);
        memory.pointer(at, 0);
    }
    Files::new(&memory).run(&[]).fails_saying(&["there are no processes at allproc", "the kernel that was running?"]);
}

#[test]
fn the_command_lists_threads() {
    let memory = panicked();
    let files = Files::new(&memory);
    let run = files.run(&["--threads", "-q"]).ok();
    let long = format!("{LONG}+0x10");
    let expected = [
        ["0", "100000", "swapper", "-", "-", "-"],
        ["0", "100003", "idle: cpu1", "1", "stopped", &long],
        ["0", "100004", "idle: cpu2", "2", "running", "-"],
        // A function that calls another as its last deed returns behind itself.
        ["900", "100200", "gone", "-", "-", "0xffffffff80203000"],
        ["950", "100077", "sh\\tell\\r", "0", "dumping", "doadump+0x42"],
    ];
    assert_eq!(run.lines(), expected.map(|row| row.join("\t")));
    assert_eq!(run.stderr, "");
    let run = files.run(&["--threads"]).ok();
    let run = run.says_in_one_line(&["warning: the registers of a thread cannot be read: 0x10: "]);
    assert!(run.stdout.contains("\t100000\t"));
}

#[test]
fn a_terminal_is_not_overrun() {
    let files = Files::new(&panicked());
    // Eighty where the terminal does not tell.
    for (columns, at_most, more) in [(None, 80, &[][..]), (None, 80, &["--threads"]), (Some(100), 100, &["--threads"])]
    {
        let shown = on_terminal_of(columns, command().args(files.arguments(more)));
        let longest = shown.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= at_most, "{shown}");
        assert!(shown.contains("\nPID  "), "{shown}");
        assert!(!shown.contains('\x1b'), "{shown}");
        if !more.is_empty() {
            assert_eq!(longest, at_most, "{shown}");
            assert!(shown.contains("a_function_whose_name_is"), "{shown}");
            assert!(shown.contains("...+0x10\n"), "{shown}");
            assert!(shown.contains("doadump+0x42\n"), "{shown}");
        }
    }
}

#[test]
fn the_command_says_the_same_in_json() {
    let memory = panicked();
    let files = Files::new(&memory);
    let json = files.run(&["--json"]).ok().json();
    assert_eq!((&json["schema"], &json["version"], &json["host"]), (&"memtool.ps".into(), &1.into(), &"image".into()));
    assert_eq!(
        json["kernel"],
        serde_json::json!({
            "architecture": "amd64", "byte_order": "little", "kernel_version": "FreeBSD 12.1-RELEASE r354233 TEST", "release": null,
            "osreldate": 1_201_000, "panic": "vm_fault: \u{1b}[2J\n", "time": "2020-01-01T00:00:00Z", "uptime_seconds": 273_906,
            "load_averages": [1.5, 0.25, 0.0], "cpu_count": 4, "hz": null,
        })
    );
    assert_eq!(json["dumping_thread"], 100_077);
    assert_eq!(json["warnings"], serde_json::json!([]));
    let commands: Vec<_> = json["processes"].as_array().unwrap().iter().map(|process| &process["command"]).collect();
    let evil: Vec<u8> = b"ev\til\x1b[2J\n\xff".to_vec();
    assert_eq!(serde_json::json!(commands), serde_json::json!(["kernel", "gone", evil]));
    assert_eq!((&json["processes"][1]["zombie"], &json["processes"][0]["thread_count"]), (&true.into(), &3.into()));
    assert_eq!(json["processes"][0].get("threads"), None);

    let json = files.run(&["--json", "--threads"]).ok().json();
    let threads = &json["processes"][0]["threads"];
    assert!(threads[0]["error"].as_str().unwrap().starts_with("0x10: "));
    let second = &threads[1];
    let pcb = memory.address("stoppcbs") + 0x40;
    assert_eq!((&second["tid"], &second["cpu"], &second["state"]), (&100_003.into(), &1.into(), &"stopped".into()));
    assert_eq!(second["pcb"], format!("{pcb:#x}"));
    assert_eq!(second["symbol"], format!("{LONG}+0x10"));
    assert_eq!(second["registers"]["rbp"], format!("{:#x}", saved(pcb, 4)));
    assert_eq!(second["registers"].as_object().unwrap().len(), 8);
    assert_eq!((&threads[2]["state"], &threads[2]["pcb"]), (&"running".into(), &serde_json::Value::Null));
}

#[test]
fn the_command_fails_where_it_cannot_list_all() {
    let mut memory = panicked();
    let kernel = memory.room(0);
    let allproc = memory.address("allproc");
    let first = memory.process("allproc", 951, b"loop");
    memory.pointer(first + 8, first);
    let files = Files::new(&memory);
    let run = files.run(&["-v"]).exits(1);
    assert!(run.stdout.contains("951\tloop\t0\t"), "{run:?}");
    run.says_in_one_line(&[&format!("warning: allproc leads back to {first:#x}; the list ends there")]);
    // Why the command fails, -q does not take away.
    files.run(&["-q"]).exits(1).says_in_one_line(&["allproc leads back to"]);
    let json = files.run(&["--json"]).exits(1).json();
    assert_eq!(json["warnings"][0], format!("allproc leads back to {first:#x}; the list ends there"));

    memory.pointer(allproc, kernel);
    memory.symbols.remove("thread_off_td_plist");
    let files = Files::new(&memory);
    files.run(&[]).fails_saying(&["has no symbol thread_off_td_plist, which a kernel since FreeBSD 10.3 has"]);
    memtool(&["ps", "--core", &files.path("core")]).fails_saying(&["--kernel"]);
    memtool(&["ps", "--core", &files.path("nothing")]).fails_saying(&["nothing"]);
    memtool(&["ps", "more"]).usage_error(&["more"]);
}

/// A dump of the stand-in for a kernel, and the kernel's file.
fn stand_in(kernel: &BuiltKernel) -> (KernelMemory, Table) {
    let directory = directory();
    let volume = ByteSource::from_bytes(kernel.dump.build());
    let dump = DumpedMemory::open(volume, None, scratch(directory.path()), &Progress::default()).unwrap();
    (KernelMemory::from_dump(dump, None).unwrap(), Table::open(&kernel.image.path()).unwrap())
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_compiled_kernel_has_the_processes_that_it_was_given() {
    let all = Arch::ALL.into_iter().filter(|arch| *arch != Arch::Powerpc64);
    for (arch, release) in all.flat_map(|arch| [(arch, FREEBSD_12), (arch, FREEBSD_14)]) {
        let Some(kernel) = BuiltKernel::of_release(arch, arch.newest(), release) else { continue };
        let (kvm, table) = stand_in(&kernel);
        let processes = Processes::read(&kvm, &table).unwrap();
        let name = format!("{} {release}", arch.name());
        assert_eq!(processes.warnings, <[String; 0]>::default(), "{name}");
        assert_eq!(processes.dumping, Some(kernel.dumper.cast_signed()), "{name}");
        assert_eq!(processes.list.len(), kernel.processes.len(), "{name}");
        for (process, expected) in processes.list.iter().zip(&kernel.processes) {
            assert_eq!((process.address, process.pid), (expected.address, expected.pid.cast_signed()), "{name}");
            assert_eq!(process.command, expected.comm.as_bytes(), "{name}");
            assert_eq!(process.threads.len(), expected.threads.len(), "{name}");
            for (thread, expected) in process.threads.iter().zip(&expected.threads) {
                assert_eq!((thread.address, thread.tid), (expected.address, expected.tid.cast_signed()), "{name}");
                assert_eq!((&*thread.name, thread.cpu), (expected.name.as_bytes(), expected.cpu), "{name}");
                assert_eq!(thread.pcb, Some(expected.pcb), "{name}");
                let registers = processes.registers(&kvm, thread).unwrap();
                if matches!(arch, Arch::Amd64 | Arch::Arm64) {
                    let found = (registers.pc(), registers.sp(), registers.fp());
                    assert_eq!(found, (Some(expected.pc), Some(expected.sp), Some(expected.fp)), "{name}");
                    let function = table.lookup_by_addr(expected.pc).unwrap();
                    assert_eq!(function.name, expected.frames[0], "{name}");
                }
            }
        }
        let facts = KernelFacts::read(&kvm, &table).unwrap();
        assert_eq!(facts.panic.as_deref(), Some(kernel.panic_message.as_bytes()), "{name}");
        assert_eq!((facts.osreldate, facts.hz, facts.cpus), (Some(release), Some(1000), Some(4)), "{name}");
        assert_eq!((facts.time, facts.uptime), (Some(1_700_000_000), Some(4711)), "{name}");
        assert_eq!(facts.load_averages, Some([0.25, 1.5, 2.0]), "{name}");
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_compiled_kernel_with_damage_is_listed_as_far_as_it_goes() {
    for damage in Damage::ALL {
        let Some(kernel) = BuiltKernel::in_minidump(Arch::Amd64, 3) else { return };
        let all = kernel.processes.len();
        let kernel = kernel.damaged(damage);
        let (kvm, table) = stand_in(&kernel);
        let processes = Processes::read(&kvm, &table);
        let Ok(processes) = processes else {
            assert!(matches!(damage, Damage::OffsetNegative | Damage::NoProcesses), "{damage:?}: {processes:?}");
            continue;
        };
        let (listed, warnings) = match damage {
            Damage::ProcessesInARing | Damage::ThreadsInARing => (all, 1),
            Damage::ProcessFollowsItself | Damage::ProcessNowhere => (2, 1),
            Damage::ProcessNotDumped | Damage::ProcessAtTheEnd => (2, 1),
            _ => (all, 0),
        };
        assert_eq!((processes.list.len(), processes.warnings.len()), (listed, warnings), "{damage:?}: {processes:?}");
        let Some((_, thread)) = processes.threads().find(|(_, thread)| thread.tid == kernel.dumper.cast_signed())
        else {
            continue;
        };
        match damage {
            Damage::RegistersNowhere => {
                let fault = processes.registers(&kvm, thread).unwrap_err();
                assert_eq!(Some(fault.address), thread.pcb);
                assert_eq!(fault.address, kernel.processes[0].threads[0].pcb);
            }
            Damage::CpuTooLarge => assert_eq!((thread.cpu, thread.state), (None, State::Off)),
            Damage::NameWithoutEnd => assert_eq!(processes.list[1].command, [b'x'; 20]),
            Damage::NameNotText => assert_eq!(processes.list[1].command, b"\x1b[31m\n\xff\""),
            _ => assert_eq!(thread.state, State::Dumping, "{damage:?}"),
        }
    }
}
