//! `memtool show` of what is open, mounted and loaded.

use crate::common::Run;
use crate::common::file_kernel::{DEVICE, DIRECTORY, FileKernel};
use crate::common::object_kernel::{
    INT, NODE, OPAQUE, ObjectKernel, READ, STRING, TUNABLE, U8, U64, ULONG, VNET, WRITE,
};
use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedKernel};
use crate::kernel_cpus::with_cpus;
use serde_json::{Value, json};
use vmcore_synth::Arch;

pub const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];

#[track_caller]
pub fn show(kernel: &TypedKernel, arguments: &[&str]) -> Run {
    let run = kernel.write().run(&[&["show"], arguments].concat()).ok();
    assert_eq!(run.stderr, "");
    run
}

/// What is shown of a kernel that is damaged: one warning says so.
#[track_caller]
pub fn damaged(kernel: &TypedKernel, section: &str, why: &str) -> Value {
    let run = kernel.write().run(&["show", section, "--json"]).exits(1);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains(why), "{}", run.stderr);
    run.json()
}

/// A process with a file of each kind: the table of its descriptors.
pub fn with_files(arch: Arch) -> (FileKernel, u64) {
    let mut kernel = FileKernel::new(arch);
    let directory = kernel.add_vnode(kernel.mount, DIRECTORY, 5);
    kernel.name(directory, kernel.root, "bin");
    let program = kernel.add_file(directory, "sh", 70);
    let (_, table) = kernel.add_process(70, "sh", program);
    let data = kernel.add_file(directory, "data", 71);
    kernel.open(table, 0, 1, data);
    let pcb = kernel.add("inpcb", &[("inp_vflag", 1)]);
    let at = |kernel: &mut FileKernel, path: &str| {
        let of = kernel.types["inpcb"];
        kernel.kernel().address_of(pcb, of, &format!("inp_inc.inc_ie.{path}"))
    };
    for (member, bytes) in
        [("ie_lport", &[0, 22][..]), ("ie_fport", &[0x30, 0x39]), ("ie_dependladdr.id6_addr[12]", &[10, 0, 0, 1])]
    {
        let to = at(&mut kernel, member);
        kernel.kernel().write_bytes(to, bytes);
    }
    let tcp = kernel.add_socket((2, "internet"), [1, 6], pcb);
    kernel.open(table, 1, 2, tcp);
    let other = kernel.allocate("unpcb");
    let bound = kernel.allocate("sockaddr_un");
    kernel.set_text(bound, "sockaddr_un", "sun_path", "/var/run/log");
    kernel.set(bound, "sockaddr_un", "sun_len", 2 + 12 + 1);
    let local = kernel.add("unpcb", &[("unp_conn", other.into())]);
    kernel.set(other, "unpcb", "unp_addr", bound);
    let local = kernel.add_socket((1, "local"), [2, 0], local);
    kernel.set(local, "socket", "so_snd.sb_state", 0x10);
    kernel.open(table, 2, 2, local);
    let pipe = kernel.add("pipe", &[("pipe_buffer.cnt", 5), ("pipe_pages.cnt", 8192)]);
    kernel.open(table, 3, 3, pipe);
    let path = kernel.kernel().string("/shared");
    let shared = [("shm_size", 8192), ("shm_mode", 0o600), ("shm_path", path.into())];
    let shared = kernel.add("shmfd", &shared);
    kernel.open(table, 5, 8, shared);
    let semaphore = kernel.add("ksem", &[("ks_mode", 0o644), ("ks_value", 3)]);
    kernel.open(table, 6, 9, semaphore);
    let queue = kernel.allocate("ksem");
    kernel.open(table, 15, 5, queue);
    (kernel, table)
}

fn files(document: &Value) -> &Vec<Value> {
    document["open_files"][0]["files"].as_array().unwrap()
}

#[test]
fn files_of_every_kind_are_shown_with_what_is_known_of_each() {
    for arch in ARCHITECTURES {
        let (kernel, _) = with_files(arch);
        let run = show(&kernel.processes.kernel, &["fstat", "--json"]);
        let document = run.json();
        let process = &document["open_files"][0];
        assert_eq!((&process["pid"], &process["command"], &process["user_id"]), (&json!(70), &json!("sh"), &json!(0)));
        let files = files(&document);
        let uses: Vec<_> = files.iter().map(|file| (&file["used_as"], &file["descriptor"])).collect();
        let named = ["text", "wd", "root"].map(|name| (json!(name), Value::Null));
        let numbers = [0, 1, 2, 3, 5, 6, 15].map(|number| (json!("fd"), json!(number)));
        let expected: Vec<_> = named.into_iter().chain(numbers).collect();
        assert_eq!(uses, expected.iter().map(|(name, number)| (name, number)).collect::<Vec<_>>(), "{arch:?}");
        let vnode = &files[3]["vnode_details"];
        assert_eq!((&vnode["path"], &vnode["is_path_whole"]), (&json!("/bin/data"), &json!(true)), "{arch:?}");
        assert_eq!((&vnode["kind"], &vnode["permissions"]), (&json!("regular"), &json!("644")));
        assert_eq!(
            (&vnode["inode"], &vnode["size"], &vnode["file_system_id"]),
            (&json!("71"), &json!(100), &json!("0x5a"))
        );
        assert_eq!((&files[3]["flags"], &files[3]["position"]), (&json!(["read", "write"]), &json!(40)));
        let socket = &files[4]["socket_details"];
        assert_eq!((&socket["protocol"], &socket["type"]), (&json!("tcp"), &json!("stream")));
        assert_eq!(socket["local"], json!({"ip_address": "10.0.0.1", "port": 22}), "{arch:?}");
        assert_eq!(socket["foreign"], json!({"ip_address": "0.0.0.0", "port": 12345}));
        assert_eq!(
            (&files[5]["socket_details"]["path"], &files[5]["socket_details"]["can_send"]),
            (&json!("/var/run/log"), &json!(false))
        );
        assert_eq!(files[6]["pipe"], json!({"peer": null, "bytes_buffered": 5}));
        let shared = json!({"path": "/shared", "permissions": "600", "size": 8192});
        assert_eq!(files[7]["shared_memory"], shared);
        assert_eq!(files[8]["semaphore"], json!({"path": null, "permissions": "644", "semval": 3}));
        assert_eq!((&files[9]["kind"], &files[9]["pipe"]), (&json!("kqueue"), &Value::Null));
    }
}

#[test]
fn files_are_rows_as_fstat_shows_them() {
    let (mut kernel, table) = with_files(Arch::Amd64);
    let other = kernel.add_mount("nfs", "/mnt", 0);
    let unnamed = kernel.add_vnode(other, 1, 9);
    kernel.open(table, 0, 1, unnamed);
    let device = kernel.allocate("cdev");
    kernel.set_text(device, "cdev", "si_name", "null");
    let devices = kernel.add_mount("devfs", "/dev", 0);
    let node = kernel.add("devfs_dirent", &[("de_inode", 14), ("de_mode", 0o666)]);
    let members = [("v_type", DEVICE), ("v_mount", devices.into()), ("v_data", node.into()), ("v_rdev", device.into())];
    let null = kernel.add("vnode", &members);
    kernel.open(table, 4, 1, null);
    let rows = show(&kernel.processes.kernel, &["fstat"]).stdout;
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows[0], "0\tsh\t70\ttext\t/\t70\t-rw-r--r--\t100\tr\t/bin/sh");
    assert_eq!(rows[3], "0\tsh\t70\t0\t/mnt\t-\t?(regular)\t-\trw\t-");
    assert!(
        rows[4].ends_with("\t*\t*\t*\t*\trw\tinternet stream tcp 0x") || rows[4].ends_with(" 10.0.0.1:22 <-> *:12345"),
        "{}",
        rows[4]
    );
    assert!(rows[5].contains("\tlocal dgram 0x") && rows[5].contains(" <- 0x"), "{}", rows[5]);
    assert_eq!(rows[7], "0\tsh\t70\t4\t/dev\t14\tcrw-rw-rw-\tnull\trw\t/dev/null");
    assert_eq!(rows[8], "0\tsh\t70\t5\t*\t*\t-rw-------\t8192\trw\tshm /shared");
    assert_eq!(rows[10], "0\tsh\t70\t15\t*\t*\t*\t*\trw\t[kqueue]");
}

#[test]
fn a_descriptor_that_cannot_be_read_is_a_warning_and_the_others_are_shown() {
    for (what, value, why) in [
        ("file", None, "the file at 0x"),
        ("table", Some(i128::from(i32::MAX)), "the descriptors of process 70 cannot be read"),
        ("socket", None, "the socket at 0x"),
    ] {
        let (mut kernel, table) = with_files(Arch::Amd64);
        let lost = kernel.kernel().unmapped();
        match what {
            "file" => kernel.set(table, "fdescenttbl", "fdt_ofiles[2].fde_file", lost),
            "table" => {
                // Behind it there is nothing.
                let end = kernel.kernel().allocate_pages(4096);
                let table = end - 8;
                kernel.kernel().omit(end);
                let descriptors = kernel.add("filedesc", &[("fd_files", table.into())]);
                let process = kernel.kernel().variable_of("allproc").0;
                let of = kernel.processes.types.process;
                let process = kernel.kernel().number(process, 8);
                kernel.kernel().set(process, of, "p_fd", descriptors);
                kernel.set(table, "fdescenttbl", "fdt_nfiles", value.unwrap());
            }
            _ => {
                kernel.open(table, 2, 2, lost);
            }
        }
        let document = damaged(&kernel.processes.kernel, "fstat", why);
        let expected = match what {
            "file" => 9,
            "table" => 3,
            _ => 10,
        };
        assert_eq!(files(&document).len(), expected, "{what}");
    }
}

#[test]
fn names_that_lead_in_a_circle_end() {
    let (mut kernel, _) = with_files(Arch::Amd64);
    let file = kernel.add_file(kernel.root, "a", 1);
    kernel.name(file, file, "a");
    let (_, table) = kernel.add_process(71, "circle", file);
    kernel.open(table, 0, 1, file);
    let run = show(&kernel.processes.kernel, &["fstat", "--json"]);
    let document = run.json();
    let vnode = &document["open_files"][1]["files"][0]["vnode_details"];
    assert_eq!(vnode["is_path_whole"], false);
    assert!(vnode["path"].as_str().unwrap().len() < 1024);
}

#[test]
fn a_kernel_whose_types_do_not_tell_of_files_says_so() {
    let kernel = crate::common::process_kernel::ProcessKernel::new(Arch::Amd64);
    let run = kernel.kernel.write().run(&["show", "fstat"]).exits(1);
    assert!(run.stderr.contains("the kernel's types have no struct file"), "{}", run.stderr);
}

#[test]
fn mounts_are_shown_with_their_options_and_counts() {
    for arch in ARCHITECTURES {
        let mut kernel = FileKernel::new(arch);
        let covered = kernel.add_vnode(kernel.mount, DIRECTORY, 3);
        let other = kernel.add_mount("tmpfs", "/tmp", covered);
        kernel.set(other, "mount", "mnt_flag", 0x9_1000_000d_i64);
        for (member, value) in [("f_syncwrites", 12), ("f_asyncreads", 3)] {
            kernel.set(other, "mount", &format!("mnt_stat.{member}"), value);
        }
        let run = show(&kernel.processes.kernel, &["mount", "--json"]);
        let document = run.json();
        let mounts = document["mounts"].as_array().unwrap();
        assert_eq!(mounts.len(), 2, "{arch:?}");
        let tmp = &mounts[1];
        assert_eq!((&tmp["mounted_from"], &tmp["mount_point"]), (&json!("tmpfs-device"), &json!("/tmp")));
        let options = ["noatime", "noexec", "nosuid", "read-only", "journaled soft-updates", "untrusted"];
        assert_eq!((&tmp["flag_bits"], &tmp["options"]), (&json!("0x91000000d"), &json!(options)));
        assert_eq!((&tmp["sync_write_count"], &tmp["async_read_count"]), (&json!(12), &json!(3)));
        assert_eq!((&tmp["vnode_count"], &tmp["user_id"]), (&json!(7), &Value::Null));
        let id = if arch == Arch::Powerpc64 { "0000123400000071" } else { "3412000071000000" };
        assert_eq!(tmp["fsid"], id);
        let rows = show(&kernel.processes.kernel, &["mount"]).stdout;
        let first = rows.lines().next().unwrap();
        assert_eq!(first, format!("ufs-device\t/\tufs\t\t-\t{id}\t0\t0\t0\t0\t7"));
    }
}

#[test]
fn a_list_of_mounts_that_leads_back_ends() {
    let mut kernel = FileKernel::new(Arch::Amd64);
    let other = kernel.add_mount("tmpfs", "/tmp", 0);
    kernel.set(other, "mount", "mnt_list.tqe_next", kernel.mount);
    let document = damaged(&kernel.processes.kernel, "mount", "the list of mounts is damaged");
    assert_eq!(document["mounts"].as_array().unwrap().len(), 2);
}

#[test]
fn a_mount_that_cannot_be_read_has_no_values() {
    let mut kernel = FileKernel::new(Arch::Amd64);
    let page = kernel.kernel().allocate_pages(4096);
    kernel.set(kernel.mount, "mount", "mnt_list.tqe_next", page);
    kernel.kernel().omit(page);
    let run = kernel.processes.kernel.write().run(&["show", "mount", "--json"]).exits(1);
    assert!(run.stderr.contains("memtool: warning: "), "{}", run.stderr);
    let document = run.json();
    assert_eq!(document["mounts"][0]["mount_point"], "/");
}

#[test]
fn jails_are_shown_with_their_parameters() {
    for arch in ARCHITECTURES {
        let (kernel, _) = ObjectKernel::new(arch).with_jails();
        let run = show(&kernel.kernel, &["jls", "--json"]);
        let document = run.json();
        let jails = document["jails"].as_array().unwrap();
        let [outer, inner] = &jails[..] else { panic!("{document:#}") };
        assert_eq!((&outer["jail_id"], &outer["parent_id"], &inner["parent_id"]), (&json!(1), &json!(0), &json!(1)));
        assert_eq!((&outer["state"], &inner["state"]), (&json!("active"), &json!("dying")), "{arch:?}");
        assert_eq!(outer["ipv4_addresses"], json!(["10.0.0.1", "10.0.0.2"]), "{arch:?}");
        assert_eq!((&outer["ipv6_addresses"], &outer["securelevel"]), (&json!([]), &json!(-1)));
        assert_eq!((&inner["name"], &inner["path"]), (&json!("outer.inner"), &json!("/jails/outer.inner")));
        // This kernel's structure lacks it.
        assert_eq!((&outer["cpuset_id"], &outer["enforce_statfs"]), (&json!(3), &Value::Null));
        let parameters = |jail: &Value| {
            let all = jail["parameters"].as_array().unwrap().iter();
            all.map(|of| format!("{}={}", of["name"].as_str().unwrap(), of["value"].as_str().unwrap()))
                .collect::<Vec<_>>()
        };
        let shared = ["host=inherit", "vnet=new", "ip4=inherit", "ip6=inherit"];
        let expected = [&shared[..], &["persist=true", "allow.mount=true", "allow.mlock=false"]].concat();
        assert_eq!(parameters(outer), expected, "{arch:?}");
        assert_eq!(parameters(inner)[5..], ["allow.mount=false", "allow.mlock=true"]);
    }
    let (kernel, _) = ObjectKernel::new(Arch::Amd64).with_jails();
    let rows = show(&kernel.kernel, &["jls"]).stdout;
    let first = "1\touter.example\t/jails/outer\touter\tACTIVE\t3\t10.0.0.1, 10.0.0.2\t0\t0x0\n";
    assert!(rows.starts_with(first), "{rows}");
}

#[test]
fn jails_that_are_damaged_have_warnings() {
    let (mut kernel, [outer, inner]) = ObjectKernel::new(Arch::Amd64).with_jails();
    kernel.set(inner, "prison", "pr_list.tqe_next", outer);
    let document = damaged(&kernel.kernel, "jls", "the list of jails is damaged");
    assert_eq!(document["jails"].as_array().unwrap().len(), 2);
    let (mut kernel, [outer, _]) = ObjectKernel::new(Arch::Amd64).with_jails();
    let many = kernel.add("prison_ip", &[("ips", i128::from(u32::MAX))]);
    kernel.set(outer, "prison", "pr_addrs[0]", many);
    let document = damaged(&kernel.kernel, "jls", "the addresses of IPv4 of the jail at 0x");
    assert_eq!(document["jails"][0]["ipv4_addresses"], Value::Null);
    let (mut kernel, [_, inner]) = ObjectKernel::new(Arch::Amd64).with_jails();
    kernel.set(inner, "prison", "pr_state", 9);
    let document = damaged(&kernel.kernel, "jls", "the state of the jail at 0x");
    assert_eq!(document["jails"][1]["state"], Value::Null);
}

#[test]
fn objects_of_system_v_ipc_are_shown_with_their_limits() {
    for arch in ARCHITECTURES {
        let kernel = ObjectKernel::new(arch).with_ipc();
        let run = show(&kernel.kernel, &["ipcs", "--json"]);
        let document = &run.json()["system_v_ipc"];
        let queue = &document["message_queues"][0];
        assert_eq!(
            (&queue["ipc_id"], &queue["ipc_key"], &queue["permissions"]),
            (&json!(0x2_0001), &json!(-5), &json!("640"))
        );
        assert_eq!((&queue["user_id"], &queue["creator_group_id"]), (&json!(1001), &json!(5)), "{arch:?}");
        assert_eq!((&queue["bytes_queued"], &queue["bytes_allowed"]), (&json!(15), &json!(2048)));
        assert_eq!((&queue["sent_at"], &queue["received_at"]), (&json!("2026-11-21T10:00:00Z"), &Value::Null));
        let segment = &document["shared_memory_segments"][0];
        assert_eq!((&segment["size"], &segment["is_removed"]), (&json!(8192), &json!(true)), "{arch:?}");
        let set = &document["semaphore_sets"][0];
        let waiting = set["semaphores"].as_array().unwrap().iter().map(|of| (&of["semval"], &of["waiting_count"]));
        assert_eq!(waiting.collect::<Vec<_>>(), [(&json!(4), &json!(0)), (&json!(0), &json!(1))], "{arch:?}");
        assert_eq!(document["limits"][1], json!({"name": "msgmni", "limit": 2}));
    }
    let kernel = ObjectKernel::new(Arch::Amd64).with_ipc();
    let rows = show(&kernel.kernel, &["ipcs"]).stdout;
    let queue =
        "q\t131073\t-5\t--rw-r-----\t1001\t0\t0\t5\t15\t1\t2048\t0\t0\t2026-11-21T10:00:00Z\tno-entry\tno-entry\n";
    assert!(rows.starts_with(queue), "{rows}");
}

#[test]
fn tables_of_ipc_that_are_damaged_have_warnings() {
    let mut kernel = ObjectKernel::new(Arch::Amd64).with_ipc();
    kernel.kernel.set_variable("shmalloced", "", -1);
    kernel.kernel.set_variable("shminfo", "shmmni", -1);
    let document = damaged(&kernel.kernel, "ipcs", "the number of shared memory is damaged");
    assert_eq!(document["system_v_ipc"]["shared_memory_segments"], Value::Null);
    let mut kernel = ObjectKernel::new(Arch::Amd64).with_ipc();
    let lost = kernel.kernel.unmapped();
    kernel.kernel.set_variable("sema", "", lost);
    let document = damaged(&kernel.kernel, "ipcs", "entry 0 of the table of semaphores cannot be read");
    assert_eq!(document["system_v_ipc"]["semaphore_sets"], json!([]));
    let none = TypedKernel::new(Arch::Amd64);
    let run = none.write().run(&["show", "ipcs"]).exits(1);
    assert!(run.stderr.contains("the kernel has no System V IPC"), "{}", run.stderr);
}

#[test]
fn files_of_the_kernel_are_shown_with_their_modules_and_versions() {
    for arch in ARCHITECTURES {
        let (kernel, _) = ObjectKernel::new(arch).with_files();
        let run = show(&kernel.kernel, &["kldstat", "--json"]);
        let module = &run.json()["kernel_files"][1];
        assert_eq!((&module["name"], &module["size"]), (&json!("nullfs.ko"), &json!(0x4b40)), "{arch:?}");
        assert_eq!((&module["load_address"], &module["dependency_ids"]), (&json!("0x12345000"), &json!([1])));
        assert_eq!(module["modules"], json!([{"module_id": 301, "name": "nullfs", "reference_count": 1}]), "{arch:?}");
        assert_eq!(module["module_versions"], json!([{"name": "nullfs", "module_version": 3}]), "{arch:?}");
    }
    let (kernel, _) = ObjectKernel::new(Arch::Amd64).with_files();
    let rows = show(&kernel.kernel, &["kldstat"]).stdout;
    let expected = "1\t2\t0x0\t4b40\tkernel\t/boot/kernel/kernel\n\
                    2\t2\t0x12345000\t4b40\tnullfs.ko\t/boot/kernel/nullfs.ko\n\n2\t301\tnullfs\n\n2\tnullfs\t3\n";
    assert_eq!(rows, expected);
}

#[test]
fn files_of_the_kernel_that_are_damaged_have_warnings() {
    let lost = |kernel: &ObjectKernel| kernel.kernel.unmapped();
    let (mut kernel, files) = ObjectKernel::new(Arch::Amd64).with_files();
    kernel.set(files[1], "linker_file", "link.tqe_next", files[0]);
    let document = damaged(&kernel.kernel, "kldstat", "the list of files is damaged");
    assert_eq!(document["kernel_files"].as_array().unwrap().len(), 2);
    let (mut kernel, files) = ObjectKernel::new(Arch::Amd64).with_files();
    let at = lost(&kernel);
    kernel.set(files[1], "linker_file", "modules.tqh_first", at);
    let document = damaged(&kernel.kernel, "kldstat", "the list of modules of the file at 0x");
    assert_eq!(document["kernel_files"][1]["modules"], json!([]));
    let (mut kernel, files) = ObjectKernel::new(Arch::Amd64).with_files();
    kernel.set(files[1], "linker_file", "ndeps", 1 << 20);
    let document = damaged(&kernel.kernel, "kldstat", "the dependencies of the file at 0x");
    assert_eq!(document["kernel_files"][1]["dependency_ids"], Value::Null);
}

#[test]
fn the_environment_is_shown_in_the_kernels_order() {
    for arch in ARCHITECTURES {
        let (kernel, _) = ObjectKernel::new(arch).with_environment(&["b=1", "a=x=y", "none", "empty="]);
        let run = show(&kernel.kernel, &["kenv", "--json"]);
        let expected = [("b", json!("1")), ("a", json!("x=y")), ("none", Value::Null), ("empty", json!(""))];
        let expected: Value = expected.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        assert_eq!(run.json()["kernel_environment"], expected, "{arch:?}");
    }
    // Before the kernel can allocate memory.
    let (mut kernel, _) = ObjectKernel::new(Arch::Amd64).with_environment(&["late=1"]);
    kernel.kernel.set_variable("dynamic_kenv", "", 0);
    let block = kernel.kernel.allocate_pages(4096);
    kernel.kernel.write_bytes(block, b"early=2\0other=3\0\0");
    kernel.kernel.set_variable("md_envp", "", block);
    assert_eq!(show(&kernel.kernel, &["kenv"]).stdout, "early\t2\nother\t3\n");
}

#[test]
fn an_environment_that_is_damaged_ends_with_a_warning() {
    let (mut kernel, pointers) = ObjectKernel::new(Arch::Amd64).with_environment(&["a=1"]);
    let lost = kernel.kernel.unmapped();
    kernel.kernel.write_pointer(pointers + 8, lost);
    let document = damaged(&kernel.kernel, "kenv", "variable 1 of the environment cannot be read");
    assert_eq!(document["kernel_environment"], json!([{"name": "a", "value": "1"}]));
    // The same text again and again: more bytes than any environment has.
    let long = "x".repeat(60_000);
    let (mut kernel, pointers) = ObjectKernel::new(Arch::Amd64).with_environment(&[&long]);
    let text = kernel.kernel.number(pointers, 8);
    (0..400).for_each(|index| kernel.kernel.write_pointer(pointers + 8 * index, text));
    let document = damaged(&kernel.kernel, "kenv", "the environment goes on after 279 variables");
    assert_eq!(document["kernel_environment"].as_array().unwrap().len(), 279);
}

/// A kernel whose variables have values of every source.
fn with_variables(arch: Arch, is_tree: bool) -> ObjectKernel {
    let (kernel, ..) = with_cpus(arch);
    let mut kernel = ObjectKernel::from_kernel(kernel).with_sysctl(is_tree);
    let (basic, word) = (kernel.kernel.basic, arch.word() as u64);
    let number = kernel.kernel.variable("number", basic.int);
    kernel.kernel.set_variable("number", "", -7);
    let text = kernel.string("FreeBSD");
    let structure = kernel.kernel.allocate_pages(4096);
    kernel.kernel.write_bytes(structure, &[1, 2, 3, 0xff]);
    let kern = kernel.oid(None, "kern", (NODE | READ, ""), [0, 0]);
    kernel.oid(Some(kern), "number", (INT | READ | TUNABLE, "sysctl_handle_int"), [number.into(), 0]);
    kernel.oid(Some(kern), "constant", (ULONG | READ, "sysctl_handle_long"), [0, -1]);
    kernel.oid(Some(kern), "text", (STRING | READ, "sysctl_handle_string"), [text, 0]);
    kernel.oid(Some(kern), "cut", (STRING | READ, "sysctl_handle_string"), [text, 5]);
    kernel.oid(Some(kern), "structure", (OPAQUE | READ, "sysctl_handle_opaque"), [structure.into(), 4]);
    kernel.oid(Some(kern), "numbers", (U8 | READ, "sysctl_handle_opaque"), [structure.into(), 4]);
    kernel.oid(Some(kern), "flag", (U8 | READ, "sysctl_handle_bool"), [(structure + 1).into(), 0]);
    kernel.oid(Some(kern), "computed", (INT | READ, "sysctl_other"), [number.into(), 0]);
    let net = kernel.oid(None, "net", (NODE | READ, ""), [0, 0]);
    let deeper = kernel.oid(Some(net), "inet", (NODE | READ, ""), [0, 0]);
    let ticks = kernel.kernel.allocate(basic.int);
    kernel.kernel.set(ticks, basic.int, "", 25);
    kernel.oid(Some(deeper), "delay", (INT | READ, "sysctl_msec_to_ticks"), [ticks.into(), 0]);
    kernel.oid(Some(deeper), "empty", (INT | READ, ""), [0, 0]);
    // CPUs 0 and 2 have parts of a counter, and of a variable.
    let counter = kernel.kernel.types.pointer(basic.unsigned_long_long);
    let counter = kernel.kernel.types.typedef("counter_u64_t", counter);
    let pointer = kernel.kernel.variable("packets", counter);
    let parts = kernel.kernel.allocate_pages(4 * 4096);
    kernel.kernel.set_variable("packets", "", parts);
    let each = kernel.kernel.per_cpu_variable("each", basic.int);
    let copies = kernel.kernel.allocate_pages(4096);
    let bits = if word == 4 { u64::from(u32::MAX) } else { u64::MAX };
    for (cpu, part) in [(0, 40), (2, 2)] {
        kernel.kernel.set(parts + 4096 * cpu, basic.unsigned_long_long, "", part);
        let copy = copies + 64 * cpu;
        kernel.kernel.set(copy, basic.int, "", part);
        kernel.kernel.set_variable("dpcpu_off", &format!("[{cpu}]"), copy.wrapping_sub(each) & bits);
    }
    kernel.oid(Some(net), "packets", (U64 | READ, "sysctl_handle_counter_u64"), [pointer.into(), 0]);
    kernel.oid(Some(net), "each", (INT | READ, "sysctl_dpcpu_int"), [each.into(), 0]);
    kernel
}

#[test]
fn variables_are_shown_with_their_values_by_what_gets_them() {
    for arch in ARCHITECTURES {
        for is_tree in [false, true] {
            let (kernel, _) = with_variables(arch, is_tree).with_environment(&["kern.number=-7", "kern.text=other"]);
            let run = show(&kernel.kernel, &["sysctl", "--json"]);
            let document = run.json();
            let variables = document["sysctl_variables"].as_array().unwrap();
            let values: Vec<_> = variables
                .iter()
                .map(|of| ["name", "value", "value_source"].map(|name| of[name].as_str().unwrap_or("-")))
                .collect();
            let constant = if arch == Arch::I386 { "4294967295" } else { "18446744073709551615" };
            let expected = [
                ["kern.number", "-7", "variable"],
                ["kern.constant", constant, "constant"],
                ["kern.text", "FreeBSD", "variable"],
                ["kern.cut", "Free", "variable"],
                ["kern.structure", "0x010203ff", "variable"],
                ["kern.numbers", "1 2 3 255", "variable"],
                ["kern.flag", "1", "variable"],
                ["kern.computed", "-", "handler"],
                ["net.inet.delay", "250", "variable"],
                ["net.inet.empty", "-", "nothing"],
                ["net.packets", "42", "counter"],
                ["net.each", "42", "per-cpu"],
            ];
            assert_eq!(values, expected, "{arch:?} {is_tree}");
            let number = &variables[0];
            assert_eq!((&number["oid"], &number["type"]), (&json!([1, 1]), &json!("int")));
            assert_eq!((&number["flags"], &number["environment_value"]), (&json!(["rd", "tun"]), &json!("-7")));
            // It is no tunable.
            assert_eq!(variables[2]["environment_value"], Value::Null);
            if arch != Arch::Powerpc64 {
                assert_eq!(variables[7]["handler_name"], "sysctl_other", "{arch:?}");
            }
        }
    }
    let (kernel, _) = with_variables(Arch::Amd64, true).with_environment(&[]);
    let rows = show(&kernel.kernel, &["sysctl"]).stdout;
    assert!(rows.starts_with("kern.number\t-7\tint\tvariable\trd,tun\n"), "{rows}");
}

#[test]
fn a_variable_of_each_network_stack_is_that_of_the_host() {
    let mut kernel = ObjectKernel::new(Arch::Amd64).with_sysctl(true);
    let Basic { int, unsigned_int, unsigned_long, pointer, .. } = kernel.kernel.basic;
    let stack = [("vnet_magic_n", unsigned_int), ("vnet_data_base", unsigned_long)];
    let stack = kernel.kernel.types.record("vnet", &stack);
    let forwarding = kernel.kernel.per_vnet_variable("forwarding", int);
    kernel.kernel.set(forwarding, int, "", 1);
    let (host, copy) = (kernel.kernel.allocate(stack), kernel.kernel.allocate(int));
    kernel.kernel.set(host, stack, "vnet_magic_n", 0x5e4a_6f28);
    kernel.kernel.set(host, stack, "vnet_data_base", copy.wrapping_sub(forwarding));
    kernel.kernel.set(copy, int, "", 5);
    kernel.kernel.variable("vnet0", pointer);
    kernel.kernel.set_variable("vnet0", "", host);
    let kind = INT | READ | VNET;
    kernel.oid(None, "forwarding", (kind, "sysctl_handle_int"), [forwarding.into(), 0]);
    let (mut kernel, _) = kernel.with_environment(&[]);
    let run = show(&kernel.kernel, &["sysctl", "--json"]);
    let of = &run.json()["sysctl_variables"][0];
    assert_eq!((&of["value"], &of["value_address"]), (&json!("5"), &json!(format!("{copy:#x}"))));
    kernel.oid(None, "elsewhere", (kind, "sysctl_handle_int"), [copy.into(), 0]);
    let document = damaged(&kernel.kernel, "sysctl", "no network stack has a variable at 0x");
    assert_eq!(document["sysctl_variables"][1]["value"], Value::Null);
}

/// A kernel with variables that can be set: of those that begin as 0 one has another value, one is set in the environment.
fn with_changed_variables(arch: Arch) -> ObjectKernel {
    let mut kernel = ObjectKernel::new(arch).with_sysctl(true);
    let Basic { int, character, .. } = kernel.kernel.basic;
    let text = kernel.kernel.types.array(character, 16);
    for (name, value, flags) in
        [("same", 0, WRITE), ("changed", -5, WRITE), ("tuned", 0, TUNABLE), ("counted", 7, 0), ("built", 9, WRITE)]
    {
        // The image has the contents of that one.
        let is_built = name == "built";
        let at = if is_built { kernel.kernel.variable(name, int) } else { kernel.kernel.zeroed_variable(name, int) };
        kernel.kernel.set(at, int, "", value);
        kernel.oid(None, name, (INT | READ | flags, "sysctl_handle_int"), [at.into(), 0]);
    }
    let name = kernel.kernel.zeroed_variable("hostname", text);
    kernel.kernel.write_bytes(name, b"crash.example");
    kernel.oid(None, "hostname", (STRING | READ | WRITE, "sysctl_handle_string"), [name.into(), 16]);
    let heap = kernel.kernel.allocate(int);
    kernel.oid(None, "elsewhere", (INT | READ | WRITE, "sysctl_handle_int"), [heap.into(), 0]);
    // A function computes the values of these, one of which is set.
    for name in ["computed", "unset"] {
        kernel.oid(None, name, (INT | READ | TUNABLE, "sysctl_other"), [0, 0]);
    }
    kernel.with_environment(&["tuned=0", "computed=5"]).0
}

#[test]
fn variables_that_are_not_as_in_the_kernels_file_are_shown() {
    // That of powerpc64 is not linked where such kernels are.
    for arch in [Arch::Amd64, Arch::I386] {
        let kernel = with_changed_variables(arch);
        let rows = show(&kernel.kernel, &["sysctl-changed"]).stdout;
        let expected = "changed\t-5\t0\t-\trd,wr\n\
                        tuned\t0\t0\t0\trd,tun\n\
                        hostname\tcrash.example\t\t-\trd,wr\n\
                        computed\t-\t-\t5\trd,tun\n";
        assert_eq!(rows, expected, "{arch:?}");
        let document = show(&kernel.kernel, &["sysctl-changed", "--json"]).json();
        let changed = document["changed_variables"].as_array().unwrap();
        assert_eq!(
            changed.iter().map(|of| &of["initial_value"]).collect::<Vec<_>>(),
            [&json!("0"), &json!("0"), &json!(""), &Value::Null]
        );
        // What is in the image, and what is not in any file.
        let document = show(&kernel.kernel, &["sysctl", "--json"]).json();
        let initial = |name: &str| {
            let all = document["sysctl_variables"].as_array().unwrap();
            all.iter().find(|of| of["name"] == name).unwrap()["initial_value"].clone()
        };
        assert_eq!((initial("built"), initial("elsewhere")), (json!("9"), Value::Null));
    }
}

#[test]
fn a_file_of_debug_information_does_not_tell_what_variables_were() {
    let mut kernel = with_changed_variables(Arch::Amd64);
    kernel.kernel.has_contents = false;
    let run = kernel.kernel.write().run(&["show", "sysctl-changed"]);
    run.fails_saying(&["is known only with its own file, not that of its debug information"]);
    let document = show(&kernel.kernel, &["sysctl", "--json"]).json();
    assert!(document["sysctl_variables"].as_array().unwrap().iter().all(|of| of["initial_value"].is_null()));
}

#[test]
fn trees_of_variables_that_are_damaged_end_with_a_warning() {
    // A node below itself.
    let (mut kernel, _) = ObjectKernel::new(Arch::Amd64).with_sysctl(true).with_environment(&[]);
    let node = kernel.oid(None, "kern", (NODE | READ, ""), [0, 0]);
    kernel.set(node, "sysctl_oid", "oid_children.rbh_root", node);
    let document = damaged(&kernel.kernel, "sysctl", "the list of kern leads back to 0x");
    assert_eq!(document["sysctl_variables"], json!([]));
    // More levels than there can be.
    let (mut kernel, _) = ObjectKernel::new(Arch::Amd64).with_sysctl(false).with_environment(&[]);
    let mut above = None;
    for _ in 0..30 {
        above = Some(kernel.oid(above, "a", (NODE | READ, ""), [0, 0]));
    }
    damaged(&kernel.kernel, "sysctl", "it is below too many others");
    // Values that cannot be read, or are implausibly long.
    let (mut kernel, _) = ObjectKernel::new(Arch::Amd64).with_sysctl(true).with_environment(&[]);
    let lost = kernel.kernel.unmapped();
    kernel.oid(None, "lost", (INT | READ, "sysctl_handle_int"), [lost.into(), 0]);
    let page = kernel.kernel.allocate_pages(4096);
    kernel.oid(None, "long", (OPAQUE | READ, "sysctl_handle_opaque"), [page.into(), i128::from(i64::MAX)]);
    let document = damaged(&kernel.kernel, "sysctl", "the value of lost cannot be read");
    let variables = document["sysctl_variables"].as_array().unwrap();
    assert_eq!((variables.len(), &variables[1]["value"]), (2, &Value::Null));
}
