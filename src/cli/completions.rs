//! `memtool completions`: completion scripts.
//!
//! Those of bash, zsh and fish, in `completions/`, ask memtool what can stand at the cursor, by [`COMPLETE`]: they can be
//! installed with a program that does not run on the machine that it is built on. Other shells get a generated script.

use super::{Cli, Context, Verdict, eprint_message, help};
use clap::{Arg, Args, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter, complete,
};
use memtool::Result;
use memtool::compress::Level;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::process::{self, ExitCode};

/// The first argument by which a completion script asks what can stand at the end of the words behind `--`.
const COMPLETE: &str = "__complete";
/// The recorded machine that is built in.
const DEMO: &str = "demo";

#[derive(Args)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    match arguments.shell {
        Shell::Bash => context.out.bytes(include_bytes!("../../completions/memtool.bash"))?,
        Shell::Fish => context.out.bytes(include_bytes!("../../completions/memtool.fish"))?,
        Shell::Zsh => context.out.bytes(include_bytes!("../../completions/_memtool"))?,
        shell => {
            // clap_complete panics where it cannot write, so it writes to memory.
            let mut script = Vec::new();
            let mut program = help::with_names_to_complete(Cli::command());
            clap_complete::generate(shell, &mut program, "memtool", &mut script);
            context.out.bytes(&script)?;
        }
    }
    Ok(Verdict::Done)
}

/// The words of a command line that a completion script asks about, the program's name first and the last one up to the
/// cursor.
pub fn words_to_complete(arguments: &[OsString]) -> Option<Vec<OsString>> {
    match arguments {
        [_, request, separator, words @ ..] if request == COMPLETE && separator == "--" => Some(words.to_vec()),
        _ => None,
    }
}

/// Prints what can stand in the place of the last word: lines of a value and, behind a tab, what it means.
pub fn print_candidates(words: Vec<OsString>) -> ExitCode {
    let mut lines = Vec::new();
    for candidate in candidates(words) {
        lines.extend_from_slice(candidate.get_value().as_bytes());
        if let Some(help) = candidate.get_help() {
            let mut text = String::new();
            let _ = write!(text, "{help}");
            lines.push(b'\t');
            lines.extend_from_slice(text.lines().next().unwrap_or_default().as_bytes());
        }
        lines.push(b'\n');
    }
    match std::io::stdout().write_all(&lines) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn candidates(mut words: Vec<OsString>) -> Vec<CompletionCandidate> {
    let current = words.pop().unwrap_or_default();
    let is_recorded = words.iter().any(|word| word.as_bytes().starts_with(b"--machine"));
    let program = with_values(help::with_names_to_complete(Cli::command()), !is_recorded);
    let mut program = without_other_names(program);
    let optional = options_with_optional_value(&program);
    // The value of such an option stands behind `=`; clap_complete would take the next word for it.
    words.retain(|word| !optional.iter().any(|option| word == option.as_str()));
    words.push(current);
    let index = words.len() - 1;
    let directory = std::env::current_dir().ok();
    complete(&mut program, words, index, directory.as_deref()).unwrap_or_else(|error| {
        eprint_message(&error.to_string());
        Vec::new()
    })
}

/// A command whose arguments offer values that clap does not know of, and the same of all commands below it.
fn with_values(command: Command, with_processes: bool) -> Command {
    let command = command.mut_args(|argument| with_value(argument, with_processes));
    command.mut_subcommands(|inner| with_values(inner, with_processes))
}

/// A command that offers the commands below it by their own names; their aliases, which clap_complete would offer instead,
/// are still known.
fn without_other_names(command: Command) -> Command {
    let aliases: Vec<String> = command.get_all_aliases().map(ToOwned::to_owned).collect();
    command.visible_alias(None::<&str>).aliases(aliases).mut_subcommands(without_other_names)
}

fn with_value(argument: Arg, with_processes: bool) -> Arg {
    let name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    match (argument.get_id().as_str(), name.as_deref()) {
        ("machine", _) => argument.add(ArgValueCompleter::new(machines)),
        ("zstd", _) => argument.add(ArgValueCandidates::new(levels)),
        // The processes of a recorded machine are not those of this one.
        (_, Some("PID")) if with_processes => argument.add(ArgValueCandidates::new(processes)),
        (_, Some("DIR")) => argument.value_hint(ValueHint::DirPath),
        ("file", None) | (_, Some("FILE" | "IN" | "OUT" | "OUTPUT" | "PATH" | "DEVICE")) => {
            argument.value_hint(ValueHint::AnyPath)
        }
        _ => argument,
    }
}

/// The options below a command whose value may be left out, as they are written without it.
fn options_with_optional_value(command: &Command) -> Vec<String> {
    let of_this = command.get_arguments().filter(|argument| argument.is_require_equals_set()).flat_map(|argument| {
        let long = argument.get_long().map(|long| format!("--{long}"));
        long.into_iter().chain(argument.get_short().map(|short| format!("-{short}")))
    });
    of_this.chain(command.get_subcommands().flat_map(options_with_optional_value)).collect()
}

/// The recorded machine that is built in, and files.
fn machines(current: &OsStr) -> Vec<CompletionCandidate> {
    let demo = DEMO.as_bytes().starts_with(current.as_bytes());
    let demo = demo.then(|| CompletionCandidate::new(DEMO).help(Some("the built-in machine".into())));
    demo.into_iter().chain(PathCompleter::any().complete(current)).collect()
}

/// zstd's levels.
fn levels() -> Vec<CompletionCandidate> {
    (Level::MIN..=Level::MAX).map(|level| CompletionCandidate::new(level.to_string())).collect()
}

/// The processes of this system, with the names of their programs, as ps(1) tells.
fn processes() -> Vec<CompletionCandidate> {
    let output = process::Command::new("ps").args(["-A", "-o", "pid=", "-o", "comm="]).output();
    let lines = output.map(|output| output.stdout).unwrap_or_default();
    let process = |line: &str| {
        let (pid, name) = line.trim().split_once(' ')?;
        Some(CompletionCandidate::new(pid.to_owned()).help(Some(name.trim().to_owned().into())))
    };
    String::from_utf8_lossy(&lines).lines().filter_map(process).collect()
}
