//! What a kernel has for each CPU and each network stack, and what it swaps to, as the library reads it from dumps of every
//! architecture.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use vmcore::Kernel;
use vmcore::kernel::{CpuTimes, SwapDevice};
use vmcore::types::ctf::CtfTypes;
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// CPUs 0 and 2 of the four that the kernel was built for.
const CPUS: [u64; 2] = [0, 2];

/// The kernel in a dump, with its types.
fn open(dump: &TypedDump) -> Kernel {
    let mut kernel = Kernel::open(&dump.core, Some(&dump.kernel)).unwrap();
    kernel.load_types(&mut CtfTypes::default()).unwrap();
    kernel
}

/// A kernel with two CPUs: their structures.
pub fn with_cpus(arch: Arch) -> (TypedKernel, Type, [u64; 2]) {
    let mut kernel = TypedKernel::new(arch);
    let (pcpu, structures) = add_cpus(&mut kernel);
    (kernel, pcpu, structures)
}

/// Gives a kernel two CPUs: their structures.
pub fn add_cpus(kernel: &mut TypedKernel) -> (Type, [u64; 2]) {
    let Basic { int, unsigned_int, long, unsigned_long, unsigned_long_long, pointer, .. } = kernel.basic;
    let times = kernel.types.array(long, 5);
    let members = [
        ("pc_curthread", pointer),
        ("pc_idlethread", pointer),
        ("pc_cpuid", unsigned_int),
        ("pc_cp_time", times),
        ("pc_early_dummy_counter", unsigned_long_long),
        ("pc_zpcpu_offset", unsigned_long),
    ];
    let pcpu = kernel.types.record("pcpu", &members);
    let to_pcpu = kernel.types.pointer(pcpu);
    let (by_id, offsets) = (kernel.types.array(to_pcpu, 4), kernel.types.array(unsigned_long, 4));
    let words = kernel.types.array(long, 1);
    let set = kernel.types.record("_cpuset", &[("__bits", words)]);
    kernel.variable("mp_maxcpus", int);
    kernel.variable("all_cpus", set);
    kernel.variable("cpuid_to_pcpu", by_id);
    kernel.variable("dpcpu_off", offsets);
    kernel.set_variable("mp_maxcpus", "", 4);
    kernel.set_variable("all_cpus", "__bits[0]", 0b101);
    let structures = CPUS.map(|cpu| {
        let address = kernel.allocate(pcpu);
        kernel.set_variable("cpuid_to_pcpu", &format!("[{cpu}]"), address);
        kernel.set(address, pcpu, "pc_cpuid", cpu);
        for state in 0..5 {
            kernel.set(address, pcpu, &format!("pc_cp_time[{state}]"), 10 * cpu + state);
        }
        kernel.set(address, pcpu, "pc_zpcpu_offset", 4096 * cpu);
        address
    });
    (pcpu, structures)
}

#[test]
fn each_cpu_has_its_structure_and_its_times() {
    for arch in Arch::ALL {
        let (kernel, _, [first, third]) = with_cpus(arch);
        let kernel = open(&kernel.write());
        let typed = kernel.typed().unwrap();
        assert_eq!((typed.max_cpus().unwrap(), typed.cpus().unwrap()), (4, vec![0, 2]), "{arch:?}");
        let at = |cpu| typed.pcpu(cpu).unwrap().map(|pcpu| pcpu.address());
        assert_eq!([0, 1, 2, 4].map(at), [Some(first), None, Some(third), None], "{arch:?}");
        let times = CpuTimes { user: 20, nice: 21, system: 22, interrupt: 23, idle: 24 };
        assert_eq!(typed.times_of_cpu(2).unwrap(), times);
        let all = CpuTimes { user: 20, nice: 22, system: 24, interrupt: 26, idle: 28 };
        assert_eq!(typed.cpu_times().unwrap(), all);
        let error = typed.times_of_cpu(1).unwrap_err();
        assert_eq!(error.to_string(), "the kernel has no CPU 1");
    }
}

#[test]
fn variables_that_each_cpu_has_are_where_its_copy_is() {
    for arch in Arch::ALL {
        let (mut kernel, ..) = with_cpus(arch);
        let int = kernel.basic.int;
        let (one, other) = (kernel.per_cpu_variable("one", int), kernel.per_cpu_variable("other", int));
        let shared = kernel.variable("shared", int);
        let copies = kernel.allocate_pages(4096);
        // The offset from the section to the copy, which may be before it.
        let start = one.min(other);
        let bits = if arch.word() == 4 { u64::from(u32::MAX) } else { u64::MAX };
        kernel.set_variable("dpcpu_off", "[2]", copies.wrapping_sub(start) & bits);
        let kernel = open(&kernel.write());
        let typed = kernel.typed().unwrap();
        assert_eq!(typed.per_cpu_address(other, 2).unwrap(), copies + (other - start), "{arch:?}");
        assert_eq!(typed.per_cpu_address(shared, 2).unwrap(), shared);
        assert_eq!([one, other, shared].map(|at| typed.is_per_cpu(at).unwrap()), [true, true, false]);
        for cpu in [0, 1, 4] {
            let error = typed.per_cpu_address(one, cpu).unwrap_err();
            assert_eq!(error.to_string(), format!("the kernel has no CPU {cpu}"));
        }
    }
}

#[test]
fn a_counter_is_the_sum_of_its_parts_and_an_early_one_is_none() {
    for arch in Arch::ALL {
        let (mut kernel, pcpu, [first, _]) = with_cpus(arch);
        let parts = kernel.allocate_pages(4 * 4096);
        // The sum wraps around.
        for (cpu, value) in [(0, u64::MAX), (1, 1000), (2, 6)] {
            let bytes = arch.order().bytes(value, 8);
            kernel.write_bytes(parts + 4096 * cpu, &bytes);
        }
        let early = kernel.address_of(first, pcpu, "pc_early_dummy_counter");
        let dump = kernel.write();
        let kernel = open(&dump);
        let typed = kernel.typed().unwrap();
        assert_eq!(typed.counter(parts).unwrap(), 5, "{arch:?}");
        assert_eq!(typed.counter(early).unwrap_err().to_string(), "the counter was not allocated yet");
        assert!(typed.counter(0).is_err());
    }
}

#[test]
fn a_number_of_cpus_that_makes_no_sense_is_refused() {
    for count in [0, -1, 70_000] {
        let (mut kernel, ..) = with_cpus(Arch::Amd64);
        kernel.set_variable("mp_maxcpus", "", count);
        let kernel = open(&kernel.write());
        let error = kernel.typed().unwrap().cpus().unwrap_err();
        assert!(error.to_string().ends_with("which is no number of CPUs"), "{error}");
    }
}

#[test]
fn variables_that_each_network_stack_has_are_where_its_copy_is() {
    for arch in Arch::ALL {
        let mut kernel = TypedKernel::new(arch);
        let Basic { int, unsigned_int, pointer, unsigned_long, .. } = kernel.basic;
        let vnet = kernel.types.reserve();
        let to_vnet = kernel.types.pointer(vnet);
        let link = kernel.types.record("", &[("le_next", to_vnet), ("le_prev", pointer)]);
        let members = [("vnet_le", link), ("vnet_magic_n", unsigned_int), ("vnet_data_base", unsigned_long)];
        kernel.types.at(vnet).record("vnet", &members);
        let head = kernel.types.record("vnet_list_head", &[("lh_first", to_vnet)]);
        kernel.variable("vnet_head", head);
        kernel.variable("vnet0", to_vnet);
        let prison = kernel.types.record("prison", &[("pr_vnet", to_vnet)]);
        let to_prison = kernel.types.pointer(prison);
        let credentials = kernel.types.record("ucred", &[("cr_prison", to_prison)]);
        let to_credentials = kernel.types.pointer(credentials);
        let process = kernel.types.record("proc", &[("p_ucred", to_credentials)]);
        let variable = kernel.per_vnet_variable("ifnet", int);
        let shared = kernel.variable("shared", int);
        let data = kernel.allocate_pages(4096);
        let [new, host] = [0, 1].map(|_| kernel.allocate(vnet));
        let bits = if arch.word() == 4 { u64::from(u32::MAX) } else { u64::MAX };
        for (stack, at) in [(new, data), (host, data + 64)] {
            kernel.set(stack, vnet, "vnet_magic_n", 0x5e4a_6f28);
            kernel.set(stack, vnet, "vnet_data_base", at.wrapping_sub(variable) & bits);
        }
        kernel.set(new, vnet, "vnet_le.le_next", host);
        kernel.set_variable("vnet_head", "lh_first", new);
        kernel.set_variable("vnet0", "", host);
        let [jailed, owner, jail] = [process, credentials, prison].map(|of| kernel.allocate(of));
        kernel.set(jailed, process, "p_ucred", owner);
        kernel.set(owner, credentials, "cr_prison", jail);
        kernel.set(jail, prison, "pr_vnet", new);
        let opened = open(&kernel.write());
        let typed = opened.typed().unwrap();
        assert_eq!((typed.vnets().unwrap(), typed.host_vnet().unwrap()), (vec![new, host], host), "{arch:?}");
        assert_eq!(typed.vnet_of_process(jailed).unwrap(), new);
        assert_eq!(typed.per_vnet_address(variable, new).unwrap(), data);
        assert_eq!(typed.per_vnet_address(variable, host).unwrap(), data + 64);
        assert_eq!(typed.per_vnet_address(shared, host).unwrap(), shared);
        let error = typed.per_vnet_address(variable, jail).unwrap_err();
        assert!(error.to_string().starts_with("there is no network stack at 0x"), "{error}");
        // A list that leads back is found to do so.
        kernel.set(host, vnet, "vnet_le.le_next", new);
        let opened = open(&kernel.write());
        let error = opened.typed().unwrap().vnets().unwrap_err();
        assert_eq!(error.to_string(), format!("a list leads back to {new:#x}"));
    }
}

/// A kernel that swaps to a disk and to a file: their type and addresses.
pub fn with_swap_devices(arch: Arch) -> (TypedKernel, Type, [u64; 2]) {
    let mut kernel = TypedKernel::new(arch);
    let Basic { int, pointer, character, unsigned_long_long, .. } = kernel.basic;
    let name = kernel.types.array(character, 64);
    let cdev = kernel.types.record("cdev", &[("si_name", name)]);
    let to_cdev = kernel.types.pointer(cdev);
    let kinds = kernel.types.union_of("", &[("v_mountedhere", pointer), ("v_rdev", to_cdev)]);
    let vnode = kernel.types.record("vnode", &[("", kinds)]);
    let to_vnode = kernel.types.pointer(vnode);
    let swap = kernel.types.reserve();
    let to_swap = kernel.types.pointer(swap);
    let link = kernel.types.record("", &[("tqe_next", to_swap), ("tqe_prev", pointer)]);
    let members = [
        ("sw_flags", int),
        ("sw_nblks", int),
        ("sw_used", int),
        ("sw_dev", unsigned_long_long),
        ("sw_vp", to_vnode),
        ("sw_list", link),
    ];
    kernel.types.at(swap).record("swdevt", &members);
    let head = kernel.types.record("", &[("tqh_first", to_swap), ("tqh_last", pointer)]);
    kernel.static_variable("swtailq", head);
    kernel.variable("nsw_cluster_max", int);
    kernel.set_variable("nsw_cluster_max", "", 32);
    let [disk, file] = [0, 1].map(|_| kernel.allocate(swap));
    let (node, device) = (kernel.allocate(vnode), kernel.allocate(cdev));
    kernel.set(node, vnode, "v_rdev", device);
    kernel.set_text(device, cdev, "si_name", "ada0p3");
    kernel.set(disk, swap, "sw_vp", node);
    for (member, value) in [("sw_nblks", 1000), ("sw_used", 7), ("sw_flags", 1), ("sw_dev", 0x70)] {
        kernel.set(disk, swap, member, value);
    }
    kernel.set(disk, swap, "sw_list.tqe_next", file);
    kernel.set(file, swap, "sw_dev", u64::MAX);
    kernel.set(file, swap, "sw_nblks", 532);
    kernel.set_variable("swtailq", "tqh_first", disk);
    (kernel, swap, [disk, file])
}

#[test]
fn swap_devices_have_names_and_less_than_their_size() {
    for arch in Arch::ALL {
        let (kernel, ..) = with_swap_devices(arch);
        let opened = open(&kernel.write());
        assert_eq!(
            opened.typed().unwrap().swap_devices().unwrap(),
            [
                SwapDevice { name: Some(b"ada0p3".to_vec()), size: 1000, total: 968, used: 7, flags: 1 },
                SwapDevice { name: None, size: 532, total: 500, used: 0, flags: 0 },
            ],
            "{arch:?}"
        );
    }
}
