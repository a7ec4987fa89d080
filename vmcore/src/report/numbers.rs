//! What a kernel counts in variables of its own: they need no description of its structures.

use crate::kernel::KernelMemory;
use crate::symbols::{Symbol, Symbols};
use crate::units::rough_size;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Pages of memory.
    Pages,
}

/// The value of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// What it counts, for people.
    pub title: &'static str,
    /// The variable.
    pub variable: &'static str,
    /// Its value.
    pub value: u64,
    /// In what it counts.
    pub unit: Unit,
}

impl Number {
    /// The value with its unit; pages are of that size, if it is known.
    pub fn text(&self, page_size: Option<u64>) -> String {
        let value = self.value;
        match self.unit {
            Unit::Count => value.to_string(),
            Unit::Bytes => rough_size(value),
            Unit::Pages => match page_size.and_then(|size| size.checked_mul(value)) {
                Some(bytes) => format!("{value} pages ({})", rough_size(bytes)),
                None => format!("{value} pages"),
            },
        }
    }
}

/// The variables, each an integer whose size its symbol has: `subr_param.c`, `kern_fork.c`, `kern_descrip.c`,
/// `vfs_subr.c`, `vm_page.c`, `uma_core.c` and `machdep.c` of the architectures.
const VARIABLES: [(&str, &str, Unit); 13] = [
    ("memory", "physmem", Unit::Pages),
    ("highest page", "Maxmem", Unit::Pages),
    ("pages managed", "vm_page_array_size", Unit::Pages),
    ("kernel memory", "uma_kmem_total", Unit::Bytes),
    ("kernel memory limit", "vm_kmem_size", Unit::Bytes),
    ("memory domains", "vm_ndomains", Unit::Count),
    ("processes", "nprocs", Unit::Count),
    ("process limit", "maxproc", Unit::Count),
    ("open files", "openfiles", Unit::Count),
    ("file limit", "maxfiles", Unit::Count),
    ("vnodes", "numvnodes", Unit::Count),
    ("free vnodes", "freevnodes", Unit::Count),
    ("vnode limit", "desiredvnodes", Unit::Count),
];

/// Those of them that the kernel has and that can be read.
pub fn read(memory: &KernelMemory, symbols: &dyn Symbols) -> Vec<Number> {
    let value = |Symbol { address, size }: Symbol| match size {
        4 => memory.u32(address).ok().map(u64::from),
        8 => memory.u64(address).ok(),
        _ => None,
    };
    let number = |(title, variable, unit)| {
        let value = value(symbols.find(variable).ok()??)?;
        Some(Number { title, variable, value, unit })
    };
    VARIABLES.into_iter().filter_map(number).collect()
}
