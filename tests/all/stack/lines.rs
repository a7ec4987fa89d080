//! Source files, lines and inlined functions of stacks: code that a compiler has made, compared with addr2line(1), and
//! debug information that is elsewhere, another file's, or damaged.

use super::{AMD64, Files, Kernel, Run, course};
use crate::common::{compiler, directory, text};
use object::{Object, ObjectSection, ObjectSymbol};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use vmcore::debug_info::{DebugInfo, Search};
use vmcore::symbols::{KernelSymbols, SourceLookup, Table};
use vmcore_synth::Arch;
use vmcore_synth::image::{ET_EXEC, FUNC, GLOBAL, Image, SHF_EXECINSTR, Section, section, symbol, write};

/// Functions that are inlined in each other, in two sections of code.
const SOURCE: &str = "
static volatile int sink;

static inline __attribute__((always_inline)) int innermost(int x)
{
    sink += x;
    return sink * 3;
}

static inline __attribute__((always_inline)) int inner(int x)
{
    int y = innermost(x + 1);

    return y ^ innermost(y);
}

__attribute__((noinline)) int outer(int x)
{
    int total = 0;

    for (int i = 0; i < x; i++)
        total += inner(i);
    return total;
}

__attribute__((noinline, section(\".text.second\"))) int second(int x)
{
    return outer(x) + innermost(x);
}
";
/// Long enough for a line of its own.
pub(super) const NAME: &str = "functions_that_are_inlined_in_each_other.c";
/// The same code with debug information of DWARF 4: of range lists of DWARF 5, addr2line(1) of binutils 2.40 misses some.
const WITNESS: &str = "witness";
/// Bytes of a stack with a frame for each address.
const STACK: usize = 0x8000;
const CODE: u64 = 0x1000;
/// Sections with debug information, of DWARF 4 and 5.
const DEBUG: [&str; 11] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_aranges",
    ".debug_frame",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
];

/// Compiles the source; `None` where there is no compiler for it.
pub(super) fn compile(directory: &Path, dwarf: u32) -> Option<Vec<u8>> {
    fs::write(directory.join(NAME), SOURCE).unwrap();
    let mut compiler = compiler::for_kernel(Arch::Amd64)?;
    let object = directory.join("lines.o");
    compiler.args(["-c", "-g", "-O2", &format!("-gdwarf-{dwarf}")]).arg(directory.join(NAME)).arg("-o").arg(&object);
    compiler::succeed(&mut compiler);
    Some(fs::read(object).unwrap())
}

/// Compiles the source and links it for an address.
fn link(directory: &Path, dwarf: u32, address: u64) -> Option<Vec<u8>> {
    compile(directory, dwarf)?;
    let [object, script, linked] = ["lines.o", "lines.ld", "lines"].map(|name| directory.join(name));
    let others = ".eh_frame : { *(.eh_frame) } .bss : { *(.bss) }";
    fs::write(&script, format!("SECTIONS {{ .text {address:#x} : {{ *(.text .text.*) }} {others} }}")).unwrap();
    let mut linker = compiler::for_kernel(Arch::Amd64)?;
    linker.arg(object).arg(format!("-Wl,-e,outer,-T,{}", text(&script))).arg("-o").arg(&linked);
    compiler::succeed(&mut linker);
    Some(fs::read(linked).unwrap())
}

pub(super) fn objcopy(files: &Files, arguments: &[&str], names: &[&str]) {
    let paths = names.iter().map(|name| files.path(name));
    compiler::succeed(Command::new("objcopy").args(arguments).args(paths));
}

/// A kernel with the compiled functions, and a thread whose callers are at each address in them.
fn compiled(dwarf: u32) -> Option<Files> {
    let mut kernel = Kernel::new(AMD64);
    let address = kernel.memory.room(CODE);
    let scratch = directory();
    let witness = link(scratch.path(), 4, address)?;
    let linked = link(scratch.path(), dwarf, address)?;
    let file = object::File::parse(&*linked).unwrap();
    let mut image = kernel.image();
    let code = file.section_by_name(".text").unwrap();
    assert_eq!(code.address(), address);
    image.sections.push(section(".text.compiled", SHF_EXECINSTR, address, code.data().unwrap().to_vec()));
    let number = image.sections.len() as u16;
    let mut stack = kernel.in_call_of(STACK);
    for function in file.symbols().filter(|symbol| symbol.section_index() == Some(code.index()) && symbol.size() > 0) {
        let (name, first, size) = (function.name().unwrap(), function.address(), function.size());
        image.symbols.push(symbol(name, (GLOBAL, FUNC), number, first, size));
        (first + 1..first + size).for_each(|at| stack.call_and_enter(at));
    }
    for name in DEBUG {
        if let Some(found) = file.section_by_name(name) {
            let bytes = found.data().unwrap().to_vec();
            image.sections.push(Section { flags: 0, align: 1, ..section(name, 0, 0, bytes) });
        }
    }
    // What saves a thread's registers saves where it returns to: the call is in front of that.
    let outer = file.symbol_by_name("outer").unwrap();
    kernel.thread(812, 100_100, b"sh", &stack, outer.address() + outer.size() / 2);
    let files = kernel.files_with(image);
    fs::rename(files.path("kernel"), files.path("kernel.full")).unwrap();
    fs::write(files.path(WITNESS), witness).unwrap();
    objcopy(&files, &["--only-keep-debug"], &["kernel.full", "kernel.debug"]);
    objcopy(&files, &["--strip-debug"], &["kernel.full", "kernel"]);
    Some(files)
}

/// The name in `.gnu_debuglink`, with the checksum of that file.
fn add_link(files: &Files, name: &str) {
    let link = format!("--add-gnu-debuglink={}", text(&files.path(name)));
    objcopy(files, &[&link], &["kernel"]);
}

/// A function and its place, and before it those that are inlined there.
type Calls = Vec<(String, String)>;

/// The functions at each address, as addr2line(1) tells them.
fn told(image: &Path, more: &[&str], addresses: &[u64]) -> Vec<Calls> {
    let mut command = Command::new("addr2line");
    command.args(["-a", "-f", "-i", "-e"]).arg(image).args(more);
    let output = command.args(addresses.iter().map(|address| format!("{address:#x}"))).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    let mut found: Vec<Calls> = Vec::new();
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            found.push(Vec::new());
            continue;
        }
        let place = lines.next().unwrap().split(' ').next().unwrap().replace(":?", "");
        found.last_mut().unwrap().push((line.to_owned(), place));
    }
    found
}

/// The same of a stack in JSON, for each address in it.
fn shown(stack: &Value) -> (Vec<u64>, Vec<Calls>) {
    let (mut addresses, mut found) = (Vec::new(), vec![Vec::new()]);
    for frame in stack["frames"].as_array().unwrap() {
        let Some(file) = frame["source_file"].as_str() else { continue };
        let line = frame["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
        let function = frame["function"].as_str().unwrap().to_owned();
        found.last_mut().unwrap().push((function, format!("{file}{line}")));
        assert_eq!(frame["is_inlined"].as_bool().unwrap(), frame["offset"].is_null(), "{frame:#}");
        if !frame["is_inlined"].as_bool().unwrap() {
            let pc = frame["pc"].as_str().unwrap().trim_start_matches("0x");
            addresses.push(u64::from_str_radix(pc, 16).unwrap() - u64::from(frame["is_return_address"] == true));
            found.push(Vec::new());
        }
    }
    found.pop();
    (addresses, found)
}

/// The only stack.
#[track_caller]
fn stack(run: &Run) -> Value {
    run.json()["stacks"][0].clone()
}

/// Compares a stack with what addr2line(1) tells.
#[track_caller]
fn compare(files: &Files, run: &Run) {
    assert_eq!(run.stderr, "");
    let document = stack(run);
    assert_eq!(document["frames"][0]["is_return_address"], true);
    let (addresses, found) = shown(&document);
    assert!(addresses.len() > 100, "{run:?}");
    let expected = told(&files.path(WITNESS), &[], &addresses);
    for ((address, found), expected) in addresses.iter().zip(&found).zip(&expected) {
        assert_eq!(found, expected, "{address:#x}");
    }
    assert!(found.iter().any(|calls| calls.len() == 3), "functions are inlined in each other");
}

/// Whether a run shows the stack without its source.
#[track_caller]
fn has_no_lines(files: &Files, plain: &Run) {
    assert_eq!(plain.code, 0, "{plain:?}");
    let document = stack(plain);
    assert_eq!(shown(&document).0, [0; 0]);
    assert!(course(&document).contains("outer") && course(&document).ends_with("(user-mode)"), "{plain:?}");
    assert!(!files.run(&["sh"]).stdout.contains(" at "));
}

#[test]
fn lines_and_inlined_functions_are_those_of_addr2line() {
    for dwarf in [4, 5] {
        let Some(files) = compiled(dwarf) else { return };
        // Beside the image, by its name.
        compare(&files, &files.run(&["sh", "--json"]));
        add_link(&files, "kernel.debug");
        compare(&files, &files.run(&["sh", "--json"]));
        // In the image itself.
        fs::remove_file(files.path("kernel.debug")).unwrap();
        has_no_lines(&files, &files.run(&["sh", "--json"]));
        fs::copy(files.path("kernel.full"), files.path("kernel")).unwrap();
        compare(&files, &files.run(&["sh", "--json"]));
    }
}

#[test]
fn sections_are_decompressed() {
    for form in ["zlib", "zstd"] {
        let Some(files) = compiled(5) else { return };
        objcopy(&files, &[&format!("--compress-debug-sections={form}")], &["kernel.debug"]);
        add_link(&files, "kernel.debug");
        compare(&files, &files.run(&["sh", "--json"]));
    }
}

#[test]
fn debug_files_are_found_where_debuggers_look() {
    let Some(files) = compiled(5) else { return };
    fs::rename(files.path("kernel.debug"), files.path("other.debug")).unwrap();
    add_link(&files, "other.debug");
    let directory = fs::canonicalize(files.directory.path()).unwrap();
    let root = files.path("root");
    let below = root.join("usr/lib/debug").join(directory.strip_prefix("/").unwrap());
    let debug = files.path(".debug");
    let with_root = ["sh", "--json", "--sysroot", text(&root)];
    fs::create_dir_all(&below).unwrap();
    fs::create_dir(&debug).unwrap();
    compare(&files, &files.run(&["sh", "--json"]));
    fs::rename(files.path("other.debug"), debug.join("other.debug")).unwrap();
    compare(&files, &files.run(&["sh", "--json"]));
    fs::rename(debug.join("other.debug"), below.join("other.debug")).unwrap();
    has_no_lines(&files, &files.run(&["sh", "--json"]));
    compare(&files, &files.run(&with_root));
    fs::rename(below.join("other.debug"), below.join("kernel.debug")).unwrap();
    compare(&files, &files.run(&with_root));
    let missing = files.path("missing");
    files.run(&["sh", "--sysroot", text(&missing)]).fails_saying(&["--sysroot", "is not a directory"]);
}

#[test]
fn another_images_debug_file_is_refused() {
    let Some(files) = compiled(5) else { return };
    add_link(&files, "kernel.debug");
    let debug = fs::read(files.path("kernel.debug")).unwrap();
    // One byte more, and nothing else.
    fs::write(files.path("kernel.debug"), [&debug[..], b"\0"].concat()).unwrap();
    let run = files.run(&["sh", "--json"]);
    has_no_lines(&files, &run);
    assert!(run.stderr.contains("kernel.debug: its checksum is not the one of"), "{run:?}");
    // Without a checksum the symbols decide.
    fs::write(files.path("kernel.debug"), &debug).unwrap();
    objcopy(&files, &["--remove-section=.gnu_debuglink"], &["kernel"]);
    compare(&files, &files.run(&["sh", "--json"]));
    objcopy(&files, &["--strip-symbol=outer"], &["kernel.debug"]);
    let run = files.run(&["sh", "--json"]);
    has_no_lines(&files, &run);
    assert!(run.stderr.contains("kernel.debug: its symbols are not those of"), "{run:?}");
}

#[test]
fn a_damaged_debug_file_is_a_warning() {
    let Some(files) = compiled(5) else { return };
    let debug = fs::read(files.path("kernel.debug")).unwrap();
    for length in [0, 10, 64, debug.len() / 2, debug.len() - 1] {
        fs::write(files.path("kernel.debug"), &debug[..length]).unwrap();
        let run = files.run(&["sh", "--json"]);
        has_no_lines(&files, &run);
        assert!(run.stderr.contains("debug information is not used") && run.stderr.contains("kernel.debug"), "{run:?}");
        assert!(run.stderr.contains("it is truncated, or not an ELF file"), "{length}: {run:?}");
    }
}

#[test]
fn the_source_is_on_the_line_where_it_fits() {
    let Some(files) = compiled(5) else { return };
    let narrow = files.run(&["sh"]).ok();
    let wide = files.run(&["sh", "--wide"]).ok();
    assert!(narrow.lines().iter().any(|line| line.starts_with("     at /") && line.contains(NAME)), "{narrow:?}");
    assert!(wide.lines().iter().any(|line| line.contains(" innermost (inlined) at /")), "{wide:?}");
    assert!(!wide.stdout.contains("\n     at "), "{wide:?}");
    assert_eq!(narrow.stdout.replace("\n     at ", " at "), wide.stdout);
}

#[test]
fn a_relocatable_modules_sections_count_from_where_they_were_loaded() {
    const LOADED: u64 = 0xffff_ffff_8300_0000;
    for dwarf in [4, 5] {
        let scratch = directory();
        let Some(witness) = compile(scratch.path(), 4) else { return };
        let module = scratch.path().join(WITNESS);
        fs::write(&module, witness).unwrap();
        let object = compile(scratch.path(), dwarf).unwrap();
        let file = object::File::parse(&*object).unwrap();
        let mut kernel = Kernel::new(AMD64);
        kernel.link_files("lines.ko", LOADED);
        let mut stack = kernel.in_call_of(STACK);
        // As the loader places them: one after another, aligned.
        let (mut end, mut expected) = (LOADED, BTreeMap::new());
        for name in [".text", ".text.second"] {
            let section = file.section_by_name(name).unwrap();
            let first = end.next_multiple_of(section.align());
            end = first + section.size();
            let offsets: Vec<u64> = (0..section.size() - 1).collect();
            offsets.iter().for_each(|offset| stack.call_and_enter(first + offset + 1));
            let calls = told(&module, &["-j", name], &offsets);
            expected.extend(offsets.iter().map(|offset| first + offset).zip(calls));
        }
        let pc = kernel.at("sched_switch");
        kernel.thread(812, 100_100, b"sh", &stack, pc);
        let files = kernel.files();
        fs::write(files.path("lines.ko"), &object).unwrap();
        let run = files.run(&["sh", "--json"]).ok();
        let (addresses, found) = shown(&run.json()["stacks"][0]);
        assert_eq!(addresses.len(), expected.len());
        for (address, found) in addresses.iter().zip(found) {
            assert_eq!(found, expected[address], "{address:#x}");
        }
    }
}

/// An image whose debug information is these bytes, and its addresses.
fn image_with(directory: &Path, sections: Vec<(&'static str, Vec<u8>)>) -> (KernelSymbols, Range<u64>) {
    const TEXT: u64 = 0xffff_ffff_8020_0000;
    let mut all = vec![section(".text", SHF_EXECINSTR, TEXT, vec![0x90; CODE as usize])];
    all.extend(sections.into_iter().map(|(name, bytes)| Section { flags: 0, align: 1, ..section(name, 0, 0, bytes) }));
    let function = symbol("outer", (GLOBAL, FUNC), 1, TEXT, CODE);
    let image = Image::new(AMD64.target(), ET_EXEC, all, vec![function]);
    let table = Table::open(&write(directory, "image", &image)).unwrap();
    (KernelSymbols::new(table), TEXT..TEXT + CODE)
}

/// What is told of some addresses, and the warnings.
fn looked_up(symbols: &KernelSymbols, addresses: Range<u64>) -> (usize, Vec<String>) {
    let mut information = DebugInfo::new(Search::default());
    let frames = addresses.step_by(3).map(|address| information.lookup(symbols, address).len()).sum();
    (frames, information.take_warnings())
}

#[test]
fn functions_within_each_other_without_end_are_refused() {
    let abbreviations = [
        // A unit and a function with addresses, and an inlined function; each has more within it.
        &[1, 0x11, 1, 0x11, 1, 0x12, 7, 0, 0][..],
        &[2, 0x2e, 1, 0x11, 1, 0x12, 7, 0, 0],
        &[3, 0x1d, 1, 0, 0, 0],
    ];
    let range: Vec<u8> = [0xffff_ffff_8020_0000u64, CODE].iter().flat_map(|word| word.to_le_bytes()).collect();
    for (depth, is_refused) in [(100, false), (1 << 22, true)] {
        let entries = [&[1][..], &range, &[2], &range, &vec![3; depth], &vec![0; depth + 2]].concat();
        let length = u32::try_from(entries.len() + 7).unwrap().to_le_bytes();
        let information = [&length[..], &[4, 0, 0, 0, 0, 0, 8], &entries].concat();
        let directory = directory();
        let sections = vec![(".debug_abbrev", abbreviations.concat()), (".debug_info", information)];
        let (symbols, addresses) = image_with(directory.path(), sections);
        let (frames, warnings) = looked_up(&symbols, addresses);
        assert_eq!(frames == 0, is_refused);
        assert_eq!(warnings.iter().any(|warning| warning.contains("more functions within each other")), is_refused);
    }
}

#[test]
fn damaged_debug_information_is_never_a_panic() {
    for dwarf in [4, 5] {
        let scratch = directory();
        let Some(linked) = link(scratch.path(), dwarf, 0xffff_ffff_8020_0000) else { return };
        let file = object::File::parse(&*linked).unwrap();
        let found = DEBUG.iter().filter_map(|name| Some((*name, file.section_by_name(name)?.data().unwrap().to_vec())));
        let sections: Vec<(&'static str, Vec<u8>)> = found.collect();
        let (symbols, addresses) = image_with(scratch.path(), sections.clone());
        assert!(looked_up(&symbols, addresses).0 > 100);
        let changes = vec((any::<Index>(), any::<Index>(), any::<u8>()), 1..8);
        let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&(changes, any::<Option<(Index, Index)>>()), |(changes, cut)| {
                let mut sections = sections.clone();
                for (section, at, value) in changes {
                    let bytes = &mut section.get_mut(&mut sections).1;
                    *at.get_mut(bytes) = value;
                }
                if let Some((section, at)) = cut {
                    let bytes = &mut section.get_mut(&mut sections).1;
                    bytes.truncate(at.index(bytes.len()));
                }
                let directory = directory();
                let (symbols, addresses) = image_with(directory.path(), sections);
                looked_up(&symbols, addresses);
                Ok(())
            })
            .unwrap();
    }
}
