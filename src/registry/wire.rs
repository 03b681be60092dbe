//! The words every backend of the registry module shares: what is asked for and what comes back.
//!
//! Guarantees: an absence is a value of one of these types, trouble is a [`RegistryError`](super::RegistryError);
//! neither is ever spelled as the other. Never does: I/O.

use std::fmt;

use bytes::Bytes;

use crate::closure::Descriptor;
use crate::digest::Digest;
use crate::reference::Tag;

/// A manifest by its mutable name or by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    /// Whatever the tag means at this moment.
    Tag(&'a Tag),
    /// Exactly these bytes.
    Digest(Digest),
}

impl fmt::Display for Which<'_> {
    /// The `<reference>` of distribution-spec v1.1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag.as_str()),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A manifest as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Computed here from `bytes`, never taken from a header.
    pub(crate) digest: Digest,
    /// What the registry (or the layout's index) called it, without parameters. A claim.
    pub(crate) media_type: String,
    /// The exact bytes.
    pub(crate) bytes: Bytes,
}

/// Answer to "what refers to this digest". A failure is an `Err`, never one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// The registry has no referrers API, and there is no fallback tag: nobody could have told us.
    Unsupported,
    /// Every referrer there is, all pages, each digest once; possibly none. Not filtered by artifact type.
    Listed(Vec<Descriptor>),
}

/// Answer to a cross-repository mount.
#[derive(Debug)]
pub(crate) enum Mounted {
    /// The blob is there; no bytes moved.
    Yes,
    /// A plain copy is needed, in the upload the registry opened instead, if it opened one.
    No(Option<Session>),
}

/// An upload the registry has opened; good for one blob.
pub(crate) struct Session {
    /// Where the next bytes go to, and where to ask how many have arrived.
    pub(super) location: reqwest::Url,
    /// The least that one of several chunks may have, the last aside (distribution-spec v1.1, "Pushing a blob in chunks").
    pub(super) chunk_min: u64,
}

impl fmt::Debug for Session {
    /// Without the query: registries keep signed state in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}…)", self.location.origin().ascii_serialization())
    }
}

/// Answer to a manifest that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an unacknowledged subject needs the fallback tag"]
pub(crate) struct PutManifest {
    /// Whether the registry answered `OCI-Subject` with the manifest's own subject. When false, and the manifest
    /// has a subject, the fallback tag must be written (distribution-spec v1.1, "Pushing Manifests with Subject").
    pub(crate) subject_acknowledged: bool,
}

/// The bytes of a blob as they come, checked by whoever sends them: a stream that ends without an error carried
/// exactly the bytes of the digest that was asked for.
pub(crate) type Chunks = futures_util::stream::BoxStream<'static, Result<Bytes, super::RegistryError>>;

/// A blob that is to be sent: its bytes from an offset on, as often as the way to the destination breaks.
pub(crate) type Supply = Box<
    dyn Fn(u64) -> futures_util::future::BoxFuture<'static, Result<Chunks, super::RegistryError>>
        + Send
        + Sync,
>;
