//! What the kernel is asked to do, and what each errno of its answers means: why it happened and what to do.
//!
//! Sources: mem(4), and the kernel sources `sys/dev/mem/memdev.c`, `sys/amd64/amd64/mem.c`,
//! `sys/x86/x86/x86_mem.c`, `sys/powerpc/powerpc/mem.c`, `sys/dev/cpuctl/cpuctl.c`, `sys/kern/kern_vnodedumper.c`,
//! `sys/kern/subr_compressor.c`, `sys/kern/kern_prot.c` (`p_candebug`), `sys/kern/kern_priv.c` and
//! `sys/kern/kern_jail.c` (`prison_priv_check`); for Linux proc(5), move_pages(2) and `fs/proc/task_mmu.c`.

use nix::errno::Errno;
use std::fmt;
use std::io;

/// What memtool asked the kernel to do when it refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// open(2) of /dev/mem or /dev/kmem.
    OpenDevice,
    /// `MEMRANGE_GET`.
    GetRanges,
    /// `MEMRANGE_SET` with `MEMRANGE_SET_UPDATE`.
    UpdateRange,
    /// `MEMRANGE_SET` with `MEMRANGE_SET_REMOVE`.
    RemoveRange,
    /// `MEM_EXTRACT_PADDR`.
    ExtractPaddr,
    /// `MEM_KERNELDUMP`.
    KernelDump,
    /// read(2) of /dev/mem or /dev/kmem.
    ReadMemory,
    /// sysctl(3).
    Sysctl,
    /// mmap(2) of memory for `paddr`.
    Map,
    /// mlock(2) of memory for `paddr`.
    Lock,
    /// Making a page of a mapping present.
    Touch,
    /// kldsym(2).
    FindSymbol,
    /// kldnext(2) and kldstat(2).
    ListFiles,
    /// The memory map of a process: `kern.proc.vmmap`, or `/proc/PID/maps`.
    ProcessMap,
    /// open(2) of /dev/cpuctl0, `CPUCTL_CPUID` and `CPUCTL_RDMSR`.
    ReadRegisters,
    /// Reading a process's pagemap and maps in Linux's proc(5).
    ReadPagemap,
    /// move_pages(2), which moves none here but tells where pages are.
    FindDomains,
}

impl Operation {
    /// The operations of FreeBSD, any of which a recorded machine can have fail.
    pub const OF_FREEBSD: [Self; 15] = [
        Self::OpenDevice,
        Self::GetRanges,
        Self::UpdateRange,
        Self::RemoveRange,
        Self::ExtractPaddr,
        Self::KernelDump,
        Self::ReadMemory,
        Self::Sysctl,
        Self::Map,
        Self::Lock,
        Self::Touch,
        Self::FindSymbol,
        Self::ListFiles,
        Self::ProcessMap,
        Self::ReadRegisters,
    ];

    /// Whether it takes /dev/mem or /dev/kmem, or may.
    pub(crate) const fn needs_device(self) -> bool {
        !matches!(self, Self::Sysctl | Self::ProcessMap | Self::ReadRegisters)
    }

    /// The call by its name in the manual; recorded machines use it as a key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenDevice => "open",
            Self::GetRanges => "MEMRANGE_GET",
            Self::UpdateRange => "MEMRANGE_SET_UPDATE",
            Self::RemoveRange => "MEMRANGE_SET_REMOVE",
            Self::ExtractPaddr => "MEM_EXTRACT_PADDR",
            Self::KernelDump => "MEM_KERNELDUMP",
            Self::ReadMemory => "read",
            Self::Sysctl => "sysctl",
            Self::Map => "mmap",
            Self::Lock => "mlock",
            Self::Touch => "touch",
            Self::FindSymbol => "kldsym",
            Self::ListFiles => "kldstat",
            Self::ProcessMap => "vmmap",
            Self::ReadRegisters => "CPUCTL_RDMSR",
            Self::ReadPagemap => "pagemap",
            Self::FindDomains => "move_pages",
        }
    }

    /// What it is for, after "cannot".
    const fn purpose(self) -> &'static str {
        match self {
            Self::OpenDevice => "open",
            Self::GetRanges => "list the memory ranges of",
            Self::UpdateRange => "update memory range",
            Self::RemoveRange => "remove memory range",
            Self::ExtractPaddr => "look up virtual address",
            Self::KernelDump => "take a live dump into",
            Self::ReadMemory => "read",
            Self::Sysctl => "read sysctl",
            Self::Map => "map",
            Self::Lock => "lock",
            Self::Touch => "bring in",
            Self::FindSymbol => "find kernel symbol",
            Self::ListFiles => "list the files of",
            Self::ProcessMap => "read the memory map of",
            Self::ReadRegisters => "read the processor's registers through",
            Self::ReadPagemap => "look up pages of",
            Self::FindDomains => "find the NUMA domains of pages of",
        }
    }
}

/// The kernel refused an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelError {
    /// What was asked.
    pub operation: Operation,
    /// What it was asked for: a path, an address, a range, a sysctl's name.
    pub subject: String,
    /// The answer.
    pub errno: Errno,
}

impl KernelError {
    /// Puts an errno with what was asked.
    pub fn new(operation: Operation, subject: impl fmt::Display, errno: Errno) -> Self {
        Self { operation, subject: subject.to_string(), errno }
    }
}

impl fmt::Display for KernelError {
    /// One sentence: what happened, the errno's name, why, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = errno_name(self.errno);
        write!(f, "cannot {} {}: {name}: ", self.operation.purpose(), self.subject)?;
        match explain(self.operation, self.errno) {
            Some(text) => f.write_str(text),
            None => f.write_str(self.errno.desc()),
        }
    }
}

impl std::error::Error for KernelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.errno)
    }
}

/// An errno's name, the same on every system: on FreeBSD EOPNOTSUPP and ENOTSUP are one number.
pub fn errno_name(errno: Errno) -> String {
    if errno == Errno::EOPNOTSUPP { "EOPNOTSUPP".to_owned() } else { format!("{errno:?}") }
}

/// The errno of an I/O error; EIO for one that is not the system's own.
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// The explanation of an operation's errno, as the rest of a sentence after the errno's name; `None` where
/// the errno's general meaning is all there is to say.
pub fn explain(operation: Operation, errno: Errno) -> Option<&'static str> {
    use Operation as Op;
    Some(match (operation, errno) {
        (Op::OpenDevice, Errno::EACCES) => {
            "the device is accessible to root and group kmem only; run as root, or join the group"
        }
        (Op::OpenDevice, Errno::EPERM) => {
            "writing requires root outside jails and a securelevel below 1 (security(7)); reading is forbidden only by a security policy (mac(4))"
        }
        (Op::OpenDevice, Errno::ENOENT) => {
            "the device does not exist; jails usually hide it, and a kernel without 'device mem' has none: run memtool outside the jail, or load mem.ko"
        }
        (Op::OpenDevice, Errno::ENXIO) => "the device is not configured; load mem.ko with kldload(8)",
        (Op::GetRanges, Errno::ENXIO) => {
            "there are no memory range descriptors because the firmware left the MTRRs disabled; enable them in the firmware settings"
        }
        (Op::ReadRegisters, Errno::ENOENT) => "cpuctl(4) is not available; 'kldload cpuctl' loads it; jails hide it",
        (Op::ReadRegisters, Errno::EACCES) => "the device is accessible to root and group kmem only",
        (Op::UpdateRange | Op::RemoveRange, Errno::ENXIO) => {
            "there are no memory range descriptors to change because the firmware left the MTRRs disabled; enable them in the firmware settings"
        }
        (Op::GetRanges | Op::UpdateRange | Op::RemoveRange, Errno::EOPNOTSUPP) => {
            "this kernel has no memory range operations: the x86 processor has no MTRRs, or machdep.disable_mtrrs disables them; nothing can be changed"
        }
        (Op::GetRanges | Op::UpdateRange | Op::RemoveRange, Errno::ENOTTY) => {
            "the device does not support the memory range ioctls: only x86 and powerpc kernels have memory ranges; there, give /dev/mem or /dev/kmem with --device"
        }
        (Op::GetRanges | Op::UpdateRange | Op::ExtractPaddr | Op::ReadMemory, Errno::EPERM) => {
            "a security policy (mac(4)) forbids it; ask its administrator"
        }
        (Op::RemoveRange, Errno::EPERM) => {
            "the range is one of the processor's fixed ranges, which are always active; change its type with 'memtool ranges update' instead"
        }
        (Op::UpdateRange, Errno::EINVAL) => {
            "the kernel considers the range invalid, or it overlaps another range in a way the processor does not support; 'memtool ranges list --all' shows its neighbours"
        }
        (Op::UpdateRange, Errno::EACCES) => {
            "the present range has a type the kernel does not know; --force replaces it anyway"
        }
        (Op::UpdateRange, Errno::EBUSY) => "another process owns the range; wait until it releases it",
        (Op::UpdateRange, Errno::ENOSPC) => {
            "all variable ranges are in use; remove one that is not needed, or join two into one"
        }
        (Op::UpdateRange, Errno::EEXIST) => {
            "a range with this base and length exists, and this kernel does not change ranges; remove it first"
        }
        (Op::RemoveRange, Errno::ENOENT) => {
            "no range has exactly that base and length; 'memtool ranges list --all --no-join' shows them"
        }
        (Op::RemoveRange, Errno::EBUSY) => "another process owns the range; wait until it releases it",
        (Op::ExtractPaddr, Errno::ENOTTY) => {
            "this kernel is older than FreeBSD 13.0, which introduced MEM_EXTRACT_PADDR, or the device is not mem(4); update the system, or give /dev/mem with --device"
        }
        (Op::KernelDump, Errno::ENOTTY) => {
            "this kernel is older than FreeBSD 14.0, which introduced MEM_KERNELDUMP, or the device is not mem(4); update the system, or give /dev/mem with --device"
        }
        (Op::KernelDump, Errno::EBUSY) => "another live dump is in progress; wait until it has finished and try again",
        (Op::KernelDump, Errno::EPERM) => {
            "a security policy (mac(4)) forbids reading kernel memory; ask its administrator"
        }
        (Op::KernelDump, Errno::EINVAL) => {
            "the kernel does not accept the request: it was built without the requested compression (options GZIO, ZSTDIO), or the output is not a regular file; try --uncompress, or another file system"
        }
        (Op::KernelDump, Errno::EBADF) => {
            "the kernel cannot write to the file, which must be a regular file open for writing; choose another file system"
        }
        (Op::KernelDump, Errno::EOPNOTSUPP) => {
            "this architecture does not track the pages for a live dump; only a dump after a panic is possible"
        }
        (Op::KernelDump, Errno::ENOSPC) => {
            "the file system is full, and the kernel tried five times; free some space, choose another file system, or compress the dump"
        }
        (Op::KernelDump, Errno::EAGAIN) => {
            "the kernel mistook an incomplete zstd block for the end of the dump, as kernels with pages of more than 4096 bytes do up to FreeBSD 15.1; let memtool make the dump (--method user), or use --gzip or --uncompress"
        }
        (Op::KernelDump, Errno::EFBIG) => {
            "the dump is larger than the file system or the file size limit (ulimit -f) allows; raise the limit, choose another file system, or compress the dump"
        }
        (Op::KernelDump, Errno::EDQUOT) => {
            "the disk quota is exceeded; free some space, choose another file system, or compress the dump"
        }
        (Op::KernelDump, Errno::EIO) => {
            "the file system could not write the dump; see dmesg(8) for disk errors, and give a regular file, not a device"
        }
        (Op::ReadMemory, Errno::EFAULT) => {
            "the address is beyond the processor's physical memory, or not mapped in the kernel"
        }
        (Op::Sysctl, Errno::ENOENT) => "this kernel has no such value",
        (Op::Map, Errno::ENOMEM) => "not enough memory or address space; request less (ulimit -v)",
        (Op::Map, Errno::EACCES) => "the file cannot be read",
        (Op::Map, Errno::ENODEV | Errno::EINVAL) => "this kind of file cannot be mapped; give a regular file",
        (Op::Lock, Errno::EPERM) => {
            "locking memory requires root, in a jail with allow.mlock, or on FreeBSD security.bsd.unprivileged_mlock"
        }
        (Op::Lock, Errno::ENOMEM | Errno::EAGAIN) => {
            "the limit on locked memory (ulimit -l), or on FreeBSD vm.max_user_wired, is lower; request less"
        }
        (Op::FindSymbol | Op::ListFiles, Errno::EPERM | Errno::EACCES) => {
            "a security policy (mac(4)) forbids it; ask its administrator"
        }
        (Op::ListFiles, Errno::ENOENT) => "modules are being loaded and unloaded; try again",
        (Op::ProcessMap, Errno::ESRCH | Errno::ENOENT) => {
            "no such process: it has exited, or the system hides it from you"
        }
        (Op::ProcessMap, Errno::EBUSY) => {
            "it executed another program (execve(2)) each time its map was read; try again"
        }
        (Op::ProcessMap, Errno::EPERM | Errno::EACCES) if cfg!(target_os = "linux") => {
            "it belongs to another user or has gained privileges: permission to trace it is required (CAP_SYS_PTRACE; ptrace(2)); run as root, outside containers"
        }
        (Op::ProcessMap, Errno::EPERM | Errno::EACCES) => {
            "it belongs to another user, gained privileges, or forbids tracing (procctl(2)), or security.bsd.unprivileged_proc_debug is 0; run as root, outside jails and containers; at securelevel 1 and above, init(8) is closed to root as well (security(7))"
        }
        (Op::Touch, Errno::EFAULT) => "the page cannot be read; the file may have been truncated",
        (Op::ReadPagemap | Op::FindDomains, Errno::ENOENT | Errno::ESRCH) => {
            "no such process, or it has exited or executed another program"
        }
        (Op::ReadPagemap, Errno::EACCES | Errno::EPERM) => {
            "it is not your process: permission to trace it is required (CAP_SYS_PTRACE; ptrace(2)), and CAP_SYS_ADMIN for physical addresses; run as root"
        }
        (Op::FindDomains, Errno::EPERM) => {
            "it is not your process (CAP_SYS_PTRACE), or a security policy forbids move_pages(2), as those of containers do; run as root outside the container"
        }
        (Op::FindDomains, Errno::ENOSYS) => {
            "the kernel has no move_pages(2), or a security policy hides it; run memtool outside the container"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmcore::errno;

    #[test]
    fn error_numbers_have_the_names_that_the_system_gives_them() {
        for number in 1..=200 {
            let name = errno::Errno(number).name();
            let known = Errno::from_raw(number);
            assert!(name == errno_name(known) || name == format!("errno {number}"), "{number}: {name}, {known:?}");
            let must_be_known = number <= 34 || [Errno::ESTALE, Errno::ETIMEDOUT, Errno::EDQUOT].contains(&known);
            assert_eq!(name.starts_with('E'), must_be_known || !name.starts_with("errno"), "{number}: {name}");
        }
        assert_eq!(errno::Errno::EIO.to_string(), "EIO: Input/output error");
    }
}
