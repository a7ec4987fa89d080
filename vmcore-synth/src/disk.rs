//! Whole disks with partition tables: GPT (UEFI specification, section 5.3), MBR with logical partitions, and BSD
//! disklabels (`sys/sys/disk/bsd.h`).

/// Bytes of sectors before and behind the partitions of a GPT, in sectors of 512 bytes.
const AROUND: usize = 64 * 512;

/// `freebsd-swap`, as it is in an entry.
pub const SWAP: [u8; 16] =
    [0xb5, 0x7c, 0x6e, 0x51, 0xcf, 0x6e, 0xd6, 0x11, 0x8f, 0xf8, 0x00, 0x02, 0x2d, 0x09, 0x71, 0x2b];
/// `freebsd-ufs`.
pub const UFS: [u8; 16] =
    [0xb6, 0x7c, 0x6e, 0x51, 0xcf, 0x6e, 0xd6, 0x11, 0x8f, 0xf8, 0x00, 0x02, 0x2d, 0x09, 0x71, 0x2b];

/// CRC-32 as zlib has it.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// A partition of a disk that is built.
#[derive(Clone, Debug)]
pub struct Part {
    /// The type in a GPT.
    pub kind: [u8; 16],
    pub label: &'static str,
    /// What is in it, in whole sectors.
    pub content: Vec<u8>,
}

/// A disk with a GPT.
#[derive(Clone, Debug)]
pub struct GptDisk {
    pub sector: usize,
    /// Partitions 1 and so on.
    pub parts: Vec<Part>,
}

impl GptDisk {
    /// The first byte of a partition, by its index, and the first one behind it.
    pub fn range(&self, index: usize) -> (usize, usize) {
        let before: usize = self.parts[..index].iter().map(|part| part.content.len()).sum();
        let start = AROUND.next_multiple_of(self.sector) + before;
        (start, start + self.parts[index].content.len())
    }

    /// The disk: a protective MBR, the header, its table, the partitions, the table again and the last header.
    pub fn build(&self) -> Vec<u8> {
        let sector = self.sector;
        let around = AROUND.next_multiple_of(sector);
        let content: usize = self.parts.iter().map(|part| part.content.len()).sum();
        let size = content + 2 * around;
        let mut disk = vec![0; size];
        disk[446 + 4] = 0xee;
        disk[446 + 8..446 + 12].copy_from_slice(&1_u32.to_le_bytes());
        disk[446 + 12..446 + 16].copy_from_slice(&((size / sector - 1) as u32).to_le_bytes());
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        let mut table = vec![0; 128 * 128];
        for (index, part) in self.parts.iter().enumerate() {
            let (start, end) = self.range(index);
            disk[start..end].copy_from_slice(&part.content);
            let entry = &mut table[index * 128..][..128];
            entry[..16].copy_from_slice(&part.kind);
            entry[16] = index as u8 + 1;
            entry[32..40].copy_from_slice(&((start / sector) as u64).to_le_bytes());
            entry[40..48].copy_from_slice(&((end / sector - 1) as u64).to_le_bytes());
            for (at, unit) in part.label.encode_utf16().enumerate() {
                entry[56 + 2 * at..][..2].copy_from_slice(&unit.to_le_bytes());
            }
        }
        let last = size / sector - 1;
        let second = last - (table.len() / sector);
        for (this, other, at) in [(1, last, 2), (last, 1, second)] {
            let mut header = vec![0; 92];
            header[..8].copy_from_slice(b"EFI PART");
            header[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
            header[12..16].copy_from_slice(&92_u32.to_le_bytes());
            for (offset, value) in
                [(24, this), (32, other), (40, around / sector), (48, (size - around) / sector - 1), (72, at)]
            {
                header[offset..offset + 8].copy_from_slice(&(value as u64).to_le_bytes());
            }
            header[80..84].copy_from_slice(&128_u32.to_le_bytes());
            header[84..88].copy_from_slice(&128_u32.to_le_bytes());
            header[88..92].copy_from_slice(&crc32(&table).to_le_bytes());
            let crc = crc32(&header);
            header[16..20].copy_from_slice(&crc.to_le_bytes());
            disk[this * sector..][..92].copy_from_slice(&header);
            disk[at * sector..][..table.len()].copy_from_slice(&table);
        }
        disk
    }
}

/// Writes a record: type, first sector and number of sectors of each entry.
pub fn set_mbr(disk: &mut [u8], at: usize, entries: &[(u8, u32, u32)]) {
    for (index, (kind, first, count)) in entries.iter().enumerate() {
        let entry = &mut disk[at + 446 + 16 * index..][..16];
        entry[4] = *kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..16].copy_from_slice(&count.to_le_bytes());
    }
    disk[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
}

/// Writes a disklabel into the second sector of a slice: type, first sector and number of sectors of each partition. `c` is
/// the third one.
pub fn set_disklabel(disk: &mut [u8], slice: usize, parts: &[(u8, u32, u32)]) {
    let label = &mut disk[slice + 512..][..512];
    label[..4].copy_from_slice(&0x8256_4557_u32.to_le_bytes());
    label[40..44].copy_from_slice(&512_u32.to_le_bytes());
    label[132..136].copy_from_slice(&0x8256_4557_u32.to_le_bytes());
    label[138..140].copy_from_slice(&(parts.len() as u16).to_le_bytes());
    for (index, (kind, first, count)) in parts.iter().enumerate() {
        let part = &mut label[148 + 16 * index..][..16];
        part[..4].copy_from_slice(&count.to_le_bytes());
        part[4..8].copy_from_slice(&first.to_le_bytes());
        part[12] = *kind;
    }
    let words = label[..148 + 16 * parts.len()].chunks(2);
    let sum = words.fold(0, |sum, word| sum ^ u16::from_le_bytes([word[0], word[1]]));
    label[136..138].copy_from_slice(&sum.to_le_bytes());
}
