//! arm: the kernel's own tables for exceptions, by which it follows stacks itself. They are in its memory, and describe
//! each function at the places where it calls others.
//!
//! Sources: *Exception Handling ABI for the Arm Architecture* (IHI 0038), sections 6, 7 and 10; `sys/arm/arm/unwind.c`.

use crate::architecture::Architecture;
use crate::kernel::{Kernel, Registers};

/// More bytes than the index of any kernel has.
const MAX_INDEX: u64 = 16 << 20;
/// Bytes of an index's entry: where a function begins, and what is said of it.
const ENTRY: usize = 8;
/// `EXIDX_CANTUNWIND`.
const CANNOT_UNWIND: u32 = 1;
const SP: usize = 13;
const LR: usize = 14;
const PC: usize = 15;
const NAMES: [&str; 16] =
    ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "sp", "lr", "pc"];
/// What functions have to leave as it was, but for the stack pointer.
const PRESERVED: std::ops::Range<usize> = 4..12;

/// The index of a kernel's functions, by their addresses.
pub struct ExceptionIndex {
    /// Where it is.
    address: u64,
    bytes: Vec<u8>,
}

/// The registers while instructions are carried out.
struct Machine<'a> {
    registers: [Option<u32>; 16],
    read: &'a mut dyn FnMut(u64) -> Option<u64>,
}

impl ExceptionIndex {
    /// The index in the memory of an arm kernel; `None` if it has none, or it cannot be read.
    pub fn read(kernel: &Kernel) -> Option<Self> {
        if kernel.memory().architecture() != Architecture::Arm {
            return None;
        }
        let symbols = kernel.symbols().ok()?;
        let [start, end] = ["_exidx_start", "_exidx_end"].map(|name| symbols.find(name).ok().flatten());
        let address = start?.address;
        let size = end?.address.checked_sub(address).filter(|size| *size <= MAX_INDEX)?;
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        kernel.memory().read(address, &mut bytes).ok()?;
        Some(Self { address, bytes })
    }

    /// The registers of the caller of a function that was in the instruction at an address; `None` if the kernel cannot
    /// tell them.
    pub fn caller(
        &self,
        kernel: &Kernel,
        address: u64,
        registers: &Registers,
        read: &mut dyn FnMut(u64) -> Option<u64>,
    ) -> Option<Registers> {
        let instructions = self.instructions(kernel, u32::try_from(address).ok()?)?;
        let values = NAMES.map(|name| registers.get(name).and_then(|value| u32::try_from(value).ok()));
        let mut machine = Machine { registers: values, read };
        if let Some(pc) = machine.registers.get_mut(PC) {
            *pc = None;
        }
        machine.run(&mut instructions.into_iter())?;
        let back = machine.get(PC).or_else(|| machine.get(LR))?;
        let mut caller = Registers::of_caller(Architecture::Arm, back.into(), machine.get(SP).map(u64::from), None);
        for (register, name) in NAMES.iter().enumerate().filter(|(register, _)| PRESERVED.contains(register)) {
            if let Some(value) = machine.get(register) {
                caller = caller.with(name, value.into());
            }
        }
        Some(caller)
    }

    /// What is said of the function at an address.
    fn instructions(&self, kernel: &Kernel, address: u32) -> Option<Vec<u8>> {
        let order = kernel.memory().order();
        let (entries, _) = self.bytes.as_chunks::<ENTRY>();
        let place = |index: usize| u32::try_from(self.address + (index * ENTRY) as u64).ok();
        let halves = |entry: &[u8; ENTRY]| {
            let [a, b, c, d, e, f, g, h] = *entry;
            (order.u32([a, b, c, d]), order.u32([e, f, g, h]))
        };
        let mut first = 0;
        let mut rest = entries.len();
        // As in the kernel: the last function that does not begin behind the address.
        while rest > 0 {
            let middle = first + rest / 2;
            if relative(place(middle)?, halves(entries.get(middle)?).0) <= address {
                (first, rest) = (middle + 1, rest - rest / 2 - 1);
            } else {
                rest /= 2;
            }
        }
        let index = first.checked_sub(1)?;
        let (_, said) = halves(entries.get(index)?);
        match said {
            CANNOT_UNWIND => None,
            said if said >> 31 == 1 => inline(said),
            said => table(kernel, relative(place(index)?.checked_add(4)?, said)),
        }
    }
}

/// An address that is stored as its distance (`R_ARM_PREL31`).
fn relative(place: u32, word: u32) -> u32 {
    place.wrapping_add_signed((word << 1).cast_signed() >> 1)
}

/// What fits into the entry: three instructions.
fn inline(word: u32) -> Option<Vec<u8>> {
    let [kind, instructions @ ..] = word.to_be_bytes();
    (kind == 0x80).then(|| instructions.to_vec())
}

/// What is in `.ARM.extab`.
fn table(kernel: &Kernel, address: u32) -> Option<Vec<u8>> {
    let memory = kernel.memory();
    let word = memory.u32(address.into()).ok()?;
    let [kind, count, first, second] = word.to_be_bytes();
    match kind {
        0x80 => inline(word),
        0x81 | 0x82 => {
            let mut instructions = vec![first, second];
            for index in 1..=u64::from(count) {
                instructions.extend(memory.u32(u64::from(address) + 4 * index).ok()?.to_be_bytes());
            }
            Some(instructions)
        }
        // Another language's.
        _ => None,
    }
}

impl Machine<'_> {
    fn get(&self, register: usize) -> Option<u32> {
        self.registers.get(register).copied().flatten()
    }

    fn set(&mut self, register: usize, value: u32) {
        if let Some(slot) = self.registers.get_mut(register) {
            *slot = Some(value);
        }
    }

    /// Carries out the instructions; `None` if one is not known, or takes what is not known.
    fn run(&mut self, instructions: &mut impl Iterator<Item = u8>) -> Option<()> {
        while let Some(instruction) = instructions.next() {
            let low = u32::from(instruction & 0xf);
            let count = u32::from(instruction & 7);
            match instruction {
                0x00..=0x3f => self.raise(4 * u32::from(instruction) + 4)?,
                0x40..=0x7f => self.raise((4 * u32::from(instruction & 0x3f) + 4).wrapping_neg())?,
                0x80..=0x8f => {
                    let mask = low << 8 | u32::from(instructions.next()?);
                    // 0 refuses.
                    self.pop((mask != 0).then_some(mask << 4)?)?;
                }
                0x9d | 0x9f => return None,
                0x90..=0x9f => {
                    let value = self.get(usize::from(instruction & 0xf))?;
                    self.set(SP, value);
                }
                0xa0..=0xa7 => self.pop(((2 << count) - 1) << 4)?,
                0xa8..=0xaf => self.pop(((2 << count) - 1) << 4 | 1 << LR)?,
                0xb0 => break,
                0xb1 => self.pop(u32::from(instructions.next().filter(|mask| (1..=0xf).contains(mask))?))?,
                0xb2 => self.raise(0x204_u32.wrapping_add(leb128(instructions)?.checked_mul(4)?))?,
                // Registers of the floating-point unit, as FSTMFDX saves them.
                0xb3 => self.raise(8 * u32::from(instructions.next()? & 0xf) + 12)?,
                // Pointer authentication.
                0xb4 => self.raise(4)?,
                0xb8..=0xbf => self.raise(8 * count + 12)?,
                // And as VPUSH does.
                0xc8 | 0xc9 => self.raise(8 * u32::from(instructions.next()? & 0xf) + 8)?,
                0xd0..=0xd7 => self.raise(8 * count + 8)?,
                _ => return None,
            }
        }
        Some(())
    }

    /// Moves the stack pointer.
    fn raise(&mut self, by: u32) -> Option<()> {
        let sp = self.get(SP)?.wrapping_add(by);
        self.set(SP, sp);
        Some(())
    }

    /// Takes registers off the stack, the lowest first.
    fn pop(&mut self, mask: u32) -> Option<()> {
        let mut sp = self.get(SP)?;
        let mut popped_sp = None;
        for register in (0..16).filter(|register| mask >> register & 1 == 1) {
            let value = u32::try_from((self.read)(sp.into())?).ok()?;
            sp = sp.wrapping_add(4);
            if register == SP {
                popped_sp = Some(value);
            } else {
                self.set(register, value);
            }
        }
        self.set(SP, popped_sp.unwrap_or(sp));
        Some(())
    }
}

/// An unsigned number of any length (DWARF 5, section 7.6).
fn leb128(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut value = 0;
    for shift in (0..32).step_by(7) {
        let byte = bytes.next()?;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    /// A stack at 0x1000 whose words tell where they are.
    fn run(instructions: &[u8], registers: &[(usize, u32)]) -> Option<[Option<u32>; 16]> {
        let read = &mut |at| (0x1000..0x2000).contains(&at).then_some(at | 0x5000_0000);
        let mut machine = Machine { registers: [None; 16], read };
        registers.iter().for_each(|(register, value)| machine.set(*register, *value));
        machine.run(&mut instructions.iter().copied())?;
        Some(machine.registers)
    }

    /// Instructions, how many words they take off the stack, and which of these registers get.
    type Case = (&'static [u8], u32, &'static [(usize, u32)]);

    #[test]
    fn instructions_are_those_of_the_abi() {
        let word = |index: u32| 0x5000_1000 + 4 * index;
        let cases: [Case; 16] = [
            (&[0x00], 1, &[]),
            (&[0x3f], 64, &[]),
            (&[0x3f, 0x42], 61, &[]),
            (&[0x84, 0x80], 2, &[(11, 0), (14, 1)]),
            (&[0x88, 0x01], 2, &[(4, 0), (15, 1)]),
            (&[0xa0], 1, &[(4, 0)]),
            (&[0xa7], 8, &[(4, 0), (11, 7)]),
            (&[0xab], 5, &[(4, 0), (7, 3), (14, 4)]),
            (&[0xb1, 0x09], 2, &[(0, 0), (3, 1)]),
            (&[0xb2, 0x81, 0x01], 129 + 129, &[]),
            (&[0xb3, 0x81], 5, &[]),
            (&[0xb4], 1, &[]),
            (&[0xb9], 5, &[]),
            (&[0xc9, 0x81], 4, &[]),
            (&[0xd1], 4, &[]),
            (&[0xb0, 0x00], 0, &[]),
        ];
        for (instructions, taken, expected) in cases {
            let registers = run(instructions, &[(SP, 0x1000)]).unwrap();
            assert_eq!(registers[SP], Some(0x1000 + 4 * taken), "{instructions:x?}");
            for (register, index) in expected {
                assert_eq!(registers[*register], Some(word(*index)), "{instructions:x?}, {register}");
            }
        }
        assert_eq!(run(&[0x9b], &[(11, 0x1234)]).unwrap()[SP], Some(0x1234));
        // The stack pointer that is popped counts.
        let registers = run(&[0x8e, 0x00], &[(SP, 0x1000)]).unwrap();
        assert_eq!([registers[SP], registers[LR], registers[PC]], [Some(word(0)), Some(word(1)), Some(word(2))]);
    }

    #[test]
    fn what_is_refused_or_not_known_ends_it() {
        for instructions in [&[0x80, 0x00][..], &[0x84], &[0x9d], &[0x9f], &[0xb1, 0x00], &[0xb1, 0x10], &[0xb2, 0x80]]
        {
            assert_eq!(run(instructions, &[(SP, 0x1000)]), None, "{instructions:x?}");
        }
        assert_eq!(run(&[0xa0], &[(SP, 0x2000)]), None);
        assert_eq!(run(&[0xa0], &[]), None);
    }

    proptest! {
        #[test]
        fn any_instructions_have_an_end(instructions: Vec<u8>, sp: u32) {
            run(&instructions, &[(SP, sp)]);
        }
    }
}
