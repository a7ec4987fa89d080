//! `memtool symbols --isf`: the table of symbols and types that volatility3 reads.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use crate::common::{Run, command, directory, memtool, names, terminal, text};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;
use vmcore_synth::typed_kernel::VERSION;

/// A kernel with what the format has, and a process in it.
struct Fixture {
    kernel: TypedKernel,
    process: Type,
    dump: TypedDump,
}

impl Fixture {
    fn new(arch: Arch) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let Basic { int, unsigned_int, character, unsigned_char, long, string, .. } = kernel.basic;
        let types = &mut kernel.types;
        let process = types.reserve();
        let link = types.pointer(process);
        let list = types.record("", &[("le_next", link), ("le_prev", link)]);
        let comm = types.array(character, 20);
        let flag = types.bit_field("unsigned int bitfield", 4, 0, 3);
        let wide = types.bit_field("unsigned int bitfield", 4, 0, 17);
        let choice = types.union_of("", &[("p_long", long), ("p_text", string)]);
        let states = types.enumeration("p_states", 4, &[("PRS_NEW", 0), ("PRS_ZOMBIE", 2), ("PRS_NONE", -1)]);
        let small = types.enumeration("small", 1, &[("ONE", 1)]);
        let declared = types.forward("nowhere");
        let pointer = types.pointer(declared);
        let pid = types.typedef("pid_t", int);
        let handler = types.function((int, &[link], false));
        let handler = types.pointer(handler);
        let members = [
            ("p_list", list),
            ("p_pid", pid),
            ("p_flag", flag),
            ("p_wide", wide),
            ("p_comm", comm),
            ("", choice),
            ("p_state", states),
            ("p_small", small),
            ("p_nowhere", pointer),
            ("p_handler", handler),
            ("p_byte", unsigned_char),
        ];
        types.at(process).record("proc", &members);
        types.record("twice", &[("a", int)]);
        types.record("twice", &[("a", int)]);
        let other = types.record("twice", &[("b", unsigned_int), ("c", int)]);
        kernel.variable("allproc", link);
        kernel.static_variable("debug", int);
        kernel.static_variable("debug", other);
        kernel.untyped_variable("untyped", 8);
        kernel.function("fork1", Some((int, &[link], false)));
        let dump = kernel.write();
        Self { kernel, process, dump }
    }

    #[track_caller]
    fn isf(&self) -> Value {
        let run = memtool(&["symbols", "--isf", "--kernel", text(&self.dump.kernel)]).ok();
        assert_eq!(run.stderr, "");
        serde_json::from_str(&run.stdout).unwrap()
    }
}

/// What the format demands of its parts, and nothing else in them.
fn rules() -> Value {
    let object = |required: Value, properties: Value| json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false});
    let map = |of: Value| json!({"type": "object", "additionalProperties": of});
    let of = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
    let (text, whole) = (json!({"type": "string"}), json!({"type": "integer"}));
    let kind = |kind: &str, mut others: Value| {
        others["kind"] = json!({"const": kind});
        let required: Vec<&String> = others.as_object().unwrap().keys().collect();
        object(json!(required), others.clone())
    };
    let descriptors = [
        kind("base", json!({"name": text})),
        kind("struct", json!({"name": text})),
        kind("union", json!({"name": text})),
        kind("enum", json!({"name": text})),
        kind("function", json!({})),
        kind("pointer", json!({"subtype": of("descriptor")})),
        kind("array", json!({"subtype": of("descriptor"), "count": whole})),
        kind("bitfield", json!({"bit_position": whole, "bit_length": whole, "type": of("descriptor")})),
    ];
    let producer = object(json!([]), json!({"name": text, "version": text}));
    let base = json!({
        "size": whole, "signed": {"type": "boolean"},
        "kind": {"enum": ["void", "int", "float", "char", "bool"]}, "endian": {"enum": ["little", "big"]},
    });
    let field = object(
        json!(["type", "offset"]),
        json!({"type": of("descriptor"), "offset": whole, "anonymous": {"type": "boolean"}}),
    );
    let user = json!({"kind": {"enum": ["struct", "union"]}, "size": whole, "fields": map(field)});
    let enumeration = json!({"size": whole, "base": text, "constants": map(whole.clone())});
    let symbol = json!({"address": whole, "type": of("descriptor"), "constant_data": text});
    let mut table = object(
        json!(["metadata", "base_types", "user_types", "enums", "symbols"]),
        json!({
            "metadata": object(json!(["format"]), json!({"format": {"const": "6.2.0"}, "producer": producer})),
            "base_types": map(object(json!(["size", "signed", "kind", "endian"]), base)),
            "user_types": map(object(json!(["kind", "size", "fields"]), user)),
            "enums": map(object(json!(["size", "base", "constants"]), enumeration)),
            "symbols": map(object(json!(["address"]), symbol)),
        }),
    );
    table["$defs"] = json!({"descriptor": {"oneOf": descriptors}});
    table
}

/// Types that are referred to and are not there.
fn unknown(table: &Value, value: &Value, found: &mut Vec<Value>) {
    let names = [("base", "base_types"), ("struct", "user_types"), ("union", "user_types"), ("enum", "enums")];
    let place = names.iter().find(|(kind, _)| value["kind"] == *kind).map(|(_, place)| place);
    if let (Some(place), Some(name)) = (place, value["name"].as_str())
        && table[place][name].is_null()
    {
        found.push(value.clone());
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|inner| unknown(table, inner, found)),
        Value::Array(values) => values.iter().for_each(|inner| unknown(table, inner, found)),
        _ => {}
    }
}

#[test]
fn the_table_is_as_the_format_demands_on_every_architecture() {
    let rules = jsonschema::validator_for(&rules()).unwrap();
    for arch in Arch::ALL {
        let fixture = Fixture::new(arch);
        let table = fixture.isf();
        let errors: Vec<String> = rules.iter_errors(&table).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0], "{arch:?}");
        let mut missing = Vec::new();
        unknown(&table, &table, &mut missing);
        assert_eq!(missing, [Value::Null; 0], "{arch:?}");
        assert_eq!(table["base_types"]["pointer"]["size"], arch.word());
        let process = &table["user_types"]["proc"];
        for name in ["p_list", "p_pid", "p_comm", "p_state", "p_byte"] {
            let expected = fixture.kernel.types.offset_of(fixture.process, name);
            assert_eq!(process["fields"][name]["offset"], expected, "{arch:?} {name}");
        }
        assert_eq!(process["size"], fixture.kernel.types.size_of(fixture.process));
    }
}

#[test]
fn types_and_symbols_are_referred_to_by_names_that_are_theirs() {
    let fixture = Fixture::new(Arch::Amd64);
    let table = fixture.isf();
    let fields = &table["user_types"]["proc"]["fields"];
    let base = |name: &str| json!({"kind": "base", "name": name});
    assert_eq!(fields["p_pid"]["type"], base("int"));
    let to = |name: &str| json!({"kind": "pointer", "subtype": {"kind": "struct", "name": name}});
    assert_eq!(fields["p_nowhere"]["type"], to("nowhere"));
    assert_eq!(table["user_types"]["nowhere"]["size"], 0);
    assert_eq!(fields["p_handler"]["type"], json!({"kind": "pointer", "subtype": {"kind": "function"}}));
    assert_eq!(fields["p_state"]["type"], json!({"kind": "enum", "name": "p_states"}));
    assert_eq!(table["enums"]["p_states"]["base"], "int");
    assert_eq!(table["enums"]["p_states"]["constants"]["PRS_NONE"], -1);
    assert_eq!(table["base_types"][table["enums"]["small"]["base"].as_str().unwrap()]["size"], 1);
    assert_eq!(fields["p_list"]["type"]["name"].as_str().map(|name| name.starts_with("unnamed_")), Some(true));
    let wide = json!({"kind": "bitfield", "bit_position": 3, "bit_length": 17, "type": base("unsigned int")});
    assert_eq!((&fields["p_wide"]["type"], &fields["p_wide"]["offset"]), (&wide, &json!(20)));
    let anonymous: Vec<&Value> =
        fields.as_object().unwrap().values().filter(|field| field["anonymous"] == true).collect();
    assert_eq!(anonymous.len(), 1);
    // Two that are alike are one.
    assert_eq!(table["user_types"]["twice"]["size"], 4);
    assert_eq!(table["user_types"]["twice__2"]["size"], 8);
    assert!(table["user_types"]["twice__3"].is_null());
    let symbols = &table["symbols"];
    assert_eq!(symbols["allproc"]["type"], to("proc"));
    assert_eq!(symbols["allproc"]["address"], fixture.kernel.variable_of("allproc").0);
    assert_eq!(symbols["fork1"]["type"], json!({"kind": "function"}));
    assert_eq!(symbols["untyped"]["type"], base("void"));
    // The first of several of a name.
    assert_eq!(symbols["debug"]["type"], base("int"));
    assert_eq!(
        symbols["version"]["constant_data"].as_str().map(|data| data.starts_with("RnJlZUJTRCAxNS4x")),
        Some(true)
    );
}

#[test]
fn a_file_gets_the_table_and_is_not_replaced_unless_that_is_asked_for() {
    let fixture = Fixture::new(Arch::Amd64);
    let directory = directory();
    let output = directory.path().join("isf.json");
    let write = |arguments: &[&str]| -> Run {
        let all = ["symbols", "--isf", "--kernel", text(&fixture.dump.kernel), "--output", text(&output)];
        memtool(&[&all, arguments].concat())
    };
    let said = write(&[]).ok().stdout;
    let written: Value = serde_json::from_slice(&std::fs::read(&output).unwrap()).unwrap();
    assert_eq!(written, fixture.isf());
    let count = |names: &[&str]| names.iter().map(|name| written[name].as_object().unwrap().len()).sum::<usize>();
    let counts = format!("{} symbols, {} types", count(&["symbols"]), count(&["user_types", "enums"]));
    assert_eq!(said, format!("{}: {counts}\n", text(&output)));
    assert_eq!(write(&["--force", "-q"]).ok().stdout, "");
    write(&[]).fails_saying(&["exists", "--force"]);
    write(&["--force"]).ok();
    assert_eq!(names(directory.path()), ["isf.json"]);
    // Of a dump, the same: its modules have no symbols here.
    let of_dump = fixture.dump.run(&["symbols", "--isf", "-o", "-"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&of_dump.stdout).unwrap(), written);
    write(&["allproc"]).usage_error(&["--isf"]);
    write(&["--json"]).usage_error(&["--json"]);
    memtool(&["symbols", "-o", "x", "allproc"]).usage_error(&["--isf"]);
    let pty = terminal(None);
    let mut to_terminal = command();
    to_terminal.args(["symbols", "--isf", "-N", text(&fixture.dump.kernel)]).stdout(pty.slave);
    let refused = to_terminal.output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not written to a terminal"), "{refused:?}");
    let nowhere = directory.path().join("missing/isf.json");
    memtool(&["symbols", "--isf", "-N", text(&fixture.dump.kernel), "-o", text(&nowhere)])
        .fails_saying(&["cannot create a file in ", "/missing: No such file"]);
    let inside = output.join("isf.json");
    memtool(&["symbols", "--isf", "-N", text(&fixture.dump.kernel), "-o", text(&inside)])
        .fails_saying(&["cannot create ", "Not a directory"]);
    // volatility3 would decompress it.
    for suffix in [".xz", ".gz", ".bz2"] {
        memtool(&["symbols", "--isf", "-o", &format!("isf.json{suffix}")]).usage_error(&[suffix, "not compressed"]);
    }
    let mut bare = TypedKernel::new(Arch::Amd64);
    bare.has_types = false;
    memtool(&["symbols", "--isf", "--kernel", text(&bare.write().kernel)]).fails_saying(&["has no types"]);
}

/// What volatility3 reads of an object by the table.
const SCRIPT: &str = r#"
import pathlib, sys
from volatility3.framework import contexts
from volatility3.framework.layers import physical
from volatility3.framework.symbols import intermed
context = contexts.Context()
context.layers.add_layer(physical.BufferDataLayer(context, "buffer", "buffer", bytes.fromhex(sys.argv[2])))
table = intermed.IntermediateSymbolTable(context, "table", "kernel", pathlib.Path(sys.argv[1]).as_uri())
context.symbol_space.append(table)
process = context.object("kernel!proc", "buffer", 0)
print(int(process.p_pid), int(process.p_flag), int(process.p_wide), process.p_state.description, int(process.p_long))
print(process.p_comm.cast("string", max_length=20), int(process.p_list.le_prev), process.vol.size)
symbol = context.symbol_space.get_symbol("kernel!version")
print(symbol.constant_data.decode().rstrip("\0\n"), symbol.address, table.get_symbol("allproc").type.vol.type_name)
"#;

/// Runs a script with volatility3; `None`, and a word about it, where there is none.
fn volatility(arguments: &[&str]) -> Option<String> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/volatility3");
    let python = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &tools).env("PYTHONDONTWRITEBYTECODE", "1").args(arguments).output()
    };
    if !python(&["-c", "import volatility3"]).is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no volatility3 here");
        return None;
    }
    let output = python(&[&["-c", SCRIPT], arguments].concat()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn volatility_reads_objects_by_the_table() {
    for arch in [Arch::Amd64, Arch::Powerpc64, Arch::I386] {
        let fixture = Fixture::new(arch);
        let (types, process) = (&fixture.kernel.types, fixture.process);
        let size = types.size_of(process);
        let mut bytes = vec![0xff; usize::try_from(size).unwrap()];
        let values = [("p_pid", 4711), ("p_flag", 5), ("p_wide", 0x1_0002), ("p_state", 2), ("p_long", 77)];
        for (path, value) in values.into_iter().chain([("p_list.le_prev", 0x20)]) {
            types.set(&mut bytes, process, path, value);
        }
        types.set_text(&mut bytes, process, "p_comm", "init");
        let directory = directory();
        let table = directory.path().join("isf.json");
        memtool(&["symbols", "--isf", "-N", text(&fixture.dump.kernel), "-o", text(&table)]).ok();
        let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let Some(said) = volatility(&[text(&table), &bytes]) else { return };
        let version = fixture.kernel.variable_of("version").0;
        let expected = format!(
            "4711 5 65538 PRS_ZOMBIE 77\ninit {} {size}\n{} {version} kernel!pointer\n",
            0x20,
            VERSION.trim_end()
        );
        assert_eq!(said, expected, "{arch:?}");
    }
}
