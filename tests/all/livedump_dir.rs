//! `memtool livedump --dir`: a directory as savecore(8) keeps it, in which nothing is lost.

use crate::common::{command, demo, demo_machine, directory, names, on, start, text, write_machine};
use serde_json::json;
use std::fs::{read, read_link, read_to_string, write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

/// Saves a dump in a directory.
fn save(directory: &Path, arguments: &[&str]) -> crate::common::Run {
    demo(&[&["livedump", "--dir", text(directory)], arguments].concat())
}

/// A directory with these files, each of which holds its name.
fn directory_with(files: &[&str]) -> tempfile::TempDir {
    let directory = directory();
    for name in files {
        write(directory.path().join(name), name).unwrap();
    }
    directory
}

#[test]
fn the_layout_is_savecores() {
    let directory = directory();
    save(directory.path(), &[]).ok();
    assert_eq!(names(directory.path()), ["bounds", "info.0", "info.last", "livecore.0", "livecore.last"]);
    assert_eq!(read_to_string(directory.path().join("bounds")).unwrap(), "1\n");
    assert_eq!(read_link(directory.path().join("info.last")).unwrap(), Path::new("info.0"));
    assert_eq!(read_link(directory.path().join("livecore.last")).unwrap(), Path::new("livecore.0"));
    let mode = |name: &str| directory.path().join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("info.0"), mode("livecore.0"), mode("bounds")), (0o600, 0o600, 0o644));
    assert!(read(directory.path().join("livecore.0")).unwrap().starts_with(b"minidump FreeBSD/amd64\0"));
}

#[test]
fn compressed_dumps_say_so_in_their_names() {
    let directory = directory();
    for (number, option, suffix) in [(0, "--gzip", ".gz"), (1, "--zstd", ".zst"), (2, "--uncompress", "")] {
        let report = save(directory.path(), &[option, "--json"]).ok().json();
        assert_eq!(report["number"], number);
        assert!(report["output"].as_str().unwrap().ends_with(&format!("/livecore.{number}{suffix}")), "{report}");
        assert!(report["info"].as_str().unwrap().ends_with(&format!("/info.{number}")), "{report}");
        let link = directory.path().join(format!("livecore.last{suffix}"));
        assert_eq!(read_link(link).unwrap(), Path::new(&format!("livecore.{number}{suffix}")));
        assert_eq!(read_link(directory.path().join("info.last")).unwrap(), Path::new(&format!("info.{number}")));
    }
    // No link of an older dump is left.
    let links = names(directory.path()).into_iter().filter(|name| name.contains("last"));
    assert_eq!(links.collect::<Vec<_>>(), ["info.last", "livecore.last"]);
    assert_eq!(read_to_string(directory.path().join("bounds")).unwrap(), "3\n");
}

#[test]
fn info_has_the_lines_that_savecore_writes() {
    let directory = directory_with(&[]);
    write(directory.path().join("bounds"), "7\n").unwrap();
    let run = crate::common::run(
        command()
            .env("TZ", "UTC")
            .args(["--machine", "demo", "livedump", "--gzip", "--json", "--dir"])
            .arg(directory.path()),
    );
    let report = run.ok().json();
    let info = read_to_string(directory.path().join("info.7")).unwrap();
    let lines: Vec<&str> = info.lines().collect();
    let [device, arch, version, length, block, compression, time, host, magic, kernel, panic, parity, bounds, status] =
        lines[..]
    else {
        panic!("{info}");
    };
    assert_eq!(device, "Dump header from device: /dev/mem");
    assert_eq!((arch, version), ("  Architecture: amd64", "  Architecture Version: 2"));
    assert_eq!(length, format!("  Dump Length: {}", report["size"]));
    assert_eq!((block, compression), ("  Blocksize: 4096", "  Compression: gzip"));
    let dumped_at = report["dumped_at"].as_str().unwrap().replace('T', " ").replace('Z', " +0000");
    assert_eq!(time, format!("  Dumptime: {dumped_at}"));
    assert_eq!((host, magic), ("  Hostname: demo", "  Magic: FreeBSD Kernel Dump"));
    assert_eq!(kernel, format!("  Version String: {}", report["kernel_version"].as_str().unwrap()));
    assert_eq!(panic, "  Panic String: ");
    assert!(parity.strip_prefix("  Dump Parity: ").unwrap().parse::<u32>().is_ok(), "{parity}");
    assert_eq!((bounds, status), ("  Bounds: 7", "  Dump Status: good"));
}

#[test]
fn the_parity_is_the_one_in_the_header() {
    let directory = directory();
    let file = directory.path().join("dump");
    let info = demo(&["livedump", "--keep-header", "--info", "-", text(&file)]).ok();
    let bytes = read(&file).unwrap();
    let parity = u32::from_ne_bytes(*bytes.last_chunk().unwrap());
    assert!(info.lines().contains(&format!("  Dump Parity: {parity}").as_str()), "{info:?}");
}

#[test]
fn no_dump_that_is_there_is_replaced() {
    for taken in ["livecore.3", "livecore.3.gz", "info.3", "vmcore.3", "vmcore.3.zst", "textdump.tar.3.gz", "key.3"] {
        let directory = directory_with(&[taken]);
        write(directory.path().join("bounds"), "3\n").unwrap();
        assert_eq!(save(directory.path(), &["--json"]).ok().json()["number"], 4, "{taken}");
        assert_eq!(read_to_string(directory.path().join(taken)).unwrap(), taken);
        assert_eq!(read_to_string(directory.path().join("bounds")).unwrap(), "5\n");
    }
}

#[test]
fn bounds_counts_as_savecore_reads_it() {
    for (bounds, number) in
        [("", 0), ("12\n", 12), ("  8 \n", 8), ("x\n", 0), ("-5\n", 0), ("5x", 5), ("1234567\n", 12345)]
    {
        let directory = directory();
        write(directory.path().join("bounds"), bounds).unwrap();
        assert_eq!(save(directory.path(), &["--json"]).ok().json()["number"], number, "'{bounds}'");
    }
    let directory = directory_with(&["info.99999"]);
    write(directory.path().join("bounds"), "99999\n").unwrap();
    save(directory.path(), &[]).fails_saying(&["no number from 99999", "bounds"]);
    assert_eq!(names(directory.path()), ["bounds", "info.99999"]);
}

#[test]
fn several_at_once_have_a_number_each() {
    let directory = directory();
    let mut running = Vec::new();
    for option in ["--zstd", "--gzip", "--uncompress", "--zstd", "--zstd", "--gzip"] {
        let mut command = command();
        command.args(["--machine", "demo", "livedump", option, "--dir"]).arg(directory.path());
        running.push(start(command.stdout(std::process::Stdio::null())));
    }
    for run in running {
        run.end().ok();
    }
    let count = |stem: &str| names(directory.path()).iter().filter(|name| name.starts_with(stem)).count();
    assert_eq!((count("livecore."), count("info.")), (6 + 1, 6 + 1));
    for number in 0..6 {
        assert_eq!(count(&format!("livecore.{number}")), 1);
        let info = read_to_string(directory.path().join(format!("info.{number}"))).unwrap();
        assert!(info.contains(&format!("Bounds: {number}\n")), "{info}");
    }
    assert_eq!(read_to_string(directory.path().join("bounds")).unwrap(), "6\n");
    assert!(names(directory.path()).iter().all(|name| !name.starts_with('.')), "{:?}", names(directory.path()));
}

#[test]
fn what_stands_in_the_way_is_kept() {
    let inside = directory_with(&[]);
    std::fs::create_dir(inside.path().join("bounds")).unwrap();
    save(inside.path(), &[]).fails_saying(&["bounds", "not a regular file"]);
    assert_eq!(names(inside.path()), ["bounds"]);
    let linked = directory_with(&["elsewhere"]);
    symlink("elsewhere", linked.path().join("bounds")).unwrap();
    save(linked.path(), &[]).fails_saying(&["bounds", "symbolic link"]);
    assert_eq!(names(linked.path()), ["bounds", "elsewhere"]);
    assert_eq!(read_to_string(linked.path().join("elsewhere")).unwrap(), "elsewhere");
    // A link that cannot be made is no reason to lose the dump.
    let last = directory_with(&["info.last"]);
    save(last.path(), &[]).ok().says_in_one_line(&["info.last", "not a symbolic link"]);
    assert_eq!(read_to_string(last.path().join("info.last")).unwrap(), "info.last");
    assert_eq!(names(last.path()), ["bounds", "info.0", "info.last", "livecore.0", "livecore.last"]);
}

#[test]
fn a_failed_dump_takes_no_number() {
    let files = directory();
    let machines = directory();
    let mut machine = demo_machine();
    machine["live_dump_fault"] = json!("partial");
    let machine = write_machine(machines.path(), &machine);
    on(&machine, &["livedump", "--dir", text(files.path())]).fails_saying(&["EIO", text(files.path())]);
    assert_eq!(names(files.path()), Vec::<String>::new());
}

#[test]
fn minfree_stays_free() {
    let directory = directory();
    write(directory.path().join("minfree"), "99999999999999\n").unwrap();
    let kept = format!("are free, of which {} keeps 90.9 PiB free", directory.path().join("minfree").display());
    save(directory.path(), &[]).fails_saying(&["may not fit", "at its maximum size", &kept, "--no-space-check"]);
    save(directory.path(), &["--zstd"]).ok().says_in_one_line(&["warning", "may not fit"]);
    save(directory.path(), &["--no-space-check"]).ok();
    write(directory.path().join("minfree"), "much\n").unwrap();
    save(directory.path(), &[]).ok().says_in_one_line(&["warning", "'much' is not a size"]);
}

#[test]
fn a_directory_that_is_none_is_refused() {
    let directory = directory_with(&["file"]);
    save(&directory.path().join("none"), &[]).fails_saying(&["none", "No such file"]);
    save(&directory.path().join("file"), &[]).fails_saying(&["file", "not a directory"]);
    assert_eq!(names(directory.path()), ["file"]);
}
