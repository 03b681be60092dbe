//! The logs of a root, and the part of verifying an entry of Rekor v1 that is done here.
//!
//! The checks of the entries beside a signature by certificate (sigstore/architecture-docs `client-spec.md`,
//! "Verification", in its order), and who makes them where every entry has promise, time and proof:
//!
//! 0. What must be there is, proof and checkpoint agree, one log: here (`log_of`, `agrees`), first.
//! 1. Time: the promise (SET) is the log's, whose key was good at `integratedTime`; that is past: `sigstore-verify`.
//! 2. Certificate: good at every such time: `sigstore-verify`.
//! 3. Log: the proof leads from the entry to the root of the checkpoint: here ([`Log::includes`]).
//! 4. Log: the checkpoint is the log's, whose key was good at `integratedTime`: here ([`Log::includes`]).
//! 5. Log: the promise is the log's: that was check 1.
//! 6. Log: `integratedTime` is in the certificate's life: that was check 2.
//! 7. Log: the body is about this signature, signer and artifact: `sigstore-verify`.
//!
//! For any other bundle `sigstore-verify` makes 1 to 7: 1 for entries that have promise and time, 4 with a key whose
//! time has begun, 5 for every promise. It could do so for these, but 0.15.1 verifies the promise a second time in 5,
//! the same bytes with the same key. Not asked for the log (`skip_tlog_unsafe`), it leaves out 3 to 6 and no other.
//! [`are_dated`] says where 1 and 2 stand for 5 and 6, and [`dated`] looks whether they were made.

use std::error::Error;
use std::sync::Arc;

use sigstore_crypto::Keyring;
use sigstore_trust_root::TrustedRoot;
use sigstore_types::{Bundle, KindVersion, LogKeyId, Sha256Hash, TransparencyLogEntry};
use sigstore_verify::{VerificationResult, Verifier};

use super::{Reason, RootError};
use crate::digest::{Digest, shorten};
use crate::tlog;

/// A log of a root.
pub(super) struct Log {
    pub(super) id: Sha256Hash,
    /// Its key, and when that is good.
    pub(super) key: Keyring,
    /// Knows the whole root but for its other logs.
    pub(super) verifier: Arc<Verifier>,
}

impl Log {
    /// The log with this id, the only one of `root`.
    pub(super) fn new(id: &LogKeyId, root: &TrustedRoot) -> Result<Self, RootError> {
        let unusable = |error: &dyn Error| RootError::Unusable { detail: shorten(&error.to_string()) };
        Ok(Self {
            id: Sha256Hash::try_from(id.as_bytes()).map_err(|error| unusable(&error))?,
            verifier: super::verifier(root)?,
            key: root.rekor_keys().map_err(|error| unusable(&error))?,
        })
    }

    /// Whether this is the log that the entry names.
    pub(super) fn is_of(&self, entry: &TransparencyLogEntry) -> bool {
        entry.log_id.key_id.as_bytes() == self.id.as_bytes()
    }

    /// The entry is in the tree of a checkpoint that this log signed, with a key that was good when it took the entry in.
    pub(super) fn includes(&self, entry: &TransparencyLogEntry) -> Result<(), Reason> {
        let proof = entry.inclusion_proof.as_ref().ok_or(Reason::LogProofMissing)?;
        let checkpoint = proof.checkpoint.checkpoint().ok_or(Reason::CheckpointMissing)?;
        // 1. The proof, towards what the checkpoint says (RFC 9162, section 2.1.3.2).
        let digest = |hash: &Sha256Hash| Digest::from_bytes(*hash.as_bytes());
        let hashes: Vec<Digest> = proof.hashes.iter().map(digest).collect();
        tlog::check_inclusion(
            tlog::leaf_hash(entry.canonicalized_body.as_bytes()),
            proof.log_index.get(),
            checkpoint.tree_size(),
            &hashes,
            digest(checkpoint.root_hash()),
        )
        .map_err(|error| Reason::LogProof { detail: shorten(&error.to_string()) })?;
        // 2. The checkpoint. Other signers have lines of their own, and four bytes are no name: one right line is enough.
        let refused = |detail: &str| Err(Reason::Checkpoint { detail: detail.to_owned() });
        let Some(key) = entry.integrated_time.and_then(|time| self.key.key_at(&self.id, time)) else {
            return refused("the log has no key of that time");
        };
        let hint = &self.id.as_bytes()[..4];
        let mut lines = checkpoint.signatures().iter().filter(|line| line.key_id.as_bytes() == hint);
        match lines.any(|line| key.verify(checkpoint.signed_data(), &line.signature).is_ok()) {
            true => Ok(()),
            false => refused("none of its signatures is the log's"),
        }
    }
}

/// Whether every entry has a promise and a time that `sigstore-verify` takes for the signing time, for which it has to
/// verify the promise, and a proof for [`Log::includes`].
pub(super) fn are_dated(bundle: &Bundle) -> bool {
    bundle.verification_material.tlog_entries.iter().all(|entry| {
        // Its own list of Rekor v1's kinds (`extract_v1_integrated_times_with_promise`); a new kind is on neither.
        let first = matches!(
            entry.kind_version,
            KindVersion::HashedRekordV001 | KindVersion::DsseV001 | KindVersion::IntotoV002
        );
        let promise = entry.inclusion_promise.is_some() && entry.integrated_time.is_some();
        first && promise && entry.inclusion_proof.is_some()
    })
}

/// Whether the times that were verified are those of all timestamps and, one by one, of all entries: the absence of an
/// error is weak evidence that a check ran.
pub(super) fn dated(result: &VerificationResult, bundle: &Bundle) -> bool {
    let material = &bundle.verification_material;
    let stamps = material.timestamp_verification_data.rfc3161_timestamps.len();
    // Timestamps come first (`determine_validation_times`).
    let times = result.verified_timestamps().get(stamps..).unwrap_or_default();
    times.len() == material.tlog_entries.len()
        && times.iter().zip(&material.tlog_entries).all(|(time, entry)| entry.integrated_time == Some(*time))
}

#[cfg(test)]
mod tests;
