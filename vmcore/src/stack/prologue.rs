//! Whether a function that was interrupted had its frame: at its beginning and its end the frame pointer is its
//! caller's, as it is in functions that make none.
//!
//! Sources: the calling conventions of each architecture, and how clang begins and ends functions; amd64 and i386 as
//! `db_backtrace()` in their `db_trace.c`.

use crate::architecture::{Architecture, Endianness};
use crate::bounds::tail;

/// Where the caller of a function that was interrupted is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the function's frame.
    Frame,
    /// The return address is so many bytes above the stack pointer, and the frame pointer is the caller's.
    Stack(u64),
    /// The return address is in the link register, and the frame pointer is the caller's.
    Link,
    /// The return address is in the link register, and the function's frame leads to the caller's.
    LinkAndFrame,
}

/// Where the caller is found, by the code of the function from its beginning up to the place of the interruption, and by
/// what comes next.
pub fn caller(architecture: Architecture, order: Endianness, before: &[u8], next: &[u8]) -> Place {
    match architecture {
        Architecture::Amd64 => x86(before, next, 8, &[0x48, 0x89, 0xe5]),
        Architecture::I386 => x86(before, next, 4, &[0x89, 0xe5]),
        Architecture::Arm64 => arm64(before, next),
        Architecture::Riscv => riscv(before),
        Architecture::Powerpc64 => powerpc64(before, order),
        Architecture::Arm => Place::Frame,
    }
}

/// `push %rbp; mov %rsp, %rbp`, and at the end `pop %rbp; ret`.
fn x86(before: &[u8], next: &[u8], word: u64, set_frame: &[u8]) -> Place {
    const PUSH: u8 = 0x55;
    const RETURN: u8 = 0xc3;
    match next {
        [RETURN, ..] => Place::Stack(0),
        [PUSH, rest @ ..] if rest.starts_with(set_frame) => Place::Stack(0),
        next if next.starts_with(set_frame) => Place::Stack(word),
        // Code in assembly language, as a rule.
        _ if before.is_empty() => Place::Stack(0),
        _ => Place::Frame,
    }
}

fn words(code: &[u8], order: Endianness) -> impl DoubleEndedIterator<Item = u32> {
    code.as_chunks::<4>().0.iter().map(move |bytes| order.u32(*bytes))
}

/// `stp x29, x30, [sp, #-n]!; mov x29, sp`, and at the end `ldp x29, x30, [sp], #n; ret`.
fn arm64(before: &[u8], next: &[u8]) -> Place {
    /// Instructions between the frame's end and the return.
    const EPILOGUE: usize = 4;
    let sets_frame = |code: u32| code & 0xffc0_03ff == 0x9100_03fd;
    let restores = |code: u32| matches!(code & 0xffc0_7fff, 0xa8c0_7bfd | 0xa940_7bfd);
    // Branches, whose targets come after them, and calls.
    let jumps = |code: u32| code & 0x7c00_0000 == 0x1400_0000 || code & 0xfe00_0000 == 0xd600_0000;
    let returns = |code: u32| matches!(code, 0xd65f_03c0 | 0xd65f_0bff | 0xd65f_0fff);
    let order = Endianness::Little;
    if words(next, order).next().is_some_and(returns) {
        return Place::Link;
    }
    let end = words(before, order).rev().take(EPILOGUE).take_while(|code| !jumps(*code) && !sets_frame(*code));
    if end.into_iter().any(restores) || !words(before, order).any(sets_frame) { Place::Link } else { Place::Frame }
}

/// `addi sp, sp, -n; sd ra, ...; sd s0, ...; addi s0, sp, n`, and at the end `ld s0, ...; addi sp, sp, n; ret`.
fn riscv(before: &[u8]) -> Place {
    let (mut has_frame, mut is_restored, mut rest) = (false, false, before);
    while let Some(low) = rest.first_chunk::<2>() {
        let low = u16::from_le_bytes(*low);
        let is_short = low & 3 != 3;
        if is_short {
            match low {
                // ret, or another jump to a register; a jump.
                _ if low & 0xf07f == 0x8002 && low & 0xf80 != 0 || low & 0xe003 == 0xa001 => is_restored = false,
                // ld s0, n(sp)
                _ if low & 0xef83 == 0x6402 => is_restored = has_frame,
                // addi s0, sp, n
                _ if low & 0xe01f == 0 && low != 0 => (has_frame, is_restored) = (true, false),
                _ => {}
            }
            rest = tail(rest, 2_usize);
        } else {
            let Some(word) = rest.first_chunk::<4>() else { break };
            let word = u32::from_le_bytes(*word);
            match word {
                // ret; a jump without a return address.
                0x0000_8067 => is_restored = false,
                _ if word & 0xfff == 0x06f => is_restored = false,
                // ld s0, n(sp)
                _ if word & 0xf_ffff == 0x1_3403 => is_restored = has_frame,
                // addi s0, sp, n
                _ if word & 0xf_ffff == 0x1_0413 => (has_frame, is_restored) = (true, false),
                _ => {}
            }
            rest = tail(rest, 4_usize);
        }
    }
    if has_frame && !is_restored { Place::Frame } else { Place::Link }
}

/// `mflr r0; std r0, 16(r1); stdu r1, -n(r1)` or, by clang, `mflr r0; stdu r1, -n(r1); std r0, n + 16(r1)`, and at the end
/// `addi r1, r1, n; ld r0, 16(r1); mtlr r0; blr`.
fn powerpc64(before: &[u8], order: Endianness) -> Place {
    const EPILOGUE: usize = 8;
    /// Where callers keep room for the link register, from their stack pointers on.
    const SAVED_LINK: u64 = 16;
    let makes_frame = |code: u32| code & 0xffff_0003 == 0xf821_0001;
    let drops_frame = |code: u32| code & 0xffff_8000 == 0x3821_0000;
    let restores = |code: u32| code == 0x7c08_03a6;
    let branches = |code: u32| matches!(code >> 26, 16 | 18) || code == 0x4e80_0020;
    let end: Vec<u32> = words(before, order).rev().take(EPILOGUE).take_while(|code| !branches(*code)).collect();
    if end.iter().copied().any(drops_frame) {
        return if end.iter().copied().any(restores) { Place::Link } else { Place::Stack(SAVED_LINK) };
    }
    // It is no other function's before there is a call.
    let saves_link = |code: u32| code & 0xffff_0003 == 0xf801_0000;
    let calls = |code: u32| code & 1 == 1 && matches!(code >> 26, 16 | 18 | 19);
    match words(before, order).any(makes_frame) {
        true if words(before, order).any(|code| saves_link(code) || calls(code)) => Place::Frame,
        true => Place::LinkAndFrame,
        false => Place::Link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_code_has_a_place(before: Vec<u8>, next: Vec<u8>, is_big: bool) {
            let order = if is_big { Endianness::Big } else { Endianness::Little };
            for architecture in Architecture::ALL {
                let place = caller(architecture, order, &before, &next);
                // What comes next on the stack is the return address, what the function has pushed, or its link.
                let offsets = [0, architecture.word_size() as u64, 16];
                prop_assert!(!matches!(place, Place::Stack(offset) if !offsets.contains(&offset)));
                let has_link = !matches!(architecture, Architecture::Amd64 | Architecture::I386 | Architecture::Arm);
                prop_assert!(!matches!(place, Place::Link | Place::LinkAndFrame) || has_link);
            }
        }
    }

    fn code(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn at(architecture: Architecture, code: &[u8], offset: usize) -> Place {
        caller(architecture, Endianness::Little, &code[..offset], &code[offset..])
    }

    #[test]
    fn amd64_has_its_frame_between_the_first_and_the_last_instructions() {
        // push %rbp; mov %rsp, %rbp; nop; pop %rbp; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0x90, 0x5d, 0xc3];
        let places = [0, 1, 4, 5, 6].map(|offset| at(Architecture::Amd64, &code, offset));
        assert_eq!(places, [Place::Stack(0), Place::Stack(8), Place::Frame, Place::Frame, Place::Stack(0)]);
    }

    #[test]
    fn arm64_has_its_frame_once_x29_is_set() {
        // paciasp; stp x29, x30, [sp, #-32]!; mov x29, sp; bl .; ldp x29, x30, [sp], #32; autiasp; ret
        let code = code(&[0xd503_233f, 0xa9be_7bfd, 0x9100_03fd, 0x9400_0000, 0xa8c2_7bfd, 0xd503_23bf, 0xd65f_03c0]);
        let places = [0, 4, 8, 12, 16, 20, 24].map(|offset| at(Architecture::Arm64, &code, offset));
        let expected = [Place::Link, Place::Link, Place::Link, Place::Frame, Place::Frame, Place::Link, Place::Link];
        assert_eq!(places, expected);
    }

    #[test]
    fn arm64_leaves_have_none() {
        // add x0, x0, x1; ret
        let code = code(&[0x8b01_0000, 0xd65f_03c0]);
        assert_eq!(at(Architecture::Arm64, &code, 0), Place::Link);
        assert_eq!(at(Architecture::Arm64, &code, 4), Place::Link);
    }

    #[test]
    fn riscv_has_its_frame_once_s0_is_set() {
        // addi sp, sp, -16; sd ra, 8(sp); sd s0, 0(sp); addi s0, sp, 16; nop; ld ra, 8(sp); ld s0, 0(sp); addi sp, sp, 16; ret
        let code: Vec<u8> = [0x1141_u16, 0xe406, 0xe022, 0x0800, 0x0001, 0x60a2, 0x6402, 0x0141, 0x8082]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let places = [0, 2, 4, 6, 8, 10, 12, 14, 16].map(|offset| at(Architecture::Riscv, &code, offset));
        let (link, frame) = (Place::Link, Place::Frame);
        assert_eq!(places, [link, link, link, link, frame, frame, frame, link, link]);
    }

    #[test]
    fn powerpc64_has_its_frame_between_stdu_and_addi() {
        // mflr r0; std r0, 16(r1); stdu r1, -112(r1); nop; addi r1, r1, 112; ld r0, 16(r1); mtlr r0; blr
        let code = code(&[
            0x7c08_02a6,
            0xf801_0010,
            0xf821_ff91,
            0x6000_0000,
            0x3821_0070,
            0xe801_0010,
            0x7c08_03a6,
            0x4e80_0020,
        ]);
        let places = [0, 8, 12, 16, 20, 28].map(|offset| at(Architecture::Powerpc64, &code, offset));
        let (link, frame, stack) = (Place::Link, Place::Frame, Place::Stack(16));
        assert_eq!(places, [link, link, frame, frame, stack, link]);
        // mflr r0; std r31, -8(r1); stdu r1, -96(r1); std r0, 112(r1); mr r31, r1
        let code = self::code(&[0x7c08_02a6, 0xfbe1_fff8, 0xf821_ffa1, 0xf801_0070, 0x7c3f_0b78]);
        let places = [0, 4, 8, 12, 16].map(|offset| at(Architecture::Powerpc64, &code, offset));
        assert_eq!(places, [link, link, link, Place::LinkAndFrame, frame]);
        // stdu r1, -96(r1); bl .; nop: out-of-line code has saved the link.
        let code = self::code(&[0xf821_ffa1, 0x4800_0001, 0x6000_0000]);
        let places = [4, 8].map(|offset| at(Architecture::Powerpc64, &code, offset));
        assert_eq!(places, [Place::LinkAndFrame, frame]);
    }
}
