//! Walks the lists and trees of a kernel by its types: those of queue(3), `LIST`, `SLIST`, `STAILQ` and `TAILQ`; chains of
//! structures that point to the next; and the trees of tree(3), `RB`, in order. A list that leads back to itself, or to
//! where nothing can be read, ends there; pointers that lead back are compared with where they should.
//!
//! Sources: `sys/sys/queue.h`, and `sys/contrib/ck/include/ck_queue.h` with the same lists as `CK_LIST` and so on;
//! `sys/sys/tree.h`, whose trees have three links, of which the first, to the parent, has the
//! ranks of children in its lower bits (since FreeBSD 13), or members `rbe_left`, `rbe_right` and `rbe_parent`.

mod plan;
mod tree;

pub use plan::{ListError, ListPlan};

use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::kernel::{Object, TypedMemory};
use crate::types::TypeId;
use crate::units::Hex;
use std::collections::HashSet;
use std::fmt;

/// Pointers that lead elsewhere which are told one by one.
const TOLD: usize = 3;

/// How the elements of a list are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// Any list but a tree: the members of its structures tell which.
    Any,
    /// `SLIST`.
    Slist,
    /// `STAILQ`.
    Stailq,
    /// `TAILQ`.
    Tailq,
    /// `RB`.
    Tree,
}

/// The elements of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// The addresses of the elements, in their order.
    pub elements: Vec<u64>,
    /// How the list ended.
    pub end: ListEnd,
    /// Pointers that do not lead back to where they should: the first few.
    pub stray: Vec<StrayPointer>,
    /// How many pointers do not lead back to where they should.
    pub stray_count: usize,
}

/// How a list ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListEnd {
    /// With its last element.
    Complete,
    /// More elements follow than were asked for.
    Limit,
    /// It leads back to the element at an address.
    Loop(u64),
    /// The element at an address cannot be read.
    Unreadable {
        /// The element.
        element: u64,
        /// What cannot be read, and why.
        fault: Fault,
    },
    /// More is below the element at an address of a tree than any tree has below each other.
    TooDeep(u64),
}

/// A pointer that does not lead back to where it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrayPointer {
    /// The member.
    pub member: &'static str,
    /// The element that has it, or the head of the list.
    pub element: u64,
    /// Where it leads to.
    pub found: u64,
    /// Where it should lead to.
    pub expected: u64,
}

impl Walk {
    fn new() -> Self {
        Self { elements: Vec::new(), end: ListEnd::Complete, stray: Vec::new(), stray_count: 0 }
    }

    /// Whether all elements were found, and all pointers lead where they should.
    pub fn is_whole(&self) -> bool {
        self.end == ListEnd::Complete && self.stray_count == 0
    }

    /// Compares a pointer with where it should lead to.
    fn expect(&mut self, member: &'static str, element: u64, found: u64, expected: u64) {
        if found == expected {
            return;
        }
        self.stray_count = self.stray_count.saturating_add(1);
        if self.stray.len() < TOLD {
            self.stray.push(StrayPointer { member, element, found, expected });
        }
    }
}

impl fmt::Display for ListEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("the list is complete"),
            Self::Limit => f.write_str("the list has more elements than were asked for"),
            Self::Loop(element) => write!(f, "the list leads back to {}", Hex(*element)),
            Self::Unreadable { element, fault } => {
                write!(f, "the list cannot be followed beyond {}: {fault}", Hex(*element))
            }
            Self::TooDeep(element) => write!(f, "the tree is too deep at {}", Hex(*element)),
        }
    }
}

impl fmt::Display for StrayPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, element, found, expected } = self;
        write!(f, "{member} of {} is {}, not {}", Hex(*element), Hex(*found), Hex(*expected))
    }
}

impl ListPlan {
    /// Walks the list from its head, or from one of its elements, at an address; at most so many elements.
    ///
    /// # Errors
    ///
    /// The head cannot be read.
    pub fn walk(&self, typed: TypedMemory<'_>, start: u64, limit: usize) -> Result<Walk> {
        let mut walk = Walk::new();
        let (first, head_link) = match &self.head {
            Some(head) => {
                let link = typed.object(start, head.type_id).member(head.first)?;
                (link.unsigned()?, Some(link.address()))
            }
            None => (start, None),
        };
        if let Some(links) = &self.tree {
            tree::walk(&mut walk, typed, links, (self.element, first), limit);
            return Ok(walk);
        }
        let last_link = self.follow(&mut walk, typed, (first, head_link), limit);
        if let (ListEnd::Complete, Some(head), Some(link)) = (walk.end, &self.head, last_link)
            && let Some(last) = head.last
        {
            let found = typed.object(start, head.type_id).member(last)?.unsigned()?;
            walk.expect(last, start, found, link);
        }
        Ok(walk)
    }

    /// Follows a list that is no tree: the address of the last pointer of it.
    fn follow(
        &self,
        walk: &mut Walk,
        typed: TypedMemory<'_>,
        (first, head_link): (u64, Option<u64>),
        limit: usize,
    ) -> Option<u64> {
        let mut seen = HashSet::new();
        let (mut at, mut link) = (first, head_link);
        while at != 0 {
            if !seen.insert(at) {
                // A ring without a head ends where it began.
                let is_ring = self.is_chain && at == first;
                walk.end = if is_ring { ListEnd::Complete } else { ListEnd::Loop(at) };
                return None;
            }
            if walk.elements.len() >= limit {
                walk.end = ListEnd::Limit;
                return None;
            }
            let element = typed.object(at, self.element);
            match self.step(walk, &element, link) {
                Ok((next, next_link)) => {
                    walk.elements.push(at);
                    (at, link) = (next, Some(next_link));
                }
                Err(error) => {
                    walk.end = ListEnd::Unreadable {
                        element: walk.elements.last().copied().unwrap_or(at),
                        fault: fault(error, at),
                    };
                    return None;
                }
            }
        }
        link
    }

    /// Where the element after one is, and the address of the pointer to it; `link` is that of the pointer to this one.
    fn step(&self, walk: &mut Walk, element: &Object<'_>, link: Option<u64>) -> Result<(u64, u64)> {
        let next = element.member(&self.next)?;
        let following = next.unsigned()?;
        if let (Some((path, member)), Some(link)) = (&self.previous, link) {
            walk.expect(member, element.address(), element.member(path)?.unsigned()?, link);
        }
        Ok((following, next.address()))
    }
}

/// What of an element cannot be read; its members were seen to exist.
fn fault(error: Error, element: u64) -> Fault {
    match error {
        Error::Fault(fault) => fault,
        _ => Fault::new(element, crate::fault::Why::NotCovered),
    }
}

/// The structure that has the first element of a list.
#[derive(Debug, Clone)]
struct Head {
    type_id: TypeId,
    /// The member that points to the first element.
    first: &'static str,
    /// The member that points to the last pointer, if there is one.
    last: Option<&'static str>,
}
