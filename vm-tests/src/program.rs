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
    let packages = ["-p", "memtool", "-p", "carried"];
    let folder = match cfg!(target_os = "freebsd") && architecture.is_native() {
        true => build_native(&project, &packages, interrupted)?,
        false => {
            let mut command = Command::new(project.join("tools/freebsd-cargo"));
            command.args([architecture.target(), "build", "--release"]).args(packages);
            build(command, &project, &project.join("target/freebsd").join(architecture.target()), interrupted)?
        }
    };
    let built = folder.join("carried");
    Ok(Programs { memtool: read(&folder.join("memtool"))?, carried: Some(read(carried.unwrap_or(&built))?) })
}

/// The program for the host: the given one, or one that is built.
pub fn obtain_native(given: Option<&Path>, interrupted: &AtomicBool) -> Result<PathBuf> {
    match given {
        // Scripts are run in other folders.
        Some(path) => fs::canonicalize(path).map_err(Error::file("find", path)),
        None => {
            let project = in_project("no memtool for the host", "--host-binary")?;
            Ok(build_native(&project, &["-p", "memtool"], interrupted)?.join("memtool"))
        }
    }
}

/// Builds packages for this machine.
fn build_native(project: &Path, packages: &[&str], interrupted: &AtomicBool) -> Result<PathBuf> {
    let folder = project.join("target");
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--target-dir"]).arg(&folder).args(packages);
    build(command, project, &folder, interrupted)
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
