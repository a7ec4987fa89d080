//! Changing memory ranges on a host: checked against the kernel's rules beforehand, read back afterwards.

use super::effective::{self, Effective, Piece};
use super::rules::{Request, Table};
use super::{CacheType, Descriptor, Owner};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::memory_map::MemoryMap;
use crate::units::Hex;
use ioctl_defs::memrange::Mdf;

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
pub fn update(host: &mut dyn Host, update: &Update, mode: Mode) -> Result<Outcome> {
    let table = Table::new(host.range_descriptors()?);
    let force = if update.force { Mdf::FORCE } else { Mdf::empty() };
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
    check_address_width(&table, &wanted)?;
    let (start, end) = table.extent_of_update(&wanted);
    if !update.force {
        check_ram(&map, update.cache, start, end)?;
    }
    let mut warnings = Vec::new();
    if (start, end) != (wanted.base, wanted.end()) {
        warnings.push(format!("fixed ranges are changed whole, so this reaches from {} to {end:#x}", Hex(start)));
    }
    if let Ok(map) = &map {
        warnings.extend(warn_about_types(&table, &expected, map, start, end));
    }
    finish(host, &table, &expected, &request, mode, warnings)
}

/// Removes the range with this base and length.
///
/// # Errors
///
/// The rule that the request breaks, the kernel's refusal, or a table that is not as expected afterwards.
pub fn remove(host: &mut dyn Host, base: u64, length: u64, mode: Mode) -> Result<Outcome> {
    remove_of(host, base, length, None, mode)
}

/// Removes a range; with an owner only if it is that owner's.
fn remove_of(host: &mut dyn Host, base: u64, length: u64, owner: Option<&Owner>, mode: Mode) -> Result<Outcome> {
    let table = Table::new(host.range_descriptors()?);
    let wanted = Descriptor { base, length, flags: Mdf::empty(), owner: Owner::default() };
    let request = Request::Remove(wanted.clone());
    let mut expected = table.clone();
    expected.apply(&request).map_err(|violation| Error::Rule { request: describe(&request), violation })?;
    check_first_match(&table, &wanted, owner)
        .map_err(|why| Error::Refused(format!("{}: {why}", describe(&request))))?;
    let warnings = match host.memory_map() {
        Ok(map) => warn_about_types(&table, &expected, &map, base, wanted.end()),
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
pub fn remove_owner(host: &mut dyn Host, owner: &Owner, mode: Mode) -> Result<Vec<Result<Outcome>>> {
    let table = Table::new(host.range_descriptors()?);
    let owned =
        |range: &&Descriptor| range.owner == *owner && range.is_active() && !range.flags.contains(Mdf::FIXACTIVE);
    let ranges: Vec<Descriptor> = table.descriptors().iter().filter(owned).cloned().collect();
    if ranges.is_empty() {
        return Err(Error::Refused(format!("no active range that can be removed is owned by '{owner}'")));
    }
    Ok(ranges.iter().map(|range| remove_of(host, range.base, range.length, Some(owner), mode)).collect())
}

/// The kernel takes the first entry with the base and length, whosever it is, and a free slot has some too.
fn check_first_match(table: &Table, wanted: &Descriptor, owner: Option<&Owner>) -> Result<(), String> {
    let mut matching =
        table.descriptors().iter().filter(|range| range.base == wanted.base && range.length == wanted.length);
    let wants = |range: &Descriptor| range.is_active() && owner.is_none_or(|owner| range.owner == *owner);
    let first = matching.next();
    if first.is_none_or(wants) {
        return Ok(());
    }
    Err(match matching.find(|range| wants(range)) {
        Some(range) => format!(
            "the kernel would take another entry with this base and length, which stands before {range} in its table, and leave that one as it is"
        ),
        None => "no active range has exactly that base and length".to_owned(),
    })
}

fn finish(
    host: &mut dyn Host,
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
        return Err(Error::Unexpected(format!("it has {} ranges in place of {}", actual.len(), expected.len())));
    }
    for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        let same = if expected.is_active() { expected == actual } else { !actual.is_active() };
        if !same {
            return Err(Error::Unexpected(format!(
                "range {index} should be {}, but is {}; look at it with 'memtool ranges list --all --no-join' before doing anything else",
                state(expected),
                state(actual)
            )));
        }
    }
    Ok(())
}

fn state(range: &Descriptor) -> String {
    if range.is_active() {
        format!("{range} [{}]", super::flag_names(range.flags).join(" "))
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

/// The kernel drops address bits that the processor does not have, and changes another range than the one
/// asked for.
fn check_address_width(table: &Table, wanted: &Descriptor) -> Result<()> {
    if wanted.end() > u128::from(table.physical_end()) {
        return Err(Error::Refused(format!(
            "cannot update memory range {}+{}: it ends beyond {}, where the processor's physical addresses end; the kernel would drop the upper bits and change another range",
            Hex(wanted.base),
            Hex(wanted.length),
            Hex(table.physical_end())
        )));
    }
    Ok(())
}

fn check_ram(map: &Result<MemoryMap>, cache: CacheType, start: u64, end: u128) -> Result<()> {
    if !matches!(cache, CacheType::Uncacheable | CacheType::WriteProtect) {
        return Ok(());
    }
    let map = map.as_ref().map_err(|error| {
        Error::Refused(format!(
            "whether {}..{end:#x} is RAM cannot be told ({error}), and RAM must not become {cache}; --force does it all the same",
            Hex(start)
        ))
    })?;
    match map.ram_within(start, end).first() {
        None => Ok(()),
        Some((from, to)) => Err(Error::Refused(format!(
            "{}..{} is RAM ({}), and making it {cache} can hang the machine; --force does it all the same",
            Hex(*from),
            Hex(*to),
            map.source.name()
        ))),
    }
}

/// Warns of RAM that loses its write-back range and of device memory that becomes cached.
fn warn_about_types(before: &Table, after: &Table, map: &MemoryMap, start: u64, end: u128) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |ram: bool, is_bad: fn(Effective, Effective) -> bool, text: fn(&str, Effective) -> String| {
        let mut bad: Vec<Piece> = Vec::new();
        for piece in effective::pieces(after, map, start, end) {
            if piece.ram != ram || !is_bad(effective::at(before, piece.start), piece.effective) {
                continue;
            }
            match bad.last_mut() {
                Some(last) if last.end == u128::from(piece.start) && last.effective == piece.effective => {
                    last.end = piece.end;
                }
                _ => bad.push(piece),
            }
        }
        if let Some((piece, more)) = bad.split_first() {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            warnings.push(text(&format!("{}..{:#x}{more}", Hex(piece.start), piece.end), piece.effective));
        }
    };
    warn(
        true,
        |before, after| before == Effective::Cache(CacheType::WriteBack) && after != before,
        |place, now| format!("RAM at {place} is write-back now and becomes {}", now.name()),
    );
    warn(
        false,
        |before, after| {
            before == Effective::Cache(CacheType::Uncacheable)
                && matches!(after, Effective::Cache(cache) if !matches!(cache, CacheType::Uncacheable | CacheType::WriteCombine))
        },
        |place, now| {
            format!(
                "{place} is not RAM and becomes {}; if devices have registers there, that can hang the machine",
                now.name()
            )
        },
    );
    warnings
}
