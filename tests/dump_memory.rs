//! How much memory `memtool dump` itself takes.

#![allow(clippy::unwrap_used, reason = "a helper of a test that fails is a test that fails")]

#[path = "all/common/mod.rs"]
mod common;

use common::peak;
use std::fs::File;
use std::io::{Read, pipe};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

#[test]
#[allow(clippy::zombie_processes, reason = "wait4(2) waits for them")]
fn a_dump_takes_no_more_memory_the_larger_it_is() {
    let directory = common::directory();
    let image = directory.path().join("image");
    File::create(&image).unwrap().set_len(1 << 30).unwrap();
    let dump = |device: &Path, range: &str, out: Stdio| {
        let mut command = common::command();
        command.arg("--device").arg(device).args(["dump", "--range", range]).stdout(out).spawn().unwrap()
    };
    for (device, gibibytes) in [(&*image, 1_u64), (Path::new("/dev/zero"), 4)] {
        let range = format!("0-{}", gibibytes << 30);
        let fast = peak(&dump(device, &range, File::create("/dev/null").unwrap().into()));
        assert!(fast < 64 << 10, "{fast} KiB");
    }
    // Reading does not run ahead of a pipe that is full.
    let (mut reader, writer) = pipe().unwrap();
    let child = dump(&image, "0-0x40000000", writer.into());
    reader.read_exact(&mut [0; 1]).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let read = std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    assert_eq!(read, (1 << 30) - 1);
    let slow = peak(&child);
    assert!(slow < 64 << 10, "{slow} KiB");
}
