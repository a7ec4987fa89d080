//! The messages of a kernel: of minidumps, which have them beside their memory, of other dumps and of recorded machines.

use crate::common::{Run, command, demo, directory, memtool, on_terminal_of, text, write_file};
use crate::ps::Memory;
use serde_json::{Value, json};
use std::path::PathBuf;
use vmcore_synth::device::{text_archive, text_device};
use vmcore_synth::image::{self, AMD64, ET_EXEC, GLOBAL, Image, OBJECT, SHF_WRITE, section, symbol};
use vmcore_synth::kerneldump::Compression;
use vmcore_synth::{Arch, ElfSpec, Endianness, KernelMemory, MinidumpSpec, Paging, every_variant};

/// `MSG_MAGIC`.
const MAGIC: u64 = 0x06_3062;

/// A `struct msgbuf` (`sys/sys/msgbuf.h`), whose last members are a `struct mtx`.
fn msgbuf(arch: Arch, order: Endianness, address: u64, size: u64, written: u64) -> Vec<u8> {
    let mut bytes = order.bytes(address, arch.word());
    for field in [MAGIC, size, written, 0, 0, 16 * size, u64::from(u32::MAX), 0] {
        bytes.extend(order.bytes(field, 4));
    }
    bytes.resize(if arch.is_32_bit() { 56 } else { 72 }, 0);
    bytes
}

/// A ring of so many bytes into which a text was written, and how much that was.
fn ring(size: usize, text: &[u8]) -> (Vec<u8>, u64) {
    let mut bytes = vec![0; size];
    text.iter().enumerate().for_each(|(index, byte)| bytes[index % size] = *byte);
    (bytes, (text.len() % (16 * size)) as u64)
}

/// A minidump as a kernel writes it: its `struct msgbuf` follows the ring.
fn crash(spec: &MinidumpSpec, said: &[u8]) -> Vec<u8> {
    let behind = msgbuf(spec.arch, spec.order, 0, 0, 0).len();
    let size = spec.page_size as usize - behind;
    let (bytes, written) = ring(size, said);
    let spec = MinidumpSpec { message_buffer: bytes, ..spec.clone() };
    let mut dump = spec.build();
    let at = spec.parts().message_buffer.end;
    dump[at..at + behind].copy_from_slice(&msgbuf(spec.arch, spec.order, 0xffff_0000, size as u64, written));
    dump
}

/// A live dump of the kernel's: nothing follows the ring that belongs to it.
fn live(said: &[u8]) -> Vec<u8> {
    MinidumpSpec { message_buffer: ring(4024, said).0, ..MinidumpSpec::example(Arch::Amd64, 3) }.build()
}

fn amd64(said: &[u8]) -> Vec<u8> {
    crash(&MinidumpSpec::example(Arch::Amd64, 3), said)
}

#[track_caller]
fn dmesg(dump: &[u8], options: &[&str]) -> Run {
    let directory = directory();
    let file = write_file(directory.path(), dump);
    memtool(&[&["dmesg", "--core", text(&file)], options].concat())
}

/// Numbered lines, more than a page of any size has room for.
fn many() -> (Vec<u8>, String) {
    let lines: Vec<String> = (0..2000).map(|number| format!("message {number:04}\n")).collect();
    (lines.concat().into_bytes(), lines.last().unwrap().trim_end().to_owned())
}

#[test]
fn a_ring_that_came_round_is_printed_from_its_oldest_byte_on_in_dumps_of_every_kind() {
    let (said, last) = many();
    for (name, spec) in every_variant() {
        let run = dmesg(&crash(&spec, &said), &[]).ok();
        let lines = run.lines();
        assert_eq!(lines.last(), Some(&last.as_str()), "{name}");
        let whole: Vec<&&str> = lines.iter().skip(1).collect();
        assert!(whole.is_sorted() && whole.iter().all(|line| line.len() == last.len()), "{name}: {lines:?}");
        assert!(run.stderr.contains("the message buffer is full: older messages are lost"), "{name}: {}", run.stderr);
        assert!(!run.stderr.contains("may come first"), "{name}: {}", run.stderr);
        let run = dmesg(&crash(&spec, b"one\ntwo"), &[]).ok();
        assert_eq!((run.lines(), run.stderr.as_str()), (vec!["one", "two"], ""), "{name}");
    }
}

#[test]
fn a_struct_msgbuf_that_is_not_the_rings_is_not_used() {
    let (said, _) = many();
    let dump = amd64(&said);
    let at = MinidumpSpec { message_buffer: vec![0; 4024], ..MinidumpSpec::example(Arch::Amd64, 3) }.parts();
    let at = at.message_buffer.end;
    for (offset, value) in [(8, 0_u32), (12, 0), (12, u32::MAX), (12, 4023)] {
        let mut dump = dump.clone();
        dump[at + offset..at + offset + 4].copy_from_slice(&value.to_le_bytes());
        let run = dmesg(&dump, &["--json"]).ok();
        let found = run.json();
        assert_eq!((&found["ordered"], &found["full"]), (&json!(false), &json!(true)), "{offset}: {value}");
    }
    // Any sequence number is a place in the ring.
    let mut odd = dump;
    odd[at + 16..at + 20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(dmesg(&odd, &["--json"]).ok().json()["ordered"], json!(true));
}

#[test]
fn lines_of_programs_are_left_out_unless_all_are_wanted() {
    let said =
        b"boot\n<2>kernel speaks\n<14>daemon speaks\n<118>console\n[12] plain\n<6>[13.000250] timed\n<x>odd\r\n\nend\n";
    let kernel = ["boot", "kernel speaks", "[12] plain", "[13.000250] timed", "<x>odd", "", "end"];
    assert_eq!(dmesg(&amd64(said), &[]).ok().lines(), kernel);
    let all = dmesg(&amd64(said), &["-a"]).ok();
    assert_eq!(all.lines()[..4], ["boot", "kernel speaks", "daemon speaks", "console"]);
    let found = dmesg(&amd64(said), &["--all", "--json"]).ok().json();
    assert_eq!((&found["full"], &found["ordered"], &found["bytes_missing"]), (&json!(false), &json!(true), &json!(0)));
    let message = |index: usize| found["messages"][index].clone();
    let expected = |priority: Value, facility: Value, level: Value, seconds: Value, text: &str| {
        json!({
            "priority": priority, "facility": facility, "level": level, "since_boot_seconds": seconds, "text": text
        })
    };
    assert_eq!(message(0), expected(json!(null), json!(null), json!(null), json!(null), "boot"));
    assert_eq!(message(1), expected(json!(2), json!("kern"), json!("crit"), json!(null), "kernel speaks"));
    assert_eq!(message(2), expected(json!(14), json!("user"), json!("info"), json!(null), "daemon speaks"));
    assert_eq!(message(3), expected(json!(118), json!("console"), json!("info"), json!(null), "console"));
    assert_eq!(message(4), expected(json!(null), json!(null), json!(null), json!(12.0), "plain"));
    assert_eq!(message(5), expected(json!(6), json!("kern"), json!("info"), json!(13.00025), "timed"));
}

#[test]
fn bytes_that_are_no_text_are_printed_without_harm_and_kept_in_json() {
    let said = b"caf\xc3\xa9 \\_SB\nlatin \xe9\x80!\nred \x1b[31m\xe2\x80\xae\n";
    let expected = ["caf\u{e9} \\_SB", "latin \\xe9\\x80!", "red \\u{1b}[31m\\u{202e}"];
    assert_eq!(dmesg(&amd64(said), &[]).ok().lines(), expected);
    let directory = directory();
    let file = write_file(directory.path(), &amd64(said));
    assert_eq!(
        on_terminal_of(None, command().args(["dmesg", "-M", text(&file)])).lines().collect::<Vec<_>>(),
        expected
    );
    let inspected = memtool(&["inspect", "--msgbuf", text(&file)]).ok();
    assert_eq!(inspected.lines(), expected);
    let found = dmesg(&amd64(said), &["--json"]).ok().json();
    assert_eq!(found["messages"][1]["text"], json!(b"latin \xe9\x80!"));
}

#[test]
fn messages_begin_with_the_last_panic() {
    let said = b"panic: of a boot before\n---<<BOOT>>---\nall is well\n<118>panic: of a program\n\n\nFatal trap 12: page fault\ncpuid = 1\n\
        <118>console\npanic: page fault\nUptime: 15s\n";
    let from = ["Fatal trap 12: page fault", "cpuid = 1", "panic: page fault", "Uptime: 15s"];
    assert_eq!(dmesg(&amd64(said), &["--panic"]).ok().lines(), from);
    assert_eq!(dmesg(&amd64(said), &["--panic", "-a"]).ok().lines().len(), 5);
    let found = dmesg(&amd64(said), &["--panic", "--json"]).ok().json();
    assert_eq!(found["messages"].as_array().unwrap().len(), from.len());
    dmesg(&amd64(b"all is well\n<118>panic: of a program\n"), &["--panic"])
        .fails_saying(&["there is no panic among the messages"]);
    dmesg(&amd64(b""), &["--panic", "--json"]).fails_saying(&["there is no panic among the messages"]);
}

#[test]
fn a_dump_that_ends_within_its_messages_shows_those_that_it_has() {
    let (said, _) = many();
    let dump = amd64(&said[..3900]);
    let cut = &dump[..4096 + 1313];
    let run = dmesg(cut, &[]).exits(1);
    assert_eq!(run.lines().len(), 1313_usize.div_ceil(13));
    assert!(run.stderr.contains("is damaged: message buffer"), "{}", run.stderr);
    let found = dmesg(cut, &["--json"]).exits(1).json();
    assert_eq!((&found["bytes_missing"], &found["full"]), (&json!(4024 - 1313), &json!(false)));
    let directory = directory();
    let file = write_file(directory.path(), cut);
    assert_eq!(memtool(&["inspect", "--msgbuf", text(&file)]).exits(1).lines().len(), 1313_usize.div_ceil(13));
    // A header that lies of a size allocates nothing of it.
    for size in [u32::MAX, 64 << 20] {
        let mut lying = dump.clone();
        lying[28..32].copy_from_slice(&size.to_le_bytes());
        dmesg(&lying, &[]).exits(1);
    }
}

/// A kernel in a full dump: its variables, and its message buffer behind page tables.
struct Full {
    directory: tempfile::TempDir,
    memory: KernelMemory,
}

const VERSION: &[u8] = b"FreeBSD 15.1-RELEASE dmesg test\n\0";
const LOADED: u64 = 0x20_0000;
const LINKED: u64 = 0xffff_ffff_8020_0000;
const BUFFER: u64 = 0xffff_fe00_4000_0000;
/// Bytes from the beginning of the image.
const MSGBUFP: u64 = 0x100;
const ROOT: u64 = 0x108;
/// Bytes of the ring, and where the `struct msgbuf` is from its beginning.
const SIZE: usize = 8192 - 72;

impl Full {
    fn new(said: &[u8]) -> Self {
        let tables = LOADED + 0x1_0000;
        let mut memory = KernelMemory::new(Paging::Amd64, &[(LOADED, LOADED + 0x10_0000)], tables);
        memory.map(LINKED, LOADED, 3, true, false);
        // Pages that lie together virtually only.
        memory.map(BUFFER, LOADED + 0x5000, 3, true, false);
        memory.map(BUFFER + 0x1000, LOADED + 0x3000, 3, true, false);
        memory.write(LOADED, VERSION);
        memory.set(LOADED + MSGBUFP, BUFFER + SIZE as u64, 8);
        memory.set(LOADED + ROOT, tables, 8);
        let (mut bytes, written) = ring(SIZE, said);
        bytes.extend(msgbuf(Arch::Amd64, Endianness::Little, BUFFER, SIZE as u64, written));
        memory.write(LOADED + 0x5000, &bytes[..4096]);
        memory.write(LOADED + 0x3000, &bytes[4096..]);
        Self { directory: directory(), memory }
    }

    /// Changes a field of the `struct msgbuf`.
    fn set(mut self, offset: u64, value: u64, size: usize) -> Self {
        self.memory.set(LOADED + 0x3000 + SIZE as u64 % 4096 + offset, value, size);
        self
    }

    fn kernel(&self) -> PathBuf {
        let object = |name, at, size| symbol(name, (GLOBAL, OBJECT), 1, LINKED + at, size);
        let mut data = vec![0; 0x200];
        data[..VERSION.len()].copy_from_slice(VERSION);
        let symbols = vec![
            object("version", 0, VERSION.len() as u64),
            object("msgbufp", MSGBUFP, 8),
            object("KPML4phys", ROOT, 8),
        ];
        let sections = vec![section(".data", SHF_WRITE, LINKED, data)];
        image::write(self.directory.path(), "kernel", &Image::new(AMD64, ET_EXEC, sections, symbols))
    }

    #[track_caller]
    fn run(&self, dump: &[u8], options: &[&str]) -> Run {
        let file = write_file(self.directory.path(), dump);
        memtool(&[&["dmesg", "-M", text(&file), "-N", text(&self.kernel())], options].concat())
    }

    fn elf(&self) -> Vec<u8> {
        ElfSpec { segments: self.memory.segments(), ..ElfSpec::example(Arch::Amd64) }.build()
    }
}

#[test]
fn messages_of_full_dumps_and_images_are_found_through_the_kernels_symbols() {
    let (said, last) = many();
    let full = Full::new(&said);
    for (what, dump) in [("full dump", full.elf()), ("LiME", full.memory.lime()), ("raw", full.memory.padded())] {
        let run = full.run(&dump, &["-q"]).ok();
        let expected = String::from_utf8_lossy(&said[said.len() - SIZE..]).into_owned();
        assert_eq!(run.lines(), expected.lines().collect::<Vec<_>>(), "{what}");
        assert_eq!(run.lines().last(), Some(&last.as_str()), "{what}");
        assert_eq!(full.run(&dump, &["--json"]).ok().json()["full"], json!(true), "{what}");
    }
    let run = Full::new(b"short\n");
    assert_eq!(run.run(&run.elf(), &[]).ok().lines(), ["short"]);
    dmesg(&full.elf(), &[]).fails_saying(&["give its kernel with --kernel"]);
}

#[test]
fn a_message_buffer_that_is_none_is_refused() {
    for (offset, value, size, why) in [
        (8, 0x063_063, 4, "its magic is 0x63063, not 0x63062"),
        (12, 0, 4, "a message buffer of 0 bytes"),
        (12, 0xffff_ffff, 4, "a message buffer of 4294967295 bytes"),
        (12, 64 << 20, 4, "not mapped"),
        (0, 0x1000, 8, "not mapped"),
        (0, u64::MAX - 100, 8, "not mapped"),
    ] {
        let full = Full::new(b"said\n").set(offset, value, size);
        full.run(&full.elf(), &[]).fails_saying(&[why]);
    }
    // Where the sequence number is beyond its modulus, its place in the ring is still one.
    let full = Full::new(b"said\n").set(16, 0xffff_fff0, 4);
    full.run(&full.elf(), &[]).ok();
}

#[test]
fn a_live_dump_does_not_tell_where_its_ring_begins() {
    let (said, last) = many();
    let run = dmesg(&live(&said), &[]).ok();
    assert!(run.stderr.contains("older messages are lost, and the newest messages may come first"), "{}", run.stderr);
    assert_ne!(run.lines().last(), Some(&last.as_str()));
    let found = dmesg(&live(&said), &["--json"]).ok().json();
    assert_eq!((&found["full"], &found["ordered"]), (&json!(true), &json!(false)));
    let run = dmesg(&live(b"short\n"), &[]).ok();
    assert_eq!((run.lines(), run.stderr.as_str()), (vec!["short"], ""));
}

/// With the kernel's symbols, the `struct msgbuf` in its memory tells; without one that fits, nothing does.
#[test]
fn the_memory_of_a_live_dump_tells_where_its_ring_begins() {
    let (said, last) = many();
    for (size, is_ordered) in [(4024, true), (4023, false)] {
        let (bytes, written) = ring(4024, &said);
        let mut memory = Memory::blank(Arch::Amd64, 8);
        memory.spec.message_buffer = bytes;
        let variable = memory.variable("msgbufp", 8);
        let at = memory.room(72);
        memory.pointer(variable, at);
        memory.put(at, &msgbuf(Arch::Amd64, Endianness::Little, 0, size, written));
        let directory = directory();
        let file = |name: &str, bytes| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let (core, kernel) = (file("core", memory.dump()), file("kernel", memory.image()));
        let run = memtool(&["dmesg", "-M", text(&core), "-N", text(&kernel)]).ok();
        assert_eq!(run.lines().last() == Some(&last.as_str()), is_ordered, "{size}");
        assert_eq!(run.stderr.contains("may come first"), !is_ordered, "{}", run.stderr);
    }
}

#[test]
fn a_recorded_machine_has_messages() {
    let run = demo(&["dmesg"]).ok();
    assert_eq!(run.lines()[0], "---<<BOOT>>---");
    let found = demo(&["dmesg", "--json"]).ok().json();
    assert_eq!((&found["host"], &found["full"], &found["ordered"]), (&json!("recorded"), &json!(false), &json!(true)));
    demo(&["dmesg", "--panic"]).fails_saying(&["there is no panic among the messages"]);
    demo(&["dmesg", "-c"]).usage_error(&["-c"]);
}

/// A text dump as savecore(8) leaves it, whose messages are not its first file.
fn text_dump(said: &[u8]) -> Vec<u8> {
    text_archive(&[("ddb.txt", &[b'd'; 700]), ("msgbuf.txt", said), ("panic.txt", b"page fault")])
}

#[test]
fn a_text_dump_has_messages_in_a_file() {
    let (said, last) = many();
    let dump = text_dump(&said);
    let run = dmesg(&dump, &[]).ok();
    assert_eq!(run.lines(), String::from_utf8_lossy(&said).lines().collect::<Vec<_>>());
    assert_eq!((run.lines().last(), run.stderr.as_str()), (Some(&last.as_str()), ""));
    for compression in [Compression::Gzip, Compression::Zstd] {
        assert_eq!(dmesg(&compression.compress(&dump), &[]).ok().stdout, run.stdout, "{compression:?}");
    }
    let spoken = text_dump(b"<118>a program\n[1.000002] boot\npanic: page fault\nUptime: 1s\n");
    assert_eq!(dmesg(&spoken, &["--panic"]).ok().lines(), ["panic: page fault", "Uptime: 1s"]);
    let found = dmesg(&spoken, &["--json", "-a"]).ok().json();
    assert_eq!((&found["ordered"], &found["full"], &found["host"]), (&json!(true), &json!(false), &json!("image")));
    assert_eq!(found["messages"][0]["facility"], json!("console"));

    // On its device it is backwards.
    let device = text_device(Arch::Amd64, 4, &[("ddb.txt", b"x"), ("msgbuf.txt", &said)]).build();
    let on_device = dmesg(&device, &[]).ok();
    assert_eq!(on_device.stdout, run.stdout);
}

#[test]
fn a_text_dump_without_messages_or_cut_off_says_so() {
    dmesg(&text_archive(&[("panic.txt", b"page fault")]), &[]).fails_saying(&["the text dump has no msgbuf.txt"]);
    let said = b"0123456789abcde\n".repeat(100);
    let dump = text_dump(&said);
    // The header and two blocks of the first file come before it.
    let begin = 512 + 1024 + 512;
    for (length, expected) in [(begin, 0), (begin + 1, 1), (begin + 512, 32), (begin + 1111, 70), (begin + 1600, 100)] {
        let run = dmesg(&dump[..length], &[]).exits(i32::from(expected < 100));
        assert_eq!(run.lines().len(), expected, "{length}");
        assert!(run.stderr.contains("is damaged: text dump"), "{}", run.stderr);
    }
    // A size that a header claims takes no memory.
    let mut lying = dump;
    lying[512 + 1024 + 124..][..12].copy_from_slice(b"77777777777\0");
    let found = dmesg(&lying, &["--json"]).exits(1).json();
    assert!(found["bytes_missing"].as_u64().unwrap() > 8_500_000_000, "{}", found["bytes_missing"]);
}
