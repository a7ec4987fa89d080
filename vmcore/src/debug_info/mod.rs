//! What a kernel's code comes from: the file, the line and the inlined functions of an address, by the debug information
//! (DWARF) of the kernel and its modules; and its call frame information, for [`crate::stack`].
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

mod call_frames;
mod lines;
mod search;
mod sections;
mod types;

pub use search::Search;
pub use types::DebugTypes;

use crate::error::Result;
use crate::kernel::{Kernel, Registers};
use crate::stack::CallFrames;
use crate::symbols::{KernelSymbols, SourceFrame, SourceLookup, Table};
use call_frames::FrameSection;
use lines::Lines;
use object::read::ReadCache;
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
    /// Images, with their call frame information: that of the file with the debug information first.
    call_frames: Vec<(PathBuf, Vec<FrameSection>)>,
    /// In which of them the addresses of code are, and where.
    places: HashMap<u64, (usize, u64)>,
    known: HashMap<u64, Rc<[SourceFrame]>>,
    warnings: Vec<String>,
}

impl DebugInfo {
    /// Debug information that is looked for there.
    pub fn new(search: Search) -> Self {
        Self {
            search,
            files: BTreeMap::new(),
            call_frames: Vec::new(),
            places: HashMap::new(),
            known: HashMap::new(),
            warnings: Vec::new(),
        }
    }

    /// Why debug information is not used, as far as it was not taken before.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn find(&mut self, symbols: &KernelSymbols, address: u64) -> Vec<SourceFrame> {
        let Some((table, address)) = symbols.table_at(address) else { return Vec::new() };
        let Some(lines) = self.lines(table) else { return Vec::new() };
        let damaged = |error| format!("{}: damaged debug information: {error}", lines.path().display());
        lines.lookup(address).map_err(damaged).unwrap_or_else(|warning| {
            self.warn(warning);
            Vec::new()
        })
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The debug information of an image.
    fn lines(&mut self, image: &Table) -> Option<&mut Lines> {
        if !self.files.contains_key(image.path()) {
            let (lines, refused) = self.search.find(image);
            self.warnings.extend(refused);
            self.files.insert(image.path().to_owned(), lines);
        }
        self.files.get_mut(image.path())?.as_mut()
    }

    /// In which of the images with call frame information an address is, and where.
    fn place(&mut self, kernel: &Kernel, address: u64) -> Option<(usize, u64)> {
        if let Some(known) = self.places.get(&address) {
            return Some(*known);
        }
        let (image, in_file) = kernel.names().address_files()?.table_at(address)?;
        let known = self.call_frames.iter().position(|(path, _)| path == image.path());
        let index = known.unwrap_or_else(|| {
            let sections = self.read_call_frames(image);
            self.call_frames.push((image.path().to_owned(), sections));
            self.call_frames.len() - 1
        });
        self.places.insert(address, (index, in_file));
        Some((index, in_file))
    }

    fn read_call_frames(&mut self, image: &Table) -> Vec<FrameSection> {
        let mut sections: Vec<_> = self.lines(image).and_then(Lines::take_call_frames).into_iter().collect();
        match own_call_frames(image) {
            Ok(own) => sections.extend(own),
            Err(error) => self.warn(format!("call frame information is not used: {error}")),
        }
        sections
    }
}

/// The call frame information in an image itself.
fn own_call_frames(image: &Table) -> Result<Option<FrameSection>> {
    let cache = ReadCache::new(image.file());
    FrameSection::from_image(image.path(), &sections::parse(image.path(), &cache)?, image)
}

impl CallFrames for DebugInfo {
    fn caller(
        &mut self,
        kernel: &Kernel,
        address: u64,
        registers: &Registers,
        read: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<Registers> {
        let (image, address) = self.place(kernel, address)?;
        let (_, sections) = self.call_frames.get_mut(image)?;
        sections.iter_mut().find_map(|section| section.caller(address, registers, read))
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
