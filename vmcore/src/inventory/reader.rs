//! The state of reading: what could not be read.

use super::source::Source;
use crate::error::{Error, Result};
use crate::kernel::{Object, Process, Processes, TypedMemory, ZonePerCpu};
use crate::lists::{ListEnd, ListKind, ListPlan, StrayPointer};
use crate::types::Kind;
use crate::units::Hex;
use crate::warnings::Warnings;
use std::cell::OnceCell;
use std::fmt::Display;

/// More bytes than a name in the kernel has.
pub(crate) const MAX_NAME: usize = 64;
/// More of what CPUs have for themselves than is read in reasonable time.
const MAX_PARTS: usize = 1 << 22;

/// Reads what a kernel counts.
pub(crate) struct Reader<'a> {
    pub typed: TypedMemory<'a>,
    /// Where each CPU has its part of counters, once that is asked for; `None` where it is not known.
    per_cpu: OnceCell<Option<ZonePerCpu<'a>>>,
    /// How many parts of CPUs are read at most from now on.
    parts_left: usize,
    warnings: Warnings,
}

impl<'a> Reader<'a> {
    pub fn new(typed: TypedMemory<'a>) -> Self {
        Self { typed, per_cpu: OnceCell::new(), parts_left: MAX_PARTS, warnings: Warnings::default() }
    }

    fn per_cpu(&mut self) -> Option<&ZonePerCpu<'a>> {
        let Self { typed, per_cpu, warnings, .. } = self;
        let read = || warnings.keep(|| "where each CPU has its counters".to_owned(), typed.zone_per_cpu());
        per_cpu.get_or_init(read).as_ref()
    }

    /// The value, if it could be read; else there is a warning, unless this kernel has no such thing at all.
    pub fn keep<T>(&mut self, what: impl FnOnce() -> String, read: Result<T>) -> Option<T> {
        self.warnings.keep(what, read)
    }

    /// The number in a member of an object that is called so.
    pub fn number(&mut self, what: &dyn Display, object: &Object<'_>, member: &str) -> Option<u64> {
        let read = object.member(member).and_then(|member| member.unsigned());
        self.keep(|| format!("{member} of {what}"), read)
    }

    /// The number in a variable.
    pub fn variable(&mut self, name: &str) -> Option<u64> {
        let read = self.typed.variable(name).and_then(|variable| variable.unsigned());
        self.keep(|| name.to_owned(), read)
    }

    /// The value of the counter(9) that a member of an object is, or a variable.
    pub fn counter(&mut self, what: &dyn Display, counter: Result<Object<'_>>) -> Option<u64> {
        let base = counter.and_then(|counter| Ok(counter.dereference()?.address()));
        let base = self.keep(|| what.to_string(), base)?;
        if !base.is_multiple_of(8) {
            self.warn(|| format!("{what} is damaged: {} is no counter", Hex(base)));
            return None;
        }
        self.spend_parts()?;
        let value = self.per_cpu()?.counter(base);
        self.keep(|| what.to_string(), value)
    }

    /// The CPUs, and where each has its part of what is at an address.
    pub fn parts(&mut self, base: u64) -> Option<Vec<(u32, u64)>> {
        self.spend_parts()?;
        Some(self.per_cpu()?.addresses(base).collect())
    }

    /// The CPUs, each of which something is read of.
    pub fn cpus(&mut self) -> Option<Vec<u32>> {
        Some(self.parts(0)?.into_iter().map(|(cpu, _)| cpu).collect())
    }

    /// Counts the parts that are about to be read; `None` if they are too many.
    fn spend_parts(&mut self) -> Option<()> {
        let count = self.per_cpu()?.addresses(0).count();
        match self.parts_left.checked_sub(count) {
            Some(left) => self.parts_left = left,
            None => {
                self.warnings.add(|| "there is more that CPUs have for themselves than is read".to_owned());
                return None;
            }
        }
        Some(())
    }

    /// The elements of a list, from its head or its first element on, which is called so; as many as can be read.
    ///
    /// # Errors
    ///
    /// Its types are not those of such a list, or its head cannot be read.
    pub fn list(&mut self, what: &dyn Display, head: &Object<'a>, link: &str, limit: usize) -> Result<Vec<Object<'a>>> {
        self.elements(what, head, (ListKind::Any, link), limit)
    }

    /// The same of a tree, in its order.
    ///
    /// # Errors
    ///
    /// Those of [`Self::list`].
    pub fn tree(&mut self, what: &dyn Display, head: &Object<'a>, link: &str, limit: usize) -> Result<Vec<Object<'a>>> {
        self.elements(what, head, (ListKind::Tree, link), limit)
    }

    fn elements(
        &mut self,
        what: &dyn Display,
        head: &Object<'a>,
        (kind, link): (ListKind, &str),
        limit: usize,
    ) -> Result<Vec<Object<'a>>> {
        let plan = ListPlan::new(self.typed.types, head.type_id(), kind, link);
        let plan = plan.map_err(|error| Error::Unsupported(error.to_string()))?;
        let start = if plan.is_pointer { head.unsigned()? } else { head.address() };
        let walk = plan.walk(self.typed, start, limit)?;
        let elements: Vec<_> = walk.elements.iter().map(|at| self.typed.object(*at, plan.element)).collect();
        // What a walk takes for a ring is none here: the last pointer of a list is null. The links of a tree are several.
        let last = elements.last().and_then(|last| last.member(link).and_then(|next| next.unsigned()).ok());
        let end = match (walk.end, last) {
            (ListEnd::Complete, Some(next)) if next != 0 => ListEnd::Loop(next),
            (end, _) => end,
        };
        if end != ListEnd::Complete {
            self.warn(|| format!("{what} is damaged: {end}"));
        }
        // A head that is all zero was never initialized: it has no last pointer.
        let is_fresh = |stray: &&StrayPointer| stray.found == 0 && elements.is_empty();
        // Elements were skipped, or the list was cut off.
        for stray in walk.stray.iter().filter(|stray| !is_fresh(stray)) {
            self.warn(|| format!("{what} is damaged: {stray}; others may be missing"));
        }
        Ok(elements)
    }

    /// The processes of a kernel, with what could not be read of them.
    ///
    /// # Errors
    ///
    /// Those of [`Source::processes`].
    pub fn processes<'s>(&mut self, source: &'s Source<'_>) -> Result<&'s Processes> {
        let processes = source.processes()?;
        processes.warnings.iter().for_each(|warning| self.warn(|| warning.clone()));
        Ok(processes)
    }

    /// The `struct proc` of a process, with all of its bytes.
    pub fn process_structure(&mut self, process: &Process) -> Option<Object<'a>> {
        let read = self.typed.structure_at("proc", process.address).and_then(|structure| structure.fetched());
        self.keep(|| format!("process {}", process.pid), read)
    }

    /// Adds a warning, whose text is made only if it is kept.
    pub fn warn(&mut self, text: impl FnOnce() -> String) {
        self.warnings.add(text);
    }

    pub fn into_warnings(self) -> Vec<String> {
        self.warnings.into_list("warnings")
    }
}

/// The name of an enumeration's value.
///
/// # Errors
///
/// It has no name, or cannot be read.
pub(crate) fn enumerator(object: &Object<'_>) -> Result<String> {
    let types = object.typed().types;
    let value = object.signed()?;
    let Kind::Enumeration(names) = &types.get(types.strip(object.type_id())).kind else {
        return Err(Error::Unsupported("it is no enumeration".to_owned()));
    };
    let name = names.enumerators.iter().find(|(_, number)| *number == value);
    name.map(|(name, _)| name.to_string()).ok_or_else(|| Error::Format(format!("it is {value}")))
}
