//! The kernel's variables, as `sysctl -a` shows them: their names, what they are, and the values of those that are in memory.
//!
//! Many values are computed by functions of the kernel when they are asked for. Only of those whose meaning is known is the
//! value shown here.
//!
//! Sources: `struct sysctl_oid` in `sys/sys/sysctl.h`, `sys/kern/kern_sysctl.c`, `subr_counter.c`, `subr_pcpu.c`,
//! `sbin/sysctl/sysctl.c`.

mod changed;
mod handler;
mod reader;
mod value;

pub use changed::ChangedVariables;
pub use value::SysctlValue;

use crate::inventory::source::Topic;
use crate::table::{Table, cell, left, name_cell};
use crate::text::Name;
use crate::units::Hex;
use serde::{Serialize, Serializer};

/// What variables are by their kind (`CTLTYPE_…`).
const TYPES: [&str; 16] = [
    "none", "node", "int", "string", "s64", "opaque", "uint", "long", "ulong", "u64", "u8", "u16", "s8", "s16", "s32",
    "u32",
];
/// It can be set while the kernel runs.
const CTLFLAG_WR: u64 = 0x4000_0000;
/// Its value when the kernel starts is that of the same name in the environment.
const CTLFLAG_TUN: u64 = 0x8_0000;
/// Each network stack has its own.
const CTLFLAG_VNET: u64 = 0x2_0000;
/// Bits of the kind (`CTLFLAG_…`).
const FLAGS: [(u64, &str); 17] = [
    (0x8000_0000, "rd"),
    (CTLFLAG_WR, "wr"),
    (0x2000_0000, "dormant"),
    (0x1000_0000, "anybody"),
    (0x0800_0000, "secure"),
    (0x0400_0000, "prison"),
    (0x0200_0000, "dyn"),
    (0x0100_0000, "skip"),
    (CTLFLAG_TUN, "tun"),
    (0x4_0000, "mpsafe"),
    (CTLFLAG_VNET, "vnet"),
    (0x1_0000, "dying"),
    (0x8000, "caprd"),
    (0x4000, "capwr"),
    (0x2000, "stats"),
    (0x1000, "nofetch"),
    (0x800, "needgiant"),
];

/// A variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlVariable {
    /// Where its `struct sysctl_oid` is.
    pub address: u64,
    /// Its name, `kern.ostype`.
    pub name: Name,
    /// The numbers that the parts of its name stand for.
    pub oid: Vec<i64>,
    /// What it is and may be used for: bits of `CTLTYPE_…` and `CTLFLAG_…`.
    pub kind: u64,
    /// How its value is to be shown, `IU`.
    pub format: Option<Name>,
    /// What it is, in words.
    pub description: Option<Name>,
    /// Where the function is that gets its value.
    pub handler: Option<u64>,
    /// Its name.
    pub handler_name: Option<String>,
    /// Where the value comes from.
    pub source: ValueSource,
    /// Where the value is; one of each network stack is that of the host's.
    pub value_address: Option<u64>,
    /// Its value.
    pub value: Option<SysctlValue>,
    /// What its value is when the kernel starts, by the file that it is from; `None` where that does not tell.
    pub initial_value: Option<SysctlValue>,
    /// What the kernel's environment has of this name, if the variable is a tunable.
    pub environment_value: Option<Name>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueSource {
    /// A variable of the kernel.
    Variable,
    /// The variable's own structure.
    Constant,
    /// A counter(9), or several.
    Counter,
    /// What all CPUs have of a variable, added.
    PerCpu,
    /// A function whose meaning is not known.
    Handler,
    /// Nothing: it has no function.
    Nothing,
}

/// All variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SysctlVariables {
    /// The variables, in the order of sysctl(8).
    pub variables: Vec<SysctlVariable>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl SysctlVariable {
    /// What it is, `int`.
    pub fn type_name(&self) -> &'static str {
        TYPES.iter().zip(0..).find(|(_, number)| *number == self.kind & 0xf).map_or("none", |(name, _)| name)
    }

    /// Its flags, as `SYSCTL_…` have them.
    pub fn flag_names(&self) -> Vec<&'static str> {
        FLAGS.iter().filter(|(bit, _)| self.kind & bit != 0).map(|(_, name)| *name).collect()
    }
}

/// A variable in JSON.
#[derive(Serialize)]
struct VariableDocument<'a> {
    address: Hex,
    name: &'a Name,
    oid: &'a [i64],
    #[serde(rename = "type")]
    kind: &'static str,
    flags: Vec<&'static str>,
    format: Option<&'a Name>,
    description: Option<&'a Name>,
    handler: Option<Hex>,
    handler_name: Option<&'a str>,
    value_source: ValueSource,
    value_address: Option<Hex>,
    value: Option<String>,
    initial_value: Option<String>,
    environment_value: Option<&'a Name>,
}

impl Serialize for SysctlVariable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = VariableDocument {
            address: Hex(self.address),
            name: &self.name,
            oid: &self.oid,
            kind: self.type_name(),
            flags: self.flag_names(),
            format: self.format.as_ref(),
            description: self.description.as_ref(),
            handler: self.handler.map(Hex),
            handler_name: self.handler_name.as_deref(),
            value_source: self.source,
            value_address: self.value_address.map(Hex),
            value: self.value.as_ref().map(SysctlValue::text),
            initial_value: self.initial_value.as_ref().map(SysctlValue::text),
            environment_value: self.environment_value.as_ref(),
        };
        document.serialize(serializer)
    }
}

impl Topic for SysctlVariables {
    fn tables(&self) -> Vec<Table> {
        let columns = [left("NAME"), left("VALUE"), left("TYPE"), left("SOURCE"), left("FLAGS")];
        vec![Table::new(columns, self.variables.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn row(variable: &SysctlVariable) -> Vec<String> {
    let source = match variable.source {
        ValueSource::Variable => "variable",
        ValueSource::Constant => "constant",
        ValueSource::Counter => "counter",
        ValueSource::PerCpu => "per-cpu",
        ValueSource::Handler => "handler",
        ValueSource::Nothing => "nothing",
    };
    vec![
        name_cell(Some(&variable.name)),
        value_cell(variable.value.as_ref()),
        variable.type_name().to_owned(),
        cell(Some(source)),
        variable.flag_names().join(","),
    ]
}

fn value_cell(value: Option<&SysctlValue>) -> String {
    name_cell(value.map(|value| Name::from(value.text())).as_ref())
}
