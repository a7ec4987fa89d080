//! Arguments and environment of processes (`kvm_getargv`, `kvm_getenvv`): those that the kernel keeps, or else those on the
//! process's stack, in its own memory.
//!
//! Sources: `sysctl_kern_proc_args()`, `get_proc_vector()` and `get_ps_strings()` in `sys/kern/kern_proc.c`, `struct pargs` in
//! `sys/sys/proc.h`, `sys/sys/exec.h`, `fmt_argv()` in `bin/ps/fmt.c`.

use super::MissingArguments;
use super::info::{CommandLine, P_SYSTEM, P_WEXIT, ProcessInfo, ProcessState};
use super::members::{number, number32};
use super::reader::Reader;
use crate::bounds::{head_mut, saturating_usize};
use crate::error::{Error, Result};
use crate::fault::{Fault, Why};
use crate::kernel::{Object, UserMemory};

/// More arguments, and more bytes of all of them, than a process can have (`ARG_MAX`).
const MAX_ARGUMENTS: u64 = 1 << 19;
const MAX_BYTES: usize = 2 * (1024 + (1 << 19));
/// Bytes of pointers that are read at once.
const CHUNK: usize = 4096;
/// `SV_ILP32` in `sv_flags`: the program's pointers have 4 bytes.
const SV_ILP32: u32 = 0x100;

/// Where argument and environment strings are on a stack.
#[derive(Clone, Copy)]
enum Vector {
    Arguments,
    Environment,
}

/// The arguments of the process of a `struct proc`, as kern.proc.args tells them; none of a kernel process and of one that
/// exits.
///
/// # Errors
///
/// They cannot be read: those that the kernel does not keep are in the memory of the process, which most dumps do not have.
pub fn arguments(process: &Object<'_>) -> Result<Option<Vec<Vec<u8>>>> {
    if let Some(kept) = process.member("p_args")?.follow()? {
        return kept_arguments(&kept).map(Some);
    }
    if has_flag(process, P_WEXIT | P_SYSTEM) {
        return Ok(None);
    }
    strings(process, Vector::Arguments).map(Some)
}

/// The environment of the process of a `struct proc`, `NAME=value`, as kern.proc.env tells it; none of a kernel process.
///
/// # Errors
///
/// It cannot be read: it is in the memory of the process, which most dumps do not have.
pub fn environment(process: &Object<'_>) -> Result<Option<Vec<Vec<u8>>>> {
    if has_flag(process, P_SYSTEM) { Ok(None) } else { strings(process, Vector::Environment).map(Some) }
}

impl<'a> Reader<'a> {
    /// The arguments of a process. Where they are not in memory, that is noted.
    pub fn command_line(&mut self, process: &Object<'a>, info: &ProcessInfo, pid: i32) -> CommandLine {
        if info.state == Some(ProcessState::Zombie) {
            return CommandLine::None;
        }
        match arguments(process) {
            Ok(Some(arguments)) if !arguments.is_empty() => CommandLine::Known(arguments),
            Ok(_) => CommandLine::None,
            Err(error) => {
                self.missing_arguments.push(MissingArguments { pid, why: error.to_string() });
                CommandLine::Unknown
            }
        }
    }
}

fn has_flag(process: &Object<'_>, flags: u32) -> bool {
    number32(process, "p_flag").is_some_and(|set| set & flags != 0)
}

/// Those of a `struct pargs`, with a NUL behind each.
fn kept_arguments(kept: &Object<'_>) -> Result<Vec<Vec<u8>>> {
    let length = kept.member("ar_length")?.unsigned()?;
    if length > MAX_BYTES as u64 {
        return Err(Error::Format(format!("struct pargs has {length} bytes of arguments, more than there can be")));
    }
    let mut bytes = vec![0; saturating_usize(length)];
    kept.typed().memory.read(kept.member("ar_args")?.address(), &mut bytes)?;
    let all = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    Ok(if bytes.is_empty() { Vec::new() } else { all.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect() })
}

/// The strings of a vector on a process's stack.
fn strings(process: &Object<'_>, vector: Vector) -> Result<Vec<Vec<u8>>> {
    let memory = UserMemory::new(process)?;
    let word = word_size(process);
    let (start, count) = vector_at(process, &memory, vector, word)?;
    let mut found = Vec::new();
    let mut room = MAX_BYTES;
    for address in pointers(process, &memory, (start, count), word)? {
        // A program may have cut its arguments off.
        if address == 0 || room == 0 {
            break;
        }
        let text = memory.string(address, room)?;
        room = room.saturating_sub(text.len().saturating_add(1));
        found.push(text);
    }
    Ok(found)
}

/// Bytes of the process's pointers.
fn word_size(process: &Object<'_>) -> usize {
    let flags = process.member("p_sysent").and_then(|vector| vector.dereference()?.member("sv_flags")?.unsigned());
    let is_32_bit = flags.is_ok_and(|flags| crate::bounds::low_u32(flags) & SV_ILP32 != 0);
    if is_32_bit { 4 } else { process.typed().memory.word_size() }
}

/// Where a vector is and how many pointers it has, as `struct ps_strings` at the end of the stack tells.
fn vector_at(process: &Object<'_>, memory: &UserMemory<'_>, vector: Vector, word: usize) -> Result<(u64, u64)> {
    let order = process.typed().memory.order();
    let at = strings_at(process)?;
    // A pointer, an int and what aligns the next pointer, twice.
    let mut bytes = [0; 32];
    let part = head_mut(&mut bytes, word.saturating_mul(4));
    memory.read(at, part)?;
    let mut fields = part.chunks(word).skip(match vector {
        Vector::Arguments => 0,
        Vector::Environment => 2,
    });
    let mut field = |size: usize| fields.next().map_or(0, |bytes| order.number(crate::bounds::head(bytes, size)));
    let (start, count) = (field(word), field(4));
    if count > MAX_ARGUMENTS {
        return Err(Error::Format(format!("struct ps_strings tells of {count} strings, more than there can be")));
    }
    Ok((start, count))
}

/// Where `struct ps_strings` is (`PROC_PS_STRINGS`).
fn strings_at(process: &Object<'_>) -> Result<u64> {
    let vector = process.member("p_sysent")?.dereference()?;
    let vmspace = process.member("p_vmspace")?.dereference()?;
    match (number(&vmspace, "vm_stacktop"), number(&vector, "sv_psstringssz")) {
        (Some(top), Some(size)) => Ok(top.saturating_sub(size)),
        // Before FreeBSD 14 stacks end where that is for all.
        _ => vector.member("sv_psstrings")?.unsigned(),
    }
}

/// Pointers in a process's memory.
fn pointers(
    process: &Object<'_>,
    memory: &UserMemory<'_>,
    (start, count): (u64, u64),
    word: usize,
) -> Result<Vec<u64>, Fault> {
    let order = process.typed().memory.order();
    let mut remaining = saturating_usize(count).saturating_mul(word);
    let (mut at, mut found) = (start, Vec::new());
    let mut buffer = [0; CHUNK];
    while remaining > 0 {
        let part = head_mut(&mut buffer, remaining);
        memory.read(at, part)?;
        found.extend(part.chunks(word).map(|bytes| order.number(bytes)));
        remaining = remaining.saturating_sub(part.len());
        at = at.checked_add(part.len() as u64).ok_or(Fault::new(u64::MAX, Why::NotCovered))?;
    }
    Ok(found)
}
