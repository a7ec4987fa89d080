//! Dumps that are nearly right: see [`memtool_fuzz::recipe`].

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};
use memtool_fuzz::inspected;
use memtool_fuzz::recipe::{self, Made};
use vmcore::dump::{Content, Inspection};
use vmcore_synth::kerneldump::Compression;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(made) = recipe::make(&mut Unstructured::new(bytes)) else { return Corpus::Reject };
    let inspection = inspected(&made.bytes);
    if made.is_right {
        check_right(&made, &inspection);
    }
    // A dump that is whole is the same dump when it is compressed.
    let location = &inspection.location;
    let is_plain = inspection.compression == vmcore::kerneldump::Compression::None;
    let is_known = matches!(inspection.content, Content::Minidump(_) | Content::Elf(_) | Content::Lime(_));
    if inspection.damage.is_empty() && is_plain && is_known {
        let inside = &made.bytes[location.start as usize..location.end as usize];
        let again = inspected(&Compression::Zstd.compress(inside));
        assert_eq!((&again.content, again.length), (&inspection.content, inspection.length), "{}", made.base.name);
        assert_eq!(again.damage, []);
    }
    Corpus::Keep
});

/// What the builder made is found, and nothing is wrong with it.
fn check_right(made: &Made, inspection: &Inspection) {
    let name = &made.base.name;
    assert_eq!(inspection.damage, [], "{name}");
    if inspection.content == Content::Encrypted {
        return;
    }
    let by_itself = inspected(&made.dump);
    assert_eq!(by_itself.damage, [], "{name}");
    match (&inspection.content, made.base.pages) {
        (Content::Minidump(facts), Some(pages)) => {
            assert_eq!(facts.pages.count(), pages, "{name}");
            assert_eq!(inspection.content, by_itself.content, "{name}");
        }
        (Content::Elf(_), None) => assert_eq!(inspection.content, by_itself.content, "{name}"),
        (Content::Text(members), None) => {
            assert_eq!(members.first().map(|member| member.name.to_string()).as_deref(), Some("ddb.txt"))
        }
        (other, _) => panic!("{name} is taken for a {}", other.name()),
    }
}
