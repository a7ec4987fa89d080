//! What a name in an expression stands for: a variable or function of the kernel or a module, or an enumerator.

use super::error::Problem;
use crate::kernel::KernelNames;
use crate::near::near;
use crate::symbols::{Binding, CopiedSet, SymbolEntry, Table};
use crate::types::{Kind, Tag, TypeId, TypeTable, UntypedReason, Variable};
use crate::units::Hex;

/// What variables are called that each processor has for itself, and each network stack.
const PER_CPU: &str = CopiedSet::PerCpu.prefix();
const PER_VNET: &str = CopiedSet::PerVnet.prefix();
/// What `net/` calls the variable of the current network stack.
const CURRENT_VNET: &str = "V_";
/// Symbols of one name that an error lists.
const MAX_CHOICES: usize = 8;

/// Where names are looked up.
#[derive(Clone, Copy)]
pub(super) struct Scope<'n, 't> {
    pub names: &'n KernelNames,
    pub types: &'t TypeTable,
    /// The type of the elements, where the expression is of those of a list.
    pub element: Option<TypeId>,
}

/// What a name stands for.
pub(super) enum Meaning<'a> {
    /// A variable or a function.
    Symbol(FoundSymbol<'a>),
    /// An enumerator.
    Constant(i64),
}

/// A variable or a function of a file.
pub(super) struct FoundSymbol<'a> {
    /// Where it is; of one that is there several times, where the file has it.
    pub address: u64,
    /// Its symbol, as the file has it.
    pub symbol: SymbolEntry<'a>,
    /// The file.
    pub file: &'a Table,
    /// Who has it.
    pub owner: Owner,
}

impl FoundSymbol<'_> {
    /// The variable or function, if its type is known.
    pub fn variable<'t>(&self, types: &'t TypeTable) -> Option<&'t Variable> {
        variable(types, &self.symbol)
    }

    /// Why its type is not known, if that is known.
    pub fn why_untyped(&self, types: &TypeTable) -> Option<UntypedReason> {
        types.untyped_named(self.symbol.name, Some(self.symbol.symbol.address)).map(|untyped| untyped.reason)
    }
}

/// What a symbol is of.
fn variable<'t>(types: &'t TypeTable, symbol: &SymbolEntry<'_>) -> Option<&'t Variable> {
    types.variables_at(symbol.symbol.address).find(|variable| &*variable.name == symbol.name)
}

/// Who has a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The kernel.
    Kernel,
    /// Each processor.
    Cpu,
    /// Each network stack.
    Vnet,
}

impl Owner {
    /// What has copies of the variable, if it has some.
    fn set(self) -> Option<CopiedSet> {
        match self {
            Self::Kernel => None,
            Self::Cpu => Some(CopiedSet::PerCpu),
            Self::Vnet => Some(CopiedSet::PerVnet),
        }
    }
}

/// A symbol of a name.
struct Candidate<'a> {
    module: &'a str,
    file: &'a Table,
    entry: SymbolEntry<'a>,
}

impl Candidate<'_> {
    fn address(&self) -> u64 {
        self.entry.symbol.address
    }
}

impl<'n, 't> Scope<'n, 't> {
    /// What a name stands for, in a module or in all.
    pub fn resolve(self, module: Option<&str>, name: &str) -> Result<Meaning<'n>, Problem> {
        self.check_module(module)?;
        let written = |prefix: &str| name.starts_with(prefix);
        let owner = if written(PER_CPU) {
            Owner::Cpu
        } else if written(PER_VNET) {
            Owner::Vnet
        } else {
            Owner::Kernel
        };
        if let Some(found) = self.symbol(module, name, name, owner)? {
            return Ok(found);
        }
        let of_vnet = name.strip_prefix(CURRENT_VNET).unwrap_or(name);
        let vnet = self.symbol(module, &format!("{PER_VNET}{of_vnet}"), name, Owner::Vnet)?;
        let cpu = self.symbol(module, &format!("{PER_CPU}{name}"), name, Owner::Cpu)?;
        if vnet.is_some() && cpu.is_some() {
            let choices = vec![format!("{CURRENT_VNET}{name}"), format!("{PER_CPU}{name}")];
            return Err(Problem::AmbiguousName { name: name.to_owned(), choices });
        }
        if let Some(found) = vnet.or(cpu) {
            return Ok(found);
        }
        self.enumerator(name)?.map(Meaning::Constant).ok_or_else(|| self.unknown(name))
    }

    fn check_module(self, module: Option<&str>) -> Result<(), Problem> {
        match module {
            Some(module) if self.tables(Some(module)).next().is_none() => {
                Err(Problem::UnknownModule(module.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The symbol tables of a module, or all: the kernel's first.
    fn tables(self, module: Option<&str>) -> impl Iterator<Item = (&'n str, &'n Table)> {
        let files = self.names.address_files().into_iter();
        let tables = files.flat_map(|files| files.tables().enumerate());
        let wanted = module.map(str::to_owned);
        tables.filter_map(move |(index, (name, table))| {
            let is_wanted = wanted.as_deref().is_none_or(|wanted| {
                name == wanted || name.strip_suffix(".ko") == Some(wanted) || (index == 0 && wanted == "kernel")
            });
            is_wanted.then_some((name, table))
        })
    }

    /// The symbol of a name; `written` is what the expression calls it.
    fn symbol(
        self,
        module: Option<&str>,
        name: &str,
        written: &str,
        owner: Owner,
    ) -> Result<Option<Meaning<'n>>, Problem> {
        let candidates = self.candidates(module, name);
        let is_kernels = candidates.first().is_some_and(|first| self.is_kernel(first.module));
        if let Some(set) = owner.set().filter(|_| !is_kernels) {
            self.check_placed(module, name, written, set)?;
        }
        let Some(first) = candidates.first() else { return Ok(None) };
        // One that all files know is meant before those that one file has for itself, and the kernel's before a module's.
        let in_kernel = candidates.iter().filter(|candidate| candidate.module == first.module);
        let nearest: Vec<_> = if is_kernels { in_kernel.collect() } else { candidates.iter().collect() };
        let global: Vec<_> =
            nearest.iter().copied().filter(|candidate| candidate.entry.binding != Binding::Local).collect();
        let meant = if global.is_empty() { nearest } else { global };
        match meant.as_slice() {
            [only] => Ok(Some(self.meaning(only, owner))),
            several => Err(self.ambiguous(written, several)),
        }
    }

    fn is_kernel(self, module: &str) -> bool {
        self.tables(None).next().is_some_and(|(kernel, _)| kernel == module)
    }

    /// That no module has a variable of this name whose copies are somewhere unknown: its symbol leads to none of them, if it
    /// leads anywhere.
    fn check_placed(self, module: Option<&str>, name: &str, written: &str, set: CopiedSet) -> Result<(), Problem> {
        let Some(files) = self.names.address_files() else { return Ok(()) };
        for (module, table) in self.tables(module) {
            if let Some(why) = files.why_unplaced(set, table)
                && table.defines(name)?
            {
                let (name, module, why) = (written.to_owned(), module.to_owned(), why.to_owned());
                return Err(Problem::NotPlaced { name, module, why });
            }
        }
        Ok(())
    }

    /// Symbols of a name at different places.
    fn candidates(self, module: Option<&str>, name: &str) -> Vec<Candidate<'n>> {
        let mut found: Vec<Candidate<'n>> = Vec::new();
        for (module, file) in self.tables(module) {
            for entry in file.lookup_by_name(name) {
                if !found.iter().any(|other| other.address() == entry.symbol.address) {
                    found.push(Candidate { module, file, entry });
                }
            }
        }
        found
    }

    fn meaning(self, found: &Candidate<'n>, owner: Owner) -> Meaning<'n> {
        let Candidate { file, entry: symbol, .. } = *found;
        // Several copies are found by where the file has the variable.
        let files = self.names.address_files().filter(|_| owner == Owner::Kernel);
        let address = symbol.symbol.address;
        let address = files.map_or(address, |files| files.as_it_ran(address));
        Meaning::Symbol(FoundSymbol { address, symbol, file, owner })
    }

    fn ambiguous(self, written: &str, found: &[&Candidate<'_>]) -> Problem {
        let one_each = found.iter().all(|one| found.iter().filter(|other| other.module == one.module).count() == 1);
        let choice = |candidate: &&Candidate<'_>| {
            if one_each {
                return format!("{}`{written}", candidate.module);
            }
            let address = Hex(candidate.address());
            match variable(self.types, &candidate.entry) {
                Some(found) => format!("*({}){address}", self.types.declare(found.type_id, "*")),
                None => address.to_string(),
            }
        };
        let mut choices: Vec<String> = found.iter().take(MAX_CHOICES).map(choice).collect();
        if found.len() > MAX_CHOICES {
            choices.push("others".to_owned());
        }
        Problem::AmbiguousName { name: written.to_owned(), choices }
    }

    /// The value of an enumerator.
    fn enumerator(self, name: &str) -> Result<Option<i64>, Problem> {
        let mut found: Vec<(TypeId, i64)> = Vec::new();
        for (type_id, (enumerator, value)) in self.enumerators() {
            if &**enumerator == name && !found.iter().any(|(_, other)| other == value) {
                found.push((type_id, *value));
            }
        }
        match found.as_slice() {
            [] => Ok(None),
            [(_, only)] => Ok(Some(*only)),
            several => {
                let choice = |(type_id, value): &(TypeId, i64)| format!("({}){value}", self.types.name_of(*type_id));
                let choices = several.iter().take(MAX_CHOICES).map(choice).collect();
                Err(Problem::AmbiguousName { name: name.to_owned(), choices })
            }
        }
    }

    fn enumerators(self) -> impl Iterator<Item = (TypeId, &'t (Box<str>, i64))> {
        let enumerations = self.types.iter().filter_map(|(id, found)| match &found.kind {
            Kind::Enumeration(enumeration) => Some((id, &enumeration.enumerators)),
            _ => None,
        });
        enumerations.flat_map(|(id, enumerators)| enumerators.iter().map(move |one| (id, one)))
    }

    fn unknown(self, name: &str) -> Problem {
        let symbols = || self.tables(None).flat_map(|(_, table)| table.iter().map(|entry| entry.name));
        let enumerators = self.enumerators().map(|(_, (enumerator, _))| &**enumerator);
        let of_vnet = name.strip_prefix(CURRENT_VNET).map(|of_vnet| {
            let names = symbols().filter_map(|symbol| symbol.strip_prefix(PER_VNET));
            near(of_vnet, names).into_iter().map(|near| format!("{CURRENT_VNET}{near}"))
        });
        let short = |name: &'n str| {
            let prefix = [PER_CPU, PER_VNET].into_iter().find_map(|prefix| name.strip_prefix(prefix));
            prefix.unwrap_or(name)
        };
        let mut found: Vec<String> = self.elsewhere(name).chain(of_vnet.into_iter().flatten()).collect();
        if found.is_empty() {
            found = near(name, symbols().map(short).chain(enumerators));
        }
        Problem::UnknownName { name: name.to_owned(), near: found }
    }

    /// What else has this very name.
    fn elsewhere(self, name: &str) -> impl Iterator<Item = String> {
        let types = self.types;
        let has_member = move |of: TypeId| types.member(of, name).is_some();
        let of_element = self.element.is_some_and(has_member).then(|| format!(".{name}"));
        let of_cpu = types.structure("pcpu").is_some_and(has_member).then(|| format!("$pcpu->{name}"));
        let tags = [(Tag::Structure, "struct"), (Tag::Union, "union"), (Tag::Enumeration, "enum")];
        let tagged = tags.into_iter().filter(move |(tag, _)| !types.lookup(Some(*tag), name).is_empty());
        let of_type = tagged.map(|(_, keyword)| format!("{keyword} {name}")).collect::<Vec<_>>();
        of_element.into_iter().chain(of_cpu).chain(of_type)
    }
}
