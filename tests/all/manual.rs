//! The manual says of errnos and options what the program says, each on its page.

use crate::common::memtool;
use memtool::Operation;
use memtool::kernel_error::errno_name;
use memtool::kernel_error::explain;
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every operation, how the manual begins what it says of it, and the page that says it.
const OPERATIONS: [(Operation, &str, &str); 17] = [
    (Operation::OpenDevice, "Opening the device", "memtool.8"),
    (Operation::GetRanges, "Listing ranges", "memtool-ranges.8"),
    (Operation::UpdateRange, "Updating a range", "memtool-ranges.8"),
    (Operation::RemoveRange, "Removing a range", "memtool-ranges.8"),
    (Operation::ExtractPaddr, "Looking up an address", "memtool-paddr.8"),
    (Operation::KernelDump, "Live dump", "memtool-livedump.8"),
    (Operation::ReadMemory, "Reading memory", "memtool.8"),
    (Operation::Sysctl, "Reading a sysctl", "memtool.8"),
    (Operation::Map, "Mapping memory", "memtool-paddr.8"),
    (Operation::Lock, "Locking memory", "memtool-paddr.8"),
    (Operation::Touch, "Touching a page", "memtool-paddr.8"),
    (Operation::FindSymbol, "Finding a symbol", "memtool.8"),
    (Operation::ListFiles, "Listing modules", "memtool.8"),
    (Operation::ProcessMap, "Listing a memory map", "memtool-maps.8"),
    (Operation::ReadRegisters, "Reading the processor's registers", "memtool-ranges.8"),
    (Operation::ReadPagemap, "Looking up pages on Linux", "memtool-paddr.8"),
    (Operation::FindDomains, "Finding domains on Linux", "memtool-paddr.8"),
];

/// The page of what all commands have.
const MAIN_PAGE: &str = "memtool.8";
/// The page of the options that choose a kernel.
const KERNEL_PAGE: &str = "memtool-kernel.7";

/// The page of the options that encrypt and decrypt.
const ENCRYPTION_PAGE: &str = "memtool-encryption.7";

/// The page of the options for other hosts.
const DESTINATIONS_PAGE: &str = "memtool-destinations.7";

/// What the manual begins with for all operations on ranges.
const RANGES: &str = "Memory ranges";

/// An errno's name, the operation, and the page.
type Explained = BTreeSet<(String, &'static str, String)>;

/// The pages by the names of their files.
fn pages() -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let files =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
    let pages =
        files.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()));
    pages.collect()
}

/// What the program explains.
fn explained() -> Explained {
    let errnos = (1..=200).map(Errno::from_raw).filter(|errno| *errno != Errno::UnknownErrno);
    let explanations = errnos.flat_map(|number| {
        let known = OPERATIONS.iter().filter(move |(operation, ..)| explain(*operation, number).is_some());
        known.map(move |(_, words, page)| (errno_name(number), *words, (*page).to_owned()))
    });
    explanations.collect()
}

/// What a page explains, by the word in front of the colon that each explanation begins a line with.
fn on_the_page(page: &str, text: &str) -> Explained {
    let section = text.split(".Sh DIAGNOSTICS\n").nth(1).and_then(|rest| rest.split("\n.Sh ").next());
    let mut found = Explained::new();
    for item in section.unwrap_or_default().split("\n.It Bq Er ").skip(1) {
        let (name, lines) = item.split_once('\n').unwrap_or_default();
        for (words, _) in lines.lines().filter_map(|line| line.split_once(": ")) {
            let named =
                |begin: &&(Operation, &'static str, &str)| begin.1 == words || words == RANGES && is_range(begin.0);
            let before = found.len();
            found.extend(OPERATIONS.iter().filter(named).map(|begin| (name.to_owned(), begin.1, page.to_owned())));
            assert!(found.len() > before, "{page}: {name}: '{words}' is no operation, or one that is there twice");
        }
    }
    found
}

fn is_range(operation: Operation) -> bool {
    matches!(operation, Operation::GetRanges | Operation::UpdateRange | Operation::RemoveRange)
}

#[test]
fn the_manual_explains_the_errnos_that_the_program_explains_and_no_others_each_on_its_page() {
    let program = explained();
    let manual: Explained = pages().iter().flat_map(|(page, text)| on_the_page(page, text)).collect();
    assert!(program.len() > 50, "{program:?}");
    let missing: Vec<_> = program.difference(&manual).collect();
    let more: Vec<_> = manual.difference(&program).collect();
    assert!(missing.is_empty() && more.is_empty(), "not in the manual: {missing:?}; in the manual only: {more:?}");
}

#[test]
fn every_operation_has_its_words() {
    let listed: BTreeSet<Operation> = OPERATIONS.iter().map(|(operation, ..)| *operation).collect();
    let of_freebsd = BTreeSet::from(Operation::OF_FREEBSD);
    assert!(listed.is_superset(&of_freebsd), "{:?}", of_freebsd.difference(&listed));
    assert_eq!(listed.len(), OPERATIONS.len());
}

/// The commands of `memtool CMD --help`, or of `memtool --help` without one, but `help` itself.
fn commands(command: &[&str]) -> Vec<String> {
    let help = memtool(&[command, &["--help"]].concat()).ok().stdout;
    let section = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap_or_default();
    let names = section.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_is_in_the_synopsis_of_the_main_page() {
    let pages = pages();
    let page = &pages[MAIN_PAGE];
    let synopsis = page.split(".Sh SYNOPSIS\n").nth(1).and_then(|rest| rest.split("\n.Sh ").next()).unwrap();
    let listed: BTreeSet<&str> = synopsis.lines().filter_map(|line| line.strip_prefix(".Cm ")).collect();
    let commands = commands(&[]);
    let missing: Vec<_> = commands.iter().filter(|command| !listed.contains(command.as_str())).collect();
    assert!(commands.len() > 10 && missing.is_empty(), "not in the SYNOPSIS of {MAIN_PAGE}: {missing:?}");
}

/// The macros that mdoc(7) calls by their names among the words of a heading.
#[rustfmt::skip]
const MACROS: [&str; 96] = [
    "Ac", "Ad", "An", "Ao", "Ap", "Aq", "Ar", "At", "Bc", "Bo", "Bq", "Brc", "Bro", "Brq", "Bsx", "Bx", "Cd", "Cm",
    "Dc", "Do", "Dq", "Dv", "Dx", "Ec", "Em", "Eo", "Er", "Es", "Ev", "Fa", "Fc", "Fl", "Fn", "Fo", "Fr", "Ft", "Fx",
    "Ic", "In", "Li", "Lk", "Ms", "Mt", "Nm", "No", "Ns", "Nx", "Oc", "Oo", "Op", "Ot", "Ox", "Pa", "Pc", "Pf", "Po",
    "Pq", "Qc", "Qo", "Qq", "Sc", "So", "Sq", "St", "Sx", "Sy", "Ta", "Tn", "Ux", "Va", "Vt", "Xc", "Xo", "Xr", "%A",
    "%B", "%C", "%D", "%I", "%J", "%N", "%O", "%P", "%Q", "%R", "%T", "%U", "%V", "Bd", "Ed", "Lb", "Nd", "Rv", "Ex",
    "Sm", "Ud",
];

#[test]
fn no_word_of_a_heading_is_a_macro() {
    let is_macro = |word: &&str| MACROS.contains(word);
    assert!(".Ss In place of it".split(' ').skip(1).any(|word| is_macro(&word)));
    for (name, text) in pages() {
        let headings = text.lines().filter(|line| line.starts_with(".Sh ") || line.starts_with(".Ss "));
        for heading in headings {
            let found = heading.split_whitespace().skip(1).find(is_macro);
            assert!(found.is_none(), "{name}: '{heading}' has the macro {found:?}: write \\& before it");
        }
    }
}

/// The options in the help of a command.
fn options_in_help(command: &[&str]) -> BTreeSet<String> {
    let help = memtool(&[command, &["--help"]].concat()).ok().stdout;
    // Text that goes on in another line is indented further.
    let lines = help.lines().filter_map(|line| line.strip_prefix("      -").or(line.strip_prefix("  -")));
    let names = lines.flat_map(|line| line.split("  ").next().unwrap_or_default().split(", -"));
    let name = |text: &str| format!("-{}", text.split([' ', '[', '=', '<', '.']).next().unwrap_or_default());
    names.map(name).collect()
}

/// The options that a page has in its lists, but not those in its tables of other programs' options.
fn options_on_page(text: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with(".It Fl ") && !line.contains(" Ta ")) {
        let mut is_flag = false;
        for word in line.split_whitespace().skip(1).filter(|word| *word != ",") {
            match word {
                "Fl" => is_flag = true,
                "Ar" | "Cm" | "Li" | "Ns" | "Op" => is_flag = false,
                _ if is_flag => _ = options.insert(format!("-{word}")),
                _ => {}
            }
        }
    }
    options
}

#[test]
fn every_command_has_a_page_with_the_options_that_the_program_has_and_no_others() {
    let pages = pages();
    let commands_of_program = commands(&[]);
    assert!(commands_of_program.len() > 10, "{commands_of_program:?}");
    let global = options_on_page(&pages[MAIN_PAGE]);
    assert_eq!(options_in_help(&[]), global, "memtool --help and {MAIN_PAGE}");
    let of_kernels = options_on_page(&pages[KERNEL_PAGE]);
    let of_encryption = options_on_page(&pages[ENCRYPTION_PAGE]);
    let of_destinations = options_on_page(&pages[DESTINATIONS_PAGE]);
    for command in commands_of_program {
        let name = format!("memtool-{command}.8");
        let page = pages.get(&name).unwrap_or_else(|| panic!("there is no man/{name}"));
        let mut program = options_in_help(&[&command]);
        for inner in commands(&[&command]) {
            program.extend(options_in_help(&[&command, &inner]));
        }
        let mut documented = options_on_page(page);
        if page.contains(".Xr memtool-kernel 7") {
            documented.extend(of_kernels.intersection(&program).cloned());
        }
        if page.contains(".Xr memtool-encryption 7") {
            documented.extend(of_encryption.intersection(&program).cloned());
        }
        if page.contains(".Xr memtool-destinations 7") {
            documented.extend(of_destinations.intersection(&program).cloned());
        }
        documented.extend(global.intersection(&program).cloned());
        assert_eq!(program, documented, "memtool {command} --help and {name}");
    }
}

#[test]
fn every_page_is_named_on_the_main_page_and_every_reference_to_a_page_leads_to_one() {
    let pages = pages();
    for (name, text) in &pages {
        let references = text.lines().filter_map(|line| line.split_once("Xr memtool"));
        for (_, reference) in references {
            let (page, rest) = reference.split_once(' ').unwrap();
            let page = format!("memtool{page}.{}", rest.split(' ').next().unwrap());
            assert!(pages.contains_key(&page), "{name} refers to {page}");
        }
        let (page, section) = name.rsplit_once('.').unwrap();
        assert!(name == MAIN_PAGE || pages[MAIN_PAGE].contains(&format!(".Xr {page} {section}")), "{name}");
        assert!(text.contains(&format!("\n.Dt {} {section}\n", page.to_uppercase())), "{name}");
        assert!(text.contains(&format!(".Sh NAME\n.Nm {page}\n")), "{name}");
    }
}
