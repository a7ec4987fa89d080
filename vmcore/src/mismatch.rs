//! That a kernel's image is not that of the kernel in a dump.

use crate::units::Hex;

/// How it shows that an image is another kernel's than the one in a dump.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another text stands where the image has its version.
    #[error("{image} is not the kernel of this dump: its version is not at {}", Hex(*.address))]
    OtherVersion {
        /// The image's path.
        image: String,
        /// The address of its `version`.
        address: u64,
    },
    /// Nothing is mapped where the image has its version; every kernel has its own image mapped.
    #[error(
        "{image} is not the kernel of this dump: nothing is mapped at {}, the address of its version",
        Hex(*.address)
    )]
    NotMapped {
        /// The image's path.
        image: String,
        /// The address of its `version`.
        address: u64,
    },
    /// The kernel has another build ID than the image, whose version it has.
    #[error("{image} is not the kernel of this dump: it has the same version, and another build ID")]
    OtherBuild {
        /// The image's path.
        image: String,
    },
    /// The dump's header, or the messages of the kernel in it, have another version.
    #[error("{image}, {is}, is not the kernel of this dump, which was {was}")]
    Named {
        /// The image's path.
        image: String,
        /// The version of the image.
        is: String,
        /// The version of the dump's kernel.
        was: String,
    },
}
