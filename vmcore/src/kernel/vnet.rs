//! Network stacks: variables that each `struct vnet` has for itself (`VNET_DEFINE`). What `kvm_read` and `kvm_nlist` do for
//! such a symbol.
//!
//! Sources: `sys/net/vnet.h`, `sys/net/vnet.c`, `lib/libkvm/kvm_vnet.c`.

use super::TypedMemory;
use super::cpus::section_borders;
use crate::error::{Error, Result};
use crate::symbols::CopiedSet;
use crate::units::Hex;

/// `VNET_MAGIC_N`: what a `struct vnet` begins with.
const MAGIC: u64 = 0x5e4a_6f28;
/// More network stacks than are plausible.
const MAX_VNETS: usize = 1 << 16;

impl TypedMemory<'_> {
    /// The addresses of all network stacks, the newest first (`vnet_head`); none of a kernel without `VIMAGE`.
    ///
    /// # Errors
    ///
    /// Their list cannot be read, or leads back to itself.
    pub fn vnets(self) -> Result<Vec<u64>> {
        if self.symbols.find("vnet_head")?.is_none() {
            return Ok(Vec::new());
        }
        let first = self.variable("vnet_head")?.member("lh_first")?;
        Ok(first.chain("vnet_le.le_next", MAX_VNETS)?.iter().map(|vnet| vnet.address()).collect())
    }

    /// The network stack of the host, which jails share unless they have their own (`vnet0`).
    ///
    /// # Errors
    ///
    /// The kernel has none (no `VIMAGE`), or it cannot be read.
    pub fn host_vnet(self) -> Result<u64> {
        Ok(self.memory.pointer(self.symbol("vnet0")?)?)
    }

    /// The network stack of the process whose `struct proc` is at an address.
    ///
    /// # Errors
    ///
    /// It cannot be read, or has no credentials any more.
    pub fn vnet_of_process(self, process: u64) -> Result<u64> {
        let credentials = self.structure_at("proc", process)?.member("p_ucred")?.dereference()?;
        credentials.member("cr_prison")?.dereference()?.member("pr_vnet")?.unsigned()
    }

    /// Whether each network stack has a copy of the variable at an address, defined with `VNET_DEFINE`: the address itself has
    /// what all copies began with.
    ///
    /// # Errors
    ///
    /// The symbols cannot be had.
    pub fn is_per_vnet(self, address: u64) -> Result<bool> {
        let borders = section_borders(self.symbols, CopiedSet::PerVnet)?;
        Ok(borders.is_some_and(|(start, stop)| (start..stop).contains(&address)))
    }

    /// Where the network stack `vnet` has its copy of the variable at an address; the address itself if there are no copies
    /// of that. Symbols of such variables begin with `vnet_entry_`.
    ///
    /// # Errors
    ///
    /// There is no network stack at `vnet`, or it cannot be read.
    pub fn per_vnet_address(self, address: u64, vnet: u64) -> Result<u64> {
        if !self.is_per_vnet(address)? {
            return Ok(address);
        }
        let stack = self.structure_at("vnet", vnet)?;
        if stack.member("vnet_magic_n")?.unsigned()? != MAGIC {
            return Err(Error::Format(format!("there is no network stack at {}", Hex(vnet))));
        }
        // An offset from the section to the copy can be negative.
        Ok(self.wrap(stack.member("vnet_data_base")?.unsigned()?.wrapping_add(address)))
    }
}
