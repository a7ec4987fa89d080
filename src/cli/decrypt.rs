//! `memtool decrypt`: an encrypted kernel dump, decrypted.

use super::custody::CustodyArguments;
use super::encryption::{IdentityArguments, RecipientArguments, encrypted_to};
use super::{Context, Inputs, Verdict, whole_number};
use clap::Args;
use memtool::compress;
use memtool::custody::{self, DumpState};
use memtool::decrypt::write_decrypted;
use memtool::dump::sink::Packing;
use memtool::dump_input;
use memtool::encryption::Recipients;
use memtool::encryption::input::Unlock;
use memtool::files;
use memtool::files::{Input, open_nonblocking};
use memtool::free_space::FreeSpace;
use memtool::observer::{Phase, observe_bytes};
use memtool::output_file::{self, OutputFile, temporary_directory};
use memtool::save::directory::suffix;
use memtool::{Error, Result};
use serde::Serialize;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use vmcore::bounds::{filled, head};
use vmcore::decrypt::{Decrypter, Encryption, KeyBlock, PrivateKey};
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Content, Depth, Inspection, inspect};
use vmcore::kerneldump::Compression;
use vmcore::progress::Progress;
use vmcore::text::Name;
use vmcore::units::rough_size;

#[derive(Args)]
#[command(
    after_help = "A dump that the kernel has compressed stays compressed. The private key is an RSA key in PEM format without a passphrase."
)]
pub struct Arguments {
    /// The encrypted dump, such as vmcore_encrypted.0; '-' is standard input, also of the two keys
    #[arg(required_unless_present = "number", conflicts_with = "number")]
    encrypted: Option<PathBuf>,
    /// The file to write, which appears only when complete
    #[arg(value_name = "OUTPUT", required_unless_present_any = ["number", "output"])]
    out: Option<PathBuf>,
    /// The same as OUTPUT
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["out", "number"])]
    output: Option<PathBuf>,
    /// The private key for the public key given to dumpon(8)
    #[arg(short, long, value_name = "FILE")]
    private_key: PathBuf,
    /// The dump's key, such as key.0
    #[arg(short, long, value_name = "FILE", required_unless_present = "number", conflicts_with = "number")]
    key: Option<PathBuf>,
    /// Decrypt the dump of this number: vmcore_encrypted.N with key.N to vmcore.N, with suffix .gz or .zst if it is compressed
    #[arg(short, long, value_name = "N", value_parser = |text: &str| whole_number(text, 0, u32::MAX))]
    number: Option<u32>,
    /// The directory of the dump
    #[arg(short, long, value_name = "DIR", requires = "number", default_value = "/var/crash")]
    dir: PathBuf,
    #[command(flatten)]
    recipients: RecipientArguments,
    #[command(flatten)]
    identities: IdentityArguments,
    #[command(flatten)]
    custody: CustodyArguments,
    /// Do not check in advance whether the dump fits
    #[arg(long)]
    no_space_check: bool,
    /// Replace the output if it exists
    #[arg(short, long)]
    force: bool,
}

/// By so many bytes at its beginning it is told what a dump is that cannot be read back.
const BEGINNING: usize = 1 << 20;

/// Where the parts are.
struct Files {
    encrypted: PathBuf,
    key: PathBuf,
    output: Destination,
}

/// Where the decrypted dump goes.
enum Destination {
    /// A file.
    File(PathBuf),
    /// A directory of dumps, where its name tells how it is compressed, and whether it is encrypted to recipients.
    Directory { path: PathBuf, number: u32, is_encrypted: bool },
}

impl Destination {
    /// The names that the dump can have.
    fn names(&self) -> Vec<PathBuf> {
        let compressions = [Compression::None, Compression::Gzip, Compression::Zstd];
        match self {
            Self::File(path) => vec![path.clone()],
            Self::Directory { .. } => compressions.iter().map(|compression| self.name(*compression)).collect(),
        }
    }

    /// The name of a dump that is compressed so.
    fn name(&self, compression: Compression) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Directory { path, number, is_encrypted } => {
                path.join(numbered("vmcore", *number, compression, *is_encrypted))
            }
        }
    }

    /// The name without what tells how it is compressed.
    fn plain_name(&self) -> PathBuf {
        self.name(Compression::None)
    }

    fn create(&self, replace: bool) -> Result<OutputFile> {
        match self {
            Self::File(path) => OutputFile::create(path, replace),
            Self::Directory { path, .. } => OutputFile::create_in(path),
        }
    }

    /// Gives a file its name, and tells it.
    fn commit(&self, file: OutputFile, compression: Compression, replace: bool) -> Result<PathBuf> {
        match self {
            Self::File(_) => file.commit()?,
            Self::Directory { number, is_encrypted, .. } => {
                file.commit_as(&numbered("vmcore", *number, compression, *is_encrypted), replace)?
            }
        }
        Ok(self.name(compression))
    }
}

/// A name in a directory of dumps.
fn numbered(stem: &str, number: u32, compression: Compression, is_encrypted: bool) -> String {
    format!("{stem}.{number}{}", suffix(compression, is_encrypted))
}

#[derive(Serialize)]
struct Document {
    input: Name,
    output: Name,
    encryption: Encryption,
    /// Bytes that were written.
    size: u64,
    /// What the dump was recognised as.
    kind: &'static str,
    /// How it is compressed.
    compression: Compression,
    /// Who can decrypt the output.
    recipients: Option<Vec<String>>,
}

impl Arguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        let private_key = Some(&self.private_key);
        let files =
            [("ENCRYPTED", self.encrypted.as_ref()), ("--key", self.key.as_ref()), ("--private-key", private_key)];
        files.into_iter().chain(self.recipients.inputs()).chain(self.identities.inputs()).collect()
    }

    fn files(&self) -> Option<Files> {
        if let Some(number) = self.number {
            let file = |stem: &str| self.dir.join(numbered(stem, number, Compression::None, false));
            let is_encrypted = self.recipients.is_given();
            let output = Destination::Directory { path: self.dir.clone(), number, is_encrypted };
            return Some(Files { encrypted: file("vmcore_encrypted"), key: file("key"), output });
        }
        let output = Destination::File(self.out.clone().or_else(|| self.output.clone())?);
        Some(Files { encrypted: self.encrypted.clone()?, key: self.key.clone()?, output })
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let files = arguments.files().ok_or_else(|| Error::Refused("no dump is given".to_owned()))?;
    let Files { encrypted, key, output: destination } = &files;
    let target = &destination.plain_name();
    destination.names().iter().try_for_each(|name| output_file::check(name, arguments.force))?;
    let beginning = arguments.custody.derived(context, encrypted, None)?;
    if let Some(beginning) = &beginning {
        destination.names().iter().try_for_each(|name| custody::check_begin(name, beginning))?;
    }
    let recipients = arguments.recipients.read()?;
    let identities = arguments.identities.read(context)?;
    let private_key = private_key(context, &arguments.private_key)?;
    let block = key_block(key)?;
    let dump_key = private_key.unlock(&block)?;
    drop(private_key);
    let unlock = Unlock { identities: &identities, scratch: &temporary_directory() };
    let source = Source::open(encrypted, unlock, context)?;
    let length = source.length();
    if let Some(length) = length.filter(|_| !arguments.no_space_check) {
        let space = FreeSpace::beside(target)?;
        if let Some(why) = space.shortage(length, length) {
            let target = target.display();
            return Err(Error::Refused(format!(
                "the dump does not fit into {target}: {why}; --no-space-check tries anyway"
            )));
        }
        space.warn_of_reserve(length, context);
    }
    let output = destination.create(arguments.force)?;
    let (name, _) = files::in_order(encrypted);
    let Copied { first, size } = observe_bytes(context, Phase::Decrypting, length, |progress| match source {
        Source::Volume(volume) => {
            let part = volume.part(0, volume.length(), progress);
            copy(Decrypter::new(dump_key, part), name, &output, &recipients)
        }
        Source::Input(input) => copy(Decrypter::new(dump_key, input.read(progress)), name, &output, &recipients),
    })?;
    if size == 0 {
        return Err(Error::Format(format!("{} is empty", name.display())));
    }
    let inspection = match recipients.is_empty() {
        true => ByteSource::from_file(output.file()).and_then(|written| recognise(&written)),
        // What was written cannot be read back; of the rest of it nothing is known.
        false => recognise(&ByteSource::from_bytes(first)).map(|found| Inspection { damage: Vec::new(), ..found }),
    };
    let inspection = inspection.map_err(|source| Error::io("read", target, source))?;
    let target = destination.commit(output, inspection.compression, arguments.force)?;
    if let Some(beginning) = beginning {
        let state = DumpState::read(&target, context)?;
        custody::begin(&target, &state, &beginning, None)?;
    }
    let document = Document {
        input: encrypted.as_path().into(),
        output: target.as_path().into(),
        encryption: block.encryption,
        size,
        kind: kind(&inspection.content),
        compression: inspection.compression,
        recipients: recipients.public_keys(),
    };
    report(context, &document, &inspection, &recipients)?;
    Ok(Verdict::Done)
}

/// What an encrypted dump is read from, once and in order.
enum Source {
    Volume(ByteSource),
    Input(Input),
}

impl Source {
    fn open(encrypted: &Path, unlock: Unlock<'_>, context: &mut Context) -> Result<Self> {
        match files::is_standard_input(encrypted) && unlock.identities.is_empty() {
            true => Input::open(encrypted).map(Self::Input),
            false => dump_input::open_unlocked(encrypted, unlock, context).map(Self::Volume),
        }
    }

    /// Its bytes, where that is known beforehand.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Volume(volume) => Some(volume.length()),
            Self::Input(input) => input.length(),
        }
    }
}

/// What was decrypted.
struct Copied {
    /// The first bytes.
    first: Vec<u8>,
    /// Bytes that were written.
    size: u64,
}

/// A reader that keeps its first bytes.
struct Beginning<R> {
    inner: R,
    first: Vec<u8>,
}

impl<R: Read> Read for Beginning<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.first.extend_from_slice(head(filled(buffer, read)?, BEGINNING - self.first.len().min(BEGINNING)));
        Ok(read)
    }
}

/// Decrypts into the file.
fn copy(from: impl Read, encrypted: &Path, output: &OutputFile, recipients: &Recipients) -> Result<Copied> {
    let file = output.file().try_clone().map_err(|source| Error::Io { what: "write the dump".to_owned(), source })?;
    let packing = Packing { compression: compress::Compression::None, recipients };
    let mut from = Beginning { inner: from, first: Vec::new() };
    let size = write_decrypted(&mut from, encrypted, file, packing)?;
    Ok(Copied { first: from.first, size })
}

/// Looks at what came out, as far as its headers go.
fn recognise(decrypted: &ByteSource) -> io::Result<Inspection> {
    inspect(decrypted, Depth::Pages, &Progress::default())
}

/// Reads the dump's key.
fn key_block(path: &Path) -> Result<KeyBlock> {
    if files::is_standard_input(path) {
        let (name, _) = files::in_order(path);
        return Ok(KeyBlock::from_opened(name, files::open_in_order(path)?)?);
    }
    Ok(KeyBlock::read(path, open_nonblocking)?)
}

/// Reads a private key. Whoever else can read it can read every dump.
pub fn private_key(context: &mut Context, path: &Path) -> Result<PrivateKey> {
    if files::is_standard_input(path) {
        let (name, _) = files::in_order(path);
        return Ok(PrivateKey::from_opened(name, files::open_in_order(path)?)?);
    }
    let private_key = PrivateKey::read(path, open_nonblocking)?;
    if path.metadata().is_ok_and(|metadata| metadata.mode() & 0o044 != 0) {
        context.warn(&format!("{} is readable by other users, who can decrypt every dump with it", path.display()));
    }
    Ok(private_key)
}

/// The word for it in JSON, as `inspect` has it.
fn kind(content: &Content) -> &'static str {
    match content {
        Content::Minidump(_) => "minidump",
        Content::Elf(_) => "elf",
        Content::Text(_) => "text",
        Content::Lime(_) => "lime",
        Content::Image(_) => "image",
        Content::Encrypted => "encrypted",
        Content::Unknown => "unknown",
    }
}

fn report(context: &mut Context, document: &Document, inspection: &Inspection, recipients: &Recipients) -> Result<()> {
    let Document { output, encryption, size, compression, .. } = document;
    if let Some(damage) = inspection.damage.first() {
        context.warn(&format!("{output}: damaged: {damage}"));
    } else if inspection.content == Content::Unknown {
        context.warn(&format!("{output}: not a dump after decryption; the key may belong to another dump"));
    }
    if context.out.is_json() {
        context.out.document_of("memtool.decrypt", "image", document)?;
    } else if !context.global.quiet {
        let compressed = match compression {
            Compression::None => String::new(),
            compression => format!(", compressed with {}", compression.name()),
        };
        let (size, encryption, dump) = (rough_size(*size), encryption.name(), inspection.content.name());
        let encrypted = encrypted_to(recipients);
        context.out.line(&format!("{output}: {size}, decrypted with {encryption}; {dump}{compressed}{encrypted}"))?;
    }
    Ok(())
}
