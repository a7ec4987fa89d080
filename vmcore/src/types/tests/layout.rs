//! Tests of layouts: each is also what a compiler for amd64 makes of the declarations.

use super::super::layout::{Gap, LayoutOptions, Row};
use super::super::*;
use super::{Fixture, integer, structure};

/// What the rows of a layout say, one after another.
fn rows(types: &TypeTable, id: TypeId, options: LayoutOptions) -> Vec<String> {
    let layout = types.layout(id, options).unwrap();
    let shown = |row: &Row<'_>| match row {
        Row::Member(placed) => format!("{} {} {}", placed.depth, placed.member.name, placed.bit_offset),
        Row::Begin(placed, _) => format!("{} {} {{", placed.depth, placed.member.name),
        Row::End(placed, _) => format!("{} }} {:?}", placed.depth, placed.bits),
        Row::Gap(Gap { bit_offset, bits, is_padding: true, .. }) => format!("padding {bit_offset} {bits}"),
        Row::Gap(gap) => format!("hole {} {}", gap.bit_offset, gap.bits),
        Row::CacheLine(line) => format!("line {} {}", line.number, line.bytes_before),
    };
    layout.rows.iter().map(shown).collect()
}

fn bit_field(name: &str, type_id: TypeId, bit_offset: u64, bits: u32) -> Member {
    Member { name: name.into(), type_id, bit_offset, bits: Some(bits) }
}

fn aggregate(is_union: bool, size: u64, members: Vec<Member>) -> Kind {
    Kind::Aggregate(Aggregate { is_union, size, members })
}

#[test]
fn holes_are_between_members_and_padding_is_behind_them() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, .. } = fixture;
    let long = fixture.add("long", integer(8, true, Meaning::Number));
    let id = fixture.structure("s", 32, &[("c", character, 0), ("l", long, 8), ("i", int, 16), ("d", character, 24)]);
    let types = &fixture.types;
    let expected = ["0 c 0", "hole 8 56", "0 l 64", "0 i 128", "hole 160 32", "0 d 192", "padding 200 56"];
    assert_eq!(rows(types, id, LayoutOptions::default()), expected);
    let layout = types.layout(id, LayoutOptions::default()).unwrap();
    assert_eq!((layout.size, layout.members, layout.holes, layout.hole_bits, layout.padding_bits), (32, 4, 2, 88, 56));
    assert!(!layout.is_cut && types.layout(int, LayoutOptions::default()).is_none());
}

#[test]
fn bits_between_bit_fields_are_holes() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, .. } = fixture;
    let members = vec![
        bit_field("a", int, 0, 3),
        bit_field("b", int, 8, 5),
        Member { name: "c".into(), type_id: character, bit_offset: 16, bits: None },
        bit_field("d", int, 24, 2),
    ];
    let id = fixture.add("flags", aggregate(false, 8, members));
    let expected = ["0 a 0", "hole 3 5", "0 b 8", "hole 13 3", "0 c 16", "0 d 24", "padding 26 38"];
    assert_eq!(rows(&fixture.types, id, LayoutOptions::default()), expected);
}

#[test]
fn structures_without_a_name_are_unfolded_and_others_as_far_as_is_asked_for() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, .. } = fixture;
    let inner = fixture.structure("inner", 8, &[("x", int, 0), ("y", character, 4)]);
    let middle = fixture.structure("middle", 8, &[("in", inner, 0)]);
    let array = fixture.add("", Kind::Array { element: middle, count: Some(2) });
    let unnamed = fixture.add("", aggregate(true, 4, vec![bit_field("b", int, 0, 1), bit_field("c", int, 0, 9)]));
    let alias = fixture.add("inner_t", Kind::Typedef(inner));
    let id = fixture.structure("outer", 32, &[("", unnamed, 0), ("m", array, 4), ("t", alias, 20)]);
    let shown = |depth| rows(&fixture.types, id, LayoutOptions { depth, cache_line: 0 });
    let first = ["0  {", "1 b 0", "1 c 0", "padding 9 23", "0 } Some(32)"];
    let rest = ["0 m 32", "0 t 160", "padding 224 32"];
    assert_eq!(shown(0), [&first[..], &rest].concat());
    let inner = ["1 x 160", "1 y 192", "padding 200 24"];
    let once =
        [&["0 m {", "1 in 32", "0 } Some(128)", "0 t {"][..], &inner, &["0 } Some(64)", "padding 224 32"]].concat();
    assert_eq!(shown(1), [&first[..], &once].concat());
    let deep = shown(2);
    assert!(deep.contains(&"2 x 32".to_owned()) && deep.contains(&"2 y 64".to_owned()), "{deep:?}");
    // What is within other members is counted only if these have no name.
    for depth in 0..3 {
        let layout = fixture.types.layout(id, LayoutOptions { depth, cache_line: 0 }).unwrap();
        assert_eq!((layout.members, layout.holes, layout.padding_bits), (4, 0, 55));
    }
}

#[test]
fn cache_lines_begin_where_members_reach_them_and_not_within_unions() {
    let mut fixture = Fixture::new();
    let Fixture { int, character, .. } = fixture;
    let name = fixture.add("", Kind::Array { element: character, count: Some(60) });
    let large = fixture.add("", Kind::Array { element: int, count: Some(40) });
    let within = fixture.structure("", 164, &[("head", int, 0), ("body", large, 4)]);
    let member = |name: &str, type_id| Member { name: name.into(), type_id, bit_offset: 0, bits: None };
    let union = fixture.add("", aggregate(true, 164, vec![member("s", within), member("i", int)]));
    let id =
        fixture.structure("s", 236, &[("a", int, 0), ("n", name, 4), ("b", int, 64), ("", union, 68), ("z", int, 232)]);
    let marked = rows(&fixture.types, id, LayoutOptions::default());
    let lines: Vec<&String> = marked.iter().filter(|row| row.starts_with("line")).collect();
    assert_eq!(lines, ["line 1 0", "line 3 40"]);
    assert_eq!(marked[marked.len() - 2..], ["line 3 40", "0 z 1856"]);
    let none = rows(&fixture.types, id, LayoutOptions { cache_line: 0, depth: 0 });
    assert!(!none.iter().any(|row| row.starts_with("line")));
    let small = rows(&fixture.types, id, LayoutOptions { cache_line: 32, depth: 0 });
    assert_eq!(small.iter().filter(|row| row.starts_with("line")).count(), 2);
}

#[test]
fn members_without_a_size_say_nothing_of_holes() {
    let mut fixture = Fixture::new();
    let Fixture { int, void, .. } = fixture;
    let flexible = fixture.add("", Kind::Array { element: int, count: None });
    let id = fixture.structure("s", 16, &[("a", int, 0), ("v", void, 4), ("b", int, 12), ("rest", flexible, 16)]);
    assert_eq!(rows(&fixture.types, id, LayoutOptions::default()), ["0 a 0", "0 v 32", "0 b 96", "0 rest 128"]);
}

#[test]
fn damaged_structures_are_shown_as_they_are_and_never_without_end() {
    let mut fixture = Fixture::new();
    let int = fixture.int;
    // Members before others, beyond the end, and at the end of all addresses.
    let id = fixture.structure("s", 4, &[("a", int, 8), ("b", int, 0), ("c", int, u64::MAX / 8)]);
    let layout = fixture.types.layout(id, LayoutOptions::default()).unwrap();
    assert_eq!((layout.members, layout.padding_bits), (3, 0));
    // In itself.
    let itself = fixture.types.next_id();
    fixture.add("t", structure(8, &[("", itself, 0), ("u", itself, 0)]));
    assert!(fixture.types.layout(itself, LayoutOptions { cache_line: 64, depth: 32 }).unwrap().rows.len() < 200_000);
    // Each has two of the next one.
    let first = fixture.types.next_id();
    for _ in 0..40 {
        let next = fixture.types.id_after(1);
        fixture.structure("", 8, &[("", next, 0), ("", next, 4)]);
    }
    let layout = fixture.types.layout(first, LayoutOptions::default()).unwrap();
    assert!(layout.is_cut && layout.rows.len() < 200_000);
}
