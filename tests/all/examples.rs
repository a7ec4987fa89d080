//! The examples of the libraries, run as their users run them.

use crate::common::directory;
use crate::common::kernel::BuiltKernel;
use memtool::host::{Selection, open, open_for_processes};
use std::path::{Path, PathBuf};
use vmcore_synth::Arch;

/// Those of vmcore, and of memtool; what their `main` does with arguments is not run here.
macro_rules! example {
    ($name:ident, $path:literal) => {
        #[allow(dead_code, reason = "its main function is for the command line")]
        #[path = $path]
        mod $name;
    };
}
example!(list_ranges, "../../examples/list_ranges.rs");
example!(look_up_pages, "../../examples/look_up_pages.rs");
example!(list_threads, "../../vmcore/examples/list_threads.rs");
example!(read_symbol, "../../vmcore/examples/read_symbol.rs");
example!(stacks, "../../vmcore/examples/stacks.rs");
example!(to_core, "../../vmcore/examples/to_core.rs");

/// What an example prints.
fn output<E: std::fmt::Debug>(run: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> String {
    let mut out = Vec::new();
    run(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A kernel and a file with a dump of it; `None` where there is no compiler.
fn built(directory: &Path) -> Option<(BuiltKernel, PathBuf)> {
    let kernel = BuiltKernel::in_minidump(Arch::Amd64, Arch::Amd64.newest())?;
    let core = directory.join("vmcore.0");
    std::fs::write(&core, kernel.dump.build()).unwrap();
    Some((kernel, core))
}

#[test]
fn a_symbol_is_read() {
    let directory = directory();
    let Some((kernel, core)) = built(directory.path()) else { return };
    let printed = output(|out| read_symbol::run(&core, &kernel.image.path(), "hz", out));
    assert_eq!(printed, format!("hz at {:#x} is 1000\n", kernel.image.address("hz")));
    let error = read_symbol::run(&core, &kernel.image.path(), "nowhere", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "there is no symbol nowhere");
}

#[test]
fn threads_are_listed() {
    let directory = directory();
    let Some((kernel, core)) = built(directory.path()) else { return };
    let printed = output(|out| list_threads::run(&core, &kernel.image.path(), out));
    let lines: Vec<&str> = printed.lines().collect();
    let threads: usize = kernel.processes.iter().map(|process| process.threads.len()).sum();
    assert_eq!(lines.len(), threads);
    assert!(lines[0].starts_with("4321\t100123\tsysctl\tdumping\tkern_reboot+"), "{}", lines[0]);
    assert!(lines.iter().any(|line| line.starts_with("11\t100004\tidle: cpu1\tstopped\tcpustop_handler")), "{printed}");
}

#[test]
fn stacks_are_printed() {
    let directory = directory();
    let Some((kernel, core)) = built(directory.path()) else { return };
    let printed = output(|out| stacks::run(&core, &kernel.image.path(), out));
    let names = printed.lines().map(|line| line.split_once('+').map_or(line, |(name, _)| name));
    let names: Vec<&str> = names.collect();
    let of_first =
        ["4321 100123 sysctl", "    kern_reboot", "    vpanic", "    fork_exit", "    (the thread began here)"];
    assert_eq!(names[..5], of_first);
    let threads: usize = kernel.processes.iter().map(|process| process.threads.len()).sum();
    assert_eq!(names.iter().filter(|line| **line == "    (the thread began here)").count(), threads);
}

#[test]
fn a_dump_becomes_a_core_file() {
    let directory = directory();
    let Some((kernel, core)) = built(directory.path()) else { return };
    let target = directory.path().join("core");
    let printed = output(|out| to_core::run(&core, &kernel.image.path(), &target, out));
    let bytes = std::fs::read(&target).unwrap();
    let threads: usize = kernel.processes.iter().map(|process| process.threads.len()).sum();
    assert!(printed.starts_with(&format!("{threads} threads, ")), "{printed}");
    assert!(printed.ends_with(&format!(", {} bytes\n", bytes.len())), "{printed}");
    let by_memtool = directory.path().join("by-memtool");
    let [image, core] = [kernel.image.path(), core].map(|path| path.display().to_string());
    let arguments = ["convert", "--format", "elf", "--kernel", &image, &core, by_memtool.to_str().unwrap()];
    crate::common::memtool(&arguments).ok();
    assert!(std::fs::read(by_memtool).unwrap() == bytes);
    let error = to_core::run(Path::new(&core), Path::new(&image), &target, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
}

#[test]
fn pages_are_looked_up() {
    let demo = Selection { machine: Some(Path::new("demo")), device: None };
    let printed = output(|out| look_up_pages::run(&*open_for_processes(&demo).unwrap(), out));
    let pages: Vec<(u64, u64)> = printed.lines().map(numbers).collect();
    let [first, .., last] = pages.as_slice() else { panic!("{printed}") };
    assert_eq!((pages.len(), last.0 - first.0), (4, 3 * 4096));
    assert!(pages.iter().all(|(_, physical)| physical % 4096 == 0), "{printed}");
}

/// Two numbers in hexadecimal.
fn numbers(line: &str) -> (u64, u64) {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let (address, place) = line.split_once(' ').unwrap();
    (number(address), number(place))
}

#[test]
fn the_ranges_of_a_recorded_machine_are_listed() {
    let demo = Selection { machine: Some(Path::new("demo")), device: None };
    let host = open(&demo).unwrap();
    let at = |address| output(|out| list_ranges::run(&*host, address, out));
    let ranges = "0x0/0x10000000 BIOS write-back set-by-firmware active\n\
                  0x80000000/0x80000000 BIOS uncacheable set-by-firmware active\n\
                  0x100000000/0x8000000 BIOS write-back set-by-firmware active\n";
    assert_eq!(at(0xfee0_0000), format!("{ranges}0xfee00000: uncacheable: one range covers it\n"));
    assert_eq!(at(0x100_0000), format!("{ranges}0x1000000: write-back: one range covers it\n"));
    let default = format!("{ranges}0x40000000: default: no range covers it, so the default type applies\n");
    assert_eq!(at(0x4000_0000), default);
}
