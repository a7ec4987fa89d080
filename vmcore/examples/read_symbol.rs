//! Reads a variable of type `int` in a dump: `cargo run --example read_symbol vmcore.0 /boot/kernel/kernel hz`.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use vmcore::Kernel;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [core, image, name] = arguments.as_slice() else { return Err("usage: read_symbol CORE KERNEL NAME".into()) };
    run(Path::new(core), Path::new(image), name, &mut io::stdout())
}

/// Prints the address of a variable, and its value.
pub fn run(core: &Path, image: &Path, name: &str, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let mut kernel = Kernel::open(core, Some(image))?;
    for warning in kernel.take_warnings() {
        writeln!(out, "warning: {warning}")?;
    }
    let symbol = kernel.find(name)?.ok_or_else(|| format!("there is no symbol {name}"))?;
    let value = kernel.memory().u32(symbol.address)?;
    writeln!(out, "{name} at {:#x} is {value}", symbol.address)?;
    Ok(())
}
