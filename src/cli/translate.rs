//! `memtool translate`: every step from a virtual address of the kernel to memory.

use super::kernel::{KernelArguments, Opened, Place};
use super::{Context, Verdict};
use clap::Args;
use memtool::Result;
use serde::Serialize;
use vmcore::kernel::{Access, Translation, WalkStep};
use vmcore::pmap::Target;
use vmcore::units::{Hex, exact_size};

#[derive(Args)]
#[command(
    after_help = "Addresses are decimal, or hexadecimal with 0x; SYMBOL+OFF requires symbols. Exit codes: 0 all addresses are mapped, 1 some are not, or the kernel cannot be read."
)]
pub struct Arguments {
    #[command(flatten)]
    pub kernel: KernelArguments,
    /// Kernel virtual addresses, or symbols
    #[arg(required = true, value_name = "ADDR|SYMBOL[+OFF]")]
    addresses: Vec<Place>,
}

/// An entry of a page table in JSON.
#[derive(Serialize)]
struct TableEntryDocument {
    level: &'static str,
    index: u64,
    entry: Hex,
    /// Its own physical address; none in a minidump's section of page tables.
    paddr: Option<Hex>,
    /// Where it is in the dump.
    #[serde(rename = "file_offset")]
    offset: Option<u64>,
    leads_to: String,
}

#[derive(Serialize)]
struct Address {
    address: Hex,
    symbol: Option<String>,
    /// Where an address that the kernel is linked at was when it ran.
    runtime_address: Option<Hex>,
    entries: Vec<TableEntryDocument>,
    paddr: Option<Hex>,
    protection: Option<String>,
    /// Bytes of the page; none in the direct map, which needs no tables.
    page_size: Option<u64>,
    /// Where the byte is in the dump.
    #[serde(rename = "file_offset")]
    offset: Option<u64>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Document {
    addresses: Vec<Address>,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let mut opened = arguments.kernel.open(context, Access::Read)?;
    opened.load_names(context);
    let mut verdict = Verdict::Done;
    let mut all = Vec::new();
    for place in &arguments.addresses {
        let (address, _) = opened.place(context, place)?;
        let (steps, result) = opened.kernel.memory().walk(address);
        let found = describe(&opened, address, &steps, result.as_ref().ok());
        let offset = result.ok().and_then(|found| opened.kernel.memory().dump()?.place_of(found.physical));
        let missing = result.is_ok() && opened.kernel.memory().dump().is_some() && offset.is_none();
        let error = result.err().map(|fault| fault.to_string());
        let error = error.or_else(|| missing.then(|| format!("{}: its page is not in the dump", Hex(address))));
        if error.is_some() {
            verdict = Verdict::Failed;
        }
        let found = Address { offset: offset.map(|(offset, _)| offset), error, ..found };
        if context.out.is_json() {
            all.push(found);
        } else {
            print(context, &found)?;
        }
    }
    if context.out.is_json() {
        context.out.document_of("memtool.translate", opened.kind, &Document { addresses: all })?;
    }
    Ok(verdict)
}

fn describe(opened: &Opened, address: u64, steps: &[WalkStep], found: Option<&Translation>) -> Address {
    let entry = |step: &WalkStep| TableEntryDocument {
        level: step.level.name,
        index: step.index,
        entry: Hex(step.entry),
        paddr: step.physical.map(Hex),
        offset: step.offset,
        leads_to: match step.target {
            Target::Page { physical, size, protection } => {
                format!("{} page {} {protection}", exact_size(size.into()), Hex(physical))
            }
            other => other.to_string(),
        },
    };
    Address {
        address: Hex(address),
        symbol: opened.kernel.name_of(address),
        runtime_address: opened
            .kernel
            .memory()
            .relocation()
            .and_then(|relocation| relocation.as_it_ran(address))
            .map(Hex),
        entries: steps.iter().map(entry).collect(),
        paddr: found.map(|found| Hex(found.physical)),
        protection: found.map(|found| found.protection.to_string()),
        page_size: found.and_then(|found| found.page_size),
        offset: None,
        error: None,
    }
}

fn print(context: &mut Context, found: &Address) -> Result<()> {
    let symbol = found.symbol.as_ref().map_or_else(String::new, |symbol| format!(" ({symbol})"));
    context.out.line(&format!("{}{symbol}", found.address))?;
    if let Some(ran) = found.runtime_address {
        context.out.line(&format!("linked address; the kernel ran at {ran}"))?;
    }
    let rows: Vec<Vec<String>> = found
        .entries
        .iter()
        .map(|step| {
            vec![
                format!("{}[{}]", step.level, step.index),
                step.entry.to_string(),
                step.paddr.map_or_else(|| "-".to_owned(), |at| at.to_string()),
                step.offset.map_or_else(|| "-".to_owned(), |at| at.to_string()),
                step.leads_to.clone(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        context.out.table(&["ENTRY", "VALUE", "AT", "IN DUMP", "LEADS TO"], &rows)?;
    }
    match (&found.paddr, &found.error) {
        (_, Some(error)) => context.out.line(error),
        (Some(physical), None) => {
            let how = match found.page_size {
                Some(size) => format!("in a page of {}", exact_size(size.into())),
                None => "in the direct map".to_owned(),
            };
            let protection = found.protection.as_deref().unwrap_or_default();
            let offset = found.offset.map_or_else(String::new, |offset| format!(", at {offset} in the dump"));
            context.out.line(&format!("physical address {physical}, {how}, {protection}{offset}"))
        }
        (None, None) => Ok(()),
    }
}
