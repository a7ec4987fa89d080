//! Address spaces of programs: maps with entries, the objects behind these, and pages of them.

use crate::Moment;
use crate::kernel::{Demo, PAGE};
use crate::page_owners::Zone;
use crate::story::{Process, SHELL};

/// Flags of entries: `MAP_ENTRY_COW`, `MAP_ENTRY_NEEDS_COPY`, `MAP_ENTRY_GROWS_DOWN` and `MAP_ENTRY_GUARD`.
const COW: i128 = 0x4;
const NEEDS_COPY: i128 = 0x8;
const GROWS_DOWN: i128 = 0x1000;
const GUARD: i128 = 0x1_0000;
/// `OBJT_SWAP`, `OBJT_VNODE` and `OBJT_PHYS`; `OBJ_ANON`.
const SWAP: i128 = 1;
const VNODE: i128 = 2;
const PHYS: i128 = 4;
const ANON: i128 = 0x10;
const READ: i128 = 1;
const WRITE: i128 = 2;
const EXECUTE: i128 = 4;

const LIBC: &str = "/lib/libc.so.7";
/// The end of user memory, and where the shared page is.
const END: u64 = 0x8000_0000_0000;
const SHARED: u64 = 0x7fff_ffff_f000;
const STACK: u64 = 0x7fff_fffd_f000;
/// The largest stack, of which the rest is a guard.
const STACK_LIMIT: u64 = 0x7fff_dfff_f000;
/// Pages of a stack that are in memory.
const STACK_PAGES: u64 = 5;

/// What an entry maps.
#[derive(Clone, Copy)]
enum Maps {
    /// Pages of a file, from one on, that it shares with other processes: the number of those in memory.
    File(&'static str, u64, u64),
    /// Pages of a file that are the process's own once it writes to them: the number of these.
    Private(&'static str, u64, u64),
    /// Memory that is zeros at first: the number of pages that are in memory.
    Zeros(u64),
    Nothing,
    /// The page that the kernel shares with all processes.
    Shared,
}

impl Demo {
    /// Gives a process that runs a program its memory: how many pages are in memory.
    pub fn map_program(&mut self, space: u64, process: &Process) -> u64 {
        let program = crate::files::program(process);
        let own = self.pages_of_arena(process);
        let arena = (own * PAGE).next_multiple_of(2 << 20).max(4 << 20);
        let base = 0x8_2140_0000;
        let entries = [
            (0x20_0000, 0x20_7000, READ, Maps::File(program, 0, 7)),
            (0x20_7000, 0x22_3000, READ | EXECUTE, Maps::File(program, 6, 28)),
            (0x22_3000, 0x22_5000, READ | WRITE, Maps::Private(program, 0x21, 2)),
            (0x22_5000, 0x22_8000, READ | WRITE, Maps::Zeros(3)),
            (0x8_2100_0000, 0x8_2108_4000, READ, Maps::File(LIBC, 0, 132)),
            (0x8_2108_4000, 0x8_211c_f000, READ | EXECUTE, Maps::File(LIBC, 0x83, 300)),
            (0x8_211c_f000, 0x8_211d_8000, READ, Maps::Private(LIBC, 0x1cd, 9)),
            (0x8_211d_8000, 0x8_211d_f000, READ | WRITE, Maps::Private(LIBC, 0x1d5, 7)),
            (0x8_211d_f000, 0x8_213f_c000, READ | WRITE, Maps::Zeros(15)),
            (base, base + arena, READ | WRITE, Maps::Zeros(own)),
            (STACK_LIMIT, STACK, 0, Maps::Nothing),
            (STACK, SHARED, READ | WRITE, Maps::Zeros(STACK_PAGES)),
            (SHARED, END, READ | EXECUTE, Maps::Shared),
        ];
        let (mut resident, mut size) = (0, 0);
        let mut all = Vec::new();
        for (start, end, protection, maps) in entries {
            let (entry, pages) = self.map_entry((start, end), protection, maps, process);
            resident += pages;
            // Guards do not count.
            size += if matches!(maps, Maps::Nothing) { 0 } else { end - start };
            all.push(entry);
        }
        let header = self.at(space, "vmspace", "vm_map.header");
        let (first, last) = (all[0], all[all.len() - 1]);
        self.set(header, "vm_map_entry", "left", last);
        self.set(header, "vm_map_entry", "right", first);
        let entry = self.types.of("vm_map_entry");
        let root = self.kernel.entry_tree(entry, &all, header);
        let members = [
            ("vm_map.nentries", all.len() as u64),
            ("vm_map.size", size),
            ("vm_map.timestamp", all.len() as u64 + 7),
            ("vm_map.root", root),
            ("vm_tsize", 35),
            ("vm_dsize", 5),
            ("vm_ssize", (SHARED - STACK) / PAGE),
            ("vm_taddr", 0x20_0000),
            ("vm_daddr", 0x22_3000),
            ("vm_maxsaddr", STACK_LIMIT),
            ("vm_stacktop", SHARED),
            ("vm_shp_base", SHARED),
        ];
        members.into_iter().for_each(|(member, value)| self.set(space, "vmspace", member, value));
        resident
    }

    /// Pages of its largest piece of memory: what it has more than its program, library and stack; the shell's are in a
    /// superpage and some more.
    fn pages_of_arena(&self, process: &Process) -> u64 {
        if process.pid == SHELL { 600 } else { (process.resident / 4).saturating_sub(509).max(16) }
    }

    fn map_entry(&mut self, (start, end): (u64, u64), protection: i128, maps: Maps, process: &Process) -> (u64, u64) {
        let count = (end - start) / PAGE;
        // The shell's own pages are above 4 GiB; others are by the process.
        let zone = match process.pid {
            SHELL => Zone::Above,
            pid => [Zone::Above, Zone::High][pid as usize % 2],
        };
        let (object, offset, flags, pages) = match maps {
            Maps::File(path, first, pages) => (self.file_object(path, first, pages), first, COW | NEEDS_COPY, pages),
            Maps::Private(path, first, pages) => {
                let behind = self.file_object(path, first, 0);
                let (object, _) = self.anonymous(zone, count, 0, pages);
                self.set_all(
                    object,
                    "vm_object",
                    &[("backing_object", behind.into()), ("backing_object_offset", (first * PAGE).into())],
                );
                (object, 0, COW, pages)
            }
            Maps::Zeros(pages) => {
                if process.pid == SHELL && pages >= 512 {
                    self.align_pages(zone);
                }
                // Stacks grow downwards.
                let first = if start == STACK { count - pages } else { 0 };
                let flags = if start == STACK { GROWS_DOWN } else { 0 };
                let (object, last) = self.anonymous(zone, count, first, pages);
                if start == STACK {
                    self.pass_arguments(last, process.arguments);
                }
                (object, 0, flags, pages)
            }
            Maps::Nothing => (0, 0, GUARD, 0),
            Maps::Shared => (self.shared_page(), 0, 0, 1),
        };
        let entry = self.add(
            "vm_map_entry",
            &[
                ("start", start.into()),
                ("end", end.into()),
                ("object.vm_object", object.into()),
                ("offset", (offset * PAGE).into()),
                ("eflags", flags),
                ("protection", protection),
                ("max_protection", if object == 0 { 0 } else { READ | WRITE | EXECUTE }),
                ("inheritance", 1),
            ],
        );
        (entry, pages)
    }

    /// Has the last page of a stack the arguments, and behind them `struct ps_strings`.
    fn pass_arguments(&mut self, physical: u64, arguments: &[&str]) {
        // Dumps of a crash do not have the memory of processes.
        if self.moment == Moment::Crashed {
            return;
        }
        let text: Vec<u8> = arguments.iter().flat_map(|argument| argument.bytes().chain([0])).collect();
        let vector = (PAGE - 32 - text.len() as u64) & !15;
        let pointers = (vector - 8 * (arguments.len() as u64 + 1)) & !15;
        let mut page = vec![0; PAGE as usize];
        let mut write = |at: u64, bytes: &[u8]| page[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        let end = SHARED - PAGE;
        let mut next = vector;
        for (index, argument) in (0..).zip(arguments) {
            write(pointers + 8 * index, &(end + next).to_le_bytes());
            next += argument.len() as u64 + 1;
        }
        write(vector, &text);
        write(PAGE - 32, &(end + pointers).to_le_bytes());
        write(PAGE - 24, &(arguments.len() as u32).to_le_bytes());
        let at = self.kernel.mapped_at(physical);
        self.kernel.load(at, page);
    }

    /// Memory of a process alone, of which so many pages from one on are in memory: the object, and where the last one is.
    fn anonymous(&mut self, zone: Zone, size: u64, first: u64, pages: u64) -> (u64, u64) {
        let members = [("type", SWAP), ("flags", ANON), ("ref_count", 1), ("size", size.into())];
        let object = self.add("vm_object", &members);
        let pages: Vec<(u64, u64)> =
            (first..first + pages).map(|number| (number, self.take_page(zone, object, number))).collect();
        self.find_pages(object, &pages);
        (object, pages.last().map_or(0, |(_, physical)| *physical))
    }

    /// The object of a file, with these pages in memory, too.
    fn file_object(&mut self, path: &'static str, first: u64, count: u64) -> u64 {
        let vnode = self.file(path, 1);
        let key = format!("object {path}");
        if !self.known.contains_key(&key) {
            let members = [("type", VNODE), ("size", 0x200), ("handle", i128::from(vnode))];
            let object = self.add("vm_object", &members);
            self.known.insert(key.clone(), object);
        }
        let object = self.known[&key];
        let references = self.file_pages.entry(path).or_default().0 + 1;
        self.set(object, "vm_object", "ref_count", references);
        for number in first..first + count {
            if !self.file_pages[path].1.contains_key(&number) {
                let physical = self.take_page(Zone::Low, object, number);
                self.file_pages.entry(path).or_default().1.insert(number, physical);
            }
        }
        let known = self.file_pages.entry(path).or_default();
        known.0 = references;
        object
    }

    /// Has the objects of files know their pages.
    pub fn find_file_pages(&mut self) {
        for (path, (_, pages)) in std::mem::take(&mut self.file_pages) {
            let pages: Vec<(u64, u64)> = pages.into_iter().collect();
            let object = self.known[&format!("object {path}")];
            self.find_pages(object, &pages);
        }
    }

    fn shared_page(&mut self) -> u64 {
        if let Some(known) = self.known.get("shared page") {
            return *known;
        }
        let object = self.add("vm_object", &[("type", PHYS), ("ref_count", 15), ("size", 1)]);
        let physical = self.take_page(Zone::Low, object, 0);
        self.find_pages(object, &[(0, physical)]);
        let vector = self.known["vector"];
        let members = [("sv_shared_page_obj", object), ("sv_shared_page_base", SHARED), ("sv_shared_page_len", PAGE)];
        members.into_iter().for_each(|(member, value)| self.set(vector, "sysentvec", member, value));
        self.known.insert("shared page".to_owned(), object);
        object
    }
}
