//! `memtool paddr` on Linux: where pages of memtool itself and of other processes really lie.
//!
//! What it says is compared with what the test reads itself in pagemap.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test that fails is a test that fails"
)]

#[path = "all/common/mod.rs"]
mod common;

use common::{Run, address, command, directory, memtool, run, text, wait, write_file};
use memtool::host::{self, PageState, Pid, Selection, open, open_for_processes, superpage_size};
use memtool::process_map::PagesByDomain;
use memtool::process_map::{Detail, ProcessMap};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap};
use serde_json::json;
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// Who has no privileges.
const NOBODY: u32 = 65534;

fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap().try_into().unwrap()
}

/// Memory of the test's own, in pages that the kernel does not put together.
struct Pages {
    start: NonNull<c_void>,
    count: u64,
}

impl Pages {
    fn new(count: u64) -> Self {
        let bytes = |pages: u64| usize::try_from(pages * page_size()).unwrap();
        // With a page on either side that nobody may use, so that the map entry is of these pages alone.
        let all = NonZeroUsize::new(bytes(count + 2)).unwrap();
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: new memory at an address of the kernel's choice, and then what lies within it.
        let start = unsafe {
            let start = mmap_anonymous(None, all, ProtFlags::PROT_NONE, flags).unwrap().byte_add(bytes(1));
            mprotect(start, bytes(count), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).unwrap();
            start
        };
        // SAFETY: the mapping was just made. A kernel without huge pages refuses, and needs no such advice.
        let _ = unsafe { madvise(start, bytes(count), MmapAdvise::MADV_NOHUGEPAGE) };
        Self { start, count }
    }

    /// The pages of a file, shared.
    fn of(file: &File, count: u64) -> Self {
        let length = NonZeroUsize::new((count * page_size()).try_into().unwrap()).unwrap();
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, file, 0) }.unwrap();
        Self { start, count }
    }

    fn address(&self, page: u64) -> u64 {
        assert!(page < self.count);
        self.start.addr().get() as u64 + page * page_size()
    }

    fn pointer(&self, page: u64) -> *mut u8 {
        // SAFETY: the page was checked to be within the mapping.
        unsafe { self.start.as_ptr().cast::<u8>().add((self.address(page) - self.address(0)).try_into().unwrap()) }
    }

    fn write(&self, page: u64) {
        // SAFETY: the page is ours, writable, and nothing refers to it.
        unsafe { self.pointer(page).write_volatile(1) };
    }

    fn read(&self, page: u64) {
        // SAFETY: as above.
        unsafe { self.pointer(page).read_volatile() };
    }

    fn addresses(&self) -> Vec<u64> {
        (0..self.count).map(|page| self.address(page)).collect()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it was mapped once, with this length, and nothing refers to it.
        unsafe { munmap(self.start, (self.count * page_size()).try_into().unwrap()) }.unwrap();
    }
}

/// The physical addresses of pages of this process, as pagemap tells them: bit 63, present; bits 0 to 54, frame.
fn places(addresses: &[u64]) -> Vec<Option<u64>> {
    let pagemap = File::open("/proc/self/pagemap").unwrap();
    let place = |address: &u64| {
        let mut entry = [0; 8];
        pagemap.read_exact_at(&mut entry, address / page_size() * 8).unwrap();
        let entry = u64::from_ne_bytes(entry);
        (entry >> 63 == 1).then(|| (entry & 0x007f_ffff_ffff_ffff) * page_size())
    };
    addresses.iter().map(place).collect()
}

/// Whether physical addresses can be seen by who runs the tests; says so if not.
fn can_see_places() -> bool {
    let page = Pages::new(1);
    page.write(0);
    let can = places(&page.addresses())[0].is_some_and(|place| place != 0);
    if !can {
        eprintln!("SKIPPED: physical addresses can only be seen with CAP_SYS_ADMIN (as root)");
    }
    can
}

fn my_pid() -> String {
    std::process::id().to_string()
}

fn arguments(first: &[&str], addresses: &[u64]) -> Vec<String> {
    first.iter().map(|&text| text.to_owned()).chain(addresses.iter().map(|at| format!("{at:#x}"))).collect()
}

/// What `paddr -q` says of addresses of this process.
#[track_caller]
fn lines_of_mine(addresses: &[u64]) -> Vec<String> {
    let run = memtool(&arguments(&["paddr", "-q", "--pid", &my_pid()], addresses)).ok();
    run.lines().into_iter().map(str::to_owned).collect()
}

/// What `paddr -q` says of addresses of this process, and where they are by pagemap; nothing has moved meanwhile.
#[track_caller]
fn lines_and_places(addresses: &[u64]) -> (Vec<String>, Vec<Option<u64>>) {
    for _ in 0..100 {
        let before = places(addresses);
        let lines = lines_of_mine(addresses);
        if places(addresses) == before {
            return (lines, before);
        }
    }
    panic!("the pages never stay where they are")
}

/// NUMA nodes that have memory.
fn nodes() -> BTreeSet<u32> {
    let Ok(text) = std::fs::read_to_string("/sys/devices/system/node/has_memory") else { return BTreeSet::from([0]) };
    let number = |text: &str| text.trim().parse::<u32>().unwrap();
    text.split(',')
        .flat_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            number(first)..=number(last)
        })
        .collect()
}

// other processes

#[test]
fn pages_of_another_process_lie_where_its_pagemap_says() {
    if !can_see_places() {
        return;
    }
    let memory = Pages::new(64);
    (0..64).step_by(2).for_each(|page| memory.write(page));
    // In an order of their own, with their offsets, some of them twice.
    let addresses: Vec<u64> = (0..64).rev().chain(20..30).map(|page| memory.address(page) + page).collect();
    let (lines, places) = lines_and_places(&addresses);
    assert_eq!(lines.len(), addresses.len());
    for ((line, address), place) in lines.iter().zip(&addresses).zip(places) {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields[0], format!("{address:#x}"));
        match place {
            Some(place) => {
                assert_eq!(fields[1..3], ["MAPPED", &format!("{:#x}", place + address % page_size())]);
                assert!(nodes().contains(&fields[3].parse().unwrap()), "{line}");
            }
            None => assert_eq!(fields[1..], ["VALID", "-", "-"]),
        }
    }
    assert_eq!(lines.iter().filter(|line| line.contains("MAPPED")).count(), 32 + 5);
}

#[test]
fn what_nothing_covers_is_invalid_wherever_it_is() {
    if !can_see_places() {
        return;
    }
    let memory = Pages::new(3);
    memory.write(1);
    let gone = {
        let gone = Pages::new(1);
        gone.write(0);
        gone.address(0)
    };
    let mut addresses = vec![gone, 0, 0x1000, 1 << 63, u64::MAX, u64::MAX - 0xffff];
    // Around the ends of what processes can have.
    addresses.extend([39, 46, 47, 48, 52, 56].iter().flat_map(|bits| [(1 << bits) - 1, 1 << bits]));
    addresses.retain(|address| !is_covered(*address));
    assert!(addresses.len() > 10);
    for line in lines_of_mine(&addresses) {
        assert!(line.ends_with("\tINVALID\t-\t-"), "{line}");
    }
    // A page that every process on x86 has in its maps, but none in its pagemap.
    let vsyscall = 0xffff_ffff_ff60_0000;
    let (lines, _) = lines_and_places(&[memory.address(0), memory.address(1), memory.address(2)]);
    assert!(lines[0].contains("VALID\t-") && lines[1].contains("MAPPED") && lines[2].contains("VALID\t-"), "{lines:?}");
    if is_covered(vsyscall) {
        assert_eq!(lines_of_mine(&[vsyscall]), ["0xffffffffff600000\tVALID\t-\t-"]);
    }
}

/// Whether this process has a map entry there.
fn is_covered(address: u64) -> bool {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().any(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let hex = |text| u64::from_str_radix(text, 16).unwrap();
        (hex(start)..hex(end)).contains(&address)
    })
}

#[test]
fn the_zero_page_is_in_no_domain() {
    if !can_see_places() {
        return;
    }
    let memory = Pages::new(4);
    memory.write(0);
    (1..4).for_each(|page| memory.read(page));
    let (lines, places) = lines_and_places(&memory.addresses());
    // All that was only read is one page.
    assert!(places[1].is_some() && places[1..].iter().all(|place| *place == places[1]));
    let zero = places[1].unwrap();
    if !Path::new("/sys/devices/system/node").exists() {
        eprintln!("SKIPPED: this kernel has no NUMA, and every page is in domain 0");
        return;
    }
    for (page, line) in (0..).zip(&lines).skip(1) {
        assert_eq!(*line, format!("{:#x}\tMAPPED\t{zero:#x}\t-", memory.address(page)));
    }
    let all = arguments(&["paddr", "--pid", &my_pid()], &memory.addresses());
    let shown = common::on_terminal_of(Some(100), command().args(&all)).replace('\r', "");
    assert!(shown.contains("\n         3 whose domain the kernel does not report\n"), "{shown}");
    let document = memtool(&[&all[..], &["--json".to_owned()]].concat()).ok().json();
    assert_eq!(document["pages"][1]["domain"], json!(null));
    assert!(document["pages"][0]["domain"].is_u64());
    assert_eq!(
        (&document["summary"]["mapped_count"], &document["summary"]["unknown_domain_count"]),
        (&json!(4), &json!(3))
    );
}

#[test]
fn json_tells_of_linux_and_the_process_and_runs_are_those_of_the_pages() {
    if !can_see_places() {
        return;
    }
    let memory = Pages::new(300);
    (0..200).for_each(|page| memory.write(page));
    for _ in 0..100 {
        let before = places(&memory.addresses());
        let document = memtool(&arguments(&["paddr", "--json", "--pid", &my_pid()], &memory.addresses())).ok().json();
        let all = arguments(&["paddr", "--json", "--runs", "--pid", &my_pid()], &memory.addresses());
        let runs = memtool(&all).ok().json();
        if places(&memory.addresses()) != before {
            continue;
        }
        assert_eq!((&document["schema"], &document["host"]), (&json!("memtool.paddr"), &json!("linux")));
        assert_eq!(document["pid"], std::process::id());
        assert_eq!(document["page_size"], page_size());
        assert_eq!(
            (&document["summary"]["mapped_count"], &document["summary"]["valid_count"]),
            (&json!(200), &json!(100))
        );
        assert_eq!(document["summary"], runs["summary"]);
        let ends = 1 + before[..200].windows(2).filter(|two| two[0].unwrap() + page_size() != two[1].unwrap()).count();
        assert_eq!(document["summary"]["contiguous_run_count"], ends);
        let runs = runs["pages"].as_array().unwrap();
        assert_eq!(runs.iter().filter(|run| run["state"] == "mapped").count(), ends);
        assert_eq!(runs.iter().map(|run| run["page_count"].as_u64().unwrap()).sum::<u64>(), 300);
        for run in &runs[..ends] {
            let page = (address(&run["address"]) - memory.address(0)) / page_size();
            assert_eq!(address(&run["paddr"]), before[usize::try_from(page).unwrap()].unwrap());
        }
        return;
    }
    panic!("the pages never stay where they are")
}

// memory of memtool's own

/// The pages of plain output: state, place, domain.
#[track_caller]
fn pages(run: &Run) -> Vec<(u64, String, String, String)> {
    let lines = run.lines().into_iter().take_while(|line| !line.is_empty());
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            (address(&json!(fields[0])), fields[1].to_owned(), fields[2].to_owned(), fields[3].to_owned())
        })
        .collect()
}

#[test]
fn fresh_memory_has_pages_once_it_is_touched_or_locked() {
    if !can_see_places() {
        return;
    }
    let size = (16 * page_size()).to_string();
    for (options, state) in [(&[][..], "VALID"), (&["--touch"], "MAPPED"), (&["--lock"], "MAPPED")] {
        let pages = pages(&memtool(&[&["paddr", "--alloc", &size], options].concat()).ok());
        assert_eq!(pages.len(), 16);
        let mut places = BTreeSet::new();
        for (index, (address, found, place, domain)) in (0_u64..).zip(pages.iter()) {
            assert_eq!((*address, found.as_str()), (pages[0].0 + index * page_size(), state), "{options:?}");
            if state == "MAPPED" {
                assert!(places.insert(common::address(&json!(place))), "two pages in one place");
                assert!(nodes().contains(&domain.parse().unwrap()));
            }
        }
        assert!(places.iter().all(|place| place.is_multiple_of(page_size()) && *place > 0));
    }
}

#[test]
fn a_file_is_where_every_process_that_maps_it_sees_it() {
    if !can_see_places() {
        return;
    }
    let directory = directory();
    let path = write_file(directory.path(), &vec![7; usize::try_from(8 * page_size() + 100).unwrap()]);
    let mine = Pages::of(&File::open(&path).unwrap(), 9);
    (0..9).for_each(|page| mine.read(page));
    for _ in 0..100 {
        let before = places(&mine.addresses());
        let whole = pages(&memtool(&["paddr", "--touch", "--file", text(&path)]).ok());
        let offset = (3 * page_size()).to_string();
        let part = pages(&memtool(&["paddr", "--touch", "--file", text(&path), "--offset", &offset]).ok());
        let untouched = pages(&memtool(&["paddr", "--file", text(&path)]).ok());
        if places(&mine.addresses()) != before {
            continue;
        }
        let found: Vec<u64> = whole.iter().map(|page| address(&json!(page.2))).collect();
        assert_eq!(found, before.into_iter().map(Option::unwrap).collect::<Vec<_>>());
        assert_eq!(part.iter().map(|page| address(&json!(page.2))).collect::<Vec<_>>(), found[3..]);
        assert_eq!(untouched.len(), 9);
        assert!(untouched.iter().all(|page| page.1 == "VALID"), "{untouched:?}");
        return;
    }
    panic!("the pages never stay where they are")
}

#[test]
fn more_pages_than_are_looked_up_at_once_are_all_there() {
    if !can_see_places() {
        return;
    }
    let count = 3 * memtool::host::PAGES_AT_ONCE as u64 / 2;
    let size = (count * page_size()).to_string();
    let document = memtool(&["--json", "paddr", "--runs", "--alloc", &size]).ok().json();
    assert_eq!(document["summary"]["valid_count"], count);
    assert_eq!(document["pages"].as_array().unwrap().len(), 1);
}

// what cannot be

fn sleeper() -> Child {
    Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_process_that_is_not_there_is_an_error() {
    if !can_see_places() {
        return;
    }
    // Linux gives no numbers beyond 4194304.
    let no_process = i32::MAX.to_string();
    let mut ended = sleeper();
    ended.kill().unwrap();
    // It waits for us to ask how it ended.
    let stat = format!("/proc/{}/stat", ended.id());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let zombie = ended.id().to_string();
    for pid in [&no_process, &zombie] {
        for json in [&[][..], &["--json"]] {
            let run = memtool(&[json, &["paddr", "--pid", pid, "0x1000", "0x2000"]].concat());
            run.fails_saying(&[&format!("process {pid}: "), "no such process, or it has exited"]);
        }
    }
    ended.wait().unwrap();
    memtool(&["paddr", "--pid", &zombie, "0x1000"]).fails_saying(&["no such process, or it has exited"]);
}

#[test]
fn a_kernel_thread_is_said_to_be_one() {
    if std::fs::read_to_string("/proc/2/comm").ok().as_deref() != Some("kthreadd\n") {
        eprintln!("SKIPPED: no kernel thread can be seen here");
        return;
    }
    memtool(&["paddr", "--pid", "2", "0x1000"]).fails_saying(&["process 2", "kernel thread kthreadd", "address space"]);
    let host = open_for_processes(&Selection::default()).unwrap();
    let error = host.process_map(Pid::from_raw(2), Detail::Domains).unwrap_err();
    assert!(error.to_string().contains("kernel thread kthreadd"), "{error}");
}

#[test]
fn a_process_that_ends_meanwhile_gives_a_whole_table_or_none() {
    if !can_see_places() {
        return;
    }
    let addresses: Vec<u64> = (0..20_000).map(|page| (1 << 32) + page * 1000 * page_size()).collect();
    // So that it ends at any moment of a look-up.
    let started = Instant::now();
    memtool(&arguments(&["paddr", "--pid", &my_pid()], &addresses)).ok();
    let usual = started.elapsed();
    let (mut whole, mut none) = (0, 0);
    for round in 0..60 {
        let mut child = sleeper();
        let pid = child.id().to_string();
        let all = arguments(&["paddr", "--pid", &pid], &addresses);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(usual * round / 50);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        let run = memtool(&all);
        killer.join().unwrap();
        if run.code == 0 {
            whole += 1;
            let lines = run.ok();
            assert_eq!(lines.lines().iter().take_while(|line| !line.is_empty()).count(), addresses.len());
        } else {
            none += 1;
            run.fails_saying(&[&format!("process {pid}: "), "no such process, or it has exited"]);
        }
    }
    eprintln!("{whole} whole tables, {none} errors");
}

/// What memtool says without privileges; the program is where everybody may run it.
fn unprivileged(arguments: &[&str]) -> Run {
    if !nix::unistd::geteuid().is_root() {
        return memtool(arguments);
    }
    let directory = directory();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = directory.path().join("memtool");
    // Not by the test itself: another test's child would hold the file open for writing while it is to be run.
    assert!(Command::new("cp").arg(command().get_program()).arg(&program).status().unwrap().success());
    let mut command = Command::new(program);
    command.args(arguments).uid(NOBODY).gid(NOBODY).current_dir("/").stdin(Stdio::null());
    run(&mut command)
}

#[test]
fn who_may_not_see_physical_addresses_is_told_so() {
    let size = (4 * page_size()).to_string();
    if !nix::unistd::geteuid().is_root() && can_see_places() {
        eprintln!("SKIPPED: who runs this is not root, and has privileges all the same");
        return;
    }
    for arguments in [
        &["paddr", "--alloc", &size, "--touch"][..],
        &["paddr", "--alloc", &size],
        &["paddr", "--alloc", &size, "--touch", "--json"],
        &["paddr", "--file", "/proc/self/exe", "--touch", "--runs"],
        &["paddr", "0x1000"],
    ] {
        unprivileged(arguments).fails_saying(&["physical addresses", "CAP_SYS_ADMIN", "root"]);
    }
}

#[test]
fn another_users_process_is_refused_with_what_it_takes() {
    let mut other;
    let pid = if nix::unistd::geteuid().is_root() {
        other = Some(sleeper());
        other.as_ref().unwrap().id().to_string()
    } else {
        other = None;
        "1".to_owned()
    };
    let run = unprivileged(&["paddr", "--pid", &pid, "0x1000"]);
    if let Some(other) = &mut other {
        other.kill().unwrap();
        wait(other);
    }
    run.fails_saying(&[
        &format!("process {pid}: EACCES"),
        "not your process",
        "CAP_SYS_PTRACE",
        "CAP_SYS_ADMIN",
        "root",
    ]);
}

#[test]
fn what_takes_mem_4_is_still_refused() {
    let error = open(&Selection::default()).err().unwrap();
    let host = open_for_processes(&Selection::default()).unwrap();
    assert_eq!(host.kind(), "linux");
    let expected = error.to_string();
    assert_eq!(expected, "this system is not FreeBSD and has no mem(4)");
    // Nothing else of mem(4) can even be asked of a host that was opened for its processes.
    assert_eq!(host.kernel_maps().unwrap_err().to_string(), expected);
    let device = Selection { machine: None, device: Some(Path::new("/dev/mem")) };
    assert_eq!(open_for_processes(&device).err().unwrap().to_string(), expected);
    memtool(&["--device", "/dev/mem", "paddr", "0x1000"]).fails_saying(&["not FreeBSD"]);
}

// domains of a whole map

/// How much of the entry of this process that begins where these pages do is in memory, and where, in pages.
fn counted(map: &ProcessMap, pages: &Pages) -> (u64, PagesByDomain) {
    let index = map.entries.iter().position(|entry| entry.start == pages.address(0)).unwrap();
    (map.entries[index].usage.unwrap().resident / page_size(), map.domains.as_ref().unwrap()[index].clone())
}

fn own_map() -> ProcessMap {
    let host = open_for_processes(&Selection::default()).unwrap();
    host::read_process_map(&*host, Pid::this(), Detail::Domains).unwrap()
}

/// Checks that so many pages of each are in memory, and all of them in known domains.
#[track_caller]
fn are_counted(expected: &[(&Pages, u64)]) {
    let map = own_map();
    for (pages, expected) in expected {
        let (resident, counted) = counted(&map, pages);
        assert_eq!((resident, counted.total(), counted.unknown_domain), (*expected, *expected, 0));
    }
}

#[test]
fn a_map_counts_pages_by_domain_without_privileges_however_large_entries_are() {
    // 16 TiB of pages of 4 KiB: far too many to look at each.
    let sparse = Pages::new(1 << 32);
    let touched = [0, 1, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 3 << 17, (1 << 32) - 1];
    touched.iter().for_each(|page| sparse.write(*page));
    let dense = Pages::new(100_000);
    (0..100_000).for_each(|page| dense.write(page));
    let empty = Pages::new(10);
    are_counted(&[(&sparse, 7), (&dense, 100_000), (&empty, 0)]);
}

/// They are the kernel's, and in memory only once.
#[test]
fn pages_of_zeros_are_in_no_domain_whatever_else_is_in_the_entry() {
    let (zeros, with_one) = (Pages::new(200), Pages::new(200));
    for page in 0..200 {
        zeros.read(page);
        with_one.read(page);
    }
    with_one.write(7);
    // What huge pages would be made of, and are where the kernel has a huge page of zeros.
    let size = usize::try_from(8 * superpage_size(page_size())).unwrap();
    let huge = Pages::new(8 * superpage_size(page_size()) / page_size());
    // SAFETY: the mapping is ours. A kernel without huge pages refuses, and then these are pages as the others.
    let _ = unsafe { madvise(huge.start, size, MmapAdvise::MADV_HUGEPAGE) };
    (0..huge.count).for_each(|page| huge.read(page));
    are_counted(&[(&zeros, 0), (&with_one, 1), (&huge, 0)]);
}

#[test]
fn domains_are_those_of_single_pages() {
    if !can_see_places() {
        return;
    }
    let host = open_for_processes(&Selection::default()).unwrap();
    let memory = Pages::new(50);
    (0..20).for_each(|page| memory.write(page));
    let mut expected = PagesByDomain::default();
    for state in host.page_states(Some(Pid::this()), &memory.addresses()).unwrap() {
        if let PageState::Mapped { domain, .. } = state {
            expected.add(domain, 1);
        }
    }
    assert_eq!(expected.total(), 20);
    assert_eq!(counted(&own_map(), &memory).1, expected);
}
