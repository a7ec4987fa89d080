//! Memory of a machine that QEMU runs, in every form in which this QEMU writes it, compared with what it shows itself
//! (`pmemsave`). No guest system is needed: the processors are stopped, and memory is filled from a file.

use crate::common::{directory, formats, memtool, text};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const QEMU: &str = "qemu-system-x86_64";
const MIB: u64 = 1 << 20;
/// What is neither RAM nor the same for devices and the processor.
const DEVICES: std::ops::Range<u64> = 0xa_0000..0x10_0000;

/// Whether QEMU is there.
fn is_installed() -> bool {
    let found = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !found {
        println!("NOT CHECKED: {QEMU} is not installed; tools/test does that");
    }
    found
}

/// Bytes of which some pages compress well, some not at all, and some are empty.
fn pattern(seed: u64, pages: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let page = |page: u64| {
        (0..4096_u64).map(move |at| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(page * 4096 + at + 1_442_695_040_888_963_407);
            match page % 4 {
                0 => 0,
                1 => (state >> 56) as u8,
                2 => (at / 100) as u8,
                _ => page as u8,
            }
        })
    };
    (0..pages).flat_map(page).collect()
}

/// Runs a machine with memory filled at addresses, and has its monitor do these commands.
fn machine(directory: &Path, kind: &str, mebibytes: u64, filled: &[(u64, &[u8])], commands: &[String]) {
    let mut qemu = Command::new(QEMU);
    qemu.current_dir(directory).args(["-S", "-display", "none", "-nodefaults", "-accel", "tcg", "-monitor", "stdio"]);
    qemu.args(["-machine", kind, "-m", &mebibytes.to_string()]);
    for (number, (address, bytes)) in filled.iter().enumerate() {
        let name = format!("fill{number}");
        fs::write(directory.join(&name), bytes).unwrap();
        qemu.args(["-device", &format!("loader,file={name},addr={address:#x},force-raw=on")]);
    }
    let mut child = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for command in commands.iter().map(String::as_str).chain(["quit"]) {
        writeln!(input, "{command}").unwrap();
    }
    // The monitor would end the machine with its input.
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert!(output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("Error"), "{output:?}");
}

#[test]
fn what_qemu_dumps_is_what_it_shows() {
    if !is_installed() {
        return;
    }
    let directory = directory();
    let directory = directory.path();
    let size = 24 * MIB;
    let filled = pattern(1, 2000);
    let commands: Vec<String> = [
        format!("pmemsave 0 {size} shown"),
        "dump-guest-memory elf".to_owned(),
        "dump-guest-memory -z zlib".to_owned(),
        "migrate \"exec:cat > stream\"".to_owned(),
    ]
    .into();
    machine(directory, "pc", 24, &[(0x1000, &pattern(3, 60)), (0x20_0000, &filled)], &commands);
    let shown = fs::read(directory.join("shown")).unwrap();
    assert!(shown[0x20_0000..].starts_with(&filled), "the memory was not filled");
    for name in ["elf", "zlib", "stream"] {
        let (file, out) = (directory.join(name), directory.join("out"));
        let run = memtool(&["inspect", "--verify", text(&file)]).ok();
        assert!(run.stdout.contains("consistent: everything was read"), "{name}: {run:?}");
        memtool(&["convert", "--force", "--format", "lime", text(&file), text(&out)]).ok();
        let mut compared = 0;
        for (start, bytes) in formats::lime(&fs::read(&out).unwrap()) {
            for (page, address) in bytes.chunks(4096).zip((start..).step_by(4096)) {
                let is_ram = address < size && !DEVICES.contains(&address);
                if is_ram {
                    let at = usize::try_from(address).unwrap();
                    assert!(page == &shown[at..at + 4096], "{name}: the page at {address:#x} is another one");
                    compared += 4096;
                }
            }
        }
        assert_eq!(compared, size - (DEVICES.end - DEVICES.start), "{name}");
    }
}

/// Where the memory of a large machine goes on behind the hole below 4 GiB.
#[test]
fn memory_above_4_gib_is_where_the_machine_has_it() {
    if !is_installed() {
        return;
    }
    let directory = directory();
    let directory = directory.path();
    let (low, high) = (pattern(5, 8), pattern(7, 8));
    for (kind, hole) in [("pc", 0xc000_0000_u64), ("q35", 0x8000_0000)] {
        let commands = ["migrate \"exec:cat > stream\"".to_owned()];
        machine(directory, kind, 4608, &[(hole - 0x8000, &low), (1 << 32, &high)], &commands);
        let file = directory.join("stream");
        let run = memtool(&["inspect", "--list-segments", text(&file)]).ok();
        let end = (1_u64 << 32) + 4608 * MIB - hole;
        for text in [format!("{:#x}", hole), format!("{end:#x}")] {
            assert!(run.stdout.contains(&text), "{kind}: {run:?}");
        }
        for (address, bytes) in [(hole - 0x8000, &low), (1 << 32, &high)] {
            let run = memtool(&[
                "read",
                "--core",
                text(&file),
                "--phys",
                &format!("{address:#x}"),
                "-l",
                "32k",
                "--as",
                "raw",
            ]);
            assert!(run.bytes == *bytes, "{kind} at {address:#x}: {}", run.stderr);
        }
    }
}
