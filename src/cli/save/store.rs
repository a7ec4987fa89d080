//! How `memtool save` stores a dump in a directory, or says how it would.

use super::document::{Ending, Outcome, SavedFile};
use super::{Arguments, clear, say, what};
use crate::cli::Context;
use crate::cli::decrypt;
use crate::cli::encryption::encrypted_to;
use memtool::encryption::Recipients;
use memtool::save::directory::{PlannedFiles, PlannedNumbers, SaveDirectory};
use memtool::save::{CrashDump, Options, PlannedDump, SavedDump, plan, save};
use memtool::{Error, Result};
use std::path::Path;
use std::rc::Rc;
use vmcore::decrypt::PrivateKey;
use vmcore::dump::Damage;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kerneldump::Compression;
use vmcore::units::rough_size;

/// What is kept from one device for the next.
pub struct Earlier {
    /// Who can decrypt the files.
    pub recipients: Rc<Recipients>,
    /// The private key, once a dump has needed it.
    private_key: Option<Rc<PrivateKey>>,
    /// Numbers and bytes that the dumps of a dry run would take.
    numbers: PlannedNumbers,
    bytes: u64,
}

impl Earlier {
    /// Of no device yet.
    pub fn new(recipients: Recipients) -> Self {
        Self { recipients: Rc::new(recipients), private_key: None, numbers: PlannedNumbers::default(), bytes: 0 }
    }

    /// The private key, if the dump needs one.
    pub fn private_key(
        &mut self,
        context: &mut Context,
        arguments: &Arguments,
        dump: &CrashDump,
    ) -> Result<Option<Rc<PrivateKey>>> {
        let Some(path) = arguments.private_key.as_deref().filter(|_| dump.is_encrypted()) else { return Ok(None) };
        if self.private_key.is_none() {
            self.private_key = Some(Rc::new(decrypt::private_key(context, path)?));
        }
        Ok(self.private_key.clone())
    }
}

impl Arguments {
    /// How a dump is saved.
    pub fn options<'a>(&self, recipients: &'a Recipients, private_key: Option<&'a PrivateKey>) -> Options<'a> {
        Options { limit: self.max, verify: self.verify, ..self.stored.options(recipients, private_key) }
    }
}

impl Arguments {
    /// Begins the custody log of a dump that is saved and not cleared yet.
    pub fn begin_custody(&self, context: &mut Context, core: &Path, device: &Path, dump: &CrashDump) -> Result<()> {
        let from = format!("{} of {}", device.display(), dump.header.hostname);
        self.custody.begin(context, core, from).map_err(|error| {
            Error::Refused(format!("{error}; the dump is saved as {}, and was kept on the device", core.display()))
        })
    }
}

/// Opens the directory, and the private key if the dump needs one; sees whether there is room.
fn prepare(
    context: &mut Context,
    arguments: &Arguments,
    dump: &CrashDump,
    earlier: &mut Earlier,
) -> Result<(SaveDirectory, Option<Rc<PrivateKey>>)> {
    let directory = SaveDirectory::open(arguments.directory())?;
    let private_key = earlier.private_key(context, arguments, dump)?;
    if !arguments.no_space_check {
        let options = arguments.options(&earlier.recipients, private_key.as_deref());
        check_space(context, &directory, dump, &options, earlier.bytes)?;
    }
    Ok((directory, private_key))
}

/// Says what would be saved.
pub fn plan_dump(
    context: &mut Context,
    arguments: &Arguments,
    device: &Path,
    volume: &ByteSource,
    dump: &CrashDump,
    earlier: &mut Earlier,
) -> Result<Outcome> {
    let (directory, private_key) = prepare(context, arguments, dump, earlier)?;
    let recipients = Rc::clone(&earlier.recipients);
    let options = arguments.options(&recipients, private_key.as_deref());
    let name = device.display().to_string();
    let plan = plan(volume, &name, dump, &directory, &options, &mut earlier.numbers)?;
    earlier.bytes = earlier.bytes.saturating_add(plan.size.unwrap_or_else(|| dump.size()));
    let PlannedDump { files, size, compression, good, beginning } = plan;
    let packed = match (size, compression) {
        (Some(size), _) => rough_size(size),
        (None, Compression::None) if options.recipients.is_empty() => {
            format!("{} before decompression", rough_size(dump.size()))
        }
        (None, Compression::None) => rough_size(dump.size()),
        (None, compression) => format!("{} before {}", rough_size(dump.size()), compression.name()),
    };
    let free = rough_size(directory.free_space(&mut ())?.free());
    say_planned(context, &files, &format!("{packed}{}{}; {free} are free", encrypted_to(&recipients), damaged(good)))?;
    let saved =
        SavedFile { recipients: recipients.public_keys(), ..SavedFile::new(&files.files, size, compression, good) };
    conclude(context, arguments, device, dump, &Fate::new(arguments, dump, beginning), saved)
}

/// Says which file would be written, of which size, and which ones that would replace.
pub fn say_planned(context: &mut Context, planned: &PlannedFiles, size: &str) -> Result<()> {
    say(context, &format!("{}: would be written: {size}", planned.files.core.display()))?;
    planned.replaced.iter().try_for_each(|path| say(context, &format!("{}: would be replaced", path.display())))
}

/// Saves a dump, and clears it on its device.
pub fn save_dump(
    context: &mut Context,
    arguments: &Arguments,
    device: &Path,
    volume: &ByteSource,
    dump: &CrashDump,
    earlier: &mut Earlier,
) -> Result<Outcome> {
    context.log.alert(&reboot(dump));
    let (directory, private_key) = prepare(context, arguments, dump, earlier)?;
    let recipients = Rc::clone(&earlier.recipients);
    let options = arguments.options(&recipients, private_key.as_deref());
    let name = device.display().to_string();
    let report = save(volume, &name, dump, &directory, &options, context)?;
    let SavedDump { saved, size, compression, good, beginning, warnings } = report;
    let core = saved.files.core.display();
    let stored = stored_form(dump, &options, compression);
    context.log.notice(&format!("wrote {stored}core to {core}"));
    arguments.begin_custody(context, &saved.files.core, device, dump)?;
    let warnings: Vec<String> = saved.problems.iter().cloned().chain(warnings).collect();
    let fate = settle(context, arguments, (device, volume), dump, &core.to_string(), (beginning, &warnings))?;
    let packed = match compression {
        Compression::None => String::new(),
        compression => format!(" after {}", compression.name()),
    };
    say(context, &format!("{core}: {}{packed}{}{}", rough_size(size), encrypted_to(&recipients), damaged(good)))?;
    let saved = SavedFile {
        verified: arguments.verify,
        warnings,
        recipients: recipients.public_keys(),
        ..SavedFile::new(&saved.files, Some(size), compression, good)
    };
    conclude(context, arguments, device, dump, &fate, saved)
}

/// Says what may be wrong with a dump that is saved under that name, and clears it on its device, unless it is to stay there.
pub fn settle(
    context: &mut Context,
    arguments: &Arguments,
    (device, volume): (&Path, &ByteSource),
    dump: &CrashDump,
    core: &str,
    (beginning, warnings): (Option<Damage>, &[String]),
) -> Result<Fate> {
    for problem in warnings {
        context.warn(&format!("{core}: {problem}"));
    }
    if let Some(damage) = beginning.as_ref().filter(|_| arguments.force) {
        context.warn(&format!("{core}: damaged: {damage}"));
    }
    let fate = Fate::new(arguments, dump, beginning);
    if fate.clears {
        clear(arguments, &dump.last, volume, device).map_err(|error| match error {
            Error::Io { what, source } => {
                Error::Io { what: format!("{what}, although the dump is saved as {core}"), source }
            }
            other => other,
        })?;
    }
    Ok(fate)
}

pub fn damaged(good: bool) -> &'static str {
    if good { "" } else { ", damaged" }
}

/// What becomes of the dump on its device once it is saved.
pub struct Fate {
    /// It is cleared.
    pub clears: bool,
    /// What is wrong with its first bytes, for which it is kept: it was overwritten.
    overwritten: Option<Damage>,
}

impl Fate {
    pub fn new(arguments: &Arguments, dump: &CrashDump, beginning: Option<Damage>) -> Self {
        let overwritten = beginning.filter(|_| !arguments.force);
        Self { clears: !arguments.keep && !dump.cleared && overwritten.is_none(), overwritten }
    }
}

/// Says what became of a dump, or would.
pub fn conclude(
    context: &mut Context,
    arguments: &Arguments,
    device: &Path,
    dump: &CrashDump,
    fate: &Fate,
    saved: SavedFile,
) -> Result<Outcome> {
    let name = device.display();
    let [cleared, kept, saves, was] = match arguments.dry_run {
        true => ["would be cleared", "would be kept", "would save", "would be"],
        false => ["cleared", "kept", "saved", "was"],
    };
    let is_cleared = fate.clears || dump.cleared;
    say(context, &format!("{name}: {}; {saves} {}", if is_cleared { cleared } else { kept }, what(dump)))?;
    let error = fate.overwritten.as_ref().map(|damage| {
        let then =
            if dump.cleared { String::new() } else { format!("; it {was} kept on the device, --force clears it") };
        format!("{name}: the dump is damaged: {damage}; the readable part {was} saved{then}")
    });
    if let Some(error) = &error {
        context.print_failure(error)?;
    }
    let outcome = Outcome::with_dump(device, Ending::Saved, dump);
    Ok(Outcome { saved: Some(saved), error, cleared: is_cleared, ..outcome })
}

/// The first thing that savecore(8) logs of a dump, in its words, which those who watch logs look for.
pub fn reboot(dump: &CrashDump) -> String {
    let panic = &dump.header.panic_string;
    if panic.is_empty() { "reboot".to_owned() } else { format!("reboot after panic: {panic}") }
}

/// The words before `core` in what savecore(8) logs of a dump that was stored: `encrypted ` and `compressed `.
pub fn stored_form(dump: &CrashDump, options: &Options<'_>, compression: Compression) -> String {
    let encrypted = if dump.is_encrypted() && options.private_key.is_none() { "encrypted " } else { "" };
    let compressed = if compression == Compression::None { "" } else { "compressed " };
    format!("{encrypted}{compressed}")
}

/// Refuses what will not fit; warns of what may not.
fn check_space(
    context: &mut Context,
    directory: &SaveDirectory,
    dump: &CrashDump,
    options: &Options<'_>,
    taken: u64,
) -> Result<()> {
    let space = directory.free_space(context)?.after(taken);
    let compressed = !matches!(dump.compression(), None | Some(Compression::None));
    let stays_encrypted = dump.is_encrypted() && options.private_key.is_none();
    let (limit, may_be_less) = match stays_encrypted {
        true => (dump.size(), false),
        false if compressed && options.uncompress => (dump.size().max(dump.header.extent), true),
        false => (dump.size(), !compressed && options.compression != Compression::None),
    };
    let limit = options.recipients.size_of(limit);
    let Some(shortage) = space.shortage(limit, limit) else {
        space.warn_of_reserve(limit, context);
        return Ok(());
    };
    if may_be_less {
        context.warn(&format!("the dump may not fit: at its maximum size {shortage}"));
        return Ok(());
    }
    let hint = if compressed || stays_encrypted { "" } else { "--zstd takes less, " };
    Err(Error::Refused(format!(
        "the dump does not fit into {}: {shortage}; the dump was kept on the device; {hint}--no-space-check tries anyway",
        directory.path().display()
    )))
}
