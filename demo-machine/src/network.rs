//! Network stacks with sockets, interfaces and routes.

use crate::Moment;
use crate::kernel::Demo;

/// `VNET_MAGIC_N`.
const MAGIC: u64 = 0x5e4a_6f28;
/// `SO_ACCEPTCONN`.
const ACCEPTS: i128 = 2;
const ANY: [u8; 4] = [0; 4];
const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
const ADDRESS: [u8; 4] = [192, 0, 2, 17];
/// `TCPS_LISTEN`, `TCPS_ESTABLISHED`, `TCPS_TIME_WAIT`.
const LISTEN: i128 = 1;
const ESTABLISHED: i128 = 4;
const CLOSE_WAIT: i128 = 5;
/// `AF_MAX` and one: trees of each table of routes.
const FAMILIES: u64 = 47;

type End = ([u8; 4], u16);

/// A socket of IPv4.
#[derive(Clone, Copy)]
struct Socket {
    owner: &'static str,
    list: &'static str,
    local: End,
    foreign: End,
    state: i128,
    /// Bytes that are to be read, and sent.
    queues: [i128; 2],
}

const fn tcp(owner: &'static str, local: End, foreign: End, state: i128, queues: [i128; 2]) -> Socket {
    Socket { owner, list: "tcbinfo", local, foreign, state, queues }
}

const fn udp(owner: &'static str, local: End) -> Socket {
    Socket { owner, list: "udbinfo", local, foreign: (ANY, 0), state: 0, queues: [0; 2] }
}

const SOCKETS: &[Socket] = &[
    tcp("sshd", (ANY, 22), (ANY, 0), LISTEN, [0, 0]),
    tcp("sshd-session", (ADDRESS, 22), ([198, 51, 100, 7], 50_322), ESTABLISHED, [0, 44]),
    tcp("nginx", (ANY, 80), (ANY, 0), LISTEN, [0, 0]),
    tcp("nginx", (ANY, 443), (ANY, 0), LISTEN, [0, 0]),
    tcp("nginx", (ADDRESS, 443), ([203, 0, 113, 40], 61_202), ESTABLISHED, [0, 13_032]),
    tcp("nginx", (ADDRESS, 443), ([203, 0, 113, 91], 40_118), CLOSE_WAIT, [1, 0]),
    udp("syslogd", (ANY, 514)),
    udp("ntpd", (ANY, 123)),
    udp("ntpd", (ADDRESS, 123)),
    udp("ntpd", (LOOPBACK, 123)),
];

/// An interface.
#[derive(Clone, Copy)]
struct Interface {
    name: &'static str,
    /// `if_flags` and `if_drv_flags`.
    flags: [i128; 2],
    mtu: i128,
    address: [u8; 4],
    /// Bits of the network's part of it.
    length: u32,
    packets: u64,
}

const INTERFACES: [Interface; 3] = [
    Interface { name: "lo0", flags: [0x8049, 0x40], mtu: 16_384, address: LOOPBACK, length: 8, packets: 5230 },
    Interface { name: "em0", flags: [0x8843, 0x40], mtu: 1500, address: ADDRESS, length: 24, packets: 1_803_442 },
    Interface { name: "demo0", flags: [0x8802, 0], mtu: 1500, address: [10, 15, 1, 1], length: 16, packets: 0 },
];

impl Demo {
    pub fn start_network(&mut self) {
        let first = self.variable("vnet_entry_tcbinfo");
        let copies = self.kernel.allocate_pages(4096);
        let data = i128::from(copies.wrapping_sub(first));
        let stack = self.add("vnet", &[("vnet_magic_n", MAGIC.into()), ("vnet_data_base", data)]);
        let stacks = self.variable("vnet_head");
        self.push(stacks, false, ("vnet", "vnet_le"), stack);
        self.set_variable("vnet0", "", stack);
        let host = self.variable("prison0");
        let jail = self.known["jail"];
        for prison in [host, jail] {
            self.set(prison, "prison", "pr_vnet", stack);
        }
        self.known.insert("vnet".to_owned(), stack);
        self.known.insert("copies".to_owned(), copies);
        for (index, socket) in SOCKETS.iter().enumerate() {
            self.connect(index, *socket);
        }
        self.open_unix_sockets();
        self.start_interfaces();
        self.set_routes();
    }

    /// Where the network stack has its copy of a variable.
    pub fn copy_of(&self, name: &str) -> u64 {
        let first = self.variable("vnet_entry_tcbinfo");
        self.known["copies"] + (self.variable(&format!("vnet_entry_{name}")) - first)
    }

    fn socket(&mut self, (family, domain, kind, protocol): (i128, &str, i128, i128), user: u32, pcb: u64) -> u64 {
        let name = self.string(domain);
        let domain = self.add("domain", &[("dom_family", family), ("dom_name", name.into())]);
        let members = [("pr_type", kind), ("pr_protocol", protocol), ("pr_domain", domain.into())];
        let protocol = self.add("protosw", &members);
        let (credentials, stack) = (self.credentials(user, false), self.known["vnet"]);
        self.add(
            "socket",
            &[
                ("so_type", kind),
                ("so_pcb", pcb.into()),
                ("so_proto", protocol.into()),
                ("so_cred", credentials.into()),
                ("so_vnet", stack.into()),
            ],
        )
    }

    fn connect(&mut self, index: usize, socket: Socket) {
        let Socket { owner, list, local, foreign, state, queues } = socket;
        let is_tcp = list == "tcbinfo";
        let pcb = self.add("tcpcb", &[("t_state", state)]);
        let kind = if is_tcp { (2, "internet", 1, 6) } else { (2, "internet", 2, 17) };
        let socket = self.socket(kind, if owner == "nginx" { 80 } else { 0 }, pcb);
        self.set_all(pcb, "inpcb", &[("inp_socket", socket.into()), ("inp_vflag", 1), ("inp_ip_p", kind.3)]);
        for (end, (address, port)) in [("l", local), ("f", foreign)] {
            let at = self.at(pcb, "inpcb", &format!("inp_inc.inc_ie.ie_depend{end}addr"));
            self.kernel.write_bytes(at + 12, &address);
            let at = self.at(pcb, "inpcb", &format!("inp_inc.inc_ie.ie_{end}port"));
            self.kernel.write_bytes(at, &port.to_be_bytes());
        }
        if state == LISTEN {
            self.set_all(socket, "socket", &[("so_options", ACCEPTS), ("sol_qlen", 0), ("sol_qlimit", 128)]);
        } else {
            self.set_all(socket, "socket", &[("so_rcv.sb_ccc", queues[0]), ("so_snd.sb_ccc", queues[1])]);
        }
        let head = self.copy_of(list);
        self.push(head, false, ("inpcb", "inp_list"), pcb);
        self.known.insert(format!("{owner}/{index}"), socket);
    }

    fn open_unix_sockets(&mut self) {
        for (list, kind, owner, path) in [
            ("unp_dhead", 2, "socket /var/run/log", "/var/run/log"),
            ("unp_shead", 1, "devd/seqpacket", "/var/run/devd.pipe"),
            ("unp_shead", 1, "nginx/unix", "/var/run/php-fpm.sock"),
        ] {
            let pcb = self.allocate("unpcb");
            let socket = self.socket((1, "local", kind, 0), 0, pcb);
            let name = self.add("sockaddr_un", &[("sun_len", path.len() as i128 + 3), ("sun_family", 1)]);
            self.set_text(name, "sockaddr_un", "sun_path", path);
            self.set_all(pcb, "unpcb", &[("unp_socket", socket.into()), ("unp_addr", name.into())]);
            if kind == 1 {
                self.set_all(socket, "socket", &[("so_options", ACCEPTS), ("sol_qlimit", 4)]);
            }
            let head = self.variable(list);
            self.push(head, false, ("unpcb", "unp_link"), pcb);
            self.known.insert(owner.to_owned(), socket);
        }
    }

    /// Bytes of a socket address, with room behind them.
    fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let mut padded = bytes.to_vec();
        padded.resize(64, 0);
        let at = self.kernel.allocate_pages(64);
        self.kernel.write_bytes(at, &padded);
        at
    }

    fn address(&mut self, interface: u64, address: &[u8], mask: Option<&[u8]>, packets: u64) -> u64 {
        let (bytes, mask) = (self.bytes(address), mask.map_or(0, |mask| self.bytes(mask)));
        let members = [("ifa_ipackets", packets), ("ifa_opackets", packets * 4 / 5)];
        let sizes = [("ifa_ibytes", packets * 812), ("ifa_obytes", packets * 199)];
        let counters: Vec<(&str, i128)> =
            members.into_iter().chain(sizes).map(|(member, value)| (member, self.counter(value))).collect();
        let at = self.add("ifaddr", &counters);
        self.set_all(at, "ifaddr", &[("ifa_addr", bytes.into()), ("ifa_netmask", mask.into())]);
        let list = self.at(interface, "ifnet", "if_addrhead");
        self.push(list, true, ("ifaddr", "ifa_link"), at);
        at
    }

    fn start_interfaces(&mut self) {
        let own = self.function("if_get_counter_default").address;
        for (index, one) in (1_u64..).zip(INTERFACES) {
            let Interface { name, flags: [flags, driver], mtu, address, length, packets } = one;
            let interface = self.add(
                "ifnet",
                &[
                    ("if_index", index.into()),
                    ("if_flags", flags),
                    ("if_drv_flags", driver),
                    ("if_mtu", mtu),
                    ("if_link_state", 2),
                    ("if_get_counter", own.into()),
                ],
            );
            self.set_text(interface, "ifnet", "if_xname", name);
            // Packets and errors in and out, collisions, bytes in and out, multicasts in and out, and what was dropped.
            let out = packets * 3 / 4;
            let values =
                [packets, 0, out, 0, 0, packets * 812, out * 344, packets / 900, out / 700, 0, 0, packets / 5000];
            for (counter, value) in values.into_iter().enumerate() {
                let value = self.counter(value);
                self.set(interface, "ifnet", &format!("if_counters[{counter}]"), value);
            }
            let link = [
                &[18 + name.len() as u8, 18, index as u8, 0, 6, name.len() as u8, 6, 0],
                name.as_bytes(),
                &[0x58, 0x9c, 0xfc, 0, 0, index as u8],
            ]
            .concat();
            let link = self.address(interface, &link, None, packets);
            self.set(interface, "ifnet", "if_addr", link);
            let [a, b, c, d] = address;
            let mask = (u32::MAX << (32 - length)).to_be_bytes();
            let mask = [&[8, 2, 0, 0][..], &mask].concat();
            self.address(interface, &[16, 2, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0], Some(&mask), packets);
            let list = self.copy_of("ifnet");
            self.push(list, true, ("ifnet", "if_link"), interface);
            self.known.insert(format!("interface {name}"), interface);
        }
        let interface = self.known["interface demo0"];
        let ring = if self.moment == Moment::Crashed { 0 } else { self.kernel.allocate_pages(4096) };
        let softc = self.add("demo_softc", &[("sc_ifp", interface.into()), ("sc_ring", ring.into()), ("sc_flags", 3)]);
        self.known.insert("softc".to_owned(), softc);
    }

    fn set_routes(&mut self) {
        let tables = self.kernel.allocate_pages(8 * FAMILIES);
        let of = self.kernel.basic.unsigned_int;
        let count = self.copy_of("_rt_numfibs");
        self.kernel.set(count, of, "", 1);
        let at = self.copy_of("rt_tables");
        self.kernel.write_pointer(at, tables);
        // NHF_GATEWAY with RTF_UP, RTF_GATEWAY and RTF_STATIC; RTF_UP; RTF_UP and RTF_HOST.
        let gateway = self.hop("em0", 0x200, 0x803, &[16, 2, 0, 0, 192, 0, 2, 1]);
        let link = self.hop("em0", 0, 1, &[]);
        let host = self.hop("lo0", 0, 5, &[]);
        let routes = [
            self.route(&[16, 2, 0, 0, 0, 0, 0, 0], Some(&[0]), gateway),
            self.route(&[16, 2, 0, 0, 127, 0, 0, 1], None, host),
            self.route(&[16, 2, 0, 0, 192, 0, 2, 0], Some(&[7, 2, 0, 0, 0xff, 0xff, 0xff]), link),
            self.route(&[16, 2, 0, 0, 192, 0, 2, 17], None, host),
        ];
        let head = self.add("rib_head", &[("rib_family", 2)]);
        let end = self.add("radix_node", &[("rn_bit", -1), ("rn_flags", 2)]);
        let mut top = end;
        for route in routes.iter().rev() {
            let members = [("rn_bit", 33), ("rn_u.rn_node.rn_L", (*route).into()), ("rn_u.rn_node.rn_R", top.into())];
            top = self.add("radix_node", &members);
        }
        self.set(head, "rib_head", "head.rnh_treetop", top);
        self.kernel.write_pointer(tables + 16, head);
    }

    fn hop(&mut self, interface: &str, flags: i128, route_flags: i128, gateway: &[u8]) -> u64 {
        let interface = self.known[&format!("interface {interface}")];
        let private = self.add("nhop_priv", &[("rt_flags", route_flags), ("nh_idx", 1)]);
        let members =
            [("nh_flags", flags), ("nh_mtu", 1500), ("nh_ifp", interface.into()), ("nh_priv", private.into())];
        let hop = self.add("nhop_object", &members);
        let at = self.at(hop, "nhop_object", "gw_sa");
        self.kernel.write_bytes(at, gateway);
        hop
    }

    fn route(&mut self, destination: &[u8], mask: Option<&[u8]>, hop: u64) -> u64 {
        let (key, mask) = (self.bytes(destination), mask.map_or(0, |mask| self.bytes(mask)));
        self.add(
            "rtentry",
            &[
                ("rt_nodes[0].rn_bit", -1),
                ("rt_nodes[0].rn_u.rn_leaf.rn_Key", key.into()),
                ("rt_nodes[0].rn_u.rn_leaf.rn_Mask", mask.into()),
                ("rt_nhop", hop.into()),
                ("rt_weight", 1),
            ],
        )
    }
}
