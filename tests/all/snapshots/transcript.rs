//! Transcripts of a terminal in Markdown: in blocks between fences, lines that begin with `$ ` are commands, and what
//! follows each is what it printed, with `...` for lines that are left out and `[..]` for a part of one. Commands are run
//! again, and the document is made anew with what they print now.

use crate::common::{terminal, text, wait};
use nix::pty::Winsize;
use snapbox::{Assert, Data, IntoData};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Every terminal here is that wide.
const COLUMNS: u16 = 80;
/// What stands before a command.
const PROMPT: &str = "$ ";
/// What a block begins and ends with.
const FENCE: &str = "\n```";
/// The variable with which the documents are rewritten: `SNAPSHOTS=overwrite`.
const ACTION: &str = snapbox::assert::DEFAULT_ACTION_ENV;

/// What a command printed on a terminal, and its exit code.
pub struct Printed {
    pub text: String,
    pub code: i32,
}

/// A place where commands of a shell run one after another, with memtool in the path.
pub struct Shell {
    directory: tempfile::TempDir,
    path: std::ffi::OsString,
}

impl Shell {
    pub fn new() -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_memtool")).parent().unwrap();
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = [program.to_owned()].into_iter().chain(std::env::split_paths(&others));
        Self { directory: crate::common::directory(), path: std::env::join_paths(path).unwrap() }
    }

    /// Where the files of its commands are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a line on a terminal that standard output and standard error share.
    #[track_caller]
    pub fn run(&self, line: &str) -> Printed {
        let pty = terminal(Some(&Winsize { ws_row: 24, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }));
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.directory()).env("PATH", &self.path);
        command.env("LC_ALL", "C").env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE").env_remove("COLUMNS");
        command.stdin(Stdio::null()).stdout(pty.slave.try_clone().unwrap()).stderr(pty.slave);
        let mut child = command.spawn().unwrap();
        // The child's are the last descriptors of that side.
        drop(command);
        let mut bytes = Vec::new();
        // Linux reports the end as EIO; what came before is there either way.
        let _ = std::fs::File::from(pty.master).read_to_end(&mut bytes);
        let status = wait(&mut child).unwrap_or_else(|| panic!("it hangs: {line}"));
        let shown = shown(&String::from_utf8(bytes).unwrap());
        Printed { text: shown.replace(text(self.directory()), "."), code: crate::common::code(status) }
    }
}

/// The part of a line that runs memtool, with `--help`: it fails if an option before that is not known, or its value not
/// possible, and does nothing else.
pub fn without_effect(line: &str) -> String {
    let (command, _) = line.split_once(" | ").or(line.split_once("  #")).unwrap_or((line, ""));
    format!("{} --help", command.find("memtool ").map_or(command, |at| &command[at..]).trim_end())
}

/// What stays on a terminal: of a line that was written over, as progress is, the last state.
fn shown(printed: &str) -> String {
    let last = |line: &str| line.rsplit("\r\x1b[K").next().unwrap_or_default().to_owned();
    let lines = printed.replace("\r\n", "\n");
    lines.split('\n').map(last).collect::<Vec<_>>().join("\n")
}

/// A command of a document, and what the document says that it prints.
#[derive(Clone)]
pub struct Shown {
    pub line: String,
    pub output: String,
}

/// A document with transcripts.
pub struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// Of a path in the project. One that is not there is empty.
    pub fn open(path: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        Self { text: std::fs::read_to_string(&path).unwrap_or_default(), path }
    }

    /// Its commands, in blocks.
    pub fn blocks(&self) -> Vec<Vec<Shown>> {
        let fenced = self.text.split(FENCE).skip(1).step_by(2);
        fenced.map(commands).collect()
    }

    /// The commands in the examples of a manual in mdoc(7): `.Dl` lines and literal displays, with or without a prompt.
    pub fn examples(&self) -> Vec<String> {
        let examples = self.text.split("\n.Sh ").find_map(|section| section.strip_prefix("EXAMPLES\n")).unwrap();
        let mut is_literal = false;
        let mut lines = String::new();
        for line in examples.lines() {
            is_literal = line.starts_with(".Bd -literal") || is_literal && line != ".Ed";
            if let Some(line) = line.strip_prefix(".Dl ").or((is_literal && !line.starts_with('.')).then_some(line)) {
                let line = line.replace("\\e", "\\").replace("\\&", "");
                lines += &format!("{}\n", line.trim_start_matches(PROMPT).trim_start_matches("# "));
            }
        }
        lines.replace("\\\n", "").lines().map(str::to_owned).collect()
    }

    /// Compares the document with one in which these commands have printed that.
    #[track_caller]
    pub fn compare(&self, printed: &[(Shown, String)]) {
        let mut text = self.text.clone();
        for (Shown { line, output }, now) in printed {
            let (old, new) = (format!("\n{PROMPT}{line}\n{output}"), format!("\n{PROMPT}{line}\n{now}"));
            assert_eq!(text.matches(&old).count(), 1, "'{line}' stands there more than once with the same output");
            text = text.replace(&old, &new);
        }
        self.compare_text(text);
    }

    /// Compares the document with what it is to be, or makes it that.
    #[track_caller]
    pub fn compare_text(&self, text: String) {
        Assert::new().action_env(ACTION).eq(text, Data::read_from(&self.path, None).raw());
    }
}

/// The commands of a block, whose first line is behind the fence.
fn commands(block: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut is_other = true;
    for line in block.lines().skip(1) {
        if let Some(command) = line.strip_prefix(PROMPT) {
            commands.push(Shown { line: command.to_owned(), output: String::new() });
            is_other = false;
        } else if is_prompt(line) {
            is_other = true;
        } else if let Some(last) = commands.last_mut().filter(|_| !is_other) {
            last.output += &format!("{line}\n");
        }
    }
    commands
}

/// Whether a line is typed on another host, or into another program.
fn is_prompt(line: &str) -> bool {
    line.split_once(PROMPT).is_some_and(|(host, _)| !host.is_empty() && host.chars().all(char::is_alphanumeric))
        || line.starts_with("(lldb) ")
}

/// What was printed, with the marks of the document for what it leaves out, and with what it has for
/// [what varies](without_what_varies).
pub fn as_shown(document: &str, printed: &str) -> String {
    let printed = with_variations_of(document, printed);
    let (printed, _) = Assert::new().normalize_paths(false).normalize(printed.into_data(), document.into_data());
    printed.render().unwrap()
}

/// What was printed, with what the document has for [what varies](without_what_varies).
fn with_variations_of(document: &str, printed: &str) -> String {
    let old: BTreeMap<String, &str> = document.lines().map(|line| (without_what_varies(line), line)).collect();
    let line = |line: &str| old.get(&without_what_varies(line)).map_or(line, |old| old).to_owned() + "\n";
    printed.lines().map(line).collect()
}

/// A line without what is not the same in each run: seconds, and what depends on the number of processors that compress,
/// which are the size, the ratio and the hash of a file that is compressed with zstd.
fn without_what_varies(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_number = |word: &str| word.trim_matches(['(', ',']).parse::<f64>().is_ok();
    let is_compressed = words[0].ends_with(".zst:");
    let size = words.iter().position(|word| is_number(word)).filter(|_| is_compressed);
    let varies = |at: usize, word: &str| {
        let next = words.get(at + 1).copied().unwrap_or_default();
        let last = if at == 0 { "" } else { words[at - 1] };
        let is_seconds = ["s", "s,"].contains(&next) || last == "\"duration_seconds\":";
        let is_ratio = is_compressed && word.starts_with('(') && next == "to";
        last == "SHA-256" || is_number(word) && (is_seconds || is_ratio || size == Some(at))
    };
    let word = |(at, word): (usize, &&str)| if varies(at, word) { "[..]".to_owned() } else { (*word).to_owned() };
    words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_terminal_keeps_the_last_state_of_a_line() {
    assert_eq!(shown("a\r\nb 1 %\r\x1b[Kb 2 %\r\x1b[Kc\r\n"), "a\nc\n");
}

#[test]
fn what_a_document_leaves_out_stays_left_out() {
    let document = "first\n...\npid [..] is it\nlast\n";
    assert_eq!(as_shown(document, "first\n2\n3\npid 17 is it\nlast\n"), document);
    assert_eq!(as_shown("one\n", "two\n"), "two\n");
    assert_ne!(as_shown(document, "first\n2\npid 17 is it\nend\n"), document);
}

#[test]
fn what_varies_is_taken_from_the_document_and_nothing_else() {
    let same = |document: &str, printed: &str| {
        with_variations_of(document, &format!("{printed}\n")) == format!("{document}\n")
    };
    assert!(same("read in 0.4 s, map", "read in 17.1 s, map"));
    assert!(same("  \"duration_seconds\": 0.1,", "  \"duration_seconds\": 2,"));
    assert!(same(
        "a.zst: 2.2 MiB, 31.8 MiB before zstd (14.4 to 1), in 0.1 s",
        "a.zst: 2.3 MiB, 31.8 MiB before zstd (14.3 to 1), in 3 s"
    ));
    assert!(same("SHA-256 ab12", "SHA-256 cd34"));
    assert!(!same("read in 0.4 s, map", "read in 0.4 s, maps"));
    assert!(!same("a.zst: 2.2 MiB, 31.8 MiB before zstd", "a.zst: 2.2 MiB, 31.7 MiB before zstd"));
    assert!(!same("a: 2.2 MiB", "a: 2.3 MiB"));
    assert!(!same("3 pages", "4 pages"));
}

#[test]
fn blocks_have_commands_and_what_they_print() {
    let text =
        "a\n```sh\nnot it\n$ b\n```\n$ no\n```\n$ c\n1\n\n$ d\nother$ e\n2\n$ f\n(lldb) g\n3\n```\nh\n".to_owned();
    let blocks = Document { path: PathBuf::new(), text }.blocks();
    let found: Vec<Vec<(&str, &str)>> =
        blocks.iter().map(|block| block.iter().map(|shown| (&*shown.line, &*shown.output)).collect()).collect();
    assert_eq!(found, [vec![("b", "")], vec![("c", "1\n\n"), ("d", ""), ("f", "")]]);
}

#[test]
fn examples_of_a_manual_are_lines_of_a_shell() {
    let text = "\n.Sh A\n.Dl a\n.Sh EXAMPLES\nText:\n.Dl b \\&.\n.Bd -literal -offset indent\n$ c \\e\n    d\n# e\n.Ed\nf\n.Sh B\n.Dl g\n";
    let document = Document { path: PathBuf::new(), text: text.to_owned() };
    assert_eq!(document.examples(), ["b .", "c     d", "e"]);
}

#[test]
fn the_part_of_a_line_that_runs_memtool_only_helps() {
    assert_eq!(without_effect("cpuset -n x memtool paddr a | less"), "memtool paddr a --help");
    assert_eq!(without_effect("memtool record a    # here"), "memtool record a --help");
}
