//! Joining neighbours, so that 88 fixed ranges read as the handful of areas they are.

use super::Descriptor;

/// A run of adjacent ranges with the same flags and owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The first range's base.
    pub base: u64,
    /// The first address after the last range; up to 2^64, so wider than an address.
    pub end: u128,
    /// The first range; all of them have its flags and owner.
    pub first: Descriptor,
    /// How many ranges were joined.
    pub count: usize,
}

impl Joined {
    /// A range by itself.
    pub fn single(descriptor: &Descriptor) -> Self {
        Self { base: descriptor.base, end: descriptor.end(), first: descriptor.clone(), count: 1 }
    }
}

/// Joins neighbours that stand next to each other in the list and in memory.
///
/// ```
/// use memtool::host::{self, Host, Selection};
/// use memtool::ranges::join::join;
/// use std::path::Path;
///
/// let host = host::open(&Selection { machine: Some(Path::new("demo")), device: None })?;
/// let descriptors = host.range_descriptors()?;
/// assert!(join(&descriptors).len() <= descriptors.len());
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn join<'a>(descriptors: impl IntoIterator<Item = &'a Descriptor>) -> Vec<Joined> {
    let mut joined: Vec<Joined> = Vec::new();
    for descriptor in descriptors {
        match joined.last_mut() {
            Some(last)
                if last.end == u128::from(descriptor.base)
                    && last.first.flags == descriptor.flags
                    && last.first.owner == descriptor.owner =>
            {
                last.end = descriptor.end();
                last.count += 1;
            }
            _ => joined.push(Joined::single(descriptor)),
        }
    }
    joined
}
