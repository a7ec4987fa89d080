//! The program prints what its documents show: `tests/snapshots/` has every help text and the output of the demo machine,
//! README.md transcripts, and the manual examples. `SNAPSHOTS=overwrite cargo test --test all snapshots::` puts what is
//! printed now into the first two.

mod transcript;

use crate::common::{real_dumps, schema};
use std::collections::BTreeSet;
use std::path::Path;
use transcript::{Document, Shell, Shown, as_shown, without_effect};
use vmcore_synth::device::DumpDevice;
use vmcore_synth::{Arch, Compression, KernelDumpHeader};

/// Commands of README.md, by how they begin, that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("memtool dump --format elf", "reads this machine's memory, and sends it to another host"),
    ("memtool save --zstd --recipient admins.txt", "stores a dump of this machine with another host"),
    ("memtool archive", "an archive in another's object store"),
    ("memtool report --identity", "reads a dump from another host"),
    ("memtool report vmcore.1", "a panic's dump of a real kernel, and that system's files"),
    ("memtool inspect guest.kdump", "the memory of a virtual machine with FreeBSD"),
    ("memtool record machine.json", "records this machine"),
    ("lldb -c core", "is not memtool"),
    ("gdb-multiarch", "is not memtool"),
];

/// The one that is run where there are dumps of a real kernel.
const OF_REAL_DUMP: &str = "livecore.0";

#[test]
fn every_help_text_is_the_snapshot() {
    let mut text = String::from("# What `memtool --help` prints, of each command, and `-h` where that is shorter\n");
    add_help(&Shell::new(), "memtool", &mut text);
    Document::open("tests/snapshots/help.md").compare_text(text);
}

/// Adds the help of a command, and of those that its help names.
fn add_help(shell: &Shell, command: &str, text: &mut String) {
    let help = |option: &str| {
        let printed = shell.run(&format!("{command} {option}"));
        assert_eq!(printed.code, 0, "{command}: {}", printed.text);
        printed.text
    };
    let (long, short) = (help("--help"), help("-h"));
    *text += &format!("\n## {command}\n\n```\n$ {command} --help\n{long}```\n");
    if short != long {
        *text += &format!("\n```\n$ {command} -h\n{short}```\n");
    }
    let listed = long.split_once("\nCommands:\n").map_or("", |(_, listed)| listed);
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let names = listed.lines().take_while(|line| !line.is_empty()).filter(is_name);
    for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        add_help(shell, &format!("{command} {name}"), text);
    }
}

#[test]
fn the_demo_machine_prints_what_the_snapshot_shows() {
    compare("tests/snapshots/demo.md", |_, _| (), |_| None);
}

#[test]
fn the_json_of_the_demo_machine_is_the_snapshot() {
    compare("tests/snapshots/demo-json.md", |_, _| (), |_| None);
}

#[test]
fn the_readme_shows_what_is_printed() {
    let real_dump = real_dumps().map(|dumps| dumps.join("live-pages-lost.mdmp.zst")).filter(|dump| dump.is_file());
    let crash = crate::stack::crashed();
    let mut unused: Vec<&str> = NOT_RUN.iter().map(|(begins, _)| *begins).collect();
    let make = |shell: &Shell, name: &str| {
        let file = shell.directory().join(name);
        match name {
            "vmcore.0" => std::fs::write(file, &crash.0).unwrap(),
            "kernel" => std::fs::write(file, &crash.1).unwrap(),
            "swap.img" => std::fs::write(file, swap_with_a_dump(shell)).unwrap(),
            // In the place of another machine's.
            "machine.json" => assert_eq!(shell.run("memtool --machine demo record machine.json").code, 0),
            OF_REAL_DUMP => {
                let Some(dump) = &real_dump else { return };
                std::fs::write(file, zstd::decode_all(std::fs::File::open(dump).unwrap()).unwrap()).unwrap();
            }
            _ => {}
        }
    };
    compare("README.md", make, |line| {
        if line.contains(OF_REAL_DUMP) {
            return real_dump.is_none().then_some("a live dump of a real kernel");
        }
        let (begins, why) = NOT_RUN.iter().find(|(begins, _)| line.starts_with(begins))?;
        unused.retain(|unused| unused != begins);
        Some(why)
    });
    assert!(unused.is_empty(), "README.md does not have these any more: {unused:?}");
}

#[test]
fn the_readme_refers_to_files_that_there_are() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(directory.join("README.md")).unwrap();
    let targets = [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')]
        .map(|(start, end)| readme.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect::<Vec<_>>());
    let files: Vec<&str> = targets.concat().into_iter().filter(|target| !target.starts_with("https://")).collect();
    assert!(files.iter().filter(|file| file.starts_with("doc/")).count() >= 2, "it has no pictures");
    for file in files {
        assert!(directory.join(file).is_file(), "{file}");
    }
}

/// The image of a swap partition with a dump of the demo machine, compressed by the kernel.
fn swap_with_a_dump(shell: &Shell) -> Vec<u8> {
    assert_eq!(shell.run("memtool --machine demo livedump dump").code, 0);
    let dump = shell.directory().join("dump");
    let header = KernelDumpHeader {
        compression: Compression::Zstd,
        hostname: "db1".into(),
        ..KernelDumpHeader::example(Arch::Amd64, 4, 0)
    };
    let device = DumpDevice { size: 64 << 20, ..DumpDevice::example(header, 512, &std::fs::read(dump).unwrap()) };
    device.build()
}

/// Checks that a command that is not run has options that there are.
#[track_caller]
fn check_options(shell: &Shell, line: &str) {
    if line.contains("memtool ") {
        let help = shell.run(&without_effect(line));
        assert_eq!(help.code, 0, "{line}: {}", help.text);
    }
}

#[test]
fn the_examples_of_the_manual_can_be_typed() {
    let shell = Shell::new();
    let pages = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("man")).unwrap();
    let pages = pages.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
    let names = pages.map(|entry| format!("man/{}", entry.file_name().to_str().unwrap()));
    let examples: Vec<String> = names.flat_map(|page| Document::open(&page).examples()).collect();
    assert!(examples.iter().any(|line| line.contains("--machine demo")), "{examples:?}");
    for line in examples {
        if line.contains("--machine demo") {
            let printed = shell.run(&line);
            assert_eq!(printed.code, 0, "{line}: {}", printed.text);
        } else if !line.contains("$(") {
            check_options(&shell, &line);
        }
    }
}

/// Runs all commands of a document, but for those that have a reason not to be, and compares what they print with what
/// it shows. The commands of a block share a directory, where the files that they name are made first. Where a block that is
/// no snapshot's shows no output, the commands have to succeed.
#[track_caller]
fn compare(path: &str, make: impl Fn(&Shell, &str), mut not_run: impl FnMut(&str) -> Option<&'static str>) {
    let document = Document::open(path);
    let is_snapshot = path.starts_with("tests/snapshots/");
    let mut printed: Vec<(Shown, String)> = Vec::new();
    for block in document.blocks() {
        let shell = Shell::new();
        let names: BTreeSet<&str> = block.iter().flat_map(|command| command.line.split_whitespace()).collect();
        names.iter().for_each(|name| make(&shell, name));
        let shows_output = is_snapshot || block.iter().any(|command| !command.output.is_empty());
        for command in block.iter() {
            if let Some(why) = not_run(&command.line) {
                eprintln!("NOT RUN: {}: {why}", command.line);
                check_options(&shell, &command.line);
                continue;
            }
            let now = shell.run(&command.line);
            assert!(!now.text.contains("panicked"), "{}: {}", command.line, now.text);
            if now.text.starts_with('{') {
                schema::document(now.text.as_bytes());
            }
            if shows_output {
                printed.push((command.clone(), as_shown(&command.output, &now.text)));
            } else {
                assert_eq!(now.code, 0, "{}: {}", command.line, now.text);
            }
        }
    }
    assert!(!printed.is_empty(), "{path} has no commands");
    document.compare(&printed);
}
