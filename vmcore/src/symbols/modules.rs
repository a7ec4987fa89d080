//! The symbols of a kernel and its modules together.

use super::{KernelFile, SetPlace, Symbol, SymbolEntry, Symbols, Table};
use crate::dump::header::Relocation;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::opened::{Open, directory_of};
use std::ffi::OsString;
use std::fs::File;
use std::iter;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The symbols of a kernel and of modules that it loaded.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::symbols::{KernelFile, KernelSymbols, Table};
///
/// # fn main() -> vmcore::Result<()> {
/// let mut symbols = KernelSymbols::new(Table::open(Path::new("/boot/kernel/kernel"))?);
/// // As kldstat(2) or the list in a dump has them: [`linker_files`](super::linker_files).
/// let file = |name: &str, address| KernelFile { name: name.into(), path: String::new(), address, size: 0 };
/// let files = [file("kernel", 0xffff_ffff_8020_0000), file("zfs.ko", 0xffff_ffff_8240_0000)];
/// symbols.add_modules(&files, None, vmcore::opened::open_plainly, None);
/// if let Some(found) = symbols.lookup_by_addr(0xffff_ffff_8240_1234) {
///     println!("{}: {}+{:#x}", found.module, found.entry.name, found.offset);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct KernelSymbols {
    kernel: Table,
    /// What its file is called, without `.debug`.
    name: String,
    /// With the names of their files.
    modules: Vec<(String, Table)>,
    missing: Vec<String>,
    /// Files of modules that are open, by their names.
    given: Vec<(String, Arc<File>)>,
    /// Where parts of the kernel were when it ran, other than where its symbols are.
    relocations: Vec<Relocation>,
    /// Where variables of modules are that have copies.
    set_places: Vec<SetPlace>,
}

/// A symbol, and where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// What the file is called that it is in: `kernel`, or a module such as `zfs.ko`.
    pub module: &'a str,
    /// The symbol.
    pub entry: SymbolEntry<'a>,
    /// How far the address that was looked for is in it.
    pub offset: u64,
}

impl KernelSymbols {
    /// The symbols of a kernel alone.
    pub fn new(kernel: Table) -> Self {
        let name = kernel.file_name();
        let name = name.strip_suffix(".debug").unwrap_or(&name).to_owned();
        Self {
            kernel,
            name,
            modules: Vec::new(),
            missing: Vec::new(),
            given: Vec::new(),
            relocations: Vec::new(),
            set_places: Vec::new(),
        }
    }

    /// Gives the files of modules, by their names, open for reading: they are not looked for by [`Self::add_modules`].
    pub fn give_module_files(&mut self, files: Vec<(String, File)>) {
        self.given.extend(files.into_iter().map(|(name, file)| (name, Arc::new(file))));
    }

    /// Says where parts of the kernel were when it ran: addresses there have the names of those that they are linked
    /// at. Modules lie where they ran.
    #[must_use]
    pub fn relocate(mut self, relocations: Vec<Relocation>) -> Self {
        self.relocations = relocations;
        self
    }

    /// The address in the kernel's file, of one as the kernel has it: without its signature, and where it is linked.
    pub fn as_linked(&self, address: u64) -> u64 {
        let architecture = self.kernel.architecture();
        let address = architecture.map_or(address, |architecture| architecture.plain_address(address));
        self.relocations.iter().find_map(|relocation| relocation.as_linked(address)).unwrap_or(address)
    }

    /// Where the kernel has what its file has at an address.
    pub fn as_it_ran(&self, address: u64) -> u64 {
        self.relocations.iter().find_map(|relocation| relocation.as_it_ran(address)).unwrap_or(address)
    }

    /// Adds the symbols of modules: of all that these files list behind the kernel. Their files are looked for by
    /// their names in the kernel's directory, as they are or as files with debug information (`.debug`); and
    /// where the list has them from, below the root directory of the system that the kernel is of, if that is known: `/` for
    /// the one that the program runs on. `open` opens them. A file that is not in the kernel's memory, where that is known, is
    /// another build of the module, and not used.
    pub fn add_modules(&mut self, files: &[KernelFile], root: Option<&Path>, open: Open, memory: Option<&dyn Memory>) {
        let directory = directory_of(self.kernel.path());
        for file in files.iter().skip(1) {
            let given = self.given.iter().find(|(name, _)| *name == file.name);
            let found = match given {
                Some((_, opened)) => given_module(file, Arc::clone(opened), memory),
                None => module(file, directory, root, open, memory),
            };
            match found {
                Ok(table) => self.modules.push((file.name.clone(), table)),
                Err(why) => self.missing.push(why),
            }
        }
    }

    /// The table of a module, by its number among [`Self::tables`].
    pub(super) fn module_mut(&mut self, number: usize) -> Option<&mut Table> {
        let index = number.checked_sub(1)?;
        self.modules.get_mut(index).map(|(_, table)| table)
    }

    pub(super) fn add_set_place(&mut self, place: SetPlace) {
        self.set_places.push(place);
    }

    pub(super) fn set_places(&self) -> &[SetPlace] {
        &self.set_places
    }

    /// The kernel's own table.
    pub fn kernel(&self) -> &Table {
        &self.kernel
    }

    /// Why the symbols of some modules are not known, a sentence for each.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// The tables with the names of their files: the kernel's first, then the modules' in the order of the list.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &Table)> {
        let modules = self.modules.iter().map(|(module, table)| (module.as_str(), table));
        iter::once((self.name.as_str(), &self.kernel)).chain(modules)
    }

    /// The file that an address in memory is of, or one that the kernel is linked at; and the address as that file's
    /// symbols have it.
    pub fn table_at(&self, address: u64) -> Option<(&Table, u64)> {
        let address = self.as_linked(address);
        let (_, table) = self.tables().find(|(_, table)| table.lookup_by_addr(address).is_some())?;
        Some((table, address))
    }

    /// The symbol that covers an address in memory, or one that the kernel is linked at; see [`Table::lookup_by_addr`].
    pub fn lookup_by_addr(&self, address: u64) -> Option<Found<'_>> {
        let address = self.as_linked(address);
        self.tables().find_map(|(module, table)| {
            let entry = table.lookup_by_addr(address)?;
            Some(Found { module, entry, offset: address.saturating_sub(entry.symbol.address) })
        })
    }
}

impl Symbols for KernelSymbols {
    fn find(&self, name: &str) -> Result<Option<Symbol>> {
        // As kldsym(2): the first file that has it.
        Ok(self.tables().find_map(|(_, table)| table.lookup_by_name(name).next()).map(|entry| entry.symbol))
    }

    fn source(&self) -> String {
        self.kernel.source()
    }

    fn is_running_kernel(&self) -> bool {
        false
    }
}

/// An absolute path in a system of which this is the root directory. One that leads upwards is in no list of a kernel's.
fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let path = path.strip_prefix("/").ok()?;
    path.components().all(|part| matches!(part, Component::Normal(_))).then(|| root.join(path))
}

/// Whether a kernel's memory has a module's file, as far as that can be known.
fn is_loaded(table: &Table, memory: Option<&dyn Memory>) -> Result<bool> {
    let found = memory.map(|memory| table.is_in(memory)).transpose()?;
    Ok(found.flatten().unwrap_or(true))
}

/// The table of a module whose file is open.
fn given_module(file: &KernelFile, opened: Arc<File>, memory: Option<&dyn Memory>) -> Result<Table, String> {
    let why = |error: Error| format!("the symbols of {} are missing: {error}", file.name);
    let table = Table::read(Path::new(&file.path), opened, file.address, &[]).map_err(why)?;
    match is_loaded(&table, memory).map_err(why)? {
        true => Ok(table),
        false => Err(format!("{} is not the module that the kernel had loaded", file.path)),
    }
}

/// The table of a module, or why there is none.
fn module(
    file: &KernelFile,
    directory: &Path,
    root: Option<&Path>,
    open: Open,
    memory: Option<&dyn Memory>,
) -> Result<Table, String> {
    let KernelFile { name, path, address, .. } = file;
    // The list is what a dump says: no other directory is looked into because of it.
    if Path::new(name).file_name().is_none_or(|plain| plain != name.as_str()) {
        return Err(format!("a module has a path instead of a name, '{name}': it is left out"));
    }
    let mut places: Vec<PathBuf> = vec![directory.join(name)];
    places.extend(root.and_then(|root| below(root, Path::new(path))));
    let debug = |path: &PathBuf| {
        let mut path = OsString::from(path);
        path.push(".debug");
        PathBuf::from(path)
    };
    let debug: Vec<PathBuf> = places.iter().map(debug).collect();
    places.extend(debug);
    places.dedup();
    let mut failure = None;
    for path in places.iter().filter(|path| path.is_file()) {
        let opened = open(path).map_err(|source| Error::io("open", path, source));
        let table = opened.and_then(|file| Table::from_opened(path, file, *address));
        match table.and_then(|table| Ok((is_loaded(&table, memory)?, table))) {
            Ok((true, table)) => return Ok(table),
            Ok((false, _)) => {
                let why = format!("{} is not the module that the kernel had loaded", path.display());
                failure = Some(Error::Format(why));
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(match failure {
        Some(error) => format!("the symbols of {name} are missing: {error}"),
        None => format!("the symbols of {name} are missing: it is not in {}", directory.display()),
    })
}
