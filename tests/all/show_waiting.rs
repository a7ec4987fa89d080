//! `memtool show`: threads that wait, run queues, callouts and interrupts.

use crate::common::Run;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use serde_json::{Value, json};
use vmcore_synth::Arch;

/// Architectures of both orders of bytes, and one whose addresses have 32 bits.
const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];

fn rows(run: &Run) -> Vec<&str> {
    run.stdout.lines().collect()
}

/// A section of a dump that is whole, in JSON.
#[track_caller]
fn document(dump: &TypedDump, section: &str, member: &str) -> Value {
    dump.run(&["show", section, "--json"]).ok().json()[member].clone()
}

/// What a section has of a damaged kernel.
#[track_caller]
fn damaged(dump: &TypedDump, section: &str) -> (Run, Value) {
    let run = dump.run(&["show", section]).exits(1);
    (run, dump.run(&["show", section, "--json"]).exits(1).json())
}

/// A kernel that runs for 100.5 seconds, with interrupts: three with names, the last of which never came, and one without.
fn with_interrupts(arch: Arch) -> TypedKernel {
    let mut kernel = TypedKernel::new(arch);
    let Basic { long_long, unsigned_long, unsigned_long_long, string, .. } = kernel.basic;
    let to_counts = kernel.types.pointer(unsigned_long);
    kernel.variable("intrcnt", to_counts);
    kernel.variable("intrnames", string);
    let precise = kernel.types.record("bintime", &[("sec", long_long), ("frac", unsigned_long_long)]);
    let hands = kernel.types.record("timehands", &[("th_offset", precise)]);
    let to_hands = kernel.types.pointer(hands);
    kernel.variable("timehands", to_hands);
    let at = kernel.allocate(hands);
    kernel.set(at, hands, "th_offset.sec", 100);
    kernel.set(at, hands, "th_offset.frac", 1_u64 << 63);
    kernel.set_variable("timehands", "", at);
    let counts = [1005_u64, 150, 0, 7, 0];
    let array = kernel.types.array(unsigned_long, 5);
    let at = kernel.allocate(array);
    for (index, count) in counts.into_iter().enumerate() {
        kernel.set(at, array, &format!("[{index}]"), count);
    }
    kernel.set_variable("intrcnt", "", at);
    let names = kernel.string("irq4: uart0  \0cpu0:timer\0irq1: \0\0");
    kernel.set_variable("intrnames", "", names);
    for (name, size) in [("sintrcnt", 5 * arch.word() as u64), ("sintrnames", 33)] {
        kernel.variable(name, unsigned_long);
        kernel.set_variable(name, "", size);
    }
    kernel
}

#[test]
fn interrupts_have_their_counts_and_their_rates_since_the_kernel_booted() {
    for arch in ARCHITECTURES {
        let dump = with_interrupts(arch).write();
        let run = dump.run(&["show", "vmstat-i"]).ok();
        assert_eq!(rows(&run), ["irq4: uart0\t1005\t10", "cpu0:timer\t150\t1", "Total\t1162\t12"], "{arch:?}");
        let expected = json!({
            "uptime_seconds": 100.5,
            "interrupt_count": 1162,
            "rate": 12,
            "sources": [
                {"name": "irq4: uart0", "interrupt_count": 1005, "rate": 10},
                {"name": "cpu0:timer", "interrupt_count": 150, "rate": 1},
                {"name": "irq1:", "interrupt_count": 0, "rate": 0},
                {"name": "", "interrupt_count": 7, "rate": 0},
            ],
        });
        assert_eq!(document(&dump, "vmstat-i", "interrupts"), expected, "{arch:?}");
    }
}

#[test]
fn interrupts_whose_names_cannot_be_read_are_shown_without_and_counters_of_no_size_are_an_error() {
    let mut kernel = with_interrupts(Arch::Amd64);
    let away = kernel.unmapped();
    kernel.set_variable("intrnames", "", away);
    let (run, json) = damaged(&kernel.write(), "vmstat-i");
    assert_eq!(rows(&run), ["-\t1005\t10", "-\t150\t1", "-\t7\t0", "Total\t1162\t12"]);
    assert!(run.stderr.contains("the names of interrupts cannot be read"), "{run:?}");
    assert_eq!(json["interrupts"]["sources"][0]["name"], Value::Null);
    kernel.set_variable("sintrcnt", "", 1_u64 << 40);
    let run = kernel.write().run(&["show", "vmstat-i"]).exits(1);
    assert!(run.stderr.contains("sintrcnt is 1099511627776, which is no size of such a table"), "{run:?}");
}
