//! The image of a dump's kernel, found among those of a system as crashinfo(8) finds it.

use crate::common::{directory, text};
use crate::ps::Memory;
use nix::sys::stat::Mode;
use std::fs::{File, FileTimes, create_dir_all, write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kernel::{FoundKernel, KernelSearch};
use vmcore::opened::open_plainly;
use vmcore::progress::Progress;
use vmcore_synth::Arch;
use vmcore_synth::image::{self, AMD64, ET_EXEC, GLOBAL, Image, OBJECT, SHF_ALLOC, Section, section, symbol};

/// `SHT_NOTE`.
const NOTE: u32 = 7;
const VERSION: &str = "FreeBSD 15.1-RELEASE-p1 GENERIC\n";

/// A kernel: its memory, and an image of it with a version and a build ID.
pub struct Installed {
    pub memory: Memory,
    version: u64,
    note: u64,
}

/// A note with a build ID.
fn note(id: u8) -> Vec<u8> {
    let words = [4_u32, 20, 3].into_iter().flat_map(u32::to_le_bytes);
    words.chain(*b"GNU\0").chain([id; 20]).collect()
}

impl Installed {
    pub fn new(version: &str, id: u8) -> Self {
        Self::in_memory(Memory::blank(Arch::Amd64, 8), version, id)
    }

    pub fn in_memory(mut memory: Memory, version: &str, id: u8) -> Self {
        let at = memory.variable("version", 256);
        memory.put(at, version.as_bytes());
        let note_at = memory.room(36);
        memory.put(note_at, &note(id));
        Self { memory, version: at, note: note_at }
    }

    /// Its file: everything that is in its memory, and the note as a section of its own.
    pub fn image(&self) -> Vec<u8> {
        let offset = (self.note - self.memory.base) as usize;
        let bytes = self.memory.bytes[offset..offset + 36].to_vec();
        let note = Section { kind: NOTE, align: 4, ..section(".note.gnu.build-id", SHF_ALLOC, self.note, bytes) };
        let object = |(name, place): (&&str, &vmcore::symbols::Symbol)| {
            symbol(name, (GLOBAL, OBJECT), 1, place.address, place.size)
        };
        let symbols = self.memory.symbols.iter().map(object).collect();
        let sections = vec![section(".rodata", 0, self.memory.base, self.memory.bytes.clone()), note];
        Image::new(AMD64, ET_EXEC, sections, symbols).build()
    }

    /// A dump of it without the page of its version and its note.
    fn dump_without_image(&self) -> Vec<u8> {
        let mut spec = self.memory.spec.clone();
        spec.pages.clear();
        assert!(self.version - self.memory.base < spec.page_size);
        spec.build()
    }
}

/// A system's files.
pub struct Sysroot(pub TempDir);

impl Sysroot {
    pub fn new() -> Self {
        Self(directory())
    }

    /// Puts a kernel into a directory in /boot, changed so many seconds before the others.
    pub fn install(&self, name: &str, image: &[u8], age: u64) -> PathBuf {
        let directory = self.0.path().join("boot").join(name);
        create_dir_all(&directory).unwrap();
        let path = directory.join("kernel");
        write(&path, image).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 - age);
        File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
        path
    }

    fn search(&self) -> KernelSearch {
        KernelSearch { root: self.0.path().to_owned(), ..KernelSearch::default() }
    }

    fn find(&self, dump: Vec<u8>, version: Option<&str>) -> FoundKernel {
        self.search().open(Path::new("vmcore.0"), opened(dump), version).unwrap()
    }
}

fn opened(dump: Vec<u8>) -> DumpedMemory {
    DumpedMemory::open(ByteSource::from_bytes(dump), None, None, &Progress::default()).unwrap()
}

fn image(found: &FoundKernel) -> Option<&Path> {
    found.kernel.image().map(vmcore::symbols::Table::path)
}

fn why(found: &FoundKernel) -> Vec<&str> {
    found.rejected.iter().map(|rejected| rejected.why.as_str()).collect()
}

#[test]
fn the_image_with_the_version_and_the_build_id_of_the_dump_is_taken() {
    let kernel = Installed::new(VERSION, 1);
    let root = Sysroot::new();
    let right = root.install("kernel.old", &kernel.image(), 500);
    root.install("kernel", &Installed::new("FreeBSD 15.2-RELEASE GENERIC\n", 2).image(), 0);
    // The same version, built anew: what crashinfo(8) would take.
    let rebuilt = root.install("kernel.rebuilt", &Installed::new(VERSION, 3).image(), 100);
    let found = root.find(kernel.memory.dump(), Some(VERSION.trim_end()));
    assert_eq!((image(&found), found.missing.as_deref()), (Some(&*right), None));
    assert!(found.kernel.is_verified());
    let expected =
        format!("{} is not the kernel of this dump: it has the same version, and another build ID", rebuilt.display());
    assert_eq!(why(&found), [expected]);
}

#[test]
fn the_newest_file_is_looked_at_first_and_the_kernel_that_runs_before_it() {
    let kernel = Installed::new(VERSION, 1);
    let root = Sysroot::new();
    let older = root.install("a", &kernel.image(), 500);
    let newer = root.install("b", &kernel.image(), 100);
    let version = Some(VERSION.trim_end());
    assert_eq!(image(&root.find(kernel.memory.dump(), version)), Some(&*newer));
    let search = KernelSearch { boot_file: Some(older.clone()), ..root.search() };
    let found = search.open(Path::new("vmcore.0"), opened(kernel.memory.dump()), version).unwrap();
    assert_eq!(image(&found), Some(&*older));
    // A kernel that runs from a file that is gone.
    let search = KernelSearch { boot_file: Some(older.with_file_name("gone")), ..root.search() };
    let found = search.open(Path::new("vmcore.0"), opened(kernel.memory.dump()), version).unwrap();
    assert_eq!(image(&found), Some(&*newer));
    assert!(why(&found)[0].contains("gone cannot be looked at: No such file"), "{:?}", why(&found));
}

#[test]
fn a_version_may_be_cut_off_and_is_more_than_the_beginning_of_another() {
    let longer = format!("FreeBSD 15.1-RELEASE {}\n", "x".repeat(300));
    let root = Sysroot::new();
    let kernel = Installed::new(&longer[..250], 1);
    let right = root.install("kernel", &kernel.image(), 0);
    // The dump has no memory to compare.
    let find = |version: &str| root.find(kernel.dump_without_image(), Some(version));
    let found = find(&longer[..191]);
    assert_eq!((image(&found), found.kernel.is_verified()), (Some(&*right), false));
    let found = find("FreeBSD 15.1-RELEASE");
    assert_eq!(image(&found), Some(&*right), "a line that goes on");
    let found = find("FreeBSD 15.1-REL");
    assert_eq!(image(&found), None);
    let missing = found.missing.unwrap();
    assert!(missing.contains("is the kernel of this dump (FreeBSD 15.1-REL): "), "{missing}");
    assert!(missing.contains(&format!("{} is FreeBSD 15.1-RELEASE xxx", right.display())), "{missing}");
}

#[test]
fn the_memory_is_believed_rather_than_what_is_told() {
    let kernel = Installed::new(VERSION, 1);
    let root = Sysroot::new();
    let right = root.install("kernel", &kernel.image(), 100);
    root.install("told", &Installed::new("FreeBSD 14.0\n", 2).image(), 0);
    for version in [Some("FreeBSD 14.0"), Some(""), None] {
        let found = root.find(kernel.memory.dump(), version);
        assert_eq!(image(&found), Some(&*right), "{version:?}");
    }
    // Without a version and without memory nothing tells.
    let found = root.find(kernel.dump_without_image(), None);
    assert_eq!(image(&found), None);
    assert!(found.missing.unwrap().contains("cannot be compared with the dump's kernel"));
}

#[test]
fn what_is_no_kernel_is_passed_over_with_its_reason() {
    let kernel = Installed::new(VERSION, 1);
    let root = Sysroot::new();
    let elsewhere = Sysroot::new();
    let outside = elsewhere.install("kernel", &kernel.image(), 0);
    let boot = root.0.path().join("boot");
    root.install("text", b"this is text", 0);
    root.install("empty", b"", 0);
    root.install("cut", &kernel.image()[..200], 0);
    root.install(".hidden", &kernel.image(), 0);
    File::create(root.install("huge", b"", 0)).unwrap().set_len(1 << 31).unwrap();
    for name in ["fifo", "directory", "link", "loop", "loader.d"] {
        create_dir_all(boot.join(name)).unwrap();
    }
    nix::unistd::mkfifo(&boot.join("fifo/kernel"), Mode::S_IRWXU).unwrap();
    create_dir_all(boot.join("directory/kernel")).unwrap();
    symlink(&outside, boot.join("link/kernel")).unwrap();
    symlink("kernel", boot.join("loop/kernel")).unwrap();
    symlink(outside.parent().unwrap(), boot.join("linked")).unwrap();
    write(boot.join("file"), b"").unwrap();
    let found = root.find(kernel.memory.dump(), Some(VERSION.trim_end()));
    assert_eq!(image(&found), None);
    let missing = found.missing.unwrap();
    for (name, why) in [
        ("text", "not a usable kernel image"),
        ("empty", "not a usable kernel image"),
        ("cut", "not a usable kernel image"),
        ("huge", "is larger than any kernel"),
        ("fifo", "is not a regular file"),
        ("directory", "is not a regular file"),
        ("link", "is a symbolic link that leads out of"),
        ("linked", "is a symbolic link that leads out of"),
        ("loop", "cannot be looked at: Too many levels"),
    ] {
        let path = boot.join(name).join("kernel");
        let said = missing.split("; ").find(|said| said.contains(text(&path)));
        assert!(said.is_some_and(|said| said.contains(why)), "{name}: {missing}");
    }
    assert_eq!(found.rejected.len(), 9, "{missing}");

    // A link within the system is followed.
    let right = root.install("real", &kernel.image(), 0);
    symlink("real", boot.join("a-link")).unwrap();
    let found = root.find(kernel.memory.dump(), Some(VERSION.trim_end()));
    assert!([boot.join("a-link/kernel"), right].iter().any(|path| image(&found) == Some(path)));

    // Not even a directory.
    let found = elsewhere.search();
    let found = KernelSearch { root: found.root.join("nowhere"), open: open_plainly, boot_file: None };
    let found = found.open(Path::new("vmcore.0"), opened(kernel.memory.dump()), None).unwrap();
    assert!(found.missing.unwrap().contains("nowhere/boot: No such file"));
}

#[test]
fn of_many_kernels_not_all_are_looked_at() {
    let kernel = Installed::new(VERSION, 1);
    let root = Sysroot::new();
    let other = Installed::new("FreeBSD 14.0\n", 2).image();
    for number in 0..70 {
        root.install(&format!("kernel.{number}"), &other, number);
    }
    let found = root.find(kernel.memory.dump(), Some(VERSION.trim_end()));
    assert_eq!((image(&found), found.rejected.len()), (None, 65));
    assert!(found.missing.unwrap().contains("there are more than 64 kernels"));
}

#[test]
fn an_image_of_another_machine_is_none() {
    let kernel = Installed::new(VERSION, 1);
    let root = Sysroot::new();
    let mut arm64 = kernel.image();
    arm64[18..20].copy_from_slice(&image::EM_AARCH64.to_le_bytes());
    root.install("kernel", &arm64, 0);
    let found = root.find(kernel.memory.dump(), Some(VERSION.trim_end()));
    assert_eq!(image(&found), None);
    assert!(found.missing.unwrap().contains("kernel is a kernel for arm64"));
}
