//! `memtool show` of objects that a kernel cannot have: warnings, and no rows that are made up.

use crate::common::file_kernel::FileKernel;
use crate::common::object_kernel::ObjectKernel;
use crate::common::typed_kernel::WriteFiles as _;
use crate::show_objects::{damaged, with_files};
use serde_json::json;
use vmcore_synth::Arch;

#[test]
fn tables_of_ipc_end_where_entries_cannot_be_such() {
    // The table's address, the structure, the member, its value and what is said.
    for (table, of, member, value, why) in [
        ("msqids", "msqid_kernel", "msg_perm.mode", 0o7640, "its mode is 0xfa0"),
        ("msqids", "msqid_kernel", "msg_perm.seq", 0x8000, "its sequence number is 32768"),
        ("msqids", "msqid_kernel", "msg_qbytes", 2049, "msg_qbytes is 2049, more than 2048"),
        ("msqids", "msqid_kernel", "msg_cbytes", 1 << 30, "msg_cbytes is 1073741824"),
        ("msqids", "msqid_kernel", "msg_qnum", 41, "msg_qnum is 41"),
        ("shmsegs", "shmid_kernel", "shm_perm.mode", 0o7640, "its mode is 0xfa0"),
        ("shmsegs", "shmid_kernel", "shm_perm.mode", 0, "its mode is 0x0"),
        ("sema", "semid_kernel", "sem_perm.mode", 0o7640, "its mode is 0xfa0"),
        ("sema", "semid_kernel", "sem_nsems", 341, "sem_nsems is 341, more than 340"),
    ] {
        let mut kernel = ObjectKernel::new(Arch::Amd64).with_ipc();
        let at = kernel.kernel.variable_of(table).0;
        let second = kernel.kernel.number(at, 8) + kernel.kernel.types.size_of(kernel.types[of]);
        kernel.set(second, of, &format!("u.{member}"), value);
        let document = damaged(&kernel.kernel, "ipcs", &format!("cannot be read: {why}"));
        let kinds = ["message_queues", "shared_memory_segments", "semaphore_sets"];
        let found: Vec<_> = kinds.iter().map(|kind| document["system_v_ipc"][kind].as_array().unwrap().len()).collect();
        assert_eq!(found.iter().sum::<usize>(), 2, "{table} {member}");
    }
}

#[test]
fn tables_of_ipc_have_the_size_that_they_can_have() {
    for (variable, member) in [("msginfo", "msgmni"), ("seminfo", "semmni"), ("shmalloced", "")] {
        let mut kernel = ObjectKernel::new(Arch::Amd64).with_ipc();
        kernel.kernel.set_variable(variable, member, 0);
        if variable == "shmalloced" {
            damaged(&kernel.kernel, "ipcs", "shmalloced is 0, but the limit shmmni 2");
            kernel.kernel.set_variable("shminfo", "shmmni", 0);
        }
        damaged(&kernel.kernel, "ipcs", "is damaged: it is 0, but their table is at 0x");
    }
    // Behind a table there is what is no entry.
    let mut kernel = ObjectKernel::new(Arch::Amd64).with_ipc();
    let at = kernel.kernel.variable_of("sema").0;
    let end = kernel.kernel.number(at, 8) + 2 * kernel.kernel.types.size_of(kernel.types["semid_kernel"]);
    kernel.kernel.write_bytes(end, &[0xff; 2048]);
    kernel.kernel.set_variable("seminfo", "semmni", 0xffff);
    let document = damaged(&kernel.kernel, "ipcs", "entry 2 of the table of semaphores cannot be read");
    assert_eq!(document["system_v_ipc"]["semaphore_sets"].as_array().unwrap().len(), 1);
}

#[test]
fn a_process_that_has_a_table_of_descriptors_has_room_in_it() {
    for (structure, member, value, why) in [
        ("fdescenttbl", "fdt_nfiles", 0, "the descriptors of process 70 cannot be read: fdt_nfiles is 0"),
        ("fdescenttbl", "fdt_nfiles", -7, "the descriptors of process 70 cannot be read: fdt_nfiles is -7"),
        ("filedesc", "fd_files", 0, "the descriptors of process 70 cannot be read: fd_files is null"),
    ] {
        let (mut kernel, table) = with_files(Arch::Amd64);
        let at = if structure == "filedesc" { descriptors(&mut kernel) } else { table };
        kernel.set(at, structure, member, value);
        let document = damaged(&kernel.processes.kernel, "fstat", why);
        assert_eq!(document["open_files"][0]["files"].as_array().unwrap().len(), 3, "{why}");
    }
    // A process that ends has no table any more.
    let (mut kernel, _) = with_files(Arch::Amd64);
    let process = first_process(&mut kernel);
    let of = kernel.processes.types.process;
    kernel.kernel().set(process, of, "p_fd", 0);
    assert_eq!(kernel.processes.kernel.write().run(&["show", "fstat"]).ok().stderr, "");
}

fn first_process(kernel: &mut FileKernel) -> u64 {
    let list = kernel.kernel().variable_of("allproc").0;
    kernel.kernel().number(list, 8)
}

/// The `struct filedesc` of the first process.
fn descriptors(kernel: &mut FileKernel) -> u64 {
    let (process, of) = (first_process(kernel), kernel.processes.types.process);
    let at = kernel.kernel().address_of(process, of, "p_fd");
    kernel.kernel().number(at, 8)
}

#[test]
fn files_have_the_warnings_of_the_list_of_processes() {
    let (mut kernel, _) = with_files(Arch::Amd64);
    let (process, lost) = (first_process(&mut kernel), kernel.kernel().unmapped());
    let of = kernel.processes.types.process;
    kernel.kernel().set(process, of, "p_list.le_next", lost);
    let document = damaged(&kernel.processes.kernel, "fstat", "process");
    assert_eq!(document["open_files"].as_array().unwrap().len(), 1);
}

#[test]
fn lists_that_are_never_empty_are_damaged_where_they_are() {
    let (mut kernel, pointers) = ObjectKernel::new(Arch::Amd64).with_environment(&["a=1"]);
    kernel.kernel.write_pointer(pointers, 0);
    let document = damaged(&kernel.kernel, "kenv", "the environment is damaged: it has no variable");
    assert_eq!(document["kernel_environment"], json!([]));
    let (mut kernel, _) = ObjectKernel::new(Arch::Amd64).with_files();
    kernel.kernel.set_variable("linker_files", "tqh_first", 0);
    damaged(&kernel.kernel, "kldstat", "the list of files is damaged: it lacks the kernel");
    let mut kernel = FileKernel::new(Arch::Amd64);
    kernel.kernel().set_variable("mountlist", "tqh_first", 0);
    damaged(&kernel.processes.kernel, "mount", "the list of mounts is damaged: it lacks the root file system");
    // Before the root file system is mounted there is none.
    kernel.kernel().set_variable("rootvnode", "", 0);
    assert_eq!(kernel.processes.kernel.write().run(&["show", "mount"]).ok().stderr, "");
}

#[test]
fn the_host_counts_all_jails_in_the_list() {
    let (mut kernel, [outer, _]) = ObjectKernel::new(Arch::Amd64).with_jails();
    let prison = kernel.types["prison"];
    kernel.kernel.variable("prison0", prison);
    kernel.kernel.set_variable("prison0", "pr_childcount", 2);
    assert_eq!(kernel.kernel.write().run(&["show", "jls"]).ok().stderr, "");
    kernel.set(outer, "prison", "pr_list.tqe_next", 0);
    let document = damaged(&kernel.kernel, "jls", "the list of jails is damaged: it has 1 of 2");
    assert_eq!(document["jails"].as_array().unwrap().len(), 1);
}
