//! Files that are loaded into the kernel, and their modules, as `kldstat -v` shows them.
//!
//! Sources: `struct linker_file` in `sys/sys/linker.h`, `struct module` and `found_modules` in `sys/kern/kern_module.c` and
//! `kern_linker.c`.

use crate::error::{Error, Result};
use crate::inventory::fields::Fields;
use crate::inventory::reader::{MAX_NAME, Reader};
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;
use std::collections::HashMap;

/// More files, and modules of all files, than are plausible.
const MAX_FILES: usize = 1 << 14;
const MAX_MODULES: usize = 1 << 16;
/// More files than one depends on.
const MAX_DEPENDENCIES: u64 = 1 << 10;
/// More bytes than a path has.
const MAX_PATH: usize = 1024;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelFile {
    /// Its number.
    pub file_id: Option<i64>,
    /// What refers to it.
    #[serde(rename = "reference_count")]
    pub references: Option<u64>,
    /// How often it was loaded by kldload(8), and not by a file that requires it.
    #[serde(rename = "user_reference_count")]
    pub user_references: Option<u64>,
    /// Where it was loaded to.
    pub load_address: Option<Hex>,
    /// Its bytes there.
    pub size: Option<u64>,
    /// Its name.
    pub name: Option<Name>,
    /// Its path.
    pub path: Option<Name>,
    /// The numbers of the files that it depends on.
    pub dependency_ids: Option<Vec<i64>>,
    /// Its modules.
    pub modules: Option<Vec<Module>>,
    /// The versions of modules that it declares with `MODULE_VERSION`.
    pub module_versions: Vec<ModuleVersion>,
}

/// A module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Module {
    /// Its number.
    pub module_id: Option<i64>,
    /// Its name.
    pub name: Option<Name>,
    /// What refers to it.
    #[serde(rename = "reference_count")]
    pub references: Option<u64>,
}

/// A version of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleVersion {
    /// The module's name, which need not be that of a module in the file.
    pub name: Option<Name>,
    /// The version.
    pub module_version: Option<i64>,
}

/// All files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct KernelFiles {
    /// The files: the kernel first, then in the order in which they were loaded.
    pub files: Vec<KernelFile>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// Files as they are being read.
struct All<'a> {
    reader: Reader<'a>,
    /// The number of each file, by its address.
    ids: HashMap<u64, i64>,
    versions: HashMap<u64, Vec<ModuleVersion>>,
    modules_left: usize,
}

impl KernelFiles {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the list, or its head cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let head = typed.variable("linker_files")?;
        let mut all = All {
            reader: Reader::new(typed),
            ids: HashMap::new(),
            versions: HashMap::new(),
            modules_left: MAX_MODULES,
        };
        let list = all.reader.list(&"the list of files", &head, "link", MAX_FILES)?;
        if list.is_empty() {
            all.reader.warn(|| "the list of files is damaged: it lacks the kernel".to_owned());
        }
        let id = |file: &Object<'_>| Some((file.address(), file.member("id").and_then(|id| id.signed()).ok()?));
        all.ids = list.iter().filter_map(id).collect();
        let versions = typed.variable("found_modules").and_then(|head| all.read_versions(&head));
        all.reader.keep(|| "the versions of modules".to_owned(), versions);
        let files = list.iter().map(|file| all.read_file(file)).collect();
        Ok(Self { files, warnings: all.reader.into_warnings() })
    }
}

impl<'a> All<'a> {
    fn read_versions(&mut self, head: &Object<'a>) -> Result<()> {
        for found in self.reader.list(&"the list of versions of modules", head, "link", MAX_MODULES)? {
            let container = found.member("container")?.unsigned()?;
            let mut fields = Fields::new(&mut self.reader, "version of a module", &found);
            let version =
                ModuleVersion { name: fields.name_up_to("name", MAX_NAME), module_version: fields.signed("version") };
            self.versions.entry(container).or_default().push(version);
        }
        Ok(())
    }

    fn read_file(&mut self, file: &Object<'a>) -> KernelFile {
        let (dependencies, modules) = (self.dependencies(file), self.modules(file));
        let module_versions = self.versions.remove(&file.address()).into_iter().flatten().collect();
        let mut fields = Fields::new(&mut self.reader, "file", file);
        KernelFile {
            file_id: fields.signed("id"),
            references: fields.number("refs"),
            user_references: fields.number("userrefs"),
            load_address: fields.number("address").map(Hex),
            size: fields.number("size"),
            name: fields.name_up_to("filename", MAX_NAME),
            path: fields.name_up_to("pathname", MAX_PATH),
            dependency_ids: fields.keep("the dependencies", dependencies),
            modules: fields.keep("the modules", modules),
            module_versions,
        }
    }

    fn dependencies(&self, file: &Object<'a>) -> Result<Vec<i64>> {
        let count = file.member("ndeps")?.unsigned()?;
        if count > MAX_DEPENDENCIES {
            return Err(Error::Format(format!("there are {count}")));
        }
        let all = file.member("deps")?;
        let id = |index: u64| {
            let address = all.index(index)?.unsigned()?;
            let id = self.ids.get(&address).copied();
            id.ok_or_else(|| Error::Format(format!("there is no file at {}", Hex(address))))
        };
        (0..count).map(id).collect()
    }

    fn modules(&mut self, file: &Object<'a>) -> Result<Vec<Module>> {
        let head = file.member("modules")?;
        let what = format!("the list of modules of the file at {}", Hex(file.address()));
        let list = self.reader.list(&what, &head, "flink", self.modules_left)?;
        self.modules_left = self.modules_left.saturating_sub(list.len());
        Ok(list.iter().map(|module| self.module(module)).collect())
    }

    fn module(&mut self, module: &Object<'a>) -> Module {
        let mut fields = Fields::new(&mut self.reader, "module", module);
        Module {
            module_id: fields.signed("id"),
            name: fields.name_up_to("name", MAX_NAME),
            references: fields.number("refs"),
        }
    }
}

impl Topic for KernelFiles {
    /// The files, and the modules of all of them.
    fn tables(&self) -> Vec<Table> {
        let columns = [right("Id"), right("Refs"), left("Address"), right("Size"), left("Name"), left("Path")];
        let files = Table::new(columns, self.files.iter().map(file_row).collect());
        let columns = [right("File"), right("Id"), left("Name")];
        let modules = self.files.iter().flat_map(|file| {
            let row =
                |module: &Module| vec![cell(file.file_id), cell(module.module_id), name_cell(module.name.as_ref())];
            file.modules.iter().flatten().map(row)
        });
        let modules = Table::new(columns, modules.collect()).captioned("Modules");
        let columns = [right("File"), left("Name"), right("Version")];
        let versions = self.files.iter().flat_map(|file| {
            let row = |version: &ModuleVersion| {
                vec![cell(file.file_id), name_cell(version.name.as_ref()), cell(version.module_version)]
            };
            file.module_versions.iter().map(row)
        });
        vec![files.captioned("Files"), modules, Table::new(columns, versions.collect()).captioned("Versions")]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn file_row(file: &KernelFile) -> Vec<String> {
    vec![
        cell(file.file_id),
        cell(file.references),
        cell(file.load_address),
        cell(file.size.map(|size| format!("{size:x}"))),
        name_cell(file.name.as_ref()),
        name_cell(file.path.as_ref()),
    ]
}
