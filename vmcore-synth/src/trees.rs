//! The trees of virtual memory: pages of an object by their numbers, and entries of an address space by their addresses.
//!
//! Sources: `sys/kern/subr_pctrie.c` and `sys/sys/_pctrie.h`, `sys/vm/vm_map.c`.

use super::ctf::Type;
use super::typed_kernel::TypedKernel;

/// Bits of a number that a node of a trie tells ways apart by.
const WIDTH: u32 = 4;
/// The lowest of these bits in the first node.
const TOP: u32 = 60;

impl TypedKernel {
    /// A trie of `struct pctrie_node`, of these leaves, ascending: numbers, and the addresses of what has them. Returns the
    /// pointer to its first node. Levels at which there is one way only are left out.
    pub fn trie(&mut self, node: Type, leaves: &[(u64, u64)]) -> u64 {
        self.subtrie(node, leaves, TOP)
    }

    fn subtrie(&mut self, of: Type, leaves: &[(u64, u64)], level: u32) -> u64 {
        let digit = |number: u64| number >> level & ((1 << WIDTH) - 1);
        match leaves {
            [] => 1,
            [(_, leaf)] => leaf | 1,
            [(first, _), ..] if leaves.iter().all(|(number, _)| digit(*number) == digit(*first)) => {
                self.subtrie(of, leaves, level - WIDTH)
            }
            [(first, _), ..] => {
                let above = level + WIDTH;
                let owner = if level == TOP { 0 } else { first >> above << above };
                let node = self.allocate(of);
                self.set(node, of, "pn_owner", owner);
                self.set(node, of, "pn_clev", level);
                let mut present = 0_u64;
                for slot in 0..1 << WIDTH {
                    let below: Vec<(u64, u64)> =
                        leaves.iter().copied().filter(|(number, _)| digit(*number) == slot).collect();
                    present |= u64::from(!below.is_empty()) << slot;
                    let child = self.subtrie(of, &below, level.saturating_sub(WIDTH));
                    self.set(node, of, &format!("pn_child[{slot}].__ptr"), child);
                }
                self.set(node, of, "pn_popmap", present);
                node
            }
        }
    }

    /// Makes entries of a map, `struct vm_map_entry` in ascending order, a tree with threads. Returns its root. The first and
    /// the last one lead back to the map's header.
    pub fn entry_tree(&mut self, entry: Type, entries: &[u64], header: u64) -> u64 {
        self.subtree(entry, entries, header, header)
    }

    fn subtree(&mut self, of: Type, entries: &[u64], before: u64, after: u64) -> u64 {
        let middle = entries.len() / 2;
        let Some(root) = entries.get(middle).copied() else { return 0 };
        let left = self.subtree(of, &entries[..middle], before, root);
        let right = self.subtree(of, &entries[middle + 1..], root, after);
        self.set(root, of, "left", if left == 0 { before } else { left });
        self.set(root, of, "right", if right == 0 { after } else { right });
        root
    }
}
