//! `memtool show procstat-s`: whose processes are.

use crate::common::file_kernel::FileKernel;
use crate::common::process_kernel::ProcessKernel;
use crate::common::typed_kernel::WriteFiles as _;
use crate::show_objects::{ARCHITECTURES, damaged, show};
use serde_json::{Value, json};
use vmcore_synth::Arch;

/// Credentials of user 1001 with these groups in their list.
fn add_credentials(kernel: &mut ProcessKernel, groups: &[u32]) -> u64 {
    let host = kernel.host;
    let credentials = kernel.add_credentials(1001, host);
    let list = kernel.kernel.allocate_pages(4096);
    let number = kernel.kernel.basic.unsigned_int;
    for (index, group) in (0..).zip(groups) {
        kernel.kernel.set(list + 4 * index, number, "", *group);
    }
    let of = kernel.types.credentials;
    for (member, value) in [("cr_groups", list.into()), ("cr_ngroups", groups.len() as i128), ("cr_ref", 3)] {
        kernel.kernel.set(credentials, of, member, value);
    }
    credentials
}

/// Two processes with the same credentials and different masks, one of the host's, and a zombie; the credentials.
fn with_processes(arch: Arch) -> (FileKernel, u64) {
    let mut kernel = FileKernel::new(arch);
    let root = kernel.root;
    let program = kernel.add_file(root, "sh", 70);
    let credentials = add_credentials(&mut kernel.processes, &[5, 20]);
    let of = kernel.processes.types.process;
    kernel.processes.kernel.set(credentials, kernel.processes.types.credentials, "cr_flags", 1);
    for (pid, mask) in [(70, 0o22), (71, 0o7)] {
        let (process, _) = kernel.add_process(pid, "sh", program);
        kernel.processes.kernel.set(process, of, "p_ucred", credentials);
        let word = kernel.processes.kernel.arch.word();
        let holder = kernel.processes.kernel.address_of(process, of, "p_pd");
        let holder = kernel.processes.kernel.number(holder, word);
        kernel.set(holder, "pwddesc", "pd_cmask", mask);
    }
    kernel.add_process(72, "init", program);
    (kernel, credentials)
}

#[test]
fn credentials_are_shown_with_groups_and_masks() {
    for arch in ARCHITECTURES {
        let (kernel, credentials) = with_processes(arch);
        let document = show(&kernel.processes.kernel, &["procstat-s", "--json"]).json();
        let processes = document["process_credentials"].as_array().unwrap();
        assert_eq!(processes.len(), 3, "{arch:?}");
        let expected = json!({
            "address": format!("{credentials:#x}"),
            "user_id": 1001,
            "real_user_id": 1002,
            "saved_user_id": 1003,
            "group_id": 1101,
            "real_group_id": 1102,
            "saved_group_id": 1103,
            "supplementary_group_ids": [5, 20],
            "flags": ["capability-mode"],
            "jail_id": 0,
            "login_class": "daemon",
            "reference_count": 3,
        });
        assert_eq!(processes[0]["credentials"], expected, "{arch:?}");
        assert_eq!(processes[1]["credentials"], expected);
        let masks: Vec<_> = processes.iter().map(|process| (&process["pid"], &process["umask"])).collect();
        assert_eq!(masks, [(&json!(70), &json!("022")), (&json!(71), &json!("007")), (&json!(72), &json!("000"))]);
        assert_eq!(processes[2]["credentials"]["supplementary_group_ids"], json!([]));
    }
}

#[test]
fn credentials_are_rows_as_procstat_shows_them() {
    let (kernel, _) = with_processes(Arch::Amd64);
    let run = show(&kernel.processes.kernel, &["procstat-s"]);
    let expected = "70\tsh\t1001\t1002\t1003\t1101\t1102\t1103\t022\tC\t1101,5,20\n\
                    71\tsh\t1001\t1002\t1003\t1101\t1102\t1103\t007\tC\t1101,5,20\n\
                    72\tinit\t0\t1\t2\t100\t101\t102\t000\t-\t100\n";
    assert_eq!(run.stdout, expected);
}

#[test]
fn until_14_the_first_group_is_the_effective_one() {
    let mut kernel = ProcessKernel::of_14(Arch::Amd64);
    let credentials = add_credentials(&mut kernel, &[5, 20]);
    let process = kernel.add_process(70, "sh", 0);
    kernel.kernel.set(process, kernel.types.process, "p_ucred", credentials);
    let run = kernel.kernel.write().run(&["show", "procstat-s", "--json"]).ok();
    let read = &run.json()["process_credentials"][0];
    let groups = (&read["credentials"]["group_id"], &read["credentials"]["supplementary_group_ids"]);
    assert_eq!(groups, (&json!(5), &json!([20])));
    // These processes have nothing that has a mask.
    assert_eq!(read["umask"], Value::Null);
}

#[test]
fn credentials_that_are_damaged_have_warnings() {
    let of = |kernel: &FileKernel| kernel.processes.types.credentials;
    let (mut kernel, credentials) = with_processes(Arch::Amd64);
    let structure = of(&kernel);
    kernel.processes.kernel.set(credentials, structure, "cr_ngroups", 1 << 20);
    let document = damaged(&kernel.processes.kernel, "procstat-s", "it has an implausible number of groups");
    let read = &document["process_credentials"][0]["credentials"];
    assert_eq!((&read["group_id"], &read["supplementary_group_ids"]), (&Value::Null, &Value::Null));
    assert_eq!(read["user_id"], 1001);
    let (mut kernel, credentials) = with_processes(Arch::Amd64);
    let structure = of(&kernel);
    kernel.processes.kernel.set(credentials, structure, "cr_groups", 0x10);
    damaged(&kernel.processes.kernel, "procstat-s", "cr_groups of the credentials at");
    let (mut kernel, _) = with_processes(Arch::Amd64);
    let (first, process) = (kernel.processes.kernel.variable_of("allproc").0, kernel.processes.types.process);
    let first = kernel.processes.kernel.number(first, 8);
    kernel.processes.kernel.set(first, process, "p_ucred", 0x10);
    let document = damaged(&kernel.processes.kernel, "procstat-s", "the credentials at 0x10");
    assert_eq!(document["process_credentials"][0]["credentials"], Value::Null);
    assert_eq!(document["process_credentials"][1]["credentials"]["user_id"], 1001);
}
