//! Tests of searches.

use super::super::search::{MemberOf, TypeName, Use, User};
use super::super::*;
use super::{Fixture, structure};
use crate::symbols::Pattern;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

/// Owner, path and offset in bytes of members.
fn places(types: &TypeTable, members: &[MemberOf<'_>]) -> Vec<String> {
    let place =
        |found: &MemberOf<'_>| format!("{} {} {}", types.name_of(found.owner), found.path, found.bit_offset / 8);
    members.iter().map(place).collect()
}

#[test]
fn names_may_have_a_tag_and_blanks() {
    for (text, tag, name) in [
        ("proc", None, "proc"),
        (" struct  proc ", Some(Tag::Structure), "proc"),
        ("union ccb", Some(Tag::Union), "ccb"),
        ("enum vtype", Some(Tag::Enumeration), "vtype"),
        ("unsigned  int", None, "unsigned int"),
        ("struct", Some(Tag::Structure), ""),
        ("structure", None, "structure"),
        ("", None, ""),
    ] {
        assert_eq!(TypeName::from(text), TypeName { tag, name: name.to_owned() });
    }
}

#[test]
fn a_name_without_a_tag_means_every_type_that_has_it() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, .. } = fixture;
    fixture.add("stat", Kind::Incomplete(Tag::Structure));
    let one = fixture.structure("stat", 4, &[("a", int, 0)]);
    let other = fixture.structure("stat", 1, &[("a", character, 0)]);
    let alias = fixture.add("stat", Kind::Typedef(int));
    let declared = fixture.add("later", Kind::Incomplete(Tag::Structure));
    let named = |name: &str| fixture.types.named(&TypeName::from(name));
    assert_eq!(named("stat"), [one, other, alias]);
    assert_eq!(named("struct stat"), [one, other]);
    assert_eq!(named("union stat"), []);
    assert_eq!(named("later"), [declared]);
    assert_eq!(named("absent"), []);
    assert_eq!(fixture.types.matching(None, &pattern("*at*")), [declared, one, other, alias]);
    assert_eq!(fixture.types.matching(Some(Tag::Structure), &pattern("st*")), [one, other]);
    assert_eq!(fixture.types.matching(Some(Tag::Structure), &pattern("l*")), [declared]);
    assert_eq!(fixture.types.matching(Some(Tag::Enumeration), &pattern("l*")), []);
}

#[test]
fn members_of_what_has_no_name_belong_to_what_has_one() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, .. } = fixture;
    let list = fixture.structure("", 8, &[("lh_first", int, 0)]);
    let unnamed = fixture.structure("", 8, &[("x_first", int, 4)]);
    fixture.structure("proc", 32, &[("p_first", int, 0), ("p_list", list, 8), ("", unnamed, 16)]);
    fixture.structure("proc", 32, &[("p_first", int, 0), ("p_list", list, 8), ("", unnamed, 16)]);
    let alone = fixture.structure("", 2, &[("a_first", character, 1)]);
    fixture.add("alone_t", Kind::Typedef(alone));
    let found = fixture.types.members_matching(&pattern("*first"));
    let expected =
        ["alone_t a_first 1", "struct proc p_first 0", "struct proc p_list.lh_first 8", "struct proc x_first 20"];
    assert_eq!(places(&fixture.types, &found), expected);
    assert!(fixture.types.members_matching(&pattern("lh_last")).is_empty());
}

#[test]
fn users_of_a_type_have_it_or_point_to_it() {
    let mut fixture = Fixture::new();
    let Fixture { int, void, .. } = fixture;
    let process = fixture.structure("proc", 4, &[("pid", int, 0)]);
    let declared = fixture.add("proc", Kind::Incomplete(Tag::Structure));
    let alias = fixture.add("proc_t", Kind::Typedef(process));
    let array = fixture.add("", Kind::Array { element: alias, count: Some(4) });
    let pointer = fixture.add("", Kind::Pointer(declared));
    let constant = fixture.add("", Kind::Qualified(Qualifier::Const, pointer));
    let function = Function { returns: void, parameters: vec![int, constant], is_variadic: false };
    let function = fixture.add("", Kind::Function(function));
    let handler = fixture.add("", Kind::Pointer(function));
    let members = [("all", array, 0), ("next", constant, 16), ("handler", handler, 24), ("pid", int, 32)];
    fixture.structure("table", 40, &members);
    // What is in another structure is not there twice.
    let table = fixture.types.structure("table").unwrap();
    fixture.structure("outer", 40, &[("table", table, 0)]);
    for (name, type_id, is_function) in [("proc0", alias, false), ("psignal", function, true), ("hz", int, false)] {
        let variable =
            Variable { name: name.into(), address: 0x1000, size: 4, storage: None, type_id, is_function, source: 0 };
        fixture.types.add_variable(variable);
    }
    let users = |name: &str| {
        let shown = |(used, user): &(Use, User<'_>)| match user {
            User::Typedef(id) => format!("{used:?} {}", fixture.types.name_of(*id)),
            User::Member(member) => format!("{used:?} {}", member.path),
            User::Variable(variable) => format!("{used:?} {}", variable.name),
        };
        fixture.types.users(&TypeName::from(name)).iter().map(shown).collect::<Vec<_>>()
    };
    let through_structure = ["Pointer next", "Function handler", "Function psignal"];
    let all = ["Value proc_t", "Value all", "Pointer next", "Function handler", "Value proc0", "Function psignal"];
    assert_eq!(users("struct proc"), all);
    assert_eq!(users("proc"), all);
    assert_eq!(users("proc_t"), ["Value all", "Value proc0"]);
    assert_eq!(users("union proc"), through_structure);
    assert_eq!(users("struct table"), ["Value table"]);
    assert_eq!(users("absent"), [""; 0]);
}

#[test]
fn circles_and_types_that_double_end() {
    let mut fixture = Fixture::new();
    let int = fixture.int;
    let itself = fixture.types.next_id();
    fixture.add("itself", structure(8, &[("", itself, 0), ("x", int, 0)]));
    let pointer = fixture.types.next_id();
    fixture.add("", Kind::Pointer(pointer));
    let alias = fixture.types.next_id();
    fixture.add("alias", Kind::Typedef(alias));
    let first = fixture.types.next_id();
    for level in 0..60 {
        let next = fixture.types.id_after(1);
        fixture.structure(if level == 0 { "twice" } else { "" }, 8, &[("", next, 0), ("", next, 4)]);
    }
    let function = fixture.types.next_id();
    for _ in 0..60 {
        let next = fixture.types.id_after(1);
        fixture.add("", Kind::Function(Function { returns: next, parameters: vec![next, next], is_variadic: false }));
    }
    fixture.structure("s", 24, &[("p", pointer, 0), ("a", alias, 8), ("t", first, 8), ("f", function, 16)]);
    let types = &fixture.types;
    assert!(types.members_matching(&pattern("nothing")).is_empty());
    assert!(types.users(&TypeName::from("int")).len() < 100);
    assert_eq!(types.users(&TypeName::from("alias")).len(), 2);
}
