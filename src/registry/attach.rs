//! Attaching bytes to manifests as referrers, several at once.
//!
//! Guarantees: contents are there before what lists them, and a referrer before a fallback tag lists it; each fallback
//! tag is written once, whatever number of referrers it gets. Never does: look for the subject; who attaches has read it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::try_join;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::backend::Backend;
use super::wire::{Fetched, Which};
use super::{CONCURRENCY, Registries, RegistryError, push, upload, write};
use crate::closure::{Descriptor, Manifest, OCI_EMPTY, OCI_MANIFEST};
use crate::digest::Digest;
use crate::reference::{Image, Repository};

const EMPTY: &[u8] = b"{}";

/// A manifest that is referred to: it lies where the referrer goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    digest: Digest,
    media_type: String,
    size: usize,
}

impl From<&Manifest> for Subject {
    fn from(manifest: &Manifest) -> Self {
        let (digest, media_type, size) = (manifest.digest, manifest.media_type.clone(), manifest.bytes.len());
        Self { digest, media_type, size }
    }
}

impl From<Fetched> for Subject {
    fn from(fetched: Fetched) -> Self {
        Self { digest: fetched.digest, media_type: fetched.media_type, size: fetched.bytes.len() }
    }
}

/// A referrer to be written (image-spec v1.1, manifest.md, "Guidelines for Artifact Usage"): one layer, an empty
/// configuration, and `subject`. The same members give the same referrer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What it refers to.
    pub subject: Subject,
    /// What it is.
    pub artifact_type: String,
    /// What its layer is.
    pub layer_media_type: String,
    /// The layer.
    pub bytes: Bytes,
    /// Said of the referrer.
    pub annotations: BTreeMap<String, String>,
}

impl Attachment {
    /// The digest of the referrer that is written.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest())
    }

    fn manifest(&self) -> Bytes {
        let (digest, size) = (Digest::of(&self.bytes), self.bytes.len());
        let Subject { digest: subject, media_type, size: subject_size } = &self.subject;
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": self.artifact_type,
            "config": { "mediaType": OCI_EMPTY, "digest": Digest::of(EMPTY), "size": EMPTY.len(), "data": "e30=" },
            "layers": [{ "mediaType": self.layer_media_type, "digest": digest, "size": size }],
            "subject": { "mediaType": media_type, "digest": subject, "size": subject_size },
        });
        if !self.annotations.is_empty() {
            manifest["annotations"] = json!(self.annotations);
        }
        Bytes::from(manifest.to_string())
    }
}

impl Registries {
    /// Attaches bytes to an image that is looked up first. Returns the digest of the referrer.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchImage`] when the image is not there; trouble.
    pub async fn attach(
        &self,
        subject: &Image,
        artifact_type: &str,
        layer_media_type: &str,
        bytes: &[u8],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Digest, RegistryError> {
        let backend = self.backend(&subject.repository)?;
        let fetched = backend.manifest(Which::Digest(subject.digest)).await?;
        let fetched = fetched.ok_or_else(|| RegistryError::NoSuchImage { wanted: subject.to_string() })?;
        let attachment = Attachment {
            subject: fetched.into(),
            artifact_type: artifact_type.to_owned(),
            layer_media_type: layer_media_type.to_owned(),
            bytes: Bytes::copy_from_slice(bytes),
            annotations: annotations.clone(),
        };
        let digest = attachment.digest();
        attach(&backend, &[attachment]).await?;
        Ok(digest)
    }

    /// Attaches to manifests of a repository, which have to be there.
    ///
    /// # Errors
    /// Trouble only. What was written stays; doing it again writes the same.
    pub async fn attach_all(
        &self,
        repository: &Repository,
        attachments: &[Attachment],
    ) -> Result<(), RegistryError> {
        attach(&self.backend(repository)?, attachments).await
    }
}

async fn attach(backend: &Backend, attachments: &[Attachment]) -> Result<(), RegistryError> {
    if attachments.is_empty() {
        return Ok(());
    }
    // 1. Contents, each once. The empty configuration is there wherever anybody attached anything.
    let contents: BTreeSet<Bytes> = attachments.iter().map(|attachment| attachment.bytes.clone()).collect();
    let uploads = contents.into_iter().map(|bytes| upload(backend, bytes));
    let uploads = stream::iter(uploads).buffer_unordered(CONCURRENCY).try_for_each(|_| async { Ok(()) });
    try_join(uploads, push(backend, Bytes::from_static(EMPTY))).await?;
    // 2. Referrers. Which of them the registry lists by itself is said in its answers. One after another for each
    // subject: some registries forget one of two that come at once.
    let mut subjects: BTreeMap<Digest, Vec<Bytes>> = BTreeMap::new();
    for attachment in attachments {
        subjects.entry(attachment.subject.digest).or_default().push(attachment.manifest());
    }
    let writes = subjects.into_values().map(|referrers| one_by_one(backend, referrers));
    let unlisted: Vec<_> = stream::iter(writes).buffered(CONCURRENCY).try_collect().await?;
    // 3. Fallback tags.
    list(backend, unlisted.into_iter().flatten()).await
}

async fn one_by_one(
    backend: &Backend,
    manifests: Vec<Bytes>,
) -> Result<Vec<(Digest, Descriptor)>, RegistryError> {
    let mut unlisted = Vec::new();
    for bytes in manifests {
        unlisted.extend(write(backend, Which::Digest(Digest::of(&bytes)), OCI_MANIFEST, bytes).await?);
    }
    Ok(unlisted)
}

/// Lists referrers under the fallback tags of their subjects: each tag once.
pub(super) async fn list(
    backend: &Backend,
    unlisted: impl Iterator<Item = (Digest, Descriptor)>,
) -> Result<(), RegistryError> {
    let mut subjects: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
    unlisted.for_each(|(subject, referrer)| subjects.entry(subject).or_default().push(referrer));
    let lists = subjects
        .into_iter()
        .map(|(subject, referrers)| async move { backend.attach_fallback(subject, &referrers).await });
    stream::iter(lists).buffer_unordered(CONCURRENCY).try_collect().await
}
