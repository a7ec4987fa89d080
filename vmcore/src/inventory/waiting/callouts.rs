//! Callouts: functions that each CPU's callout thread is to call at a time, as `kern.callout_stat` counts them.
//!
//! Sources: timeout(9), `struct callout_cpu`, `callout_process()` and `sysctl_kern_callout_stat()` in
//! `sys/kern/kern_timeout.c`, `sys/sys/_callout.h`, `sys/sys/callout.h`.

use super::callout_counts::CalloutCounts;
use super::per_cpu::variable_of_cpu;
use super::uptime::{seconds, uptime};
use crate::bounds::saturating_usize;
use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::{Kernel, Object};
use crate::kinfo::Lock;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::{Name, column};
use crate::units::Hex;
use serde::Serialize;
use std::collections::HashMap;

/// More callouts than are read in reasonable time and memory.
const MAX_CALLOUTS: usize = 1_000_000;
/// More lists than a callout wheel has.
const MAX_BUCKETS: u64 = 1 << 18;
/// The bits of `c_flags` and `c_iflags`, which share their numbers.
const FLAGS: [&str; 9] =
    ["trylock", "active", "pending", "mpsafe", "returnunlocked", "sharedlock", "dfrmigration", "processed", "direct"];

/// The lock that is taken before a callout's function is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CalloutLock {
    /// Where it is.
    pub address: Hex,
    /// Its name.
    pub name: Option<Name>,
    /// Its class, as the kernel calls it.
    pub class: Option<Name>,
}

/// A callout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Callout {
    /// The CPU that is to call its function.
    pub cpu: u32,
    /// Where its `struct callout` is.
    pub address: Hex,
    /// Whether it is due, and waits for the CPU's callout thread.
    pub is_expired: bool,
    /// In how many seconds it is due, as of the kernel's time; less than 0 if it should have been called before.
    pub due_seconds: Option<f64>,
    /// By how many seconds it may come later.
    pub precision_seconds: Option<f64>,
    /// Its function: symbol and offset.
    pub function: Option<Name>,
    /// Where its function is.
    pub function_address: Option<Hex>,
    /// What its function is called with.
    pub argument: Option<Hex>,
    /// Its lock, if it has one.
    pub lock: Option<CalloutLock>,
    /// Its flags, `CALLOUT_*` in lower case.
    pub flags: Option<Vec<&'static str>>,
}

/// All callouts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Callouts {
    /// How long the kernel runs, which due times are relative to.
    pub since_boot_seconds: Option<f64>,
    /// What `kern.callout_stat` tells of those in wheels.
    pub counts: CalloutCounts,
    /// The callouts.
    pub scheduled: Vec<Callout>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Callouts {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's CPUs, or the size of callout wheels, cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let mut reader = Reader::new(typed);
        let buckets = typed.variable("callwheelsize")?.unsigned()?;
        if !buckets.is_power_of_two() || buckets > MAX_BUCKETS {
            return Err(Error::Format(format!("callwheelsize is {buckets}, which is no size of a callout wheel")));
        }
        let now = reader.keep(|| "the time since boot".to_owned(), uptime(typed));
        let now = now.and_then(|now| i64::try_from(now).ok());
        let mut all = All {
            reader,
            kernel: source.kernel,
            now,
            functions: HashMap::new(),
            locks: HashMap::new(),
            callouts: Vec::new(),
            left: MAX_CALLOUTS,
            counts: CalloutCounts::default(),
        };
        for cpu in typed.cpus()? {
            let read = all.read_cpu(cpu, buckets);
            all.reader.keep(|| format!("the callouts of CPU {cpu}"), read);
        }
        let All { reader, callouts, counts, .. } = all;
        Ok(Self { since_boot_seconds: now.map(seconds), counts, scheduled: callouts, warnings: reader.into_warnings() })
    }
}

/// All callouts as they are being read.
struct All<'a> {
    reader: Reader<'a>,
    kernel: &'a Kernel,
    /// The kernel's time since boot, in units of 2^-32 seconds.
    now: Option<i64>,
    /// Names of functions by their addresses.
    functions: HashMap<u64, Option<Name>>,
    locks: HashMap<u64, CalloutLock>,
    callouts: Vec<Callout>,
    /// How many are read at most from now on.
    left: usize,
    counts: CalloutCounts,
}

impl<'a> All<'a> {
    fn read_cpu(&mut self, cpu: u32, buckets: u64) -> Result<()> {
        let wheel = variable_of_cpu(self.reader.typed, ("cc_cpu", "cc_cpu"), cpu)?.fetched()?;
        let expired = wheel.member("cc_expireq")?;
        let due = self.list(&format!("the list of expired callouts of CPU {cpu}"), &expired, "c_links.tqe");
        for callout in due {
            self.add(cpu, &callout, true);
        }
        self.counts.add_wheel(buckets);
        let first = wheel.member("cc_callwheel")?.index(0)?;
        for (bucket, bit_offset) in nonempty_buckets(&first, buckets)? {
            if self.left == 0 {
                self.reader.warn(|| format!("there are more than {MAX_CALLOUTS} callouts"));
                break;
            }
            let head = first.part(bit_offset, first.type_id(), None)?;
            let what = format!("list {bucket} of the callout wheel of CPU {cpu}");
            let callouts = self.list(&what, &head, "c_links.le");
            self.counts.add_bucket(callouts.len());
            for callout in callouts {
                self.add(cpu, &callout, false);
            }
        }
        Ok(())
    }

    fn list(&mut self, what: &str, head: &Object<'a>, link: &str) -> Vec<Object<'a>> {
        let callouts = self.reader.list(&what, head, link, self.left);
        let callouts = self.reader.keep(|| what.to_owned(), callouts).unwrap_or_default();
        self.left = self.left.saturating_sub(callouts.len());
        callouts
    }

    fn add(&mut self, cpu: u32, callout: &Object<'a>, is_expired: bool) {
        let address = callout.address();
        let what = format!("the callout at {}", Hex(address));
        let callout = callout.fetched();
        let Some(callout) = self.reader.keep(|| what.clone(), callout) else { return };
        let mut time = |member: &str| {
            let time = callout.member(member).and_then(|time| time.signed());
            self.reader.keep(|| format!("{member} of {what}"), time)
        };
        let (due, precision) = (time("c_time"), time("c_precision"));
        let left = due.zip(self.now).map(|(due, now)| due.saturating_sub(now));
        if let (false, Some(left), Some(precision)) = (is_expired, left, precision) {
            self.counts.add(left, precision);
        }
        let mut number = |member: &str| self.reader.number(&what, &callout, member);
        let [function, argument, lock] = ["c_func", "c_arg", "c_lock"].map(&mut number);
        let flags = number("c_flags").zip(number("c_iflags")).map(|(flags, internal)| words(flags | internal));
        let callout = Callout {
            cpu,
            address: Hex(address),
            is_expired,
            due_seconds: left.map(seconds),
            precision_seconds: precision.map(seconds),
            function: function.and_then(|function| self.function(function)),
            function_address: function.map(Hex),
            argument: argument.map(Hex),
            lock: lock.filter(|lock| *lock != 0).map(|lock| self.lock(lock)),
            flags,
        };
        self.callouts.push(callout);
    }

    fn function(&mut self, address: u64) -> Option<Name> {
        let kernel = self.kernel;
        self.functions.entry(address).or_insert_with(|| kernel.name_of(address).map(Name::from)).clone()
    }

    fn lock(&mut self, address: u64) -> CalloutLock {
        let typed = self.reader.typed;
        let read = || match typed.structure_at("lock_object", address) {
            Ok(object) => {
                let Lock { name, class, .. } = Lock::read(&object);
                CalloutLock { address: Hex(address), name, class }
            }
            Err(_) => CalloutLock { address: Hex(address), name: None, class: None },
        };
        self.locks.entry(address).or_insert_with(read).clone()
    }
}

/// The numbers of the lists of a callout wheel that have something, and where they are: in bits from the first one.
fn nonempty_buckets(first: &Object<'_>, count: u64) -> Result<Vec<(u64, u64)>> {
    let typed = first.typed();
    let size = first.size().filter(|size| *size == typed.memory.word_size() as u64);
    let size = size.ok_or_else(|| Error::Unsupported("lists of a callout wheel are no pointers".to_owned()))?;
    let heads = first.leading_bytes(size.saturating_mul(count))?;
    let heads = (0_u64..).zip(heads.chunks_exact(saturating_usize(size)));
    let nonempty = heads.filter(|(_, head)| head.iter().any(|byte| *byte != 0));
    Ok(nonempty.map(|(number, _)| (number, number.saturating_mul(size).saturating_mul(8))).collect())
}

/// The names of flags that are set.
fn words(flags: u64) -> Vec<&'static str> {
    FLAGS.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, name)| *name).collect()
}

impl Topic for Callouts {
    /// The callouts, and how many are due how soon.
    fn tables(&self) -> Vec<Table> {
        let columns = [
            right("CPU"),
            right("DUE"),
            right("PRECISION"),
            left("FUNCTION"),
            left("ARGUMENT"),
            left("LOCK"),
            left("FLAGS"),
        ];
        let callouts = Table::new(columns, self.scheduled.iter().map(row).collect()).captioned("Callouts");
        vec![callouts, self.counts.table()]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn row(callout: &Callout) -> Vec<String> {
    let time = |time: Option<f64>| cell(time.map(|time| format!("{time:.6}")));
    let function = callout.function.as_ref().map(|name| column(name.as_bytes()));
    let expired = callout.is_expired.then(|| "expired".to_owned());
    let flags = callout.flags.iter().flatten().map(|flag| (*flag).to_owned()).chain(expired);
    vec![
        callout.cpu.to_string(),
        time(callout.due_seconds),
        time(callout.precision_seconds),
        cell(function.or_else(|| callout.function_address.map(|address| address.to_string()))),
        cell(callout.argument),
        name_cell(callout.lock.as_ref().and_then(|lock| lock.name.as_ref())),
        flags.collect::<Vec<_>>().join(","),
    ]
}
