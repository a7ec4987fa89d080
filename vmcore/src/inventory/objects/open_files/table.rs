//! Open files as fstat(1) shows them.

use super::file::{Details, FREAD, FWRITE, File, FileUse, OpenFile, SharedObject, VnodeFile};
use super::mode::mode_letters;
use super::socket::Socket;
use super::{OpenFiles, ProcessFiles};
use crate::inventory::source::Topic;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::{Name, column};
use crate::units::Hex;

/// What there is not of such a file.
const NONE: &str = "*";

impl Topic for OpenFiles {
    fn tables(&self) -> Vec<Table> {
        let columns = [
            right("USER"),
            left("CMD"),
            right("PID"),
            right("FD"),
            left("MOUNT"),
            right("INUM"),
            left("MODE"),
            right("SZ|DV"),
            left("R/W"),
            left("NAME"),
        ];
        let rows = self
            .processes
            .iter()
            .flat_map(|process| process.files.iter().flatten().map(move |file| row(process, file)));
        vec![Table::new(columns, rows.collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn row(process: &ProcessFiles, open: &OpenFile) -> Vec<String> {
    let used_as = match open.used_as {
        FileUse::Descriptor(number) => number.to_string(),
        other => cell(other.name()),
    };
    let [mount, inode, mode, size, name] = details(&open.file);
    vec![
        cell(process.user_id),
        name_cell(Some(&process.command)),
        process.pid.to_string(),
        used_as,
        mount,
        inode,
        mode,
        size,
        access(&open.file),
        name,
    ]
}

/// Whether it is read, written or both.
fn access(file: &File) -> String {
    let flags = [(FREAD, 'r'), (FWRITE, 'w')];
    let letters =
        |set: u64| flags.iter().filter(|(bit, _)| set & bit != 0).map(|(_, letter)| *letter).collect::<String>();
    cell(file.flags.map(letters))
}

/// Mount point, number, mode, size and name.
fn details(file: &File) -> [String; 5] {
    let none = || NONE.to_owned();
    let shared = |noun: &str, object: &SharedObject| {
        let name = object.path.as_ref().map_or_else(|| noun.to_owned(), |path| format!("{noun} {}", text(path)));
        let mode = cell(object.permissions.map(|mode| mode_letters('-', mode)));
        [none(), none(), mode, cell(object.number), name]
    };
    match &file.details {
        Details::Vnode(vnode) => vnode_cells(vnode),
        Details::Socket(socket) => [none(), none(), none(), none(), socket_text(file, socket)],
        Details::Pipe(pipe) => {
            let name = format!("pipe {} <-> {}", cell(file.object.map(Hex)), cell(pipe.peer));
            [none(), none(), none(), cell(pipe.bytes_buffered), name]
        }
        Details::SharedMemory(object) => shared("shm", object),
        Details::Semaphore(object) => shared("sem", object),
        Details::Terminal(name) => {
            [none(), none(), none(), none(), format!("pseudo-terminal master {}", name_cell(name.as_ref()))]
        }
        Details::Nothing => [none(), none(), none(), none(), format!("[{}]", cell(file.kind_name()))],
    }
}

fn vnode_cells(vnode: &VnodeFile) -> [String; 5] {
    let letter = vnode.kind_name().map(|(_, letter)| letter);
    let mode = letter.zip(vnode.permissions).map(|(letter, permissions)| mode_letters(letter, permissions));
    let mode = mode.or_else(|| vnode.kind_name().map(|(name, _)| format!("?({name})")));
    let size = if matches!(letter, Some('b' | 'c')) { name_cell(vnode.device_name.as_ref()) } else { cell(vnode.size) };
    let path =
        vnode.path.as_ref().map(|path| if vnode.is_path_whole { text(path) } else { format!(".../{}", text(path)) });
    [name_cell(vnode.mount_point.as_ref()), cell(vnode.inode), cell(mode), size, cell(path)]
}

/// What fstat(1) shows of a socket, with the addresses of its option `-s`.
fn socket_text(file: &File, socket: &Socket) -> String {
    let mut parts = vec![name_cell(socket.domain.as_ref()), cell(socket.kind)];
    match (&socket.protocol, &socket.local) {
        (Some(name), _) => parts.push((*name).to_owned()),
        _ if name_of(socket) == Some(b"local") => {}
        _ => parts.push(cell(socket.protocol_number)),
    }
    match socket.pcb.filter(|pcb| pcb.0 != 0) {
        Some(pcb) => parts.push(pcb.to_string()),
        None => parts.push(cell(file.object.map(Hex))),
    }
    if let Some(peer) = socket.peer_pcb {
        let begin = if socket.can_receive == Some(true) { "<" } else { "" };
        let end = if socket.can_send == Some(true) { ">" } else { "" };
        parts.push(format!("{begin}-{end} {peer}"));
    }
    if let (Some(local), Some(foreign)) = (&socket.local, &socket.foreign) {
        parts.push(format!("{local} <-> {foreign}"));
    }
    parts.extend(socket.path.as_ref().map(text));
    parts.join(" ")
}

fn name_of(socket: &Socket) -> Option<&[u8]> {
    socket.domain.as_ref().map(Name::as_bytes)
}

fn text(name: &Name) -> String {
    column(name.as_bytes())
}
