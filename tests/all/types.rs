//! `memtool types`: types of a kernel's file as C declares them, and searches among them.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use crate::common::{Run, command, demo_machine, directory, memtool, on, on_terminal_of, text, write_machine};
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// A kernel with every kind of type, and its files.
struct Fixture {
    kernel: TypedKernel,
    dump: TypedDump,
}

impl Fixture {
    fn new(arch: Arch) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let Basic { int, character, long, unsigned_long, string, .. } = kernel.basic;
        let types = &mut kernel.types;
        let process = types.reserve();
        let link = types.pointer(process);
        let list = types.record("", &[("le_next", link), ("le_prev", link)]);
        let heads = types.array(list, 2);
        let comm = types.array(character, 20);
        let flag = types.bit_field("unsigned int bitfield", 4, 0, 3);
        let choice = types.union_of("", &[("p_long", long), ("p_text", string)]);
        let states = types.enumeration("p_states", 4, &[("PRS_NEW", 0), ("PRS_ZOMBIE", 16)]);
        let inner = types.record("inner", &[("in_a", int), ("in_b", long)]);
        let inner_alias = types.typedef("inner_t", inner);
        let members = [
            ("p_list", list),
            ("p_heads", heads),
            ("p_flag", flag),
            ("p_more", flag),
            ("p_comm", comm),
            ("", choice),
            ("p_state", states),
            ("p_inner", inner_alias),
            ("p_last", character),
        ];
        types.at(process).record("proc", &members);
        types.typedef("vm_offset_t", unsigned_long);
        let unnamed = types.record("", &[("x", int)]);
        types.typedef("alone_t", unnamed);
        types.forward("nowhere");
        let other = types.forward("other");
        let other_pointer = types.pointer(other);
        types.record("twice", &[("a", int)]);
        types.record("twice", &[("a", int)]);
        types.record("twice", &[("a", int), ("o", other_pointer)]);
        kernel.variable("allproc", link);
        kernel.function("fork1", Some((int, &[link, long], false)));
        let dump = kernel.write();
        Self { kernel, dump }
    }

    /// Asks the kernel's file alone.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> Run {
        memtool(&[&["types", "--kernel", text(&self.dump.kernel)], arguments].concat())
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let run = self.ask(arguments).ok();
        assert_eq!(run.stderr, "");
        run.stdout
    }
}

const PROC: &str = "\
struct proc {                                             /*   offset    size */
    struct {
        struct proc *le_next;                             /*        0       8 */
        struct proc *le_prev;                             /*        8       8 */
    } p_list;                                             /*        0      16 */
    struct {
        struct proc *le_next;                             /*       16       8 */
        struct proc *le_prev;                             /*       24       8 */
    } p_heads[2];                                         /*       16      32 */
    unsigned int p_flag:3;                                /*     48:0  3 bits */
    unsigned int p_more:3;                                /*     48:3  3 bits */
    /* hole: 2 bits */
    char p_comm[20];                                      /*       49      20 */
    /* hole: 3 bytes */
    /* --- cache line 1, begun 8 bytes before --- */
    union {
        long p_long;                                      /*       72       8 */
        char *p_text;                                     /*       72       8 */
    };                                                    /*       72       8 */
    enum p_states p_state;                                /*       80       4 */
    /* hole: 4 bytes */
    inner_t p_inner;                                      /*       88      16 */
    char p_last;                                          /*      104       1 */
    /* padding: 7 bytes */
    /* size: 112, members: 10, cache lines: 2, the last: 48 bytes */
    /* holes: 3, together 58 bits, padding: 7 bytes */
};
";

#[test]
fn structures_are_shown_as_c_declares_them_with_what_is_where() {
    let fixture = Fixture::new(Arch::Amd64);
    assert_eq!(fixture.says(&["proc"]), PROC);
    assert_eq!(fixture.says(&["struct proc"]), PROC);
    // Every line fits a terminal.
    assert!(PROC.lines().all(|line| line.len() <= 80));
    let unfolded = fixture.says(&["proc", "--depth", "1"]);
    let inner = "    struct inner { /* inner_t */\n        int in_a;                                         /*       88       4 */\n        /* hole: 4 bytes */\n";
    assert!(unfolded.contains(inner), "{unfolded}");
    assert!(unfolded.ends_with(&PROC[PROC.find("    char p_last").unwrap()..]), "{unfolded}");
    let hexadecimal = fixture.says(&["proc", "--hex"]);
    assert!(hexadecimal.contains("p_last;                                          /*     0x68     0x1 */"));
    assert!(hexadecimal.contains("p_more:3;                                /*   0x30:3  3 bits */"));
    assert!(!fixture.says(&["proc", "--cache-line", "0"]).contains("cache line"));
    assert!(fixture.says(&["proc", "--cache-line", "32"]).contains("/* --- cache line 2, begun 8 bytes before --- */"));
}

#[test]
fn layouts_are_those_of_the_kernels_machine() {
    for arch in Arch::ALL {
        let fixture = Fixture::new(arch);
        let process = types_named(&fixture, "proc");
        let layout = &fixture.ask(&["proc", "--json"]).ok().json()["types"][0]["layout"];
        let offset = |name: &str| {
            let members = layout["members"].as_array().unwrap();
            let member = members.iter().find(|member| member["name"] == name && member["depth"] == 0).unwrap();
            (member["byte_offset"].as_u64().unwrap(), member["size"].as_u64())
        };
        for name in ["p_list", "p_comm", "p_state", "p_inner", "p_last"] {
            let of = fixture.kernel.types.type_of(process, name);
            let expected = (fixture.kernel.types.offset_of(process, name), Some(fixture.kernel.types.size_of(of)));
            assert_eq!(offset(name), expected, "{arch:?} {name}");
        }
        assert_eq!(offset("p_flag").1, None);
    }
}

/// The number of a type, by the pointer to it that a variable has.
fn types_named(fixture: &Fixture, name: &str) -> Type {
    assert_eq!(name, "proc");
    let after_basic = fixture.kernel.basic.string.number();
    // Behind the basic types there are that of the version, and then this.
    Type::numbered(after_basic + 2)
}

#[test]
fn other_types_functions_and_variables_are_declared() {
    let fixture = Fixture::new(Arch::Amd64);
    for (name, expected) in [
        ("enum p_states", "enum p_states {  /* 4 bytes */\n    PRS_NEW = 0,\n    PRS_ZOMBIE = 16,  /* 0x10 */\n};\n"),
        ("vm_offset_t", "typedef unsigned long vm_offset_t;  /* 8 bytes, unsigned integer */\n"),
        ("unsigned  long", "unsigned long;  /* 8 bytes, unsigned integer */\n"),
        ("char", "char;  /* 1 byte, signed character */\n"),
        ("_Bool", "_Bool;  /* 1 byte, boolean */\n"),
        ("struct nowhere", "struct nowhere;  /* declared only: its members are not known */\n"),
    ] {
        assert_eq!(fixture.says(&[name]), expected);
    }
    let alone = fixture.says(&["alone_t"]);
    assert!(alone.starts_with("typedef struct { ") && alone.ends_with("\n} alone_t;\n"), "{alone}");
    let named = fixture.says(&["inner_t"]);
    assert!(named.starts_with("typedef struct inner inner_t;\n\nstruct inner { "), "{named}");
    let (address, _) = fixture.kernel.variable_of("allproc");
    assert_eq!(fixture.says(&["allproc"]), format!("struct proc *allproc;  /* at {address:#x}, 8 bytes */\n"));
    let function = fixture.says(&["fork1"]);
    assert!(function.starts_with("int fork1(struct proc *, long);  /* at 0x"), "{function}");
}

#[test]
fn types_of_one_name_that_differ_are_all_shown_with_their_file() {
    let fixture = Fixture::new(Arch::Amd64);
    let said = fixture.says(&["twice"]);
    let source = format!("/* {} */\n", text(&fixture.dump.kernel));
    assert_eq!((said.matches(&source).count(), said.matches("struct twice {").count()), (2, 2), "{said}");
    assert_eq!(fixture.says(&["--find", "twice"]), "4\tkernel\tstruct twice\n16\tkernel\tstruct twice\n");
}

#[test]
fn searches_find_types_members_and_users() {
    let fixture = Fixture::new(Arch::Amd64);
    assert_eq!(
        fixture.says(&["--find", "struct *o*"]),
        "-\tkernel\tstruct nowhere\n-\tkernel\tstruct other\n112\tkernel\tstruct proc\n"
    );
    assert_eq!(fixture.says(&["--find", "*_t"]), "4\tkernel\talone_t\n16\tkernel\tinner_t\n8\tkernel\tvm_offset_t\n");
    let members = fixture.says(&["--member", "*e_*"]);
    let expected = "0\tstruct proc\tp_list.le_next\tstruct proc *\n8\tstruct proc\tp_list.le_prev\tstruct proc *\n16\tstruct proc\tp_heads.le_next\tstruct proc *\n24\tstruct proc\tp_heads.le_prev\tstruct proc *\n";
    assert_eq!(members, expected);
    assert_eq!(fixture.says(&["--member", "p_more"]), "48:3\tstruct proc\tp_more\tunsigned int\n");
    let users = fixture.says(&["--using", "struct proc"]);
    let users: Vec<&str> = users.lines().collect();
    assert_eq!(users.len(), 6);
    assert_eq!(users[0], "pointer\t0\tstruct proc\tp_list.le_next");
    assert_eq!(users[4..], ["pointer\t-\t-\tallproc", "function\t-\t-\tfork1"]);
    assert_eq!(fixture.says(&["--using", "inner"]), "value\t-\t-\tinner_t\nvalue\t88\tstruct proc\tp_inner\n");
    assert_eq!(fixture.says(&["--using", "other"]), "pointer\t8\tstruct twice\to\n");
}

#[test]
fn json_has_what_text_has() {
    let fixture = Fixture::new(Arch::Powerpc64);
    let document = fixture.ask(&["--json", "proc", "enum p_states", "vm_offset_t", "fork1"]).ok().json();
    let process = &document["types"][0];
    assert_eq!([&process["name"], &process["kind"]], ["struct proc", "structure"]);
    let layout = &process["layout"];
    assert_eq!([&layout["member_count"], &layout["hole_count"], &layout["hole_bit_count"]], [10, 3, 58]);
    let flag = &layout["members"].as_array().unwrap()[6..8];
    // On this machine the most significant bit comes first.
    let expected = json!({"name": "p_flag", "type": "unsigned int", "depth": 0, "byte_offset": 48, "bit_offset": 0, "size": null, "bit_count": 3});
    assert_eq!(flag[0], expected);
    assert_eq!(document["types"][1]["enumerators"][1], json!({"name": "PRS_ZOMBIE", "number": 16}));
    assert_eq!(document["types"][2]["target"], "unsigned long");
    assert_eq!(document["symbols"][0]["type"], "int (struct proc *, long)");
    let found = fixture.ask(&["--json", "--using", "proc"]).ok().json();
    assert_eq!(found["found"].as_array().unwrap().len(), 6);
    assert_eq!([&found["found"][0]["use"], &found["found"][0]["byte_offset"]], [&json!("pointer"), &json!(0)]);
    let nothing = fixture.ask(&["--json", "--find", "nothing*"]).exits(1).json();
    assert_eq!((&nothing["found"], nothing["missing"].as_array().map(Vec::len)), (&Value::from([0; 0]), Some(1)));
}

#[test]
fn what_is_not_there_is_said_with_names_that_are_like_it() {
    let fixture = Fixture::new(Arch::Amd64);
    let run = fixture.ask(&["porc", "vm_offset_t"]).exits(1);
    assert!(run.stdout.starts_with("typedef unsigned long"), "{run:?}");
    assert!(run.stderr.contains("no type, function or variable is named 'porc' (did you mean 'proc'?)"), "{run:?}");
    fixture.ask(&["union proc"]).fails_saying(&["no type is named 'union proc'"]);
    fixture.ask(&["--using", "allprocs"]).fails_saying(&["no type is named 'allprocs'"]);
    fixture.ask(&["--using", "alone_t"]).fails_saying(&["nothing uses 'alone_t'"]);
    fixture.ask(&["--member", "q_*"]).fails_saying(&["no member matches 'q_*'"]);
    fixture.ask(&["--find", "union q*"]).fails_saying(&["no type matches 'union q*'"]);
    fixture.ask(&["pro*"]).fails_saying(&["is named 'pro*' (--find takes patterns)"]);
    fixture.ask(&["struct proc *"]).fails_saying(&["named 'struct proc *' ('proc' is one; --find takes patterns)"]);
    fixture.ask(&["p_heads"]).fails_saying(&["is named 'p_heads' (it is a member: --member p_heads)"]);
    fixture.ask(&["struct"]).usage_error(&["'struct'"]);
    fixture.ask(&[]).usage_error(&["missing"]);
    fixture.ask(&["proc", "--find", "x"]).usage_error(&["--find"]);
    fixture.ask(&["--find", "[a"]).usage_error(&["not a pattern"]);
    fixture.ask(&["proc", "--depth", "33"]).usage_error(&["33"]);
    // What is found by a search has no layout that these could change.
    for search in ["--find", "--member", "--using"] {
        fixture.ask(&[search, "proc", "--depth", "1"]).usage_error(&["--depth", search]);
        fixture.ask(&[search, "proc", "--cache-line", "0"]).usage_error(&["--cache-line", search]);
    }
}

#[test]
fn the_types_of_a_dumps_kernel_are_its_own() {
    let fixture = Fixture::new(Arch::Amd64);
    assert_eq!(fixture.dump.run(&["types", "proc"]).ok().stdout, PROC);
    memtool(&["types", "--core", text(&fixture.dump.core), "proc"]).fails_saying(&["--kernel"]);
    let mut other = TypedKernel::new(Arch::Amd64);
    other.set_text(other.variable_of("version").0, other.variable_of("version").1, "", "FreeBSD 14.0\n");
    let other = other.write();
    let arguments = ["types", "--core", text(&fixture.dump.core), "--kernel", text(&other.kernel), "int"];
    let run = memtool(&arguments).exits(1);
    assert!(run.stdout.is_empty() && run.stderr.contains("not the kernel of this dump"), "{run:?}");
    // The same version, built once more; and one of which that cannot be told.
    let mut again = TypedKernel::new(Arch::Amd64);
    again.build_id = Some(1);
    let again = again.write();
    let arguments = ["types", "--core", text(&fixture.dump.core), "--kernel", text(&again.kernel), "int"];
    let run = memtool(&arguments).exits(1);
    assert!(run.stdout.is_empty() && run.stderr.contains("the same version, and another build ID"), "{run:?}");
    let mut unmarked = TypedKernel::new(Arch::Amd64);
    unmarked.build_id = None;
    let run = unmarked.write().run(&["print", "version"]).ok();
    assert!(run.stderr.contains("has no build ID: only by its version it is the kernel of this dump"), "{run:?}");
    let mut bare = TypedKernel::new(Arch::Amd64);
    bare.has_types = false;
    let bare = bare.write();
    memtool(&["types", "--kernel", text(&bare.kernel), "int"]).fails_saying(&["has no types"]);
}

#[test]
fn names_from_a_file_cannot_command_a_terminal() {
    // Controls are no text to the reader; what turns the direction of reading is.
    for (name, shown) in [("evil\x1b[2J", None), ("evil\u{202e}x", Some("evil\\u{202e}x"))] {
        let mut kernel = TypedKernel::new(Arch::Amd64);
        let int = kernel.basic.int;
        kernel.types.record(name, &[("a", int), (&"long".repeat(60), int)]);
        let dump = kernel.write();
        let run = memtool(&["types", "--kernel", text(&dump.kernel), "--find", "evil*"]);
        assert!(!run.stdout.contains('\x1b') && !run.stderr.contains('\x1b'), "{run:?}");
        let Some(shown) = shown else {
            run.fails_saying(&["the CTF is damaged"]);
            continue;
        };
        assert_eq!(run.ok().stdout, format!("8\tkernel\tstruct {shown}\n"));
        let said = memtool(&["types", "--kernel", text(&dump.kernel), name]).ok().stdout;
        assert!(said.starts_with(&format!("struct {shown} {{")) && said.lines().count() == 5, "{said}");
    }
}

#[test]
fn on_a_terminal_lists_have_headings_and_lines_fit() {
    let fixture = Fixture::new(Arch::Amd64);
    let on_terminal = |arguments: &[&str]| {
        on_terminal_of(Some(60), command().args(["types", "--kernel", text(&fixture.dump.kernel)]).args(arguments))
    };
    let shown = on_terminal(&["--using", "proc"]);
    assert!(shown.starts_with("USE       OFFSET  OF           NAME"), "{shown}");
    assert!(shown.contains("6 uses in "), "{shown}");
    let shown = on_terminal(&["fork1"]);
    let expected = "int fork1(struct proc *, long);\n    /* at 0x";
    assert!(shown.starts_with(expected) && shown.lines().all(|line| line.len() <= 60), "{shown}");
}

#[test]
fn the_file_of_the_running_kernel_is_asked_without_a_name() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["kernel_files"] = json!([]);
    on(&write_machine(directory.path(), &machine), &["types", "proc"])
        .exits(1)
        .says_in_one_line(&["the file of the running kernel is unknown", "--kernel"]);
}
