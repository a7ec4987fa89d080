//! The variables that are not as in the kernel's file.

use super::{CTLFLAG_TUN, CTLFLAG_WR, SysctlVariable, SysctlVariables, value_cell};
use crate::error::{Error, Result};
use crate::inventory::source::{Source, Topic};
use crate::table::{Table, left, name_cell};
use serde::Serialize;

/// Variables that somebody can set, and that are not what they were when the kernel started: the loader, sysctl(8) or the
/// kernel itself has set them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ChangedVariables {
    /// The variables, in the order of sysctl(8).
    pub variables: Vec<SysctlVariable>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl ChangedVariables {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the variables, or there is no file that tells what they were ([`Error::Unsupported`]).
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let SysctlVariables { mut variables, warnings } = SysctlVariables::read(source)?;
        if variables.iter().all(|variable| variable.initial_value.is_none()) {
            let why = "what variables are when the kernel starts is known only with its own file, not that of its debug information";
            return Err(Error::Unsupported(why.to_owned()));
        }
        variables.retain(is_changed);
        Ok(Self { variables, warnings })
    }
}

/// Whether somebody can set it, and it is set in the environment or has another value than in the beginning.
fn is_changed(variable: &SysctlVariable) -> bool {
    let values = variable.value.as_ref().zip(variable.initial_value.as_ref());
    let is_other = values.is_some_and(|(value, initial)| value != initial);
    variable.kind & (CTLFLAG_WR | CTLFLAG_TUN) != 0 && (is_other || variable.environment_value.is_some())
}

impl Topic for ChangedVariables {
    fn tables(&self) -> Vec<Table> {
        let columns = [left("NAME"), left("VALUE"), left("INITIAL"), left("ENVIRONMENT"), left("FLAGS")];
        vec![Table::new(columns, self.variables.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn row(variable: &SysctlVariable) -> Vec<String> {
    vec![
        name_cell(Some(&variable.name)),
        value_cell(variable.value.as_ref()),
        value_cell(variable.initial_value.as_ref()),
        name_cell(variable.environment_value.as_ref()),
        variable.flag_names().join(","),
    ]
}
