//! The types of the kernel that a command is about: of a dump, of a file alone, or of the file of the running kernel.

use super::Context;
use super::kernel::{IMAGE, KernelArguments, Opened, RootArguments, running_files};
use memtool::Result;
use memtool::files;
use vmcore::debug_info::DebugTypes;
use vmcore::kernel::{Access, KernelWarning};
use vmcore::symbols::KernelSymbols;
use vmcore::types::{TypeTable, UntypedSymbols};

/// Files with symbols, and their types.
pub struct KernelTypes {
    of: Origin,
    /// What JSON says of where they are from: `freebsd`, `recorded` or `image`.
    pub kind: &'static str,
}

enum Origin {
    Kernel(Box<Opened>),
    Files(Box<(KernelSymbols, TypeTable)>),
}

impl KernelTypes {
    /// Reads them; warns of modules whose types are missing.
    pub fn open(context: &mut Context, of: &KernelArguments, root: &RootArguments) -> Result<Self> {
        let search = root.search()?;
        if of.core.is_some() {
            let mut opened = of.open(context, Access::Read)?;
            root.apply(&mut opened.kernel);
            opened.load_types_with(context, search)?;
            warn_of_untyped(context, opened.kernel.typed()?.types);
            return Ok(Self { kind: opened.kind, of: Origin::Kernel(Box::new(opened)) });
        }
        let (files, kind) = match &of.kernel {
            Some(path) => (KernelSymbols::new(files::open_kernel(path)?), IMAGE),
            None => (running_files(context)?, context.host()?.kind()),
        };
        let mut source = DebugTypes::new(search);
        let types = TypeTable::from_file(files.kernel(), &mut source);
        source.take_warnings().iter().for_each(|warning| context.warn(warning));
        let mut types = types?;
        let failed = types.add_modules(files.tables().skip(1).map(|(_, module)| module), &mut source);
        source.take_warnings().iter().for_each(|warning| context.warn(warning));
        for error in failed {
            context.warn(&KernelWarning::NoModuleTypes(error.to_string()).to_string());
        }
        warn_of_untyped(context, &types);
        Ok(Self { of: Origin::Files(Box::new((files, types))), kind })
    }

    /// The types.
    pub fn types(&self) -> Result<&TypeTable> {
        Ok(match &self.of {
            Origin::Kernel(opened) => opened.kernel.typed()?.types,
            Origin::Files(both) => &both.1,
        })
    }

    /// The files that have them, the kernel's first.
    pub fn files(&self) -> Result<&KernelSymbols> {
        match &self.of {
            Origin::Kernel(opened) => Ok(opened.kernel.names().address_files().ok_or(vmcore::Error::NoSymbols)?),
            Origin::Files(both) => Ok(&both.0),
        }
    }
}

/// Says what of the file that is asked for, a kernel's or a module's alone, has no types, and why.
fn warn_of_untyped(context: &mut Context, types: &TypeTable) {
    let Some(path) = types.source(0) else { return };
    for UntypedSymbols { what, reason, .. } in types.untyped().iter().filter(|untyped| untyped.source == 0) {
        context.warn(&format!("{}: the types of {what} are not known: {reason}", path.display()));
    }
}
