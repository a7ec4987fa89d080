//! The layers of the program, of `ctf`, of `vmcore` and of `vmcore-synth`: in each folder of their sources, the modules can be put
//! in an order in which each imports only those before it. Tests may import what they like, and a module and the parts
//! that it consists of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, File, Item, ItemUse, Macro, UseTree, Visibility};

/// A module's path from the root of its crate, which is that of the library but for `cli`.
type Module = Vec<String>;

/// The paths that a file names, without those of its tests.
#[derive(Default)]
struct Named {
    paths: Vec<Vec<String>>,
    /// What it hands on by `pub use`: under which name, and from where.
    handed_on: BTreeMap<String, Vec<String>>,
}

/// Whether an item is there for tests alone.
pub(super) fn is_test(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
    })
}

impl Named {
    fn named(&mut self, name: String, path: Vec<String>, is_public: bool) {
        if is_public {
            self.handed_on.insert(name, path.clone());
        }
        self.paths.push(path);
    }

    fn tree(&mut self, tree: &UseTree, before: &[String], is_public: bool) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(path.ident.to_string()), is_public),
            UseTree::Name(name) => self.named(name.ident.to_string(), with(name.ident.to_string()), is_public),
            UseTree::Rename(name) => self.named(name.rename.to_string(), with(name.ident.to_string()), is_public),
            UseTree::Glob(_) => self.paths.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, before, is_public)),
        }
    }
}

impl<'a> Visit<'a> for Named {
    fn visit_item(&mut self, item: &'a Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'a ItemUse) {
        self.tree(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        if path.segments.len() > 1 {
            self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'a Macro) {
        // What a macro is given need not be Rust; a path in it is.
        let tokens = invocation.tokens.to_string();
        let words: Vec<&str> = tokens.split_whitespace().collect();
        for start in (0..words.len()).filter(|start| matches!(words[*start], "crate" | "super" | "memtool")) {
            let steps = words[start..].chunks(2).take_while(|step| step.get(1) == Some(&"::"));
            let mut path: Vec<String> = steps.map(|step| step[0].to_owned()).collect();
            path.extend(words.get(start + 2 * path.len()).map(|last| (*last).to_owned()));
            self.paths.push(path);
        }
    }
}

/// The source files of a folder but for those of tests, by their paths in it.
pub(super) fn sources(folder: &str) -> Vec<(PathBuf, File)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), file));
            }
        }
    }
    found
}

/// The modules of a folder, with what each file names.
fn read(folder: &str) -> BTreeMap<Module, Named> {
    let module = |(path, file): (PathBuf, File)| {
        let mut named = Named::default();
        named.visit_file(&file);
        let mut module: Module = path.with_extension("").iter().map(|step| step.to_str().unwrap().to_owned()).collect();
        module.pop_if(|last| matches!(&**last, "mod" | "lib" | "main"));
        (module, named)
    };
    sources(folder).into_iter().map(module).collect()
}

/// The module that a path in another one leads to, if it is one of the program's.
fn resolve(modules: &BTreeMap<Module, Named>, from: &Module, path: &[String], depth: usize) -> Option<Module> {
    let ups = path.iter().take_while(|step| *step == "super").count();
    let (mut module, rest) = match path.first()?.as_str() {
        "crate" | "memtool" => (Vec::new(), &path[1..]),
        "self" => (from.clone(), &path[1..]),
        "super" => (from[..from.len().checked_sub(ups)?].to_vec(), &path[ups..]),
        name if modules.contains_key(&[&from[..], &[name.to_owned()]].concat()) => (from.clone(), path),
        _ => return None,
    };
    for (at, step) in rest.iter().enumerate() {
        module.push(step.clone());
        if !modules.contains_key(&module) {
            module.pop();
            // What a module hands on is where it is from.
            let from_there = modules.get(&module).and_then(|named| named.handed_on.get(step));
            return match from_there.filter(|path| path.as_slice() != &rest[at..]) {
                Some(path) if depth < 8 => resolve(modules, &module, path, depth + 1),
                _ => (!module.is_empty()).then_some(module),
            };
        }
    }
    (!module.is_empty()).then_some(module)
}

/// Modules of a folder that import one another in circles, and what ties them.
fn circles(imports: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<String> {
    let mut tied: BTreeSet<&String> = imports.keys().collect();
    // What imports nothing that is left stands below the rest, and what nothing imports above it.
    loop {
        let is_below = |module: &&String| !imports[*module].keys().any(|other| tied.contains(other));
        let is_above = |module: &&String| !tied.iter().any(|other| imports[*other].contains_key(*module));
        let placed: Vec<&String> = tied.iter().copied().filter(|module| is_below(module) || is_above(module)).collect();
        if placed.is_empty() {
            break;
        }
        tied.retain(|module| !placed.contains(module));
    }
    let ties = tied.iter().flat_map(|module| imports[*module].iter().filter(|(other, _)| tied.contains(other)));
    ties.map(|(_, tie)| tie.clone()).collect()
}

#[test]
fn imports_only_look_down() {
    for (sources, at_least) in [("src", 50), ("ctf/src", 5), ("vmcore/src", 30), ("vmcore-synth/src", 7)] {
        let found = circles_of(sources, at_least);
        assert!(found.is_empty(), "modules import one another in a circle:\n{}", found.join("\n"));
    }
}

/// The circles of a crate, of which so many modules are known.
fn circles_of(sources: &str, at_least: usize) -> Vec<String> {
    let modules = read(sources);
    assert!(modules.len() > at_least, "{} modules were found in {sources}", modules.len());
    let mut folders: BTreeMap<Module, BTreeMap<String, BTreeMap<String, String>>> = BTreeMap::new();
    for (from, named) in &modules {
        for path in &named.paths {
            let Some(to) = resolve(&modules, from, path, 0) else { continue };
            let folder = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            // Else one of them is part of the other.
            if let (Some(user), Some(used)) = (from.get(folder), to.get(folder)) {
                let imports = folders.entry(from[..folder].to_vec()).or_default();
                imports.entry(used.clone()).or_default();
                let tie = format!("{sources}/{}: {}", from.join("/"), path.join("::"));
                imports.entry(user.clone()).or_default().insert(used.clone(), tie);
            }
        }
    }
    folders.values().flat_map(circles).collect()
}

#[test]
fn a_circle_is_found_over_other_modules_too() {
    let imports = |list: &[(&str, &[&str])]| -> BTreeMap<String, BTreeMap<String, String>> {
        let of = |(from, to): &(&str, &[&str])| {
            let to = to.iter().map(|to| ((*to).to_owned(), format!("{from} -> {to}"))).collect();
            ((*from).to_owned(), to)
        };
        list.iter().map(of).collect()
    };
    assert_eq!(circles(&imports(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), Vec::<String>::new());
    let tied = imports(&[("a", &["b"]), ("b", &["c", "d"]), ("c", &["b"]), ("d", &[])]);
    assert_eq!(circles(&tied), ["b -> c", "c -> b"]);
    let long = imports(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"])]);
    assert_eq!(circles(&long), ["a -> b", "b -> c", "c -> a"]);
}
