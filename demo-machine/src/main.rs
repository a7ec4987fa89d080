//! Writes the files of the demo machine into a directory: `cargo run -p demo-machine -- src/host/recorded/demo`.

#![allow(missing_docs, reason = "a program")]

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: demo-machine DIRECTORY");
        return ExitCode::from(2);
    };
    for file in demo_machine::files() {
        let (path, bytes) = (directory.join(format!("{}.zst", file.name)), demo_machine::compress(&file.bytes));
        if let Err(error) = std::fs::write(&path, &bytes) {
            eprintln!("demo-machine: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("{} {} bytes, {} compressed", path.display(), file.bytes.len(), bytes.len());
    }
    ExitCode::SUCCESS
}
