//! Changes that are asked for, and which of the kernel's rules they can break.

use super::Descriptor;
use nix::errno::Errno;
use vmcore::units::{Hex, exact_size};

/// Ranges are multiples of this many bytes.
pub const GRANULE: u64 = 4096;

/// A change that the kernel is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `MEMRANGE_SET_UPDATE` with this descriptor.
    Update(Descriptor),
    /// `MEMRANGE_SET_REMOVE` with this descriptor; the kernel looks at base and length only.
    Remove(Descriptor),
}

/// The rule that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The base is not a multiple of 4 KiB.
    #[error(
        "the base must be a multiple of 4 KiB; {} and {} are",
        Hex(base & !(GRANULE - 1)),
        Hex((base & !(GRANULE - 1)).saturating_add(GRANULE))
    )]
    BaseUnaligned {
        /// The base asked for.
        base: u64,
    },
    /// The length is below 4 KiB.
    #[error("the length must be at least 4 KiB; it is {}", exact_size((*length).into()))]
    LengthTooSmall {
        /// The length asked for.
        length: u64,
    },
    /// The length is not a power of two.
    #[error("the length must be a power of two; {} is not, {} is{}", Hex(*length), Hex(1 << length.ilog2()), larger_power(*length))]
    LengthNotPowerOfTwo {
        /// The length asked for.
        length: u64,
    },
    /// The base is not a multiple of the length.
    #[error(
        "the base must be a multiple of the length; with length {} the base {}{} would do, with base {} a length up to {}",
        Hex(*length),
        Hex(base & !(length - 1)),
        next_multiple(*base, *length),
        Hex(*base),
        Hex(base & base.wrapping_neg())
    )]
    BaseNotMultiple {
        /// The base asked for.
        base: u64,
        /// The length asked for.
        length: u64,
    },
    /// Not exactly one known cache type.
    #[error(
        "exactly one cache type must be given: uncacheable, write-combine, write-through, write-back or write-protect"
    )]
    NotOneType,
    /// The range's end wraps around, and no fixed range is there.
    #[error("the range ends at the top of the address space, where no range can be")]
    BeyondAddressSpace,
    /// A range that would be replaced has a type the kernel does not know.
    #[error("it would replace {range}, whose type the kernel does not know; --force does so anyway")]
    UnknownType {
        /// The range that is there now.
        range: Descriptor,
    },
    /// The range belongs to another process.
    #[error("another process owns {range}")]
    Busy {
        /// The range that is there now.
        range: Descriptor,
    },
    /// Overlaps a range of another type.
    #[error(
        "it overlaps {range}; only ranges of the same type, or write-back with uncacheable, may overlap, unless base and length are the same"
    )]
    Overlap {
        /// The neighbour.
        range: Descriptor,
    },
    /// No slot is free.
    #[error("{}", no_slot(*slots))]
    NoSlot {
        /// How many there are.
        slots: usize,
    },
    /// A range with that base and length is there already.
    #[error("{range} exists, and this kernel does not change ranges; remove it first")]
    Exists {
        /// The range that is there now.
        range: Descriptor,
    },
    /// No range with that base and length.
    #[error("no range has exactly that base and length{}", nearest.as_ref().map(|range| format!("; the nearest is {range}")).unwrap_or_default())]
    NotFound {
        /// An active range that covers the base, if there is one.
        nearest: Option<Descriptor>,
    },
    /// The range is always active.
    #[error(
        "{range} is one of the processor's fixed ranges, which cannot be removed; update it to another type instead"
    )]
    Fixed {
        /// The range.
        range: Descriptor,
    },
}

fn no_slot(slots: usize) -> String {
    match slots {
        0 => {
            "the processor has no variable ranges; only its fixed ranges, which end at 1 MiB, can be changed".to_owned()
        }
        1 => "the only variable range is in use; remove it first".to_owned(),
        _ => format!(
            "all {slots} variable ranges are in use; remove one that is not needed, or replace adjacent ranges of the same type by a longer one ('memtool ranges list' shows them)"
        ),
    }
}

fn larger_power(length: u64) -> String {
    length.checked_next_power_of_two().map(|power| format!(" and {} is", Hex(power))).unwrap_or_default()
}

fn next_multiple(base: u64, length: u64) -> String {
    (base & !(length - 1)).checked_add(length).map(|next| format!(" or {}", Hex(next))).unwrap_or_default()
}

impl Violation {
    /// What the kernel answers to such a request.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::BaseUnaligned { .. }
            | Self::LengthTooSmall { .. }
            | Self::LengthNotPowerOfTwo { .. }
            | Self::BaseNotMultiple { .. }
            | Self::NotOneType
            | Self::BeyondAddressSpace
            | Self::Overlap { .. } => Errno::EINVAL,
            Self::UnknownType { .. } => Errno::EACCES,
            Self::Busy { .. } => Errno::EBUSY,
            Self::NoSlot { .. } => Errno::ENOSPC,
            Self::Exists { .. } => Errno::EEXIST,
            Self::NotFound { .. } => Errno::ENOENT,
            Self::Fixed { .. } => Errno::EPERM,
        }
    }
}

/// The last active range that covers an address.
pub(super) fn nearest(descriptors: &[Descriptor], address: u64) -> Option<Descriptor> {
    descriptors.iter().rfind(|range| range.is_active() && range.contains(address)).cloned()
}
