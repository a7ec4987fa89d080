//! Jails, files that are loaded into the kernel, its environment, and its variables as sysctl(8) has them.

use crate::kernel::Demo;
use crate::module;

/// Kinds of variables (`CTLTYPE_*`), and that they can be read.
const NODE: i128 = 1;
const INT: i128 = 2;
const STRING: i128 = 3;
const LONG: i128 = 7;
const ULONG: i128 = 8;
const READ: i128 = 0x8000_0000;
/// They can be set, by sysctl(8) and by the loader.
const WRITE: i128 = 0x4000_0000;
const TUNE: i128 = 0x8_0000;

/// The kernel's environment.
const ENVIRONMENT: &[&str] = &[
    "kernelname=/boot/kernel/kernel",
    "kernel_path=/boot/kernel",
    "loaddev=disk0p1:",
    "currdev=disk0p2:",
    "vfs.root.mountfrom=ufs:/dev/ada0p2",
    "smbios.system.product=memtool demo machine",
    "hint.atkbd.0.irq=1",
    "if_demo_load=YES",
    "autoboot_delay=3",
    "kern.maxproc=3828",
    "console=vidconsole",
];

impl Demo {
    pub fn create_jails(&mut self) {
        let host = self.variable("prison0");
        self.set_all(host, "prison", &[("pr_ref", 24), ("pr_uref", 12), ("pr_state", 1), ("pr_securelevel", -1)]);
        for (member, text) in
            [("pr_name", "0"), ("pr_path", "/"), ("pr_hostname", "demo"), ("pr_osrelease", "15.1-RELEASE")]
        {
            self.set_text(host, "prison", member, text);
        }
        let cpus = self.add("cpuset", &[("cs_id", 3), ("cs_mask.__bits[0]", 3)]);
        let addresses = self.add("prison_ip", &[("ips", 1)]);
        let at = self.at(addresses, "prison_ip", "pr_ip");
        self.kernel.write_bytes(at, &[192, 0, 2, 17]);
        let jail = self.add(
            "prison",
            &[
                ("pr_id", 1),
                ("pr_ref", 8),
                ("pr_uref", 3),
                ("pr_flags", 0x1),
                ("pr_state", 1),
                ("pr_securelevel", -1),
                ("pr_enforce_statfs", 2),
                ("pr_parent", host.into()),
                ("pr_cpuset", cpus.into()),
                ("pr_addrs[0]", addresses.into()),
            ],
        );
        for (member, text) in [
            ("pr_name", "www"),
            ("pr_path", "/jails/www"),
            ("pr_hostname", "www.example.org"),
            ("pr_osrelease", "15.1-RELEASE"),
        ] {
            self.set_text(jail, "prison", member, text);
        }
        let jails = self.variable("allprison");
        self.push(jails, true, ("prison", "pr_list"), jail);
        self.set(host, "prison", "pr_childcount", 1);
        self.known.insert("jail".to_owned(), jail);
        for (variable, names) in
            [("pr_flag_bool", &["persist"][..]), ("pr_flag_allow", &["allow.set_hostname", "allow.raw_sockets"])]
        {
            for (index, name) in names.iter().enumerate() {
                let name = self.string(name);
                self.set_variable(variable, &format!("[{index}].name"), name);
                self.set_variable(variable, &format!("[{index}].flag"), 1 << index);
            }
        }
    }

    pub fn load_files(&mut self) {
        for (variable, member) in
            [("kld_off_address", "address"), ("kld_off_filename", "filename"), ("kld_off_pathname", "pathname")]
        {
            let offset = self.at(0, "linker_file", member);
            self.set_variable(variable, "", offset);
        }
        let next = self.at(0, "linker_file", "link.tqe_next");
        self.set_variable("kld_off_next", "", next);
        let files = self.variable("linker_files");
        let mut kernel = 0;
        for (id, name, address, size, modules) in [
            (1, "kernel", 0xffff_ffff_8020_0000, 0x140_0000, &["ufs", "tcp", "pci"][..]),
            (2, module::NAME, module::ADDRESS, module::SIZE, &["if_demo"]),
        ] {
            let (text, path) = (self.string(name), self.string(&format!("/boot/kernel/{name}")));
            let file = self.add(
                "linker_file",
                &[
                    ("refs", if id == 1 { 4 } else { 1 }),
                    ("userrefs", if id == 1 { 0 } else { 1 }),
                    ("id", id),
                    ("filename", text.into()),
                    ("pathname", path.into()),
                    ("address", i128::from(address)),
                    ("size", size.into()),
                ],
            );
            if id == 1 {
                kernel = file;
            } else {
                let list = self.kernel.allocate_pages(64);
                self.kernel.write_pointer(list, kernel);
                self.set_all(file, "linker_file", &[("ndeps", 1), ("deps", list.into())]);
            }
            for (index, module) in modules.iter().enumerate() {
                let name = self.string(module);
                let members =
                    [("file", file.into()), ("refs", 1), ("id", 100 * id + index as i128), ("name", name.into())];
                let module = self.add("module", &members);
                let list = self.at(file, "linker_file", "modules");
                self.push(list, true, ("module", "flink"), module);
                let version = self.add("modlist", &[("container", file.into()), ("name", name.into()), ("version", 1)]);
                let versions = self.variable("found_modules");
                self.push(versions, true, ("modlist", "link"), version);
            }
            self.push(files, true, ("linker_file", "link"), file);
        }
    }

    pub fn set_environment(&mut self) {
        let pointers = self.kernel.allocate_pages(8 * (ENVIRONMENT.len() as u64 + 1));
        for (index, text) in (0..).zip(ENVIRONMENT) {
            let text = self.string(text);
            self.kernel.write_pointer(pointers + 8 * index, text);
        }
        self.set_variable("kenvp", "", pointers);
        self.set_variable("dynamic_kenv", "", 1);
    }

    pub fn define_sysctl(&mut self) {
        let kern = self.oid(None, "kern", NODE, "", 0, "High kernel, proc, limits &c");
        for (name, kind, variable, description) in [
            ("ostype", STRING, "ostype", "Operating system type"),
            ("osrelease", STRING, "osrelease", "Operating system release"),
            ("ident", STRING, "kern_ident", "Kernel identifier"),
            ("version", STRING, "version", "Kernel version"),
            ("bootfile", STRING | WRITE, "kernelname", "Name of kernel file booted"),
            ("osreldate", INT, "osreldate", "Kernel release date"),
            ("maxproc", INT | TUNE, "maxproc", "Maximum number of processes"),
            ("maxfiles", INT | WRITE | TUNE, "maxfiles", "Maximum number of files"),
            ("openfiles", INT, "openfiles", "System-wide number of open files"),
            ("maxvnodes", INT | WRITE, "desiredvnodes", "Target for maximum number of vnodes"),
            ("coredump", INT | WRITE, "do_coredump", "Enable/Disable coredumps"),
            ("hz", INT | TUNE, "hz", "Number of clock ticks per second"),
        ] {
            let address = self.variable(variable);
            self.oid(Some(kern), name, kind, handler(kind), address, description);
        }
        let ipc = self.oid(Some(kern), "ipc", NODE, "", 0, "IPC");
        let vm = self.oid(None, "vm", NODE, "", 0, "Virtual memory");
        let vfs = self.oid(None, "vfs", NODE, "", 0, "File system");
        let hw = self.oid(None, "hw", NODE, "", 0, "hardware");
        let net = self.oid(None, "net", NODE, "", 0, "Network, (see socket.h)");
        let inet = self.oid(Some(net), "inet", NODE, "", 0, "Internet Family");
        let tcp = self.oid(Some(inet), "tcp", NODE, "", 0, "TCP");
        let security = self.oid(None, "security", NODE, "", 0, "Security");
        let bsd = self.oid(Some(security), "bsd", NODE, "", 0, "BSD security policy");
        for (parent, name, kind, variable, description) in [
            (
                ipc,
                "soacceptqueue",
                INT | WRITE,
                "somaxconn",
                "Maximum listen socket pending connection accept queue size",
            ),
            (tcp, "sendspace", INT | WRITE, "tcp_sendspace", "Initial send socket buffer size"),
            (
                bsd,
                "see_other_uids",
                INT | WRITE,
                "see_other_uids",
                "Unprivileged processes may see subjects/objects with different real uid",
            ),
            (vm, "kmem_size", ULONG, "vm_kmem_size", "Size of kernel memory"),
            (vm, "ndomains", INT, "vm_ndomains", "Number of physical memory domains available"),
            (vfs, "numvnodes", LONG, "numvnodes", "Number of vnodes in existence"),
            (vfs, "freevnodes", LONG, "freevnodes", "Number of free vnodes"),
            (hw, "machine", STRING, "machine", "Machine class"),
            (hw, "ncpu", INT, "mp_ncpus", "Number of active CPUs"),
        ] {
            let address = self.variable(variable);
            self.oid(Some(parent), name, kind, handler(kind), address, description);
        }
    }

    /// A variable behind the others of a node, or of all: a tree in which each is on the right of the one before.
    fn oid(
        &mut self,
        parent: Option<u64>,
        name: &str,
        kind: i128,
        handler: &str,
        variable: u64,
        description: &str,
    ) -> u64 {
        let handler = if handler.is_empty() { 0 } else { self.function(handler).address };
        let (name, description) = (self.string(name), self.string(description));
        let format = self.string(match kind & 0xf {
            INT => "I",
            STRING => "A",
            LONG => "L",
            ULONG => "LU",
            _ => "N",
        });
        let oid = self.add(
            "sysctl_oid",
            &[
                ("oid_name", name.into()),
                ("oid_kind", kind | READ),
                ("oid_handler", handler.into()),
                ("oid_arg1", variable.into()),
                ("oid_arg2", if kind & 0xf == STRING { 64 } else { 0 }),
                ("oid_fmt", format.into()),
                ("oid_descr", description.into()),
            ],
        );
        let head = match parent {
            Some(parent) => self.at(parent, "sysctl_oid", "oid_children"),
            None => self.variable("sysctl__children"),
        };
        let (mut link, mut above, mut number) = (head, 0, 1);
        while let next @ 1.. = self.kernel.number(link, 8) {
            above = next;
            link = self.at(next, "sysctl_oid", "oid_link.rbe_link[2]");
            number += 1;
        }
        self.kernel.write_pointer(link, oid);
        self.set_all(oid, "sysctl_oid", &[("oid_number", number), ("oid_link.rbe_link[0]", above.into())]);
        oid
    }
}

/// What gets the value of a variable of a kind.
fn handler(kind: i128) -> &'static str {
    match kind & 0xf {
        INT => "sysctl_handle_int",
        STRING => "sysctl_handle_string",
        _ => "sysctl_handle_long",
    }
}
