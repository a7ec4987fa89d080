//! Blocks of free memory by memory domain and order, of all free lists and pools; and `vm.phys_free`, which tells them as text
//! (`sysctl_vm_phys_free()`, `sys/vm/vm_phys.c`).

use std::collections::BTreeMap;
use vmcore::inventory::memory::free_pages::fragmentation_index;
use vmcore::physical_map::FreeArea;

/// More orders than there can be.
const MAX_ORDER: u32 = 52;

/// How many blocks there are by domain and order; `None` where a count makes no sense.
#[derive(Debug, Default)]
pub struct BlockCounts(BTreeMap<(u32, u32), Option<u64>>);

impl BlockCounts {
    /// Adds the counts of the pools of a free list.
    pub fn add(&mut self, domain: u32, order: u32, pools: impl IntoIterator<Item = Option<u64>>) {
        let sum = pools.into_iter().try_fold(0_u64, |sum, pool| Some(sum.saturating_add(pool?)));
        let count = self.0.entry((domain, order)).or_insert(Some(0));
        *count = count.zip(sum).map(|(count, sum)| count.saturating_add(sum));
    }

    /// The blocks, of a kernel with pages of this size.
    pub fn areas(&self, page_size: u64) -> Vec<FreeArea> {
        let blocks = |domain: u32| {
            let of = self.0.range((domain, 0)..=(domain, u32::MAX));
            of.map(|((_, order), count)| Some((*order, (*count)?))).collect::<Option<Vec<_>>>()
        };
        let area = |(&(domain, order), &count): (&(u32, u32), &Option<u64>)| FreeArea {
            domain,
            order,
            block_size: page_size.saturating_mul(1_u64.checked_shl(order).unwrap_or(0)),
            blocks: count,
            fragmentation: blocks(domain).map(|blocks| fragmentation_index(order, &blocks)),
        };
        self.0.iter().map(area).collect()
    }
}

/// Reads the text, of a kernel with pages of this size: a line `DOMAIN n:` for each domain, and for each of its lists rows of
/// the order, the size of a block in KiB and the count of each pool.
///
/// # Errors
///
/// The line that is not understood.
pub fn parse(text: &str, page_size: u64) -> Result<Vec<FreeArea>, String> {
    let mut counts = BlockCounts::default();
    let mut domain = None;
    for line in text.lines().map(str::trim) {
        let unexpected = || format!("unexpected line '{}'", line.escape_debug());
        if let Some(number) = line.strip_prefix("DOMAIN ") {
            domain = Some(number.trim_end_matches(':').trim().parse::<u32>().map_err(|_| unexpected())?);
            continue;
        }
        if !line.starts_with(|c: char| c.is_ascii_digit()) {
            // Headings and rules.
            continue;
        }
        let (domain, (head, pools)) = domain.zip(line.split_once('|')).ok_or_else(unexpected)?;
        let order: u32 = head.split(['(', ' ']).next().and_then(|order| order.parse().ok()).ok_or_else(unexpected)?;
        if order > MAX_ORDER {
            return Err(unexpected());
        }
        let pools: Vec<i64> =
            pools.split('|').map(|count| count.trim().parse()).collect::<Result<_, _>>().map_err(|_| unexpected())?;
        counts.add(domain, order, pools.into_iter().map(|count| u64::try_from(count).ok()));
    }
    Ok(counts.areas(page_size))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a kernel with two lists and two pools prints it.
    const TEXT: &str = "
DOMAIN 0:

FREE LIST 0:

  ORDER (SIZE)  |  NUMBER
                |  POOL 0  |  POOL 1
--            -- --      -- --      --
   1 (     8K)  |       2  |       0
   0 (     4K)  |       3  |       1

FREE LIST 1:

  ORDER (SIZE)  |  NUMBER
                |  POOL 0  |  POOL 1
--            -- --      -- --      --
   1 (     8K)  |       1  |       0
   0 (     4K)  |       0  |       0

DOMAIN 1:

FREE LIST 0:

  ORDER (SIZE)  |  NUMBER
                |  POOL 0  |  POOL 1
--            -- --      -- --      --
  12 ( 16384K)  |      -1  |       0
";

    #[test]
    fn lists_and_pools_of_a_domain_are_added_up() {
        let areas = parse(TEXT, 4096).unwrap();
        let counted: Vec<_> =
            areas.iter().map(|area| (area.domain, area.order, area.block_size, area.blocks)).collect();
        assert_eq!(counted, [(0, 0, 4096, Some(4)), (0, 1, 8192, Some(3)), (1, 12, 16 << 20, None)]);
        // 10 pages in 7 blocks: 1000 - 10000 / 2 / 7.
        assert_eq!(areas[1].fragmentation, Some(286));
        assert_eq!(areas[2].fragmentation, None);
    }

    #[test]
    fn what_is_no_such_text_is_refused_with_the_line() {
        for text in ["0 (4K) | 1", "DOMAIN x:", "DOMAIN 0:\n 0 (4K) | x", "DOMAIN 0:\n 99 (4K) | 1", "DOMAIN 0:\n 1 2"]
        {
            assert!(parse(text, 4096).unwrap_err().starts_with("unexpected line '"), "{text}");
        }
        assert_eq!(parse("", 4096), Ok(Vec::new()));
    }
}
