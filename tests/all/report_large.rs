//! Reports of large machines, in a real browser: what is folded is made when it is opened.

use crate::common::browser::Browser;
use crate::report_html::{FAINT, HOSTILE, IDLE, Report, SEES_HIT, panicked, search, sections, sleeping};
use serde_json::json;
use vmcore::physical_map::{Class, Kind, LayerBuilder, LayerName, PhysicalMap};
use vmcore::report::section::{Block, Section, StackLine, StackText};
use vmcore::table::{Column, Table};

/// A report of 100,000 threads.
const THREADS: usize = 100_000;

/// The map of 12 TiB with 1,000,000 ranges in each of two layers.
fn map_of_12_tib() -> PhysicalMap {
    let end = 12 << 40;
    let mut dump = LayerBuilder::new(LayerName::Dump, "test");
    let mut free = LayerBuilder::new(LayerName::Free, "test");
    for range in 0..500_000 {
        let start = range * (end / 500_000 / 4096 * 4096);
        dump.add(start, start + (1 + range % 7) * 4096, Kind::new(Class::Held, "in the dump"));
        free.add(start + 65_536, start + 131_072, Kind::free(u32::try_from(range % 9).unwrap(), Some(1)));
    }
    dump.add(0, end, Kind::new(Class::Missing, "not in the dump"));
    free.add(0, end, Kind::new(Class::Used, "in use"));
    PhysicalMap::new(end, [dump, free].map(|layer| layer.build(end).unwrap()).into())
}

/// A report of a machine with so many threads, each with a stack of its own, and as many processes.
fn large(threads: usize) -> Vec<Section> {
    let mut found = sections(threads, threads);
    let columns = ["PID", "THREADS", "ADDRESS", "COMMAND"];
    let columns = columns.map(|title| Column { title, is_number: title != "COMMAND" });
    let row = |number: usize| {
        let command = if number == 70_007 { HOSTILE.to_owned() } else { format!("daemon{number}") };
        vec![
            number.to_string(),
            "1".to_owned(),
            format!("{:#x}", 0xffff_f800_0000_0000_u64 + number as u64 * 1024),
            command,
        ]
    };
    for section in &mut found {
        if section.id == "processes" {
            section.blocks = vec![Block::Table(Table::new(columns, (0..threads).map(row).collect()))];
        }
        if section.id == "cpus" {
            let idle = (0..threads).map(|number| format!("PID 11, TID {number}, idle"));
            section.blocks = vec![Block::Stacks(vec![StackText { threads: idle.collect(), ..sleeping(1) }])];
        }
    }
    let map = Block::Map(Box::new(map_of_12_tib()), None);
    found.push(Section { id: "map", title: "Physical memory", blocks: vec![map] });
    found
}

/// How many elements a page has before anything is opened, at most.
const MOST_ELEMENTS: u64 = 15_000;
const ELEMENTS: &str = "document.querySelectorAll('*').length";
/// How many stacks, rows and groups of lines there are.
const MADE: &str = "[document.querySelectorAll('#threads .stack').length, document.querySelectorAll('#processes tbody tr td:nth-child(4)').length, document.querySelectorAll('#messages pre .group:not(.unmade)').length]";

/// Opens the folded part of a section, as a click does, and waits until what can be seen of it is there.
fn unfold(browser: &mut Browser, section: &str) {
    browser.evaluate(&format!("document.querySelector('#{section} .long > summary').click()"));
    browser.wait_for(&format!("document.querySelector('#{section} .group:not(.unmade)') !== null"));
}

/// The data is all there is of 100,000 threads before they are opened, whatever the window, and afterwards what is near it.
#[test]
fn a_page_of_100_000_threads_makes_elements_of_what_is_opened() {
    let report = Report::write(&large(THREADS));
    for (width, theme) in [(1280, "light"), (400, "dark"), (3840, "light")] {
        let Some(mut browser) = report.open(width, theme) else { return };
        let timing = "(() => { const [at] = performance.getEntriesByType('navigation'); return Math.round(at.loadEventEnd); })()";
        eprintln!("{width} pixels: loaded in {} ms", browser.evaluate(timing));
        let before = browser.evaluate(ELEMENTS).as_u64().unwrap();
        assert!(before < MOST_ELEMENTS, "{before}");
        assert_eq!(browser.evaluate(MADE), json!([0, 0, 0]));
        for section in ["threads", "processes", "messages"] {
            unfold(&mut browser, section);
        }
        let made = browser.evaluate(MADE);
        assert!((0..3).all(|kind| made[kind].as_u64().unwrap() > 0), "{made}");
        assert!(browser.evaluate(ELEMENTS).as_u64().unwrap() < before + MOST_ELEMENTS);
        // Its end is made when one goes there.
        browser.evaluate("document.querySelector('#threads .data').scrollIntoView({ block: 'end' })");
        browser.wait_for("document.querySelector('#threads .group:last-child .stack:last-child') !== null");
        let last = "document.querySelector('#threads .group:last-child .stack:last-child .what').textContent";
        assert_eq!(browser.evaluate(last), "PID 99999, TID 1199990, worker");
        assert!(browser.evaluate(ELEMENTS).as_u64().unwrap() < before + 2 * MOST_ELEMENTS);
        let wider = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wider, 0, "{width}");
        assert_eq!(browser.evaluate(FAINT)["faint"], json!([]), "{theme}");
        assert_eq!(browser.complaints(), [""; 0]);
    }
}

#[test]
fn search_finds_what_is_not_made_yet_and_makes_it() {
    let report = Report::write(&large(THREADS));
    let Some(mut browser) = report.open(1280, "light") else { return };
    let start = std::time::Instant::now();
    assert_eq!(search(&mut browser, "worker_77777+0x10"), "1 hit");
    eprintln!("first search: {} ms", start.elapsed().as_millis());
    assert_eq!(browser.evaluate("document.querySelector('#threads .what').dataset.hits"), "1");
    assert_eq!(browser.evaluate(MADE), json!([0, 0, 0]));
    browser.press("Enter", false);
    browser.wait_for(SEES_HIT);
    assert_eq!(browser.evaluate("document.querySelectorAll('#threads .stack[open]').length"), 1);
    let hit = "[...CSS.highlights.get('now')][0].toString()";
    assert_eq!(browser.evaluate(hit), "worker_77777+0x10");
    assert_eq!(browser.evaluate("document.querySelector('#threads .stack[open] .what').dataset.hits"), "1");

    // In a row, with what nobody may be made to run or to misread; in lines; and in the threads of a stack.
    for (text, found) in [
        ("</SCRIPT><img src=x", "</script><img src=x"),
        ("\\u{202e}gnp.exe & 'all' \"this\"", "\\u{202e}gnp.exe & 'all' \"this\""),
        ("daemon99999", "daemon99999"),
        ("link state changed to up, 99999", "link state changed to UP, 99999"),
        ("TID 99998, idle", "TID 99998, idle"),
        ("pid 99998, tid 1199981", "PID 99998, TID 1199981"),
    ] {
        assert_ne!(search(&mut browser, text), "No hits", "{text}");
        // The one at the end.
        browser.press("Enter", true);
        browser.wait_for(SEES_HIT);
        assert_eq!(browser.evaluate(hit), found);
    }
    assert_eq!(search(&mut browser, "taskqueue_thread_loop"), "100,000+ hits");
    browser.press("Enter", true);
    browser.wait_for(SEES_HIT);
    assert_eq!(search(&mut browser, "nothing like that"), "No hits");
    assert_eq!(browser.evaluate("document.querySelectorAll('[data-hits]').length"), 0);
    assert_eq!(browser.evaluate("document.images.length"), 0);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Hits of what is made while the search is on are marked, and those of what was made before.
#[test]
fn hits_are_marked_as_they_are_made() {
    let report = Report::write(&large(5000));
    let Some(mut browser) = report.open(1280, "light") else { return };
    assert_eq!(search(&mut browser, "daemon12"), "111 hits");
    let marked = "CSS.highlights.get('hit').size";
    assert_eq!(browser.evaluate(marked), 0);
    unfold(&mut browser, "processes");
    // Those of 12 and from 120 to 129, in the first group.
    browser.wait_for("CSS.highlights.get('hit').size >= 11");
    let before = browser.evaluate(marked);
    assert_eq!(search(&mut browser, "daemon13"), "111 hits");
    assert_eq!(browser.evaluate(marked), before);
    unfold(&mut browser, "threads");
    assert_eq!(search(&mut browser, "worker_7+"), "1 hit");
    assert_eq!(browser.evaluate(marked), 0);
    browser.evaluate("document.querySelectorAll('#threads .stack > summary')[7].click()");
    browser.wait_for(&format!("{marked} === 1"));
}

#[test]
fn what_is_made_is_what_would_have_been_written() {
    let hostile = |text: &str| format!("{text} {HOSTILE}");
    let mut stacks: Vec<StackText> = (0..90).map(sleeping).collect();
    stacks[3].threads = (0..5).map(|thread| hostile(&format!("PID {thread}"))).collect();
    stacks[4].threads = (0..90).map(|thread| hostile(&format!("PID {thread}"))).collect();
    stacks[5] = panicked();
    stacks[6].lines.push(StackLine::Trap(vec![hostile("trap"), hostile("registers")]));
    stacks[6].lines.push(StackLine::Trap(Vec::new()));
    stacks[7].end = Some(hostile("incomplete"));
    stacks[8] = StackText { threads: Vec::new(), lines: Vec::new(), end: None };
    stacks[9].lines = vec![StackLine::Call {
        frame: 1000,
        pc: 16,
        function: hostile("f+0x1"),
        module: Some(hostile("module")),
        source: Some(hostile("source")),
        is_inlined: true,
        repeats: 1,
    }];
    stacks[10].lines = vec![StackLine::Trap(vec!["alone".to_owned()])];
    let columns = vec![Column { title: "N", is_number: true }, Column { title: "NAME", is_number: false }];
    let rows: Vec<_> =
        (0..90).map(|row| vec![row.to_string(), if row % 7 == 0 { hostile("row") } else { String::new() }]).collect();
    let lines: Vec<_> = (0..90).map(|line| if line % 5 == 0 { hostile("line") } else { String::new() }).collect();
    let with = |count: usize| {
        let table = Table::new(columns.clone(), rows.iter().cloned().cycle().take(count).collect());
        vec![
            Block::Stacks(stacks.iter().cloned().cycle().take(count).collect()),
            Block::Table(table),
            Block::Lines(lines.iter().cloned().cycle().take(count).collect()),
        ]
    };
    let report = Report::write(&[
        Section { id: "written", title: "Written", blocks: with(90) },
        Section { id: "made", title: "Made", blocks: with(100_000) },
    ]);
    let Some(mut browser) = report.open(1280, "light") else { return };
    for kind in ["written", "made"] {
        browser.evaluate(&format!(
            "document.querySelectorAll('#{kind} > .long').forEach((part) => {{ part.open = true; }})"
        ));
    }
    browser.wait_for("document.querySelectorAll('#made .group:not(.unmade)').length >= 3");
    let stack = "(kind, number) => { const stack = document.querySelectorAll('#' + kind + ' .stack')[number]; stack.open = true; return new Promise((done) => setTimeout(() => done(stack.outerHTML.replaceAll('>\\n', '>')), 20)); }";
    for number in 0..90 {
        // Some are not near the window.
        if number % 50 == 0 {
            browser.evaluate(&format!(
                "document.querySelectorAll('#made > .long > .data > .group')[{}].scrollIntoView()",
                number / 50
            ));
            browser.wait_for(&format!(
                "document.querySelectorAll('#made .stack').length > {}",
                (number / 50 + 1) * 50 - 1
            ));
        }
        let written = browser.evaluate(&format!("({stack})('written', {number})"));
        assert_eq!(browser.evaluate(&format!("({stack})('made', {number})")), written, "{number}");
        assert!(written.as_str().unwrap().len() > 30);
    }
    let text =
        "(kind) => [...document.querySelectorAll('#' + kind + ' tbody tr')].slice(0, 90).map((row) => row.outerHTML)";
    let rows = browser.evaluate(&format!("({text})('written')"));
    assert_eq!(rows.as_array().unwrap().len(), 90);
    assert_eq!(browser.evaluate(&format!("({text})('made')")), rows);
    let text = "(kind, inner) => document.querySelector('#' + kind + ' > .long > pre' + inner).innerHTML.split('\\n').slice(0, 90)";
    let lines = browser.evaluate(&format!("({text})('written', '')"));
    assert_eq!(browser.evaluate(&format!("({text})('made', ' .group')")), lines);
    assert!(lines.to_string().contains("<span class=\\\"escape\\\">"), "{lines}");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn tables_that_are_data_sort_by_value() {
    let report = Report::write(&large(20_000));
    let Some(mut browser) = report.open(1280, "light") else { return };
    unfold(&mut browser, "processes");
    let first = "document.querySelector('#processes tbody td:nth-child(1)').textContent";
    assert_eq!(browser.evaluate(first), "0");
    let sort = "document.querySelectorAll('#processes th button')[0].click()";
    browser.evaluate(sort);
    assert_eq!(browser.evaluate(first), "0");
    browser.evaluate(sort);
    assert_eq!(browser.evaluate(first), "19999");
    // The search has the new order.
    assert_eq!(search(&mut browser, "daemon1234"), "11 hits");
    browser.press("Enter", false);
    browser.wait_for(SEES_HIT);
    assert_eq!(browser.evaluate("[...CSS.highlights.get('now')][0].startContainer.data"), "daemon12349");
}

#[test]
fn keyboard_opens_what_is_data() {
    let report = Report::write(&large(20_000));
    let Some(mut browser) = report.open(1280, "light") else { return };
    browser.evaluate("document.querySelector('#threads .long > summary').focus()");
    browser.press("Enter", false);
    browser.wait_for("document.querySelector('#threads .stack') !== null");
    for number in 0..120 {
        browser.press("Tab", false);
        let what = browser.evaluate("document.activeElement.querySelector('.what').textContent");
        assert!(what.as_str().unwrap().starts_with(&format!("PID {number}, ")), "{number}: {what}");
        // A person does not press it before the page is drawn.
        browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
    }
    browser.press("Enter", false);
    browser.wait_for(
        "document.activeElement.parentElement.querySelector('pre')?.textContent.includes('worker_119') === true",
    );
}

#[test]
fn all_opens_and_closes() {
    let report = Report::write(&large(20_000));
    let Some(mut browser) = report.open(1280, "light") else { return };
    browser.evaluate("document.getElementById('open').click()");
    browser.wait_for("document.querySelectorAll('#threads .stack[open] > pre').length >= 50");
    assert_eq!(browser.evaluate("document.querySelectorAll('details:not([open])').length"), 0);
    // What is made later is open, too.
    browser.evaluate("document.querySelector('#threads .data').scrollIntoView({ block: 'end' })");
    browser.wait_for("document.querySelector('#threads .group:last-child .stack[open] > pre') !== null");
    browser.evaluate("document.getElementById('close').click()");
    assert_eq!(browser.evaluate("document.querySelectorAll('details[open]').length"), 0);
    assert!(browser.evaluate(ELEMENTS).as_u64().unwrap() < 2 * MOST_ELEMENTS);
    browser.evaluate("location.hash = '#processes'");
    browser.wait_for("document.querySelector('#processes td') !== null");
    browser.evaluate(IDLE);
    let top = browser.evaluate("document.getElementById('processes').getBoundingClientRect().top").as_f64().unwrap();
    assert!((top - 72.0).abs() < 2.0, "{top}");
}

#[test]
fn paper_has_the_beginning_of_what_is_data_and_says_what_it_lacks() {
    let report = Report::write(&large(20_000));
    let Some(mut browser) = report.open(1280, "light") else { return };
    let open = "document.querySelectorAll('details[open]').length";
    let before = browser.evaluate(open);
    browser.evaluate("dispatchEvent(new Event('beforeprint'))");
    assert_eq!(browser.evaluate("document.querySelectorAll('#threads .stack[open] > pre').length"), 1000);
    assert_eq!(browser.evaluate("document.querySelectorAll('#processes tbody:not(.unmade) tr').length"), 5000);
    let notes = "[...document.querySelectorAll('.unprinted')].map((note) => note.textContent)";
    let text = |rest: &str| format!("{rest} more are not printed here; a report as text has all.");
    assert_eq!(browser.evaluate(notes), json!([text("19,000"), text("15,000")]));
    browser.media("print", "dark");
    assert_eq!(browser.evaluate("document.querySelector('#threads .unmade').checkVisibility()"), false);
    browser.media("", "light");
    browser.evaluate("dispatchEvent(new Event('afterprint'))");
    assert_eq!(browser.evaluate(notes), json!([]));
    assert_eq!(browser.evaluate(open), before);
    let pdf = browser.call("Page.printToPDF", json!({"preferCSSPageSize": true}));
    assert!(pdf["data"].as_str().unwrap().len() > 1_000_000);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn without_the_script_a_page_says_what_it_cannot_show() {
    let report = Report::write(&large(20_000));
    let page = std::fs::read_to_string(&report.file).unwrap();
    let (start, rest) = page.rsplit_once("</main>").unwrap();
    std::fs::write(&report.file, format!("{start}</main>{}", rest.split_once("<script>").unwrap().0)).unwrap();
    let Some(mut browser) = report.open(1280, "light") else { return };
    browser.evaluate("document.querySelector('#threads .long > summary').click()");
    let note = "document.querySelector('#threads .long > .note')";
    assert_eq!(browser.evaluate(&format!("{note}.checkVisibility()")), true);
    let said = "There are too many to show them without this page's script. A report as text has all.";
    assert_eq!(browser.evaluate(&format!("{note}.textContent")), said);
    assert_eq!(browser.evaluate("document.querySelector('#threads .data').checkVisibility()"), false);
    assert_eq!(browser.evaluate("document.querySelectorAll('#panic pre').length"), 1);
}

/// A million ranges are cells, of which a page has a bounded number.
#[test]
fn a_map_of_12_tib_is_a_bounded_part_of_a_page() {
    let map = Block::Map(Box::new(map_of_12_tib()), None);
    let report = Report::write(&[Section { id: "map", title: "Physical memory", blocks: vec![map] }]);
    let length = std::fs::metadata(&report.file).unwrap().len();
    assert!(length < 1_500_000, "{length}");
    let Some(mut browser) = report.open(400, "dark") else { return };
    assert_eq!(browser.evaluate("document.querySelector('.pm-view').value"), "0x0 to 0xc0000000000, 12 TiB");
    browser.evaluate("document.querySelector('.pm-picture').focus()");
    browser.press("+", false);
    browser.wait_for("document.querySelector('.pm-view').value.endsWith(', 6 TiB')");
    browser.wait_for("document.querySelector('.pm-readout').value.includes('in the dump')");
    let wider = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(wider, 0);
    assert_eq!(browser.complaints(), [""; 0]);
}
