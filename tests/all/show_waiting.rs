//! `memtool show`: threads that wait, run queues, callouts and interrupts.

use crate::common::process_kernel::{ON_LOCK, ProcessKernel};
use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use crate::common::{command, on_terminal_of, text};
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// Architectures of both orders of bytes, and one whose addresses have 32 bits.
pub const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];

/// A section of a dump that is whole, in JSON.
#[track_caller]
pub fn document(dump: &TypedDump, section: &str, member: &str) -> Value {
    dump.run(&["show", section, "--json"]).ok().json()[member].clone()
}

/// Has a kernel run for 100.5 seconds.
pub fn add_uptime(kernel: &mut TypedKernel) {
    let Basic { long_long, unsigned_long_long, .. } = kernel.basic;
    let precise = kernel.types.record("bintime", &[("sec", long_long), ("frac", unsigned_long_long)]);
    let hands = kernel.types.record("timehands", &[("th_offset", precise)]);
    let to_hands = kernel.types.pointer(hands);
    kernel.variable("timehands", to_hands);
    let at = kernel.allocate(hands);
    kernel.set(at, hands, "th_offset.sec", 100);
    kernel.set(at, hands, "th_offset.frac", 1_u64 << 63);
    kernel.set_variable("timehands", "", at);
}

/// A kernel that runs for 100.5 seconds, with interrupts: three with names, the last of which never came, and one without.
fn with_interrupts(arch: Arch) -> TypedKernel {
    let mut kernel = TypedKernel::new(arch);
    add_uptime(&mut kernel);
    let Basic { unsigned_long, string, .. } = kernel.basic;
    let to_counts = kernel.types.pointer(unsigned_long);
    kernel.variable("intrcnt", to_counts);
    kernel.variable("intrnames", string);
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
        assert_eq!(run.lines(), ["irq4: uart0\t1005\t10", "cpu0:timer\t150\t1", "Total\t1162\t12"], "{arch:?}");
        let expected = json!({
            "since_boot_seconds": 100.5,
            "interrupt_count": 1162,
            "rate": 12,
            "sources": [
                {"name": "irq4: uart0", "interrupt_count": 1005, "rate": 10},
                {"name": "cpu0:timer", "interrupt_count": 150, "rate": 1},
                {"name": "irq1:", "interrupt_count": 0, "rate": 0},
                {"name": "", "interrupt_count": 7, "rate": 0},
            ],
        });
        assert_eq!(document(&dump, "vmstat-i", "interrupt_counters"), expected, "{arch:?}");
    }
}

#[test]
fn interrupts_whose_names_cannot_be_read_are_shown_without_and_counters_of_no_size_are_an_error() {
    let mut kernel = with_interrupts(Arch::Amd64);
    let away = kernel.unmapped();
    kernel.set_variable("intrnames", "", away);
    let (run, json) = kernel.write().damaged("vmstat-i");
    assert_eq!(run.lines(), ["-\t1005\t10", "-\t150\t1", "-\t7\t0", "Total\t1162\t12"]);
    assert!(run.stderr.contains("the names of interrupts cannot be read"), "{run:?}");
    assert_eq!(json["interrupt_counters"]["sources"][0]["name"], Value::Null);
    kernel.set_variable("sintrcnt", "", 1_u64 << 40);
    let run = kernel.write().run(&["show", "vmstat-i"]).exits(1);
    assert!(run.stderr.contains("sintrcnt is 1099511627776, which is no size of such a table"), "{run:?}");
}

/// A kernel with sleep queues and turnstiles, and processes whose threads wait in them.
struct Waiting {
    all: ProcessKernel,
    turnstile: Type,
    queue: Type,
    lockmgr: Type,
    rw: Type,
    next_tid: i128,
    process: u64,
    /// The last turnstile in the one list that all are in, and the last sleep queue in its list: where the next goes.
    links: [u64; 2],
}

/// Numbers of classes of locks.
const MUTEX: i128 = 1;
const SX: i128 = 2;
const RW: i128 = 5;
const LOCKMGR: i128 = 6;
/// What a word of a lock has that one thread shares.
const SHARED: u64 = 0x21;

impl Waiting {
    fn new(arch: Arch) -> Self {
        let mut all = ProcessKernel::new(arch);
        let Basic { pointer, int, unsigned_long, .. } = all.kernel.basic;
        let types = &mut all.kernel.types;
        let [thread, lock_object] = [all.types.thread, all.types.lock_object];
        let to_thread = types.pointer(thread);
        let threads = types.record("threadqueue", &[("tqh_first", to_thread), ("tqh_last", pointer)]);
        let blocked = types.array(threads, 2);
        let queue = types.reserve();
        let to_queue = types.pointer(queue);
        let link = types.record("", &[("le_next", to_queue), ("le_prev", pointer)]);
        let members = [("sq_blocked", blocked), ("sq_hash", link), ("sq_wchan", pointer), ("sq_type", int)];
        types.at(queue).record("sleepqueue", &members);
        let head = types.record("", &[("lh_first", to_queue)]);
        let chain = types.record("sleepqueue_chain", &[("sc_queues", head)]);
        let chains = types.array(chain, 4);
        let turnstile = all.types.turnstile;
        let to_turnstile = types.pointer(turnstile);
        let head = types.record("", &[("lh_first", to_turnstile)]);
        let chain = types.record("turnstile_chain", &[("tc_turnstiles", head)]);
        let turnstile_chains = types.array(chain, 4);
        let lockmgr = types.record("lockmgr_lock", &[("lock_object", lock_object), ("lk_lock", unsigned_long)]);
        let rw = types.record("rwlock", &[("lock_object", lock_object), ("rw_lock", unsigned_long)]);
        let sleeping = all.kernel.static_variable("sleepq_chains", chains);
        let blocked = all.kernel.static_variable("turnstile_chains", turnstile_chains);
        let process = all.add_process(9, "many", 0);
        all.kernel.connect(sleeping, queue, "sq_hash", false);
        all.kernel.connect(blocked, turnstile, "ts_hash", false);
        Self { all, turnstile, queue, lockmgr, rw, next_tid: 100_001, process, links: [sleeping, blocked] }
    }

    /// Threads, whose IDs count from 100001.
    fn threads<const N: usize>(&mut self) -> [u64; N] {
        [(); N].map(|()| {
            let tid = self.next_tid;
            self.next_tid += 1;
            self.all.add_thread(self.process, tid, &format!("thread {}", tid - 100_000))
        })
    }

    /// A lock of a class whose word or turnstile says that a thread owns it.
    fn lock(&mut self, name: &str, class: i128, word: u64) -> u64 {
        let (of, member) = match class {
            SX => (self.all.types.sx, "sx_lock"),
            LOCKMGR => (self.lockmgr, "lk_lock"),
            RW => (self.rw, "rw_lock"),
            _ => (self.all.types.lock_object, ""),
        };
        let lock = self.all.add_lock(of, name, class);
        if !member.is_empty() {
            self.all.kernel.set(lock, of, member, word);
        }
        lock
    }

    /// Has a thread sleep on a lock, with the lock's name as the reason.
    fn sleep_on(&mut self, thread: u64, lock: u64, kind: i128) {
        let word = self.all.kernel.arch.word();
        let reason = self.all.kernel.number(lock, word);
        self.sleep(thread, lock, reason, kind);
    }

    fn sleep(&mut self, thread: u64, channel: u64, reason: u64, kind: i128) {
        self.all.sleep(thread, channel, reason, 5);
        let at = self.all.kernel.allocate(self.queue);
        let values = [("sq_wchan", i128::from(channel)), ("sq_type", kind), ("sq_blocked[1].tqh_first", thread.into())];
        for (member, value) in values {
            self.all.kernel.set(at, self.queue, member, value);
        }
        let threads = self.all.kernel.address_of(at, self.queue, "sq_blocked[1]");
        self.all.kernel.connect(threads, self.all.types.thread, "td_slpq", true);
        self.all.kernel.write_pointer(self.links[0], at);
        self.links[0] = self.all.kernel.address_of(at, self.queue, "sq_hash.le_next");
    }

    /// Has a thread wait in the turnstile of a lock.
    fn block_on(&mut self, thread: u64, lock: u64, owner: u64) -> u64 {
        let word = self.all.kernel.arch.word();
        let (at, name) = (self.all.kernel.allocate(self.turnstile), self.all.kernel.number(lock, word));
        let values = [("ts_lockobj", lock), ("ts_owner", owner), ("ts_blocked[0].tqh_first", thread)];
        for (member, value) in values {
            self.all.kernel.set(at, self.turnstile, member, value);
        }
        let threads = self.all.kernel.address_of(at, self.turnstile, "ts_blocked[0]");
        self.all.kernel.connect(threads, self.all.types.thread, "td_lockq", true);
        self.all.kernel.write_pointer(self.links[1], at);
        self.links[1] = self.all.kernel.address_of(at, self.turnstile, "ts_hash.le_next");
        let values = [("td_state", 1), ("td_inhibitors", ON_LOCK), ("td_blktick", 93_000)];
        let pointers = [("td_blocked", at), ("td_lockname", name)].map(|(member, at)| (member, at.into()));
        for (member, value) in values.into_iter().chain(pointers) {
            self.all.kernel.set(thread, self.all.types.thread, member, value);
        }
        at
    }

    fn write(&self) -> TypedDump {
        self.all.kernel.write()
    }
}

/// A kernel with threads that sleep, that wait for locks of each class, and one that can run.
fn with_waits(arch: Arch) -> (Waiting, [u64; 6], [u64; 4]) {
    let mut built = Waiting::new(arch);
    let threads = built.threads();
    let [sleeper, on_mutex, on_sx, on_lockmgr, on_rw, runs] = threads;
    let sx = built.lock("proctree", SX, runs | 4);
    let lockmgr = built.lock("bufwait", LOCKMGR, SHARED | 0x40);
    let rw = built.lock("vm object", RW, SHARED);
    let mutex = built.lock("process lock", MUTEX, 0);
    let (channel, reason) = (built.all.kernel.allocate(built.queue), built.all.kernel.string("select"));
    built.sleep(sleeper, channel, reason, 1);
    built.block_on(on_mutex, mutex, runs);
    built.sleep_on(on_sx, sx, 3);
    // Buffers have another reason than the lock's name.
    let reason = built.all.kernel.string("getblk");
    built.sleep(on_lockmgr, lockmgr, reason, 4);
    built.block_on(on_rw, rw, 0);
    (built, threads, [mutex, sx, lockmgr, rw])
}

#[test]
fn threads_that_wait_have_what_they_wait_for_and_who_owns_it() {
    for arch in ARCHITECTURES {
        let (built, [sleeper, .., runs], [mutex, sx, lockmgr, rw]) = with_waits(arch);
        let dump = built.write();
        let run = dump.run(&["show", "waits"]).ok();
        let channel = json_channel(&dump);
        let expected = [
            format!("9\t100001\tmany/thread 1\tselect\t5\t-\t-\t{channel}"),
            format!("9\t100002\tmany/thread 2\tprocess lock\t7\tsleep mutex\t100006\t{mutex:#x}"),
            format!("9\t100003\tmany/thread 3\tproctree\t5\tsx\t100006\t{sx:#x}"),
            format!("9\t100004\tmany/thread 4\tgetblk\t5\tlockmgr\t-\t{lockmgr:#x}"),
            format!("9\t100005\tmany/thread 5\tvm object\t7\trw\t-\t{rw:#x}"),
        ];
        assert_eq!((run.lines(), &*run.stderr), (expected.iter().map(String::as_str).collect(), ""), "{arch:?}");
        let waits = document(&dump, "waits", "waits");
        let owner = json!({
            "pid": 9,
            "tid": 100_006,
            "command": "many",
            "thread_name": "thread 6",
            "address": format!("{runs:#x}"),
        });
        let expected = json!({
            "pid": 9,
            "tid": 100_001,
            "command": "many",
            "thread_name": "thread 1",
            "address": format!("{sleeper:#x}"),
            "kind": "sleep-queue",
            "queue_type": "condition-variable",
            "channel": channel,
            "message": "select",
            "waiting_seconds": 5,
            "lock": null,
        });
        assert_eq!(waits[0], expected);
        let lock = |address: u64, name: &str, class: &str, owner: &Value, sharers: Value| {
            let owner_address = owner["address"].clone();
            let address = format!("{address:#x}");
            json!({
                "address": address,
                "name": name,
                "class": class,
                "owner_thread": owner,
                "owner_address": owner_address,
                "sharer_count": sharers,
            })
        };
        assert_eq!(waits[1]["lock"], lock(mutex, "process lock", "sleep mutex", &owner, Value::Null));
        assert_eq!(waits[2]["lock"], lock(sx, "proctree", "sx", &owner, Value::Null));
        assert_eq!(waits[3]["lock"], lock(lockmgr, "bufwait", "lockmgr", &Value::Null, json!(3)));
        assert_eq!(waits[4]["lock"], lock(rw, "vm object", "rw", &Value::Null, json!(1)));
        let kinds = [&waits[1]["kind"], &waits[2]["queue_type"], &waits[3]["queue_type"], &waits[4]["queue_type"]];
        assert_eq!(kinds, [&json!("turnstile"), &json!("sx"), &json!("lockmgr"), &Value::Null]);
    }
}

fn json_channel(dump: &TypedDump) -> String {
    document(dump, "waits", "waits")[0]["channel"].as_str().unwrap().to_owned()
}

#[test]
fn queues_and_threads_that_do_not_match_are_told() {
    let (mut built, [sleeper, on_mutex, .., on_rw, runs], [mutex, ..]) = with_waits(Arch::Amd64);
    let thread = built.all.types.thread;
    // One says that it sleeps elsewhere, one that it does not wait, one is in no queue, and a queue has what is no thread.
    built.all.kernel.set(sleeper, thread, "td_wchan", mutex);
    built.all.kernel.set(on_mutex, thread, "td_inhibitors", 0);
    let turnstile = built.block_on(on_rw, mutex, 0);
    built.all.kernel.set(turnstile, built.turnstile, "ts_blocked[0].tqh_first", 0);
    let stranger = built.all.kernel.allocate(thread);
    let reason = built.all.kernel.string("stray");
    built.sleep(stranger, mutex + 64, reason, 0);
    let (channel, reason) = (built.all.kernel.allocate(built.queue), built.all.kernel.string("lost"));
    built.all.sleep(runs, channel, reason, 1);
    let (run, _) = built.write().damaged("waits");
    for told in [
        "TID 100001 waits for",
        "but is in the sleep queue of",
        "TID 100002 is in the turnstile of",
        "but does not wait",
        "is in the sleep queue of",
        "but no process has it",
        "TID 100006 waits, but is in no sleep queue",
    ] {
        assert!(run.stderr.contains(told), "{told}: {run:?}");
    }
}

#[test]
fn queues_that_lead_back_or_cannot_be_read_end_there() {
    let (mut built, [sleeper, ..], [mutex, ..]) = with_waits(Arch::Powerpc64);
    let (thread, queue) = (built.all.types.thread, built.queue);
    built.all.kernel.set(sleeper, thread, "td_slpq.tqe_next", sleeper);
    let at = built.all.kernel.allocate(queue);
    built.all.kernel.set(at, queue, "sq_wchan", mutex);
    built.all.kernel.set(at, queue, "sq_hash.le_next", at);
    built.all.kernel.write_pointer(built.links[0], at);
    let away = built.all.kernel.unmapped();
    built.all.kernel.write_pointer(built.links[1], away);
    let (run, json) = built.write().damaged("waits");
    assert_eq!(json["waits"].as_array().unwrap().len(), 5);
    for told in [
        "the list leads back to",
        "list 0 of sleepq_chains is damaged",
        "list 0 of turnstile_chains is damaged: the list cannot be followed",
    ] {
        assert!(run.stderr.contains(told), "{told}: {run:?}");
    }
}

#[test]
fn a_kernel_whose_types_do_not_have_the_queues_has_waits_all_the_same() {
    let mut all = ProcessKernel::new(Arch::Amd64);
    let process = all.add_process(9, "many", 0);
    let thread = all.add_thread(process, 100_001, "many");
    let reason = all.kernel.string("select");
    all.sleep(thread, reason, reason, 3);
    let run = all.kernel.write().run(&["show", "waits"]).ok();
    assert_eq!((run.lines(), &*run.stderr), (vec![&*format!("9\t100001\tmany\tselect\t3\t-\t-\t{reason:#x}")], ""));
}

/// What a chain consists of: the TID of each thread, and the name of the lock that it waits for.
fn links(chain: &Value) -> Vec<(i64, &str)> {
    let links = chain.as_array().unwrap().iter();
    links.map(|link| (link["tid"].as_i64().unwrap(), link["lock"]["name"].as_str().unwrap())).collect()
}

#[test]
fn circles_of_locks_of_each_class_are_deadlocks() {
    for arch in ARCHITECTURES {
        let mut built = Waiting::new(arch);
        let [a, b, c, d, e, f, g, h, alone] = built.threads();
        // Two sx locks.
        let (first, second) = (built.lock("first", SX, a), built.lock("second", SX, b | 0x16));
        built.sleep_on(a, second, 3);
        built.sleep_on(b, first, 3);
        // A lockmgr lock, a mutex, and a lock for readers and writers, and a thread behind them.
        let (vnode, mutex, rw) =
            (built.lock("ufs", LOCKMGR, c), built.lock("mutex", MUTEX, 0), built.lock("rw", RW, e));
        built.sleep_on(e, vnode, 4);
        built.block_on(c, mutex, d);
        built.block_on(d, rw, e);
        built.block_on(f, mutex, d);
        // Two mutexes, and a thread that waits for itself.
        let (one, other) = (built.lock("one", MUTEX, 0), built.lock("other", MUTEX, 0));
        built.block_on(g, one, h);
        built.block_on(h, other, g);
        let own = built.lock("own", SX, alone);
        built.sleep_on(alone, own, 3);
        let dump = built.write();
        let found = document(&dump, "deadlocks", "deadlocks");
        let circles: Vec<_> = found["circles"].as_array().unwrap().iter().map(|one| links(&one["circle"])).collect();
        let expected = [
            vec![(100_001, "second"), (100_002, "first")],
            vec![(100_003, "mutex"), (100_004, "rw"), (100_005, "ufs")],
            vec![(100_007, "one"), (100_008, "other")],
            vec![(100_009, "own")],
        ];
        assert_eq!(circles, expected, "{arch:?}");
        assert_eq!(found["circles"][0]["behind"], json!([]));
        assert_eq!(links(&found["circles"][1]["behind"]), [(100_006, "mutex")]);
        assert_eq!(found["chains"], json!([]));
        let run = dump.run(&["show", "deadlocks"]).ok();
        let expected = format!("1\t9\t100001\tmany/thread 1\tsx\tsecond\t100002\twaits\t{second:#x}");
        assert_eq!(run.lines()[0], expected);
        let expected = format!("2\t9\t100006\tmany/thread 6\tsleep mutex\tmutex\t100004\twaits\t{mutex:#x}");
        assert_eq!(run.lines()[8..], ["", &*expected]);
    }
}

#[test]
fn chains_of_locks_that_are_no_circles_have_their_ends() {
    let mut built = Waiting::new(Arch::Amd64);
    let [a, b, runs, c, sleeper, d, e, f, g] = built.threads();
    let thread = built.all.types.thread;
    for (member, value) in [("td_state", 4), ("td_oncpu", 1)] {
        built.all.kernel.set(runs, thread, member, value);
    }
    let (sx, mutex) = (built.lock("sx", SX, b), built.lock("mutex", MUTEX, 0));
    built.sleep_on(a, sx, 3);
    built.block_on(b, mutex, runs);
    let vnode = built.lock("ufs", LOCKMGR, sleeper);
    built.sleep_on(c, vnode, 4);
    let (channel, reason) = (built.all.kernel.allocate(built.queue), built.all.kernel.string("biord"));
    built.sleep(sleeper, channel, reason, 0);
    let stranger = built.all.kernel.allocate(thread);
    for (waiter, name, class, word) in [
        (d, "gone", SX, stranger),
        (e, "nowhere", SX, built.all.kernel.unmapped() & !0x1f),
        (f, "disowned", LOCKMGR, !0x1f),
        (g, "shared", SX, SHARED | 0x40),
    ] {
        let lock = built.lock(name, class, word);
        built.sleep_on(waiter, lock, if class == SX { 3 } else { 4 });
    }
    let dump = built.write();
    let found = document(&dump, "deadlocks", "deadlocks");
    assert_eq!(found["circles"], json!([]));
    let chains = found["chains"].as_array().unwrap();
    assert_eq!(links(&chains[0]["links"]), [(100_001, "sx"), (100_002, "mutex")]);
    let ends: Vec<_> = chains.iter().map(|chain| chain["chain_end"]["kind"].as_str().unwrap()).collect();
    assert_eq!(ends, ["running", "sleeping", "no-thread", "no-thread", "disowned", "shared"]);
    assert_eq!(
        [&chains[0]["chain_end"]["cpu"], &chains[0]["chain_end"]["thread"]["tid"]],
        [&json!(1), &json!(100_003)]
    );
    assert_eq!(chains[1]["chain_end"]["message"], "biord");
    assert_eq!(chains[5]["links"][0]["lock"]["sharer_count"], 3);
    let run = dump.run(&["show", "deadlocks"]).ok();
    assert_eq!(run.lines()[..2], ["", &*format!("1\t9\t100001\tmany/thread 1\tsx\tsx\t100002\twaits\t{sx:#x}")]);
    assert!(run.lines()[2].contains("\t100003\towner runs on CPU 1\t"), "{run:?}");
    assert!(run.lines()[3].contains("\towner sleeps on biord\t"), "{run:?}");
}

#[test]
fn a_kernel_in_which_no_thread_waits_for_a_lock_has_no_deadlocks() {
    let mut built = Waiting::new(Arch::Amd64);
    let [_] = built.threads();
    let dump = built.write();
    assert_eq!(document(&dump, "deadlocks", "deadlocks"), json!({"circles": [], "chains": []}));
    let run = dump.run(&["show", "deadlocks"]).ok();
    assert_eq!((&*run.stdout, &*run.stderr), ("", ""));
    let files = ["-M", text(&dump.core), "-N", text(&dump.kernel)];
    let shown = on_terminal_of(Some(80), command().args(["show", "deadlocks"]).args(files));
    assert_eq!(shown.lines().next(), Some("No threads wait for each other"), "{shown}");
}
