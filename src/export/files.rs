//! An export as it is read: names and bytes, from a folder or an archive; nothing in it is believed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::ExportError;
use crate::archive::{Entries, is_archive};
use crate::digest::shorten;
use crate::ledger::kept;

/// The largest file of an export that is read, in bytes: `index.json` of millions of records.
const LIMIT: u64 = 256 << 20;
/// How many files an export may have.
const COUNT: usize = 20_000_000;
/// How deep folders may lie in one another: `control/tile/entries/x001/x234/067.p/8`, and room.
const DEPTH: usize = 12;

const _: () = assert!(kept::LIMIT as u64 <= LIMIT);

/// The files of an export by name, as `/`-separated paths.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    all: All,
}

/// What there is.
#[derive(Debug)]
enum All {
    Folder(BTreeSet<String>),
    Archive(Entries),
}

impl Files {
    /// Lists a folder, or an archive.
    ///
    /// # Errors
    /// [`ExportError::Io`]; [`ExportError::NotAnExport`] for links, devices, paths that lead out of it.
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        let mut files = Self { path: path.to_owned(), all: All::Folder(BTreeSet::new()) };
        // Before it is opened: opening a pipe waits for its other end.
        let kind = fs::metadata(path).map_err(files.io("read"))?.file_type();
        match (kind.is_dir(), kind.is_file()) {
            (true, _) => {
                let mut names = BTreeSet::new();
                files.folder(&mut names, path, String::new(), 0)?;
                files.all = All::Folder(names);
            }
            (false, true) if is_archive(path) => files.all = All::Archive(Entries::open(path, COUNT)?),
            (false, true) => {
                let expected = "expected a folder, or an archive whose name ends in .tar";
                return Err(files.not(expected.to_owned()));
            }
            (false, false) => return Err(files.not("it is neither a folder nor a regular file".to_owned())),
        }
        Ok(files)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every name.
    pub fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.all {
            All::Folder(names) => Box::new(names.iter().map(String::as_str)),
            All::Archive(entries) => Box::new(entries.names()),
        }
    }

    /// Whether there is a file of that name.
    pub fn has(&self, name: &str) -> bool {
        match &self.all {
            All::Folder(names) => names.contains(name),
            All::Archive(entries) => entries.length(name).is_some(),
        }
    }

    /// The bytes of a file; `None` if there is none.
    ///
    /// # Errors
    /// [`ExportError::Io`], also for one that is larger than anything in an export.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ExportError> {
        let read = match &self.all {
            All::Folder(names) if !names.contains(name) => Ok(None),
            All::Folder(_) => File::open(self.path.join(name)).and_then(bounded).map(Some),
            All::Archive(entries) => entries.read(name).and_then(|file| file.map(bounded).transpose()),
        };
        read.map_err(|source| ExportError::Io { path: self.path.join(name), action: "read", source })
    }

    fn io(&self, action: &'static str) -> impl Fn(std::io::Error) -> ExportError + use<> {
        let path = self.path.clone();
        move |source| ExportError::Io { path: path.clone(), action, source }
    }

    fn not(&self, why: String) -> ExportError {
        ExportError::NotAnExport { path: self.path.clone(), why }
    }

    fn folder(
        &self,
        names: &mut BTreeSet<String>,
        folder: &Path,
        prefix: String,
        depth: usize,
    ) -> Result<(), ExportError> {
        if depth > DEPTH {
            return Err(self.not(format!("`{}` lies too deep", shorten(&prefix))));
        }
        for entry in fs::read_dir(folder).map_err(self.io("read"))? {
            let entry = entry.map_err(self.io("read"))?;
            let kind = entry.file_type().map_err(self.io("read"))?;
            let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else {
                return Err(self.not("a name in it is not UTF-8".to_owned()));
            };
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => self.folder(names, &entry.path(), format!("{name}/"), depth + 1)?,
                (false, true) if names.len() >= COUNT => {
                    return Err(self.not(format!("it has more than {COUNT} files")));
                }
                (false, true) => drop(names.insert(name)),
                (false, false) => return Err(self.not(format!("`{}` is a link or device", shorten(&name)))),
            }
        }
        Ok(())
    }
}

fn bounded(from: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LIMIT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LIMIT {
        true => Err(std::io::Error::other(format!("it is larger than {LIMIT} bytes"))),
        false => Ok(bytes),
    }
}
