//! What is open, mounted and loaded: files of processes, file systems, jails, objects of System V IPC, files of the kernel, its
//! environment and its variables.

pub mod credentials;
pub mod ipc;
pub mod jails;
pub mod kernel_environment;
pub mod kernel_files;
pub mod mounts;
pub mod open_files;
pub mod sysctl;
