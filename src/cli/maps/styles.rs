//! The styles of procmap(1): a line, or two, for each entry.
//!
//! Where the kernel does not tell something, it says so in procmap's words.

use super::super::output::Output;
use super::{kib, line_with, one_line};
use memtool::Result;
use memtool::process_map::{MapEntry, Object, ProcessMap, Totals};
use std::fmt::Display;
use vmcore::pmap::Protection;
use vmcore::units::Hex;

/// How entries are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Solaris,
    Linux,
    Map,
    All,
    Ddb,
    /// As Solaris, but what is reserved only.
    Reserved,
}

impl Style {
    /// Whether it shows the numbers of files.
    pub const fn has_inodes(self) -> bool {
        matches!(self, Self::Linux | Self::Map | Self::All | Self::Ddb)
    }
}

const UNKNOWN: &str = "<unknown>";
/// Digits that procmap leaves for a size.
const SIZE_DIGITS: usize = 6;

pub fn print(out: &mut Output, map: &ProcessMap, style: Style, verbose: u8) -> Result<()> {
    let mut printer = Printer { out, map, digits: map.address_digits(), verbose };
    match style {
        Style::Reserved => printer.reserved(),
        Style::Ddb => printer.ddb(),
        Style::Solaris => {
            let size_digits = size_digits(map.entries.iter().map(MapEntry::size));
            printer.each(|printer, entry| printer.solaris(entry, size_digits))?;
            let total = Totals::from_entries(&map.entries).accessible;
            printer.solaris_total(total, size_digits)
        }
        Style::Linux => printer.each(|printer, entry| printer.linux(entry)),
        Style::Map => printer.each(|printer, entry| printer.map(entry)),
        Style::All => printer.all(),
    }
}

fn size_digits(sizes: impl Iterator<Item = u64>) -> usize {
    sizes.map(|size| kib(size).to_string().len()).max().unwrap_or(0).max(SIZE_DIGITS)
}

struct Printer<'a> {
    out: &'a mut Output,
    map: &'a ProcessMap,
    /// Of an address.
    digits: usize,
    verbose: u8,
}

impl Printer<'_> {
    /// Prints each entry, and what stands between those that are not adjacent.
    fn each(&mut self, print: impl Fn(&mut Self, &MapEntry) -> Result<()>) -> Result<()> {
        let map = self.map;
        for (index, entry) in map.entries.iter().enumerate() {
            if self.verbose > 1 && map.gap_before(index).is_some() {
                self.out.line("*")?;
            }
            print(self, entry)?;
        }
        Ok(())
    }

    fn solaris(&mut self, entry: &MapEntry, size_digits: usize) -> Result<()> {
        self.solaris_line(entry.start, entry.size(), &words(entry.protection), size_digits, spaced_name(entry))
    }

    fn solaris_line(&mut self, start: u64, size: u64, words: &str, size_digits: usize, name: Vec<u8>) -> Result<()> {
        let before = format!("{start:0width$X} {:>size_digits$}K {words:<15}   ", kib(size), width = self.digits);
        line_with(self.out, &before, &name, "")
    }

    /// The sum, under the sizes.
    fn solaris_total(&mut self, size: u64, size_digits: usize) -> Result<()> {
        let room = self.digits + 1 + size_digits - " total".len();
        self.out.line(&format!(" total{:>room$}K", kib(size)))
    }

    fn reserved(&mut self) -> Result<()> {
        let mut lines: Vec<(u64, u64, Vec<u8>)> = Vec::new();
        let mut gaps = self.map.gaps().peekable();
        for (index, entry) in self.map.entries.iter().enumerate() {
            if let Some((_, gap)) = gaps.next_if(|(behind, _)| *behind == index) {
                lines.push((gap.start, gap.size, b"  [ gap ]".to_vec()));
            }
            if entry.is_reserved() {
                lines.push((entry.start, entry.size(), spaced_name(entry)));
            }
        }
        let size_digits = size_digits(lines.iter().map(|line| line.1));
        let mut total: u64 = 0;
        for (start, size, name) in lines {
            total = total.saturating_add(size);
            self.solaris_line(start, size, "-", size_digits, name)?;
        }
        self.solaris_total(total, size_digits)
    }

    /// To the byte what Linux writes (`show_map_vma`, `fs/proc/task_mmu.c`): a name begins in column 74, or on a narrow
    /// terminal so that something of it can be seen.
    fn linux(&mut self, entry: &MapEntry) -> Result<()> {
        const NAME_FROM: usize = 72;
        const NAME_LENGTH: usize = 28;
        let name_from =
            self.out.columns().map_or(NAME_FROM, |columns| NAME_FROM.min(columns.saturating_sub(NAME_LENGTH)));
        let before = format!(
            "{:08x}-{:08x} {} {:08x} {:02x}:{:02x} {} ",
            entry.start,
            entry.end_address(),
            permissions(entry),
            entry.offset,
            entry.device.major,
            entry.device.minor,
            entry.inode
        );
        let name = if entry.path.is_empty() {
            let named = entry.label != b"anon" || self.verbose > 0;
            if named { [b"[", entry.label.as_slice(), b"]"].concat() } else { Vec::new() }
        } else {
            entry.path.clone()
        };
        if name.is_empty() {
            return self.out.raw_line(before.as_bytes());
        }
        line_with(self.out, &format!("{before:<name_from$} "), &one_line(&name), "")
    }

    fn map(&mut self, entry: &MapEntry) -> Result<()> {
        let mut before = format!(
            "{} {:#x} {} {} {} {} {} {} {}",
            Hex(entry.start),
            entry.end_address(),
            entry.protection,
            or_unknown(entry.max_protection),
            if entry.copy_on_write { "COW" } else { "NCOW" },
            entry.needs_copy.map_or(UNKNOWN, |needs_copy| if needs_copy { "NC" } else { "NNC" }),
            or_unknown(entry.inheritance),
            or_unknown(entry.wired),
            or_unknown(entry.advice),
        );
        if self.verbose == 0 {
            return self.out.line(&before);
        }
        if entry.inode != 0 {
            before += &format!(" {},{} {}", entry.device.major, entry.device.minor, entry.inode);
        }
        line_with(self.out, &(before + " "), &spaced_name(entry), "")
    }

    fn all(&mut self) -> Result<()> {
        let size_digits = size_digits(self.map.entries.iter().map(MapEntry::size)) + 1;
        let width = self.digits;
        self.out.line(&format!(
            "{:<width$} {:<width$} {:>size_digits$}  {:<width$} rwxpc  RWX  I/W/A Dev  {:>8} - File",
            "Start", "End", "Size", "Offset", "Inode"
        ))?;
        self.each(|printer, entry| {
            let told = [entry.inheritance, entry.wired, entry.advice];
            let told = told.map(|value| value.map(|value| value.to_string()));
            let told = match told {
                [Some(inheritance), Some(wired), Some(advice)] => format!("{inheritance}/{wired}/{advice}"),
                _ => UNKNOWN.to_owned(),
            };
            let before = format!(
                "{:0width$x}-{:0width$x} {:>size_digits$}k {:0width$x} {}{} ({}) {told} {:02}:{:02} {:>7} - ",
                entry.start,
                entry.end_address() - 1,
                kib(entry.size()),
                entry.offset,
                permissions(entry),
                if entry.needs_copy == Some(true) { '+' } else { '-' },
                or_unknown(entry.max_protection),
                entry.device.major,
                entry.device.minor,
                entry.inode,
            );
            line_with(printer.out, &before, &spaced_name(entry), "")
        })?;
        let total = Totals::from_entries(&self.map.entries).accessible;
        let room = 2 * width + 2 + size_digits - " total".len();
        self.out.line(&format!(" total{:>room$}k", kib(total)))
    }

    fn ddb(&mut self) -> Result<()> {
        self.ddb_map()?;
        self.each(|printer, entry| {
            let structures = entry.structures.as_ref();
            let object = match entry.object {
                Object::None | Object::Guard => Some(Hex(0)),
                _ => structures.map(|structures| structures.object).or(entry.object_id),
            };
            printer.out.line(&format!(
                " - {}: {}->{:#x}: obj={}/{}, amap=0x0/0",
                or_unknown(structures.map(|structures| structures.entry)),
                Hex(entry.start),
                entry.end_address(),
                or_unknown(object),
                structures.map_or(Hex(entry.offset), |structures| structures.object_offset)
            ))?;
            let truth = |value: Option<bool>| value.map_or(UNKNOWN, |value| if value { "T" } else { "F" });
            printer.out.line(&format!(
                "\tsubmap={}, cow={}, nc={}, prot(max)={}/{}, inh={}, wc={}, adv={}",
                truth(Some(structures.is_some_and(|structures| structures.sub_map))),
                truth(Some(entry.copy_on_write)),
                truth(entry.needs_copy),
                bits(entry.protection),
                or_unknown(entry.max_protection.map(bits)),
                or_unknown(entry.inheritance),
                or_unknown(entry.wired),
                or_unknown(entry.advice)
            ))?;
            printer.ddb_name(entry)
        })
    }

    /// The map itself: as its structure has it, or as far as the kernel tells.
    fn ddb_map(&mut self) -> Result<()> {
        let Some(map) = &self.map.structures else { return self.ddb_told_map() };
        self.out.line(&format!("MAP {}: [{}->{}]", map.map, map.start, map.end))?;
        let (references, version, flags) = (or_unknown(map.references), map.version, map.flags);
        self.out.line(&format!(
            "\t#ent={}, sz={}, ref={references}, version={version}, flags={flags}",
            map.entry_count, map.size
        ))?;
        self.out.line(&format!("\tpmap={}(resident={})", map.pmap, or_unknown(map.resident_pages)))
    }

    fn ddb_told_map(&mut self) -> Result<()> {
        let totals = Totals::from_entries(&self.map.entries);
        let layout = self.map.layout;
        let bounds = layout.map_or_else(
            || format!("{UNKNOWN}->{UNKNOWN}"),
            |layout| format!("{}->{}", Hex(layout.user.start), Hex(layout.user.end)),
        );
        let flags = or_unknown(layout.map(|layout| Hex(layout.flags.into())));
        self.out.line(&format!("MAP {UNKNOWN}: [{bounds}]"))?;
        self.out.line(&format!(
            "\t#ent={}, sz={}, ref={UNKNOWN}, version={UNKNOWN}, flags={flags}",
            totals.entries, totals.size
        ))?;
        self.out.line(&format!("\tpmap={UNKNOWN}(resident={UNKNOWN})"))
    }

    fn ddb_name(&mut self, entry: &MapEntry) -> Result<()> {
        if self.verbose == 0 {
            return Ok(());
        }
        let vnode = entry.structures.as_ref().and_then(|structures| structures.vnode);
        let (before, behind) = if entry.inode == 0 && vnode.is_none() {
            ("\t(".to_owned(), ")".to_owned())
        } else {
            (format!("\t(dev={} ino={} [", device(entry), inode(entry)), format!("] [{}])", or_unknown(vnode)))
        };
        line_with(self.out, &before, spaced_name(entry).trim_ascii_start(), &behind)
    }
}

/// What is allowed, and `p` where writing is seen by nobody else, or `s`.
pub fn permissions(entry: &MapEntry) -> String {
    format!("{}{}", entry.protection, if entry.private { 'p' } else { 's' })
}

/// The path, or in brackets what an entry without one is.
pub fn spaced_name(entry: &MapEntry) -> Vec<u8> {
    if entry.path.is_empty() {
        return [b"  [ ", one_line(&entry.label).as_slice(), b" ]"].concat();
    }
    one_line(&entry.path)
}

/// A file's device as `MAJOR,MINOR`, where it is known.
fn device(entry: &MapEntry) -> String {
    let device = entry.device;
    or_unknown((entry.inode != 0).then(|| format!("{},{}", device.major, device.minor)))
}

fn inode(entry: &MapEntry) -> String {
    or_unknown((entry.inode != 0).then_some(entry.inode))
}

fn or_unknown(value: Option<impl Display>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

/// `VM_PROT_READ`, `VM_PROT_WRITE` and `VM_PROT_EXECUTE`.
fn bits(protection: Protection) -> u32 {
    u32::from(protection.read) | u32::from(protection.write) << 1 | u32::from(protection.execute) << 2
}

/// Such as `read/exec`.
fn words(protection: Protection) -> String {
    let words = [(protection.read, "read"), (protection.write, "write"), (protection.execute, "exec")];
    let words: Vec<&str> = words.into_iter().filter_map(|(allowed, word)| allowed.then_some(word)).collect();
    words.join("/")
}
