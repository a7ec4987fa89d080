//! A map as a person sees it on a terminal: rows of cells, and a legend with totals.

use super::super::Context;
use memtool::Result;
use std::ffi::OsStr;
use unicode_width::UnicodeWidthStr;
use vmcore::physical_map::rows::{Cell, Options, Picture, Row, mark, shades};
use vmcore::physical_map::{Class, Kind, Layer, LayerName, PhysicalMap};
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
    map.layers.iter().try_for_each(|layer| print_legend(context, layer, style, width))?;
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
fn print_legend(context: &mut Context, layer: &Layer, style: Style, width: usize) -> Result<()> {
    context.out.line("")?;
    let title = format!("{}, from {}", layer.name.title(), layer.source);
    context.out.line(&super::super::output::fit(title, width))?;
    let whole = layer.bytes();
    let totals = layer.totals();
    let sizes: Vec<String> = totals.iter().map(|total| rough_size(total.bytes)).collect();
    let size_width = sizes.iter().map(|size| size.width()).max().unwrap_or(0);
    for ((number, total), size) in (0_u16..).zip(&totals).zip(&sizes) {
        let mark = match total.kind.class {
            class if layer.name.is_sparse() && class != Class::Missing => shades(style.is_ascii)[3].0,
            _ => mark(layer, number, style.is_ascii),
        };
        let colour = if style.is_coloured { colour_of(total.kind) } else { "" };
        let reset = if colour.is_empty() { "" } else { RESET };
        let share = percent(total.bytes, whole);
        let ranges = if width < NARROW { String::new() } else { format!("  {:>9}", ranges(total.ranges)) };
        let text = escape_control(&total.kind.text);
        let line = format!("  {colour}{mark}{reset}  {size:>size_width$}  {share:>7}{ranges}  {text}\n");
        context.out.bytes(line.as_bytes())?;
    }
    if layer.name.is_sparse() && !totals.is_empty() {
        let least = |(mark, percent): (char, u32)| format!("{mark} {percent} %");
        let shades = shades(style.is_ascii).map(least).join(", ");
        context.out.line(&format!("  of a cell at least: {}", shades.replacen("0 %", "any", 1)))?;
    }
    Ok(())
}

fn ranges(count: u64) -> String {
    if count == 1 { "1 range".to_owned() } else { format!("{count} ranges") }
}

/// A share in percent, to a tenth; what is something is not nothing.
fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 1000).checked_div(whole.into()) {
        None => "-".to_owned(),
        Some(0) if part > 0 => "< 0.1 %".to_owned(),
        Some(tenths) => format!("{}.{} %", tenths / 10, tenths % 10),
    }
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
