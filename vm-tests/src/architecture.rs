//! The architectures of the guests that can be booted, and what differs between them.

use clap::ValueEnum;
use std::path::Path;

/// A guest's architecture, by FreeBSD's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// A PC with its BIOS, or with the UEFI that is named by --firmware
    Amd64,
    /// QEMU's machine 'virt' with UEFI
    #[value(alias = "arm64")]
    Aarch64,
}

/// Where packages put UEFI for QEMU's machine 'virt': Debian, Fedora, FreeBSD.
const AARCH64_FIRMWARE: [&str; 4] = [
    "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
    "/usr/share/edk2/aarch64/QEMU_EFI.fd",
    "/usr/share/qemu/edk2-aarch64-code.fd",
    "/usr/local/share/qemu/edk2-aarch64-code.fd",
];

impl Architecture {
    /// The target that memtool is built for.
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-freebsd",
            Self::Aarch64 => "aarch64-unknown-freebsd",
        }
    }

    /// The QEMU program.
    pub fn qemu(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// Whether this machine has it as well.
    pub fn is_native(self) -> bool {
        match self {
            Self::Amd64 => cfg!(target_arch = "x86_64"),
            Self::Aarch64 => cfg!(target_arch = "aarch64"),
        }
    }

    /// QEMU's arguments for the machine, which is run by KVM or, if that fails, by TCG, or by TCG only; a PC with
    /// UEFI (`uefi`) or its BIOS.
    pub fn machine(self, kvm: bool, uefi: bool) -> &'static [&'static str] {
        match (self, kvm) {
            // Without a screen UEFI's console is the serial port, and FreeBSD's loader follows it.
            (Self::Amd64, _) if uefi => &[],
            (Self::Amd64, _) => &["-vga", "std"],
            // The host's processor and interrupt controller.
            (Self::Aarch64, true) => &["-machine", "virt,gic-version=max", "-cpu", "max"],
            // The default's interrupt controller has eight processors at most.
            (Self::Aarch64, false) => &["-machine", "virt,gic-version=max", "-cpu", "cortex-a72"],
        }
    }

    /// QEMU's arguments for the drive of the CD `cdrom`, from which it boots.
    pub fn cd_drive(self) -> &'static [&'static str] {
        match self {
            Self::Amd64 => &["-device", "ide-cd,drive=cdrom,bootindex=0"],
            Self::Aarch64 => &["-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=cdrom,bootindex=0"],
        }
    }

    /// Where the firmware that boots a disk may be; none if QEMU brings it.
    pub fn firmware(self) -> impl Iterator<Item = &'static Path> {
        let places: &[&str] = match self {
            Self::Amd64 => &[],
            Self::Aarch64 => &AARCH64_FIRMWARE,
        };
        places.iter().map(Path::new)
    }
}
