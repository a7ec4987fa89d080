//! Types and variables from declarations of C, so that those of the kernel can be read as such. A subset: structures, unions,
//! enumerations, typedefs, pointers, arrays, functions behind pointers, and the macros of queue(3).
//!
//! Variables are declared `extern`, or `static` where their symbol is a local one; `PCPU` and `VNET` stand for
//! `DPCPU_DEFINE` and `VNET_DEFINE`.

use std::collections::{BTreeMap, VecDeque};
use vmcore_synth::ctf::Type;
use vmcore_synth::typed_kernel::TypedKernel;

/// The types of a kernel, by name: `proc` is `struct proc`.
#[derive(Clone, Debug, Default)]
pub struct Types {
    tags: BTreeMap<String, Type>,
    names: BTreeMap<String, Type>,
    defined: BTreeMap<String, bool>,
    pointers: BTreeMap<u32, Type>,
}

impl Types {
    /// Defines the types and variables that a text declares.
    pub fn read(kernel: &mut TypedKernel, text: &str) -> Self {
        let mut types = Self::default();
        let basic = kernel.basic;
        for (name, of) in [
            ("void", basic.void),
            ("char", basic.character),
            ("_Bool", basic.boolean),
            ("unsigned char", basic.unsigned_char),
            ("short", basic.short),
            ("unsigned short", basic.unsigned_short),
            ("int", basic.int),
            ("unsigned int", basic.unsigned_int),
            ("unsigned", basic.unsigned_int),
            ("long", basic.long),
            ("unsigned long", basic.unsigned_long),
        ] {
            types.names.insert(name.to_owned(), of);
        }
        let signed = kernel.types.integer("signed char", 1, vmcore_synth::ctf::SIGNED);
        types.names.insert("signed char".to_owned(), signed);
        types.names.insert("signed".to_owned(), basic.int);
        types.pointers.insert(basic.void.number(), basic.pointer);
        types.pointers.insert(basic.character.number(), basic.string);
        let mut parser = Parser { kernel, types, tokens: tokens(text) };
        while !parser.tokens.is_empty() {
            parser.declaration();
        }
        let Parser { kernel, types, .. } = parser;
        for (tag, of) in types.tags.iter().filter(|(tag, _)| !types.defined.contains_key(*tag)) {
            kernel.types.at(*of).forward(tag);
        }
        types
    }

    /// A structure, a union, or the type of a typedef.
    #[track_caller]
    pub fn of(&self, name: &str) -> Type {
        let found = self.tags.get(name).or_else(|| self.names.get(name));
        *found.unwrap_or_else(|| panic!("no type is called {name}"))
    }
}

fn tokens(text: &str) -> VecDeque<String> {
    let mut tokens = VecDeque::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("/*") {
            rest = &rest[rest.find("*/").expect("a comment ends") + 2..];
            continue;
        } else if first.is_whitespace() {
            rest = rest.trim_start();
            continue;
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            1
        };
        tokens.push_back(rest[..length].to_owned());
        rest = &rest[length..];
    }
    tokens
}

/// What a list has: its name, the members of its head, the second one for the last element, and those of its elements.
type List = (&'static str, &'static str, &'static str, &'static str, &'static str);

const LISTS: [List; 6] = [
    ("LIST", "lh_first", "", "le_next", "le_prev"),
    ("CK_LIST", "clh_first", "", "cle_next", "cle_prev"),
    ("TAILQ", "tqh_first", "tqh_last", "tqe_next", "tqe_prev"),
    ("STAILQ", "stqh_first", "stqh_last", "stqe_next", ""),
    ("CK_STAILQ", "cstqh_first", "cstqh_last", "cstqe_next", ""),
    ("SLIST", "slh_first", "", "sle_next", ""),
];

struct Parser<'a> {
    kernel: &'a mut TypedKernel,
    types: Types,
    tokens: VecDeque<String>,
}

impl Parser<'_> {
    fn next(&mut self) -> String {
        self.tokens.pop_front().expect("a declaration ends")
    }

    fn is(&mut self, token: &str) -> bool {
        let is = self.tokens.front().is_some_and(|next| next == token);
        if is {
            self.tokens.pop_front();
        }
        is
    }

    fn expect(&mut self, token: &str) {
        let next = self.next();
        assert_eq!(next, token, "before {:?}", self.tokens.iter().take(8).collect::<Vec<_>>());
    }

    fn pointer(&mut self, to: Type) -> Type {
        if let Some(known) = self.types.pointers.get(&to.number()) {
            return *known;
        }
        let pointer = self.kernel.types.pointer(to);
        self.types.pointers.insert(to.number(), pointer);
        pointer
    }

    fn declaration(&mut self) {
        let kind = ["extern", "static", "PCPU", "VNET", "typedef"].into_iter().find(|kind| self.is(kind));
        let base = self.base();
        if self.is(";") {
            return;
        }
        let (name, of) = self.declarator(base);
        self.expect(";");
        match kind {
            Some("extern") => drop(self.kernel.variable(&name, of)),
            Some("static") => drop(self.kernel.static_variable(&name, of)),
            Some("PCPU") => drop(self.kernel.per_cpu_variable(&name, of)),
            Some("VNET") => drop(self.kernel.per_vnet_variable(&name, of)),
            Some(_) => {
                let of = self.kernel.types.typedef(&name, of);
                self.types.names.insert(name, of);
            }
            None => panic!("{name} is neither extern nor static"),
        }
    }

    /// The type that a declaration begins with.
    fn base(&mut self) -> Type {
        while self.is("const") || self.is("volatile") {}
        let first = self.next();
        match first.as_str() {
            "struct" | "union" => return self.aggregate(first == "union"),
            "enum" => return self.enumeration(),
            _ => {}
        }
        if let Some((list, is_head)) = list_macro(&first) {
            return self.list(list, is_head);
        }
        let mut name = first;
        while let Some(longer) = self.tokens.front().map(|next| format!("{name} {next}"))
            && self.types.names.contains_key(&longer)
        {
            self.tokens.pop_front();
            name = longer;
        }
        while self.is("const") || self.is("volatile") {}
        *self.types.names.get(&name).unwrap_or_else(|| panic!("no type is called {name}"))
    }

    /// The number of a tag, whether it is defined or not.
    fn tag(&mut self, tag: &str) -> Type {
        if let Some(known) = self.types.tags.get(tag) {
            return *known;
        }
        let of = self.kernel.types.reserve();
        self.types.tags.insert(tag.to_owned(), of);
        of
    }

    fn aggregate(&mut self, is_union: bool) -> Type {
        let tag = if self.tokens.front().is_some_and(|next| next == "{") { String::new() } else { self.next() };
        let of = (!tag.is_empty()).then(|| self.tag(&tag));
        if !self.is("{") {
            return of.expect("a structure without members has a tag");
        }
        let mut members: Vec<(String, Type)> = Vec::new();
        while !self.is("}") {
            let base = self.base();
            if self.is(";") {
                members.push((String::new(), base));
                continue;
            }
            loop {
                members.push(self.declarator(base));
                if !self.is(",") {
                    break;
                }
            }
            self.expect(";");
        }
        let members: Vec<(&str, Type)> = members.iter().map(|(name, of)| (name.as_str(), *of)).collect();
        let types = &mut self.kernel.types;
        if let Some(of) = of {
            types.at(of);
            self.types.defined.insert(tag.clone(), true);
        }
        if is_union { types.union_of(&tag, &members) } else { types.record(&tag, &members) }
    }

    fn enumeration(&mut self) -> Type {
        let tag = if self.tokens.front().is_some_and(|next| next == "{") { String::new() } else { self.next() };
        // As in C23: its type.
        let size = if self.is(":") {
            let of = self.base();
            self.kernel.types.size_of(of)
        } else {
            4
        };
        if !self.is("{") {
            return *self.types.tags.get(&tag).expect("an enumeration is defined before it is used");
        }
        let mut values: Vec<(String, i32)> = Vec::new();
        let mut number = 0;
        while !self.is("}") {
            let name = self.next();
            if self.is("=") {
                number = self.number() as i32;
            }
            values.push((name, number));
            number += 1;
            self.is(",");
        }
        let values: Vec<(&str, i32)> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let of = self.kernel.types.enumeration(&tag, size, &values);
        self.types.tags.insert(tag.clone(), of);
        self.types.defined.insert(tag, true);
        of
    }

    fn number(&mut self) -> u32 {
        let text = self.next();
        match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).expect("a number"),
            None => text.parse().expect("a number"),
        }
    }

    /// The head or the entry of a list, of which a macro names the elements.
    fn list(&mut self, (_, first, last, next, previous): List, is_head: bool) -> Type {
        self.expect("(");
        let mut name = String::new();
        if is_head && !self.is(",") {
            name = self.next();
            self.expect(",");
        }
        let element = self.next();
        self.expect(")");
        let element = self.tag(&element);
        let to_element = self.pointer(element);
        let to_pointer = self.pointer(to_element);
        let members = if is_head {
            [(first, to_element), (last, to_pointer)]
        } else {
            [(next, to_element), (previous, to_pointer)]
        };
        let members: Vec<(&str, Type)> = members.into_iter().filter(|(name, _)| !name.is_empty()).collect();
        self.kernel.types.record(&name, &members)
    }

    /// A name and its type.
    fn declarator(&mut self, base: Type) -> (String, Type) {
        let mut of = base;
        while self.is("*") {
            of = self.pointer(of);
            while self.is("const") || self.is("volatile") {}
        }
        let name = if self.is("(") {
            self.expect("*");
            let name = self.next();
            self.expect(")");
            self.expect("(");
            while !self.is(")") {
                self.next();
            }
            let function = self.kernel.types.function((of, &[], false));
            of = self.pointer(function);
            name
        } else {
            self.next()
        };
        let mut sizes = Vec::new();
        while self.is("[") {
            sizes.push(if self.is("]") { 0 } else { self.number() });
            if sizes.last() != Some(&0) || self.tokens.front().is_some_and(|next| next == "]") {
                self.expect("]");
            }
        }
        for size in sizes.into_iter().rev() {
            of = self.kernel.types.array(of, size);
        }
        (name, of)
    }
}

/// The list that a macro is of, and whether it is the head's.
fn list_macro(name: &str) -> Option<(List, bool)> {
    let (list, is_head) = match (name.strip_suffix("_HEAD"), name.strip_suffix("_ENTRY")) {
        (Some(list), _) => (list, true),
        (_, Some(list)) => (list, false),
        _ => return None,
    };
    LISTS.into_iter().find(|(name, ..)| *name == list).map(|found| (found, is_head))
}
