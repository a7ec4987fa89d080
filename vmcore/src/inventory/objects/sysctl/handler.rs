//! The functions that get values of variables, as far as their meaning is known.

use crate::error::Result;
use crate::kernel::TypedMemory;
use std::collections::HashMap;

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handler {
    /// A number of so many bytes; 0 is as many as a pointer has.
    Number(u64),
    /// One byte, which is 0 or 1.
    Boolean,
    /// A text.
    Text,
    /// As many bytes as the variable says.
    Opaque,
    /// A number of ticks of the clock, in milliseconds.
    Milliseconds,
    /// A counter(9).
    Counter,
    /// As many of these as the variable says.
    Counters,
    /// The sum of a number of so many bytes that each CPU has.
    PerCpu(u64),
}

/// Functions by name.
const KNOWN: [(&str, Handler); 15] = [
    ("sysctl_handle_bool", Handler::Boolean),
    ("sysctl_handle_8", Handler::Number(1)),
    ("sysctl_handle_16", Handler::Number(2)),
    ("sysctl_handle_32", Handler::Number(4)),
    ("sysctl_handle_int", Handler::Number(4)),
    ("sysctl_handle_long", Handler::Number(0)),
    ("sysctl_handle_64", Handler::Number(8)),
    ("sysctl_handle_string", Handler::Text),
    ("sysctl_handle_opaque", Handler::Opaque),
    ("sysctl_msec_to_ticks", Handler::Milliseconds),
    ("sysctl_handle_counter_u64", Handler::Counter),
    ("sysctl_handle_counter_u64_array", Handler::Counters),
    ("sysctl_dpcpu_int", Handler::PerCpu(4)),
    ("sysctl_dpcpu_long", Handler::PerCpu(0)),
    ("sysctl_dpcpu_quad", Handler::PerCpu(8)),
];

/// The functions that are known, by their address.
pub(super) fn known_handlers(typed: TypedMemory<'_>) -> Result<HashMap<u64, Handler>> {
    let mut known = HashMap::new();
    for (name, handler) in KNOWN {
        if let Some(symbol) = typed.symbols.find(name)? {
            known.insert(symbol.address, handler);
        }
    }
    Ok(known)
}
