//! `/proc/PID/maps` and `/proc/PID/smaps` of Linux (`proc_pid_maps(5)`, `proc_pid_smaps(5)`;
//! `show_map_vma` and `show_smap`, `fs/proc/task_mmu.c`).
//!
//! Both have a line for each entry; in `smaps` lines such as `Rss: 8 kB` follow it. Of a path, the kernel writes a
//! line's end as `\012`, and nothing else in another way.

use super::{Device, MapEntry, Object, Superpages, Usage};
use std::io::{self, BufRead};
use vmcore::pmap::Protection;

const KIB: u64 = 1024;

/// Reads either file.
///
/// # Errors
///
/// It cannot be read; `InvalidData`: the line that is not understood.
pub fn parse(mut text: impl BufRead) -> io::Result<Vec<MapEntry>> {
    let mut entries = Vec::new();
    let mut details = Details::default();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        if text.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        // The names of what is told begin with a capital letter, addresses with a digit.
        let understood = if line.first().is_some_and(u8::is_ascii_uppercase) {
            details.take(line)
        } else {
            details.give_to(entries.last_mut());
            parse_entry(line).map(|entry| entries.push(entry))
        };
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: '{}'", line.escape_ascii()));
        understood.ok_or_else(wrong)?;
    }
    details.give_to(entries.last_mut());
    Ok(entries)
}

/// Reads an entry's line: `start-end rwxp offset major:minor inode path`.
fn parse_entry(line: &[u8]) -> Option<MapEntry> {
    let mut rest = line;
    let mut field = || {
        let length = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (field, behind) = rest.split_at_checked(length)?;
        rest = behind.strip_prefix(b" ").unwrap_or(behind);
        str::from_utf8(field).ok().filter(|field| !field.is_empty())
    };
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let small = |text: &str| u32::from_str_radix(text, 16).ok();
    let (start, end) = field()?.split_once('-')?;
    let &[read @ (b'r' | b'-'), write @ (b'w' | b'-'), execute @ (b'x' | b'-'), sharing @ (b'p' | b's')] =
        field()?.as_bytes()
    else {
        return None;
    };
    let offset = hex(field()?)?;
    let (major, minor) = field()?.split_once(':')?;
    let inode: u64 = field()?.parse().ok()?;
    let name = rest.trim_ascii_start();
    let mut entry = MapEntry::new(hex(start)?, hex(end)?, object_of(name, inode));
    entry.protection = Protection { read: read == b'r', write: write == b'w', execute: execute == b'x' };
    entry.private = sharing == b'p';
    entry.copy_on_write = entry.private;
    entry.offset = offset;
    entry.device = Device { major: small(major)?, minor: small(minor)? };
    entry.inode = inode;
    match name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")) {
        Some(label) => entry.label = label.to_vec(),
        None if name.is_empty() => entry.label = b"anon".to_vec(),
        None => entry.path = name.to_vec(),
    }
    Some(entry)
}

fn object_of(name: &[u8], inode: u64) -> Object {
    match name {
        _ if name.starts_with(b"/SYSV") => Object::SysvShm,
        _ if name.starts_with(b"/dev/shm/") => Object::PosixShm,
        _ if name.starts_with(b"[v") => Object::Kernel,
        // MAP_SHARED without a file.
        b"/dev/zero (deleted)" => Object::Anonymous,
        _ if inode != 0 => Object::Vnode,
        _ => Object::Anonymous,
    }
}

/// What the lines of `smaps` tell of an entry, in KiB.
#[derive(Default)]
struct Details {
    told: bool,
    resident: u64,
    private: u64,
    shared: u64,
    dirty: u64,
    superpages: u64,
    /// Pages that the process has for itself because it wrote to them, in memory or not.
    copied: u64,
    swapped: u64,
    /// What is private of hugetlbfs, whether copied or not.
    huge: u64,
    flags: Option<Vec<[u8; 2]>>,
}

impl Details {
    /// Takes a line; those of other kernels are no error.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        let (name, value) = str::from_utf8(line).ok()?.split_once(':')?;
        let sums: &mut [&mut u64] = match name {
            "VmFlags" => {
                let flags = value.split_whitespace().filter_map(|flag| flag.as_bytes().try_into().ok());
                self.flags = Some(flags.collect());
                return Some(());
            }
            "Rss" => &mut [&mut self.resident],
            "Private_Clean" => &mut [&mut self.private],
            "Private_Dirty" => &mut [&mut self.private, &mut self.dirty],
            "Shared_Clean" => &mut [&mut self.shared],
            "Shared_Dirty" => &mut [&mut self.shared, &mut self.dirty],
            "Anonymous" => &mut [&mut self.copied],
            "Swap" => &mut [&mut self.swapped],
            "AnonHugePages" | "ShmemPmdMapped" | "FilePmdMapped" => &mut [&mut self.superpages],
            // Of hugetlbfs, which Rss leaves out.
            "Private_Hugetlb" => &mut [&mut self.private, &mut self.resident, &mut self.superpages, &mut self.huge],
            "Shared_Hugetlb" => &mut [&mut self.shared, &mut self.resident, &mut self.superpages],
            _ => return Some(()),
        };
        let size: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
        self.told = true;
        for sum in sums {
            **sum = sum.saturating_add(size);
        }
        Some(())
    }

    /// Hands what was told to the entry that it was told of.
    fn give_to(&mut self, entry: Option<&mut MapEntry>) {
        let details = std::mem::take(self);
        let Some(entry) = entry.filter(|_| details.told) else { return };
        let bytes = |size: u64| size.saturating_mul(KIB);
        entry.usage = Some(Usage {
            resident: bytes(details.resident),
            private: Some(bytes(details.private)),
            shared: Some(bytes(details.shared)),
            superpages: Superpages::Bytes(bytes(details.superpages)),
            dirty: Some(bytes(details.dirty)),
            swapped: Some(bytes(details.swapped)),
        });
        let copied = details.copied > 0 || details.swapped > 0;
        entry.needs_copy = (!entry.private || copied || details.huge == 0).then_some(entry.private && !copied);
        let Some(flags) = details.flags else { return };
        let has = |flag: &[u8; 2]| flags.contains(flag);
        entry.max_protection = Some(Protection { read: has(b"mr"), write: has(b"mw"), execute: has(b"me") });
        entry.inheritance = Some(match () {
            () if has(b"dc") => 2,
            () if has(b"wf") => 3,
            () if entry.private => 1,
            () => 0,
        });
        entry.wired = Some(has(b"lo").into());
        entry.locked = Some(has(b"lo"));
        entry.no_core_dump = Some(has(b"dd"));
        entry.advice = Some(match (has(b"rr"), has(b"sr")) {
            (true, _) => 1,
            (false, true) => 2,
            (false, false) => 0,
        });
    }
}
