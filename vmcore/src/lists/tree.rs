//! Walks a tree of tree(3) in order.

use super::{ListEnd, Walk, fault};
use crate::error::Result;
use crate::kernel::{Object, TypedMemory};
use crate::types::{Kind, TypeId, TypeTable};
use std::collections::HashSet;

/// Elements below each other: a tree of 2^64 elements has not more than twice as many as that exponent.
const MAX_DEPTH: usize = 128;
/// The bits of the link to the parent that are not part of its address (`_RB_LR`).
const RANKS: u64 = 3;

/// The members of an element that are its links.
#[derive(Debug, Clone)]
pub(super) struct TreeLinks {
    path: String,
    /// Whether they are one array, `rbe_link`.
    is_array: bool,
}

/// Where an element leads to.
struct Links {
    parent: u64,
    left: u64,
    right: u64,
}

impl TreeLinks {
    /// The links of an `RB_ENTRY`, if the type is one.
    pub fn new(types: &TypeTable, link: TypeId, path: &str) -> Option<Self> {
        let path = path.to_owned();
        if let Some(found) = types.member(link, "rbe_link") {
            let is_array =
                matches!(types.get(types.strip(found.member.type_id)).kind, Kind::Array { count: Some(3), .. });
            return is_array.then_some(Self { path, is_array });
        }
        let has_all = ["rbe_left", "rbe_right", "rbe_parent"].iter().all(|name| types.member(link, name).is_some());
        has_all.then_some(Self { path, is_array: false })
    }

    fn read(&self, element: &Object<'_>) -> Result<Links> {
        let entry = element.member(&self.path)?;
        let of = |index: u64, name: &str| match self.is_array {
            true => entry.member("rbe_link")?.index(index)?.unsigned(),
            false => entry.member(name)?.unsigned(),
        };
        Ok(Links { parent: of(0, "rbe_parent")? & !RANKS, left: of(1, "rbe_left")?, right: of(2, "rbe_right")? })
    }

    const fn parent_member(&self) -> &'static str {
        if self.is_array { "rbe_link[0]" } else { "rbe_parent" }
    }
}

/// Walks a tree from its root on.
pub(super) fn walk(
    walk: &mut Walk,
    typed: TypedMemory<'_>,
    links: &TreeLinks,
    (element, root): (TypeId, u64),
    limit: usize,
) {
    let mut seen = HashSet::new();
    // Elements whose left side was entered, and what is on their right.
    let mut above: Vec<(u64, u64)> = Vec::new();
    let (mut at, mut parent) = (root, None);
    loop {
        while at != 0 {
            if !seen.insert(at) {
                walk.end = ListEnd::Loop(at);
                return;
            }
            if above.len() >= MAX_DEPTH {
                walk.end = ListEnd::TooDeep(at);
                return;
            }
            match links.read(&typed.object(at, element)) {
                Ok(found) => {
                    // The parent of where a walk begins is not known.
                    if let Some(parent) = parent {
                        walk.expect(links.parent_member(), at, found.parent, parent);
                    }
                    above.push((at, found.right));
                    (at, parent) = (found.left, Some(at));
                }
                Err(error) => {
                    let element = parent.unwrap_or(at);
                    walk.end = ListEnd::Unreadable { element, fault: fault(error, at) };
                    return;
                }
            }
        }
        let Some((next, right)) = above.pop() else { return };
        if walk.elements.len() >= limit {
            walk.end = ListEnd::Limit;
            return;
        }
        walk.elements.push(next);
        (at, parent) = (right, Some(next));
    }
}
