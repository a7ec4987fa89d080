//! Arrays of counters that a structure tells the names of: each of its members of 64 bits is one counter(9).
//!
//! Sources: `VNET_PCPUSTAT_DEFINE` in `sys/net/vnet.h`, `COUNTER_ARRAY_COPY` in `sys/sys/counter.h`.

use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::kernel::Object;
use crate::types::{Kind, TypeId, TypeTable};
use serde::Serialize;

/// Bytes of a counter's member.
const SIZE: u64 = 8;
/// More counters than any structure has.
const MAX_COUNTERS: u64 = 1 << 12;

/// A counter, or several of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCounter {
    /// The name of the member.
    pub name: String,
    /// Its value.
    pub value: CounterValue,
}

/// The value of a counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CounterValue {
    /// Of one.
    One(Option<u64>),
    /// Of an array of them.
    Several(Vec<Option<u64>>),
}

/// A member that has counters: its name, the index of the first one, and how many, if it is an array.
struct Slot {
    name: String,
    first: u64,
    count: Option<u64>,
}

/// Reads an array of counters, which is called so, by the structure that names them.
///
/// # Errors
///
/// The kernel's types lack the array or the structure.
pub(super) fn read_counters(
    reader: &mut Reader<'_>,
    what: &str,
    array: &Object<'_>,
    structure: &str,
) -> Result<Vec<NamedCounter>> {
    let types = reader.typed.types;
    let slots = slots(types, reader.typed.structure(structure)?);
    let room = array.count().ok_or_else(|| Error::Unsupported(format!("{what} is no array")))?.min(MAX_COUNTERS);
    // One read for all pointers to the counters.
    let array = array.fetched()?;
    let mut counter = |name: &str, index: u64| {
        let pointer = (index < room).then(|| array.index(index))?;
        reader.counter(&format_args!("{name} of {what}"), pointer)
    };
    let value = |Slot { name, first, count }: Slot| {
        let value = match count {
            None => CounterValue::One(counter(&name, first)),
            Some(count) => {
                let indices = first..first.saturating_add(count).min(room);
                CounterValue::Several(indices.map(|index| counter(&name, index)).collect())
            }
        };
        NamedCounter { name, value }
    };
    Ok(slots.into_iter().map(value).collect())
}

/// The members of a structure that are counters. Those of another size share one with their neighbours.
fn slots(types: &TypeTable, structure: TypeId) -> Vec<Slot> {
    let members = types.aggregate(structure).into_iter().flat_map(|of| &of.members);
    let slot = |member: &crate::types::Member| {
        let (element, count) = match &types.get(types.strip(member.type_id)).kind {
            Kind::Array { element, count: Some(count) } => (*element, Some(*count)),
            Kind::Array { .. } => return None,
            _ => (member.type_id, None),
        };
        let is_counter = types.size_of(element) == Some(SIZE) && member.bit_offset.is_multiple_of(8 * SIZE);
        let first = member.bit_offset / (8 * SIZE);
        is_counter.then(|| Slot { name: member.name.to_string(), first, count })
    };
    members.filter_map(slot).collect()
}
