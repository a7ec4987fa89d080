//! Parquet to rows (parquet-format, README.md and src/main/thrift/parquet.thrift).

use super::thrift::{Fields, Reader};
use super::{COLUMNS, Cell, Column, IndexError, MAGIC, MAX_OBJECT, Row, Type, VERSION, VERSION_KEY};
use vmcore::bounds::{saturating_usize, split_at_most, tail};

/// Bytes of metadata at most: hundreds of groups of rows.
const MAX_METADATA: usize = 1 << 20;
/// IDs are not compressible below half of their length: what claims to become so much longer is no index.
const MAX_RATIO: u64 = 256;
/// Uncompressed bytes that any object may have.
const SMALL: u64 = 1 << 20;

/// `Type` of Parquet.
const BOOLEAN: i64 = 0;
const INT64: i64 = 2;
const BYTE_ARRAY: i64 = 6;
/// `FieldRepetitionType`.
const REQUIRED: i64 = 0;
const OPTIONAL: i64 = 1;
/// `CompressionCodec`.
const UNCOMPRESSED: i64 = 0;
const ZSTD: i64 = 6;
/// `PageType` and `Encoding`.
const DATA_PAGE: i64 = 0;
const PLAIN: i64 = 0;
const RLE: i64 = 3;

type Result<T> = std::result::Result<T, IndexError>;

const CUT_OFF: IndexError = IndexError::Damaged("a page is cut off");
const NOT_SO: IndexError = IndexError::Damaged("its metadata is not as memtool writes it");

/// The rows of an object.
///
/// # Errors
///
/// The bytes are damaged, or are no index of this version.
pub fn read(bytes: &[u8]) -> Result<Vec<Row>> {
    if bytes.len() as u64 > MAX_OBJECT {
        return Err(IndexError::Damaged("it is larger than any object of the index"));
    }
    let metadata = Reader::new(metadata(bytes)?).structure()?;
    check_version(&metadata)?;
    check_columns(&metadata)?;
    let mut budget = (bytes.len() as u64).saturating_mul(MAX_RATIO).saturating_add(SMALL);
    let mut rows = Vec::new();
    for group in metadata.structs(4).ok_or(NOT_SO)? {
        read_group(bytes, group, &mut budget, &mut rows)?;
    }
    if metadata.unsigned(3) != Some(rows.len() as u64) {
        return Err(IndexError::Damaged("it has not as many rows as it says"));
    }
    Ok(rows)
}

/// The bytes of `FileMetaData`.
fn metadata(bytes: &[u8]) -> Result<&[u8]> {
    const SHORT: IndexError = IndexError::Damaged("it is cut off");
    let (start, rest) = bytes.split_first_chunk::<4>().ok_or(SHORT)?;
    let (rest, end) = rest.split_last_chunk::<4>().ok_or(SHORT)?;
    if start != MAGIC {
        return Err(IndexError::Damaged("it is not Parquet"));
    }
    if end != MAGIC {
        return Err(SHORT);
    }
    let (rest, length) = rest.split_last_chunk::<4>().ok_or(SHORT)?;
    let length = saturating_usize(u32::from_le_bytes(*length));
    let start = rest.len().checked_sub(length).ok_or(SHORT)?;
    if length > MAX_METADATA {
        return Err(IndexError::Damaged("its metadata is too long"));
    }
    Ok(tail(rest, start))
}

fn check_version(metadata: &Fields<'_>) -> Result<()> {
    let values = metadata.structs(5).unwrap_or_default();
    let version =
        values.iter().find(|pair| pair.bytes(1) == Some(VERSION_KEY.as_bytes())).and_then(|pair| pair.bytes(2));
    if version == Some(VERSION.to_string().as_bytes()) {
        return Ok(());
    }
    const SHOWN: usize = 20;
    let shown = |version: &[u8]| String::from_utf8_lossy(version).chars().take(SHOWN).collect();
    Err(IndexError::OtherVersion(version.map(shown)))
}

fn physical(column: &Column) -> i64 {
    match column.of {
        Type::Text => BYTE_ARRAY,
        Type::Time | Type::Count => INT64,
        Type::Flag => BOOLEAN,
    }
}

fn check_columns(metadata: &Fields<'_>) -> Result<()> {
    let schema = metadata.structs(2).ok_or(NOT_SO)?;
    let (_, elements) = schema.split_first().ok_or(NOT_SO)?;
    let is_column = |(element, column): (&&Fields<'_>, &Column)| {
        let repetition = if column.is_optional { OPTIONAL } else { REQUIRED };
        element.bytes(4) == Some(column.name.as_bytes())
            && element.integer(1) == Some(physical(column))
            && element.integer(3) == Some(repetition)
    };
    let are_columns = elements.len() == COLUMNS.len() && elements.iter().zip(&COLUMNS).all(is_column);
    if are_columns { Ok(()) } else { Err(IndexError::Damaged("its columns are others than those of its version")) }
}

fn read_group(bytes: &[u8], group: &Fields<'_>, budget: &mut u64, rows: &mut Vec<Row>) -> Result<()> {
    let chunks = group.structs(1).ok_or(NOT_SO)?;
    let count = group.unsigned(3).ok_or(NOT_SO)?;
    if chunks.len() != COLUMNS.len() {
        return Err(NOT_SO);
    }
    let mut columns = Vec::with_capacity(COLUMNS.len());
    // The first column, whose values are long, bounds the others.
    for (chunk, column) in chunks.iter().zip(&COLUMNS) {
        let chunk = chunk.fields(3).ok_or(NOT_SO)?;
        columns.push(read_chunk(bytes, chunk, column, count, budget)?.into_iter());
    }
    for _ in 0..count {
        let mut next = columns.iter_mut();
        let row = Row::from_cells(|| next.next()?.next());
        rows.push(row.ok_or(IndexError::Damaged("a value of a row cannot be"))?);
    }
    Ok(())
}

/// The values of a column in a group of so many rows.
fn read_chunk(
    bytes: &[u8],
    chunk: &Fields<'_>,
    column: &Column,
    count: u64,
    budget: &mut u64,
) -> Result<Vec<Cell<String>>> {
    let of_zstd = match chunk.integer(4) {
        Some(UNCOMPRESSED) => false,
        Some(ZSTD) => true,
        _ => return Err(IndexError::Damaged("it is compressed in a way that memtool does not use")),
    };
    if chunk.integer(1) != Some(physical(column)) || chunk.unsigned(5) != Some(count) || chunk.get(11).is_some() {
        return Err(NOT_SO);
    }
    let (start, length) = (chunk.unsigned(9).ok_or(NOT_SO)?, chunk.unsigned(7).ok_or(NOT_SO)?);
    let (pages, _) = split_at_most(tail(bytes, start), length);
    let mut reader = Reader::new(pages);
    let mut cells = Vec::new();
    while (cells.len() as u64) < count {
        let header = reader.structure()?;
        let size = saturating_usize(header.unsigned(3).ok_or(NOT_SO)?);
        let (page, rest) = split_at_most(reader.rest(), size);
        if page.len() < size {
            return Err(CUT_OFF);
        }
        reader = Reader::new(rest);
        // Also of what is not compressed: pages can be named again and again.
        let size = header.unsigned(2).ok_or(NOT_SO)?.max(page.len() as u64);
        *budget = budget.checked_sub(size).ok_or(IndexError::Damaged("it has more pages than its length allows"))?;
        let unpacked;
        let page = if of_zstd {
            unpacked = unpack(page, size)?;
            &unpacked
        } else {
            page
        };
        read_page(page, &header, column, count - cells.len() as u64, &mut cells)?;
    }
    Ok(cells)
}

fn unpack(page: &[u8], size: u64) -> Result<Vec<u8>> {
    let unpacked = zstd::bulk::decompress(page, saturating_usize(size));
    unpacked.map_err(|_| IndexError::Damaged("a page cannot be decompressed"))
}

/// Reads a page, of so many values at most.
fn read_page(
    page: &[u8],
    header: &Fields<'_>,
    column: &Column,
    at_most: u64,
    cells: &mut Vec<Cell<String>>,
) -> Result<()> {
    let of_data = header.fields(5).filter(|_| header.integer(1) == Some(DATA_PAGE)).ok_or(NOT_SO)?;
    let count = of_data.unsigned(1).filter(|count| (1..=at_most).contains(count)).ok_or(NOT_SO)?;
    if of_data.integer(2) != Some(PLAIN) || column.is_optional && of_data.integer(3) != Some(RLE) {
        return Err(IndexError::Damaged("it is encoded in a way that memtool does not use"));
    }
    let mut values = Values { rest: page, bit: 0 };
    if !column.is_optional {
        for _ in 0..count {
            cells.push(values.next(column.of)?);
        }
        return Ok(());
    }
    let length = values.length()?;
    let mut levels = Levels { bytes: Reader::new(values.take(length)?), run: Run::Repeated(0, false) };
    for _ in 0..count {
        cells.push(if levels.next()? { values.next(column.of)? } else { unknown(column.of) });
    }
    Ok(())
}

fn unknown(of: Type) -> Cell<String> {
    match of {
        Type::Text => Cell::Text(None),
        Type::Time | Type::Count => Cell::Number(None),
        Type::Flag => Cell::Flag(false),
    }
}

/// Values one after the other, as they are.
struct Values<'a> {
    rest: &'a [u8],
    /// Bits that were read of the first byte, where values are bits.
    bit: u32,
}

impl<'a> Values<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = split_at_most(self.rest, length);
        if taken.len() < length {
            return Err(CUT_OFF);
        }
        self.rest = rest;
        Ok(taken)
    }

    fn length(&mut self) -> Result<usize> {
        let (length, rest) = self.rest.split_first_chunk().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(saturating_usize(u32::from_le_bytes(*length)))
    }

    fn next(&mut self, of: Type) -> Result<Cell<String>> {
        Ok(match of {
            Type::Text => {
                let length = self.length()?;
                let text = std::str::from_utf8(self.take(length)?);
                Cell::Text(Some(text.map_err(|_| IndexError::Damaged("a text is not UTF-8"))?.to_owned()))
            }
            Type::Time | Type::Count => {
                let (value, rest) = self.rest.split_first_chunk().ok_or(CUT_OFF)?;
                self.rest = rest;
                Cell::Number(Some(i64::from_le_bytes(*value)))
            }
            Type::Flag => {
                let (first, rest) = self.rest.split_first().ok_or(CUT_OFF)?;
                let flag = first >> self.bit & 1 == 1;
                self.bit = (self.bit + 1) % 8;
                if self.bit == 0 {
                    self.rest = rest;
                }
                Cell::Flag(flag)
            }
        })
    }
}

/// Whether values are there: runs of one bit each, repeated or packed (parquet-format, Encodings.md).
struct Levels<'a> {
    bytes: Reader<'a>,
    run: Run,
}

enum Run {
    /// So many times the same.
    Repeated(u64, bool),
    /// So many groups of eight bits, of which the first one is partly read.
    Packed { bytes: u64, current: u8, bits: u32 },
}

impl Levels<'_> {
    fn next(&mut self) -> Result<bool> {
        loop {
            match &mut self.run {
                Run::Repeated(0, _) | Run::Packed { bytes: 0, bits: 0, .. } => self.begin()?,
                Run::Repeated(count, is_there) => {
                    *count -= 1;
                    return Ok(*is_there);
                }
                Run::Packed { bytes, current, bits: bits @ 0 } => {
                    (*bytes, *current, *bits) = (*bytes - 1, self.bytes.byte().map_err(|_| CUT_OFF)?, 8);
                }
                Run::Packed { current, bits, .. } => {
                    let is_there = *current & 1 == 1;
                    (*current, *bits) = (*current >> 1, *bits - 1);
                    return Ok(is_there);
                }
            }
        }
    }

    fn begin(&mut self) -> Result<()> {
        let head = self.bytes.varint().map_err(|_| CUT_OFF)?;
        self.run = if head & 1 == 1 {
            Run::Packed { bytes: head >> 1, current: 0, bits: 0 }
        } else {
            Run::Repeated(head >> 1, self.bytes.byte().map_err(|_| CUT_OFF)? == 1)
        };
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
