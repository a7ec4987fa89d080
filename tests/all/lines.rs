//! Dumps that are stored on another host over ssh(1), by a real sshd(8).

use crate::common::sshd::{Settings, Sshd, can_mount, is_there};
use crate::common::{
    Run, Running, command, directory, memtool, names, noise, read_until, run, start, text, write_file,
};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::{self, read, read_to_string, write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A dump of an image to an address of a server.
fn dump_to(sshd: &Sshd, image: &Path, address: &str) -> Command {
    let mut dump = command();
    sshd.with_client(&mut dump);
    dump.arg("--device").arg(image).args(["dump", "-q", "-o", address]);
    dump
}

/// A server and an image.
struct Lines {
    sshd: Sshd,
    bytes: Vec<u8>,
    folder: tempfile::TempDir,
}

impl Lines {
    fn new(settings: &Settings<'_>) -> Self {
        assert!(is_there(), "openssh-server is needed");
        Self { sshd: Sshd::start(settings), bytes: noise(3 << 20), folder: directory() }
    }

    fn dump(&self, address: &str) -> Run {
        run(&mut dump_to(&self.sshd, &write_file(self.folder.path(), &self.bytes), address))
    }

    /// Asserts that it arrives, and nothing else is left.
    #[track_caller]
    fn arrives(&self, name: &str) {
        let run = self.dump(&self.sshd.dump(name)).ok();
        assert_eq!(run.stderr, "");
        assert_eq!(self.sshd.left(), [name]);
        let file = self.sshd.dumps().join(name);
        assert!(read(&file).unwrap() == self.bytes);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    }

    /// Asserts that it does not, says why, and leaves nothing.
    #[track_caller]
    fn fails(&self, texts: &[&str]) {
        let address = self.sshd.dump("ram");
        self.dump(&address).fails_saying(&[&[&*address], texts].concat());
        assert_eq!(self.sshd.left(), Vec::<String>::new());
    }
}

#[test]
fn a_dump_is_stored_whatever_shell_is_there() {
    for shell in [None, Some("dash"), Some("bash"), Some("busybox"), Some("zsh")] {
        if let Some(shell) = shell
            && Command::new(shell).arg("-c").arg(":").stderr(Stdio::null()).output().is_err()
        {
            eprintln!("SKIPPED: there is no {shell}");
            continue;
        }
        Lines::new(&Settings { shell, ..Settings::default() }).arrives("ram");
    }
    // Login shells with another language, by what sshd(8) does with the command.
    for shell in ["fish", "zsh", "tcsh", "csh"] {
        if Command::new(shell).arg("-c").arg(":").output().is_err() {
            eprintln!("SKIPPED: there is no {shell}");
            continue;
        }
        let key_options = format!("command=\"{shell} -c \\\"$SSH_ORIGINAL_COMMAND\\\"\"");
        Lines::new(&Settings { key_options: &key_options, ..Settings::default() }).arrives("it's $(a) \\n \"file\"!");
    }
}

#[test]
fn dumps_of_any_size_and_kind_are_stored_and_nothing_else_is_said() {
    let lines = Lines::new(&Settings::default());
    for (name, length) in [("page", 4096), ("more", (5 << 20) + 4096)] {
        let bytes = noise(length);
        let image = write_file(lines.folder.path(), &bytes);
        let manifest = lines.folder.path().join("manifest");
        let address = lines.sshd.dump(name);
        let mut dump = dump_to(&lines.sshd, &image, &address);
        run(dump.args(["-f", "--zstd", "--manifest", text(&manifest)])).ok();
        let file = lines.sshd.dumps().join(name);
        assert!(zstd::decode_all(&*read(&file).unwrap()).unwrap() == bytes);
        // It is what was sent, byte by byte.
        memtool(&["dump", "--verify", text(&file), "--manifest", text(&manifest)]).ok();
    }
    let mut convert = command();
    lines.sshd.with_client(&mut convert);
    let dump =
        write_file(lines.folder.path(), &vmcore_synth::MinidumpSpec::example(vmcore_synth::Arch::Amd64, 3).build());
    let core = lines.folder.path().join("core");
    memtool(&["convert", "--format", "raw", text(&dump), text(&core)]).ok();
    run(convert.args(["convert", "--format", "raw", text(&dump), &lines.sshd.dump("core")])).ok();
    assert!(read(&core).unwrap() == read(lines.sshd.dumps().join("core")).unwrap());
    let mut live = command();
    lines.sshd.with_client(&mut live);
    let run = run(live.args(["--machine", "demo", "livedump", "--json", &lines.sshd.dump("live")])).ok();
    assert_eq!(run.json()["output"], *lines.sshd.dump("live"));
    memtool(&["inspect", text(&lines.sshd.dumps().join("live"))]).ok();
    assert_eq!(lines.sshd.left(), ["core", "live", "more", "page"]);
}

#[test]
fn the_file_is_brought_to_disk_before_it_gets_its_name() {
    for name in ["sync", "fsync"] {
        let note = "echo \"$1\" $(wc -c <\"$1\" 2>/dev/null) $(ls ${1%/*}) >>${0%/*}/../notes";
        let flush = format!("{note}; exec sync \"$1\"");
        let lines = Lines::new(&Settings { programs: &[(name, &flush)], ..Settings::default() });
        lines.arrives("ram");
        let (notes, dumps) = (read_to_string(lines.sshd.notes()).unwrap(), lines.sshd.dumps());
        let of_file: Vec<&str> = notes.lines().next().unwrap().split(' ').collect();
        let partial = of_file[0].strip_prefix(text(&dumps)).unwrap().strip_prefix('/').unwrap();
        assert!(partial.starts_with("ram.") && partial.ends_with(".partial"), "{notes}");
        assert_eq!(of_file[1..], [&lines.bytes.len().to_string(), partial], "{notes}");
        // And then the folder, which has the name by now.
        let of_folder = notes.lines().nth(1).unwrap();
        assert!(of_folder.starts_with(&format!("{}/ ", text(&dumps))) && of_folder.ends_with(" ram"), "{notes}");
    }
}

#[test]
fn what_fails_on_the_other_host_is_said_and_leaves_nothing() {
    // The script would go on after a program that fails in silence.
    for (name, script, texts) in [
        ("sync", "echo sync: Input/output error >&2; exit 1", &["finish sending", "Input/output error"][..]),
        (
            "cat",
            "head -c 1000000; echo cat: No space left on device >&2; exit 1",
            &["was not written", "No space left"],
        ),
        ("cat", "head -c 1000000", &["has not arrived as a whole"]),
        ("cat", "cat; echo more", &["has not arrived as a whole"]),
        ("dd", "exit 1", &["finish sending"]),
        ("dd", ":", &["dd(1) cannot shorten a file"]),
        ("wc", "exit 1", &["has not arrived as a whole"]),
        ("tail", "exit 1", &["has not arrived as a whole"]),
        ("ln", "echo ln: Operation not permitted >&2; exit 1", &["ln: Operation not permitted"]),
        ("ln", "mkdir \"$2\"; exec ln \"$@\"", &["exists, and nothing is replaced"]),
        ("ln", "echo other >\"$2\"; exec ln \"$@\"", &["File exists"]),
    ] {
        let lines = Lines::new(&Settings { programs: &[(name, script)], ..Settings::default() });
        let address = lines.sshd.dump("ram");
        lines.dump(&address).fails_saying(&[&[&*address], texts].concat());
        let left = lines.sshd.left();
        let file = lines.sshd.dumps().join("ram");
        if script.contains("mkdir") {
            assert_eq!(names(&file), Vec::<String>::new());
        } else if script.contains("other") {
            assert_eq!(read_to_string(file).unwrap(), "other\n");
        } else {
            assert_eq!(left, Vec::<String>::new(), "{name}: {script}");
        }
    }
}

#[test]
fn a_name_that_is_taken_is_refused_and_nothing_is_replaced() {
    let lines = Lines::new(&Settings::default());
    let dumps = lines.sshd.dumps();
    write(dumps.join("file"), "mine").unwrap();
    fs::create_dir(dumps.join("folder")).unwrap();
    symlink("nowhere", dumps.join("link")).unwrap();
    symlink("folder", dumps.join("folder-link")).unwrap();
    let before = names(&dumps);
    for name in &before {
        let address = lines.sshd.dump(name);
        let path = text(&dumps.join(name)).to_owned();
        lines.dump(&address).fails_saying(&["cannot write to", &format!("{path} exists, and nothing is replaced")]);
        // --force is about files here.
        let image = write_file(lines.folder.path(), &lines.bytes);
        run(dump_to(&lines.sshd, &image, &address).arg("--force")).fails_saying(&["nothing is replaced"]);
    }
    assert_eq!(lines.sshd.left(), before);
    assert_eq!(read_to_string(dumps.join("file")).unwrap(), "mine");
    assert_eq!(names(&dumps.join("folder")), Vec::<String>::new());
}

#[test]
fn a_folder_that_takes_no_file_is_an_error_with_its_cause() {
    let lines = Lines::new(&Settings::default());
    lines.dump(&lines.sshd.dump("missing/ram")).fails_saying(&["cannot write to", "missing/ram."]);
    write(lines.sshd.dumps().join("file"), "").unwrap();
    lines.dump(&lines.sshd.dump("file/ram")).fails_saying(&["cannot write to", "file/ram."]);
    assert_eq!(lines.sshd.left(), ["file"]);
    let long = "x".repeat(250);
    lines.dump(&lines.sshd.dump(&long)).fails_saying(&["cannot write to", "File name too long"]);
    assert_eq!(lines.sshd.left(), ["file"]);
    if !nix::unistd::geteuid().is_root() {
        let dumps = lines.sshd.dumps();
        fs::set_permissions(&dumps, PermissionsExt::from_mode(0o500)).unwrap();
        lines.dump(&lines.sshd.dump("ram")).fails_saying(&["cannot write to", "Permission denied"]);
        fs::set_permissions(&dumps, PermissionsExt::from_mode(0o700)).unwrap();
    }
    if can_mount() {
        for (mount, what) in [
            ("mount -t tmpfs -o ro none /mnt", "Read-only file system"),
            ("mount -t tmpfs -o size=1m none /mnt", "No space left on device"),
        ] {
            let lines = Lines::new(&Settings { mounts: Some(mount.to_owned()), ..Settings::default() });
            // What is left would be in a file system that is gone; the script is the one that removes it elsewhere.
            lines.dump(&lines.sshd.address("/mnt/ram")).fails_saying(&["ssh://127.0.0.1:", what]);
        }
    }
}

#[test]
fn any_name_is_the_name_of_a_file_and_nothing_else() {
    let lines = Lines::new(&Settings::default());
    let image = write_file(lines.folder.path(), &lines.bytes[..4096]);
    let odd = [
        "a'b\"c",
        " two  words ",
        "$(touch x)`touch y`;touch z",
        "-rf",
        "\\057\\n%s",
        "*?[a]~",
        "é\u{202e}\u{1}",
        "!!",
    ];
    for name in odd {
        run(&mut dump_to(&lines.sshd, &image, &lines.sshd.dump(name))).ok();
        run(&mut dump_to(&lines.sshd, &image, &lines.sshd.address(&format!("/~/{name}")))).ok();
    }
    let mut expected = odd.map(str::to_owned);
    expected.sort();
    assert_eq!(lines.sshd.left(), expected);
    assert_eq!(names(&lines.sshd.home()), expected);
    for address in
        ["ssh://h/a\nb", "ssh://-oProxyCommand=touch x/f", "ssh://-l@h/f", "ssh://h", "ssh://h/", "ssh://h/d/"]
    {
        run(&mut dump_to(&lines.sshd, &image, address)).usage_error(&["--output"]);
    }
}

#[test]
fn who_is_not_known_gets_and_gives_nothing() {
    let lines = Lines::new(&Settings::default());
    lines.sshd.use_client("stranger", "known_hosts");
    lines.fails(&["Permission denied (publickey)"]);
    lines.sshd.use_client("client", "nothing");
    lines.fails(&["Host key verification failed."]);
    lines.sshd.use_client("client", "known_hosts");
    lines.arrives("ram");

    let mut dump = dump_to(&lines.sshd, Path::new("/dev/zero"), "ssh://127.0.0.1:1/x");
    run(dump.args(["--range", "0+4k"])).fails_saying(&["cannot write to ssh://127.0.0.1:1/x", "Connection refused"]);
    let empty = directory();
    let mut dump = dump_to(&lines.sshd, Path::new("/dev/zero"), &lines.sshd.dump("x"));
    dump.env("PATH", empty.path()).args(["--range", "0+4k"]);
    run(&mut dump).fails_saying(&["cannot write to ssh://", "ssh: not found"]);
    // A login shell that says something, and one that does nothing else.
    let chatty = "command=\"echo hello; echo there >&2; sh -c \\\"$SSH_ORIGINAL_COMMAND\\\"\"";
    Lines::new(&Settings { key_options: chatty, ..Settings::default() }).arrives("ram");
    let chatty = "command=\"yes | head -c 10000000\"";
    Lines::new(&Settings { key_options: chatty, ..Settings::default() }).fails(&["cannot write to"]);
    let silent = "command=\"exit 3\"";
    Lines::new(&Settings { key_options: silent, ..Settings::default() }).fails(&["without a message (exit status 3)"]);
    let many = "command=\"seq 100000 >&2; exit 1\"";
    Lines::new(&Settings { key_options: many, ..Settings::default() })
        .fails(&[": 99996; 99997; 99998; 99999; 100000\n"]);
}

#[test]
fn a_key_can_be_restricted_to_storing_dumps_in_one_folder() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/remote/receive.sh");
    let folder = directory();
    let key_options = format!("restrict,command=\"sh {script} {}\"", text(folder.path()));
    let lines = Lines::new(&Settings { key_options: &key_options, ..Settings::default() });
    let to = |name: &str| lines.sshd.address(text(&folder.path().join(name)));
    lines.dump(&to("it's a dump")).ok();
    assert!(read(folder.path().join("it's a dump")).unwrap() == lines.bytes);
    lines.dump(&to("it's a dump")).fails_saying(&["exists, and nothing is replaced"]);
    fs::create_dir(folder.path().join("below")).unwrap();
    for address in [lines.sshd.dump("ram"), to("below/ram"), to("below/../ram"), lines.sshd.address("/~/ram")] {
        lines.dump(&address).fails_saying(&["this key can only store dumps in "]);
    }
    lines.dump(&to("..")).fails_saying(&["exists"]);
    assert_eq!(names(folder.path()), ["below", "it's a dump"]);
    // By another program.
    for command in
        ["sh", "id", "x memtool a b", "x memtool ../x a '\\057'", "x memtool a b '%s'", "x memtool a ../../b '\\057'"]
    {
        let mut ssh = Command::new("ssh");
        lines.sshd.with_client(&mut ssh);
        let address = lines.sshd.address("");
        run(ssh.args(["-T", &address, command]).stdin(Stdio::null()))
            .fails_saying(&["this key can only store dumps of memtool"]);
    }
    assert_eq!(lines.sshd.left(), Vec::<String>::new());
}

#[test]
fn a_connection_that_is_cut_leaves_all_or_nothing() {
    let lines = Lines::new(&Settings::default());
    lines.arrives("ram");
    let all = lines.sshd.received();
    // In the greeting, in the keys, in the command, in the dump, in the token, and behind it.
    let places = [1, 100, 2000, all - (3 << 20), all / 2, all - 2000, all - 200, all - 120, all - 60, all - 1];
    let mut arrived = 0;
    for place in places {
        let lines = Lines::new(&Settings { cut_after: Some(place), ..Settings::default() });
        let address = lines.sshd.dump("ram");
        let run = lines.dump(&address);
        let left = lines.sshd.left();
        if left.is_empty() {
            run.fails_saying(&[&address]);
        } else {
            // The script has had the token, and memtool has not heard of it, or it has.
            assert!(place > all - 200, "{place} of {all}: {run:?}");
            assert_eq!(left, ["ram"]);
            assert!(read(lines.sshd.dumps().join("ram")).unwrap() == lines.bytes);
            if run.code != 0 {
                run.fails_saying(&[&address, "the file may be there"]);
            }
            arrived += 1;
        }
    }
    assert!(arrived < 4);
}

/// A dump without end that is on its way.
fn endless(lines: &Lines, setup: impl FnOnce(&mut Command)) -> Running {
    let mut dump = dump_to(&lines.sshd, Path::new("/dev/urandom"), &lines.sshd.dump("ram"));
    dump.args(["--range", "0-0x100000000000", "--no-space-check"]).stdout(Stdio::null());
    setup(&mut dump);
    let mut running = start(&mut dump);
    running.until_written(&lines.sshd.dumps(), 1 << 20);
    running
}

#[test]
fn a_dump_whose_sender_ends_is_removed() {
    let lines = Lines::new(&Settings::default());
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 1), (Signal::SIGHUP, 1), (Signal::SIGKILL, -1)] {
        let running = endless(&lines, |_| {});
        running.signal(signal);
        let run = running.end().exits(code);
        if code >= 0 {
            run.says_in_one_line(&[signal.as_str(), "the dump is not complete"]);
        }
        assert_eq!(lines.sshd.left(), Vec::<String>::new(), "{signal}");
    }
}

#[test]
fn a_signal_of_the_terminal_reaches_ssh_too_and_is_left_to_memtool() {
    let lines = Lines::new(&Settings::default());
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGHUP, 1)] {
        let (reader, writer) = std::io::pipe().unwrap();
        let running = endless(&lines, |dump| {
            let script = "echo $$; exec \"$@\"";
            let mut shell = Command::new("sh");
            shell.args(["-c", script, "sh"]).arg(dump.get_program()).args(dump.get_args());
            lines.sshd.with_client(&mut shell);
            shell.stdin(Stdio::null()).stdout(writer).process_group(0);
            *dump = shell;
        });
        let group: i32 = read_until(reader, "\n").trim().parse().unwrap();
        killpg(Pid::from_raw(group), signal).unwrap();
        running.end().exits(code).says_in_one_line(&[signal.as_str(), "the dump is not complete"]);
        assert_eq!(lines.sshd.left(), Vec::<String>::new(), "{signal}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_dump_that_fails_here_is_removed_there() {
    let lines = Lines::new(&Settings::default());
    // Nothing of it can be read, which is known when the file is begun.
    let mut dump = dump_to(&lines.sshd, Path::new("/proc/self/mem"), &lines.sshd.dump("ram"));
    run(dump.args(["--range", "0+1m"])).fails_saying(&["no dump was made"]);
    let folder = directory();
    // The map cannot be written.
    let image = write_file(folder.path(), &lines.bytes);
    let mut dump = dump_to(&lines.sshd, &image, &lines.sshd.dump("ram"));
    run(dump.args(["-m", text(&folder.path().join("no/map"))])).exits(1);
    assert_eq!(lines.sshd.left(), Vec::<String>::new());
}
