//! Reports of crashes as HTML, in a real browser.

use crate::common::browser::Browser;
use crate::common::{directory, text};
use crate::report::{self, TITLES};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use vmcore::report::html::{self, Head};
use vmcore::report::section::{Block, Section, StackLine, StackText};
use vmcore::table::{Column, Table};

/// What a kernel may have been made to say.
pub const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\0\u{1b}[2J \u{202e}gnp.exe & 'all' \"this\"";

fn call(frame: usize, function: &str, source: Option<&str>, is_inlined: bool) -> StackLine {
    StackLine::Call {
        frame,
        pc: 0xffff_ffff_8052_6567 + frame as u64 * 0x1234,
        function: function.to_owned(),
        module: (frame == 4).then(|| "zfs.ko".to_owned()),
        source: source.map(str::to_owned),
        is_inlined,
        repeats: if frame == 3 && !is_inlined { 12 } else { 0 },
    }
}

pub fn panicked() -> StackText {
    let trap = ["exception 0xc: page fault at address 0x10", "rip 0xffffffff80b2c1d4  rsp 0xfffffe0012345670"];
    StackText {
        threads: vec!["PID 812, TID 100092, sysctl, CPU 1, dumping".to_owned()],
        lines: vec![
            call(0, "doadump+0x2f", Some("/usr/src/sys/kern/kern_shutdown.c:404"), false),
            call(1, "vpanic+0x167", Some("/usr/src/sys/kern/kern_shutdown.c:974"), false),
            call(2, "trap_pfault+0x3c1", None, false),
            StackLine::Trap(trap.map(str::to_owned).to_vec()),
            call(3, "atomic_load_int", Some("/usr/src/sys/amd64/include/atomic.h:345"), true),
            call(3, "kdb_sysctl_trap+0x41", Some("/usr/src/sys/kern/subr_kdb.c:165"), false),
            call(
                4,
                "zfs_ioc_pool_import+0x9d",
                Some("/usr/src/sys/contrib/openzfs/a/long/way/zfs_ioctl.c:1521"),
                false,
            ),
        ],
        end: Some("user mode".to_owned()),
    }
}

pub fn sleeping(number: usize) -> StackText {
    let threads =
        (0..=number % 3).map(|thread| format!("PID {number}, TID {}, worker", 200_000 + number * 10 + thread));
    let frames =
        ["sched_switch+0x70", "mi_switch+0xbf", "sleepq_wait+0x2c", "_sleep+0x29e", "taskqueue_thread_loop+0xb1"];
    let mut lines: Vec<_> =
        frames.iter().enumerate().map(|(frame, function)| call(frame, function, Some("kern/x.c:12"), false)).collect();
    lines.push(call(9, &format!("worker_{number}+0x10"), None, false));
    StackText { threads: threads.collect(), lines, end: None }
}

/// A report of a machine with so many stacks and lines of messages.
pub fn sections(stacks: usize, messages: usize) -> Vec<Section> {
    let number = |title| Column { title, is_number: true };
    let columns = vec![number("PID"), number("SIZE"), Column { title: "COMMAND", is_number: false }];
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let rows = vec![
        row(["9", "1.5 GiB", "init"]),
        row(["100", "900 KiB", "sh"]),
        row(["11", "2 MiB", HOSTILE]),
        row(["0x10", "12 MiB", &"long ".repeat(80)]),
    ];
    let mut lines: Vec<_> = (0..messages).map(|line| format!("em0: link state changed to UP, {line}")).collect();
    lines.push(format!("{} the end of a long line", "wide ".repeat(200)));
    let facts = vec![("Message", "page fault".to_owned()), ("Trap", HOSTILE.to_owned()), ("Long", "x".repeat(900))];
    let section = |id, title, blocks| Section { id, title, blocks };
    vec![
        section("panic", "Panic", vec![Block::Facts(facts), Block::Stacks(vec![panicked()])]),
        section("cpus", "CPUs", vec![Block::Stacks((1..4).map(sleeping).collect())]),
        section("threads", "All other threads", vec![Block::Stacks((0..stacks).map(sleeping).collect())]),
        section("processes", "Processes", vec![Block::Table(Table::new(columns, rows))]),
        section("messages", "Messages", vec![Block::Lines(lines)]),
        section("ddb", "Capture buffer of ddb", vec![Block::Note("ddb has captured nothing.".to_owned())]),
        section("modules", "Modules", vec![Block::Lines(vec!["kernel".to_owned(), HOSTILE.to_owned()])]),
    ]
}

pub fn head() -> Head {
    Head {
        title: "panic: page fault".to_owned(),
        fingerprint: Some("4f1c29ab77d0e3b1".to_owned()),
        facts: vec![("Host", "db3.example.org".to_owned()), ("Dump", HOSTILE.to_owned()), ("Kernel", "y".repeat(300))],
        prominent: vec!["panic"],
    }
}

/// A file with a report.
pub struct Report {
    pub file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Report {
    fn new(stacks: usize, messages: usize) -> Self {
        Self::write(&sections(stacks, messages))
    }

    pub fn write(sections: &[Section]) -> Self {
        let directory = directory();
        let file = directory.path().join("report.html");
        let mut out = BufWriter::new(File::create(&file).unwrap());
        html::write(&head(), sections, &mut out).unwrap();
        out.flush().unwrap();
        Self { file, _directory: directory }
    }

    pub fn open(&self, width: u32, theme: &str) -> Option<Browser> {
        Browser::open(&self.file, width, theme)
    }
}

/// What the search says of its hits.
pub fn count(browser: &mut Browser) -> String {
    browser.evaluate("document.getElementById('count').value").as_str().unwrap().to_owned()
}

#[track_caller]
pub fn search(browser: &mut Browser, text: &str) -> String {
    browser.evaluate("document.activeElement.blur(); document.getElementById('count').value = ''");
    browser.press("/", false);
    browser.write(text);
    browser.wait_for("document.getElementById('count').value !== ''");
    count(browser)
}

/// Comes when the page has been drawn some times, and what it does while it is drawn is done.
pub const IDLE: &str = "new Promise((done) => {
    const draw = (frames) => requestAnimationFrame(() => (frames ? draw(frames - 1) : done()));
    draw(20);
})";

/// Whether the hit that the search went to can be seen.
pub const SEES_HIT: &str = "(() => {
    const [range] = CSS.highlights.get('now');
    const box = range.getBoundingClientRect();
    return box.width > 0 && box.top > 0 && box.bottom < innerHeight && box.left >= 0 && box.right <= innerWidth;
})()";

#[test]
fn page_runs_its_own_script_and_asks_for_nothing() {
    let report = Report::new(100, 500);
    let Some(mut browser) = report.open(1280, "light") else { return };
    assert_eq!(browser.evaluate("document.getElementById('tools').hidden"), false);
    assert_eq!(browser.evaluate("getComputedStyle(document.body).display"), "grid");
    assert_eq!(browser.evaluate("document.images.length + document.scripts.length"), 1);
    assert_eq!(browser.complaints(), [""; 0]);
    // The policy is in force: what a dump would smuggle in does not run.
    browser
        .evaluate("document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = 1' }))");
    browser.evaluate("document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/x.png' }))");
    assert_eq!(browser.evaluate("window.ran"), Value::Null);
    assert!(!browser.complaints().is_empty());
}

#[test]
fn texts_arrive_as_the_kernel_has_them() {
    let report = Report::new(1, 1);
    let Some(mut browser) = report.open(1280, "light") else { return };
    let shown = "</script><img src=x onerror=alert(1)>\\u{0}\\u{1b}[2J \\u{202e}gnp.exe & 'all' \"this\"";
    for place in ["#panic dd:nth-of-type(2)", "header dd:nth-of-type(2)", "tbody tr:nth-child(3) td:last-child"] {
        assert_eq!(browser.evaluate(&format!("document.querySelector('{place}').textContent")), shown, "{place}");
    }
    assert_eq!(browser.evaluate("document.querySelector('#modules pre').textContent"), format!("kernel\n{shown}\n"));
}

#[test]
fn search_counts_goes_to_hits_and_unfolds_them() {
    let report = Report::new(100, 500);
    let Some(mut browser) = report.open(1280, "light") else { return };
    assert_eq!(search(&mut browser, "LINK STATE changed to up, 49"), "11 hits");
    assert_eq!(browser.evaluate("document.querySelector('nav a[href=\"#messages\"]').dataset.hits"), "11");
    assert_eq!(browser.evaluate("document.querySelectorAll('nav a[data-hits]').length"), 1);
    assert_eq!(browser.evaluate("document.querySelector('#messages details').open"), false);
    browser.press("Enter", false);
    assert_eq!(count(&mut browser), "1 of 11");
    assert_eq!(browser.evaluate("document.querySelector('#messages details').open"), true);
    browser.wait_for(SEES_HIT);
    browser.press("Enter", true);
    assert_eq!(count(&mut browser), "11 of 11");
    browser.wait_for(SEES_HIT);
    browser.evaluate("document.getElementById('next').click()");
    assert_eq!(count(&mut browser), "1 of 11");

    // A hit in two elements, in a stack that is folded twice.
    assert_eq!(search(&mut browser, "worker_77+0x10"), "1 hit");
    browser.press("Enter", false);
    browser.wait_for(SEES_HIT);
    assert_eq!(browser.evaluate("document.querySelectorAll('#threads .stack[open]').length"), 1);
    // One at the end of a line that is wider than the window.
    assert_eq!(search(&mut browser, "the end of a long line"), "1 hit");
    browser.press("Enter", false);
    browser.wait_for(SEES_HIT);

    assert_eq!(search(&mut browser, "nothing like that"), "No hits");
    assert_eq!(browser.evaluate("document.querySelectorAll('[data-hits]').length"), 0);
    browser.press("Escape", false);
    assert_eq!(count(&mut browser), "");
    assert_eq!(browser.evaluate("document.activeElement === document.body"), true);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn parts_fold() {
    let report = Report::new(100, 500);
    let Some(mut browser) = report.open(1280, "light") else { return };
    let open = "document.querySelectorAll('details[open]').length";
    assert_eq!(browser.evaluate(open), 4);
    // That of the section, and one for each stack.
    let all = browser.evaluate("document.querySelectorAll('details').length");
    assert_eq!(all, 106);
    browser.evaluate("document.getElementById('open').click()");
    assert_eq!(browser.evaluate(open), all);
    browser.evaluate("document.getElementById('close').click()");
    assert_eq!(browser.evaluate(open), 0);
    browser.evaluate("document.querySelector('nav a[href=\"#messages\"]').click()");
    browser.wait_for("document.querySelector('#messages details').open");
    browser.wait_for("document.querySelector('nav [aria-current]')?.textContent === 'Messages'");
    browser.evaluate("document.querySelector('nav a[href=\"#modules\"]').click()");
    browser.wait_for("document.querySelector('nav [aria-current]')?.textContent === 'Modules'");
    // Scrolling marks as well, once the page has gone where it was told to.
    browser.evaluate(IDLE);
    browser.evaluate("scrollTo(0, 0)");
    browser.wait_for("document.querySelector('nav [aria-current]')?.textContent === 'Panic'");
}

#[test]
fn keyboard_suffices() {
    let report = Report::new(1, 1);
    let Some(mut browser) = report.open(1280, "light") else { return };
    let mut seen = Vec::new();
    for _ in 0..24 {
        browser.press("Tab", false);
        let focused = "(() => { const on = document.activeElement, style = getComputedStyle(on);
            return [on.tagName + '#' + on.id, style.outlineStyle !== 'none' && style.outlineWidth !== '0px']; })()";
        let focused = browser.evaluate(focused);
        assert_eq!(focused[1], true, "the focus cannot be seen: {focused}");
        seen.push(focused[0].as_str().unwrap().to_owned());
    }
    assert_eq!(seen[..2], ["A#", "A#"], "the link that skips, and the first section");
    for element in ["INPUT#search", "BUTTON#open", "BUTTON#close", "BUTTON#theme", "SUMMARY#", "DIV#", "BUTTON#"] {
        assert!(seen.iter().any(|focused| focused == element), "{element} is not in {seen:?}");
    }
    browser.evaluate("document.querySelector('#panic summary').focus()");
    browser.press("Enter", false);
    assert_eq!(browser.evaluate("document.querySelector('#panic details').open"), false);
}

#[test]
fn tables_sort_by_value() {
    let report = Report::new(1, 1);
    let Some(mut browser) = report.open(1280, "light") else { return };
    let mut sorted = |column: usize| {
        let sort = format!("document.querySelectorAll('#processes th button')[{column}].click()");
        let cells = format!("[...document.querySelectorAll('#processes td:nth-child({})')]", column + 1);
        browser.evaluate(&sort);
        browser.evaluate(&format!("{cells}.map((cell) => cell.textContent.slice(0, 7))"))
    };
    assert_eq!(sorted(0), json!(["9", "11", "0x10", "100"]));
    assert_eq!(sorted(0), json!(["100", "0x10", "11", "9"]));
    assert_eq!(sorted(1), json!(["900 KiB", "2 MiB", "12 MiB", "1.5 GiB"]));
    assert_eq!(sorted(2), json!(["</scrip", "init", "long lo", "sh"]));
    let states = browser.evaluate("[...document.querySelectorAll('th')].map((head) => head.getAttribute('aria-sort'))");
    assert_eq!(states, json!([null, null, "ascending"]));
    assert_eq!(search(&mut browser, "long lon"), "40 hits");
}

/// The texts with too little contrast to what is behind them, by WCAG's formula.
pub const FAINT: &str = "(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const channels = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (color) => {
        const [r, g, b] = channels(color).map((c) => c / 255).map((c) => (c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4));
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const behind = (element) => {
        const color = getComputedStyle(element).backgroundColor;
        return channels(color)[3] === 255 ? color : behind(element.parentElement);
    };
    const seen = new Map();
    for (const element of document.querySelectorAll('body *')) {
        if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
        if (['SCRIPT'].includes(element.tagName)) continue;
        const pair = [getComputedStyle(element).color, behind(element)];
        const [dark, bright] = pair.map(luminance).sort((a, b) => a - b);
        seen.set(pair.join(' on '), (bright + .05) / (dark + .05));
    }
    return { pairs: seen.size, faint: [...seen].filter(([, contrast]) => contrast < 4.5) };
})()";

#[test]
fn both_themes_have_contrast_and_can_be_switched() {
    let report = Report::new(3, 3);
    let background = "getComputedStyle(document.body).backgroundColor";
    let Some(mut browser) = report.open(1280, "light") else { return };
    for (theme, expected) in [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 28)")] {
        browser.media("", theme);
        browser.wait_for(&format!("{background} === '{expected}'"));
        let contrasts = browser.evaluate(FAINT);
        assert_eq!(contrasts["faint"], json!([]), "{theme}");
        assert!(contrasts["pairs"].as_u64().unwrap() >= 8, "{contrasts}");
    }
    let pressed = "document.getElementById('theme').getAttribute('aria-pressed')";
    browser.wait_for(&format!("{pressed} === 'true'"));
    browser.evaluate("document.getElementById('theme').click()");
    assert_eq!(browser.evaluate(background), "rgb(255, 255, 255)");
    assert_eq!(browser.evaluate(pressed), "false");
    assert_eq!(browser.evaluate(FAINT)["faint"], json!([]));
}

#[test]
fn narrow_windows_do_not_scroll_sideways() {
    let report = Report::new(20, 20);
    for width in [320, 380, 700, 1000] {
        let Some(mut browser) = report.open(width, "light") else { return };
        browser.evaluate("document.getElementById('open').click()");
        assert_eq!(search(&mut browser, "worker"), "68 hits");
        let wider = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wider, 0, "{width}");
        // Long lines have boxes of their own.
        let scrolls = "(() => { const pre = document.querySelector('#messages pre'); return pre.scrollWidth > pre.clientWidth; })()";
        assert_eq!(browser.evaluate(scrolls), true);
    }
}

#[test]
fn paper_has_everything_unfolded_and_no_controls() {
    let report = Report::new(100, 500);
    let Some(mut browser) = report.open(1280, "dark") else { return };
    let shown = "(selector) => [...document.querySelectorAll(selector)].filter((element) => element.checkVisibility({ contentVisibilityAuto: true })).length";
    assert_eq!(browser.evaluate(&format!("({shown})('.stack pre')")), 4);
    // As without the script: only the style sheet unfolds.
    browser.media("print", "dark");
    assert_eq!(browser.evaluate(&format!("({shown})('nav, .tools, .skip')")), 0);
    // 100 stacks and those of the CPUs and of the panic.
    assert_eq!(browser.evaluate(&format!("({shown})('.stack pre')")), 104);
    assert_eq!(browser.evaluate(&format!("({shown})('#messages pre')")), 1);
    let colors = "[document.body, document.querySelector('pre'), document.querySelector('.trap')].map((element) => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor].join(' on '))";
    let black = "rgb(0, 0, 0) on rgb(255, 255, 255)";
    assert_eq!(browser.evaluate(colors), json!([black, "rgb(51, 51, 51) on rgb(255, 255, 255)", black]));
    browser.media("", "dark");
    let pdf = browser.call("Page.printToPDF", json!({"preferCSSPageSize": true}));
    // `%PDF-` in Base64. Folded, it would be of a few pages.
    let pdf = pdf["data"].as_str().unwrap();
    assert!(pdf.starts_with("JVBERi") && pdf.len() > 100_000, "{} bytes", pdf.len());
    assert_eq!(browser.evaluate("document.querySelectorAll('details[open]').length"), 4);
}

#[test]
fn page_is_of_use_without_its_script() {
    let report = Report::new(100, 500);
    let page = std::fs::read_to_string(&report.file).unwrap();
    let (start, rest) = page.split_once("<script>").unwrap();
    let (_, end) = rest.split_once("</script>").unwrap();
    std::fs::write(&report.file, [start, end].concat()).unwrap();
    let Some(mut browser) = report.open(1280, "light") else { return };
    assert_eq!(browser.evaluate("document.getElementById('tools').checkVisibility()"), false);
    browser.evaluate("document.querySelector('#messages summary').click()");
    assert_eq!(browser.evaluate("document.querySelector('#messages pre').checkVisibility()"), true);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn large_reports_open_and_search() {
    let report = Report::new(2000, 10_000);
    let Some(mut browser) = report.open(1280, "light") else { return };
    assert_eq!(search(&mut browser, " "), "100,000+ hits");
    assert_eq!(search(&mut browser, "taskqueue_thread_loop"), "2,003 hits");
    browser.press("Enter", true);
    browser.wait_for(SEES_HIT);
    assert_eq!(search(&mut browser, "link state"), "10,000 hits");
    browser.press("Enter", true);
    assert_eq!(count(&mut browser), "10,000 of 10,000");
    browser.wait_for(SEES_HIT);
    browser.evaluate("document.getElementById('open').click()");
    browser.wait_for("document.querySelectorAll('details:not([open])').length === 0");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Stacks that have not been drawn have heights that are guesses.
#[test]
fn links_lead_to_sections_past_many_stacks() {
    let report = Report::new(2000, 100);
    let Some(mut browser) = report.open(1280, "light") else { return };
    browser.evaluate("document.getElementById('open').click()");
    browser.evaluate(IDLE);
    browser.evaluate("location.hash = '#processes'");
    browser.evaluate(IDLE);
    let top = browser.evaluate("document.getElementById('processes').getBoundingClientRect().top").as_f64().unwrap();
    assert!((top - 72.0).abs() < 2.0, "{top}");
}

/// What a page has, in order, as assistive technology is told.
#[test]
fn headings_and_landmarks_are_in_order() {
    let report = Report::new(1, 1);
    let Some(mut browser) = report.open(1280, "light") else { return };
    let headings =
        browser.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((heading) => heading.tagName).join(' ')");
    assert_eq!(headings, "H1 H2 H2 H2 H2 H2 H2 H2");
    browser.call("Accessibility.enable", json!({}));
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let mut roles: Vec<String> = Vec::new();
    for node in tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] == false) {
        let (role, name) =
            (node["role"]["value"].as_str().unwrap(), node["name"]["value"].as_str().unwrap_or_default());
        if ["banner", "navigation", "search", "main", "region"].contains(&role) {
            roles.push(format!("{role} {name}").trim().to_owned());
        }
        if ["button", "textbox", "link"].contains(&role) {
            assert!(!name.is_empty(), "{node}");
        }
    }
    for expected in ["banner", "navigation Sections", "search", "main", "region Panic", "region Table: Processes"] {
        assert!(roles.iter().any(|role| role == expected), "{expected} is not in {roles:?}");
    }
}

/// Asserts that a file is HTML without errors.
#[track_caller]
fn is_valid(file: &Path) {
    let Ok(output) = Command::new("tidy").args(["-quiet", "-errors", "-utf8"]).arg(file).output() else {
        eprintln!("SKIPPED: there is no tidy here");
        return;
    };
    // It knows HTML, and of SVG no more than that it is there.
    let is_of_svg = |line: &&str| ["<svg> proprietary", "<title> proprietary"].iter().any(|text| line.contains(text));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().filter(|line| !is_of_svg(line)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn page_is_valid_html() {
    is_valid(&Report::new(100, 100).file);
}

#[test]
fn the_command_writes_the_page() {
    let directory = report::crash();
    let file = directory.path().join("crash.html");
    let written = report::report(directory.path(), &["--html", "-o", text(&file)]).ok();
    assert_eq!(written.stdout, "");
    let printed = report::report(directory.path(), &["--html"]).ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed.stdout);
    is_valid(&file);
    let both = report::report(directory.path(), &["--html", "--json"]).exits(2);
    assert!(both.stderr.contains("--html cannot be used with --json"), "{both:?}");

    let document = report::report(directory.path(), &["--json"]).ok().json();
    let Some(mut browser) = Browser::open(&file, 1280, "light") else { return };
    let titles = "[...document.querySelectorAll('h2')].map((title) => title.textContent)";
    let has_picture = |title: &&str| *title == "Configuration of the kernel";
    let expected = TITLES.iter().flat_map(|title| {
        let picture = has_picture(title).then_some("Physical memory");
        picture.into_iter().chain([*title])
    });
    assert_eq!(browser.evaluate(titles), json!(expected.collect::<Vec<_>>()));
    let fingerprint = "document.querySelector('header .fingerprint').textContent";
    assert_eq!(browser.evaluate(fingerprint), document["fingerprint"]["value"]);
    let prominent = "[...document.querySelectorAll('.prominent')].map((section) => section.id)";
    assert_eq!(browser.evaluate(prominent), json!(["panic", "stack"]));
    let functions = "[...document.querySelectorAll('#stack pre > b')].map((name) => name.textContent)";
    let frames = document["stack"]["frames"].as_array().unwrap().iter();
    let expected: Vec<&Value> = frames.map(|frame| &frame["function"]).collect();
    assert_eq!(browser.evaluate(functions), json!(expected));
    let trap = "document.querySelector('#stack .trap b').textContent";
    assert_eq!(browser.evaluate(trap), "exception 0xc: page fault at address 0x10");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Without a kernel, or of a file that says little, it is a page as well.
#[test]
fn the_command_writes_a_page_of_what_there_is() {
    let directory = report::crash();
    let (core, file) = (directory.path().join("core"), directory.path().join("crash.html"));
    crate::common::memtool(&["report", text(&core), "--html", "-o", text(&file)]).exits(1);
    is_valid(&file);
    let bytes = std::fs::read(&core).unwrap();
    std::fs::write(&core, &bytes[..bytes.len() / 2]).unwrap();
    report::report(directory.path(), &["--html", "-f", "-o", text(&file)]).exits(1);
    is_valid(&file);
}
