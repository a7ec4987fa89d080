//! Any expression, member of a list and expression of its elements, of a small kernel with structures, lists that lead back
//! to themselves, and pointers that lead nowhere; what they evaluate to is read and written as text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::path::PathBuf;
use vmcore::Kernel;
use vmcore::lists::ListKind;
use vmcore::query::{Answer, Choice, PreparedQuery, Query, Selection};
use vmcore::types::NoStorage;
use vmcore::types::ctf::CtfTypes;
use vmcore::value::text::{NumberForm, TextForm, cell, lines};
use vmcore::value::{ValueLimits, ValueReader};
use vmcore_synth::Endianness;
use vmcore_synth::ctf::{BOOL, Builder, CHAR, CtfSpec, SIGNED};

use vmcore_synth::image::{AMD64, ET_EXEC, GLOBAL, Image, OBJECT, SHF_WRITE, SHT_PROGBITS, Section, section, symbol};

/// Where the kernel's variables are, and how many bytes there are of them.
const BASE: u64 = 0xffff_ffff_8100_0000;
const SIZE: usize = 4096;
/// Expressions after which the kernel is opened again: each may add types that it has made.
const MAX_RUNS: u32 = 10_000;
const LIMITS: ValueLimits = ValueLimits { depth: 3, elements: 20, bytes: 40 };
const KINDS: [ListKind; 5] = [ListKind::Any, ListKind::Slist, ListKind::Stailq, ListKind::Tailq, ListKind::Tree];

thread_local! {
    static KERNEL: RefCell<(u32, Option<Kernel>)> = const { RefCell::new((0, None)) };
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(text) = str::from_utf8(rest) else { return };
    let mut parts = text.split('\n');
    let expression = parts.next().unwrap_or_default();
    let kind = KINDS[usize::from(*first) % KINDS.len()];
    let query = Query {
        expression,
        list: parts.next().map(|member| (kind, member)),
        each: parts.take(2).collect(),
        limit: 50,
        cpu: (first & 0x40 != 0).then_some(Choice::One(0)),
        vnet: (first & 0x80 != 0).then_some(Choice::All),
    };
    KERNEL.with_borrow_mut(|(runs, kernel)| {
        if *runs % MAX_RUNS == 0 {
            *kernel = Some(open());
        }
        *runs += 1;
        let kernel = kernel.as_mut().expect("it was opened");
        match query.prepare(kernel, &mut NoStorage) {
            Ok(prepared) => answer(kernel, &prepared),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
});

fn answer(kernel: &Kernel, query: &PreparedQuery) {
    let typed = kernel.typed().expect("its types are loaded");
    let reader = ValueReader::new(kernel.names(), LIMITS);
    let form = TextForm { types: typed.types, numbers: NumberForm::Usual, width: 80 };
    for selection in query.selections(typed).unwrap_or_default() {
        match query.answer(typed, selection) {
            Ok(Answer::Value(found)) => {
                let value = reader.evaluated(typed, &found);
                assert!(!lines(&value, form, "").is_empty());
            }
            Ok(Answer::List(walk)) => {
                assert!(walk.elements.len() <= 50);
                for address in walk.elements {
                    for found in query.element(typed, Selection::default(), address).into_iter().flatten() {
                        let _ = cell(&reader.evaluated(typed, &found), form);
                    }
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn open() -> Kernel {
    let name = |end| std::env::temp_dir().join(format!("memtool-fuzz-expression-{}.{end}", std::process::id()));
    let [image, core]: [PathBuf; 2] = [name("kernel"), name("core")];
    let contents = contents();
    std::fs::write(&image, kernel_file(contents.clone())).expect("it can be written");
    std::fs::write(&core, core_file(&contents)).expect("it can be written");
    let mut kernel = Kernel::open(&core, Some(&image)).expect("both are right");
    kernel.load_types(&mut CtfTypes::default()).expect("it has types");
    let _ = (std::fs::remove_file(&image), std::fs::remove_file(&core));
    kernel
}

/// Bytes most of which are addresses of others.
fn contents() -> Vec<u8> {
    let words = (0..SIZE as u64 / 8).map(|index| match index % 5 {
        0 | 1 => BASE + index * 56 % SIZE as u64,
        2 => index,
        3 => 0,
        _ => u64::MAX << (index % 64),
    });
    words.flat_map(u64::to_le_bytes).collect()
}

fn types() -> Builder {
    let mut types = Builder::new(CtfSpec::new(Endianness::Little, 8));
    let void = types.void();
    let int = types.integer("int", 4, SIGNED);
    let character = types.integer("char", 1, SIGNED | CHAR);
    let byte = types.integer("unsigned char", 1, 0);
    let flag = types.integer("_Bool", 1, BOOL);
    let bits = types.bit_field("int bitfield", 4, SIGNED, 11);
    let node = types.reserve();
    let link = types.pointer(node);
    let back = types.pointer(link);
    let links = types.array(link, 3);
    let list = types.record("", &[("le_next", link), ("le_prev", back)]);
    let tail = types.record("", &[("tqe_next", link), ("tqe_prev", back)]);
    let tree = types.record("", &[("rbe_link", links)]);
    let text = types.pointer(character);
    let name = types.array(character, 20);
    let bytes = types.array(byte, 6);
    let flexible = types.array(int, 0);
    let state = types.enumeration("state", 4, &[("A", 1), ("B", 2), ("C", 4)]);
    let function = types.function((void, &[link], false));
    let handler = types.pointer(function);
    let inner = types.union_of("", &[("u", int), ("s", state)]);
    let hidden = types.forward("hidden");
    let hidden = types.pointer(hidden);
    let members = [
        ("l", list),
        ("t", tail),
        ("r", tree),
        ("next", link),
        ("text", text),
        ("f", handler),
        ("h", hidden),
        ("", inner),
        ("b", bits),
        ("name", name),
        ("bytes", bytes),
        ("flag", flag),
        ("flexible", flexible),
    ];
    types.at(node).record("node", &members);
    types.typedef("node_t", node);
    let heads = [("lh_first", link), ("tqh_first", link), ("tqh_last", back), ("rbh_root", link)];
    let heads = types.record("heads", &heads);
    let nodes = types.array(node, 3);
    for of in [node, link, heads, nodes, int, text] {
        types.object(Some(of));
    }
    types.object(None);
    types
}

fn kernel_file(contents: Vec<u8>) -> Vec<u8> {
    let ctf = types().build();
    let sections = vec![
        section(".data", SHF_WRITE, BASE, contents),
        Section { name: ".SUNW_ctf", kind: SHT_PROGBITS, flags: 0, address: 0, align: 4, bytes: ctf, size: 0 },
    ];
    let names = ["node", "link", "heads", "nodes", "pcpu_entry_number", "vnet_entry_text", "untyped"];
    let places = names.iter().zip([0_u64, 8, 256, 512, 1024, 1032, 1040]);
    let symbols = places.map(|(name, offset)| symbol(name, (GLOBAL, OBJECT), 1, BASE + offset, 8)).collect();
    Image::new(AMD64, ET_EXEC, sections, symbols).build()
}

/// A core file of virtual memory: elf(5).
fn core_file(contents: &[u8]) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 9];
    file.resize(16, 0);
    // ET_CORE, EM_X86_64, the version, the entry point, and one program header behind this one.
    file.extend([4, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0_u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // PT_LOAD, readable and writable.
    file.extend([1, 0, 0, 0, 6, 0, 0, 0]);
    for word in [120, BASE, 0, contents.len() as u64, contents.len() as u64, 8] {
        file.extend(word.to_le_bytes());
    }
    file.extend(contents);
    file
}
