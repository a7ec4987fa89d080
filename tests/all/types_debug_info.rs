//! The types of debug information: what a compiler says of them against what it makes of them, in DWARF 3 to 5, on
//! machines of both orders of bytes and both sizes of pointers.

use crate::common::typed_kernel::TypedKernel;
use crate::common::{compiler, directory};
use object::{Object, ObjectSection, ObjectSymbol};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vmcore::debug_info::{DebugTypes, Search};
use vmcore::symbols::Table;
use vmcore::types::{Kind, Storage, Tag, TypeId, TypeSource, TypeTable};
use vmcore_synth::{Arch, Endianness};

/// Members, and how C declares them.
const MEMBERS: &[(&str, &str)] = &[
    ("next", "struct sample *next"),
    ("c", "char c"),
    ("u", "unsigned char u"),
    ("name", "char name[20]"),
    ("table", "int table[2][3]"),
    ("call", "int (*call)(struct sample *, const char *, ...)"),
    ("none", "void (*none)(void)"),
    ("text", "const char *text"),
    ("fixed", "char *const fixed"),
    ("level", "enum level level"),
    ("big", "unsigned long long big"),
    ("half", "short half"),
    ("flag", "_Bool flag"),
    ("atom", "_Atomic int atom"),
    ("changing", "volatile int changing"),
    ("opaque", "struct opaque *opaque"),
    ("number", "number_t number"),
    ("real", "double real"),
    ("nothing", "void *nothing"),
    ("row", "int row[0]"),
    ("last", "int last[]"),
];
/// Bit fields: name, declaration without name, bits.
const BITS: &[(&str, &str, u32)] = &[
    ("a", "unsigned int", 3),
    ("b", "int", 5),
    ("t", "_Bool", 1),
    ("n", "number_t", 17),
    ("e", "enum level", 4),
    ("w", "unsigned long long", 40),
    ("s", "unsigned short", 9),
];
/// Structures of them, and how they are declared: in the second, some begin in one unit of their type and end in the next.
const BITS_IN: [(&str, &str); 2] = [("bits", ""), ("packed", "__attribute__((packed))")];
const CPUS: [Arch; 4] = [Arch::Amd64, Arch::Arm64, Arch::Powerpc64, Arch::I386];

/// What both files have.
fn header() -> String {
    let mut text = "
#define offset(of, name) __builtin_offsetof(struct of, name)
typedef int number_t;
struct opaque;
enum level { LOW = -1, HIGH = 7 };
enum large { TOP = 0x80000000u, BOTTOM = 0 };
enum wide { WIDE = 0x123456789ull };
"
    .to_owned();
    text.push_str("struct sample {\n");
    let (last, members) = MEMBERS.split_last().unwrap();
    members.iter().for_each(|(_, declaration)| writeln!(text, "\t{declaration};").unwrap());
    text.push_str("\tunion { int in_union; struct { long deep; }; };\n");
    writeln!(text, "\t{};\n}};", last.1).unwrap();
    for (name, attribute) in BITS_IN {
        writeln!(text, "struct {attribute} {name} {{").unwrap();
        BITS.iter().for_each(|(name, declaration, bits)| writeln!(text, "\t{declaration} {name} : {bits};").unwrap());
        text.push_str("};\n");
    }
    text
}

/// The file that has what tells where members are.
fn first() -> String {
    let mut text = "#include \"header.h\"\n".to_owned();
    text.push_str("const unsigned long long offsets[] = { sizeof(struct sample), sizeof(struct bits), offset(sample, in_union), offset(sample, deep)");
    MEMBERS.iter().for_each(|(name, _)| write!(text, ", offset(sample, {name})").unwrap());
    text.push_str("};\n");
    for (name, declaration, _) in BITS {
        let ones = if *declaration == "_Bool" { "1" } else { "-1" };
        for (of, _) in BITS_IN {
            writeln!(text, "const struct {of} only_{of}_{name} = {{ .{name} = {ones} }};").unwrap();
        }
    }
    text.push_str(
        "
struct local { int in_first; };
struct first_holder { struct local *local; };
struct first_holder first_holder;
struct sample *samples;
enum large large;
enum wide wide;
static volatile number_t counter;
static volatile _Bool stop;
int work(struct sample *sample, long count, ...)
{
\tstatic volatile long hidden;

\thidden += count;
\twhile (!stop)
\t\tcounter += sample->c;
\treturn hidden;
}
static _Bool full = 1;
static unsigned long long mask;
static int state = -3;
static enum level level;
int choose(int what)
{
\tif (what == 1) { full = 0; mask = 0x100000000ull; }
\tif (what == 2) { state = 40; level = HIGH; }
\treturn (full ? what : 3) + (int)(mask >> 32) + state + level;
}
void _start(void) { work(samples, choose(1)); }
",
    );
    text
}

const SECOND: &str = "
#include \"header.h\"
struct opaque { int inside; };
struct local { long in_second[2]; };
struct second_holder { struct local *local; struct opaque *opaque; };
struct second_holder second_holder;
struct opaque an_opaque;
static volatile long counter;
void other(void) { counter++; }
";

/// What a compiler has made.
struct Compiled {
    _directory: TempDir,
    path: PathBuf,
    arch: Arch,
    dwarf: u32,
    types: TypeTable,
}

fn compile(arch: Arch, dwarf: u32) -> Option<(TempDir, PathBuf)> {
    let directory = directory();
    let path = directory.path().join("kernel");
    for (name, text) in [("header.h", &*header()), ("first.c", &first()), ("second.c", SECOND)] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    compiler::succeed(
        compiler::for_kernel(arch)?
            .args(["-O1", "-fno-sanitize=all", "-Wl,--no-gc-sections", "-g", &format!("-gdwarf-{dwarf}")])
            .args(["first.c", "second.c"].map(|name| directory.path().join(name)))
            .arg("-o")
            .arg(&path),
    );
    Some((directory, path))
}

fn load(path: &Path, arch: Arch) -> TypeTable {
    let mut types = TypeTable::new(arch.word());
    let mut source = DebugTypes::new(Search::default());
    assert!(source.load(&Table::open(path).unwrap(), &mut types).unwrap());
    assert_eq!(source.take_warnings(), [""; 0]);
    types
}

impl Compiled {
    fn all() -> Vec<Self> {
        let all = CPUS.into_iter().flat_map(|arch| [(arch, 3), (arch, 4), (arch, 5)]);
        let compiled = all.filter_map(|(arch, dwarf)| {
            let (_directory, path) = compile(arch, dwarf)?;
            let types = load(&path, arch);
            Some(Self { _directory, path, arch, dwarf, types })
        });
        compiled.collect()
    }

    /// What the file has at a symbol.
    fn bytes(&self, name: &str) -> Vec<u8> {
        let bytes = fs::read(&self.path).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap_or_else(|| panic!("no {name}"));
        let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
        section.data_range(symbol.address(), symbol.size()).unwrap().unwrap().to_vec()
    }

    fn structure(&self, name: &str) -> TypeId {
        self.types.structure(name).unwrap_or_else(|| panic!("{:?}: no struct {name}", self.arch))
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn members_are_where_the_compiler_puts_them_and_declared_as_they_were() {
    for compiled in Compiled::all() {
        let Compiled { types, arch, .. } = &compiled;
        let offsets: Vec<u64> = compiled.bytes("offsets").chunks(8).map(|number| arch.order().value(number)).collect();
        let sample = compiled.structure("sample");
        let at = |name: &str| {
            let found = types.member(sample, name).unwrap_or_else(|| panic!("no {name}"));
            (found.bit_offset, found.member.bits)
        };
        assert_eq!(
            [types.size_of(sample), types.size_of(compiled.structure("bits"))],
            [Some(offsets[0]), Some(offsets[1])]
        );
        assert_eq!([at("in_union"), at("deep")], [(8 * offsets[2], None), (8 * offsets[3], None)]);
        for ((name, declaration), offset) in MEMBERS.iter().zip(&offsets[4..]) {
            assert_eq!(at(name), (8 * offset, None), "{arch:?}: {name}");
            let member = types.member(sample, name).unwrap().member;
            // Before version 5 there is no entry for it.
            let declaration = if compiled.dwarf < 5 { declaration.trim_start_matches("_Atomic ") } else { declaration };
            assert_eq!(types.declare(member.type_id, name), declaration, "{arch:?}");
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn bit_fields_are_the_bits_that_the_compiler_sets() {
    for compiled in Compiled::all() {
        let Compiled { types, arch, .. } = &compiled;
        for ((of, _), (name, declaration, length)) in
            BITS_IN.iter().flat_map(|of| BITS.iter().map(move |bits| (of, bits)))
        {
            let found = types.member(compiled.structure(of), name).unwrap();
            assert_eq!(types.declare(found.member.type_id, ""), *declaration);
            assert_eq!(found.member.bits, Some(*length), "{name}");
            let bytes = compiled.bytes(&format!("only_{of}_{name}"));
            let is_set = |bit: &u64| {
                let byte = bytes[usize::try_from(bit / 8).unwrap()];
                match arch.order() {
                    Endianness::Little => byte >> (bit % 8) & 1 == 1,
                    Endianness::Big => byte << (bit % 8) & 0x80 != 0,
                }
            };
            let set: Vec<u64> = (0..8 * bytes.len() as u64).filter(is_set).collect();
            let expected: Vec<u64> = (found.bit_offset..found.bit_offset + u64::from(*length)).collect();
            assert_eq!(set, expected, "{arch:?}, {}: {of}.{name}", compiled.dwarf);
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn types_of_all_files_are_there_once_and_those_of_the_same_name_are_told_apart() {
    for compiled in Compiled::all() {
        let Compiled { types, arch, path, .. } = &compiled;
        let all = |tag, name| types.iter().filter(|(id, found)| types.tag(*id) == tag && &*found.name == name).count();
        for (tag, name) in [(Tag::Structure, "sample"), (Tag::Structure, "opaque"), (Tag::Enumeration, "level")] {
            assert_eq!(all(Some(tag), name), 1, "{arch:?}: {name}");
        }
        assert_eq!((all(None, "int"), all(None, "number_t")), (1, 1), "{arch:?}");
        assert_eq!(types.lookup(Some(Tag::Structure), "local").len(), 2, "{arch:?}");
        for (holder, inside, not) in
            [("first_holder", "in_first", "in_second"), ("second_holder", "in_second", "in_first")]
        {
            let local = types.member(compiled.structure(holder), "local").unwrap().member.type_id;
            let local = types.target(local).unwrap();
            assert!(types.member(local, inside).is_some() && types.member(local, not).is_none(), "{arch:?}: {holder}");
        }
        // What the first file only declares leads to what the second one defines.
        let opaque = types.member(compiled.structure("sample"), "opaque").unwrap().member.type_id;
        assert_eq!(types.target(opaque), types.structure("opaque"));
        let values = |name| match &types.get(types.find(Some(Tag::Enumeration), name).unwrap()).kind {
            Kind::Enumeration(found) => {
                found.enumerators.iter().map(|(name, value)| (&**name, *value)).collect::<Vec<_>>()
            }
            kind => panic!("{kind:?}"),
        };
        assert_eq!(values("level"), [("LOW", -1), ("HIGH", 7)]);
        assert_eq!(values("large"), [("TOP", 0x8000_0000), ("BOTTOM", 0)]);
        assert_eq!(values("wide"), [("WIDE", 0x1_2345_6789)]);

        let table = Table::open(path).unwrap();
        let symbols = |name: &str| {
            let mut found: Vec<_> = table.lookup_by_name(name).map(|entry| entry.symbol.address).collect();
            found.sort_unstable();
            found
        };
        let variables = |name: &str| {
            let mut found: Vec<_> = types
                .variables_named(name)
                .map(|variable| (variable.address, types.declare(variable.type_id, name)))
                .collect();
            found.sort();
            found
        };
        let (addresses, mut declared): (Vec<_>, Vec<_>) = variables("counter").into_iter().unzip();
        declared.sort();
        assert_eq!(addresses, symbols("counter"), "{arch:?}");
        assert_eq!(declared, ["volatile long counter", "volatile number_t counter"]);
        assert_eq!(variables("samples")[0].1, "struct sample *samples");
        // A static of a function has a symbol of another name.
        assert_eq!(variables("hidden")[0].1, "volatile long hidden");
        assert_eq!(variables("work"), [(symbols("work")[0], "int work(struct sample *, long, ...)".to_owned())]);
        assert!(types.variables_named("work").all(|variable| variable.is_function && variable.size > 0));
    }
}

/// The compiler itself says what its byte stands for.
#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_byte_that_stands_for_one_of_two_values_is_told_with_these() {
    let minus_3 = u64::from(u32::MAX - 2);
    let expected = [("full", 1, 0), ("mask", 0, 1 << 32), ("state", minus_3, 40), ("level", 0, 7)];
    for Compiled { path, arch, dwarf, types, .. } in Compiled::all() {
        let table = Table::open(&path).unwrap();
        for (name, initial, other) in expected {
            let symbol = table.lookup_by_name(name).next().unwrap().symbol;
            assert_eq!(symbol.size, 1, "{arch:?}: {name}");
            let found: Vec<_> = types.variables_named(name).collect();
            // Before version 4 a location is always a place.
            if dwarf < 4 {
                assert!(found.is_empty(), "{arch:?}: {name}");
                continue;
            }
            let Some(Storage::Choice(values)) = found[0].storage else { panic!("{arch:?}: {:?}", found[0]) };
            let low = |value: u64| if name == "mask" { value } else { value & u64::from(u32::MAX) };
            let told = (found[0].address, low(values.initial), low(values.other));
            assert_eq!(told, (symbol.address, initial, other), "{arch:?}: {name}");
        }
        assert_eq!(types.variables_named("counter").next().unwrap().storage, Some(Storage::Plain));
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn debug_information_that_is_damaged_anywhere_makes_nothing_panic() {
    let Some((directory, path)) = compile(Arch::Amd64, 5) else { return };
    let whole = fs::read(&path).unwrap();
    let file = object::File::parse(&*whole).unwrap();
    let spoilt = directory.path().join("spoilt");
    for section in [".debug_info", ".debug_abbrev", ".debug_str_offsets", ".debug_addr"] {
        let (start, size) = file.section_by_name(section).unwrap().file_range().unwrap();
        let (start, size) = (usize::try_from(start).unwrap(), usize::try_from(size).unwrap());
        for at in (start..start + size).step_by(1 + size / 400) {
            for value in [0, 0xff, whole[at] ^ 1] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                fs::write(&spoilt, bytes).unwrap();
                let mut types = TypeTable::new(8);
                let mut source = DebugTypes::new(Search::default());
                if !source.load(&Table::open(&spoilt).unwrap(), &mut types).unwrap() {
                    assert!(types.is_empty(), "{section} {at}");
                }
                for (id, _) in types.iter() {
                    let _ = (types.size_of(id), types.name_of(id), types.member(id, "x").is_some());
                }
            }
        }
    }
}

#[test]
fn ctf_that_is_damaged_is_an_error_where_there_is_no_debug_information() {
    let directory = directory();
    let mut image = TypedKernel::new(Arch::Amd64).image();
    let magic = image.windows(4).position(|bytes| bytes == [0xf1, 0xcf, 3, 1]).unwrap();
    image[magic + 2] = 9;
    let path = directory.path().join("kernel");
    fs::write(&path, image).unwrap();
    let mut types = TypeTable::new(8);
    let result = DebugTypes::new(Search::default()).load(&Table::open(&path).unwrap(), &mut types);
    assert!(matches!(result, Err(vmcore::Error::Ctf { .. })) && types.is_empty(), "{result:?}");
}
