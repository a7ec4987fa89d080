//! A report as one HTML file that needs no other: its style sheet and script are in it, and a policy in its head forbids the
//! browser to load, send or run anything else.
//!
//! The script searches, folds, sorts and switches the theme. What is folded is text that can be read without it, up to
//! `MAX_ELEMENTS` of the page: what has more elements is data, of which the script makes elements when it is opened, and of
//! those only the ones near the window. So a page opens as soon with 100,000 threads as with 1,000.

mod data;
mod lines;
mod stacks;

use super::Report;
use super::section::{Block, Section};
use crate::markup::{Plain, Text, page_start};
use crate::physical_map::html as map_html;
use crate::table::{Column, Table};
use crate::text::first_line;
use crate::units::noun;
use data::{Rows, Strings};
use stacks::write_stacks;
use std::fmt::{self, Display, Formatter, Write};
use std::io;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(include_str!("parts.js"), include_str!("page.js"));

/// Blocks with more lines, rows or stacks are folded.
const LONG: usize = 60;
/// About how many elements a page has before anything is opened: folded blocks beyond are data.
const MAX_ELEMENTS: usize = 12_000;

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
        let style = format!("{STYLE}{}", has_map.then(map_html::style).unwrap_or_default());
        let scripts = [SCRIPT, map_html::SCRIPT];
        let scripts = scripts.split_at(if has_map { 2 } else { 1 }).0;
        f.write_str(&page_start(&self.head.title, &style, scripts))?;
        f.write_str("<a class=\"skip\" href=\"#report\">Skip to the report</a>\n")?;
        write_head(f, self.head)?;
        write_navigation(f, self.sections)?;
        let mut room = Room(MAX_ELEMENTS);
        f.write_str("<div class=\"body\">\n")?;
        f.write_str(TOOLS)?;
        f.write_str("<main id=\"report\">\n")?;
        for section in self.sections {
            write_section(f, section, self.head.prominent.contains(&section.id), &mut room)?;
        }
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "</main>\n<footer>Written by memtool {version}.</footer>\n</div>")?;
        scripts.iter().try_for_each(|script| writeln!(f, "<script>{script}</script>"))?;
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

fn write_section(f: &mut Formatter<'_>, section: &Section, is_prominent: bool, room: &mut Room) -> fmt::Result {
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
                write_table(f, table, table.caption.as_deref().unwrap_or(section.title), room)
            }
            Block::Lines(lines) => write_lines(f, lines, room),
            Block::Stacks(stacks) => write_stacks(f, stacks, room),
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

/// How many elements may still be written.
struct Room(usize);

impl Room {
    /// Whether a block with so many items, of so many elements in all, is written as elements; few items always are.
    fn has(&mut self, items: usize, elements: usize) -> bool {
        let fits = items <= LONG || elements <= self.0;
        if fits {
            self.0 = self.0.saturating_sub(elements);
        }
        fits
    }
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

/// The data of a folded block, and a word for those who see it without the script.
fn write_data(f: &mut Formatter<'_>, kind: &str, count: usize, data: impl Display) -> fmt::Result {
    f.write_str("<p class=\"note unbuilt\">There are too many to show them without this page's script. A report as text has all.</p>\n")?;
    writeln!(f, "<script type=\"application/json\" data-kind=\"{kind}\" data-count=\"{count}\">{data}</script>")
}

fn write_lines(f: &mut Formatter<'_>, lines: &[String], room: &mut Room) -> fmt::Result {
    let count = lines.len();
    // They are one text, but each takes time to lay out.
    let is_written = room.has(count, count / 8);
    write_folded(f, count, "line", |f| {
        if !is_written {
            f.write_str("<pre class=\"data\"></pre>\n")?;
            return write_data(f, "lines", count, Strings(lines));
        }
        // A parser drops a line's end that follows the tag.
        f.write_str("<pre>\n")?;
        lines.iter().try_for_each(|line| writeln!(f, "{}", Text(line)))?;
        f.write_str("</pre>\n")
    })
}

fn write_table(f: &mut Formatter<'_>, table: &Table, title: &str, room: &mut Room) -> fmt::Result {
    let count = table.rows.len();
    let is_written = room.has(count, count.saturating_mul(table.columns.len() + 1));
    write_folded(f, count, "row", |f| {
        let title = Plain(title);
        write!(
            f,
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Table: {title}\">\n<table{}>\n",
            if is_written { "" } else { " class=\"data\"" }
        )?;
        f.write_str("<thead>\n<tr>")?;
        for column in &table.columns {
            write!(f, "<th scope=\"col\"{}>{}</th>", class_of(Some(column)), Text(column.title))?;
        }
        f.write_str("</tr>\n</thead>\n")?;
        if !is_written {
            f.write_str("</table>\n</div>\n")?;
            return write_data(f, "rows", count, Rows(table));
        }
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
    use super::super::section::{StackLine, StackText};
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

    #[test]
    fn style_sheet_and_script_stay_small_and_end_where_they_should() {
        assert!(STYLE.len() + SCRIPT.len() < 40_000);
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
