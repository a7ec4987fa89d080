//! What memtool takes for the largest dumps: machines of many TiB, 100,000 threads, 1,000,000 ranges; and what it reads of a
//! dump for little. `tools/bench` runs it. All inputs are made for it, sparse where they can be, and removed.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark that fails is seen to fail"
)]

#[allow(dead_code, reason = "other benchmarks use the rest")]
mod measure;
#[path = "measure/pairs.rs"]
mod pairs;
#[path = "measure/processor.rs"]
mod processor;
#[path = "measure/ranges.rs"]
mod ranges;
#[allow(dead_code, reason = "tests use the rest")]
#[path = "measure/threads.rs"]
mod threads;

use clap::Parser;
use measure::{Cost, Job, Names, Result, Sink, length, minidump, program, remove, text};
use memtool::output_file::scratch;
use pairs::Pairs;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::memory::Memory;
use vmcore::progress::Progress;
use vmcore::units::rough_size;
use vmcore_synth::Arch;
use vmcore_synth::typed_kernel::TypedKernel;

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const THREADS: u64 = 100_000;
const RANGES: u64 = 1_000_000;
const READS: u64 = 1_000_000;
const ZEROS: &[u8] = &[0; PAGE as usize];

/// Measure the largest dumps
///
/// Exits with 1 if a goal is missed or a command failed.
#[derive(Parser)]
#[command(bin_name = "cargo bench --bench scale --", max_term_width = 80)]
struct Arguments {
    #[command(flatten)]
    pairs: Pairs,
    /// Only inputs with this word in their names; may be given more than once
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// The program to measure, in place of the one built with this
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_memtool"), hide_default_value = true)]
    memtool: PathBuf,
}

/// Makes an input, measures, and removes it.
type Measure = fn(&Bench) -> Result<()>;

/// What is measured, by the input's name.
const INPUTS: [(&str, Measure); 8] = [
    ("12 TiB", Bench::huge_machine),
    ("64 GiB sparse", Bench::sparse),
    ("core", Bench::core),
    ("tables", Bench::tables),
    ("threads", Bench::threads),
    ("ranges", Bench::ranges),
    ("seekable", Bench::seekable),
    ("random", Bench::random),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.pairs.bench {
        println!("nothing is measured: tools/bench does that, or cargo bench --bench scale");
        return ExitCode::SUCCESS;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench/scale");
    fs::create_dir_all(&folder).unwrap();
    let bench = Bench { folder, memtool: arguments.memtool, rounds: arguments.pairs.rounds, missed: false.into() };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{} rounds, medians, {processors} processors", bench.rounds);
    println!("{:<44} {:>16} {:>14}", "WHAT", "MEASURED", "GOAL");
    for (name, measure) in INPUTS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        if let Err(why) = measure(&bench) {
            println!("{name}: failed: {why}");
            bench.missed.set(true);
        }
    }
    fs::remove_dir_all(&bench.folder).unwrap();
    if bench.missed.get() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Bench {
    folder: PathBuf,
    memtool: PathBuf,
    rounds: u32,
    /// Whether a goal was missed.
    missed: std::cell::Cell<bool>,
}

/// A number that shall not be larger, or not smaller.
enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing was promised.
    None,
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn row(&self, what: &str, measured: f64, unit: &str, goal: &Goal) {
        let (is_met, goal) = match goal {
            Goal::AtMost(most) => (measured <= *most, format!("<= {most} {unit}")),
            Goal::AtLeast(least) => (measured >= *least, format!(">= {least} {unit}")),
            Goal::None => (true, "-".to_owned()),
        };
        self.missed.set(self.missed.get() || !is_met);
        let verdict = if is_met { "ok" } else { "below" };
        println!("{what:<44} {:>16} {goal:>14}  {verdict}", format!("{measured:.3} {unit}"));
    }

    /// A row of processors' time, which tells more than seconds where others use the machine.
    fn processor(&self, what: &str, costs: &[Cost]) {
        let seconds = median(costs.iter().map(|cost| cost.processor).collect());
        self.row(&format!("{what}: processor"), seconds, "s", &Goal::None);
    }

    /// A row of memory.
    fn peak(&self, what: &str, costs: &[Cost], limit: Option<u64>) {
        let peak = costs.iter().map(|cost| cost.peak).max().unwrap_or(0);
        let is_met = limit.is_none_or(|limit| peak <= limit);
        self.missed.set(self.missed.get() || !is_met);
        let goal = limit.map_or_else(|| "-".to_owned(), |limit| format!("<= {}", rough_size(limit)));
        let verdict = if is_met { "ok" } else { "above" };
        println!("{:<44} {:>16} {goal:>14}  {verdict}", format!("{what}: memory"), rough_size(peak));
    }

    fn job(&self, command: &str) -> Result<Job> {
        let mut names = vec![("memtool", text(&self.memtool)), ("folder", text(&self.folder))];
        names.extend(["cp", "sync", "minidump-to-elf"].map(|name| (name, program(name))));
        Job::new(command, &Names(names), &text(&self.path("out"))?)
    }

    /// Runs a command as often as there are rounds, and once before that; whatever it makes is removed.
    fn costs(&self, command: &str) -> Result<Vec<Cost>> {
        let job = self.job(command)?;
        let run = |_| {
            let cost = job.cost();
            remove(&self.path("out"))?;
            cost
        };
        run(0)?;
        (0..self.rounds).map(run).collect()
    }

    /// A row of a command's time, and one of its memory.
    fn command(&self, what: &str, command: &str, seconds: &Goal, limit: Option<u64>) -> Result<()> {
        let costs = self.costs(command)?;
        self.row(what, median(costs.iter().map(|cost| cost.seconds).collect()), "s", seconds);
        self.processor(what, &costs);
        self.peak(what, &costs, limit);
        Ok(())
    }

    /// Seconds until a command's first byte of output.
    fn first_byte(&self, arguments: &[&str]) -> Result<f64> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.memtool.display());
        let start = Instant::now();
        let mut child = Command::new(&self.memtool)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut byte = [0];
        let read = child.stdout.take().unwrap().read_exact(&mut byte);
        let seconds = start.elapsed().as_secs_f64();
        child.kill().and_then(|()| child.wait()).map_err(failed)?;
        read.map(|()| seconds).map_err(failed)
    }

    fn huge_machine(&self) -> Result<()> {
        let path = self.path("huge");
        minidump::make_12_tib(&path).map_err(|error| error.to_string())?;
        let (one_second, limit) = (Goal::AtMost(1.0), Some(100 * MIB));
        self.command("minidump of 12 TiB: inspect", "{memtool} inspect -q {folder}/huge", &one_second, limit)?;
        let name = text(&path)?;
        let arguments = ["convert", "-q", &name, "-", "--format", "lime"];
        let times = (0..self.rounds).map(|_| self.first_byte(&arguments)).collect::<Result<Vec<f64>>>()?;
        self.row("minidump of 12 TiB: first byte of LiME", median(times), "s", &one_second);
        remove(&path)
    }

    fn sparse(&self) -> Result<()> {
        let path = self.path("sparse");
        minidump::make_islands(&path, 64 * GIB).map_err(|error| error.to_string())?;
        File::open(&path).and_then(|file| file.sync_all()).map_err(|error| error.to_string())?;
        let theirs = self.job("{cp} {folder}/sparse {out} && {sync} {out}")?;
        let out = self.path("out");
        for format in ["elf", "lime"] {
            let ours = format!("{{memtool}} convert -q {{folder}}/sparse {{out}} --format {format} --force");
            let ours = self.job(&ours)?;
            // Has what is read in the page cache.
            ours.time(Sink::File, &out)?;
            let pair = |_| (ours.time(Sink::File, &out).unwrap(), theirs.time(Sink::File, &out).unwrap());
            let (ours, theirs) = pairs::median(self.rounds, pair);
            let what = format!("64 GiB sparse to {format}, beside cp, sync");
            self.row(&what, theirs / ours, "x", &Goal::AtLeast(0.9));
            self.row(&format!("64 GiB sparse to {format}"), ours, "s", &Goal::None);
        }
        remove(&path)
    }

    /// Beside the program that libfbsdvmcore has for that, if it is there.
    fn core(&self) -> Result<()> {
        let what = "1 GiB to elf, beside minidump-to-elf, sync";
        let theirs = match self.job("{minidump-to-elf} {folder}/full {folder}/kernel {out} && {sync} {out}") {
            Ok(theirs) => theirs,
            Err(why) => {
                println!("{what}: not measured: {why}");
                return Ok(());
            }
        };
        let ours = self.job("{memtool} convert -q {folder}/full {out} --format elf --force")?;
        let [path, kernel, out] = ["full", "kernel", "out"].map(|name| self.path(name));
        minidump::make_full(&path, GIB).map_err(|error| error.to_string())?;
        fs::write(&kernel, TypedKernel::new(Arch::Amd64).image()).map_err(|error| error.to_string())?;
        // Has what is read in the page cache.
        ours.time(Sink::File, &out)?;
        let pair = |_| (ours.time(Sink::File, &out).unwrap(), theirs.time(Sink::File, &out).unwrap());
        let (ours, theirs) = pairs::median(self.rounds, pair);
        self.row(what, theirs / ours, "x", &Goal::AtLeast(1.0));
        remove(&kernel)?;
        remove(&path)
    }

    fn tables(&self) -> Result<()> {
        const SIZE: u64 = 4 * GIB;
        let path = self.path("mapped");
        minidump::make_scattered(&path, SIZE).map_err(|error| error.to_string())?;
        File::open(&path).and_then(length).map_err(|error| error.to_string())?;
        let costs = self.costs("{memtool} inspect -q --verify {folder}/mapped")?;
        let speeds = costs.iter().map(|cost| SIZE as f64 / GIB as f64 / cost.seconds).collect();
        self.row("inspect --verify of 4 GiB from cache", median(speeds), "GiB/s", &Goal::AtLeast(2.0));
        self.processor("inspect --verify", &costs);
        self.peak("inspect --verify", &costs, None);
        remove(&path)
    }

    fn threads(&self) -> Result<()> {
        let (dump, image) = (self.path("vmcore"), self.path("kernel"));
        let plan = threads::Plan {
            size: 2 * GIB,
            processes: THREADS / 10,
            threads_of_each: 10,
            together: 1,
            // Pages that are neighbours belong to others.
            stride: 4 * PAGE,
        };
        threads::make(&dump, &image, &plan).map_err(|error| error.to_string())?;
        for (what, command) in [
            ("ps of 10,000 processes", "ps"),
            ("ps of 100,000 threads", "ps --threads"),
            ("stack --all of 100,000 threads", "stack --all"),
            ("stack --all --group", "stack --all --group"),
        ] {
            let command = format!("{{memtool}} {command} -q --core {{folder}}/vmcore --kernel {{folder}}/kernel");
            self.command(what, &command, &Goal::None, None)?;
        }
        remove(&dump)?;
        remove(&image)
    }

    fn ranges(&self) -> Result<()> {
        let failed = |error: std::io::Error| error.to_string();
        ranges::make_lime(&self.path("lime"), RANGES).map_err(failed)?;
        let none = &Goal::None;
        self.command("LiME of 1,000,000 ranges: inspect", "{memtool} inspect -q {folder}/lime", none, None)?;
        let convert = "{memtool} convert -q {folder}/lime - --format raw";
        self.command("LiME of 1,000,000 ranges: to raw", convert, none, None)?;
        remove(&self.path("lime"))?;
        ranges::make_elf(&self.path("elf"), RANGES as u32).map_err(failed)?;
        self.command("ELF of 1,000,000 ranges: inspect", "{memtool} inspect -q {folder}/elf", none, None)?;
        let convert = "{memtool} convert -q {folder}/elf - --format raw";
        self.command("ELF of 1,000,000 ranges: to raw", convert, none, None)?;
        remove(&self.path("elf"))?;
        let device = File::create(self.path("device")).and_then(|file| file.set_len(RANGES * PAGE));
        device.map_err(failed)?;
        ranges::make_list(&self.path("list"), RANGES).map_err(failed)?;
        let dump =
            "{memtool} dump -q --device {folder}/device --segments {folder}/list --manifest {folder}/manifest --force";
        self.command("manifest of 1,000,000 ranges: dump", dump, none, None)?;
        ["device", "list", "manifest"].iter().try_for_each(|name| remove(&self.path(name)))
    }

    /// A dump whose pages are no zeros, in frames as memtool's outputs have them. It is compressed as it is made: there is no room
    /// for it as it is before that.
    fn seekable(&self) -> Result<()> {
        let failed = |error: std::io::Error| error.to_string();
        let (plain, image, dump) = (self.path("plain"), self.path("kernel"), self.path("vmcore.zst"));
        // In 250 places, as a kernel's allocator has them in slabs.
        let plan = threads::Plan { size: 16 * GIB, processes: 200, threads_of_each: 9, together: 8, stride: 60 * MIB };
        let pages_at = threads::make(&plain, &image, &plan).map_err(failed)?;
        compress(&plain, pages_at, &dump).map_err(failed)?;
        remove(&plain)?;
        let size = fs::metadata(&dump).map_err(failed)?.len();
        let costs = self.costs("{memtool} ps --threads -q --core {folder}/vmcore.zst --kernel {folder}/kernel")?;
        let seconds = median(costs.iter().map(|cost| cost.seconds).collect());
        self.row("ps of a seekable dump of 16 GiB", seconds, "s", &Goal::AtMost(1.0));
        // The kernel's image is read, too.
        let image_size = fs::metadata(&image).map_err(failed)?.len();
        let read = costs.iter().map(|cost| cost.read.saturating_sub(image_size)).max().unwrap_or(0);
        let what = format!("ps: read of its {}", rough_size(size));
        self.row(&what, read as f64 / size as f64 * 100.0, "%", &Goal::AtMost(1.0));
        self.processor("ps of a seekable dump of 16 GiB", &costs);
        self.peak("ps of a seekable dump of 16 GiB", &costs, None);
        remove(&dump)?;
        remove(&image)
    }

    /// Reads of 8 bytes by one thread, at places that the cache of pages has room for, and all over a GiB.
    fn random(&self) -> Result<()> {
        let path = self.path("mapped");
        minidump::make_scattered(&path, GIB).map_err(|error| error.to_string())?;
        let volume = ByteSource::open(&path).map_err(|error| error.to_string())?;
        let memory = DumpedMemory::open(volume, None, scratch(&self.folder), &Progress::default())
            .map_err(|error| error.to_string())?;
        for (what, within) in [("random reads of 8 bytes in 8 MiB", 8 * MIB), ("random reads of 8 bytes in 1 GiB", GIB)]
        {
            let mut bytes = [0; 8];
            let run = |_| {
                processor::time(|| {
                    places(within).for_each(|place| memory.fill(place, &mut bytes).unwrap());
                })
            };
            let mut times: Vec<f64> = (0..=self.rounds).map(run).collect();
            times.remove(0);
            let speed = READS as f64 / median(times) / 1e6;
            self.row(what, speed, "M/s", &Goal::AtLeast(1.0));
        }
        remove(&path)
    }
}

/// Places of eight bytes, the same in every run.
fn places(within: u64) -> impl Iterator<Item = u64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..READS).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % (within / 8) * 8
    })
}

/// Compresses a dump in frames with a table of them (`zstd_seekable_compression_format.md` of zstd). Pages that are zero from
/// a place on are noise in the output: of each frame, two pages are unlike.
fn compress(path: &Path, from: u64, out: &Path) -> std::io::Result<()> {
    const FRAME: usize = 256 << 10;
    let (file, mut out) = (File::open(path)?, BufWriter::new(File::create(out)?));
    let length = file.metadata()?.len();
    let mut frame = vec![0; FRAME];
    let mut compressor = zstd::bulk::Compressor::new(1)?;
    let mut table = Vec::new();
    for at in (0..length).step_by(FRAME) {
        let bytes = &mut frame[..(length - at).min(FRAME as u64) as usize];
        file.read_exact_at(bytes, at)?;
        let noise: Vec<u8> =
            places(u64::MAX).take(2 * PAGE as usize / 8).flat_map(|word| (word ^ at).to_le_bytes()).collect();
        let unlike = noise.chunks_exact(PAGE as usize).cycle();
        let pages = bytes.chunks_exact_mut(PAGE as usize).zip((at..).step_by(PAGE as usize)).zip(unlike);
        for ((page, _), noise) in pages.filter(|((page, place), _)| *place >= from && **page == *ZEROS) {
            page.copy_from_slice(noise);
        }
        let packed = compressor.compress(bytes)?;
        out.write_all(&packed)?;
        table.extend([packed.len(), bytes.len()].map(|size| (size as u32).to_le_bytes()));
    }
    let count = (table.len() / 2) as u32;
    let entries = table.concat();
    out.write_all(&[0x184d_2a5e, entries.len() as u32 + 9].map(u32::to_le_bytes).concat())?;
    out.write_all(&entries)?;
    out.write_all(&count.to_le_bytes())?;
    out.write_all(&[0])?;
    out.write_all(&0x8f92_eab1_u32.to_le_bytes())?;
    out.flush()
}
