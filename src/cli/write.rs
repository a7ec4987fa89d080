//! `memtool write`: changes kernel memory, in a dump or in the running kernel.

use super::kernel::{KernelArguments, Place, View, core_volume};
use super::output::RECORDED;
use super::read::Form;
use super::{Context, Verdict};
use clap::{Args, ValueEnum};
use memtool::{Error, Result};
use serde::Serialize;
use std::path::Path;
use vmcore::architecture::Endianness;
use vmcore::bounds::split_at_most;
use vmcore::dump::{self, Depth};
use vmcore::kernel::Access;
use vmcore::kerneldump::Compression;
use vmcore::progress::Progress;
use vmcore::units::{Hex, bytes_of_hex_digits, counted, hex_digits, parse_address};

#[derive(Args)]
#[command(
    after_help = "Without --force, nothing is written: the old bytes and the new ones are printed. Exit codes: 0 written and read back, or shown with --dry-run, 1 not written."
)]
pub struct Arguments {
    #[command(flatten)]
    pub kernel: KernelArguments,
    /// Where to write
    #[arg(value_name = "ADDR|SYMBOL[+OFF]")]
    place: Place,
    /// Values to write, one after another
    #[arg(required = true, value_name = "VALUE")]
    values: Vec<String>,
    /// Type of the values
    #[arg(long = "as", value_name = "FORM", default_value = "hex")]
    form: ValueForm,
    /// The address is a physical address
    #[arg(long)]
    phys: bool,
    /// Perform the write; without this option it is only shown
    #[arg(short, long)]
    force: bool,
    /// Only show the write, which is the default
    #[arg(short = 'n', long, conflicts_with = "force")]
    dry_run: bool,
}

impl Arguments {
    /// See [`super::Command::check`].
    pub fn check(&self) -> Result<(), String> {
        self.place.check_physical(self.phys)?;
        if !self.kernel.identity.is_empty() {
            return Err("--identity: a dump that is encrypted cannot be written to; decrypt it first".to_owned());
        }
        self.values.iter().try_for_each(|value| self.form.check(value))
    }
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ValueForm {
    /// An unsigned integer of 8 bits
    U8,
    /// An unsigned integer of 16 bits, in the kernel's byte order
    U16,
    /// An unsigned integer of 32 bits
    U32,
    /// An unsigned integer of 64 bits
    U64,
    /// A pointer
    Ptr,
    /// Text, terminated by a NUL
    Str,
    /// Two hexadecimal digits for each byte
    Hex,
}

impl ValueForm {
    /// How numbers of this form are read; `None` if it is none.
    fn number(self) -> Option<Form> {
        match self {
            Self::U8 => Some(Form::U8),
            Self::U16 => Some(Form::U16),
            Self::U32 => Some(Form::U32),
            Self::U64 => Some(Form::U64),
            Self::Ptr => Some(Form::Ptr),
            Self::Str | Self::Hex => None,
        }
    }

    /// That a value can be one of this form, as far as that is known without the kernel.
    fn check(self, text: &str) -> Result<(), String> {
        match (self, self.number()) {
            (_, Some(number)) => low_bytes(text, number.fixed_width().unwrap_or(8)).map(drop),
            (Self::Hex, None) => from_digits(text).map(drop),
            (_, None) => Ok(()),
        }
    }

    /// The bytes of a value.
    fn bytes(self, view: &View, text: &str) -> Result<Vec<u8>> {
        let Some(number) = self.number() else {
            return match self {
                Self::Hex => from_digits(text).map_err(Error::Usage),
                _ => Ok(text.bytes().chain([0]).collect()),
            };
        };
        let mut bytes = low_bytes(text, number.width(view)?.unwrap_or(8)).map_err(Error::Usage)?;
        if view.order() == Endianness::Big {
            bytes.reverse();
        }
        Ok(bytes)
    }
}

/// The bytes of a number of so many, the lowest first.
fn low_bytes(text: &str, width: usize) -> Result<Vec<u8>, String> {
    let bytes = parse_address(text).map_err(|error| error.to_string())?.to_le_bytes();
    let (low, high) = split_at_most(&bytes, width);
    if high.iter().any(|byte| *byte != 0) {
        return Err(format!("'{text}' does not fit in {}", counted(width, "byte")));
    }
    Ok(low.to_vec())
}

fn from_digits(text: &str) -> Result<Vec<u8>, String> {
    bytes_of_hex_digits(text).ok_or_else(|| format!("'{text}' is not pairs of hexadecimal digits"))
}

#[derive(Serialize)]
struct Document {
    address: Hex,
    physical: bool,
    /// Two hexadecimal digits for each byte.
    old: String,
    new: String,
    written: bool,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let access = if arguments.force { Access::Write } else { Access::Read };
    if let Some(core) = &arguments.kernel.core {
        check_plain(core, access)?;
    }
    let mut view = arguments.kernel.view(context, access, arguments.phys)?;
    let (address, _) = view.place(context, &arguments.place)?;
    let parts: Result<Vec<Vec<u8>>> = arguments.values.iter().map(|value| arguments.form.bytes(&view, value)).collect();
    let new = parts?.concat();
    let mut old = vec![0; new.len()];
    view.read(address, &mut old)?;
    warn(context, &view, address);
    view.check_writable(address, new.len() as u64)?;
    let document = Document {
        address: Hex(address),
        physical: arguments.phys,
        old: hex_digits(&old),
        new: hex_digits(&new),
        written: arguments.force,
    };
    if !context.out.is_json() {
        context.out.line(&format!("{} old {}", document.address, document.old))?;
        context.out.line(&format!("{} new {}", document.address, document.new))?;
        context.out.flush()?;
    }
    if !arguments.force {
        if context.out.is_json() {
            context.out.document_of("memtool.write", view.kind(), &document)?;
        }
        if arguments.dry_run {
            return Ok(Verdict::Done);
        }
        return Err(Error::Refused("nothing was written: use --force to write".to_owned()));
    }
    // A recording that was read still has them.
    if !context.out.is_json() && view.kind() != RECORDED {
        context.out.line(&format!("to restore the old bytes: {}", undo(arguments, &document)))?;
        // They must be known before they are gone.
        context.out.flush()?;
    }
    view.write(address, &new)?;
    let mut now = vec![0; new.len()];
    view.read(address, &mut now)?;
    if now != new {
        return Err(Error::Unexpected(format!("after writing, {} has {}", document.address, hex_digits(&now))));
    }
    if context.out.is_json() {
        context.out.document_of("memtool.write", view.kind(), &document)?;
    }
    Ok(Verdict::Done)
}

/// Refuses a dump whose bytes are not in the file as they are, before anything is decompressed.
fn check_plain(core: &Path, access: Access) -> Result<()> {
    let volume = core_volume(core, access)?;
    let found = dump::inspect(&volume, Depth::Pages, &Progress::default());
    let found = found.map_err(|source| Error::io("read", core, source))?;
    // What cannot be read at all is told when it is opened.
    if found.problem().is_some() || found.compression == Compression::None {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{} is compressed with {} and cannot be written to: decompress it first",
        core.display(),
        found.compression.name()
    )))
}

/// Says what writing there would mean.
fn warn(context: &mut Context, view: &View, address: u64) {
    match view.kind() {
        "image" => {
            context.warn("a changed dump is no longer what the kernel dumped: keep a copy of it");
        }
        RECORDED if context.global.save_machine.is_none() => {
            context.remark("a write to a recorded machine is lost when memtool exits; --save-machine keeps it");
        }
        RECORDED => context.remark("the write is to the recording, which --save-machine keeps"),
        _ => context.warn(
            "this is the memory of the running kernel: a write takes effect immediately, and a wrong byte can panic the machine or destroy data",
        ),
    }
    if let View::Virtual(opened) = view
        && let Ok(found) = opened.kernel.memory().translate(address)
        && !found.protection.write
    {
        context.warn(&format!("the kernel cannot write to {}: it is mapped {}", Hex(address), found.protection));
    }
}

/// The command that puts the old bytes back.
fn undo(arguments: &Arguments, document: &Document) -> String {
    let mut words = vec!["memtool write".to_owned()];
    let quoted = |path: &std::path::Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    for (option, path) in [
        ("--core", &arguments.kernel.core),
        ("--kernel", &arguments.kernel.kernel),
        ("--segments", &arguments.kernel.segments),
    ] {
        if let Some(path) = path {
            words.push(format!("{option} {}", quoted(path)));
        }
    }
    if arguments.phys {
        words.push("--phys".to_owned());
    }
    words.push(format!("--force {} {}", document.address, document.old));
    words.join(" ")
}
