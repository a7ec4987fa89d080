//! A kernel with types whose processes have files: descriptors, vnodes with names in the name cache, mounts, sockets, pipes,
//! shared memory and semaphores.
//!
//! Sources: `sys/sys/filedesc.h`, `file.h`, `vnode.h`, `mount.h`, `socketvar.h`, `protosw.h`, `domain.h`, `unpcb.h`, `pipe.h`,
//! `mman.h`, `ksem.h`, `sys/kern/vfs_cache.c`, `sys/netinet/in_pcb.h`, `sys/fs/tmpfs/tmpfs.h`, `sys/ufs/ufs/inode.h`.

use super::process_kernel::ProcessKernel;
use super::typed_kernel::{Basic, TypedKernel};
use std::collections::BTreeMap;
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// Values of `v_type`.
pub const REGULAR: i128 = 1;
pub const DIRECTORY: i128 = 2;
pub const DEVICE: i128 = 4;
/// Room for a table of descriptors.
pub const DESCRIPTORS: u32 = 16;

pub struct FileKernel {
    pub processes: ProcessKernel,
    pub types: BTreeMap<&'static str, Type>,
    /// The root file system, and its root directory.
    pub mount: u64,
    pub root: u64,
}

/// Defines the structures that are not those of processes: the members of `struct proc` that lead to them.
fn define(kernel: &mut TypedKernel, all: &mut BTreeMap<&'static str, Type>) -> Vec<(&'static str, Type)> {
    let Basic { character, unsigned_char, short, unsigned_short, int, unsigned_int, pointer, string, .. } =
        kernel.basic;
    let Basic { long_long: signed, unsigned_long_long: wide, .. } = kernel.basic;
    let types = &mut kernel.types;
    let mut structure = |types: &mut vmcore_synth::ctf::Builder, name: &'static str, members: &[(&str, Type)]| {
        let of = types.record(name, members);
        all.insert(name, of);
        types.pointer(of)
    };
    let name = types.array(character, 64);
    let kind = structure(types, "vfsconf", &[("vfc_name", name)]);
    let numbers = types.array(int, 2);
    let id = types.record("fsid", &[("val", numbers)]);
    let point = types.array(character, 1024);
    let statistics = types.record(
        "statfs",
        &[
            ("f_syncwrites", wide),
            ("f_asyncwrites", wide),
            ("f_syncreads", wide),
            ("f_asyncreads", wide),
            ("f_fsid", id),
            ("f_mntfromname", point),
            ("f_mntonname", point),
        ],
    );
    let queue = types.record("", &[("tqe_next", pointer), ("tqe_prev", pointer)]);
    let mount = types.reserve();
    let to_mount = types.pointer(mount);
    let mounts = types.record("", &[("tqe_next", to_mount), ("tqe_prev", pointer)]);
    types.at(mount).record(
        "mount",
        &[
            ("mnt_flag", wide),
            ("mnt_vnodecovered", pointer),
            ("mnt_vfc", kind),
            ("mnt_list", mounts),
            ("mnt_nvnodelistsize", int),
            ("mnt_stat", statistics),
            ("mnt_data", pointer),
        ],
    );
    let mount_list = types.record("mntlist", &[("tqh_first", to_mount), ("tqh_last", pointer)]);
    let device_name = types.array(character, 64);
    let device = types.record("cdev", &[("si_flags", unsigned_int), ("si_name", device_name)]);
    let to_device = types.pointer(device);
    let entries = types.record("", &[("tqh_first", pointer), ("tqh_last", pointer)]);
    let to_vnode = structure(
        types,
        "vnode",
        &[
            ("v_type", unsigned_char),
            ("v_data", pointer),
            ("v_mount", to_mount),
            ("v_rdev", to_device),
            ("v_cache_dd", pointer),
            ("v_cache_dst", entries),
            ("v_vflag", unsigned_short),
        ],
    );
    let target = types.union_of("", &[("nu_vp", pointer)]);
    let text = types.array(character, 16);
    structure(
        types,
        "namecache",
        &[
            ("nc_dst", queue),
            ("nc_dvp", pointer),
            ("n_un", target),
            ("nc_flag", unsigned_char),
            ("nc_nlen", unsigned_char),
            ("nc_name", text),
        ],
    );
    let ufs = structure(types, "ufsmount", &[("um_dev", to_device)]);
    let members = [("i_ump", ufs), ("i_number", wide), ("i_size", wide), ("i_mode", unsigned_short)];
    structure(types, "inode", &members);
    structure(types, "tmpfs_node", &[("tn_id", wide), ("tn_size", signed), ("tn_mode", unsigned_short)]);
    structure(types, "devfs_dirent", &[("de_inode", int), ("de_dir", pointer), ("de_mode", unsigned_short)]);
    let file = structure(
        types,
        "file",
        &[
            ("f_flag", unsigned_int),
            ("f_count", unsigned_int),
            ("f_data", pointer),
            ("f_vnode", pointer),
            ("f_type", short),
            ("f_offset", signed),
        ],
    );
    let entry = types.record("filedescent", &[("fde_file", file), ("fde_flags", unsigned_char)]);
    let table = types.array(entry, DESCRIPTORS);
    let table = structure(types, "fdescenttbl", &[("fdt_nfiles", int), ("fdt_ofiles", table)]);
    let descriptors = structure(types, "filedesc", &[("fd_files", table)]);
    let directories = ["pwd_cdir", "pwd_rdir", "pwd_jdir"].map(|member| (member, to_vnode));
    let current = structure(types, "pwd", &directories);
    let current = types.record("", &[("__ptr", current)]);
    let directories = structure(types, "pwddesc", &[("pd_pwd", current), ("pd_cmask", unsigned_short)]);
    let trace = structure(types, "ktr_io_params", &[("vp", to_vnode)]);
    let buffer = types.record("sockbuf", &[("sb_state", short)]);
    let domain = structure(types, "domain", &[("dom_family", int), ("dom_name", string)]);
    let protocol = structure(types, "protosw", &[("pr_protocol", short), ("pr_domain", domain)]);
    structure(
        types,
        "socket",
        &[("so_type", short), ("so_pcb", pointer), ("so_proto", protocol), ("so_rcv", buffer), ("so_snd", buffer)],
    );
    let path = types.array(character, 104);
    let address = [("sun_len", unsigned_char), ("sun_family", unsigned_char), ("sun_path", path)];
    let address = structure(types, "sockaddr_un", &address);
    let pcb = types.reserve();
    let to_pcb = types.pointer(pcb);
    types.at(pcb).record("unpcb", &[("unp_conn", to_pcb), ("unp_addr", address)]);
    let bytes = types.array(unsigned_char, 16);
    let host = types.union_of("in_dependaddr", &[("id6_addr", bytes)]);
    let ends = [("ie_fport", unsigned_short), ("ie_lport", unsigned_short)];
    let ends = [&ends[..], &[("ie_dependfaddr", host), ("ie_dependladdr", host)]].concat();
    let ends = types.record("in_endpoints", &ends);
    let connection = types.record("in_conninfo", &[("inc_flags", unsigned_int), ("inc_ie", ends)]);
    structure(types, "inpcb", &[("inp_vflag", unsigned_char), ("inp_inc", connection)]);
    let counted = types.record("", &[("cnt", unsigned_int)]);
    let members = [("pipe_buffer", counted), ("pipe_pages", counted), ("pipe_peer", pointer)];
    structure(types, "pipe", &[&members[..], &[("pipe_state", unsigned_short)]].concat());
    structure(types, "shmfd", &[("shm_size", signed), ("shm_mode", unsigned_short), ("shm_path", string)]);
    structure(types, "ksem", &[("ks_mode", unsigned_short), ("ks_value", unsigned_int), ("ks_path", string)]);
    all.extend([("mount", mount), ("unpcb", pcb), ("mount_list", mount_list), ("cdev", device)]);
    all.insert("to_vnode", to_vnode);
    vec![("p_fd", descriptors), ("p_pd", directories), ("p_textvp", to_vnode), ("p_ktrioparms", trace)]
}

impl FileKernel {
    pub fn new(arch: Arch) -> Self {
        let mut types = BTreeMap::new();
        let processes = ProcessKernel::with_members(arch, |kernel| define(kernel, &mut types));
        let mut built = Self { processes, types, mount: 0, root: 0 };
        for (name, of) in [("rootvnode", "to_vnode"), ("mountlist", "mount_list")] {
            let of = built.types[of];
            built.kernel().variable(name, of);
        }
        built.mount = built.add_mount("ufs", "/", 0);
        built.root = built.add_vnode(built.mount, DIRECTORY, 2);
        built.set(built.root, "vnode", "v_vflag", 1);
        let root = built.root;
        built.kernel().set_variable("rootvnode", "", root);
        built
    }

    pub fn kernel(&mut self) -> &mut TypedKernel {
        &mut self.processes.kernel
    }

    pub fn set(&mut self, address: u64, of: &str, path: &str, value: impl Into<i128>) {
        self.processes.kernel.set(address, self.types[of], path, value);
    }

    pub fn set_text(&mut self, address: u64, of: &str, path: &str, text: &str) {
        self.processes.kernel.set_text(address, self.types[of], path, text);
    }

    pub fn allocate(&mut self, of: &str) -> u64 {
        self.processes.kernel.allocate(self.types[of])
    }

    /// A structure with these numbers.
    pub fn add(&mut self, of: &str, members: &[(&str, i128)]) -> u64 {
        let address = self.allocate(of);
        members.iter().for_each(|(member, value)| self.set(address, of, member, *value));
        address
    }

    /// A mount behind the others, whose file system's number is that of the list.
    pub fn add_mount(&mut self, file_system: &str, point: &str, covered: u64) -> u64 {
        let kind = self.allocate("vfsconf");
        self.set_text(kind, "vfsconf", "vfc_name", file_system);
        let members = [("mnt_vfc", kind.into()), ("mnt_vnodecovered", covered.into()), ("mnt_nvnodelistsize", 7)];
        let mount = self.add("mount", &members);
        self.set(mount, "mount", "mnt_stat.f_fsid.val[0]", 0x1234);
        self.set(mount, "mount", "mnt_stat.f_fsid.val[1]", 0x71);
        self.set_text(mount, "mount", "mnt_stat.f_mntonname", point);
        self.set_text(mount, "mount", "mnt_stat.f_mntfromname", &format!("{file_system}-device"));
        let of = self.types["mount"];
        if self.mount == 0 {
            self.kernel().set_variable("mountlist", "tqh_first", mount);
        } else {
            let last = self.mount;
            let next = self.kernel().address_of(last, of, "mnt_list.tqe_next");
            let next = self.last_link(next);
            self.kernel().write_pointer(next, mount);
        }
        mount
    }

    /// The link at the end of the list of mounts.
    fn last_link(&mut self, mut link: u64) -> u64 {
        let (word, of) = (self.kernel().arch.word(), self.types["mount"]);
        loop {
            match self.kernel().number(link, word) {
                0 => return link,
                next => link = self.kernel().address_of(next, of, "mnt_list.tqe_next"),
            }
        }
    }

    /// A file of UFS with 100 bytes.
    pub fn add_vnode(&mut self, mount: u64, kind: i128, number: i128) -> u64 {
        let device = self.processes.types.device;
        let device_at = self.kernel().allocate(device);
        self.kernel().set(device_at, device, "cdp_inode", 0x5a);
        let ufs = self.add("ufsmount", &[("um_dev", device_at.into())]);
        let members = [("i_ump", ufs.into()), ("i_number", number), ("i_size", 100), ("i_mode", 0o100_644)];
        let inode = self.add("inode", &members);
        self.add("vnode", &[("v_mount", mount.into()), ("v_type", kind), ("v_data", inode.into())])
    }

    /// Has the name cache know a file's name.
    pub fn name(&mut self, vnode: u64, directory: u64, name: &str) -> u64 {
        let members = [("nc_dvp", directory.into()), ("n_un.nu_vp", vnode.into()), ("nc_nlen", name.len() as i128)];
        let entry = self.add("namecache", &members);
        self.set_text(entry, "namecache", "nc_name", name);
        self.set(vnode, "vnode", "v_cache_dst.tqh_first", entry);
        entry
    }

    /// A file with a name in a directory of UFS.
    pub fn add_file(&mut self, directory: u64, name: &str, number: i128) -> u64 {
        let vnode = self.add_vnode(self.mount, REGULAR, number);
        self.name(vnode, directory, name);
        vnode
    }

    /// A process that runs a program in the root directory and has no descriptor open: the address of its table.
    pub fn add_process(&mut self, pid: i128, command: &str, text: u64) -> (u64, u64) {
        let process = self.processes.add_process(pid, command, 0);
        let root = self.root.into();
        let table = self.add("fdescenttbl", &[("fdt_nfiles", DESCRIPTORS.into())]);
        let descriptors = self.add("filedesc", &[("fd_files", table.into())]);
        let current = self.add("pwd", &[("pwd_cdir", root), ("pwd_rdir", root)]);
        let directories = self.add("pwddesc", &[("pd_pwd.__ptr", current.into())]);
        for (member, at) in [("p_fd", descriptors), ("p_pd", directories), ("p_textvp", text)] {
            let of = self.processes.types.process;
            self.kernel().set(process, of, member, at);
        }
        (process, table)
    }

    /// Opens a file of a kind, for reading and writing, as a descriptor.
    pub fn open(&mut self, table: u64, number: u64, kind: i128, object: u64) -> u64 {
        let member = if kind == 1 { "f_vnode" } else { "f_data" };
        let members = [("f_flag", 3), ("f_count", 1), ("f_type", kind), (member, object.into()), ("f_offset", 40)];
        let file = self.add("file", &members);
        self.set(table, "fdescenttbl", &format!("fdt_ofiles[{number}].fde_file"), file);
        file
    }

    /// A socket of a domain.
    pub fn add_socket(&mut self, (family, domain): (i128, &str), [kind, protocol]: [i128; 2], pcb: u64) -> u64 {
        let name = self.kernel().string(domain);
        let domain = self.add("domain", &[("dom_family", family), ("dom_name", name.into())]);
        let protocol = self.add("protosw", &[("pr_protocol", protocol), ("pr_domain", domain.into())]);
        self.add("socket", &[("so_type", kind), ("so_proto", protocol.into()), ("so_pcb", pcb.into())])
    }
}
