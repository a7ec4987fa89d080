//! Dumps of a running kernel that are made from user space, while the kernel changes, or is not what it seems:
//! some of the words that are read are other ones.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use memtool::compress::Compression;
use memtool::dump::sink::{Packing, Target, with_sink};
use memtool::host::Host;
use memtool::host::recorded::Recorded;
use memtool::live_kernel::{self, RunningSymbols};
use memtool_fuzz::check_messages;
use memtool_fuzz::odd_host::{OddHost, Words};
use memtool_fuzz::recipe::number;
use std::borrow::Cow;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Content, Depth, inspect};
use vmcore::format::writer::SparseWrite;
use vmcore::kernel::Access;
use vmcore::live::Check;
use vmcore::messages::MAX_SIZE;
use vmcore::progress::Progress;

/// The machine's file, and the dump; in memory where the system has a folder for that.
static FILES: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let name = |end| folder.join(format!("memtool-fuzz-kernel-{}.{end}", std::process::id()));
    [name("json"), name("dump")]
});

const AMD64: &str = include_str!("../files/kernel.json");
const ARM64: &str = include_str!("../files/kernel_arm64.json");

/// Larger dumps are not written: on arm64 a word can make one as large as 1 GiB, of page tables.
const MAX_WRITTEN: u64 = 64 << 20;

/// The other words; whether a dump is written, which takes long: there is a page in it for
/// each GiB of kernel addresses; and the machine.
fn recipe(u: &mut Unstructured<'_>) -> Result<(Words, bool, Cow<'static, str>)> {
    let is_written = u.ratio(1, 64)?;
    let count = u.int_in_range(0..=8_u8)?;
    let words = (0..count)
        .map(|_| Ok((u.int_in_range(0..=63_u8)?.into(), (u.arbitrary::<u16>()?.into(), number(u, 0)?))))
        .collect::<Result<_>>()?;
    let machine = match u.int_in_range(0..=2_u8)? {
        0 => AMD64.into(),
        1 => ARM64.into(),
        _ => ARM64.replace("\"page_size\": 4096", "\"page_size\": 16384").into(),
    };
    Ok((words, is_written, machine))
}

/// The messages of a kernel that says others while they are read.
fn read_messages(host: OddHost) -> memtool::Result<()> {
    let host: Rc<dyn Host> = Rc::new(host);
    let messages = live_kernel::open_kernel(&host, None, Access::Read)?.messages()?;
    check_messages(&messages, MAX_SIZE as usize);
    Ok(())
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok((words, is_written, contents)) = recipe(&mut Unstructured::new(bytes)) else { return Corpus::Reject };
    let [machine, dump] = &*FILES;
    fs::write(machine, &*contents).expect("the file can be written");
    let host = Recorded::open(machine).expect("it is right");
    let is_right = words.is_empty();
    let host = OddHost { host, words: Arc::new(words), reads: Arc::default() };
    let symbols = RunningSymbols(&host);
    let done = live_kernel::open(&host, &symbols).and_then(|kernel| {
        let snapshot = kernel.snapshot()?;
        let size = snapshot.size()?;
        if is_written && size <= MAX_WRITTEN {
            let file = File::options().read(true).write(true).create(true).truncate(true).open(dump);
            let file = file.expect("the file can be made");
            let target = Target::File(file.try_clone().expect("it can be"));
            let write = |out: &mut dyn SparseWrite| Ok(snapshot.write(out, &Progress::default())?);
            let (made, written, _) = with_sink(target, Packing::compressed(Compression::None), false, write)?;
            assert_eq!((made.size, written.bytes), (size, size));
            let volume = ByteSource::from_file(&file).expect("it has a length");
            let inspection = inspect(&volume, Depth::Full, &Progress::default()).expect("it can be read");
            assert_eq!(inspection.damage, []);
            let Content::Minidump(facts) = &inspection.content else { panic!("it is a minidump") };
            assert_eq!(facts.pages.count(), made.pages);
        }
        Ok(Check::before(kernel).map(drop)?)
    });
    assert!(!is_right || done.is_ok(), "{done:?}");
    let said = read_messages(OddHost { reads: Arc::default(), ..host });
    assert!(!is_right || said.is_ok(), "{said:?}");
    let _ = (fs::remove_file(machine), fs::remove_file(dump));
    Corpus::Keep
});
