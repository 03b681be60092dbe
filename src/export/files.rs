//! An export as it is read: names and bytes, from a folder or an archive; nothing in it is believed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::ExportError;
use super::place::is_archive;
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
    all: BTreeMap<String, At>,
}

/// Where a file's bytes are.
#[derive(Debug)]
enum At {
    File,
    Archive { offset: u64, length: u64 },
}

impl Files {
    /// Lists a folder, or an archive.
    ///
    /// # Errors
    /// [`ExportError::Io`]; [`ExportError::NotAnExport`] for links, devices, paths that lead out of it.
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        let mut files = Self { path: path.to_owned(), all: BTreeMap::new() };
        // Before it is opened: opening a pipe waits for its other end.
        let kind = fs::metadata(path).map_err(files.io("read"))?.file_type();
        match (kind.is_dir(), kind.is_file()) {
            (true, _) => files.folder(path, String::new(), 0)?,
            (false, true) => files.archive()?,
            (false, false) => return Err(files.not("it is neither a folder nor a regular file".to_owned())),
        }
        Ok(files)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }

    /// Whether there is a file of that name.
    pub fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// The bytes of a file; `None` if there is none.
    ///
    /// # Errors
    /// [`ExportError::Io`], also for one that is larger than anything in an export.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ExportError> {
        let Some(at) = self.all.get(name) else { return Ok(None) };
        let read = match at {
            At::File => File::open(self.path.join(name)).and_then(bounded),
            At::Archive { offset, length } => File::open(&self.path).and_then(|mut file| {
                file.seek(SeekFrom::Start(*offset))?;
                bounded(file.take(*length))
            }),
        };
        read.map(Some).map_err(|source| ExportError::Io {
            path: self.path.join(name),
            action: "read",
            source,
        })
    }

    fn io(&self, action: &'static str) -> impl Fn(std::io::Error) -> ExportError + use<> {
        let path = self.path.clone();
        move |source| ExportError::Io { path: path.clone(), action, source }
    }

    fn not(&self, why: String) -> ExportError {
        ExportError::NotAnExport { path: self.path.clone(), why }
    }

    fn add(&mut self, name: String, at: At) -> Result<(), ExportError> {
        if self.all.len() >= COUNT {
            return Err(self.not(format!("it has more than {COUNT} files")));
        }
        match self.all.insert(name.clone(), at) {
            None => Ok(()),
            Some(_) => Err(self.not(format!("it has `{}` twice", shorten(&name)))),
        }
    }

    fn folder(&mut self, folder: &Path, prefix: String, depth: usize) -> Result<(), ExportError> {
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
                (true, _) => self.folder(&entry.path(), format!("{name}/"), depth + 1)?,
                (false, true) => self.add(name, At::File)?,
                (false, false) => return Err(self.not(format!("`{}` is a link or device", shorten(&name)))),
            }
        }
        Ok(())
    }

    fn archive(&mut self) -> Result<(), ExportError> {
        if !is_archive(&self.path) {
            return Err(self.not("expected a folder, or an archive whose name ends in .tar".to_owned()));
        }
        let file = File::open(&self.path).map_err(self.io("read"))?;
        let mut archive = tar::Archive::new(file);
        let mut found = Vec::new();
        // As they stand: what is written is plain ustar, and longer names or other sizes from extensions are not read.
        let entries = archive.entries_with_seek().map_err(self.io("read"))?.raw(true);
        for entry in entries {
            let entry = entry.map_err(self.io("read"))?;
            if found.len() >= COUNT {
                return Err(self.not(format!("it has more than {COUNT} entries")));
            }
            let path = entry.path().map_err(self.io("read"))?.into_owned();
            let ours = path.components().all(|part| matches!(part, Component::Normal(_)));
            let name = path.to_str().filter(|_| ours).map(str::to_owned);
            let kind = entry.header().entry_type();
            let at = At::Archive { offset: entry.raw_file_position(), length: entry.size() };
            found.push((name, kind, at));
        }
        for (name, kind, at) in found {
            let Some(name) = name else { return Err(self.not("a name in it leads out of it".to_owned())) };
            if kind.is_dir() {
                continue;
            }
            if !kind.is_file() {
                let why = format!(
                    "`{}` is a link, device or extended header: expected plain ustar",
                    shorten(&name)
                );
                return Err(self.not(why));
            }
            self.add(name, at)?;
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
