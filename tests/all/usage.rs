//! The words of options: unknown and old ones, values that are none, and messages about them.

use crate::common::{command, demo, directory, memtool, run, text};
use std::fs;

#[test]
fn an_unknown_option_gets_the_nearest_and_no_advice_on_dashes() {
    for (arguments, nearest) in [
        (
            &["ranges", "update", "--bse", "0"][..],
            "unknown option '--bse' (did you mean '--base'?); see 'memtool ranges update --help'",
        ),
        (&["paddr", "--tuch"], "(did you mean '--touch'?); see 'memtool paddr --help'"),
        (&["livedmp", "x"], "unknown command 'livedmp' (did you mean 'livedump'?); see 'memtool --help'"),
        (&["dump", "--format", "limes"], "--format <FORMAT>: unknown value 'limes' (did you mean 'lime'?)"),
        (&["inspect", "-o", "x"], "unknown option '-o'; see 'memtool inspect --help'"),
        (&["convert", "a", "b"], "missing: --format <FORMAT>"),
        (&["save", "--max"], "a value"),
        (&["ranges", "remove", "-b", "0", "-l", "4k", "-o", "x"], "cannot be used with"),
        (&["dump", "--zstd", "9", "-o", "x"], "unexpected argument '9'; a level is given as --zstd=9; see"),
        (&["livedump", "--zstd", "9", "x"], "unexpected argument 'x'; a level is given as --zstd=9; see"),
        (&["dump", "--zstd", "x"], "unexpected argument 'x'; the output is given with --output; see"),
        (&["dump", "--zstd=20"], "a zstd level is a number from 1 to 19"),
    ] {
        let run = memtool(arguments).usage_error(&[nearest]);
        assert!(!run.stderr.contains("-- ") && !run.stderr.contains("tip"), "{run:?}");
    }
}

#[test]
fn values_that_are_none_are_usage_errors_before_any_file_is_touched() {
    for (arguments, why) in [
        (&["read", "--core", "/nowhere", "0x10", "-l", "0"][..], "--length 0: nothing to read"),
        (&["read", "--core", "/nowhere", "0x10", "--as", "u32", "-l", "6"], "not a multiple of the 4 bytes"),
        (&["read", "--core", "/nowhere", "--json", "0x10", "-l", "1g"], "too much for one JSON object"),
        (&["read", "--core", "/nowhere", "0x1g"], "'0x1g' is not a number"),
        (&["read", "--core", "/nowhere", "--phys", "version"], "'version' is not a number"),
        (&["read", "--core", "/nowhere", "version+1x"], "'1x' has an unknown suffix"),
        (&["translate", "--core", "/nowhere", "0y"], "'0y' is not a number"),
        (&["write", "--core", "/nowhere", "0", "--as", "u8", "256"], "'256' does not fit in 1 byte"),
        (&["write", "--core", "/nowhere", "0", "0fg0"], "'0fg0' is not pairs of hexadecimal digits"),
        (&["symbols", "--kernel", "/nowhere", "a[b"], "not a pattern"),
        (&["convert", "/nowhere", "x", "--format", "elf", "--map", "m"], "--map is for the other formats"),
        (&["convert", "/nowhere", "x", "--format", "lime", "--script", "m"], "--script is for the core file"),
        (&["--json", "convert", "/nowhere", "-", "--format", "lime"], "cannot share standard output"),
        (&["paddr", "--file", "/nowhere", "--length", "0"], "--length 0: nothing to look up"),
        (&["paddr", "--alloc", "0"], "--alloc 0: nothing to look up"),
        (&["--device", "/nowhere", "dump", "--json"], "cannot share standard output"),
        (&["livedump", "-", "--info", "-"], "cannot share standard output"),
        (&["livedump", "x", "--zstd=3", "--method", "kernel"], "the kernel has its own level"),
        (&["paddr", "--alloc", "1.3m"], "'1.3m' is not a whole number of bytes"),
        (&["paddr", "--alloc", "4kb"], "a suffix k, m, g or t, such as 64k or 1.5g"),
        (&["save", "/"], "given with --dir /"),
        (&["save", "--max", "x", "/nowhere"], "--max <N>: 'x' is not a number from 1 to 100000"),
        (&["decrypt", "-n", "x", "-p", "/nowhere"], "--number <N>: 'x' is not a number from 0 to 4294967295"),
        (&["maps", "x"], "'x' is not a number from 0 to 2147483647, as process IDs are"),
        (&["paddr", "1", "--pid", "0"], "'0' is not a number from 1 to 2147483647, as process IDs are"),
        (&["record", "--pid", "99999999999", "/nowhere/x"], "is not a number from 1 to 2147483647"),
        (&["--machine", "demo", "dump", "--buffer", "0", "-o", "/nowhere/x"], "--buffer 0: a size from 1 to 16m"),
        (&["--machine", "demo", "dump", "--buffer", "17m", "-o", "/nowhere/x"], "a size from 1 to 16m"),
        (&["--machine", "demo", "dump", "--page-size", "3", "-o", "/nowhere/x"], "--page-size 3: a power of two"),
        (&["read", "--core", "/nowhere", ""], "'' is not a number"),
        (&["symbols", "--kernel", "/nowhere", ""], "'' is not a symbol's name"),
        (&["translate", "--core", "/nowhere", "+1"], "'+1' is not a number"),
    ] {
        memtool(arguments).usage_error(&[why]);
    }
}

#[test]
fn spellings_that_were_still_work_and_say_what_they_are_now() {
    let directory = directory();
    let file = |name: &str| text(&directory.path().join(name)).to_owned();
    let (dump, other, core) = (file("dump"), file("other"), file("core"));
    let remark = |arguments: &[&str], words: &str| {
        let run = demo(arguments).ok();
        assert!(run.stderr.starts_with(&format!("memtool: {words}\n")), "{run:?}");
        assert!(!demo(&[&["-q"], arguments, &["--force"]].concat()).stderr.contains(" now"), "{arguments:?}");
    };
    remark(&["livedump", "--none", "--verify", "quick", &dump], "--none is --uncompress now");
    demo(&["livedump", "--uncompress", "--verify=quick", &other]).ok();
    assert_eq!(fs::metadata(&dump).unwrap().len(), fs::metadata(&other).unwrap().len());
    let old = memtool(&["convert", &dump, &core, "--to", "lime"]).ok();
    assert!(old.stderr.starts_with("memtool: --to is --format now\n"), "{old:?}");
    let new = memtool(&["inspect", "--list-segments", &dump]).ok();
    let old = memtool(&["inspect", "--segments", &dump]).ok();
    assert_eq!(
        (old.stdout, old.stderr.lines().next().unwrap()),
        (new.stdout, "memtool: --segments is --list-segments now")
    );
    let old = memtool(&["read", "--core", &dump, "--phys", "0x100000", "-n", "16"]).ok();
    assert_eq!(old.stdout, memtool(&["read", "-M", &dump, "--phys", "0x100000", "-l", "16"]).ok().stdout);
    let update = |length: &str| demo(&["ranges", "update", "-b", "1g", length, "16m", "-t", "write-combine"]).code;
    assert_eq!(update("--len"), update("--length"));
}

#[test]
fn messages_have_no_error_numbers_and_echo_no_argument_at_length() {
    let missing = memtool(&["inspect", "/nowhere/at/all"]).exits(1);
    assert_eq!(missing.stderr, "memtool: cannot open /nowhere/at/all: No such file or directory\n");
    let verbose = memtool(&["-v", "inspect", "/nowhere/at/all"]).exits(1);
    assert!(verbose.stderr.contains("ENOENT"), "{verbose:?}");
    let long = "x".repeat(5000);
    for arguments in [
        &["inspect", &long][..],
        &[&long],
        &["ranges", "explain", &long],
        &["ranges", "list", "--owner", &long],
        &["paddr", &format!("--{long}")],
        &["write", "0", "--as", "u8", &long],
        &["dump", "--format", &long],
    ] {
        let run = memtool(arguments);
        assert!(run.code > 0 && run.stderr.len() < 700 && run.stderr.contains("..."), "{run:?}");
    }
}

#[test]
fn an_output_that_cannot_be_begun_has_the_name_that_was_given_and_no_other() {
    let directory = directory();
    let dump = directory.path().join("dump");
    demo(&["livedump", text(&dump)]).ok();
    for arguments in [
        &["--machine", "demo", "dump", "-d", "4k", "-o", "/nowhere/x"][..],
        &["--machine", "demo", "dump", "-d", "4k", "--no-space-check", "-o", "/nowhere/x"],
        &["--machine", "demo", "livedump", "--no-space-check", "/nowhere/x"],
        &["--machine", "demo", "record", "/nowhere/x"],
        &["--machine", "demo", "ranges", "--save-machine", "/nowhere/x"],
        &["convert", "--format", "lime", "--no-space-check", text(&dump), "/nowhere/x"],
        &["convert", "--format", "elf", "--no-space-check", text(&dump), "/nowhere/x"],
    ] {
        let verbose = memtool(&[&["-v"], arguments].concat()).exits(1);
        assert!(!verbose.stderr.contains("os error") && !verbose.stderr.contains(".tmp"), "{arguments:?}: {verbose:?}");
        let run = memtool(arguments).exits(1);
        let last = run.stderr.lines().last().unwrap();
        assert!(last.contains("/nowhere") && last.ends_with(": No such file or directory"), "{arguments:?}: {run:?}");
        assert!(!run.stderr.contains("os error") && !run.stderr.contains(".tmp"), "{arguments:?}: {run:?}");
    }
}

#[test]
fn an_output_that_exists_names_the_option_that_replaces_it() {
    let directory = directory();
    let out = directory.path().join("out");
    fs::write(&out, "old").unwrap();
    let out = text(&out);
    demo(&["dump", "-d", "4k", "-o", out]).fails_saying(&["already exists; --force replaces it"]);
    demo(&["livedump", out]).fails_saying(&["already exists; --force replaces it"]);
    let run = demo(&["record", out]).exits(1);
    assert!(run.stderr.contains("already exists") && !run.stderr.contains("--force"), "{run:?}");
    demo(&["dump", "-d", "4k", "-f", "-o", out]).ok();
}

#[test]
fn a_dump_is_checked_from_standard_input_and_a_write_only_shown() {
    let directory = directory();
    let [dump, manifest] = ["dump", "manifest"].map(|name| text(&directory.path().join(name)).to_owned());
    demo(&["dump", "-d", "64k", "-o", &dump, "--manifest", &manifest]).ok();
    let check = |input: &str| {
        let mut command = command();
        command.args(["dump", "--verify", "-", "--manifest", &manifest]).stdin(fs::File::open(input).unwrap());
        run(&mut command)
    };
    assert!(check(&dump).ok().stdout.starts_with("-: matches its manifest: 65536 bytes\n"));
    check(&manifest).fails_saying(&["standard input does not match its manifest"]);
    let core = text(&directory.path().join("core")).to_owned();
    demo(&["livedump", &core]).ok();
    let write = |option: &[&str]| memtool(&[&["write", "-M", &core, "--phys", "0x100000", "00"], option].concat());
    let shown = write(&["-n"]).ok();
    assert!(shown.stdout.contains(" new 00"), "{shown:?}");
    assert_eq!(write(&[]).exits(1).stdout, shown.stdout);
    write(&["-n", "-f"]).usage_error(&["cannot be used with"]);
}

#[test]
fn savecores_options_mean_what_they_mean_there() {
    let empty = directory();
    let device = empty.path().join("device");
    fs::write(&device, vec![0; 1 << 20]).unwrap();
    let save = |options: &[&str]| memtool(&[&["save"], options, &[text(&device)]].concat());
    save(&["-C"]).exits(1);
    for options in [&["-c"][..], &["-f", "-k"], &["-u"], &["-z"], &["-Z"], &["-m", "10"], &["-v"]] {
        let directory = ["--dir", text(empty.path())];
        let directory = if options == ["-c"] { &[][..] } else { &directory };
        save(&[options, directory].concat()).ok();
    }
    save(&["-C", "-c"]).usage_error(&["cannot be used with"]);
}

#[cfg(not(target_os = "freebsd"))]
#[test]
fn a_system_without_mem_is_told_what_the_command_works_on_instead() {
    let machine = "a recorded machine with --machine ('--machine demo' is built in)";
    for (arguments, instead) in [
        (&["ranges"][..], ""),
        (&["livedump", "x"], ""),
        (&["read", "version"], "a dump with --core FILE, or "),
        (&["ps"], "a dump with --core FILE, or "),
        (&["show", "swapinfo"], "a dump with --core FILE, or "),
        (&["stack"], "a dump with --core FILE, or "),
        (&["symbols", "hz"], "a dump with --core FILE, a kernel with --kernel FILE, or "),
        (&["dump"], "an image of memory with --device FILE, or "),
        (&["save"], "a dump device as an argument, or "),
    ] {
        let said = memtool(arguments).exits(1).stderr;
        let expected = format!("memtool: this system is not FreeBSD and has no mem(4); give {instead}{machine}\n");
        assert_eq!(said, expected, "{arguments:?}");
    }
}
