//! Resources that processes and threads used.
//!
//! Sources: `struct rusage` in `sys/sys/resource.h`, `rucollect()` in `sys/kern/kern_resource.c`.

use super::info::Usage;
use super::members::number;
use crate::kernel::Object;

/// Those of a `struct rusage`.
pub(super) fn usage_of(usage: &Object<'_>) -> Usage {
    let value = |member: &str| number(usage, member).unwrap_or(0);
    Usage {
        minor_faults: value("ru_minflt"),
        major_faults: value("ru_majflt"),
        swaps: value("ru_nswap"),
        blocks_read: value("ru_inblock"),
        blocks_written: value("ru_oublock"),
        messages_sent: value("ru_msgsnd"),
        messages_received: value("ru_msgrcv"),
        signals: value("ru_nsignals"),
        voluntary_switches: value("ru_nvcsw"),
        involuntary_switches: value("ru_nivcsw"),
    }
}

/// The sum of two.
pub(super) fn sum(one: Usage, other: Usage) -> Usage {
    Usage {
        minor_faults: one.minor_faults.wrapping_add(other.minor_faults),
        major_faults: one.major_faults.wrapping_add(other.major_faults),
        swaps: one.swaps.wrapping_add(other.swaps),
        blocks_read: one.blocks_read.wrapping_add(other.blocks_read),
        blocks_written: one.blocks_written.wrapping_add(other.blocks_written),
        messages_sent: one.messages_sent.wrapping_add(other.messages_sent),
        messages_received: one.messages_received.wrapping_add(other.messages_received),
        signals: one.signals.wrapping_add(other.signals),
        voluntary_switches: one.voluntary_switches.wrapping_add(other.voluntary_switches),
        involuntary_switches: one.involuntary_switches.wrapping_add(other.involuntary_switches),
    }
}
