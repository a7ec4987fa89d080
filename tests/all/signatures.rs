//! Signed manifests: what memtool signs minisign(1) verifies, and the other way round.

use crate::common::recipients::succeed;
use crate::common::{Run, command, directory, memtool, names, noise, run, text, write_file};
use std::fs::{self, read, read_to_string, write};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;

/// The file with the password, by the name that [`key`] takes.
pub const PASSWORD_FILE: &str = "password";
pub const PASSWORD: &str = "a password of memtool's tests";

/// A folder with keys of minisign(1): `mine`, `other` and, with a password, `protected`; `NAME.pub` beside each, and
/// `password`.
pub static KEYS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = directory();
    let at = |name: &str| folder.path().join(name);
    for name in ["mine", "other"] {
        let mut minisign = Command::new("minisign");
        succeed(minisign.args(["-G", "-W", "-s"]).arg(at(name)).arg("-p").arg(at(&format!("{name}.pub"))));
    }
    let mut minisign = Command::new("minisign");
    minisign.args(["-G", "-s"]).arg(at("protected")).arg("-p").arg(at("protected.pub"));
    let mut child = minisign.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    write!(child.stdin.take().unwrap(), "{PASSWORD}\n{PASSWORD}\n").unwrap();
    assert!(child.wait().unwrap().success());
    write_secret(&at(PASSWORD_FILE), &format!("{PASSWORD}\n"));
    folder
});

/// Writes a file that only this user can read.
fn write_secret(path: &Path, contents: &str) {
    write(path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub fn key(name: &str) -> String {
    text(&KEYS.path().join(name)).to_owned()
}

/// The letters of a public key.
pub fn public(name: &str) -> String {
    read_to_string(key(&format!("{name}.pub"))).unwrap().lines().nth(1).unwrap().to_owned()
}

/// A dump, its manifest and the signature.
struct Signed {
    folder: TempDir,
    dump: PathBuf,
    manifest: PathBuf,
    signature: PathBuf,
}

impl Signed {
    fn new() -> Self {
        let folder = directory();
        let at = |name: &str| folder.path().join(name);
        Self { dump: at("dump"), manifest: at("manifest"), signature: at("manifest.minisig"), folder }
    }

    /// Dumps an image.
    #[track_caller]
    fn dump(&self, options: &[&str]) -> Run {
        let images = directory();
        let image = write_file(images.path(), &noise(1 << 16));
        let mut dump = command();
        dump.arg("--device").arg(image).args(["dump", "-o", text(&self.dump), "--manifest", text(&self.manifest)]);
        run(dump.args(options))
    }

    #[track_caller]
    fn verify(&self, options: &[&str]) -> Run {
        let arguments = ["dump", "--verify", text(&self.dump), "--manifest", text(&self.manifest)];
        memtool(&[&arguments[..], options].concat())
    }

    fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }
}

#[test]
fn what_memtool_signs_minisign_verifies() {
    for (name, options) in [("mine", vec![]), ("protected", vec!["--password-file".to_owned(), key("password")])] {
        let signed = Signed::new();
        let secret = key(name);
        let mut arguments = vec!["--sign", &secret, "--json"];
        arguments.extend(options.iter().map(String::as_str));
        let said = signed.dump(&arguments).ok().json();
        assert_eq!(said["signature"], text(&signed.signature));
        assert_eq!(signed.names(), ["dump", "manifest", "manifest.minisig"]);
        let mut minisign = Command::new("minisign");
        minisign.arg("-Vm").arg(&signed.manifest).arg("-p").arg(key(&format!("{name}.pub")));
        let shown = String::from_utf8(succeed(&mut minisign)).unwrap();
        assert!(shown.contains("file:manifest\thashed"), "{shown}");
        // So does memtool, by the key or its file.
        for by in [public(name), key(&format!("{name}.pub"))] {
            let run = signed.verify(&["--public-key", &by, "--json"]).ok();
            let json = run.json();
            assert_eq!((&json["signed_by"], &json["matches"]), (&public(name).into(), &true.into()));
            assert!(json["trusted_comment"].as_str().unwrap().starts_with("timestamp:"), "{json}");
        }
        let run = signed.verify(&["--public-key", &public(name)]).ok();
        assert!(
            run.stdout.starts_with(&format!("{}: signed by {}: timestamp:", text(&signed.manifest), public(name))),
            "{run:?}"
        );
        // Without a key nothing is said of who has signed it, but that somebody has.
        let run = signed.verify(&[]).ok();
        assert!(run.stderr.contains("is signed, which was not checked: --public-key"), "{run:?}");
    }
}

#[test]
fn what_minisign_signs_memtool_verifies() {
    let signed = Signed::new();
    signed.dump(&[]).ok();
    signed.verify(&["--public-key", &public("mine")]).fails_saying(&["manifest.minisig", "No such file"]);
    for hashed in [&["-H"][..], &["-l"]] {
        let mut minisign = Command::new("minisign");
        succeed(
            minisign
                .arg("-Sm")
                .arg(&signed.manifest)
                .arg("-s")
                .arg(key("mine"))
                .args(hashed)
                .args(["-t", " of a  test \t "]),
        );
        let json = signed.verify(&["--public-key", &public("mine"), "--json"]).ok().json();
        assert_eq!(json["trusted_comment"], " of a  test \t ", "{hashed:?}");
    }
}

#[test]
fn a_signature_that_is_not_right_is_an_error() {
    let signed = Signed::new();
    signed.dump(&["--sign", &key("mine")]).ok();
    let by_mine = |texts: &[&str]| signed.verify(&["--public-key", &public("mine")]).fails_saying(texts);
    signed.verify(&["--public-key", &public("other")]).fails_saying(&["the signature is not right", "key id"]);
    signed.verify(&["--public-key", &key("other.pub")]).fails_saying(&["the signature is not right"]);
    // The dump itself is still compared with the manifest.
    let whole = read(&signed.dump).unwrap();
    let mut flipped = whole.clone();
    flipped[1000] ^= 1;
    write(&signed.dump, flipped).unwrap();
    by_mine(&["does not match its manifest", "SHA-256"]);
    write(&signed.dump, whole).unwrap();
    // A manifest that says otherwise, for which the dump could have been changed.
    let manifest = read_to_string(&signed.manifest).unwrap();
    for changed in [manifest.replace("\"size\": 65536", "\"size\": 65535"), format!("{manifest} "), String::new()] {
        assert_ne!(changed, manifest);
        write(&signed.manifest, changed).unwrap();
        by_mine(&["manifest.minisig: the signature is not right"]);
    }
    write(&signed.manifest, &manifest).unwrap();
    by_mine_again(&signed);
    let signature = read_to_string(&signed.signature).unwrap();
    let lines: Vec<&str> = signature.lines().collect();
    for changed in [
        // The comment that is signed, too.
        signature.replace("timestamp:", "timestamp:1"),
        lines[..2].join("\n"),
        "untrusted comment: x\nAAAA\ntrusted comment: y\nAAAA\n".to_owned(),
        // A signature of the comment that is too short, and one with more behind it.
        [lines[0], lines[1], lines[2], "AAAA"].join("\n"),
        [lines[0], lines[1], lines[2], ""].join("\n"),
        [lines[0], lines[1], lines[2], &lines[3].replace("==", "AAAAAA==")].join("\n"),
        [lines[0], "AAAA", lines[2], lines[3]].join("\n"),
        "x".repeat(100 << 10),
        String::new(),
    ] {
        write(&signed.signature, changed).unwrap();
        by_mine(&["manifest.minisig"]);
    }
    fs::remove_file(&signed.signature).unwrap();
    by_mine(&["cannot open", "manifest.minisig"]);
}

#[track_caller]
fn by_mine_again(signed: &Signed) {
    signed.verify(&["--public-key", &public("mine")]).ok();
}

#[test]
fn a_key_that_is_none_is_told_and_never_what_is_in_it() {
    let folder = directory();
    let file = folder.path().join("file");
    let secret = read_to_string(key("mine")).unwrap();
    let wrong = folder.path().join("wrong");
    write_secret(&wrong, "another password\n");
    let refused = |options: &[&str], texts: &[&str]| {
        let signed = Signed::new();
        let run = signed.dump(options);
        assert!(!run.stderr.contains(&secret.lines().nth(1).unwrap()[20..40]), "{run:?}");
        assert!(!run.stderr.contains("another password"), "{run:?}");
        run.fails_saying(texts);
        assert_eq!(signed.names(), Vec::<String>::new());
    };
    for (contents, why) in [
        (String::new(), "its second line is none of a key"),
        (read_to_string(key("mine.pub")).unwrap(), "not a usable private key of minisign"),
        (secret[..secret.len() - 20].to_owned(), "not a usable private key of minisign"),
        ("x".repeat(100 << 10), "not a private key of minisign"),
        // The seed, the public key in it, a checksum where there is to be none, and another algorithm.
        (damaged(&secret, 70), "it is damaged"),
        (damaged(&secret, 100), "it is damaged"),
        (damaged(&secret, 130), "it is damaged"),
        (damaged(&secret, 0), "of an unknown kind"),
        (damaged(&secret, 3), "encrypted in an unknown way"),
        // What would take 2^56 bytes to decrypt.
        (damaged(&read_to_string(key("protected")).unwrap(), 53), "takes too much memory"),
    ] {
        write_secret(&file, &contents);
        refused(&["--sign", text(&file), "--password-file", text(&wrong)], &[text(&file), why]);
    }
    refused(&["--sign", &key("protected"), "--password-file", text(&wrong)], &["the password is wrong"]);
    refused(&["--sign", text(&folder.path().join("none"))], &["No such file"]);
    let signed = Signed::new();
    signed.dump(&[]).ok();
    for (by, why) in [("RWQ", "No such file"), (&*key("mine"), "not a public key"), ("/dev/null", "not a public key")] {
        signed.verify(&["--public-key", by]).fails_saying(&[why]);
    }
    let letters = format!("RW{}", "!".repeat(54));
    signed.verify(&["--public-key", &letters]).fails_saying(&["not a public key of minisign"]);
}

/// A private key with a letter of its second line changed that has bits of this byte.
fn damaged(key: &str, byte: usize) -> String {
    let mut lines: Vec<String> = key.lines().map(str::to_owned).collect();
    let at = byte * 4 / 3;
    let other = if lines[1].as_bytes()[at] == b'B' { "C" } else { "B" };
    lines[1].replace_range(at..=at, other);
    lines.join("\n")
}

#[test]
fn a_key_that_others_can_read_is_remarked_on() {
    let folder = directory();
    let shared = folder.path().join("shared");
    fs::copy(key("mine"), &shared).unwrap();
    for (mode, is_told) in [(0o600, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
        let run = Signed::new().dump(&["--sign", text(&shared)]).ok();
        assert_eq!(run.stderr.contains("shared is readable by other users"), is_told, "{run:?}");
    }
}

/// Of a session of its own, with a terminal of its own.
#[cfg(target_os = "linux")]
#[test]
fn a_password_is_asked_for_on_the_terminal_and_not_shown() {
    use crate::common::{read_until, start, terminal};
    use nix::sys::termios::{LocalFlags, tcgetattr};
    use std::io::Read;
    for (password, code) in [(PASSWORD, 0), ("another one", 1)] {
        let signed = Signed::new();
        let pty = terminal(None);
        let mut setsid = Command::new("setsid");
        setsid.args(["--wait", "--ctty", env!("CARGO_BIN_EXE_memtool"), "--machine", "demo", "dump", "-d4k", "-o"]);
        setsid.arg(&signed.dump).arg("--manifest").arg(&signed.manifest).args(["--sign", &key("protected")]);
        setsid.stdin(Stdio::from(pty.slave)).stdout(Stdio::piped());
        let mut running = start(&mut setsid);
        setsid.stdin(Stdio::null());
        let mut master = fs::File::from(pty.master);
        let mut shown = read_until(&master, "Password of ");
        shown += &read_until(&master, "protected: ");
        // Who types before that sees it.
        running.until(|| !tcgetattr(&master).unwrap().local_flags.contains(LocalFlags::ECHO));
        writeln!(master, "{password}").unwrap();
        let run = running.end().exits(code);
        // What the terminal shows until its other side is gone.
        let mut rest = Vec::new();
        let _ = master.read_to_end(&mut rest);
        shown += &String::from_utf8_lossy(&rest);
        assert!(!shown.contains(password) && !run.stderr.contains(password), "{shown}: {run:?}");
        assert_eq!(signed.signature.exists(), code == 0);
        if code == 0 {
            signed.verify(&["--public-key", &public("protected")]).ok();
        } else {
            assert!(run.stderr.contains("the password is wrong"), "{run:?}");
        }
    }
}

/// Of a session of its own, which has no terminal.
#[cfg(target_os = "linux")]
#[test]
fn without_a_terminal_nobody_is_asked_for_a_password() {
    let signed = Signed::new();
    let mut setsid = Command::new("setsid");
    setsid.args(["--wait", env!("CARGO_BIN_EXE_memtool"), "--machine", "demo", "dump", "-d4k", "-o"]).arg(&signed.dump);
    setsid.arg("--manifest").arg(&signed.manifest).args(["--sign", &key("protected")]);
    run(&mut setsid).fails_saying(&["protected by a password", "--password-file"]);
    assert_eq!(signed.names(), Vec::<String>::new());
}

#[test]
fn names_and_options_are_checked_before_anything_is_read() {
    let signed = Signed::new();
    write(&signed.signature, "there").unwrap();
    signed.dump(&["--sign", &key("mine")]).fails_saying(&["manifest.minisig already exists"]);
    assert_eq!(signed.names(), ["manifest.minisig"]);
    signed.dump(&["--sign", &key("mine"), "--force"]).ok();
    by_mine_again(&signed);
    let at = |path: &Path| text(path).to_owned();
    let out = at(&signed.signature);
    memtool(&[
        "--machine",
        "demo",
        "dump",
        "-f",
        "-o",
        &out,
        "--manifest",
        &at(&signed.manifest),
        "--sign",
        &key("mine"),
    ])
    .fails_saying(&["cannot be the same file"]);
    memtool(&["--machine", "demo", "dump", "--sign", &key("mine")]).usage_error(&["--manifest"]);
    memtool(&["dump", "--public-key", &public("mine")]).usage_error(&["--verify"]);
    memtool(&["dump", "--verify", "-", "--manifest", "x", "--public-key", "-"]).usage_error(&["standard input"]);
    memtool(&["dump", "--verify", "x", "--manifest", "-", "--public-key", "y"]).usage_error(&["beside the manifest"]);
}
