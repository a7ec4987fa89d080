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

// memtool save -L.

/// Saves a live dump as savecore(8) is asked to.
fn save_live(directory: &Path, options: &[&str]) -> crate::common::Run {
    demo(&[&["save", "-L", "--dir", text(directory)], options].concat())
}

#[test]
fn save_has_savecores_option_for_live_dumps() {
    for (option, suffix, compression) in
        [(&[][..], "", "none"), (&["-z"], ".gz", "gzip"), (&["-Z"], ".zst", "zstd"), (&["-Z=9"], ".zst", "zstd")]
    {
        let [saved, live] = [directory(), directory()];
        write(saved.path().join("bounds"), "4\n").unwrap();
        let report = save_live(saved.path(), &[option, &["--json"]].concat()).ok().json();
        let [core, link] = [format!("livecore.4{suffix}"), format!("livecore.last{suffix}")];
        assert_eq!(names(saved.path()), ["bounds", "info.4", "info.last", &core, &link]);
        assert_eq!(read_to_string(saved.path().join("bounds")).unwrap(), "5\n");
        assert_eq!(read_link(saved.path().join(&link)).unwrap(), Path::new(&core));
        let bytes = read(saved.path().join(&core)).unwrap();
        let device = &report["devices"][0];
        assert_eq!((&device["input"], &device["result"]), (&json!("/dev/mem"), &json!("saved")), "{report:#}");
        let told = &device["saved"];
        assert_eq!((&told["number"], &told["compression"]), (&json!(4), &json!(compression)));
        assert_eq!(
            (&told["size"], &told["good"], &told["verified"]),
            (&json!(bytes.len()), &json!(true), &json!(true))
        );
        // As livedump has it, but for the time in the message buffer's place.
        let inspected = crate::common::memtool(&["inspect", "--verify", text(&saved.path().join(&core))]);
        assert!(inspected.ok().stdout.starts_with("dump            minidump, amd64 version"));
        save(live.path(), &[]).ok();
        assert_eq!(names(live.path()).len(), 5);
    }
    let directory = directory();
    let said = save_live(directory.path(), &["-Z"]).ok().stdout;
    assert!(said.contains("/livecore.0.zst: ") && said.contains("every byte checked"), "{said}");
}

#[test]
fn live_dumps_come_round_below_their_maximum() {
    let directory = directory();
    for (round, number) in [0, 1, 0, 1].into_iter().enumerate() {
        let option = if round < 2 { "-z" } else { "-Z" };
        let report = save_live(directory.path(), &["-m", "2", option, "--json"]).ok().json();
        assert_eq!(report["devices"][0]["saved"]["number"], number, "{report}");
    }
    let cores: Vec<String> = names(directory.path()).into_iter().filter(|name| name.starts_with("livecore")).collect();
    assert_eq!(cores, ["livecore.0.zst", "livecore.1.zst", "livecore.last.zst"]);
}

#[test]
fn force_takes_a_live_dump_whose_header_is_wrong_as_savecore_does() {
    for (fault, suffix, status) in [("parity", "", "bad"), ("compression", ".gz", "good"), ("architecture", "", "")] {
        let folder = directory();
        let mut machine = demo_machine();
        machine["live_dump_fault"] = json!(fault);
        let machine = write_machine(folder.path(), &machine);
        let crash = folder.path().join("crash");
        std::fs::create_dir(&crash).unwrap();
        let save = |option: &str| on(&machine, &["save", "-L", "-Z", option, "--dir", text(&crash)]);
        save("-q").exits(1).says_in_one_line(&["the header at the end of the dump is wrong"]);
        assert_eq!(names(&crash), [""; 0], "{fault}");
        let forced = save("-f");
        if status.is_empty() {
            forced.exits(1);
            assert_eq!(names(&crash), [""; 0], "{fault}");
            continue;
        }
        forced.ok();
        let info = read_to_string(crash.join("info.0")).unwrap();
        assert!(info.ends_with(&format!("Dump Status: {status}\n")), "{fault}: {info}");
        let _ = suffix;
    }
}

#[test]
fn a_dry_run_of_a_live_dump_makes_none() {
    let directory = directory();
    write(directory.path().join("bounds"), "1\n").unwrap();
    save_live(directory.path(), &["-m", "2"]).ok();
    write(directory.path().join("bounds"), "1\n").unwrap();
    let before = directory.path().metadata().unwrap().mtime_nsec();
    let shown = save_live(directory.path(), &["-m", "2", "-Z", "-n"]).ok().stdout;
    assert!(shown.contains("/livecore.1.zst: would be written: ") && shown.contains("at most before zstd"), "{shown}");
    assert!(
        shown.contains("/livecore.1: would be replaced") && shown.contains("/info.1: would be replaced"),
        "{shown}"
    );
    let planned = save_live(directory.path(), &["-m", "2", "-Z", "-n", "--json"]).ok().json();
    assert_eq!(directory.path().metadata().unwrap().mtime_nsec(), before);
    let done = save_live(directory.path(), &["-m", "2", "-Z", "--json"]).ok().json();
    for field in ["number", "file", "info", "key", "compression", "good"] {
        assert_eq!(planned["devices"][0]["saved"][field], done["devices"][0]["saved"][field], "{field}");
    }
    assert!(!directory.path().join("livecore.1").exists());
}

#[test]
fn a_live_dump_takes_savecores_other_options_as_little_as_savecore_does() {
    let folder = directory();
    for options in [&["-c"][..], &["-C"], &["-k"], &["-u"], &["swap.img"], &["--private-key", "key"]] {
        save_live(folder.path(), options).usage_error(&["cannot be used with"]);
    }
    // A recording does not write where this system keeps its dumps.
    demo(&["save", "-L"]).usage_error(&["a directory must be given with --dir"]);
    #[cfg(not(target_os = "freebsd"))]
    crate::common::memtool(&["save", "-L", "--dir", text(folder.path())]).fails_saying(&["has no mem(4)", "--machine"]);
    assert_eq!(names(folder.path()), [""; 0]);
}
