//! `memtool show`: run queues and callouts.

use crate::common::process_kernel::ProcessKernel;
use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedKernel};
use crate::kernel_cpus::add_cpus;
use crate::show_waiting::{ARCHITECTURES, add_uptime, document};
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// A kernel with two CPUs, 0 and 2, and variables that each has for itself.
struct WithCpus {
    all: ProcessKernel,
    pcpu: Type,
    cpus: [u64; 2],
    /// `struct runq`, once there is one.
    queue: Option<Type>,
}

impl WithCpus {
    fn new(arch: Arch) -> Self {
        let mut all = ProcessKernel::new(arch);
        let (pcpu, cpus) = add_cpus(&mut all.kernel);
        Self { all, pcpu, cpus, queue: None }
    }

    /// A variable that each CPU has for itself: the addresses of both copies.
    fn per_cpu(&mut self, name: &str, of: Type) -> [u64; 2] {
        let kernel = &mut self.all.kernel;
        let at = kernel.per_cpu_variable(name, of);
        let bits = if kernel.arch.word() == 4 { u64::from(u32::MAX) } else { u64::MAX };
        [0, 2].map(|cpu| {
            let copy = kernel.allocate(of);
            kernel.set_variable("dpcpu_off", &format!("[{cpu}]"), copy.wrapping_sub(at) & bits);
            copy
        })
    }

    /// A `struct runq` with eight lists.
    fn run_queue(&mut self) -> Type {
        let pointer = self.all.kernel.basic.pointer;
        let types = &mut self.all.kernel.types;
        let to_thread = types.pointer(self.all.types.thread);
        let list = types.record("rq_queue", &[("tqh_first", to_thread), ("tqh_last", pointer)]);
        let lists = types.array(list, 8);
        *self.queue.insert(types.record("runq", &[("rq_queues", lists)]))
    }

    /// Five threads, of which CPU 0 runs the first, its idle thread, and CPU 2 the second.
    fn threads(&mut self) -> [u64; 5] {
        let process = self.all.add_process(9, "many", 0);
        let threads = [1, 2, 3, 4, 5].map(|number| self.all.add_thread(process, 100_000 + number, "many"));
        let [first, second, ..] = threads;
        for (cpu, thread) in self.cpus.into_iter().zip([first, second]) {
            self.all.kernel.set(cpu, self.pcpu, "pc_curthread", thread);
            self.all.kernel.set(cpu, self.pcpu, "pc_idlethread", first);
        }
        for (thread, priority) in (0..).zip(threads).map(|(index, thread)| (thread, 40 + index)) {
            self.all.kernel.set(thread, self.all.types.thread, "td_priority", priority);
        }
        threads
    }

    /// Puts threads into a list of a run queue.
    fn enqueue(&mut self, list: u64, threads: &[u64]) {
        self.all.kernel.connect(list, self.all.types.thread, "td_runq", true);
        let mut link = list;
        for thread in threads {
            self.all.kernel.write_pointer(link, *thread);
            link = self.all.kernel.address_of(*thread, self.all.types.thread, "td_runq.tqe_next");
        }
    }

    /// ULE as it is since FreeBSD 15, which runs: CPU 2 has three threads in two lists.
    fn with_ule(mut self) -> (Self, [u64; 5]) {
        let (queue, threads) = (self.run_queue(), self.threads());
        let int = self.all.kernel.basic.int;
        let of = self.all.kernel.types.record("tdq", &[("tdq_load", int), ("tdq_runq", queue)]);
        let copies = self.per_cpu("tdq", of);
        for (copy, load) in copies.into_iter().zip([0, 4]) {
            self.all.kernel.set(copy, of, "tdq_load", load);
        }
        let [_, _, a, b, c] = threads;
        for (list, threads) in [(3, &[a, b][..]), (7, &[c])] {
            let at = self.all.kernel.address_of(copies[1], of, &format!("tdq_runq.rq_queues[{list}]"));
            self.enqueue(at, threads);
        }
        (self, threads)
    }
}

#[test]
fn cpus_have_what_they_run_and_the_threads_in_their_run_queues() {
    for arch in ARCHITECTURES {
        let (built, [idle, _, queued, ..]) = WithCpus::new(arch).with_ule();
        let dump = built.all.kernel.write();
        let run = dump.run(&["show", "run-queues"]).ok();
        let expected = [
            "0\t9\t100001\tmany\tyes\t0\t0",
            "2\t9\t100002\tmany\tno\t4\t3",
            "",
            "2\tall\t3\t42\ttimeshare\t9\t100003\tmany",
            "2\tall\t3\t43\ttimeshare\t9\t100004\tmany",
            "2\tall\t7\t44\ttimeshare\t9\t100005\tmany",
        ];
        assert_eq!((run.lines(), &*run.stderr), (expected.to_vec(), ""), "{arch:?}");
        let queues = document(&dump, "run-queues", "run_queues");
        let thread = |tid: i32, at: u64| {
            let address = format!("{at:#x}");
            json!({"pid": 9, "tid": tid, "command": "many", "thread_name": "many", "address": address})
        };
        let first = json!({"cpu": 0, "current": thread(100_001, idle), "is_idle": true, "load": 0, "queued": []});
        assert_eq!([&queues["scheduler"], &queues["cpu_queues"][0]], [&json!("ule"), &first]);
        let mut expected = thread(100_003, queued);
        for (member, value) in
            [("queue", json!("all")), ("index", json!(3)), ("priority", json!(42)), ("class", json!("timeshare"))]
        {
            expected[member] = value;
        }
        assert_eq!(queues["cpu_queues"][1]["queued"][0], expected);
        assert_eq!(queues["shared"], json!([]));
    }
}

#[test]
fn older_kernels_have_three_run_queues_for_each_cpu() {
    let mut built = WithCpus::new(Arch::Powerpc64);
    let (queue, threads) = (built.run_queue(), built.threads());
    let int = built.all.kernel.basic.int;
    let members = [("tdq_load", int), ("tdq_realtime", queue), ("tdq_timeshare", queue), ("tdq_idle", queue)];
    let of = built.all.kernel.types.record("tdq", &members);
    let all = built.all.kernel.types.array(of, 4);
    let at = built.all.kernel.static_variable("tdq_cpu", all);
    for (member, thread) in ["tdq_realtime", "tdq_timeshare", "tdq_idle"].into_iter().zip(&threads[2..]) {
        let list = built.all.kernel.address_of(at, all, &format!("[2].{member}.rq_queues[1]"));
        built.enqueue(list, &[*thread]);
    }
    let queues = document(&built.all.kernel.write(), "run-queues", "run_queues");
    assert_eq!(queues["scheduler"], "ule");
    let queued: Vec<_> =
        queues["cpu_queues"][1]["queued"].as_array().unwrap().iter().map(|one| &one["queue"]).collect();
    assert_eq!(queued, ["realtime", "timeshare", "idle"]);
}

#[test]
fn of_two_schedulers_the_one_that_runs_is_shown() {
    let (mut built, ..) = WithCpus::new(Arch::Amd64).with_ule();
    let Basic { long, pointer, .. } = built.all.kernel.basic;
    let queue = built.queue.unwrap();
    let [queues, lengths] = [queue, long].map(|of| built.all.kernel.types.array(of, 4));
    let shared = built.all.kernel.static_variable("runq", queue);
    built.all.kernel.static_variable("runq_pcpu", queues);
    built.all.kernel.static_variable("runq_length", lengths);
    built.all.kernel.set_variable("runq_length", "[2]", 5);
    let instance = built.all.kernel.variable("sched_4bsd_instance", pointer);
    built.all.kernel.variable("active_sched", pointer);
    built.all.kernel.set_variable("active_sched", "", instance);
    let process = built.all.add_process(10, "other", 0);
    let thread = built.all.add_thread(process, 100_010, "other");
    built.enqueue(shared, &[thread]);
    let dump = built.all.kernel.write();
    let run = dump.run(&["show", "run-queues"]).ok();
    let expected = [
        "0\t9\t100001\tmany\tyes\t0\t0",
        "2\t9\t100002\tmany\tno\t5\t0",
        "",
        "-\tall\t0\t0\ttimeshare\t10\t100010\tother",
    ];
    assert_eq!(run.lines(), expected, "{run:?}");
    assert_eq!(document(&dump, "run-queues", "run_queues")["scheduler"], "4bsd");
}

#[test]
fn run_queues_that_lead_back_or_to_no_thread_or_cannot_be_read_are_told() {
    let (mut built, [.., a, b, c]) = WithCpus::new(Arch::Amd64).with_ule();
    let thread = built.all.types.thread;
    built.all.kernel.set(b, thread, "td_runq.tqe_next", a);
    let stranger = built.all.kernel.allocate(thread);
    built.all.kernel.set(c, thread, "td_runq.tqe_next", stranger);
    built.all.kernel.set_variable("dpcpu_off", "[0]", built.all.kernel.unmapped());
    let (run, json) = built.all.kernel.write().damaged("run-queues");
    for told in ["list 3 of the run queues of CPU 2 is damaged: the list leads back to", "no process has the thread at"]
    {
        assert!(run.stderr.contains(told), "{told}: {run:?}");
    }
    assert!(run.stderr.contains("the run queues of CPU 0 cannot be read"), "{run:?}");
    let queues = &json["run_queues"];
    assert_eq!([&queues["cpu_queues"][0]["load"], &queues["cpu_queues"][0]["queued"]], [&Value::Null, &Value::Null]);
    let queued = queues["cpu_queues"][1]["queued"].as_array().unwrap();
    assert_eq!((queued.len(), &queued[3]["tid"]), (4, &Value::Null));
}

/// A kernel that runs for 100.5 seconds, with callouts of two CPUs: their type and their addresses.
fn with_callouts(arch: Arch) -> (TypedKernel, Type, [u64; 3]) {
    let mut kernel = TypedKernel::new(arch);
    add_uptime(&mut kernel);
    add_cpus(&mut kernel);
    let Basic { short, int, unsigned_int, long_long, pointer, string, .. } = kernel.basic;
    let types = &mut kernel.types;
    let callout = types.reserve();
    let to_callout = types.pointer(callout);
    let list = types.record("", &[("le_next", to_callout), ("le_prev", pointer)]);
    let tail = types.record("", &[("tqe_next", to_callout), ("tqe_prev", pointer)]);
    let links = types.union_of("", &[("le", list), ("tqe", tail)]);
    let lock = types.record("lock_object", &[("lo_name", string), ("lo_flags", unsigned_int)]);
    let to_lock = types.pointer(lock);
    let members = [
        ("c_links", links),
        ("c_time", long_long),
        ("c_precision", long_long),
        ("c_arg", pointer),
        ("c_func", pointer),
        ("c_lock", to_lock),
        ("c_flags", short),
        ("c_iflags", short),
        ("c_cpu", int),
    ];
    types.at(callout).record("callout", &members);
    let head = types.record("callout_list", &[("lh_first", to_callout)]);
    let queue = types.record("callout_tailq", &[("tqh_first", to_callout), ("tqh_last", pointer)]);
    let to_head = types.pointer(head);
    let of = types.record("callout_cpu", &[("cc_callwheel", to_head), ("cc_expireq", queue)]);
    let wheel = types.array(head, 8);
    let all = types.array(of, 4);
    let cpus = kernel.static_variable("cc_cpu", all);
    kernel.variable("callwheelsize", unsigned_int);
    kernel.set_variable("callwheelsize", "", 8);
    let function = kernel.function("loadav", None);
    let [first, second, third] = [(); 3].map(|()| kernel.allocate(callout));
    let second_of_time = 1_i64 << 32;
    let values = [
        (first, second_of_time * 103, second_of_time / 2, 2, 4),
        (second, second_of_time * 100, 0, 0, 0x14),
        (third, i64::MAX, second_of_time, 0, 0x184),
    ];
    for (at, time, precision, flags, internal) in values {
        let function = if at == third { 0x1234 } else { function };
        let values = [("c_time", time), ("c_precision", precision), ("c_flags", flags), ("c_iflags", internal)];
        values.into_iter().for_each(|(member, value)| kernel.set(at, callout, member, value));
        kernel.set(at, callout, "c_func", function);
        kernel.set(at, callout, "c_arg", at + 8);
    }
    let (at, name) = (kernel.allocate(lock), kernel.string("tcpinp"));
    kernel.set(at, lock, "lo_name", name);
    kernel.set(first, callout, "c_lock", at);
    kernel.set(first, callout, "c_links.le.le_next", third);
    for cpu in [0, 2] {
        let wheel_at = kernel.allocate(wheel);
        kernel.set(cpus, all, &format!("[{cpu}].cc_callwheel"), wheel_at);
        if cpu == 2 {
            kernel.set(wheel_at, wheel, "[5].lh_first", first);
        }
    }
    kernel.set(cpus, all, "[0].cc_expireq.tqh_first", second);
    (kernel, callout, [first, second, third])
}

#[test]
fn callouts_have_when_they_are_due_and_what_they_call() {
    for arch in ARCHITECTURES {
        let (mut kernel, callout, [first, second, third]) = with_callouts(arch);
        let function = match arch {
            // The header of this dump says that the kernel ran elsewhere: its addresses have no names.
            Arch::Powerpc64 => {
                let at = kernel.address_of(first, callout, "c_func");
                format!("{:#x}", kernel.number(at, 8))
            }
            _ => "loadav".to_owned(),
        };
        let dump = kernel.write();
        let run = dump.run(&["show", "callouts"]).ok();
        let expected = [
            format!("0\t-0.500000\t0.000000\t{function}\t{:#x}\t-\tpending,returnunlocked,expired", second + 8),
            format!("2\t2.500000\t0.500000\t{function}\t{:#x}\ttcpinp\tactive,pending", first + 8),
            format!("2\t2147483547.499999\t1.000000\t0x1234\t{:#x}\t-\tpending,processed,direct", third + 8),
        ];
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_eq!((&run.lines()[..3], &*run.stderr), (&*expected, ""), "{arch:?}");
        assert_eq!(
            run.lines()[3..],
            ["", "0.500000\t0\t1", "1.000000\t0\t1", "2.000000\t1\t0", "2147483648.000000\t1\t0"]
        );
        let callouts = document(&dump, "callouts", "callouts");
        assert_eq!(callouts["scheduled"][1]["lock"]["name"], "tcpinp");
        assert_eq!(callouts["scheduled"][2]["function"], Value::Null);
        let counts = &callouts["counts"];
        let of = |name: &str| &counts[name];
        assert_eq!(["callout_count", "list_count", "longest_list_count"].map(of), [&json!(2), &json!(16), &json!(2)]);
        assert_eq!(of("mean_precision_seconds"), &json!(0.75));
        assert_eq!(callouts["since_boot_seconds"], 100.5);
    }
}

#[test]
fn callouts_that_lead_back_or_cannot_be_read_end_there() {
    let (mut kernel, callout, [first, second, third]) = with_callouts(Arch::Amd64);
    kernel.set(third, callout, "c_links.le.le_next", first);
    let away = kernel.unmapped();
    kernel.set(second, callout, "c_links.tqe.tqe_next", away);
    let (run, json) = kernel.write().damaged("callouts");
    for told in [
        "list 5 of the callout wheel of CPU 2 is damaged: the list leads back to",
        "the list of expired callouts of CPU 0 is damaged: the list cannot be followed",
    ] {
        assert!(run.stderr.contains(told), "{told}: {run:?}");
    }
    assert_eq!(json["callouts"]["scheduled"].as_array().unwrap().len(), 3);
    kernel.set_variable("cc_cpu", "[2].cc_callwheel", away);
    let (run, json) = kernel.write().damaged("callouts");
    assert!(run.stderr.contains("the callouts of CPU 2 cannot be read"), "{run:?}");
    assert_eq!(json["callouts"]["scheduled"].as_array().unwrap().len(), 1);
    kernel.set_variable("callwheelsize", "", 1 << 30);
    let run = kernel.write().run(&["show", "callouts"]).exits(1);
    assert!(run.stderr.contains("callwheelsize is 1073741824, which is no size of a callout wheel"), "{run:?}");
}
