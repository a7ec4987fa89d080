//! The kernel that a command looks into: the running one, or that of a dump; and places in it, as people name them.

use super::Context;
use clap::Args;
use memtool::files;
use memtool::host::Host;
use memtool::live_kernel::{RunningSymbols, open_kernel, open_physical_memory, relocation};
use memtool::observer::observe_bytes;
use memtool::output_file;
use memtool::output_file::temporary_directory;
use memtool::{Error, Result};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use vmcore::architecture::{Architecture, Endianness};
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::header::Relocation;
use vmcore::dump::{Container, Content, DumpedMemory, Inspection};
use vmcore::fault::{Fault, Why};
use vmcore::format::map_file::read_list;
use vmcore::kernel::{Access, Kernel, PhysicalMemory};
use vmcore::symbols::{Found, KernelSymbols, Symbols, Table, linker_files};
use vmcore::units::{Hex, counted, parse_address, parse_size};

/// Reasons why modules have no symbols that are told one by one.
const TOLD: usize = 3;

/// Who knows its symbols.
enum Names {
    Nobody,
    /// The kernel itself knows where a name is; what is at an address, its files say, once they are opened.
    Running(RunningSymbols<Rc<dyn Host>>, Option<KernelSymbols>),
    Files(KernelSymbols),
}

impl Names {
    /// Of the running kernel: files that were named for it, or it itself.
    fn from_host(host: Rc<dyn Host>, files: Option<KernelSymbols>) -> Self {
        match files {
            Some(files) => Self::Files(as_running(&*host, files)),
            None => Self::Running(RunningSymbols(host), None),
        }
    }

    /// Of a dump, whose kernel may have run elsewhere than it is linked.
    fn from_dump(files: Option<KernelSymbols>, relocations: Vec<Relocation>) -> Self {
        files.map_or(Self::Nobody, |files| Self::Files(files.relocate(relocations)))
    }

    /// Who finds symbols by their names.
    fn symbols(&self) -> Result<&dyn Symbols> {
        match self {
            Self::Nobody => Err(no_symbols()),
            Self::Running(running, _) => Ok(running),
            Self::Files(files) => Ok(files),
        }
    }

    /// The symbol that covers an address, where that can be told.
    fn lookup_by_addr(&self, address: u64) -> Option<Found<'_>> {
        match self {
            Self::Files(files) => files.lookup_by_addr(address),
            Self::Running(_, files) => files.as_ref()?.lookup_by_addr(address),
            Self::Nobody => None,
        }
    }

    /// Opens the files of the running kernel, so that addresses have names; says why they have none.
    fn load(&mut self, context: &mut Context) {
        let Self::Running(RunningSymbols(host), files @ None) = self else { return };
        match running_files(context, &**host) {
            Ok(symbols) => *files = Some(symbols),
            Err(error) => context.remark(&format!("addresses have no names: {error}")),
        }
    }

    /// An address as symbol and offset, `name+0x10`, where there is one.
    fn name_of(&self, address: u64) -> Option<String> {
        let Found { entry, offset, .. } = self.lookup_by_addr(address)?;
        Some(match offset {
            0 => entry.name.to_owned(),
            offset => format!("{}+{offset:#x}", entry.name),
        })
    }
}

/// Options of every command that looks into a kernel.
#[derive(Args)]
pub struct KernelArguments {
    /// Use a dump, or an image of memory, instead of the running kernel
    #[arg(long, value_name = "FILE")]
    pub core: Option<PathBuf>,
    /// Read symbols from this kernel image, such as /boot/kernel/kernel
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// List of the ranges in an image without headers, in order: a line '0xSTART 0xEND' for each
    #[arg(long, value_name = "FILE", requires = "core")]
    pub segments: Option<PathBuf>,
}

/// A kernel to look into.
pub struct Opened {
    /// Its memory.
    pub kernel: Kernel,
    names: Names,
    /// What its JSON says of it: `freebsd`, `recorded` or `image`.
    pub kind: &'static str,
    /// Why its symbols cannot be believed: they are another kernel's.
    mismatch: Option<String>,
}

/// Memory by virtual address of a kernel, or by physical address.
pub enum View {
    Virtual(Opened),
    Physical(Physical),
}

/// What a kernel's file has in place of a page that is not in the dump.
pub struct FileContents {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The file's path.
    pub file: String,
    /// Why there is no memory.
    pub why: Why,
}

/// Memory by physical address, for which neither page tables nor a kernel are needed.
pub struct Physical {
    memory: PhysicalMemory,
    names: Names,
    kind: &'static str,
    /// Whose memory it is, where that is known.
    architecture: Option<Architecture>,
    order: Endianness,
}

impl View {
    /// Fills the buffer from an address on.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        match self {
            Self::Virtual(opened) => opened.kernel.read(address, buffer),
            Self::Physical(physical) => physical.memory.read(address, buffer),
        }
    }

    /// What the kernel's file has at an address whose page a dump does not have, where the kernel only reads it; at most
    /// so many bytes. It is no memory: the kernel may have changed it.
    pub fn file_contents(&self, fault: Fault, limit: u64) -> Result<Option<FileContents>> {
        let Self::Virtual(opened) = self else { return Ok(None) };
        let is_dump = opened.kernel.dump().is_some() && opened.mismatch.is_none();
        let lacks_page = matches!(fault.why, Why::NoPage(_) | Why::NoImage(_));
        let Some(files) = opened.files().filter(|_| is_dump && lacks_page) else { return Ok(None) };
        let table = files.kernel();
        let bytes = table.read_only_contents(files.as_linked(fault.address), limit)?;
        Ok(bytes.map(|bytes| FileContents { bytes, file: table.path().display().to_string(), why: fault.why }))
    }

    /// Writes bytes from an address on.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Virtual(opened) => opened.kernel.write(address, bytes),
            Self::Physical(physical) => physical.memory.write(address, bytes),
        }
    }

    /// Whether all bytes from an address on can be written, as far as that is known beforehand.
    pub fn check_writable(&self, address: u64, length: u64) -> Result<(), Fault> {
        match self {
            Self::Virtual(opened) => opened.kernel.check_writable(address, length),
            Self::Physical(physical) => physical.memory.check_writable(address, length),
        }
    }

    /// The bytes of a C string, at most so many.
    pub fn string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Virtual(opened) => opened.kernel.string(address, limit),
            Self::Physical(physical) => physical.memory.string(address, limit),
        }
    }

    /// Whether its addresses are physical.
    pub fn is_physical(&self) -> bool {
        matches!(self, Self::Physical(_))
    }

    /// What its JSON says of it: `freebsd`, `recorded` or `image`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Virtual(opened) => opened.kind,
            Self::Physical(physical) => physical.kind,
        }
    }

    /// The order of bytes in integers; that of most machines where nothing tells.
    pub fn order(&self) -> Endianness {
        match self {
            Self::Virtual(opened) => opened.kernel.order(),
            Self::Physical(physical) => physical.order,
        }
    }

    /// Bytes of a pointer.
    pub fn word_size(&self) -> Result<usize> {
        match self {
            Self::Virtual(opened) => Ok(opened.kernel.word_size()),
            Self::Physical(physical) => physical.architecture.map(Architecture::word_size).ok_or_else(|| {
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
            Self::Virtual(opened) => opened.name_of(address),
            Self::Physical(physical) => physical.names.name_of(address),
        }
    }

    /// See [`Opened::load_names`].
    pub fn load_names(&mut self, context: &mut Context) {
        match self {
            Self::Virtual(opened) => opened.load_names(context),
            Self::Physical(physical) => physical.names.load(context),
        }
    }

    /// A place in it: see [`Opened::place`]; a physical one has no symbol.
    pub fn place(&mut self, context: &mut Context, text: &str) -> Result<(u64, Option<u64>)> {
        match self {
            Self::Virtual(opened) => opened.place(context, text),
            Self::Physical(_) => {
                let address = parse_address(text).map_err(|error| Error::Refused(format!("--phys: {error}")))?;
                Ok((address, None))
            }
        }
    }
}

impl KernelArguments {
    /// Whether a dump is asked, and not the running kernel.
    pub fn names_core(&self) -> bool {
        self.core.is_some()
    }

    /// Opens the kernel.
    pub fn open(&self, context: &mut Context, access: Access) -> Result<Opened> {
        self.open_with(context, access, &temporary_directory())
    }

    /// As [`Self::open`]; what is compressed is decompressed into a directory.
    pub fn open_with(&self, context: &mut Context, access: Access, scratch: &Path) -> Result<Opened> {
        let files = self.kernel.as_deref().map(files::open_kernel).transpose()?.map(KernelSymbols::new);
        match &self.core {
            Some(core) => {
                let memory = self.open_core(context, core, access, scratch)?;
                let kernel = files.as_ref().and_then(|files| {
                    let table = files.kernel();
                    Some((table.architecture()?, table as &dyn Symbols))
                });
                let architecture = kernel.map(|(architecture, _)| architecture);
                let kernel = Kernel::from_dump(memory, kernel)?;
                if let Some(other) = architecture.filter(|architecture| *architecture != kernel.architecture()) {
                    let (dump, kernel) = (kernel.architecture().name(), other.name());
                    return Err(Error::Refused(format!(
                        "{} is a dump of {dump}, but the --kernel image is for {kernel}",
                        core.display()
                    )));
                }
                if let Some(table) =
                    files.as_ref().map(KernelSymbols::kernel).filter(|table| table.order() != kernel.order())
                {
                    return Err(Error::Refused(format!(
                        "{} is a dump of a {}-endian kernel, and {} is the image of a {}-endian one",
                        core.display(),
                        kernel.order().name(),
                        table.path().display(),
                        table.order().name()
                    )));
                }
                let relocations = files.as_ref().map_or_else(Vec::new, |files| kernel.relocations(files));
                let names = Names::from_dump(files, relocations);
                let mut opened = Opened { kernel, names, kind: "image", mismatch: None };
                opened.compare_versions(context);
                Ok(opened)
            }
            None => {
                let host = context.host()?;
                let names = Names::from_host(Rc::clone(&host), files);
                let kernel = open_kernel(&*host, names.symbols()?, access)?;
                Ok(Opened { kernel, names, kind: host.kind(), mismatch: None })
            }
        }
    }

    /// Opens it by physical or by virtual address.
    pub fn view(&self, context: &mut Context, access: Access, physical: bool) -> Result<View> {
        if physical {
            self.open_physical(context, access).map(View::Physical)
        } else {
            self.open(context, access).map(View::Virtual)
        }
    }

    fn open_physical(&self, context: &mut Context, access: Access) -> Result<Physical> {
        let files = self.kernel.as_deref().map(files::open_kernel).transpose()?.map(KernelSymbols::new);
        let named = files.as_ref().and_then(|files| files.kernel().architecture());
        match &self.core {
            Some(core) => {
                let memory = self.open_core(context, core, access, &temporary_directory())?;
                let relocation = memory.minidump().and_then(|facts| facts.header.relocation());
                let (architecture, order) = match &memory.inspection().content {
                    Content::Minidump(facts) => (Some(facts.header.architecture), facts.header.order),
                    Content::Elf(facts) => (facts.architecture(), facts.order()),
                    _ => (named, Endianness::Little),
                };
                let names = Names::from_dump(files, relocation.into_iter().collect());
                Ok(Physical { memory: PhysicalMemory::from_dump(memory)?, names, kind: "image", architecture, order })
            }
            None => {
                let host = context.host()?;
                let names = Names::from_host(Rc::clone(&host), files);
                let memory = open_physical_memory(&*host, names.symbols()?, access)?;
                let system = host.system()?;
                let architecture = Architecture::from_machine_arch(&system.machine_arch);
                let order = Endianness::from_machine_arch(&system.machine_arch);
                Ok(Physical { memory, names, kind: host.kind(), architecture, order })
            }
        }
    }

    fn open_core(&self, context: &mut Context, core: &Path, access: Access, scratch: &Path) -> Result<DumpedMemory> {
        let volume = core_volume(core, access)?;
        let segments = self.segments.as_deref().map(|path| read_list(path, files::open_nonblocking)).transpose()?;
        let memory = observe_bytes(context, volume.length(), |progress| {
            DumpedMemory::open(volume, segments.as_deref(), output_file::scratch(scratch), progress)
        })?;
        remark_on_dump(context, core, memory.inspection(), self.segments.is_some());
        Ok(memory)
    }
}

/// Opens a dump, to be read only or changed too.
pub fn core_volume(core: &Path, access: Access) -> Result<ByteSource> {
    match access {
        Access::Read => files::open_dump(core),
        Access::Write => files::open_dump_for_writing(core),
    }
}

/// Says what is worth knowing of a dump.
pub fn remark_on_dump(context: &mut Context, path: &Path, inspection: &Inspection, has_segments: bool) {
    if inspection.location.place == Container::Device {
        context.remark(&format!("{} is a dump device, with a dump in it", path.display()));
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
    fn files(&self) -> Option<&KernelSymbols> {
        match &self.names {
            Names::Files(files) => Some(files),
            _ => None,
        }
    }

    /// The kernel's image, where there is one.
    pub fn image(&self) -> Option<&Table> {
        self.files().map(KernelSymbols::kernel)
    }

    /// Who knows the kernel's symbols; refuses those of another kernel.
    pub fn symbols(&self) -> Result<&dyn Symbols> {
        if let Some(why) = &self.mismatch {
            return Err(Error::Refused(format!("{why}; give the kernel that was running with --kernel")));
        }
        self.names.symbols()
    }

    /// An address as symbol and offset, `name+0x10`, where there is one; of a signed address, without its signature.
    pub fn name_of(&self, address: u64) -> Option<String> {
        if self.mismatch.is_none() { self.names.name_of(address) } else { None }
    }

    /// Sees to it that addresses of the running kernel have names, too, from the files that it says it came from.
    pub fn load_names(&mut self, context: &mut Context) {
        self.names.load(context);
    }

    /// A place in the kernel: its address, and bytes of the symbol from there on, where they are known.
    pub fn place(&mut self, context: &mut Context, text: &str) -> Result<(u64, Option<u64>)> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let address = parse_address(text).map_err(|error| Error::Refused(error.to_string()))?;
            return Ok((address, None));
        }
        let (name, offset) = match text.split_once('+') {
            Some((name, offset)) => (name, parse_size(offset).map_err(|error| Error::Refused(error.to_string()))?),
            None => (text, 0),
        };
        let mut symbol = self.symbols()?.find(name)?;
        if symbol.is_none() && self.image().is_some() {
            // A kernel whose list of modules cannot be read has still said what it knows.
            let _ = self.add_modules(context);
            symbol = self.symbols()?.find(name)?;
        }
        let symbols = self.symbols()?;
        let symbol = symbol.ok_or_else(|| Error::Refused(format!("{} has no symbol '{name}'", symbols.source())))?;
        let address = symbol.address.checked_add(offset);
        let address = address.ok_or_else(|| Error::Refused(format!("{text} is beyond the address space")))?;
        Ok((address, symbol.size.checked_sub(offset).filter(|remaining| *remaining > 0)))
    }

    /// Adds the symbols of the modules that the kernel has loaded, where its own are from a file; warns of those without a file.
    pub fn add_modules(&mut self, context: &mut Context) -> Result<()> {
        let is_here = self.is_of_this_system(context);
        let Names::Files(files) = &mut self.names else { return Ok(()) };
        let listing = linker_files::list(files.kernel(), &self.kernel)?;
        if let Some(why) = listing.broken {
            context.warn(&format!("{why}; the symbols of modules may be missing"));
        }
        files.add_modules(&listing.files, is_here, files::open_nonblocking);
        warn_of_missing(context, files);
        Ok(())
    }

    /// The symbols, where they are from files.
    pub fn into_files(self) -> Result<KernelSymbols> {
        self.symbols()?;
        match self.names {
            Names::Files(files) => Ok(files),
            Names::Running(..) | Names::Nobody => Err(no_symbols()),
        }
    }

    /// Whether it is the kernel of the system that memtool runs on: the running one, or that of a dump, by its header.
    fn is_of_this_system(&self, context: &mut Context) -> bool {
        if context.global.machine.is_some() {
            return false;
        }
        let Some(dump) = self.kernel.dump() else { return true };
        let header = dump.inspection().location.header.as_ref();
        header.zip(context.host().and_then(|host| host.system()).ok()).is_some_and(|(header, system)| {
            header.hostname == system.hostname
                && !system.version.is_empty()
                && first_line(&header.version_string) == first_line(&system.version)
        })
    }

    /// The version that the dump's header, or the kernel's messages from when it booted, have in place of a file's.
    fn other_version(&self, file: &Table) -> Option<String> {
        let version = file.version()?;
        let dump = self.kernel.dump()?;
        let header = dump.inspection().location.header.as_ref().map(|header| header.version_string.clone());
        let messages = dump.minidump().map(|facts| String::from_utf8_lossy(&facts.messages()).into_owned());
        let is_version = |line: &&str| {
            line.strip_prefix("FreeBSD ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let lines = header.iter().chain(&messages).flat_map(|text| text.lines()).map(str::trim_end);
        let told: Vec<&str> = lines.filter(is_version).collect();
        // The buffer keeps messages of kernels that ran before.
        let other = told.last().filter(|_| !told.iter().any(|line| is_of_version(line, version)));
        other.map(|line| (*line).to_owned())
    }

    /// Notes if the dump's kernel says that it is another one than its symbols are of, and warns of it; warns if that
    /// cannot be told.
    fn compare_versions(&mut self, context: &mut Context) {
        let Names::Files(files) = &self.names else { return };
        // A file with debug information does not hold it.
        let header = self.kernel.dump().and_then(|dump| dump.inspection().location.header.as_ref());
        let expected = files.kernel().version().or(header.map(|header| header.version_string.as_str()));
        let expected = expected.map(str::trim_end).filter(|expected| !expected.is_empty());
        let source = files.source();
        let Ok(Some(symbol)) = files.find("version") else {
            return context.warn(&format!("{source} has no version: it may not be the dump's kernel"));
        };
        // Where nothing tells which one it is, it has to be one.
        let expected = expected.unwrap_or("FreeBSD ");
        let at = Hex(symbol.address);
        match self.kernel.string(symbol.address, expected.len()) {
            Ok(found) if found == expected.as_bytes() => return,
            Ok(_) => {
                self.mismatch = Some(format!("{source} is not the kernel of this dump: its version is not at {at}"));
            }
            // Every kernel has its own image mapped.
            Err(Fault { why: Why::NotMapped(_) | Why::NotCovered, .. }) => {
                self.mismatch = Some(format!(
                    "{source} is not the kernel of this dump: nothing is mapped at {at}, the address of its version"
                ));
            }
            Err(fault) => match self.other_version(files.kernel()) {
                Some(other) => {
                    self.mismatch = Some(format!("{source} is not the kernel of this dump, which was {other}"));
                }
                None => context.warn(&format!("{source} cannot be compared with the kernel of this dump: {fault}")),
            },
        }
        if let Some(why) = &self.mismatch {
            context.warn(&format!("{why}; its symbols are not used"));
        }
    }
}

/// Whether a line is of a kernel's version, whatever follows it there.
fn is_of_version(line: &str, version: &str) -> bool {
    let rest = line.strip_prefix(first_line(version));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// That a dump's kernel has to be named.
pub fn no_symbols() -> Error {
    Error::Refused(
        "a dump has no symbols: give the image of its kernel with --kernel, such as /boot/kernel/kernel of that system"
            .to_owned(),
    )
}

/// Says of which modules the symbols are missing.
pub fn warn_of_missing(context: &mut Context, symbols: &KernelSymbols) {
    let told = if context.global.verbose > 0 { usize::MAX } else { TOLD };
    for why in symbols.missing().iter().take(told) {
        context.warn(why);
    }
    let more = symbols.missing().len().saturating_sub(told);
    if more > 0 {
        context.warn(&format!("so are those of {} (-v lists them)", counted(more, "more module")));
    }
}

/// The part of a kernel's version that tells which one it is.
pub fn first_line(version: &str) -> &str {
    version.lines().next().unwrap_or_default().trim_end()
}

/// The symbols of a file of the running kernel, where that is.
fn as_running(host: &dyn Host, files: KernelSymbols) -> KernelSymbols {
    // A kernel that does not tell has no symbols where they are linked.
    let relocation = relocation(host).ok().flatten();
    files.relocate(relocation.into_iter().collect())
}

/// The symbols of the running kernel and its modules, from the files that it says it came from.
pub fn running_files(context: &mut Context, host: &dyn Host) -> Result<KernelSymbols> {
    let files = host.kernel_files()?;
    let kernel = files.first().map(|kernel| Path::new(&kernel.path)).filter(|path| path.is_absolute());
    let unknown = || Error::Unsupported("the file of the running kernel is unknown: give it with --kernel".to_owned());
    let table = files::open_kernel(kernel.ok_or_else(unknown)?)?;
    let (path, running) = (table.path().display(), host.system()?.version);
    match table.version() {
        Some(version) if first_line(version) == first_line(&running) => {}
        Some(version) => {
            return Err(Error::Refused(format!(
                "{path} is not the running kernel, {}, but {}: give its file with --kernel",
                first_line(&running),
                first_line(version)
            )));
        }
        None => context.warn(&format!("{path} has no version: it may not be the running kernel")),
    }
    let mut symbols = as_running(host, KernelSymbols::new(table));
    symbols.add_modules(&files, true, files::open_nonblocking);
    warn_of_missing(context, &symbols);
    Ok(symbols)
}
