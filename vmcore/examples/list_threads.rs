//! Lists the threads in a dump, and where each was: `cargo run --example list_threads vmcore.0 /boot/kernel/kernel`.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use vmcore::Kernel;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [core, image] = arguments.as_slice() else { return Err("usage: list_threads CORE KERNEL".into()) };
    run(Path::new(core), Path::new(image), &mut io::stdout())
}

/// Prints a line for each thread, that which wrote the dump first.
pub fn run(core: &Path, image: &Path, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let kernel = Kernel::open(core, Some(image))?;
    let processes = kernel.processes()?;
    for (process, thread) in processes.threads() {
        let pc = processes.registers(kernel.memory(), thread)?.pc();
        let place = pc.and_then(|pc| kernel.name_of(pc)).unwrap_or_else(|| "unknown".to_owned());
        let name = String::from_utf8_lossy(&thread.name);
        writeln!(out, "{}\t{}\t{name}\t{}\t{place}", process.pid, thread.tid, thread.state.name())?;
    }
    Ok(())
}
