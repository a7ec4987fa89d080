//! Converts a dump to a core file for gdb and lldb: `cargo run --example to_core vmcore.0 /boot/kernel/kernel core`.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use vmcore::Kernel;
use vmcore::convert::core::Core;
use vmcore::convert::notes::Style;
use vmcore::convert::threads::CoreThreads;
use vmcore::format::writer::SparseFile;
use vmcore::progress::Progress;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [core, image, output] = arguments.as_slice() else { return Err("usage: to_core CORE KERNEL OUT".into()) };
    run(Path::new(core), Path::new(image), Path::new(output), &mut io::stdout())
}

/// Writes a new core file, with the threads' registers, and prints what is in it.
pub fn run(core: &Path, image: &Path, output: &Path, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let kernel = Kernel::open(core, Some(image))?;
    let threads = CoreThreads::new(&kernel, &kernel.processes()?, Style::FreeBsd)?;
    let core = Core::new(&kernel, threads.notes)?;
    let mut file = SparseFile::new(File::create_new(output)?);
    core.write(&mut file, &Progress::default())?;
    file.finish()?;
    writeln!(out, "{} threads, {} segments, {} bytes", threads.count, core.facts().segments, core.size())?;
    Ok(())
}
