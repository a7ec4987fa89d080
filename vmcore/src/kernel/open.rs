//! A kernel as a whole: its memory, its symbols and its processes.

use super::identity::{Identity, compare};
use super::names::KernelNames;
use super::process::Processes;
use super::space::{AddressSpace, RootOrigin};
use super::warning::KernelWarning;
use super::{Access, DebuggerOutput, KernelFacts, KernelMemory, TypedMemory, capture, config, messages};
use crate::architecture::Architecture;
use crate::dump::byte_source::ByteSource;
use crate::dump::{DumpedMemory, MinidumpFacts};
use crate::error::{Error, Result};
use crate::fault::{Fault, Why};
use crate::messages::MessageBuffer;
use crate::mismatch::Mismatch;
use crate::opened::{Open, Scratch, open_plainly};
use crate::progress::Progress;
use crate::symbols::linker_files::{self, Listing};
use crate::symbols::{Found, KernelSymbols, Symbol, Symbols, Table};
use crate::system::System;
use crate::text::first_line;
use crate::types::{TypeSource, TypeTable};
use crate::units::Hex;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A kernel, that of a dump or the running one: its memory by virtual address, its symbols, its processes. It stays in
/// its thread; what [`Self::memory`] gives, and the symbols of files, can be shared by several.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::Kernel;
///
/// fn main() -> vmcore::Result<()> {
///     let mut kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
///     if let Some(symbol) = kernel.find("hz")? {
///         println!("hz is {}", kernel.memory().u32(symbol.address)?);
///     }
///     for (process, thread) in kernel.processes()?.threads() {
///         println!("{} {}", process.pid, thread.tid);
///     }
///     for warning in kernel.take_warnings() {
///         eprintln!("{warning}");
///     }
///     Ok(())
/// }
/// ```
pub struct Kernel {
    memory: KernelMemory,
    names: KernelNames,
    /// Why its symbols cannot be believed.
    mismatch: Option<Mismatch>,
    is_verified: bool,
    warnings: Vec<KernelWarning>,
    modules: ModuleFiles,
    types: Option<TypeTable>,
    has_module_types: bool,
}

/// How a dump's kernel is opened. Most dumps need none of it: [`Kernel::open`].
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::kernel::{Access, KernelOptions};
/// use vmcore::opened::Scratch;
///
/// # fn main() -> vmcore::Result<()> {
/// let options = KernelOptions { scratch: Some(Scratch::new(Path::new("/var/tmp"))), ..KernelOptions::default() };
/// let kernel = options.open(Path::new("vmcore.0.zst"), None)?;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct KernelOptions<'a> {
    /// Where a dump that is compressed is decompressed, into a file without a name.
    pub scratch: Option<Scratch<'a>>,
    /// Of an image of memory without headers: the ranges of physical addresses in it, one after another. Without them the
    /// first byte is that at address 0.
    pub segments: Option<&'a [(u64, u64)]>,
    /// Counts compressed bytes while a dump is decompressed.
    pub progress: Option<&'a Progress>,
    /// Whether the dump is written to.
    pub access: Access,
}

impl KernelOptions<'_> {
    /// Opens the kernel of a dump; with the image of that kernel there are symbols and what is found through them.
    ///
    /// # Errors
    ///
    /// See [`Kernel::open`].
    pub fn open(&self, core: &Path, kernel: Option<&Path>) -> Result<Kernel> {
        let image = kernel.map(Table::open).transpose()?;
        let source = match self.access {
            Access::Read => ByteSource::open(core)?,
            Access::Write => ByteSource::open_for_writing(core)?,
        };
        let unseen = Progress::default();
        let memory = DumpedMemory::open(source, self.segments, self.scratch, self.progress.unwrap_or(&unseen))?;
        Kernel::from_dump(core, memory, image)
    }
}

/// Whose kernel is in a dump, and its address space.
pub(super) type Space = (Architecture, AddressSpace);

/// How the files of modules are opened.
struct ModuleFiles {
    open: Open,
    /// The system that the program runs on, whose files may be those that the kernel had.
    system: Option<System>,
    /// The root directory of the system that the kernel is of, if somebody named it.
    root: Option<PathBuf>,
    are_loaded: bool,
}

/// What a kernel's file has in place of memory that is not in a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContents {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The file.
    pub path: PathBuf,
    /// Why there is no memory.
    pub why: Why,
}

impl Kernel {
    /// Opens the kernel of a dump, a dump device or an image of memory; with the image of that kernel, such as
    /// /boot/kernel/kernel, there are symbols and what is found through them.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is nothing of the kind; the dump is compressed ([`Error::Compressed`]: see
    /// [`KernelOptions::scratch`]); its page tables cannot be found, as in all but minidumps without the image ([`Error::NeedsImage`]); the image
    /// is one of another architecture. That it is another kernel's is no error: see [`Self::mismatch`].
    pub fn open(core: &Path, kernel: Option<&Path>) -> Result<Self> {
        KernelOptions::default().open(core, kernel)
    }

    /// The kernel in a dump that is open, whose path messages have, with its image.
    ///
    /// # Errors
    ///
    /// Those of [`KernelMemory::from_dump`]; the image is one of another architecture.
    pub fn from_dump(core: &Path, memory: DumpedMemory, image: Option<Table>) -> Result<Self> {
        let space = Self::space_of(core, &memory, image.as_ref())?;
        Ok(Self::from_space(memory, space, image))
    }

    /// The address space of the kernel in a dump, with an image that is one of the same architecture.
    pub(super) fn space_of(core: &Path, memory: &DumpedMemory, image: Option<&Table>) -> Result<Space> {
        let known = image.and_then(|table| Some((table.architecture()?, table as &dyn Symbols)));
        let space = KernelMemory::space_of(memory, known)?;
        if let Some(image) = image {
            check_machine(core, &space, image)?;
        }
        Ok(space)
    }

    /// The kernel in a dump whose address space is known.
    pub(super) fn from_space(memory: DumpedMemory, (architecture, space): Space, image: Option<Table>) -> Self {
        let scanned = if space.origin == RootOrigin::Scan { space.root() } else { None };
        let memory = KernelMemory::from_space(memory, architecture, space);
        let names = match image {
            Some(table) => {
                let files = KernelSymbols::new(table);
                let relocations = memory.relocations(&files);
                KernelNames::Files(files.relocate(relocations))
            }
            None => KernelNames::Unknown,
        };
        let mut kernel = Self::new(memory, names);
        kernel.warnings.extend(scanned.map(|root| KernelWarning::TablesByScan(Hex(root))));
        kernel.compare();
        kernel
    }

    /// The dump that it is in, again; `None` of the running kernel.
    pub(super) fn into_dump(self) -> Option<DumpedMemory> {
        self.memory.into_dump()
    }

    /// The running kernel with its memory ([`KernelMemory::from_live`]), and who knows its symbols.
    pub fn from_running(memory: KernelMemory, names: KernelNames) -> Self {
        Self::new(memory, names)
    }

    fn new(memory: KernelMemory, names: KernelNames) -> Self {
        let modules = ModuleFiles { open: open_plainly, system: None, root: None, are_loaded: false };
        Self {
            memory,
            names,
            mismatch: None,
            is_verified: false,
            warnings: Vec::new(),
            modules,
            types: None,
            has_module_types: false,
        }
    }

    /// Says how the files of modules are opened, and of which system they may be where the kernel had them from: the one
    /// that the program runs on. Without it they are looked for beside the kernel's image only.
    #[must_use]
    pub fn with_modules_of(mut self, system: Option<System>, open: Open) -> Self {
        self.modules = ModuleFiles { open, system, ..self.modules };
        self
    }

    /// Names the root directory of the system that the kernel is of: the files of modules are looked for there, too, where
    /// the kernel had them from.
    pub fn set_root(&mut self, root: PathBuf) {
        self.modules.root = Some(root);
    }

    /// Compares the kernel of a dump with the image that its symbols are from.
    fn compare(&mut self) {
        let Some(files) = self.names.files() else { return };
        match compare(&self.memory, files) {
            Identity::Same => self.is_verified = true,
            Identity::Unknown(warning) => self.warnings.push(warning),
            Identity::Other(mismatch) => {
                self.warnings.push(KernelWarning::OtherKernel(mismatch.clone()));
                self.mismatch = Some(mismatch);
            }
        }
    }

    /// Its memory, by virtual address.
    pub fn memory(&self) -> &KernelMemory {
        &self.memory
    }

    /// Why the image that was named is not this kernel's, if it is not: its symbols are not used then.
    pub fn mismatch(&self) -> Option<&Mismatch> {
        self.mismatch.as_ref()
    }

    /// Whether the image that its symbols are from was shown to be the one of the kernel in the dump, by the version and
    /// the build ID in both.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// What may be wrong, as far as it was not taken before.
    pub fn take_warnings(&mut self) -> Vec<KernelWarning> {
        std::mem::take(&mut self.warnings)
    }

    /// Who knows its symbols by their names.
    ///
    /// # Errors
    ///
    /// [`Error::NoSymbols`]: it is a dump without an image. [`Error::OtherKernel`]: the image is another kernel's.
    pub fn symbols(&self) -> Result<&dyn Symbols> {
        match &self.mismatch {
            Some(mismatch) => Err(Error::OtherKernel(mismatch.clone())),
            None => self.names.symbols(),
        }
    }

    /// Who knows its symbols, whether they can be believed or not.
    pub fn names(&self) -> &KernelNames {
        &self.names
    }

    /// Its image, where its symbols are from that; whether it is the right one says [`Self::mismatch`].
    pub fn image(&self) -> Option<&Table> {
        self.names.image()
    }

    /// The symbol of this name, of the kernel or, where it has none, of its modules, whose files are then opened.
    ///
    /// # Errors
    ///
    /// Those of [`Self::symbols`].
    pub fn find(&mut self, name: &str) -> Result<Option<Symbol>> {
        let found = self.symbols()?.find(name)?;
        if found.is_some() || self.image().is_none() {
            return Ok(found);
        }
        // A kernel whose list of modules cannot be read has still said what it knows.
        let _ = self.load_modules();
        self.symbols()?.find(name)
    }

    /// An address as symbol and offset, `name+0x10`, where there is one; of a signed address, without its signature.
    pub fn name_of(&self, address: u64) -> Option<String> {
        if self.mismatch.is_none() { self.names.name_of(address) } else { None }
    }

    /// The symbol of the code at an address, where there is one; of a signed address, without its signature.
    pub fn code_at(&self, address: u64) -> Option<Found<'_>> {
        if self.mismatch.is_some() {
            return None;
        }
        self.names.lookup_by_addr(address).filter(|found| found.entry.is_code)
    }

    /// Whether a file that symbols are from is the kernel's own, and not that of a module.
    pub fn is_own_file(&self, name: &str) -> bool {
        let kernel = self.names.address_files().and_then(|files| files.tables().next());
        kernel.is_none_or(|(kernel, _)| kernel == name)
    }

    /// Whether there is code at an address: in a file of the kernel or, where none covers it, by the page tables.
    pub fn is_code(&self, address: u64) -> bool {
        let address = self.memory.architecture().plain_address(address);
        match self.names.lookup_by_addr(address).filter(|_| self.mismatch.is_none()) {
            Some(found) => found.entry.is_code,
            None => self.memory.translate(address).is_ok_and(|found| found.protection.execute),
        }
    }

    /// Gives the files of modules, by their names, open for reading: see [`KernelSymbols::give_module_files`]. Only a kernel
    /// whose symbols are from its image takes them.
    pub fn give_module_files(&mut self, given: Vec<(String, File)>) {
        if let KernelNames::Files(files) = &mut self.names {
            files.give_module_files(given);
        }
    }

    /// Adds the symbols of the modules that the kernel has loaded, where its own are from its image. Those without a file
    /// are among the warnings.
    ///
    /// # Errors
    ///
    /// The kernel does not have the symbols that lead to the list of its modules.
    pub fn load_modules(&mut self) -> Result<()> {
        let here = self.is_of_this_system().then(|| PathBuf::from("/"));
        let root = self.modules.root.clone().or(here);
        let KernelNames::Files(files) = &mut self.names else { return Ok(()) };
        if self.modules.are_loaded {
            return Ok(());
        }
        let listing = linker_files::list(files.kernel(), &self.memory)?;
        self.modules.are_loaded = true;
        self.warnings.extend(listing.broken.map(KernelWarning::ModulesCutOff));
        files.add_modules(&listing.files, root.as_deref(), self.modules.open, Some(&self.memory));
        self.warnings.extend(files.missing().iter().cloned().map(KernelWarning::NoModule));
        Ok(())
    }

    /// The files that it was linked from as it ran, where its image is known: itself and its modules.
    ///
    /// # Errors
    ///
    /// Those of [`Self::symbols`] and [`Self::load_modules`].
    pub fn linked_files(&self) -> Result<Listing> {
        self.symbols()?;
        let files = self.names.address_files().ok_or(Error::NoSymbols)?;
        linker_files::list(files.kernel(), &self.memory)
    }

    /// Reads the types of its C, and of its modules' where their files are known, if that was not done. A module without types
    /// is no error: what it has is not typed.
    ///
    /// # Errors
    ///
    /// [`Error::NoSymbols`]: no file of the kernel is known. [`Error::OtherKernel`]: it is another kernel's. The file has no
    /// types, or they cannot be read.
    pub fn load_types(&mut self, source: &mut dyn TypeSource) -> Result<&TypeTable> {
        self.load_own_types(source)?;
        if !std::mem::replace(&mut self.has_module_types, true) {
            // A kernel whose list of modules cannot be read still has types of its own.
            let _ = self.load_modules();
            self.place_sets();
            let (files, types) = (self.names.address_files(), self.types.as_mut());
            let (files, types) = files.zip(types).ok_or(Error::NoSymbols)?;
            let failed = types.add_modules(files.tables().skip(1).map(|(_, module)| module), source);
            self.warnings.extend(failed.iter().map(|error| KernelWarning::NoModuleTypes(error.to_string())));
        }
        self.types.as_ref().ok_or(Error::NoSymbols)
    }

    /// Finds where the kernel has variables of modules that each CPU or network stack has a copy of. Where that is not known,
    /// who asks for one is told why.
    fn place_sets(&mut self) {
        let files = self.names.address_files();
        let places = self.typed().ok().zip(files).map(|(typed, files)| typed.set_places(files));
        if let Some((places, files)) = places.zip(self.names.address_files_mut()) {
            files.place_sets(places);
        }
    }

    /// As [`Self::load_types`], without those of its modules: what is not looked for there is found sooner.
    ///
    /// # Errors
    ///
    /// Those of [`Self::load_types`].
    pub fn load_own_types(&mut self, source: &mut dyn TypeSource) -> Result<&TypeTable> {
        if self.types.is_none() {
            self.types = Some(self.own_types(source)?);
        }
        self.types.as_ref().ok_or(Error::NoSymbols)
    }

    fn own_types(&mut self, source: &mut dyn TypeSource) -> Result<TypeTable> {
        // An image of the running kernel may be named, too.
        if self.memory.dump().is_none() && !self.is_verified {
            self.compare();
        }
        if let Some(mismatch) = &self.mismatch {
            return Err(Error::OtherKernel(mismatch.clone()));
        }
        let files = self.names.address_files().ok_or(Error::NoSymbols)?;
        let types = TypeTable::from_file(files.kernel(), source)?;
        // Types of another build of the same version would tell wrong values.
        if self.memory.dump().is_some() && files.kernel().build_id().is_none() {
            self.warnings.push(KernelWarning::NoBuildId { image: files.source() });
        }
        Ok(types)
    }

    /// Its memory with its types, once these are loaded.
    ///
    /// # Errors
    ///
    /// Those of [`Self::symbols`]; [`Self::load_types`] was not called or failed.
    pub fn typed(&self) -> Result<TypedMemory<'_>> {
        let symbols = self.symbols()?;
        let types = self.types.as_ref();
        let types = types
            .ok_or_else(|| Error::Unsupported("the kernel's image has no types, or they were not loaded".to_owned()))?;
        Ok(TypedMemory { memory: &self.memory, types, symbols })
    }

    /// Who knows its symbols, and its types, once these are loaded: expressions add types that they make of others.
    ///
    /// # Errors
    ///
    /// Those of [`Self::typed`].
    pub(crate) fn names_and_types(&mut self) -> Result<(&KernelNames, &mut TypeTable)> {
        self.typed()?;
        let types = self.types.as_mut();
        Ok((&self.names, types.ok_or(Error::NoSymbols)?))
    }

    /// Gives addresses names, too, where the running kernel tells only where names are: by the files that it came from.
    pub fn add_files(&mut self, files: KernelSymbols) {
        self.names.add_files(files);
    }

    /// Whether it is the kernel of the system that the program runs on: the running one, or that of a dump, by its header.
    fn is_of_this_system(&self) -> bool {
        let Some(system) = &self.modules.system else { return false };
        let Some(dump) = self.memory.dump() else { return true };
        dump.inspection().location.header.as_ref().is_some_and(|header| {
            header.hostname == *system.hostname.as_str()
                && !system.version.is_empty()
                && first_line(&header.version_string.text()) == first_line(&system.version)
        })
    }

    /// Its processes and threads; zombies of kernels since FreeBSD 13 only once [`Self::load_types`] was called.
    ///
    /// # Errors
    ///
    /// Those of [`Self::symbols`] and [`Processes::read`].
    pub fn processes(&self) -> Result<Processes> {
        Processes::read_with(&self.memory, self.symbols()?, self.types.as_ref())
    }

    /// What it says of itself: version, panic, uptime.
    ///
    /// # Errors
    ///
    /// Those of [`Self::symbols`] and [`KernelFacts::read`].
    pub fn facts(&self) -> Result<KernelFacts> {
        KernelFacts::read(&self.memory, self.symbols()?)
    }

    /// What it has said: of a minidump, the messages that this has beside its memory, for which no symbols are needed. A live
    /// dump of the kernel's does not tell the order of those; with symbols its memory does, if it has that page.
    ///
    /// # Errors
    ///
    /// Where they are in its memory: those of [`Self::symbols`], its `msgbufp` does not lead to a message buffer, or that
    /// cannot be read.
    pub fn messages(&self) -> Result<MessageBuffer> {
        let facts =
            self.memory.dump().and_then(DumpedMemory::minidump).filter(|facts| !facts.message_buffer.is_empty());
        let Some(messages) = facts.map(MinidumpFacts::messages) else {
            return messages::read(&self.memory, self.symbols()?);
        };
        let ordered = || messages::order(&facts?.message_buffer, &self.memory, self.symbols().ok()?);
        Ok(if messages.is_ordered { None } else { ordered() }.unwrap_or(messages))
    }

    /// The configuration that it was built with; `None` if it was built without `options INCLUDE_CONFIG_FILE`.
    ///
    /// # Errors
    ///
    /// Those of [`Self::symbols`]; neither the kernel's memory nor its file can be read there.
    pub fn configuration(&self) -> Result<Option<Vec<u8>>> {
        config::read(&self.memory, self.symbols()?, |fault, limit| {
            Ok(self.file_contents(fault, limit)?.map(|contents| contents.bytes))
        })
    }

    /// What its debugger, ddb(4), has captured of its own output; `None` of a kernel without it.
    ///
    /// # Errors
    ///
    /// Those of [`Self::symbols`]; its variables cannot be read, or say what cannot be.
    pub fn debugger_output(&self) -> Result<Option<DebuggerOutput>> {
        capture::read(&self.memory, self.symbols()?)
    }

    /// What the kernel's file has at an address whose page a dump does not have, where the kernel only reads it; at most
    /// so many bytes. It is no memory: the kernel may have changed it.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn file_contents(&self, fault: Fault, limit: usize) -> Result<Option<FileContents>> {
        let lacks_page = matches!(fault.why, Why::NoPage(_) | Why::LeftOut(..) | Why::NoImage(_));
        let is_known = lacks_page && self.memory.dump().is_some() && self.mismatch.is_none();
        let Some(files) = self.names.files().filter(|_| is_known) else { return Ok(None) };
        let table = files.kernel();
        let bytes = table.read_only_contents(files.as_linked(fault.address), limit)?;
        Ok(bytes.map(|bytes| FileContents { bytes, path: table.path().to_owned(), why: fault.why }))
    }

    /// Its symbols, where they are from files.
    ///
    /// # Errors
    ///
    /// Those of [`Self::symbols`]; they are not from files ([`Error::NoSymbols`]).
    pub fn into_files(self) -> Result<KernelSymbols> {
        self.symbols()?;
        match self.names {
            KernelNames::Files(files) => Ok(files),
            KernelNames::Own { .. } | KernelNames::Unknown => Err(Error::NoSymbols),
        }
    }
}

/// Refuses an image that is one of another architecture or order of bytes than the dump.
fn check_machine(core: &Path, (dump, space): &Space, image: &Table) -> Result<()> {
    let dump = *dump;
    if let Some(kernel) = image.architecture().filter(|kernel| *kernel != dump) {
        return Err(Error::OtherArchitecture { core: core.to_owned(), dump, kernel });
    }
    if image.order() != space.order {
        let (dump, kernel) = (space.order, image.order());
        return Err(Error::OtherByteOrder { core: core.to_owned(), dump, image: image.path().to_owned(), kernel });
    }
    Ok(())
}
