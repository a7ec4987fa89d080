//! `memtool print`: expressions, values and lists of kernels whose types are in their images.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use crate::common::{Run, memtool, text};
use serde_json::{Value, json};
use std::fmt::Write;
use vmcore_synth::Arch;
use vmcore_synth::ctf::{DOUBLE, SIGNED, Type};

/// Architectures of both orders of bytes and both sizes of pointers.
const ARCHITECTURES: [Arch; 3] = [Arch::Amd64, Arch::Powerpc64, Arch::I386];

/// A kernel with processes in a list.
struct Processes {
    kernel: TypedKernel,
    process: Type,
    list: Vec<u64>,
}

impl Processes {
    fn new(arch: Arch) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let Basic { int, character, .. } = kernel.basic;
        let comm = kernel.types.array(character, 20);
        let process = kernel.types.reserve();
        let link = kernel.types.pointer(process);
        let link_address = kernel.types.pointer(link);
        let entry = kernel.types.record("", &[("le_next", link), ("le_prev", link_address)]);
        kernel.types.at(process).record("proc", &[("p_list", entry), ("p_pid", int), ("p_comm", comm)]);
        let head = kernel.types.record("proclist", &[("lh_first", link)]);
        kernel.variable("allproc", head);
        Self { kernel, process, list: Vec::new() }
    }

    /// With this many processes, whose numbers count from 0.
    fn with(arch: Arch, count: i32) -> Self {
        let mut processes = Self::new(arch);
        (0..count).for_each(|pid| _ = processes.add(pid, &format!("p{pid}")));
        processes
    }

    /// Adds a process at the end of the list.
    fn add(&mut self, pid: i32, name: &str) -> u64 {
        let Self { kernel, process, list } = self;
        let address = kernel.allocate(*process);
        kernel.set(address, *process, "p_pid", pid);
        kernel.set_text(address, *process, "p_comm", name);
        let previous = match list.last() {
            Some(last) => {
                kernel.set(*last, *process, "p_list.le_next", address);
                kernel.address_of(*last, *process, "p_list.le_next")
            }
            None => {
                kernel.set_variable("allproc", "lh_first", address);
                kernel.variable_of("allproc").0
            }
        };
        kernel.set(address, *process, "p_list.le_prev", previous);
        list.push(address);
        address
    }

    fn set(&mut self, index: usize, path: &str, value: impl Into<i128>) {
        self.kernel.set(self.list[index], self.process, path, value);
    }
}

/// Prints an expression of a dump; options follow it.
pub fn run(dump: &TypedDump, arguments: &[&str]) -> Run {
    match arguments.split_first() {
        // It is no option.
        Some((expression, options)) if expression.starts_with('-') && *expression != "--json" => {
            dump.run(&[&["print"], options, &["--", expression]].concat())
        }
        _ => dump.run(&[&["print"], arguments].concat()),
    }
}

#[track_caller]
pub fn print(dump: &TypedDump, arguments: &[&str]) -> String {
    let run = run(dump, arguments).ok();
    assert_eq!(run.stderr, "", "{arguments:?}");
    run.stdout
}

/// What is said of an expression that is wrong.
#[track_caller]
fn wrong(dump: &TypedDump, arguments: &[&str]) -> String {
    let run = run(dump, arguments).exits(1);
    assert_eq!(run.stdout, "", "{arguments:?}");
    run.stderr
}

const EACH: [&str; 4] = ["--each", ".p_pid", "--each", "->p_comm"];

#[test]
fn a_list_is_printed_with_what_is_asked_of_its_elements() {
    for arch in ARCHITECTURES {
        let mut processes = Processes::new(arch);
        for (pid, name) in [(0, "kernel"), (1, "init"), (4711, "sh \"x\"")] {
            processes.add(pid, name);
        }
        let [a, b, c] = processes.list[..] else { panic!("three processes") };
        let dump = processes.kernel.write();
        let expected = format!("{a:#x}\t0\t\"kernel\"\n{b:#x}\t1\t\"init\"\n{c:#x}\t4711\t\"sh \\\"x\\\"\"\n");
        for (expression, member) in [
            ("allproc", "p_list"),
            ("&allproc", "p_list"),
            ("allproc.lh_first", "p_list"),
            ("*allproc.lh_first", "p_list.le_next"),
        ] {
            let printed = print(&dump, &[&[expression, "--list", member], &EACH[..]].concat());
            assert_eq!(printed, expected, "{arch:?} {expression}");
        }
        let printed = print(&dump, &["allproc", "--list", "p_list"]);
        let first =
            format!("*(struct proc *){a:#x} = {{\n  p_list = {{...}},\n  p_pid = 0,\n  p_comm = \"kernel\"\n}}\n");
        assert!(printed.starts_with(&first), "{printed}");
        assert_eq!(print(&dump, &["allproc", "--list", "p_list", "--each", "$.p_pid * 2 + 1 == 3"]).lines().count(), 3);
    }
}

#[test]
fn a_list_that_leads_back_or_nowhere_ends_there() {
    let damaged = |change: &dyn Fn(&mut Processes)| {
        let mut processes = Processes::with(Arch::Amd64, 4);
        change(&mut processes);
        let list = processes.list.clone();
        let run = run(&processes.kernel.write(), &["allproc", "--list", "p_list", "--each", ".p_pid"]).exits(1);
        (
            run.stdout.lines().map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect::<Vec<_>>(),
            run.stderr,
            list,
        )
    };
    let (pids, said, list) = damaged(&|processes| {
        let first = processes.list[1];
        processes.set(3, "p_list.le_next", first);
    });
    assert_eq!(pids, ["0", "1", "2", "3"]);
    assert_eq!(said, format!("memtool: warning: the list leads back to {:#x}\n", list[1]));

    let (pids, said, list) = damaged(&|processes| {
        let nowhere = processes.kernel.unmapped();
        processes.set(1, "p_list.le_next", nowhere);
    });
    assert_eq!(pids, ["0", "1"]);
    let expected = format!("memtool: warning: the list cannot be followed beyond {:#x}: ", list[1]);
    assert!(said.starts_with(&expected) && said.contains("not mapped"), "{said}");

    let (pids, said, list) = damaged(&|processes| processes.set(2, "p_list.le_prev", 0x10));
    assert_eq!(pids, ["0", "1", "2", "3"]);
    let why = format!("le_prev of {:#x} is 0x10, not {:#x}", list[2], list[1]);
    assert_eq!(
        said,
        format!("memtool: warning: the list is damaged, was being changed, or is another than that of p_list: {why}\n")
    );
}

#[test]
fn no_more_elements_are_shown_than_are_asked_for() {
    let dump = Processes::with(Arch::Amd64, 4).kernel.write();
    let run = run(&dump, &["allproc", "--list", "p_list", "--each", ".p_pid", "--limit", "2"]).ok();
    assert_eq!(run.stdout.lines().count(), 2);
    assert_eq!(run.stderr, "memtool: warning: only 2 elements are shown: --limit N shows more\n");
    let all = print(&dump, &["allproc", "--list", "p_list", "--each", ".p_pid", "--limit", "4"]);
    assert_eq!(all.lines().count(), 4);
}

/// A kernel with variables of all kinds, in an order in which they need no padding.
struct Kinds {
    dump: TypedDump,
    /// What is behind an address: this kernel of powerpc64 is linked where it runs, so that addresses have no names.
    names: bool,
    /// The address of `things`, of its text in memory, and of the function.
    things: u64,
    text: u64,
    function: u64,
}

impl Kinds {
    /// A symbol behind an address.
    fn name(&self, name: &str) -> String {
        if self.names { format!(" <{name}>") } else { String::new() }
    }
}

fn kinds(arch: Arch) -> Kinds {
    let mut kernel = TypedKernel::new(arch);
    let Basic { void, character, boolean, unsigned_char, int, unsigned_int, unsigned_long, string, pointer, .. } =
        kernel.basic;
    let state = kernel.types.enumeration("state", 4, &[("NEW", 0), ("NORMAL", 1), ("ZOMBIE", 7)]);
    let flags = kernel.types.enumeration("flags", 4, &[("F_A", 1), ("F_B", 2), ("F_C", 8)]);
    let field = kernel.types.bit_field("unsigned int bitfield", 4, 0, 3);
    let signed_field = kernel.types.bit_field("int bitfield", 4, SIGNED, 4);
    let double = kernel.types.float("double", 8, DOUBLE);
    let point = kernel.types.record("point", &[("x", int), ("y", int)]);
    let union = kernel.types.union_of("", &[("u_word", unsigned_int), ("u_half", kernel.basic.unsigned_short)]);
    let handler = kernel.types.function((int, &[pointer], false));
    let handler = kernel.types.pointer(handler);
    let mac = kernel.types.array(unsigned_char, 6);
    let name = kernel.types.array(character, 8);
    let numbers = kernel.types.array(int, 6);
    let points = kernel.types.array(point, 4);
    let flexible = kernel.types.array(int, 0);
    let opaque = kernel.types.forward("secret");
    let opaque = kernel.types.pointer(opaque);
    let word = kernel.types.typedef("word_t", unsigned_long);
    let things = kernel.types.record(
        "things",
        &[
            ("t_double", double),
            ("t_text", string),
            ("t_nowhere", string),
            ("t_handler", handler),
            ("t_opaque", opaque),
            ("t_address", word),
            ("t_state", state),
            ("t_flags", flags),
            ("", union),
            ("t_numbers", numbers),
            ("t_points", points),
            ("t_field", field),
            ("t_signed", signed_field),
            ("t_mac", mac),
            ("t_name", name),
            ("t_letter", character),
            ("t_is_on", boolean),
            ("t_flexible", flexible),
        ],
    );
    let function = kernel.function("handle", Some((void, &[pointer], false)));
    let address = kernel.variable("things", things);
    let written = kernel.string("two\nlines \"quoted\"");
    let nowhere = kernel.unmapped();
    for (path, value) in [
        ("t_double", i128::from(1.5_f64.to_bits())),
        ("t_text", written.into()),
        ("t_nowhere", nowhere.into()),
        ("t_handler", function.into()),
        ("t_address", 0x8000_0000),
        ("t_state", 7),
        ("t_flags", 1 | 8 | 0x40),
        ("u_word", 0x0001_0001),
        ("t_numbers[0]", -1),
        ("t_numbers[1]", 5),
        ("t_points[3].x", 9),
        ("t_field", 5),
        ("t_signed", -3),
        ("t_mac[0]", 0x02),
        ("t_mac[5]", 0xff),
        ("t_letter", 65),
        ("t_is_on", 1),
    ] {
        kernel.set(address, things, path, value);
    }
    kernel.set_text(address, things, "t_name", "em0");
    Kinds { dump: kernel.write(), names: arch != Arch::Powerpc64, things: address, text: written, function }
}

#[test]
fn a_structure_has_each_member_in_the_form_of_its_type() {
    for arch in ARCHITECTURES {
        let kinds = kinds(arch);
        let Kinds { dump, things, text, function, .. } = &kinds;
        let nowhere = print(dump, &["(unsigned long)things.t_nowhere", "--as", "hex"]);
        let expected = format!(
            "*(struct things *){things:#x} = {{
  t_double = 1.5,
  t_text = {text:#x} \"two\\nlines \\\"quoted\\\"\",
  t_nowhere = {} <unreadable: {}>,
  t_handler = {function:#x}{},
  t_opaque = NULL,
  t_address = 2147483648,
  t_state = ZOMBIE,
  t_flags = F_A | F_C | 0x40,
  union {{
    u_word = 65537,
    u_half = 1
  }},
  t_numbers = {{-1, 5, 0 <4 times>}},
  t_points = {{...}},
  t_field = 5,
  t_signed = -3,
  t_mac = 0200000000ff,
  t_name = \"em0\",
  t_letter = 65 'A',
  t_is_on = true,
  t_flexible = {{}}
}}
",
            nowhere.trim_end(),
            // All memory is in the direct map of powerpc64.
            if arch == Arch::Powerpc64 { "its page is missing" } else { "not mapped" },
            kinds.name("handle"),
        );
        assert_eq!(print(dump, &["things"]), expected, "{arch:?}");
        let points = "{\n  [0 ... 2] = {\n    x = 0,\n    y = 0\n  },\n  [3] = {\n    x = 9,\n    y = 0\n  }\n}\n";
        let printed = print(dump, &["things.t_points"]);
        assert!(printed.starts_with("*(struct point (*)[4])0x") && printed.ends_with(points), "{printed}");
        assert_eq!(print(dump, &["things", "--depth", "0"]), "{...}\n");
        let deeper = print(dump, &["things", "--depth", "2"]);
        assert!(deeper.contains("  t_points = {\n    [0 ... 2] = {\n      x = 0,\n"), "{deeper}");
    }
}

#[test]
fn expressions_are_evaluated_as_c_does() {
    for arch in ARCHITECTURES {
        let kinds = kinds(arch);
        let Kinds { dump, things, function, .. } = &kinds;
        let word = arch.word();
        for (expression, expected) in [
            ("1 + 2 * 3", "7"),
            ("(1 + 2) * 3", "9"),
            ("-7 / 2", "-3"),
            ("-7 % 3", "-1"),
            ("7 - -7", "14"),
            ("1 << 31", "-2147483648"),
            ("1u << 31", "2147483648"),
            ("0x7fffffff + 1", "-2147483648"),
            ("-1 < 0u", "0"),
            ("-1 < 0", "1"),
            ("~0", "-1"),
            ("!5", "0"),
            ("1 ? 2 : 3", "2"),
            ("0 ? 1 / 0 : 3", "3"),
            ("0 && 1 / 0", "0"),
            ("1 || 1 / 0", "1"),
            ("2 > 1 == 1", "1"),
            ("1 | 2 ^ 3 & 4", "3"),
            ("'a' + 1", "98"),
            ("010 + 0x10 + 0b10", "26"),
            ("(unsigned char)300", "44"),
            ("(signed char)200", "-56"),
            ("(_Bool)256", "true"),
            ("(short)-1 >> 1", "-1"),
            ("sizeof(int)", "4"),
            ("sizeof things.t_name", "8"),
            ("sizeof(struct point [3])", "24"),
            ("offsetof(struct point, y)", "4"),
            ("offsetof(struct things, t_points) == (unsigned long)&things.t_points - (unsigned long)&things", "1"),
            ("NORMAL", "1"),
            ("things.t_state == ZOMBIE", "1"),
            ("things.t_flags & F_C", "8"),
            ("things.t_field + things.t_signed", "2"),
            ("things.t_numbers[1] * 2", "10"),
            ("*(things.t_numbers + 1)", "5"),
            ("*things.t_numbers", "-1"),
            ("*&things.t_numbers", "{-1, 5, 0 <4 times>}"),
            ("things.t_points->x", "0"),
            ("&things.t_numbers[4] - &things.t_numbers[1]", "3"),
            ("things.t_points[3].x", "9"),
            ("(&things.t_points[3])->x", "9"),
            ("things.u_half", "1"),
            ("things.t_name", "\"em0\""),
            ("things.t_name[1]", "109 'm'"),
            ("(enum state)1", "NORMAL"),
            ("things.t_opaque == 0", "1"),
            ("things.t_numbers[0]@2", "{-1, 5}"),
            ("things.t_mac[5]", "255"),
        ] {
            assert_eq!(print(dump, &[expression]), format!("{expected}\n"), "{arch:?} {expression}");
        }
        assert_eq!(print(dump, &["sizeof(long) + sizeof(void *)"]), format!("{}\n", 2 * word));
        assert_eq!(print(dump, &["&things"]), format!("{things:#x}{}\n", kinds.name("things")));
        assert_eq!(print(dump, &["&things.t_double + 1"]), format!("{:#x}{}\n", things + 8, kinds.name("things+0x8")));
        assert_eq!(print(dump, &["handle"]), format!("{function:#x}{}\n", kinds.name("handle")));
        assert_eq!(print(dump, &["(long)-1"]), "-1\n");
        assert_eq!(print(dump, &["-1", "--as", "hex"]), "-0x1\n");
        let largest = if word == 8 { "0xffffffffffffffff" } else { "4294967295" };
        assert_eq!(print(dump, &["(unsigned long)-1"]), format!("{largest}\n"));
    }
}

#[test]
fn an_error_points_at_the_part_that_is_wrong() {
    let mut kernel = TypedKernel::new(Arch::Amd64);
    let Basic { int, unsigned_int, .. } = kernel.basic;
    let point = kernel.types.record("point", &[("x_first", int), ("y_first", int)]);
    let link = kernel.types.pointer(point);
    kernel.variable("corner", point);
    kernel.variable("nearest", link);
    kernel.untyped_variable("blob", 8);
    kernel.static_variable("debug", int);
    kernel.static_variable("debug", unsigned_int);
    let dump = kernel.write();
    for (expression, message, mark) in [
        ("corner.x_frist", "struct point has no member 'x_frist' (did you mean 'x_first'?)", "       ^^^^^^^"),
        ("cornr", "the kernel has no symbol 'cornr' (did you mean 'corner'?)", "^^^^^"),
        ("corner->x_first", "it is not a pointer: write . before the member", "        ^^^^^^^"),
        ("nearest.x_first", "it is a pointer: write -> before the member", "        ^^^^^^^"),
        ("corner + 1", "it is not a number: its type is struct point", "^^^^^^"),
        ("1 + ", "expected a value", "    ^"),
        ("", "expected a value", "^"),
        ("(1", "expected ')'", "  ^"),
        ("1 2", "expected an operator or the end", "  ^"),
        ("corner.x_first = 1", "nothing can be assigned; == compares", "               ^"),
        ("corner(1)", "functions cannot be called", "      ^"),
        ("1 / (2 - 2)", "division by zero", "    ^^^^^^^"),
        ("1 % 0", "division by zero", "    ^"),
        ("1 << 32", "a number of 32 bits cannot be shifted by 32", "     ^^"),
        ("1 >> -1", "a number of 32 bits cannot be shifted by -1", "     ^^"),
        ("0x1ffffffffffffffff", "the number does not fit in 64 bits", "^^^^^^^^^^^^^^^^^^^"),
        ("(struct pint *)0", "the kernel has no type 'struct pint' (did you mean 'struct point'?)", "        ^^^^"),
        (
            "(struct point)0",
            "nothing can be cast to struct point; an object at an address is *(TYPE *)ADDRESS",
            " ^^^^^^^^^^^^",
        ),
        ("&1", "it is a value, which has no address", "^^"),
        ("*1", "it is not a pointer: its type is int; cast it, as in *(int *)ADDRESS", "^^"),
        ("blob", "its type is not known: cast its address, as in *(int *)&NAME", "^^^^"),
        (
            "$curproc",
            "there is no $curproc: there are $pcpu(CPU), $proc(PID), $thread(TID), $counter(COUNTER), and $ in --each",
            "^^^^^^^^",
        ),
        ("$", "there is no list, whose element it could be", "^"),
        ("a`b", "no symbols of a module 'a' are known", "^^^"),
        ("1.5", "not an integer", "^^"),
        ("\"text\"", "unexpected character '\"'", "^"),
        ("nearest * 2", "struct point * and int cannot be combined by this operator", "^^^^^^^^^^^"),
        ("*(void *)16", "the size of void is not known", "^^^^^^^^^^^"),
        ("sizeof(void)", "the size of void is not known", "       ^^^^"),
        ("*(int *)16", "cannot read 0x10: not mapped: the kernel's page tables do not cover the address", "^^^^^^^^^^"),
    ] {
        let said = wrong(&dump, &[expression]);
        assert_eq!(said, format!("memtool: {message}\n  {expression}\n  {mark}\n"), "{expression}");
    }
    let said = wrong(&dump, &["debug"]);
    assert!(said.starts_with("memtool: there are several symbols 'debug': write *(int *)0x"), "{said}");
    assert!(said.contains(" or *(unsigned int *)0x") && said.ends_with("\n  debug\n  ^^^^^\n"), "{said}");
    let said = wrong(&dump, &["corner", "--list", "x_first"]);
    assert!(said.contains("the member 'x_first' does not connect elements"), "{said}");
    let said = wrong(&dump, &["corner.x_first", "--list", "x"]);
    assert_eq!(said, "memtool: it is neither the head of a list nor an element: its type is int\n");
    let said = wrong(&dump, &["nearest", "--list", "x_frist"]);
    assert_eq!(
        said,
        "memtool: the elements are of struct point, which has no member 'x_frist' (did you mean 'x_first'?)\n"
    );
    let said = run(&dump, &["corner", "--cpu", "0"]).exits(2).stderr;
    assert!(said.starts_with("memtool: the expression is the same for each CPU: none can be chosen; see"), "{said}");
    assert_eq!(&print(&dump, &["*(long *)&blob"]), "0\n");
    // What looks like an option is none that is evaluated.
    dump.run(&["print", "--nearest"]).usage_error(&["unknown option '--nearest'"]);
    dump.run(&["print", "--jsonn", "nearest"]).usage_error(&["unknown option '--jsonn' (did you mean '--json'?)"]);
    assert_eq!(dump.run(&["print", "-12"]).ok().stdout, "-12\n");
    assert_eq!(print(&dump, &["-1 - 2"]), "-3\n");
    let escaped = wrong(&dump, &["1 \u{1b}[31m"]);
    assert!(!escaped.contains('\u{1b}'), "{escaped:?}");
}

#[test]
fn nothing_makes_an_expression_too_much() {
    let dump = Processes::with(Arch::Amd64, 1).kernel.write();
    let deep =
        |open: &str, middle: &str, close: &str, count| format!("{}{middle}{}", open.repeat(count), close.repeat(count));
    for expression in [
        deep("(", "1", ")", 3000),
        deep("-", "1", "", 3000),
        deep("", "1", "+1", 3000),
        deep("1?", "1", ":1", 2000),
        deep("*", "allproc", "", 3000),
        deep("(int)", "1", "", 1500),
        deep("a[", "1", "]", 2000),
        format!("(int {}0", deep("(*", "", ")", 2000)),
        deep("sizeof ", "1", "", 1000),
        "1".repeat(9000),
    ] {
        let said = wrong(&dump, &[&expression]);
        assert!(said.contains("too ") || said.contains("64 bits") || said.contains("expected"), "{said}");
        assert!(said.lines().skip(1).all(|line| line.chars().count() <= 80), "{said}");
    }
    assert_eq!(print(&dump, &[&deep("(", "1", ")", 40)]), "1\n");
}

#[test]
fn values_in_json_have_their_types() {
    let Kinds { dump, things, function, .. } = kinds(Arch::Amd64);
    let value = |expression: &str| {
        let document = run(&dump, &["--json", expression]).ok().json();
        document["results"][0]["contents"].clone()
    };
    assert_eq!(
        value("things.t_state"),
        json!({
            "type": "enum state",
            "address": value("things.t_state")["address"],
            "contents": { "kind": "enumeration", "number": 7, "names": ["ZOMBIE"], "rest": 0 },
        })
    );
    assert_eq!(value("~0ul")["contents"], json!({ "kind": "integer", "number": "18446744073709551615" }));
    assert_eq!(value("~0ul")["address"], Value::Null);
    let handler = json!({
        "kind": "pointer", "address": format!("{function:#x}"), "symbol": "handle", "text": null, "is_cut": false, "why": null,
    });
    assert_eq!(value("things.t_handler")["contents"], handler);
    let nowhere = value("things.t_nowhere");
    assert!(nowhere["contents"]["why"].as_str().unwrap().contains("not mapped"), "{nowhere}");
    let all = value("things");
    assert_eq!(all["address"], format!("{things:#x}"));
    let members = all["contents"]["members"].as_array().unwrap();
    let kinds: Vec<&str> = members.iter().map(|member| member["contents"]["kind"].as_str().unwrap()).collect();
    let expected = [
        "float",
        "pointer",
        "pointer",
        "pointer",
        "pointer",
        "integer",
        "enumeration",
        "enumeration",
        "union",
        "array",
        "folded",
        "integer",
        "integer",
        "bytes",
        "text",
        "character",
        "boolean",
        "array",
    ];
    assert_eq!(kinds, expected);
    let field = members.iter().find(|member| member["name"] == "t_signed").unwrap();
    assert_eq!((&field["bit_count"], &field["contents"]["number"]), (&json!(4), &json!(-3)));
    let runs = json!([
        { "index": 0, "repeat_count": 1, "contents": { "kind": "integer", "number": -1 } },
        { "index": 1, "repeat_count": 1, "contents": { "kind": "integer", "number": 5 } },
        { "index": 2, "repeat_count": 4, "contents": { "kind": "integer", "number": 0 } },
    ]);
    assert_eq!(value("things.t_numbers")["contents"], json!({ "kind": "array", "element_count": 6, "elements": runs }));

    let processes = Processes::with(Arch::Amd64, 3);
    let arguments = ["--json", "allproc", "--list", "p_list", "--each", ".p_pid", "--each", ".p_pid / .p_pid"];
    let listed = run(&processes.kernel.write(), &arguments).exits(1).json();
    let list = &listed["results"][0]["list"];
    assert_eq!((&list["element_count"], &list["end_reason"]), (&json!(3), &json!("complete")));
    assert_eq!(list["elements"][2]["values"][0]["contents"], json!({ "kind": "integer", "number": 2 }));
    assert_eq!(list["elements"][0]["values"][1]["contents"], json!({ "kind": "error", "why": "division by zero" }));
}

#[test]
fn lists_of_every_kind_are_walked() {
    for arch in ARCHITECTURES {
        let mut kernel = TypedKernel::new(arch);
        let int = kernel.basic.int;
        let item = kernel.types.reserve();
        let link = kernel.types.pointer(item);
        let back = kernel.types.pointer(link);
        let links = kernel.types.array(link, 3);
        let slist = kernel.types.record("", &[("sle_next", link)]);
        let stailq = kernel.types.record("", &[("stqe_next", link)]);
        let tailq = kernel.types.record("", &[("tqe_next", link), ("tqe_prev", back)]);
        let tree = kernel.types.record("", &[("rbe_link", links)]);
        let ck = kernel.types.record("", &[("cstqe_next", link)]);
        let old_tree = kernel
            .types
            .record("", &[("rbe_left", link), ("rbe_right", link), ("rbe_parent", link), ("rbe_color", int)]);
        let members = [
            ("n", int),
            ("s", slist),
            ("st", stailq),
            ("t", tailq),
            ("rb", tree),
            ("old", old_tree),
            ("ck", ck),
            ("next", link),
        ];
        kernel.types.at(item).record("item", &members);
        let heads = [
            ("slist", vec!["slh_first"]),
            ("stailq", vec!["stqh_first", "stqh_last"]),
            ("ck", vec!["cstqh_first"]),
            ("tailq", vec!["tqh_first", "tqh_last"]),
            ("tree", vec!["rbh_root"]),
            ("old_tree", vec!["rbh_root"]),
        ];
        for (name, names) in &heads {
            let members: Vec<_> =
                names.iter().map(|name| (*name, if name.ends_with("last") { back } else { link })).collect();
            let head = kernel.types.record(&format!("{name}_head"), &members);
            kernel.variable(name, head);
        }
        kernel.variable("ring", link);
        let items: Vec<u64> = (0..7).map(|_| kernel.allocate(item)).collect();
        for (index, at) in items.iter().enumerate() {
            kernel.set(*at, item, "n", index as i32);
            let next = items.get(index + 1).copied().unwrap_or(0);
            for path in ["s.sle_next", "st.stqe_next", "t.tqe_next", "ck.cstqe_next"] {
                kernel.set(*at, item, path, next);
            }
            kernel.set(*at, item, "next", items[(index + 1) % 7]);
            let previous = match index {
                0 => kernel.variable_of("tailq").0,
                index => kernel.address_of(items[index - 1], item, "t.tqe_next"),
            };
            kernel.set(*at, item, "t.tqe_prev", previous);
        }
        // 3 is above 1 and 5, and those above the others; a parent's address has ranks in its lower bits.
        for (at, parent, left, right) in [
            (3, None, Some(1), Some(5)),
            (1, Some(3), Some(0), Some(2)),
            (5, Some(3), Some(4), Some(6)),
            (0, Some(1), None, None),
            (2, Some(1), None, None),
            (4, Some(5), None, None),
            (6, Some(5), None, None),
        ] {
            let address = |index: Option<usize>| index.map_or(0, |index| items[index]);
            for (path, value) in [
                ("rb.rbe_link[0]", address(parent) | (at as u64 % 4)),
                ("rb.rbe_link[1]", address(left)),
                ("rb.rbe_link[2]", address(right)),
                ("old.rbe_parent", address(parent)),
                ("old.rbe_left", address(left)),
                ("old.rbe_right", address(right)),
            ] {
                kernel.set(items[at], item, path, value);
            }
        }
        for name in ["slh_first slist", "cstqh_first ck", "stqh_first stailq", "tqh_first tailq"] {
            let (member, variable) = name.split_once(' ').unwrap();
            kernel.set_variable(variable, member, items[0]);
        }
        let last = kernel.address_of(items[6], item, "st.stqe_next");
        kernel.set_variable("stailq", "stqh_last", last);
        let last = kernel.address_of(items[6], item, "t.tqe_next");
        kernel.set_variable("tailq", "tqh_last", last);
        kernel.set_variable("tree", "rbh_root", items[3]);
        kernel.set_variable("old_tree", "rbh_root", items[3]);
        kernel.set_variable("ring", "", items[2]);
        let dump = kernel.write();
        let all = |option: &str, name: &str, member: &str| {
            let printed = print(&dump, &[name, option, member, "--each", ".n"]);
            printed.lines().map(|line| line.split('\t').nth(1).unwrap()).collect::<Vec<_>>().join(" ")
        };
        let in_order = "0 1 2 3 4 5 6";
        assert_eq!(all("--slist", "slist", "s"), in_order);
        assert_eq!(all("--stailq", "stailq", "st"), in_order);
        assert_eq!(all("--tailq", "tailq", "t"), in_order);
        assert_eq!(all("--stailq", "ck", "ck"), in_order);
        assert_eq!(all("--list", "tailq", "t"), in_order);
        assert_eq!(all("--rb", "tree", "rb"), in_order);
        assert_eq!(all("--rb", "old_tree", "old"), in_order);
        assert_eq!(all("--rb", "tree.rbh_root->rb.rbe_link[2]", "rb"), "4 5 6");
        assert_eq!(all("--list", "ring", "next"), "2 3 4 5 6 0 1");
        assert_eq!(all("--list", "tailq.tqh_first->next", "s.sle_next"), "1 2 3 4 5 6");
        let said = wrong(&dump, &["tree", "--list", "rb"]);
        assert_eq!(said, "memtool: struct tree_head is a red-black tree, not a list\n");
        let said = wrong(&dump, &["tailq", "--rb", "t"]);
        assert_eq!(said, "memtool: struct tailq_head is a list, not a red-black tree\n");
        // A member by way of a null pointer.
        let run = run(&dump, &["slist", "--slist", "s", "--each", ".s.sle_next->n"]);
        assert!(run.stdout.ends_with("\t<null pointer>\n"), "{run:?}");
        assert_eq!((run.code, &*run.stderr), (1, "memtool: warning: 1 value could not be evaluated\n"));
        let said = wrong(&dump, &["slist", "--tailq", "s"]);
        assert!(
            said.contains("the member 's' does not connect elements: it is of struct {...}, not TAILQ_ENTRY"),
            "{said}"
        );
    }
}

#[test]
fn each_cpu_and_network_stack_has_its_own_variables() {
    let mut kernel = TypedKernel::new(Arch::Amd64);
    let Basic { int, unsigned_int, unsigned_long, .. } = kernel.basic;
    let vnet = kernel.types.reserve();
    let link = kernel.types.pointer(vnet);
    let back = kernel.types.pointer(link);
    let entry = kernel.types.record("", &[("le_next", link), ("le_prev", back)]);
    kernel
        .types
        .at(vnet)
        .record("vnet", &[("vnet_le", entry), ("vnet_magic_n", unsigned_int), ("vnet_data_base", unsigned_long)]);
    let head = kernel.types.record("vnet_list_head", &[("lh_first", link)]);
    let pcpu = kernel.types.record("pcpu", &[("pc_cpuid", unsigned_int)]);
    let pcpus = kernel.types.pointer(pcpu);
    let pcpus = kernel.types.array(pcpus, 4);
    let offsets = kernel.types.array(unsigned_long, 4);
    let set = kernel.types.array(unsigned_long, 1);
    for (name, of) in [
        ("mp_maxcpus", int),
        ("all_cpus", set),
        ("cpuid_to_pcpu", pcpus),
        ("dpcpu_off", offsets),
        ("vnet_head", head),
        ("vnet0", link),
    ] {
        kernel.variable(name, of);
    }
    kernel.set_variable("mp_maxcpus", "", 4);
    kernel.set_variable("all_cpus", "[0]", 0b1001);
    let of_cpu = kernel.per_cpu_variable("ticks", int);
    let of_vnet = kernel.per_vnet_variable("ipforwarding", int);
    // Both have one of this name.
    kernel.per_cpu_variable("modspace", int);
    kernel.per_vnet_variable("modspace", int);
    for (cpu, value) in [(0_u64, 10), (3, 13)] {
        let copy = kernel.allocate(int);
        kernel.set(copy, int, "", value);
        kernel.set_variable("dpcpu_off", &format!("[{cpu}]"), i128::from(copy.wrapping_sub(of_cpu)));
        let at = kernel.allocate(pcpu);
        kernel.set(at, pcpu, "pc_cpuid", cpu);
        kernel.set_variable("cpuid_to_pcpu", &format!("[{cpu}]"), at);
    }
    let stacks: Vec<u64> = (0..2).map(|_| kernel.allocate(vnet)).collect();
    for (index, stack) in stacks.iter().enumerate() {
        let copy = kernel.allocate(int);
        kernel.set(copy, int, "", 20 + index as i32);
        kernel.set(*stack, vnet, "vnet_magic_n", 0x5e4a_6f28);
        kernel.set(*stack, vnet, "vnet_data_base", i128::from(copy.wrapping_sub(of_vnet)));
        kernel.set(*stack, vnet, "vnet_le.le_next", stacks.get(index + 1).copied().unwrap_or(0));
    }
    kernel.set_variable("vnet_head", "lh_first", stacks[0]);
    kernel.set_variable("vnet0", "", stacks[1]);
    let dump = kernel.write();
    assert_eq!(print(&dump, &["ticks", "--cpu", "3"]), "CPU 3: 13\n");
    assert_eq!(print(&dump, &["pcpu_entry_ticks + 1", "--cpu", "all"]), "CPU 0: 11\nCPU 3: 14\n");
    assert_eq!(print(&dump, &["$pcpu(3)->pc_cpuid"]), "3\n");
    assert_eq!(print(&dump, &["$pcpu->pc_cpuid", "--cpu", "all"]), "CPU 0: 0\nCPU 3: 3\n");
    assert_eq!(print(&dump, &["ipforwarding"]), "21\n");
    assert_eq!(print(&dump, &["V_ipforwarding"]), "21\n");
    let both = format!("vnet {:#x}: 20\nvnet {:#x}: 21\n", stacks[0], stacks[1]);
    assert_eq!(print(&dump, &["ipforwarding", "--vnet", "all"]), both);
    assert_eq!(
        print(&dump, &["ipforwarding", "--vnet", &format!("{:#x}", stacks[0])]),
        both.lines().next().unwrap().to_owned() + "\n"
    );
    let said = wrong(&dump, &["ticks"]);
    assert_eq!(said, "memtool: each CPU has its own 'ticks': give --cpu N or --cpu all\n  ticks\n  ^^^^^\n");
    let said = wrong(&dump, &["ticks", "--cpu", "2"]);
    assert_eq!(said, "memtool: the kernel has no CPU 2\n  ticks\n  ^^^^^\n");
    let said = wrong(&dump, &["ipforwarding", "--vnet", "0xffffffff80600000"]);
    assert!(said.ends_with("\n  ipforwarding\n  ^^^^^^^^^^^^\n"), "{said}");
    let said = wrong(&dump, &["modspace"]);
    let choices = "write V_modspace or pcpu_entry_modspace";
    assert_eq!(said, format!("memtool: there are several symbols 'modspace': {choices}\n  modspace\n  ^^^^^^^^\n"));
    for (name, meant) in [
        ("V_ipforwardin", "V_ipforwarding"),
        ("pc_cpuid", "$pcpu->pc_cpuid"),
        ("vnet", "struct vnet"),
        ("tcks", "ticks"),
    ] {
        let said = wrong(&dump, &[name]);
        assert!(said.contains(&format!("no symbol '{name}' (did you mean '{meant}'?)\n")), "{said}");
    }
    let said = wrong(&dump, &["vnet_head", "--list", "vnet_le", "--each", "vnet_magic_n"]);
    assert!(said.contains("--each: the kernel has no symbol 'vnet_magic_n' (did you mean '.vnet_magic_n'?)"), "{said}");
    for (counter, shown) in [("0", "0x0"), ("12", "0xc")] {
        let said = wrong(&dump, &[&format!("$counter({counter})")]);
        assert!(said.starts_with(&format!("memtool: {shown} is not a counter\n")), "{said}");
    }
    let document = run(&dump, &["--json", "ticks", "--cpu", "all"]).ok().json();
    assert_eq!((&document["results"][1]["cpu"], &document["results"][1]["vnet"]), (&json!(3), &Value::Null));
}

#[test]
fn what_is_missing_is_said() {
    let mut processes = Processes::with(Arch::Amd64, 1);
    let dump = processes.kernel.write();
    let core = text(&dump.core);
    let said = memtool(&["print", "--core", core, "allproc"]).exits(1).stderr;
    assert!(said.contains("--kernel"), "{said}");
    processes.kernel.has_types = false;
    let said = wrong(&processes.kernel.write(), &["allproc"]);
    assert!(said.contains("has no types"), "{said}");
    let first = processes.list[0];
    processes.kernel.omit(first);
    processes.kernel.has_types = true;
    let run = run(&processes.kernel.write(), &["*allproc.lh_first"]).exits(1);
    let mut expected = format!("*(struct proc *){first:#x} = {{\n  p_list = {{...}},\n");
    let _ = write!(
        expected,
        "  p_pid = <unreadable: its page is missing>,\n  p_comm = <unreadable: its page is missing>\n}}\n"
    );
    assert_eq!(run.stdout, expected);
}

/// A core file that was made of a minidump tells where memory is mapped, and has no page tables.
#[test]
fn a_core_file_that_was_made_of_a_dump_answers_as_the_dump_does() {
    for arch in ARCHITECTURES {
        let dump = kinds(arch).dump;
        let core = dump.core.with_extension("elf");
        let kernel = ["--kernel", text(&dump.kernel)];
        memtool(&[&["convert", text(&dump.core), text(&core), "--format", "elf"], &kernel[..]].concat()).ok();
        for expression in ["things.t_text", "things.t_points"] {
            let asked =
                |core: &str| memtool(&[&["print", expression, "--core", core], &kernel[..]].concat()).ok().stdout;
            assert_eq!(asked(text(&core)), asked(text(&dump.core)), "{arch:?}");
        }
    }
}
