//! Gives the program the revision that it is built from, where there is one: `--version` tells it.

use std::path::Path;
use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A package that was unpacked within somebody else's repository has no revision of its own.
    let is_ours = Path::new(".git").exists();
    let revision = is_ours.then(|| git(&["rev-parse", "--short=12", "HEAD"])).flatten();
    let version = env!("CARGO_PKG_VERSION");
    let version = revision.map_or_else(|| version.to_owned(), |revision| format!("{version} ({revision})"));
    println!("cargo::rustc-env=MEMTOOL_VERSION={version}");
    // HEAD names the branch, whose file has the revision; packed, it is in packed-refs.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in [Some("HEAD".to_owned()), branch, Some("packed-refs".to_owned())].into_iter().flatten() {
        if let Some(path) = git(&["rev-parse", "--git-path", &name]).filter(|path| is_ours && Path::new(path).exists())
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}
