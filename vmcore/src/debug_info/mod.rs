//! What a kernel's code comes from: the file, the line and the inlined functions of an address, by the debug information
//! (DWARF) of the kernel and its modules.
//!
//! FreeBSD keeps it in files of their own, such as `/usr/lib/debug/boot/kernel/kernel.debug`, which an image names in its
//! section `.gnu_debuglink` (`share/mk/bsd.prog.mk`, `sys/conf/kern.post.mk`). A file is believed only if it is shown to be
//! that image's: by its checksum, the build ID, or its symbols.
//!
//! | file | its addresses |
//! | --- | --- |
//! | kernel | as linked: [`KernelSymbols::relocate`] says where the kernel ran (powerpc64) |
//! | module, shared object (`ET_DYN`) | count from where it was loaded |
//! | module, relocatable (`ET_REL`, amd64) | count from where each section was loaded; its debug sections are relocated |

mod lines;
mod search;
mod sections;

pub use search::Search;

use crate::symbols::{KernelSymbols, SourceFrame, SourceLookup, Table};
use lines::Lines;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

/// The debug information of a kernel and its modules. A file is looked for and read when an address in its code is asked
/// for.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::Kernel;
/// use vmcore::debug_info::{DebugInfo, Search};
/// use vmcore::symbols::SourceLookup;
///
/// # fn main() -> vmcore::Result<()> {
/// let kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
/// let mut information = DebugInfo::new(Search::default());
/// if let Some(symbols) = kernel.names().address_files() {
///     for frame in information.lookup(symbols, 0xffff_ffff_8052_62c0).iter() {
///         println!("{:?} at {:?}:{:?}", frame.function, frame.file, frame.line);
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct DebugInfo {
    search: Search,
    /// By the image.
    files: BTreeMap<PathBuf, Option<Lines>>,
    known: HashMap<u64, Rc<[SourceFrame]>>,
    warnings: Vec<String>,
}

impl DebugInfo {
    /// Debug information that is looked for there.
    pub fn new(search: Search) -> Self {
        Self { search, files: BTreeMap::new(), known: HashMap::new(), warnings: Vec::new() }
    }

    /// Why debug information is not used, as far as it was not taken before.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn find(&mut self, symbols: &KernelSymbols, address: u64) -> Vec<SourceFrame> {
        let Some((table, address)) = symbols.table_at(address) else { return Vec::new() };
        if !self.files.contains_key(table.path()) {
            let lines = self.open(table);
            self.files.insert(table.path().to_owned(), lines);
        }
        let Some(Some(lines)) = self.files.get(table.path()) else { return Vec::new() };
        match lines.lookup(address) {
            Ok(frames) => frames,
            Err(error) => {
                let warning = format!("{}: damaged debug information: {error}", lines.path().display());
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
                Vec::new()
            }
        }
    }

    fn open(&mut self, image: &Table) -> Option<Lines> {
        let (lines, refused) = self.search.find(image);
        self.warnings.extend(refused);
        lines
    }
}

impl SourceLookup for DebugInfo {
    fn lookup(&mut self, symbols: &KernelSymbols, address: u64) -> Rc<[SourceFrame]> {
        if let Some(known) = self.known.get(&address) {
            return Rc::clone(known);
        }
        let found: Rc<[SourceFrame]> = self.find(symbols, address).into();
        self.known.insert(address, Rc::clone(&found));
        found
    }
}
