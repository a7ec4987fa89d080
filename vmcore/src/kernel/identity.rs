//! Whether an image is that of the kernel in a dump, by the version and the build ID of both.

use super::KernelMemory;
use super::warning::KernelWarning;
use crate::dump::MinidumpFacts;
use crate::fault::{Fault, Why};
use crate::messages::MessageBuffer;
use crate::mismatch::Mismatch;
use crate::symbols::{KernelSymbols, Symbols, Table};
use crate::text::first_line;

/// What a comparison has shown.
pub(super) enum Identity {
    /// It is the same kernel.
    Same,
    /// It is another one.
    Other(Mismatch),
    /// That cannot be told.
    Unknown(KernelWarning),
}

/// Whether a line is of a kernel's version, whatever follows it there.
fn is_of_version(line: &str, version: &str) -> bool {
    let rest = line.strip_prefix(first_line(version));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Whether the kernel has the build ID of an image; `None` where one of them is not known.
fn has_build_id(memory: &KernelMemory, image: &Table) -> Option<bool> {
    let (address, note) = image.build_id_note()?;
    let mut found = vec![0; note.len()];
    memory.read(address, &mut found).ok()?;
    Some(found == note)
}

/// Looks in a dump for the version and the build ID of the image that these symbols are of.
pub(super) fn compare(memory: &KernelMemory, files: &KernelSymbols) -> Identity {
    match (compare_versions(memory, files), has_build_id(memory, files.kernel())) {
        (Identity::Same, Some(false)) => Identity::Other(Mismatch::OtherBuild { image: files.source() }),
        (Identity::Unknown(_), Some(true)) => Identity::Same,
        (compared, _) => compared,
    }
}

/// Whether part of the dump is missing or wrong.
fn is_damaged(memory: &KernelMemory) -> bool {
    memory.dump().is_some_and(|dump| !dump.inspection().damage.is_empty())
}

fn compare_versions(memory: &KernelMemory, files: &KernelSymbols) -> Identity {
    // A file with debug information does not hold it.
    let header = memory.dump().and_then(|dump| dump.inspection().location.header.as_ref());
    let in_header = header.map(|header| header.version_string.text());
    let expected = files.kernel().version().or(in_header.as_deref());
    let expected = expected.map(str::trim_end).filter(|expected| !expected.is_empty());
    let image = files.source();
    let Ok(Some(symbol)) = files.find("version") else {
        return Identity::Unknown(KernelWarning::NoVersion { image });
    };
    // Where nothing tells which one it is, it has to be one.
    let expected = expected.unwrap_or("FreeBSD ");
    let address = symbol.address;
    let found = memory.string(address, expected.len());
    if matches!(&found, Ok(found) if found == expected.as_bytes()) {
        return Identity::Same;
    }
    if let Some((is, was)) = other_version(memory, files.kernel()) {
        return Identity::Other(Mismatch::Named { image, is, was });
    }
    match found {
        Ok(_) => Identity::Other(Mismatch::OtherVersion { image, address }),
        // Every kernel has its own image mapped, but a damaged dump may lack the page tables that say so.
        Err(Fault { why: Why::NotMapped(_) | Why::NotCovered, .. }) if !is_damaged(memory) => {
            Identity::Other(Mismatch::NotMapped { image, address })
        }
        Err(fault) => Identity::Unknown(KernelWarning::UnreadVersion { image, fault }),
    }
}

/// The version of a file, and the one that the dump's header, or the kernel's messages from when it booted, have in place of
/// it.
fn other_version(memory: &KernelMemory, file: &Table) -> Option<(String, String)> {
    let version = file.version()?;
    let dump = memory.dump()?;
    let header = dump.inspection().location.header.as_ref().map(|header| header.version_string.to_string());
    let buffer = dump.minidump().map(MinidumpFacts::messages);
    let messages = buffer.iter().flat_map(MessageBuffer::kernel_lines);
    let messages: Vec<String> = messages.map(|message| String::from_utf8_lossy(message.text).into_owned()).collect();
    let is_version =
        |line: &&str| line.strip_prefix("FreeBSD ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let lines = header.iter().chain(&messages).flat_map(|text| text.lines()).map(str::trim_end);
    let told: Vec<&str> = lines.filter(is_version).collect();
    // The buffer keeps messages of kernels that ran before.
    let other = told.last().filter(|_| !told.iter().any(|line| is_of_version(line, version)));
    other.map(|line| (first_line(version).to_owned(), (*line).to_owned()))
}
