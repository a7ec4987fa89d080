//! `livedump --without`: which pages are left out of a dump, that no other page is, and where that is noted.

use crate::common::minidump::Minidump;
use crate::common::page_kernel::{
    ANON, DEVICE, OBJREF, PAGE, PAGES, PHYS, POSIX_SHM, PageKernel, Release, SEGMENTS, SWAP, VNODE,
};
use crate::common::typed_kernel::WriteFiles as _;
use crate::common::{demo, demo_machine, directory, memtool, on, text, write_machine};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use vmcore::Kernel;
use vmcore::inventory::memory::spare_pages::spare_pages;
use vmcore::minidump::left_out::{LENGTH, LeftOut, OFFSET, Spare, Term};
use vmcore::types::ctf::CtfTypes;
use vmcore_synth::Arch;

/// `VPB_UNBUSIED`, a page that a thread has to itself, and `VPB_FREED`.
const UNBUSIED: u64 = 1;
const EXCLUSIVE: u64 = 2;
const FREED: u64 = 0xffff_fffe;

/// What is told of each page of a kernel, by segment and number.
fn spare(kernel: &PageKernel) -> BTreeMap<(usize, u64), Spare> {
    let files = kernel.kernel.write();
    let mut opened = Kernel::open(&files.core, Some(&files.kernel)).unwrap();
    opened.load_own_types(&mut CtfTypes::default()).unwrap();
    let mut told = BTreeMap::new();
    let place = |physical: u64| {
        let segment = usize::from(physical >= SEGMENTS[1]);
        (segment, (physical - SEGMENTS[segment]) / PAGE)
    };
    spare_pages(opened.typed().unwrap(), &mut |range| {
        for physical in (range.start..range.end).step_by(PAGE as usize) {
            assert!(told.insert(place(physical), range.spare).is_none(), "{physical:#x} is told of twice");
        }
    })
    .unwrap();
    told
}

/// A kernel whose pages all belong to objects, eight to each in this order, and are neither wired nor busy.
fn with_objects(objects: &[u64], kernel: &mut PageKernel) {
    for (object, first) in objects.iter().zip((0..).step_by(8)) {
        kernel.give(0, first..first + 8, *object);
        (first..first + 8).for_each(|index| kernel.set(0, index, "busy_lock", UNBUSIED));
    }
}

#[test]
fn only_pages_whose_structure_and_object_tell_it_are_spare() {
    for arch in [Arch::Amd64, Arch::Arm64, Arch::Powerpc64] {
        let mut kernel = PageKernel::new(arch, Release { is_new: true });
        assert_eq!(spare(&kernel), BTreeMap::new(), "what is wired and has no object is kept");
        let store = kernel.kernel.variable_of("kernel_object_store").0;
        let stacks = kernel.object(SWAP, 0);
        kernel.kernel.set_variable("kstack_object", "", stacks);
        let of = [(VNODE, 0), (SWAP, ANON), (SWAP, POSIX_SHM), (SWAP, 0), (DEVICE, 0), (PHYS, 0), (PHYS, POSIX_SHM)];
        let objects: Vec<u64> = of.into_iter().map(|(of, flags)| kernel.object(of, flags)).collect();
        let objects: Vec<u64> = objects.into_iter().chain([store, stacks]).collect();
        with_objects(&objects, &mut kernel);
        let cache = Spare::Of(Some(Term::Cache));
        let user = Spare::Of(Some(Term::User));
        let expected = [Some(cache), Some(user), Some(user), Some(Spare::Of(None)), None, None, Some(user), None, None];
        let found = spare(&kernel);
        for (index, expected) in expected.into_iter().enumerate() {
            for page in index as u64 * 8..index as u64 * 8 + 8 {
                assert_eq!(found.get(&(0, page)).copied(), expected, "{arch:?}: page {page}");
            }
        }
        // Of each object one page is wired, one busy, one fictitious, one dirty, one may be changed, one is not for dumps.
        for first in (0..objects.len() as u64 * 8).step_by(8) {
            kernel.set(0, first, "ref_count", OBJREF | 1);
            kernel.set(0, first + 1, "busy_lock", EXCLUSIVE);
            kernel.set(0, first + 2, "flags", 2_u64);
            kernel.set(0, first + 3, "dirty", 0x80_u64);
            kernel.set(0, first + 4, "a.flags", 1_u64);
            kernel.set(0, first + 5, "flags", 0x10_u64);
        }
        let found = spare(&kernel);
        let at = |page: u64| found.get(&(0, page)).copied();
        for (object, expected) in expected.into_iter().enumerate() {
            let first = object as u64 * 8;
            assert_eq!([first, first + 1, first + 2].map(at), [None; 3], "{arch:?}: {object}");
            let dirty = if expected == Some(cache) { Some(Spare::Of(None)) } else { expected };
            assert_eq!([first + 3, first + 4].map(at), [dirty; 2], "{arch:?}: {object}");
            assert_eq!(at(first + 5), Some(Spare::NotForDumps), "{arch:?}: {object}");
            assert_eq!([first + 6, first + 7].map(at), [expected; 2], "{arch:?}: {object}");
        }
    }
}

#[test]
fn free_pages_are_those_of_the_free_lists_and_what_cpus_keep() {
    let mut kernel = PageKernel::new(Arch::Amd64, Release { is_new: true });
    kernel.free(0, 16, 3);
    // A page that a CPU keeps, one that is being allocated, and one that was never available.
    kernel.release(1, 0..3);
    kernel.set(1, 0, "busy_lock", FREED);
    kernel.set(1, 1, "busy_lock", UNBUSIED);
    kernel.set(1, 2, "busy_lock", FREED);
    kernel.kernel.set_variable("phys_avail", "[3]", SEGMENTS[1] + 2 * PAGE);
    let free = Spare::Of(Some(Term::Free));
    let expected: BTreeMap<(usize, u64), Spare> =
        (16..24).map(|page| ((0, page), free)).chain([((1, 0), free)]).collect();
    assert_eq!(spare(&kernel), expected);
    assert!(expected.len() < 2 * PAGES as usize);
}

#[test]
fn kernels_whose_pages_do_not_tell_are_refused() {
    let kernel = PageKernel::new(Arch::Amd64, Release { is_new: false });
    let files = kernel.kernel.write();
    let mut opened = Kernel::open(&files.core, Some(&files.kernel)).unwrap();
    opened.load_own_types(&mut CtfTypes::default()).unwrap();
    let error = spare_pages(opened.typed().unwrap(), &mut |_| panic!("nothing is known")).unwrap_err();
    assert!(error.to_string().contains("does not tell which pages can be left out"), "{error}");
}

#[test]
fn the_note_is_read_as_it_was_written() {
    let mut left_out = LeftOut { terms: [Term::Zero, Term::User].into_iter().collect(), ..LeftOut::default() };
    left_out.add(Term::Zero, u64::MAX);
    left_out.add(Term::Zero, 2);
    left_out.undumpable = 7;
    let mut page = vec![0; 4096];
    assert_eq!(LeftOut::decode(&page), None);
    page[OFFSET..OFFSET + LENGTH].copy_from_slice(&left_out.encode());
    assert_eq!(LeftOut::decode(&page), Some(left_out));
    assert_eq!((left_out.terms.to_string(), left_out.pages_of(Term::Zero)), ("user,zero".to_owned(), u64::MAX));
    for short in [0, OFFSET, OFFSET + 40] {
        assert_eq!(LeftOut::decode(&page[..short]), None);
    }
    page[OFFSET] ^= 1;
    assert_eq!(LeftOut::decode(&page), None);
}

/// The demo machine, with pages of a process in its dumps: the first 64 pages of each run of RAM are, so that one of RAM before
/// the pages is taken away.
fn machine(directory: &Path) -> (std::path::PathBuf, BTreeMap<u64, String>) {
    let map = demo(&["--json", "map", "--pid", "930"]).ok().json();
    let layers = map["layers"].as_array().unwrap();
    let process = layers.iter().find(|layer| layer["layer"] == "process").unwrap();
    let number = |value: &Value| u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let mut machine = demo_machine();
    let mut pages = BTreeMap::new();
    for range in process["ranges"].as_array().unwrap() {
        let (start, end) = (number(&range["start"]), number(&range["end"]));
        let segments = machine["memory"]["segments"].as_array_mut().unwrap();
        let whole = segments.iter().position(|of| number(&of["start"]) < start && start < number(&of["end"]));
        let whole = whole.unwrap();
        let mut front = segments[whole].clone();
        front["end"] = json!(format!("{:#x}", start - PAGE));
        segments[whole]["start"] = json!(format!("{start:#x}"));
        segments.insert(whole, front);
        pages
            .extend((start..end).step_by(PAGE as usize).map(|page| (page, range["kind"].as_str().unwrap().to_owned())));
    }
    (write_machine(directory, &machine), pages)
}

/// The pages that a dump has.
fn dumped(machine: &Path, directory: &Path, without: Option<&str>) -> (Vec<u8>, Minidump) {
    let path = directory.join("dump");
    let mut arguments = vec!["livedump", "--force", "--method", "user", text(&path)];
    arguments.extend(without.iter().flat_map(|terms| ["--without", *terms]));
    on(machine, &arguments).ok();
    let bytes = std::fs::read(&path).unwrap();
    let mut as_the_kernels = bytes.clone();
    as_the_kernels[OFFSET..OFFSET + LENGTH].fill(0);
    (bytes, Minidump::parse(as_the_kernels))
}

#[test]
fn what_is_missing_from_a_dump_is_what_was_to_be_left_out_page_for_page() {
    let directory = directory();
    let (machine, pages) = machine(directory.path());
    let (_, full) = dumped(&machine, directory.path(), None);
    let keys = |dump: &Minidump| dump.pages.keys().copied().collect::<BTreeSet<u64>>();
    let of_kind = |kind: &str| {
        let there = pages.iter().filter(|(page, of)| *of == kind && full.pages.contains_key(page));
        there.map(|(page, _)| *page).collect::<BTreeSet<u64>>()
    };
    let (user, cache) = (of_kind("anonymous"), of_kind("file"));
    assert!(user.len() >= 64 && cache.len() >= 64, "{} and {}", user.len(), cache.len());
    let mut free = BTreeSet::new();
    for (terms, expected) in [("user", Some(&user)), ("cache", Some(&cache)), ("free", None)] {
        let (bytes, dump) = dumped(&machine, directory.path(), Some(terms));
        let missing: BTreeSet<u64> = keys(&full).difference(&keys(&dump)).copied().collect();
        assert!(keys(&dump).is_subset(&keys(&full)));
        match expected {
            // Other processes have pages of these kinds beside them.
            Some(expected) => assert!(
                expected.is_subset(&missing)
                    && !missing
                        .iter()
                        .any(|page| { pages.get(page).is_some_and(|kind| (kind == "anonymous") != (terms == "user")) })
            ),
            None => free = missing.clone(),
        }
        for page in keys(&dump) {
            assert_eq!(dump.page(page), full.page(page), "{page:#x}");
        }
        let note = LeftOut::decode(&bytes[..4096]).unwrap();
        assert_eq!((note.terms.to_string().as_str(), note.total()), (terms, missing.len() as u64));
    }
    assert!(!free.is_empty() && free.iter().all(|page| !user.contains(page) && !cache.contains(page)));
}

#[test]
fn a_dump_without_pages_says_so_and_shows_the_same_kernel() {
    let directory = directory();
    let (machine, pages) = machine(directory.path());
    let [full, part] = ["full", "part"].map(|name| directory.path().join(name));
    let [full, part] = [text(&full), text(&part)];
    on(&machine, &["livedump", "--method", "user", full]).ok();
    let terms = "user,cache,zero,free";
    let report = on(&machine, &["--json", "livedump", "--without", terms, part]).ok().json();
    let left_out = &report["left_out_pages"];
    assert_eq!(left_out["terms"], json!(["user", "cache", "zero", "free"]));
    assert!(left_out["user_page_count"].as_u64().unwrap() >= 64, "{left_out}");
    let inspected = memtool(&["--json", "inspect", "--verify", part]).ok().json();
    assert_eq!(&inspected["dump"]["left_out_pages"], left_out);
    assert_eq!(memtool(&["--json", "inspect", full]).ok().json()["dump"]["left_out_pages"], Value::Null);
    let shown = memtool(&["inspect", part]).ok().stdout;
    assert!(shown.contains("left out        --without user,cache,zero,free: "), "{shown}");
    let page = pages.iter().find(|(_, kind)| *kind == "anonymous").unwrap().0;
    let address = format!("{page:#x}");
    memtool(&["read", "-M", full, "--phys", &address]).ok();
    let absent = memtool(&["read", "-M", part, "--phys", &address]);
    assert!(absent.stdout.contains("left out by --without user,cache,zero,free"), "{}", absent.stdout);
    let kernel = directory.path().join("kernel");
    let kernel_file = demo_kernel(&kernel);
    let sections = ["page-use", "vmstat-m", "vmstat-z", "fstat", "sysctl", "netstat-an", "mount", "geom"];
    let shown = sections.map(|section| ["show", section]);
    let commands = [&["ps"][..], &["stack", "--all"], &["dmesg"]];
    for command in commands.into_iter().chain(shown.iter().map(|command| &command[..])) {
        let of = |core: &str| memtool(&[command, &["-M", core, "-N", kernel_file]].concat()).stdout;
        let (of_full, of_part) = (of(full), of(part));
        assert!(!of_full.is_empty(), "{command:?}");
        for (one, other) in of_full.lines().zip(of_part.lines()) {
            assert_eq!(one, other, "{command:?}");
        }
        assert_eq!(of_full.lines().count(), of_part.lines().count(), "{command:?}");
    }
}

/// The file of the demo machine's kernel.
fn demo_kernel(path: &Path) -> &str {
    let compressed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/host/recorded/demo/kernel.zst");
    let file = std::fs::File::create(path).unwrap();
    zstd::stream::copy_decode(std::fs::File::open(compressed).unwrap(), file).unwrap();
    text(path)
}

#[test]
fn only_memtool_leaves_pages_out_and_only_by_types() {
    let directory = directory();
    let file = directory.path().join("dump");
    demo(&["livedump", "--method", "kernel", "--without", "user", text(&file)]).exits(2);
    demo(&["livedump", "--without", "pages", text(&file)]).exits(2);
    let run = demo(&["livedump", "--without", "free", text(&file)]).ok();
    assert!(run.stderr.contains("the kernel cannot make a live dump without free; memtool makes"), "{}", run.stderr);
    // A kernel that is made up has no types.
    let mut machine = demo_machine();
    machine.as_object_mut().unwrap().remove("kernel");
    let run = on(&write_machine(directory.path(), &machine), &["livedump", "-f", "--without", "free", text(&file)]);
    assert!(
        run.code == 1 && run.stderr.contains("--without free: what the kernel's pages are used for cannot be told")
    );
}
