//! Rows to Parquet.

use super::{COLUMNS, Cell, Row, Type, VERSION, VERSION_KEY};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use std::fmt::Write;
use std::io;
use std::sync::Arc;

/// So few rows are longer when they are compressed.
const FEW: usize = 8;
/// Rows of a group, which engines read side by side.
const GROUP: usize = 1 << 16;

/// The columns, as Parquet has them in words.
fn message() -> String {
    let mut message = "message crash {\n".to_owned();
    for column in COLUMNS {
        let repetition = if column.is_optional { "optional" } else { "required" };
        let (of, annotation) = match column.of {
            Type::Text => ("binary", " (STRING)"),
            Type::Time => ("int64", " (TIMESTAMP(MILLIS,true))"),
            Type::Count => ("int64", ""),
            Type::Flag => ("boolean", ""),
        };
        // Writing to a string does not fail.
        let _ = writeln!(message, "  {repetition} {of} {}{annotation};", column.name);
    }
    message + "}\n"
}

/// Rows as the bytes of an object; the same rows in the same order are the same bytes.
///
/// # Errors
///
/// There is no memory for them.
pub fn write(rows: &[Row]) -> io::Result<Vec<u8>> {
    write_parquet(rows).map_err(io::Error::other)
}

fn write_parquet(rows: &[Row]) -> Result<Vec<u8>> {
    let version = KeyValue::new(VERSION_KEY.to_owned(), VERSION.to_string());
    let compression =
        if rows.len() < FEW { Compression::UNCOMPRESSED } else { Compression::ZSTD(ZstdLevel::default()) };
    let properties = WriterProperties::builder()
        .set_created_by("memtool".to_owned())
        .set_key_value_metadata(Some(vec![version]))
        .set_compression(compression)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build();
    let schema = Arc::new(parse_message_type(&message())?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    for rows in rows.chunks(GROUP) {
        let cells: Vec<_> = rows.iter().map(Row::cells).collect();
        let mut group = writer.next_row_group()?;
        for (index, column) in COLUMNS.iter().enumerate() {
            let missing = || ParquetError::General(format!("there is no column {}", column.name));
            let mut writer = group.next_column()?.ok_or_else(missing)?;
            let cells = cells.iter().filter_map(|row| row.get(index));
            write_column(&mut writer, cells, column.is_optional)?;
            writer.close()?;
        }
        group.close()?;
    }
    writer.into_inner()
}

fn write_column<'a>(
    writer: &mut SerializedColumnWriter<'_>,
    cells: impl Iterator<Item = &'a Cell<&'a str>>,
    is_optional: bool,
) -> Result<()> {
    let (mut texts, mut numbers, mut flags, mut levels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut of = Type::Text;
    for cell in cells {
        let is_known = match cell {
            Cell::Text(text) => {
                texts.extend(text.map(ByteArray::from));
                text.is_some()
            }
            Cell::Number(number) => {
                of = Type::Count;
                numbers.extend(*number);
                number.is_some()
            }
            Cell::Flag(flag) => {
                of = Type::Flag;
                flags.push(*flag);
                true
            }
        };
        levels.push(i16::from(is_known));
    }
    let levels = is_optional.then_some(levels.as_slice());
    match of {
        Type::Text => writer.typed::<ByteArrayType>().write_batch(&texts, levels, None)?,
        Type::Time | Type::Count => writer.typed::<Int64Type>().write_batch(&numbers, levels, None)?,
        Type::Flag => writer.typed::<BoolType>().write_batch(&flags, levels, None)?,
    };
    Ok(())
}
