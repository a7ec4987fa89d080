//! The files that a kernel was linked from as it ran: itself and its modules (`struct linker_file`, `sys/linker.h`),
//! listed out of its memory. The kernel keeps constants that say where the fields are (`sys/kern/kern_linker.c`).

use super::{Symbols, Table};
use crate::bounds::head_mut;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::units::{Hex, hex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// More files than any kernel has.
const MAX_FILES: usize = 4096;
/// `MAXPATHLEN`.
const MAX_PATH: usize = 1024;
/// Text is read so many bytes at a time: the end of one may not be mapped.
const PIECE: usize = 64;

/// A file that a kernel has linked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelFile {
    /// Its name, such as `zfs.ko`; `kernel` for the kernel, which comes first.
    pub name: String,
    /// Where it was loaded from, such as `/boot/kernel/zfs.ko`.
    pub path: String,
    /// The virtual address that it was loaded at.
    #[serde(with = "hex")]
    pub address: u64,
    /// Bytes of memory that it takes; 0 where that is not known.
    #[serde(default)]
    pub size: u64,
}

/// What a list holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The files, in the order in which they were loaded.
    pub files: Vec<KernelFile>,
    /// Why there may be more that are not known.
    pub broken: Option<String>,
}

/// Lists the files that a kernel had linked, out of its virtual memory. A list that loops or leads nowhere ends there.
///
/// # Errors
///
/// The kernel's table does not have the symbols that lead to the list.
pub fn list(kernel: &Table, memory: &dyn Memory) -> Result<Listing> {
    let mut listing = Listing::default();
    let head = required(kernel, "linker_files")?;
    let [address, filename, pathname, next] =
        ["kld_off_address", "kld_off_filename", "kld_off_pathname", "kld_off_next"].map(|name| required(kernel, name));
    let constants = [address?, filename?, pathname?, next?];
    let reader = ListReader { kernel, memory };
    if let Err(why) = reader.list(head, constants, &mut listing.files) {
        listing.broken = Some(why);
    }
    Ok(listing)
}

fn required(kernel: &Table, name: &str) -> Result<u64> {
    let symbol = kernel.find(name)?;
    let missing = || Error::Format(format!("{} has no symbol '{name}', which leads to its modules", kernel.source()));
    symbol.map(|symbol| symbol.address).ok_or_else(missing)
}

struct ListReader<'a> {
    kernel: &'a Table,
    memory: &'a dyn Memory,
}

impl ListReader<'_> {
    fn list(&self, head: u64, constants: [u64; 4], files: &mut Vec<KernelFile>) -> Result<(), String> {
        let mut offsets = [0; 4];
        for (offset, constant) in offsets.iter_mut().zip(constants) {
            *offset = self.unsigned(Some(constant), 4)?;
        }
        let [address_at, name_at, path_at, next_at] = offsets;
        let mut seen = BTreeSet::new();
        let mut file = self.pointer(Some(head))?;
        while file != 0 {
            if !seen.insert(file) {
                return Err(format!("the list of modules is a loop at {}", Hex(file)));
            }
            if files.len() >= MAX_FILES {
                return Err(format!("the list of modules has more than {MAX_FILES} files"));
            }
            let field = |offset: u64| self.pointer(file.checked_add(offset));
            let (name, path) = (field(name_at)?, field(path_at)?);
            files.push(KernelFile {
                name: self.text(name)?,
                path: if path == 0 { String::new() } else { self.text(path)? },
                address: field(address_at)?,
                size: 0,
            });
            file = field(next_at)?;
        }
        Ok(())
    }

    fn pointer(&self, address: Option<u64>) -> Result<u64, String> {
        self.unsigned(address, self.kernel.pointer_size())
    }

    /// An integer of 4 or 8 bytes.
    fn unsigned(&self, address: Option<u64>, size: usize) -> Result<u64, String> {
        let outside = || "the list of modules leaves the address space".to_owned();
        let address = address.ok_or_else(outside)?;
        let mut bytes = [0; 8];
        let bytes = head_mut(&mut bytes, size);
        self.read(address, bytes)?;
        Ok(self.kernel.order().number(bytes))
    }

    /// Text up to a NUL.
    fn text(&self, address: u64) -> Result<String, String> {
        let mut text: Vec<u8> = Vec::new();
        let mut at = address;
        while text.len() < MAX_PATH {
            let mut piece = [0; PIECE];
            // Up to where the next piece begins.
            let length = PIECE as u64 - at % PIECE as u64;
            let piece = head_mut(&mut piece, length);
            self.read(at, piece)?;
            match piece.iter().position(|byte| *byte == 0) {
                Some(end) => {
                    text.extend(piece.iter().take(end));
                    return Ok(String::from_utf8_lossy(&text).into_owned());
                }
                None => text.extend(&*piece),
            }
            let Some(next) = at.checked_add(length) else { break };
            at = next;
        }
        Err(format!("the list of modules has an unterminated name at {}", Hex(address)))
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), String> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = address.saturating_add(done as u64);
            match self.memory.read_at(at, rest) {
                Ok(read) if read > 0 => done += read,
                _ => return Err(format!("the list of modules leads to {}, which cannot be read", Hex(at))),
            }
        }
        Ok(())
    }
}
