//! Images where they lie: registries (OCI distribution-spec v1.1) and OCI layouts on disk, behind one API.
//!
//! Guarantees: every byte that comes out has the digest it was asked for, recomputed here; absent, unsupported,
//! unreachable and malformed are four different answers; a copy writes blobs before the manifests that list them
//! and the image before what refers to it, is safe to repeat, and sets no tag of its own. Only
//! [`Registries::set_tag`] and a push by tag move a tag.
//! Never does: policy, verification of signatures, deleting.
//!
//! Start at [`Registries::resolve`]; then everything is by digest.

mod attach;
mod backend;
mod buffers;
mod copy;
mod progress;
mod reading;
mod trail;
mod transfer;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod layout;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::try_join;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use self::backend::Backend;
use self::http::Remote;
use self::layout::Layout;
use self::wire::{Chunks, Fetched, Listing, Supply, Which};
use crate::closure::{Builder, Closure, ClosureError, Descriptor, Document, Limits, Wanted, What};
use crate::digest::Digest;
use crate::reference::{Image, Location, Reference, Repository, Tag};

pub use attach::{Attachment, Subject};
pub use copy::{Along, Already, CopyError, CopyReport, Side, Stored};
pub use error::RegistryError;
pub use http::{HttpConfig, Proxies, Rate, Retry};
pub use layout::problem::LayoutProblem;
pub use progress::{Moved, Progress};
pub use reading::Reading;
pub use transfer::{Arrived, Transfer, TransferError, Transferred};

/// How many requests are in flight at once.
const CONCURRENCY: usize = 8;

/// All registries and layouts; one pool of connections, cheap to clone.
#[derive(Clone)]
pub struct Registries {
    http: Arc<HttpConfig>,
    base: Arc<PathBuf>,
    remotes: Arc<Mutex<BTreeMap<String, Arc<Remote>>>>,
    progress: Arc<Progress>,
}

/// What a reference means at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The bytes: hashed here.
    pub image: Image,
    /// The tag that was looked up, if any.
    pub tag: Option<Tag>,
    /// What the person said that the tag means; comparing is the caller's, and a difference is a "no".
    pub expected: Option<Digest>,
}

/// A manifest or index, exactly as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// What the registry calls it: a claim, which [`Document::read`] checks.
    pub media_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl From<Fetched> for Found {
    fn from(fetched: Fetched) -> Self {
        let Fetched { digest, media_type, bytes } = fetched;
        Self { digest, media_type, bytes }
    }
}

/// What refers to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Referrers {
    /// The registry cannot say: neither a referrers API nor a fallback tag. Not the same as none.
    Unsupported,
    /// All of them, possibly none, of every artifact type.
    Listed(Vec<Descriptor>),
}

/// What cosign before version 3 attached under a tag made from the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suffix {
    /// `sha256-<hex>.sig`: signatures.
    Sig,
    /// `sha256-<hex>.att`: attestations.
    Att,
    /// `sha256-<hex>.sbom`: a bill of materials.
    Sbom,
}

impl Suffix {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sig, Self::Att, Self::Sbom];
    /// Those that hold what is signed.
    pub const EVIDENCE: [Self; 2] = [Self::Sig, Self::Att];

    /// The tag for an image.
    ///
    /// # Errors
    /// None in practice: the text is always within the grammar of tags.
    pub fn tag(self, digest: Digest) -> Result<Tag, crate::reference::ReferenceError> {
        let suffix = match self {
            Self::Sig => "sig",
            Self::Att => "att",
            Self::Sbom => "sbom",
        };
        format!("sha256-{}.{suffix}", digest.hex()).parse()
    }
}

impl Registries {
    /// Registries with these HTTP settings; relative layout folders start at `base`, the policy file's folder.
    pub fn new(http: HttpConfig, base: PathBuf) -> Self {
        let (remotes, progress) = (Arc::default(), Arc::default());
        Self { http: Arc::new(http), base: Arc::new(base), remotes, progress }
    }

    /// How far the copies are that are made with this, or a clone of it.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn backend(&self, repository: &Repository) -> Result<Backend, RegistryError> {
        match repository.location() {
            Location::Layout { folder } => {
                Ok(Backend::layout(repository, Layout::new(self.base.join(folder))))
            }
            Location::Registry { host, path } => {
                let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
                let remote = match remotes.get(host) {
                    Some(remote) => Arc::clone(remote),
                    None => {
                        let remote = Arc::new(Remote::new(host, &self.http)?);
                        remotes.insert(host.to_owned(), Arc::clone(&remote));
                        remote
                    }
                };
                Ok(Backend::remote(repository, remote, path))
            }
        }
    }

    /// Looks up what a reference means: the only time a tag is read for its meaning.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchImage`] when it is not there; anything else is trouble.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, RegistryError> {
        Ok(look_up(&self.backend(reference.repository())?, reference).await?.0)
    }

    /// [`Registries::resolve`] and [`Registries::closure`]; what the tag gave is not read again.
    ///
    /// # Errors
    /// Those of both.
    pub async fn resolve_closure(&self, reference: &Reference) -> Result<(Resolved, Closure), RegistryError> {
        let backend = self.backend(reference.repository())?;
        let (resolved, root) = look_up(&backend, reference).await?;
        let closure = closure(&backend, &resolved.image, Some(root)).await?;
        Ok((resolved, closure))
    }

    /// [`Registries::resolve_closure`] for whoever asks next what refers to the image: the listing comes at the same time.
    ///
    /// # Errors
    /// Those of [`Registries::resolve_closure`]; trouble with the listing is told to whoever asks `reading` for it.
    pub async fn resolve_closure_ahead(
        &self,
        reference: &Reference,
        reading: &Reading,
    ) -> Result<(Resolved, Closure), RegistryError> {
        let backend = reading.backend();
        let (resolved, root) = look_up(backend, reference).await?;
        let ahead = async {
            reading.listing_ahead(resolved.image.digest).await;
            Ok(())
        };
        let (closure, ()) = try_join(closure(backend, &resolved.image, Some(root)), ahead).await?;
        Ok((resolved, closure))
    }

    /// Reads an image: its index and every manifest, strictly.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchImage`], [`RegistryError::Image`] when it is malformed, incomplete or too large.
    pub async fn closure(&self, image: &Image) -> Result<Closure, RegistryError> {
        closure(&self.backend(&image.repository)?, image, None).await
    }

    /// The closure of an image, if all of it is there, blobs too; none where anything is missing.
    ///
    /// # Errors
    /// [`RegistryError::Image`] when it is malformed or too large; trouble.
    pub async fn closure_if_whole(&self, image: &Image) -> Result<Option<Closure>, RegistryError> {
        if !self.backend(&image.repository)?.exists().await? {
            return Ok(None);
        }
        let closure = match self.closure(image).await {
            Ok(closure) => closure,
            Err(RegistryError::NoSuchImage { .. }) => return Ok(None),
            Err(RegistryError::Image { source, .. })
                if matches!(*source, ClosureError::Incomplete { .. }) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let missing = self.has_closure(&image.repository, &closure).await?;
        Ok(missing.is_empty().then_some(closure))
    }

    /// What refers to an image (distribution-spec v1.1, "Listing Referrers").
    ///
    /// # Errors
    /// Trouble only; "none" and "cannot say" are answers.
    pub async fn referrers(&self, image: &Image) -> Result<Referrers, RegistryError> {
        Ok(match self.backend(&image.repository)?.referrers(image.digest).await? {
            Listing::Unsupported => Referrers::Unsupported,
            Listing::Listed(descriptors) => Referrers::Listed(descriptors),
        })
    }

    /// [`Registries::referrers`] by somebody who looks for something: once it is listed, where is not asked any further.
    ///
    /// # Errors
    /// Trouble only.
    pub async fn referrers_with(
        &self,
        image: &Image,
        wanted: impl Fn(&[Descriptor]) -> bool,
    ) -> Result<Referrers, RegistryError> {
        match self.backend(&image.repository)?.likely(image.digest).await {
            Some(listed) if wanted(&listed) => Ok(Referrers::Listed(listed)),
            Some(_) | None => self.referrers(image).await,
        }
    }

    /// The manifest or index of an image, if it is there.
    ///
    /// # Errors
    /// Trouble only.
    pub async fn manifest(&self, image: &Image) -> Result<Option<Found>, RegistryError> {
        let fetched = self.backend(&image.repository)?.manifest(Which::Digest(image.digest)).await?;
        Ok(fetched.map(Found::from))
    }

    /// A blob of at most `limit` bytes, if it is there.
    ///
    /// # Errors
    /// Trouble, wrong bytes, more bytes than `limit`.
    pub async fn blob_bytes(
        &self,
        repository: &Repository,
        digest: Digest,
        limit: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.backend(repository)?.small_blob(digest, limit).await
    }

    /// What a tag means, if it means anything; a layout that was never written has no tags.
    ///
    /// # Errors
    /// Trouble only.
    pub async fn tagged(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let backend = self.backend(repository)?;
        if !backend.exists().await? {
            return Ok(None);
        }
        Ok(backend.manifest(Which::Tag(tag)).await?.map(|fetched| fetched.digest))
    }

    /// What older tools attached to an image under `sha256-<hex>.sig`, `.att` or `.sbom`: the tag and what it means,
    /// if it means anything.
    ///
    /// # Errors
    /// Trouble only.
    pub async fn legacy(&self, image: &Image, suffix: Suffix) -> Result<Option<(Tag, Found)>, RegistryError> {
        let backend = self.backend(&image.repository)?;
        let found = legacy(&backend, image.digest, [suffix]).await?;
        Ok(found.into_iter().next().map(|(tag, fetched)| (tag, fetched.into())))
    }

    /// What of an image a repository does not have: manifests and blobs, each asked for (attack A12). Foreign
    /// layers, which registries need not keep, are not asked for.
    ///
    /// # Errors
    /// Trouble only.
    pub async fn has_closure(
        &self,
        repository: &Repository,
        closure: &Closure,
    ) -> Result<Vec<Digest>, RegistryError> {
        lost(&self.backend(repository)?, closure, None).await
    }

    /// [`Registries::has_closure`] of an image whose root was read there.
    ///
    /// # Errors
    /// Trouble only.
    pub async fn has_below(
        &self,
        repository: &Repository,
        closure: &Closure,
    ) -> Result<Vec<Digest>, RegistryError> {
        lost(&self.backend(repository)?, closure, Some(closure.root())).await
    }

    /// Copies an image with everything that refers to it, by digest; sets no tag but those of cosign
    /// (`sha256-<hex>.sig`), which are the name of what they hold. Safe to repeat; what is there is not sent, and every
    /// blob of it is asked for.
    ///
    /// # Errors
    /// [`CopyError`], which says on which side the trouble was. What was written stays, and is used next time.
    pub async fn copy(
        &self,
        closure: &Closure,
        from: &Reading,
        to: &Repository,
    ) -> Result<CopyReport, CopyError> {
        self.copy_with(closure, from, (to, None), (Along::Referrers, Already::Blobs)).await
    }

    /// [`Registries::copy`]; what the destination does not take of what refers to the image goes into a store, where there
    /// is one.
    ///
    /// # Errors
    /// Those of [`Registries::copy`]; of the store as of the destination.
    pub async fn copy_or_store(
        &self,
        closure: &Closure,
        from: &Reading,
        places: (&Repository, Option<&Repository>),
    ) -> Result<CopyReport, CopyError> {
        self.copy_with(closure, from, places, (Along::Referrers, Already::Blobs)).await
    }

    async fn copy_with(
        &self,
        closure: &Closure,
        from: &Reading,
        (to, store): (&Repository, Option<&Repository>),
        how: (Along, Already),
    ) -> Result<CopyReport, CopyError> {
        let backend = |place| self.backend(place).map_err(copy::at(Side::Destination, place));
        let places = (backend(to)?, store.map(backend).transpose()?);
        copy::Copying::new(from, places, closure, how).run().await
    }

    /// Makes a tag mean an image that the repository has: the same bytes again, under the tag; then read back.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchImage`], [`RegistryError::TagNotSet`], trouble.
    pub async fn set_tag(&self, image: &Image, tag: &Tag) -> Result<(), RegistryError> {
        let backend = self.backend(&image.repository)?;
        let fetched = backend.manifest(Which::Digest(image.digest)).await?;
        let fetched = fetched.ok_or_else(|| RegistryError::NoSuchImage { wanted: image.to_string() })?;
        tag_as(&backend, tag, fetched.digest, &fetched.media_type, fetched.bytes).await
    }

    /// [`Registries::set_tag`] of an image that was read or written there: its root is at hand.
    ///
    /// # Errors
    /// [`RegistryError::TagNotSet`], trouble.
    pub async fn set_tag_of(
        &self,
        repository: &Repository,
        closure: &Closure,
        tag: &Tag,
    ) -> Result<(), RegistryError> {
        let image = || Image::new(repository.clone(), closure.root()).to_string();
        let root = closure.manifest(closure.root());
        let root = root.ok_or_else(|| RegistryError::NoSuchImage { wanted: image() })?;
        tag_as(&self.backend(repository)?, tag, root.digest, &root.media_type, root.bytes.clone()).await
    }

    /// Writes a small blob, unless it is there.
    ///
    /// # Errors
    /// Trouble only.
    pub async fn push_blob(&self, repository: &Repository, bytes: Bytes) -> Result<Digest, RegistryError> {
        push(&self.backend(repository)?, bytes).await
    }

    /// Writes a manifest, under a tag where one is given, else by digest.
    ///
    /// # Errors
    /// [`RegistryError::Image`] when it is not strictly what `media_type` says; trouble.
    pub async fn push_manifest(
        &self,
        repository: &Repository,
        media_type: &str,
        bytes: Bytes,
        tag: Option<&Tag>,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        put(&self.backend(repository)?, tag.map_or(Which::Digest(digest), Which::Tag), media_type, bytes)
            .await?;
        Ok(digest)
    }
}

async fn look_up(backend: &Backend, reference: &Reference) -> Result<(Resolved, Fetched), RegistryError> {
    let (which, expected) = match reference {
        Reference::Tagged(_, tag) => (Which::Tag(tag), None),
        Reference::Pinned(image) => (Which::Digest(image.digest), None),
        Reference::Expected(image, tag) => (Which::Tag(tag), Some(image.digest)),
    };
    let fetched = backend.manifest(which).await?;
    let fetched = fetched.ok_or_else(|| RegistryError::NoSuchImage { wanted: reference.to_string() })?;
    let image = Image::new(reference.repository().clone(), fetched.digest);
    Ok((Resolved { image, tag: reference.tag().cloned(), expected }, fetched))
}

/// Reads an image, whose root is at hand or not.
async fn closure(backend: &Backend, image: &Image, root: Option<Fetched>) -> Result<Closure, RegistryError> {
    let wrong = |source| RegistryError::Image { image: image.to_string(), source: Box::new(source) };
    let limits = Limits::default();
    let mut builder = Builder::new(image.digest, limits);
    if let Some(root) = root {
        builder.feed(root.digest, Some(&root.media_type), root.bytes).map_err(wrong)?;
    }
    loop {
        let wants = builder.wants();
        if wants.is_empty() {
            return builder.finish().map_err(wrong);
        }
        let fetches = wants.into_iter().map(|wanted: Wanted| async move {
            let (media_type, bytes) = match wanted.what {
                What::Manifest => match backend.manifest(Which::Digest(wanted.digest)).await? {
                    Some(fetched) => (Some(fetched.media_type), Some(fetched.bytes)),
                    None => (None, None),
                },
                What::Config => (None, backend.small_blob(wanted.digest, limits.manifest_bytes).await?),
            };
            Ok::<_, RegistryError>((wanted.digest, media_type, bytes))
        });
        let mut fetches = stream::iter(fetches).buffer_unordered(CONCURRENCY);
        while let Some((digest, media_type, bytes)) = fetches.try_next().await? {
            let Some(bytes) = bytes else {
                if digest == image.digest {
                    return Err(RegistryError::NoSuchImage { wanted: image.to_string() });
                }
                return Err(wrong(ClosureError::Incomplete { root: image.digest, first: digest, count: 1 }));
            };
            builder.feed(digest, media_type.as_deref(), bytes).map_err(wrong)?;
        }
    }
}

/// Reads a manifest strictly, naming it and its repository in errors.
fn read(backend: &Backend, fetched: &Fetched) -> Result<Document, RegistryError> {
    Document::read(&fetched.bytes, Some(&fetched.media_type), None).map_err(|source| RegistryError::Image {
        image: Image::new(backend.repository.clone(), fetched.digest).to_string(),
        source: Box::new(source),
    })
}

async fn push(backend: &Backend, bytes: Bytes) -> Result<Digest, RegistryError> {
    let blob = unnamed(&bytes);
    match backend.has_blob(&blob).await? {
        true => Ok(blob.digest),
        false => upload(backend, bytes).await,
    }
}

/// [`push`] of what nobody has written before: it is not looked for.
async fn upload(backend: &Backend, bytes: Bytes) -> Result<Digest, RegistryError> {
    let blob = unnamed(&bytes);
    backend.put_blob(blob.digest, blob.size, supply(bytes), None).await?;
    Ok(blob.digest)
}

fn unnamed(bytes: &Bytes) -> Descriptor {
    Descriptor {
        media_type: String::new(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        artifact_type: None,
        annotations: BTreeMap::new(),
        platform: None,
        urls: Vec::new(),
    }
}

/// Bytes that are in memory, to be sent.
fn supply(bytes: Bytes) -> Supply {
    Box::new(move |from| {
        // No further than they go: the destination was given no more.
        let rest = bytes.slice(usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len())..);
        let chunks: Chunks = stream::once(async { Ok(rest) }).boxed();
        std::future::ready(Ok(chunks)).boxed()
    })
}

/// Writes a manifest; where it refers to something and the registry does not say that it noticed, the fallback tag
/// too (distribution-spec v1.1, "Pushing Manifests with Subject").
async fn put(
    backend: &Backend,
    which: Which<'_>,
    media_type: &str,
    bytes: Bytes,
) -> Result<(), RegistryError> {
    let unlisted = write(backend, which, media_type, bytes).await?;
    attach::list(backend, unlisted.into_iter()).await
}

/// Writes a manifest. Returns its subject and what a fallback tag has to list of it, where it refers to something and
/// the registry does not say that it noticed.
async fn write(
    backend: &Backend,
    which: Which<'_>,
    media_type: &str,
    bytes: Bytes,
) -> Result<Option<(Digest, Descriptor)>, RegistryError> {
    let digest = Digest::of(&bytes);
    let document =
        read(backend, &Fetched { digest, media_type: media_type.to_owned(), bytes: bytes.clone() })?;
    let size = bytes.len() as u64;
    let answer = backend.put_manifest(which, media_type, bytes).await?;
    let subject = document.subject.filter(|_| !answer.subject_acknowledged);
    Ok(subject.map(|subject| {
        let referrer = Descriptor {
            media_type: document.media_type,
            digest,
            size,
            artifact_type: document.artifact_type,
            annotations: document.annotations,
            platform: None,
            urls: Vec::new(),
        };
        (subject.digest, referrer)
    }))
}

async fn tag_as(
    backend: &Backend,
    tag: &Tag,
    wanted: Digest,
    media_type: &str,
    bytes: Bytes,
) -> Result<(), RegistryError> {
    put(backend, Which::Tag(tag), media_type, bytes).await?;
    match backend.manifest(Which::Tag(tag)).await?.map(|fetched| fetched.digest) {
        Some(found) if found == wanted => Ok(()),
        found => {
            let tagged = Reference::Tagged(backend.repository.clone(), tag.clone()).to_string();
            Err(RegistryError::TagNotSet { tagged, wanted, found })
        }
    }
}

async fn legacy(
    backend: &Backend,
    digest: Digest,
    suffixes: impl IntoIterator<Item = Suffix>,
) -> Result<Vec<(Tag, Fetched)>, RegistryError> {
    let tags: Vec<Tag> = suffixes.into_iter().filter_map(|suffix| suffix.tag(digest).ok()).collect();
    let lookups = tags.into_iter().map(|tag| async move {
        let fetched = backend.manifest(Which::Tag(&tag)).await?;
        Ok::<_, RegistryError>(fetched.map(|fetched| (tag, fetched)))
    });
    let found: Vec<_> = stream::iter(lookups).buffered(CONCURRENCY).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Manifests and blobs of an image that a repository has not; one manifest that was read there is not asked for.
async fn lost(
    backend: &Backend,
    closure: &Closure,
    read: Option<Digest>,
) -> Result<Vec<Digest>, RegistryError> {
    let (mut lost, blobs) =
        try_join(lost_manifests(backend, closure, read), lost_blobs(backend, closure)).await?;
    lost.extend(blobs);
    Ok(lost)
}

/// The manifests of an image that a repository has not; one that was read there is not asked for.
async fn lost_manifests(
    backend: &Backend,
    closure: &Closure,
    read: Option<Digest>,
) -> Result<Vec<Digest>, RegistryError> {
    let digests = closure.manifests().map(|manifest| manifest.digest);
    let digests: Vec<Digest> = digests.filter(|digest| Some(*digest) != read).collect();
    let questions = digests.into_iter().map(|digest| async move {
        let there = backend.has_manifest(digest).await?;
        Ok::<_, RegistryError>((!there).then_some(digest))
    });
    let lost: Vec<_> = stream::iter(questions).buffered(CONCURRENCY).try_collect().await?;
    Ok(lost.into_iter().flatten().collect())
}

/// The blobs of an image that a repository has not, foreign layers aside.
async fn lost_blobs(backend: &Backend, closure: &Closure) -> Result<Vec<Digest>, RegistryError> {
    let blobs = closure.blobs().into_iter().filter(|blob| !blob.is_foreign());
    let blobs: Vec<Descriptor> = blobs.cloned().collect();
    let questions = blobs.into_iter().map(|blob| async move {
        let there = backend.has_blob(&blob).await?;
        Ok::<_, RegistryError>((!there).then_some(blob.digest))
    });
    let lost: Vec<_> = stream::iter(questions).buffered(CONCURRENCY).try_collect().await?;
    Ok(lost.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
