//! What the kernel has said.

use crate::kernel::VERSION;

/// What it said when it booted, and since.
pub fn of_boot() -> String {
    let version = VERSION.lines().next().expect("a version has a line");
    format!(
        "---<<BOOT>>---
Copyright (c) 1992-2026 The FreeBSD Project.
Copyright (c) 1979, 1980, 1983, 1986, 1988, 1989, 1991, 1992, 1993, 1994
\tThe Regents of the University of California. All rights reserved.
FreeBSD is a registered trademark of The FreeBSD Foundation.
{version}
    built by memtool
CPU: Made-up Processor (2400.00-MHz K8-class CPU)
real memory  = 402653184 (384 MB)
avail memory = 364904448 (348 MB)
FreeBSD/SMP: Multiprocessor System Detected: 2 CPUs
FreeBSD/SMP: 1 package(s) x 2 core(s)
random: unblocking device.
ioapic0 <Version 1.1> irqs 0-23
acpi0: <MEMTOOL DEMO>
pcib0: <ACPI Host-PCI bridge> port 0xcf8-0xcff on acpi0
pci0: <ACPI PCI bus> on pcib0
em0: <Intel(R) PRO/1000 Network Connection> mem 0xc0000000-0xc001ffff irq 11 at device 3.0 on pci0
em0: Ethernet address: 58:9c:fc:00:00:02
ahci0: <AHCI SATA controller> irq 16 at device 4.0 on pci0
ada0 at ahcich0 bus 0 scbus0 target 0 lun 0
ada0: <MEMTOOL DEMO DISK 1.0> ACS-2 ATA SATA 3.x device
ada0: 4096MB (8388608 512 byte sectors)
Trying to mount root from ufs:/dev/ada0p2 [rw]...
demo0: <Demo network> irq 24 at device 5.0 on pci0
demo0: Ethernet address: 58:9c:fc:00:00:03
em0: link state changed to UP
"
    )
}

/// What it said when it crashed, and dumped so many MiB.
pub fn of_crash(address: u64, stack: u64, frame: u64, dumped: u64) -> String {
    format!(
        "demo0: ring reset requested by democtl

Fatal trap 12: page fault while in kernel mode
cpuid = 1; apic id = 01
fault virtual address\t= 0x18
fault code\t\t= supervisor read data, page not present
instruction pointer\t= 0x20:{address:#x}
stack pointer\t        = 0x28:{stack:#x}
frame pointer\t        = 0x28:{frame:#x}
code segment\t\t= base 0x0, limit 0xfffff, type 0x1b
\t\t\t= DPL 0, pres 1, long 1, def32 0, gran 1
processor eflags\t= interrupt enabled, resume, IOPL = 0
current process\t\t= 930 (democtl)
trap number\t\t= 12
panic: page fault
cpuid = 1
time = 1795603112
KDB: stack backtrace:
Uptime: 4d0h38m32s
Dumping {dumped} out of 374 MB:..17%..34%..51%..67%..84%
"
    )
}
