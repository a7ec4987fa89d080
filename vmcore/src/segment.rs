//! Runs of memory by their addresses.

use crate::units::hex;
use serde::{Deserialize, Serialize};

/// A run of RAM in one NUMA domain, by physical address; or of kernel memory, by virtual
/// address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// First byte's address; not always on a page border.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the segment.
    #[serde(with = "hex")]
    pub end: u64,
    /// The NUMA domain; `None` where the kernel does not manage the memory and so does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<u32>,
}
