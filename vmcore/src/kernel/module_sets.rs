//! Where the kernel has the variables of its modules of which each CPU or network stack has a copy: what its linker keeps of each
//! module, `struct elf_file`, tells.
//!
//! There are two structures of that name. That of modules that are shared objects (`sys/kern/link_elf.c`) has beginning, end
//! and place of each set; that of relocatable files (`sys/kern/link_elf_obj.c`), amd64's modules, has the places of all
//! sections. Both begin with the module's `struct linker_file` (`sys/sys/linker.h`).

use super::cpus::section_borders;
use super::{Object, TypedMemory};
use crate::bounds::saturating_u64;
use crate::error::{Error, Result};
use crate::symbols::{CopiedSection, CopiedSet, KernelSymbols, SetPlace, Table};
use crate::types::{Tag, TypeId};
use crate::units::Hex;

/// More files than any kernel has linked.
const MAX_FILES: usize = 4096;
/// More sections than any module has.
const MAX_SECTIONS: u64 = 4096;
/// More bytes of the name of a file or a section than are compared.
const MAX_NAME: usize = 1024;
/// The variable that modules' sets are placed in, without what names of such variables begin with.
const ROOM: &str = "modspace";

/// A set of variables of a module, as its file has it.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    name: &'a str,
    table: &'a Table,
    section: CopiedSection,
}

impl<'a> TypedMemory<'a> {
    /// Where the kernel has the variables of modules that have copies, or why that is not known.
    pub(super) fn set_places(self, files: &KernelSymbols) -> Vec<SetPlace> {
        let modules = files.tables().enumerate().skip(1);
        let wanted = modules.flat_map(|(module, (name, table))| {
            table.copied_sections().iter().map(move |section| (module, Wanted { name, table, section: *section }))
        });
        let mut wanted = wanted.peekable();
        // Most kernels have no such modules: then there is nothing to read.
        let linked = wanted.peek().is_some().then(|| self.linked());
        let place = |(module, wanted): (usize, Wanted<'_>)| {
            let linked = linked.as_ref().map_or(Ok(&[][..]), |linked| linked.as_deref().map_err(ToString::to_string));
            let address = linked.and_then(|linked| self.place(linked, wanted).map_err(|error| error.to_string()));
            SetPlace { module, set: wanted.section.set, address }
        };
        wanted.map(place).collect()
    }

    /// The `struct linker_file` of each file that is linked.
    fn linked(self) -> Result<Vec<Object<'a>>> {
        self.variable("linker_files")?.member("tqh_first")?.chain("link.tqe_next", MAX_FILES)
    }

    fn place(self, linked: &[Object<'a>], wanted: Wanted<'_>) -> Result<u64> {
        let Wanted { name, table, section } = wanted;
        if table.copied_sections().iter().filter(|other| other.set == section.set).count() > 1 {
            return Err(Error::Format(format!("{name} has several sections {}", section.set.section())));
        }
        let file = self.linked_file(linked, wanted)?;
        let (kind, start) = if table.is_relocatable() {
            ("progtab", self.in_sections(&file, wanted)?)
        } else {
            (members_of(section.set).start, self.in_shared_object(&file, wanted)?)
        };
        self.check_room(section, start)
            .map_err(|error| Error::Format(format!("{kind} of {name} leads to {}: {error}", Hex(start))))?;
        Ok(start)
    }

    /// What the linker keeps of a module, as the structure that it has for files of this kind.
    fn linked_file(self, linked: &[Object<'a>], wanted: Wanted<'_>) -> Result<Object<'a>> {
        let Wanted { name, table, section } = wanted;
        let member = if table.is_relocatable() { "progtab" } else { members_of(section.set).start };
        let type_id = self.elf_file(member)?;
        for file in linked {
            if file.member("address")?.unsigned()? == table.load_address()
                && file.member("filename")?.string(MAX_NAME)?.as_deref() == Some(name.as_bytes())
            {
                let file = file.with_type(type_id);
                let is_first = file.member("lf")?.address() == file.address();
                return if is_first { Ok(file) } else { Err(unknown_structure(member)) };
            }
        }
        Err(Error::Format(format!("the kernel's list of files has no {name} at {}", Hex(table.load_address()))))
    }

    /// The `struct elf_file` that has a member.
    fn elf_file(self, member: &str) -> Result<TypeId> {
        let all = self.types.lookup(Some(Tag::Structure), "elf_file").into_iter();
        let found: Vec<TypeId> = all.filter(|id| self.types.member(*id, member).is_some()).collect();
        match found.as_slice() {
            [only] => Ok(*only),
            _ => Err(unknown_structure(member)),
        }
    }

    /// Where a section of a relocatable file is, by the linker's table of its sections.
    fn in_sections(self, file: &Object<'a>, wanted: Wanted<'_>) -> Result<u64> {
        let Wanted { name, section, .. } = wanted;
        let other = |what: &str| Error::Format(format!("{what} of {name} is not as in its file: it is another build"));
        let count = file.member("nprogtab")?.unsigned()?;
        if count > MAX_SECTIONS {
            return Err(Error::Format(format!("{name} has {count} sections by its progtab")));
        }
        let table = file.member("progtab")?;
        for index in 0..count {
            let entry = table.index(index)?.fetched()?;
            if entry.member("sec")?.unsigned()? != saturating_u64(section.number) {
                continue;
            }
            let found = entry.member("name")?.string(MAX_NAME)?;
            // Since FreeBSD 9 the linker remembers the place beside the other sections, too.
            let is_beside = !entry.has_member("origaddr") || entry.member("origaddr")?.unsigned()? == section.address;
            let is_same = found.as_deref() == Some(section.set.section().as_bytes())
                && entry.member("size")?.unsigned()? == section.size;
            return if is_same && is_beside { entry.member("addr")?.unsigned() } else { Err(other("a section")) };
        }
        Err(other("the number of sections"))
    }

    /// Where a section of a shared object is.
    fn in_shared_object(self, file: &Object<'a>, wanted: Wanted<'_>) -> Result<u64> {
        let Wanted { name, section, .. } = wanted;
        let members = members_of(section.set);
        let [start, stop, base] =
            [members.start, members.stop, members.base].map(|member| file.member(member)?.unsigned());
        if (start?, stop?) != (section.address, section.address.saturating_add(section.size)) {
            return Err(Error::Format(format!(
                "the kernel has not placed {} of {name} as its file has it",
                section.set.section()
            )));
        }
        base
    }

    /// That a section at an address is among the kernel's own variables with copies, where it makes room for modules.
    fn check_room(self, section: CopiedSection, start: u64) -> Result<()> {
        let outside = || Error::Format(format!("that is not in the kernel's {}", section.set.section()));
        let end = start.checked_add(section.size).ok_or_else(outside)?;
        let room = self.symbols.find(&format!("{}{ROOM}", section.set.prefix()))?.filter(|room| room.size > 0);
        let room = room.map(|room| (room.address, room.address.saturating_add(room.size)));
        let borders = section_borders(self.symbols, section.set)?;
        let is_within = |(first, behind): (u64, u64)| first <= start && end <= behind;
        let is_room = borders.is_some_and(is_within) && room.is_none_or(is_within);
        is_room.then_some(()).ok_or_else(outside)
    }
}

/// Members of the structure of shared objects.
struct Members {
    start: &'static str,
    stop: &'static str,
    base: &'static str,
}

const fn members_of(set: CopiedSet) -> Members {
    match set {
        CopiedSet::PerCpu => Members { start: "pcpu_start", stop: "pcpu_stop", base: "pcpu_base" },
        CopiedSet::PerVnet => Members { start: "vnet_start", stop: "vnet_stop", base: "vnet_base" },
    }
}

fn unknown_structure(member: &str) -> Error {
    Error::Unsupported(format!("the kernel's types have no struct elf_file with {member}"))
}
