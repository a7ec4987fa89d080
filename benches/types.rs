//! How long it takes to open the types of a kernel, of as many as GENERIC of FreeBSD 15 has. `tools/bench` runs it.

#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "a benchmark that fails is seen to fail; it shares what tests build files with"
)]

#[path = "measure/pairs.rs"]
mod pairs;
#[path = "measure/processor.rs"]
mod processor;

use clap::Parser;
use pairs::Pairs;
use processor::time;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use vmcore::symbols::Table;
use vmcore::types::ctf::CtfTypes;
use vmcore::types::{TypeSource, TypeTable};
use vmcore_synth::Endianness;
use vmcore_synth::ctf::{Builder, CtfSpec, SIGNED};
use vmcore_synth::image::{
    AMD64, ET_EXEC, FUNC, GLOBAL, Image, OBJECT, SHF_WRITE, SHT_PROGBITS, Section, section, symbol,
};

/// As many as a kernel has.
const STRUCTURES: usize = 4400;
const MEMBERS: usize = 7;
const POINTERS: usize = 4200;
const OTHERS: usize = 5000;
const OBJECTS: u64 = 13_600;
const FUNCTIONS: u64 = 15_300;
/// Seconds of a processor that it may take.
const TARGET: f64 = 0.1;

/// Measure how long it takes to open the types of a kernel
///
/// Exits with 1 if it takes longer than it shall.
#[derive(Parser)]
#[command(bin_name = "tools/bench", max_term_width = 80)]
struct Arguments {
    #[command(flatten)]
    pairs: Pairs,
}

fn builder() -> Builder {
    let mut types = Builder::new(CtfSpec::new(Endianness::Little, 8));
    let int = types.integer("int", 4, SIGNED);
    let mut last = int;
    let mut pointers = Vec::new();
    for index in 0..STRUCTURES {
        let names: Vec<String> = (0..MEMBERS).map(|member| format!("s{index}_member{member}")).collect();
        let members: Vec<_> = names.iter().enumerate().map(|(at, name)| (&**name, last, 64 * at as u64)).collect();
        let structure = types.structure(&format!("structure_{index}"), 8 * MEMBERS as u64, &members);
        if index < POINTERS {
            last = types.pointer(structure);
            pointers.push(last);
        }
    }
    for index in 0..OTHERS {
        types.typedef(&format!("type_{index}_t"), pointers[index % pointers.len()]);
    }
    (0..OBJECTS).for_each(|index| types.object(Some(pointers[index as usize % pointers.len()])));
    for index in 0..FUNCTIONS {
        types.function_symbol(Some((int, &[pointers[index as usize % pointers.len()], int], false)));
    }
    types
}

fn image() -> Vec<u8> {
    let bytes = builder().build();
    let sections = vec![
        section(".data", SHF_WRITE, 0x10_0000, vec![0; 8 * (OBJECTS + FUNCTIONS) as usize]),
        Section { name: ".SUNW_ctf", kind: SHT_PROGBITS, flags: 0, address: 0, align: 4, bytes, size: 0 },
    ];
    let kind = |index| if index < OBJECTS { OBJECT } else { FUNC };
    let place = |index| symbol(&format!("symbol_{index}"), (GLOBAL, kind(index)), 1, 0x10_0000 + 8 * index, 8);
    Image::new(AMD64, ET_EXEC, sections, (0..OBJECTS + FUNCTIONS).map(place).collect()).build()
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.pairs.bench {
        println!("nothing is measured: tools/bench does that, or cargo bench --bench types");
        return ExitCode::SUCCESS;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("kernel");
    fs::write(&path, image()).unwrap();
    let open = || drop(Table::open(&path).unwrap());
    let table = Table::open(&path).unwrap();
    let read = || {
        let mut types = TypeTable::new(8);
        assert!(CtfTypes::default().load(&table, &mut types).unwrap());
        assert!(types.len() > STRUCTURES + POINTERS + OTHERS && types.variables().len() as u64 == OBJECTS + FUNCTIONS);
    };
    read();
    let (types, symbols) = pairs::median(arguments.pairs.rounds, |_| (time(read), time(open)));
    println!(
        "types: {:.1} ms of a processor, shall be {:.0}; symbols: {:.1} ms",
        types * 1e3,
        TARGET * 1e3,
        symbols * 1e3
    );
    fs::remove_file(&path).unwrap();
    if types <= TARGET { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
