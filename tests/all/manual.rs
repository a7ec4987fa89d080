//! The manual says of errnos what the program says.

use memtool::Operation;
use memtool::kernel_error::errno_name;
use memtool::kernel_error::explain;
use nix::errno::Errno;
use std::collections::BTreeSet;

/// Every operation, and how the manual begins what it says of it.
const OPERATIONS: [(Operation, &str); 17] = [
    (Operation::OpenDevice, "Opening the device"),
    (Operation::GetRanges, "Listing ranges"),
    (Operation::UpdateRange, "Updating a range"),
    (Operation::RemoveRange, "Removing a range"),
    (Operation::ExtractPaddr, "Looking up an address"),
    (Operation::KernelDump, "Live dump"),
    (Operation::ReadMemory, "Reading memory"),
    (Operation::Sysctl, "Reading a sysctl"),
    (Operation::Map, "Mapping memory"),
    (Operation::Lock, "Locking memory"),
    (Operation::Touch, "Touching a page"),
    (Operation::FindSymbol, "Finding a symbol"),
    (Operation::ListFiles, "Listing modules"),
    (Operation::ProcessMap, "Listing a memory map"),
    (Operation::ReadRegisters, "Reading the processor's registers"),
    (Operation::ReadPagemap, "Looking up pages on Linux"),
    (Operation::FindDomains, "Finding domains on Linux"),
];

/// What the manual begins with for all operations on ranges.
const RANGES: &str = "Memory ranges";

type Pairs = BTreeSet<(String, &'static str)>;

/// What the program explains: an errno's name and the operation.
fn explained() -> Pairs {
    let errnos = (1..=200).map(Errno::from_raw).filter(|errno| *errno != Errno::UnknownErrno);
    let pairs = errnos.flat_map(|number| {
        let known = OPERATIONS.iter().filter(move |(operation, _)| explain(*operation, number).is_some());
        known.map(move |(_, words)| (errno_name(number), *words))
    });
    pairs.collect()
}

/// What the manual explains, by the word in front of the colon that each explanation begins a line with.
fn in_the_manual(text: &str) -> Pairs {
    let section = text.split(".Sh DIAGNOSTICS\n").nth(1).and_then(|rest| rest.split("\n.Sh ").next());
    let mut pairs = Pairs::new();
    for item in section.unwrap_or_default().split("\n.It Bq Er ").skip(1) {
        let (name, lines) = item.split_once('\n').unwrap_or_default();
        for (words, _) in lines.lines().filter_map(|line| line.split_once(": ")) {
            let named = |begin: &&(Operation, &'static str)| begin.1 == words || words == RANGES && is_range(begin.0);
            let before = pairs.len();
            pairs.extend(OPERATIONS.iter().filter(named).map(|(_, begin)| (name.to_owned(), *begin)));
            assert!(pairs.len() > before, "{name}: '{words}' is no operation, or one that is there twice");
        }
    }
    pairs
}

fn is_range(operation: Operation) -> bool {
    matches!(operation, Operation::GetRanges | Operation::UpdateRange | Operation::RemoveRange)
}

#[test]
fn the_manual_explains_the_errnos_that_the_program_explains_and_no_others() {
    let (program, manual) = (explained(), in_the_manual(include_str!("../../man/memtool.8")));
    assert!(program.len() > 50, "{program:?}");
    let missing: Vec<_> = program.difference(&manual).collect();
    let more: Vec<_> = manual.difference(&program).collect();
    assert!(missing.is_empty() && more.is_empty(), "not in the manual: {missing:?}; in the manual only: {more:?}");
}

#[test]
fn every_operation_has_its_words() {
    let listed: BTreeSet<Operation> = OPERATIONS.iter().map(|(operation, _)| *operation).collect();
    let of_freebsd = BTreeSet::from(Operation::OF_FREEBSD);
    assert!(listed.is_superset(&of_freebsd), "{:?}", of_freebsd.difference(&listed));
    assert_eq!(listed.len(), OPERATIONS.len());
}
