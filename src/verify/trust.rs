//! Trust in keys and roots, and the proof that one of them stands behind a signature.

use std::sync::Arc;

use super::author::Vouched;
use super::keyless::{Proof, Root};
use super::{Artifact, Author, Identity, Reason};
use crate::digest::{Digest, shorten};
use crate::key::PublicKey;

/// What a signature was checked over. There is no other way to get one than this module.
#[derive(Clone, Debug)]
#[must_use]
pub struct Verified<T> {
    inner: T,
    author: Author,
    evidence: Digest,
}

impl<T> Verified<T> {
    /// Who signed.
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// Whose signature was checked: the author's identity.
    pub fn identity(&self) -> &Identity {
        self.author.identity()
    }

    /// The digest of the bytes that carried the statement, as found: of the bundle, the envelope or, for simple
    /// signing, the payload (whose signature stands apart from it, so that two signers of one payload share it).
    pub fn evidence(&self) -> Digest {
        self.evidence
    }

    /// The same proof for what follows from it.
    pub(super) fn map<U>(self, follow: impl FnOnce(T) -> U) -> Verified<U> {
        let Self { inner, author, evidence } = self;
        Verified { inner: follow(inner), author, evidence }
    }

    /// What a [`Proof`] was made for.
    pub(super) fn by_certificate(inner: T, proof: Proof, evidence: Digest) -> Self {
        Self { inner, author: proof.into(), evidence }
    }

    /// What [`super::keyless::keyed`] returned a key for.
    pub(super) fn by_logged_key(inner: T, key: Digest, by: Vouched, evidence: Digest) -> Self {
        Self { inner, author: key_holder(key).vouched(Ok(by)), evidence }
    }

    /// The same, dated by what lies beside the signature of a key.
    pub(super) fn vouched(self, by: Result<Vouched, Reason>) -> Self {
        Self { author: self.author.vouched(by), ..self }
    }

    /// The same, dated by a place in the ledger.
    pub(super) fn placed(self) -> Self {
        Self { author: self.author.placed(), ..self }
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

fn key_holder(id: Digest) -> Author {
    Author::of_key(Identity::Key { id })
}

/// What is to be verified: exact bytes and their signature.
pub(super) struct Signed<'a> {
    /// The bytes that were signed, in the encoding of their format; or their digest.
    pub(super) message: Artifact<'a>,
    /// The signature as the key's scheme writes it.
    pub(super) signature: &'a [u8],
    /// The key that is said to have made it.
    pub(super) hint: Option<&'a str>,
    /// The digest of the bytes that carried all this.
    pub(super) evidence: Digest,
}

/// The keys whose signatures count, and the roots under which certificates do. Whether they count for a certain
/// statement is the policy's word, later.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    keys: Vec<PublicKey>,
    roots: Vec<Root>,
    /// One for all copies.
    made: Arc<()>,
}

impl Trust {
    /// Trust in these keys and no others. Without keys, nothing verifies.
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self { keys, ..Self::default() }
    }

    /// The same keys, and these roots of trust; each is tried on its own, by its own rules.
    pub fn with_roots(self, roots: Vec<Root>) -> Self {
        Self { keys: self.keys, roots, made: Arc::default() }
    }

    /// Whether this is a copy of the other, or the other itself: what verified under one verifies under both. Equal keys and
    /// roots that were put together twice are not compared.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.made, &other.made)
    }

    /// The roots, in the order given.
    pub fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// The keys, in the order given.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The key with this id.
    pub(super) fn key(&self, identity: &Identity) -> Option<&PublicKey> {
        match identity {
            Identity::Key { id } => self.keys.iter().find(|key| key.id() == *id),
            Identity::Keyless { .. } => None,
        }
    }

    /// The one place where a signature is checked with a key: `read` is asked for the meaning of the message only
    /// after a key was found that made the signature.
    ///
    /// The hint says which key to try first and, when none fits, which refusal to give. It never decides.
    pub(super) fn verify<T>(
        &self,
        signed: &Signed<'_>,
        read: impl FnOnce() -> Result<T, Reason>,
    ) -> Result<Verified<T>, Reason> {
        let hinted = |key: &&PublicKey| signed.hint.is_some_and(|hint| hint == key.hint());
        let others = self.keys.iter().filter(|key| !hinted(key));
        for key in self.keys.iter().filter(hinted).chain(others) {
            let made = match signed.message {
                Artifact::Bytes(message) => key.verify(message, signed.signature),
                Artifact::Digest(digest) => key.verify_digest(digest, signed.signature),
            };
            if made.is_ok() {
                return Ok(Verified {
                    inner: read()?,
                    author: key_holder(key.id()),
                    evidence: signed.evidence,
                });
            }
        }
        Err(match self.keys.iter().find(hinted) {
            Some(key) => Reason::BadSignature { key: key.id() },
            None => Reason::NoTrustedKey { trusted: self.keys.len(), hint: signed.hint.map(shorten) },
        })
    }
}
