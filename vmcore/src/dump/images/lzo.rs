//! LZO1X, as makedumpfile and QEMU compress pages with (`lzo1x_1_compress()`): the decompressor, by the description of
//! the stream in Linux's `Documentation/staging/lzo.rst`. The one crate for it, lzokay-native, brings byteorder and a
//! compressor, and returns a vector of any length.

/// Distances of the longest kind of match are counted from here.
const FAR: usize = 1 << 14;

/// What is read.
struct Input<'a> {
    bytes: &'a [u8],
}

impl Input<'_> {
    fn byte(&mut self) -> Option<usize> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(usize::from(*first))
    }

    /// Two bytes: a distance, and in the lowest two bits how many literals follow.
    fn pair(&mut self) -> Option<usize> {
        let low = self.byte()?;
        Some(self.byte()? << 8 | low)
    }

    /// A length whose field is `field`; where that is 0, more bytes follow: each 0 is 255.
    fn length(&mut self, field: usize, most: usize, base: usize) -> Option<usize> {
        if field > 0 {
            return field.checked_add(base);
        }
        let mut length = most.checked_add(base)?;
        loop {
            match self.byte()? {
                0 => length = length.checked_add(255)?,
                last => return length.checked_add(last),
            }
        }
    }
}

/// What is written.
struct Output<'a> {
    bytes: &'a mut [u8],
    done: usize,
}

impl Output<'_> {
    fn literals(&mut self, input: &mut Input<'_>, count: usize) -> Option<()> {
        let (now, rest) = input.bytes.split_at_checked(count)?;
        let end = self.done.checked_add(count)?;
        self.bytes.get_mut(self.done..end)?.copy_from_slice(now);
        (self.done, input.bytes) = (end, rest);
        Some(())
    }

    /// Repeats bytes of what was written; source and destination may overlap.
    fn repeat(&mut self, distance: usize, count: usize) -> Option<()> {
        let start = self.done.checked_sub(distance)?;
        let end = self.done.checked_add(count).filter(|end| *end <= self.bytes.len() && distance > 0)?;
        for (from, to) in (start..).zip(self.done..end) {
            let byte = *self.bytes.get(from)?;
            *self.bytes.get_mut(to)? = byte;
        }
        self.done = end;
        Some(())
    }
}

/// Decompresses into a buffer, and tells how many bytes it took; `None` if the data are damaged or need more.
pub(super) fn decompress(stored: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut input = Input { bytes: stored };
    let mut output = Output { bytes: out, done: 0 };
    // Literals behind the last instruction: 0 to 3, or 4 for more.
    let mut state = 0;
    if let Some((first @ 18.., rest)) = stored.split_first() {
        input.bytes = rest;
        let count = usize::from(*first) - 17;
        output.literals(&mut input, count)?;
        state = count.min(4);
    }
    loop {
        let code = input.byte()?;
        let (distance, count, literals) = match code {
            64.. => {
                let distance = (input.byte()? << 3) + (code >> 2 & 7) + 1;
                (distance, (code >> 5) + 1, code & 3)
            }
            32.. => {
                let count = input.length(code & 31, 31, 2)?;
                let pair = input.pair()?;
                ((pair >> 2) + 1, count, pair & 3)
            }
            16.. => {
                let count = input.length(code & 7, 7, 2)?;
                let pair = input.pair()?;
                let distance = FAR + ((code & 8) << 11) + (pair >> 2);
                if distance == FAR {
                    return (count == 3 && input.bytes.is_empty()).then_some(output.done);
                }
                (distance, count, pair & 3)
            }
            _ if state == 0 => {
                let count = input.length(code, 15, 3)?;
                output.literals(&mut input, count)?;
                state = 4;
                continue;
            }
            _ => {
                let distance = (input.byte()? << 2) + (code >> 2) + 1;
                let (distance, count) = if state == 4 { (distance + 2048, 3) } else { (distance, 2) };
                (distance, count, code & 3)
            }
        };
        output.repeat(distance, count)?;
        output.literals(&mut input, literals)?;
        state = literals;
    }
}

#[cfg(test)]
mod tests {
    use super::decompress;

    /// As lzokay's compressor made it of [`plain`], with matches of every kind.
    const STORED: &str = "\
        a8419627c4f995d99cbf0f0a3123af7dc4e2d2e2e3e99350282c7542b34de4f7efee56e1ca31ad9969b53b7d101b7adeb4e3617a \
        8328e09f4b85fa28873875498f4820bf1e3d33ef36ad300514c2590cb3629fab1da6a6f184d33356ddf81deb7be3b756e7142311 \
        eee01a11a5e61cc8db99fe2037606ef2fdb2b7103a1efed3cd1ebae58a3c139f78ce7e3de65fb0bdc38ccc2c92e35b0020000000 \
        00000000e600002000000000000000e600002000000000000000e600002000000000000000e600002000000000000000e6000020 \
        00000000000000e600002000000000000000e600002000000000000000e600002000000000000000e60000200000000000000400 \
        00108dd83a00168359a7b2e469756ccfff65fab038a92345bf0882028646f4db40cc8c3c32ec7ad8e0a24da1a89b8120079e0041 \
        96401c701b841bbc1a2d5803275c032866038f485c1a6c1a801ab819d419e42627c80428d20442b348267c0a8c25a4252da00427 \
        a40428ae043356442564319830b0302d0c0627b402281a0628e048157c0a942fac2f2de805277c07288607c4e248157c0a8420bc \
        1f2d540727b4022862070cb348157c0a8420bc1fd71f6162632000090800000000acc51b28a0d03d103cdfeec0c23ec1d483a9ab \
        2f211b7a3bc18a0b55642b81e105c26a64d011a29e9868637f5aedbb7b811e6f8825a504d982745f1b70db4cc57bf4d4c1fa9d27 \
        8043eaa045ceb7062ff1cf1e4b83c342c790727005ecde1b1e4ac2b5263713a333ff552efd7d7596a14a964fc6c3eb2848faa9c5 \
        2166a1c120fbfb64c5fc3ca83eab84145da6ad9d0ca2b99992cbbc67abed2c634c4b424e8eafde351e1d1185373e42d3e560908a \
        37a9ed8d93d8046d4aaef8ca2ee0870db3241277fcc7b345becf4069e5a1fc0676ac50b7fb88bb618ca3f8f73a49e4876bb6ae74 \
        758370af7f8f2052763a7bf6a8926da246d30629e24a0362b085797e1a5a3275ec38c54532cc6d847dd7417d38e03bd13d0b3664 \
        cb3fd9fe9d6e11f3b1a38bbc112956459cefa070ad0332f71eb81ec8f5e3c671d239293dd7bc2522aec01388ddf2f7ac8c7d1c04 \
        8321d9ffdcd4e401cf6460678c0c8e0a0402d7811a7a8f16978ea72fe01932ac4a72716b838fc9f877f8d81b9ca88dce92aff7c6 \
        8b3a2f9bd3528f41807f1e4c1615e04caedc7421e7622e1eb117986cbe0d00df2200914b70f1071060890849cb00b7f0844bf7ed \
        63c290bd84810d468f441cf88c6bbe5698799189812c047e150b33e0b809d3ca7c945601dc293836d9561c7902b72be7c254dc50 \
        ee7a124870e53fe38ae0f1200fb104ad8c704c963c2380064ab9b925b047c2cac0a01e7c1f1b6ffac532aa55454b4b4472d16e3a \
        2565757eb6e3b53273754a141ce9016b36170663c000c0cb93f4090178e2aa72cab4d1fd2245d82f645ca60a31b87ee6921df097 \
        5fe862deb99744dd9458fc092f8219dcf88948372ad536423d914535dd4fc94c12222be8c57c328dc9024849251f7bac2df59560 \
        b916830f870ff31f8da9d474d281233d0e46348225cc62f647b5d440436cbcbe4fb2447f64ee10e6e405053d2977bd303bf7d5e9 \
        c3bc074ffe4b2011b0182000000000000000e678392000000000000000e600002000000000000000e600002000000000000000e6 \
        00002000000000000000e600002000000000000000e600002000000000000000e600002000000000000000e60000200000000000 \
        0000e600002000000000000000e600002000000000000000e600002000000000000000e600002000000000000000e60000200000 \
        0000000000e60000200000000000140000102144eb108bdcee110000";

    fn noise(count: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
            (state >> 24) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    fn plain() -> Vec<u8> {
        let (a, b) = (noise(150, 1), noise(40, 2));
        let words = (0..60).flat_map(|number| a[number * 7 % 100..][..number % 9 + 2].to_vec());
        let parts = [
            a.clone(),
            vec![0; 20000],
            a.clone(),
            b.clone(),
            b.clone(),
            words.collect(),
            b"abc".repeat(100),
            noise(700, 3),
            a[..50].to_vec(),
            vec![0; 30000],
            b,
            a,
        ];
        parts.concat()
    }

    fn stored() -> Vec<u8> {
        let digits: Vec<u8> = STORED.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn what_another_program_compressed_is_decompressed() {
        let plain = plain();
        let mut out = vec![0xee; plain.len()];
        assert_eq!(decompress(&stored(), &mut out), Some(plain.len()));
        assert!(out == plain);
        // A buffer that is larger is not filled, one that is smaller is not enough.
        assert_eq!(decompress(&stored(), &mut vec![0; plain.len() + 1]), Some(plain.len()));
        assert_eq!(decompress(&stored(), &mut vec![0; plain.len() - 1]), None);
    }

    #[test]
    fn what_is_damaged_ends() {
        let stored = stored();
        let mut out = vec![0; plain().len()];
        for cut in 0..stored.len() {
            assert_eq!(decompress(&stored[..cut], &mut out), None, "{cut}");
        }
        for at in 0..stored.len() {
            for byte in [0, 0x0f, 0x1f, 0x3f, 0xff] {
                let mut changed = stored.clone();
                changed[at] = byte;
                let _ = decompress(&changed, &mut out);
            }
        }
        assert_eq!(decompress(&[0x11, 0, 0], &mut []), Some(0));
    }
}
