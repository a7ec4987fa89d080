//! What the kernel tells of a process.
//!
//! Sources: `struct proc` in `sys/sys/proc.h`, `fill_kinfo_proc_only()` in `sys/kern/kern_proc.c`, `struct vmspace` in
//! `sys/vm/vm_map.h`.

use super::info::{P_JAILED, P_TRACED, ProcessInfo, ProcessState, Signals, Sizes, ThreadInfo};
use super::members::{first_signals, int, number, number32, target, whole};
use super::reader::Reader;
use super::times::{CpuTime, RawTime, seconds_since};
use super::usage::{sum, usage_of};
use crate::error::Result;
use crate::kernel::{Object, Process};
use crate::units::Hex;
use std::rc::Rc;

impl<'a> Reader<'a> {
    /// What the kernel tells of a process.
    pub fn process(&mut self, process: &Process) -> ProcessInfo {
        let found = self.typed.structure_at("proc", process.address).map(|object| whole(&object));
        let what = || format!("the process at {}", Hex(process.address));
        let Some(object) = self.keep(what, found) else { return ProcessInfo::default() };
        let threads: Vec<_> = process.threads.iter().filter_map(|thread| self.thread(thread)).collect();
        let mut info = self.own_members(&object, process.pid);
        info.sizes = self.sizes(&object, &info, &threads, process.pid);
        let structures = threads.iter().map(|(_, structure)| structure);
        info.time = self.process_time(&object, structures.clone());
        let own_usage = object.member("p_ru").ok().map(|usage| usage_of(&usage));
        info.usage = own_usage.map(|own| threads.iter().filter_map(|(thread, _)| thread.usage).fold(own, sum));
        let faults = threads.iter().map(|(thread, _)| thread.copy_faults);
        info.copy_faults = faults.sum();
        info.arguments = self.command_line(&object, &info, process.pid);
        info.threads = threads.into_iter().map(|(thread, structure)| self.with_locks(thread, &structure)).collect();
        info
    }

    fn own_members(&mut self, process: &Object<'a>, pid: i32) -> ProcessInfo {
        let credentials = self.credentials_of(process);
        let is_jailed = credentials.as_ref().is_some_and(|credentials| credentials.is_jailed);
        let flags = number32(process, "p_flag");
        let stats = target(process, "p_stats");
        let stats = self.keep(|| format!("the statistics of process {pid}"), stats).flatten();
        let actions = target(process, "p_sigacts");
        let actions = self.keep(|| format!("the signal actions of process {pid}"), actions).flatten();
        ProcessInfo {
            state: state(process),
            flags: flags.map(|flags| if is_jailed { flags | P_JAILED } else { flags }),
            flags2: number32(process, "p_flag2"),
            parent: self.parent(process),
            tracer: self.tracer(process, flags, pid),
            job: self.job_of(process, flags),
            credentials,
            nice: int(process, "p_nice"),
            holds: number32(process, "p_lock"),
            emulation: self.emulation(process, pid),
            start: stats.and_then(|stats| self.clock.time_of(&stats.member("p_start").ok()?)),
            residency: seconds_since(&self.clock, process, "p_swtick"),
            signals: Signals {
                pending: first_signals(process, "p_sigqueue.sq_signals"),
                ignored: actions.as_ref().and_then(|actions| first_signals(actions, "ps_sigignore")),
                caught: actions.as_ref().and_then(|actions| first_signals(actions, "ps_sigcatch")),
            },
            exit_status: exit_status(process),
            accounting_flags: number32(process, "p_acflag"),
            trace_points: number32(process, "p_traceflag"),
            fib: int(process, "p_fibnum"),
            thread_count: int(process, "p_numthreads"),
            vmspace: number(process, "p_vmspace"),
            ..ProcessInfo::default()
        }
    }

    /// The parent, whoever traces it: before FreeBSD 12 the member is 0 unless somebody does.
    fn parent(&self, process: &Object<'a>) -> Option<i32> {
        match (number(process, "p_pptr")?, int(process, "p_oppid")) {
            (0, _) => Some(0),
            (_, Some(pid)) if pid != 0 => Some(pid),
            _ => int(&process.member("p_pptr").and_then(|parent| parent.dereference()).ok()?, "p_pid"),
        }
    }

    fn tracer(&mut self, process: &Object<'a>, flags: Option<u32>, pid: i32) -> Option<i32> {
        if flags? & P_TRACED == 0 {
            return Some(0);
        }
        let tracer = process.member("p_pptr").and_then(|tracer| tracer.dereference()?.member("p_pid")?.signed());
        let tracer = self.keep(|| format!("the tracer of process {pid}"), tracer)?;
        i32::try_from(tracer).ok()
    }

    fn emulation(&mut self, process: &Object<'a>, pid: i32) -> Option<Rc<[u8]>> {
        let vector = process.member("p_sysent").and_then(|vector| vector.follow());
        let vector = self.keep(|| format!("the system call vector of process {pid}"), vector).flatten()?;
        self.name(&vector.member("sv_name").ok()?)
    }

    fn sizes(
        &mut self,
        process: &Object<'a>,
        info: &ProcessInfo,
        threads: &[(ThreadInfo, Object<'a>)],
        pid: i32,
    ) -> Sizes {
        let has_none = info.state != Some(ProcessState::Normal) || info.vmspace == Some(0);
        if has_none && info.state.is_some() {
            let none = Some(0);
            return Sizes {
                virtual_bytes: none,
                resident_pages: none,
                text_pages: none,
                data_pages: none,
                stack_pages: none,
            };
        }
        let vmspace = target(process, "p_vmspace");
        let Some(vmspace) = self.keep(|| format!("the address space of process {pid}"), vmspace).flatten() else {
            return Sizes::default();
        };
        let stacks: u64 = threads.iter().filter_map(|(thread, _)| thread.stack_pages).sum();
        let resident = number(&vmspace, "vm_pmap.pm_stats.resident_count");
        Sizes {
            virtual_bytes: number(&vmspace, "vm_map.size"),
            resident_pages: resident.and_then(|pages| pages.checked_add(stacks)),
            text_pages: number(&vmspace, "vm_tsize"),
            data_pages: number(&vmspace, "vm_dsize"),
            stack_pages: number(&vmspace, "vm_ssize"),
        }
    }

    /// CPU time of the process, with what its threads have not handed over yet.
    fn process_time<'t>(
        &self,
        process: &Object<'a>,
        mut threads: impl Iterator<Item = &'t Object<'a>>,
    ) -> Option<CpuTime>
    where
        'a: 't,
    {
        let own: Result<RawTime> = process.member("p_rux").and_then(|counts| RawTime::new(&counts));
        let all = threads.try_fold(own.ok()?, |sum, thread| sum.with_pending(thread));
        self.clock.cpu_time(&all.ok()?)
    }
}

fn state(process: &Object<'_>) -> Option<ProcessState> {
    match number(process, "p_state")? {
        0 => Some(ProcessState::New),
        1 => Some(ProcessState::Normal),
        2 => Some(ProcessState::Zombie),
        _ => None,
    }
}

/// As wait(2) tells it (`KW_EXITCODE`).
fn exit_status(process: &Object<'_>) -> Option<u32> {
    let (code, signal) = (number32(process, "p_xexit")?, number32(process, "p_xsig")?);
    Some((code & 0xff) << 8 | signal)
}
