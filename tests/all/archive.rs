//! Archives of crashes, in directories and object stores: each crash once, nothing lost whatever happens, and an index that can
//! be made anew.

use crate::common::encryption::{block_for, encrypted};
use crate::common::proxy::{Fault, Proxy};
use crate::common::recipients::{KEYS, decrypt};
use crate::common::s3::{BUCKET, Kind, Server};
use crate::common::{Run, command, directory, files_below, memtool, names, on_terminal_of, run, start, text};
use crate::kernel_search::{Installed, Sysroot};
use crate::ps::Memory;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use vmcore::decrypt::Encryption;
use vmcore_synth::{Arch, MinidumpSpec};

/// What savecore(8) writes of a dump; the last digits of the parity word tell crashes apart.
pub fn info(host: &str, time: &str, panic: &str, parity: u32) -> String {
    format!(
        "Dump header from device: /dev/ada0p3\n  Architecture: amd64\n  Architecture Version: 2\n  Dumptime: {time}\n  \
         Hostname: {host}\n  Magic: FreeBSD Kernel Dump\n  Version String: FreeBSD 15.1-RELEASE GENERIC\n    root@builder\n\n  \
         Panic String: {panic}\n  Dump Parity: {parity}\n  Bounds: 0\n  Dump Status: good\n"
    )
}

/// The dumps of a fleet, as savecore(8) leaves them.
pub struct Dumps(TempDir);

impl Dumps {
    pub fn new() -> Self {
        Self(directory())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A dump with a number.
    pub fn save(&self, number: u32, info: &str) -> String {
        self.save_as(&format!("vmcore.{number}"), &self.bytes(), number, info)
    }

    pub fn save_as(&self, name: &str, dump: &[u8], number: u32, info: &str) -> String {
        std::fs::write(self.path(name), dump).unwrap();
        std::fs::write(self.path(&format!("info.{number}")), info).unwrap();
        text(&self.path(name)).to_owned()
    }

    pub fn bytes(&self) -> Vec<u8> {
        MinidumpSpec::example(Arch::Amd64, 3).build()
    }
}

/// Where an archive is.
pub enum Archive {
    Directory(TempDir),
    Store(Server),
}

impl Archive {
    fn directory() -> Self {
        Self::Directory(directory())
    }

    /// One of each kind that there is here.
    fn all() -> Vec<Self> {
        [Self::directory()].into_iter().chain(Server::all().into_iter().map(Self::Store)).collect()
    }

    fn name(&self) -> String {
        match self {
            Self::Directory(directory) => text(&directory.path().join("archive")).to_owned(),
            Self::Store(_) => format!("s3://{BUCKET}/fleet/"),
        }
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = match self {
            Self::Directory(_) => command(),
            Self::Store(server) => server.command(server.port),
        };
        command.args(["archive", name, &self.name()]).args(arguments);
        command
    }

    #[track_caller]
    fn run(&self, name: &str, arguments: &[&str]) -> Run {
        run(&mut self.command(name, arguments))
    }

    #[track_caller]
    fn json(&self, name: &str, arguments: &[&str]) -> Value {
        self.run(name, &[&["--json"], arguments].concat()).ok().json()
    }

    /// Adds a dump, and tells its ID.
    #[track_caller]
    fn add(&self, dump: &str, options: &[&str]) -> String {
        let added = self.json("add", &[&[dump, "--no-report"], options].concat());
        added["crashes"][0]["crash"]["id"].as_str().unwrap().to_owned()
    }

    /// The names of its objects.
    fn objects(&self) -> Vec<String> {
        match self {
            Self::Directory(directory) => {
                let place = directory.path().join("archive");
                let mut found = if place.exists() { files_below(&place) } else { Vec::new() };
                found.sort();
                found
            }
            Self::Store(server) => {
                server.keys().iter().map(|key| key.strip_prefix("fleet/").unwrap().to_owned()).collect()
            }
        }
    }

    fn objects_below(&self, folder: &str) -> Vec<String> {
        self.objects().into_iter().filter(|name| name.starts_with(folder)).collect()
    }

    fn get(&self, name: &str) -> Vec<u8> {
        match self {
            Self::Directory(directory) => std::fs::read(directory.path().join("archive").join(name)).unwrap(),
            Self::Store(server) => server.object(&format!("fleet/{name}")).unwrap(),
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        match self {
            Self::Directory(directory) => {
                let path = directory.path().join("archive").join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            Self::Store(server) => server.put(&format!("fleet/{name}"), bytes),
        }
    }

    fn delete(&self, name: &str) {
        match self {
            Self::Directory(directory) => {
                std::fs::remove_file(directory.path().join("archive").join(name)).unwrap();
            }
            Self::Store(server) => server.delete(&format!("fleet/{name}")),
        }
    }

    /// All that it answers.
    #[track_caller]
    fn answers(&self) -> [Value; 2] {
        [self.json("ls", &[]), self.json("groups", &[])]
    }
}

/// Crashes of three hosts and of two bugs, in two months; by the IDs, the oldest first.
fn fleet(archive: &Archive, dumps: &Dumps) -> Vec<String> {
    let crashes = [
        ("db1", "2026-09-30 23:30:00 -0100", "page fault"),
        ("web1", "2026-10-02 12:00:00 +0000", "sleeping thread"),
        ("web2", "2026-10-03 12:00:00 +0000", "page fault"),
        ("db1", "2026-10-04 12:00:00 +0000", "page fault"),
    ];
    let add = |(number, (host, time, panic)): (u32, &(&str, &str, &str))| {
        archive.add(&dumps.save(number, &info(host, time, panic, number)), &[])
    };
    (0..).zip(&crashes).map(add).collect()
}

#[test]
fn a_crash_is_kept_with_all_that_is_known_and_comes_back_as_it_was() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let dump = dumps.save(7, &info("web1", "2026-10-02 12:00:00 +0200", "page fault", 1));
        let run = archive.run("add", &[&dump, "--no-report"]).ok();
        assert!(run.stdout.starts_with(&format!("{dump}: added as ")), "{run:?}");
        let found = archive.json("ls", &[]);
        let crash = &found["crashes"][0];
        let id = crash["id"].as_str().unwrap();
        assert_eq!(crash["hostname"], "web1");
        assert_eq!((&crash["crashed_at"], &crash["dumped_at"]), (&"2026-10-02T10:00:00Z".into(), &crash["crashed_at"]));
        assert_eq!((&crash["panic"], &crash["architecture"]), (&"page fault".into(), &"amd64".into()));
        assert_eq!(crash["kernel_version"], "FreeBSD 15.1-RELEASE GENERIC");
        assert_eq!(crash["dump_size"], dumps.bytes().len());
        let place = format!("crashes/2026-10/{id}");
        let expected = [
            format!("{place}/crash.json"),
            format!("{place}/info"),
            format!("{place}/vmcore.zst"),
            format!("index/month=2026-10/{id}.parquet"),
        ];
        assert_eq!(archive.objects(), expected);
        assert!(zstd::decode_all(&archive.get(&expected[2])[..]).unwrap() == dumps.bytes());
        // The record is as its schema says.
        let record = crate::common::schema::document(&archive.get(&expected[0]));
        let shown = archive.json("show", &[&id[..8]]);
        assert_eq!((&shown["crash"], &shown["report"]), (&record, &Value::Null));
        assert!(archive.run("show", &[&id[..8]]).ok().stdout.contains("page fault"));
        let line = archive.run("ls", &[]).ok().stdout;
        assert_eq!(line.split('\t').nth(3), Some("page fault"), "{line}");

        let back = directory();
        let run = archive.run("get", &[id, "--output", text(back.path())]).ok();
        assert_eq!(names(back.path()), ["info.0", "vmcore.0.zst"], "{run:?}");
        assert_eq!(std::fs::read(back.path().join("info.0")).unwrap(), std::fs::read(dumps.path("info.7")).unwrap());
        memtool(&["inspect", "--verify", text(&back.path().join("vmcore.0.zst"))]).ok();
        let got = archive.json("get", &[id, "--output", text(back.path())]);
        assert_eq!(got["files"][0]["output"], text(&back.path().join("vmcore.1.zst")));
        // What is damaged is not written.
        let mut dump = archive.get(&expected[2]);
        dump[100] ^= 1;
        archive.put(&expected[2], &dump);
        let run = archive.run("get", &[id, "--output", text(back.path())]);
        run.fails_saying(&["vmcore.zst is not what was added: its length or its SHA-256 differs"]);
        assert!(!back.path().join("vmcore.2.zst").exists());
    }
}

#[test]
fn each_crash_is_kept_once_however_it_is_compressed() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let said = |parity| info("web1", "2026-10-02 12:00:00 +0000", "page fault", parity);
        let dump = dumps.save(0, &said(1));
        let id = archive.add(&dump, &[]);
        let before = archive.objects();
        let run = archive.run("add", &[&dump]).ok();
        assert_eq!(run.stdout, format!("{dump}: is in the archive already, as {id}\n"));
        let packed = zstd::encode_all(&dumps.bytes()[..], 1).unwrap();
        let other_zone = said(1).replace("12:00:00 +0000", "14:00:00 +0200");
        let again = dumps.save_as("vmcore.1.zst", &packed, 1, &other_zone);
        assert_eq!(archive.add(&again, &[]), id);
        assert_eq!(archive.objects(), before);
        // Neither is another crash of the host, nor another machine that is called the same.
        let other = archive.add(&dumps.save(2, &said(2)), &[]);
        let mut bytes = dumps.bytes();
        bytes[5000] ^= 1;
        let clone = archive.add(&dumps.save_as("vmcore.3", &bytes, 3, &said(1)), &[]);
        // A dump alone is known by its bytes.
        std::fs::write(dumps.path("vmcore.4"), dumps.bytes()).unwrap();
        std::fs::write(dumps.path("vmcore.5.zst"), &packed).unwrap();
        let alone = archive.add(text(&dumps.path("vmcore.4")), &[]);
        assert_eq!(archive.add(text(&dumps.path("vmcore.5.zst")), &[]), alone);
        assert_eq!(BTreeSet::from([&id, &other, &clone, &alone]).len(), 4);
        assert_eq!(archive.json("ls", &[])["crash_count"], 4);
    }
}

#[test]
fn a_report_tells_the_fingerprint_and_the_kernel_is_kept_once() {
    let mut memory = Memory::with_offsets(Memory::blank(Arch::Amd64, 8));
    let panicked = memory.variable("panicstr", 8);
    let panic = memory.room(16);
    memory.put(panic, b"page fault\0");
    memory.pointer(panicked, panic);
    let said = b"boot\npanic: page fault\n";
    memory.spec = MinidumpSpec { message_buffer: [said, &[0; 4024][said.len()..]].concat(), ..memory.spec };
    let kernel = Installed::in_memory(memory, "FreeBSD 15.1-RELEASE GENERIC\n", 1);
    let root = Sysroot::new();
    let image = root.install("kernel", &kernel.image(), 0);
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let save = |number| {
            let said = info("web1", "2026-10-02 12:00:00 +0000", "page fault", number);
            dumps.save_as(&format!("vmcore.{number}"), &kernel.memory.dump(), number, &said)
        };
        let added = archive.run("add", &[&save(0), "--kernel", text(&image), "--json"]).ok().json();
        let crash = &added["crashes"][0]["crash"];
        let kinds: Vec<_> = crash["objects"].as_array().unwrap().iter().map(|object| &object["kind"]).collect();
        assert_eq!(kinds, ["dump", "info", "report", "kernel"]);
        let shown = archive.json("show", &[crash["id"].as_str().unwrap()]);
        assert_eq!(shown["report"]["panic"], "page fault");
        assert_eq!(shown["report"]["fingerprint"], crash["fingerprint"]);
        assert_eq!(crash["fingerprint"]["basis"], "panic-message");
        // The kernel is found where it is installed.
        let options = ["--sysroot", text(root.0.path())];
        archive.run("add", &[&[save(1).as_str()], &options[..]].concat()).ok();
        let build_id = crash["kernel_build_id"].as_str().unwrap();
        assert_eq!(archive.objects_below("kernels"), [format!("kernels/{build_id}/kernel.zst")]);
        let groups = archive.json("groups", &[]);
        assert_eq!((&groups["group_count"], &groups["groups"][0]["crash_count"]), (&1.into(), &2.into()));
        assert_eq!(groups["groups"][0]["fingerprint_value"], crash["fingerprint"]["value"]);
        let back = directory();
        archive.run("get", &[crash["id"].as_str().unwrap(), "-o", text(back.path())]).ok();
        assert_eq!(names(back.path()), ["info.0", "kernel.0", "vmcore.0.zst"]);
        assert!(std::fs::read(back.path().join("kernel.0")).unwrap() == kernel.image());
        let report =
            memtool(&["report", text(&back.path().join("vmcore.0.zst")), "-N", text(&back.path().join("kernel.0"))]);
        assert!(report.stdout.contains("page fault"), "{report:?}");
    }
}

#[test]
fn what_is_encrypted_stays_so_and_its_key_is_kept_with_it() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let said = |parity| info("web1", "2026-10-02 12:00:00 +0000", "page fault", parity);
        // To recipients, by memtool.
        let public = KEYS.public("mine");
        let added = archive.run("add", &[&dumps.save(0, &said(0)), "--recipient", &public, "--json"]).ok().json();
        let crash = &added["crashes"][0]["crash"];
        let (id, name) = (crash["id"].as_str().unwrap(), crash["objects"][0]["name"].as_str().unwrap());
        assert!(name.ends_with("/vmcore.zst.age") && crash["encrypted"] == true, "{crash}");
        let stored = dumps.path("stored");
        std::fs::write(&stored, archive.get(name)).unwrap();
        assert!(zstd::decode_all(&decrypt("mine", &stored)[..]).unwrap() == dumps.bytes());
        assert_eq!(archive.json("show", &[id])["report"], Value::Null);
        let shown = archive.json("show", &[id, "--identity", &KEYS.file("mine")]);
        assert_eq!(shown["report"]["hostname"], "web1");
        // Such a dump as it is.
        let age = dumps.save_as("vmcore.1.zst.age", &archive.get(name), 1, &said(1));
        let run = archive.run("add", &[&age]).ok();
        assert!(run.stderr.contains("the dump is encrypted, so there is no report"), "{run:?}");
        // By the kernel.
        let secret = encrypted(Encryption::Aes256Cbc, &dumps.bytes());
        let dump = dumps.save_as("vmcore_encrypted.2", &secret, 2, &said(2));
        std::fs::write(dumps.path("key.2"), block_for("mine.pem", Encryption::Aes256Cbc, "oaep")).unwrap();
        let id = archive.add(&dump, &[]);
        let back = directory();
        archive.run("get", &[&id, "-o", text(back.path())]).ok();
        assert_eq!(names(back.path()), ["info.0", "key.0", "vmcore_encrypted.0"]);
        assert!(std::fs::read(back.path().join("vmcore_encrypted.0")).unwrap() == secret);
    }
}

#[test]
fn crashes_are_listed_and_counted_by_what_is_asked_for() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let ids = fleet(&archive, &dumps);
        let ids_of = |options: &[&str]| -> Vec<String> {
            let found = archive.json("ls", options);
            found["crashes"].as_array().unwrap().iter().map(|crash| crash["id"].as_str().unwrap().to_owned()).collect()
        };
        let newest: Vec<String> = ids.iter().rev().cloned().collect();
        assert_eq!(ids_of(&[]), newest);
        assert_eq!(ids_of(&["--limit", "1"]), newest[..1]);
        assert_eq!(ids_of(&["--host", "db1"]), [newest[0].clone(), newest[3].clone()]);
        assert_eq!(ids_of(&["--since", "2026-10-03T12:00:00Z"]), newest[..2]);
        assert_eq!(ids_of(&["--since", "2026-10-03T14:00:01+02:00"]), newest[..1]);
        assert_eq!(ids_of(&["--fingerprint", "1:0"]), [""; 0]);
        archive.run("ls", &["--since", "yesterday"]).usage_error(&["'yesterday' is not a time: use 2026-11-24"]);

        let groups = archive.json("groups", &[]);
        let groups = groups["groups"].as_array().unwrap();
        let counts: Vec<_> =
            groups.iter().map(|group| (group["panic"].as_str(), group["crash_count"].as_u64())).collect();
        assert_eq!(counts, [(Some("page fault"), Some(3)), (Some("sleeping thread"), Some(1))]);
        assert_eq!(groups[0]["first_seen_at"], "2026-10-01T00:30:00Z");
        assert_eq!(groups[0]["last_seen_at"], "2026-10-04T12:00:00Z");
        assert_eq!(groups[0]["hostnames"], serde_json::json!(["db1", "web2"]));
        assert_eq!((&groups[0]["fingerprint_value"], &groups[0]["host_count"]), (&Value::Null, &2.into()));
        // What cron(8) mails is something only if there is something new.
        let new = archive.run("groups", &["--new-since", "1d"]).ok();
        assert!(new.stdout.starts_with("(by panic)\t3\t2026-10-01T00:30:00Z\t2026-10-04T12:00:00Z\t"), "{new:?}");
        let none = archive.run("groups", &["--new-since", "9999-01-01"]).ok();
        assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", ""));
        archive.run("show", &[""]).fails_saying(&["'' is the beginning of "]);
        archive.run("show", &["xyz"]).fails_saying(&["has no crash 'xyz', by its index"]);
    }
}

#[test]
fn an_index_that_is_merged_or_made_anew_says_the_same() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        fleet(&archive, &dumps);
        let answers = archive.answers();
        assert_eq!(archive.objects_below("index").len(), 4);
        let merged = archive.json("index", &[]);
        assert_eq!((&merged["crash_count"], &merged["removed_object_count"]), (&4.into(), &4.into()));
        // The first month has one crash, which was before it in its own time zone.
        let objects = archive.objects_below("index");
        assert_eq!(objects.len(), 1, "{objects:?}");
        assert!(objects[0].starts_with("index/month=2026-10/merged-"), "{objects:?}");
        assert_eq!(archive.answers(), answers);
        // Again there is nothing to do, and with one more there is.
        archive.run("index", &[]).ok();
        assert_eq!(archive.objects_below("index"), objects);
        archive.add(&dumps.save(9, &info("db2", "2026-10-09 12:00:00 +0000", "page fault", 9)), &[]);
        assert_eq!(archive.objects_below("index").len(), 2);
        let answers = archive.answers();
        archive.run("index", &[]).ok();
        assert_eq!((archive.objects_below("index").len(), archive.answers()), (1, answers.clone()));
        // Between the writing of a merged object and the removal of others, rows are there twice.
        let once = archive.objects_below("index");
        archive.delete(&once[0]);
        assert_eq!(archive.json("ls", &[])["crash_count"], 0);
        let rebuilt = archive.json("index", &["--rebuild"]);
        assert_eq!((&rebuilt["crash_count"], &rebuilt["orphan_count"]), (&5.into(), &0.into()));
        assert_eq!((archive.objects_below("index"), archive.answers()), (once, answers));
    }
}

#[test]
fn a_bad_index_is_told_and_a_crash_is_never_lost_by_it() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let ids = fleet(&archive, &dumps);
        let answers = archive.answers();
        let row = archive.objects_below("index").iter().find(|name| name.contains(&ids[1])).unwrap().clone();
        let good = archive.get(&row);
        // Damaged: the others are there, and the run fails.
        for (bytes, why) in [
            (good[..good.len() / 2].to_vec(), "damaged: it is cut off"),
            (b"PAR1".to_vec(), "damaged: it is cut off"),
            (b"".to_vec(), "damaged: it is cut off"),
            (b"{ \"schema\": \"another\" }".to_vec(), "damaged: it is not Parquet"),
            (archive.get(&row.replace(&ids[1], &ids[2])), "damaged: it has not the row that its name tells of"),
        ] {
            archive.put(&row, &bytes);
            let run = archive.run("ls", &[]).exits(1);
            assert_eq!(run.lines().len(), 3, "{run:?}");
            run.says_in_one_line(&[&row, why, "'memtool archive index --rebuild' makes the index anew"]);
            // What cannot be read is not removed.
            archive.run("index", &[]).exits(1);
            assert_eq!(archive.get(&row), bytes);
        }
        // Of another version.
        let at = good.windows(21).position(|window| window == b"memtool.archive.index").unwrap();
        let mut other = good.clone();
        other[at + 23] = b'2';
        archive.put(&row, &other);
        for name in ["ls", "groups", "index"] {
            let words = [&row, "an index of version 2, and this memtool reads version 1", "archive index --rebuild"];
            archive.run(name, &[]).fails_saying(&words);
        }
        assert_eq!(archive.get(&row), other);
        archive.run("index", &["--rebuild"]).ok();
        assert_eq!(archive.answers(), answers);
        // Foreign objects are passed over, and stay.
        let foreign =
            ["index/notes.txt", "index/month=2026-10/part-0.parquet", "crashes/README", "crashes/2026-10/x/crash.json"];
        foreign.iter().for_each(|name| archive.put(name, b"foreign"));
        let run = archive.run("ls", &[]).ok();
        assert_eq!((run.lines().len(), run.stderr.lines().count()), (4, 2), "{run:?}");
        let run = archive.run("index", &["--rebuild"]).ok();
        assert_eq!(run.stderr.lines().count(), 4, "{run:?}");
        assert!(foreign.iter().all(|name| archive.get(name) == b"foreign"));
    }
}

#[test]
fn a_bad_record_is_told_and_the_others_are_found() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let ids = fleet(&archive, &dumps);
        let record = format!("crashes/2026-10/{}/crash.json", ids[1]);
        let good = String::from_utf8(archive.get(&record)).unwrap();
        let long = format!("{{\"x\": \"{}\"}}", "x".repeat(1 << 20));
        for (bytes, why) in [
            ("", "damaged: EOF while parsing"),
            ("{}", "damaged: missing field `schema`"),
            ("[1]", "damaged: "),
            (
                &good.replace("\"version\": 1", "\"version\": 2"),
                "version 2 of 'memtool.archive.crash', which this memtool does not read",
            ),
            (&good.replace(&ids[1], &ids[2]), "it is of another crash"),
            (&good.replace("2026-10-02T", "2026-11-02T"), "it is of another crash"),
            (&good.replace("crashes/2026-10", "../2026-10"), "it names no dump of its own"),
            (&long, "more than the 1048576 that are read of it"),
        ] {
            archive.put(&record, bytes.as_bytes());
            let run = archive.run("index", &["--rebuild"]).exits(1);
            run.says_in_one_line(&[&ids[1], why]);
            assert_eq!(archive.json("ls", &[])["crash_count"], 3, "{why}");
        }
        archive.put(&record, good.as_bytes());
        archive.run("index", &["--rebuild"]).ok();
        assert_eq!(archive.json("ls", &[])["crash_count"], 4);
        // A dump that is gone, and one that no record tells of.
        archive.delete(&format!("crashes/2026-10/{}/vmcore.zst", ids[2]));
        archive.delete(&format!("crashes/2026-10/{}/crash.json", ids[3]));
        let run = archive.run("index", &["--rebuild", "--json"]).exits(1);
        assert!(run.stderr.contains("vmcore.zst is missing") && run.stderr.contains("has no record"), "{run:?}");
        assert_eq!((&run.json()["orphan_count"], &run.json()["crash_count"]), (&1.into(), &3.into()));
        // It is added again with what is there.
        let dump = text(&dumps.path("vmcore.3")).to_owned();
        assert_eq!(archive.add(&dump, &[]), ids[3]);
        assert_eq!(archive.json("ls", &[])["crash_count"], 4);
    }
}

#[test]
fn a_clock_that_is_wrong_puts_a_crash_to_the_month_of_its_adding() {
    let archive = Archive::directory();
    let dumps = Dumps::new();
    for (number, time) in [(0, "1999-12-31 23:59:59 +0000"), (1, "2299-01-01 00:00:00 +0000")] {
        let dump = dumps.save(number, &info("web1", time, "page fault", number));
        let run = archive.run("add", &["--no-report", "--json", &dump]).ok();
        assert!(run.stderr.contains("the clock of the host was wrong"), "{run:?}");
        let added = run.json();
        let crash = &added["crashes"][0]["crash"];
        assert_eq!(crash["crashed_at"], crash["added_at"]);
        assert_eq!(crash["dumped_at"].as_str().unwrap()[..10], time[..10]);
        let month = &crash["added_at"].as_str().unwrap()[..7];
        assert!(crash["objects"][0]["name"].as_str().unwrap().starts_with(&format!("crashes/{month}/")), "{crash}");
        let again = archive.run("add", &["--no-report", &dump]).ok();
        assert!(again.stdout.contains("is in the archive already"), "{again:?}");
    }
    // Without a time, or with one that is none, it is not known.
    std::fs::write(dumps.path("vmcore.2"), dumps.bytes()).unwrap();
    let bad = dumps.save(3, &info("web1", "soon", "page fault", 3));
    for dump in [text(&dumps.path("vmcore.2")), &bad] {
        archive.add(dump, &[]);
        assert!(archive.run("add", &[dump]).ok().stdout.contains("already"));
    }
    let listed = archive.json("ls", &[]);
    let unknown = listed["crashes"].as_array().unwrap().iter().filter(|crash| crash["dumped_at"].is_null()).count();
    assert_eq!((unknown, &listed["crash_count"]), (2, &4.into()));
}

#[test]
fn retention_removes_what_is_too_much_and_never_the_last_of_a_group() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let ids = fleet(&archive, &dumps);
        archive.run("prune", &[]).usage_error(&["give --keep, --max-age or --max-size"]);
        let before = archive.objects();
        let planned = |options: &[&str]| -> Vec<String> {
            let found = archive.json("prune", &[&["--dry-run"], options].concat());
            found["crashes"].as_array().unwrap().iter().map(|crash| crash["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(planned(&["--keep", "2"]), ids[..1]);
        for all in [&["--keep", "0"][..], &["--keep", "1"], &["--max-age", "1s"], &["--max-size", "0"]] {
            assert_eq!(planned(all), [ids[0].clone(), ids[2].clone()], "{all:?}");
        }
        assert_eq!(planned(&["--max-age", "90y"]), [""; 0]);
        let size = archive.json("ls", &[])["crashes"][0]["stored_size"].as_u64().unwrap();
        assert_eq!(planned(&["--max-size", &(3 * size).to_string()]), ids[..1]);
        assert_eq!(archive.objects(), before);
        let run = archive.run("prune", &["--keep", "1"]).ok();
        assert_eq!((run.lines().len(), run.stderr.contains("2 crashes removed")), (2, true), "{run:?}");
        let left: Vec<String> =
            archive.objects().into_iter().filter(|name| name.contains(&ids[0]) || name.contains(&ids[2])).collect();
        assert_eq!(left, [""; 0]);
        assert_eq!(archive.objects_below("pruning"), [""; 0]);
        assert_eq!(archive.json("ls", &[])["crash_count"], 2);
        let answers = archive.answers();
        archive.run("index", &["--rebuild"]).ok();
        assert_eq!(archive.answers(), answers);
        // It can come again.
        assert_eq!(archive.add(text(&dumps.path("vmcore.0")), &[]), ids[0]);
    }
}

#[test]
fn two_that_add_at_the_same_time_lose_nothing() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let save = |number| dumps.save(number, &info("web1", "2026-10-02 12:00:00 +0000", "page fault", number));
        let dumps: Vec<String> = (0..6).map(save).collect();
        // Each adds the first, and one of its own; and somebody merges the index.
        for _ in 0..2 {
            let mut running: Vec<_> = dumps
                .iter()
                .map(|own| start(archive.command("add", &["--no-report", &dumps[0], own]).stdout(Stdio::piped())))
                .collect();
            running.push(start(archive.command("index", &[]).stdout(Stdio::piped())));
            running.into_iter().for_each(|running| _ = running.end().ok());
        }
        let (listed, records) = (archive.json("ls", &[]), archive.objects());
        assert_eq!(listed["crash_count"], 6);
        assert_eq!(records.iter().filter(|name| name.ends_with("/crash.json")).count(), 6);
        assert_eq!(records.iter().filter(|name| name.ends_with("/vmcore.zst")).count(), 6);
        archive.run("index", &["--rebuild"]).ok();
        assert_eq!(archive.json("ls", &[]), listed);
        for crash in listed["crashes"].as_array().unwrap() {
            let back = directory();
            archive.run("get", &[crash["id"].as_str().unwrap(), "-o", text(back.path())]).ok();
        }
    }
}

#[test]
fn files_are_removed_only_when_the_archive_has_them() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let said = info("web1", "2026-10-02 12:00:00 +0000", "page fault", 1);
        let dump = dumps.save(0, &said);
        let id = archive.add(&dump, &[]);
        assert_eq!(names(dumps.0.path()), ["info.0", "vmcore.0"]);
        let place = format!("crashes/2026-10/{id}/vmcore.zst");
        let stored = archive.get(&place);
        archive.put(&place, b"short");
        archive.run("add", &[&dump, "--delete"]).fails_saying(&["is not there as it was stored; the files are kept"]);
        assert_eq!(names(dumps.0.path()), ["info.0", "vmcore.0"]);
        archive.put(&place, &stored);
        archive.run("add", &[&dump, "--delete"]).ok();
        assert_eq!(names(dumps.0.path()), [""; 0]);
    }
}

#[test]
fn what_is_no_dump_or_no_archive_is_refused() {
    let archive = Archive::directory();
    let dumps = Dumps::new();
    archive.run("ls", &[]).fails_saying(&["there is no archive"]);
    for (name, bytes, why) in
        [("vmcore.0", &b""[..], "vmcore.0 is empty"), ("vmcore.1", &b"QFI\xfb\0\0\0\x03"[..], "vmcore.1 is no dump")]
    {
        std::fs::write(dumps.path(name), bytes).unwrap();
        archive.run("add", &["--no-report", text(&dumps.path(name))]).fails_saying(&[why]);
    }
    // One that cannot be added does not keep others from it.
    let good = dumps.save(2, &info("web1", "2026-10-02 12:00:00 +0000", "page fault", 1));
    let run = archive.run("add", &["--no-report", text(&dumps.path("vmcore.0")), &good]).exits(1);
    assert!(run.stdout.contains("added as") && run.stderr.contains("vmcore.0 is empty"), "{run:?}");
    // Nothing is written through a link below the archive, and all of it is its owner's alone.
    let place = PathBuf::from(archive.name());
    for file in archive.objects() {
        assert_eq!(place.join(&file).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    assert_eq!(place.join("crashes").metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let elsewhere = directory();
    std::fs::rename(place.join("crashes"), elsewhere.path().join("crashes")).unwrap();
    symlink(elsewhere.path().join("crashes"), place.join("crashes")).unwrap();
    archive.run("add", &["--no-report", &good]).fails_saying(&["crashes is not a directory"]);
    for (store, words) in [("tcp://host:1", "is no folder"), ("s3://", "'' is no name of a bucket")] {
        memtool(&["archive", "ls", store]).usage_error(&[words]);
    }
    let file = text(&dumps.path("vmcore.2")).to_owned();
    memtool(&["archive", "add", &file, &file]).fails_saying(&["vmcore.2 is not a directory"]);
}

/// What changes something: the calls of `save`, and those that make and remove directories.
#[cfg(target_os = "linux")]
const CHANGES: &str = "?fchmod,?fdatasync,?fsync,?ftruncate,?link,?linkat,?mkdir,?mkdirat,?pwrite64,?rename,?renameat,?renameat2,?rmdir,?unlink,?unlinkat";

/// Runs a command once for each change that it makes, and kills it before that; each time in an archive of its own.
#[cfg(target_os = "linux")]
fn killed_at_any_change(
    prepare: impl Fn(&Archive) -> Vec<String>,
    command: impl Fn(&Archive) -> Command,
    check: impl Fn(&Archive, &[String], &str),
) {
    let traced = |options: &[&str], command: &Command| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "--signal=none"]).args(options);
        run(strace.arg("--").arg(command.get_program()).args(command.get_args()))
    };
    let archive = Archive::directory();
    prepare(&archive);
    let folder = directory();
    let trace = folder.path().join("trace");
    traced(&["--trace", CHANGES, "--output", text(&trace)], &command(&archive)).ok();
    let (mut counts, mut moments) = (std::collections::BTreeMap::new(), Vec::new());
    for line in std::fs::read_to_string(&trace).unwrap().lines() {
        let Some((head, _)) = line.split_once('(') else { continue };
        let call = head.rsplit(' ').next().unwrap().to_owned();
        let count = counts.entry(call.clone()).or_insert(0);
        *count += 1;
        moments.push((call, *count));
    }
    assert!(moments.len() > 5, "{counts:?}");
    for (call, count) in moments {
        let archive = Archive::directory();
        let ids = prepare(&archive);
        let kill = format!("inject={call}:signal=KILL:when={count}");
        let run = traced(&["--trace", &call, "--output", "/dev/null", "-e", &kill], &command(&archive));
        assert_ne!(run.code, 0, "{call} {count}: {run:?}");
        check(&archive, &ids, &format!("killed at {call} {count}"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn killed_at_any_change_a_crash_is_added_by_the_next_run() {
    let dumps = Dumps::new();
    let dump = dumps.save(0, &info("web1", "2026-10-02 12:00:00 +0000", "page fault", 1));
    let add = |archive: &Archive| archive.command("add", &["--no-report", &dump]);
    let check = |archive: &Archive, _: &[String], moment: &str| {
        let objects = archive.objects();
        // A record stands for all of the crash.
        if let Some(record) = objects.iter().find(|name| name.ends_with("/crash.json")) {
            let record: Value = serde_json::from_slice(&archive.get(record)).unwrap();
            for object in record["objects"].as_array().unwrap() {
                let bytes = archive.get(object["name"].as_str().unwrap());
                assert_eq!(bytes.len(), object["size"].as_u64().unwrap() as usize, "{moment}");
            }
        }
        let id = archive.add(&dump, &[]);
        assert_eq!(archive.json("ls", &[])["crash_count"], 1, "{moment}");
        assert_eq!(archive.json("index", &["--rebuild"])["orphan_count"], 0, "{moment}");
        let back = directory();
        archive.run("get", &[&id, "-o", text(back.path())]).ok();
        let unfinished = archive.objects().into_iter().filter(|name| name.contains(".memtool.")).count();
        assert!(unfinished <= 1, "{moment}: {:?}", archive.objects());
    };
    killed_at_any_change(|_| Vec::new(), add, check);
}

#[cfg(target_os = "linux")]
#[test]
fn killed_at_any_change_an_index_is_whole_and_no_crash_is_half_removed() {
    let dumps = Dumps::new();
    let prepare = |archive: &Archive| fleet(archive, &dumps);
    let answers = {
        let archive = Archive::directory();
        prepare(&archive);
        [archive.json("ls", &[])["crashes"].clone(), archive.json("groups", &[])["groups"].clone()]
    };
    let without_times = |crashes: &Value| -> Vec<Value> {
        let crash = |crash: &Value| serde_json::json!([crash["id"], crash["crashed_at"], crash["object"]]);
        crashes.as_array().unwrap().iter().map(crash).collect()
    };
    // When crashes were added is another time in each archive.
    let without_adding = |groups: &Value| {
        let mut groups = groups.clone();
        for group in groups.as_array_mut().unwrap() {
            group.as_object_mut().unwrap().remove("first_added_at").unwrap();
        }
        groups
    };
    for options in [&[][..], &["--rebuild"]] {
        killed_at_any_change(
            prepare,
            |archive| archive.command("index", options),
            |archive, _, moment| {
                for _ in 0..2 {
                    let (crashes, groups) = (archive.json("ls", &[]), archive.json("groups", &[]));
                    assert_eq!(without_times(&crashes["crashes"]), without_times(&answers[0]), "{moment}");
                    assert_eq!(without_adding(&groups["groups"]), without_adding(&answers[1]), "{moment}");
                    archive.run("index", options).ok();
                }
                assert_eq!(archive.objects_below("index").len(), 1, "{moment}");
            },
        );
    }
    killed_at_any_change(
        prepare,
        |archive| archive.command("prune", &["--keep", "1"]),
        |archive, ids, moment| {
            // What is listed is there.
            for crash in archive.json("ls", &[])["crashes"].as_array().unwrap() {
                let back = directory();
                archive.run("get", &[crash["id"].as_str().unwrap(), "-o", text(back.path())]).ok();
            }
            archive.run("prune", &["--keep", "1"]).ok();
            let expected = [ids[3].clone(), ids[1].clone()];
            let listed = archive.json("ls", &[]);
            let found: Vec<_> = listed["crashes"].as_array().unwrap().iter().map(|crash| &crash["id"]).collect();
            assert_eq!(found, expected.each_ref(), "{moment}");
            let rebuilt = archive.json("index", &["--rebuild"]);
            assert_eq!((&rebuilt["orphan_count"], &rebuilt["crash_count"]), (&0.into(), &2.into()), "{moment}");
            let gone = |name: &&String| name.contains(&ids[0]) || name.contains(&ids[2]);
            assert_eq!(archive.objects().iter().filter(gone).count(), 0, "{moment}: {:?}", archive.objects());
        },
    );
}

#[test]
fn a_crash_that_is_being_removed_counts_no_more_and_is_not_added() {
    for archive in Archive::all() {
        let dumps = Dumps::new();
        let ids = fleet(&archive, &dumps);
        archive.put(&format!("pruning/2026-10/{}", ids[1]), b"");
        assert_eq!(archive.json("ls", &[])["crash_count"], 3);
        archive.delete(&format!("crashes/2026-10/{}/crash.json", ids[1]));
        let run = archive.run("add", &["--no-report", text(&dumps.path("vmcore.1"))]);
        run.fails_saying(&["is being removed; 'memtool archive index' ends that"]);
        let done = archive.json("index", &[]);
        assert_eq!((&done["pruned_count"], &done["crash_count"]), (&1.into(), &3.into()));
        assert!(archive.objects().iter().all(|name| !name.contains(&ids[1])));
        assert_eq!(archive.add(text(&dumps.path("vmcore.1")), &[]), ids[1]);
    }
}

/// Has memtool killed before each request that would change a store, in turn, from the same objects each time.
fn killed_at_each_request(
    archive: &Archive,
    name: &str,
    arguments: &[&str],
    objects: &[(String, Vec<u8>)],
    check: impl Fn(&str),
) -> usize {
    let Archive::Store(server) = archive else { unreachable!("a directory has no requests") };
    for number in 0.. {
        archive.objects().iter().for_each(|object| archive.delete(object));
        objects.iter().for_each(|(object, bytes)| archive.put(object, bytes));
        let (changes, killed) = (AtomicUsize::new(0), Arc::new(Mutex::new(None)));
        let pid: Arc<Mutex<Option<i32>>> = Arc::default();
        let (victim, last) = (Arc::clone(&pid), Arc::clone(&killed));
        let proxy = Proxy::start(server.port, move |request| {
            let is_change = ["PUT", "POST", "DELETE"].iter().any(|method| request.line.starts_with(method));
            if !is_change || changes.fetch_add(1, Ordering::SeqCst) != number {
                return Fault::None;
            }
            *last.lock().unwrap() = Some(request.line.clone());
            let pid = loop {
                if let Some(pid) = *victim.lock().unwrap() {
                    break pid;
                }
            };
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            Fault::CutBefore
        });
        let mut command = server.command(proxy.port);
        command.args(["archive", name, &archive.name()]).args(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        *pid.lock().unwrap() = Some(child.id().try_into().unwrap());
        let status = child.wait().unwrap();
        let Some(request) = killed.lock().unwrap().clone() else {
            assert!(status.success(), "{name}");
            return number;
        };
        check(&format!("{name}: killed before {request}"));
    }
    0
}

#[test]
fn killed_at_each_request_to_a_store_nothing_is_lost_and_nothing_is_there_twice() {
    let Some(server) = Server::start(Kind::S3sFs) else { return };
    let (archive, dumps) = (Archive::Store(server), Dumps::new());
    let dump = dumps.save(7, &info("web7", "2026-10-02 12:00:00 +0000", "page fault", 7));
    let contents = || -> Vec<(String, Vec<u8>)> {
        archive.objects().into_iter().map(|object| (object.clone(), archive.get(&object))).collect()
    };
    let points = killed_at_each_request(&archive, "add", &["--no-report", &dump], &[], |moment| {
        let listed = archive.json("ls", &[])["crash_count"].as_u64().unwrap();
        let id = archive.add(&dump, &[]);
        assert_eq!(archive.json("ls", &[])["crash_count"], 1, "{moment}: {listed} before");
        let back = directory();
        archive.run("get", &[&id, "-o", text(back.path())]).ok();
        assert_eq!(archive.json("index", &["--rebuild"])["orphan_count"], 0, "{moment}");
    });
    assert!(points >= 4, "{points}");
    archive.objects().iter().for_each(|object| archive.delete(object));
    let ids = fleet(&archive, &dumps);
    let (whole, answers) = (contents(), archive.answers());
    for options in [&[][..], &["--rebuild"]] {
        let points = killed_at_each_request(&archive, "index", options, &whole, |moment| {
            assert_eq!(archive.answers(), answers, "{moment}");
            archive.run("index", options).ok();
            assert_eq!(archive.answers(), answers, "{moment}");
        });
        assert!(points >= 3, "{points}");
    }
    let points = killed_at_each_request(&archive, "prune", &["--keep", "1"], &whole, |moment| {
        for crash in archive.json("ls", &[])["crashes"].as_array().unwrap() {
            let back = directory();
            archive.run("get", &[crash["id"].as_str().unwrap(), "-o", text(back.path())]).ok();
        }
        archive.run("prune", &["--keep", "1"]).ok();
        let listed = archive.json("ls", &[]);
        let found: Vec<_> = listed["crashes"].as_array().unwrap().iter().map(|crash| &crash["id"]).collect();
        assert_eq!(found, [&ids[3], &ids[1]], "{moment}");
        assert_eq!(archive.json("index", &["--rebuild"])["orphan_count"], 0, "{moment}");
    });
    assert!(points >= 6, "{points}");
}

#[test]
fn a_terminal_has_a_table_where_that_fits_and_each_crash_and_group_by_itself_where_it_does_not() {
    let (archive, dumps) = (Archive::directory(), Dumps::new());
    let ids = fleet(&archive, &dumps);
    for name in ["ls", "groups"] {
        let printed = |columns| on_terminal_of(Some(columns), &mut archive.command(name, &[]));
        let table = printed(250);
        let heading = table.lines().next().unwrap();
        assert!(heading.contains("FINGERPRINT") && heading.contains("PANIC"), "{table}");
        let narrow = printed(60);
        assert!(narrow.lines().all(|line| line.trim_end().chars().count() <= 60), "{narrow}");
        assert!(narrow.contains("\nPANIC ") || narrow.contains("\r\nPANIC "), "{narrow}");
        let rows = table.lines().filter(|line| !line.trim().is_empty()).count() - 1;
        assert_eq!(narrow.matches("PANIC ").count(), rows, "{narrow}");
    }
    let narrow = on_terminal_of(Some(60), &mut archive.command("ls", &[]));
    assert!(ids.iter().all(|id| narrow.contains(&id[..8])), "{narrow}");
}
