//! `memtool print` of variables of which the compiler has kept a byte that tells which of two values they have: with and without
//! the debug information that tells what these are.

use crate::common::dwarf::{self, CONSTS, CONSTU, DebugVariable, LIT0, MUL, NOT, PLUS, PLUS_UCONST};
use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use crate::common::{memtool, text};
use crate::print::{print, run};
use serde_json::{Value, json};
use std::fs;
use vmcore_synth::Arch;

/// Architectures of both orders of bytes and both sizes of pointers.
const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];

/// A variable: name, type in the debug information, the byte that there is, what computes its value, and that as it is printed.
type Kept = (&'static str, (&'static str, u8, u8), u8, &'static [u8], &'static str);

const BOOL: (&str, u8, u8) = ("_Bool", dwarf::BOOLEAN, 1);
const CHAR: (&str, u8, u8) = ("unsigned char", dwarf::UNSIGNED_CHAR, 1);
const INT: (&str, u8, u8) = ("int", dwarf::SIGNED, 4);
const WIDE: (&str, u8, u8) = ("unsigned long long", dwarf::UNSIGNED, 8);

const KEPT: [Kept; 9] = [
    ("opposite", BOOL, 1, &[LIT0, NOT, MUL, LIT0 + 1, PLUS], "false"),
    ("initial", BOOL, 0, &[LIT0, NOT, MUL, LIT0 + 1, PLUS], "true"),
    ("same", BOOL, 1, &[LIT0 + 1, MUL, LIT0, PLUS], "true"),
    ("plain", BOOL, 1, &[], "true"),
    ("doubled", CHAR, 1, &[LIT0 + 2, MUL, LIT0, PLUS], "2"),
    ("mask", WIDE, 1, &[CONSTU, 0x80, 2, MUL, LIT0, PLUS], "256"),
    ("shift", INT, 1, &[LIT0 + 9, MUL, LIT0, PLUS], "9"),
    ("negative", INT, 1, &[CONSTS, 0x7b, MUL, PLUS_UCONST, 2], "-3"),
    ("unset", INT, 0, &[CONSTS, 0x7b, MUL, PLUS_UCONST, 2], "2"),
];

/// A kernel with these variables, and what the debug information says of them.
fn kernel(arch: Arch) -> (TypedKernel, Vec<DebugVariable<'static>>) {
    let mut kernel = TypedKernel::new(arch);
    kernel.function("start", None);
    let Basic { boolean, unsigned_char, int, unsigned_long_long, .. } = kernel.basic;
    let add = |(name, of, byte, computed, _): Kept| {
        let types = [(BOOL, boolean), (CHAR, unsigned_char), (INT, int), (WIDE, unsigned_long_long)];
        let (_, type_id) = types.into_iter().find(|(told, _)| *told == of).unwrap();
        let address = kernel.narrowed_variable(name, type_id, 1);
        kernel.write_bytes(address, &[byte]);
        DebugVariable { name, of, address, computed }
    };
    let told = KEPT.map(add).into();
    (kernel, told)
}

/// A dump of it, with its debug file.
fn with_debug_file(arch: Arch) -> TypedDump {
    let (kernel, told) = kernel(arch);
    let dump = kernel.write();
    let debug = kernel.image_with(dwarf::sections(arch, &told));
    fs::write(dump.directory.path().join("kernel.debug"), debug).unwrap();
    dump
}

#[track_caller]
fn wrong(dump: &TypedDump, expression: &str, why: &str) {
    let run = run(dump, &[expression]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{expression}: {run:?}");
    assert!(run.stderr.contains(why), "{expression}: {run:?}");
}

#[test]
fn without_debug_information_such_a_variable_has_an_address_and_no_value() {
    for arch in ARCHITECTURES {
        let dump = kernel(arch).0.write();
        for (name, (_, _, size), byte, ..) in KEPT {
            let kept = format!("has kept 1 of its {size} bytes");
            let why = if size == 1 { "may have kept the opposite" } else { &kept };
            for expression in [name.to_owned(), format!("{name} + 1"), format!("*&{name}"), format!("{name}@2")] {
                wrong(&dump, &expression, if expression.contains('@') { "compiler has kept one byte" } else { why });
            }
            wrong(&dump, name, &format!("a debug file tells{}", if size == 1 { "" } else { " what they are" }));
            wrong(&dump, name, &format!("the byte is *(unsigned char *)&{name}"));
            wrong(&dump, &format!("kernel`{name}"), &format!("*(unsigned char *)&kernel`{name}"));
            assert_eq!(print(&dump, &[&format!("*(unsigned char *)&{name}")]), format!("{byte}\n"), "{arch:?}");
            assert_eq!(print(&dump, &[&format!("sizeof({name})")]), format!("{size}\n"));
        }
    }
}

#[test]
fn an_enumeration_can_be_such_a_variable() {
    let mut kernel = TypedKernel::new(Arch::Amd64);
    let state = kernel.types.enumeration("state", 4, &[("NEW", 0), ("OLD", 7)]);
    kernel.narrowed_variable("state", state, 1);
    wrong(&kernel.write(), "state", "has kept 1 of its 4 bytes");
}

/// It is those alone that no other file knows, that begin as 0, and that are not volatile.
#[test]
fn other_variables_of_one_byte_have_values() {
    for arch in ARCHITECTURES {
        let mut kernel = TypedKernel::new(arch);
        let Basic { boolean, unsigned_char, int, .. } = kernel.basic;
        let volatile = kernel.types.qualified_volatile(boolean);
        let volatile = kernel.types.typedef("flag_t", volatile);
        let array = kernel.types.array(unsigned_char, 1);
        kernel.variable("global", boolean);
        kernel.static_variable("counter", int);
        kernel.static_variable("array", array);
        kernel.per_vnet_variable("per_vnet", boolean);
        // The image has what memory has, 1.
        let initialized = kernel.static_variable("initialized", boolean);
        kernel.write_bytes(initialized, &[1]);
        let changing = kernel.narrowed_variable("changing", volatile, 1);
        kernel.write_bytes(changing, &[1]);
        kernel.static_variable("zero", unsigned_char);
        let dump = kernel.write();
        let expected = [("global", "false"), ("counter", "0"), ("initialized", "true"), ("changing", "true")];
        for (name, value) in expected {
            assert_eq!(print(&dump, &[name]), format!("{value}\n"), "{arch:?}: {name}");
        }
        assert_eq!(print(&dump, &["sizeof(vnet_entry_per_vnet) + array[0]"]), "1\n");
        // Where the image has a 0, as it has in `.data.read_mostly`, it is as in `.bss`.
        wrong(&dump, "zero", "may have kept the opposite");
    }
}

#[test]
fn debug_information_tells_the_value() {
    for arch in ARCHITECTURES {
        let dump = with_debug_file(arch);
        for (name, (_, _, size), byte, _, value) in KEPT {
            for expression in [name.to_owned(), format!("*&{name}"), format!("kernel`{name}")] {
                assert_eq!(print(&dump, &[&expression]), format!("{value}\n"), "{arch:?}: {expression}");
            }
            assert_eq!(print(&dump, &[&format!("sizeof({name})")]), format!("{size}\n"));
            assert_eq!(print(&dump, &[&format!("*(unsigned char *)&{name}")]), format!("{byte}\n"));
        }
        for DebugVariable { name, address, .. } in kernel(arch).1 {
            assert!(print(&dump, &[&format!("&{name}")]).starts_with(&format!("{address:#x}")), "{arch:?}: {name}");
        }
        for (expression, value) in [
            ("mask | shift", "265"),
            ("opposite ? 1 : negative * 2", "-6"),
            ("!opposite && initial", "1"),
            ("(char)doubled + unset", "4"),
            ("&mask + 1 == &mask", "0"),
        ] {
            assert_eq!(print(&dump, &[expression]), format!("{value}\n"), "{arch:?}: {expression}");
        }
    }
}

#[test]
fn what_is_behind_the_byte_is_no_part_of_the_variable() {
    let dump = with_debug_file(Arch::Amd64);
    for expression in ["mask@2", "(&mask)[0]", "*(&mask + 1)", "(&mask + 1)[-1]", "*(1 + &opposite)"] {
        wrong(&dump, expression, "the compiler has kept one byte of it");
    }
    wrong(&dump, "mask.x", "it has no members");
    let list = run(&dump, &["mask", "--list", "next"]).exits(1);
    assert!(list.stderr.contains("neither the head of a list nor an element"), "{list:?}");
}

#[test]
fn a_byte_that_no_compiler_stores_is_an_error() {
    let (mut kernel, told) = kernel(Arch::Amd64);
    for variable in &told {
        kernel.write_bytes(variable.address, &[7]);
    }
    let dump = kernel.write();
    let debug = kernel.image_with(dwarf::sections(Arch::Amd64, &told));
    fs::write(dump.directory.path().join("kernel.debug"), debug).unwrap();
    for name in ["opposite", "mask", "shift + 1"] {
        wrong(&dump, name, "its byte is 7, where the compiler keeps 0 or 1");
    }
}

#[test]
fn each_element_of_a_list_has_the_value() {
    let (mut kernel, told) = kernel(Arch::Amd64);
    let int = kernel.basic.int;
    let element = kernel.types.reserve();
    let link = kernel.types.pointer(element);
    kernel.types.at(element).record("element", &[("next", link), ("number", int)]);
    kernel.variable("first", link);
    let at = kernel.allocate(element);
    kernel.set(at, element, "number", 5);
    kernel.set_variable("first", "", at);
    let dump = kernel.write();
    let list = ["first", "--list", "next", "--each", ".number * shift", "--each", "opposite"];
    let refused = run(&dump, &list).exits(1);
    assert!(refused.stdout.contains("<the compiler may have kept the opposite"), "{refused:?}");
    let debug = kernel.image_with(dwarf::sections(Arch::Amd64, &told));
    fs::write(dump.directory.path().join("kernel.debug"), debug).unwrap();
    assert_eq!(print(&dump, &list), format!("{at:#x}\t45\tfalse\n"));
}

#[test]
fn a_value_in_json_has_its_type_and_no_address() {
    let dump = with_debug_file(Arch::Amd64);
    let value = |name: &str| run(&dump, &["--json", name]).ok().json()["results"][0]["contents"].clone();
    let contents = json!({ "kind": "integer", "number": 256 });
    assert_eq!(value("mask"), json!({ "type": "unsigned long long", "address": null, "contents": contents }));
    assert_eq!(value("opposite")["contents"], json!({ "kind": "boolean", "truth": false }));
    assert_ne!(value("plain")["address"], Value::Null);
}

#[test]
fn a_kernel_with_debug_information_alone_has_the_values() {
    for arch in ARCHITECTURES {
        let (kernel, told) = kernel(arch);
        let dump = kernel.write();
        fs::write(&dump.kernel, kernel.image_with(dwarf::sections(arch, &told))).unwrap();
        for (name, .., value) in KEPT {
            assert_eq!(print(&dump, &[name]), format!("{value}\n"), "{arch:?}: {name}");
        }
    }
}

#[test]
fn another_kernels_debug_information_is_not_believed() {
    let (kernel, told) = kernel(Arch::Amd64);
    let dump = kernel.write();
    let mut other = TypedKernel::new(Arch::Amd64);
    // Where both have a build ID, that decides.
    other.build_id = None;
    other.function("begin", None);
    let debug = other.image_with(dwarf::sections(Arch::Amd64, &told));
    let path = dump.directory.path().join("kernel.debug");
    for (debug, why) in [(&debug[..], "its symbols are not those of"), (&debug[..100], "it is truncated")] {
        fs::write(&path, debug).unwrap();
        wrong(&dump, "opposite", why);
        wrong(&dump, "opposite", "may have kept the opposite");
        // It is looked for where it is needed alone.
        assert_eq!(run(&dump, &["version@1"]).ok().stderr, "");
    }
}

/// volatility3 reads what is in memory.
#[test]
fn symbols_for_volatility3_have_no_type_that_memory_need_not_have() {
    let (mut kernel, told) = kernel(Arch::Amd64);
    let boolean = kernel.basic.boolean;
    kernel.variable("global", boolean);
    let dump = kernel.write();
    let types = || {
        let run = memtool(&["symbols", "--isf", "--kernel", text(&dump.kernel)]).ok();
        let table: Value = serde_json::from_str(&run.stdout).unwrap();
        let of = |name: &str| table["symbols"][name]["type"]["name"].as_str().unwrap().to_owned();
        KEPT.map(|(name, ..)| of(name)).into_iter().chain([of("global")]).collect::<Vec<_>>()
    };
    let void = ["void"; 9];
    assert_eq!(types(), [&void[..], &["_Bool"]].concat());
    let global = DebugVariable { name: "global", of: BOOL, address: kernel.variable_of("global").0, computed: &[] };
    let told: Vec<_> = told.into_iter().chain([global]).collect();
    fs::write(&dump.kernel, kernel.image_with(dwarf::sections(Arch::Amd64, &told))).unwrap();
    let known = ["void", "void", "_Bool", "_Bool", "void", "void", "void", "void", "void", "_Bool"];
    assert_eq!(types(), known);
}
