//! What a process is doing, and the letters that ps(1) shows of it.
//!
//! Sources: `fill_kinfo_thread()` in `sys/kern/kern_proc.c`, `state()` in `bin/ps/print.c`, `sys/sys/proc.h`.

use super::info::{
    P_CONTROLT, P_JAILED, P_PPWAIT, P_STOPPED, P_SYSTEM, P_TRACED, P_WEXIT, PRI_IDLE, PRI_REALTIME, ProcessInfo,
    ProcessState, TDF_SINTR, ThreadInfo,
};

/// Seconds after which a sleeping process counts as idle (`MAXSLP`, `sys/vm/vm_param.h`).
const IDLE_AFTER: i32 = 20;

/// What a thread's process counts as doing (`SIDL` to `SLOCK`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// It is being created (`SIDL`).
    Creating,
    /// It runs or is ready to (`SRUN`).
    Running,
    /// It sleeps (`SSLEEP`).
    Sleeping,
    /// It is stopped (`SSTOP`).
    Stopped,
    /// It has exited (`SZOMB`).
    Zombie,
    /// It waits for an interrupt (`SWAIT`).
    Waiting,
    /// It waits for a lock (`SLOCK`).
    Locked,
}

impl RunState {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Stopped => "stopped",
            Self::Zombie => "zombie",
            Self::Waiting => "waiting",
            Self::Locked => "locked",
        }
    }
}

impl ProcessInfo {
    /// What it is doing, by one of its threads.
    pub fn run_state(&self, thread: Option<&ThreadInfo>) -> Option<RunState> {
        match self.state? {
            ProcessState::New => return Some(RunState::Creating),
            ProcessState::Zombie => return Some(RunState::Zombie),
            ProcessState::Normal => {}
        }
        let thread = thread?;
        Some(if thread.is_runnable? {
            RunState::Running
        } else if self.has_flag(P_STOPPED) {
            RunState::Stopped
        } else if thread.is_sleeping {
            RunState::Sleeping
        } else if thread.is_on_lock {
            RunState::Locked
        } else {
            RunState::Waiting
        })
    }

    /// The letters of ps(1): what it is doing, and what else is worth knowing.
    pub fn state_letters(&self, thread: Option<&ThreadInfo>) -> Option<String> {
        let state = self.run_state(thread)?;
        let mut letters = String::from(first_letter(state, thread));
        letters.extend(self.other_letters(state, thread));
        Some(letters)
    }

    fn other_letters(&self, state: RunState, thread: Option<&ThreadInfo>) -> impl Iterator<Item = char> {
        let class = thread.and_then(|thread| thread.priority.class);
        let (nice, job) = (self.nice.unwrap_or(0), self.job.as_ref());
        let is_urgent = nice < 0 || class == Some(PRI_REALTIME);
        let terminal = job.and_then(|job| job.terminal.as_ref());
        let is_in_foreground = self.has_flag(P_CONTROLT)
            && terminal
                .is_some_and(|terminal| terminal.pgid.is_some() && terminal.pgid == job.and_then(|job| job.pgid));
        let letters = [
            ('<', is_urgent),
            ('N', !is_urgent && (nice > 0 || class == Some(PRI_IDLE))),
            ('X', self.has_flag(P_TRACED)),
            ('E', self.has_flag(P_WEXIT) && state != RunState::Zombie),
            ('V', self.has_flag(P_PPWAIT)),
            ('L', self.has_flag(P_SYSTEM) || self.holds.is_some_and(|holds| holds > 0)),
            ('C', self.credentials.as_ref().is_some_and(|credentials| credentials.is_in_capability_mode)),
            ('s', job.is_some_and(|job| job.is_leader)),
            ('+', is_in_foreground),
            ('J', self.has_flag(P_JAILED)),
        ];
        letters.into_iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter)
    }

    /// Whether one of these flags is set (`p_flag`).
    pub(super) fn has_flag(&self, flags: u32) -> bool {
        self.flags.is_some_and(|set| set & flags != 0)
    }
}

fn first_letter(state: RunState, thread: Option<&ThreadInfo>) -> char {
    match state {
        RunState::Stopped => 'T',
        RunState::Running | RunState::Creating => 'R',
        RunState::Waiting => 'W',
        RunState::Locked => 'L',
        RunState::Zombie => 'Z',
        RunState::Sleeping => {
            let is_interruptible = thread.and_then(|thread| thread.flags).is_some_and(|flags| flags & TDF_SINTR != 0);
            let is_idle = thread.and_then(|thread| thread.slept).is_some_and(|seconds| seconds >= IDLE_AFTER);
            match (is_interruptible, is_idle) {
                (false, _) => 'D',
                (true, true) => 'I',
                (true, false) => 'S',
            }
        }
    }
}
