//! An OCI image layout on disk (image-spec v1.1, image-layout.md), in a folder or in a tar archive, as a registry of its own.
//!
//! Guarantees: what is read has the digest of its file name; what is written appears whole or not at all
//! (temporary file, fsync, rename); `index.json` lists what is on disk, name and all, and changes under a lock that other
//! samebits processes respect. After a crash, what is listed is whole.
//! A tag is the annotation `org.opencontainers.image.ref.name`. A referrer is a manifest with a `subject` that
//! `index.json` lists; the fallback tag `sha256-<hex>` of other tools is read too.
//! Never does: adding to an archive, which [`super::copy`] writes in one go; deleting. A manifest that loses its tag stays listed without one.

mod blob;
mod disk;
mod listing;
pub(super) mod problem;
mod temporary;

pub(super) use self::disk::{INDEX, MARKER, blob_name, empty_index, marker};

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::join;
use serde_json::{Value, json};
use tokio::sync::mpsc::channel;

use self::blob::Opened;
use self::disk::Disk;
use self::listing::Wanted;
use self::problem::LayoutProblem;
use super::error::RegistryError;
use super::trail::{Pass, Trail};
use super::wire::{Chunks, Fetched, Listing, PutManifest, Which};
use crate::archive::is_archive;
use crate::closure::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Document, OCI_INDEX, OCI_MANIFEST};
use crate::digest::Digest;
use crate::reference::Tag;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Pieces of a blob that wait while another is written.
const QUEUE: usize = 1;

/// One layout; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    disk: Disk,
}

impl Layout {
    /// A layout in a folder, or in an archive where the name ends in `.tar` and no folder has it.
    pub(crate) fn new(path: PathBuf) -> Self {
        match is_archive(&path) {
            true => Self::archive(path),
            false => Self { disk: Disk::folder(path) },
        }
    }

    /// A layout in an archive, whatever its name; to be read only.
    pub(crate) fn archive(path: PathBuf) -> Self {
        Self { disk: Disk::archive(path) }
    }

    /// Whether there is a layout at all.
    pub(crate) async fn exists(&self) -> Result<bool, RegistryError> {
        self.disk.run(Disk::exists).await
    }

    /// A manifest; `None` when the layout has no such tag or blob.
    ///
    /// # Errors
    /// No layout there, a listed manifest whose file is missing or has other bytes, a malformed file.
    pub(crate) async fn manifest(&self, which: Which<'_>) -> Result<Option<Fetched>, RegistryError> {
        let (tag, digest) = match which {
            Which::Tag(tag) => (Some(tag.clone()), None),
            Which::Digest(digest) => (None, Some(digest)),
        };
        self.disk
            .run(move |disk| {
                let index = disk.index()?;
                let entry = match (&tag, digest) {
                    (Some(tag), _) => match index.tagged(disk, tag)? {
                        Some(entry) => Some(entry),
                        None => return Ok(None),
                    },
                    (None, digest) => index.entries.iter().find(|entry| Some(entry.digest) == digest),
                };
                match (entry, digest) {
                    (Some(entry), _) => disk.listed(entry).map(Some),
                    (None, Some(digest)) => match disk.read(digest, disk::MANIFEST_LIMIT)? {
                        Some(bytes) => {
                            let media_type = media_type_of(&bytes).to_owned();
                            Ok(Some(Fetched { digest, media_type, bytes }))
                        }
                        None => Ok(None),
                    },
                    (None, None) => Ok(None),
                }
            })
            .await
    }

    /// A blob as a stream, from where `reading` goes on; the digest of all of it is checked before the last bytes are
    /// handed out.
    pub(crate) async fn blob(&self, digest: Digest, reading: Pass) -> Result<Chunks, RegistryError> {
        let (path, start) = (self.disk.blob(digest), reading.at());
        let opened =
            self.disk.run(move |disk| disk.check().and_then(|()| disk.open_at(digest, start))).await?;
        let file = opened.ok_or_else(|| RegistryError::LayoutBlobMissing { file: path.clone() })?;
        Ok(Opened { path, file, digest, reading }.chunks(&self.disk))
    }

    /// A whole blob, checked; `None` when it is not there.
    pub(crate) async fn small_blob(
        &self,
        digest: Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.disk
            .run(move |disk| {
                disk.check()?;
                disk.read(digest, limit)
            })
            .await
    }

    /// The length of a blob in bytes, if it is there. Its bytes are not hashed: reads do that.
    pub(crate) async fn blob_size(&self, digest: Digest) -> Result<Option<u64>, RegistryError> {
        self.disk.run(move |disk| disk.size(digest)).await
    }

    /// Whether the bytes of a blob that is there are those of its name.
    pub(crate) async fn is_intact(&self, digest: Digest) -> Result<bool, RegistryError> {
        let mut chunks = self.blob(digest, Trail::new(digest).read_from(0)).await?;
        loop {
            match chunks.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(true),
                Err(RegistryError::LayoutDigest { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a manifest is there, with the right bytes.
    pub(crate) async fn has_manifest(&self, digest: Digest) -> Result<bool, RegistryError> {
        self.disk
            .run(move |disk| match disk.read(digest, disk::MANIFEST_LIMIT) {
                Ok(bytes) => Ok(bytes.is_some()),
                Err(RegistryError::LayoutDigest { .. } | RegistryError::LayoutTooLarge { .. }) => Ok(false),
                Err(error) => Err(error),
            })
            .await
    }

    /// Writes a blob; `chunks` come from a source that checks them ([`Layout::blob`], or the remote's).
    ///
    /// # Errors
    /// [`RegistryError::Size`] when they are fewer or more than `size`, which is the source's fault; the source's own; the disk.
    pub(crate) async fn put_blob(
        &self,
        digest: Digest,
        size: u64,
        mut chunks: Chunks,
    ) -> Result<(), RegistryError> {
        let mut temporary = self.disk.run(|disk| disk.prepare().and_then(|()| disk.temporary())).await?;
        let (sender, pieces) = channel(QUEUE);
        let writing = self.disk.run(move |_| temporary.fill(pieces).map(|()| temporary));
        let passing = async move {
            let mut found: u64 = 0;
            while let Some(chunk) = chunks.try_next().await? {
                found = found.saturating_add(chunk.len() as u64);
                // Too many, or the disk takes no more, which it says itself.
                if found > size || sender.send(chunk).await.is_err() {
                    break;
                }
            }
            Ok::<_, RegistryError>(found)
        };
        // To the end of both: nothing is written any more when this returns.
        let (found, written) = join(passing, writing).await;
        let (found, temporary) = (found?, written?);
        if found != size {
            return Err(RegistryError::Size { digest, wanted: size, found });
        }
        let file = self.disk.blob(digest);
        self.disk.run(move |_| temporary.keep(&file)).await
    }

    /// Writes a manifest and lists it: under its tag, else without one until an index that contains it is
    /// written.
    pub(crate) async fn put_manifest(
        &self,
        which: Which<'_>,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<PutManifest, RegistryError> {
        let tag = match which {
            Which::Tag(tag) => Some(tag.clone()),
            Which::Digest(_) => None,
        };
        let media_type = media_type.to_owned();
        let digest = Digest::of(&bytes);
        if let Which::Digest(wanted) = which
            && wanted != digest
        {
            return Err(RegistryError::LayoutDigest { file: self.disk.blob(wanted), found: digest });
        }
        self.disk
            .run(move |disk| {
                let path = disk.blob(digest);
                let document = Document::read(&bytes, None, Some(&media_type)).map_err(|problem| {
                    let source = Box::new(LayoutProblem::Document(problem));
                    RegistryError::LayoutMalformed { file: path, source }
                })?;
                disk.prepare()?;
                disk.write_blob(digest, &bytes)?;
                let (size, listed) = (bytes.len() as u64, AtomicBool::new(false));
                disk.list(Wanted { tag, document, digest, size, listed })?;
                Ok(PutManifest { subject_acknowledged: true })
            })
            .await
    }

    /// Everything listed whose `subject` is `digest`, and what the fallback tag lists.
    pub(crate) async fn referrers(&self, digest: Digest) -> Result<Listing, RegistryError> {
        self.disk
            .run(move |disk| {
                let index = disk.index()?;
                let fallback = format!("sha256-{}", digest.hex());
                let mut candidates: Vec<Descriptor> = Vec::new();
                for entry in &index.entries {
                    if entry.annotations.get(REF_NAME).is_some_and(|name| *name == fallback) {
                        let fetched = disk.listed(entry)?;
                        candidates.extend_from_slice(disk.document(&fetched)?.children());
                    } else if is_manifest(&entry.media_type) {
                        candidates.push(entry.clone());
                    }
                }
                let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
                for candidate in candidates {
                    if !is_manifest(&candidate.media_type) || !seen.insert(candidate.digest) {
                        continue;
                    }
                    let fetched = disk.listed(&candidate)?;
                    let document = disk.document(&fetched)?;
                    if document.subject.is_some_and(|subject| subject.digest == digest) {
                        found.push(Descriptor {
                            artifact_type: document.artifact_type,
                            annotations: document.annotations,
                            platform: None,
                            ..candidate
                        });
                    }
                }
                Ok(Listing::Listed(found))
            })
            .await
    }
}

fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | OCI_MANIFEST | DOCKER_LIST | DOCKER_MANIFEST)
}

/// What a manifest that nobody lists says of itself; without a word it is OCI by its shape (image-spec v1.1 lets
/// `mediaType` be absent). A wrong guess is refused where the document is read.
fn media_type_of(bytes: &[u8]) -> &'static str {
    let value = crate::json::parse(bytes, crate::json::Limits::default()).unwrap_or(Value::Null);
    match value.get("mediaType").and_then(Value::as_str) {
        Some(OCI_INDEX) => OCI_INDEX,
        Some(OCI_MANIFEST) => OCI_MANIFEST,
        Some(DOCKER_LIST) => DOCKER_LIST,
        Some(DOCKER_MANIFEST) => DOCKER_MANIFEST,
        None if value.get("manifests").is_some() => OCI_INDEX,
        None if value.get("layers").is_some() => OCI_MANIFEST,
        Some(_) | None => "application/octet-stream",
    }
}

/// Lists a manifest in `index.json`, leaving everything else in it as it is.
pub(super) fn list(index: &mut Value, tag: Option<&Tag>, document: &Document, digest: Digest, size: u64) {
    let Some(entries) = index.get_mut("manifests").and_then(Value::as_array_mut) else { return };
    let name = |entry: &Value| entry["annotations"][REF_NAME].as_str().map(str::to_owned);
    let is = |entry: &Value, digest: Digest| entry["digest"].as_str() == Some(&digest.to_string());
    let mut entry = json!({ "mediaType": document.media_type, "digest": digest, "size": size });
    if let (Some(artifact_type), true) = (&document.artifact_type, document.subject.is_some()) {
        entry["artifactType"] = artifact_type.as_str().into();
    }
    match tag {
        None if entries.iter().any(|entry| is(entry, digest)) => {}
        None => entries.push(entry),
        Some(tag) => {
            let mut kept =
                entries.iter().any(|entry| is(entry, digest) && name(entry).as_deref() == Some(tag.as_str()));
            for other in entries.iter_mut() {
                if name(other).as_deref() == Some(tag.as_str()) && !is(other, digest) {
                    // The bytes that lose the tag stay listed, so that nobody collects them as garbage.
                    if let Some(annotations) = other["annotations"].as_object_mut() {
                        annotations.remove(REF_NAME);
                    }
                } else if !kept && is(other, digest) && name(other).is_none() {
                    if !other["annotations"].is_object() {
                        other["annotations"] = json!({});
                    }
                    other["annotations"][REF_NAME] = tag.as_str().into();
                    kept = true;
                }
            }
            if !kept {
                entry["annotations"] = json!({ REF_NAME: tag.as_str() });
                entries.push(entry);
            }
        }
    }
    // The children of an index are reached through it. A referrer stays listed: only so is it found for its subject.
    let children: BTreeSet<String> =
        document.children().iter().map(|child| child.digest.to_string()).collect();
    entries.retain(|entry| {
        let refers = name(entry).is_some() || entry.get("artifactType").is_some();
        refers || entry["digest"].as_str().is_none_or(|digest| !children.contains(digest))
    });
}

/// `index.json`, read.
struct Index {
    entries: Vec<Descriptor>,
}

impl Index {
    fn tagged(&self, disk: &Disk, tag: &Tag) -> Result<Option<&Descriptor>, RegistryError> {
        let named =
            |entry: &&Descriptor| entry.annotations.get(REF_NAME).is_some_and(|name| name == tag.as_str());
        let mut entries = self.entries.iter().filter(named);
        let first = entries.next();
        if let (Some(first), Some(second)) =
            (first, entries.find(|entry| Some(entry.digest) != first.map(|e| e.digest)))
        {
            let problem =
                LayoutProblem::TwoForOneTag { tag: tag.clone(), first: first.digest, second: second.digest };
            return Err(disk.malformed(disk::INDEX, problem));
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests;
