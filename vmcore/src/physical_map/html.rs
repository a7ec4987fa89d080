//! A map as one HTML file that needs no other: its style sheet, its script and its data are in it, and a policy in its head
//! forbids the browser to load, send or run anything else.
//!
//! Without the script it is a drawing with a legend. The script zooms, and says what is under the pointer.

use super::data::data;
use super::palette::{class_of, rules_of_page};
use super::svg::{Drawing, svg};
use super::{FreeArea, Layer, PhysicalMap, percent};
use crate::markup::{Plain, Text, page_start};
use crate::units::{Hex, exact_size, rough_size};
use std::fmt::Write;

const PAGE_STYLE: &str = include_str!("page.css");
const FIGURE_STYLE: &str = include_str!("figure.css");
/// The script of a page with maps.
pub const SCRIPT: &str = include_str!("map.js");

/// What a page says beside its map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// What the map is of.
    pub facts: Vec<(&'static str, String)>,
    /// Bytes of a page of memory; 4096 where that is not known.
    pub page_size: Option<u64>,
}

/// The style sheet of maps; their page defines the custom properties `--page`, `--panel`, `--line`, `--text`, `--dim` and
/// `--mono`.
pub fn style() -> String {
    format!("{FIGURE_STYLE}{}", rules_of_page())
}

/// A page with a map.
pub fn page(map: &PhysicalMap, page: &Page) -> String {
    let mut out = page_start(&page.title, &format!("{PAGE_STYLE}{}", style()), &[SCRIPT]);
    let _ = writeln!(out, "<header>\n<h1>{}</h1>", Text(&page.title));
    if !page.facts.is_empty() {
        out += "<dl>\n";
        for (name, value) in &page.facts {
            let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", Text(name), Text(value));
        }
        out += "</dl>\n";
    }
    out += "</header>\n<main>\n";
    out += &figure(map, "map", &page.title, page.page_size);
    for absent in &map.absent {
        let _ =
            writeln!(out, "<p class=\"note\">No layer &ldquo;{}&rdquo;: {}</p>", absent.name.name(), Text(&absent.why));
    }
    if let Some(areas) = map.free_areas.as_ref().filter(|areas| !areas.is_empty()) {
        write_areas(&mut out, areas);
    }
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(out, "</main>\n<footer>Written by memtool {version}.</footer>\n<script>{SCRIPT}</script>");
    out += "</body>\n</html>\n";
    out
}

/// A map with its legend, for a page that has [`style`] and [`SCRIPT`]. The prefix of its identifiers is of letters, digits and
/// hyphens, and another one for each figure of a page.
pub fn figure(map: &PhysicalMap, prefix: &str, title: &str, page_size: Option<u64>) -> String {
    let id = Plain(prefix);
    let mut out = format!("<figure class=\"pm-figure\" id=\"{id}\">\n");
    let _ = writeln!(
        out,
        "<div class=\"pm-tools\" hidden>\n<button type=\"button\" data-zoom=\"in\" aria-label=\"Zoom in\">+</button>\n<button type=\"button\" data-zoom=\"out\" aria-label=\"Zoom out\">&#8722;</button>\n<button type=\"button\" data-zoom=\"all\">All</button>\n<output class=\"pm-view\">0x0 to {}</output>\n</div>",
        Hex(map.end)
    );
    let _ = writeln!(
        out,
        "<div class=\"pm-picture\" tabindex=\"0\" role=\"group\" aria-label=\"{}\" aria-describedby=\"{id}-keys\">",
        Plain(title)
    );
    out += &svg(map, Drawing { prefix, title, is_alone: false });
    let _ = writeln!(
        out,
        "</div>\n<output class=\"pm-readout\" hidden>Point at the picture to see what is there.</output>\n<p class=\"pm-keys\" id=\"{id}-keys\" hidden>Wheel, pinch or + and &#8722; zoom; dragging or the arrow keys move; 0 shows all. Dashed lines are in long stretches without a change, which are drawn shorter.</p>"
    );
    out += "<figcaption>\n<div class=\"pm-legend\">\n";
    map.layers.iter().for_each(|layer| write_legend(&mut out, layer, prefix));
    out += "</div>\n</figcaption>\n";
    let data = data(map, page_size.unwrap_or(4096));
    let _ = writeln!(out, "<script type=\"application/json\" class=\"pm-data\">{data}</script>\n</figure>");
    out
}

/// A layer's kinds, with what they add up to.
fn write_legend(out: &mut String, layer: &Layer, prefix: &str) {
    let (name, id) = (layer.name.name(), Plain(prefix));
    let _ = writeln!(
        out,
        "<table>\n<caption><label><input type=\"checkbox\" id=\"{id}-{name}\" data-layer=\"{name}\" checked hidden> {}</label> <small>{}</small></caption>",
        layer.name.title(),
        Text(&layer.source)
    );
    out.push_str("<thead>\n<tr><th scope=\"col\">Kind</th><th scope=\"col\" class=\"number\">Size</th><th scope=\"col\" class=\"number\">Part</th><th scope=\"col\" class=\"number\">Ranges</th></tr>\n</thead>\n");
    let whole = layer.bytes();
    let totals = layer.totals();
    if totals.is_empty() {
        out.push_str("</table>\n");
        return;
    }
    out.push_str("<tbody>\n");
    for total in totals {
        let part = percent(total.bytes, whole);
        let part = Text(&part);
        let _ = writeln!(
            out,
            "<tr><td><svg class=\"pm-swatch\" width=\"14\" height=\"14\" aria-hidden=\"true\"><rect class=\"{}\" width=\"14\" height=\"14\"/></svg> {}</td><td class=\"number\" title=\"{} bytes\">{}</td><td class=\"number\">{part}</td><td class=\"number\">{}</td></tr>",
            class_of(total.kind),
            Text(&total.kind.text),
            total.bytes,
            rough_size(total.bytes),
            total.ranges
        );
    }
    out.push_str("</tbody>\n</table>\n");
}

/// The free blocks by memory domain and order.
fn write_areas(out: &mut String, areas: &[FreeArea]) {
    out.push_str("<details>\n<summary>Free blocks by memory domain and order</summary>\n<table>\n<thead>\n<tr>");
    for title in ["Domain", "Order", "Block", "Blocks", "Fragmentation index"] {
        let _ = write!(out, "<th scope=\"col\" class=\"number\">{title}</th>");
    }
    out.push_str("</tr>\n</thead>\n<tbody>\n");
    for area in areas {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let cells = [
            area.domain.to_string(),
            area.order.to_string(),
            exact_size(area.block_size.into()),
            or_dash(area.blocks.map(|blocks| blocks.to_string())),
            or_dash(area.fragmentation.map(|index| index.to_string())),
        ];
        out.push_str("<tr>");
        cells.iter().for_each(|cell| _ = write!(out, "<td class=\"number\">{cell}</td>"));
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</details>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical_map::{Class, Kind, LayerBuilder, LayerName};

    const HOSTILE: &str = "</script><img src=x onerror=\"alert(1)\"> \u{202e} & 'all'";

    #[test]
    fn texts_of_firmware_are_texts() {
        let mut memory = LayerBuilder::new(LayerName::Memory, HOSTILE);
        memory.add(0, 4096, Kind::new(Class::Firmware, HOSTILE));
        let map = PhysicalMap::new(4096, vec![memory.build(4096).unwrap()]);
        let facts = vec![("Of", HOSTILE.to_owned())];
        let page = page(&map, &Page { title: HOSTILE.to_owned(), facts, page_size: None });
        assert_eq!(page.matches("<script").count(), 2, "{page}");
        assert_eq!(page.matches("</script>").count(), 2, "{page}");
        assert!(!page.contains("<img") && !page.contains('\u{202e}'), "{page}");
    }

    #[test]
    fn style_sheet_and_script_stay_small_and_end_where_they_should() {
        assert!(PAGE_STYLE.len() + style().len() + SCRIPT.len() < 20_000);
        for text in [PAGE_STYLE, &style(), SCRIPT] {
            assert!(!text.contains("</") && !text.contains("<!--") && !text.contains("http"), "{text}");
        }
    }
}
