//! What savecore(8) writes about a dump into `info.N`: the lines of `printheader` (sbin/savecore/savecore.c of
//! FreeBSD 15.1).

use std::ffi::CStr;
use std::fmt::Write;
use vmcore::kerneldump::{Compression, HEADER_LENGTH, Header};

/// The device of a live dump, in savecore(8)'s words.
pub const LIVE: &str = "/dev/mem";

/// A dump, as its header tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The device that it is from.
    pub device: &'a str,
    /// The header.
    pub header: &'a Header,
    /// The parity word as it stands in the header.
    pub parity: [u8; 4],
    /// Whether nothing was wrong with the headers, nor with the dump's first bytes; that it was cleared before does not
    /// matter.
    pub good: bool,
}

/// The parity word of a header.
pub fn parity_word(header: &[u8; HEADER_LENGTH]) -> [u8; 4] {
    let [.., a, b, c, d] = *header;
    [a, b, c, d]
}

/// The lines about a dump with this number; the time is the local one.
pub fn text(subject: &Subject<'_>, number: u32) -> String {
    let Subject { device, header, parity, good } = subject;
    let compression = Compression::from_code(header.compression).map_or("???", Compression::name);
    let fields: [(&str, &dyn std::fmt::Display); 13] = [
        ("Architecture", &header.architecture),
        ("Architecture Version", &header.architecture_version),
        ("Dump Length", &header.dump_length),
        ("Blocksize", &header.block_size),
        ("Compression", &compression),
        ("Dumptime", &local_time(header.dump_time)),
        ("Hostname", &header.hostname),
        ("Magic", &header.kind),
        ("Version String", &header.version_string),
        ("Panic String", &header.panic_string),
        // In the byte order of the machine that runs savecore(8), unlike the others.
        ("Dump Parity", &u32::from_ne_bytes(*parity)),
        ("Bounds", &number),
        ("Dump Status", if *good { &"good" } else { &"bad" }),
    ];
    let mut text = format!("Dump header from device: {device}\n");
    for (label, value) in fields {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {label}: {value}");
    }
    text
}

/// `2026-01-31 12:00:00 +0100`; empty for a time beyond the calendar.
fn local_time(seconds: u64) -> String {
    let Ok(seconds) = libc::time_t::try_from(seconds) else { return String::new() };
    let mut broken_down = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: localtime_r(3) reads the seconds and writes the struct; both are there for the call.
    if unsafe { libc::localtime_r(&seconds, broken_down.as_mut_ptr()) }.is_null() {
        return String::new();
    }
    let mut buffer = [0_u8; 64];
    // SAFETY: localtime_r(3) has filled the struct, the format is NUL-terminated, and strftime(3) writes no more
    // than the buffer's length.
    let written = unsafe {
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), c"%Y-%m-%d %H:%M:%S %z".as_ptr(), broken_down.as_ptr())
    };
    if written == 0 {
        return String::new();
    }
    CStr::from_bytes_until_nul(&buffer).map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}
