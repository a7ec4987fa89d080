//! The JSON Schemas beside memtool-json(5). Every object that a test has from the program is validated already; here is
//! what else holds of the schemas.

use crate::common::schema::{COMMON, all, directory, document, problems};
use crate::common::{demo, demo_machine};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use vmcore::inventory::SectionName;

/// The names of the objects that the program has, by its sources.
fn names_in_the_sources(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            names_in_the_sources(&entry, names);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&entry).unwrap();
            let quoted = text.split('"').skip(1).step_by(2).filter_map(|text| text.strip_prefix("memtool."));
            let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '.');
            names.extend(quoted.filter(is_name).map(|name| format!("memtool.{name}")));
        }
    }
}

#[test]
fn there_is_a_schema_for_every_object_of_the_program_and_the_manual_names_it() {
    let mut names = BTreeSet::new();
    names_in_the_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    assert!(names.len() > 15, "{names:?}");
    let schemas: BTreeSet<String> = all().into_keys().filter(|name| name != COMMON).collect();
    assert_eq!(schemas, names);
    let man = directory().join("..");
    let pages = ["memtool-json.5", "memtool-machine.5", "memtool-dump.8"];
    let pages = pages.map(|page| std::fs::read_to_string(man.join(page)).unwrap());
    for name in schemas {
        let heading = format!(".Ss {name}\n");
        let quoted = format!("\n.Ql {name}");
        assert!(pages.iter().any(|page| page.contains(&heading) || page.contains(&quoted)), "{name}");
    }
}

/// Every schema of an object in a schema.
fn objects<'a>(schema: &'a Value, found: &mut Vec<&'a Value>) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") && fields.contains_key("type") {
                found.push(schema);
            }
            fields.values().for_each(|value| objects(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| objects(value, found)),
        _ => {}
    }
}

#[test]
fn schemas_are_of_their_draft_and_allow_no_other_members() {
    for (name, schema) in all() {
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert_eq!(schema["title"], name.as_str());
        if let Err(error) = jsonschema::meta::validate(&schema) {
            panic!("{name}: {error}");
        }
        if name != COMMON {
            assert_eq!(schema["properties"]["schema"]["const"], name.as_str());
        }
        let mut found = Vec::new();
        objects(&schema, &mut found);
        for object in found {
            assert_eq!(object["additionalProperties"], false, "{name}: {object:#}");
        }
    }
}

/// The members of an object, but not those of the objects in it.
fn members(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_manual_lists_the_members_of_every_object() {
    let page = std::fs::read_to_string(directory().join("../memtool-json.5")).unwrap();
    let head = BTreeSet::from(["schema", "version", "host", "warnings"]);
    let schemas = all();
    let sections = page.split("\n.Ss ").filter(|section| section.starts_with("memtool."));
    let mut checked = 0;
    for section in sections {
        let name = section.lines().next().unwrap();
        let said: BTreeSet<&str> = section.split(|c: char| c.is_whitespace()).collect();
        let missing: Vec<_> =
            members(&schemas[name]).difference(&head).filter(|member| !said.contains(**member)).copied().collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
        checked += 1;
    }
    assert_eq!(checked, schemas.len() - 3, "all but what they share, the manifest and the machine");
}

#[test]
fn an_object_that_is_not_as_its_schema_says_is_found() {
    let good = demo(&["ranges", "list", "--json"]).ok().json();
    assert_eq!(problems(&good), [""; 0]);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut object = good.clone();
        change(&mut object);
        problems(&object)
    };
    for (what, change) in [
        ("another member", &(|object: &mut Value| object["new"] = json!(1)) as &dyn Fn(&mut Value)),
        ("another member inside", &|object| object["ranges"][0]["new"] = json!(1)),
        ("a member is missing", &|object| _ = object.as_object_mut().unwrap().remove("free_slot_count")),
        ("another type", &|object| object["free_slot_count"] = json!("seven")),
        ("a number that a double rounds", &|object| object["free_slot_count"] = json!(1_u64 << 53)),
        ("an unknown word", &|object| object["ranges"][0]["type"] = json!("cached")),
        ("an unknown flag", &|object| object["ranges"][0]["flags"] = json!(["hot"])),
        ("an address in another form", &|object| object["ranges"][0]["base"] = json!("4096")),
        ("capital letters in an address", &|object| object["ranges"][0]["base"] = json!("0xA0000")),
        ("another version", &|object| object["version"] = json!(2)),
        ("another host", &|object| object["host"] = json!("linux")),
        ("an unknown schema", &|object| object["schema"] = json!("memtool.heap")),
        ("no schema", &|object| object["schema"] = json!(null)),
    ] {
        assert!(!changed(change).is_empty(), "{what}");
    }
}

#[test]
#[should_panic(expected = "there is no schema memtool.heap")]
fn a_test_fails_on_an_object_without_a_schema() {
    document(br#"{ "schema": "memtool.heap" }"#);
}

#[test]
fn the_demo_machine_with_every_field_is_as_its_schema_says() {
    let mut machine = demo_machine();
    machine["contents"] = json!({ "image": { "path": "ram", "layout": "padded" } });
    machine["unreadable"] = json!([{ "start": "4096", "end": "0x2000" }]);
    machine["symbols"] = json!({ "msgbufp": { "address": "0xffffffff81000000", "size": 8 }, "none": null });
    machine["kernel_files"] =
        json!([{ "name": "kernel", "path": "/boot/kernel/kernel", "address": "0xffffffff80200000" }]);
    machine["dump_devices"] = json!(["swap.img"]);
    machine["live_dump_fault"] = json!("no-header");
    machine["errors"] = json!({ "read": "EIO" });
    machine["processes"][0]["entries"][0]["inode"] = json!(5);
    assert_eq!(problems(&machine), [""; 0]);
    machine["errors"] = json!({ "reed": "EIO" });
    assert_eq!(problems(&machine).len(), 1);
}

/// A member of an object in a schema.
struct Member<'a> {
    schema: &'a str,
    name: &'a str,
    value: &'a Value,
    is_required: bool,
}

/// Every member of every object in all schemas.
fn every_member(schemas: &BTreeMap<String, Value>) -> Vec<Member<'_>> {
    let mut members = Vec::new();
    for (schema, object) in schemas {
        let mut found = Vec::new();
        objects(object, &mut found);
        for object in found {
            let required = object["required"].as_array().cloned().unwrap_or_default();
            members.extend(object["properties"].as_object().unwrap().iter().map(|(name, value)| Member {
                schema,
                name,
                value,
                is_required: required.contains(&json!(name)),
            }));
        }
    }
    members
}

/// What a value can be: the types of JSON, `address` for a string of hexadecimal digits, `time` for one that is a time, and
/// `name` for a string that may be a list of bytes.
fn kinds<'a>(value: &'a Value, schemas: &'a BTreeMap<String, Value>, schema: &str) -> BTreeSet<&'a str> {
    if let Some(reference) = value["$ref"].as_str() {
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = if file.is_empty() { schema } else { file.strip_suffix(".json").unwrap() };
        return match pointer {
            "/$defs/name" => BTreeSet::from(["name"]),
            _ => kinds(schemas[file].pointer(pointer).unwrap(), schemas, file),
        };
    }
    if let Some(choices) = value.get("anyOf").or(value.get("oneOf")).and_then(Value::as_array) {
        return choices.iter().flat_map(|choice| kinds(choice, schemas, schema)).collect();
    }
    if value.get("format").is_some_and(|format| format == "date-time") {
        return BTreeSet::from(["time", "null"]);
    }
    if value["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^0x")) {
        return BTreeSet::from(["address"]);
    }
    let word = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        _ => "string",
    };
    match (&value["type"], value.get("enum"), value.get("const")) {
        (Value::String(kind), ..) => BTreeSet::from([kind.as_str()]),
        (Value::Array(kinds), ..) => kinds.iter().filter_map(Value::as_str).collect(),
        (_, Some(Value::Array(words)), _) => words.iter().map(word).collect(),
        (.., Some(constant)) => BTreeSet::from([word(constant)]),
        _ => panic!("{schema}: {value}"),
    }
}

/// The schemas of what only the program writes: a recorded machine is edited by hand as well.
fn written() -> BTreeMap<String, Value> {
    all().into_iter().filter(|(name, _)| name != "memtool.machine").collect()
}

/// Members that depend on an option, or on what `method` names: all others are always there.
const OPTIONAL: [(&str, &[&str]); 9] = [
    (
        "convert",
        &["segment_count", "bytes_mapped", "bytes_missing", "missing_table_count", "unknown_tables", "thread_count"],
    ),
    ("dump", &["sha256"]),
    ("inspect", &["messages"]),
    (
        "livedump",
        &[
            "number",
            "info",
            "unreadable",
            "bytes_unreadable",
            "unreadable_unlisted_count",
            "not_ram_count",
            "missing_table_count",
            "left_out_pages",
        ],
    ),
    ("maps", &["gaps", "numa", "structures"]),
    ("paddr", &["pid", "page_count"]),
    ("ps", &["threads"]),
    ("read", &["size", "pieces", "values", "symbols", "string", "kernel_file"]),
    ("symbols", &["query", "offset"]),
];

#[test]
fn what_is_unknown_is_null_and_nothing_is_left_out_for_it() {
    let schemas = written();
    for Member { schema, name, is_required, .. } in every_member(&schemas) {
        let may_be_absent =
            OPTIONAL.iter().any(|(of, names)| schema == format!("memtool.{of}") && names.contains(&name));
        // Of a section that is not asked for there is nothing.
        let is_section = SectionName::ALL.iter().any(|section| section.member() == name);
        let may_be_absent = may_be_absent || is_section && ["memtool.show", "memtool.report"].contains(&schema);
        assert!(is_required || may_be_absent, "{schema}: {name}");
    }
}

#[test]
fn names_of_members_tell_what_they_are() {
    let schemas = written();
    let all = all();
    for Member { schema, name, value, .. } in every_member(&schemas) {
        let kinds = kinds(value, &all, schema);
        let has = |kind: &str| kinds.contains(kind);
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{schema}: {name}");
        assert_eq!(has("time"), name == "time" || name.ends_with("_at"), "{schema}: {name}: {kinds:?}");
        let is_size = name == "size" || name.ends_with("_size") || name.starts_with("bytes_");
        let is_number = is_size || ["file_offset", "extent"].contains(&name) || name.ends_with("_count");
        assert!(!is_number || has("integer"), "{schema}: {name}: {kinds:?}");
        assert!(!name.ends_with("_seconds") || has("integer") || has("number"), "{schema}: {name}: {kinds:?}");
        let is_path = ["input", "output", "info", "key", "kernel_file", "path"].contains(&name);
        let is_text = ["hostname", "kernel_version", "panic", "command", "label"].contains(&name);
        // The system in a manifest is as its recorded machine has it.
        let is_of_system = schema == "memtool.manifest" && name == "hostname";
        assert!(!(is_path || is_text) || has("name") || is_of_system, "{schema}: {name}: {kinds:?}");
        for word in value["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let is_word = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            assert!(is_word, "{schema}: {name}: {word}");
        }
    }
    for (name, schema) in schemas.iter().filter(|(name, _)| *name != "memtool.manifest") {
        let mut found = Vec::new();
        objects(schema, &mut found);
        for members in found.into_iter().map(members) {
            let has_ends = members.contains("start") && members.contains("end");
            let has_length = members.contains("length");
            let is_in_manifest = members == BTreeSet::from(["start", "end", "why"]);
            assert!(!(has_ends || has_length) || members.contains("size") || is_in_manifest, "{name}: {members:?}");
        }
    }
}

#[test]
fn a_name_stands_for_one_thing_in_all_objects() {
    // What another name stands for now.
    const OLD: [&str; 41] = [
        "big_endian",
        "blocksize",
        "contiguous_runs",
        "cpus",
        "dumpextent",
        "dumpkeysize",
        "dumplength",
        "dumptime",
        "file",
        "finished",
        "free_slots",
        "longest_run",
        "lost_tables",
        "mapped",
        "mapped_not_in_dump",
        "missing_tables",
        "not_ram",
        "of",
        "outside",
        "panicstring",
        "possible_superpages",
        "ran_at",
        "references",
        "resident",
        "seconds",
        "started",
        "taken_at",
        "thread_list",
        "total",
        "undivided",
        "unknown_domain",
        "unmapped",
        "unreadable_bytes",
        "unreadable_not_listed",
        "uptime",
        "variable_slots",
        "versionstring",
        "virtual",
        "wired",
        "valid",
        "invalid",
    ];
    // `version` is kern.version in a system, and a number elsewhere; `symbols` of pointers stand beside their values.
    const SEVERAL: [&str; 2] = ["version", "symbols"];
    let (schemas, all) = (written(), all());
    let mut meanings: BTreeMap<&str, (BTreeSet<&str>, &str)> = BTreeMap::new();
    for Member { schema, name, value, .. } in every_member(&schemas) {
        assert!(!OLD.contains(&name), "{schema}: {name}");
        let mut kinds = kinds(value, &all, schema);
        kinds.remove("null");
        // A number that a double does not hold, and a name that is always UTF-8.
        if kinds.contains("integer") {
            kinds.remove("string");
        }
        if kinds.remove("name") {
            kinds.insert("string");
        }
        let (before, first) = meanings.entry(name).or_insert_with(|| (kinds.clone(), schema));
        let is_same = *before == kinds || before.is_subset(&kinds) || kinds.is_subset(before);
        assert!(is_same || SEVERAL.contains(&name), "{name}: {before:?} in {first}, {kinds:?} in {schema}");
    }
}
