//! Objects of System V IPC, as `ipcs -a` shows them, and their limits, as `ipcs -T` does.
//!
//! Sources: `sys/sys/ipc.h`, `msg.h`, `shm.h` and `sem.h`, `sys/kern/sysv_msg.c`, `sysv_shm.c` and `sysv_sem.c`,
//! `usr.bin/ipcs`.

use super::open_files::{mode_letters, octal};
use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Column, Table, cell, left, right};
use crate::units::{Hex, utc_of_seconds};
use serde::{Serialize, Serializer};
use std::cell::Cell;

/// More objects of a kind than there can be: the part of an identifier that counts them has 16 bits.
const MAX_OBJECTS: u64 = 1 << 16;
/// Semaphores of all sets that are read.
const MAX_SEMAPHORES: u64 = 1 << 20;
/// Bits of a mode (`ACCESSPERMS`, `SHMSEG_FREE`, `SHMSEG_REMOVED`, `SHMSEG_ALLOCATED`, `SEM_ALLOC`, `MSG_LOCKED`).
const PERMISSIONS: u64 = 0o777;
const SHM_FREE: u64 = 0x200;
const SHM_REMOVED: u64 = 0x400;
const SHM_ALLOCATED: u64 = 0x800;
const SEM_ALLOCATED: u64 = 0x200;
const MSG_LOCKED: u64 = 0x200;
/// The kernel counts up to this with the members `seq`.
const MAX_SEQUENCE: u64 = 0x7fff;
/// The structures with limits, which are variables of the same name, and their members.
const LIMITS: [(&str, &[&str]); 3] = [
    ("msginfo", &["msgmax", "msgmni", "msgmnb", "msgtql", "msgssz", "msgseg"]),
    ("shminfo", &["shmmax", "shmmin", "shmmni", "shmseg", "shmall"]),
    ("seminfo", &["semmni", "semmns", "semmnu", "semmsl", "semopm", "semume", "semusz", "semvmx", "semaem"]),
];

/// What each object has (`struct ipc_perm`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IpcObject {
    /// Where its structure is.
    pub address: Hex,
    /// Its identifier.
    pub ipc_id: u64,
    /// The key that programs find it by; 0 if it is private.
    #[serde(rename = "ipc_key")]
    pub key: i64,
    /// Its permissions.
    #[serde(serialize_with = "octal")]
    pub permissions: Option<u64>,
    /// Who owns it.
    pub user_id: u64,
    /// The owner's group.
    pub group_id: u64,
    /// Who created it.
    pub creator_user_id: u64,
    /// The creator's group.
    pub creator_group_id: u64,
}

/// A message queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageQueue {
    /// What each object has.
    #[serde(flatten)]
    pub object: IpcObject,
    /// Bytes in it.
    pub bytes_queued: u64,
    /// Messages in it.
    #[serde(rename = "message_count")]
    pub messages: u64,
    /// Bytes that it may have.
    pub bytes_allowed: u64,
    /// The process that sent last, or 0.
    pub sender_pid: i64,
    /// The process that received last, or 0.
    pub receiver_pid: i64,
    /// When that was.
    pub sent_at: IpcTime,
    /// When that was.
    pub received_at: IpcTime,
    /// When it was changed.
    pub changed_at: IpcTime,
}

/// Shared memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedMemory {
    /// What each object has.
    #[serde(flatten)]
    pub object: IpcObject,
    /// How often it is attached.
    #[serde(rename = "attached_count")]
    pub attached: i64,
    /// Its bytes.
    pub size: u64,
    /// The process that created it.
    pub creator_pid: i64,
    /// The process that attached or detached it last, or 0.
    pub last_pid: i64,
    /// When it was attached last.
    pub attached_at: IpcTime,
    /// When it was detached last.
    pub detached_at: IpcTime,
    /// When it was changed.
    pub changed_at: IpcTime,
    /// Whether it goes when nothing has it attached any more.
    pub is_removed: bool,
}

/// A set of semaphores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SemaphoreSet {
    /// What each object has.
    #[serde(flatten)]
    pub object: IpcObject,
    /// When one of them was used last.
    pub used_at: IpcTime,
    /// When it was changed.
    pub changed_at: IpcTime,
    /// The semaphores.
    pub semaphores: Option<Vec<Semaphore>>,
    /// How many it says it has.
    #[serde(rename = "semaphore_count")]
    pub count: u64,
}

/// A semaphore of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Semaphore {
    /// Its value.
    #[serde(rename = "semval")]
    pub value: u64,
    /// The process that used it last, or 0.
    pub last_pid: i64,
    /// Threads that wait until it is larger.
    #[serde(rename = "waiting_count")]
    pub waiting: u64,
    /// Threads that wait until it is 0.
    #[serde(rename = "waiting_for_zero_count")]
    pub waiting_for_zero: u64,
}

/// A time in seconds since 1970; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpcTime(pub i64);

impl IpcTime {
    fn utc(self) -> Option<String> {
        utc_of_seconds(u64::try_from(self.0).ok().filter(|seconds| *seconds != 0)?)
    }

    /// As ipcs(1) shows it, with the date, in UTC.
    fn cell(self) -> String {
        if self.0 == 0 { "no-entry".to_owned() } else { cell(self.utc()) }
    }
}

impl Serialize for IpcTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.utc().serialize(serializer)
    }
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// What the kernel calls it.
    pub name: &'static str,
    /// Its value.
    #[serde(rename = "limit")]
    pub value: Option<u64>,
}

/// All objects. `None` where a kernel has none of a kind: they are in modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ipc {
    /// Message queues.
    pub message_queues: Option<Vec<MessageQueue>>,
    /// Shared memory.
    pub shared_memory_segments: Option<Vec<SharedMemory>>,
    /// Sets of semaphores.
    pub semaphore_sets: Option<Vec<SemaphoreSet>>,
    /// The limits of these.
    pub limits: Vec<Limit>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Ipc {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel has none of the three kinds.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let mut reader = Reader::new(typed);
        let kinds = ["msqids", "shmsegs", "sema"].map(|variable| typed.variable(variable));
        if let [Err(Error::Unsupported(_)), Err(Error::Unsupported(_)), Err(Error::Unsupported(_))] = &kinds {
            return Err(Error::Unsupported("the kernel has no System V IPC".to_owned()));
        }
        let [queues, segments, sets] = kinds;
        let limits = read_limits(&mut reader);
        let limit = |name: &str| limits.iter().find(|limit| limit.name == name)?.value;
        let (bytes, messages) = (limit("msgmnb"), limit("msgtql"));
        let counted = |variable: &str, member: &str| typed.variable(variable)?.member(member)?.unsigned();
        let queues = (queues, counted("msginfo", "msgmni"));
        let queues = table(&mut reader, "message queues", queues, |_, index, queue| {
            message_queue(index, queue, [bytes, messages])
        });
        let allocated = typed.variable("shmalloced").and_then(|count| count.unsigned());
        let allocated = allocated.and_then(|count| as_limited(count, limit("shmmni")));
        let segments = table(&mut reader, "shared memory", (segments, allocated), |_, index, segment| {
            shared_memory(index, segment)
        });
        let left = Cell::new(limit("semmns").map_or(MAX_SEMAPHORES, |limit| limit.min(MAX_SEMAPHORES)));
        let sets = table(&mut reader, "semaphores", (sets, counted("seminfo", "semmni")), |reader, index, set| {
            semaphore_set(reader, index, set, &left)
        });
        Ok(Self {
            message_queues: queues,
            shared_memory_segments: segments,
            semaphore_sets: sets,
            limits,
            warnings: reader.into_warnings(),
        })
    }
}

fn read_limits(reader: &mut Reader<'_>) -> Vec<Limit> {
    let typed = reader.typed;
    let names = LIMITS.iter().flat_map(|(variable, names)| names.iter().map(move |name| (*variable, *name)));
    let limits = names.filter_map(|(variable, name)| {
        let value = typed.variable(variable).ok()?.member(name).and_then(|limit| limit.unsigned());
        Some(Limit { name, value: reader.keep(|| format!("the limit {name}"), value) })
    });
    limits.collect()
}

/// How many entries the table of shared memory has: as many as there may be, from when it is allocated on.
fn as_limited(count: u64, limit: Option<u64>) -> Result<u64> {
    match limit.filter(|limit| *limit != count) {
        Some(limit) => Err(Error::Format(format!("shmalloced is {count}, but the limit shmmni {limit}"))),
        None => Ok(count),
    }
}

/// A number that is at most a limit, if that is known.
fn limited(what: &str, number: u64, limit: Option<u64>) -> Result<u64> {
    match limit.filter(|limit| number > *limit) {
        Some(limit) => Err(Error::Format(format!("{what} is {number}, more than {limit}"))),
        None => Ok(number),
    }
}

/// The objects in a table that has so many, of which one that is not in use is none.
fn table<'a, T>(
    reader: &mut Reader<'a>,
    noun: &str,
    (table, count): (Result<Object<'a>>, Result<u64>),
    read: impl Fn(&mut Reader<'a>, u64, &Object<'a>) -> Result<Option<T>>,
) -> Option<Vec<T>> {
    let table = reader.keep(|| noun.to_owned(), table)?;
    let count = reader.keep(|| format!("the number of {noun}"), count)?;
    if count > MAX_OBJECTS {
        reader.warn(|| format!("the number of {noun} is damaged: it is {count}"));
        return None;
    }
    let at = table.unsigned().unwrap_or_default();
    if count == 0 && at != 0 {
        reader.warn(|| format!("the number of {noun} is damaged: it is 0, but their table is at {}", Hex(at)));
        return None;
    }
    let mut found = Vec::new();
    for index in 0..count {
        let object = table.index(index).and_then(|object| object.fetched());
        let object = object.and_then(|object| read(reader, index, &object));
        match object {
            Ok(object) => found.extend(object),
            // The others are behind it.
            Err(error) => {
                reader.keep::<()>(|| format!("entry {index} of the table of {noun}"), Err(error));
                break;
            }
        }
    }
    Some(found)
}

/// What each object has, with its mode, which has no other bits than these.
fn ipc_object(index: u64, object: &Object<'_>, (permissions, bits): (&str, u64)) -> Result<(IpcObject, u64)> {
    let permissions = object.member("u")?.member(permissions)?;
    let number = |member: &str| permissions.member(member)?.unsigned();
    let mode = number("mode")?;
    if mode & !(PERMISSIONS | bits) != 0 {
        return Err(Error::Format(format!("its mode is {}", Hex(mode))));
    }
    let sequence = limited("its sequence number", number("seq")?, Some(MAX_SEQUENCE))?;
    let read = IpcObject {
        address: Hex(object.address()),
        ipc_id: sequence << 16 | index & 0xffff,
        key: permissions.member("key")?.signed()?,
        permissions: Some(mode & PERMISSIONS),
        user_id: number("uid")?,
        group_id: number("gid")?,
        creator_user_id: number("cuid")?,
        creator_group_id: number("cgid")?,
    };
    Ok((read, mode))
}

/// A queue has so many bytes and messages at most.
fn message_queue(index: u64, queue: &Object<'_>, [bytes, messages]: [Option<u64>; 2]) -> Result<Option<MessageQueue>> {
    let (object, _) = ipc_object(index, queue, ("msg_perm", MSG_LOCKED))?;
    let of = queue.member("u")?;
    let (number, signed) = (|member: &str| of.member(member)?.unsigned(), |member: &str| of.member(member)?.signed());
    let bytes_allowed = limited("msg_qbytes", number("msg_qbytes")?, bytes)?;
    if bytes_allowed == 0 {
        return Ok(None);
    }
    Ok(Some(MessageQueue {
        object,
        bytes_queued: limited("msg_cbytes", number("msg_cbytes")?, bytes)?,
        messages: limited("msg_qnum", number("msg_qnum")?, messages)?,
        bytes_allowed,
        sender_pid: signed("msg_lspid")?,
        receiver_pid: signed("msg_lrpid")?,
        sent_at: IpcTime(signed("msg_stime")?),
        received_at: IpcTime(signed("msg_rtime")?),
        changed_at: IpcTime(signed("msg_ctime")?),
    }))
}

fn shared_memory(index: u64, segment: &Object<'_>) -> Result<Option<SharedMemory>> {
    let bits = SHM_FREE | SHM_REMOVED | SHM_ALLOCATED;
    let (object, mode) = ipc_object(index, segment, ("shm_perm", bits))?;
    match mode & (SHM_FREE | SHM_ALLOCATED) {
        SHM_FREE => return Ok(None),
        SHM_ALLOCATED => {}
        _ => return Err(Error::Format(format!("its mode is {}", Hex(mode)))),
    }
    let of = segment.member("u")?;
    let signed = |member: &str| of.member(member)?.signed();
    Ok(Some(SharedMemory {
        object,
        attached: signed("shm_nattch")?,
        size: of.member("shm_segsz")?.unsigned()?,
        creator_pid: signed("shm_cpid")?,
        last_pid: signed("shm_lpid")?,
        attached_at: IpcTime(signed("shm_atime")?),
        detached_at: IpcTime(signed("shm_dtime")?),
        changed_at: IpcTime(signed("shm_ctime")?),
        is_removed: mode & SHM_REMOVED != 0,
    }))
}

fn semaphore_set(
    reader: &mut Reader<'_>,
    index: u64,
    set: &Object<'_>,
    left: &Cell<u64>,
) -> Result<Option<SemaphoreSet>> {
    let (object, mode) = ipc_object(index, set, ("sem_perm", SEM_ALLOCATED))?;
    if mode & SEM_ALLOCATED == 0 {
        return Ok(None);
    }
    let of = set.member("u")?;
    // All sets have their semaphores in one array, as many as the limit semmns at most.
    let count = limited("sem_nsems", of.member("sem_nsems")?.unsigned()?, Some(left.get()))?;
    left.set(left.get().saturating_sub(count));
    // Before FreeBSD 13 it had another name.
    let base = of.member("__sem_base").or_else(|_| of.member("sem_base"));
    let semaphores = base.and_then(|base| base.elements(count)?.iter().map(semaphore).collect());
    Ok(Some(SemaphoreSet {
        used_at: IpcTime(of.member("sem_otime")?.signed()?),
        changed_at: IpcTime(of.member("sem_ctime")?.signed()?),
        semaphores: reader.keep(|| format!("the semaphores of set {}", object.ipc_id), semaphores),
        object,
        count,
    }))
}

fn semaphore(semaphore: &Object<'_>) -> Result<Semaphore> {
    let number = |member: &str| semaphore.member(member)?.unsigned();
    Ok(Semaphore {
        value: number("semval")?,
        last_pid: semaphore.member("sempid")?.signed()?,
        waiting: number("semncnt")?,
        waiting_for_zero: number("semzcnt")?,
    })
}

/// The first columns of each table.
const COMMON: [Column; 8] = [
    left("T"),
    right("ID"),
    right("KEY"),
    left("MODE"),
    right("OWNER"),
    right("GROUP"),
    right("CREATOR"),
    right("CGROUP"),
];

fn columns(own: &[Column]) -> Vec<Column> {
    [&COMMON, own].concat()
}

fn row(letter: &str, object: &IpcObject, own: &[String]) -> Vec<String> {
    let mode = object.permissions.map(|mode| format!("-{}", mode_letters('-', mode)));
    let numbers = [object.user_id, object.group_id, object.creator_user_id, object.creator_group_id];
    let mut row = vec![letter.to_owned(), object.ipc_id.to_string(), object.key.to_string(), cell(mode)];
    row.extend(numbers.iter().map(u64::to_string));
    row.extend_from_slice(own);
    row
}

impl Topic for Ipc {
    fn tables(&self) -> Vec<Table> {
        let limits = self.limits.iter().map(|limit| vec![limit.name.to_owned(), cell(limit.value)]).collect();
        vec![
            self.message_queue_table().captioned("Message Queues"),
            self.shared_memory_table().captioned("Shared Memory"),
            self.semaphore_table().captioned("Semaphores"),
            Table::new([left("LIMIT"), right("VALUE")], limits).captioned("Limits"),
        ]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Ipc {
    fn message_queue_table(&self) -> Table {
        let own = [right("CBYTES"), right("QNUM"), right("QBYTES"), right("LSPID"), right("LRPID")];
        let times = [left("STIME"), left("RTIME"), left("CTIME")];
        let rows = self.message_queues.iter().flatten().map(|queue| {
            let numbers = [queue.bytes_queued, queue.messages, queue.bytes_allowed].map(|number| number.to_string());
            let processes = [queue.sender_pid, queue.receiver_pid].map(|pid| pid.to_string());
            let times = [queue.sent_at, queue.received_at, queue.changed_at].map(IpcTime::cell);
            row("q", &queue.object, &[&numbers[..], &processes, &times].concat())
        });
        Table::new(columns(&[&own[..], &times].concat()), rows.collect())
    }

    fn shared_memory_table(&self) -> Table {
        let own = [right("NATTCH"), right("SEGSZ"), right("CPID"), right("LPID")];
        let times = [left("ATIME"), left("DTIME"), left("CTIME")];
        let rows = self.shared_memory_segments.iter().flatten().map(|segment| {
            let numbers = [segment.attached.to_string(), segment.size.to_string()];
            let processes = [segment.creator_pid, segment.last_pid].map(|pid| pid.to_string());
            let times = [segment.attached_at, segment.detached_at, segment.changed_at].map(IpcTime::cell);
            row("m", &segment.object, &[&numbers[..], &processes, &times].concat())
        });
        Table::new(columns(&[&own[..], &times].concat()), rows.collect())
    }

    fn semaphore_table(&self) -> Table {
        let own = [right("NSEMS"), left("OTIME"), left("CTIME")];
        let rows = self
            .semaphore_sets
            .iter()
            .flatten()
            .map(|set| row("s", &set.object, &[set.count.to_string(), set.used_at.cell(), set.changed_at.cell()]));
        Table::new(columns(&own), rows.collect())
    }
}
