//! How a chain of threads that wait for locks ends.
//!
//! Sources: `print_lockchain()` in `sys/kern/subr_turnstile.c`, `td_state` and `td_inhibitors` of `struct thread` in
//! `sys/sys/proc.h`.

use super::threads::ThreadName;
use super::waits::WaitMap;
use crate::bounds::low_u32;
use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::kernel::TypedMemory;
use crate::kinfo::LockWait;
use crate::text::{Name, column};
use crate::units::Hex;
use serde::Serialize;
use std::fmt;

/// Bits of `td_inhibitors`.
const TDI_SUSPENDED: u32 = 0x1;
const TDI_SLEEPING: u32 = 0x2;
const TDI_LOCK: u32 = 0x8;
const TDI_IWAIT: u32 = 0x10;
/// What the lower bits of a lock's word are for; all others are set where the kernel has disowned the lock (`LK_KERNPROC`).
const LK_FLAGMASK: u64 = 0x1f;

/// What the owner of the last lock of a chain does, or why it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndKind {
    /// The owner is on a CPU.
    Running,
    /// The owner is in a run queue.
    RunQueue,
    /// The owner can run.
    Runnable,
    /// The owner sleeps on something that is no lock.
    Sleeping,
    /// The owner is on a lock that cannot be read.
    Blocked,
    /// The owner is suspended.
    Suspended,
    /// The owner waits for an interrupt.
    InterruptWait,
    /// The owner is kept from running by something else.
    Inhibited,
    /// The owner does not run yet, or no more.
    Inactive,
    /// Threads share the lock.
    Shared,
    /// The lock is not shared, and has no owner.
    Unowned,
    /// The kernel owns the lock, not a thread: a buffer that is being written.
    Disowned,
    /// No process has the thread that the lock says owns it.
    NoThread,
    /// What the owner does cannot be read.
    Unknown,
}

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainEnd {
    /// What it is.
    pub kind: EndKind,
    /// The owner of the last lock, if there is one.
    pub thread: Option<ThreadName>,
    /// The CPU that the owner is on.
    pub cpu: Option<u32>,
    /// The address that the owner sleeps on.
    pub channel: Option<Hex>,
    /// Why the owner sleeps.
    pub message: Option<Name>,
}

impl ChainEnd {
    pub(super) fn of_kind(kind: EndKind) -> Self {
        Self { kind, thread: None, cpu: None, channel: None, message: None }
    }

    /// Reads the end of a chain whose last thread waits for a lock, whose owner waits for none.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        typed: TypedMemory<'_>,
        (last, map): (&LockWait, &WaitMap<'_>),
    ) -> Self {
        let Some(owner) = last.owner_address else {
            // Where a lock has neither an owner nor a number of those who share it, it may be shared all the same.
            let is_lone = last.lock.class.as_ref().is_some_and(|class| class.as_bytes() == b"sleep mutex");
            return Self::of_kind(match last.sharers {
                Some(0) => EndKind::Unowned,
                Some(_) => EndKind::Shared,
                None if is_lone => EndKind::Unowned,
                None => EndKind::Unknown,
            });
        };
        let address_bits = if typed.memory.word_size() == 4 { u64::from(u32::MAX) } else { u64::MAX };
        if owner == address_bits & !LK_FLAGMASK {
            return Self::of_kind(EndKind::Disowned);
        }
        let Some(thread) = map.threads.find(owner) else {
            return Self::of_kind(EndKind::NoThread);
        };
        let state = reader.keep(|| format!("the state of the thread at {}", Hex(owner)), state(typed, owner));
        let (kind, cpu) = state.unwrap_or((EndKind::Unknown, None));
        let wait = map.wait(owner).filter(|_| kind == EndKind::Sleeping);
        let channel = wait.and_then(|wait| wait.channel).map(Hex);
        Self { kind, thread: Some(thread), cpu, channel, message: wait.and_then(|wait| wait.message.clone()) }
    }
}

/// What a thread does, and on which CPU.
fn state(typed: TypedMemory<'_>, thread: u64) -> Result<(EndKind, Option<u32>)> {
    let thread = typed.structure_at("thread", thread)?.fetched()?;
    let number = |member: &str| Ok::<_, Error>(low_u32(thread.member(member)?.unsigned()?));
    Ok(match number("td_state")? {
        0 => (EndKind::Inactive, None),
        1 => (inhibited(number("td_inhibitors")?), None),
        2 => (EndKind::Runnable, None),
        3 => (EndKind::RunQueue, None),
        4 => (EndKind::Running, u32::try_from(thread.member("td_oncpu")?.signed()?).ok()),
        _ => (EndKind::Unknown, None),
    })
}

fn inhibited(bits: u32) -> EndKind {
    let kinds = [
        (TDI_LOCK, EndKind::Blocked),
        (TDI_SLEEPING, EndKind::Sleeping),
        (TDI_SUSPENDED, EndKind::Suspended),
        (TDI_IWAIT, EndKind::InterruptWait),
    ];
    kinds.into_iter().find(|(bit, _)| bits & bit != 0).map_or(EndKind::Inhibited, |(_, kind)| kind)
}

impl fmt::Display for ChainEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            EndKind::Running => match self.cpu {
                Some(cpu) => write!(f, "owner runs on CPU {cpu}"),
                None => f.write_str("owner runs"),
            },
            EndKind::RunQueue => f.write_str("owner is in a run queue"),
            EndKind::Runnable => f.write_str("owner can run"),
            EndKind::Sleeping => match &self.message {
                Some(message) => write!(f, "owner sleeps on {}", column(message.as_bytes())),
                None => f.write_str("owner sleeps"),
            },
            EndKind::Blocked => f.write_str("owner is on a lock"),
            EndKind::Suspended => f.write_str("owner is suspended"),
            EndKind::InterruptWait => f.write_str("owner waits for an interrupt"),
            EndKind::Inhibited => f.write_str("owner is inhibited"),
            EndKind::Inactive => f.write_str("owner is inactive"),
            EndKind::Shared => f.write_str("shared"),
            EndKind::Unowned => f.write_str("no owner"),
            EndKind::Disowned => f.write_str("disowned"),
            EndKind::NoThread => f.write_str("owner is no thread"),
            EndKind::Unknown => f.write_str("unknown"),
        }
    }
}
