//! Names that are like one which does not exist.

/// Names that are suggested, at most.
const MAX_SUGGESTIONS: usize = 3;
/// Longer names are not compared.
const MAX_NAME: usize = 64;

/// The names that are like one, the most alike first, as far as some are: by the number of letters that are added, left out,
/// replaced or exchanged with their neighbour.
pub fn near<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    // In a short name each letter counts.
    let limit = (wanted.len() / 3).clamp(1, 2);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for name in names {
        if let Some(distance) = distance(wanted, name, limit)
            && !found.iter().any(|(_, other)| *other == name)
        {
            found.push((distance, name));
            found.sort_unstable();
            found.truncate(MAX_SUGGESTIONS);
        }
    }
    let nearest = found.first().map(|(distance, _)| *distance);
    found.into_iter().filter(|(distance, _)| Some(*distance) == nearest).map(|(_, name)| name.to_owned()).collect()
}

/// What is added to a message about a name that there is not: names that are like it; nothing, if none are.
pub fn did_you_mean(near: &[String]) -> String {
    let quoted: Vec<String> = near.iter().map(|name| format!("'{name}'")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => format!(" (did you mean {only}?)"),
        Some((last, others)) => format!(" (did you mean {} or {last}?)", others.join(", ")),
    }
}

/// How many changes make one name of another, if that is at most `limit`.
fn distance(one: &str, other: &str, limit: usize) -> Option<usize> {
    if one.len().abs_diff(other.len()) > limit || one.len().max(other.len()) > MAX_NAME {
        return None;
    }
    Some(strsim::osa_distance(one, other)).filter(|changes| *changes <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_with_the_fewest_changes_are_suggested() {
        let names = ["allproc", "allprison", "zombproc", "proc0", "p_pid", "p_pgrp", "p_ppid", "allproc"];
        assert_eq!(near("alproc", names), ["allproc"]);
        assert_eq!(near("allporc", names), ["allproc"]);
        assert_eq!(near("p_pdi", names), ["p_pid"]);
        assert_eq!(near("proc9", names), ["proc0"]);
        assert_eq!(near("p_pi", names), ["p_pid"]);
        assert_eq!(near("socket", names), [""; 0]);
        assert_eq!(near("", names), [""; 0]);
        assert_eq!(near("x", ["a", "bb", "", "x1", "c", "d"]), ["", "a", "c"]);
    }

    #[test]
    fn changes_are_counted() {
        for (one, other, expected) in [
            ("abc", "abc", Some(0)),
            ("abc", "acb", Some(1)),
            ("abc", "ab", Some(1)),
            ("abc", "abcd", Some(1)),
            ("abc", "xbc", Some(1)),
            ("abc", "xyc", Some(2)),
            ("abc", "xyz", None),
            ("", "ab", Some(2)),
        ] {
            assert_eq!(distance(one, other, 2), expected, "{one} {other}");
        }
    }
}
