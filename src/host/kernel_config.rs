//! The kernel's configuration, as `kern.conftxt` prints it where the kernel was built with
//! `options INCLUDE_CONFIG_FILE`, as GENERIC is. Format: config(5).

use vmcore::kerneldump::Compression;
use vmcore::text::without_comment;

/// The kernel option that a compression needs (sys/kern/subr_compressor.c); `None` for no compression.
pub const fn option_for(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("GZIO"),
        Compression::Zstd => Some("ZSTDIO"),
    }
}

/// Whether the configuration has an option. The last line that names it decides.
pub fn has_option(config: &str, option: &str) -> bool {
    let mut found = false;
    for line in config.lines() {
        let line = without_comment(line).trim();
        let Some((word, rest)) = line.split_once(char::is_whitespace) else { continue };
        let named = || rest.split(',').any(|name| name.split_once('=').map_or(name, |(name, _)| name).trim() == option);
        match word {
            "options" | "option" if named() => found = true,
            "nooptions" | "nooption" if named() => found = false,
            _ => {}
        }
    }
    found
}

/// What a kernel of this configuration can compress dumps with.
pub fn compressions(config: &str) -> Vec<Compression> {
    let built_in = |compression: &Compression| option_for(*compression).is_none_or(|option| has_option(config, option));
    [Compression::None, Compression::Gzip, Compression::Zstd].into_iter().filter(built_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_every_way_they_are_written() {
        for config in ["options\tGZIO\n", "option GZIO", "  options  \tZSTDIO, GZIO # both", "options GZIO=1,INET"] {
            assert!(has_option(config, "GZIO"), "{config}");
        }
        for config in ["", "options", "options ZSTDIO", "# options GZIO", "options GZIOS", "device GZIO", "optionsGZIO"]
        {
            assert!(!has_option(config, "GZIO"), "{config}");
        }
    }

    #[test]
    fn the_last_word_counts() {
        assert!(!has_option("options GZIO\nnooptions GZIO\n", "GZIO"));
        assert!(has_option("nooptions GZIO\noptions GZIO\n", "GZIO"));
    }

    #[test]
    fn no_compression_needs_no_option() {
        assert_eq!(compressions("ident MINIMAL"), [Compression::None]);
        assert_eq!(compressions("options ZSTDIO"), [Compression::None, Compression::Zstd]);
    }
}
