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

/// What the code of a function tells of the place where it was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Where the caller is found.
    pub place: Place,
    /// The function has begun to make its frame, or to give it up, which compilers do not describe instruction by
    /// instruction.
    pub is_between: bool,
}

impl Site {
    /// In the function's frame, or before there is one.
    pub const fn new(place: Place) -> Self {
        Self { place, is_between: false }
    }

    const fn between(place: Place) -> Self {
        Self { place, is_between: true }
    }
}

/// Where the caller is found, by the code of the function from its beginning up to the place of the interruption, and by
/// what comes next.
pub fn caller(architecture: Architecture, order: Endianness, before: &[u8], next: &[u8]) -> Site {
    match architecture {
        Architecture::Amd64 => x86(before, next, 8, &[0x48, 0x89, 0xe5]),
        Architecture::I386 => x86(before, next, 4, &[0x89, 0xe5]),
        Architecture::Arm64 => arm64(before, next),
        Architecture::Riscv => riscv(before),
        Architecture::Powerpc64 => powerpc64(before, order),
        Architecture::Arm => arm(before, next, order),
    }
}

fn has_sequence(code: &[u8], first: u8, rest: &[u8]) -> bool {
    code.windows(rest.len() + 1).any(|window| window.first() == Some(&first) && window.ends_with(rest))
}

/// `push %rbp; mov %rsp, %rbp`, and at the end `pop %rbp; ret`.
fn x86(before: &[u8], next: &[u8], word: u64, set_frame: &[u8]) -> Site {
    const PUSH: u8 = 0x55;
    const RETURN: u8 = 0xc3;
    match next {
        [RETURN, ..] => Site::between(Place::Stack(0)),
        [PUSH, rest @ ..] if rest.starts_with(set_frame) => Site::new(Place::Stack(0)),
        next if next.starts_with(set_frame) => Site::new(Place::Stack(word)),
        _ if has_sequence(before, PUSH, set_frame) => Site::new(Place::Frame),
        // Code that comes before the frame or does without one, or is in assembly language.
        _ => Site::new(Place::Stack(0)),
    }
}

fn words(code: &[u8], order: Endianness) -> impl DoubleEndedIterator<Item = u32> {
    code.as_chunks::<4>().0.iter().map(move |bytes| order.u32(*bytes))
}

/// `push {..., fp, lr}; add fp, sp, #n`, and at the end `pop {..., fp, pc}`, or `pop {..., fp, lr}` and a jump.
fn arm(before: &[u8], next: &[u8], order: Endianness) -> Site {
    const FRAME: u32 = 0x4800;
    let pushes = |code: u32| code & 0xffff_0000 == 0xe92d_0000 && code & FRAME == FRAME;
    let restores = |code: u32| code & 0xffff_0000 == 0xe8bd_0000 && code & FRAME == FRAME;
    // add fp, sp, #n; mov fp, sp
    let sets_frame = |code: u32| code & 0xffff_f000 == 0xe28d_b000 || code == 0xe1a0_b00d;
    // push {lr}, as in code in assembly language.
    let saves = |code: u32| code & 0xffff_4000 == 0xe92d_4000 && code & FRAME != FRAME;
    let last = words(before, order).next_back();
    if last.is_some_and(restores) || words(next, order).next() == Some(0xe12f_ff1e) {
        return Site::between(Place::Link);
    }
    let has_pushed = words(before, order).any(pushes);
    match words(before, order).any(|code| sets_frame(code) || saves(code)) {
        true => Site::new(Place::Frame),
        false if has_pushed => Site::between(Place::Link),
        false => Site::new(Place::Link),
    }
}

/// `stp x29, x30, [sp, #-n]!; mov x29, sp`, and at the end `ldp x29, x30, [sp], #n; ret`.
fn arm64(before: &[u8], next: &[u8]) -> Site {
    /// Instructions between the frame's end and the return.
    const EPILOGUE: usize = 4;
    let sets_frame = |code: u32| code & 0xffc0_03ff == 0x9100_03fd;
    let restores = |code: u32| matches!(code & 0xffc0_7fff, 0xa8c0_7bfd | 0xa940_7bfd);
    // Branches, whose targets come after them, and calls.
    let jumps = |code: u32| code & 0x7c00_0000 == 0x1400_0000 || code & 0xfe00_0000 == 0xd600_0000;
    let returns = |code: u32| matches!(code, 0xd65f_03c0 | 0xd65f_0bff | 0xd65f_0fff);
    let order = Endianness::Little;
    let mut end = words(before, order).rev().take(EPILOGUE).take_while(|code| !jumps(*code) && !sets_frame(*code));
    if words(next, order).next().is_some_and(returns) || end.any(restores) {
        return Site::between(Place::Link);
    }
    Site::new(if words(before, order).any(sets_frame) { Place::Frame } else { Place::Link })
}

/// `addi sp, sp, -n; sd ra, ...; sd s0, ...; addi s0, sp, n`, and at the end `ld s0, ...; addi sp, sp, n; ret`.
fn riscv(before: &[u8]) -> Site {
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
    match (has_frame, is_restored) {
        (true, false) => Site::new(Place::Frame),
        (true, true) => Site::between(Place::Link),
        (false, _) => Site::new(Place::Link),
    }
}

/// `mflr r0; std r0, 16(r1); stdu r1, -n(r1)` or `mflr r0; stdu r1, -n(r1); std r0, n+16(r1)`, and at the end
/// `addi r1, r1, n; ld r0, 16(r1); mtlr r0; blr`. Functions that call none may make frames and save no return address.
fn powerpc64(before: &[u8], order: Endianness) -> Site {
    const EPILOGUE: usize = 8;
    /// Where callers keep room for the link register, from their stack pointers on.
    const SAVED_LINK: u64 = 16;
    let makes_frame = |code: u32| code & 0xffff_0003 == 0xf821_0001;
    let drops_frame = |code: u32| code & 0xffff_8000 == 0x3821_0000;
    let restores = |code: u32| code == 0x7c08_03a6;
    let branches = |code: u32| matches!(code >> 26, 16 | 18) || code == 0x4e80_0020;
    // std r0, n(r1)
    let saves = |code: u32| code & 0xffff_0003 == 0xf801_0000;
    let calls = |code: u32| matches!(code >> 26, 16 | 18 | 19) && code & 1 != 0;
    let is_in_link = !words(before, order).any(|code| saves(code) || calls(code));
    let end: Vec<u32> = words(before, order).rev().take(EPILOGUE).take_while(|code| !branches(*code)).collect();
    if end.iter().copied().any(drops_frame) {
        let is_restored = is_in_link || end.iter().copied().any(restores);
        return Site::between(if is_restored { Place::Link } else { Place::Stack(SAVED_LINK) });
    }
    match words(before, order).any(makes_frame) {
        true if is_in_link => Site::between(Place::LinkAndFrame),
        true => Site::new(Place::Frame),
        false => Site::new(Place::Link),
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
                let place = caller(architecture, order, &before, &next).place;
                // What comes next on the stack is the return address, what the function has pushed, or its link.
                let offsets = [0, architecture.word_size() as u64, 16];
                prop_assert!(!matches!(place, Place::Stack(offset) if !offsets.contains(&offset)));
                let has_link = !matches!(architecture, Architecture::Amd64 | Architecture::I386);
                prop_assert!(!matches!(place, Place::Link | Place::LinkAndFrame) || has_link);
            }
        }
    }

    fn code(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn at(architecture: Architecture, code: &[u8], offset: usize) -> Place {
        caller(architecture, Endianness::Little, &code[..offset], &code[offset..]).place
    }

    #[test]
    fn amd64_has_its_frame_between_the_first_and_the_last_instructions() {
        // push %rbp; mov %rsp, %rbp; nop; pop %rbp; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0x90, 0x5d, 0xc3];
        let places = [0, 1, 4, 5, 6].map(|offset| at(Architecture::Amd64, &code, offset));
        assert_eq!(places, [Place::Stack(0), Place::Stack(8), Place::Frame, Place::Frame, Place::Stack(0)]);
    }

    #[test]
    fn amd64_may_return_before_it_has_a_frame() {
        // test %rdi, %rdi; je .; push %rbp; mov %rsp, %rbp; nop
        let code = [0x48, 0x85, 0xff, 0x74, 0xfe, 0x55, 0x48, 0x89, 0xe5, 0x90];
        let places = [0, 3, 5, 6, 9].map(|offset| at(Architecture::Amd64, &code, offset));
        assert_eq!(places, [Place::Stack(0), Place::Stack(0), Place::Stack(0), Place::Stack(8), Place::Frame]);
    }

    #[test]
    fn arm_has_its_frame_once_fp_is_set() {
        // push {fp, lr}; add fp, sp, #0; nop; pop {fp, lr}; bx lr
        let framed = code(&[0xe92d_4800, 0xe28d_b000, 0xe320_f000, 0xe8bd_4800, 0xe12f_ff1e]);
        let places = [0, 4, 8, 12, 16].map(|offset| at(Architecture::Arm, &framed, offset));
        let (link, frame) = (Place::Link, Place::Frame);
        assert_eq!(places, [link, link, frame, frame, link]);
        // push {lr}; nop
        let assembly = code(&[0xe92d_4000, 0xe320_f000]);
        assert_eq!([0, 4].map(|offset| at(Architecture::Arm, &assembly, offset)), [link, frame]);
        // add r0, r0, r1; bx lr
        let leaf = code(&[0xe080_0001, 0xe12f_ff1e]);
        assert_eq!([0, 4].map(|offset| at(Architecture::Arm, &leaf, offset)), [link, link]);
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
    }

    #[test]
    fn powerpc64_saves_its_link_after_its_frame_or_not_at_all() {
        // mflr r0; stdu r1, -96(r1); std r0, 112(r1); bl .
        let saved = code(&[0x7c08_02a6, 0xf821_ffa1, 0xf801_0070, 0x4800_0001]);
        let places = [4, 8, 12].map(|offset| at(Architecture::Powerpc64, &saved, offset));
        assert_eq!(places, [Place::Link, Place::LinkAndFrame, Place::Frame]);
        // stdu r1, -96(r1); nop; addi r1, r1, 96; blr
        let leaf = code(&[0xf821_ffa1, 0x6000_0000, 0x3821_0060, 0x4e80_0020]);
        let places = [0, 4, 8, 12].map(|offset| at(Architecture::Powerpc64, &leaf, offset));
        assert_eq!(places, [Place::Link, Place::LinkAndFrame, Place::LinkAndFrame, Place::Link]);
        // stdu r1, -96(r1); bl .; nop: out-of-line code has saved the link.
        let called = code(&[0xf821_ffa1, 0x4800_0001, 0x6000_0000]);
        let places = [4, 8].map(|offset| at(Architecture::Powerpc64, &called, offset));
        assert_eq!(places, [Place::LinkAndFrame, Place::Frame]);
    }
}
