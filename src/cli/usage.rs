//! Errors of usage, in the words and the form of all other messages; clap finds most of them.

use super::closed;
use super::output::{failed, shorten};
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use memtool::Result;
use memtool::compress::Level;
use std::error::Error as _;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use vmcore::near::did_you_mean;

/// The exit code of a usage error, as sysexits(3) does not have it and everything else does.
const USAGE: u8 = 2;

/// Prints what clap has to say: help and the version as they are, errors as memtool's own.
pub fn report(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    match error.kind() {
        // On standard error.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match print(error) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => super::fail(&error, "", false),
        },
        kind => {
            let level = if kind == ErrorKind::UnknownArgument { level_apart(arguments) } else { None };
            fail(&(message(error) + &level.unwrap_or_default()), &command_in(arguments))
        }
    }
}

/// Prints help or the version.
///
/// # Errors
///
/// Standard output cannot be written to.
pub fn print(help: &clap::Error) -> Result<()> {
    closed::check()?;
    help.print().and_then(|()| io::stdout().flush()).map_err(failed)
}

/// Prints an error of usage, and where to read how the command is used.
pub fn fail(why: &str, command: &str) -> ExitCode {
    let space = if command.is_empty() { "" } else { " " };
    super::eprint_message(&format!("{why}; see 'memtool{space}{command} --help'"));
    ExitCode::from(USAGE)
}

/// Says what is wrong.
fn message(error: &clap::Error) -> String {
    let text = |kind| error.get(kind).map(context_text);
    // Of several, clap has the one that is most alike last.
    let nearest = |kind| match error.get(kind)? {
        ContextValue::Strings(texts) => texts.last().cloned(),
        other => Some(context_text(other)),
    };
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let what = if argument.starts_with('-') { "unknown option" } else { "unexpected argument" };
            let nearest = nearest(ContextKind::SuggestedArg).or_else(|| nearest(ContextKind::SuggestedSubcommand));
            format!("{what} '{argument}'{}", did_you_mean(nearest.as_slice()))
        }
        ErrorKind::InvalidSubcommand => {
            let Some(command) = text(ContextKind::InvalidSubcommand) else { return first_line(error) };
            format!("unknown command '{command}'{}", did_you_mean(nearest(ContextKind::SuggestedSubcommand).as_slice()))
        }
        ErrorKind::InvalidValue => match text(ContextKind::InvalidValue).filter(|value| !value.is_empty()) {
            None => format!("{argument} requires a value{}", possible(text(ContextKind::ValidValue))),
            Some(value) => {
                let nearest = did_you_mean(nearest(ContextKind::SuggestedValue).as_slice());
                format!("{argument}: unknown value '{value}'{nearest}{}", possible(text(ContextKind::ValidValue)))
            }
        },
        ErrorKind::ValueValidation => {
            let why = error.source().map_or_else(|| "invalid value".to_owned(), ToString::to_string);
            format!("{argument}: {}", shorten(&why))
        }
        ErrorKind::MissingRequiredArgument => format!("missing: {argument}"),
        ErrorKind::MissingSubcommand => "a command is required".to_owned(),
        ErrorKind::ArgumentConflict => match text(ContextKind::PriorArg) {
            Some(prior) if prior == argument => format!("{argument} may be given only once"),
            Some(prior) => format!("{argument} cannot be used with {prior}"),
            None => first_line(error),
        },
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        _ => first_line(error),
    }
}

/// How a level of zstd is given, if one stands behind the option as a word of its own.
fn level_apart(arguments: &[OsString]) -> Option<String> {
    let words = arguments.iter().map(|argument| argument.to_str().unwrap_or_default());
    let is_zstd = |option| matches!(option, "--zstd" | "-Z");
    words.clone().zip(words.skip(1)).find_map(|(option, word)| is_zstd(option).then(|| level_of(word)).flatten())
}

/// How the level of zstd is given that a word may be meant as.
pub fn level_of(word: &str) -> Option<String> {
    word.parse::<Level>().ok().map(|_| format!("; a level is given as --zstd={word}"))
}

fn possible(values: Option<String>) -> String {
    values
        .filter(|values| !values.is_empty())
        .map_or_else(String::new, |values| format!(" (possible values: {values})"))
}

/// A fact of an error as text; lists with commas. What a person has typed may be of any length.
fn context_text(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => shorten(text).into_owned(),
        ContextValue::Strings(texts) => {
            texts.iter().map(|text| shorten(text).into_owned()).collect::<Vec<_>>().join(", ")
        }
        ContextValue::Bool(value) => value.to_string(),
        ContextValue::Number(value) => value.to_string(),
        other => other.to_string(),
    }
}

/// What clap itself says, without what it puts before and after it.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.trim_start_matches("error: ");
    shorten(text.lines().next().unwrap_or_default().trim_end()).into_owned()
}

/// The command that arguments begin with, and the one below it, as far as that can be told without reading them.
fn command_in(arguments: &[OsString]) -> String {
    let mut command = super::Cli::command();
    let mut names = Vec::new();
    for argument in arguments.iter().skip(1).filter_map(|argument| argument.to_str()) {
        if let Some(inner) = command.find_subcommand(argument).filter(|inner| inner.get_name() != "help") {
            names.push(inner.get_name().to_owned());
            command = inner.clone();
        }
    }
    names.join(" ")
}
