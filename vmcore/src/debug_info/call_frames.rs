//! Call frame information: how the registers of a function's caller are found at each of its instructions.
//!
//! `.debug_frame` is in the file with the debug information, `.eh_frame` in the image itself; kernels have little of that.
//! Where the code of both is the same, the former is used.
//!
//! Sources: DWARF 5, section 6.4; the Linux Standard Base for `.eh_frame`; the numbers of registers from the ABI of each
//! architecture.

use super::sections::{ElfFile, SectionReader, section_address};
use crate::architecture::{Architecture, Endianness};
use crate::error::Result;
use crate::kernel::Registers;
use crate::symbols::Table;
use gimli::{
    BaseAddresses, CfaRule, CieOrFde, CommonInformationEntry, DebugFrame, EhFrame, EndianSlice, Evaluation,
    EvaluationResult, Location, Piece, Register, RegisterRule, RunTimeEndian, UnwindContext, UnwindExpression,
    UnwindOffset, UnwindSection, Value, Vendor,
};
use object::read::Object;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

/// Bytes of what is said of a function: of the largest in a kernel they are some hundreds.
const MAX_ENTRY: usize = 1 << 16;
/// Steps of an expression.
const MAX_STEPS: u32 = 1000;
/// Bytes below the stack pointer that functions may keep registers in: interrupts leave them alone.
const POWERPC64_RED_ZONE: u64 = 288;

type Reader<'a> = EndianSlice<'a, RunTimeEndian>;

/// A section with call frame information.
pub(super) struct FrameSection {
    bytes: Rc<[u8]>,
    form: Form,
    order: RunTimeEndian,
    architecture: Architecture,
    /// What addresses in it count from.
    displacement: u64,
    /// Where each function begins, its first address behind, and where it is described; by the beginning.
    functions: Vec<(u64, u64, usize)>,
    /// The positions of registers in [`Registers`], by their numbers.
    positions: Vec<Option<usize>>,
    /// What functions have to leave as it was.
    preserved: Vec<Register>,
    /// What is said of addresses that were asked for.
    rows: HashMap<u64, Option<Row>>,
}

#[derive(Clone, Copy)]
enum Form {
    Debug,
    /// `.eh_frame`, and where it and the code are.
    Eh {
        address: u64,
        text: u64,
    },
}

/// What is said of an instruction.
struct Row {
    frame: CfaRule<usize>,
    registers: Vec<(Register, RegisterRule<usize>)>,
    /// The register with the return address.
    back: Register,
    encoding: gimli::Encoding,
}

/// A function in which rules are evaluated.
struct State<'a> {
    positions: &'a [Option<usize>],
    registers: &'a Registers,
    read: &'a mut dyn FnMut(u64) -> Option<u64>,
}

impl FrameSection {
    /// The section of an image; `None` of one that has none.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn from_image(path: &Path, file: &ElfFile<'_>, table: &Table) -> Result<Option<Self>> {
        let bytes = SectionReader::new(path, file, table).read(".eh_frame")?.into();
        let address = |name: &str| {
            let section = file.section_by_name(name)?;
            Some(section_address(&section, table).wrapping_sub(table.displacement()))
        };
        let (address, text) = (address(".eh_frame").unwrap_or(0), address(".text").unwrap_or(0));
        Ok(Self::new(bytes, Form::Eh { address, text }, table))
    }

    /// The contents of `.debug_frame` in a file whose sections lie as in this table; `None` if there are none.
    pub(super) fn from_debug_file(bytes: Rc<[u8]>, table: &Table) -> Option<Self> {
        Self::new(bytes, Form::Debug, table)
    }

    fn new(bytes: Rc<[u8]>, form: Form, table: &Table) -> Option<Self> {
        let order = match table.order() {
            Endianness::Little => RunTimeEndian::Little,
            Endianness::Big => RunTimeEndian::Big,
        };
        let (architecture, displacement) = (table.architecture()?, table.displacement());
        let names = names(architecture);
        let number = |name: &&str| u16::try_from(names.iter().position(|known| known == name)?).ok();
        let mut section = Self {
            bytes,
            form,
            order,
            architecture,
            displacement,
            functions: Vec::new(),
            positions: names.iter().map(|name| Registers::position(architecture, name)).collect(),
            preserved: preserved(architecture).iter().filter_map(number).map(Register).collect(),
            rows: HashMap::new(),
        };
        section.functions = match form {
            Form::Debug => functions(&section.debug(), &BaseAddresses::default()),
            Form::Eh { address, text } => functions(&section.eh(), &bases(address, text)),
        };
        (!section.functions.is_empty()).then_some(section)
    }

    fn debug(&self) -> DebugFrame<Reader<'_>> {
        let mut section = DebugFrame::new(&self.bytes, self.order);
        section.set_address_size(self.word_size());
        section.set_vendor(self.vendor());
        section
    }

    fn eh(&self) -> EhFrame<Reader<'_>> {
        let mut section = EhFrame::new(&self.bytes, self.order);
        section.set_address_size(self.word_size());
        section.set_vendor(self.vendor());
        section
    }

    fn word_size(&self) -> u8 {
        if self.architecture.word_size() == 4 { 4 } else { 8 }
    }

    /// Whose instructions there can be: arm64's compilers say where return addresses are signed.
    fn vendor(&self) -> Vendor {
        if self.architecture == Architecture::Arm64 { Vendor::AArch64 } else { Vendor::Default }
    }

    /// The registers of the caller of a function that was in the instruction at an address; `None` where the section says
    /// nothing of it, or what it says takes what is not known.
    pub(super) fn caller(
        &mut self,
        address: u64,
        registers: &Registers,
        read: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<Registers> {
        let address = address.wrapping_sub(self.displacement);
        if !self.rows.contains_key(&address) {
            let row = self.find(address);
            self.rows.insert(address, row);
        }
        let row = self.rows.get(&address)?.as_ref()?;
        let mut state = State { positions: &self.positions, registers, read };
        self.apply(row, &mut state)
    }

    /// What is said of the instruction at an address.
    fn find(&self, address: u64) -> Option<Row> {
        let below = self.functions.partition_point(|(first, ..)| *first <= address);
        let (_, end, at) = *self.functions.get(below.checked_sub(1)?)?;
        if address >= end {
            return None;
        }
        match self.form {
            Form::Debug => row(&self.debug(), &BaseAddresses::default(), at.into(), address),
            Form::Eh { address: start, text } => row(&self.eh(), &bases(start, text), at.into(), address),
        }
    }

    /// The registers of the caller.
    fn apply(&self, row: &Row, state: &mut State<'_>) -> Option<Registers> {
        let mask = u64::MAX >> (64 - 8 * u32::from(self.word_size()));
        let frame = match &row.frame {
            CfaRule::RegisterAndOffset { register, offset } => {
                state.register(*register)?.wrapping_add_signed(*offset) & mask
            }
            CfaRule::Expression(expression) => self.evaluate(row, state, expression, None)?,
        };
        let back = match row.rule(row.back) {
            // The call has left it there.
            None | Some(RegisterRule::SameValue) => state.registers.link().and(state.register(row.back))?,
            Some(rule) => self.restore(row, state, rule, row.back, frame)?,
        };
        let mut caller = Registers::of_caller(self.architecture, back, Some(frame), None);
        for register in self.preserved.iter().copied() {
            let value = match row.rule(register) {
                None | Some(RegisterRule::SameValue) => state.register(register),
                Some(rule) => self.restore(row, state, rule, register, frame),
            };
            if let (Some(value), Some(position)) = (value, state.position(register)) {
                caller.set_at(position, value);
            }
        }
        Some(caller)
    }

    /// A register's value in the caller, by its rule.
    fn restore(
        &self,
        row: &Row,
        state: &mut State<'_>,
        rule: &RegisterRule<usize>,
        register: Register,
        frame: u64,
    ) -> Option<u64> {
        match rule {
            RegisterRule::Offset(offset) => self.saved(state, frame.wrapping_add_signed(*offset), register),
            RegisterRule::ValOffset(offset) => Some(frame.wrapping_add_signed(*offset)),
            RegisterRule::Register(other) => state.register(*other),
            RegisterRule::Expression(expression) => {
                let at = self.evaluate(row, state, expression, Some(frame))?;
                (state.read)(at)
            }
            RegisterRule::ValExpression(expression) => self.evaluate(row, state, expression, Some(frame)),
            RegisterRule::Constant(value) => Some(*value),
            _ => None,
        }
    }

    /// A register that was saved. What is below the stack pointer is not the function's any more: it has restored the
    /// register, and an interrupt may have overwritten the place.
    fn saved(&self, state: &mut State<'_>, at: u64, register: Register) -> Option<u64> {
        let red_zone = if self.architecture == Architecture::Powerpc64 { POWERPC64_RED_ZONE } else { 0 };
        match state.registers.sp() {
            Some(sp) if at < sp.saturating_sub(red_zone) => state.register(register),
            _ => (state.read)(at),
        }
    }

    /// The value of an expression (DWARF 5, section 2.5), which begins with the address of the frame if there is one.
    fn evaluate(
        &self,
        row: &Row,
        state: &mut State<'_>,
        expression: &UnwindExpression<usize>,
        frame: Option<u64>,
    ) -> Option<u64> {
        let bytes = self.bytes.get(expression.offset..expression.offset.checked_add(expression.length)?)?;
        let mut evaluation = Evaluation::new(EndianSlice::new(bytes, self.order), row.encoding);
        evaluation.set_max_iterations(MAX_STEPS);
        if let Some(frame) = frame {
            evaluation.set_initial_value(frame);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(state.register(register)?))
                }
                EvaluationResult::RequiresMemory { address, size, space: None, .. } if size == self.word_size() => {
                    evaluation.resume_with_memory(Value::Generic((state.read)(address)?))
                }
                EvaluationResult::RequiresCallFrameCfa => evaluation.resume_with_call_frame_cfa(frame?),
                _ => return None,
            }
            .ok()?;
        }
        match evaluation.as_result() {
            [Piece { location: Location::Address { address }, .. }] => Some(*address),
            _ => None,
        }
    }
}

impl Row {
    fn rule(&self, register: Register) -> Option<&RegisterRule<usize>> {
        self.registers.iter().find(|(known, _)| *known == register).map(|(_, rule)| rule)
    }
}

impl State<'_> {
    fn position(&self, register: Register) -> Option<usize> {
        self.positions.get(usize::from(register.0)).copied().flatten()
    }

    fn register(&self, register: Register) -> Option<u64> {
        self.registers.at(self.position(register)?)
    }
}

fn bases(address: u64, text: u64) -> BaseAddresses {
    BaseAddresses::default().set_eh_frame(address).set_text(text)
}

/// The functions that a section describes, up to where it cannot be read.
fn functions<'a, S: UnwindSection<Reader<'a>>>(section: &S, bases: &BaseAddresses) -> Vec<(u64, u64, usize)> {
    // Most functions share what they begin with.
    let mut known: HashMap<usize, gimli::Result<CommonInformationEntry<Reader<'a>>>> = HashMap::new();
    let mut functions = Vec::new();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        let parsed = partial.parse(|section, bases, offset| {
            let key = UnwindOffset::into(offset);
            known.entry(key).or_insert_with(|| section.cie_from_offset(bases, offset)).clone()
        });
        if let Ok(function) = parsed
            && function.entry_len().max(function.cie().entry_len()) <= MAX_ENTRY
        {
            functions.push((function.initial_address(), function.end_address(), function.offset()));
        }
    }
    functions.sort_unstable();
    functions
}

/// What the entry at an offset says of an address.
fn row<'a, S: UnwindSection<Reader<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    at: S::Offset,
    address: u64,
) -> Option<Row> {
    let function = section.fde_from_offset(bases, at, S::cie_from_offset).ok()?;
    let mut context = UnwindContext::new();
    let row = function.unwind_info_for_address(section, bases, &mut context, address).ok()?;
    Some(Row {
        frame: row.cfa().clone(),
        registers: row.registers().cloned().collect(),
        back: function.cie().return_address_register(),
        encoding: function.cie().encoding(),
    })
}

/// The registers, as [`Registers`] calls them, by their numbers in DWARF.
#[rustfmt::skip]
const fn names(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::Amd64 => &[
            "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
            "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
        ],
        Architecture::I386 => &["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip"],
        Architecture::Arm => &[
            "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "sp", "lr", "pc",
        ],
        Architecture::Arm64 => &[
            "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
            "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
            "sp",
        ],
        Architecture::Riscv => &[
            "", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
            "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
        ],
        Architecture::Powerpc64 => &[
            "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
            "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28", "r29", "r30",
            "r31", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
            "", "", "", "", "", "", "", "", "lr",
        ],
    }
}

/// What a function has to leave as it was, but for the stack pointer.
#[rustfmt::skip]
const fn preserved(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::Amd64 => &["rbx", "rbp", "r12", "r13", "r14", "r15"],
        Architecture::I386 => &["ebx", "esi", "edi", "ebp"],
        Architecture::Arm => &["r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11"],
        Architecture::Arm64 => &["x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29"],
        Architecture::Riscv => &["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11"],
        Architecture::Powerpc64 => &[
            "r14", "r15", "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28",
            "r29", "r30", "r31",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_have_the_numbers_of_their_abi() {
        let cases = [
            (Architecture::Amd64, [(6, "rbp"), (7, "rsp"), (16, "rip")]),
            (Architecture::I386, [(4, "esp"), (5, "ebp"), (8, "eip")]),
            (Architecture::Arm, [(11, "r11"), (13, "sp"), (14, "lr")]),
            (Architecture::Arm64, [(29, "x29"), (30, "x30"), (31, "sp")]),
            (Architecture::Riscv, [(1, "ra"), (2, "sp"), (8, "s0")]),
            (Architecture::Powerpc64, [(1, "r1"), (31, "r31"), (65, "lr")]),
        ];
        for (architecture, numbers) in cases {
            for (number, name) in numbers {
                assert_eq!(names(architecture).get(number), Some(&name));
            }
            let known = Registers::unknown(architecture);
            let is_register = |name: &&str| known.iter().any(|(known, _)| known == *name);
            assert!(names(architecture).iter().filter(|name| !name.is_empty()).all(is_register));
            assert!(preserved(architecture).iter().all(|name| names(architecture).contains(name)));
        }
    }
}
