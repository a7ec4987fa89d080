//! gzip streams of several members, and what may stand behind them (RFC 1952); and zlib streams (RFC 1950), which `LiME`
//! writes with `compress=1`.

use crate::lime;
use flate2::bufread;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether the first bytes of a file are those of a zlib stream with a `LiME` image in it. Nothing else is taken for one:
/// memory may begin with the same two bytes.
pub(super) fn is_packed_lime(head: &[u8]) -> bool {
    let [method, flags, ..] = head else { return false };
    if method & 0xf != 8 || !(u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31) {
        return false;
    }
    let mut first = [0; 8];
    flate2::bufread::ZlibDecoder::new(head).read_exact(&mut first).is_ok() && lime::is_lime(&first)
}

/// What a member of a gzip stream begins with.
const MEMBER: [u8; 2] = [0x1f, 0x8b];

/// A member's bytes, of which the first ones were read already.
type Member<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// The members of a gzip stream, one after another. What is behind the last one is left out, as gzip(1) does; what is
/// not all zeros is counted.
pub(super) struct Gzip<R> {
    /// `None` behind the last one.
    member: Option<bufread::GzDecoder<Member<R>>>,
    ignored: Arc<AtomicU64>,
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(from: R, ignored: Arc<AtomicU64>) -> Self {
        Self { member: Some(bufread::GzDecoder::new(io::Cursor::new(Vec::new()).chain(from))), ignored }
    }

    /// Goes on to what is behind a member.
    fn advance(&mut self) -> io::Result<()> {
        let Some(member) = self.member.take() else { return Ok(()) };
        let (_, mut from) = member.into_inner().into_inner();
        let mut first = Vec::new();
        from.by_ref().take(MEMBER.len() as u64).read_to_end(&mut first)?;
        if first == MEMBER {
            self.member = Some(bufread::GzDecoder::new(io::Cursor::new(first).chain(from)));
            return Ok(());
        }
        let mut is_zero = first.iter().all(|byte| *byte == 0);
        let mut bytes = first.len() as u64;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            bytes += read as u64;
            is_zero &= buffer.iter().take(read).all(|byte| *byte == 0);
        }
        if !is_zero {
            self.ignored.store(bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            match member.read(buffer)? {
                0 if !buffer.is_empty() => self.advance()?,
                read => return Ok(read),
            }
        }
        Ok(0)
    }
}
