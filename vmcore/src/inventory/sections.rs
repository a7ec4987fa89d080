//! All sections: their names, and what reads each.

use super::devices::buffers::Buffers;
use super::devices::cam::Cam;
use super::devices::device_statistics::DeviceStatistics;
use super::devices::device_tree::DeviceTree;
use super::devices::geom::Geom;
use super::memory::free_pages::FreePages;
use super::memory::malloc_types::MallocTypes;
use super::memory::page_queues::PageQueues;
use super::memory::page_use::PageUse;
use super::memory::swap_devices::SwapDevices;
use super::memory::vm_counters::VmCounters;
use super::memory::zones::Zones;
use super::network::connections::Connections;
use super::network::interfaces::Interfaces;
use super::network::listen_queues::ListenQueues;
use super::network::mbufs::Mbufs;
use super::network::protocols::Protocols;
use super::network::routes::Routes;
use super::objects::credentials::AllCredentials;
use super::objects::ipc::Ipc;
use super::objects::jails::Jails;
use super::objects::kernel_environment::KernelEnvironment;
use super::objects::kernel_files::KernelFiles;
use super::objects::mounts::Mounts;
use super::objects::open_files::OpenFiles;
use super::objects::sysctl::{ChangedVariables, SysctlVariables};
use super::source::{Source, Topic};
use super::waiting::callouts::Callouts;
use super::waiting::deadlocks::Deadlocks;
use super::waiting::interrupts::Interrupts;
use super::waiting::run_queues::RunQueues;
use super::waiting::waits::Waits;
use crate::error::{Error, Result};
use crate::table::Table;
use serde::{Serialize, Serializer};

/// Of each section: its name, the type that reads it, what it is called in JSON, when it is in a report, and what it is.
macro_rules! sections {
    ($($name:literal $topic:ident $member:literal $when:ident $title:literal;)*) => {
        /// A section.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum SectionName {
            $(#[doc = $title] $topic,)*
        }

        /// What was read of a section.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum SectionData {
            $(#[doc = $title] $topic($topic),)*
        }

        impl SectionName {
            /// All of them, in the order of a report.
            pub const ALL: &'static [Self] = &[$(Self::$topic,)*];

            /// What it is called: by the command of FreeBSD's that shows it, where there is one.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$topic => $name,)* }
            }

            /// What it is called in JSON.
            pub const fn member(self) -> &'static str {
                match self { $(Self::$topic => $member,)* }
            }

            /// What it is.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$topic => $title,)* }
            }

            /// Whether a report has it only if it is asked for: it takes long, or is long.
            pub const fn is_on_request(self) -> bool {
                match self { $(Self::$topic => When::$when.is_on_request(),)* }
            }

            /// Reads it.
            ///
            /// # Errors
            ///
            /// Nothing of it can be read.
            pub fn read(self, source: &Source<'_>) -> Result<SectionData> {
                Ok(match self { $(Self::$topic => SectionData::$topic($topic::read(source)?),)* })
            }
        }

        impl SectionData {
            /// Which section it is.
            pub const fn name(&self) -> SectionName {
                match self { $(Self::$topic(_) => SectionName::$topic,)* }
            }

            fn topic(&self) -> &dyn Topic {
                match self { $(Self::$topic(topic) => topic,)* }
            }
        }
    };
}

/// When a report has a section.
#[derive(Clone, Copy)]
enum When {
    Always,
    OnRequest,
}

impl When {
    const fn is_on_request(self) -> bool {
        matches!(self, Self::OnRequest)
    }
}

sections! {
    "vmstat-s" VmCounters "vm_counters" Always "Counters of virtual memory";
    "vmstat-m" MallocTypes "malloc_types" Always "Kernel memory by type";
    "vmstat-z" Zones "zones" Always "Zones of kernel memory";
    "vmstat-i" Interrupts "interrupt_counters" Always "Interrupts";
    "swapinfo" SwapDevices "swap_devices" Always "Swap devices";
    "free-pages" FreePages "free_memory" Always "Free blocks of pages";
    "page-queues" PageQueues "page_queues" Always "Page queues and the page daemon";
    "page-use" PageUse "page_use" OnRequest "Pages by what they are used for";
    "deadlocks" Deadlocks "deadlocks" Always "Deadlocks and chains of locks";
    "waits" Waits "waits" Always "Threads that wait";
    "run-queues" RunQueues "run_queues" Always "CPUs and their run queues";
    "callouts" Callouts "callouts" OnRequest "Callouts";
    "fstat" OpenFiles "open_files" Always "Open files";
    "procstat-s" AllCredentials "process_credentials" Always "Credentials of processes";
    "mount" Mounts "mounts" Always "Mounted file systems";
    "jls" Jails "jails" Always "Jails";
    "ipcs" Ipc "system_v_ipc" Always "System V IPC";
    "kldstat" KernelFiles "kernel_files" Always "Files loaded into the kernel";
    "kenv" KernelEnvironment "kernel_environment" OnRequest "The kernel's environment";
    "sysctl" SysctlVariables "sysctl_variables" OnRequest "The kernel's variables";
    "sysctl-changed" ChangedVariables "changed_variables" Always "Variables that are not as in the kernel's file";
    "netstat-an" Connections "connections" Always "Connections and other sockets";
    "netstat-aL" ListenQueues "listen_queues" Always "Queues of sockets that listen";
    "netstat-m" Mbufs "mbufs" Always "Memory of the network";
    "netstat-i" Interfaces "interfaces" Always "Network interfaces";
    "netstat-r" Routes "routes" Always "Routes";
    "netstat-s" Protocols "protocol_counters" Always "Counters of protocols";
    "devinfo" DeviceTree "devices" Always "Devices and their resources";
    "geom" Geom "geom" Always "Disks and partitions";
    "cam" Cam "cam" Always "Devices of CAM";
    "buffers" Buffers "buffers" Always "Buffers of file systems";
    "iostat" DeviceStatistics "device_statistics" Always "Transfers of devices";
}

impl SectionData {
    /// It as people read it.
    pub fn tables(&self) -> Vec<Table> {
        self.topic().tables()
    }

    /// What could not be read, or cannot be so.
    pub fn warnings(&self) -> &[String] {
        self.topic().warnings()
    }
}

/// Why there is nothing of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSection {
    /// Why.
    pub why: String,
    /// Whether this kernel has no such thing, or its types do not tell of it: nothing is damaged.
    pub is_unsupported: bool,
}

impl From<Error> for NoSection {
    fn from(error: Error) -> Self {
        let is_unsupported = matches!(error, Error::Unsupported(_) | Error::NoTypes(_) | Error::NoSymbols);
        Self { why: error.to_string(), is_unsupported }
    }
}

/// Several sections, as many as can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Inventory(pub Vec<(SectionName, Result<SectionData, NoSection>)>);

impl Inventory {
    /// Reads them.
    pub fn read(source: &Source<'_>, names: &[SectionName]) -> Self {
        let section = |name: &SectionName| (*name, name.read(source).map_err(NoSection::from));
        Self(names.iter().map(section).collect())
    }

    /// What was read.
    pub fn data(&self) -> impl Iterator<Item = &SectionData> {
        self.0.iter().filter_map(|(_, read)| read.as_ref().ok())
    }

    /// Whether nothing of it is damaged.
    pub fn is_whole(&self) -> bool {
        let is_whole = |read: &Result<SectionData, NoSection>| match read {
            Ok(data) => data.warnings().is_empty(),
            Err(missing) => missing.is_unsupported,
        };
        self.0.iter().all(|(_, read)| is_whole(read))
    }
}

/// Each section is a member of an object.
impl Serialize for Inventory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.data().map(|data| (data.name().member(), data)))
    }
}
