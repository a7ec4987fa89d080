//! Memory range attributes: which cache type the processor's range registers (MTRRs) give to which
//! physical addresses.
//!
//! A [`Descriptor`] is one range as mem(4) reports it. [`rules`] is what the kernel does with a request,
//! as a plain function; [`effective`] is what overlapping ranges add up to, and [`default_type`] what holds where
//! there is none; [`crate::range_change`] makes a change on a host, checked before and afterwards; [`join`] shortens a list for
//! reading.

pub mod default_type;
pub mod effective;
pub mod join;
mod powerpc;
pub mod request;
pub mod rules;

use ioctl_defs::memrange::{Mdf, mem_range_desc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use vmcore::bounds::head;
use vmcore::inventory::memory::memory_ranges::MemoryRange;
use vmcore::text::until_nul;
use vmcore::units::{Hex, hex};

/// How the processor caches a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheType {
    /// Not cached: device registers.
    Uncacheable,
    /// Writes are combined and may be reordered: frame buffers.
    WriteCombine,
    /// Reads are cached, writes go to memory at once.
    WriteThrough,
    /// Reads and writes are cached: RAM.
    WriteBack,
    /// Reads are cached, writes have no effect: shadowed firmware.
    WriteProtect,
}

impl CacheType {
    /// All cache types, in memcontrol(8)'s order.
    pub const ALL: [Self; 5] =
        [Self::Uncacheable, Self::WriteCombine, Self::WriteThrough, Self::WriteBack, Self::WriteProtect];

    /// The flag of mem(4).
    pub const fn flag(self) -> Mdf {
        match self {
            Self::Uncacheable => Mdf::UNCACHEABLE,
            Self::WriteCombine => Mdf::WRITECOMBINE,
            Self::WriteThrough => Mdf::WRITETHROUGH,
            Self::WriteBack => Mdf::WRITEBACK,
            Self::WriteProtect => Mdf::WRITEPROTECT,
        }
    }

    /// The name that memcontrol(8) uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uncacheable => "uncacheable",
            Self::WriteCombine => "write-combine",
            Self::WriteThrough => "write-through",
            Self::WriteBack => "write-back",
            Self::WriteProtect => "write-protect",
        }
    }

    /// The cache type in a descriptor's flags; `None` unless it is exactly one known type.
    pub fn from_flags(flags: Mdf) -> Option<Self> {
        Self::ALL.into_iter().find(|cache| cache.flag() == flags.intersection(Mdf::ATTRMASK))
    }
}

impl fmt::Display for CacheType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Names of the flags, in the order in which memcontrol(8) prints them; the last two it does not know.
pub const FLAG_NAMES: [(Mdf, &str); 14] = [
    (Mdf::UNCACHEABLE, "uncacheable"),
    (Mdf::WRITECOMBINE, "write-combine"),
    (Mdf::WRITETHROUGH, "write-through"),
    (Mdf::WRITEBACK, "write-back"),
    (Mdf::WRITEPROTECT, "write-protect"),
    (Mdf::FORCE, "force"),
    (Mdf::UNKNOWN, "unknown"),
    (Mdf::FIXBASE, "fixed-base"),
    (Mdf::FIXLEN, "fixed-length"),
    (Mdf::FIRMWARE, "set-by-firmware"),
    (Mdf::ACTIVE, "active"),
    (Mdf::BOGUS, "bogus"),
    (Mdf::FIXACTIVE, "fixed-active"),
    (Mdf::BUSY, "busy"),
];

/// How many of [`FLAG_NAMES`] memcontrol(8) knows.
const MEMCONTROL_FLAGS: usize = 12;

/// The names of the flags that are set; bits without a name as one hexadecimal number.
pub fn flag_names(flags: Mdf) -> Vec<String> {
    let mut names: Vec<String> =
        FLAG_NAMES.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| (*name).to_owned()).collect();
    let named = FLAG_NAMES.iter().fold(Mdf::empty(), |all, (flag, _)| all | *flag);
    let rest = flags.difference(named);
    if !rest.is_empty() {
        names.push(format!("{:#x}", rest.bits()));
    }
    names
}

/// The owner of a range: at most 7 bytes, since the kernel cuts it there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner(String);

impl Owner {
    /// Longest owner in bytes.
    pub const MAX: usize = 7;

    /// The owner of what the firmware set up.
    pub fn firmware() -> Self {
        Self("BIOS".to_owned())
    }

    /// The owner as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_bytes(bytes: [u8; 8]) -> Self {
        let text = head(until_nul(&bytes), Self::MAX);
        // What is no text, or would confuse a terminal, is shown as a question mark: a byte, as it was.
        let shown = |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '?' } else { c };
        Self(String::from_utf8_lossy(text).chars().map(shown).collect())
    }

    fn to_bytes(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().take(Self::MAX).zip(self.0.bytes()) {
            *to = from;
        }
        bytes
    }
}

/// Why a text cannot be an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid owner '{0}': at most {max} bytes and no control characters", max = Owner::MAX)]
pub struct OwnerError(String);

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        if text.len() > Self::MAX || text.chars().any(char::is_control) {
            return Err(OwnerError(text.escape_debug().to_string()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Owner {
    type Error = OwnerError;

    fn try_from(text: String) -> Result<Self, OwnerError> {
        text.parse()
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.0.is_empty() { "-" } else { &self.0 })
    }
}

/// A memory range: `struct mem_range_desc` of mem(4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// Physical base address.
    #[serde(with = "hex")]
    pub base: u64,
    /// Length in bytes.
    #[serde(with = "hex")]
    pub length: u64,
    /// Cache type and state.
    #[serde(with = "flag_list")]
    pub flags: Mdf,
    /// Who set it; `BIOS` for the firmware.
    #[serde(default)]
    pub owner: Owner,
}

impl Descriptor {
    /// The first address after the range; up to 2^64 and beyond, so wider than an address.
    pub fn end(&self) -> u128 {
        u128::from(self.base) + u128::from(self.length)
    }

    /// Whether the range holds an address.
    pub fn contains(&self, address: u64) -> bool {
        self.base <= address && u128::from(address) < self.end()
    }

    /// Whether it has the base and the length of another one.
    pub fn has_extent_of(&self, other: &Self) -> bool {
        self.base == other.base && self.length == other.length
    }

    /// The cache type, if it is exactly one known type.
    pub fn cache(&self) -> Option<CacheType> {
        CacheType::from_flags(self.flags)
    }

    /// Whether the range is in effect.
    pub fn is_active(&self) -> bool {
        self.flags.contains(Mdf::ACTIVE)
    }

    /// Whether this is one of the processor's fixed ranges below 1 MiB.
    pub fn is_fixed(&self) -> bool {
        self.flags.contains(Mdf::FIXBASE | Mdf::FIXLEN | Mdf::FIXACTIVE)
    }

    /// The line that memcontrol(8) prints for the range, its space at the end included.
    pub fn memcontrol_line(&self) -> String {
        let mut line = format!("{:#x}/{:#x} {} ", self.base, self.length, self.owner);
        for (_, name) in FLAG_NAMES.iter().take(MEMCONTROL_FLAGS).filter(|(flag, _)| self.flags.contains(*flag)) {
            line.push_str(name);
            line.push(' ');
        }
        line
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cache = self.cache().map_or("unknown", CacheType::name);
        write!(f, "{}+{} {cache}", Hex(self.base), Hex(self.length))?;
        if !self.owner.as_str().is_empty() {
            write!(f, " ({})", self.owner)?;
        }
        Ok(())
    }
}

impl From<mem_range_desc> for Descriptor {
    fn from(desc: mem_range_desc) -> Self {
        Self {
            base: desc.mr_base,
            length: desc.mr_len,
            flags: Mdf::from_int(desc.mr_flags),
            owner: Owner::from_bytes(desc.mr_owner),
        }
    }
}

impl From<&MemoryRange> for Descriptor {
    fn from(range: &MemoryRange) -> Self {
        Self {
            base: range.base,
            length: range.length,
            flags: Mdf::from_bits_retain(range.flags),
            owner: Owner::from_bytes(range.owner),
        }
    }
}

impl From<&Descriptor> for mem_range_desc {
    fn from(descriptor: &Descriptor) -> Self {
        Self {
            mr_base: descriptor.base,
            mr_len: descriptor.length,
            mr_flags: descriptor.flags.to_int(),
            mr_owner: descriptor.owner.to_bytes(),
        }
    }
}

/// Flags in JSON: a list of names.
mod flag_list {
    use super::{FLAG_NAMES, flag_names};
    use ioctl_defs::memrange::Mdf;
    use serde::{Deserialize, Deserializer, Serializer};
    use vmcore::units::parse_address;

    pub fn serialize<S: Serializer>(flags: &Mdf, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(flag_names(*flags))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mdf, D::Error> {
        let mut flags = Mdf::empty();
        for name in Vec::<String>::deserialize(deserializer)? {
            flags |= match FLAG_NAMES.iter().find(|(_, known)| *known == name) {
                Some((flag, _)) => *flag,
                None => parse_address(&name)
                    .ok()
                    .and_then(|bits| u32::try_from(bits).ok())
                    .map(Mdf::from_bits_retain)
                    .ok_or_else(|| serde::de::Error::custom(format!("unknown range flag '{name}'")))?,
            };
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests;
