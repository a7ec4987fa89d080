//! Who waits for what: threads on sleep queues and turnstiles and who has the locks that they wait for, circles of them, run
//! queues, callouts, and the counts of interrupts.

mod callout_counts;
pub mod callouts;
mod chain_end;
pub mod deadlocks;
pub mod interrupts;
mod per_cpu;
mod queues;
pub mod run_queues;
mod threads;
mod uptime;
pub mod waits;

pub use callout_counts::CalloutCounts;
pub use chain_end::{ChainEnd, EndKind};
pub use threads::{ThreadName, WaitedLock};
