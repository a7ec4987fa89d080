//! What `memtool receive` says of a dump in JSON.

use super::super::inspect::KernelHeader;
use super::super::save::SavedFile;
use memtool::receive::arrival::{Arrival, Hole};
use memtool::receive::keep::Kept;
use serde::Serialize;
use vmcore::kerneldump::Header;
use vmcore::text::Name;
use vmcore::units::utc;

/// A dump that has arrived.
#[derive(Serialize)]
pub struct Document<'a> {
    /// Who has sent it.
    client: String,
    /// The address that it was sent to.
    local_address: String,
    /// What the client calls its dumps.
    path: Option<Name>,
    received_at: Option<String>,
    duration_seconds: f64,
    /// Whether all of it is there.
    complete: bool,
    /// Bytes of it, or that it should have.
    size: u64,
    /// Why it is not complete.
    reasons: &'a [String],
    /// What is missing.
    holes: Vec<Hole>,
    packet_count: Option<u64>,
    repeated_packet_count: Option<u64>,
    header: Option<KernelHeader>,
    /// Where it is kept.
    saved: Option<SavedFile>,
    /// The file that it is in, where it is not kept as a kernel's dump.
    output: Option<Name>,
    error: Option<&'a str>,
}

impl<'a> Document<'a> {
    pub fn new(arrival: &'a Arrival, kept: Option<&Kept>, error: Option<&'a str>) -> Self {
        let netdump = arrival.netdump.as_ref();
        let header = netdump.and_then(|facts| facts.header).and_then(|bytes| Header::parse(&bytes).ok());
        let saved = match kept {
            Some(Kept::Saved(saved) | Kept::AsItIs(saved, _)) => Some(SavedFile {
                warnings: saved.saved.problems.iter().chain(&saved.warnings).cloned().collect(),
                ..SavedFile::new(&saved.saved.files, Some(saved.size), saved.compression, saved.good)
            }),
            Some(Kept::Sent(sent)) => Some(SavedFile::sent(sent)),
            Some(Kept::Named(_)) | None => None,
        };
        let output = match kept {
            Some(Kept::Named(path)) => Some(path.as_path().into()),
            Some(_) => None,
            None => Some(arrival.path.as_path().into()),
        };
        Self {
            client: arrival.source.client.to_string(),
            local_address: arrival.source.local.to_string(),
            path: netdump.filter(|facts| !facts.path.is_empty()).map(|facts| facts.path.clone().into()),
            received_at: Some(utc(arrival.began)),
            duration_seconds: arrival.elapsed.as_secs_f64(),
            complete: arrival.is_whole(),
            size: arrival.size,
            reasons: &arrival.problems,
            holes: arrival.holes.iter().map(Hole::from).collect(),
            packet_count: netdump.map(|facts| facts.packets),
            repeated_packet_count: netdump.map(|facts| facts.repeated),
            header: header.as_ref().map(KernelHeader::new),
            saved,
            output,
            error,
        }
    }
}
