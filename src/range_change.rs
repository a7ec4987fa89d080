//! Changing memory ranges on a host: checked against the kernel's rules beforehand, read back afterwards.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::memory_map::MemoryMap;
use crate::ranges::default_type::{Basis, Defaults};
use crate::ranges::effective::{self, Effective, EffectiveRange};
use crate::ranges::request::Request;
use crate::ranges::rules::{Rules, Table};
use crate::ranges::{self, CacheType, Descriptor, Owner};
use ioctl_defs::memrange::Mdf;
use vmcore::units::Hex;

/// A range to establish or to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Physical base address.
    pub base: u64,
    /// Length in bytes.
    pub length: u64,
    /// The cache type it shall have.
    pub cache: CacheType,
    /// Who will own it.
    pub owner: Owner,
    /// Do what is risky: make RAM uncacheable or write-protected, and replace ranges of unknown type.
    pub force: bool,
}

/// A slot of the table before and after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its place in the table.
    pub index: usize,
    /// The range before.
    pub before: Descriptor,
    /// The range after.
    pub after: Descriptor,
}

/// What a change did, or in a dry run would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The slots that are different afterwards.
    pub differences: Vec<Difference>,
    /// What the user should know about it.
    pub warnings: Vec<String>,
}

/// How a change is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Check only; the host is not changed.
    DryRun,
    /// Check, change, read back.
    Apply,
}

/// Establishes or changes a range.
///
/// # Errors
///
/// The rule that the request breaks, RAM that would become uncacheable or write-protected without `force`,
/// the kernel's refusal, or a table that is not as expected afterwards.
///
/// ```
/// use memtool::host::{self, Host, Selection};
/// use memtool::range_change::{Mode, Update, update};
/// use memtool::ranges::{CacheType, Owner};
/// use std::path::Path;
///
/// let host = host::open(&Selection { machine: Some(Path::new("demo")), device: None })?;
/// let change = Update {
///     base: 0x4000_0000,
///     length: 0x1000_0000,
///     cache: CacheType::WriteCombine,
///     owner: Owner::default(),
///     force: false,
/// };
/// let outcome = update(&*host, &change, Mode::DryRun)?;
/// assert_eq!(outcome.differences.len(), 1);
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn update(host: &dyn Host, update: &Update, mode: Mode) -> Result<Outcome> {
    let table = host.range_table()?;
    let is_x86 = table.rules() == Rules::X86;
    let force = if update.force && is_x86 { Mdf::FORCE } else { Mdf::empty() };
    let wanted = Descriptor {
        base: update.base,
        length: update.length,
        flags: update.cache.flag() | force,
        owner: update.owner.clone(),
    };
    let map = host.memory_map();
    let mut expected = table.clone();
    let request = Request::Update(wanted.clone());
    expected.apply(&request).map_err(|violation| Error::Rule { request: describe(&request), violation })?;
    check_extent(&table, &wanted)?;
    let (start, end) = table.extent_of_update(&wanted);
    if !update.force && is_x86 {
        check_ram(&map, update.cache, start, end)?;
    }
    let mut warnings = Vec::new();
    if (start, end) != (wanted.base, wanted.end()) {
        warnings.push(format!("fixed ranges are changed whole, so this reaches from {} to {end:#x}", Hex(start)));
    }
    if let Ok(map) = &map {
        let change = Change { before: &table, after: &expected, defaults: &defaults(host, &table), map };
        warnings.extend(change.warnings(start, end));
    }
    finish(host, &table, &expected, &request, mode, warnings)
}

/// Removes the range with this base and length.
///
/// # Errors
///
/// The rule that the request breaks, the kernel's refusal, or a table that is not as expected afterwards.
pub fn remove(host: &dyn Host, base: u64, length: u64, mode: Mode) -> Result<Outcome> {
    let defaults = defaults(host, &host.range_table()?);
    let wanted = Descriptor { base, length, flags: Mdf::empty(), owner: Owner::default() };
    remove_one(host, wanted, None, &defaults, mode)
}

/// What holds where no range is: known from the registers, or from the ranges as they are before a change.
fn defaults(host: &dyn Host, table: &Table) -> Defaults {
    Defaults::find(host.processor_registers().ok().as_ref(), table, host.memory_map().ok().as_ref())
}

/// Removes a range; with an owner only if it is that owner's.
fn remove_one(
    host: &dyn Host,
    wanted: Descriptor,
    owner: Option<&Owner>,
    defaults: &Defaults,
    mode: Mode,
) -> Result<Outcome> {
    let table = host.range_table()?;
    let request = Request::Remove(wanted.clone());
    let mut expected = table.clone();
    expected.apply(&request).map_err(|violation| Error::Rule { request: describe(&request), violation })?;
    check_first_match(&table, &wanted, owner)
        .map_err(|why| Error::Refused(format!("{}: {why}", describe(&request))))?;
    let warnings = match host.memory_map() {
        Ok(map) => Change { before: &table, after: &expected, defaults, map: &map }.warnings(wanted.base, wanted.end()),
        Err(_) => Vec::new(),
    };
    finish(host, &table, &expected, &request, mode, warnings)
}

/// Removes every active range of an owner that is not fixed. A failure does not keep the others from being
/// removed; each range has its own result.
///
/// # Errors
///
/// The list of ranges cannot be had, or the owner has none.
pub fn remove_owner(host: &dyn Host, owner: &Owner, mode: Mode) -> Result<Vec<Result<Outcome>>> {
    let table = host.range_table()?;
    let owned =
        |range: &&Descriptor| range.owner == *owner && range.is_active() && !range.flags.contains(Mdf::FIXACTIVE);
    let ranges: Vec<Descriptor> = table.descriptors().iter().filter(owned).cloned().collect();
    if ranges.is_empty() {
        return Err(Error::Refused(format!("owner '{owner}' has no active range that can be removed")));
    }
    // Not asked again: what has been removed shows nothing any more.
    let defaults = defaults(host, &table);
    let bare = |range: Descriptor| Descriptor { flags: Mdf::empty(), owner: Owner::default(), ..range };
    Ok(ranges.into_iter().map(|range| remove_one(host, bare(range), Some(owner), &defaults, mode)).collect())
}

/// The kernel takes the first entry with the base and length, whosever it is, and a free slot has some too.
fn check_first_match(table: &Table, wanted: &Descriptor, owner: Option<&Owner>) -> Result<(), String> {
    let mut matching = table.descriptors().iter().filter(|range| range.has_extent_of(wanted));
    let wants = |range: &Descriptor| range.is_active() && owner.is_none_or(|owner| range.owner == *owner);
    let first = matching.next();
    if first.is_none_or(wants) {
        return Ok(());
    }
    Err(match matching.find(|range| wants(range)) {
        Some(range) => format!(
            "the kernel would change another entry with this base and length, which precedes {range} in its table"
        ),
        None => "no active range has exactly that base and length".to_owned(),
    })
}

fn finish(
    host: &dyn Host,
    table: &Table,
    expected: &Table,
    request: &Request,
    mode: Mode,
    warnings: Vec<String>,
) -> Result<Outcome> {
    if mode == Mode::Apply {
        host.set_range(request)?;
        let actual = host.range_descriptors()?;
        verify(expected.descriptors(), &actual)?;
    }
    let pairs = table.descriptors().iter().zip(expected.descriptors()).enumerate();
    let differences = pairs
        .filter(|(_, (before, after))| before != after)
        .map(|(index, (before, after))| Difference { index, before: before.clone(), after: after.clone() })
        .collect();
    Ok(Outcome { differences, warnings })
}

/// Compares the kernel's table with what its rules promise. What an inactive slot says does not matter.
fn verify(expected: &[Descriptor], actual: &[Descriptor]) -> Result<()> {
    if expected.len() != actual.len() {
        return Err(Error::Unexpected(format!("it has {} ranges instead of {}", actual.len(), expected.len())));
    }
    for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        let same = if expected.is_active() { expected == actual } else { !actual.is_active() };
        if !same {
            return Err(Error::Unexpected(format!(
                "range {index} should be {}, but is {}; check 'memtool ranges list --all --no-join' before doing anything else",
                state(expected),
                state(actual)
            )));
        }
    }
    Ok(())
}

fn state(range: &Descriptor) -> String {
    if range.is_active() {
        format!("{range} [{}]", ranges::flag_names(range.flags).join(" "))
    } else {
        "inactive".to_owned()
    }
}

fn describe(request: &Request) -> String {
    let (verb, range) = match request {
        Request::Update(range) => ("update", range),
        Request::Remove(range) => ("remove", range),
    };
    format!("cannot {verb} memory range {}+{}", Hex(range.base), Hex(range.length))
}

/// An x86 kernel drops address bits that the processor does not have, and changes another range than the one asked for;
/// of a range without a length a powerpc kernel only says that it is there.
fn check_extent(table: &Table, wanted: &Descriptor) -> Result<()> {
    let request = || describe(&Request::Update(wanted.clone()));
    if wanted.length == 0 {
        return Err(Error::Refused(format!("{}: length 0", request())));
    }
    if wanted.end() > table.physical_end() {
        let end = table.physical_end();
        return Err(Error::Refused(match table.rules() {
            Rules::X86 => format!(
                "{}: the range ends beyond {end:#x}, the end of the processor's physical addresses; the kernel would drop the upper bits and change another range",
                request()
            ),
            Rules::PowerPc => format!("{}: the range ends beyond the address space", request()),
        }));
    }
    Ok(())
}

fn check_ram(map: &Result<MemoryMap>, cache: CacheType, start: u64, end: u128) -> Result<()> {
    if !matches!(cache, CacheType::Uncacheable | CacheType::WriteProtect) {
        return Ok(());
    }
    let map = map.as_ref().map_err(|error| {
        Error::Refused(format!(
            "whether {}..{end:#x} is RAM is unknown ({error}), and RAM must not become {cache}; --force does it anyway",
            Hex(start)
        ))
    })?;
    match map.ram_within(start, end).first() {
        None => Ok(()),
        Some((from, to)) => Err(Error::Refused(format!(
            "{}..{} is RAM ({}), and making it {cache} can hang the machine; --force does it anyway",
            Hex(*from),
            Hex(*to),
            map.source.name()
        ))),
    }
}

/// A change, to be judged by the types that result.
struct Change<'a> {
    before: &'a Table,
    after: &'a Table,
    defaults: &'a Defaults,
    map: &'a MemoryMap,
}

/// The type at an address, the default type included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Type {
    effective: Effective,
    /// How far the default type is known, where it holds.
    default: Option<Basis>,
}

impl Type {
    fn at(table: &Table, defaults: &Defaults, address: u64) -> Self {
        match effective::at(table, address) {
            Effective::Default => {
                let default = defaults.at(address);
                let effective = default.cache.map_or(Effective::Default, Effective::Cache);
                Self { effective, default: Some(default.basis) }
            }
            effective => Self { effective, default: None },
        }
    }

    fn is(self, cache: CacheType) -> bool {
        self.effective == Effective::Cache(cache)
    }

    fn is_unknown_default(self) -> bool {
        self.default == Some(Basis::Unknown)
    }

    fn is_cached(self) -> bool {
        matches!(self.effective, Effective::Cache(cache) if !matches!(cache, CacheType::Uncacheable | CacheType::WriteCombine))
    }

    /// After "is" or "becomes".
    fn describe(self) -> String {
        let name = self.effective.name();
        match self.default {
            None => name.to_owned(),
            Some(Basis::Processor) => format!("{name} by default"),
            Some(Basis::Inferred) => format!("{name} by default, most likely,"),
            Some(Basis::Unknown) => "of the default type, which is not known,".to_owned(),
        }
    }
}

/// Something to warn of, for each run of addresses.
struct Hazard {
    in_ram: bool,
    is_one: fn(Type, Type) -> bool,
    text: fn(&str, Type, Type) -> String,
}

const HAZARDS: [Hazard; 2] = [
    Hazard {
        in_ram: true,
        is_one: |before, after| {
            let may_be_write_back = before.is(CacheType::WriteBack) || before.is_unknown_default();
            may_be_write_back && after.effective != before.effective && !after.is(CacheType::WriteBack)
        },
        text: |place, before, after| {
            let after = after.describe();
            format!("RAM at {place} is {} now and becomes {}", before.describe(), after.trim_end_matches(','))
        },
    },
    Hazard {
        in_ram: false,
        is_one: |before, after| {
            !before.is_cached() && (after.is_cached() || after.is_unknown_default() && after != before)
        },
        text: |place, _, after| {
            format!(
                "{place} is not RAM and becomes {}; if devices have registers there, that can hang the machine",
                after.describe().trim_end_matches(',')
            )
        },
    },
];

impl Change<'_> {
    /// Warns of RAM that stops being write-back and of device memory that becomes cached. Ranges of powerpc are for
    /// mappings of /dev/mem only, which whoever makes them has chosen.
    fn warnings(&self, start: u64, end: u128) -> Vec<String> {
        if self.after.rules() == Rules::PowerPc {
            return Vec::new();
        }
        HAZARDS.iter().filter_map(|hazard| self.warning(hazard, start, end)).collect()
    }

    fn warning(&self, hazard: &Hazard, start: u64, end: u128) -> Option<String> {
        let mut found: Vec<(EffectiveRange, Type, Type)> = Vec::new();
        for piece in effective::pieces_cut_at(self.after, self.map, start, end, self.defaults.borders()) {
            let [before, after] = [self.before, self.after].map(|table| Type::at(table, self.defaults, piece.start));
            if piece.ram != hazard.in_ram || !(hazard.is_one)(before, after) {
                continue;
            }
            match found.last_mut() {
                Some((last, was, is)) if last.end == u128::from(piece.start) && (*was, *is) == (before, after) => {
                    last.end = piece.end;
                }
                _ => found.push((piece, before, after)),
            }
        }
        let ((piece, before, after), more) = found.split_first()?;
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        Some((hazard.text)(&format!("{}..{:#x}{more}", Hex(piece.start), piece.end), *before, *after))
    }
}

#[cfg(test)]
mod tests;
