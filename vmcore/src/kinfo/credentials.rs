//! Whose process it is, and in which jail.
//!
//! Sources: `sys/sys/ucred.h`, `sys/sys/jail.h`, `sys/sys/loginclass.h`.

use super::info::Credentials;
use super::members::{int, number, number32, target};
use super::reader::Reader;
use crate::bounds::low_u32;
use crate::error::Result;
use crate::kernel::Object;
use crate::text::Name;
use crate::units::Hex;
use std::rc::Rc;

/// `CRED_FLAG_CAPMODE` in `cr_flags`.
pub(crate) const CAPABILITY_MODE: u32 = 1;

impl<'a> Reader<'a> {
    /// Those of a process; many have the same.
    pub fn credentials_of(&mut self, process: &Object<'a>) -> Option<Rc<Credentials>> {
        let address = number(process, "p_ucred").filter(|address| *address != 0)?;
        if let Some(known) = self.credentials.get(&address) {
            return known.clone();
        }
        let read = self.read_credentials(process);
        let found = self.keep(|| format!("the credentials at {}", Hex(address)), read).flatten().map(Rc::new);
        self.credentials.insert(address, found.clone());
        found
    }

    fn read_credentials(&mut self, process: &Object<'a>) -> Result<Option<Credentials>> {
        let Some(credentials) = target(process, "p_ucred")? else { return Ok(None) };
        let prison = target(&credentials, "cr_prison");
        let prison = self.keep(|| format!("the jail of the credentials at {}", Hex(credentials.address())), prison);
        let prison = prison.flatten();
        let text = |object: &Object<'_>, member: &str| {
            object.member(member).and_then(|member| member.text()).ok().map(Name::from)
        };
        let class = target(&credentials, "cr_loginclass").ok().flatten();
        Ok(Some(Credentials {
            uid: number32(&credentials, "cr_uid"),
            ruid: number32(&credentials, "cr_ruid"),
            svuid: number32(&credentials, "cr_svuid"),
            gid: effective_group(&credentials).ok().map(low_u32),
            rgid: number32(&credentials, "cr_rgid"),
            svgid: number32(&credentials, "cr_svgid"),
            is_in_capability_mode: number32(&credentials, "cr_flags").is_some_and(|flags| flags & CAPABILITY_MODE != 0),
            is_jailed: prison.as_ref().is_some_and(|prison| Some(prison.address()) != self.host_prison),
            jail_id: prison.as_ref().and_then(|prison| int(prison, "pr_id")),
            jail: prison.as_ref().and_then(|prison| text(prison, "pr_name")),
            login_class: class.and_then(|class| text(&class, "lc_name")),
        }))
    }
}

/// Whether credentials have the effective group apart from their list, as since FreeBSD 15.
pub(crate) fn has_effective_group(credentials: &Object<'_>) -> bool {
    credentials.has_member("cr_gid")
}

/// The effective group, which until FreeBSD 14 is the first one of the list.
pub(crate) fn effective_group(credentials: &Object<'_>) -> Result<u64> {
    if has_effective_group(credentials) {
        return credentials.member("cr_gid")?.unsigned();
    }
    credentials.member("cr_groups")?.index(0)?.unsigned()
}
