//! `vm.phys_segs`: the physical segments that the kernel's page allocator manages, with their domains.
//!
//! Text: for each segment a line `SEGMENT n:`, then lines `start:`, `end:`, `domain:` and `free list:`, with
//! empty lines between (`sysctl_vm_phys_segs`, `sys/vm/vm_phys.c`).

use super::{MapError, MapSource, Segment};
use vmcore::units::parse_address;

/// Reads the text. Without a `domain:` line a segment's domain is unknown.
pub fn parse(text: &str) -> Result<Vec<Segment>, MapError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut name = "";
    let (mut start, mut end, mut domain) = (None, None, None);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    for line in lines.chain(std::iter::once("SEGMENT end:")) {
        if line.starts_with("SEGMENT ") {
            match (name, start.take(), end.take()) {
                ("", None, None) => {}
                (_, Some(start), Some(end)) if start < end => {
                    segments.push(Segment { start, end, domain: domain.take() });
                }
                _ => {
                    return Err(MapError::malformed(MapSource::PhysSegs, format!("{name} has no valid start and end")));
                }
            }
            name = line;
            continue;
        }
        let Some((key, value)) = line.split_once(':') else {
            return Err(MapError::malformed(MapSource::PhysSegs, format!("unexpected line '{line}'")));
        };
        let value = value.trim();
        let number = || {
            parse_address(value)
                .map_err(|error| MapError::malformed(MapSource::PhysSegs, format!("{name} {key}: {error}")))
        };
        match key {
            "start" => start = Some(number()?),
            "end" => end = Some(number()?),
            "domain" => domain = u32::try_from(number()?).ok(),
            _ => {}
        }
    }
    Ok(segments)
}
