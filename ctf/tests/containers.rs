//! Containers of both versions and both orders of bytes, whole, cut, spoilt and hostile.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that fails"
)]

use ctf::{Container, Error, Kind, Reference, SymbolFacts, SymbolKind, Typed};
use vmcore_synth::ctf::{BOOL, Builder, CHAR, CtfSpec, DOUBLE, HEADER, HEADER_SIZE, LONG_DOUBLE, SIGNED, Type, kinds};
use vmcore_synth::{Endianness, set};

/// Every way to write a container.
fn specs() -> Vec<CtfSpec> {
    let mut specs = Vec::new();
    for order in [Endianness::Little, Endianness::Big] {
        for (version, compressed) in [(2, false), (2, true), (3, false), (3, true)] {
            specs.push(CtfSpec { version, compressed, ..CtfSpec::new(order, 8) });
        }
    }
    specs
}

/// A container with a type of every kind.
fn example(spec: CtfSpec) -> Builder {
    let large = if spec.version == 2 { 9000 } else { 1 << 30 };
    let mut types = Builder::new(spec);
    let void = types.void();
    let int = types.integer("int", 4, SIGNED);
    let character = types.integer("char", 1, SIGNED | CHAR);
    types.integer("_Bool", 1, SIGNED | BOOL);
    types.float("double", 8, DOUBLE);
    types.float("long double", 16, LONG_DOUBLE);
    let process = types.reserve();
    let pointer = types.pointer(process);
    let name = types.array(character, 20);
    let bits = types.bit_field("unsigned int bitfield", 4, 0, 3);
    types.at(process).structure("proc", 40, &[("p_next", pointer, 0), ("p_comm", name, 64), ("p_flag", bits, 227)]);
    types.union("value", 4, &[("", int, 0), ("c", character, 0)]);
    types.structure("large", large, &[("first", int, 0), ("last", int, 8 * large - 32)]);
    // Beyond a size that fits.
    types.structure("huge", 1 << 33, &[("last", int, (1 << 36) - 32)]);
    types.enumeration("state", 4, &[("NONE", 0), ("BAD", -1), ("TOP", i32::MIN)]);
    types.forward("witness");
    types.forward_of("u", kinds::UNION);
    types.is_root = false;
    let typedef = types.typedef("proc_t", process);
    types.qualified_const(typedef);
    types.qualified_volatile(int);
    types.qualified_restrict(pointer);
    for parameters in [&[][..], &[int], &[int, pointer], &[int, pointer, name]] {
        types.function((void, parameters, false));
        types.function((int, parameters, true));
    }
    types.is_root = true;
    types.integer("after", 2, 0);
    for of in [Some(int), None, Some(process)] {
        types.object(of);
    }
    types.function_symbol(Some((int, &[int, pointer], false)));
    types.function_symbol(None);
    types.function_symbol(Some((void, &[pointer], true)));
    types
}

/// What a test compares of a container: one line for each type.
fn lines(container: &Container) -> Result<Vec<String>, Error> {
    let line = |found: Result<ctf::Type<'_>, Error>| {
        let found = found?;
        let rest = match found.kind {
            Kind::Structure(aggregate) | Kind::Union(aggregate) => {
                let members = aggregate.members.map(|member| {
                    member.map(|member| format!("{} {:?} {}", member.name, member.of, member.bit_offset))
                });
                let members: Vec<String> = members.collect::<Result<_, _>>()?;
                let is_union = matches!(found.kind, Kind::Union(_));
                format!("{} {} {members:?}", if is_union { "union" } else { "struct" }, aggregate.size)
            }
            Kind::Enumeration(enumeration) => {
                let values: Vec<String> = enumeration
                    .enumerators
                    .map(|value| value.map(|value| format!("{}={}", value.name, value.value)))
                    .collect::<Result<_, _>>()?;
                format!("enum {} {values:?}", enumeration.size)
            }
            Kind::Function(function) => {
                format!("{:?} ({:?})", function.returns, function.parameters.collect::<Vec<_>>())
            }
            Kind::Integer(integer) => format!("{} bytes, {} bits, {}", integer.size, integer.bits, integer.is_signed),
            kind => format!("{kind:?}"),
        };
        Ok(format!("{} {} {} {rest}", found.number, found.name, found.is_root))
    };
    container.types().map(line).collect()
}

fn header(section: &mut [u8], order: Endianness, name: &str, value: u64) {
    set(section, HEADER, order, name, value);
}

#[test]
fn every_kind_of_type_is_read_in_both_versions_and_orders() {
    for spec in specs() {
        let context = format!("{spec:?}");
        let (version, order) = (spec.version, spec.order);
        let container = Container::read(&example(spec).build()).unwrap();
        assert_eq!((container.version(), container.is_child()), (version, false), "{context}");
        assert_eq!(container.order() == ctf::Endianness::Big, order == Endianness::Big);
        let found = lines(&container).unwrap();
        let expected =
            |number: usize, line: &str| assert_eq!(found[number - 1], format!("{number} {line}"), "{context}");
        expected(1, "void true 0 bytes, 0 bits, true");
        expected(2, "int true 4 bytes, 32 bits, true");
        expected(5, "double true Float(Float { size: 8, bits: 64, encoding: 2 })");
        let members = r#"["p_next Own(8) 0", "p_comm Own(9) 64", "p_flag Own(10) 227"]"#;
        expected(7, &format!("proc true struct 40 {members}"));
        expected(8, " true Pointer(Own(7))");
        expected(9, " true Array { element: Own(3), index: Untyped, count: 20 }");
        expected(10, "unsigned int bitfield true 4 bytes, 3 bits, false");
        expected(11, r#"value true union 4 [" Own(2) 0", "c Own(3) 0"]"#);
        let large: u64 = if version == 2 { 9000 } else { 1 << 30 };
        let last = 8 * large - 32;
        expected(12, &format!(r#"large true struct {large} ["first Own(2) 0", "last Own(2) {last}"]"#));
        expected(13, r#"huge true struct 8589934592 ["last Own(2) 68719476704"]"#);
        expected(14, r#"state true enum 4 ["NONE=0", "BAD=-1", "TOP=-2147483648"]"#);
        expected(15, "witness true Forward(0)");
        expected(16, "u true Forward(7)");
        expected(17, "proc_t false Typedef(Own(7))");
        expected(18, " false Const(Own(17))");
        expected(19, " false Volatile(Own(2))");
        expected(20, " false Restrict(Own(8))");
        expected(21, " false Own(1) ([])");
        expected(22, " false Own(2) ([Untyped])");
        expected(27, " false Own(1) ([Own(2), Own(8), Own(9)])");
        expected(28, " false Own(2) ([Own(2), Own(8), Own(9), Untyped])");
        expected(29, "after true 2 bytes, 16 bits, false");
        assert_eq!(found.len(), 29);
        let labels: Vec<_> = container.labels().map(Result::unwrap).collect();
        assert_eq!(labels.len(), 1);
        assert_eq!((labels[0].name, labels[0].last_type), ("FreeBSD 15.1-RELEASE", 29));
    }
}

/// A symbol of a kind, with a value.
fn symbol(name: &str, kind: SymbolKind) -> SymbolFacts<'_> {
    SymbolFacts { name: name.as_bytes(), kind, is_undefined: false, is_absolute: false, value: 8 }
}

fn described(found: Option<Typed<'_>>) -> String {
    match found {
        None => "none".to_owned(),
        Some(Typed::Object(of)) => format!("{of:?}"),
        Some(Typed::Function(function)) => {
            format!("{:?} ({:?})", function.returns, function.parameters.collect::<Vec<_>>())
        }
    }
}

#[test]
fn symbols_have_types_in_the_order_of_the_table_without_those_that_have_no_entry() {
    use SymbolKind::{Function, Object, Other};
    for spec in specs() {
        let container = Container::read(&example(spec).build()).unwrap();
        let mut symbols = container.symbols();
        let undefined = SymbolFacts { is_undefined: true, ..symbol("x", Object) };
        let absolute = |value| SymbolFacts { is_absolute: true, value, ..symbol("x", Object) };
        let table = [
            (symbol("kern_proc.c", Other), "none"),
            (symbol("", Object), "none"),
            (symbol("a", Object), "Own(2)"),
            (symbol("_START_", Object), "none"),
            (symbol("f", Function), "Own(2) ([Own(2), Own(8)])"),
            (undefined, "none"),
            (SymbolFacts { is_undefined: true, ..symbol("x", Function) }, "none"),
            (absolute(0), "none"),
            // It has an entry, which says that its type is not known.
            (absolute(1), "none"),
            (symbol("_END_", Function), "none"),
            (symbol("untyped", Function), "none"),
            (symbol("a", Object), "Own(7)"),
            (symbol("printf", Function), "Own(1) ([Own(8), Untyped])"),
        ];
        for (facts, expected) in table {
            assert_eq!(described(symbols.next_symbol(facts).unwrap()), expected, "{facts:?}");
        }
        symbols.clone().finish().unwrap();
        // One more, or one fewer, is another table's.
        let mut more = symbols.clone();
        assert!(more.next_symbol(symbol("b", Object)).unwrap().is_none());
        assert!(matches!(more.finish(), Err(Error::Symbols { what: "variables", expected: 3, found: 4 })));
        let mut more = symbols.clone();
        assert!(more.next_symbol(symbol("g", Function)).unwrap().is_none());
        assert!(matches!(more.finish(), Err(Error::Symbols { what: "functions", expected: 3, found: 4 })));
        let mut fewer = container.symbols();
        for name in ["a", "b", "c"] {
            fewer.next_symbol(symbol(name, Object)).unwrap();
        }
        assert!(matches!(fewer.finish(), Err(Error::Symbols { what: "functions", found: 0, .. })));
    }
}

#[test]
fn a_child_refers_to_its_parents_types_and_its_own() {
    for spec in specs() {
        let mut types = Builder::new(CtfSpec { parent: Some(("the label", "kernel")), ..spec });
        let own = types.integer("int", 4, SIGNED);
        types.pointer(own);
        types.pointer(Type::numbered(7).of_parent());
        let container = Container::read(&types.build()).unwrap();
        assert!(container.is_child());
        assert_eq!((container.parent_name().unwrap(), container.parent_label().unwrap()), ("kernel", "the label"));
        let kinds: Vec<_> = container.types().map(|found| found.unwrap().kind).collect();
        assert!(matches!(kinds[1], Kind::Pointer(Reference::Own(1))), "{kinds:?}");
        assert!(matches!(kinds[2], Kind::Pointer(Reference::Parent(7))), "{kinds:?}");
    }
}

#[test]
fn names_may_be_in_the_string_table_of_the_file() {
    for spec in specs() {
        let external_names = [("int".to_owned(), 5)].into();
        let mut types = Builder::new(CtfSpec { external_names, ..spec });
        types.integer("int", 4, SIGNED);
        let container = Container::read(&types.build()).unwrap();
        assert!(matches!(container.types().next().unwrap(), Err(Error::Name(_))));
        let container = container.with_external_strings(b"\0abc\0int\0".to_vec());
        assert_eq!(container.types().next().unwrap().unwrap().name, "int");
    }
}

#[test]
fn what_is_not_freebsds_ctf_is_told_apart() {
    for spec in specs() {
        let order = spec.order;
        let section = example(spec).build();
        let with = |name: &str, value: u64| {
            let mut section = section.clone();
            header(&mut section, order, name, value);
            Container::read(&section).map(|_| ()).unwrap_err()
        };
        assert!(matches!(with("cth_magic", 0xdff2), Error::Gnu));
        assert!(matches!(with("cth_magic", 0x7f45), Error::Magic(_)));
        assert!(matches!(with("cth_version", 1), Error::Version(1)));
        assert!(matches!(with("cth_version", 4), Error::Version(4)));
        for name in ["cth_lbloff", "cth_objtoff", "cth_funcoff", "cth_typeoff"] {
            assert!(matches!(with(name, 0xffff_fff0), Error::Layout), "{name}");
        }
        assert!(matches!(with("cth_stroff", 0xffff_fff0), Error::TooLarge(_)));
        assert!(matches!(with("cth_strlen", 0xffff_fff0), Error::TooLarge(_)));
        assert!(matches!(with("cth_strlen", 200 << 20), Error::Truncated { .. }));
    }
}

#[test]
fn containers_that_were_not_merged_are_refused_and_padding_is_not() {
    for spec in specs() {
        let section = example(spec).build();
        let padded = [&section[..], &[0; 7]].concat();
        assert_eq!(lines(&Container::read(&padded).unwrap()).unwrap().len(), 29);
        for between in [&[][..], &[0; 4]] {
            let two = [&section[..], between, &section].concat();
            assert!(matches!(Container::read(&two), Err(Error::Unmerged)));
        }
    }
}

#[test]
fn a_container_that_is_cut_anywhere_is_refused() {
    for spec in specs() {
        let section = example(spec.clone()).build();
        for length in 0..section.len() {
            let error = Container::read(&section[..length]).map(|_| ()).unwrap_err();
            let is_fit = match length {
                0..HEADER_SIZE => matches!(error, Error::NoHeader(_)),
                _ if spec.compressed => matches!(error, Error::Compression(_) | Error::Truncated { .. }),
                _ => matches!(error, Error::Truncated { .. }),
            };
            assert!(is_fit, "{length}: {error:?}");
        }
    }
}

#[test]
fn a_stream_with_more_than_the_header_says_is_refused() {
    for spec in specs().into_iter().filter(|spec| spec.compressed) {
        let order = spec.order;
        let mut section = example(spec).build();
        header(&mut section, order, "cth_strlen", 1);
        assert!(matches!(Container::read(&section), Err(Error::Layout)));
    }
}

/// Sets a container's bytes to others, one after another, and has all of it read.
#[test]
fn no_byte_makes_it_panic_and_an_error_ends_the_types() {
    for spec in specs().into_iter().filter(|spec| !spec.compressed) {
        let section = example(spec).build();
        for at in 4..section.len() {
            for value in [0, 0x7f, 0xff, section[at] ^ 1] {
                let mut section = section.clone();
                section[at] = value;
                let Ok(container) = Container::read(&section) else { continue };
                let mut types = container.types();
                if types.by_ref().any(|found| found.is_err()) {
                    assert!(types.next().is_none(), "{at}");
                }
                let _ = lines(&container);
                let _ = container.labels().count();
                let mut symbols = container.symbols();
                for kind in [SymbolKind::Object, SymbolKind::Function].repeat(5) {
                    let _ = symbols.next_symbol(symbol("x", kind)).map(described);
                }
                let _ = symbols.finish();
            }
        }
    }
}

#[test]
fn counts_and_names_that_are_not_there_are_errors_with_their_offsets() {
    let spec = CtfSpec { compressed: false, ..CtfSpec::new(Endianness::Little, 8) };
    let order = spec.order;
    let mut types = Builder::new(spec);
    let int = types.integer("int", 4, SIGNED);
    types.structure("s", 4, &[("m", int, 0)]);
    let section = types.build();
    // The label takes 8 bytes, the integer 16; the structure's head begins with its name.
    let start = HEADER_SIZE + 8 + 16;
    let with = |at: usize, value: u32| {
        let mut section = section.clone();
        section[start + at..start + at + 4].copy_from_slice(&order.bytes(value.into(), 4));
        lines(&Container::read(&section).unwrap()).unwrap_err()
    };
    assert!(matches!(with(0, 0x7fff_ffff), Error::Name(24)));
    assert!(matches!(with(0, 0xffff_ffff), Error::Name(24)), "there is no external string table");
    for count in [2, 0xff_ffff] {
        assert!(matches!(with(4, 6 << 26 | count), Error::Type(24)), "{count}");
    }
    assert!(matches!(with(4, 14 << 26), Error::Kind { offset: 24, kind: 14 }));
    assert!(matches!(with(4, 63 << 26), Error::Kind { kind: 63, .. }));
    // The name of a member.
    assert!(matches!(with(12, 0x1000), Error::Name(36)));
    // A large structure, whose size is cut off with what follows.
    assert!(matches!(with(8, 0xffff_ffff), Error::Type(24)));
}

#[test]
fn names_that_are_no_text_are_errors() {
    for (name, is_name) in [("int", true), ("größe", true), ("a\x1b[31m", false), ("a\nb", false)] {
        let mut types = Builder::new(CtfSpec::new(Endianness::Little, 8));
        types.integer(name, 4, SIGNED);
        let container = Container::read(&types.build()).unwrap();
        assert_eq!(container.types().next().unwrap().is_ok(), is_name, "{name:?}");
    }
    let long = "x".repeat(1024);
    let mut types = Builder::new(CtfSpec::new(Endianness::Little, 8));
    types.integer(&long[1..], 4, SIGNED);
    types.integer(&long, 4, SIGNED);
    let container = Container::read(&types.build()).unwrap();
    let found: Vec<bool> = container.types().map(|found| found.is_ok()).collect();
    assert_eq!(found, [true, false]);
}
