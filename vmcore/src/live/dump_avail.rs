//! `dump_avail`: the RAM that a kernel may dump, as it found it at boot, its own image included (`sys/kern/subr_physmem.c`,
//! `sys/amd64/amd64/machdep.c`). An array of `vm_paddr_t`, pairs of start and end that a pair of zeros ends; it is no
//! sysctl, but a variable of the kernel.

use crate::architecture::Endianness;
use crate::units::Hex;
use zerocopy::transmute;

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
        let [start, end] = <[[u8; 8]; 2]>::map(transmute!(bytes), |word| order.u64(word));
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

#[cfg(test)]
mod tests {
    use crate::architecture::Endianness;

    #[test]
    fn dump_avail_is_read_up_to_its_end_and_not_beyond() {
        let read = |size: u64, words: &[u64]| {
            let pair = |offset: u64| {
                let at = usize::try_from(offset / 8).unwrap();
                let mut bytes = [0; 16];
                for (bytes, word) in bytes.chunks_exact_mut(8).zip(words.get(at..at + 2).ok_or("outside")?) {
                    bytes.copy_from_slice(&word.to_ne_bytes());
                }
                Ok::<_, &str>(bytes)
            };
            super::read(size, Endianness::NATIVE, pair)
        };
        assert_eq!(
            read(0, &[0x1000, 0x2000, 0x3000, 0x4000, 0, 0, 9, 9]),
            Ok(Ok(vec![(0x1000, 0x2000), (0x3000, 0x4000)]))
        );
        assert_eq!(read(48, &[0, 0x2000, 0, 0, 1, 1]), Ok(Ok(vec![(0, 0x2000)])));
        for (words, why) in [
            (&[0, 0][..], "it is empty"),
            (&[0x2000, 0x1000, 0, 0], "range 0 is 0x2000..0x1000"),
            (&[0x1000, 0x3000, 0x2000, 0x4000, 0, 0], "range 1 is 0x2000..0x4000"),
        ] {
            assert_eq!(read(0, words), Ok(Err(why.to_owned())));
        }
        assert_eq!(read(16, &[0x1000, 0x2000]), Ok(Err("it has no end within 1 ranges".to_owned())));
        assert_eq!(read(0, &[0x1000, 0x2000]), Err("outside"));
    }
}
