//! Types as C writes them.

use super::{Kind, TypeId, TypeTable};

/// More of a declaration than any C has.
const MAX_DEPTH: usize = 32;
/// More types in one declaration than any C has.
const MAX_PARTS: usize = 512;

impl TypeTable {
    /// A type as C writes it: `struct proc *`, `char [20]`, `int (*)(void *)`.
    pub fn name_of(&self, id: TypeId) -> String {
        self.declare(id, "")
    }

    /// A declaration of a name with a type, as C writes it: `int (*handler)(void *)`.
    pub fn declare(&self, id: TypeId, name: &str) -> String {
        self.declare_within(id, name.to_owned(), MAX_DEPTH, &mut MAX_PARTS.clone())
    }

    fn declare_within(&self, id: TypeId, inner: String, depth: usize, parts: &mut usize) -> String {
        let (Some(depth), Some(remaining)) = (depth.checked_sub(1), parts.checked_sub(1)) else {
            return join("...", &inner);
        };
        *parts = remaining;
        let found = self.get(id);
        // Behind a pointer, arrays and functions bind first.
        let grouped = |inner: String| if inner.starts_with('*') { format!("({inner})") } else { inner };
        match &found.kind {
            Kind::Pointer(target) => self.declare_within(*target, format!("*{inner}"), depth, parts),
            Kind::Array { element, count } => {
                let count = count.map_or_else(String::new, |count| count.to_string());
                self.declare_within(*element, format!("{}[{count}]", grouped(inner)), depth, parts)
            }
            Kind::Function(function) => {
                let mut parameters: Vec<String> = function
                    .parameters
                    .iter()
                    .map(|parameter| self.declare_within(*parameter, String::new(), depth, parts))
                    .collect();
                if function.is_variadic {
                    parameters.push("...".to_owned());
                }
                let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters.join(", ") };
                self.declare_within(function.returns, format!("{}({parameters})", grouped(inner)), depth, parts)
            }
            // A qualifier of a pointer stands behind its asterisk.
            Kind::Qualified(qualifier, target) => match self.get(*target).kind {
                Kind::Pointer(_) => self.declare_within(*target, join(qualifier.keyword(), &inner), depth, parts),
                _ => format!("{} {}", qualifier.keyword(), self.declare_within(*target, inner, depth, parts)),
            },
            Kind::Void => join("void", &inner),
            Kind::Unknown => join("<unknown type>", &inner),
            _ => {
                let name = if found.name.is_empty() { "{...}" } else { &found.name };
                let full = self.tag(id).map_or_else(|| name.to_owned(), |tag| format!("{} {name}", tag.keyword()));
                join(&full, &inner)
            }
        }
    }
}

fn join(name: &str, inner: &str) -> String {
    if inner.is_empty() { name.to_owned() } else { format!("{name} {inner}") }
}
