//! Which memtool is tested, and which checks on the host what it did: a given program, or one that is built.

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::process;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

/// Reads the given program, or builds one for the guest and reads it.
pub fn obtain(given: Option<&Path>, architecture: Architecture, interrupted: &AtomicBool) -> Result<Vec<u8>> {
    let path = match given {
        Some(path) => path.to_owned(),
        None if cfg!(target_os = "freebsd") && architecture.is_native() => build_native(interrupted)?,
        None => {
            let project = in_project("no memtool to test", "--binary")?;
            let mut command = Command::new(project.join("tools/freebsd-cargo"));
            command.args([architecture.target(), "build", "--release"]);
            build(command, &project, &project.join("target/freebsd").join(architecture.target()), interrupted)?
        }
    };
    fs::read(&path).map_err(Error::file("read", path))
}

/// The program for the host: the given one, or one that is built.
pub fn obtain_native(given: Option<&Path>, interrupted: &AtomicBool) -> Result<PathBuf> {
    match given {
        // Scripts are run in other folders.
        Some(path) => fs::canonicalize(path).map_err(Error::file("find", path)),
        None => build_native(interrupted),
    }
}

fn build_native(interrupted: &AtomicBool) -> Result<PathBuf> {
    let project = in_project("no memtool for the host", "--host-binary")?;
    let folder = project.join("target");
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--target-dir"]).arg(&folder);
    build(command, &project, &folder, interrupted)
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
fn build(mut command: Command, project: &Path, folder: &Path, interrupted: &AtomicBool) -> Result<PathBuf> {
    // Standard output belongs to the report.
    command.current_dir(project).stdout(Stdio::null());
    let status = process::run(&mut command, "the build", None, interrupted)?;
    match status.success() {
        true => Ok(folder.join("release/memtool")),
        false => Err(Error::Program(format!("memtool could not be built: {status}"))),
    }
}
