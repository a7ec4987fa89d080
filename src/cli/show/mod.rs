//! `memtool show`: what a kernel counts and holds, a section at a time, as the command of FreeBSD's shows it. One file for each
//! section.

mod free_pages;
mod page_queues;
mod page_use;
mod swapinfo;
mod vmstat_m;
mod vmstat_s;
mod vmstat_z;

use super::kernel::{KernelArguments, RootArguments};
use super::output::NarrowHeading;
use super::{Context, Verdict};
use clap::{Args, ValueEnum};
use memtool::Result;
use serde::Serialize;
use vmcore::kernel::{Access, TypedMemory};
use vmcore::text::{Name, column};

#[derive(Args)]
#[command(
    after_help = "The kernel's types (CTF) are required, or its debug information. Exit codes: 0 all of the section was shown, 1 part of it cannot be read: warnings say which."
)]
pub struct Arguments {
    /// What is shown
    #[arg(value_name = "SECTION", value_enum)]
    section: Section,
    #[command(flatten)]
    pub kernel: KernelArguments,
    #[command(flatten)]
    root: RootArguments,
}

/// What can be shown, by the command of FreeBSD's that shows it.
#[derive(Clone, Copy, ValueEnum)]
enum Section {
    /// Counters of virtual memory, interrupts and system calls
    VmstatS,
    /// Memory that the kernel allocated with malloc(9), by type
    VmstatM,
    /// Zones of the kernel's allocator, with what is cached in them
    VmstatZ,
    /// Devices that the kernel swaps to
    Swapinfo,
    /// Free blocks of pages by memory domain, free list, order and pool
    FreePages,
    /// Page queues and free pages of each memory domain, with the thresholds of the page daemon
    PageQueues,
    /// All pages of memory by what they are used for
    PageUse,
}

/// A section as it is shown: as a table, as a member of the JSON object, and what of it cannot be read.
struct Shown {
    headings: Vec<NarrowHeading<'static>>,
    rows: Vec<Vec<String>>,
    document: Document,
    warnings: Vec<String>,
}

/// The JSON object: it has the member of the section that is asked for.
#[derive(Serialize, Default)]
struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    vm_counters: Option<vmstat_s::CountersDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    malloc_types: Option<Vec<vmstat_m::TypeDocument>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zones: Option<Vec<vmstat_z::ZoneDocument>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swap_devices: Option<Vec<swapinfo::DeviceDocument>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_memory: Option<free_pages::FreePagesDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_queues: Option<page_queues::PageQueuesDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_use: Option<page_use::PageUseDocument>,
}

impl Section {
    fn read(self, typed: TypedMemory<'_>) -> Result<Shown> {
        Ok(match self {
            Self::VmstatS => vmstat_s::read(typed)?,
            Self::VmstatM => vmstat_m::read(typed)?,
            Self::VmstatZ => vmstat_z::read(typed)?,
            Self::Swapinfo => swapinfo::read(typed)?,
            Self::FreePages => free_pages::read(typed)?,
            Self::PageQueues => page_queues::read(typed)?,
            Self::PageUse => page_use::read(typed)?,
        })
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let mut opened = arguments.kernel.open(context, Access::Read)?;
    arguments.root.apply(&mut opened.kernel);
    opened.load_own_or_all_types(context, arguments.root.search()?)?;
    let shown = arguments.section.read(opened.kernel.typed()?)?;
    // They are why the command fails.
    for warning in &shown.warnings {
        context.warn_always(warning);
    }
    if context.out.is_json() {
        context.out.document_of("memtool.show", opened.kind, &shown.document)?;
    } else {
        context.out.narrow_rows(&shown.headings, &shown.rows)?;
    }
    Ok(if shown.warnings.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// A heading over numbers.
fn right(text: &'static str) -> NarrowHeading<'static> {
    NarrowHeading { text, is_left: false }
}

/// A heading over names.
fn left(text: &'static str) -> NarrowHeading<'static> {
    NarrowHeading { text, is_left: true }
}

/// A number in a table; what is not known is a dash.
fn cell(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// A name in a table; what is not known is a dash.
fn name_cell(name: Option<&Name>) -> String {
    name.map_or_else(|| "-".to_owned(), |name| column(name.as_bytes()))
}
