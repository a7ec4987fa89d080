//! Memory that the kernel's malloc(9) gave out, by type, as `vmstat -m` shows it.
//!
//! Sources: `struct malloc_type` in `sys/sys/malloc.h`, `sysctl_kern_malloc_stats()` and `kmemzones` in
//! `sys/kern/kern_malloc.c`, `lib/libmemstat/memstat_malloc.c`.

use crate::error::Result;
use crate::inventory::reader::{MAX_NAME, Reader};
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::types::TypeId;
use crate::units::Hex;
use serde::Serialize;

/// More types than any kernel has.
const MAX_TYPES: usize = 1 << 14;
/// Sizes that the mask of a type has bits for.
const MAX_SIZES: u64 = 64;

/// A type of memory (`MALLOC_DEFINE`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MallocType {
    /// Its short description.
    pub name: Option<Name>,
    /// Allocations that were not freed.
    #[serde(rename = "in_use_count")]
    pub in_use: Option<u64>,
    /// Bytes that were not freed.
    #[serde(rename = "bytes_used")]
    pub bytes: Option<u64>,
    /// Allocations since the kernel started.
    #[serde(rename = "request_count")]
    pub requests: Option<u64>,
    /// Sizes of the zones that it was given memory of, in bytes; larger allocations are not among them.
    #[serde(rename = "zone_sizes")]
    pub sizes: Option<Vec<u64>>,
}

/// All types of memory that were ever used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MallocTypes {
    /// The types, in the order of vmstat(8): the latest one is the last of the kernel's list.
    pub types: Vec<MallocType>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// What the CPUs counted of a type.
#[derive(Default)]
struct Counted {
    allocated: u64,
    freed: u64,
    allocations: u64,
    frees: u64,
    sizes: u64,
}

impl MallocTypes {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the list, or its head cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let (head, counted) = (typed.variable("kmemstatistics")?, typed.structure("malloc_type_stats")?);
        let mut reader = Reader::new(typed);
        let found = reader.list(&"the list of types of memory", &head, "ks_next", MAX_TYPES)?;
        if found.is_empty() {
            reader.warn(|| "the list of types of memory is empty: every kernel has some".to_owned());
        }
        let zones = zone_sizes(&mut reader);
        let types = found.iter().rev().map(|at| read_type(&mut reader, at, counted, zones.as_deref()));
        let was_used = |found: &MallocType| (found.requests, found.in_use) != (Some(0), Some(0));
        let types = types.filter(was_used).collect();
        Ok(Self { types, warnings: reader.into_warnings() })
    }
}

impl Topic for MallocTypes {
    fn tables(&self) -> Vec<Table> {
        let columns = [right("Type"), right("Use"), right("Memory"), right("Req"), left("Size(s)")];
        vec![Table::new(columns, self.types.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn row(found: &MallocType) -> Vec<String> {
    let text = |sizes: &Vec<u64>| sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    vec![
        name_cell(found.name.as_ref()),
        cell(found.in_use),
        cell(found.bytes),
        cell(found.requests),
        cell(found.sizes.as_ref().map(text)),
    ]
}

/// The sizes of the zones that malloc(9) takes memory of.
fn zone_sizes(reader: &mut Reader<'_>) -> Option<Vec<u64>> {
    let zones = reader.typed.variable("kmemzones").ok()?;
    let count = zones.count().unwrap_or(MAX_SIZES).min(MAX_SIZES);
    let sizes = (0..count).map(|index| zones.index(index)?.member("kz_size")?.unsigned()).collect::<Result<Vec<_>>>();
    let sizes = reader.keep(|| "kmemzones".to_owned(), sizes)?;
    // The last one has no size.
    Some(sizes.into_iter().take_while(|size| *size != 0).collect())
}

fn read_type(reader: &mut Reader<'_>, at: &Object<'_>, stats: TypeId, zones: Option<&[u64]>) -> MallocType {
    let what = format!("the type of memory at {}", Hex(at.address()));
    let name = at.member("ks_shortdesc").and_then(|name| name.string(MAX_NAME));
    let name = reader.keep(|| format!("the name of {what}"), name).flatten();
    let counted = read_counted(reader, &what, at, stats);
    let of = |value: fn(&Counted) -> u64| counted.as_ref().map(value);
    let sizes = |zones: &[u64], mask: u64| {
        let is_used = |(bit, _): &(u32, &u64)| mask.checked_shr(*bit).is_some_and(|rest| rest & 1 == 1);
        (0..).zip(zones).filter(is_used).map(|(_, size)| *size).collect()
    };
    MallocType {
        name: name.map(Name::from),
        in_use: of(|counted| counted.allocations.wrapping_sub(counted.frees)),
        bytes: of(|counted| counted.allocated.wrapping_sub(counted.freed)),
        requests: of(|counted| counted.allocations),
        sizes: zones.zip(of(|counted| counted.sizes)).map(|(zones, mask)| sizes(zones, mask)),
    }
}

/// The sum of what each CPU counted.
fn read_counted(reader: &mut Reader<'_>, what: &str, at: &Object<'_>, stats: TypeId) -> Option<Counted> {
    let base = at.member("ks_mti.mti_stats").and_then(|stats| stats.follow());
    let base = reader.keep(|| what.to_owned(), base).flatten()?;
    let typed = reader.typed;
    let mut sum = Counted::default();
    for (cpu, address) in reader.parts(base.address())? {
        let read = add(&mut sum, &typed.object(address, stats));
        reader.keep(|| format!("what CPU {cpu} counted of {what}"), read)?;
    }
    Some(sum)
}

fn add(sum: &mut Counted, part: &Object<'_>) -> Result<()> {
    let part = part.fetched()?;
    let number = |member: &str| part.member(member)?.unsigned();
    sum.allocated = sum.allocated.wrapping_add(number("mts_memalloced")?);
    sum.freed = sum.freed.wrapping_add(number("mts_memfreed")?);
    sum.allocations = sum.allocations.wrapping_add(number("mts_numallocs")?);
    sum.frees = sum.frees.wrapping_add(number("mts_numfrees")?);
    sum.sizes |= number("mts_size")?;
    Ok(())
}
