//! What a part of a layer consists of, for pictures in which many ranges are one cell.

use super::{Kind, Layer};

/// A share in percent, to the nearest tenth; what is something is not nothing, and what lacks something is not all.
pub fn percent(part: u64, whole: u64) -> String {
    let (part, whole) = (u128::from(part), u128::from(whole));
    match (part * 1000 + whole / 2).checked_div(whole) {
        None => "-".to_owned(),
        Some(0) if part > 0 => "< 0.1 %".to_owned(),
        Some(1000..) if part < whole => "> 99.9 %".to_owned(),
        Some(tenths) => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

/// What lies between two addresses: of each kind that has a part in it, how many bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// Places in [`Layer::kinds`], and bytes, in no order.
    pub kinds: Vec<(u16, u64)>,
}

impl Share {
    /// The share between two addresses.
    pub fn between(layer: &Layer, start: u64, end: u64) -> Self {
        let mut share = Self::default();
        for range in layer.within(start, end) {
            let bytes = range.end.min(end).saturating_sub(range.start.max(start));
            match share.kinds.iter_mut().find(|(kind, _)| *kind == range.kind) {
                Some((_, sum)) => *sum = sum.saturating_add(bytes),
                None => share.kinds.push((range.kind, bytes)),
            }
        }
        share
    }

    /// The kind that has most bytes, among those with a property; the first in the legend of several.
    pub fn main(&self, layer: &Layer, has: impl Fn(&Kind) -> bool) -> Option<u16> {
        let chosen = self.kinds.iter().filter(|(kind, _)| layer.kinds.get(usize::from(*kind)).is_some_and(&has));
        chosen.max_by_key(|(kind, bytes)| (*bytes, u16::MAX - *kind)).map(|(kind, _)| *kind)
    }

    /// Bytes of the kinds with a property.
    pub fn bytes(&self, layer: &Layer, has: impl Fn(&Kind) -> bool) -> u64 {
        let chosen = self.kinds.iter().filter(|(kind, _)| layer.kinds.get(usize::from(*kind)).is_some_and(&has));
        chosen.fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }
}
