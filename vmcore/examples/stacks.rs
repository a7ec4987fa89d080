//! Prints the kernel stack of each thread in a dump: `cargo run --example stacks vmcore.0 /boot/kernel/kernel`.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use vmcore::Kernel;
use vmcore::stack::Unwinder;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [core, image] = arguments.as_slice() else { return Err("usage: stacks CORE KERNEL".into()) };
    run(Path::new(core), Path::new(image), &mut io::stdout())
}

/// Prints for each thread the functions that it was in, from the innermost, and why there are no more.
pub fn run(core: &Path, image: &Path, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let mut kernel = Kernel::open(core, Some(image))?;
    kernel.load_modules()?;
    let architecture = kernel.memory().architecture();
    let processes = kernel.processes()?;
    let mut unwinder = Unwinder::new(&kernel);
    for (process, thread) in processes.threads() {
        writeln!(out, "{} {} {}", process.pid, thread.tid, String::from_utf8_lossy(&thread.name))?;
        let stack = unwinder.thread(&processes, thread);
        for frame in &stack.frames {
            let address = frame.code_address(architecture);
            writeln!(out, "    {}", kernel.name_of(address).unwrap_or_else(|| format!("{address:#x}")))?;
            if let Some(trap) = &frame.trap {
                writeln!(out, "    --- {} {}", trap.kind.name(), trap.name.unwrap_or_default())?;
            }
        }
        writeln!(out, "    ({})", stack.end)?;
    }
    Ok(())
}
