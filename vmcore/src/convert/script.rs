//! What a debugger has to be told of a core file of the kernel, as a script of its own commands: where the kernel ran,
//! and the files of its modules and with debug information, at their addresses.
//!
//! File names are quoted. One that a debugger cannot be told, such as one with a line feed in it, is named in a comment
//! instead, as is what was not found.

use super::notes::Style;
use crate::architecture::Architecture;
use crate::dump::header::Relocation;
use crate::kernel::Kernel;
use crate::opened::directory_of;
use crate::pmap::arm64::ADDRESS_BITS;
use crate::symbols::{PlacedSection, Placement, Table};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf, absolute};

/// Whose commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debugger {
    /// For `lldb -s`, after the files are opened; without the kernel's image for `lldb -S`, before it.
    Lldb,
    /// For `gdb -ix`, before the files are opened.
    Gdb,
}

/// A file that a kernel consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LoadedFile {
    /// The file.
    path: PathBuf,
    /// The file with its debug information, if that is another one.
    debug: Option<PathBuf>,
    /// Where it was loaded.
    placement: Placement,
}

/// The files that a kernel in a dump consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedFiles {
    kernel: LoadedFile,
    /// What is added to the addresses in the kernel's file, modulo 2^64.
    displacement: Option<u64>,
    modules: Vec<LoadedFile>,
    /// Why there are no files of other modules.
    missing: Vec<String>,
    /// Whether the kernel keeps a list of its modules for debuggers, as one with `options GDB` does (`r_debug`,
    /// `sys/kern/link_elf.c`). Relocatable ones are not in it.
    has_debugger_list: bool,
}

impl LoadedFiles {
    /// The files of a kernel and, if they were loaded ([`Kernel::load_modules`]), those of its modules; `None` if its
    /// symbols are not from files. `debug` finds the file with the debug information of another one.
    pub fn new(kernel: &Kernel, mut debug: impl FnMut(&Table) -> Option<PathBuf>) -> Option<Self> {
        let symbols = kernel.names().files().filter(|_| kernel.mismatch().is_none())?;
        let mut files = symbols.tables().map(|(_, table)| LoadedFile {
            path: absolute(table.path()).unwrap_or_else(|_| table.path().to_owned()),
            debug: debug(table).filter(|debug| debug != table.path()).map(|debug| absolute(&debug).unwrap_or(debug)),
            placement: table.placement(),
        });
        Some(Self {
            kernel: files.next()?,
            modules: files.collect(),
            displacement: kernel.memory().relocation().map(Relocation::displacement),
            missing: symbols.missing().to_vec(),
            has_debugger_list: symbols.kernel().lookup_by_name("r_debug").next().is_some(),
        })
    }

    /// Whether lldb has a module among its own by itself: it takes those in the kernel's list from the directory of the
    /// kernel's file, but does not place them.
    fn is_found_by_lldb(&self, module: &LoadedFile) -> bool {
        self.has_debugger_list
            && !matches!(module.placement, Placement::Sections(_))
            && directory_of(&module.path) == directory_of(&self.kernel.path)
    }
}

/// What a script is for.
#[derive(Debug, Clone, Copy)]
pub struct ScriptOptions<'a> {
    /// Whose commands.
    pub debugger: Debugger,
    /// The layout of the notes in the core file.
    pub style: Style,
    /// The architecture of the kernel.
    pub architecture: Architecture,
    /// The files of the kernel, if its image is known.
    pub files: Option<&'a LoadedFiles>,
    /// The core file, if it is one.
    pub core: Option<&'a Path>,
    /// The script itself.
    pub script: &'a Path,
}

/// An unwinder in gdb's Python: gdb knows how to strip signatures of a process's addresses, and before version 14 not
/// of the kernel's.
const SIGNED_RETURNS: &str = include_str!("signed_returns.py");

/// Where gdb puts sections whose place is not known: no address of amd64, whose modules have such sections, is there.
/// Without an address they would be at 0.
const NOWHERE: u64 = 1 << 63;

/// The script.
pub fn script(options: &ScriptOptions<'_>) -> Vec<u8> {
    match options.debugger {
        Debugger::Lldb => lldb(options),
        Debugger::Gdb => gdb(options),
    }
}

fn lldb(options: &ScriptOptions<'_>) -> Vec<u8> {
    let mut lines = Lines::new(options.debugger);
    let (core, script) = (or(options.core.and_then(in_shell), b"CORE"), or(in_shell(options.script), b"THIS"));
    match options.files {
        Some(files) => {
            let kernel = or(in_shell(&files.kernel.path), b"KERNEL");
            lines.put(&[b"# lldb -c ", &core, b" ", &kernel, b" -s ", &script]);
            lines.missing(files);
        }
        None => lines.put(&[b"# lldb -S ", &script, b" -c ", &core, b" KERNEL"]),
    }
    if options.architecture == Architecture::Arm64 {
        let bits = ADDRESS_BITS.to_string();
        lines.put(&[b"settings set target.process.virtual-addressable-bits ", bits.as_bytes()]);
    }
    if let Some(files) = options.files {
        lines.lldb_kernel(files);
        files.modules.iter().for_each(|module| lines.lldb_module(module, files.is_found_by_lldb(module)));
    }
    lines.bytes
}

fn gdb(options: &ScriptOptions<'_>) -> Vec<u8> {
    let mut lines = Lines::new(options.debugger);
    let (core, script) = (or(options.core.and_then(in_shell), b"CORE"), or(in_shell(options.script), b"THIS"));
    match options.files {
        Some(files) => {
            let kernel = or(in_shell(files.kernel.debug.as_ref().unwrap_or(&files.kernel.path)), b"KERNEL");
            lines.put(&[b"# gdb -ix ", &script, b" ", &kernel, b" ", &core]);
            lines.missing(files);
            lines.gdb_kernel(files);
        }
        None => lines.put(&[b"# gdb -ix ", &script, b" KERNEL ", &core]),
    }
    if options.style == Style::Linux {
        lines.put(&[b"set osabi GNU/Linux"]);
    }
    if let Some(files) = options.files {
        lines.gdb_modules(files);
    }
    if options.architecture == Architecture::Arm64 {
        lines.bytes.extend(SIGNED_RETURNS.as_bytes());
    }
    lines.bytes
}

/// A script being written.
struct Lines {
    debugger: Debugger,
    bytes: Vec<u8>,
}

impl Lines {
    fn new(debugger: Debugger) -> Self {
        Self { debugger, bytes: Vec::new() }
    }

    fn put(&mut self, parts: &[&[u8]]) {
        self.bytes.extend(parts.concat());
        self.bytes.push(b'\n');
    }

    /// A remark: one line, whatever is in it, and one that does not continue.
    fn comment(&mut self, text: &str) {
        let mut line = String::from("# ");
        for c in text.chars() {
            if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
        }
        if line.ends_with('\\') {
            line.push('.');
        }
        self.put(&[line.as_bytes()]);
    }

    fn missing(&mut self, files: &LoadedFiles) {
        files.missing.iter().for_each(|why| self.comment(why));
    }

    /// A file name or the name of a section, in the quotation marks of either debugger; or a remark that it cannot be one.
    fn quoted(&mut self, name: &OsStr) -> Option<Vec<u8>> {
        let quoted = quoted(self.debugger, name.as_encoded_bytes());
        if quoted.is_none() {
            let name = name.to_string_lossy();
            self.comment(&format!("left out: there is a character in its name that a script cannot have: {name}"));
        }
        quoted
    }

    /// What has debug information is placed when it has that: lldb 19 does not get beyond the first frame otherwise.
    fn lldb_kernel(&mut self, files: &LoadedFiles) {
        let name = name_of(&files.kernel.path);
        self.lldb_debug(name, files.kernel.debug.as_deref());
        // lldb takes a big-endian powerpc64's entry for a descriptor, and finds another displacement by it.
        let Some(displacement) = files.displacement else { return };
        if let Some(name) = self.quoted(name) {
            self.put(&[b"target modules load --file ", &name, b" --slide ", &hexadecimal(displacement)]);
        }
    }

    /// lldb ends a script where a command fails: what everything depends on comes before.
    fn lldb_module(&mut self, module: &LoadedFile, is_found: bool) {
        let Some(path) = self.quoted(module.path.as_os_str()) else { return };
        if !is_found {
            self.put(&[b"target modules add ", &path]);
        }
        self.lldb_debug(module.path.as_os_str(), module.debug.as_deref());
        if let Some(placement) = lldb_placement(&module.placement) {
            self.put(&[b"target modules load --file ", &path, &placement]);
        }
    }

    fn lldb_debug(&mut self, of: &OsStr, debug: Option<&Path>) {
        let Some(debug) = debug else { return };
        if let (Some(of), Some(debug)) = (self.quoted(of), self.quoted(debug.as_os_str())) {
            self.put(&[b"target symbols add -s ", &of, b" ", &debug]);
        }
    }

    /// There is no file yet that could be displaced; with the entry in the notes gdb does so when it opens it.
    fn gdb_kernel(&mut self, files: &LoadedFiles) {
        let Some(displacement) = files.displacement else { return };
        self.comment(
            "The kernel ran elsewhere than it is linked. The notes say where; if 'info files' shows that gdb has not",
        );
        if let Some(name) = self.quoted(name_of(&files.kernel.path)) {
            self.put(&[b"# read them: symbol-file -o ", &hexadecimal(displacement), b" ", &name]);
        }
    }

    fn gdb_modules(&mut self, files: &LoadedFiles) {
        if !files.modules.is_empty() {
            // It tells every section, and would wait for somebody to read that.
            self.put(&[b"set pagination off"]);
        }
        for module in &files.modules {
            let path = module.debug.as_ref().unwrap_or(&module.path);
            let Some(path) = self.quoted(path.as_os_str()) else { continue };
            self.put(&[b"add-symbol-file ", &path, &gdb_placement(&module.placement)]);
        }
    }
}

/// `None` where lldb has nothing to place.
fn lldb_placement(placement: &Placement) -> Option<Vec<u8>> {
    let sections = match placement {
        Placement::Displaced(displacement) => return Some([b" --slide ", &*hexadecimal(*displacement)].concat()),
        Placement::Sections(sections) => sections,
    };
    // It has one section of a name.
    let mut seen = BTreeSet::new();
    let placed = sections.iter().filter_map(|PlacedSection { name, address }| {
        let (address, name) = ((*address)?, quoted(Debugger::Lldb, name)?);
        seen.insert(name.clone()).then(|| [b" ", &*name, b" ", &*hexadecimal(address)].concat())
    });
    Some(placed.collect::<Vec<_>>().concat()).filter(|words| !words.is_empty())
}

fn gdb_placement(placement: &Placement) -> Vec<u8> {
    let sections = match placement {
        Placement::Displaced(displacement) => return [b" -o ", &*hexadecimal(*displacement)].concat(),
        Placement::Sections(sections) => sections,
    };
    let placed = sections.iter().filter_map(|PlacedSection { name, address }| {
        Some([b" -s ", &*quoted(Debugger::Gdb, name)?, b" ", &*hexadecimal(address.unwrap_or(NOWHERE))].concat())
    });
    placed.collect::<Vec<_>>().concat()
}

fn name_of(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(path.as_os_str())
}

fn or(text: Option<Vec<u8>>, otherwise: &[u8]) -> Vec<u8> {
    text.unwrap_or_else(|| otherwise.to_owned())
}

fn hexadecimal(number: u64) -> Vec<u8> {
    format!("{number:#x}").into_bytes()
}

/// A word in quotation marks as both debuggers read it; `None` if a line cannot have it. lldb takes what is between
/// backticks for an expression, and whether quotation marks or a backslash keep it from that depends on its version.
fn quoted(debugger: Debugger, word: &[u8]) -> Option<Vec<u8>> {
    let is_special = |byte: &u8| byte.is_ascii_control() || (debugger == Debugger::Lldb && *byte == b'`');
    if word.iter().any(is_special) {
        return None;
    }
    let mut quoted = vec![b'"'];
    for byte in word {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    Some(quoted)
}

/// The absolute path of a file as a word of a shell; `None` if a comment cannot have it.
fn in_shell(path: &Path) -> Option<Vec<u8>> {
    let path = absolute(path).ok()?;
    let word = path.as_os_str().as_encoded_bytes();
    if word.iter().any(u8::is_ascii_control) {
        return None;
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(byte);
    if word.iter().all(is_plain) {
        return Some(word.to_owned());
    }
    let parts: Vec<&[u8]> = word.split(|byte| *byte == b'\'').collect();
    Some([b"'", &*parts.join(&b"'\\''"[..]), b"'"].concat())
}
