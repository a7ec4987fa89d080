//! What is known of an image of memory.

use super::layout::Layout;
use super::processor::Processor;
use crate::architecture::Architecture;
use crate::dump::memory_range::MemoryRange;
use serde::Serialize;
use std::sync::Arc;

/// A format of images of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageFormat {
    /// AVML's, version 2.
    Avml,
    /// A kdump-compressed dump, of QEMU or makedumpfile.
    Kdump,
    /// The same, flattened.
    KdumpFlattened,
    /// A stream of QEMU's migration.
    QemuState,
    /// The same with libvirt's header.
    LibvirtSave,
    /// The state of a VMware machine (.vmss, .vmsn) with its memory, which may be in a .vmem beside it.
    VmwareState,
    /// The memory of a VMware machine (.vmem), with its state beside it.
    VmwareMemory,
    /// A core file of Xen.
    XenCore,
    /// A checkpoint of bhyve, with its metadata beside it.
    BhyveCheckpoint,
    /// The memory of a bhyve machine that runs.
    BhyveMachine,
}

impl ImageFormat {
    /// What it is, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avml => "AVML image of memory",
            Self::Kdump => "kdump-compressed dump",
            Self::KdumpFlattened => "kdump-compressed dump, flattened",
            Self::QemuState => "state of a QEMU machine",
            Self::LibvirtSave => "state of a QEMU machine, saved by libvirt",
            Self::VmwareState => "state of a VMware machine",
            Self::VmwareMemory => "memory of a VMware machine",
            Self::XenCore => "Xen core file",
            Self::BhyveCheckpoint => "checkpoint of a bhyve machine",
            Self::BhyveMachine => "memory of a bhyve machine that runs",
        }
    }
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its format.
    pub format: ImageFormat,
    /// How its pages are compressed, where the format says so of all.
    pub page_compression: Option<&'static str>,
    /// Whose memory it is, where the format says so.
    pub architecture: Option<Architecture>,
    /// Memory, in ascending order, without overlaps.
    pub ranges: Vec<MemoryRange>,
    /// The processors, where the format has them.
    pub processors: Vec<Processor>,
    /// Where the memory is. `None` of an image that is compressed as a whole, which has to be decompressed first.
    pub(super) layout: Option<Arc<Layout>>,
    /// What is wrong with it: where, and what.
    pub(super) damage: Vec<(String, String)>,
}

impl ImageFacts {
    /// An image whose memory is so laid out.
    pub(super) fn new(format: ImageFormat, layout: Layout) -> Self {
        let ranges = layout.ranges();
        Self { ranges, layout: Some(Arc::new(layout)), ..Self::packed(format) }
    }

    /// An image that is compressed as a whole: what it holds is not known yet.
    pub(in super::super) const fn packed(format: ImageFormat) -> Self {
        Self {
            format,
            page_compression: None,
            architecture: None,
            ranges: Vec::new(),
            processors: Vec::new(),
            layout: None,
            damage: Vec::new(),
        }
    }

    /// Whether it is compressed as a whole, so that nothing of it is known but its format.
    pub fn is_packed(&self) -> bool {
        self.layout.is_none()
    }
}
