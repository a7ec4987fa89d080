//! Any bytes as the CTF of a kernel's file; and containers of the test builder, of both versions and both orders of bytes,
//! in which bytes are changed. Both are read entry by entry, and as a table of types, which is asked for all that it can be
//! asked for.

#![no_main]

use ctf::{Container, Kind, SymbolFacts, SymbolKind, Typed};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::path::Path;
use vmcore::symbols::Table;
use vmcore::types::ctf::CtfTypes;
use vmcore::types::{TypeSource, TypeTable};
use vmcore_synth::Endianness;
use vmcore_synth::ctf::{BOOL, Builder, CHAR, CtfSpec, HEADER_SIZE, SIGNED};

use vmcore_synth::image::{
    AMD64, ET_EXEC, FUNC, GLOBAL, Image, OBJECT, SHF_WRITE, SHT_PROGBITS, Section, section, symbol,
};

/// Changes of a container that is right.
const MAX_CHANGES: usize = 12;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    let section = match input.arbitrary::<u8>() {
        Ok(0) | Err(_) => input.take_rest().to_vec(),
        Ok(_) => changed(&mut input).unwrap_or_default(),
    };
    let count = read_entries(&section);
    read_table(&section, count);
});

/// A container with something of every kind, and with bytes changed.
fn changed(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let order = if input.arbitrary()? { Endianness::Big } else { Endianness::Little };
    let version = if input.arbitrary()? { 2 } else { 3 };
    let parent = if input.arbitrary()? { Some(("label", "kernel")) } else { None };
    let spec = CtfSpec { version, compressed: false, parent, ..CtfSpec::new(order, 8) };
    let mut section = example(spec).build();
    for _ in 0..input.int_in_range(0..=MAX_CHANGES)? {
        // What would make it no container at all is not worth while.
        let at = input.int_in_range(4..=section.len() - 1)?;
        section[at] = input.arbitrary()?;
    }
    let length = input.int_in_range(HEADER_SIZE..=section.len() + 8)?;
    if input.ratio(1, 8)? {
        section.resize(length, 0);
    }
    Ok(section)
}

fn example(spec: CtfSpec) -> Builder {
    let mut types = Builder::new(spec);
    let void = types.void();
    let int = types.integer("int", 4, SIGNED);
    let character = types.integer("char", 1, SIGNED | CHAR);
    let boolean = types.bit_field("_Bool bitfield", 1, SIGNED | BOOL, 1);
    let bits = types.bit_field("int bitfield", 4, SIGNED, 11);
    let process = types.reserve();
    let link = types.pointer(process);
    let name = types.array(character, 20);
    let state = types.enumeration("state", 4, &[("IDLE", 0), ("BUSY", -1)]);
    let inner = types.union("", 4, &[("one", int, 0), ("state", state, 0)]);
    let members = [
        ("next", link, 0),
        ("name", name, 64),
        ("state", state, 224),
        ("b", bits, 232),
        ("t", boolean, 243),
        ("", inner, 256),
    ];
    types.at(process).structure("proc", 48, &members);
    let large = types.structure("large", 1 << 33, &[("last", int, 1 << 35)]);
    let typedef = types.typedef("proc_t", process);
    let constant = types.qualified_const(typedef);
    let function = types.function((void, &[link, constant, large], true));
    let pointer = types.pointer(function);
    types.forward("witness");
    for of in [link, pointer, process] {
        types.object(Some(of));
        types.function_symbol(Some((int, &[link, int], false)));
    }
    types.function_symbol(None);
    types
}

/// Reads a container; tells how many types are in it, if all of it is right.
fn read_entries(section: &[u8]) -> Option<usize> {
    let container = Container::read(section).ok()?;
    let mut count = 0;
    let mut is_right = container.labels().all(|label| label.is_ok());
    for found in container.types() {
        let Ok(found) = found else { return None };
        count += 1;
        assert_eq!(found.number as usize, count);
        is_right &= match found.kind {
            Kind::Structure(aggregate) | Kind::Union(aggregate) => {
                aggregate.members.into_iter().all(|member| member.is_ok())
            }
            Kind::Enumeration(enumeration) => enumeration.enumerators.into_iter().all(|value| value.is_ok()),
            Kind::Function(function) => function.parameters.count() < 1 << 24,
            _ => true,
        };
    }
    let mut symbols = container.symbols();
    for kind in [SymbolKind::Object, SymbolKind::Function].repeat(8) {
        let facts = SymbolFacts { name: b"x", kind, is_undefined: false, is_absolute: false, value: 0 };
        match symbols.next_symbol(facts) {
            Ok(Some(Typed::Function(function))) => assert!(function.parameters.count() <= section.len().max(1 << 24)),
            Ok(_) => {}
            Err(_) => is_right = false,
        }
    }
    let _ = symbols.finish();
    is_right.then_some(count)
}

/// Reads a kernel's file with the container in it.
fn read_table(section: &[u8], count: Option<usize>) {
    let path = Path::new("kernel");
    let table = Table::from_opened(path, image(section), 0).expect("the image is right");
    let mut types = TypeTable::new(8);
    let loaded = CtfTypes::default().load(&table, &mut types);
    if loaded.is_err() {
        assert!(types.is_empty() && types.variables().is_empty());
        return;
    }
    // The types of functions are behind the others.
    assert!(count.is_none_or(|count| types.len() >= count));
    let mut before = None;
    for (id, found) in types.iter().take(300) {
        let _ = (types.size_of(id), types.name_of(id), types.declare(id, "x"), types.strip(id), types.target(id));
        let _ = (types.member(id, "one").is_some(), types.lookup(types.tag(id), &found.name));
        assert!(types.is_same_layout(id, id));
        if let Some(before) = before.replace(id) {
            assert_eq!(types.is_same_layout(before, id), types.is_same_layout(id, before));
        }
    }
    assert!(types.variables().iter().all(|variable| types.variables_at(variable.address).count() > 0));
}

/// A kernel's image with some variables and functions, in a file without a name.
fn image(ctf: &[u8]) -> File {
    let sections = vec![
        section(".data", SHF_WRITE, 0x1000, vec![0; 64]),
        Section { name: ".SUNW_ctf", kind: SHT_PROGBITS, flags: 0, address: 0, align: 4, bytes: ctf.to_vec(), size: 0 },
    ];
    let place = |index: u64, kind| symbol(&format!("s{index}"), (GLOBAL, kind), 1, 0x1000 + 8 * index, 8);
    let symbols = (0..7).map(|index| place(index, if index % 2 == 0 { OBJECT } else { FUNC })).collect();
    let path = std::env::temp_dir().join(format!("memtool-fuzz-ctf-{}", std::process::id()));
    std::fs::write(&path, Image::new(AMD64, ET_EXEC, sections, symbols).build()).expect("it can be written");
    let file = File::open(&path).expect("it is there");
    std::fs::remove_file(&path).expect("it is there");
    file
}
