//! What is typed or stands in a file as text: numbers, sizes, ranges, owners, network addresses, levels, a
//! kernel's configuration.

#![no_main]

use libfuzzer_sys::fuzz_target;
use memtool::compress::Level;
use memtool::dump::plan::parse_range;
use memtool::host::kernel_config::compressions;
use memtool::ranges::Owner;
use memtool::remote::Address;
use vmcore::kerneldump::Compression;
use vmcore::units::{Hex, exact_size, parse_address, parse_size, rough_size};

fuzz_target!(|text: &str| {
    if let Ok(address) = parse_address(text) {
        assert_eq!(parse_address(&Hex(address).to_string()), Ok(address));
        assert_eq!(parse_address(&address.to_string()), Ok(address));
        assert_eq!(parse_size(text), Ok(address));
    }
    if let Ok(size) = parse_size(text) {
        let exact = exact_size(size.into());
        let (number, unit) = exact.split_once(' ').expect("a number and a unit");
        let power = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].iter().position(|name| *name == unit);
        let number: u64 = number.parse().expect("a number");
        assert_eq!(number << (10 * power.expect("a unit")), size);
        assert!(!rough_size(size).is_empty());
    }
    if let Ok((start, end)) = parse_range(text) {
        assert!(start < end);
        assert_eq!(parse_range(&format!("{}-{}", Hex(start), Hex(end))), Ok((start, end)));
        assert_eq!(parse_range(&format!("{start}+{}", end - start)), Ok((start, end)));
    }
    if let Ok(owner) = text.parse::<Owner>() {
        assert_eq!(owner.as_str(), text);
    }
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse::<Address>().as_ref(), Ok(&address));
    }
    assert!(compressions(text).contains(&Compression::None));
    if let Ok(level) = text.parse::<Level>() {
        assert!((1..=22).contains(&level.get()));
    }
});
