//! `memtool record`: what a host looks like, as a file.

use super::{Context, Verdict};
use clap::Args;
use memtool::host::Pid;
use memtool::{Result, record};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Args)]
#[command(
    after_help = "Memory contents are not recorded. The file's 'contents' selects a substitute: a pattern, or an image such as 'memtool dump' writes. An existing FILE is never overwritten."
)]
pub struct Arguments {
    /// The file to write; '-' for standard output
    file: PathBuf,
    /// Also record the memory map of this process, for 'maps'; may be repeated
    #[arg(long = "pid", value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pids: Vec<i32>,
}

#[derive(Serialize)]
struct Document {
    file: String,
    segments: usize,
    ranges: usize,
    processes: usize,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let pids: Vec<Pid> = arguments.pids.iter().copied().map(Pid::from_raw).collect();
    let host = context.host()?;
    let machine = match context.recorded()? {
        Some(recorded) => record::record_again(&recorded, &pids)?,
        None => record::record(&*host, &pids)?,
    };
    machine.write(&arguments.file, false)?;
    // On standard output the machine is the object.
    if context.out.is_json() && arguments.file.as_os_str() != "-" {
        let document = Document {
            file: arguments.file.display().to_string(),
            segments: machine.memory.segments.len(),
            ranges: machine.ranges.descriptors.len(),
            processes: machine.processes.len(),
        };
        context.out.document("memtool.record", &*host, &document)?;
    }
    Ok(Verdict::Done)
}
