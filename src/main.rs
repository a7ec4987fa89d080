//! The memtool command: see memtool(8).

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
