//! Who waits for what: threads on sleep queues and turnstiles and who has the locks that they wait for, circles of them, run
//! queues, callouts, and the counts of interrupts.

mod chain_end;
pub mod deadlocks;
pub mod interrupts;
mod queues;
mod threads;
mod uptime;
pub mod waits;

pub use chain_end::{ChainEnd, EndKind};
pub use threads::{ThreadName, WaitedLock};
