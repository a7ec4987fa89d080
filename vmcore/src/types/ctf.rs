//! Types from the CTF in a file's section `.SUNW_ctf` (ctf(5)).

use super::{TypeSource, TypeTable};
use crate::error::Result;
use crate::symbols::Table;

/// Takes types from CTF.
#[derive(Debug, Clone, Copy, Default)]
pub struct CtfTypes;

impl TypeSource for CtfTypes {
    fn load(&mut self, _file: &Table, _types: &mut TypeTable) -> Result<bool> {
        Ok(false)
    }
}
