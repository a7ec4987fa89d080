//! Which memtool is tested: a given program, or one that is built for FreeBSD.

use crate::error::{Error, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of the guests that can be booted.
pub const TARGET: &str = "x86_64-unknown-freebsd";

/// Reads the given program, or builds one and reads it.
pub fn obtain(given: Option<&Path>) -> Result<Vec<u8>> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => build()?,
    };
    fs::read(&path).map_err(Error::file("read", path))
}

/// The project's folder, if the program is run by its cargo or within it.
pub fn project() -> Option<PathBuf> {
    let places = [env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from), env::current_dir().ok()];
    places
        .iter()
        .flatten()
        .flat_map(|place| place.ancestors())
        .find(|folder| folder.join("tools/freebsd-cargo").is_file())
        .map(Path::to_owned)
}

fn build() -> Result<PathBuf> {
    let project = project().ok_or_else(|| {
        Error::Program("no memtool to test: run this within the project, or name a program with --binary".to_owned())
    })?;
    let (mut command, folder) = if cfg!(target_os = "freebsd") {
        let folder = project.join("target");
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--target-dir"]).arg(&folder);
        (command, folder)
    } else {
        let mut command = Command::new(project.join("tools/freebsd-cargo"));
        command.args([TARGET, "build", "--release"]);
        (command, project.join("target/freebsd").join(TARGET))
    };
    // Standard output belongs to the report.
    let status = command.current_dir(&project).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(folder.join("release/memtool")),
        Ok(status) => Err(Error::Program(format!("memtool could not be built: {status}"))),
        Err(error) => Err(Error::Program(format!("cannot run {}: {error}", command.get_program().display()))),
    }
}
