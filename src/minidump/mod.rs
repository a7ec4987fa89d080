//! Minidumps: the format in which FreeBSD kernels dump themselves (`minidump_machdep.c` of each
//! architecture).
//!
//! The pages follow the format's own tables: a header page, the message buffer, `dump_avail`, the page
//! bitmap, page tables, and then one page for each bit that is set.

pub mod amd64;
pub mod dump_avail;
pub mod live_amd64;
mod page_set;

pub use page_set::PageSet;
pub(crate) use page_set::next_run;

/// `MSG_MAGIC`, in each `struct msgbuf` (`sys/sys/msgbuf.h`).
pub(crate) const MSG_MAGIC: u32 = 0x06_3062;
