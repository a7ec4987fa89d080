//! What the columns of ps(1) show.
//!
//! Sources: `bin/ps/print.c`, `bin/ps/fmt.c`.

use super::info::{CommandLine, P_SYSTEM, Priority};
use super::row::{Row, UNKNOWN, nothing, text};
use super::state::RunState;
use crate::text::{Name, column};
use crate::units::utc_of_seconds;

/// Bytes that ps(1) shows of the reason for a sleep and of a lock's name (`WMESGLEN`, `LOCKNAMELEN`).
const MESSAGE_WIDTH: usize = 8;
/// The most urgent priorities of each class (`sys/sys/priority.h`).
const PRI_MIN_REALTIME: i64 = 8;
const PRI_MIN_KERN: i64 = 40;
const PRI_MIN_TIMESHARE: i64 = 56;
const PRI_MIN_IDLE: i64 = 224;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// 1970 began on a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: i64 = 86_400;

pub fn name(name: &Name) -> String {
    column(name.as_bytes())
}

/// A lock's name or the reason for a sleep, as far as ps(1) shows it.
fn message(text: &[u8]) -> String {
    column(crate::bounds::head(text, MESSAGE_WIDTH))
}

/// The part of RAM that its resident pages are.
pub fn memory_share(row: &Row<'_>) -> Option<String> {
    let all = row.table.physical_pages.filter(|pages| *pages > 0)?;
    let permille = row.info.sizes.resident_pages?.saturating_mul(1000).saturating_add(all / 2) / all;
    Some(format!("{}.{}", permille / 10, permille % 10))
}

pub fn login_class(row: &Row<'_>) -> Option<String> {
    if row.info.has_flag(P_SYSTEM) {
        return nothing();
    }
    row.info.credentials.as_ref()?.login_class.as_ref().map(name)
}

pub fn jail(row: &Row<'_>) -> Option<String> {
    let credentials = row.info.credentials.as_ref()?;
    if credentials.jail_id? == 0 { nothing() } else { credentials.jail.as_ref().map(name) }
}

pub fn login(row: &Row<'_>) -> Option<String> {
    let login = row.info.job.as_ref()?.login.as_ref()?;
    if login.is_empty() { nothing() } else { Some(name(login)) }
}

/// Behind the name of a program with several threads: a slash and the thread's.
fn thread_suffix(row: &Row<'_>) -> String {
    let is_one_of_many = row.is_of_thread && row.info.thread_count.is_some_and(|count| count > 1);
    let thread = row.thread.filter(|_| is_one_of_many);
    thread.map_or_else(String::new, |thread| format!("/{}", name(&thread.name)))
}

/// Whether it has exited.
fn is_zombie(row: &Row<'_>) -> bool {
    row.process.zombie || row.info.run_state(row.thread) == Some(RunState::Zombie)
}

/// The name of its program.
#[expect(clippy::unnecessary_wraps, reason = "a cell that is known")]
pub fn command(row: &Row<'_>) -> Option<String> {
    Some(column(&row.process.command) + &thread_suffix(row))
}

/// Its arguments; the name of its program in brackets where there are none, and behind them where they do not begin with
/// it; of a process that has exited that name, with a mark.
pub fn command_line(row: &Row<'_>) -> Option<String> {
    let program = column(&row.process.command);
    let arguments = match &row.info.arguments {
        CommandLine::Known(arguments) => arguments,
        _ if is_zombie(row) => return Some(format!("{program} <defunct>")),
        CommandLine::None | CommandLine::Unknown => return Some(format!("[{program}{}]", thread_suffix(row))),
    };
    let shown = arguments.iter().filter(|argument| !argument.is_empty()).map(|argument| column(argument));
    let line = shown.collect::<Vec<_>>().join(" ");
    let called = arguments.first().map(Vec::as_slice).unwrap_or_default();
    let base = called.rsplit(|byte| *byte == b'/').next().unwrap_or(called);
    Some(if base == row.process.command.as_slice() { line } else { format!("{line} ({program})") })
}

/// The CPU that it is on, or was last.
pub fn cpu(row: &Row<'_>) -> Option<String> {
    let thread = row.thread?;
    let is_running = row.info.run_state(row.thread) == Some(RunState::Running);
    text(thread.on_cpu.filter(|_| is_running).or(thread.last_cpu))
}

pub fn thread_name(row: &Row<'_>) -> Option<String> {
    let is_one_of_many = row.is_of_thread && row.info.thread_count.is_some_and(|count| count > 1);
    if is_one_of_many { Some(name(&row.thread?.name)) } else { nothing() }
}

/// Why it sleeps, or where no reason is given, on what.
pub fn wait_message(row: &Row<'_>) -> Option<String> {
    let thread = row.thread?;
    let Some(channel) = thread.wait_channel else { return nothing() };
    match thread.wait_message.as_deref() {
        Some(text @ [_, ..]) => Some(message(text)),
        _ => Some(format!("{channel:x}")),
    }
}

/// The name of the lock that it waits for.
pub fn lock_name(row: &Row<'_>) -> Option<String> {
    let thread = row.thread?;
    if !thread.is_on_lock {
        return nothing();
    }
    thread.lock_name.as_deref().filter(|name| !name.is_empty()).map(message)
}

/// Why it sleeps, or the name of the lock that it waits for.
pub fn wait_or_lock(row: &Row<'_>) -> Option<String> {
    if row.thread?.wait_channel.is_some() { wait_message(row) } else { lock_name(row) }
}

/// The thread that owns the lock that it waits for.
pub fn lock_owner(row: &Row<'_>) -> Option<String> {
    match &row.thread?.waits_for {
        Some(wait) => text(wait.owner.map(|owner| owner.tid)),
        None => nothing(),
    }
}

/// The names of the locks that it holds; of a process those of all its threads.
pub fn held_locks(row: &Row<'_>) -> Option<String> {
    let all = row.info.threads.iter();
    let threads = all.filter(|thread| !row.is_of_thread || Some(thread.tid) == row.thread.map(|thread| thread.tid));
    let locks = threads.flat_map(|thread| &thread.held);
    let names: Vec<String> =
        locks.map(|held| held.lock.name.as_ref().map_or_else(|| UNKNOWN.to_owned(), name)).collect();
    if names.is_empty() { nothing() } else { Some(names.join(",")) }
}

/// The name of the terminal without what most begin with; a hyphen behind it where it cannot be reached any more.
pub fn short_terminal(row: &Row<'_>) -> Option<String> {
    let job = row.info.job.as_ref()?;
    let Some(terminal) = &job.terminal else { return nothing() };
    let full = name(terminal.name.as_ref()?);
    let short = ["tty", "cua"].iter().find_map(|prefix| full.strip_prefix(prefix)).unwrap_or(&full);
    let short = short.strip_prefix("pts/").unwrap_or(short);
    Some(format!("{short}{}", if job.has_terminal_vnode { "" } else { "-" }))
}

/// A priority, of which 0 is the most urgent one of programs that share time.
pub fn scaled_priority(level: Option<u32>) -> Option<String> {
    text(level.map(|level| i64::from(level) - PRI_MIN_TIMESHARE))
}

/// The scheduling class, and the priority in it.
pub fn class_and_priority(priority: Priority) -> Option<String> {
    let (class, level) = (priority.class?, i64::from(priority.level?));
    Some(match class {
        1 => format!("intr:{level}"),
        2 => format!("real:{}", level - PRI_MIN_REALTIME),
        3 if level >= PRI_MIN_TIMESHARE => format!("normal:{}", level - PRI_MIN_TIMESHARE),
        3 => format!("kernel:{}", level - PRI_MIN_KERN),
        4 => format!("idle:{}", level - PRI_MIN_IDLE),
        _ => format!("{class}:{level}"),
    })
}

/// Seconds, of which no more than 127 are shown.
pub fn at_most_127(seconds: i32) -> String {
    // Those before the epoch of a counter are many.
    if seconds.cast_unsigned() > 127 { 127 } else { seconds }.to_string()
}

/// CPU time in microseconds, as minutes, seconds and hundredths.
pub fn cpu_time(microseconds: u64) -> String {
    let hundredths = microseconds.saturating_add(5000) / 10_000;
    let seconds = hundredths / 100;
    format!("{}:{:02}.{:02}", seconds / 60, seconds % 60, hundredths % 100)
}

/// Seconds as days, hours, minutes and seconds.
pub fn elapsed(seconds: i64) -> String {
    let (days, hours, minutes, rest) = (seconds / DAY, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes:02}:{rest:02}"),
        (0, _) => format!("{hours:02}:{minutes:02}:{rest:02}"),
        _ => format!("{days}-{hours:02}:{minutes:02}:{rest:02}"),
    }
}

/// The parts of a time in UTC.
struct Calendar {
    year: String,
    month: &'static str,
    day: String,
    weekday: &'static str,
    clock: String,
}

impl Calendar {
    fn new(seconds: i64) -> Option<Self> {
        let text = utc_of_seconds(u64::try_from(seconds).ok()?)?;
        let (date, clock) = text.split_once('T')?;
        let mut parts = date.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let month: usize = month.parse().ok()?;
        Some(Self {
            year: year.to_owned(),
            month: MONTHS.get(month.checked_sub(1)?)?,
            day: day.trim_start_matches('0').to_owned(),
            weekday: WEEKDAYS.get(usize::try_from(seconds / DAY % 7).ok()?)?,
            clock: clock.trim_end_matches('Z').to_owned(),
        })
    }

    fn hour_and_minute(&self) -> &str {
        crate::bounds::split_text(&self.clock, 5).0
    }

    fn hour(&self) -> &str {
        crate::bounds::split_text(&self.clock, 2).0
    }
}

/// When something was, seen from now: the time of this day, the day and hour of this week, or the date.
pub fn short_time(seconds: i64, now: i64) -> Option<String> {
    let time = Calendar::new(seconds)?;
    let ago = now.saturating_sub(seconds);
    Some(if ago < DAY {
        time.hour_and_minute().to_owned()
    } else if ago < 7 * DAY {
        format!("{}{}", time.weekday, time.hour())
    } else {
        format!("{}{}{}", time.day, time.month, crate::bounds::split_text(&time.year, 2).1)
    })
}

/// The date and time.
pub fn long_time(seconds: i64) -> Option<String> {
    let Calendar { year, month, day, weekday, clock } = Calendar::new(seconds)?;
    Some(format!("{weekday} {month} {day:>2} {clock} {year}"))
}
