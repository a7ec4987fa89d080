//! Variables of the running kernel, by symbol.

use super::{odd, unreadable};
use crate::architecture::Endianness;
use crate::dump::header::Relocation;
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::symbols::{Symbol, Symbols};
use crate::units::Hex;

/// What is known of the kernel's variables.
pub struct Variables<'a> {
    pub symbols: &'a dyn Symbols,
    /// Kernel virtual memory.
    pub memory: Box<dyn Memory>,
    /// Where the kernel's image lies at most.
    pub image: (u64, u64),
    /// Order of bytes in its integers.
    pub order: Endianness,
    /// How it lies elsewhere than the symbols say.
    pub relocation: Option<Relocation>,
}

/// What kernels of arm64 and riscv64 note of their direct map (`pmap_bootstrap_dmap()`).
pub struct DmapVariables {
    /// `dmap_phys_base`: the first physical address in it.
    pub physical: u64,
    /// `dmap_phys_max`: the first physical address after it.
    pub physical_end: u64,
    /// Bytes from the one to the other.
    pub length: u64,
    /// `dmap_max_addr`: the virtual address that it ends at.
    pub end: u64,
}

/// That a direct map of this length, which ends there, is not where it is known to be.
pub fn elsewhere(length: u64, end: u64, advice: &str) -> Error {
    Error::UnknownKernel(format!(
        "this kernel's direct map is at addresses that dumps from user space do not support: {} bytes to {} (dmap_max_addr){advice}",
        Hex(length),
        Hex(end)
    ))
}

/// A symbol of a kernel that is elsewhere than it is linked.
pub fn as_it_runs(symbol: Symbol, relocation: Option<Relocation>) -> Symbol {
    let ran = relocation.and_then(|relocation| relocation.as_it_ran(symbol.address));
    Symbol { address: ran.unwrap_or(symbol.address), ..symbol }
}

impl<'a> Variables<'a> {
    /// Those of a kernel that is where it is linked.
    pub fn new(symbols: &'a dyn Symbols, memory: Box<dyn Memory>, image: (u64, u64), order: Endianness) -> Self {
        Self { symbols, memory, image, order, relocation: None }
    }

    /// The direct map of arm64 and riscv64, whose physical addresses have at most so many bits.
    pub fn direct_map(&self, physical_bits: u32) -> Result<DmapVariables> {
        let physical = self.number("dmap_phys_base")?;
        let physical_end = self.number("dmap_phys_max")?;
        let end = self.number("dmap_max_addr")?;
        let length = physical_end.checked_sub(physical).filter(|_| physical_end <= 1 << physical_bits);
        let sensible = |length: &u64| *length > 0 && physical.is_multiple_of(1 << 30);
        let length = length.filter(sensible).ok_or_else(|| {
            let range = format!("it is of {}..{}", Hex(physical), Hex(physical_end));
            odd("direct map (dmap_phys_base, dmap_phys_max)", range)
        })?;
        Ok(DmapVariables { physical, physical_end, length, end })
    }

    /// The end of the kernel map, which is `kernel_vm_end` on arm64 and riscv64, between the first address of the map and
    /// the end that it has at most.
    pub fn kernel_map_end(&self, start: u64, last: u64) -> Result<u128> {
        let name = "kernel_vm_end";
        let end = self.number(name)?;
        if end <= start || end > last {
            return Err(odd(name, format!("it is {}", Hex(end))));
        }
        Ok(end.into())
    }

    /// The address and size of a variable, within the kernel's image.
    pub fn find(&self, name: &str) -> Result<Option<(u64, u64)>> {
        let Some(symbol) = self.symbols.find(name)?.map(|found| as_it_runs(found, self.relocation)) else {
            return Ok(None);
        };
        // /dev/kmem reads nothing else for us: everywhere else there may be devices.
        let (start, last) = self.image;
        let end = symbol.address.checked_add(symbol.size.max(8));
        if symbol.address < start || end.is_none_or(|end| end > last) {
            return Err(odd(name, format!("{} is outside of the kernel's image", Hex(symbol.address))));
        }
        Ok(Some((symbol.address, symbol.size)))
    }

    pub fn required(&self, name: &str) -> Result<(u64, u64)> {
        self.find(name)?.ok_or_else(|| {
            Error::UnknownKernel(format!(
                "{} has no symbol '{name}', which a dump from user space requires; give another kernel image with --kernel FILE",
                self.symbols.source()
            ))
        })
    }

    pub fn read<const N: usize>(&self, name: &str, address: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.memory.fill(address, &mut bytes).map_err(|error| unreadable(name, &error))?;
        Ok(bytes)
    }

    pub fn number(&self, name: &str) -> Result<u64> {
        let (address, _) = self.required(name)?;
        self.read(name, address).map(|bytes| self.order.u64(bytes))
    }

    pub fn int(&self, name: &str) -> Result<u32> {
        let (address, _) = self.required(name)?;
        self.read(name, address).map(|bytes| self.order.u32(bytes))
    }

    /// Refuses symbols of an image that is not the running kernel's, whose version is this.
    pub fn check_kernel(&self, own_symbols: &dyn Symbols, version: &str) -> Result<()> {
        if self.symbols.is_running_kernel() {
            return Ok(());
        }
        self.check_version_address(own_symbols)?;
        self.check_version(version)
    }

    /// Refuses another kernel's image before anything is read where that says: some kernels panic when /dev/kmem is asked
    /// for what is no RAM.
    fn check_version_address(&self, own_symbols: &dyn Symbols) -> Result<()> {
        let name = "version";
        let symbol = self.symbols.find(name)?.map(|found| as_it_runs(found, self.relocation));
        match (own_symbols.find(name), symbol) {
            (Ok(Some(running)), Some(symbol)) if running.address != symbol.address => Err(Error::Refused(format!(
                "{} is not the image of the running kernel, whose version is at {} and not at {}",
                self.symbols.source(),
                Hex(running.address),
                Hex(symbol.address)
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses a kernel image whose version does not lie where the image says.
    fn check_version(&self, running: &str) -> Result<()> {
        let (address, _) = self.required("version")?;
        let mut text = vec![0; running.len()];
        let found = self.memory.fill(address, &mut text);
        if found.is_err() || text != running.as_bytes() || running.is_empty() {
            return Err(Error::Refused(format!(
                "{} is not the image of the running kernel, {running}: its version is not at the address of that image",
                self.symbols.source()
            )));
        }
        Ok(())
    }
}
