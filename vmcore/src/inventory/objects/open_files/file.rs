//! A file that is open, and what it is.

use super::socket::Socket;
use crate::text::Name;
use crate::units::Hex;
use serde::{Serialize, Serializer};
use std::rc::Rc;

/// What files are by `f_type` (`DTYPE_…`).
const KINDS: [&str; 17] = [
    "none", "vnode", "socket", "pipe", "fifo", "kqueue", "crypto", "mqueue", "shm", "sem", "pts", "dev", "procdesc",
    "eventfd", "timerfd", "inotify", "jaildesc",
];
/// What vnodes are by `v_type`, and the letters that modes begin with.
const VNODE_KINDS: [(&str, char); 10] = [
    ("none", '?'),
    ("regular", '-'),
    ("directory", 'd'),
    ("block-device", 'b'),
    ("character-device", 'c'),
    ("symbolic-link", 'l'),
    ("socket", 's'),
    ("fifo", 'p'),
    ("bad", '?'),
    ("marker", '?'),
];
/// Bits of `f_flag` (`sys/sys/fcntl.h`).
const FLAGS: [(u64, &str); 12] = [
    (0x1, "read"),
    (0x2, "write"),
    (0x4, "nonblock"),
    (0x8, "append"),
    (0x10, "shlock"),
    (0x20, "exlock"),
    (0x40, "async"),
    (0x80, "fsync"),
    (0x100, "nofollow"),
    (0x4000, "haslock"),
    (0x1_0000, "direct"),
    (0x4_0000, "exec"),
];
/// Reading and writing.
pub(super) const FREAD: u64 = 1;
pub(super) const FWRITE: u64 = 2;

/// What a process has a file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// A descriptor.
    Descriptor(u64),
    /// The program that it runs.
    Text,
    /// Its controlling terminal.
    Terminal,
    /// Its working directory.
    WorkingDirectory,
    /// Its root directory.
    Root,
    /// The root directory of its jail.
    Jail,
    /// What ktrace(1) writes of it.
    Trace,
}

impl FileUse {
    /// As fstat(1) calls it; of a descriptor `None`.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Descriptor(_) => None,
            Self::Text => Some("text"),
            Self::Terminal => Some("ctty"),
            Self::WorkingDirectory => Some("wd"),
            Self::Root => Some("root"),
            Self::Jail => Some("jail"),
            Self::Trace => Some("tr"),
        }
    }
}

/// A file that a process has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// What for.
    pub used_as: FileUse,
    /// Whether a program that the process executes does not have it; only of descriptors.
    pub is_closed_on_exec: Option<bool>,
    /// The file; several descriptors can have the same.
    pub file: Rc<File>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where its `struct file` is; what is not a descriptor's has none.
    pub address: Option<u64>,
    /// What it is, `DTYPE_…`.
    pub kind: Option<u64>,
    /// How it was opened, `f_flag`.
    pub flags: Option<u64>,
    /// How many descriptors and others refer to it.
    pub references: Option<u64>,
    /// Where it is read and written next.
    pub offset: Option<i64>,
    /// Where the object that it stands for is (`f_data`, of a vnode `f_vnode`).
    pub object: Option<u64>,
    /// What else is known of that.
    pub details: Details,
}

/// What is known of a file by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Details {
    /// A vnode, also that of a fifo.
    Vnode(Rc<VnodeFile>),
    /// A socket.
    Socket(Box<Socket>),
    /// A pipe.
    Pipe(PipeEnd),
    /// Shared memory: its size in bytes.
    SharedMemory(SharedObject),
    /// A semaphore: its value.
    Semaphore(SharedObject),
    /// The master of a pseudo-terminal: its name in /dev.
    Terminal(Option<Name>),
    /// Nothing.
    Nothing,
}

/// A file in a file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VnodeFile {
    /// What it is, `v_type`.
    #[serde(serialize_with = "vnode_kind")]
    pub kind: Option<u64>,
    /// Its path as far as the name cache has it.
    pub path: Option<Name>,
    /// Whether that begins at the root directory.
    pub is_path_whole: bool,
    /// Where its file system is mounted.
    pub mount_point: Option<Name>,
    /// Where the `struct mount` is.
    pub mount: Option<Hex>,
    /// The number of its file system's device.
    pub file_system_id: Option<Hex>,
    /// Its number there.
    #[serde(serialize_with = "decimal_if_known")]
    pub inode: Option<u64>,
    /// Its permissions.
    #[serde(serialize_with = "octal")]
    pub permissions: Option<u64>,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Of a device, its name in /dev.
    pub device_name: Option<Name>,
}

/// A pipe, from one of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PipeEnd {
    /// Where the other end is.
    pub peer: Option<Hex>,
    /// Bytes in it.
    pub bytes_buffered: Option<u64>,
}

/// What processes share by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedObject {
    /// Its name; `None` if it has none.
    pub path: Option<Name>,
    /// Its permissions.
    pub permissions: Option<u64>,
    /// Its size or its value.
    pub number: Option<u64>,
}

impl File {
    /// What it is called, `vnode`; `None` of a kind that is not known.
    pub fn kind_name(&self) -> Option<&'static str> {
        KINDS.get(usize::try_from(self.kind?).ok()?).copied()
    }

    /// What `f_flag` says of it, in words.
    pub fn flag_names(&self) -> Option<Vec<&'static str>> {
        let flags = self.flags?;
        Some(FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect())
    }
}

impl VnodeFile {
    /// What it is called, `regular`, and the letter that its mode begins with.
    pub fn kind_name(&self) -> Option<(&'static str, char)> {
        VNODE_KINDS.get(usize::try_from(self.kind?).ok()?).copied()
    }
}

#[expect(clippy::ref_option, reason = "serde gives it so")]
fn vnode_kind<S: Serializer>(kind: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    let kind = VnodeFile { kind: *kind, ..VnodeFile::default() };
    kind.kind_name().map(|(name, _)| name).serialize(serializer)
}

/// A number that a double may not hold.
#[expect(clippy::ref_option, reason = "serde gives it so")]
fn decimal_if_known<S: Serializer>(number: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    number.map(|number| number.to_string()).serialize(serializer)
}

/// Permissions as chmod(1) takes them.
#[expect(clippy::ref_option, reason = "serde gives it so")]
pub(crate) fn octal<S: Serializer>(permissions: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    permissions.map(|permissions| format!("{permissions:03o}")).serialize(serializer)
}

/// A file in JSON.
#[derive(Serialize)]
struct FileDocument<'a> {
    used_as: &'static str,
    descriptor: Option<u64>,
    kind: Option<&'static str>,
    address: Option<Hex>,
    object_address: Option<Hex>,
    flags: Option<Vec<&'static str>>,
    is_closed_on_exec: Option<bool>,
    reference_count: Option<u64>,
    position: Option<i64>,
    vnode_details: Option<&'a VnodeFile>,
    socket_details: Option<&'a Socket>,
    pipe: Option<&'a PipeEnd>,
    shared_memory: Option<SharedMemoryDocument<'a>>,
    semaphore: Option<SemaphoreDocument<'a>>,
    terminal: Option<&'a Name>,
}

#[derive(Serialize)]
struct SharedMemoryDocument<'a> {
    path: Option<&'a Name>,
    #[serde(serialize_with = "octal")]
    permissions: Option<u64>,
    size: Option<u64>,
}

#[derive(Serialize)]
struct SemaphoreDocument<'a> {
    path: Option<&'a Name>,
    #[serde(serialize_with = "octal")]
    permissions: Option<u64>,
    semval: Option<u64>,
}

impl Serialize for OpenFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let file = &self.file;
        let descriptor = if let FileUse::Descriptor(number) = self.used_as { Some(number) } else { None };
        let mut document = FileDocument {
            used_as: self.used_as.name().unwrap_or("fd"),
            descriptor,
            kind: file.kind_name(),
            address: file.address.map(Hex),
            object_address: file.object.map(Hex),
            flags: file.flag_names(),
            is_closed_on_exec: self.is_closed_on_exec,
            reference_count: file.references,
            position: file.offset,
            vnode_details: None,
            socket_details: None,
            pipe: None,
            shared_memory: None,
            semaphore: None,
            terminal: None,
        };
        match &file.details {
            Details::Vnode(vnode) => document.vnode_details = Some(vnode),
            Details::Socket(socket) => document.socket_details = Some(socket),
            Details::Pipe(pipe) => document.pipe = Some(pipe),
            Details::SharedMemory(SharedObject { path, permissions, number }) => {
                let path = path.as_ref();
                document.shared_memory = Some(SharedMemoryDocument { path, permissions: *permissions, size: *number });
            }
            Details::Semaphore(SharedObject { path, permissions, number }) => {
                let path = path.as_ref();
                document.semaphore = Some(SemaphoreDocument { path, permissions: *permissions, semval: *number });
            }
            Details::Terminal(name) => document.terminal = name.as_ref(),
            Details::Nothing => {}
        }
        document.serialize(serializer)
    }
}
