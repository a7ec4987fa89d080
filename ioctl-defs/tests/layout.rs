//! Compares every layout, constant and request code with FreeBSD's own headers: what a C compiler makes of
//! them with what the Rust compiler makes of ours for the same target.
//!
//! Elsewhere than on FreeBSD that takes the cross toolchain, and covers all six architectures. On FreeBSD
//! it takes `cc` and the system's headers, and covers the machine's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use object::{Object, ObjectSection, ObjectSymbol};
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, process};

#[macro_use]
#[path = "../layout/table.rs"]
mod table;

/// One table on both sides: the statics have the same name.
struct Table {
    symbol: &'static str,
    names: &'static [&'static str],
    /// For the machine that the test is compiled for.
    values: &'static [u64],
}

macro_rules! table_of {
    ($module:ident, $symbol:literal) => {
        Table { symbol: $symbol, names: table::$module::NAMES, values: &table::$module::VALUES }
    };
}

/// The headers that are the same everywhere.
static COMMON: Table = table_of!(common, "LAYOUT_COMMON");

struct Target {
    name: &'static str,
    /// `std::env::consts::ARCH` there.
    #[cfg_attr(not(target_os = "freebsd"), expect(dead_code, reason = "all of them are tested"))]
    arch: &'static str,
    #[cfg_attr(target_os = "freebsd", expect(dead_code, reason = "cc has one target"))]
    zig: &'static str,
    /// `machine/minidump.h`.
    minidump: Table,
}

static TARGETS: [Target; 6] = [
    Target {
        name: "x86_64-unknown-freebsd",
        arch: "x86_64",
        zig: "x86_64-freebsd",
        minidump: table_of!(amd64, "LAYOUT_AMD64"),
    },
    Target {
        name: "aarch64-unknown-freebsd",
        arch: "aarch64",
        zig: "aarch64-freebsd",
        minidump: table_of!(arm64, "LAYOUT_ARM64"),
    },
    Target {
        name: "riscv64gc-unknown-freebsd",
        arch: "riscv64",
        zig: "riscv64-freebsd",
        minidump: table_of!(riscv, "LAYOUT_RISCV"),
    },
    Target { name: "i686-unknown-freebsd", arch: "x86", zig: "x86-freebsd", minidump: table_of!(i386, "LAYOUT_I386") },
    Target {
        name: "armv7-unknown-freebsd",
        arch: "arm",
        zig: "arm-freebsd-eabihf",
        minidump: table_of!(arm, "LAYOUT_ARM"),
    },
    Target {
        name: "powerpc64-unknown-freebsd",
        arch: "powerpc64",
        zig: "powerpc64-freebsd",
        minidump: table_of!(powerpc64, "LAYOUT_POWERPC64"),
    },
];

/// The cross toolchain.
#[cfg(not(target_os = "freebsd"))]
mod toolchain {
    use super::*;
    use object::read::archive::ArchiveFile;
    use std::path::Path;
    use std::sync::Once;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    pub fn targets() -> Vec<&'static Target> {
        TARGETS.iter().collect()
    }

    /// In the root folder, to which a relative `MEMTOOL_ZIG_DIR` refers.
    fn tool(name: &str) -> Command {
        let mut command = Command::new(root().join("tools").join(name));
        command.current_dir(root());
        command
    }

    pub fn c_compiler(target: &Target) -> Command {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| run(&mut tool("freebsd-toolchain")));
        let mut command = tool("zig-cc");
        command
            .env("MEMTOOL_ZIG_TARGET", target.zig)
            .env("ZIG_GLOBAL_CACHE_DIR", root().join("target/freebsd/zig-cache"));
        command
    }

    /// The values in the library of the example, built for `target`.
    pub fn rust_values(target: &Target, tables: &[&Table]) -> Vec<Result<Vec<u64>, String>> {
        static BUILT: Once = Once::new();
        BUILT.call_once(|| {
            let (own, others): (Vec<_>, Vec<_>) =
                TARGETS.iter().map(|target| target.name).partition(|name| name.starts_with("x86_64"));
            // Another target folder than that of the cargo that runs this, so its lock is not in the way.
            let build = |targets: &[&str]| {
                let mut build = tool("freebsd-cargo");
                build.args([&targets.join(","), "build", "-p", "ioctl-defs", "--example", "layout_table"]);
                build
            };
            // That of the target that memtool itself is built for is needed later anyway. The library needs no std.
            run(&mut build(&own));
            run(build(&others).env("MEMTOOL_BUILD_STD", "core,alloc"));
        });
        let library = root().join("target/freebsd").join(target.name).join("debug/examples/liblayout_table.rlib");
        let library = fs::read(library).unwrap();
        let archive = ArchiveFile::parse(&*library).unwrap();
        let members: Vec<&[u8]> = archive.members().map(|member| member.unwrap().data(&*library).unwrap()).collect();
        tables.iter().map(|table| read_static(&members, table.symbol)).collect()
    }
}

/// FreeBSD itself.
#[cfg(target_os = "freebsd")]
mod toolchain {
    use super::*;

    pub fn targets() -> Vec<&'static Target> {
        TARGETS.iter().filter(|target| target.arch == env::consts::ARCH).collect()
    }

    pub fn c_compiler(_target: &Target) -> Command {
        Command::new("cc")
    }

    pub fn rust_values(_target: &Target, tables: &[&Table]) -> Vec<Result<Vec<u64>, String>> {
        tables.iter().map(|table| Ok(table.values.to_vec())).collect()
    }
}

/// Runs a command that has to succeed.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An array of u64, in the byte order of the target, in one of some object files.
fn read_static(objects: &[&[u8]], name: &str) -> Result<Vec<u64>, String> {
    for data in objects {
        // The metadata in a Rust library is no object file, or has no such symbol.
        let Ok(file) = object::File::parse(*data) else { continue };
        let Some(symbol) = file.symbols().find(|symbol| symbol.is_definition() && symbol.name() == Ok(name)) else {
            continue;
        };
        let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
        let bytes = section.data_range(symbol.address(), symbol.size()).unwrap().unwrap();
        let (values, rest) = bytes.as_chunks();
        assert!(rest.is_empty(), "{name} has {} bytes", bytes.len());
        let number = if file.is_little_endian() { u64::from_le_bytes } else { u64::from_be_bytes };
        return Ok(values.iter().map(|value| number(*value)).collect());
    }
    Err(format!("no static {name}"))
}

/// The C source of some tables.
fn c_source(tables: &[&Table]) -> String {
    let mut source = String::from(
        "#include <sys/param.h>\n\
         #include <sys/memrange.h>\n\
         #include <sys/kerneldump.h>\n\
         #include <sys/linker.h>\n\
         #include <sys/disk.h>\n\
         #include <sys/cpuctl.h>\n\
         #include <sys/sysctl.h>\n\
         #include <sys/user.h>\n\
         #include <machine/minidump.h>\n\
         /* Only of architectures with bhyve. */\n\
         #if defined(__amd64__) || defined(__aarch64__)\n\
         #include <vm/vm.h>\n\
         #include <machine/vmm_dev.h>\n\
         #endif\n\
         #include <stddef.h>\n\
         #include <stdint.h>\n\
         /* Eight bytes of a string, the first one lowest, and zeros behind its end. */\n\
         #define BYTE(s, i) ((i) < sizeof(s) ? (uint64_t)(unsigned char)(s)[(i) < sizeof(s) ? (i) : 0] : 0)\n\
         #define WORD(s, i) (BYTE(s, 8 * (i)) | BYTE(s, 8 * (i) + 1) << 8 | BYTE(s, 8 * (i) + 2) << 16 \\\n\
         | BYTE(s, 8 * (i) + 3) << 24 | BYTE(s, 8 * (i) + 4) << 32 | BYTE(s, 8 * (i) + 5) << 40 \\\n\
         | BYTE(s, 8 * (i) + 6) << 48 | BYTE(s, 8 * (i) + 7) << 56)\n",
    );
    for table in tables {
        writeln!(source, "const uint64_t {}[] = {{", table.symbol).unwrap();
        for name in table.names {
            writeln!(source, "    (uint64_t)({name}),").unwrap();
        }
        writeln!(source, "}};").unwrap();
    }
    source
}

/// A folder for the C compiler's files. Not that of cargo: a test built here may run on another machine.
struct Scratch(PathBuf);

impl Scratch {
    fn new(purpose: &str) -> Self {
        let path = env::temp_dir().join(format!("ioctl-defs-{purpose}-{}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The values that FreeBSD's headers give for `target`.
fn c_values(target: &Target, tables: &[&Table], purpose: &str) -> Vec<Result<Vec<u64>, String>> {
    let scratch = Scratch::new(purpose);
    let source = scratch.0.join("table.c");
    let object = scratch.0.join("table.o");
    fs::write(&source, c_source(tables)).unwrap();
    run(toolchain::c_compiler(target).arg("-c").arg(&source).arg("-o").arg(&object));
    let object = fs::read(object).unwrap();
    tables.iter().map(|table| read_static(&[&object], table.symbol)).collect()
}

/// A row in which the two sides differ. A side that has no such row has no value.
#[derive(Debug, PartialEq)]
struct Mismatch {
    target: &'static str,
    row: String,
    c: Option<u64>,
    rust: Option<u64>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: Option<u64>| value.map_or("missing".to_owned(), |value| format!("{value:#x}"));
        write!(f, "{}: {}: C {}, Rust {}", self.target, self.row, side(self.c), side(self.rust))
    }
}

/// The rows in which the two sides differ, or which one of them does not have.
fn compare(target: &'static str, names: &[&str], c: &[u64], rust: &[u64]) -> Vec<Mismatch> {
    (0..names.len().max(c.len()).max(rust.len()))
        .map(|row| Mismatch {
            target,
            row: names.get(row).map_or_else(|| format!("row {row}, which has no name"), ToString::to_string),
            c: c.get(row).copied(),
            rust: rust.get(row).copied(),
        })
        .enumerate()
        .filter(|(index, row)| *index >= names.len() || row.c.is_none() || row.c != row.rust)
        .map(|(_, row)| row)
        .collect()
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn definitions_agree_with_the_headers() {
    let mut mismatches = Vec::new();
    let targets = toolchain::targets();
    assert!(!targets.is_empty(), "no definitions for {}", env::consts::ARCH);
    for target in targets {
        let tables = [&COMMON, &target.minidump];
        let c = c_values(target, &tables, target.name);
        let rust = toolchain::rust_values(target, &tables);
        for ((table, c), rust) in tables.iter().zip(c).zip(rust) {
            mismatches.extend(compare(target.name, table.names, &c.unwrap(), &rust.unwrap()));
        }
        println!("{}: {} rows", target.name, tables.iter().map(|table| table.names.len()).sum::<usize>());
    }
    let report: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
    assert!(report.is_empty(), "{} rows differ:\n{}", report.len(), report.join("\n"));
}

/// `mem_extract` with too little padding: every field is in its place, but the request code is wrong.
mod wrong {
    use ioctl_defs::ioccom::iowr;

    #[repr(C)]
    pub struct mem_extract {
        me_vaddr: u64,
        me_paddr: u64,
        me_domain: i32,
        me_state: i32,
        pad1: [u64; 4],
    }

    table! {
        structs { mem_extract { me_vaddr, me_paddr, me_domain, me_state, pad1 } }
        values {
            "sizeof(struct mem_extract)" => size_of::<mem_extract>(),
            "MEM_EXTRACT_PADDR" => iowr::<mem_extract>(b'm', 52),
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_wrong_definition_is_found() {
    let table = Table { symbol: "LAYOUT_WRONG", names: wrong::NAMES, values: &wrong::VALUES };
    // The layout is the same for all of them.
    for target in toolchain::targets() {
        let c = c_values(target, &[&table], &format!("wrong-{}", target.name)).remove(0).unwrap();
        let differs =
            |row: &str, c, rust| Mismatch { target: target.name, row: row.to_owned(), c: Some(c), rust: Some(rust) };
        assert_eq!(
            compare(target.name, table.names, &c, table.values),
            [
                differs("sizeof(((struct mem_extract *)0)->pad1)", 40, 32),
                differs("sizeof(struct mem_extract)", 64, 56),
                differs("MEM_EXTRACT_PADDR", 0xc040_6d34, 0xc038_6d34),
            ]
        );
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_missing_static_is_found() {
    let scratch = Scratch::new("missing");
    let source = scratch.0.join("empty.c");
    let object = scratch.0.join("empty.o");
    fs::write(&source, c_source(&[])).unwrap();
    for target in toolchain::targets() {
        run(toolchain::c_compiler(target).arg("-c").arg(&source).arg("-o").arg(&object));
        let object = fs::read(&object).unwrap();
        assert!(read_static(&[&object], COMMON.symbol).is_err());
    }
}

#[test]
fn a_missing_row_is_found() {
    let rows = |c: &[u64], rust: &[u64]| -> Vec<String> {
        compare("target", &["a", "b"], c, rust).iter().map(ToString::to_string).collect()
    };
    assert!(rows(&[1, 2], &[1, 2]).is_empty());
    assert_eq!(rows(&[1], &[1, 2]), ["target: b: C missing, Rust 0x2"]);
    assert_eq!(rows(&[1, 2], &[1]), ["target: b: C 0x2, Rust missing"]);
    assert_eq!(rows(&[1], &[1]), ["target: b: C missing, Rust missing"]);
    assert_eq!(rows(&[1, 2, 3], &[1, 2, 3]), ["target: row 2, which has no name: C 0x3, Rust 0x3"]);
}
