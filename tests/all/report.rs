//! Reports of crashes: what they have of which dump, in which form, and what tells one bug from another.

use crate::common::{Run, directory, memtool, names, text, write_file};
use crate::stack::{AMD64, CPUS, Cpu, Files, Kernel, crashed, fault, interrupt};
use serde_json::Value;
use std::fs;
use std::path::Path;
use unicode_width::UnicodeWidthStr;
use vmcore_synth::device::{DumpDevice, text_archive, text_device};
use vmcore_synth::{Arch, ElfSpec, KernelDumpHeader, MinidumpSpec, every_variant};

/// What the sections are called that every report of a crash has, in their order.
pub const TITLES: [&str; 13] = [
    "Dump",
    "Panic",
    "Fingerprint",
    "Stack of the thread that panicked",
    "Stacks of the other CPUs",
    "Stacks of the other threads",
    "Processes",
    "Messages before the panic",
    "Load and memory",
    "What the kernel counts and holds",
    "Configuration of the kernel",
    "Modules",
    "Output of the kernel's debugger",
];

/// The files of [`crashed`].
pub fn crash() -> tempfile::TempDir {
    let directory = directory();
    let (core, kernel) = crashed();
    fs::write(directory.path().join("core"), core).unwrap();
    fs::write(directory.path().join("kernel"), kernel).unwrap();
    directory
}

#[track_caller]
pub fn report(directory: &Path, options: &[&str]) -> Run {
    let [core, kernel] = ["core", "kernel"].map(|name| directory.join(name));
    memtool(&[&["report", text(&core), "--kernel", text(&kernel)], options].concat())
}

/// The titles of a report's sections; its lines have no more than 80 columns, and nothing for terminals.
#[track_caller]
fn titles(report: &str) -> Vec<&str> {
    for line in report.lines() {
        assert!(line.width() <= 80 && !line.contains(|c: char| c.is_control()), "{line:?}");
    }
    let lines: Vec<&str> = report.lines().collect();
    lines.windows(2).filter(|pair| pair[0] == "-".repeat(72)).map(|pair| pair[1]).collect()
}

/// The lines of a section.
#[track_caller]
fn section<'a>(report: &'a str, title: &str) -> Vec<&'a str> {
    let begin = format!("{}\n{title}\n\n", "-".repeat(72));
    let (_, rest) = report.split_once(&begin).unwrap_or_else(|| panic!("no section {title}: {report}"));
    let end = format!("\n{}\n", "-".repeat(72));
    rest.split(&end).next().unwrap().lines().collect()
}

impl Kernel {
    /// What the kernel panicked with.
    fn panicked_with(&mut self, message: &[u8]) {
        let (panicstr, at) = (self.memory.variable("panicstr", 8), self.memory.room(256));
        self.memory.put(at, message);
        self.memory.pointer(panicstr, at);
    }

    /// A kernel of other addresses.
    fn elsewhere(cpu: Cpu) -> Self {
        let mut kernel = Self::new(cpu);
        kernel.memory.room(0x3210);
        kernel
    }
}

/// The fingerprint in a report, and what it is made of; without a panic, why there is none.
#[track_caller]
fn fingerprint(files: &Files) -> Result<(String, Vec<String>), String> {
    let document = report(files.directory.path(), &["--json"]).json();
    let found = &document["fingerprint"];
    if found.is_null() {
        let missing = document["missing"].as_array().unwrap().iter();
        let why = missing.filter(|missing| missing["part"] == "fingerprint").map(|missing| missing["why"].as_str());
        return Err(why.flatten().collect());
    }
    assert_eq!(found["basis"], "stack", "{document:#}");
    let parts = found["parts"].as_array().unwrap().iter().map(|part| part.as_str().unwrap().to_owned()).collect();
    Ok((found["value"].as_str().unwrap().to_owned(), parts))
}

/// The fingerprint of a kernel whose thread that dumped has this stack, from the innermost function on.
#[track_caller]
fn of_stack(kernel: &mut Kernel, stack: &[&str]) -> (String, Vec<String>) {
    let mut frames = kernel.in_call();
    let (first, callers) = stack.split_first().unwrap();
    let callers: Vec<&str> = callers.iter().rev().copied().collect();
    kernel.calls(&mut frames, &callers);
    kernel.panicked_with(b"it");
    let pc = kernel.at(first);
    kernel.dumper(47, 100_060, b"sysctl", &frames, pc);
    fingerprint(&kernel.files()).unwrap()
}

#[test]
fn a_report_has_everything_in_crashinfos_order() {
    let directory = crash();
    let run = report(directory.path(), &[]).ok();
    assert_eq!(titles(&run.stdout), TITLES);
    let of = |title| section(&run.stdout, title);
    assert!(run.lines()[0].ends_with(", 2026-11-28T21:01:15Z"), "{run:?}");
    for fact in ["dump          minidump, amd64 version 3", "uptime        00:06:12", "panic         page fault"] {
        assert!(of("Dump").contains(&fact), "{run:?}");
    }
    let panic = of("Panic");
    let facts = [
        "panic   page fault",
        "thread  PID 812, TID 100092, sysctl, CPU 0, dumping",
        "trap    exception 0xc: page fault at address 0x10",
        "in      kdb_sysctl_trap+0x40",
        "",
        "Fatal trap 12: page fault while in kernel mode",
    ];
    assert_eq!(panic[..6], facts);
    assert_eq!(panic[8], "fault code              = supervisor read data, page not present", "tabs are blanks");
    assert_eq!(panic.last(), Some(&"Dumping 64 out of 493 MB:"));
    let names = ["kdb_sysctl_trap", "sysctl_root", "userland_sysctl", "sys___sysctl"];
    assert!(of("Fingerprint")[0].starts_with("fingerprint  1:"), "{run:?}");
    assert_eq!(of("Fingerprint")[3..7], names);
    assert_eq!(of(TITLES[3])[0], "PID 812, TID 100092, sysctl, CPU 0, dumping");
    assert!(of(TITLES[3]).contains(&"     --- exception 0xc: page fault at address 0x10"), "{run:?}");
    assert_eq!(of(TITLES[4])[0], "PID 11, TID 100003, idle: cpu1, CPU 1, stopped");
    assert_eq!(of(TITLES[5])[..3], ["2 threads:", "  PID 1, TID 100001, init", "  PID 433, TID 100071, syslogd"]);
    let processes = of("Processes");
    assert!(processes[0].starts_with("PID  COMMAND") && processes[1].starts_with("  1  init"), "{processes:?}");
    assert_eq!(processes.len(), 5);
    let messages = of(TITLES[7]);
    assert_eq!(messages[0], "FreeBSD 15.1-RELEASE-p1 GENERIC amd64");
    assert_eq!(messages.last(), Some(&"Trying to mount root from ufs:/dev/ufs/rootfs [rw]..."));
    assert!(of("Load and memory").contains(&"load averages  0.40 0.08 0.03 (1, 5 and 15 minutes)"), "{run:?}");
}

#[test]
fn a_json_report_has_the_same() {
    let directory = crash();
    let document = report(directory.path(), &["--json"]).ok().json();
    assert_eq!((&document["panic"], &document["dumping_thread"]), (&"page fault".into(), &100_092.into()));
    assert_eq!(document["stack"]["threads"][0]["tid"], 100_092);
    assert_eq!(document["on_cpu"][0]["threads"][0]["tid"], 100_003);
    assert_eq!(document["stacks"][0]["threads"].as_array().unwrap().len(), 2);
    assert_eq!(document["processes"].as_array().unwrap().len(), 4);
    let messages = document["message_buffer"]["messages"].as_array().unwrap();
    let first = document["panic_message_index"].as_u64().unwrap() as usize;
    assert_eq!(messages[first]["text"], "Fatal trap 12: page fault while in kernel mode");
    let missing = document["missing"].as_array().unwrap();
    assert!(matches!(missing.as_slice(), [only] if only["part"] == "inventory"), "{missing:?}");
    assert_eq!(document["kernel"]["cpu_count"], 2);
    // What a report has is what the commands have.
    let [core, kernel] = ["core", "kernel"].map(|name| directory.path().join(name));
    let stack = memtool(&["stack", "--core", text(&core), "--kernel", text(&kernel), "--json"]).ok().json();
    assert_eq!(document["stack"], stack["stacks"][0]);
    let ps = memtool(&["ps", "--core", text(&core), "--kernel", text(&kernel), "--json"]).ok().json();
    assert_eq!((&document["kernel"], &document["processes"]), (&ps["kernel"], &ps["processes"]));
}

#[test]
fn a_bug_has_one_fingerprint_on_every_machine() {
    let mut found = Vec::new();
    for cpu in CPUS {
        for mut kernel in [Kernel::new(cpu), Kernel::elsewhere(cpu)] {
            let stack = fault(&mut kernel);
            kernel.panicked_with(b"page fault");
            let pc = kernel.at("doadump");
            kernel.dumper(47, 100_060, b"sysctl", &stack, pc);
            let (value, names) = fingerprint(&kernel.files()).unwrap();
            assert_eq!(names, ["sys_read"], "{cpu:?}");
            found.push(value);
        }
    }
    found.dedup();
    assert_eq!(found.len(), 1, "{found:?}");
    let of = |stack: &[&str]| of_stack(&mut Kernel::new(AMD64), stack);
    assert_eq!(of(&["doadump", "panic", "sys_read"]).0, found[0], "the same function panics itself");
    let other = of(&["doadump", "panic", "_sleep", "sys_read"]);
    assert_eq!(other.1, ["_sleep", "sys_read"]);
    assert_ne!(other.0, found[0]);
    assert_ne!(of(&["doadump", "panic", "mi_switch", "sys_read"]).0, other.0);
}

#[test]
fn recursion_has_no_depth_in_a_fingerprint() {
    let of = |stack: &[&str]| of_stack(&mut Kernel::new(AMD64), stack);
    let stack = |times: usize| [&["doadump", "panic"][..], &vec!["recurse"; times], &["sys_read"]].concat();
    assert_eq!(of(&stack(3)), of(&stack(40)));
    let turns = |times: usize, first: &[&'static str]| {
        [&["doadump", "panic"][..], first, &["recurse", "_sleep"].repeat(times), &["sys_read"]].concat()
    };
    assert_eq!(of(&turns(3, &[])), of(&turns(9, &["_sleep"])));
    assert_eq!(of(&turns(3, &[])).1, ["recurse", "_sleep", "sys_read"]);
}

#[test]
fn what_an_interrupt_came_in_between_is_no_part_of_a_fingerprint() {
    for cpu in CPUS {
        let mut found = Vec::new();
        for interrupted in ["sys_read", "_sleep"] {
            let mut kernel = Kernel::new(cpu);
            let mut stack = kernel.in_call();
            kernel.calls(&mut stack, &["sys_read"]);
            let (pc, entries, numbers) = (kernel.at(interrupted), kernel.cpu.entries(), kernel.cpu.numbers());
            interrupt(&kernel, &mut stack, pc, entries.interrupt, numbers.interrupt);
            kernel.calls(&mut stack, &["intr", "cpustop_handler", "panic"]);
            kernel.panicked_with(b"it");
            let pc = kernel.at("doadump");
            kernel.dumper(47, 100_060, b"sysctl", &stack, pc);
            found.push(fingerprint(&kernel.files()).unwrap());
        }
        assert_eq!(found[0], found[1], "{cpu:?}");
        assert_eq!(found[0].1, ["cpustop_handler", "intr"], "{cpu:?}");
    }
}

#[test]
fn a_trap_that_led_to_the_debugger_has_a_fingerprint_and_a_dump_on_request_has_none() {
    let mut kernel = Kernel::new(AMD64);
    let (stack, pc) = (fault(&mut kernel), kernel.at("doadump"));
    kernel.dumper(47, 100_060, b"sysctl", &stack, pc);
    let files = kernel.files();
    assert_eq!(fingerprint(&files).unwrap().1, ["sys_read"]);
    let mut kernel = Kernel::new(AMD64);
    kernel.add_function("kdb_enter", 1);
    let mut stack = kernel.in_call();
    let (pc, entry) = (kernel.at("kdb_enter"), kernel.cpu.entries().exception);
    kernel.calls(&mut stack, &["sys_read"]);
    interrupt(&kernel, &mut stack, pc, entry, 3);
    kernel.calls(&mut stack, &["trap", "kdb_trap"]);
    let pc = kernel.at("doadump");
    kernel.dumper(47, 100_060, b"sysctl", &stack, pc);
    let files = kernel.files();
    assert_eq!(fingerprint(&files), Err("the kernel did not panic".to_owned()));
    let run = report(files.directory.path(), &[]);
    assert_eq!(section(&run.stdout, "Fingerprint"), ["There is none: the kernel did not panic."]);
    assert!(run.stdout.contains("Stack of the thread that wrote the dump"), "{run:?}");
    // The debugger's own breakpoint is in the stack, and not what the dump is about.
    assert!(run.stdout.contains("breakpoint"), "{run:?}");
    assert!(!section(&run.stdout, "Panic").join("\n").contains("trap "), "{run:?}");
    // Nobody has written a live dump from within.
    let mut kernel = Kernel::new(AMD64);
    kernel.sleeper(812, 100_100, b"sh");
    let files = kernel.files();
    assert_eq!(fingerprint(&files), Err("the kernel did not panic".to_owned()));
    let run = report(files.directory.path(), &[]);
    assert_eq!(section(&run.stdout, "Stacks of the other CPUs"), ["There is no thread on another CPU."]);
}

#[test]
fn a_dump_without_its_kernel_tells_what_it_has() {
    let directory = crash();
    let core = directory.path().join("core");
    let run = memtool(&["report", text(&core)]).exits(1);
    assert_eq!(titles(&run.stdout), TITLES);
    assert!(section(&run.stdout, "Dump").contains(&"panic         page fault"), "{run:?}");
    assert!(run.stdout.contains("--kernel"), "{run:?}");
    assert_eq!(section(&run.stdout, "Modules"), ["Not available without the symbols of the kernel."]);
    assert_eq!(section(&run.stdout, TITLES[7]).len(), 4);
    let document = memtool(&["report", text(&core), "--json"]).exits(1).json();
    assert_eq!(document["fingerprint"]["parts"], Value::from(vec!["page fault"]));
    assert_eq!(document["fingerprint"]["basis"], "panic-message");
    assert_eq!((&document["processes"], &document["stack"]), (&Value::Null, &Value::Null));
    let parts: Vec<&str> =
        document["missing"].as_array().unwrap().iter().map(|missing| missing["part"].as_str().unwrap()).collect();
    assert_eq!(
        parts,
        ["symbol-file", "kernel", "processes", "variables", "configuration", "modules", "debugger-output", "inventory",]
    );
}

#[test]
fn a_panic_before_the_last_boot_is_none() {
    let spec = MinidumpSpec {
        message_buffer: b"panic: old\ncpuid = 0\n---<<BOOT>>---\nFreeBSD\n\0\0\0".to_vec(),
        ..MinidumpSpec::example(Arch::Amd64, 3)
    };
    let directory = directory();
    let core = write_file(directory.path(), &spec.build());
    let document = memtool(&["report", text(&core), "--json"]).exits(1).json();
    assert_eq!((&document["panic"], &document["panic_message_index"]), (&Value::Null, &Value::Null));
    let run = memtool(&["report", text(&core)]).exits(1);
    assert_eq!(section(&run.stdout, "Messages")[0], "panic: old");
}

#[test]
fn another_kernel_is_not_used_and_the_report_says_so() {
    let mut kernel = Kernel::new(AMD64);
    kernel.sleeper(812, 100_100, b"sh");
    let mut image = kernel.image();
    let version = (kernel.memory.symbols["version"].address - kernel.memory.base) as usize;
    image.sections[1].bytes[version..version + 12].copy_from_slice(b"FreeBSD 99.0");
    let files = kernel.files_with(image);
    let run = report(files.directory.path(), &[]).exits(1);
    let dump = section(&run.stdout, "Dump").join(" ");
    assert!(dump.contains("is not the kernel"), "{run:?}");
    assert_eq!(section(&run.stdout, "Processes"), ["Not available without the symbols of the kernel."]);
    report(files.directory.path(), &["--json"]).exits(1).json();
    // One of another architecture tells nothing of the dump either.
    let other = Kernel::new(crate::stack::ARM64).files();
    fs::copy(other.path("kernel"), files.path("kernel")).unwrap();
    let run = report(files.directory.path(), &[]).exits(1);
    assert!(section(&run.stdout, "Dump").join(" ").contains("is for arm64"), "{run:?}");
}

#[test]
fn names_and_messages_are_harmless_and_no_line_is_long() {
    for name in
        [&b"\x1b[2J\x1b[31mevil\x07\r\n"[..], b"\xff\xfe\xe2\x80\xae", b"\t\t\t\t", "\u{4e16}".repeat(6).as_bytes()]
    {
        let mut kernel = Kernel::new(AMD64);
        let said =
            [b"\x1b]0;title\x07 ".as_slice(), &vec![b'x'; 3000], b"\n<5>\xff\xfe\n", name, b"\npanic: ", name].concat();
        kernel.memory.spec.message_buffer = said;
        kernel.memory.spec.message_buffer.resize(8000, 0);
        kernel.panicked_with(&[name, &b" very long".repeat(20)].concat());
        let (stack, pc) = (fault(&mut kernel), kernel.at("doadump"));
        kernel.dumper(47, 100_060, name, &stack, pc);
        kernel.sleeper(812, 100_100, name);
        kernel.sleeper(813, 100_101, name);
        kernel.link_files("if_\u{1b}[31m.ko", 0xffff_ffff_8300_0000);
        let files = kernel.files();
        let run = report(files.directory.path(), &[]);
        assert_eq!(titles(&run.stdout).len(), TITLES.len(), "{run:?}");
        report(files.directory.path(), &["--json"]).json();
    }
}

#[test]
fn a_cut_dump_has_what_is_left_of_it() {
    let directory = crash();
    let core = directory.path().join("core");
    let whole = fs::read(&core).unwrap();
    for (length, has_stacks) in
        [(whole.len() - 100, true), (whole.len() / 2, true), (30_000, false), (6000, false), (5000, false)]
    {
        fs::write(&core, &whole[..length]).unwrap();
        let run = report(directory.path(), &[]).exits(1);
        assert_eq!(titles(&run.stdout).len(), TITLES.len(), "{length}: {run:?}");
        assert!(section(&run.stdout, "Dump").join(" ").contains("The dump is damaged"), "{length}: {run:?}");
        assert!(run.stdout.contains("FreeBSD 15.1-RELEASE-p1 GENERIC amd64"), "{length}: {run:?}");
        assert_eq!(run.stdout.contains("#0 "), has_stacks, "{length}: {run:?}");
        report(directory.path(), &["--json"]).exits(1).json();
    }
    fs::write(&core, &whole[..3000]).unwrap();
    report(directory.path(), &[]).exits(1);
}

#[test]
fn a_cut_dump_claims_nothing_that_only_a_whole_one_tells() {
    let directory = crash();
    let core = directory.path().join("core");
    let whole = fs::read(&core).unwrap();
    let claims = ["There is no thread", "No thread of the kernel", "did not panic", "is not the kernel of this dump"];
    let mut unknown = 0;
    for length in (4096..whole.len()).step_by(4999) {
        fs::write(&core, &whole[..length]).unwrap();
        let run = report(directory.path(), &[]).exits(1);
        let all = [run.stdout.as_str(), &run.stderr].concat();
        assert_eq!(claims.iter().find(|claim| all.contains(**claim)), None, "{length}: {all}");
        unknown += usize::from(all.contains("not known"));
    }
    assert!(unknown > 0);
    // Without its messages not even that is known.
    fs::write(&core, &whole[..4096]).unwrap();
    let run = report(directory.path(), &[]).exits(1);
    assert!(run.stdout.contains("Whether the kernel panicked is not known"), "{run:?}");
}

#[test]
fn what_is_no_dump_has_no_report() {
    let directory = directory();
    for bytes in [&b""[..], b"text", &[0x7f; 9000]] {
        let core = write_file(directory.path(), bytes);
        let run = memtool(&["report", text(&core)]).exits(1);
        assert_eq!(run.stdout, "", "{run:?}");
        assert!(run.stderr.starts_with("memtool: "), "{run:?}");
    }
    memtool(&["report", text(&directory.path().join("none"))]).fails_saying(&["none"]);
    memtool(&["report", "-"]).usage_error(&["standard input"]);
}

#[test]
fn a_file_is_written_whole_and_never_over_another_unless_that_is_wanted() {
    let directory = crash();
    let output = directory.path().join("report.txt");
    let run = report(directory.path(), &["-o", text(&output)]).ok();
    assert_eq!(run.stdout, "");
    let written = fs::read_to_string(&output).unwrap();
    assert_eq!(written, report(directory.path(), &[]).ok().stdout);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&output.metadata().unwrap()) & 0o777, 0o600);
    report(directory.path(), &["-o", text(&output), "--json"]).fails_saying(&["exists", "--force replaces it"]);
    assert_eq!(fs::read_to_string(&output).unwrap(), written);
    let run = report(directory.path(), &["-o", text(&output), "--json", "--force"]).ok();
    assert_eq!(run.stdout, "");
    let document: Value = serde_json::from_slice(&fs::read(&output).unwrap()).unwrap();
    assert_eq!(document, report(directory.path(), &["--json"]).ok().json());
    // The dump is not replaced by its report.
    let core = directory.path().join("core");
    report(directory.path(), &["-o", text(&core), "--force"]).exits(1);
    assert_eq!(names(directory.path()), ["core", "kernel", "report.txt"]);
    report(directory.path(), &["--force"]).usage_error(&["--output"]);
}

#[test]
fn a_compressed_dump_has_the_same_report() {
    let directory = crash();
    let of = |run: Run| run.stdout.lines().filter(|line| !line.starts_with("length")).collect::<Vec<_>>().join("\n");
    let plain = of(report(directory.path(), &[]).ok());
    let core = directory.path().join("core");
    let bytes = zstd::encode_all(&*fs::read(&core).unwrap(), 3).unwrap();
    fs::write(&core, bytes).unwrap();
    assert_eq!(of(report(directory.path(), &[]).ok()), plain);
}

#[test]
fn dumps_of_every_kind_have_a_report_without_a_kernel() {
    let files: [(&str, &[u8]); 2] = [("msgbuf.txt", b"hello\n"), ("panic.txt", b"page fault")];
    let header = KernelDumpHeader::example(Arch::Amd64, 4, 0);
    let minidump = MinidumpSpec::example(Arch::Amd64, 3).build();
    let device = DumpDevice::example(KernelDumpHeader::example(Arch::Amd64, 4, minidump.len() as u64), 512, &minidump);
    let mut dumps: Vec<(String, Vec<u8>)> = vec![
        ("text dump".to_owned(), text_archive(&files)),
        ("text dump".to_owned(), text_device(Arch::Amd64, 4, &files).build()),
        ("minidump, amd64 version 3".to_owned(), device.build()),
    ];
    dumps.extend(Arch::ALL.map(|arch| ("ELF core file".to_owned(), ElfSpec::example(arch).build())));
    dumps.extend(every_variant().into_iter().map(|(_, spec)| ("minidump".to_owned(), spec.build())));
    for (description, dump) in dumps {
        let directory = directory();
        let core = write_file(directory.path(), &dump);
        // The files of a text dump are all that it has, and take the place of the other sections.
        let is_text = description == "text dump";
        let (code, sections) = if is_text { (0, 3 + files.len()) } else { (1, TITLES.len()) };
        let run = memtool(&["report", text(&core), "-q"]).exits(code);
        assert_eq!(titles(&run.stdout).len(), sections, "{description}: {run:?}");
        let facts = section(&run.stdout, "Dump");
        let fact = |name: &str| {
            let value = facts.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix("  "));
            value.map(str::trim_start)
        };
        assert!(fact("dump").unwrap().starts_with(&description), "{description}: {run:?}");
        let document = memtool(&["report", text(&core), "--json"]).exits(code).json();
        let is_of_device = !document["dump"]["header"].is_null();
        assert_eq!(fact("host"), is_of_device.then_some(header.hostname.as_str()), "{run:?}");
        assert!(!document["missing"].as_array().unwrap().is_empty(), "{document:#}");
    }
}
