//! Process groups, sessions and terminals.
//!
//! Sources: `struct pgrp` and `struct session` in `sys/sys/proc.h`, `sys/sys/tty.h`, `sys/sys/conf.h`, `dev2udev()` in
//! `sys/fs/devfs/devfs_vnops.c`.

use super::info::{Group, Job, P_CONTROLT, Terminal};
use super::members::{int, number, target};
use super::reader::Reader;
use crate::error::Result;
use crate::kernel::Object;
use crate::text::Name;
use crate::units::Hex;
use std::rc::Rc;

impl<'a> Reader<'a> {
    /// The process group and session of a process; one that is in none has those of number 0.
    pub fn job_of(&mut self, process: &Object<'a>, flags: Option<u32>) -> Option<Job> {
        let address = number(process, "p_pgrp")?;
        if address == 0 {
            let login = Some(Name::default());
            return Some(Job { pgid: Some(0), sid: Some(0), login, ..Job::default() });
        }
        let group = match self.groups.get(&address) {
            Some(known) => known.clone(),
            None => {
                let read = self.read_group(process);
                let found = self.keep(|| format!("the process group at {}", Hex(address)), read).flatten().map(Rc::new);
                self.groups.insert(address, found.clone());
                found
            }
        }?;
        Some(Job {
            pgid: group.pgid,
            sid: group.sid,
            login: group.login.clone(),
            is_leader: group.leader == Some(process.address()),
            has_terminal_vnode: group.has_terminal_vnode,
            terminal: group.terminal.clone().filter(|_| flags.is_some_and(|flags| flags & P_CONTROLT != 0)),
        })
    }

    fn read_group(&mut self, process: &Object<'a>) -> Result<Option<Group>> {
        let Some(group) = target(process, "p_pgrp")? else { return Ok(None) };
        let session = target(&group, "pg_session");
        let session = self.keep(|| format!("the session of the process group at {}", Hex(group.address())), session);
        let session = session.flatten();
        let terminal = session.as_ref().map_or(Ok(None), terminal);
        let terminal = self.keep(|| format!("the terminal of the process group at {}", Hex(group.address())), terminal);
        let login = |session: &Object<'_>| session.member("s_login").and_then(|login| login.text()).ok();
        Ok(Some(Group {
            pgid: int(&group, "pg_id"),
            sid: session.as_ref().and_then(|session| int(session, "s_sid")),
            login: session.as_ref().and_then(login).map(Name::from),
            leader: session.as_ref().and_then(|session| number(session, "s_leader")),
            has_terminal_vnode: session
                .as_ref()
                .and_then(|session| number(session, "s_ttyvp"))
                .is_some_and(|at| at != 0),
            terminal: terminal.flatten(),
        }))
    }
}

/// The terminal of a session.
fn terminal(session: &Object<'_>) -> Result<Option<Terminal>> {
    let Some(terminal) = target(session, "s_ttyp")? else { return Ok(None) };
    let device = target(&terminal, "t_dev")?;
    let group = target(&terminal, "t_pgrp")?;
    let session = target(&terminal, "t_session")?;
    // A cdev is at the beginning of its cdev_priv, which has the number.
    let number =
        |device: &Object<'_>| number(&device.typed().structure_at("cdev_priv", device.address()).ok()?, "cdp_inode");
    let name = |device: &Object<'_>| device.member("si_name").and_then(|name| name.text()).ok();
    Ok(Some(Terminal {
        number: device.as_ref().and_then(number),
        name: device.as_ref().and_then(name).map(Name::from),
        pgid: group.and_then(|group| int(&group, "pg_id")),
        sid: session.and_then(|session| int(&session, "s_sid")),
    }))
}
