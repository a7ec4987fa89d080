//! The JSON Schemas beside memtool-json(5). Every object that a test has from the program is validated already; here is
//! what else holds of the schemas.

use crate::common::schema::{COMMON, all, directory, document, problems};
use crate::common::{demo, demo_machine};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

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
        ("a member is missing", &|object| _ = object.as_object_mut().unwrap().remove("free_slots")),
        ("another type", &|object| object["free_slots"] = json!("seven")),
        ("a number that a double rounds", &|object| object["free_slots"] = json!(1_u64 << 53)),
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
