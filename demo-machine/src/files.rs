//! Mounts, files with names in the name cache, and what processes have open.

use crate::kernel::Demo;
use crate::story::Process;

/// Values of `v_type` and `f_type`.
const REGULAR: i128 = 1;
const DIRECTORY: i128 = 2;
const CHARACTER: i128 = 4;
const DTYPE_VNODE: i128 = 1;
const DTYPE_SOCKET: i128 = 2;
const DTYPE_PIPE: i128 = 3;
/// The root of a file system (`VV_ROOT`).
const VV_ROOT: i128 = 1;
/// Flags of mounts: `MNT_LOCAL`, `MNT_ROOTFS`, `MNT_SOFTDEP`.
const MNT_LOCAL: i128 = 0x1000;
const MNT_ROOTFS: i128 = 0x4000;
const MNT_SOFTDEP: i128 = 0x20_0000;

impl Demo {
    pub fn mount_file_systems(&mut self) {
        let root = self.mount("ufs", "/dev/ada0p2", "/", 0, MNT_LOCAL | MNT_ROOTFS | MNT_SOFTDEP);
        let top = self.vnode(root, DIRECTORY, 2);
        self.set(top, "vnode", "v_vflag", VV_ROOT);
        self.set_variable("rootvnode", "", top);
        self.known.insert("/".to_owned(), top);
        let prison = self.variable("prison0");
        self.set(prison, "prison", "pr_root", top);
        let directory = self.file("/dev", DIRECTORY);
        let devices = self.mount("devfs", "devfs", "/dev", directory, MNT_LOCAL);
        for (number, name) in
            [(0x16, "null"), (0x30, "pts/0"), (0x31, "ttyv0"), (0x5d, "ada0p2"), (0x5e, "ada0p3"), (0x5f, "ada0p4")]
        {
            let device = self.add("cdev_priv", &[("cdp_inode", number)]);
            self.set_text(device, "cdev_priv", "cdp_c.si_name", name);
            let entry =
                self.add("devfs_dirent", &[("de_cdp", device.into()), ("de_inode", number), ("de_mode", 0o666)]);
            let vnode = self.add(
                "vnode",
                &[
                    ("v_type", CHARACTER),
                    ("v_mount", devices.into()),
                    ("v_rdev", device.into()),
                    ("v_data", entry.into()),
                ],
            );
            self.known.insert(format!("/dev/{name}"), vnode);
        }
        let var = self.file("/var", DIRECTORY);
        let mount = self.mount("ufs", "/dev/ada0p4", "/var", var, MNT_LOCAL | MNT_SOFTDEP);
        let top = self.vnode(mount, DIRECTORY, 2);
        self.set(top, "vnode", "v_vflag", VV_ROOT);
        // What is below it is in it.
        self.known.insert("/var".to_owned(), top);
        let jail = self.file("/jails/www", DIRECTORY);
        self.mount("nullfs", "/usr/jails/www", "/jails/www", jail, MNT_LOCAL);
        let swap = self.add(
            "swdevt",
            &[
                ("sw_nblks", (crate::crash::DEVICE / 4096).into()),
                ("sw_used", 37),
                ("sw_dev", 0x5e),
                ("sw_vp", self.known["/dev/ada0p3"].into()),
            ],
        );
        let list = self.variable("swtailq");
        self.push(list, true, ("swdevt", "sw_list"), swap);
        self.set_variable("nsw_cluster_max", "", 32);
    }

    fn mount(&mut self, kind: &str, from: &str, on: &str, covered: u64, flags: i128) -> u64 {
        let configuration = self.allocate("vfsconf");
        self.set_text(configuration, "vfsconf", "vfc_name", kind);
        let number = self.known.len() as i128;
        let mount = self.add(
            "mount",
            &[
                ("mnt_vfc", configuration.into()),
                ("mnt_vnodecovered", covered.into()),
                ("mnt_flag", flags),
                ("mnt_nvnodelistsize", 1200),
                ("mnt_stat.f_fsid.val[0]", 0x6702_0000 + number),
                ("mnt_stat.f_fsid.val[1]", 0x71),
                ("mnt_stat.f_bsize", 4096),
                ("mnt_stat.f_syncwrites", 120),
                ("mnt_stat.f_asyncwrites", 4711),
                ("mnt_stat.f_syncreads", 902),
                ("mnt_stat.f_asyncreads", 31),
            ],
        );
        for (member, text) in [("f_fstypename", kind), ("f_mntfromname", from), ("f_mntonname", on)] {
            self.set_text(mount, "mount", &format!("mnt_stat.{member}"), text);
        }
        let device = self.add("cdev_priv", &[("cdp_inode", 0x5a + number)]);
        self.set_text(device, "cdev_priv", "cdp_c.si_name", from.trim_start_matches("/dev/"));
        let ufs = self.add("ufsmount", &[("um_mountp", mount.into()), ("um_dev", device.into())]);
        if kind == "ufs" {
            self.set(mount, "mount", "mnt_data", ufs);
        }
        let list = self.variable("mountlist");
        self.push(list, true, ("mount", "mnt_list"), mount);
        self.known.insert(format!("mount {on}"), mount);
        self.known.insert(format!("ufs {mount:x}"), ufs);
        mount
    }

    fn vnode(&mut self, mount: u64, kind: i128, number: i128) -> u64 {
        let ufs = self.known[&format!("ufs {mount:x}")];
        let mode = if kind == DIRECTORY { 0o40_755 } else { 0o100_644 };
        let members = [("i_ump", ufs.into()), ("i_number", number), ("i_size", 512 * number), ("i_mode", mode)];
        let inode = self.add("inode", &members);
        let vnode = self.add("vnode", &[("v_mount", mount.into()), ("v_type", kind), ("v_data", inode.into())]);
        self.set(inode, "inode", "i_vnode", vnode);
        vnode
    }

    /// The vnode of a path of the file systems of disks: all of it is in the name cache.
    pub fn file(&mut self, path: &str, kind: i128) -> u64 {
        if let Some(known) = self.known.get(path) {
            return *known;
        }
        let (directory, name) = path.rsplit_once('/').expect("a path");
        let directory = self.file(if directory.is_empty() { "/" } else { directory }, DIRECTORY);
        let mount = if path.starts_with("/var/") { "mount /var" } else { "mount /" };
        let (mount, number) = (self.known[mount], 0x100 + self.known.len() as i128);
        let vnode = self.vnode(mount, kind, number);
        let members = [("nc_dvp", directory.into()), ("n_un.nu_vp", vnode.into()), ("nc_nlen", name.len() as i128)];
        let entry = self.add("namecache", &members);
        self.set_text(entry, "namecache", "nc_name", name);
        let names = self.at(vnode, "vnode", "v_cache_dst");
        self.push(names, true, ("namecache", "nc_dst"), entry);
        self.set(vnode, "vnode", "v_cache_dd", entry);
        self.known.insert(path.to_owned(), vnode);
        vnode
    }

    /// Opens what a program has open.
    pub fn open_files(&mut self, address: u64, process: &Process) {
        let root = self.known["/"];
        let table = self.add("fdescenttbl", &[("fdt_nfiles", 16)]);
        let descriptors = self.add("filedesc", &[("fd_files", table.into()), ("fd_refcnt", 1)]);
        let current = self.add("pwd", &[("pwd_cdir", root.into()), ("pwd_rdir", root.into())]);
        let directories = self.add("pwddesc", &[("pd_pwd.__ptr", current.into())]);
        let program = self.file(program(process), REGULAR);
        for (member, at) in [("p_fd", descriptors), ("p_pd", directories), ("p_textvp", program)] {
            self.set(address, "proc", member, at);
        }
        let terminal = process.terminal.map_or("null", |(terminal, _)| terminal);
        let device = self.known[&format!("/dev/{terminal}")];
        for number in 0..3 {
            self.open(table, number, (DTYPE_VNODE, "f_vnode"), device);
        }
        match process.command {
            "syslogd" => {
                let log = self.known["socket /var/run/log"];
                self.open(table, 3, (DTYPE_SOCKET, "f_data"), log);
                for (number, path) in [(4, "/var/log/messages"), (5, "/var/log/auth.log"), (6, "/var/log/cron")] {
                    let file = self.file(path, REGULAR);
                    self.open(table, number, (DTYPE_VNODE, "f_vnode"), file);
                }
            }
            "cron" => {
                let file = self.file("/var/run/cron.pid", REGULAR);
                self.open(table, 3, (DTYPE_VNODE, "f_vnode"), file);
            }
            "sshd-session" => {
                let (one, other) = (self.allocate("pipe"), self.allocate("pipe"));
                self.set_all(one, "pipe", &[("pipe_peer", other.into()), ("pipe_buffer.size", 16_384)]);
                self.open(table, 5, (DTYPE_PIPE, "f_data"), one);
            }
            _ => {}
        }
        let sockets: Vec<u64> = self
            .known
            .range(format!("{}/", process.command)..)
            .map_while(|(name, at)| name.starts_with(&format!("{}/", process.command)).then_some(*at))
            .collect();
        for (number, socket) in (8..).zip(sockets) {
            self.open(table, number, (DTYPE_SOCKET, "f_data"), socket);
        }
    }

    fn open(&mut self, table: u64, number: u64, (kind, member): (i128, &str), object: u64) {
        let members = [("f_flag", 3), ("f_count", 1), ("f_type", kind), (member, object.into()), ("f_offset", 0)];
        let file = self.add("file", &members);
        self.set(table, "fdescenttbl", &format!("fdt_ofiles[{number}].fde_file"), file);
    }
}

/// The file of a process's program.
pub fn program(process: &Process) -> &'static str {
    match process.command {
        "init" => "/sbin/init",
        "devd" => "/sbin/devd",
        "syslogd" => "/usr/sbin/syslogd",
        "ntpd" => "/usr/sbin/ntpd",
        "sshd" => "/usr/sbin/sshd",
        "sshd-session" => "/usr/libexec/sshd-session",
        "cron" => "/usr/sbin/cron",
        "nginx" => "/usr/local/sbin/nginx",
        "getty" => "/usr/libexec/getty",
        "sh" => "/bin/sh",
        "democtl" => "/usr/local/sbin/democtl",
        other => panic!("no program is known of {other}"),
    }
}
