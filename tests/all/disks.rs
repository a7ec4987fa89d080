//! Dumps in partitions of whole disks: found, named, chosen, saved and cleared, and nothing outside their partition touched.

use crate::common::{Run, command, directory, memtool, run, text};
use serde_json::{Value, json};
use std::fs::{self, read, write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vmcore_synth::device::DumpDevice;
use vmcore_synth::disk::{GptDisk, Part, SWAP, UFS, set_disklabel, set_mbr};
use vmcore_synth::{Arch, Compression, KernelDumpHeader, MinidumpSpec};

/// A dump device of a few hundred KiB with a minidump.
fn device(sector: u64, panic: &str) -> Vec<u8> {
    let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
    let header = KernelDumpHeader { panic_string: panic.to_owned(), ..KernelDumpHeader::example(Arch::Amd64, 4, 0) };
    let header = KernelDumpHeader { compression: Compression::None, ..header };
    let size = (dump.len() as u64 + (128 << 10)).next_multiple_of(4096);
    DumpDevice { size, sector, header, key: Vec::new(), uncompressed: dump.len() as u64, data: dump }.build()
}

fn part(kind: [u8; 16], label: &'static str, content: Vec<u8>) -> Part {
    Part { kind, label, content }
}

/// A disk with a file system, swap space, and a dump.
fn gpt(sector: usize) -> GptDisk {
    let parts = vec![
        part(UFS, "root", vec![0x11; 64 << 10]),
        part(SWAP, "swap", vec![0x22; 64 << 10]),
        part(SWAP, "dumps \"1\"", device(sector as u64, "out of mbufs")),
    ];
    GptDisk { sector, parts }
}

struct Disk {
    folder: TempDir,
    path: PathBuf,
}

impl Disk {
    fn new(bytes: &[u8]) -> Self {
        let folder = directory();
        let path = folder.path().join("disk");
        write(&path, bytes).unwrap();
        Self { folder, path }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn inspect(&self, options: &[&str]) -> Run {
        inspect(&self.path, options)
    }

    #[track_caller]
    fn save(&self, options: &[&str]) -> Run {
        let crash = self.file("crash");
        fs::create_dir_all(&crash).unwrap();
        run(command().args(["save", "--dir", text(&crash)]).args(options).arg(&self.path))
    }
}

#[track_caller]
fn inspect(path: &Path, options: &[&str]) -> Run {
    memtool(&[&["--json", "inspect"], options, &[text(path)]].concat())
}

/// The names of the partitions that a disk has, and of the one with its dump.
fn found(run: &Run) -> (Vec<String>, Value) {
    let document = run.json();
    let names = document["disk"]["partitions"].as_array().unwrap().iter();
    (names.map(|partition| partition["name"].as_str().unwrap().to_owned()).collect(), document["partition"].clone())
}

/// Why no dump of a disk is meant.
#[track_caller]
fn problem(run: &Run) -> String {
    assert_eq!(run.code, 1);
    run.json()["dump"]["remedy"].as_str().unwrap().to_owned()
}

#[test]
fn the_dump_in_a_partition_of_a_gpt_is_found_and_named() {
    for sector in [512, 4096] {
        let built = gpt(sector);
        let (start, end) = built.range(2);
        let disk = Disk::new(&built.build());
        let run = disk.inspect(&["--verify"]).ok();
        let document = run.json();
        let expected = json!({
            "name": "3", "type": "freebsd-swap", "label": "dumps \"1\"",
            "first_sector": start / sector, "last_sector": end / sector - 1,
        });
        assert_eq!((found(&run).0, &document["partition"]), (vec!["1".into(), "2".into(), "3".into()], &expected));
        assert_eq!((&document["place"], &document["header"]["panic"]), (&json!("device"), &json!("out of mbufs")));
        assert_eq!(document["disk"]["partitions"][1]["has_dump"], json!(false));
        let shown = memtool(&["inspect", text(&disk.path)]).ok();
        let (first, last) = (start / sector, end / sector - 1);
        let line =
            format!("in              partition 3 (freebsd-swap, label \"dumps \\\"1\\\"\"), sectors {first}-{last}");
        assert!(shown.stdout.contains(&line), "{}", shown.stdout);
        // The same as the dump alone.
        let alone = disk.file("alone");
        write(&alone, device(sector as u64, "out of mbufs")).unwrap();
        let [of_disk, of_device] = [&disk.path, &alone].map(|core| {
            let read = ["read", "-M", text(core), "--phys", "0x1000", "-l", "64"];
            let convert = ["convert", "-q", "--format", "raw", text(core), "-"];
            (memtool(&read).bytes, memtool(&convert).ok().bytes)
        });
        assert!(of_disk == of_device && !of_disk.1.is_empty());
    }
}

#[test]
fn a_damaged_header_of_a_gpt_leads_to_the_one_at_the_end_of_the_disk() {
    let whole = gpt(512).build();
    // The header's CRC, its signature, and the table's.
    for at in [512 + 16, 512, 2 * 512 + 40] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let run = Disk::new(&bytes).inspect(&[]).ok();
        assert_eq!(found(&run).1["name"], "3", "{at}");
        assert!(run.stderr.contains("the one at the end of the disk is used"), "{}", run.stderr);
    }
    let mut bytes = whole.clone();
    let last = bytes.len() - 512;
    (bytes[512 + 16], bytes[last + 16]) = (!bytes[512 + 16], !bytes[last + 16]);
    let run = Disk::new(&bytes).inspect(&[]);
    assert!(problem(&run).contains("both GPT headers are damaged"), "{}", problem(&run));
    // The last one is not needed, and a disk that was cut off has none.
    assert_eq!(found(&Disk::new(&whole[..last]).inspect(&[]).ok()).1["name"], "3");
}

#[test]
fn what_a_gpt_claims_is_not_believed() {
    let whole = gpt(512).build();
    let last = whole.len() - 512;
    // Billions of entries, huge ones, and a header that is longer than its sector, each with a right CRC.
    for (at, value) in [(80, u32::MAX), (84, 1 << 31), (84, 127), (12, u32::MAX), (12, 16)] {
        let mut bytes = whole.clone();
        bytes[last..].fill(0);
        bytes[512 + at..512 + at + 4].copy_from_slice(&value.to_le_bytes());
        bytes[512 + 16..512 + 20].fill(0);
        let crc = vmcore_synth::disk::crc32(&bytes[512..512 + 92]);
        bytes[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
        let run = Disk::new(&bytes).inspect(&[]);
        assert!(problem(&run).contains("the first GPT header is damaged"), "{}", problem(&run));
    }
}

#[test]
fn partitions_of_mbr_slices_and_disklabels_and_logical_ones_are_searched() {
    let dump = device(512, "page fault");
    let sectors = (dump.len() / 512) as u32;
    let size = (4096 + 3 * sectors) as usize * 512;
    // A slice with a disklabel, whose offsets count from the slice, or from the disk.
    for base in [0, 64] {
        let mut bytes = vec![0; size];
        set_mbr(&mut bytes, 0, &[(0x83, 8, 8), (0xa5, 64, 1024 + sectors)]);
        let c = (0, base, 1024 + sectors);
        set_disklabel(&mut bytes, 64 * 512, &[(7, base + 16, 1000), (1, base + 1024, sectors), c]);
        let at = (64 + 1024) * 512;
        bytes[at..at + dump.len()].copy_from_slice(&dump);
        let run = Disk::new(&bytes).inspect(&[]).ok();
        let (names, partition) = found(&run);
        assert_eq!(names, ["1", "2", "2a", "2b"]);
        assert_eq!((&partition["name"], &partition["type"]), (&json!("2b"), &json!("freebsd-swap")));
        assert_eq!(Disk::new(&bytes).inspect(&["--partition", "s2b"]).ok().json()["partition"], partition);
        // A label with a wrong checksum is none: the slice has the dump then.
        bytes[65 * 512 + 4] ^= 1;
        assert_eq!(found(&Disk::new(&bytes).inspect(&[]).ok()).1["name"], "2");
    }
    // Two logical partitions, the second with the dump, and a chain that leads back.
    let mut bytes = vec![0; size];
    let all = 2048 + 2 * sectors;
    set_mbr(&mut bytes, 0, &[(0x05, 64, all)]);
    set_mbr(&mut bytes, 64 * 512, &[(0x83, 8, 100), (0x05, 1024, 64 + sectors)]);
    let second = (64 + 1024) * 512;
    set_mbr(&mut bytes, second, &[(0x82, 64, sectors), (0x05, 1024, 64 + sectors)]);
    bytes[second + 64 * 512..][..dump.len()].copy_from_slice(&dump);
    let run = Disk::new(&bytes).inspect(&["--partition", "6"]).ok();
    assert_eq!(found(&run).1["name"], "6");
    assert!(run.stderr.contains("more than 128 logical partitions"), "{}", run.stderr);
    set_mbr(&mut bytes, second, &[(0x82, 64, sectors), (0, 0, 0)]);
    assert_eq!(found(&Disk::new(&bytes).inspect(&[]).ok()), (vec!["5".into(), "6".into()], found(&run).1));
}

#[test]
fn several_dumps_are_named_and_one_is_chosen() {
    let mut built = gpt(512);
    built.parts[1].content = device(512, "first");
    let disk = Disk::new(&built.build());
    let run = disk.inspect(&[]);
    assert_eq!((run.code, found(&run).1), (1, Value::Null));
    assert!(problem(&run).contains("several dumps"));
    for refused in
        [&memtool(&["inspect", text(&disk.path)]), &disk.save(&[]), &memtool(&["ps", "-M", text(&disk.path)])]
    {
        assert!(refused.code == 1 && refused.stderr.contains("several dumps: in partition 2 ("), "{}", refused.stderr);
        assert!(refused.stderr.contains("; in partition 3 (") && refused.stderr.contains("--partition"));
    }
    for (name, panic) in [("2", "first"), ("p3", "out of mbufs"), ("swap", "first"), ("dumps \"1\"", "out of mbufs")] {
        let run = disk.inspect(&["--partition", name]).ok();
        assert_eq!(run.json()["header"]["panic"], panic);
    }
    let nothing = disk.inspect(&["--partition", "1"]);
    assert!(problem(&nothing).contains("no partition searched has a dump: partition 1 (freebsd-ufs"));
    let unknown = disk.save(&["--partition", "9"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("without a partition '9'"), "{}", unknown.stderr);
    // Once one is saved, the other one is meant, and the one that was saved is named.
    disk.save(&["--partition", "2"]).ok();
    let run = disk.save(&[]).ok();
    assert!(run.stderr.contains("another dump, in partition 2 (freebsd-swap"), "{}", run.stderr);
    let info = |number: u32| fs::read_to_string(disk.file("crash").join(format!("info.{number}"))).unwrap();
    assert!(info(0).contains("first") && info(1).contains("out of mbufs"));
}

#[test]
fn saving_clears_the_last_header_in_the_partition_and_nothing_else() {
    for sector in [512, 4096] {
        let built = gpt(sector);
        let before = built.build();
        let disk = Disk::new(&before);
        let check = run(command().args(["--json", "save", "-C"]).arg(&disk.path)).ok().json();
        assert_eq!(check["devices"][0]["partition"]["name"], "3");
        disk.save(&["--dry-run"]).ok();
        assert!(read(&disk.path).unwrap() == before);
        let run = disk.save(&[]).ok();
        assert!(run.stderr.contains("is a disk, with a dump in partition 3 (freebsd-swap"), "{}", run.stderr);
        let after = read(&disk.path).unwrap();
        let last = built.range(2).1 - sector;
        let changed: Vec<usize> = (0..after.len()).filter(|at| after[*at] != before[*at]).collect();
        assert!(changed.iter().all(|at| (last..last + 20).contains(at)) && !changed.is_empty(), "{changed:?}");
        assert_eq!(&after[last..last + 19], b"Cleared Kernel Dump");
        let saved = read(disk.file("crash").join("vmcore.0")).unwrap();
        assert!(saved == MinidumpSpec::example(Arch::Amd64, 3).build());
        disk.save(&[]).ok();
        assert!(!disk.file("crash").join("vmcore.1").exists());
    }
}

#[test]
fn a_header_outside_its_partition_is_no_part_of_a_dump() {
    let mut built = gpt(512);
    // The end of the dump is in a partition of its own, which does not have its beginning.
    let dump = built.parts[2].content.clone();
    let (front, back) = dump.split_at(dump.len() - 4096);
    built.parts[2].content = front.to_vec();
    built.parts.push(part(SWAP, "rest", back.to_vec()));
    let run = Disk::new(&built.build()).inspect(&[]);
    assert_eq!((run.code, &run.json()["damage"][0]["place"]), (1, &json!("dumpextent")));
}

#[test]
fn the_image_of_a_disk_may_be_compressed() {
    let bytes = gpt(512).build();
    let disk = Disk::new(&Compression::Zstd.compress(&bytes));
    let document = disk.inspect(&[]).ok().json();
    assert_eq!((&document["packed"], &document["partition"]["name"]), (&json!("zstd"), &json!("3")));
    let core = disk.file("core");
    memtool(&["convert", "--format", "lime", "--partition", "3", text(&disk.path), text(&core)]).ok();
    assert!(core.metadata().unwrap().len() > 4096);
}

#[test]
fn what_is_no_disk_has_no_partitions() {
    let disk = Disk::new(&device(512, ""));
    assert_eq!(disk.inspect(&[]).ok().json()["disk"], Value::Null);
    let run = disk.inspect(&["--partition", "1"]);
    assert!(problem(&run).contains("it has no partition table"));
    // The first sector of a file system has the signature, and code where a table has its entries.
    let mut bytes = vec![0x90; 1 << 16];
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    let run = Disk::new(&bytes).inspect(&[]);
    assert!(run.code == 1 && run.json()["disk"].is_null() && run.json()["dump"]["format"].is_null());
}

/// What is compressed may be a disk; where it is a dump, a partition that is named is not passed over.
#[test]
fn a_dump_that_is_no_disk_has_no_partition_however_it_is_compressed() {
    let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
    let framed = Disk::new(&dump);
    let packed = framed.file("framed");
    memtool(&["convert", "--format", "minidump", "--zstd", text(&framed.path), text(&packed)]).ok();
    let framed = std::fs::read(&packed).unwrap();
    let streams = [Compression::Zstd, Compression::Gzip].map(|compression| compression.compress(&dump));
    for bytes in [&dump, &framed].into_iter().chain(&streams) {
        let disk = Disk::new(bytes);
        disk.inspect(&[]).ok();
        let run = disk.inspect(&["--partition", "1"]);
        assert!(run.code == 1 && problem(&run).contains("it has no partition table"), "{run:?}");
        assert_eq!(run.json()["dump"]["format"], Value::Null);
        let named = ["--partition", "1", text(&disk.path)];
        let verified = memtool(&[&["inspect", "--verify"][..], &named].concat()).exits(1);
        assert!(verified.stdout.contains("a file without partitions"), "{verified:?}");
        let read = memtool(&["read", "--core", text(&disk.path), "--partition", "1", "--phys", "0x24000", "-l", "1"]);
        assert!(read.code == 1 && read.stderr.contains("it has no partition table"), "{read:?}");
        let lime = disk.file("lime");
        memtool(&[&["convert", "--format", "lime", "-o", text(&lime)][..], &named].concat()).exits(1);
        assert!(!lime.exists());
    }
}
