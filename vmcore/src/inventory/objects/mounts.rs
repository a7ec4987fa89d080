//! File systems that are mounted, as `mount -v` shows them.
//!
//! Sources: `struct mount`, `struct statfs` and `MNTOPT_NAMES` in `sys/sys/mount.h`, `__vfs_statfs()` in `sys/kern/vfs_subr.c`,
//! `prmount()` in `sbin/mount/mount.c`.

use crate::error::Result;
use crate::inventory::fields::Fields;
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::{Hex, hex_digits};
use serde::Serialize;

/// More mounts than are plausible.
const MAX_MOUNTS: usize = 1 << 16;
/// Options by their bit of `mnt_flag`, in the order of mount(8).
const OPTIONS: [(u64, &str); 31] = [
    (0x40, "asynchronous"),
    (0x100, "NFS exported"),
    (0x1000, "local"),
    (0x1000_0000, "noatime"),
    (0x4, "noexec"),
    (0x8, "nosuid"),
    (0x40_0000, "nosymfollow"),
    (0x2000, "with quotas"),
    (0x1, "read-only"),
    (0x2, "synchronous"),
    (0x20, "union"),
    (0x4000_0000, "noclusterr"),
    (0x8000_0000, "noclusterw"),
    (0x10_0000, "suiddir"),
    (0x20_0000, "soft-updates"),
    (0x1_0000_0000, "journaled soft-updates"),
    (0x400_0000, "multilabel"),
    (0x800_0000, "acls"),
    (0x10, "nfsv4acls"),
    (0x200_0000, "gjournal"),
    (0x2_0000_0000, "automounted"),
    (0x4_0000_0000, "verified"),
    (0x8_0000_0000, "untrusted"),
    (0x10_0000_0000, "nocover"),
    (0x20_0000_0000, "emptydir"),
    (0x1_0000, "update"),
    (0x2_0000, "delexport"),
    (0x4_0000, "reload"),
    (0x8_0000, "force"),
    (0x100_0000, "snapshot"),
    (0x200_0000_0000, "named attributes"),
];

/// A file system that is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Where its `struct mount` is.
    pub address: Hex,
    /// What is mounted, `/dev/gpt/root`.
    pub mounted_from: Option<Name>,
    /// Where it is mounted.
    pub mount_point: Option<Name>,
    /// What kind of file system it is, `ufs`.
    pub file_system: Option<Name>,
    /// How it is mounted: the bits of `mnt_flag`.
    #[serde(rename = "flag_bits")]
    pub flags: Option<Hex>,
    /// The same as mount(8) calls it.
    pub options: Option<Vec<&'static str>>,
    /// The user that mounted it.
    pub user_id: Option<u64>,
    /// Its number, as the bytes in memory.
    #[serde(rename = "fsid")]
    pub file_system_id: Option<String>,
    /// Writes that were waited for, since it was mounted.
    #[serde(rename = "sync_write_count")]
    pub sync_writes: Option<u64>,
    /// Writes that were not.
    #[serde(rename = "async_write_count")]
    pub async_writes: Option<u64>,
    /// Reads that were waited for.
    #[serde(rename = "sync_read_count")]
    pub sync_reads: Option<u64>,
    /// Reads that were not.
    #[serde(rename = "async_read_count")]
    pub async_reads: Option<u64>,
    /// Vnodes of its files in memory.
    #[serde(rename = "vnode_count")]
    pub vnodes: Option<u64>,
}

/// All mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mounts {
    /// The mounts, in the order in which they were made.
    pub mounts: Vec<Mount>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Mounts {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the list, or its head cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let head = source.typed.variable("mountlist")?;
        let mut reader = Reader::new(source.typed);
        let list = reader.list(&"the list of mounts", &head, "mnt_list", MAX_MOUNTS)?;
        if list.is_empty() && reader.variable("rootvnode").is_some_and(|root| root != 0) {
            reader.warn(|| "the list of mounts is damaged: it lacks the root file system".to_owned());
        }
        let mounts = list.iter().map(|mount| read_mount(&mut reader, mount)).collect();
        Ok(Self { mounts, warnings: reader.into_warnings() })
    }
}

fn read_mount<'a>(reader: &mut Reader<'a>, mount: &Object<'a>) -> Mount {
    let mut fields = Fields::new(reader, "mount", mount);
    let kind = fields.object().member("mnt_vfc").and_then(|kind| kind.dereference()?.member("vfc_name")?.text());
    let id = fields.object().member("mnt_stat.f_fsid").and_then(|id| id.bytes());
    let flags = fields.number("mnt_flag");
    let named = |flags: u64| OPTIONS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    Mount {
        address: Hex(mount.address()),
        mounted_from: fields.text("mnt_stat.f_mntfromname"),
        mount_point: fields.text("mnt_stat.f_mntonname"),
        file_system: fields.keep("vfc_name", kind).map(Name::from),
        flags: flags.map(Hex),
        options: flags.map(named),
        user_id: fields.number("mnt_stat.f_owner"),
        file_system_id: fields.keep("mnt_stat.f_fsid", id).map(|bytes| hex_digits(&bytes)),
        sync_writes: fields.number("mnt_stat.f_syncwrites"),
        async_writes: fields.number("mnt_stat.f_asyncwrites"),
        sync_reads: fields.number("mnt_stat.f_syncreads"),
        async_reads: fields.number("mnt_stat.f_asyncreads"),
        vnodes: fields.number("mnt_nvnodelistsize"),
    }
}

impl Topic for Mounts {
    /// What `mount -v` has in a sentence.
    fn tables(&self) -> Vec<Table> {
        let columns = [
            left("FROM"),
            left("ON"),
            left("TYPE"),
            left("OPTIONS"),
            right("OWNER"),
            left("FSID"),
            right("WRITES"),
            right("ASYNC"),
            right("READS"),
            right("ASYNC"),
            right("VNODES"),
        ];
        vec![Table::new(columns, self.mounts.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn row(mount: &Mount) -> Vec<String> {
    let options = mount.options.as_ref().map(|options| options.join(", "));
    vec![
        name_cell(mount.mounted_from.as_ref()),
        name_cell(mount.mount_point.as_ref()),
        name_cell(mount.file_system.as_ref()),
        cell(options),
        cell(mount.user_id),
        cell(mount.file_system_id.as_ref()),
        cell(mount.sync_writes),
        cell(mount.async_writes),
        cell(mount.sync_reads),
        cell(mount.async_reads),
        cell(mount.vnodes),
    ]
}
