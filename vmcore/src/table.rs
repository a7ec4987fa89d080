//! Tables, as people read them: whoever writes them aligns their columns and escapes what their format requires.

use crate::text::{Name, column};
use std::fmt::Display;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// What it is of, where it is one of several.
    pub caption: Option<String>,
    /// The heads of its columns.
    pub columns: Vec<Column>,
    /// As many cells in each as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// The head of a table's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Whether it is of numbers, which are aligned on the right.
    pub is_number: bool,
}

impl Table {
    /// A table without a caption.
    pub fn new(columns: impl Into<Vec<Column>>, rows: Vec<Vec<String>>) -> Self {
        Self { caption: None, columns: columns.into(), rows }
    }

    /// The table with a caption.
    #[must_use]
    pub fn captioned(mut self, caption: impl Into<String>) -> Self {
        self.caption = Some(caption.into());
        self
    }
}

/// A column of numbers.
pub const fn right(title: &'static str) -> Column {
    Column { title, is_number: true }
}

/// A column of names.
pub const fn left(title: &'static str) -> Column {
    Column { title, is_number: false }
}

/// A value in a cell; what is not known is a dash.
pub fn cell(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A name in a cell, whatever bytes it has; what is not known is a dash.
pub fn name_cell(name: Option<&Name>) -> String {
    cell(name.map(|name| column(name.as_bytes())))
}
