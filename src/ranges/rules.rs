//! What a kernel does with a request to change memory ranges: the checks in their order, the errno of each, and
//! the table that results. x86 (`sys/x86/x86/x86_mem.c`) and powerpc (`super::powerpc`) have ranges, each with
//! rules of its own; other kernels have none.
//!
//! On x86 the processor's registers shape the result: the kernel writes them and reads its table back from them,
//! so address bits that the processor does not have are lost without a word.

use super::request::{GRANULE, Request, Violation, nearest};
use super::{CacheType, Descriptor, Owner, powerpc};
use ioctl_defs::memrange::Mdf;
use vmcore::bounds::{part, part_mut};

/// The fixed ranges cover the addresses below 1 MiB.
pub const FIXED_TOP: u64 = 0x10_0000;

/// Whose rules a kernel follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rules {
    /// Those of x86: ranges are the processor's MTRRs.
    #[default]
    X86,
    /// Those of powerpc: ranges are the kernel's own, for mappings of /dev/mem.
    PowerPc,
}

impl Rules {
    /// The rules of a machine, by `hw.machine_arch` or Rust's name for it; `None` where kernels have no ranges: they
    /// answer ENOTTY (`memioctl_md`, `sys/*/*/mem.c`).
    pub fn from_machine_arch(arch: &str) -> Option<Self> {
        match arch {
            "amd64" | "i386" | "x86_64" | "x86" => Some(Self::X86),
            _ => arch.starts_with("powerpc").then_some(Self::PowerPc),
        }
    }
}

/// The kernel's table of ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    descriptors: Vec<Descriptor>,
    rules: Rules,
    /// The processor's physical address width in bits.
    physical_bits: u32,
}

impl Table {
    /// The widest physical address of x86, for a table that does not show the processor's.
    pub const MAX_PHYSICAL_BITS: u32 = 52;

    /// A table of x86 as `MEMRANGE_GET` returned it.
    pub fn new(descriptors: Vec<Descriptor>) -> Self {
        Self::with_rules(descriptors, Rules::X86, None)
    }

    /// A table of an x86 processor whose address width is known.
    pub fn with_physical_bits(descriptors: Vec<Descriptor>, physical_bits: u32) -> Self {
        Self::with_rules(descriptors, Rules::X86, Some(physical_bits))
    }

    /// A table of a kernel that follows these rules, and of a processor whose address width may be known.
    pub fn with_rules(descriptors: Vec<Descriptor>, rules: Rules, bits: Option<u32>) -> Self {
        let physical_bits = match rules {
            Rules::X86 => bits
                .or_else(|| physical_bits(&descriptors))
                .map_or(Self::MAX_PHYSICAL_BITS, |bits| bits.clamp(32, Self::MAX_PHYSICAL_BITS)),
            Rules::PowerPc => u64::BITS,
        };
        Self { descriptors, rules, physical_bits }
    }

    /// Whose rules they follow.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The ranges, fixed ones first.
    pub fn descriptors(&self) -> &[Descriptor] {
        &self.descriptors
    }

    /// How many fixed ranges lead the table: 88 or none.
    pub fn fixed_count(&self) -> usize {
        self.descriptors.iter().take_while(|range| range.is_fixed()).count()
    }

    /// The first address beyond the processor's physical address width.
    pub fn physical_end(&self) -> u128 {
        1 << self.physical_bits
    }

    /// The physical addresses that an update would change: fixed ranges are changed whole.
    pub fn extent_of_update(&self, request: &Descriptor) -> (u64, u128) {
        match self.fixed_span(request) {
            Some(span) => {
                let ranges = part(&self.descriptors, span);
                let base = ranges.first().map_or(request.base, |range| range.base);
                (base, ranges.last().map_or(request.end(), Descriptor::end))
            }
            None => (request.base, request.end()),
        }
    }

    /// The fixed ranges that an update touches, if it is one for the fixed ranges.
    fn fixed_span(&self, request: &Descriptor) -> Option<std::ops::Range<usize>> {
        let fixed = self.descriptors.get(..self.fixed_count())?;
        let last_address = request.base.wrapping_add(request.length).wrapping_sub(1);
        let first = fixed.iter().position(|range| range.contains(request.base))?;
        let last = fixed.iter().position(|range| range.contains(last_address))?;
        Some(first..last + 1)
    }

    /// Carries out a request as the kernel would.
    ///
    /// # Errors
    ///
    /// The first rule that the request breaks; the table is unchanged then.
    pub fn apply(&mut self, request: &Request) -> Result<(), Violation> {
        if self.rules == Rules::PowerPc {
            return powerpc::apply(&mut self.descriptors, request);
        }
        match request {
            Request::Update(wanted) => self.update(wanted)?,
            Request::Remove(wanted) => self.remove(wanted)?,
        }
        self.read_back();
        Ok(())
    }

    fn update(&mut self, wanted: &Descriptor) -> Result<(), Violation> {
        check_shape(wanted.base, wanted.length)?;
        if CacheType::from_flags(wanted.flags).is_none() {
            return Err(Violation::NotOneType);
        }
        let below_top = wanted.base.wrapping_add(wanted.length) <= FIXED_TOP;
        if self.fixed_count() > 0 && below_top { self.update_fixed(wanted) } else { self.update_variable(wanted) }
    }

    fn update_fixed(&mut self, wanted: &Descriptor) -> Result<(), Violation> {
        let span = self.fixed_span(wanted).ok_or(Violation::BeyondAddressSpace)?;
        let ranges = part_mut(&mut self.descriptors, span);
        if !wanted.flags.contains(Mdf::FORCE)
            && let Some(range) = ranges.iter().find(|range| is_unknown(range))
        {
            return Err(Violation::UnknownType { range: range.clone() });
        }
        for range in ranges {
            let kept = range.flags.difference(Mdf::ATTRMASK | Mdf::FIRMWARE);
            range.flags = kept | wanted.flags.intersection(Mdf::ATTRMASK);
            range.owner = wanted.owner.clone();
        }
        Ok(())
    }

    fn update_variable(&mut self, wanted: &Descriptor) -> Result<(), Violation> {
        let fixed = self.fixed_count();
        let slots = self.descriptors.len() - fixed;
        let mut target = None;
        for range in self.descriptors.iter_mut().skip(fixed) {
            if !range.is_active() {
                target = target.or(Some(range));
                continue;
            }
            if range.base == wanted.base && range.length == wanted.length {
                if range.flags.contains(Mdf::BUSY) {
                    return Err(Violation::Busy { range: range.clone() });
                }
                if is_unknown(range) && !wanted.flags.contains(Mdf::FORCE) {
                    return Err(Violation::UnknownType { range: range.clone() });
                }
                target = Some(range);
                break;
            }
            if overlap(range, wanted) && conflict(range.flags, wanted.flags) {
                return Err(Violation::Overlap { range: range.clone() });
            }
        }
        let target = target.ok_or(Violation::NoSlot { slots })?;
        target.base = wanted.base;
        target.length = wanted.length;
        target.flags = Mdf::ACTIVE | wanted.flags.intersection(Mdf::ATTRMASK);
        target.owner = wanted.owner.clone();
        Ok(())
    }

    fn remove(&mut self, wanted: &Descriptor) -> Result<(), Violation> {
        let nearest = nearest(&self.descriptors, wanted.base);
        let range = self.descriptors.iter_mut().find(|range| range.has_extent_of(wanted));
        let range = range.ok_or(Violation::NotFound { nearest })?;
        if range.flags.contains(Mdf::FIXACTIVE) {
            return Err(Violation::Fixed { range: range.clone() });
        }
        if range.flags.contains(Mdf::BUSY) {
            return Err(Violation::Busy { range: range.clone() });
        }
        range.flags.remove(Mdf::ACTIVE);
        range.owner = Owner::default();
        Ok(())
    }

    /// The kernel stores the table in the processor's registers and reads it back: an inactive slot comes
    /// back as zeros, addresses lose the bits that the registers do not have, and what is active without an
    /// owner is taken for the firmware's.
    fn read_back(&mut self) {
        let fixed = self.fixed_count();
        let end = 1 << self.physical_bits;
        let mask = (end - 1) & !(GRANULE - 1);
        for range in self.descriptors.iter_mut().filter(|range| range.is_active() && range.owner.as_str().is_empty()) {
            range.owner = Owner::firmware();
        }
        for range in self.descriptors.iter_mut().skip(fixed) {
            if range.is_active() {
                range.base &= mask;
                range.length = range.length.min(end);
            } else {
                range.base = 0;
                range.length = end;
                range.flags = range.flags.difference(Mdf::ATTRMASK) | Mdf::UNCACHEABLE;
            }
        }
    }
}

/// The processor's physical address width, as far as the table shows it: an inactive slot whose mask is 0 comes out as
/// long as all addresses. Firmware leaves other masks in some, so the longest counts (`x86_mrfetch`); and what is
/// active is within the width.
pub fn physical_bits(descriptors: &[Descriptor]) -> Option<u32> {
    let possible = |bits: &u32| (32..=Table::MAX_PHYSICAL_BITS).contains(bits);
    let inactive = descriptors.iter().filter(|range| !range.is_active() && range.length.is_power_of_two());
    let longest = inactive.map(|range| range.length.ilog2()).filter(possible).max()?;
    let active = descriptors.iter().filter(|range| range.is_active()).filter_map(|range| {
        let bits = range.end().checked_next_power_of_two()?.ilog2();
        Some(bits).filter(possible)
    });
    active.chain([longest]).max()
}

fn check_shape(base: u64, length: u64) -> Result<(), Violation> {
    if !base.is_multiple_of(GRANULE) {
        return Err(Violation::BaseUnaligned { base });
    }
    if length < GRANULE {
        return Err(Violation::LengthTooSmall { length });
    }
    if !length.is_power_of_two() {
        return Err(Violation::LengthNotPowerOfTwo { length });
    }
    if !base.is_multiple_of(length) {
        return Err(Violation::BaseNotMultiple { base, length });
    }
    Ok(())
}

fn is_unknown(range: &Descriptor) -> bool {
    range.flags.intersection(Mdf::ATTRMASK) == Mdf::UNKNOWN
}

/// The kernel's own test, with its arithmetic: a range that ends at 2^64 holds nothing.
fn overlap(a: &Descriptor, b: &Descriptor) -> bool {
    let within =
        |range: &Descriptor, address: u64| address >= range.base && address < range.base.wrapping_add(range.length);
    within(a, b.base) || within(b, a.base)
}

fn conflict(a: Mdf, b: Mdf) -> bool {
    let (a, b) = (a.intersection(Mdf::ATTRMASK), b.intersection(Mdf::ATTRMASK));
    if a.contains(Mdf::UNKNOWN) || b.contains(Mdf::UNKNOWN) {
        return true;
    }
    let mixable = Mdf::WRITEBACK | Mdf::UNCACHEABLE;
    a != b && !(a | b == mixable && CacheType::from_flags(a).is_some() && CacheType::from_flags(b).is_some())
}
