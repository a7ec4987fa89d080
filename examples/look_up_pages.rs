//! Looks up where memory of this process lies: `cargo run --example look_up_pages`. On FreeBSD that takes read access to
//! /dev/mem; `--example look_up_pages demo` asks the recorded machine that is built in.

use memtool::Result;
use memtool::host::{self, Backing, PageState, ProcessHost, Selection};
use memtool::paddr::{self, Preparation};
use std::io::{self, Write};
use std::path::Path;

fn main() -> Result<()> {
    let machine = std::env::args().nth(1);
    let selection = Selection { machine: machine.as_deref().map(Path::new), device: None };
    run(&*host::open_for_processes(&selection)?, &mut io::stdout())
}

/// Maps four pages, makes them present, and prints the physical address of each.
pub fn run(host: &dyn ProcessHost, out: &mut dyn Write) -> Result<()> {
    let page_size = host.page_size()?;
    let backing = Backing::Anonymous { length: 4 * page_size };
    let mapping = paddr::prepare(host, &backing, Preparation { touch: true, lock: false })?;
    for page in paddr::look_up(host, None, paddr::pages(&*mapping, page_size)) {
        let page = page?;
        let place = match page.state {
            PageState::Mapped { paddr, .. } => format!("{paddr:#x}"),
            state => state.name().to_owned(),
        };
        writeln!(out, "{:#x} {place}", page.address).map_err(memtool::Error::StandardOutput)?;
    }
    Ok(())
}
