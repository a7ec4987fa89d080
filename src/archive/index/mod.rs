//! The index of an archive: one row for each crash, in Parquet, for engines that read that.
//!
//! - [`write()`]: rows to the bytes of an object, by the crate `parquet`, so that it is what others read;
//! - [`read()`]: such bytes to rows. Objects in a store are anybody's, and so the reader is strict: it takes what [`write()`]
//!   makes, plain pages that are uncompressed or compressed with zstd, and allocates no more than the bytes can hold;
//! - `thrift`: the structures that Parquet describes itself with.

mod read;
mod thrift;
mod write;

pub use read::read;
pub use write::write;

use super::names::Id;
use super::time::Time;
use vmcore::bounds::saturating_u64;

/// The version of the columns.
pub const VERSION: u32 = 1;
/// What says the version in an object's metadata.
const VERSION_KEY: &str = "memtool.archive.index";
/// No object of the index is larger, in bytes.
pub const MAX_OBJECT: u64 = 128 << 20;
/// What every object begins and ends with.
const MAGIC: &[u8; 4] = b"PAR1";

/// Why bytes are no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// They are the index of another version, or of another program.
    #[error("an index of version {}, and this memtool reads version {VERSION}", .0.as_deref().unwrap_or("unknown"))]
    OtherVersion(Option<String>),
    /// They are damaged.
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

/// What the index says of a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which crash it is.
    pub id: Id,
    /// The name of the host.
    pub host: Option<String>,
    /// See [`super::record::CrashRecord::crashed_at`].
    pub crashed_at: Time,
    /// The time of the dump, by the clock of the host.
    pub dumped_at: Option<Time>,
    /// When it was added.
    pub added_at: Time,
    /// The first line of the kernel's version.
    pub kernel_version: Option<String>,
    /// The build ID of the kernel.
    pub kernel_build_id: Option<String>,
    /// The architecture.
    pub architecture: Option<String>,
    /// What the kernel panicked with.
    pub panic: Option<String>,
    /// What tells its bug from others.
    pub fingerprint: Option<String>,
    /// Bytes of the dump before compression.
    pub dump_size: Option<u64>,
    /// Bytes of the dump in the archive.
    pub stored_size: u64,
    /// How it is compressed.
    pub compression: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The name of the dump in the archive.
    pub object: String,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    /// UTF-8.
    Text,
    /// Milliseconds since 1970, in UTC.
    Time,
    /// An integer of 64 bits.
    Count,
    /// Yes or no.
    Flag,
}

/// A column.
#[derive(Debug, Clone, Copy)]
struct Column {
    name: &'static str,
    of: Type,
    /// Whether a value may be unknown.
    is_optional: bool,
}

const fn always(name: &'static str, of: Type) -> Column {
    Column { name, of, is_optional: false }
}

const fn optional(name: &'static str, of: Type) -> Column {
    Column { name, of, is_optional: true }
}

/// The columns of version 1, in their order in objects.
const COLUMNS: [Column; 16] = [
    always("id", Type::Text),
    optional("host", Type::Text),
    always("crashed_at", Type::Time),
    optional("dumped_at", Type::Time),
    always("added_at", Type::Time),
    optional("kernel_version", Type::Text),
    optional("kernel_build_id", Type::Text),
    optional("architecture", Type::Text),
    optional("panic", Type::Text),
    optional("fingerprint", Type::Text),
    optional("dump_size", Type::Count),
    always("stored_size", Type::Count),
    always("compression", Type::Text),
    always("encrypted", Type::Flag),
    always("object", Type::Text),
    always("schema_version", Type::Count),
];

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell<T> {
    Text(Option<T>),
    Number(Option<i64>),
    Flag(bool),
}

/// Milliseconds since 1970.
fn millis(time: Time) -> i64 {
    count(time.seconds().saturating_mul(1000))
}

/// The time of milliseconds since 1970.
fn time_of(millis: i64) -> Option<Time> {
    Time::from_seconds(u64::try_from(millis).ok()? / 1000)
}

/// A number of bytes, as the index has it.
fn count(bytes: u64) -> i64 {
    bytes.min(i64::MAX.cast_unsigned()).cast_signed()
}

impl Row {
    /// Its values, in the order of [`COLUMNS`].
    fn cells(&self) -> [Cell<&str>; COLUMNS.len()] {
        let always = |text| Cell::Text(Some(text));
        [
            always(self.id.as_str()),
            Cell::Text(self.host.as_deref()),
            Cell::Number(Some(millis(self.crashed_at))),
            Cell::Number(self.dumped_at.map(millis)),
            Cell::Number(Some(millis(self.added_at))),
            Cell::Text(self.kernel_version.as_deref()),
            Cell::Text(self.kernel_build_id.as_deref()),
            Cell::Text(self.architecture.as_deref()),
            Cell::Text(self.panic.as_deref()),
            Cell::Text(self.fingerprint.as_deref()),
            Cell::Number(self.dump_size.map(count)),
            Cell::Number(Some(count(self.stored_size))),
            always(self.compression.as_str()),
            Cell::Flag(self.encrypted),
            always(self.object.as_str()),
            Cell::Number(Some(i64::from(VERSION))),
        ]
    }

    /// A row of such values; `None` if one of them cannot be.
    fn from_cells(mut next: impl FnMut() -> Option<Cell<String>>) -> Option<Self> {
        macro_rules! take {
            ($kind:ident) => {
                match next()? {
                    Cell::$kind(value) => value,
                    _ => return None,
                }
            };
        }
        let id = take!(Text)?.parse().ok()?;
        let host = take!(Text);
        let crashed_at = time_of(take!(Number)?)?;
        let dumped_at = take!(Number).map(time_of);
        if dumped_at == Some(None) {
            return None;
        }
        let added_at = time_of(take!(Number)?)?;
        let (kernel_version, kernel_build_id) = (take!(Text), take!(Text));
        let (architecture, panic, fingerprint) = (take!(Text), take!(Text), take!(Text));
        let row = Self {
            id,
            host,
            crashed_at,
            dumped_at: dumped_at.flatten(),
            added_at,
            kernel_version,
            kernel_build_id,
            architecture,
            panic,
            fingerprint,
            dump_size: take!(Number).map(saturating_u64),
            stored_size: saturating_u64(take!(Number)?),
            compression: take!(Text)?,
            encrypted: take!(Flag),
            object: take!(Text)?,
        };
        (take!(Number)? == i64::from(VERSION)).then_some(row)
    }
}
