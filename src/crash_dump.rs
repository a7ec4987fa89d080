//! The dumps in a directory of savecore(8)'s, found as crashinfo(8) finds them (usr.sbin/crashinfo/crashinfo.sh).
//!
//! Unlike crashinfo(8), this also finds dumps that are encrypted, text dumps and live dumps, and what the links of savecore(8)
//! lead to, such as `vmcore.last`.

use crate::compress::Compression;
use crate::decrypt::write_decrypted;
use crate::dump::sink::Packing;
use crate::dump_input;
use crate::encryption::input::{Unlock, decrypted};
use crate::error::{Error, Result};
use crate::files::open_nonblocking;
use crate::free_space::FreeSpace;
use crate::observer::{Observer, Phase, observe_bytes};
use crate::output_file::unnamed_temp_file;
use crate::save::directory::{self, SUFFIXES, SaveDirectory};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use vmcore::decrypt::{Decrypter, KeyBlock, PrivateKey};
use vmcore::dump::InfoFile;
use vmcore::dump::byte_source::ByteSource;
use vmcore::opened::directory_of;

/// What an encrypted dump is called before its number.
const ENCRYPTED: &str = "vmcore_encrypted";
/// The names before the number, in the order in which they are looked for: what was decrypted comes before what was not.
const STEMS: [&str; 4] = ["vmcore", "textdump.tar", ENCRYPTED, "livecore"];
/// No directory of dumps has more names; what comes after them is not looked at.
const MAX_NAMES: usize = 1 << 20;

/// The files of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashDump {
    /// The dump.
    pub core: PathBuf,
    /// Its number, if it is called as savecore(8) calls it.
    pub number: Option<u32>,
    /// The directory that it is in.
    pub directory: PathBuf,
    /// Whether its name is that of an encrypted dump.
    pub is_encrypted: bool,
    /// The partition that it is in, if it is on a whole disk and that was named.
    pub partition: Option<String>,
}

impl CrashDump {
    /// The dump that was saved last in a directory: the one before the number in `bounds` or, where that does not tell, the one
    /// that `info.last` leads to, or the one with the highest number, as where dumps were copied without those files.
    ///
    /// # Errors
    ///
    /// The directory cannot be opened or read; there is no dump in it, or not the one that it is said to have.
    pub fn newest(directory: &Path) -> Result<Self> {
        if let Some((number, source)) = SaveDirectory::open(directory)?.newest() {
            let files = Self::with_number(directory, number)?;
            let why = || Error::Refused(format!("{}: {source} says that it is the newest", no_dump(directory, number)));
            return files.ok_or_else(why);
        }
        let none = || Error::Refused(format!("there are no crash dumps in {}", directory.display()));
        Self::numbered(directory, highest_number(directory)?.ok_or_else(none)?)
    }

    /// The dump with a number.
    ///
    /// # Errors
    ///
    /// There is none that can be read.
    pub fn numbered(directory: &Path, number: u32) -> Result<Self> {
        Self::with_number(directory, number)?.ok_or_else(|| Error::Refused(no_dump(directory, number)))
    }

    /// The dump with a number; `None` if there is none.
    fn with_number(directory: &Path, number: u32) -> Result<Option<Self>> {
        let names = || STEMS.iter().flat_map(|stem| SUFFIXES.map(|suffix| (stem, format!("{stem}.{number}{suffix}"))));
        for (stem, name) in names() {
            let core = directory.join(name);
            match core.metadata() {
                // A FIFO would wait for another program, and a device is no saved dump.
                Ok(metadata) if !metadata.is_file() => {
                    return Err(Error::Refused(format!("{} is not a regular file", core.display())));
                }
                Ok(_) => {
                    let is_encrypted = *stem == ENCRYPTED;
                    return Ok(Some(Self {
                        core,
                        number: Some(number),
                        directory: directory.to_owned(),
                        is_encrypted,
                        partition: None,
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::io("look at", &core, source)),
            }
        }
        Ok(None)
    }

    /// The dump in a file. A link that savecore(8) made, such as `vmcore.last`, leads to the dump that it names.
    pub fn in_file(path: &Path) -> Self {
        let directory = directory_of(path).to_owned();
        let linked = path.read_link().ok().filter(|target| target.components().count() == 1);
        let target = linked.map(|target| directory.join(target)).filter(|target| stem_and_number(target).is_some());
        let core = match target {
            Some(target) if stem_and_number(path).is_none() => target,
            _ => path.to_owned(),
        };
        let named = stem_and_number(&core);
        let is_encrypted = named.is_some_and(|(stem, _)| stem == ENCRYPTED);
        Self { number: named.map(|(_, number)| number), core, directory, is_encrypted, partition: None }
    }

    /// Names the partition of a whole disk that it is in.
    #[must_use]
    pub fn with_partition(self, partition: Option<String>) -> Self {
        Self { partition, ..self }
    }

    /// Its `info.N`, which need not be there; `None` if it has no number.
    pub fn info_path(&self) -> Option<PathBuf> {
        Some(self.directory.join(format!("info.{}", self.number?)))
    }

    /// The files that are called as the dump is, but for their compression.
    pub fn others(&self) -> Vec<PathBuf> {
        let Some((stem, number)) = stem_and_number(&self.core) else { return Vec::new() };
        let names = SUFFIXES.map(|suffix| self.directory.join(format!("{stem}.{number}{suffix}")));
        names.into_iter().filter(|path| *path != self.core && path.is_file()).collect()
    }

    /// What its `info.N` says; `None` if there is no such file, as where a dump was copied alone.
    ///
    /// # Errors
    ///
    /// It is there, and cannot be read.
    pub fn info(&self) -> Result<Option<InfoFile>> {
        let Some(path) = self.info_path() else { return Ok(None) };
        match InfoFile::read(&path, open_nonblocking) {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io("read", &path, source)),
        }
    }

    /// Opens the dump. One that is encrypted, to recipients or by the kernel, is decrypted first, into files without a name in
    /// the directory of `unlock`, which are gone when they are closed, whatever happens.
    ///
    /// # Errors
    ///
    /// Those of [`dump_input::open`]; it is encrypted, and there is no private key, or it is that of another dump; there is no room
    /// for it.
    pub fn open(
        &self,
        private_key: Option<&PrivateKey>,
        unlock: Unlock<'_>,
        observer: &mut dyn Observer,
    ) -> Result<ByteSource> {
        let volume = decrypted(dump_input::open(&self.core)?, &self.core.display().to_string(), unlock, observer)?;
        if !self.is_encrypted {
            return Ok(volume.with_partition(self.partition.clone()));
        }
        let Some(private_key) = private_key else {
            let core = self.core.display();
            return Err(Error::Refused(format!(
                "{core} is encrypted: give the private key with --private-key, or decrypt it with 'memtool decrypt'"
            )));
        };
        let number = self.number.map(|number| number.to_string()).unwrap_or_default();
        let block = KeyBlock::read(&self.directory.join(format!("key.{number}")), open_nonblocking)?;
        let decrypted = self.decrypt(volume, (private_key, &block), unlock.scratch, observer)?;
        ByteSource::from_file(&decrypted).map_err(|source| Error::io("read", &self.core, source))
    }

    fn decrypt(
        &self,
        encrypted: ByteSource,
        (private_key, block): (&PrivateKey, &KeyBlock),
        scratch: &Path,
        observer: &mut dyn Observer,
    ) -> Result<File> {
        let key = private_key.unlock(block)?;
        let length = encrypted.length();
        if let Some(why) = FreeSpace::within(scratch)?.shortage(length, length) {
            return Err(Error::Refused(format!("the decrypted dump does not fit into {}: {why}", scratch.display())));
        }
        let file = unnamed_temp_file(scratch)?;
        let copy = file.try_clone().map_err(|source| Error::io("decrypt", &self.core, source))?;
        observe_bytes(observer, Phase::Decrypting, Some(length), |progress| {
            write_decrypted(
                Decrypter::new(key, encrypted.part(0, length, progress)),
                &self.core,
                copy,
                Packing::compressed(Compression::None),
            )
        })?;
        Ok(file)
    }
}

/// That there is no dump with a number.
fn no_dump(directory: &Path, number: u32) -> String {
    let first = directory.join(format!("vmcore.{number}"));
    format!("there is no dump {}, compressed, encrypted or as a text dump", first.display())
}

/// The highest number of a dump in a directory.
fn highest_number(directory: &Path) -> Result<Option<u32>> {
    let failed = |source| Error::io("read", directory, source);
    let mut highest = None;
    for entry in directory.read_dir().map_err(failed)?.take(MAX_NAMES) {
        let number = stem_and_number(Path::new(&entry.map_err(failed)?.file_name())).map(|(_, number)| number);
        highest = highest.max(number);
    }
    Ok(highest)
}

/// What a dump is called before its number, and the number.
fn stem_and_number(path: &Path) -> Option<(&'static str, u32)> {
    directory::stem_and_number(path.file_name()?.to_str()?, &STEMS)
}
