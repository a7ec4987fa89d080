//! `memtool maps -x`: how much of each entry is in memory, and who uses it.

use super::super::Context;
use super::fit;
use super::styles::spaced_name;
use memtool::host::Host;
use memtool::process_map::{Entry, ProcessMap, Superpages, Totals, Usage};
use memtool::{Error, Result};

const KIB: u64 = 1024;
const HEADINGS: [&str; 7] = ["ADDRESS", "KBYTES", "RSS", "PRIVATE", "SHARED", "SUPER", "PROT"];

pub fn print(context: &mut Context, _host: &dyn Host, map: &ProcessMap) -> Result<()> {
    let digits = map.entries.last().map_or(0, |entry| format!("{:x}", entry.start).len());
    let mut rows = Vec::with_capacity(map.entries.len() + 1);
    for entry in &map.entries {
        let usage = entry.usage.ok_or_else(|| {
            Error::Unsupported(
                "the kernel does not count pages in memory: kern.proc_vmmap_skip_resident_count is set".to_owned(),
            )
        })?;
        rows.push((cells(entry, usage, digits), spaced_name(entry)));
    }
    let totals = Totals::of(&map.entries);
    let some = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), kib);
    let total = vec![
        "total".to_owned(),
        kib(totals.size),
        some(totals.resident),
        some(totals.private),
        some(totals.shared),
        some(totals.superpages),
        String::new(),
    ];
    rows.push((total, Vec::new()));
    print_rows(context, &rows)?;
    match totals.undivided {
        Some(undivided) if map.pid != 0 => context.remark(&format!(
            "of {} KiB in memory, the kernel does not tell what is private and what is shared; the totals leave that out",
            kib(undivided)
        )),
        _ => {}
    }
    Ok(())
}

fn cells(entry: &Entry, usage: Usage, digits: usize) -> Vec<String> {
    let some = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), kib);
    let superpages = match usage.superpages {
        Superpages::Bytes(bytes) => kib(bytes),
        Superpages::Used(used) => if used { "yes" } else { "-" }.to_owned(),
    };
    vec![
        format!("{:0digits$x}", entry.start),
        kib(entry.size()),
        kib(usage.resident),
        some(usage.private),
        some(usage.shared),
        superpages,
        format!("{}{}", entry.protection, if entry.private { 'p' } else { 's' }),
    ]
}

fn kib(bytes: u64) -> String {
    (bytes / KIB).to_string()
}

/// Aligned under headings on a terminal, names cut to fit; else with tabs between the fields.
fn print_rows(context: &mut Context, rows: &[(Vec<String>, Vec<u8>)]) -> Result<()> {
    let out = &mut context.out;
    let Some(columns) = out.columns() else {
        for (cells, name) in rows {
            let mut line = cells.join("\t").into_bytes();
            line.push(b'\t');
            line.extend(name.trim_ascii_start());
            out.raw_line(&line)?;
        }
        return Ok(());
    };
    let widths: Vec<usize> = HEADINGS
        .iter()
        .enumerate()
        .map(|(index, heading)| {
            let cells = rows.iter().filter_map(|(cells, _)| cells.get(index)).map(String::len);
            cells.max().unwrap_or(0).max(heading.len())
        })
        .collect();
    let aligned = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).enumerate().map(|(index, (cell, width))| match index {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join(" ")
    };
    out.line(&(aligned(&mut HEADINGS.into_iter()) + " MAPPING"))?;
    for (cells, name) in rows {
        let before = aligned(&mut cells.iter().map(String::as_str)) + " ";
        let room = columns.saturating_sub(before.chars().count());
        let mut line = before.into_bytes();
        line.extend(fit(name.trim_ascii_start().to_vec(), Some(room)));
        out.raw_line(line.trim_ascii_end())?;
    }
    Ok(())
}
