//! Which members connect the elements of a list, by their types: whether a list can be walked is known before any memory is
//! read.

use super::tree::TreeLinks;
use super::{Head, ListKind};
use crate::near::{did_you_mean, near};
use crate::types::{Kind, TypeId, TypeTable};
use std::fmt;

/// How to walk a list.
#[derive(Debug, Clone)]
pub struct ListPlan {
    /// The type of its elements.
    pub element: TypeId,
    /// Its head, unless it begins with an element.
    pub(super) head: Option<Head>,
    /// The path of the member that points to the next element.
    pub(super) next: String,
    /// The path and the name of the member that leads back.
    pub(super) previous: Option<(String, &'static str)>,
    /// Whether the member that was named is a pointer by itself.
    pub(super) is_chain: bool,
    /// The links of a tree.
    pub(super) tree: Option<TreeLinks>,
    /// Whether the expression's value is the address of the head or of an element, and not itself one.
    pub is_pointer: bool,
}

/// Why a list cannot be walked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListError {
    /// What was given is neither the head of a list nor an element: it is of this type.
    NoList(String),
    /// It is the head of a tree, or that of a list where a tree was expected: it is of this type.
    OtherWalk {
        /// Its type.
        type_name: String,
        /// Whether it is a tree.
        is_tree: bool,
    },
    /// The type of the elements is not known: it is this one, which is incomplete.
    Incomplete(String),
    /// The elements, which are of the first type, have no such member.
    NoMember {
        /// The elements.
        of: String,
        /// The path of the member.
        path: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// The member is of this type, which does not connect elements of a list so.
    NoLink {
        /// The path of the member.
        path: String,
        /// Its type.
        type_name: String,
        /// What was expected.
        expected: &'static str,
    },
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoList(name) => write!(f, "it is neither the head of a list nor an element: its type is {name}"),
            Self::OtherWalk { type_name, is_tree: true } => write!(f, "{type_name} is a red-black tree, not a list"),
            Self::OtherWalk { type_name, is_tree: false } => write!(f, "{type_name} is a list, not a red-black tree"),
            Self::Incomplete(name) => write!(f, "the elements are of {name}, whose members are not known"),
            Self::NoMember { of, path, near } => {
                write!(f, "the elements are of {of}, which has no member '{path}'{}", did_you_mean(near))
            }
            Self::NoLink { path, type_name, expected } => {
                write!(f, "the member '{path}' does not connect elements: it is of {type_name}, not {expected}")
            }
        }
    }
}

impl std::error::Error for ListError {}

/// The members of a list of queue(3).
struct Members {
    kind: ListKind,
    first: &'static str,
    last: Option<&'static str>,
    next: &'static str,
    previous: Option<&'static str>,
}

/// `sys/sys/queue.h`, and the same lists for readers without locks (`sys/contrib/ck/include/ck_queue.h`).
const QUEUES: [Members; 7] = [
    Members { kind: ListKind::Any, first: "clh_first", last: None, next: "cle_next", previous: Some("cle_prev") },
    Members { kind: ListKind::Slist, first: "cslh_first", last: None, next: "csle_next", previous: None },
    Members {
        kind: ListKind::Stailq,
        first: "cstqh_first",
        last: Some("cstqh_last"),
        next: "cstqe_next",
        previous: None,
    },
    Members { kind: ListKind::Any, first: "lh_first", last: None, next: "le_next", previous: Some("le_prev") },
    Members { kind: ListKind::Slist, first: "slh_first", last: None, next: "sle_next", previous: None },
    Members { kind: ListKind::Stailq, first: "stqh_first", last: Some("stqh_last"), next: "stqe_next", previous: None },
    Members {
        kind: ListKind::Tailq,
        first: "tqh_first",
        last: Some("tqh_last"),
        next: "tqe_next",
        previous: Some("tqe_prev"),
    },
];
const TREE_ROOT: &str = "rbh_root";

/// Whether what a type is has a member.
fn has(types: &TypeTable, type_id: TypeId, name: &str) -> bool {
    types.member(type_id, name).is_some()
}

impl ListPlan {
    /// How to walk a list, from the type of its head, of an element, or of a pointer to one of these, and the path of the
    /// member of elements that connects them.
    ///
    /// # Errors
    ///
    /// Such a list does not begin there, or the member does not connect elements so.
    pub fn new(types: &TypeTable, start: TypeId, kind: ListKind, path: &str) -> Result<Self, ListError> {
        let stripped = types.strip(start);
        let target = match types.get(stripped).kind {
            Kind::Pointer(target) => Some(target),
            _ => None,
        };
        let begin = target.unwrap_or(stripped);
        if types.aggregate(begin).is_none() {
            return Err(if matches!(types.get(types.strip(begin)).kind, Kind::Incomplete(_)) {
                ListError::Incomplete(types.name_of(begin))
            } else {
                ListError::NoList(types.name_of(start))
            });
        }
        let head = head(types, begin, kind);
        let is_tree = kind != ListKind::Tree && has(types, begin, TREE_ROOT);
        let is_list = kind == ListKind::Tree && QUEUES.iter().any(|queue| has(types, begin, queue.first));
        if head.is_none() && (is_tree || is_list) {
            return Err(ListError::OtherWalk { type_name: types.name_of(begin), is_tree });
        }
        let element = match &head {
            Some(head) => types.member(begin, head.first).and_then(|found| types.target(found.member.type_id)),
            None => Some(begin),
        };
        let element = element.ok_or_else(|| ListError::NoList(types.name_of(start)))?;
        let plan = Self {
            element,
            head,
            next: path.to_owned(),
            previous: None,
            is_chain: false,
            tree: None,
            is_pointer: target.is_some(),
        };
        plan.with_link(types, kind, path)
    }

    /// The same with the member that connects elements.
    fn with_link(mut self, types: &TypeTable, kind: ListKind, path: &str) -> Result<Self, ListError> {
        let link = self.member(types, path)?;
        let no_link = |expected| ListError::NoLink { path: path.to_owned(), type_name: types.name_of(link), expected };
        if kind == ListKind::Tree {
            self.tree = Some(TreeLinks::new(types, link, path).ok_or_else(|| no_link("RB_ENTRY"))?);
            return Ok(self);
        }
        let found = QUEUES.iter().find(|queue| has(types, link, queue.next));
        match found.filter(|queue| kind == ListKind::Any || kind == queue.kind) {
            Some(queue) => {
                self.next = format!("{path}.{}", queue.next);
                self.previous = queue.previous.map(|member| (format!("{path}.{member}"), member));
            }
            None if kind == ListKind::Any && types.target(link).is_some_and(|to| self.is_element(types, to)) => {
                self.is_chain = self.head.is_none();
            }
            None => return Err(no_link(expected(kind))),
        }
        Ok(self)
    }

    /// Whether a type is that of elements: what a pointer to `void` leads to is believed to be one.
    fn is_element(&self, types: &TypeTable, to: TypeId) -> bool {
        matches!(types.get(types.strip(to)).kind, Kind::Void) || types.is_same_layout(to, self.element)
    }

    fn member(&self, types: &TypeTable, path: &str) -> Result<TypeId, ListError> {
        if types.aggregate(self.element).is_none() {
            return Err(ListError::Incomplete(types.name_of(self.element)));
        }
        let mut at = self.element;
        for name in path.split('.') {
            at = match types.member(at, name) {
                Some(found) if found.member.bits.is_none() => found.member.type_id,
                _ => {
                    let names = types.aggregate(at).into_iter().flat_map(|found| &found.members);
                    let near = near(name, names.map(|member| &*member.name).filter(|name| !name.is_empty()));
                    return Err(ListError::NoMember { of: types.name_of(self.element), path: path.to_owned(), near });
                }
            };
        }
        Ok(at)
    }
}

fn expected(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Any => "a pointer to an element or an entry of queue(3)",
        ListKind::Slist => "SLIST_ENTRY",
        ListKind::Stailq => "STAILQ_ENTRY",
        ListKind::Tailq => "TAILQ_ENTRY",
        ListKind::Tree => "RB_ENTRY",
    }
}

/// The head that a structure is, if it is one.
fn head(types: &TypeTable, type_id: TypeId, kind: ListKind) -> Option<Head> {
    if kind == ListKind::Tree {
        return has(types, type_id, TREE_ROOT).then_some(Head { type_id, first: TREE_ROOT, last: None });
    }
    let queue = QUEUES.iter().find(|queue| has(types, type_id, queue.first))?;
    let last = queue.last.filter(|last| has(types, type_id, last));
    Some(Head { type_id, first: queue.first, last })
}
