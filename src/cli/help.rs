//! `memtool help`: the manual page of a command, or its options.

use super::{Cli, Context, Verdict, usage};
use clap::error::ErrorKind;
use clap::{Args, Command, CommandFactory};
use memtool::Result;
use std::os::unix::process::CommandExt;
use std::process::{self, Stdio};

/// The section of the manual that has the pages of the commands.
const SECTION: &str = "8";

#[derive(Args, Clone)]
pub struct Arguments {
    /// The command to describe
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

impl Arguments {
    /// The same for what is below a command.
    pub fn below(&self, name: &str) -> Self {
        Self { command: [name.to_owned()].into_iter().chain(self.command.iter().cloned()).collect() }
    }

    /// Checks that there is such a command.
    pub fn check(&self) -> Result<(), clap::Error> {
        let mut command = Cli::command();
        for (index, name) in self.command.iter().enumerate() {
            match command.find_subcommand(name) {
                Some(inner) => command = inner.clone(),
                // The parser names similar commands.
                None => return Err(parse(self.command.iter().take(index + 1), None).unwrap_or_else(|| unknown(name))),
            }
        }
        Ok(())
    }

    /// The name of the page that describes the command.
    fn page(&self) -> Option<String> {
        let program = Cli::command();
        let command = program.find_subcommand(self.command.first()?)?;
        Some(format!("memtool-{}", command.get_name()))
    }
}

/// What the parser answers to a command line, unless it is complete.
fn parse<'a>(names: impl Iterator<Item = &'a String>, option: Option<&'a str>) -> Option<clap::Error> {
    let arguments = ["memtool"].into_iter().chain(names.map(String::as_str)).chain(option);
    Cli::command().try_get_matches_from(arguments).err()
}

fn unknown(name: &str) -> clap::Error {
    Cli::command().error(ErrorKind::InvalidSubcommand, format!("unknown command '{name}'"))
}

/// On a terminal this does not come back if the page is installed: man(1) takes memtool's place, and with it the signals.
pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    if let Some(page) = arguments.page().filter(|page| context.out.is_terminal() && is_installed(page)) {
        // Without man(1) by now, the options are printed.
        let _ = process::Command::new("man").args([SECTION, &page]).exec();
    }
    if let Some(help) = parse(arguments.command.iter(), Some("--help")) {
        usage::print(&help)?;
    }
    Ok(Verdict::Done)
}

/// Whether man(1) finds a page.
fn is_installed(page: &str) -> bool {
    let mut man = process::Command::new("man");
    man.args(["-w", SECTION, page]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    man.status().is_ok_and(|status| status.success())
}

/// A command with the names of all its commands below their `help`, for completion scripts.
pub fn with_names_to_complete(command: Command) -> Command {
    const HELP: &str = "help";
    let names: Vec<Command> = command.get_subcommands().map(name_alone).collect();
    let has_help = |inner: &Command| inner.find_subcommand(HELP).is_some();
    let complete = |inner| if has_help(&inner) { with_names_to_complete(inner) } else { inner };
    command.mut_subcommands(complete).mut_subcommand(HELP, |help| help.subcommands(names))
}

/// A command without its options.
fn name_alone(command: &Command) -> Command {
    let alone = Command::new(command.get_name().to_owned()).subcommands(command.get_subcommands().map(name_alone));
    command.get_about().into_iter().fold(alone, |alone, about| alone.about(about.clone()))
}
