//! `memtool help`: the page of a command on a terminal, where it is installed, and else the options.

use crate::common::{command, directory, memtool, names, on_terminal_of, run};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A man(1) that has the pages of two commands, says how it is called and by whom, and leaves a file behind.
const MAN: &str = r#"#!/bin/sh
: > "${0%/*}/called"
case "$*" in
    "-w 8 memtool-ranges" | "-w 8 memtool-dump") echo /the/page ;;
    "8 memtool-"*) echo "man $* for $PPID" ;;
    *) echo "No manual entry" >&2; exit 16 ;;
esac
"#;

/// memtool with no program to run but this man(1).
fn with_man(directory: &Path, script: &str) -> Command {
    let man = directory.join("man");
    std::fs::write(&man, script).unwrap();
    std::fs::set_permissions(&man, PermissionsExt::from_mode(0o755)).unwrap();
    let mut memtool = command();
    memtool.env("PATH", directory);
    memtool
}

#[test]
fn on_a_terminal_man_shows_the_page_of_the_command_in_the_place_of_memtool() {
    let directory = directory();
    for (arguments, page) in [
        (&["help", "ranges"][..], "memtool-ranges"),
        (&["help", "ranges", "update"], "memtool-ranges"),
        (&["ranges", "help", "set"], "memtool-ranges"),
        (&["ranges", "help"], "memtool-ranges"),
        (&["-v", "help", "dump"], "memtool-dump"),
    ] {
        let shown = on_terminal_of(None, with_man(directory.path(), MAN).args(arguments));
        assert_eq!(shown, format!("man 8 {page} for {}\n", std::process::id()), "{arguments:?}");
    }
    let failing = MAN.replace("for $PPID\"", "for $PPID\"; exit 3");
    let mut running = with_man(directory.path(), &failing);
    let pty = crate::common::terminal(None);
    assert_eq!(running.args(["help", "dump"]).stdout(pty.slave).status().unwrap().code(), Some(3));
}

#[test]
fn a_terminal_has_the_options_where_there_is_no_page_or_no_man() {
    let (with, without) = (directory(), directory());
    let no_page = |arguments: &[&str]| on_terminal_of(None, with_man(with.path(), MAN).args(arguments));
    let no_man = |arguments: &[&str]| on_terminal_of(None, command().env("PATH", without.path()).args(arguments));
    for arguments in [&["help", "paddr"][..], &["help", "help"], &["help"]] {
        assert!(no_page(arguments).contains("Usage:") && no_man(arguments).contains("Usage:"), "{arguments:?}");
    }
    assert_eq!(names(with.path()), ["called", "man"]);
}

#[test]
fn elsewhere_help_prints_what_the_option_prints_and_runs_nothing() {
    let directory = directory();
    for (names, option) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "dump"], &["dump", "--help"]),
        (&["help", "symbols"], &["symbols", "--help"]),
        (&["help", "completions"], &["completions", "--help"]),
        (&["help", "ranges"], &["ranges", "--help"]),
        (&["help", "ranges", "update"], &["ranges", "update", "--help"]),
        (&["help", "ranges", "clear"], &["ranges", "remove", "--help"]),
        (&["ranges", "help", "update"], &["ranges", "update", "--help"]),
        (&["ranges", "help"], &["ranges", "--help"]),
        (&["help", "help"], &["help", "--help"]),
    ] {
        let help = run(with_man(directory.path(), MAN).args(names)).ok();
        assert_eq!(help.stderr, "", "{names:?}");
        assert_eq!(help.stdout, memtool(option).ok().stdout, "{names:?}");
    }
    assert_eq!(names(directory.path()), ["man"]);
}

#[test]
fn help_for_what_is_no_command_is_a_usage_error() {
    for (arguments, texts) in [
        (&["help", "frobnicate"][..], &["unknown command 'frobnicate'"][..]),
        (&["help", "livdump"], &["unknown command 'livdump' (did you mean 'livedump'?)"]),
        (&["help", "ranges", "explan"], &["'explan'", "'explain'"]),
        (&["ranges", "help", "explan"], &["'explan'", "'explain'"]),
        (&["help", "dump", "ram"], &["'ram'"]),
        (&["help", "inspect", "vmcore.0"], &["'vmcore.0'"]),
        (&["help", "dump", "--strict"], &["--strict"]),
        (&["help", "dump", "--json"], &["--json"]),
        (&["ranges", "help", "--machine", "demo"], &["--machine"]),
    ] {
        memtool(arguments).usage_error(texts);
    }
}

#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let status = command().arg("help").stdout(full).stderr(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
