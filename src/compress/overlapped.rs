//! Writing by another thread, so that a slow disk or network does not hold up the work.

use super::KIB;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread;
use vmcore::bounds::head;

/// Bytes that are handed to the writing thread at once.
pub(super) const BLOCK: usize = 512 * KIB;
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
        let taken = head(bytes, BLOCK.saturating_sub(self.block.len()));
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
