//! cosign's older signatures: a simple signing payload in a layer of a `.sig` image, the signature in an annotation
//! (sigstore/cosign `specs/SIGNATURE_SPEC.md`; containers/image `docs/containers-signature.5.md`).

use serde_json::Value;

use super::keyless::legacy::{self, Annotations, Content};
use super::read::Reader;
use super::trust::Signed;
use super::{Artifact, Attestation, Claim, Part, Reason, Rejected, SIMPLE_SIGNING, Subject, Trust, Verified};
use crate::digest::{Digest, shorten};

/// What `critical.type` says.
pub(super) const TYPE: &str = "cosign container image signature";

const READ: Reader = Reader(Part::SimpleSigning);

/// Verifies a simple signing payload, by a key: the layer's bytes and the annotation
/// `dev.cosignproject.cosign/signature`. Nothing says when it was signed.
///
/// The one subject has `critical.image.docker-manifest-digest` as digest and `critical.identity.docker-reference` as
/// name. Unknown members of `critical` are refused, as its specification asks; `optional` proves nothing and is
/// not read.
///
/// # Errors
/// [`Rejected`] with the first thing that is wrong.
pub fn simple_signing(
    payload: &[u8],
    signature_base64: &str,
    trust: &Trust,
) -> Result<Verified<Attestation>, Rejected> {
    annotated_simple_signing(payload, signature_base64, &Annotations::default(), trust)
}

/// Verifies a simple signing payload: as [`simple_signing`], and the annotations that speak of a certificate, a log entry
/// or a timestamp.
///
/// The log's entry must be about this very signature and payload.
///
/// # Errors
/// [`Rejected`] with the first thing that is wrong.
pub fn annotated_simple_signing(
    payload: &[u8],
    signature_base64: &str,
    annotations: &Annotations<'_>,
    trust: &Trust,
) -> Result<Verified<Attestation>, Rejected> {
    let evidence = Digest::of(payload);
    let read = read(payload);
    let claim = claim(&read);
    READ.decode(signature_base64, "dev.cosignproject.cosign/signature")
        .and_then(|signature| {
            let content = Content::Message { payload, signature: &signature };
            if let Some(certificate) = annotations.certificate {
                let proof = legacy::verify(&content, certificate, annotations, trust.roots())?;
                return Ok(Verified::by_certificate(read?, proof, evidence));
            }
            let message = Artifact::Bytes(payload);
            let signed = Signed { message, signature: &signature, hint: None, evidence };
            let verified = trust.verify(&signed, || read)?;
            let by = legacy::vouched(&content, annotations, verified.identity(), trust);
            Ok(verified.vouched(by))
        })
        .map_err(|reason| Rejected { evidence, reason, claim: Box::new(claim) })
}

/// What the payload says of itself.
fn claim(read: &Result<Attestation, Reason>) -> Claim {
    let mut claim = Claim { predicate_type: Some(SIMPLE_SIGNING.to_owned()), ..Claim::default() };
    if let Ok(attestation) = read {
        claim.subjects = attestation.subjects().iter().map(|subject| subject.digest).collect();
    }
    claim
}

fn read(bytes: &[u8]) -> Result<Attestation, Reason> {
    let payload = READ.document(bytes)?;
    READ.only(&payload, "$", &["critical", "optional"])?;
    if !matches!(payload.get("optional"), None | Some(Value::Null | Value::Object(_))) {
        return Err(READ.wrong("optional", "an object"));
    }
    let critical = READ.object(&payload, "critical")?;
    READ.only(critical, "critical", &["identity", "image", "type"])?;
    let found = READ.text(critical, "critical/type")?;
    if found != TYPE {
        return Err(Reason::SimpleSigningType { found: shorten(found) });
    }
    let identity = READ.object(critical, "critical/identity")?;
    READ.only(identity, "critical/identity", &["docker-reference"])?;
    let name = READ.text(identity, "critical/identity/docker-reference")?.to_owned();
    let image = READ.object(critical, "critical/image")?;
    READ.only(image, "critical/image", &["docker-manifest-digest"])?;
    let digest = READ
        .text(image, "critical/image/docker-manifest-digest")?
        .parse()
        .map_err(|source| Reason::SubjectDigest { index: 0, source })?;
    let subjects = vec![Subject { name: Some(name), digest }];
    Ok(Attestation { predicate_type: SIMPLE_SIGNING.to_owned(), subjects, predicate: Value::Object(payload) })
}
