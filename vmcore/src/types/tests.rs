//! Tests of the table of types: built by hand, as no compiler builds them too.

mod layout;
mod search;

use super::*;

/// A table with the types that most tests refer to.
struct Fixture {
    types: TypeTable,
    int: TypeId,
    character: TypeId,
    void: TypeId,
}

fn integer(size: u64, is_signed: bool, meaning: Meaning) -> Kind {
    Kind::Integer(Integer { size, is_signed, meaning })
}

impl Fixture {
    fn new() -> Self {
        let mut types = TypeTable::new(8);
        types.add_source(std::path::Path::new("kernel"));
        let int = add(&mut types, "int", integer(4, true, Meaning::Number));
        let character = add(&mut types, "char", integer(1, true, Meaning::Character));
        let void = add(&mut types, "", Kind::Void);
        Self { types, int, character, void }
    }

    fn add(&mut self, name: &str, kind: Kind) -> TypeId {
        add(&mut self.types, name, kind)
    }

    fn structure(&mut self, name: &str, size: u64, members: &[(&str, TypeId, u64)]) -> TypeId {
        self.add(name, structure(size, members))
    }
}

fn add(types: &mut TypeTable, name: &str, kind: Kind) -> TypeId {
    types.add(Type { name: name.into(), kind, source: 0 })
}

fn structure(size: u64, members: &[(&str, TypeId, u64)]) -> Kind {
    let member = |(name, type_id, byte): &(&str, TypeId, u64)| Member {
        name: (*name).into(),
        type_id: *type_id,
        bit_offset: byte * 8,
        bits: None,
    };
    Kind::Aggregate(Aggregate { is_union: false, size, members: members.iter().map(member).collect() })
}

#[test]
fn declarations_are_written_as_c_does() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, void, .. } = fixture;
    let process = fixture.structure("proc", 16, &[]);
    let pointer = fixture.add("", Kind::Pointer(process));
    let constant = fixture.add("", Kind::Qualified(Qualifier::Const, character));
    let text = fixture.add("", Kind::Pointer(constant));
    let constant_pointer = fixture.add("", Kind::Qualified(Qualifier::Const, text));
    let name = fixture.add("", Kind::Array { element: character, count: Some(20) });
    let pointers = fixture.add("", Kind::Array { element: pointer, count: None });
    let to_array = fixture.add("", Kind::Pointer(name));
    let anything = fixture.add("", Kind::Pointer(void));
    let parameters = vec![anything, int];
    let function = fixture.add("", Kind::Function(Function { returns: int, parameters, is_variadic: true }));
    let handler = fixture.add("", Kind::Pointer(function));
    let handlers = fixture.add("", Kind::Array { element: handler, count: Some(3) });
    let nothing = Function { returns: handler, parameters: Vec::new(), is_variadic: false };
    let getter = fixture.add("", Kind::Function(nothing));
    let unnamed = fixture.structure("", 4, &[("a", int, 0)]);
    let rows = fixture.add("", Kind::Array { element: name, count: Some(2) });
    let types = &fixture.types;
    for (id, name, expected) in [
        (int, "x", "int x"),
        (void, "", "void"),
        (process, "", "struct proc"),
        (pointer, "p", "struct proc *p"),
        (pointer, "", "struct proc *"),
        (text, "s", "const char *s"),
        (constant_pointer, "s", "const char *const s"),
        (name, "p_comm", "char p_comm[20]"),
        (rows, "names", "char names[2][20]"),
        (pointers, "list", "struct proc *list[]"),
        (to_array, "a", "char (*a)[20]"),
        (handler, "f", "int (*f)(void *, int, ...)"),
        (handlers, "f", "int (*f[3])(void *, int, ...)"),
        (getter, "get", "int (*get(void))(void *, int, ...)"),
        (unnamed, "u", "struct {...} u"),
        (TypeId(4_000_000_000), "x", "<unknown type> x"),
    ] {
        assert_eq!(types.declare(id, name), expected);
    }
}

#[test]
fn members_of_unnamed_structures_count_as_those_of_the_outer_one() {
    let mut fixture = Fixture::new();
    let int = fixture.int;
    let inner = fixture.structure("", 8, &[("a", int, 0), ("b", int, 4)]);
    let outer = fixture.structure("outer", 24, &[("x", int, 0), ("", inner, 8), ("y", int, 16)]);
    let alias = fixture.add("outer_t", Kind::Typedef(outer));
    let offset = |name| fixture.types.member(alias, name).map(|found| found.bit_offset / 8);
    assert_eq!(["x", "a", "b", "y", "z"].map(offset), [Some(0), Some(8), Some(12), Some(16), None]);
}

#[test]
fn sizes_are_those_of_the_machine() {
    let mut fixture = Fixture::new();
    let Fixture { int, void, .. } = fixture;
    let array = fixture.add("", Kind::Array { element: int, count: Some(5) });
    let flexible = fixture.add("", Kind::Array { element: int, count: None });
    let huge = fixture.add("", Kind::Array { element: array, count: Some(u64::MAX) });
    let pointer = fixture.add("", Kind::Pointer(void));
    let alias = fixture.add("fives", Kind::Typedef(array));
    let sizes = [int, array, flexible, huge, pointer, alias, void].map(|id| fixture.types.size_of(id));
    assert_eq!(sizes, [Some(4), Some(20), None, None, Some(8), Some(20), None]);
}

#[test]
fn circles_of_types_end() {
    let mut fixture = Fixture::new();
    let first = fixture.types.next_id();
    let second = fixture.types.id_after(1);
    fixture.add("a", Kind::Typedef(second));
    fixture.add("b", Kind::Typedef(first));
    let array = fixture.types.next_id();
    fixture.add("", Kind::Array { element: array, count: Some(2) });
    let pointer = fixture.types.next_id();
    fixture.add("", Kind::Pointer(pointer));
    let within = fixture.types.next_id();
    fixture.add("within", structure(8, &[("", within, 0)]));
    let types = &fixture.types;
    assert_eq!((types.size_of(first), types.size_of(array)), (None, None));
    assert!(types.member(within, "x").is_none());
    assert!(types.is_same_layout(within, within) && types.declare(pointer, "p").len() < 100);
    assert!(types.declare(array, "a").len() < 200);
}

/// Each of these types has two of the next one: to look at all of them would take years.
#[test]
fn types_that_double_are_given_up() {
    let mut fixture = Fixture::new();
    let first = fixture.types.next_id();
    for level in 1..40 {
        let next = fixture.types.id_after(1);
        fixture.structure(if level == 1 { "twice" } else { "" }, 8, &[("", next, 0), ("", next, 4)]);
    }
    let last = fixture.structure("", 8, &[("a", fixture.int, 0)]);
    let copy = fixture.types.next_id();
    for level in 1..30 {
        let next = fixture.types.id_after(1);
        fixture.structure(if level == 1 { "twice" } else { "" }, 8, &[("", next, 0), ("", next, 4)]);
    }
    fixture.structure("", 8, &[("b", last, 0)]);
    let function = fixture.types.next_id();
    for _ in 1..30 {
        let next = fixture.types.id_after(1);
        fixture.add("", Kind::Function(Function { returns: next, parameters: vec![next, next], is_variadic: false }));
    }
    let types = &fixture.types;
    assert!(types.member(first, "absent").is_none());
    assert!(!types.is_same_layout(first, copy));
    assert_eq!(types.lookup(Some(Tag::Structure), "twice").len(), 2);
    assert!(types.declare(function, "f").len() < 10_000);
}

#[test]
fn a_name_leads_to_all_types_that_differ() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, .. } = fixture;
    let one = fixture.structure("state", 8, &[("a", int, 0)]);
    fixture.structure("state", 8, &[("a", int, 0)]);
    let other = fixture.structure("state", 8, &[("a", character, 0)]);
    let alias = fixture.add("state", Kind::Typedef(int));
    fixture.add("later", Kind::Incomplete(Tag::Structure));
    let types = &fixture.types;
    assert_eq!(types.lookup(Some(Tag::Structure), "state"), [one, other]);
    assert_eq!(types.lookup(None, "state"), [alias]);
    assert_eq!(types.lookup(Some(Tag::Union), "state"), []);
    assert_eq!(types.structure("later"), None);
    assert!(types.find(Some(Tag::Structure), "later").is_some());
}

#[test]
fn a_declaration_is_completed_by_the_only_type_of_its_name() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, .. } = fixture;
    let [declared, ambiguous, union, lost] =
        ["one", "two", "ccb", "lost"].map(|name| fixture.add(name, Kind::Incomplete(Tag::Structure)));
    let one = fixture.structure("one", 4, &[("a", int, 0)]);
    fixture.structure("one", 4, &[("a", int, 0)]);
    fixture.structure("two", 4, &[("a", int, 0)]);
    fixture.structure("two", 8, &[("a", character, 0)]);
    let ccb = fixture.add("ccb", Kind::Aggregate(Aggregate { is_union: true, size: 64, members: Vec::new() }));
    let stripped = [declared, ambiguous, union, lost].map(|id| fixture.types.strip(id));
    // CTF calls every forward declaration that of a structure.
    assert_eq!(stripped, [one, ambiguous, ccb, lost]);
    assert_eq!([declared, ambiguous, union, lost].map(|id| fixture.types.size_of(id)), [Some(4), None, Some(64), None]);
}

#[test]
fn variables_are_found_by_name_and_by_address() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, .. } = fixture;
    for (address, type_id) in [(0x1000, int), (0x2000, character)] {
        let variable =
            Variable { name: "debug".into(), address, size: 4, storage: None, type_id, is_function: false, source: 0 };
        fixture.types.add_variable(variable);
    }
    let named: Vec<u64> = fixture.types.variables_named("debug").map(|found| found.address).collect();
    let there: Vec<TypeId> = fixture.types.variables_at(0x2000).map(|found| found.type_id).collect();
    assert_eq!((named, there), (vec![0x1000, 0x2000], vec![character]));
    assert_eq!(fixture.types.variables_at(0x1001).count(), 0);
}
