//! `memtool dmesg`: what a kernel has said.

use super::kernel::{IMAGE, KernelArguments, remark_on_dump};
use super::{Context, Verdict};
use clap::Args;
use memtool::files;
use memtool::output_file::temporary_directory;
use memtool::{Error, Result};
use serde::Serialize;
use std::path::Path;
use vmcore::bounds::tail;
use vmcore::dump::{Content, Depth, TextFile, inspect};
use vmcore::kernel::Access;
use vmcore::messages::{Message, MessageBuffer, panic};
use vmcore::progress::Progress;
use vmcore::text::{Name, decode};

#[derive(Args)]
#[command(
    after_help = "The messages of minidumps and text dumps require no kernel image, those of other dumps do. Exit codes: 0 the messages were printed, 1 part of them is missing, or with --panic there is no panic."
)]
pub struct Arguments {
    /// Also print messages of other programs that are in the buffer
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    pub kernel: KernelArguments,
    /// Print the messages from the last panic on, with the trap that led to it
    #[arg(long)]
    panic: bool,
}

/// Messages in JSON.
#[derive(Serialize)]
pub struct MessagesDocument {
    full: bool,
    ordered: bool,
    bytes_missing: u64,
    messages: Vec<MessageDocument>,
}

/// A message in JSON.
#[derive(Serialize)]
struct MessageDocument {
    priority: Option<u32>,
    facility: Option<&'static str>,
    level: Option<&'static str>,
    since_boot_seconds: Option<f64>,
    text: Name,
}

impl MessagesDocument {
    /// Those of a buffer that are wanted.
    pub fn new<'a>(buffer: &MessageBuffer, messages: impl Iterator<Item = &'a Message<'a>>) -> Self {
        let MessageBuffer { is_full: full, is_ordered: ordered, missing: bytes_missing, .. } = *buffer;
        Self { full, ordered, bytes_missing, messages: messages.map(MessageDocument::new).collect() }
    }
}

impl MessageDocument {
    fn new(message: &Message<'_>) -> Self {
        let known = message.priority.is_some();
        Self {
            priority: message.priority,
            facility: known.then(|| nth(&FACILITIES, message.facility())).flatten(),
            level: message.level().and_then(|level| nth(&LEVELS, level)),
            since_boot_seconds: message.uptime.map(|uptime| uptime.as_secs_f64()),
            text: message.text.into(),
        }
    }
}

/// The file of a text dump with the messages (`sys/ddb/db_textdump.c`).
const MESSAGES: &str = "msgbuf.txt";

/// Names of facilities, by number (`sys/sys/syslog.h`).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "security", "console", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// Names of levels, by number.
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

fn nth(names: &[&'static str], number: u32) -> Option<&'static str> {
    names.get(usize::try_from(number).ok()?).copied().filter(|name| !name.is_empty())
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let (buffer, kind) = match (arguments.kernel.open(context, Access::Read), &arguments.kernel.core) {
        (Err(Error::Vmcore(vmcore::Error::NoMemory(why))), Some(core)) => {
            let buffer = text_dump(context, arguments, core)?
                .ok_or_else(|| Error::Refused(format!("{}: {}", core.display(), vmcore::Error::NoMemory(why))))?;
            (buffer, IMAGE)
        }
        (opened, _) => {
            let opened = opened?;
            (opened.kernel.messages()?, opened.kind)
        }
    };
    let name = match &arguments.kernel.core {
        Some(core) => files::in_order(core).0.display().to_string(),
        None => "the running kernel".to_owned(),
    };
    remark_on(context, &name, &buffer);
    let all: Vec<Message<'_>> = buffer.lines().collect();
    let shown = match (arguments.panic, panic(&all)) {
        (false, _) => &*all,
        (true, Some(first)) => tail(&all, first),
        (true, None) => return Err(Error::Refused(format!("{name}: there is no panic among the messages"))),
    };
    let shown = shown.iter().filter(|message| arguments.all || message.is_kernel());
    if context.out.is_json() {
        context.out.document_of("memtool.dmesg", kind, &MessagesDocument::new(&buffer, shown))?;
    } else {
        for message in shown {
            context.out.line(&decode(message.line))?;
        }
    }
    Ok(if buffer.missing == 0 { Verdict::Done } else { Verdict::Failed })
}

/// The messages that a text dump has in a file of its own; `None` of another dump.
fn text_dump(context: &mut Context, arguments: &Arguments, core: &Path) -> Result<Option<MessageBuffer>> {
    let failed = |source| Error::io("read", core, source);
    let volume = arguments.kernel.open_volume(context, core, &temporary_directory())?;
    let inspection = inspect(&volume, Depth::Pages, &Progress::default()).map_err(failed)?;
    if !matches!(inspection.content, Content::Text(_)) {
        return Ok(None);
    }
    remark_on_dump(context, core, &inspection, false);
    let files = TextFile::read_all(&volume, &inspection).map_err(failed)?;
    let Some(file) = files.into_iter().find(|file| file.name == *MESSAGES) else {
        return Err(Error::Refused(format!("{}: the text dump has no {MESSAGES}", core.display())));
    };
    Ok(Some(MessageBuffer::from_text(file.bytes).cut_off(file.missing)))
}

/// Says what is not as it should be among the messages of a dump or kernel.
pub fn remark_on(context: &mut Context, name: &str, buffer: &MessageBuffer) {
    let mut known = Vec::new();
    if buffer.is_full {
        known.push("the message buffer is full: older messages are lost");
    }
    if !buffer.is_ordered {
        known.push("the newest messages may come first");
    }
    if !known.is_empty() {
        context.remark(&format!("{name}: {}", known.join(", and ")));
    }
}
