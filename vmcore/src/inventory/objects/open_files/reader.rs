//! Reads the files of processes: each `struct file`, vnode and mount once.

use super::file::{Details, FREAD, FWRITE, File, FileUse, OpenFile, PipeEnd, SharedObject, VnodeFile};
use super::socket::{Protocols, Socket};
use super::{OpenFiles, ProcessFiles};
use crate::error::Result;
use crate::inventory::descriptors::{Descriptor, DescriptorTable};
use crate::inventory::reader::Reader;
use crate::inventory::source::Source;
use crate::kernel::{Object, Process};
use crate::text::Name;
use crate::units::Hex;
use crate::vm::{FileStatus, NameCache};
use std::collections::HashMap;
use std::rc::Rc;

/// More descriptors, used or not, than are read in reasonable time.
const MAX_DESCRIPTORS: u64 = 1 << 22;
/// More bytes than a path has.
const MAX_PATH: usize = 1024;
/// `UF_EXCLOSE` in `fde_flags`.
const CLOSED_ON_EXEC: u64 = 1;
/// Values of `f_type`.
const VNODE: u64 = 1;
const SOCKET: u64 = 2;
const PIPE: u64 = 3;
const FIFO: u64 = 4;
const SHM: u64 = 8;
const SEM: u64 = 9;
const PTS: u64 = 10;
/// `PIPE_DIRECTW` in `pipe_state`.
const PIPE_DIRECTW: u64 = 0x400;
/// Devices in `v_type`.
const VBLK: u64 = 3;
const VCHR: u64 = 4;

impl OpenFiles {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The processes cannot be read, or the types lack `struct file`.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        typed.structure("file")?;
        let mut reader = Reader::new(typed);
        let processes = reader.processes(source)?;
        let names = reader.keep(|| "the name cache".to_owned(), NameCache::new(typed));
        let mut all = All {
            reader,
            names,
            files: HashMap::new(),
            vnodes: HashMap::new(),
            mount_points: HashMap::new(),
            protocols: HashMap::new(),
            left: MAX_DESCRIPTORS,
        };
        let alive = processes.list.iter().filter(|process| !process.zombie);
        let read = alive.map(|process| all.process(process)).collect();
        Ok(Self { processes: read, warnings: all.reader.into_warnings() })
    }
}

/// Files as they are being read.
struct All<'a> {
    reader: Reader<'a>,
    names: Option<NameCache<'a>>,
    files: HashMap<u64, Option<Rc<File>>>,
    vnodes: HashMap<u64, Rc<VnodeFile>>,
    /// Where each file system is mounted, by its `struct mount`.
    mount_points: HashMap<u64, Option<Name>>,
    protocols: Protocols,
    /// How many descriptors are read at most from now on.
    left: u64,
}

impl<'a> All<'a> {
    fn process(&mut self, process: &Process) -> ProcessFiles {
        let what = || format!("process {}", process.pid);
        let structure = self.reader.process_structure(process);
        let user = structure.as_ref().map(|process| process.member("p_ucred").and_then(|user| user.dereference()));
        let user = user.and_then(|user| self.reader.keep(|| format!("the credentials of {}", what()), user));
        let user_id =
            user.and_then(|user| self.reader.number(&format_args!("the credentials of {}", what()), &user, "cr_uid"));
        let files = structure.map(|structure| self.files_of(&structure, process.pid));
        ProcessFiles { pid: process.pid, command: Name::from(&*process.command), user_id, files }
    }

    fn files_of(&mut self, process: &Object<'a>, pid: i32) -> Vec<OpenFile> {
        let mut found = Vec::new();
        for (used_as, vnode) in [
            (FileUse::Trace, trace(process)),
            (FileUse::Text, process.member("p_textvp").and_then(|vnode| vnode.unsigned())),
            (FileUse::Terminal, terminal(process)),
        ] {
            self.add_vnode(&mut found, pid, (used_as, vnode));
        }
        let table = process.member("p_fd").and_then(|table| table.follow());
        let table = self.reader.keep(|| format!("the descriptors of process {pid}"), table).flatten();
        let directories = directories(process, table.as_ref());
        let directories = self.reader.keep(|| format!("the directories of process {pid}"), directories).flatten();
        for (used_as, [member, older]) in [
            (FileUse::WorkingDirectory, ["pwd_cdir", "fd_cdir"]),
            (FileUse::Root, ["pwd_rdir", "fd_rdir"]),
            (FileUse::Jail, ["pwd_jdir", "fd_jdir"]),
        ] {
            if let Some(directories) = &directories {
                let vnode = directories.member(member).or_else(|_| directories.member(older));
                self.add_vnode(&mut found, pid, (used_as, vnode.and_then(|vnode| vnode.unsigned())));
            }
        }
        if let Some(table) = table {
            let read = self.add_descriptors(&mut found, &table);
            self.reader.keep(|| format!("the descriptors of process {pid}"), read);
        }
        found
    }

    fn add_vnode(&mut self, found: &mut Vec<OpenFile>, pid: i32, (used_as, vnode): (FileUse, Result<u64>)) {
        let noun = used_as.name().unwrap_or("fd");
        let vnode = self.reader.keep(|| format!("{noun} of process {pid}"), vnode);
        let Some(vnode) = vnode.filter(|vnode| *vnode != 0) else { return };
        let is_written = matches!(used_as, FileUse::Terminal | FileUse::Trace);
        let file = File {
            address: None,
            kind: Some(VNODE),
            flags: Some(if is_written { FREAD | FWRITE } else { FREAD }),
            references: None,
            offset: None,
            object: Some(vnode),
            details: Details::Vnode(self.vnode(vnode)),
        };
        found.push(OpenFile { used_as, is_closed_on_exec: None, file: Rc::new(file) });
    }

    fn add_descriptors(&mut self, found: &mut Vec<OpenFile>, table: &Object<'a>) -> Result<()> {
        let table = DescriptorTable::new(table)?;
        let count = table.count.min(self.left);
        self.left = self.left.saturating_sub(count);
        table.each_used(count, |Descriptor { number, file, flags }| {
            if let Some(file) = self.file(file) {
                let is_closed_on_exec = Some(flags & CLOSED_ON_EXEC != 0);
                found.push(OpenFile { used_as: FileUse::Descriptor(number), is_closed_on_exec, file });
            }
        })?;
        if count < table.count {
            self.reader.warn(|| "there are more descriptors than are read".to_owned());
        }
        Ok(())
    }

    fn file(&mut self, address: u64) -> Option<Rc<File>> {
        if let Some(known) = self.files.get(&address) {
            return known.clone();
        }
        let read = self.read_file(address);
        let file = self.reader.keep(|| format!("the file at {}", Hex(address)), read).map(Rc::new);
        self.files.insert(address, file.clone());
        file
    }

    fn read_file(&mut self, address: u64) -> Result<File> {
        let file = self.reader.typed.structure_at("file", address)?.fetched()?;
        let kind = file.member("f_type")?.unsigned()?;
        let has_vnode = matches!(kind, VNODE | FIFO);
        let object = file.member(if has_vnode { "f_vnode" } else { "f_data" })?.unsigned()?;
        Ok(File {
            address: Some(address),
            kind: Some(kind),
            flags: Some(file.member("f_flag")?.unsigned()?),
            references: Some(file.member("f_count")?.unsigned()?),
            offset: Some(file.member("f_offset")?.signed()?),
            object: Some(object),
            details: if object == 0 { Details::Nothing } else { self.details(kind, object) },
        })
    }

    fn details(&mut self, kind: u64, object: u64) -> Details {
        let at = |structure: &str| self.reader.typed.structure_at(structure, object);
        match kind {
            VNODE | FIFO => Details::Vnode(self.vnode(object)),
            SOCKET => match at("socket") {
                Ok(socket) => Details::Socket(Box::new(Socket::read(&mut self.reader, &socket, &mut self.protocols))),
                Err(_) => Details::Nothing,
            },
            PIPE => self.keep("pipe", object, at("pipe").and_then(|pipe| read_pipe(&pipe))),
            SHM => {
                let read = at("shmfd").and_then(|shm| read_shared(&shm, ["shm_path", "shm_mode", "shm_size"]));
                self.keep("shared memory", object, read.map(Details::SharedMemory))
            }
            SEM => {
                let read = at("ksem").and_then(|sem| read_shared(&sem, ["ks_path", "ks_mode", "ks_value"]));
                self.keep("semaphore", object, read.map(Details::Semaphore))
            }
            PTS => self.keep("terminal", object, at("tty").and_then(|tty| read_terminal(&tty))),
            _ => Details::Nothing,
        }
    }

    fn keep(&mut self, noun: &str, object: u64, read: Result<Details>) -> Details {
        self.reader.keep(|| format!("the {noun} at {}", Hex(object)), read).unwrap_or(Details::Nothing)
    }

    fn vnode(&mut self, address: u64) -> Rc<VnodeFile> {
        if let Some(known) = self.vnodes.get(&address) {
            return Rc::clone(known);
        }
        let read = self.read_vnode(address);
        let what = || format!("the vnode at {}", Hex(address));
        let vnode = Rc::new(self.reader.keep(what, read).unwrap_or_default());
        self.vnodes.insert(address, Rc::clone(&vnode));
        vnode
    }

    fn mount_point(&mut self, mount: &Object<'a>) -> Option<Name> {
        if let Some(known) = self.mount_points.get(&mount.address()) {
            return known.clone();
        }
        let point = mount.member("mnt_stat.f_mntonname").and_then(|point| point.text());
        let what = || format!("the mount point of the mount at {}", Hex(mount.address()));
        let point = self.reader.keep(what, point).map(Name::from);
        self.mount_points.insert(mount.address(), point.clone());
        point
    }

    fn read_vnode(&mut self, address: u64) -> Result<VnodeFile> {
        let vnode = self.reader.typed.structure_at("vnode", address)?.fetched()?;
        let what = || format!("the vnode at {}", Hex(address));
        let kind = vnode.member("v_type")?.unsigned()?;
        let mut read = VnodeFile { kind: Some(kind), ..VnodeFile::default() };
        let Some(mount) = vnode.member("v_mount")?.follow()? else { return Ok(read) };
        read.mount = Some(Hex(mount.address()));
        read.mount_point = self.mount_point(&mount);
        let status = FileStatus::read(&vnode);
        let status = self.reader.keep(|| format!("the node of {}", what()), status).flatten();
        if let Some(FileStatus { id, permissions, size }) = status {
            (read.permissions, read.size) = (permissions, size);
            (read.file_system_id, read.inode) = (id.map(|id| Hex(id.device)), id.map(|id| id.inode));
        }
        if let Some(names) = &mut self.names {
            let (path, followed) = names.path(address);
            self.reader.keep(|| format!("the path of {}", what()), followed);
            read.is_path_whole = path.is_whole;
            read.path = Some(Name::from(&*path.path)).filter(|path| !path.is_empty());
        }
        if matches!(kind, VBLK | VCHR) {
            let name = device_name(&vnode, "v_rdev");
            read.device_name = self.reader.keep(|| format!("the device of {}", what()), name).flatten();
            name_device(&mut read);
        }
        Ok(read)
    }
}

/// devfs(5) keeps no names in the name cache: its devices' are below where it is mounted.
fn name_device(device: &mut VnodeFile) {
    if let (None, Some(point), Some(name)) = (&device.path, &device.mount_point, &device.device_name) {
        device.path = Some(Name::from([point.as_bytes(), b"/", name.as_bytes()].concat()));
        device.is_path_whole = true;
    }
}

/// The vnode that ktrace(1) writes to.
fn trace(process: &Object<'_>) -> Result<u64> {
    let Ok(parameters) = process.member("p_ktrioparms") else { return process.member("p_tracevp")?.unsigned() };
    let Some(parameters) = parameters.follow()? else { return Ok(0) };
    parameters.member("vp")?.unsigned()
}

/// The controlling terminal's vnode.
fn terminal(process: &Object<'_>) -> Result<u64> {
    let Some(group) = process.member("p_pgrp")?.follow()? else { return Ok(0) };
    let Some(session) = group.member("pg_session")?.follow()? else { return Ok(0) };
    session.member("s_ttyvp")?.unsigned()
}

/// What has the directories of a process: since FreeBSD 13 a `struct pwd`, before that its `struct filedesc`.
fn directories<'a>(process: &Object<'a>, table: Option<&Object<'a>>) -> Result<Option<Object<'a>>> {
    let Ok(directories) = process.member("p_pd") else { return Ok(table.cloned()) };
    let Some(directories) = directories.follow()? else { return Ok(None) };
    let current = directories.member("pd_pwd")?;
    let current = current.member("__ptr").unwrap_or(current);
    current.follow()?.map(|current| current.fetched()).transpose()
}

fn read_pipe(pipe: &Object<'_>) -> Result<Details> {
    let pipe = pipe.fetched()?;
    let peer = pipe.member("pipe_peer")?.unsigned()?;
    // Of what a writer waits with, the pages are lent and not copied.
    let is_direct = pipe.member("pipe_state")?.unsigned()? & PIPE_DIRECTW != 0;
    let count = pipe.member(if is_direct { "pipe_pages.cnt" } else { "pipe_buffer.cnt" })?;
    let bytes_buffered = Some(count.unsigned()?);
    Ok(Details::Pipe(PipeEnd { peer: Some(Hex(peer)).filter(|peer| peer.0 != 0), bytes_buffered }))
}

fn read_shared(object: &Object<'_>, [path, permissions, number]: [&str; 3]) -> Result<SharedObject> {
    let object = object.fetched()?;
    Ok(SharedObject {
        path: object.member(path)?.string(MAX_PATH)?.map(Name::from),
        permissions: Some(object.member(permissions)?.unsigned()? & 0o7777),
        number: Some(object.member(number)?.unsigned()?),
    })
}

fn read_terminal(tty: &Object<'_>) -> Result<Details> {
    device_name(tty, "t_dev").map(Details::Terminal)
}

/// The name of the device that a member points to.
fn device_name(object: &Object<'_>, member: &str) -> Result<Option<Name>> {
    let Some(device) = object.member(member)?.follow()? else { return Ok(None) };
    Ok(Some(Name::from(device.member("si_name")?.text()?)))
}
