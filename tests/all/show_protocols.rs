//! `memtool show netstat-s`: what protocols of network stacks counted.

use crate::common::typed_kernel::WriteFiles as _;
use crate::network_kernel::NetworkKernel;
use serde_json::{Value, json};
use vmcore_synth::Arch;

const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];

/// A kernel whose stacks have counters of IP, ICMP and IGMP, all of them 0.
fn with_protocols(arch: Arch) -> NetworkKernel {
    let mut all = NetworkKernel::new(arch);
    let number = all.kernel.basic.unsigned_long_long;
    let half = all.kernel.basic.unsigned_int;
    let types = &mut all.kernel.types;
    let histogram = types.array(number, 3);
    let members = [("ips_total", number), ("ips_badsum", number), ("ips_odropped", number), ("ips_new", number)];
    types.record("ipstat", &members);
    types.record("icmpstat", &[("icps_error", number), ("icps_outhist", histogram), ("icps_noroute", number)]);
    types.record("igmpstat", &[("igps_version", half), ("igps_len", half), ("igps_rcv_total", number)]);
    let counter = types.pointer(number);
    for (name, count) in [("ipstat", 4), ("icmpstat", 5), ("igmpstat", 2)] {
        let array = all.kernel.types.array(counter, count);
        all.kernel.per_vnet_variable(name, array);
        let counters: Vec<[u64; 2]> =
            (0..2).flat_map(|stack| (0..count).map(move |index| [stack, u64::from(index)])).collect();
        for [stack, index] in counters {
            set_counter(&mut all, stack as usize, name, index, [0, 0]);
        }
    }
    all
}

/// Gives a counter of a network stack these parts of two CPUs.
fn set_counter(all: &mut NetworkKernel, stack: usize, name: &str, index: u64, parts: [u64; 2]) {
    let counter = all.counter(parts);
    set_pointer(all, stack, name, index, counter);
}

fn set_pointer(all: &mut NetworkKernel, stack: usize, name: &str, index: u64, counter: u64) {
    let at = all.copy_of(stack, name) + index * all.kernel.types.size_of(all.kernel.basic.pointer);
    all.kernel.write_pointer(at, counter);
}

#[test]
fn counters_that_are_not_0_are_shown_with_the_sentences_of_netstat() {
    for arch in ARCHITECTURES {
        let mut all = with_protocols(arch);
        set_counter(&mut all, 0, "ipstat", 0, [1, 1 << 40]);
        set_counter(&mut all, 0, "ipstat", 1, [0, 1]);
        set_counter(&mut all, 0, "ipstat", 3, [4, 5]);
        set_counter(&mut all, 0, "icmpstat", 3, [6, 7]);
        set_counter(&mut all, 0, "icmpstat", 4, [1, 1]);
        set_counter(&mut all, 0, "igmpstat", 1, [1, 0]);
        set_counter(&mut all, 1, "ipstat", 0, [1, 0]);
        let run = all.kernel.write().run(&["show", "netstat-s"]).ok();
        let expected = "ip\t1099511627777\ttotal packets received\t0\nip\t1\tbad header checksum\t0\nip\t9\tips_new\t0\n\
                        icmp\t13\ticps_outhist[2]\t0\nicmp\t2\tno return routes\t0\nigmp\t1\tmessage received\t0\n\
                        ip\t1\ttotal packet received\t7\n";
        assert_eq!((&*run.stdout, &*run.stderr), (expected, ""), "{arch:?}");
    }
}

#[test]
fn all_counters_are_in_json_by_the_names_of_members() {
    for arch in ARCHITECTURES {
        let mut all = with_protocols(arch);
        set_counter(&mut all, 1, "ipstat", 2, [3, 4]);
        set_counter(&mut all, 1, "icmpstat", 1, [1, 0]);
        let json = all.kernel.write().run(&["show", "netstat-s", "--json"]).ok().json();
        let expected = json!({
            "vnet": format!("{:#x}", all.stacks[1]),
            "jail_id": 7,
            "protocols": {
                "ip": { "ips_total": 0, "ips_badsum": 0, "ips_odropped": 7, "ips_new": 0 },
                "icmp": { "icps_error": 0, "icps_outhist": [1, 0, 0], "icps_noroute": 0 },
                "igmp": { "igps_rcv_total": 0 },
            },
        });
        assert_eq!(json["protocol_counters"][1], expected, "{arch:?}");
    }
}

#[test]
fn a_counter_that_is_not_there_is_unknown_and_the_rest_is_shown() {
    let mut all = with_protocols(Arch::Powerpc64);
    let away = all.kernel.unmapped();
    set_pointer(&mut all, 0, "ipstat", 0, away);
    set_pointer(&mut all, 0, "ipstat", 1, 0);
    set_counter(&mut all, 0, "ipstat", 2, [3, 4]);
    set_pointer(&mut all, 0, "icmpstat", 2, 12);
    let dump = all.kernel.write();
    let run = dump.run(&["show", "netstat-s"]).exits(1);
    let expected = "ip\t-\ttotal packets received\t0\nip\t-\tbad header checksums\t0\n\
                    ip\t7\toutput packets dropped due to no bufs, etc.\t0\nicmp\t-\ticps_outhist[1]\t0\n";
    assert_eq!(run.stdout, expected, "{run:?}");
    for text in ["ips_total of ipstat", "icps_outhist of icmpstat is damaged: 0xc is no counter"] {
        assert!(run.stderr.contains(text), "{text}: {run:?}");
    }
    let json = dump.run(&["show", "netstat-s", "--json"]).exits(1).json();
    let protocols = &json["protocol_counters"][0]["protocols"];
    assert_eq!(
        [&protocols["ip"]["ips_total"], &protocols["icmp"]["icps_outhist"]],
        [&Value::Null, &json!([0, null, 0])]
    );
}

#[test]
fn a_stack_that_is_none_has_no_counters_and_the_others_have() {
    let mut all = with_protocols(Arch::Amd64);
    all.set(all.stacks[0], "vnet", "vnet_magic_n", 5);
    set_counter(&mut all, 1, "igmpstat", 1, [1, 1]);
    let dump = all.kernel.write();
    let run = dump.run(&["show", "netstat-s"]).exits(1);
    assert_eq!(run.stdout, "igmp\t2\tmessages received\t7\n", "{run:?}");
    assert!(run.stderr.contains("there is no network stack at"), "{run:?}");
}

#[test]
fn an_array_that_is_shorter_than_its_structure_has_unknown_counters_without_a_warning() {
    let mut all = with_protocols(Arch::I386);
    let number = all.kernel.basic.unsigned_long_long;
    all.kernel.types.record("udpstat", &[("udps_ipackets", number), ("udps_hdrops", number)]);
    let counter = all.kernel.types.pointer(number);
    let array = all.kernel.types.array(counter, 1);
    all.kernel.per_vnet_variable("udpstat", array);
    for stack in 0..2 {
        set_counter(&mut all, stack, "udpstat", 0, [0, 3]);
    }
    let run = all.kernel.write().run(&["show", "netstat-s"]);
    let udp: Vec<&str> = run.stdout.lines().take(2).collect();
    assert_eq!(udp, ["udp\t3\tdatagrams received\t0", "udp\t-\twith incomplete header\t0"], "{run:?}");
}
