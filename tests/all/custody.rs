//! Custody logs: who had a dump when, and what is found if a log or its dump is not what it was.

use crate::common::recipients::succeed;
use crate::common::{Run, command, directory, memtool, names, noise, on_terminal_of, start, text, write_file};
use crate::signatures::{PASSWORD_FILE, key, public};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, read_to_string, write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A dump in a folder of its own, and its log.
struct Dump {
    folder: TempDir,
    file: PathBuf,
    log: PathBuf,
}

const REASONS: [&str; 5] = ["one", "two", "three", "four", "five"];

impl Dump {
    fn new() -> Self {
        let folder = directory();
        let file = folder.path().join("ram");
        write(&file, noise(5000)).unwrap();
        Self { file, log: folder.path().join("ram.custody"), folder }
    }

    /// One with a log of five entries.
    fn with_log() -> Self {
        let dump = Self::new();
        for reason in REASONS {
            dump.add(reason, &[]).ok();
        }
        dump
    }

    #[track_caller]
    fn add(&self, reason: &str, options: &[&str]) -> Run {
        let arguments = ["custody", "add", text(&self.file), "--action", "examined", "--reason", reason];
        memtool(&[&arguments[..], options].concat())
    }

    #[track_caller]
    fn show(&self, options: &[&str]) -> Run {
        memtool(&[&["custody", text(&self.file)], options].concat())
    }

    /// The lines of the log, with their ends.
    fn lines(&self) -> Vec<String> {
        read_to_string(&self.log).unwrap().split_inclusive('\n').map(str::to_owned).collect()
    }

    fn write_lines(&self, lines: &[&str]) {
        write(&self.log, lines.concat()).unwrap();
    }

    /// The entries of the log as they are written.
    fn entries(&self) -> Vec<Value> {
        self.lines().iter().map(|line| crate::common::schema::document(line.as_bytes())).collect()
    }

    /// Asserts that the log is found to be not right: what is said of it, line by line, and that nothing is added.
    #[track_caller]
    fn is_wrong(&self, problems: &[&str]) {
        let run = self.show(&[]).exits(1);
        let said: Vec<&str> = run.stderr.lines().collect();
        assert_eq!(said.len(), problems.len(), "{run:?}");
        for (line, problem) in said.iter().zip(problems) {
            assert!(line.starts_with(&format!("memtool: {}: {problem}", self.log.display())), "{problem}: {run:?}");
        }
        assert!(!run.stdout.contains("whole"), "{run:?}");
        let json = self.show(&["--json"]).exits(1).json();
        assert_eq!((&json["intact"], json["problems"].as_array().unwrap().len()), (&json!(false), problems.len()));
        let before = fs::read(&self.log).unwrap();
        self.add("more", &[]).fails_saying(&[&problems[0].chars().take(20).collect::<String>(), "nothing was added"]);
        assert_eq!(fs::read(&self.log).unwrap(), before);
    }
}

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    vmcore::units::hex_digits(&Sha256::digest(bytes))
}

#[test]
fn each_entry_says_who_had_the_dump_when_and_why() {
    let dump = Dump::new();
    dump.show(&[]).fails_saying(&["ram has no custody log", "ram.custody"]);
    let first = dump.add("a \"crash\"\nof \u{1b}[1m", &["--json"]).ok().json();
    assert_eq!((&first["custody_entry"]["number"], &first["output"]), (&json!(1), &json!(text(&dump.log))));
    let options = ["--case", "4711", "--by", "Jane Doe", "--from", "rack 3", "--to", "lab"];
    let second = dump.add("again", &options).ok();
    let lines = dump.lines();
    assert_eq!(lines.len(), 2);
    // The hashes are those of the lines with their ends, as sha256sum(1) has them.
    assert_eq!(first["entry_sha256"], sha256(&lines[0]));
    assert_eq!(second.stdout, format!("{}: entry 2, SHA-256 {}\n", dump.log.display(), sha256(&lines[1])));
    let entries = dump.entries();
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).unwrap().map(|user| user.name);
    let expected = json!({
        "schema": "memtool.custody.entry", "version": 1, "number": 2, "written_at": entries[1]["written_at"],
        "action": "examined", "reason": "again", "case": "4711", "by": "Jane Doe", "from": "rack 3", "to": "lab",
        "user_name": user, "uid": uid.as_raw(), "hostname": nix::sys::utsname::uname().unwrap().nodename().to_str(),
        "written_by": concat!("memtool ", env!("CARGO_PKG_VERSION")), "name": "ram", "size": 5000,
        "sha256": sha256(noise(5000)), "changed": null, "derived_from": null,
        "previous_sha256": sha256(&lines[0]), "signature": null,
    });
    assert_eq!(entries[1], expected);
    assert_eq!((&entries[0]["previous_sha256"], &entries[0]["by"]), (&json!(null), &json!(null)));
    assert_eq!(dump.log.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let shown = dump.show(&[]).ok();
    assert_eq!(shown.stderr, "");
    let rows: Vec<Vec<&str>> = shown.lines().iter().map(|line| line.split('\t').collect()).collect();
    // No line of a log is more than one line, and none commands a terminal.
    assert_eq!((rows.len(), &rows[0][..1], rows[0][3]), (4, &["1"][..], "a \"crash\"\\nof \\u{1b}[1m"));
    let who = format!("Jane Doe ({})", user.unwrap_or_else(|| format!("uid {uid}")));
    assert_eq!((rows[1][2], rows[1][4], rows[1][5]), ("examined", "4711", &*who));
    assert!(shown.stdout.contains("2 entries, whole") && shown.stdout.contains(&sha256(&lines[1])), "{shown:?}");
    let json = dump.show(&["--json"]).ok().json();
    assert_eq!((&json["intact"], &json["entries"][1]["custody_entry"]), (&json!(true), &expected));
    assert_eq!(json["last_entry_sha256"], json["entries"][1]["entry_sha256"]);
}

#[test]
fn a_terminal_has_a_table_where_that_fits_and_each_entry_by_itself_where_it_does_not() {
    let dump = Dump::with_log();
    let show = |columns: u16| on_terminal_of(Some(columns), command().arg("custody").arg(&dump.file));
    let (wide, narrow) = (show(300), show(60));
    let heading = wide.lines().next().unwrap();
    assert!(heading.starts_with("NO  TIME ") && heading.contains("SHA-256"), "{wide}");
    assert!(wide.lines().any(|line| line.contains("  examined  two ")), "{wide}");
    // Nothing of it is lost.
    for expected in ["NO       2", "ACTION   examined", "REASON   two"] {
        assert!(narrow.lines().any(|line| line.trim_end() == expected), "'{expected}' expected in: {narrow}");
    }
    assert!(!narrow.contains("NO  TIME"), "{narrow}");
}

#[test]
fn what_was_changed_removed_or_moved_is_named_by_its_number() {
    let dump = Dump::with_log();
    let whole = dump.lines();
    let [one, two, three, four, five] = [0, 1, 2, 3, 4].map(|index| &*whole[index]);
    // Any entry whose text, dump or number is another.
    for number in 1..=4 {
        let changed = whole[number - 1].replace("examined", "acquired");
        let mut lines: Vec<&str> = whole.iter().map(String::as_str).collect();
        lines[number - 1] = &changed;
        dump.write_lines(&lines);
        dump.is_wrong(&[&format!("line {}: entry {number} was changed", number + 1)]);
    }
    dump.write_lines(&[two, three, four, five]);
    dump.is_wrong(&["line 1: entry 1 is missing"]);
    dump.write_lines(&[one, two, four, five]);
    dump.is_wrong(&["line 3: entry 3 is missing: this is entry 4"]);
    dump.write_lines(&[one, five]);
    dump.is_wrong(&["line 2: entries 2 to 4 are missing"]);
    dump.write_lines(&[one, three, two, four, five]);
    dump.is_wrong(&["line 2: entry 2 is missing", "line 3: entry 2 is not in its place: it follows entry 3"]);
    dump.write_lines(&[one, two, two, three, four, five]);
    dump.is_wrong(&["line 3: entry 2 is not in its place"]);
    // An entry with the number of the one that was removed.
    dump.write_lines(&[one, two, &four.replace("\"number\":4", "\"number\":3"), five]);
    dump.is_wrong(&["line 3: entry 2 was changed", "line 4: entry 4 is missing"]);
    dump.write_lines(&[one, two, three, four, five]);
    dump.show(&[]).ok();
}

#[test]
fn what_was_cut_off_at_the_end_is_found_by_the_hash_alone() {
    let dump = Dump::with_log();
    let whole = dump.lines();
    let hash = sha256(&whole[4]);
    dump.show(&["--expect", &hash]).ok();
    dump.show(&["--expect", &hash.to_uppercase()]).ok();
    dump.write_lines(&whole[..4].iter().map(String::as_str).collect::<Vec<_>>());
    dump.show(&[]).ok();
    let run = dump.show(&["--expect", &hash]).exits(1);
    run.says_in_one_line(&["the last entry, 4,", &hash, "cut off"]);
    dump.show(&["--expect", "12"]).usage_error(&["64 hexadecimal digits"]);
    write(&dump.log, "").unwrap();
    let run = dump.show(&[]).exits(1);
    run.says_in_one_line(&["it has no entry"]);
}

#[test]
fn lines_that_are_no_entries_are_named_and_not_read_over() {
    let dump = Dump::with_log();
    let whole = dump.lines();
    let [one, two, three, four, five] = [0, 1, 2, 3, 4].map(|index| &*whole[index]);
    for (foreign, why) in [
        ("\n", "not an entry of a custody log"),
        ("# a remark\n", "not an entry of a custody log"),
        ("{\"schema\":\"memtool.manifest\",\"version\":1}\n", "its schema is 'memtool.manifest'"),
        ("\u{0}\u{0}\n", "not an entry"),
        (&two.replace("\"uid\"", "\"gid\""), "unknown field `gid`"),
        (&two.replace("\"uid\":0,", "\"uid\":0,\"uid\":0,"), "not an entry"),
        (&format!("{}\n", "x".repeat(70_000)), "longer than 64 KiB"),
        (&format!("{}\n", "[".repeat(60_000)), "not an entry"),
    ] {
        if foreign != two {
            dump.write_lines(&[one, two, foreign, three, four, five]);
            let run = dump.show(&[]).exits(1);
            run.says_in_one_line(&["line 3: ", why]);
            dump.add("more", &[]).fails_saying(&["line 3: ", "nothing was added"]);
        }
    }
    fs::write(&dump.log, [one.as_bytes(), &[0xff, 0xfe, b'\n'], two.as_bytes()].concat()).unwrap();
    dump.is_wrong(&["line 2: not an entry"]);
    // One of a later version is refused by what it is, and nothing is said of what follows.
    dump.write_lines(&[one, &two.replace("\"version\":1", "\"version\":2,\"new\":{}"), three]);
    dump.is_wrong(&["line 2: an entry of version 2, which this memtool does not know; it and what follows"]);
    // A line whose end is missing: the log is as it is, and what is whole is said.
    for cut in [1, 2, 100] {
        let torn = &five[..five.len() - cut];
        dump.write_lines(&[one, two, three, four, torn]);
        let bytes = one.len() + two.len() + three.len() + four.len();
        dump.is_wrong(&[&format!("line 5: not whole: it ends after {} bytes", torn.len())]);
        let run = dump.show(&[]).exits(1);
        run.says_in_one_line(&[&format!("The first {bytes} bytes of the log are whole lines")]);
    }
}

#[test]
fn a_dump_that_is_not_what_it_was_is_found_and_explained() {
    let dump = Dump::with_log();
    let before = sha256(noise(5000));
    dump.add("none", &["--changed", "why not"]).fails_saying(&["has not changed since entry 5"]);
    write(&dump.file, "another").unwrap();
    let run = dump.show(&[]).exits(1);
    run.says_in_one_line(&["ram is not what entry 5 says: 7 bytes instead of 5000"]);
    dump.add("more", &[]).fails_saying(&["entry 5", "nothing was added", "--changed"]);
    dump.add("more", &["--changed", "cut to its head"]).ok();
    let last = dump.entries().pop().unwrap();
    let changed = json!({ "why": "cut to its head", "size": 5000, "sha256": before });
    assert_eq!((&last["changed"], &last["size"], &last["sha256"]), (&changed, &json!(7), &json!(sha256("another"))));
    assert!(dump.show(&[]).ok().stdout.contains("more; the dump was changed: cut to its head"));
    write(&dump.file, "anOther").unwrap();
    let run = dump.show(&[]).exits(1);
    run.says_in_one_line(&["entry 6 says: SHA-256 ", &sha256("anOther")]);
    // An entry whose chain is right, but that says nothing of the change.
    let mut forged = last.clone();
    (forged["changed"], forged["number"]) = (json!(null), json!(7));
    (forged["previous_sha256"], forged["sha256"]) =
        (json!(sha256(dump.lines().last().unwrap())), json!(sha256("anOther")));
    write(&dump.log, format!("{}{forged}\n", dump.lines().concat())).unwrap();
    dump.is_wrong(&["line 7: entry 7 is of another dump than entry 6, and does not say why"]);
    let first = Dump::new();
    first.add("more", &["--changed", "x"]).fails_saying(&["has no log yet"]);
    assert_eq!(names(first.folder.path()), ["ram"]);
}

#[test]
fn a_clock_that_goes_back_is_a_warning() {
    let dump = Dump::with_log();
    // Entries of the year 2999, chained as they would have been.
    let mut previous = json!(null);
    let mut lines = String::new();
    for mut entry in dump.entries() {
        if entry["number"] == 4 {
            entry["written_at"] = json!("2999-01-01T00:00:00Z");
        }
        entry["previous_sha256"] = previous;
        let line = format!("{entry}\n");
        previous = json!(sha256(&line));
        lines.push_str(&line);
    }
    write(&dump.log, lines).unwrap();
    let run = dump.show(&["--json"]).ok();
    let warning = "entry 5 is dated 2";
    assert!(run.json()["warnings"][0].as_str().unwrap().starts_with(warning), "{run:?}");
    write(
        &dump.log,
        read_to_string(&dump.log).unwrap().lines().take(4).map(|line| format!("{line}\n")).collect::<String>(),
    )
    .unwrap();
    let run = dump.add("now", &[]).ok();
    assert!(run.stderr.contains("warning: the clock is behind the last entry, which is dated 2999-01-01"), "{run:?}");
}

#[test]
fn entries_are_signed_and_minisign_verifies_them() {
    let dump = Dump::new();
    dump.add("one", &["--sign", &key("mine")]).ok();
    dump.add("two", &["--sign", &key("protected"), "--password-file", &key(PASSWORD_FILE)]).ok();
    dump.add("three", &[]).ok();
    let run = dump.show(&[]).ok();
    assert!(run.stderr.contains("entries are signed, which was not checked: --public-key"), "{run:?}");
    let keys = ["--public-key", &*public("mine"), "--public-key", &key("protected.pub")];
    let run = dump.show(&[&keys[..], &["--json"]].concat()).ok();
    let json = run.json();
    assert_eq!((&json["signed_count"], &json["verified_count"]), (&json!(2), &json!(2)));
    assert_eq!(json["entries"][0]["signed_by"], public("mine"));
    assert_eq!(
        (&json["entries"][1]["signed_by"], &json["entries"][2]["signed_by"]),
        (&json!(public("protected")), &json!(null))
    );
    assert_eq!(json["warnings"], json!(["no signature protects what follows entry 2"]));
    // What is signed is the line with null in place of the signature.
    for (line, name) in dump.lines().iter().zip(["mine", "protected"]) {
        let entry: Value = serde_json::from_str(line).unwrap();
        let (text, _) = line.split_once(",\"signature\":").unwrap();
        let signed = write_file(dump.folder.path(), format!("{text},\"signature\":null}}\n").as_bytes());
        let signature = format!("{}.minisig", text_of(&signed));
        write(&signature, entry["signature"].as_str().unwrap()).unwrap();
        let mut minisign = Command::new("minisign");
        let shown = succeed(minisign.arg("-Vm").arg(&signed).arg("-p").arg(key(&format!("{name}.pub"))));
        assert!(String::from_utf8(shown).unwrap().contains("file:ram.custody"));
        fs::remove_file(signature).unwrap();
        fs::remove_file(signed).unwrap();
    }
    dump.is_signed_wrong(&keys[..2], "the signature of entry 2 is not one of the keys given");
    let other = public("other");
    let run = dump.show(&["--public-key", &other]).exits(1);
    assert_eq!(run.stderr.lines().count(), 2, "{run:?}");
    // Whoever has no key can make a chain, but no signatures.
    let whole = dump.lines();
    let forged = whole[0].replace("\"one\"", "\"ONE\"");
    dump.write_lines(&[&forged]);
    dump.show(&[]).ok();
    dump.is_signed_wrong(&keys, "the signature of entry 1 is not one of the keys given");
    let moved = whole[0].replace("{\"schema\"", "{ \"schema\"");
    dump.write_lines(&[&moved]);
    dump.is_signed_wrong(&keys, "the signature of entry 1");
    dump.write_lines(&[&whole[0].replace("\"reason\"", "\"signature\":null,\"reason\"")]);
    let run = dump.show(&keys).exits(1);
    run.says_in_one_line(&["line 1: not an entry"]);
    fs::remove_file(&dump.log).unwrap();
    dump.add("one", &[]).ok();
    dump.is_signed_wrong(&keys, "no entry is signed");
}

fn text_of(path: &std::path::Path) -> String {
    text(path).to_owned()
}

impl Dump {
    #[track_caller]
    fn is_signed_wrong(&self, keys: &[&str], why: &str) {
        let run = self.show(&[&["-q"], keys].concat()).exits(1);
        assert!(run.stderr.lines().any(|line| line.contains(why)), "{why}: {run:?}");
    }
}

#[test]
fn nothing_is_followed_through_a_link_and_only_files_have_logs() {
    let dump = Dump::with_log();
    let at = |name: &str| dump.folder.path().join(name);
    symlink(&dump.file, at("link")).unwrap();
    symlink(&dump.log, at("link.custody")).unwrap();
    let link = text_of(&at("link"));
    let add = |file: &str| memtool(&["custody", "add", file, "--action", "a", "--reason", "b"]);
    add(&link).fails_saying(&["link.custody", "symbolic link"]);
    memtool(&["custody", &link]).fails_saying(&["link.custody", "symbolic link"]);
    fs::remove_file(at("link.custody")).unwrap();
    add(&link).fails_saying(&["link", "symbolic link"]);
    symlink("/nowhere", at("link.custody")).unwrap();
    add(&link).fails_saying(&["link.custody", "symbolic link"]);
    fs::create_dir(at("folder")).unwrap();
    add(text(&at("folder"))).fails_saying(&["folder", "not a regular file"]);
    add("/dev/null").fails_saying(&["/dev/null", "not a regular file"]);
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    add(text(&at("pipe"))).fails_saying(&["pipe", "not a regular file"]);
    add("-").usage_error(&["standard input"]);
    add(text(&at("none"))).fails_saying(&["none", "No such file"]);
    assert!(!at("folder.custody").exists() && !at("pipe.custody").exists());
    for empty in ["", " \t"] {
        let run = memtool(&["custody", "add", text(&dump.file), "--action", empty, "--reason", "b"]);
        run.fails_saying(&["the action is empty"]);
        dump.add(empty, &[]).fails_saying(&["the reason is empty"]);
        dump.add("x", &["--by", empty]).fails_saying(&["who did it is empty"]);
    }
    dump.add(&"x".repeat(70_000), &[]).fails_saying(&["longer than 64 KiB"]);
    dump.show(&[]).ok();
    assert_eq!(dump.lines().len(), 5);
}

#[test]
fn writers_at_once_lose_nothing() {
    const WRITERS: usize = 12;
    let dump = Dump::new();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let mut add = command();
            add.args(["-q", "custody", "add", text(&dump.file), "--action", "examined"]);
            start(add.args(["--reason", &format!("writer {writer}")]).stdout(Stdio::piped()))
        })
        .collect();
    for writer in writers {
        writer.end().ok();
    }
    let json = dump.show(&["--json"]).ok().json();
    let mut reasons: Vec<&str> = json["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|read| read["custody_entry"]["reason"].as_str().unwrap())
        .collect();
    reasons.sort_unstable();
    let mut expected: Vec<String> = (0..WRITERS).map(|writer| format!("writer {writer}")).collect();
    expected.sort_unstable();
    assert_eq!(reasons, expected);
    // Nothing else is left.
    assert_eq!(names(dump.folder.path()), ["ram", "ram.custody"]);
}

/// A log that somebody else has locked is waited for.
#[test]
fn a_log_that_is_being_written_is_waited_for() {
    use nix::fcntl::{Flock, FlockArg};
    let dump = Dump::with_log();
    let lock = Flock::lock(fs::File::open(&dump.log).unwrap(), FlockArg::LockExclusive).unwrap();
    let mut add = command();
    add.args(["custody", "add", text(&dump.file), "--action", "a", "--reason", "b"]).stdout(Stdio::piped());
    add.stderr(Stdio::piped());
    let mut child = add.spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    crate::common::read_until(stderr, "waiting for another program that uses");
    assert_eq!(dump.lines().len(), 5);
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert_eq!(dump.show(&["--json"]).ok().json()["entry_count"], 6);
}

/// Where there is no room for an entry the log is as it was.
#[cfg(target_os = "linux")]
#[test]
fn without_room_the_log_is_as_it_was() {
    let dump = Dump::with_log();
    let before = read_to_string(&dump.log).unwrap();
    // The file can get 100 bytes longer, or nothing at all.
    for room in [100, 0] {
        let limit = before.len() + room;
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--fsize={limit}")).arg(env!("CARGO_BIN_EXE_memtool"));
        limited.args(["custody", "add", text(&dump.file), "--action", "a", "--reason", "b"]);
        crate::common::run(&mut limited).fails_saying(&["cannot write", "ram.custody"]);
        assert_eq!(read_to_string(&dump.log).unwrap(), before);
    }
    dump.show(&[]).ok();
}

#[test]
fn a_dump_begins_its_log_and_its_manifest_is_bound_to_it() {
    let folder = directory();
    let at = |name: &str| text_of(&folder.path().join(name));
    let (out, manifest, log) = (at("ram"), at("ram.json"), at("ram.custody"));
    let dump = |options: &[&str]| {
        let arguments = ["--machine", "demo", "dump", "-d64k", "-o", &out, "--custody", "incident 4711"];
        memtool(&[&arguments[..], options].concat())
    };
    dump(&["--manifest", &manifest, "--sign", &key("mine")]).ok();
    assert_eq!(names(folder.path()), ["ram", "ram.custody", "ram.json", "ram.json.minisig"]);
    let entry = crate::common::schema::document(&fs::read(&log).unwrap());
    assert_eq!(entry["previous_sha256"], sha256(fs::read(&manifest).unwrap()));
    assert_eq!((&entry["action"], &entry["reason"]), (&json!("acquired"), &json!("incident 4711")));
    assert_eq!((&entry["from"], &entry["size"]), (&json!("demo (recorded machine)"), &json!(65536)));
    assert_eq!(entry["sha256"], sha256(fs::read(&out).unwrap()));
    memtool(&["custody", "--public-key", &public("mine"), &out]).ok();
    let verify = |options: &[&str]| {
        memtool(
            &[&["dump", "--verify", &out, "--manifest", &manifest, "--public-key", &public("mine")], options].concat(),
        )
    };
    let add = || memtool(&["custody", "add", &out, "--action", "copied", "--reason", "backup"]).ok();
    add();
    // The signature, then the hash, then the chain.
    let run = verify(&[]).ok();
    let lines = run.lines();
    assert!(lines[0].contains("signed by") && lines[1].contains("matches its manifest"), "{run:?}");
    assert!(lines[3].contains("ram.custody: 2 entries, whole; last entry: SHA-256 "), "{run:?}");
    let last = memtool(&["custody", &out, "--json"]).ok().json()["last_entry_sha256"].clone();
    let json = verify(&["--json"]).ok().json();
    assert_eq!((&json["custody_entry_count"], &json["last_entry_sha256"]), (&json!(2), &last));
    // Neither a log that is broken nor one of another dump or manifest is taken.
    let whole = read_to_string(&log).unwrap();
    write(&log, whole.replace("incident", "accident")).unwrap();
    verify(&[]).fails_saying(&["ram.custody: line 2: entry 1 was changed"]);
    let other = Dump::with_log();
    fs::copy(&other.log, &log).unwrap();
    verify(&[]).fails_saying(&["ram is not what entry 5 says"]);
    fs::remove_file(&log).unwrap();
    add();
    verify(&[]).ok();
    let forged = read_to_string(&log).unwrap();
    write(&log, forged.replace("\"previous_sha256\":null", &format!("\"previous_sha256\":\"{}\"", sha256(""))))
        .unwrap();
    verify(&[]).fails_saying(&["entry 1 was written with another manifest"]);
    // A log is never replaced.
    write(&log, &whole).unwrap();
    dump(&["--force"]).fails_saying(&["ram.custody already exists", "no custody log is replaced"]);
    assert_eq!(read_to_string(&log).unwrap(), whole);
    for refused in [&["dump", "--custody", "x"][..], &["dump", "--custody", "x", "-o", "tcp://localhost:1"]] {
        memtool(refused).usage_error(&["--custody", "a file"]);
    }
    memtool(&["dump", "--custody", " ", "-o", &at("new"), "--machine", "demo"]).fails_saying(&["the reason is empty"]);
    assert!(!folder.path().join("new").exists());
}

#[test]
fn what_is_made_from_a_dump_is_bound_to_its_log() {
    let folder = directory();
    let at = |name: &str| text_of(&folder.path().join(name));
    let (elf, lime) = (at("ram.elf"), at("ram.lime"));
    memtool(&["--machine", "demo", "dump", "-d64k", "--format", "elf", "-o", &elf, "--custody", "incident"]).ok();
    let convert =
        |input: &str, out: &str| memtool(&["convert", input, out, "--format", "lime", "--custody", "for Volatility"]);
    convert(&elf, &lime).ok();
    let entry = |name: &str| crate::common::schema::document(&fs::read(format!("{name}.custody")).unwrap());
    let of_elf = fs::read(format!("{elf}.custody")).unwrap();
    let derived = json!({
        "input": elf, "size": fs::metadata(&elf).unwrap().len(), "sha256": sha256(fs::read(&elf).unwrap()),
        "entry_sha256": sha256(of_elf),
    });
    assert_eq!((&entry(&lime)["derived_from"], &entry(&lime)["action"]), (&derived, &json!("derived")));
    assert_eq!(entry(&lime)["sha256"], sha256(fs::read(&lime).unwrap()));
    assert!(memtool(&["custody", &lime]).ok().stdout.contains(&elf));
    // An image of memory likewise.
    let again = at("again");
    let image = Dump::with_log();
    memtool(&["--device", text(&image.file), "dump", "-o", &again, "--custody", "a part"]).ok();
    assert_eq!(entry(&again)["derived_from"]["entry_sha256"], sha256(&image.lines()[4]));
    // Of an input without a log nothing is known but its name.
    let plain = at("plain");
    fs::copy(&elf, &plain).unwrap();
    convert(&plain, &at("plain.lime")).ok();
    let derived = json!({ "input": plain, "size": null, "sha256": null, "entry_sha256": null });
    assert_eq!(entry(&at("plain.lime"))["derived_from"], derived);
    // An input that is not what its log says is not converted.
    let mut bytes = fs::read(&elf).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    write(&elf, bytes).unwrap();
    convert(&elf, &at("new")).fails_saying(&["ram.elf is not what entry 1 says"]);
    assert!(!folder.path().join("new").exists() && !folder.path().join("new.custody").exists());
    convert(&elf, "-").usage_error(&["--custody", "a file"]);
}

/// A log is read line by line, however long it is.
#[cfg(target_os = "linux")]
#[test]
fn a_long_log_takes_no_more_memory() {
    let dump = Dump::with_log();
    let first = dump.lines()[0].clone();
    let (before, after) = first.split_once("\"number\":1").unwrap();
    let (between, rest) = after.split_once("\"previous_sha256\":null").unwrap();
    let mut log = first.clone();
    let mut previous = sha256(&first);
    for number in 2..=75_000 {
        let line = format!("{before}\"number\":{number}{between}\"previous_sha256\":\"{previous}\"{rest}");
        previous = sha256(&line);
        log.push_str(&line);
    }
    assert!(log.len() > 32 << 20);
    write(&dump.log, log).unwrap();
    // The program alone has about 60 MiB of addresses.
    for options in [&[][..], &["--json"]] {
        let mut limited = Command::new("prlimit");
        limited.args([&format!("--as={}", 100 << 20), env!("CARGO_BIN_EXE_memtool"), "custody", "--expect", &previous]);
        let run = crate::common::run(limited.args(options).arg(&dump.file)).ok();
        assert!(run.stdout.contains("75000"), "{}", run.stdout.len());
    }
}

#[test]
fn a_live_dump_and_a_crash_dump_begin_their_logs_before_the_device_is_cleared() {
    let folder = directory();
    let at = |name: &str| text(&folder.path().join(name)).to_owned();
    let demo = |arguments: &[&str]| memtool(&[&["--machine", "demo"], arguments].concat());
    let first = |dump: &str| memtool(&["custody", dump, "--json"]).ok().json()["entries"][0]["custody_entry"].clone();
    demo(&["livedump", &at("live"), "--custody", "incident 7"]).ok();
    let entry = first(&at("live"));
    assert_eq!((&entry["action"], &entry["reason"]), (&json!("acquired"), &json!("incident 7")));
    assert_eq!(entry["sha256"], sha256(fs::read(at("live")).unwrap()));
    assert!(entry["from"].as_str().unwrap().ends_with(" (recorded machine)"), "{entry}");
    demo(&["livedump", "--dir", text(folder.path()), "--custody", "incident 7"]).ok();
    assert_eq!(first(&at("livecore.0"))["reason"], "incident 7");

    let device = vmcore_synth::device::DumpDevice::example(
        vmcore_synth::KernelDumpHeader::example(vmcore_synth::Arch::Amd64, 4, 0),
        512,
        &vmcore_synth::MinidumpSpec::example(vmcore_synth::Arch::Amd64, 3).build(),
    );
    let bytes = device.build();
    write(at("device"), &bytes).unwrap();
    // A log that is there is of another dump: nothing is cleared.
    write(at("vmcore.1.custody"), "another\n").unwrap();
    let save = |options: &[&str]| memtool(&[&["save", &at("device"), "--custody", "crash"], options].concat());
    let kept = save(&["--dir", text(folder.path())]);
    assert_eq!(kept.code, 1, "{kept:?}");
    assert!(kept.stderr.contains("vmcore.1.custody already exists") && kept.stderr.contains("kept on the device"));
    assert!(fs::read(at("device")).unwrap() == bytes);
    save(&["--output", &at("crash")]).ok();
    let entry = first(&at("crash"));
    assert_eq!(entry["from"], format!("{} of {}", at("device"), device.header().hostname));
    assert!(fs::read(at("device")).unwrap() != bytes);
    for options in [&["--max", "3"][..], &["--check"], &["--clear"], &["-o", "-"], &["-o", "tcp://h:1"]] {
        save(options).usage_error(&["--custody"]);
    }
    demo(&["livedump", "-", "--custody", "x"]).usage_error(&["--custody"]);
}
