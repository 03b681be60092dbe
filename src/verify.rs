//! From foreign bytes to [`Verified`] attestations, or to a [`Rejected`] that says why not.
//!
//! Guarantees: a [`Verified`] value exists only if a signature over exactly these bytes was checked in this module,
//! against a key of the [`Trust`] or against a certificate under one of its roots; its [`Identity`] is that key, or
//! that certificate's identity and the root, whatever the bytes say of their signer.
//! Never does: I/O, policy, reading a statement whose signature was not checked (except for [`Claim`], which is
//! marked as unverified and only explains a refusal).
//! Start at [`bundle()`], or at [`attached`] for what was found on a manifest; [`envelope`] and [`simple_signing()`]
//! read what older cosign versions left in registries; [`artifact()`] is for anything that is not an image.
//!
//! ```text
//! bytes --json--> bundle --PAE, key ----------------------> payload --json--> statement     every step may
//!                        --certificate, log, time, PAE --->                                 end in Rejected
//! ```
//!
//! What a key proves: *who* signed, never *when*. That takes a log entry or a timestamp beside it
//! ([`Author::is_dated`]), or a place in the ledger ([`record`]); whether it takes it is the policy's word. What a
//! certificate proves: who, when
//! ([`Author::time`]) and what the issuer said of the workload ([`Author::claims`]).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::digest::Digest;

mod artifact;
mod author;
mod bundle;
mod dsse;
mod keyless;
pub mod predicate;
pub mod provenance;
mod read;
mod rejected;
mod sign;
mod simple_signing;
mod statement;
mod trust;

pub use artifact::{Artifact, SignedArtifact, artifact};
pub use author::{Author, Undated};
pub use bundle::{attached, bundle, permit, record};
pub use dsse::{annotated_envelope, envelope};
pub use keyless::legacy::Annotations;
pub use keyless::{Claims, Keys, Known, Root, RootError, RootName, RootNameError};
pub use rejected::{Claim, Part, Reason, Rejected};
pub use sign::{Sign, SignError, sign_statement};
pub use simple_signing::{annotated_simple_signing, simple_signing};
pub use trust::{Trust, Verified};

/// Our name for the predicate of a cosign simple signing payload, which has none of its own.
pub const SIMPLE_SIGNING: &str = "https://cosign.sigstore.dev/simple-signing";

/// The `predicateType` of what `cosign sign` (version 3) writes: the predicate is empty, the signature is the message.
pub const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// Our name for the predicate of a bundle's message signature over a manifest, which has none of its own.
pub const MESSAGE_SIGNATURE: &str = "https://sigstore.dev/bundle/message-signature";

/// Who signed, as proved by the signature: never what a record says of itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Identity {
    /// A public key; `id` is the SHA-256 of its DER SubjectPublicKeyInfo.
    Key {
        /// SHA-256 of the DER SubjectPublicKeyInfo.
        #[serde(rename = "key")]
        id: Digest,
    },
    /// A Fulcio identity.
    Keyless {
        /// The OIDC issuer.
        #[serde(deserialize_with = "not_empty")]
        #[schemars(length(min = 1))]
        issuer: String,
        /// The subject alternative name of the certificate.
        #[serde(deserialize_with = "not_empty")]
        #[schemars(length(min = 1))]
        subject: String,
        /// The root of trust under which this was proved: the same names under another root are somebody else.
        root: RootName,
    },
}

fn not_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Err(serde::de::Error::custom("an empty identity is nobody's"));
    }
    Ok(text)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { id } => write!(f, "key:{id}"),
            Self::Keyless { issuer, subject, root: RootName::PublicGood } => {
                write!(f, "{subject} ({issuer})")
            }
            Self::Keyless { issuer, subject, root } => write!(f, "{subject} ({issuer}, root {root})"),
        }
    }
}

/// One subject of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The subject's `name`, where there is one (`cosign sign` version 3 writes none).
    pub name: Option<String>,
    /// Its sha256 digest.
    pub digest: Digest,
}

/// An in-toto statement (or a cosign simple signing payload, read as one).
#[derive(Clone, Debug, PartialEq)]
pub struct Attestation {
    predicate_type: String,
    subjects: Vec<Subject>,
    predicate: Value,
}

impl Attestation {
    /// The `predicateType`; for simple signing [`SIMPLE_SIGNING`].
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// At least one.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The predicate (simple signing: the whole payload); `Null` where the statement has none.
    pub fn predicate(&self) -> &Value {
        &self.predicate
    }
}

#[cfg(test)]
mod tests;
