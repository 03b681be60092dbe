//! The evidence that decisions relied on, kept beside the log (`ATTACKS.md` B5): content-addressed, written with the
//! swap of the record that names it, rehashed whenever it is read.
//!
//! Guarantees: no promotion is recorded without the bytes of what it names (see [`relied_on`]); what is returned has
//! the digest that the signed record names. Never does: promise that it is still there. The log's hashes do not cover
//! it: who can write the file can take evidence away, and [`super::review`] says of which record.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Finding, Ledger, LedgerError};
use crate::closure::{Closure, ClosureError};
use crate::digest::Digest;
use crate::evidence::{DESCRIPTOR, Kept};
use crate::record::{Promotion, Subjects};

/// The largest piece that is kept, in bytes: no manifest, bundle or payload that is read is larger.
pub const LIMIT: usize = 4 << 20;
/// The most that is kept of one decision, in bytes.
pub const TOGETHER: usize = 64 << 20;

/// What a piece is to the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The manifest or index the image is named by.
    Root,
    /// A platform manifest.
    Platform,
    /// An attestation of this predicate type: a bundle, an envelope or a payload.
    Attestation(String),
    /// The OCI descriptor of the layer that carried one, with the signature and certificate in its annotations.
    Layer,
    /// The policy file.
    Policy,
    /// What the policy names under this file: the DER of a public key, or where a root of trust begins.
    Key(String),
    /// The `trusted_root.json` of the root of trust of this name.
    Trusted(String),
}

/// Something a promotion record names by digest, and that is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relied {
    /// What it is.
    pub role: Role,
    /// Its digest.
    pub digest: Digest,
}

/// What a promotion record relies on beside other records, each digest once.
pub fn relied_on(promotion: &Promotion, subjects: &Subjects) -> Vec<Relied> {
    let mut all = vec![Relied { role: Role::Root, digest: subjects.image.digest }];
    let platforms = subjects.platforms.iter().map(|(digest, _)| (Role::Platform, *digest));
    let attested = promotion.evidence.iter().filter(|resource| !resource.uri.starts_with("ledger:"));
    let attested = attested.map(|resource| match resource.uri.as_str() {
        DESCRIPTOR => (Role::Layer, resource.digest.0),
        uri => (Role::Attestation(uri.to_owned()), resource.digest.0),
    });
    let policy = std::iter::once((Role::Policy, promotion.policy.digest.0));
    let keys = promotion.policy.keys.iter().map(|(file, digest)| (Role::Key(file.clone()), *digest));
    let roots = promotion.roots.iter().map(|root| (Role::Trusted(root.name.to_string()), root.digest.0));
    let named = platforms.chain(attested).chain(policy).chain(keys).chain(roots);
    all.extend(named.map(|(role, digest)| Relied { role, digest }));
    let mut seen = BTreeSet::new();
    all.retain(|relied| seen.insert(relied.digest));
    all
}

/// Refuses a record whose evidence is not at hand: it could be taken away and nobody could tell what it was.
pub(super) fn complete(promotion: &Promotion, subjects: &Subjects, kept: &Kept) -> Result<(), LedgerError> {
    let here: BTreeSet<Digest> = kept.by_digest().map(|(digest, _)| digest).collect();
    match relied_on(promotion, subjects).into_iter().find(|relied| !here.contains(&relied.digest)) {
        Some(Relied { digest, .. }) => Err(LedgerError::EvidenceNotAtHand { digest }),
        None => Ok(()),
    }
}

/// What became of a piece.
enum Stored {
    Right(Bytes),
    Gone,
    Changed,
}

/// What is to be kept, each piece once, if it is not too much.
pub(super) fn bounded(kept: &Kept) -> Result<Vec<(Digest, &Bytes)>, LedgerError> {
    let mut left = TOGETHER;
    kept.by_digest()
        .map(|(digest, bytes)| {
            let (found, limit) = (bytes.len(), left.min(LIMIT));
            if found > limit {
                return Err(LedgerError::EvidenceSize { digest, found, limit });
            }
            left -= found;
            Ok((digest, bytes))
        })
        .collect()
}

impl Ledger {
    fn stored(&self, digest: Digest) -> Result<Stored, LedgerError> {
        Ok(match self.store.kept(digest, LIMIT)? {
            None => Stored::Gone,
            Some(bytes) if Digest::of(&bytes) == digest => Stored::Right(bytes.into()),
            Some(_) => Stored::Changed,
        })
    }

    /// The bytes that were kept under `digest` with record `index`, rehashed.
    ///
    /// # Errors
    /// [`LedgerError::EvidenceGone`], [`LedgerError::EvidenceChanged`]; see [`LedgerError`].
    pub fn kept(&self, index: u64, digest: Digest) -> Result<Bytes, LedgerError> {
        let place = || self.place().clone();
        match self.stored(digest)? {
            Stored::Right(bytes) => Ok(bytes),
            Stored::Gone => Err(LedgerError::EvidenceGone { place: place(), index, digest }),
            Stored::Changed => Err(LedgerError::EvidenceChanged { place: place(), index, digest }),
        }
    }

    /// What the closure of `image` is made from, as it was kept with record `index`: beside the manifests that the record
    /// names, configurations and manifests of attestations. As far as it can be told: what is gone or changed is the
    /// last of them.
    ///
    /// # Errors
    /// [`LedgerError`], but for what says that a piece is gone or changed.
    pub fn documents(&self, index: u64, image: Digest) -> Result<BTreeSet<Digest>, LedgerError> {
        let mut documents = BTreeSet::new();
        let closure = Closure::again(image, |digest| {
            documents.insert(digest);
            self.kept(index, digest).map_err(Stop::Ledger)
        });
        match closure {
            Ok(_)
            | Err(
                Stop::Closure
                | Stop::Ledger(LedgerError::EvidenceGone { .. } | LedgerError::EvidenceChanged { .. }),
            ) => Ok(documents),
            Err(Stop::Ledger(error)) => Err(error),
        }
    }

    /// What an audit says of the bytes kept under `digest` with record `index`, if they are not right.
    pub(super) fn examine_kept(&self, index: u64, digest: Digest) -> Result<Option<Finding>, LedgerError> {
        Ok(match self.stored(digest)? {
            Stored::Right(_) => None,
            Stored::Gone => Some(Finding::EvidenceGone { index, digest }),
            Stored::Changed => Some(Finding::EvidenceChanged { index, digest }),
        })
    }
}

/// Why a closure is not known.
enum Stop {
    Closure,
    Ledger(LedgerError),
}

impl From<ClosureError> for Stop {
    fn from(_: ClosureError) -> Self {
        Self::Closure
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, entry};
    use super::*;

    /// Evidence is bounded, whole, and what was asked for, or it is an error (B5).
    #[test]
    fn b5_kept_bytes_are_rehashed_and_bounded() {
        let (fixture, mut ledger) = Fixture::with(1);
        let keep = |pieces: &[&[u8]]| {
            let mut kept = Kept::default();
            pieces.iter().for_each(|bytes| kept.keep(&bytes.to_vec().into()));
            kept
        };
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let _ = ledger.append_with(1, &[entry(1)], &keep(&[b"one", b"other"])).unwrap();
        assert_eq!(ledger.kept(1, one).unwrap(), &b"one"[..]);
        let (first, second) = (one.hex(), other.hex());
        fixture.tamper(&format!("UPDATE kept SET bytes = x'00' WHERE digest = x'{first}'"));
        fixture.tamper(&format!("DELETE FROM kept WHERE digest = x'{second}'"));
        let changed = ledger.kept(1, one).unwrap_err();
        assert!(matches!(changed, LedgerError::EvidenceChanged { index: 1, digest, .. } if digest == one));
        let gone = ledger.kept(1, other).unwrap_err();
        assert!(matches!(gone, LedgerError::EvidenceGone { index: 1, digest, .. } if digest == other));
        assert!(gone.is_tampering() && gone.to_string().contains(&format!("{other} of record 1 is gone")));
        // Whoever has the same bytes again puts them back.
        let _ = ledger.append_with(2, &[entry(2)], &keep(&[b"one", b"other"])).unwrap();
        assert_eq!(ledger.kept(1, one).unwrap(), &b"one"[..]);
        assert_eq!(ledger.kept(1, other).unwrap(), &b"other"[..]);
        // Too much of it is no record.
        let large = vec![0; LIMIT];
        let _ = ledger.append_with(3, &[entry(3)], &keep(&[&large])).unwrap();
        let larger = vec![0; LIMIT + 1];
        let refused = ledger.append_with(4, &[entry(4)], &keep(&[&larger])).unwrap_err();
        assert!(matches!(refused, LedgerError::EvidenceSize { limit: LIMIT, .. }), "{refused}");
        let mut many = Kept::default();
        for number in 0..=u8::try_from(TOGETHER / LIMIT).unwrap() {
            many.keep(&vec![number; LIMIT].into());
        }
        let refused = ledger.append_with(4, &[entry(4)], &many).unwrap_err();
        assert!(matches!(refused, LedgerError::EvidenceSize { limit: 0, .. }), "{refused}");
        assert_eq!(ledger.tip().unwrap().size(), 4);
        // A row that somebody made longer than anything we write is not read.
        fixture.tamper(&format!("UPDATE kept SET bytes = zeroblob({}) WHERE digest = x'{first}'", LIMIT + 1));
        assert!(matches!(ledger.kept(1, one), Err(LedgerError::EvidenceChanged { .. })));
    }
}
