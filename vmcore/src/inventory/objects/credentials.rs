//! Whose processes are, as `procstat -s` shows it: users, groups, and the mask of the files that they create.
//!
//! Sources: `struct ucred` in `sys/sys/ucred.h`, `struct pwddesc` in `sys/sys/filedesc.h`, `fill_kinfo_proc_only()` in
//! `sys/kern/kern_proc.c`, `usr.bin/procstat/procstat_cred.c`.

use crate::error::{Error, Result};
use crate::inventory::fields::{Fields, flag_names};
use crate::inventory::objects::open_files::octal;
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::{Object, Process};
use crate::kinfo::credentials::{CAPABILITY_MODE, effective_group, has_effective_group};
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::rc::Rc;

/// More groups than credentials have: `kern.ngroups` is 1023 unless it is changed.
const MAX_GROUPS: u64 = 1 << 16;
/// Groups of all credentials that are read.
const MAX_ALL_GROUPS: u64 = 1 << 20;
/// What a process has that is in capability mode.
const RESTRICTED: &str = "capability-mode";
/// Bits of `cr_flags` (`CRED_FLAG_…`).
const FLAGS: [(u64, &str); 2] = [(CAPABILITY_MODE as u64, RESTRICTED), (0x2, "groups-set")];

/// Credentials, which processes share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credentials {
    /// Where their `struct ucred` is.
    pub address: Hex,
    /// The effective user.
    pub user_id: Option<u64>,
    /// The real user.
    pub real_user_id: Option<u64>,
    /// The saved user.
    pub saved_user_id: Option<u64>,
    /// The effective group.
    pub group_id: Option<u64>,
    /// The real group.
    pub real_group_id: Option<u64>,
    /// The saved group.
    pub saved_group_id: Option<u64>,
    /// The other groups.
    pub supplementary_group_ids: Option<Vec<u64>>,
    /// What else they are, as far as the kernel has names for it: `capability-mode` (capsicum(4)), `groups-set`.
    pub flags: Option<Vec<String>>,
    /// The number of the jail; 0 is the host.
    pub jail_id: Option<i64>,
    /// The login class (login.conf(5)).
    pub login_class: Option<Name>,
    /// What refers to them.
    #[serde(rename = "reference_count")]
    pub references: Option<i64>,
}

/// Whose a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessCredentials {
    /// Its process ID.
    pub pid: i32,
    /// The name of its program.
    pub command: Name,
    /// The permissions that files it creates do not have; `None` also of a zombie.
    #[serde(serialize_with = "octal")]
    pub umask: Option<u64>,
    /// The credentials themselves; `None` of a process without any, which is being created.
    #[serde(serialize_with = "shared")]
    pub credentials: Option<Rc<Credentials>>,
}

fn shared<S: Serializer>(credentials: &Option<Rc<Credentials>>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    credentials.as_deref().serialize(serializer)
}

/// The credentials of all processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AllCredentials {
    /// The processes, in the order of the kernel's lists.
    pub processes: Vec<ProcessCredentials>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl AllCredentials {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The processes cannot be read, or the types lack `struct ucred`.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        source.typed.structure("ucred")?;
        let mut reader = Reader::new(source.typed);
        let processes = reader.processes(source)?;
        let mut all = All { reader, known: HashMap::new(), groups_left: MAX_ALL_GROUPS };
        let processes = processes.list.iter().map(|process| all.process(process)).collect();
        Ok(Self { processes, warnings: all.reader.into_warnings() })
    }
}

/// Credentials as they are being read.
struct All<'a> {
    reader: Reader<'a>,
    known: HashMap<u64, Option<Rc<Credentials>>>,
    groups_left: u64,
}

impl<'a> All<'a> {
    fn process(&mut self, process: &Process) -> ProcessCredentials {
        let what = || format!("process {}", process.pid);
        let structure = self.reader.process_structure(process);
        let umask = structure.as_ref().map(umask);
        let umask = umask.and_then(|umask| self.reader.keep(|| format!("the umask of {}", what()), umask)).flatten();
        let credentials = structure.map(|structure| structure.member("p_ucred").and_then(|at| at.follow()));
        let credentials =
            credentials.and_then(|at| self.reader.keep(|| format!("the credentials of {}", what()), at)).flatten();
        ProcessCredentials {
            pid: process.pid,
            command: Name::from(&*process.command),
            umask,
            credentials: credentials.and_then(|credentials| self.credentials(&credentials)),
        }
    }

    fn credentials(&mut self, object: &Object<'a>) -> Option<Rc<Credentials>> {
        let address = object.address();
        if let Some(known) = self.known.get(&address) {
            return known.clone();
        }
        let fetched = self.reader.keep(|| format!("the credentials at {}", Hex(address)), object.fetched());
        let read = fetched.map(|credentials| Rc::new(self.read_credentials(&credentials)));
        self.known.insert(address, read.clone());
        read
    }

    fn read_credentials(&mut self, object: &Object<'a>) -> Credentials {
        let groups = read_groups(object, &mut self.groups_left);
        let mut fields = Fields::new(&mut self.reader, "credentials", object);
        let (group_id, supplementary_group_ids) = fields.keep("cr_groups", groups).unzip();
        let jail = fields.target("cr_prison").map(|jail| jail.member("pr_id").and_then(|id| id.signed()));
        let class = fields.target("cr_loginclass").map(|class| class.member("lc_name").and_then(|name| name.text()));
        Credentials {
            address: Hex(object.address()),
            user_id: fields.number("cr_uid"),
            real_user_id: fields.number("cr_ruid"),
            saved_user_id: fields.number("cr_svuid"),
            group_id,
            real_group_id: fields.number("cr_rgid"),
            saved_group_id: fields.number("cr_svgid"),
            supplementary_group_ids,
            flags: fields.number("cr_flags").map(|flags| flag_names(flags, &FLAGS)),
            jail_id: jail.and_then(|jail| fields.keep("the jail", jail)),
            login_class: class.and_then(|class| fields.keep("the login class", class)).map(Name::from),
            references: fields.signed("cr_ref"),
        }
    }
}

/// The effective group, and the others.
fn read_groups(credentials: &Object<'_>, left: &mut u64) -> Result<(u64, Vec<u64>)> {
    let count = credentials.member("cr_ngroups")?.signed()?;
    let count = u64::try_from(count).ok().filter(|count| *count <= MAX_GROUPS);
    let count = count.ok_or_else(|| Error::Format("it has an implausible number of groups".to_owned()))?;
    let none_left = || Error::Format("there are more groups than are read".to_owned());
    *left = left.checked_sub(count).ok_or_else(none_left)?;
    let list = if count > 0 { credentials.member("cr_groups")?.elements(count)? } else { Vec::new() };
    let others = list.iter().skip(usize::from(!has_effective_group(credentials)));
    let others = others.map(Object::unsigned).collect::<Result<_>>()?;
    Ok((effective_group(credentials)?, others))
}

/// The mask of the permissions of new files: since FreeBSD 13 of a `struct pwddesc`, before that of a `struct filedesc`.
fn umask(process: &Object<'_>) -> Result<Option<u64>> {
    let (holder, mask) = if process.has_member("p_pd") { ("p_pd", "pd_cmask") } else { ("p_fd", "fd_cmask") };
    process.member(holder)?.follow()?.map(|holder| holder.member(mask)?.unsigned()).transpose()
}

impl Topic for AllCredentials {
    fn tables(&self) -> Vec<Table> {
        let columns = [
            right("PID"),
            left("COMM"),
            right("EUID"),
            right("RUID"),
            right("SVUID"),
            right("EGID"),
            right("RGID"),
            right("SVGID"),
            right("UMASK"),
            left("FLAGS"),
            left("GROUPS"),
        ];
        vec![Table::new(columns, self.processes.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn row(process: &ProcessCredentials) -> Vec<String> {
    let of = process.credentials.as_deref();
    let number = |member: fn(&Credentials) -> Option<u64>| cell(of.and_then(member));
    let is_restricted =
        of.and_then(|of| of.flags.as_ref()).is_some_and(|flags| flags.iter().any(|flag| flag == RESTRICTED));
    let groups = of.and_then(|of| Some((of.group_id?, of.supplementary_group_ids.as_ref()?)));
    let groups = groups
        .map(|(first, others)| std::iter::once(&first).chain(others).map(u64::to_string).collect::<Vec<_>>().join(","));
    vec![
        process.pid.to_string(),
        name_cell(Some(&process.command)),
        number(|of| of.user_id),
        number(|of| of.real_user_id),
        number(|of| of.saved_user_id),
        number(|of| of.group_id),
        number(|of| of.real_group_id),
        number(|of| of.saved_group_id),
        cell(process.umask.map(|umask| format!("{umask:03o}"))),
        cell(is_restricted.then_some("C")),
        cell(groups),
    ]
}
