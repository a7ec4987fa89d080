//! A small image that stands in for a FreeBSD kernel, built from `tests/kernel`, and minidumps with it in memory:
//! processes, threads and their stacks as a running kernel would have them, and what has to be found there.
//!
//! Nothing here knows how memtool reads any of it. Sources: `sys/kern/kern_proc.c`, `kern_shutdown.c`,
//! `kern_linker.c`, `subr_smp.c`, `sys/queue.h`, and `machine/pcb.h` of each architecture.

#![allow(clippy::cast_possible_truncation, reason = "a test's helper; what it builds is small")]

use super::compiler;
use object::elf::{PF_W, PF_X};
use object::{Object, ObjectSegment, ObjectSymbol};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vmcore_synth::{Arch, DirectMap, Mapping, MinidumpSpec};

/// `osreldate` of FreeBSD 12.1 and of 14.2, between which variables and registers moved.
pub const FREEBSD_12: u32 = 1_201_000;
pub const FREEBSD_14: u32 = 1_402_000;

const PAGE: u64 = 4096;
/// Pages of a thread's stack.
const STACK_PAGES: u64 = 4;
/// Bytes between the frames of a stack.
const FRAME: u64 = 0x40;

/// The kernel's image: an ELF file with symbols and line numbers.
pub struct Image {
    pub arch: Arch,
    pub osreldate: u32,
    directory: tempfile::TempDir,
    /// Address, contents with the zeros behind them, and whether it is writable and executable.
    segments: Vec<(u64, Vec<u8>, bool, bool)>,
    /// Address and size of each symbol, local ones too.
    pub symbols: BTreeMap<String, (u64, u64)>,
}

impl Image {
    /// Compiles and links it; `None` where there is no compiler for that architecture.
    pub fn build(arch: Arch, osreldate: u32, address: u64) -> Option<Self> {
        let directory = super::directory();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel");
        let script = std::fs::read_to_string(sources.join("kernel.ld")).unwrap();
        let linked = directory.path().join("kernel.ld");
        std::fs::write(&linked, script.replace("KERNEL_BEGINS", &format!("{address:#x}"))).unwrap();
        let path = directory.path().join("kernel");
        compiler::succeed(
            compiler::for_kernel(arch)?
                .args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-g", "-gdwarf-4"])
                // Every function has a frame of its own, and calls the others.
                .args(["-O1", "-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer"])
                .args(["-fno-inline", "-fno-optimize-sibling-calls"])
                .args(if arch == Arch::Arm64 { &["-mbranch-protection=pac-ret"][..] } else { &[] })
                .arg(format!("-DOSRELDATE={osreldate}"))
                .arg(format!("-Wl,-e,btext,-T,{}", linked.display()))
                .arg(sources.join("kernel.c"))
                .arg("-o")
                .arg(&path),
        );
        let mut bytes = std::fs::read(&path).unwrap();
        // FreeBSD's linker scripts brand a kernel (EI_OSABI); this one was linked for no system.
        bytes[7] = 9;
        std::fs::write(&path, &bytes).unwrap();

        let file = object::File::parse(&*bytes).unwrap();
        let segments = file.segments().map(|segment| {
            let mut contents = segment.data().unwrap().to_vec();
            contents.resize(segment.size() as usize, 0);
            let object::SegmentFlags::Elf { p_flags, .. } = segment.flags() else { panic!("not an ELF file") };
            (segment.address(), contents, p_flags.contains(PF_W), p_flags.contains(PF_X))
        });
        let segments = segments.collect();
        let named = file.symbols().filter_map(|symbol| Some((symbol.name().ok()?.to_owned(), symbol)));
        let symbols = named
            // Without the compiler's own.
            .filter(|(name, symbol)| !name.is_empty() && !name.starts_with('.') && symbol.section_index().is_some())
            .map(|(name, symbol)| (name, (symbol.address(), symbol.size())))
            .collect();
        Some(Self { arch, osreldate, directory, segments, symbols })
    }

    /// The file, which is gone with the value.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("kernel")
    }

    /// Where a symbol lies.
    #[track_caller]
    pub fn address(&self, symbol: &str) -> u64 {
        self.symbols.get(symbol).unwrap_or_else(|| panic!("no symbol {symbol}")).0
    }

    /// What the file says is at an address.
    pub fn initial(&self, address: u64, size: usize) -> Option<&[u8]> {
        self.segments.iter().find_map(|(start, contents, ..)| {
            let from = usize::try_from(address.checked_sub(*start)?).ok()?;
            contents.get(from..from.checked_add(size)?)
        })
    }

    /// An unsigned integer that the file has at a symbol.
    #[track_caller]
    pub fn value(&self, symbol: &str, size: usize) -> u64 {
        self.arch.order().value(self.initial(self.address(symbol), size).unwrap())
    }
}

/// A thread, and what has to be found of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    pub address: u64,
    pub tid: u32,
    pub name: &'static str,
    /// The CPU on which it ran.
    pub cpu: Option<u32>,
    /// Where its registers are: its own `struct pcb`, the one of its CPU, or that of the dump.
    pub pcb: u64,
    pub pc: u64,
    pub sp: u64,
    /// The frame pointer.
    pub fp: u64,
    /// The functions on its stack, the innermost first.
    pub frames: Vec<&'static str>,
}

/// A process, and what has to be found of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub address: u64,
    pub pid: u32,
    pub comm: &'static str,
    pub threads: Vec<Thread>,
}

/// What can be wrong with what a dump tells of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The last process is followed by the first.
    ProcessesInARing,
    /// The second process is followed by itself.
    ProcessFollowsItself,
    /// The second process is followed by one at an address that nothing maps.
    ProcessNowhere,
    /// The second process is followed by one in a page that is mapped, but not in the dump.
    ProcessNotDumped,
    /// The second process is followed by one at the last address there is.
    ProcessAtTheEnd,
    /// The first process with several threads has the last followed by the first.
    ThreadsInARing,
    /// The second process's name has no NUL, and what is behind it no end either.
    NameWithoutEnd,
    /// The second process's name has control characters and bytes that are not UTF-8.
    NameNotText,
    /// The first process's first thread has its registers at an address that nothing maps.
    RegistersNowhere,
    /// The first process's first thread runs on a CPU that there cannot be.
    CpuTooLarge,
    /// `proc_off_p_pid` is negative.
    OffsetNegative,
    /// `allproc` is NULL.
    NoProcesses,
}

impl Damage {
    pub const ALL: [Self; 12] = [
        Self::ProcessesInARing,
        Self::ProcessFollowsItself,
        Self::ProcessNowhere,
        Self::ProcessNotDumped,
        Self::ProcessAtTheEnd,
        Self::ThreadsInARing,
        Self::NameWithoutEnd,
        Self::NameNotText,
        Self::RegistersNowhere,
        Self::CpuTooLarge,
        Self::OffsetNegative,
        Self::NoProcesses,
    ];
}

/// A kernel in a minidump, after a panic.
pub struct BuiltKernel {
    pub image: Image,
    pub dump: MinidumpSpec,
    /// As `allproc` has them: the newest first, the kernel itself last. The first one's thread has dumped.
    pub processes: Vec<Process>,
    /// What integers the memory holds at symbols: name, size, value.
    pub values: Vec<(&'static str, usize, u64)>,
    /// Modules: address, name and path; the kernel first.
    pub modules: Vec<(u64, &'static str, &'static str)>,
    /// The thread that dumped.
    pub dumper: u32,
    pub panic_message: &'static str,
    /// Where pages of the kernel map and of physical memory are free.
    next_address: u64,
    free: Vec<u64>,
}

/// The processes: pid, name and threads, each with id, name, CPU and stack.
type Story = (u32, &'static str, &'static [(u32, &'static str, Option<u32>, &'static [&'static str])]);

const ASLEEP: &[&str] = &["sched_switch", "mi_switch", "sleepq_wait", "fork_exit"];
const PAGING: &[&str] = &["sched_switch", "mi_switch", "sleepq_wait", "vm_pageout", "fork_exit"];
const STOPPED: &[&str] = &["cpustop_handler", "sched_idletd", "fork_exit"];
const DUMPING: &[&str] = &["kern_reboot", "vpanic", "fork_exit"];

const STORY: &[Story] = &[
    (4321, "sysctl", &[(100_123, "sysctl", Some(0), DUMPING)]),
    (
        1077,
        "name-of-19-letters.",
        &[(100_099, "name-of-19-letters.", None, ASLEEP), (100_104, "a worker", None, ASLEEP)],
    ),
    (1076, "gpg agent", &[(100_098, "", None, ASLEEP)]),
    (
        6,
        "pagedaemon",
        &[(100_066, "dom0", None, PAGING), (100_070, "laundry: dom0", None, PAGING), (100_071, "uma", None, PAGING)],
    ),
    (
        11,
        "idle",
        &[
            (100_003, "idle: cpu0", None, ASLEEP),
            (100_004, "idle: cpu1", Some(1), STOPPED),
            (100_005, "idle: cpu2", Some(2), STOPPED),
            (100_006, "idle: cpu3", Some(3), STOPPED),
        ],
    ),
    (1, "init", &[(100_002, "init", None, ASLEEP)]),
    (0, "kernel", &[(100_000, "swapper", None, ASLEEP), (100_017, "softirq_0", None, ASLEEP)]),
];

impl BuiltKernel {
    /// A kernel in a minidump of that version: of FreeBSD 14 in the newest, of FreeBSD 12 in older ones. `None` where
    /// there is no compiler.
    ///
    /// The dumps of amd64, arm64 and riscv (of FreeBSD 14) have registers and stacks that a debugger unwinds, the
    /// others only processes.
    /// powerpc64's page tables cannot be built.
    pub fn in_minidump(arch: Arch, version: u32) -> Option<Self> {
        let osreldate = if version < arch.newest() { FREEBSD_12 } else { FREEBSD_14 };
        Self::of_release(arch, version, osreldate)
    }

    /// As [`Self::in_minidump`], of that release.
    pub fn of_release(arch: Arch, version: u32, osreldate: u32) -> Option<Self> {
        let mut dump = MinidumpSpec::example(arch, version);
        // Addresses are the usual ones: on amd64 the image lies in the last 2 GiB, the kernel map far below.
        let (image_at, map_at, tables_end) = match arch {
            Arch::Amd64 if version == 1 => (0xffff_ffff_8020_0000, 0xffff_ffff_8100_0000, 0xffff_ffff_8200_0000),
            Arch::Amd64 => (0xffff_ffff_8020_0000, 0xffff_fe00_0020_0000, 0xffff_ffff_8080_0000),
            _ => (dump.kernel_base + 0x20_0000, dump.kernel_base + 0x80_0000, dump.kernel_base + 0x100_0000),
        };
        let image = Image::build(arch, osreldate, image_at)?;
        let ram = dump.dump_avail[0].0;
        // Physical memory of 4 MiB with a hole in it.
        dump.dump_avail = vec![(ram, ram + 0x10_0000), (ram + 0x18_0000, ram + 0x48_0000)];
        dump.pages = BTreeMap::new();
        dump.mappings = Vec::new();
        dump.kernel_end = tables_end;
        if dump.direct_map != (DirectMap { base: 0, end: 0, physical: 0 }) {
            dump.direct_map.end = dump.direct_map.base + (ram + 0x48_0000 - dump.direct_map.physical);
        }
        // Every third page is taken, from the end: what is together virtually, is not physically.
        let all = dump.dump_avail.iter().flat_map(|(start, end)| (*start..*end).step_by(PAGE as usize));
        let free: Vec<u64> = all.enumerate().filter(|(index, _)| index % 3 == 1).map(|(_, page)| page).collect();
        let mut kernel = Self {
            image,
            dump,
            processes: Vec::new(),
            values: Vec::new(),
            modules: Vec::new(),
            dumper: STORY[0].2[0].0,
            panic_message: "the stand-in panics",
            next_address: map_at,
            free,
        };
        if arch == Arch::Amd64 && version >= 2 {
            kernel.dump.page_table_pages = (0..8).map(|_| kernel.take_page()).collect();
        }
        kernel.load_image();
        kernel.set_values();
        kernel.load_modules();
        kernel.start_processes();
        Some(kernel)
    }

    fn arch(&self) -> Arch {
        self.image.arch
    }

    fn word(&self) -> u64 {
        self.arch().word() as u64
    }

    fn take_page(&mut self) -> u64 {
        self.free.pop().expect("too little memory")
    }

    fn map(&mut self, address: u64, physical: u64, writable: bool, executable: bool) {
        let superpage = false;
        self.dump.mappings.push(Mapping { address, physical, length: PAGE, writable, executable, superpage });
    }

    /// New pages of zeros at that address.
    fn map_new(&mut self, address: u64, pages: u64, writable: bool, executable: bool) {
        for page in 0..pages {
            let physical = self.take_page();
            self.dump.pages.insert(physical, vec![0; PAGE as usize]);
            self.map(address + page * PAGE, physical, writable, executable);
        }
    }

    /// New pages in the kernel map, with a page in front that is not mapped.
    fn allocate(&mut self, pages: u64) -> u64 {
        let address = self.next_address + PAGE;
        self.next_address = address + pages * PAGE;
        self.map_new(address, pages, true, false);
        address
    }

    /// A new page in the direct map; where there is none, in the kernel map.
    fn allocate_direct(&mut self) -> u64 {
        let direct_map = self.dump.direct_map;
        if direct_map.end == direct_map.base {
            return self.allocate(1);
        }
        let physical = self.take_page();
        self.dump.pages.insert(physical, vec![0; PAGE as usize]);
        direct_map.base + (physical - direct_map.physical)
    }

    /// Where an address leads.
    pub fn physical(&self, address: u64) -> Option<u64> {
        let direct_map = self.dump.direct_map;
        if (direct_map.base..direct_map.end).contains(&address) {
            return Some(address - direct_map.base + direct_map.physical);
        }
        let mapping = self.dump.mappings.iter().find(|mapping| mapping.address == address & !(PAGE - 1))?;
        Some(mapping.physical + address % PAGE)
    }

    /// The bytes in memory at an address, of one page after another; `None` where a page is not in the dump.
    pub fn read(&self, address: u64, size: usize) -> Option<Vec<u8>> {
        let byte = |address| {
            let physical = self.physical(address)?;
            Some(self.dump.pages.get(&(physical & !(PAGE - 1)))?[(physical % PAGE) as usize])
        };
        (0..size as u64).map(|offset| byte(address.checked_add(offset)?)).collect()
    }

    #[track_caller]
    pub fn write(&mut self, address: u64, bytes: &[u8]) {
        for (address, byte) in (address..).zip(bytes) {
            let physical = self.physical(address).unwrap_or_else(|| panic!("{address:#x} is not mapped"));
            let page = self.dump.pages.get_mut(&(physical & !(PAGE - 1))).expect("the page is not dumped");
            page[(physical % PAGE) as usize] = *byte;
        }
    }

    #[track_caller]
    pub fn write_integer(&mut self, address: u64, size: usize, value: u64) {
        let bytes = self.arch().order().bytes(value, size);
        self.write(address, &bytes);
    }

    #[track_caller]
    pub fn write_pointer(&mut self, address: u64, value: u64) {
        self.write_integer(address, self.arch().word(), value);
    }

    /// An offset that the kernel keeps for debuggers.
    #[track_caller]
    pub fn offset(&self, constant: &str) -> u64 {
        self.image.value(constant, 4)
    }

    fn load_image(&mut self) {
        let segments = self.image.segments.clone();
        for (address, contents, writable, executable) in segments {
            let pages = (contents.len() as u64).div_ceil(PAGE);
            self.map_new(address, pages, writable, executable);
            self.write(address, &contents);
        }
    }

    /// What changes while a kernel runs.
    fn set_values(&mut self) {
        let long = self.arch().word();
        let mut values = vec![
            ("osreldate", 4, u64::from(self.image.osreldate)),
            ("hz", 4, 1000),
            ("ticks", 4, 0xfff0_0000),
            ("time_second", long, 1_700_000_000),
            ("time_uptime", long, 4711),
            ("mp_ncpus", 4, 4),
            ("mp_maxid", 4, 3),
            ("dumptid", 4, u64::from(self.dumper)),
            ("dumping", 4, 1),
            // CPUs 1, 2 and 3.
            ("stopped_cpus", long, 0b1110),
            ("panicstr", long, self.image.address("panicbuf")),
        ];
        for &(name, size, value) in &values {
            self.write_integer(self.image.address(name), size, value);
        }
        // Of a quarter, one and a half, and two.
        for (index, load) in [512, 3072, 4096].into_iter().enumerate() {
            self.write_integer(self.image.address("averunnable") + 4 * index as u64, 4, load);
        }
        values.push(("averunnable", 4, 512));
        self.values = values;
        let message = self.panic_message.as_bytes();
        self.write(self.image.address("panicbuf"), message);
        self.dump.message_buffer = [b"Copyright (c) 1992-2024 The FreeBSD Project.\npanic: ", message, b"\n"].concat();
    }

    fn load_modules(&mut self) {
        let kernel = self.image.address("btext") & !(PAGE - 1);
        self.modules = vec![
            (kernel, "kernel", "/boot/kernel/kernel"),
            (kernel + 0x30_0000, "zfs.ko", "/boot/kernel/zfs.ko"),
            (kernel + 0x38_0000, "if_wg.ko", "/boot/modules/if_wg.ko"),
        ];
        let mut link = self.image.address("linker_files");
        for (address, name, path) in self.modules.clone() {
            let file = self.allocate_direct();
            self.write_pointer(link, file);
            for (constant, text, at) in [("kld_off_filename", name, 0x400), ("kld_off_pathname", path, 0x500)] {
                self.write(file + at, text.as_bytes());
                self.write_pointer(file + self.offset(constant), file + at);
            }
            self.write_pointer(file + self.offset("kld_off_address"), address);
            link = file + self.offset("kld_off_next");
        }
        self.write_pointer(self.image.address("linker_files") + self.word(), link);
    }

    /// Makes the processes, those with an odd number in the kernel map, the others in the direct map, and that of
    /// the kernel itself in its image.
    fn start_processes(&mut self) {
        let pcb_size = self.offset("pcb_size");
        let mut stopped = self.image.address("stoppcbs");
        if self.image.osreldate >= 1_400_089 {
            let array = self.allocate(1);
            self.write_pointer(stopped, array);
            stopped = array;
        }
        let mut link = self.image.address("allproc");
        for &(pid, comm, threads) in STORY {
            let process = match pid {
                0 => self.image.address("proc0"),
                _ if pid % 2 == 1 => self.allocate(1),
                _ => self.allocate_direct(),
            };
            // Towards the end of its page, where a reader of too much leaves it.
            let process = if pid == 0 { process } else { process + PAGE - 0x100 };
            self.write_pointer(link, process);
            self.write_pointer(process + self.offset("proc_off_p_list") + self.word(), link);
            link = process + self.offset("proc_off_p_list");
            self.write_integer(process + self.offset("proc_off_p_pid"), 4, pid.into());
            self.write(process + self.offset("proc_off_p_comm"), comm.as_bytes());
            let threads = threads.iter().enumerate();
            let mut thread_link = process + self.offset("proc_off_p_threads");
            let threads: Vec<Thread> = threads
                .map(|(index, &(tid, name, cpu, frames))| {
                    let address = match (pid, index) {
                        (0, 0) => self.image.address("thread0_st"),
                        (_, 0) => self.allocate_direct() + 0x80,
                        _ => self.allocate(1) + 0x80,
                    };
                    self.write_pointer(thread_link, address);
                    self.write_pointer(address + self.offset("thread_off_td_plist") + self.word(), thread_link);
                    thread_link = address + self.offset("thread_off_td_plist");
                    self.write_integer(address + self.offset("thread_off_td_tid"), 4, tid.into());
                    self.write(address + self.offset("thread_off_td_name"), name.as_bytes());
                    let on_cpu = cpu.map_or(0xffff_ffff, u64::from);
                    self.write_integer(address + self.offset("thread_off_td_oncpu"), 4, on_cpu);
                    let stack = self.allocate(STACK_PAGES);
                    let own = stack + STACK_PAGES * PAGE - pcb_size.next_multiple_of(16);
                    self.write_pointer(address + self.offset("thread_off_td_pcb"), own);
                    let pcb = match cpu {
                        _ if tid == self.dumper => self.image.address("dumppcb"),
                        Some(cpu) => stopped + u64::from(cpu) * pcb_size,
                        None => own,
                    };
                    let (pc, sp, fp) = self.fill_stack(own - 0x200, frames);
                    self.write_registers(pcb, pc, sp, fp);
                    if pcb != own {
                        // What it was when the thread last slept: not to be taken.
                        self.write_registers(own, self.image.address("btext"), 0x1000, 0x1000);
                    }
                    Thread { address, tid, name, cpu, pcb, pc, sp, fp, frames: frames.to_vec() }
                })
                .collect();
            self.write_pointer(process + self.offset("proc_off_p_threads") + self.word(), thread_link);
            self.processes.push(Process { address: process, pid, comm, threads });
        }
    }

    /// Lays frames upwards to that address, each with the frame pointer of its caller and where it returns to there.
    fn fill_stack(&mut self, top: u64, frames: &[&str]) -> (u64, u64, u64) {
        let inside = |function: &str| self.image.value(&format!("in_{function}"), self.arch().word());
        let addresses: Vec<u64> = frames.iter().map(|function| inside(function)).collect();
        let bottom = top - frames.len() as u64 * FRAME;
        // A frame pointer leads to the record, on riscv behind it.
        let behind = if self.arch() == Arch::Riscv { 2 * self.word() } else { 0 };
        for (index, record) in (bottom..).step_by(FRAME as usize).take(frames.len()).enumerate() {
            // The outermost frame has no caller.
            if let Some(back_to) = addresses.get(index + 1) {
                self.write_pointer(record, record + FRAME + behind);
                self.write_pointer(record + self.word(), *back_to);
            }
        }
        // On arm64 and riscv the frame's record is the lowest thing in it.
        let lowest = matches!(self.arch(), Arch::Arm64 | Arch::Riscv);
        let sp = if lowest { bottom } else { bottom - 2 * self.word() };
        (addresses[0], sp, bottom + behind)
    }

    /// Writes a `struct pcb`, of the architectures whose layout of it is known here.
    fn write_registers(&mut self, pcb: u64, pc: u64, sp: u64, fp: u64) {
        // The others that a call preserves hold what can be told from all else.
        let registers: Vec<(u64, u64)> = match self.arch() {
            // rbp, rsp, rip; r15 to r12, rbx.
            Arch::Amd64 => vec![(4, fp), (5, sp), (7, pc), (0, 0x15), (1, 0x14), (2, 0x13), (3, 0x12), (6, 0xb)],
            // x19 to x28, x29, x30, sp.
            Arch::Arm64 if self.image.osreldate >= 1_400_084 => {
                (0..10).map(|index| (index, 0x19 + index)).chain([(10, fp), (11, pc), (12, sp)]).collect()
            }
            // x0 to x29, x30, nothing, sp.
            Arch::Arm64 => (19..29).map(|index| (index, index)).chain([(29, fp), (30, pc), (32, sp)]).collect(),
            // ra, sp, gp, tp, s0 to s11.
            Arch::Riscv if self.image.osreldate >= FREEBSD_14 => {
                (5..16).map(|index| (index, index)).chain([(0, pc), (1, sp), (4, fp)]).collect()
            }
            _ => return,
        };
        for (index, value) in registers {
            self.write_pointer(pcb + 8 * index, value);
        }
    }

    /// The same with signed return addresses on its stacks, as arm64 kernels with pointer authentication have them; only
    /// the program counters that their own assembler saves are plain (`PAC_ADDR_MASK_14`, `sys/arm64/include/vmparam.h`).
    pub fn signed(mut self) -> Self {
        let signatures = (1..).map(|number: u64| (number * 0x1357) << 48 & 0xff7f_0000_0000_0000);
        let threads: Vec<Thread> = self.processes.iter().flat_map(|process| process.threads.clone()).collect();
        let records = threads
            .iter()
            .flat_map(|thread| (0..thread.frames.len() as u64 - 1).map(|frame| thread.fp + frame * FRAME));
        for (record, signature) in records.zip(signatures) {
            let back_to = self.arch().order().value(&self.read(record + 8, 8).unwrap());
            assert_ne!(signature ^ 0xff7f_0000_0000_0000, 0, "that is the plain address");
            self.write_pointer(record + 8, back_to & !0xff7f_0000_0000_0000 | signature);
        }
        self
    }

    /// The same while it runs, as something other than the kernel copies its memory: the thread that dumped before, in
    /// a live dump, sleeps since.
    pub fn long_after_a_live_dump(mut self) -> Self {
        for (symbol, size) in [("dumping", 4), ("stopped_cpus", self.arch().word()), ("panicstr", self.arch().word())] {
            self.write_integer(self.image.address(symbol), size, 0);
        }
        let thread = &mut self.processes[0].threads[0];
        let (address, fp) = (thread.address, thread.fp);
        thread.cpu = None;
        // The stack that it had is still there; `td_pcb` says where it was switched from.
        let own = self.read(address + self.offset("thread_off_td_pcb"), self.arch().word()).unwrap();
        let own = self.arch().order().value(&own);
        let (pc, sp) = (self.image.value("in_sched_switch", self.arch().word()), self.processes[0].threads[0].sp);
        self.write_registers(own, pc, sp, fp);
        self.write_integer(address + self.offset("thread_off_td_oncpu"), 4, 0xffff_ffff);
        let thread = &mut self.processes[0].threads[0];
        (thread.pcb, thread.pc) = (own, pc);
        thread.frames[0] = "sched_switch";
        self
    }

    /// The same with something wrong in it. The answers are those from before.
    pub fn damaged(mut self, damage: Damage) -> Self {
        let list = self.offset("proc_off_p_list");
        let (first, second) = (self.processes[0].address, self.processes[1].address);
        let name = second + self.offset("proc_off_p_comm");
        let thread = self.processes[0].threads[0].address;
        let unmapped = self.next_address + 0x10_0000;
        match damage {
            Damage::ProcessesInARing => self.write_pointer(self.processes[STORY.len() - 1].address + list, first),
            Damage::ProcessFollowsItself => self.write_pointer(second + list, second),
            Damage::ProcessNowhere => self.write_pointer(second + list, unmapped),
            Damage::ProcessNotDumped => {
                let physical = self.take_page();
                self.map(unmapped, physical, true, false);
                self.write_pointer(second + list, unmapped);
            }
            Damage::ProcessAtTheEnd => self.write_pointer(second + list, u64::MAX >> (64 - 8 * self.word())),
            Damage::ThreadsInARing => {
                let threads = &self.processes[1].threads;
                let (first, last) = (threads[0].address, threads[threads.len() - 1].address);
                self.write_pointer(last + self.offset("thread_off_td_plist"), first);
            }
            Damage::NameWithoutEnd => self.write(name, &[b'x'; 20]),
            Damage::NameNotText => self.write(name, b"\x1b[31m\n\xff\"\0"),
            Damage::RegistersNowhere => {
                self.processes[0].threads[0].pcb = unmapped;
                self.write_pointer(thread + self.offset("thread_off_td_pcb"), unmapped);
                self.write_integer(self.image.address("dumptid"), 4, 0);
                self.write_integer(thread + self.offset("thread_off_td_oncpu"), 4, 0xffff_ffff);
            }
            Damage::CpuTooLarge => {
                self.write_integer(self.image.address("dumptid"), 4, 0);
                self.write_integer(thread + self.offset("thread_off_td_oncpu"), 4, 0x7fff_ffff);
            }
            Damage::OffsetNegative => self.write_integer(self.image.address("proc_off_p_pid"), 4, 0xffff_ff00),
            Damage::NoProcesses => self.write_pointer(self.image.address("allproc"), 0),
        }
        self
    }
}
