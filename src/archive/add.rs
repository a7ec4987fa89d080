//! Adding a crash: its kernel, its dump and what goes with it, then its record, and then its row of the index.
//!
//! Every object is created once and never replaced, and the record comes last: a crash is in the archive when its record is.
//! What a run that was killed has left, or another one stores at the same time, is taken as it is there, if it is that dump.

use super::candidate::{Candidate, beginning, compression_at};
use super::contents;
use super::names::{Id, Month, RECORD};
use super::record::{
    CrashRecord, Kind, MAX_RECORD, RecordedFingerprint, SCHEMA, StoredObject, VERSION, kept, kept_warnings,
};
use super::time::Time;
use crate::compress::{Compression, Level};
use crate::dump::destination::Destination;
use crate::dump::sink::{Packing, with_sink};
use crate::dump_input;
use crate::encryption::{self, EncryptingWriter, Recipients};
use crate::error::{Error, Result};
use crate::files;
use crate::observer::{Observer, Phase, observe_bytes};
use crate::output_file::OutputFile;
use crate::remote::Settings;
use crate::remote::folder::Folder;
use crate::sha256;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use vmcore::bounds::filled;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kerneldump;
use vmcore::progress::Progress;
use vmcore::report::{Basis, Report};
use vmcore::units::hex_digits;

/// No report is longer, in bytes.
const MAX_REPORT: u64 = 256 << 20;
/// Bytes that are copied at a time.
const PART: usize = 1 << 18;
/// Digits of a build ID that a name has at most; it is 40 of SHA-1.
const MAX_BUILD_ID: usize = 64;
/// Months before that of a dump in which it may be kept, since the clock of its host was ahead when it was added.
const MONTHS_BEFORE: u64 = 2;

/// What a report tells of a crash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// The report, as `memtool report --json` writes it.
    pub json: Vec<u8>,
    /// The name of the host.
    pub host: Option<String>,
    /// The architecture.
    pub architecture: Option<String>,
    /// The version of the kernel.
    pub kernel_version: Option<String>,
    /// What the kernel panicked with.
    pub panic: Option<String>,
    /// What tells its bug from others.
    pub fingerprint: Option<RecordedFingerprint>,
}

impl Reported {
    /// What a report tells, with its JSON.
    pub fn new(report: &Report, json: Vec<u8>) -> Self {
        let basis = |basis| match basis {
            Basis::Stack => "stack",
            Basis::PanicMessage => "panic-message",
        };
        let dump = report.subject.dump();
        Self {
            json,
            host: report.subject.host(),
            architecture: report.architecture.map(|architecture| architecture.name().to_owned()),
            kernel_version: dump.and_then(vmcore::report::DumpSummary::version),
            panic: report.panic.clone(),
            // Of the message alone it would be another one than with the kernel.
            fingerprint: report.architecture.and(report.fingerprint.as_ref().ok()).map(|found| {
                let parts = found.parts.iter().filter_map(|part| kept(part)).collect();
                RecordedFingerprint { value: found.value.clone(), basis: basis(found.basis).to_owned(), parts }
            }),
        }
    }
}

/// What is added besides a dump.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The kernel's image, which is kept once for all crashes.
    pub kernel: Option<&'a Path>,
    /// Its debug information, likewise.
    pub debug: Option<&'a Path>,
    /// Who can decrypt dump and report; of nobody, they are not encrypted.
    pub recipients: &'a Recipients,
}

/// A crash that is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its record.
    pub record: CrashRecord,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// The record of a crash that is in the archive already; its row is seen to.
///
/// # Errors
///
/// The archive cannot be read; the crash is being removed.
pub fn find(folder: &dyn Folder, candidate: &Candidate, now: Time) -> Result<Option<CrashRecord>> {
    let dumped_at = candidate.dumped_at.filter(|time| time.is_plausible(now));
    let months = match dumped_at {
        Some(time) => {
            let mut months = Vec::new();
            let mut month = Month::parse(&time.month());
            for _ in 0..=MONTHS_BEFORE {
                let before = month.as_ref().and_then(Month::before);
                months.extend(std::mem::replace(&mut month, before));
            }
            months
        }
        None => contents::months(folder)?,
    };
    for month in months {
        if let Some(record) = read_record(folder, &month, &candidate.id)? {
            contents::ensure(folder, &month, &record.row())?;
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// The record of a crash; `None` if there is none.
///
/// # Errors
///
/// It cannot be read, or is damaged.
pub fn read_record(folder: &dyn Folder, month: &Month, id: &Id) -> Result<Option<CrashRecord>> {
    let name = month.record(id);
    let Some(bytes) = folder.read(&name, MAX_RECORD)? else { return Ok(None) };
    let damaged = |why: &dyn std::fmt::Display| Error::Format(format!("{}{name}: {why}", folder.name()));
    let record = CrashRecord::parse(&bytes).map_err(|error| damaged(&error))?;
    if record.id != *id || record.month().as_ref() != Some(month) {
        return Err(damaged(&"it is of another crash"));
    }
    Ok(Some(record))
}

/// Adds a crash, which [`find`] has not found.
///
/// # Errors
///
/// Something cannot be stored. What was is found by the next attempt.
pub fn add(
    folder: &dyn Folder,
    candidate: &Candidate,
    reported: Option<&Reported>,
    options: &Options<'_>,
    now: Time,
    observer: &mut dyn Observer,
) -> Result<Added> {
    let mut warnings = candidate.warnings.clone();
    let dumped_at = candidate.dumped_at.filter(|time| time.is_plausible(now));
    if let (Some(time), None) = (candidate.dumped_at, dumped_at) {
        warnings.push(format!(
            "the clock of the host was wrong: it said {time}, and now it is {now}; it is kept under the latter"
        ));
    }
    let crashed_at = dumped_at.unwrap_or(now);
    let wrong_month = || Error::Refused(format!("{crashed_at} is in no month"));
    let month = Month::parse(&crashed_at.month()).ok_or_else(wrong_month)?;
    check_pruning(folder, &month, &candidate.id)?;
    let mut objects = Vec::new();
    let kernel = options.kernel.map(|path| store_kernel(folder, path, Kind::Kernel, observer)).transpose()?;
    let debug = options.debug.map(|path| store_kernel(folder, path, Kind::Debug, observer)).transpose()?;
    if let (Some((kernel, _)), Some((debug, _))) = (&kernel, &debug)
        && kernel != debug
    {
        warnings.push("the debug information is not of that kernel, by its build ID".to_owned());
    }
    let stored = Crash { folder, place: month.crash(&candidate.id), recipients: options.recipients };
    let (dump, dump_size) = stored.dump(candidate, observer)?;
    let (stored_size, compression) = (dump.size, stored.compression(candidate));
    let is_encrypted = candidate.is_encrypted() || dump.name.ends_with(encryption::SUFFIX);
    objects.push(dump);
    for (kind, name, companion) in [(Kind::Info, "info", &candidate.info), (Kind::Key, "key", &candidate.key)] {
        if let Some(companion) = companion {
            objects.push(stored.small(kind, name, &companion.bytes)?);
        }
    }
    if let Some(reported) = reported {
        objects.push(stored.report(&reported.json)?);
    }
    let kernel_build_id = kernel.as_ref().or(debug.as_ref()).map(|(id, _)| id.clone());
    objects.extend([kernel, debug].into_iter().flatten().map(|(_, object)| object));
    let saved = candidate.saved();
    let field = |label| saved.as_ref().and_then(|info| kept(info.field(label)?));
    let told = |of: fn(&Reported) -> &Option<String>| reported.and_then(|reported| kept(of(reported).as_deref()?));
    let version = || kept(vmcore::text::first_line(&told(|reported| &reported.kernel_version)?));
    let record = CrashRecord {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        id: candidate.id.clone(),
        host: field("Hostname").or_else(|| told(|reported| &reported.host)),
        crashed_at,
        dumped_at: candidate.dumped_at,
        added_at: now,
        kernel_version: candidate.kernel_version().or_else(version),
        kernel_build_id,
        architecture: field("Architecture").or_else(|| told(|reported| &reported.architecture)),
        panic: told(|reported| &reported.panic).or_else(|| field("Panic String")),
        fingerprint: reported.and_then(|reported| reported.fingerprint.clone()),
        dump_size,
        stored_size,
        compression: compression.to_owned(),
        encrypted: is_encrypted,
        recipients: options.recipients.public_keys().filter(|_| !candidate.is_encrypted_to_recipients),
        objects,
        memtool_version: env!("CARGO_PKG_VERSION").to_owned(),
        warnings: kept_warnings(&warnings),
    };
    let what = || format!("write the record of {}", record.id);
    let bytes = record.to_bytes().map_err(|error| Error::Io { what: what(), source: error.into() })?;
    check_pruning(folder, &month, &candidate.id)?;
    let is_new = stored.folder.create(&format!("{}/{RECORD}", stored.place), &bytes)?;
    // Another run was faster: then its record counts.
    let other = if is_new { None } else { read_record(folder, &month, &candidate.id)? };
    let record = other.unwrap_or(record);
    if is_new {
        contents::add(folder, &month, &record.row())?;
    } else {
        contents::ensure(folder, &month, &record.row())?;
    }
    Ok(Added { record, is_new })
}

/// Refuses to add what is being removed: its dump would be gone afterwards.
fn check_pruning(folder: &dyn Folder, month: &Month, id: &Id) -> Result<()> {
    if folder.size(&month.pruning(id))?.is_some() {
        return Err(Error::Refused(format!(
            "{}: {id} is being removed; 'memtool archive index' ends that, and then it can be added",
            folder.name()
        )));
    }
    Ok(())
}

/// Removes the files of a dump, once the archive is seen to have it; tells which.
///
/// # Errors
///
/// The archive has not all of it; a file cannot be removed.
pub fn delete(folder: &dyn Folder, candidate: &Candidate, record: &CrashRecord) -> Result<Vec<PathBuf>> {
    for object in &record.objects {
        if folder.size(&object.name)? != Some(object.size) {
            let name = &object.name;
            return Err(Error::Refused(format!(
                "{}{name} is not there as it was stored; the files are kept",
                folder.name()
            )));
        }
    }
    let companions = [&candidate.info, &candidate.key].into_iter().flatten().map(|companion| companion.path.clone());
    // The dump comes last: without it nobody would add what is beside it.
    let removed: Vec<PathBuf> = companions.chain([candidate.files.core.clone()]).collect();
    for path in &removed {
        std::fs::remove_file(path).map_err(|source| Error::io("remove", path, source))?;
    }
    Ok(removed)
}

/// The folder of a crash.
struct Crash<'a> {
    folder: &'a dyn Folder,
    place: String,
    recipients: &'a Recipients,
}

impl Crash<'_> {
    /// Whether the dump is encrypted on its way.
    fn encrypts(&self, candidate: &Candidate) -> bool {
        !self.recipients.is_empty() && !candidate.is_encrypted_to_recipients
    }

    /// Whether the dump is compressed on its way.
    fn compresses(candidate: &Candidate) -> bool {
        candidate.compression == kerneldump::Compression::None && !candidate.is_encrypted()
    }

    fn compression(&self, candidate: &Candidate) -> &'static str {
        if Self::compresses(candidate) { kerneldump::Compression::Zstd.name() } else { candidate.compression.name() }
    }

    /// Stores the dump, and tells how many bytes it has before compression, where they are counted.
    fn dump(&self, candidate: &Candidate, observer: &mut dyn Observer) -> Result<(StoredObject, Option<u64>)> {
        let compression =
            if Self::compresses(candidate) { kerneldump::Compression::Zstd } else { candidate.compression };
        let is_encrypted = self.encrypts(candidate) || candidate.is_encrypted_to_recipients;
        let age = if is_encrypted { encryption::SUFFIX } else { "" };
        let name = format!("{}/{}{}{age}", self.place, candidate.stem, compression.suffix());
        let length = candidate.volume.length();
        let is_plain = candidate.compression == kerneldump::Compression::None && !candidate.is_encrypted_to_recipients;
        let dump_size = candidate.dump_size.or(is_plain.then_some(length));
        let stored = |size, sha256| StoredObject { kind: Kind::Dump, name: name.clone(), size, sha256: Some(sha256) };
        if self.folder.size(&name)?.is_some() {
            let (size, sha256) = self.adopt(&name, candidate, is_encrypted, observer)?;
            return Ok((stored(size, sha256), dump_size));
        }
        let packing = Packing {
            compression: if Self::compresses(candidate) {
                Compression::Zstd(Level::default())
            } else {
                Compression::None
            },
            recipients: if self.encrypts(candidate) { self.recipients } else { &Recipients::nobody() },
        };
        let phase = if Self::compresses(candidate) { Phase::Compressing } else { Phase::Copying };
        match store(self.folder, &name, &candidate.volume, &candidate.files.core, packing, phase, observer) {
            Ok((size, sha256)) => Ok((stored(size, sha256), dump_size)),
            // Another run has stored it meanwhile.
            Err(error) => match self.folder.size(&name) {
                Ok(Some(_)) => {
                    let (size, sha256) = self.adopt(&name, candidate, is_encrypted, observer)?;
                    Ok((stored(size, sha256), dump_size))
                }
                _ => Err(error),
            },
        }
    }

    /// Takes the dump that is there, which a run that was killed has stored, or another one.
    fn adopt(
        &self,
        name: &str,
        candidate: &Candidate,
        is_encrypted: bool,
        observer: &mut dyn Observer,
    ) -> Result<(u64, String)> {
        let place = self.folder.place(name);
        let failed = |source| Error::io("read", &place, source);
        let there = dump_input::open(&place)?;
        let can_be_compared = !is_encrypted && !candidate.is_encrypted();
        if can_be_compared {
            let compression = compression_at(&there).map_err(failed)?;
            if beginning(&there, compression) != beginning(&candidate.volume, candidate.compression) {
                return Err(Error::Refused(format!("{} is there, and is another dump", place.display())));
            }
        }
        observe_bytes(observer, Phase::Verifying, there.length(), |progress| {
            let mut reader = there.part(0, there.length(), progress);
            sha256::of_reader(&mut reader, u64::MAX, |_| {}).map_err(failed)
        })
    }

    /// Stores what is short.
    fn small(&self, kind: Kind, name: &str, bytes: &[u8]) -> Result<StoredObject> {
        let name = format!("{}/{name}", self.place);
        let there = match self.folder.create(&name, bytes)? {
            true => None,
            false => self.folder.read(&name, MAX_REPORT)?,
        };
        let bytes = there.as_deref().unwrap_or(bytes);
        Ok(StoredObject { kind, name, size: bytes.len() as u64, sha256: Some(sha256::of_bytes(bytes)) })
    }

    fn report(&self, json: &[u8]) -> Result<StoredObject> {
        if self.recipients.is_empty() {
            return self.small(Kind::Report, "report.json", json);
        }
        let encrypt = || {
            let mut writer = EncryptingWriter::new(Vec::new(), self.recipients)?;
            writer.write_all(json)?;
            writer.finish()
        };
        let encrypted = encrypt().map_err(|source| Error::Io { what: "encrypt the report".to_owned(), source })?;
        self.small(Kind::Report, &format!("report.json{}", encryption::SUFFIX), &encrypted)
    }
}

/// Stores a kernel or its debug information, unless the archive has it; tells its build ID.
fn store_kernel(
    folder: &dyn Folder,
    path: &Path,
    kind: Kind,
    observer: &mut dyn Observer,
) -> Result<(String, StoredObject)> {
    let image = ByteSource::from_file(&files::open(path)?).map_err(|source| Error::io("read", path, source))?;
    let build_id = files::open_kernel(path)?.build_id().map(hex_digits);
    let id = match build_id.filter(|id| (1..=MAX_BUILD_ID).contains(&id.len())) {
        Some(id) => id,
        None => {
            let progress = Progress::default();
            let mut reader = image.part(0, image.length(), &progress);
            sha256::of_reader(&mut reader, u64::MAX, |_| {}).map_err(|source| Error::io("read", path, source))?.1
        }
    };
    let name = match kind {
        Kind::Debug => format!("kernels/{id}/kernel.debug.zst"),
        _ => format!("kernels/{id}/kernel.zst"),
    };
    let there = |size| StoredObject { kind, name: name.clone(), size, sha256: None };
    if let Some(size) = folder.size(&name)? {
        return Ok((id, there(size)));
    }
    let packing = Packing::compressed(Compression::Zstd(Level::default()));
    match store(folder, &name, &image, path, packing, Phase::Compressing, observer) {
        Ok((size, sha256)) => {
            let object = StoredObject { kind, name, size, sha256: Some(sha256) };
            Ok((id, object))
        }
        Err(error) => match folder.size(&name) {
            Ok(Some(size)) => Ok((id, there(size))),
            _ => Err(error),
        },
    }
}

/// Stores a long object, and tells how many bytes it has there, and their SHA-256.
fn store(
    folder: &dyn Folder,
    name: &str,
    source: &ByteSource,
    path: &Path,
    packing: Packing<'_>,
    phase: Phase,
    observer: &mut dyn Observer,
) -> Result<(u64, String)> {
    folder.prepare(name)?;
    let place = folder.place(name).into_os_string();
    let to = Destination::try_from(place).map_err(|error| Error::Refused(format!("{name}: {error}")))?;
    let length = source.length();
    let file = to.file().map(|path| OutputFile::create(path, false)).transpose()?;
    // No compressor makes it much longer.
    let at_most = packing.recipients.size_of(length.saturating_add(length / 64).saturating_add(1 << 16));
    let target = to.target(file.as_ref(), &Settings::default(), Some(at_most))?;
    let failed = |source| Error::io("read", path, source);
    let ((), written, target) = observe_bytes(observer, phase, length, |progress| {
        with_sink(target, packing, true, |sink| {
            let mut reader = source.part(0, length, progress);
            let mut buffer = vec![0; PART];
            loop {
                let read = reader.read(&mut buffer).map_err(failed)?;
                if read == 0 {
                    return Ok(());
                }
                sink.write(filled(&buffer, read).map_err(failed)?)?;
            }
        })
    })?;
    target.complete()?;
    file.map_or(Ok(()), OutputFile::commit)?;
    let unknown = || Error::Format(format!("{name}: its SHA-256 is not known"));
    Ok((written.bytes, written.sha256.ok_or_else(unknown)?))
}
