//! `memtool print`: variables of modules that each CPU or network stack has a copy of.
//!
//! Sources: `sys/kern/link_elf.c`, `sys/kern/link_elf_obj.c` (`struct elf_file`), `sys/sys/linker.h`, `sys/net/vnet.h`.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use vmcore_synth::Arch;
use vmcore_synth::ctf::{Builder, CtfSpec, SIGNED, Type};
use vmcore_synth::image::{
    ET_DYN, ET_REL, Image, LOCAL, OBJECT, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS, Section, section, symbol,
};
use vmcore_synth::typed_kernel::target;

const NAME: &str = "if_tube.ko";
/// Where the sections of the module are in it, and their bytes.
const PER_CPU: (u64, u64) = (0x60, 0x10);
const PER_VNET: (u64, u64) = (0x80, 0x30);
/// Where the variables are in their sections.
const HITS: u64 = 8;
const CLONER: u64 = 0x18;
/// Where the module's sections are in the kernel's variables with room for modules.
const PLACE: u64 = 0x40;

/// A kernel with a module: two CPUs, two network stacks.
struct Fixture {
    arch: Arch,
    is_relocatable: bool,
    kernel: TypedKernel,
    /// Where the module is, what the linker keeps of it, and the type of that.
    module: u64,
    file: u64,
    file_type: Type,
    /// Of a relocatable module: the linker's table of its sections, and the type of an entry.
    sections: (u64, Type),
    stacks: Vec<u64>,
    /// The variable of the first network stack.
    first_copy: u64,
}

/// The types of `sys/kern/link_elf.c` and `sys/kern/link_elf_obj.c`.
struct LinkerTypes {
    file: Type,
    shared: Type,
    entry: Type,
    relocatable: Type,
}

fn linker_types(kernel: &mut TypedKernel) -> LinkerTypes {
    let Basic { int, unsigned_int, unsigned_long, pointer, string, .. } = kernel.basic;
    let types = &mut kernel.types;
    let file = types.reserve();
    let next = types.pointer(file);
    let link = types.record("", &[("tqe_next", next), ("tqe_prev", pointer)]);
    types.at(file).record(
        "linker_file",
        &[("link", link), ("filename", string), ("pathname", string), ("address", pointer), ("size", unsigned_long)],
    );
    let sets = ["pcpu_start", "pcpu_stop", "pcpu_base", "vnet_start", "vnet_stop", "vnet_base"];
    let members: Vec<_> = [("lf", file)].into_iter().chain(sets.map(|name| (name, unsigned_long))).collect();
    let shared = types.record("elf_file", &members);
    let entry = types.record(
        "",
        &[
            ("addr", pointer),
            ("origaddr", pointer),
            ("size", unsigned_long),
            ("flags", int),
            ("sec", int),
            ("name", string),
        ],
    );
    let entry = types.typedef("Elf_progent", entry);
    let table = types.pointer(entry);
    let relocatable = types.record("elf_file", &[("lf", file), ("progtab", table), ("nprogtab", unsigned_int)]);
    LinkerTypes { file, shared, entry, relocatable }
}

impl Fixture {
    fn new(arch: Arch, is_relocatable: bool) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let LinkerTypes { file, shared, entry, relocatable } = linker_types(&mut kernel);
        let file_type = if is_relocatable { relocatable } else { shared };
        let Basic { pointer, int, .. } = kernel.basic;
        let files = kernel.types.pointer(file);
        let head = kernel.types.record("linker_file_list", &[("tqh_first", files), ("tqh_last", pointer)]);
        kernel.variable("linker_files", head);
        for (name, member) in
            [("address", "address"), ("filename", "filename"), ("pathname", "pathname"), ("next", "link.tqe_next")]
        {
            let name = format!("kld_off_{name}");
            kernel.variable(&name, int);
            let offset = kernel.types.offset_of(file, member);
            kernel.set_variable(&name, "", offset);
        }
        let own = kernel.allocate(shared);
        let linked = kernel.allocate(file_type);
        let module = kernel.unmapped() & !0xffff;
        for (at, of, name, address) in
            [(own, shared, "kernel", kernel.variable_of("version").0), (linked, file_type, NAME, module)]
        {
            let name = kernel.string(name);
            kernel.set(at, of, "lf.filename", name);
            kernel.set(at, of, "lf.address", address);
        }
        kernel.set(own, shared, "lf.link.tqe_next", linked);
        kernel.set_variable("linker_files", "tqh_first", own);
        let entries = kernel.types.array(entry, 4);
        let sections = (kernel.allocate(entries), entries);
        let mut fixture = Self {
            arch,
            is_relocatable,
            kernel,
            module,
            file: linked,
            file_type,
            sections,
            stacks: Vec::new(),
            first_copy: 0,
        };
        let room = fixture.has_copies();
        fixture.is_linked(room);
        fixture
    }

    /// Gives each CPU and network stack its copies: where the kernel makes room for those of modules.
    fn has_copies(&mut self) -> [u64; 2] {
        let Self { kernel, .. } = self;
        let Basic { int, unsigned_int, unsigned_long, character, .. } = kernel.basic;
        let vnet = kernel.types.reserve();
        let link = kernel.types.pointer(vnet);
        let entry = kernel.types.record("", &[("le_next", link)]);
        kernel
            .types
            .at(vnet)
            .record("vnet", &[("vnet_le", entry), ("vnet_magic_n", unsigned_int), ("vnet_data_base", unsigned_long)]);
        let head = kernel.types.record("vnet_list_head", &[("lh_first", link)]);
        let (offsets, set) = (kernel.types.array(unsigned_long, 2), kernel.types.array(unsigned_long, 1));
        for (name, of) in
            [("mp_maxcpus", int), ("all_cpus", set), ("dpcpu_off", offsets), ("vnet_head", head), ("vnet0", link)]
        {
            kernel.variable(name, of);
        }
        kernel.set_variable("mp_maxcpus", "", 2);
        kernel.set_variable("all_cpus", "[0]", 0b11);
        let room = kernel.types.array(character, 0x100);
        let of_cpus = kernel.per_cpu_variable("modspace", room);
        let of_vnets = kernel.per_vnet_variable("modspace", room);
        // What is behind it is no room for modules.
        kernel.per_vnet_variable("behind", room);
        self.stacks = (0..2).map(|_| self.kernel.allocate(vnet)).collect();
        let Self { kernel, stacks, .. } = self;
        for (index, stack) in (0..).zip(stacks.iter().copied()) {
            let copies = kernel.allocate(room);
            kernel.set(copies + PLACE + HITS, int, "", 10 + i128::from(index));
            kernel.set_variable("dpcpu_off", &format!("[{index}]"), i128::from(copies.wrapping_sub(of_cpus)));
            let copies = kernel.allocate(room);
            let copy = copies + PLACE + CLONER;
            let [low, high] = [20 + index, 30 + index];
            for (offset, value) in [(0, low), (4, high)] {
                kernel.set(copy + offset, int, "", value);
            }
            kernel.set(stack, vnet, "vnet_magic_n", 0x5e4a_6f28);
            kernel.set(stack, vnet, "vnet_data_base", i128::from(copies.wrapping_sub(of_vnets)));
            if index == 0 {
                self.first_copy = copy;
                kernel.set(stack, vnet, "vnet_le.le_next", stacks[1]);
            }
        }
        kernel.set_variable("vnet_head", "lh_first", stacks[0]);
        kernel.set_variable("vnet0", "", stacks[1]);
        [of_cpus + PLACE, of_vnets + PLACE]
    }

    /// Has the kernel's linker place the module's sections.
    fn is_linked(&mut self, [per_cpu, per_vnet]: [u64; 2]) {
        let Self { kernel, module, file, file_type, sections: (table, entries), .. } = self;
        if self.is_relocatable {
            kernel.set(*file, *file_type, "progtab", *table);
            kernel.set(*file, *file_type, "nprogtab", 4);
            let all = [
                (".text", 0, 0x20, None),
                (".data", 0x20, 0x40, None),
                ("set_pcpu", PER_CPU.0, PER_CPU.1, Some(per_cpu)),
                ("set_vnet", PER_VNET.0, PER_VNET.1, Some(per_vnet)),
            ];
            for (index, (name, at, size, place)) in all.into_iter().enumerate() {
                let name = kernel.string(name);
                let mut set = |member: &str, value: u64| {
                    kernel.set(*table, *entries, &format!("[{index}].{member}"), value);
                };
                set("addr", place.unwrap_or(*module + at));
                set("origaddr", *module + at);
                set("size", size);
                set("sec", index as u64 + 1);
                set("name", name);
            }
        } else {
            for (name, (at, size), place) in [("pcpu", PER_CPU, per_cpu), ("vnet", PER_VNET, per_vnet)] {
                let mut set = |edge: &str, value: u64| kernel.set(*file, *file_type, &format!("{name}_{edge}"), value);
                set("start", *module + at);
                set("stop", *module + at + size);
                set("base", place);
            }
        }
    }

    /// The types of the module, with a `struct cloner`, which the kernel has not.
    fn module_types(&self) -> Builder {
        let mut types = Builder::new(CtfSpec::new(self.arch.order(), self.arch.word()));
        let int = types.integer("int", 4, SIGNED);
        let cloner = types.record("cloner", &[("low", int), ("high", int)]);
        types.object(Some(int));
        types.object(Some(cloner));
        types
    }

    fn image(&self) -> Image {
        let at = |address: u64| if self.is_relocatable { 0 } else { address };
        let of_set = |name, (address, size): (u64, u64)| section(name, SHF_WRITE, at(address), vec![0; size as usize]);
        let bytes = self.module_types().build();
        let sections = vec![
            section(".text", SHF_EXECINSTR, 0, vec![0; 0x20]),
            section(".data", SHF_WRITE, at(0x20), vec![0; 0x40]),
            of_set("set_pcpu", PER_CPU),
            Section { align: 0x20, ..of_set("set_vnet", PER_VNET) },
            Section { name: ".SUNW_ctf", kind: SHT_PROGBITS, flags: 0, address: 0, align: 4, bytes, size: 0 },
        ];
        let symbols = vec![
            symbol("pcpu_entry_hits", (LOCAL, OBJECT), 3, at(PER_CPU.0) + HITS, 4),
            symbol("vnet_entry_cloner", (LOCAL, OBJECT), 4, at(PER_VNET.0) + CLONER, 8),
        ];
        Image::new(target(self.arch), if self.is_relocatable { ET_REL } else { ET_DYN }, sections, symbols)
    }

    fn write(&self) -> TypedDump {
        let dump = self.kernel.write();
        std::fs::write(dump.directory.path().join(NAME), self.image().build()).unwrap();
        dump
    }

    /// What is said of the variable of network stacks.
    #[track_caller]
    fn refused(&self) -> String {
        refused(&self.write(), &["V_cloner"])
    }
}

#[track_caller]
fn refused(dump: &TypedDump, arguments: &[&str]) -> String {
    let run = dump.run(&[&["print"], arguments].concat()).exits(1);
    assert_eq!(run.stdout, "", "{arguments:?}");
    run.stderr
}

/// amd64's modules are relocatable files, those of all others shared objects.
const MODULES: [(Arch, bool); 4] =
    [(Arch::Amd64, true), (Arch::Arm64, false), (Arch::Powerpc64, false), (Arch::I386, false)];

#[test]
fn a_modules_variables_are_those_of_each_cpu_and_network_stack() {
    for (arch, is_relocatable) in MODULES {
        let fixture = Fixture::new(arch, is_relocatable);
        let dump = fixture.write();
        let print = |arguments: &[&str]| {
            let run = dump.run(&[&["print"], arguments].concat()).ok();
            assert_eq!(run.stderr, "", "{arch:?}");
            run.stdout
        };
        assert_eq!(print(&["hits", "--cpu", "all"]), "CPU 0: 10\nCPU 1: 11\n", "{arch:?}");
        assert_eq!(print(&["pcpu_entry_hits", "--cpu", "1"]), "CPU 1: 11\n", "{arch:?}");
        let [first, second] = fixture.stacks[..] else { panic!("two stacks") };
        let both = |a: i32, b: i32| format!("vnet {first:#x}: {a}\nvnet {second:#x}: {b}\n");
        assert_eq!(print(&["V_cloner.low", "--vnet", "all"]), both(20, 21), "{arch:?}");
        assert_eq!(print(&["if_tube`V_cloner.high", "--vnet", "all"]), both(30, 31), "{arch:?}");
        // That of the host is the second one.
        for name in ["vnet_entry_cloner", "V_cloner", "if_tube`vnet_entry_cloner", "if_tube.ko`cloner"] {
            assert_eq!(print(&[&format!("{name}.low")]), "21\n", "{arch:?}");
        }
        let address = print(&["&V_cloner.low", "--vnet", &format!("{first:#x}")]);
        assert!(address.contains(&format!("{:#x}", fixture.first_copy)), "{arch:?} {address}");
    }
}

#[test]
fn what_the_linker_keeps_of_another_build_is_refused() {
    let changed = |is_relocatable: bool, change: &dyn Fn(&mut Fixture)| {
        let mut fixture = Fixture::new(if is_relocatable { Arch::Amd64 } else { Arch::Arm64 }, is_relocatable);
        change(&mut fixture);
        fixture.refused()
    };
    let in_table = |member: &str, value: u64| {
        changed(true, &|fixture| {
            let (table, entries) = fixture.sections;
            fixture.kernel.set(table, entries, &format!("[3].{member}"), value);
        })
    };
    let said = in_table("size", PER_VNET.1 + 8);
    let expected = "memtool: where the kernel has its copies of 'V_cloner' of if_tube.ko is not known: a section of \
                    if_tube.ko is not as in its file: it is another build\n  V_cloner\n  ^^^^^^^^\n";
    assert_eq!(said, expected);
    assert_eq!(in_table("origaddr", 0x10), expected);
    assert_eq!(in_table("name", 0), expected);
    assert!(in_table("sec", 7).contains("the number of sections of if_tube.ko is not as in its file"));
    assert!(in_table("addr", 0x1234).contains("progtab of if_tube.ko leads to 0x1234: that is not in the kernel's"));
    let behind = Fixture::new(Arch::Amd64, true).kernel.variable_of("vnet_entry_behind").0;
    assert!(in_table("addr", behind).contains("that is not in the kernel's set_vnet"));
    assert!(in_table("addr", behind - 8).contains("that is not in the kernel's set_vnet"));

    let in_file = |is_relocatable: bool, member: &str, value: u64| {
        changed(is_relocatable, &|fixture| fixture.kernel.set(fixture.file, fixture.file_type, member, value))
    };
    assert!(in_file(true, "nprogtab", 3).contains("the number of sections"));
    assert!(in_file(true, "nprogtab", u32::MAX.into()).contains("has 4294967295 sections"));
    assert!(in_file(true, "progtab", 0).contains("is not known: 0x0: not mapped"));
    assert!(in_file(false, "vnet_start", 0).contains("has not placed set_vnet of if_tube.ko as its file has it"));
    assert!(in_file(false, "vnet_stop", 0).contains("has not placed set_vnet of if_tube.ko as its file has it"));
    assert!(in_file(false, "vnet_base", 0).contains("vnet_start of if_tube.ko leads to 0x0"));
    assert!(in_file(false, "lf.link.tqe_next", 0x10).contains("where the kernel has its copies"));
}

#[test]
fn a_kernel_that_does_not_tell_what_its_linker_keeps_is_refused() {
    for (arch, is_relocatable) in MODULES {
        let mut fixture = Fixture::new(arch, is_relocatable);
        // One that lacks the members in question, and one too many.
        let Basic { int, .. } = fixture.kernel.basic;
        let member = if is_relocatable { "progtab" } else { "vnet_start" };
        fixture.kernel.types.record("elf_file", &[("lf", int), (member, int)]);
        let dump = fixture.write();
        for name in ["V_cloner", "vnet_entry_cloner", "cloner", "if_tube`V_cloner"] {
            let said = refused(&dump, &[name]);
            let name = name.rsplit('`').next().unwrap();
            let why = format!(
                "memtool: where the kernel has its copies of '{name}' of if_tube.ko is not known: the kernel's types \
                 have no struct elf_file with {member}\n"
            );
            assert!(said.starts_with(&why), "{arch:?} {said}");
        }
        // Other names are no concern of it.
        assert!(refused(&dump, &["V_other"]).contains("the kernel has no symbol 'V_other'"), "{arch:?}");
        dump.run(&["print", "mp_maxcpus"]).ok();
    }
}
