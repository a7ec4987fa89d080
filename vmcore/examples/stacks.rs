//! Prints the kernel stack of each thread in a dump: `stacks vmcore.0 kernel`.

use std::error::Error;
use std::path::PathBuf;
use vmcore::Kernel;
use vmcore::stack::Unwinder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(core), Some(image)) = (paths.next(), paths.next()) else {
        return Err("usage: stacks VMCORE KERNEL".into());
    };
    let mut kernel = Kernel::open(&core, Some(&image))?;
    kernel.load_modules()?;
    let processes = kernel.processes()?;
    let mut unwinder = Unwinder::new(&kernel);
    for (process, thread) in processes.threads() {
        let stack = unwinder.thread(&processes, thread);
        println!("{} {} {}", process.pid, thread.tid, String::from_utf8_lossy(&thread.name));
        for frame in &stack.frames {
            let address = frame.code_address(kernel.memory().architecture());
            println!("    {}", kernel.name_of(address).unwrap_or_else(|| format!("{address:#x}")));
            if let Some(trap) = &frame.trap {
                println!("    --- {} {:?} {:?}", trap.kind.name(), trap.number, trap.name);
            }
        }
        println!("    ({})", stack.end);
    }
    Ok(())
}
