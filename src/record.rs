//! Recording what a host looks like, to run against it elsewhere.

use crate::error::{Error, Result};
use crate::explain::errno_name;
use crate::host::recorded::{Contents, Machine, Process, Ranges, SCHEMA, VERSION};
use crate::host::{Host, Pid};
use crate::process_map::{self, Detail, ProcessMap};
use crate::ranges::rules;
use nix::errno::Errno;
use std::collections::BTreeMap;

/// Records a host, and the memory maps of these processes. Memory contents are not recorded; the file says what
/// stands in for them. Of a recorded machine, all its processes are kept, and these have to be among them.
///
/// # Errors
///
/// What the host cannot tell about itself. Range operations that are not there are no error: the file then
/// states the errno.
pub fn record(host: &dyn Host, pids: &[Pid]) -> Result<Machine> {
    let processes: Vec<ProcessMap> =
        pids.iter().map(|pid| process_map::read(host, *pid, Detail::Usage)).collect::<Result<_>>()?;
    if let Some(recorded) = host.as_recorded() {
        return Ok(recorded.machine().clone());
    }
    let mut errors = BTreeMap::new();
    let descriptors = match host.range_descriptors() {
        Ok(descriptors) => descriptors,
        Err(Error::Kernel(error)) if matches!(error.errno, Errno::EOPNOTSUPP | Errno::ENXIO) => {
            errors.insert(error.operation.name().to_owned(), errno_name(error.errno));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    // For symbols only: a kernel that does not tell is recorded all the same.
    let kernel_files = host.kernel_files().unwrap_or_default();
    Ok(Machine {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        system: host.system()?,
        memory: host.memory_map()?,
        contents: Contents::default(),
        unreadable: Vec::new(),
        ranges: Ranges { physical_bits: rules::physical_bits(&descriptors), descriptors },
        kernel_maps: host.kernel_maps()?,
        symbols: BTreeMap::new(),
        kernel_files,
        process: Process::default(),
        processes,
        dump_devices: Vec::new(),
        live_dump: host.live_dump_facts()?,
        live_dump_fault: None,
        errors,
    })
}
