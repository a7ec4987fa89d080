//! What was written to the memory of a recorded machine: it is over what the machine has there otherwise.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use vmcore::bounds::item_mut;
use vmcore::units::{bytes_of_hex_digits, hex, hex_digits};

/// No more bytes can be written.
const MAX_BYTES: usize = 1 << 20;

/// Bytes that were written to memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenBytes {
    /// The physical address of the first one.
    #[serde(with = "hex")]
    pub address: u64,
    /// Two hexadecimal digits for each byte.
    pub bytes: String,
}

/// Bytes by their physical address; what is written through one clone is in all.
#[derive(Debug, Clone, Default)]
pub struct Written(Arc<Mutex<BTreeMap<u64, u8>>>);

impl Written {
    /// What a machine's file says was written.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(written: &[WrittenBytes]) -> Result<Self, String> {
        let mut bytes = BTreeMap::new();
        for (index, part) in written.iter().enumerate() {
            let found = bytes_of_hex_digits(&part.bytes)
                .ok_or_else(|| format!("the bytes of entry {index} are not pairs of hexadecimal digits"))?;
            let mut address = part.address;
            for byte in found {
                bytes.insert(address, byte);
                address = address.checked_add(1).ok_or_else(|| format!("entry {index} ends beyond all addresses"))?;
            }
            if bytes.len() > MAX_BYTES {
                return Err(format!("there are more than {MAX_BYTES} bytes"));
            }
        }
        Ok(Self(Arc::new(Mutex::new(bytes))))
    }

    /// The same for a machine's file: bytes that follow each other are together.
    pub fn parts(&self) -> Vec<WrittenBytes> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts: Vec<(u64, Vec<u8>)> = Vec::new();
        for (address, byte) in bytes.iter() {
            match parts.last_mut() {
                Some((start, part)) if start.checked_add(part.len() as u64) == Some(*address) => part.push(*byte),
                _ => parts.push((*address, vec![*byte])),
            }
        }
        parts.into_iter().map(|(address, bytes)| WrittenBytes { address, bytes: hex_digits(&bytes) }).collect()
    }

    /// Puts it over bytes that were read from an address on.
    pub fn overlay(&self, address: u64, buffer: &mut [u8]) {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = address.saturating_add(buffer.len() as u64);
        for (at, byte) in bytes.range(address..end) {
            if let Ok(to) = item_mut(buffer, at - address) {
                *to = *byte;
            }
        }
    }

    /// Keeps bytes that are written from an address on.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn store(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len().saturating_add(bytes.len()) > MAX_BYTES {
            return Err(io::Error::other("no more can be written to a recorded machine"));
        }
        all.extend((address..).zip(bytes.iter().copied()));
        Ok(())
    }
}
