//! arm64 with pages of 4 KiB: its tables, good and bad.

use super::*;
use crate::kernel::KernelMemory;
use crate::minidump::writer::PageSource;
use crate::pmap::arm64::{BLOCK, DIRECT_MAPS, KERNBASE, KERNEL_MAP_END, L3_PAGE, PXN, READ_ONLY};
use crate::pmap::arm64::{TABLE as IS_TABLE, UXN};

const VARIABLES: u64 = KERNBASE + 0x12_4000;
const DIRECT: u64 = DIRECT_MAPS[0];
/// Of entries that lead to a page.
const PAGE_BITS: u64 = L3_PAGE | UXN | PXN | 0x700;
const MAP: u64 = KERNBASE + GIB;

/// The kernel's map begins with its image; a GiB further on is [`DIRECTORY`].
fn machine() -> Machine {
    let mut machine = Machine::empty(Architecture::Arm64, VARIABLES);
    let [_, directory, table] = IMAGE_TABLES;
    machine.map(PML4, 0, POINTERS | IS_TABLE);
    machine.map(POINTERS, 0, directory | IS_TABLE);
    machine.map(directory, 0, table | IS_TABLE);
    machine.map(POINTERS, 1, DIRECTORY | IS_TABLE);
    machine.map(DIRECTORY, 0, TABLE | IS_TABLE);
    machine.set_common(DIRECT);
    machine.set_words("kernel_vm_end", [MAP + 4 * SUPERPAGE]);
    machine.set_words("dmap_phys_base", [0]);
    machine.set_words("dmap_phys_max", [RAM[2].1]);
    machine.set_words("dmap_max_addr", [DIRECT + RAM[2].1]);
    machine.symbols.insert("pagetable_l0_ttbr1", Symbol { address: VARIABLES + PAGE, size: PAGE });
    machine
}

/// What is in its dump besides what a test maps: the message buffer, the variables and the top-level table.
const ALWAYS: [(u64, u64); 2] = [(MESSAGES, MESSAGES + PAGE), (VARIABLES_AT, VARIABLES_AT + 2 * PAGE)];

fn lost(machine: &Machine) -> u64 {
    machine.with(None, |live| Ok(live.snapshot()?.lost_tables)).unwrap()
}

/// The entries of the superpage with this number from [`MAP`] on, as the dump has them.
fn entries(machine: &Machine, superpage: usize) -> Vec<u64> {
    let (report, bytes) = machine.with(None, |live| Ok(written(&live.snapshot()?))).unwrap();
    assert_eq!(report.size, bytes.len() as u64);
    let tables = bytes.len() - usize::try_from(report.pages * PAGE).unwrap() - (512 + 4) * 4096;
    words_of(&bytes[tables + (512 + superpage) * 4096..][..4096]).collect()
}

#[test]
fn what_is_marked_and_what_is_mapped_is_dumped_if_it_is_ram() {
    let mut machine = machine();
    machine.map(TABLE, 0, 0x30_0000 | PAGE_BITS);
    // A device, a page beyond all memory, a block where none can be, and an entry that is not valid.
    machine.map(TABLE, 1, 0x900_0000_0000 | PAGE_BITS);
    machine.map(TABLE, 2, 0x0003_ffff_ffff_f000 | PAGE_BITS);
    machine.map(TABLE, 3, 0x31_0000 | BLOCK);
    machine.map(TABLE, 4, 0x31_0000 | 2);
    machine.map(TABLE, 511, 0x9_e000 | PAGE_BITS);
    machine.map(DIRECTORY, 1, 0x80_0000 | BLOCK | READ_ONLY);
    // Reaches over the end of RAM.
    machine.map(DIRECTORY, 2, 0x1e0_0000 | BLOCK);
    // Behind kernel_vm_end.
    machine.map(DIRECTORY, 4, 0xa0_0000 | BLOCK);
    machine.mark(0x1000);
    let mut expected = vec![(0x1000, 0x2000), (0x9_e000, 0x9_f000)];
    expected.extend(ALWAYS);
    expected.extend([(0x30_0000, 0x30_1000), (0x80_0000, 0xa0_0000), (0x1e0_0000, 0x200_0000)]);
    assert_eq!(machine.runs().unwrap(), expected);
    assert_eq!(lost(&machine), 0);
    // A table is as it is in memory.
    let table = entries(&machine, 0);
    assert_eq!(table[..5], machine.pages[&TABLE][..5]);
    assert_eq!(table[511], 0x9_e000 | PAGE_BITS);
    // A block is so many pages.
    let block = entries(&machine, 1);
    for (number, entry) in (0..).zip(&block) {
        assert_eq!(*entry & !0x700, (0x80_0000 + number * PAGE) | L3_PAGE | READ_ONLY | UXN, "{number}");
    }
    assert_eq!(entries(&machine, 3), [0; 512]);
}

#[test]
fn a_block_of_1_gib_becomes_512_superpages() {
    let mut machine = machine();
    machine.map(POINTERS, 1, 0x4000_0000 | BLOCK);
    machine.set_words("kernel_vm_end", [MAP + GIB]);
    let found = machine.with(None, |live| {
        let snapshot = live.snapshot()?;
        assert!(snapshot.page_set().contains(0x7fff_f000));
        Ok((snapshot.superpages, snapshot.directory(1).unwrap().to_vec()))
    });
    let (superpages, directory) = found.unwrap();
    assert_eq!((superpages, directory.len()), (1024, 512));
    assert_eq!((directory[0], directory[511]), (0x4000_0000 | BLOCK, (0x4000_0000 + 511 * SUPERPAGE) | BLOCK));
}

#[test]
fn tables_outside_of_ram_and_those_that_cannot_be_read_lead_nowhere() {
    let mut machine = machine();
    machine.unreadable.insert(0x10_6000);
    for (index, at) in [0xa_0000, 0x10_6000, 0xfee0_0000].into_iter().enumerate() {
        machine.map(DIRECTORY, index + 1, at | IS_TABLE);
        machine.map(POINTERS, index + 2, at | IS_TABLE);
    }
    machine.set_words("kernel_vm_end", [KERNEL_MAP_END]);
    assert_eq!(lost(&machine), 6);
    assert_eq!(machine.runs().unwrap(), ALWAYS);
    for table in [POINTERS, DIRECTORY, TABLE] {
        let mut machine = self::machine();
        machine.map(table, 5, u64::MAX);
        machine.set_words("kernel_vm_end", [KERNEL_MAP_END]);
        assert_eq!(machine.runs().unwrap(), ALWAYS, "{table:#x}");
    }
}

#[test]
fn memory_by_the_page_tables_is_ram_wherever_they_lead() {
    let mut machine = machine();
    // RAM; a device, and firmware's memory mapped as RAM is: /dev/kmem would panic the kernel for both.
    machine.map(TABLE, 0, 0x30_0000 | PAGE_BITS);
    machine.map(TABLE, 1, 0xfee0_0000 | PAGE_BITS);
    machine.map(TABLE, 2, 0xa_0000 | PAGE_BITS);
    machine.map(DIRECTORY, 1, 0x1e0_0000 | BLOCK);
    machine.map(DIRECTORY, 2, 0x900_0000_0000 | BLOCK);
    let read = |address: u64| {
        let found = machine.with(None, |live| {
            let kvm = KernelMemory::from_live(live.into_memory(), None);
            Ok(Memory::read_at(&kvm, address, &mut [0; 8192]).map_err(|error| matches!(error, ReadError::Absent)))
        });
        found.unwrap()
    };
    let nothing = Err(true);
    assert_eq!(read(MAP), Ok(4096));
    for address in
        [MAP + PAGE, MAP + 2 * PAGE, MAP + 3 * PAGE, MAP + 2 * SUPERPAGE, DIRECT + 0xa_0000, DIRECT + GIB * 9]
    {
        assert_eq!(read(address), nothing, "{address:#x}");
    }
    assert_eq!(read(MAP + SUPERPAGE), Ok(4096));
    assert_eq!(read(DIRECT + RAM[2].1 - PAGE), Ok(4096));
}

#[test]
fn tables_that_point_to_each_other_are_walked_once() {
    let mut machine = machine();
    machine.set_words("kernel_vm_end", [KERNEL_MAP_END]);
    for index in 2..512 {
        machine.map(POINTERS, index, [PML4, POINTERS, DIRECTORY][index % 3] | IS_TABLE);
        machine.map(DIRECTORY, index, [POINTERS, DIRECTORY, TABLE][index % 3] | IS_TABLE);
        machine.map(TABLE, index, [POINTERS, DIRECTORY, TABLE][index % 3] | L3_PAGE);
    }
    let kept = machine.with(None, |live| Ok(live.snapshot()?.tables.len())).unwrap();
    // Each is kept once, however many entries name it.
    assert_eq!(kept, 6);
    let runs = machine.runs().unwrap();
    assert!(runs.iter().any(|(start, end)| *start <= POINTERS && *end > POINTERS), "{runs:x?}");
}

#[test]
fn the_tables_must_map_themselves() {
    for (table, index) in [(PML4, 0), (POINTERS, 0), (IMAGE_TABLES[1], 0)] {
        let mut machine = machine();
        machine.map(table, index, 0);
        assert!(machine.error().contains("do not map themselves"), "{table:#x}");
        machine.map(table, index, 0xa_0000 | IS_TABLE);
        assert!(machine.error().contains("do not map themselves"), "{table:#x}");
    }
    // To another page than the kernel reads there, and to none of RAM.
    for (block, words) in [(0x40_0000, "do not map the kernel"), (0xfee0_0000, "no page of RAM")] {
        let mut machine = machine();
        machine.map(IMAGE_TABLES[1], 0, block | BLOCK);
        let error = machine.error();
        assert!(error.contains("pagetable_l0_ttbr1") && error.contains(words), "{error}");
    }
}

#[test]
fn what_the_direct_map_does_not_reach_is_left_out_as_the_kernel_does() {
    check_unreached(&mut machine(), DIRECT, &ALWAYS);
}

#[test]
fn the_direct_map_begins_where_a_kernel_has_it() {
    for base in DIRECT_MAPS {
        let mut machine = machine();
        machine.set_common(base);
        machine.set_words("dmap_max_addr", [base + RAM[2].1]);
        let found = machine.with(None, |live| Ok(live.snapshot()?.direct_map())).unwrap();
        assert_eq!((found.base, found.end, found.physical), (base, 0xffff_ff00_0000_0000, 0));
    }
    for end in [0, RAM[2].1, DIRECT + RAM[2].1 + PAGE, 0xffff_8000_0000_0000 + RAM[2].1, u64::MAX] {
        let mut machine = machine();
        machine.set_words("dmap_max_addr", [end]);
        assert!(machine.error().contains("that dumps from user space do not support"), "{end:#x}");
    }
}

/// Variables that no kernel has, and words of what is said about them.
#[test]
fn senseless_variables_are_refused() {
    let cases: Vec<(&'static str, Vec<u64>, &str)> = vec![
        ("dump_avail", vec![0x1000, (1 << 52) + PAGE, 0, 0], "range 0"),
        ("dump_avail", vec![0x1000, 1 << 51, 0, 0], "covers at most 128.0 TiB"),
        ("vm_page_dump_pages", vec![0], "dump_avail has"),
        ("vm_page_dump", vec![DIRECT + 0xa_0000], "there is no RAM"),
        ("vm_page_dump", vec![u64::MAX], "there is no RAM"),
        ("msgbufp", vec![DIRECT - 8], "there is no RAM"),
        ("kernel_vm_end", vec![0], "kernel_vm_end"),
        ("kernel_vm_end", vec![KERNBASE], "kernel_vm_end"),
        ("kernel_vm_end", vec![KERNEL_MAP_END + 1], "kernel_vm_end"),
        ("dmap_phys_base", vec![u64::MAX], "it is of"),
        ("dmap_phys_base", vec![SUPERPAGE], "it is of"),
    ];
    check_refusals(machine, cases);
}

proptest! {
    #[test]
    fn whatever_page_tables_hold_only_ram_is_read(
        entries in proptest::collection::vec((0usize..4, 0usize..512, prop_oneof![
            any::<u64>(),
            (0u64..0x200).prop_map(|page| (page * PAGE) | 3),
            (0u64..0x200, any::<u8>()).prop_map(|(page, flags)| (page * PAGE) | u64::from(flags)),
        ]), 0..60),
    ) {
        let mut machine = machine();
        for (table, index, entry) in entries {
            machine.map([PML4, POINTERS, DIRECTORY, TABLE][table], index, entry);
        }
        machine.set_words("kernel_vm_end", [KERNEL_MAP_END]);
        // Without the kernel's image it is no kernel.
        let Ok(runs) = machine.runs() else { return Ok(()) };
        for (start, end) in runs {
            prop_assert!(RAM.iter().any(|(from, to)| *from <= start && end <= *to));
        }
    }
}
