//! The command line: one file for each subcommand, which takes arguments, calls the library and prints.

#[cfg(feature = "archive")]
mod archive;
mod closed;
mod completions;
mod convert;
mod crash;
mod custody;
mod decrypt;
mod destination;
mod dmesg;
mod dump;
mod dump_verify;
mod encryption;
mod help;
mod inspect;
mod json;
mod kernel;
mod kernel_types;
mod livedump;
mod map;
mod maps;
mod output;
mod paddr;
mod partition;
mod print;
mod progress;
mod ps;
mod ranges;
mod read;
mod receive;
mod record;
mod report;
mod save;
mod secrets;
mod show;
mod signing;
mod spelling;
mod stack;
mod stored;
mod symbols;
mod system_log;
mod translate;
mod type_documents;
mod type_text;
mod types;
mod usage;
mod write;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use memtool::files;
use memtool::host::recorded::Recorded;
use memtool::host::{self, Host, ProcessHost, Selection};
use memtool::kernel_error::errno_name;
use memtool::observer::{Observer, Work};
use memtool::output_file::{ScratchChoice, choose_scratch};
use memtool::{Error, Result, core_files, files_in_use, interrupt};
use nix::errno::Errno;
use output::Output;
use progress::Display;
use std::error::Error as _;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use system_log::SystemLog;
use vmcore::text::escape_control;
use vmcore::units::{parse_address, parse_size};

/// Administration toolkit for FreeBSD's mem(4)
#[derive(Parser)]
#[command(
    name = "memtool",
    version = env!("MEMTOOL_VERSION"),
    max_term_width = 80,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 success, 1 failure, 2 usage error. See memtool(8) for details."
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
    /// Save the recorded machine, with its changes, to a file
    #[arg(long, global = true, value_name = "FILE")]
    save_machine: Option<PathBuf>,
    /// Use this device in place of /dev/mem
    #[arg(long, global = true, value_name = "PATH", value_parser = seekable())]
    device: Option<PathBuf>,
    /// Directory for dumps that have to be decompressed, decrypted or copied to be read [default: TMPDIR, or /var/tmp]
    #[arg(long, global = true, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Do not take more than this of it for a dump that has to be decompressed
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    scratch_limit: Option<u64>,
    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
    /// Do not shorten names to fit the terminal
    #[arg(long, global = true)]
    wide: bool,
    /// Print more detail; with an error, its causes
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Suppress warnings and remarks
    #[arg(short, long, global = true)]
    quiet: bool,
}

impl Cli {
    /// What the command works on.
    fn subject(&self) -> Subject {
        self.command.subject(self.global.device.as_deref())
    }
}

#[derive(Subcommand)]
enum Command {
    /// List, explain and change memory range attributes (MTRRs)
    Ranges(ranges::Arguments),
    /// Show the physical address and NUMA domain of a process's pages
    Paddr(paddr::Arguments),
    /// Dump physical memory, RAM only, or an image of it
    Dump(dump::Arguments),
    /// Take a minidump of the running kernel
    Livedump(livedump::Arguments),
    /// Save the crash dump of a dump device and clear the device
    Save(save::Arguments),
    /// Receive dumps: of netdump(4) clients, and of memtool on other hosts
    Receive(receive::Arguments),
    /// Describe a kernel dump and verify that it is complete
    Inspect(inspect::Arguments),
    /// Convert a dump to a core file for debuggers, or to another image format
    Convert(convert::Arguments),
    /// Keep the crashes of a fleet, each once, and find and count them
    #[cfg(feature = "archive")]
    Archive(archive::Arguments),
    /// Record who had a dump when, and why, and verify that record
    Custody(custody::Arguments),
    /// Decrypt an encrypted kernel dump
    Decrypt(decrypt::Arguments),
    /// Read memory of the running kernel or of a dump
    Read(read::Arguments),
    /// Print variables, structures and lists of a kernel by its types
    Print(print::Arguments),
    /// Translate a kernel virtual address, showing each page table entry
    Translate(translate::Arguments),
    /// Change memory of the running kernel or of a dump
    Write(write::Arguments),
    /// Find kernel symbols by name, pattern or address
    Symbols(symbols::Arguments),
    /// Show the types of a kernel's structures, functions and variables
    Types(types::Arguments),
    /// List the processes and threads of the running kernel or of a dump
    Ps(ps::Arguments),
    /// Show which functions the threads of a kernel were in
    Stack(stack::Arguments),
    /// Show what a kernel counts and holds, as vmstat and swapinfo do
    Show(show::Arguments),
    /// Print the messages of a kernel
    Dmesg(dmesg::Arguments),
    /// Report on a crash from its dump
    Report(report::Arguments),
    /// List the memory map of a process, by virtual addresses, and how much of it is resident
    Maps(maps::Arguments),
    /// Draw physical memory: RAM, holes, cache types, what a dump holds, what is free
    Map(map::Arguments),
    /// Record the description of this host for --machine
    Record(record::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Show the manual page of a command, or its options
    Help(help::Arguments),
}

/// What a command works on with its arguments. That decides which of the options of every command mean something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// Nothing but itself.
    Program,
    /// Files that it is given.
    Files,
    /// A dump, in a file that it is given or on a dump device of a recorded machine.
    Crash,
    /// An image of memory in place of a system, which `--device` names.
    Image,
    /// A system, by what its kernel tells without mem(4).
    System,
    /// A system and its mem(4).
    Memory,
}

impl Subject {
    /// Whether there is a system to ask, which can be a recorded one.
    fn has_host(self) -> bool {
        matches!(self, Self::System | Self::Memory | Self::Crash)
    }

    /// Whether there may be a dump that has to be decompressed somewhere.
    fn reads_dumps(self) -> bool {
        matches!(self, Self::Files | Self::Crash)
    }

    /// An option that was given and has no meaning, and why.
    fn meaningless(self, global: &Global) -> Option<(&'static str, &'static str)> {
        let reason = match self {
            Self::Program => "the command uses no machine",
            Self::Files | Self::Crash => "with these arguments the command works on files",
            Self::Image | Self::System | Self::Memory => "the command works on an image of memory",
        };
        [
            (global.machine.is_some() && !self.has_host(), "--machine", reason),
            (global.save_machine.is_some() && !self.has_host(), "--save-machine", reason),
            (global.device.is_some() && matches!(self, Self::Program | Self::Files | Self::Crash), "--device", reason),
            (global.device.is_some() && self == Self::System, "--device", "the command does not use mem(4)"),
            (global.scratch_limit.is_some() && !self.reads_dumps(), "--scratch-limit", "the command reads no dump"),
            (global.json && self == Self::Program, "--json", reason),
        ]
        .into_iter()
        .find_map(|(is_given, option, why)| is_given.then_some((option, why)))
    }
}

impl Command {
    /// Whether keys or the memory of a kernel can be in this process. The others need what Linux keeps from a process of which
    /// no core file is written: its own entries in /proc.
    fn holds_secrets(&self) -> bool {
        !matches!(self, Self::Ranges(_) | Self::Paddr(_) | Self::Maps(_) | Self::Map(_) | Self::Record(_))
    }

    /// An option of it that is about text, and so has no meaning with `--json`, and why.
    fn text_only(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Read(arguments) => arguments.text_only(),
            Self::Ranges(arguments) => arguments.text_only(),
            Self::Maps(arguments) => arguments.text_only(),
            Self::Report(arguments) => arguments.html.then_some(("--html", "each is another form of the report")),
            Self::Symbols(arguments) => arguments.isf.then_some(("--isf", "it is another form of JSON")),
            _ => None,
        }
    }

    /// What clap cannot check of its options.
    fn check(&self, json: bool) -> Result<(), String> {
        match self {
            #[cfg(feature = "archive")]
            Self::Archive(arguments) => arguments.check(),
            Self::Read(arguments) => arguments.check(json),
            Self::Write(arguments) => arguments.check(),
            Self::Symbols(arguments) => arguments.check(),
            Self::Types(arguments) => arguments.check(),
            Self::Paddr(arguments) => arguments.check(),
            Self::Convert(arguments) => arguments.check(json),
            Self::Livedump(arguments) => arguments.check(json),
            Self::Dump(arguments) => arguments.check(json),
            Self::Report(arguments) => arguments.check(json),
            Self::Save(arguments) => arguments.check(json),
            Self::Receive(arguments) => arguments.check(),
            Self::Maps(arguments) => arguments.check(),
            Self::Map(arguments) => arguments.check(json),
            _ => Ok(()),
        }
    }

    /// Files that it reads once, and so can be standard input, by the options and operands that name them.
    fn inputs(&self) -> Inputs<'_> {
        match self {
            Self::Dump(arguments) => arguments.inputs(),
            Self::Report(arguments) => arguments.inputs(),
            Self::Save(arguments) => arguments.inputs(),
            Self::Receive(arguments) => arguments.inputs(),
            Self::Livedump(arguments) => arguments.inputs(),
            Self::Inspect(arguments) => arguments.inputs(),
            Self::Convert(arguments) => arguments.inputs(),
            #[cfg(feature = "archive")]
            Self::Archive(arguments) => arguments.inputs(),
            Self::Custody(arguments) => arguments.inputs(),
            Self::Decrypt(arguments) => arguments.inputs(),
            Self::Read(arguments) => arguments.kernel.inputs(),
            Self::Print(arguments) => arguments.kernel.inputs(),
            Self::Translate(arguments) => arguments.kernel.inputs(),
            Self::Write(arguments) => arguments.kernel.inputs(),
            Self::Symbols(arguments) => arguments.of.inputs(),
            Self::Types(arguments) => arguments.kernel.inputs(),
            Self::Ps(arguments) => arguments.kernel.inputs(),
            Self::Maps(arguments) => arguments.kernel.inputs(),
            Self::Map(arguments) => arguments.kernel.inputs(),
            Self::Stack(arguments) => arguments.kernel.inputs(),
            Self::Show(arguments) => arguments.kernel.inputs(),
            Self::Dmesg(arguments) => arguments.kernel.inputs(),
            _ => Vec::new(),
        }
    }

    /// What help is wanted for.
    fn help(&self) -> Option<help::Arguments> {
        match self {
            Self::Help(arguments) => Some(arguments.clone()),
            Self::Ranges(arguments) => arguments.help(),
            #[cfg(feature = "archive")]
            Self::Archive(arguments) => arguments.help(),
            Self::Custody(arguments) => arguments.help(),
            _ => None,
        }
    }

    /// What it works on.
    fn subject(&self, device: Option<&Path>) -> Subject {
        let by_files = |named: bool, otherwise: Subject| if named { Subject::Files } else { otherwise };
        match self {
            Self::Completions(_) | Self::Help(_) => Subject::Program,
            Self::Ranges(arguments) if arguments.help().is_some() => Subject::Program,
            Self::Custody(arguments) if arguments.help().is_some() => Subject::Program,
            #[cfg(feature = "archive")]
            Self::Archive(arguments) if arguments.help().is_some() => Subject::Program,
            #[cfg(feature = "archive")]
            Self::Archive(_) => Subject::Files,
            Self::Receive(_) | Self::Inspect(_) | Self::Convert(_) | Self::Custody(_) | Self::Decrypt(_) => {
                Subject::Files
            }
            Self::Report(arguments) if arguments.running => Subject::Memory,
            Self::Report(_) => Subject::Crash,
            Self::Save(arguments) if arguments.is_live() => Subject::Memory,
            Self::Save(arguments) => by_files(arguments.names_devices(), Subject::System),
            Self::Symbols(arguments) => by_files(arguments.of.names_files(), Subject::System),
            Self::Types(arguments) => by_files(arguments.kernel.names_files(), Subject::System),
            Self::Read(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Print(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Translate(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Write(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Ps(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Stack(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Show(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Dmesg(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Map(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Dump(arguments) if arguments.verifies() => Subject::Files,
            Self::Dump(_) if device.is_some_and(|device| !files::is_mem_device(device)) => Subject::Image,
            Self::Maps(arguments) if !arguments.uses_structures() => Subject::System,
            Self::Maps(arguments) => by_files(arguments.kernel.names_core(), Subject::Memory),
            Self::Ranges(_) | Self::Paddr(_) | Self::Dump(_) | Self::Livedump(_) | Self::Record(_) => Subject::Memory,
        }
    }

    /// Whether it makes a live dump, which may need a temporary file.
    fn makes_live_dump(&self) -> bool {
        match self {
            Self::Livedump(_) => true,
            Self::Save(arguments) => arguments.is_live(),
            _ => false,
        }
    }

    /// Whether it writes to a directory that nobody has named.
    fn writes_where_the_system_does(&self) -> bool {
        matches!(self, Self::Save(arguments) if arguments.uses_default_directory())
    }

    /// What a signal's message says when it ends the command.
    fn signal_message(&self) -> fn() -> &'static str {
        match self {
            _ if self.makes_live_dump() => || {
                if memtool::livedump::kernel_dumps() {
                    "the kernel cannot stop a dump once begun; when it is done, memtool exits and removes the unfinished file"
                } else {
                    "the dump is not complete"
                }
            },
            Self::Dump(_) | Self::Convert(_) | Self::Decrypt(_) => || "the dump is not complete",
            Self::Receive(_) => || "no more dumps are received; what has arrived stays where it is",
            Self::Save(_) => || "interrupted; a dump not reported as saved is still on its device",
            _ => || "interrupted",
        }
    }
}

/// Files that a command reads once, with the options and operands that name them.
type Inputs<'a> = Vec<(&'static str, Option<&'a PathBuf>)>;

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
    /// The recorded machine, once a command has asked it.
    recorded: Option<Rc<Recorded>>,
    /// How far the command is, while that is shown.
    display: Option<Display>,
    /// What is logged of it.
    log: SystemLog,
    /// Whether a warning has said that an image is another kernel's.
    has_told_of_other_kernel: bool,
}

impl Context {
    /// The machine with mem(4) that the command works on.
    fn host(&mut self) -> Result<Rc<dyn Host>> {
        match self.recorded()? {
            Some(recorded) => Ok(recorded),
            None => host::open(&self.selection()).map(Rc::from),
        }
    }

    /// The system whose processes the command asks about.
    fn process_host(&mut self) -> Result<Rc<dyn ProcessHost>> {
        match self.recorded()? {
            Some(recorded) => Ok(recorded),
            None => host::open_for_processes(&self.selection()).map(Rc::from),
        }
    }

    /// The recorded machine, if the command works on one: the same one each time. If it is to be saved, that it can be is
    /// seen to first.
    fn recorded(&mut self) -> Result<Option<Rc<Recorded>>> {
        if let (None, Some(machine)) = (&self.recorded, &self.global.machine) {
            let recorded = Recorded::open(machine)?;
            if let Some(path) = &self.global.save_machine {
                recorded.check_save(path)?;
            }
            self.recorded = Some(Rc::new(recorded));
        }
        Ok(self.recorded.clone())
    }

    fn selection(&self) -> Selection<'_> {
        Selection { machine: self.global.machine.as_deref(), device: self.global.device.as_deref() }
    }

    /// A warning on standard error, and in the JSON object that comes after it.
    fn warn(&mut self, text: &str) {
        self.log.warning(text);
        self.out.keep_warning(text);
        self.remark(&format!("warning: {text}"));
    }

    /// A warning that `-q` does not take away.
    fn warn_always(&mut self, text: &str) {
        self.log.warning(text);
        self.out.keep_warning(text);
        let _ = self.out.flush();
        eprint_message(&format!("warning: {text}"));
    }

    /// A line on standard error, behind what was printed, that says why the command fails, or part of it. `-q` does not
    /// take it away.
    fn print_failure(&mut self, why: &str) -> Result<()> {
        self.log.error(why);
        self.out.flush()?;
        eprint_message(why);
        Ok(())
    }

    /// The same where a warning has said so before: a line only if `-q` took that away.
    fn repeat_failure(&mut self, why: &str) -> Result<()> {
        if self.global.quiet { self.print_failure(why) } else { Ok(()) }
    }

    /// An error without what a warning has said before.
    fn without_repetition(&self, error: Error) -> Error {
        match error {
            Error::Vmcore(vmcore::Error::OtherKernel(_)) if self.has_told_of_other_kernel && !self.global.quiet => {
                Error::Refused("give the kernel that was running with --kernel".to_owned())
            }
            other => other,
        }
    }

    /// A remark on standard error.
    fn remark(&mut self, text: &str) {
        if !self.global.quiet {
            // In the order in which it was said; a failure comes up again at the end.
            let _ = self.out.flush();
            eprint_message(text);
        }
    }
}

/// What the library tells while it works, a person is told.
impl Observer for Context {
    fn warn(&mut self, warning: &str) {
        Self::warn(self, warning);
    }

    fn remark(&mut self, remark: &str) {
        Self::remark(self, remark);
    }

    fn detail(&mut self, remark: &str) {
        if self.global.verbose > 0 {
            Self::remark(self, remark);
        }
    }

    fn begin(&mut self, work: Work<'_>) -> Result<()> {
        self.display = Some(Display::follow(work, !self.global.quiet)?);
        Ok(())
    }

    fn end(&mut self) {
        self.display = None;
    }
}

/// A line on standard error, in one write, so that it stays whole where others write as well. Where that cannot be
/// written to, there is nobody to tell.
fn eprint_message(text: &str) {
    let line = format!("memtool: {}\n", escape_control(&output::shorten(text)));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Runs the program.
pub fn main() -> ExitCode {
    closed::restore();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(words) = completions::words_to_complete(&arguments) {
        return completions::print_candidates(words);
    }
    let (arguments, old_spellings) = spelling::modernize(arguments);
    let parsed = Cli::command().try_get_matches_from(&arguments);
    let (name, cli) = match parsed.and_then(|matches| Ok((name_of(&matches), Cli::from_arg_matches(&matches)?))) {
        Ok(parsed) => parsed,
        Err(error) => return usage::report(&error, &arguments),
    };
    if !cli.global.quiet {
        old_spellings.iter().for_each(|remark| eprint_message(remark));
    }
    if let Some(Err(error)) = cli.command.help().map(|arguments| arguments.check()) {
        return usage::report(&error, &arguments);
    }
    if let Err(why) = check(&cli) {
        return usage::fail(&why, &name);
    }
    let verbose = cli.global.verbose > 0;
    match run(cli) {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Err(Error::Usage(why)) => usage::fail(&why, &name),
        Err(error) => fail(&error, &name, verbose),
    }
}

/// The command's name.
fn name_of(matches: &ArgMatches) -> String {
    matches.subcommand_name().unwrap_or_default().to_owned()
}

/// Ends with an error, which is not worth a word where nobody reads standard output any more.
fn fail(error: &Error, command: &str, verbose: bool) -> ExitCode {
    if !output::is_closed_pipe(error) {
        report(error, command, verbose);
    }
    ExitCode::FAILURE
}

/// What clap cannot check of options that belong to every command.
fn check(cli: &Cli) -> Result<(), String> {
    let conflict = |text: &str| Err(text.to_owned());
    cli.command.check(cli.global.json)?;
    check_standard_input(cli)?;
    if let Some((option, why)) = cli.command.text_only().filter(|_| cli.global.json) {
        return conflict(&format!("{option} cannot be used with --json: {why}"));
    }
    match &cli.global {
        Global { json: true, save_machine: Some(file), .. } if file.as_os_str() == "-" => {
            conflict("--save-machine - and --json cannot share standard output; give a file")
        }
        Global { machine: Some(_), device: Some(_), .. } => {
            conflict("--device is a real device and cannot be used with --machine")
        }
        Global { machine: None, save_machine: Some(_), .. } => {
            conflict("--save-machine saves a recorded machine and requires --machine")
        }
        // The memory of a recorded machine may have to be unpacked.
        Global { scratch: Some(_), machine: None, .. }
            if !cli.subject().reads_dumps() && !cli.command.makes_live_dump() =>
        {
            conflict("--scratch does not apply: the command reads no dump, and makes no live dump")
        }
        global => match cli.subject().meaningless(global) {
            Some((option, why)) => conflict(&format!("{option} does not apply: {why}")),
            None if global.machine.is_some() && cli.command.writes_where_the_system_does() => {
                conflict("with --machine, a directory must be given with --dir: the default is this system's")
            }
            None => Ok(()),
        },
    }
}

/// That not more than one file is to be read from standard input.
fn check_standard_input(cli: &Cli) -> Result<(), String> {
    let mut inputs = vec![("--machine", cli.global.machine.as_ref())];
    inputs.extend(cli.command.inputs());
    let is_input = |path: &Option<&PathBuf>| path.is_some_and(|path| files::is_standard_input(path));
    let names: Vec<&str> = inputs.iter().filter(|(_, path)| is_input(path)).map(|(name, _)| *name).collect();
    match names.as_slice() {
        [first, second, ..] => Err(format!("{first} and {second} cannot both be standard input")),
        _ => Ok(()),
    }
}

fn run(cli: Cli) -> Result<Verdict> {
    if cli.command.holds_secrets() {
        core_files::forbid();
    }
    files_in_use::track();
    let Global { scratch, scratch_limit, .. } = &cli.global;
    choose_scratch(ScratchChoice { directory: scratch.clone(), limit: *scratch_limit });
    let out = Output::new(cli.global.json, cli.global.wide)?;
    let mut context = Context {
        global: cli.global,
        out,
        recorded: None,
        display: None,
        log: SystemLog::default(),
        has_told_of_other_kernel: false,
    };
    let command = cli.command;
    let signal_message = command.signal_message();
    let announce = move |signal: &str| {
        progress::end_line();
        eprint_message(&format!("{signal}: {}{}", signal_message(), progress::interrupted_phase()));
    };
    interrupt::clean_up_on_signals(announce)
        .map_err(|source| Error::Io { what: "prepare for signals".to_owned(), source })?;
    let verdict = dispatch(&mut context, command);
    for trouble in context.out.new_troubles() {
        context.warn_always(&trouble);
    }
    let verdict = verdict.map_err(|error| context.without_repetition(error))?;
    context.out.flush()?;
    if context.global.machine.is_some() && !context.out.has_told_of_recording() {
        context.remark("the machine is recorded");
    }
    if let (Some(path), Some(recorded)) = (context.global.save_machine.clone(), context.recorded()?) {
        recorded.save(&path)?;
    }
    Ok(verdict)
}

/// Runs a command.
fn dispatch(context: &mut Context, command: Command) -> Result<Verdict> {
    match command {
        Command::Ranges(arguments) => ranges::run(context, arguments),
        Command::Paddr(arguments) => paddr::run(context, &arguments),
        Command::Dump(arguments) => dump::run(context, &arguments),
        Command::Livedump(arguments) => livedump::run(context, &arguments),
        Command::Save(arguments) => save::run(context, &arguments),
        Command::Receive(arguments) => receive::run(context, &arguments),
        Command::Inspect(arguments) => inspect::run(context, &arguments),
        Command::Convert(arguments) => convert::run(context, &arguments),
        #[cfg(feature = "archive")]
        Command::Archive(arguments) => archive::run(context, &arguments),
        Command::Custody(arguments) => custody::run(context, &arguments),
        Command::Decrypt(arguments) => decrypt::run(context, &arguments),
        Command::Read(arguments) => read::run(context, &arguments),
        Command::Print(arguments) => print::run(context, &arguments),
        Command::Translate(arguments) => translate::run(context, &arguments),
        Command::Write(arguments) => write::run(context, &arguments),
        Command::Symbols(arguments) => symbols::run(context, &arguments),
        Command::Types(arguments) => types::run(context, &arguments),
        Command::Stack(arguments) => stack::run(context, &arguments),
        Command::Show(arguments) => show::run(context, &arguments),
        Command::Dmesg(arguments) => dmesg::run(context, &arguments),
        Command::Ps(arguments) => ps::run(context, &arguments),
        Command::Report(arguments) => report::run(context, &arguments),
        Command::Maps(arguments) => maps::run(context, &arguments),
        Command::Map(arguments) => map::run(context, &arguments),
        Command::Record(arguments) => record::run(context, &arguments),
        Command::Completions(arguments) => completions::run(context, &arguments),
        Command::Help(arguments) => help::run(context, &arguments),
    }
}

/// Prints the error of a command as one line, and with `-v` what caused it.
fn report(error: &Error, command: &str, verbose: bool) {
    let takes_force = ["dump", "livedump", "convert", "decrypt", "report", "symbols"].contains(&command);
    let remedy = match error {
        Error::Exists(_) if takes_force => "; --force replaces it".to_owned(),
        Error::NotFreeBsd => format!(
            "; give {}a recorded machine with --machine ('--machine demo' is built in)",
            in_place_of_a_system(command)
        ),
        _ => String::new(),
    };
    eprint_message(&format!("{error}{remedy}"));
    let mut cause = error.source();
    while let Some(source) = cause.filter(|_| verbose) {
        let text = match source.downcast_ref::<Errno>() {
            Some(errno) => format!("{} (errno {}): {}", errno_name(*errno), *errno as i32, errno.desc()),
            None => match source.downcast_ref::<io::Error>() {
                Some(error) if error.raw_os_error().is_some() => {
                    let errno = vmcore::errno::Errno::new(error);
                    format!("{} (errno {}): {}", errno.name(), errno.0, errno.description())
                }
                Some(error) => vmcore::errno::reason(error),
                None => source.to_string(),
            },
        };
        eprint_message(&format!("caused by: {text}"));
        cause = source.source();
    }
}

/// What a command works on in place of a system with mem(4), other than a recorded machine.
fn in_place_of_a_system(command: &str) -> &'static str {
    match command {
        "read" | "print" | "translate" | "write" | "ps" | "stack" | "show" | "dmesg" | "map" => {
            "a dump with --core FILE, or "
        }
        "symbols" | "types" => "a dump with --core FILE, a kernel with --kernel FILE, or ",
        "dump" => "an image of memory with --device FILE, or ",
        "save" => "a dump device as an argument, or ",
        _ => "",
    }
}

/// clap's parser for names of files that are read at any place, which standard input cannot be.
fn seekable() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|name| match name.to_str() {
        Some("-") => Err(
            "standard input cannot be used, because this file is not read from beginning to end; save it to a file first (a file of that name is './-')",
        ),
        _ => Ok(PathBuf::from(name)),
    })
}

/// clap's parser for addresses.
fn address(text: &str) -> Result<u64, String> {
    parse_address(text).map_err(|error| error.to_string())
}

/// clap's parser for whole numbers of a range.
fn whole_number<T: TryFrom<u64> + Copy + Into<i64>>(text: &str, from: T, to: T) -> Result<T, String> {
    let wanted = || format!("'{text}' is not a number from {} to {}", from.into(), to.into());
    let number = parse_address(text).map_err(|_| wanted())?;
    let number = T::try_from(number).map_err(|_| wanted())?;
    if (from.into()..=to.into()).contains(&number.into()) { Ok(number) } else { Err(wanted()) }
}

/// clap's parser for process IDs.
fn pid(text: &str) -> Result<i32, String> {
    whole_number(text, 1, i32::MAX).map_err(|why| format!("{why}, as process IDs are"))
}

/// clap's parser for process IDs, and 0 for the kernel.
fn pid_or_kernel(text: &str) -> Result<i32, String> {
    whole_number(text, 0, i32::MAX).map_err(|why| format!("{why}, as process IDs are"))
}

/// clap's parser for sizes.
fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| error.to_string())
}
