//! Minidumps of riscv64 kernels that memtool makes from user space, with three and four levels of page tables, and what
//! the kernel's own are worth.

use crate::common::entries_dump::{EntriesDump, check_unreadable_table, opened};
use crate::common::kernel::BuiltKernel;
use crate::common::riscv::{DIRECT_MAP, KERNBASE, MAPS, RAM, riscv_machine};
use crate::common::{command, directory, memtool, names, on, start, text, write_machine};
use memtool::compress::Compression;
use memtool::dump::sink::{Packing, Target, with_sink};
use memtool::host::{self, Host, ProcessHost};
use memtool::live_kernel::{self, RunningSymbols};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use vmcore::progress::Progress;
use vmcore_synth::{Arch, KernelMemory, Mapping, Paging};

const MODES: [&str; 2] = ["sv39", "sv48"];

fn machine_of(mode: &str, osreldate: u32) -> Value {
    let mut machine = riscv_machine(mode);
    machine["system"]["osreldate"] = json!(osreldate);
    machine
}

fn dump(machine: &Path, directory: &Path) -> EntriesDump {
    let target = directory.join("by-user");
    on(machine, &["livedump", "--force", "--method", "user", text(&target)]).ok();
    EntriesDump::read(&target)
}

#[test]
fn every_page_is_the_one_that_the_kernel_maps() {
    for (mode, osreldate, version) in
        [("sv39", 1_201_000, 1), ("sv39", 1_302_000, 2), ("sv39", 1_501_000, 2), ("sv48", 1_501_000, 2)]
    {
        let directory = directory();
        let path = write_machine(directory.path(), &machine_of(mode, osreldate));
        let dump = dump(&path, directory.path());
        assert_eq!((dump.version, dump.kernel_base), (version, KERNBASE));
        assert_eq!(dump.direct_map, (DIRECT_MAP.0, DIRECT_MAP.1, 0x8000_0000));
        assert!(version == 1 || dump.dump_avail == RAM);
        let said = String::from_utf8_lossy(&dump.message_buffer).into_owned();
        assert!(said.contains("FreeBSD 15.1-RELEASE MEMTOOL-DEMO"), "{said}");
        assert_eq!(dump.message_buffer.len(), 98_232);

        let mapped = dump.check_pages(&*opened(&path), &MAPS, &RAM);
        let inspected = memtool(&["inspect", "--verify", text(&directory.path().join("by-user"))]).ok();
        assert!(inspected.stdout.contains(&format!("minidump, riscv version {version}")), "{inspected:?}");
        assert!(inspected.stdout.contains("consistent: everything was read"), "{inspected:?}");
        assert!(inspected.stdout.contains(&format!("{mapped} pages of memory, 0 of them missing")), "{inspected:?}");
    }
}

#[test]
fn the_kernels_own_dump_cannot_be_used_and_the_message_tells_what_can() {
    for mode in MODES {
        let directory = directory();
        let path = write_machine(directory.path(), &riscv_machine(mode));
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let target = files.join("out");
        on(&path, &["livedump", "--method", "kernel", text(&target)]).fails_saying(&[
            "the dump is damaged",
            "a bitmap into their live dumps that differs",
            "livedump --method user makes a usable one",
        ]);
        assert_eq!(names(&files), [""; 0]);
        // Unless it is told otherwise, the kernel is not asked.
        let run = on(&path, &["--json", "livedump", text(&target)]).ok();
        run.clone().says_in_one_line(&["this riscv64 kernel", "memtool makes the dump"]);
        assert_eq!((&run.json()["method"], &run.json()["architecture"]), (&json!("user"), &json!("riscv64")));
        let made = EntriesDump::read(&target);
        assert!(made.contents() == dump(&path, directory.path()).contents());
    }
}

#[test]
fn its_info_file_names_the_architecture() {
    let directory = directory();
    let path = write_machine(directory.path(), &riscv_machine("sv39"));
    let dumps = directory.path().join("dumps");
    std::fs::create_dir(&dumps).unwrap();
    on(&path, &["livedump", "--zstd", "--dir", text(&dumps)]).ok();
    let info = std::fs::read_to_string(dumps.join("info.0")).unwrap();
    for line in ["Architecture: riscv64", "Architecture Version: 1", "Blocksize: 4096"] {
        assert!(info.contains(line), "{line}: {info}");
    }
    EntriesDump::parse(zstd::decode_all(std::fs::File::open(dumps.join("livecore.0.zst")).unwrap()).unwrap());
}

#[test]
fn a_missing_or_senseless_symbol_is_named_and_leaves_nothing() {
    let directory = directory();
    let host = opened(&write_machine(directory.path(), &riscv_machine("sv39")));
    let address = |name: &str| host.kernel_symbol(name).unwrap().unwrap().address;
    let at = |address: u64| json!({"address": format!("{address:#x}"), "size": 8});
    let mut cases = vec![
        // In the kernel map, but no part of the image; and devices may be there.
        ("kernel_vm_end", at(KERNBASE + (1 << 30)), "outside of the kernel's image"),
        ("kernel_vm_end", at(DIRECT_MAP.0), "outside of the kernel's image"),
        ("kernel_vm_end", at(KERNBASE + (1 << 30) - 4), "outside of the kernel's image"),
        // What another variable says.
        ("kernel_vm_end", at(address("dmap_phys_base")), "it is 0x80000000"),
        ("kernel_vm_end", at(address("dmap_max_addr")), "it is 0xffffffd0"),
        ("dmap_phys_base", at(address("kernel_vm_end")), "it is of 0xffffffc0"),
        ("dmap_phys_base", at(address("dmap_phys_max")), "it is of 0x100800000..0x100800000"),
        ("dmap_phys_max", at(address("msgbufp")), "it is of"),
        ("dmap_max_addr", at(address("kernel_vm_end")), "that dumps from user space do not support"),
        ("dmap_max_addr", at(address("dmap_phys_max")), "that dumps from user space do not support"),
        ("vm_page_dump_pages", at(address("dmap_phys_base")), "dump_avail has"),
        ("vm_page_dump", at(address("dmap_phys_base")), "there is no RAM"),
        ("msgbufp", at(address("vm_page_dump")), "magic"),
        ("kernel_pmap_store", at(address("dmap_phys_base")), "no value of satp"),
        ("kernel_pmap_store", at(KERNBASE + (1 << 29)), "EFAULT"),
    ];
    let names_of = ["dump_avail", "vm_page_dump", "msgbufp", "kernel_vm_end", "kernel_pmap_store"];
    for name in names_of.into_iter().chain(["dmap_phys_base", "dmap_phys_max", "dmap_max_addr"]) {
        cases.push((name, Value::Null, "has no symbol"));
    }
    for (name, symbol, words) in cases {
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let mut machine = riscv_machine("sv39");
        machine["symbols"] = json!({name: symbol});
        let path = write_machine(directory.path(), &machine);
        let run = on(&path, &["livedump", "--method", "user", text(&files.join("out"))]);
        run.fails_saying(&[
            if words.contains("that dumps from user space do not support") { "dmap_max_addr" } else { name },
            words,
        ]);
        assert_eq!(names(&files), [""; 0], "{name}");
        std::fs::remove_dir(&files).unwrap();
    }
}

#[test]
fn pages_that_cannot_be_read_are_zeros_and_reported() {
    for mode in MODES {
        let directory = directory();
        let whole = dump(&write_machine(directory.path(), &riscv_machine(mode)), directory.path());
        let (bad, _) = whole.translate(KERNBASE + (1 << 30) + 5 * 4096).unwrap();
        let mut machine = riscv_machine(mode);
        // All of one page, and a bit of the next one.
        machine["unreadable"] = json!([{"start": format!("{bad:#x}"), "end": format!("{:#x}", bad + 4096 + 16)}]);
        let path = write_machine(directory.path(), &machine);
        let target = directory.path().join("out");
        let run = on(&path, &["--json", "livedump", "--method", "user", text(&target)]).ok();
        run.clone().says_in_one_line(&["2 pages could not be read and are zeros"]);
        assert_eq!(run.json()["bytes_unreadable"], 2 * 4096);
        let dump = EntriesDump::read(&target);
        assert!(dump.entries == whole.entries && dump.pages == whole.pages);
        for (at, contents) in dump.contents() {
            let expected = if (bad..bad + 8192).contains(&at) { &[0; 4096] } else { whole.page(at).unwrap() };
            assert!(contents == expected, "{at:#x}");
        }
    }
}

#[test]
fn the_running_kernel_can_be_read_by_symbol_too() {
    for mode in MODES {
        let directory = directory();
        let path = write_machine(directory.path(), &riscv_machine(mode));
        let read = on(&path, &["read", "--as", "str", "version"]).ok();
        assert!(read.stdout.starts_with("FreeBSD 15.1-RELEASE MEMTOOL-DEMO"), "{read:?}");
        let dump = dump(&path, directory.path());
        let address = MAPS[2].0 + (2 << 20);
        let (at, _) = dump.translate(address).unwrap();
        let translated = on(&path, &["translate", &format!("{address:#x}")]).ok();
        assert!(
            translated.stdout.contains(&format!("physical address {at:#x}, in a page of 4 KiB, rw-")),
            "{translated:?}"
        );
    }
}

#[test]
fn a_later_kernel_is_asked_and_believed_if_its_dump_is_right() {
    let directory = directory();
    let path = write_machine(directory.path(), &machine_of("sv39", 1_502_000));
    let target = directory.path().join("out");
    let run = on(&path, &["--json", "livedump", text(&target)]).ok();
    assert_eq!(run.json()["method"], "kernel");
    let kernels = EntriesDump::read(&target);
    let by_user = dump(&path, directory.path());
    assert!(kernels.entries == by_user.entries && kernels.contents() == by_user.contents());
}

#[test]
fn page_tables_that_cannot_be_read_are_counted_and_zeros() {
    for mode in MODES {
        check_unreadable_table(riscv_machine(mode), MAPS[3].0, RAM[0]);
    }
}

#[test]
fn it_can_be_interrupted() {
    for mode in MODES {
        let directory = directory();
        let path = write_machine(directory.path(), &riscv_machine(mode));
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = command();
        command.args(["--machine", text(&path), "livedump", "--method", "user", "-", "--info"]);
        let running = start(command.arg(files.join("info")).stdout(writer));
        drop(command);
        // It is at the pages, and the pipe is full.
        std::io::Read::read_exact(&mut reader, &mut [0; 1]).unwrap();
        running.signal(Signal::SIGINT);
        let run = running.end().exits(130);
        assert!(run.stderr.contains("SIGINT: the dump is not complete"), "{run:?}");
        assert_eq!(names(&files), [""; 0]);
    }
}

/// The kernel of `tests/kernel` in the memory of a running machine.
struct Built {
    kernel: BuiltKernel,
    memory: KernelMemory,
    variables: BTreeMap<&'static str, (u64, Vec<u64>)>,
}

impl Built {
    /// With these page tables, and the variables that a dump from user space needs; `None` where there is no compiler.
    fn new(paging: Paging) -> Option<Self> {
        let mut kernel = BuiltKernel::in_minidump(Arch::Riscv, 2)?;
        let dump = &mut kernel.dump;
        let tables = dump.dump_avail[0].0 + 0x50_0000;
        dump.dump_avail.push((tables, tables + 0x8_0000));
        let [messages, bitmap, variables, root] = [0, 1, 2, 3].map(|page| tables + page * 4096);
        let physical = dump.direct_map.physical;
        dump.direct_map.end = dump.direct_map.base + (tables + 0x8_0000 - physical);
        let base = dump.direct_map.base;
        let directly = |address: u64| base + (address - physical);
        let address = dump.kernel_end - 4096;
        dump.mappings.push(Mapping {
            address,
            physical: variables,
            length: 4096,
            writable: true,
            executable: false,
            superpage: false,
        });
        let mut memory = KernelMemory::new(paging, &dump.dump_avail, root);
        let mut bits = vec![0; 4096];
        for (at, bytes) in &dump.pages {
            memory.write(*at, bytes);
            let (byte, bit) = dump.byte_of_bit(dump.bit(*at));
            bits[byte] |= bit;
        }
        memory.write(bitmap, &bits);
        let said = &dump.message_buffer;
        memory.set(messages, directly(messages + 16), 8);
        memory.set(messages + 8, 0x06_3062, 4);
        memory.set(messages + 12, said.len() as u64, 4);
        memory.write(messages + 16, said);
        for mapping in &dump.mappings {
            let last = paging.bits().len() - 2;
            memory.map(mapping.address, mapping.physical, last, mapping.writable, mapping.executable);
        }
        let pages = dump.dump_avail.iter().map(|(start, end)| (end - start) / 4096).sum();
        let mode = if paging == Paging::Sv48 { 9 } else { 8 };
        let values = [
            ("dump_avail", dump.dump_avail.iter().flat_map(|(start, end)| [*start, *end]).chain([0, 0]).collect()),
            ("vm_page_dump", vec![directly(bitmap)]),
            ("vm_page_dump_pages", vec![pages]),
            ("msgbufp", vec![directly(messages)]),
            ("kernel_vm_end", vec![dump.kernel_end]),
            ("dmap_phys_base", vec![physical]),
            ("dmap_phys_max", vec![tables + 0x8_0000]),
            ("dmap_max_addr", vec![dump.direct_map.end]),
            ("kernel_pmap_store", vec![dump.kernel_base, 0, 0, 4, 812, directly(root), mode << 60 | root >> 12, 1]),
        ];
        let mut at = address;
        let variables = values.into_iter().map(|(name, words): (_, Vec<u64>)| {
            let here = at;
            at += 8 * words.len() as u64;
            (name, (here, words))
        });
        let variables: BTreeMap<_, _> = variables.collect();
        for (here, words) in variables.values() {
            for (word, value) in words.iter().enumerate() {
                memory.set(tables + 2 * 4096 + (here - address) + 8 * word as u64, *value, 8);
            }
        }
        Some(Self { kernel, memory, variables })
    }

    /// The kernel map, as /dev/kmem has it.
    fn virtually(&self) -> Pages {
        let mappings = self.kernel.dump.mappings.iter();
        Pages(mappings.map(|mapping| (mapping.address, self.memory.pages[&mapping.physical].clone())).collect())
    }
}

/// Memory by page.
struct Pages(BTreeMap<u64, Vec<u8>>);

impl vmcore::memory::Memory for Pages {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, vmcore::memory::ReadError> {
        let offset = usize::try_from(address % 4096).unwrap();
        let page = self.0.get(&(address & !4095)).ok_or(vmcore::memory::ReadError::Absent)?;
        let length = buffer.len().min(4096 - offset);
        buffer[..length].copy_from_slice(&page[offset..offset + length]);
        Ok(length)
    }
}

impl ProcessHost for Built {
    fn kind(&self) -> &'static str {
        "freebsd"
    }

    fn page_size(&self) -> memtool::Result<u64> {
        Ok(self.system()?.page_size.into())
    }

    fn kernel_maps(&self) -> memtool::Result<Option<Vec<memtool::memory_map::kernel_maps::KernelMapping>>> {
        Ok(None)
    }

    fn process_map(
        &self,
        _: host::Pid,
        _: memtool::process_map::Detail,
    ) -> memtool::Result<memtool::process_map::ProcessMap> {
        unreachable!()
    }

    fn page_states(&self, _: Option<host::Pid>, _: &[u64]) -> memtool::Result<Vec<host::PageState>> {
        unreachable!()
    }

    fn map(&self, _: &host::Backing) -> Result<Box<dyn host::Mapping>, memtool::KernelError> {
        unreachable!()
    }
}

impl Host for Built {
    fn system(&self) -> memtool::Result<vmcore::system::System> {
        let system = opened(Path::new("demo")).system()?;
        Ok(vmcore::system::System {
            machine_arch: "riscv64".to_owned(),
            osreldate: self.kernel.image.osreldate,
            ..system
        })
    }

    fn memory_map(&self) -> memtool::Result<memtool::memory_map::MemoryMap> {
        Err(memtool::memory_map::MapError::NoTable.into())
    }

    fn range_descriptors(&self) -> memtool::Result<Vec<memtool::ranges::Descriptor>> {
        unreachable!()
    }

    fn set_range(&self, _: &memtool::ranges::request::Request) -> memtool::Result<()> {
        unreachable!()
    }

    fn physical_memory(&self) -> memtool::Result<Box<dyn vmcore::memory::Memory>> {
        Ok(Box::new(Pages(self.memory.pages.clone())))
    }

    fn kernel_memory(&self) -> memtool::Result<Box<dyn vmcore::memory::Memory>> {
        Ok(Box::new(self.virtually()))
    }

    fn kernel_symbol(&self, name: &str) -> memtool::Result<Option<vmcore::symbols::Symbol>> {
        let own = self.variables.get(name).map(|(address, words)| (*address, 8 * words.len() as u64));
        let found = own.or_else(|| self.kernel.image.symbols.get(name).copied());
        Ok(found.map(|(address, size)| vmcore::symbols::Symbol { address, size }))
    }

    fn kernel_dump(&self, _: &std::fs::File, _: vmcore::kerneldump::Compression) -> memtool::Result<()> {
        unreachable!()
    }
}

#[test]
fn a_finished_dump_has_the_kernels_processes_symbols_and_memory() {
    for paging in [Paging::Sv39, Paging::Sv48] {
        let Some(host) = Built::new(paging) else { return };
        let directory = directory();
        let path = directory.path().join("dump");
        let symbols = RunningSymbols(&host);
        let live = live_kernel::open(&host, &symbols).unwrap();
        let target = Target::File(std::fs::File::create_new(&path).unwrap());
        let snapshot = live.snapshot().unwrap();
        with_sink(target, Packing::compressed(Compression::None), false, |out| {
            Ok(snapshot.write(out, &Progress::default())?)
        })
        .unwrap();

        let image = host.kernel.image.path();
        let on_dump = |command: &str, arguments: &[&str]| {
            let all = [&[command, "--core", text(&path), "--kernel", text(&image)], arguments].concat();
            memtool(&all).ok().stdout
        };
        let inspected = memtool(&["inspect", "--verify", text(&path)]).ok().stdout;
        assert!(inspected.contains("consistent: everything was read"), "{inspected}");
        let listed = on_dump("ps", &["--threads"]);
        for process in &host.kernel.processes {
            for thread in &process.threads {
                let line = listed.lines().find(|line| line.contains(&thread.tid.to_string()));
                let line = line.unwrap_or_else(|| panic!("{} is not in {listed}", thread.tid));
                assert!(line.contains(thread.name), "{line}");
            }
        }
        assert!(on_dump("read", &["--as", "str", "version"]).starts_with("FreeBSD 14"));
        let (address, _) = host.kernel.image.symbols["vpanic"];
        let named = on_dump("symbols", &["--addr", &format!("{:#x}", address + 4)]);
        assert!(named.contains("vpanic"), "{named}");
        // A structure that only the direct map reaches.
        let (thread, tid) = (&host.kernel.processes[0].threads[0], host.kernel.offset("thread_off_td_tid"));
        let read = on_dump("read", &["--as", "u32", &format!("{:#x}", thread.address + tid)]);
        assert!(read.contains(&thread.tid.to_string()), "{read}");
    }
}
