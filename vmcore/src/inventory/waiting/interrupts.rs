//! How often each interrupt came, as `vmstat -i` shows it.
//!
//! Sources: `intrcnt` and `intrnames` of `sys/kern/subr_intr.c` and of each architecture's `intr_machdep.c`,
//! `print_intrcnts()` in `usr.bin/vmstat/vmstat.c`.

use super::uptime::{milliseconds, seconds, uptime};
use crate::bounds::{low_u64, saturating_usize};
use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::TypedMemory;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use serde::Serialize;

/// More bytes of counters, and of names, than any kernel has.
const MAX_BYTES: u64 = 1 << 24;

/// The counter of an interrupt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interrupt {
    /// What it is called: its number and its devices.
    pub name: Option<Name>,
    /// How often it came.
    #[serde(rename = "interrupt_count")]
    pub count: u64,
    /// How often it came each second since the kernel booted, rounded.
    pub rate: Option<u64>,
}

/// The counters of all interrupts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interrupts {
    /// How long the kernel runs.
    pub since_boot_seconds: Option<f64>,
    /// How often all of them came.
    #[serde(rename = "interrupt_count")]
    pub total: u64,
    /// How often they came each second, rounded.
    pub rate: Option<u64>,
    /// The interrupts, without the counters that belong to none.
    pub sources: Vec<Interrupt>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Interrupts {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel has no such counters, or they cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let mut reader = Reader::new(typed);
        let counts = counts(typed)?;
        let now = reader.keep(|| "the time since boot".to_owned(), uptime(typed));
        let names = reader.keep(|| "the names of interrupts".to_owned(), array(typed, "intrnames", "sintrnames"));
        let all_names = names.iter().flat_map(|names| names.split(|byte| *byte == 0));
        let mut names = all_names.map(Some).chain(std::iter::repeat(None));
        let rate = |count: u64| rate(count, milliseconds(now?));
        let mut sources = Vec::new();
        for count in &counts {
            let name = names.next().flatten().map(|name| Name::from(name.trim_ascii_end()));
            let is_used = *count > 0 || name.as_ref().is_some_and(|name| !name.is_empty());
            if is_used {
                sources.push(Interrupt { name, count: *count, rate: rate(*count) });
            }
        }
        let total = counts.iter().copied().fold(0, u64::wrapping_add);
        let since_boot_seconds = now.and_then(|now| i64::try_from(now).ok()).map(seconds);
        Ok(Self { since_boot_seconds, total, rate: rate(total), sources, warnings: reader.into_warnings() })
    }
}

/// How often each second, as vmstat(8) rounds it; `None` in the first millisecond.
fn rate(count: u64, milliseconds: u64) -> Option<u64> {
    let times = u128::from(count) * 1000 + u128::from(milliseconds / 2);
    Some(low_u64(times.checked_div(milliseconds.into())?))
}

/// The bytes of an array, or of what a pointer leads to, whose size is in a variable.
fn array(typed: TypedMemory<'_>, name: &str, size: &str) -> Result<Vec<u8>> {
    let bytes = typed.variable(size)?.unsigned()?;
    if bytes == 0 || bytes > MAX_BYTES {
        return Err(Error::Format(format!("{size} is {bytes}, which is no size of such a table")));
    }
    typed.variable(name)?.index(0)?.leading_bytes(bytes)
}

fn counts(typed: TypedMemory<'_>) -> Result<Vec<u64>> {
    let bytes = array(typed, "intrcnt", "sintrcnt")?;
    // Elements of u_long.
    let size = typed.variable("intrcnt")?.index(0)?.size().unwrap_or(0);
    let words = bytes.chunks_exact(saturating_usize(size).max(1));
    Ok(words.map(|word| typed.memory.order().number(word)).collect())
}

impl Topic for Interrupts {
    /// As `vmstat -i`, which hides interrupts that never came, and those without a name.
    fn tables(&self) -> Vec<Table> {
        let is_shown = |one: &&Interrupt| one.count > 0 && one.name.as_ref().is_none_or(|name| !name.is_empty());
        let row = |one: &Interrupt| vec![name_cell(one.name.as_ref()), one.count.to_string(), cell(one.rate)];
        let mut rows: Vec<_> = self.sources.iter().filter(is_shown).map(row).collect();
        rows.push(vec!["Total".to_owned(), self.total.to_string(), cell(self.rate)]);
        vec![Table::new([left("interrupt"), right("total"), right("rate")], rows)]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded_as_vmstat_rounds_them() {
        assert_eq!(
            [(458, 136_000), (1, 2000), (1, 2001), (5, 0)].map(|(count, time)| rate(count, time)),
            [Some(3), Some(1), Some(0), None]
        );
        assert_eq!(rate(u64::MAX, 1000), Some(u64::MAX));
    }
}
