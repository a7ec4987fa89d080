//! Who can hold a page, and what is counted of the pages of each.

/// The pages of one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPages {
    /// Who holds them.
    pub holder: PageHolder,
    /// How many there are.
    pub pages: u64,
    /// How many of them are wired; `None` where this kernel's pages do not say.
    pub wired: Option<u64>,
    /// How many of them are in each page queue.
    pub queued: Vec<u64>,
}

/// The use of the pages of a memory domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainUse {
    /// The domain; `None` where this kernel's segments have none.
    pub domain: Option<u32>,
    /// Pages by who holds them, in the order of [`PageHolder::ALL`].
    pub uses: Vec<HeldPages>,
}

impl HeldPages {
    /// These and those of another holder.
    pub(super) fn with(self, other: &Self) -> Self {
        let queued = self.queued.iter().zip(&other.queued).map(|(one, other)| one.saturating_add(*other));
        Self {
            pages: self.pages.saturating_add(other.pages),
            wired: self.wired.zip(other.wired).map(|(one, other)| one.saturating_add(other)),
            queued: queued.collect(),
            ..self
        }
    }
}

/// Who holds a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PageHolder {
    /// Nobody: it is in a free list.
    Free,
    /// Nobody: it is in a reservation of contiguous memory for an object, and counted as free.
    Reserved,
    /// Nobody: it is set aside for what is never freed (`PG_NOFREE`).
    SetAside,
    /// It belongs to no object, and nothing refers to it: mostly free pages that CPUs keep to allocate them quickly.
    Unreferenced,
    /// It was not available when the kernel started, belongs to no object, and nothing refers to it: the kernel itself, and what
    /// it took before.
    Startup,
    /// It belongs to the kernel's object: memory of malloc(9) and uma(9), buffers, ZFS.
    Kernel,
    /// It belongs to an object of kernel stacks of threads.
    KernelStack,
    /// It is wired, and belongs to no object: small memory of uma(9), page tables, memory of devices.
    Wired,
    /// Anonymous memory of processes.
    Anonymous,
    /// Shared memory, of `shm_open(2)` and shmget(2).
    Shared,
    /// Other memory that can be swapped, such as that of md(4); before FreeBSD 13, anonymous and shared memory.
    Swappable,
    /// A file's, in a buffer of a file system.
    Buffer,
    /// A file's, not in a buffer: the page cache, and files of tmpfs(5).
    File,
    /// Of an object of a device.
    Device,
    /// Of an object of physical memory (`OBJT_PHYS`).
    Physical,
    /// Of an object of a scatter/gather list (`OBJT_SG`).
    ScatterGather,
    /// It is no memory, but has a `struct vm_page`.
    Fictitious,
    /// Something else, or an object that cannot be read.
    Other,
    /// Its `struct vm_page` cannot be read.
    Unreadable,
}

impl PageHolder {
    /// All holders.
    pub const ALL: [Self; 19] = [
        Self::Free,
        Self::Reserved,
        Self::SetAside,
        Self::Unreferenced,
        Self::Startup,
        Self::Kernel,
        Self::KernelStack,
        Self::Wired,
        Self::Anonymous,
        Self::Shared,
        Self::Swappable,
        Self::Buffer,
        Self::File,
        Self::Device,
        Self::Physical,
        Self::ScatterGather,
        Self::Fictitious,
        Self::Other,
        Self::Unreadable,
    ];

    /// What it is called: lower case, with hyphens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Reserved => "reserved",
            Self::SetAside => "set-aside",
            Self::Unreferenced => "unreferenced",
            Self::Startup => "startup",
            Self::Kernel => "kernel",
            Self::KernelStack => "kernel-stack",
            Self::Wired => "wired",
            Self::Anonymous => "anonymous",
            Self::Shared => "shared",
            Self::Swappable => "swappable",
            Self::Buffer => "buffer",
            Self::File => "file",
            Self::Device => "device",
            Self::Physical => "physical",
            Self::ScatterGather => "scatter-gather",
            Self::Fictitious => "fictitious",
            Self::Other => "other",
            Self::Unreadable => "unreadable",
        }
    }
}
