//! Dumping memory: RAM only, and every page of it that can be read.
//!
//! A [`source::DumpSource`] is asked what can be read of it, which is a [`plan::Plan`], and [`dump`] reads and writes that.
//! The steps around it, which other dumps share, are a [`job::Job`]'s: to check names and room, to begin files, to write
//! into a [`sink::Target`], and to give the files their names. Some threads read while another writes, and compressing
//! has threads of its own.

pub mod converted;
pub mod destination;
pub mod job;
pub mod manifest;
pub mod plan;
pub mod sink;
pub mod source;

use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::output_file::{self, OutputFile};
use crate::remote::Delivered;
use crate::sha256;
use crate::signature::{SigningKey, signature_path};
use destination::MapDestination;
use job::{Companion, DumpSizes, Finished, Job, JobOptions};
use manifest::Manifest;
use plan::Plan;
use sink::Written;
use source::DumpSource;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use vmcore::chunks::ChunkReader;
use vmcore::format::map_file::MapFile;
use vmcore::format::unreadable::Unreadable;
use vmcore::format::writer::{Copied, ImageWriter, SparseWrite};
use vmcore::format::{About, Format, Layout, Space};
use vmcore::memory::Memory;
use vmcore::progress::Progress;
use vmcore::text::Name;
use vmcore::units::{Hex, counted};

/// What a dump did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpReport {
    /// Bytes of memory that were read.
    pub read: u64,
    /// What was written.
    pub written: Written,
    /// What could not be read.
    pub unreadable: Unreadable,
}

/// How memory is dumped.
#[derive(Debug, Clone)]
pub struct DumpOptions {
    /// The format of the dump.
    pub format: Format,
    /// Bytes to read at a time.
    pub buffer_size: usize,
    /// The device or image that is read, as the manifest names it.
    pub device: Name,
    /// Where the dump goes, and what goes with it.
    pub output: JobOptions,
    /// The key that signs the manifest, if there is one and it is to be signed.
    pub signing_key: Option<SigningKey>,
}

impl DumpOptions {
    /// The file of the manifest's signature.
    pub fn signature(&self) -> Option<PathBuf> {
        let manifest = self.output.companion.as_ref().filter(|_| self.signing_key.is_some())?;
        Some(signature_path(manifest.path()))
    }
}

/// A dump that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dumped {
    /// `freebsd`, `recorded` or `image`: what was dumped.
    pub host: &'static str,
    /// What was read, written, and could not be read.
    pub report: DumpReport,
    /// How it reached another host.
    pub delivered: Option<Delivered>,
    /// What it took.
    pub elapsed: Duration,
}

/// Dumps what is planned. The dump is where it belongs when it is complete, or not at all; of a stream that breaks, the
/// beginning has gone.
///
/// # Errors
///
/// Nothing is planned, or nothing of it can be read; the format cannot hold it; and those of the output. What else
/// cannot be read is no error: the report lists it.
///
/// ```no_run
/// use memtool::compress::Compression;
/// use memtool::dump::destination::Destination;
/// use memtool::dump::job::JobOptions;
/// use memtool::dump::source::{DumpRequest, DumpSource};
/// use memtool::dump::{DumpOptions, dump};
/// use memtool::encryption::Recipients;
/// use memtool::remote::Settings;
/// use memtool::host::{self, Selection};
/// use vmcore::format::{Format, Space};
///
/// let source = DumpSource::Host(host::open(&Selection::default())?.into());
/// let plan = source.plan(DumpRequest { space: Space::Physical, ranges: None, page_size: None, limit: None })?;
/// let output = JobOptions {
///     destination: Destination::File("ram.elf".into()),
///     remote: Settings::default(),
///     compression: Compression::None,
///     recipients: Recipients::nobody(),
///     map: None,
///     companion: None,
///     custody: None,
///     check_space: true,
///     replace: false,
/// };
/// let options =
///     DumpOptions { format: Format::Elf, buffer_size: 1 << 20, device: "/dev/mem".into(), output, signing_key: None };
/// let dumped = dump(source, &plan, &options, &mut ())?;
/// println!("{} bytes could not be read", dumped.report.unreadable.bytes());
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn dump(source: DumpSource, plan: &Plan, options: &DumpOptions, observer: &mut dyn Observer) -> Result<Dumped> {
    if plan.segments.is_empty() {
        return Err(Error::Refused(format!(
            "nothing to dump: by {}, nothing can be read; give addresses with --range or --segments, and --anywhere for any address",
            plan.segments_from
        )));
    }
    let signature = options.signature();
    check_signature(options, signature.as_deref())?;
    let job = Job::new(&options.output)?;
    let clock = Instant::now();
    let about = plan.about(source.kind(), SystemTime::now());
    let layout = Layout::new(options.format, &plan.segments, &about)?;
    let memory = source.memory(plan.space)?;
    warn_of_lost_addresses(plan, options, observer);
    let begun = job.begin(DumpSizes::from_layout(&layout, plan.total()), observer)?;
    let signature = signature.map(|path| OutputFile::create(&path, options.output.replace)).transpose()?;
    let dump = MemoryDump { memory: &*memory, plan, layout: &layout, buffer_size: options.buffer_size };
    let Finished { report, delivered, companion } =
        begun.write(plan.noun(), observer, |out, map, progress| dump.write(out, map, progress))?;
    if let Some(file) = companion {
        let signature = options.signing_key.as_ref().zip(signature);
        let text_sha256 = write_manifest(file, &manifest(plan, &about, &report, options), signature)?;
        options.output.begin_custody(&report.written, Some(text_sha256))?;
    }
    Ok(Dumped { host: about.host, report, delivered, elapsed: clock.elapsed() })
}

/// Warns of a raw dump that nobody will be able to interpret, while it can still be made otherwise.
fn warn_of_lost_addresses(plan: &Plan, options: &DumpOptions, observer: &mut dyn Observer) {
    let is_listed = options.output.map.is_some() || options.output.companion.is_some();
    if options.format != Format::Raw || is_listed || !plan.has_unlisted_offsets() {
        return;
    }
    let segments = match plan.runs().as_slice() {
        [(start, _)] => format!("the memory from {} on", Hex(*start)),
        several => format!("{} without the gaps between them", counted(several.len(), "range")),
    };
    let formats = match plan.space {
        Space::Physical => "--format elf or lime",
        Space::Kernel => "--format elf",
    };
    observer.warn(&format!(
        "this raw dump will not say which address is where: it is {segments}; {formats} records the addresses in the dump, -m or --manifest in a file"
    ));
}

fn manifest(plan: &Plan, about: &About, report: &DumpReport, options: &DumpOptions) -> Manifest {
    let output = manifest::Output {
        name: (&options.output.destination).into(),
        format: options.format,
        compression: options.output.compression.name().to_owned(),
        recipients: options.output.recipients.public_keys(),
        size: report.written.bytes,
        sha256: report.written.sha256.clone().unwrap_or_default(),
    };
    Manifest {
        bytes_read: report.read,
        bytes_unreadable: report.unreadable.bytes(),
        unreadable: report.unreadable.ranges().to_vec(),
        unreadable_unlisted_count: report.unreadable.not_listed(),
        ..Manifest::new(plan, about, options.device.clone(), output)
    }
}

/// Refuses a signature's file that another output is, or that is there.
fn check_signature(options: &DumpOptions, signature: Option<&Path>) -> Result<()> {
    let JobOptions { destination, map, companion, replace, .. } = &options.output;
    let outputs = [
        ("the output", destination.file()),
        ("its map", map.as_ref().and_then(MapDestination::file)),
        ("its manifest", companion.as_ref().map(Companion::path)),
        ("the manifest's signature", signature),
    ];
    if signature.is_some() { output_file::check_all(&outputs, *replace) } else { Ok(()) }
}

/// Writes a manifest, and its signature, which is in place first: no manifest is there without it. Tells the hash of the
/// manifest's text.
fn write_manifest(
    file: OutputFile,
    manifest: &Manifest,
    signature: Option<(&SigningKey, OutputFile)>,
) -> Result<String> {
    let failed = |file: &OutputFile, source| Error::io("write", file.target(), source);
    let mut text = Vec::new();
    manifest.write(&mut text).map_err(|source| failed(&file, source))?;
    file.file().write_all(&text).map_err(|source| failed(&file, source))?;
    if let Some((key, signature)) = signature {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let signed = key.sign(&text, file.target(), now)?;
        signature.file().write_all(signed.as_bytes()).map_err(|source| failed(&signature, source))?;
        signature.commit()?;
    }
    file.commit()?;
    Ok(sha256::of_bytes(&text))
}

/// Memory that is dumped.
pub struct MemoryDump<'a> {
    /// What is read.
    pub memory: &'a dyn Memory,
    /// Which addresses of it.
    pub plan: &'a Plan,
    /// How it is written.
    pub layout: &'a Layout,
    /// Bytes to read at a time.
    pub buffer_size: usize,
}

impl MemoryDump<'_> {
    /// Reads and writes the memory, and notes what was read in the map. The progress counts bytes of memory.
    ///
    /// # Errors
    ///
    /// Those of the output and of the map, and a buffer or page size that is not possible. What cannot be read is no
    /// error: the report lists it.
    pub fn write(
        &self,
        out: &mut dyn SparseWrite,
        map: Option<&mut MapFile<'_>>,
        progress: &Progress,
    ) -> Result<Copied> {
        let Self { memory, plan, layout, buffer_size } = *self;
        let reader = ChunkReader::new(memory, plan.page_size, buffer_size)?;
        out.write(layout.head())?;
        let mut image = ImageWriter::new(layout, plan.segments.iter().cloned(), out, map);
        reader.read(&plan.segments, |piece| {
            progress.add(image.write_chunk(piece)?);
            Ok(())
        })?;
        Ok(image.finish()?)
    }
}

#[cfg(test)]
mod tests;
