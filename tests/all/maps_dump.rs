//! `memtool maps` of a process in a dump, read from the kernel's structures by its types.

use crate::common::process_maps::{
    ANON, COW, Entry, GROWS_DOWN, GUARD, MapKernel, NEEDS_COPY, NO_FAULT, Object, PAGE, PROGRAM, SWAP, Space, TMPFS,
    VNODE,
};
use crate::common::typed_kernel::WriteFiles as _;
use crate::common::{Run, memtool, noise, text};
use serde_json::Value;
use vmcore_synth::Arch;

/// Where things of the shell are in a kernel.
struct Shell {
    built: MapKernel,
    space: Space,
    vnode: u64,
    file: u64,
    heap: u64,
}

/// Entries with the same rights as most have.
fn entry(start: u64, pages: u64, object: u64) -> Entry {
    Entry {
        start,
        end: start + pages * PAGE,
        object,
        protection: 3,
        max_protection: 7,
        inheritance: 1,
        ..Entry::default()
    }
}

/// A shell: its program, its data with copies of some pages, its heap, and a stack behind a guard.
fn shell(arch: Arch) -> Shell {
    let mut built = MapKernel::new(arch);
    let vnode = built.file("/bin/sh", 70173);
    let file = built.object(&Object {
        of: VNODE,
        references: 3,
        handle: vnode,
        pages: vec![0, 1, 2, 3, 16, 17, 300],
        ..Object::default()
    });
    let data = built.object(&Object {
        of: SWAP,
        flags: ANON,
        references: 1,
        backing: file,
        backing_offset: 16 * PAGE,
        pages: vec![1],
        ..Object::default()
    });
    let heap = built.object(&Object {
        of: SWAP,
        flags: ANON,
        references: 1,
        pages: vec![0, 1, 40],
        swapped: vec![3, 4, 15, 16, 40],
        ..Object::default()
    });
    let text = Entry { protection: 5, flags: COW | NEEDS_COPY, ..entry(PROGRAM, 4, file) };
    let stack = 0x7fff_ffff_0000;
    let entries = [
        text,
        Entry { flags: COW, ..entry(PROGRAM + 4 * PAGE, 4, data) },
        Entry { wired: 1, ..entry(0x40_0000, 64, heap) },
        Entry { flags: GUARD, protection: 0, max_protection: 0, offset: 3, ..entry(stack - 16 * PAGE, 16, 0) },
        Entry { flags: GROWS_DOWN | 0x80, ..entry(stack, 8, 0) },
    ];
    let space = built.process(70, "sh", &entries);
    Shell { built, space, vnode, file, heap }
}

impl Shell {
    #[track_caller]
    fn maps(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments).ok();
        assert_eq!(run.stderr, "");
        run.stdout
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.built.kernel.write().run(&[&["maps", "70"], arguments].concat())
    }

    /// What is listed of a map that is damaged, which a warning says.
    #[track_caller]
    fn damaged(&self, arguments: &[&str], why: &str) -> String {
        let run = self.run(arguments).exits(1);
        assert!(run.stderr.starts_with("memtool: warning: the map of process 70 is not whole: "), "{}", run.stderr);
        assert!(run.stderr.contains(why), "{}", run.stderr);
        run.stdout
    }

    fn set_entry(&mut self, index: usize, member: &str, value: impl Into<i128>) {
        self.built.set(self.space.entries[index], "vm_map_entry", member, value);
    }
}

#[test]
fn a_process_of_a_dump_is_listed_in_every_style() {
    for arch in [Arch::Amd64, Arch::Arm64, Arch::Powerpc64] {
        let shell = shell(arch);
        let solaris = "\
0000000000200000     16K read/exec         /bin/sh
0000000000204000     16K read/write        /bin/sh
0000000000400000    256K read/write          [ heap ]
00007FFFFFFE0000     64K                     [ guard ]
00007FFFFFFF0000     32K read/write          [ stack ]
 total              320K
";
        assert_eq!(shell.maps(&[]), solaris, "{arch:?}");
        let linux = "\
00200000-00204000 r-xp 00000000 00:5a 70173                              /bin/sh
00204000-00208000 rw-p 00010000 00:5a 70173                              /bin/sh
00400000-00440000 rw-p 00000000 00:00 0                                  [heap]
7ffffffe0000-7fffffff0000 ---p 00000000 00:00 0                          [guard]
7fffffff0000-7fffffff8000 rw-p 00000000 00:00 0                          [stack]
";
        assert_eq!(shell.maps(&["-l"]), linux, "{arch:?}");
        let map = "\
0x200000 0x204000 r-x rwx COW NC 1 0 0
0x204000 0x208000 rw- rwx COW NNC 1 0 0
0x400000 0x440000 rw- rwx NCOW NNC 1 1 0
0x7ffffffe0000 0x7fffffff0000 --- --- NCOW NNC 1 0 0
0x7fffffff0000 0x7fffffff8000 rw- rwx NCOW NNC 1 0 1
";
        assert_eq!(shell.maps(&["-m"]), map, "{arch:?}");
        let with_names = shell.maps(&["-m", "-v", "-v"]);
        assert!(with_names.starts_with("0x200000 0x204000 r-x rwx COW NC 1 0 0 0,90 70173 /bin/sh\n"), "{with_names}");
        assert!(with_names.contains("\n*\n"), "{with_names}");
        let reserved = shell.maps(&["-r"]);
        assert!(reserved.contains("[ gap ]") && reserved.contains("[ guard ]"), "{reserved}");
        // Of the data, one page is a copy and one is still the file's; of the heap, three are there.
        let usage = "\
000000200000\t16\t16\t0\t16\t-\tr-xp\t/bin/sh
000000204000\t16\t8\t4\t4\t-\trw-p\t/bin/sh
000000400000\t256\t12\t12\t0\t-\trw-p\t[ heap ]
7ffffffe0000\t64\t0\t0\t0\t0\t---p\t[ guard ]
7fffffff0000\t32\t0\t0\t0\t0\trw-p\t[ stack ]
total\t384\t36\t16\t20\t-\t\t
";
        assert_eq!(shell.maps(&["-x"]), usage, "{arch:?}");
    }
}

#[test]
fn the_style_of_ddb_shows_addresses() {
    let shell = shell(Arch::Amd64);
    let (Space { map, entries, .. }, built) = (&shell.space, &shell.built);
    let pmap = built.at(shell.space.vmspace, "vmspace", "vm_pmap");
    let (file, heap, vnode) = (shell.file, shell.heap, shell.vnode);
    let shown = shell.maps(&["-d", "-v"]);
    let expected = format!(
        "\
MAP {map:#x}: [0x1000->0x800000000000]
\t#ent=5, sz=32768, ref=1, version=20, flags=0x8
\tpmap={pmap:#x}(resident=321)
 - {:#x}: 0x200000->0x204000: obj={file:#x}/0x0, amap=0x0/0
\tsubmap=F, cow=T, nc=T, prot(max)=5/7, inh=1, wc=0, adv=0
\t(dev=0,90 ino=70173 [/bin/sh] [{vnode:#x}])
",
        entries[0]
    );
    assert_eq!(shown.split_inclusive('\n').take(6).collect::<String>(), expected);
    let heap = format!(" - {:#x}: 0x400000->0x440000: obj={heap:#x}/0x0, amap=0x0/0\n", entries[2]);
    assert!(shown.contains(&heap), "{shown}");
    let guard = format!(" - {:#x}: 0x7ffffffe0000->0x7fffffff0000: obj=0x0/0x3, amap=0x0/0\n", entries[3]);
    assert!(shown.contains(&guard), "{shown}");
}

#[test]
fn structures_are_dumped_by_the_bits_of_a_mask() {
    let shell = shell(Arch::Powerpc64);
    let Space { vmspace, map, entries, .. } = &shell.space;
    let heads = |mask: &str| {
        let shown = shell.maps(&["-D", mask]);
        let heads = shown.lines().filter(|line| line.starts_with("struct ")).map(str::to_owned);
        (heads.collect::<Vec<_>>(), shown)
    };
    assert!(heads("0").0.is_empty());
    let (found, shown) = heads("1");
    assert_eq!(found, [format!("struct vmspace at {vmspace:#x}:")]);
    assert!(shown.contains("\tvm_refcnt = 0x1\n\tvm_pmap.pm_cr3 = 0x0\n"), "{shown}");
    assert!(!shown.contains("nentries"), "{shown}");
    let (found, shown) = heads("2");
    assert_eq!(found, [format!("struct vm_map at {map:#x}:")]);
    assert!(shown.contains("\tnentries = 5\n") && !shown.contains("header"), "{shown}");
    let (found, shown) = heads("4");
    assert_eq!(found, [format!("struct vm_map_entry at {map:#x}:")]);
    assert!(shown.contains("\tstart = 0x800000000000\n\tend = 0x1000\n"), "{shown}");
    let (found, shown) = heads("8");
    assert_eq!(found, entries.iter().map(|at| format!("struct vm_map_entry at {at:#x}:")).collect::<Vec<_>>());
    assert!(shown.contains("\tprotection = 0x5\n") && shown.ends_with("320K\n"), "{shown}");
    // The file's name and its directory's, for each of two entries.
    let (found, shown) = heads("16");
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|head| head.starts_with("struct namecache at ")), "{found:?}");
    assert!(shown.contains("\tnc_nlen = 0x2\n\tnc_name = \"sh\"\n"), "{shown}");
    assert!(shown.contains("\tnc_nlen = 0x3\n\tnc_name = \"bin\"\n"), "{shown}");
    assert_eq!(heads("31").0.len(), 3 + 5 + 4);
}

#[test]
fn structures_are_in_the_json_object() {
    let mut shell = shell(Arch::Amd64);
    let process = shell.space.process;
    shell.built.arguments(process, &["-sh", "a b"]);
    let object = shell.run(&["--json"]).ok().json();
    assert_eq!(object["host"], "image");
    let process = &object["processes"][0];
    assert_eq!((&process["pid"], &process["command"]), (&70.into(), &"-sh a b".into()));
    let map = &process["structures"];
    assert_eq!((&map["map"], &map["entry_count"]), (&format!("{:#x}", shell.space.map).into(), &5.into()));
    assert_eq!(map["pmap_resident_count"], 321);
    let heap = &process["entries"][2];
    assert_eq!(heap["structures"]["object_address"], format!("{:#x}", shell.heap));
    assert_eq!(heap["object_id"], heap["structures"]["object_address"]);
    assert_eq!(heap["label"], "heap");
    // Page 40 is in both.
    let usage = &heap["usage"];
    assert_eq!((&usage["bytes_resident"], &usage["bytes_swapped"]), (&(3 * PAGE).into(), &(4 * PAGE).into()));
    assert_eq!(usage["superpages"], serde_json::Value::Null);
    assert_eq!(process["entries"][4]["advice"], "random");
    assert_eq!(process["layout"]["flags"], serde_json::json!(["aslr"]));
    assert_eq!(process["layout"]["data"]["start"], "0x400000");
    assert_eq!(process["entries"][0]["structures"]["vnode"], format!("{:#x}", shell.vnode));
}

#[test]
fn a_damaged_map_ends_with_a_warning_where_it_is_damaged() {
    let first_two = "\
00200000     16K read/exec         /bin/sh
00204000     16K read/write        /bin/sh
 total       32K
";
    let unmapped = shell(Arch::Amd64).built.kernel.unmapped();
    for (member, value, why) in [
        ("start", 0x10_0000, "is out of order: it begins at 0x100000"),
        ("end", 0x40_0000, "is damaged: it goes from 0x400000 to 0x400000"),
        ("end", u64::MAX, "is damaged: it goes from 0x400000 to 0xffffffffffffffff"),
    ] {
        let mut shell = shell(Arch::Amd64);
        shell.set_entry(2, member, value);
        assert_eq!(shell.damaged(&[], why), first_two);
    }
    // The right child of the root, or the neighbour of what has none.
    for (index, member, to) in [(1, "right", unmapped), (1, "right", 8)] {
        let mut shell = shell(Arch::Amd64);
        shell.set_entry(index, member, to);
        let said = shell.damaged(&[], &format!("the map entry at {to:#x} cannot be read"));
        assert_eq!(said, first_two);
    }
    // A tree that leads back to itself.
    let mut circle = shell(Arch::Amd64);
    let (third, fourth) = (circle.space.entries[2], circle.space.entries[3]);
    let fifth = circle.space.entries[4];
    circle.set_entry(3, "left", fifth);
    circle.set_entry(4, "left", fourth);
    assert_ne!(third, fourth);
    let said = circle.damaged(&[], "the map's tree leads back to the entry at ");
    assert!(said.contains("[ heap ]") && !said.contains("[ guard ]"), "{said}");
    // It says that it has more entries than it has.
    let mut short = shell(Arch::Amd64);
    short.built.set(short.space.map, "vm_map", "nentries", 6);
    let said = short.damaged(&[], "says that it has 6 entries, not 5");
    assert!(said.contains("[ stack ]"), "{said}");
}

#[test]
fn what_cannot_be_read_behind_an_entry_is_not_made_up() {
    let mut shell_ = shell(Arch::Amd64);
    let unmapped = shell_.built.kernel.unmapped();
    shell_.set_entry(2, "object.vm_object", unmapped);
    let said = shell_.damaged(&[], &format!("the object at {unmapped:#x} cannot be read"));
    assert!(said.contains("0000000000400000    256K read/write          [ unknown ]\n"), "{said}");
    let said = shell_.damaged(&["-x"], "cannot be read");
    assert!(said.contains("\n000000400000\t256\t-\t-\t-\t-\trw-s\t[ unknown ]\n"), "{said}");
    // An object that is its own copy.
    let mut circle = shell(Arch::Amd64);
    let heap = circle.heap;
    circle.built.set(heap, "vm_object", "backing_object", heap);
    let said = circle.damaged(&[], &format!("the objects behind the one at {heap:#x} lead back to {heap:#x}"));
    assert!(said.contains("[ unknown ]"), "{said}");
    // A type that no pager is for.
    let mut odd = shell(Arch::Amd64);
    odd.built.set(odd.heap, "vm_object", "type", 200);
    odd.damaged(&[], "its type is 200, and the kernel has no such pager");
    // Pages that cannot be counted; the styles that do not count do not look.
    let mut pages = shell(Arch::Amd64);
    pages.built.set(pages.heap, "vm_object", "rtree.rt_trie.pt_root", unmapped);
    let said = pages.damaged(&["-x"], "cannot be counted");
    assert!(said.contains("\n000000400000\t256\t-\t-\t-\t-\trw-p\t[ heap ]\n"), "{said}");
    pages.maps(&[]);
    // A file whose vnode is not there.
    let mut file = shell(Arch::Amd64);
    let node = file.vnode;
    file.built.set(file.file, "vm_object", "handle", unmapped);
    assert_ne!(node, unmapped);
    let said = file.damaged(&[], "cannot be read");
    assert!(said.contains("0000000000200000     16K read/exec           [ file ]\n"), "{said}");
}

/// Has the shell's program be another file, and tells its name.
fn named(change: impl FnOnce(&mut MapKernel) -> u64) -> Run {
    let mut built = MapKernel::new(Arch::Amd64);
    let vnode = change(&mut built);
    let file = built.object(&Object { of: VNODE, references: 1, handle: vnode, ..Object::default() });
    built.process(70, "sh", &[entry(PROGRAM, 1, file)]);
    built.kernel.write().run(&["maps", "70", "-l"])
}

#[test]
fn paths_cross_mount_points_and_end_where_the_name_cache_does() {
    let path = |run: &Run| run.stdout.split_whitespace().last().unwrap().to_owned();
    // On another file system, whose numbers are not known.
    let mounted = named(|built| {
        let covered = built.file("/usr/local", 5);
        let mount = built.mount("strangefs", covered);
        let root = built.vnode(mount, 2);
        built.set(root, "vnode", "v_vflag", 1);
        let file = built.vnode(mount, 7);
        built.name(file, root, "tool");
        file
    });
    assert_eq!(path(&mounted), "/usr/local/tool");
    assert!(mounted.stdout.contains(" 00:00 0 "), "{}", mounted.stdout);
    let remark = "memtool: device and inode are unknown for 1 mapping of files, by their file systems\n";
    assert_eq!(mounted.ok().stderr, remark);
    // Through nullfs: names are those of the file system that it shows.
    let shown = named(|built| {
        let (lower_root, covered) = (built.file("/jails/base", 5), built.file("/jails/web", 6));
        let lower = built.vnode(built.mount, 4711);
        built.name(lower, lower_root, "httpd");
        let mount = built.mount("nullfs", covered);
        let data = built.allocate("null_mount");
        built.set(data, "null_mount", "nullm_lowerrootvp", lower_root);
        built.set(mount, "mount", "mnt_data", data);
        let (upper, node) = (built.vnode(mount, 0), built.allocate("null_node"));
        built.set(node, "null_node", "null_lowervp", lower);
        built.set(upper, "vnode", "v_data", node);
        upper
    })
    .ok();
    assert_eq!(path(&shown), "/jails/web/httpd");
    assert!(shown.stdout.contains(" 12:34 4711 "), "{}", shown.stdout);
    // The directory's name is forgotten: what is known of the path begins with none.
    let forgotten = named(|built| {
        let directory = built.vnode(built.mount, 5);
        let file = built.vnode(built.mount, 7);
        built.name(file, directory, "tool");
        file
    })
    .ok();
    assert_eq!(path(&forgotten), ".../tool");
    let nameless = named(|built| built.vnode(built.mount, 7)).ok();
    assert_eq!(path(&nameless), "[file]");
    // The entry of '..' in a directory is no name of it, and neither is one that is not valid any more.
    for flags in [0x2, 0x40, 0x80] {
        let no_name = named(|built| {
            let file = built.file("/tool", 7);
            let entry = built.name(file, built.root, "other");
            built.set(entry, "namecache", "nc_flag", flags);
            file
        });
        assert_eq!(path(&no_name.ok()), "[file]");
    }
    // Directories in each other.
    let circle = named(|built| {
        let (one, other) = (built.vnode(built.mount, 5), built.vnode(built.mount, 6));
        built.name(one, other, "one");
        built.name(other, one, "other");
        one
    })
    .ok();
    assert!(path(&circle).starts_with(".../"), "{}", circle.stdout);
}

#[test]
fn a_file_of_tmpfs_is_an_object_in_swap_space() {
    let mut built = MapKernel::new(Arch::Amd64);
    let covered = built.file("/tmp", 5);
    let mount = built.mount("tmpfs", covered);
    let (root, vnode, node) = (built.vnode(mount, 2), built.vnode(mount, 9), built.allocate("tmpfs_node"));
    built.set(root, "vnode", "v_vflag", 1);
    built.name(vnode, root, "buffer");
    built.set(vnode, "vnode", "v_data", node);
    built.set(node, "tmpfs_node", "tn_vnode", vnode);
    built.set(node, "tmpfs_node", "tn_id", 99);
    let pages = vec![0];
    let object = Object { of: TMPFS, flags: 0x4000, references: 2, pages, swapped: vec![1], ..Object::default() };
    let object = built.object(&object);
    built.set(object, "vm_object", "un_pager.swp.swp_priv", node);
    built.process(70, "sh", &[entry(PROGRAM, 2, object)]);
    let dump = built.kernel.write();
    let entry = &dump.run(&["maps", "70", "--json"]).ok().json()["processes"][0]["entries"][0];
    assert_eq!((&entry["path"], &entry["inode"]), (&"/tmp/buffer".into(), &"99".into()));
    assert_eq!((&entry["object"], &entry["private"]), (&"vnode".into(), &false.into()));
    let usage = &entry["usage"];
    assert_eq!((&usage["bytes_shared"], &usage["bytes_swapped"]), (&PAGE.into(), &PAGE.into()));
}

#[test]
fn pid_0_is_the_kernels_map_with_the_maps_in_it() {
    let mut built = MapKernel::new(Arch::Amd64);
    let (map, _) = built.kernel.variable_of("kernel_map_store");
    let (pipes, _) = built.kernel.variable_of("pipe_map_store");
    let object = built.object(&Object { of: 4, references: 9, pages: vec![0, 1], ..Object::default() });
    let pipes = Entry { flags: 0x2, object: pipes, ..entry(0x60_0000, 4, 0) };
    // Memory that the kernel maps itself, without an object: what of it is in memory is not known.
    let own = Entry { flags: NO_FAULT, ..entry(0x40_0000, 8, 0) };
    built.fill(map, &[entry(0x20_0000, 2, object), own, pipes]);
    built.process(70, "sh", &[]);
    let dump = built.kernel.write();
    let shown = dump.run(&["maps", "0", "-x"]).ok().stdout;
    let expected = "\
200000\t8\t8\t0\t8\t-\trw-s\t[ kernel ]
400000\t32\t-\t-\t-\t-\trw-s\t[ kernel ]
600000\t16\t-\t-\t-\t-\trw-s\t[ pipe_map ]
total\t56\t-\t-\t-\t-\t\t
";
    assert_eq!(shown, expected);
    let told = dump.run(&["maps", "0", "--json"]).ok().json();
    let told = &told["processes"][0];
    assert_eq!((&told["entries"][1]["usage"], &told["totals"]["bytes_resident"]), (&Value::Null, &Value::Null));
    let shown = dump.run(&["maps", "0", "-d"]).ok().stdout;
    assert!(shown.contains("\tsubmap=T, "), "{shown}");
    // A process without memory of its own shares the kernel's.
    let error = "process 70 has no memory of its own: it is a kernel process, or has exited";
    dump.run(&["maps", "70"]).exits(1).fails_saying(&[error]);
    let both = dump.run(&["maps", "70", "0"]).exits(1);
    assert!(both.stdout.starts_with("0: kernel\n") && both.stderr.contains(error), "{}", both.stdout);
}

#[test]
fn what_cannot_be_done_with_a_dump_is_said() {
    let dump = shell(Arch::Amd64).built.kernel.write();
    dump.run(&["maps", "71"]).fails_saying(&["the kernel has no process 71"]);
    dump.run(&["maps", "-P"]).usage_error(&["-P: memtool itself is not in a dump"]);
    dump.run(&["maps"]).usage_error(&["give the PID of a process in the dump"]);
    dump.run(&["maps", "70", "-x", "--numa"]).usage_error(&["--numa"]);
    dump.run(&["maps", "70", "-D", "32"]).usage_error(&["-D"]);
    dump.run(&["maps", "70", "-D", "1", "--json"]).usage_error(&["-D"]);
    memtool(&["maps", "70", "--core", text(&dump.core)]).fails_saying(&["--kernel"]);
    let mut without = shell(Arch::Amd64);
    without.built.kernel.has_types = false;
    without.run(&[]).fails_saying(&["has no types"]);
}

#[test]
fn a_map_of_thousands_of_entries_is_listed() {
    let mut built = MapKernel::new(Arch::Amd64);
    let pages: Vec<u64> = (0..1000).collect();
    let shared = built.object(&Object { of: SWAP, flags: ANON, references: 10_000, pages, ..Object::default() });
    let at = |index: u64| Entry { offset: index % 1000 * PAGE, ..entry(PROGRAM + index * 2 * PAGE, 1, shared) };
    let entries: Vec<Entry> = (0..10_000).map(at).collect();
    built.process(70, "sh", &entries);
    let run = built.kernel.write().run(&["maps", "70", "-x"]).ok();
    assert_eq!(run.lines().len(), 10_001);
    // Nothing else refers to the object: all is private.
    assert!(run.stdout.ends_with("total\t40000\t40000\t40000\t0\t-\t\t\n"), "{:?}", run.lines().last());
}

/// Pointers to what is elsewhere, and numbers that no kernel has: some of each in every run.
#[test]
fn no_damage_makes_it_panic_or_go_on_for_ever() {
    let noise = noise(1 << 14);
    let mut numbers = noise.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    let mut number = |limit: u64| numbers.next().unwrap() % limit;
    for round in 0..60 {
        let mut shell = shell(Arch::Amd64);
        let first = shell.built.root & !7;
        let end = shell.built.kernel.allocate_pages(PAGE);
        for _ in 0..=round / 6 {
            let at = first + number((end - first) / 8) * 8;
            let value = match number(6) {
                0 => 0,
                1 => u64::MAX,
                2 => 1 << 63,
                3 => number(1 << 20),
                _ => first + number(end - first),
            };
            shell.built.kernel.write_pointer(at, value);
        }
        for style in [&["-x"][..], &["-d", "-v", "-D", "31"]] {
            let run = shell.run(style);
            assert!(matches!(run.code, 0 | 1), "{}", run.stderr);
        }
    }
}

#[test]
fn superpages_are_counted_where_the_dump_has_the_page_tables() {
    let mut built = MapKernel::new(Arch::Amd64);
    let start = 0x8000_0000;
    let pages: Vec<u64> = (0..600).collect();
    let object = built.object(&Object { of: SWAP, flags: ANON, references: 2, pages, ..Object::default() });
    let behind = Entry { offset: 768 * PAGE, ..entry(start + 768 * PAGE, 4, object) };
    let space = built.process(70, "sh", &[entry(start, 768, object), behind]);
    // The first 2 MiB are one page, and of the next ones there are small pages.
    let tables: Vec<u64> = (0..4).map(|_| built.kernel.allocate_pages(PAGE)).collect();
    let physical: Vec<u64> = tables.iter().map(|table| built.kernel.physical(*table)).collect();
    for (level, shift) in [(0, 39), (1, 30)] {
        built.kernel.write_pointer(tables[level] + (start >> shift & 511) * 8, physical[level + 1] | 7);
    }
    built.kernel.write_pointer(tables[2], 0x20_0087);
    built.kernel.write_pointer(tables[2] + 8, physical[3] | 7);
    built.kernel.write_pointer(tables[3], 0x5007);
    built.set(space.vmspace, "vmspace", "vm_pmap.pm_cr3", physical[0] | 0xfff);
    let said = |built: &MapKernel| built.kernel.write().run(&["maps", "70", "-x"]).ok().stdout;
    let expected = "\
80000000\t3072\t2400\t2400\t0\t2048\trw-p\t[ anon ]
80300000\t16\t0\t0\t0\t0\trw-p\t[ anon ]
total\t3088\t2400\t2400\t0\t2048\t\t
";
    assert_eq!(said(&built), expected);
    // One of the tables is not in the dump.
    built.kernel.omit(tables[3]);
    assert!(said(&built).contains("\n80300000\t16\t0\t0\t0\t0\t"), "{}", said(&built));
    assert!(said(&built).starts_with("80000000\t3072\t2400\t2400\t0\t-\t"), "{}", said(&built));
}
