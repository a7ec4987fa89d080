//! A kernel's memory of a few hundred words, most of which lead to others of them, as lists of processes and threads.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use memtool::output_file::scratch;
use std::collections::{BTreeMap, BTreeSet};
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kernel::{KernelFacts, KernelMemory, Processes, State};
use vmcore::progress::Progress;
use vmcore::symbols::{Symbol, Symbols};
use vmcore_synth::{Arch, Mapping, MinidumpSpec};

/// Variables with the place of a member, an `int` each.
const OFFSETS: [&str; 9] = [
    "proc_off_p_pid",
    "proc_off_p_comm",
    "proc_off_p_list",
    "proc_off_p_threads",
    "thread_off_td_tid",
    "thread_off_td_name",
    "thread_off_td_oncpu",
    "thread_off_td_pcb",
    "thread_off_td_plist",
];
/// Other variables.
const VARIABLES: [&str; 20] = [
    "allproc",
    "zombproc",
    "osreldate",
    "pcb_size",
    "mp_maxid",
    "dumptid",
    "dumping",
    "dumped_core",
    "livedump_sx",
    "dumppcb",
    "stopped_cpus",
    "stoppcbs",
    "version",
    "osrelease",
    "panicstr",
    "time_uptime",
    "time_second",
    "averunnable",
    "hz",
    "mp_ncpus",
];
const PAGES: u64 = 2;
/// Bytes between variables.
const ROOM: u64 = 8;

struct Names(BTreeMap<&'static str, Symbol>);

impl Symbols for Names {
    fn find(&self, name: &str) -> vmcore::Result<Option<Symbol>> {
        Ok(self.0.get(name).copied())
    }

    fn source(&self) -> String {
        "kernel".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        false
    }
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok((kvm, names)) = make(&mut Unstructured::new(bytes)) else { return Corpus::Reject };
    KernelFacts::read(&kvm, &names).expect("the symbols can be had");
    let Ok(processes) = Processes::read(&kvm, &names) else { return Corpus::Keep };
    check(&kvm, &processes);
    assert_eq!(Processes::read(&kvm, &names).expect("it was read before"), processes);
    Corpus::Keep
});

/// A kernel by the recipe in these bytes.
fn make(u: &mut Unstructured<'_>) -> Result<(KernelMemory, Names)> {
    let arch = *u.choose(&Arch::ALL)?;
    let mut spec = MinidumpSpec::example(arch, arch.newest());
    let physical = spec.dump_avail[0].0 + 0x40 * spec.page_size;
    let length = PAGES * spec.page_size;
    let mut base = spec.direct_map.base + physical;
    spec.pages.clear();
    if arch != Arch::Powerpc64 {
        base = spec.kernel_base + 2 * spec.page_size;
        spec.mappings =
            vec![Mapping { address: base, physical, length, writable: true, executable: false, superpage: false }];
    }

    let word = arch.word();
    let mut symbols = BTreeMap::new();
    let mut memory = Vec::new();
    for name in OFFSETS {
        symbols.insert(name, Symbol { address: base + memory.len() as u64, size: 4 });
        memory.extend(spec.order.bytes(u64::from(u.arbitrary::<u8>()?), 4));
        memory.resize(memory.len().next_multiple_of(ROOM as usize), 0);
    }
    for name in VARIABLES {
        if name == "allproc" || u.ratio(3, 4)? {
            let size = *u.choose(&[0, 4, 8, 32])?;
            symbols.insert(name, Symbol { address: base + u64::from(u.arbitrary::<u16>()?) % length, size });
        }
    }
    symbols.insert("allproc", Symbol { address: base + memory.len() as u64, size: ROOM });
    while !u.is_empty() && memory.len() + word <= length as usize {
        let value = match u.arbitrary::<u16>()? {
            // A place in this memory, a small number, or one that is likely to be at a border.
            place @ 0..0xf000 => base + u64::from(place) % length,
            small @ 0xf000..0xff00 => u64::from(small & 0xff),
            _ => memtool_fuzz::recipe::number(u, 0)?,
        };
        memory.extend(spec.order.bytes(value & (u64::MAX >> (64 - 8 * word)), word));
    }
    memory.resize(length as usize, 0);
    for (page, bytes) in (0..).zip(memory.chunks(spec.page_size as usize)) {
        spec.pages.insert(physical + page * spec.page_size, bytes.to_vec());
    }
    let volume = ByteSource::from_bytes(spec.build());
    let dump = DumpedMemory::open(volume, None, scratch(&std::env::temp_dir()), &Progress::default());
    let kvm = KernelMemory::from_dump(dump.expect("it is a minidump"), None).expect("it is a minidump");
    Ok((kvm, Names(symbols)))
}

/// What holds of all lists.
fn check(kvm: &KernelMemory, processes: &Processes) {
    let threads: usize = processes.list.iter().map(|process| process.threads.len()).sum();
    assert_eq!(processes.threads().count(), threads);
    let mut addresses = BTreeSet::new();
    assert!(processes.list.iter().all(|process| addresses.insert(process.address)));
    assert!(processes.threads().all(|(_, thread)| addresses.insert(thread.address)));
    assert!(processes.warnings.len() <= 21);
    for (process, thread) in processes.threads() {
        assert!(process.command.len() <= 20 && thread.name.len() <= 20);
        assert_eq!(thread.state == State::Dumping, processes.dumping == Some(thread.tid));
        assert!(thread.state != State::Running || thread.pcb.is_none());
        assert!(thread.state != State::Off || thread.cpu.is_none());
        let Ok(registers) = processes.registers(kvm, thread) else { continue };
        let is_known = thread.pcb.is_some() && processes.layout.is_some();
        assert_eq!(registers.pc().is_some() && registers.sp().is_some() && registers.fp().is_some(), is_known);
    }
}
