//! What the kernel tells that bears on a live dump.

use serde::{Deserialize, Serialize};

/// What bears on a live dump, as far as the kernel tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveDumpFacts {
    /// `vm.stats.vm.v_wire_count`, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wired: Option<u64>,
    /// `vm.stats.vm.v_page_count`, in bytes: what the kernel did not take at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<u64>,
    /// `kern.ipc.maxpipekva`, in bytes: kernel memory that is mapped, but not wired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipes: Option<u64>,
    /// `kern.conftxt`: what the kernel can compress dumps with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compressions: Option<Vec<vmcore::kerneldump::Compression>>,
}

impl LiveDumpFacts {
    /// Whether the kernel tells nothing.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}
