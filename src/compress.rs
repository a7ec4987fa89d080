//! Compressing, and writing at the same time.
//!
//! An [`Encoder`] uses all processors, within a fixed amount of memory whatever their number. [`overlapped`]
//! gives it a thread that writes, so that a slow disk or network does not hold it up.

use crate::kerneldump;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread;
use zstd::stream::{raw, zio};
use zstd::zstd_safe::CParameter;

/// What a stream is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Nothing.
    #[default]
    None,
    /// gzip, at its default level and on one processor.
    Gzip,
    /// Zstandard, with a checksum, on all processors.
    Zstd(Level),
}

impl Compression {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd(_) => "zstd",
        }
    }
}

impl From<kerneldump::Compression> for Compression {
    /// The kernel's default levels would cost more than they gain here, so zstd gets its own.
    fn from(compression: kerneldump::Compression) -> Self {
        match compression {
            kerneldump::Compression::None => Self::None,
            kerneldump::Compression::Gzip => Self::Gzip,
            kerneldump::Compression::Zstd => Self::Zstd(Level::default()),
        }
    }
}

/// A level of Zstandard: more is slower and smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

/// A level that [`Level`] does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a zstd level is a number from {} to {}", Level::MIN, Level::MAX)]
pub struct LevelError;

impl Level {
    /// The fastest.
    pub const MIN: u8 = 1;
    /// The smallest; what zstd(1) has beyond it takes more memory to decompress.
    pub const MAX: u8 = 19;

    /// Checks a level.
    ///
    /// # Errors
    ///
    /// It is not in `MIN..=MAX`.
    pub const fn new(level: u8) -> Result<Self, LevelError> {
        if level < Self::MIN || level > Self::MAX { Err(LevelError) } else { Ok(Self(level)) }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Level {
    /// zstd's own: 3.
    fn default() -> Self {
        Self(3)
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        // What `parse` takes besides, such as +3, is no level.
        let level = text.parse().map_err(|_| LevelError).and_then(Self::new)?;
        if level.0.to_string() == text { Ok(level) } else { Err(LevelError) }
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Bytes that zstd may take at most. It leaves room for the rest of a process of 256 MiB.
const MEMORY: usize = 160 * MIB;

/// How one level is run.
struct Tuning {
    /// Bytes of one worker's tables.
    tables: usize,
    /// Bytes in which matches are looked for.
    window: usize,
    /// Bytes before its own that a worker reads for matches: `window >> (9 - overlap)`.
    overlap: u32,
    /// Logarithm of the chain table's length, where zstd's own does not leave room for two workers.
    chain_log: Option<u32>,
}

impl Tuning {
    /// Of zstd 1.5.7; a test compares it with the linked library.
    const fn from_level(level: Level) -> Self {
        let (tables, window_log, overlap) = match level.0 {
            1 => (569, 19, 6),
            2 => (761, 20, 6),
            3 => (1273, 21, 6),
            4 => (2553, 21, 6),
            5 | 6 => (3065, 21, 6),
            7 => (5625, 21, 6),
            8 => (5625, 21, 7),
            9 => (10_745, 22, 7),
            10 | 11 => (20_985, 22, 7),
            12 => (41_465, 22, 7),
            13 => (33_273, 22, 7),
            14 => (49_657, 22, 7),
            15 => (66_041, 22, 7),
            16 => (33_418, 22, 8),
            // zstd's own overlaps, 8 and 9, would ask for jobs too large for two workers.
            17 => (49_802, 23, 7),
            18 => (50_432, 23, 7),
            _ => (50_432, 23, 7),
        };
        // Half of zstd's own; the output grows by less than a thousandth.
        let chain_log = if level.0 == 19 { Some(23) } else { None };
        Self { tables: tables * KIB, window: 1 << window_log, overlap, chain_log }
    }

    const fn prefix(&self) -> usize {
        self.window >> (9 - self.overlap)
    }
}

/// How many workers compress, and how much each at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    /// Threads; 0 to compress in the caller's.
    workers: usize,
    /// Bytes of a job.
    job: usize,
}

impl Plan {
    /// Bytes at most: each worker's tables, and for each job there may be its input and its output. zstd's
    /// ring of input has room for three jobs more than there are workers.
    const fn memory(self, tuning: &Tuning) -> usize {
        self.workers * tuning.tables + (self.workers + 3) * 2 * self.job
    }

    /// As many workers as there are processors and memory allows, then jobs as large as it allows, up to
    /// zstd's own size: at their borders matches are lost.
    fn new(level: Level, processors: NonZeroUsize) -> Self {
        let tuning = Tuning::from_level(level);
        let fits = |plan: &Self| plan.memory(&tuning) <= MEMORY;
        let smallest = MIB.max(2 * tuning.prefix());
        let largest = MIB.max(4 * tuning.window);
        // More would not get their input fast enough.
        let processors = processors.get().min(64);
        let workers = (2..=processors).rev().find(|workers| fits(&Self { workers: *workers, job: smallest }));
        // A single worker gains nothing: what it would overlap with is writing, and that has its own thread.
        let Some(workers) = workers else { return Self { workers: 0, job: 0 } };
        let jobs = std::iter::successors(Some(smallest), |job| Some(job * 2)).take_while(|job| *job <= largest);
        let job = jobs.filter(|job| fits(&Self { workers, job: *job })).last().unwrap_or(smallest);
        Self { workers, job }
    }
}

/// A sink that takes something only while it is open. flate2's encoder ends its stream when it is dropped; of
/// a dump that failed nothing shall look whole.
#[derive(Debug)]
struct Gate<W> {
    sink: W,
    open: bool,
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open { self.sink.write(bytes) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

type Gzip<W> = flate2::write::GzEncoder<Gate<W>>;

/// Does something with a gzip encoder that may write.
fn with_open<W: Write, R>(encoder: &mut Gzip<W>, work: impl FnOnce(&mut Gzip<W>) -> R) -> R {
    encoder.get_mut().open = true;
    let result = work(encoder);
    encoder.get_mut().open = false;
    result
}

enum EncoderKind<W: Write> {
    None(W),
    Gzip(Gzip<W>),
    Zstd(zio::Writer<W, raw::Encoder<'static>>),
}

/// A writer that compresses what it is given into a sink. Dropped without [`Encoder::finish`], it leaves a
/// stream without an end.
pub struct Encoder<W: Write>(EncoderKind<W>);

impl<W: Write> Encoder<W> {
    /// Bytes that zstd takes at once.
    const INPUT: usize = 512 * KIB;
    /// Bytes that zstd puts out at once: more than it takes, so that nothing piles up in its workers.
    const OUTPUT: usize = MIB;

    /// Begins a stream.
    ///
    /// # Errors
    ///
    /// zstd cannot allocate its memory.
    pub fn new(sink: W, how: Compression) -> io::Result<Self> {
        Self::with_processors(sink, how, thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    /// Begins a stream that is compressed on at most this many processors.
    ///
    /// # Errors
    ///
    /// zstd cannot allocate its memory.
    pub fn with_processors(sink: W, how: Compression, processors: NonZeroUsize) -> io::Result<Self> {
        Ok(Self(match how {
            Compression::None => EncoderKind::None(sink),
            Compression::Gzip => {
                let gate = Gate { sink, open: false };
                EncoderKind::Gzip(flate2::write::GzEncoder::new(gate, flate2::Compression::default()))
            }
            Compression::Zstd(level) => {
                let encoder = zstd_encoder(level, Plan::new(level, processors))?;
                EncoderKind::Zstd(zio::Writer::new_with_capacity(sink, encoder, Self::OUTPUT))
            }
        }))
    }

    /// Ends the stream and hands back the sink, which is not flushed.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            EncoderKind::None(sink) => Ok(sink),
            EncoderKind::Gzip(mut encoder) => {
                with_open(&mut encoder, Gzip::try_finish)?;
                Ok(encoder.finish()?.sink)
            }
            EncoderKind::Zstd(mut writer) => {
                writer.finish()?;
                Ok(writer.into_inner().0)
            }
        }
    }
}

fn zstd_encoder(level: Level, plan: Plan) -> io::Result<raw::Encoder<'static>> {
    let too_large = |_| io::Error::from(io::ErrorKind::OutOfMemory);
    let tuning = Tuning::from_level(level);
    let mut encoder = raw::Encoder::new(level.0.into())?;
    encoder.set_parameter(CParameter::ChecksumFlag(true))?;
    if plan.workers > 0 {
        if let Some(chain_log) = tuning.chain_log {
            encoder.set_parameter(CParameter::ChainLog(chain_log))?;
        }
        encoder.set_parameter(CParameter::NbWorkers(plan.workers.try_into().map_err(too_large)?))?;
        encoder.set_parameter(CParameter::JobSize(plan.job.try_into().map_err(too_large)?))?;
        encoder.set_parameter(CParameter::OverlapSizeLog(tuning.overlap))?;
    }
    Ok(encoder)
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            EncoderKind::None(sink) => sink.write(bytes),
            EncoderKind::Gzip(encoder) => with_open(encoder, |encoder| encoder.write(bytes)),
            EncoderKind::Zstd(writer) => writer.write(bytes.get(..Self::INPUT).unwrap_or(bytes)),
        }
    }

    /// Ends a block, so that what was written so far can be decompressed: it costs size.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            EncoderKind::None(sink) => sink.flush(),
            EncoderKind::Gzip(encoder) => with_open(encoder, Write::flush),
            EncoderKind::Zstd(writer) => writer.flush(),
        }
    }
}

/// Bytes that are handed to the writing thread at once.
const BLOCK: usize = 512 * KIB;
/// Blocks there are at most: being filled, on their way and being written.
const BLOCKS: usize = 8;

/// What the writing thread is told to do.
enum ChunkOrder {
    Write(Vec<u8>),
    Flush,
}

/// A writer whose blocks are written by another thread; see [`overlapped`].
#[derive(Debug)]
pub struct Overlapped<'a> {
    block: Vec<u8>,
    orders: SyncSender<ChunkOrder>,
    /// Written blocks, to be filled again.
    written: Receiver<Vec<u8>>,
    flushed: Receiver<()>,
    failure: &'a OnceLock<io::Error>,
}

impl Overlapped<'_> {
    /// The thread is gone: why.
    fn failed(&self) -> io::Error {
        self.failure.get().map_or_else(|| io::ErrorKind::BrokenPipe.into(), same)
    }

    fn order(&self, order: ChunkOrder) -> io::Result<()> {
        self.orders.send(order).map_err(|SendError(_)| self.failed())
    }

    /// Hands the block over and takes a free one, as soon as there is one.
    fn hand_over(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        self.order(ChunkOrder::Write(block))?;
        self.block = self.written.recv().map_err(|_| self.failed())?;
        Ok(())
    }
}

impl Write for Overlapped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What was refused once stays refused.
        if self.failure.get().is_some() {
            return Err(self.failed());
        }
        let taken = bytes.get(..BLOCK.saturating_sub(self.block.len())).unwrap_or(bytes);
        // All at once: no block grows beyond its size.
        self.block.reserve_exact(BLOCK.saturating_sub(self.block.len()));
        self.block.extend_from_slice(taken);
        if self.block.len() >= BLOCK {
            self.hand_over()?;
        }
        Ok(taken.len())
    }

    /// Waits until all is written, and the sink flushed.
    fn flush(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.hand_over()?;
        }
        self.order(ChunkOrder::Flush)?;
        self.flushed.recv().map_err(|_| self.failed())
    }
}

/// The same error once more.
fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

/// Runs work on a writer that does not wait for the sink as long as no more than 4 MiB are on their way:
/// another thread writes them, in order. Hands back the sink, flushed, and the work's result.
///
/// # Errors
///
/// Those of the sink, which the work meets with its next write or flush: nothing is written after the first.
/// Or the system refuses another thread.
///
/// # Panics
///
/// Work or sink do.
pub fn overlapped<W: Write + Send, R>(mut sink: W, work: impl FnOnce(&mut Overlapped<'_>) -> R) -> io::Result<(W, R)> {
    let failure = OnceLock::new();
    let (orders, to_do) = sync_channel::<ChunkOrder>(BLOCKS);
    let (done, written) = sync_channel(BLOCKS);
    let (has_flushed, flushed) = sync_channel(1);
    for _ in 1..BLOCKS {
        // There is room for all of them.
        let _ = done.send(Vec::new());
    }
    let (sink, result) = thread::scope(|scope| {
        let failure = &failure;
        let write = move || {
            let mut obey = || -> io::Result<()> {
                for order in &to_do {
                    match order {
                        ChunkOrder::Write(mut block) => {
                            sink.write_all(&block)?;
                            block.clear();
                            // The producer may have gone; what it has handed over is written all the same.
                            let _ = done.send(block);
                        }
                        ChunkOrder::Flush => {
                            sink.flush()?;
                            let _ = has_flushed.send(());
                        }
                    }
                }
                sink.flush()
            };
            // Set before the channels close: who finds them closed finds the reason.
            if let Err(error) = obey() {
                let _ = failure.set(error);
            }
            sink
        };
        let writer = thread::Builder::new().name("writer".to_owned()).spawn_scoped(scope, write)?;
        let mut out = Overlapped { block: Vec::new(), orders, written, flushed, failure };
        let result = work(&mut out);
        let last = std::mem::take(&mut out.block);
        // An error is in `failure`.
        let _ = out.order(ChunkOrder::Write(last));
        drop(out);
        Ok::<_, io::Error>((writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), result))
    })?;
    failure.into_inner().map_or(Ok((sink, result)), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;
    use std::time::Duration;
    use zstd::zstd_safe::{CCtx, InBuffer, OutBuffer};

    const ENOSPC: i32 = 28;
    const EPIPE: i32 = 32;

    fn zstd(level: u8) -> Compression {
        Compression::Zstd(Level::new(level).unwrap())
    }

    /// Pages that are empty, text or noise, as memory is.
    fn memory_like(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut noise = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let mut bytes = Vec::new();
        while bytes.len() < length {
            match noise() % 3 {
                0 => bytes.resize(bytes.len() + 4096, 0),
                1 => (0..512).for_each(|line| bytes.extend(format!("{line:>8}").bytes())),
                _ => bytes.extend(std::iter::repeat_with(|| noise().to_le_bytes()[0]).take(4096)),
            }
        }
        bytes.truncate(length);
        bytes
    }

    fn compress(bytes: &[u8], how: Compression, processors: usize, piece: usize) -> Vec<u8> {
        let mut encoder = Encoder::with_processors(Vec::new(), how, processors.try_into().unwrap()).unwrap();
        for piece in bytes.chunks(piece) {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn decompress(bytes: &[u8], how: Compression) -> Vec<u8> {
        match how {
            Compression::None => bytes.to_vec(),
            Compression::Gzip => {
                let mut out = Vec::new();
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
                out
            }
            Compression::Zstd(_) => zstd::decode_all(bytes).unwrap(),
        }
    }

    #[test]
    fn what_is_compressed_is_decompressed() {
        let all = memory_like(9 * MIB + 1);
        for how in [Compression::None, Compression::Gzip, zstd(1), zstd(3), zstd(19)] {
            let lengths: &[usize] = match how {
                Compression::Zstd(Level(19)) => &[0, 1, 128 * KIB + 1, 4 * MIB + 1],
                _ => &[0, 1, 4095, 4096, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, BLOCK, MIB + 1, all.len()],
            };
            for &length in lengths {
                for processors in [1, 2, 7] {
                    let bytes = &all[..length];
                    let packed = compress(bytes, how, processors, 256 * KIB + 1);
                    assert!(decompress(&packed, how) == bytes, "{how:?}, {length}, {processors}");
                }
            }
        }
    }

    #[test]
    fn the_default_is_all_processors_and_level_3() {
        assert_eq!(Level::default(), Level::new(3).unwrap());
        let bytes = memory_like(MIB);
        let mut encoder = Encoder::new(Vec::new(), zstd(3)).unwrap();
        encoder.write_all(&bytes).unwrap();
        assert!(zstd::decode_all(&*encoder.finish().unwrap()).unwrap() == bytes);
    }

    #[test]
    fn a_zstd_stream_has_a_checksum() {
        for processors in [1, 2] {
            let bytes = memory_like(3 * MIB);
            let mut packed = compress(&bytes, zstd(1), processors, MIB);
            assert_eq!(packed[4] & 4, 4, "Content_Checksum_flag");
            *packed.last_mut().unwrap() ^= 1;
            assert!(zstd::decode_all(&*packed).unwrap_err().to_string().contains("checksum"));
        }
    }

    #[test]
    fn what_is_flushed_can_be_read() {
        for how in [Compression::None, Compression::Gzip, zstd(3)] {
            let mut encoder = Encoder::with_processors(Vec::new(), how, NonZeroUsize::new(2).unwrap()).unwrap();
            encoder.write_all(b"first").unwrap();
            encoder.flush().unwrap();
            let so_far = match &encoder.0 {
                EncoderKind::None(sink) => sink.clone(),
                EncoderKind::Gzip(encoder) => encoder.get_ref().sink.clone(),
                EncoderKind::Zstd(writer) => writer.writer().clone(),
            };
            let mut read = [0; 5];
            match how {
                Compression::None => so_far.as_slice().read_exact(&mut read).unwrap(),
                Compression::Gzip => flate2::read::GzDecoder::new(&*so_far).read_exact(&mut read).unwrap(),
                Compression::Zstd(_) => zstd::Decoder::new(&*so_far).unwrap().read_exact(&mut read).unwrap(),
            }
            assert_eq!(&read, b"first");
            encoder.write_all(b", second").unwrap();
            assert_eq!(decompress(&encoder.finish().unwrap(), how), b"first, second");
        }
    }

    #[test]
    fn levels_are_checked() {
        for level in ["0", "20", "-1", "256", "", "x", "3.0"] {
            assert_eq!(level.parse::<Level>(), Err(LevelError), "{level:?}");
        }
        for level in 1..=19 {
            assert_eq!(level.to_string().parse::<Level>().unwrap().get(), level);
        }
        assert_eq!(LevelError.to_string(), "a zstd level is a number from 1 to 19");
    }

    #[test]
    fn the_tuning_is_that_of_the_linked_zstd() {
        for level in 1..=19 {
            let tuning = Tuning::from_level(Level(level));
            let mut context = CCtx::create();
            context.set_parameter(CParameter::CompressionLevel(level.into())).unwrap();
            if let Some(chain_log) = tuning.chain_log {
                context.set_parameter(CParameter::ChainLog(chain_log)).unwrap();
            }
            let mut out = [0; 16];
            context.compress_stream(&mut OutBuffer::around(&mut out[..]), &mut InBuffer::around(b"x")).unwrap();
            // A context that is not a worker's has a window and buffers for two blocks too.
            let expected = tuning.tables + tuning.window + 256 * KIB;
            let actual = context.sizeof();
            assert!(actual.abs_diff(expected) < 16 * KIB, "level {level}: {actual}, not {expected}");
        }
    }

    #[test]
    fn every_plan_keeps_to_the_memory_there_is() {
        for level in (1..=19).map(Level) {
            let tuning = Tuning::from_level(level);
            assert_eq!(Plan::new(level, NonZeroUsize::MIN).workers, 0, "{level:?}");
            let mut before = 0;
            for processors in 2..=300 {
                let plan = Plan::new(level, NonZeroUsize::new(processors).unwrap());
                assert!(plan.memory(&tuning) <= MEMORY, "{level:?}, {processors}: {plan:?}");
                assert!((2.max(before)..=processors).contains(&plan.workers), "{level:?}, {processors}: {plan:?}");
                assert!(plan.job >= MIB.max(tuning.prefix()), "{level:?}, {processors}: {plan:?}");
                before = plan.workers;
            }
        }
        // As zstd -T2 does.
        assert_eq!(Plan::new(Level(3), NonZeroUsize::new(2).unwrap()), Plan { workers: 2, job: 8 * MIB });
    }

    /// Takes so many bytes, then fails; slowly, on request.
    struct Full {
        room: usize,
        errno: i32,
        taken: Vec<u8>,
        pause: Duration,
    }

    impl Full {
        fn new(room: usize, errno: i32) -> Self {
            Self { room, errno, taken: Vec::new(), pause: Duration::ZERO }
        }
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            thread::sleep(self.pause);
            let fits = bytes.len().min(self.room - self.taken.len());
            if fits == 0 && !bytes.is_empty() {
                return Err(io::Error::from_raw_os_error(self.errno));
            }
            self.taken.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes all that and finishes.
    fn run<W: Write>(sink: W, how: Compression, bytes: &[u8]) -> io::Result<W> {
        let mut encoder = Encoder::with_processors(sink, how, NonZeroUsize::new(2).unwrap())?;
        for piece in bytes.chunks(100_000) {
            encoder.write_all(piece)?;
        }
        encoder.finish()
    }

    #[test]
    fn errors_of_the_sink_come_out_as_they_are() {
        let bytes = memory_like(3 * MIB);
        for how in [Compression::None, Compression::Gzip, zstd(1), zstd(3)] {
            let whole = compress(&bytes, how, 2, 100_000);
            for (tenth, errno) in (0..10).zip([ENOSPC, EPIPE].into_iter().cycle()) {
                for room in [whole.len() * tenth / 10, whole.len() - 1 - tenth, tenth] {
                    let error = run(Full::new(room, errno), how, &bytes).err().unwrap();
                    assert_eq!(error.raw_os_error(), Some(errno), "{how:?}, {room}");
                    let outcome = overlapped(Full::new(room, errno), |out| {
                        if let Err(error) = run(out, how, &bytes) {
                            assert_eq!(error.raw_os_error(), Some(errno), "{how:?}, {room}");
                        }
                    });
                    assert_eq!(outcome.err().unwrap().raw_os_error(), Some(errno), "{how:?}, {room}");
                }
            }
            let (sink, result) =
                overlapped(Full::new(whole.len(), ENOSPC), |out| run(out, how, &bytes).map(drop)).unwrap();
            result.unwrap();
            assert!(decompress(&sink.taken, how) == bytes);
        }
    }

    #[test]
    fn an_encoder_that_is_dropped_ends_no_stream() {
        for how in [Compression::Gzip, zstd(3)] {
            let mut out = Vec::new();
            let mut encoder = Encoder::new(&mut out, how).unwrap();
            encoder.write_all(&memory_like(MIB)).unwrap();
            drop(encoder);
            let whole = match how {
                Compression::Gzip => flate2::read::GzDecoder::new(&*out).read_to_end(&mut Vec::new()).is_ok(),
                _ => zstd::decode_all(&*out).is_ok(),
            };
            assert!(!whole, "{how:?}");
        }
    }

    #[test]
    fn an_error_of_the_sink_is_that_of_every_later_write() {
        let outcome = overlapped(Full::new(BLOCK, ENOSPC), |out| {
            let error = std::iter::repeat_with(|| out.write_all(&[0; 4096])).find_map(Result::err).unwrap();
            assert_eq!(error.raw_os_error(), Some(ENOSPC));
            for _ in 0..3 {
                assert_eq!(out.write(b"x").unwrap_err().raw_os_error(), Some(ENOSPC));
                assert_eq!(out.flush().unwrap_err().raw_os_error(), Some(ENOSPC));
            }
        });
        assert_eq!(outcome.err().unwrap().raw_os_error(), Some(ENOSPC));
    }

    #[test]
    fn an_error_that_is_not_the_systems_keeps_its_kind_and_text() {
        struct Odd;
        impl Write for Odd {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::InvalidData, "odd"))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let is_odd = |error: io::Error| {
            assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::InvalidData, "odd".to_owned()));
        };
        let outcome = overlapped(Odd, |out| is_odd(out.write_all(b"x").and_then(|()| out.flush()).unwrap_err()));
        is_odd(outcome.err().unwrap());
    }

    #[test]
    fn a_flush_waits_until_all_is_written() {
        struct Shared<'a>(&'a std::sync::Mutex<Vec<u8>>);
        impl Write for Shared<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let seen = std::sync::Mutex::new(Vec::new());
        overlapped(Shared(&seen), |out| {
            for round in 1..=5 {
                out.write_all(&[round; BLOCK / 2]).unwrap();
                out.flush().unwrap();
                assert_eq!(seen.lock().unwrap().len(), usize::from(round) * BLOCK / 2);
            }
        })
        .unwrap();
    }

    #[test]
    fn work_that_fails_or_panics_ends_the_thread() {
        let (sink, result) = overlapped(Vec::new(), |out| {
            out.write_all(b"some").unwrap();
            Err::<(), _>("no more")
        })
        .unwrap();
        assert_eq!((sink, result), (b"some".to_vec(), Err("no more")));
        let panic = std::panic::catch_unwind(|| {
            let _ = overlapped(Vec::new(), |out| {
                out.write_all(b"some").unwrap();
                panic!("of the work");
            });
        });
        assert!(panic.is_err());
    }

    #[test]
    fn a_panic_of_the_sink_is_a_panic_of_the_caller() {
        struct Panics;
        impl Write for Panics {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                panic!("of the sink")
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let panic = std::panic::catch_unwind(|| {
            overlapped(Panics, |out| while out.write_all(&[0; 65536]).is_ok() {}).map(drop)
        });
        assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"of the sink"));
    }

    #[test]
    fn a_slow_sink_gets_all_in_order() {
        let bytes = memory_like(12 * BLOCK + 17);
        let mut sink = Full::new(bytes.len(), ENOSPC);
        sink.pause = Duration::from_millis(5);
        let (sink, ()) =
            overlapped(sink, |out| bytes.chunks(70_001).for_each(|piece| out.write_all(piece).unwrap())).unwrap();
        assert!(sink.taken == bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever the sizes of the pieces, and wherever the sink fails.
        #[test]
        fn any_pieces_arrive_or_the_error_does(
            lengths in prop::collection::vec(0..200_000_usize, 0..40),
            room in prop::option::of(0..3_000_000_usize),
            how in prop::sample::select(vec![Compression::None, Compression::Gzip, zstd(1), zstd(4)]),
            processors in 1..5_usize,
        ) {
            let bytes = memory_like(lengths.iter().sum());
            let outcome = overlapped(Full::new(room.unwrap_or(usize::MAX), ENOSPC), |out| -> io::Result<()> {
                let mut encoder = Encoder::with_processors(out, how, processors.try_into().unwrap())?;
                let mut rest = bytes.as_slice();
                for length in &lengths {
                    let (piece, tail) = rest.split_at(*length);
                    encoder.write_all(piece)?;
                    rest = tail;
                }
                encoder.finish().map(drop)
            });
            match outcome {
                Ok((sink, result)) => {
                    prop_assert!(result.is_ok());
                    prop_assert!(decompress(&sink.taken, how) == bytes);
                }
                Err(error) => {
                    prop_assert_eq!(error.raw_os_error(), Some(ENOSPC));
                    prop_assert!(room.is_some());
                }
            }
        }
    }
}
