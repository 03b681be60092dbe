//! The closure of an image: an index and every manifest reachable from it, each recomputed from its bytes.
//!
//! Guarantees: a [`Closure`] can only be built from bytes whose digest was recomputed here, within the limits
//! of [`Limits`]; every manifest that an orchestrator may run is among its platforms, and there is at least one.
//! Buildx attestation manifests are kept apart by their annotation (`vnd.docker.reference.type`) and an unknown
//! platform together, never by guess: one that a runtime would run is refused. A document that can be read as two
//! things is refused (CVE-2021-41190).
//! Never does: I/O. The registry module fetches what [`Builder::wants`] asks for and feeds it back.
//!
//! Start at [`Builder`].

mod builder;
mod document;
mod platform;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::digest::{Digest, DigestError};
use crate::json::JsonError;

pub use builder::{Builder, Wanted, What};
pub use document::{
    Content, DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Document, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST,
};
pub use platform::{Platform, PlatformError};

/// What one manifest of the closure is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// An index; its children are in the closure too.
    Index,
    /// A manifest an orchestrator may run; where an index names it for several platforms, the first.
    Platform(Platform),
    /// A buildx attestation manifest: copied, never run, never counted as a platform.
    Attachment,
}

/// One manifest of the closure: its exact bytes.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// The media type on which the document, its sender and its parent agree.
    pub media_type: String,
    /// What it is.
    pub role: Role,
    /// The bytes, as they were fed.
    pub bytes: Bytes,
    /// Configuration, then layers, of a manifest; none of an index.
    pub blobs: Vec<Descriptor>,
}

/// How much an image may hold. Reached limits are errors, never a shorter answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many indexes may lie inside one another, the root included.
    pub depth: usize,
    /// How many descriptors all indexes together may list.
    pub manifests: usize,
    /// The largest manifest, index or image configuration, in bytes; at most 4 MiB is honoured.
    pub manifest_bytes: u64,
    /// All manifests, indexes and image configurations together, in bytes.
    pub total_bytes: u64,
    /// How many configurations and layers all manifests together may list.
    pub blobs: usize,
}

impl Default for Limits {
    /// The manifest limit of distribution-spec v1.1 (4 MiB); the rest is far above any real image.
    fn default() -> Self {
        Self { depth: 4, manifests: 1000, manifest_bytes: 4 << 20, total_bytes: 32 << 20, blobs: 20_000 }
    }
}

/// Why bytes are no closure.
#[derive(Debug, thiserror::Error)]
pub enum ClosureError {
    /// The bytes are not the ones that were asked for.
    #[error("the bytes for {wanted} have the digest {found}")]
    DigestMismatch {
        /// What was asked for.
        wanted: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The bytes are not as long as their descriptor says.
    #[error("{digest} has {found} bytes, its descriptor says {expected}")]
    SizeMismatch {
        /// The content.
        digest: Digest,
        /// What a descriptor says, in bytes.
        expected: u64,
        /// What came, or what another descriptor says, in bytes.
        found: u64,
    },
    /// Nobody asked for these bytes.
    #[error("{digest} is not part of the image, or was already read")]
    NotWanted {
        /// What was fed.
        digest: Digest,
    },
    /// Not strict JSON.
    #[error("{document} is not a manifest: its JSON is wrong")]
    Json {
        /// The document.
        document: Digest,
        /// What is wrong.
        source: JsonError,
    },
    /// A field is absent or has the wrong shape.
    #[error("{document} is not a manifest: `{field}` is not what it must be, expected {expected}")]
    Field {
        /// The document.
        document: Digest,
        /// The field.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// A descriptor that oci-spec does not read.
    #[error("the descriptor of {digest} in {document} is malformed")]
    Descriptor {
        /// The document.
        document: Digest,
        /// What the descriptor points to.
        digest: Digest,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A digest outside the allow-list, or not in full.
    #[error("a descriptor in {document} has no accepted digest")]
    Digest {
        /// The document.
        document: Digest,
        /// What is wrong.
        source: DigestError,
    },
    /// A size that is negative, fractional or too large.
    #[error("the size of {digest} in {document} is `{found}`: expected a whole number of bytes")]
    Size {
        /// The document.
        document: Digest,
        /// What the descriptor points to.
        digest: Digest,
        /// What stands there.
        found: String,
    },
    /// A platform outside the grammar.
    #[error("{document} names a platform that is none")]
    Platform {
        /// The document.
        document: Digest,
        /// What is wrong.
        source: PlatformError,
    },
    /// `schemaVersion` is not 2.
    #[error("{document} has the schemaVersion `{found}`: expected 2")]
    SchemaVersion {
        /// The document.
        document: Digest,
        /// What stands there.
        found: String,
    },
    /// The old Docker format, whose digest does not cover what runs.
    #[error(
        "{document} is a Docker manifest of version 2, schema 1, which is not supported: build and push the image with a current tool"
    )]
    Schema1 {
        /// The document.
        document: Digest,
    },
    /// Nobody says what it is.
    #[error("nothing says what {document} is: no mediaType in it, in its descriptor or in the answer")]
    NoMediaType {
        /// The document.
        document: Digest,
    },
    /// Neither an image nor an index.
    #[error(
        "{document} has the media type `{found}`: expected an OCI or Docker (version 2, schema 2) image manifest or index"
    )]
    MediaType {
        /// The document.
        document: Digest,
        /// Its media type.
        found: String,
    },
    /// The document and what led to it do not agree on what it is.
    #[error("{document} has the media type `{found}`, but {by} says `{expected}`")]
    MediaTypesDisagree {
        /// The document.
        document: Digest,
        /// Who says otherwise.
        by: &'static str,
        /// What that one says.
        expected: String,
        /// What the document says.
        found: String,
    },
    /// It could be read as two things (CVE-2021-41190).
    #[error("{document} is ambiguous: `{expected}` must not have `{found}` (CVE-2021-41190)")]
    Ambiguous {
        /// The document.
        document: Digest,
        /// Its media type.
        expected: String,
        /// The field of the other kind.
        found: String,
    },
    /// One digest stands for two things.
    #[error("{digest} is listed as {first} and as {second}")]
    TwoRoles {
        /// The content.
        digest: Digest,
        /// One role.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Marked as an attestation, yet a runtime would run it.
    #[error(
        "{digest} is marked as an attestation manifest, but for the platform {platform}, which would run it"
    )]
    AttachmentRuns {
        /// The manifest.
        digest: Digest,
        /// The platform it is listed for.
        platform: Platform,
    },
    /// Marked as an attestation, yet an index that a runtime would look into.
    #[error("{digest} is marked as an attestation manifest, but is an index")]
    AttachmentIsIndex {
        /// The index.
        digest: Digest,
    },
    /// An artifact: a signature, a chart, a bundle.
    #[error("{digest} is not an image: its configuration is `{found}`")]
    NotAnImage {
        /// The manifest.
        digest: Digest,
        /// The media type of its configuration.
        found: String,
    },
    /// Nothing in it can run, so nothing about it can be shown to have run.
    #[error("{root} has no manifest for any platform")]
    NoPlatform {
        /// The root.
        root: Digest,
    },
    /// Indexes inside indexes, too many times.
    #[error("{digest} is an index inside more than {limit} levels of indexes")]
    TooDeep {
        /// The index that was too deep.
        digest: Digest,
        /// The limit in levels.
        limit: usize,
    },
    /// Too many descriptors.
    #[error("{root} lists {found} {what} or more: expected at most {limit}")]
    TooMany {
        /// The root.
        root: Digest,
        /// `manifests` or `blobs`.
        what: &'static str,
        /// How many were counted.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// One document is too large.
    #[error("{digest} has {found} bytes: expected at most {limit}")]
    TooLarge {
        /// The document.
        digest: Digest,
        /// Its size in bytes.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// All documents together are too large.
    #[error("the manifests of {root} have {found} bytes or more together: expected at most {limit}")]
    TooLargeTogether {
        /// The root.
        root: Digest,
        /// Bytes counted.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Something that was wanted was not fed.
    #[error("{root} is incomplete: {count} documents are missing, the first is {first}")]
    Incomplete {
        /// The root.
        root: Digest,
        /// One that is missing.
        first: Digest,
        /// How many are missing.
        count: usize,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Closure {
    root: Digest,
    manifests: BTreeMap<Digest, Manifest>,
    /// Children before parents, the root last.
    order: Vec<Digest>,
    platforms: Vec<(Digest, Platform)>,
    configs: Vec<Bytes>,
}

impl Closure {
    /// The digest the image is named by.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Whether the root is an index (or a Docker manifest list).
    pub fn is_index(&self) -> bool {
        self.manifests.get(&self.root).is_some_and(|manifest| manifest.role == Role::Index)
    }

    /// Whether `digest` is the root or any manifest reachable from it (attachments included).
    pub fn contains(&self, digest: Digest) -> bool {
        self.manifests.contains_key(&digest)
    }

    /// One manifest, by digest.
    pub fn manifest(&self, digest: Digest) -> Option<&Manifest> {
        self.manifests.get(&digest)
    }

    /// Every manifest once, children before parents, the root last: the order in which they can be written.
    pub fn manifests(&self) -> impl DoubleEndedIterator<Item = &Manifest> {
        self.order.iter().filter_map(|digest| self.manifests.get(digest))
    }

    /// The manifests an orchestrator may run, in index order; the root itself for a single-platform image. A
    /// manifest that is listed for two platforms comes twice; a platform may have two manifests.
    pub fn platforms(&self) -> impl Iterator<Item = (Digest, &Platform)> {
        self.platforms.iter().map(|(digest, platform)| (*digest, platform))
    }

    /// Everything it was made from, each once: the manifests, and the configurations of those whose platform nobody
    /// else says. From these bytes it can be made again ([`Closure::again`]).
    pub fn documents(&self) -> impl Iterator<Item = &Bytes> {
        self.manifests().map(|manifest| &manifest.bytes).chain(&self.configs)
    }

    /// The closure of `root` from documents that somebody kept: `fetch` returns the bytes of a digest.
    ///
    /// # Errors
    /// What `fetch` returned; [`ClosureError`] as an error of its own.
    pub fn again<E: From<ClosureError>>(
        root: Digest,
        mut fetch: impl FnMut(Digest) -> Result<Bytes, E>,
    ) -> Result<Self, E> {
        let mut builder = Builder::new(root, Limits::default());
        loop {
            let wants = builder.wants();
            if wants.is_empty() {
                return Ok(builder.finish()?);
            }
            for wanted in wants {
                let bytes = fetch(wanted.digest)?;
                // Where the document itself does not say what it is, the registry did, and that was not kept: what can
                // be read as one of the two kinds cannot be read as the other (CVE-2021-41190).
                let read = match builder.feed(wanted.digest, None, bytes.clone()) {
                    Err(ClosureError::NoMediaType { .. }) => builder
                        .feed(wanted.digest, Some(OCI_INDEX), bytes.clone())
                        .or_else(|_| builder.feed(wanted.digest, Some(OCI_MANIFEST), bytes)),
                    read => read,
                };
                read?;
            }
        }
    }

    /// Every configuration and layer once, the largest first.
    pub fn blobs(&self) -> Vec<&Descriptor> {
        let mut seen = BTreeSet::new();
        let mut blobs: Vec<&Descriptor> = self
            .manifests()
            .flat_map(|manifest| &manifest.blobs)
            .filter(|blob| seen.insert(blob.digest))
            .collect();
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        blobs
    }
}

/// Whether two images would run the same configurations over the same layers, though their manifests may differ:
/// what is left of an image that a tool wrote again (another media type, an annotation, white space). It explains
/// a refusal and never replaces a digest.
pub fn same_layers(one: &Closure, other: &Closure) -> bool {
    let content = |closure: &Closure| -> BTreeSet<Vec<Digest>> {
        closure
            .platforms
            .iter()
            .filter_map(|(digest, _)| closure.manifests.get(digest))
            .map(|manifest| manifest.blobs.iter().map(|blob| blob.digest).collect())
            .collect()
    };
    content(one) == content(other)
}

#[cfg(test)]
mod tests;
