//! The columns of ps(1), by their keywords.
//!
//! Sources: `bin/ps/keyword.c`, `bin/ps/print.c`.

use super::cell;
use super::row::{Row, UNKNOWN, nothing, text};
use crate::units::Hex;

/// A column.
#[derive(Clone, Copy)]
pub struct Keyword {
    /// How it is asked for.
    pub name: &'static str,
    /// Its heading.
    pub heading: &'static str,
    cell: fn(&Row<'_>) -> Option<String>,
}

impl Keyword {
    /// What it shows of a row: `?` of what is not known.
    pub fn text(&self, row: &Row<'_>) -> String {
        (self.cell)(row).unwrap_or_else(|| UNKNOWN.to_owned())
    }
}

/// The column of a keyword or an alias of it.
pub fn find_keyword(name: &str) -> Option<&'static Keyword> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

/// Other names of keywords.
pub const ALIASES: [(&str, &str); 28] = [
    ("acflg", "acflag"),
    ("blocked", "sigmask"),
    ("caught", "sigcatch"),
    ("cputime", "time"),
    ("egid", "gid"),
    ("egroup", "group"),
    ("euid", "uid"),
    ("f", "flags"),
    ("f2", "flags2"),
    ("ignored", "sigignore"),
    ("inblock", "inblk"),
    ("logname", "login"),
    ("lwp", "tid"),
    ("ni", "nice"),
    ("nsignals", "nsigs"),
    ("oublock", "oublk"),
    ("pending", "sig"),
    ("pmem", "%mem"),
    ("stat", "state"),
    ("tdnam", "tdname"),
    ("uprocp", "paddr"),
    ("usrpri", "upr"),
    ("vsize", "vsz"),
    // Names that other systems' ps has.
    ("cmd", "command"),
    ("s", "state"),
    ("psr", "cpu"),
    ("thcount", "nlwp"),
    ("tname", "tty"),
];

const fn keyword(name: &'static str, heading: &'static str, cell: fn(&Row<'_>) -> Option<String>) -> Keyword {
    Keyword { name, heading, cell }
}

/// All columns, in the order of their keywords.
pub static KEYWORDS: &[Keyword] = &[
    keyword("%mem", "%MEM", cell::memory_share),
    keyword("acflag", "ACFLG", |row| row.info.accounting_flags.map(hex)),
    keyword("args", "COMMAND", cell::command_line),
    keyword("class", "CLASS", cell::login_class),
    keyword("comm", "COMMAND", cell::command),
    keyword("command", "COMMAND", cell::command_line),
    keyword("cow", "COW", |row| text(if row.is_of_thread { row.thread?.copy_faults } else { row.info.copy_faults })),
    keyword("cpu", "C", cell::cpu),
    keyword("dsiz", "DSIZ", |row| row.kibibytes(row.info.sizes.data_pages)),
    keyword("emul", "EMUL", |row| row.info.emulation.as_deref().map(crate::text::column)),
    keyword("etime", "ELAPSED", |row| row.elapsed().map(cell::elapsed)),
    keyword("etimes", "ELAPSED", |row| text(row.elapsed())),
    keyword("fib", "FIB", |row| text(row.info.fib)),
    keyword("flags", "F", |row| row.info.flags.map(hex)),
    keyword("flags2", "F2", |row| row.info.flags2.map(|flags| format!("{flags:08x}"))),
    keyword("gid", "GID", |row| text(row.credentials()?.gid)),
    keyword("group", "GROUP", |row| row.group(row.credentials()?.gid)),
    keyword("held", "HELD", cell::held_locks),
    keyword("inblk", "INBLK", |row| text(Some(row.usage()?.blocks_read))),
    keyword("jail", "JAIL", cell::jail),
    keyword("jid", "JID", |row| text(row.credentials()?.jail_id)),
    keyword("ktrace", "KTRACE", |row| row.info.trace_points.map(hex)),
    keyword("lim", "LIM", |_| nothing()),
    keyword("lockname", "LOCK", cell::lock_name),
    keyword("lockowner", "LOCKOWNER", cell::lock_owner),
    keyword("login", "LOGIN", cell::login),
    keyword("lstart", "STARTED", |row| cell::long_time(row.info.start?.seconds)),
    keyword("majflt", "MAJFLT", |row| text(Some(row.usage()?.major_faults))),
    keyword("minflt", "MINFLT", |row| text(Some(row.usage()?.minor_faults))),
    keyword("msgrcv", "MSGRCV", |row| text(Some(row.usage()?.messages_received))),
    keyword("msgsnd", "MSGSND", |row| text(Some(row.usage()?.messages_sent))),
    keyword("mwchan", "MWCHAN", cell::wait_or_lock),
    keyword("nice", "NI", |row| text(row.info.nice)),
    keyword("nivcsw", "NIVCSW", |row| text(Some(row.usage()?.involuntary_switches))),
    keyword("nlwp", "NLWP", |row| text(row.info.thread_count)),
    keyword("nsigs", "NSIGS", |row| text(Some(row.usage()?.signals))),
    keyword("nswap", "NSWAP", |row| text(Some(row.usage()?.swaps))),
    keyword("nvcsw", "NVCSW", |row| text(Some(row.usage()?.voluntary_switches))),
    keyword("nwchan", "NWCHAN", |row| row.thread?.wait_channel.map_or_else(nothing, address)),
    keyword("oublk", "OUBLK", |row| text(Some(row.usage()?.blocks_written))),
    keyword("paddr", "PADDR", |row| address(row.process.address)),
    keyword("pagein", "PAGEIN", |row| text(Some(row.usage()?.major_faults))),
    keyword("pgid", "PGID", |row| row.of_job(|job| text(job.pgid))),
    keyword("pid", "PID", |row| text(Some(row.process.pid))),
    keyword("ppid", "PPID", |row| text(row.info.parent)),
    keyword("pri", "PRI", |row| cell::scaled_priority(row.thread?.priority.level)),
    keyword("re", "RE", |row| row.info.residency.map(cell::at_most_127)),
    keyword("rgid", "RGID", |row| text(row.credentials()?.rgid)),
    keyword("rgroup", "RGROUP", |row| row.group(row.credentials()?.rgid)),
    keyword("rss", "RSS", |row| row.kibibytes(row.info.sizes.resident_pages)),
    keyword("rtprio", "RTPRIO", |row| cell::class_and_priority(row.thread?.priority)),
    keyword("ruid", "RUID", |row| text(row.credentials()?.ruid)),
    keyword("ruser", "RUSER", |row| row.user(row.credentials()?.ruid)),
    keyword("sid", "SID", |row| row.of_job(|job| text(job.sid))),
    keyword("sig", "PENDING", |row| {
        if row.is_of_thread { row.thread?.pending_signals } else { row.info.signals.pending }.map(hex)
    }),
    keyword("sigcatch", "CAUGHT", |row| row.info.signals.caught.map(hex)),
    keyword("sigignore", "IGNORED", |row| row.info.signals.ignored.map(hex)),
    keyword("sigmask", "BLOCKED", |row| row.thread?.blocked_signals.map(hex)),
    keyword("sl", "SL", |row| row.thread?.slept.map(cell::at_most_127)),
    keyword("ssiz", "SSIZ", |row| row.kibibytes(row.info.sizes.stack_pages)),
    keyword("start", "STARTED", |row| cell::short_time(row.info.start?.seconds, row.table.clock.now?)),
    keyword("state", "STAT", |row| row.info.state_letters(row.thread)),
    keyword("svgid", "SVGID", |row| text(row.credentials()?.svgid)),
    keyword("svuid", "SVUID", |row| text(row.credentials()?.svuid)),
    keyword("systime", "SYSTIME", |row| row.time().map(|time| cell::cpu_time(time.system))),
    keyword("tdaddr", "TDADDR", |row| address(row.thread?.address)),
    keyword("tdev", "TDEV", |row| row.of_terminal(|terminal| terminal.number.and_then(address))),
    keyword("tdname", "TDNAME", cell::thread_name),
    keyword("tid", "LWP", |row| text(Some(row.thread?.tid))),
    keyword("time", "TIME", |row| row.time().map(|time| cell::cpu_time(time.total))),
    keyword("tpgid", "TPGID", |row| row.of_terminal(|terminal| text(terminal.pgid))),
    keyword("tracer", "TRACER", |row| text(row.info.tracer)),
    keyword("tsid", "TSID", |row| row.of_terminal(|terminal| text(terminal.sid))),
    keyword("tsiz", "TSIZ", |row| row.kibibytes(row.info.sizes.text_pages)),
    keyword("tt", "TT", cell::short_terminal),
    keyword("tty", "TTY", |row| row.of_terminal(|terminal| terminal.name.as_ref().map(cell::name))),
    keyword("ucomm", "UCOMM", cell::command),
    keyword("uid", "UID", |row| text(row.credentials()?.uid)),
    keyword("upr", "UPR", |row| cell::scaled_priority(row.thread?.priority.user)),
    keyword("user", "USER", |row| row.user(row.credentials()?.uid)),
    keyword("usertime", "USERTIME", |row| row.time().map(|time| cell::cpu_time(time.user))),
    keyword("vmaddr", "VMADDR", |row| address(row.info.vmspace?)),
    keyword("vsz", "VSZ", |row| text(row.info.sizes.virtual_bytes.map(|bytes| bytes / 1024))),
    keyword("wchan", "WCHAN", cell::wait_message),
    keyword("xstat", "XSTAT", |row| row.info.exit_status.map(hex)),
];

fn hex(value: u32) -> String {
    format!("{value:x}")
}

#[expect(clippy::unnecessary_wraps, reason = "a cell that is known")]
fn address(address: u64) -> Option<String> {
    Some(Hex(address).to_string())
}
