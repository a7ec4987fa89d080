//! `Table::apply` against a second, plain writing-down of what the kernel does with a request to change memory
//! ranges (`sys/x86/x86/x86_mem.c`), on random tables and requests.

use ioctl_defs::memrange::Mdf;
use memtool::ranges::request::Request;
use memtool::ranges::rules::Table;
use memtool::ranges::{Descriptor, Owner};
use nix::errno::Errno;
use proptest::prelude::*;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The address width of the model's processor.
const BITS: u32 = 36;
const WIDTH: u64 = 1 << BITS;

const TYPES: [Mdf; 5] = [Mdf::UNCACHEABLE, Mdf::WRITECOMBINE, Mdf::WRITETHROUGH, Mdf::WRITEBACK, Mdf::WRITEPROTECT];

fn fixed_flags() -> Mdf {
    Mdf::FIXBASE | Mdf::FIXLEN | Mdf::FIXACTIVE
}

fn attribute(range: &Descriptor) -> Mdf {
    range.flags & Mdf::ATTRMASK
}

fn is_fixed(range: &Descriptor) -> bool {
    range.flags.contains(fixed_flags())
}

fn is_active(range: &Descriptor) -> bool {
    range.flags.contains(Mdf::ACTIVE)
}

// The model. Requests that wrap around the top of the address space are not its business.

fn model(table: &[Descriptor], request: &Request) -> Result<Vec<Descriptor>, Errno> {
    let mut table = table.to_vec();
    match request {
        Request::Update(wanted) => model_update(&mut table, wanted)?,
        Request::Remove(wanted) => model_remove(&mut table, wanted)?,
    }
    model_registers(&mut table);
    Ok(table)
}

fn model_update(table: &mut [Descriptor], wanted: &Descriptor) -> Result<(), Errno> {
    let well_formed = wanted.base.is_multiple_of(4 * KIB)
        && wanted.length >= 4 * KIB
        && wanted.length.count_ones() == 1
        && wanted.base.is_multiple_of(wanted.length)
        && TYPES.contains(&attribute(wanted));
    if !well_formed {
        return Err(Errno::EINVAL);
    }
    let has_fixed = table.iter().any(is_fixed);
    if has_fixed && wanted.base + wanted.length <= MIB {
        model_update_fixed(table, wanted)
    } else {
        model_update_variable(table, wanted)
    }
}

/// Every fixed range that has an address in common with the request, whole.
fn model_update_fixed(table: &mut [Descriptor], wanted: &Descriptor) -> Result<(), Errno> {
    let touched = |range: &Descriptor| is_fixed(range) && share_an_address(range, wanted);
    let force = wanted.flags.contains(Mdf::FORCE);
    if !force && table.iter().any(|range| touched(range) && attribute(range) == Mdf::UNKNOWN) {
        return Err(Errno::EACCES);
    }
    for range in table.iter_mut().filter(|range| touched(range)) {
        range.flags = (range.flags - Mdf::ATTRMASK - Mdf::FIRMWARE) | attribute(wanted);
        range.owner = wanted.owner.clone();
    }
    Ok(())
}

fn model_update_variable(table: &mut [Descriptor], wanted: &Descriptor) -> Result<(), Errno> {
    let variable: Vec<usize> = (0..table.len()).filter(|&place| !is_fixed(&table[place])).collect();
    let active: Vec<usize> = variable.iter().copied().filter(|&place| is_active(&table[place])).collect();
    let exact =
        active.iter().position(|&place| table[place].base == wanted.base && table[place].length == wanted.length);
    // The kernel walks the slots in order and stops at an exact match.
    for &place in &active[..exact.unwrap_or(active.len())] {
        if share_an_address(&table[place], wanted) && !may_overlap(&table[place], wanted) {
            return Err(Errno::EINVAL);
        }
    }
    let slot = match exact {
        Some(place) => {
            let there = &table[active[place]];
            if there.flags.contains(Mdf::BUSY) {
                return Err(Errno::EBUSY);
            }
            if attribute(there) == Mdf::UNKNOWN && !wanted.flags.contains(Mdf::FORCE) {
                return Err(Errno::EACCES);
            }
            active[place]
        }
        None => variable.iter().copied().find(|&place| !is_active(&table[place])).ok_or(Errno::ENOSPC)?,
    };
    table[slot] = Descriptor { flags: Mdf::ACTIVE | attribute(wanted), ..wanted.clone() };
    Ok(())
}

fn model_remove(table: &mut [Descriptor], wanted: &Descriptor) -> Result<(), Errno> {
    let found = table.iter_mut().find(|range| range.base == wanted.base && range.length == wanted.length);
    let range = found.ok_or(Errno::ENOENT)?;
    if range.flags.contains(Mdf::FIXACTIVE) {
        return Err(Errno::EPERM);
    }
    if range.flags.contains(Mdf::BUSY) {
        return Err(Errno::EBUSY);
    }
    range.flags -= Mdf::ACTIVE;
    range.owner = Owner::default();
    Ok(())
}

/// What the registers make of a table.
fn model_registers(table: &mut [Descriptor]) {
    for range in table {
        if is_active(range) && range.owner == Owner::default() {
            range.owner = "BIOS".parse().unwrap();
        }
        if is_fixed(range) {
            continue;
        }
        if is_active(range) {
            range.base %= WIDTH;
            range.length = range.length.min(WIDTH);
        } else {
            range.base = 0;
            range.length = WIDTH;
            range.flags = (range.flags - Mdf::ATTRMASK) | Mdf::UNCACHEABLE;
        }
    }
}

fn share_an_address(a: &Descriptor, b: &Descriptor) -> bool {
    let end = |range: &Descriptor| u128::from(range.base) + u128::from(range.length);
    u128::from(a.base) < end(b) && u128::from(b.base) < end(a)
}

fn may_overlap(a: &Descriptor, b: &Descriptor) -> bool {
    match (attribute(a), attribute(b)) {
        (Mdf::UNKNOWN, _) | (_, Mdf::UNKNOWN) => false,
        (Mdf::WRITEBACK, Mdf::UNCACHEABLE) | (Mdf::UNCACHEABLE, Mdf::WRITEBACK) => true,
        (a, b) => a == b,
    }
}

// Random tables: few addresses, so that ranges meet.

fn owner() -> impl Strategy<Value = Owner> {
    prop::sample::select(vec!["", "BIOS", "me", "1234567"]).prop_map(|name| name.parse().unwrap())
}

/// A base and length that the registers can hold: up to 8 MiB around 1 MiB, now and then far up.
fn aligned() -> impl Strategy<Value = (u64, u64)> {
    let far = prop::sample::select(vec![0, 0, 0, 0, 1 << 33, WIDTH - 8 * MIB, WIDTH, 5 * WIDTH]);
    (12u32..=22, 0u64..64, far).prop_map(|(shift, place, far)| {
        let length = 1 << shift;
        let base = (place * 64 * KIB) / length * length;
        (far / length * length + base % (4 * MIB), length)
    })
}

fn known_type() -> impl Strategy<Value = Mdf> {
    prop::sample::select(TYPES.to_vec())
}

fn any_type() -> impl Strategy<Value = Mdf> {
    prop_oneof![6 => known_type(), 1 => Just(Mdf::UNKNOWN)]
}

fn some_of(flags: Mdf) -> impl Strategy<Value = Mdf> {
    any::<u32>().prop_map(move |bits| Mdf::from_bits_retain(bits) & flags)
}

fn variable() -> impl Strategy<Value = Descriptor> {
    let active = (aligned(), any_type(), some_of(Mdf::FIRMWARE | Mdf::BUSY | Mdf::BOGUS), owner()).prop_map(
        |((base, length), cache, more, owner)| Descriptor { base, length, flags: Mdf::ACTIVE | cache | more, owner },
    );
    let free = some_of(Mdf::FIRMWARE).prop_map(|more| Descriptor {
        base: 0,
        length: WIDTH,
        flags: Mdf::UNCACHEABLE | more,
        owner: Owner::default(),
    });
    prop_oneof![2 => active, 1 => free]
}

/// The 88 fixed ranges with random types, or none.
fn fixed() -> impl Strategy<Value = Vec<Descriptor>> {
    let all = prop::collection::vec((any_type(), some_of(Mdf::FIRMWARE | Mdf::BUSY), owner()), 88).prop_map(|list| {
        let places = (0..8)
            .map(|i| (i * 64 * KIB, 64 * KIB))
            .chain((0..16).map(|i| (512 * KIB + i * 16 * KIB, 16 * KIB)))
            .chain((0..64).map(|i| (768 * KIB + i * 4 * KIB, 4 * KIB)));
        places
            .zip(list)
            .map(|((base, length), (cache, more, owner))| Descriptor {
                base,
                length,
                flags: fixed_flags() | Mdf::ACTIVE | cache | more,
                owner,
            })
            .collect()
    });
    prop_oneof![all, Just(Vec::new())]
}

fn table() -> impl Strategy<Value = Vec<Descriptor>> {
    (fixed(), prop::collection::vec(variable(), 1..6))
        .prop_map(|(fixed, variable)| fixed.into_iter().chain(variable).collect())
}

/// A request that is now and then one that a rule forbids, and often one for a range that is in the table.
fn request(table: Vec<Descriptor>) -> impl Strategy<Value = (Vec<Descriptor>, Request)> {
    let there: Vec<(u64, u64)> = table.iter().rev().take(12).map(|range| (range.base, range.length)).collect();
    let odd = (aligned(), prop::sample::select(vec![0u64, 1, 512, 2048, 4096]), 0u64..5).prop_map(
        |((base, length), more, kind)| match kind {
            0 => (base + more, length),
            1 => (base, length + more),
            2 => (base, more),
            3 => (base, length * 3),
            _ => (base + 4 * KIB, length),
        },
    );
    let place = prop_oneof![5 => aligned(), 4 => prop::sample::select(there), 1 => odd];
    let cache = prop_oneof![9 => known_type(), 1 => some_of(Mdf::ATTRMASK)];
    let more = some_of(Mdf::FORCE | Mdf::FIRMWARE | Mdf::BOGUS | Mdf::BUSY);
    (place, cache, more, owner(), any::<bool>(), 0..4).prop_map(
        move |((base, length), cache, more, owner, force, kind)| {
            let force = if force { Mdf::FORCE } else { Mdf::empty() };
            let wanted = Descriptor { base, length, flags: cache | (more - Mdf::FORCE) | force, owner };
            let request = if kind == 0 { Request::Remove(wanted) } else { Request::Update(wanted) };
            (table.clone(), request)
        },
    )
}

fn apply(table: &[Descriptor], request: &Request) -> Result<Vec<Descriptor>, Errno> {
    let mut applied = Table::with_physical_bits(table.to_vec(), BITS);
    match applied.apply(request) {
        Ok(()) => Ok(applied.descriptors().to_vec()),
        Err(violation) => {
            assert_eq!(applied.descriptors(), table, "a refused request must leave the table as it was");
            assert!(!violation.to_string().is_empty());
            Err(violation.errno())
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn the_rules_do_what_the_plain_model_does((table, request) in table().prop_flat_map(request)) {
        prop_assert_eq!(apply(&table, &request), model(&table, &request));
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn whatever_is_asked_for_the_answer_is_a_table_of_the_same_size_or_a_reason(
        table in table(),
        base in any::<u64>(),
        length in prop_oneof![any::<u64>(), (0u32..64).prop_map(|bit| 1u64 << bit)],
        align in any::<bool>(),
        flags in any::<u32>(),
        cache in known_type(),
    ) {
        let base = if align && length.is_power_of_two() { base & !(length - 1) } else { base };
        for flags in [Mdf::from_bits_retain(flags), cache] {
            let wanted = Descriptor { base, length, flags, owner: Owner::default() };
            for request in [Request::Update(wanted.clone()), Request::Remove(wanted)] {
                if let Ok(after) = apply(&table, &request) {
                    prop_assert_eq!(after.len(), table.len());
                }
            }
        }
    }

    #[test]
    fn what_was_updated_can_be_removed_by_the_same_base_and_length(
        (base, length) in aligned(),
        cache in known_type(),
    ) {
        prop_assume!(base + length <= WIDTH);
        let slot = Descriptor { base: 0, length: WIDTH, flags: Mdf::UNCACHEABLE, owner: Owner::default() };
        let wanted = Descriptor { base, length, flags: cache, owner: "me".parse().unwrap() };
        let mut table = Table::new(vec![slot.clone()]);
        table.apply(&Request::Update(wanted.clone())).unwrap();
        let there = Descriptor { flags: Mdf::ACTIVE | cache, ..wanted.clone() };
        prop_assert_eq!(table.descriptors(), &[there][..]);
        table.apply(&Request::Remove(wanted)).unwrap();
        prop_assert_eq!(table.descriptors(), &[slot][..]);
    }
}

fn free_slot(bits: u32) -> Descriptor {
    Descriptor { base: 0, length: 1 << bits, flags: Mdf::UNCACHEABLE, owner: Owner::default() }
}

#[test]
fn the_random_requests_meet_every_outcome() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = table().prop_flat_map(request);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..4000 {
        let (table, request) = strategy.new_tree(&mut runner).unwrap().current();
        let update = matches!(request, Request::Update(_));
        let outcome = apply(&table, &request).map(drop).map_err(|errno| errno as i32);
        *seen.entry((update, outcome)).or_insert(0) += 1;
    }
    let expected = [
        (true, Ok(())),
        (true, Err(Errno::EINVAL)),
        (true, Err(Errno::EACCES)),
        (true, Err(Errno::EBUSY)),
        (true, Err(Errno::ENOSPC)),
        (false, Ok(())),
        (false, Err(Errno::ENOENT)),
        (false, Err(Errno::EPERM)),
        (false, Err(Errno::EBUSY)),
    ];
    for (update, outcome) in expected {
        let outcome = outcome.map_err(|errno| errno as i32);
        assert!(seen.get(&(update, outcome)).is_some_and(|count| *count >= 10), "{update} {outcome:?}: {seen:?}");
    }
}

#[test]
fn an_inactive_slot_comes_back_as_the_whole_width_and_uncacheable() {
    let there = Descriptor {
        base: 0x4000_0000,
        length: 0x1000,
        flags: Mdf::ACTIVE | Mdf::WRITECOMBINE,
        owner: "me".parse().unwrap(),
    };
    for bits in [32, 36, 40, 52] {
        let mut table = Table::with_physical_bits(vec![there.clone()], bits);
        table.apply(&Request::Remove(there.clone())).unwrap();
        assert_eq!(table.descriptors(), [free_slot(bits)]);
    }
}

#[test]
fn address_bits_that_the_processor_does_not_have_are_lost() {
    for (base, length, expected) in [
        ((1 << 36) + 0x4000_0000, 0x1000, (0x4000_0000, 0x1000)),
        (1 << 40, 1 << 20, (0, 1 << 20)),
        (0, 1 << 50, (0, 1 << 36)),
        ((1 << 36) - 0x1000, 0x1000, ((1 << 36) - 0x1000, 0x1000)),
    ] {
        let mut table = Table::with_physical_bits(vec![free_slot(36)], 36);
        let wanted = Descriptor { base, length, flags: Mdf::WRITEBACK, owner: "me".parse().unwrap() };
        table.apply(&Request::Update(wanted)).unwrap();
        let after = &table.descriptors()[0];
        assert_eq!((after.base, after.length), expected, "{base:#x}+{length:#x}");
    }
}

#[test]
fn the_address_width_is_that_of_an_inactive_slot_and_the_architectures_without_one() {
    let active = Descriptor { flags: Mdf::ACTIVE | Mdf::WRITEBACK, ..free_slot(36) };
    assert_eq!(Table::new(vec![active.clone(), free_slot(40)]).physical_end(), 1 << 40);
    assert_eq!(Table::new(vec![free_slot(46)]).physical_end(), 1 << 46);
    assert_eq!(Table::new(vec![active]).physical_end(), 1 << 52);
    assert_eq!(Table::new(Vec::new()).physical_end(), 1 << 52);
}

#[test]
fn the_owner_of_an_active_range_without_one_becomes_the_firmware() {
    let wanted = Descriptor { base: 0x10_0000, length: 0x1000, flags: Mdf::WRITEBACK, owner: Owner::default() };
    let mut table = Table::new(vec![free_slot(36)]);
    table.apply(&Request::Update(wanted)).unwrap();
    assert_eq!(table.descriptors()[0].owner, Owner::firmware());
}
