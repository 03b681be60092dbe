//! The files of a layout: reading them checked, writing them whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Take, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use super::problem::LayoutProblem;
use super::{Fetched, Index};
use crate::archive::{ArchiveError, Entries};
use crate::closure::{Descriptor, Document, OCI_INDEX};
use crate::digest::{Digest, shorten};
use crate::json::{self as strict, Limits};
use crate::registry::error::RegistryError;

pub(in crate::registry) const INDEX: &str = "index.json";
pub(in crate::registry) const MARKER: &str = "oci-layout";
const LOCK: &str = ".samebits.lock";
const VERSION: &str = "1.0.0";
/// The largest manifest that is read, in bytes.
pub(super) const MANIFEST_LIMIT: u64 = 4 << 20;
/// The largest `index.json` that is read, in bytes.
const INDEX_LIMIT: u64 = 32 << 20;

/// How many files an archive may have.
const ENTRIES: usize = 1_000_000;

/// The folder of a layout, or the archive.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    path: PathBuf,
    archive: Option<Arc<Mutex<Option<Arc<Entries>>>>>,
}

/// `index.json` of a layout with nothing in it.
pub(in crate::registry) fn empty_index() -> Value {
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] })
}

/// What calls a folder a layout.
pub(in crate::registry) fn marker() -> Value {
    json!({ "imageLayoutVersion": VERSION })
}

/// Where a blob lies. The name is always 64 hexadecimal digits.
pub(in crate::registry) fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A file in the making, beside the one it will become; it goes away unless it is kept.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Temporary {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A second handle to write through.
    pub(super) fn file(&self) -> Result<File, std::io::Error> {
        self.file.try_clone()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: a leftover is never read, its name is no digest.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> RegistryError {
    let file = path.to_owned();
    move |source| RegistryError::LayoutFile { file: file.clone(), source }
}

impl Disk {
    pub(super) fn folder(path: PathBuf) -> Self {
        Self { path, archive: None }
    }

    pub(super) fn archive(path: PathBuf) -> Self {
        Self { path, archive: Some(Arc::default()) }
    }

    /// The names in the archive, once it is there; read once.
    fn entries(&self, known: &Mutex<Option<Arc<Entries>>>) -> Result<Option<Arc<Entries>>, RegistryError> {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = match Entries::open(&self.path, ENTRIES) {
                Ok(entries) => Some(Arc::new(entries)),
                Err(ArchiveError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(RegistryError::Archive(error)),
            };
        }
        Ok(known.clone())
    }

    /// A file of the layout, at its first byte, and as long as it is; `None` when there is no such file.
    pub(super) fn open(&self, name: &str) -> Result<Option<Take<File>>, RegistryError> {
        let path = self.path(name);
        let failed = failed(&path);
        match &self.archive {
            Some(known) => match self.entries(known)? {
                Some(entries) => entries.read(name).map_err(failed),
                None => Ok(None),
            },
            None => match File::open(&path) {
                Ok(file) => Ok(Some(file.take(u64::MAX))),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed(error)),
            },
        }
    }

    /// Runs file operations off the async threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let disk = self.clone();
        match tokio::task::spawn_blocking(move || work(&disk)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(error) => Err(failed(&self.path)(std::io::Error::other(error))),
            },
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn blobs(&self) -> PathBuf {
        self.path("blobs/sha256")
    }

    /// Where a blob lies.
    pub(super) fn blob(&self, digest: Digest) -> PathBuf {
        self.path(&blob_name(digest))
    }

    pub(super) fn malformed(&self, name: &str, problem: LayoutProblem) -> RegistryError {
        RegistryError::LayoutMalformed { file: self.path(name), source: Box::new(problem) }
    }

    /// Whether there is a layout; an error when there is one of another version.
    pub(super) fn exists(&self) -> Result<bool, RegistryError> {
        let Some(bytes) = self.read_limited(MARKER, 64 << 10)? else { return Ok(false) };
        let value = strict::parse(&bytes, Limits::default())
            .map_err(|problem| self.malformed(MARKER, LayoutProblem::Json(problem)))?;
        match value.get("imageLayoutVersion").and_then(Value::as_str) {
            Some(VERSION) => Ok(true),
            found => Err(RegistryError::NotALayout {
                folder: self.path.clone(),
                found: shorten(found.unwrap_or("nothing")),
            }),
        }
    }

    /// An error unless there is a layout.
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        match self.exists()? {
            true => Ok(()),
            false => Err(RegistryError::LayoutAbsent { folder: self.path.clone() }),
        }
    }

    /// Makes the layout if there is none.
    pub(super) fn prepare(&self) -> Result<(), RegistryError> {
        if self.archive.is_some() {
            return Err(RegistryError::LayoutWritten { file: self.path.clone() });
        }
        if !self.exists()? {
            fs::create_dir_all(&self.path).map_err(failed(&self.path))?;
            for entry in fs::read_dir(&self.path).map_err(failed(&self.path))? {
                let name = entry.map_err(failed(&self.path))?.file_name();
                // What another process that is making the same layout may have written already.
                let ours = [LOCK, MARKER, INDEX, "blobs"].iter().any(|ours| name == *ours);
                if !ours && !name.to_string_lossy().starts_with(".samebits.") {
                    return Err(RegistryError::LayoutOccupied { folder: self.path.clone() });
                }
            }
            // `index.json` before `oci-layout`: what calls itself a layout is one.
            let _lock = self.lock()?;
            if !self.path(INDEX).exists() {
                self.replace(INDEX, &empty_index())?;
            }
            self.replace(MARKER, &marker())?;
        }
        fs::create_dir_all(self.blobs()).map_err(failed(&self.blobs()))
    }

    fn lock(&self) -> Result<File, RegistryError> {
        let path = self.path(LOCK);
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
        file.lock().map_err(failed(&path))?;
        Ok(file)
    }

    fn index_value(&self) -> Result<Value, RegistryError> {
        let absent = || failed(&self.path(INDEX))(ErrorKind::NotFound.into());
        let bytes = self.read_limited(INDEX, INDEX_LIMIT)?.ok_or_else(absent)?;
        let limits = Limits { bytes: bytes.len(), ..Limits::default() };
        let value = strict::parse(&bytes, limits)
            .map_err(|problem| self.malformed(INDEX, LayoutProblem::Json(problem)))?;
        match value.get("manifests") {
            Some(Value::Array(_)) => Ok(value),
            Some(_) | None => Err(self.malformed(INDEX, LayoutProblem::NoManifests)),
        }
    }

    /// What `index.json` lists.
    pub(super) fn index(&self) -> Result<Index, RegistryError> {
        self.check()?;
        let value = self.index_value()?;
        // Its own bytes name it in errors; the file is in the message around them.
        let document = Digest::of(value.to_string().as_bytes());
        let entries = value["manifests"].as_array().into_iter().flatten();
        let entries = entries
            .map(|entry| Descriptor::read(document, entry))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|problem| self.malformed(INDEX, LayoutProblem::Document(problem)))?;
        Ok(Index { entries })
    }

    /// Reads, changes and writes `index.json` under the lock.
    pub(super) fn change(&self, change: impl FnOnce(&mut Value)) -> Result<(), RegistryError> {
        let _lock = self.lock()?;
        let mut value = self.index_value()?;
        let before = value.clone();
        change(&mut value);
        match value == before {
            true => Ok(()),
            false => self.replace(INDEX, &value),
        }
    }

    fn replace(&self, name: &str, value: &Value) -> Result<(), RegistryError> {
        let path = self.path(name);
        let mut temporary = temporary_in(&self.path)?;
        temporary.file.write_all(value.to_string().as_bytes()).map_err(failed(&temporary.path))?;
        keep(&mut temporary, &path)
    }

    /// A whole file of at most `limit` bytes; `None` when there is no such file.
    fn read_limited(&self, name: &str, limit: u64) -> Result<Option<Bytes>, RegistryError> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(failed(&self.path(name)))?;
        match bytes.len() as u64 > limit {
            true => Err(RegistryError::LayoutTooLarge { file: self.path(name), limit }),
            false => Ok(Some(bytes.into())),
        }
    }

    /// The bytes of a blob, checked against its name; `None` when there is no such file.
    pub(super) fn read(&self, digest: Digest, limit: u64) -> Result<Option<Bytes>, RegistryError> {
        let Some(bytes) = self.read_limited(&blob_name(digest), limit)? else { return Ok(None) };
        match Digest::of(&bytes) {
            found if found == digest => Ok(Some(bytes)),
            found => Err(RegistryError::LayoutDigest { file: self.blob(digest), found }),
        }
    }

    /// The length of a blob in bytes, if it is there.
    pub(super) fn size(&self, digest: Digest) -> Result<Option<u64>, RegistryError> {
        if let Some(known) = &self.archive {
            return Ok(self.entries(known)?.and_then(|entries| entries.length(&blob_name(digest))));
        }
        let path = self.blob(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// A manifest that somebody lists: its file must be there and have the size that was said.
    pub(super) fn listed(&self, entry: &Descriptor) -> Result<Fetched, RegistryError> {
        let path = self.blob(entry.digest);
        let Some(bytes) = self.read(entry.digest, MANIFEST_LIMIT)? else {
            return Err(RegistryError::LayoutBlobMissing { file: path });
        };
        if bytes.len() as u64 != entry.size {
            let found = bytes.len() as u64;
            return Err(RegistryError::LayoutSize { file: path, wanted: entry.size, found });
        }
        Ok(Fetched { digest: entry.digest, media_type: entry.media_type.clone(), bytes })
    }

    /// Reads a manifest strictly.
    pub(super) fn document(&self, fetched: &Fetched) -> Result<Document, RegistryError> {
        Document::read(&fetched.bytes, None, Some(&fetched.media_type)).map_err(|problem| {
            let source = Box::new(LayoutProblem::Document(problem));
            RegistryError::LayoutMalformed { file: self.blob(fetched.digest), source }
        })
    }

    /// A new file beside the blobs.
    pub(super) fn temporary(&self, _digest: Digest) -> Result<Temporary, RegistryError> {
        temporary_in(&self.blobs())
    }

    /// The file, complete, becomes the blob.
    pub(super) fn keep(&self, mut temporary: Temporary, digest: Digest) -> Result<(), RegistryError> {
        keep(&mut temporary, &self.blob(digest))
    }

    /// Writes a small blob, unless it is there with the right bytes.
    pub(super) fn write_blob(&self, digest: Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        if let Ok(Some(_)) = self.read(digest, bytes.len() as u64) {
            return Ok(());
        }
        let mut temporary = temporary_in(&self.blobs())?;
        temporary.file.write_all(bytes).map_err(failed(&temporary.path))?;
        self.keep(temporary, digest)
    }
}

fn temporary_in(folder: &Path) -> Result<Temporary, RegistryError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".samebits.{}.{number}", std::process::id()));
        match File::options().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok(Temporary { path, file, kept: false }),
            // Left behind by a crashed process of the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed(&path)(error)),
        }
    }
}

/// Data to disk, then the name, then the name to disk.
fn keep(temporary: &mut Temporary, path: &Path) -> Result<(), RegistryError> {
    temporary.file.sync_all().map_err(failed(&temporary.path))?;
    fs::rename(&temporary.path, path).map_err(failed(path))?;
    temporary.kept = true;
    // Windows has no folder that could be opened as a file; NTFS keeps a journal of names.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    }
    Ok(())
}
