//! Counters of virtual memory and of the system's activity, as `vmstat -s` shows them.
//!
//! Sources: `struct vmmeter` in `sys/sys/vmmeter.h`, `sys/vm/vm_meter.c`, `struct vm_domain` in `sys/vm/vm_pagequeue.h`,
//! `sysctl_nchstats()` in `sys/kern/vfs_cache.c`, `dosum()` in `usr.bin/vmstat/vmstat.c`.

use super::physical::domain_count;
use crate::error::Result;
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, right};
use serde::{Serialize, Serializer};

/// Queues of pages (`sys/vm/vm_page.h`).
const PQ_INACTIVE: u64 = 0;
const PQ_ACTIVE: u64 = 1;
const PQ_LAUNDRY: u64 = 2;
const PQ_UNSWAPPABLE: u64 = 3;

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmCounter {
    /// What vmstat(8) calls it with `--libxo`, with underscores.
    pub name: &'static str,
    /// What vmstat(8) says of it.
    pub description: &'static str,
    /// Its value, if that is known.
    pub value: Option<u64>,
}

/// How often names were found in the name cache, since the kernel started (`vfs.cache.nchstats`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct NameCacheCounters {
    /// Lookups that found a file.
    pub positive_hits: Option<u64>,
    /// Lookups that found that there is no such file.
    pub negative_hits: Option<u64>,
    /// Entries that had to be dropped when they were found.
    pub deletions: Option<u64>,
    /// Entries that were found and were no longer of that file.
    pub false_hits: Option<u64>,
    /// Lookups that found nothing.
    pub misses: Option<u64>,
    /// Names that were too long to be kept.
    pub too_long: Option<u64>,
    /// Lookups that were answered by what a directory keeps of itself.
    pub per_directory_hits: Option<u64>,
}

impl NameCacheCounters {
    /// All lookups.
    pub fn total(&self) -> Option<u64> {
        let Self { positive_hits, negative_hits, deletions, false_hits, misses, too_long, .. } = *self;
        let parts = [positive_hits, negative_hits, deletions, false_hits, misses, too_long];
        parts.into_iter().try_fold(0_u64, |sum, part| Some(sum.wrapping_add(part?)))
    }

    /// The lines of vmstat(8) about them, in percent of all lookups, rounded down.
    fn percentages(&self) -> [String; 2] {
        let percent = |part: Option<u64>| match (part, self.total()) {
            (Some(_), Some(0)) => "0%".to_owned(),
            (Some(part), Some(total)) => format!("{}%", u128::from(part) * 100 / u128::from(total)),
            _ => "-".to_owned(),
        };
        let Self { positive_hits, negative_hits, per_directory_hits, deletions, false_hits, too_long, .. } = *self;
        let [positive, negative, directory] = [positive_hits, negative_hits, per_directory_hits].map(percent);
        let [deletions, false_hits, too_long] = [deletions, false_hits, too_long].map(percent);
        [
            format!("cache hits ({positive} pos + {negative} neg) system {directory} per-directory"),
            format!("deletions {deletions}, falsehits {false_hits}, toolong {too_long}"),
        ]
    }
}

/// What the kernel counted since it started, and how many pages are in which state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmCounters {
    /// The counters, in the order of vmstat(8).
    pub counters: Vec<VmCounter>,
    /// Those of the name cache.
    pub name_cache: NameCacheCounters,
    /// What could not be read.
    pub warnings: Vec<String>,
}

/// Where the value of a counter is.
#[derive(Clone, Copy)]
enum Place {
    /// In a counter of `vm_cnt`.
    Counter(&'static str),
    /// In a counter of `vm_cnt`, and in all queues of pages.
    PagesExamined,
    /// In queues of pages: how many are in these.
    Queues(&'static [u64]),
    /// In the domains.
    FreePages,
    /// In a variable.
    Variable(&'static str),
    /// In a number of `vm_cnt`.
    Number(&'static str),
}

/// Every counter: its name, its description, and where it is.
const COUNTERS: [(&str, &str, Place); 43] = [
    ("context_switches", "cpu context switches", Place::Counter("v_swtch")),
    ("interrupts", "device interrupts", Place::Counter("v_intr")),
    ("software_interrupts", "software interrupts", Place::Counter("v_soft")),
    ("traps", "traps", Place::Counter("v_trap")),
    ("system_calls", "system calls", Place::Counter("v_syscall")),
    ("kernel_threads", "kernel threads created", Place::Counter("v_kthreads")),
    ("forks", "fork() calls", Place::Counter("v_forks")),
    ("vforks", "vfork() calls", Place::Counter("v_vforks")),
    ("rforks", "rfork() calls", Place::Counter("v_rforks")),
    ("swap_ins", "swap pager pageins", Place::Counter("v_swapin")),
    ("swap_in_pages", "swap pager pages paged in", Place::Counter("v_swappgsin")),
    ("swap_outs", "swap pager pageouts", Place::Counter("v_swapout")),
    ("swap_out_pages", "swap pager pages paged out", Place::Counter("v_swappgsout")),
    ("vnode_page_ins", "vnode pager pageins", Place::Counter("v_vnodein")),
    ("vnode_page_in_pages", "vnode pager pages paged in", Place::Counter("v_vnodepgsin")),
    ("vnode_page_outs", "vnode pager pageouts", Place::Counter("v_vnodeout")),
    ("vnode_page_out_pages", "vnode pager pages paged out", Place::Counter("v_vnodepgsout")),
    ("page_daemon_wakeups", "page daemon wakeups", Place::Counter("v_pdwakeups")),
    ("page_daemon_pages", "pages examined by the page daemon", Place::PagesExamined),
    ("page_reclamation_shortfalls", "clean page reclamation shortfalls", Place::Counter("v_pdshortfalls")),
    ("reactivated", "pages reactivated by the page daemon", Place::Counter("v_reactivated")),
    ("copy_on_write_faults", "copy-on-write faults", Place::Counter("v_cow_faults")),
    ("copy_on_write_optimized_faults", "copy-on-write optimized faults", Place::Counter("v_cow_optim")),
    ("zero_fill_pages", "zero fill pages zeroed", Place::Counter("v_zfod")),
    ("zero_fill_prezeroed", "zero fill pages prezeroed", Place::Counter("v_ozfod")),
    ("intransit_blocking", "intransit blocking page faults", Place::Counter("v_intrans")),
    ("total_faults", "total VM faults taken", Place::Counter("v_vm_faults")),
    ("faults_requiring_io", "page faults requiring I/O", Place::Counter("v_io_faults")),
    ("faults_from_thread_creation", "pages affected by kernel thread creation", Place::Counter("v_kthreadpages")),
    ("faults_from_fork", "pages affected by fork()", Place::Counter("v_forkpages")),
    ("faults_from_vfork", "pages affected by vfork()", Place::Counter("v_vforkpages")),
    ("pages_rfork", "pages affected by rfork()", Place::Counter("v_rforkpages")),
    ("pages_freed", "pages freed", Place::Counter("v_tfree")),
    ("pages_freed_by_daemon", "pages freed by daemon", Place::Counter("v_dfree")),
    ("pages_freed_on_exit", "pages freed by exiting processes", Place::Counter("v_pfree")),
    ("active_pages", "pages active", Place::Queues(&[PQ_ACTIVE])),
    ("inactive_pages", "pages inactive", Place::Queues(&[PQ_INACTIVE])),
    ("laundry_pages", "pages in the laundry queue", Place::Queues(&[PQ_LAUNDRY, PQ_UNSWAPPABLE])),
    ("wired_pages", "pages wired down", Place::Counter("v_wire_count")),
    ("virtual_user_wired_pages", "virtual user pages wired down", Place::Variable("vm_user_wire_count")),
    ("nofree_pages", "permanently allocated pages", Place::Counter("v_nofree_count")),
    ("free_pages", "pages free", Place::FreePages),
    ("page_size", "bytes per page", Place::Number("v_page_size")),
];

impl VmCounters {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack `vm_cnt`.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let totals = typed.variable("vm_cnt")?;
        let mut reader = Reader::new(typed);
        let domains = read_domains(&mut reader);
        let mut vm = Vm { reader, totals, domains };
        let counters = COUNTERS.map(|(name, description, place)| {
            let value = vm.value(name, place);
            VmCounter { name, description, value }
        });
        let name_cache = read_name_cache(&mut vm.reader);
        Ok(Self { counters: counters.to_vec(), name_cache, warnings: vm.reader.into_warnings() })
    }

    /// The value of the counter of a name, if that is known.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.counters.iter().find(|counter| counter.name == name)?.value
    }
}

impl Topic for VmCounters {
    fn tables(&self) -> Vec<Table> {
        let row = |counter: &VmCounter| vec![cell(counter.value), counter.description.to_owned()];
        let mut rows: Vec<_> = self.counters.iter().map(row).collect();
        rows.push(vec![cell(self.name_cache.total()), "total name lookups".to_owned()]);
        rows.extend(self.name_cache.percentages().map(|text| vec![String::new(), text]));
        vec![Table::new([right(""), left("")], rows)]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// The counters in JSON, each by its name.
#[derive(Serialize)]
struct CountersDocument<'a> {
    #[serde(flatten)]
    counters: ByName<'a>,
    name_cache: NameCacheDocument<'a>,
}

struct ByName<'a>(&'a [VmCounter]);

#[derive(Serialize)]
struct NameCacheDocument<'a> {
    lookup_count: Option<u64>,
    #[serde(flatten)]
    counters: &'a NameCacheCounters,
}

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|counter| (counter.name, counter.value)))
    }
}

impl Serialize for VmCounters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { counters, name_cache, .. } = self;
        let name_cache = NameCacheDocument { lookup_count: name_cache.total(), counters: name_cache };
        CountersDocument { counters: ByName(counters), name_cache }.serialize(serializer)
    }
}

/// What counters are read from.
struct Vm<'a> {
    reader: Reader<'a>,
    /// `vm_cnt`.
    totals: Object<'a>,
    /// The domains of memory; `None` where they are not known.
    domains: Option<Vec<Object<'a>>>,
}

impl Vm<'_> {
    fn value(&mut self, name: &str, place: Place) -> Option<u64> {
        match place {
            Place::Counter(member) => self.counter(member),
            Place::PagesExamined => {
                let counted = self.counter("v_pdpages")?;
                let queues = [PQ_INACTIVE, PQ_ACTIVE, PQ_LAUNDRY, PQ_UNSWAPPABLE];
                Some(counted.wrapping_add(self.in_queues(name, &queues, "pq_pdpages")?))
            }
            Place::Queues(queues) => self.in_queues(name, queues, "pq_cnt"),
            Place::FreePages => self.in_domains(name, |domain| domain.member("vmd_free_count")?.unsigned()),
            Place::Variable(variable) => self.reader.variable(variable),
            Place::Number(member) => self.reader.number(&"vm_cnt", &self.totals, member),
        }
    }

    fn counter(&mut self, member: &str) -> Option<u64> {
        self.reader.counter(&format_args!("vm_cnt.{member}"), self.totals.member(member))
    }

    /// The sum of a number of each domain.
    fn in_domains(&mut self, name: &str, read: impl Fn(&Object<'_>) -> Result<u64>) -> Option<u64> {
        let sum = |domains: &Vec<Object<'_>>| {
            domains.iter().try_fold(0_u64, |sum, domain| Ok(sum.wrapping_add(read(domain)?)))
        };
        let sum = self.domains.as_ref().map(sum)?;
        self.reader.keep(|| name.to_owned(), sum)
    }

    /// The sum of a number of these queues of each domain.
    fn in_queues(&mut self, name: &str, queues: &[u64], member: &str) -> Option<u64> {
        self.in_domains(name, |domain| {
            let all = domain.member("vmd_pagequeues")?;
            let number = |queue: &u64| all.index(*queue)?.member(member)?.unsigned();
            queues.iter().try_fold(0_u64, |sum, queue| Ok(sum.wrapping_add(number(queue)?)))
        })
    }
}

/// The domains of memory (`vm_dom`), as many as there are (`vm_ndomains`).
fn read_domains<'a>(reader: &mut Reader<'a>) -> Option<Vec<Object<'a>>> {
    let count = reader.keep(|| "the number of domains".to_owned(), domain_count(reader.typed))?;
    let array = reader.typed.variable("vm_dom").ok()?;
    let room = array.count().unwrap_or(count);
    if count > room {
        reader.warn(|| format!("vm_ndomains is {count}: vm_dom has {room} domains"));
        return None;
    }
    let domains = (0..count).map(|index| array.index(index)).collect();
    reader.keep(|| "vm_dom".to_owned(), domains)
}

fn read_name_cache(reader: &mut Reader<'_>) -> NameCacheCounters {
    let mut counter = |name: &str| {
        let variable = reader.typed.variable(name);
        reader.counter(&name, variable)
    };
    let positive_hits = counter("numposhits");
    let negative_hits = counter("numneghits");
    let mut both = |one, other| Some(counter(one)?.wrapping_add(counter(other)?));
    let deletions = both("numposzaps", "numnegzaps");
    let misses = both("nummisszap", "nummiss");
    let others = reader.typed.variable("nchstats").ok();
    let mut number = |member: &str| reader.number(&"nchstats", others.as_ref()?, member);
    NameCacheCounters {
        positive_hits,
        negative_hits,
        deletions,
        misses,
        false_hits: number("ncs_falsehits"),
        too_long: number("ncs_long"),
        per_directory_hits: number("ncs_pass2"),
    }
}
