//! An archive of crashes: a directory, or a folder of an object store, that has each crash once. The objects are the truth;
//! the index is there for speed, and can be made from them at any time.
//!
//! - [`names`]: what the objects are called; [`time`]: the times;
//! - [`index`]: the rows of the index as Parquet; [`record`]: what is known of a crash.

pub mod index;
pub mod names;
pub mod record;
pub mod time;
