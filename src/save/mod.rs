//! Crash dumps: what a panic has left on a dump device is found, checked, saved in a directory, and cleared, as
//! savecore(8) does (sbin/savecore/savecore.c of FreeBSD 15.1).
//!
//! - [`find`] finds a dump and says what is wrong with its headers (`savecore -C`);
//! - [`save`] copies it, and gives it its name when all of it is on disk; [`plan`] says what that would be;
//! - [`send`]: the same, to another host or a file of any name;
//! - [`LastHeader::clear`] has the next run pass it over (`savecore -c`, and the end of savecore(8)'s every run);
//! - [`beginning`]: whether what lies between the headers begins as a dump does, which savecore(8) does not look at;
//! - [`directory`]: a directory of dumps as savecore(8) keeps it, for live dumps as well;
//! - [`info`]: what savecore(8) writes about a dump;
//! - [`crate::host::dump_devices`]: where a kernel dumps.
//!
//! In the words of NetBSD's kvm_dump(3), for the header of FreeBSD: kvm_dump_mkheader(3) is
//! [`Header::encode`](vmcore::kerneldump::Header::encode), kvm_dump_wrtheader(3) is writing what that gives, and
//! kvm_dump_inval(3) is [`LastHeader::clear`].

pub mod beginning;
mod copy;
pub mod directory;
pub mod info;
pub mod send;

mod verify;

use crate::compress::{self, Level};
use crate::dump::sink::{Packing, Target, with_sink};
use crate::encryption::Recipients;
use crate::error::{Error, Result};
use crate::observer::{Observer, Phase, observe_bytes};
use crate::output_file::OutputFile;
use copy::{Copied, copy, key, stream};
use directory::{NewDump, PlannedFiles, PlannedNames, PlannedNumbers, SaveDirectory, Saved};
use std::io::{self, Write};
use verify::{beginning_of, cannot_read_back, compare, verify};
use vmcore::bounds::{head, saturating_usize};
use vmcore::decrypt::PrivateKey;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::disk::Partition;
use vmcore::dump::{self, Container, Damage, Depth, DeviceDump, DiskSearch, DumpLocation, PartitionDump};
use vmcore::kerneldump::{self, Compression, HEADER_LENGTH, Header, HeaderError, Kind};
use vmcore::progress::Progress;
use vmcore::units::counted;

/// The last header on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastHeader {
    /// Its first byte.
    pub at: u64,
    /// Bytes of a sector.
    pub sector_size: u32,
    /// The header as it is.
    pub bytes: [u8; HEADER_LENGTH],
}

impl LastHeader {
    /// Says in the header that the dump was saved, as savecore(8) does: its magic is another one, and nothing else
    /// changes. The sector is on disk when this succeeds; other bytes of it stay.
    ///
    /// # Errors
    ///
    /// The device was not opened by [`crate::files::open_dump_to_replace`], cannot be read or written, or has another
    /// header meanwhile.
    pub fn clear(&self, volume: &ByteSource) -> io::Result<()> {
        let mut sector = vec![0; saturating_usize(self.sector_size)];
        let read = volume.read_at(self.at, &mut sector)?;
        sector.truncate(read);
        let known = sector.clone();
        if known.first_chunk() != Some(&self.bytes) {
            return Err(io::Error::other("its last header has changed since"));
        }
        let cleared = kerneldump::cleared(&self.bytes);
        sector.iter_mut().zip(cleared).for_each(|(to, from)| *to = from);
        volume.replace(self.at, &known, &sector)
    }
}

/// A dump on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashDump {
    /// What its last header says, as before it was cleared.
    pub header: Header,
    /// Whether it was cleared: saved already, that is.
    pub cleared: bool,
    /// What is wrong with its headers; savecore(8) saves such a dump only when it is forced to.
    pub damage: Vec<Damage>,
    /// What is wrong with its first bytes, if it is not encrypted; savecore(8) does not look at them.
    pub beginning: Option<Damage>,
    /// What is wrong with the partition tables of the disk that it is on, and that there are other dumps there.
    pub disk_warnings: Vec<String>,
    /// The last header.
    pub last: LastHeader,
    found: DeviceDump,
    /// The key of an encrypted one, where it is not on the device.
    key: Option<Vec<u8>>,
}

impl CrashDump {
    /// A dump that came without a device: a file that begins with it, its header, and its key if it is encrypted, which can
    /// be filled up to whole blocks.
    ///
    /// # Errors
    ///
    /// The header is none.
    pub fn apart(
        volume: &ByteSource,
        header: &[u8; HEADER_LENGTH],
        size: u64,
        key: &[u8],
    ) -> Result<Self, HeaderError> {
        let decoded = Header::parse(header)?;
        let key = (decoded.key_size > 0).then(|| head(key, decoded.key_size).to_vec());
        let location = DumpLocation {
            place: Container::File,
            start: 0,
            end: size,
            header: Some(decoded.clone()),
            sector_size: None,
            is_text: false,
            partition: None,
        };
        let mut damage = Vec::new();
        damage.extend(unknown_compression(&decoded));
        let found = DeviceDump { location, last_at: volume.length(), last: *header, uncleared: *header };
        let last = LastHeader { at: found.last_at, sector_size: 512, bytes: *header };
        let mut dump = Self {
            header: decoded,
            cleared: false,
            damage,
            beginning: None,
            disk_warnings: Vec::new(),
            last,
            found,
            key,
        };
        dump.beginning = wrong_beginning(volume, &dump);
        Ok(dump)
    }

    /// Bytes of it that are there.
    pub fn size(&self) -> u64 {
        self.found.location.end - self.found.location.start
    }

    /// The partition of a whole disk that it is in.
    pub fn partition(&self) -> Option<&Partition> {
        self.found.location.partition.as_ref()
    }

    /// How the kernel has compressed it; `None` for a code that nothing stands for.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_code(self.header.compression)
    }

    /// Whether only its key's owner can read it.
    pub fn is_encrypted(&self) -> bool {
        self.header.key_size > 0
    }
}

/// What is at the end of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No header of a dump.
    Nothing,
    /// The header of a dump, of a version that is not known, so that nothing is known of the dump.
    Unknown(Box<LastHeader>, HeaderError),
    /// A dump.
    Dump(Box<CrashDump>),
    /// A disk with no dump in its partitions, or several, or without the partition that was named.
    Disk(Box<DiskSearch>),
}

/// Finds the dump on a device, or in the partitions of a whole disk. `sector_size` is for files that stand for a device;
/// without it the usual ones are tried.
///
/// # Errors
///
/// The device cannot be read.
pub fn find(volume: &ByteSource, sector_size: Option<u32>) -> io::Result<Found> {
    let sector_size = volume.sector_size().or(sector_size);
    if volume.partition().is_none() {
        if let Some((found, damage)) = dump::on_device(volume, sector_size)?
            && let Some(dump) = crash_dump(volume, found, damage)
        {
            return Ok(Found::Dump(Box::new(dump)));
        }
        if let Some(unknown) = unknown_header(volume, dump::last_sectors(volume, sector_size))? {
            return Ok(unknown);
        }
    }
    let Some(search) = dump::on_disk(volume, sector_size)? else { return Ok(Found::Nothing) };
    if let Some(PartitionDump { dump, damage, .. }) = search.chosen()
        && let Some(dump) = crash_dump(volume, dump.clone(), damage.clone())
    {
        return Ok(Found::Dump(Box::new(CrashDump { disk_warnings: search.warnings(), ..dump })));
    }
    for partition in search.searched().iter().filter(|_| search.dumps.is_empty()) {
        let last = dump::last_sectors_of((partition.start, partition.end), sector_size);
        if let Some(unknown) = unknown_header(volume, last)? {
            return Ok(unknown);
        }
    }
    Ok(Found::Disk(Box::new(search)))
}

/// A dump that was found, with what is wrong with its headers.
fn crash_dump(volume: &ByteSource, found: DeviceDump, mut damage: Vec<Damage>) -> Option<CrashDump> {
    let header = Header::decode(&found.uncleared).ok()?;
    let sector_size = found.location.sector_size?;
    damage.extend(unknown_compression(&header));
    if found.location.is_text && !(found.location.end - found.location.start).is_multiple_of(512) {
        let what = format!("{} is not a multiple of 512 bytes, as in a text dump", header.dump_length);
        damage.push(Damage { place: "dumplength".to_owned(), what });
    }
    let last = LastHeader { at: found.last_at, sector_size, bytes: found.last };
    let cleared = found.last != found.uncleared;
    let mut dump =
        CrashDump { header, cleared, damage, beginning: None, disk_warnings: Vec::new(), last, found, key: None };
    dump.beginning = wrong_beginning(volume, &dump);
    Some(dump)
}

/// A last header of a version that is not known.
fn unknown_header(volume: &ByteSource, places: impl Iterator<Item = (u64, u32)>) -> io::Result<Option<Found>> {
    for (at, sector_size) in places {
        let mut bytes = [0; HEADER_LENGTH];
        let whole = volume.read_at(at, &mut bytes)? == bytes.len();
        if let (true, Err(error @ HeaderError::Version(_))) = (whole, Header::decode(&bytes)) {
            return Ok(Some(Found::Unknown(Box::new(LastHeader { at, sector_size, bytes }), error)));
        }
    }
    Ok(None)
}

/// That a header says of a compression that it is none that is known.
fn unknown_compression(header: &Header) -> Option<Damage> {
    let is_known = Compression::from_code(header.compression).is_some();
    let what = || format!("unknown code {}", header.compression);
    (!is_known).then(|| Damage { place: "compression".to_owned(), what: what() })
}

/// What is wrong with the first bytes of a dump on its device. Those of an encrypted one nobody can tell.
fn wrong_beginning(volume: &ByteSource, dump: &CrashDump) -> Option<Damage> {
    let decompress = dump.compression().filter(|_| !dump.is_encrypted())?;
    let progress = Progress::default();
    let unreadable = |error: Error| Damage { place: "beginning".to_owned(), what: error.to_string() };
    match stream(volume, "the device", dump, None, decompress, &progress) {
        Ok(stream) => beginning::check(stream, &dump.header),
        Err(error) => Some(unreadable(error)),
    }
}

/// How a dump is saved.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// What a dump is compressed with that is neither compressed nor encrypted.
    pub compression: Compression,
    /// zstd's level.
    pub level: Level,
    /// Store a compressed dump as it was before the kernel compressed it.
    pub uncompress: bool,
    /// Decrypt an encrypted dump, and look at its headers and tables at least; without it, it is stored as it is, with
    /// its key.
    pub private_key: Option<&'a PrivateKey>,
    /// Who can decrypt the file of the dump; of nobody, it is not encrypted.
    pub recipients: &'a Recipients,
    /// Numbers are below this one, and come round.
    pub limit: Option<u32>,
    /// Read the file back and check every byte of it before it gets its name. What is encrypted to recipients is compared with
    /// what was written, by a hash, and the dump is checked on its device.
    pub verify: bool,
}

impl<'a> Options<'a> {
    /// As the kernel has made it.
    pub fn as_it_is(recipients: &'a Recipients) -> Self {
        Self {
            compression: Compression::None,
            level: Level::default(),
            uncompress: false,
            private_key: None,
            recipients,
            limit: None,
            verify: false,
        }
    }
}

/// A dump that was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedDump {
    /// Its files.
    pub saved: Saved,
    /// Bytes of its file, holes included.
    pub size: u64,
    /// How its file is compressed; of an encrypted one, not at all.
    pub compression: Compression,
    /// Whether its headers and its first bytes were right, as `info.N` says.
    pub good: bool,
    /// What is wrong with the first bytes of what was saved. Such a dump was overwritten, and is only to be cleared by
    /// who wants that.
    pub beginning: Option<Damage>,
    /// What may be wrong with it, as far as it was read back.
    pub warnings: Vec<String>,
}

/// Saves a dump in a directory, under the next number. When this succeeds, all of it is on disk, and the device can be
/// cleared; when it fails, no file of it has a name, unless a disk fails in between. `device` is the device's name, for
/// `info.N`. The observer is told of bytes of the dump as it lies on the device, and of the file's when it is read back.
///
/// # Errors
///
/// The device cannot be read, the dump cannot be decompressed or is damaged when it is read back, or the directory
/// does not take it.
///
/// ```no_run
/// use memtool::compress::Level;
/// use memtool::encryption::Recipients;
/// use memtool::files::open_dump_device;
/// use memtool::save::directory::SaveDirectory;
/// use memtool::save::{Found, Options, find, save};
/// use std::path::Path;
/// use vmcore::kerneldump::Compression;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = open_dump_device(Path::new("/dev/da0p2"))?;
/// if let Found::Dump(dump) = find(&device, None)? {
///     let options = Options {
///         compression: Compression::Zstd,
///         level: Level::default(),
///         uncompress: false,
///         private_key: None,
///         recipients: &Recipients::nobody(),
///         limit: None,
///         verify: true,
///     };
///     let directory = SaveDirectory::open(Path::new("/var/crash"))?;
///     let saved = save(&device, "da0p2", &dump, &directory, &options, &mut ())?;
///     println!("{} is {} bytes", saved.saved.files.core.display(), saved.size);
/// }
/// # Ok(())
/// # }
/// ```
pub fn save(
    volume: &ByteSource,
    device: &str,
    dump: &CrashDump,
    directory: &SaveDirectory,
    options: &Options<'_>,
    observer: &mut dyn Observer,
) -> Result<SavedDump> {
    check_size(device, dump)?;
    let treatment = Treatment::new(dump, options);
    let Treatment { stays_encrypted, decompress, packed, compression, .. } = treatment;
    let file = directory.new_file()?;
    let out = file.file().try_clone().map_err(|source| Error::io("write in", directory.path(), source))?;
    let phase = treatment.phase(dump, options.recipients);
    let is_encrypted = !options.recipients.is_empty();
    let (Copied { bytes: copied, first }, written, _) = observe_bytes(observer, phase, dump.size(), |progress| {
        let mut stream = stream(volume, device, dump, options.private_key, decompress, progress)?;
        let compression = compress::Compression::at_level(packed, options.level);
        let packing = Packing { compression, recipients: options.recipients };
        with_sink(Target::File(out), packing, is_encrypted && options.verify, |sink| copy(&mut stream, device, sink))
    })?;
    treatment.check_copied(device, dump, copied)?;
    let key = if stays_encrypted { Some(key_file(volume, device, dump, directory)?) } else { None };
    let decrypted = dump.is_encrypted() && !stays_encrypted;
    let depth = if options.verify { Some(Depth::Full) } else { decrypted.then_some(Depth::Quick) };
    let beginning = match stays_encrypted {
        true => None,
        // It cannot be read back, and so is looked at as it was copied.
        false if is_encrypted => beginning_of(&ByteSource::from_bytes(first), &dump.header, treatment.copied_as())?,
        false => {
            let back = ByteSource::from_file(file.file()).map_err(cannot_read_back)?;
            beginning_of(&back, &dump.header, compression)?
        }
    };
    match (&beginning, depth) {
        (Some(_), _) if decrypted => {
            return Err(wrong_key(device));
        }
        (Some(damage), Some(_)) => return Err(Error::Format(format!("the dump on {device} is damaged: {damage}"))),
        _ => {}
    }
    let mut warnings = Vec::new();
    match depth {
        Some(_) if is_encrypted => {
            if let Some(sha256) = &written.sha256 {
                observe_bytes(observer, Phase::Verifying, written.bytes, |progress| compare(&file, sha256, progress))?;
            }
            if options.verify && !dump.is_encrypted() {
                warnings = observe_bytes(observer, Phase::Verifying, dump.size(), |progress| {
                    verify(volume, device, Compression::None, Depth::Full, progress)
                })?;
            }
        }
        Some(depth) => {
            let back = ByteSource::from_file(file.file()).map_err(cannot_read_back)?;
            warnings = observe_bytes(observer, Phase::Verifying, written.bytes, |progress| {
                verify(&back, device, compression, depth, progress)
            })?;
        }
        None => {}
    }
    let written = Written { size: written.bytes, key, is_encrypted, beginning, warnings };
    treatment.name(file, (device, dump), directory, written, options.limit)
}

/// Saves a dump that is in a file of its own, in the directory that it is to be saved in, as it is: the file gets the name of
/// the next dump. Otherwise as [`save`].
///
/// # Errors
///
/// Those of [`save`]; the file stays where it is.
pub fn adopt(
    file: OutputFile,
    name: &str,
    dump: &CrashDump,
    directory: &SaveDirectory,
    observer: &mut dyn Observer,
) -> Result<SavedDump> {
    check_size(name, dump)?;
    let treatment = Treatment::new(dump, &Options::as_it_is(&Recipients::nobody()));
    let stays_encrypted = treatment.stays_encrypted;
    let volume = ByteSource::from_file(file.file()).map_err(cannot_read_back)?;
    let key = if stays_encrypted { Some(key_file(&volume, name, dump, directory)?) } else { None };
    let mut beginning = dump.beginning.clone();
    let mut warnings = Vec::new();
    if !stays_encrypted && beginning.is_none() {
        let found = observe_bytes(observer, Phase::Verifying, dump.size(), |progress| {
            dump::inspect(&volume, Depth::Full, progress).map_err(cannot_read_back)
        })?;
        beginning = found.damage.into_iter().next();
        warnings = found.warnings;
    }
    let written = Written { size: dump.size(), key, is_encrypted: false, beginning, warnings };
    treatment.name(file, (name, dump), directory, written, None)
}

/// What is done with a dump that is saved.
struct Treatment {
    stays_encrypted: bool,
    /// What it is decompressed from.
    decompress: Compression,
    /// What it is compressed with.
    packed: Compression,
    /// How its file is compressed in the end.
    compression: Compression,
    /// The name of its file before the number.
    stem: &'static str,
    /// What the name of its link tells.
    link: Compression,
}

/// The file of a dump, which has no name yet.
struct Written {
    /// Its bytes, holes included.
    size: u64,
    key: Option<OutputFile>,
    is_encrypted: bool,
    beginning: Option<Damage>,
    warnings: Vec<String>,
}

impl Treatment {
    /// Gives the file of a dump the next number of a directory, and writes what is known of it beside it.
    fn name(
        &self,
        file: OutputFile,
        (device, dump): (&str, &CrashDump),
        directory: &SaveDirectory,
        written: Written,
        limit: Option<u32>,
    ) -> Result<SavedDump> {
        let Self { compression, stem, link, .. } = *self;
        let Written { size, key, is_encrypted, beginning, warnings } = written;
        let good = dump.damage.is_empty() && beginning.is_none();
        let parity = info::parity_word(&dump.found.uncleared);
        let subject = info::Subject { device, header: &dump.header, parity, good };
        let info = |number| info::text(&subject, number);
        let entry = NewDump { stem, compression, link, is_encrypted, info: &info, key, limit };
        let saved = directory.save(file, entry)?;
        Ok(SavedDump { saved, size, compression, good, beginning, warnings })
    }

    fn new(dump: &CrashDump, options: &Options<'_>) -> Self {
        let by_kernel = dump.compression().unwrap_or(Compression::None);
        let stays_encrypted = dump.is_encrypted() && options.private_key.is_none();
        let (decompress, packed) = match by_kernel {
            _ if stays_encrypted => (Compression::None, Compression::None),
            Compression::None => (Compression::None, options.compression),
            by_kernel if options.uncompress => (by_kernel, Compression::None),
            _ => (Compression::None, Compression::None),
        };
        let compression = match (by_kernel, decompress) {
            _ if stays_encrypted => Compression::None,
            (Compression::None, _) => packed,
            (by_kernel, Compression::None) => by_kernel,
            _ => Compression::None,
        };
        let stem = match dump.header.kind {
            Kind::TextDump => "textdump.tar",
            _ if stays_encrypted => "vmcore_encrypted",
            _ => "vmcore",
        };
        // As savecore(8) does: the file of an encrypted dump has no ending, and its link has one, unless it was to be
        // decompressed.
        let link = if stays_encrypted && !options.uncompress { by_kernel } else { compression };
        Self { stays_encrypted, decompress, packed, compression, stem, link }
    }

    /// Whether the file has the bytes of the dump as they are on the device, or decrypted.
    fn keeps_size(&self) -> bool {
        self.decompress == Compression::None && self.packed == Compression::None
    }

    /// Refuses a dump that ended before its end.
    fn check_copied(&self, device: &str, dump: &CrashDump, copied: u64) -> Result<()> {
        if self.decompress != Compression::None || copied == dump.size() {
            return Ok(());
        }
        Err(Error::Format(format!("{device} ends after {copied} of the dump's {}", counted(dump.size(), "byte"))))
    }

    /// How what is copied is compressed, before it is compressed for its file.
    fn copied_as(&self) -> Compression {
        if self.packed == Compression::None { self.compression } else { Compression::None }
    }

    /// What goes on while the dump is copied.
    fn phase(&self, dump: &CrashDump, recipients: &Recipients) -> Phase {
        match self {
            _ if dump.is_encrypted() && !self.stays_encrypted => Phase::Decrypting,
            Self { packed: Compression::Gzip | Compression::Zstd, .. } => Phase::Compressing,
            Self { decompress: Compression::Gzip | Compression::Zstd, .. } => Phase::Decompressing,
            _ if !recipients.is_empty() => Phase::Encrypting,
            _ => Phase::Copying,
        }
    }
}

/// What [`save`] would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDump {
    /// The files.
    pub files: PlannedFiles,
    /// Bytes of the dump's file, where that is known before it is compressed or decompressed.
    pub size: Option<u64>,
    /// How it would be compressed.
    pub compression: Compression,
    /// Whether `info.N` would call it good.
    pub good: bool,
    /// What is wrong with its first bytes: see [`SavedDump::beginning`].
    pub beginning: Option<Damage>,
}

/// Says what [`save`] would do, as far as that is known before the dump is copied: nothing is written, and nothing
/// opened for writing. `numbers` are those that were planned before.
///
/// # Errors
///
/// Those of [`save`], as far as they are known.
pub fn plan(
    volume: &ByteSource,
    device: &str,
    dump: &CrashDump,
    directory: &SaveDirectory,
    options: &Options<'_>,
    numbers: &mut PlannedNumbers,
) -> Result<PlannedDump> {
    check_size(device, dump)?;
    let treatment = Treatment::new(dump, options);
    let Treatment { stays_encrypted, compression, stem, .. } = treatment;
    let beginning = match options.private_key.filter(|_| dump.is_encrypted()) {
        Some(key) => decrypted_beginning(volume, device, dump, key)?,
        None => dump.beginning.clone(),
    };
    match &beginning {
        Some(_) if dump.is_encrypted() => return Err(wrong_key(device)),
        Some(damage) if options.verify => {
            return Err(Error::Format(format!("the dump on {device} is damaged: {damage}")));
        }
        _ => {}
    }
    let is_encrypted = !options.recipients.is_empty();
    let names = PlannedNames { stem, compression, is_encrypted, has_key: stays_encrypted };
    let files = directory.plan(&names, options.limit, numbers)?;
    let good = dump.damage.is_empty() && beginning.is_none();
    let size = (treatment.keeps_size() && !is_encrypted).then(|| dump.size());
    Ok(PlannedDump { files, size, compression, good, beginning })
}

/// What is wrong with the first bytes of an encrypted dump on its device.
fn decrypted_beginning(
    volume: &ByteSource,
    device: &str,
    dump: &CrashDump,
    key: &PrivateKey,
) -> Result<Option<Damage>> {
    let compression = dump.compression().unwrap_or(Compression::None);
    let progress = Progress::default();
    let stream = stream(volume, device, dump, Some(key), compression, &progress)?;
    Ok(beginning::check(stream, &dump.header))
}

fn check_size(device: &str, dump: &CrashDump) -> Result<()> {
    if dump.size() == 0 {
        return Err(Error::Format(format!("{device}: no byte of the dump is where its headers say")));
    }
    Ok(())
}

fn wrong_key(device: &str) -> Error {
    Error::Format(format!(
        "{device}: not a dump after decryption; the key may belong to another dump, or the dump is damaged"
    ))
}

/// Copies the key block into a file that has no name yet.
fn key_file(volume: &ByteSource, device: &str, dump: &CrashDump, directory: &SaveDirectory) -> Result<OutputFile> {
    let file = directory.new_file()?;
    let written = file.file().write_all(&key(volume, device, dump)?);
    written.map_err(|source| Error::io("write in", directory.path(), source))?;
    Ok(file)
}
