//! The types of a kernel's file as a table has them, from CTF.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use vmcore::Error;
use vmcore::symbols::Table;
use vmcore::types::ctf::CtfTypes;
use vmcore::types::{Kind, Tag, TypeId, TypeSource, TypeTable};
use vmcore_synth::ctf::{BOOL, CHAR, DOUBLE, SIGNED, Type, kinds};
use vmcore_synth::{Arch, ctf};

/// A table of the types of a kernel.
fn load(kernel: &TypedKernel) -> TypeTable {
    let TypedDump { kernel: path, directory, .. } = kernel.write();
    let mut types = TypeTable::new(kernel.arch.word());
    assert!(CtfTypes::default().load(&Table::open(&path).unwrap(), &mut types).unwrap());
    drop(directory);
    types
}

/// A type, declared.
fn declared(types: &TypeTable, id: TypeId) -> String {
    types.declare(id, "x")
}

/// A member as C would declare it, where it begins, and its bits.
fn member(types: &TypeTable, of: &str, name: &str) -> (String, u64, Option<u32>) {
    let id = types.structure(of).unwrap_or_else(|| panic!("no struct {of}"));
    let found = types.member(id, name).unwrap_or_else(|| panic!("struct {of} has no {name}"));
    (types.declare(found.member.type_id, name), found.bit_offset, found.member.bits)
}

/// The kernels of both orders of bytes with CTF of both versions.
fn kernels() -> Vec<TypedKernel> {
    let archs = [Arch::Amd64, Arch::Powerpc64, Arch::I386];
    let kernel =
        |arch| [(2, false), (3, true)].map(|(version, packed)| TypedKernel::new(arch).with_spec(version, packed));
    archs.into_iter().flat_map(kernel).collect()
}

#[test]
fn types_that_refer_to_each_other_are_those_of_the_file() {
    for mut kernel in kernels() {
        let word = kernel.arch.word() as u64;
        let Basic { int, character, pointer, void, unsigned_long, .. } = kernel.basic;
        let types = &mut kernel.types;
        let process = types.reserve();
        let link = types.pointer(process);
        let name = types.array(character, 20);
        let constant = types.qualified_const(character);
        let text = types.pointer(constant);
        let handler = types.function((int, &[link, text], true));
        let handler = types.pointer(handler);
        let plain = types.function((void, &[], false));
        let plain = types.pointer(plain);
        let rows = types.array(int, 3);
        let table = types.array(rows, 2);
        let inner = types.union_of("", &[("u_int", int), ("u_pointer", pointer)]);
        let flexible = types.array(int, 0);
        let witness = types.forward("witness");
        let witness = types.pointer(witness);
        types.at(process).record(
            "proc",
            &[
                ("p_next", link),
                ("p_comm", name),
                ("p_name", text),
                ("p_handler", handler),
                ("p_plain", plain),
                ("p_table", table),
                ("", inner),
                ("p_witness", witness),
                ("p_last", flexible),
            ],
        );
        types.typedef("proc_t", process);
        kernel.variable("initproc", link);
        kernel.function("fork1", Some((int, &[link, unsigned_long], false)));
        let size = kernel.types.size_of(process);
        let at = |name| 8 * kernel.types.offset_of(process, name);
        let found = load(&kernel);
        for (name, declaration) in [
            ("p_next", "struct proc *p_next"),
            ("p_comm", "char p_comm[20]"),
            ("p_name", "const char *p_name"),
            ("p_handler", "int (*p_handler)(struct proc *, const char *, ...)"),
            ("p_plain", "void (*p_plain)(void)"),
            ("p_table", "int p_table[2][3]"),
            ("u_pointer", "void *u_pointer"),
            ("p_witness", "struct witness *p_witness"),
            ("p_last", "int p_last[]"),
        ] {
            assert_eq!(member(&found, "proc", name), (declaration.to_owned(), at(name), None), "{name}");
        }
        let process = found.structure("proc").unwrap();
        assert_eq!(found.size_of(process), Some(size));
        let of = |name: &str| {
            let all: Vec<_> = found.variables_named(name).collect();
            assert_eq!(all.len(), 1, "{name}");
            (declared(&found, all[0].type_id), all[0].address, all[0].size, all[0].is_function)
        };
        let (address, _) = kernel.variable_of("initproc");
        assert_eq!(of("initproc"), ("struct proc *x".to_owned(), address, word, false));
        let (declaration, address, _, is_function) = of("fork1");
        assert_eq!((&*declaration, is_function), ("int x(struct proc *, unsigned long)", true));
        assert_eq!(found.variables_at(address).count(), 1);
        assert_eq!(declared(&found, found.find(None, "proc_t").unwrap()), "proc_t x");
        assert_eq!(found.strip(found.find(None, "proc_t").unwrap()), process);
        assert!(found.find(Some(Tag::Structure), "witness").is_some() && found.structure("witness").is_none());
        let void = found.find(None, "void").unwrap();
        assert_eq!((found.size_of(void), &found.get(void).kind), (None, &Kind::Void));
    }
}

#[test]
fn bit_fields_are_members_of_the_plain_type_with_their_bits() {
    for mut kernel in kernels() {
        let Basic { int, unsigned_int, .. } = kernel.basic;
        let types = &mut kernel.types;
        let three = types.bit_field("unsigned int bitfield", 4, 0, 3);
        let flag = types.bit_field("_Bool bitfield", 1, SIGNED | BOOL, 1);
        let constant = types.qualified_const(three);
        // There is no plain type of that name.
        let lonely = types.bit_field("long long unsigned int bitfield", 8, 0, 40);
        types.structure(
            "s",
            16,
            &[
                ("a", three, 0),
                ("b", constant, 3),
                ("c", flag, 6),
                ("plain", unsigned_int, 32),
                ("d", lonely, 64),
                // Of all bits of its type, and not at a byte.
                ("e", int, 60),
            ],
        );
        kernel.variable("v", int);
        let found = load(&kernel);
        assert_eq!(member(&found, "s", "a"), ("unsigned int a".to_owned(), 0, Some(3)));
        assert_eq!(member(&found, "s", "b"), ("unsigned int b".to_owned(), 3, Some(3)));
        assert_eq!(member(&found, "s", "c"), ("_Bool c".to_owned(), 6, Some(1)));
        assert_eq!(member(&found, "s", "plain"), ("unsigned int plain".to_owned(), 32, None));
        assert_eq!(member(&found, "s", "d"), ("long long unsigned int d".to_owned(), 64, Some(40)));
        assert_eq!(member(&found, "s", "e"), ("int e".to_owned(), 60, Some(32)));
        // A truth has no sign, although CTF says so.
        let Kind::Integer(boolean) = found.get(found.find(None, "_Bool").unwrap()).kind else { panic!() };
        assert!(!boolean.is_signed);
    }
}

#[test]
fn enumerations_that_the_next_member_overlaps_are_bit_fields() {
    for mut kernel in kernels() {
        let Basic { character, int, .. } = kernel.basic;
        let types = &mut kernel.types;
        let state = types.enumeration("state", 4, &[("IDLE", 0), ("BUSY", 1), ("MAX", i32::MIN)]);
        let typedef = types.typedef("state_t", state);
        let small = types.enumeration("small", 1, &[("ON", 1)]);
        let members = [
            ("overlapped", typedef, 0),
            ("next", character, 8),
            ("off", state, 20),
            ("whole", state, 32),
            ("small", small, 64),
            ("byte", character, 72),
            ("last", state, 84),
        ];
        types.structure("s", 12, &members);
        types.union("u", 4, &[("one", state, 0), ("other", character, 0)]);
        types.structure("small_last", 5, &[("i", int, 0), ("small", small, 36)]);
        let found = load(&kernel);
        let bits = |name| member(&found, "s", name).2;
        assert_eq!([bits("overlapped"), bits("off"), bits("last")], [Some(8), Some(12), Some(12)]);
        assert_eq!([bits("next"), bits("whole"), bits("small"), bits("byte")], [None; 4]);
        assert_eq!(member(&found, "small_last", "small").2, Some(4));
        let union = found.find(Some(Tag::Union), "u").unwrap();
        assert_eq!(found.member(union, "one").unwrap().member.bits, None);
        let id = found.find(Some(Tag::Enumeration), "state").unwrap();
        let Kind::Enumeration(enumeration) = &found.get(id).kind else { panic!() };
        let values: Vec<_> = enumeration.enumerators.iter().map(|(name, value)| (&**name, *value)).collect();
        assert_eq!(values, [("IDLE", 0), ("BUSY", 1), ("MAX", -2_147_483_648)]);
        assert_eq!(found.size_of(found.find(Some(Tag::Enumeration), "small").unwrap()), Some(1));
    }
}

#[test]
fn what_is_not_there_or_makes_no_sense_is_of_unknown_type() {
    for mut kernel in kernels() {
        let types = &mut kernel.types;
        let dangling = types.pointer(Type::numbered(5000));
        let odd = types.bit_field("odd", 4, 0, 33);
        let nothing = types.bit_field("nothing", 4, 0, 0);
        let number = types.float("double", 8, DOUBLE);
        types.structure("s", 16, &[("p", dangling, 0), ("odd", odd, 64), ("nothing", nothing, 96), ("d", number, 64)]);
        let (one, other) = (types.reserve(), types.reserve());
        types.at(one).typedef("one", other);
        types.at(other).typedef("other", one);
        let itself = types.reserve();
        types.at(itself).structure("itself", 8, &[("", itself, 0)]);
        kernel.variable("v", dangling);
        let found = load(&kernel);
        assert_eq!(member(&found, "s", "p").0, "<unknown type> *p");
        for name in ["odd", "nothing"] {
            let id = found.member(found.structure("s").unwrap(), name).unwrap().member.type_id;
            assert_eq!((&found.get(id).kind, found.size_of(id)), (&Kind::Unknown, None), "{name}");
        }
        assert_eq!(found.size_of(found.find(None, "one").unwrap()), None);
        assert!(found.member(found.structure("itself").unwrap(), "x").is_none());
    }
}

#[test]
fn variables_of_sections_that_are_kept_elsewhere_have_the_addresses_of_the_file() {
    for mut kernel in kernels() {
        let Basic { int, .. } = kernel.basic;
        let one = kernel.static_variable("lock", int);
        kernel.untyped_variable("unknown", 4);
        let long = kernel.basic.long;
        let other = kernel.static_variable("lock", long);
        let per_cpu = kernel.per_cpu_variable("x", int);
        let found = load(&kernel);
        let all: Vec<_> = found.variables_named("lock").map(|variable| variable.address).collect();
        assert_eq!(all, [one, other]);
        let kinds: Vec<_> = found.variables_named("lock").map(|variable| declared(&found, variable.type_id)).collect();
        assert_eq!(kinds, ["int x", "long x"]);
        assert!(found.variables_named("unknown").next().is_none());
        assert_eq!(found.variables_named("pcpu_entry_x").next().unwrap().address, per_cpu);
    }
}

#[test]
fn types_are_read_where_the_symbol_table_is_another_one_but_no_variables() {
    let mut kernel = TypedKernel::new(Arch::Amd64);
    let Basic { int, .. } = kernel.basic;
    kernel.variable("v", int);
    kernel.types.object(Some(int));
    let found = load(&kernel);
    assert!(found.find(None, "int").is_some() && found.variables().is_empty());
}

#[test]
fn a_module_that_builds_on_the_kernels_types_is_read_after_that() {
    let kernel = TypedKernel::new(Arch::Amd64);
    let of_kernel = kernel.basic.unsigned_int;
    let mut module = TypedKernel::new(Arch::Amd64);
    let label = module.types.spec.label;
    module.types.spec.parent = Some((label, "kernel"));
    module.types.typedef("u", of_kernel.of_parent());
    module.types.typedef("beyond", Type::numbered(1000).of_parent());
    let (kernel, child) = (kernel.write(), module.write());
    module.types.spec.parent = Some(("another label", "kernel"));
    let stranger = module.write();
    let load = |files: &[&TypedDump]| {
        let (mut source, mut types) = (CtfTypes::default(), TypeTable::new(8));
        for files in files {
            assert!(source.load(&Table::open(&files.kernel).unwrap(), &mut types).unwrap());
        }
        let typedef = |name| types.get(types.strip(types.find(None, name).unwrap())).clone();
        (typedef("u").name, typedef("u").kind, typedef("beyond").kind, types.sources().len())
    };
    let (name, _, beyond, sources) = load(&[&kernel, &child]);
    assert_eq!((&*name, beyond, sources), ("unsigned int", Kind::Unknown, 2));
    assert_eq!(load(&[&child]).1, Kind::Unknown);
    assert_eq!(load(&[&kernel, &stranger]).1, Kind::Unknown);
}

#[test]
fn a_file_without_types_has_none_and_damaged_ones_are_an_error() {
    let mut kernel = TypedKernel::new(Arch::Amd64);
    kernel.types.forward_of("u", kinds::UNION);
    let mut types = TypeTable::new(8);
    let load = |bytes: &[u8], types: &mut TypeTable| {
        let directory = crate::common::directory();
        let path = directory.path().join("kernel");
        std::fs::write(&path, bytes).unwrap();
        CtfTypes::default().load(&Table::open(&path).unwrap(), types)
    };
    let image = kernel.image();
    let magic = image.windows(4).position(|bytes| bytes == [0xf1, 0xcf, 3, 1]).unwrap();
    for at in [2, 28, 40] {
        let mut spoilt = image.clone();
        spoilt[magic + at] = 0xff;
        assert!(matches!(load(&spoilt, &mut types), Err(Error::Ctf { .. })), "{at}");
        assert!(types.is_empty() && types.sources().is_empty());
    }
    kernel.has_types = false;
    assert!(!load(&kernel.image(), &mut types).unwrap());
    assert!(load(&image, &mut types).unwrap());
    let union = types.lookup(Some(Tag::Union), "u");
    assert_eq!(types.name_of(union[0]), "union u");
}

#[test]
fn more_types_than_any_kernel_has_are_refused() {
    let mut kernel = TypedKernel::new(Arch::Amd64);
    let Basic { int, .. } = kernel.basic;
    let name = "x".repeat(1000);
    let members: Vec<ctf::Member<'_>> = (0..70_000).map(|_| (&*name, int, 0)).collect();
    kernel.types.structure("s", 4, &members);
    kernel.types.integer("after", 1, CHAR);
    let files = kernel.write();
    let mut types = TypeTable::new(8);
    let result = CtfTypes::default().load(&Table::open(&files.kernel).unwrap(), &mut types);
    assert!(matches!(result, Err(Error::TooManyTypes(_))) && types.is_empty());
}
