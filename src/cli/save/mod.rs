//! `memtool save`: crash dumps from dump devices, saved in a directory and cleared.

mod document;
mod live;
mod send;
mod store;

use super::custody::CustodyArguments;
use super::destination::{RemoteArguments, check_standard_output, destination};
use super::encryption::RecipientArguments;
use super::output::RECORDED;
use super::stored::StoredArguments;
use super::{Context, Inputs, Verdict, seekable, whole_number};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
pub use document::SavedFile;
use document::{Document, Ending, Outcome};
use memtool::dump::destination::Destination;
use memtool::files;
use memtool::host::dump_devices;
use memtool::save::{CrashDump, Found, LastHeader, find};
use memtool::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use store::{Earlier, plan_dump, save_dump};
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Damage, DiskSearch};
use vmcore::kerneldump::{Compression, Kind};
use vmcore::report::header_facts;
use vmcore::units::{rough_size, utc};

/// Where dumps go that nobody has named a directory for.
const DIRECTORY: &str = "/var/crash";
/// Where the devices of the system are.
const DEV: &str = "/dev";

#[derive(Args)]
#[command(
    after_help = "Without DEVICE, the kernel's dump devices and the swap and dump partitions of /etc/fstab are examined. Exit codes: 0 success, with --check there is a dump; 1 failure on a device, with --check there is no dump."
)]
pub struct Arguments {
    /// Dump devices, or images of them
    #[arg(value_name = "DEVICE", conflicts_with = "live", value_parser = seekable())]
    devices: Vec<PathBuf>,
    /// Only report whether there is a dump, and which
    #[arg(
        short = 'C',
        long,
        conflicts_with_all = ["clear", "keep", "force", "dir", "max", "stored", "recipient", "verify", "private_key", "no_space_check", "dry_run"]
    )]
    check: bool,
    /// Clear the dump without saving it
    #[arg(short, long, conflicts_with_all = ["keep", "dir", "max", "stored", "recipient", "verify", "private_key", "no_space_check"])]
    clear: bool,
    /// Do not clear the dump after saving it
    #[arg(short, long)]
    keep: bool,
    /// Save a live dump of the running kernel, as 'livedump --dir' does, instead of a crash dump
    #[arg(short = 'L', long, conflicts_with_all = ["check", "clear", "keep", "uncompress", "private_key", "sector_size", "partition"])]
    live: bool,
    /// Save a dump that was cleared or has damaged headers; with --clear, clear it
    #[arg(short, long)]
    force: bool,
    /// Check what would be saved, cleared and replaced, and show it, but do not do it
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Directory for dumps [default: /var/crash]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Save the dump there instead of in a directory: a file, an address (a store's that ends in a slash is a folder), or '-'
    #[arg(short, long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(destination), conflicts_with_all = ["dir", "max", "live", "check", "clear"])]
    output: Option<Destination>,
    #[command(flatten)]
    remote: RemoteArguments,
    /// Number dumps from 0 to N-1, then from 0 again, replacing the dump of that number
    #[arg(short, long, value_name = "N", value_parser = |text: &str| whole_number(text, 1_u32, 100_000))]
    max: Option<u32>,
    #[command(flatten)]
    stored: StoredArguments,
    #[command(flatten)]
    recipients: RecipientArguments,
    /// Before clearing the dump, read the file back and check every byte, as 'inspect --verify' does
    #[arg(long)]
    verify: bool,
    /// Decrypt an encrypted dump with this private RSA key (PEM)
    #[arg(long, value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    #[command(flatten)]
    custody: CustodyArguments,
    /// Do not check in advance whether the dump fits
    #[arg(long)]
    no_space_check: bool,
    /// The dump is in this partition of the disk: its number, such as 3 or 1b, or its label [default: the only one with a dump]
    #[arg(long, value_name = "NAME", requires = "devices")]
    partition: Option<String>,
    /// Sector size in bytes, for images of a dump device
    #[arg(long, value_name = "BYTES", value_parser = sector_size)]
    sector_size: Option<u32>,
}

/// clap's parser for sizes of sectors.
fn sector_size(text: &str) -> Result<u32, String> {
    let size = super::size(text)?;
    let size = u32::try_from(size).ok().filter(|size| size.is_power_of_two() && (512..=1 << 20).contains(size));
    size.ok_or_else(|| "it is a power of two, and at least 512".to_owned())
}

impl Arguments {
    /// Whether dumps are saved in [`DIRECTORY`].
    pub fn uses_default_directory(&self) -> bool {
        self.dir.is_none() && self.output.is_none() && !self.check && !self.clear
    }

    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        [("--private-key", self.private_key.as_ref())]
            .into_iter()
            .chain(self.recipients.inputs())
            .chain(self.remote.inputs())
            .collect()
    }

    /// See [`super::Command::check`].
    pub fn check(&self, json: bool) -> Result<(), String> {
        self.remote.check(self.output.as_ref())?;
        self.output.as_ref().map_or(Ok(()), |output| self.custody.check(output))?;
        if self.custody.is_given() && (self.max.is_some() || self.check || self.clear || self.live) {
            return Err("--custody begins the log of a dump that is saved, and no log is ever replaced: use it without --max, --check, --clear and --live".to_owned());
        }
        check_standard_output(json, self.output.as_ref())
    }

    /// Whether a live dump is saved.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Where dumps are saved.
    fn directory(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new(DIRECTORY))
    }

    /// Whether the devices are named, so that no system is asked.
    pub fn names_devices(&self) -> bool {
        !self.devices.is_empty()
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    if arguments.live {
        return live::run(context, arguments);
    }
    // The dump alone goes there.
    context.global.quiet |= arguments.output == Some(Destination::StandardOutput);
    let named = !arguments.devices.is_empty();
    let (devices, kind) = if named {
        (arguments.devices.clone(), "image")
    } else {
        let host = context.host()?;
        (host.dump_devices()?, host.kind())
    };
    if devices.is_empty() {
        return Err(Error::Refused(
            "no dump device is known: dumpon(8) has set none, and /etc/fstab has no swap; give a device".to_owned(),
        ));
    }
    // savecore(8) takes the directory first.
    if let Some(directory) = arguments.devices.iter().find(|device| device.is_dir()) {
        let name = directory.display();
        return Err(Error::Usage(format!("{name} is a directory; a directory for dumps is given with --dir {name}")));
    }
    let mut outcomes = Vec::new();
    let mut earlier = Earlier::new(arguments.recipients.read()?);
    let is_recorded = kind == RECORDED;
    for device in &devices {
        let found = if named { dump_devices::named(device) } else { Ok(device.clone()) };
        context.log.turn(is_logged(arguments, found.as_deref().unwrap_or(device), is_recorded));
        let outcome = found.and_then(|device| {
            let opened = if is_recorded { recorded(context, arguments, &device) } else { open(&device, arguments) };
            let (volume, not_to_write) = opened?;
            let volume = volume.with_partition(arguments.partition.clone());
            on_device(context, arguments, &device, (volume, not_to_write), &mut earlier)
        });
        let is_missing =
            |error: &Error| matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        outcomes.push(match outcome {
            Ok(outcome) => outcome,
            // Such as an encrypted swap partition before swap is used.
            Err(error) if !named && is_missing(&error) && !is_there(context, device, is_recorded) => {
                context.remark(&format!("{} does not exist", device.display()));
                Outcome::new(device, Ending::NoDump)
            }
            Err(error) => {
                context.print_failure(&error.to_string())?;
                Outcome { error: Some(error.to_string()), ..Outcome::new(device, Ending::Failed) }
            }
        });
    }
    let any = |ending: Ending| outcomes.iter().any(|outcome| outcome.result == ending);
    let fine = outcomes.iter().all(|outcome| outcome.error.is_none());
    let done = if arguments.check { any(Ending::Found) } else { fine };
    if context.out.is_json() {
        context.out.document_of("memtool.save", kind, &Document { dry_run: arguments.dry_run, devices: outcomes })?;
    }
    Ok(if done { Verdict::Done } else { Verdict::Failed })
}

/// Whether there is a device; a recorded machine can have it to itself.
fn is_there(context: &mut Context, device: &Path, is_recorded: bool) -> bool {
    let mut is_own = || context.host().and_then(|host| host.own_dump_device(device)).is_ok_and(|own| own.is_some());
    device.exists() || is_recorded && is_own()
}

/// Whether syslogd(8) is told what becomes of the dump on a device: of one of this system, unless it is only checked.
fn is_logged(arguments: &Arguments, device: &Path, is_recorded: bool) -> bool {
    !arguments.check && !arguments.dry_run && !is_recorded && device.starts_with(DEV)
}

/// Opens what a recording calls a dump device: the machine's own, or a file; no device of the system that memtool runs on.
fn recorded(context: &mut Context, arguments: &Arguments, device: &Path) -> Result<(ByteSource, Option<Error>)> {
    if let Some(own) = context.host()?.own_dump_device(device)? {
        return Ok((own, None));
    }
    // What is not there is said when it is opened.
    if device.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::Refused(format!(
            "{} is a device of this system; those of a recorded machine are files",
            device.display()
        )));
    }
    open(device, arguments)
}

/// Opens a device to find its dump, and to clear it unless it is only read, or nothing is changed in this run. With why
/// it cannot be written to: that is no failure where there is nothing to clear, as below a swap partition that is
/// encrypted, which geli(8) holds.
fn open(device: &Path, arguments: &Arguments) -> Result<(ByteSource, Option<Error>)> {
    let reading = || files::open_dump_device(device);
    if arguments.check || arguments.keep {
        return reading().map(|volume| (volume, None));
    }
    if arguments.dry_run {
        return reading().map(|volume| (volume, files::check_dump_to_replace(device).err()));
    }
    match files::open_dump_to_replace(device) {
        Ok(volume) => Ok((volume, None)),
        Err(error) => match reading() {
            Ok(volume) => Ok((volume, Some(error))),
            Err(_) => Err(error),
        },
    }
}

/// Does with the dump on a device what is wanted, and says so.
fn on_device(
    context: &mut Context,
    arguments: &Arguments,
    device: &Path,
    (volume, not_to_write): (ByteSource, Option<Error>),
    earlier: &mut Earlier,
) -> Result<Outcome> {
    let name = device.display();
    let found = find(&volume, arguments.sector_size).map_err(|source| Error::io("read", device, source))?;
    let dump = match found {
        Found::Nothing => {
            say(context, &format!("{name}: no dump"))?;
            return Ok(Outcome::new(device, Ending::NoDump));
        }
        Found::Unknown(last, error) => {
            let damage = vec![Damage { place: "last header".to_owned(), what: error.to_string() }];
            if arguments.check {
                say(context, &format!("{name}: a dump with an unknown header: {error}"))?;
                return Ok(Outcome { damage, ..Outcome::new(device, Ending::Found) });
            }
            if !(arguments.clear && arguments.force) {
                return Err(Error::Refused(format!(
                    "{name}: the dump's header is unknown: {error}; the dump was kept; --clear --force discards it"
                )));
            }
            not_to_write.map_or(Ok(()), Err)?;
            let cleared = clear(arguments, &last, &volume, device)?;
            tell(context, &format!("{name}: {cleared}; a dump with an unknown header is lost"))?;
            return Ok(Outcome { damage, cleared: true, ..Outcome::new(device, Ending::GivenUp) });
        }
        Found::Disk(search) => return no_dump_on_disk(context, arguments, device, &search),
        Found::Dump(dump) => *dump,
    };
    if let Some(partition) = dump.partition() {
        context.remark(&format!("{name} is a disk, with a dump in {partition}"));
    }
    for warning in &dump.disk_warnings {
        context.warn(&format!("{name}: {warning}"));
    }
    if context.global.verbose > 0 {
        let LastHeader { at, sector_size, .. } = dump.last;
        let version = dump.header.version;
        context.remark(&format!(
            "{name}: {} bytes in sectors of {sector_size}; the last header is of version {version}, at {at}",
            volume.length()
        ));
    }
    if dump.cleared && (arguments.check || arguments.clear || !arguments.force) {
        say(context, &format!("{name}: no dump: {} was cleared", what(&dump)))?;
        return Ok(Outcome::with_dump(device, Ending::NoDump, &dump));
    }
    if arguments.check {
        describe(context, device, &dump)?;
        return Ok(Outcome::with_dump(device, Ending::Found, &dump));
    }
    if let Some(error) = not_to_write.filter(|_| !dump.cleared) {
        return Err(error);
    }
    if !dump.damage.is_empty() && !arguments.force {
        let damage: Vec<String> = dump.damage.iter().map(ToString::to_string).collect();
        let attempt = if arguments.clear { "--force clears" } else { "--force saves" };
        let damage = damage.join("; ");
        return Err(Error::Format(format!(
            "{name}: the dump's headers are damaged: {damage}; the dump was kept; {attempt} it anyway"
        )));
    }
    if let Some(damage) = dump.beginning.as_ref().filter(|_| arguments.clear && !arguments.force) {
        return Err(Error::Format(format!(
            "{name}: the dump is damaged: {damage}; the dump was kept; --force clears it anyway"
        )));
    }
    if arguments.clear {
        let cleared = clear(arguments, &dump.last, &volume, device)?;
        tell(context, &format!("{name}: {cleared}; lost: {}", what(&dump)))?;
        return Ok(Outcome { cleared: true, ..Outcome::with_dump(device, Ending::GivenUp, &dump) });
    }
    if let Some(output) = &arguments.output {
        return send::send_dump(context, arguments, (device, &volume), &dump, output, earlier);
    }
    if arguments.dry_run {
        return plan_dump(context, arguments, device, &volume, &dump, earlier);
    }
    save_dump(context, arguments, device, &volume, &dump, earlier)
}

/// Says why no dump on a disk is meant: there is none in its partitions, or several, or no partition of that name.
fn no_dump_on_disk(
    context: &mut Context,
    arguments: &Arguments,
    device: &Path,
    search: &DiskSearch,
) -> Result<Outcome> {
    let (name, why) = (device.display(), search.problem());
    if search.searched().is_empty() && arguments.partition.is_some() || !search.dumps.is_empty() {
        return Err(Error::Refused(format!("{name} is {why}")));
    }
    say(context, &format!("{name}: no dump: {why}"))?;
    Ok(Outcome::new(device, Ending::NoDump))
}

/// Clears a dump, unless nothing is to be changed, and says what was done.
fn clear(arguments: &Arguments, last: &LastHeader, volume: &ByteSource, device: &Path) -> Result<&'static str> {
    if arguments.dry_run {
        return Ok("would be cleared");
    }
    last.clear(volume).map_err(|source| Error::io("clear the dump on", device, source))?;
    Ok("cleared")
}

/// Prints a line for people, and logs it.
fn tell(context: &mut Context, text: &str) -> Result<()> {
    context.log.notice(text);
    say(context, text)
}

/// Prints a line for people.
fn say(context: &mut Context, text: &str) -> Result<()> {
    if context.global.quiet || context.out.is_json() { Ok(()) } else { context.out.line(text) }
}

/// `a kernel dump of host, 2026-01-31T12:00:00Z, 1.2 GiB: page fault`.
fn what(dump: &CrashDump) -> String {
    let header = &dump.header;
    let kind = match header.kind {
        Kind::TextDump => "a text dump",
        _ if dump.is_encrypted() => "an encrypted kernel dump",
        _ => "a kernel dump",
    };
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(header.dump_time));
    let time = time.map_or_else(|| format!("{} s after 1970", header.dump_time), utc);
    let panic = if header.panic_string.is_empty() { "" } else { ": " };
    let host = if header.hostname.is_empty() { "a host without a name" } else { &*header.hostname.text() };
    format!("{kind} of {host}, {time}, {}{panic}{}", rough_size(dump.size()), header.panic_string)
}

fn describe(context: &mut Context, device: &Path, dump: &CrashDump) -> Result<()> {
    let mut facts = vec![("device", device.display().to_string()), ("dump", what(dump))];
    if let Some(compression) = dump.compression().filter(|compression| *compression != Compression::None) {
        facts.push(("compression", compression.name().to_owned()));
    }
    facts.extend(header_facts(&dump.header));
    facts.extend(dump.damage.iter().chain(&dump.beginning).map(|damage| ("DAMAGED", damage.to_string())));
    facts.into_iter().try_for_each(|(name, text)| say(context, &format!("{name:<15} {text}")))
}
