//! What FreeBSD's mem(4) interface looks like in memory, and nothing else.
//!
//! Layouts, flags and request codes of the ioctls on `/dev/mem` and `/dev/kmem` ([`memrange`]), the
//! header in front of and behind kernel dumps ([`kerneldump`]), the header inside minidumps ([`minidump`]),
//! what kldsym(2) and kldstat(2) take ([`linker`]), the questions to a dump device ([`disk`]), to a processor
//! ([`cpuctl`]) and to a bhyve machine ([`vmm`]), and what the kernel tells of a process's memory ([`user`]). No
//! system call is made here, and nothing is allocated, so the crate serves any program, on any operating system:
//! request codes are computed with FreeBSD's own encoding ([`ioccom`]), which differs from that of Linux.
//!
//! Sources: `sys/memrange.h`, `sys/ioccom.h`, `sys/kerneldump.h`, `sys/linker.h`, `sys/disk.h`, `sys/cpuctl.h`,
//! `sys/user.h` and `machine/minidump.h` of FreeBSD 14; `machine/vmm_dev.h` of FreeBSD 15.
#![no_std]
#![forbid(unsafe_code)]

pub mod cpuctl;
pub mod disk;
pub mod ioccom;
pub mod kerneldump;
pub mod linker;
pub mod memrange;
pub mod minidump;
pub mod user;
pub mod vmm;
