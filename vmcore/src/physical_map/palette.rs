//! The colours of kinds, as classes of a style sheet.

use super::{Class, Kind};
use std::fmt::Write;

/// A class of the style sheet, and its colour on a light and on a dark page.
type Colour = (&'static str, &'static str, &'static str);

const COLOURS: [Colour; 28] = [
    ("pm-ram0", "#3a8f5c", "#4fae74"),
    ("pm-ram1", "#2f7fb8", "#4d9fd6"),
    ("pm-ram2", "#7d5fb2", "#a188d6"),
    ("pm-ram3", "#1f8a8a", "#45b3b3"),
    ("pm-ram", "#86a794", "#6f9480"),
    ("pm-reserved", "#d1a730", "#d3ae45"),
    ("pm-acpi", "#d98c3a", "#e0a05a"),
    ("pm-nvs", "#b8742c", "#c98a48"),
    ("pm-bad", "#b3261e", "#e5736b"),
    ("pm-persistent", "#a05a9c", "#c98bc5"),
    ("pm-firmware", "#9c8a52", "#b5a46d"),
    ("pm-hole", "#e6e9ed", "#262c35"),
    ("pm-wb", "#3a8f5c", "#4fae74"),
    ("pm-wt", "#2f7fb8", "#4d9fd6"),
    ("pm-wp", "#7d5fb2", "#a188d6"),
    ("pm-wc", "#d1a730", "#d3ae45"),
    ("pm-uc", "#c2604f", "#d97a70"),
    ("pm-default", "#c3c9d0", "#4a525d"),
    ("pm-held", "#2f7fb8", "#4d9fd6"),
    ("pm-missing", "#e0e4e9", "#2d343e"),
    ("pm-free0", "#c2504d", "#d9716e"),
    ("pm-free1", "#d98c3a", "#e0a05a"),
    ("pm-free2", "#d1b430", "#d6bf55"),
    ("pm-free3", "#8fb04a", "#a3c463"),
    ("pm-free4", "#3a8f5c", "#4fae74"),
    ("pm-used", "#d5dae0", "#39414c"),
    ("pm-file", "#2f7fb8", "#4d9fd6"),
    ("pm-anonymous", "#8a5fb2", "#b08be0"),
];

/// Colours of what is no kind: text, lines and the page, on a light and on a dark page.
const TEXT: [Colour; 3] =
    [("text", "#1c2128", "#dde2e9"), ("dim", "#545d68", "#9ca7b4"), ("page", "#ffffff", "#14171c")];

/// The class of a kind.
pub(super) const fn class_of(kind: &Kind) -> &'static str {
    match kind.class {
        Class::Ram => match kind.domain {
            None => "pm-ram",
            Some(domain) => match domain % 4 {
                0 => "pm-ram0",
                1 => "pm-ram1",
                2 => "pm-ram2",
                _ => "pm-ram3",
            },
        },
        Class::Reserved => "pm-reserved",
        Class::Acpi => "pm-acpi",
        Class::AcpiNvs => "pm-nvs",
        Class::Unusable | Class::UndefinedType => "pm-bad",
        Class::Persistent => "pm-persistent",
        Class::Firmware => "pm-firmware",
        Class::Hole => "pm-hole",
        Class::WriteBack => "pm-wb",
        Class::WriteThrough => "pm-wt",
        Class::WriteProtect => "pm-wp",
        Class::WriteCombine => "pm-wc",
        Class::Uncacheable => "pm-uc",
        Class::DefaultType | Class::UnknownType => "pm-default",
        Class::Held => "pm-held",
        Class::Missing => "pm-missing",
        Class::Free(0..=1) => "pm-free0",
        Class::Free(2..=4) => "pm-free1",
        Class::Free(5..=7) => "pm-free2",
        Class::Free(8..=10) => "pm-free3",
        Class::Free(_) => "pm-free4",
        Class::Used => "pm-used",
        Class::File => "pm-file",
        Class::Anonymous => "pm-anonymous",
        Class::OtherPage => "pm-acpi",
    }
}

/// Rules for a page, whose `color-scheme` decides.
pub(super) fn rules_of_page() -> String {
    let mut rules = String::new();
    for (class, light, dark) in COLOURS {
        let _ = writeln!(rules, ".{class} {{ fill: light-dark({light}, {dark}); }}");
    }
    rules
}

/// Rules for a drawing that stands alone; what does not know of themes takes the light one.
pub(super) fn rules_of_drawing() -> String {
    let mut rules = String::new();
    for (is_dark, before, behind) in [(false, "", ""), (true, "@media (prefers-color-scheme: dark) {\n", "}\n")] {
        let pick = |light: &'static str, dark: &'static str| if is_dark { dark } else { light };
        rules += before;
        for (class, light, dark) in COLOURS {
            let _ = writeln!(rules, ".{class} {{ fill: {}; }}", pick(light, dark));
        }
        let [text, dim, page] = TEXT.map(|(_, light, dark)| pick(light, dark));
        let _ = writeln!(rules, ".pm-map text {{ fill: {text}; }}\n.pm-map .pm-dim {{ fill: {dim}; }}");
        let _ = writeln!(rules, ".pm-page {{ fill: {page}; }}\n.pm-fold {{ stroke: {page}; }}");
        rules += behind;
    }
    rules
}
