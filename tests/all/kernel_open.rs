//! A dump's kernel as a program opens it with the library: memory, symbols and processes at once, and what is said of an
//! image that is not its kernel's.

use crate::common::directory;
use crate::common::kernel::BuiltKernel;
use std::path::{Path, PathBuf};
use vmcore::fault::Why;
use vmcore::kernel::{Access, KernelMemory, KernelOptions, KernelWarning};
use vmcore::kerneldump::Compression;
use vmcore::mismatch::Mismatch;
use vmcore::opened::Scratch;
use vmcore::symbols::{KernelSymbols, Table};
use vmcore::types::{TypeSource, TypeTable};
use vmcore::{Error, Kernel};
use vmcore_synth::Arch;

/// A kernel and a file with a dump of it; `None` where there is no compiler for that architecture.
fn built(arch: Arch, directory: &Path) -> Option<(BuiltKernel, PathBuf)> {
    let kernel = BuiltKernel::in_minidump(arch, arch.newest())?;
    let core = directory.join(format!("vmcore.{}", arch.name()));
    std::fs::write(&core, kernel.dump.build()).unwrap();
    Some((kernel, core))
}

#[test]
fn memory_symbols_and_processes_are_there_at_once() {
    let directory = directory();
    let Some((built, core)) = built(Arch::Amd64, directory.path()) else { return };
    let mut kernel = Kernel::open(&core, Some(&built.image.path())).unwrap();
    assert_eq!(kernel.mismatch(), None);
    let hz = kernel.find("hz").unwrap().unwrap();
    assert_eq!(kernel.memory().u32(hz.address), Ok(1000));
    assert_eq!(kernel.name_of(hz.address).as_deref(), Some("hz"));
    assert_eq!(kernel.take_warnings(), [], "modules are not needed for that");
    let found: Vec<i32> = kernel.processes().unwrap().list.iter().map(|process| process.pid).collect();
    let expected: Vec<i32> = built.processes.iter().map(|process| process.pid.cast_signed()).collect();
    assert_eq!(found, expected);
    assert_eq!(kernel.facts().unwrap().hz, Some(1000));

    // What no file has is looked for in the modules, once.
    for _ in 0..2 {
        assert_eq!(kernel.find("nowhere").unwrap(), None);
    }
    let warnings = kernel.take_warnings();
    let [KernelWarning::NoModule(zfs), KernelWarning::NoModule(wg)] = warnings.as_slice() else {
        panic!("{warnings:?}")
    };
    assert!(zfs.contains("zfs.ko") && wg.contains("if_wg.ko"), "{warnings:?}");
    assert_eq!(kernel.into_files().unwrap().kernel().path(), built.image.path());
}

/// Files whose types were asked.
#[derive(Default)]
struct Asked(Vec<String>);

impl TypeSource for Asked {
    fn load(&mut self, file: &Table, _: &mut TypeTable) -> vmcore::Result<bool> {
        self.0.push(file.file_name().into_owned());
        Ok(true)
    }
}

#[test]
fn types_of_modules_are_looked_for_once_whether_the_kernels_own_are_loaded_or_not() {
    let directory = directory();
    let Some((built, core)) = built(Arch::Amd64, directory.path()) else { return };
    let mut kernel = Kernel::open(&core, Some(&built.image.path())).unwrap();
    let mut asked = Asked::default();
    kernel.load_own_types(&mut asked).unwrap();
    // Modules are not needed for that.
    let warnings = kernel.take_warnings();
    assert!(matches!(warnings.as_slice(), [KernelWarning::NoBuildId { .. }]), "{warnings:?}");
    kernel.load_types(&mut asked).unwrap();
    let warnings = kernel.take_warnings();
    assert!(matches!(warnings.as_slice(), [KernelWarning::NoModule(_), KernelWarning::NoModule(_)]), "{warnings:?}");
    kernel.load_types(&mut asked).unwrap();
    assert_eq!((kernel.take_warnings(), asked.0), (vec![], vec!["kernel".to_owned()]));
}

#[test]
fn without_an_image_there_is_memory_alone() {
    let directory = directory();
    let Some((built, core)) = built(Arch::Amd64, directory.path()) else { return };
    let mut kernel = Kernel::open(&core, None).unwrap();
    assert_eq!(kernel.memory().u32(built.image.address("hz")), Ok(1000));
    assert_eq!(kernel.name_of(built.image.address("hz")), None);
    for error in [kernel.symbols().err(), kernel.find("hz").err(), kernel.processes().err(), kernel.facts().err()] {
        assert!(matches!(error, Some(Error::NoSymbols)), "{error:?}");
    }
    assert_eq!(kernel.take_warnings(), []);
    assert!(matches!(kernel.into_files(), Err(Error::NoSymbols)));
}

#[test]
fn the_symbols_of_another_kernel_are_not_used() {
    let directory = directory();
    let Some((mut built, core)) = built(Arch::Amd64, directory.path()) else { return };
    let (image, address) = (built.image.path(), built.image.address("version"));
    built.write(address, b"FreeBSD 13");
    std::fs::write(&core, built.dump.build()).unwrap();
    let mut kernel = Kernel::open(&core, Some(&image)).unwrap();
    let expected = Mismatch::OtherVersion { image: image.display().to_string(), address };
    assert_eq!(kernel.mismatch(), Some(&expected));
    assert_eq!(kernel.take_warnings(), [KernelWarning::OtherKernel(expected.clone())]);
    assert_eq!(kernel.take_warnings(), [], "they are told once");
    let hz = built.image.address("hz");
    assert_eq!((kernel.memory().u32(hz), kernel.name_of(hz)), (Ok(1000), None));
    match kernel.find("hz") {
        Err(Error::OtherKernel(mismatch)) => assert_eq!(mismatch, expected),
        other => panic!("{other:?}"),
    }

    // Nothing is mapped there in a dump of a kernel that lies elsewhere.
    built.dump.mappings.retain(|mapping| mapping.address != address & !0xfff);
    std::fs::write(&core, built.dump.build()).unwrap();
    let kernel = Kernel::open(&core, Some(&image)).unwrap();
    let expected = Mismatch::NotMapped { image: image.display().to_string(), address };
    assert_eq!(kernel.mismatch(), Some(&expected));
}

#[test]
fn an_image_of_another_machine_is_refused() {
    let directory = directory();
    let (Some((_, core)), Some((other, _))) =
        (built(Arch::Amd64, directory.path()), built(Arch::Arm64, directory.path()))
    else {
        return;
    };
    match Kernel::open(&core, Some(&other.image.path())).err() {
        Some(Error::OtherArchitecture { core: named, dump, kernel }) => {
            assert_eq!((named, dump.name(), kernel.name()), (core, "amd64", "arm64"));
        }
        error => panic!("{error:?}"),
    }
}

#[test]
fn a_compressed_dump_takes_a_directory_and_leaves_nothing_there() {
    let directory = directory();
    let Some((built, core)) = built(Arch::Amd64, directory.path()) else { return };
    let scratch = crate::common::directory();
    let compressed = core.with_extension("zst");
    std::fs::write(&compressed, zstd::encode_all(built.dump.build().as_slice(), 1).unwrap()).unwrap();
    let error = Kernel::open(&compressed, None).err();
    assert!(matches!(error, Some(Error::Compressed(Compression::Zstd))), "{error:?}");
    let options = KernelOptions { scratch: Some(Scratch::new(scratch.path())), ..KernelOptions::default() };
    let kernel = options.open(&compressed, None).unwrap();
    assert_eq!(kernel.memory().u32(built.image.address("hz")), Ok(1000));
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0);

    let nowhere = scratch.path().join("nowhere");
    let options = KernelOptions { scratch: Some(Scratch::new(&nowhere)), ..KernelOptions::default() };
    let error = options.open(&compressed, None).err();
    assert!(matches!(error, Some(Error::Io { .. })), "{error:?}");
}

#[test]
fn only_a_dump_that_was_opened_for_it_is_written_to_and_no_link_is_followed() {
    let directory = directory();
    let Some((built, core)) = built(Arch::Amd64, directory.path()) else { return };
    let hz = built.image.address("hz");
    let before = std::fs::read(&core).unwrap();
    let kernel = Kernel::open(&core, None).unwrap();
    assert_eq!(kernel.memory().write(hz, &[1]).unwrap_err().why, Why::ReadOnly);
    assert!(std::fs::read(&core).unwrap() == before);

    let options = KernelOptions { access: Access::Write, ..KernelOptions::default() };
    options.open(&core, None).unwrap().memory().write(hz, &250_u32.to_le_bytes()).unwrap();
    assert_eq!(Kernel::open(&core, None).unwrap().memory().u32(hz), Ok(250));

    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&core, &link).unwrap();
    let error = options.open(&link, None).err();
    assert!(matches!(error, Some(Error::Io { .. })), "{error:?}");
}

#[test]
fn an_image_of_memory_takes_the_image_of_its_kernel() {
    let directory = directory();
    let core = directory.path().join("ram");
    std::fs::write(&core, vec![0; 0x4000]).unwrap();
    let error = Kernel::open(&core, None).err();
    assert!(matches!(error, Some(Error::NeedsImage(_))), "{error:?}");
}

#[test]
fn memory_and_symbols_are_shared_by_threads() {
    let directory = directory();
    let Some((built, core)) = built(Arch::Amd64, directory.path()) else { return };
    let kernel = Kernel::open(&core, Some(&built.image.path())).unwrap();
    let (memory, symbols): (&KernelMemory, &KernelSymbols) = (kernel.memory(), kernel.names().files().unwrap());
    let hz = built.image.address("hz");
    let read = || (memory.u32(hz), symbols.lookup_by_addr(hz).map(|found| found.offset));
    std::thread::scope(|scope| {
        for thread in [scope.spawn(read), scope.spawn(read)] {
            assert_eq!(thread.join().unwrap(), (Ok(1000), Some(0)));
        }
    });
}
