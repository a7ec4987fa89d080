//! What a kernel says of itself in its variables.
//!
//! Sources: `sys/conf/newvers.sh`, `sys/sys/resource.h`, `sys/kern/kern_tc.c`, `kern_shutdown.c`, `subr_smp.c`.

use super::KernelMemory;
use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::symbols::{Symbol, Symbols};

/// More bytes than a version or a panic's message has.
const MAX_TEXT: usize = 1024;

/// What a kernel says of itself. `None` where it has no such variable, or that is not readable.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KernelFacts {
    /// What `uname -v` prints, of which the first line is the version.
    pub version: Option<Vec<u8>>,
    /// What `uname -r` prints.
    pub release: Option<Vec<u8>>,
    /// `__FreeBSD_version`.
    pub osreldate: Option<u32>,
    /// What the kernel panicked with.
    pub panic: Option<Vec<u8>>,
    /// Seconds since it booted.
    pub uptime: Option<i64>,
    /// The time of day, in seconds since 1970.
    pub time: Option<i64>,
    /// The load averages over 1, 5 and 15 minutes.
    pub load_averages: Option<[f64; 3]>,
    /// Clock interrupts each second.
    pub hz: Option<u32>,
    /// The number of CPUs.
    pub cpus: Option<u32>,
}

impl KernelFacts {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The symbols cannot be had. One that does not exist is no error.
    pub fn read(kernel: &KernelMemory, symbols: &dyn Symbols) -> Result<Self> {
        let address = |name: &str| Ok::<_, Error>(symbols.find(name)?.map(|symbol| symbol.address));
        let int = |name: &str| Ok::<_, Error>(address(name)?.and_then(|at| kernel.u32(at).ok()));
        let text = |at: u64| kernel.string(at, MAX_TEXT).ok().filter(|text| !text.is_empty());
        let time = |name: &str| {
            let Some(Symbol { address, size }) = symbols.find(name)? else { return Ok(None) };
            // On i386 time_t has 32 bits.
            let short = size == 4 || size != 8 && kernel.architecture() == Architecture::I386;
            Ok::<_, Error>(match short {
                true => kernel.u32(address).ok().map(|time| time.cast_signed().into()),
                false => kernel.u64(address).ok().map(u64::cast_signed),
            })
        };
        Ok(Self {
            version: address("version")?.and_then(text),
            release: address("osrelease")?.and_then(text),
            osreldate: int("osreldate")?,
            panic: address("panicstr")?.and_then(|at| kernel.pointer(at).ok()).filter(|at| *at != 0).and_then(text),
            uptime: time("time_uptime")?,
            time: time("time_second")?,
            load_averages: address("averunnable")?.and_then(|at| load_averages(kernel, at)),
            hz: int("hz")?,
            cpus: int("mp_ncpus")?,
        })
    }
}

/// `struct loadavg`: three numbers of 32 bits, and the `long` that they are multiples of the inverse of.
fn load_averages(kernel: &KernelMemory, address: u64) -> Option<[f64; 3]> {
    let at = |offset: u64| address.checked_add(offset);
    let word = kernel.word_size() as u64;
    let scale = kernel.pointer(at(12_u64.next_multiple_of(word))?).ok()?;
    let scale = u32::try_from(scale).ok().filter(|scale| *scale > 0)?;
    let load = |offset| Some(f64::from(kernel.u32(at(offset)?).ok()?) / f64::from(scale));
    Some([load(0)?, load(4)?, load(8)?])
}
