//! Network stacks: the host has one, and each jail that was created with `vnet`.
//!
//! Sources: `sys/net/vnet.h`, `struct prison` and `PR_VNET` in `sys/sys/jail.h`.

use crate::error::Result;
use crate::inventory::reader::Reader;
use crate::kernel::{Object, TypedMemory};
use crate::units::Hex;
use serde::Serialize;
use std::collections::HashMap;

/// More network stacks than are plausible.
const MAX_STACKS: usize = 1 << 16;
/// More jails than are plausible.
const MAX_JAILS: usize = 1 << 20;
/// `PR_VNET`: the jail has a network stack of its own.
const PR_VNET: u64 = 0x10;

/// A network stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct NetworkStack {
    /// Where its `struct vnet` is; `None` in a kernel that has one stack only (no `VIMAGE`).
    #[serde(rename = "vnet")]
    pub address: Option<Hex>,
    /// The jail that it belongs to; 0 is the host. `None` if no jail has it any more, or if that cannot be read.
    pub jail_id: Option<i64>,
}

impl NetworkStack {
    /// All network stacks, that of the host first and the newest last.
    ///
    /// # Errors
    ///
    /// The kernel's types lack their list, or its head cannot be read.
    pub(super) fn read_all(reader: &mut Reader<'_>) -> Result<Vec<Self>> {
        let typed = reader.typed;
        if typed.symbols.find("vnet_head")?.is_none() {
            return Ok(vec![Self { address: None, jail_id: Some(0) }]);
        }
        let list = reader.list(&"the list of network stacks", &typed.variable("vnet_head")?, "vnet_le", MAX_STACKS)?;
        let owners = jails(reader);
        let stack = |address: u64| Self { address: Some(Hex(address)), jail_id: owners.get(&address).copied() };
        let mut stacks: Vec<_> = list.iter().rev().map(|vnet| stack(vnet.address())).collect();
        // There is none without that of the host.
        if let Ok(host) = typed.host_vnet()
            && list.iter().all(|vnet| vnet.address() != host)
        {
            reader.warn(|| format!("the list of network stacks lacks that of the host, {}", Hex(host)));
            stacks.push(stack(host));
        }
        stacks.sort_by_key(|stack| stack.jail_id != Some(0));
        Ok(stacks)
    }

    /// A variable that each network stack has for itself (`VNET_DEFINE`), of this one.
    ///
    /// # Errors
    ///
    /// The kernel has no such variable, or the stack cannot be read.
    pub(super) fn variable<'a>(&self, typed: TypedMemory<'a>, name: &str) -> Result<Object<'a>> {
        let initial = typed.variable(&self.symbol(name))?;
        let Some(Hex(vnet)) = self.address else { return Ok(initial) };
        Ok(typed.object(typed.per_vnet_address(initial.address(), vnet)?, initial.type_id()))
    }

    /// The symbol of such a variable.
    pub(super) fn symbol(&self, name: &str) -> String {
        self.address.map_or_else(|| name.to_owned(), |_| format!("vnet_entry_{name}"))
    }
}

/// The jails that network stacks belong to, by the addresses of the stacks.
fn jails(reader: &mut Reader<'_>) -> HashMap<u64, i64> {
    let typed = reader.typed;
    let list = typed.variable("allprison");
    let list = list.and_then(|head| reader.list(&"the list of jails", &head, "pr_list", MAX_JAILS));
    let list = reader.keep(|| "the list of jails".to_owned(), list);
    let mut found = HashMap::new();
    for jail in list.iter().flatten() {
        let stack = reader.keep(|| format!("the jail at {}", Hex(jail.address())), own_stack(jail));
        found.extend(stack.flatten());
    }
    let host = reader.keep(|| "vnet0".to_owned(), typed.host_vnet());
    found.extend(host.map(|vnet| (vnet, 0)));
    found
}

/// The network stack that belongs to a jail, and the jail's number; other jails use that of the jail that they are in.
fn own_stack(jail: &Object<'_>) -> Result<Option<(u64, i64)>> {
    if jail.member("pr_flags")?.unsigned()? & PR_VNET == 0 {
        return Ok(None);
    }
    Ok(Some((jail.member("pr_vnet")?.unsigned()?, jail.member("pr_id")?.signed()?)))
}
