//! A row of a list of processes or threads.

use super::ProcessTable;
use super::info::{Credentials, Job, ProcessInfo, Terminal, ThreadInfo, Usage};
use super::times::CpuTime;
use crate::kernel::Process;

/// What a column shows where there is nothing to tell, as ps(1).
const NOTHING: &str = "-";
/// What a column shows of what is not known.
pub const UNKNOWN: &str = "?";

/// A process, or one of its threads, in a list.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// The process.
    pub process: &'a Process,
    /// What the kernel tells of it.
    pub info: &'a ProcessInfo,
    /// The thread that the row is of, or the first one of the process.
    pub thread: Option<&'a ThreadInfo>,
    /// Whether the row is of the thread.
    pub is_of_thread: bool,
    /// All processes.
    pub table: &'a ProcessTable,
    /// Who knows the names of users and groups.
    pub names: &'a dyn OwnerNames,
}

/// Who knows the names of users and groups: those of the system that the kernel ran on, if that is known.
pub trait OwnerNames {
    /// The name of a user.
    fn user(&self, uid: u32) -> Option<String>;
    /// The name of a group.
    fn group(&self, gid: u32) -> Option<String>;
}

/// No names: users and groups are shown as numbers.
impl OwnerNames for () {
    fn user(&self, _: u32) -> Option<String> {
        None
    }

    fn group(&self, _: u32) -> Option<String> {
        None
    }
}

impl<'a> Row<'a> {
    pub(super) fn credentials(&self) -> Option<&'a Credentials> {
        self.info.credentials.as_deref()
    }

    /// A member of its process group or session; nothing where it is in none.
    pub(super) fn of_job(&self, member: impl Fn(&Job) -> Option<String>) -> Option<String> {
        self.info.job.as_ref().and_then(member)
    }

    /// A member of its controlling terminal; nothing where it has none.
    pub(super) fn of_terminal(&self, member: impl Fn(&Terminal) -> Option<String>) -> Option<String> {
        self.info.job.as_ref()?.terminal.as_ref().map_or_else(nothing, member)
    }

    /// An ID that its controlling terminal has; 0 where it has none.
    pub(super) fn id_of_terminal(&self, id: impl Fn(&Terminal) -> Option<i32>) -> Option<String> {
        text(self.info.job.as_ref()?.terminal.as_ref().map_or(Some(0), id))
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        if self.is_of_thread { self.thread?.usage } else { self.info.usage }
    }

    pub(super) fn time(&self) -> Option<CpuTime> {
        if self.is_of_thread { self.thread?.time } else { self.info.time }
    }

    pub(super) fn elapsed(&self) -> Option<i64> {
        self.table.clock.now?.checked_sub(self.info.start?.seconds)
    }

    pub(super) fn kibibytes(&self, pages: Option<u64>) -> Option<String> {
        text(pages.map(|pages| pages.wrapping_mul(self.table.page_size) / 1024))
    }

    pub(super) fn user(&self, uid: Option<u32>) -> Option<String> {
        uid.map(|uid| self.names.user(uid).unwrap_or_else(|| uid.to_string()))
    }

    pub(super) fn group(&self, gid: Option<u32>) -> Option<String> {
        gid.map(|gid| self.names.group(gid).unwrap_or_else(|| gid.to_string()))
    }
}

/// A value as text, if it is known.
pub(super) fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// What stands for nothing.
#[expect(clippy::unnecessary_wraps, reason = "a cell that is known")]
pub(super) fn nothing() -> Option<String> {
    Some(NOTHING.to_owned())
}
