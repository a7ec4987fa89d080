//! The dumps in a directory of savecore(8)'s: which is the newest, what belongs to it, and what is written beside it.

use crate::common::encryption::{KEYS, block_for, encrypted};
use crate::common::{directory, names};
use memtool::crash_dump::CrashDump;
use memtool::encryption::Identities;
use memtool::encryption::input::Unlock;
use memtool::save::directory::SaveDirectory;
use nix::sys::stat::Mode;
use std::fs::{create_dir, read, read_link, write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use vmcore::decrypt::{Encryption, PrivateKey};
use vmcore::opened::open_plainly;

/// The newest dump's name in a directory, or why there is none.
fn newest(directory: &Path) -> Result<String, String> {
    let found = CrashDump::newest(directory).map_err(|error| error.to_string())?;
    Ok(found.core.file_name().unwrap().to_str().unwrap().to_owned())
}

#[test]
fn the_newest_dump_is_the_one_before_the_number_in_bounds() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    assert!(newest(directory.path()).unwrap_err().contains("there are no crash dumps in"));
    for bounds in ["", "0\n", "-1\n", "x"] {
        write(path("bounds"), bounds).unwrap();
        assert!(newest(directory.path()).unwrap_err().contains("there are no crash dumps in"), "{bounds}");
    }
    write(path("bounds"), "3\n").unwrap();
    let why = newest(directory.path()).unwrap_err();
    assert!(why.contains("vmcore.2,") && why.ends_with(": bounds says that it is the newest"), "{why}");
    for name in
        ["livecore.2", "vmcore_encrypted.2", "textdump.tar.2.gz", "textdump.tar.2", "vmcore.2.zst", "vmcore.2.gz"]
    {
        write(path(name), "").unwrap();
        assert_eq!(newest(directory.path()).as_deref(), Ok(name), "it comes before those that are there");
    }
    write(path("vmcore.2"), "").unwrap();
    assert_eq!(newest(directory.path()).as_deref(), Ok("vmcore.2"));
    assert!(newest(&path("nowhere")).unwrap_err().contains("nowhere"));
    assert!(newest(&path("vmcore.2")).unwrap_err().contains("is not a directory"));

    // Numbers came round, and bounds does not tell of the last one.
    write(path("bounds"), "0\n").unwrap();
    symlink("info.2", path("info.last")).unwrap();
    assert_eq!(newest(directory.path()).as_deref(), Ok("vmcore.2"));
    for target in ["../info.2", "info", "/info.2", "info.x"] {
        std::fs::remove_file(path("info.last")).unwrap();
        symlink(target, path("info.last")).unwrap();
        assert_eq!(newest(directory.path()).as_deref(), Ok("vmcore.2"), "{target}");
    }
}

#[test]
fn without_bounds_and_links_the_newest_dump_is_the_one_with_the_highest_number() {
    let directory = directory();
    for name in
        ["vmcore.2", "vmcore.10.zst", "livecore.9", "info.11", "vmcore.12x", "vmcore.99999999999", "core.txt.13"]
    {
        write(directory.path().join(name), "").unwrap();
    }
    assert_eq!(newest(directory.path()).as_deref(), Ok("vmcore.10.zst"));
}

#[test]
fn what_is_no_file_is_not_opened() {
    let directory = directory();
    let fifo = directory.path().join("vmcore.0");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let why = CrashDump::numbered(directory.path(), 0).unwrap_err().to_string();
    assert!(why.contains("vmcore.0 is not a regular file"), "{why}");
    create_dir(directory.path().join("vmcore.1.gz")).unwrap();
    let why = CrashDump::numbered(directory.path(), 1).unwrap_err().to_string();
    assert!(why.contains("vmcore.1.gz is not a regular file"), "{why}");
    // bounds, too, is read without waiting for a writer.
    nix::unistd::mkfifo(&directory.path().join("bounds"), Mode::S_IRWXU).unwrap();
    assert!(CrashDump::newest(directory.path()).is_err());
    // An info.N of any kind but a file, or too large, is an error and read no further.
    let dump = |number: &str| CrashDump::in_file(&directory.path().join(format!("vmcore.{number}")));
    nix::unistd::mkfifo(&directory.path().join("info.3"), Mode::S_IRWXU).unwrap();
    assert!(dump("3").info().unwrap_err().to_string().contains("not a regular file"));
    write(directory.path().join("info.4"), [b'x'; (64 << 10) + 1]).unwrap();
    assert!(dump("4").info().unwrap_err().to_string().contains("larger than an info file"));
    assert_eq!(dump("5").info().unwrap(), None);
}

#[test]
fn a_file_is_known_by_its_name_or_by_what_a_link_leads_to() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    symlink("vmcore_encrypted.7", path("vmcore_encrypted.last")).unwrap();
    symlink("vmcore.7.zst", path("vmcore.last.zst")).unwrap();
    symlink("/elsewhere/vmcore.7", path("vmcore.last")).unwrap();
    for (name, number, is_encrypted, core) in [
        ("vmcore.12", Some(12), false, "vmcore.12"),
        ("vmcore.12.gz", Some(12), false, "vmcore.12.gz"),
        ("textdump.tar.0", Some(0), false, "textdump.tar.0"),
        ("vmcore_encrypted.3", Some(3), true, "vmcore_encrypted.3"),
        ("vmcore_encrypted.last", Some(7), true, "vmcore_encrypted.7"),
        ("vmcore.last.zst", Some(7), false, "vmcore.7.zst"),
        ("vmcore.last", None, false, "vmcore.last"),
        ("vmcore", None, false, "vmcore"),
        ("vmcore.", None, false, "vmcore."),
        ("vmcore.1x", None, false, "vmcore.1x"),
        ("vmcore.99999999999", None, false, "vmcore.99999999999"),
        ("info.1", None, false, "info.1"),
    ] {
        let found = CrashDump::in_file(&path(name));
        assert_eq!((found.number, found.is_encrypted, found.core), (number, is_encrypted, path(core)), "{name}");
    }
}

#[test]
fn an_encrypted_dump_is_decrypted_into_a_file_without_a_name() {
    let directory = directory();
    let scratch = directory.path().join("scratch");
    create_dir(&scratch).unwrap();
    let data = [7; 4096];
    write(directory.path().join("vmcore_encrypted.1"), encrypted(Encryption::Aes256Cbc, &data)).unwrap();
    write(directory.path().join("key.1"), block_for("mine.pem", Encryption::Aes256Cbc, "oaep")).unwrap();
    let dump = CrashDump::numbered(directory.path(), 1).unwrap();
    let key = |name: &str| PrivateKey::read(&KEYS.path(name), open_plainly).unwrap();
    let identities = Identities::default();
    let unlock = Unlock { identities: &identities, scratch: &scratch };
    let open = |key: Option<&PrivateKey>| dump.open(key, unlock, &mut ());
    let opened = open(Some(&key("mine.pem"))).unwrap();
    let mut found = [0; 4097];
    assert_eq!(opened.read_at(0, &mut found).unwrap(), data.len());
    assert_eq!(found[..data.len()], data);
    assert_eq!(names(&scratch), Vec::<String>::new(), "while it is read, too");
    let why = open(None).err().unwrap().to_string();
    assert!(why.contains("vmcore_encrypted.1 is encrypted: give the private key"), "{why}");
    assert!(open(Some(&key("other.pem"))).is_err());
    write(directory.path().join("vmcore_encrypted.1"), [0; 17]).unwrap();
    assert!(open(Some(&key("mine.pem"))).err().unwrap().to_string().contains("cannot decrypt"));
    std::fs::remove_file(directory.path().join("key.1")).unwrap();
    assert!(open(Some(&key("mine.pem"))).err().unwrap().to_string().contains("key.1"));
    assert_eq!(names(&scratch), Vec::<String>::new());
}

#[test]
fn a_report_is_for_its_owner_and_replaces_an_older_one_and_no_link() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let save = |text: &str| SaveDirectory::open(directory.path()).unwrap().save_report(4, text.as_bytes(), false);
    let (file, problem) = save("first\n").unwrap();
    assert_eq!((file.as_path(), problem.is_none()), (path("core.txt.4").as_path(), true));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(read_link(path("core.txt.last")).unwrap(), Path::new("core.txt.4"));
    save("second\n").unwrap();
    assert_eq!(read(path("core.txt.4")).unwrap(), b"second\n");
    assert_eq!(names(directory.path()), ["core.txt.4", "core.txt.last"]);

    // What stands in the way stays, and nothing is written through it.
    write(path("victim"), "victim\n").unwrap();
    std::fs::remove_file(path("core.txt.4")).unwrap();
    symlink("victim", path("core.txt.4")).unwrap();
    assert!(save("third\n").unwrap_err().to_string().contains("is a symbolic link"));
    assert_eq!(read(path("victim")).unwrap(), b"victim\n");
    std::fs::remove_file(path("core.txt.4")).unwrap();
    std::fs::remove_file(path("core.txt.last")).unwrap();
    write(path("core.txt.last"), "kept\n").unwrap();
    let (_, problem) = save("fourth\n").unwrap();
    assert!(problem.unwrap().to_string().contains("core.txt.last is not a symbolic link and was kept"));
    assert_eq!(read(path("core.txt.4")).unwrap(), b"fourth\n");
    assert_eq!(names(directory.path()), ["core.txt.4", "core.txt.last", "victim"]);
}
