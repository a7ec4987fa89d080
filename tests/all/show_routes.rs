//! `memtool show netstat-r`: routes, by the trees and next hops that a kernel has.

use crate::common::typed_kernel::Basic;
use crate::common::typed_kernel::WriteFiles as _;
use crate::network_kernel::NetworkKernel;
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];
/// `AF_MAX` and one: trees of each table.
const FAMILIES: u64 = 47;
const INET: u64 = 2;
const INET6: u64 = 28;

/// A kernel with routes.
struct Routes {
    all: NetworkKernel,
    node: Type,
    entry: Type,
    head: Type,
    hop: Type,
    private: Type,
    group: Type,
    group_private: Type,
    weighted: Type,
    /// The trees of two tables of the host.
    tables: u64,
}

impl Routes {
    fn new(arch: Arch) -> Self {
        let mut all = NetworkKernel::new(arch);
        let Basic { character, unsigned_char, short, unsigned_short, int, unsigned_int, .. } = all.kernel.basic;
        let Basic { unsigned_long, long, string, .. } = all.kernel.basic;
        let to_ifnet = all.kernel.types.pointer(all.types["ifnet"]);
        let types = &mut all.kernel.types;
        let node = types.reserve();
        let to_node = types.pointer(node);
        let leaf = types.record("", &[("rn_Key", string), ("rn_Mask", string), ("rn_Dupedkey", to_node)]);
        let inner = types.record("", &[("rn_Off", int), ("rn_L", to_node), ("rn_R", to_node)]);
        let either = types.union_of("", &[("rn_leaf", leaf), ("rn_node", inner)]);
        let members = [("rn_bit", short), ("rn_bmask", character), ("rn_flags", unsigned_char), ("rn_u", either)];
        types.at(node).record("radix_node", &members);
        let tree = types.record("radix_head", &[("rnh_treetop", to_node)]);
        let members = [("head", tree), ("rib_family", int), ("rib_fibnum", unsigned_int)];
        let head = types.record("rib_head", &members);
        let numbers = ["rt_flags", "nh_expire", "nh_idx"].map(|name| (name, unsigned_int));
        let private = types.record("nhop_priv", &numbers);
        let to_private = types.pointer(private);
        let address = types.array(character, 28);
        let members = [("nh_flags", unsigned_short), ("nh_mtu", unsigned_short), ("gw_sa", address)];
        let hop =
            types.record("nhop_object", &[&members[..], &[("nh_ifp", to_ifnet), ("nh_priv", to_private)]].concat());
        let to_hop = types.pointer(hop);
        let hops = types.array(to_hop, 0);
        let members = [("nhg_flags", unsigned_short), ("nhg_size", unsigned_char), ("nhops", hops)];
        let group = types.record("nhgrp_object", &members);
        let weighted = types.record("weightened_nhop", &[("nh", to_hop), ("weight", unsigned_int)]);
        let weights = types.array(weighted, 0);
        let members = [("nhg_nh_count", unsigned_char), ("nhg_nh_weights", weights)];
        let group_private = types.record("nhgrp_priv", &members);
        let nodes = types.array(node, 2);
        let members = [("rt_nodes", nodes), ("rt_nhop", to_hop), ("rt_weight", unsigned_long)];
        let entry = types.record("rtentry", &members);
        let to_head = types.pointer(head);
        let to_heads = types.pointer(to_head);
        all.kernel.per_vnet_variable("_rt_numfibs", unsigned_int);
        all.kernel.per_vnet_variable("rt_tables", to_heads);
        all.kernel.variable("time_uptime", long);
        all.kernel.set_variable("time_uptime", "", 1000);
        let tables = all.kernel.allocate_pages(2 * FAMILIES * all.kernel.arch.word() as u64);
        let count = all.copy_of(0, "_rt_numfibs");
        all.kernel.set(count, unsigned_int, "", 2);
        let at = all.copy_of(0, "rt_tables");
        all.kernel.write_pointer(at, tables);
        Self { all, node, entry, head, hop, private, group, group_private, weighted, tables }
    }

    /// A tree, whose ends are leaves of their own, with these routes.
    fn add_tree(&mut self, table: u64, family: u64, routes: &[u64]) -> u64 {
        let kernel = &mut self.all.kernel;
        let [head, end] = [self.head, self.node].map(|of| kernel.allocate(of));
        kernel.set(head, self.head, "rib_family", family);
        kernel.set(head, self.head, "rib_fibnum", table);
        kernel.set(end, self.node, "rn_bit", -1);
        kernel.set(end, self.node, "rn_flags", 2);
        let mut top = end;
        for route in routes.iter().rev() {
            let inner = kernel.allocate(self.node);
            kernel.set(inner, self.node, "rn_bit", 33);
            kernel.set(inner, self.node, "rn_u.rn_node.rn_L", *route);
            kernel.set(inner, self.node, "rn_u.rn_node.rn_R", top);
            top = inner;
        }
        kernel.set(head, self.head, "head.rnh_treetop", top);
        let word = kernel.arch.word() as u64;
        kernel.write_pointer(self.tables + word * (table * FAMILIES + family), head);
        head
    }

    /// A next hop through the host's interface.
    fn hop(&mut self, flags: u64, route_flags: u64, gateway: &[u8], expires: u64) -> u64 {
        let interface = self.all.interface;
        let kernel = &mut self.all.kernel;
        let [hop, private] = [self.hop, self.private].map(|of| kernel.allocate(of));
        let values = [("nh_flags", flags), ("nh_mtu", 1500), ("nh_ifp", interface), ("nh_priv", private)];
        values.into_iter().for_each(|(member, value)| kernel.set(hop, self.hop, member, value));
        let at = kernel.address_of(hop, self.hop, "gw_sa");
        kernel.write_bytes(at, gateway);
        let values = [("rt_flags", route_flags), ("nh_expire", expires), ("nh_idx", 5)];
        values.into_iter().for_each(|(member, value)| kernel.set(private, self.private, member, value));
        hop
    }

    fn route(&mut self, destination: &[u8], mask: Option<&[u8]>, hop: u64) -> u64 {
        let (key, mask) = (self.all.bytes(destination), mask.map_or(0, |mask| self.all.bytes(mask)));
        let kernel = &mut self.all.kernel;
        let route = kernel.allocate(self.entry);
        kernel.set(route, self.entry, "rt_nodes[0].rn_bit", -1);
        kernel.set(route, self.entry, "rt_nodes[0].rn_u.rn_leaf.rn_Key", key);
        kernel.set(route, self.entry, "rt_nodes[0].rn_u.rn_leaf.rn_Mask", mask);
        kernel.set(route, self.entry, "rt_nhop", hop);
        kernel.set(route, self.entry, "rt_weight", 1);
        route
    }

    fn set_duplicate(&mut self, route: u64, next: u64) {
        self.all.kernel.set(route, self.entry, "rt_nodes[0].rn_u.rn_leaf.rn_Dupedkey", next);
    }

    /// Two next hops with weights.
    fn group(&mut self, hops: [(u64, u64); 2]) -> u64 {
        let kernel = &mut self.all.kernel;
        let group = kernel.allocate_pages(4096);
        kernel.set(group, self.group, "nhg_flags", 8);
        kernel.set(group, self.group, "nhg_size", 3);
        // The pointers that packets are sent by come first.
        let private = kernel.address_of(group, self.group, "nhops") + 3 * kernel.arch.word() as u64;
        kernel.set(private, self.group_private, "nhg_nh_count", 2);
        let mut at = kernel.address_of(private, self.group_private, "nhg_nh_weights");
        for (hop, weight) in hops {
            kernel.set(at, self.weighted, "nh", hop);
            kernel.set(at, self.weighted, "weight", weight);
            at += kernel.types.size_of(self.weighted);
        }
        group
    }
}

/// A kernel with routes of both tables: those of IPv4 in the host's first one.
fn with_routes(arch: Arch) -> (Routes, [u64; 4]) {
    let mut built = Routes::new(arch);
    let gateway = built.hop(0x200, 0x803, &[16, 2, 0, 0, 10, 0, 0, 1], 0);
    let link = built.hop(0, 0x1, &[], 0);
    let host = built.hop(0, 0x5, &[], 1060);
    let second = built.hop(0x200, 0x2, &[16, 2, 0, 0, 10, 0, 0, 2], 900);
    let group = built.group([(gateway, 1), (second, 3)]);
    let default = built.route(&[16, 2, 0, 0, 0, 0, 0, 0], Some(&[0]), gateway);
    let narrow = built.route(&[16, 2, 0, 0, 10, 0, 0, 0], Some(&[7, 2, 0, 0, 0xff, 0xff, 0xff]), link);
    let wide = built.route(&[16, 2, 0, 0, 10, 0, 0, 0], Some(&[5, 2, 0, 0, 0xff]), group);
    let one = built.route(&[16, 2, 0, 0, 10, 0, 0, 7], None, host);
    built.set_duplicate(narrow, wide);
    built.add_tree(0, INET, &[default, narrow, one]);
    let v6_gateway = [&[28, 28, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 3][..], &[0; 11], &[1, 0, 0, 0, 0]].concat();
    let v6 = built.hop(0x200, 0x3, &v6_gateway, 0);
    let network = [&[28, 28, 0, 0, 0, 0, 0, 0, 0x20, 0x01, 0xd, 0xb8][..], &[0; 16]].concat();
    let v6 = built.route(&network, Some(&[12, 28, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), v6);
    built.add_tree(1, INET6, &[v6]);
    (built, [default, narrow, wide, one])
}

const EXPECTED: [&str; 6] = [
    "default\t10.0.0.1\tUGS\tem0\t\t0\t0",
    "10.0.0.0/24\tlink#3\tU\tem0\t\t0\t0",
    "10.0.0.0/8\t10.0.0.1\tUGS\tem0\t\t0\t0",
    "10.0.0.0/8\t10.0.0.2\tUG\tem0\t\t0\t0",
    "10.0.0.7\tlink#3\tUH\tem0\t60\t0\t0",
    "2001:db8::/32\tfe80::1%em0\tUG\tem0\t\t1\t0",
];

#[test]
fn routes_of_each_table_are_shown_with_their_gateways_flags_and_interfaces() {
    for arch in ARCHITECTURES {
        let dump = with_routes(arch).0.all.kernel.write();
        let run = dump.run(&["show", "netstat-r"]).ok();
        assert_eq!((run.lines(), &*run.stderr), (EXPECTED.to_vec(), ""), "{arch:?}");
        let json = dump.run(&["show", "netstat-r", "--json"]).ok().json();
        let found = &json["routes"];
        let weights: Vec<&Value> = (1..4).map(|index| &found[index]["weight"]).collect();
        assert_eq!(weights, [&json!(1), &json!(1), &json!(3)], "{arch:?}");
        assert_eq!([&found[4]["expires_seconds"], &found[3]["expires_seconds"]], [&json!(60), &Value::Null]);
        assert_eq!([&found[0]["mtu"], &found[0]["next_hop"]], [&json!(1500), &json!(5)]);
        assert_eq!([&found[0]["route_flags"], &found[5]["family"]], [&json!("0x803"), &json!("inet6")]);
    }
}

#[test]
fn a_tree_that_leads_back_or_away_is_shown_as_far_as_it_is_known() {
    for arch in ARCHITECTURES {
        let (mut built, [_, narrow, _, one]) = with_routes(arch);
        built.set_duplicate(one, narrow);
        let away = built.all.kernel.unmapped();
        built.add_tree(1, INET, &[away]);
        built.add_tree(0, INET6, &[one]);
        let run = built.all.kernel.write().run(&["show", "netstat-r"]).exits(1);
        assert!(run.stderr.contains("the inet routes of table 0 cannot be read: the tree leads back to"), "{run:?}");
        assert!(run.stderr.contains("the inet routes of table 1 cannot be read"), "{run:?}");
        assert_eq!(run.lines()[..5], EXPECTED[..5], "{arch:?}");
        // What is no table is not taken for one.
        let (mut other, _) = with_routes(arch);
        let head = other.add_tree(0, INET, &[]);
        other.all.kernel.set(head, other.head, "rib_family", 5);
        let run = other.all.kernel.write().run(&["show", "netstat-r"]).exits(1);
        assert!(run.stderr.contains("there is no such table at"), "{run:?}");
    }
}

#[test]
fn what_of_a_route_is_not_there_is_unknown_and_a_number_of_tables_is_bounded() {
    let (mut built, [default, narrow, wide, one]) = with_routes(Arch::Amd64);
    let away = built.all.kernel.unmapped();
    let hop = built.hop(0x200, 0, &[16, 9], 0);
    let kernel = &mut built.all.kernel;
    kernel.set(hop, built.hop, "nh_ifp", away);
    kernel.set(hop, built.hop, "nh_priv", away);
    kernel.set(default, built.entry, "rt_nhop", hop);
    kernel.set(narrow, built.entry, "rt_nhop", away);
    kernel.set(wide, built.entry, "rt_nodes[0].rn_u.rn_leaf.rn_Mask", away);
    kernel.set(one, built.entry, "rt_nodes[0].rn_u.rn_leaf.rn_Key", away);
    let run = built.all.kernel.write().run(&["show", "netstat-r"]).exits(1);
    let rows = run.lines();
    assert_eq!(rows[0], "default\t-\t-\t-\t\t0\t0");
    assert_eq!(rows[1], "-\t10.0.0.1\tUGS\tem0\t\t0\t0");
    assert_eq!((rows[3], rows.len()), ("-\tlink#3\tUH\tem0\t60\t0\t0", 5));
    assert!(run.stderr.contains("it is of address family 9"), "{run:?}");
    let number = built.all.kernel.basic.unsigned_int;
    let count = built.all.copy_of(0, "_rt_numfibs");
    built.all.kernel.set(count, number, "", 1 << 17);
    let run = built.all.kernel.write().run(&["show", "netstat-r"]).exits(1);
    assert!(run.stderr.contains("the number of routing tables cannot be read: it is 131072"), "{run:?}");
}
