//! Texts in a report that the kernel or its dump has as they are: the configuration that the kernel was built with, what its
//! debugger printed, and the files of a text dump.

use super::Report;
use super::section::{Block, Section};
use crate::dump::TextFile;
use crate::kernel::DebuggerOutput;
use crate::text::decode;
use crate::units::counted;

/// The files of a text dump, textdump(4): name, section and title.
const FILES: [(&str, &str, &str); 5] = [
    ("ddb.txt", "ddb", "Output of the kernel's debugger (ddb.txt)"),
    ("config.txt", "configuration", "Configuration of the kernel (config.txt)"),
    ("msgbuf.txt", "messages", "Messages (msgbuf.txt)"),
    ("panic.txt", "panic-file", "Panic (panic.txt)"),
    ("version.txt", "version", "Version of the kernel (version.txt)"),
];

/// The lines of a text, as they can be printed.
fn lines(bytes: &[u8]) -> Vec<String> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    text.split(|byte| *byte == b'\n').map(|line| decode(line.strip_suffix(b"\r").unwrap_or(line))).collect()
}

/// A text, and that part of it is missing.
fn blocks(bytes: &[u8], missing: u64, empty: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    if !bytes.is_empty() {
        blocks.push(Block::Lines(lines(bytes)));
    } else if missing == 0 {
        blocks.push(Block::Note(empty.to_owned()));
    }
    if missing > 0 {
        blocks.push(Block::Note(format!("The dump does not have {} more of it.", counted(missing, "byte"))));
    }
    blocks
}

impl Report {
    /// The configuration that the kernel was built with.
    pub(super) fn configuration_section(&self) -> Vec<Block> {
        self.part(&self.configuration, |found| match found {
            Some(text) => blocks(text, 0, ""),
            None => {
                vec![Block::Note("The kernel does not have it: it was built without INCLUDE_CONFIG_FILE.".to_owned())]
            }
        })
    }

    /// What the kernel's debugger has captured of its output.
    pub(super) fn debugger_section(&self) -> Vec<Block> {
        self.part(&self.debugger, |found| match found {
            Some(DebuggerOutput { bytes, is_full, missing }) => {
                let mut blocks = blocks(bytes, *missing, "Nothing was captured.");
                let full = "The buffer is full: what followed was not captured.";
                blocks.extend(is_full.then(|| Block::Note(full.to_owned())));
                blocks
            }
            None => vec![Block::Note("The kernel was built without its debugger, ddb(4).".to_owned())],
        })
    }

    /// The files of a text dump, in its order.
    pub(super) fn file_sections(&self) -> Vec<Section> {
        let mut sections: Vec<Section> = Vec::new();
        let mut others = Vec::new();
        for TextFile { name, bytes, missing } in self.subject.files() {
            let blocks = blocks(bytes, *missing, "It is empty.");
            let known = FILES.iter().find(|(known, ..)| name == *known);
            match known.filter(|(_, id, _)| !sections.iter().any(|section| section.id == *id)) {
                Some((_, id, title)) => sections.push(Section { id, title, blocks }),
                None => {
                    others.push(Block::Note(format!("{}:", decode(name.as_bytes()))));
                    others.extend(blocks);
                }
            }
        }
        if !others.is_empty() {
            sections.push(Section { id: "files", title: "Other files", blocks: others });
        }
        sections
    }
}
