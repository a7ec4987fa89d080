//! Pictures of physical memory as HTML and SVG, in a real browser.

use crate::common::browser::Browser;
use crate::common::{demo, demo_machine, directory, memtool, names, on, text, write_machine};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use vmcore::physical_map::html::{Page, SCRIPT, figure, page, style};
use vmcore::physical_map::{Class, Kind, LayerBuilder, LayerName, PhysicalMap};

const GIB: u64 = 1 << 30;

/// A map of 64 GiB with a dump of which every other page is missing, and many free blocks.
fn fragmented() -> PhysicalMap {
    let end = 64 * GIB;
    let mut memory = LayerBuilder::new(LayerName::Memory, "test");
    memory.add(0, 3 * GIB, Kind::ram(Some(0)));
    memory.add(4 * GIB, end, Kind::ram(Some(1)));
    memory.add(0, end, Kind::new(Class::Hole, "hole"));
    let mut dump = LayerBuilder::new(LayerName::Dump, "test");
    let mut free = LayerBuilder::new(LayerName::Free, "test");
    for block in 0..1_000_000 {
        let start = 4 * GIB + block * 4 * 4096;
        dump.add(start, start + 4096, Kind::new(Class::Held, "in the dump"));
        let order = u32::try_from(block % 2).unwrap();
        free.add(start + 4096, start + 4096 + (4096 << order), Kind::free(order, Some(1)));
    }
    dump.add(0, end, Kind::new(Class::Missing, "not in the dump"));
    free.add(0, end, Kind::new(Class::Used, "in use"));
    let layers = [memory, dump, free].map(|layer| layer.build(end).unwrap());
    PhysicalMap::new(end, layers.into())
}

/// A page of the demo machine.
fn demo_page(directory: &Path) -> PathBuf {
    let file = directory.join("map.html");
    assert_eq!(demo(&["map", "--html", text(&file)]).ok().stdout, "");
    file
}

fn readout(browser: &mut Browser) -> String {
    browser.evaluate("document.querySelector('.pm-readout').value").as_str().unwrap().to_owned()
}

fn view(browser: &mut Browser) -> String {
    browser.evaluate(DRAWN);
    browser.evaluate("document.querySelector('.pm-view').value").as_str().unwrap().to_owned()
}

/// Comes when what was changed has been drawn.
const DRAWN: &str =
    "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done))))";

/// Has the mouse do something at a part of the width of the picture, and a bit below the top of a bar.
fn mouse(browser: &mut Browser, what: &str, part: f64, more: &Value) {
    let place = browser.evaluate("(() => { const box = document.querySelector('.pm-map').getBoundingClientRect(); return [box.left, box.width, box.top + 50]; })()");
    let number = |index: usize| place[index].as_f64().unwrap();
    let mut event = json!({"type": what, "x": number(0) + part * number(1), "y": number(2), "button": "none"});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    browser.call("Input.dispatchMouseEvent", event);
}

#[test]
fn page_zooms_moves_and_tells_what_is_under_the_pointer() {
    let directory = directory();
    let Some(mut browser) = Browser::open(&demo_page(directory.path()), 1280, "light") else { return };
    assert_eq!(view(&mut browser), "0x0 to 0x108000000, 4.1 GiB");
    mouse(&mut browser, "mouseMoved", 0.25, &json!({}));
    let told = readout(&mut browser);
    assert!(told.contains("memory: RAM, domain 0  (0x3e00000 to 0x8000000, 66 MiB)"), "{told}");
    assert!(told.contains("types: write-back  (0x100000 to 0x10000000"), "{told}");
    let (address, page) = told.lines().next().unwrap().split_once("  page ").unwrap();
    let address = u64::from_str_radix(address.strip_prefix("0x").unwrap(), 16).unwrap();
    assert_eq!(page.parse::<u64>().unwrap(), address / 4096);

    // The address under the pointer stays where it is.
    for size in ["203.7 MiB", "101.8 MiB"] {
        mouse(&mut browser, "mouseWheel", 0.25, &json!({"deltaX": 0, "deltaY": -200}));
        assert!(view(&mut browser).ends_with(size), "{}", view(&mut browser));
    }
    mouse(&mut browser, "mouseMoved", 0.25, &json!({}));
    let zoomed = readout(&mut browser);
    let near = u64::from_str_radix(zoomed.split_once("  page ").unwrap().0.strip_prefix("0x").unwrap(), 16).unwrap();
    assert!(near.abs_diff(address) <= 2 * 4096, "{told} {zoomed}");
    // A page stays narrow enough to see its neighbours.
    browser.evaluate("for (let count = 0; count < 40; count += 1) document.querySelector('[data-zoom=in]').click()");
    let narrow = view(&mut browser);
    assert!(narrow.ends_with(" KiB"), "{narrow}");
    // Dragging moves by as much.
    for (what, part, buttons) in [("mousePressed", 0.5, 1), ("mouseMoved", 0.25, 1), ("mouseReleased", 0.25, 0)] {
        mouse(&mut browser, what, part, &json!({"button": "left", "buttons": buttons, "clickCount": 1}));
    }
    assert_ne!(view(&mut browser), narrow);
    browser.evaluate("document.querySelector('[data-zoom=all]').click()");
    assert_eq!(view(&mut browser), "0x0 to 0x108000000, 4.1 GiB");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn keys_do_what_the_mouse_does() {
    let directory = directory();
    let Some(mut browser) = Browser::open(&demo_page(directory.path()), 1280, "light") else { return };
    browser.evaluate("document.querySelector('.pm-picture').focus()");
    let all = view(&mut browser);
    let mut seen = vec![all.clone()];
    for (key, is_new) in
        [("+", true), ("ArrowRight", true), ("ArrowLeft", false), ("+", true), ("-", false), ("Home", true)]
    {
        browser.press(key, false);
        let now = view(&mut browser);
        assert!(!is_new || !seen.contains(&now), "{key}: {now}");
        seen.push(now);
    }
    assert!(readout(&mut browser).starts_with("0x"), "{}", readout(&mut browser));
    browser.press("0", false);
    assert_eq!(view(&mut browser), all);
    browser.press("ArrowLeft", false);
    assert_eq!(view(&mut browser), all);
}

#[test]
fn two_fingers_zoom() {
    let directory = directory();
    let Some(mut browser) = Browser::open(&demo_page(directory.path()), 1280, "light") else { return };
    browser.call("Emulation.setTouchEmulationEnabled", json!({"enabled": true, "maxTouchPoints": 2}));
    let all = view(&mut browser);
    let top = browser.evaluate("document.querySelector('.pm-bar').getBoundingClientRect().top + 5");
    let touch = |browser: &mut Browser, what: &str, xs: &[f64]| {
        let points: Vec<_> = xs.iter().enumerate().map(|(id, x)| json!({"x": x, "y": top, "id": id})).collect();
        browser.call("Input.dispatchTouchEvent", json!({"type": what, "touchPoints": points}));
    };
    touch(&mut browser, "touchStart", &[500.0, 600.0]);
    touch(&mut browser, "touchMove", &[400.0, 700.0]);
    touch(&mut browser, "touchMove", &[300.0, 800.0]);
    touch(&mut browser, "touchEnd", &[]);
    let zoomed = view(&mut browser);
    assert!(zoomed != all && zoomed.ends_with(" MiB"), "{zoomed}");
}

#[test]
fn layers_are_shown_as_they_are_wanted() {
    let directory = directory();
    let Some(mut browser) = Browser::open(&demo_page(directory.path()), 1280, "light") else { return };
    let height = "document.querySelector('.pm-map').getBoundingClientRect().height";
    let both = browser.evaluate(height).as_f64().unwrap();
    browser.evaluate("document.querySelector('input[data-layer=memory]').click()");
    let display = "getComputedStyle(document.querySelector('g[data-layer=memory]')).display";
    assert_eq!(browser.evaluate(display), "none");
    assert!(browser.evaluate(height).as_f64().unwrap() < both);
    mouse(&mut browser, "mouseMoved", 0.25, &json!({}));
    browser.evaluate("document.querySelector('input[data-layer=memory]').click()");
    assert_eq!(browser.evaluate(height).as_f64().unwrap(), both);
}

#[test]
fn both_themes_have_their_colours_and_no_window_scrolls_sideways() {
    let directory = directory();
    let file = demo_page(directory.path());
    let background = "getComputedStyle(document.body).backgroundColor";
    let hole = "getComputedStyle(document.querySelector('path.pm-hole')).fill";
    for width in [320, 400, 1280, 3840] {
        let Some(mut browser) = Browser::open(&file, width, "light") else { return };
        let wider = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wider, 0, "{width}");
        assert_eq!(browser.evaluate(background), "rgb(255, 255, 255)");
        assert_eq!(browser.evaluate(hole), "rgb(230, 233, 237)");
        browser.media("", "dark");
        browser.wait_for(&format!("{background} === 'rgb(20, 23, 28)' && {hole} === 'rgb(38, 44, 53)'"));
        // Texts along the axis do not run into each other.
        let gaps = "(() => { const boxes = [...document.querySelectorAll('.pm-ticks text')].map((text) => text.getBoundingClientRect()); return boxes.slice(1).every((box, index) => box.left > boxes[index].right); })()";
        assert_eq!(browser.evaluate(gaps), true, "{width}");
        browser.media("print", "dark");
        assert_eq!(browser.evaluate("document.querySelector('.pm-tools').checkVisibility()"), false);
        assert_eq!(browser.evaluate("document.querySelector('.pm-map').checkVisibility()"), true);
        assert_eq!(browser.complaints(), [""; 0]);
    }
}

#[test]
fn page_is_a_picture_with_a_legend_without_its_script() {
    let directory = directory();
    let file = demo_page(directory.path());
    let page = std::fs::read_to_string(&file).unwrap();
    let (start, rest) = page.rsplit_once("<script>").unwrap();
    let (_, end) = rest.split_once("</script>").unwrap();
    std::fs::write(&file, [start, end].concat()).unwrap();
    let Some(mut browser) = Browser::open(&file, 1280, "light") else { return };
    for hidden in [".pm-tools", ".pm-readout", ".pm-keys", "input"] {
        assert_eq!(
            browser.evaluate(&format!("document.querySelector('{hidden}').checkVisibility()")),
            false,
            "{hidden}"
        );
    }
    assert_eq!(browser.evaluate("document.querySelectorAll('.pm-bar path[d^=M]').length > 8"), true);
    assert_eq!(browser.evaluate("document.querySelector('.pm-legend').textContent.includes('254.9 MiB')"), true);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// What the script draws is what was there before.
#[test]
fn script_draws_the_same_picture() {
    let directory = directory();
    let file = demo_page(directory.path());
    let page = std::fs::read_to_string(&file).unwrap();
    // As wide as the columns of the static picture.
    let Some(mut browser) = Browser::open(&file, 1024 + 64, "light") else { return };
    let drawn = "[...document.querySelectorAll('.pm-bar path:not(.pm-fold)')].map((path) => [path.getAttribute('class'), path.getBBox().x, path.getBBox().width])";
    let now = browser.evaluate(drawn);
    let (start, rest) = page.rsplit_once("<script>").unwrap();
    std::fs::write(&file, [start, rest.split_once("</script>").unwrap().1].concat()).unwrap();
    let Some(mut plain) = Browser::open(&file, 1024 + 64, "light") else { return };
    let before = plain.evaluate(drawn);
    let (now, before) = (now.as_array().unwrap(), before.as_array().unwrap());
    assert!(now.len() > 8 && now.len() == before.len());
    for (now, before) in now.iter().zip(before) {
        let near = |index: usize| (now[index].as_f64().unwrap() - before[index].as_f64().unwrap()).abs() <= 1.0;
        assert!(now[0] == before[0] && near(1) && near(2), "{now} {before}");
    }
}

#[test]
fn millions_of_ranges_stay_a_small_file_that_opens_and_tells() {
    let map = fragmented();
    let directory = directory();
    let file = directory.path().join("map.html");
    let written = page(&map, &Page { title: "Large".to_owned(), ..Page::default() });
    assert!(written.len() < 2_000_000, "{}", written.len());
    std::fs::write(&file, written).unwrap();
    let Some(mut browser) = Browser::open(&file, 1280, "light") else { return };
    assert_eq!(view(&mut browser), "0x0 to 0x1000000000, 64 GiB");
    mouse(&mut browser, "mouseMoved", 0.2, &json!({}));
    let told = readout(&mut browser);
    assert!(told.contains("dump: in the dump 25.0 %, not in the dump 75.0 %"), "{told}");
    assert!(told.contains("free, order 1, domain 1 25.0 %"), "{told}");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_page_can_have_several_figures() {
    let map = fragmented();
    let directory = directory();
    let file = directory.path().join("map.html");
    let small = PhysicalMap::new(map.end, vec![map.layers[0].clone()]);
    let figures = [figure(&small, "one", "One", None), figure(&small, "two", "Two", Some(16384))].concat();
    let text = format!(
        "<!DOCTYPE html><html><head><style>{}</style></head><body>{figures}<script>{SCRIPT}</script></body></html>",
        style()
    );
    std::fs::write(&file, text).unwrap();
    let Some(mut browser) = Browser::open(&file, 1280, "light") else { return };
    let ids = "(() => { const ids = [...document.querySelectorAll('[id]')].map((element) => element.id); return ids.length === new Set(ids).size && ids.length > 5; })()";
    assert_eq!(browser.evaluate(ids), true);
    browser.evaluate("document.querySelector('#two [data-zoom=in]').click()");
    browser.evaluate(DRAWN);
    let views = browser.evaluate("[...document.querySelectorAll('.pm-view')].map((view) => view.value)");
    assert_ne!(views[0], views[1]);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn files_are_valid_and_created_once_and_standard_output_has_the_same() {
    let directory = directory();
    let (html, svg) = (directory.path().join("map.html"), directory.path().join("map.svg"));
    let both = ["map", "--html", text(&html), "--svg", text(&svg)];
    demo(&both).ok();
    assert_eq!(demo(&["map", "--html", "-"]).ok().stdout, std::fs::read_to_string(&html).unwrap());
    assert_eq!(demo(&["map", "--svg", "-"]).ok().stdout, std::fs::read_to_string(&svg).unwrap());
    demo(&both).fails_saying(&["map.html already exists"]);
    demo(&["map", "--html", text(&html), "--svg", text(&html)]).exits(1);
    assert_eq!(names(directory.path()), ["map.html", "map.svg"]);
    let document = demo(&["map", "--json", "--svg", text(&directory.path().join("more.svg"))]).ok().json();
    assert_eq!(document["schema"], "memtool.map");
    if let Ok(output) = Command::new("tidy").args(["-quiet", "-errors", "-utf8"]).arg(&html).output() {
        // It knows HTML, and of SVG no more than that it is there.
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said: Vec<&str> = said.lines().filter(|line| !line.contains("proprietary attribute")).collect();
        assert_eq!(said, [""; 0]);
    }
    let Some(mut browser) = Browser::open(&svg, 1280, "dark") else { return };
    assert_eq!(browser.evaluate("document.documentElement.namespaceURI"), "http://www.w3.org/2000/svg");
    assert_eq!(browser.evaluate("getComputedStyle(document.querySelector('.pm-page')).fill"), "rgb(20, 23, 28)");
    assert_eq!(browser.evaluate("document.querySelectorAll('path[d^=M] > title').length > 8"), true);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn what_firmware_calls_its_ranges_is_a_text() {
    let directory = directory();
    let hostile = "</script><img src=x onerror=alert(1)> \u{202e}gnp & 'all'";
    let mut machine = demo_machine();
    machine["memory"]["reserved"][0]["kind"] = json!(hostile);
    let machine = write_machine(directory.path(), &machine);
    let file = directory.path().join("map.html");
    on(&machine, &["map", "--html", text(&file)]).ok();
    let Some(mut browser) = Browser::open(&file, 1280, "light") else { return };
    assert_eq!(browser.evaluate("document.images.length"), 0);
    let shown = "document.querySelector('.pm-legend').textContent.includes('</script><img src=x onerror=alert(1)> \\\\u{202e}gnp & ')";
    assert_eq!(browser.evaluate(shown), true);
    assert_eq!(browser.complaints(), [""; 0]);
    // Nothing runs that is not the page's own.
    browser
        .evaluate("document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = 1' }))");
    assert_eq!(browser.evaluate("window.ran"), Value::Null);
    assert!(!browser.complaints().is_empty());
}

#[test]
fn machines_without_memory_have_a_page() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["memory"] = json!({"source": "machdep.smap", "segments": [], "reserved": []});
    machine["ranges"] = json!({"descriptors": []});
    let machine = write_machine(directory.path(), &machine);
    let file = directory.path().join("map.html");
    on(&machine, &["map", "--html", text(&file)]).ok();
    let Some(mut browser) = Browser::open(&file, 400, "light") else { return };
    browser.evaluate("document.querySelector('[data-zoom=in]').click()");
    mouse(&mut browser, "mouseMoved", 0.5, &json!({}));
    assert_eq!(browser.complaints(), [""; 0]);
    memtool(&["map", "--html", text(&file), "-M", text(&machine)]).exits(1);
}

#[test]
fn a_report_has_the_picture_of_its_dump() {
    let directory = directory();
    let file = directory.path().join("report.html");
    let report = ["--machine", "demo", "report", "--html", "--output", text(&file)];
    memtool(&report).ok();
    let Some(mut browser) = Browser::open(&file, 1280, "light") else { return };
    assert_eq!(browser.evaluate("document.querySelectorAll('#map .pm-figure').length"), 1);
    // The policy lets its script run, and its style sheet count.
    assert_eq!(view(&mut browser), "0x0 to 0x108000000, 4.1 GiB");
    browser.evaluate("document.querySelector('.pm-picture').focus()");
    browser.press("+", false);
    assert!(!view(&mut browser).ends_with("4.1 GiB"));
    assert!(readout(&mut browser).contains("dump: "), "{}", readout(&mut browser));
    let display = browser.evaluate("getComputedStyle(document.querySelector('.pm-legend')).display");
    assert_eq!(display, "grid");
    assert_eq!(browser.complaints(), [""; 0]);
    // As text, it is what the picture adds up to, if it is asked for.
    let table = memtool(&["--machine", "demo", "report", "--sections", "map"]).ok().stdout;
    assert!(table.contains("Physical memory\n") && table.contains("not in the dump"), "{table}");
    assert!(!memtool(&["--machine", "demo", "report"]).ok().stdout.contains("Physical memory\n"));
}
