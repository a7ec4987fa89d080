//! Variables of the running kernel, by symbol.

use super::{odd, unreadable};
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::symbols::Symbols;
use crate::units::Hex;

/// What is known of the kernel's variables.
pub struct Variables<'a> {
    pub symbols: &'a dyn Symbols,
    /// Kernel virtual memory.
    pub memory: Box<dyn Memory>,
    /// Where the kernel's image lies at most.
    pub image: (u64, u64),
}

impl Variables<'_> {
    /// The address and size of a variable, within the kernel's image.
    pub fn find(&self, name: &str) -> Result<Option<(u64, u64)>> {
        let Some(symbol) = self.symbols.find(name)? else { return Ok(None) };
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
                "{} has no symbol '{name}', and without it no dump can be made from user space; --kernel FILE names another kernel image",
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
        self.read(name, address).map(u64::from_le_bytes)
    }

    pub fn int(&self, name: &str) -> Result<u32> {
        let (address, _) = self.required(name)?;
        self.read(name, address).map(u32::from_le_bytes)
    }

    /// Refuses a kernel image that is not the running kernel's.
    pub fn check_version(&self, running: &str) -> Result<()> {
        let (address, _) = self.required("version")?;
        let mut text = vec![0; running.len()];
        let found = self.memory.fill(address, &mut text);
        if found.is_err() || text != running.as_bytes() || running.is_empty() {
            return Err(Error::Refused(format!(
                "{} is not the image of the running kernel, {running}: its version does not lie where that image says",
                self.symbols.source()
            )));
        }
        Ok(())
    }
}
