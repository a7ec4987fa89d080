use super::encoder::EncoderKind;
use super::frames::{FRAME, size_of_frame};
use super::overlapped::BLOCK;
use super::*;
use proptest::prelude::*;
use std::io::{self, Cursor, Read, Write};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;
use zeekstd::SeekTable;

const ENOSPC: i32 = 28;
const EPIPE: i32 = 32;

fn zstd(level: u8) -> Compression {
    Compression::Zstd(Level::new(level).unwrap())
}

/// Pages that are empty, text or noise, as memory is.
fn memory_like(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut bytes = Vec::new();
    while bytes.len() < length {
        match noise() % 3 {
            0 => bytes.resize(bytes.len() + 4096, 0),
            1 => (0..512).for_each(|line| bytes.extend(format!("{line:>8}").bytes())),
            _ => bytes.extend(std::iter::repeat_with(|| noise().to_le_bytes()[0]).take(4096)),
        }
    }
    bytes.truncate(length);
    bytes
}

fn compress(bytes: &[u8], how: Compression, processors: usize, piece: usize) -> Vec<u8> {
    let mut encoder = Encoder::with_processors(Vec::new(), how, processors.try_into().unwrap()).unwrap();
    for piece in bytes.chunks(piece) {
        encoder.write_all(piece).unwrap();
    }
    encoder.finish().unwrap()
}

fn decompress(bytes: &[u8], how: Compression) -> Vec<u8> {
    match how {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
            out
        }
        Compression::Zstd(_) => zstd::decode_all(bytes).unwrap(),
    }
}

#[test]
fn what_is_compressed_is_decompressed() {
    let all = memory_like(9 * MIB + 1);
    for how in [Compression::None, Compression::Gzip, zstd(1), zstd(3), zstd(19)] {
        let lengths: &[usize] = match how {
            Compression::Zstd(Level(19)) => &[0, 1, 128 * KIB + 1, 4 * MIB + 1],
            _ => &[0, 1, 4095, 4096, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, BLOCK, MIB + 1, all.len()],
        };
        for &length in lengths {
            for processors in [1, 2, 7] {
                let bytes = &all[..length];
                let packed = compress(bytes, how, processors, 256 * KIB + 1);
                assert!(decompress(&packed, how) == bytes, "{how:?}, {length}, {processors}");
            }
        }
    }
}

#[test]
fn the_default_is_all_processors_and_level_3() {
    assert_eq!(Level::default(), Level::new(3).unwrap());
    let bytes = memory_like(MIB);
    let mut encoder = Encoder::new(Vec::new(), zstd(3)).unwrap();
    encoder.write_all(&bytes).unwrap();
    assert!(zstd::decode_all(&*encoder.finish().unwrap()).unwrap() == bytes);
}

#[test]
fn each_frame_has_a_checksum() {
    for processors in [1, 2] {
        let bytes = memory_like(MIB + 1);
        let packed = compress(&bytes, zstd(1), processors, MIB);
        let table = SeekTable::from_seekable(&mut Cursor::new(&packed)).unwrap();
        assert_eq!(table.num_frames(), 5);
        for frame in 0..5 {
            let mut packed = packed.clone();
            let start = usize::try_from(table.frame_start_comp(frame).unwrap()).unwrap();
            let end = usize::try_from(table.frame_end_comp(frame).unwrap()).unwrap();
            assert_eq!(packed[start + 4] & 4, 4, "Content_Checksum_flag");
            packed[end - 1] ^= 1;
            let error = zstd::decode_all(&*packed).map(|bytes| bytes.len()).unwrap_err().to_string();
            assert!(error.contains("checksum"), "{frame}: {error}");
        }
    }
}

/// As another reader of the format sees it.
#[test]
fn any_part_of_a_zstd_stream_can_be_read_alone() {
    let bytes = memory_like(3 * MIB + 12_345);
    for processors in [1, 2, 5] {
        let packed = compress(&bytes, zstd(2), processors, 100_000);
        let mut decoder = zeekstd::Decoder::new(Cursor::new(&packed)).unwrap();
        assert_eq!(decoder.seek_table().num_frames(), 13);
        for start in [0, 1, FRAME - 1, FRAME, 2 * MIB + 77, bytes.len() - 1] {
            let end = (start + 100_000).min(bytes.len());
            decoder.set_offset(0).unwrap();
            decoder.set_offset_limit(end as u64).unwrap();
            decoder.set_offset(start as u64).unwrap();
            let mut part = Vec::new();
            decoder.read_to_end(&mut part).unwrap();
            assert!(part == bytes[start..end], "{processors}, {start}");
        }
    }
}

/// So the table of a dump of 12 TiB stays below 13 million frames.
#[test]
fn frames_of_a_very_long_stream_are_larger() {
    let sizes = [0, 1, 1 << 20, 2 << 20, 3 << 20, u64::MAX].map(size_of_frame);
    assert_eq!(sizes, [FRAME, FRAME, 2 * FRAME, MIB, MIB, MIB]);
    assert_eq!(size_of_frame((1 << 20) - 1), FRAME);
}

#[test]
fn the_same_bytes_make_the_same_stream_on_any_number_of_processors_and_in_any_pieces() {
    let bytes = memory_like(2 * MIB + 5);
    let one = compress(&bytes, zstd(3), 1, bytes.len());
    for (processors, piece) in [(2, 1000), (3, FRAME), (16, 300_000)] {
        assert!(compress(&bytes, zstd(3), processors, piece) == one, "{processors}, {piece}");
    }
}

/// It is never cut off between two frames, where a decompressor would not see it.
#[test]
fn what_was_written_before_the_end_does_not_look_whole() {
    struct Watched(Vec<u8>);
    impl Write for Watched {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            assert!(self.0.is_empty() || zstd::decode_all(&*self.0).is_err());
            Ok(())
        }
    }
    for processors in [1, 3] {
        let mut encoder =
            Encoder::with_processors(Watched(Vec::new()), zstd(1), processors.try_into().unwrap()).unwrap();
        for piece in memory_like(MIB + 100).chunks(100_000) {
            encoder.write_all(piece).unwrap();
            encoder.flush().unwrap();
        }
        assert!(zstd::decode_all(&*encoder.finish().unwrap().0).is_ok());
    }
}

#[test]
fn what_is_flushed_can_be_read() {
    for how in [Compression::None, Compression::Gzip, zstd(3)] {
        let mut encoder = Encoder::with_processors(Vec::new(), how, NonZeroUsize::new(2).unwrap()).unwrap();
        encoder.write_all(b"first").unwrap();
        encoder.flush().unwrap();
        let so_far = match &encoder.0 {
            EncoderKind::None(sink) => sink.clone(),
            EncoderKind::Gzip(encoder) => encoder.get_ref().sink.clone(),
            EncoderKind::Zstd(frames) => frames.sink().clone(),
        };
        let mut read = [0; 5];
        match how {
            Compression::None => so_far.as_slice().read_exact(&mut read).unwrap(),
            Compression::Gzip => flate2::read::GzDecoder::new(&*so_far).read_exact(&mut read).unwrap(),
            Compression::Zstd(_) => zstd::Decoder::new(&*so_far).unwrap().read_exact(&mut read).unwrap(),
        }
        assert_eq!(&read, b"first");
        encoder.write_all(b", second").unwrap();
        assert_eq!(decompress(&encoder.finish().unwrap(), how), b"first, second");
    }
}

#[test]
fn levels_are_checked() {
    for level in ["0", "20", "-1", "256", "", "x", "3.0"] {
        assert_eq!(level.parse::<Level>(), Err(LevelError), "{level:?}");
    }
    for level in 1..=19 {
        assert_eq!(level.to_string().parse::<Level>().unwrap().get(), level);
    }
    assert_eq!(LevelError.to_string(), "a zstd level is a number from 1 to 19");
}

/// Takes so many bytes, then fails; slowly, on request.
struct Full {
    room: usize,
    errno: i32,
    taken: Vec<u8>,
    pause: Duration,
}

impl Full {
    fn new(room: usize, errno: i32) -> Self {
        Self { room, errno, taken: Vec::new(), pause: Duration::ZERO }
    }
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        thread::sleep(self.pause);
        let fits = bytes.len().min(self.room - self.taken.len());
        if fits == 0 && !bytes.is_empty() {
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        self.taken.extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all that and finishes.
fn run<W: Write>(sink: W, how: Compression, bytes: &[u8]) -> io::Result<W> {
    let mut encoder = Encoder::with_processors(sink, how, NonZeroUsize::new(2).unwrap())?;
    for piece in bytes.chunks(100_000) {
        encoder.write_all(piece)?;
    }
    encoder.finish()
}

#[test]
fn errors_of_the_sink_come_out_as_they_are() {
    let bytes = memory_like(3 * MIB);
    for how in [Compression::None, Compression::Gzip, zstd(1), zstd(3)] {
        let whole = compress(&bytes, how, 2, 100_000);
        for (tenth, errno) in (0..10).zip([ENOSPC, EPIPE].into_iter().cycle()) {
            for room in [whole.len() * tenth / 10, whole.len() - 1 - tenth, tenth] {
                let error = run(Full::new(room, errno), how, &bytes).err().unwrap();
                assert_eq!(error.raw_os_error(), Some(errno), "{how:?}, {room}");
                let outcome = overlapped(Full::new(room, errno), |out| {
                    if let Err(error) = run(out, how, &bytes) {
                        assert_eq!(error.raw_os_error(), Some(errno), "{how:?}, {room}");
                    }
                });
                assert_eq!(outcome.err().unwrap().raw_os_error(), Some(errno), "{how:?}, {room}");
            }
        }
        let (sink, result) = overlapped(Full::new(whole.len(), ENOSPC), |out| run(out, how, &bytes).map(drop)).unwrap();
        result.unwrap();
        assert!(decompress(&sink.taken, how) == bytes);
    }
}

#[test]
fn an_encoder_that_is_dropped_ends_no_stream() {
    for how in [Compression::Gzip, zstd(3)] {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, how).unwrap();
        encoder.write_all(&memory_like(MIB)).unwrap();
        drop(encoder);
        let whole = match how {
            Compression::Gzip => flate2::read::GzDecoder::new(&*out).read_to_end(&mut Vec::new()).is_ok(),
            _ => zstd::decode_all(&*out).is_ok(),
        };
        assert!(!whole, "{how:?}");
    }
}

#[test]
fn an_error_of_the_sink_is_that_of_every_later_write() {
    let outcome = overlapped(Full::new(BLOCK, ENOSPC), |out| {
        let error = std::iter::repeat_with(|| out.write_all(&[0; 4096])).find_map(Result::err).unwrap();
        assert_eq!(error.raw_os_error(), Some(ENOSPC));
        for _ in 0..3 {
            assert_eq!(out.write(b"x").unwrap_err().raw_os_error(), Some(ENOSPC));
            assert_eq!(out.flush().unwrap_err().raw_os_error(), Some(ENOSPC));
        }
    });
    assert_eq!(outcome.err().unwrap().raw_os_error(), Some(ENOSPC));
}

#[test]
fn an_error_that_is_not_the_systems_keeps_its_kind_and_text() {
    struct Odd;
    impl Write for Odd {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::InvalidData, "odd"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let is_odd = |error: io::Error| {
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::InvalidData, "odd".to_owned()));
    };
    let outcome = overlapped(Odd, |out| is_odd(out.write_all(b"x").and_then(|()| out.flush()).unwrap_err()));
    is_odd(outcome.err().unwrap());
}

#[test]
fn a_flush_waits_until_all_is_written() {
    struct Shared<'a>(&'a std::sync::Mutex<Vec<u8>>);
    impl Write for Shared<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let seen = std::sync::Mutex::new(Vec::new());
    overlapped(Shared(&seen), |out| {
        for round in 1..=5 {
            out.write_all(&[round; BLOCK / 2]).unwrap();
            out.flush().unwrap();
            assert_eq!(seen.lock().unwrap().len(), usize::from(round) * BLOCK / 2);
        }
    })
    .unwrap();
}

#[test]
fn work_that_fails_or_panics_ends_the_thread() {
    let (sink, result) = overlapped(Vec::new(), |out| {
        out.write_all(b"some").unwrap();
        Err::<(), _>("no more")
    })
    .unwrap();
    assert_eq!((sink, result), (b"some".to_vec(), Err("no more")));
    let panic = std::panic::catch_unwind(|| {
        let _ = overlapped(Vec::new(), |out| {
            out.write_all(b"some").unwrap();
            panic!("of the work");
        });
    });
    assert!(panic.is_err());
}

#[test]
fn a_panic_of_the_sink_is_a_panic_of_the_caller() {
    struct Panics;
    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("of the sink")
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let panic =
        std::panic::catch_unwind(|| overlapped(Panics, |out| while out.write_all(&[0; 65536]).is_ok() {}).map(drop));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"of the sink"));
}

#[test]
fn a_slow_sink_gets_all_in_order() {
    let bytes = memory_like(12 * BLOCK + 17);
    let mut sink = Full::new(bytes.len(), ENOSPC);
    sink.pause = Duration::from_millis(5);
    let (sink, ()) =
        overlapped(sink, |out| bytes.chunks(70_001).for_each(|piece| out.write_all(piece).unwrap())).unwrap();
    assert!(sink.taken == bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the sizes of the pieces, and wherever the sink fails.
    #[test]
    fn any_pieces_arrive_or_the_error_does(
        lengths in prop::collection::vec(0..200_000_usize, 0..40),
        room in prop::option::of(0..3_000_000_usize),
        how in prop::sample::select(vec![Compression::None, Compression::Gzip, zstd(1), zstd(4)]),
        processors in 1..5_usize,
    ) {
        let bytes = memory_like(lengths.iter().sum());
        let outcome = overlapped(Full::new(room.unwrap_or(usize::MAX), ENOSPC), |out| -> io::Result<()> {
            let mut encoder = Encoder::with_processors(out, how, processors.try_into().unwrap())?;
            let mut rest = bytes.as_slice();
            for length in &lengths {
                let (piece, tail) = rest.split_at(*length);
                encoder.write_all(piece)?;
                rest = tail;
            }
            encoder.finish().map(drop)
        });
        match outcome {
            Ok((sink, result)) => {
                prop_assert!(result.is_ok());
                prop_assert!(decompress(&sink.taken, how) == bytes);
            }
            Err(error) => {
                prop_assert_eq!(error.raw_os_error(), Some(ENOSPC));
                prop_assert!(room.is_some());
            }
        }
    }
}
