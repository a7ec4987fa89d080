//! The cases: sh scripts in a folder, `cases/`.
//!
//! A case is the script `NAME.sh`. It runs in the guest as root, in an empty folder of its own, with `helpers.sh`
//! in the folder above and `$MEMTOOL` as the program. Its first line is a comment that says what it proves. Exit
//! status 0: it does; 77: it cannot be run here, the last line says why; anything else: it does not.
//!
//! Two more scripts may belong to it:
//!
//! - `NAME.after-panic.sh`: `NAME.sh` then has to panic the guest's kernel, and this one is run in the guest after
//!   it was booted again. Nothing but the disks for results and for crash dumps is as it was.
//! - `NAME.host.sh`: runs last, on the host, and checks in the folder `$RESULTS` what the scripts in the guest kept.

use crate::error::{Error, Result};
use crate::results::is_plain;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The names of other files in the guest's folder, in which each case gets a folder of its name.
const RESERVED: [&str; 3] = ["carried", "memtool", "unpack"];

/// A case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The script for the guest.
    pub script: String,
    /// The script for the guest after the panic that the first one has to cause.
    pub after_panic: Option<String>,
    /// The script for the host.
    pub host: Option<String>,
}

/// The cases of a folder, and what they share.
#[derive(Debug)]
pub struct Cases {
    /// What the scripts share.
    pub helpers: String,
    /// The cases in the order in which they run: by their names, and those that panic the guest at the end.
    pub cases: Vec<Case>,
}

impl Case {
    /// What it proves, in one line.
    pub fn proves(&self) -> &str {
        self.script.lines().next().map_or("", |line| line.trim_start_matches(['#', ' ']))
    }

    /// The name of its script in the guest.
    pub fn file(&self) -> String {
        format!("{}.sh", self.name)
    }

    /// The name of its script in the guest after the panic.
    pub fn after_panic_file(&self) -> String {
        format!("{}.after-panic.sh", self.name)
    }
}

/// Reads the cases in a folder.
pub fn read(folder: &Path) -> Result<Cases> {
    let mut helpers = String::new();
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    let unreadable = || Error::file("read", folder);
    for entry in fs::read_dir(folder).map_err(unreadable())? {
        let path = entry.map_err(unreadable())?.path();
        let Some(file) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".sh")) else {
            continue;
        };
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let words: Vec<_> = file.split('.').collect();
        if words == ["helpers", "sh"] {
            helpers = text;
            continue;
        }
        let name = words.first().copied().unwrap_or_default();
        if RESERVED.contains(&name) {
            let why = format!("{}: no case can be called '{name}', as a file beside it is", path.display());
            return Err(Error::Program(why));
        }
        let case = cases.entry(name.to_owned()).or_default();
        match words.get(1..).unwrap_or_default() {
            ["sh"] if is_plain(name) => case.script = text,
            ["after-panic", "sh"] => case.after_panic = Some(text),
            ["host", "sh"] => case.host = Some(text),
            _ => return Err(Error::Program(format!("{} is not named like a part of a case", path.display()))),
        }
    }
    let mut cases: Vec<_> = cases.into_iter().map(|(name, case)| Case { name, ..case }).collect();
    if let Some(case) = cases.iter().find(|case| case.script.is_empty()) {
        return Err(Error::Program(format!("{} has no {}", folder.display(), case.file())));
    }
    cases.sort_by_key(|case| case.after_panic.is_some());
    Ok(Cases { helpers, cases })
}

impl Cases {
    /// Keeps the cases of these names, or all if there is none.
    pub fn choose(mut self, names: &[String]) -> Result<Self> {
        if let Some(unknown) = names.iter().find(|&name| self.cases.iter().all(|case| case.name != *name)) {
            return Err(Error::Usage(format!("there is no case '{unknown}'")));
        }
        self.cases.retain(|case| names.is_empty() || names.contains(&case.name));
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Cases {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")).unwrap()
    }

    #[test]
    fn every_case_says_what_it_proves() {
        let Cases { helpers, cases } = project();
        assert!(!cases.is_empty() && helpers.contains("fail()"));
        for case in cases {
            assert!(case.script.starts_with("# ") && case.proves().len() > 20, "{}", case.name);
        }
    }

    #[test]
    fn cases_are_chosen_by_name() {
        let all = project().cases.len();
        assert_eq!(project().choose(&[]).unwrap().cases.len(), all);
        assert_eq!(project().choose(&["livedump".to_owned()]).unwrap().cases.len(), 1);
        assert!(project().choose(&["starts".to_owned(), "none".to_owned()]).is_err());
    }

    fn folder(files: &[&str]) -> Result<Cases> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), format!("# {file}")).unwrap();
        }
        read(folder.path())
    }

    #[test]
    fn parts_belong_together_and_panics_come_last() {
        let cases = folder(&["b.sh", "b.host.sh", "a.sh", "a.after-panic.sh", "c.sh", "helpers.sh", "README"]).unwrap();
        let names: Vec<_> = cases.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!((names.as_slice(), cases.helpers.as_str()), (&["b", "c", "a"][..], "# helpers.sh"));
        let [b, c, a] = cases.cases.as_slice() else { panic!("{names:?}") };
        assert_eq!((b.host.as_deref(), b.after_panic.as_deref()), (Some("# b.host.sh"), None));
        assert_eq!((c.host.as_deref(), c.after_panic.as_deref()), (None, None));
        assert_eq!((a.host.as_deref(), a.after_panic.as_deref()), (None, Some("# a.after-panic.sh")));
        assert_eq!(a.proves(), "a.sh");
    }

    #[test]
    fn a_file_that_belongs_to_no_case_is_an_error() {
        for files in [&["a.host.sh"][..], &["a.sh", "a.hots.sh"], &["a b.sh"], &["a.sh", "a.host.x.sh"], &["unpack.sh"]]
        {
            assert!(folder(files).is_err(), "{files:?}");
        }
    }
}
