//! Files of keys and passwords.

use super::Context;
use memtool::files;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Warns of a file with a secret in it that others can read: they can then do that.
pub fn warn_of_readers(context: &mut Context, file: &Path, what: &str) {
    let is_readable = file.metadata().is_ok_and(|metadata| metadata.mode() & 0o044 != 0);
    if !files::is_standard_input(file) && is_readable {
        context.warn(&format!("{} is readable by other users, who can {what}", file.display()));
    }
}
