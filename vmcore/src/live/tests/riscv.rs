//! riscv64 with three and four levels of page tables, good and bad.

use super::*;
use crate::minidump::writer::PageSource;
use crate::pmap::riscv::{ACCESSED, DIRECT_MAP, DIRTY, EXECUTE, KERNBASE, KERNEL_MAP_END, READ, VALID, WRITE, frame};

const VARIABLES: u64 = KERNBASE + 0x12_4000;
const MAP: u64 = KERNBASE + GIB;
/// Of entries that lead to a page.
const PAGE_BITS: u64 = VALID | READ | WRITE | ACCESSED | DIRTY;
/// The table above the others, where there are four levels.
const L0: u64 = 0x10_7000;

const fn table_at(address: u64) -> u64 {
    frame(address) | VALID
}

const fn page_at(address: u64) -> u64 {
    frame(address) | PAGE_BITS
}

/// The kernel's map begins with its image; a GiB further on is [`DIRECTORY`]. [`POINTERS`] is the table of level 1.
fn machine_of(sv48: bool) -> Machine {
    let mut machine = Machine::empty(Architecture::Riscv, VARIABLES);
    let [_, directory, table] = IMAGE_TABLES;
    machine.map(L0, 511, table_at(POINTERS));
    machine.map(POINTERS, 256, table_at(directory));
    machine.map(directory, 0, table_at(table));
    machine.map(POINTERS, 257, table_at(DIRECTORY));
    machine.map(DIRECTORY, 0, table_at(TABLE));
    machine.set_common(DIRECT_MAP);
    machine.set_words("kernel_vm_end", [MAP + 4 * SUPERPAGE]);
    machine.set_words("dmap_phys_base", [0]);
    machine.set_words("dmap_phys_max", [RAM[2].1]);
    machine.set_words("dmap_max_addr", [DIRECT_MAP + RAM[2].1]);
    set_root(&mut machine, if sv48 { 9 << 60 | L0 >> 12 } else { 8 << 60 | POINTERS >> 12 });
    machine
}

/// A `struct pmap` with this value of `satp`.
fn set_root(machine: &mut Machine, satp: u64) {
    machine.set_words("kernel_pmap_store", [KERNBASE, 0, 0, 4, 812, 9, DIRECT_MAP + POINTERS, satp, 1, u64::MAX]);
}

fn machine() -> Machine {
    machine_of(false)
}

/// What is in its dump besides what a test maps: the message buffer and the variables.
const ALWAYS: [(u64, u64); 2] = [(MESSAGES, MESSAGES + PAGE), (VARIABLES_AT, VARIABLES_AT + PAGE)];

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
    for sv48 in [false, true] {
        let mut machine = machine_of(sv48);
        machine.map(TABLE, 0, page_at(0x30_0000));
        // A device, a page beyond all memory, a table where none can be, and an entry that is not valid.
        machine.map(TABLE, 1, page_at(0x1000_0000));
        machine.map(TABLE, 2, page_at(0x00ff_ffff_ffff_f000));
        machine.map(TABLE, 3, table_at(0x31_0000));
        machine.map(TABLE, 4, page_at(0x31_0000) & !VALID);
        // With the memory attributes of Svpbmt.
        machine.map(TABLE, 511, page_at(0x9_e000) | 1 << 61);
        machine.map(DIRECTORY, 1, frame(0x80_0000) | VALID | READ | EXECUTE);
        // Reaches over the end of RAM.
        machine.map(DIRECTORY, 2, page_at(0x1e0_0000));
        // Behind kernel_vm_end.
        machine.map(DIRECTORY, 4, page_at(0xa0_0000));
        machine.mark(0x1000);
        let mut expected = vec![(0x1000, 0x2000), (0x9_e000, 0x9_f000)];
        expected.extend(ALWAYS);
        expected.extend([(0x30_0000, 0x30_1000), (0x80_0000, 0xa0_0000), (0x1e0_0000, 0x200_0000)]);
        assert_eq!(machine.runs().unwrap(), expected);
        assert_eq!(lost(&machine), 0);
        // A table is as it is in memory; a superpage is so many pages, as the kernel writes them.
        let table = entries(&machine, 0);
        assert_eq!(table[..5], machine.pages[&TABLE][..5]);
        assert_eq!(table[511], page_at(0x9_e000) | 1 << 61);
        for (number, entry) in (0..).zip(entries(&machine, 1)) {
            assert_eq!(entry, frame(0x80_0000 + number * PAGE) | VALID | READ | EXECUTE, "{number}");
        }
        assert_eq!(entries(&machine, 3), [0; 512]);
    }
}

#[test]
fn a_page_of_1_gib_becomes_512_superpages() {
    let mut machine = machine();
    machine.map(POINTERS, 257, page_at(0x4000_0000));
    machine.set_words("kernel_vm_end", [MAP + GIB]);
    let found = machine.with(None, |live| {
        let snapshot = live.snapshot()?;
        assert!(snapshot.page_set().contains(0x7fff_f000));
        Ok((snapshot.superpages, snapshot.directory(1).unwrap().to_vec()))
    });
    let (superpages, directory) = found.unwrap();
    assert_eq!((superpages, directory.len()), (1024, 512));
    assert_eq!((directory[0], directory[511]), (page_at(0x4000_0000), page_at(0x4000_0000 + 511 * SUPERPAGE)));
}

#[test]
fn tables_outside_of_ram_and_those_that_cannot_be_read_lead_nowhere() {
    for sv48 in [false, true] {
        let mut machine = machine_of(sv48);
        machine.unreadable.insert(0x10_6000);
        for (index, at) in [0xa_0000, 0x10_6000, 0xfee0_0000].into_iter().enumerate() {
            machine.map(DIRECTORY, index + 1, table_at(at));
            machine.map(POINTERS, index + 258, table_at(at));
        }
        machine.set_words("kernel_vm_end", [KERNEL_MAP_END]);
        assert_eq!(lost(&machine), 6);
        assert_eq!(machine.runs().unwrap(), ALWAYS);
    }
}

#[test]
fn tables_that_point_to_each_other_are_walked_once() {
    let mut machine = machine_of(true);
    machine.set_words("kernel_vm_end", [KERNEL_MAP_END]);
    for index in 258..512 {
        machine.map(POINTERS, index, table_at([L0, POINTERS, DIRECTORY][index % 3]));
        machine.map(DIRECTORY, index, table_at([POINTERS, DIRECTORY, TABLE][index % 3]));
        machine.map(TABLE, index, page_at([POINTERS, DIRECTORY, TABLE][index % 3]));
    }
    let runs = machine.runs().unwrap();
    assert!(runs.iter().any(|(start, end)| *start <= POINTERS && *end > POINTERS), "{runs:x?}");
}

#[test]
fn the_root_must_map_the_kernel() {
    let mut machine = machine();
    for (satp, words) in [
        (0, "no value of satp"),
        // Sv57, and the address space of a process.
        (10 << 60 | POINTERS >> 12, "no value of satp"),
        (8 << 60 | 1 << 44 | POINTERS >> 12, "no value of satp"),
        (8 << 60 | 0xa0, "no page of RAM"),
        (8 << 60 | ((1 << 44) - 1), "no page of RAM"),
        (8 << 60 | TABLE >> 12, "do not map the kernel"),
        // The other format.
        (9 << 60 | POINTERS >> 12, "do not map the kernel"),
        (8 << 60 | L0 >> 12, "do not map the kernel"),
    ] {
        set_root(&mut machine, satp);
        let error = machine.error();
        assert!(error.contains("kernel_pmap_store") && error.contains(words), "{satp:#x}: {error}");
    }
}

#[test]
fn what_the_direct_map_does_not_reach_is_left_out_and_never_read() {
    let mut machine = machine();
    check_unreached(&mut machine, DIRECT_MAP, &ALWAYS);
    for end in [0, RAM[2].1, DIRECT_MAP + RAM[2].1 + PAGE, DIRECT_MAP - PAGE, u64::MAX] {
        machine.set_words("dmap_max_addr", [end]);
        assert!(machine.error().contains("that dumps from user space do not support"), "{end:#x}");
    }
}

/// Variables that no kernel has, and words of what is said about them.
#[test]
fn senseless_variables_are_refused() {
    let cases: Vec<(&'static str, Vec<u64>, &str)> = vec![
        ("dump_avail", vec![0x1000, (1 << 56) + PAGE, 0, 0], "range 0"),
        ("vm_page_dump_pages", vec![0], "dump_avail has"),
        ("vm_page_dump", vec![DIRECT_MAP + 0xa_0000], "there is no RAM"),
        ("vm_page_dump", vec![u64::MAX], "there is no RAM"),
        ("msgbufp", vec![DIRECT_MAP - 8], "there is no RAM"),
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
        sv48 in any::<bool>(),
        entries in proptest::collection::vec((0usize..4, 0usize..512, prop_oneof![
            any::<u64>(),
            (0u64..0x200).prop_map(|page| table_at(page * PAGE)),
            (0u64..0x200, any::<u8>()).prop_map(|(page, flags)| frame(page * PAGE) | u64::from(flags)),
        ]), 0..60),
    ) {
        let mut machine = machine_of(sv48);
        for (table, index, entry) in entries {
            machine.map([L0, POINTERS, DIRECTORY, TABLE][table], index, entry);
        }
        machine.set_words("kernel_vm_end", [KERNEL_MAP_END]);
        // Without the kernel's image it is no kernel.
        let Ok(runs) = machine.runs() else { return Ok(()) };
        for (start, end) in runs {
            prop_assert!(RAM.iter().any(|(from, to)| *from <= start && end <= *to));
        }
    }
}
