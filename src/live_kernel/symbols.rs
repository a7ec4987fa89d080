//! The symbols of the running kernel, which it tells itself.

use crate::error::Result;
use crate::host::Host;
use crate::symbols::{Symbol, Symbols};

/// The symbols of a host's running kernel.
pub struct RunningSymbols<'a>(pub &'a dyn Host);

impl Symbols for RunningSymbols<'_> {
    fn find(&self, name: &str) -> Result<Option<Symbol>> {
        self.0.kernel_symbol(name)
    }

    fn source(&self) -> String {
        "the running kernel".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        true
    }
}
