//! The ranges of a map, one on a line.

use super::super::Context;
use memtool::Result;
use vmcore::physical_map::{LayerName, PhysicalMap};
use vmcore::table::cell;
use vmcore::units::{Hex, counted};

/// Prints them: layer, start, end, size, kind, domain, order and text.
pub fn print(context: &mut Context, map: &PhysicalMap) -> Result<()> {
    for layer in &map.layers {
        for range in &layer.ranges {
            let Some(kind) = layer.kind(range) else { continue };
            let line = [
                layer.name.name().to_owned(),
                Hex(range.start).to_string(),
                Hex(range.end).to_string(),
                range.size().to_string(),
                kind.class.name().to_owned(),
                cell(kind.domain),
                cell(kind.order()),
                kind.text.clone(),
            ];
            context.out.line(&line.join("\t"))?;
        }
    }
    print_areas(context, map)
}

/// Prints blocks of free memory whose addresses are unknown.
fn print_areas(context: &mut Context, map: &PhysicalMap) -> Result<()> {
    let areas = map.free_areas.iter().flatten().filter(|_| map.layer(LayerName::Free).is_none());
    for area in areas {
        let size = area.blocks.map(|blocks| blocks.saturating_mul(area.block_size));
        let blocks =
            area.blocks.map_or_else(|| "an unknown number of blocks".to_owned(), |blocks| counted(blocks, "block"));
        let (domain, order) = (area.domain, area.order);
        context.out.line(&format!("free\t-\t-\t{}\tfree\t{domain}\t{order}\t{blocks}", cell(size)))?;
    }
    Ok(())
}
