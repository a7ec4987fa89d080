//! The interfaces of a network stack.
//!
//! Sources: `V_ifnet` in `sys/net/if_var.h`, `struct ifnet` in `sys/net/if_private.h`.

use super::stacks::NetworkStack;
use crate::error::Result;
use crate::inventory::reader::{MAX_NAME, Reader};
use crate::kernel::Object;
use crate::text::Name;
use crate::units::Hex;
use std::collections::HashMap;

/// More interfaces than have numbers.
const MAX_INTERFACES: usize = 1 << 16;

/// The interfaces of a network stack by their numbers.
#[derive(Debug, Default)]
pub(super) struct InterfaceNames(HashMap<u64, Name>);

impl InterfaceNames {
    /// Reads them; what cannot be read is left out.
    pub fn read(reader: &mut Reader<'_>, stack: &NetworkStack) -> Self {
        let mut names = HashMap::new();
        for interface in interfaces(reader, stack) {
            let read = number_and_name(&interface);
            names.extend(reader.keep(|| format!("the interface at {}", Hex(interface.address())), read));
        }
        Self(names)
    }

    /// The name of the interface of a number, as text.
    pub fn text(&self, index: u16) -> Option<String> {
        self.0.get(&index.into()).map(|name| name.text().into_owned())
    }
}

/// The interfaces of a network stack, in the order of its list.
pub(super) fn interfaces<'a>(reader: &mut Reader<'a>, stack: &NetworkStack) -> Vec<Object<'a>> {
    let head = stack.variable(reader.typed, "ifnet");
    let found = head.and_then(|head| reader.list(&"the list of interfaces", &head, "if_link", MAX_INTERFACES));
    reader.keep(|| "the list of interfaces".to_owned(), found).into_iter().flatten().collect()
}

fn number_and_name(interface: &Object<'_>) -> Result<(u64, Name)> {
    Ok((interface.member("if_index")?.unsigned()?, interface_name(interface)?))
}

/// The name of an interface (`if_xname`).
pub(super) fn interface_name(interface: &Object<'_>) -> Result<Name> {
    let text = interface.member("if_xname")?.text()?;
    Ok(Name::from(crate::bounds::head(&text, MAX_NAME)))
}
