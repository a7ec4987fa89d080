//! The symbols of the running kernel, which it tells itself.

use crate::host::Host;
use std::ops::Deref;
use vmcore::symbols::{Symbol, Symbols};

/// The symbols of a host's running kernel; of a host that is borrowed, or shared.
pub struct RunningSymbols<H>(pub H);

impl<H: Deref<Target: Host>> Symbols for RunningSymbols<H> {
    fn find(&self, name: &str) -> vmcore::Result<Option<Symbol>> {
        Ok(self.0.kernel_symbol(name)?)
    }

    fn source(&self) -> String {
        "the running kernel".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        true
    }
}
