//! Zstandard in frames that can be read alone, compressed side by side, with a table at the end of where each is: the
//! seekable format (`contrib/seekable_format/zstd_seekable_compression_format.md` of zstd). The table is in a frame
//! that decompressors pass over, so each of them reads the whole as one stream.
//!
//! What is written never ends with a frame before it is finished: the last bytes of each come with the next. So a
//! stream that was cut off does not look whole, although its frames would.

use super::Level;
use super::{KIB, MIB};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use vmcore::bounds::{head, saturating_u32, split_at_most};
use zeekstd::SeekTable;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Bytes that go into a frame: whoever wants one page decompresses so much. Smaller ones would make the whole larger.
pub(super) const FRAME: usize = 256 * KIB;
/// The logarithm of [`FRAME`]: matches are not looked for farther away in larger frames either.
const WINDOW_LOG: u32 = 18;
/// A long stream has larger frames, so that its table stays small beside it: each time after so many, twice as large.
const FRAMES_OF_A_SIZE: u64 = 1 << 20;
/// The largest.
const LARGEST: usize = MIB;
/// Threads at most. With their tables, inputs and outputs they take less than 160 MiB at every level.
const WORKERS: usize = 16;
/// Bytes of a frame that are written only when it is known what comes behind it: its checksum.
const WITHHELD: usize = 4;

/// The compressed frame of a block.
type Packed = io::Result<Vec<u8>>;

/// A block to be compressed, and where its frame goes.
struct Block {
    bytes: Vec<u8>,
    frame: SyncSender<Packed>,
}

/// A writer that compresses blocks to frames.
pub(super) struct Frames<W> {
    sink: W,
    /// For what no thread compresses.
    compressor: Compressor<'static>,
    /// What is not enough for a frame yet.
    block: Vec<u8>,
    /// Frames that are being compressed, in order, with the lengths of their blocks.
    pending: VecDeque<(u32, Receiver<Packed>)>,
    workers: Workers,
    /// Where the frames are; `None` if there are too many for a table.
    table: Option<SeekTable>,
    frames: u64,
    /// The end of the last frame.
    withheld: Vec<u8>,
}

impl<W: Write> Frames<W> {
    pub(super) fn new(sink: W, level: Level, processors: NonZeroUsize) -> io::Result<Self> {
        Ok(Self {
            sink,
            compressor: compressor(level)?,
            block: Vec::new(),
            pending: VecDeque::new(),
            workers: Workers::new(level, processors)?,
            table: Some(SeekTable::new()),
            frames: 0,
            withheld: Vec::new(),
        })
    }

    #[cfg(test)]
    pub(super) fn sink(&self) -> &W {
        &self.sink
    }

    /// Bytes that go into the next frame.
    fn size(&self) -> usize {
        size_of_frame(self.frames.saturating_add(self.pending.len() as u64))
    }

    /// Hands the block over to be compressed; then writes frames that are done, and waits for one if too many are not.
    fn end_block(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.block);
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let Some(blocks) = &self.workers.blocks else {
            let frame = self.compressor.compress(&bytes)?;
            return self.write_frame(length, &frame);
        };
        let (frame, packed) = sync_channel(1);
        blocks.send(Block { bytes, frame }).map_err(|_| gone())?;
        self.pending.push_back((length, packed));
        while let Some((length, packed)) = self.pending.front() {
            let length = *length;
            let frame = if self.pending.len() > 2 * self.workers.threads.len() {
                packed.recv().map_err(|_| gone())??
            } else {
                match packed.try_recv() {
                    Ok(frame) => frame?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Err(gone()),
                }
            };
            self.pending.pop_front();
            self.write_frame(length, &frame)?;
        }
        Ok(())
    }

    /// Compresses what there is, and writes all frames.
    fn write_pending(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        while let Some((length, packed)) = self.pending.pop_front() {
            let frame = packed.recv().map_err(|_| gone())??;
            self.write_frame(length, &frame)?;
        }
        Ok(())
    }

    fn write_frame(&mut self, length: u32, frame: &[u8]) -> io::Result<()> {
        let size = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if let Some(table) = &mut self.table
            && table.log_frame(size, length).is_err()
        {
            self.table = None;
        }
        self.frames += 1;
        let (now, later) = split_at_most(frame, frame.len().saturating_sub(WITHHELD) as u64);
        self.sink.write_all(&self.withheld)?;
        self.sink.write_all(now)?;
        self.withheld.clear();
        self.withheld.extend_from_slice(later);
        Ok(())
    }

    /// Writes what is left, and the table, and hands back the sink.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_pending()?;
        if self.frames == 0 {
            // What begins with a table alone is not known for Zstandard.
            let frame = self.compressor.compress(&[])?;
            self.write_frame(0, &frame)?;
        }
        self.sink.write_all(&self.withheld)?;
        if let Some(table) = self.table {
            let mut table = table.into_serializer();
            let mut buffer = [0; 8 * KIB];
            loop {
                let length = table.write_into(&mut buffer);
                if length == 0 {
                    break;
                }
                self.sink.write_all(head(&buffer, length))?;
            }
        }
        Ok(self.sink)
    }
}

impl<W: Write> Write for Frames<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.size();
        let taken = head(bytes, size.saturating_sub(self.block.len()));
        self.block.reserve_exact(size.saturating_sub(self.block.len()));
        self.block.extend_from_slice(taken);
        if self.block.len() >= size {
            self.end_block()?;
        }
        Ok(taken.len())
    }

    /// Ends a frame, all of whose bytes can then be decompressed; its checksum is withheld.
    fn flush(&mut self) -> io::Result<()> {
        self.write_pending()?;
        self.sink.flush()
    }
}

/// Bytes that go into the frame with this number.
pub(super) fn size_of_frame(number: u64) -> usize {
    FRAME << saturating_u32(number / FRAMES_OF_A_SIZE).min(LARGEST.ilog2() - FRAME.ilog2())
}

/// A worker ended before its time.
fn gone() -> io::Error {
    io::Error::other("a thread that compresses ended")
}

fn compressor(level: Level) -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(level.get().into())?;
    compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    compressor.include_checksum(true)?;
    Ok(compressor)
}

/// Threads that compress. They end when they are dropped.
struct Workers {
    /// `None` where there are no threads, and the caller's compresses.
    blocks: Option<Sender<Block>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    fn new(level: Level, processors: NonZeroUsize) -> io::Result<Self> {
        // One gains nothing: what it would overlap with is writing, and that has its own thread.
        let count = match processors.get().min(WORKERS) {
            1 => 0,
            count => count,
        };
        let (blocks, to_do) = channel::<Block>();
        let to_do = Arc::new(Mutex::new(to_do));
        let mut threads = Vec::new();
        for _ in 0..count {
            let to_do = Arc::clone(&to_do);
            let mut compressor = compressor(level)?;
            let work = move || {
                loop {
                    let next = to_do.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Block { bytes, frame }) = next else { break };
                    // Who waits for it may have given up.
                    let _ = frame.send(compressor.compress(&bytes));
                }
            };
            match thread::Builder::new().name("compress".to_owned()).spawn(work) {
                Ok(thread) => threads.push(thread),
                // Fewer do it, too.
                Err(_) => break,
            }
        }
        let blocks = (!threads.is_empty()).then_some(blocks);
        Ok(Self { blocks, threads })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.blocks = None;
        for thread in self.threads.drain(..) {
            // A panic has been told by the frame that did not come.
            let _ = thread.join();
        }
    }
}
