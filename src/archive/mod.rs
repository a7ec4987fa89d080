//! An archive of crashes: a directory, or a folder of an object store, that has each crash once. The objects are the truth;
//! the index is there for speed, and can be made from them at any time.
//!
//! - [`names`]: what the objects are called; [`time`]: the times;
//! - [`index`]: the rows of the index as Parquet; [`record`]: what is known of a crash;
//! - [`contents`]: the index as it is in an archive; [`groups`]: crashes by their bugs;
//! - [`candidate`]: a dump that is to be added, and [`add`] does that; [`get`]: back into a directory;
//! - [`prune`]: what is not kept; [`maintain`]: the index merged, or made anew.

pub mod add;
pub mod candidate;
pub mod contents;
pub mod get;
pub mod groups;
pub mod index;
pub mod maintain;
pub mod names;
pub mod prune;
pub mod record;
pub mod time;
