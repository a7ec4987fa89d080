//! The command is run as the user, and what cannot be is told.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use nix::unistd::Uid;
use std::process::{Command, Output};

fn carried(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carried")).args(words).output().unwrap()
}

#[test]
fn a_command_is_run_as_the_user_without_other_groups_and_ends_as_it_does() {
    if !Uid::effective().is_root() {
        println!("not checked: this takes root");
        return;
    }
    let output = carried(&["as", "65534", "sh", "-c", "id -u; id -G; exit 7"]);
    assert_eq!(
        (String::from_utf8(output.stdout).unwrap(), output.status.code()),
        ("65534\n65534\n".to_owned(), Some(7))
    );
}

#[test]
fn what_cannot_be_run_is_told() {
    for words in [&[][..], &["as"], &["as", "nobody", "true"], &["what", "0", "true"], &["as", "0", "/no/program"]] {
        let output = carried(words);
        assert_eq!(output.status.code(), Some(126), "{words:?}");
        assert!(String::from_utf8(output.stderr).unwrap().starts_with("carried: "), "{words:?}");
    }
}
