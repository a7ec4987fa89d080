//! `memtool ps` with a kernel's types: the columns of ps(1).

use crate::common::process_kernel::{CONTROLT, FREQUENCY, ON_LOCK, ProcessKernel, STACK_TOP, SYSTEM, WEXIT};
use crate::common::typed_kernel::TypedDump;
use crate::common::typed_kernel::WriteFiles as _;
use serde_json::{Value, json};
use vmcore_synth::Arch;

/// The rows of a list with these columns, a field each.
#[track_caller]
fn rows(dump: &TypedDump, arguments: &[&str]) -> Vec<Vec<String>> {
    let run = dump.run(&[&["ps"], arguments].concat()).ok();
    run.stdout.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Fields as [`rows`] has them.
fn fields(row: &str) -> Vec<String> {
    row.split('|').map(str::to_owned).collect()
}

/// A kernel process, a shell that sleeps, and a program with two threads in a jail.
fn three_processes(arch: Arch) -> (ProcessKernel, [u64; 3]) {
    let mut all = ProcessKernel::new(arch);
    let types = all.types;
    let kernel = all.add_process(0, "kernel", SYSTEM);
    let swapper = all.add_thread(kernel, 100_000, "swapper");
    let message = all.kernel.string("swapin");
    all.sleep(swapper, 0x1234, message, 3);

    let shell = all.add_process(700, "sh", CONTROLT);
    let thread = all.add_thread(shell, 100_100, "sh");
    let message = all.kernel.string("a long reason");
    all.sleep(thread, 0xabcd, message, 30);
    all.add_stack(shell, arch.word(), [&["-sh", "", "tab\there"], &["HOME=/root"]]);
    let [group, session, terminal, device] =
        [types.group, types.session, types.terminal, types.device].map(|of| all.kernel.allocate(of));
    all.kernel.set(group, types.group, "pg_id", 700);
    all.kernel.set(group, types.group, "pg_session", session);
    all.kernel.set(session, types.session, "s_leader", shell);
    all.kernel.set(session, types.session, "s_ttyvp", 1);
    all.kernel.set(session, types.session, "s_ttyp", terminal);
    all.kernel.set(session, types.session, "s_sid", 699);
    all.kernel.set_text(session, types.session, "s_login", "charlie");
    all.kernel.set(terminal, types.terminal, "t_pgrp", group);
    all.kernel.set(terminal, types.terminal, "t_session", session);
    all.kernel.set(terminal, types.terminal, "t_dev", device);
    all.kernel.set_text(device, types.device, "cdp_c.si_name", "ttyu0");
    all.kernel.set(device, types.device, "cdp_inode", 0x65);
    let numbers = [("p_nice", -5), ("p_oppid", 1), ("p_fibnum", 2), ("p_acflag", 0x11), ("p_swtick", 50_000)];
    numbers.into_iter().for_each(|(member, value)| all.kernel.set(shell, types.process, member, value));
    all.kernel.set(shell, types.process, "p_pptr", kernel);
    all.kernel.set(shell, types.process, "p_pgrp", group);

    let jail = all.kernel.allocate(types.prison);
    all.kernel.set(jail, types.prison, "pr_id", 7);
    all.kernel.set_text(jail, types.prison, "pr_name", "www");
    let credentials = all.add_credentials(1001, jail);
    let program = all.add_process(800, "nginx", 0);
    all.kernel.set(program, types.process, "p_ucred", credentials);
    all.keep_arguments(program, b"/usr/sbin/nginx\0-c\0/etc/nginx.conf\0");
    let first = all.add_thread(program, 100_200, "main");
    let second = all.add_thread(program, 100_201, "worker");
    all.kernel.set(first, types.thread, "td_state", 4);
    all.kernel.set(first, types.thread, "td_oncpu", 3);
    for (thread, factor) in [(first, 1), (second, 2)] {
        all.kernel.set(thread, types.thread, "td_rux.rux_runtime", factor * i128::from(FREQUENCY));
        all.kernel.set(thread, types.thread, "td_incruntime", factor * i128::from(FREQUENCY) / 4);
        all.kernel.set(thread, types.thread, "td_cow", factor * 10);
        all.kernel.set(thread, types.thread, "td_ru.ru_minflt", factor * 100);
    }
    all.kernel.set(program, types.process, "p_rux.rux_runtime", 65 * i128::from(FREQUENCY));
    all.kernel.set(program, types.process, "p_rux.rux_uticks", 3);
    all.kernel.set(program, types.process, "p_rux.rux_sticks", 1);
    all.kernel.set(program, types.process, "p_ru.ru_minflt", 1000);
    (all, [kernel, shell, program])
}

#[test]
fn columns_show_what_the_kernel_tells_on_every_architecture() {
    for arch in Arch::ALL {
        let (all, [_, shell, _]) = three_processes(arch);
        let dump = all.kernel.write();
        let identity =
            "pid,ppid,uid,ruid,svuid,gid,rgid,svgid,user,group,class,jid,jail,pgid,sid,login,tty,tt,tdev,tpgid";
        assert_eq!(
            rows(&dump, &["-o", identity]),
            [
                "0|0|0|1|2|100|101|102|0|100|-|0|-|0|0|-|-|-|-|0",
                "700|1|0|1|2|100|101|102|0|100|daemon|0|-|700|699|charlie|ttyu0|u0|0x65|700",
                "800|0|1001|1002|1003|1101|1102|1103|1001|1101|daemon|7|www|0|0|-|-|-|-|0",
            ]
            .map(fields),
            "{arch:?}"
        );
        let state = "pid,state,cpu,ni,wchan,mwchan,nwchan,sl,re,f,fib,acflag,nlwp,emul,lim,lockname,held";
        assert_eq!(
            rows(&dump, &["-o", state]),
            [
                "0|SL|1|0|swapin|swapin|0x1234|3|100|200|0|0|1|FreeBSD ELF64|-|-|-",
                "700|I<s+|1|-5|a long r|a long r|0xabcd|30|50|2|2|11|1|FreeBSD ELF64|-|-|-",
                "800|RJ|3|0|-|-|-|100|100|1000000|0|0|2|FreeBSD ELF64|-|-|-",
            ]
            .map(fields),
            "{arch:?}"
        );
        assert_eq!(
            rows(&dump, &["-o", "pid,time,usertime,systime,cow,minflt,start,lstart,etime,etimes"]),
            [
                "0|0:00.00|0:00.00|0:00.00|0|0|10:00|Sat Nov 21 10:00:11 2026|01:59:49|7189",
                "700|0:00.00|0:00.00|0:00.00|0|0|10:00|Sat Nov 21 10:00:11 2026|01:59:49|7189",
                "800|1:05.75|0:49.31|0:16.44|30|1300|10:00|Sat Nov 21 10:00:11 2026|01:59:49|7189",
            ]
            .map(fields),
            "{arch:?}"
        );
        // Only powerpc64's tables of processes cannot be followed.
        let has_stack = arch != Arch::Powerpc64;
        let line = if has_stack { "-sh tab\\there (sh)" } else { "[sh]" };
        assert_eq!(
            rows(&dump, &["-o", "command=WHAT", "-o", "comm,vsz,rss,%mem,paddr"])[1],
            [line, "sh", "12056", "100", "2.5", &format!("{shell:#x}")],
            "{arch:?}"
        );
        assert_eq!(rows(&dump, &["-o", "args"])[2], ["/usr/sbin/nginx -c /etc/nginx.conf"]);
        let run = dump.run(&["ps"]).ok();
        assert_eq!(run.stderr.is_empty(), has_stack, "{}", run.stderr);
    }
}

#[test]
fn the_list_without_options_and_the_long_one_fit_a_terminal() {
    let (all, [kernel, ..]) = three_processes(Arch::Amd64);
    let dump = all.kernel.write();
    assert_eq!(rows(&dump, &[])[0], ["0", "0", "SL", "swapin", "0:00.00", &format!("{kernel:#x}"), "[kernel]"]);
    assert_eq!(rows(&dump, &["-O", "uid"])[2][..3], ["800", "1001", "0"]);
    assert_eq!(
        rows(&dump, &["-l"])[2],
        fields("1001|800|0|3|-56|0|0|0|-|RJ|-|1:05.75|/usr/sbin/nginx -c /etc/nginx.conf")
    );
    // Threads have rows of their own.
    let threads = rows(&dump, &["-H", "-o", "pid,tid,tdname,time,cow,comm"]);
    assert_eq!(threads[1], fields("700|100100|-|0:00.00|0|sh"));
    assert_eq!(
        threads[2..],
        [fields("800|100200|main|0:01.25|10|nginx/main"), fields("800|100201|worker|0:02.50|20|nginx/worker")]
    );
    // Without columns it is the list that takes no types.
    assert_eq!(rows(&dump, &["-H"])[0][..3], ["0", "100000", "swapper"]);
    // A column is shown once, where it is asked for.
    assert_eq!(rows(&dump, &["-O", "ppid,tt"])[2][..4], fields("800|0|-|RJ")[..]);
    assert_eq!(rows(&dump, &["-l", "-o", "uid,pid"])[2][11..], fields("1001|800")[..]);
    for (wrong, why) in [
        ("pid,nothing", "; the keywords are %mem, acflag, "),
        ("", "it has no keyword"),
        ("=PID", "it has no keyword"),
        ("pidd", "unknown keyword 'pidd' (did you mean 'pid'?)"),
        ("PID", "unknown keyword 'PID' (did you mean 'pid'?)"),
        ("C", "unknown keyword 'C' (did you mean 'cpu'?)"),
        ("%cpu", "the keyword '%cpu' of ps(1) is not available"),
    ] {
        dump.run(&["ps", "-o", wrong]).usage_error(&[why]);
    }
}

#[test]
fn processes_are_selected_by_their_ids_and_options_of_habit_have_no_effect() {
    let (all, _) = three_processes(Arch::Amd64);
    let dump = all.kernel.write();
    let ids = |arguments: &[&str]| {
        rows(&dump, &[&["-o", "pid"], arguments].concat()).into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(ids(&["-axww"]), ["0", "700", "800"]);
    assert_eq!(ids(&["-p", "800,0", "-p", "800"]), ["0", "800"]);
    assert_eq!(dump.run(&["ps", "-H", "-p", "700"]).ok().stdout.lines().count(), 1);
    let absent = dump.run(&["ps", "-p", "9,700", "--json"]).exits(1);
    assert_eq!(absent.stderr, "memtool: warning: the kernel has no process 9\n");
    let told = absent.json();
    assert_eq!(told["processes"][0]["pid"], 700);
    assert_eq!(told["processes"].as_array().unwrap().len(), 1);
    dump.run(&["ps", "-p", "init"]).usage_error(&["-p", "'init' is not a number"]);
}

#[test]
fn zombies_and_processes_that_exit_have_no_arguments() {
    let mut all = ProcessKernel::new(Arch::Amd64);
    let zombie = all.add_process(5, "done", WEXIT);
    all.add_thread(zombie, 100_001, "done");
    for (member, value) in [("p_state", 2), ("p_xexit", 3), ("p_xsig", 9)] {
        all.kernel.set(zombie, all.types.process, member, value);
    }
    let exiting = all.add_process(6, "leaving", WEXIT);
    all.add_thread(exiting, 100_002, "leaving");
    let dump = all.kernel.write();
    let columns = ["-o", "state,xstat,vsz,command"];
    assert_eq!(rows(&dump, &columns), ["Z|309|0|done <defunct>", "RE|0|0|[leaving]"].map(fields));
    assert_eq!(rows(&dump, &["-o", "comm"])[0], ["done"]);
}

#[test]
fn zombies_that_only_the_table_of_process_ids_has_are_listed() {
    for arch in [Arch::Amd64, Arch::Powerpc64] {
        let mut all = ProcessKernel::new(arch);
        let parent = all.add_process(5, "parent", 0);
        all.add_thread(parent, 100_001, "parent");
        let zombie = all.add_process(6, "done", WEXIT);
        all.remove_process(zombie, parent);
        all.add_pid_table(&[&[zombie], &[parent]]);
        let dump = all.kernel.write();
        let found = rows(&dump, &["-o", "pid,command"]);
        assert_eq!(found, ["5|[parent]", "6|done <defunct>"].map(fields), "{arch:?}");
        let document = dump.run(&["ps", "--json"]).ok().json();
        let zombies: Vec<bool> =
            document["processes"].as_array().unwrap().iter().map(|process| process["zombie"] == true).collect();
        assert_eq!(zombies, [false, true]);
    }
}

#[test]
fn processes_that_a_cut_list_has_lost_are_listed_and_a_warning_names_them() {
    for (flags, is_lost) in [(0, true), (WEXIT, false)] {
        let mut all = ProcessKernel::new(Arch::Amd64);
        let parent = all.add_process(5, "parent", 0);
        all.add_thread(parent, 100_001, "parent");
        let lost = all.add_process(6, "lost", flags);
        all.add_thread(lost, 100_002, "lost");
        all.remove_process(lost, parent);
        let process = all.types.process;
        all.kernel.set(lost, process, "p_state", 1);
        all.add_pid_table(&[&[lost], &[parent]]);
        // One that exits is in no list for a moment.
        let run = all.kernel.write().run(&["ps", "-o", "pid"]).exits(i32::from(is_lost));
        assert_eq!(run.stdout, "5\n6\n", "{run:?}");
        assert_eq!(run.stderr.contains("process 6 is in pidhashtbl and not in allproc"), is_lost, "{run:?}");
    }
}

#[test]
fn a_table_of_process_ids_that_leads_back_to_itself_ends_with_a_warning() {
    let mut all = ProcessKernel::new(Arch::Amd64);
    let parent = all.add_process(5, "parent", 0);
    all.add_thread(parent, 100_001, "parent");
    let zombie = all.add_process(6, "done", WEXIT);
    all.remove_process(zombie, parent);
    all.add_pid_table(&[&[zombie, parent, zombie], &[]]);
    let run = all.kernel.write().run(&["ps", "-o", "pid"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("pidhashtbl leads back to"), "{run:?}");
    assert_eq!(run.stdout, "5\n6\n");
}

#[test]
fn programs_of_32_bits_have_shorter_pointers_on_their_stack() {
    let mut all = ProcessKernel::new(Arch::Amd64);
    let vector = all.add_vector("FreeBSD ELF32", 16, 0x100);
    let process = all.add_process(5, "old", 0);
    all.kernel.set(process, all.types.process, "p_sysent", vector);
    all.add_thread(process, 100_001, "old");
    all.add_stack(process, 4, [&["/bin/old", "-x"], &[]]);
    let dump = all.kernel.write();
    assert_eq!(rows(&dump, &["-o", "emul,command"]), [fields("FreeBSD ELF32|/bin/old -x")]);
}

#[test]
fn arguments_that_are_not_in_the_dump_are_counted_and_no_failure() {
    let mut all = ProcessKernel::new(Arch::Amd64);
    for pid in [5, 6] {
        let process = all.add_process(pid, "far", 0);
        all.add_thread(process, 100_000 + pid, "far");
        let (_, page) = all.add_stack(process, 8, [&["far", "away"], &[]]);
        all.kernel.omit(page);
    }
    let dump = all.kernel.write();
    let run = dump.run(&["ps", "-o", "pid,command"]).ok();
    assert_eq!(run.stdout, "5\t[far]\n6\t[far]\n");
    let reason =
        format!("memtool: warning: the arguments of 2 processes cannot be read; of process 5: {:#x}: ", STACK_TOP - 32);
    assert!(run.stderr.contains(&reason), "{}", run.stderr);
    assert_eq!(dump.run(&["ps", "-o", "pid,comm"]).ok().stderr, "");
    // Those that are not listed do not count.
    let one = dump.run(&["ps", "-p", "6"]).ok();
    assert!(one.stderr.contains("the arguments of process 6 cannot be read: "), "{}", one.stderr);
}

#[test]
fn locks_have_owners_and_those_who_hold_them() {
    let mut all = ProcessKernel::new(Arch::Amd64);
    let types = all.types;
    let process = all.add_process(9, "many", 0);
    let [holder, on_mutex, on_sx, on_shared, on_channel] =
        [1, 2, 3, 4, 5].map(|number| all.add_thread(process, 100_000 + number, &format!("thread {number}")));
    // A mutex, through its turnstile.
    let mutex = all.add_lock(types.lock_object, "process lock", 1);
    let turnstile = all.kernel.allocate(types.turnstile);
    all.kernel.set(turnstile, types.turnstile, "ts_lockobj", mutex);
    all.kernel.set(turnstile, types.turnstile, "ts_owner", holder);
    for (member, value) in [("td_state", 1), ("td_inhibitors", ON_LOCK)] {
        all.kernel.set(on_mutex, types.thread, member, value);
    }
    all.kernel.set(on_mutex, types.thread, "td_blocked", turnstile);
    let name = all.kernel.string("process lock");
    all.kernel.set(on_mutex, types.thread, "td_lockname", name);
    all.kernel.set(holder, types.thread, "td_contested.lh_first", turnstile);
    // An sx lock, on which a thread sleeps; one that is shared; and something else that looks almost like it.
    let exclusive = all.add_lock(types.sx, "proctree", 2);
    all.kernel.set(exclusive, types.sx, "sx_lock", holder | 4);
    let shared = all.add_lock(types.sx, "allproc", 2);
    all.kernel.set(shared, types.sx, "sx_lock", 0x21);
    let channel = all.kernel.allocate(types.sx);
    for (thread, lock) in [(on_sx, exclusive), (on_shared, shared), (on_channel, channel)] {
        let reason = all.kernel.number(lock, 8);
        all.sleep(thread, lock, reason, 1);
    }
    // What WITNESS has recorded.
    let witnessed = all.add_lock(types.lock_object, "Giant", 1);
    let list = all.kernel.allocate(types.held_list);
    all.kernel.set(list, types.held_list, "ll_children[0].li_lock", witnessed);
    all.kernel.set(list, types.held_list, "ll_children[1].li_lock", mutex);
    all.kernel.set(list, types.held_list, "ll_count", 2);
    all.kernel.set(holder, types.thread, "td_sleeplocks", list);

    let dump = all.kernel.write();
    assert_eq!(
        rows(&dump, &["-H", "-o", "tid,state,lockname,mwchan,lockowner,held"]),
        [
            "100001|R|-|-|-|process lock,Giant,proctree",
            "100002|L|process |process |100001|-",
            "100003|S|-|proctree|100001|-",
            "100004|S|-|allproc|?|-",
            &format!("100005|S|-|{channel:x}|-|-"),
        ]
        .map(fields)
    );
    let document = dump.run(&["ps", "--json", "--threads"]).ok().json();
    let threads = &document["processes"][0]["threads"];
    let lock = |address: u64, name: &str, class: &str| json!({"address": format!("{address:#x}"), "name": name, "class": class});
    let with = |mut object: Value, members: Value| {
        object.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        object
    };
    assert_eq!(
        threads[2]["details"]["waits_for"],
        with(lock(exclusive, "proctree", "sx"), json!({"owner_tid": 100_001, "owner_pid": 9}))
    );
    assert_eq!(threads[4]["details"]["waits_for"], Value::Null);
    assert_eq!(
        threads[0]["details"]["held_locks"],
        json!([
            with(lock(mutex, "process lock", "sleep mutex"), json!({"is_contested": true})),
            with(lock(witnessed, "Giant", "sleep mutex"), json!({"is_contested": false})),
            with(lock(exclusive, "proctree", "sx"), json!({"is_contested": true})),
        ])
    );
    // Stacks say it of their threads.
    let stacks = dump.run(&["stack", "--all"]);
    let headings: Vec<&str> = stacks.stdout.lines().filter(|line| line.starts_with("PID 9, ")).collect();
    assert_eq!(
        headings,
        [
            "PID 9, TID 100001, many/thread 1",
            "PID 9, TID 100002, many/thread 2, waits for process lock (sleep mutex) of TID 100001",
            "PID 9, TID 100003, many/thread 3, waits for proctree (sx) of TID 100001",
            "PID 9, TID 100004, many/thread 4, waits for allproc (sx)",
            &format!("PID 9, TID 100005, many/thread 5, waits for {channel:#x}"),
        ]
    );
    let stacks = dump.run(&["stack", "--all", "--json"]).json();
    let waits = |index: usize| stacks["stacks"][index]["threads"][0]["waits_for"].clone();
    assert_eq!(waits(2)["owner_tid"], 100_001);
    assert_eq!(waits(0), Value::Null);
}

#[test]
fn json_has_details_where_there_are_types_and_null_elsewhere() {
    let (mut all, _) = three_processes(Arch::Amd64);
    let document = all.kernel.write().run(&["ps", "--json"]).ok().json();
    let shell = &document["processes"][1]["details"];
    let expected = json!({
        "state": "I<s+", "run_state": "sleeping", "parent_pid": 1, "process_group": 700, "session": 699,
        "login": "charlie", "terminal": "ttyu0", "uid": 0, "real_uid": 1, "jail_id": 0, "nice": -5,
        "started_at": "2026-11-21T10:00:11Z", "virtual_size": 12_345_344, "resident_size": 102_400,
        "arguments": ["-sh", "", "tab\there"], "wait_message": "a long reason", "wait_channel": "0xabcd",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&shell[name], value, "{name}");
    }
    assert_eq!(document["processes"][0]["details"]["arguments"], json!([]));
    all.kernel.has_types = false;
    let dump = all.kernel.write();
    let document = dump.run(&["ps", "--json"]).ok().json();
    assert_eq!(document["processes"][1]["details"], Value::Null);
    assert_eq!(rows(&dump, &[])[1][..3], ["700", "sh", "1"]);
    let run = dump.run(&["ps", "-l"]).exits(1);
    assert!(run.stderr.contains("has no types"), "{}", run.stderr);
}

/// Processes or threads that a damaged pointer leaves out are missing without an end that looks wrong.
#[test]
fn lists_that_do_not_lead_back_are_said_to_lack_something() {
    let lists = |damage: &dyn Fn(&mut ProcessKernel, [u64; 3])| {
        let mut all = ProcessKernel::new(Arch::Amd64);
        let processes = [5, 6, 7].map(|pid| {
            let process = all.add_process(pid, "some", 0);
            all.add_thread(process, 100_000 + pid, "some");
            process
        });
        damage(&mut all, processes);
        let run = all.kernel.write().run(&["ps", "-o", "pid"]);
        (run.code, run.stdout, run.stderr)
    };
    assert_eq!(lists(&|_, _| {}), (0, "5\n6\n7\n".to_owned(), String::new()));
    let (code, shown, said) = lists(&|all, [first, _, last]| {
        all.kernel.set(first, all.types.process, "p_list.le_next", last);
    });
    assert_eq!((code, &*shown), (1, "5\n7\n"));
    assert!(said.contains("in allproc is damaged, or was being changed: it leads back to "), "{said}");
    let (code, _, said) = lists(&|all, [_, second, _]| {
        all.kernel.set(second, all.types.process, "p_threads.tqh_first", 0);
    });
    assert_eq!(code, 1);
    assert!(said.contains("the list of process 6's threads is damaged, or was being changed"), "{said}");
}

#[test]
fn what_damage_hides_is_a_question_mark_and_a_warning() {
    let mut all = ProcessKernel::new(Arch::Amd64);
    let types = all.types;
    let process = all.add_process(5, "hurt", 0);
    let thread = all.add_thread(process, 100_001, "hurt");
    let nowhere = all.kernel.unmapped();
    for member in ["p_ucred", "p_pgrp", "p_stats", "p_sigacts", "p_vmspace", "p_args", "p_sysent"] {
        all.kernel.set(process, types.process, member, nowhere);
    }
    all.sleep(thread, 0x10, nowhere, 1);
    // The locks that it holds lead to each other.
    let turnstile = all.kernel.allocate(types.turnstile);
    all.kernel.set(turnstile, types.turnstile, "ts_link.le_next", turnstile);
    all.kernel.set(thread, types.thread, "td_contested.lh_first", turnstile);
    let dump = all.kernel.write();
    let columns = ["ps", "-o", "pid,uid,jail,pgid,tty,start,vsz,rss,emul,sigcatch,state,wchan,command"];
    let run = dump.run(&columns).exits(1);
    assert_eq!(run.stdout, "5\t?\t?\t?\t?\t?\t?\t?\t?\t?\tS\t10\t[hurt]\n");
    for what in ["credentials", "process group", "statistics", "signal actions", "address space", "leads back"] {
        assert!(run.stderr.contains(what), "{what}: {}", run.stderr);
    }
    let document = dump.run(&["ps", "--json", "-q"]).exits(1).json();
    assert_eq!(document["processes"][0]["details"]["uid"], Value::Null);
}

#[test]
fn warnings_about_many_damaged_processes_are_bounded() {
    let mut all = ProcessKernel::new(Arch::Amd64);
    let nowhere = all.kernel.unmapped();
    for pid in 1..200_u64 {
        let process = all.add_process(pid.into(), "hurt", 0);
        all.kernel.set(process, all.types.process, "p_stats", nowhere + pid);
    }
    let run = all.kernel.write().run(&["ps", "-o", "pid,start,comm"]).exits(1);
    assert_eq!(run.stdout.lines().count(), 199);
    assert!(run.stderr.contains("there were 179 more warnings like these"), "{}", run.stderr);
}
