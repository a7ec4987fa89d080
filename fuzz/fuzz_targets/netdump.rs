//! What a client of netdump(4) sends, or anybody who says to be one: packets one after another, each as bytes or with fields
//! that are near those that a client would send.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use memtool::receive::netdump::packet::{Kind, Packet};
use memtool::receive::netdump::session::Session;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Bytes that a dump may have.
const LIMIT: u64 = 1 << 24;
/// Takes everything anywhere.
static FILE: LazyLock<File> =
    LazyLock::new(|| OpenOptions::new().write(true).open("/dev/null").expect("there is /dev/null"));

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match run(&mut Unstructured::new(bytes)) {
        Ok(()) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let mut now = Instant::now();
    let first = if input.ratio(1, 4)? { u32::MAX - 20 } else { 1 };
    let path = input.bytes(3)?;
    let herald = Packet { kind: Kind::Herald, seq: first, offset: 0, payload: path };
    let mut session = Session::new(&herald, LIMIT, now);
    let mut sent = BTreeSet::new();
    let (mut seq, mut offset) = (first.wrapping_add(1), 0_u64);
    while !input.is_empty() {
        now += Duration::from_millis(input.int_in_range(0..=300)?);
        let acknowledged = match input.int_in_range(0..=9)? {
            0 => session.quiet(now),
            1 => {
                let length = input.int_in_range(0..=600)?;
                let Ok(packet) = Packet::parse(input.bytes(length)?) else { continue };
                sent.insert(packet.seq);
                session.take(&packet, &FILE, now).unwrap_or_default()
            }
            choice => {
                let kind = [Kind::Data, Kind::Data, Kind::Data, Kind::Header, Kind::Key, Kind::Finished, Kind::Herald];
                let length = [0, 512, 1448, 3, 4096, 8948][input.choose_index(6)?].min(input.len());
                let payload = input.bytes(length)?;
                let back = input.int_in_range(0..=70)?;
                let seq_of_it = if choice < 6 { seq } else { seq.wrapping_sub(back).wrapping_add(35) };
                let packet = Packet { kind: kind[input.choose_index(7)?], seq: seq_of_it, offset, payload };
                sent.insert(packet.seq);
                seq = seq.wrapping_add(1);
                offset = if choice == 5 { input.arbitrary()? } else { offset.saturating_add(length as u64) };
                session.take(&packet, &FILE, now).unwrap_or_default()
            }
        };
        assert!(acknowledged.iter().all(|seq| sent.contains(seq)), "what was never sent is acknowledged");
    }
    let holes = session.holes();
    let missing: u64 = holes.iter().map(|(start, end)| end - start).sum();
    assert!(holes.iter().all(|(start, end)| start < end) && holes.is_sorted_by(|a, b| a.1 < b.0));
    assert!(session.received() <= LIMIT);
    let problems = session.problems();
    if problems.is_empty() {
        assert!(missing == 0 && session.finished().is_some() && session.header().is_some());
        assert!(session.received() >= session.length());
    }
    Ok(())
}
