//! The list of processes, as people read it.

use super::section::Block;
use crate::kernel::{Process, Processes};
use crate::table::{Column, Table};
use crate::units::Hex;

/// The columns of a list of processes.
pub const PROCESS_COLUMNS: [&str; 4] = ["PID", "COMMAND", "THREADS", "ADDRESS"];

/// A process in a list, by [`PROCESS_COLUMNS`].
pub fn process_row(process: &Process) -> Vec<String> {
    let defunct = if process.zombie { " <defunct>" } else { "" };
    vec![
        process.pid.to_string(),
        String::from_utf8_lossy(&process.command).into_owned() + defunct,
        process.threads.len().to_string(),
        Hex(process.address).to_string(),
    ]
}

/// The list of processes.
pub fn processes_section(processes: &Processes) -> Vec<Block> {
    let column = |title| Column { title, is_number: title != "COMMAND" };
    let rows = processes.list.iter().map(process_row).collect();
    let mut blocks = vec![Block::Table(Table::new(PROCESS_COLUMNS.map(column), rows))];
    blocks.extend(processes.warnings.iter().map(|warning| Block::Note(format!("{warning}."))));
    blocks
}
