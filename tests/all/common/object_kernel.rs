//! A kernel with types that has jails, objects of System V IPC, files that are loaded into it, and an environment.
//!
//! Sources: `sys/sys/jail.h`, `cpuset.h`, `ipc.h`, `msg.h`, `shm.h`, `sem.h`, `linker.h`, `sys/kern/kern_jail.c`,
//! `kern_module.c`, `kern_linker.c`, `kern_environment.c`.

use super::typed_kernel::{Basic, TypedKernel};
use std::collections::BTreeMap;
use vmcore_synth::Arch;
use vmcore_synth::ctf::{Builder, Type};

pub struct ObjectKernel {
    pub kernel: TypedKernel,
    pub types: BTreeMap<&'static str, Type>,
    /// Functions that get values of variables.
    pub functions: BTreeMap<&'static str, u64>,
    /// Whether variables are in trees.
    is_tree: bool,
}

impl ObjectKernel {
    pub fn new(arch: Arch) -> Self {
        Self::from_kernel(TypedKernel::new(arch))
    }

    pub fn from_kernel(kernel: TypedKernel) -> Self {
        Self { kernel, types: BTreeMap::new(), functions: BTreeMap::new(), is_tree: false }
    }

    /// Defines a structure.
    pub fn define(&mut self, name: &'static str, members: &[(&str, Type)]) -> Type {
        let of = self.kernel.types.record(name, members);
        self.types.insert(name, of);
        of
    }

    /// Defines a structure that points to others of its kind, which `members` is told.
    pub fn define_linked(
        &mut self,
        name: &'static str,
        members: impl FnOnce(&mut Builder, Type) -> Vec<(&'static str, Type)>,
    ) -> Type {
        let types = &mut self.kernel.types;
        let of = types.reserve();
        let pointer = types.pointer(of);
        let members = members(types, pointer);
        types.at(of).record(name, &members);
        self.types.insert(name, of);
        pointer
    }

    /// The links of a queue of what a pointer leads to.
    pub fn link(&mut self, pointer: Type) -> Type {
        let basic = self.kernel.basic.pointer;
        self.kernel.types.record("", &[("tqe_next", pointer), ("tqe_prev", basic)])
    }

    pub fn set(&mut self, address: u64, of: &str, path: &str, value: impl Into<i128>) {
        self.kernel.set(address, self.types[of], path, value);
    }

    pub fn set_text(&mut self, address: u64, of: &str, path: &str, text: &str) {
        self.kernel.set_text(address, self.types[of], path, text);
    }

    /// A structure with these numbers.
    pub fn add(&mut self, of: &str, members: &[(&str, i128)]) -> u64 {
        let address = self.kernel.allocate(self.types[of]);
        members.iter().for_each(|(member, value)| self.set(address, of, member, *value));
        address
    }

    pub fn string(&mut self, text: &str) -> i128 {
        self.kernel.string(text).into()
    }

    /// A variable that is the head of a queue.
    pub fn queue(&mut self, name: &'static str, pointer: Type, first: u64) {
        let head = self.queue_type(pointer);
        self.kernel.variable(name, head);
        self.kernel.set_variable(name, "tqh_first", first);
    }

    pub fn queue_type(&mut self, pointer: Type) -> Type {
        let basic = self.kernel.basic.pointer;
        self.kernel.types.record("", &[("tqh_first", pointer), ("tqh_last", basic)])
    }

    /// Two jails, the second in the first.
    pub fn with_jails(mut self) -> (Self, [u64; 2]) {
        let Basic { character, unsigned_char, int, unsigned_int, unsigned_long, pointer, string, .. } =
            self.kernel.basic;
        let bytes = self.kernel.types.array(unsigned_char, 64);
        self.define("prison_ip", &[("ips", unsigned_int), ("pr_ip", bytes)]);
        let addresses = self.kernel.types.pointer(self.types["prison_ip"]);
        let addresses = self.kernel.types.array(addresses, 2);
        self.define("cpuset", &[("cs_id", int)]);
        let cpus = self.kernel.types.pointer(self.types["cpuset"]);
        let texts = [32, 64, 256, 1024].map(|size| self.kernel.types.array(character, size));
        let prison = self.define_linked("prison", |types, of| {
            let link = types.record("", &[("tqe_next", of), ("tqe_prev", pointer)]);
            vec![
                ("pr_list", link),
                ("pr_id", int),
                ("pr_ref", unsigned_int),
                ("pr_uref", unsigned_int),
                ("pr_flags", unsigned_int),
                ("pr_parent", of),
                ("pr_cpuset", cpus),
                ("pr_vnet", pointer),
                ("pr_addrs", addresses),
                ("pr_childcount", int),
                ("pr_childmax", int),
                ("pr_allow", unsigned_int),
                ("pr_securelevel", int),
                ("pr_state", int),
                ("pr_hostid", unsigned_long),
                ("pr_name", texts[2]),
                ("pr_path", texts[3]),
                ("pr_hostname", texts[2]),
                ("pr_hostuuid", texts[1]),
                ("pr_osrelease", texts[0]),
            ]
        });
        let flag = self.define("bool_flags", &[("name", string), ("noname", string), ("flag", unsigned_int)]);
        let flags = self.kernel.types.array(flag, 4);
        for (variable, names) in [("pr_flag_bool", ["persist", ""]), ("pr_flag_allow", ["allow.mount", "allow.mlock"])]
        {
            self.kernel.variable(variable, flags);
            for (index, name) in names.into_iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                let name = self.string(name);
                self.kernel.set_variable(variable, &format!("[{index}].name"), name);
                self.kernel.set_variable(variable, &format!("[{index}].flag"), 1 << index);
            }
        }
        let cpus = self.add("cpuset", &[("cs_id", 3)]);
        let ipv4 = self.add("prison_ip", &[("ips", 2)]);
        let at = self.kernel.address_of(ipv4, self.types["prison_ip"], "pr_ip");
        self.kernel.write_bytes(at, &[10, 0, 0, 1, 10, 0, 0, 2]);
        let host = self.add("prison", &[]);
        let members = [("pr_id", 1), ("pr_uref", 2), ("pr_flags", 0x11), ("pr_allow", 1), ("pr_securelevel", -1)];
        let outer = self.add("prison", &members);
        let members = [("pr_id", 7), ("pr_ref", 1), ("pr_state", 2), ("pr_allow", 2)];
        let inner = self.add("prison", &members);
        for (jail, parent, name) in [(outer, host, "outer"), (inner, outer, "outer.inner")] {
            let values = [("pr_cpuset", cpus), ("pr_parent", parent)];
            values.into_iter().for_each(|(member, at)| self.set(jail, "prison", member, at));
            self.set_text(jail, "prison", "pr_name", name);
            self.set_text(jail, "prison", "pr_path", &format!("/jails/{name}"));
            self.set_text(jail, "prison", "pr_hostname", &format!("{name}.example"));
        }
        self.set(outer, "prison", "pr_state", 1);
        self.set(outer, "prison", "pr_addrs[0]", ipv4);
        self.set(outer, "prison", "pr_list.tqe_next", inner);
        self.queue("allprison", prison, outer);
        (self, [outer, inner])
    }

    /// A message queue, shared memory that was removed, and a set of two semaphores, each the second of its table.
    pub fn with_ipc(mut self) -> Self {
        let Basic { unsigned_short, int, unsigned_int, long, unsigned_long, long_long: time, .. } = self.kernel.basic;
        let ids = ["cuid", "cgid", "uid", "gid"].map(|name| (name, unsigned_int));
        let rest = [("mode", unsigned_short), ("seq", unsigned_short), ("key", long)];
        let permissions = self.define("ipc_perm", &[&ids[..], &rest].concat());
        let counts = ["msg_cbytes", "msg_qnum", "msg_qbytes"].map(|name| (name, unsigned_long));
        let processes = [("msg_lspid", int), ("msg_lrpid", int)];
        let times = ["msg_stime", "msg_rtime", "msg_ctime"].map(|name| (name, time));
        let queue = [&[("msg_perm", permissions)], &counts[..], &processes, &times].concat();
        let queue = self.define("msqid_ds", &queue);
        let numbers = [("shm_segsz", unsigned_long), ("shm_lpid", int), ("shm_cpid", int), ("shm_nattch", int)];
        let times = ["shm_atime", "shm_dtime", "shm_ctime"].map(|name| (name, time));
        let segment = self.define("shmid_ds", &[&[("shm_perm", permissions)], &numbers[..], &times].concat());
        let of_set =
            [("semval", unsigned_short), ("sempid", int), ("semncnt", unsigned_short), ("semzcnt", unsigned_short)];
        let semaphore = self.define("sem", &of_set);
        let base = self.kernel.types.pointer(semaphore);
        let set = [("sem_perm", permissions), ("__sem_base", base), ("sem_nsems", unsigned_short)];
        let set = self.define("semid_ds", &[&set[..], &[("sem_otime", time), ("sem_ctime", time)]].concat());
        let kinds =
            [("msqid_kernel", queue, "msqids"), ("shmid_kernel", segment, "shmsegs"), ("semid_kernel", set, "sema")];
        let semaphores = self.kernel.allocate_pages(4096);
        for (at, value) in (0..).zip([4, 0]) {
            let address = semaphores + at * self.kernel.types.size_of(semaphore);
            self.set(address, "sem", "semval", value);
            self.set(address, "sem", "semncnt", at);
        }
        for (name, of, variable) in kinds {
            let of = self.define(name, &[("u", of)]);
            let pointer = self.kernel.types.pointer(of);
            self.kernel.variable(variable, pointer);
            let table = self.kernel.allocate_pages(4096);
            self.kernel.set_variable(variable, "", table);
            let entry = table + self.kernel.types.size_of(of);
            let prefix = &variable[..3];
            let permissions = format!("u.{}_perm", if prefix == "msq" { "msg" } else { prefix });
            let mode = match variable {
                "msqids" => 0o640,
                "shmsegs" => 0o6640,
                _ => 0o1640,
            };
            if variable == "shmsegs" {
                self.set(table, name, "u.shm_perm.mode", 0o1000);
            }
            for (member, value) in [("seq", 2), ("key", -5), ("mode", mode), ("uid", 1001), ("cgid", 5)] {
                self.set(entry, name, &format!("{permissions}.{member}"), value);
            }
            let own: &[(&str, u64)] = match variable {
                "msqids" => &[("msg_qbytes", 2048), ("msg_cbytes", 15), ("msg_qnum", 1), ("msg_stime", 1_795_255_200)],
                "shmsegs" => &[("shm_segsz", 8192), ("shm_nattch", 2), ("shm_cpid", 70)],
                _ => &[("__sem_base", semaphores), ("sem_nsems", 2)],
            };
            own.iter().for_each(|(member, value)| self.set(entry, name, &format!("u.{member}"), *value));
        }
        let limits: [(&'static str, &[(&str, i32)]); 3] = [
            ("msginfo", &[("msgmni", 2), ("msgmnb", 2048), ("msgtql", 40)]),
            ("shminfo", &[("shmmni", 2)]),
            ("seminfo", &[("semmni", 2), ("semmns", 340)]),
        ];
        for (variable, members) in limits {
            let of: Vec<_> = members.iter().map(|(member, _)| (*member, int)).collect();
            let of = self.kernel.types.record(variable, &of);
            self.kernel.variable(variable, of);
            members.iter().for_each(|(member, value)| self.kernel.set_variable(variable, member, *value));
        }
        self.kernel.variable("shmalloced", int);
        self.kernel.set_variable("shmalloced", "", 2);
        self
    }

    /// The kernel's file and a module's, which depends on it: the addresses of both.
    pub fn with_files(mut self) -> (Self, [u64; 2]) {
        let Basic { int, unsigned_long, string, pointer, .. } = self.kernel.basic;
        let module = self.define_linked("module", |types, of| {
            let link = types.record("", &[("tqe_next", of), ("tqe_prev", pointer)]);
            vec![("flink", link), ("refs", int), ("id", int), ("name", string)]
        });
        let modules = self.queue_type(module);
        let file = self.define_linked("linker_file", |types, of| {
            let link = types.record("", &[("tqe_next", of), ("tqe_prev", pointer)]);
            let dependencies = types.pointer(of);
            vec![
                ("refs", int),
                ("userrefs", int),
                ("link", link),
                ("filename", string),
                ("pathname", string),
                ("id", int),
                ("address", string),
                ("size", unsigned_long),
                ("ndeps", int),
                ("deps", dependencies),
                ("modules", modules),
            ]
        });
        let version = self.define_linked("modlist", |types, of| {
            let link = types.record("", &[("tqe_next", of), ("tqe_prev", pointer)]);
            vec![("link", link), ("container", file), ("name", string), ("version", int)]
        });
        let files = ["kernel", "nullfs.ko"].map(|name| {
            let (name, path) = (self.string(name), self.string(&format!("/boot/kernel/{name}")));
            self.add("linker_file", &[("filename", name), ("pathname", path), ("refs", 2), ("size", 0x4b40)])
        });
        let name = self.string("nullfs");
        let module_at = self.add("module", &[("id", 301), ("refs", 1), ("name", name)]);
        let versions = self.add("modlist", &[("container", files[1].into()), ("name", name), ("version", 3)]);
        let list = self.kernel.allocate_pages(4096);
        self.kernel.write_pointer(list, files[0]);
        for (index, file) in (1..).zip(files) {
            self.set(file, "linker_file", "id", index);
        }
        let values = [("ndeps", 1), ("deps", list), ("modules.tqh_first", module_at), ("address", 0x1234_5000)];
        values.into_iter().for_each(|(member, value)| self.set(files[1], "linker_file", member, value));
        self.set(files[0], "linker_file", "link.tqe_next", files[1]);
        self.queue("linker_files", file, files[0]);
        self.queue("found_modules", version, versions);
        (self, files)
    }

    /// An environment of texts: where the pointers to them are.
    pub fn with_environment(mut self, texts: &[&str]) -> (Self, u64) {
        let Basic { boolean, string, .. } = self.kernel.basic;
        let list = self.kernel.types.pointer(string);
        self.kernel.variable("kenvp", list);
        self.kernel.variable("dynamic_kenv", boolean);
        for variable in ["md_envp", "kern_envp"] {
            self.kernel.variable(variable, string);
        }
        let (pointers, word) = (self.kernel.allocate_pages(4096), self.kernel.arch.word() as u64);
        for (index, text) in (0..).zip(texts) {
            let text = self.kernel.string(text);
            self.kernel.write_pointer(pointers + index * word, text);
        }
        self.kernel.set_variable("kenvp", "", pointers);
        self.kernel.set_variable("dynamic_kenv", "", 1);
        (self, pointers)
    }
}

/// Values of `oid_kind`.
pub const NODE: i128 = 1;
pub const INT: i128 = 2;
pub const STRING: i128 = 3;
pub const OPAQUE: i128 = 5;
pub const ULONG: i128 = 8;
pub const U64: i128 = 9;
pub const U8: i128 = 10;
pub const TUNABLE: i128 = 0x8_0000;
pub const VNET: i128 = 0x2_0000;
pub const READ: i128 = 0x8000_0000;
pub const WRITE: i128 = 0x4000_0000;

impl ObjectKernel {
    /// A tree of variables that is empty, and the functions that get values: a kernel has a list or a tree of them.
    pub fn with_sysctl(mut self, is_tree: bool) -> Self {
        let Basic { int, unsigned_int, pointer, string, long_long: wide, .. } = self.kernel.basic;
        let oid = self.kernel.types.reserve();
        let types = &mut self.kernel.types;
        let to_oid = types.pointer(oid);
        let first = if is_tree { "rbh_root" } else { "slh_first" };
        let list = types.record("sysctl_oid_list", &[(first, to_oid)]);
        let links = types.array(to_oid, 3);
        let link = types.record("", &[if is_tree { ("rbe_link", links) } else { ("sle_next", to_oid) }]);
        types.at(oid).record(
            "sysctl_oid",
            &[
                ("oid_children", list),
                ("oid_parent", pointer),
                ("oid_link", link),
                ("oid_number", int),
                ("oid_kind", unsigned_int),
                ("oid_arg1", pointer),
                ("oid_arg2", wide),
                ("oid_name", string),
                ("oid_handler", pointer),
                ("oid_fmt", string),
                ("oid_descr", string),
            ],
        );
        self.types.insert("sysctl_oid", oid);
        self.kernel.variable("sysctl__children", list);
        self.kernel.variable("hz", int);
        self.kernel.set_variable("hz", "", 100);
        self.is_tree = is_tree;
        for name in [
            "sysctl_handle_int",
            "sysctl_handle_long",
            "sysctl_handle_string",
            "sysctl_handle_opaque",
            "sysctl_handle_bool",
            "sysctl_handle_64",
            "sysctl_handle_counter_u64",
            "sysctl_msec_to_ticks",
            "sysctl_dpcpu_int",
            "sysctl_other",
        ] {
            let address = self.kernel.function(name, None);
            self.functions.insert(name, address);
        }
        self
    }

    /// A variable behind the others of a node, or of all: its kind, what gets it, and with what.
    pub fn oid(&mut self, parent: Option<u64>, name: &str, (kind, handler): (i128, &str), arguments: [i128; 2]) -> u64 {
        let handler = self.functions.get(handler).copied().unwrap_or_default();
        let name = self.string(name);
        let oid = self.types["sysctl_oid"];
        let [first, second] = arguments;
        let members = [("oid_name", name), ("oid_kind", kind), ("oid_handler", handler.into()), ("oid_arg1", first)];
        let address = self.add("sysctl_oid", &members);
        self.set(address, "sysctl_oid", "oid_arg2", second);
        let head = match parent {
            Some(parent) => self.kernel.address_of(parent, oid, "oid_children"),
            None => self.kernel.variable_of("sysctl__children").0,
        };
        let word = self.kernel.arch.word();
        let (mut link, mut above) = (head, 0);
        // A tree in which each is on the right of the one before.
        while let next @ 1.. = self.kernel.number(link, word) {
            above = next;
            let path = if self.is_tree { "oid_link.rbe_link[2]" } else { "oid_link.sle_next" };
            link = self.kernel.address_of(next, oid, path);
        }
        self.kernel.write_pointer(link, address);
        let number = if above == 0 { 1 } else { self.number_of(above) + 1 };
        self.set(address, "sysctl_oid", "oid_number", number);
        if self.is_tree {
            self.set(address, "sysctl_oid", "oid_link.rbe_link[0]", above);
        }
        address
    }

    fn number_of(&mut self, oid: u64) -> i128 {
        let at = self.kernel.address_of(oid, self.types["sysctl_oid"], "oid_number");
        self.kernel.number(at, 4).into()
    }
}
