//! `memtool completions`: completion scripts.

use super::{Cli, Context, Verdict, help};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use memtool::Result;

#[derive(Args)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    // clap_complete panics where it cannot write, so it writes to memory.
    let mut script = Vec::new();
    let mut program = help::with_names_to_complete(Cli::command());
    clap_complete::generate(arguments.shell, &mut program, "memtool", &mut script);
    context.out.bytes(&script)?;
    Ok(Verdict::Done)
}
