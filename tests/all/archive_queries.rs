//! The index of an archive of a fleet, as the engines read it that fleets have: DuckDB answers the queries of README.md as
//! memtool does.

use crate::common::s3::{BUCKET, Kind, Server};
use crate::common::{directory, memtool, run, text};
use memtool::archive::contents;
use memtool::archive::index::Row;
use memtool::archive::names::{Id, Month};
use memtool::archive::record::{CrashRecord, Kind as ObjectKind, RecordedFingerprint, SCHEMA, StoredObject, VERSION};
use memtool::archive::time::Time;
use memtool::remote::open_folder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// So many crashes has a fleet.
const COUNT: u64 = 100_000;
/// The first second of 2026-11-01.
const NOVEMBER: u64 = 1_793_491_200;

/// Crashes of a fleet of 1000 hosts, from August to November, of bugs some of which are frequent.
fn synthetic(count: u64) -> Vec<CrashRecord> {
    (0..count)
        .map(|number| {
            // Numbers that follow no order, the same each time.
            let noise = u64::from_le_bytes(Id::new(&number.to_le_bytes()).as_str().as_bytes()[..8].try_into().unwrap());
            let bug = (noise % 1000).isqrt();
            let crashed_at = NOVEMBER - 90 * 86_400 + noise % (114 * 86_400);
            // The last bugs are new.
            let crashed_at = if bug >= 29 { NOVEMBER + 23 * 86_400 + noise % 86_400 } else { crashed_at };
            let crashed_at = Time::from_seconds(crashed_at).unwrap();
            let id = Id::new(&number.to_be_bytes());
            let fingerprint = (bug % 5 > 0).then(|| RecordedFingerprint {
                value: format!("1:{:016x}", bug * 0x0123_4567_89ab),
                basis: "stack".to_owned(),
                parts: vec!["function".to_owned()],
            });
            let dump = StoredObject {
                kind: ObjectKind::Dump,
                name: format!("crashes/{}/{id}/vmcore.zst", crashed_at.month()),
                size: (1 << 28) + noise % (1 << 28),
                sha256: None,
            };
            CrashRecord {
                schema: SCHEMA.to_owned(),
                version: VERSION,
                id,
                host: (noise % 97 > 0).then(|| format!("host{:03}.example.org", noise / 7 % 1000)),
                crashed_at,
                dumped_at: Some(crashed_at),
                added_at: crashed_at,
                kernel_version: Some(format!("FreeBSD 15.{}-RELEASE-p{}", bug % 2, noise % 4)),
                kernel_build_id: Some(format!("{:040x}", bug % 8)),
                architecture: Some("amd64".to_owned()),
                panic: (bug % 10 > 0).then(|| format!("page fault in function{bug}")),
                fingerprint,
                dump_size: Some(1 << 32),
                stored_size: dump.size,
                compression: "zstd".to_owned(),
                encrypted: false,
                recipients: None,
                objects: vec![dump],
                memtool_version: "0.1.0".to_owned(),
                warnings: Vec::new(),
            }
        })
        .collect()
}

/// Writes the index of crashes, merged, and the record of the first of them; some rows also as objects of their own.
fn write_index(records: &[CrashRecord], twice: usize, archive: &Path) {
    let folder = open_folder(archive).unwrap();
    let mut months: BTreeMap<Month, Vec<Row>> = BTreeMap::new();
    for record in records {
        months.entry(record.month().unwrap()).or_default().push(record.row());
    }
    for (month, rows) in months {
        for row in rows.iter().take(twice) {
            contents::add(&*folder, &month, row).unwrap();
        }
        contents::write(&*folder, &month, rows).unwrap();
    }
    let first = &records[0];
    folder.create(&first.month().unwrap().record(&first.id), &first.to_bytes().unwrap()).unwrap();
}

/// The statements of README.md for an engine, each up to its semicolon.
fn statements(engine: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let begin = format!("```sql\n-- {engine}\n");
    let block = readme.split_once(&begin).unwrap_or_else(|| panic!("README.md has nothing for {engine}")).1;
    let block = block.split_once("```").unwrap().0;
    let without_comments: Vec<&str> = block.lines().filter(|line| !line.starts_with("--")).collect();
    let statements = without_comments.join("\n");
    statements.split(';').map(|statement| statement.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// What DuckDB answers to the statements of README.md on an archive: the rows of each query, times as seconds.
fn ask_duckdb(archive: &Path) -> Option<Vec<Value>> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/duckdb");
    if !tools.join("duckdb").is_dir() {
        println!("NOT CHECKED: DuckDB is not installed; tools/test does that");
        return None;
    }
    const SCRIPT: &str = "
import duckdb, json, sys
connection = duckdb.connect()
answers = []
for statement in json.load(sys.stdin):
    if statement.startswith('CREATE'):
        connection.execute(statement)
        continue
    described = connection.execute('DESCRIBE ' + statement).fetchall()
    columns = [f'epoch({name}) AS {name}' if kind.startswith('TIMESTAMP') else name for name, kind, *_ in described]
    rows = connection.execute(f'SELECT {\", \".join(columns)} FROM ({statement})').fetchall()
    answers.append([dict(zip([name for name, *_ in described], row)) for row in rows])
print(json.dumps(answers))
";
    let statements: Vec<String> =
        statements("DuckDB").iter().map(|text| text.replace("s3://crash/fleet", text_of(archive))).collect();
    let folder = directory();
    let asked = folder.path().join("statements.json");
    std::fs::write(&asked, serde_json::to_vec(&statements).unwrap()).unwrap();
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", tools).args(["-c", SCRIPT]).stdin(std::fs::File::open(asked).unwrap());
    let answered = run(&mut python).ok();
    Some(serde_json::from_slice(&answered.bytes).unwrap())
}

fn text_of(path: &Path) -> &str {
    text(path)
}

fn seconds(time: &Value) -> f64 {
    Time::parse(time.as_str().unwrap(), Time::now()).unwrap().seconds() as f64
}

/// Rows in an order of their own: that of what both have the same of is nobody's matter.
fn sorted(rows: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
    rows.sort();
    rows
}

#[test]
fn duckdb_answers_the_queries_of_the_readme_as_memtool_does() {
    let folder = directory();
    let archive = folder.path().join("archive");
    write_index(&synthetic(COUNT), 5, &archive);
    let groups = |options: &[&str]| -> Vec<Value> {
        let found = memtool(&[&["archive", "groups", text(&archive), "--json"], options].concat()).ok().json();
        found["groups"].as_array().unwrap().clone()
    };
    let (all, new) = (groups(&[]), groups(&["--new-since", "2026-11-24"]));
    assert!(all.len() > 20 && !new.is_empty() && new.len() < 5, "{} {}", all.len(), new.len());
    let listed = memtool(&["archive", "ls", text(&archive), "--json"]).ok().json();
    assert_eq!(listed["crash_count"], COUNT);
    let Some(answers) = ask_duckdb(&archive) else { return };
    let [by_group, is_new, newest] = answers.as_slice() else { panic!("{}", answers.len()) };
    let group = |group: &Value| {
        let panic = if group["fingerprint_value"].is_null() { group["panic"].clone() } else { Value::Null };
        json!({
            "fingerprint": group["fingerprint_value"], "panic_message": panic, "crashes": group["crash_count"],
            "first_seen": seconds(&group["first_seen_at"]), "last_seen": seconds(&group["last_seen_at"]),
            "hosts": group["host_count"],
        })
    };
    let rows = |answer: &Value| sorted(answer.as_array().unwrap().clone());
    assert_eq!(rows(by_group), sorted(all.iter().map(group)));
    assert_eq!(rows(is_new), sorted(new.iter().map(group)));
    let crash = |crash: &Value| {
        json!({
            "crashed_at": seconds(&crash["crashed_at"]), "host": crash["hostname"], "panic": crash["panic"],
            "object": crash["object"],
        })
    };
    let expected: Vec<Value> = listed["crashes"].as_array().unwrap().iter().take(20).map(crash).collect();
    assert_eq!(newest, &Value::Array(expected));
}

#[test]
fn a_store_with_as_many_crashes_answers_as_a_directory_does() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let folder = directory();
    let archive = folder.path().join("archive");
    let records = synthetic(COUNT);
    write_index(&records, 0, &archive);
    for name in crate::common::files_below(&archive) {
        server.put(&format!("fleet/{name}"), &std::fs::read(archive.join(name)).unwrap());
    }
    let (store, id) = (format!("s3://{BUCKET}/fleet/"), records[0].id.to_string());
    for arguments in [&["ls", "--limit", "1000"][..], &["groups"], &["show", &id]] {
        let answer = |of: &str| {
            let (name, rest) = arguments.split_first().unwrap();
            server.memtool(server.port, &[&["archive", name, of], rest, &["--json"]].concat()).ok().json()
        };
        let (here, there) = (answer(text(&archive)), answer(&store));
        for member in ["crash_count", "crashes", "groups", "crash"] {
            assert_eq!(here[member], there[member], "{arguments:?}");
        }
    }
}
