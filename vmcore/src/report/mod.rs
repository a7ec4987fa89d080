//! What a kernel's dump says of its crash: one report, in the order of crashinfo(8).

pub mod section;
