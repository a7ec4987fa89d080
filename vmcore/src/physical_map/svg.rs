//! A map as a drawing, SVG: a bar for each layer, all over the same axis of addresses.
//!
//! A drawing has no script and asks for nothing. Its width is that of where it is; text keeps its size. However many ranges
//! there are, a bar has at most `COLUMNS` columns: where several kinds share one, each has its part of the height.

use super::axis::{Axis, bytes};
use super::palette::{class_of, rules_of_drawing};
use super::{Class, Layer, PhysicalMap};
use crate::bounds::saturating_usize;
use crate::markup::Plain;
use crate::units::{Hex, rough_size};
use std::fmt::Write;

/// Columns of a bar.
const COLUMNS: usize = 1024;
/// What is there of something sparse has this part of the height at least.
const LEAST: f64 = 0.15;
/// Pixels from the top of one layer to that of the next, and its bar's height.
const STEP: usize = 52;
const BAR: usize = 28;
/// Pixels above the first layer: the addresses.
const TOP: usize = 24;
/// Pixels of a line of the legend.
const LINE: usize = 20;
/// Addresses that are written along the axis.
const TICKS: usize = 4;
/// Width of a drawing that stands alone.
const WIDTH: usize = 1200;

/// How a map is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawing<'a> {
    /// Precedes all identifiers, so that a page can have several drawings: letters, digits and hyphens.
    pub prefix: &'a str,
    /// What it shows, for who cannot see it.
    pub title: &'a str,
    /// Whether it is a file of its own, with its colours and a legend.
    pub is_alone: bool,
}

/// Draws a map.
pub fn svg(map: &PhysicalMap, drawing: Drawing<'_>) -> String {
    let axis = Axis::new(map);
    let mut out = String::new();
    let prefix = Plain(drawing.prefix);
    let bars = TOP + STEP * map.layers.len();
    let legend: usize =
        if drawing.is_alone { map.layers.iter().map(|layer| LINE * (layer.kinds.len() + 2)).sum() } else { 0 };
    let height = bars + legend + if drawing.is_alone { LINE } else { 0 };
    let size = if drawing.is_alone {
        format!("xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\"")
    } else {
        "width=\"100%\"".to_owned()
    };
    let _ = writeln!(
        out,
        "<svg {size} height=\"{height}\" class=\"pm-map\" role=\"img\" aria-labelledby=\"{prefix}-title\">\n<title id=\"{prefix}-title\">{}</title>",
        Plain(drawing.title)
    );
    if drawing.is_alone {
        let _ = writeln!(out, "<style>\n.pm-map {{ max-width: 100%; font: 13px system-ui, sans-serif; }}");
        let _ = writeln!(out, ".pm-fold {{ stroke-width: 2; stroke-dasharray: 3 3; }}\n{}</style>", rules_of_drawing());
        let _ = writeln!(out, "<rect class=\"pm-page\" width=\"100%\" height=\"100%\"/>");
        out += "<svg x=\"1%\" y=\"8\" width=\"98%\" overflow=\"visible\">\n";
    }
    write_ticks(&mut out, map, &axis);
    for (index, layer) in map.layers.iter().enumerate() {
        let y = TOP + STEP * index;
        let name = layer.name.name();
        let _ = writeln!(out, "<g class=\"pm-layer\" data-layer=\"{name}\" transform=\"translate(0 {y})\">");
        let _ = writeln!(out, "<text x=\"0\" y=\"14\">{}</text>", layer.name.title());
        write_bar(&mut out, layer, &axis);
        out += "</g>\n";
    }
    if drawing.is_alone {
        write_legend(&mut out, map, bars + LINE);
        out += "</svg>\n";
    }
    out += "</svg>\n";
    out
}

/// Writes some addresses above the bars.
fn write_ticks(out: &mut String, map: &PhysicalMap, axis: &Axis) {
    out.push_str("<g class=\"pm-ticks\">\n");
    let mut last = -1.0;
    for (address, position) in ticks(map, axis) {
        if position - last < 0.9 / bytes(TICKS as u64) && last >= 0.0 {
            continue;
        }
        last = position;
        let anchor = match position {
            ..0.04 => "start",
            0.96.. => "end",
            _ => "middle",
        };
        let percent = 100.0 * position;
        let _ = writeln!(
            out,
            "<text class=\"pm-dim\" x=\"{percent:.3}%\" y=\"14\" text-anchor=\"{anchor}\">{}</text>",
            Hex(address)
        );
    }
    out.push_str("</g>\n");
}

/// Round addresses, and those behind what is folded.
fn ticks(map: &PhysicalMap, axis: &Axis) -> Vec<(u64, f64)> {
    let plain: u64 =
        axis.0.iter().filter(|stretch| !stretch.is_folded).map(|stretch| stretch.end - stretch.start).sum();
    let step = (plain / TICKS as u64).max(1).next_power_of_two();
    let mut addresses = vec![0];
    for stretch in axis.0.iter().filter(|stretch| !stretch.is_folded) {
        addresses.push(stretch.start);
        let first = stretch.start.div_ceil(step);
        let inside = (first..).take(2 * TICKS).map_while(|number| number.checked_mul(step));
        addresses.extend(inside.take_while(|address| *address < stretch.end));
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses.retain(|address| *address < map.end);
    addresses.into_iter().map(|address| (address, axis.position(address))).collect()
}

/// How much of each column is of each kind, from 0 to 1.
fn shares(layer: &Layer, axis: &Axis) -> Vec<Vec<(u16, f64)>> {
    let width = bytes(COLUMNS as u64);
    let mut columns: Vec<Vec<(u16, f64)>> = vec![Vec::new(); COLUMNS];
    for range in &layer.ranges {
        let (from, to) = (axis.position(range.start) * width, axis.position(range.end) * width);
        let first = saturating_usize(whole(from));
        for (index, column) in columns.iter_mut().enumerate().skip(first) {
            let left = bytes(index as u64);
            let part = to.min(left + 1.0) - from.max(left);
            if part <= 0.0 {
                break;
            }
            match column.iter_mut().find(|(kind, _)| *kind == range.kind) {
                Some((_, sum)) => *sum += part,
                None => column.push((range.kind, part)),
            }
        }
    }
    for column in &mut columns {
        column.sort_unstable_by_key(|(kind, _)| *kind);
        raise(layer, column);
    }
    columns
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
const fn whole(number: f64) -> u64 {
    number as u64
}

/// Makes little of something sparse large enough to be seen.
fn raise(layer: &Layer, column: &mut [(u16, f64)]) {
    let is_there = |kind: u16| layer.kinds.get(usize::from(kind)).is_some_and(|kind| kind.class != Class::Missing);
    let there: f64 = column.iter().filter(|(kind, _)| is_there(*kind)).map(|(_, part)| part).sum();
    if !layer.name.is_sparse() || there <= 0.0 || there >= LEAST {
        return;
    }
    let absent: f64 = column.iter().filter(|(kind, _)| !is_there(*kind)).map(|(_, part)| part).sum();
    for (kind, part) in column {
        let factor = if is_there(*kind) { LEAST / there } else { absent.min(1.0 - LEAST) / absent };
        *part *= factor;
    }
}

fn write_bar(out: &mut String, layer: &Layer, axis: &Axis) {
    let columns = shares(layer, axis);
    let _ = writeln!(
        out,
        "<svg class=\"pm-bar\" y=\"20\" width=\"100%\" height=\"{BAR}\" viewBox=\"0 0 {COLUMNS} 100\" preserveAspectRatio=\"none\">"
    );
    for (number, kind) in (0_u16..).zip(&layer.kinds) {
        let mut path = String::new();
        let mut index = 0;
        while let Some(column) = columns.get(index) {
            let (below, part) = part_of(column, number);
            let same = |other: &&Vec<(u16, f64)>| part_of(other, number) == (below, part);
            let run = columns.iter().skip(index).take_while(same).count().max(1);
            if part > 0.0 {
                let (top, tall) = (100.0 * (1.0 - below - part), 100.0 * part);
                let _ = write!(path, "M{index} {}h{run}v{}h-{run}z", Short(top), Short(tall));
            }
            index += run;
        }
        let text = Plain(&kind.text);
        let _ = writeln!(out, "<path class=\"{}\" d=\"{path}\"><title>{text}</title></path>", class_of(kind));
    }
    for stretch in axis.0.iter().filter(|stretch| stretch.is_folded) {
        let middle = (stretch.from + stretch.to) / 2.0 * bytes(COLUMNS as u64);
        let title = format!("folded: {} from {}", rough_size(stretch.end - stretch.start), Hex(stretch.start));
        let _ = writeln!(
            out,
            "<path class=\"pm-fold\" d=\"M{0} 0v100\" vector-effect=\"non-scaling-stroke\" fill=\"none\"><title>{title}</title></path>",
            Short(middle)
        );
    }
    out.push_str("</svg>\n");
}

/// How much of a column lies below a kind, and how much is of it.
fn part_of(column: &[(u16, f64)], kind: u16) -> (f64, f64) {
    let below = column.iter().take_while(|(other, _)| *other < kind).map(|(_, part)| part).sum();
    let part = column.iter().find(|(other, _)| *other == kind).map_or(0.0, |(_, part)| *part);
    // Sums of a full column need not be 1 to the last digit.
    if part > 0.9999 { (0.0, 1.0) } else { (below, part) }
}

/// A coordinate with a digit behind the point where it has one.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:.1}", self.0.clamp(0.0, bytes(COLUMNS as u64)));
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// Writes what the colours stand for, from a height on.
fn write_legend(out: &mut String, map: &PhysicalMap, top: usize) {
    let mut y = top;
    for layer in &map.layers {
        let title = Plain(layer.name.title());
        let _ = writeln!(out, "<text x=\"4\" y=\"{y}\" font-weight=\"600\">{title}</text>");
        let source = Plain(&layer.source);
        let _ = writeln!(out, "<text class=\"pm-dim\" x=\"120\" y=\"{y}\">{source}</text>");
        y += LINE;
        for total in layer.totals() {
            let (box_y, class) = (y - 11, class_of(total.kind));
            let _ = writeln!(out, "<rect class=\"{class}\" x=\"4\" y=\"{box_y}\" width=\"14\" height=\"14\"/>");
            let size = rough_size(total.bytes);
            let _ = writeln!(out, "<text x=\"110\" y=\"{y}\" text-anchor=\"end\">{size}</text>");
            let _ = writeln!(out, "<text x=\"120\" y=\"{y}\">{}</text>", Plain(&total.kind.text));
            y += LINE;
        }
        y += LINE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical_map::{Kind, LayerBuilder, LayerName};

    const GIB: u64 = 1 << 30;

    fn map(pages: u64) -> PhysicalMap {
        let mut memory = LayerBuilder::new(LayerName::Memory, "<source>");
        memory.add(0, 2 * GIB, Kind::ram(Some(0)));
        memory.add(0, 4 * GIB, Kind::new(Class::Hole, "hole & <b>"));
        let mut dump = LayerBuilder::new(LayerName::Dump, "test");
        for page in 0..pages {
            dump.add(page * 8192, page * 8192 + 4096, Kind::new(Class::Held, "held"));
        }
        dump.add(GIB, GIB + 4096, Kind::new(Class::Held, "held"));
        dump.add(0, 2 * GIB, Kind::new(Class::Missing, "missing"));
        PhysicalMap::new(4 * GIB, vec![memory.build(4 * GIB).unwrap(), dump.build(4 * GIB).unwrap()])
    }

    #[test]
    fn drawings_stay_small_however_many_ranges_there_are() {
        for pages in [0, 10, 131_072] {
            let drawn = svg(&map(pages), Drawing { prefix: "a", title: "t", is_alone: true });
            assert!(drawn.len() < 100_000, "{}", drawn.len());
        }
    }

    #[test]
    fn texts_are_escaped_and_identifiers_have_their_prefix() {
        let drawn = svg(&map(3), Drawing { prefix: "second", title: "<t>", is_alone: false });
        assert!(
            drawn.contains("id=\"second-title\">&lt;t&gt;<") && drawn.contains("<title>hole &amp; &lt;b&gt;</title>")
        );
        assert_eq!(drawn.matches(" id=\"").count(), 1, "{drawn}");
        assert!(!drawn.contains("xmlns") && !drawn.contains("<style"));
    }

    #[test]
    fn a_page_among_millions_is_seen_and_half_of_a_bar_is_half() {
        let map = map(0);
        let axis = Axis::new(&map);
        let columns = shares(&map.layers[1], &axis);
        let (_, held) = columns.iter().map(|column| part_of(column, 0)).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert!((LEAST..0.2).contains(&held), "{held}");
        let full = |column: &Vec<(u16, f64)>| (column.iter().map(|(_, part)| part).sum::<f64>() - 1.0).abs() < 1e-6;
        assert!(shares(&map.layers[0], &axis).iter().all(full));
    }
}
