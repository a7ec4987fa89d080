//! Standard output that cannot be written to: full, closed, or without a reader.

use crate::common::encryption::{KEYS, block_for, encrypted};
use crate::common::{command, directory, on_terminal, run, text};
use crate::ps::panicked;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use vmcore::decrypt::Encryption;
use vmcore_synth::device::DumpDevice;
use vmcore_synth::{Arch, KernelDumpHeader, MinidumpSpec};

/// Runs of every command that print something, in every form. Words in capitals are files of the test; `OUT` is not there
/// before each run.
const RUNS: &str = "
--help
-h
--version
-V
help
help ranges list
ranges --help
ranges list -h
completions bash
completions fish
--machine demo ranges
--machine demo ranges --json
--machine demo ranges list --memcontrol
--machine demo ranges explain 0x1000
--machine demo ranges explain 0x1000 --json
--machine demo ranges update -b 0x40000000 -l 16m -t write-combine -n
--machine demo ranges remove -o BIOS -n --json
--machine demo paddr 0x200000
--machine demo paddr --alloc 64k --touch --runs
--machine demo paddr --alloc 64k --json
--machine demo dump --list-segments
--machine demo dump --list-segments --json
--machine demo dump -d 64k
--machine demo dump -d 64k --zstd
--machine demo dump -d 64k -o OUT
--machine demo dump -d 64k -o OUT --json
--machine demo livedump -
--machine demo livedump OUT
--machine demo livedump OUT --json
--machine demo livedump --info - OUT
--machine demo read version
--machine demo read version --json
--machine demo read version --as u64 -l 64
--machine demo read version --as str
--machine demo read version --as raw
--machine demo read version --as ptr
--machine demo translate version
--machine demo translate version --json
--machine demo write version 00 -n
--machine demo write version 00 -n --json
--machine demo symbols version
--machine demo symbols version --json
--machine demo maps 812
--machine demo maps 812 0 --json
--machine demo maps -l 812
--machine demo maps -m 812
--machine demo maps -a 812
--machine demo maps -d 812
--machine demo maps -r 812
--machine demo maps -x 812
--machine demo record -
--machine demo record OUT --json
--machine demo ranges --save-machine -
ps --core PANIC --kernel KERNEL
ps --core PANIC --kernel KERNEL --json
show vmstat-m --core TYPED --kernel TYPEDKERNEL
show vmstat-m --core TYPED --kernel TYPEDKERNEL --json
dmesg --core PANIC
dmesg --core PANIC --panic --json
report PANIC
report PANIC --kernel KERNEL --json
report PANIC --kernel KERNEL --html
stack --core PANIC --kernel KERNEL
stack --core PANIC --kernel KERNEL --all --group
stack --core PANIC --kernel KERNEL --json
inspect DUMP
inspect DUMP --json
inspect DUMP --list-segments
inspect DUMP --msgbuf
convert DUMP - --format lime
convert DUMP OUT --format elf
convert DUMP OUT --format elf --json
save --check DEVICE
save --check DEVICE --json
decrypt ENCRYPTED OUT --key KEY --private-key PRIVATE
decrypt ENCRYPTED OUT --key KEY --private-key PRIVATE --json
";

fn prepare(directory: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(directory.join(name), bytes).unwrap();
    let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
    write("DUMP", &dump);
    let header = KernelDumpHeader::example(Arch::Amd64, 4, dump.len() as u64);
    write("DEVICE", &DumpDevice::example(header, 512, &dump).build());
    write("PANIC", &panicked().dump());
    write("KERNEL", &panicked().image());
    let typed = crate::show::with_malloc_types();
    fs::copy(&typed.core, directory.join("TYPED")).unwrap();
    fs::copy(&typed.kernel, directory.join("TYPEDKERNEL")).unwrap();
    write("ENCRYPTED", &encrypted(Encryption::ChaCha20, &dump));
    write("KEY", &block_for("mine.pem", Encryption::ChaCha20, "oaep"));
    fs::copy(KEYS.path("mine.pem"), directory.join("PRIVATE")).unwrap();
}

/// How each run ends: its exit status, and what it says last; `run` begins it with the standard output that is wrong.
fn ends(run: impl Fn(&[&str], &mut Command) -> std::process::Output) -> Vec<(String, Option<i32>, String)> {
    let directory = directory();
    prepare(directory.path());
    let mut ends = Vec::new();
    for line in RUNS.lines().filter(|line| !line.is_empty()) {
        let _ = fs::remove_file(directory.path().join("OUT"));
        let arguments: Vec<&str> = line.split(' ').collect();
        let mut command = command();
        command.current_dir(directory.path());
        let output = run(&arguments, &mut command);
        let said = String::from_utf8(output.stderr).unwrap();
        // What was asked for may be there; half of it may not.
        let left = crate::common::names(directory.path());
        assert!(left.iter().all(|name| name.chars().all(|c| c.is_ascii_uppercase())), "{line}: {left:?}");
        ends.push((line.to_owned(), output.status.code(), said.lines().last().unwrap_or_default().to_owned()));
    }
    ends
}

#[test]
fn a_full_one_is_a_failure_of_every_command_in_every_form() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    for (line, code, last) in ends(|arguments, command| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        command.args(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap()
    }) {
        let full = ["cannot write to standard output: No space left", "cannot write the dump: No space left"];
        assert!(code == Some(1) && full.iter().any(|full| last.contains(full)), "{line}: {code:?}: {last}");
    }
}

#[test]
fn a_closed_one_is_a_failure_of_every_command_in_every_form() {
    for (line, code, last) in ends(|arguments, command| {
        let program = command.get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(program).args(arguments);
        shell.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null()).env("LC_ALL", "C");
        shell.output().unwrap()
    }) {
        let closed = ["cannot write to standard output: it is closed", "cannot write the dump: Bad file descriptor"];
        assert!(code == Some(1) && closed.iter().any(|closed| last.contains(closed)), "{line}: {code:?}: {last}");
    }
}

#[test]
fn one_that_nobody_reads_ends_every_command_without_a_word_but_for_a_dump_that_is_not_whole() {
    for (line, code, last) in ends(|arguments, command| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap()
    }) {
        let writes_dump = ["dump -d 64k", "dump -d 64k --zstd", "livedump -", "convert DUMP - --format lime"];
        let says = last.contains("Broken pipe");
        assert_eq!(code, Some(1), "{line}: {last}");
        assert_eq!(says, writes_dump.iter().any(|end| line.ends_with(end)), "{line}: {last}");
    }
}

#[test]
fn nothing_is_said_of_a_closed_one_where_nothing_is_printed() {
    let directory = directory();
    let file = directory.path().join("machine");
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" --machine demo record \"$1\" >&-"]).arg(command().get_program()).arg(text(&file));
    let output = shell.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success() && file.exists(), "{output:?}");
}

/// Lists that are tables on a terminal and lines of fields elsewhere.
const LISTS: &str = "
--machine demo ranges
--machine demo ranges --all --no-join
--machine demo paddr 0x200000 0x1000
--machine demo paddr --alloc 4m --touch
--machine demo paddr --alloc 4m --touch --runs
--machine demo dump --list-segments
--machine demo dump -k --list-segments
--machine demo symbols version msgbufp
--machine demo maps -x 812
--machine demo maps -x 812 0
ps --core PANIC --kernel KERNEL
ps --core PANIC --kernel KERNEL --threads
inspect DUMP --list-segments
inspect DEVICE --list-segments
symbols --kernel KERNEL *proc*
";

#[test]
fn elsewhere_than_on_a_terminal_a_list_is_fields_between_tabs_and_nothing_else() {
    let directory = directory();
    prepare(directory.path());
    for line in LISTS.lines().filter(|line| !line.is_empty()) {
        let run = run(command().current_dir(directory.path()).args(line.split(' '))).ok();
        let rows: Vec<Vec<&str>> = run.stdout.lines().map(|row| row.split('\t').collect()).collect();
        assert!(!rows.is_empty() && rows[0].len() > 1, "{line}: {run:?}");
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{line}: {run:?}");
        for field in rows.iter().flatten() {
            let has_unit = field.ends_with("iB") || field.ends_with(" B") || field.ends_with('%');
            assert!(!has_unit && !field.starts_with(' ') && !field.ends_with(' '), "{line}: '{field}'");
        }
    }
}

#[test]
fn on_a_terminal_sizes_are_rounded_and_numbers_are_to_the_right() {
    let shown = on_terminal(&["dump", "--list-segments"]);
    let end = |line: &str| line.trim_end().len();
    let lines: Vec<&str> = shown.lines().take_while(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 11, "{shown}");
    for line in &lines[1..] {
        let size = line.trim_end().rsplit("  ").next().unwrap();
        assert!(size.contains('.') && size.ends_with("iB"), "{line}");
        assert_eq!(end(line), end(lines[0]), "{shown}");
    }
}
