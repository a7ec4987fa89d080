use super::default_type::{Basis, Defaults, Registers};
use super::effective::{self, Effective, explain};
use super::rules::Table;
use super::{CacheType, Descriptor, FLAG_NAMES, Owner, flag_names, join};
use crate::memory_map::{MapSource, MemoryMap};
use ioctl_defs::memrange::{Mdf, mem_range_desc};
use proptest::prelude::*;
use vmcore::segment::Segment;
use vmcore::units::Hex;

fn owner(name: &str) -> Owner {
    name.parse().unwrap()
}

fn range(base: u64, length: u64, flags: Mdf) -> Descriptor {
    Descriptor { base, length, flags, owner: owner("me") }
}

fn active(base: u64, length: u64, cache: CacheType) -> Descriptor {
    range(base, length, Mdf::ACTIVE | cache.flag())
}

fn fixed(base: u64, length: u64, cache: CacheType) -> Descriptor {
    range(base, length, Mdf::FIXBASE | Mdf::FIXLEN | Mdf::FIXACTIVE | Mdf::ACTIVE | cache.flag())
}

fn map(segments: &[(u64, u64)]) -> MemoryMap {
    let segments = segments.iter().map(|&(start, end)| Segment { start, end, domain: None }).collect();
    MemoryMap { source: MapSource::Smap, segments, reserved: Vec::new() }
}

// effective types

/// What the processor manuals say of ranges that overlap, by the set of their types.
fn manual(types: &[CacheType]) -> Effective {
    use CacheType::{Uncacheable, WriteBack, WriteThrough};
    let has = |cache| types.contains(&cache);
    let only = |allowed: &[CacheType]| types.iter().all(|cache| allowed.contains(cache));
    match types {
        [] => Effective::Default,
        _ if has(Uncacheable) => Effective::Cache(Uncacheable),
        [first, ..] if only(&[*first]) => Effective::Cache(*first),
        _ if only(&[WriteThrough, WriteBack]) => Effective::Cache(WriteThrough),
        _ => Effective::Undefined,
    }
}

/// Every list of up to four types.
fn lists_of_types() -> Vec<Vec<CacheType>> {
    let mut lists = vec![Vec::new()];
    let mut longest: Vec<Vec<CacheType>> = vec![Vec::new()];
    for _ in 0..4 {
        longest = longest
            .iter()
            .flat_map(|list| CacheType::ALL.map(|cache| list.iter().copied().chain([cache]).collect()))
            .collect();
        lists.extend(longest.clone());
    }
    lists
}

#[test]
fn every_mix_of_types_gives_what_the_processor_manuals_say_in_any_order() {
    let lists = lists_of_types();
    assert_eq!(lists.len(), 1 + 5 + 25 + 125 + 625);
    for types in lists {
        let ranges = types.iter().map(|cache| active(0x4000_0000, 0x1000, *cache)).collect();
        let table = Table::new(ranges);
        let explanation = explain(&table, 0x4000_0800);
        assert_eq!(explanation.effective, manual(&types), "{types:?}");
        assert_eq!(explanation.deciding, types.len());
        assert_eq!(effective::at(&table, 0x4000_1000), Effective::Default);
        assert_eq!(effective::at(&table, 0x3fff_ffff), Effective::Default);
    }
}

#[test]
fn a_range_that_the_kernel_does_not_understand_makes_the_type_unknown() {
    let there = active(0x4000_0000, 0x1000, CacheType::WriteBack);
    for odd in [
        Mdf::UNKNOWN,
        Mdf::WRITEBACK | Mdf::BOGUS,
        Mdf::empty(),
        Mdf::WRITEBACK | Mdf::UNCACHEABLE,
        Mdf::from_bits_retain(1 << 6),
        Mdf::WRITEBACK | Mdf::from_bits_retain(1 << 23),
    ] {
        let odd = range(0x4000_0000, 0x1000, Mdf::ACTIVE | odd);
        for ranges in [vec![odd.clone()], vec![there.clone(), odd.clone()], vec![odd.clone(), there.clone()]] {
            assert_eq!(effective::at(&Table::new(ranges), 0x4000_0000), Effective::Unknown, "{odd:?}");
        }
    }
}

#[test]
fn the_fixed_range_decides_below_1_mib_and_nowhere_else() {
    let variable = active(0, 0x20_0000, CacheType::Uncacheable);
    let table = Table::new(vec![fixed(0xf_f000, 0x1000, CacheType::WriteProtect), variable]);
    for (address, effective, deciding, covering) in [
        (0xf_efff, CacheType::Uncacheable, 1, 1),
        (0xf_f000, CacheType::WriteProtect, 1, 2),
        (0xf_ffff, CacheType::WriteProtect, 1, 2),
        (0x10_0000, CacheType::Uncacheable, 1, 1),
    ] {
        let explanation = explain(&table, address);
        assert_eq!(explanation.effective, Effective::Cache(effective), "{address:#x}");
        assert_eq!((explanation.deciding, explanation.covering.len()), (deciding, covering), "{address:#x}");
    }
}

#[test]
fn an_unknown_variable_range_has_no_say_below_1_mib_either() {
    let variable = range(0, 0x20_0000, Mdf::ACTIVE | Mdf::UNKNOWN);
    let table = Table::new(vec![fixed(0, 0x1_0000, CacheType::WriteBack), variable]);
    assert_eq!(effective::at(&table, 0x100), Effective::Cache(CacheType::WriteBack));
    assert_eq!(effective::at(&table, 0x1_0000), Effective::Unknown);
}

#[test]
fn pieces_cover_everything_once_and_each_has_one_type() {
    let table = Table::new(vec![
        active(0x1_0000, 0x8000, CacheType::WriteBack),
        active(0x1_4000, 0x4000, CacheType::Uncacheable),
        active(1 << 63, 1 << 63, CacheType::WriteCombine),
    ]);
    let map = map(&[(0x1_0000, 0x1_2000), (0x1_6000, 0x2_0000)]);
    let pieces = effective::pieces(&table, &map, 0xf000, 1 << 64);
    let shown: Vec<(u64, u128, bool, &str)> =
        pieces.iter().map(|piece| (piece.start, piece.end, piece.ram, piece.effective.name())).collect();
    assert_eq!(
        shown,
        [
            (0xf000, 0x1_0000, false, "default"),
            (0x1_0000, 0x1_2000, true, "write-back"),
            (0x1_2000, 0x1_4000, false, "write-back"),
            (0x1_4000, 0x1_6000, false, "uncacheable"),
            (0x1_6000, 0x1_8000, true, "uncacheable"),
            (0x1_8000, 0x2_0000, true, "default"),
            (0x2_0000, 1 << 63, false, "default"),
            (1 << 63, 1 << 64, false, "write-combine"),
        ]
    );
}

/// RAM of these segments with these ranges of the firmware.
fn inferred(ranges: &[(u64, u64, CacheType)], segments: &[(u64, u64)]) -> Defaults {
    let firmware = |&(base, length, cache): &(u64, u64, CacheType)| Descriptor {
        flags: Mdf::ACTIVE | Mdf::FIRMWARE | cache.flag(),
        ..active(base, length, cache)
    };
    Defaults::find(None, &Table::new(ranges.iter().map(firmware).collect()), Some(&map(segments)))
}

const GIB: u64 = 1 << 30;

#[test]
fn the_default_type_is_inferred_from_what_the_firmware_has_set_up() {
    use CacheType::{Uncacheable, WriteBack};
    let (low, high) = ((0, 3 * GIB), (4 * GIB, 8 * GIB));
    for (ranges, segments, below, above, beyond) in [
        // No range for RAM: it would be slow.
        (&[][..], &[low, high][..], Some(WriteBack), Some(WriteBack), Some(WriteBack)),
        (&[(3 * GIB, GIB, Uncacheable)], &[low, high], Some(WriteBack), Some(WriteBack), Some(WriteBack)),
        // Ranges for all RAM.
        (&[(0, 4 * GIB, WriteBack)], &[low], Some(Uncacheable), Some(Uncacheable), Some(Uncacheable)),
        (&[(0, 8 * GIB, WriteBack)], &[low, high], Some(Uncacheable), Some(Uncacheable), Some(Uncacheable)),
        // For RAM below 4 GiB only: TOP_MEM2.
        (&[(0, 4 * GIB, WriteBack)], &[low, high], Some(Uncacheable), Some(WriteBack), Some(Uncacheable)),
        // For some of it above, too: the rest has been forgotten.
        (
            &[(0, 4 * GIB, WriteBack), (4 * GIB, 2 * GIB, WriteBack)],
            &[low, high],
            Some(Uncacheable),
            Some(Uncacheable),
            Some(Uncacheable),
        ),
        // Nothing shows it.
        (&[], &[], None, None, None),
        (&[], &[high], None, None, None),
    ] {
        let defaults = inferred(ranges, segments);
        for (address, cache) in [(0xfee0_0000, below), (8 * GIB - 1, above), (8 * GIB, beyond)] {
            let found = defaults.at(address);
            assert_eq!(found.cache, cache, "{ranges:x?}, {segments:x?}, {address:#x}");
            let basis = if cache.is_some() { Basis::Inferred } else { Basis::Unknown };
            assert_eq!(found.basis, basis, "{ranges:x?}, {segments:x?}, {address:#x}");
        }
    }
}

#[test]
fn what_has_been_changed_since_the_firmware_shows_no_default_type() {
    let ram = map(&[(0, 3 * GIB)]);
    // A range of somebody else for RAM says nothing of what is needed.
    let mine = Table::new(vec![active(0, 2 * GIB, CacheType::WriteBack)]);
    assert_eq!(Defaults::find(None, &mine, Some(&ram)).at(0).cache, Some(CacheType::WriteBack));
    let removed = Descriptor { base: 0, length: 1 << 40, flags: Mdf::FIRMWARE | Mdf::UNCACHEABLE, owner: owner("") };
    let changed = Table::new(vec![removed]);
    assert_eq!(Defaults::find(None, &changed, Some(&ram)).at(0).basis, Basis::Unknown);
    assert_eq!(Defaults::find(None, &changed, None).at(0).basis, Basis::Unknown);
}

#[test]
fn the_registers_tell_the_default_type_and_top_mem2_where_it_is_in_force() {
    const FORCED: u64 = 3 << 21;
    let table = Table::new(Vec::new());
    let registers = |vendor: &str, def_type, syscfg, top| Registers {
        vendor: vendor.to_owned(),
        mtrr_def_type: Some(Hex(def_type)),
        syscfg: Some(Hex(syscfg)),
        top_mem2: Some(Hex(top)),
    };
    for (registers, below, above, beyond) in [
        (registers("AuthenticAMD", 0xc00, FORCED, 8 * GIB), "uncacheable", "write-back", "uncacheable"),
        (registers("HygonGenuine", 0xc04, FORCED, 8 * GIB), "write-through", "write-back", "write-through"),
        (registers("AuthenticAMD", 0xc00, 1 << 21, 8 * GIB), "uncacheable", "uncacheable", "uncacheable"),
        (registers("AuthenticAMD", 0xc00, 1 << 22, 8 * GIB), "uncacheable", "uncacheable", "uncacheable"),
        // Of another vendor these registers are something else.
        (registers("GenuineIntel", 0xc06, FORCED, 8 * GIB), "write-back", "write-back", "write-back"),
        // Bits that are no address.
        (
            registers("AuthenticAMD", 0xc05, FORCED, (8 * GIB) | 0x7f_ffff),
            "write-protect",
            "write-back",
            "write-protect",
        ),
    ] {
        let defaults = Defaults::find(Some(&registers), &table, None);
        for (address, cache) in [(4 * GIB - 1, below), (4 * GIB, above), (8 * GIB - 1, above), (8 * GIB, beyond)] {
            let found = defaults.at(address);
            assert_eq!(found.cache.map(CacheType::name), Some(cache), "{registers:?}, {address:#x}");
            assert_eq!(found.basis, Basis::Processor);
        }
    }
    // What is no type is not known.
    let odd = registers("GenuineIntel", 0xc02, 0, 0);
    assert_eq!(Defaults::find(Some(&odd), &table, None).at(0).basis, Basis::Unknown);
    // A hypervisor may hide SYSCFG: then only the ranges tell.
    let hidden = Registers { syscfg: None, top_mem2: None, ..registers("AuthenticAMD", 0xc00, 0, 0) };
    let made =
        Descriptor { flags: Mdf::ACTIVE | Mdf::FIRMWARE | Mdf::WRITEBACK, ..active(0, 4 * GIB, CacheType::WriteBack) };
    let ram = map(&[(0, 3 * GIB), (4 * GIB, 8 * GIB)]);
    let defaults = Defaults::find(Some(&hidden), &Table::new(vec![made]), Some(&ram));
    assert_eq!((defaults.at(0).basis, defaults.at(4 * GIB).basis), (Basis::Processor, Basis::Inferred));
    assert_eq!(defaults.at(4 * GIB).cache, Some(CacheType::WriteBack));
}

// joining

#[test]
fn joining_keeps_order_addresses_and_number() {
    let list = [
        active(0x1000, 0x1000, CacheType::WriteBack),
        active(0x2000, 0x2000, CacheType::WriteBack),
        active(0x4000, 0x1000, CacheType::Uncacheable),
        active(0x6000, 0x1000, CacheType::Uncacheable),
        Descriptor { owner: owner("you"), ..active(0x7000, 0x1000, CacheType::Uncacheable) },
    ];
    let joined: Vec<(u64, u128, usize)> =
        join::join(&list).iter().map(|joined| (joined.base, joined.end, joined.count)).collect();
    assert_eq!(joined, [(0x1000, 0x4000, 2), (0x4000, 0x5000, 1), (0x6000, 0x7000, 1), (0x7000, 0x8000, 1)]);
}

// owners

#[test]
fn an_owner_has_at_most_7_bytes_and_no_control_characters() {
    for good in ["", "a", "1234567", "é23456", "a b"] {
        assert_eq!(owner(good).as_str(), good);
    }
    for bad in ["12345678", "éééé", "a\0b", "a\nb", "\u{1b}[2J", "\u{7f}"] {
        let error = bad.parse::<Owner>().unwrap_err().to_string();
        assert!(error.contains("7 bytes") && !error.chars().any(char::is_control), "{error:?}");
    }
}

#[test]
fn the_kernels_owner_ends_at_its_first_nul() {
    for (bytes, expected) in
        [(*b"BIOS\0\0\0\0", "BIOS"), (*b"ab\0junk\0", "ab"), ([0; 8], ""), (*b"1234567\0", "1234567")]
    {
        let descriptor = Descriptor::from(mem_range_desc { mr_owner: bytes, ..mem_range_desc::default() });
        assert_eq!(descriptor.owner.as_str(), expected);
    }
}

/// A descriptor in JSON and back, as a recorded machine keeps it.
fn through_json(descriptor: &Descriptor) -> Result<Descriptor, serde_json::Error> {
    serde_json::from_str(&serde_json::to_string(descriptor).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_descriptor_goes_to_the_kernel_and_to_json_and_back_unchanged(
        base in any::<u64>(),
        length in any::<u64>(),
        flags in any::<u32>(),
        name in "[ -~]{0,7}",
    ) {
        let descriptor = Descriptor { base, length, flags: Mdf::from_bits_retain(flags), owner: owner(&name) };
        let raw = mem_range_desc::from(&descriptor);
        prop_assert_eq!((raw.mr_base, raw.mr_len, raw.mr_flags.cast_unsigned()), (base, length, flags));
        prop_assert_eq!(&raw.mr_owner[..name.len()], name.as_bytes());
        prop_assert!(raw.mr_owner[name.len()..].iter().all(|byte| *byte == 0), "the rest is NUL");
        prop_assert_eq!(&Descriptor::from(raw), &descriptor);
        prop_assert_eq!(&through_json(&descriptor).unwrap(), &descriptor);
    }

    #[test]
    fn whatever_the_kernel_says_can_be_recorded_and_read_back(
        flags in any::<i32>(),
        mr_owner in any::<[u8; 8]>(),
    ) {
        let raw = mem_range_desc { mr_base: 0x1000, mr_len: 0x1000, mr_flags: flags, mr_owner };
        let descriptor = Descriptor::from(raw);
        let shown = descriptor.memcontrol_line();
        prop_assert!(!shown.chars().any(char::is_control), "{:?} would reach the terminal", shown);
        match through_json(&descriptor) {
            Ok(back) => prop_assert_eq!(back, descriptor),
            Err(error) => prop_assert!(false, "{:?}: {error}", descriptor),
        }
    }
}

// flags

#[test]
fn flags_have_the_names_of_memcontrol_in_its_order_and_bits_without_a_name_a_number() {
    let names: Vec<&str> = FLAG_NAMES.iter().map(|(_, name)| *name).collect();
    assert_eq!(
        names[..12],
        [
            "uncacheable",
            "write-combine",
            "write-through",
            "write-back",
            "write-protect",
            "force",
            "unknown",
            "fixed-base",
            "fixed-length",
            "set-by-firmware",
            "active",
            "bogus",
        ]
    );
    assert_eq!(flag_names(Mdf::empty()), Vec::<String>::new());
    assert_eq!(flag_names(Mdf::from_bits_retain(1 << 6 | 1 << 23)), ["0x800040"]);
    assert_eq!(
        flag_names(Mdf::ACTIVE | Mdf::from_bits_retain(0x40) | Mdf::WRITEBACK),
        ["write-back", "active", "0x40"]
    );
    assert_eq!(flag_names(Mdf::BUSY | Mdf::FORCE), ["force", "busy"]);
}

#[test]
fn a_flag_that_is_no_flag_is_refused_by_name() {
    for bad in ["", "cached", "Active", "0x100000000", "-1", "0xzz"] {
        let text = format!(r#"{{"base":"0x0","length":"0x0","flags":["{bad}"]}}"#);
        let error = serde_json::from_str::<Descriptor>(&text).unwrap_err().to_string();
        assert!(error.contains(&format!("'{bad}'")), "{error}");
    }
}

#[test]
fn a_cache_type_is_exactly_one_known_attribute() {
    for cache in CacheType::ALL {
        assert_eq!(CacheType::from_flags(cache.flag() | Mdf::ACTIVE | Mdf::BUSY | Mdf::FORCE), Some(cache));
        assert_eq!(CacheType::from_flags(cache.flag() | Mdf::UNKNOWN), None);
        assert_eq!(CacheType::from_flags(cache.flag() | Mdf::from_bits_retain(1 << 10)), None);
    }
    assert_eq!(CacheType::from_flags(Mdf::WRITEBACK | Mdf::WRITETHROUGH), None);
    assert_eq!(CacheType::from_flags(Mdf::ACTIVE), None);
}

#[test]
fn a_range_knows_its_end_even_at_the_top_of_the_address_space() {
    let top = active(1 << 63, 1 << 63, CacheType::WriteBack);
    assert_eq!(top.end(), 1 << 64);
    assert!(top.contains(u64::MAX) && !top.contains((1 << 63) - 1));
    let empty = active(0x1000, 0, CacheType::WriteBack);
    assert!(!empty.contains(0x1000));
}
