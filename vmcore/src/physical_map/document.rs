//! The map in JSON.

use super::{AbsentLayer, FreeArea, Kind, Layer, PhysicalMap};
use crate::units::Hex;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

#[derive(Serialize)]
struct MapDocument<'a> {
    start: Hex,
    end: Hex,
    size: u64,
    layers: Vec<LayerDocument<'a>>,
    absent: Vec<AbsentDocument<'a>>,
    free_areas: Option<Vec<AreaDocument>>,
}

#[derive(Serialize)]
struct LayerDocument<'a> {
    layer: &'static str,
    source: &'a str,
    bytes_covered: u64,
    kind_totals: Vec<TotalDocument<'a>>,
    ranges: RangeList<'a>,
}

#[derive(Serialize)]
struct TotalDocument<'a> {
    #[serde(flatten)]
    kind: KindDocument<'a>,
    bytes_total: u64,
    range_count: u64,
}

#[derive(Serialize)]
struct KindDocument<'a> {
    kind: &'static str,
    domain: Option<u32>,
    order: Option<u32>,
    text: &'a str,
}

#[derive(Serialize)]
struct RangeDocument<'a> {
    start: Hex,
    end: Hex,
    size: u64,
    #[serde(flatten)]
    kind: KindDocument<'a>,
}

#[derive(Serialize)]
struct AbsentDocument<'a> {
    layer: &'static str,
    why: &'a str,
}

#[derive(Serialize)]
struct AreaDocument {
    domain: u32,
    order: u32,
    block_size: u64,
    block_count: Option<u64>,
    fragmentation_index: Option<i64>,
}

/// Ranges, each written as it comes: there can be millions.
struct RangeList<'a>(&'a Layer);

impl Serialize for RangeList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for range in &self.0.ranges {
            let Some(kind) = self.0.kind(range) else { continue };
            let (start, end, size) = (Hex(range.start), Hex(range.end), range.size());
            list.serialize_element(&RangeDocument { start, end, size, kind: kind.into() })?;
        }
        list.end()
    }
}

impl<'a> From<&'a Kind> for KindDocument<'a> {
    fn from(kind: &'a Kind) -> Self {
        Self { kind: kind.class.name(), domain: kind.domain, order: kind.order(), text: &kind.text }
    }
}

impl<'a> From<&'a Layer> for LayerDocument<'a> {
    fn from(layer: &'a Layer) -> Self {
        let totals = layer.totals().into_iter().map(|total| TotalDocument {
            kind: total.kind.into(),
            bytes_total: total.bytes,
            range_count: total.ranges,
        });
        Self {
            layer: layer.name.name(),
            source: &layer.source,
            bytes_covered: layer.bytes(),
            kind_totals: totals.collect(),
            ranges: RangeList(layer),
        }
    }
}

impl<'a> From<&'a AbsentLayer> for AbsentDocument<'a> {
    fn from(absent: &'a AbsentLayer) -> Self {
        Self { layer: absent.name.name(), why: &absent.why }
    }
}

impl From<&FreeArea> for AreaDocument {
    fn from(area: &FreeArea) -> Self {
        Self {
            domain: area.domain,
            order: area.order,
            block_size: area.block_size,
            block_count: area.blocks,
            fragmentation_index: area.fragmentation,
        }
    }
}

impl Serialize for PhysicalMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = MapDocument {
            start: Hex(0),
            end: Hex(self.end),
            size: self.end,
            layers: self.layers.iter().map(LayerDocument::from).collect(),
            absent: self.absent.iter().map(AbsentDocument::from).collect(),
            free_areas: self.free_areas.as_ref().map(|areas| areas.iter().map(AreaDocument::from).collect()),
        };
        document.serialize(serializer)
    }
}
