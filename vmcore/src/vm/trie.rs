//! The tree that an object's pages, and those of it in swap space, are found by: a path-compressed radix trie
//! (`sys/kern/subr_pctrie.c`; until `FreeBSD` 14 `sys/vm/vm_radix.c`).
//!
//! A pointer whose lowest bit is set is a leaf, which leads to what is stored; so is a null pointer.

use crate::architecture::Endianness;
use crate::bounds::{part, saturating_usize};
use crate::error::{Error, Result};
use crate::kernel::{KernelMemory, TypedMemory};
use crate::units::Hex;
use std::ops::Range;

/// `PCTRIE_ISLEAF`.
const IS_LEAF: u64 = 1;
/// A node is not larger than this.
const MAX_NODE: u64 = 4096;
/// The level above all others: a number has 64 bits.
const TOP_LEVEL: u64 = 64;

/// How nodes are laid out.
pub(super) struct NodeLayout {
    size: usize,
    owner: Range<usize>,
    level: Range<usize>,
    children: Range<usize>,
    word: usize,
    order: Endianness,
    /// Where, in what a leaf leads to, its number is: the leaf of a pctrie leads to the number itself.
    key_offset: u64,
}

/// A leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaf {
    /// The number that it is found by.
    pub index: u64,
    /// What it leads to: see [`NodeLayout::key_offset`].
    pub address: u64,
}

/// The layout of the tries of pages, and of those of swap blocks.
pub(super) fn layouts(typed: TypedMemory<'_>) -> Result<(NodeLayout, Option<NodeLayout>)> {
    let swap = NodeLayout::new(typed, "pctrie_node", "pn", 0).ok();
    let radix = typed.structure("vm_radix")?;
    let pages = if typed.types.member(radix, "rt_trie").is_some() {
        NodeLayout::new(typed, "pctrie_node", "pn", 0)?
    } else {
        let page = typed.structure("vm_page")?;
        let key = typed.types.member(page, "pindex").map(|found| found.bit_offset / 8);
        let key = key.ok_or_else(|| Error::Unsupported("struct vm_page has no member pindex".to_owned()))?;
        NodeLayout::new(typed, "vm_radix_node", "rn", key)?
    };
    Ok((pages, swap))
}

impl NodeLayout {
    fn new(typed: TypedMemory<'_>, name: &str, prefix: &str, key_offset: u64) -> Result<Self> {
        let types = typed.types;
        let node = typed.structure(name)?;
        let unusual = || Error::Unsupported(format!("struct {name} is not laid out as is known"));
        let size = types.size_of(node).filter(|size| *size <= MAX_NODE).ok_or_else(unusual)?;
        let member = |member: &str| {
            let found = types.member(node, &format!("{prefix}_{member}")).ok_or_else(unusual)?;
            let start = found.bit_offset / 8;
            let end = start.saturating_add(types.size_of(found.member.type_id).ok_or_else(unusual)?);
            if end > size { Err(unusual()) } else { Ok(saturating_usize(start)..saturating_usize(end)) }
        };
        Ok(Self {
            size: saturating_usize(size),
            owner: member("owner")?,
            level: member("clev")?,
            children: member("child")?,
            word: typed.memory.word_size(),
            order: typed.memory.order(),
            key_offset,
        })
    }

    /// Whether leaves lead to the numbers that they are found by, and not to what has these.
    pub const fn is_of_numbers(&self) -> bool {
        self.key_offset == 0
    }

    fn number(&self, node: &[u8], at: &Range<usize>) -> u64 {
        self.order.number(part(node, at.clone()))
    }

    /// Shows all leaves of a trie in ascending order; `root` is the pointer to its first node. Not more nodes and leaves are
    /// read than the budget has, which they are taken from.
    ///
    /// # Errors
    ///
    /// A node cannot be read or is none; the budget is spent; those of `take`.
    pub fn leaves(
        &self,
        memory: &KernelMemory,
        root: u64,
        budget: &mut u64,
        take: &mut dyn FnMut(Leaf) -> Result<()>,
    ) -> Result<()> {
        if root & IS_LEAF != 0 || root == 0 {
            return self.leaf(memory, root, None, take);
        }
        self.node(memory, root, TOP_LEVEL, budget, take)
    }

    fn node(
        &self,
        memory: &KernelMemory,
        address: u64,
        above: u64,
        budget: &mut u64,
        take: &mut dyn FnMut(Leaf) -> Result<()>,
    ) -> Result<()> {
        let damaged = || Error::Format(format!("the trie's node at {} is damaged", Hex(address)));
        let mut node = vec![0; self.size];
        memory.read(address, &mut node)?;
        let (owner, level) = (self.number(&node, &self.owner), self.number(&node, &self.level));
        // Levels end, also where nodes lead back to each other.
        if level >= above {
            return Err(damaged());
        }
        let children = part(&node, self.children.clone()).chunks_exact(self.word);
        let spent = || Error::Unsupported("there are more pages than are counted".to_owned());
        *budget = budget.checked_sub(1 + children.len() as u64).ok_or_else(spent)?;
        for (slot, child) in (0..).zip(children) {
            let child = self.order.number(child);
            if child & IS_LEAF != 0 || child == 0 {
                // On the lowest level the place says it.
                let index = if level == 0 { Some(owner.checked_add(slot).ok_or_else(damaged)?) } else { None };
                self.leaf(memory, child, index, take)?;
            } else if level == 0 {
                return Err(damaged());
            } else {
                self.node(memory, child, level, budget, take)?;
            }
        }
        Ok(())
    }

    fn leaf(
        &self,
        memory: &KernelMemory,
        leaf: u64,
        index: Option<u64>,
        take: &mut dyn FnMut(Leaf) -> Result<()>,
    ) -> Result<()> {
        let address = leaf & !IS_LEAF;
        if address == 0 {
            return Ok(());
        }
        let index = match index {
            Some(index) => index,
            None => memory.u64(address.saturating_add(self.key_offset))?,
        };
        take(Leaf { index, address })
    }
}
