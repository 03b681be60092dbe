//! The files of a layout: reading them checked, writing them whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};

use super::problem::LayoutProblem;
use super::{Fetched, Index};
use crate::closure::{Descriptor, Document, OCI_INDEX};
use crate::digest::{Digest, shorten};
use crate::json::{self as strict, Limits};
use crate::registry::error::RegistryError;

pub(super) const INDEX: &str = "index.json";
const MARKER: &str = "oci-layout";
const LOCK: &str = ".samebits.lock";
const VERSION: &str = "1.0.0";
/// The largest manifest that is read, in bytes.
pub(super) const MANIFEST_LIMIT: u64 = 4 << 20;
/// The largest `index.json` that is read, in bytes.
const INDEX_LIMIT: u64 = 32 << 20;

/// The folder of a layout.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    folder: PathBuf,
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
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
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
                Err(error) => Err(failed(&self.folder)(std::io::Error::other(error))),
            },
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs").join("sha256")
    }

    /// Where a blob lies. The name is always 64 hexadecimal digits.
    pub(super) fn blob(&self, digest: Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(super) fn malformed(&self, name: &str, problem: LayoutProblem) -> RegistryError {
        RegistryError::LayoutMalformed { file: self.path(name), source: Box::new(problem) }
    }

    /// Whether there is a layout; an error when there is one of another version.
    pub(super) fn exists(&self) -> Result<bool, RegistryError> {
        let path = self.path(MARKER);
        let Some(bytes) = read_limited(&path, 64 << 10)? else { return Ok(false) };
        let value = strict::parse(&bytes, Limits::default())
            .map_err(|problem| self.malformed(MARKER, LayoutProblem::Json(problem)))?;
        match value.get("imageLayoutVersion").and_then(Value::as_str) {
            Some(VERSION) => Ok(true),
            found => Err(RegistryError::NotALayout {
                folder: self.folder.clone(),
                found: shorten(found.unwrap_or("nothing")),
            }),
        }
    }

    /// An error unless there is a layout.
    pub(super) fn check(&self) -> Result<(), RegistryError> {
        match self.exists()? {
            true => Ok(()),
            false => Err(RegistryError::LayoutAbsent { folder: self.folder.clone() }),
        }
    }

    /// Makes the layout if there is none.
    pub(super) fn prepare(&self) -> Result<(), RegistryError> {
        if !self.exists()? {
            fs::create_dir_all(&self.folder).map_err(failed(&self.folder))?;
            for entry in fs::read_dir(&self.folder).map_err(failed(&self.folder))? {
                let name = entry.map_err(failed(&self.folder))?.file_name();
                // What another process that is making the same layout may have written already.
                let ours = [LOCK, MARKER, INDEX, "blobs"].iter().any(|ours| name == *ours);
                if !ours && !name.to_string_lossy().starts_with(".samebits.") {
                    return Err(RegistryError::LayoutOccupied { folder: self.folder.clone() });
                }
            }
            // `index.json` before `oci-layout`: what calls itself a layout is one.
            let _lock = self.lock()?;
            if !self.path(INDEX).exists() {
                let empty = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] });
                self.replace(INDEX, &empty)?;
            }
            self.replace(MARKER, &json!({ "imageLayoutVersion": VERSION }))?;
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
        let path = self.path(INDEX);
        let absent = || failed(&path)(ErrorKind::NotFound.into());
        let bytes = read_limited(&path, INDEX_LIMIT)?.ok_or_else(absent)?;
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
        let mut temporary = temporary_in(&self.folder)?;
        temporary.file.write_all(value.to_string().as_bytes()).map_err(failed(&temporary.path))?;
        keep(&mut temporary, &path)
    }

    /// The bytes of a blob, checked against its name; `None` when there is no such file.
    pub(super) fn read(&self, digest: Digest, limit: u64) -> Result<Option<Bytes>, RegistryError> {
        let path = self.blob(digest);
        let Some(bytes) = read_limited(&path, limit)? else { return Ok(None) };
        match Digest::of(&bytes) {
            found if found == digest => Ok(Some(bytes)),
            found => Err(RegistryError::LayoutDigest { file: path, found }),
        }
    }

    /// The length of a blob in bytes, if it is there.
    pub(super) fn size(&self, digest: Digest) -> Result<Option<u64>, RegistryError> {
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
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    }
    Ok(())
}

/// A whole file of at most `limit` bytes; `None` when there is no such file.
fn read_limited(path: &Path, limit: u64) -> Result<Option<Bytes>, RegistryError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed(path))?;
    let found = bytes.len() as u64;
    match found > limit {
        true => Err(RegistryError::LayoutTooLarge { file: path.to_owned(), limit }),
        false => Ok(Some(bytes.into())),
    }
}
