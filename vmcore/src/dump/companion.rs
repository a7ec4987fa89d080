//! Files that belong beside an image of a virtual machine's memory, by their names.

use crate::opened::Open;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What is beside a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// The memory of a VMware machine, beside its state.
    VmwareMemory,
    /// The state of a VMware machine, beside its memory.
    VmwareState,
    /// What may be the metadata of a bhyve checkpoint, beside its memory.
    BhyveMetadata,
}

/// VMware has memory up to here at the beginning of a `.vmem`; where the rest is, only the state tells.
const VMWARE_LOW: u64 = 3 << 30;

/// Whether a file of this name and length is the memory of a machine with a hole that nothing beside it tells of.
pub(super) fn lacks_state(path: &Path, length: u64, beside: Option<Beside>) -> bool {
    path.extension().is_some_and(|extension| extension == "vmem") && length > VMWARE_LOW && beside.is_none()
}

/// The file that belongs beside one of this name, if it is there: what it is, and it.
pub(super) fn find(path: &Path, open: Open) -> Option<(Beside, File)> {
    let opened = |beside: Beside, path: PathBuf| {
        let file = open(&path).ok()?;
        file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some((beside, file))
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("vmem") => ["vmss", "vmsn"]
            .into_iter()
            .find_map(|extension| opened(Beside::VmwareState, path.with_extension(extension))),
        Some("vmss" | "vmsn") => opened(Beside::VmwareMemory, path.with_extension("vmem")),
        _ => {
            let mut name: OsString = path.file_name()?.to_owned();
            name.push(".meta");
            opened(Beside::BhyveMetadata, path.with_file_name(name))
        }
    }
}
