//! Spellings of options that were: they still work, and a remark says what they are called now.
//!
//! clap knows most of them as hidden aliases; what it cannot know is rewritten here, before it looks.

use std::ffi::{OsStr, OsString};

/// An option as it was called, in which command, and as it is called now.
const RENAMED: [(&str, &str, &str); 5] = [
    ("ranges", "--len", "--length"),
    ("read", "-n", "-l"),
    ("convert", "--to", "--format"),
    ("livedump", "--none", "--uncompress"),
    ("inspect", "--segments", "--list-segments"),
];
const VERIFY: &str = "--verify";
/// The values of livedump's `--verify`, which could stand behind a space.
const LEVELS: [&str; 3] = ["none", "quick", "full"];

/// The arguments with what clap cannot know rewritten, and remarks on old spellings.
pub fn modernize(arguments: impl IntoIterator<Item = OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut modern: Vec<OsString> = Vec::new();
    let mut remarks = Vec::new();
    let mut command: Option<String> = None;
    let mut is_over = false;
    for argument in arguments {
        let text = argument.to_str().unwrap_or_default();
        let is_level = LEVELS.contains(&text) && modern.last().is_some_and(|last| last == VERIFY);
        if !is_over && is_level && command.as_deref() == Some("livedump") {
            remarks.push(format!("{VERIFY} {text} is {VERIFY}={text} now"));
            modern.pop();
            modern.push(format!("{VERIFY}={text}").into());
            continue;
        }
        is_over |= argument == OsStr::new("--");
        match &command {
            None if RENAMED.iter().any(|(of, ..)| *of == text) => command = Some(text.to_owned()),
            Some(command) if !is_over => remarks.extend(renamed(command, text)),
            _ => {}
        }
        modern.push(argument);
    }
    remarks.dedup();
    (modern, remarks)
}

/// The remark on an option that has another name now.
fn renamed(command: &str, text: &str) -> Option<String> {
    let is = |old: &str| {
        let value = text.strip_prefix(old);
        // A short option can have its value behind it.
        value.is_some_and(|value| value.is_empty() || value.starts_with('=') || !old.starts_with("--"))
    };
    let (_, old, new) = RENAMED.iter().find(|(of, old, _)| *of == command && is(old))?;
    Some(format!("{old} is {new} now"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modern(line: &str) -> (String, Vec<String>) {
        let (arguments, remarks) = modernize(line.split(' ').map(OsString::from));
        let arguments = arguments.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>();
        (arguments.join(" "), remarks)
    }

    #[test]
    fn old_spellings_are_remarked_on_and_new_ones_are_not() {
        for (line, remark) in [
            ("memtool ranges update --len 4k", "--len is --length now"),
            ("memtool ranges update --len=4k", "--len is --length now"),
            ("memtool -q read -n 8 version", "-n is -l now"),
            ("memtool read -n8 version", "-n is -l now"),
            ("memtool convert a b --to elf", "--to is --format now"),
        ] {
            assert_eq!(modern(line), (line.to_owned(), vec![remark.to_owned()]), "{line}");
        }
        for line in [
            "memtool ranges update --length 4k -n",
            "memtool read -l 8 version",
            "memtool dump --verify ram.zst --manifest ram.json",
            "memtool inspect --list-segments -- --segments",
            "memtool save --verify",
        ] {
            assert_eq!(modern(line), (line.to_owned(), vec![]), "{line}");
        }
    }

    #[test]
    fn the_level_of_a_check_belongs_to_its_option() {
        let (line, remarks) = modern("memtool livedump --verify quick out");
        assert_eq!(line, "memtool livedump --verify=quick out");
        assert_eq!(remarks, ["--verify quick is --verify=quick now"]);
        assert_eq!(modern("memtool livedump --verify out").0, "memtool livedump --verify out");
        assert_eq!(modern("memtool livedump --verify -- quick").0, "memtool livedump --verify -- quick");
    }
}
