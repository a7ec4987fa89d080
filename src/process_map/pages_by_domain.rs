//! How many pages of a range are in which NUMA domain.

use serde::Serialize;
use std::collections::BTreeMap;

/// Numbers of mapped pages by NUMA domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PagesByDomain {
    /// Pages in each domain that has any.
    pub by_domain: BTreeMap<u32, u64>,
    /// Pages whose domain the kernel does not report.
    #[serde(rename = "unknown_domain_count")]
    pub unknown_domain: u64,
}

impl PagesByDomain {
    /// Counts pages of one domain.
    pub fn add(&mut self, domain: Option<u32>, pages: u64) {
        if pages > 0 {
            let sum = domain.map_or(&mut self.unknown_domain, |domain| self.by_domain.entry(domain).or_default());
            *sum = sum.saturating_add(pages);
        }
    }

    /// Mapped pages in all.
    pub fn total(&self) -> u64 {
        self.by_domain.values().fold(self.unknown_domain, |sum, pages| sum.saturating_add(*pages))
    }
}
