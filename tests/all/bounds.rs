//! Parts of slices and narrower numbers come from `vmcore::bounds`, which says what happens where there are none. A
//! fallback in line, `bytes.get(..length).unwrap_or_default()`, makes nothing of a fault of the program, in silence.
//! Clippy's `disallowed-methods` cannot tell it from the empty value of what may be absent.

use super::layers::{is_test, sources};
use syn::visit::{self, Visit};
use syn::{Expr, ExprCall, ExprMethodCall, Item};

/// The fallbacks in a file.
#[derive(Default)]
struct Fallbacks(Vec<String>);

impl<'a> Visit<'a> for Fallbacks {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_expr_method_call(&mut self, call: &'a ExprMethodCall) {
        let method = call.method.to_string();
        if method.starts_with("unwrap_or") || method.starts_with("map_or") {
            let mut source = Source(None);
            source.visit_expr(&call.receiver);
            self.0.extend(source.0.map(|source| format!("{source}(..).{method}(..)")));
        }
        visit::visit_expr_method_call(self, call);
    }
}

/// What may give no part of a slice, or no number, among what a fallback is for.
struct Source(Option<String>);

impl<'a> Visit<'a> for Source {
    fn visit_expr_call(&mut self, call: &'a ExprCall) {
        // What else a function is given is no fallback's.
        if let Expr::Path(function) = &*call.func
            && let Some(name) = function.path.segments.last()
            && name.ident == "try_from"
        {
            self.0 = Some("try_from".to_owned());
        }
    }

    fn visit_expr_method_call(&mut self, call: &'a ExprMethodCall) {
        let method = call.method.to_string();
        let of_slice = match &*method {
            "get" | "get_mut" => matches!(call.args.first(), Some(Expr::Range(_))),
            "try_into" => true,
            _ => method.starts_with("split_") && method.ends_with("_checked"),
        };
        if of_slice {
            self.0 = Some(method);
        }
        visit::visit_expr_method_call(self, call);
    }
}

fn fallbacks(file: &syn::File) -> Vec<String> {
    let mut found = Fallbacks::default();
    found.visit_file(file);
    found.0
}

#[test]
fn no_fallback_stands_in_line() {
    let (mut files, mut found) = (0, Vec::new());
    for folder in ["src", "ctf/src", "vmcore/src"] {
        for (path, file) in sources(folder) {
            files += 1;
            let fallbacks = if path.ends_with("bounds.rs") { Vec::new() } else { fallbacks(&file) };
            found.extend(fallbacks.into_iter().map(|fallback| format!("{folder}/{}: {fallback}", path.display())));
        }
    }
    assert!(files > 150, "{files} files were found");
    assert!(found.is_empty(), "what vmcore::bounds is for stands in line:\n{}", found.join("\n"));
}

#[test]
fn a_fallback_is_found_and_an_absent_value_is_none() {
    let found = |body: &str| fallbacks(&syn::parse_str(&format!("fn f() {{ {body}; }}")).unwrap());
    for (body, expected) in [
        ("a.get(..n).unwrap_or_default()", &["get(..).unwrap_or_default(..)"][..]),
        ("a.get_mut(n..).unwrap_or(&mut [])", &["get_mut(..).unwrap_or(..)"]),
        ("g(a.get(n..).and_then(|a| a.first()).copied().map_or(0, h))", &["get(..).map_or(..)"]),
        ("a.get(n).and_then(|a| a.get(..m)).unwrap_or_default()", &["get(..).unwrap_or_default(..)"]),
        ("usize::try_from(n).unwrap_or(usize::MAX).min(3)", &["try_from(..).unwrap_or(..)"]),
        ("usize::try_from(n).ok().and_then(|n| a.get(n)).copied().unwrap_or(0)", &["try_from(..).unwrap_or(..)"]),
        ("n.try_into().unwrap_or(0u8)", &["try_into(..).unwrap_or(..)"]),
        ("a.split_at_checked(n).unwrap_or((a, &[]))", &["split_at_checked(..).unwrap_or(..)"]),
        (
            "a.get(&key).copied().unwrap_or(0); text.lines().next().unwrap_or_default(); n.unwrap_or(h(a.get(..n)?))",
            &[],
        ),
    ] {
        assert_eq!(found(body), expected, "{body}");
    }
    assert_eq!(
        fallbacks(&syn::parse_str("#[cfg(test)] mod tests { fn f() { a.get(..n).unwrap_or(b); } }").unwrap()),
        [""; 0]
    );
}
