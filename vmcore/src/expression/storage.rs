//! What there is in memory of a variable, of which a compiler may have kept a byte alone.

use super::code::{PlaceKind, Value, ValueKind};
use super::error::Problem;
use super::names::FoundSymbol;
use crate::error::Result;
use crate::types::{KnownStorage, StorageSource, TypeTable};

/// Where a variable of the kernel is, and what of it is there. Who may tell that is asked only where its symbol does not.
pub(super) fn place_of(
    found: &FoundSymbol<'_>,
    written: &str,
    types: &mut TypeTable,
    source: &mut dyn StorageSource,
) -> Result<PlaceKind, Problem> {
    let mut storage = known(found, types)?;
    if matches!(storage, KnownStorage::Narrowed { .. } | KnownStorage::Doubtful) {
        source.load_storage(found.file, types);
        storage = known(found, types)?;
    }
    let name = || written.to_owned();
    let values = match storage {
        KnownStorage::Plain => return Ok(PlaceKind::Variable(found.address)),
        KnownStorage::Choice(values) => Ok(values),
        KnownStorage::Narrowed { kept, size } => Err(Box::new(Problem::Shrunk { name: name(), kept, size })),
        KnownStorage::Doubtful => Err(Box::new(Problem::MayBeShrunk(name()))),
    };
    Ok(PlaceKind::Choice(found.address, values))
}

fn known(found: &FoundSymbol<'_>, types: &TypeTable) -> Result<KnownStorage> {
    match found.variable(types) {
        Some(variable) => types.storage_of(variable, &found.symbol, found.file),
        None => Ok(KnownStorage::Plain),
    }
}

/// Whether it is the address of a variable of which there is a byte alone.
pub(super) fn is_choice(pointer: &Value) -> bool {
    match &pointer.kind {
        ValueKind::AddressOf(place) => matches!(place.kind, PlaceKind::Choice(..)),
        ValueKind::Offset(start, ..) => is_choice(start),
        _ => false,
    }
}
