//! Formats that memtool does not read and that memory is often found in: what they begin with, and what makes of them
//! something that it reads. Taken for memory they would give wrong answers without a word.

use super::stream::SKIPPABLE;
use serde::Serialize;

/// A format that is known by name only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Foreign {
    /// What it is, after "it is".
    pub name: &'static str,
    /// What to do with it, as a sentence of its own without a full stop.
    pub remedy: &'static str,
}

/// How a format is told.
enum Sign {
    /// These bytes stand at this place.
    Bytes(usize, &'static [u8]),
    /// A test of the first bytes.
    Test(fn(&[u8]) -> bool),
}

const fn at_0(bytes: &'static [u8]) -> Sign {
    Sign::Bytes(0, bytes)
}

const DECOMPRESS_FIRST: &str = "decompress it first";
const UNPACK_FIRST: &str = "unpack it first";
const DECRYPT_FIRST: &str = "decrypt it first";
const MAKEDUMPFILE: &str = "QEMU's dump-guest-memory, or virsh dump --memory-only, writes what memtool reads";
const DISK_IMAGE: &str = "qemu-img convert -O raw makes the image of the disk of it";
const WINDOWS: &str = "it holds another system's memory";

/// First the formats of memory, then those that anything is packed in, then what is no memory at all. Sources: the
/// formats' own descriptions, file(1)'s magic(5).
const FORMATS: &[(Sign, &str, &str)] = &[
    (at_0(b"AVML"), "a memory image in another version of AVML's own format", "avml-convert makes a LiME image of it"),
    (at_0(b"DISKDUMP"), "a Linux kernel dump in diskdump format", MAKEDUMPFILE),
    (
        at_0(b"\x7fVirtualBox SavedState "),
        "the state of a VirtualBox machine",
        "VBoxManage debugvm VM dumpvmcore writes an ELF core file of one that runs",
    ),
    (at_0(b"QEVM\0\0"), "the state of a QEMU machine of another version", MAKEDUMPFILE),
    (at_0(b"LibvirtQemudPart"), "the state of a QEMU machine that libvirt has not saved to its end", MAKEDUMPFILE),
    (
        at_0(&0xf00f_ebed_u32.to_le_bytes()),
        "a core file of an old Xen version",
        "xl dump-core of a newer one writes ELF",
    ),
    (
        at_0(&0xf00f_ebee_u32.to_le_bytes()),
        "a core file of an old Xen version",
        "xl dump-core of a newer one writes ELF",
    ),
    (at_0(b"LinuxGuestRecord"), "the state of a Xen guest", "xl dump-core writes a core file of one that runs"),
    (at_0(b"Xen saved domain"), "the state of a Xen guest", "xl dump-core writes a core file of one that runs"),
    (at_0(b"PAGEDU64"), "a Windows crash dump", WINDOWS),
    (at_0(b"PAGEDUMP"), "a Windows crash dump", WINDOWS),
    (at_0(b"MDMP\x93\xa7"), "a Windows program minidump", WINDOWS),
    (at_0(b"hibr\0\0"), "a Windows hibernation image", WINDOWS),
    (at_0(b"HIBR\0\0"), "a Windows hibernation image", WINDOWS),
    (at_0(b"HPAK"), "a memory image in HBGary format", "extract its memory first"),
    (Sign::Test(is_mach_o), "a Mach-O file", "core files and programs of macOS are not read"),
    (at_0(&0xdefe_c8ed_u32.to_le_bytes()), "a crash dump of illumos or Solaris", "mdb reads it"),
    (at_0(&0xdefe_c8ed_u32.to_be_bytes()), "a crash dump of illumos or Solaris", "mdb reads it"),
    (at_0(b"\xfd7zXZ\0"), "compressed with xz", "xz -d decompresses it"),
    (Sign::Test(is_lzma), "compressed with lzma", "xz -d --format=lzma decompresses it"),
    (Sign::Test(is_bzip2), "compressed with bzip2", "bzip2 -d decompresses it"),
    (at_0(&0x184d_2204_u32.to_le_bytes()), "compressed with lz4", "lz4 -d decompresses it"),
    (at_0(&0x184c_2102_u32.to_le_bytes()), "compressed with lz4 in its old format", "lz4 -d decompresses it"),
    (
        Sign::Test(is_skippable),
        "a stream that begins with skippable frames and is none of Zstandard's",
        DECOMPRESS_FIRST,
    ),
    (Sign::Test(is_old_zstd), "compressed with a zstd before its first release", DECOMPRESS_FIRST),
    (at_0(b"\xff\x06\0\0sNaPpY"), "compressed with snappy", "snzip -d decompresses it"),
    (at_0(b"LZIP\x01"), "compressed with lzip", "lzip -d decompresses it"),
    (at_0(b"\x89LZO\0\r\n\x1a\n"), "compressed with lzop", "lzop -d decompresses it"),
    (at_0(b"LRZI\0"), "compressed with lrzip", "lrzip -d decompresses it"),
    (Sign::Test(is_compress), "compressed with compress", "uncompress decompresses it"),
    (
        Sign::Test(is_zlib),
        "a zlib stream, as LiME writes with compress=1",
        "pigz -d or zlib-flate -uncompress decompresses it",
    ),
    (at_0(b"PK\x03\x04"), "a zip archive", UNPACK_FIRST),
    (at_0(b"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive", UNPACK_FIRST),
    (at_0(b"Rar!\x1a\x07"), "a RAR archive", UNPACK_FIRST),
    (Sign::Bytes(257, b"ustar"), "a tar archive", "tar -xf unpacks it"),
    (at_0(b"EVF\x09\x0d\x0a\xff\0"), "an EnCase image (E01)", "ewfexport makes a raw image of it"),
    (at_0(b"QFI\xfb"), "a disk image of QEMU (qcow2)", DISK_IMAGE),
    (at_0(b"KDMV"), "a disk image of VMware (VMDK)", DISK_IMAGE),
    (at_0(b"vhdxfile"), "a disk image of Hyper-V (VHDX)", DISK_IMAGE),
    (Sign::Bytes(64, b"\x7f\x10\xda\xbe"), "a disk image of VirtualBox (VDI)", DISK_IMAGE),
    (at_0(b"age-encryption.org/"), "encrypted with age", "--identity gives the private key, or age -d decrypts it"),
    (at_0(b"-----BEGIN AGE ENCRYPTED FILE"), "encrypted with age, as text", "age -d decrypts it"),
    (at_0(b"-----BEGIN PGP MESSAGE"), "encrypted with OpenPGP", DECRYPT_FIRST),
    (at_0(b"Salted__"), "encrypted with openssl(1)", DECRYPT_FIRST),
    (at_0(b"LUKS\xba\xbe"), "a LUKS volume", DECRYPT_FIRST),
];

/// A stream within a stream.
pub const TWICE: Foreign = Foreign { name: "compressed twice", remedy: "decompress it once with gzip -d or zstd -d" };

/// An ELF file of another kind than core files.
pub const NO_CORE: Foreign =
    Foreign { name: "an ELF file but not a core file", remedy: "a kernel image is given with --kernel" };

/// The format that begins with these bytes, if it is one of those that are not read.
pub fn recognise(head: &[u8]) -> Option<Foreign> {
    let has = |sign: &Sign| match sign {
        Sign::Bytes(at, bytes) => head.get(*at..).is_some_and(|rest| rest.starts_with(bytes)),
        Sign::Test(test) => test(head),
    };
    let found = FORMATS.iter().find(|(sign, ..)| has(sign));
    found.map(|(_, name, remedy)| Foreign { name, remedy })
}

fn first_u32(head: &[u8]) -> Option<u32> {
    head.first_chunk().copied().map(u32::from_le_bytes)
}

/// A header of either size and byte order, for a processor and of a kind that there are.
fn is_mach_o(head: &[u8]) -> bool {
    let magic = matches!(first_u32(head), Some(0xfeed_face | 0xfeed_facf | 0xcefa_edfe | 0xcffa_edfe));
    magic && head.get(12..16).is_some_and(|kind| kind.iter().any(|byte| *byte != 0))
}

/// The properties are those of every encoder, the dictionary's size has one or two bits set, and the length is unknown
/// or possible.
fn is_lzma(head: &[u8]) -> bool {
    let Some((0x5d, rest)) = head.split_first() else { return false };
    let Some((dictionary, rest)) = rest.split_first_chunk() else { return false };
    let Some(length) = rest.first_chunk() else { return false };
    let (dictionary, length) = (u32::from_le_bytes(*dictionary), u64::from_le_bytes(*length));
    let possible = length == u64::MAX || (1..1 << 40).contains(&length);
    dictionary >= 1 << 12 && dictionary.count_ones() <= 2 && possible
}

/// The magic of a stream, then of its first block or its end.
fn is_bzip2(head: &[u8]) -> bool {
    let block = head.get(4..10);
    let follows = block == Some(b"\x31\x41\x59\x26\x53\x59") || block == Some(b"\x17\x72\x45\x38\x50\x90");
    head.starts_with(b"BZh") && head.get(3).is_some_and(|level| (b'1'..=b'9').contains(level)) && follows
}

/// Frames that Zstandard and lz4 have in common.
fn is_skippable(head: &[u8]) -> bool {
    first_u32(head).is_some_and(|magic| SKIPPABLE.contains(&magic))
}

/// Versions 0.1 to 0.7, whose formats differ.
fn is_old_zstd(head: &[u8]) -> bool {
    matches!(first_u32(head), Some(0xfd2f_b51e | 0xfd2f_b522..=0xfd2f_b527))
}

/// compress(1): the third byte has the most bits of a code, 9 to 16, and two flags that are never set.
fn is_compress(head: &[u8]) -> bool {
    matches!(head, [0x1f, 0x9d, flags, ..] if flags & 0x60 == 0 && (9..=16).contains(&(flags & 0x1f)))
}

/// RFC 1950: two bytes whose checksum is right, of which any memory may begin; so what follows has to inflate.
fn is_zlib(head: &[u8]) -> bool {
    let [method, flags, ..] = head else { return false };
    let checked = (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31);
    if method & 0xf != 8 || method >> 4 > 7 || flags & 0x20 != 0 || !checked {
        return false;
    }
    inflates(head)
}

#[cfg(feature = "gzip")]
fn inflates(head: &[u8]) -> bool {
    let mut inflated = [0; 1 << 12];
    let mut inflate = flate2::Decompress::new(true);
    let done = inflate.decompress(head, &mut inflated, flate2::FlushDecompress::None);
    done.is_ok() && inflate.total_out() > 0
}

/// Nothing tells, and memory is more likely.
#[cfg(not(feature = "gzip"))]
fn inflates(_: &[u8]) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_a_weak_sign_is_none() {
        // The right first bytes, and nothing that could follow them.
        for head in [
            &b"\x78\x9c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\x78\x9c",
            b"\x1f\x9d\xff",
            b"BZh9 is a name",
            b"\x5d\0\0\x80\0\0\0\0\0\0\0\0\0",
            &0xfeed_face_u32.to_le_bytes(),
            &[0; 4096],
            b"",
        ] {
            assert_eq!(recognise(head), None, "{head:x?}");
        }
    }
}
