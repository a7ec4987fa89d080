//! `memtool show vmstat-m`: memory that the kernel allocated with malloc(9), by type.

use super::{Document, Shown, cell, left, name_cell, right};
use serde::Serialize;
use vmcore::Result;
use vmcore::kernel::TypedMemory;
use vmcore::statistics::malloc_types::{MallocType, MallocTypes};
use vmcore::text::Name;

/// A type of memory in JSON.
#[derive(Serialize)]
pub struct TypeDocument {
    name: Option<Name>,
    in_use_count: Option<u64>,
    bytes_used: Option<u64>,
    request_count: Option<u64>,
    zone_sizes: Option<Vec<u64>>,
}

pub fn read(typed: TypedMemory<'_>) -> Result<Shown> {
    let MallocTypes { types, warnings } = MallocTypes::read(typed)?;
    // Types that were never used are left out, as vmstat(8) does.
    let types: Vec<_> =
        types.into_iter().filter(|found| (found.requests, found.in_use) != (Some(0), Some(0))).collect();
    Ok(Shown {
        headings: vec![right("Type"), right("Use"), right("Memory"), right("Req"), left("Size(s)")],
        rows: types.iter().map(row).collect(),
        document: Document {
            malloc_types: Some(types.into_iter().map(TypeDocument::new).collect()),
            ..Document::default()
        },
        warnings,
    })
}

fn row(found: &MallocType) -> Vec<String> {
    let text = |sizes: &Vec<u64>| sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    vec![
        name_cell(found.name.as_ref()),
        cell(found.in_use),
        cell(found.bytes),
        cell(found.requests),
        found.sizes.as_ref().map_or_else(|| "-".to_owned(), text),
    ]
}

impl TypeDocument {
    fn new(found: MallocType) -> Self {
        let MallocType { name, in_use, bytes, requests, sizes } = found;
        Self { name, in_use_count: in_use, bytes_used: bytes, request_count: requests, zone_sizes: sizes }
    }
}
