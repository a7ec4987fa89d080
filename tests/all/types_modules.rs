//! Types of the functions and variables of modules, whose symbols the build can move after their CTF was made.
//!
//! Source of the orders: `sys/conf/kmod.mk`, elf(5), and the files of real modules.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedKernel};
use crate::common::{Run, directory, memtool, text};
use serde_json::json;
use vmcore::symbols::Table;
use vmcore::types::ctf::CtfTypes;
use vmcore::types::{SymbolClass, TypeSource, TypeTable, UntypedReason, UntypedSymbols};
use vmcore_synth::Endianness;
use vmcore_synth::ctf::{Builder, CtfSpec, SIGNED};
use vmcore_synth::image::{
    AMD64, ET_DYN, ET_EXEC, ET_REL, FUNC, GLOBAL, Image, LOCAL, OBJECT, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS,
    Section, Symbol, section, symbol, write,
};

const ORDER: &str = "CTF tells types by the order of symbols, which the build of modules can change afterwards";
/// An entry of a linker set, which is always local.
const ENTRY: &str = "__set_sysinit_set_sym_module_init";

/// A symbol of a module: its name, and its binding and kind.
type Named = (&'static str, (u8, u8));

/// A module with CTF that was made for two functions, `int ()` and `int (int, int)`, and for so many variables, `int`; and
/// with these symbols.
fn module(kind: u16, variables: usize, symbols: &[Named], more: Option<Section>) -> Image {
    let mut types = Builder::new(CtfSpec::new(Endianness::Little, 8));
    let int = types.integer("int", 4, SIGNED);
    types.record("softc", &[("sc_unit", int)]);
    types.function_symbol(Some((int, &[], false)));
    types.function_symbol(Some((int, &[int, int], false)));
    (0..variables).for_each(|_| types.object(Some(int)));
    let place = |(index, (name, of)): (u64, &Named)| -> Symbol {
        symbol(name, *of, if of.1 == FUNC { 1 } else { 2 }, 16 * index, if of.1 == FUNC { 16 } else { 4 })
    };
    let symbols = (0..).zip(symbols).map(place).collect();
    let (address, kept) = if kind == ET_REL { (0, 0) } else { (0x1000, 0x2000) };
    let mut sections = vec![
        section(".text", SHF_EXECINSTR, address, vec![0; 256]),
        section(".data", SHF_WRITE, kept, vec![0; 256]),
        Section {
            name: ".SUNW_ctf",
            kind: SHT_PROGBITS,
            flags: 0,
            address: 0,
            align: 4,
            bytes: types.build(),
            size: 0,
        },
    ];
    sections.extend(more);
    Image::new(AMD64, kind, sections, symbols)
}

/// The names that have types, with how many parameters of functions, and what has none and why.
fn typed(image: &Image) -> (Vec<String>, Vec<(SymbolClass, UntypedReason)>) {
    let directory = directory();
    let table = Table::open(&write(directory.path(), "module.ko", image)).unwrap();
    let mut types = TypeTable::new(8);
    assert!(CtfTypes::default().load(&table, &mut types).unwrap());
    assert!(types.structure("softc").is_some());
    let declared = types.variables().iter().map(|found| types.declare(found.type_id, &found.name)).collect();
    let reasons = types.untyped().iter().map(|UntypedSymbols { what, reason, .. }| (*what, *reason)).collect();
    (declared, reasons)
}

/// What was made for `first` and `second` in this order is told of them.
#[track_caller]
fn assert_typed(image: &Image) {
    let (declared, reasons) = typed(image);
    assert!(reasons.is_empty(), "{reasons:?}");
    assert_eq!(
        declared.iter().filter(|text| text.contains('(')).collect::<Vec<_>>(),
        ["int first(void)", "int second(int, int)"]
    );
}

#[track_caller]
fn assert_untyped(image: &Image, expected: SymbolClass) {
    let (declared, reasons) = typed(image);
    assert_eq!(reasons, [(expected, UntypedReason::Reordered)], "{declared:?}");
    assert!(declared.iter().all(|text| !expected.includes(text.contains('('))), "{declared:?}");
}

#[test]
fn functions_of_a_module_have_types_where_none_can_have_moved() {
    let (local, global, variable) = ((LOCAL, FUNC), (GLOBAL, FUNC), (LOCAL, OBJECT));
    for kind in [ET_REL, ET_DYN] {
        assert_typed(&module(kind, 0, &[("first", local), ("second", local)], None));
        assert_typed(&module(kind, 0, &[("first", global), ("second", global)], None));
        // The last local symbol was never global: nor were those before it.
        for last in [ENTRY, "second.once", ".L.str.1"] {
            let symbols = [("first", local), (last, variable), ("second", global)];
            assert_typed(&module(kind, 1, &symbols, None));
        }
    }
    // A kernel is linked before its CTF is made.
    let symbols = [("first", local), ("second", global)];
    assert_typed(&module(ET_EXEC, 0, &symbols, None));
    let interpreter = section(".interp", 0, 0x3000, b"/red/herring\0".to_vec());
    assert_typed(&module(ET_DYN, 0, &symbols, Some(interpreter)));
}

#[test]
fn functions_of_a_module_have_no_types_where_some_can_have_moved() {
    let (local, global, variable) = ((LOCAL, FUNC), (GLOBAL, FUNC), (LOCAL, OBJECT));
    for kind in [ET_REL, ET_DYN] {
        // They were `second`, which is exported, and `first`.
        assert_untyped(&module(kind, 0, &[("first", local), ("second", global)], None), SymbolClass::Functions);
        let symbols = [(ENTRY, variable), ("first", local), ("second", global)];
        assert_untyped(&module(kind, 1, &symbols, None), SymbolClass::Functions);
        for name in ["__set_x", ".first", "module_init"] {
            let symbols = [("first", local), (name, variable), ("second", global)];
            assert_untyped(&module(kind, 1, &symbols, None), SymbolClass::Functions);
        }
        let symbols = [("first", local), ("a", variable), ("second", global), ("b", (GLOBAL, OBJECT))];
        assert_untyped(&module(kind, 2, &symbols, None), SymbolClass::Both);
    }
    // GNU's linker keeps another order, and adds a variable.
    let symbols = [("first", local), ("second", local), ("_DYNAMIC", variable)];
    assert_untyped(&module(ET_DYN, 1, &symbols, None), SymbolClass::Both);
}

#[test]
fn a_module_that_lacks_variables_tells_no_types_of_them() {
    let symbols = [("first", (LOCAL, FUNC)), ("second", (LOCAL, FUNC)), ("a", (LOCAL, OBJECT))];
    let counts = UntypedReason::Counts { what: SymbolClass::Variables, expected: 2, found: 1 };
    // A linker leaves out some of the variables, and no functions.
    let (declared, reasons) = typed(&module(ET_DYN, 2, &symbols, None));
    assert_eq!((declared.len(), reasons), (2, vec![(SymbolClass::Variables, counts)]));
    for kind in [ET_REL, ET_EXEC] {
        let (declared, reasons) = typed(&module(kind, 2, &symbols, None));
        assert_eq!((declared.len(), reasons), (0, vec![(SymbolClass::Both, counts)]));
    }
}

#[test]
fn why_types_of_symbols_are_not_known_is_said_by_name_and_once_of_the_file() {
    let directory = directory();
    let symbols = [("first", (LOCAL, FUNC)), ("second", (GLOBAL, FUNC)), ("a", (LOCAL, OBJECT))];
    let path = write(directory.path(), "module.ko", &module(ET_REL, 1, &symbols, None));
    let ask = |arguments: &[&str]| -> Run { memtool(&[&["types", "--kernel", text(&path)], arguments].concat()) };
    let run = ask(&["first", "second", "softc", "a"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("sc_unit") && run.stdout.contains("int a;"), "{run:?}");
    let warning = format!("{}: the types of functions are not known: {ORDER}", path.display());
    let missing = ["first", "second"].map(|name| format!("the type of '{name}' is not known: {ORDER}"));
    assert_eq!(run.stderr.matches(&warning).count(), 1, "{run:?}");
    assert!(missing.iter().all(|line| run.stderr.contains(line)), "{run:?}");
    let run = ask(&["--json", "first", "second", "softc"]);
    let document = run.json();
    assert_eq!((&document["missing"], &document["warnings"]), (&json!(missing), &json!([warning])));
    let run = ask(&["struct first"]);
    assert!(run.stderr.contains("no type is named 'struct first'"), "{run:?}");
}

#[test]
fn an_expression_says_why_the_type_of_a_variable_is_not_known() {
    let mut kernel = TypedKernel::new(vmcore_synth::Arch::Amd64);
    let Basic { int, .. } = kernel.basic;
    kernel.variable("v", int);
    kernel.types.object(Some(int));
    let files = kernel.write();
    let why = "its type is not known: the CTF was made for 3 variables, and the file has 2";
    for expression in ["v", "v + 1", "v.member", "sizeof(v)"] {
        let run = files.run(&["print", expression]);
        assert!(run.code == 1 && run.stderr.contains(why), "{run:?}");
    }
    files.run(&["print", "*(int *)&v"]).ok();
}
