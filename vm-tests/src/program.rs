//! Which memtool is tested, and which checks on the host what it did: a given program, or one that is built.

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::process;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

/// The programs for the guest.
pub struct Programs {
    /// memtool.
    pub memtool: Vec<u8>,
    /// What cases need of a guest that has little (`carried/`); nothing where there is only a memtool.
    pub carried: Option<Vec<u8>>,
}

/// Reads the given programs, or builds them for the guest and reads them.
pub fn obtain(
    memtool: Option<&Path>,
    carried: Option<&Path>,
    architecture: Architecture,
    interrupted: &AtomicBool,
) -> Result<Programs> {
    let read = |path: &Path| fs::read(path).map_err(Error::file("read", path));
    if let Some(memtool) = memtool {
        return Ok(Programs { memtool: read(memtool)?, carried: carried.map(read).transpose()? });
    }
    let project = in_project("no memtool to test", "--binary")?;
    let native = cfg!(target_os = "freebsd") && architecture.is_native();
    let (mut command, folder) = if native {
        (Command::new("cargo"), project.join("target"))
    } else {
        let mut command = Command::new(project.join("tools/freebsd-cargo"));
        command.arg(architecture.target());
        (command, project.join("target/freebsd").join(architecture.target()))
    };
    command.args(["build", "--release", "-p", "memtool", "-p", "carried"]);
    if native {
        command.arg("--target-dir").arg(&folder);
    }
    let folder = build(command, &project, &folder, interrupted)?;
    let built = folder.join("carried");
    Ok(Programs { memtool: read(&folder.join("memtool"))?, carried: Some(read(carried.unwrap_or(&built))?) })
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
    Ok(build(command, &project, &folder, interrupted)?.join("memtool"))
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

/// Runs cargo in the project, which puts its output into the folder; tells where the programs are.
fn build(mut command: Command, project: &Path, folder: &Path, interrupted: &AtomicBool) -> Result<PathBuf> {
    // Standard output belongs to the report.
    command.current_dir(project).stdout(Stdio::null());
    let status = process::run(&mut command, "the build", None, interrupted)?;
    match status.success() {
        true => Ok(folder.join("release")),
        false => Err(Error::Program(format!("memtool could not be built: {status}"))),
    }
}
