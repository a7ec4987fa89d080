//! What is wrong with damaged memory, of which there can be very much: the first of it, and how much more there was.

use crate::error::{Error, Result};

/// After so many warnings the others are counted.
const MAX_WARNINGS: usize = 20;

/// Warnings, the first ones of all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings {
    list: Vec<String>,
    more: u64,
}

impl Warnings {
    /// Adds one, whose text is made only if it is kept.
    pub(crate) fn add(&mut self, text: impl FnOnce() -> String) {
        if self.list.len() < MAX_WARNINGS {
            self.list.push(text());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// The value, if it could be read; else adds a warning, unless this kernel has no such thing at all.
    pub(crate) fn keep<T>(&mut self, what: impl FnOnce() -> String, read: Result<T>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(Error::Unsupported(_)) => None,
            Err(error) => {
                self.add(|| format!("{} cannot be read: {error}", what()));
                None
            }
        }
    }

    /// Adds one that is kept, behind the others: in place of the last, if there is no more room.
    pub(crate) fn add_last(&mut self, text: String) {
        self.list.truncate(MAX_WARNINGS - 1);
        self.list.push(text);
    }

    /// All of them, which are called so, and at last how many more there were.
    pub(crate) fn into_list(mut self, noun: &str) -> Vec<String> {
        if self.more > 0 {
            self.list.push(format!("there were {} more {noun} like these", self.more));
        }
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize) -> Warnings {
        let mut warnings = Warnings::default();
        (0..count).for_each(|number| warnings.add(|| number.to_string()));
        warnings
    }

    #[test]
    fn all_are_listed_up_to_a_number_and_the_others_are_counted() {
        assert_eq!(filled(2).into_list("warnings"), ["0", "1"]);
        let many = filled(23).into_list("problems");
        assert_eq!((many.len(), &*many[19], &*many[20]), (21, "19", "there were 3 more problems like these"));
    }

    #[test]
    fn the_last_is_kept_whatever_was_before() {
        for (count, place) in [(0, 0), (5, 5), (20, 19), (30, 19)] {
            let mut warnings = filled(count);
            warnings.add_last("why it ends".to_owned());
            assert_eq!(warnings.into_list("warnings")[place], "why it ends", "{count}");
        }
    }
}
