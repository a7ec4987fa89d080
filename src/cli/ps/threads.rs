//! The list of threads with their CPU and program counter, which takes no types.

use super::super::Context;
use super::super::kernel::Opened;
use memtool::Result;
use vmcore::fault::Fault;
use vmcore::kernel::{Processes, State};
use vmcore::text::column;
use vmcore::units::Hex;

/// Between columns.
const GAP: usize = 2;

/// Prints it.
pub fn print(context: &mut Context, opened: &Opened, processes: &Processes) -> Result<()> {
    let mut unreadable: Option<(usize, Fault)> = None;
    let mut rows = Vec::new();
    for process in &processes.list {
        for thread in &process.threads {
            let registers = processes.registers(opened.kernel.memory(), thread);
            if let Err(fault) = &registers {
                unreadable.get_or_insert((0, *fault)).0 += 1;
            }
            let pc = registers.ok().and_then(|registers| registers.pc());
            rows.push(vec![
                process.pid.to_string(),
                thread.tid.to_string(),
                column(&thread.name),
                thread.cpu.map_or_else(|| "-".to_owned(), |cpu| cpu.to_string()),
                if thread.state == State::Off { "-" } else { thread.state.name() }.to_owned(),
                pc.map_or_else(
                    || "-".to_owned(),
                    |pc| opened.kernel.name_of(pc).unwrap_or_else(|| Hex(pc).to_string()),
                ),
            ]);
        }
    }
    let headings = ["PID", "TID", "NAME", "CPU", "STATE", "PC"];
    if let Some(columns) = context.out.columns() {
        fit(columns, &headings, &mut rows);
    }
    context.out.rows(&headings, &rows)?;
    match unreadable {
        None => {}
        Some((1, fault)) => context.warn(&format!("the registers of a thread cannot be read: {fault}")),
        Some((threads, fault)) => {
            context.warn(&format!("the registers of {threads} threads cannot be read; the first: {fault}"));
        }
    }
    Ok(())
}

/// Shortens the names in the last column so that the table fits a terminal of so many columns; offsets stay as they
/// are.
fn fit(columns: usize, headings: &[&str], rows: &mut [Vec<String>]) {
    let width = |text: &str| text.chars().count();
    let before: usize = (0..headings.len().saturating_sub(1))
        .map(|index| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| width(cell));
            cells.chain(headings.get(index).map(|heading| width(heading))).max().unwrap_or_default() + GAP
        })
        .sum();
    let room = columns.saturating_sub(before);
    for cell in rows.iter_mut().filter_map(|row| row.last_mut()).filter(|cell| width(cell) > room) {
        let (name, offset) = cell.split_at(cell.rfind('+').unwrap_or(cell.len()));
        let remaining = room.saturating_sub(width(offset) + 3).max(1);
        *cell = name.chars().take(remaining).collect::<String>() + "..." + offset;
    }
}
