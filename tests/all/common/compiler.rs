//! C compilers for FreeBSD's architectures.
//!
//! Elsewhere than on FreeBSD that is the cross toolchain, which is installed where it is missing, for all six.
//! On FreeBSD it is `cc`, for the machine's own architecture.

use std::process::Command;
use vmcore_synth::Arch;

/// The C compiler for an architecture, with FreeBSD's headers; `None` where there is none here.
pub fn for_freebsd(arch: Arch) -> Option<Command> {
    compiler(arch, "freebsd")
}

/// The C compiler and linker for code that needs no headers and no libraries, as a kernel's does.
pub fn for_kernel(arch: Arch) -> Option<Command> {
    let mut compiler = compiler(arch, "freestanding")?;
    compiler.args(["-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-fno-pie", "-Wl,-z,max-page-size=4096"]);
    match arch {
        Arch::Amd64 => compiler.args(["-mcmodel=kernel", "-mno-red-zone"]),
        Arch::Riscv => compiler.arg("-mcmodel=medany"),
        _ => &mut compiler,
    };
    Some(compiler)
}

#[cfg(not(target_os = "freebsd"))]
fn compiler(arch: Arch, system: &str) -> Option<Command> {
    use std::path::Path;
    use std::sync::Once;
    static INSTALLED: Once = Once::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // In the root folder, to which a relative MEMTOOL_ZIG_DIR refers.
    let tool = |name: &str| {
        let mut command = Command::new(root.join("tools").join(name));
        command.current_dir(root);
        command
    };
    INSTALLED.call_once(|| succeed(&mut tool("freebsd-toolchain")));
    let machine = machine(arch);
    let abi = if arch == Arch::Arm && system == "freebsd" { "-eabihf" } else { "" };
    let mut compiler = tool("zig-cc");
    compiler
        .env("MEMTOOL_ZIG_TARGET", format!("{machine}-{system}{abi}"))
        .env("ZIG_GLOBAL_CACHE_DIR", root.join("target/freebsd/zig-cache"));
    // The headers are those of any ARM; FreeBSD's own builds are for version 7.
    if arch == Arch::Arm {
        compiler.arg("-mcpu=cortex_a7");
    }
    Some(compiler)
}

/// An architecture as Rust and zig call it.
fn machine(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x86_64",
        Arch::Arm64 => "aarch64",
        Arch::Riscv => "riscv64",
        Arch::Arm => "arm",
        Arch::I386 => "x86",
        Arch::Powerpc64 => "powerpc64",
    }
}

#[cfg(target_os = "freebsd")]
fn compiler(arch: Arch, _system: &str) -> Option<Command> {
    (machine(arch) == std::env::consts::ARCH).then(|| Command::new("cc"))
}

/// Runs a command that has to succeed.
#[track_caller]
pub fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
