//! What a run reads it never replaces, whatever names lead there; nor does it replace its own outputs. What a killed
//! run has left goes, and what a living one works on stays.

use crate::common::encryption::{KEYS, block_for, encrypted};
use crate::common::{Run, command, demo, demo_machine, directory, names, run, start, text};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::LazyLock;
use vmcore::decrypt::Encryption;
use vmcore_synth::image::{AMD64, ET_EXEC, GLOBAL, Image, OBJECT, SHF_WRITE, section, symbol};
use vmcore_synth::{Arch, Compression, DumpDevice, KernelDumpHeader, MinidumpSpec};

fn minidump() -> Vec<u8> {
    MinidumpSpec::example(Arch::Amd64, 3).build()
}

fn device() -> Vec<u8> {
    let header = KernelDumpHeader { compression: Compression::None, ..KernelDumpHeader::example(Arch::Amd64, 4, 0) };
    DumpDevice::example(header, 512, &minidump()).build()
}

/// An image of the demo machine's kernel, as far as its symbols go.
fn demo_kernel() -> Vec<u8> {
    let demo = memtool::host::Selection { machine: Some(Path::new("demo")), device: None };
    let host = memtool::host::open(&demo).unwrap();
    let names = vmcore::live::SYMBOLS.into_iter();
    let found = names.filter_map(|name| Some((name, host.kernel_symbol(name).unwrap()?)));
    let symbols = found.map(|(name, found)| symbol(name, (GLOBAL, OBJECT), 1, found.address, found.size)).collect();
    let data = section(".data", SHF_WRITE, 0xffff_ffff_8020_0000, vec![1; 0x100]);
    Image::new(AMD64, ET_EXEC, vec![data], symbols).build()
}

/// One of everything that is read, by its name.
static INPUTS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let dump = minidump();
    let machine = demo_machine();
    // One whose memory is in a file.
    let mut imaged = machine.clone();
    imaged["memory"]["segments"] = json!([{"start": "0x0", "end": "0x4000"}]);
    imaged["contents"] = json!({"image": {"path": "raw", "layout": "padded"}});
    let text = |machine: &Value| serde_json::to_vec_pretty(machine).unwrap();
    vec![
        ("core", dump.clone()),
        ("raw", vec![7; 0x4000]),
        // The kernel's own.
        ("live", demo(&["livedump", "-"]).ok().bytes),
        ("segments", b"0x0 0x2000\n0x2000 0x4000\n".to_vec()),
        ("key.pem", fs::read(KEYS.path("mine.pem")).unwrap()),
        ("key", block_for("mine.pem", Encryption::Aes256Cbc, "oaep")),
        ("vmcore", encrypted(Encryption::Aes256Cbc, &dump)),
        ("device", device()),
        ("kernel", demo_kernel()),
        ("machine", text(&machine)),
        ("imaged", text(&imaged)),
    ]
});

/// A directory with all of them.
fn inputs() -> tempfile::TempDir {
    let directory = directory();
    for (name, bytes) in &*INPUTS {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    fs::create_dir(directory.path().join("crash")).unwrap();
    symlink(".", directory.path().join("here")).unwrap();
    directory
}

/// Every file in a directory, with its bytes.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let file = |name: String| {
        let path = directory.join(&name);
        path.is_file().then(|| (name, fs::read(path).unwrap()))
    };
    names(directory).into_iter().filter_map(file).collect()
}

/// Runs it, without more, in that directory.
fn memtool_in(directory: &Path, arguments: &str) -> Run {
    run(command().args(arguments.split(' ')).current_dir(directory))
}

/// Command lines with OUT for an output, and what each of them reads.
const OUTPUTS: [(&str, &[&str]); 17] = [
    ("convert core OUT --format lime --force", &["core"]),
    ("convert core other --format lime --force --map OUT", &["core"]),
    ("convert core OUT --format elf --force", &["core"]),
    ("convert live OUT --format elf --kernel kernel --force", &["live", "kernel"]),
    ("convert raw OUT --format lime --segments segments --force", &["raw", "segments"]),
    ("convert raw other --format padded --segments segments --map OUT --force", &["raw", "segments"]),
    ("decrypt --key key --private-key key.pem vmcore OUT --force", &["vmcore", "key", "key.pem"]),
    ("dump --device raw -o OUT --force", &["raw"]),
    ("dump --device raw -o other --segments segments -m OUT --force", &["raw", "segments"]),
    ("dump --device raw -o other --manifest OUT --force", &["raw"]),
    ("dump --machine imaged -o OUT --force", &["imaged", "raw"]),
    ("dump --machine imaged -o other --manifest OUT --force", &["imaged", "raw"]),
    ("dump --machine machine -k -d 1m -o OUT --force", &["machine"]),
    ("livedump --machine machine OUT --force", &["machine"]),
    ("livedump --machine machine other --info OUT --force", &["machine"]),
    ("livedump --machine machine OUT --kernel kernel --method user --force", &["machine", "kernel"]),
    ("livedump --machine machine other --info OUT --kernel kernel --method user --force", &["machine", "kernel"]),
];

#[test]
fn no_output_replaces_what_the_run_reads() {
    for (arguments, read) in OUTPUTS {
        for input in read {
            let directory = inputs();
            let here = directory.path();
            fs::hard_link(here.join(input), here.join("hard")).unwrap();
            let before = contents(here);
            for output in
                [input.to_string(), "hard".to_owned(), format!("here/{input}"), text(&here.join(input)).into()]
            {
                let arguments = arguments.replace("OUT", &output);
                let run = memtool_in(here, &format!("-q {arguments}")).exits(1);
                assert!(run.stderr.contains("cannot be the same file"), "{arguments}: {run:?}");
                assert!(contents(here) == before, "{arguments} has changed something: {:?}", names(here));
            }
            // Where an input is named by a symbolic link it is the same.
            symlink(input, here.join("soft")).unwrap();
            let through = arguments.split(' ').map(|word| if word == *input { "soft" } else { word });
            let arguments = through.collect::<Vec<_>>().join(" ").replace("OUT", input);
            memtool_in(here, &format!("-q {arguments}")).exits(1);
            fs::remove_file(here.join("soft")).unwrap();
            assert!(contents(here) == before, "{arguments} has changed something: {:?}", names(here));
        }
    }
}

#[test]
fn what_is_not_read_is_replaced_by_force() {
    for (arguments, _) in OUTPUTS.iter().filter(|(arguments, _)| !arguments.contains("--kernel")) {
        let directory = inputs();
        fs::write(directory.path().join("out"), "old").unwrap();
        memtool_in(directory.path(), &format!("-q {}", arguments.replace("OUT", "out"))).ok();
        assert_ne!(fs::read(directory.path().join("out")).unwrap(), b"old", "{arguments}");
    }
}

#[test]
fn a_recording_is_replaced_by_its_own_new_state_only() {
    let directory = inputs();
    let here = directory.path();
    let before = contents(here);
    memtool_in(here, "-q --machine machine --save-machine machine ranges list").ok();
    memtool_in(here, "-q --machine machine --save-machine raw ranges list").exits(1);
    memtool_in(here, "-q --machine machine record machine").exits(1);
    let after = contents(here);
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
    for ((name, is), (_, was)) in after.iter().zip(&before).filter(|((name, _), _)| name != "machine") {
        assert!(is == was, "{name}");
    }
}

#[test]
fn a_core_file_that_is_changed_is_read_for_nothing_else() {
    let directory = inputs();
    let here = directory.path();
    fs::hard_link(here.join("kernel"), here.join("hard")).unwrap();
    let before = contents(here);
    for core in ["kernel", "hard"] {
        let run = memtool_in(here, &format!("write --core {core} --kernel kernel --force version 01")).exits(1);
        assert!(run.stderr.contains("the same file"), "{run:?}");
    }
    memtool_in(here, "write --core segments --segments segments --force --phys 0x0 01").exits(1);
    assert!(contents(here) == before);
}

#[test]
fn a_dump_replaces_neither_its_device_nor_one_of_the_same_run() {
    let directory = inputs();
    let crash = directory.path().join("crash");
    fs::write(crash.join("vmcore.0"), device()).unwrap();
    let before = contents(&crash);
    memtool_in(directory.path(), "save --dir crash --max 1 crash/vmcore.0").fails_saying(&["cannot be the same file"]);
    assert!(contents(&crash) == before, "{:?}", names(&crash));
    // The second one would replace the first one, which is on no device any more.
    let directory = inputs();
    fs::write(directory.path().join("second"), device()).unwrap();
    let run = memtool_in(directory.path(), "save --dir crash --max 1 device second").exits(1);
    assert!(run.stderr.contains("already an output of this run"), "{run:?}");
    assert!(fs::read(directory.path().join("second")).unwrap() == device(), "the second dump is lost");
    assert!(fs::read(directory.path().join("crash/vmcore.0")).unwrap() == minidump());
    // The next run may.
    memtool_in(directory.path(), "save --dir crash --max 1 second").ok();
}

#[test]
fn standard_output_does_not_go_where_the_run_reads() {
    for (arguments, input) in [
        ("inspect core", "core"),
        ("convert core - --format lime", "core"),
        ("convert core - --format elf --kernel kernel", "kernel"),
        ("convert raw - --format padded --segments segments", "segments"),
        ("dump --device raw", "raw"),
        ("dump --machine imaged", "imaged"),
        ("dump --machine imaged", "raw"),
        ("livedump --machine machine -", "machine"),
        ("symbols --kernel kernel version", "kernel"),
        ("read --core core --phys 0x0", "core"),
        ("save --check device", "device"),
        ("dump --verify other --manifest manifest", "other"),
        ("save --dir crash device", "device"),
        ("ranges list --machine machine", "machine"),
        ("decrypt --key key --private-key key.pem vmcore out", "key.pem"),
        ("--machine machine --save-machine - ranges list", "machine"),
    ] {
        let directory = inputs();
        if arguments.contains("--verify") {
            memtool_in(directory.path(), "-q dump --device raw -o other --manifest manifest").ok();
        }
        let before = contents(directory.path());
        let append = OpenOptions::new().append(true).open(directory.path().join(input)).unwrap();
        let mut memtool = command();
        memtool.args(arguments.split(' ')).current_dir(directory.path()).stdout(append).stderr(Stdio::piped());
        let run = start(&mut memtool).end().exits(1);
        assert!(run.stderr.contains("standard output is the same file"), "{arguments}: {run:?}");
        assert!(contents(directory.path()) == before, "{arguments} >> {input} has changed something");
    }
    // What is written beside it, and /dev/null, are no inputs.
    let directory = inputs();
    let log = File::create(directory.path().join("log")).unwrap();
    run_to(&["inspect", "core"], directory.path(), log).ok();
    run_to(&["inspect", "core"], directory.path(), File::create("/dev/null").unwrap()).ok();
}

fn run_to(arguments: &[&str], directory: &Path, output: File) -> Run {
    start(command().args(arguments).current_dir(directory).stdout(output)).end()
}

#[test]
fn no_output_replaces_the_file_that_standard_output_goes_to() {
    let directory = inputs();
    let log = directory.path().join("log");
    let output = File::create(&log).unwrap();
    let run = run_to(&["convert", "core", "log", "--format", "lime", "--force"], directory.path(), output);
    assert!(run.exits(1).stderr.contains("standard output goes to it"));
    assert_eq!(fs::read(&log).unwrap(), b"");
}

/// Names of temporary files.
fn temporary(directory: &Path) -> Vec<String> {
    names(directory).into_iter().filter(|name| name.starts_with('.')).collect()
}

/// A dump that takes long, into a directory of its own.
fn endless(directory: &Path) -> std::process::Command {
    let image = directory.join("image");
    File::create(&image).unwrap().set_len(1 << 43).unwrap();
    let out = directory.join("crash/endless");
    let mut command = command();
    // Compressed, so that it does not fill the disk.
    command.args(["-q", "convert", "--format", "lime", "--gzip", "--no-space-check", text(&image), text(&out)]);
    command.stdout(Stdio::null());
    command
}

#[test]
fn what_a_killed_run_has_left_is_removed_by_the_next_one_whichever_it_is() {
    for next in [
        "convert core crash/out --format lime",
        "dump --device raw -o crash/out",
        "livedump --machine machine crash/out",
        "livedump --machine machine --dir crash",
        "decrypt --key key --private-key key.pem vmcore crash/out",
        "save --dir crash device",
        "record --machine machine crash/out",
        "ranges list --machine machine --save-machine crash/out",
    ] {
        let directory = inputs();
        let crash = directory.path().join("crash");
        let mut killed = start(&mut endless(directory.path()));
        killed.until(|| !temporary(&crash).is_empty());
        killed.signal(Signal::SIGKILL);
        killed.end();
        let left = temporary(&crash);
        assert_eq!(left.len(), 1, "{left:?}");
        memtool_in(directory.path(), &format!("-q {next}")).ok();
        assert_eq!(temporary(&crash), Vec::<String>::new(), "{next}");
    }
}

#[test]
fn what_a_living_run_works_on_and_what_is_not_memtools_stays() {
    let directory = inputs();
    let crash = directory.path().join("crash");
    let mut living = start(&mut endless(directory.path()));
    living.until(|| !temporary(&crash).is_empty());
    let works_on = temporary(&crash);
    // Only what has the name, is a regular file, and belongs to the user.
    let mut others = vec![
        ".memtool.abc.tmp",
        ".memtool.abcdefg.tmp",
        ".memtool.abcde!.tmp",
        ".memtool.abcdef.save",
        ".out.abcdef.tmp",
        "memtool.abcdef.tmp",
    ];
    for name in &others {
        fs::write(crash.join(name), "").unwrap();
    }
    fs::create_dir(crash.join(".memtool.aaaaaa.tmp")).unwrap();
    symlink("/etc/passwd", crash.join(".memtool.bbbbbb.tmp")).unwrap();
    nix::unistd::mkfifo(&crash.join(".memtool.cccccc.tmp"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    others.extend([".memtool.aaaaaa.tmp", ".memtool.bbbbbb.tmp", ".memtool.cccccc.tmp"]);
    if nix::unistd::geteuid().is_root() {
        let anothers = crash.join(".memtool.dddddd.tmp");
        fs::write(&anothers, "").unwrap();
        nix::unistd::chown(&anothers, Some(nix::unistd::Uid::from_raw(65534)), None).unwrap();
        others.push(".memtool.dddddd.tmp");
    }
    fs::write(crash.join(".memtool.abcdef.tmp"), "left by a run that was killed").unwrap();
    memtool_in(directory.path(), "-q convert core crash/out --format lime").ok();
    let mut expected: Vec<String> = others.iter().map(|name| (*name).to_owned()).chain(works_on).collect();
    expected.push("out".to_owned());
    expected.sort();
    assert_eq!(names(&crash), expected);
    living.signal(Signal::SIGTERM);
    living.end().exits(1);
}
