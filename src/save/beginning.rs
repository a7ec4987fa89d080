//! How a dump has to begin: what swapping has overwritten, or what was never a dump, begins otherwise, whatever the
//! headers around it say.
//!
//! A kernel of an architecture writes minidumps of that architecture (`minidump_machdep.c`) or ELF core files
//! (`sys/kern/kern_dump.c`); a text dump is a tar archive (`sys/ddb/db_textdump.c`).

use object::elf::EM_PPC;
use vmcore::architecture::Architecture;
use vmcore::bounds::head;
use vmcore::dump::stream::Stream;
use vmcore::dump::{Damage, is_tar_header};
use vmcore::kerneldump::{Header, Kind};
use vmcore::text::until_nul;

/// Enough for a block of a tar archive.
const LENGTH: usize = 512;
/// The magic of every minidump, before the name of its architecture.
const MINIDUMP: &[u8] = b"minidump FreeBSD/";
/// The magic of ELF files.
const ELF: &[u8] = b"\x7fELF";

/// What is wrong with the first bytes of the dump that goes with a header, decompressed; `None` if they are right.
/// Bytes that cannot be read are wrong.
pub fn check(mut stream: Stream<'_>, header: &Header) -> Option<Damage> {
    let mut first = [0; LENGTH];
    let what = match stream.read(&mut first) {
        Ok(read) => wrong_with(head(&first, read), header)?,
        Err(stop) => stop.to_string(),
    };
    Some(Damage { place: "beginning".to_owned(), what })
}

fn wrong_with(first: &[u8], header: &Header) -> Option<String> {
    if header.kind == Kind::TextDump {
        let is_right = first.first_chunk().is_some_and(is_tar_header);
        return (!is_right).then(|| "it is not the tar header that begins every text dump".to_owned());
    }
    let expected = Architecture::from_machine_arch(&header.architecture);
    let of_another = |other: String| {
        let named = header.architecture.escape_debug();
        Some(format!("the header says '{named}', but the dump is for {other}"))
    };
    if let Some(rest) = first.strip_prefix(MINIDUMP) {
        let name = until_nul(rest);
        let is_right = expected.is_none_or(|expected| expected.name().as_bytes() == name);
        return if is_right { None } else { of_another(String::from_utf8_lossy(name).escape_debug().to_string()) };
    }
    if first.starts_with(ELF) {
        let machine = elf_machine(first)?;
        let expected = match header.architecture.as_str() {
            "powerpc" | "powerpcspe" => Some(EM_PPC.0),
            _ => expected.map(|expected| expected.elf_machine().0),
        };
        let is_right = expected.is_none_or(|expected| expected == machine);
        return if is_right { None } else { of_another(format!("ELF machine {machine}")) };
    }
    Some("it is neither a minidump's nor an ELF core file's; it was overwritten".to_owned())
}

/// `e_machine` of an ELF file, as `EI_DATA` has its bytes ordered; `None` in a file that ends before it.
fn elf_machine(first: &[u8]) -> Option<u16> {
    let bytes = *first.get(18..)?.first_chunk()?;
    Some(if first.get(5) == Some(&2) { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmcore::text::Name;

    fn wrong(kind: Kind, architecture: &str, first: &[u8]) -> Option<String> {
        let header = Header {
            kind,
            architecture: architecture.to_owned(),
            version: 4,
            architecture_version: 2,
            dump_length: first.len() as u64,
            dump_time: 0,
            key_size: 0,
            block_size: 512,
            hostname: Name::default(),
            version_string: Name::default(),
            panic_string: Name::default(),
            compression: 0,
            extent: first.len() as u64,
        };
        let stream = Stream::over(first, vmcore::kerneldump::Compression::None).unwrap();
        check(stream, &header).map(|damage| damage.to_string())
    }

    fn elf(data: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..4].copy_from_slice(ELF);
        bytes[5] = data;
        bytes[18..20].copy_from_slice(&machine);
        bytes
    }

    #[test]
    fn every_architecture_has_a_beginning_of_its_own() {
        let kernel = |architecture, first: &[u8]| wrong(Kind::KernelDump, architecture, first);
        for (machine_arch, name) in [
            ("amd64", "amd64"),
            ("aarch64", "arm64"),
            ("armv7", "arm"),
            ("riscv64", "riscv"),
            ("powerpc64le", "powerpc64"),
            ("i386", "i386"),
            // No longer made, and not read; their kernels have written it.
            ("mips64", "mips"),
        ] {
            assert_eq!(kernel(machine_arch, format!("minidump FreeBSD/{name}\0").as_bytes()), None, "{machine_arch}");
        }
        assert!(kernel("amd64", b"minidump FreeBSD/arm64\0").unwrap().contains("the dump is for arm64"));
        assert!(kernel("aarch64", b"minidump FreeBSD/arm\0").unwrap().contains("the dump is for arm"));
        assert_eq!(kernel("amd64", &elf(1, [62, 0])), None);
        assert_eq!(kernel("powerpc64", &elf(2, [0, 21])), None);
        assert_eq!(kernel("powerpc", &elf(2, [0, 20])), None);
        assert!(kernel("amd64", &elf(1, [183, 0])).unwrap().contains("ELF machine 183"));
        for first in [&b""[..], b"minidump", &[0; 512], &[7; 4096], b"# README"] {
            assert!(kernel("amd64", first).unwrap().starts_with("beginning: it is neither"), "{first:?}");
            assert!(kernel("sparc64", first).is_some(), "{first:?}");
        }
    }

    #[test]
    fn a_text_dump_begins_with_a_tar_header() {
        let mut block = [0; 512];
        assert!(wrong(Kind::TextDump, "amd64", &block).is_some());
        block[257..262].copy_from_slice(b"ustar");
        assert_eq!(wrong(Kind::TextDump, "amd64", &block), None);
        assert!(wrong(Kind::TextDump, "amd64", &block[..511]).is_some());
        assert!(wrong(Kind::TextDump, "amd64", b"minidump FreeBSD/amd64\0").is_some());
    }
}
