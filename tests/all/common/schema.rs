//! The JSON Schemas beside memtool-json(5): every object that a test has from the program is validated against its own.

use jsonschema::{Registry, Validator};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The schema of what others have in common. Schemas refer to it, and to each other, by the names of their files.
pub const COMMON: &str = "memtool.common";

/// The schemas' directory.
pub fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "man", "schema"].iter().collect()
}

/// All schemas by name.
pub fn all() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let schemas = files.map(|path| {
        let schema: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), schema)
    });
    schemas.collect()
}

/// Where a schema seems to lie: references start there, and nothing is read.
fn uri(name: &str) -> String {
    format!("file:///schema/{name}.json")
}

static REGISTRY: LazyLock<Registry<'static>> = LazyLock::new(|| {
    let schemas = all().into_iter();
    let registry = schemas.fold(Registry::new(), |registry, (name, schema)| registry.add(uri(&name), schema).unwrap());
    registry.prepare().unwrap()
});

static VALIDATORS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let validator = |(name, schema): (String, Value)| {
        let options = jsonschema::options().with_base_uri(uri(&name)).with_registry(&REGISTRY);
        (name.clone(), options.build(&schema).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    all().into_iter().filter(|(name, _)| name != COMMON).map(validator).collect()
});

/// What is wrong with an object by the schema that it names.
pub fn problems(document: &Value) -> Vec<String> {
    let Some(name) = document["schema"].as_str() else { return vec!["it names no schema".to_owned()] };
    let Some(validator) = VALIDATORS.get(name) else { return vec![format!("there is no schema {name}")] };
    validator.iter_errors(document).map(|error| format!("{name}: {}: {error}", error.instance_path())).collect()
}

/// Reads an object that the program has written, and validates it.
#[track_caller]
pub fn document(text: &[u8]) -> Value {
    let document = serde_json::from_slice(text).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(text).chars().take(4000).collect::<String>())
    });
    let problems = problems(&document);
    assert!(problems.is_empty(), "{problems:#?}: {document:#}");
    document
}
