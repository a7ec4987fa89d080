//! How fast the memory map of a process with very many mappings is listed, beside pmap(1). `tools/bench` runs it. Linux
//! only, where both can be had.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails is seen to fail")]

#[path = "measure/pairs.rs"]
mod pairs;

use clap::Parser;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use pairs::Pairs;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

/// How many there shall be; the kernel allows fewer by default (vm.max_map_count).
const MOST: usize = 100_000;
/// What the process has anyway.
const OTHERS: usize = 500;
const PAGE: usize = 4096;
/// How much faster than pmap -x it shall be, which tells as much.
const TARGET: f64 = 1.0;

/// Compare maps -x with pmap -x
///
/// Exits with 1 if it is slower.
#[derive(Parser)]
#[command(bin_name = "tools/bench", max_term_width = 80)]
struct Arguments {
    #[command(flatten)]
    pairs: Pairs,
    /// Make so many mappings, and wait for the end of standard input
    #[arg(long, hide = true)]
    mappings: Option<usize>,
}

/// Makes mappings whose neighbours differ.
fn make(count: usize) {
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let page = NonZeroUsize::new(PAGE).unwrap();
    for index in 0..count {
        let protection = if index % 2 == 0 { ProtFlags::PROT_READ } else { ProtFlags::PROT_NONE };
        // SAFETY: a new mapping at an address of the kernel's choice, which nothing refers to.
        unsafe { mmap(None, page, protection, MapFlags::MAP_SHARED, &file, 0) }.unwrap();
    }
    println!("ready");
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// A process that has them; it ends with its standard input.
fn start(count: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(format!("--mappings={count}")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// Seconds that a command takes.
fn time(program: &str, arguments: &[&str]) -> f64 {
    let started = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{program}");
    started.elapsed().as_secs_f64()
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(count) = arguments.mappings {
        make(count);
        return ExitCode::SUCCESS;
    }
    if !arguments.pairs.bench {
        println!("nothing is measured: tools/bench does that, or cargo bench --bench maps");
        return ExitCode::SUCCESS;
    }
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap_or(MOST);
    let count = MOST.min(limit - OTHERS);
    let mut child = start(count);
    let pid = child.id().to_string();
    let ours = || time(env!("CARGO_BIN_EXE_memtool"), &["maps", "-x", &pid]);
    let theirs = || time("pmap", &["-x", &pid]);
    let (ours, theirs) = pairs::median(arguments.pairs.rounds, |_| (ours(), theirs()));
    let ratio = theirs / ours;
    println!("{count} mappings: {ours:.2} s; pmap -x: {theirs:.2} s; ratio {ratio:.2}, shall be {TARGET:.1}");
    drop(child.stdin.take());
    child.wait().unwrap();
    if ratio >= TARGET { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
