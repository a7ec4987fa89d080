//! The kernels with types that other tests build.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedKernel};
use vmcore_synth::Arch;

#[test]
fn objects_are_where_the_program_reads_them() {
    for arch in Arch::ALL {
        let mut kernel = TypedKernel::new(arch);
        let Basic { int, character, .. } = kernel.basic;
        let comm = kernel.types.array(character, 20);
        let process = kernel.types.reserve();
        let link = kernel.types.pointer(process);
        kernel.types.at(process).record("proc", &[("p_next", link), ("p_pid", int), ("p_comm", comm)]);
        kernel.variable("allproc", link);
        kernel.per_cpu_variable("idlethread", link);
        let init = kernel.allocate(process);
        kernel.set(init, process, "p_pid", 4711);
        kernel.set_text(init, process, "p_comm", "init");
        kernel.set_variable("allproc", "", init);
        let dump = kernel.write();
        let said = |arguments: &[&str]| {
            let run = dump.run(arguments).ok();
            assert_eq!(run.stderr, "", "{arch:?}");
            run.stdout.trim_end().to_owned()
        };
        assert_eq!(
            said(&["read", "--as", "ptr", "allproc"]).split_whitespace().next(),
            Some(&*format!("{init:#x}")),
            "{arch:?}"
        );
        let pid = kernel.address_of(init, process, "p_pid");
        assert_eq!(said(&["read", "--as", "u32", &format!("{pid:#x}")]), "4711", "{arch:?}");
        let name = format!("{:#x}", kernel.address_of(init, process, "p_comm"));
        assert_eq!(said(&["read", "--as", "str", &name]), "init", "{arch:?}");
        let unmapped = format!("{:#x}", kernel.unmapped());
        dump.run(&["read", "-l", "4", &unmapped]).exits(1);
    }
}
