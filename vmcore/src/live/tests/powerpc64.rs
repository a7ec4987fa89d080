//! powerpc64 of either byte order, with a hashed page table, good and bad.

use super::*;
use crate::dump::DumpedMemory;
use crate::kernel::RunningTable;
use crate::live::powerpc64::from_variables;
use crate::opened::Scratch;
use crate::pmap::powerpc64::{DIRECT_MAP, KERNBASE, KERNEL_MAP};

const DUMP_AVAIL: [(u64, u64); 2] = [(0x1000, 0x9_f000), (0x10_0000, 0x200_0000)];
/// The kernel's image, which the firmware leaves out, and where its variables are in it.
const IMAGE: (u64, u64) = (0x300_0100, 0x304_0000);
const VARIABLES: u64 = 0x301_0000;
/// A multiple of its size.
const HASHED: u64 = 0x18_0000;
const GROUPS: u64 = 0x800;
const MESSAGES: u64 = 0x11_0000;
const BITMAP: u64 = 0x12_0000;
const VERSION: &str = "FreeBSD 15.1 of the test";

/// A kernel in memory that fails the test when anything but RAM is read.
#[derive(Clone)]
struct Hashed {
    order: Endianness,
    memory: BTreeMap<u64, Vec<u8>>,
    symbols: BTreeMap<&'static str, Symbol>,
    free: u64,
    running: bool,
}

struct View {
    machine: Arc<Hashed>,
    is_virtual: bool,
}

impl Memory for View {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let physical = match self.is_virtual {
            // The message buffer.
            true if address >= KERNEL_MAP => MESSAGES + (address - KERNEL_MAP),
            true => address.checked_sub(DIRECT_MAP.0).expect("only what the kernel has is read"),
            false => address,
        };
        let ram = [(0x1000, 0x9_f000), (0x10_0000, 0x200_0000), (0x300_0000, 0x304_0000)];
        let end = physical + buffer.len() as u64;
        assert!(ram.iter().any(|(from, to)| *from <= physical && end <= *to), "{physical:#x}..{end:#x} is not RAM");
        let within = usize::try_from(physical % PAGE).unwrap();
        let length = buffer.len().min(4096 - within);
        match self.machine.memory.get(&(physical - physical % PAGE)) {
            Some(page) => buffer[..length].copy_from_slice(&page[within..within + length]),
            None => buffer[..length].fill(0x55),
        }
        Ok(length)
    }
}

impl Symbols for Hashed {
    fn find(&self, name: &str) -> crate::Result<Option<Symbol>> {
        Ok(self.symbols.get(name).copied())
    }

    fn source(&self) -> String {
        "the test".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        self.running
    }
}

impl Hashed {
    fn new(order: Endianness) -> Self {
        let (memory, symbols) = (BTreeMap::new(), BTreeMap::new());
        let mut machine = Self { order, memory, symbols, free: VARIABLES, running: true };
        for at in (HASHED..HASHED + GROUPS * 128).step_by(4096).chain((BITMAP..BITMAP + 0x2000).step_by(4096)) {
            machine.memory.insert(at, vec![0; 4096]);
        }
        machine.set("hw_direct_map", &order.bytes_of_u32(1));
        machine.set("radix_mmu", &order.bytes_of_u32(0));
        machine.set_words("moea64_pteg_count", &[GROUPS]);
        machine.set_words("__startkernel", &[DIRECT_MAP.0 + IMAGE.0]);
        machine.set_words("__endkernel", &[DIRECT_MAP.0 + IMAGE.1]);
        let ranges: Vec<u64> = DUMP_AVAIL.iter().flat_map(|(start, end)| [*start, *end]).chain([0, 0]).collect();
        machine.set_words("dump_avail", &ranges);
        machine.set_words("vm_page_dump", &[DIRECT_MAP.0 + BITMAP]);
        machine.set_words("vm_page_dump_pages", &[PageSet::new(PAGE, &DUMP_AVAIL).capacity()]);
        machine.set_words("msgbufp", &[KERNEL_MAP]);
        machine.set("version", VERSION.as_bytes());
        machine.put(MESSAGES, &order.bytes_of_u64(KERNEL_MAP + 0x100));
        machine.put(MESSAGES + 8, &order.bytes_of_u32(MSG_MAGIC));
        machine.put(MESSAGES + 12, &order.bytes_of_u32(0x800));
        machine.map_large(DIRECT_MAP.0 + 0x300_0000, 0x300_0000);
        machine.map(KERNEL_MAP, MESSAGES);
        machine
    }

    fn put(&mut self, physical: u64, bytes: &[u8]) {
        for (at, byte) in (physical..).zip(bytes) {
            let page = self.memory.entry(at - at % PAGE).or_insert_with(|| vec![0; 4096]);
            page[usize::try_from(at % PAGE).unwrap()] = *byte;
        }
    }

    fn set(&mut self, name: &'static str, bytes: &[u8]) {
        let physical = self.free;
        self.symbols.insert(name, Symbol { address: DIRECT_MAP.0 + physical, size: bytes.len() as u64 });
        self.put(physical, bytes);
        self.free = (physical + bytes.len() as u64).next_multiple_of(8);
    }

    fn set_words(&mut self, name: &'static str, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| self.order.bytes_of_u64(*word)).collect();
        self.set(name, &bytes);
    }

    /// Puts an entry into the first free place of its group: what `KERNEL_VSID` and the hash make of an address.
    fn enter(&mut self, address: u64, shift: u32, big: u64, low: u64) {
        let number = address >> 28;
        let segment = ((number << 8 | number >> 28).wrapping_mul(0x13bb) & ((1 << 36) - 1)) | 1 << 36;
        let group = ((segment & ((1 << 39) - 1)) ^ ((address & 0xfff_ffff) >> shift)) % GROUPS;
        let high = segment << 12 | (address >> 23 & 0x1f) << 7 | big << 2 | 1;
        let places = (0..8).map(|place| HASHED + group * 128 + place * 16);
        let is_free = |at: &u64| self.memory[&(at - at % PAGE)][usize::try_from(at % PAGE).unwrap() + 7] & 1 == 0;
        let free = places.into_iter().find(is_free).unwrap();
        // The processor's order, whatever the kernel's is.
        self.put(free, &high.to_be_bytes());
        self.put(free + 8, &low.to_be_bytes());
    }

    fn map(&mut self, address: u64, physical: u64) {
        self.enter(address, 12, 0, physical | 0x190 | 2);
    }

    fn map_large(&mut self, address: u64, physical: u64) {
        self.enter(address, 24, 1, physical | 0x190 | 2);
    }

    fn mark(&mut self, page: u64) {
        let bit = PageSet::new(PAGE, &DUMP_AVAIL);
        let (mut first, mut found) = (0, None);
        for (start, end) in DUMP_AVAIL {
            if (start..end).contains(&page) {
                found = Some(first + (page - start) / PAGE);
            }
            first += (end - start) / PAGE;
        }
        let number = found.unwrap();
        assert!(number < bit.capacity());
        let at = BITMAP + number / 64 * 8;
        let bytes = self.memory[&(at - at % PAGE)][usize::try_from(at % PAGE).unwrap()..][..8].try_into().unwrap();
        let word = self.order.u64(bytes) | 1 << (number % 64);
        self.put(at, &self.order.bytes_of_u64(word));
    }

    fn with<R>(&self, work: impl FnOnce(LiveKernel<'_>) -> Result<R>) -> Result<R> {
        let machine = Arc::new(self.clone());
        let memory = |is_virtual| Box::new(View { machine: Arc::clone(&machine), is_virtual });
        let variables =
            Variables { symbols: self, memory: memory(true), image: DIRECT_MAP, order: self.order, relocation: None };
        work(from_variables(variables, memory(false))?)
    }

    fn error(&self) -> Error {
        self.with(|live| live.snapshot().map(drop)).unwrap_err()
    }
}

fn each_order() -> impl Iterator<Item = Hashed> {
    [Endianness::Big, Endianness::Little].into_iter().map(Hashed::new)
}

#[test]
fn what_is_marked_and_what_is_mapped_is_dumped_if_it_is_ram() {
    for mut machine in each_order() {
        machine.mark(0x1000);
        machine.map(KERNEL_MAP + 0x5000, 0x30_0000);
        // A device, and the direct map of what is not dumped.
        machine.map(KERNEL_MAP + 0x6000, 0x6_0000_0000);
        machine.map_large(DIRECT_MAP.0 + 0x100_0000, 0x100_0000);
        let (runs, dump) = machine
            .with(|live| {
                let snapshot = live.snapshot()?;
                Ok((snapshot.page_set().runs().collect::<Vec<_>>(), written(&snapshot).1))
            })
            .unwrap();
        // The image is not in dump_avail, so that the bitmap has no bits for it.
        assert_eq!(runs, [(0x1000, 0x2000), (MESSAGES, MESSAGES + PAGE), (0x30_0000, 0x30_1000)]);
        let inspection = inspect(&ByteSource::from_bytes(dump.clone()), Depth::Full, &Progress::default()).unwrap();
        assert_eq!(inspection.damage, []);
        let Content::Minidump(facts) = &inspection.content else { panic!("{:?}", inspection.content) };
        assert_eq!((facts.header.order, facts.header.mmu.as_deref()), (machine.order, Some("mmu_g5")));
        assert_eq!(facts.header.kernel_image, Some((DIRECT_MAP.0 + IMAGE.0, DIRECT_MAP.0 + IMAGE.1)));
        let scratch = tempfile::tempdir().unwrap();
        let volume = ByteSource::from_bytes(dump);
        let memory = DumpedMemory::open(
            volume,
            None,
            Scratch { directory: scratch.path(), create: |path| tempfile::tempfile_in(path), limit: u64::MAX },
            &Progress::default(),
        )
        .unwrap();
        let kernel = crate::kernel::KernelMemory::from_dump(memory, None).unwrap();
        assert_eq!(kernel.translate(KERNEL_MAP + 0x5008).unwrap().physical, 0x30_0008);
        assert_eq!(kernel.u32(KERNEL_MAP + 8).unwrap(), MSG_MAGIC);
    }
}

#[test]
fn the_running_kernel_is_read_by_its_table_and_where_it_is_linked() {
    for mut machine in each_order() {
        machine.map(KERNEL_MAP + 0x5000, 0x30_0000);
        machine.map_large(KERNEL_MAP + 0x100_0000, 0x100_0000);
        let kernel = machine.with(|live| Ok(crate::kernel::KernelMemory::from_live(live.into_memory(), None))).unwrap();
        assert_eq!(kernel.order(), machine.order);
        let (steps, found) = kernel.walk(KERNEL_MAP + 0x5010);
        assert_eq!(found.unwrap().physical, 0x30_0010);
        assert!(steps.iter().all(|step| step.physical.is_some_and(|at| at >= HASHED) && step.offset.is_none()));
        assert_eq!(kernel.translate(KERNEL_MAP + 0x123_4567).unwrap().physical, 0x123_4567);
        assert!(kernel.translate(KERNEL_MAP + 0x7000).is_err());
        let linked = KERNBASE + (machine.symbols["version"].address - DIRECT_MAP.0 - IMAGE.0);
        assert_eq!(kernel.string(linked, 64).unwrap(), VERSION.as_bytes());
        let mut mapped = Vec::new();
        kernel
            .each_mapping(|mapping| {
                mapped.push((mapping.address, mapping.physical, mapping.size));
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        let own: Vec<_> = mapped.into_iter().filter(|mapping| mapping.0 >= KERNEL_MAP).collect();
        assert_eq!(
            own,
            [
                (KERNEL_MAP, MESSAGES, PAGE),
                (KERNEL_MAP + 0x5000, 0x30_0000, PAGE),
                (KERNEL_MAP + 0x100_0000, 0x100_0000, 0x100_0000)
            ]
        );
    }
}

#[test]
fn a_table_that_is_not_the_kernels_is_not_taken_for_it() {
    for machine in each_order() {
        // One that was left behind, with another message buffer, is none.
        let copy = |machine: &Hashed, to: u64| {
            let mut copied = machine.clone();
            for at in (0..GROUPS * 128).step_by(4096) {
                copied.memory.insert(to + at, machine.memory[&(HASHED + at)].clone());
            }
            copied
        };
        let mut without = copy(&machine, 0x40_0000);
        for at in (HASHED..HASHED + GROUPS * 128).step_by(4096) {
            without.memory.insert(at, vec![0; 4096]);
        }
        let table = without.with(|live| Ok(live.memory.hashed_table().map(|(table, _)| table))).unwrap();
        assert_eq!(table, Some(RunningTable { physical: 0x40_0000, groups: GROUPS }));
        let both = copy(&machine, 0x40_0000).error().to_string();
        assert!(both.contains("0x180000") && both.contains("0x400000"), "{both}");
        // Not where a table can be.
        let mut misplaced = copy(&without, 0x41_0000);
        for at in (0x40_0000..0x41_0000).step_by(4096) {
            misplaced.memory.insert(at, vec![0; 4096]);
        }
        assert!(matches!(misplaced.error(), Error::UnknownKernel(_)));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let of_int = |machine: &Hashed, value| machine.order.bytes_of_u32(value).to_vec();
    let of_long = |machine: &Hashed, value| machine.order.bytes_of_u64(value).to_vec();
    for machine in each_order() {
        for (name, bytes, text) in [
            ("hw_direct_map", of_int(&machine, 0), "no direct map"),
            ("radix_mmu", of_int(&machine, 1), "radix"),
            ("moea64_pteg_count", of_long(&machine, 0), "moea64_pteg_count"),
            ("moea64_pteg_count", of_long(&machine, 0x801), "moea64_pteg_count"),
            ("moea64_pteg_count", of_long(&machine, 1 << 63), "moea64_pteg_count"),
            ("moea64_pteg_count", of_long(&machine, 1 << 36), "a hypervisor may hold it"),
            ("__startkernel", of_long(&machine, 0x300_0100), "__startkernel"),
            ("__endkernel", of_long(&machine, DIRECT_MAP.0), "__endkernel"),
            ("__endkernel", of_long(&machine, u64::MAX), "__endkernel"),
            ("vm_page_dump", of_long(&machine, u64::MAX - 7), "there is no RAM"),
            ("vm_page_dump_pages", of_long(&machine, 1), "dump_avail has"),
        ] {
            let mut other = machine.clone();
            other.set(name, &bytes);
            let error = other.error().to_string();
            assert!(error.contains(text), "{name} {bytes:?}: {error}");
        }
        let mut nowhere = machine.clone();
        nowhere.symbols.remove("moea64_pteg_count");
        assert!(matches!(nowhere.error(), Error::UnknownKernel(_)));
    }
}

proptest! {
    #[test]
    fn whatever_the_table_holds_only_ram_is_read(
        entries in proptest::collection::vec((0..GROUPS * 8, any::<u64>(), any::<u64>()), 0..200),
    ) {
        let mut machine = Hashed::new(Endianness::Big);
        for (place, high, low) in entries {
            machine.put(HASHED + place * 16, &high.to_be_bytes());
            machine.put(HASHED + place * 16 + 8, &low.to_be_bytes());
        }
        // The kernel's own entries may be gone.
        let Ok(runs) = machine.with(|live| Ok(live.snapshot()?.page_set().runs().collect::<Vec<_>>())) else {
            return Ok(());
        };
        for (start, end) in runs {
            prop_assert!(DUMP_AVAIL.iter().any(|(from, to)| *from <= start && end <= *to));
        }
    }
}
