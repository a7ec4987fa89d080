//! Lists the memory ranges (MTRRs) of a recorded machine, and the cache type of an address:
//! `cargo run --example list_ranges machine.json 0xfee00000`; without a file, of the machine that is built in.

use memtool::Result;
use memtool::host::{self, Host, Selection};
use memtool::ranges::effective;
use std::io::{self, Write};
use std::path::Path;
use vmcore::units::parse_address;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let machine = arguments.next().unwrap_or_else(|| "demo".to_owned());
    let address = arguments.next().and_then(|text| parse_address(&text).ok()).unwrap_or(0xfee0_0000);
    let selection = Selection { machine: Some(Path::new(&machine)), device: None };
    run(&*host::open(&selection)?, address, &mut io::stdout())
}

/// Prints the active ranges, and what is in effect at an address.
pub fn run(host: &dyn Host, address: u64, out: &mut dyn Write) -> Result<()> {
    let table = host.range_table()?;
    let mut line = |text: String| writeln!(out, "{text}").map_err(memtool::Error::StandardOutput);
    for range in table.descriptors().iter().filter(|range| range.is_active() && !range.is_fixed()) {
        line(range.memcontrol_line().trim_end().to_owned())?;
    }
    let explanation = effective::explain(&table, address);
    line(format!("{address:#x}: {}: {}", explanation.effective.name(), explanation.why))
}
