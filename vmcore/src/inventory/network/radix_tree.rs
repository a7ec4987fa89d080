//! The trees that routes are found by: radix trees, whose leaves are networks and hosts.
//!
//! Sources: `sys/net/radix.h`, `rn_walktree()` in `sys/net/radix.c`.

use crate::error::{Error, Result};
use crate::kernel::Object;
use crate::units::Hex;
use std::collections::HashSet;

/// `RNF_ROOT`: the leaf is an end of the tree, not a route.
const RNF_ROOT: u64 = 2;

/// The leaves of a tree.
pub(super) struct Leaves<'a> {
    /// Those that were found, in the order of their addresses.
    pub found: Vec<Object<'a>>,
    /// Why there may be more.
    pub end: Option<Error>,
}

/// All leaves below a node, which are at most so many: from the lowest address on.
pub(super) fn leaves<'a>(top: Object<'a>, limit: usize) -> Leaves<'a> {
    let mut walk = Walk { seen: HashSet::new(), pending: vec![top], found: Vec::new(), limit };
    let mut end = None;
    while let Some(node) = walk.pending.pop() {
        if let Err(error) = walk.visit(&node) {
            end = end.or(Some(error));
        }
        if walk.found.len() >= walk.limit {
            break;
        }
    }
    Leaves { found: walk.found, end }
}

struct Walk<'a> {
    seen: HashSet<u64>,
    /// Nodes that are still to be visited, the next one last.
    pending: Vec<Object<'a>>,
    found: Vec<Object<'a>>,
    limit: usize,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, node: &Object<'a>) -> Result<()> {
        let address = node.address();
        if !self.seen.insert(address) {
            return Err(Error::Format(format!("the tree leads back to {}", Hex(address))));
        }
        let fetched = node.fetched()?;
        if fetched.member("rn_bit")?.signed()? >= 0 {
            // What is pushed last is visited first.
            self.pending.push(fetched.member("rn_u.rn_node.rn_R")?.dereference()?);
            self.pending.push(fetched.member("rn_u.rn_node.rn_L")?.dereference()?);
            return Ok(());
        }
        // Networks with the same address and longer masks are before those with shorter ones.
        self.pending.extend(fetched.member("rn_u.rn_leaf.rn_Dupedkey")?.follow()?);
        if fetched.member("rn_flags")?.unsigned()? & RNF_ROOT != 0 {
            return Ok(());
        }
        if self.found.len() >= self.limit {
            return Err(Error::Format(format!("the tree has more than {} routes", self.limit)));
        }
        self.found.push(fetched);
        Ok(())
    }
}
