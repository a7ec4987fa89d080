//! A report as one HTML file that needs no other: its style sheet and script are in it, and a policy in its head forbids the
//! browser to load, send or run anything else.
//!
//! It can be read without the script, which searches, folds, sorts and switches the theme.

use super::Report;
use super::section::{Block, Section, StackLine, StackText};
use crate::markup::{Plain, Text};
use crate::physical_map::html as map_html;
use crate::table::{Column, Table};
use crate::text::first_line;
use crate::units::{counted, noun};
use std::fmt::{self, Display, Formatter, Write};
use std::io;

const STYLE: &str = include_str!("html.css");
const SCRIPT: &str = include_str!("html.js");
/// The Base64 of their SHA-256, by which the policy allows them and nothing that a dump smuggles in. A test compares.
const STYLE_HASH: &str = "PoJBPpp0rD+hWxLWh6y6FtFqpB3zw8XvWIGjnDwJBpA=";
const SCRIPT_HASH: &str = "kDxBvxqH20mRKUkJeGLmWhyutEyIredSpT+zWxDg25c=";

/// Blocks with more lines, rows or stacks are folded.
const LONG: usize = 60;
/// A section's stacks are shown at once if there are no more, otherwise folded.
const FEW_STACKS: usize = 8;

/// What precedes the sections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Names the crash: the panic's message.
    pub title: String,
    /// The fingerprint of the crash.
    pub fingerprint: Option<String>,
    /// What identifies the machine, its kernel and the dump.
    pub facts: Vec<(&'static str, String)>,
    /// Each [`Section::id`] of what stands out: the panic, and the thread that panicked.
    pub prominent: Vec<&'static str>,
}

/// Writes a report.
///
/// # Errors
///
/// Those of the writer.
pub fn write(head: &Head, sections: &[Section], out: &mut dyn io::Write) -> io::Result<()> {
    write!(out, "{}", Page { head, sections })
}

/// A report as a page.
struct Page<'a> {
    head: &'a Head,
    sections: &'a [Section],
}

impl Report {
    /// What precedes the sections of its page.
    pub fn head(&self) -> Head {
        let panic = self.panic.as_deref().map(|panic| ("panic", first_line(panic).to_owned()));
        Head {
            title: self.title(),
            fingerprint: self.fingerprint.as_ref().ok().map(|fingerprint| fingerprint.value.clone()),
            facts: panic.into_iter().collect(),
            prominent: vec!["panic", "stack"],
        }
    }
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let has_map =
            self.sections.iter().flat_map(|section| &section.blocks).any(|block| matches!(block, Block::Map(..)));
        write_start(f, &self.head.title, has_map)?;
        write_head(f, self.head)?;
        write_navigation(f, self.sections)?;
        f.write_str("<div class=\"body\">\n")?;
        f.write_str(TOOLS)?;
        f.write_str("<main id=\"report\">\n")?;
        for section in self.sections {
            write_section(f, section, self.head.prominent.contains(&section.id))?;
        }
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "</main>\n<footer>Written by memtool {version}.</footer>\n</div>")?;
        f.write_str("<script>")?;
        f.write_str(SCRIPT)?;
        f.write_str("</script>\n")?;
        if has_map {
            writeln!(f, "<script>{}</script>", map_html::SCRIPT)?;
        }
        f.write_str("</body>\n</html>\n")
    }
}

/// What requires the script, which shows it.
const TOOLS: &str = r#"<form class="tools" id="tools" role="search" hidden>
<input id="search" type="text" placeholder="Search (press /)" aria-label="Search the report" autocomplete="off" spellcheck="false">
<button type="button" id="previous" aria-label="Previous hit" disabled>&#8593;</button>
<button type="button" id="next" aria-label="Next hit" disabled>&#8595;</button>
<output id="count" for="search"></output>
<button type="button" id="open">Open all</button>
<button type="button" id="close">Close all</button>
<button type="button" id="theme" aria-pressed="false">Dark</button>
</form>
"#;

/// Everything up to the body.
fn write_start(f: &mut Formatter<'_>, title: &str, has_map: bool) -> fmt::Result {
    let map_style = has_map.then(map_html::style);
    let also = |text: Option<&str>| text.map(|text| format!(" {}", map_html::hash(text))).unwrap_or_default();
    let (styles, scripts) = (also(map_style.as_deref()), also(has_map.then_some(map_html::SCRIPT)));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{STYLE_HASH}'{styles}; script-src 'sha256-{SCRIPT_HASH}'{scripts}; base-uri 'none'; form-action 'none'"
    );
    f.write_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")?;
    writeln!(f, "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">")?;
    f.write_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")?;
    f.write_str("<meta name=\"color-scheme\" content=\"light dark\">\n")?;
    writeln!(f, "<title>{}</title>", Plain(title))?;
    f.write_str("<style>")?;
    f.write_str(STYLE)?;
    f.write_str("</style>\n")?;
    if let Some(style) = map_style {
        writeln!(f, "<style>{style}</style>")?;
    }
    f.write_str("</head>\n<body>\n<a class=\"skip\" href=\"#report\">Skip to the report</a>\n")
}

fn write_head(f: &mut Formatter<'_>, head: &Head) -> fmt::Result {
    writeln!(f, "<header>\n<h1>{}</h1>", Text(&head.title))?;
    if head.fingerprint.is_some() || !head.facts.is_empty() {
        f.write_str("<dl>\n")?;
        write_facts(f, &head.facts)?;
        if let Some(fingerprint) = &head.fingerprint {
            let fingerprint = Text(fingerprint);
            writeln!(f, "<dt>fingerprint</dt><dd><code class=\"fingerprint\">{fingerprint}</code></dd>")?;
        }
        f.write_str("</dl>\n")?;
    }
    f.write_str("</header>\n")
}

fn write_navigation(f: &mut Formatter<'_>, sections: &[Section]) -> fmt::Result {
    f.write_str("<nav aria-label=\"Sections\">\n<ul>\n")?;
    for section in sections {
        writeln!(f, "<li><a href=\"#{}\">{}</a></li>", Plain(section.id), Text(section.title))?;
    }
    f.write_str("</ul>\n</nav>\n")
}

fn write_section(f: &mut Formatter<'_>, section: &Section, is_prominent: bool) -> fmt::Result {
    let id = Plain(section.id);
    let class = if is_prominent { " class=\"prominent\"" } else { "" };
    writeln!(f, "<section id=\"{id}\"{class} aria-labelledby=\"{id}-title\">")?;
    writeln!(f, "<h2 id=\"{id}-title\">{}</h2>", Text(section.title))?;
    for block in &section.blocks {
        match block {
            Block::Facts(facts) if facts.is_empty() => Ok(()),
            Block::Facts(facts) => {
                f.write_str("<dl>\n")?;
                write_facts(f, facts)?;
                f.write_str("</dl>\n")
            }
            Block::Table(table) => {
                if let Some(caption) = &table.caption {
                    writeln!(f, "<h3>{}</h3>", Text(caption))?;
                }
                write_table(f, table, table.caption.as_deref().unwrap_or(section.title))
            }
            Block::Lines(lines) => write_lines(f, lines),
            Block::Stacks(stacks) => write_stacks(f, stacks),
            Block::Map(map, page_size) => {
                f.write_str(&map_html::figure(map, &format!("{}-picture", section.id), section.title, *page_size))
            }
            Block::Note(note) => writeln!(f, "<p class=\"note\">{}</p>", Text(note)),
        }?;
    }
    f.write_str("</section>\n")
}

fn write_facts(f: &mut Formatter<'_>, facts: &[(&'static str, String)]) -> fmt::Result {
    facts.iter().try_for_each(|(name, value)| writeln!(f, "<dt>{}</dt><dd>{}</dd>", Text(name), Text(value)))
}

/// What is long is folded, under the number of things that it has.
fn write_folded(
    f: &mut Formatter<'_>,
    count: usize,
    what: &str,
    write: impl FnOnce(&mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    if count <= LONG {
        return write(f);
    }
    f.write_str("<details class=\"long\">\n<summary><span class=\"what\">")?;
    writeln!(f, "{} {}</span></summary>", Grouped(count), noun(&(count as u64), what))?;
    write(f)?;
    f.write_str("</details>\n")
}

fn write_lines(f: &mut Formatter<'_>, lines: &[String]) -> fmt::Result {
    write_folded(f, lines.len(), "line", |f| {
        // A parser drops a line's end that follows the tag.
        f.write_str("<pre>\n")?;
        lines.iter().try_for_each(|line| writeln!(f, "{}", Text(line)))?;
        f.write_str("</pre>\n")
    })
}

fn write_table(f: &mut Formatter<'_>, table: &Table, title: &str) -> fmt::Result {
    write_folded(f, table.rows.len(), "row", |f| {
        let title = Plain(title);
        write!(f, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Table: {title}\">\n<table>\n")?;
        f.write_str("<thead>\n<tr>")?;
        for column in &table.columns {
            write!(f, "<th scope=\"col\"{}>{}</th>", class_of(Some(column)), Text(column.title))?;
        }
        f.write_str("</tr>\n</thead>\n")?;
        if table.rows.is_empty() {
            return f.write_str("</table>\n</div>\n");
        }
        f.write_str("<tbody>\n")?;
        for row in &table.rows {
            f.write_str("<tr>")?;
            for (index, cell) in row.iter().enumerate() {
                write!(f, "<td{}>{}</td>", class_of(table.columns.get(index)), Text(cell))?;
            }
            f.write_str("</tr>\n")?;
        }
        f.write_str("</tbody>\n</table>\n</div>\n")
    })
}

fn class_of(column: Option<&Column>) -> &'static str {
    if column.is_some_and(|column| column.is_number) { " class=\"number\"" } else { "" }
}

fn write_stacks(f: &mut Formatter<'_>, stacks: &[StackText]) -> fmt::Result {
    let is_open = stacks.len() <= FEW_STACKS;
    write_folded(f, stacks.len(), "stack", |f| stacks.iter().try_for_each(|stack| write_stack(f, stack, is_open)))
}

fn write_stack(f: &mut Formatter<'_>, stack: &StackText, is_open: bool) -> fmt::Result {
    let open = if is_open { " open" } else { "" };
    write!(f, "<details class=\"stack\"{open}>\n<summary>")?;
    f.write_str("<span class=\"what\">")?;
    match stack.threads.split_first() {
        None => f.write_str("Stack")?,
        Some((thread, more)) => {
            write!(f, "{}", Text(thread))?;
            if !more.is_empty() {
                write!(f, " <small>and {}</small>", counted(more.len() as u64, "more thread"))?;
            }
        }
    }
    f.write_str("</span>")?;
    let gist = Gist(&stack.lines).to_string();
    if !gist.is_empty() {
        write!(f, "<span class=\"gist\" aria-hidden=\"true\">{gist}</span>")?;
    }
    f.write_str("</summary>\n")?;
    if let [_, more @ ..] = stack.threads.as_slice()
        && !more.is_empty()
    {
        f.write_str("<ul class=\"threads\" tabindex=\"0\" aria-label=\"More threads with this stack\">\n")?;
        more.iter().try_for_each(|thread| writeln!(f, "<li>{}</li>", Text(thread)))?;
        f.write_str("</ul>\n")?;
    }
    write_frames(f, stack)?;
    f.write_str("</details>\n")
}

fn write_frames(f: &mut Formatter<'_>, stack: &StackText) -> fmt::Result {
    if stack.lines.is_empty() && stack.end.is_none() {
        return Ok(());
    }
    let width_of = |line: &StackLine| match line {
        StackLine::Call { pc, .. } => format!("{pc:#x}").len(),
        StackLine::Trap(_) => 0,
    };
    let width = stack.lines.iter().map(width_of).max().unwrap_or(0);
    f.write_str("<pre>\n")?;
    stack.lines.iter().try_for_each(|line| write_stack_line(f, line, width))?;
    if let Some(end) = &stack.end {
        writeln!(f, "{:5}<span class=\"end\">{}</span>", "", Text(end))?;
    }
    f.write_str("</pre>\n")
}

/// A line of a stack, whose addresses have so many characters.
fn write_stack_line(f: &mut Formatter<'_>, line: &StackLine, width: usize) -> fmt::Result {
    let (frame, pc, function, module, source, is_inlined, repeats) = match line {
        StackLine::Trap(lines) => return write_trap(f, lines),
        StackLine::Call { frame, pc, function, module, source, is_inlined, repeats } => {
            (frame, pc, function, module, source, *is_inlined, *repeats)
        }
    };
    let (name, offset) = function.rsplit_once('+').unwrap_or((function, ""));
    let name = Text(name);
    if is_inlined {
        let pc = " ".repeat(width);
        write!(f, "<span class=\"inlined\">#{frame:<3} <span class=\"pc\">{pc} </span><b>{name}</b></span>")?;
    } else {
        write!(f, "#{frame:<3} <span class=\"pc\">{pc:#width$x} </span><b>{name}</b>")?;
    }
    if !offset.is_empty() {
        write!(f, "+{}", Text(offset))?;
    }
    if is_inlined {
        f.write_str(" <i>inlined</i>")?;
    }
    if let Some(module) = module {
        write!(f, " <span class=\"module\">{}</span>", Text(module))?;
    }
    if let Some(source) = source {
        write!(f, "  {}", Text(source))?;
    }
    f.write_char('\n')?;
    if repeats > 0 {
        writeln!(f, "{:5}<span class=\"end\">repeated {}</span>", "", counted(repeats, "more time"))?;
    }
    Ok(())
}

fn write_trap(f: &mut Formatter<'_>, lines: &[String]) -> fmt::Result {
    let Some((what, registers)) = lines.split_first() else {
        return Ok(());
    };
    writeln!(f, "<span class=\"trap\"><b>{}</b>", Text(what))?;
    registers.iter().try_for_each(|line| writeln!(f, "{}", Text(line)))?;
    f.write_str("</span>")
}

/// Where a thread is, in one line: its functions without those that say only that it sleeps, or how it began.
struct Gist<'a>(&'a [StackLine]);

/// How the names of functions begin that switch to another thread, and wait for it to switch back.
const SWITCHING: [&str; 8] =
    ["cpu_switch", "sched_", "mi_switch", "sleepq_", "_sleep", "msleep_", "_cv_", "turnstile_wait"];
/// Where threads begin.
const BEGINNING: [&str; 2] = ["fork_exit", "fork_trampoline"];

impl Display for Gist<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().filter_map(|line| match line {
            StackLine::Call { function, is_inlined: false, .. } => {
                Some(function.split_once('+').map_or(function.as_str(), |(name, _)| name))
            }
            _ => None,
        });
        let is_switching = |name: &&str| SWITCHING.iter().any(|start| name.starts_with(start));
        let telling = names.skip_while(is_switching).take_while(|name| !BEGINNING.contains(name));
        for (index, name) in telling.take(6).enumerate() {
            let before = if index > 0 { " \u{2190} " } else { "" };
            write!(f, "{before}{}", Plain(name))?;
        }
        Ok(())
    }
}

/// A number with its digits in groups of three: `10,000`.
struct Grouped(usize);

impl Display for Grouped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markup::is_invisible;

    const HOSTILE: &str =
        "</script><img src=x onerror=\"alert(1)\"> & 'quoted' \0\u{1b}[2J\r\n\u{202e}gnp.exe\u{200b}\u{feff}\u{fffe}";

    fn page(head: &Head, sections: &[Section]) -> String {
        Page { head, sections }.to_string()
    }

    fn section(blocks: Vec<Block>) -> Section {
        Section { id: "all", title: "All", blocks }
    }

    fn call(function: &str, is_inlined: bool) -> StackLine {
        let source = Some("kern/kern_shutdown.c:962".to_owned());
        let function = function.to_owned();
        StackLine::Call { frame: 2, pc: 0x8000_0010, function, module: None, source, is_inlined, repeats: 0 }
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits = group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
            for digit in 0..4 {
                let digit = if digit > group.len() { '=' } else { char::from(DIGITS[bits >> (18 - 6 * digit) & 63]) };
                text.push(digit);
            }
        }
        text
    }

    #[test]
    fn policy_allows_the_style_sheet_and_the_script() {
        use sha2::{Digest, Sha256};
        for (text, hash) in [(STYLE, STYLE_HASH), (SCRIPT, SCRIPT_HASH)] {
            assert_eq!(hash, base64(&Sha256::digest(text)));
        }
    }

    #[test]
    fn style_sheet_and_script_stay_small_and_end_where_they_should() {
        assert!(STYLE.len() + SCRIPT.len() < 20_000);
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("</") && !text.contains("<!--") && !text.contains("http"), "{text}");
        }
    }

    #[test]
    fn texts_of_the_kernel_are_texts() {
        let texts = || vec![HOSTILE.to_owned()];
        let head = Head {
            title: HOSTILE.to_owned(),
            fingerprint: Some(HOSTILE.to_owned()),
            facts: vec![("Host", HOSTILE.to_owned())],
            prominent: Vec::new(),
        };
        let lines = vec![
            call(HOSTILE, false),
            call(HOSTILE, true),
            StackLine::Call {
                frame: 0,
                pc: 0,
                function: "f".to_owned(),
                module: Some(HOSTILE.to_owned()),
                source: Some(HOSTILE.to_owned()),
                is_inlined: false,
                repeats: 1,
            },
            StackLine::Trap([texts(), texts()].concat()),
        ];
        let columns = vec![Column { title: "NAME", is_number: false }];
        let sections = [section(vec![
            Block::Facts(vec![("Name", HOSTILE.to_owned())]),
            Block::Table(Table::new(columns, vec![texts()])),
            Block::Lines(texts()),
            Block::Note(HOSTILE.to_owned()),
            Block::Stacks(vec![StackText {
                threads: [texts(), texts()].concat(),
                lines,
                end: Some(HOSTILE.to_owned()),
            }]),
        ])];
        let page = page(&head, &sections);
        assert_eq!(page.matches("<script>").count(), 1, "{page}");
        assert_eq!(page.matches("</script>").count(), 1, "{page}");
        assert!(!page.contains("<img") && !page.contains(" onerror=\""), "{page}");
        assert!(page.chars().all(|c| matches!(c, '\n' | '\t') || !is_invisible(c)), "{page}");
        // Each of them, and those of the title and of the line that sums up the stack.
        assert_eq!(page.matches("\\u{202e}").count(), 18, "{page}");
    }

    #[test]
    fn what_is_long_is_folded() {
        let lines = |count| page(&Head::default(), &[section(vec![Block::Lines(vec!["line".to_owned(); count])])]);
        assert!(!lines(60).contains("<details"));
        assert!(
            lines(1061).contains(
                "<details class=\"long\">\n<summary><span class=\"what\">1,061 lines</span></summary>\n<pre>\n"
            )
        );
        let stack = StackText { threads: vec!["PID 1".to_owned()], lines: vec![call("f+0x1", false)], end: None };
        let stacks = |count| page(&Head::default(), &[section(vec![Block::Stacks(vec![stack.clone(); count])])]);
        assert_eq!(stacks(8).matches("<details class=\"stack\" open>").count(), 8);
        assert_eq!(stacks(9).matches("<details class=\"stack\">").count(), 9);
        assert!(stacks(61).contains(">61 stacks</span></summary>"));
    }

    #[test]
    fn lines_of_stacks() {
        let lines = vec![
            call("mi_switch+0x1", false),
            call("inner", true),
            call("outer+0x2", false),
            call("fork_exit+0x3", false),
            StackLine::Trap(vec!["exception 0xc: page fault".to_owned(), "rip 0x1".to_owned()]),
            StackLine::Trap(Vec::new()),
        ];
        let stack = StackText { threads: Vec::new(), lines, end: Some("the page is not in the dump".to_owned()) };
        let page = page(&Head::default(), &[section(vec![Block::Stacks(vec![stack])])]);
        let expected = "<summary><span class=\"what\">Stack</span><span class=\"gist\" aria-hidden=\"true\">outer</span></summary>
<pre>
#2   <span class=\"pc\">0x80000010 </span><b>mi_switch</b>+0x1  kern/kern_shutdown.c:962
<span class=\"inlined\">#2   <span class=\"pc\">           </span><b>inner</b></span> <i>inlined</i>  kern/kern_shutdown.c:962
#2   <span class=\"pc\">0x80000010 </span><b>outer</b>+0x2  kern/kern_shutdown.c:962
#2   <span class=\"pc\">0x80000010 </span><b>fork_exit</b>+0x3  kern/kern_shutdown.c:962
<span class=\"trap\"><b>exception 0xc: page fault</b>
rip 0x1
</span>     <span class=\"end\">the page is not in the dump</span>
</pre>
";
        assert!(page.contains(expected), "{page}");
    }
}
