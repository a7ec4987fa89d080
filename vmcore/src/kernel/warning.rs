//! What may be wrong with what a kernel that was opened shows.

use crate::fault::Fault;
use crate::mismatch::Mismatch;
use crate::units::Hex;

/// What may be wrong with what a kernel that was opened shows; for the program to tell, or to act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelWarning {
    /// The image is another kernel's: its symbols are not used.
    #[error("{0}; its symbols are not used")]
    OtherKernel(Mismatch),
    /// The image does not tell its version, by which it could be compared with the kernel of the dump.
    #[error("{image} has no version, which every kernel has: is it a module or a program, and not the dump's kernel?")]
    NoVersion {
        /// The image's path.
        image: String,
    },
    /// The image has no build ID: only its version was compared with the kernel of the dump.
    #[error("{image} has no build ID: only by its version it is the kernel of this dump")]
    NoBuildId {
        /// The image's path.
        image: String,
    },
    /// The dump does not have the memory where its kernel has its version.
    #[error("{image} cannot be compared with the kernel of this dump: {fault}")]
    UnreadVersion {
        /// The image's path.
        image: String,
        /// Why.
        fault: Fault,
    },
    /// No symbols told where the page tables are, and the registers of no processor: a page of memory was found that must be
    /// their root.
    #[error("the kernel's page tables were found by scanning memory: their root is at {0}")]
    TablesByScan(Hex),
    /// The kernel's list of modules is broken: there may be more of them than are known, for this reason.
    #[error("{0}; the symbols of modules may be missing")]
    ModulesCutOff(String),
    /// The symbols of a module are not known, for this reason.
    #[error("{0}")]
    NoModule(String),
    /// The types of a module are not known, for this reason.
    #[error("the types of a module are not used: {0}")]
    NoModuleTypes(String),
}
