//! Blocks of a dump that were read or decompressed before, as many as fit.

use crate::bounds::head;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::io;
use std::sync::Arc;

#[derive(Clone)]
struct Bytes;

impl Weighter<u64, Arc<[u8]>> for Bytes {
    fn weight(&self, _: &u64, block: &Arc<[u8]>) -> u64 {
        (block.len() as u64).max(1)
    }
}

/// Blocks by their numbers. Several threads may ask for them; one of them gets a block that is not there.
pub(super) struct BlockCache {
    blocks: Cache<u64, Arc<[u8]>, Bytes>,
}

impl BlockCache {
    /// Keeps so many blocks of so many bytes at most, and of larger ones fewer.
    pub(super) fn new(blocks: usize, block: usize) -> Self {
        let bytes = (blocks as u64).saturating_mul(block as u64);
        // A block must fit into what one part has of it, so parts are for many small blocks only.
        let parts = (blocks / BLOCKS_OF_A_PART).clamp(1, PARTS);
        let options =
            OptionsBuilder::new().estimated_items_capacity(blocks).weight_capacity(bytes).shards(parts).build();
        let blocks = match options {
            Ok(options) => {
                Cache::with_options(options, Bytes, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            Err(_) => Cache::with_weighter(blocks, bytes, Bytes),
        };
        Self { blocks }
    }

    /// A block of so many bytes, which is loaded if it is not there: into the memory where it is kept. It is shorter if that
    /// fills less of it.
    pub(super) fn get(
        &self,
        number: u64,
        length: usize,
        load: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Arc<[u8]>> {
        self.blocks.get_or_insert_with(&number, || {
            let mut block: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
            let loaded = match Arc::get_mut(&mut block) {
                Some(bytes) => load(bytes)?,
                None => 0,
            };
            Ok(if loaded < block.len() { Arc::from(head(&block, loaded)) } else { block })
        })
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.blocks.clear();
    }
}

/// Threads that ask at the same time hardly wait for each other.
const PARTS: usize = 16;
const BLOCKS_OF_A_PART: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn what_fits_is_loaded_once_and_what_does_not_is_not_kept() {
        let cache = BlockCache::new(4, 100);
        for expected in [3, 0] {
            let mut loaded = 0;
            for number in 0..3 {
                let bytes = cache.get(number, 100, |bytes| {
                    loaded += 1;
                    bytes.fill(7);
                    Ok(bytes.len())
                });
                assert_eq!(*bytes.unwrap(), [7; 100]);
            }
            assert_eq!(loaded, expected);
        }
        for number in 0..1000 {
            cache.get(number, 50, |_| Ok(50)).unwrap();
            assert!(cache.blocks.weight() <= 400);
        }
        // What cannot be loaded is asked for again.
        let failed = cache.get(5000, 1, |_| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        let fill = |with: u8, count: usize| {
            move |bytes: &mut [u8]| {
                bytes.fill(with);
                Ok(count)
            }
        };
        assert_eq!(*cache.get(5000, 1, fill(1, 1)).unwrap(), [1]);
        cache.clear();
        assert_eq!(*cache.get(5000, 1, fill(2, 1)).unwrap(), [2]);
        // What ends early is kept as it is.
        assert_eq!(*cache.get(5001, 4, fill(3, 2)).unwrap(), [3, 3]);
        assert_eq!(*cache.get(5001, 4, fill(4, 4)).unwrap(), [3, 3]);
    }
}
