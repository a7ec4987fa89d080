//! The cases: sh scripts from `cases/`, built in.
//!
//! A case runs as root in an empty folder of its own, below that of the scripts, with `$MEMTOOL` as the
//! program. Its first line is a comment that says what it proves. Exit status 0: it does; 77: it cannot be
//! run here, the last line says why; anything else: it does not.

/// A case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Its name: that of its file.
    pub name: &'static str,
    /// The script.
    pub script: &'static str,
}

/// What the scripts share; it travels as `helpers.sh`.
pub const HELPERS: &str = include_str!("../cases/helpers.sh");

macro_rules! cases {
    ($($name:literal),* $(,)?) => {
        [$(Case { name: $name, script: include_str!(concat!("../cases/", $name, ".sh")) }),*]
    };
}

/// All cases, in the order in which they run: what changes nothing comes first.
pub const ALL: &[Case] = &cases![
    "starts",
    "ranges-list",
    "record",
    "paddr-locked",
    "paddr-unmapped",
    "ranges-change",
    "ranges-refused",
    "dump-map",
    "livedump",
];

impl Case {
    /// What it proves, in one line.
    pub fn proves(&self) -> &'static str {
        self.script.lines().next().map_or("", |line| line.trim_start_matches(['#', ' ']))
    }

    /// The name of its file in the guest.
    pub fn file(&self) -> String {
        format!("{}.sh", self.name)
    }
}

/// The cases of these names, or all if there is none; the error is a name that is not known.
pub fn choose(names: &[String]) -> Result<Vec<Case>, &str> {
    if let Some(unknown) = names.iter().find(|&name| ALL.iter().all(|case| case.name != name)) {
        return Err(unknown);
    }
    Ok(ALL.iter().filter(|case| names.is_empty() || names.iter().any(|name| case.name == name)).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_file_is_a_case_and_says_what_it_proves() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "helpers.sh")
            .collect();
        let mut cases: Vec<_> = ALL.iter().map(Case::file).collect();
        files.sort();
        cases.sort();
        assert_eq!(files, cases);
        for case in ALL {
            assert!(case.script.starts_with("# ") && case.proves().len() > 20, "{}", case.name);
        }
    }

    #[test]
    fn cases_are_chosen_by_name() {
        assert_eq!(choose(&[]).unwrap(), ALL);
        assert_eq!(choose(&["livedump".to_owned()]).unwrap().len(), 1);
        assert_eq!(choose(&["starts".to_owned(), "none".to_owned()]), Err("none"));
    }
}
