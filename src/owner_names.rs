//! The names of this system's users and groups (passwd(5), group(5)), for what the running kernel tells in numbers.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use vmcore::kinfo::OwnerNames;

/// More bytes than such a file has.
const MAX_FILE: u64 = 1 << 24;

/// The names of users and groups that this system's files have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemNames {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl SystemNames {
    /// Reads them; without a file there are no names.
    pub fn read() -> Self {
        Self { users: names(Path::new("/etc/passwd")), groups: names(Path::new("/etc/group")) }
    }
}

impl OwnerNames for SystemNames {
    fn user(&self, uid: u32) -> Option<String> {
        self.users.get(&uid).cloned()
    }

    fn group(&self, gid: u32) -> Option<String> {
        self.groups.get(&gid).cloned()
    }
}

fn names(path: &Path) -> HashMap<u32, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    let is_read = file.and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).is_ok();
    if is_read { parse(&String::from_utf8_lossy(&bytes)) } else { HashMap::new() }
}

/// Lines `name:password:number:...`, of which the first with a number counts.
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(number)) = (fields.next(), fields.nth(1).and_then(|number| number.parse().ok()))
            && !name.is_empty()
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts_and_other_lines_do_not() {
        let text = "# comment\nroot:*:0:0:Charlie &:/root:/bin/sh\ntoor:*:0:0::/root:\n+:::::\nbad\nwww:*:80:80::/:\n";
        let names = parse(text);
        assert_eq!(
            (names.get(&0).map(String::as_str), names.get(&80).map(String::as_str)),
            (Some("root"), Some("www"))
        );
        assert_eq!(names.len(), 2);
        assert_eq!(parse(""), HashMap::new());
    }
}
