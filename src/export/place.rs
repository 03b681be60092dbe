//! Where an export goes: a folder, or an archive; whole, or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use tar::Builder;

use super::ExportError;
use crate::archive::{self, Aside, is_archive};

/// Where an export is to be; nothing is there yet.
#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    aside: PathBuf,
}

/// An export that is being written, aside.
pub struct Writing {
    destination: Destination,
    sink: Sink,
}

enum Sink {
    Folder,
    Archive(Aside, Box<Builder<BufWriter<File>>>),
}

impl Destination {
    /// A folder, or an archive where the name ends in `.tar`.
    ///
    /// # Errors
    /// [`ExportError::Exists`] for anything but an empty folder.
    pub fn new(path: &Path) -> Result<Self, ExportError> {
        let aside = archive::aside(path);
        let there = fs::symlink_metadata(path);
        let is_empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut inside| inside.next().is_none());
        match there {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(ExportError::Io { path: path.to_owned(), action: "looked at", source });
            }
            Ok(_) if !is_archive(path) && is_empty(path) => {}
            Ok(_) => return Err(ExportError::Exists { path: path.to_owned() }),
        }
        Ok(Self { path: path.to_owned(), aside })
    }

    /// Begins, aside.
    ///
    /// # Errors
    /// [`ExportError::LeftOver`], [`ExportError::Io`].
    pub fn begin(self) -> Result<Writing, ExportError> {
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AlreadyExists => ExportError::LeftOver { path: self.aside.clone() },
            _ => ExportError::Io { path: self.aside.clone(), action: "made", source },
        };
        let sink = match is_archive(&self.path) {
            false => {
                fs::create_dir(&self.aside).map_err(failed)?;
                Sink::Folder
            }
            true => {
                let (aside, file) = Aside::begin(&self.path)?;
                Sink::Archive(aside, Box::new(Builder::new(BufWriter::new(file))))
            }
        };
        Ok(Writing { destination: self, sink })
    }
}

impl Writing {
    /// Writes one file; `name` is one of ours.
    ///
    /// # Errors
    /// [`ExportError::Io`].
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let aside = &self.destination.aside;
        match &mut self.sink {
            Sink::Folder => put_file(&aside.join(name), bytes),
            Sink::Archive(_, builder) => {
                let header = archive::header(name, bytes.len() as u64);
                let written = header.and_then(|header| builder.append(&header, bytes));
                written.map_err(|source| ExportError::Io { path: aside.clone(), action: "written", source })
            }
        }
    }

    /// Puts all of it where it belongs.
    ///
    /// # Errors
    /// [`ExportError::Exists`] where somebody was faster, [`ExportError::Io`].
    pub fn finish(self) -> Result<(), ExportError> {
        let Self { destination: Destination { path, aside }, sink } = self;
        let io = |path: &Path, action| {
            let path = path.to_owned();
            move |source| ExportError::Io { path, action, source }
        };
        match sink {
            // A folder takes the place of an empty one only.
            Sink::Folder => fs::rename(&aside, &path).map_err(io(&path, "put in its place")),
            Sink::Archive(archive, builder) => {
                let file = builder.into_inner().map_err(io(&aside, "written"))?;
                let file = file.into_inner().map_err(|error| io(&aside, "written")(error.into_error()))?;
                Ok(archive.finish(&file)?)
            }
        }
    }

    /// Takes away what was written so far.
    pub fn discard(self) {
        match self.sink {
            // What is left of it is named the next time.
            Sink::Folder => drop(fs::remove_dir_all(&self.destination.aside)),
            Sink::Archive(aside, _) => drop(aside),
        }
    }
}

fn put_file(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let failed = |source| ExportError::Io { path: path.to_owned(), action: "written", source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let made = File::options().write(true).create_new(true).open(path);
    made.and_then(|mut file| file.write_all(bytes)).map_err(failed)
}
