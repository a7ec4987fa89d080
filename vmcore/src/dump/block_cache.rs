//! Blocks of a dump that were read or decompressed before, as many as fit.

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

    /// A block, which is loaded if it is not there.
    pub(super) fn get(&self, number: u64, load: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Arc<[u8]>> {
        self.blocks.get_or_insert_with(&number, || load().map(Arc::from))
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
        for _ in 0..2 {
            let mut loaded = 0;
            for number in 0..3 {
                let bytes = cache.get(number, || {
                    loaded += 1;
                    Ok(vec![7; 100])
                });
                assert_eq!(*bytes.unwrap(), [7; 100]);
            }
            assert!(loaded == 3 || loaded == 0);
        }
        for number in 0..1000 {
            cache.get(number, || Ok(vec![0; 50])).unwrap();
            assert!(cache.blocks.weight() <= 400);
        }
        // What cannot be loaded is asked for again.
        let failed = cache.get(5000, || Err(io::ErrorKind::NotFound.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(*cache.get(5000, || Ok(vec![1])).unwrap(), [1]);
        cache.clear();
        assert_eq!(*cache.get(5000, || Ok(vec![2])).unwrap(), [2]);
    }
}
