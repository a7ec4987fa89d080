//! `memtool decrypt`: an encrypted kernel dump, decrypted.

use super::{Context, Inputs, Verdict, whole_number};
use clap::Args;
use memtool::decrypt::write_decrypted;
use memtool::files;
use memtool::files::{Input, open_nonblocking};
use memtool::free_space::FreeSpace;
use memtool::observer::{Phase, observe_bytes};
use memtool::output_file::{self, OutputFile};
use memtool::{Error, Result};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
    /// Do not check in advance whether the dump fits
    #[arg(long)]
    no_space_check: bool,
    /// Replace the output if it exists
    #[arg(short, long)]
    force: bool,
}

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
    /// A directory of dumps, where its name tells how it is compressed.
    Directory { path: PathBuf, number: u32 },
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
            Self::Directory { path, number } => path.join(numbered("vmcore", *number, compression)),
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
            Self::Directory { number, .. } => file.commit_as(&numbered("vmcore", *number, compression), replace)?,
        }
        Ok(self.name(compression))
    }
}

/// A name in a directory of dumps.
fn numbered(stem: &str, number: u32, compression: Compression) -> String {
    format!("{stem}.{number}{}", compression.suffix())
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
}

impl Arguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        let private_key = Some(&self.private_key);
        vec![("ENCRYPTED", self.encrypted.as_ref()), ("--key", self.key.as_ref()), ("--private-key", private_key)]
    }

    fn files(&self) -> Option<Files> {
        if let Some(number) = self.number {
            let file = |stem: &str| self.dir.join(numbered(stem, number, Compression::None));
            let output = Destination::Directory { path: self.dir.clone(), number };
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
    let private_key = private_key(context, &arguments.private_key)?;
    let block = key_block(key)?;
    let dump_key = private_key.unlock(&block)?;
    drop(private_key);
    let source = Source::open(encrypted)?;
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
    let size = observe_bytes(context, Phase::Decrypting, length, |progress| match source {
        Source::Volume(volume) => {
            copy(Decrypter::new(dump_key, volume.part(0, volume.length(), progress)), name, &output)
        }
        Source::Input(input) => copy(Decrypter::new(dump_key, input.read(progress)), name, &output),
    })?;
    if size == 0 {
        return Err(Error::Format(format!("{} is empty", name.display())));
    }
    let inspection = recognise(output.file()).map_err(|source| Error::io("read", target, source))?;
    let target = destination.commit(output, inspection.compression, arguments.force)?;
    let document = Document {
        input: encrypted.as_path().into(),
        output: target.as_path().into(),
        encryption: block.encryption,
        size,
        kind: kind(&inspection.content),
        compression: inspection.compression,
    };
    report(context, &document, &inspection)?;
    Ok(Verdict::Done)
}

/// What an encrypted dump is read from, once and in order.
enum Source {
    Volume(ByteSource),
    Input(Input),
}

impl Source {
    fn open(encrypted: &Path) -> Result<Self> {
        match files::is_standard_input(encrypted) {
            true => Input::open(encrypted).map(Self::Input),
            false => files::open_dump(encrypted).map(Self::Volume),
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

/// Decrypts into the file, and tells how many bytes that were.
fn copy(from: impl Read, encrypted: &Path, output: &OutputFile) -> Result<u64> {
    let file = output.file().try_clone().map_err(|source| Error::Io { what: "write the dump".to_owned(), source })?;
    write_decrypted(from, encrypted, file)
}

/// Looks at what came out, as far as its headers go.
fn recognise(decrypted: &File) -> io::Result<Inspection> {
    inspect(&ByteSource::from_file(decrypted)?, Depth::Pages, &Progress::default())
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
        Content::Encrypted => "encrypted",
        Content::Unknown => "unknown",
    }
}

fn report(context: &mut Context, document: &Document, inspection: &Inspection) -> Result<()> {
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
        context.out.line(&format!("{output}: {size}, decrypted with {encryption}; {dump}{compressed}"))?;
    }
    Ok(())
}
