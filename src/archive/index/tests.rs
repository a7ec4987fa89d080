//! What is written is read by memtool and by the crate `parquet`, and nothing else is taken for an index.

use super::read;
use crate::archive::index::{IndexError, Row, write};
use crate::archive::names::Id;
use crate::archive::time::Time;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(".{0,30}")
}

fn time() -> impl Strategy<Value = Time> {
    (0..253_402_300_800_u64).prop_map(|seconds| Time::from_seconds(seconds).unwrap())
}

fn any_row() -> impl Strategy<Value = Row> {
    let texts = (text(), text(), text(), text(), text(), text());
    let numbers = (time(), prop::option::of(time()), time(), prop::option::of(0..i64::MAX as u64), 0..i64::MAX as u64);
    (any::<u64>(), texts, numbers, any::<bool>(), "[a-z]{0,5}").prop_map(
        |(id, texts, numbers, encrypted, compression)| {
            let (host, kernel_version, kernel_build_id, architecture, panic, fingerprint) = texts;
            let (crashed_at, dumped_at, added_at, dump_size, stored_size) = numbers;
            Row {
                id: Id::new(&id.to_le_bytes()),
                host,
                crashed_at,
                dumped_at,
                added_at,
                kernel_version,
                kernel_build_id,
                architecture,
                panic,
                fingerprint,
                dump_size,
                stored_size,
                object: format!("crashes/{id}"),
                compression,
                encrypted,
            }
        },
    )
}

/// Rows that are alike, as those of a fleet.
fn many(count: u32) -> Vec<Row> {
    (0..count)
        .map(|index| Row {
            id: Id::new(&index.to_le_bytes()),
            host: (index % 7 > 0).then(|| format!("web{}", index % 100)),
            crashed_at: Time::from_seconds(1_800_000_000 + u64::from(index)).unwrap(),
            dumped_at: None,
            added_at: Time::from_seconds(1_800_000_000 + u64::from(index)).unwrap(),
            kernel_version: Some("FreeBSD 15.1-RELEASE".to_owned()),
            kernel_build_id: None,
            architecture: Some("amd64".to_owned()),
            panic: (index % 3 > 0).then(|| "page fault".to_owned()),
            fingerprint: (index % 3 > 1).then(|| format!("1:{:016x}", index % 50)),
            dump_size: Some(1 << 30),
            stored_size: 1 << 28,
            compression: "zstd".to_owned(),
            encrypted: index % 2 == 0,
            object: format!("crashes/2027-01/{index}/vmcore.zst"),
        })
        .collect()
}

#[test]
fn many_rows_in_several_groups_and_pages_are_read_again() {
    for count in [0, 1, 8, 1000, 70_000] {
        let rows = many(count);
        let bytes = write(&rows).unwrap();
        assert_eq!(read(&bytes).map(|found| found == rows), Ok(true), "{count}");
        assert_eq!(bytes, write(&rows).unwrap());
    }
}

#[test]
fn every_bit_that_is_changed_is_refused_or_read() {
    let rows = many(3);
    let bytes = write(&rows).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let _ = read(&changed);
        }
        assert!(read(&bytes[..at]).is_err(), "{at}");
    }
}

#[test]
fn another_version_is_told_from_damage() {
    let bytes = write(&many(2)).unwrap();
    let at = bytes.windows(21).position(|window| window == b"memtool.archive.index").unwrap();
    let changed = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        read(&changed)
    };
    assert_eq!(changed(at + 23, b'9'), Err(IndexError::OtherVersion(Some("9".to_owned()))));
    assert_eq!(changed(at, b'x'), Err(IndexError::OtherVersion(None)));
    assert_eq!(changed(0, b'x'), Err(IndexError::Damaged("it is not Parquet")));
    assert_eq!(read(b""), Err(IndexError::Damaged("it is cut off")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_rows_are_read_as_they_were_written(rows in prop::collection::vec(any_row(), 0..20)) {
        let bytes = write(&rows).unwrap();
        prop_assert_eq!(read(&bytes), Ok(rows.clone()));
        // And as others read them.
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let found: Vec<_> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        prop_assert_eq!(found.len(), rows.len());
        for (found, row) in found.iter().zip(&rows) {
            prop_assert!(found.contains(row.id.as_str()) && found.contains(&format!("stored_size: {}", row.stored_size)), "{}", found);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }
}
