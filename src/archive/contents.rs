//! The index as it is in an archive: read from its objects, and its objects merged.
//!
//! Each `add` writes an object of its own, so that no two writers touch the same one. They are merged month by month: what
//! was read is written as one object whose name has the hash of its bytes, and only then are those removed that were read. A
//! merge that is killed leaves rows twice, and none is lost; rows of one crash count once.

use super::index::{self, IndexError, MAX_OBJECT, Row};
use super::names::{self, CRASHES, INDEX, Id, IndexObject, Month, PRUNING, parse_crash, parse_index, short_hash};
use crate::error::{Error, Result};
use crate::remote::folder::{Entry, Folder};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Texts that are kept of what is said of many objects.
const MAX_TEXTS: usize = 10;
/// How often the index is read anew when others merge it meanwhile.
const ATTEMPTS: usize = 5;

/// What is said of objects, of which there can be many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    first: Vec<String>,
    more: u64,
}

impl Texts {
    /// Adds a text.
    pub fn push(&mut self, text: String) {
        if self.first.len() < MAX_TEXTS { self.first.push(text) } else { self.more += 1 }
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The first ones, and how many there are besides.
    pub fn lines(&self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.first.iter().cloned().chain(more).collect()
    }
}

/// What is wrong with objects, and what is worth knowing of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Damaged objects: what they say is missing.
    pub problems: Texts,
    /// Foreign objects.
    pub remarks: Texts,
}

/// What is in an archive, by its index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its crashes, each once, the newest first.
    pub rows: Vec<Row>,
    /// What is wrong with the index.
    pub findings: Findings,
}

/// An object of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it is.
    object: IndexObject,
}

/// The objects of the index, by month.
pub type Listing = BTreeMap<Month, Vec<Listed>>;

/// The crashes that are being removed.
///
/// # Errors
///
/// The archive cannot be listed.
pub fn pruned(folder: &dyn Folder) -> Result<Vec<(Month, Id)>> {
    let mut found = Vec::new();
    folder.list(PRUNING, &mut |Entry { name, .. }| {
        found.extend(
            parse_crash(PRUNING, &name).filter(|(_, _, rest)| rest.is_empty()).map(|(month, id, _)| (month, id)),
        );
    })?;
    Ok(found)
}

/// The objects of the index.
///
/// # Errors
///
/// The archive cannot be listed.
pub fn list(folder: &dyn Folder, findings: &mut Findings) -> Result<Listing> {
    let mut listing = Listing::new();
    folder.list(INDEX, &mut |Entry { name, .. }| match parse_index(&name) {
        Some((month, object)) => listing.entry(month).or_default().push(Listed { name, object }),
        None => findings.remarks.push(format!("{}{name} is none of the archive's, and passed over", folder.name())),
    })?;
    Ok(listing)
}

/// Reads the index; where `since` is given, without months before it.
///
/// # Errors
///
/// The archive cannot be read; its index is of another version.
pub fn read(folder: &dyn Folder, since: Option<&Month>) -> Result<Contents> {
    for _ in 0..ATTEMPTS {
        let mut findings = Findings::default();
        let mut listing = list(folder, &mut findings)?;
        if let Some(since) = since {
            listing = listing.split_off(since);
        }
        let pruned: HashSet<Id> = pruned(folder)?.into_iter().map(|(_, id)| id).collect();
        let (mut rows, mut is_whole) = (HashMap::new(), true);
        for (month, objects) in &listing {
            let found = read_objects(folder, month, objects, &mut findings)?;
            is_whole &= !found.has_vanished;
            rows.extend(found.rows);
        }
        if is_whole {
            let mut rows: Vec<Row> = rows.into_values().filter(|row| !pruned.contains(&row.id)).collect();
            rows.sort_unstable_by(|a, b| (b.crashed_at, &b.id).cmp(&(a.crashed_at, &a.id)));
            return Ok(Contents { rows, findings });
        }
    }
    Err(Error::Refused(format!("{}: its index changes all the time; try again", folder.name())))
}

/// What objects of a month have.
struct Found {
    rows: HashMap<Id, Row>,
    /// Those that were read.
    objects: Vec<String>,
    /// Whether one of them is there no more: others have merged it.
    has_vanished: bool,
}

fn read_objects(folder: &dyn Folder, month: &Month, objects: &[Listed], findings: &mut Findings) -> Result<Found> {
    let mut found = Found { rows: HashMap::new(), objects: Vec::new(), has_vanished: false };
    let names: Vec<String> = objects.iter().map(|object| object.name.clone()).collect();
    folder.read_each(&names, MAX_OBJECT, &mut |index, bytes| {
        let (Some(listed), name) = (objects.get(index), folder.name()) else { return Ok(()) };
        let bytes = match bytes {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                found.has_vanished = true;
                return Ok(());
            }
            // One that is too long is damaged; what cannot be reached is another matter.
            Err(Error::Format(why)) => {
                findings.problems.push(why);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match decode(month, &listed.object, &bytes) {
            Ok(rows) => {
                found.rows.extend(rows.into_iter().map(|row| (row.id.clone(), row)));
                found.objects.push(listed.name.clone());
            }
            Err(error @ IndexError::OtherVersion(_)) => {
                let object = &listed.name;
                return Err(Error::Refused(format!(
                    "{name}{object}: {error}; 'memtool archive index --rebuild' makes the index anew"
                )));
            }
            Err(error) => findings.problems.push(format!(
                "{name}{}: {error}; 'memtool archive index --rebuild' makes the index anew",
                listed.name
            )),
        }
        Ok(())
    })?;
    Ok(found)
}

/// The rows of an object.
fn decode(month: &Month, object: &IndexObject, bytes: &[u8]) -> Result<Vec<Row>, IndexError> {
    let other_bytes = |hash: &String| *hash != short_hash(bytes);
    let rows = index::read(bytes);
    // Another version is told from damage also where both could be.
    if let (IndexObject::Merged(hash), Ok(_)) = (object, &rows)
        && other_bytes(hash)
    {
        return Err(IndexError::Damaged("its bytes are not those that its name tells of"));
    }
    let rows = rows?;
    if let IndexObject::Row(id) = object
        && rows.iter().map(|row| &row.id).ne([id])
    {
        return Err(IndexError::Damaged("it has not the row that its name tells of"));
    }
    let is_right =
        |row: &Row| parse_crash(CRASHES, &row.object).is_some_and(|(own, id, _)| own == *month && id == row.id);
    if rows.iter().all(is_right) {
        Ok(rows)
    } else {
        Err(IndexError::Damaged("a row is of a crash that is kept under another name"))
    }
}

/// What became of the objects of a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merge {
    /// Crashes.
    pub row_count: u64,
    /// Objects that were removed, since another one has their rows.
    pub removed_count: u64,
}

/// Merges the objects of a month, without rows of some crashes.
///
/// # Errors
///
/// They cannot be read or written; nothing is removed then.
pub fn merge(
    folder: &dyn Folder,
    month: &Month,
    objects: &[Listed],
    without: &HashSet<Id>,
    findings: &mut Findings,
) -> Result<Merge> {
    let mut found = read_objects(folder, month, objects, findings)?;
    let count = found.rows.len();
    found.rows.retain(|id, _| !without.contains(id));
    let row_count = found.rows.len() as u64;
    let is_merged = objects.iter().all(|listed| matches!(listed.object, IndexObject::Merged(_)));
    if found.objects.len() < 2 && is_merged && found.rows.len() == count {
        return Ok(Merge { row_count, removed_count: 0 });
    }
    let kept = write(folder, month, found.rows.into_values().collect())?;
    let removed_count = remove(folder, &found.objects, kept.as_deref())?;
    Ok(Merge { row_count, removed_count })
}

/// Writes the rows of a month as one object, and tells its name; `None` of no rows.
///
/// # Errors
///
/// It cannot be written.
pub fn write(folder: &dyn Folder, month: &Month, mut rows: Vec<Row>) -> Result<Option<String>> {
    if rows.is_empty() {
        return Ok(None);
    }
    rows.sort_unstable_by(|a, b| (a.crashed_at, &a.id).cmp(&(b.crashed_at, &b.id)));
    let what = || format!("write the index of {month} in {}", folder.name());
    let bytes = index::write(&rows).map_err(|source| Error::Io { what: what(), source })?;
    if bytes.len() as u64 > MAX_OBJECT {
        let crashes = counted_crashes(rows.len() as u64);
        return Err(Error::Refused(format!("cannot {}: {crashes} are too many for one object", what())));
    }
    let name = month.merged(&bytes);
    if !folder.create(&name, &bytes)? && folder.read(&name, MAX_OBJECT)?.is_some_and(|found| found != bytes) {
        return Err(Error::Format(format!("{}{name}: damaged; remove it and try again", folder.name())));
    }
    Ok(Some(name))
}

/// Removes objects of the index, but for the one that has their rows now.
///
/// # Errors
///
/// One cannot be removed.
pub fn remove(folder: &dyn Folder, objects: &[String], kept: Option<&str>) -> Result<u64> {
    let removed = objects.iter().filter(|name| Some(name.as_str()) != kept);
    removed.map(|name| folder.remove(name)).try_fold(0, |count, removed| removed.map(|()| count + 1))
}

/// Sees to it that the index has a row: writes it unless it is there.
///
/// # Errors
///
/// The index cannot be read or written.
pub fn ensure(folder: &dyn Folder, month: &Month, row: &Row) -> Result<()> {
    let mut findings = Findings::default();
    let mut objects = list_month(folder, month, &mut findings)?;
    let own = IndexObject::Row(row.id.clone());
    if objects.iter().any(|listed| listed.object == own) {
        return Ok(());
    }
    objects.retain(|listed| matches!(listed.object, IndexObject::Merged(_)));
    match read_objects(folder, month, &objects, &mut findings) {
        Ok(found) if found.rows.contains_key(&row.id) => Ok(()),
        _ => add(folder, month, row),
    }
}

fn list_month(folder: &dyn Folder, month: &Month, findings: &mut Findings) -> Result<Vec<Listed>> {
    let mut objects = Vec::new();
    folder.list(&format!("{INDEX}/month={month}"), &mut |Entry { name, .. }| match parse_index(&name) {
        Some((_, object)) => objects.push(Listed { name, object }),
        None => findings.remarks.push(name),
    })?;
    Ok(objects)
}

/// Merges the objects of a month as they are now, without rows of some crashes.
///
/// # Errors
///
/// Those of [`merge`].
pub fn drop_rows(folder: &dyn Folder, month: &Month, without: &HashSet<Id>, findings: &mut Findings) -> Result<Merge> {
    let objects = list_month(folder, month, findings)?;
    merge(folder, month, &objects, without, findings)
}

/// Adds a row, as an object of its own.
///
/// # Errors
///
/// It cannot be written.
pub fn add(folder: &dyn Folder, month: &Month, row: &Row) -> Result<()> {
    let what = || format!("write the row of {} in {}", row.id, folder.name());
    let bytes = index::write(std::slice::from_ref(row)).map_err(|source| Error::Io { what: what(), source })?;
    folder.create(&month.row(&row.id), &bytes).map(drop)
}

/// The one crash whose ID begins so.
///
/// # Errors
///
/// There is none, or more than one.
pub fn find<'a>(folder: &dyn Folder, rows: &'a [Row], prefix: &str) -> Result<(Month, &'a Row)> {
    const SHOWN: usize = 5;
    let lower = prefix.to_ascii_lowercase();
    let found: Vec<&Row> = rows.iter().filter(|row| row.id.as_str().starts_with(&lower)).collect();
    let name = folder.name();
    match found.as_slice() {
        [] => Err(Error::Refused(format!("{name} has no crash '{prefix}', by its index"))),
        [row] => match parse_crash(CRASHES, &row.object) {
            Some((month, ..)) => Ok((month, row)),
            None => Err(Error::Format(format!("{name}: the index has no place of {}", row.id))),
        },
        many => {
            let ids: Vec<&str> = many.iter().take(SHOWN).map(|row| row.id.short()).collect();
            let more = if many.len() > SHOWN { " and others" } else { "" };
            Err(Error::Refused(format!("'{prefix}' is the beginning of {}{more}", ids.join(", "))))
        }
    }
}

/// `1 crash`, `2 crashes`.
pub fn counted_crashes(count: u64) -> String {
    if count == 1 { "1 crash".to_owned() } else { format!("{count} crashes") }
}

/// The months that an archive has crashes of.
///
/// # Errors
///
/// It cannot be listed.
pub fn months(folder: &dyn Folder) -> Result<Vec<Month>> {
    Ok(folder.folders(names::CRASHES)?.iter().filter_map(|name| Month::parse(name)).collect())
}
