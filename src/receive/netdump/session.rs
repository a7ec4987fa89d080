//! What one client sends, from its herald on: what is stored where, and whether it is a whole dump in the end.

use super::super::spans::Spans;
use super::packet::{Kind, Packet};
use super::window::{Part, Position, Window};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;
use vmcore::bounds::saturating_usize;
use vmcore::kerneldump::{Compression, HEADER_LENGTH, Header, HeaderError};
use vmcore::units::{counted, exact_size};

/// No key is larger (`KERNELDUMP_ENCKEY_MAX_SIZE`, sys/kerneldump.h), made up to whole blocks.
const MAX_KEY: usize = 1 << 16;
/// No path is longer (`MAXPATHLEN`, sys/param.h).
const MAX_PATH: usize = 1024;
/// A dump in more parts than this is none of a client's.
const MAX_PARTS: usize = 1 << 16;

/// Why a packet is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is beyond what a dump may take.
    #[error("it goes to byte {end}, and a dump may have {limit}")]
    TooLarge {
        /// Where it ends.
        end: u128,
        /// The limit.
        limit: u64,
    },
    /// The parts of the dump lie apart as a client's never do.
    #[error("the dump lies in more than {MAX_PARTS} parts")]
    TooScattered,
    /// A header that is none.
    #[error("a header of {0} bytes instead of {HEADER_LENGTH}")]
    HeaderLength(usize),
    /// It cannot be stored.
    #[error("it cannot be stored: {0}")]
    Storage(#[from] io::Error),
}

/// Why a dump is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// The client has not said that this was all.
    #[error("the client did not finish")]
    Unfinished,
    /// There is no header.
    #[error("its header is missing")]
    NoHeader,
    /// The header is none.
    #[error("its header is damaged: {0}")]
    Header(HeaderError),
    /// There is nothing of it.
    #[error("no byte of it has arrived")]
    Nothing,
    /// Bytes are missing.
    #[error("{} missing in {}", exact_size(u128::from(*.bytes)), counted(*.holes as u64, "hole"))]
    Holes {
        /// How many ranges of bytes.
        holes: usize,
        /// How many bytes.
        bytes: u64,
    },
    /// The client has sent packets that never arrived.
    #[error("{} never arrived", counted(*.0, "packet"))]
    Packets(u64),
    /// It is encrypted, and its key is not here.
    #[error("{there} of the {size} bytes of its key are here")]
    Key {
        /// Bytes from its beginning.
        there: u64,
        /// All of them.
        size: u32,
    },
}

/// A client's session.
#[derive(Debug)]
pub struct Session {
    window: Window,
    /// What is in the file.
    stored: Spans,
    /// A dump may have so many bytes.
    limit: u64,
    header: Option<[u8; HEADER_LENGTH]>,
    key: Vec<u8>,
    key_parts: Spans,
    /// The number of the last packet.
    finished: Option<u32>,
    path: String,
    packets: u64,
    repeated: u64,
}

impl Session {
    /// Begins with a herald.
    pub fn new(herald: &Packet<'_>, limit: u64, now: Instant) -> Self {
        let path: Vec<u8> = herald.payload.iter().copied().take_while(|byte| *byte != 0).take(MAX_PATH).collect();
        Self {
            window: Window::new(herald.seq, now),
            stored: Spans::default(),
            limit,
            header: None,
            key: Vec::new(),
            key_parts: Spans::default(),
            finished: None,
            path: String::from_utf8_lossy(&path).into_owned(),
            packets: 0,
            repeated: 0,
        }
    }

    /// Takes a packet, stores what is in it, and says which packets are to be acknowledged now: none before it is stored.
    /// The last one is acknowledged by who calls this, when all is on disk.
    ///
    /// # Errors
    ///
    /// It is not taken, and so not acknowledged; what was stored before stays.
    pub fn take(&mut self, packet: &Packet<'_>, file: &File, now: Instant) -> Result<Vec<u32>, Refusal> {
        let position = match packet.kind {
            // It was taken when the session began; its acknowledgement got lost.
            Kind::Herald => return Ok(vec![packet.seq]),
            _ => self.window.position(packet.seq),
        };
        match position {
            Position::New => self.store(packet, file)?,
            Position::Known => self.repeated += 1,
            Position::Stray => return Ok(Vec::new()),
        }
        self.packets += 1;
        let part = if packet.kind == Kind::Data { Part::Burst(packet.payload.len()) } else { Part::Single };
        let mut acknowledged = self.window.take(packet.seq, part, now);
        if packet.kind == Kind::Finished {
            self.finished = Some(packet.seq);
            acknowledged.retain(|seq| *seq != packet.seq);
        }
        Ok(acknowledged)
    }

    fn store(&mut self, packet: &Packet<'_>, file: &File) -> Result<(), Refusal> {
        let Packet { kind, offset, payload, .. } = *packet;
        let end = u128::from(offset) + payload.len() as u128;
        let within = |limit: u64| match u64::try_from(end).ok().filter(|end| *end <= limit) {
            Some(end) => Ok(end),
            None => Err(Refusal::TooLarge { end, limit }),
        };
        match kind {
            Kind::Data => {
                let end = within(self.limit)?;
                if self.stored.len() >= MAX_PARTS {
                    return Err(Refusal::TooScattered);
                }
                file.write_all_at(payload, offset)?;
                self.stored.insert(offset, end);
            }
            Kind::Key => {
                let end = within(MAX_KEY as u64)?;
                let (start, stop) = (saturating_usize(offset), saturating_usize(end));
                self.key.resize(self.key.len().max(stop), 0);
                self.key.iter_mut().skip(start).zip(payload).for_each(|(to, from)| *to = *from);
                self.key_parts.insert(offset, end);
            }
            Kind::Header => {
                let header = payload.try_into().map_err(|_| Refusal::HeaderLength(payload.len()))?;
                self.header = Some(header);
            }
            Kind::Herald | Kind::Finished => {}
        }
        Ok(())
    }

    /// See [`Window::quiet_at`].
    pub fn quiet_at(&self) -> Option<Instant> {
        self.window.quiet_at()
    }

    /// See [`Window::quiet`].
    pub fn quiet(&mut self, now: Instant) -> Vec<u32> {
        self.window.quiet(now)
    }

    /// Whether anything but the herald has arrived.
    pub fn has_begun(&self) -> bool {
        self.packets > 0
    }

    /// The number of the last packet, if it is here.
    pub fn finished(&self) -> Option<u32> {
        self.finished
    }

    /// What the client calls its dumps (`net.netdump.path`), which anybody can make up.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Packets that arrived, and those of them that had arrived before.
    pub fn packets(&self) -> (u64, u64) {
        (self.packets, self.repeated)
    }

    /// Bytes of the dump that are here.
    pub fn received(&self) -> u64 {
        self.stored.total()
    }

    /// The dump's header as it came.
    pub fn header(&self) -> Option<&[u8; HEADER_LENGTH]> {
        self.header.as_ref()
    }

    /// The key, with what a client fills its last block with.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Bytes of the dump, by its header or by what has arrived. Compressed dumps are sent in whole blocks, and their
    /// headers say how many bytes they have. Of others the headers can say less than there is: their length was computed
    /// before the network was set up, which takes memory, and that is dumped, too.
    pub fn length(&self) -> u64 {
        let end = self.stored.end();
        match self.header.as_ref().and_then(|header| Header::parse(header).ok()) {
            Some(header) if is_compressed(&header) => header.dump_length,
            _ => end,
        }
    }

    /// The ranges of the dump's bytes that are missing.
    pub fn holes(&self) -> Vec<(u64, u64)> {
        self.stored.gaps(self.length())
    }

    /// Whether its header says more bytes than there are, of a dump whose header need not be right about that: how many
    /// it says.
    pub fn says_more(&self) -> Option<u64> {
        let header = Header::parse(self.header.as_ref()?).ok()?;
        (!is_compressed(&header) && header.dump_length > self.stored.end()).then_some(header.dump_length)
    }

    /// Why the dump is not whole; of one that is, nothing.
    pub fn problems(&self) -> Vec<Incomplete> {
        let mut problems = Vec::new();
        if self.finished.is_none() {
            problems.push(Incomplete::Unfinished);
        }
        let header = self.header.as_ref().map(Header::parse);
        match &header {
            None => problems.push(Incomplete::NoHeader),
            Some(Err(error)) => problems.push(Incomplete::Header(error.clone())),
            Some(Ok(header)) if header.key_size > 0 => {
                let there = self.key_parts.gaps(u64::MAX).first().map_or(0, |(start, _)| *start);
                if there < u64::from(header.key_size) {
                    problems.push(Incomplete::Key { there, size: header.key_size });
                }
            }
            Some(Ok(_)) => {}
        }
        let holes = self.holes();
        let bytes = holes.iter().map(|(start, end)| end - start).sum();
        if self.stored.is_empty() {
            problems.push(Incomplete::Nothing);
        } else if bytes > 0 {
            problems.push(Incomplete::Holes { holes: holes.len(), bytes });
        }
        let missing = self.finished.map_or_else(|| self.window.lost(), |last| self.window.missing_before(last));
        if missing > 0 {
            problems.push(Incomplete::Packets(missing));
        }
        problems
    }
}

/// Whether the bytes of a dump are compressed, encrypted or not.
fn is_compressed(header: &Header) -> bool {
    Compression::from_code(header.compression) != Some(Compression::None)
}
