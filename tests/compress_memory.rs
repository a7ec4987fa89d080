//! How much memory a whole process takes that compresses.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper of a test that fails is a test that fails")]

use memtool::compress::{Compression, Encoder, overlapped};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

/// Set for a child, which compresses and prints its peak in KiB: level and number of processors.
const CHILD: &str = "MEMTOOL_TEST_COMPRESS";
const TEST: &str = "a_process_that_compresses_stays_small_at_every_level_and_on_any_number_of_processors";

/// Takes its time, so that every worker has all of its output in hand.
struct Slow;

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::thread::sleep(Duration::from_millis(2));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Noise, since what cannot be compressed takes the most memory.
fn noise(bytes: &mut [u8], state: &mut u64) {
    for word in bytes.chunks_mut(4) {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.copy_from_slice(&state.to_le_bytes()[4..]);
    }
}

fn compress(level: u8, processors: usize) {
    let how = Compression::Zstd(level.to_string().parse().unwrap());
    let mebibytes = if level > 12 { 24 } else { 128 };
    overlapped(Slow, |out| {
        let mut encoder = Encoder::with_processors(out, how, processors.try_into().unwrap()).unwrap();
        let (mut piece, mut state) = (vec![0; 1 << 20], 1);
        for _ in 0..mebibytes {
            noise(&mut piece, &mut state);
            encoder.write_all(&piece).unwrap();
        }
        encoder.finish().unwrap();
    })
    .unwrap();
}

fn peak_of_this_process() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage(2) writes the struct it is given.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) }, 0);
    // SAFETY: it succeeded and has filled the struct.
    unsafe { usage.assume_init() }.ru_maxrss
}

#[test]
fn a_process_that_compresses_stays_small_at_every_level_and_on_any_number_of_processors() {
    if let Ok(task) = std::env::var(CHILD) {
        let (level, processors) = task.split_once(' ').unwrap();
        compress(level.parse().unwrap(), processors.parse().unwrap());
        println!("peak={} KiB", peak_of_this_process());
        return;
    }
    for (level, processors) in [(1, 64), (3, 8), (9, 64), (15, 2), (19, 64)] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(CHILD, format!("{level} {processors}"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        let peak: u64 = text.split_once("peak=").unwrap().1.split_once(" KiB").unwrap().0.parse().unwrap();
        println!("level {level}, {processors} processors: {} MiB", peak >> 10);
        // All of memtool shall keep to 256 MiB; what else it has takes less than the rest.
        assert!(peak < 192 << 10, "level {level}, {processors} processors: {peak} KiB");
    }
}
