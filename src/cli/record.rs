//! `memtool record`: what a host looks like, as a file.

use super::{Context, Verdict, pid};
use clap::Args;
use memtool::host::Pid;
use memtool::{Error, Result, record};
use serde::Serialize;
use std::path::PathBuf;
use vmcore::text::Name;

#[derive(Args)]
#[command(
    after_help = "Memory contents are not recorded. The file's 'contents' selects a substitute: a pattern, or an image such as 'memtool dump' writes. An existing FILE is never overwritten."
)]
pub struct Arguments {
    /// The file to write; '-' is standard output
    #[arg(required_unless_present = "output")]
    file: Option<PathBuf>,
    /// The same as FILE
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    output: Option<PathBuf>,
    /// Also record the memory map of this process, for 'maps'; may be repeated
    #[arg(long = "pid", value_name = "PID", value_parser = pid)]
    pids: Vec<i32>,
}

#[derive(Serialize)]
struct Document {
    output: Name,
    segment_count: usize,
    range_count: usize,
    process_count: usize,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let pids: Vec<Pid> = arguments.pids.iter().copied().map(Pid::from_raw).collect();
    let host = context.host()?;
    let machine = match context.recorded()? {
        Some(recorded) => record::record_again(&recorded, &pids)?,
        None => record::record(&*host, &pids)?,
    };
    let file = arguments.file.as_ref().or(arguments.output.as_ref());
    let file = file.ok_or_else(|| Error::Usage("no file is given".to_owned()))?;
    machine.write(file, false)?;
    // On standard output the machine is the object.
    if context.out.is_json() && file.as_os_str() != "-" {
        let document = Document {
            output: file.as_path().into(),
            segment_count: machine.memory.segments.len(),
            range_count: machine.ranges.descriptors.len(),
            process_count: machine.processes.len(),
        };
        context.out.document("memtool.record", &*host, &document)?;
    }
    Ok(Verdict::Done)
}
