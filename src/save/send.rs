//! A crash dump that is saved elsewhere than in a directory of dumps: in an object store, on another host, in a file.
//!
//! In a folder of a store it is called `vmcore.HOST.TIME`, by its header, with `info.HOST.TIME`, and `key.HOST.TIME` if it is
//! encrypted: a store has no `bounds` that machines could take numbers from. Under a name that is given, the others are
//! beside it, with `.info` and `.key` at the end. The key is there first and the information last.
//!
//! An object says of itself which dump it is. So a dump whose machine was ended after it was sent and before it was cleared
//! is not sent twice.

use super::copy::{Copied, copy, key, stream};
use super::directory::suffix;
use super::verify::{beginning_of, verify};
use super::{CrashDump, Options, Treatment, check_size, info, wrong_key};
use crate::compress;
use crate::dump::destination::Destination;
use crate::dump::sink::{Packing, with_sink};
use crate::error::{Error, Result};
use crate::files::with_ending;
use crate::observer::{Observer, Phase, observe_bytes};
use crate::output_file::OutputFile;
use crate::remote::{self, Address, Delivered, Settings};
use crate::sha256;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Damage, Depth};
use vmcore::kerneldump::Compression;
use vmcore::units::utc_of_seconds;

/// Where the files of a dump go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The dump.
    pub core: Destination,
    /// What is known of it; a stream has no place for that.
    pub info: Option<Destination>,
    /// The key of an encrypted dump.
    pub key: Option<Destination>,
}

/// A dump that was sent, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentDump {
    /// Where it is.
    pub places: Places,
    /// Bytes that were sent; `None` where it was there already, or where nothing was to be done.
    pub size: Option<u64>,
    /// How it is compressed; of an encrypted one, not at all.
    pub compression: Compression,
    /// Whether its headers and its first bytes were right.
    pub good: bool,
    /// What is wrong with its first bytes: see [`super::SavedDump::beginning`].
    pub beginning: Option<Damage>,
    /// What may be wrong with it, as far as it was looked at.
    pub warnings: Vec<String>,
    /// How it reached another host.
    pub delivered: Option<Delivered>,
}

impl Places {
    /// Of a dump that goes there.
    fn new(to: &Destination, dump: &CrashDump, treatment: &Treatment, is_encrypted: bool) -> Self {
        let key = |place: &dyn Fn() -> Option<Destination>| if treatment.stays_encrypted { place() } else { None };
        if let Destination::Remote(Address::Object(folder)) = to
            && folder.is_folder()
        {
            let of = dump_name(dump);
            let within = |name: String| Destination::Remote(Address::Object(folder.within(&name)));
            return Self {
                core: within(format!("{}.{of}{}", treatment.stem, suffix(treatment.compression, is_encrypted))),
                info: Some(within(format!("info.{of}"))),
                key: key(&|| Some(within(format!("key.{of}")))),
            };
        }
        let beside = |ending: &str| match to {
            Destination::File(path) => Some(Destination::File(with_ending(path, ending))),
            Destination::Remote(address) => address.beside(ending).map(Destination::Remote),
            Destination::StandardOutput => None,
        };
        Self { core: to.clone(), info: beside(".info"), key: key(&|| beside(".key")) }
    }
}

/// `HOST.20260131T120000Z`, with nothing in the host's name that is in no host's name.
fn dump_name(dump: &CrashDump) -> String {
    let host = dump.header.hostname.to_string();
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' }).collect();
    let host = if host.trim_matches('.').is_empty() { "unknown" } else { &host };
    let seconds = dump.header.dump_time;
    // Stores and shells take no colons gladly.
    let time = utc_of_seconds(seconds).map_or_else(|| format!("{seconds}s"), |time| time.replace(['-', ':'], ""));
    format!("{host}.{time}")
}

/// What an object says of itself that is this dump, stored so.
fn identity(dump: &CrashDump, treatment: &Treatment, what: &str) -> String {
    let codes = [treatment.packed.code(), treatment.decompress.code()];
    let mut digits = sha256::of_bytes(&[&dump.found.uncleared, &codes[..], what.as_bytes()].concat());
    digits.truncate(32);
    digits
}

/// Says where [`send`] would store a dump.
///
/// # Errors
///
/// Those of [`send`], as far as they are known.
pub fn plan(device: &str, dump: &CrashDump, to: &Destination, options: &Options<'_>) -> Result<SentDump> {
    check_size(device, dump)?;
    let treatment = Treatment::new(dump, options);
    let places = places(device, to, dump, &treatment, options)?;
    let compression = treatment.compression;
    let (beginning, good) = (dump.beginning.clone(), dump.damage.is_empty() && dump.beginning.is_none());
    Ok(SentDump { places, size: None, compression, good, beginning, warnings: Vec::new(), delivered: None })
}

fn places(
    device: &str,
    to: &Destination,
    dump: &CrashDump,
    treatment: &Treatment,
    options: &Options<'_>,
) -> Result<Places> {
    to.check()?;
    let places = Places::new(to, dump, treatment, !options.recipients.is_empty());
    if treatment.stays_encrypted && places.key.is_none() {
        return Err(Error::Refused(format!(
            "{device}: the dump is encrypted, and its key would be lost: {to} has no place for it beside the dump; give a file or an object store, or decrypt the dump with --private-key"
        )));
    }
    Ok(places)
}

/// Saves a dump at a place. When this succeeds, it is there as far as that can be told, and the device can be cleared.
///
/// # Errors
///
/// Those of [`super::save`]; the place does not take it, or has something else of that name.
pub fn send(
    volume: &ByteSource,
    device: &str,
    dump: &CrashDump,
    (to, settings): (&Destination, &Settings),
    options: &Options<'_>,
    observer: &mut dyn Observer,
) -> Result<SentDump> {
    check_size(device, dump)?;
    let treatment = Treatment::new(dump, options);
    let places = places(device, to, dump, &treatment, options)?;
    let of = |what: &str| Settings { identity: Some(identity(dump, &treatment, what)), ..settings.clone() };
    let mut warnings = Vec::new();
    if options.verify && !dump.is_encrypted() {
        warnings = observe_bytes(observer, Phase::Verifying, dump.size(), |progress| {
            verify(volume, device, Compression::None, Depth::Full, progress)
        })?;
    }
    if let Some(place) = &places.key {
        let companion = Settings { resume: None, ..of("key") };
        store_small(place, &companion, &key(volume, device, dump)?)?;
    }
    let is_there = match &places.core {
        Destination::Remote(address) => remote::has(address, &of("dump"))?,
        Destination::File(_) | Destination::StandardOutput => false,
    };
    let sent = if is_there {
        Sent { size: None, beginning: dump.beginning.clone(), delivered: Some(Delivered::Stored) }
    } else {
        transfer(volume, device, dump, (&places.core, &of("dump")), &treatment, options, observer)?
    };
    let good = dump.damage.is_empty() && sent.beginning.is_none();
    if let Some(place) = &places.info {
        let parity = info::parity_word(&dump.found.uncleared);
        let text = info::text(&info::Subject { device, header: &dump.header, parity, good }, 0);
        let companion = Settings { resume: None, ..of("info") };
        // The dump is there; that is what matters.
        if let Err(error) = store_small(place, &companion, text.as_bytes()) {
            warnings.push(format!("what is known of it was not stored: {error}"));
        }
    }
    let Sent { size, beginning, delivered } = sent;
    Ok(SentDump { places, size, compression: treatment.compression, good, beginning, warnings, delivered })
}

/// What became of the dump itself.
struct Sent {
    size: Option<u64>,
    beginning: Option<Damage>,
    delivered: Option<Delivered>,
}

fn transfer(
    volume: &ByteSource,
    device: &str,
    dump: &CrashDump,
    (to, settings): (&Destination, &Settings),
    treatment: &Treatment,
    options: &Options<'_>,
    observer: &mut dyn Observer,
) -> Result<Sent> {
    let file = to.file().map(|path| OutputFile::create(path, false)).transpose()?;
    let at_most =
        if treatment.decompress == Compression::None { dump.size() } else { dump.size().max(dump.header.extent) };
    let at_most = options.recipients.size_of(at_most);
    let target = to.target(file.as_ref(), settings, Some(at_most))?;
    let phase = match treatment.phase(dump, options.recipients) {
        Phase::Copying if to.is_remote() => Phase::Sending,
        phase => phase,
    };
    let (Copied { bytes, first }, written, target) = observe_bytes(observer, phase, dump.size(), |progress| {
        let mut stream = stream(volume, device, dump, options.private_key, treatment.decompress, progress)?;
        let compression = compress::Compression::at_level(treatment.packed, options.level);
        let packing = Packing { compression, recipients: options.recipients };
        with_sink(target, packing, false, |sink| copy(&mut stream, device, sink))
    })?;
    treatment.check_copied(device, dump, bytes)?;
    let beginning = match treatment.stays_encrypted {
        true => None,
        false => beginning_of(&ByteSource::from_bytes(first), &dump.header, treatment.copied_as())?,
    };
    match &beginning {
        Some(_) if dump.is_encrypted() => return Err(wrong_key(device)),
        Some(damage) if options.verify => {
            return Err(Error::Format(format!("the dump on {device} is damaged: {damage}")));
        }
        _ => {}
    }
    let delivered = target.complete()?;
    file.map_or(Ok(()), OutputFile::commit)?;
    Ok(Sent { size: Some(written.bytes), beginning, delivered })
}

/// Stores what goes with a dump. It may be there from an attempt before.
fn store_small(to: &Destination, settings: &Settings, bytes: &[u8]) -> Result<()> {
    if let Destination::Remote(address) = to
        && remote::has(address, settings)?
    {
        return Ok(());
    }
    to.write(false, settings, |out| out.write_all(bytes)).map(drop)
}
