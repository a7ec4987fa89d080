//! How large a minidump of the running kernel can become.
//!
//! A minidump holds the pages that the kernel has mapped or allocated for itself (minidump_machdep.c of each
//! architecture). Those are wired, or were taken at boot, before there was a count: the kernel's image, its page
//! array, its message buffer. Wired pages of processes count as well, so this is an upper bound. A kernel that
//! takes arbitrary pages by mistake can exceed it.

use crate::host::LiveDumpFacts;

/// What comes on top whatever the size of the machine: 8 MiB of page directories on amd64, message buffer, header,
/// and what the kernel allocates meanwhile.
const SLACK: u64 = 16 << 20;

/// Bytes that an uncompressed dump takes at most, of a machine with this much RAM in all; `None` where the kernel
/// does not tell enough.
pub fn at_most(facts: &LiveDumpFacts, ram: u64) -> Option<u64> {
    let taken_at_boot = ram.saturating_sub(facts.managed?);
    let pages = facts.wired?.saturating_add(taken_at_boot).saturating_add(facts.pipes.unwrap_or(0)).min(ram);
    // A bit for each page, and where page tables are dumped by themselves 8 bytes for each page that is mapped.
    Some(pages.saturating_add(ram / 128).saturating_add(SLACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn facts(wired: u64, managed: u64) -> LiveDumpFacts {
        LiveDumpFacts { wired: Some(wired), managed: Some(managed), ..LiveDumpFacts::default() }
    }

    #[test]
    fn wired_memory_and_what_boot_took_are_in_it() {
        assert_eq!(at_most(&facts(100 * MIB, 1000 * MIB), 1024 * MIB), Some((100 + 24 + 8 + 16) * MIB));
        let pipes = LiveDumpFacts { pipes: Some(5 * MIB), ..facts(100 * MIB, 1000 * MIB) };
        assert_eq!(at_most(&pipes, 1024 * MIB), Some((100 + 24 + 5 + 8 + 16) * MIB));
    }

    #[test]
    fn it_is_no_more_than_all_ram_and_what_describes_it() {
        assert_eq!(at_most(&facts(u64::MAX, 0), 1024 * MIB), Some((1024 + 8 + 16) * MIB));
        assert_eq!(at_most(&facts(u64::MAX, u64::MAX), u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn without_the_counts_there_is_none() {
        assert_eq!(at_most(&LiveDumpFacts::default(), MIB), None);
        assert_eq!(at_most(&LiveDumpFacts { managed: None, ..facts(1, 1) }, MIB), None);
    }
}
