//! Who waits for what: threads on sleep queues and turnstiles and who has the locks that they wait for, circles of them, run
//! queues, callouts, and the counts of interrupts.

pub mod interrupts;
mod uptime;
