//! Request codes and sizes of 64-bit FreeBSD, on any 64-bit host: they do not depend on its own ioctls.
#![cfg(target_pointer_width = "64")]

use ioctl_defs::cpuctl::*;
use ioctl_defs::disk::*;
use ioctl_defs::kerneldump::kerneldumpheader;
use ioctl_defs::memrange::*;
use ioctl_defs::vmm::*;

#[test]
fn request_codes() {
    assert_eq!(MEMRANGE_GET, 0xc010_6d32);
    assert_eq!(MEMRANGE_SET, 0x8010_6d33);
    assert_eq!(MEM_EXTRACT_PADDR, 0xc040_6d34);
    assert_eq!(MEM_KERNELDUMP, 0x8020_6d35);
    assert_eq!(CPUCTL_RDMSR, 0xc010_6301);
    assert_eq!(CPUCTL_CPUID, 0xc014_6303);
    assert_eq!(DIOCGSECTORSIZE, 0x4004_6480);
    assert_eq!(DIOCGMEDIASIZE, 0x4008_6481);
    assert_eq!(VM_MMAP_GETNEXT, 0xc028_7611);
}

#[test]
fn sizes() {
    assert_eq!(size_of::<mem_range_desc>(), 32);
    assert_eq!(size_of::<mem_range_op>(), 16);
    assert_eq!(size_of::<mem_extract>(), 64);
    assert_eq!(size_of::<mem_livedump_arg>(), 32);
    assert_eq!(size_of::<cpuctl_msr_args_t>(), 16);
    assert_eq!(size_of::<cpuctl_cpuid_args_t>(), 20);
    assert_eq!(size_of::<vm_memmap>(), 40);
    assert_eq!(size_of::<kerneldumpheader>(), 512);
}
