//! A kernel with types whose memory has network stacks, sockets, and processes that have these open.
//!
//! Sources: `sys/net/vnet.h`, `sys/sys/jail.h`, `sys/sys/socketvar.h`, `sys/sys/unpcb.h`, `sys/netinet/in_pcb.h`, `tcp_var.h`,
//! `tcp_syncache.h`, `sys/sys/filedesc.h`, `sys/sys/file.h`.

use crate::common::typed_kernel::{Basic, TypedKernel};
use crate::kernel_cpus::with_cpus;
use std::collections::BTreeMap;
use vmcore_synth::Arch;
use vmcore_synth::ctf::{Builder, Type};

/// `VNET_MAGIC_N`.
const MAGIC: u64 = 0x5e4a_6f28;
/// Bytes of what each network stack has for itself.
const STACK: u64 = 1 << 16;

/// A kernel with network stacks: the host's, and that of the jail 7.
pub struct NetworkKernel {
    pub kernel: TypedKernel,
    /// Structures by their names.
    pub types: BTreeMap<&'static str, Type>,
    /// The stacks of the host and of the jail.
    pub stacks: [u64; 2],
    /// What all sockets were created with.
    credentials: u64,
    /// Where the next element of each list is linked.
    links: BTreeMap<String, u64>,
    /// The interface of the host's stack.
    pub interface: u64,
    /// Where the next counter is.
    next_counter: u64,
    /// Where the copies of variables begin, of the host and of the jail.
    copies: [u64; 2],
}

/// The head and the entry of a list.
fn list(types: &mut Builder, [first, next, previous]: [&str; 3], of: Type, pointer: Type) -> (Type, Type) {
    let to = types.pointer(of);
    (types.record("", &[(first, to)]), types.record("", &[(next, to), (previous, pointer)]))
}

const LIST: [&str; 3] = ["lh_first", "le_next", "le_prev"];
const CK_LIST: [&str; 3] = ["clh_first", "cle_next", "cle_prev"];
const TAILQ: [&str; 3] = ["tqh_first", "tqe_next", "tqe_prev"];
const CK_STAILQ: [&str; 3] = ["cstqh_first", "cstqe_next", "cstqe_unused"];

/// The socket of a connection.
#[derive(Clone, Copy, Default)]
pub struct Socket {
    pub received: u64,
    pub sent: u64,
    /// `sol_qlen`, `sol_incqlen` and `sol_qlimit` of one that listens.
    pub listen: Option<[u64; 3]>,
}

/// The addresses and ports of a connection.
#[derive(Clone, Copy)]
pub struct Ends {
    pub is_v6: bool,
    pub local: ([u8; 16], u16),
    pub foreign: ([u8; 16], u16),
}

impl Ends {
    pub fn v4(local: ([u8; 4], u16), foreign: ([u8; 4], u16)) -> Self {
        let wide = |[a, b, c, d]: [u8; 4]| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d];
        Self { is_v6: false, local: (wide(local.0), local.1), foreign: (wide(foreign.0), foreign.1) }
    }
}

fn define(kernel: &mut TypedKernel) -> BTreeMap<&'static str, Type> {
    let Basic { character, unsigned_char, short, unsigned_short, int, unsigned_int, pointer, .. } = kernel.basic;
    let unsigned_long = kernel.basic.unsigned_long;
    let types = &mut kernel.types;
    let [vnet, prison, inpcb, unpcb, process, thread, entry] = [0; 7].map(|_| types.reserve());
    let to_vnet = types.pointer(vnet);
    let (vnets, link) = list(types, LIST, vnet, pointer);
    let members = [("vnet_le", link), ("vnet_magic_n", unsigned_int), ("vnet_data_base", unsigned_long)];
    types.at(vnet).record("vnet", &members);
    let (prisons, link) = list(types, TAILQ, prison, pointer);
    let members = [("pr_list", link), ("pr_id", int), ("pr_flags", unsigned_int), ("pr_vnet", to_vnet)];
    types.at(prison).record("prison", &members);
    let credentials = types.record("ucred", &[("cr_uid", unsigned_int)]);
    let to_credentials = types.pointer(credentials);
    let buffer = types.record("sockbuf", &[("sb_acc", unsigned_int), ("sb_ccc", unsigned_int)]);
    let data = types.record("", &[("so_rcv", buffer), ("so_snd", buffer)]);
    let queues = ["sol_qlen", "sol_incqlen", "sol_qlimit"].map(|name| (name, unsigned_int));
    let queues = types.record("", &queues);
    let either = types.union_of("", &[("", data), ("", queues)]);
    let members = [("so_options", int), ("so_vnet", to_vnet), ("so_cred", to_credentials), ("", either)];
    let socket = types.record("socket", &members);
    let to_socket = types.pointer(socket);

    let octets = types.array(unsigned_char, 16);
    let address = types.record("in6_addr", &[("s6_addr", octets)]);
    let either = types.union_of("in_dependaddr", &[("id6_addr", address)]);
    let members = [("ie_fport", unsigned_short), ("ie_lport", unsigned_short)];
    let addresses = [("ie_dependfaddr", either), ("ie_dependladdr", either)];
    let ends = types.record("in_endpoints", &[members, addresses].concat());
    let info = types.record("in_conninfo", &[("inc_flags", unsigned_char), ("inc_ie", ends)]);
    let (pcbs, link) = list(types, CK_LIST, inpcb, pointer);
    let members = [("inp_socket", to_socket), ("inp_vflag", unsigned_char), ("inp_ip_p", unsigned_char)];
    types.at(inpcb).record("inpcb", &[&members[..], &[("inp_inc", info), ("inp_list", link)]].concat());
    let tcpcb = types.record("tcpcb", &[("t_inpcb", inpcb), ("t_state", unsigned_int), ("t_flags", unsigned_int)]);
    let inpcbinfo = types.record("inpcbinfo", &[("ipi_listhead", pcbs)]);
    let (bucket, link) = list(types, TAILQ, entry, pointer);
    types.at(entry).record("syncache", &[("sc_hash", link), ("sc_inc", info)]);
    let bucket = types.record("syncache_head", &[("sch_bucket", bucket)]);
    let to_bucket = types.pointer(bucket);
    let cache = types.record("tcp_syncache", &[("hashbase", to_bucket), ("hashsize", unsigned_int)]);

    let text = types.array(character, 104);
    let members = [("sun_len", unsigned_char), ("sun_family", unsigned_char), ("sun_path", text)];
    let sockaddr_un = types.record("sockaddr_un", &members);
    let (to_address, to_unpcb) = (types.pointer(sockaddr_un), types.pointer(unpcb));
    let (references, link) = list(types, LIST, unpcb, pointer);
    let members = [("unp_conn", to_unpcb), ("unp_addr", to_address), ("unp_socket", to_socket)];
    let links = [("unp_vnode", pointer), ("unp_reflink", link), ("unp_link", link), ("unp_refs", references)];
    types.at(unpcb).record("unpcb", &[&members[..], &links].concat());

    let file = types.record("file", &[("f_data", pointer), ("f_type", short)]);
    let to_file = types.pointer(file);
    let descriptor = types.record("filedescent", &[("fde_file", to_file), ("fde_flags", unsigned_char)]);
    let descriptors = types.array(descriptor, 0);
    let table = types.record("fdescenttbl", &[("fdt_nfiles", int), ("fdt_ofiles", descriptors)]);
    let to_table = types.pointer(table);
    let files = types.record("filedesc", &[("fd_files", to_table)]);
    let to_files = types.pointer(files);
    let (processes, link) = list(types, LIST, process, pointer);
    let (_, thread_link) = list(types, TAILQ, thread, pointer);
    let to_thread = types.pointer(thread);
    let threads = types.record("", &[("tqh_first", to_thread), ("tqh_last", pointer)]);
    let name = types.array(character, 20);
    let members = [("p_list", link), ("p_threads", threads), ("p_pid", int), ("p_comm", name), ("p_fd", to_files)];
    types.at(process).record("proc", &members);
    let members = [("td_plist", thread_link), ("td_tid", int), ("td_name", name), ("td_oncpu", int)];
    types.at(thread).record("thread", &[&members[..], &[("td_pcb", pointer)]].concat());
    let (ifnet, ifaddr, interfaces) = define_interfaces(kernel);

    for (name, of) in [("tcbinfo", inpcbinfo), ("udbinfo", inpcbinfo), ("ripcbinfo", inpcbinfo)] {
        kernel.per_vnet_variable(name, of);
    }
    kernel.per_vnet_variable("tcp_syncache", cache);
    kernel.per_vnet_variable("ifnet", interfaces);
    for (name, of) in [("vnet_head", vnets), ("vnet0", to_vnet), ("allprison", prisons)] {
        kernel.variable(name, of);
    }
    for name in ["unp_shead", "unp_dhead", "unp_sphead"] {
        kernel.variable(name, references);
    }
    for name in ["allproc", "zombproc"] {
        kernel.variable(name, processes);
    }
    let offsets = [
        ("proc_off_p_pid", process, "p_pid"),
        ("proc_off_p_comm", process, "p_comm"),
        ("proc_off_p_list", process, "p_list"),
        ("proc_off_p_threads", process, "p_threads"),
        ("thread_off_td_tid", thread, "td_tid"),
        ("thread_off_td_name", thread, "td_name"),
        ("thread_off_td_oncpu", thread, "td_oncpu"),
        ("thread_off_td_pcb", thread, "td_pcb"),
        ("thread_off_td_plist", thread, "td_plist"),
    ];
    for (name, of, member) in offsets {
        kernel.variable(name, int);
        let offset = kernel.types.offset_of(of, member);
        kernel.set_variable(name, "", offset);
    }
    kernel.variable("mp_maxid", int);
    kernel.variable("osreldate", int);
    kernel.set_variable("mp_maxid", "", 2);
    kernel.set_variable("osreldate", "", 1_501_000);
    [
        ("vnet", vnet),
        ("prison", prison),
        ("ucred", credentials),
        ("socket", socket),
        ("in_conninfo", info),
        ("inpcb", inpcb),
        ("tcpcb", tcpcb),
        ("syncache", entry),
        ("syncache_head", bucket),
        ("tcp_syncache", cache),
        ("sockaddr_un", sockaddr_un),
        ("unpcb", unpcb),
        ("file", file),
        ("filedescent", descriptor),
        ("fdescenttbl", table),
        ("filedesc", files),
        ("proc", process),
        ("ifnet", ifnet),
        ("ifaddr", ifaddr),
    ]
    .into()
}

/// `struct ifnet`, `struct ifaddr`, and the head of a list of the former.
fn define_interfaces(kernel: &mut TypedKernel) -> (Type, Type, Type) {
    let Basic { character, unsigned_char, unsigned_short, int, unsigned_int, pointer, .. } = kernel.basic;
    let counter = kernel.types.pointer(kernel.basic.unsigned_long_long);
    let types = &mut kernel.types;
    let [ifnet, ifaddr] = [types.reserve(), types.reserve()];
    let data = types.array(character, 14);
    let sockaddr =
        types.record("sockaddr", &[("sa_len", unsigned_char), ("sa_family", unsigned_char), ("sa_data", data)]);
    let to_sockaddr = types.pointer(sockaddr);
    let to_ifaddr = types.pointer(ifaddr);
    let (addresses, link) = list(types, CK_STAILQ, ifaddr, pointer);
    let members = [("ifa_addr", to_sockaddr), ("ifa_netmask", to_sockaddr), ("ifa_link", link)];
    let counters = ["ifa_ipackets", "ifa_opackets", "ifa_ibytes", "ifa_obytes"].map(|name| (name, counter));
    types.at(ifaddr).record("ifaddr", &[&members[..], &counters].concat());
    let (name, counters, families) = (types.array(character, 16), types.array(counter, 12), types.array(pointer, 46));
    let (interfaces, link) = list(types, CK_STAILQ, ifnet, pointer);
    let members = [
        ("if_link", link),
        ("if_index", unsigned_short),
        ("if_xname", name),
        ("if_flags", int),
        ("if_drv_flags", int),
        ("if_link_state", unsigned_char),
        ("if_mtu", unsigned_int),
        ("if_addrhead", addresses),
        ("if_addr", to_ifaddr),
        ("if_afdata", families),
        ("if_get_counter", pointer),
        ("if_counters", counters),
    ];
    types.at(ifnet).record("ifnet", &members);
    (ifnet, ifaddr, interfaces)
}

impl NetworkKernel {
    /// A kernel whose network stacks have no sockets, and interface 3 is called `em0`.
    pub fn new(arch: Arch) -> Self {
        let (mut kernel, ..) = with_cpus(arch);
        let types = define(&mut kernel);
        let first = kernel.variable_of("vnet_entry_tcbinfo").0;
        let bits = if arch.word() == 4 { u64::from(u32::MAX) } else { u64::MAX };
        let mut all = Self {
            stacks: [0; 2].map(|_| kernel.allocate(types["vnet"])),
            copies: [0; 2].map(|_| kernel.allocate_pages(STACK)),
            credentials: kernel.allocate(types["ucred"]),
            interface: kernel.allocate(types["ifnet"]),
            next_counter: kernel.allocate_pages(3 * 4096),
            kernel,
            types,
            links: BTreeMap::new(),
        };
        for (stack, copy) in all.stacks.into_iter().zip(all.copies) {
            all.set(stack, "vnet", "vnet_magic_n", MAGIC);
            all.set(stack, "vnet", "vnet_data_base", copy.wrapping_sub(first) & bits);
        }
        // The newest stack is the first.
        let [host, jail] = all.stacks;
        all.kernel.set_variable("vnet_head", "lh_first", jail);
        all.set(jail, "vnet", "vnet_le.le_next", host);
        all.kernel.set_variable("vnet0", "", host);
        // A jail with the host's stack, too.
        let [plain, own] = [(5, 0, host), (7, 0x10, jail)].map(|(id, flags, stack)| {
            let prison = all.allocate("prison");
            all.set(prison, "prison", "pr_id", id);
            all.set(prison, "prison", "pr_flags", flags);
            all.set(prison, "prison", "pr_vnet", stack);
            prison
        });
        all.kernel.set_variable("allprison", "tqh_first", plain);
        all.set(plain, "prison", "pr_list.tqe_next", own);
        all.set(all.credentials, "ucred", "cr_uid", 1001);
        let interface = all.interface;
        all.set(interface, "ifnet", "if_index", 3);
        all.kernel.set_text(interface, all.types["ifnet"], "if_xname", "em0");
        let head = all.copy_of(0, "ifnet");
        all.kernel.write_pointer(head, interface);
        all.add_process(1, &[]);
        all
    }

    pub fn allocate(&mut self, of: &str) -> u64 {
        self.kernel.allocate(self.types[of])
    }

    #[track_caller]
    pub fn set(&mut self, address: u64, of: &str, path: &str, value: impl Into<i128>) {
        self.kernel.set(address, self.types[of], path, value);
    }

    /// Where a network stack, 0 or 1, has its copy of a variable.
    pub fn copy_of(&self, stack: usize, name: &str) -> u64 {
        let first = self.kernel.variable_of("vnet_entry_tcbinfo").0;
        self.copies[stack] + (self.kernel.variable_of(&format!("vnet_entry_{name}")).0 - first)
    }

    /// A counter, of which CPUs 0 and 2 have these parts.
    pub fn counter(&mut self, parts: [u64; 2]) -> u64 {
        let at = self.next_counter;
        self.next_counter += 8;
        let number = self.kernel.basic.unsigned_long_long;
        for (cpu, part) in [0, 2].into_iter().zip(parts) {
            self.kernel.set(at + 4096 * cpu, number, "", part);
        }
        at
    }

    /// Bytes in memory, behind which are others than 0.
    pub fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let at = self.kernel.string("........................................................................");
        self.kernel.write_bytes(at, bytes);
        at
    }

    /// Links an element behind the last one of a list whose head is at an address.
    fn link(&mut self, list: &str, head: u64, element: u64, of: &str, next: &str) {
        let (member, _) = next.split_once('.').expect("the member and what it has");
        self.kernel.connect(head, self.types[of], member, false);
        let link = *self.links.get(list).unwrap_or(&head);
        self.kernel.write_pointer(link, element);
        self.links.insert(list.to_owned(), self.kernel.address_of(element, self.types[of], next));
    }

    pub fn add_socket(&mut self, stack: usize, socket: Socket) -> u64 {
        let address = self.allocate("socket");
        let credentials = self.credentials;
        self.set(address, "socket", "so_cred", credentials);
        let stack = self.stacks[stack];
        self.set(address, "socket", "so_vnet", stack);
        match socket.listen {
            Some([length, incomplete, limit]) => {
                self.set(address, "socket", "so_options", 2);
                for (member, value) in [("sol_qlen", length), ("sol_incqlen", incomplete), ("sol_qlimit", limit)] {
                    self.set(address, "socket", member, value);
                }
            }
            None => {
                self.set(address, "socket", "so_rcv.sb_ccc", socket.received);
                self.set(address, "socket", "so_snd.sb_ccc", socket.sent);
            }
        }
        address
    }

    /// Writes addresses and ports, as they are in packets, into a `struct in_conninfo`.
    fn set_ends(&mut self, info: u64, ends: Ends) {
        let of = self.types["in_conninfo"];
        for (end, (address, port)) in [("l", ends.local), ("f", ends.foreign)] {
            let at = self.kernel.address_of(info, of, &format!("inc_ie.ie_depend{end}addr"));
            self.kernel.write_bytes(at, &address);
            let at = self.kernel.address_of(info, of, &format!("inc_ie.ie_{end}port"));
            self.kernel.write_bytes(at, &port.to_be_bytes());
        }
    }

    /// A connection behind the others of a list of a network stack: its address and that of its socket.
    pub fn add_connection(&mut self, stack: usize, list: &str, ends: Ends, socket: Socket) -> [u64; 2] {
        let (address, socket) = (self.allocate("tcpcb"), self.add_socket(stack, socket));
        self.set(address, "inpcb", "inp_socket", socket);
        self.set(address, "inpcb", "inp_vflag", if ends.is_v6 { 2 } else { 1 });
        let info = self.kernel.address_of(address, self.types["inpcb"], "inp_inc");
        self.set_ends(info, ends);
        let head = self.copy_of(stack, list);
        self.link(&format!("{stack}{list}"), head, address, "inpcb", "inp_list.cle_next");
        [address, socket]
    }

    /// A connection that is only in the host's SYN cache, which then has two buckets.
    pub fn add_half_open(&mut self, ends: Ends) {
        let (base, entry) = (self.kernel.allocate_pages(4096), self.allocate("syncache"));
        let size = self.kernel.types.size_of(self.types["syncache_head"]);
        self.kernel.connect(base + size, self.types["syncache"], "sc_hash", false);
        self.kernel.write_pointer(base + size, entry);
        let info = self.kernel.address_of(entry, self.types["syncache"], "sc_inc");
        self.set(info, "in_conninfo", "inc_flags", u8::from(ends.is_v6));
        self.set_ends(info, ends);
        let cache = self.copy_of(0, "tcp_syncache");
        self.set(cache, "tcp_syncache", "hashbase", base);
        self.set(cache, "tcp_syncache", "hashsize", 2);
    }

    /// A Unix domain socket of the host behind the others of a list: its address and that of its socket.
    pub fn add_unix(&mut self, list: &str, path: Option<&str>, socket: Socket) -> [u64; 2] {
        let (address, socket) = (self.allocate("unpcb"), self.add_socket(0, socket));
        self.set(address, "unpcb", "unp_socket", socket);
        if let Some(path) = path {
            let name = self.allocate("sockaddr_un");
            self.set(name, "sockaddr_un", "sun_len", path.len() as i128 + 3);
            self.kernel.set_text(name, self.types["sockaddr_un"], "sun_path", path);
            self.set(address, "unpcb", "unp_addr", name);
        }
        let head = self.kernel.variable_of(list).0;
        self.link(list, head, address, "unpcb", "unp_link.le_next");
        [address, socket]
    }

    /// A process that has these sockets open, each twice, and a file: its table of files.
    pub fn add_process(&mut self, pid: i128, sockets: &[u64]) -> u64 {
        let [process, files] = ["proc", "filedesc"].map(|of| self.allocate(of));
        let table = self.kernel.allocate_pages(4096);
        let threads = self.kernel.address_of(process, self.types["proc"], "p_threads");
        self.set(process, "proc", "p_threads.tqh_last", threads);
        self.set(process, "proc", "p_pid", pid);
        self.set(process, "proc", "p_fd", files);
        self.set(files, "filedesc", "fd_files", table);
        self.set(table, "fdescenttbl", "fdt_nfiles", 2 * sockets.len() as i128 + 2);
        let (of, size) = (self.types["fdescenttbl"], self.kernel.types.size_of(self.types["filedescent"]));
        let mut at = self.kernel.address_of(table, of, "fdt_ofiles");
        let data = sockets.iter().map(|socket| (*socket, 2)).chain([(0, 1)]);
        for (data, kind) in data.collect::<Vec<_>>() {
            let file = self.allocate("file");
            self.set(file, "file", "f_data", data);
            self.set(file, "file", "f_type", kind);
            for _ in 0..kind {
                self.kernel.write_pointer(at, file);
                at += size;
            }
        }
        let head = self.kernel.variable_of("allproc").0;
        let link = self.kernel.address_of(process, self.types["proc"], "p_list.le_next");
        let before = *self.links.get("allproc").unwrap_or(&head);
        self.set(process, "proc", "p_list.le_prev", before);
        self.kernel.write_pointer(before, process);
        self.links.insert("allproc".to_owned(), link);
        table
    }
}
