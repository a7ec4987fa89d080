//! The command line: one file for each subcommand, which takes arguments, calls the library and prints.

mod completions;
mod convert;
mod decrypt;
mod destination;
mod dump;
mod inspect;
mod json;
mod kernel;
mod livedump;
mod maps;
mod output;
mod paddr;
mod progress;
mod ps;
mod ranges;
mod read;
mod record;
mod save;
mod symbols;
mod translate;
mod write;

use clap::{Args, Parser, Subcommand};
use memtool::explain::errno_name;
use memtool::host::{self, Host, Selection};
use memtool::units::{parse_address, parse_size};
use memtool::{Error, Result, files_in_use, interrupt};
use nix::errno::Errno;
use output::Output;
use std::error::Error as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Administration toolkit for FreeBSD's mem(4)
#[derive(Parser)]
#[command(
    name = "memtool",
    version,
    max_term_width = 80,
    after_help = "See memtool(8) for the details. Exit codes: 0 done, 1 failed, 2 usage."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// Run against a recorded machine: a file made by 'record', or 'demo'
    #[arg(long, global = true, value_name = "FILE")]
    machine: Option<PathBuf>,
    /// Write the recorded machine, as it is afterwards, to a file
    #[arg(long, global = true, value_name = "FILE")]
    save_machine: Option<PathBuf>,
    /// Use this device in place of /dev/mem
    #[arg(long, global = true, value_name = "PATH")]
    device: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    /// Tell more; with an error, what caused it
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print no warnings and no remarks
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List, explain and change memory range attributes (MTRRs)
    Ranges(ranges::Arguments),
    /// Tell where pages of a process lie: physical address and NUMA domain
    Paddr(paddr::Arguments),
    /// Dump memory: RAM only, or an image of it
    Dump(dump::Arguments),
    /// Take a minidump of the running kernel
    Livedump(livedump::Arguments),
    /// Save the crash dump on a dump device, and clear it there
    Save(save::Arguments),
    /// Tell what is in a kernel dump, and whether it is whole
    Inspect(inspect::Arguments),
    /// Make of a dump a core file for debuggers, or an image in another format
    Convert(convert::Arguments),
    /// Decrypt an encrypted kernel dump
    Decrypt(decrypt::Arguments),
    /// Read kernel memory, of the running kernel or of a dump
    Read(read::Arguments),
    /// Show each step from a kernel's virtual address to memory
    Translate(translate::Arguments),
    /// Change kernel memory, of the running kernel or of a dump
    Write(write::Arguments),
    /// Find a kernel's symbols: by name, by pattern, or by an address
    Symbols(symbols::Arguments),
    /// List the processes and threads of the running kernel or of a dump
    Ps(ps::Arguments),
    /// List the memory map of a process, and what of it is in memory
    Maps(maps::Arguments),
    /// Record what this host looks like, for --machine
    Record(record::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
}

impl Command {
    /// An option of it that is about text, and so has no meaning with `--json`, and why.
    fn text_only(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Read(arguments) => arguments.text_only(),
            Self::Ranges(arguments) => arguments.text_only(),
            Self::Maps(arguments) => arguments.text_only(),
            _ => None,
        }
    }

    /// What a signal's message says when it ends the command.
    fn announcement(&self) -> fn() -> &'static str {
        match self {
            Self::Livedump(_) => || {
                if livedump::kernel_dumps() {
                    "the kernel does not stop a dump that it has begun; when it is over, memtool ends and the unfinished file goes"
                } else {
                    "the dump is not complete"
                }
            },
            Self::Dump(_) | Self::Convert(_) | Self::Decrypt(_) => || "the dump is not complete",
            Self::Save(_) => || "interrupted; a dump that was not reported as saved is still on its device",
            _ => || "interrupted",
        }
    }
}

/// How a command ended that did not fail as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    /// Part of it failed; that was reported already.
    Failed,
}

/// What a command works with.
struct Context {
    global: Global,
    out: Output,
}

impl Context {
    /// A machine with mem(4).
    fn host(&self) -> Result<Box<dyn Host>> {
        host::open(&self.selection())
    }

    fn selection(&self) -> Selection<'_> {
        Selection { machine: self.global.machine.as_deref(), device: self.global.device.as_deref() }
    }

    /// A warning on standard error, and in the JSON object that comes after it.
    fn warn(&mut self, text: &str) {
        self.out.keep_warning(text);
        self.remark(&format!("warning: {text}"));
    }

    /// A warning that `-q` does not take away.
    fn warn_always(&mut self, text: &str) {
        self.out.keep_warning(text);
        let _ = self.out.flush();
        complain(&format!("warning: {text}"));
    }

    /// A remark on standard error.
    fn remark(&mut self, text: &str) {
        if !self.global.quiet {
            // In the order in which it was said; a failure comes up again at the end.
            let _ = self.out.flush();
            complain(text);
        }
    }
}

/// A line on standard error. Where that cannot be written to, there is nobody to tell.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "memtool: {}", output::harmless(text));
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = check(&cli) {
        error.exit();
    }
    let verbose = cli.global.verbose > 0;
    match run(cli) {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Err(error) => {
            if !output::is_closed_pipe(&error) {
                report(&error, verbose);
            }
            ExitCode::FAILURE
        }
    }
}

/// What clap cannot check of options that belong to every command.
fn check(cli: &Cli) -> Result<(), clap::Error> {
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    let conflict = |text: &str| Err(Cli::command().error(ErrorKind::ArgumentConflict, text));
    if let Some((option, why)) = cli.command.text_only().filter(|_| cli.global.json) {
        return conflict(&format!("{option} cannot be used with --json: {why}"));
    }
    match &cli.global {
        Global { machine: Some(_), device: Some(_), .. } => {
            conflict("--device names a real device and cannot be used with --machine")
        }
        Global { machine: None, save_machine: Some(_), .. } => {
            conflict("--save-machine keeps a recorded machine and needs --machine")
        }
        _ => Ok(()),
    }
}

fn run(cli: Cli) -> Result<Verdict> {
    files_in_use::track();
    let out = Output::new(cli.global.json)?;
    let mut context = Context { global: cli.global, out };
    let command = cli.command;
    let announcement = command.announcement();
    let announce = move |signal: &str| {
        progress::end_line();
        complain(&format!("{signal}: {}", announcement()));
    };
    interrupt::clean_up_on_signals(announce)
        .map_err(|source| Error::Io { what: "prepare for signals".to_owned(), source })?;
    if let Some(verdict) = run_without_host(&mut context, &command) {
        context.out.flush()?;
        return verdict;
    }
    let mut host = match &command {
        Command::Paddr(_) | Command::Maps(_) => host::open_for_processes(&context.selection()),
        _ => context.host(),
    }?;
    let save = context.global.save_machine.clone();
    if let (Some(path), Some(recorded)) = (&save, host.as_recorded()) {
        recorded.check_save(path)?;
    }
    let verdict = match command {
        Command::Ranges(arguments) => ranges::run(&mut context, &mut *host, arguments),
        Command::Paddr(arguments) => paddr::run(&mut context, &mut *host, &arguments),
        Command::Dump(arguments) => dump::run(&mut context, Some(&*host), &arguments),
        Command::Livedump(arguments) => livedump::run(&mut context, &*host, &arguments),
        Command::Symbols(arguments) => symbols::run(&mut context, Some(&*host), &arguments),
        Command::Save(arguments) => save::run(&mut context, Some(&*host), &arguments),
        Command::Maps(arguments) => maps::run(&mut context, &*host, &arguments),
        Command::Record(arguments) => record::run(&*host, &arguments),
        Command::Read(arguments) => read::run(&mut context, Some(&*host), &arguments),
        Command::Translate(arguments) => translate::run(&mut context, Some(&*host), &arguments),
        Command::Write(arguments) => write::run(&mut context, Some(&*host), &arguments),
        Command::Ps(arguments) => ps::run(&mut context, Some(&*host), &arguments),
        Command::Inspect(_) | Command::Convert(_) | Command::Decrypt(_) | Command::Completions(_) => Ok(Verdict::Done),
    }?;
    context.out.flush()?;
    if let (Some(path), Some(recorded)) = (&save, host.as_recorded()) {
        recorded.save(path)?;
    }
    Ok(verdict)
}

/// Runs a command that asks no host; `None` for all others.
fn run_without_host(context: &mut Context, command: &Command) -> Option<Result<Verdict>> {
    match command {
        Command::Completions(arguments) => Some(completions::run(context, arguments).map(|()| Verdict::Done)),
        Command::Inspect(arguments) => Some(inspect::run(context, arguments)),
        Command::Decrypt(arguments) => Some(decrypt::run(context, arguments)),
        Command::Symbols(arguments) if arguments.needs_no_host() => Some(symbols::run(context, None, arguments)),
        Command::Convert(arguments) => Some(convert::run(context, arguments)),
        Command::Save(arguments) if arguments.needs_no_host() => Some(save::run(context, None, arguments)),
        Command::Dump(arguments) if arguments.needs_no_host(context.global.device.as_deref()) => {
            Some(dump::run(context, None, arguments))
        }
        Command::Read(arguments) if arguments.kernel.needs_no_host() => Some(read::run(context, None, arguments)),
        Command::Translate(arguments) if arguments.kernel.needs_no_host() => {
            Some(translate::run(context, None, arguments))
        }
        Command::Write(arguments) if arguments.kernel.needs_no_host() => Some(write::run(context, None, arguments)),
        Command::Ps(arguments) if arguments.kernel.needs_no_host() => Some(ps::run(context, None, arguments)),
        _ => None,
    }
}

/// Prints an error as one line, and with `-v` what caused it.
fn report(error: &Error, verbose: bool) {
    complain(&error.to_string());
    let mut cause = error.source();
    while let Some(source) = cause.filter(|_| verbose) {
        let text = match source.downcast_ref::<Errno>() {
            Some(errno) => format!("{} (errno {}): {}", errno_name(*errno), *errno as i32, errno.desc()),
            None => source.to_string(),
        };
        complain(&format!("caused by: {text}"));
        cause = source.source();
    }
}

/// clap's parser for addresses.
fn address(text: &str) -> Result<u64, String> {
    parse_address(text).map_err(|error| error.to_string())
}

/// clap's parser for sizes.
fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.to_string())
}
