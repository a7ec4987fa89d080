//! The kernel's environment, as kenv(1) shows it: variables that the loader set, and others.
//!
//! Sources: `sys/kern/kern_environment.c`.

use crate::error::{Error, Result};
use crate::inventory::source::{Source, Topic};
use crate::kernel::TypedMemory;
use crate::table::{Table, left, name_cell};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;

/// More variables than are plausible: a kernel has room for 512.
const MAX_VARIABLES: u64 = 1 << 14;
/// More bytes than a variable has: values of kenv(1) have 128, those of the loader up to a page.
const MAX_TEXT: usize = 1 << 16;
/// Bytes of all variables that are read.
const MAX_BYTES: usize = 1 << 24;

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: Name,
    /// Its value; `None` of a text without `=`.
    pub value: Option<Name>,
}

/// All variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct KernelEnvironment {
    /// The variables, in the order in which the kernel has them.
    pub variables: Vec<EnvironmentVariable>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// Bytes that were read.
    #[serde(skip)]
    size: usize,
}

impl KernelEnvironment {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack them, or the first one cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let mut found = Self { variables: Vec::new(), warnings: Vec::new(), size: 0 };
        if typed.variable("dynamic_kenv")?.unsigned()? != 0 {
            found.read_list(typed)?;
        } else {
            // Until it can allocate memory, it has what the loader handed over and what it was built with.
            for variable in ["md_envp", "kern_envp"] {
                found.read_block(typed, variable)?;
            }
        }
        Ok(found)
    }

    /// Pointers to texts, and then a null pointer.
    fn read_list(&mut self, typed: TypedMemory<'_>) -> Result<()> {
        let list = typed.variable("kenvp")?;
        for index in 0..MAX_VARIABLES {
            let text = list.index(index).and_then(|text| text.string(MAX_TEXT));
            match text {
                Ok(Some(text)) if self.add(&text) => {}
                Ok(Some(_)) => break,
                Ok(None) => {
                    if index == 0 {
                        self.warnings.push("the environment is damaged: it has no variable".to_owned());
                    }
                    return Ok(());
                }
                Err(error) if index == 0 => return Err(error),
                // Of the others there is no knowing where they end.
                Err(error @ Error::Unsupported(_)) => return Err(error),
                Err(error) => {
                    self.warnings.push(format!("variable {index} of the environment cannot be read: {error}"));
                    return Ok(());
                }
            }
        }
        self.warnings.push(format!("the environment goes on after {} variables", self.variables.len()));
        Ok(())
    }

    /// Texts that follow one another, the last of which is empty.
    fn read_block(&mut self, typed: TypedMemory<'_>, variable: &str) -> Result<()> {
        let mut at = typed.variable(variable)?.unsigned()?;
        if at == 0 {
            return Ok(());
        }
        for _ in 0..MAX_VARIABLES {
            let text = match typed.memory.string(at, MAX_TEXT) {
                Ok(text) => text,
                Err(error) => {
                    self.warnings.push(format!("{variable} at {} cannot be read: {error}", Hex(at)));
                    return Ok(());
                }
            };
            if text.is_empty() {
                return Ok(());
            }
            if !self.add(&text) {
                break;
            }
            at = at.wrapping_add(text.len() as u64).wrapping_add(1);
        }
        self.warnings.push(format!("{variable} goes on after {} variables", self.variables.len()));
        Ok(())
    }

    /// Adds a variable, if there is room for more.
    fn add(&mut self, text: &[u8]) -> bool {
        self.size = self.size.saturating_add(text.len());
        if self.size > MAX_BYTES {
            return false;
        }
        let mut parts = text.splitn(2, |byte| *byte == b'=');
        let name = parts.next().map_or_else(Name::default, Name::from);
        self.variables.push(EnvironmentVariable { name, value: parts.next().map(Name::from) });
        true
    }
}

impl Topic for KernelEnvironment {
    fn tables(&self) -> Vec<Table> {
        let row =
            |variable: &EnvironmentVariable| vec![name_cell(Some(&variable.name)), name_cell(variable.value.as_ref())];
        vec![Table::new([left("NAME"), left("VALUE")], self.variables.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
