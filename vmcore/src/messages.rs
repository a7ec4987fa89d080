//! The kernel's messages: the ring of bytes that printf(9) and log(9) write them into, and the lines in it, as dmesg(8)
//! reads them.
//!
//! Sources: `sys/sys/msgbuf.h`, `sys/kern/subr_msgbuf.c`, `sys/kern/subr_prf.c`, `sys/sys/syslog.h`, `sbin/dmesg/dmesg.c`.

use crate::architecture::Endianness;
use crate::bounds::{saturating_usize, split_at_most, tail};
use std::time::Duration;

/// `MSG_MAGIC`, in each `struct msgbuf`.
pub const MSG_MAGIC: u32 = 0x06_3062;
/// A message buffer of more bytes is none: far more than `kern.msgbufsize` can sensibly be.
pub const MAX_SIZE: u32 = 64 << 20;

/// Sequence numbers count bytes modulo so many times the buffer's size (`SEQMOD`).
const SEQUENCE_SIZES: u64 = 16;

/// The first fields of a `struct msgbuf`, which all versions have alike. The kernel puts it right behind the ring that it
/// describes (`msgbufinit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// `msg_ptr`: where the bytes are.
    pub address: u64,
    /// `msg_size`: how many there are.
    pub size: u32,
    /// `msg_wseq`: how many were written, modulo a multiple of the size.
    written: u32,
}

impl Ring {
    /// Bytes that [`Self::decode`] looks at, whatever the size of a pointer.
    pub const LENGTH: usize = 24;

    /// Decodes a `struct msgbuf` of a kernel whose pointers have so many bytes.
    ///
    /// # Errors
    ///
    /// It is none, and why.
    pub fn decode(bytes: &[u8; Self::LENGTH], word_size: usize, order: Endianness) -> Result<Self, String> {
        let (pointer, rest) = split_at_most(bytes, word_size);
        let mut fields = rest.as_chunks().0.iter().map(|field| order.u32(*field));
        let [magic, size, written] = [(); 3].map(|()| fields.next().unwrap_or(0));
        if magic != MSG_MAGIC {
            return Err(format!("its magic is {magic:#x}, not {MSG_MAGIC:#x}"));
        }
        if size == 0 || size > MAX_SIZE {
            return Err(format!("a message buffer of {size} bytes"));
        }
        Ok(Self { address: order.number(pointer), size, written })
    }

    /// Where the next byte is written, which is the oldest one of a full ring.
    pub fn next(&self) -> usize {
        saturating_usize(self.written % self.size)
    }

    /// Bytes that were written from an earlier state on; `None` if the ring is another one, or none of it is left.
    pub fn written_since(&self, before: &Self) -> Option<usize> {
        let modulus = SEQUENCE_SIZES * u64::from(self.size);
        let written = (u64::from(self.written) % modulus + modulus - u64::from(before.written) % modulus) % modulus;
        let is_same = (self.address, self.size) == (before.address, before.size);
        (is_same && written < u64::from(self.size)).then(|| saturating_usize(written))
    }
}

/// What a kernel has said, as far as it is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageBuffer {
    bytes: Vec<u8>,
    /// Whether the ring is full: older messages are lost, and the first line may be the end of a longer one.
    pub is_full: bool,
    /// Whether the oldest messages come first. Otherwise they stand as in a ring of which it is not known where it begins.
    pub is_ordered: bool,
    /// Bytes of the ring that are not in the dump.
    pub missing: u64,
}

impl MessageBuffer {
    /// The contents of a ring, into which the next byte would be written at `next`, if that is known.
    pub fn from_ring(mut bytes: Vec<u8>, next: Option<usize>) -> Self {
        let is_full = match next.filter(|next| *next < bytes.len()) {
            Some(next) => {
                bytes.rotate_left(next);
                bytes.first().is_some_and(|oldest| *oldest != 0)
            }
            None => !bytes.is_empty() && !bytes.contains(&0),
        };
        Self { bytes, is_full, is_ordered: next.is_some() || !is_full, missing: 0 }
    }

    /// The contents of a ring that was read while the kernel wrote into it: how it was described before and after. `None` if
    /// too much was written to tell what is old.
    pub fn from_running(mut bytes: Vec<u8>, before: &Ring, after: &Ring) -> Option<Self> {
        let written = after.written_since(before)?;
        let (size, next) = (bytes.len(), after.next());
        let length = size.checked_sub(written)?;
        bytes.rotate_left(next.min(size));
        // Whether these are new or still the oldest ones is not known.
        bytes.truncate(length);
        Some(Self::from_ring(bytes, Some(0)))
    }

    /// The messages that a text dump has in its msgbuf.txt, the oldest ones first (`textdump_dump_msgbuf` in
    /// `sys/ddb/db_textdump.c`). It does not tell whether older ones are lost.
    pub fn from_text(bytes: Vec<u8>) -> Self {
        Self { bytes, is_full: false, is_ordered: true, missing: 0 }
    }

    /// The same where so many bytes of the ring are missing at its end: whether it is full is not known then.
    #[must_use]
    pub fn cut_off(self, missing: u64) -> Self {
        Self { is_full: self.is_full && missing == 0, missing, ..self }
    }

    /// All lines, those that other programs logged included. A kernel writes no NUL: where there are some, nothing was written
    /// yet.
    pub fn lines(&self) -> impl Iterator<Item = Message<'_>> {
        let runs = self.bytes.split(|byte| *byte == 0);
        runs.flat_map(|run| run.split_inclusive(|byte| *byte == b'\n')).map(Message::new)
    }

    /// The lines that dmesg(8) prints: those of the kernel.
    pub fn kernel_lines(&self) -> impl Iterator<Item = Message<'_>> {
        self.lines().filter(Message::is_kernel)
    }
}

/// A line of the kernel's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// What log(9) or syslog(3) gave it, or a program that wrote to the console: facility and level. The kernel's printf(9)
    /// gives none.
    pub priority: Option<u32>,
    /// The time since the system booted, where the kernel wrote that (`kern.msgbuf_show_timestamp`).
    pub uptime: Option<Duration>,
    /// The line as dmesg(8) prints it, without its end: with the time, and without the priority.
    pub line: &'a [u8],
    /// The line without either.
    pub text: &'a [u8],
}

impl<'a> Message<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (priority, line) = match priority(bytes) {
            Some((priority, rest)) => (Some(priority), rest),
            None => (None, bytes),
        };
        let end = line.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
        let (line, _) = split_at_most(line, end);
        let (uptime, text) = match uptime(line) {
            Some((uptime, rest)) => (Some(uptime), rest),
            None => (None, line),
        };
        Self { priority, uptime, line, text }
    }

    /// Whose message it is, `LOG_FAC`: 0, `LOG_KERN`, is the kernel.
    pub fn facility(&self) -> u32 {
        self.priority.map_or(0, |priority| (priority & 0x3f8) >> 3)
    }

    /// How urgent it is, `LOG_PRI`, from 0, `LOG_EMERG`, to 7, `LOG_DEBUG`; `None` where it has no priority.
    pub fn level(&self) -> Option<u32> {
        self.priority.map(|priority| priority & 7)
    }

    /// Whether the kernel said it, and no program.
    pub fn is_kernel(&self) -> bool {
        self.facility() == 0
    }

    /// Whether it is the first one of a kernel that boots. The buffer can keep messages of kernels that ran before.
    fn is_of_boot(&self) -> bool {
        [&b"---<<BOOT>>---"[..], b"Copyright (c) 1992-"].iter().any(|begin| self.text.starts_with(begin))
    }

    /// Whether a panic begins with it, or the description of the trap that leads to one (`trap_fatal`, `dblfault_handler`,
    /// `printtrap`, `data_abort` and `abort_fatal` of the architectures).
    fn begins_panic(&self) -> bool {
        const BEGINS: [&[u8]; 6] = [
            b"panic: ",
            b"Fatal trap ",
            b"Fatal double fault",
            b"Fatal data abort:",
            b"Fatal kernel mode ",
            b"fatal kernel trap:",
        ];
        self.is_kernel() && BEGINS.iter().any(|begin| self.text.starts_with(begin))
    }

    /// Whether it is the value of a register, as arm64 and riscv print all before they panic: ` x0: 0x10`, `t[0]: 0x10`.
    fn is_register(&self) -> bool {
        let Some(colon) = self.text.iter().position(|byte| *byte == b':') else { return false };
        let (name, value) = split_at_most(self.text, colon);
        let name = name.trim_ascii();
        let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"[]".contains(byte));
        self.is_kernel() && !name.is_empty() && is_name && value.starts_with(b": 0x")
    }
}

/// The index of the line that the last panic begins with, or the description of the trap that led to it. A kernel does not go
/// on after a panic: if several follow each other without a boot, the first one is the reason for the others.
pub fn panic(messages: &[Message<'_>]) -> Option<usize> {
    let last = messages.iter().rposition(Message::begins_panic)?;
    let (before, _) = split_at_most(messages, last);
    let boot = before.iter().rposition(Message::is_of_boot).unwrap_or(0);
    let first = boot + tail(messages, boot).iter().position(Message::begins_panic)?;
    let (before, _) = split_at_most(messages, first);
    let registers = before.iter().rev().take_while(|message| message.is_register()).count();
    Some(first - registers)
}

/// As [`panic()`], unless the kernel has booted since: a message buffer can keep what kernels said that ran before.
pub fn panic_since_boot(messages: &[Message<'_>]) -> Option<usize> {
    panic(messages).filter(|first| !tail(messages, *first).iter().any(Message::is_of_boot))
}

/// The priority before a line, `<N>`, and the line without it.
fn priority(line: &[u8]) -> Option<(u32, &[u8])> {
    let rest = line.strip_prefix(b"<")?;
    let (priority, rest) = number(rest)?;
    let priority = u32::try_from(priority).ok().filter(|priority| *priority < i32::MAX.cast_unsigned())?;
    Some((priority, rest.strip_prefix(b">")?))
}

/// The time before a line, `[seconds] ` or `[seconds.microseconds] `, and the line without it.
fn uptime(line: &[u8]) -> Option<(Duration, &[u8])> {
    let (seconds, rest) = number(line.strip_prefix(b"[")?)?;
    let (microseconds, rest) = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let (microseconds, behind) = number(fraction)?;
            (fraction.len() - behind.len() == 6).then_some((microseconds, behind))?
        }
        None => (0, rest),
    };
    let uptime = Duration::from_secs(seconds).checked_add(Duration::from_micros(microseconds))?;
    Some((uptime, rest.strip_prefix(b"] ")?))
}

/// The decimal number before what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(ring: &[u8], next: Option<usize>) -> Vec<String> {
        let buffer = MessageBuffer::from_ring(ring.to_vec(), next);
        buffer.kernel_lines().map(|message| String::from_utf8(message.line.to_vec()).unwrap()).collect()
    }

    fn ring(size: u32, written: u32) -> Ring {
        Ring { address: 0x1000, size, written }
    }

    #[test]
    fn a_ring_is_read_from_its_oldest_byte_on() {
        assert_eq!(lines(b"one\ntwo\n\0\0\0\0", Some(8)), ["one", "two"]);
        assert_eq!(lines(b"one\ntwo\n\0\0\0\0", None), ["one", "two"]);
        assert_eq!(lines(b"hree\none\ntwo\nt", Some(5)), ["one", "two", "three"]);
        let of = |ring: &[u8], next| {
            let buffer = MessageBuffer::from_ring(ring.to_vec(), next);
            (buffer.is_full, buffer.is_ordered)
        };
        assert_eq!((of(b"ab\n", Some(1)), of(b"ab\n", None)), ((true, true), (true, false)));
        assert_eq!((of(b"ab\n\0", Some(3)), of(b"ab\n\0", None)), ((false, true), (false, true)));
        assert_eq!((of(b"", None), of(b"\0\0", Some(0))), ((false, true), (false, true)));
    }

    #[test]
    fn what_is_written_while_the_ring_is_read_is_left_out() {
        let of = |bytes: &[u8], before, after| {
            let buffer = MessageBuffer::from_running(bytes.to_vec(), &ring(12, before), &ring(12, after))?;
            Some(buffer.lines().map(|message| message.text.to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(of(b"one\ntwo\n\0\0\0\0", 8, 8).unwrap(), [b"one", b"two"]);
        // The last four bytes are written meanwhile; the sequence number comes round with them.
        assert_eq!(of(b"one\ntwo\nnew\n", 188, 0).unwrap(), [b"one", b"two"]);
        assert_eq!(of(b"one\ntwo\nnew\n", 0, 12), None);
        // It was cleared.
        assert_eq!(of(b"one\ntwo\nnew\n", 100, 0), None);
        assert_eq!(ring(12, 1).written_since(&Ring { address: 0x2000, ..ring(12, 0) }), None);
    }

    #[test]
    fn priorities_and_times_are_those_that_the_kernel_writes() {
        let one = |line: &'static [u8]| Message::new(line);
        let parts = |line| {
            let message = one(line);
            (message.priority, message.uptime.map(|uptime| uptime.as_micros()), message.text)
        };
        assert_eq!(parts(b"plain\n"), (None, None, &b"plain"[..]));
        assert_eq!(parts(b"<6>[12.000345] text\r\n"), (Some(6), Some(12_000_345), &b"text"[..]));
        assert_eq!(parts(b"[7] text"), (None, Some(7_000_000), &b"text"[..]));
        assert_eq!(one(b"<6>[7] text").line, b"[7] text");
        for line in [
            &b"<>x"[..],
            b"<-1>x",
            b"<+1>x",
            b"<6x",
            b"<2147483647>x",
            b"<99999999999999999999999>x",
            b"[] x",
            b"[1.5] x",
            b"[1.0000000] x",
            b"[drm] x",
            b"[1]x",
            b"[18446744073709551615.999999999999999999999] x",
        ] {
            assert_eq!(parts(line), (None, None, line));
        }
        assert_eq!(parts(b"[18446744073709551615.999999] x").1, Some(18_446_744_073_709_551_615_999_999));
        let of = |line| (one(line).facility(), one(line).level(), one(line).is_kernel());
        assert_eq!((of(b"x"), of(b"<7>x"), of(b"<8>x")), ((0, None, true), (0, Some(7), true), (1, Some(0), false)));
        // The facility has seven bits, and dmesg(8) looks at no others.
        assert_eq!((of(b"<118>x"), of(b"<1029>x")), ((14, Some(6), false), (0, Some(5), true)));
    }

    #[test]
    fn a_panic_begins_with_its_trap() {
        let from = |text: &[u8]| {
            let buffer = MessageBuffer::from_ring(text.to_vec(), None);
            let messages: Vec<Message<'_>> = buffer.lines().collect();
            panic(&messages).map(|index| String::from_utf8(messages[index].text.to_vec()).unwrap())
        };
        for (text, begin) in [
            (&b"boot\n"[..], None),
            (b"panic: page fault\ncpuid = 1\n", Some("panic: page fault")),
            (b"don't panic: no\n<118>panic: of a program\n", None),
            (b"x\n\nFatal trap 12: page fault\ncpuid = 1\n\npanic: page fault\n", Some("Fatal trap 12: page fault")),
            (b"Fatal double fault\nrip 0x1\npanic: double fault\n", Some("Fatal double fault")),
            (b"fatal kernel trap:\n\n   exception = 0x300\n\npanic: it\n", Some("fatal kernel trap:")),
            (b"usb: 0x1 y\nlo0\n  x0: 0x0000 (a + 0x1)\n esr: 0x96\npanic: vm_fault\n", Some("  x0: 0x0000 (a + 0x1)")),
            (b"   t[0]: 0x1\nstval  : 0x10\npanic: Fatal page fault\n", Some("   t[0]: 0x1")),
            (b"[1.000000] panic: first\n[2.000000] panic: second\n", Some("panic: first")),
            (b"Fatal trap 9: old\n---<<BOOT>>---\npanic: new\n", Some("panic: new")),
            (b"panic: old\nCopyright (c) 1992-2025 x\npanic: new\n", Some("panic: new")),
            (b"panic: old\n---<<BOOT>>---\nall is well\n", Some("panic: old")),
            (b"Fatal trap 12: into the debugger\ncpuid = 1\n", Some("Fatal trap 12: into the debugger")),
        ] {
            assert_eq!(from(text).as_deref(), begin, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_struct_msgbuf_is_read_with_pointers_of_both_sizes() {
        let of = |word: usize, order: Endianness, fields: [u32; 4]| {
            let bytes = |value: u64, size: usize| match order {
                Endianness::Little => value.to_le_bytes()[..size].to_vec(),
                Endianness::Big => value.to_be_bytes()[8 - size..].to_vec(),
            };
            let mut all = bytes(0x9000_1000, word);
            fields.iter().for_each(|field| all.extend(bytes((*field).into(), 4)));
            all.resize(Ring::LENGTH, 0xaa);
            Ring::decode(all.first_chunk().unwrap(), word, order)
        };
        for word in [4, 8] {
            for order in [Endianness::Little, Endianness::Big] {
                let ring = of(word, order, [MSG_MAGIC, 100, 250, 7]).unwrap();
                assert_eq!((ring.address, ring.size, ring.next()), (0x9000_1000, 100, 50));
                assert!(of(word, order, [1, 100, 0, 0]).unwrap_err().contains("magic is 0x1"));
                for size in [0, MAX_SIZE + 1, u32::MAX] {
                    assert!(of(word, order, [MSG_MAGIC, size, 0, 0]).unwrap_err().contains("bytes"), "{size}");
                }
            }
        }
    }
}
