//! The RAM in a stream of QEMU's migration (`migration/ram.c`): blocks with their names and lengths, then pages, each
//! behind a header that tells its block and place; a page that has changed comes again. With the capability mapped-ram,
//! each page of a block has a place of its own, and a bitmap tells which are there.
//!
//! Where the blocks are in memory the stream does not tell, but the machine's name does (`hw/i386/pc_piix.c`,
//! `pc_q35.c`, `hw/arm/virt.c`, `hw/riscv/virt.c`).

use super::fields::Fields;
use super::pieces::{PAGE, Piece};
use super::qemu_stream::{Configuration, Reader};
use super::{Result, damaged, refused};
use crate::bounds::head_mut;

/// Flags in the header of a page.
const ZERO: u64 = 0x02;
const SIZE: u64 = 0x04;
const DATA: u64 = 0x08;
const EOS: u64 = 0x10;
const CONTINUE: u64 = 0x20;
const FLUSH: u64 = 0x200;
const FLAGS: u64 = PAGE - 1;

/// Blocks that are kept: a machine has a few for each device.
const MAX_BLOCKS: usize = 4096;
/// Bytes of a block at most.
const MAX_BLOCK: u64 = 1 << 48;

/// The names of the block of main memory.
const MAIN: [&[u8]; 5] =
    [b"pc.ram", b"/objects/pc.ram", b"mach-virt.ram", b"/objects/mach-virt.ram", b"riscv_virt_board.ram"];

/// How a section ended.
#[derive(PartialEq, Eq)]
pub(super) enum Ended {
    Whole,
    CutOff,
}

struct Block {
    name: Vec<u8>,
    length: u64,
}

/// The main memory, as far as the stream was read.
#[derive(Default)]
pub(super) struct Ram {
    blocks: Vec<Block>,
    /// The block of the last page.
    current: Option<usize>,
    /// Pages of the main memory, by their place in its block.
    pieces: Vec<Piece>,
}

impl Ram {
    fn main(&self) -> Option<usize> {
        self.blocks.iter().position(|block| MAIN.contains(&&*block.name))
    }

    /// Whether the list of blocks has the main memory.
    pub fn has_main(&self) -> bool {
        self.main().is_some()
    }

    /// Reads pages up to the end of a section.
    pub fn read_section(&mut self, reader: &mut Reader<'_>, configuration: &Configuration) -> Result<Ended> {
        let main = self.main();
        let mut main = main;
        loop {
            let at = reader.position();
            let Some(header) = reader.u64()? else { return Ok(Ended::CutOff) };
            let (address, flags) = (header & !FLAGS, header & FLAGS);
            match flags & !CONTINUE {
                SIZE => {
                    // The sizes of blocks need not be multiples of a page.
                    if self.read_blocks(reader, header & !SIZE, configuration)? == Ended::CutOff {
                        return Ok(Ended::CutOff);
                    }
                    main = self.main();
                }
                EOS => return Ok(Ended::Whole),
                FLUSH => {}
                ZERO | DATA => {
                    if flags & CONTINUE == 0 {
                        let Some(name) = reader.short_name()? else { return Ok(Ended::CutOff) };
                        self.current = self.blocks.iter().position(|block| block.name == name);
                    }
                    let Some(block) = self.current.and_then(|number| self.blocks.get(number)) else {
                        return damaged("QEMU RAM", format!("a page of an unknown block at {at}"));
                    };
                    if address >= block.length {
                        return damaged("QEMU RAM", format!("a page behind the end of its block at {at}"));
                    }
                    let is_main = self.current == main;
                    if flags & DATA != 0 {
                        let start = reader.position();
                        reader.skip(PAGE);
                        if reader.position() > reader.length() {
                            return Ok(Ended::CutOff);
                        }
                        self.push(is_main, Piece::plain(address, PAGE, start));
                    } else {
                        let Some(fill) = reader.u8()? else { return Ok(Ended::CutOff) };
                        if fill != 0 {
                            return refused(OTHER, REMEDY);
                        }
                        self.push(is_main, Piece { physical: address, size: PAGE, at: None, stride: PAGE });
                    }
                }
                _ => return refused(OTHER, REMEDY),
            }
        }
    }

    fn push(&mut self, is_main: bool, page: Piece) {
        if !is_main {
            return;
        }
        // In most streams pages follow each other, and are one piece.
        if !self.pieces.last_mut().is_some_and(|last| last.extend(&page)) {
            self.pieces.push(page);
        }
    }

    /// Reads the list of blocks, so many bytes in all.
    fn read_blocks(&mut self, reader: &mut Reader<'_>, total: u64, configuration: &Configuration) -> Result<Ended> {
        let mut sum = 0_u64;
        self.blocks.clear();
        while sum < total {
            let (Some(name), Some(length)) = (reader.short_name()?, reader.u64()?) else { return Ok(Ended::CutOff) };
            if length == 0 || length > MAX_BLOCK || self.blocks.len() >= MAX_BLOCKS {
                return damaged("QEMU RAM", format!("a block of {length} bytes before {}", reader.position()));
            }
            sum = sum.saturating_add(length);
            if configuration.has_ignored_blocks {
                reader.skip(8);
            }
            let is_main = MAIN.contains(&&*name) && self.main().is_none();
            self.blocks.push(Block { name, length });
            if configuration.has_mapped_ram && self.read_mapped(reader, length, is_main)? == Ended::CutOff {
                return Ok(Ended::CutOff);
            }
        }
        Ok(Ended::Whole)
    }

    /// The place of a block whose pages have places of their own.
    fn read_mapped(&mut self, reader: &mut Reader<'_>, length: u64, is_main: bool) -> Result<Ended> {
        let Some(header) = reader.array::<28>()? else { return Ok(Ended::CutOff) };
        let fields = Fields::big(&header);
        let (Some(version), Some(page), Some(bitmap), Some(pages)) =
            (fields.u32(0), fields.u64(4), fields.u64(12), fields.u64(20))
        else {
            return Ok(Ended::CutOff);
        };
        if version != 1 || page != PAGE {
            return refused(OTHER, REMEDY);
        }
        // A block that is shared, and in no file of QEMU's.
        if (bitmap, pages) == (0, 0) {
            return if is_main { refused(OTHER, REMEDY) } else { Ok(Ended::Whole) };
        }
        reader.seek(pages.saturating_add(length));
        if !is_main {
            return Ok(Ended::Whole);
        }
        let count = length / PAGE;
        let bytes = count.div_ceil(8);
        if bitmap.saturating_add(bytes) > reader.length() {
            return Ok(Ended::CutOff);
        }
        let mut buffer = vec![0; 1 << 16];
        let mut done = 0;
        while done < bytes {
            let part = head_mut(&mut buffer, bytes - done);
            if reader.volume().read_at(bitmap.saturating_add(done), part)? < part.len() {
                return Ok(Ended::CutOff);
            }
            for (byte, number) in part.iter().zip(done..) {
                let run = |set: bool| match set {
                    true => pages.checked_add(number.saturating_mul(8 * PAGE)),
                    false => None,
                };
                match byte {
                    0 | 0xff => self.push_mapped(number * 8, 8.min(count - number * 8), run(*byte != 0)),
                    byte => {
                        for bit in (0..8).filter(|bit| number * 8 + bit < count) {
                            let at = run(byte >> bit & 1 == 1).map(|at| at.saturating_add(bit * PAGE));
                            self.push_mapped(number * 8 + bit, 1, at);
                        }
                    }
                }
            }
            done += part.len() as u64;
        }
        Ok(Ended::Whole)
    }

    fn push_mapped(&mut self, page: u64, count: u64, at: Option<u64>) {
        self.push(true, Piece { physical: page * PAGE, size: count * PAGE, at, stride: PAGE });
    }

    /// The main memory by physical addresses.
    pub fn into_pieces(self, machine: &[u8]) -> Result<Vec<Piece>> {
        let Some(main) = self.main().and_then(|number| self.blocks.get(number)) else {
            return refused(
                "the state of a QEMU machine whose memory is in backends of its own",
                "QEMU's dump-guest-memory writes what memtool reads",
            );
        };
        let Some((base, low)) = split(machine, &main.name, main.length) else {
            return refused(
                "the state of a QEMU machine of a kind whose addresses of RAM are not known",
                "QEMU's dump-guest-memory writes what memtool reads",
            );
        };
        let mut moved = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces {
            let end = piece.physical.saturating_add(piece.size);
            let below = low.saturating_sub(piece.physical).min(piece.size);
            if below > 0 {
                moved.push(Piece { physical: base.saturating_add(piece.physical), size: below, ..piece });
            }
            if end > low {
                let above = piece.behind(below);
                moved.push(Piece { physical: HIGH.saturating_add(above.physical.saturating_sub(low)), ..above });
            }
        }
        Ok(moved)
    }
}

const OTHER: &str = "the state of a QEMU machine with RAM in a form that memtool does not know";
const REMEDY: &str = "without the migration capabilities xbzrle, compress and multifd it can be read, and QEMU's dump-guest-memory writes what can";

/// Where RAM goes on behind the hole of a PC.
const HIGH: u64 = 4 << 30;

/// Where the main memory of a machine begins, and how many bytes of it come before the hole.
fn split(machine: &[u8], block: &[u8], length: u64) -> Option<(u64, u64)> {
    let is_pc = block.ends_with(b"pc.ram");
    if is_pc && machine.starts_with(b"pc-i440fx-") {
        Some((0, if length >= 0xe000_0000 { 0xc000_0000 } else { length }))
    } else if is_pc && machine.starts_with(b"pc-q35-") {
        Some((0, if length >= 0xb000_0000 { 0x8000_0000 } else { length }))
    } else if block.ends_with(b"mach-virt.ram") && machine.starts_with(b"virt-") {
        Some((1 << 30, length))
    } else if block.ends_with(b"riscv_virt_board.ram") && machine == b"virt" {
        Some((2 << 30, length))
    } else {
        None
    }
}
