//! The command line.

use crate::architecture::Architecture;
use clap::{Parser, ValueEnum};
use regex::bytes::{Regex, RegexBuilder};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Boots a FreeBSD system in QEMU and runs the FreeBSD build of memtool in it, case by case
#[derive(Debug, Parser)]
#[command(
    name = "vm-tests",
    version,
    max_term_width = 80,
    args_override_self = true,
    after_help = "Exit codes: 0 all cases passed, 1 not all, or the run ended early, 2 usage, 77 nothing was tested."
)]
pub struct Arguments {
    /// The disk to boot, which is not written to; the default is what $MEMTOOL_VM_IMAGE names
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// The CD to boot, with --image as a disk beside it
    #[arg(long, value_name = "FILE")]
    pub cdrom: Option<PathBuf>,
    /// Boot no disk: the QEMU arguments boot a system themselves
    #[arg(long, requires = "qemu_arg", conflicts_with_all = ["image", "cdrom"])]
    pub no_image: bool,
    /// The guest's architecture
    #[arg(long, value_enum, default_value_t = Architecture::Amd64)]
    pub arch: Architecture,
    /// Test this program, in place of building one
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// What cases need of a guest that has little: the program 'carried' for the guest; without it --binary brings none
    #[arg(long, value_name = "FILE")]
    pub carried: Option<PathBuf>,
    /// The memtool that checks on this machine what came back, in place of building one
    #[arg(long, value_name = "FILE")]
    pub host_binary: Option<PathBuf>,
    /// Take the cases from this folder [default: the project's vm-tests/cases]
    #[arg(long, value_name = "FOLDER")]
    pub cases: Option<PathBuf>,
    /// Run this case only; can be repeated
    #[arg(long = "case", value_name = "NAME")]
    pub names: Vec<String>,

    /// The user to log in as at 'login:'; must be root in all but name
    #[arg(long, value_name = "USER", default_value = "root")]
    pub login: String,
    /// The console ends at a shell's prompt without a login
    #[arg(long, conflicts_with = "login")]
    pub no_login: bool,
    /// What the shell's prompt looks like; ^ and $ match at line ends
    #[arg(long, value_name = "REGEX", default_value = "# ", value_parser = parse_prompt)]
    pub prompt: Regex,
    /// Where the guest may see the harness's disks; can be repeated
    #[arg(long, value_name = "PATH", default_values = DISKS, hide_default_value = true)]
    pub disk_device: Vec<String>,

    /// The QEMU to start [default: qemu-system-x86_64 or that of --arch]
    #[arg(long, value_name = "PROGRAM")]
    pub qemu: Option<OsString>,
    /// The processor's model, as QEMU names it: 'max', 'max,la57=off'; can be repeated, for a guest with each
    #[arg(long, value_name = "MODEL")]
    pub cpu: Vec<String>,
    /// The firmware, or 'bios' for QEMU's own; can be repeated, for a guest with each [default: the BIOS for amd64, UEFI
    /// or U-Boot where packages put it for others]
    #[arg(long, value_name = "FILE")]
    pub firmware: Vec<PathBuf>,
    /// A further argument for QEMU; can be repeated
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub qemu_arg: Vec<OsString>,
    /// How QEMU runs the guest
    #[arg(long, value_enum, default_value_t = Accelerator::Auto)]
    pub accelerator: Accelerator,
    /// The guest's memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(64..=1 << 20))]
    pub memory: u32,
    /// The guest's processors
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub processors: u32,
    /// The guest's NUMA nodes; memory and processors are dealt out among them [default: 2; 1 for riscv64 and powerpc64,
    /// and for a kernel that QEMU boots on aarch64]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub nodes: Option<u32>,

    /// The size of the spare disk for crash dumps in MiB, 0 for none [default: the memory and 64 more]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(..=1 << 21))]
    pub spare_disk: Option<u32>,

    /// The time that booting and logging in may take
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = parse_seconds)]
    pub boot_timeout: Duration,
    /// The time that each script of a case may take
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = parse_seconds)]
    pub case_timeout: Duration,
    /// Where to save what the console said [default: target/vm-tests/console.log]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Keep what came back from the guest, in a new folder of this name
    #[arg(long, value_name = "FOLDER")]
    pub results: Option<PathBuf>,
}

/// FreeBSD's names of the first virtio, SATA and SCSI disks.
const DISKS: [&str; 15] = [
    "/dev/vtbd1",
    "/dev/vtbd2",
    "/dev/vtbd3",
    "/dev/vtbd4",
    "/dev/vtbd0",
    "/dev/ada1",
    "/dev/ada2",
    "/dev/ada3",
    "/dev/ada4",
    "/dev/ada0",
    "/dev/da0",
    "/dev/da1",
    "/dev/da2",
    "/dev/da3",
    "/dev/da4",
];

/// How QEMU runs the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// By KVM where it works, or else by TCG
    Auto,
    /// By the host's processor
    Kvm,
    /// By QEMU's own translator
    Tcg,
}

fn parse_prompt(text: &str) -> Result<Regex, String> {
    let prompt = RegexBuilder::new(text).multi_line(true).build().map_err(|error| error.to_string())?;
    if prompt.is_match(b"") {
        return Err("it matches nothing at all".to_owned());
    }
    Ok(prompt)
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(0) => Err("at least 1".to_owned()),
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["vm-tests"], words].concat())
    }

    #[test]
    fn qemu_arguments_may_begin_with_hyphens() {
        let arguments = parse(&["--no-image", "--qemu-arg", "-kernel", "--qemu-arg", "x"]).unwrap();
        assert_eq!(arguments.qemu_arg, ["-kernel", "x"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["--no-image"][..],
            &["--no-image", "--image", "x", "--qemu-arg", "y"],
            &["--no-image", "--cdrom", "x", "--qemu-arg", "y"],
            &["--arch", "i386"],
            &["--prompt", "("],
            &["--prompt", "x*"],
            &["--case-timeout", "0"],
            &["--nodes", "0"],
            &["--no-login", "--login", "me"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
