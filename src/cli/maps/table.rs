//! `memtool maps -x`: how much of each entry is in memory, who uses it, and in which NUMA domains it is.

use super::super::Context;
use super::super::output::Output;
use super::styles::{permissions, spaced_name};
use super::{kib, line_with};
use memtool::process_map::PagesByDomain;
use memtool::process_map::{MapEntry, ProcessMap, Superpages, Totals, Usage};
use memtool::{Error, Result};
use unicode_width::UnicodeWidthStr;
use vmcore::text::column;

/// What stands before a name in a line of its own.
const INDENT: &str = "  ";

/// A line of the table: its cells, and the entry's name.
struct Row {
    cells: Vec<String>,
    name: Vec<u8>,
}

/// Prints the table, with a column for each domain if the pages of each entry were counted. In plain lines of several
/// processes, each begins with the process's ID.
pub fn print(context: &mut Context, map: &ProcessMap, page_size: u64, several: bool) -> Result<()> {
    let domains = map.domains.as_deref();
    let columns = domains.map(|domains| Columns::new(domains, page_size));
    let digits = map.entries.last().map_or(0, |entry| format!("{:x}", entry.start).len());
    let mut rows = Vec::with_capacity(map.entries.len() + 1);
    for (index, entry) in map.entries.iter().enumerate() {
        // Why pages were not counted in structures was told.
        let usage = entry.usage;
        if usage.is_none() && map.structures.is_none() {
            return Err(Error::Unsupported(
                "the kernel does not count resident pages: kern.proc_vmmap_skip_resident_count is set".to_owned(),
            ));
        }
        let counted = domains.and_then(|domains| domains.get(index));
        let in_domains = columns.iter().zip(counted).flat_map(|(columns, counted)| columns.cells(counted));
        rows.push(Row { cells: cells(entry, usage, digits, in_domains), name: spaced_name(entry) });
    }
    let totals = Totals::from_entries(&map.entries);
    let mut cells = vec!["total".to_owned(), kib(totals.size).to_string()];
    cells.extend([totals.resident, totals.private, totals.shared, totals.superpages].map(or_dash));
    cells.extend(columns.iter().flat_map(|columns| columns.cells(&columns.total)));
    cells.push(String::new());
    rows.push(Row { cells, name: Vec::new() });
    let mut headings: Vec<String> =
        ["ADDRESS", "KBYTES", "RSS", "PRIVATE", "SHARED", "SUPER"].map(str::to_owned).into();
    headings.extend(columns.iter().flat_map(Columns::headings));
    headings.push("PROT".to_owned());
    let before = if several { format!("{}\t", map.pid) } else { String::new() };
    print_rows(context, &headings, &rows, &before)?;
    if let Some(undivided) = totals.undivided.filter(|_| map.pid != 0) {
        context.remark(&format!(
            "for {} KiB in memory, the kernel does not report what is private and shared; the totals exclude it",
            kib(undivided)
        ));
    }
    Ok(())
}

/// The columns for domains.
struct Columns {
    total: PagesByDomain,
    page_size: u64,
}

impl Columns {
    fn new(counted: &[PagesByDomain], page_size: u64) -> Self {
        let mut total = PagesByDomain::default();
        for counted in counted {
            for (domain, pages) in &counted.by_domain {
                total.add(Some(*domain), *pages);
            }
            total.add(None, counted.unknown_domain);
        }
        Self { total, page_size }
    }

    fn headings(&self) -> Vec<String> {
        let known = self.total.by_domain.keys().map(|domain| format!("DOM{domain}"));
        known.chain((self.total.unknown_domain > 0).then(|| "DOM?".to_owned())).collect()
    }

    fn cells(&self, counted: &PagesByDomain) -> Vec<String> {
        let size = |pages: u64| kib(pages.saturating_mul(self.page_size)).to_string();
        let known = self.total.by_domain.keys().map(|domain| counted.by_domain.get(domain).copied().unwrap_or(0));
        let unknown = (self.total.unknown_domain > 0).then_some(counted.unknown_domain);
        known.chain(unknown).map(size).collect()
    }
}

fn cells(entry: &MapEntry, usage: Option<Usage>, digits: usize, domains: impl Iterator<Item = String>) -> Vec<String> {
    let superpages = match usage.map_or(Superpages::Unknown, |usage| usage.superpages) {
        Superpages::Bytes(bytes) => kib(bytes).to_string(),
        Superpages::Used(true) => "yes".to_owned(),
        Superpages::Used(false) | Superpages::Unknown => "-".to_owned(),
    };
    let mut cells = vec![
        format!("{:0digits$x}", entry.start),
        kib(entry.size()).to_string(),
        or_dash(usage.map(|usage| usage.resident)),
        or_dash(usage.and_then(|usage| usage.private)),
        or_dash(usage.and_then(|usage| usage.shared)),
        superpages,
    ];
    cells.extend(domains);
    cells.push(permissions(entry));
    cells
}

fn or_dash(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| kib(bytes).to_string())
}

/// Aligned under headings on a terminal; else with tabs between the fields, and something before them.
fn print_rows(context: &mut Context, headings: &[String], rows: &[Row], before: &str) -> Result<()> {
    let out = &mut context.out;
    if !out.is_terminal() {
        for row in rows {
            let mut line = format!("{before}{}\t", row.cells.join("\t")).into_bytes();
            line.extend(row.name.trim_ascii_start());
            out.raw_line(&line)?;
        }
        return Ok(());
    }
    let width = |(index, heading): (usize, &String)| {
        let cells = rows.iter().filter_map(|row| row.cells.get(index)).map(String::len);
        cells.max().unwrap_or(0).max(heading.len())
    };
    let widths: Vec<usize> = headings.iter().enumerate().map(width).collect();
    let aligned = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(index, (cell, width))| match index {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join(" ") + " "
    };
    out.line(&(aligned(headings) + "MAPPING"))?;
    for row in rows {
        print_row(out, &aligned(&row.cells), row.name.trim_ascii_start())?;
    }
    Ok(())
}

/// A name that does not fit beside the numbers has a line of its own, where it stays whole if the terminal is as wide.
fn print_row(out: &mut Output, cells: &str, name: &[u8]) -> Result<()> {
    let is_too_long = |columns| cells.width() + column(name).width() > columns;
    if out.columns().is_some_and(is_too_long) {
        out.line(cells.trim_end())?;
        return line_with(out, INDENT, name, "");
    }
    line_with(out, cells, name, "")
}
