//! Bundles about any artifact: what `cosign verify-blob` and the Sigstore conformance suite ask.

use super::bundle::{Bundle, Content, Signer};
use super::{Attestation, Claim, Reason, Rejected, Trust, Verified, dsse, keyless};
use crate::digest::Digest;

/// What was signed: its bytes, or their SHA-256 where only that is at hand.
///
/// A digest is enough for all but Ed25519 message signatures, and message digests other than SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artifact<'a> {
    /// The bytes.
    Bytes(&'a [u8]),
    /// Their SHA-256.
    Digest(Digest),
}

impl Artifact<'_> {
    /// Its SHA-256.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Bytes(bytes) => Digest::of(bytes),
            Self::Digest(digest) => *digest,
        }
    }
}

/// An artifact that was signed, or that a signed statement is about.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedArtifact {
    digest: Digest,
    attestation: Option<Attestation>,
}

impl SignedArtifact {
    /// The artifact's SHA-256.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The statement about it; a message signature has none.
    pub fn attestation(&self) -> Option<&Attestation> {
        self.attestation.as_ref()
    }
}

/// Verifies that a bundle is about `artifact`, by one of the keys or under one of the roots.
///
/// A message signature by a key needs an entry in a log of one of the roots: the entry's body and the key are bound
/// to the signature. Who may sign it is the caller's question, to be asked of [`Verified::identity`].
///
/// # Errors
/// [`Rejected`] with the first thing that is wrong.
pub fn artifact(
    bytes: &[u8],
    artifact: Artifact<'_>,
    trust: &Trust,
) -> Result<Verified<SignedArtifact>, Rejected> {
    let evidence = Digest::of(bytes);
    let mut claim = Claim::default();
    verified(bytes, artifact, trust, evidence, &mut claim).map_err(|reason| Rejected {
        evidence,
        reason,
        claim: Box::new(claim),
    })
}

fn verified(
    bytes: &[u8],
    artifact: Artifact<'_>,
    trust: &Trust,
    evidence: Digest,
    claim: &mut Claim,
) -> Result<Verified<SignedArtifact>, Reason> {
    let digest = artifact.digest();
    let bundle = Bundle::read(bytes, claim)?;
    match (&bundle.signer, &bundle.content) {
        (Signer::Key { hint }, Content::Dsse(envelope)) => {
            let verified = dsse::verified(envelope, hint.as_deref(), trust, evidence, claim)?;
            is_about(&verified, digest)?;
            let verified = bundle.dated(verified, artifact, trust);
            Ok(verified.map(|attestation| SignedArtifact { digest, attestation: Some(attestation) }))
        }
        (Signer::Key { .. }, Content::Message) => {
            let (key, by) = keyless::keyed(&bundle.candidate(artifact), trust.keys(), trust.roots())?;
            Ok(Verified::by_logged_key(SignedArtifact { digest, attestation: None }, key, by, evidence))
        }
        (Signer::Certificate, Content::Dsse(envelope)) => {
            let attestation = envelope.statement(claim)?;
            is_about(&attestation, digest)?;
            let proof = bundle.proof(artifact, trust)?;
            let signed = SignedArtifact { digest, attestation: Some(attestation) };
            Ok(Verified::by_certificate(signed, proof, evidence))
        }
        (Signer::Certificate, Content::Message) => {
            let proof = bundle.proof(artifact, trust)?;
            Ok(Verified::by_certificate(SignedArtifact { digest, attestation: None }, proof, evidence))
        }
    }
}

fn is_about(attestation: &Attestation, digest: Digest) -> Result<(), Reason> {
    match attestation.subjects().iter().any(|subject| subject.digest == digest) {
        true => Ok(()),
        false => Err(Reason::ArtifactMismatch { detail: format!("no subject of the statement is {digest}") }),
    }
}
