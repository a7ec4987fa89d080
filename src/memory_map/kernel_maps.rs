//! `vm.pmap.kernel_maps`: the kernel's mapped virtual ranges.
//!
//! Text: headings such as `Direct map:`, and a line for each range: `0xstart-0xend`, permissions (`r`, `w`,
//! `x`, `u` or `s`, `g`), on some architectures the cache mode, and how many pages of each size map it, the
//! largest first (`sysctl_kmaps`, `sys/amd64/amd64/pmap.c`; arm64 and riscv alike).

use crate::units::{hex, parse_address};
use serde::{Deserialize, Serialize};

/// A range of kernel virtual addresses mapped in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelMapping {
    /// First virtual address.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the range; 0 stands for the end of the address space.
    #[serde(with = "hex")]
    pub end: u64,
    /// Permissions as the kernel writes them, such as `rw-sg`.
    pub permissions: String,
    /// Cache mode (`WB`, `UC`, …), where the architecture's table has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// How many pages of each size map the range, largest size first; on amd64 1 GiB, 2 MiB, 4 KiB.
    pub pages: Vec<u64>,
    /// The heading it stands under, such as `Direct map`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
}

/// Reads the text.
///
/// # Errors
///
/// The line that is not understood.
pub fn parse(text: &str) -> Result<Vec<KernelMapping>, String> {
    let mut mappings = Vec::new();
    let mut region = "";
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(heading) = line.strip_suffix(':') {
            region = heading;
            continue;
        }
        mappings.push(parse_line(line, region).ok_or_else(|| format!("line '{line}' is not understood"))?);
    }
    Ok(mappings)
}

fn parse_line(line: &str, region: &str) -> Option<KernelMapping> {
    let mut fields = line.split_whitespace().peekable();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?.to_owned();
    let cache = fields.next_if(|field| !field.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned);
    let pages = fields.map(|field| field.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let (start, end) = (parse_address(start).ok()?, parse_address(end).ok()?);
    (end == 0 || start < end).then_some(KernelMapping {
        start,
        end,
        permissions,
        cache,
        pages,
        region: region.to_owned(),
    })
}
