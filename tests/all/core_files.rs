//! There is no core file of memtool itself, which keys would be in.
#![cfg(target_os = "linux")]

use crate::common::directory;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// Whether the end by a signal, with as large a core file as one likes, leaves one of a program that reads its standard
/// input.
fn leaves_core(program: &[&str]) -> bool {
    let folder = directory();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).args(program).current_dir(folder.path());
    // Its input does not end, and it has read some of it when the pipe is empty again.
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let is_empty = |input: &std::process::ChildStdin| {
        let mut waiting = 0;
        nix::ioctl_read_bad!(bytes_waiting, nix::libc::FIONREAD, nix::libc::c_int);
        // SAFETY: the request writes one int, to where it may; the descriptor is open.
        unsafe { bytes_waiting(std::os::fd::AsRawFd::as_raw_fd(input), &raw mut waiting) }.unwrap();
        waiting == 0
    };
    std::io::Write::write_all(&mut input, &[0; 4096]).unwrap();
    while !is_empty(&input) {
        assert!(child.try_wait().unwrap().is_none(), "{program:?} ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGABRT).unwrap();
    child.wait().unwrap().core_dumped()
}

#[test]
fn a_signal_leaves_no_core_file() {
    let mut pattern = String::new();
    std::fs::File::open("/proc/sys/kernel/core_pattern").unwrap().read_to_string(&mut pattern).unwrap();
    if !leaves_core(&["cat"]) {
        println!("NOT CHECKED: this system writes no core files of anything ({})", pattern.trim());
        return;
    }
    let memtool = env!("CARGO_BIN_EXE_memtool");
    assert!(!leaves_core(&[memtool, "inspect", "-"]));
    assert!(!leaves_core(&[memtool, "convert", "-", "converted", "--format", "lime"]));
}
