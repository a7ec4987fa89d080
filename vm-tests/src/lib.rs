//! Boots a FreeBSD system in QEMU, runs memtool in it case by case, and tells the result as TAP.
//!
//! One module for each step, in the order in which a run takes them: [`arguments`] ([`architecture`]), [`program`]
//! (which memtool), [`cases`] (what is to be proved), [`disk`] (how both get into the guest), [`qemu`] (start and
//! stop), [`console`] (the serial line), [`guest`] (login, unpacking, one script), [`results`] (what comes back),
//! [`host`] (its check), [`tap`] (the report). [`run`] puts them together. Everything but [`qemu`] and what runs a
//! [`process`] ([`program`], [`host`]) works on plain streams and files.

pub mod architecture;
pub mod arguments;
pub mod cases;
pub mod console;
pub mod disk;
pub mod error;
pub mod guest;
pub mod host;
pub mod process;
pub mod program;
pub mod qemu;
pub mod results;
pub mod run;
pub mod tap;
mod terminal;
