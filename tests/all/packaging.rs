//! What installs memtool: the Makefile with both kinds of make, the port of FreeBSD, its rc.d script, and the scripts that
//! look for a Rust that is new enough.

use crate::common::{Run, directory, run, text};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/freebsd/sysutils/memtool");
const PROGRAM: &str = env!("CARGO_BIN_EXE_memtool");

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// The files below a directory, by their paths in it.
fn files_below(directory: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files.insert(text(path.strip_prefix(directory).unwrap()).to_owned());
            }
        }
    }
    files
}

/// The makes of this system: GNU's and BSD's have other names on other systems.
fn makes() -> Vec<&'static str> {
    let is_there = |make: &&str| {
        let found = Command::new(make).args(["-f", "/dev/null", "-n"]).output().is_ok();
        if !found {
            eprintln!("SKIPPED: {make} is not installed");
        }
        found
    };
    let names: &[&str] = if cfg!(target_os = "freebsd") { &["make", "gmake"] } else { &["bmake", "make"] };
    names.iter().copied().filter(is_there).collect()
}

/// A make of the project that has memtool built already; nothing of the test's own make or cargo reaches it.
fn make(make: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new(make);
    command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("MEMTOOL", PROGRAM);
    run(command.current_dir(ROOT).args(arguments))
}

fn destination(directory: &Path) -> String {
    format!("DESTDIR={}", directory.display())
}

/// The files that `pkg-plist` names, below the prefix.
fn packing_list() -> BTreeSet<String> {
    let name = |line: &str| line.trim_start_matches("@sample ").replace("%%DATADIR%%", "share/memtool");
    read(format!("{PORT}/pkg-plist")).lines().map(name).collect()
}

#[test]
fn install_puts_the_files_of_the_port_in_their_places_and_uninstall_removes_them() {
    for name in makes() {
        let stage = directory();
        let arguments = [&destination(stage.path())[..], "SYSTEM=FreeBSD"];
        // Twice: the second replaces the first.
        for _ in 0..2 {
            make(name, &[&["install"], &arguments[..]].concat()).ok();
        }
        let prefix = stage.path().join("usr/local");
        let installed = files_below(&prefix);
        let of_the_framework = |file: &String| file.starts_with("share/doc/memtool/") || file.starts_with("etc/rc.d/");
        let listed: BTreeSet<String> = installed.iter().filter(|file| !of_the_framework(file)).cloned().collect();
        assert_eq!(listed, packing_list(), "{name}");
        for file in ["share/doc/memtool/README.md", "share/doc/memtool/LICENSE", "etc/rc.d/memtool_save"] {
            assert!(installed.contains(file), "{name}: {file}");
        }
        assert_eq!(files_below(stage.path()).len(), installed.len(), "{name}: something is outside of the prefix");
        let mode = |file: &str| prefix.join(file).metadata().unwrap().permissions().mode() & 0o7777;
        for (file, expected) in
            [("bin/memtool", 0o755), ("etc/rc.d/memtool_save", 0o555), ("share/man/man8/memtool.8.gz", 0o644)]
        {
            assert_eq!(mode(file), expected, "{name}: {file}");
        }
        assert!(fs::read(prefix.join("bin/memtool")).unwrap() == fs::read(PROGRAM).unwrap());
        let mut page = String::new();
        let packed = fs::File::open(prefix.join("share/man/man5/memtool-json.5.gz")).unwrap();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut page).unwrap();
        assert_eq!(page, read(format!("{ROOT}/man/memtool-json.5")));
        let script = read(prefix.join("etc/rc.d/memtool_save"));
        assert!(script.contains("\"/usr/local/bin/memtool\"") && !script.contains("%%"), "{script}");
        let completions = run(Command::new(prefix.join("bin/memtool")).args(["completions", "bash"])).ok();
        assert_eq!(read(prefix.join("share/bash-completion/completions/memtool")), completions.stdout);

        fs::write(prefix.join("bin/other"), "").unwrap();
        make(name, &[&["uninstall"], &arguments[..]].concat()).ok();
        assert_eq!(files_below(stage.path()), ["usr/local/bin/other".to_owned()].into(), "{name}");
        assert!(!prefix.join("share/memtool").exists() && !prefix.join("share/doc/memtool").exists(), "{name}");
    }
}

/// The files of Debian's package, as `[package.metadata.deb]` lists them.
fn assets() -> BTreeSet<String> {
    let manifest = read(format!("{ROOT}/Cargo.toml"));
    let (_, assets) = manifest.split_once("\nassets = [\n").unwrap();
    let (assets, _) = assets.split_once("\n]").unwrap();
    let mut files = BTreeSet::new();
    for asset in assets.lines() {
        let [_, source, _, destination, ..] = asset.split('"').collect::<Vec<_>>()[..] else { panic!("{asset}") };
        let (folder, name) = source.rsplit_once('/').unwrap_or((".", source));
        let names = match name.strip_prefix('*') {
            Some(ending) => {
                let names = crate::common::names(&Path::new(ROOT).join(folder));
                names.into_iter().filter(|name| name.ends_with(ending)).collect()
            }
            None => vec![name.to_owned()],
        };
        let place =
            |name: String| if destination.ends_with('/') { destination.to_owned() + &name } else { destination.into() };
        files.extend(names.into_iter().map(place));
    }
    files
}

/// Debian has its own names for the licence and the changes, and its own place for zsh's completions.
#[test]
fn the_package_of_debian_has_the_files_that_install_installs() {
    let Some(name) = makes().pop() else { return };
    let stage = directory();
    let options = ["SYSTEM=Linux", "PREFIX=/usr", "ZSHDIR=/usr/share/zsh/vendor-completions"];
    make(name, &[&["install", &destination(stage.path())], &options[..]].concat()).ok();
    let mut installed = files_below(stage.path());
    for file in ["LICENSE", "CHANGELOG.md"] {
        assert!(installed.remove(&format!("usr/share/doc/memtool/{file}")));
    }
    installed.insert("usr/share/doc/memtool/NEWS".to_owned());
    assert_eq!(assets(), installed);
}

#[test]
fn each_directory_can_be_chosen_or_left_out() {
    for name in makes() {
        let stage = directory();
        let prefix = "PREFIX=/opt/of memtool";
        let options =
            ["SYSTEM=Linux", prefix, "DOCDIR=", "FISHDIR=", "MANDIR=/man", "BINDIR=/sbin", "NEWSYSLOGDIR=/etc/n"];
        make(name, &[&["install", &destination(stage.path())], &options[..]].concat()).ok();
        let installed = files_below(stage.path());
        for file in [
            "sbin/memtool",
            "man/man8/memtool-save.8",
            "etc/n/memtool.conf.sample",
            "opt/of memtool/share/zsh/site-functions/_memtool",
        ] {
            assert!(installed.contains(file), "{name}: {file}: {installed:?}");
        }
        let others = ["doc", "fish", "rc.d", ".gz", "syslog.d"];
        assert!(!installed.iter().any(|file| others.iter().any(|other| file.contains(other))), "{name}: {installed:?}");
        make(name, &[&["uninstall", &destination(stage.path())], &options[..]].concat()).ok();
        assert_eq!(files_below(stage.path()), BTreeSet::new(), "{name}");
    }
}

#[test]
fn make_alone_builds_the_release_program_from_the_lock_file_and_install_builds_nothing() {
    for name in makes() {
        assert_eq!(make(name, &["-n"]).ok().stdout, "cargo build --release --locked\n", "{name}");
        let other = make(name, &["-n", "CARGO=/opt/cargo", "CARGO_FLAGS=--offline", "all"]).ok().stdout;
        assert_eq!(other, "/opt/cargo build --release --offline\n", "{name}");
        let install = make(name, &["-n", "install"]).ok().stdout;
        assert!(install.contains("packaging/install install") && !install.contains("cargo"), "{name}: {install}");
    }
}

#[test]
fn an_installation_that_fails_leaves_everything_as_it_was() {
    for name in makes() {
        let stage = directory();
        let destination = destination(stage.path());
        let missing = make(name, &["install", &destination, "MEMTOOL=target/none/memtool"]);
        assert!(
            missing.code != 0 && missing.stderr.contains("there is no target/none/memtool; 'make' builds"),
            "{missing:?}"
        );
        assert_eq!(fs::read_dir(stage.path()).unwrap().count(), 0, "{name}");
        // A directory cannot be made, late.
        let program = stage.path().join("usr/local/bin/memtool");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, "the one before").unwrap();
        fs::create_dir_all(stage.path().join("usr/local/share/doc")).unwrap();
        fs::write(stage.path().join("usr/local/share/doc/memtool"), "a file").unwrap();
        assert_ne!(make(name, &["install", &destination]).code, 0, "{name}");
        let left = ["usr/local/bin/memtool", "usr/local/share/doc/memtool"].map(str::to_owned);
        assert_eq!(files_below(stage.path()), left.into(), "{name}");
        assert_eq!(read(&program), "the one before");
    }
}

/// The crates of Cargo.lock that are downloaded, with their checksums, in its order, which make cargo-crates keeps.
fn locked_crates() -> Vec<(String, String)> {
    let lock = read(format!("{ROOT}/Cargo.lock"));
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
        line.map(|value| value.trim_end_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]").skip(1);
    let downloaded = packages.filter_map(|package| {
        let name = format!("{}-{}", value(package, "name")?, value(package, "version")?);
        Some((name, value(package, "checksum")?))
    });
    downloaded.collect()
}

#[test]
fn the_port_has_the_crates_of_the_lock_file() {
    let locked = locked_crates();
    assert!(locked.len() > 100);
    let hint = "Cargo.lock has changed: run tools/port-crates";
    let list = read(format!("{PORT}/Makefile.crates"));
    let crates = list.strip_prefix("CARGO_CRATES=").unwrap().replace('\\', " ");
    let crates: Vec<&str> = crates.split_whitespace().collect();
    assert_eq!(crates, locked.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "{hint}");
    // In this form make reads it.
    assert!(list.lines().rev().skip(1).all(|line| line.ends_with(" \\")) && list.ends_with('\n'), "{list}");

    let distinfo = read(format!("{PORT}/distinfo"));
    let mut lines = distinfo.lines();
    assert!(lines.next().unwrap().strip_prefix("TIMESTAMP = ").unwrap().parse::<u64>().is_ok());
    for (name, checksum) in &locked {
        let file = format!("rust/crates/{name}.crate");
        assert_eq!(lines.next(), Some(&*format!("SHA256 ({file}) = {checksum}")), "{hint}");
        let size = lines.next().and_then(|line| line.strip_prefix(&format!("SIZE ({file}) = "))).unwrap();
        assert!(size.parse::<u64>().unwrap() > 100, "{name}: {size}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn the_port_is_of_this_version_and_ports_rules() {
    let makefile = read(format!("{PORT}/Makefile"));
    assert!(makefile.contains(concat!("\nDISTVERSION=\t", env!("CARGO_PKG_VERSION"), "\n")), "{makefile}");
    let comment = makefile.lines().find_map(|line| line.strip_prefix("COMMENT=\t")).unwrap();
    assert!(comment.len() <= 70 && !comment.ends_with('.') && !comment.starts_with("A "), "{comment}");
    for file in ["Makefile", "pkg-descr", "pkg-message", "pkg-plist", "files/memtool_save.in"] {
        let content = read(format!("{PORT}/{file}"));
        let is_plain = |line: &str| line.len() <= 80 && line.trim_end() == line && line.is_ascii();
        assert!(content.ends_with('\n') && content.lines().all(is_plain), "{file}");
    }
    assert!(read(format!("{PORT}/pkg-descr")).lines().count() <= 24);
}

/// A rc.subr(8) that does what the script needs of the real one.
const RC_SUBR: &str = r#"
debug() { :; }
warn() { echo "WARNING: $*" >&2; }
startmsg() { echo "$*"; }
load_rc_config() { . ./rc.conf; }
checkyesno() { eval "value=\$$1"; case $value in [Yy][Ee][Ss]) return 0 ;; *) return 1 ;; esac }
run_rc_command() {
    checkyesno "$rcvar" || return 0
    $start_precmd || return 1
    $start_cmd
}
"#;
/// A memtool that says how it was called; what `save --check` and `save` exit with are files.
const MEMTOOL: &str = r#"#!/bin/sh
echo "memtool $*"
case "$*" in "save --check "*) exit "$(cat check)" ;; *) exit "$(cat save)" ;; esac
"#;

/// Runs the rc script with settings of rc.conf(5), and with what memtool is to exit with.
fn boot(settings: &str, check: u8, save: u8) -> Run {
    let folder = directory();
    let here = |name: &str| folder.path().join(name);
    let executable = |name: &str, script: &str| {
        fs::write(here(name), script).unwrap();
        fs::set_permissions(here(name), PermissionsExt::from_mode(0o755)).unwrap();
    };
    fs::create_dir(here("bin")).unwrap();
    fs::create_dir(here("crash")).unwrap();
    executable("bin/memtool", MEMTOOL);
    executable("crashinfo", "#!/bin/sh\necho \"crashinfo $*\"\n");
    fs::write(here("check"), check.to_string()).unwrap();
    fs::write(here("save"), save.to_string()).unwrap();
    fs::write(here("rc.subr"), RC_SUBR).unwrap();
    let defaults = "dumpdir=/var/crash dumpdev=NO crashinfo_enable=YES crashinfo_program=./crashinfo";
    fs::write(here("rc.conf"), format!("{defaults}\n{settings}\n")).unwrap();
    let script = read(format!("{PORT}/files/memtool_save.in")).replace("%%PREFIX%%", text(folder.path()));
    let script = script.replace(". /etc/rc.subr", ". ./rc.subr");
    fs::write(here("memtool_save"), script).unwrap();
    let mut run = run(Command::new("sh").args(["-u", "./memtool_save", "start"]).current_dir(folder.path()));
    run.stdout = run.stdout.replace(&format!("{}/", folder.path().display()), "");
    run
}

#[test]
fn the_rc_script_saves_a_dump_that_is_there() {
    let on = "memtool_save_enable=YES dumpdev=/dev/null dumpdir=crash";
    let saved = boot(on, 0, 0).ok();
    let save = "memtool save --max 10 --dir crash /dev/null";
    assert_eq!((&*saved.stdout, &*saved.stderr), (&*format!("{save}\ncrashinfo -b -d crash\n"), ""));
    let with_flags = boot(&format!("{on}\nmemtool_save_flags='--verify -Z' crashinfo_enable=NO"), 0, 0).ok();
    assert_eq!(with_flags.stdout, "memtool save --verify -Z --dir crash /dev/null\n");
    // What was not saved is not summarized, and the failure is the script's.
    let failed = boot(on, 0, 1).exits(1);
    assert_eq!(failed.stdout, format!("{save}\n"));
    assert_eq!(boot(on, 1, 0).ok().stdout, "No crash dump on /dev/null.\n");
}

#[test]
fn the_rc_script_does_nothing_unless_it_is_enabled_and_there_is_a_dump_device() {
    assert_eq!(boot("dumpdev=/dev/null dumpdir=crash", 0, 0).ok().stdout, "");
    let on = "memtool_save_enable=YES dumpdir=crash";
    for (settings, warning) in [
        ("dumpdev=NO", ""),
        ("dumpdev=/dev/null dumpdir=NO", ""),
        ("dumpdev=/dev/nonexistent", "WARNING: /dev/nonexistent is not a device. The crash dump was not saved.\n"),
        (
            "dumpdev=/dev/null dumpdir=/nonexistent",
            "WARNING: /nonexistent is not a directory. The crash dump was not saved.\n",
        ),
    ] {
        let run = boot(&format!("{on}\n{settings}"), 0, 0).exits(1);
        assert_eq!((&*run.stdout, &*run.stderr), ("", warning), "{settings}");
    }
    // dumpon(8)'s link is none of Linux.
    if !Path::new("/dev/dumpdev").exists() {
        assert_eq!(boot(&format!("{on}\ndumpdev=AUTO"), 0, 0).exits(1).stdout, "");
    }
}

/// rcorder(8) sorts by these; syslogd(8) gets the messages, and savecore(8) would take the dump away.
#[test]
fn the_rc_script_runs_after_syslogd_and_before_savecore() {
    let script = read(format!("{PORT}/files/memtool_save.in"));
    let list = |key: &str| {
        let line = script.lines().find_map(|line| line.strip_prefix(&format!("# {key}: ")));
        line.unwrap_or_else(|| panic!("no {key}")).split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(list("PROVIDE"), ["memtool_save"]);
    assert!(["dumpon", "syslogd"].iter().all(|name| list("REQUIRE").contains(&(*name).to_owned())));
    assert_eq!((list("BEFORE"), list("KEYWORD")), (vec!["savecore".to_owned()], vec!["nojail".to_owned()]));
}

/// A system with programs of these versions, and packages of these versions that bring them; runs a command of
/// tools/common.sh there.
fn with_rust(cargo: &str, rustc: &str, packages: &[(&str, &str)], script: &str) -> Run {
    let folder = directory();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let executable = |name: &str, script: &str| {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    };
    for (name, version) in [("cargo", cargo), ("rustc", rustc)] {
        if !version.is_empty() {
            executable(name, &format!("echo '{name} {version} (0123456789 2026-01-01)'"));
        }
    }
    executable("cc", "");
    executable("id", "echo 0");
    let policy = packages.iter().map(|(name, version)| {
        format!("{name}) echo '{name}:'; echo '  Installed: (none)'; echo '  Candidate: {version}' ;;\n")
    });
    executable("apt-cache", &format!("case $2 in\n{} esac", policy.collect::<String>()));
    // What is installed is new enough, unless its candidate is not.
    let install = r#"case "$*" in *" install "*) ;; *) exit 0 ;; esac
        echo "$*" | sed 's/.*recommends //' >&2
        for package in "$@"; do
            case $package in cargo | cargo-web | rustc | rustc-web)
                printf '#!/bin/sh\necho "%s 1.95.0"\n' "${package%-web}" >"${0%/*}/${package%-web}"
                chmod 755 "${0%/*}/${package%-web}" ;;
            esac
        done"#;
    executable("apt-get", install);
    for tool in ["sh", "sed", "sort", "head", "cut", "awk", "chmod", "cat", "tr", "printf"] {
        let found = run(Command::new("sh").args(["-c", &format!("command -v {tool}")])).stdout;
        let path = PathBuf::from(found.trim());
        if path.is_absolute() {
            symlink(path, bin.join(tool)).unwrap();
        }
    }
    let mut shell = Command::new("sh");
    shell.env_clear().env("PATH", &bin).current_dir(ROOT);
    run(shell.args(["-euc", &format!(". tools/common.sh; {script}")]))
}

#[test]
fn a_rust_is_known_by_its_version() {
    // The name of a program or package is not what counts: there are 1.63 and 1.96 in Debian 12.
    let debian_12 = [("rustc", "1.63.0+dfsg1-2"), ("rustc-web", "1.96.0+dfsg1-1~deb12u2")];
    for version in ["1.88.0", "1.89.0-nightly", "1.100.0", "2.0.0"] {
        let new_enough = with_rust(version, version, &debian_12, "need_rust").ok();
        assert_eq!(new_enough.stderr, "", "{version}");
    }
    for (cargo, rustc) in [("", ""), ("1.65.0", "1.63.0"), ("1.95.0", "1.63.0"), ("1.87.0", "1.88.0")] {
        let installed = with_rust(cargo, rustc, &debian_12, "need_rust").ok();
        assert_eq!(installed.stderr, "rustc-web cargo-web\n", "{cargo}, {rustc}");
    }
    let debian_next = [("rustc", "1.92.0+dfsg1-1"), ("rustc-web", "(none)")];
    let installed = with_rust("1.65.0", "1.63.0", &debian_next, "need_rust").ok();
    assert_eq!(installed.stderr, "rustc cargo\n");
    let old = [("rustc", "1.63.0+dfsg1-2"), ("rustc-web", "1.78.0+dfsg1-1")];
    let none = with_rust("1.65.0", "1.63.0", &old, "need_rust").exits(1);
    for fact in ["1.88", "1.63.0", "1.65.0"] {
        assert!(none.stderr.contains(fact), "{none:?}");
    }
}
