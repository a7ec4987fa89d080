//! How much memory the types of a file may take, whatever the file says.

/// Bytes of types that no kernel has: GENERIC's take a seventh.
const MAX_BYTES: usize = 64 << 20;

/// The bytes that may still be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    remaining: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { remaining: MAX_BYTES }
    }
}

impl Budget {
    /// Takes so many bytes and those of a name; `None` if there are no more.
    pub(crate) fn take(&mut self, size: usize, name: &str) -> Option<()> {
        self.remaining = self.remaining.checked_sub(size.saturating_add(name.len()))?;
        Some(())
    }
}
