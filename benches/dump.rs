//! How fast `memtool dump` is beside other programs, and how much memory it needs. `tools/bench` runs it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that fails is seen to fail")]

#[allow(dead_code, reason = "other benchmarks use the rest")]
mod measure;

use clap::Parser;
use measure::dev_mem::DevMem;
use measure::minidump;
use measure::source::{self, VERSION};
use measure::{Job, Names, Result, Sink, length, program, remove, text};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vmcore::units::{exact_size, parse_size, rough_size};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Compare memtool's dumps with other programs': time, and the memory that they need
///
/// Exits with 1 if memtool is below a target or a command failed.
#[derive(Parser)]
#[command(bin_name = "tools/bench", max_term_width = 80)]
struct Arguments {
    /// Only rows with this word in them; may be given more than once
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Pairs of runs in a row
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The source file's size
    #[arg(long, default_value = "4g", value_parser = size)]
    size: u64,
    /// The program to measure, in place of the one built with this
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_memtool"), hide_default_value = true)]
    memtool: PathBuf,
    /// cargo bench says so; cargo test does not
    #[arg(long, hide = true)]
    bench: bool,
}

fn size(text: &str) -> Result<u64> {
    parse_size(text).map_err(|error| error.to_string())
}

/// What a command's output has to be.
enum Content {
    /// The source.
    Raw,
    /// The source and headers.
    WithHeaders,
    /// The source once decompressed; the smaller the better.
    Zstd,
}

struct Row {
    name: &'static str,
    against: &'static str,
    /// How many times as fast memtool shall be.
    target: f64,
    sink: Sink,
    content: Content,
    ours: &'static str,
    theirs: &'static str,
}

/// memdump is started in its namespace by nsenter, and so is memtool beside it, in the one it is in. To a file
/// the two are not compared: the disk decides, and memdump does not sync.
const ROWS: [Row; 10] = [
    Row {
        name: "raw to /dev/null",
        against: "dd bs=1m",
        target: 1.0,
        sink: Sink::Null,
        content: Content::Raw,
        ours: "{memtool} dump -q --device {source}",
        theirs: "{dd} if={source} bs=1048576 status=none",
    },
    Row {
        name: "raw to a file",
        against: "dd bs=1m conv=fsync",
        target: 1.0,
        sink: Sink::File,
        content: Content::Raw,
        ours: "{memtool} dump -q --device {source} -o {out} --force",
        theirs: "{dd} if={source} of={out} bs=1048576 conv=fsync status=none",
    },
    Row {
        name: "raw into a pipe",
        against: "dd bs=1m",
        target: 1.1,
        sink: Sink::Pipe,
        content: Content::Raw,
        ours: "{memtool} dump -q --device {source}",
        theirs: "{dd} if={source} bs=1048576 status=none",
    },
    Row {
        name: "raw to /dev/null",
        against: "memdump",
        target: 2.5,
        sink: Sink::Null,
        content: Content::Raw,
        ours: "{nsenter} --mount=/proc/self/ns/mnt {memtool} dump -q --device {source}",
        theirs: "{nsenter} --mount={namespace} {memdump}",
    },
    Row {
        name: "raw into a pipe",
        against: "memdump",
        target: 3.0,
        sink: Sink::Pipe,
        content: Content::Raw,
        ours: "{nsenter} --mount=/proc/self/ns/mnt {memtool} dump -q --device {source}",
        theirs: "{nsenter} --mount={namespace} {memdump}",
    },
    Row {
        name: "--zstd to /dev/null",
        against: "dd | zstd -T0 -3",
        target: 1.0,
        sink: Sink::Null,
        content: Content::Zstd,
        ours: "{memtool} dump -q --device {source} --zstd=3",
        theirs: "{dd} if={source} bs=1048576 status=none | {zstd} -q -T0 -3",
    },
    Row {
        name: "lime to /dev/null",
        against: "avml convert",
        target: 1.0,
        sink: Sink::Null,
        content: Content::WithHeaders,
        ours: "{memtool} dump -q --device {source} --format lime",
        theirs: "{avml} convert --source-format raw --format lime {source} {out}",
    },
    Row {
        name: "lime to a file",
        against: "avml convert, sync",
        target: 1.0,
        sink: Sink::File,
        content: Content::WithHeaders,
        ours: "{memtool} dump -q --device {source} --format lime -o {out} --force",
        theirs: "{avml} convert --source-format raw --format lime {source} {out} && {sync} {out}",
    },
    Row {
        name: "minidump to a core",
        against: "cp, sync",
        target: 0.8,
        sink: Sink::File,
        content: Content::WithHeaders,
        ours: "{memtool} convert -q {minidump} {out} --format elf --force",
        theirs: "{cp} {minidump} {out} && {sync} {out}",
    },
    Row {
        name: "minidump to lime",
        against: "cp, sync",
        target: 0.8,
        sink: Sink::File,
        content: Content::WithHeaders,
        ours: "{memtool} convert -q {minidump} {out} --format lime --force",
        theirs: "{cp} {minidump} {out} && {sync} {out}",
    },
];

/// Peak memory: name, command and limit.
const MEMORY: [(&str, &str, u64); 4] = [
    ("memory, raw", "{memtool} dump -q --device {source}", 64 * MIB),
    ("memory, --zstd", "{memtool} dump -q --device {source} --zstd=3", 256 * MIB),
    ("memory, minidump to a core", "{memtool} convert -q {minidump} - --format elf", 64 * MIB),
    ("memory, minidump to lime", "{memtool} convert -q {minidump} - --format lime", 64 * MIB),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("nothing is measured: tools/bench does that, or cargo bench --bench dump");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tools/bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn selects(&self, texts: &[&str]) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| texts.iter().any(|text| text.contains(word.as_str())))
    }
}

/// Whether no row is below its target.
fn run(arguments: &Arguments) -> Result<bool> {
    let rows: Vec<_> = ROWS.iter().filter(|row| arguments.selects(&[row.name, row.against])).collect();
    let memory: Vec<_> = MEMORY.iter().filter(|(name, ..)| arguments.selects(&[name])).collect();
    if rows.is_empty() && memory.is_empty() {
        return Err("no row has such a word in it".to_owned());
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("bench");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let memtool = arguments.memtool.canonicalize();
    let memtool = text(&memtool.map_err(|error| format!("{}: {error}", arguments.memtool.display()))?)?;

    let mut good = true;
    if !rows.is_empty() {
        good &= speed(arguments, &rows, &folder, &memtool)?;
    }
    if !memory.is_empty() {
        good &= peak_memory(&memory, &folder, &memtool)?;
    }
    Ok(good)
}

/// What the rows share.
struct Bench {
    names: Names,
    /// What is read, as far as it is there.
    sources: [PathBuf; 2],
    size: u64,
    rounds: u32,
    /// What commands write to, where that is a file.
    out: PathBuf,
}

fn speed(arguments: &Arguments, rows: &[&Row], folder: &Path, memtool: &str) -> Result<bool> {
    let source = folder.join(format!("source-{}-{VERSION}", arguments.size));
    if !source.exists() {
        eprintln!("making {}", source.display());
        source::make(&source, arguments.size).map_err(|error| format!("{}: {error}", source.display()))?;
    }
    let dump = folder.join(format!("minidump-{}-{VERSION}", arguments.size));
    if !dump.exists() && rows.iter().any(|row| row.ours.contains("{minidump}")) {
        eprintln!("making {}", dump.display());
        minidump::make(&dump, &source, arguments.size).map_err(|error| format!("{}: {error}", dump.display()))?;
    }
    let dev_mem = DevMem::new(&source);
    let avml = folder.join("tools/bin/avml");
    let mut names = vec![
        ("memtool", Ok(memtool.to_owned())),
        ("source", text(&source)),
        ("minidump", text(&dump)),
        ("namespace", dev_mem.as_ref().map(DevMem::path).map_err(String::clone)),
        (
            "avml",
            if avml.is_file() {
                text(&avml)
            } else {
                Err("there is no avml; tools/bench installs it where it can".to_owned())
            },
        ),
    ];
    names.extend(["cp", "dd", "memdump", "nsenter", "sync", "zstd"].map(|name| (name, program(name))));
    let (size, rounds) = (arguments.size, arguments.rounds);
    let bench = Bench { names: Names(names), sources: [source, dump], size, rounds, out: folder.join("out") };

    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{} in the page cache, {rounds} pairs of runs a row, {processors} processors", exact_size(size.into()));
    println!("{}", line(["DUMP", "AGAINST", "MEMTOOL", "OTHER", "RATIO", "MIN", "MAX", "TARGET"]));
    let mut good = true;
    for row in rows {
        let verdict = bench.compare(row);
        println!("{}", verdict.text);
        good &= verdict.good;
    }
    println!("Seconds, medians. RATIO: how many times as fast memtool was, the median of the pairs'.");
    Ok(good)
}

/// A line of the table.
struct Verdict {
    text: String,
    good: bool,
}

fn line([dump, against, memtool, other, ratio, min, max, target]: [&str; 8]) -> String {
    format!("{dump:<19} {against:<19} {memtool:>8} {other:>8} {ratio:>6} {min:>6} {max:>6} {target:>6}")
        .trim_end()
        .to_owned()
}

impl Bench {
    fn compare(&self, row: &Row) -> Verdict {
        let without = |why: String| format!("{:<19} {:<19} {why}", row.name, row.against);
        // A tool that is not there is not memtool's failure.
        for command in [row.ours, row.theirs] {
            if let Err(why) = self.job(command, &self.out) {
                return Verdict { text: without(format!("not compared: {why}")), good: true };
            }
        }
        self.measure(row).unwrap_or_else(|why| Verdict { text: without(format!("failed: {why}")), good: false })
    }

    fn job(&self, command: &str, out: &Path) -> Result<Job> {
        Job::new(command, &self.names, &text(out)?)
    }

    fn measure(&self, row: &Row) -> Result<Verdict> {
        let written = [self.written(row, row.ours)?, self.written(row, row.theirs)?];
        let target = if row.sink == Sink::File { &self.out } else { Path::new("/dev/null") };
        let jobs = [self.job(row.ours, target)?, self.job(row.theirs, target)?];
        self.warm(row)?;
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..self.rounds {
            let first = usize::from(round % 2 == 1);
            for side in [first, 1 - first] {
                times[side].push(jobs[side].time(row.sink, &self.out)?);
            }
        }
        let ratios: Vec<f64> = times[0].iter().zip(&times[1]).map(|(ours, theirs)| theirs / ours).collect();
        let seconds = times.map(|times| format!("{:.3}", median(&times)));
        let [ratio, min, max] = [median(&ratios), least(&ratios), most(&ratios)].map(|ratio| format!("{ratio:.2}"));
        // As it is printed: 0.996 of dd is dd's speed.
        let fast = ratio.parse::<f64>().unwrap() >= row.target;
        // Speed that is bought with size does not count. Frames of 256 KiB that can be read alone cost 1.3 %, which is what
        // reading compressed dumps in place costs; the rest of these two hundredths is the compressors' versions.
        let small = !matches!(row.content, Content::Zstd) || written[0] <= written[1] + written[1] / 50;
        let mut text =
            line([row.name, row.against, &seconds[0], &seconds[1], &ratio, &min, &max, &format!("{:.1}", row.target)]);
        text += if fast && small { "  ok" } else { "  below" };
        if matches!(row.content, Content::Zstd) {
            let [ours, theirs] = written.map(|bytes| bytes / MIB);
            text += &format!(": {ours} MiB, the other's {theirs} MiB");
        }
        Ok(Verdict { text, good: fast && small })
    }

    /// Has what a row reads in the page cache.
    fn warm(&self, row: &Row) -> Result<()> {
        let [source, dump] = &self.sources;
        let read_by_row = if row.ours.contains("{minidump}") { dump } else { source };
        let read = File::open(read_by_row).and_then(length);
        read.map(drop).map_err(|error| format!("{}: {error}", read_by_row.display()))
    }

    /// What a command writes, in bytes; fails if that is not what it has to be.
    fn written(&self, row: &Row, command: &str) -> Result<u64> {
        let written = self.job(command, &self.out)?.written(&self.out)?;
        let dumped = match row.content {
            Content::Raw => written,
            Content::WithHeaders => self.size.min(written),
            Content::Zstd => self.job(&format!("{command} | {{zstd}} -q -d -c"), &self.out)?.written(&self.out)?,
        };
        if dumped == self.size {
            return Ok(written);
        }
        Err(format!("{dumped} of {} bytes were dumped by {command}", self.size))
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Sizes of the sources, all hole.
const SPARSE: [u64; 2] = [GIB, 16 * GIB];

fn peak_memory(rows: &[&(&str, &str, u64)], folder: &Path, memtool: &str) -> Result<bool> {
    let cell = |text: &str| format!("{text:>9}");
    let line = |name: &str, cells: [&str; 3]| format!("{name:<39} {}", cells.map(cell).join(" "));
    let [small, large] = SPARSE.map(|size| exact_size(size.into()));
    println!("\n{}", line("PEAK MEMORY, BY THE SOURCE'S SIZE", [&small, &large, "LIMIT"]));
    let source = folder.join("sparse");
    let dump = folder.join("sparse-minidump");
    let names = Names(vec![("memtool", Ok(memtool.to_owned())), ("source", text(&source)), ("minidump", text(&dump))]);
    let mut good = true;
    for &&(name, command, limit) in rows {
        let job = Job::new(command, &names, "")?;
        let peaks = SPARSE.map(|size| {
            let sparse = File::create(&source).and_then(|file| file.set_len(size));
            sparse.map_err(|error| format!("{}: {error}", source.display()))?;
            minidump::make_sparse(&dump, size).map_err(|error| format!("{}: {error}", dump.display()))?;
            job.peak_memory()
        });
        let [small, large] = match peaks {
            [Ok(small), Ok(large)] => [small, large],
            [Err(why), _] | [_, Err(why)] => {
                println!("{name:<39} failed: {why}");
                good = false;
                continue;
            }
        };
        let verdict = if small.max(large) > limit {
            "above"
        } else if large > small + small / 10 + MIB {
            // More than it varies by from run to run.
            "grows"
        } else {
            "ok"
        };
        good &= verdict == "ok";
        println!("{}  {verdict}", line(name, [&rough_size(small), &rough_size(large), &exact_size(limit.into())]));
    }
    remove(&source)?;
    remove(&dump)?;
    Ok(good)
}
