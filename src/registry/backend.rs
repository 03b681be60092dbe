//! One repository, wherever it is: the same primitives over a registry and over a layout.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use super::error::RegistryError;
use super::http::Remote;
use super::layout::Layout;
use super::trail::{Pass, Trail};
use super::wire::{Chunks, Fetched, Listing, Mounted, PutManifest, Session, Supply, Which};
use crate::closure::Descriptor;
use crate::digest::Digest;
use crate::reference::{Repository, Tag};

/// A repository that can be talked to.
#[derive(Clone)]
pub(super) struct Backend {
    pub(super) repository: Repository,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Remote { remote: Arc<Remote>, path: String },
    Layout(Layout),
}

impl Backend {
    pub(super) fn remote(repository: &Repository, remote: Arc<Remote>, path: &str) -> Self {
        Self { repository: repository.clone(), kind: Kind::Remote { remote, path: path.to_owned() } }
    }

    pub(super) fn layout(repository: &Repository, layout: Layout) -> Self {
        Self { repository: repository.clone(), kind: Kind::Layout(layout) }
    }

    pub(super) fn is_layout(&self) -> bool {
        matches!(self.kind, Kind::Layout(_))
    }

    /// Whether the repository may be asked at all: a layout that was never written has nothing in it.
    pub(super) async fn exists(&self) -> Result<bool, RegistryError> {
        match &self.kind {
            Kind::Remote { .. } => Ok(true),
            Kind::Layout(layout) => layout.exists().await,
        }
    }

    pub(super) async fn manifest(&self, which: Which<'_>) -> Result<Option<Fetched>, RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.manifest(path, which).await,
            Kind::Layout(layout) => layout.manifest(which).await,
        }
    }

    /// A blob as a stream that is checked on the way.
    async fn read(&self, digest: Digest, reading: Pass) -> Result<Chunks, RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.blob(path, digest, reading).await,
            Kind::Layout(layout) => layout.blob(digest, reading).await,
        }
    }

    /// A blob that is to be sent. What is read a second time is checked a second time.
    pub(super) fn supply(&self, digest: Digest) -> Supply {
        let (source, trail) = (self.clone(), Trail::new(digest));
        Box::new(move |from| {
            let (source, reading) = (source.clone(), trail.read_from(from));
            let known = from.saturating_sub(reading.at());
            async move { Ok(behind(source.read(digest, reading).await?, known)) }.boxed()
        })
    }

    pub(super) async fn small_blob(
        &self,
        digest: Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.small_blob(path, digest, limit).await,
            Kind::Layout(layout) => layout.small_blob(digest, limit).await,
        }
    }

    /// Whether a blob is there. In a layout it must also have the length that its descriptor says: another tool
    /// may have left half of it.
    pub(super) async fn has_blob(&self, blob: &Descriptor) -> Result<bool, RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.has_blob(path, blob.digest).await,
            Kind::Layout(layout) => Ok(layout.blob_size(blob.digest).await? == Some(blob.size)),
        }
    }

    /// Whether a blob is there that nobody has to send. A registry has hashed what it took; in a layout anybody may have
    /// changed what lies there, so it is hashed here.
    pub(super) async fn holds_blob(&self, blob: &Descriptor) -> Result<bool, RegistryError> {
        if !self.has_blob(blob).await? {
            return Ok(false);
        }
        match &self.kind {
            Kind::Remote { .. } => Ok(true),
            Kind::Layout(layout) => layout.is_intact(blob.digest).await,
        }
    }

    /// Whether to ask again for what should be there by now and was not, `asked` times; after a wait: some registries show a
    /// little later what they took.
    pub(super) async fn is_patient(&self, asked: u32, about: Digest) -> bool {
        let Kind::Remote { remote, .. } = &self.kind else { return false };
        match remote.patience(asked, about) {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                true
            }
            None => false,
        }
    }

    /// Lets the registry of both copy a blob by itself.
    pub(super) async fn mount_blob(&self, from: &Self, digest: Digest) -> Result<Mounted, RegistryError> {
        match (&self.kind, &from.kind) {
            (Kind::Remote { remote, path }, Kind::Remote { path: from_path, .. })
                if self.repository.shares_registry_with(&from.repository) =>
            {
                remote.mount_blob(path, from_path, digest).await
            }
            (Kind::Remote { .. } | Kind::Layout(_), Kind::Remote { .. } | Kind::Layout(_)) => {
                Ok(Mounted::No(None))
            }
        }
    }

    pub(super) async fn put_blob(
        &self,
        digest: Digest,
        size: u64,
        supply: Supply,
        session: Option<Session>,
    ) -> Result<(), RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.put_blob(path, digest, size, supply, session).await,
            Kind::Layout(layout) => layout.put_blob(digest, size, supply(0).await?).await,
        }
    }

    pub(super) async fn has_manifest(&self, digest: Digest) -> Result<bool, RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.has_manifest(path, digest).await,
            Kind::Layout(layout) => layout.has_manifest(digest).await,
        }
    }

    pub(super) async fn put_manifest(
        &self,
        which: Which<'_>,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<PutManifest, RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.put_manifest(path, which, media_type, bytes).await,
            Kind::Layout(layout) => layout.put_manifest(which, media_type, bytes).await,
        }
    }

    pub(super) async fn referrers(&self, digest: Digest) -> Result<Listing, RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.referrers(path, digest).await,
            Kind::Layout(layout) => layout.referrers(digest).await,
        }
    }

    /// [`Remote::listed_by_api`].
    pub(super) async fn listed_by_api(
        &self,
        digest: Digest,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.listed_by_api(path, digest).await,
            Kind::Layout(layout) => Ok(match layout.referrers(digest).await? {
                Listing::Listed(listed) => Some(listed),
                Listing::Unsupported => None,
            }),
        }
    }

    /// [`Remote::likely`].
    pub(super) async fn likely(&self, digest: Digest) -> Option<Vec<Descriptor>> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.likely(path, digest).await,
            Kind::Layout(_) => None,
        }
    }

    /// Whether what refers to a digest is listed here by itself; `None` before anybody asked.
    pub(super) fn has_referrers_api(&self) -> Option<bool> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.has_referrers_api(path),
            Kind::Layout(_) => Some(true),
        }
    }

    /// All tags, read in at most `pages` requests; none where that cannot be told. In a layout every question is free.
    pub(super) async fn tags(&self, pages: usize) -> Option<BTreeSet<Tag>> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.tags(path, pages).await,
            Kind::Layout(_) => None,
        }
    }

    pub(super) async fn attach_fallback(
        &self,
        subject: Digest,
        referrers: &[Descriptor],
    ) -> Result<(), RegistryError> {
        match &self.kind {
            Kind::Remote { remote, path } => remote.attach_fallback(path, subject, referrers).await,
            // `index.json` lists it already.
            Kind::Layout(_) => Ok(()),
        }
    }
}

/// All but the first `skip` bytes.
fn behind(chunks: Chunks, skip: u64) -> Chunks {
    if skip == 0 {
        return chunks;
    }
    let rest = stream::unfold((chunks, skip), |(mut chunks, skip)| async move {
        let chunk = chunks.next().await?;
        let chunk = chunk.map(|mut chunk| {
            let known = skip.min(chunk.len() as u64);
            // At most the length of the chunk.
            (chunk.split_off(known as usize), skip - known)
        });
        Some(match chunk {
            Ok((chunk, skip)) => (Ok(chunk), (chunks, skip)),
            Err(error) => (Err(error), (chunks, skip)),
        })
    });
    rest.boxed()
}
