//! JSON files that are nearly right: one that is, and changes to its values.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

/// Makes a file from one that is right, by the recipe in these bytes.
///
/// # Errors
///
/// The bytes are too few.
pub fn make(mut file: Value, u: &mut Unstructured<'_>) -> Result<Value> {
    for _ in 0..u.int_in_range(0..=8_u8)? {
        let mut at = &mut file;
        // Goes down by chance, to the end or not.
        loop {
            let (values, stay) = match at {
                Value::Array(list) => (list.len(), 4),
                Value::Object(map) => (map.len(), 32),
                _ => (0, 0),
            };
            if values == 0 || u.ratio(1, stay)? {
                break;
            }
            let index = u.choose_index(values)?;
            at = match at {
                Value::Array(list) => &mut list[index],
                Value::Object(map) => map.values_mut().nth(index).expect("there are so many"),
                _ => unreachable!("it has values"),
            };
        }
        change(at, u)?;
    }
    Ok(file)
}

/// Changes a value, mostly to another one of the same kind.
fn change(value: &mut Value, u: &mut Unstructured<'_>) -> Result<()> {
    match value {
        Value::Array(list) if !list.is_empty() => {
            let index = u.choose_index(list.len())?;
            match u.int_in_range(0..=3)? {
                0 => drop(list.remove(index)),
                1 => list.swap(0, index),
                _ => list.push(list[index].clone()),
            }
        }
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(u.choose_index(map.len())?).cloned().unwrap_or_default();
            let removed = map.remove(&key);
            if u.arbitrary()? {
                map.insert(u.arbitrary()?, removed.unwrap_or_default());
            }
        }
        Value::Number(number) => *value = number_like(number.as_u64().unwrap_or(0), u)?.into(),
        Value::String(text) => match text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            Some(address) => *text = format!("{:#x}", number_like(address, u)?),
            None if u.arbitrary()? => *text = (*u.choose(WORDS)?).to_owned(),
            None => *text = u.arbitrary()?,
        },
        other => *other = u.choose(&[json!(0), json!("0x1000"), json!([]), json!({}), json!(null)])?.clone(),
    }
    Ok(())
}

/// A number near the one that is there, in pages or bytes, or at a border.
fn number_like(before: u64, u: &mut Unstructured<'_>) -> Result<u64> {
    let by: u64 = u.arbitrary::<u8>()?.into();
    Ok(match u.int_in_range(0..=7)? {
        0 => before.wrapping_add(by),
        1 => before.wrapping_sub(by),
        2 => before.wrapping_add(by << 12),
        3 => before.wrapping_sub(by << 12),
        4 => before.wrapping_add(by << 21),
        5 => 1 << (by % 64),
        6 => (u64::MAX << (by % 64)) & !0xfff,
        _ => u.arbitrary()?,
    })
}

/// What the files know.
const WORDS: &[&str] = &[
    "amd64",
    "i386",
    "aarch64",
    "machdep.smap",
    "machdep.efi_map",
    "vm.phys_segs",
    "reserved",
    "address",
    "packed",
    "runtime services data",
    "active",
    "set-by-firmware",
    "bogus",
    "busy",
    "fixed-active",
    "write-back",
    "uncacheable",
    "write-combine",
    "BIOS",
    "Direct map",
    "Kernel map",
    "Large map",
    "rw-sg",
    "r-xsg",
    "--",
    "WB",
    "UC",
    "first-touch",
    "round-robin",
    "ENOMEM",
    "EIO",
    "physical",
    "kernel",
    "raw",
    "padded",
    "elf",
    "lime",
    "zstd",
];
