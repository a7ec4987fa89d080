//! A run: from the arguments to the verdict.

use crate::arguments::{Accelerator, Arguments};
use crate::cases::{self, Case, Cases};
use crate::console::Console;
use crate::disk::{self, Entry};
use crate::error::{Error, Result};
use crate::guest::{self, Entrance, Tested, Verdict};
use crate::host;
use crate::process;
use crate::program::{self, Programs};
use crate::qemu::{self, Machine, Running};
use crate::results;
use crate::tap::{self, Conclusion, Report};
use signal_hook::consts::{SIGHUP, TERM_SIGNALS};
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Stdout, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How many of the console's last lines the report shows when the guest fails.
const LAST_LINES: usize = 40;

/// How many of QEMU's messages the report shows.
const QEMU_LINES: usize = 10;

/// How often a guest that fails in a case is replaced by a new one; then the run ends.
const MAX_LOST: u32 = 5;

/// Makes a run, and prints its report.
pub fn main(arguments: &Arguments) -> Conclusion {
    match run(arguments) {
        Ok(conclusion) => conclusion,
        Err(error) => {
            eprint_message(&error.to_string());
            match error {
                Error::Usage(_) => Conclusion::Misused,
                _ => Conclusion::Failed,
            }
        }
    }
}

fn run(arguments: &Arguments) -> Result<Conclusion> {
    let image = image(arguments);
    if image.is_none() && arguments.cdrom.is_none() && !arguments.no_image {
        let why = "no image of a FreeBSD system was given (--image FILE, MEMTOOL_VM_IMAGE)";
        return tap::nothing(&mut io::stdout(), why);
    }
    if arguments.arch.needs_kernel() && !arguments.qemu_arg.iter().any(|argument| argument == "-kernel") {
        let why = "the firmware of this architecture's guests starts no disk: name the kernel with --qemu-arg -kernel";
        return Err(Error::Usage(format!("{why} --qemu-arg FILE")));
    }
    // Building takes minutes, so whatever is wrong is found before.
    for image in [&image, &arguments.cdrom].into_iter().flatten() {
        qemu::disk_format(image)?;
    }
    let guests = guests(arguments)?;
    let firmware = guests.iter().filter_map(|guest| guest.firmware.as_deref());
    for file in firmware.chain(
        [&arguments.binary, &arguments.carried, &arguments.host_binary].into_iter().flatten().map(PathBuf::as_path),
    ) {
        File::open(file).and_then(|mut file| file.read(&mut [0])).map_err(Error::file("read", file))?;
    }
    let qemu = arguments.qemu.clone().unwrap_or_else(|| arguments.arch.qemu().into());
    if !is_program(&qemu) {
        return Err(Error::Program(format!("there is no program {}: QEMU is needed", qemu.display())));
    }
    let cases_folder = cases_folder(arguments)?;
    let Cases { helpers, cases } = cases::read(&cases_folder)?.choose(&arguments.names)?;
    if cases.is_empty() {
        return tap::nothing(&mut io::stdout(), &format!("there are no cases in {}", cases_folder.display()));
    }
    let output = output_folder()?;
    let log = arguments.log.clone().unwrap_or_else(|| output.join("console.log"));
    let log_file = File::create(&log).map_err(Error::file("write", &log))?;
    let work = tempfile::Builder::new().prefix("run-").tempdir_in(&output);
    let work = work.map_err(Error::file("make a temporary folder in", &output))?;
    let folders = Folders::make(work.path(), arguments.results.as_deref(), &helpers)?;
    let interrupted = interrupted()?;

    let programs = programs(arguments, &cases, &interrupted);
    if let (Err(_), Some(results)) = (&programs, &arguments.results) {
        // So that the same can be tried again.
        let _ = fs::remove_dir(results);
    }
    let (programs, native) = programs?;
    let disk = work.path().join("cases");
    write_cases(&disk, &programs, &helpers, &cases)?;
    let results = work.path().join("results");
    let spare_size = arguments.spare_disk.unwrap_or(arguments.memory + 64);
    let spare = (spare_size > 0).then(|| work.path().join("spare"));
    let mut run = Run {
        arguments,
        machine: Machine {
            program: qemu,
            architecture: arguments.arch,
            cpu: None,
            firmware: None,
            cdrom: arguments.cdrom.as_deref(),
            image: image.as_deref(),
            cases: &disk,
            results: &results,
            spare: spare.as_deref(),
            temporary: work.path(),
            accelerator: arguments.accelerator,
            memory: arguments.memory,
            processors: arguments.processors,
            nodes: arguments.nodes.unwrap_or_else(|| arguments.arch.nodes(arguments.no_image)),
            further: &arguments.qemu_arg,
        },
        spare_size: u64::from(spare_size) << 20,
        native: native.as_deref().unwrap_or(Path::new("memtool")),
        folders: &folders,
        messages: work.path().join("messages"),
        log: log_file,
        interrupted,
        report: Report::new(io::stdout(), cases.len() * guests.len())?,
        guest_name: None,
        guest: None,
        last_lines: Vec::new(),
        lost: 0,
    };
    for guest in &guests {
        run.machine.cpu = guest.cpu.as_deref();
        run.machine.firmware = guest.firmware.as_deref();
        run.guest_name = (guests.len() > 1).then(|| guest.name());
        let end = run.test_all(&cases);
        run.stop()?;
        if let Err(error) = end {
            run.report.bail_out(&error, &run.last_lines)?;
            break;
        }
    }
    eprint_message(&format!("the console's log is {}", log.display()));
    run.report.finish()
}

/// The programs for the guest, and where the one for the host is, if a case needs it.
fn programs(arguments: &Arguments, cases: &[Case], interrupted: &AtomicBool) -> Result<(Programs, Option<PathBuf>)> {
    let (memtool, carried) = (arguments.binary.as_deref(), arguments.carried.as_deref());
    let programs = program::obtain(memtool, carried, arguments.arch, interrupted)?;
    let native = match cases.iter().any(|case| case.host.is_some()) {
        true => Some(program::obtain_native(arguments.host_binary.as_deref(), interrupted)?),
        false => None,
    };
    Ok((programs, native))
}

/// Becomes true when a signal asks the run to end.
fn interrupted() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let hangup = (!process::ignores_hangups()).then_some(SIGHUP);
    for signal in TERM_SIGNALS.iter().copied().chain(hangup) {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| Error::Program(format!("cannot prepare for signals: {error}")))?;
    }
    Ok(interrupted)
}

/// What the steps of a run share.
struct Run<'a> {
    arguments: &'a Arguments,
    machine: Machine<'a>,
    spare_size: u64,
    /// memtool for the host.
    native: &'a Path,
    folders: &'a Folders,
    /// Where QEMU's messages go.
    messages: PathBuf,
    log: File,
    interrupted: Arc<AtomicBool>,
    report: Report<Stdout>,
    /// What tells the guest from others of the run, if there are others.
    guest_name: Option<String>,
    /// The guest, while there is one.
    guest: Option<(Running, Console)>,
    /// The console's last lines when the last guest was stopped.
    last_lines: Vec<String>,
    /// How many guests were lost in a case.
    lost: u32,
}

impl Run<'_> {
    /// Runs the cases; an error ends the run early.
    fn test_all(&mut self, cases: &[Case]) -> Result<()> {
        for case in cases {
            self.empty_disks()?;
            if self.guest.is_none() {
                self.boot()?;
            }
            let tested = match self.test(case) {
                Err(error) if error.is_of_guest() => {
                    let verdict = Verdict::Failed(error.to_string());
                    self.recover(&error)?;
                    let output = format!("the last lines of the console:\n| {}", self.last_lines.join("\n| "));
                    // What it kept until then may tell why.
                    self.collect(case, Tested { verdict, output })?
                }
                tested => tested?,
            };
            let name = match &self.guest_name {
                Some(guest) => format!("{} on {guest}", case.name),
                None => case.name.clone(),
            };
            self.report.tested(&name, case.proves(), &tested)?;
            if self.lost > MAX_LOST {
                return Err(Error::Guest(format!("it was lost in {} cases", self.lost)));
            }
        }
        Ok(())
    }

    /// Runs all parts of a case.
    fn test(&mut self, case: &Case) -> Result<Tested> {
        let mut tested = self.run_in_guest(&case.file());
        if case.after_panic.is_some() {
            match tested {
                Err(Error::Panic { .. }) => {}
                Ok(Tested { verdict: Verdict::Passed, output }) => {
                    let verdict = Verdict::Failed("the kernel did not panic".to_owned());
                    return Ok(Tested { verdict, output });
                }
                other => return other,
            }
            if let Some((_, console)) = &mut self.guest {
                console.wait_for_end(self.arguments.case_timeout)?;
            }
            self.stop()?;
            let panicked = self.collect(case, Tested { verdict: Verdict::Passed, output: String::new() })?;
            if panicked.verdict != Verdict::Passed {
                return Ok(panicked);
            }
            results::write_empty(self.machine.results)?;
            self.boot()?;
            tested = self.run_in_guest(&case.after_panic_file());
        }
        let tested = self.collect(case, tested?)?;
        match &case.host {
            Some(script) if tested.verdict == Verdict::Passed => self.check_on_host(case, script),
            _ => Ok(tested),
        }
    }

    /// Copies out what the case kept; it has failed if that is not to be made out.
    fn collect(&self, case: &Case, mut tested: Tested) -> Result<Tested> {
        match results::collect(self.machine.results, &self.results_of(case)) {
            Err(error) if error.is_of_guest() => {
                let why = error.to_string();
                match &mut tested.verdict {
                    Verdict::Failed(known) => known.push_str(&format!("; {why}")),
                    verdict => *verdict = Verdict::Failed(why),
                }
            }
            collected => collected?,
        }
        Ok(tested)
    }

    /// Where that goes.
    fn results_of(&self, case: &Case) -> PathBuf {
        match &self.guest_name {
            Some(guest) => self.folders.results.join(guest.replace('/', "_")).join(&case.name),
            None => self.folders.results.join(&case.name),
        }
    }

    fn run_in_guest(&mut self, script: &str) -> Result<Tested> {
        match &mut self.guest {
            Some((_, console)) => guest::run(console, script, self.arguments.case_timeout),
            None => Err(Error::Program("there is no guest to run a case in".to_owned())),
        }
    }

    fn check_on_host(&self, case: &Case, script: &str) -> Result<Tested> {
        let file = self.folders.host.join(format!("{}.host.sh", case.name));
        let folder = self.folders.host.join(&case.name);
        let results = self.results_of(case);
        fs::write(&file, script).map_err(Error::file("write", &file))?;
        for folder in [&folder, &results] {
            fs::create_dir_all(folder).map_err(Error::file("make the folder", folder))?;
        }
        let variables = [("MEMTOOL", self.native), ("RESULTS", results.as_path())];
        let ended = host::run(&file, &folder, &variables, self.arguments.case_timeout, &self.interrupted);
        let mut tested = match ended {
            Err(error @ Error::Timeout { .. }) => {
                Tested { verdict: Verdict::Failed(error.to_string()), output: String::new() }
            }
            ended => Tested::from(ended?),
        };
        if let Verdict::Failed(why) | Verdict::Skipped(why) = &mut tested.verdict {
            why.insert_str(0, "on the host: ");
        }
        Ok(tested)
    }

    /// Each case finds the disk for results and the spare one empty.
    fn empty_disks(&self) -> Result<()> {
        results::write_empty(self.machine.results)?;
        self.machine.spare.map_or(Ok(()), |spare| disk::write_empty(spare, disk::SPARE, self.spare_size))
    }

    /// Boots a guest.
    fn boot(&mut self) -> Result<()> {
        loop {
            let (running, reader, writer) = self.machine.start(&self.messages)?;
            let log = self.log.try_clone().map_err(|error| Error::Program(format!("cannot share the log: {error}")))?;
            let mut console = Console::new(reader, writer, log, Arc::clone(&self.interrupted));
            let messages = self.messages.clone();
            console.look_out(move || qemu::standstill(&messages));
            let entered = self.enter(&mut console);
            // KVM can be there and fail at some instruction.
            let kvm_failed = matches!(entered, Err(Error::Machine(_) | Error::Closed { .. })) && running.blames_kvm();
            if kvm_failed && self.machine.accelerator == Accelerator::Auto {
                self.report.remark("KVM does not work here; starting again with TCG")?;
                self.machine.accelerator = Accelerator::Tcg;
                continue;
            }
            self.guest = Some((running, console));
            if entered.is_err() {
                self.stop()?;
            }
            let system = entered?;
            return self.report.remark(&format!("the guest runs {system}"));
        }
    }

    /// Waits until the guest is ready for cases, and tells what it runs.
    fn enter(&self, console: &mut Console) -> Result<String> {
        let user = (!self.arguments.no_login).then_some(self.arguments.login.as_str());
        let entrance = Entrance { user, prompt: &self.arguments.prompt };
        guest::enter(console, &entrance, self.arguments.boot_timeout)?;
        guest::prepare(console, &self.arguments.disk_device)?;
        guest::describe(console)
    }

    /// After a case that failed like this, goes on with the guest if it is only busy, or else without it.
    fn recover(&mut self, error: &Error) -> Result<()> {
        if let (Error::Timeout { .. }, Some((_, console))) = (error, &mut self.guest) {
            self.last_lines = console.tail(LAST_LINES);
            if guest::interrupt(console).is_ok() {
                return Ok(());
            }
        }
        self.lost += 1;
        self.stop()
    }

    /// Stops the guest, if there is one, and tells what QEMU had to say.
    fn stop(&mut self) -> Result<()> {
        let Some((running, console)) = self.guest.take() else { return Ok(()) };
        self.last_lines = console.tail(LAST_LINES);
        let messages = running.stop();
        messages.lines().take(QEMU_LINES).try_for_each(|line| self.report.remark(&format!("QEMU says: {line}")))
    }
}

/// Where scripts run on the host, and where files from the guest go.
struct Folders {
    host: PathBuf,
    results: PathBuf,
}

impl Folders {
    fn make(work: &Path, results: Option<&Path>, helpers: &str) -> Result<Self> {
        let folders = Self { host: work.join("host"), results: results.map_or(work.join("kept"), Path::to_owned) };
        for folder in [&folders.host, &folders.results] {
            fs::create_dir(folder).map_err(Error::file("make the folder", folder))?;
        }
        let helpers_file = folders.host.join("helpers.sh");
        fs::write(&helpers_file, helpers).map_err(Error::file("write", &helpers_file))?;
        // Scripts are run in other folders.
        let results = folders.results.canonicalize().map_err(Error::file("find", &folders.results))?;
        Ok(Self { results, ..folders })
    }
}

fn image(arguments: &Arguments) -> Option<PathBuf> {
    if arguments.no_image || arguments.cdrom.is_some() {
        return arguments.image.clone();
    }
    let named = || env::var_os("MEMTOOL_VM_IMAGE").filter(|name| !name.is_empty()).map(PathBuf::from);
    arguments.image.clone().or_else(named)
}

/// A guest on which all cases are run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Guest {
    /// The processor's model, if one was named.
    cpu: Option<String>,
    /// The firmware that is not QEMU's own.
    firmware: Option<PathBuf>,
}

impl Guest {
    /// What tells it from others, in words that a folder can be named with.
    fn name(&self) -> String {
        let cpu = self.cpu.as_deref().unwrap_or("QEMU's processor");
        let firmware = self.firmware.as_deref().and_then(Path::file_name).unwrap_or(OsStr::new("QEMU's firmware"));
        format!("{cpu} with {}", firmware.display())
    }
}

/// The guests of the run: each of the processors with each of the firmwares.
fn guests(arguments: &Arguments) -> Result<Vec<Guest>> {
    let firmwares = firmwares(arguments)?;
    let cpus: Vec<Option<String>> = match arguments.cpu.as_slice() {
        [] => vec![None],
        named => named.iter().cloned().map(Some).collect(),
    };
    let with_each =
        |cpu: Option<String>| firmwares.iter().cloned().map(move |firmware| Guest { cpu: cpu.clone(), firmware });
    Ok(cpus.into_iter().flat_map(with_each).collect())
}

/// The firmwares that are not QEMU's own. A kernel that QEMU loads itself needs none.
fn firmwares(arguments: &Arguments) -> Result<Vec<Option<PathBuf>>> {
    if !arguments.firmware.is_empty() {
        return Ok(arguments.firmware.iter().map(|file| (file != Path::new("bios")).then(|| file.clone())).collect());
    }
    let mut places = arguments.arch.firmware().peekable();
    if arguments.no_image || places.peek().is_none() {
        return Ok(vec![None]);
    }
    match places.find(|place| place.is_file()) {
        Some(place) => Ok(vec![Some(place.to_owned())]),
        None => Err(Error::Program(format!(
            "there is no firmware to boot with (on Debian: apt-get install {}); name it with --firmware",
            arguments.arch.firmware_package()
        ))),
    }
}

/// Whether there is such a program, by its path or in one of the folders of $PATH.
fn is_program(name: &OsStr) -> bool {
    let is_executable = |path: &Path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if Path::new(name).components().count() > 1 {
        return is_executable(Path::new(name));
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| is_executable(&folder.join(name)))
}

fn cases_folder(arguments: &Arguments) -> Result<PathBuf> {
    let given = arguments.cases.clone().or_else(|| Some(program::project()?.join("vm-tests/cases")));
    given.ok_or_else(|| {
        Error::Program("no cases: run this within the project, or name a folder with --cases".to_owned())
    })
}

fn write_cases(path: &Path, programs: &Programs, helpers: &str, cases: &[Case]) -> Result<()> {
    let mut files = vec![("helpers.sh".to_owned(), helpers)];
    for case in cases {
        files.push((case.file(), &case.script));
        files.extend(case.after_panic.as_deref().map(|script| (case.after_panic_file(), script)));
    }
    let mut entries = vec![Entry { name: "memtool", contents: &programs.memtool, executable: true }];
    entries.extend(programs.carried.as_deref().map(|contents| Entry { name: "carried", contents, executable: true }));
    entries.extend(files.iter().map(|(name, text)| Entry { name, contents: text.as_bytes(), executable: false }));
    disk::write(path, &entries)
}

/// Where the console's log goes, and whatever the run needs for a while: crash dumps are large.
fn output_folder() -> Result<PathBuf> {
    let folder = program::project().unwrap_or_default().join("target/vm-tests");
    fs::create_dir_all(&folder).and_then(|()| folder.canonicalize()).map_err(Error::file("make the folder", &folder))
}

fn eprint_message(text: &str) {
    let _ = writeln!(io::stderr(), "vm-tests: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn a_guest_is_booted_for_each_processor_with_each_firmware() {
        let guests = |words: &[&str]| guests(&Arguments::parse_from([&["vm-tests"], words].concat())).unwrap();
        let names = |words: &[&str]| guests(words).iter().map(Guest::name).collect::<Vec<_>>();
        assert_eq!(guests(&[]), [Guest { cpu: None, firmware: None }]);
        assert_eq!(
            names(&["--cpu", "max", "--cpu", "max,la57=off", "--firmware", "bios", "--firmware", "/a/OVMF.fd"]),
            [
                "max with QEMU's firmware",
                "max with OVMF.fd",
                "max,la57=off with QEMU's firmware",
                "max,la57=off with OVMF.fd"
            ]
        );
    }
}
