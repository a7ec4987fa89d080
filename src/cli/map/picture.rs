//! A map as a person sees it on a terminal: rows of cells, and a legend with totals.

use super::super::Context;
use memtool::Result;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use unicode_width::UnicodeWidthStr;
use vmcore::physical_map::rows::{Cell, Options, Picture, Row, mark, shades};
use vmcore::physical_map::{Class, Kind, Layer, LayerName, PhysicalMap, percent};
use vmcore::table::cell;
use vmcore::text::escape_control;
use vmcore::units::{Hex, exact_size, rough_size};

/// Lines of cells that a picture has about.
const LINES: usize = 36;
/// Rows are a multiple of so many cells, if they are not shorter.
const MULTIPLE: usize = 16;
/// Terminals narrower than this have a legend without numbers of ranges.
const NARROW: usize = 60;

/// How it is drawn.
#[derive(Clone, Copy)]
struct Style {
    is_ascii: bool,
    is_coloured: bool,
}

/// Whether a variable of the environment is set to something.
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Whether the locale's characters are UTF-8, by the first variable that names one.
fn has_unicode() -> bool {
    let named = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    let name = named.and_then(|name| name.into_string().ok()).unwrap_or_default().to_ascii_lowercase();
    name.contains("utf-8") || name.contains("utf8")
}

/// Prints a map.
pub fn print(context: &mut Context, map: &PhysicalMap, kind: &str, is_ascii: bool) -> Result<()> {
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == OsStr::new("dumb"));
    let style = Style {
        is_ascii: is_ascii || !has_unicode(),
        is_coloured: context.out.is_terminal() && !is_set("NO_COLOR") && !is_dumb,
    };
    let width = context.out.columns().unwrap_or(super::super::output::COLUMNS);
    let several = map.layers.len() > 1;
    let address_width = Hex(map.end).to_string().len();
    let name_width =
        if several { map.layers.iter().map(|layer| layer.name.name().len()).max().unwrap_or(0) } else { 0 };
    let taken = address_width + 1 + name_width + usize::from(several);
    let room = width.saturating_sub(taken).max(1);
    let columns = if room > MULTIPLE { room - room % MULTIPLE } else { room };
    let max_rows = (LINES / map.layers.len().max(1)).max(6);
    let picture = Picture::new(map, Options { columns, max_rows, is_ascii: style.is_ascii });
    let whose = context.out.remark_on(kind);
    let cell_size = exact_size(picture.cell_size.into());
    context.out.line(&format!("0x0 to {}, {cell_size} in a cell{whose}", Hex(map.end)))?;
    for row in &picture.rows {
        match row {
            Row::Hole { start, end } => {
                let what = if map.layer(LayerName::Memory).is_some() { "hole of" } else { "nothing for" };
                let size = rough_size(end.saturating_sub(*start));
                context.out.line(&format!("{:<address_width$} ... {what} {size}", Hex(*start).to_string()))?;
            }
            Row::Cells { start, layers } => {
                let mut address = Hex(*start).to_string();
                for (layer, cells) in map.layers.iter().zip(layers) {
                    let name = if several { format!("{:<name_width$} ", layer.name.name()) } else { String::new() };
                    let line = format!("{address:<address_width$} {name}");
                    print_cells(context, &line, layer, cells, style)?;
                    address.clear();
                }
            }
        }
    }
    let has_areas = map.free_areas.as_ref().is_some_and(|areas| !areas.is_empty());
    map.layers.iter().try_for_each(|layer| print_legend(context, layer, style, width, has_areas))?;
    print_areas(context, map)?;
    for absent in &map.absent {
        context.remark(&format!("no layer '{}': {}", absent.name.name(), absent.why));
    }
    Ok(())
}

fn print_cells(context: &mut Context, head: &str, layer: &Layer, cells: &[Cell], style: Style) -> Result<()> {
    let mut line = head.to_owned();
    let mut colour = "";
    for cell in cells {
        let kind = cell.kind.and_then(|kind| layer.kinds.get(usize::from(kind)));
        let wanted = kind.filter(|_| style.is_coloured).map_or("", colour_of);
        if wanted != colour {
            line += if wanted.is_empty() { RESET } else { wanted };
            colour = wanted;
        }
        line.push(cell.mark);
    }
    if !colour.is_empty() {
        line += RESET;
    }
    context.out.bytes(format!("{}\n", line.trim_end()).as_bytes())
}

/// Prints the kinds of a layer with what they add up to.
///
/// Where a table has the blocks of each order, those of a memory domain are one kind.
fn print_legend(context: &mut Context, layer: &Layer, style: Style, width: usize, has_areas: bool) -> Result<()> {
    context.out.line("")?;
    let title = format!("{}, from {}", layer.name.title(), layer.source);
    context.out.line(&super::super::output::fit(title, width))?;
    let whole = layer.bytes();
    let lines = legend(layer, style, has_areas);
    let sizes: Vec<String> = lines.iter().map(|line| rough_size(line.bytes)).collect();
    let size_width = sizes.iter().map(|size| size.width()).max().unwrap_or(0);
    let mark_width = lines.iter().map(|line| line.mark.width()).max().unwrap_or(0);
    for (line, size) in lines.iter().zip(&sizes) {
        let LegendLine { mark, colour, text, .. } = line;
        let reset = if colour.is_empty() { "" } else { RESET };
        let pad = " ".repeat(mark_width.saturating_sub(mark.width()));
        let share = percent(line.bytes, whole);
        let ranges = if width < NARROW { String::new() } else { format!("  {:>9}", ranges(line.ranges)) };
        let line = format!("  {colour}{mark}{reset}{pad}  {size:>size_width$}  {share:>8}{ranges}  {text}\n");
        context.out.bytes(line.as_bytes())?;
    }
    if layer.name.is_sparse() && !lines.is_empty() {
        let least = |(mark, percent): (char, u32)| format!("{mark} {percent} %");
        let shades = shades(style.is_ascii).map(least).join(", ");
        context.out.line(&format!("  of a cell at least: {}", shades.replacen("0 %", "any", 1)))?;
    }
    Ok(())
}

/// A line of a legend.
struct LegendLine {
    mark: String,
    colour: &'static str,
    bytes: u64,
    ranges: u64,
    text: String,
}

/// The lines of a layer's legend.
fn legend(layer: &Layer, style: Style, has_areas: bool) -> Vec<LegendLine> {
    let mut lines: Vec<LegendLine> = Vec::new();
    let mut of_domain: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    for (number, total) in (0_u16..).zip(&layer.totals()) {
        let Kind { class, domain, text } = total.kind;
        let mark = match class {
            class if layer.name.is_sparse() && *class != Class::Missing => shades(style.is_ascii)[3].0,
            _ => mark(layer, number, style.is_ascii),
        };
        let is_free = has_areas && matches!(class, Class::Free(_));
        let first = of_domain.get(domain).filter(|_| is_free).and_then(|index| lines.get_mut(*index));
        if let Some(line) = first {
            line.bytes = line.bytes.saturating_add(total.bytes);
            line.ranges = line.ranges.saturating_add(total.ranges);
            line.mark = format!("{}-{mark}", line.mark.chars().next().unwrap_or(mark));
            continue;
        }
        let (colour, text) = if is_free {
            of_domain.insert(*domain, lines.len());
            ("", domain.map_or_else(|| "free".to_owned(), |domain| format!("free, domain {domain}")))
        } else {
            (if style.is_coloured { colour_of(total.kind) } else { "" }, escape_control(text).to_string())
        };
        lines.push(LegendLine { mark: mark.to_string(), colour, bytes: total.bytes, ranges: total.ranges, text });
    }
    lines
}

fn ranges(count: u64) -> String {
    if count == 1 { "1 range".to_owned() } else { format!("{count} ranges") }
}

/// Prints how many blocks of each size are free.
fn print_areas(context: &mut Context, map: &PhysicalMap) -> Result<()> {
    let Some(areas) = map.free_areas.as_ref().filter(|areas| !areas.is_empty()) else { return Ok(()) };
    context.out.line("")?;
    let rows = areas.iter().filter(|area| area.blocks != Some(0)).map(|area| {
        let free = area.blocks.map(|blocks| rough_size(blocks.saturating_mul(area.block_size)));
        vec![
            area.domain.to_string(),
            area.order.to_string(),
            exact_size(area.block_size.into()),
            cell(area.blocks),
            cell(free),
            cell(area.fragmentation),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    context.out.table(&["DOMAIN", "ORDER", "BLOCK", "BLOCKS", "FREE", "FRAGMENTATION"], &rows)
}

const RESET: &str = "\x1b[0m";

/// The colour of a kind, as a control sequence.
fn colour_of(kind: &Kind) -> &'static str {
    match kind.class {
        Class::Ram => match kind.domain.map(|domain| domain % 4) {
            None => "\x1b[37m",
            Some(0) => "\x1b[32m",
            Some(1) => "\x1b[36m",
            Some(2) => "\x1b[35m",
            Some(_) => "\x1b[34m",
        },
        Class::WriteBack | Class::Held | Class::File => "\x1b[32m",
        Class::Reserved | Class::Acpi | Class::AcpiNvs | Class::Persistent | Class::Firmware => "\x1b[33m",
        Class::WriteThrough | Class::WriteProtect | Class::WriteCombine => "\x1b[33m",
        Class::Unusable | Class::Uncacheable | Class::UndefinedType | Class::UnknownType => "\x1b[31m",
        Class::Hole | Class::Missing | Class::Used | Class::DefaultType => "\x1b[90m",
        Class::Free(0..=3) => "\x1b[31m",
        Class::Free(4..=8) => "\x1b[33m",
        Class::Free(_) => "\x1b[32m",
        Class::Anonymous => "\x1b[36m",
        Class::OtherPage => "\x1b[35m",
    }
}
