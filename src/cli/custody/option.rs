//! The option of commands that write a dump and begin its custody log.

use super::super::Context;
use clap::Args;
use memtool::Result;
use memtool::custody::entry::Origin;
use memtool::custody::{self, Beginning, DumpState, Statement};
use memtool::dump::destination::Destination;
use memtool::files;
use memtool::signature::SigningKey;
use std::path::Path;

/// Whether a log is begun.
#[derive(Args)]
pub struct CustodyArguments {
    /// Begin the dump's custody log, in its name with .custody; the first entry has this reason
    #[arg(long, value_name = "REASON")]
    custody: Option<String>,
}

impl CustodyArguments {
    /// Whether it is.
    pub fn is_given(&self) -> bool {
        self.custody.is_some()
    }

    /// Refuses a dump that is no file, if it is to have a log.
    pub fn check(&self, destination: &Destination) -> Result<(), String> {
        if self.is_given() && destination.file().is_none() {
            return Err("--custody writes a log beside the dump, which has to be a file".to_owned());
        }
        Ok(())
    }

    /// The first entry of a dump that came from somewhere else than a file.
    pub fn acquired(&self, from: String, signing_key: Option<SigningKey>) -> Option<Beginning> {
        let reason = self.custody.clone()?;
        let action = "acquired".to_owned();
        let statement = Statement { action, reason, from: Some(from), signing_key, ..Statement::default() };
        Some(Beginning { statement, derived_from: None })
    }

    /// Writes the first entry of a dump that is there now, and came from somewhere else than a file.
    pub fn begin(&self, context: &mut Context, dump: &Path, from: String) -> Result<()> {
        let Some(beginning) = self.acquired(from, None) else { return Ok(()) };
        custody::check_begin(dump, &beginning)?;
        let state = DumpState::read(dump, context)?;
        custody::begin(dump, &state, &beginning, None).map(drop)
    }

    /// The first entry of a dump that was made from an input, whose own log is checked first, if it has one.
    pub fn derived(
        &self,
        context: &mut Context,
        input: &Path,
        signing_key: Option<SigningKey>,
    ) -> Result<Option<Beginning>> {
        let Some(reason) = self.custody.clone() else { return Ok(None) };
        let statement = Statement { action: "derived".to_owned(), reason, signing_key, ..Statement::default() };
        let derived_from = match files::is_standard_input(input) {
            true => None,
            false => Some(Origin::of(input, context)?),
        };
        Ok(Some(Beginning { statement, derived_from }))
    }
}
