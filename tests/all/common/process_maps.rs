//! A kernel with types whose processes have memory maps: `struct proc`, `vmspace`, `vm_map`, objects, their pages, and
//! files with names.
//!
//! Sources: `sys/sys/proc.h`, `vnode.h`, `sys/vm/vm_map.h`, `vm_object.h`, `swap_pager.c`, `sys/kern/subr_pctrie.c`,
//! `vfs_cache.c`: members that the program needs, in the order in which they are there.

use super::typed_kernel::{Basic, TypedKernel};
use std::collections::BTreeMap;
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

pub const PAGE: u64 = 4096;
/// Where page 0 of each object is.
pub const PHYSICAL: u64 = 0x20_0000;
/// Where a program is mapped.
pub const PROGRAM: u64 = 0x20_0000;
/// Values of `enum obj_type`, and of what the kernel says of them.
pub const SWAP: u64 = 1;
pub const VNODE: u64 = 2;
pub const TMPFS: u64 = 8;
const PAGERS: [(u64, i32); 6] = [(SWAP, 3), (VNODE, 2), (3, 4), (4, 5), (5, 6), (TMPFS, 2)];
pub const ANON: u32 = 0x10;
/// `MAP_ENTRY_…`.
pub const COW: u32 = 0x4;
pub const NEEDS_COPY: u32 = 0x8;
pub const NO_FAULT: u32 = 0x10;
pub const GROWS_DOWN: u32 = 0x1000;
pub const GUARD: u32 = 0x1_0000;

/// An entry of a map.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    pub start: u64,
    pub end: u64,
    pub object: u64,
    pub offset: u64,
    pub flags: u32,
    pub protection: u8,
    pub max_protection: u8,
    pub inheritance: u8,
    pub wired: u32,
}

/// An object.
#[derive(Clone, Debug, Default)]
pub struct Object {
    pub of: u64,
    pub flags: u32,
    pub references: u32,
    pub backing: u64,
    pub backing_offset: u64,
    pub handle: u64,
    /// Pages that are in memory, ascending.
    pub pages: Vec<u64>,
    /// Pages that are in swap space.
    pub swapped: Vec<u64>,
}

/// Where the structures of a process are.
pub struct Space {
    pub process: u64,
    pub vmspace: u64,
    pub map: u64,
    pub entries: Vec<u64>,
}

/// A kernel as it is being built.
pub struct MapKernel {
    pub kernel: TypedKernel,
    pub types: BTreeMap<&'static str, Type>,
    processes: u64,
    pub mount: u64,
    pub root: u64,
}

impl MapKernel {
    pub fn new(arch: Arch) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let types = define(&mut kernel);
        let mut built = Self { kernel, types, processes: 0, mount: 0, root: 0 };
        built.variables();
        built.mount = built.mount("ufs", 0);
        built.root = built.vnode(built.mount, 2);
        built.set(built.root, "vnode", "v_vflag", 1);
        built.kernel.set_variable("rootvnode", "", built.root);
        built
    }

    pub fn of(&self, name: &str) -> Type {
        self.types[name]
    }

    pub fn set(&mut self, address: u64, of: &str, path: &str, value: impl Into<i128>) {
        self.kernel.set(address, self.types[of], path, value);
    }

    pub fn allocate(&mut self, of: &str) -> u64 {
        self.kernel.allocate(self.types[of])
    }

    pub fn at(&self, address: u64, of: &str, path: &str) -> u64 {
        self.kernel.address_of(address, self.of(of), path)
    }

    fn variables(&mut self) {
        let Basic { int, .. } = self.kernel.basic;
        let offsets = [
            ("proc_off_p_pid", "proc", "p_pid"),
            ("proc_off_p_comm", "proc", "p_comm"),
            ("proc_off_p_list", "proc", "p_list"),
            ("proc_off_p_threads", "proc", "p_threads"),
            ("thread_off_td_tid", "thread", "td_tid"),
            ("thread_off_td_name", "thread", "td_name"),
            ("thread_off_td_oncpu", "thread", "td_oncpu"),
            ("thread_off_td_pcb", "thread", "td_pcb"),
            ("thread_off_td_plist", "thread", "td_plist"),
        ];
        for (name, of, member) in offsets {
            self.kernel.variable(name, int);
            let offset = self.kernel.types.offset_of(self.of(of), member);
            self.kernel.set_variable(name, "", i128::from(offset));
        }
        let process = self.kernel.types.pointer(self.of("proc"));
        self.kernel.variable("allproc", process);
        let vnode = self.kernel.types.pointer(self.of("vnode"));
        self.kernel.variable("rootvnode", vnode);
        self.kernel.variable("kernel_map_store", self.of("vm_map"));
        self.kernel.variable("pipe_map_store", self.of("vm_map"));
        let pager = self.kernel.types.pointer(self.of("pagerops"));
        let table = self.kernel.types.array(pager, 16);
        self.kernel.variable("pagertab", table);
        for (of, kind) in PAGERS {
            let pager = self.allocate("pagerops");
            self.set(pager, "pagerops", "pgo_kvme_type", kind);
            self.kernel.set_variable("pagertab", &format!("[{of}]"), pager);
        }
    }

    /// A mount of a file system on a directory.
    pub fn mount(&mut self, file_system: &str, covered: u64) -> u64 {
        let (mount, kind) = (self.allocate("mount"), self.allocate("vfsconf"));
        self.kernel.set_text(kind, self.types["vfsconf"], "vfc_name", file_system);
        self.set(mount, "mount", "mnt_vfc", kind);
        self.set(mount, "mount", "mnt_vnodecovered", covered);
        self.set(mount, "mount", "mnt_stat.f_fsid.val[0]", 0x1234);
        mount
    }

    /// A file of UFS, or another one whose number is not known.
    pub fn vnode(&mut self, mount: u64, number: u64) -> u64 {
        let (vnode, inode) = (self.allocate("vnode"), self.allocate("inode"));
        let (ufs, device) = (self.allocate("ufsmount"), self.allocate("cdev_priv"));
        self.set(device, "cdev_priv", "cdp_inode", 0x5a);
        self.set(ufs, "ufsmount", "um_dev", device);
        self.set(inode, "inode", "i_ump", ufs);
        self.set(inode, "inode", "i_number", number);
        self.set(vnode, "vnode", "v_mount", mount);
        self.set(vnode, "vnode", "v_data", inode);
        vnode
    }

    /// Has the name cache know a file's name.
    pub fn name(&mut self, vnode: u64, directory: u64, name: &str) -> u64 {
        let entry = self.allocate("namecache_with_name");
        self.set(entry, "namecache", "nc_dvp", directory);
        self.set(entry, "namecache", "n_un.nu_vp", vnode);
        self.set(entry, "namecache", "nc_nlen", name.len() as i128);
        let at = self.at(entry, "namecache", "nc_name");
        self.kernel.write_bytes(at, name.as_bytes());
        self.set(vnode, "vnode", "v_cache_dd", entry);
        self.set(vnode, "vnode", "v_cache_dst.tqh_first", entry);
        entry
    }

    /// A file with a path of the root file system; its directories are new ones.
    pub fn file(&mut self, path: &str, number: u64) -> u64 {
        let names: Vec<&str> = path.split('/').skip(1).collect();
        names.into_iter().fold(self.root, |directory, name| {
            let vnode = self.vnode(self.mount, number);
            self.name(vnode, directory, name);
            vnode
        })
    }

    /// An object with its pages.
    pub fn object(&mut self, object: &Object) -> u64 {
        let at = self.allocate("vm_object");
        for (member, value) in [
            ("type", object.of),
            ("flags", object.flags.into()),
            ("ref_count", object.references.into()),
            ("resident_page_count", object.pages.len() as u64),
            ("size", 1 << 20),
            ("backing_object", object.backing),
            ("backing_object_offset", object.backing_offset),
            ("handle", object.handle),
        ] {
            self.set(at, "vm_object", member, value);
        }
        let leaves: Vec<(u64, u64)> = object.pages.iter().map(|page| (*page, self.page(*page))).collect();
        let root = self.kernel.trie(self.types["pctrie_node"], &leaves);
        self.set(at, "vm_object", "rtree.rt_trie.pt_root", root);
        let blocks: Vec<(u64, u64)> = self.swap_blocks(&object.swapped);
        let root = self.kernel.trie(self.types["pctrie_node"], &blocks);
        self.set(at, "vm_object", "un_pager.swp.swp_blks.pt_root", root);
        at
    }

    /// A page, at a physical address by its number: where its number is.
    fn page(&mut self, number: u64) -> u64 {
        let page = self.allocate("vm_page");
        self.set(page, "vm_page", "phys_addr", PHYSICAL + number * PAGE);
        self.set(page, "vm_page", "pindex", number);
        self.at(page, "vm_page", "pindex")
    }

    fn swap_blocks(&mut self, pages: &[u64]) -> Vec<(u64, u64)> {
        let mut blocks: BTreeMap<u64, u64> = BTreeMap::new();
        for page in pages {
            let first = page & !15;
            let block = *blocks.entry(first).or_insert_with(|| {
                let block = self.kernel.allocate(self.types["swblk"]);
                self.kernel.set(block, self.types["swblk"], "p", first);
                for index in 0..16 {
                    self.kernel.set(block, self.types["swblk"], &format!("d[{index}]"), i64::MIN);
                }
                block
            });
            self.set(block, "swblk", &format!("d[{}]", page % 16), 77);
        }
        blocks.into_iter().collect()
    }

    /// A process with a map.
    pub fn process(&mut self, pid: u64, command: &str, entries: &[Entry]) -> Space {
        let (process, vmspace, system) = (self.allocate("proc"), self.allocate("vmspace"), self.allocate("sysentvec"));
        self.set(process, "proc", "p_pid", pid);
        self.kernel.set_text(process, self.types["proc"], "p_comm", command);
        self.set(process, "proc", "p_list.le_next", self.processes);
        if self.processes != 0 {
            let link = self.at(process, "proc", "p_list.le_next");
            self.set(self.processes, "proc", "p_list.le_prev", link);
        }
        let allproc = self.kernel.variable_of("allproc").0;
        self.set(process, "proc", "p_list.le_prev", allproc);
        let threads = self.at(process, "proc", "p_threads.tqh_first");
        self.set(process, "proc", "p_threads.tqh_last", threads);
        self.set(process, "proc", "p_vmspace", vmspace);
        self.set(process, "proc", "p_sysent", system);
        self.processes = process;
        self.kernel.set_variable("allproc", "", process);
        self.set(system, "sysentvec", "sv_shared_page_len", PAGE);
        for (member, value) in
            [("vm_refcnt", 1), ("vm_daddr", 0x40_0000), ("vm_dsize", 16), ("vm_maxsaddr", 0x7000_0000)]
        {
            self.set(vmspace, "vmspace", member, value);
        }
        let map = self.at(vmspace, "vmspace", "vm_map");
        let entries = self.fill(map, entries);
        let pmap = self.at(vmspace, "vmspace", "vm_pmap");
        self.set(map, "vm_map", "pmap", pmap);
        self.set(pmap, "pmap", "pm_stats.resident_count", 321);
        Space { process, vmspace, map, entries }
    }

    /// Has the kernel keep a process's arguments.
    pub fn arguments(&mut self, process: u64, arguments: &[&str]) {
        let kept = self.kernel.allocate_pages(PAGE);
        let text: String = arguments.iter().map(|argument| format!("{argument}\0")).collect();
        self.set(kept, "pargs", "ar_length", text.len() as i128);
        let at = self.at(kept, "pargs", "ar_args");
        self.kernel.write_bytes(at, text.as_bytes());
        self.set(process, "proc", "p_args", kept);
    }

    /// Gives a map its entries: where they are. They are a tree with threads.
    pub fn fill(&mut self, map: u64, entries: &[Entry]) -> Vec<u64> {
        let header = self.at(map, "vm_map", "header");
        let at: Vec<u64> = entries.iter().map(|entry| self.entry(entry)).collect();
        // The first address is in the end's place, and the last in the start's.
        self.set(header, "vm_map_entry", "end", PAGE);
        self.set(header, "vm_map_entry", "start", 0x8000_0000_0000_u64);
        self.set(header, "vm_map_entry", "left", *at.last().unwrap_or(&header));
        self.set(header, "vm_map_entry", "right", *at.first().unwrap_or(&header));
        let root = self.kernel.entry_tree(self.types["vm_map_entry"], &at, header);
        for (member, value) in
            [("nentries", at.len() as u64), ("size", 0x8000), ("timestamp", 20), ("flags", 0x8), ("root", root)]
        {
            self.set(map, "vm_map", member, value);
        }
        at
    }

    fn entry(&mut self, entry: &Entry) -> u64 {
        let at = self.allocate("vm_map_entry");
        for (member, value) in [
            ("start", entry.start),
            ("end", entry.end),
            ("object.vm_object", entry.object),
            ("offset", entry.offset),
            ("eflags", entry.flags.into()),
            ("protection", entry.protection.into()),
            ("max_protection", entry.max_protection.into()),
            ("inheritance", entry.inheritance.into()),
            ("wired_count", entry.wired.into()),
        ] {
            self.set(at, "vm_map_entry", member, value);
        }
        at
    }
}

/// Defines the structures, by name.
fn define(kernel: &mut TypedKernel) -> BTreeMap<&'static str, Type> {
    let Basic { int, short, unsigned_short, character, unsigned_char, unsigned_int, long, unsigned_long, .. } =
        kernel.basic;
    let Basic { long_long, unsigned_long_long: wide, pointer, .. } = kernel.basic;
    let types = &mut kernel.types;
    let mut all = BTreeMap::new();
    let text = types.array(character, 20);
    let link = types.record("", &[("le_next", pointer), ("le_prev", pointer)]);
    let queue = types.record("", &[("tqe_next", pointer), ("tqe_prev", pointer)]);
    let head = types.record("", &[("tqh_first", pointer), ("tqh_last", pointer)]);
    let mut define = |types: &mut vmcore_synth::ctf::Builder, name: &'static str, members: &[(&str, Type)]| {
        let of = types.record(name, members);
        all.insert(name, of);
        of
    };
    define(
        types,
        "thread",
        &[("td_tid", int), ("td_name", text), ("td_oncpu", int), ("td_pcb", pointer), ("td_plist", queue)],
    );
    let object = types.union_of("vm_map_object", &[("vm_object", pointer), ("sub_map", pointer)]);
    let eflags = types.typedef("vm_eflags_t", unsigned_int);
    let entry = define(
        types,
        "vm_map_entry",
        &[
            ("left", pointer),
            ("right", pointer),
            ("start", unsigned_long),
            ("end", unsigned_long),
            ("next_read", unsigned_long),
            ("object", object),
            ("offset", wide),
            ("eflags", eflags),
            ("protection", unsigned_char),
            ("max_protection", unsigned_char),
            ("inheritance", character),
            ("wired_count", int),
        ],
    );
    let statistics = types.record("pmap_statistics", &[("resident_count", long), ("wired_count", long)]);
    let pmap = define(types, "pmap", &[("pm_cr3", wide), ("pm_stats", statistics)]);
    let map = define(
        types,
        "vm_map",
        &[
            ("header", entry),
            ("nentries", int),
            ("size", unsigned_long),
            ("timestamp", unsigned_int),
            ("flags", unsigned_int),
            ("root", pointer),
            ("pmap", pointer),
        ],
    );
    let vmspace = define(
        types,
        "vmspace",
        &[
            ("vm_map", map),
            ("vm_dsize", long),
            ("vm_ssize", long),
            ("vm_daddr", pointer),
            ("vm_maxsaddr", pointer),
            ("vm_shp_base", unsigned_long),
            ("vm_refcnt", unsigned_int),
            ("vm_pmap", pmap),
        ],
    );
    let system = define(
        types,
        "sysentvec",
        &[
            ("sv_shared_page_base", unsigned_long),
            ("sv_shared_page_len", unsigned_long),
            ("sv_shared_page_obj", pointer),
        ],
    );
    let (vmspace, system) = (types.pointer(vmspace), types.pointer(system));
    let flexible = types.array(character, 0);
    let arguments =
        define(types, "pargs", &[("ar_ref", unsigned_int), ("ar_length", unsigned_int), ("ar_args", flexible)]);
    let arguments = types.pointer(arguments);
    define(
        types,
        "proc",
        &[
            ("p_flag", int),
            ("p_args", arguments),
            ("p_list", link),
            ("p_threads", head),
            ("p_pid", int),
            ("p_vmspace", vmspace),
            ("p_sysent", system),
            ("p_comm", text),
        ],
    );
    define(types, "pagerops", &[("pgo_kvme_type", int), ("pgo_init", pointer)]);
    let trie = define(types, "pctrie", &[("pt_root", pointer)]);
    let radix = define(types, "vm_radix", &[("rt_trie", trie)]);
    let child = types.record("", &[("__ptr", pointer)]);
    let children = types.array(child, 16);
    define(
        types,
        "pctrie_node",
        &[
            ("pn_owner", wide),
            ("pn_popmap", unsigned_short),
            ("pn_clev", unsigned_char),
            ("pn_parent", child),
            ("pn_child", children),
        ],
    );
    define(types, "vm_page", &[("object", pointer), ("pindex", wide), ("phys_addr", wide)]);
    let blocks = types.array(long_long, 16);
    define(types, "swblk", &[("p", wide), ("d", blocks)]);
    let swap = types.record("", &[("swp_priv", pointer), ("swp_blks", trie)]);
    let pager = types.union_of("", &[("swp", swap)]);
    define(
        types,
        "vm_object",
        &[
            ("rtree", radix),
            ("size", wide),
            ("ref_count", unsigned_int),
            ("shadow_count", int),
            ("type", unsigned_char),
            ("flags", unsigned_int),
            ("resident_page_count", int),
            ("backing_object", pointer),
            ("backing_object_offset", wide),
            ("handle", pointer),
            ("un_pager", pager),
        ],
    );
    let name = types.array(character, 16);
    let configuration = define(types, "vfsconf", &[("vfc_version", unsigned_int), ("vfc_name", name)]);
    let numbers = types.array(int, 2);
    let fsid = types.record("fsid", &[("val", numbers)]);
    let statistics = types.record("statfs", &[("f_version", unsigned_int), ("f_fsid", fsid)]);
    let configuration = types.pointer(configuration);
    let mount = define(
        types,
        "mount",
        &[("mnt_vnodecovered", pointer), ("mnt_vfc", configuration), ("mnt_stat", statistics), ("mnt_data", pointer)],
    );
    let mount = types.pointer(mount);
    define(
        types,
        "vnode",
        &[
            ("v_irflag", short),
            ("v_data", pointer),
            ("v_mount", mount),
            ("v_cache_dst", head),
            ("v_cache_dd", pointer),
            ("v_vflag", unsigned_short),
        ],
    );
    let file = types.union_of("", &[("nu_vp", pointer)]);
    let flexible = types.array(character, 0);
    let members = [
        ("nc_src", link),
        ("nc_dst", queue),
        ("nc_dvp", pointer),
        ("n_un", file),
        ("nc_flag", unsigned_char),
        ("nc_nlen", unsigned_char),
    ];
    define(types, "namecache", &[&members[..], &[("nc_name", flexible)]].concat());
    let name = types.array(character, 256);
    define(types, "namecache_with_name", &[&members[..], &[("nc_name", name)]].concat());
    define(types, "null_node", &[("null_lowervp", pointer)]);
    define(types, "null_mount", &[("nullm_vfs", pointer), ("nullm_lowerrootvp", pointer)]);
    define(types, "tmpfs_node", &[("tn_id", wide), ("tn_vnode", pointer)]);
    define(types, "cdev_priv", &[("cdp_c", text), ("cdp_inode", unsigned_int)]);
    let ufs = define(types, "ufsmount", &[("um_mountp", pointer), ("um_dev", pointer)]);
    let ufs = types.pointer(ufs);
    define(types, "inode", &[("i_vnode", pointer), ("i_ump", ufs), ("i_number", wide)]);
    all
}
