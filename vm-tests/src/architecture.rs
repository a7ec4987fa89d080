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
    /// QEMU's machine 'virt' with OpenSBI, which QEMU brings, and U-Boot
    #[value(alias = "riscv")]
    Riscv64,
    /// QEMU's machine 'powernv9' with skiboot, which QEMU brings, and a kernel that a --qemu-arg names
    Powerpc64,
}

/// What a guest's disks are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disks {
    /// Virtio, each a device of its own
    Virtio,
    /// A SATA controller, which has to be plugged into this bus
    Sata {
        /// QEMU's name of it
        bus: &'static str,
    },
}

impl Disks {
    /// QEMU's option for a disk whose file stays as it is. One of a SATA controller can be written to.
    pub fn unchanged(self) -> &'static str {
        match self {
            Self::Virtio => "readonly=on",
            Self::Sata { .. } => "snapshot=on",
        }
    }
}

/// Where packages put UEFI for QEMU's machine 'virt': Debian, Fedora, FreeBSD.
const AARCH64_FIRMWARE: [&str; 4] = [
    "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
    "/usr/share/edk2/aarch64/QEMU_EFI.fd",
    "/usr/share/qemu/edk2-aarch64-code.fd",
    "/usr/local/share/qemu/edk2-aarch64-code.fd",
];

/// Where packages put U-Boot for QEMU's machine 'virt' of RISC-V, to be run by OpenSBI: Debian, FreeBSD.
const RISCV64_FIRMWARE: [&str; 2] =
    ["/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin", "/usr/local/share/u-boot/u-boot-qemu-riscv64/u-boot.bin"];

impl Architecture {
    /// The target that memtool is built for.
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-freebsd",
            Self::Aarch64 => "aarch64-unknown-freebsd",
            Self::Riscv64 => "riscv64gc-unknown-freebsd",
            Self::Powerpc64 => "powerpc64-unknown-freebsd",
        }
    }

    /// The QEMU program.
    pub fn qemu(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
            Self::Riscv64 => "qemu-system-riscv64",
            Self::Powerpc64 => "qemu-system-ppc64",
        }
    }

    /// Whether this machine has it as well.
    pub fn is_native(self) -> bool {
        match self {
            Self::Amd64 => cfg!(target_arch = "x86_64"),
            Self::Aarch64 => cfg!(target_arch = "aarch64"),
            Self::Riscv64 => cfg!(target_arch = "riscv64"),
            Self::Powerpc64 => cfg!(all(target_arch = "powerpc64", target_endian = "big")),
        }
    }

    /// QEMU's arguments against devices that nobody asked for. What 'powernv9' has of its own counts among them: its
    /// PCI buses, and what it is rebooted by.
    pub fn without_defaults(self) -> &'static [&'static str] {
        match self {
            Self::Amd64 | Self::Aarch64 | Self::Riscv64 => &["-nodefaults"],
            Self::Powerpc64 => &["-net", "none", "-vga", "none"],
        }
    }

    /// QEMU's arguments for the machine; a PC with UEFI (`uefi`) or its BIOS.
    pub fn machine(self, uefi: bool) -> &'static [&'static str] {
        match self {
            // Without a screen UEFI's console is the serial port, and FreeBSD's loader follows it.
            Self::Amd64 if uefi => &[],
            Self::Amd64 => &["-vga", "std"],
            // The default's interrupt controller has eight processors at most.
            Self::Aarch64 => &["-machine", "virt,gic-version=max"],
            Self::Riscv64 => &["-machine", "virt"],
            Self::Powerpc64 => &["-machine", "powernv9"],
        }
    }

    /// The processor's model where none is named and QEMU's default will not do, run by KVM or, if that fails, by TCG,
    /// or by TCG only.
    pub fn cpu(self, kvm: bool) -> Option<&'static str> {
        match (self, kvm) {
            // The host's processor and interrupt controller.
            (Self::Aarch64, true) => Some("max"),
            (Self::Aarch64, false) => Some("cortex-a72"),
            (Self::Amd64 | Self::Riscv64 | Self::Powerpc64, _) => None,
        }
    }

    /// What the disks are connected to. FreeBSD's big-endian kernels do not find the virtio disks of 'powernv9'.
    pub fn disks(self) -> Disks {
        match self {
            Self::Amd64 | Self::Aarch64 | Self::Riscv64 => Disks::Virtio,
            Self::Powerpc64 => Disks::Sata { bus: "pcie.0" },
        }
    }

    /// Whether the firmware starts no system from a disk: then QEMU has to be given the kernel.
    pub fn needs_kernel(self) -> bool {
        self == Self::Powerpc64
    }

    /// QEMU's option for what boots a disk: where OpenSBI is the firmware, what it starts is QEMU's kernel.
    pub fn firmware_option(self) -> &'static str {
        match self {
            Self::Amd64 | Self::Aarch64 | Self::Powerpc64 => "-bios",
            Self::Riscv64 => "-kernel",
        }
    }

    /// NUMA nodes where their number is not given. A kernel that QEMU boots itself (`kernel`) learns of them through
    /// UEFI only on aarch64, and stops there without a word.
    pub fn nodes(self, kernel: bool) -> u32 {
        match self {
            Self::Aarch64 if kernel => 1,
            // 'powernv9' cannot have several.
            Self::Riscv64 | Self::Powerpc64 => 1,
            Self::Amd64 | Self::Aarch64 => 2,
        }
    }

    /// QEMU's arguments for the drive of the CD `cdrom`, from which it boots.
    pub fn cd_drive(self) -> &'static [&'static str] {
        match self {
            Self::Amd64 => &["-device", "ide-cd,drive=cdrom,bootindex=0"],
            Self::Aarch64 | Self::Riscv64 => {
                &["-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=cdrom,bootindex=0"]
            }
            Self::Powerpc64 => &["-device", "ide-cd,drive=cdrom,bus=sata.5"],
        }
    }

    /// Debian's package of [`Self::firmware`].
    pub fn firmware_package(self) -> &'static str {
        match self {
            Self::Amd64 => "ovmf",
            Self::Aarch64 => "qemu-efi-aarch64",
            Self::Riscv64 => "u-boot-qemu",
            Self::Powerpc64 => "qemu-system-data",
        }
    }

    /// Where the firmware that boots a disk may be; none if QEMU brings it.
    pub fn firmware(self) -> impl Iterator<Item = &'static Path> {
        let places: &[&str] = match self {
            Self::Amd64 | Self::Powerpc64 => &[],
            Self::Aarch64 => &AARCH64_FIRMWARE,
            Self::Riscv64 => &RISCV64_FIRMWARE,
        };
        places.iter().map(Path::new)
    }
}
