//! Minidumps of arm64 kernels that memtool makes from user space, with pages of 4 and of 16 KiB.

use crate::common::arm64::{KERNBASE, RAM, arm64_machine, maps};
use crate::common::entries_dump::{EntriesDump, check_unreadable_table, opened};
use crate::common::{command, directory, memtool, names, on, start, text, write_machine};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::path::Path;

const SIZES: [u64; 2] = [4096, 16384];

/// Machines of each kind: the size of pages, the kernel's version, and the version of the dump.
const KERNELS: [(u64, u32, u32); 5] =
    [(4096, 1_201_000, 1), (4096, 1_302_000, 2), (4096, 1_402_000, 2), (16384, 1_302_000, 3), (16384, 1_500_000, 3)];

/// The length of a page in memory.
fn bytes_of(page: u64) -> usize {
    usize::try_from(page).unwrap()
}

fn machine_of(page: u64, osreldate: u32) -> Value {
    let mut machine = arm64_machine(page);
    machine["system"]["osreldate"] = json!(osreldate);
    machine
}

fn dump_by(machine: &Path, method: &str, directory: &Path) -> EntriesDump {
    let target = directory.join(format!("by-{method}"));
    on(machine, &["livedump", "--force", "--method", method, text(&target)]).ok();
    EntriesDump::read(&target)
}

#[test]
fn every_page_is_the_one_that_the_kernel_maps() {
    for (page, osreldate, version) in KERNELS {
        let directory = directory();
        let path = write_machine(directory.path(), &machine_of(page, osreldate));
        let dump = dump_by(&path, "user", directory.path());
        assert_eq!((dump.version, dump.page_size as u64), (version, page));
        assert_eq!((dump.kernel_base, dump.direct_map.1), (KERNBASE, 0xffff_ff00_0000_0000));
        let direct_map = if osreldate < 1_300_000 { 0xffff_fd00_0000_0000 } else { 0xffff_a000_0000_0000 };
        // With pages of 16 KiB it begins at a multiple of 64 GiB.
        assert_eq!((dump.direct_map.0, dump.direct_map.2), (direct_map, if page == 4096 { 0x4000_0000 } else { 0 }));
        assert!(version == 1 || dump.dump_avail == RAM);
        let said = String::from_utf8_lossy(&dump.message_buffer).into_owned();
        assert!(said.contains("FreeBSD 15.1-RELEASE MEMTOOL-DEMO"), "{said}");
        assert_eq!(dump.message_buffer.len(), 98_232);

        let mapped = dump.check_pages(&*opened(&path), &maps(page), &RAM);
        let inspected = memtool(&["inspect", "--verify", text(&directory.path().join("by-user"))]).ok();
        assert!(inspected.stdout.contains(&format!("minidump, arm64 version {version}")), "{inspected:?}");
        assert!(inspected.stdout.contains("consistent: everything was read"), "{inspected:?}");
        assert!(inspected.stdout.contains(&format!("{mapped} pages of memory, 0 of them missing")), "{inspected:?}");
    }
}

#[test]
fn it_is_the_kernels_own_dump_but_for_the_version() {
    for page in SIZES {
        let directory = directory();
        let path = write_machine(directory.path(), &arm64_machine(page));
        let by_kernel = dump_by(&path, "kernel", directory.path());
        let mut by_user = dump_by(&path, "user", directory.path()).bytes;
        assert_eq!(by_kernel.version, 3);
        by_user[24] = 3;
        assert!(by_user == by_kernel.bytes, "{page}");
    }
}

#[test]
fn older_kernels_mark_the_same_pages_in_another_way() {
    let directory = directory();
    let pages = |osreldate| {
        let path = write_machine(directory.path(), &machine_of(4096, osreldate));
        let dump = dump_by(&path, "user", directory.path());
        dump.pages.into_keys().collect::<Vec<_>>()
    };
    let (old, new) = (pages(1_201_000), pages(1_402_000));
    // Their bitmap is larger, and is dumped itself.
    assert!(new.iter().all(|page| old.contains(page)));
    assert!(old.len() - new.len() < 300, "{} {}", old.len(), new.len());
}

#[test]
fn auto_falls_back_as_on_amd64() {
    for (page, osreldate, fault, words) in [
        (4096, 1_302_000, None, "makes no live dumps"),
        (4096, 1_402_000, Some("lost-pages"), "lacks "),
        (16384, 1_402_000, Some("lost-pages"), "lacks "),
        (4096, 1_402_000, Some("damaged"), "the dump is damaged"),
    ] {
        let directory = directory();
        let mut machine = machine_of(page, osreldate);
        machine["live_dump_fault"] = json!(fault);
        let path = write_machine(directory.path(), &machine);
        let target = directory.path().join("out");
        let said = on(&path, &["--json", "livedump", text(&target)]).ok();
        said.clone().says_in_one_line(&[words, "memtool makes the dump"]);
        assert_eq!((&said.json()["method"], &said.json()["architecture"]), (&json!("user"), &json!("aarch64")));
        let dump = EntriesDump::read(&target);
        assert!(dump.contents() == dump_by(&path, "user", directory.path()).contents(), "{words}");
    }
    for page in SIZES {
        let directory = directory();
        let path = write_machine(directory.path(), &arm64_machine(page));
        let run = on(&path, &["--json", "livedump", text(&directory.path().join("out"))]).ok();
        assert_eq!((run.stderr.as_str(), &run.json()["method"]), ("", &json!("kernel")));
    }
}

/// Kernels cannot compress live dumps with zstd where a page has more than 4096 bytes.
#[test]
fn with_large_pages_memtool_compresses_by_zstd_itself() {
    let directory = directory();
    let target = directory.path().join("out");
    let dump = |page: u64, options: &[&str]| {
        let path = write_machine(directory.path(), &arm64_machine(page));
        on(&path, &[&["--json", "livedump", "--force", text(&target)], options].concat())
    };
    let by = |page: u64, options: &[&str], method: &str| {
        let run = dump(page, options).ok();
        assert_eq!(run.json()["method"], method, "{page} {options:?}");
        run
    };
    for options in [&["--zstd"][..], &["--gzip"], &["--uncompress"]] {
        assert_eq!(by(4096, options, "kernel").stderr, "");
    }
    assert_eq!(by(16384, &["--gzip"], "kernel").stderr, "");
    assert_eq!(by(16384, &["--uncompress"], "kernel").stderr, "");
    by(16384, &["--zstd", "--method", "user"], "user");
    by(16384, &["--zstd"], "user").says_in_one_line(&["zstd", "more than 4096 bytes", "memtool makes the dump"]);
    EntriesDump::parse(zstd::decode_all(std::fs::File::open(&target).unwrap()).unwrap());

    std::fs::remove_file(&target).unwrap();
    dump(16384, &["--zstd", "--method", "kernel"]).fails_saying(&[
        "EAGAIN",
        "more than 4096 bytes",
        "--method user",
        "--gzip or --uncompress",
    ]);
    assert!(!target.exists());

    // No reason to refuse what the kernel is not asked for.
    let mut machine = arm64_machine(16384);
    machine["live_dump"]["compressions"] = json!(["none"]);
    let path = write_machine(directory.path(), &machine);
    let run = on(&path, &["--json", "livedump", "--zstd", text(&target)]).ok();
    assert_eq!(run.json()["method"], "user");
}

#[test]
fn its_info_file_names_the_architecture() {
    let directory = directory();
    let path = write_machine(directory.path(), &arm64_machine(16384));
    let dumps = directory.path().join("dumps");
    std::fs::create_dir(&dumps).unwrap();
    on(&path, &["livedump", "--method", "user", "--zstd", "--dir", text(&dumps)]).ok();
    let info = std::fs::read_to_string(dumps.join("info.0")).unwrap();
    for line in ["Architecture: aarch64", "Architecture Version: 1", "Blocksize: 16384"] {
        assert!(info.contains(line), "{line}: {info}");
    }
    EntriesDump::parse(zstd::decode_all(std::fs::File::open(dumps.join("livecore.0.zst")).unwrap()).unwrap());
}

#[test]
fn a_missing_or_senseless_symbol_is_named_and_leaves_nothing() {
    let directory = directory();
    let whole = write_machine(directory.path(), &arm64_machine(4096));
    let host = opened(&whole);
    let address = |name: &str| host.kernel_symbol(name).unwrap().unwrap().address;
    let at = |address: u64| json!({"address": format!("{address:#x}"), "size": 8});
    let text_at = KERNBASE + 0x3000;
    let mut cases = vec![
        // In the kernel map, but no part of the image; and devices may be there.
        ("kernel_vm_end", at(KERNBASE + (1 << 30)), "outside of the kernel's image"),
        ("kernel_vm_end", at(0xffff_a000_0000_0000), "outside of the kernel's image"),
        ("kernel_vm_end", at(KERNBASE + (1 << 30) - 4), "outside of the kernel's image"),
        // What another variable says.
        ("kernel_vm_end", at(address("dmap_phys_base")), "it is 0x40000000"),
        ("kernel_vm_end", at(address("dmap_max_addr")), "it is 0xffffa"),
        ("dmap_phys_base", at(address("kernel_vm_end")), "it is of 0xffff"),
        ("dmap_phys_base", at(address("dmap_phys_max")), "it is of 0x880800000..0x880800000"),
        ("dmap_phys_base", at(address("vm_page_dump_pages")), "it is of"),
        ("dmap_phys_max", at(address("msgbufp")), "it is of"),
        ("dmap_max_addr", at(address("kernel_vm_end")), "that dumps from user space do not support"),
        ("dmap_max_addr", at(address("dmap_phys_max")), "that dumps from user space do not support"),
        ("vm_page_dump_pages", at(address("dmap_phys_base")), "dump_avail has"),
        ("vm_page_dump", at(address("dmap_phys_base")), "there is no RAM"),
        ("msgbufp", at(address("vm_page_dump")), "magic"),
        ("pagetable_l0_ttbr1", at(text_at), "do not map themselves"),
        ("pagetable_l0_ttbr1", at(text_at + 8), "no page's beginning"),
        ("pagetable_l0_ttbr1", at(KERNBASE + (1 << 29)), "EFAULT"),
    ];
    let names_of = ["dump_avail", "vm_page_dump", "msgbufp", "kernel_vm_end", "pagetable_l0_ttbr1"];
    for name in names_of.into_iter().chain(["dmap_phys_base", "dmap_phys_max", "dmap_max_addr"]) {
        cases.push((name, Value::Null, "has no symbol"));
    }
    for (name, symbol, words) in cases {
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let mut machine = arm64_machine(4096);
        machine["symbols"] = json!({name: symbol});
        let path = write_machine(directory.path(), &machine);
        let run = on(&path, &["livedump", "--method", "user", text(&files.join("out"))]);
        run.fails_saying(&[
            if words.contains("that dumps from user space do not support") { "dmap_max_addr" } else { name },
            words,
        ]);
        assert_eq!(names(&files), [""; 0], "{name}");
        std::fs::remove_dir(&files).unwrap();
        // The kernel makes its own dump all the same; for its check these are not needed.
        let run = on(&path, &["livedump", "--force", text(&directory.path().join("out"))]).ok();
        let is_checked = ["kernel_vm_end", "msgbufp"].contains(&name);
        assert_eq!(run.stderr.contains("not checked: "), !is_checked, "{name}: {run:?}");
    }
}

#[test]
fn pages_that_cannot_be_read_are_zeros_and_reported() {
    for page in SIZES {
        let directory = directory();
        let whole = dump_by(&write_machine(directory.path(), &arm64_machine(page)), "user", directory.path());
        let (bad, _) = whole.translate(KERNBASE + (1 << 30) + 5 * page).unwrap();
        let mut machine = arm64_machine(page);
        // All of one page, and a bit of the next one.
        machine["unreadable"] = json!([{"start": format!("{bad:#x}"), "end": format!("{:#x}", bad + page + 16)}]);
        let path = write_machine(directory.path(), &machine);
        let target = directory.path().join("out");
        let run = on(&path, &["--json", "livedump", "--method", "user", text(&target)]).ok();
        run.clone().says_in_one_line(&["2 pages could not be read and are zeros"]);
        assert_eq!(run.json()["bytes_unreadable"], 2 * page);
        let dump = EntriesDump::read(&target);
        assert!(dump.entries == whole.entries && dump.pages == whole.pages);
        let zeros = vec![0; bytes_of(page)];
        for (at, contents) in dump.contents() {
            let expected = if (bad..bad + 2 * page).contains(&at) { &zeros } else { whole.page(at).unwrap() };
            assert!(contents == expected, "{at:#x}");
        }
    }
}

#[test]
fn page_tables_that_cannot_be_read_are_counted_and_zeros() {
    check_unreadable_table(arm64_machine(4096), maps(4096)[3].0, RAM[0]);
}

#[test]
fn the_running_kernel_can_be_read_by_symbol_too() {
    for page in SIZES {
        let directory = directory();
        let path = write_machine(directory.path(), &arm64_machine(page));
        let read = on(&path, &["read", "--as", "str", "version"]).ok();
        assert!(read.stdout.starts_with("FreeBSD 15.1-RELEASE MEMTOOL-DEMO"), "{read:?}");
        let dump = dump_by(&path, "user", directory.path());
        let (at, _) = dump.translate(KERNBASE + 0x4000).unwrap();
        let translated = on(&path, &["translate", "0xffff000000004000"]).ok();
        assert!(translated.stdout.contains(&format!("physical address {at:#x}, in a page of {} KiB, r-x", page >> 10)));
    }
}

#[test]
fn it_can_be_interrupted() {
    let directory = directory();
    let path = write_machine(directory.path(), &arm64_machine(16384));
    let files = directory.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = command();
    command.args(["--machine", text(&path), "livedump", "--method", "user", "-", "--info"]);
    let running = start(command.arg(files.join("info")).stdout(writer));
    drop(command);
    // It is at the pages, and the pipe is full.
    std::io::Read::read_exact(&mut reader, &mut [0; 1]).unwrap();
    running.signal(Signal::SIGINT);
    let run = running.end().exits(130);
    assert!(run.stderr.contains("SIGINT: the dump is not complete"), "{run:?}");
    assert_eq!(names(&files), [""; 0]);
}
