//! The columns of ps(1), by their keywords.
//!
//! Sources: `bin/ps/keyword.c`, `bin/ps/print.c`.

use super::cell;
use super::row::{Row, UNKNOWN, nothing, text};
use crate::near::near;
use crate::units::Hex;

/// A column.
#[derive(Clone, Copy)]
pub struct Keyword {
    /// How it is asked for.
    pub name: &'static str,
    /// Its heading.
    pub heading: &'static str,
    /// Whether its values are aligned on the left.
    pub is_left: bool,
    cell: Cell,
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

/// The keyword that one which does not exist may be meant as: the heading of its column, or a name like its own.
pub fn suggest_keyword(unknown: &str) -> Option<&'static str> {
    let name = unknown.to_ascii_lowercase();
    let of_heading = || KEYWORDS.iter().find(|keyword| keyword.heading.eq_ignore_ascii_case(unknown));
    if let Some(keyword) = find_keyword(&name).or_else(of_heading) {
        return Some(keyword.name);
    }
    let names = KEYWORDS.iter().map(|keyword| keyword.name).chain(ALIASES.map(|(alias, _)| alias));
    let nearest = near(&name, names).into_iter().next()?;
    find_keyword(&nearest).map(|keyword| keyword.name)
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

/// Keywords of ps(1) that have no column.
pub const UNAVAILABLE: [&str; 4] = ["%cpu", "jobc", "label", "pcpu"];

type Cell = fn(&Row<'_>) -> Option<String>;

const fn right(name: &'static str, heading: &'static str, cell: Cell) -> Keyword {
    Keyword { name, heading, is_left: false, cell }
}

const fn left(name: &'static str, heading: &'static str, cell: Cell) -> Keyword {
    Keyword { name, heading, is_left: true, cell }
}

/// All columns, in the order of their keywords.
pub static KEYWORDS: &[Keyword] = &[
    right("%mem", "%MEM", cell::memory_share),
    right("acflag", "ACFLG", |row| row.info.accounting_flags.map(hex)),
    left("args", "COMMAND", cell::command_line),
    left("class", "CLASS", cell::login_class),
    left("comm", "COMMAND", cell::command),
    left("command", "COMMAND", cell::command_line),
    right("cow", "COW", |row| text(if row.is_of_thread { row.thread?.copy_faults } else { row.info.copy_faults })),
    right("cpu", "C", cell::cpu),
    right("dsiz", "DSIZ", |row| row.kibibytes(row.info.sizes.data_pages)),
    left("emul", "EMUL", |row| row.info.emulation.as_deref().map(crate::text::column)),
    right("etime", "ELAPSED", |row| row.elapsed().map(cell::elapsed)),
    right("etimes", "ELAPSED", |row| text(row.elapsed())),
    right("fib", "FIB", |row| text(row.info.fib)),
    right("flags", "F", |row| row.info.flags.map(hex)),
    right("flags2", "F2", |row| row.info.flags2.map(|flags| format!("{flags:08x}"))),
    right("gid", "GID", |row| text(row.credentials()?.gid)),
    left("group", "GROUP", |row| row.group(row.credentials()?.gid)),
    left("held", "HELD", cell::held_locks),
    right("inblk", "INBLK", |row| text(Some(row.usage()?.blocks_read))),
    left("jail", "JAIL", cell::jail),
    right("jid", "JID", |row| text(row.credentials()?.jail_id)),
    right("ktrace", "KTRACE", |row| row.info.trace_points.map(hex)),
    right("lim", "LIM", |_| nothing()),
    left("lockname", "LOCK", cell::lock_name),
    right("lockowner", "LOCKOWNER", cell::lock_owner),
    left("login", "LOGIN", cell::login),
    left("lstart", "STARTED", |row| cell::long_time(row.info.start?.seconds)),
    right("majflt", "MAJFLT", |row| text(Some(row.usage()?.major_faults))),
    right("minflt", "MINFLT", |row| text(Some(row.usage()?.minor_faults))),
    right("msgrcv", "MSGRCV", |row| text(Some(row.usage()?.messages_received))),
    right("msgsnd", "MSGSND", |row| text(Some(row.usage()?.messages_sent))),
    left("mwchan", "MWCHAN", cell::wait_or_lock),
    right("nice", "NI", |row| text(row.info.nice)),
    right("nivcsw", "NIVCSW", |row| text(Some(row.usage()?.involuntary_switches))),
    right("nlwp", "NLWP", |row| text(row.info.thread_count)),
    right("nsigs", "NSIGS", |row| text(Some(row.usage()?.signals))),
    right("nswap", "NSWAP", |row| text(Some(row.usage()?.swaps))),
    right("nvcsw", "NVCSW", |row| text(Some(row.usage()?.voluntary_switches))),
    left("nwchan", "NWCHAN", |row| row.thread?.wait_channel.map_or_else(nothing, address)),
    right("oublk", "OUBLK", |row| text(Some(row.usage()?.blocks_written))),
    right("paddr", "PADDR", |row| address(row.process.address)),
    right("pagein", "PAGEIN", |row| text(Some(row.usage()?.major_faults))),
    right("pgid", "PGID", |row| row.of_job(|job| text(job.pgid))),
    right("pid", "PID", |row| text(Some(row.process.pid))),
    right("ppid", "PPID", |row| text(row.info.parent)),
    right("pri", "PRI", |row| cell::scaled_priority(row.thread?.priority.level)),
    right("re", "RE", |row| row.info.residency.map(cell::at_most_127)),
    right("rgid", "RGID", |row| text(row.credentials()?.rgid)),
    left("rgroup", "RGROUP", |row| row.group(row.credentials()?.rgid)),
    right("rss", "RSS", |row| row.kibibytes(row.info.sizes.resident_pages)),
    right("rtprio", "RTPRIO", |row| cell::class_and_priority(row.thread?.priority)),
    right("ruid", "RUID", |row| text(row.credentials()?.ruid)),
    left("ruser", "RUSER", |row| row.user(row.credentials()?.ruid)),
    right("sid", "SID", |row| row.of_job(|job| text(job.sid))),
    right("sig", "PENDING", |row| {
        if row.is_of_thread { row.thread?.pending_signals } else { row.info.signals.pending }.map(hex)
    }),
    right("sigcatch", "CAUGHT", |row| row.info.signals.caught.map(hex)),
    right("sigignore", "IGNORED", |row| row.info.signals.ignored.map(hex)),
    right("sigmask", "BLOCKED", |row| row.thread?.blocked_signals.map(hex)),
    right("sl", "SL", |row| row.thread?.slept.map(cell::at_most_127)),
    right("ssiz", "SSIZ", |row| row.kibibytes(row.info.sizes.stack_pages)),
    left("start", "STARTED", |row| cell::short_time(row.info.start?.seconds, row.table.clock.now?)),
    left("state", "STAT", |row| row.info.state_letters(row.thread)),
    right("svgid", "SVGID", |row| text(row.credentials()?.svgid)),
    right("svuid", "SVUID", |row| text(row.credentials()?.svuid)),
    right("systime", "SYSTIME", |row| row.time().map(|time| cell::cpu_time(time.system))),
    right("tdaddr", "TDADDR", |row| address(row.thread?.address)),
    right("tdev", "TDEV", |row| row.of_terminal(|terminal| terminal.number.and_then(address))),
    left("tdname", "TDNAME", cell::thread_name),
    right("tid", "LWP", |row| text(Some(row.thread?.tid))),
    right("time", "TIME", |row| row.time().map(|time| cell::cpu_time(time.total))),
    right("tpgid", "TPGID", |row| row.id_of_terminal(|terminal| terminal.pgid)),
    right("tracer", "TRACER", |row| text(row.info.tracer)),
    right("tsid", "TSID", |row| row.id_of_terminal(|terminal| terminal.sid)),
    right("tsiz", "TSIZ", |row| row.kibibytes(row.info.sizes.text_pages)),
    right("tt", "TT", cell::short_terminal),
    left("tty", "TTY", |row| row.of_terminal(|terminal| terminal.name.as_ref().map(cell::name))),
    left("ucomm", "UCOMM", cell::command),
    right("uid", "UID", |row| text(row.credentials()?.uid)),
    right("upr", "UPR", |row| cell::scaled_priority(row.thread?.priority.user)),
    left("user", "USER", |row| row.user(row.credentials()?.uid)),
    right("usertime", "USERTIME", |row| row.time().map(|time| cell::cpu_time(time.user))),
    right("vmaddr", "VMADDR", |row| address(row.info.vmspace?)),
    right("vsz", "VSZ", |row| text(row.info.sizes.virtual_bytes.map(|bytes| bytes / 1024))),
    left("wchan", "WCHAN", cell::wait_message),
    right("xstat", "XSTAT", |row| row.info.exit_status.map(hex)),
];

fn hex(value: u32) -> String {
    format!("{value:x}")
}

#[expect(clippy::unnecessary_wraps, reason = "a cell that is known")]
fn address(address: u64) -> Option<String> {
    Some(Hex(address).to_string())
}
