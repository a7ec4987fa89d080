//! A run: from the arguments to the verdict.

use crate::arguments::{Accelerator, Arguments};
use crate::cases::{self, Case, HELPERS};
use crate::console::Console;
use crate::disk::{self, Entry};
use crate::error::{Error, Result};
use crate::guest::{self, Entrance, Guest};
use crate::program;
use crate::qemu::{self, Machine};
use crate::tap::{Conclusion, Report};
use signal_hook::consts::TERM_SIGNALS;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How many of the console's last lines the report shows when the run ends early.
const LAST_LINES: usize = 25;

/// How many of QEMU's messages the report shows.
const QEMU_LINES: usize = 10;

/// Makes a run, and prints its report.
pub fn main(arguments: &Arguments) -> Conclusion {
    match run(arguments) {
        Ok(conclusion) => conclusion,
        Err(error) => {
            complain(&error.to_string());
            Conclusion::Failed
        }
    }
}

fn run(arguments: &Arguments) -> Result<Conclusion> {
    let image = image(arguments);
    if image.is_none() && !arguments.no_image {
        println!("nothing was tested: no image of a FreeBSD system was given (--image FILE, MEMTOOL_VM_IMAGE)");
        return Ok(Conclusion::NothingTested);
    }
    let cases = cases::choose(&arguments.cases).map_err(|name| Error::Program(format!("there is no case '{name}'")))?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for &signal in TERM_SIGNALS {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| Error::Program(format!("cannot prepare for signals: {error}")))?;
    }
    let program = program::obtain(arguments.binary.as_deref())?;
    let folder = tempfile::Builder::new()
        .prefix("vm-tests-")
        .tempdir()
        .map_err(Error::file("make a temporary folder in", env::temp_dir()))?;
    let disk = folder.path().join("disk");
    write_disk(&disk, &program, &cases)?;
    let log = log_path(arguments)?;
    let log_file = File::create(&log).map_err(Error::file("write", &log))?;
    let messages = folder.path().join("messages");
    let mut machine = Machine {
        program: arguments.qemu.clone(),
        image: image.as_deref(),
        disk: &disk,
        accelerator: arguments.accelerator,
        memory: arguments.memory,
        processors: arguments.processors,
        nodes: arguments.nodes,
        further: &arguments.qemu_arg,
    };
    let mut report = Report::new(io::stdout(), cases.len())?;

    let (running, mut console, entered) = loop {
        let (running, reader, writer) = machine.start(&messages)?;
        let log_file = log_file.try_clone().map_err(Error::file("write", &log))?;
        let mut console = Console::new(reader, writer, log_file, Arc::clone(&interrupted));
        let looked_at = messages.clone();
        console.look_out(move || qemu::standstill(&looked_at));
        let entered = enter(&mut console, arguments);
        // KVM can be there and fail at some instruction.
        let kvm_failed = matches!(entered, Err(Error::Machine(_) | Error::Closed { .. })) && running.blames_kvm();
        if kvm_failed && machine.accelerator == Accelerator::Auto {
            report.remark("KVM does not work here; starting again with TCG")?;
            machine.accelerator = Accelerator::Tcg;
            continue;
        }
        break (running, console, entered);
    };
    let end = entered.and_then(|()| test(&mut console, arguments, &cases, &mut report));
    let messages = running.stop();
    for line in messages.lines().take(QEMU_LINES) {
        report.remark(&format!("QEMU says: {line}"))?;
    }
    if let Err(error) = end {
        report.bail_out(&error, &console.tail(LAST_LINES))?;
    }
    complain(&format!("the console's log is {}", log.display()));
    report.finish()
}

fn enter(console: &mut Console, arguments: &Arguments) -> Result<()> {
    let user = (!arguments.no_login).then_some(arguments.login.as_str());
    guest::enter(console, &Entrance { user, prompt: &arguments.prompt }, arguments.boot_timeout)
}

/// Runs the cases in a guest that was entered; an error ends the run early.
fn test(console: &mut Console, arguments: &Arguments, cases: &[Case], report: &mut Report<impl Write>) -> Result<()> {
    let mut guest = Guest::prepare(console, &arguments.disk_device)?;
    report.remark(&format!("the guest runs {}", guest.describe()?))?;
    for case in cases {
        let tested = guest.run(case, arguments.case_timeout).or_else(|error| {
            report.remark(&format!("the run ends in the case {}", case.name))?;
            Err(error)
        })?;
        report.tested(case.name, case.proves(), &tested)?;
    }
    Ok(())
}

fn image(arguments: &Arguments) -> Option<PathBuf> {
    if arguments.no_image {
        return None;
    }
    let named = || env::var_os("MEMTOOL_VM_IMAGE").filter(|name| !name.is_empty()).map(PathBuf::from);
    arguments.image.clone().or_else(named)
}

fn write_disk(path: &Path, program: &[u8], cases: &[Case]) -> Result<()> {
    let names: Vec<_> = cases.iter().map(|case| (case.file(), case.script)).collect();
    let mut entries = vec![
        Entry { name: "memtool", contents: program, executable: true },
        Entry { name: "helpers.sh", contents: HELPERS.as_bytes(), executable: false },
    ];
    entries.extend(names.iter().map(|(name, script)| Entry { name, contents: script.as_bytes(), executable: false }));
    disk::write(path, &entries)
}

fn log_path(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(path) = &arguments.log {
        return Ok(path.clone());
    }
    let folder = program::project().unwrap_or_default().join("target/vm-tests");
    fs::create_dir_all(&folder).map_err(Error::file("make the folder", &folder))?;
    Ok(folder.join("console.log"))
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "vm-tests: {text}");
}
