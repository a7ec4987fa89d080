//! What the tests of whole runs share.

use std::process::Output;

/// Asserts how a run ended, and that its report holds these texts.
#[track_caller]
pub fn assert_run(output: &Output, code: i32, texts: &[&str]) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    for text in texts {
        assert!(stdout.contains(text), "'{text}' expected in: {stdout}");
    }
}
