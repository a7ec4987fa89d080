//! The kernels with types of [`vmcore_synth::typed_kernel`] in files, and the program run on them.

pub use vmcore_synth::typed_kernel::{Basic, TypedKernel};

use super::{Run, directory, memtool, text};
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// A kernel's files.
pub struct TypedDump {
    pub directory: TempDir,
    pub core: PathBuf,
    pub kernel: PathBuf,
}

impl TypedDump {
    /// Runs a command on the dump with its kernel.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Run {
        let (command, rest) = arguments.split_first().expect("a command");
        let files = ["--core", text(&self.core), "--kernel", text(&self.kernel)];
        memtool(&[&[*command], &files[..], rest].concat())
    }

    /// A section of `memtool show` that is damaged: what it says of that.
    #[track_caller]
    pub fn damaged(&self, section: &str) -> (Run, Value) {
        let run = self.run(&["show", section]).exits(1);
        let json = self.run(&["show", section, "--json"]).exits(1).json();
        (run, json)
    }
}

/// Writes kernels to files.
pub trait WriteFiles {
    /// Writes the dump and the image.
    fn write(&self) -> TypedDump;
}

impl WriteFiles for TypedKernel {
    fn write(&self) -> TypedDump {
        let directory = directory();
        let (core, kernel) = (directory.path().join("vmcore.0"), directory.path().join("kernel"));
        std::fs::write(&core, self.dump()).unwrap();
        std::fs::write(&kernel, self.image()).unwrap();
        TypedDump { directory, core, kernel }
    }
}
