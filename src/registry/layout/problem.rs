//! What can be wrong with the files of a layout.

use crate::closure::ClosureError;
use crate::digest::Digest;
use crate::json::JsonError;
use crate::reference::Tag;

/// Why a file of a layout is malformed.
#[derive(Debug, thiserror::Error)]
pub enum LayoutProblem {
    /// Not strict JSON.
    #[error(transparent)]
    Json(JsonError),
    /// Not what a descriptor or manifest must be.
    #[error(transparent)]
    Document(ClosureError),
    /// `index.json` has no list of manifests.
    #[error("it has no array `manifests`")]
    NoManifests,
    /// Two entries of `index.json` carry the same tag for different bytes.
    #[error("the tag `{tag}` means both {first} and {second}")]
    TwoForOneTag {
        /// The tag.
        tag: Tag,
        /// One meaning.
        first: Digest,
        /// The other.
        second: Digest,
    },
}
