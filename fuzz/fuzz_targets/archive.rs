//! An object of an archive's index, and the record of a crash: anybody may have written them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use memtool::archive::index;
use memtool::archive::names::{CRASHES, parse_crash, parse_index};
use memtool::archive::record::CrashRecord;
use memtool::archive::time::{Time, parse_age};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(rows) = index::read(bytes) {
        let written = index::write(&rows).expect("rows that were read can be written");
        assert_eq!(index::read(&written), Ok(rows));
    }
    if let Ok(record) = CrashRecord::parse(bytes) {
        let written = record.to_bytes().expect("a record that was read can be written");
        assert_eq!(CrashRecord::parse(&written), Ok(record.clone()));
        let rows = [record.row()];
        if rows[0].stored_size <= i64::MAX as u64 && rows[0].dump_size.is_none_or(|size| size <= i64::MAX as u64) {
            let written = index::write(&rows).expect("a row can be written");
            assert_eq!(index::read(&written), Ok(rows.to_vec()));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Some((month, id, _)) = parse_crash(CRASHES, text) {
            assert!(text.starts_with(&month.crash(&id)));
        }
        let _ = (parse_index(text), parse_age(text), Time::parse_saved(text));
        if let Ok(time) = Time::parse(text, Time::now()) {
            assert!(Time::parse(&time.to_string(), time).is_ok());
        }
    }
});
