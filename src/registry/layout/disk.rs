//! The files of a layout: reading them checked, writing them whole or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};

use super::listing::Waiting;
use super::problem::LayoutProblem;
use super::temporary::{Temporary, sync_folder};
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
    pub(super) waiting: Arc<Waiting>,
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

pub(super) fn failed(path: &Path) -> impl Fn(std::io::Error) -> RegistryError + use<> {
    let file = path.to_owned();
    move |source| RegistryError::LayoutFile { file: file.clone(), source }
}

impl Disk {
    pub(super) fn folder(path: PathBuf) -> Self {
        Self { path, archive: None, waiting: Arc::default() }
    }

    pub(super) fn archive(path: PathBuf) -> Self {
        Self { path, archive: Some(Arc::default()), waiting: Arc::default() }
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

    /// A blob, from its byte `start` on.
    pub(super) fn open_at(&self, digest: Digest, start: u64) -> Result<Option<Take<File>>, RegistryError> {
        let Some(file) = self.open(&blob_name(digest))? else { return Ok(None) };
        let (left, mut file) = (file.limit().saturating_sub(start), file.into_inner());
        if start > 0 {
            // From where it stands, which in an archive is not its beginning.
            let ahead = SeekFrom::Current(i64::try_from(start).unwrap_or(i64::MAX));
            file.seek(ahead).map_err(failed(&self.blob(digest)))?;
        }
        Ok(Some(file.take(left)))
    }

    /// Runs file operations off the async threads, from now on.
    pub(super) fn run<T: Send + 'static, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, RegistryError>> + Send + use<T, W>
    where
        W: FnOnce(&Self) -> Result<T, RegistryError> + Send + 'static,
    {
        let (disk, failed) = (self.clone(), failed(&self.path));
        let running = tokio::task::spawn_blocking(move || work(&disk));
        async move {
            match running.await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is shutting down.
                    Err(error) => Err(failed(std::io::Error::other(error))),
                },
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn blobs(&self) -> PathBuf {
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
        let blobs = self.blobs();
        if !blobs.exists() {
            fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
            sync_folder(&self.path("blobs"))?;
        }
        Ok(())
    }

    pub(super) fn lock(&self) -> Result<File, RegistryError> {
        let path = self.path(LOCK);
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
        file.lock().map_err(failed(&path))?;
        Ok(file)
    }

    pub(super) fn index_value(&self) -> Result<Value, RegistryError> {
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

    /// Writes a file anew, and its name to disk.
    pub(super) fn replace(&self, name: &str, value: &Value) -> Result<(), RegistryError> {
        let mut temporary = Temporary::create_in(&self.path)?;
        temporary.write(value.to_string().as_bytes())?;
        temporary.keep(&self.path(name))?;
        self.sync_names()
    }

    /// The names of `index.json` and `oci-layout` to disk.
    pub(super) fn sync_names(&self) -> Result<(), RegistryError> {
        sync_folder(&self.path)
    }

    /// A whole file of at most `limit` bytes; `None` when there is no such file.
    fn read_limited(&self, name: &str, limit: u64) -> Result<Option<Bytes>, RegistryError> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let failed = failed(&self.path(name));
        let length = file.get_ref().metadata().map_err(&failed)?.len().min(file.limit()).min(limit);
        // With room for all of it one read is enough; without, there are ten.
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(1));
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
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
    pub(super) fn temporary(&self) -> Result<Temporary, RegistryError> {
        Temporary::create_in(&self.blobs())
    }

    /// Writes a small blob, unless it is there with the right bytes.
    pub(super) fn write_blob(&self, digest: Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        if let Ok(Some(_)) = self.read(digest, bytes.len() as u64) {
            return Ok(());
        }
        let mut temporary = self.temporary()?;
        temporary.write(bytes)?;
        temporary.keep(&self.blob(digest))
    }
}
