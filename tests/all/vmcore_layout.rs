//! Compares what the builder of dumps in `vmcore-synth` knows of layouts and constants with FreeBSD's own
//! headers, as a C compiler reads them.
//!
//! On FreeBSD that covers the machine's own architecture, elsewhere all six.

use crate::common::compiler;
use object::{Object, ObjectSection, ObjectSymbol};
use std::fmt::Write;
use std::process::Command;
use vmcore_synth::ctf::{self, Builder, CtfSpec, Type};
use vmcore_synth::page_tables::bits;
use vmcore_synth::{Arch, Compression, Field, Kind, arch, device, elf, kerneldump, stack};

/// What is included: everywhere, and for an architecture's page-table entries.
const HEADERS: &str = "#include <sys/param.h>\n\
    #include <sys/elf_common.h>\n\
    #include <sys/elf32.h>\n\
    #include <sys/elf64.h>\n\
    #include <sys/ctf.h>\n\
    #include <sys/kerneldump.h>\n\
    #include <machine/frame.h>\n\
    #include <machine/minidump.h>\n\
    #include <stddef.h>\n\
    #include <stdint.h>\n";

fn headers_of(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 | Arch::Arm64 | Arch::Riscv | Arch::Arm => "#include <machine/pte.h>\n",
        // What the kernel has declared before.
        Arch::I386 => {
            "struct pmap_statistics { int nothing; };\n\
             typedef struct vm_page *vm_page_t;\n\
             #include <machine/pmap.h>\n"
        }
        Arch::Powerpc64 => "",
    }
}

/// C expressions, each with the builder's value.
struct Table(Vec<(String, u64)>);

impl Table {
    fn add(&mut self, expression: impl Into<String>, value: impl Into<u64>) {
        self.0.push((expression.into(), value.into()));
    }

    /// Offset and size of every field.
    fn fields(&mut self, structure: &str, fields: &[Field]) {
        for (name, offset, size) in fields {
            self.add(format!("offsetof({structure}, {name})"), *offset as u64);
            self.add(format!("sizeof((({structure} *)0)->{name})"), *size as u64);
        }
    }

    /// The characters of a string, and the NUL behind them.
    fn text(&mut self, name: &str, value: &str) {
        self.add(format!("sizeof({name})"), value.len() as u64 + 1);
        for (index, byte) in value.bytes().enumerate() {
            // A shorter string must not stop the compiler.
            self.add(format!("({name})[{index} < sizeof({name}) ? {index} : 0]"), byte);
        }
    }
}

fn table(arch: Arch) -> Table {
    let mut table = Table(Vec::new());
    table.fields("struct kerneldumpheader", kerneldump::fields(4));
    table.add("sizeof(struct kerneldumpheader)", kerneldump::SIZE as u64);
    table.add("KERNELDUMPVERSION", 4_u64);
    table.add("KERNELDUMP_TEXT_VERSION", device::text_device(arch, 4, &[]).header.architecture_version);
    table.text("KERNELDUMPMAGIC", Kind::Kernel.magic());
    table.text("TEXTDUMPMAGIC", Kind::Text.magic());
    table.text("KERNELDUMPMAGIC_CLEARED", Kind::Cleared.magic());
    table.add("KERNELDUMP_COMP_NONE", Compression::None as u64);
    table.add("KERNELDUMP_COMP_GZIP", Compression::Gzip as u64);
    table.add("KERNELDUMP_COMP_ZSTD", Compression::Zstd as u64);
    table.add("KERNELDUMP_ENC_AES_256_CBC", device::key_block([0; 32], &[])[0]);
    table.add("sizeof(struct kerneldumpkey)", device::key_block([0; 32], &[]).len() as u64);

    table.fields("struct minidumphdr", arch.fields());
    table.text("MINIDUMP_MAGIC", &arch.magic());
    table.add("MINIDUMP_VERSION", arch.newest());
    table.add("sizeof(long)", arch.word() as u64);
    table.add("sizeof(vm_paddr_t)", arch.physical_word() as u64);

    if let Some((fields, size)) = stack::trap_frame(arch) {
        table.fields("struct trapframe", fields);
        table.add("sizeof(struct trapframe)", size as u64);
    }

    let class = if arch.is_32_bit() { "Elf32" } else { "Elf64" };
    let (fields, size) = elf::file_header(arch);
    table.fields(&format!("{class}_Ehdr"), fields);
    table.add(format!("sizeof({class}_Ehdr)"), size as u64);
    let (fields, size) = elf::program_header(arch);
    table.fields(&format!("{class}_Phdr"), fields);
    table.add(format!("sizeof({class}_Phdr)"), size as u64);
    table.add(format!("sizeof({class}_Shdr)"), elf::section_header_size(arch));
    table.add("ET_CORE", elf::ET_CORE);
    table.add("PT_LOAD", elf::PT_LOAD);
    table.add("PT_DUMP_DELTA", elf::PT_DUMP_DELTA);
    table.add("PF_R", elf::PF_R);
    table.add("ELFOSABI_STANDALONE", elf::ELFOSABI_STANDALONE);

    add_ctf(&mut table, arch);

    let (version, machine) = match arch {
        Arch::Amd64 => ("AMD64", "X86_64"),
        Arch::Arm64 => ("AARCH64", "AARCH64"),
        Arch::Riscv => ("RISCV", "RISCV"),
        Arch::Arm => ("ARM", "ARM"),
        Arch::I386 => ("I386", "386"),
        Arch::Powerpc64 => ("POWERPC", "PPC64"),
    };
    table.add(format!("KERNELDUMP_{version}_VERSION"), arch.architecture_version());
    table.add(format!("EM_{machine}"), elf::machine(arch));
    table.text("MACHINE_ARCH", arch.machine_arch());
    match arch {
        Arch::Amd64 => {
            table.add("offsetof(struct trapframe, tf_cs)", stack::AMD64_TF_CS as u64);
            table.add("X86_PG_V", bits::X86_PG_V);
            table.add("X86_PG_RW", bits::X86_PG_RW);
            table.add("X86_PG_A", bits::X86_PG_A);
            table.add("X86_PG_M", bits::X86_PG_M);
            table.add("X86_PG_PS", bits::X86_PG_PS);
            table.add("X86_PG_NX", bits::X86_PG_NX);
        }
        Arch::Arm64 => {
            table.add("MINIDUMP_FLAG_PS_MASK", arch::ARM64_PS_MASK);
            table.add("MINIDUMP_FLAG_PS_4K", arch::ARM64_PS_4K);
            table.add("MINIDUMP_FLAG_PS_16K", arch::ARM64_PS_16K);
            table.add("L3_PAGE", bits::L3_PAGE);
            table.add("ATTR_AF", bits::ATTR_AF);
            table.add("ATTR_SH(ATTR_SH_IS)", bits::ATTR_SH_IS);
            table.add("ATTR_S1_AP(ATTR_S1_AP_RO)", bits::ATTR_S1_AP_RO);
            table.add("ATTR_S1_XN", bits::ATTR_S1_XN);
        }
        Arch::Riscv => {
            table.add("PTE_V", bits::PTE_V);
            table.add("PTE_R", bits::PTE_R);
            table.add("PTE_W", bits::PTE_W);
            table.add("PTE_X", bits::PTE_X);
            table.add("PTE_A", bits::PTE_A);
            table.add("PTE_D", bits::PTE_D);
            table.add("PTE_PPN0_S", bits::PTE_PPN0_S);
        }
        Arch::Arm => {
            table.add("MINIDUMP_MMU_FORMAT_UNKNOWN", arch::ARM_UNKNOWN);
            table.add("MINIDUMP_MMU_FORMAT_V4", arch::ARM_V4);
            table.add("MINIDUMP_MMU_FORMAT_V6", arch::ARM_V6);
            table.add("MINIDUMP_MMU_FORMAT_V6_LPAE", arch::ARM_V6_LPAE);
            table.add("PTE2_V", bits::PTE2_V);
            table.add("PTE2_NX", bits::PTE2_NX);
            table.add("PTE2_A", bits::PTE2_A);
            table.add("PTE2_RO", bits::PTE2_RO);
            table.add("PTE2_NM", bits::PTE2_NM);
        }
        Arch::I386 => {
            table.add("PG_V", bits::X86_PG_V);
            table.add("PG_RW", bits::X86_PG_RW);
            table.add("PG_A", bits::X86_PG_A);
            table.add("PG_M", bits::X86_PG_M);
            table.add("PG_PS", bits::X86_PG_PS);
        }
        Arch::Powerpc64 => {}
    }
    table
}

/// What the builder of CTF writes.
fn add_ctf(table: &mut Table, arch: Arch) {
    table.fields("ctf_header_t", ctf::HEADER);
    table.add("sizeof(ctf_header_t)", ctf::HEADER_SIZE as u64);
    table.add("CTF_MAGIC", ctf::MAGIC);
    table.add("CTF_F_COMPRESS", ctf::COMPRESSED);
    let encodings = [("SIGNED", ctf::SIGNED), ("CHAR", ctf::CHAR), ("BOOL", ctf::BOOL), ("VARARGS", ctf::VARARGS)];
    encodings.iter().for_each(|(name, value)| table.add(format!("CTF_INT_{name}"), *value));
    let encodings = [("SINGLE", ctf::SINGLE), ("DOUBLE", ctf::DOUBLE), ("LDOUBLE", ctf::LONG_DOUBLE)];
    encodings.iter().for_each(|(name, value)| table.add(format!("CTF_FP_{name}"), *value));
    for (name, value) in ctf::kinds::ALL {
        table.add(format!("CTF_K_{name}"), *value);
    }
    for version in [2, 3] {
        // How many bytes of types there are.
        let bytes = |add: &dyn Fn(&mut Builder) -> Type| {
            let order = arch.order();
            let mut types = Builder::new(CtfSpec { version, compressed: false, ..CtfSpec::new(order, arch.word()) });
            add(&mut types);
            let section = types.build();
            let at = |name| {
                let (_, offset, size) = vmcore_synth::field(ctf::HEADER, name);
                order.value(&section[offset..offset + size])
            };
            (at("cth_stroff") - at("cth_typeoff"), section)
        };
        let size = |add: &dyn Fn(&mut Builder) -> Type| bytes(add).0;
        let int = Type::numbered(1);
        let mut row = |expression: &str, value: u64| table.add(expression.replace('#', &version.to_string()), value);
        let large = if version == 2 { 1 << 13 } else { 1 << 29 };
        row("sizeof(struct ctf_stype_v#)", size(&|types| types.pointer(int)));
        row("sizeof(struct ctf_stype_v#) + 4", size(&|types| types.integer("int", 4, 0)));
        row("sizeof(struct ctf_stype_v#) + sizeof(struct ctf_array_v#)", size(&|types| types.array(int, 3)));
        row(
            "sizeof(struct ctf_stype_v#) + sizeof(struct ctf_member_v#)",
            size(&|types| types.structure("s", large - 1, &[("m", int, 0)])),
        );
        row(
            "sizeof(struct ctf_stype_v#) + sizeof(struct ctf_lmember_v#)",
            size(&|types| types.structure("s", large, &[("m", int, 0)])),
        );
        row(
            "sizeof(struct ctf_type_v#) + sizeof(struct ctf_lmember_v#)",
            size(&|types| types.structure("s", 1 << 33, &[("m", int, 0)])),
        );
        row("sizeof(struct ctf_stype_v#) + sizeof(ctf_enum_t)", size(&|types| types.enumeration("e", 4, &[("A", 1)])));
        row("CTF_V#_LSTRUCT_THRESH", large);
        // The word behind the name of a union with two members.
        let (_, section) = bytes(&|types| types.union("u", 4, &[("a", int, 0), ("b", int, 0)]));
        let (start, size) = (ctf::HEADER_SIZE + 8 + 4, if version == 2 { 2 } else { 4 });
        row("CTF_V#_TYPE_INFO((uint32_t)CTF_K_UNION, 1, 2)", arch.order().value(&section[start..start + size]));
    }
}

/// What FreeBSD's headers say the expressions are.
fn c_values(arch: Arch, mut compiler: Command, table: &Table) -> Vec<u64> {
    let mut source = format!("{HEADERS}{}const uint64_t values[] = {{\n", headers_of(arch));
    for (expression, _) in &table.0 {
        writeln!(source, "    (uint64_t)({expression}),").unwrap();
    }
    source.push_str("};\n");
    let directory = crate::common::directory();
    let (c, object) = (directory.path().join("values.c"), directory.path().join("values.o"));
    std::fs::write(&c, source).unwrap();
    compiler::succeed(compiler.arg("-c").arg(&c).arg("-o").arg(&object));
    let object = std::fs::read(object).unwrap();
    let file = object::File::parse(&*object).unwrap();
    // The byte order that the builder takes the architecture to have.
    assert_eq!(file.is_little_endian(), arch.order() == arch::Endianness::Little, "{arch:?}");
    let values = file.symbols().find(|symbol| symbol.name() == Ok("values")).unwrap();
    let section = file.section_by_index(values.section_index().unwrap()).unwrap();
    let bytes = section.data_range(values.address(), values.size()).unwrap().unwrap();
    bytes.chunks_exact(8).map(|value| arch.order().value(value)).collect()
}

/// The rows in which the headers say something else.
fn differences(arch: Arch, compiler: Command, table: &Table) -> Vec<String> {
    let values = c_values(arch, compiler, table);
    assert_eq!(values.len(), table.0.len());
    let row = |((expression, ours), theirs): (&(String, u64), u64)| {
        (*ours != theirs).then(|| format!("{arch:?}: {expression}: C {theirs:#x}, builder {ours:#x}"))
    };
    table.0.iter().zip(values).filter_map(row).collect()
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn the_builder_agrees_with_the_headers() {
    let mut differing = Vec::new();
    for arch in Arch::ALL {
        let Some(compiler) = compiler::for_freebsd(arch) else { continue };
        let table = table(arch);
        differing.extend(differences(arch, compiler, &table));
        println!("{arch:?}: {} rows", table.0.len());
    }
    assert!(differing.is_empty(), "{} rows differ:\n{}", differing.len(), differing.join("\n"));
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_wrong_offset_is_found() {
    for arch in Arch::ALL {
        let Some(compiler) = compiler::for_freebsd(arch) else { continue };
        let mut table = Table(Vec::new());
        table.fields("struct minidumphdr", &[("version", 20, 8), arch.fields()[0]]);
        assert_eq!(differences(arch, compiler, &table).len(), 2, "{arch:?}");
    }
}
