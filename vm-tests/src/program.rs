//! Which memtool is tested, and which checks on the host what it did: a given program, or one that is built.

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Reads the given program, or builds one for the guest and reads it.
pub fn obtain(given: Option<&Path>, architecture: Architecture) -> Result<Vec<u8>> {
    let path = match given {
        Some(path) => path.to_owned(),
        None if cfg!(target_os = "freebsd") && architecture.is_native() => build_native()?,
        None => {
            let project = in_project("no memtool to test", "--binary")?;
            let mut command = Command::new(project.join("tools/freebsd-cargo"));
            command.args([architecture.target(), "build", "--release"]);
            build(command, &project, &project.join("target/freebsd").join(architecture.target()))?
        }
    };
    fs::read(&path).map_err(Error::file("read", path))
}

/// The program for the host: the given one, or one that is built.
pub fn obtain_native(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        // Scripts are run in other folders.
        Some(path) => fs::canonicalize(path).map_err(Error::file("find", path)),
        None => build_native(),
    }
}

fn build_native() -> Result<PathBuf> {
    let project = in_project("no memtool for the host", "--host-binary")?;
    let folder = project.join("target");
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--target-dir"]).arg(&folder);
    build(command, &project, &folder)
}

fn in_project(missing: &str, option: &str) -> Result<PathBuf> {
    project()
        .ok_or_else(|| Error::Program(format!("{missing}: run this within the project, or name one with {option}")))
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

/// Runs cargo in the project; it puts its output into the folder.
fn build(mut command: Command, project: &Path, folder: &Path) -> Result<PathBuf> {
    // Standard output belongs to the report.
    let status = command.current_dir(project).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(folder.join("release/memtool")),
        Ok(status) => Err(Error::Program(format!("memtool could not be built: {status}"))),
        Err(error) => Err(Error::Program(format!("cannot run {}: {error}", command.get_program().display()))),
    }
}
