//! `dump_avail`: the RAM that a kernel may dump, as it found it at boot, its own image included (`sys/kern/subr_physmem.c`,
//! `sys/amd64/amd64/machdep.c`). An array of `vm_paddr_t`, pairs of start and end that a pair of zeros ends; it is no
//! sysctl, but a variable of the kernel.

use vmcore::architecture::Endianness;
use vmcore::units::Hex;

/// More pairs than any kernel's has room for (`PHYS_AVAIL_ENTRIES`).
const MAX_RANGES: u64 = 255;
/// Bytes of a pair where addresses have 64 bits.
const PAIR: usize = 16;

/// Reads the array of the running kernel, of 64 bits, which has `size` bytes, or an unknown number of them if that is 0, in
/// this order. `pair` tells the bytes at an offset.
///
/// # Errors
///
/// Those of `pair`; and as the inner result, what is wrong with the array.
pub fn read<E>(
    size: u64,
    order: Endianness,
    mut pair: impl FnMut(u64) -> Result<[u8; PAIR], E>,
) -> Result<Result<Vec<(u64, u64)>, String>, E> {
    let limit = if size == 0 { MAX_RANGES } else { (size / PAIR as u64).min(MAX_RANGES) };
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for index in 0..limit {
        let bytes = pair(index * PAIR as u64)?;
        let mut words = bytes.as_chunks().0.iter().copied().map(|word| order.u64(word));
        let (start, end) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        if end == 0 {
            return Ok(if ranges.is_empty() { Err("it is empty".to_owned()) } else { Ok(ranges) });
        }
        if start < ranges.last().map_or(0, |last| last.1) || start >= end {
            return Ok(Err(format!("range {index} is {}..{}", Hex(start), Hex(end))));
        }
        ranges.push((start, end));
    }
    Ok(Err(format!("it has no end within {limit} ranges")))
}
