//! Modes of files as ls(1) shows them.

/// The letters of a mode, as strmode(3) has them: what kind of file it is, and its permissions.
pub(crate) fn mode_letters(kind: char, permissions: u64) -> String {
    // For each class of users: its bits, and the bit that changes its last letter.
    const CLASSES: [(u32, u64, [char; 2]); 3] =
        [(6, 0o4000, ['s', 'S']), (3, 0o2000, ['s', 'S']), (0, 0o1000, ['t', 'T'])];
    let mut letters = String::from(kind);
    for (shift, special, [executable, other]) in CLASSES {
        let bits = permissions >> shift;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (bits & 1 != 0, permissions & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => executable,
            (false, true) => other,
        });
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_ls() {
        for (kind, mode, letters) in [
            ('d', 0o1777, "drwxrwxrwt"),
            ('-', 0o4511, "-r-s--x--x"),
            ('-', 0o6644, "-rwSr-Sr--"),
            ('c', 0, "c---------"),
            ('d', 0o1770, "drwxrwx--T"),
        ] {
            assert_eq!(mode_letters(kind, mode), letters);
        }
    }
}
