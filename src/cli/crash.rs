//! What a report is on: the running kernel, or a dump, named by a file or by a number, or the newest one; opened, with its
//! kernel, which is found if it is not named. The options are those of crashinfo(8).

use super::encryption::IdentityArguments;
use super::kernel::{Opened, RootArguments, open_memory, open_running, opened, remark_on_dump, remark_on_memory};
use super::{Context, decrypt, seekable, whole_number};
use clap::Args;
use memtool::crash_dump::CrashDump;
use memtool::encryption::input::Unlock;
use memtool::files;
use memtool::live_kernel::{OwnFiles, own_files};
use memtool::observer::{Phase, observe_bytes};
use memtool::output_file::{scratch, temporary_directory};
use memtool::{Error, Result};
use std::path::{Path, PathBuf};
use vmcore::architecture::Architecture;
use vmcore::decrypt::PrivateKey;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Content, Depth, DumpedMemory, InfoFile, Inspection, TextFile, inspect, inspect_packed};
use vmcore::kernel::{Access, KernelSearch};
use vmcore::kerneldump::Compression;
use vmcore::progress::Progress;
use vmcore::report::{DumpSummary, Subject};
use vmcore::symbols::Table;
use vmcore::text::first_line;

/// Where dumps are that nobody has named a directory for.
const DIRECTORY: &str = "/var/crash";

/// Options that say which dump it is, and where its kernel is.
#[derive(Args)]
pub struct CrashArguments {
    /// Report on this dump, or on the one on this dump device [default: the newest one in --dir]
    #[arg(value_name = "VMCORE", conflicts_with_all = ["core", "number", "dir"], value_parser = seekable())]
    vmcore: Option<PathBuf>,
    /// The same as VMCORE
    #[arg(short = 'M', long, value_name = "FILE", conflicts_with_all = ["number", "dir"], value_parser = seekable())]
    core: Option<PathBuf>,
    /// Report on the dump of this number
    #[arg(short, long, value_name = "N", value_parser = |text: &str| whole_number(text, 0, u32::MAX))]
    number: Option<u32>,
    /// The directory of the dump [default: /var/crash]
    #[arg(short, long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The dump is in this partition of the disk: its number, such as 3 or 1b, or its label [default: the only one with a dump]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["number", "dir"])]
    partition: Option<String>,
    #[command(flatten)]
    pub opening: OpeningArguments,
}

/// Options that say how a dump is opened, and where its kernel is.
#[derive(Args)]
pub struct OpeningArguments {
    /// Read symbols from this kernel image, such as /boot/kernel/kernel, instead of looking for it
    #[arg(short = 'N', short_alias = 'k', long, value_name = "FILE", value_parser = seekable())]
    pub kernel: Option<PathBuf>,
    /// Decrypt an encrypted dump with this private RSA key (PEM)
    #[arg(long, value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    #[command(flatten)]
    pub identities: IdentityArguments,
    #[command(flatten)]
    pub root: RootArguments,
}

/// A dump that is open.
pub struct Crash {
    /// Its files.
    pub files: CrashDump,
    /// What it is.
    pub dump: DumpSummary,
    /// Its kernel, or why there is none.
    pub kernel: Result<Opened, String>,
}

impl CrashArguments {
    /// Finds the dump.
    pub fn find(&self, context: &mut Context) -> Result<CrashDump> {
        let found = match (self.vmcore.as_ref().or(self.core.as_ref()), self.number) {
            (Some(core), _) => return Ok(CrashDump::in_file(core).with_partition(self.partition.clone())),
            (None, None) if self.dir.is_none() && context.global.machine.is_some() => {
                let device = machine_device(context)?;
                return Ok(CrashDump::in_file(&device).with_partition(self.partition.clone()));
            }
            (None, Some(number)) => CrashDump::numbered(self.directory(context)?, number)?,
            (None, None) => CrashDump::newest(self.directory(context)?)?,
        };
        for other in found.others() {
            context.warn(&format!("{} is there, too; {} is used", other.display(), found.core.display()));
        }
        Ok(found)
    }

    /// The directory of the dump. The default is this system's, which a recorded machine is not.
    fn directory(&self, context: &Context) -> Result<&Path> {
        match &self.dir {
            Some(directory) => Ok(directory),
            None if context.global.machine.is_some() => Err(Error::Usage(
                "with --machine, a directory must be given with --dir: the default is this system's".to_owned(),
            )),
            None => Ok(Path::new(DIRECTORY)),
        }
    }
}

impl OpeningArguments {
    /// Opens the running kernel.
    pub fn open_running(&self, context: &mut Context) -> Result<(Subject, Opened)> {
        let image = self.kernel.as_deref().map(files::open_kernel).transpose()?;
        let mut opened = open_running(context, image, Access::Read)?;
        self.root.apply(&mut opened.kernel);
        opened.load_names(context);
        let hostname = context.host()?.system()?.hostname;
        Ok((Subject::Running { hostname, page_size: opened.kernel.memory().page_size() }, opened))
    }

    /// Opens a dump and its kernel.
    pub fn open(&self, context: &mut Context, files: CrashDump) -> Result<Crash> {
        let image = self.kernel.as_deref().map(files::open_kernel).transpose()?;
        let key = self.private_key.as_deref().map(|path| decrypt::private_key(context, path)).transpose()?;
        let identities = self.identities.read(context)?;
        let directory = temporary_directory();
        let unlock = Unlock { identities: &identities, scratch: &directory };
        let info = info(context, &files);
        let name = files.core.display().to_string();
        let volume = open_volume(context, &files, key.as_ref(), unlock)?;
        let summary = text_dump(context, &files.core, &volume)?;
        if let Some(summary) = summary {
            let why = "a text dump has no memory of the kernel".to_owned();
            return Ok(Crash { files, dump: summary.with_info(info), kernel: Err(why) });
        }
        let read = observe_bytes(context, Phase::Reading, volume.length(), |progress| {
            DumpedMemory::open(volume, None, scratch(&directory), progress)
        });
        let memory = match read {
            Ok(memory) => memory,
            // It is this system that fails, for want of room say: there is nothing to report of the dump.
            Err(error @ Error::Vmcore(vmcore::Error::Io { .. })) => return Err(error),
            Err(error) => {
                let volume = open_volume(context, &files, key.as_ref(), unlock)?;
                let inspection = inspect_packed(&volume, Depth::Quick, scratch(&directory), &Progress::default())?;
                if inspection.content == Content::Unknown {
                    return Err(Error::Refused(format!("{name}: {error}")));
                }
                let why = match inspection.problem() {
                    Some(_) => error.to_string(),
                    None => format!("the memory of the dump cannot be read: {error}"),
                };
                if inspection.problem().is_none() {
                    context.warn(&format!("{name}: {why}"));
                }
                let dump = DumpSummary::new(&name, &inspection).with_info(info);
                return Ok(Crash { files, dump, kernel: Err(why) });
            }
        };
        remark_on_memory(context, &files.core, &memory, false, &directory);
        let info = info.filter(|info| is_of_dump(context, &files, contradiction(info, memory.inspection())));
        let dump = DumpSummary::new(&name, memory.inspection());
        let is_known = memory.inspection().content != Content::Unknown;
        let kernel = match image {
            Some(image) => open_memory(context, &files.core, memory, Some(image)),
            None => self.search(context, &files.core, memory, info.as_ref()),
        };
        // An image that was found is that of the memory; one that is named need not be.
        let image = kernel.as_ref().ok().filter(|_| self.kernel.is_none()).and_then(|opened| opened.kernel.image());
        let other = info.as_ref().zip(image).and_then(|(info, image)| other_version(info, image));
        let dump = dump.with_info(info.filter(|_| is_of_dump(context, &files, other)));
        match kernel {
            Err(error) if is_known => Ok(Crash { files, dump, kernel: Err(error.to_string()) }),
            kernel => {
                let mut opened = kernel?;
                self.root.apply(&mut opened.kernel);
                Ok(Crash { files, dump, kernel: Ok(opened) })
            }
        }
    }

    /// Looks for the image of a dump's kernel.
    fn search(
        &self,
        context: &mut Context,
        core: &Path,
        memory: DumpedMemory,
        info: Option<&InfoFile>,
    ) -> Result<Opened> {
        if let Some(own) = own_kernel(context, &memory, info)? {
            let mut opened = open_memory(context, core, memory, Some(own.kernel))?;
            opened.kernel.give_module_files(own.modules);
            return Ok(opened);
        }
        let root = self.root.sysroot.clone().unwrap_or_else(|| "/".into());
        let boot_file = if self.root.sysroot.is_none() { boot_file(context) } else { None };
        let search = KernelSearch { root, boot_file, open: files::open_nonblocking };
        let version = info.and_then(InfoFile::version);
        let found = search.open(core, memory, version.as_deref())?;
        let is_verbose = context.global.verbose > 0;
        for rejected in found.rejected.iter().filter(|_| is_verbose && found.missing.is_none()) {
            context.remark(&rejected.why);
        }
        if let Some(missing) = &found.missing {
            context.warn(&format!("{missing}; name it with --kernel"));
        }
        Ok(opened(context, found.kernel))
    }
}

/// The dump device of the recorded machine.
fn machine_device(context: &mut Context) -> Result<PathBuf> {
    let device = context.host()?.dump_devices()?.into_iter().next();
    device.ok_or_else(|| Error::Refused("the recorded machine has no dump device: give a dump, or --dir".to_owned()))
}

/// Opens a dump, which can be on a device that a recorded machine has of its own.
fn open_volume(
    context: &mut Context,
    files: &CrashDump,
    key: Option<&PrivateKey>,
    unlock: Unlock<'_>,
) -> Result<ByteSource> {
    let own = match context.global.machine {
        Some(_) => context.host()?.own_dump_device(&files.core)?,
        None => None,
    };
    match own {
        Some(own) => Ok(own.with_partition(files.partition.clone())),
        None => files.open(key, unlock, context),
    }
}

/// The kernel of the recorded machine and its modules, if it has their files of its own, and the dump is of that kernel as far
/// as is known.
fn own_kernel(context: &mut Context, memory: &DumpedMemory, info: Option<&InfoFile>) -> Result<Option<OwnFiles>> {
    if context.global.machine.is_none() {
        return Ok(None);
    }
    let own = own_files(&*context.host()?)?;
    let in_header = memory.inspection().location.header.as_ref().map(|header| header.version_string.to_string());
    let version = in_header.or_else(|| info.and_then(InfoFile::version).map(|version| version.to_string()));
    let is_same = |table: &Table| match (&version, table.version()) {
        (Some(dumped), Some(own)) => is_same_version(dumped, own),
        _ => true,
    };
    Ok(own.filter(|own| is_same(&own.kernel)))
}

/// The file of the kernel that runs, if this is FreeBSD.
fn boot_file(context: &mut Context) -> Option<PathBuf> {
    let files = context.host().ok()?.kernel_files().ok()?;
    files.first().map(|kernel| PathBuf::from(&kernel.path)).filter(|path| path.is_absolute())
}

/// What is known of the dump beside it. That it cannot be read does not keep anybody from the dump.
fn info(context: &mut Context, files: &CrashDump) -> Option<InfoFile> {
    let info = files.info().unwrap_or_else(|error| {
        context.warn(&error.to_string());
        None
    });
    let status = info.as_ref().and_then(|info| info.field("Dump Status")).filter(|status| *status != "good");
    if let Some((status, path)) = status.zip(files.info_path()) {
        context.warn(&format!("{}: the status of the dump is '{}'", path.display(), status.escape_debug()));
    }
    info
}

/// Whether an info file is of its dump; if not, says why.
fn is_of_dump(context: &mut Context, files: &CrashDump, contradiction: Option<String>) -> bool {
    if let Some((why, path)) = contradiction.as_ref().zip(files.info_path()) {
        context.warn(&format!("{} is of another dump, and not used: {why}", path.display()));
    }
    contradiction.is_none()
}

/// What an info file says that the dump is not.
fn contradiction(info: &InfoFile, inspection: &Inspection) -> Option<String> {
    if let (Content::Minidump(facts), Some(named)) = (&inspection.content, info.field("Architecture")) {
        let architecture = facts.header.architecture;
        if Architecture::from_machine_arch(named) != Some(architecture) {
            let named = named.escape_debug();
            return Some(format!("it says '{named}', and the dump is for {}", architecture.name()));
        }
    }
    // One that is shorter is damaged.
    let size = inspection.location.end.saturating_sub(inspection.location.start);
    let is_plain = inspection.compression == Compression::None && inspection.packed == Compression::None;
    let length = info.dump_length().filter(|length| is_plain && *length < size)?;
    Some(format!("it says {length} bytes, and the dump has {size}"))
}

/// That an info file is of another kernel than an image.
fn other_version(info: &InfoFile, image: &Table) -> Option<String> {
    let (said, version) = (info.version()?, image.version()?);
    let (said, version) = (first_line(&said).trim_end(), first_line(version).trim_end());
    (!is_same_version(said, version)).then(|| format!("it says '{}', and the kernel is {version}", said.escape_debug()))
}

/// Whether two versions are of one kernel, of which a dump's header has no room for a long one.
fn is_same_version(one: &str, other: &str) -> bool {
    let (one, other) = (first_line(one).trim_end(), first_line(other).trim_end());
    one.starts_with(other) || other.starts_with(one)
}

/// What a text dump is, with its files; `None` of another dump.
fn text_dump(context: &mut Context, core: &Path, volume: &ByteSource) -> Result<Option<DumpSummary>> {
    let failed = |source| Error::io("read", core, source);
    let inspection = inspect(volume, Depth::Pages, &Progress::default()).map_err(failed)?;
    if !matches!(inspection.content, Content::Text(_)) {
        return Ok(None);
    }
    remark_on_dump(context, core, &inspection, false);
    let files = TextFile::read_all(volume, &inspection).map_err(failed)?;
    Ok(Some(DumpSummary::new(&core.display().to_string(), &inspection).with_files(files)))
}
