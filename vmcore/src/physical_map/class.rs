//! What ranges of physical addresses can be.

/// A layer of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerName {
    /// RAM by memory domain, what firmware has reserved, and holes.
    Memory,
    /// Cache types that memory ranges (MTRRs) add up to.
    Types,
    /// What a dump holds.
    Dump,
    /// Free blocks by order.
    Free,
    /// Pages of a process or of a file.
    Process,
}

impl LayerName {
    /// All layers, in the order in which they are drawn.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Types, Self::Dump, Self::Free, Self::Process];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Types => "types",
            Self::Dump => "dump",
            Self::Free => "free",
            Self::Process => "process",
        }
    }

    /// What it shows, as a heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Memory => "Memory",
            Self::Types => "Cache types",
            Self::Dump => "In the dump",
            Self::Free => "Free memory",
            Self::Process => "Pages",
        }
    }

    /// Whether its ranges can be few and small among many others, and are to be seen nevertheless.
    pub const fn is_sparse(self) -> bool {
        matches!(self, Self::Dump | Self::Process)
    }
}

/// What a range is, which decides how it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Memory of the machine.
    Ram,
    /// What the firmware keeps.
    Reserved,
    /// Tables of ACPI.
    Acpi,
    /// What ACPI keeps while the machine sleeps.
    AcpiNvs,
    /// Memory with faults.
    Unusable,
    /// Persistent memory.
    Persistent,
    /// What else the firmware lists.
    Firmware,
    /// Nothing that is listed; devices may be there.
    Hole,
    /// Cached, writes too.
    WriteBack,
    /// Writes go to memory at once.
    WriteThrough,
    /// Writes have no effect.
    WriteProtect,
    /// Writes are combined.
    WriteCombine,
    /// Not cached.
    Uncacheable,
    /// No range covers it.
    DefaultType,
    /// A mix of types without a rule.
    UndefinedType,
    /// A type that the kernel does not know.
    UnknownType,
    /// In the dump.
    Held,
    /// Not in the dump.
    Missing,
    /// Begins or belongs to a free block of this order.
    Free(u32),
    /// Not free.
    Used,
    /// A page of a file.
    File,
    /// A page of anonymous memory, or of memory that can be swapped.
    Anonymous,
    /// A page of something else.
    OtherPage,
}

impl Class {
    /// Whether a range of it has something of what its layer is about.
    pub const fn is_there(self) -> bool {
        !matches!(self, Self::Hole | Self::Missing | Self::Used)
    }

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ram => "ram",
            Self::Reserved => "reserved",
            Self::Acpi => "acpi-reclaimable",
            Self::AcpiNvs => "acpi-nvs",
            Self::Unusable => "unusable",
            Self::Persistent => "persistent",
            Self::Firmware => "firmware",
            Self::Hole => "hole",
            Self::WriteBack => "write-back",
            Self::WriteThrough => "write-through",
            Self::WriteProtect => "write-protect",
            Self::WriteCombine => "write-combine",
            Self::Uncacheable => "uncacheable",
            Self::DefaultType => "default",
            Self::UndefinedType => "undefined",
            Self::UnknownType => "unknown",
            Self::Held => "held",
            Self::Missing => "missing",
            Self::Free(_) => "free",
            Self::Used => "used",
            Self::File => "file",
            Self::Anonymous => "anonymous",
            Self::OtherPage => "other",
        }
    }
}

/// What a range is, in full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// What it is.
    pub class: Class,
    /// The memory domain of RAM; `None` where it is unknown or makes no difference.
    pub domain: Option<u32>,
    /// The same for people.
    pub text: String,
}

impl Kind {
    /// A kind without a domain.
    pub fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, domain: None, text: text.into() }
    }

    /// RAM of a memory domain, or of an unknown one.
    pub fn ram(domain: Option<u32>) -> Self {
        let text = match domain {
            Some(domain) => format!("RAM, domain {domain}"),
            None => "RAM, domain unknown".to_owned(),
        };
        Self { class: Class::Ram, domain, text }
    }

    /// A free block of 2^order pages.
    pub fn free(order: u32, domain: Option<u32>) -> Self {
        let text = match domain {
            Some(domain) => format!("free, order {order}, domain {domain}"),
            None => format!("free, order {order}"),
        };
        Self { class: Class::Free(order), domain, text }
    }

    /// The order of a free block.
    pub const fn order(&self) -> Option<u32> {
        match self.class {
            Class::Free(order) => Some(order),
            _ => None,
        }
    }
}
