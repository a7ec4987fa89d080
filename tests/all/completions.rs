//! `memtool completions`: what can stand at the cursor, asked in the shells themselves where they are installed.

use crate::common::{command, directory, memtool, run, text};
use std::path::Path;
use std::process::Command;

/// The candidates for the last word, in a directory.
#[track_caller]
fn offered_in(directory: &Path, words: &[&str]) -> Vec<String> {
    let mut command = command();
    command.current_dir(directory).args(["__complete", "--", "memtool"]).args(words);
    let run = run(&mut command).ok();
    assert_eq!(run.stderr, "", "{words:?}");
    run.stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[track_caller]
fn offered(words: &[&str]) -> Vec<String> {
    offered_in(directory().path(), words)
}

#[test]
fn commands_come_first_in_the_order_of_help() {
    let help = memtool(&["--help"]).ok().stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let commands: Vec<&str> = commands.into_iter().filter(|name| !name.is_empty()).collect();
    assert!(commands.len() > 15, "{help}");
    let all = offered(&[""]);
    assert_eq!(all[..commands.len()], commands, "{all:?}");
    assert!(all[commands.len()..].iter().all(|option| option.starts_with('-')), "{all:?}");
    assert_eq!(offered(&["-q", "live"]), ["livedump"]);
}

#[test]
fn help_offers_the_commands_that_it_describes() {
    for (words, names) in [
        (&["help", "live"][..], &["livedump"][..]),
        (&["help", "hel"], &["help"]),
        (&["ranges", "hel"], &["help"]),
        (&["help", "ranges", "expl"], &["explain"]),
    ] {
        assert_eq!(offered(words), names, "{words:?}");
    }
}

#[test]
fn a_command_with_an_alias_is_offered_by_its_own_name() {
    assert_eq!(offered(&["ranges", ""])[..4], ["list", "update", "remove", "explain"]);
    assert!(offered(&["ranges", "set", "--ty"]).contains(&"--type".to_owned()));
}

#[test]
fn options_offer_the_values_that_they_take() {
    let levels: Vec<String> = (1..=19).map(|level| format!("--zstd={level}")).collect();
    for command in ["dump", "livedump", "save", "convert"] {
        assert_eq!(offered(&[command, "--zstd="]), levels, "{command}");
    }
    assert_eq!(offered(&["livedump", "--verify="]), ["--verify=none", "--verify=quick", "--verify=full"]);
    assert_eq!(offered(&["convert", "--format", ""]), ["elf", "lime", "raw", "padded", "minidump"]);
    assert_eq!(offered(&["dump", "--format", "l"]), ["lime"]);
    assert!(offered(&["ranges", "update", "--type", ""]).contains(&"write-back".to_owned()));
}

/// What is offered is taken.
#[test]
fn every_value_that_is_offered_is_one_that_the_command_takes() {
    for (command, option) in [("dump", "--format"), ("convert", "--format"), ("read", "--as"), ("livedump", "--method")]
    {
        let values = offered(&[command, option, ""]);
        assert!(values.len() > 1, "{command} {option}: {values:?}");
        for value in values {
            let taken = memtool(&[command, option, &value, "--no-such-option"]).usage_error(&["--no-such-option"]);
            assert!(!taken.stderr.contains(&format!("'{value}'")), "{taken:?}");
        }
    }
}

#[test]
fn machines_are_demo_and_files() {
    let directory = directory();
    std::fs::write(directory.path().join("host.json"), "").unwrap();
    std::fs::create_dir(directory.path().join("dumps")).unwrap();
    let offered = |words: &[&str]| offered_in(directory.path(), words);
    assert_eq!(offered(&["--machine", ""])[0], "demo");
    assert_eq!(offered(&["--machine", "d"]), ["demo", "dumps/"]);
    assert_eq!(offered(&["ranges", "--machine=h"]), ["--machine=host.json"]);
    assert_eq!(offered(&["save", "--dir", "d"]), ["dumps/"]);
    assert_eq!(offered(&["save", "--dir", "h"]), [""; 0]);
    for words in [&["inspect", "h"][..], &["dump", "-o", "h"], &["livedump", "h"], &["read", "-M", "h"], &["save", "h"]]
    {
        assert_eq!(offered(words), ["host.json"], "{words:?}");
    }
}

/// An option that can have a value behind `=` does not take the next word.
#[test]
fn an_optional_value_is_not_offered_as_the_next_word() {
    let directory = directory();
    std::fs::write(directory.path().join("swap.img"), "").unwrap();
    for option in ["--zstd", "-Z"] {
        let words = offered_in(directory.path(), &["save", option, ""]);
        assert!(words.contains(&"swap.img".to_owned()) && !words.contains(&"1".to_owned()), "{words:?}");
    }
}

#[test]
fn processes_are_those_of_this_system_and_not_of_a_recorded_one() {
    let own = std::process::id().to_string();
    for words in [&["maps", ""][..], &["maps", "1", ""], &["maps", "-p", ""], &["paddr", "--pid", ""]] {
        assert!(offered(words).contains(&own), "{words:?}");
        let recorded = [&["--machine", "demo"], words].concat();
        assert!(!offered(&recorded).contains(&own), "{words:?}");
    }
    let named = memtool(&["__complete", "--", "memtool", "maps", &own]).ok().stdout;
    assert!(named.starts_with(&format!("{own}\t")), "{named}");
}

#[test]
fn words_that_lead_nowhere_offer_nothing() {
    for words in [&["--nosuch"][..], &["nosuch", "--nosuch"], &["save", "--zstd=x"], &["dump", "--format", "zip"]] {
        assert_eq!(offered(words), [""; 0], "{words:?}");
    }
    let none = run(command().args(["__complete", "--"])).ok();
    assert!(!none.stderr.contains("panicked"), "{none:?}");
    memtool(&["__complete"]).usage_error(&["__complete"]);
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let mut command = command();
    let status = command.args(["__complete", "--", "memtool", ""]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

/// The output of a script in a shell that finds memtool, in a directory with files to complete; `None`, and a word about
/// it, where the shell is not installed.
fn in_shell(shell: &str, options: &[&str], script: &str) -> Option<String> {
    let directory = directory();
    std::fs::write(directory.path().join("two words.json"), "").unwrap();
    let completions = memtool(&["completions", shell]).ok().stdout;
    let name = if shell == "zsh" { "_memtool" } else { "completions" };
    std::fs::write(directory.path().join(name), completions).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_memtool")).parent().unwrap();
    let path = format!("{}:{}", text(program), std::env::var("PATH").unwrap());
    let mut shell_command = Command::new(shell);
    shell_command.args(options).args(["-c", script]).env("PATH", path).env("HOME", directory.path());
    let output = match shell_command.current_dir(directory.path()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: {shell} is not installed");
            return None;
        }
        output => output.unwrap(),
    };
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn bash_completes() {
    // Words as readline divides them, and what it hands over besides.
    let script = r#"
        . ./completions
        compopt() { :; }
        offer() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            local current=${COMP_WORDS[COMP_CWORD]}
            [[ $current != = ]] || current=
            _memtool memtool "$current" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[*]}"
        }
        complete -p memtool
        offer memtool liv
        offer memtool --machine d
        offer memtool save --zstd =
        offer memtool save --zstd = 1
        offer memtool save --zstd = 19 --ke
        offer memtool livedump --verify = q
        offer memtool inspect tw
        offer memtool inspect nosuch"#;
    let Some(output) = in_shell("bash", &["--norc", "--noprofile"], script) else { return };
    let (registered, offered) = output.split_once('\n').unwrap();
    assert!(registered.contains("-F _memtool memtool") && registered.contains("nosort"), "{registered}");
    let levels = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19";
    let two = "1 10 11 12 13 14 15 16 17 18 19";
    assert_eq!(offered, format!("livedump\ndemo\n{levels}\n{two}\n--keep\nquick\ntwo\\ words.json\n\n"));
}

#[test]
fn fish_completes() {
    let script = r#"
        source ./completions
        complete -C "memtool liv"
        complete -C "memtool --machine d"
        complete -C "memtool save --zstd=19"
        complete -C "memtool livedump --verify=q"
        complete -C "memtool inspect tw"
        complete -C "memtool inspect nosuch""#;
    let Some(output) = in_shell("fish", &["--no-config"], script) else { return };
    let values: Vec<&str> = output.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(values, ["livedump", "demo", "--zstd=19", "--verify=quick", "two words.json"]);
    assert!(output.starts_with("livedump\tTake a minidump"), "{output}");
}

#[test]
fn zsh_completes() {
    // A shell on a terminal of its own loads the script from `fpath`, completes at one key, and runs what came of it:
    // `memtool` is a function that prints its arguments, but for the completion itself.
    let script = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        say() { zpty -w -n shell "$1" }
        # Until that was printed.
        hear() { zpty -r -m shell line "*$1*" || exit 1 }
        say $'PROMPT= RPROMPT= PROMPT_EOL_MARK=; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D
            memtool() { if [[ $1 == __complete ]]; then command memtool "$@"; else print -r -- "RAN<${(j:|:)@}>"; fi }
            complete-and-run() { zle expand-or-complete; zle accept-line }
            zle -N complete-and-run; bindkey "^T" complete-and-run
            print READY-$((1 + 1))\n'
        hear READY-2
        for words in liv '--mach' '--machine d' 'save --zst' 'livedump --verify=q' 'inspect tw'; do
            say "memtool $words"$'\x14'
            hear 'RAN<*>'
            print -r -- "${${line##*RAN<}%%>*}"
        done"#;
    let Some(output) = in_shell("zsh", &["-f"], script) else { return };
    let expected =
        ["livedump", "--machine", "--machine|demo", "save|--zstd", "livedump|--verify=quick", "inspect|two words.json"];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}
