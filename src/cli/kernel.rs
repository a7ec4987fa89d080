//! The kernel that a command looks into: the running one, or that of a dump; and places in it, as people name them.

use super::encryption::{identities, identity_inputs};
use super::{Context, Inputs, seekable};
use clap::Args;
use memtool::dump_input;
use memtool::encryption::input::Unlock;
use memtool::files;
use memtool::live_kernel::{RunningFiles, installed_system, open_kernel, open_physical};
use memtool::observer::{Phase, observe_bytes};
use memtool::output_file::{scratch, temporary_directory};
use memtool::{Error, Result};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use vmcore::Kernel;
use vmcore::architecture::{Architecture, Endianness};
use vmcore::debug_info::{DebugTypes, Search};
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Container, Content, DiskSearch, DumpedMemory, Inspection};
use vmcore::fault::Fault;
use vmcore::kernel::{Access, FileContents, KernelWarning, PhysicalView};
use vmcore::symbols::{KernelSymbols, Table};
use vmcore::types::ctf::CtfTypes;
use vmcore::units::{NumberError, counted, parse_address, parse_size};

/// Reasons why modules have no symbols that are told one by one.
const TOLD: usize = 3;
/// What JSON says of a dump or an image.
pub const IMAGE: &str = "image";

/// Options of every command that looks into a kernel.
#[derive(Args)]
pub struct KernelArguments {
    /// Use a dump, or an image of memory, instead of the running kernel
    #[arg(short = 'M', long, value_name = "FILE", value_parser = seekable())]
    pub core: Option<PathBuf>,
    /// Read symbols from this kernel image, such as /boot/kernel/kernel
    #[arg(short = 'N', long, value_name = "FILE", value_parser = seekable())]
    pub kernel: Option<PathBuf>,
    /// The dump is in this partition of the disk: its number, such as 3 or 1b, or its label [default: the only one with a dump]
    #[arg(long, value_name = "NAME", requires = "core")]
    pub partition: Option<String>,
    /// List of the ranges in an image without headers, in order: a line '0xSTART 0xEND' for each
    #[arg(long, value_name = "FILE", requires = "core")]
    pub segments: Option<PathBuf>,
    /// Decrypt a dump that is encrypted in the format of age with a private key in this file, of age or ssh; may be repeated
    #[arg(long, value_name = "FILE", requires = "core")]
    pub identity: Vec<PathBuf>,
}

/// Where the files of the system are that a kernel is of.
#[derive(Args)]
pub struct RootArguments {
    /// Look for files of the kernel and with debug information below this directory instead of /
    #[arg(long, value_name = "DIR")]
    pub sysroot: Option<PathBuf>,
}

/// The search for debug information in the system that the program runs on.
pub fn this_system() -> Search {
    Search { open: files::open_nonblocking, ..Search::default() }
}

impl RootArguments {
    /// Where debug information is looked for.
    pub fn search(&self) -> Result<Search> {
        let root = self.sysroot.clone().unwrap_or_else(|| "/".into());
        if !root.is_dir() {
            return Err(Error::Refused(format!("--sysroot: {} is not a directory", root.display())));
        }
        Ok(Search { root, ..this_system() })
    }

    /// Has a kernel's modules looked for there.
    pub fn apply(&self, kernel: &mut Kernel) {
        if let Some(root) = &self.sysroot {
            kernel.set_root(root.clone());
        }
    }
}

/// A place in a kernel's memory, as it is written: an address, or a symbol and how far behind its beginning.
#[derive(Clone)]
pub struct Place {
    /// As it was written.
    pub text: String,
    at: PlaceKind,
}

#[derive(Clone)]
enum PlaceKind {
    Address(u64),
    Symbol { name: String, offset: u64 },
}

impl Place {
    /// Whether it is a symbol, which a physical address cannot be.
    pub fn is_symbol(&self) -> bool {
        matches!(self.at, PlaceKind::Symbol { .. })
    }

    /// That a physical address is no symbol.
    pub fn check_physical(&self, is_physical: bool) -> Result<(), String> {
        if is_physical && self.is_symbol() {
            return Err(format!("--phys: '{}' is not a number: use decimal, or hexadecimal with 0x", self.text));
        }
        Ok(())
    }
}

impl FromStr for Place {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        let at = if text.starts_with(|c: char| c.is_ascii_digit()) {
            PlaceKind::Address(parse_address(text)?)
        } else {
            let (name, offset) = match text.split_once('+') {
                Some((name, offset)) => (name, parse_size(offset)?),
                None => (text, 0),
            };
            if name.is_empty() {
                return Err(NumberError::NotANumber(text.to_owned()));
            }
            PlaceKind::Symbol { name: name.to_owned(), offset }
        };
        Ok(Self { text: text.to_owned(), at })
    }
}

/// A kernel to look into.
pub struct Opened {
    /// The kernel.
    pub kernel: Kernel,
    /// What its JSON says of it: `freebsd`, `recorded` or `image`.
    pub kind: &'static str,
}

/// Memory by virtual address of a kernel, or by physical address.
pub enum View {
    Virtual(Box<Opened>),
    Physical(Box<PhysicalView>, &'static str),
}

impl View {
    /// Fills the buffer from an address on.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        match self {
            Self::Virtual(opened) => opened.kernel.memory().read(address, buffer),
            Self::Physical(view, _) => view.memory.read(address, buffer),
        }
    }

    /// See [`Kernel::file_contents`].
    pub fn file_contents(&self, fault: Fault, limit: usize) -> Result<Option<FileContents>> {
        match self {
            Self::Virtual(opened) => Ok(opened.kernel.file_contents(fault, limit)?),
            Self::Physical(..) => Ok(None),
        }
    }

    /// Writes bytes from an address on.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Virtual(opened) => opened.kernel.memory().write(address, bytes),
            Self::Physical(view, _) => view.memory.write(address, bytes),
        }
    }

    /// Whether all bytes from an address on can be written, as far as that is known beforehand.
    pub fn check_writable(&self, address: u64, length: u64) -> Result<(), Fault> {
        match self {
            Self::Virtual(opened) => opened.kernel.memory().check_writable(address, length),
            Self::Physical(view, _) => view.memory.check_writable(address, length),
        }
    }

    /// The bytes of a C string, at most so many.
    pub fn string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Virtual(opened) => opened.kernel.memory().string(address, limit),
            Self::Physical(view, _) => view.memory.string(address, limit),
        }
    }

    /// Whether its addresses are physical.
    pub fn is_physical(&self) -> bool {
        matches!(self, Self::Physical(..))
    }

    /// What its JSON says of it: `freebsd`, `recorded` or `image`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Virtual(opened) => opened.kind,
            Self::Physical(_, kind) => kind,
        }
    }

    /// The order of bytes in integers; that of most machines where nothing tells.
    pub fn order(&self) -> Endianness {
        match self {
            Self::Virtual(opened) => opened.kernel.memory().order(),
            Self::Physical(view, _) => view.order,
        }
    }

    /// Bytes of a pointer.
    pub fn word_size(&self) -> Result<usize> {
        match self {
            Self::Virtual(opened) => Ok(opened.kernel.memory().word_size()),
            Self::Physical(view, _) => view.architecture.map(Architecture::word_size).ok_or_else(|| {
                Error::Refused(
                    "the size of a pointer in this image is unknown: use u32 or u64, or give its kernel with --kernel"
                        .to_owned(),
                )
            }),
        }
    }

    /// An address as symbol and offset, where there is one.
    pub fn name_of(&self, address: u64) -> Option<String> {
        match self {
            Self::Virtual(opened) => opened.kernel.name_of(address),
            Self::Physical(view, _) => view.names.name_of(address),
        }
    }

    /// See [`Opened::load_names`].
    pub fn load_names(&mut self, context: &mut Context) {
        match self {
            Self::Virtual(opened) => opened.load_names(context),
            Self::Physical(view, _) => {
                if view.names.lacks_files()
                    && let Some(files) = files_for_names(context)
                {
                    view.names.add_files(files);
                }
            }
        }
    }

    /// A place in it: see [`Opened::place`]; a physical one has no symbol.
    pub fn place(&mut self, context: &mut Context, place: &Place) -> Result<(u64, Option<u64>)> {
        match (self, &place.at) {
            (Self::Virtual(opened), _) => opened.place(context, place),
            (Self::Physical(..), PlaceKind::Address(address)) => Ok((*address, None)),
            (Self::Physical(..), PlaceKind::Symbol { .. }) => {
                Err(Error::Usage(format!("--phys: '{}' is not an address", place.text)))
            }
        }
    }
}

impl KernelArguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        [("--segments", self.segments.as_ref())].into_iter().chain(identity_inputs(&self.identity)).collect()
    }

    /// Whether a dump is asked, and not the running kernel.
    pub fn names_core(&self) -> bool {
        self.core.is_some()
    }

    /// Whether files alone are asked, where a kernel's image is enough, and not the running kernel.
    pub fn names_files(&self) -> bool {
        self.core.is_some() || self.kernel.is_some()
    }

    /// Opens the kernel.
    pub fn open(&self, context: &mut Context, access: Access) -> Result<Opened> {
        self.open_with(context, access, &temporary_directory())
    }

    /// As [`Self::open`]; what is compressed is decompressed into a directory.
    pub fn open_with(&self, context: &mut Context, access: Access, scratch: &Path) -> Result<Opened> {
        let image = self.image()?;
        let Some(core) = &self.core else { return open_running(context, image, access) };
        let memory = self.open_core(context, core, access, scratch)?;
        open_memory(context, core, memory, image)
    }

    /// Opens it by physical or by virtual address.
    pub fn view(&self, context: &mut Context, access: Access, physical: bool) -> Result<View> {
        if !physical {
            return Ok(View::Virtual(Box::new(self.open(context, access)?)));
        }
        let image = self.image()?;
        match &self.core {
            Some(core) => {
                let memory = self.open_core(context, core, access, &temporary_directory())?;
                Ok(View::Physical(Box::new(PhysicalView::from_dump(memory, image)?), IMAGE))
            }
            None => {
                let host = context.host()?;
                Ok(View::Physical(Box::new(open_physical(&host, image, access)?), host.kind()))
            }
        }
    }

    /// The kernel's image, if it is named.
    pub fn image(&self) -> Result<Option<Table>> {
        self.kernel.as_deref().map(files::open_kernel).transpose()
    }

    /// Opens a dump to be read, decrypted into a directory if it is encrypted to an identity.
    pub fn open_volume(&self, context: &mut Context, core: &Path, directory: &Path) -> Result<ByteSource> {
        let identities = identities(context, &self.identity)?;
        let unlock = Unlock { identities: &identities, scratch: directory };
        Ok(dump_input::open_unlocked(core, unlock, context)?.with_partition(self.partition.clone()))
    }

    /// Opens the memory in a dump, and says what is worth knowing of it; what is compressed is decompressed into a directory.
    pub fn open_core(
        &self,
        context: &mut Context,
        core: &Path,
        access: Access,
        directory: &Path,
    ) -> Result<DumpedMemory> {
        // Only convert lets standard input be named.
        let volume = match access {
            Access::Read => self.open_volume(context, core, directory)?,
            Access::Write => core_volume(core, access)?.with_partition(self.partition.clone()),
        };
        let segments = self.segments.as_deref().map(files::read_segments).transpose()?;
        let memory = observe_bytes(context, Phase::Reading, volume.length(), |progress| {
            DumpedMemory::open(volume, segments.as_deref(), scratch(directory), progress)
        });
        let memory = memory.map_err(|error| match error {
            Error::Vmcore(vmcore::Error::Refused(why)) => {
                Error::Refused(format!("{}: {why}", files::in_order(core).0.display()))
            }
            error => error,
        })?;
        remark_on_memory(context, files::in_order(core).0, &memory, self.segments.is_some(), directory);
        Ok(memory)
    }
}

/// Says what is worth knowing of a dump whose memory is read, and why what reads little of it takes long, where it does; why
/// something of it cannot be read is told once that is known. `directory` is where it is decompressed.
pub fn remark_on_memory(
    context: &mut Context,
    path: &Path,
    memory: &DumpedMemory,
    has_segments: bool,
    directory: &Path,
) {
    remark_on_dump(context, path, memory.inspection(), has_segments);
    context.out.watch(path.display().to_string(), memory.trouble());
    if memory.is_kept() {
        let (path, directory) = (path.display(), directory.display());
        context.remark(&format!(
            "{path} is compressed as one stream: it is decompressed from its beginning as far as it is read, into {directory}; of a minidump, 'memtool convert --format minidump --zstd' makes one that is read in place"
        ));
    }
}

/// The running kernel, or that of a recorded machine.
pub fn open_running(context: &mut Context, image: Option<Table>, access: Access) -> Result<Opened> {
    let host = context.host()?;
    Ok(Opened { kernel: open_kernel(&host, image, access)?, kind: host.kind() })
}

/// The kernel in a dump that is open.
pub fn open_memory(context: &mut Context, core: &Path, memory: DumpedMemory, image: Option<Table>) -> Result<Opened> {
    Ok(opened(context, Kernel::from_dump(files::in_order(core).0, memory, image)?))
}

/// The kernel in a dump, with the modules of this system if it is that one's; says what may be wrong with it.
pub fn opened(context: &mut Context, kernel: Kernel) -> Opened {
    // Only with an image are there modules to find; a dump and a recorded machine cannot be named both.
    let host = kernel.image().and_then(|_| context.host().ok());
    let here = host.and_then(|host| installed_system(&*host));
    let mut opened = Opened { kernel: kernel.with_modules_of(here, files::open_nonblocking), kind: IMAGE };
    opened.warn(context);
    opened
}

/// Opens a dump, to be read only or changed too.
pub fn core_volume(core: &Path, access: Access) -> Result<ByteSource> {
    match access {
        Access::Read => dump_input::open(core),
        Access::Write => files::open_dump_for_writing(core),
    }
}

/// Says what is worth knowing of a dump.
pub fn remark_on_dump(context: &mut Context, path: &Path, inspection: &Inspection, has_segments: bool) {
    match &inspection.location.partition {
        Some(partition) => context.remark(&format!("{} is a disk, with a dump in {partition}", path.display())),
        None if inspection.location.place == Container::Device => {
            context.remark(&format!("{} is a dump device, with a dump in it", path.display()));
        }
        None => {}
    }
    for warning in inspection.disk.iter().flat_map(DiskSearch::warnings) {
        context.warn(&format!("{}: {warning}", path.display()));
    }
    if inspection.content == Content::Unknown {
        let from = if has_segments { "in the ranges of --segments" } else { "from physical address 0" };
        let path = path.display();
        context.warn(&format!("{path} has no known format: it is read as memory {from}"));
    }
    for damage in &inspection.damage {
        context.warn(&format!("{} is damaged: {damage}", path.display()));
    }
    for limit in &inspection.limits {
        context.warn(&format!("{}: a limit of memtool, not damage: {limit}", path.display()));
    }
    let verbose = context.global.verbose > 0;
    for remark in inspection.remarks.iter().filter(|_| verbose) {
        context.remark(&format!("{}: {remark}", path.display()));
    }
}

impl Opened {
    /// Tells what may be wrong with what the kernel shows, as far as that is new.
    pub fn warn(&mut self, context: &mut Context) {
        let (missing, others): (Vec<_>, Vec<_>) =
            self.kernel.take_warnings().into_iter().partition(|warning| matches!(warning, KernelWarning::NoModule(_)));
        for warning in &others {
            context.warn(&warning.to_string());
            context.has_told_of_other_kernel |= matches!(warning, KernelWarning::OtherKernel(_));
        }
        warn_of_missing(context, &missing.iter().map(ToString::to_string).collect::<Vec<_>>());
    }

    /// Sees to it that addresses of the running kernel have names, too, from the files that it says it came from; says why
    /// they have none.
    pub fn load_names(&mut self, context: &mut Context) {
        if self.kernel.names().lacks_files()
            && let Some(files) = files_for_names(context)
        {
            self.kernel.add_files(files);
        }
    }

    /// Reads the types from the CTF of the kernel, without those of its modules, for what tells more by them. Returns whether
    /// there are any.
    pub fn load_own_types(&mut self, context: &mut Context) -> Result<bool> {
        if self.kernel.names().lacks_files()
            && let Ok(files) = RunningFiles::open(&*context.host()?)
            && !files.is_of_unknown_version
        {
            self.kernel.add_files(files.symbols);
        }
        let loaded = self.kernel.load_own_types(&mut CtfTypes::default()).map(|_| ());
        self.warn(context);
        match loaded {
            Ok(()) => Ok(true),
            Err(vmcore::Error::NoTypes(_) | vmcore::Error::NoSymbols | vmcore::Error::OtherKernel(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`Self::load_own_types`]; warns of what keeps it from that.
    pub fn load_own_types_if_any(&mut self, context: &mut Context) -> bool {
        self.load_own_types(context).unwrap_or_else(|error| {
            context.warn(&format!("the kernel's types are not used: {error}"));
            false
        })
    }

    /// As [`Self::load_own_types`]; where there are none, all types as [`Self::load_types_with`] does, which takes longer.
    pub fn load_own_or_all_types(&mut self, context: &mut Context, search: Search) -> Result<()> {
        match self.load_own_types(context) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => self.load_types_with(context, search).map(|_| ()),
        }
    }

    /// Reads the types of the kernel's C: from its file, or, of the running kernel, from the one that it says it came from;
    /// where that has no CTF, from its debug information, which is looked for there: see [`RootArguments::search`]. What told
    /// them can be asked for more of it.
    pub fn load_types_with(&mut self, context: &mut Context, search: Search) -> Result<DebugTypes> {
        if self.kernel.names().lacks_files() {
            let files = running_files(context)?;
            self.kernel.add_files(files);
        }
        let mut source = DebugTypes::new(search);
        let loaded = self.kernel.load_types(&mut source).map(|_| ());
        source.take_warnings().iter().for_each(|warning| context.warn(warning));
        self.warn(context);
        Ok(loaded.map(|()| source)?)
    }

    /// A place in the kernel: its address, and bytes of the symbol from there on, where they are known.
    pub fn place(&mut self, context: &mut Context, place: &Place) -> Result<(u64, Option<u64>)> {
        let (name, offset) = match &place.at {
            PlaceKind::Address(address) => return Ok((*address, None)),
            PlaceKind::Symbol { name, offset } => (name, *offset),
        };
        let found = self.kernel.find(name)?;
        self.warn(context);
        let source = self.kernel.symbols()?.source();
        let symbol = found.ok_or_else(|| Error::Refused(format!("{source} has no symbol '{name}'")))?;
        let address = symbol.address.checked_add(offset);
        let beyond = || Error::Refused(format!("{} is beyond the address space", place.text));
        let address = address.ok_or_else(beyond)?;
        Ok((address, symbol.size.checked_sub(offset).filter(|remaining| *remaining > 0)))
    }

    /// Adds the symbols of the modules that the kernel has loaded, where its own are from a file; warns of those without a file.
    pub fn load_modules(&mut self, context: &mut Context) -> Result<()> {
        let loaded = self.kernel.load_modules();
        self.warn(context);
        Ok(loaded?)
    }
}

/// The files that name addresses of the running kernel; says why there are none.
fn files_for_names(context: &mut Context) -> Option<KernelSymbols> {
    running_files(context).inspect_err(|error| context.remark(&format!("addresses have no names: {error}"))).ok()
}

/// The symbols of the running kernel and its modules, from the files that it says it came from; warns of what may be wrong
/// with them.
pub fn running_files(context: &mut Context) -> Result<KernelSymbols> {
    let RunningFiles { symbols, is_of_unknown_version } = RunningFiles::open(&*context.host()?)?;
    if is_of_unknown_version {
        let path = symbols.kernel().path().display();
        context.warn(&format!("{path} has no version: it may not be the running kernel"));
    }
    warn_of_missing(context, symbols.missing());
    Ok(symbols)
}

/// Says of which modules the symbols are missing.
fn warn_of_missing(context: &mut Context, missing: &[String]) {
    let told = if context.global.verbose > 0 { usize::MAX } else { TOLD };
    for why in missing.iter().take(told) {
        context.warn(why);
    }
    let more = missing.len().saturating_sub(told);
    if more > 0 {
        context.warn(&format!("so are those of {} (-v lists them)", counted(more, "more module")));
    }
}
