//! Who knows a kernel's symbols: the kernel that runs, or files.

use crate::error::{Error, Result};
use crate::symbols::{Found, KernelSymbols, Symbols, Table};

/// Who knows a kernel's symbols.
pub enum KernelNames {
    /// Nobody: a dump without the image of its kernel.
    Unknown,
    /// The kernel that runs: it finds symbols by their names.
    Own {
        /// What it tells.
        symbols: Box<dyn Symbols>,
        /// The files that it came from, once they are opened: they tell what is at an address.
        files: Option<KernelSymbols>,
    },
    /// Files.
    Files(KernelSymbols),
}

impl KernelNames {
    /// What the kernel that runs tells.
    pub fn from_running(symbols: impl Symbols + 'static) -> Self {
        Self::Own { symbols: Box::new(symbols), files: None }
    }

    /// Who finds symbols by their names.
    ///
    /// # Errors
    ///
    /// [`Error::NoSymbols`].
    pub fn symbols(&self) -> Result<&dyn Symbols> {
        match self {
            Self::Unknown => Err(Error::NoSymbols),
            Self::Own { symbols, .. } => Ok(&**symbols),
            Self::Files(files) => Ok(files),
        }
    }

    /// The files of the kernel and of its modules, if it is by them that symbols are found.
    pub fn files(&self) -> Option<&KernelSymbols> {
        match self {
            Self::Files(files) => Some(files),
            Self::Own { .. } | Self::Unknown => None,
        }
    }

    /// The files that tell what is at an address.
    pub fn address_files(&self) -> Option<&KernelSymbols> {
        match self {
            Self::Files(files) => Some(files),
            Self::Own { files, .. } => files.as_ref(),
            Self::Unknown => None,
        }
    }

    /// The same, to be added to.
    pub(super) fn address_files_mut(&mut self) -> Option<&mut KernelSymbols> {
        match self {
            Self::Files(files) => Some(files),
            Self::Own { files, .. } => files.as_mut(),
            Self::Unknown => None,
        }
    }

    /// The kernel's image, if it is by that that symbols are found.
    pub fn image(&self) -> Option<&Table> {
        self.files().map(KernelSymbols::kernel)
    }

    /// Whether addresses have no names yet, and the files that the running kernel came from would give them some.
    pub fn lacks_files(&self) -> bool {
        matches!(self, Self::Own { files: None, .. })
    }

    /// Takes the files that the running kernel came from; symbols are still found by what it tells itself.
    pub fn add_files(&mut self, symbols: KernelSymbols) {
        if let Self::Own { files, .. } = self {
            *files = Some(symbols);
        }
    }

    /// The symbol that covers an address, where that can be told.
    pub fn lookup_by_addr(&self, address: u64) -> Option<Found<'_>> {
        self.address_files()?.lookup_by_addr(address)
    }

    /// An address as symbol and offset, `name+0x10`, where there is one; of a signed address, without its signature.
    pub fn name_of(&self, address: u64) -> Option<String> {
        let Found { entry, offset, .. } = self.lookup_by_addr(address)?;
        Some(match offset {
            0 => entry.name.to_owned(),
            offset => format!("{}+{offset:#x}", entry.name),
        })
    }
}
