//! The thread that wrote a dump, by what the kernel's variables say.
//!
//! `dump_savectx()` sets `dumptid` and `dumppcb` before a dump, and nothing ever resets them: after a live dump, or a
//! dump from the debugger, they stay as they were. So they are believed only where the kernel was dumping when memory
//! was copied, or has panicked and dumped since.
//!
//! Sources: `dump_savectx()` in `sys/sys/conf.h`, `doadump()` in `sys/kern/kern_shutdown.c`, `livedump_start_vnode()`
//! in `sys/kern/kern_vnodedumper.c`, `sys/sys/sx.h`, `struct lock_object` in `sys/sys/_lock.h`.

use super::KernelMemory;
use crate::error::Result;
use crate::symbols::Symbols;

/// In `sx_lock`: the lock is free, or held shared.
const SX_LOCK_SHARED: u64 = 1;
/// Bits of `sx_lock` that are none of its owner's address, `SX_LOCK_FLAGMASK`.
const SX_LOCK_FLAGMASK: u64 = 0x1f;

/// The thread that wrote the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dumper {
    /// `dumptid`.
    pub tid: i32,
    /// Where its registers are: the address of `dumppcb`.
    pub pcb: Option<u64>,
}

impl Dumper {
    /// Reads who dumped; `None` where the kernel did not. `td_tid` is the offset of a thread's ID.
    ///
    /// # Errors
    ///
    /// The symbols cannot be had, or `dumptid` cannot be read.
    pub(super) fn read(kernel: &KernelMemory, symbols: &dyn Symbols, td_tid: u64) -> Result<Option<Self>> {
        let Some(at) = symbols.find("dumptid")? else { return Ok(None) };
        let tid = kernel.u32(at.address)?;
        let state = KernelDump { kernel, symbols };
        if tid == 0 || !(state.is_dumping()? || state.live_dumper(td_tid)? == Some(tid) || state.has_panicked()?) {
            return Ok(None);
        }
        let pcb = symbols.find("dumppcb")?.map(|symbol| symbol.address);
        Ok(Some(Self { tid: tid.cast_signed(), pcb }))
    }
}

/// Variables that tell whether the kernel dumps. What cannot be read tells nothing.
struct KernelDump<'a> {
    kernel: &'a KernelMemory,
    symbols: &'a dyn Symbols,
}

impl KernelDump<'_> {
    /// Whether it was within `doadump()`: after a panic, or on demand of the debugger or reboot(8).
    fn is_dumping(&self) -> Result<bool> {
        let dumping = self.symbols.find("dumping")?.and_then(|symbol| self.kernel.u32(symbol.address).ok());
        Ok(dumping.is_some_and(|level| level != 0))
    }

    /// The ID of the thread within `livedump_start_vnode()`, which holds a lock there.
    fn live_dumper(&self, td_tid: u64) -> Result<Option<u32>> {
        let Some(sx) = self.symbols.find("livedump_sx")? else { return Ok(None) };
        let word = self.kernel.word_size() as u64;
        // Behind `struct lock_object`: two pointers and two integers of 32 bits.
        let lock = sx.address.checked_add(2 * word + 8).and_then(|at| self.kernel.pointer(at).ok());
        let owner = lock.filter(|lock| lock & SX_LOCK_SHARED == 0).map(|lock| lock & !SX_LOCK_FLAGMASK);
        Ok(owner.and_then(|thread| self.kernel.u32(thread.checked_add(td_tid)?).ok()))
    }

    /// Whether it has panicked and dumped since, as an image of a machine that stands still afterwards shows. Kernels
    /// before FreeBSD 13 do not keep whether they dumped.
    fn has_panicked(&self) -> Result<bool> {
        let panic = self.symbols.find("panicstr")?.and_then(|symbol| self.kernel.pointer(symbol.address).ok());
        let dumped = self.symbols.find("dumped_core")?.and_then(|symbol| self.kernel.bytes::<1>(symbol.address).ok());
        Ok(panic.is_some_and(|text| text != 0) && dumped != Some([0]))
    }
}
