//! Reports of crashes: what there is to say of a dump, as people read it.

mod dump;
mod processes;
pub mod section;
pub mod stacks;
pub mod text;

pub use dump::{DumpSummary, header_facts};
pub use processes::{PROCESS_COLUMNS, process_row, processes_section};
