//! The program: takes the arguments, makes the run, exits with its verdict.

use clap::Parser;
use std::process::ExitCode;
use vm_tests::arguments::Arguments;
use vm_tests::run;

fn main() -> ExitCode {
    ExitCode::from(run::main(&Arguments::parse()).exit_code())
}
