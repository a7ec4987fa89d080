//! How fast kernel memory is read by virtual address out of a minidump, beside pread(2) of as many bytes at the same
//! places of the file. `tools/bench` runs it.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a benchmark that fails is seen to fail")]

#[path = "measure/pairs.rs"]
mod pairs;
#[path = "measure/processor.rs"]
mod processor;

use clap::Parser;
use memtool::output_file::scratch;
use pairs::Pairs;
use processor::time;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kernel::KernelMemory;
use vmcore::progress::Progress;
use vmcore_synth::{Arch, MinidumpSpec, set};

const PAGE: u64 = 4096;
/// Pages in the dump: 8 GiB.
const PAGES: u64 = 2 << 20;
/// Page tables, the first pages of memory, map all of it, in an order of no use to anybody.
const TABLES: u64 = PAGES / 512;
const BASE: u64 = 0xffff_fe00_0000_0000;
const READS: u64 = 500_000;
/// What part of pread's speed there shall be: each read also takes one of a page table's entry, at random as well.
const TARGET: f64 = 0.5;

/// Compare reads by virtual address with pread(2)
///
/// Exits with 1 if it is slower.
#[derive(Parser)]
#[command(bin_name = "tools/bench", max_term_width = 80)]
struct Arguments {
    #[command(flatten)]
    pairs: Pairs,
}

/// The physical page that a virtual one leads to.
const fn physical_page(number: u64) -> u64 {
    number * 0x9e37_79b1 % PAGES
}

/// Writes a dump of which only the tables take space on a disk; tells where its pages begin.
fn make(path: &Path) -> io::Result<u64> {
    let mut spec = MinidumpSpec::example(Arch::Amd64, 3);
    spec.dump_avail = vec![(0, PAGES * PAGE)];
    spec.pages.clear();
    spec.mappings.clear();
    spec.page_table_pages.clear();
    spec.kernel_end = BASE + PAGES * PAGE;
    let (parts, fields) = (spec.parts(), spec.header_fields());
    let mut front = spec.build();
    set(&mut front, &fields, spec.order, "kernbase", BASE);
    front.get_mut(parts.bitmap.clone()).unwrap().fill(0xff);
    let entry = |physical: u64| ((physical * PAGE) | 0x63).to_le_bytes();
    let directories: Vec<u8> = (0..TABLES).flat_map(entry).collect();
    front
        .get_mut(parts.page_tables.start..parts.page_tables.start + directories.len())
        .unwrap()
        .copy_from_slice(&directories);
    let tables: Vec<u8> = (0..PAGES).flat_map(|number| entry(physical_page(number))).collect();
    let file = File::create(path)?;
    file.write_all_at(&front, 0)?;
    let start = parts.pages.start as u64;
    file.write_all_at(&tables, start)?;
    file.set_len(start + PAGES * PAGE)?;
    Ok(start)
}

/// Addresses within the memory, 8 bytes each, the same in every run.
fn places() -> impl Iterator<Item = u64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..READS).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % (PAGES * PAGE / 8) * 8
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.pairs.bench {
        println!("nothing is measured: tools/bench does that, or cargo bench --bench kvm");
        return ExitCode::SUCCESS;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("bench");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("vmcore");
    let start = make(&path).unwrap();
    let file = File::open(&path).unwrap();

    let mut kvm = None;
    let opening = time(|| {
        let volume = ByteSource::open(&path).unwrap();
        let memory = DumpedMemory::open(volume, None, scratch(&folder), &Progress::default()).unwrap();
        kvm = Some(KernelMemory::from_dump(memory, None).unwrap());
        0
    });
    let bitmap = time(|| {
        let mut bytes = vec![0; start as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes.len() as u64
    });
    drop(kvm);
    let volume = ByteSource::open(&path).unwrap();
    let memory = DumpedMemory::open(volume, None, scratch(&folder), &Progress::default()).unwrap();
    let kvm = KernelMemory::from_dump(memory, None).unwrap();
    println!("opening: {:.1} ms; reading what stands before its pages: {:.1} ms", opening * 1e3, bitmap * 1e3);

    let by_address = || places().map(|place| kvm.u64(BASE + place).unwrap()).fold(0, u64::wrapping_add);
    let by_offset = || {
        let read = |place: u64| {
            let mut bytes = [0; 8];
            let at = start + physical_page(place / PAGE) * PAGE + place % PAGE;
            file.read_exact_at(&mut bytes, at).unwrap();
            u64::from_le_bytes(bytes)
        };
        places().map(read).fold(0, u64::wrapping_add)
    };
    // Has all of it in the page cache; and the two are of one mind.
    assert_eq!(by_address(), by_offset());
    let pair = |_| (time(by_address), time(by_offset));
    let (ours, theirs) = pairs::median(arguments.pairs.rounds, pair);
    let ratio = theirs / ours;
    println!(
        "8 bytes by address: {:.2} million a second; pread(2): {:.2} million; ratio {ratio:.2}, shall be {TARGET:.1}",
        READS as f64 / ours / 1e6,
        READS as f64 / theirs / 1e6
    );
    fs::remove_file(&path).unwrap();
    if ratio >= TARGET { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
