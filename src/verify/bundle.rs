//! The Sigstore bundle, versions 0.1 to 0.3 (sigstore/protobuf-specs `sigstore_bundle.proto`).

use serde_json::Value;

use super::dsse::{self, Envelope};
use super::keyless::{self, Candidate, Version};
use super::read::{Object, Reader};
use super::statement;
use super::trust::Signed;
use super::{
    Artifact, Attestation, Claim, MESSAGE_SIGNATURE, Part, Reason, Rejected, Subject, Trust, Verified,
};
use crate::digest::{Digest, shorten};

pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const FAMILY: &str = "application/vnd.dev.sigstore.bundle";
const READ: Reader = Reader(Part::Bundle);

/// Verifies a Sigstore bundle that carries an in-toto statement.
///
/// Signed with a public key (v0.3 only): a key proves who, never when; log entries and timestamps beside it are verified
/// under each of the trust's roots, and [`Author::is_dated`](super::Author::is_dated) tells which of them vouch, or why
/// none does. Signed with a certificate (v0.1 to v0.3): verified under one of the trust's roots, with
/// proof and checkpoint of every log entry whatever the version, or as that root's rules say.
///
/// Members the format does not have are refused at every level that is read, as protobuf's JSON mapping does
/// ("parsers should reject unknown fields"); so are its alternative spellings (`snake_case` names, URL-safe
/// base64, `null` for absent).
///
/// # Errors
/// [`Rejected`] with the first thing that is wrong, in the order: JSON, media type, key material, envelope,
/// signature, statement.
pub fn bundle(bytes: &[u8], trust: &Trust) -> Result<Verified<Attestation>, Rejected> {
    attestation(bytes, Found::Alone, trust)
}

/// Verifies a record of the ledger: as [`bundle()`], and its place in the ledger dates it. What may lie beside the
/// signature of a key is not read.
///
/// # Errors
/// As [`bundle()`].
pub fn record(bytes: &[u8], trust: &Trust) -> Result<Verified<Attestation>, Rejected> {
    attestation(bytes, Found::InLedger, trust).map(Verified::placed)
}

/// Verifies a permit: as [`record()`]. It says of itself until when it is good, within what the policy allows, so that
/// nothing else has to date what a key signed.
///
/// # Errors
/// As [`bundle()`].
pub fn permit(bytes: &[u8], trust: &Trust) -> Result<Verified<Attestation>, Rejected> {
    attestation(bytes, Found::Permit, trust).map(Verified::placed)
}

/// Verifies a bundle that was found attached to `manifest`: as [`bundle()`], and a message signature is accepted too if
/// what it signs is that very manifest.
///
/// By a key, that takes P-256 or RSA: of the manifest only the SHA-256 is at hand.
///
/// Such a signature says nothing but who signed these bytes: predicate type [`MESSAGE_SIGNATURE`], the manifest as
/// the only subject, no predicate.
///
/// # Errors
/// As [`bundle()`].
pub fn attached(bytes: &[u8], manifest: Digest, trust: &Trust) -> Result<Verified<Attestation>, Rejected> {
    attestation(bytes, Found::On(manifest), trust)
}

/// Where a bundle was.
#[derive(Clone, Copy)]
enum Found {
    /// Attached to a manifest, which a message signature may be over.
    On(Digest),
    /// In the ledger, and dated by that.
    InLedger,
    /// In somebody's hand, and good for a while.
    Permit,
    /// Wherever.
    Alone,
}

impl Found {
    fn manifest(self) -> Result<Digest, Reason> {
        match self {
            Self::On(manifest) => Ok(manifest),
            Self::InLedger | Self::Permit | Self::Alone => Err(Reason::MessageSignature),
        }
    }
}

fn attestation(bytes: &[u8], found: Found, trust: &Trust) -> Result<Verified<Attestation>, Rejected> {
    let evidence = Digest::of(bytes);
    let mut claim = Claim::default();
    verified(bytes, found, trust, evidence, &mut claim).map_err(|reason| Rejected {
        evidence,
        reason,
        claim: Box::new(claim),
    })
}

fn verified(
    bytes: &[u8],
    found: Found,
    trust: &Trust,
    evidence: Digest,
    claim: &mut Claim,
) -> Result<Verified<Attestation>, Reason> {
    let bundle = Bundle::read(bytes, claim)?;
    match (&bundle.signer, &bundle.content) {
        (Signer::Key { hint }, Content::Dsse(envelope)) => {
            let verified = dsse::verified(envelope, hint.as_deref(), trust, evidence, claim)?;
            let about = Artifact::Digest(statement::about(&verified)?);
            match found {
                Found::InLedger | Found::Permit => Ok(verified),
                Found::Alone | Found::On(_) => Ok(bundle.dated(verified, about, trust)),
            }
        }
        (Signer::Key { hint }, Content::Message) => {
            let about = Artifact::Digest(found.manifest()?);
            claim.predicate_type = Some(MESSAGE_SIGNATURE.to_owned());
            let signature = bundle.message(about.digest())?;
            let signed = Signed { message: about, signature: &signature, hint: hint.as_deref(), evidence };
            let verified = trust.verify(&signed, || Ok(signature_over(about.digest())))?;
            Ok(bundle.dated(verified, about, trust))
        }
        (Signer::Certificate, Content::Dsse(envelope)) => {
            let said = envelope.statement(claim)?;
            let proof = bundle.proof(Artifact::Digest(statement::about(&said)?), trust)?;
            Ok(Verified::by_certificate(said, proof, evidence))
        }
        (Signer::Certificate, Content::Message) => {
            let manifest = found.manifest()?;
            claim.predicate_type = Some(MESSAGE_SIGNATURE.to_owned());
            let proof = bundle.proof(Artifact::Digest(manifest), trust)?;
            Ok(Verified::by_certificate(signature_over(manifest), proof, evidence))
        }
    }
}

/// What a message signature says: who signed these bytes, and nothing of them.
fn signature_over(manifest: Digest) -> Attestation {
    Attestation {
        predicate_type: MESSAGE_SIGNATURE.to_owned(),
        subjects: vec![Subject { name: None, digest: manifest }],
        predicate: Value::Null,
    }
}

/// A bundle as it was read: nothing in it is proved.
pub(super) struct Bundle {
    object: Object,
    version: Version,
    pub(super) signer: Signer,
    pub(super) content: Content,
}

pub(super) enum Signer {
    Key { hint: Option<String> },
    Certificate,
}

pub(super) enum Content {
    Dsse(Envelope),
    Message,
}

impl Bundle {
    pub(super) fn read(bytes: &[u8], claim: &mut Claim) -> Result<Self, Reason> {
        // 1. one JSON text
        let bundle = READ.document(bytes)?;

        // 2. media type
        let version = match READ.text(&bundle, "mediaType")? {
            MEDIA_TYPE | "application/vnd.dev.sigstore.bundle+json;version=0.3" => Version::V0_3,
            "application/vnd.dev.sigstore.bundle+json;version=0.2" => Version::V0_2,
            "application/vnd.dev.sigstore.bundle+json;version=0.1" => Version::V0_1,
            found if found.starts_with(FAMILY) => {
                return Err(Reason::BundleVersion { found: shorten(found) });
            }
            found => return Err(Reason::MediaType { found: shorten(found) }),
        };
        READ.only(&bundle, "$", &["mediaType", "verificationMaterial", "dsseEnvelope", "messageSignature"])?;

        // 3. verification material: a certificate, or a public key and nothing beside it
        let material = READ.object(&bundle, "verificationMaterial")?;
        let signer = match ["certificate", "x509CertificateChain"]
            .iter()
            .any(|key| material.contains_key(*key))
        {
            true => Signer::Certificate,
            false => {
                READ.only(
                    material,
                    "verificationMaterial",
                    &["publicKey", "tlogEntries", "timestampVerificationData"],
                )?;
                let key = READ.object(material, "verificationMaterial/publicKey")?;
                // Relabelling a bundle as an older version must not buy it older, weaker checks.
                if version != Version::V0_3 {
                    return Err(Reason::BundleVersion { found: shorten(READ.text(&bundle, "mediaType")?) });
                }
                READ.only(key, "verificationMaterial/publicKey", &["hint"])?;
                let hint = READ.optional_text(key, "verificationMaterial/publicKey/hint")?;
                claim.hint = hint.map(shorten);
                Signer::Key { hint: hint.map(str::to_owned) }
            }
        };

        // 4. content: exactly one of the two
        let content = match (bundle.contains_key("messageSignature"), bundle.contains_key("dsseEnvelope")) {
            (true, true) => return Err(Reason::TwoContents),
            (true, false) => Content::Message,
            (false, _) => Content::Dsse(Envelope::read(READ.object(&bundle, "dsseEnvelope")?)?),
        };
        Ok(Self { object: bundle, version, signer, content })
    }

    /// What says when it was signed, where it was signed with a key.
    pub(super) fn dated<T>(&self, verified: Verified<T>, about: Artifact<'_>, trust: &Trust) -> Verified<T> {
        let by = match (trust.key(verified.identity()), self.is_bare()) {
            (Some(key), false) => keyless::vouched(&self.candidate(about), key, trust.roots()),
            (Some(_) | None, _) => Err(Reason::Undated),
        };
        verified.vouched(by)
    }

    /// Whether it has neither a log entry nor a timestamp.
    fn is_bare(&self) -> bool {
        let material = self.object.get("verificationMaterial").and_then(Value::as_object);
        material
            .is_none_or(|it| !it.contains_key("tlogEntries") && !it.contains_key("timestampVerificationData"))
    }

    /// The message signature, which says that it is over this artifact, or says nothing of it.
    fn message(&self, artifact: Digest) -> Result<Vec<u8>, Reason> {
        let message = READ.object(&self.object, "messageSignature")?;
        READ.only(message, "messageSignature", &["messageDigest", "signature"])?;
        if message.contains_key("messageDigest") {
            let digest = READ.object(message, "messageSignature/messageDigest")?;
            READ.only(digest, "messageSignature/messageDigest", &["algorithm", "digest"])?;
            let algorithm = READ.text(digest, "messageSignature/messageDigest/algorithm")?;
            let said = READ.base64(digest, "messageSignature/messageDigest/digest")?;
            if algorithm != "SHA2_256" {
                return Err(Reason::BytesNeeded {
                    detail: shorten(&format!("it was made over {algorithm}")),
                });
            }
            if said != artifact.as_bytes() {
                let detail = "its message digest is not the manifest's".to_owned();
                return Err(Reason::ArtifactMismatch { detail });
            }
        }
        READ.base64(message, "messageSignature/signature")
    }

    /// Who signed it by certificate, under one of the roots.
    pub(super) fn proof(&self, artifact: Artifact<'_>, trust: &Trust) -> Result<keyless::Proof, Reason> {
        keyless::verify(&self.candidate(artifact), trust.roots())
    }

    pub(super) fn candidate<'b>(&'b self, artifact: Artifact<'b>) -> Candidate<'b> {
        Candidate { object: &self.object, version: self.version, artifact }
    }
}
