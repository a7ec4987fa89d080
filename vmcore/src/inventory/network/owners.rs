//! The processes that have a socket open.
//!
//! Source: `sys/sys/file.h`.

use crate::error::{Error, Result};
use crate::inventory::descriptors::DescriptorTable;
use crate::inventory::reader::Reader;
use crate::inventory::source::Source;
use crate::kernel::TypedMemory;
use crate::units::Hex;
use std::collections::HashMap;

/// `DTYPE_SOCKET`: the file is a socket.
const DTYPE_SOCKET: u64 = 2;
/// More descriptors, of all processes, than are read in reasonable time.
const MAX_DESCRIPTORS: u64 = 1 << 23;

/// The processes that have each socket open, by the addresses of the sockets.
pub(super) struct SocketOwners(HashMap<u64, Vec<i32>>);

impl SocketOwners {
    /// Reads the file tables of all processes; `None` if they cannot be read.
    pub fn read(source: &Source<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let processes = reader.processes(source);
        let processes = reader.keep(|| "the processes".to_owned(), processes)?;
        if !processes.warnings.is_empty() {
            return None;
        }
        let mut tables = FileTables { typed: source.typed, left: MAX_DESCRIPTORS, files: HashMap::new() };
        for process in processes.list.iter().filter(|process| !process.zombie) {
            let read = tables.add(process.address, process.pid);
            if matches!(read, Err(Error::Unsupported(_))) {
                return None;
            }
            reader.keep(|| format!("the file table of process {}", process.pid), read);
        }
        let mut sockets: HashMap<u64, Vec<i32>> = HashMap::new();
        for (file, owners) in tables.files {
            let socket = reader.keep(|| format!("the file at {}", Hex(file)), socket_of(source.typed, file));
            if let Some(Some(socket)) = socket {
                sockets.entry(socket).or_default().extend(owners);
            }
        }
        for owners in sockets.values_mut() {
            owners.sort_unstable();
            owners.dedup();
        }
        Some(Self(sockets))
    }

    /// The processes that have a socket open, in ascending order.
    pub fn of_socket(&self, socket: u64) -> Vec<i32> {
        self.0.get(&socket).cloned().unwrap_or_default()
    }
}

/// The files of all processes.
struct FileTables<'a> {
    typed: TypedMemory<'a>,
    /// How many descriptors are read at most from now on.
    left: u64,
    /// Who has each file open.
    files: HashMap<u64, Vec<i32>>,
}

impl FileTables<'_> {
    fn add(&mut self, process: u64, pid: i32) -> Result<()> {
        let Some(table) = self.typed.structure_at("proc", process)?.member("p_fd")?.follow()? else { return Ok(()) };
        let table = DescriptorTable::new(&table)?;
        let left = self.left.checked_sub(table.count);
        self.left = left.ok_or_else(|| Error::Format(format!("it has {} descriptors", table.count)))?;
        table.each_used(table.count, |descriptor| self.files.entry(descriptor.file).or_default().push(pid))
    }
}

/// The socket that a file is, if it is one.
fn socket_of(typed: TypedMemory<'_>, file: u64) -> Result<Option<u64>> {
    let file = typed.structure_at("file", file)?.fetched()?;
    if file.member("f_type")?.unsigned()? != DTYPE_SOCKET {
        return Ok(None);
    }
    Ok(Some(file.member("f_data")?.unsigned()?))
}
