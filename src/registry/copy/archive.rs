//! A copy into an archive: an OCI layout in one tar file, written in one go.
//!
//! Guarantees: the files come in the order of their names, without times, so that the same images and referrers are the same
//! bytes; each blob is hashed while it passes, and never held whole; the archive is read back before it is put in its
//! place. Never does: add to one that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::plan::{Plan, Referrer};
use super::read_back::Written;
use super::{Along, Brought, CopyError, CopyReport, Copying, Side};
use crate::archive;
use crate::closure::{Descriptor, Document};
use crate::digest::Digest;
use crate::reference::Tag;
use crate::registry::layout::{self, INDEX, MARKER};
use crate::registry::wire::Chunks;
use crate::registry::{CONCURRENCY, RegistryError};

/// Bytes that are in memory at once, on their way to the disk.
const BUFFER: usize = 1 << 20;

/// A file below `blobs/sha256`.
enum Content {
    /// A manifest.
    Bytes(Bytes),
    /// A blob at the source of one of the images.
    Blob(Descriptor, usize),
}

/// What goes into the archive.
#[derive(Default)]
struct Gathered {
    blobs: BTreeMap<Digest, Content>,
    written: Vec<Vec<Written>>,
    plans: Vec<Plan>,
    index: Value,
}

/// Writes images and what refers to them into `file`, which lies at `path`; `tag` is that of the only one.
pub(in crate::registry) async fn write(
    images: &[Arc<Copying>],
    tag: Option<&Tag>,
    path: &Path,
    file: &File,
) -> Result<Vec<CopyReport>, CopyError> {
    let gathered = gather(images, tag).await?;
    let Some(any) = images.first() else { return Ok(Vec::new()) };
    let at = any.at(Side::Destination);
    let mut tar = Tar::new(path, file).map_err(&at)?;
    // 1. The files, by their names.
    for content in gathered.blobs.values() {
        if let Content::Blob(blob, image) = content {
            images[*image].source.progress().expect([blob]);
        }
    }
    for (digest, content) in &gathered.blobs {
        let name = layout::blob_name(*digest);
        match content {
            Content::Bytes(bytes) => tar.put(&name, bytes).await.map_err(&at)?,
            Content::Blob(blob, image) => {
                let image = &images[*image];
                let chunks = image.source.supply(blob.digest)(0).await.map_err(image.at(Side::Source))?;
                let sending = image.source.progress().begin();
                let chunks = chunks.inspect_ok(move |chunk| sending.pass(chunk.len())).boxed();
                tar.stream(&name, blob, chunks, image).await?;
                image.copied.fetch_add(1, Ordering::Relaxed);
                image.bytes.fetch_add(blob.size, Ordering::Relaxed);
            }
        }
    }
    tar.put(INDEX, gathered.index.to_string().as_bytes()).await.map_err(&at)?;
    tar.put(MARKER, layout::marker().to_string().as_bytes()).await.map_err(&at)?;
    tar.end().await.map_err(&at)?;
    // 2. Read back.
    let mut reports = Vec::new();
    for ((image, written), plan) in images.iter().zip(gathered.written).zip(gathered.plans) {
        image.read_image_back(image.closure.manifests().cloned().collect()).await?;
        image.read_referrers_back(&written).await?;
        reports.push(image.report(plan, 0, Brought { written, ..Brought::default() }));
    }
    Ok(reports)
}

/// Everything there is to write but the blobs themselves.
async fn gather(images: &[Arc<Copying>], tag: Option<&Tag>) -> Result<Gathered, CopyError> {
    let mut all = Gathered { index: layout::empty_index(), ..Gathered::default() };
    let mut referrers: Vec<Referrer> = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let mut plan = match image.along {
            Along::Referrers => image.plan().await?,
            Along::Nothing => Plan::default(),
        };
        let found = std::mem::take(&mut plan.referrers);
        let mut blobs: Vec<Descriptor> = image.closure.blobs().into_iter().cloned().collect();
        blobs.extend(found.iter().flat_map(|referrer| referrer.document.blobs()));
        for blob in image.kept(blobs).await? {
            all.blobs.entry(blob.digest).or_insert(Content::Blob(blob, number));
        }
        all.written.push(found.iter().map(Written::of).collect());
        all.plans.push(plan);
        referrers.extend(found);
        // Its manifests are reached through the root.
        let root = image.closure.manifest(image.closure.root()).cloned();
        for manifest in image.closure.manifests() {
            all.blobs.insert(manifest.digest, Content::Bytes(manifest.bytes.clone()));
        }
        if let Some(root) = root {
            let document = Document::read(&root.bytes, Some(&root.media_type), None)
                .map_err(|source| image.wrong(source))?;
            layout::list(&mut all.index, tag, &document, root.digest, root.bytes.len() as u64);
        }
    }
    // A registry may list them in any order.
    referrers.sort_by(|one, other| (one.fetched.digest, &one.tag).cmp(&(other.fetched.digest, &other.tag)));
    for Referrer { fetched, document, tag } in referrers {
        layout::list(&mut all.index, tag.as_ref(), &document, fetched.digest, fetched.bytes.len() as u64);
        all.blobs.insert(fetched.digest, Content::Bytes(fetched.bytes));
    }
    Ok(all)
}

impl Copying {
    /// Each blob once, without foreign layers that the source does not keep.
    async fn kept(&self, blobs: Vec<Descriptor>) -> Result<Vec<Descriptor>, CopyError> {
        let mut seen = BTreeSet::new();
        let blobs = blobs.into_iter().filter(|blob| seen.insert(blob.digest));
        let kept = blobs.map(|blob| async {
            if blob.is_foreign()
                && !self.source.backend().has_blob(&blob).await.map_err(self.at(Side::Source))?
            {
                self.foreign.fetch_add(1, Ordering::Relaxed);
                return Ok(None);
            }
            Ok(Some(blob))
        });
        let kept: Vec<Option<Descriptor>> = stream::iter(kept).buffered(CONCURRENCY).try_collect().await?;
        Ok(kept.into_iter().flatten().collect())
    }
}

/// The file in the making.
struct Tar {
    path: PathBuf,
    file: BufWriter<tokio::fs::File>,
}

impl Tar {
    fn new(path: &Path, file: &File) -> Result<Self, RegistryError> {
        let file = file.try_clone();
        let file = file.map_err(|source| RegistryError::LayoutFile { file: path.to_owned(), source })?;
        let file = BufWriter::with_capacity(BUFFER, tokio::fs::File::from_std(file));
        Ok(Self { path: path.to_owned(), file })
    }

    async fn raw(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        let failed = |source| RegistryError::LayoutFile { file: self.path.clone(), source };
        self.file.write_all(bytes).await.map_err(failed)
    }

    async fn begin(&mut self, name: &str, length: u64) -> Result<(), RegistryError> {
        let header = archive::header(name, length);
        let header =
            header.map_err(|source| RegistryError::LayoutFile { file: self.path.clone(), source })?;
        self.raw(header.as_bytes()).await
    }

    async fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        let length = bytes.len() as u64;
        self.begin(name, length).await?;
        self.raw(bytes).await?;
        self.raw(archive::padding(length)).await
    }

    /// Exactly as many bytes as the descriptor says; the source checks what they are.
    async fn stream(
        &mut self,
        name: &str,
        blob: &Descriptor,
        mut chunks: Chunks,
        image: &Copying,
    ) -> Result<(), CopyError> {
        let (source, destination) = (image.at(Side::Source), image.at(Side::Destination));
        self.begin(name, blob.size).await.map_err(&destination)?;
        let mut found: u64 = 0;
        while let Some(chunk) = chunks.next().await.transpose().map_err(&source)? {
            found = found.saturating_add(chunk.len() as u64);
            if found > blob.size {
                break;
            }
            self.raw(&chunk).await.map_err(&destination)?;
        }
        if found != blob.size {
            return Err(source(RegistryError::Size { digest: blob.digest, wanted: blob.size, found }));
        }
        self.raw(archive::padding(blob.size)).await.map_err(&destination)
    }

    async fn end(mut self) -> Result<(), RegistryError> {
        self.raw(&archive::END).await?;
        self.file.flush().await.map_err(|source| RegistryError::LayoutFile { file: self.path, source })
    }
}
