//! `memtool show` of what network stacks have.

use crate::common::typed_kernel::WriteFiles as _;
use crate::network_kernel::{Ends, NetworkKernel, Socket};
use serde_json::{Value, json};
use vmcore_synth::Arch;

const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];
const HOST: [u8; 4] = [127, 0, 0, 1];
const ANY: ([u8; 4], u16) = ([0; 4], 0);

/// A link-local address as the kernel has it: with the number of the interface.
fn on_link(interface: u8) -> [u8; 16] {
    [0xfe, 0x80, 0, interface, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]
}

/// A kernel with a few sockets: the addresses of the connections and of their sockets.
fn with_sockets(arch: Arch) -> (NetworkKernel, Vec<[u64; 2]>) {
    let mut all = NetworkKernel::new(arch);
    let data = Socket { received: 7, sent: 0x0102_0304, listen: None };
    let listening = Socket { listen: Some([1, 2, 128]), ..Socket::default() };
    let none = Socket::default();
    let v6 = Ends { is_v6: true, local: (on_link(3), 546), foreign: (on_link(4), 547) };
    let added = vec![
        all.add_connection(0, "tcbinfo", Ends::v4((HOST, 22), ([10, 0, 0, 2], 50_000)), data),
        all.add_connection(0, "tcbinfo", Ends::v4(([0; 4], 80), ANY), listening),
        all.add_connection(0, "udbinfo", v6, none),
        all.add_connection(0, "ripcbinfo", Ends::v4(ANY, ANY), none),
        all.add_connection(1, "tcbinfo", Ends::v4((HOST, 25), ANY), Socket { listen: Some([0, 0, 0]), ..none }),
    ];
    for (index, state) in [(0, 4), (1, 1), (4, 1)] {
        all.set(added[index][0], "tcpcb", "t_state", state);
    }
    all.set(added[0][0], "tcpcb", "t_flags", 0x800);
    // Both versions of IP.
    all.set(added[1][0], "inpcb", "inp_vflag", 3);
    all.set(added[3][0], "inpcb", "inp_ip_p", 1);
    all.add_half_open(Ends::v4((HOST, 22), ([10, 0, 0, 3], 1)));
    (all, added)
}

#[test]
fn connections_of_all_network_stacks_are_shown_with_their_states_and_queues() {
    for arch in ARCHITECTURES {
        let (all, added) = with_sockets(arch);
        let run = all.kernel.write().run(&["show", "netstat-an"]).ok();
        let row = |index: usize, rest: &str| format!("{:x}\t{rest}", added[index][0]);
        let expected = [
            "0\ttcp4\t0\t0\t127.0.0.1.22\t10.0.0.3.1\tSYN_RCVD\t0".to_owned(),
            row(0, "tcp4\t7\t16909060\t127.0.0.1.22\t10.0.0.2.50000\tESTABLISHED*\t0"),
            row(1, "tcp46\t0\t0\t*.80\t*.*\tLISTEN\t0"),
            row(2, "udp6\t0\t0\tfe80::9%em0.546\tfe80::9%4.547\t\t0"),
            row(3, "icmp4\t0\t0\t*.*\t*.*\t\t0"),
            row(4, "tcp4\t0\t0\t127.0.0.1.25\t*.*\tLISTEN\t7"),
            String::new(),
        ];
        assert_eq!((run.lines(), &*run.stderr), (expected.iter().map(String::as_str).collect(), ""), "{arch:?}");
    }
}

#[test]
fn connections_have_their_owners_and_stacks_in_json() {
    for arch in ARCHITECTURES {
        let (mut all, added) = with_sockets(arch);
        let sockets: Vec<u64> = added.iter().map(|[_, socket]| *socket).collect();
        all.add_process(30, &sockets[..2]);
        all.add_process(20, &sockets[1..2]);
        let json = all.kernel.write().run(&["show", "netstat-an", "--json"]).ok().json();
        let found = &json["connections"]["internet"];
        let owners: Vec<&Value> = (0..3).map(|index| &found[index]["process_ids"]).collect();
        assert_eq!(owners, [&Value::Null, &json!([30]), &json!([20, 30])], "{arch:?}");
        let expected = json!({
            "vnet": format!("{:#x}", all.stacks[0]),
            "jail_id": 0,
            "pcb": format!("{:#x}", added[1][0]),
            "protocol": "tcp46",
            "ip_protocol": 6,
            "local_address": "0.0.0.0",
            "local_port": 80,
            "foreign_address": "0.0.0.0",
            "foreign_port": 0,
            "tcp_state": "LISTEN",
            "socket": format!("{:#x}", added[1][1]),
            "bytes_to_read": 0,
            "bytes_to_send": 0,
            "listen": { "queue_count": 1, "incomplete_count": 2, "queue_limit": 128 },
            "user_id": 1001,
            "process_ids": [20, 30],
        });
        assert_eq!(found[2], expected, "{arch:?}");
        assert_eq!([&found[4]["ip_protocol"], &found[5]["jail_id"]], [&json!(1), &json!(7)]);
    }
}

#[test]
fn sockets_of_the_unix_domain_are_shown_by_type_with_what_they_are_connected_to() {
    for arch in ARCHITECTURES {
        let mut all = NetworkKernel::new(arch);
        let [bound, _] = all.add_unix("unp_dhead", Some("/var/run/log"), Socket { received: 5, ..Socket::default() });
        let [client, _] = all.add_unix("unp_dhead", None, Socket::default());
        let [stream, _] =
            all.add_unix("unp_shead", Some("/tmp/a b"), Socket { listen: Some([0, 0, 3]), ..Socket::default() });
        all.set(client, "unpcb", "unp_conn", bound);
        all.set(bound, "unpcb", "unp_refs.lh_first", client);
        all.set(stream, "unpcb", "unp_vnode", 0x1234_5678);
        let dump = all.kernel.write();
        let run = dump.run(&["show", "netstat-an"]).ok();
        let expected = [
            String::new(),
            format!("{stream:x}\tstream\t0\t0\t12345678\t0\t0\t0\t0\t/tmp/a b"),
            format!("{bound:x}\tdgram\t5\t0\t0\t0\t{client:x}\t0\t0\t/var/run/log"),
            format!("{client:x}\tdgram\t0\t0\t0\t{bound:x}\t0\t0\t0\t"),
        ];
        assert_eq!((run.lines(), &*run.stderr), (expected.iter().map(String::as_str).collect(), ""), "{arch:?}");
        let json = dump.run(&["show", "netstat-an", "--json"]).ok().json();
        let found = &json["connections"]["unix"];
        assert_eq!([&found[1]["path"], &found[2]["path"]], [&json!("/var/run/log"), &Value::Null]);
    }
}

#[test]
fn queues_of_sockets_that_accept_connections_are_shown() {
    for arch in ARCHITECTURES {
        let (mut all, _) = with_sockets(arch);
        all.add_unix("unp_shead", Some("/tmp/s"), Socket { listen: Some([3, 0, 4]), ..Socket::default() });
        all.add_unix("unp_sphead", None, Socket { listen: Some([0, 0, 1]), ..Socket::default() });
        let dump = all.kernel.write();
        let run = dump.run(&["show", "netstat-aL"]).ok();
        // One that may have no connections is left out.
        assert_eq!(run.lines(), ["tcp46\t1/2/128\t*.80\t0", "unix\t3/0/4\t/tmp/s\t0", "unix\t0/0/1\t\t0"], "{arch:?}");
        let json = dump.run(&["show", "netstat-aL", "--json"]).ok().json();
        assert_eq!(json["listen_queues"]["internet"][0]["listen"]["queue_limit"], 128);
    }
}

#[test]
fn a_list_of_connections_that_leads_back_is_shown_up_to_there() {
    for arch in ARCHITECTURES {
        let (mut all, added) = with_sockets(arch);
        all.set(added[1][0], "inpcb", "inp_list.cle_next", added[0][0]);
        let (run, json) = all.kernel.write().damaged("netstat-an");
        assert_eq!(run.lines().len(), 7, "{run:?}");
        assert!(run.stderr.contains("the list tcbinfo is damaged: the list leads back to"), "{run:?}");
        assert_eq!(json["connections"]["internet"].as_array().unwrap().len(), 6);
    }
}

#[test]
fn what_of_a_connection_is_not_there_is_unknown_and_the_rest_is_shown() {
    let (mut all, added) = with_sockets(Arch::Amd64);
    let away = all.kernel.unmapped();
    all.set(added[0][0], "inpcb", "inp_socket", away);
    all.set(added[1][1], "socket", "so_cred", away);
    all.set(added[2][0], "inpcb", "inp_socket", 0);
    all.set(added[2][0], "inpcb", "inp_vflag", 0);
    all.set(added[3][0], "inpcb", "inp_list.cle_next", away);
    let [bound, _] = all.add_unix("unp_dhead", None, Socket::default());
    all.set(bound, "unpcb", "unp_addr", away);
    let (run, json) = all.kernel.write().damaged("netstat-an");
    let fields: Vec<Vec<&str>> = run.lines().iter().map(|row| row.split('\t').skip(1).collect()).collect();
    assert_eq!(fields[1], ["tcp4", "-", "-", "127.0.0.1.22", "10.0.0.2.50000", "ESTABLISHED*", "0"]);
    assert_eq!(fields[3], ["udp", "-", "-", "-", "-", "", "0"]);
    for text in
        ["the socket of the connection at", "cr_uid of the credentials at", "the path of the Unix domain socket"]
    {
        assert!(run.stderr.contains(text), "{text}: {run:?}");
    }
    assert!(run.stderr.contains("the list ripcbinfo is damaged: the list cannot be followed beyond"), "{run:?}");
    let found = &json["connections"]["internet"];
    assert_eq!([&found[2]["user_id"], &found[2]["listen"]["queue_limit"]], [&Value::Null, &json!(128)]);
    assert_eq!([&found[3]["socket"], &found[3]["bytes_to_read"]], [&json!("0x0"), &Value::Null]);
}

#[test]
fn a_stack_that_is_none_and_tables_of_files_that_are_too_long_are_told() {
    let (mut all, added) = with_sockets(Arch::Powerpc64);
    let table = all.add_process(40, &[added[0][1]]);
    all.set(table, "fdescenttbl", "fdt_nfiles", 0x7fff_ffff);
    all.set(all.stacks[1], "vnet", "vnet_magic_n", 5);
    let cache = all.copy_of(0, "tcp_syncache");
    all.set(cache, "tcp_syncache", "hashsize", u32::MAX);
    let (run, json) = all.kernel.write().damaged("netstat-an");
    assert_eq!(json["connections"]["internet"].as_array().unwrap().len(), 4);
    for text in ["there is no network stack at", "it has 2147483647 descriptors", "it has 4294967295 buckets"] {
        assert!(run.stderr.contains(text), "{text}: {run:?}");
    }
}

#[test]
fn a_kernel_without_network_stacks_of_jails_has_one() {
    use crate::kernel_cpus::with_cpus;
    let (mut kernel, ..) = with_cpus(Arch::Amd64);
    let run = kernel.write().run(&["show", "netstat-an"]).exits(1);
    assert!(run.stderr.contains("has no symbol tcbinfo"), "{run:?}");
    let pointer = kernel.basic.pointer;
    let pcb = kernel.types.reserve();
    let to_pcb = kernel.types.pointer(pcb);
    let link = kernel.types.record("", &[("cle_next", to_pcb), ("cle_prev", pointer)]);
    kernel.types.at(pcb).record("inpcb", &[("inp_list", link)]);
    let head = kernel.types.record("", &[("clh_first", to_pcb)]);
    let info = kernel.types.record("inpcbinfo", &[("ipi_listhead", head)]);
    kernel.variable("tcbinfo", info);
    // It has no processes that could have sockets open.
    let run = kernel.write().run(&["show", "netstat-an"]);
    assert!(!run.stderr.contains("tcbinfo"), "{run:?}");
}

/// An address of an interface with its mask, and counters of 10 packets received.
fn add_address(all: &mut NetworkKernel, address: &[u8], mask: Option<&[u8]>) -> u64 {
    let at = all.allocate("ifaddr");
    let bytes = all.bytes(address);
    all.set(at, "ifaddr", "ifa_addr", bytes);
    if let Some(mask) = mask {
        let mask = all.bytes(mask);
        all.set(at, "ifaddr", "ifa_netmask", mask);
    }
    for (index, member) in (1..).zip(["ifa_ipackets", "ifa_opackets", "ifa_ibytes", "ifa_obytes"]) {
        let counter = all.counter([9 * index, index]);
        all.set(at, "ifaddr", member, counter);
    }
    at
}

/// A kernel whose interface has an address of the link, and some of IPv4 and IPv6.
fn with_interface(arch: Arch) -> (NetworkKernel, Vec<u64>) {
    let mut all = NetworkKernel::new(arch);
    let interface = all.interface;
    // sdl_index is in the kernel's order of bytes, all else as it is in packets.
    let index = arch.order().bytes(3, 2);
    let link = [&[22, 18][..], &index, &[6, 3, 6, 0], b"em0", &[0x58, 0x9c, 0xfc, 0, 0x12, 0xab]].concat();
    let v6 = [&[28, 28, 0, 0, 0, 0, 0, 0][..], &on_link(3), &[0; 4]].concat();
    let v6_mask = [&[28, 28, 0, 0, 0, 0, 0, 0][..], &[0xff; 8], &[0; 8], &[0; 4]].concat();
    let addresses = vec![
        add_address(&mut all, &link, None),
        add_address(
            &mut all,
            &[16, 2, 0, 0, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0],
            Some(&[7, 2, 0, 0, 0xff, 0xff, 0x80]),
        ),
        add_address(&mut all, &v6, Some(&v6_mask)),
        add_address(&mut all, &[16, 2, 0, 0, 10, 9, 9, 9], Some(&[8, 2, 0, 0, 0xff, 0, 0xff, 0])),
        add_address(&mut all, &[4, 1, 0, 0], None),
    ];
    let head = all.kernel.address_of(interface, all.types["ifnet"], "if_addrhead");
    all.kernel.write_pointer(head, addresses[0]);
    for pair in addresses.windows(2) {
        all.set(pair[0], "ifaddr", "ifa_link.cstqe_next", pair[1]);
    }
    let own = all.kernel.function("if_get_counter_default", None);
    let values = [("if_flags", 0x8802), ("if_drv_flags", 0x40), ("if_mtu", 1500), ("if_link_state", 2)];
    values.into_iter().for_each(|(member, value)| all.set(interface, "ifnet", member, value));
    all.set(interface, "ifnet", "if_addr", addresses[0]);
    all.set(interface, "ifnet", "if_get_counter", own);
    for index in 0..12 {
        let counter = all.counter([100 * index, index]);
        all.set(interface, "ifnet", &format!("if_counters[{index}]"), counter);
    }
    (all, addresses)
}

#[test]
fn interfaces_are_shown_with_their_addresses_networks_and_counters() {
    for arch in ARCHITECTURES {
        let (all, _) = with_interface(arch);
        let dump = all.kernel.write();
        let run = dump.run(&["show", "netstat-i"]).ok();
        // It is down.
        let expected = [
            "em0*\t1500\t<Link#3>\t58:9c:fc:00:12:ab\t0\t101\t909\t202\t303\t404\t0",
            "em0*\t-\t10.1.0.0/17\t10.1.2.3\t10\t-\t-\t20\t-\t-\t0",
            "em0*\t-\tfe80::%em0/64\tfe80::9%em0\t10\t-\t-\t20\t-\t-\t0",
            "em0*\t-\t10.0.9.0&255.0.255.0\t10.9.9.9\t10\t-\t-\t20\t-\t-\t0",
            "em0*\t-\t-\t-\t10\t-\t-\t20\t-\t-\t0",
        ];
        assert_eq!((run.lines(), &*run.stderr), (expected.to_vec(), ""), "{arch:?}");
        let json = dump.run(&["show", "netstat-i", "--json"]).ok().json();
        let found = &json["interfaces"][0];
        assert_eq!([&found["interface_flags"], &found["link_state"]], [&json!("0x8842"), &json!(2)]);
        let counters = &found["counters"];
        assert_eq!([&counters["bytes_in"], &counters["drops_out_count"]], [&json!(505), &json!(1010)], "{arch:?}");
        assert_eq!(found["addresses"][0]["bytes_out"], json!(40));
    }
}

#[test]
fn counters_of_a_driver_that_counts_by_itself_are_unknown() {
    let (mut all, _) = with_interface(Arch::Amd64);
    let driver = all.kernel.function("vtnet_get_counter", None);
    all.set(all.interface, "ifnet", "if_get_counter", driver);
    let dump = all.kernel.write();
    let run = dump.run(&["show", "netstat-i"]).ok();
    assert_eq!(run.lines()[0], "em0*\t1500\t<Link#3>\t58:9c:fc:00:12:ab\t-\t-\t-\t-\t-\t-\t0");
    let json = dump.run(&["show", "netstat-i", "--json"]).ok().json();
    assert_eq!(json["interfaces"][0]["is_counted_by_driver"], true);
}

#[test]
fn what_of_an_interface_is_not_there_is_unknown_and_the_rest_is_shown() {
    let (mut all, addresses) = with_interface(Arch::Powerpc64);
    let away = all.kernel.unmapped();
    let interface = all.interface;
    all.set(interface, "ifnet", "if_addr", away);
    all.set(interface, "ifnet", "if_counters[1]", 0);
    all.set(interface, "ifnet", "if_counters[2]", away);
    all.set(addresses[1], "ifaddr", "ifa_netmask", away);
    all.set(addresses[2], "ifaddr", "ifa_addr", away);
    all.set(addresses[3], "ifaddr", "ifa_link.cstqe_next", addresses[1]);
    all.set(interface, "ifnet", "if_link.cstqe_next", interface);
    let (run, json) = all.kernel.write().damaged("netstat-i");
    let rows = run.lines();
    assert_eq!(rows[0], "em0*\t1500\t<Link#3>\t-\t0\t-\t909\t-\t303\t404\t0");
    assert_eq!(rows[2], "em0*\t-\t-\t10.1.2.3\t10\t-\t-\t20\t-\t-\t0");
    assert_eq!(rows[3], "em0*\t-\t-\t-\t10\t-\t-\t20\t-\t-\t0");
    for text in
        ["the list of interfaces is damaged", "the link address of the interface at", "if_counters[2] of the interface"]
    {
        assert!(run.stderr.contains(text), "{text}: {run:?}");
    }
    assert_eq!(json["interfaces"][0]["counters"]["errors_in_count"], Value::Null);
}
