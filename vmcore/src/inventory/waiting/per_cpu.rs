//! Variables that each CPU has for itself, whichever way a kernel defines them.

use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};

/// The copy of a variable that a CPU has: of a `DPCPU_DEFINE` one, or, by another name, an element of an array, or a variable
/// of a kernel for one CPU.
pub(super) fn variable_of_cpu<'a>(typed: TypedMemory<'a>, names: (&str, &str), cpu: u32) -> Result<Object<'a>> {
    let (copied, shared) = names;
    if let Ok(variable) = typed.variable(&format!("pcpu_entry_{copied}")) {
        let address = typed.per_cpu_address(variable.address(), cpu)?;
        return Ok(typed.object(address, variable.type_id()));
    }
    let variable = typed.variable(shared)?;
    match (variable.count(), cpu) {
        (Some(count), _) if u64::from(cpu) < count => variable.index(cpu.into()),
        (None, 0) => Ok(variable),
        _ => Err(Error::Unsupported(format!("{shared} has nothing of CPU {cpu}"))),
    }
}
