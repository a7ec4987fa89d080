//! Where a kernel dumps when it panics: `kern.shutdown.dumpdevname` (`sys/kern/kern_shutdown.c`) and fstab(5).

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// Where devices are.
const DEV: &str = "/dev";

/// A device by its name, which needs no `/dev/` before it, as for savecore(8); or a file that stands for one.
///
/// # Errors
///
/// It can be both.
pub fn named(name: &Path) -> Result<PathBuf> {
    let is_path =
        matches!(name.components().next(), Some(Component::RootDir | Component::CurDir | Component::ParentDir));
    let device = Path::new(DEV).join(name);
    match (name.exists(), device.exists()) {
        (true, true) if !is_path => Err(Error::Refused(format!(
            "'{}' is ambiguous: it is the file ./{0} and the device {}; give one of them",
            name.display(),
            device.display()
        ))),
        (false, true) if !is_path => Ok(device),
        _ => Ok(name.to_owned()),
    }
}

/// The devices of a list with commas, and the swap and dump partitions of fstab(5), each once.
pub fn list(configured: &str, fstab: &[u8]) -> Vec<PathBuf> {
    // Without a dump device the kernel names /dev/null, or nothing.
    let configured = configured.split(',').map(str::trim).filter(|name| !["", "null", "/dev/null"].contains(name));
    let configured = configured.map(|name| Path::new(DEV).join(name));
    let mut devices = Vec::new();
    for device in configured.chain(fstab.split(|byte| *byte == b'\n').filter_map(partition)) {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    devices
}

/// The device of a line of fstab(5), if the kernel can dump to it. savecore(8) looks for the same two types. Of an
/// encrypted one it is the device below, where the kernel dumps to: `/etc/rc.d/dumpon` takes `.eli` and `.bde` off.
fn partition(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let (device, _, kind) = (fields.next()?, fields.next()?, fields.next()?);
    let dumps = matches!(kind, b"swap" | b"dump") && !device.starts_with(b"#");
    let mut device = decoded(device);
    if let Some(below) = [&b".eli"[..], b".bde"].iter().find_map(|suffix| device.strip_suffix(*suffix)) {
        device.truncate(below.len());
    }
    dumps.then(|| Path::new(DEV).join(OsString::from_vec(device)))
}

/// A field of fstab(5), in which `\040` is a blank and so on (strunvis(3)).
fn decoded(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [byte, after @ ..] = rest {
        let octal = |digits: &[u8; 3]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        let code = after.split_first_chunk().filter(|_| *byte == b'\\');
        let code = code.and_then(|(digits, after)| Some((octal(digits)?, after)));
        let (byte, after) = code.unwrap_or((*byte, after));
        bytes.push(byte);
        rest = after;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_where_it_looks_like_one() {
        for (name, path) in [
            ("null", "/dev/null"),
            ("/dev/null", "/dev/null"),
            ("./null", "./null"),
            ("../null", "../null"),
            ("/null", "/null"),
            // Neither a file nor a device: as it was written.
            ("no such device", "no such device"),
            ("Cargo.toml", "Cargo.toml"),
        ] {
            assert_eq!(named(Path::new(name)).unwrap(), Path::new(path), "{name}");
        }
    }

    fn listed(configured: &str, fstab: &str) -> Vec<String> {
        list(configured, fstab.as_bytes()).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn configured_devices_and_swap_partitions_are_listed_once() {
        let fstab = "# Device Mountpoint FStype Options Dump Pass\n/dev/ada0p2\t/\tufs\trw\t1\t1\n\
             /dev/ada0p3 none swap sw 0 0\n#/dev/ada9 none swap sw 0 0\n/dev/label/a\\040b none dump sw 0 0\nshort swap\n";
        assert_eq!(listed("", fstab), ["/dev/ada0p3", "/dev/label/a b"]);
        let encrypted =
            "/dev/ada0p3.eli none swap sw 0 0\n/dev/gpt/s.bde none swap sw 0 0\nada1p2.eli none dump sw 0 0\n";
        assert_eq!(listed("ada0p3", encrypted), ["/dev/ada0p3", "/dev/gpt/s", "/dev/ada1p2"]);
        assert_eq!(listed("gpt/swap,ada0p3", fstab), ["/dev/gpt/swap", "/dev/ada0p3", "/dev/label/a b"]);
        for none in ["", "null", "/dev/null"] {
            assert_eq!(listed(none, ""), Vec::<String>::new());
        }
    }
}
