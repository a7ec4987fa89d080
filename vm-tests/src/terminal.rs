//! Makes plain text of what a program writes to a terminal.

/// Takes out escape sequences, carriage returns, backspaces and other control characters, across chunks.
#[derive(Debug, Default)]
pub struct Plain {
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// Within a control sequence: up to a byte from `@` to `~`.
    Sequence,
}

impl Plain {
    /// Appends the text in `bytes` to `text`.
    pub fn append(&mut self, bytes: &[u8], text: &mut Vec<u8>) {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (_, 0x1b) => State::Escape,
                (State::Escape, b'[') => State::Sequence,
                // Intermediate bytes, as in ESC ( B.
                (State::Escape, 0x20..=0x2f) => State::Escape,
                (State::Sequence, 0x20..=0x3f) => State::Sequence,
                (State::Escape | State::Sequence, 0x30..=0x7e) => State::Text,
                // Anything else does not belong there; it ends a broken sequence.
                (_, byte) => {
                    if byte == b'\n' || byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
                        text.push(byte);
                    }
                    State::Text
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(chunks: &[&[u8]]) -> String {
        let mut plain = Plain::default();
        let mut text = Vec::new();
        for chunk in chunks {
            plain.append(chunk, &mut text);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn escape_sequences_go() {
        assert_eq!(plain(&[b"\x1b[2J\x1b[01;00H\x1b(Ba\x1b[Kb\x1b=c\r\n"]), "abc\n");
        assert_eq!(plain(&[b"a\x1b", b"[1", b"5Cb"]), "ab");
    }

    #[test]
    fn a_broken_sequence_ends_with_the_line() {
        assert_eq!(plain(&[b"\x1b[12\nlogin: "]), "\nlogin: ");
        assert_eq!(plain(&[b"a\0\x08\x07b"]), "ab");
    }
}
