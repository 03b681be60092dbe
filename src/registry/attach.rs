//! Attaching bytes to manifests as referrers, several at once.
//!
//! Guarantees: contents are there before what lists them, and a referrer before a fallback tag lists it; each fallback
//! tag is written once, whatever number of referrers it gets; what was attached is listed. Never does: look for the subject;
//! who attaches has read it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::try_join;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::backend::Backend;
use super::error::Refusal;
use super::wire::{Fetched, Listing, Which};
use super::{CONCURRENCY, Registries, RegistryError, push, put, upload, write};
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
        attach(&backend, &[attachment]).await?.none()?;
        Ok(digest)
    }

    /// Attaches to manifests of a repository, which have to be there. What it refuses to take goes into the store, where
    /// there is one.
    ///
    /// # Errors
    /// [`RegistryError::SubjectRefused`]; else trouble. What was written stays; doing it again writes the same.
    pub async fn attach_all(
        &self,
        (repository, store): (&Repository, Option<&Repository>),
        attachments: &[Attachment],
    ) -> Result<(), RegistryError> {
        let refused = attach(&self.backend(repository)?, attachments).await?;
        match store.filter(|_| !refused.attachments.is_empty()) {
            None => refused.none(),
            Some(store) => attach(&self.backend(store)?, &refused.attachments).await?.none(),
        }
    }

    /// Whether a registry takes what refers to a manifest that it has: found out with something that may lie there. No
    /// fallback tag lists it.
    ///
    /// # Errors
    /// [`RegistryError::SubjectRefused`] where it does not; else trouble.
    pub async fn takes(&self, repository: &Repository, attachment: &Attachment) -> Result<(), RegistryError> {
        let backend = self.backend(repository)?;
        // Nobody refuses anything in a layout.
        if backend.is_layout() {
            return Ok(());
        }
        written(&backend, std::slice::from_ref(attachment), Listed::No).await?.none()
    }
}

/// What a registry refused to take, and in which words.
#[derive(Default)]
struct Refused {
    attachments: Vec<Attachment>,
    why: Option<Refusal>,
}

impl Refused {
    /// Nothing, or an error.
    fn none(self) -> Result<(), RegistryError> {
        let digests = || self.attachments.iter().map(Attachment::digest).collect();
        self.why.map_or(Ok(()), |why| Err(why.of_these(digests())))
    }
}

/// Whether fallback tags list what the registry does not list by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listed {
    Yes,
    No,
}

/// Attaches what the registry takes; returns what it refuses.
async fn written(
    backend: &Backend,
    attachments: &[Attachment],
    listed: Listed,
) -> Result<Refused, RegistryError> {
    // 1. Contents, each once. The empty configuration is there wherever anybody attached anything.
    let contents = attachments.iter().map(|attachment| attachment.bytes.clone());
    let contents: BTreeSet<Bytes> = contents.filter(|bytes| bytes != EMPTY).collect();
    let uploads = contents.into_iter().map(|bytes| upload(backend, bytes));
    let uploads = stream::iter(uploads).buffer_unordered(CONCURRENCY).try_for_each(|_| async { Ok(()) });
    try_join(uploads, push(backend, Bytes::from_static(EMPTY))).await?;
    // 2. Referrers, and the fallback tag of one subject while those of others are written.
    let mut subjects: BTreeMap<Digest, Vec<Attachment>> = BTreeMap::new();
    for attachment in attachments {
        subjects.entry(attachment.subject.digest).or_default().push(attachment.clone());
    }
    let writes = subjects.into_iter().map(|of_one| one_by_one(backend, of_one, listed));
    let answers: Vec<_> = stream::iter(writes).buffered(CONCURRENCY).try_collect().await?;
    let mut refused = Refused::default();
    for (attachment, why) in answers.into_iter().flatten() {
        refused.attachments.push(attachment);
        refused.why.get_or_insert(why);
    }
    Ok(refused)
}

/// [`written`], and listed.
async fn attach(backend: &Backend, attachments: &[Attachment]) -> Result<Refused, RegistryError> {
    if attachments.is_empty() {
        return Ok(Refused::default());
    }
    written(backend, attachments, Listed::Yes).await
}

/// What the registry took and does not list by itself, or that it refuses it.
pub(super) type Answer = Result<Option<(Digest, Descriptor)>, Refusal>;

/// Attaches to one subject: one after another, since some registries forget one of two that come at once. Returns what is
/// refused.
async fn one_by_one(
    backend: &Backend,
    (subject, attachments): (Digest, Vec<Attachment>),
    listed: Listed,
) -> Result<Vec<(Attachment, Refusal)>, RegistryError> {
    let (mut noticed, mut unlisted, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for attachment in attachments {
        let bytes = attachment.manifest();
        let digest = Digest::of(&bytes);
        match write(backend, Which::Digest(digest), OCI_MANIFEST, bytes.clone()).await {
            // Whether the registry lists it by itself is said in its answer.
            Ok(None) => noticed.push(Fetched { digest, media_type: OCI_MANIFEST.to_owned(), bytes }),
            Ok(Some(one)) => unlisted.push(one),
            Err(error) => refused.push((attachment, Refusal::of(error)?)),
        }
    }
    if listed == Listed::Yes {
        list(backend, unlisted.into_iter()).await?;
        // Others write at the same time.
        if !noticed.is_empty() && !backend.is_layout() {
            are_listed(backend, subject, &noticed.iter().collect::<Vec<_>>(), false).await?;
        }
    }
    Ok(refused)
}

/// Looks whether the referrers of a subject are listed for it; where they were read back under its fallback tag, whether
/// readers are told of others instead. Some registries forget one of two that were written at once: what is not listed is
/// written again, by itself.
pub(super) async fn are_listed(
    backend: &Backend,
    subject: Digest,
    referrers: &[&Fetched],
    tagged: bool,
) -> Result<(), RegistryError> {
    for asked in 1.. {
        let listed = if asked == 1 && tagged {
            match backend.listed_by_api(subject).await? {
                Some(listed) => listed,
                // Readers ask for the fallback tag, and that was read back.
                None => break,
            }
        } else {
            match backend.referrers(subject).await? {
                Listing::Listed(listed) => listed,
                Listing::Unsupported => Vec::new(),
            }
        };
        let is_listed = |referrer: &Fetched| listed.iter().any(|one| one.digest == referrer.digest);
        let missing: Vec<&Fetched> = referrers.iter().copied().filter(|it| !is_listed(it)).collect();
        let Some(first) = missing.first() else { break };
        // At once the first time: to write it again is all that some need. Then others show it a little later.
        if asked > 1 && !backend.is_patient(asked - 1, subject).await {
            let subject = Image::new(backend.repository.clone(), subject).to_string();
            return Err(RegistryError::NotListed { subject, referrer: first.digest });
        }
        for Fetched { digest, media_type, bytes } in missing {
            put(backend, Which::Digest(*digest), media_type, bytes.clone()).await?;
        }
    }
    Ok(())
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
